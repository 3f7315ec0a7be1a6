-- What becomes of events, counted by reason, in each mode of capture; and the names
-- of sources.  The oracle looks at the events that are there, so no scenario changes
-- or deletes captured ones.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA counts;
CREATE TABLE counts.events (id int PRIMARY KEY, ts timestamptz, uid text, ok boolean, n int);
SELECT profiles.add_source('counts.events', filter => 'ok',
                           mapping => '{"user_id": "uid", "seen_at": "ts", "share": "100 / n"}');
CALL profiles.rebuild('user');

CREATE FUNCTION counts.expected(since timestamptz) RETURNS TABLE (reason text, events bigint) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN ok IS NOT TRUE THEN 'filter' WHEN uid IS NULL THEN 'no user_id' WHEN ts IS NULL THEN 'no seen_at'
                WHEN n = 0 THEN 'error 22012' WHEN uid = 'blocked' THEN 'blocked'
                WHEN ts > now() + interval '1 day' THEN 'future' ELSE 'folded' END, count(*)
    FROM counts.events WHERE ts >= since OR ts IS NULL GROUP BY 1
$$;
CREATE VIEW counts.shown AS
SELECT c.reason, c.events FROM profiles.status s,
       LATERAL (SELECT 'folded', s.folded UNION ALL SELECT key, value::bigint FROM jsonb_each_text(s.left_out)) c (reason, events)
WHERE s.source = 'counts.events' AND c.events > 0;
CREATE FUNCTION counts.wrong(since timestamptz DEFAULT '-infinity') RETURNS TABLE (what text, reason text, events bigint) LANGUAGE sql STABLE AS $$
    SELECT 'missing', * FROM (SELECT * FROM counts.expected(since) EXCEPT ALL TABLE counts.shown) m
    UNION ALL SELECT 'superfluous', * FROM (TABLE counts.shown EXCEPT ALL SELECT * FROM counts.expected(since)) m
$$;

-- deferred: counted when it is merged, and once
INSERT INTO counts.events VALUES (1, '2024-01-01Z', 'u1', true, 1), (2, '2024-01-02Z', 'u2', true, 1);
SELECT pending, folded, left_out FROM profiles.status WHERE source = 'counts.events';
CALL profiles.refresh('user');
SELECT * FROM counts.wrong();
SET client_min_messages = error;
SELECT profiles.forget('user', 'blocked', block => true);
SET client_min_messages = warning;
INSERT INTO counts.events VALUES (3, '2024-01-03Z', 'blocked', true, 1), (4, '2024-01-03Z', 'u1', true, 1), (5, NULL, 'u1', true, 1),
    (6, '2024-01-03Z', NULL, true, 1), (7, '2024-01-03Z', 'u3', false, 1), (8, '2024-01-03Z', 'u3', true, 0),
    (9, now() + interval '9 days', 'u1', true, 1);
INSERT INTO counts.events VALUES (10, '2024-01-04Z', 'blocked', true, 1);
CALL profiles.refresh('user');
TABLE counts.shown ORDER BY 1;
SELECT * FROM counts.wrong();
BEGIN;
INSERT INTO counts.events VALUES (11, '2024-01-04Z', 'u4', true, 1);
ROLLBACK;
CALL profiles.refresh('user');
SELECT * FROM counts.wrong();
SELECT key FROM profiles.verify();
-- a rebuild counts what is there, and takes what is pending
INSERT INTO counts.events VALUES (15, '2024-01-04Z', 'u5', true, 1);
CALL profiles.rebuild('user');
SELECT * FROM counts.wrong();

-- immediate: what is merged at once is counted by a rebuild only
SELECT profiles.alter_source('counts.events', capture => 'immediate');
CALL profiles.rebuild('user');
SELECT * FROM counts.wrong();
INSERT INTO counts.events VALUES (16, '2024-01-04Z', 'u5', true, 1), (17, '2024-01-04Z', 'u5', true, 1), (18, '2024-01-03Z', 'u3', false, 1);
SELECT * FROM counts.wrong() ORDER BY 1;
CALL profiles.rebuild('user');
SELECT * FROM counts.wrong();
-- it goes on under another on_change, like what is deferred
SELECT profiles.alter_source('counts.events', on_change => 'keep');
SELECT profiles.alter_source('counts.events', on_change => 'recompute');
SELECT * FROM counts.wrong();
-- another capture does not: a rebuild that was interrupted must not go on
SELECT profiles.alter_source('counts.events', capture => 'deferred');
CALL profiles.refresh('user');

-- deferred: counted when it is merged; a refresh from a time on counts nothing again
INSERT INTO counts.events VALUES (20, '2024-02-01Z', 'u1', true, 1), (21, '2024-02-02Z', 'u6', true, 1), (22, '2024-02-02Z', 'u6', false, 1);
CALL profiles.refresh('user');
SELECT * FROM counts.wrong();
CALL profiles.refresh('user', since => '2024-01-01Z');
SELECT * FROM counts.wrong();
SELECT counted_since FROM profiles.status WHERE source = 'counts.events';

-- none: what the last refresh from a time on made of the events from then on, and
-- nothing of what was captured before
INSERT INTO counts.events VALUES (23, '2024-02-03Z', 'u1', true, 1), (24, '2024-02-04Z', 'u1', true, 0), (25, '2024-03-02Z', 'u1', true, 1);
SET client_min_messages = notice;
SELECT profiles.alter_source('counts.events', capture => 'none');
SELECT profiles.alter_source('counts.events', capture => 'none');
SET client_min_messages = warning;
INSERT INTO counts.events
SELECT 100 + i, timestamptz '2024-03-01Z' + i * interval '1 hour', CASE WHEN i % 7 = 0 THEN NULL WHEN i % 11 = 0 THEN 'blocked' ELSE 'u' || i % 5 END,
       i % 3 > 0, i % 13
FROM generate_series(1, 200) AS i;
INSERT INTO counts.events VALUES (400, now() + interval '5 days', 'u1', true, 1), (401, now() + interval '5 days', 'u1', true, 1),
    (402, now() + interval '6 days', 'u2', true, 1), (403, now() + interval '6 days', 'blocked', true, 1), (404, NULL, 'u9', true, 1);
SELECT * FROM counts.wrong('2024-03-01Z') WHERE reason = 'filter';
CALL profiles.refresh('user', since => '2024-03-01Z');
TABLE counts.shown ORDER BY 1;
SELECT * FROM counts.wrong('2024-03-01Z');
SELECT counted_since AT TIME ZONE 'UTC' AS counted_since, examples ? 'no seen_at' AS example FROM profiles.status WHERE source = 'counts.events';
CALL profiles.refresh('user', since => '2024-03-01Z');
SELECT * FROM counts.wrong('2024-03-01Z');
CALL profiles.refresh('user', since => '2024-03-03 12:00Z');
SELECT * FROM counts.wrong('2024-03-03 12:00Z');
CALL profiles.refresh('user');
SELECT * FROM counts.wrong('2024-03-03 12:00Z');
SELECT key FROM profiles.verify();
-- held events that are gone are not held any more
DELETE FROM counts.events WHERE id IN (9, 401);
CALL profiles.refresh('user', since => '2024-03-08Z');
SELECT * FROM counts.wrong('2024-03-08Z');
SELECT sum(events) AS held FROM profiles.user_pending WHERE left_out LIKE 'future %';
-- none from then on
CALL profiles.refresh('user', since => 'infinity');
SELECT * FROM counts.wrong('infinity') WHERE reason <> 'future';
SELECT counted_since FROM profiles.status WHERE source = 'counts.events';
CALL profiles.refresh('user', since => '-infinity');
SELECT * FROM counts.wrong();
SELECT counted_since FROM profiles.status WHERE source = 'counts.events';
-- where the time is an expression, it is not known of what the filter leaves out
SELECT profiles.alter_source('counts.events', mapping => '{"seen_at": "coalesce(ts, ts)"}');
CALL profiles.refresh('user', since => '2024-03-03 12:00Z');
SELECT * FROM counts.wrong();
CALL profiles.refresh('user', since => '2024-03-03 12:00Z');
SELECT * FROM counts.wrong('2024-03-03 12:00Z') WHERE reason <> 'filter';
SELECT shown.events = (SELECT e.events FROM counts.expected('-infinity') e WHERE reason = 'filter') AS all_of_the_filter FROM counts.shown WHERE reason = 'filter';
CALL profiles.rebuild('user');
SELECT * FROM counts.wrong();
SELECT counted_since FROM profiles.status WHERE source = 'counts.events';

-- a source keeps its name when its table is renamed
SELECT profiles.add_source('counts.events');
ALTER TABLE counts.events RENAME TO past;
CREATE TABLE counts.events (ts timestamptz, user_id text);
SELECT profiles.add_source('counts.events');
SELECT source FROM profiles.sources WHERE source LIKE 'counts.%';
SELECT profiles.add_source('counts.past', capture => 'none', mapping => '{"user_id": "uid", "seen_at": "ts"}');
SET client_min_messages = error;
SELECT profiles.drop_source('counts.past');
DROP TABLE counts.past CASCADE;
SET client_min_messages = warning;
SELECT profiles.add_source('counts.events');
SET client_min_messages = error;
SELECT profiles.drop_source('counts.events');
SET client_min_messages = warning;
SELECT profiles.add_source('counts.events');
SET client_min_messages = error;
-- keys that are too long for an example are whole where they are held
CREATE TABLE counts.long (ts timestamptz, user_id text);
INSERT INTO counts.long SELECT now() + interval '30 days', repeat(k, 300) FROM unnest(ARRAY['k', 'b']) AS k;
INSERT INTO counts.long SELECT NULL, repeat('n', 300);
SELECT profiles.add_source('counts.long');
SELECT profiles.forget('user', repeat('b', 300), block => true);
CALL profiles.rebuild('user');
SELECT left(key, 1) AS key, length(key) FROM profiles.user_pending;
SELECT s.left_out, length(s.examples ->> 'no seen_at') AS example FROM profiles.status s WHERE s.source = 'counts.long' AND s.kind = 'user';
SET profiles.future_tolerance = '60d';
CALL profiles.refresh('user');
SELECT left(user_id, 1) AS user_id, length(user_id) FROM profiles.users WHERE length(user_id) > 100;
SELECT left(key, 1) AS key FROM profiles.verify();
RESET profiles.future_tolerance;
-- and are forgotten, in letters of one byte or more
INSERT INTO counts.long SELECT NULL, repeat('é', 150);
SELECT octet_length(example) AS bytes FROM profiles.user_pending WHERE left_out = 'no seen_at';
SELECT profiles.forget('user', repeat('é', 150));
SELECT octet_length(example) AS bytes FROM profiles.user_pending WHERE left_out = 'no seen_at';
SELECT profiles.forget('user', repeat('n', 199));
SELECT length(examples ->> 'no seen_at') AS example FROM profiles.status s WHERE s.source = 'counts.long' AND s.kind = 'user';
SELECT profiles.forget('user', repeat('n', 300));
SELECT length(examples ->> 'no seen_at') AS example FROM profiles.status s WHERE s.source = 'counts.long' AND s.kind = 'user';
SELECT profiles.uninstall();
DROP SCHEMA counts CASCADE;
DROP EXTENSION profiles;
CREATE EXTENSION profiles;
