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
\set VERBOSITY terse
DROP ROLE profiles_adder;
\set VERBOSITY default

-- row-level security of the source is the adder's
ALTER TABLE shop.salaries ENABLE ROW LEVEL SECURITY;
CREATE POLICY low ON shop.salaries TO profiles_adder USING (uid < 'u4');
CALL profiles.sync('shop.salaries');
SELECT count(grade) FROM profiles.users;
ALTER TABLE shop.salaries DISABLE ROW LEVEL SECURITY;

-- hostile sources: a view, a function, a type, a policy of theirs run as the adder, restricted
CREATE TABLE shop.stolen (what text);
CREATE TABLE loader.log (what text);
GRANT USAGE ON SCHEMA loader TO profiles_adder;
GRANT ALL ON loader.log TO profiles_adder;
GRANT CREATE ON SCHEMA loader TO profiles_adder;
SET ROLE profiles_loader;
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
CREATE DOMAIN loader.checked AS integer CHECK (value < 100 AND loader.spy('a domain') = 1);
CREATE TABLE loader.plain (uid text, n text);
INSERT INTO loader.plain VALUES ('u1', '7');
CREATE VIEW loader.hostile AS SELECT uid, loader.spy('a view') AS seen_by_view, n::loader.checked AS checked FROM loader.plain;
GRANT SELECT ON loader.hostile TO profiles_adder;
-- names that ours could be mistaken for
CREATE FUNCTION loader.lower(text) RETURNS text LANGUAGE sql RETURN 'trap';
CREATE DOMAIN loader.text AS pg_catalog.text CHECK (loader.spy('a type called text') = 1);
RESET ROLE;
SET ROLE profiles_adder;
SELECT profiles.add_attributes('user', 'loader.hostile', 'uid', 'user_id');
RESET ROLE;
SHOW search_path;
CALL profiles.sync('loader.hostile');
SELECT current_user = session_user AS still_me;
SHOW search_path;
SELECT user_id, seen_by_view, checked FROM profiles.users WHERE checked IS NOT NULL;
SELECT count(*) AS stolen FROM shop.stolen;
SELECT count(*) AS left_behind FROM pg_class WHERE relname = 'left_behind';
-- as a role that is nobody in particular calls it: the same
SET client_min_messages = error;
SET ROLE profiles_runner;
CALL profiles.sync('loader.hostile');
SELECT current_user;
RESET ROLE;
SELECT count(*) AS stolen FROM shop.stolen;
-- a rule of the adder's own on the import's view gives it nothing: it is read as the adder anyway
SET client_min_messages = warning;
SELECT 'profiles.import_' || id AS view FROM profiles.import_config WHERE source = 'loader.hostile' \gset
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = :'view'::regclass;
SET ROLE profiles_adder;
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO :view DO INSTEAD
    SELECT 'shop.stolen'::text AS source, 'what'::text AS source_key, 'what'::text AS "attribute seen_by_view", 'what'::text AS "attribute checked";
RESET ROLE;
CALL profiles.sync('loader.hostile');
SELECT status, last_error FROM profiles.custom_attributes WHERE source = 'loader.hostile' LIMIT 1;

-- nobody but who may configure gets at the tables
SET ROLE profiles_runner;
SELECT count(*) FROM profiles.import_config;
SELECT * FROM profiles.sync_runs;
SELECT profiles.matched_keys(1);
SELECT profiles.add_attributes('user', 'shop.salaries', 'uid', 'user_id');
SELECT * FROM profiles._read_import(:'view', 'error', false) AS s (key text);
RESET ROLE;
SET ROLE profiles_loader;
SELECT profiles.matched_keys(1);
RESET ROLE;

SELECT profiles.uninstall();
DROP SCHEMA shop, loader CASCADE;
DROP OWNED BY profiles_shop, profiles_adder, profiles_loader, profiles_runner;
DROP ROLE profiles_shop, profiles_adder, profiles_loader, profiles_runner;
