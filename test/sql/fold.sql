-- The direct fold gives what the fold by an aggregate query gives.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP EXTENSION profiles CASCADE;
CREATE EXTENSION profiles;
CREATE SCHEMA folds;

-- rows that differ between the two ways
CREATE FUNCTION folds.differences(view regclass, kind text) RETURNS bigint LANGUAGE sql AS $$
    WITH direct AS MATERIALIZED (
        SELECT * FROM profiles._fold(view, kind)
    ), queried AS MATERIALIZED (
        SELECT * FROM profiles._fold(view, kind, by_query => true)
    )
    SELECT count(*) FROM ((TABLE direct EXCEPT ALL TABLE queried) UNION ALL (TABLE queried EXCEPT ALL TABLE direct)) d
$$;

-- Groups that are unknown at an end, or for ever; ends that several events
-- share; sessions that are NULL; keys and times that are no good; held events.
CREATE TABLE folds.plain AS
SELECT n AS id,
       timestamptz '2024-01-01' + (n * 7919 % 500) * interval '1 hour' AS ts,
       'u' || n * n % 1009 AS usr_id,
       CASE WHEN n % 4 > 0 THEN 'a' || n % 50 END AS account_id,
       CASE WHEN n % 3 > 0 THEN 's' || n % 700 END AS session_id,
       CASE WHEN n % 5 = 0 THEN 'Name ' || n % 9 END AS usr_name,
       CASE WHEN n % 7 = 0 THEN 'C' || n % 11 END AS country,
       CASE WHEN n % 14 = 0 THEN 'City ' || n % 6 END AS city,
       CASE WHEN n % 400 = 0 THEN n END AS points,
       NULL::text AS never,
       repeat('long ', n % 1000) AS note
FROM generate_series(1, 6000) n;
UPDATE folds.plain SET usr_id = NULL WHERE id % 601 = 0;
UPDATE folds.plain SET usr_id = repeat('k', 1100) WHERE id % 701 = 0;
UPDATE folds.plain SET ts = NULL WHERE id % 801 = 0;
UPDATE folds.plain SET ts = 'infinity' WHERE id % 901 = 0;
UPDATE folds.plain SET ts = now() + interval '10 days' WHERE id % 1003 = 0;
UPDATE folds.plain SET ts = (SELECT min(ts) FROM folds.plain) WHERE id % 11 = 0;
SELECT profiles.add_source('folds.plain', filter => 'id % 37 > 0', capture => 'none',
                           mapping => '{"points": "points", "never": "never", "note": "note"}');
SELECT folds.differences('profiles.source_1', 'user') AS users, folds.differences('profiles.source_1', 'account') AS accounts;
-- it is not empty, and the reasons are there
SELECT count(*) FILTER (WHERE left_out IS NULL) AS subjects, count(*) FILTER (WHERE left_out LIKE 'future %') AS held,
       array_agg(DISTINCT left_out ORDER BY left_out) FILTER (WHERE left_out NOT LIKE 'future %') AS reasons
FROM profiles._fold('profiles.source_1', 'user');
SELECT left_out, events, length(example) FROM profiles._fold('profiles.source_1', 'user') WHERE left_out LIKE 'long%';

-- columns in another order, dropped ones, ones that came later; a child
CREATE TABLE folds.parted (gone int, ts timestamptz, usr_id text, country text, city text) PARTITION BY RANGE (ts);
ALTER TABLE folds.parted DROP COLUMN gone;
CREATE TABLE folds.parted_1 PARTITION OF folds.parted FOR VALUES FROM ('2024-01-01') TO ('2024-01-08');
CREATE TABLE folds.parted_2 (city text, extra text, usr_id text, country text, ts timestamptz);
ALTER TABLE folds.parted_2 DROP COLUMN extra;
ALTER TABLE folds.parted ATTACH PARTITION folds.parted_2 FOR VALUES FROM ('2024-01-08') TO ('2024-02-01');
CREATE TABLE folds.parted_3 PARTITION OF folds.parted DEFAULT;
ALTER TABLE folds.parted ADD COLUMN plan text DEFAULT 'free';
INSERT INTO folds.parted (ts, usr_id, country, city) SELECT ts, usr_id, country, city FROM folds.plain WHERE isfinite(ts);
SELECT profiles.add_source('folds.parted', capture => 'none', mapping => '{"plan": "plan"}');
SELECT folds.differences('profiles.source_2', 'user') AS users;
SELECT count(*) > 200 AS many FROM profiles._fold('profiles.source_2', 'user');

-- expressions that cannot fail, over jsonb; values that are out of line
CREATE TABLE folds.rum AS
SELECT jsonb_build_object('date', extract(epoch FROM ts)::bigint * 1000, 'usr', jsonb_build_object('id', usr_id, 'name', usr_name),
                          'session', jsonb_build_object('id', session_id), 'geo', jsonb_build_object('country', country, 'city', city),
                          'pad', CASE WHEN id % 10 = 0 THEN (SELECT string_agg(md5((id + i)::text), '') FROM generate_series(1, 200) i) END) AS event
FROM folds.plain WHERE isfinite(ts);
INSERT INTO folds.rum VALUES ('{"date": 1, "usr": "none"}'), ('[]'), (NULL), ('{"date": 1704067200000, "usr": {"id": {"deep": 1}}}'),
    ('{"date": 1704067200000, "usr": ["u", "v"]}'), ('{"date": 1704067200000, "usr": {"id": true}}'), ('{"date": 1704067200000, "usr": {"id": null}}'),
    ('{"date": 1704067200000, "usr": {"id": 12.50, "name": ""}, "geo": ["DE"], "session": {"type": null}}'), ('{"date": 1704067200000, "usr": {"id": ""}}'),
    ('{"date": 1704067200000, "usr": {"id": ["a", "b"]}, "session": {"type": "synthetics"}}'), ('"text"'), ('7');
SELECT profiles.add_source('folds.rum', preset => 'rum', capture => 'none');
SELECT folds.differences('profiles.source_3', 'user') AS users;
SELECT count(*) > 200 AS many FROM profiles._fold('profiles.source_3', 'user');

-- as many passes as memory asks for, and states of a few subjects at a time; or a
-- query, where many subjects know no country
CREATE TABLE folds.many AS
SELECT timestamptz '2024-01-01' + n * interval '1 second' AS ts, 'user ' || n * 31 % 30000 AS usr_id,
       CASE WHEN n % 3 = 0 THEN 'C' || n % 5 END AS country, 'city ' || n % 10 AS city
FROM generate_series(1, 100000) n;
SELECT profiles.add_source('folds.many', capture => 'none');
SET maintenance_work_mem = '1MB';
SELECT folds.differences('profiles.source_4', 'user') AS users;
SELECT count(*), count(DISTINCT key), sum(events) FROM profiles._fold('profiles.source_4', 'user');
SELECT profiles.alter_source('folds.many', mapping => '{"geo.country": null}');
SELECT folds.differences('profiles.source_4', 'user') AS users;
SELECT count(*), count(DISTINCT key), sum(events) FROM profiles._fold('profiles.source_4', 'user');
RESET maintenance_work_mem;

-- what is pending, packed or not
CREATE VIEW folds.pending AS
SELECT source_id, key, left_out, profile, events FROM profiles.user_pending
UNION ALL
SELECT p.source_id, u.key, NULL, u.profile, u.events FROM profiles.user_packed p, profiles._unpack(p.profiles) u;

-- statements' rows, in memory and not
CREATE TABLE folds.captured (LIKE folds.many);
SELECT profiles.add_source('folds.captured');
CREATE FUNCTION folds.captured_differences() RETURNS bigint LANGUAGE sql AS $$
    WITH pending AS MATERIALIZED (
        SELECT key, left_out, profile, events FROM folds.pending WHERE source_id = 5
    ), queried AS MATERIALIZED (
        SELECT key, left_out, profile, events FROM profiles._fold('profiles.source_5', 'user', by_query => true)
    )
    SELECT count(*) FROM ((TABLE pending EXCEPT ALL TABLE queried) UNION ALL (TABLE queried EXCEPT ALL TABLE pending)) d
$$;
INSERT INTO folds.captured TABLE folds.many;
SELECT folds.captured_differences(), (SELECT count(*) FROM folds.pending WHERE source_id = 5);
TRUNCATE folds.captured;
TRUNCATE profiles.user_pending, profiles.user_packed;
SET work_mem = '64kB';
INSERT INTO folds.captured TABLE folds.many;
SELECT folds.captured_differences(), (SELECT count(*) FROM folds.pending WHERE source_id = 5);
RESET work_mem;

-- subjects that memory does not hold are given several times, with all their events
TRUNCATE folds.captured;
TRUNCATE profiles.user_pending, profiles.user_packed;
SET work_mem = '64kB';
SET maintenance_work_mem = '1MB';
INSERT INTO folds.captured TABLE folds.many;
RESET work_mem;
RESET maintenance_work_mem;
WITH pending AS MATERIALIZED (
    SELECT key, profiles.profile_union_agg(profile) AS profile, sum(events) AS events, count(*) AS times
    FROM folds.pending WHERE source_id = 5 GROUP BY key
), queried AS MATERIALIZED (
    SELECT key, profile, sum(events) OVER (PARTITION BY key) AS events FROM profiles._fold('profiles.source_5', 'user', by_query => true)
)
SELECT count(*) AS subjects, count(*) FILTER (WHERE p.times > 1) > 20000 AS several_times,
       count(*) FILTER (WHERE p.profile OPERATOR(profiles.<>) q.profile OR p.events <> q.events OR p.key IS NULL OR q.key IS NULL) AS wrong
FROM pending p FULL JOIN queried q ON q.key = p.key;

-- only ends that several events share: all of these have a say
CREATE TABLE folds.tied (ts timestamptz, usr_id text, city text);
SELECT profiles.add_source('folds.tied');
INSERT INTO folds.tied SELECT timestamptz '2024-01-01' + n % 3 * interval '1 hour', 'u' || n % 50, 'city ' || n * 7 % 23 FROM generate_series(1, 30000) n;
SET maintenance_work_mem = '1MB';
SELECT folds.differences('profiles.source_6', 'user') AS too_many;
RESET maintenance_work_mem;
SELECT folds.differences('profiles.source_6', 'user') AS users, count(*) AS pending,
       count(*) FILTER (WHERE p.profile OPERATOR(profiles.=) f.profile) AS equal
FROM folds.pending p LEFT JOIN profiles._fold('profiles.source_6', 'user', by_query => true) f ON f.key = p.key
WHERE p.source_id = 6;

-- settings of XML are pinned, too
CREATE TABLE folds.xml (ts timestamptz, usr_id text, payload bytea);
SELECT profiles.add_source('folds.xml', mapping => '{"payload": "xmlelement(name x, payload)", "note": "xmlparse(content usr_id)"}');
SET xmlbinary = hex;
SET xmloption = document;
INSERT INTO folds.xml VALUES ('2024-05-05', 'u', '\x00ff');
RESET xmlbinary;
RESET xmloption;
SELECT profiles.last_known(profile, 'payload') AS payload FROM profiles.user_pending WHERE source_id = 7;

-- rows that a policy hides are not left out in silence
CREATE TABLE folds.guarded AS TABLE folds.many LIMIT 10;
CREATE ROLE folds_adder;
GRANT USAGE ON SCHEMA folds TO folds_adder;
GRANT SELECT ON folds.guarded TO folds_adder;
GRANT EXECUTE ON FUNCTION profiles.add_source TO folds_adder;
SET ROLE folds_adder;
SELECT profiles.add_source('folds.guarded', capture => 'none');
RESET ROLE;
SELECT folds.differences('profiles.source_8', 'user') AS users, count(*) FROM profiles._fold('profiles.source_8', 'user');
ALTER TABLE folds.guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY those ON folds.guarded USING (usr_id > 'user 2');
SELECT count(*) FROM profiles._fold('profiles.source_8', 'user');
SELECT count(*) FROM profiles._fold('profiles.source_8', 'user', by_query => true);
ALTER ROLE folds_adder BYPASSRLS;
SELECT folds.differences('profiles.source_8', 'user') AS users, count(*) FROM profiles._fold('profiles.source_8', 'user');

-- the table that is read is locked
BEGIN;
SELECT count(*) > 0 AS folded FROM profiles._fold('profiles.source_1', 'user');
SELECT mode FROM pg_locks WHERE relation = 'folds.plain'::regclass AND pid = pg_backend_pid();
COMMIT;

-- a materialized view that was not populated is not one without events
CREATE MATERIALIZED VIEW folds.later AS TABLE folds.plain WITH NO DATA;
SELECT profiles.add_source('folds.later', capture => 'none');
SELECT count(*) FROM profiles._fold('profiles.source_9', 'user');
REFRESH MATERIALIZED VIEW folds.later;
SELECT folds.differences('profiles.source_9', 'user') AS users, count(*) > 200 AS many FROM profiles._fold('profiles.source_9', 'user');

-- rows whose attributes fail are left out, wherever in a statement they are
CREATE TABLE folds.failing (ts timestamptz, usr_id text, amount text);
SELECT profiles.add_source('folds.failing', mapping => '{"amount": "amount::integer::text"}');
SET work_mem = '64kB';
INSERT INTO folds.failing SELECT timestamptz '2024-01-01' + n * interval '1 second', 'u' || n % 700, CASE WHEN n IN (2000, 29000) THEN 'x' ELSE '0' || n END FROM generate_series(1, 30000) n;
RESET work_mem;
SELECT left_out, sum(events) AS events FROM folds.pending WHERE source_id = 10 GROUP BY left_out ORDER BY left_out NULLS FIRST;

-- what somebody added to the table is not passed over
CREATE INDEX mine ON profiles.user_pending (key);
INSERT INTO folds.captured VALUES ('2024-05-05', 'indexed');
DROP INDEX profiles.mine;
CREATE FUNCTION folds.rename() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.key := 'renamed'; RETURN NEW; END $$;
CREATE TRIGGER mine BEFORE INSERT ON profiles.user_pending FOR EACH ROW EXECUTE FUNCTION folds.rename();
INSERT INTO folds.captured VALUES ('2024-05-05', 'triggered');
DROP TRIGGER mine ON profiles.user_pending;
INSERT INTO folds.captured VALUES ('2024-05-05', 'neither');
SELECT key, events, captured_at > now() - interval '1 hour' AS now FROM profiles.user_pending
WHERE key IN ('indexed', 'triggered', 'renamed', 'neither') ORDER BY key;

-- settings of input are pinned, too: what an abbreviation of a time zone means, and whether NULL in an array is one
CREATE TABLE folds.input (zoned text, usr_id text, list text);
SELECT profiles.add_source('folds.input', mapping => '{"seen_at": "zoned::timestamptz", "list": "(list::text[])::text"}', capture => 'immediate');
INSERT INTO folds.input VALUES ('2026-01-01 10:00 IST', 'zoned 1', '{NULL,1}');
SET timezone_abbreviations = 'India';
INSERT INTO folds.input VALUES ('2026-01-01 10:00 IST', 'zoned 2', '{NULL,1}');
SET timezone_abbreviations = 'Default';
SET array_nulls = off;
INSERT INTO folds.input VALUES ('2026-01-01 10:00 IST', 'zoned 3', '{NULL,1}');
SET timezone_abbreviations = 'Australia';
INSERT INTO folds.input VALUES ('2026-01-01 10:00 IST', 'zoned 4', '{NULL,1}');
SELECT current_setting('timezone_abbreviations') AS abbreviations, current_setting('array_nulls') AS nulls, timestamptz '2026-01-01 10:00 EST' = '2026-01-01 00:00Z' AS australian;
SELECT key, last_seen AT TIME ZONE 'UTC' AS last_seen, last_list FROM profiles.user_profile
WHERE key LIKE 'zoned %' ORDER BY key;
SELECT key FROM profiles.verify('user') WHERE key LIKE 'zoned %';
RESET timezone_abbreviations;
RESET array_nulls;

-- subjects with few events, which are read as a whole: what they know changes from event to event, values of
-- different attributes are the same or not, UUIDs, empty, of any length; some attributes are text by a cast, or out of line
CREATE TABLE folds.few AS
SELECT timestamptz '2024-01-01' + CASE WHEN n % 10 > 0 THEN n * 7919 % 300 ELSE 7 END * interval '1 hour' AS ts, 'few ' || n % CASE WHEN n % 2 = 0 THEN 302 ELSE 1700 END AS usr_id,
       CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN 'same' ELSE md5((n % 90)::text)::uuid::text END AS session_id,
       CASE WHEN n % 3 > 0 THEN 'name' || n % 8 END AS usr_name, CASE WHEN n % 4 > 0 THEN repeat('e', n % 40) END AS usr_email,
       CASE n % 7 WHEN 0 THEN NULL WHEN 1 THEN 'same' WHEN 2 THEN 'name' || n % 8 ELSE left('Atlantis on Sea', n % 16) END AS city,
       CASE n % 6 WHEN 0 THEN NULL WHEN 1 THEN 'same' ELSE left('Atlantis on Sea', n % 9) END AS country,
       CASE WHEN n % 2 = 0 THEN n % 3 END AS points, CASE WHEN n % 3 = 0 THEN (n % 3)::numeric END AS score,
       CASE WHEN n % 11 = 0 THEN upper(md5(n::text)::uuid::text) WHEN n % 11 = 1 THEN replace(md5(n::text)::uuid::text, '-', '_') WHEN n % 11 = 2 THEN overlay(md5(n::text)::uuid::text PLACING 'g' FROM 1 + n % 36) END AS token,
       CASE WHEN n % 50 = 0 THEN (SELECT string_agg(md5((n + i)::text), '') FROM generate_series(1, 100 * (n % 60)) i) WHEN n % 50 = 1 THEN repeat('long ', 50000) END AS note
FROM generate_series(1, 3000) n;
CREATE FUNCTION folds.pending_differences(source int) RETURNS TABLE (differences bigint, pending bigint, events numeric) LANGUAGE sql AS $$
    WITH pending AS MATERIALIZED (
        SELECT key, left_out, profile, events FROM folds.pending WHERE source_id = source
    ), queried AS MATERIALIZED (
        SELECT key, left_out, profile, events FROM profiles._fold(('profiles.source_' || source)::regclass, 'user', by_query => true)
    )
    SELECT (SELECT count(*) FROM ((TABLE pending EXCEPT ALL TABLE queried) UNION ALL (TABLE queried EXCEPT ALL TABLE pending)) d), count(*), sum(p.events) FROM pending p
$$;
CREATE TABLE folds.some (LIKE folds.few);
SELECT profiles.add_source('folds.some', mapping => '{"points": "points", "score": "score", "token": "token", "note": "note"}');
INSERT INTO folds.some TABLE folds.few;
SELECT * FROM folds.pending_differences(12);
-- the same in one statement each, and in a table whose columns stand elsewhere
TRUNCATE profiles.user_pending, profiles.user_packed;
TRUNCATE folds.some;
DELETE FROM profiles.due;
CREATE TABLE folds.others (note text, gone int, token text, score numeric, points int, country text, city text, usr_email text, usr_name text, session_id text, usr_id text, ts timestamptz);
ALTER TABLE folds.others DROP COLUMN gone;
ALTER TABLE folds.others INHERIT folds.some;
SELECT count(*) FROM profiles._install_triggers('profiles.source_12', 12, 'deferred', 'recompute', 'folds.others');
DO $$
DECLARE e folds.few;
BEGIN
    FOR e IN SELECT DISTINCT ON (usr_id) * FROM folds.few ORDER BY usr_id, ts LOOP
        INSERT INTO folds.some SELECT e.*;
    END LOOP;
END
$$;
SELECT * FROM folds.pending_differences(12);
TRUNCATE profiles.user_pending, profiles.user_packed;
DELETE FROM folds.some;
TRUNCATE profiles.user_pending, profiles.user_packed;
INSERT INTO folds.others (ts, usr_id, session_id, usr_name, usr_email, city, country, points, score, token, note) TABLE folds.few;
SELECT * FROM folds.pending_differences(12);

-- more attributes than fit into 64 bits
SELECT format('CREATE TABLE folds.wide AS SELECT timestamptz ''2024-01-01'' + n * interval ''1 s'' AS ts, ''w'' || n AS usr_id, %s FROM generate_series(1, 30) n',
              string_agg(format('CASE WHEN n %% %s > 0 THEN (n * %s %% 13)::text END AS a%s', 2 + i % 5, i, i), ', ' ORDER BY i)) AS made,
       jsonb_object_agg('a' || i, 'a' || i) AS mapping
FROM generate_series(1, 70) i \gset wide_
:wide_made;
CREATE TABLE folds.wider (LIKE folds.wide);
SELECT profiles.add_source('folds.wider', mapping => :'wide_mapping');
INSERT INTO folds.wider TABLE folds.wide;
SELECT * FROM folds.pending_differences(13);

-- presets over columns of type char(n), name and timestamp cannot fail: they are folded directly, which gives most
-- subjects in the order in which the table has them
CREATE TABLE folds.snowplow AS
SELECT CASE WHEN n % 17 > 0 THEN timestamp '2024-01-01' + n * 7919 % 900 * interval '1 hour' END AS derived_tstamp, ('s' || n % 211)::varchar(255) AS user_id, ('web' || n % 4)::varchar(255) AS app_id,
       (CASE WHEN n % 3 > 0 THEN md5((n % 50)::text) ELSE '' END)::char(128) AS domain_sessionid, (ARRAY['DE', 'F', '', NULL])[1 + n % 4]::char(2) AS geo_country,
       (ARRAY['BE', '', 'NSW'])[1 + n % 3]::char(3) AS geo_region, CASE WHEN n % 9 > 0 THEN 'City ' || n % 9 ELSE '' END AS geo_city,
       (CASE WHEN n % 5 > 0 THEN 'x' || n % 5 ELSE '' END)::name AS refr_urlhost, n AS domain_sessionidx, n % 13 = 0 AS bot
FROM generate_series(1, 3000) n;
SELECT profiles.add_source('folds.snowplow', preset => 'snowplow', capture => 'none', filter => $$app_id IN ('web1', 'web2', 'web3') AND domain_sessionidx > 5 AND NOT coalesce(bot, false)$$);
CREATE FUNCTION folds.in_order(view regclass) RETURNS boolean LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE first > before) > 0.9 * count(*)
    FROM (SELECT e.first, lag(e.first) OVER (ORDER BY f.ordinality) AS before
          FROM profiles._fold(view, 'user') WITH ORDINALITY f
          JOIN (SELECT user_id, min(domain_sessionidx) AS first FROM folds.snowplow
                WHERE derived_tstamp IS NOT NULL AND app_id <> 'web0' AND domain_sessionidx > 5 AND NOT bot GROUP BY 1) e ON e.user_id = f.key) o
$$;
SELECT folds.differences('profiles.source_14', 'user') AS users, folds.in_order('profiles.source_14'), count(*) FILTER (WHERE profile IS NOT NULL) AS subjects,
       count(*) FILTER (WHERE left_out IS NOT NULL) AS left_out, sum(events) FILTER (WHERE left_out IS NOT NULL) AS events
FROM profiles._fold('profiles.source_14', 'user');
-- another time zone may be one that a time is out of range in
SELECT profiles.alter_source('folds.snowplow', mapping => '{"local": "derived_tstamp AT TIME ZONE ''Asia/Tokyo''"}');
SELECT folds.differences('profiles.source_14', 'user') AS users, folds.in_order('profiles.source_14'), count(*) FILTER (WHERE left_out IS NOT NULL) AS left_out, sum(events) FILTER (WHERE left_out IS NOT NULL) AS events
FROM profiles._fold('profiles.source_14', 'user');

-- groups that hardly any event knows: none, few, or, behind the first rows, all
CREATE TABLE folds.rare AS
SELECT n AS id, timestamptz '2024-01-01' + (n * 7919::bigint % 50021) * interval '1 minute' AS ts, 'user ' || n * 31 % 3001 AS usr_id, 'C' || n % 5 AS country,
       CASE WHEN n > 3000 THEN 'late ' || n % 6 END AS late, CASE WHEN n > 600 AND n % 39 = 0 THEN 'few ' || n % 7 END AS few,
       CASE WHEN n > 600 AND n % 1501 = 0 THEN 'fewer ' || n % 7 END AS fewer, CASE WHEN n = 250 THEN 'once' END AS once, NULL::text AS never
FROM generate_series(1, 200000) n;
SELECT profiles.add_source('folds.rare', capture => 'none', mapping => '{"late": "late", "few": "few", "fewer": "fewer", "once": "once", "never": "never"}');
SELECT folds.differences('profiles.source_15', 'user') AS users;
SELECT count(*) AS subjects, count(profiles.first_known(profile, 'late')) AS late, count(profiles.first_known(profile, 'few')) AS few,
       count(profiles.first_known(profile, 'fewer')) AS fewer, count(profiles.first_known(profile, 'once')) AS once, count(profiles.first_known(profile, 'never')) AS never
FROM profiles._fold('profiles.source_15', 'user');
-- states of a few subjects at a time; and more rows that know few than memory takes
SET maintenance_work_mem = '2MB';
SELECT folds.differences('profiles.source_15', 'user') AS users;
SELECT profiles.alter_source('folds.rare', mapping => '{"late": null}');
SELECT folds.differences('profiles.source_15', 'user') AS users;
SELECT profiles.alter_source('folds.rare', mapping => '{"once": null}');
SET maintenance_work_mem = '1MB';
SELECT folds.differences('profiles.source_15', 'user') AS users;
RESET maintenance_work_mem;
-- of statements, with less of it
CREATE TABLE folds.rare_captured (LIKE folds.rare);
SELECT profiles.add_source('folds.rare_captured', mapping => '{"late": "late", "few": "few", "fewer": "fewer", "once": "once", "never": "never"}');
CREATE FUNCTION folds.rare_differences(rows integer) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE profiles.user_pending, profiles.user_packed, folds.rare_captured;
    INSERT INTO folds.rare_captured SELECT * FROM folds.rare WHERE id <= rows;
    RETURN (WITH pending AS MATERIALIZED (
        SELECT key, profiles.profile_union_agg(profile) AS profile, sum(events)::bigint AS events FROM folds.pending WHERE source_id = 16 GROUP BY key
    ), queried AS MATERIALIZED (
        SELECT key, profile, events FROM profiles._fold('profiles.source_16', 'user', by_query => true)
    )
    SELECT count(*) FROM ((TABLE pending EXCEPT ALL TABLE queried) UNION ALL (TABLE queried EXCEPT ALL TABLE pending)) d);
END
$$;
SELECT rows, folds.rare_differences(rows) FROM unnest(ARRAY[1999, 2000, 4000, 60000]) AS rows;
SET work_mem = '64kB';
SET maintenance_work_mem = '1MB';
SELECT folds.rare_differences(60000);
SELECT count(*) > 3001 AS several_times FROM folds.pending WHERE source_id = 16;
RESET work_mem;
RESET maintenance_work_mem;

SELECT profiles.drop_source(s.source) FROM profiles.sources s ORDER BY s.source;
CALL profiles.refresh();

-- keys are bytes, whatever collation the columns have that they come from
CREATE COLLATION folds.no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE folds.collated (usr_id text COLLATE folds.no_case, org text COLLATE folds.no_case, ts timestamptz, note text);
INSERT INTO folds.collated SELECT chr(65 + n % 3 + n / 3 % 2 * 32), chr(65 + n % 2 + n / 2 % 2 * 32), timestamptz '2024-01-01' + n * interval '1 day', 'n' || n
FROM generate_series(1, 120) n;
SELECT profiles.add_source('folds.collated', mapping => '{"account_id": "org || ''.'' || org", "note": "note"}');
CREATE VIEW folds.collated_shown AS
SELECT 'user' AS kind, user_id COLLATE "C" AS key, first_seen, last_seen, first_note, last_note FROM profiles.users
UNION ALL SELECT 'account', account_id COLLATE "C", first_seen, last_seen, first_note, last_note FROM profiles.accounts;
CREATE VIEW folds.collated_wrong AS
WITH expected (kind, key, first_seen, last_seen, first_note, last_note) AS (
    SELECT k.kind, k.key COLLATE "C", min(e.ts), max(e.ts), (array_agg(e.note ORDER BY e.ts))[1], (array_agg(e.note ORDER BY e.ts DESC))[1]
    FROM folds.collated e, LATERAL (VALUES ('user', e.usr_id), ('account', e.org || '.' || e.org)) k (kind, key)
    WHERE e.note <> 'filtered' GROUP BY 1, 2
)
(TABLE expected EXCEPT ALL TABLE folds.collated_shown) UNION ALL (TABLE folds.collated_shown EXCEPT ALL TABLE expected)
UNION ALL SELECT 'verify', key, NULL, NULL, NULL, NULL FROM profiles.verify('user')
UNION ALL SELECT 'verify', key, NULL, NULL, NULL, NULL FROM profiles.verify('user', 0.5)
UNION ALL SELECT 'verify', key, NULL, NULL, NULL, NULL FROM profiles.verify('account');
CALL profiles.rebuild();
SELECT kind, string_agg(key, ' ' ORDER BY key) AS keys FROM folds.collated_shown GROUP BY 1 ORDER BY 1;
TABLE folds.collated_wrong;
UPDATE folds.collated SET note = note || ' changed' WHERE ts = '2024-04-30';
DELETE FROM folds.collated WHERE ts IN ('2024-01-02', '2024-04-29');
INSERT INTO folds.collated VALUES ('z', 'z', '2024-01-01', 'z'), ('Z', 'Z', '2024-01-02', 'Z');
CALL profiles.refresh();
TABLE folds.collated_wrong;
-- of some keys no more than theirs; an index of the column's own collation serves
CREATE INDEX ON folds.collated (usr_id);
SELECT format('profiles.source_%s', id) AS collated FROM profiles.source_config WHERE source = 'folds.collated' \gset
SET enable_seqscan = off;
SELECT key, events FROM profiles._fold(:'collated', 'user', keys => ARRAY['A', 'b', 'none']) ORDER BY key COLLATE "C";
RESET enable_seqscan;
SELECT pg_stat_force_next_flush();
SELECT idx_scan > 0 AS index_was_used FROM pg_stat_user_indexes WHERE relname = 'collated';
-- with a filter
SELECT profiles.alter_source('folds.collated', filter => 'note <> ''filtered''');
UPDATE folds.collated SET note = 'filtered' WHERE ts IN ('2024-04-28', '2024-01-03');
CALL profiles.rebuild();
TABLE folds.collated_wrong;
DELETE FROM folds.collated WHERE ts = '2024-01-01' OR ts > '2024-04-15';
CALL profiles.refresh();
TABLE folds.collated_wrong;
SELECT profiles.drop_source('folds.collated');
CALL profiles.refresh();

-- expressions that say by which collation, each by another; the second fold's many are an array
CREATE TABLE folds.said (usr_id text, ts timestamptz, a text, b text, n int);
INSERT INTO folds.said VALUES ('s1', '2024-01-01', 'A', 'b', 1), ('s1', '2024-01-02', 'C', 'd', 2), ('s2', '2024-01-01', NULL, 'E', 3);
SELECT profiles.add_source('folds.said', mapping => '{"a": "lower(a COLLATE \"C\")", "b": "upper(b COLLATE \"POSIX\")", "n": "n + 1"}');
CALL profiles.rebuild();
SELECT user_id, first_a, last_a, first_b, last_b, last_n FROM profiles.users ORDER BY 1;
SELECT key FROM profiles.verify('user');
SELECT profiles.alter_source('folds.said', mapping => (SELECT jsonb_object_agg('many_' || i, format('n + %s', i)) || '{"a": "lower(a COLLATE \"C\")", "b": "upper(b COLLATE \"POSIX\")"}' FROM generate_series(1, 60) i));
CALL profiles.rebuild();
SELECT user_id, first_a, last_a, first_b, last_b FROM profiles.users ORDER BY 1;
SELECT key FROM profiles.verify('user');
SELECT profiles.drop_source('folds.said');
CALL profiles.refresh();
DROP SCHEMA folds CASCADE;
REVOKE ALL ON FUNCTION profiles.add_source FROM folds_adder;
DROP ROLE folds_adder;
SELECT profiles.uninstall();
