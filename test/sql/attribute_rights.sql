-- Whose rights a sync has: those of the role that added the import, never more.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE profiles_shop;
CREATE ROLE profiles_adder;
CREATE ROLE profiles_loader;
CREATE ROLE profiles_runner;
CREATE SCHEMA shop AUTHORIZATION profiles_shop;
CREATE SCHEMA loader AUTHORIZATION profiles_loader;
CREATE TABLE shop.events (ts timestamptz, user_id text);
INSERT INTO shop.events SELECT timestamptz '2026-01-01Z', 'u' || i FROM generate_series(1, 9) AS i;
SELECT profiles.add_source('shop.events');
CALL profiles.rebuild();
GRANT EXECUTE ON FUNCTION profiles.add_attributes, profiles.drop_attributes TO profiles_adder;
GRANT EXECUTE ON PROCEDURE profiles.sync TO profiles_runner, profiles_loader;
GRANT SELECT ON profiles.users, profiles.custom_attributes TO profiles_runner;

-- what the adder may not read is not imported
CREATE TABLE shop.salaries AS SELECT 'u' || i AS uid, i * 1000 AS salary, i AS grade FROM generate_series(1, 9) AS i;
SET ROLE profiles_adder;
SELECT profiles.add_attributes('user', 'shop.salaries', 'uid', 'user_id');
RESET ROLE;
GRANT USAGE ON SCHEMA shop TO profiles_adder;
SET ROLE profiles_adder;
SELECT profiles.add_attributes('user', 'shop.salaries', 'uid', 'user_id');
RESET ROLE;
GRANT SELECT (uid, grade) ON shop.salaries TO profiles_adder;
SET ROLE profiles_adder;
SELECT profiles.add_attributes('user', 'shop.salaries', 'uid', 'user_id');
SELECT profiles.add_attributes('user', 'shop.salaries', 'uid', 'user_id', '{"grade": null}', filter => 'salary > 5000');
SELECT profiles.add_attributes('user', 'shop.salaries', 'uid', 'user_id', '{"grade": null}');
RESET ROLE;
-- whoever runs the sync, who may read less, or more
SET ROLE profiles_runner;
CALL profiles.sync();
SELECT user_id, grade FROM profiles.users WHERE user_id IN ('u1', 'u9') ORDER BY 1;
SELECT attribute, rows, matched, added_by, status FROM profiles.custom_attributes;
RESET ROLE;
-- a right that is taken away is missed
REVOKE SELECT (grade) ON shop.salaries FROM profiles_adder;
UPDATE shop.salaries SET grade = 0;
CALL profiles.sync('shop.salaries');
SELECT status, last_error FROM profiles.custom_attributes;
SELECT count(*) FILTER (WHERE grade > 0) AS last_good FROM profiles.users;
GRANT SELECT (grade) ON shop.salaries TO profiles_adder;

-- configuration says when and where to, not what is read: it can't be turned to another table
UPDATE profiles.import_config SET source = 'shop.events', source_key = 'user_id';
UPDATE profiles.attribute_config SET source_column = 'salary';
CALL profiles.sync('shop.events');
SELECT user_id, grade FROM profiles.users WHERE user_id IN ('u1', 'u9') ORDER BY 1;
UPDATE profiles.import_config SET source = 'shop.salaries', source_key = 'uid';
UPDATE profiles.attribute_config SET source_column = 'grade';

-- only its adder, a member, or the extension's owner drops it
GRANT EXECUTE ON FUNCTION profiles.drop_attributes TO profiles_runner;
SET ROLE profiles_runner;
SELECT profiles.drop_attributes('user', 'shop.salaries');
RESET ROLE;
-- of a table that several have imported each drops what it added, the owner all
GRANT USAGE ON SCHEMA shop TO profiles_loader;
GRANT SELECT ON shop.salaries TO profiles_loader;
GRANT EXECUTE ON FUNCTION profiles.add_attributes, profiles.drop_attributes TO profiles_loader;
SET client_min_messages = notice;
SET ROLE profiles_loader;
SELECT profiles.add_attributes('user', 'shop.salaries', 'grade', 'user_id', '{"salary": "loaded"}');
SELECT profiles.drop_attributes('user', 'shop.salaries.uid');
SELECT profiles.drop_attributes('user', 'shop.salaries');
SELECT profiles.drop_attributes('user', 'shop.salaries');
SELECT profiles.add_attributes('user', 'shop.salaries', 'grade', 'user_id', '{"salary": "loaded"}');
RESET ROLE;
SELECT attribute, source_key, added_by FROM profiles.custom_attributes ORDER BY 1;
BEGIN;
SELECT profiles.drop_attributes('user', 'shop.salaries');
SELECT attribute, source_key, added_by FROM profiles.custom_attributes ORDER BY 1;
ROLLBACK;
SELECT profiles.drop_attributes('user', 'shop.salaries.grade');
SELECT attribute, source_key, added_by FROM profiles.custom_attributes ORDER BY 1;
REVOKE ALL ON SCHEMA shop FROM profiles_loader;
REVOKE ALL ON shop.salaries FROM profiles_loader;
REVOKE ALL ON FUNCTION profiles.add_attributes, profiles.drop_attributes FROM profiles_loader;
SET client_min_messages = warning;
\set VERBOSITY terse
DROP ROLE profiles_adder;
\set VERBOSITY default

-- row-level security of the source is the adder's
ALTER TABLE shop.salaries ENABLE ROW LEVEL SECURITY;
CREATE POLICY low ON shop.salaries TO profiles_adder USING (uid < 'u4');
CALL profiles.sync('shop.salaries');
SELECT count(grade) FROM profiles.users;
ALTER TABLE shop.salaries DISABLE ROW LEVEL SECURITY;

-- code of the adder's own runs as the adder, and restricted
CREATE TABLE shop.stolen (what text);
GRANT USAGE, CREATE ON SCHEMA loader TO profiles_adder;
SET ROLE profiles_adder;
CREATE FUNCTION loader.spy(note text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING '% runs as %', note, current_user;
    BEGIN
        INSERT INTO shop.stolen VALUES (note);
    EXCEPTION WHEN insufficient_privilege THEN RAISE WARNING 'may not write to shop.stolen';
    END;
    BEGIN
        PERFORM FROM profiles.import_config;
    EXCEPTION WHEN insufficient_privilege THEN RAISE WARNING 'may not read configuration';
    END;
    BEGIN
        EXECUTE 'SET ROLE NONE';
    EXCEPTION WHEN insufficient_privilege THEN RAISE WARNING 'may not set the role';
    END;
    BEGIN
        EXECUTE 'RESET SESSION AUTHORIZATION';
    EXCEPTION WHEN insufficient_privilege THEN RAISE WARNING 'may not reset the session';
    END;
    BEGIN
        EXECUTE 'CREATE TEMP TABLE left_behind ()';
    EXCEPTION WHEN insufficient_privilege THEN RAISE WARNING 'may not leave a temporary table';
    END;
    PERFORM set_config('search_path', 'loader', false);
    RETURN 1;
END $$;
CREATE TABLE loader.plain (uid text, n integer);
INSERT INTO loader.plain VALUES ('u1', 7);
CREATE VIEW loader.own AS SELECT uid, loader.spy('a view') AS seen_by_view FROM loader.plain;
SELECT profiles.add_attributes('user', 'loader.own', 'uid', 'user_id');
RESET ROLE;
SHOW search_path;
CALL profiles.sync('loader.own');
SELECT current_user = session_user AS still_me;
SHOW search_path;
SELECT user_id, seen_by_view FROM profiles.users WHERE seen_by_view IS NOT NULL;
SELECT count(*) AS stolen FROM shop.stolen;
SELECT count(*) AS left_behind FROM pg_class WHERE relname = 'left_behind';

-- code of others does not run at all, whatever they put in the place of a table
SET ROLE profiles_loader;
CREATE TABLE loader.honest (uid text, n integer);
INSERT INTO loader.honest VALUES ('u2', 8);
GRANT SELECT ON loader.honest TO profiles_adder;
CREATE FUNCTION loader.theirs(note text) RETURNS integer LANGUAGE plpgsql AS
    $$ BEGIN RAISE WARNING '% runs as %', note, current_user; RETURN 1; END $$;
CREATE DOMAIN loader.checked AS integer CHECK (loader.theirs('a domain') = 1);
RESET ROLE;
SET ROLE profiles_adder;
SELECT profiles.add_attributes('user', 'loader.honest', 'uid', 'user_id', '{"n": "honest"}');
RESET ROLE;
CALL profiles.sync('loader.honest');
SET ROLE profiles_loader;
ALTER TABLE loader.honest RENAME TO honest_was;
CREATE VIEW loader.honest AS SELECT uid, loader.theirs('a view') AS n FROM loader.honest_was;
GRANT SELECT ON loader.honest TO profiles_adder;
RESET ROLE;
CALL profiles.sync('loader.honest');
SET ROLE profiles_loader;
DROP VIEW loader.honest;
CREATE VIEW loader.honest AS SELECT uid, (n::loader.checked)::integer AS n FROM loader.honest_was;
GRANT SELECT ON loader.honest TO profiles_adder;
RESET ROLE;
CALL profiles.sync('loader.honest');
SET ROLE profiles_loader;
DROP VIEW loader.honest;
ALTER TABLE loader.honest_was RENAME TO honest;
ALTER TABLE loader.honest ENABLE ROW LEVEL SECURITY;
CREATE POLICY theirs ON loader.honest USING (loader.theirs('a policy') = 1);
RESET ROLE;
CALL profiles.sync('loader.honest');
SELECT user_id, honest FROM profiles.users WHERE honest IS NOT NULL;
SET ROLE profiles_loader;
DROP POLICY theirs ON loader.honest;
ALTER TABLE loader.honest DISABLE ROW LEVEL SECURITY;
UPDATE loader.honest SET n = 9;
RESET ROLE;
CALL profiles.sync('loader.honest');
SELECT user_id, honest FROM profiles.users WHERE honest IS NOT NULL;
-- as a role that is nobody in particular calls it: the same
SET client_min_messages = error;
SET ROLE profiles_runner;
CALL profiles.sync('loader.own');
SELECT current_user;
RESET ROLE;
SELECT count(*) AS stolen FROM shop.stolen;
-- a rule of the adder's own on the import's view gives it nothing: it is read as the adder anyway
SET client_min_messages = warning;
SELECT 'profiles.import_' || id AS view FROM profiles.import_config WHERE source = 'loader.honest' \gset
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = :'view'::regclass;
SET ROLE profiles_adder;
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO :view DO INSTEAD
    SELECT 'shop.stolen'::text AS source, 'what'::text AS source_key, 'what'::text AS "attr honest";
RESET ROLE;
CALL profiles.sync('loader.honest');
SELECT status, last_error FROM profiles.custom_attributes WHERE source = 'loader.honest' LIMIT 1;

-- nobody but who may configure gets at the tables
SET ROLE profiles_runner;
SELECT count(*) FROM profiles.import_config;
SELECT * FROM profiles.sync_runs;
SELECT profiles.matched_keys(1);
SELECT profiles.add_attributes('user', 'shop.salaries', 'uid', 'user_id');
SELECT * FROM profiles._read_import(:'view', 'error', false, '{}') AS s (key text);
RESET ROLE;
SET ROLE profiles_loader;
SELECT profiles.matched_keys(1);
RESET ROLE;

SELECT profiles.uninstall();
DROP SCHEMA shop, loader CASCADE;
DROP OWNED BY profiles_shop, profiles_adder, profiles_loader, profiles_runner;
DROP ROLE profiles_shop, profiles_adder, profiles_loader, profiles_runner;
