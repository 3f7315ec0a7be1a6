-- events.sql: a deterministic table bench.events, in time order, as a product
-- would have it: 20 text columns and a time.
--   psql -v events=5000000 -v users=250000 -f bench/events.sql
-- A user's chance falls with the square root of its number.

CREATE SCHEMA IF NOT EXISTS bench;
DROP TABLE IF EXISTS bench.events CASCADE;

-- a hash of (row, purpose) as a number in [0, 1)
CREATE OR REPLACE FUNCTION bench.unit(n bigint, purpose int) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashint8extended(n, purpose) & 1073741823) / 1073741824.0;

CREATE TABLE bench.events AS
SELECT timestamptz '2026-01-01' + n * (interval '300 days' / :events) AS ts,
       'user-' || u AS usr_id,
       'Name ' || u || ' Surname' AS usr_name,
       'user' || u || '@mail' || u % 1000 || '.example' AS usr_email,
       'acc-' || u % 5000 AS account_id,
       md5((u * 100 + n / (:events / 40))::text)::uuid::text AS session_id,
       'shop-' || (bench.unit(n, 2) * 3)::int AS application,
       (ARRAY['US','DE','FR','GB','JP','BR','IN','NO','RS','EG'])[1 + (bench.unit(u, 3) * 9)::int] AS country,
       'Region ' || (bench.unit(u, 4) * 40)::int AS region,
       'City ' || (bench.unit(n / 1000 + u, 5) * 400)::int AS city,
       (ARRAY['Desktop','Mobile','Tablet'])[1 + (bench.unit(n, 6) * 2)::int] AS device_type,
       (ARRAY['Windows','Mac OS','iOS','Android','Linux'])[1 + (bench.unit(u, 7) * 4)::int] AS os_name,
       (10 + (bench.unit(n, 8) * 8)::int)::text AS os_version,
       (ARRAY['Chrome','Safari','Firefox','Edge'])[1 + (bench.unit(u, 9) * 3)::int] AS browser_name,
       (100 + (bench.unit(n, 10) * 40)::int) || '.0.0.0' AS browser_version,
       (ARRAY['view','action','action','resource','error'])[1 + (bench.unit(n, 11) * 4)::int] AS event_type,
       md5(n::text) AS event_id,
       '/page/' || (bench.unit(n, 12) * 200)::int AS page,
       CASE WHEN bench.unit(n, 13) < 0.3 THEN 'Button ' || (bench.unit(n, 14) * 50)::int END AS action,
       'https://referrer' || n % 50 || '.example/' AS referrer,
       'note ' || n % 7 AS note
FROM (SELECT n, floor(:users * bench.unit(n, 1) ^ 2)::int AS u
      FROM generate_series(0, :events - 1) AS n) AS s;

VACUUM (FREEZE, ANALYZE) bench.events;
