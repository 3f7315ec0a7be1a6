-- Whose rights code runs with: an attempt to gain more, for every way there might be.
--
-- Roles: rights_owner owns the database and the extension and is no superuser;
-- rights_adder and rights_other were granted functions; rights_nobody was not.

\set SHOW_CONTEXT never
\set before :DBNAME
\set admin :USER
SET client_min_messages = warning;

CREATE ROLE rights_owner LOGIN;
CREATE ROLE rights_adder LOGIN;
CREATE ROLE rights_other LOGIN;
CREATE ROLE rights_nobody LOGIN;

--
-- A database's owner installs and uses everything
--
CREATE DATABASE rights_trusted OWNER rights_owner;
\c rights_trusted rights_owner
SET client_min_messages = warning;
SELECT rolsuper FROM pg_roles WHERE rolname = current_user;
CREATE EXTENSION profiles;
CREATE SCHEMA web;
CREATE TABLE web.events (ts timestamptz, usr_id text, account_id text, country text);
INSERT INTO web.events VALUES ('2026-01-01Z', 'u1', 'a1', 'FR'), ('2026-01-02Z', 'u2', 'a1', 'DE');
SELECT profiles.add_source('web.events');
CALL profiles.rebuild();
SELECT user_id, last_seen_country_name FROM profiles.users ORDER BY user_id;
SELECT account_id FROM profiles.accounts ORDER BY account_id;
SELECT * FROM profiles.verify('user') UNION ALL SELECT * FROM profiles.verify('account');
SELECT source, added_by FROM profiles.sources;
SELECT source, kind, folded FROM profiles.status ORDER BY kind;
SELECT kind, phase FROM profiles.progress ORDER BY kind;
SELECT profiles.index_profiles('user', 'geo.country');
SELECT profiles.unindex_profiles('user', 'geo.country');
SELECT profiles.alter_source('web.events', filter => 'country <> ''DE''');
CALL profiles.rebuild('user');
SELECT user_id FROM profiles.users;
INSERT INTO profiles.country VALUES ('XK', 'Kosovo');
-- what is made at run time belongs to the owner of the extension
SELECT c.relname AS not_the_owners FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relowner <> 'rights_owner'::regrole
ORDER BY 1;
SELECT profiles.drop_source('web.events');
SELECT profiles.uninstall();
DROP EXTENSION profiles;
SELECT relname FROM pg_class WHERE relnamespace = 'profiles'::regnamespace ORDER BY 1;
DROP SCHEMA profiles;

-- a schema that another role owns, and could fill, is refused
\c - :admin
GRANT CREATE ON DATABASE rights_trusted TO rights_other;
\c - rights_other
CREATE SCHEMA profiles;
\c - rights_owner
CREATE EXTENSION profiles;
\c - :admin
CREATE EXTENSION profiles;
ALTER SCHEMA profiles OWNER TO rights_owner;
\c - rights_owner
CREATE EXTENSION profiles;
\c :before :admin
DROP DATABASE rights_trusted;

--
-- Without grants
--
CREATE DATABASE rights_grants OWNER rights_owner;
\c rights_grants :admin
-- what a statement comes to: done, or its SQLSTATE
CREATE FUNCTION public.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE SCHEMA vault;
CREATE TABLE vault.secret (usr_id text, ts timestamptz, secret text);
INSERT INTO vault.secret VALUES ('s1', '2026-01-01Z', 'xyzzy');
\c - rights_owner
SET client_min_messages = warning;
CREATE EXTENSION profiles;
CREATE SCHEMA web;
GRANT USAGE ON SCHEMA web TO PUBLIC;
CREATE TABLE web.events (ts timestamptz, usr_id text, plan text);
INSERT INTO web.events VALUES ('2026-01-01Z', 'u1', 'free');
SELECT profiles.add_source('web.events', mapping => '{"plan": "plan"}');
CALL profiles.rebuild();

\c - rights_nobody
SET client_min_messages = warning;
SELECT p.oid::regprocedure AS for_everybody
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'profiles'
WHERE p.provolatile <> 'i' AND has_function_privilege(p.oid, 'EXECUTE')
ORDER BY 1;
SELECT c.relname AS for_everybody, has_table_privilege(c.oid, 'SELECT') AS read
FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind IN ('r', 'v', 'S')
  AND (CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE, SELECT, UPDATE')
            ELSE has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                 OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') END)
ORDER BY 1;
SELECT profiles.add_source('web.events');
CALL profiles.rebuild();
SELECT * FROM profiles.verify();
SELECT profiles.drop_source('web.events');
SELECT profiles.uninstall();
SELECT * FROM profiles._fold('profiles.source_1', 'user', 1);
TABLE profiles.source_config;
TABLE profiles.sources;
TABLE profiles.status;
TABLE profiles.users;
TABLE profiles.user_profile;
TABLE profiles.source_1;
CREATE TABLE profiles.mine (x int);
SELECT name FROM profiles.country WHERE code = 'FR';
SELECT profiles.first_seen(profiles.profile_agg('2026-01-01Z', 'plan', 'x')) = '2026-01-01Z' AS pure;

-- what anybody may call is safe on any view and on what is none
SELECT v.oid::regclass AS unanswered
FROM pg_class v
WHERE v.relkind = 'v' AND public.attempt(format('SELECT * FROM profiles._source_columns(%s)', v.oid)) IS NULL;
CREATE TEMP TABLE t (a text, b int);
CREATE TEMP VIEW sorted AS SELECT a AS user_id FROM t ORDER BY b;
CREATE TEMP VIEW derived AS SELECT x AS user_id FROM (SELECT a AS x FROM t OFFSET 0) s;
CREATE TEMP VIEW listed AS SELECT column1 AS user_id FROM (VALUES ('a')) v;
CREATE TEMP VIEW common AS WITH w AS (SELECT a FROM t) SELECT a AS user_id FROM w;
CREATE TEMP VIEW folded AS SELECT a AS user_id, count(*), rank() OVER (ORDER BY a) FROM t GROUP BY a HAVING count(*) > 1;
CREATE TEMP VIEW bare AS SELECT 1 AS user_id;
CREATE TEMP VIEW sampled AS SELECT a AS user_id FROM t TABLESAMPLE SYSTEM (50);
CREATE TEMP VIEW plain AS SELECT a AS user_id, b + 1 AS "keep x" FROM t;
SELECT v, public.attempt(format('SELECT * FROM profiles._source_columns(%L)', v)) = 'done' AS answered
FROM unnest(ARRAY['sorted', 'derived', 'listed', 'common', 'folded', 'bare', 'sampled', 'plain', 't', 'pg_catalog.pg_locks', 'pg_catalog.pg_tables']) v;
SELECT * FROM profiles._source_columns('plain');

--
-- A role that was granted: its rights count, nobody else's
--
\c - rights_owner
SET client_min_messages = warning;
GRANT EXECUTE ON FUNCTION profiles.add_source, profiles.alter_source, profiles.drop_source TO rights_adder, rights_other;
GRANT SELECT ON profiles.sources, profiles.status TO rights_adder;
GRANT EXECUTE ON FUNCTION profiles.verify, profiles.index_profiles, profiles.unindex_profiles TO rights_adder;
SELECT p.proname, p.oid IN (SELECT objid FROM pg_depend WHERE deptype = 'e') AS of_extension
FROM pg_proc p
WHERE has_function_privilege('rights_adder', p.oid, 'EXECUTE') AND NOT has_function_privilege('rights_nobody', p.oid, 'EXECUTE')
ORDER BY 1;
\c - :admin
GRANT CREATE ON DATABASE rights_grants TO rights_adder;
\c - rights_adder
SET client_min_messages = warning;
-- not even the schema is the owner's to look into
CREATE SCHEMA lab;
CREATE TABLE lab.visits (ts timestamptz, usr_id text, plan text, n text);
INSERT INTO lab.visits VALUES ('2026-02-01Z', 'v1', 'gold', '1'), ('2026-02-02Z', 'v2', 'iron', 'v2@x.example');
SELECT profiles.add_source('lab.visits', mapping => '{"plan": "plan"}');
-- nor is what the owner may read the adder's
SELECT profiles.add_source('web.events', mapping => '{"plan": "plan"}');
SELECT profiles.add_source('vault.secret', mapping => '{"plan": "secret"}');
SELECT profiles.add_source('profiles.source_config', mapping => '{"user_id": "source", "seen_at": "added_at"}');
SELECT profiles.add_source('profiles.user_profile', mapping => '{"user_id": "key", "seen_at": "last_seen"}');
SELECT count(*) FROM lab.visits;
TABLE profiles.users;
\c - rights_owner
SET client_min_messages = warning;
TABLE lab.visits;
CALL profiles.rebuild();
SELECT user_id, last_plan FROM profiles.users ORDER BY user_id;
SELECT source, added_by FROM profiles.sources ORDER BY source;
SELECT count(*) FROM profiles.verify();
SELECT profiles.drop_source('lab.visits');
\c - rights_adder
SET client_min_messages = warning;
SELECT profiles.add_source('lab.visits', mapping => '{"plan": "plan"}');
-- without the right to read it a source is left out, and profiles stay as they were
\c - rights_owner
SET client_min_messages = warning;
GRANT SELECT ON web.events TO rights_adder;
\c - rights_adder
SET client_min_messages = warning;
CREATE VIEW lab.seen AS SELECT ts, usr_id FROM web.events;
SELECT profiles.add_source('lab.seen');
\c - rights_owner
SET client_min_messages = warning;
CALL profiles.rebuild('user');
REVOKE SELECT ON web.events FROM rights_adder;
CREATE TEMP TABLE as_it_was AS TABLE profiles.user_profile;
CALL profiles.rebuild('user');
SELECT count(*) FROM profiles.verify('user');
SELECT count(*) AS stored FROM profiles.user_profile;
SELECT count(*) AS differ FROM as_it_was a FULL JOIN profiles.user_profile p USING (key) WHERE a.profile::text IS DISTINCT FROM p.profile::text;
-- no lock outlives the error
SELECT count(*) AS locks FROM pg_locks WHERE classid = 'pg_extension'::regclass AND objsubid <> 0;
SELECT profiles.drop_source('lab.seen');
CALL profiles.rebuild('user');

--
-- Sources of others
--
\c - rights_other
SET client_min_messages = warning;
SELECT profiles.alter_source('lab.visits', mapping => '{"plan": "usr_id"}');
SELECT profiles.alter_source('lab.visits', filter => 'true');
SELECT profiles.alter_source('lab.visits');
SELECT profiles.drop_source('lab.visits');
SELECT profiles.alter_source('web.events', mapping => '{"plan": "usr_id"}');
-- the extension's owner may drop them, but gives them no expressions, for they would run as the adder
\c - rights_owner
SET client_min_messages = warning;
SELECT profiles.alter_source('lab.visits', capture => 'none');
SELECT public.attempt($$SELECT profiles.alter_source('lab.visits', mapping => '{"plan": "n"}')$$),
       public.attempt($$SELECT profiles.alter_source('lab.visits', mapping => '{"plan": null}')$$),
       public.attempt($$SELECT profiles.alter_source('lab.visits', filter => 'n <> ''''')$$);
SELECT mapping ->> 'plan' AS plan, filters FROM profiles.sources WHERE source = 'lab.visits';
BEGIN;
SELECT profiles.drop_source('lab.visits');
ROLLBACK;
-- a superuser may do anything, yet not become whose rights count
\c - :admin
SET client_min_messages = warning;
SELECT profiles.alter_source('lab.visits', mapping => '{"n": "n::int"}');
SELECT added_by FROM profiles.sources WHERE source = 'lab.visits';
SELECT profiles.alter_source('lab.visits', mapping => '{"n": "n", "plan": "plan"}');
SELECT added_by FROM profiles.sources WHERE source = 'lab.visits';

--
-- Expressions run as the adder, whoever calls
--
CREATE TABLE vault.log (current text, session text, attempted text, gained boolean, UNIQUE (current, session, attempted, gained));
GRANT USAGE ON SCHEMA vault TO rights_adder, rights_owner;
GRANT INSERT, SELECT, DELETE ON vault.log TO rights_adder, rights_owner;
CREATE TABLE vault.superusers (ts timestamptz, usr_id text);
INSERT INTO vault.superusers VALUES ('2026-01-03Z', 'su');
SELECT profiles.add_source('vault.superusers');
\c - rights_adder
SET client_min_messages = warning;
CREATE TABLE lab.deferred (x int);
CREATE FUNCTION lab.later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'ALTER ROLE rights_adder CREATEROLE';
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON lab.deferred DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION lab.later();
CREATE FUNCTION lab.attack() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY[
        'SET ROLE rights_owner',
        'SET SESSION AUTHORIZATION rights_owner',
        'RESET ROLE',
        'RESET SESSION AUTHORIZATION',
        'SELECT set_config(''role'', ''none'', false)',
        'CREATE TEMP TABLE pg_class (x int)',
        'CREATE TEMP VIEW source_config AS SELECT 1',
        'INSERT INTO lab.deferred VALUES (1)',
        'ALTER ROLE rights_adder CREATEROLE',
        'GRANT rights_owner TO rights_adder',
        'GRANT EXECUTE ON FUNCTION profiles._fold TO PUBLIC',
        'CREATE ROLE rights_backdoor',
        'ALTER DATABASE rights_grants OWNER TO rights_adder',
        'SELECT secret FROM vault.secret',
        'COPY vault.secret TO PROGRAM ''cat''',
        'SELECT pg_read_file(''PG_VERSION'')',
        'INSERT INTO web.events VALUES (now(), ''forged'')',
        'DROP TABLE web.events',
        'ALTER TABLE web.events OWNER TO rights_adder',
        'TABLE profiles.user_profile',
        'DELETE FROM profiles.user_profile',
        'UPDATE profiles.source_config SET source = ''x''',
        'DROP VIEW profiles.users',
        'CREATE TABLE profiles.mine (x int)',
        'ALTER VIEW profiles.source_1 OWNER TO rights_adder',
        'SELECT profiles._fold(''profiles.source_1'', ''user'', 1)',
        'SELECT profiles._rebuild_step(''user'', true, NULL)',
        'SELECT profiles._install_triggers(''profiles.source_1'', 1, ''none'', ''recompute'', NULL)',
        'DELETE FROM profiles.user_pending',
        'INSERT INTO profiles.blocked VALUES (''user'', ''u1'')',
        'CREATE TRIGGER t AFTER INSERT ON web.events FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(1, ''deferred'', ''recompute'')',
        'CALL profiles.refresh()',
        'SELECT profiles.forget(''user'', ''u1'')',
        'SELECT profiles._ddl(''DROP TABLE web.events'')',
        'SELECT profiles._give_view(''lab.seen'', 10::oid)',
        'SELECT profiles._make_view(77)',
        'SELECT profiles._uninstall(10::oid)',
        'SELECT profiles.uninstall()',
        'CALL profiles.rebuild()',
        'SELECT profiles.drop_source(''vault.superusers'')',
        'SELECT profiles.alter_source(''web.events'', mapping => ''{"plan": "usr_id"}'')',
        'SELECT profiles.add_source(''vault.secret'')',
        'DISCARD ALL',
        'PREPARE later AS SELECT 1',
        'LISTEN later',
        'SET session_replication_role = replica']
    LOOP
        BEGIN
            EXECUTE statement;
            INSERT INTO vault.log VALUES (current_user, session_user, statement, true) ON CONFLICT DO NOTHING;
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO vault.log VALUES (current_user, session_user, statement, false) ON CONFLICT DO NOTHING;
        END;
    END LOOP;
    -- what may be set lasts no longer than the fold
    PERFORM set_config('search_path', 'lab', false), set_config('TimeZone', 'Asia/Tokyo', false),
            set_config('profiles.pending_limit', '0', false);
END
$$;
CREATE FUNCTION lab.value(given text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM lab.attack();
    RETURN given;
END
$$;
SELECT profiles.alter_source('lab.visits', mapping => '{"plan": "lab.value(plan)"}', filter => 'lab.value(''x'') = ''x''');
SELECT profiles.alter_source('lab.visits', mapping => '{"user_id": "lab.value(usr_id)"}');
SELECT count(*) FROM profiles.verify() WHERE key LIKE 'v%';
\c - rights_owner
SET client_min_messages = warning;
CALL profiles.rebuild();
SELECT count(*) FROM profiles.verify();
SHOW search_path;
SHOW profiles.pending_limit;
SELECT current_user, session_user;
\c - :admin
SET client_min_messages = warning;
SELECT profiles.alter_source('lab.visits', mapping => '{"extra": "lab.value(''x'')"}');
CALL profiles.rebuild();
SELECT count(*) FROM profiles.verify();
BEGIN;
SELECT count(*) FROM profiles.verify();
SELECT current_user = :'admin' AS same_user, current_setting('TimeZone') <> 'Asia/Tokyo' AS same_zone,
       current_setting('profiles.pending_limit') AS pending_limit;
COMMIT;
SELECT current, CASE session WHEN :'admin' THEN 'superuser' ELSE session END AS session,
       count(*) AS attempts, count(*) FILTER (WHERE gained) AS gained
FROM vault.log GROUP BY 1, 2 ORDER BY 1, 2;
SELECT current, CASE session WHEN :'admin' THEN 'superuser' ELSE session END AS session, attempted AS gained
FROM vault.log WHERE gained ORDER BY 1, 2, 3;
SELECT rolcreaterole FROM pg_roles WHERE rolname = 'rights_adder';
SELECT count(*) AS temporary FROM pg_class WHERE relnamespace = pg_my_temp_schema();
SELECT source, CASE added_by WHEN :'admin' THEN 'superuser' ELSE added_by END AS added_by FROM profiles.sources ORDER BY source;
SELECT user_id, last_plan, last_extra FROM profiles.users ORDER BY user_id;

-- parallel workers too
\c - rights_adder
SET client_min_messages = warning;
CREATE FUNCTION lab.whoami(text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS 'BEGIN RETURN current_user; END';
CREATE TABLE lab.many (ts timestamptz, usr_id text);
INSERT INTO lab.many SELECT '2026-01-01Z', 'm' || i % 10 FROM generate_series(1, 20000) i;
ANALYZE lab.many;
SELECT profiles.add_source('lab.many', mapping => '{"who": "lab.whoami(usr_id)"}');
\c - :admin
SET client_min_messages = warning;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
CALL profiles.rebuild('user');
SELECT last_who, count(*) FROM profiles.users WHERE user_id LIKE 'm_' GROUP BY 1;
SELECT profiles.drop_source('lab.many');
RESET ALL;

-- nor do constants run anything as anybody else: their types may have constraints
DELETE FROM vault.log;
\c - rights_adder
SET client_min_messages = warning;
CREATE FUNCTION lab.check(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO vault.log VALUES (current_user, session_user, 'constraint', false) ON CONFLICT DO NOTHING;
    RETURN true;
END
$$;
GRANT USAGE ON SCHEMA lab TO PUBLIC;
GRANT EXECUTE ON FUNCTION lab.check TO PUBLIC;
CREATE DOMAIN lab.checked AS text CHECK (lab.check(VALUE));
CREATE TYPE lab.pair AS (x lab.checked, y text);
SELECT profiles.alter_source('lab.visits', filter => 'true',
    mapping => $${"user_id": "usr_id", "extra": "('{x}'::lab.checked[])[1]", "plan": "('(x,y)'::lab.pair).y"}$$);
DELETE FROM vault.log;
SELECT profiles.alter_source('lab.visits', mapping => '{"n": "n"}');
\c - :admin
SET client_min_messages = warning;
SELECT profiles.alter_source('lab.visits', mapping => '{"n": null}');
CALL profiles.rebuild();
SELECT count(*) FROM profiles.verify();
SELECT last_extra FROM profiles.users WHERE user_id = 'v1';
SELECT DISTINCT current AS ran_as, attempted AS what FROM vault.log ORDER BY 1, 2;
\c - rights_adder
SET client_min_messages = warning;
SELECT profiles.alter_source('lab.visits', mapping => '{"extra": null, "plan": "plan"}');
DELETE FROM vault.log;

--
-- The owner of the extension does not become the roles that call or add
--
\c - rights_owner
SET client_min_messages = warning;
CREATE SCHEMA plot;
GRANT USAGE ON SCHEMA plot TO PUBLIC;
CREATE FUNCTION plot.note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO vault.log VALUES (current_user, session_user, what, false) ON CONFLICT DO NOTHING;
    RETURN true;
END
$$;
CREATE FUNCTION plot.value(given text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
'BEGIN PERFORM plot.note(''expression''); RETURN given; END';
CREATE TABLE plot.events (ts timestamptz, usr_id text);
INSERT INTO plot.events VALUES ('2026-01-01Z', 'p1');
GRANT SELECT ON plot.events TO PUBLIC;

-- internal functions with somebody else's name
SELECT public.attempt(format($$SELECT profiles._add_source(%s, 'vault.secret', NULL, '{}', NULL, 'none', 'recompute', 'refuse')$$, 'rights_adder'::regrole::oid)) = 'done' AS done;
SELECT public.attempt(format($$SELECT profiles._alter_source(%s, 'lab.visits', '{"plan": "secret"}', NULL, NULL, NULL)$$, 'rights_adder'::regrole::oid)) = 'done' AS done;
SELECT public.attempt(format($$SELECT profiles._expression(%s, 'plot.events', 'plot.value(''x'')', 25)$$, 10)) = 'done' AS done;
SELECT public.attempt('SELECT profiles._make_view(77)') = 'done' AS done;
CREATE VIEW profiles.source_77 AS SELECT plot.value(usr_id) AS user_id, ts AS seen_at FROM plot.events;
SELECT public.attempt('SELECT profiles._give_view(''profiles.source_77'', 10)') = 'done' AS done;
\set VERBOSITY sqlstate
ALTER VIEW profiles.source_77 OWNER TO rights_adder;
\set VERBOSITY default
DROP VIEW profiles.source_77;

-- internal functions over views of others, and over odd ones of its own
\c - :admin
CREATE VIEW vault.people AS SELECT usr_id AS user_id, ts AS seen_at, secret AS plan FROM vault.secret;
CREATE VIEW vault.few AS SELECT usr_id AS user_id, ts AS seen_at, secret AS plan FROM vault.secret LIMIT 0;
\c - rights_owner
SET client_min_messages = warning;
SELECT public.attempt('SELECT * FROM profiles._fold(''vault.people'', ''user'', 1)') = 'done' AS done,
       public.attempt('SELECT * FROM profiles._fold(''vault.few'', ''user'', 1)') = 'done' AS done,
       public.attempt('SELECT profiles._check_source(''vault.people'')') = 'done' AS done,
       public.attempt('SELECT profiles._install_triggers(''vault.people'', 1, ''deferred'', ''recompute'', NULL)') = 'done' AS done;
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid = 'vault.secret'::regclass;
CREATE VIEW profiles.source_77 AS SELECT 12345678::bigint AS user_id, ts AS seen_at FROM plot.events;
CREATE VIEW profiles.source_78 AS SELECT usr_id AS user_id FROM plot.events;
CREATE VIEW profiles.source_79 AS SELECT usr_id AS user_id, ts AS seen_at FROM (SELECT * FROM plot.events OFFSET 0) e;
CREATE VIEW profiles.source_80 AS SELECT usr_id AS user_id, ts::text AS seen_at FROM plot.events ORDER BY ts;
SELECT n, public.attempt(format('SELECT * FROM profiles._fold(%L, ''user'', 1)', 'profiles.source_' || n)) = 'done' AS done
FROM generate_series(77, 80) n;
DROP VIEW profiles.source_77, profiles.source_78, profiles.source_79, profiles.source_80;

-- a function that hides the aggregate of the fold
CREATE FUNCTION profiles.step(state profiles.profile, timestamptz, text, text) RETURNS profiles.profile LANGUAGE plpgsql AS $$
BEGIN
    PERFORM plot.note('aggregate');
    RETURN state;
END
$$;
CREATE AGGREGATE profiles.profile_agg(timestamptz, text, text) (SFUNC = profiles.step, STYPE = profiles.profile);
SELECT public.attempt('CALL profiles.rebuild()') IS NOT NULL AS tried;
DROP AGGREGATE profiles.profile_agg(timestamptz, text, text);
DROP FUNCTION profiles.step;

-- triggers on configuration: at once, and deferred until the caller commits
CREATE FUNCTION plot.trap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM plot.note('trigger ' || TG_NAME);
    IF TG_WHEN = 'BEFORE' THEN
        PERFORM public.attempt('SET ROLE NONE');
        PERFORM public.attempt('RESET SESSION AUTHORIZATION');
        PERFORM public.attempt('CREATE TEMP TABLE pg_class (x int)');
        PERFORM public.attempt('SET search_path = plot');
        PERFORM public.attempt('CREATE VIEW profiles.source_77 AS SELECT plot.value(usr_id) AS user_id, ts AS seen_at FROM plot.events');
        PERFORM public.attempt(format('SELECT profiles._give_view(''profiles.source_77'', %s)', r.oid)),
                public.attempt(format('SELECT profiles._expression(%s, ''plot.events'', ''plot.value(usr_id)'', 25)', r.oid))
        FROM pg_roles r WHERE r.rolname IN (session_user, 'rights_adder');
        PERFORM public.attempt('SELECT * FROM profiles._fold(''profiles.source_77'', ''user'', 1)');
        PERFORM public.attempt('SELECT profiles._make_view(78)');
        PERFORM public.attempt('SELECT * FROM profiles._fold(''profiles.source_78'', ''user'', 1)');
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER now BEFORE INSERT OR UPDATE ON profiles.source_config FOR EACH ROW EXECUTE FUNCTION plot.trap();
CREATE TRIGGER now BEFORE INSERT OR UPDATE ON profiles.upkeep FOR EACH ROW EXECUTE FUNCTION plot.trap();
\c - rights_adder
SET client_min_messages = warning;
CREATE TABLE lab.more (ts timestamptz, usr_id text);
SELECT public.attempt('SELECT profiles.add_source(''lab.more'')') IS NOT NULL AS tried;
SELECT public.attempt('SELECT profiles.alter_source(''lab.visits'', filter => ''true'')') IS NOT NULL AS tried;
SELECT count(*) AS temporary FROM pg_class WHERE relnamespace = pg_my_temp_schema();
\c - :admin
SET client_min_messages = warning;
SELECT public.attempt('SELECT profiles.add_source(''vault.secret'')') IS NOT NULL AS tried;
SELECT public.attempt('SELECT profiles.alter_source(''vault.superusers'', filter => ''true'')') IS NOT NULL AS tried;
SELECT public.attempt('CALL profiles.rebuild()') IS NOT NULL AS tried;
SELECT count(*) AS temporary FROM pg_class WHERE relnamespace = pg_my_temp_schema();
\c - rights_owner
SET client_min_messages = warning;
DROP TRIGGER now ON profiles.source_config;
DROP TRIGGER now ON profiles.upkeep;
CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE ON profiles.source_config DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION plot.trap();
CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE ON profiles.upkeep DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION plot.trap();
\c - :admin
SET client_min_messages = warning;
SELECT public.attempt('SELECT profiles.alter_source(''vault.superusers'', filter => ''true'')') IS NOT NULL AS tried;
SELECT public.attempt('CALL profiles.rebuild()') IS NOT NULL AS tried;
DROP TRIGGER later ON profiles.source_config;
DROP TRIGGER later ON profiles.upkeep;
SELECT current AS ran_as, attempted AS what FROM vault.log WHERE current <> 'rights_owner' ORDER BY 1, 2;
SELECT count(*) > 0 AS ran_as_owner FROM vault.log WHERE current = 'rights_owner';
SELECT relname, relowner::regrole AS owner FROM pg_class
WHERE relnamespace = 'profiles'::regnamespace AND relname IN ('source_77', 'source_78') AND relowner <> 'rights_owner'::regrole
  AND pg_get_viewdef(oid) LIKE '%plot%';
DELETE FROM vault.log;
DO $$ BEGIN PERFORM profiles.drop_source('vault.secret'); EXCEPTION WHEN undefined_object THEN NULL; END $$;

-- default privileges of the owner don't open the views of others
\c - rights_owner
SET client_min_messages = warning;
ALTER DEFAULT PRIVILEGES IN SCHEMA profiles GRANT SELECT ON TABLES TO rights_nobody;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO rights_other;
\c - rights_adder
SET client_min_messages = warning;
DO $$ BEGIN PERFORM profiles.drop_source('lab.more'); EXCEPTION WHEN undefined_object THEN NULL; END $$;
SELECT profiles.add_source('lab.more');
SELECT c.relowner::regrole AS owner, a.grantee::regrole AS opened_to
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relname LIKE 'source\__%' AND c.relkind = 'v' AND a.grantee <> c.relowner
  AND c.relowner = 'rights_adder'::regrole;
\c - rights_owner
SET client_min_messages = warning;
ALTER DEFAULT PRIVILEGES IN SCHEMA profiles REVOKE SELECT ON TABLES FROM rights_nobody;
ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM rights_other;

-- tampered configuration: rows and views of its own run as itself
UPDATE profiles.source_config SET source = 'vault.secret' WHERE source = 'lab.more';
SELECT id FROM profiles.source_config WHERE source = 'vault.secret' \gset secret_
DROP VIEW profiles.source_:secret_id;
CREATE VIEW profiles.source_:secret_id AS SELECT plot.value(usr_id) AS user_id, ts AS seen_at FROM plot.events;
CALL profiles.rebuild('user');
SELECT added_by FROM profiles.sources WHERE source = 'vault.secret';
DROP VIEW profiles.source_:secret_id;
CREATE VIEW profiles.source_:secret_id AS SELECT usr_id AS user_id, ts AS seen_at FROM vault.secret;
SELECT public.attempt('CALL profiles.rebuild(''user'')');
DROP VIEW profiles.source_:secret_id;
SELECT profiles.drop_source('vault.secret');
CALL profiles.rebuild('user');
\c - :admin
SELECT DISTINCT current AS ran_as FROM vault.log;
DELETE FROM vault.log;

-- the adder owns the view: whatever is done to it, the server goes on and nobody else's rights are used
\c - rights_adder
SET client_min_messages = warning;
SELECT c.relname AS view FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'v' AND pg_get_viewdef(c.oid) LIKE '%lab.visits%' \gset
ALTER VIEW profiles.:view RENAME COLUMN seen_at TO other;
SELECT public.attempt('SELECT * FROM profiles.verify()') IS NOT NULL AS tried;
ALTER VIEW profiles.:view RENAME COLUMN other TO seen_at;
ALTER VIEW profiles.:view RENAME COLUMN plan TO "pl'an) FROM vault.secret --";
SELECT public.attempt('SELECT * FROM profiles.verify()') IS NOT NULL AS tried;
ALTER VIEW profiles.:view RENAME COLUMN "pl'an) FROM vault.secret --" TO plan;
SELECT pg_get_viewdef(('profiles.' || :'view')::regclass) AS definition \gset
SELECT string_agg(format('NULL::%s AS %I', format_type(atttypid, atttypmod), attname), ', ' ORDER BY attnum) AS nulls
FROM pg_attribute WHERE attrelid = ('profiles.' || :'view')::regclass AND attnum > 0 \gset
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO profiles.:view DO INSTEAD SELECT :nulls FROM (SELECT 1 OFFSET 0) x;
SELECT public.attempt('SELECT * FROM profiles.verify()') = 'done' AS done;
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO profiles.:view DO INSTEAD SELECT :nulls FROM lab.visits ORDER BY ts;
SELECT public.attempt('SELECT * FROM profiles.verify()') = 'done' AS done;
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO profiles.:view DO INSTEAD :definition
SELECT count(*) FROM profiles.verify();

--
-- Capture: who writes events needs no rights here, and gains none
--
\c - rights_owner
SET client_min_messages = warning;
CREATE FUNCTION plot.pending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM plot.note('trigger on pending');
    PERFORM public.attempt('CREATE TEMP TABLE pg_class (x int)');
    PERFORM public.attempt('SET ROLE NONE');
    RETURN NEW;
END
$$;
CREATE TRIGGER now BEFORE INSERT ON profiles.user_pending FOR EACH ROW EXECUTE FUNCTION plot.pending();
\c - rights_adder
SET client_min_messages = warning;
CREATE TABLE lab.clicks (ts timestamptz, usr_id text, plan text);
GRANT INSERT, SELECT, UPDATE, DELETE, TRUNCATE ON lab.clicks TO rights_nobody;
SELECT profiles.add_source('lab.clicks', mapping => '{"plan": "lab.value(plan)"}');
\c - rights_nobody
INSERT INTO lab.clicks VALUES ('2026-03-01Z', 'k1', 'free'), ('2026-03-02Z', 'k2', 'free');
UPDATE lab.clicks SET plan = 'paid' WHERE usr_id = 'k1';
DELETE FROM lab.clicks WHERE usr_id = 'k2';
SELECT current_user, current_setting('search_path') AS search_path, current_setting('TimeZone') <> 'Asia/Tokyo' AS same_zone;
SELECT count(*) AS temporary FROM pg_class WHERE relnamespace = pg_my_temp_schema();
TABLE profiles.user_pending;
\c - :admin
SET client_min_messages = warning;
INSERT INTO lab.clicks VALUES ('2026-03-03Z', 'k3', 'free');
SELECT current, CASE session WHEN :'admin' THEN 'superuser' ELSE session END AS session, bool_or(gained) AS gained
FROM vault.log GROUP BY 1, 2 ORDER BY 1, 2;
SELECT current, CASE session WHEN :'admin' THEN 'superuser' ELSE session END AS session, attempted AS gained
FROM vault.log WHERE gained ORDER BY 1, 2, 3;
DELETE FROM vault.log;
-- not even a deferred trigger runs as the writer
DROP TRIGGER now ON profiles.user_pending;
\c - rights_owner
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON profiles.user_pending DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION plot.pending();
\c - :admin
SET client_min_messages = warning;
SELECT public.attempt('INSERT INTO lab.clicks VALUES (''2026-03-04Z'', ''k4'', ''free'')') IS NOT NULL AS tried;
DROP TRIGGER later ON profiles.user_pending;
SELECT DISTINCT current AS ran_as FROM vault.log WHERE current NOT IN ('rights_owner', 'rights_adder');
DELETE FROM vault.log;
CALL profiles.refresh('user');
SELECT count(*) FROM profiles.verify();

-- who may make triggers on events may make ones of our function: the relations
-- that it reads are never those of the session
CREATE TABLE vault.clicks (ts timestamptz, usr_id text);
ALTER TABLE vault.clicks OWNER TO rights_other;
GRANT USAGE ON SCHEMA vault TO rights_other;
GRANT INSERT ON vault.log TO rights_other;
SELECT profiles.add_source('vault.clicks');
SELECT id FROM profiles.source_config WHERE source = 'vault.clicks' \gset clicks_
GRANT CREATE, TEMPORARY ON DATABASE rights_grants TO rights_other;
\c - rights_other
SET client_min_messages = warning;
CREATE SCHEMA other;
GRANT USAGE ON SCHEMA other TO PUBLIC;
-- a trigger on a table of its own does not reach the source of another
CREATE TABLE other.clicks (ts timestamptz, usr_id text);
CREATE TRIGGER forged AFTER INSERT ON other.clicks REFERENCING NEW TABLE AS profiles_new_events
    FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(:clicks_id, 'deferred', 'recompute');
INSERT INTO other.clicks VALUES ('2026-01-01Z', 'forged');
\c - :admin
SELECT count(*) AS forged FROM profiles.user_pending WHERE key = 'forged';
SELECT count(*) AS forged FROM profiles.due WHERE source_id = :clicks_id AND reason <> 'added';
\c - rights_other
SET client_min_messages = warning;
CREATE FUNCTION other.value(given text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO vault.log VALUES (current_user, session_user, 'temporary view', true);
    RETURN given;
END
$$;
CREATE TEMP VIEW profiles_new_events AS SELECT timestamptz '2026-01-01Z' AS ts, other.value('o1') AS usr_id;
CREATE TEMP VIEW profiles_old_events AS SELECT timestamptz '2026-01-01Z' AS ts, other.value('o1') AS usr_id;
CREATE TEMP VIEW profiles_new_rows AS SELECT other.value('o1') AS key, NULL::text AS left_out, NULL::profiles.profile AS profile, 1::bigint AS events, NULL::text AS example;
CREATE TEMP VIEW profiles_old_rows AS SELECT other.value('o1') AS key, NULL::text AS left_out, NULL::profiles.profile AS profile, 1::bigint AS events, NULL::text AS example;
-- instead of the source's triggers; each statement on its own, in a plan cache of its own
CREATE FUNCTION other.forge(timing text, transition text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    name text;
    answer text := '';
    statement text;
BEGIN
    FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'vault.clicks'::regclass AND NOT tgisinternal LOOP
        EXECUTE format('DROP TRIGGER %I ON vault.clicks', name);
    END LOOP;
    EXECUTE format('CREATE TRIGGER forged %s ON vault.clicks %s FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(%s)',
                   timing, transition, arguments);
    FOREACH statement IN ARRAY ARRAY['INSERT INTO vault.clicks VALUES (''2026-01-01Z'', ''o1'')', 'UPDATE vault.clicks SET usr_id = ''o2''',
                                     'DELETE FROM vault.clicks', 'TRUNCATE vault.clicks'] LOOP
        answer := answer || public.attempt(statement);
    END LOOP;
    RETURN answer;
EXCEPTION WHEN invalid_object_definition OR feature_not_supported THEN
    RETURN SQLSTATE;
END
$$;
SELECT count(*) AS tried, bool_or(other.forge(timing, transition, :'clicks_id' || arguments) IS NULL) AS unanswered
FROM (VALUES ('AFTER INSERT', ''), ('AFTER INSERT', 'REFERENCING NEW TABLE AS x'), ('BEFORE INSERT', ''),
             ('AFTER UPDATE', ''), ('AFTER UPDATE', 'REFERENCING OLD TABLE AS x'), ('AFTER UPDATE', 'REFERENCING NEW TABLE AS x'),
             ('AFTER UPDATE', 'REFERENCING OLD TABLE AS x NEW TABLE AS y'),
             ('AFTER UPDATE', 'REFERENCING OLD TABLE AS profiles_new_events NEW TABLE AS profiles_old_events'),
             ('AFTER DELETE', ''), ('AFTER DELETE', 'REFERENCING OLD TABLE AS x'), ('BEFORE DELETE', ''),
             ('AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', ''), ('BEFORE TRUNCATE', ''), ('AFTER TRUNCATE', '')) t (timing, transition),
     unnest(ARRAY[', ''deferred'', ''recompute''', ', ''immediate'', ''recompute''', ', ''deferred'', ''keep''', '']) arguments;
SELECT public.attempt('SELECT profiles.capture()') = 'done' AS done;
\c - :admin
SET client_min_messages = warning;
SELECT DISTINCT current AS ran_as, attempted AS what FROM vault.log WHERE current NOT IN ('rights_other', 'rights_adder');
DELETE FROM vault.log;
SELECT profiles.drop_source('vault.clicks');
-- partitions that come and go where the extension's owner may not look
\c - :admin
REVOKE USAGE ON SCHEMA lab FROM PUBLIC;
\c - rights_adder
SET client_min_messages = warning;
CREATE TABLE lab.parted (ts timestamptz, usr_id text) PARTITION BY RANGE (ts);
CREATE TABLE lab.parted_1 PARTITION OF lab.parted FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
INSERT INTO lab.parted VALUES ('2026-01-05Z', 'part1');
SELECT profiles.add_source('lab.parted');
\c - rights_owner
SET client_min_messages = warning;
CALL profiles.rebuild('user');
\c - rights_adder
CREATE TABLE lab.parted_2 PARTITION OF lab.parted FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
INSERT INTO lab.parted VALUES ('2026-02-05Z', 'part2');
ALTER TABLE lab.parted DETACH PARTITION lab.parted_1;
\c - rights_owner
SET client_min_messages = warning;
CALL profiles.refresh('user');
SELECT user_id FROM profiles.users WHERE user_id LIKE 'part%';
SELECT profiles.drop_source('lab.parted');
\c - :admin
GRANT USAGE ON SCHEMA lab TO PUBLIC;
-- a role that may make triggers but does not own the table can undo what it did
\c - rights_owner
SET client_min_messages = warning;
CREATE TABLE web.shared (ts timestamptz, usr_id text);
GRANT SELECT, TRIGGER ON web.shared TO rights_adder;
\c - rights_adder
SET client_min_messages = warning;
SELECT profiles.add_source('web.shared');
SELECT profiles.drop_source('web.shared');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'web.shared'::regclass;
SELECT profiles.drop_source('lab.clicks');

--
-- Text that tries to break out of its place
--
CREATE TABLE lab.fence (id text, ts timestamptz, a text);
INSERT INTO lab.fence VALUES ('f1', '2026-03-01Z', 'x');
CREATE TABLE lab.canary (x int);
CREATE TEMP TABLE tries (n int GENERATED ALWAYS AS IDENTITY, expression text);
INSERT INTO tries (expression) VALUES
    ('a) FROM vault.secret; DROP TABLE lab.canary; --'),
    ('a FROM vault.secret'),
    ('1; SELECT 2'),
    ('1; DROP TABLE lab.canary'),
    ('(SELECT secret FROM vault.secret)'),
    ('EXISTS (SELECT 1)'),
    ('ARRAY(SELECT a)'),
    ('a = ANY (SELECT a)'),
    ('a UNION SELECT secret FROM vault.secret'),
    ('a INTO x'),
    ('DISTINCT a'),
    ('a ORDER BY a'),
    ('a LIMIT 1'),
    ('a WHERE true'),
    ('a FOR UPDATE'),
    ('a -- ' || E'\n' || ', a'),
    ('a /* '),
    ('a) AS x, (a'),
    ('$$a'),
    ('$1'),
    (':x'),
    ('"a'),
    ('''a'),
    ('((a)'),
    ('a))'),
    ('a,'),
    (''),
    (' '),
    ('--'),
    ('*'),
    ('fence.*.*'),
    ('other.a'),
    ('DEFAULT'),
    ('a x'),
    ('max(a)'),
    ('grouping(a)'),
    ('rank() OVER ()'),
    ('generate_series(1, 2)'),
    ('unnest(ARRAY[a])'),
    ('nextval(''lab.s'')'),
    ('CURRENT OF c');
CREATE SEQUENCE lab.s;
SELECT n, expression FROM tries t
WHERE public.attempt(format('SELECT profiles.add_source(''lab.fence'', mapping => %L)',
          jsonb_build_object('user_id', 'id', 'seen_at', 'ts', 'a', t.expression))) = 'done'
   OR public.attempt(format('SELECT profiles.add_source(''lab.fence'', mapping => ''{"user_id": "id"}'', filter => %L)', t.expression)) = 'done'
ORDER BY n;
SELECT source FROM profiles.sources WHERE source LIKE '%fence%';
-- what only looks so is taken for what it is
SELECT profiles.add_source('lab.fence', filter => $$a <> 'x''); DROP TABLE lab.canary; --' /* a comment */ -- and another$$,
    mapping => jsonb_build_object('user_id', 'id', 'quoted', $$'a'') FROM vault.secret; --'$$, 'dollar', '$x$1; $$ " ''$x$',
                                  'lines', E'E''1\\n2'' || a || ''\\''', 'unicode', 'U&''\0061'' || a', 'label', 'fence.a', 'row_of', '(fence.*)::text'));
\c - rights_owner
SET client_min_messages = warning;
CALL profiles.rebuild('user');
SELECT last_quoted, last_dollar, last_lines, last_unicode, last_label, last_row_of FROM profiles.users WHERE user_id = 'f1';
SELECT count(*) FROM profiles.verify();

-- names of attributes, sources, kinds
SELECT name FROM unnest(ARRAY['a b', 'A', 'a"b', E'a\nb', E'a\n', 'a''; DROP TABLE lab.canary; --', 'é', 'a%s', '$1', 'a..b', '.a', 'a.', '_a', '1a', '',
                              'keep x', 'keep filter', 'a-b', repeat('a', 57)]) name
WHERE public.attempt(format('SELECT profiles.alter_source(''web.events'', mapping => %L)', jsonb_build_object(name, 'plan'))) = 'done';
SELECT name, public.attempt(format('SELECT profiles.drop_source(%L)', name)) = 'done' AS dropped,
       public.attempt(format('SELECT profiles.alter_source(%L)', name)) = 'done' AS altered,
       public.attempt(format('SELECT count(*) FROM profiles.verify(%L)', name)) = 'done' AS verified,
       public.attempt(format('CALL profiles.rebuild(%L)', name)) = 'done' AS rebuilt,
       public.attempt(format('SELECT profiles.index_profiles(%L, ''plan'')', name)) = 'done' AS indexed,
       public.attempt(format('SELECT profiles.index_profiles(''user'', %L)', name)) = 'done' AS indexed,
       public.attempt(format('SELECT profiles.unindex_profiles(''user'', %L)', name)) = 'done' AS unindexed
FROM unnest(ARRAY['', 'user; DROP TABLE lab.canary', 'user''', 'user"', 'users', 'USER', '%I', '$1', 'a.b.c.d', 'source_config', 'profile', 'key)', E'plan\n',
                  'plan) ; DROP TABLE lab.canary; --', 'last_seen']) name;

-- names of relations and columns
\c - rights_adder
SET client_min_messages = warning;
SELECT to_regclass('lab.canary') IS NOT NULL AS canary_lives;
SELECT profiles.drop_source('lab.fence');
CREATE SCHEMA "wé.b ""%s""";
CREATE TABLE "wé.b ""%s"""."we""ird %s%s%s%n $1 $$ tab" ("sel""ect" text, "%I" timestamptz, "Plän; --" text, "select" text, "$1" text, "profiles" text);
INSERT INTO "wé.b ""%s"""."we""ird %s%s%s%n $1 $$ tab" VALUES
    ('w1', '2026-04-01Z', 'p', '10', 'd', 'q'), ('w2', '2026-04-02Z', 'p', 'not a number', 'd', 'q'), ('w3', '2026-04-03Z', 'p', '30', 'd', 'q');
SELECT profiles.add_source('"wé.b ""%s"""."we""ird %s%s%s%n $1 $$ tab"',
    mapping => '{"user_id": "\"sel\"\"ect\"", "seen_at": "\"%I\"", "plan": "\"Plän; --\"", "label": "100 / \"select\"::int", "dollar": "\"$1\"", "quoted": "profiles"}',
    filter => '"%I" > ''2026-01-01''');
SELECT mapping ->> 'user_id' AS user_id, filters FROM profiles.sources WHERE source LIKE '%ird%';
\c - rights_owner
SET client_min_messages = warning;
CALL profiles.rebuild('user');
SELECT user_id, last_plan, last_label, last_dollar, last_quoted FROM profiles.users WHERE user_id LIKE 'w%' ORDER BY 1;
SELECT folded, left_out, examples FROM profiles.status WHERE source LIKE '%ird%' AND kind = 'user';
SELECT count(*) FROM profiles.verify();
\c - rights_adder
SET client_min_messages = warning;
SELECT profiles.alter_source('"wé.b ""%s"""."we""ird %s%s%s%n $1 $$ tab"', mapping => '{"dollar": null}');
SELECT profiles.drop_source('"wé.b ""%s"""."we""ird %s%s%s%n $1 $$ tab"');

--
-- What is named in an expression stays what it was
--
\c - :admin
CREATE SCHEMA shared;
GRANT ALL ON SCHEMA shared TO rights_adder, rights_other;
DELETE FROM vault.log;
\c - rights_adder
SET client_min_messages = warning;
CREATE FUNCTION shared.tidy(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN upper($1);
CREATE FUNCTION shared.same(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN $1 = $2;
CREATE OPERATOR shared.~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = shared.same);
CREATE TABLE lab.short (ts timestamptz, usr_id text, plan varchar(10));
INSERT INTO lab.short VALUES ('2026-01-01Z', 'n1', 'free');
SELECT profiles.add_source('lab.short', mapping => '{"plan": "shared.tidy(plan)", "label": "plan OPERATOR(shared.~~~) plan"}');
\c - rights_other
SET client_min_messages = warning;
CREATE FUNCTION shared.tidy(varchar) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
'BEGIN INSERT INTO vault.log VALUES (current_user, session_user, ''tidy'', true); RETURN ''taken''; END';
CREATE FUNCTION shared.same(varchar, varchar) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
'BEGIN INSERT INTO vault.log VALUES (current_user, session_user, ''same'', true); RETURN false; END';
ALTER FUNCTION shared.tidy(varchar) VOLATILE;
ALTER FUNCTION shared.same(varchar, varchar) VOLATILE;
CREATE OPERATOR shared.~~~ (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = shared.same);
\c - rights_owner
SET client_min_messages = warning;
SELECT public.attempt('CALL profiles.rebuild(''user'')') IS NOT NULL AS tried;
SELECT public.attempt('SELECT profiles.verify()') IS NOT NULL AS tried;
\c - rights_adder
SELECT public.attempt('SELECT profiles.alter_source(''lab.short'', filter => ''true'')') IS NOT NULL AS tried;
SELECT current AS ran_as, attempted AS what FROM vault.log;
SET client_min_messages = warning;
SELECT profiles.drop_source('lab.short');

--
-- search_path, temporary objects
--
\c - :admin
SET client_min_messages = warning;
CREATE SCHEMA trap;
GRANT ALL ON SCHEMA trap TO rights_adder;
GRANT USAGE ON SCHEMA trap TO rights_owner;
\c - rights_adder
SET client_min_messages = warning;
-- functions and operators that would be called instead of those of pg_catalog
DO $$
DECLARE
    f record;
    t text;
    o text;
BEGIN
    FOR f IN
        SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.prorettype::regtype AS result
        FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a') AND NOT p.proretset
          AND p.pronargs BETWEEN 1 AND 3 AND p.provariadic = 0 AND pg_get_function_identity_arguments(p.oid) !~ 'ORDER BY'
          AND p.proargtypes::oid[] <@ ARRAY['text', 'name', 'oid', 'regclass', 'timestamptz', 'jsonb', 'boolean', 'integer', 'bigint',
                                            'float8', 'anyarray', 'anyelement', 'anycompatiblearray', 'anycompatible']::regtype[]::oid[]
          AND p.prorettype NOT IN (SELECT oid FROM pg_type WHERE typtype = 'p' AND typname !~ '^any')
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                           f.proname, f.arguments, f.result, 'BEGIN RAISE EXCEPTION ''trapped''; END');
        EXCEPTION WHEN invalid_function_definition OR feature_not_supported THEN
            NULL;
        END;
    END LOOP;
    FOREACH t IN ARRAY ARRAY['text', 'name', 'oid', 'timestamptz', 'jsonb', 'integer', 'bigint', 'float8', 'text[]', '"char"', 'profiles.profile'] LOOP
        EXECUTE format('CREATE FUNCTION trap.caught(%1$s, %1$s) RETURNS boolean LANGUAGE plpgsql AS %2$L', t,
                       'BEGIN RAISE EXCEPTION ''trapped''; END');
        FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '~', '!~', '~~', '!~~', '&&', '||', '?', '?|', '@>', '+', '-'] LOOP
            EXECUTE format('CREATE OPERATOR trap.%1$s (LEFTARG = %2$s, RIGHTARG = %2$s, FUNCTION = trap.caught)', o, t);
        END LOOP;
    END LOOP;
    FOREACH t IN ARRAY ARRAY['text', 'timestamptz', 'jsonb', 'profile', 'regclass', 'int4', 'int8', 'bool', 'float8', 'name', 'oid'] LOOP
        EXECUTE format('CREATE DOMAIN trap.%I AS date CHECK (false)', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['pg_class', 'pg_attribute', 'pg_proc', 'pg_roles', 'pg_depend', 'source_config', 'source_count', 'upkeep', 'user_profile', 'users', 'country'] LOOP
        EXECUTE format('CREATE TABLE trap.%I (trapped int)', t);
    END LOOP;
END
$$;
SELECT count(*) > 200 AS many_functions FROM pg_proc WHERE pronamespace = 'trap'::regnamespace;
CREATE TABLE lab.calm (ts timestamptz, usr_id text, account_id int, plan text, n numeric, at timestamptz, tags text[], doc jsonb);
INSERT INTO lab.calm VALUES ('2026-05-01Z', 'c1', 7, 'free', 1.50, '2026-05-01 12:00+02', '{a,"b c"}', '{"k": [1, "v"]}');
INSERT INTO lab.calm SELECT '2026-05-02Z', 'c2', 8, NULL, i, NULL, NULL, '{"k": "no number"}' FROM generate_series(1, 3) i;
CREATE FUNCTION lab.set_trap() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['pg_class', 'pg_attribute', 'pg_proc', 'pg_roles', 'pg_depend', 'source_config', 'source_count', 'upkeep', 'user_profile', 'users'] LOOP
        EXECUTE format('CREATE TEMP TABLE %I (trapped int)', t);
    END LOOP;
    CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION 'trapped'; END $f$;
    PERFORM set_config('search_path', 'trap, pg_temp, pg_catalog, profiles', false);
END
$$;
SELECT lab.set_trap();
-- the trap works
SELECT lower('X');
SELECT 'a' = 'b'::pg_catalog.text;
TABLE source_config;
SELECT profiles.add_source('lab.calm', filter => 'usr_id <> ''c3'' AND account_id > 1',
    mapping => '{"plan": "lower(plan) || ''!''", "n": "n", "at": "at", "tags": "tags", "k": "doc ->> ''k''", "hour": "extract(hour FROM ts)", "number": "10 / (n - 2)"}');
SELECT profiles.alter_source('lab.calm', mapping => '{"moment": "to_char(at, ''HH24:MI'')"}');
SELECT profiles.alter_source('lab.calm', mapping => '{"hour": null}', filter => 'true');
INSERT INTO lab.calm VALUES ('2026-05-03Z', 'c1');
UPDATE lab.calm SET plan = 'paid' WHERE usr_id OPERATOR(pg_catalog.=) 'c1' AND plan IS NOT NULL;
DELETE FROM lab.calm WHERE n OPERATOR(pg_catalog.=) 1::pg_catalog.numeric;
SELECT * FROM profiles.verify('user', 0.5) WHERE pg_catalog.starts_with(key, 'zz');
SELECT profiles.index_profiles('user', 'plan');
SELECT profiles.unindex_profiles('user', 'plan');
\c - rights_owner
SET client_min_messages = warning;
SELECT lab.set_trap();
CALL profiles.refresh();
SELECT * FROM profiles.verify('user');
CALL profiles.rebuild();
SELECT * FROM profiles.verify('user');
SELECT * FROM profiles.verify('account');
SELECT source, filters FROM profiles.sources WHERE source OPERATOR(pg_catalog.=) 'lab.calm';
SELECT folded, left_out FROM profiles.status WHERE source OPERATOR(pg_catalog.=) 'lab.calm' AND kind OPERATOR(pg_catalog.=) 'user';
SELECT phase, percent FROM profiles.progress;
SELECT user_id, last_plan, last_n, last_at, last_tags, last_k, last_moment, last_seen_country_name
FROM profiles.users WHERE user_id OPERATOR(pg_catalog.=) 'c1';
-- the aggregates, accessors and casts
WITH e (at, v) AS (VALUES ('2026-01-01Z'::pg_catalog.timestamptz, 1.5), ('2026-01-02Z', 2.5)),
     p AS (SELECT profiles.profile_agg(at, 'session', 's', 'name', v, 'geo.city', ARRAY[at], 'x', at) AS p FROM e)
SELECT p::pg_catalog.jsonb IS NOT NULL AS friendly, profiles.last_known(p, 'name'), profiles.last_attribute(p, 'geo.city'), profiles.last_known(p, 'x'),
       p OPERATOR(profiles.||) p OPERATOR(profiles.=) p AS same, (SELECT profiles.profile_union_agg(p) FROM p) OPERATOR(profiles.=) p AS rolled_up,
       p::pg_catalog.text::profiles.profile OPERATOR(profiles.=) p AS round
FROM p;
WITH p AS (SELECT profiles.profile_agg('2026-01-01Z', 'name', v) AS p FROM (VALUES ('a'), ('b')) v (v) GROUP BY v)
SELECT pg_catalog.count(DISTINCT p) AS profiles, pg_catalog.count(*) AS attributes FROM p, profiles.profile_attributes(p);
SELECT profiles.first(v, at), profiles.last(v, at) FROM (VALUES ('x', 1), ('y', 1), ('z', 2)) e (v, at);
SELECT profiles.drop_source('lab.calm');
CALL profiles.rebuild();
-- for a superuser as well, whose rights would be worth having
\c - :admin
SET client_min_messages = warning;
SELECT lab.set_trap();
SELECT profiles.add_source('lab.calm', filter => 'usr_id <> ''c3''', mapping => '{"plan": "lower(plan) || ''!''", "tags": "tags"}');
SELECT profiles.alter_source('lab.calm', mapping => '{"moment": "to_char(at, ''HH24:MI'')"}');
CALL profiles.rebuild();
SELECT * FROM profiles.verify('user');
INSERT INTO lab.calm VALUES ('2026-05-04Z', 'c1');
CALL profiles.refresh();
SELECT * FROM profiles.verify('user');
SELECT profiles.forget('user', 'c2', block => true);
SELECT profiles.unblock('user', 'c2');
SELECT profiles.drop_source('lab.calm');
\c - :admin
SET client_min_messages = warning;
DROP FUNCTION lab.set_trap;
DROP SCHEMA trap CASCADE;

--
-- What is not immutable is refused; what depends on pinned settings alone is not
--
\c - rights_adder
SET client_min_messages = warning;
CREATE FUNCTION lab.stable(text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION lab.volatile(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION lab.immutable(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
CREATE FUNCTION lab.both(text, text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1';
CREATE OPERATOR lab.@@@ (LEFTARG = text, RIGHTARG = text, FUNCTION = lab.both);
CREATE TABLE lab.kinds (id text, ts timestamp, txt text, num numeric, day date, tz timestamptz, doc jsonb, raw bytea, span interval, tags text[]);
INSERT INTO lab.kinds VALUES ('k1', '2026-01-01 10:00', '2026-01-02 03:04:05', 1234.5, '2026-01-03', '2026-01-04 00:00+09', '{"a": [1]}', '\x41', '1 day 2 hours', '{x,y}');
SELECT profiles.add_source('lab.kinds', mapping => '{"user_id": "id", "seen_at": "now()"}');
SELECT profiles.add_source('lab.kinds', mapping => '{"user_id": "id", "x": "lab.stable(txt)"}');
SELECT profiles.add_source('lab.kinds', mapping => '{"user_id": "id"}', filter => 'tz < now()');
SELECT profiles.add_source('lab.kinds', mapping => '{"user_id": "id", "x": "(SELECT max(txt) FROM lab.kinds)"}');
CREATE TEMP TABLE tries (n int GENERATED ALWAYS AS IDENTITY, expression text);
INSERT INTO tries (expression) VALUES
    ('now()'), ('current_timestamp'), ('localtime'), ('current_date'), ('clock_timestamp()'), ('statement_timestamp()'), ('age(tz)'),
    ('random()'), ('gen_random_uuid()'), ('current_user'), ('session_user'), ('user'), ('current_role'), ('current_schema'), ('current_catalog'),
    ('current_setting(''TimeZone'')'), ('pg_backend_pid()'), ('nextval(''lab.s'')'), ('lastval()'), ('txid_current()'),
    ('lab.stable(txt)'), ('lab.volatile(txt)'), ('txt OPERATOR(lab.@@@) txt'), ('lab.immutable(lab.volatile(txt))'),
    ('CASE WHEN txt = '''' THEN random() END'), ('coalesce(txt, lab.volatile(txt))'), ('ARRAY[txt, lab.volatile(txt)]'), ('pg_sleep(0)'),
    ('set_config(''work_mem'', ''64kB'', false)'), ('pg_read_file(txt)'), ('query_to_xml(''SELECT secret FROM vault.secret'', true, false, '''')'),
    ('to_regclass(txt)'), ('txt::regclass'), ('to_tsvector(txt)'), ('has_table_privilege(txt, ''SELECT'')'), ('obj_description(1, ''pg_class'')'),
    ('ctid'), ('xmin'), ('tableoid'),
    ('(SELECT 1)'), ('count(*)'), ('lag(txt) OVER ()'), ('regexp_split_to_table(txt, '','')'), ('jsonb_array_elements(doc)');
SELECT n, expression AS accepted FROM tries t
WHERE public.attempt(format('SELECT profiles.add_source(''lab.kinds'', mapping => %L)',
          jsonb_build_object('user_id', 'id', 'x', t.expression))) = 'done'
ORDER BY n;
SELECT profiles.add_source('lab.kinds', mapping => '{"user_id": "id", "a": "to_char(tz, ''YYYY-MM-DD HH24 OF'')", "b": "txt::timestamptz", "c": "concat(txt, num, day)", "d": "concat_ws(''/'', num, tz)",
    "e": "to_timestamp(num::float8)", "f": "day::timestamptz", "g": "date_trunc(''day'', tz)", "h": "extract(hour FROM tz)", "i": "format(''%s %s'', tz, num)", "j": "to_jsonb(tags)",
    "k": "array_to_string(tags, '','')", "l": "txt::date", "m": "tz::text", "n": "tz + span", "o": "convert_from(raw, ''UTF8'')", "p": "num::text", "q": "lab.immutable(txt)", "r": "tz AT TIME ZONE ''Asia/Tokyo''",
    "s": "jsonb_path_query_first(doc, ''$.a[0]'')", "t": "upper(id) || tz", "u": "tz::date", "v": "span", "w": "raw"}');
\c - rights_owner
SET client_min_messages = warning;
SET TimeZone = 'America/St_Johns';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'sql_standard';
SET bytea_output = 'escape';
SET extra_float_digits = -3;
CALL profiles.rebuild('user');
RESET ALL;
SET client_min_messages = warning;
SET TimeZone = 'Pacific/Apia';
SELECT count(*) FROM profiles.verify();
SELECT last_a, last_b, last_c, last_d, last_e, last_f, last_g, last_h FROM profiles.users WHERE user_id = 'k1';
SELECT last_i, last_j, last_k, last_l, last_m, last_n, last_o, last_p FROM profiles.users WHERE user_id = 'k1';
SELECT last_q, last_r, last_s, last_t, last_u, last_v, last_w FROM profiles.users WHERE user_id = 'k1';
SELECT profiles.drop_source('lab.kinds');

--
-- Nothing of a failed row is shown but its key, and no row can stop the others
--
\c - rights_adder
SET client_min_messages = warning;
CREATE TABLE lab.private (ts timestamptz, usr_id text, email text, born text);
INSERT INTO lab.private VALUES ('2026-06-01Z', 'ok', 'ok@x.example', '1970-01-01'), ('2026-06-01Z', 'bad', 'bad@x.example', 'a secret day'),
    ('2026-06-01Z', NULL, 'none@x.example', 'another secret');
-- a key that is longer than an index takes
INSERT INTO lab.private SELECT '2026-06-01Z', string_agg(md5(i::text), ''), 'long@x.example', '1970-01-01' FROM generate_series(1, 300) i;
SELECT profiles.add_source('lab.private', mapping => '{"born": "born::date", "email": "email"}');
\c - rights_owner
SET client_min_messages = warning;
CALL profiles.rebuild('user');
SELECT user_id, last_born FROM profiles.users WHERE user_email LIKE '%@x.example';
SELECT bool_or(s::text LIKE '%@x.example%' OR s::text LIKE '%secret%') AS tells FROM profiles.status s WHERE source = 'lab.private';
SELECT folded, left_out -> 'error 22007' AS failed, examples -> 'error 22007' AS example FROM profiles.status WHERE source = 'lab.private' AND kind = 'user';
SELECT count(*) FROM profiles.verify();
SELECT profiles.drop_source('lab.private');
CALL profiles.rebuild('user');

--
-- Procedures within functions that run as another role, in blocks, after errors
--
CREATE FUNCTION plot.rebuild() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
'BEGIN CALL profiles.rebuild(''user''); END';
CREATE PROCEDURE plot.rebuild_all() LANGUAGE plpgsql AS 'BEGIN CALL profiles.rebuild(''user''); COMMIT; CALL profiles.rebuild(''account''); END';
\c - rights_nobody
SELECT plot.rebuild();
CALL plot.rebuild_all();
SELECT current_user, session_user;
\c - rights_owner
CALL plot.rebuild_all();
DO $$ BEGIN CALL profiles.rebuild('user'); COMMIT; CALL profiles.rebuild('user'); ROLLBACK; END $$;
DO $$ BEGIN CALL profiles.rebuild('user'); EXCEPTION WHEN no_data_found THEN NULL; END $$;
DO $$
BEGIN
    CALL profiles.rebuild('nothing');
EXCEPTION WHEN invalid_parameter_value THEN
    PERFORM profiles.verify();
END
$$;
SELECT count(*) AS locks FROM pg_locks WHERE classid = 'pg_extension'::regclass AND objsubid <> 0;
-- caught errors at the gate leave no trace of who called
DO $$
BEGIN
    BEGIN
        PERFORM profiles.alter_source('web.events', mapping => '{"plan": "nothing"}');
    EXCEPTION WHEN undefined_column THEN NULL;
    END;
    BEGIN
        PERFORM profiles.verify('nothing');
    EXCEPTION WHEN invalid_parameter_value THEN NULL;
    END;
    BEGIN
        PERFORM profiles.alter_source('lab.visits', mapping => '{"plan": "usr_id"}');
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
    PERFORM profiles.alter_source('web.events', filter => 'true');
END
$$;
SELECT current_user, session_user, current_setting('search_path') AS search_path;

--
-- Row-level security is never bypassed silently
--
\c - :admin
SET client_min_messages = warning;
CREATE TABLE web.filtered (ts timestamptz, usr_id text, visible_to name);
INSERT INTO web.filtered VALUES ('2026-07-01Z', 'r1', 'rights_adder'), ('2026-07-01Z', 'r2', 'rights_other');
ALTER TABLE web.filtered ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON web.filtered USING (visible_to = current_user);
GRANT SELECT, TRIGGER ON web.filtered TO rights_adder;
\c - rights_adder
SET client_min_messages = warning;
SELECT profiles.add_source('web.filtered');
SELECT profiles.add_source('web.filtered', rls => 'ignore');
\c - :admin
SET client_min_messages = warning;
-- whoever sees all rows may
ALTER ROLE rights_adder BYPASSRLS;
\c - rights_adder
SET client_min_messages = warning;
SELECT profiles.add_source('web.filtered', rls => 'ignore');
\c - :admin
SET client_min_messages = warning;
CALL profiles.rebuild('user');
SELECT user_id FROM profiles.users WHERE user_id LIKE 'r_' ORDER BY 1;
SELECT count(*) FROM profiles.verify();

--
-- The adder leaves
--
SELECT public.attempt('DROP ROLE rights_adder') AS dependent_objects_still_exist;
SELECT source, CASE added_by WHEN :'admin' THEN 'superuser' ELSE added_by END AS added_by FROM profiles.sources ORDER BY source;
CREATE ROLE rights_heir BYPASSRLS;
REASSIGN OWNED BY rights_adder TO rights_heir;
SELECT source, CASE added_by WHEN :'admin' THEN 'superuser' ELSE added_by END AS added_by FROM profiles.sources ORDER BY source;
GRANT USAGE ON SCHEMA web, vault TO rights_heir;
GRANT SELECT ON web.filtered TO rights_heir;
GRANT INSERT, SELECT ON vault.log TO rights_heir;
CALL profiles.rebuild('user');
SELECT user_id FROM profiles.users WHERE user_id ~ '^[rv].$' ORDER BY 1;
-- what was tampered with above is in nobody's books
SET client_min_messages = warning;
DROP SCHEMA plot CASCADE;
DROP TABLE lab.more CASCADE;
\c - rights_owner
SET client_min_messages = warning;
SELECT profiles.uninstall();
DROP EXTENSION profiles;
SELECT count(*) AS events FROM web.events;

\c :before :admin
DROP DATABASE rights_grants;
DROP ROLE rights_owner, rights_adder, rights_other, rights_nobody, rights_heir;
