-- The relations for SQL and BI: their columns, comments, indexes, join removal.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA web;
CREATE TABLE web.events (ts timestamptz, user_id text, account_id text, account_name text, session_id text, country text, plan text, "os build" text);
INSERT INTO web.events VALUES
    ('2026-01-01Z', 'u1', 'a1', 'One', 's1', 'DE', 'free', '1'),
    ('2026-01-02Z', 'u1', 'a1', 'One Ltd', 's2', 'XK', 'pro', '2');
SELECT profiles.add_source('web.events', mapping => '{"plan": "plan", "os.build": "\"os build\""}');
CALL profiles.rebuild();

-- columns and their order, types and comments; built-in types only
SELECT attname, format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS comment
FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attnum > 0 ORDER BY attnum;
SELECT attname FROM pg_attribute WHERE attrelid = 'profiles.accounts'::regclass AND attnum > 0 ORDER BY attnum LIMIT 4;
SELECT obj_description(c.oid) FROM pg_class c WHERE relnamespace = 'profiles'::regnamespace AND relname IN ('users', 'accounts', 'user_profile', 'account_profile') ORDER BY relname;
SELECT c.relname, a.attname AS without_comment FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relname IN ('users', 'accounts', 'user_profile', 'account_profile')
  AND col_description(c.oid, a.attnum) IS NULL;

-- storage: the key is the primary key, attributes are generated from the profile
SELECT attname, attgenerated, pg_get_expr(adbin, adrelid)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = 'profiles.user_profile'::regclass AND a.attnum > 0
  AND attname IN ('key', 'profile', 'last_city', 'last_plan', 'last_os_build', 'user_email', 'last_seen_application', 'last_seen') ORDER BY a.attnum;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'profiles.user_profile'::regclass ORDER BY 1;
SELECT user_id, last_plan, last_os_build, first_seen_country, first_seen_country_name, last_seen_country_name FROM profiles.users;
SELECT account_id, account_name, last_plan FROM profiles.accounts;

-- a country that ISO does not have can be added, and then has a name
INSERT INTO profiles.country VALUES ('XK', 'Kosovo');
SELECT last_seen_country_name FROM profiles.users;
DELETE FROM profiles.country WHERE code = 'XK';
SELECT count(*) AS countries, count(*) FILTER (WHERE code !~ '^[A-Z]{2}$' OR name = '') AS odd,
       (SELECT name FROM profiles.country WHERE code = 'CI') AS ci FROM profiles.country;

-- joins that a query does not use are removed by the planner
CREATE FUNCTION joins(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN (SELECT count(*) FROM jsonb_path_query(plan, 'strict $.**."Relation Name" ? (@ == "country")'));
END $$;
SELECT joins('SELECT user_id, last_seen_country FROM profiles.users') AS unused,
       joins('SELECT user_id, last_seen_country_name FROM profiles.users') AS used;

-- columns are appended in the order of addition; grants and comments survive
CREATE ROLE profiles_reader;
GRANT SELECT ON profiles.users TO profiles_reader;
COMMENT ON VIEW profiles.accounts IS 'ours';
SELECT profiles.alter_source('web.events', mapping => '{"utm.source": "plan", "referrer": "plan"}');
SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attnum > 31;
CALL profiles.rebuild();
SET ROLE profiles_reader;
SELECT user_id, last_seen_country_name, last_utm_source, last_referrer FROM profiles.users;
SELECT count(*) FROM profiles.accounts;
SELECT count(*) FROM profiles.user_profile;
RESET ROLE;
SELECT col_description('profiles.users'::regclass, attnum) FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attname = 'last_utm_source';

-- indexes for list pages
SELECT profiles.index_profiles('user', 'last_seen_country');
SELECT profiles.index_profiles('user', 'last_seen_country');
SELECT profiles.index_profiles('user', 'plan');
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'profiles.user_profile'::regclass ORDER BY 1;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE FUNCTION uses(query text, index_name text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN plan::text LIKE '%' || index_name || '%' AND plan::text NOT LIKE '%"Sort"%';
END $$;
SELECT uses('SELECT * FROM profiles.users WHERE last_seen_country = ''DE'' ORDER BY last_seen DESC LIMIT 50', 'user_profile_last_seen_country_last_seen_idx');
RESET enable_seqscan;
RESET enable_sort;
SELECT profiles.unindex_profiles('user', 'last_seen_country');
SELECT profiles.unindex_profiles('user', 'last_seen_country');
SELECT profiles.unindex_profiles('user', 'geo.country');
SELECT profiles.index_profiles('user', 'nothing');
SELECT profiles.index_profiles('person', 'plan');
SELECT profiles.unindex_profiles('user', 'plan');
-- an attribute means its last value, whatever its column is called; facet means the same
SELECT a.kind, a.attribute, profiles.index_profiles(a.kind, a.attribute), profiles._facet_column(a.kind, a.attribute)
FROM (VALUES ('user', 'name'), ('user', 'email'), ('account', 'name'), ('user', 'application'), ('user', 'geo.city')) AS a (kind, attribute);
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid IN ('profiles.user_profile'::regclass, 'profiles.account_profile'::regclass) AND indnatts = 2 ORDER BY 1;
SELECT profiles.unindex_profiles(a.kind, a.attribute)
FROM (VALUES ('user', 'name'), ('user', 'email'), ('account', 'name'), ('user', 'application'), ('user', 'geo.city')) AS a (kind, attribute);
SELECT profiles.index_profiles('account', 'email');

-- only changed profiles are written by a rebuild
SELECT ctid AS before FROM profiles.user_profile WHERE key = 'u1' \gset
CALL profiles.rebuild('user');
SELECT ctid = :'before' AS untouched FROM profiles.user_profile WHERE key = 'u1';

-- a refresh with nothing to do rebuilds nothing
SELECT last_rebuild AS rebuilt FROM profiles.status WHERE kind = 'user' \gset
CALL profiles.refresh();
SELECT last_rebuild = :'rebuilt' AS not_rebuilt, last_refresh > last_rebuild AS refreshed FROM profiles.status WHERE kind = 'user';

-- in a transaction block: one transaction, with a notice
SET client_min_messages = notice;
BEGIN;
INSERT INTO web.events VALUES ('2026-01-03Z', 'u2', 'a2', NULL, NULL, NULL, NULL, NULL);
CALL profiles.rebuild('user');
SELECT count(*) FROM profiles.users;
ROLLBACK;
SELECT count(*) FROM profiles.users;
SET client_min_messages = warning;

-- many keys: several ranges, keys that go and come
INSERT INTO web.events SELECT timestamptz '2026-01-05Z' + i * interval '1 s', 'many ' || i, NULL, NULL, NULL, NULL, NULL, NULL FROM generate_series(1, 120000) AS i;
CALL profiles.rebuild('user');
SELECT count(*), (SELECT count(*) FROM profiles.verify()) AS differ FROM profiles.users;
DELETE FROM web.events WHERE user_id LIKE 'many %' AND user_id NOT LIKE '%7';
INSERT INTO web.events VALUES ('2026-02-03Z', '', NULL, NULL, NULL, NULL, 'empty key', NULL);
CALL profiles.rebuild('user');
SELECT count(*), (SELECT count(*) FROM profiles.verify()) AS differ FROM profiles.users;

-- after DROP EXTENSION CASCADE the events are intact, and a leftover is named
DROP EXTENSION profiles CASCADE;
SELECT count(*) > 0 AS intact FROM web.events;
CREATE EXTENSION profiles;
SELECT profiles.add_source('web.events');
DROP TABLE profiles.user_profile, profiles.account_profile CASCADE;
SELECT profiles.add_source('web.events');
CALL profiles.rebuild();
SELECT count(*) FROM profiles.verify();

-- many attributes: time does not grow with their square, by far, and what is too many is said
CREATE TABLE web.wide (ts timestamptz, user_id text, plan text);
SET statement_timeout = '30s';
SELECT profiles.add_source('web.wide', mapping => (SELECT jsonb_object_agg('wide_' || n, 'plan') FROM generate_series(1, 300) AS n));
SELECT profiles.alter_source('web.wide', mapping => '{"wide.more": "plan"}');
RESET statement_timeout;
-- a column that is there is another attribute's
SELECT profiles.alter_source('web.wide', mapping => '{"wide_more": "plan", "wide.more": null}');
INSERT INTO web.wide VALUES ('2026-01-01Z', 'wide', 'x');
CALL profiles.refresh('user');
SELECT last_wide_1, first_wide_300, last_wide_more FROM profiles.users WHERE user_id = 'wide';
SELECT wide_1, wide_300, wide_more FROM profiles.events WHERE user_id = 'wide';
SELECT profiles.alter_source('web.wide', mapping => (SELECT jsonb_object_agg('wider_' || n, 'plan') FROM generate_series(1, 500) AS n));

DROP FUNCTION joins, uses;
DROP OWNED BY profiles_reader;
DROP ROLE profiles_reader;
SELECT profiles.uninstall();
DROP SCHEMA web CASCADE;
