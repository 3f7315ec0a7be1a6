-- facet: counts of values and buckets, against plain SQL.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT * FROM profiles.facet('user', 'plan');
CREATE SCHEMA web;
CREATE TABLE web.events (ts timestamptz, user_id text, account_id text, country text, plan text);
INSERT INTO web.events
SELECT timestamptz '2026-01-01 00:30Z' + n * n * interval '5 hours', 'u' || n, 'a' || n % 9, (ARRAY['DE', 'FR', 'US', 'NO', NULL])[1 + (n * n) % 5],
       CASE WHEN n % 4 > 0 THEN 'plan ' || n % 3 END
FROM generate_series(1, 60) AS n;
SELECT profiles.add_source('web.events', mapping => '{"plan": "plan"}');
SET profiles.future_tolerance = '3650d'; -- some are of the future
CALL profiles.rebuild();

-- values: most frequent first, what is not known is one of them
SELECT * FROM profiles.facet('user', 'last_seen_country');
SELECT * FROM profiles.facet('user', 'last_plan', 'last_seen_country = ''DE'' OR last_seen_country IS NULL', 2);
SELECT count(*), sum(count) FROM profiles.facet('user', 'user_id', max => NULL);
SELECT * FROM profiles.facet('account', 'account_id', max => 3);
SELECT (SELECT array_agg(f) FROM profiles.facet('user', 'geo.country') f) = (SELECT array_agg(f) FROM profiles.facet('user', 'last_seen_country') f)
   AND (SELECT array_agg(f) FROM profiles.facet('user', 'plan') f) = (SELECT array_agg(f) FROM profiles.facet('user', 'last_plan') f) AS attributes;
SELECT * FROM profiles.facet('user', 'email');
SELECT * FROM profiles.facet('user', 'last_plan', 'false');

-- times: buckets of a unit of the calendar, in UTC whatever the session says
SET timezone = 'Asia/Tokyo';
SET datestyle = german;
SELECT * FROM profiles.facet('user', 'last_seen');
SELECT * FROM profiles.facet('user', 'last_seen', 'last_seen < ''2026-01-03''', 12);
SELECT * FROM profiles.facet('user', 'last_seen', 'user_id = ''u1''');
SELECT * FROM profiles.facet('user', 'last_seen', 'false');
RESET timezone;
RESET datestyle;

-- whatever the number of buckets and the spread: not more of them, each with what lies in it, all counted, none empty
CREATE VIEW web.spreads AS
SELECT m.max, f.filter
FROM unnest(ARRAY[1, 2, 3, 7, 20, 100]) AS m (max),
     unnest(ARRAY['true', 'last_seen < ''2026-01-02''', 'last_seen < ''2026-02-01''', 'user_id IN (''u1'', ''u2'')', 'last_seen > ''2027-01-01''']) AS f (filter);
SELECT s.*, b.n, b.counted, expected.n AS expected
FROM web.spreads s,
     LATERAL (SELECT count(*) AS n, sum(f.count) AS counted, min(f.count) AS least,
                     bool_and(f.count = (SELECT count(*) FROM profiles.users p WHERE f.value::tstzrange @> p.last_seen
                                         AND p.user_id IN (SELECT q.value FROM profiles.facet('user', 'user_id', s.filter, NULL) q))) AS right
              FROM profiles.facet('user', 'last_seen', s.filter, s.max) f) b,
     LATERAL (SELECT sum(count) AS n FROM profiles.facet('user', 'user_id', s.filter, NULL)) expected
WHERE b.n > s.max OR b.counted <> expected.n OR NOT b.right OR b.least < 1;

-- columns of any type, as custom attributes are
CREATE TABLE web.typed (k text, i int2, l int8, n numeric, f float8, d date, t timestamp, flag boolean, far timestamptz);
INSERT INTO web.typed SELECT 'u' || n, n * 7 % 100 - 50, n::int8 * n * n * 1000000, n * 0.013, CASE n WHEN 3 THEN 'NaN' WHEN 4 THEN '-Infinity' ELSE n * 1e-7 END,
    date '2026-01-01' + n * 3, timestamp '2026-01-01' + n * interval '1 hour', n % 3 = 0, CASE WHEN n = 5 THEN 'infinity' ELSE timestamptz '0044-03-15Z BC' END
FROM generate_series(1, 50) AS n;
SELECT format('CREATE OR REPLACE VIEW profiles.users AS SELECT u.*, n.i, n.l, n.n, n.f, n.d, n.t, n.flag, n.far FROM (%s) u LEFT JOIN web.typed n ON n.k = u.user_id',
              rtrim(pg_get_viewdef('profiles.users'::regclass), ';')) \gexec
SELECT * FROM profiles.facet('user', 'i', max => 8);
SELECT * FROM profiles.facet('user', 'l', max => 5);
SELECT * FROM profiles.facet('user', 'n', max => 5);
SELECT * FROM profiles.facet('user', 'f', max => 9);
SELECT * FROM profiles.facet('user', 'd', max => 5);
SELECT * FROM profiles.facet('user', 't', max => 5);
SELECT * FROM profiles.facet('user', 'flag');
SELECT * FROM profiles.facet('user', 'far');
SELECT * FROM profiles.facet('user', 'n', 'user_id = ''u7''');
SELECT * FROM profiles.facet('user', 'n', 'user_id = ''u60''');
-- never more than wanted; all are counted, unless so few are wanted that NULL and what is not finite leave no bucket
SELECT c.name, m.max, b.n, b.counted
FROM unnest(ARRAY['i', 'l', 'n', 'f', 'd', 't', 'far']) AS c (name), unnest(ARRAY[1, 2, 3, 4, 5, 8, 50, NULL]) AS m (max),
     LATERAL (SELECT count(*) AS n, sum(f.count) AS counted FROM profiles.facet('user', c.name, max => m.max) f) b
WHERE b.n > m.max OR b.counted <> 60 AND NOT m.max < CASE c.name WHEN 'f' THEN 4 WHEN 'far' THEN 3 ELSE 2 END;
-- then the most frequent are given
SELECT c.name, m.max, array(SELECT f.count FROM profiles.facet('user', c.name, max => m.max) f ORDER BY 1 DESC) AS given,
       array(SELECT f.n FROM (SELECT count(*) AS n FROM profiles.users u, jsonb_extract_path_text(to_jsonb(u), c.name) AS v
                              GROUP BY CASE WHEN v IN ('NaN', '-Infinity', 'infinity') THEN v END, v IS NULL) f ORDER BY 1 DESC LIMIT m.max) AS expected
FROM unnest(ARRAY['i', 'f', 'd', 'far']) AS c (name), generate_series(1, 3) AS m (max)
WHERE m.max < CASE c.name WHEN 'f' THEN 4 WHEN 'far' THEN 3 ELSE 2 END ORDER BY 1, 2;
SELECT * FROM profiles.facet('user', 'f', 'f IS NULL OR f >= ''-Infinity''', 2);
SELECT * FROM profiles.facet('user', 'far', 'far IS NULL OR far = ''infinity''', 1);
-- one bucket for numbers of both signs
SELECT * FROM profiles.facet('user', 'i', 'i IS NOT NULL', 1);
SELECT bool_and(f.count = (SELECT count(*) FROM profiles.users u WHERE f.value::numrange @> u.n)) AS n FROM profiles.facet('user', 'n') f WHERE value IS NOT NULL;
SELECT bool_and(f.count = (SELECT count(*) FROM profiles.users u WHERE f.value::daterange @> u.d)) AS d FROM profiles.facet('user', 'd') f WHERE value IS NOT NULL;
SELECT bool_and(f.count = (SELECT count(*) FROM profiles.users u WHERE f.value::tsrange @> u.t)) AS t FROM profiles.facet('user', 't') f WHERE value IS NOT NULL;

-- however far times lie apart, and from the first and last that there are: at most max buckets, each with what lies in it, all counted
CREATE TABLE web.far (k text, at timestamptz);
INSERT INTO web.far SELECT 'u' || n, (ARRAY['4714-11-24 00:00:00Z BC', '4714-12-01Z BC', '4713-01-01Z BC', '4001-06-01Z BC', '0001-12-31 23:59:59Z BC', '0001-01-01Z',
    '1000-06-01Z', '1970-01-01Z', '2026-01-01Z', '2026-02-03 04:05:06.789Z', '9999-12-31Z', '294276-12-31 23:59:59.999999Z'])[n]::timestamptz
FROM generate_series(1, 12) AS n;
SELECT format('CREATE OR REPLACE VIEW profiles.users AS SELECT u.*, f.at, f.at AT TIME ZONE ''UTC'' AS plain, '
              'CASE u.user_id WHEN ''u12'' THEN ''5874897-12-31'' ELSE (f.at AT TIME ZONE ''UTC'')::date END AS day FROM (%s) u LEFT JOIN web.far f ON f.k = u.user_id',
              rtrim(pg_get_viewdef('profiles.users'::regclass), ';')) \gexec
CREATE TABLE web.far_facet AS
SELECT l.n AS low, h.n AS high, c.name, m.max, f.value, f.count
FROM generate_series(1, 12) AS l (n), generate_series(1, 12) AS h (n), unnest(ARRAY['at', 'plain', 'day']) AS c (name), unnest(ARRAY[1, 2, 3, 8, 20]) AS m (max),
     LATERAL profiles.facet('user', c.name, (SELECT format('user_id IN (%s)', string_agg(quote_literal('u' || n), ', ')) FROM generate_series(l.n, h.n) AS n), m.max) f
WHERE l.n <= h.n;
SELECT count(DISTINCT (low, high, name, max)) AS facets FROM web.far_facet;
SELECT low, high, name, max, count(*) AS n, sum(count) AS counted FROM web.far_facet GROUP BY low, high, name, max HAVING count(*) > max OR sum(count) <> high - low + 1;
SET timezone = 'UTC';
SELECT f.* FROM web.far_facet f
WHERE f.count <> (SELECT count(*) FROM web.far t, LATERAL (SELECT t.at AT TIME ZONE 'UTC' AS plain) p
                  WHERE t.k IN (SELECT 'u' || n FROM generate_series(f.low, f.high) AS n)
                    AND CASE f.name WHEN 'at' THEN f.value::tstzrange @> t.at WHEN 'plain' THEN f.value::tsrange @> p.plain
                                    ELSE f.value::daterange @> CASE t.k WHEN 'u12' THEN '5874897-12-31' ELSE p.plain::date END END);
RESET timezone;
SELECT * FROM profiles.facet('user', 'at', 'user_id IN (''u7'', ''u8'', ''u9'')', 1);
SELECT * FROM profiles.facet('user', 'at', 'user_id IN (''u7'', ''u8'', ''u9'')', 2);
SELECT * FROM profiles.facet('user', 'at', 'user_id IN (''u4'', ''u9'')', 3);
SELECT * FROM profiles.facet('user', 'at', 'user_id IN (''u4'', ''u9'')', 1);
SELECT * FROM profiles.facet('user', 'at', 'user_id = ''u1''');
SELECT * FROM profiles.facet('user', 'at', 'user_id IN (''u1'', ''u2'', ''u3'')', 3);
SELECT * FROM profiles.facet('user', 'at', 'user_id IN (''u1'', ''u4'')', 5);
SELECT * FROM profiles.facet('user', 'plain', 'plain IS NOT NULL', 5);
SELECT * FROM profiles.facet('user', 'day', 'day IS NOT NULL', 5);
SELECT * FROM profiles.facet('user', 'day', 'user_id = ''u12''', 5);

-- one user held against all: how many share the value, how many are below
SELECT f.value, f.count, round(100.0 * f.count / sum(f.count) OVER (), 1) AS percent, f.value IS NOT DISTINCT FROM u.last_seen_country AS is_u5
FROM profiles.facet('user', 'last_seen_country') f, profiles.users u WHERE u.user_id = 'u5';

-- errors
SELECT * FROM profiles.facet('users', 'last_plan');
SELECT * FROM profiles.facet('account', 'plans');
SELECT * FROM profiles.facet('user', NULL);
SELECT * FROM profiles.facet('user', 'profile');
SELECT * FROM profiles.facet('user', 'last_plan', max => 0);
SELECT * FROM profiles.facet('user', 'last_plan', 'last_plann = ''x''');
SELECT * FROM profiles.facet('user', 'last_plan', 'true) OR (SELECT true');
-- with the caller's rights
CREATE ROLE profiles_facet_reader;
GRANT SELECT ON profiles.accounts TO profiles_facet_reader;
SET ROLE profiles_facet_reader;
SELECT * FROM profiles.facet('account', 'last_plan');
SELECT * FROM profiles.facet('user', 'last_plan');
RESET ROLE;
SELECT profiles.uninstall();
DROP OWNED BY profiles_facet_reader;
DROP ROLE profiles_facet_reader;
DROP SCHEMA web CASCADE;
