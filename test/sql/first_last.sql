-- first(value, at) and last(value, at): against ORDER BY, for all sorts of types and plans.

\set SHOW_CONTEXT never
\pset null '(null)'

CREATE SCHEMA test_first_last;
SET search_path = test_first_last, profiles, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET max_parallel_workers_per_gather = 0;

CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', state, message, nullif(detail, ''), nullif(hint, ''));
END
$$;

CREATE FUNCTION is_parallel(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan;
    RETURN plan::text LIKE '%"Partial Mode": "Partial"%';
END
$$;

--
-- What it is for
--

CREATE TABLE visit (usr text, at timestamptz, page text);
INSERT INTO visit VALUES
('a', '2026-01-02 00:00:00Z', 'middle'), ('a', '2026-01-01 00:00:00Z', 'start'), ('a', '2026-01-03 00:00:00Z', 'end'),
('b', '2026-01-01 00:00:00Z', NULL), ('b', '2026-01-02 00:00:00Z', 'known'), ('b', NULL, 'never'),
('c', NULL, 'no time'), ('d', '2026-01-01 00:00:00Z', 'only');
SELECT usr, first(page, at), last(page, at) FROM visit GROUP BY usr ORDER BY usr;
SELECT first(page, at), last(page, at) FROM visit WHERE false;
SELECT first(page, at), last(page, at) FROM visit WHERE at IS NULL;
SELECT first(NULL::int, at) IS NULL AS first, last(NULL::int, at) IS NULL AS last FROM visit;
SELECT usr, first(page, at) FILTER (WHERE page > 'l') AS first, last(DISTINCT page, at) AS last, first(page, at ORDER BY at DESC) AS first_sorted FROM visit GROUP BY usr ORDER BY usr;
-- the row itself
SELECT usr, first(v, at), (last(v, at)).page FROM visit v GROUP BY usr ORDER BY usr;
SELECT usr, first(ROW(page, 1), at) FROM visit v GROUP BY usr ORDER BY usr;

-- equal "at": a value before NULL, at both ends; then the smallest or greatest value; then the smaller bytes
SELECT first(v, 1) AS first_one, last(v, 1) AS last_one, first(v, 1 ORDER BY v DESC) AS first_again, last(v, 1 ORDER BY v NULLS FIRST) AS last_again FROM (VALUES (2), (NULL), (3), (1), (NULL)) t(v);
SELECT first(v, 1), last(v, 1) FROM (VALUES (NULL::text)) t(v);
-- 1.0 and 1.00 are equal numbers: the same one wins at both ends, in any order
SELECT count(DISTINCT first::text) AS first, count(DISTINCT last::text) AS last, bool_and(first::text = last::text) AS same
FROM (SELECT first(v, 1 ORDER BY n * i % 7), last(v, 1 ORDER BY n * i % 7) FROM generate_series(1, 6) i, (VALUES (1, 1.0), (2, 1.00), (3, 1.000), (4, 1.0), (5, 1)) t(n, v) GROUP BY i) x;
SELECT first(v, 1) AS first, last(v, 1) AS last, (SELECT v FROM (VALUES (1.0), (1.00), (1.000), (1)) t(v) ORDER BY numeric_send(v) LIMIT 1) AS smaller_when_sent FROM (VALUES (1.0), (1.00), (1.000), (1)) t(v);
SELECT first(v, 1), last(v, 1) FROM (VALUES (interval '24 hours'), (interval '1 day'), (interval '2 days -24 hours')) t(v);
SELECT first(v, 1) AS first, last(v, 1) AS last FROM (VALUES (float8 '-0'), (float8 '0')) t(v);
SELECT first(v, 1) AS first, last(v, 1) AS last FROM (VALUES (float8 'NaN'), (float8 '-infinity'), (float8 '0')) t(v);
-- no order at all: the smaller bytes, whatever the end
SELECT first(v::text::point, 1) ~= last(v::text::point, 1) AS same FROM (VALUES (point '(1,2)'), (point '(2,1)'), (point '(0,7)')) t(v);
SELECT first(v, 1)::text AS first, last(v, 1)::text AS last FROM (VALUES (json '"b"'), (json '"a"'), (json '"aa"')) t(v);
SELECT first(v, 1)::text AS first, last(v, 1)::text AS last FROM (VALUES (xid '7'), (xid '9'), (xid '8')) t(v);

--
-- Types of value and of "at"
--

CREATE TYPE pair AS (a integer, b text);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE unsorted AS (a integer, p point);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE sample (g integer, n integer, at timestamptz);
INSERT INTO sample SELECT n % 23, n, CASE WHEN n % 13 <> 0 THEN '2026-01-01 00:00:00Z'::timestamptz + (n * 7919 % 17) * interval '1 day 0.000001 seconds' END FROM generate_series(1, 1500) n;
INSERT INTO sample VALUES (100, 1, NULL), (100, 2, NULL);
ANALYZE sample;

-- expression over n and at, for value or "at"; sends for the bytes of a tie; NULL where values that compare equal are identical
CREATE TABLE type_case (id serial, value text, at text, bytes text);
INSERT INTO type_case (value, at) VALUES
('CASE WHEN n % 5 > 0 THEN n % 7 END', 'at'), ('(''v'' || n % 11)', 'at'), ('chr(65 + n % 50)', 'n % 3'), ('(n % 11)::bigint', 'at'), ('(n % 11)::smallint', '(n % 4)::smallint'),
('n % 2 = 0', 'at'), ('CASE WHEN n % 3 > 0 THEN timestamptz ''2026-01-01 00:00:00Z'' + n % 9 * interval ''1 hour'' END', 'at'), ('date ''2026-01-01'' + n % 9', 'at::date'),
('md5((n % 19)::text)::uuid', 'md5((n % 7)::text)::uuid'), ('ARRAY[n % 3, NULL, n % 5]', 'ARRAY[n % 2, n % 3]'), ('ARRAY[''a'' || n % 3, NULL]', 'at'),
('ROW(n % 3, ''x'' || n % 5)::pair', 'ROW(n % 2, ''y'' || n % 3)::pair'), ('(ARRAY[''sad'', ''ok'', ''happy'']::mood[])[1 + n % 3]', '(ARRAY[''sad'', ''ok'', ''happy'']::mood[])[1 + n % 2]'),
('jsonb_build_object(''a'', n % 5, ''b'', ARRAY[n % 3])', 'jsonb_build_object(''a'', n % 3)'), ('int4range(n % 3, 5 + n % 4)', 'int4range(n % 2, 10)'),
('(n % 250 || ''.0.0.0'')::inet', '(n % 3 || ''.0.0.0'')::inet'), ('decode(md5((n % 13)::text), ''hex'')', 'decode(md5((n % 3)::text), ''hex'')'), ('(n % 8)::bit(4)', '(n % 3)::bit(2)'),
('(''n'' || n % 7)::name', '(''n'' || n % 3)::name'), ('(''c'' || n % 7)::char(5)', '(''c'' || n % 3)::char(5)'), ('(1 + n % 5)::positive', '(1 + n % 3)::positive'),
('(n % 5)::oid', '(n % 3)::oid'), ('(n % 10 + 1)::money', '(n % 3)::money'), ('(n % 9)::float4 / 3', '(n % 4)::float8 / 7'), ('(n % 9 || '':00'')::time', '(n % 3 || '':00'')::time'),
('n % 5 * interval ''1 hour''', 'n % 3 * interval ''1 hour'''), ('to_tsvector(''simple'', ''w'' || n % 5)', 'at'), ('(''0/'' || n % 9)::pg_lsn', '(''0/'' || n % 4)::pg_lsn'), ('repeat(''x'', n % 7 * 100)', 'repeat(''y'', n % 3 * 1000)'),
('n', 'n % 3 = 1'), ('n', 'at::timestamp'), ('n', '(n % 5)::numeric'), ('n', 'CASE WHEN n % 4 > 0 THEN ''t'' || n % 3 END'), ('chr(65 + n % 50)', '(chr(65 + n % 40)) COLLATE "C"'), ('n', '''x''::text');
INSERT INTO type_case (value, at, bytes) VALUES
('round((n % 5)::numeric, n % 3)', 'at', 'numeric_send'), ('point(n % 3, n % 5)', 'at', NULL), ('((n % 3) || '','' || (n % 5) || '',7,8'')::box', 'at', NULL), ('(''"v'' || n % 9 || ''"'')::json', 'at', NULL);

-- those that sort by a btree: first in the order of "at", NULL last, in the order of the value
CREATE FUNCTION check_case(value text, at text, bytes text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    tie text := CASE WHEN value ~ '^point|::box$|::json$' THEN '' ELSE 'v %1$s,' END;
    result bigint;
BEGIN
    EXECUTE format($q$
        WITH t AS (SELECT g, (%1$s) AS v, (%2$s) AS a FROM sample),
        expected AS (SELECT g.g, f.v AS first, l.v AS last FROM (SELECT DISTINCT g FROM t) g
            LEFT JOIN (SELECT DISTINCT ON (g) g, v FROM t WHERE a IS NOT NULL ORDER BY g, a, v IS NULL, %3$s %5$s) f USING (g)
            LEFT JOIN (SELECT DISTINCT ON (g) g, v FROM t WHERE a IS NOT NULL ORDER BY g, a DESC, v IS NULL, %4$s %5$s) l USING (g)),
        got AS (SELECT g, first(v, a) AS first, last(v, a) AS last FROM t GROUP BY g)
        SELECT count(*) FROM expected e FULL JOIN got USING (g)
        WHERE e.g IS NULL OR got.g IS NULL OR e.first::text IS DISTINCT FROM got.first::text OR e.last::text IS DISTINCT FROM got.last::text$q$,
        value, at, format(tie, ''), format(tie, 'DESC'),
        -- the bytes of a tie: as the function for sending says, or as text where the type is kept as text
        CASE WHEN bytes IS NOT NULL THEN bytes || '(v)' WHEN value ~ '::json$' THEN 'v::text COLLATE "C"' WHEN value ~ '^point|::box$' THEN 'NULL' ELSE 'v' END) INTO result;
    RETURN result;
END
$$;
SELECT count(*) AS cases FROM type_case WHERE value !~ '^point|::box$';
SELECT id, value, at, wrong FROM type_case, LATERAL (SELECT check_case(value, at, bytes) AS wrong OFFSET 0) c
WHERE value !~ '^point|::box$' AND wrong <> 0 ORDER BY id;

-- what has no order is a value of a row that qualifies, and the same one however the rows come
CREATE FUNCTION check_unordered(value text) RETURNS TABLE (groups bigint, not_from_row bigint, depends_on_order bigint) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        WITH t AS (SELECT g, n, (%s) AS v, at FROM sample WHERE at IS NOT NULL),
        a AS (SELECT g, first(v, at ORDER BY n) AS first, last(v, at ORDER BY n) AS last FROM t GROUP BY g),
        b AS (SELECT g, first(v, at ORDER BY n DESC) AS first, last(v, at ORDER BY n DESC) AS last FROM t GROUP BY g),
        c AS (SELECT g, first(v, at ORDER BY n * 7 %% 1499) AS first, last(v, at ORDER BY n * 7 %% 1499) AS last FROM t GROUP BY g)
        SELECT count(*),
               count(*) FILTER (WHERE NOT EXISTS (SELECT FROM t WHERE t.g = a.g AND t.v::text = a.first::text AND t.at = (SELECT min(at) FROM t m WHERE m.g = a.g))
                                   OR NOT EXISTS (SELECT FROM t WHERE t.g = a.g AND t.v::text = a.last::text AND t.at = (SELECT max(at) FROM t m WHERE m.g = a.g))),
               count(*) FILTER (WHERE (a.first::text, a.last::text) <> (b.first::text, b.last::text) OR (a.first::text, a.last::text) <> (c.first::text, c.last::text))
        FROM a JOIN b USING (g) JOIN c USING (g)$q$, value);
END
$$;
SELECT value, c.* FROM type_case, check_unordered(value) c WHERE value ~ '^point|::box$' ORDER BY id;
SELECT * FROM check_unordered('ROW(n % 3, point(n % 5, n % 2))::unsorted');
SELECT * FROM check_unordered('ARRAY[point(n % 5, n % 2), NULL]');

-- "at" that does not sort
\pset format unaligned
SELECT call, error_of(format('SELECT %s FROM test_first_last.sample', call)) FROM unnest(ARRAY['first(n, point(n, n))', 'last(n, json ''1'')', 'first(n, ARRAY[point(n, n)])', 'last(n, ROW(1, point(n, n))::unsorted)', 'first(n, ''x'')', 'last(n, NULL)', 'first(''x'', n)', 'first(n)', 'last(n, n, n)', 'first(n, xid ''1'')']) call;
\pset format aligned
SELECT first(n, point(n, n)) FROM sample;
-- even if it is never compared
SELECT error_of('SELECT first(n, point(n, n)) FROM test_first_last.sample WHERE n = 1') ~ '^42883' AS error_for_one_row, error_of('SELECT first(n, NULL::point) FROM test_first_last.sample') ~ '^42883' AS error_for_null;

--
-- Windows
--

CREATE FUNCTION check_frame(frame text, members text) RETURNS TABLE (frame_ text, rows bigint, wrong bigint) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        WITH t AS (SELECT g, n, at, CASE WHEN n %% 7 > 0 THEN 'v' || n %% 5 END AS v, row_number() OVER (PARTITION BY g ORDER BY n) AS i FROM sample WHERE n <= 600),
        got AS (SELECT g, i, first(v, at) OVER w AS first, last(v, at) OVER w AS last FROM t WINDOW w AS (PARTITION BY g ORDER BY i %1$s))
        SELECT %3$L, count(*), count(*) FILTER (WHERE
            first IS DISTINCT FROM (SELECT v FROM t m WHERE m.g = r.g AND at IS NOT NULL AND (%2$s) ORDER BY at, v IS NULL, v LIMIT 1) OR
            last IS DISTINCT FROM (SELECT v FROM t m WHERE m.g = r.g AND at IS NOT NULL AND (%2$s) ORDER BY at DESC, v IS NULL, v DESC LIMIT 1))
        FROM got r$q$, frame, members, frame);
END
$$;
SELECT c.* FROM (VALUES ('', 'm.i <= r.i'), ('ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING', 'm.i BETWEEN r.i - 2 AND r.i + 1'), ('ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING', 'm.i BETWEEN r.i - 3 AND r.i - 2'),
    ('ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING', 'm.i >= r.i')) v(frame, members), check_frame(frame, members) c;
SELECT usr, page, first(page, at) OVER w, last(page, at) FILTER (WHERE page <> 'end') OVER w FROM visit WINDOW w AS (PARTITION BY usr ORDER BY at ROWS UNBOUNDED PRECEDING) ORDER BY usr, at;

--
-- Collations
--

-- "at" by the collation of its column or expression; the value of a tie too
CREATE TABLE letters (v text COLLATE "C", w text COLLATE "POSIX", plain text);
INSERT INTO letters VALUES ('a', 'a', 'a'), ('B', 'B', 'B'), ('c', 'c', 'c'), ('É', 'É', 'É');
SELECT first(plain, v), last(plain, v), first(plain, plain), last(plain, plain) FROM letters;
SELECT first(v, 1), last(v, 1), first(plain, 1), last(plain, 1) FROM letters;
SELECT error_of('SELECT first(v, w) FROM test_first_last.letters') AS two_implicit;
SELECT error_of('SELECT first(v COLLATE "C", w COLLATE "POSIX") FROM test_first_last.letters') AS two_explicit;
SELECT first(v, w COLLATE "C"), last(v, w COLLATE "C") FROM letters;
-- with ICU, where PostgreSQL has it, "at" sorts as a person would
DO $$
DECLARE
    a text;
    b text;
BEGIN
    IF EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') THEN
        EXECUTE 'SELECT first(plain, plain COLLATE "und-x-icu"), last(plain, plain COLLATE "und-x-icu") FROM letters' INTO a, b;
        ASSERT a = 'a' AND b = 'É', a || b;
        -- equal to the collation, not in their bytes: one of them, always the same
        EXECUTE 'CREATE COLLATION loose (provider = icu, locale = ''und-u-ks-level2'', deterministic = false)';
        EXECUTE 'SELECT first(x, 1), last(x, 1) FROM (VALUES (''ab'' COLLATE loose), (''AB''), (''Ab'')) t(x)' INTO a, b;
        ASSERT a = 'AB' COLLATE "C" AND b = 'AB' COLLATE "C", a || b;
        EXECUTE 'SELECT first(n, x), last(n, x) FROM (VALUES (''ab'' COLLATE loose, 1), (''AB'', 2), (''Ab'', 3)) t(x, n)' INTO a, b;
        ASSERT a = '1' AND b = '3', a || b;
    END IF;
END
$$;

--
-- Parallel plans: ties that workers see in any order
--

CREATE TABLE tied (g integer, at timestamptz, v text, num numeric, pt point, big text) WITH (parallel_workers = 4);
INSERT INTO tied SELECT n % 50, CASE WHEN n % 11 > 0 THEN '2026-01-01 00:00:00Z'::timestamptz + n / 50 % 3 * interval '1 day' END, CASE WHEN n % 3 > 0 THEN 'v' || n * 31 % 101 END, round((n / 50 % 4)::numeric, n % 5), point(n % 7, n % 5), NULL
FROM generate_series(1, 20000) n;
UPDATE tied SET big = (SELECT string_agg(md5(n || v), '') FROM generate_series(1, 3000) n) WHERE g = 7 AND v ~ '^v.$';
ANALYZE tied;
\set query 'SELECT g, first(v, at) AS a, last(v, at) AS b, first(num, at)::text AS c, last(num, at)::text AS d, first(pt, at)::text AS e, last(pt, at)::text AS f, first(md5(big), at) AS h, last(big, num) AS i, first(at, v) AS j, last(num, v)::text AS k, first(ROW(v, num)::text, num) AS l FROM tied GROUP BY g'
CREATE TABLE serial AS :query;
SELECT count(*) AS wrong FROM serial s
WHERE a IS DISTINCT FROM (SELECT v FROM tied t WHERE t.g = s.g AND at IS NOT NULL ORDER BY at, v IS NULL, v LIMIT 1)
   OR b IS DISTINCT FROM (SELECT v FROM tied t WHERE t.g = s.g AND at IS NOT NULL ORDER BY at DESC, v IS NULL, v DESC LIMIT 1)
   OR c IS DISTINCT FROM (SELECT num FROM tied t WHERE t.g = s.g AND at IS NOT NULL ORDER BY at, num, numeric_send(num) LIMIT 1)::text
   OR d IS DISTINCT FROM (SELECT num FROM tied t WHERE t.g = s.g AND at IS NOT NULL ORDER BY at DESC, num DESC, numeric_send(num) LIMIT 1)::text
   OR i IS DISTINCT FROM (SELECT big FROM tied t WHERE t.g = s.g AND num IS NOT NULL ORDER BY num DESC, big IS NULL, big DESC LIMIT 1)
   OR j IS DISTINCT FROM (SELECT at FROM tied t WHERE t.g = s.g AND v IS NOT NULL ORDER BY v, at IS NULL, at LIMIT 1);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 4;
SELECT is_parallel(:'query') AS parallel;
CREATE TABLE parallel_1 AS :query;
SET parallel_leader_participation = off;
CREATE TABLE parallel_2 AS :query;
SET enable_hashagg = off;
SELECT is_parallel(:'query') AS parallel;
CREATE TABLE parallel_3 AS :query;
RESET enable_hashagg;
SELECT (SELECT count(*) FROM ((TABLE serial EXCEPT ALL TABLE parallel_1) UNION ALL (TABLE parallel_1 EXCEPT ALL TABLE serial)) x) AS different_1,
       (SELECT count(*) FROM ((TABLE serial EXCEPT ALL TABLE parallel_2) UNION ALL (TABLE parallel_2 EXCEPT ALL TABLE serial)) x) AS different_2,
       (SELECT count(*) FROM ((TABLE serial EXCEPT ALL TABLE parallel_3) UNION ALL (TABLE parallel_3 EXCEPT ALL TABLE serial)) x) AS different_3;
-- all types through a worker at once, but for casts to a domain, which stay in the leader
ALTER TABLE sample SET (parallel_workers = 3);
SELECT format('SELECT g, ARRAY[%s] AS texts FROM sample GROUP BY g', string_agg(format('first((%1$s), (%2$s))::text, last((%1$s), (%2$s))::text', value, at), ', ' ORDER BY id)) AS query
FROM type_case WHERE value !~ '::positive' \gset
SELECT is_parallel(:'query') AS parallel;
CREATE TABLE all_parallel AS :query;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE all_serial AS :query;
SELECT count(*) AS different FROM ((TABLE all_serial EXCEPT ALL TABLE all_parallel) UNION ALL (TABLE all_parallel EXCEPT ALL TABLE all_serial)) x;
SET max_parallel_workers_per_gather = 2;
-- one of them alone
SELECT is_parallel('SELECT first(n, at) FROM sample') AS parallel;
SELECT first(n, at) FROM sample \gset
SELECT last(n, at), count(*) FROM sample \gset
SELECT :first = (SELECT n FROM sample WHERE at IS NOT NULL ORDER BY at, n LIMIT 1) AS first, :last = (SELECT n FROM sample WHERE at IS NOT NULL ORDER BY at DESC, n DESC LIMIT 1) AS last;
SELECT first(n, at), last(n, at) FROM sample WHERE at IS NULL;
SELECT error_of('SELECT first(n, point(n, n)) FROM test_first_last.sample');

--
-- Large values
--

CREATE TABLE large (n integer, at text, v text) WITH (parallel_workers = 3);
INSERT INTO large SELECT n, repeat(chr(65 + n * 5 % 7), 100000), chr(65 + n * 3 % 8) || (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32768) i) FROM generate_series(1, 8) n;
INSERT INTO large SELECT 9, repeat('F', 100000) || 'x', repeat('abc', 400000);
SELECT length(first(v, at)) AS bytes, first(v, at) = (SELECT v FROM large ORDER BY at, v LIMIT 1) AS first, last(v, at) = (SELECT v FROM large ORDER BY at DESC, v DESC LIMIT 1) AS last, first(n, v) = (SELECT n FROM large ORDER BY v LIMIT 1) AS by_large FROM large;
SET max_parallel_workers_per_gather = 0;
SELECT length(first(v, at)) AS bytes, first(v, at) = (SELECT v FROM large ORDER BY at, v LIMIT 1) AS first, last(v, at) = (SELECT v FROM large ORDER BY at DESC, v DESC LIMIT 1) AS last, first(n, v) = (SELECT n FROM large ORDER BY v LIMIT 1) AS by_large FROM large;
-- what was chosen outlives the row that it came from
SELECT length(v) FROM (SELECT last(v, at) AS v FROM large) x;
BEGIN;
CREATE TEMP TABLE chosen AS SELECT last(v, at) AS v, last(large, n) AS r FROM large;
DELETE FROM large;
SELECT length(v), (r).n, length((r).v) FROM chosen;
ROLLBACK;
-- arrays that a function builds up
SELECT length(first(a, n)::text) > 10 AS first, cardinality(last(a, n)) AS last FROM (SELECT n, array_agg(i) AS a FROM generate_series(1, 20) n, generate_series(1, 100 + n) i GROUP BY n) x;

\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA test_first_last CASCADE;
