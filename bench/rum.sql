-- rum.sql: a deterministic table bench.rum of RUM events in one jsonb column, from
-- the captured ones: users of about a hundred events, ten to an account.
--   psql -v events=200000 -v fields=45 -f bench/rum.sql
-- fields: how many more each event has, of some 70 characters that hardly compress.
-- Run from the checkout's root.

CREATE SCHEMA IF NOT EXISTS bench;
CREATE TEMP TABLE captured (k serial, event jsonb);
\copy captured (event) from 'test/data/rum_enriched.ndjson' with (format csv, quote e'\x01', delimiter e'\x02')

CREATE TABLE bench.rum AS
SELECT c.event || jsonb_build_object(
           'date', 1772525520823 + s.n * 40000,
           'usr', jsonb_build_object('id', 'u-' || s.u, 'name', 'Name ' || s.u, 'email', 'u' || s.u || '@mail.example'),
           'account', jsonb_build_object('id', 'a-' || s.u / 10, 'name', 'Account ' || s.u / 10),
           'session', (c.event -> 'session') || jsonb_build_object('id', md5((s.u * 1000 + s.n / (:events / 5))::text)::uuid),
           'view', v.view,
           v.type, CASE v.type WHEN 'view' THEN v.view ELSE c.event -> v.type END || jsonb_build_object('id', md5(s.n::text)::uuid),
           'context', (SELECT coalesce(jsonb_object_agg('field_' || f, md5((s.n * 50 + f)::text) || ' https://shop.example/catalogue/item'), '{}')
                       FROM generate_series(1, :fields) AS f)) AS event
FROM (SELECT n, (hashint8extended(n, 7) & 1073741823) % greatest(:events / 100, 10) AS u FROM generate_series(1::bigint, :events) AS n) AS s
JOIN captured c ON c.k = 1 + s.n % (SELECT count(*) FROM captured),
LATERAL (SELECT c.event ->> 'type' AS type,
                (c.event -> 'view') || jsonb_build_object('id', md5(s.n::text)::uuid, 'url_path', '/page/' || (hashint8(s.n) & 63)) AS view) AS v;

VACUUM (FREEZE, ANALYZE) bench.rum;
