-- What a statement brings of many subjects is captured packed: it says what rows
-- would say, whoever reads it.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA pack;
CREATE TABLE pack.events (id int, ts timestamptz, uid text, sid text, name text, city text, browser text, version text, note text);
SELECT profiles.add_source('pack.events', mapping => '{"user_id": "uid", "account_id": null, "seen_at": "ts", "session": "sid", "name": "name", "geo.city": "city",
    "browser.name": "browser", "browser.version": "version", "note": "note"}', filter => 'id >= 0');
CALL profiles.rebuild();
ALTER TABLE profiles.user_pending SET (autovacuum_enabled = off);
ALTER TABLE profiles.user_packed SET (autovacuum_enabled = off);
SELECT id AS source FROM profiles.source_config WHERE source = 'pack.events' \gset

CREATE VIEW pack.captured AS
SELECT p.source_id, u.key, u.profile, u.events, p.captured_at, true AS packed FROM profiles.user_packed p, profiles._unpack(p.profiles) u
UNION ALL
SELECT source_id, key, profile, events, captured_at, false FROM profiles.user_pending WHERE left_out IS NULL;
-- the fold of all events, by a query
CREATE VIEW pack.folded AS
SELECT uid AS key, profiles.profile_agg(ts, 'session', sid, 'name', name, 'geo.city', city, 'browser.name', browser, 'browser.version', version, 'note', note) AS profile,
       count(*) AS events
FROM pack.events WHERE uid IS NOT NULL AND ts IS NOT NULL AND id >= 0 GROUP BY uid;
CREATE VIEW pack.wrong AS
SELECT 'verify' AS oracle, key FROM profiles.verify('user')
UNION ALL SELECT 'waits', key FROM pack.captured
UNION ALL SELECT 'folded', coalesce(p.key, f.key) FROM profiles.user_profile p FULL JOIN pack.folded f ON f.key = p.key
    WHERE p.profile IS NULL OR f.profile IS NULL OR p.profile OPERATOR(profiles.<>) f.profile;
\set check 'CALL profiles.refresh(); SELECT * FROM pack.wrong ORDER BY 1, 2;'

-- values are there or not, the same or not, sessions are UUIDs or not; every fourth event is of the same user as the one before
CREATE PROCEDURE pack.add(first int, last int, day int) LANGUAGE sql AS $$
    INSERT INTO pack.events
    SELECT i, timestamptz '2024-01-01Z' + (day + i % 3) * interval '1 day' + i * interval '1 s', 'u' || (i - (i % 4 = 3)::int) % 700, CASE i % 3 WHEN 0 THEN md5(i::text)::uuid::text WHEN 1 THEN 's' || i END,
           CASE WHEN i % 5 > 0 THEN 'Name ' || i END, CASE WHEN i % 7 > 0 THEN 'City ' || i % 4 END, CASE WHEN i % 4 > 0 THEN 'Browser' END,
           CASE WHEN i % 2 > 0 THEN i::text END, CASE i % 11 WHEN 0 THEN 'Browser' WHEN 1 THEN '' WHEN 2 THEN 'City 1' END
    FROM generate_series(first, last) AS i $$;

-- few are rows, more are packed
CALL pack.add(1, 8, 0);
SELECT count(*), count(*) FILTER (WHERE packed) AS packed FROM pack.captured;
CALL pack.add(101, 1000, 0);
SELECT count(*), count(*) FILTER (WHERE packed) AS packed, sum(events) AS events, bool_and(source_id = :source) AS source, bool_and(captured_at BETWEEN now() - interval '1 hour' AND now()) AS time FROM pack.captured;
SELECT sum(subjects) AS subjects, count(*) < 20 AS few_rows FROM profiles.user_packed;
SELECT pending, lag > interval '0' AS lag, left_out FROM profiles.status WHERE source = 'pack.events';
-- each says what a fold of the events says
SELECT c.key FROM (SELECT key, profiles.profile_union_agg(profile) AS profile, sum(events) AS events FROM pack.captured GROUP BY key) c FULL JOIN pack.folded f ON f.key = c.key
WHERE c.profile IS NULL OR f.profile IS NULL OR c.profile OPERATOR(profiles.<>) f.profile OR c.events <> f.events;
:check
SELECT folded, left_out FROM profiles.status WHERE source = 'pack.events';

-- too large for it: a profile, a key, a number of events; some are left out, some held
INSERT INTO pack.events SELECT i, '2024-03-01Z', CASE WHEN i % 50 = 7 THEN repeat('k', i) WHEN i = 2100 THEN NULL ELSE 'u' || i END, NULL, 'N',
    CASE WHEN i % 10 = 0 THEN (SELECT string_agg(md5((i + j)::text), '') FROM generate_series(1, i / 40) j) END
FROM generate_series(1000, 2100) i;
SELECT packed, count(*), max(octet_length(key)) AS key, max(pg_column_size(profile)) < 1100 AS small FROM pack.captured GROUP BY 1 ORDER BY 1;
INSERT INTO pack.events SELECT i, CASE WHEN i % 4000 = 0 THEN now() + interval '10 days' ELSE '2024-03-02Z' END, CASE WHEN i < 65600 THEN 'often' ELSE 'u' || i END FROM generate_series(1, 66000) i;
SELECT packed, count(*), max(events) AS events FROM pack.captured WHERE events > 0 AND key ~ '^(often|u6[5-9]...)$' GROUP BY 1 ORDER BY 1;
UPDATE pack.events SET id = -1 WHERE ts > now();
CALL profiles.refresh();
SELECT * FROM pack.wrong WHERE key !~ '^kkk' ORDER BY 1, 2;
SELECT pending, left_out FROM profiles.status WHERE source = 'pack.events';
DELETE FROM pack.events WHERE uid ~ '^kkk' OR uid = 'often' OR id >= 65600;
:check

-- what is pending goes with what is computed anew, and only that
CALL pack.add(3001, 3400, 5);
UPDATE pack.events SET city = 'Rome' WHERE id BETWEEN 3100 AND 3109;
DELETE FROM pack.events WHERE id BETWEEN 3200 AND 3209;
BEGIN;
CALL pack.add(3401, 3500, 6);
DELETE FROM pack.events WHERE id BETWEEN 3450 AND 3500;
COMMIT;
:check
SELECT count(*) AS romans FROM profiles.user_profile WHERE last_city = 'Rome';

-- a writer merges it
SET profiles.pending_limit = 0;
CALL pack.add(3501, 3900, 7);
RESET profiles.pending_limit;
SELECT * FROM pack.wrong ORDER BY 1, 2;

-- a rebuild takes it
CALL pack.add(4001, 4400, 8);
CALL profiles.rebuild();
SELECT * FROM pack.wrong ORDER BY 1, 2;
SELECT folded = (SELECT sum(events) FROM pack.folded) AS counted_once FROM profiles.status WHERE source = 'pack.events';

-- who is forgotten is in it no more, and others are; who is blocked is not merged
CALL pack.add(4401, 4800, 9);
SELECT u.key AS first FROM profiles.user_packed p, profiles._unpack(p.profiles) u ORDER BY 1 LIMIT 1 \gset
CREATE TABLE pack.before AS SELECT * FROM pack.captured;
SELECT profiles.forget('user', :'first');
SELECT count(*) AS left_of_it FROM pack.captured WHERE key = :'first';
SELECT count(*) AS differences FROM (
    (SELECT source_id, key, profile, events, captured_at FROM pack.before WHERE key <> :'first' EXCEPT ALL SELECT source_id, key, profile, events, captured_at FROM pack.captured)
    UNION ALL
    (SELECT source_id, key, profile, events, captured_at FROM pack.captured EXCEPT ALL SELECT source_id, key, profile, events, captured_at FROM pack.before WHERE key <> :'first')) d;
SELECT count(*) > 100 AS packed_yet FROM pack.captured WHERE packed;
CALL profiles.refresh();
SELECT * FROM pack.wrong ORDER BY 1, 2;
DELETE FROM pack.events WHERE uid = :'first';
CALL profiles.refresh();
CALL pack.add(4801, 5200, 10);
INSERT INTO profiles.blocked (kind, key) SELECT 'user', key FROM pack.captured WHERE packed ORDER BY key LIMIT 1 RETURNING key AS blocked \gset
CALL profiles.refresh();
SELECT left_out - 'infinite seen_at' AS left_out FROM profiles.status WHERE source = 'pack.events';
SELECT * FROM pack.wrong ORDER BY 1, 2;
SELECT profiles.unblock('user', :'blocked');
:check

-- refresh gives space back, unless somebody is at it, or its lock would last
CREATE TABLE pack.large (ts timestamptz, uid text, name text);
SELECT profiles.add_source('pack.large', mapping => '{"name": "name"}');
INSERT INTO pack.large SELECT '2024-01-01Z', 'l' || i, repeat(md5(i::text), 25) FROM generate_series(1, 25000) i;
CREATE VIEW pack.size AS SELECT pg_relation_size('profiles.user_packed') > 16 * 1024 * 1024 AS large, pg_relation_size('profiles.user_packed') = 0 AS nothing;
TABLE pack.size;
BEGIN;
CALL pack.add(5201, 5300, 11);
PREPARE TRANSACTION 'packed';
CALL profiles.refresh();
TABLE pack.size;
COMMIT PREPARED 'packed';
BEGIN;
CALL profiles.refresh();
COMMIT;
TABLE pack.size;
CALL profiles.refresh();
TABLE pack.size;
CALL pack.add(5301, 5400, 11);
SELECT profiles.drop_source('pack.large');
:check
TABLE pack.size;

-- captured no more: what is pending is not counted twice
CALL pack.add(5201, 5600, 11);
SELECT profiles.alter_source('pack.events', capture => 'none');
CALL profiles.refresh(since => '-infinity');
SELECT folded = (SELECT sum(events) FROM pack.folded) AS counted_once FROM profiles.status WHERE source = 'pack.events';
SELECT * FROM pack.wrong ORDER BY 1, 2;
SELECT profiles.alter_source('pack.events', capture => 'deferred');
CALL profiles.rebuild();

-- what somebody added to the table is not passed over
CREATE FUNCTION pack.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
CREATE TRIGGER mine BEFORE INSERT ON profiles.user_packed FOR EACH ROW EXECUTE FUNCTION pack.refuse();
CALL pack.add(5601, 5700, 12);
SELECT count(*), count(*) FILTER (WHERE packed) AS packed FROM pack.captured;
DROP TRIGGER mine ON profiles.user_packed;
:check

-- a rollback leaves nothing
BEGIN;
CALL pack.add(5701, 5900, 13);
ROLLBACK;
SELECT count(*) FROM pack.captured;

-- a redefinition and the end of a source leave nothing of it
CALL pack.add(5701, 5900, 13);
SELECT profiles.alter_source('pack.events', mapping => '{"note": null}');
SELECT count(*) FROM pack.captured;
CALL pack.add(5901, 6000, 13);
SELECT profiles.drop_source('pack.events');
SELECT count(*) FROM pack.captured;
CALL profiles.refresh();
SELECT count(*) FROM profiles.user_profile;

-- the text form
SELECT profiles.profile_agg('2024-01-01Z', 'name', name, 'geo.city', 'Rome') AS ada FROM (VALUES ('Ada')) v(name) \gset
SELECT jsonb_build_array(jsonb_build_object('key', E'a"\\\u00e9', 'events', 1, 'profile', :'ada'::json),
                         jsonb_build_object('key', 'b', 'events', 1, 'profile', :'ada'::json),
                         jsonb_build_object('key', '', 'events', 65535, 'profile', :'ada'::json)) AS three \gset
SELECT * FROM profiles._unpack(:'three'::profiles._packed);
SELECT :'three'::profiles._packed::text::jsonb = :'three'::jsonb AS same, '[]'::profiles._packed::text AS nothing, pg_column_size(:'three'::profiles._packed) < 200 AS small;
SELECT '{}'::profiles._packed;
SELECT '1'::profiles._packed;
SELECT '[1]'::profiles._packed;
SELECT '[[]]'::profiles._packed;
SELECT '[{"key": "a", "events": 1}]'::profiles._packed;
SELECT '[{"key": 1, "events": 1, "profile": {}}]'::profiles._packed;
SELECT '[{"key": "a", "events": 1, "profile": {}}]'::profiles._packed;
SELECT '[{"key": "a", "events": 1, "profile": "a"}]'::profiles._packed;
SELECT format('[{"key": "a", "events": 65536, "profile": %s}]', :'ada')::profiles._packed;
SELECT format('[{"key": "a", "events": -1, "profile": %s}]', :'ada')::profiles._packed;
SELECT format('[{"key": "a", "events": 1e30, "profile": %s}]', :'ada')::profiles._packed;
SELECT format('[{"key": "%s", "events": 1, "profile": %s}]', repeat('a', 65536), :'ada')::profiles._packed;
SELECT format('[{"key": "a", "events": 1, "profile": %s}]', profiles.profile_agg('2024-01-01Z', 'name', repeat('a', 65536)))::profiles._packed;
SELECT 'not JSON'::profiles._packed;
-- larger than what is packed here: so it may be if it comes from a database of another encoding
SELECT jsonb_agg(jsonb_build_object('key', key, 'events', events, 'profile', profile::text::json)) AS large
FROM (SELECT i || repeat('k', (ARRAY[1, 2100, 1100])[1 + i % 3]) AS key, 1 + i % 2 AS events,
             profiles.profile_agg('2024-01-01Z', 'name', i || repeat('n', i * 80), 'geo.city', (SELECT string_agg(md5((i * j)::text), '') FROM generate_series(1, i) j)) AS profile
      FROM generate_series(1, 40) i GROUP BY i) l \gset
SELECT :'large'::profiles._packed::text::jsonb = :'large'::jsonb AS same, octet_length(:'large'::profiles._packed::text) > 100000 AS large;
CREATE TABLE pack.again (ts timestamptz, user_id text, name text);
SELECT profiles.add_source('pack.again');
CALL profiles.rebuild();
SELECT c.id AS again FROM profiles.source_config c WHERE c.source = 'pack.again' \gset
INSERT INTO profiles.user_packed VALUES (:again, 40, :'large', now()), (:again, 0, '[]', now());
SELECT max(pg_column_size(profiles)) > 8192 AS large, (SELECT count(*) FROM profiles.user_packed p, profiles._unpack(p.profiles)) AS subjects FROM profiles.user_packed;
-- one is forgotten, the others are merged
SELECT profiles.forget('user', '5' || repeat('k', 1100));
SELECT sum(subjects) AS packed, (SELECT count(*) FROM profiles.user_pending WHERE profile IS NOT NULL) AS pending FROM profiles.user_packed;
DELETE FROM profiles.user_pending;
INSERT INTO profiles.user_packed VALUES (:again, 40, :'large', now());
CALL profiles.refresh();
SELECT count(*) AS users, count(*) FILTER (WHERE p.profile OPERATOR(profiles.=) (l.value ->> 'profile')::profiles.profile) AS right
FROM profiles.user_profile p JOIN jsonb_array_elements(:'large'::jsonb) l ON p.key = l.value ->> 'key';
SELECT count(*) AS left FROM profiles.user_packed;
SELECT profiles.drop_source('pack.again');
CALL profiles.refresh();
-- what is captured stays in its page, and as it is
CREATE TABLE pack.pages (ts timestamptz, user_id text, user_name text);
SELECT profiles.add_source('pack.pages');
INSERT INTO pack.pages SELECT '2024-01-01Z', 'p' || i, repeat(md5(i::text), 10) FROM generate_series(1, 200) i;
SELECT count(*) FILTER (WHERE pg_column_size(profiles) > 7000) AS full, count(*) FILTER (WHERE pg_column_size(profiles) <= 7000) AS others FROM profiles.user_packed;
SELECT profiles.drop_source('pack.pages');
CALL profiles.refresh();

SET client_min_messages = error;
DROP SCHEMA pack CASCADE;
