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
SELECT c.name, m.max, b.n, b.counted
FROM unnest(ARRAY['i', 'l', 'n', 'f', 'd', 't']) AS c (name), unnest(ARRAY[2, 3, 5, 8, 50]) AS m (max),
     LATERAL (SELECT count(*) AS n, sum(f.count) AS counted FROM profiles.facet('user', c.name, max => m.max) f) b
WHERE b.n > greatest(m.max, CASE c.name WHEN 'f' THEN 4 ELSE 2 END) OR b.counted <> 60;
SELECT bool_and(f.count = (SELECT count(*) FROM profiles.users u WHERE f.value::numrange @> u.n)) AS n FROM profiles.facet('user', 'n') f WHERE value IS NOT NULL;
SELECT bool_and(f.count = (SELECT count(*) FROM profiles.users u WHERE f.value::daterange @> u.d)) AS d FROM profiles.facet('user', 'd') f WHERE value IS NOT NULL;
SELECT bool_and(f.count = (SELECT count(*) FROM profiles.users u WHERE f.value::tsrange @> u.t)) AS t FROM profiles.facet('user', 't') f WHERE value IS NOT NULL;

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
