-- profile_agg and profile_union_agg: against plain SQL, on every path that a plan can take.

\set SHOW_CONTEXT never
\pset null '(null)'

CREATE SCHEMA test_aggregates;
SET search_path = test_aggregates, profiles, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';

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

-- Does the plan of a query say this anywhere?
CREATE FUNCTION plan_says(query text, what text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan;
    RETURN plan::text LIKE '%' || what || '%';
END
$$;

-- from here on, parallel plans are asked for where they are wanted
SET max_parallel_workers_per_gather = 0;

--
-- The oracle: of each slice and group, the first and the last event that knows
-- a member, in the order of the contract
--

CREATE TABLE input (slice text, at timestamptz, session text, name text, city text, country text, plan text);
CREATE TABLE got (slice text, p profile);

CREATE VIEW evidence AS
SELECT slice, at, session, grp, names, vals, num_nonnulls(VARIADIC vals) AS known,
       ARRAY(SELECT coalesce('1' || v, '0') FROM unnest(vals) WITH ORDINALITY u(v, n) ORDER BY n) AS sortable
FROM input, LATERAL (VALUES
    ('name', ARRAY['name'], ARRAY[name]), ('geo', ARRAY['geo.city', 'geo.country'], ARRAY[city, country]),
    ('plan', ARRAY['plan'], ARRAY[plan]), ('session', ARRAY['session'], ARRAY[session])) g(grp, names, vals)
WHERE at IS NOT NULL AND num_nonnulls(VARIADIC vals) > 0;

CREATE VIEW expected AS
SELECT f.slice, n.attribute, f.vals[i] AS first_value, f.at AS first_at, f.session AS first_session,
       l.vals[i] AS last_value, l.at AS last_at, l.session AS last_session
FROM (SELECT DISTINCT ON (slice, grp) * FROM evidence
      ORDER BY slice, grp, at, known DESC, sortable COLLATE "C", session IS NULL, session COLLATE "C") f
JOIN (SELECT DISTINCT ON (slice, grp) * FROM evidence
      ORDER BY slice, grp, at DESC, known DESC, sortable COLLATE "C" DESC, session IS NULL, session COLLATE "C" DESC) l USING (slice, grp)
CROSS JOIN LATERAL unnest(f.names) WITH ORDINALITY n(attribute, i)
WHERE f.vals[i] IS NOT NULL OR l.vals[i] IS NOT NULL
UNION ALL
SELECT slice, '(seen)', NULL, min(at), NULL, NULL, max(at), NULL FROM input WHERE at IS NOT NULL GROUP BY slice;

CREATE VIEW told AS
SELECT slice, a.* FROM got, profile_attributes(p) a
UNION ALL
SELECT slice, '(seen)', NULL, first_seen(p), NULL, NULL, last_seen(p), NULL FROM got WHERE p IS NOT NULL;

-- compares got with what the oracle says of input, and empties both
CREATE FUNCTION compare() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    slices bigint;
    different bigint;
BEGIN
    SELECT count(*) INTO slices FROM (SELECT slice FROM got WHERE p IS NOT NULL) s;
    SELECT count(*) INTO different
    FROM ((TABLE expected EXCEPT ALL TABLE told) UNION ALL (TABLE told EXCEPT ALL TABLE expected)) d;
    TRUNCATE input, got;
    RETURN format('%s profiles, %s differences', slices, different);
END
$$;

-- events by arithmetic, with ties in time, gaps in every column, rows without time
CREATE TABLE event (n integer PRIMARY KEY, subject text, at timestamptz, session text, name text, city text, country text, plan text);
INSERT INTO event
SELECT n, 's' || n % 97,
       CASE WHEN n % 41 <> 0 THEN '2026-01-01 00:00:00Z'::timestamptz + (n * 7919 % 251) * interval '1 hour 0.000001 seconds' END,
       CASE WHEN n % 3 <> 0 THEN 'session ' || n * 31 % 17 END,
       CASE WHEN n % 7 = 0 THEN 'Name ' || n % 11 END,
       CASE WHEN n % 4 > 0 THEN chr(65 + n * 13 % 26) || CASE WHEN n % 2 = 0 THEN chr(233) ELSE '' END END,
       CASE WHEN n % 5 > 1 THEN chr(65 + n * 17 % 26) || 'Z' END,
       CASE WHEN n % 23 = 0 THEN '' WHEN n % 29 = 0 THEN 'pro' END
FROM generate_series(1, 6000) n;
ANALYZE event;

-- the serial fold of each subject, by sorting: what all other paths are compared with
SET enable_hashagg = off;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE folded AS
SELECT subject, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan) AS p
FROM event GROUP BY subject;
RESET enable_hashagg;
CREATE VIEW difference AS
SELECT count(*) AS different FROM (
    (SELECT slice, p::text FROM got EXCEPT ALL SELECT subject, p::text FROM folded)
    UNION ALL (SELECT subject, p::text FROM folded EXCEPT ALL SELECT slice, p::text FROM got)) d;

INSERT INTO input SELECT subject, at, session, name, city, country, plan FROM event;
INSERT INTO got TABLE folded;
SELECT compare();

-- one row each
INSERT INTO input SELECT n::text, at, session, name, city, country, plan FROM event WHERE n <= 1000;
INSERT INTO got SELECT n::text, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan)
FROM event WHERE n <= 1000 GROUP BY n;
SELECT compare();

-- the order of the rows and of the pairs says nothing
INSERT INTO got SELECT subject, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan ORDER BY at, n)
FROM event GROUP BY subject;
TABLE difference;
TRUNCATE got;
INSERT INTO got SELECT subject, profile_agg(at, 'plan', plan, 'geo.country', country, 'geo.city', city, 'name', name, 'session', session ORDER BY at DESC, n DESC)
FROM event GROUP BY subject;
TABLE difference;
TRUNCATE got;
INSERT INTO got SELECT subject, profile_agg(at, 'name', name, 'plan', plan, 'geo.country', country, 'session', session, 'geo.city', city ORDER BY n * 7919 % 6007)
FROM event GROUP BY subject;
TABLE difference;
TRUNCATE got;
-- every row twice
INSERT INTO got SELECT subject, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan)
FROM (TABLE event UNION ALL TABLE event) e GROUP BY subject;
TABLE difference;
TRUNCATE got;

--
-- Calls that are wrong
--

\pset format unaligned
SELECT call, error_of(format('SELECT profile_agg(%s) FROM (VALUES (timestamptz ''2026-01-01 00:00:00Z'', ''name'', 1, ARRAY[''name'', ''x''], NULL::text)) v(at, n, i, a, nul)', call))
FROM (VALUES
    (1, 'at, ''name'''), (2, 'at, ''name'', 1, ''plan'''), (3, 'at, VARIADIC ARRAY[''name'']'), (4, 'at, VARIADIC ARRAY[''name'', ''x'', ''plan'']'), (5, 'at, n'),
    (10, 'at, NULL, 1'), (11, 'at, ''name'', 1, NULL, 2'), (12, 'at, NULL::text, 1'), (13, 'at, nul, 1'), (14, 'at, ''plan'', 1, nul, 2'), (15, 'at, VARIADIC ARRAY[NULL, ''x'']'), (16, 'at, VARIADIC ARRAY[''name'', ''x'', nul, ''y'']'), (17, 'at, VARIADIC NULL::text[]'),
    (20, 'at, ''name'', 1, ''name'', 2'), (21, 'at, ''geo.city'', 1, ''name'', 1, ''geo.city'', 1'), (22, 'at, n, 1, ''name'', 2'), (23, 'at, VARIADIC ARRAY[''name'', ''x'', ''name'', ''x'']'), (24, 'at, VARIADIC ARRAY[n, ''x'', ''name'', ''y'']'),
    (30, 'at, ''Geo City'', 1'), (31, 'at, '''', 1'), (32, 'at, n || ''.'', 1'), (33, 'at, VARIADIC ARRAY[''2nd'', ''x'']'), (34, 'at, VARIADIC ARRAY[upper(n), ''x'']'), (35, 'at, 1, 2'), (36, 'at, i, 2'), (37, 'at, ''a'' || repeat(''b'', 56), 1'), (38, 'at, at, 1'),
    (40, '''infinity'', ''name'', 1'), (41, '''-infinity'', ''name'', 1'), (42, 'at + ''infinity''::interval, ''name'', 1'), (43, '''infinity'', n, 1'), (44, '''infinity'', VARIADIC a'), (45, 'CASE WHEN i = 1 THEN timestamptz ''-infinity'' END, ''name'', 1'),
    (50, 'at, VARIADIC ARRAY[1, 2]'), (51, 'at, VARIADIC ARRAY[''name'', ''x'']::varchar[]'), (52, 'at, VARIADIC ARRAY[''name'', ''x'']::name[]'), (53, 'at, VARIADIC ''{"name": "x"}''::jsonb'), (54, 'at, VARIADIC i'), (55, 'at, VARIADIC NULL'),
    (60, 'at'), (61, ''), (62, '1, ''name'', 2'), (63, 'i, n, i'))
    v(id, call) WHERE call NOT LIKE '%infinity''::interval%' ORDER BY id;
\pset format aligned
SELECT profile_agg('2026-01-01 00:00:00Z', 'UserName', 'x');
SELECT profile_agg('2026-01-01 00:00:00Z', 'name', 'x', 'name', 'y');
SELECT profile_agg('infinity', 'name', 'x');
SELECT profile_agg('2026-01-01 00:00:00Z', 'name');

-- a wrong call is wrong even if no row counts, as long as there is a row
SELECT error_of('SELECT profile_agg(NULL, ''name'')') AS odd, error_of('SELECT profile_agg(NULL, ''name'', 1, ''name'', 2)') AS twice;
SELECT profile_agg(NULL, 'name') FROM event WHERE false;
-- what a row that is left out says does not matter, wherever it stands
SELECT last_known(profile_agg(at, n, 'x' ORDER BY i), 'name') AS at_the_end FROM (VALUES (1, timestamptz '2026-01-01 00:00:00Z', 'name'), (2, NULL, NULL), (3, NULL, 'No')) v(i, at, n);
SELECT last_known(profile_agg(at, n, 'x' ORDER BY i DESC), 'name') AS in_front FROM (VALUES (1, timestamptz '2026-01-01 00:00:00Z', 'name'), (2, NULL, NULL), (3, NULL, 'No')) v(i, at, n);
SELECT last_known(profile_agg(at, VARIADIC a ORDER BY i), 'name') AS at_the_end FROM (VALUES (1, timestamptz '2026-01-01 00:00:00Z', ARRAY['name', 'x']), (2, NULL, NULL)) v(i, at, a);
SELECT last_known(profile_agg(at, VARIADIC a ORDER BY i DESC), 'name') AS in_front FROM (VALUES (1, timestamptz '2026-01-01 00:00:00Z', ARRAY['name', 'x']), (2, NULL, NULL)) v(i, at, a);

-- support functions have no use but in their aggregates
\pset format unaligned
SELECT call, left(error_of('SELECT profiles.' || call), 5) AS state
FROM unnest(ARRAY['profile_transfn(NULL, now(), ''name'', 1)', 'profile_transfn(NULL::internal, now(), ''name'', 1)', 'profile_finalfn(NULL)', 'profile_combine(NULL, NULL)',
    'profile_serialize(NULL)', 'profile_deserialize(''\x00'', NULL)', 'profile_deserialize(NULL::bytea, NULL::internal)', 'profile_serialize(''\x00''::bytea)',
    'first_transfn(NULL, 1, 2)', 'last_transfn(NULL, 1, 2)', 'first_combine(NULL, NULL)', 'last_combine(NULL, NULL)', 'bookend_finalfn(NULL, 1, 2)', 'bookend_serialize(NULL)', 'bookend_deserialize(''\x00'', NULL)']) call;
\pset format aligned

--
-- Numbers of pairs
--

CREATE FUNCTION pairs(n integer, value text) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(format('''a%s'', %s', i, replace(value, '$', i::text)), ', ' ORDER BY i) FROM generate_series(1, n) i $$;
SELECT format('SELECT count(*) AS attributes, bool_and(last_value = substr(attribute, 2)) AS right FROM profile_attributes((SELECT profile_agg(''2026-01-01 00:00:00Z'', %s)))', pairs(49, '''$''')) \gexec
SELECT error_of(format('SELECT profile_agg(now(), %s)', pairs(50, '1')));
-- none at all is for arrays
SELECT profile_agg('2026-01-01 00:00:00Z', VARIADIC '{}'::text[]);
-- any number of them
CREATE FUNCTION many(n integer) RETURNS text[] LANGUAGE sql AS
$$ SELECT array_agg(x ORDER BY i, x !~ '^a') FROM generate_series(1, n) i, LATERAL (VALUES ('a' || i), (i::text)) v(x) $$;
SELECT n, (SELECT count(*) AS attributes FROM profile_attributes(p)), (SELECT bool_and(first_value = substr(attribute, 2) AND last_value = first_value) AS right FROM profile_attributes(p))
FROM (SELECT n, profile_agg('2026-01-01 00:00:00Z', VARIADIC many(n)) AS p FROM unnest(ARRAY[50, 1000, 1024]) n GROUP BY n) x ORDER BY n;
SELECT profile_agg('2026-01-01 00:00:00Z', VARIADIC many(1025));
-- of several rows or profiles
SELECT profile_agg('2026-01-01 00:00:00Z', VARIADIC ARRAY['a' || n, 'x']) FROM generate_series(1, 1025) n;
SELECT count(*) FROM profile_attributes((SELECT profile_agg('2026-01-01 00:00:00Z', VARIADIC ARRAY['a' || n, 'x']) FROM generate_series(1, 1024) n));
SELECT error_of('SELECT a || b FROM (SELECT profile_agg(now(), VARIADIC many(1000)) AS a, profile_agg(now(), ''b.a'', 1, ''b.b'', 2, ''c'', 3) AS b) x') AS fits;
SELECT error_of(format('SELECT a || b FROM (SELECT profile_agg(now(), VARIADIC many(1000)) AS a, profile_agg(now(), %s) AS b) x', replace(pairs(25, '1'), '''a', '''b')));
SELECT error_of(format('SELECT profile_union_agg(p) FROM (SELECT profile_agg(now(), VARIADIC many(1000)) UNION ALL SELECT profile_agg(now(), %s)) x(p)', replace(pairs(25, '1'), '''a', '''b')));

-- the array of pairs, against the pairs
INSERT INTO got SELECT subject, profile_agg(at, VARIADIC ARRAY['session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan]) FROM event GROUP BY subject;
TABLE difference;
TRUNCATE got;
-- two dimensions are pairs too
INSERT INTO got SELECT subject, profile_agg(at, VARIADIC ARRAY[ARRAY['session', session], ARRAY['name', name], ARRAY['geo.city', city], ARRAY['geo.country', country], ARRAY['plan', plan]]) FROM event GROUP BY subject;
TABLE difference;
TRUNCATE got;
-- only what is known, in any order: the names differ from row to row
INSERT INTO got SELECT subject, profile_agg(at, VARIADIC coalesce((SELECT array_agg(x ORDER BY (k * n) % 7, k, x <> name_) FROM (VALUES (1, 'session', session), (2, 'name', name), (3, 'geo.city', city), (4, 'geo.country', country), (5, 'plan', plan)) v(k, name_, value_),
    LATERAL (VALUES (name_), (value_)) w(x) WHERE value_ IS NOT NULL AND value_ <> name_), '{}')) FROM event e GROUP BY subject;
SELECT different FROM difference;
TRUNCATE got;

--
-- Rows that say little
--

SELECT profile_agg(at, 'name', 'x') FROM (SELECT now() WHERE false) v(at);
SELECT subject, profile_agg(at, 'name', name) FROM event WHERE false GROUP BY subject;
SELECT profile_agg(NULL, 'name', 'x') FROM generate_series(1, 3);
SELECT profile_agg(NULL::timestamptz, VARIADIC ARRAY['name', 'x']) FROM generate_series(1, 3);
SELECT profile_agg(at, 'name', NULL, 'session', NULL::text) FROM (VALUES (timestamptz '2026-01-01 00:00:00Z'), ('2026-01-03 00:00:00Z'), (NULL)) v(at);
SELECT profile_agg(at, 'name', x) FROM (VALUES (timestamptz '2026-01-02 00:00:00Z', 'x'), ('2026-01-01 00:00:00Z', NULL), ('2026-01-03 00:00:00Z', NULL), (NULL, 'y')) v(at, x);
SELECT profile_agg(at, 'name', '') FROM (VALUES (timestamptz '2026-01-02 00:00:00Z')) v(at);
-- at the ends of time
SELECT profile_agg(at, 'name', x) FROM (VALUES (timestamptz '4714-11-24 00:00:00Z BC', 'a'), ('294276-12-31 23:59:59.999999Z', 'z'), ('2026-01-01 00:00:00Z', 'm')) v(at, x);
-- times are times without a zone in UTC, dates too, whatever the session says
SET TimeZone = 'Asia/Kathmandu';
SELECT profile_agg(timestamptz '2026-01-01 00:00:00Z', 'a', timestamp '2026-01-01 00:00:00', 'b', date '2026-01-01', 'c', timestamptz '2026-01-01 00:00:00Z');
SET TimeZone = 'UTC';

--
-- What SQL can put around an aggregate
--

-- FILTER
INSERT INTO input SELECT subject, at, session, name, city, country, plan FROM event WHERE n % 3 = 1 AND city > 'F';
INSERT INTO got SELECT subject, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan) FILTER (WHERE n % 3 = 1 AND city > 'F') FROM event GROUP BY subject;
SELECT compare();
SELECT subject, profile_agg(at, 'name', name) FILTER (WHERE false) FROM event WHERE n < 3 GROUP BY subject ORDER BY subject;

-- DISTINCT, also with names and values that are literals
INSERT INTO got SELECT subject, profile_agg(DISTINCT at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan)
FROM (TABLE event UNION ALL SELECT * FROM event WHERE n % 2 = 0) e GROUP BY subject;
TABLE difference;
TRUNCATE got;
SELECT profile_agg(DISTINCT at, 'plan', 'a long literal as the value', 'name', x) FROM (VALUES (timestamptz '2026-01-02 00:00:00Z', 'b'), ('2026-01-01 00:00:00Z', 'a'), ('2026-01-02 00:00:00Z', 'b')) v(at, x);

-- GROUPING SETS
INSERT INTO input
SELECT 'subject ' || subject, at, session, name, city, country, plan FROM event
UNION ALL SELECT 'country ' || coalesce(country, '-'), at, session, name, city, country, plan FROM event
UNION ALL SELECT 'all', at, session, name, city, country, plan FROM event;
INSERT INTO got SELECT CASE grouping(subject, coalesce(country, '-')) WHEN 1 THEN 'subject ' || subject WHEN 2 THEN 'country ' || coalesce(country, '-') ELSE 'all' END,
    profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan)
FROM event GROUP BY GROUPING SETS ((subject), (coalesce(country, '-')), ());
SELECT compare();

-- window frames: running, sliding, from both ends, peers, excluded rows
CREATE FUNCTION check_frame(frame text, members text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO input SELECT r.n::text, m.at, m.session, m.name, m.city, m.country, m.plan
        FROM (SELECT n, subject, row_number() OVER (PARTITION BY subject ORDER BY n) AS i FROM event WHERE n <= 800) r
        JOIN (SELECT *, row_number() OVER (PARTITION BY subject ORDER BY n) AS i FROM event WHERE n <= 800) m ON m.subject = r.subject AND (%s)', members);
    EXECUTE format('INSERT INTO got SELECT n::text, profile_agg(at, ''session'', session, ''name'', name, ''geo.city'', city, ''geo.country'', country, ''plan'', plan) OVER (PARTITION BY subject ORDER BY n %s)
        FROM event WHERE n <= 800', frame);
    RETURN compare();
END
$$;
SELECT frame, check_frame(frame, members)
FROM (VALUES ('', 'm.i <= r.i'), ('ROWS UNBOUNDED PRECEDING', 'm.i <= r.i'),
             ('ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING', 'm.i BETWEEN r.i - 2 AND r.i + 1'),
             ('ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING', 'm.i BETWEEN r.i - 3 AND r.i - 2'),
             ('ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING', 'm.i >= r.i'),
             ('ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING', 'true'),
             ('ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING EXCLUDE CURRENT ROW', 'm.i BETWEEN r.i - 2 AND r.i + 2 AND m.i <> r.i'),
             ('RANGE BETWEEN 200 PRECEDING AND 100 FOLLOWING', 'm.n BETWEEN r.n - 200 AND r.n + 100')) v(frame, members);
-- running over an array of pairs and over names by row
INSERT INTO input SELECT r.n::text, m.at, m.session, NULL, m.city, NULL, NULL FROM event r JOIN event m ON m.subject = r.subject AND m.n <= r.n WHERE r.n <= 800;
INSERT INTO got SELECT n::text, profile_agg(at, VARIADIC ARRAY['session', session, 'geo.city', city]) OVER (PARTITION BY subject ORDER BY n) FROM event WHERE n <= 800;
SELECT compare();
INSERT INTO input SELECT r.n::text, m.at, NULL, CASE WHEN m.n % 2 = 0 THEN m.country END, NULL, NULL, CASE WHEN m.n % 2 = 1 THEN m.country END FROM event r JOIN event m ON m.subject = r.subject AND m.n <= r.n WHERE r.n <= 800;
INSERT INTO got SELECT n::text, profile_agg(at, CASE n % 2 WHEN 0 THEN 'name' ELSE 'plan' END, country) OVER (PARTITION BY subject ORDER BY n) FROM event WHERE n <= 800;
SELECT compare();

--
-- Names that are not constants
--

INSERT INTO input SELECT subject, at, session, CASE n % 3 WHEN 0 THEN country END, CASE n % 3 WHEN 1 THEN country END, NULL, CASE n % 3 WHEN 2 THEN country END FROM event;
INSERT INTO got SELECT subject, profile_agg(at, 'session', session, (ARRAY['name', 'geo.city', 'plan'])[1 + n % 3], country) FROM event GROUP BY subject;
SELECT compare();
-- of other types than text
INSERT INTO input SELECT subject, at, session, country, NULL, NULL, plan FROM event;
INSERT INTO got SELECT subject, profile_agg(at, 'session'::name, session, CASE WHEN n > 0 THEN 'name'::varchar END, country, 'plan'::char(10), plan) FROM event GROUP BY subject;
SELECT compare();
-- a name that turns wrong in a later row
SELECT profile_agg('2026-01-01 00:00:00Z', 'a' || CASE WHEN n = 3 THEN '-' ELSE '' END, n) FROM generate_series(1, 5) n;
SELECT profile_agg('2026-01-01 00:00:00Z', 'b', 1, CASE WHEN n < 3 THEN 'a' ELSE 'b' END, n) FROM generate_series(1, 5) n;
SELECT profile_agg('2026-01-01 00:00:00Z', CASE WHEN n < 3 THEN 'a' END, n) FROM generate_series(1, 5) n;

-- parameters, with custom and with generic plans
CREATE FUNCTION fold_by(a text, b text) RETURNS SETOF got LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT subject, profile_agg(at, a, country, b, session) FROM event GROUP BY subject;
END
$$;
PREPARE by_name(text, text) AS SELECT subject, profile_agg(at, $1, country, $2, session) FROM event GROUP BY subject;
PREPARE by_array(text[]) AS SELECT profile_agg('2026-01-01 00:00:00Z', VARIADIC $1);
CREATE FUNCTION check_parameters(mode text, a text, b text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('plan_cache_mode', mode, true);
    INSERT INTO input SELECT subject, at, session, CASE a WHEN 'name' THEN country END, NULL, NULL, CASE a WHEN 'plan' THEN country END FROM event;
    INSERT INTO got SELECT * FROM fold_by(a, b);
    RETURN mode || ': ' || compare();
END
$$;
SELECT check_parameters('force_custom_plan', 'name', 'session');
SELECT check_parameters('force_generic_plan', 'plan', 'session');
SELECT check_parameters('force_generic_plan', 'name', 'session');
SET plan_cache_mode = force_generic_plan;
EXECUTE by_name('name', 'name');
EXECUTE by_name(NULL, 'name');
EXECUTE by_array('{plan,x}');
EXECUTE by_array('{name,y}');
EXECUTE by_array(NULL);
RESET plan_cache_mode;
DEALLOCATE ALL;

--
-- Large
--

-- values of 1 MB, from the row and from TOAST; each row a winner or not
CREATE TABLE large (n integer, at timestamptz, v text);
INSERT INTO large SELECT n, '2026-01-01 00:00:00Z'::timestamptz + (n * 7 % 5) * interval '1 hour', chr(65 + n * 3 % 10) || (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32768) i) FROM generate_series(0, 9) n;
SELECT octet_length(first_known(p, 'notes')) AS bytes, first_known(p, 'notes') = (SELECT v FROM large ORDER BY at, v COLLATE "C" LIMIT 1) AS first,
       last_known(p, 'notes') = (SELECT v FROM large ORDER BY at DESC, v COLLATE "C" DESC LIMIT 1) AS last, first_known(p, 'n') AS n, p = p::text::profile AS round_trip
FROM (SELECT profile_agg(at, 'notes', v, 'n', n) AS p FROM large) x;
SELECT (SELECT profile_agg(at, 'notes', v, 'n', n ORDER BY n DESC) FROM large) = (SELECT profile_agg(at, VARIADIC ARRAY['notes', v, 'n', n::text]) FROM large) AS same;
SELECT profile_agg('2026-01-01 00:00:00Z', 'notes', repeat('x', 128 * 1024 * 1024));
SELECT profile_agg('2026-01-01 00:00:00Z', 'a', repeat('x', 80 * 1024 * 1024), 'b', repeat('y', 80 * 1024 * 1024));

-- values that grow and shrink, so that what is kept moves
INSERT INTO input SELECT (n % 5)::text, '2026-01-01 00:00:00Z'::timestamptz + (n * 31 % 211 - n) * interval '1 hour', NULL, repeat(chr(65 + n % 26), n * 37 % 503), CASE WHEN n % 3 = 0 THEN repeat('c', n % 101) END, NULL, repeat('p', 400 - n % 400) FROM generate_series(1, 800) n;
INSERT INTO got SELECT slice, profile_agg(at, 'name', name, 'geo.city', city, 'plan', plan) FROM input GROUP BY slice;
SELECT compare();

-- few rows of memory: hashed groups spill, and give the same profiles
CREATE TABLE many_subjects AS
SELECT n % 9000 AS subject, '2026-01-01 00:00:00Z'::timestamptz + (n * 7919 % 1009) * interval '1 minute' AS at, 'session ' || n % 13 AS session, CASE WHEN n % 3 > 0 THEN 'city ' || n % 101 END AS city
FROM generate_series(1, 20000) n;
ANALYZE many_subjects;
SET work_mem = '64kB';
SET enable_sort = off;
CREATE FUNCTION spills(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON, COSTS OFF, TIMING OFF) ' || query INTO plan;
    RETURN plan::text ~ '"HashAgg Batches": ([2-9]|[1-9][0-9]+)';
END
$$;
SELECT spills('SELECT subject, profile_agg(at, ''session'', session, ''geo.city'', city) FROM many_subjects GROUP BY subject');
CREATE TABLE hashed AS SELECT subject, profile_agg(at, 'session', session, 'geo.city', city) AS p FROM many_subjects GROUP BY subject;
RESET enable_sort;
SET enable_hashagg = off;
CREATE TABLE sorted AS SELECT subject, profile_agg(at, 'session', session, 'geo.city', city) AS p FROM many_subjects GROUP BY subject;
RESET enable_hashagg;
RESET work_mem;
SELECT count(*) AS subjects, (SELECT count(*) FROM ((TABLE hashed EXCEPT ALL TABLE sorted) UNION ALL (TABLE sorted EXCEPT ALL TABLE hashed)) d) AS different FROM hashed;

--
-- Parallel plans
--

SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 3;
SET parallel_leader_participation = off;
ALTER TABLE event SET (parallel_workers = 3);
ALTER TABLE large SET (parallel_workers = 3);

\set agg 'profile_agg(at, ''session'', session, ''name'', name, ''geo.city'', city, ''geo.country'', country, ''plan'', plan)'
\set query 'SELECT subject, ' :agg ' FROM event GROUP BY subject'
SELECT plan_says(:'query', '"Partial Mode": "Partial"') AND plan_says(:'query', '"Workers Planned": 3') AS parallel;
CREATE TABLE parallel_fold AS :query;
INSERT INTO got TABLE parallel_fold;
TABLE difference;
TRUNCATE got;
-- with the leader, by sorting, as one group
RESET parallel_leader_participation;
SET enable_hashagg = off;
SELECT plan_says(:'query', '"Partial Mode": "Partial"') AS parallel;
CREATE TABLE parallel_sorted AS :query;
INSERT INTO got TABLE parallel_sorted;
TABLE difference;
TRUNCATE got;
RESET enable_hashagg;
SET parallel_leader_participation = off;
\set query 'SELECT ' :agg ' FROM event'
SELECT plan_says(:'query', '"Partial Mode": "Partial"') AS parallel;
CREATE TABLE all_parallel AS :query;
SELECT count(*) AS different FROM all_parallel WHERE profile_agg <> (SELECT profile_union_agg(p) FROM folded);
-- pairs in an array, names by row, FILTER
\set query 'SELECT subject, profile_agg(at, VARIADIC ARRAY[\'session\', session, \'name\', name, \'geo.city\', city, \'geo.country\', country, \'plan\', plan]) FROM event GROUP BY subject'
SELECT plan_says(:'query', '"Partial Mode": "Partial"') AS parallel;
CREATE TABLE parallel_array AS :query;
INSERT INTO got TABLE parallel_array;
TABLE difference;
TRUNCATE got;
CREATE TABLE parallel_names AS SELECT subject, profile_agg(at, 'session', session, (ARRAY['name', 'geo.city', 'plan'])[1 + n % 3], country) FILTER (WHERE n % 2 = 0) AS p FROM event GROUP BY subject;
INSERT INTO input SELECT subject, at, session, CASE n % 3 WHEN 0 THEN country END, CASE n % 3 WHEN 1 THEN country END, NULL, CASE n % 3 WHEN 2 THEN country END FROM event WHERE n % 2 = 0;
INSERT INTO got TABLE parallel_names;
SELECT compare();
-- large values go from worker to leader
SELECT plan_says('SELECT profile_agg(at, ''notes'', v, ''n'', n) FROM large', '"Partial Mode": "Partial"') AS parallel;
SELECT first_known(p, 'notes') = (SELECT v FROM large ORDER BY at, v COLLATE "C" LIMIT 1) AS first, last_known(p, 'notes') = (SELECT v FROM large ORDER BY at DESC, v COLLATE "C" DESC LIMIT 1) AS last
FROM (SELECT profile_agg(at, 'notes', v, 'n', n) AS p FROM large) x;
-- workers that have nothing to say
SELECT profile_agg(at, 'name', name) FROM event WHERE n < 0;
SELECT profile_agg(at, 'name', name) IS NULL AS none FROM event WHERE at IS NULL;
SELECT profile_agg(at, 'name', NULL) AS times_only FROM event;
-- an error in a worker is the error
SELECT profile_agg(at, CASE n WHEN 4000 THEN 'No' ELSE 'name' END, name) FROM event;

-- profile_union_agg too
CREATE TABLE part AS SELECT subject, n % 10 AS part, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan) AS p FROM event GROUP BY subject, n % 10;
INSERT INTO part SELECT 's' || n % 97, 10, NULL FROM generate_series(1, 300) n;
ALTER TABLE part SET (parallel_workers = 3);
ANALYZE part;
\set query 'SELECT subject, profile_union_agg(p) FROM part GROUP BY subject'
SELECT plan_says(:'query', '"Partial Mode": "Partial"') AS parallel;
CREATE TABLE parallel_union AS :query;
INSERT INTO got TABLE parallel_union;
TABLE difference;
TRUNCATE got;
SET max_parallel_workers_per_gather = 0;
SELECT plan_says(:'query', '"Partial Mode": "Partial"') AS parallel;
INSERT INTO got :query;
TABLE difference;
TRUNCATE got;
SELECT profile_union_agg(p) FROM part WHERE p IS NULL;
SELECT profile_union_agg(NULL::profile);
SELECT profile_union_agg(p) FROM part WHERE false;
SELECT profile_union_agg(p) = p FROM folded WHERE subject = 's5' GROUP BY p;
-- DISTINCT, ORDER BY, FILTER, as a window
SELECT count(*) AS different FROM (SELECT subject, profile_union_agg(DISTINCT p) AS a, profile_union_agg(p ORDER BY part DESC) AS b, profile_union_agg(p) FILTER (WHERE part <> 3) AS c,
       profile_union_agg(p) FILTER (WHERE part = 3) AS d FROM part GROUP BY subject) x JOIN folded f USING (subject) WHERE a <> f.p OR b <> f.p OR c || d <> f.p;
INSERT INTO input SELECT e.subject || ' ' || r.part, at, session, name, city, country, plan FROM event e JOIN part r ON r.subject = e.subject AND e.n % 10 <= r.part AND r.part < 10;
INSERT INTO got SELECT subject || ' ' || part, profile_union_agg(p) OVER (PARTITION BY subject ORDER BY part) FROM part WHERE part < 10;
SELECT compare();

-- partition-wise, whole and in part
CREATE TABLE parted (LIKE event) PARTITION BY HASH (subject);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted TABLE event;
ANALYZE parted;
SET enable_partitionwise_aggregate = on;
\set query 'SELECT subject, ' :agg ' FROM parted GROUP BY subject'
SELECT plan_says(:'query', 'Append') AND NOT plan_says(:'query', '"Partial Mode": "Partial"') AS whole;
INSERT INTO got :query;
TABLE difference;
TRUNCATE got;
\set query 'SELECT ' :agg ' FROM parted'
SELECT plan_says(:'query', '"Partial Mode": "Partial"') AS in_part;
SELECT count(*) AS different FROM (:query) x(p) WHERE p <> (SELECT profile_union_agg(p) FROM folded);
RESET enable_partitionwise_aggregate;

-- a materialized view, refreshed concurrently, which compares whole rows
CREATE MATERIALIZED VIEW profile_of AS SELECT subject, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan) AS p FROM event GROUP BY subject;
CREATE UNIQUE INDEX ON profile_of (subject);
INSERT INTO event VALUES (10001, 's1', '2030-01-01 00:00:00Z', 'later', 'Later', NULL, NULL, NULL), (10002, 'new', '2030-01-01 00:00:00Z', NULL, NULL, NULL, NULL, NULL);
REFRESH MATERIALIZED VIEW CONCURRENTLY profile_of;
INSERT INTO input SELECT subject, at, session, name, city, country, plan FROM event;
INSERT INTO got TABLE profile_of;
SELECT compare();

-- kept up by INSERT ON CONFLICT
CREATE TABLE kept (subject text PRIMARY KEY, p profile);
INSERT INTO kept SELECT subject, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan) FROM event WHERE n % 2 = 0 GROUP BY subject HAVING count(at) > 0;
INSERT INTO kept AS k SELECT subject, profile_agg(at, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan) FROM event WHERE n % 2 = 1 GROUP BY subject HAVING count(at) > 0
ON CONFLICT (subject) DO UPDATE SET p = k.p || excluded.p;
INSERT INTO input SELECT subject, at, session, name, city, country, plan FROM event;
INSERT INTO got TABLE kept;
SELECT compare();

\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA test_aggregates CASCADE;
