-- Leaving: uninstall() and DROP EXTENSION without CASCADE leave an empty schema.
-- The last test, since the others use the extension.

\set SHOW_CONTEXT never

-- with everything there that is made at run time
CREATE TABLE cleanup_events (usr_id text, account_id text, ts timestamptz, country text);
INSERT INTO cleanup_events VALUES ('u1', 'a1', '2026-01-01 00:00:00Z', 'FR'), ('u2', NULL, '2026-01-02 00:00:00Z', NULL);
CREATE TABLE cleanup_before AS TABLE cleanup_events;
SET client_min_messages = warning;
DO $$ BEGIN
    PERFORM profiles.add_source('cleanup_events',
        mapping => '{"user_id": "usr_id", "account_id": "account_id", "seen_at": "ts", "geo.country": "country"}');
END $$;
CALL profiles.rebuild();
RESET client_min_messages;
SELECT user_id, last_seen_country_name FROM profiles.users WHERE user_id IN ('u1', 'u2') ORDER BY user_id;

CREATE TEMP TABLE type_before AS SELECT oid FROM pg_type WHERE oid = 'profiles.profile'::regtype;

SELECT profiles.uninstall();

-- what was made at run time is gone, and a second call has nothing to do
SELECT c.oid::regclass::text AS left_behind FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY left_behind;
SELECT count(*) FROM profiles.sources;
SELECT profiles.uninstall();

DROP EXTENSION profiles;

-- nothing lives in the schema
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS left_behind
FROM pg_depend d
WHERE d.refclassid = 'pg_namespace'::regclass
  AND d.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = 'profiles')
ORDER BY left_behind;

-- nor elsewhere: functions of the library, columns of its type, comments
SELECT oid::regprocedure AS left_behind FROM pg_proc WHERE probin LIKE '%/profiles' ORDER BY 1;
SELECT count(*) AS columns_left FROM pg_attribute a JOIN type_before t ON a.atttypid = t.oid;
SELECT count(*) AS comments_left FROM pg_description d
WHERE d.classoid = 'pg_proc'::regclass AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = d.objoid);

-- the events are intact
TABLE cleanup_events EXCEPT ALL TABLE cleanup_before;
TABLE cleanup_before EXCEPT ALL TABLE cleanup_events;

-- it can come again, and go at once
CREATE EXTENSION profiles;
SELECT count(*) > 0 AS has_sources_view FROM pg_class WHERE oid = 'profiles.sources'::regclass;
DROP EXTENSION profiles;

-- without CASCADE: the schema is empty
DROP SCHEMA profiles;

DROP TABLE cleanup_events, cleanup_before;
