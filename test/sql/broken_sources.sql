-- Sources that fail for another reason than a row's data are left out, and the others
-- go on. An oracle in plain SQL says what profiles must have: of all that is well
-- exactly the events; else all these, and nothing that was there is lost.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA bs;
CREATE TABLE bs.good (id int PRIMARY KEY, ts timestamptz, uid text, plan text);
CREATE TABLE bs.bad (id int PRIMARY KEY, ts timestamptz, uid text, plan text);
CREATE TABLE bs.switch (state text);
INSERT INTO bs.switch VALUES ('');
-- fails with the SQLSTATE that is switched on
CREATE FUNCTION bs.trick(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    broken text := (SELECT state FROM bs.switch);
BEGIN
    IF broken <> '' THEN
        RAISE EXCEPTION 'tricked' USING ERRCODE = broken, HINT = 'Switch it off.';
    END IF;
    RETURN value;
END
$$;
INSERT INTO bs.good SELECT i, timestamptz '2023-01-01Z' + i * interval '1 hour', 'u' || i % 10, 'g' || i FROM generate_series(1, 100) AS i;
INSERT INTO bs.bad SELECT i, timestamptz '2023-01-03Z' + i * interval '1 hour', 'u' || i % 15, 'b' || i FROM generate_series(1, 60) AS i;

SELECT profiles.add_source('bs.good', mapping => '{"user_id": "uid", "plan": "plan"}');
SELECT profiles.add_source('bs.bad', mapping => '{"user_id": "uid", "plan": "bs.trick(plan)"}');

CREATE VIEW bs.oracle AS
SELECT uid, min(ts) AS first_seen, max(ts) AS last_seen,
       (array_agg(plan ORDER BY ts, plan COLLATE "C"))[1] AS first_plan, (array_agg(plan ORDER BY ts DESC, plan COLLATE "C" DESC))[1] AS last_plan
FROM (TABLE bs.good UNION ALL TABLE bs.bad) e GROUP BY uid;
CREATE VIEW bs.shown AS SELECT user_id, first_seen, last_seen, first_plan, last_plan FROM profiles.users;
CREATE VIEW bs.wrong AS
SELECT 'missing' AS what, uid FROM (TABLE bs.oracle EXCEPT ALL TABLE bs.shown) m
UNION ALL SELECT 'superfluous', user_id FROM (TABLE bs.shown EXCEPT ALL TABLE bs.oracle) m;
CREATE VIEW bs.status AS SELECT source, kind, rebuild_due, error, failed_at IS NOT NULL AS failed FROM profiles.status ORDER BY source, kind;

-- never folded: it has no part in profiles, so they are exactly what the others say
UPDATE bs.switch SET state = '42501';
CALL profiles.rebuild('user');
TABLE bs.status;
SELECT count(*) AS differ FROM bs.shown s FULL JOIN (
    SELECT uid, min(ts) AS first_seen, max(ts) AS last_seen FROM bs.good GROUP BY uid) g ON g.uid = s.user_id
WHERE (g.first_seen, g.last_seen) IS DISTINCT FROM (s.first_seen, s.last_seen);
DELETE FROM bs.good WHERE uid = 'u7';
CALL profiles.refresh('user');
SELECT count(*) AS users, count(*) FILTER (WHERE user_id = 'u7') AS deleted FROM profiles.users;
-- refresh tries it no more, but says so each time
SELECT phase FROM profiles.progress WHERE kind = 'user';
SELECT kind, reason FROM profiles.due WHERE kind = 'user';
-- rebuild does
CALL profiles.rebuild('user');
SELECT sqlstate, hint, was_folded FROM profiles.source_failure;
UPDATE bs.switch SET state = '';
CALL profiles.rebuild('user');
TABLE bs.status;
TABLE bs.wrong;
CALL profiles.refresh('user');

-- a source that was folded: what profiles have of it stays, whatever is computed anew
UPDATE bs.switch SET state = '58030';
INSERT INTO bs.good VALUES (200, '2023-03-01Z', 'u1', 'newest'), (201, '2023-03-02Z', 'new', 'new');
DELETE FROM bs.good WHERE uid = 'u2';
UPDATE bs.good SET plan = 'changed' WHERE uid = 'u3';
CALL profiles.refresh('user');
TABLE bs.status;
SELECT count(*) AS pending FROM profiles.user_pending;
-- all the oracle says is there, and of u2 what there was
SELECT user_id, s.last_plan, s.last_seen = o.last_seen AS right_time FROM bs.shown s LEFT JOIN bs.oracle o ON o.uid = s.user_id
WHERE user_id IN ('u1', 'u2', 'u3', 'u11', 'new') ORDER BY 1;
SELECT count(*) AS lost FROM bs.oracle o LEFT JOIN bs.shown s ON s.user_id = o.uid
WHERE s.user_id IS NULL OR s.first_seen > o.first_seen OR s.last_seen < o.last_seen;
-- a rebuild takes nothing either, in a transaction block or not
DELETE FROM bs.good WHERE uid IN ('u4', 'new');
BEGIN;
CALL profiles.rebuild('user');
COMMIT;
CALL profiles.rebuild('user');
SELECT user_id FROM bs.shown WHERE user_id IN ('u2', 'u4', 'u11', 'new') ORDER BY 1;
SELECT count(*) AS lost FROM bs.oracle o LEFT JOIN bs.shown s ON s.user_id = o.uid
WHERE s.user_id IS NULL OR s.first_seen > o.first_seen OR s.last_seen < o.last_seen;
SELECT profiles.forget('user', 'u4');
SELECT count(*) AS forgotten FROM profiles.users WHERE user_id = 'u4';
-- the rest is upkeep as ever, and what was captured of it is merged and not lost
UPDATE bs.switch SET state = '';
INSERT INTO bs.bad VALUES (300, '2023-04-01Z', 'u1', 'captured');
DELETE FROM bs.good WHERE id = 200;
UPDATE bs.switch SET state = '42P01';
CALL profiles.refresh('user');
SELECT last_plan FROM profiles.users WHERE user_id = 'u1';
-- mended
UPDATE bs.switch SET state = '';
CALL profiles.refresh('user');
CALL profiles.rebuild('user');
TABLE bs.wrong;
TABLE bs.status;
SELECT count(*) FROM profiles.verify('user');

-- errors that are no source's end the call, and nothing is noted
UPDATE bs.switch SET state = '53200';
CALL profiles.rebuild('user');
UPDATE bs.switch SET state = '57014';
CALL profiles.rebuild('user');
UPDATE bs.switch SET state = '40P01';
DELETE FROM bs.good WHERE id = 201;
CALL profiles.refresh('user');
SELECT count(*) AS failures FROM profiles.source_failure;
UPDATE bs.switch SET state = '';
CALL profiles.refresh('user');
TABLE bs.wrong;
-- errors of data leave out rows, as ever
UPDATE bs.switch SET state = 'P0001';
CALL profiles.rebuild('user');
SELECT left_out FROM profiles.status WHERE source = 'bs.bad';
UPDATE bs.switch SET state = '';
CALL profiles.rebuild('user');
TABLE bs.wrong;

-- but before a row is looked at, no error is a row's
SELECT profiles.alter_source('bs.bad', mapping => '{"plan": "plan || bs.trick('''')"}');
CALL profiles.rebuild('user');
TABLE bs.wrong;
\set VERBOSITY terse
UPDATE bs.switch SET state = '42601';
SELECT count(*) FROM profiles.verify('user');
UPDATE bs.switch SET state = 'XX000';
SELECT count(*) FROM profiles.verify('user');
\set VERBOSITY default
CALL profiles.rebuild('user');
SELECT error, left_out FROM profiles.status WHERE source = 'bs.bad';
UPDATE bs.switch SET state = '';
SELECT profiles.alter_source('bs.bad', mapping => '{"plan": "bs.trick(plan)"}');
CALL profiles.rebuild('user');
TABLE bs.wrong;

-- found out while marks are followed; then the source goes, and a refresh puts all right
UPDATE bs.switch SET state = '42883';
DELETE FROM bs.good WHERE uid = 'u5';
CALL profiles.refresh('user');
TABLE bs.status;
SELECT count(*) AS stays FROM profiles.users WHERE user_id = 'u5';
SELECT profiles.drop_source('bs.bad');
CALL profiles.refresh('user');
SELECT count(*) AS failures FROM profiles.source_failure;
TRUNCATE bs.bad;
TABLE bs.wrong;
-- the relation is gone
SELECT profiles.add_source('bs.bad', mapping => '{"user_id": "uid", "plan": "plan"}');
INSERT INTO bs.bad VALUES (400, '2023-05-01Z', 'gone', 'gone');
CALL profiles.refresh('user');
DROP TABLE bs.bad CASCADE;
-- that is noticed though there is nothing to do, and nobody can say any more what is right
CALL profiles.refresh();
TABLE bs.status;
CALL profiles.refresh('user');
SELECT kind, sqlstate, was_folded FROM profiles.source_failure ORDER BY kind;
SELECT count(*) FROM profiles.verify('user');
SELECT user_id FROM profiles.users WHERE user_id = 'gone';
CALL profiles.refresh('user', '2023-01-01Z');
DELETE FROM bs.good WHERE uid = 'u6';
CALL profiles.refresh('user');
TABLE bs.status;
SELECT user_id FROM profiles.users WHERE user_id IN ('gone', 'u6');
SELECT profiles.drop_source('bs.bad');
CALL profiles.refresh('user');
SELECT user_id FROM profiles.users WHERE user_id IN ('gone', 'u6');

-- what is not captured is folded from a time on as far as it can be
UPDATE bs.switch SET state = '';
CREATE VIEW bs.seen AS SELECT 500 AS id, timestamptz '2023-06-01Z' AS ts, 'seen' AS uid, bs.trick('seen') AS plan;
SELECT profiles.add_source('bs.seen', mapping => '{"user_id": "uid", "plan": "plan"}');
CALL profiles.refresh('user');
SELECT profiles.alter_source('bs.good', capture => 'none');
INSERT INTO bs.good VALUES (501, '2023-06-02Z', 'since', 'since');
UPDATE bs.switch SET state = '08006';
CALL profiles.refresh('user', '2023-06-01Z');
SELECT user_id FROM profiles.users WHERE user_id IN ('seen', 'since') ORDER BY 1;
SELECT count(*) AS failures FROM profiles.source_failure;
-- status says so until it is done, or a rebuild is; the source is not left out
TABLE bs.status;
CALL profiles.refresh('user');
TABLE bs.status;
UPDATE bs.switch SET state = '';
CALL profiles.refresh('user', '2023-06-01Z');
TABLE bs.status;
UPDATE bs.switch SET state = '08006';
CALL profiles.refresh(NULL, '2023-06-01Z');
TABLE bs.status;
UPDATE bs.switch SET state = '';
CALL profiles.rebuild('user');
TABLE bs.status;
SELECT profiles.drop_source('bs.seen'), profiles.drop_source('bs.good');
CALL profiles.refresh();

--
-- Partitions, and what adders may do
--
CREATE ROLE broken_adder;
GRANT USAGE, CREATE ON SCHEMA bs TO broken_adder;
GRANT USAGE ON SCHEMA profiles TO broken_adder;
GRANT EXECUTE ON FUNCTION profiles.add_source TO broken_adder;
CREATE TABLE bs.parts (ts timestamptz, uid text, plan text) PARTITION BY RANGE (ts);
CREATE TABLE bs.parts_1 PARTITION OF bs.parts FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z');
CREATE TABLE bs.other (ts timestamptz, uid text, plan text);
INSERT INTO bs.parts VALUES ('2023-01-01Z', 'p1', 'a');
INSERT INTO bs.other VALUES ('2023-01-01Z', 'o1', 'a');
GRANT SELECT, TRIGGER ON bs.parts, bs.parts_1 TO broken_adder;
GRANT SELECT ON bs.switch TO broken_adder;
SELECT profiles.add_source('bs.other', mapping => '{"user_id": "uid", "plan": "plan"}');
SET ROLE broken_adder;
SELECT profiles.add_source('bs.parts', mapping => '{"user_id": "uid", "plan": "bs.trick(plan)"}', on_change => 'keep');
RESET ROLE;
CALL profiles.refresh('user');
-- a new partition on which the adder may make no triggers
CREATE TABLE bs.parts_2 PARTITION OF bs.parts FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
INSERT INTO bs.parts VALUES ('2024-01-01Z', 'p2', 'b');
INSERT INTO bs.other VALUES ('2023-01-02Z', 'o2', 'b');
CALL profiles.refresh('user');
SELECT user_id FROM profiles.users WHERE user_id ~ '^[op]' ORDER BY 1;
INSERT INTO bs.parts_2 VALUES ('2024-01-02Z', 'p3', 'unseen');
GRANT SELECT, TRIGGER ON bs.parts_2 TO broken_adder;
-- which then can't be folded
UPDATE bs.switch SET state = '42P01';
INSERT INTO bs.other VALUES ('2023-01-03Z', 'o3', 'c');
CALL profiles.refresh('user');
SELECT user_id FROM profiles.users WHERE user_id ~ '^[op]' ORDER BY 1;
-- nor can what leaves be kept
ALTER TABLE bs.parts DETACH PARTITION bs.parts_1;
CALL profiles.refresh('user');
UPDATE bs.switch SET state = '';
CALL profiles.rebuild('user');
SELECT user_id FROM profiles.users WHERE user_id ~ '^[op]' ORDER BY 1;
SELECT key FROM profiles.kept WHERE kind = 'user';
SELECT count(*) FROM profiles.verify('user');
ALTER TABLE bs.parts DETACH PARTITION bs.parts_2;
UPDATE bs.switch SET state = '42P01';
CALL profiles.refresh('user');
SELECT key FROM profiles.kept WHERE kind = 'user' ORDER BY 1;
UPDATE bs.switch SET state = '';
CALL profiles.rebuild('user');
SELECT key FROM profiles.kept WHERE kind = 'user' ORDER BY 1;
SELECT user_id FROM profiles.users WHERE user_id ~ '^[op]' ORDER BY 1;

-- a view that its owner makes something else of
SELECT format('profiles.source_%s', id) AS view FROM profiles.source_config WHERE source = 'bs.parts' \gset
SET ROLE broken_adder;
SELECT string_agg(format('NULL::%s AS %I', format_type(atttypid, atttypmod), attname), ', ' ORDER BY attnum) AS columns
FROM pg_attribute WHERE attrelid = :'view'::regclass AND attnum > 0 \gset
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO :view DO INSTEAD SELECT :columns;
RESET ROLE;
INSERT INTO bs.other VALUES ('2023-01-04Z', 'o4', 'd');
CALL profiles.rebuild('user');
CALL profiles.refresh('user');
SELECT user_id FROM profiles.users WHERE user_id ~ '^[op]' ORDER BY 1;
SELECT source, mapping IS NOT NULL AS readable, rebuild_due FROM profiles.sources ORDER BY 1;
CREATE TABLE bs.third (ts timestamptz, uid text);
SELECT profiles.add_source('bs.third', mapping => '{"user_id": "uid"}');
SELECT source, count(*) FROM profiles.events GROUP BY 1 ORDER BY 1;
SELECT profiles.alter_source('bs.parts', filter => 'plan <> ''x''');
SELECT profiles.drop_source('bs.parts');
CALL profiles.refresh('user');
SELECT user_id FROM profiles.users WHERE user_id ~ '^[op]' ORDER BY 1;
SELECT count(*) FROM profiles.verify('user');

DROP VIEW bs.shown;
SELECT profiles.uninstall();
DROP SCHEMA bs CASCADE;
REVOKE ALL ON SCHEMA profiles FROM broken_adder;
REVOKE ALL ON FUNCTION profiles.add_source FROM broken_adder;
DROP ROLE broken_adder;
