-- Values of all types become the text of the cast under pinned settings,
-- whatever the session's settings are.

\set SHOW_CONTEXT never
\pset null '(null)'

CREATE SCHEMA test_values;
SET search_path = test_values, profiles, public;
SET max_parallel_workers_per_gather = 0;

CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    message text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
    RETURN concat_ws(' | ', state, message);
END
$$;

-- the settings that can change a value's text, as the session has them
CREATE VIEW session_setting AS
SELECT name, setting, source FROM pg_settings
WHERE name IN ('TimeZone', 'DateStyle', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'lc_monetary', 'lc_numeric', 'lc_time',
               'quote_all_identifiers', 'search_path', 'xmloption', 'xmlbinary', 'client_encoding', 'standard_conforming_strings');

-- the contract's settings
CREATE FUNCTION pin() RETURNS void LANGUAGE sql AS $$
SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, MDY', true), set_config('IntervalStyle', 'postgres', true),
       set_config('extra_float_digits', '1', true), set_config('bytea_output', 'hex', true), set_config('lc_monetary', 'C', true),
       set_config('quote_all_identifiers', 'off', true), set_config('search_path', 'pg_catalog, pg_temp', true)
$$;

--
-- Types and values
--

CREATE TYPE mood AS ENUM ('sad', 'Very "happy"');
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE DOMAIN instant AS timestamptz;
CREATE DOMAIN instants AS timestamptz[];
CREATE DOMAIN mood_domain AS mood;
CREATE TYPE inner_row AS (f float8, b bytea, r regclass);
CREATE TYPE outer_row AS (t timestamptz, i interval, o inner_row, a float4[], "Quoted Name" date);
CREATE TYPE instant_range AS RANGE (subtype = instant, multirange_type_name = instant_multirange);
-- casts of one's own: of a row, and of an enum, to text that depends on settings
CREATE TYPE own AS (t timestamptz);
CREATE FUNCTION own_text(own) RETURNS text LANGUAGE sql STABLE STRICT AS $$ SELECT 'own ' || $1.t || ' ' || 0.1::float4::float8 $$;
CREATE CAST (own AS text) WITH FUNCTION own_text(own);
CREATE TYPE shade AS ENUM ('light', 'dark');
CREATE FUNCTION shade_text(shade) RETURNS text LANGUAGE plpgsql STABLE STRICT AS $$ BEGIN RETURN 'shade ' || timestamptz '2026-01-01 00:00:00Z' || ' ' || current_setting('extra_float_digits'); END $$;
CREATE CAST (shade AS text) WITH FUNCTION shade_text(shade);
CREATE TYPE failing AS (n integer);
CREATE FUNCTION failing_text(failing) RETURNS text LANGUAGE plpgsql STABLE STRICT AS $$ BEGIN IF $1.n = 0 THEN RAISE division_by_zero USING MESSAGE = 'no text of this'; END IF; RETURN current_setting('TimeZone'); END $$;
CREATE CAST (failing AS text) WITH FUNCTION failing_text(failing);
-- a type of another schema, one that needs quotes, a function and an operator, for names
CREATE TABLE "Table" (a integer);
CREATE FUNCTION "Function"(timestamptz) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION simple(integer, inner_row) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE OPERATOR ### (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4pl);
CREATE TEXT SEARCH CONFIGURATION words (COPY = pg_catalog.simple);

CREATE TABLE type_list (id serial, type text, literals text[]);
INSERT INTO type_list (type, literals) VALUES
('bool', '{true,false}'), ('"char"', ARRAY['a', '', E'\\377']), ('name', ARRAY['a name', repeat('n', 63)]), ('text', ARRAY['', 'Zürich', E'tab\t"quote" \\ newline\n', repeat('long ', 1000)]),
('varchar(10)', ARRAY['', 'varchar  ']), ('bpchar', ARRAY['blanks   ', '']), ('char(10)', ARRAY['padded', '']),
('int2', '{0,-32768,32767}'), ('int4', '{0,-2147483648,2147483647}'), ('int8', '{0,-9223372036854775808,9223372036854775807}'), ('oid', '{0,4294967295}'),
('float4', '{0.1,-0,NaN,Infinity,-Infinity,1e-45,3.4028235e38,0.3333333333}'), ('float8', '{0.1,-0,NaN,Infinity,0.30000000000000004,1e-323,1.7976931348623157e308,0.333333333333333333,123456789.123456789}'),
('numeric', '{0,1.0,1.00,-0.000001,NaN,Infinity,123456789012345678901234567890.123456789}'), ('numeric(10,3)', '{1,-2.5}'), ('money', '{0,1234567.89,-0.01}'),
('date', ARRAY['2026-02-01', 'infinity', '-infinity', '0044-03-15 BC', '5874897-12-31']), ('time', '{00:00:00,23:59:59.999999,24:00:00}'), ('timetz', '{00:00:00+00,12:34:56.7-05:30,23:59:59.999999+15:59:59}'),
('timestamp', ARRAY['2026-02-01 12:34:56.789', 'infinity', '-infinity', '4714-11-24 00:00:00 BC', '294276-12-31 23:59:59.999999', '2026-07-01 00:00:00']),
('timestamptz', ARRAY['2026-02-01 12:34:56.789Z', 'infinity', '-infinity', '4714-11-24 00:00:00Z BC', '294276-12-31 23:59:59.999999Z', '2026-07-01 00:00:00Z', '1900-01-01 00:00:00Z', '0044-03-15 00:00:00.5Z BC']), ('timestamptz(0)', ARRAY['2026-02-01 12:34:56.789Z']),
('interval', ARRAY['0', '1 year 2 months 3 days 04:05:06.789', '-1 month +2 days -03:00', '178000000 years', '-00:00:00.000001', '1 day -1 second']),
('uuid', '{0F8FAD5B-D9CB-469F-A165-70867728950E}'), ('json', ARRAY['{"b" : 1,  "a": [1.0, "2026-01-01T00:00:00Z", null]}']), ('jsonb', ARRAY['{"b" : 1,  "a": [1.0, "Zürich", null]}', '"text"', 'null']), ('jsonpath', ARRAY['$.a[*] ? (@ > 1)']),
('bytea', ARRAY['\x', '\x00ff5c61', '\x' || repeat('ab', 1000)]), ('bit(3)', '{101}'), ('varbit', '{1,"",10101}'), ('inet', '{192.168.0.1,192.168.0.0/24,::1,2001:db8::/32}'), ('cidr', '{10.0.0.0/8,::/0}'), ('macaddr', '{08:00:2b:01:02:03}'), ('macaddr8', '{08:00:2b:01:02:03:04:05}'),
('point', ARRAY['(0.1,0.30000000000000004)', '(1,-0)', '(NaN,Infinity)']), ('line', ARRAY['{0.1,-1,0.333333333333333333}']), ('lseg', ARRAY['[(0.1,0),(1,1)]']), ('box', ARRAY['(0.1,0),(1,1)']), ('path', ARRAY['[(0.1,0),(1,1)]', '((0.1,0),(1,1))']), ('polygon', ARRAY['((0.1,0),(1,1),(2,0))']), ('circle', ARRAY['<(0.1,0),0.333333333333333333>']),
('tsvector', ARRAY['a:1A b:2', '''a space'' ''quo''''te''']), ('tsquery', ARRAY['a & !b:A* <2> c']), ('xml', ARRAY['<a>1</a>', '<?xml version="1.0"?><a/>']),
('pg_lsn', '{0/0,16/B374D848}'), ('pg_snapshot', ARRAY['10:20:10,14']), ('txid_snapshot', ARRAY['10:20:10,14']), ('xid', '{0,4294967295}'), ('xid8', '{0,18446744073709551615}'), ('cid', '{7}'), ('tid', ARRAY['(0,1)']), ('oidvector', ARRAY['1 2 3']), ('int2vector', ARRAY['1 -2']), ('refcursor', '{cursor}'), ('aclitem', ARRAY['=r/pg_monitor', 'pg_monitor=arw*/pg_monitor']),
('int4range', ARRAY['[1,10)', 'empty', '(,5]']), ('int8range', ARRAY['[1,10]']), ('numrange', ARRAY['[1.0,1.00]']), ('tsrange', ARRAY['[2026-02-01 00:00:00,infinity)']), ('tstzrange', ARRAY['[2026-02-01 00:00:00Z,2026-07-01 00:00:00Z)', '(,)']), ('daterange', ARRAY['[2026-02-01,2026-02-05]']),
('int4multirange', ARRAY['{[1,3),[5,7)}']), ('int8multirange', ARRAY['{}']), ('nummultirange', ARRAY['{[1.0,2]}']), ('tsmultirange', ARRAY['{[2026-02-01 00:00:00,2026-02-02 00:00:00)}']), ('tstzmultirange', ARRAY['{[2026-02-01 00:00:00Z,2026-02-02 00:00:00Z),[2026-07-01 00:00:00Z,)}']), ('datemultirange', ARRAY['{[2026-02-01,2026-02-05)}']),
('regclass', ARRAY['test_values."Table"', 'pg_catalog.pg_class', 'test_values.type_list', '4294967295']), ('regtype', ARRAY['test_values.mood', 'timestamp with time zone', 'integer[]', 'test_values.inner_row[]']), ('regproc', ARRAY['test_values."Function"', 'pg_catalog.now']), ('regprocedure', ARRAY['test_values."Function"(timestamptz)', 'test_values.simple(integer, test_values.inner_row)', 'pg_catalog.now()']),
('regoper', ARRAY['pg_catalog.||/', 'test_values.###']), ('regoperator', ARRAY['pg_catalog.+(integer,integer)', 'test_values.###(integer,integer)']), ('regnamespace', '{test_values,pg_catalog}'), ('regrole', '{pg_monitor}'), ('regconfig', '{test_values.words,pg_catalog.english}'), ('regdictionary', '{pg_catalog.english_stem}'), ('regcollation', ARRAY['pg_catalog."C"']),
('timestamptz[]', ARRAY['{"2026-02-01 12:34:56Z",NULL,infinity}', '{}']), ('float8[]', '{"{0.1,0.30000000000000004}"}'), ('float4[]', '{"{{0.1,1},{2,3}}"}'), ('bytea[]', ARRAY['{"\\x00ff","\\x61"}']), ('interval[]', ARRAY['{"1 year 2 days 03:04:05"}']), ('text[]', ARRAY['{a,NULL,"NULL","with \"quotes\"",""}']), ('date[]', ARRAY['{2026-02-01}']), ('regclass[]', ARRAY['{test_values.type_list,pg_catalog.pg_class}']), ('money[]', ARRAY['{1.5}']), ('point[]', ARRAY['{"(0.1,0)"}']), ('int4range[]', ARRAY['{"[1,3)"}']), ('"char"[]', ARRAY['{a,b}']),
('test_values.mood', ARRAY['sad', 'Very "happy"']), ('test_values.mood[]', ARRAY['{sad,"Very \"happy\""}']), ('test_values.mood_domain', '{sad}'), ('test_values.code', '{x}'), ('test_values.instant', ARRAY['2026-02-01 12:34:56Z']), ('test_values.instants', ARRAY['{"2026-02-01 12:34:56Z"}']), ('test_values.instant[]', ARRAY['{"2026-02-01 12:34:56Z"}']),
('test_values.inner_row', ARRAY['(0.1,"\\x00ff",test_values.type_list)', '(,,)']), ('test_values.outer_row', ARRAY['("2026-02-01 12:34:56Z","1 year","(0.30000000000000004,""\\\\x61"",pg_catalog.pg_class)","{0.1}",2026-02-01)']), ('test_values.outer_row[]', ARRAY['{"(\"2026-02-01 12:34:56Z\",\"1 year\",,\"{0.1}\",2026-02-01)"}']),
('test_values.instant_range', ARRAY['[2026-02-01 00:00:00Z,2026-07-01 00:00:00Z)']), ('test_values.instant_multirange', ARRAY['{[2026-02-01 00:00:00Z,2026-07-01 00:00:00Z)}']), ('test_values.own', ARRAY['("2026-02-01 12:34:56Z")']), ('test_values.own[]', ARRAY['{"(\"2026-02-01 12:34:56Z\")"}']), ('test_values.shade', '{light,dark}'), ('test_values.failing', '{(1)}');

-- types of columns that the list forgets; what cannot be written as a literal is left out
SELECT t.typname AS forgotten FROM pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND t.typelem = 0 AND t.typname !~ '^pg_(node_tree|ndistinct|dependencies|mcv_list|brin_)' AND t.typname <> 'gtsvector'
  AND NOT EXISTS (SELECT FROM type_list l WHERE l.type::regtype = t.oid)
ORDER BY t.typname;

-- one column per type, one row per literal; the text of each by a cast under the pinned settings
CREATE TABLE stored (n integer, ts timestamptz);
DO $$
DECLARE
    r record;
BEGIN
    PERFORM pin();
    INSERT INTO test_values.stored SELECT n, '2026-01-01 00:00:00Z' FROM generate_series(1, 9) n;
    FOR r IN SELECT * FROM test_values.type_list ORDER BY id LOOP
        EXECUTE format('ALTER TABLE test_values.stored ADD c%s %s', r.id, r.type);
        FOR i IN 1 .. cardinality(r.literals) LOOP
            EXECUTE format('UPDATE test_values.stored SET c%s = %L WHERE n = %s', r.id, r.literals[i], i);
        END LOOP;
    END LOOP;
END
$$;
-- each row many times, so that workers share them
ALTER TABLE stored RENAME TO once;
CREATE TABLE stored AS SELECT s.*, k FROM once s, generate_series(1, 40) k;
ALTER TABLE stored SET (parallel_workers = 2);
ANALYZE stored;

-- the query's text lists all columns: what(%s) of each
CREATE FUNCTION of_columns(what text) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(format(what, 'c' || id), ', ' ORDER BY id) FROM test_values.type_list $$;

-- what profiles must say, by casts alone; and, under the pinned settings, a profile of as many as fit
CREATE FUNCTION pairs() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(format('''c%1$s'', c%1$s', id), ', ' ORDER BY id) FROM test_values.type_list WHERE id % 2 = 0 AND id <= 98 $$;
CREATE TABLE expected (n integer, texts text[], p profile, p_text text);
DO $$
DECLARE
    columns text := test_values.of_columns('%s::text');
    pairs text := test_values.pairs();
BEGIN
    PERFORM test_values.pin();
    EXECUTE 'INSERT INTO test_values.expected SELECT n, ARRAY[' || columns || '] FROM test_values.once';
    EXECUTE 'UPDATE test_values.expected e SET p = x.p, p_text = x.p::text FROM (SELECT n, profiles.profile_agg(ts, ' || pairs || ') AS p FROM test_values.stored GROUP BY n) x WHERE e.n = x.n';
END
$$;
SELECT count(*) AS types, sum(cardinality(literals)) AS literals,
       (SELECT count(t) FROM expected, unnest(texts) t) AS texts, (SELECT count(DISTINCT t) > 100 FROM expected, unnest(texts) t) AS many,
       (SELECT count(*) FROM expected, profile_attributes(p)) > 70 AS in_profiles
FROM type_list;
-- some to look at
\pset format unaligned
SELECT l.type, e.texts[l.id] FROM type_list l, expected e
WHERE l.type IN ('float8', 'interval', 'timestamptz', 'bytea', 'money', 'regclass', 'test_values.outer_row', 'test_values.shade', 'test_values.own', 'test_values.failing', 'char(10)')
  AND length(e.texts[l.id]) < 1000 ORDER BY l.id, e.n;
\pset format aligned

-- what profiles say: each type in a profile of its own, and the profile of many types
SELECT format('CREATE TEMP TABLE got AS SELECT n, ARRAY[%s] AS texts, profiles.profile_agg(ts, %s) AS p FROM test_values.stored GROUP BY n',
              of_columns('profiles.last_known(profiles.profile_agg(ts, ''x'', %s), ''x'')'), pairs()) AS got \gset
-- the same where names differ from row to row
SELECT format('CREATE TEMP TABLE got AS SELECT n, ARRAY[%s] AS texts, profiles.profile_agg(ts, %s) AS p FROM test_values.stored GROUP BY n',
              of_columns('profiles.first_known(profiles.profile_agg(ts, ''k'' || n, 1, ''x'', %s), ''x'')'), pairs()) AS by_row \gset

-- compares what they say, and the session's settings with those before
SET check_function_bodies = off;
CREATE FUNCTION outcome() RETURNS TABLE (same bigint, different text, profiles_differ bigint, settings_changed text) LANGUAGE sql AS $$
SELECT (SELECT count(*) FROM pg_temp.got g JOIN test_values.expected e USING (n), unnest(g.texts, e.texts) u(a, b) WHERE a = b),
       (SELECT string_agg(DISTINCT l.type, ', ') FROM pg_temp.got g JOIN test_values.expected e USING (n), unnest(g.texts, e.texts) WITH ORDINALITY u(a, b, i) JOIN test_values.type_list l ON l.id = u.i WHERE a IS DISTINCT FROM b),
       (SELECT count(*) FROM pg_temp.got g FULL JOIN test_values.expected e USING (n)
        WHERE g.p OPERATOR(profiles.<>) e.p OR g.p::text <> e.p_text OR e.p::text <> e.p_text OR e.p_text::profiles.profile OPERATOR(profiles.<>) e.p OR g.p IS NULL OR e.p IS NULL),
       (SELECT string_agg(name, ', ') FROM ((TABLE pg_temp.before EXCEPT TABLE test_values.session_setting) UNION (TABLE test_values.session_setting EXCEPT TABLE pg_temp.before)) x)
$$;
RESET check_function_bodies;

CREATE FUNCTION is_parallel(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan;
    RETURN plan::text LIKE '%"Partial Mode": "Partial"%';
END
$$;

--
-- Under the settings of the test, and under others that are far off
--

CREATE TEMP TABLE before AS TABLE test_values.session_setting;
:got;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.before, pg_temp.got;

SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = -5;
SET bytea_output = 'escape';
SET quote_all_identifiers = on;
SET search_path = public;
-- money of another country, where the system has one
DO $$
DECLARE
    locale text;
BEGIN
    FOREACH locale IN ARRAY ARRAY['en_US.UTF-8', 'en_US.utf8', 'de_DE.UTF-8', 'de_DE.utf8', 'ja_JP.utf8'] LOOP
        BEGIN
            PERFORM set_config('lc_monetary', locale, false), set_config('lc_numeric', locale, false), set_config('lc_time', locale, false);
            RETURN;
        EXCEPTION WHEN invalid_parameter_value THEN
            NULL;
        END;
    END LOOP;
END
$$;
-- they do make a difference
SELECT timestamptz '01.02.2026 12:34:56Z', interval '1 day', 0.1::float8 + 0.2, '\x00ff'::bytea, 'test_values.stored'::regclass, 'pg_class'::regclass;
CREATE TEMP TABLE before AS TABLE test_values.session_setting;
:got;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.got;
:by_row;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.got;

-- the same in parallel workers
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
SELECT test_values.is_parallel(replace(:'got', 'CREATE TEMP TABLE got AS', '')) AS parallel;
:got;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.got;
SELECT test_values.is_parallel(replace(:'by_row', 'CREATE TEMP TABLE got AS', '')) AS parallel;
:by_row;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.before, pg_temp.got;
RESET parallel_leader_participation;
SET max_parallel_workers_per_gather = 0;

SET TimeZone = 'America/St_Johns';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = 3;
SET quote_all_identifiers = off;
SET search_path = test_values, profiles, public;
SELECT timestamptz '01/02/2026 12:34:56Z', interval '1 day', 0.1::float8 + 0.2, '\x00ff'::bytea, 'test_values.stored'::regclass, 'pg_class'::regclass;
CREATE TEMP TABLE before AS TABLE test_values.session_setting;
:got;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.before, pg_temp.got;

SET TimeZone = '<+03>-03:30';
SET DateStyle = 'Postgres, YMD';
SET IntervalStyle = 'postgres_verbose';
SET extra_float_digits = 0;
SET bytea_output = 'hex';
SET search_path = '';
SELECT timestamptz '2026-02-01 12:34:56Z', interval '1 day', 0.1::float8 + 0.2, '\x00ff'::bytea, 'test_values.stored'::regclass, 'pg_class'::regclass;
CREATE TEMP TABLE before AS TABLE test_values.session_setting;
:got;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.got;
SET max_parallel_workers_per_gather = 2;
:got;
SELECT * FROM test_values.outcome();
DROP TABLE pg_temp.before, pg_temp.got;
SET max_parallel_workers_per_gather = 0;
RESET search_path;

-- one setting at a time, the others as they are pinned
CREATE FUNCTION test_values.check_one(name text, value text, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    o record;
BEGIN
    PERFORM test_values.pin();
    PERFORM set_config(name, value, true);
    CREATE TEMP TABLE before AS TABLE test_values.session_setting;
    EXECUTE query;
    SELECT * INTO o FROM test_values.outcome();
    DROP TABLE pg_temp.before, pg_temp.got;
    IF o.different IS NOT NULL OR o.profiles_differ <> 0 OR o.settings_changed IS NOT NULL THEN
        RETURN NEXT format('%s = %s: differs for %s, %s profiles, changed %s', name, value, o.different, o.profiles_differ, o.settings_changed);
    END IF;
    RETURN;
END
$$;
CREATE TABLE test_values.one_setting (name, value) AS VALUES ('TimeZone', 'Asia/Kathmandu'), ('TimeZone', 'Etc/UTC'), ('DateStyle', 'ISO, DMY'), ('DateStyle', 'SQL, MDY'), ('DateStyle', 'German, MDY'), ('IntervalStyle', 'iso_8601'), ('extra_float_digits', '0'), ('extra_float_digits', '3'),
    ('bytea_output', 'escape'), ('quote_all_identifiers', 'on'), ('search_path', 'public'), ('search_path', 'test_values'), ('search_path', ''), ('search_path', 'pg_catalog,pg_temp'), ('search_path', 'pg_temp, pg_catalog');
SELECT count(*) AS settings FROM test_values.one_setting;
SELECT c AS problem FROM test_values.one_setting, LATERAL test_values.check_one(name, value, :'got') c;

-- anonymous rows have no column, but a text
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German, DMY';
SET extra_float_digits = -5;
SELECT profiles.last_known(profiles.profile_agg(t, 'x', ROW(t, f, NULL)), 'x') AS pinned, ROW(t, f, NULL)::text AS mine FROM (VALUES (timestamptz '2026-01-01 00:00:00Z', 0.1::float8 + 0.2)) v(t, f) GROUP BY t, f;
-- arguments are evaluated as the session says; only what becomes of them is pinned
SELECT profiles.last_known(profiles.profile_agg(t, 'x', t::text), 'x') AS mine, profiles.last_known(profiles.profile_agg(t, 'x', t), 'x') AS pinned FROM (VALUES (timestamptz '2026-01-01 00:00:00Z')) v(t) GROUP BY t;
-- literals are text as they stand
SELECT profiles.last_known(profiles.profile_agg('2026-01-01 00:00:00Z', 'x', '01.02.2026'), 'x');

--
-- Errors leave the session's settings alone
--

CREATE TEMP TABLE before AS TABLE test_values.session_setting;
CREATE FUNCTION pg_temp.changed() RETURNS text LANGUAGE sql AS $$
SELECT coalesce(string_agg(name, ', '), 'nothing') FROM ((TABLE pg_temp.before EXCEPT TABLE test_values.session_setting) UNION (TABLE test_values.session_setting EXCEPT TABLE pg_temp.before)) x $$;
SELECT profiles.profile_agg(now(), 'x', ROW(0)::test_values.failing);
SELECT pg_temp.changed();
BEGIN;
SELECT profiles.last_known(profiles.profile_agg(now(), 'x', ROW(1)::test_values.failing), 'x');
SAVEPOINT s;
SELECT profiles.profile_agg(now(), 'x', ROW(0)::test_values.failing);
ROLLBACK TO s;
SELECT pg_temp.changed();
SET LOCAL TimeZone = 'Africa/Cairo';
SELECT profiles.last_known(profiles.profile_agg(now(), 'x', ROW(1)::test_values.failing), 'x'), current_setting('TimeZone');
SELECT pg_temp.changed();
COMMIT;
SELECT pg_temp.changed();
DO $$
BEGIN
    PERFORM profiles.profile_agg(now(), 'x', ROW(0)::test_values.failing);
EXCEPTION WHEN division_by_zero THEN
    RAISE NOTICE 'caught; changed: %', pg_temp.changed();
END
$$;
SELECT test_values.error_of('SELECT profiles.profile_agg(now(), ''x'', ROW(0)::test_values.failing)'), pg_temp.changed();
-- in a worker
CREATE TABLE test_values.fails AS SELECT ROW(n % 100)::test_values.failing AS f FROM generate_series(1, 1000) n;
ALTER TABLE test_values.fails SET (parallel_workers = 2);
SET max_parallel_workers_per_gather = 2;
SELECT profiles.profile_agg('2026-01-01 00:00:00Z', 'x', f) FROM test_values.fails;
SELECT pg_temp.changed();
-- a name that is wrong, behind a value that was pinned
SELECT test_values.error_of('SELECT profiles.profile_agg(now(), ''x'', now(), ''No'', now())'), pg_temp.changed();
-- a cast that changes a setting changes it for itself
SET max_parallel_workers_per_gather = 0;
CREATE TYPE test_values.setter AS (n integer);
CREATE FUNCTION test_values.setter_text(test_values.setter) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('TimeZone', 'Africa/Cairo', true); RETURN current_setting('DateStyle'); END $$;
CREATE CAST (test_values.setter AS text) WITH FUNCTION test_values.setter_text(test_values.setter);
SELECT profiles.last_known(profiles.profile_agg(now(), 'x', ROW(1)::test_values.setter), 'x'), pg_temp.changed();

RESET ALL;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA test_values CASCADE;
