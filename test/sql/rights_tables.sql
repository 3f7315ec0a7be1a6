-- Whose rights code runs with: reference tables, segments, and what readers run.
--
-- tables_owner owns the extension and is no superuser; tables_adder was granted
-- functions; tables_loader owns reference tables; tables_reader reads.

\set SHOW_CONTEXT never
\set before :DBNAME
\set admin :USER
SET client_min_messages = warning;

CREATE ROLE tables_owner LOGIN;
CREATE ROLE tables_adder LOGIN;
CREATE ROLE tables_loader LOGIN;
CREATE ROLE tables_reader LOGIN;
CREATE DATABASE rights_tables OWNER tables_owner;
\c rights_tables :admin
SET client_min_messages = warning;
CREATE SCHEMA vault;
GRANT USAGE ON SCHEMA vault TO PUBLIC;
CREATE TABLE vault.log (ran_as text, what text);
GRANT INSERT ON vault.log TO PUBLIC;
GRANT CREATE ON DATABASE rights_tables TO tables_adder, tables_loader;
\c - tables_owner
SET client_min_messages = warning;
CREATE EXTENSION profiles;
CREATE SCHEMA web;
GRANT USAGE ON SCHEMA web TO PUBLIC;
CREATE TABLE web.events (ts timestamptz, usr_id text, plan text);
INSERT INTO web.events SELECT timestamptz '2026-01-01Z' + i * interval '1 day', 'u' || i, 'free' FROM generate_series(1, 3) i;
SELECT profiles.add_source('web.events', mapping => '{"plan": "plan"}');
CALL profiles.rebuild();
GRANT SELECT ON profiles.users, profiles.custom_attributes, profiles.segments, profiles.sync_runs TO tables_adder;
GRANT SELECT ON profiles.users, profiles.events TO tables_reader;
GRANT EXECUTE ON FUNCTION profiles.add_source, profiles.add_attributes, profiles.drop_attributes, profiles.create_segment,
    profiles.alter_segment, profiles.drop_segment TO tables_adder;
GRANT EXECUTE ON PROCEDURE profiles.sync TO tables_adder;

--
-- The owner of a reference table gains nothing from those who read it
--
\c - tables_loader
SET client_min_messages = warning;
CREATE SCHEMA loads;
GRANT USAGE ON SCHEMA loads TO PUBLIC;
CREATE FUNCTION loads.note(what text) RETURNS text LANGUAGE plpgsql AS
'BEGIN INSERT INTO vault.log VALUES (current_user, what); RETURN what; END';
CREATE TYPE loads.mood AS ENUM ('calm', 'wild');
CREATE TYPE loads.pair AS (id text, mood loads.mood);
CREATE TYPE loads.spread AS RANGE (subtype = int4);
CREATE FUNCTION loads.mood_text(loads.mood) RETURNS text LANGUAGE sql AS 'SELECT loads.note(''enum to text'')';
CREATE FUNCTION loads.mood_json(loads.mood) RETURNS json LANGUAGE sql AS 'SELECT to_json(loads.note(''enum to json''))';
CREATE FUNCTION loads.pair_text(loads.pair) RETURNS text LANGUAGE sql AS 'SELECT loads.note(''row to text'')';
CREATE FUNCTION loads.spread_text(loads.spread) RETURNS text LANGUAGE sql AS 'SELECT loads.note(''range to text'')';
CREATE CAST (loads.mood AS text) WITH FUNCTION loads.mood_text AS ASSIGNMENT;
CREATE CAST (loads.mood AS json) WITH FUNCTION loads.mood_json AS ASSIGNMENT;
CREATE CAST (loads.pair AS text) WITH FUNCTION loads.pair_text AS ASSIGNMENT;
CREATE CAST (loads.spread AS text) WITH FUNCTION loads.spread_text AS ASSIGNMENT;
CREATE TABLE loads.moods (id text, mood loads.mood);
INSERT INTO loads.moods VALUES ('u1', 'calm'), ('u2', 'wild');
CREATE TABLE loads.swapped (id text, score int);
INSERT INTO loads.swapped VALUES ('u1', 1);
GRANT SELECT ON ALL TABLES IN SCHEMA loads TO tables_adder;
\c - tables_adder
SET client_min_messages = warning;
CREATE SCHEMA lab;
GRANT USAGE ON SCHEMA lab TO PUBLIC;
CREATE TABLE lab.secret (secret text);
INSERT INTO lab.secret VALUES ('u1');
SELECT profiles.add_attributes('user', 'loads.moods', 'id', 'user_id');
SELECT profiles.add_attributes('user', 'loads.swapped', 'id', 'user_id');
CALL profiles.sync();
SELECT user_id, mood, score FROM profiles.users ORDER BY 1;
-- what takes the table's place by the next sync
\c - tables_loader
SET client_min_messages = warning;
CREATE TABLE loads.doc (id text, score int, pair loads.pair, spread loads.spread, mood loads.mood, doc jsonb);
INSERT INTO loads.doc VALUES ('u1', 1, '(u1,calm)', '[1,3)', 'wild', '{"mood": "wild"}');
CREATE DOMAIN loads.checked AS text CHECK (loads.note('domain') <> VALUE);
CREATE TYPE loads.holder AS (mood loads.checked);
CREATE FUNCTION loads.state(int, int) RETURNS int LANGUAGE sql AS 'SELECT length(loads.note(''aggregate''))';
CREATE AGGREGATE loads.total(int) (SFUNC = loads.state, STYPE = int);
CREATE FUNCTION loads.matches(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT loads.note(''operator'') = $1';
CREATE OPERATOR loads.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = loads.matches);
CREATE VIEW loads.inner_view AS SELECT loads.note('nested view') AS id, 1 AS score;
CREATE TABLE loads.try (n int GENERATED ALWAYS AS IDENTITY, what text, query text);
INSERT INTO loads.try (what, query) VALUES
    ('rights of who reads', 'SELECT secret AS id, 1 AS score FROM lab.secret'),
    ('function', 'SELECT loads.note(id) AS id, score FROM loads.doc'),
    ('function in a condition', 'SELECT id, score FROM loads.doc WHERE loads.note(id) = id'),
    ('function in FROM', 'SELECT f AS id, 1 AS score FROM loads.note(''from'') f'),
    ('function in a subquery', 'SELECT id, (SELECT length(loads.note(''subquery''))) AS score FROM loads.doc'),
    ('function in WITH', 'WITH w AS MATERIALIZED (SELECT loads.note(''with'') AS id) SELECT id, 1 AS score FROM w'),
    ('function in a join', 'SELECT d.id, d.score FROM loads.doc d JOIN loads.doc e ON loads.note(d.id) = e.id'),
    ('function in a set', 'SELECT id, score FROM loads.doc UNION SELECT loads.note(''union''), 1'),
    ('function in an order', 'SELECT id, score FROM loads.doc ORDER BY loads.note(id)'),
    ('function in a limit', 'SELECT id, score FROM loads.doc LIMIT length(loads.note(''x''))'),
    ('aggregate', 'SELECT id, loads.total(score) AS score FROM loads.doc GROUP BY id'),
    ('window function', 'SELECT id, loads.total(score) OVER () AS score FROM loads.doc'),
    ('operator', 'SELECT id, score FROM loads.doc WHERE id OPERATOR(loads.===) id'),
    ('view in a view', 'SELECT id, score FROM loads.inner_view'),
    ('cast of an enum', 'SELECT mood::text AS id, score FROM loads.doc'),
    ('cast of a row', 'SELECT pair::text AS id, score FROM loads.doc'),
    ('domain', 'SELECT id::loads.checked AS id, score FROM loads.doc'),
    ('enum to json', 'SELECT to_json(mood)::text AS id, score FROM loads.doc'),
    ('row to json', 'SELECT row_to_json(pair)::text AS id, score FROM loads.doc'),
    ('whole row to json', 'SELECT to_jsonb(d)::text AS id, score FROM loads.doc d'),
    ('nameless row to json', 'SELECT to_jsonb(x)::text AS id, score FROM (SELECT mood, score FROM loads.doc) x'),
    ('rows to json', 'SELECT jsonb_agg(mood)::text AS id, 1 AS score FROM loads.doc'),
    ('json to row', 'SELECT (jsonb_populate_record(NULL::loads.holder, doc)).mood AS id, score FROM loads.doc'),
    ('json to rows', 'SELECT x.mood AS id, score FROM loads.doc, jsonb_to_record(doc) x (mood loads.checked)'),
    ('text to row', 'SELECT (''('' || id || '')'')::loads.holder::text AS id, score FROM loads.doc'),
    ('key that is an enum', 'SELECT mood AS id, score FROM loads.doc'),
    ('key that is a row', 'SELECT pair AS id, score FROM loads.doc'),
    ('key that is a range', 'SELECT spread AS id, score FROM loads.doc'),
    ('enum compared', 'SELECT id, score FROM loads.doc WHERE mood = ''wild'''),
    ('PostgreSQL''s own', 'SELECT lower(id) AS id, max(score) OVER () + 1 AS score FROM loads.doc WHERE doc ->> ''mood'' = ''wild''');
GRANT SELECT ON loads.try TO PUBLIC;
CREATE FUNCTION loads.swap(try int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'loads.swapped'::regclass) = 'v' THEN
        DROP VIEW loads.swapped;
    ELSE
        DROP TABLE loads.swapped;
    END IF;
    EXECUTE format('CREATE VIEW loads.swapped WITH (security_invoker = %s) AS ', try = 1) || (SELECT t.query FROM loads.try t WHERE t.n = swap.try);
    GRANT SELECT ON loads.swapped TO tables_adder;
END
$$;
\c - tables_adder
SET client_min_messages = error;
CREATE TEMP TABLE answer (n int, answer text);
DO $$
BEGIN
    FOR i IN 1..(SELECT max(n) FROM loads.try) LOOP
        PERFORM loads.swap(i);
        CALL profiles.sync('loads.swapped');
        INSERT INTO answer SELECT i, coalesce(r.sqlstate || ': ' || r.message, 'synced') FROM profiles.sync_runs r ORDER BY r.id DESC LIMIT 1;
        COMMIT;
    END LOOP;
END
$$;
SELECT t.what, a.answer FROM answer a JOIN loads.try t USING (n) ORDER BY n;
-- policies
\c - tables_loader
SET client_min_messages = warning;
DROP VIEW loads.swapped;
CREATE TABLE loads.swapped (id text, score int);
INSERT INTO loads.swapped VALUES ('u1', 1), ('u3', 3);
ALTER TABLE loads.swapped ENABLE ROW LEVEL SECURITY;
CREATE POLICY chosen ON loads.swapped USING (loads.note('policy') <> id);
GRANT SELECT ON loads.swapped TO tables_adder;
\c - tables_adder
CALL profiles.sync('loads.swapped');
\c - tables_loader
SET client_min_messages = warning;
DROP POLICY chosen ON loads.swapped;
CREATE POLICY chosen ON loads.swapped USING (id IN (SELECT secret FROM lab.secret));
\c - tables_adder
CALL profiles.sync('loads.swapped');
\c - tables_loader
SET client_min_messages = warning;
DROP POLICY chosen ON loads.swapped;
CREATE POLICY chosen ON loads.swapped USING (id <> 'u1');
\c - tables_adder
CALL profiles.sync('loads.swapped');
SELECT user_id, score FROM profiles.users ORDER BY 1;
SELECT profiles.add_attributes('user', 'loads.inner_view', 'id', 'user_id', '{"score": "nested"}');
-- what the adder itself, or a superuser, has made may be called
CREATE FUNCTION lab.twice(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * 2; END';
CREATE VIEW lab.scores AS SELECT id, lab.twice(score) AS twice FROM loads.swapped;
SELECT profiles.add_attributes('user', 'lab.scores', 'id', 'user_id', filter => 'lab.twice(twice) > 0');
CALL profiles.sync('lab.scores');
SELECT user_id, twice FROM profiles.users WHERE twice > 0;
-- through a view of the adder's, too
\c - tables_loader
SET client_min_messages = warning;
CREATE VIEW loads.below AS SELECT id, 1 AS seen FROM loads.doc;
GRANT SELECT ON loads.below TO tables_adder;
\c - tables_adder
SET client_min_messages = warning;
CREATE VIEW lab.above AS SELECT id, seen AS above FROM loads.below;
SELECT profiles.add_attributes('user', 'lab.above', 'id', 'user_id');
CALL profiles.sync('lab.above');
CREATE VIEW lab.visits AS SELECT id, timestamptz '2026-03-01Z' AS ts FROM loads.below;
SELECT profiles.add_source('lab.visits', mapping => '{"user_id": "id", "seen_at": "ts"}');
\c - tables_loader
SET client_min_messages = warning;
CREATE OR REPLACE VIEW loads.below WITH (security_invoker = true) AS SELECT secret AS id, 1 AS seen FROM lab.secret;
\c - tables_adder
CALL profiles.sync('lab.above');
\c - tables_owner
SET client_min_messages = warning;
CALL profiles.rebuild('user');
\c - tables_loader
SET client_min_messages = warning;
CREATE OR REPLACE VIEW loads.below WITH (security_invoker = false) AS SELECT loads.note(id) AS id, 1 AS seen FROM loads.doc;
\c - tables_owner
SET client_min_messages = warning;
CALL profiles.rebuild('user');
SELECT profiles.drop_source('lab.visits');
\c - :admin
SELECT DISTINCT * FROM vault.log;

--
-- The view of an import is its adder's: whatever is done to it, the server goes on
--
\c - tables_adder
SET client_min_messages = warning;
CREATE TABLE lab.ranks (id text, rank int, at int);
INSERT INTO lab.ranks VALUES ('u1', 1, 1), ('u1', 2, 2);
SELECT profiles.add_attributes('user', 'lab.ranks', 'id', 'user_id', '{"rank": "rank"}', on_duplicate => 'last', order_by => 'at');
SELECT c.relname AS view FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'v' AND pg_get_viewdef(c.oid) LIKE '%lab.ranks%' \gset
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO profiles.:view DO INSTEAD
    SELECT 'lab.ranks'::text AS source, 'id'::text AS source_key, NULL::text AS order_by, 'rank'::text AS "attr rank";
CALL profiles.sync('lab.ranks');
-- columns without a name
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO profiles.:view DO INSTEAD
    SELECT 'lab.ranks'::text AS source, 'id'::text AS source_key, NULL::text AS order_by, 'rank'::text AS "attr rank" FROM lab.ranks ORDER BY at;
CALL profiles.sync('lab.ranks');
SELECT profiles.drop_attributes('user', 'lab.ranks');
-- what anybody may call is safe on any relation
\c - tables_reader
CREATE TEMP VIEW sorted AS SELECT table_name AS user_id, now() AS seen_at FROM information_schema.tables ORDER BY table_type;
SELECT count(i) AS indexes FROM pg_class c LEFT JOIN LATERAL profiles._event_indexes(c.oid) i ON true WHERE c.relkind <> 'v' OR c.relnamespace <> 'profiles'::regnamespace;
SELECT count(d.filter) AS filters FROM pg_class c LEFT JOIN LATERAL profiles._segment_definition(c.oid) d ON true WHERE c.relkind IN ('v', 'r');
-- nor does the extension's owner crash it
\c - tables_owner
SET client_min_messages = warning;
SELECT 'profiles.' || c.relname AS view FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'v' AND pg_get_viewdef(c.oid) LIKE '%lab.scores%' \gset
SELECT * FROM profiles._read_import(:'view', 'last', false, '{}', false) AS s (key text, twice int);
SELECT * FROM profiles._read_import(:'view', 'error', false, '{}', false) AS s (key int[], twice int);
SELECT * FROM profiles._read_import(:'view', 'error', false, '{}', false) AS s (key text, twice text);
SELECT * FROM profiles._read_import('web.events', 'error', false, '{}', false) AS s (key text);
SELECT * FROM profiles._read_import('profiles.users', 'error', false, '{}', false) AS s (key text);
SELECT replace(:'view', 'import_', 'attributes_') AS side \gset
SELECT profiles._load_import(:'view', 'error', false, '{}', :'side');
SELECT profiles._load_import(:'view', 'error', false, '{}', 'profiles.users');
SELECT profiles._load_import(:'view', 'error', false, '{}', 'web.events');
SELECT profiles._load_import(:'view', 'error', false, '{NULL}', :'side');
SELECT * FROM profiles._import_diff(:'view', 'error', false, '{}', :'side') AS d (place int, key text, twice int);
SELECT * FROM profiles._import_diff(:'view', 'error', false, '{}', :'side') AS d (place tid, key text, twice text);
SELECT * FROM profiles._import_diff(:'view', 'error', false, '{}', :'side') AS d (place tid, key text);
SELECT * FROM profiles._import_diff(:'view', 'error', false, '{NULL}', :'side') AS d (place tid, key text, twice int);
SELECT * FROM profiles._import_diff('profiles.users', 'error', false, '{}', :'side') AS d (place tid, key text, twice int);
CREATE TABLE profiles.odd_number AS SELECT 7 AS key, 1 AS twice;
CREATE TABLE profiles.odd_null AS SELECT NULL::text AS key, 1 AS twice;
CREATE TABLE profiles.odd_dropped AS SELECT 'a'::text AS key, 1 AS gone, 1 AS twice;
ALTER TABLE profiles.odd_dropped DROP gone;
SELECT profiles._load_import(:'view', 'error', false, '{}', 'profiles.odd_number');
SELECT profiles._load_import(:'view', 'error', false, '{}', 'profiles.odd_dropped');
SELECT * FROM profiles._import_diff(:'view', 'error', false, '{}', 'profiles.odd_number') AS d (place tid, key int, twice int);
SELECT * FROM profiles._import_diff(:'view', 'error', false, '{}', 'profiles.odd_null') AS d (place tid, key text, twice int);
SELECT * FROM profiles._import_diff(:'view', 'error', false, '{}', 'profiles.odd_dropped') AS d (place tid, key text, twice int);
DROP TABLE profiles.odd_number, profiles.odd_null, profiles.odd_dropped;
CREATE TABLE web.numbers (key int);
CREATE TRIGGER noted AFTER INSERT ON web.numbers FOR EACH ROW EXECUTE FUNCTION profiles._note_searched('user');
INSERT INTO web.numbers VALUES (7);
CREATE TABLE web.keys (key text);
CREATE TRIGGER noted AFTER INSERT ON web.keys FOR EACH ROW EXECUTE FUNCTION profiles._note_searched('user');
INSERT INTO web.keys VALUES (NULL), ('u1');
DROP TABLE web.numbers, web.keys;

--
-- Readers of events don't run casts of those who added them
--
\c - tables_adder
SET client_min_messages = notice;
CREATE FUNCTION lab.note(what text) RETURNS text LANGUAGE plpgsql AS
'BEGIN INSERT INTO vault.log VALUES (current_user, what); RETURN what; END';
CREATE TYPE lab.mood AS ENUM ('calm', 'wild');
CREATE FUNCTION lab.mood_text(lab.mood) RETURNS text LANGUAGE sql AS 'SELECT lab.note(''enum to text'')';
CREATE FUNCTION lab.mood_json(lab.mood) RETURNS json LANGUAGE sql AS 'SELECT to_json(lab.note(''enum to json''))';
CREATE TABLE lab.events (ts timestamptz, usr_id text, mood lab.mood);
INSERT INTO lab.events VALUES ('2026-02-01Z', 'e1', 'wild');
GRANT SELECT ON lab.events TO tables_owner;
SELECT profiles.add_source('lab.events', mapping => '{"mood_of_the_day": "mood"}');
CREATE TABLE lab.more_events AS TABLE lab.events;
GRANT SELECT ON lab.more_events TO tables_owner;
SELECT profiles.add_source('lab.more_events', mapping => '{"doc": "to_json(mood)"}');
CREATE CAST (lab.mood AS text) WITH FUNCTION lab.mood_text AS ASSIGNMENT;
CREATE CAST (lab.mood AS json) WITH FUNCTION lab.mood_json AS ASSIGNMENT;
\c - tables_reader
SELECT source, mood_of_the_day FROM profiles.events WHERE user_id = 'e1';
\c - :admin
SELECT source, mood_of_the_day, doc FROM profiles.events WHERE user_id = 'e1';
SELECT DISTINCT * FROM vault.log;

--
-- The view of a segment is its creator's: whatever is done to it is in nobody's way
--
\c - tables_adder
SET client_min_messages = warning;
SELECT profiles.create_segment('renamed', 'last_plan = ''free''');
ALTER VIEW profiles.segment_renamed RENAME COLUMN user_email TO address;
SELECT profiles.create_segment('elsewhere', 'last_plan = ''free''');
SELECT string_agg(format('NULL::%s AS %I', format_type(atttypid, atttypmod), attname), ', ' ORDER BY attnum) AS nulls
FROM pg_attribute WHERE attrelid = 'profiles.segment_elsewhere'::regclass AND attnum > 0 \gset
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO profiles.segment_elsewhere DO INSTEAD SELECT :nulls FROM profiles.country WHERE code > 'A';
-- one that takes so much of the stack that it can only just be created
CREATE FUNCTION lab.deepest() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    low int := 10;
    high int := 40000;
BEGIN
    WHILE high - low > 5 LOOP
        BEGIN
            PERFORM profiles.create_segment('deep', repeat('abs(', (low + high) / 2) || '1' || repeat(')', (low + high) / 2) || ' = 1');
            low := (low + high) / 2;
            PERFORM profiles.drop_segment('deep');
        EXCEPTION WHEN statement_too_complex OR syntax_error OR out_of_memory OR program_limit_exceeded THEN
            high := (low + high) / 2;
        END;
    END LOOP;
    PERFORM profiles.create_segment('deep', repeat('abs(', low) || '1' || repeat(')', low) || ' = 1');
    RETURN low > 100;
END
$$;
SELECT lab.deepest();
-- segments that refer to the next one twice
SELECT profiles.create_segment('twice_0', 'last_plan = ''free''');
DO $$
BEGIN
    FOR i IN 1..20 LOOP
        PERFORM profiles.create_segment('twice_' || i, format('in_segment(''twice_%s'') OR in_segment(''twice_%1$s'')', i - 1));
    END LOOP;
END
$$;
\c - tables_owner
SET client_min_messages = error;
CREATE TABLE web.more (ts timestamptz, usr_id text, extra text);
SELECT profiles.add_source('web.more', mapping => '{"extra": "extra"}');
SELECT count(*) AS segments, count(filter) AS sound FROM profiles.segments WHERE segment IN ('renamed', 'elsewhere');
SELECT profiles.drop_segment(s) FROM unnest(ARRAY['renamed', 'elsewhere', 'deep']) s;

--
-- Names of attributes, and values in messages
--
\c - tables_adder
SET client_min_messages = warning;
CREATE TABLE lab.names (id text, a int, b text);
INSERT INTO lab.names VALUES ('u1', 1, 'a secret');
SELECT profiles.add_attributes('user', 'lab.names', 'id', 'user_id', '{"a": "profile"}');
SELECT profiles.add_attributes('user', 'lab.names', 'id', 'user_id', '{"a": "key"}');
SELECT profiles.add_attributes('user', 'lab.names', 'id', 'user_id', '{"a": "xmin"}');
SELECT profiles.add_attributes('user', 'lab.names', 'id', 'user_id', '{"a": "fine"}', filter => 'b::int > 0');
CALL profiles.sync('lab.names');
SELECT sqlstate, message FROM profiles.sync_runs ORDER BY id DESC LIMIT 1;

\c - tables_owner
SET client_min_messages = error;
SELECT profiles.uninstall();
DROP EXTENSION profiles;
\c :before :admin
DROP DATABASE rights_tables;
DROP ROLE tables_owner, tables_adder, tables_loader, tables_reader;
