-- Merging pending rows into stored profiles, which is done without a query: every
-- scenario ends with a fold from scratch, generated columns by their expressions,
-- and the indexes.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA mrg;
CREATE EXTENSION amcheck SCHEMA mrg;
CREATE TABLE mrg.events (ts timestamptz, uid text, sid text, name text, city text, browser text, version text, plan text);
SELECT profiles.add_source('mrg.events', mapping => '{"user_id": "uid", "seen_at": "ts", "session": "sid", "name": "name", "geo.city": "city", "browser.name": "browser",
    "browser.version": "version", "plan": "plan"}');
ALTER TABLE profiles.user_pending SET (autovacuum_enabled = off);

CREATE FUNCTION mrg.wrong() RETURNS TABLE (what text, found text) LANGUAGE plpgsql AS $$
DECLARE
    storage regclass := 'profiles.user_profile';
BEGIN
    RETURN QUERY SELECT 'profile', v.key FROM profiles.verify('user') v;
    RETURN QUERY SELECT 'pending', p.key FROM profiles.user_pending p;
    RETURN QUERY EXECUTE (
        SELECT format('SELECT ''columns'', p.key FROM %s p WHERE ', storage) ||
               string_agg(format('p.%I IS DISTINCT FROM (%s)', a.attname, pg_get_expr(d.adbin, d.adrelid)), ' OR ')
        FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = storage AND a.attgenerated = 's');
    PERFORM mrg.bt_index_check(i.indexrelid, true) FROM pg_index i WHERE i.indrelid = storage;
END
$$;
\set check 'CALL profiles.refresh(); SELECT * FROM mrg.wrong() ORDER BY 1, 2;'

-- events of some users: with gaps, several of a session, some late
CREATE PROCEDURE mrg.add(first int, last int, day int) LANGUAGE sql AS $$
    INSERT INTO mrg.events
    SELECT timestamptz '2024-01-01Z' + (day - i % 3) * interval '1 day' + i * interval '1 s', 'u' || i, 's' || i || '-' || (day + i % 2) / 2,
           CASE WHEN i % 5 > 0 THEN 'Name ' || i || ' of day ' || day / 3 END, CASE WHEN i % 7 > day % 7 THEN 'City ' || day END,
           CASE WHEN i % 4 > 0 THEN 'Browser ' || day % 2 END, CASE WHEN i % 2 > 0 THEN day::text END, CASE WHEN i % 11 = day THEN 'plan ' || day END
    FROM generate_series(first, last) AS i $$;

-- new ones, some of them twice; then with others that are there
CALL mrg.add(1, 300, 1); CALL mrg.add(200, 400, 2);
:check
CALL mrg.add(1, 100, 3); CALL mrg.add(50, 150, 4); CALL mrg.add(390, 420, 5); CALL mrg.add(10, 20, 0);
:check

-- what changes nothing writes nothing
CREATE TABLE mrg.before AS SELECT key, ctid AS place, profile::text FROM profiles.user_profile;
INSERT INTO mrg.events SELECT e.* FROM mrg.events e;
:check
SELECT count(*) AS written FROM profiles.user_profile p JOIN mrg.before b USING (key) WHERE p.ctid <> b.place;
-- nor what lies between what is known
INSERT INTO mrg.events SELECT p.first_seen + (p.last_seen - p.first_seen) / 2, p.key, 's', NULL, NULL, NULL, NULL, NULL FROM profiles.user_profile p WHERE p.first_seen < p.last_seen;
:check
SELECT count(*) AS written FROM profiles.user_profile p JOIN mrg.before b USING (key) WHERE p.ctid <> b.place AND p.profile::text = b.profile;

-- more than there is memory for; the same users in several parts
SET maintenance_work_mem = '1MB';
CALL mrg.add(1, 5000, 6); CALL mrg.add(1, 5000, 7); CALL mrg.add(4000, 6000, 8);
:check
RESET maintenance_work_mem;

-- by a writer
SET profiles.pending_limit = 0;
CALL mrg.add(100, 900, 9);
RESET profiles.pending_limit;
SELECT * FROM mrg.wrong() ORDER BY 1, 2;

-- and not more at a time than the limit, or ten thousand
SET profiles.pending_limit = -1;
CALL mrg.add(1, 6000, 9); CALL mrg.add(1, 6000, 10);
SET profiles.pending_limit = 0;
CALL mrg.add(101, 200, 9);
SELECT count(*) AS pending FROM profiles.user_pending;
CALL mrg.add(1, 1000, 9);
RESET profiles.pending_limit;
SELECT * FROM mrg.wrong() ORDER BY 1, 2;

-- long values, out of line
INSERT INTO mrg.events SELECT timestamptz '2024-02-01Z' + d * interval '1 day', 'long', 's' || d, (SELECT string_agg(md5(d || ' ' || i), '') FROM generate_series(1, 200) i), 'City', NULL, NULL, NULL
FROM generate_series(1, 3) AS d;
:check
INSERT INTO mrg.events VALUES ('2024-03-01Z', 'long', 's9', NULL, 'Other', NULL, NULL, NULL);
:check
SELECT length(user_name), last_city FROM profiles.users WHERE user_id = 'long';

-- the table's other columns stay, dropped ones are in nobody's way
ALTER TABLE profiles.user_profile ADD COLUMN gone int DEFAULT 7, ADD COLUMN note text DEFAULT 'default';
UPDATE profiles.user_profile SET note = 'note of ' || key WHERE key <> 'u3';
ALTER TABLE profiles.user_profile DROP COLUMN gone;
CALL mrg.add(1, 10, 11);
:check
SELECT note, count(*) FROM profiles.user_profile WHERE key IN ('u2', 'u3', 'u4') GROUP BY 1 ORDER BY 1;
-- generated columns of another form
ALTER TABLE profiles.user_profile ADD COLUMN shout text GENERATED ALWAYS AS (upper(profiles.last_known(profile, 'name'))) STORED;
CALL mrg.add(1, 10, 12);
:check
SELECT key, shout FROM profiles.user_profile WHERE key = 'u2';
ALTER TABLE profiles.user_profile DROP COLUMN shout;

-- constraints, whose violation takes nothing from pending
ALTER TABLE profiles.user_profile ADD CONSTRAINT early CHECK (last_seen < '2024-01-14 00:00:05Z') NOT VALID;
CALL mrg.add(1, 10, 13);
\set VERBOSITY terse
CALL profiles.refresh('user');
\set VERBOSITY default
SELECT count(*) AS pending FROM profiles.user_pending;
ALTER TABLE profiles.user_profile DROP CONSTRAINT early;
:check

-- triggers: after rows and statements, with transition tables, and before rows
CREATE TABLE mrg.fired (what text, n bigint);
CREATE FUNCTION mrg.note_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mrg.fired VALUES (TG_NAME || CASE WHEN OLD.key = NEW.key AND OLD.last_seen < NEW.last_seen THEN ' later' ELSE '' END, 1); RETURN NULL; END $$;
CREATE FUNCTION mrg.note_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mrg.fired SELECT TG_NAME, count(*) FROM o JOIN n USING (key) WHERE o.profile::text <> n.profile::text; RETURN NULL; END $$;
CREATE FUNCTION mrg.change_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'changed before'; RETURN NEW; END $$;
CREATE TRIGGER each_row AFTER UPDATE ON profiles.user_profile FOR EACH ROW EXECUTE FUNCTION mrg.note_row();
CREATE TRIGGER each_row_of_u2 AFTER UPDATE ON profiles.user_profile FOR EACH ROW WHEN (NEW.key = 'u2' AND OLD.last_seen IS DISTINCT FROM NEW.last_seen) EXECUTE FUNCTION mrg.note_row();
CREATE TRIGGER statement AFTER UPDATE ON profiles.user_profile REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mrg.note_statement();
CALL mrg.add(1, 10, 20); CALL mrg.add(9001, 9002, 20);
:check
SELECT what, sum(n) FROM mrg.fired GROUP BY 1 ORDER BY 1;
CREATE TRIGGER before_row BEFORE UPDATE ON profiles.user_profile FOR EACH ROW EXECUTE FUNCTION mrg.change_row();
CALL mrg.add(1, 3, 22); CALL mrg.add(9003, 9003, 22);
:check
SELECT key, note FROM profiles.user_profile WHERE key IN ('u1', 'u2', 'u3', 'u4', 'u9003') ORDER BY 1;

SELECT profiles.uninstall();
DROP EXTENSION profiles;
CREATE EXTENSION profiles;
DROP SCHEMA mrg CASCADE;
