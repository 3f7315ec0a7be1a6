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
ALTER TABLE profiles.user_packed SET (autovacuum_enabled = off);

CREATE FUNCTION mrg.wrong() RETURNS TABLE (what text, found text) LANGUAGE plpgsql AS $$
DECLARE
    storage regclass := 'profiles.user_profile';
BEGIN
    RETURN QUERY SELECT 'profile', v.key FROM profiles.verify('user') v;
    RETURN QUERY SELECT 'pending', p.key FROM profiles.user_pending p;
    RETURN QUERY SELECT 'packed', p.subjects::text FROM profiles.user_packed p;
    RETURN QUERY EXECUTE (
        SELECT format('SELECT ''columns'', p.key FROM %s p WHERE ', storage) ||
               string_agg(format('p.%I IS DISTINCT FROM (%s)', a.attname, pg_get_expr(d.adbin, d.adrelid)), ' OR ')
        FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = storage AND a.attgenerated = 's');
    PERFORM mrg.bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = storage AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree');
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

-- those who are seen again as they were, whole or in part, or otherwise in one thing
INSERT INTO mrg.events SELECT timestamptz '2024-01-20Z' + i * interval '1 s', 'again' || i, CASE WHEN i % 3 > 0 THEN 's' || i END, 'Again', CASE WHEN i % 5 > 0 THEN 'Town' END, 'Browser', CASE WHEN i % 2 > 0 THEN '1' END, 'plan' FROM generate_series(1, 100) AS i;
:check
INSERT INTO mrg.events SELECT e.ts + interval '1 hour', e.uid, CASE WHEN e.ts < '2024-01-20 00:01:20Z' THEN e.sid ELSE 's' END, CASE WHEN e.ts < '2024-01-20 00:01:10Z' THEN e.name END,
    CASE WHEN e.ts < '2024-01-20 00:01:00Z' THEN e.city END, CASE WHEN e.ts < '2024-01-20 00:00:50Z' THEN e.browser END, CASE WHEN e.ts < '2024-01-20 00:00:40Z' THEN e.version END, CASE WHEN e.ts < '2024-01-20 00:00:30Z' THEN e.plan ELSE 'other plan' END
FROM mrg.events e WHERE e.uid LIKE 'again%';
:check
INSERT INTO mrg.events SELECT max(e.ts) + interval '1 day', e.uid, max(e.sid), NULL, max(e.city), NULL, NULL, max(e.plan) FROM mrg.events e WHERE e.uid LIKE 'again%' GROUP BY e.uid;
:check
SELECT count(*) AS later FROM profiles.users WHERE user_id LIKE 'again%' AND last_seen >= '2024-01-21 01:00:01Z';
DELETE FROM mrg.events WHERE uid LIKE 'again%';
:check

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

-- and not more at a time than the limit, or ten thousand, and what a row of packed ones has more
SET profiles.pending_limit = -1;
CALL mrg.add(1, 6000, 9); CALL mrg.add(1, 6000, 10);
SET profiles.pending_limit = 0;
CALL mrg.add(101, 200, 9);
SELECT sum(pending) BETWEEN 1900 AND 2100 AS rest FROM profiles.status WHERE kind = 'user';
CALL mrg.add(1, 1000, 9);
RESET profiles.pending_limit;
SELECT * FROM mrg.wrong() ORDER BY 1, 2;

-- more than one step takes, after which there is nothing else to do
SET profiles.pending_limit = -1;
DO $$ BEGIN FOR day IN 0..9 LOOP CALL mrg.add(1, 6000, day); END LOOP; END $$;
CALL profiles.refresh();
DO $$ BEGIN FOR day IN 1..18 LOOP CALL mrg.add(1, 6000, day % 10); END LOOP; END $$;
RESET profiles.pending_limit;
:check
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

-- indexes of others: in either order, of expressions, of some rows, with more columns, of other kinds, unique
CREATE INDEX several ON profiles.user_profile (last_city DESC NULLS LAST, first_seen DESC, left(user_name, 100)) INCLUDE (note, key);
CREATE INDEX some_rows ON profiles.user_profile (lower(left(user_name, 100)) COLLATE "C", (last_city || key)) WHERE last_city > 'City 2';
CREATE INDEX hashed ON profiles.user_profile USING hash (last_city);
CREATE INDEX ranges ON profiles.user_profile USING brin (last_seen) WITH (autosummarize = off);
CREATE INDEX words ON profiles.user_profile USING gin (to_tsvector('simple', user_name));
CREATE UNIQUE INDEX one_name ON profiles.user_profile (left(user_name, 100), key);
CREATE UNIQUE INDEX one_note ON profiles.user_profile (note) WHERE note LIKE 'note %';
CREATE UNIQUE INDEX one_city ON profiles.user_profile (last_city) WHERE key = 'u7';
SET maintenance_work_mem = '1MB';
CALL mrg.add(1, 3000, 12); CALL mrg.add(2000, 6000, 13);
:check
RESET maintenance_work_mem;
-- what those of other kinds find, against what is there
CREATE FUNCTION mrg.counts() RETURNS TABLE (of_cities bigint, of_words bigint, of_times bigint) LANGUAGE sql AS $$
    SELECT (SELECT count(*) FROM profiles.user_profile WHERE last_city = 'City 12'),
           (SELECT count(*) FROM profiles.user_profile WHERE to_tsvector('simple', user_name) @@ 'name & day & 4'),
           (SELECT count(*) FROM profiles.user_profile WHERE last_seen > '2024-01-12Z') $$;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
CREATE TABLE mrg.counted AS SELECT * FROM mrg.counts();
RESET enable_indexscan;
RESET enable_bitmapscan;
SET enable_seqscan = off;
SELECT c.*, c = d AS same FROM mrg.counts() c, mrg.counted d;
RESET enable_seqscan;
-- by one that takes other keys for the same nobody is looked up, whichever is the older
CREATE COLLATION mrg.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE INDEX any_case ON profiles.user_profile (key COLLATE mrg.any_case);
REINDEX INDEX CONCURRENTLY profiles.user_profile_pkey;
INSERT INTO mrg.events (ts, uid, name) VALUES ('2025-03-01Z', 'U8', 'Somebody else');
:check
INSERT INTO mrg.events (ts, uid, name) VALUES ('2025-03-02Z', 'U8', 'Still somebody else');
:check
SELECT user_id, user_name FROM profiles.users WHERE lower(user_id) = 'u8' ORDER BY user_id COLLATE "C";
DROP INDEX profiles.any_case;
-- a unique one that two profiles would share, in the same merge and in two; what fails takes nothing from pending
DROP INDEX profiles.one_name;
CREATE UNIQUE INDEX one_name ON profiles.user_profile (user_name) WHERE last_seen > '2025-01-01Z';
INSERT INTO mrg.events (ts, uid, name) VALUES ('2025-02-01Z', 'u1', 'Same'), ('2025-02-01Z', 'u2', 'Same');
\set VERBOSITY terse
CALL profiles.refresh('user');
SELECT count(*) AS pending FROM profiles.user_pending;
DELETE FROM mrg.events WHERE uid = 'u2' AND name = 'Same';
:check
INSERT INTO mrg.events (ts, uid, name) VALUES ('2025-02-01Z', 'u2', 'Same');
CALL profiles.refresh('user');
DELETE FROM mrg.events WHERE uid = 'u2' AND name = 'Same';
\set VERBOSITY default
:check
-- names that change places
INSERT INTO mrg.events (ts, uid, name) VALUES ('2025-02-01Z', 'u2', 'Other');
:check
INSERT INTO mrg.events (ts, uid, name) VALUES ('2025-02-02Z', 'u1', 'Other'), ('2025-02-02Z', 'u2', 'Same');
:check
DROP INDEX profiles.one_name;
-- and a constraint that is checked later
ALTER TABLE profiles.user_profile ADD CONSTRAINT one_name UNIQUE (last_seen, note, key) DEFERRABLE INITIALLY DEFERRED;
CALL mrg.add(1, 10, 14);
:check
DROP INDEX profiles.several, profiles.some_rows, profiles.hashed, profiles.ranges, profiles.words, profiles.one_note, profiles.one_city;
ALTER TABLE profiles.user_profile DROP CONSTRAINT one_name;
DELETE FROM mrg.events WHERE ts > '2025-01-01Z' OR (uid IN (SELECT 'u' || i FROM generate_series(1, 10) i) AND ts > '2024-01-13Z');
:check
-- constraints, whose violation takes nothing from pending
ALTER TABLE profiles.user_profile ADD CONSTRAINT early CHECK (last_seen < '2024-01-14 00:00:05Z') NOT VALID;
CALL mrg.add(1, 10, 13);
\set VERBOSITY terse
CALL profiles.refresh('user');
\set VERBOSITY default
SELECT sum(pending) AS pending FROM profiles.status WHERE kind = 'user';
ALTER TABLE profiles.user_profile DROP CONSTRAINT early;
:check

-- triggers: after rows and statements, with transition tables, and before rows
CREATE TABLE mrg.fired (what text, n bigint);
CREATE FUNCTION mrg.note_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mrg.fired VALUES (TG_NAME || CASE WHEN OLD.key = NEW.key AND OLD.last_seen < NEW.last_seen THEN ' later' ELSE '' END, 1); RETURN NULL; END $$;
CREATE FUNCTION mrg.note_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mrg.fired SELECT TG_NAME, count(*) FROM o JOIN n USING (key) WHERE o.profile::text <> n.profile::text; RETURN NULL; END $$;
CREATE FUNCTION mrg.change_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'changed before'; RETURN NEW; END $$;
CREATE TRIGGER each_row AFTER UPDATE ON profiles.user_profile FOR EACH ROW EXECUTE FUNCTION mrg.note_row();
CREATE TRIGGER each_row_of_u2 AFTER UPDATE ON profiles.user_profile FOR EACH ROW WHEN (NEW.key = 'u2' AND OLD.last_seen IS DISTINCT FROM NEW.last_seen) EXECUTE FUNCTION mrg.note_row();
INSERT INTO mrg.events (ts, uid) SELECT '2024-01-20Z', 'u' || i FROM generate_series(11, 15) AS i;
:check
SELECT what, sum(n) FROM mrg.fired GROUP BY 1 ORDER BY 1;
TRUNCATE mrg.fired;
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
