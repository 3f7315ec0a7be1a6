-- Partitioned events, and plain inheritance: which statements reach profiles,
-- and what becomes of partitions that come and go. Each scenario ends with a
-- refresh and the oracle.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA pt;

CREATE TABLE pt.events (id int, ts timestamptz NOT NULL, uid text, plan text) PARTITION BY RANGE (ts);
CREATE TABLE pt.y2021 PARTITION OF pt.events FOR VALUES FROM ('2021-01-01Z') TO ('2022-01-01Z');
CREATE TABLE pt.y2022 PARTITION OF pt.events FOR VALUES FROM ('2022-01-01Z') TO ('2023-01-01Z') PARTITION BY LIST (plan);
CREATE TABLE pt.y2022_free PARTITION OF pt.y2022 FOR VALUES IN ('free', 'trial');
CREATE TABLE pt.y2022_rest PARTITION OF pt.y2022 DEFAULT PARTITION BY HASH (uid);
CREATE TABLE pt.y2022_rest_0 PARTITION OF pt.y2022_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE pt.y2022_rest_1 PARTITION OF pt.y2022_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO pt.events VALUES (1, '2021-05-01Z', 'before', 'free');
SELECT profiles.add_source('pt.events', mapping => '{"user_id": "uid", "seen_at": "ts", "plan": "plan"}');

-- the oracle; what is kept is in pt.past, which the test fills itself
CREATE TABLE pt.past (ts timestamptz, uid text, plan text);
CREATE VIEW pt.oracle AS
SELECT uid, min(ts) AS first_seen, max(ts) AS last_seen,
       (array_agg(plan ORDER BY ts, plan COLLATE "C") FILTER (WHERE plan IS NOT NULL))[1] AS first_plan,
       (array_agg(plan ORDER BY ts DESC, plan COLLATE "C" DESC) FILTER (WHERE plan IS NOT NULL))[1] AS last_plan
FROM (SELECT ts, uid, plan FROM pt.events UNION ALL TABLE pt.past) e WHERE uid IS NOT NULL AND ts IS NOT NULL GROUP BY uid;
CREATE VIEW pt.shown AS SELECT user_id, first_seen, last_seen, first_plan, last_plan FROM profiles.users;
CREATE VIEW pt.wrong AS
SELECT 'verify user' AS oracle, key FROM profiles.verify('user')
UNION ALL SELECT 'verify account', key FROM profiles.verify('account')
UNION ALL SELECT 'missing', uid FROM (TABLE pt.oracle EXCEPT ALL TABLE pt.shown) m
UNION ALL SELECT 'superfluous', user_id FROM (TABLE pt.shown EXCEPT ALL TABLE pt.oracle) m;
CREATE VIEW pt.triggers AS
SELECT tgrelid::regclass::text AS "table", count(*) AS triggers FROM pg_trigger
WHERE tgfoid = 'profiles.capture'::regproc GROUP BY tgrelid ORDER BY 1;
\set check 'CALL profiles.refresh(); SELECT * FROM pt.wrong ORDER BY 1, 2;'
TABLE pt.triggers;
:check

-- INSERT and COPY through the parent, into a leaf, into a table in between
INSERT INTO pt.events VALUES (2, '2021-06-01Z', 'u1', 'free'), (3, '2022-06-01Z', 'u1', 'pro'), (4, '2022-06-02Z', 'u2', 'trial'), (5, '2022-06-03Z', 'u3', 'max');
SELECT key, events FROM profiles.user_pending ORDER BY key;
:check
INSERT INTO pt.y2021 VALUES (6, '2021-06-02Z', 'u4', 'leaf');
INSERT INTO pt.y2022 VALUES (7, '2022-06-02Z', 'u4', 'middle'), (8, '2022-06-02Z', 'u5', 'free');
INSERT INTO pt.y2022_rest VALUES (9, '2022-06-04Z', 'u5', 'rest');
SELECT key, events FROM profiles.user_pending ORDER BY key, events;
:check
COPY pt.events FROM STDIN WITH (FORMAT csv);
10,2021-07-01Z,c1,copied
11,2022-07-01Z,c1,free
\.
COPY pt.y2022_free FROM STDIN WITH (FORMAT csv);
12,2022-07-02Z,c2,trial
\.
:check
SELECT user_id, first_plan, last_plan FROM profiles.users WHERE user_id LIKE 'c%' ORDER BY 1;

-- UPDATE that moves rows between partitions, and that does not
UPDATE pt.events SET ts = ts + interval '1 year' WHERE id = 2;
UPDATE pt.events SET plan = 'trial' WHERE id = 3;
UPDATE pt.y2022 SET plan = 'free' WHERE id = 9;
UPDATE pt.y2021 SET plan = 'stays' WHERE id = 6;
:check
UPDATE pt.events SET uid = 'moved', ts = '2021-12-31Z' WHERE id IN (4, 5, 8);
:check
MERGE INTO pt.events e USING (VALUES (3, 'merged')) AS n (id, uid) ON n.id = e.id WHEN MATCHED THEN UPDATE SET uid = n.uid, ts = '2022-02-02Z';
:check
-- MERGE that moves a row shows it to no trigger: verify does, rebuild mends it
MERGE INTO pt.events e USING (VALUES (6, 'merged')) AS n (id, uid) ON n.id = e.id WHEN MATCHED THEN UPDATE SET uid = n.uid, ts = '2022-02-03Z';
:check
CALL profiles.rebuild();
SELECT * FROM pt.wrong;
-- DELETE through the parent and from a leaf
DELETE FROM pt.events WHERE uid = 'merged';
DELETE FROM pt.y2021 WHERE uid = 'before';
DELETE FROM pt.y2022 WHERE uid = 'c1';
:check

-- a partition is created, and rows get into it before and after it is noticed
CREATE TABLE pt.y2023 PARTITION OF pt.events FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z');
INSERT INTO pt.y2023 VALUES (20, '2023-01-01Z', 'n1', 'direct');
INSERT INTO pt.events VALUES (21, '2023-01-02Z', 'n2', 'parent');
CALL profiles.refresh('user');
SELECT * FROM pt.wrong;
INSERT INTO pt.y2023 VALUES (22, '2023-01-03Z', 'n1', 'noticed');
:check
-- attached with rows, other order of columns, dropped ones
CREATE TABLE pt.y2024 (gone1 int, plan text, uid text, gone2 text, ts timestamptz NOT NULL, id int);
ALTER TABLE pt.y2024 DROP COLUMN gone1, DROP COLUMN gone2;
INSERT INTO pt.y2024 (id, ts, uid, plan) VALUES (30, '2024-01-01Z', 'at1', 'attached'), (31, '2024-01-02Z', 'n1', 'attached');
ALTER TABLE pt.events ATTACH PARTITION pt.y2024 FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
SELECT key, stored IS NULL AS missing FROM profiles.verify();
:check
INSERT INTO pt.y2024 (id, ts, uid, plan) VALUES (32, '2024-01-03Z', 'at2', 'leaf');
INSERT INTO pt.events VALUES (33, '2024-01-03Z', 'at3', 'parent');
UPDATE pt.y2024 SET plan = 'leaf updated' WHERE id IN (30, 32);
UPDATE pt.events SET ts = '2023-07-01Z' WHERE id = 31;
:check
-- a tree of partitions, attached as one
CREATE TABLE pt.y2020 (LIKE pt.events) PARTITION BY LIST (plan);
CREATE TABLE pt.y2020_a PARTITION OF pt.y2020 FOR VALUES IN ('a');
CREATE TABLE pt.y2020_b PARTITION OF pt.y2020 DEFAULT;
INSERT INTO pt.y2020 VALUES (40, '2020-01-01Z', 'tree', 'a'), (41, '2020-01-02Z', 'tree', 'b');
ALTER TABLE pt.events ATTACH PARTITION pt.y2020 FOR VALUES FROM ('2020-01-01Z') TO ('2021-01-01Z');
:check
INSERT INTO pt.y2020_b VALUES (42, '2020-01-03Z', 'tree', 'c');
:check
TABLE pt.triggers;
-- a default partition
CREATE TABLE pt.other PARTITION OF pt.events DEFAULT;
INSERT INTO pt.events VALUES (50, '2019-01-01Z', 'def', 'default');
INSERT INTO pt.other VALUES (51, '2018-01-01Z', 'def', 'default leaf');
:check
DELETE FROM pt.other;
:check
-- renamed, and moved to another schema: it is another one
ALTER TABLE pt.y2021 RENAME TO old_2021;
CREATE SCHEMA pt2;
ALTER TABLE pt.y2023 SET SCHEMA pt2;
INSERT INTO pt.old_2021 VALUES (60, '2021-02-01Z', 'ren', 'renamed');
:check
INSERT INTO pt2.y2023 VALUES (61, '2023-02-01Z', 'ren', 'renamed');
:check
SELECT relation, folded FROM profiles.source_part ORDER BY relation;

-- recompute: what is detached or dropped is gone from profiles
ALTER TABLE pt.events DETACH PARTITION pt.y2024;
SELECT key FROM profiles.verify() ORDER BY key;
INSERT INTO pt.y2024 (id, ts, uid, plan) VALUES (34, '2024-01-04Z', 'detached', 'leaf');
:check
SELECT tgname FROM pg_trigger WHERE tgrelid = 'pt.y2024'::regclass;
ALTER TABLE pt.events ATTACH PARTITION pt.y2024 FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
:check
DROP TABLE pt.other;
ALTER TABLE pt.events DETACH PARTITION pt2.y2023 CONCURRENTLY;
:check
DROP TABLE pt2.y2023;
INSERT INTO pt.events VALUES (70, '2021-03-01Z', 'dropped', 'x');
:check
DROP TABLE pt.y2020;
SELECT kind, reason FROM profiles.due;
:check
-- detached, written to, and attached again between two refreshes
ALTER TABLE pt.events DETACH PARTITION pt.y2024;
INSERT INTO pt.y2024 (id, ts, uid, plan) VALUES (35, '2024-01-05Z', 'away', 'leaf');
DELETE FROM pt.y2024 WHERE id = 34;
ALTER TABLE pt.events ATTACH PARTITION pt.y2024 FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
:check
-- a partition replaced by one of the same name
ALTER TABLE pt.events DETACH PARTITION pt.y2024;
DROP TABLE pt.y2024;
CREATE TABLE pt.y2024 PARTITION OF pt.events FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
INSERT INTO pt.y2024 VALUES (36, '2024-01-06Z', 'replaced', 'leaf');
:check
INSERT INTO pt.y2024 VALUES (37, '2024-01-07Z', 'replaced', 'again');
:check

-- TRUNCATE of a leaf, of a table in between, of the parent
TRUNCATE pt.y2024;
:check
TRUNCATE pt.y2022;
:check
INSERT INTO pt.events VALUES (80, '2022-03-01Z', 'tr', 'x');
TRUNCATE pt.events;
INSERT INTO pt.y2022_free VALUES (81, '2022-03-02Z', 'tr', 'free');
:check
SELECT user_id FROM profiles.users;

-- a partition of one source goes to another source
CREATE TABLE pt.archive (LIKE pt.events) PARTITION BY RANGE (ts);
SELECT profiles.add_source('pt.archive', mapping => '{"user_id": "''archived '' || uid", "seen_at": "ts", "plan": "plan"}');
INSERT INTO pt.y2024 VALUES (90, '2024-02-01Z', 'ar', 'x');
CALL profiles.refresh();
ALTER TABLE pt.events DETACH PARTITION pt.y2024;
ALTER TABLE pt.archive ATTACH PARTITION pt.y2024 FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
CALL profiles.refresh();
INSERT INTO pt.y2024 VALUES (91, '2024-02-02Z', 'ar', 'in the archive');
CALL profiles.refresh();
SELECT key FROM profiles.verify();
SELECT user_id, last_plan FROM profiles.users ORDER BY 1;
-- and back
ALTER TABLE pt.archive DETACH PARTITION pt.y2024;
ALTER TABLE pt.events ATTACH PARTITION pt.y2024 FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
:check
INSERT INTO pt.y2024 VALUES (92, '2024-02-03Z', 'ar', 'is back');
SELECT key, events FROM profiles.user_pending;
:check
SELECT user_id, last_plan FROM profiles.users ORDER BY 1;
ALTER TABLE pt.events DETACH PARTITION pt.y2024;
ALTER TABLE pt.archive ATTACH PARTITION pt.y2024 FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
SELECT profiles.drop_source('pt.archive');
DROP TABLE pt.archive;
:check

-- keep: what was seen stays, if it can still be read when it is noticed
SELECT profiles.alter_source('pt.events', on_change => 'keep');
CREATE TABLE pt.y2023 PARTITION OF pt.events FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z');
CREATE TABLE pt.y2024 PARTITION OF pt.events FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
INSERT INTO pt.events SELECT i, timestamptz '2021-01-02Z' + i * interval '10 days', 'k' || i % 7, CASE WHEN i % 3 = 0 THEN 'free' ELSE 'p' || i % 5 END FROM generate_series(1, 140) AS i;
:check
INSERT INTO pt.past SELECT ts, uid, plan FROM pt.old_2021;
ALTER TABLE pt.events DETACH PARTITION pt.old_2021;
:check
SELECT count(*) > 0 AS kept FROM profiles.kept;
DROP TABLE pt.old_2021;
:check
CALL profiles.rebuild();
SELECT * FROM pt.wrong;
INSERT INTO pt.past SELECT ts, uid, plan FROM pt.y2023;
ALTER TABLE pt.events DETACH PARTITION pt.y2023 CONCURRENTLY;
:check
CALL profiles.rebuild();
SELECT * FROM pt.wrong;
DROP TABLE pt.y2023;
-- truncated
INSERT INTO pt.past SELECT ts, uid, plan FROM pt.y2022_rest;
TRUNCATE pt.y2022_rest;
:check
INSERT INTO pt.past SELECT ts, uid, plan FROM pt.events;
TRUNCATE pt.events;
:check
CALL profiles.rebuild();
SELECT * FROM pt.wrong;
SELECT count(*) AS users FROM profiles.users;
-- moved by an update: seen in both places
INSERT INTO pt.events VALUES (200, '2022-05-01Z', 'mv', 'free');
INSERT INTO pt.past SELECT ts, uid, plan FROM pt.events;
UPDATE pt.events SET ts = '2024-05-01Z', plan = 'other';
:check
-- dropped at once: nobody can read it any more; profiles keep it until they are computed anew
INSERT INTO pt.events VALUES (201, '2024-05-02Z', 'lost', 'x');
:check
DROP TABLE pt.y2024;
CALL profiles.refresh();
SELECT user_id FROM profiles.users WHERE user_id = 'lost';
CALL profiles.rebuild();
SELECT * FROM pt.wrong WHERE key <> 'mv';
SELECT profiles.drop_source('pt.events');
DROP VIEW pt.wrong, pt.oracle;
DROP TABLE pt.events;
TRUNCATE pt.past;

-- plain inheritance
CREATE TABLE pt.base (ts timestamptz, uid text, plan text);
CREATE TABLE pt.child1 (extra int) INHERITS (pt.base);
CREATE TABLE pt.child2 (extra text, plan text, uid text, ts timestamptz);
SELECT profiles.add_source('pt.base', mapping => '{"user_id": "uid", "seen_at": "ts", "plan": "plan"}');
CREATE VIEW pt.oracle AS
SELECT uid, min(ts) AS first_seen, max(ts) AS last_seen,
       (array_agg(plan ORDER BY ts, plan COLLATE "C") FILTER (WHERE plan IS NOT NULL))[1] AS first_plan,
       (array_agg(plan ORDER BY ts DESC, plan COLLATE "C" DESC) FILTER (WHERE plan IS NOT NULL))[1] AS last_plan
FROM pt.base GROUP BY uid;
CREATE VIEW pt.wrong AS
SELECT 'verify user' AS oracle, key FROM profiles.verify('user')
UNION ALL SELECT 'missing', uid FROM (TABLE pt.oracle EXCEPT ALL TABLE pt.shown) m
UNION ALL SELECT 'superfluous', user_id FROM (TABLE pt.shown EXCEPT ALL TABLE pt.oracle) m;
:check
INSERT INTO pt.base VALUES ('2023-01-01Z', 'i1', 'base');
INSERT INTO pt.child1 VALUES ('2023-01-02Z', 'i1', 'child', 7);
:check
INSERT INTO pt.child2 VALUES ('x', 'later', 'i2', '2023-01-03Z');
ALTER TABLE pt.child2 INHERIT pt.base;
:check
UPDATE pt.base SET plan = plan || '!';
UPDATE ONLY pt.base SET plan = 'only';
INSERT INTO pt.child2 VALUES ('y', 'child2', 'i1', '2023-01-04Z');
:check
DELETE FROM pt.base WHERE uid = 'i2';
TRUNCATE ONLY pt.base;
:check
SELECT user_id, first_plan, last_plan FROM profiles.users ORDER BY 1;
ALTER TABLE pt.child1 NO INHERIT pt.base;
:check
TRUNCATE pt.base;
:check
TABLE pt.triggers;
SELECT profiles.drop_source('pt.base');
TABLE pt.triggers;
:check

-- detached, dropped or left: triggers go with the source, and the extension can go
CREATE TABLE pt.events (ts timestamptz NOT NULL, uid text, plan text) PARTITION BY RANGE (ts);
CREATE TABLE pt.p1 PARTITION OF pt.events FOR VALUES FROM ('2021-01-01Z') TO ('2022-01-01Z');
CREATE TABLE pt.p2 PARTITION OF pt.events FOR VALUES FROM ('2022-01-01Z') TO ('2023-01-01Z');
SELECT profiles.add_source('pt.events', mapping => '{"user_id": "uid", "seen_at": "ts", "plan": "plan"}');
ALTER TABLE pt.events DETACH PARTITION pt.p1;
SELECT profiles.drop_source('pt.events');
TABLE pt.triggers;
SELECT profiles.add_source('pt.events', mapping => '{"user_id": "uid", "seen_at": "ts", "plan": "plan"}');
ALTER TABLE pt.events DETACH PARTITION pt.p2;
SELECT profiles.alter_source('pt.events', capture => 'none');
TABLE pt.triggers;
-- whoever owns what has left
CREATE ROLE pt_other;
CREATE TABLE pt.p3 PARTITION OF pt.events FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z');
SELECT profiles.alter_source('pt.events', capture => 'deferred');
CALL profiles.refresh();
ALTER TABLE pt.p3 OWNER TO pt_other;
ALTER TABLE pt.events DETACH PARTITION pt.p3;
TABLE pt.triggers;
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
CALL profiles.refresh();
TABLE pt.triggers;
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
-- triggers that name no source that is there, as of a table out of another database's dump, do nothing
-- and are nothing that each refresh looks at; those of a source, whoever made them, go
SELECT c.id AS ev FROM profiles.source_config c WHERE c.source = 'pt.events' \gset
CREATE FUNCTION pt.capture(relation text, VARIADIC arguments text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER profiles_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS profiles_new_events FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(%s)',
                   relation, (SELECT string_agg(quote_literal(a), ', ') FROM unnest(arguments) a));
END
$$;
CREATE TABLE pt.foreign1 (LIKE pt.p1);
CREATE TABLE pt.foreign2 (LIKE pt.p1);
CREATE TABLE pt.foreign3 (LIKE pt.p1);
CREATE TABLE pt.foreign4 (LIKE pt.p1);
SELECT pt.capture('pt.foreign1', '1000000', 'deferred', 'recompute'), pt.capture('pt.foreign2', 'none'), pt.capture('pt.foreign3', '0' || :ev, 'deferred', 'recompute');
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
INSERT INTO pt.foreign1 VALUES ('2023-01-01Z', 'f', 'f');
SELECT pt.capture('pt.foreign4', :'ev', 'deferred', 'recompute');
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
CALL profiles.refresh();
TABLE pt.triggers;
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
-- also those that a partition has of its parent, which is younger
CREATE TABLE pt.foreign6 (LIKE pt.p1);
CREATE TABLE pt.foreign5 (LIKE pt.p1) PARTITION BY LIST (uid);
ALTER TABLE pt.foreign5 ATTACH PARTITION pt.foreign6 DEFAULT;
CREATE TRIGGER profiles_insert AFTER INSERT ON pt.foreign5 FOR EACH ROW EXECUTE FUNCTION profiles.capture(:ev);
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
CALL profiles.refresh();
TABLE pt.triggers;
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
CREATE TRIGGER profiles_insert AFTER INSERT ON pt.foreign5 FOR EACH ROW EXECUTE FUNCTION profiles.capture(:ev);
SELECT profiles.drop_source('pt.events');
TABLE pt.triggers;
CALL profiles.refresh();
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
-- the refresh of one kind notices a partition; that of the other folds it, too
CREATE TABLE pt.shared (ts timestamptz NOT NULL, uid text, aid text) PARTITION BY RANGE (ts);
CREATE TABLE pt.shared1 PARTITION OF pt.shared FOR VALUES FROM ('2021-01-01Z') TO ('2022-01-01Z');
SELECT profiles.add_source('pt.shared', mapping => '{"user_id": "uid", "account_id": "aid", "seen_at": "ts"}');
CALL profiles.rebuild();
CREATE TABLE pt.shared2 (LIKE pt.shared);
INSERT INTO pt.shared2 VALUES ('2022-05-01Z', 'u2', 'a2');
ALTER TABLE pt.shared ATTACH PARTITION pt.shared2 FOR VALUES FROM ('2022-01-01Z') TO ('2023-01-01Z');
CALL profiles.refresh('user');
CALL profiles.refresh('account');
SELECT account_id, last_seen FROM profiles.accounts;
SELECT key FROM profiles.verify('user') UNION ALL SELECT key FROM profiles.verify('account');
-- a table has the triggers of one source: no other that it is a part of can be captured
CREATE TABLE pt.trunk (ts timestamptz NOT NULL, uid text, plan text) PARTITION BY LIST (plan);
CREATE TABLE pt.trunk_1 PARTITION OF pt.trunk FOR VALUES IN ('a') PARTITION BY LIST (plan);
CREATE TABLE pt.trunk_2 PARTITION OF pt.trunk_1 FOR VALUES IN ('a');
CREATE TABLE pt.left_1 (ts timestamptz, uid text);
CREATE TABLE pt.right_1 (ts timestamptz, uid text);
CREATE TABLE pt.of_both () INHERITS (pt.left_1, pt.right_1);
SELECT profiles.add_source('pt.trunk'), profiles.add_source('pt.left_1');
SELECT profiles.add_source('pt.trunk_2');
SELECT profiles.add_source('pt.trunk_2', capture => 'none', mapping => '{"user_id": "uid || ''x''", "seen_at": "ts"}');
SELECT profiles.alter_source('pt.trunk_2', capture => 'immediate');
SELECT profiles.add_source('pt.right_1');
SELECT profiles.alter_source('pt.trunk', capture => 'none');
SELECT profiles.alter_source('pt.trunk_2', capture => 'deferred');
SELECT profiles.add_source('pt.trunk_1');
SELECT profiles.alter_source('pt.trunk', capture => 'deferred');
-- one that becomes a part of another later keeps its triggers, and there is nothing more to do at each refresh
CREATE TABLE pt.joins (ts timestamptz NOT NULL, uid text, plan text);
INSERT INTO pt.joins VALUES ('2021-01-01Z', 'joins', 'b');
SELECT profiles.drop_source('pt.trunk_2'), profiles.alter_source('pt.trunk', capture => 'deferred');
SELECT profiles.add_source('pt.joins', mapping => '{"user_id": "uid || ''x''", "seen_at": "ts"}');
CALL profiles.refresh('user');
ALTER TABLE pt.trunk ATTACH PARTITION pt.joins FOR VALUES IN ('b');
CALL profiles.refresh('user');
CALL profiles.refresh('user');
SELECT relation FROM profiles.source_part WHERE kind = 'user' AND relation ~ 'trunk|joins' ORDER BY 1;
SELECT source FROM profiles.status WHERE rebuild_due ORDER BY 1;
INSERT INTO pt.joins VALUES ('2021-01-02Z', 'later', 'b');
SELECT profiles.drop_source('pt.joins');
CALL profiles.refresh();
INSERT INTO pt.joins VALUES ('2021-01-02Z', 'latest', 'b');
CALL profiles.refresh();
SELECT user_id FROM profiles.users WHERE user_id ~ 'joins|late' ORDER BY 1;
SELECT key FROM profiles.verify();
SELECT profiles.drop_source('pt.trunk'), profiles.drop_source('pt.left_1');

-- a foreign table makes statements on its parent fail that has triggers as ours: none is captured then,
-- and nothing lost
CREATE EXTENSION postgres_fdw;
DO $$
BEGIN
    EXECUTE format('CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
                   split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database());
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER loopback;
CREATE TABLE pt.remote (ts timestamptz NOT NULL, uid text, plan text);
INSERT INTO pt.remote VALUES ('2021-01-01Z', 'far1', 'far');
CREATE TABLE pt.mixed (ts timestamptz NOT NULL, uid text, plan text) PARTITION BY LIST (plan);
CREATE TABLE pt.mixed_1 PARTITION OF pt.mixed FOR VALUES IN ('near');
CREATE TABLE pt.mixed_2 PARTITION OF pt.mixed FOR VALUES IN ('middle');
SELECT profiles.add_source('pt.mixed', mapping => '{"user_id": "uid", "seen_at": "ts", "plan": "plan"}', on_change => 'keep');
CALL profiles.refresh();
INSERT INTO pt.mixed VALUES ('2021-01-02Z', 'near1', 'near'), ('2021-01-02Z', 'near2', 'near'), ('2021-01-02Z', 'middle', 'middle');
CALL profiles.refresh();
DELETE FROM pt.mixed WHERE uid = 'near1';
ALTER TABLE pt.mixed DETACH PARTITION pt.mixed_2;
INSERT INTO pt.mixed VALUES ('2021-01-03Z', 'near3', 'near');
CREATE FOREIGN TABLE pt.mixed_3 PARTITION OF pt.mixed FOR VALUES IN ('far') SERVER loopback OPTIONS (schema_name 'pt', table_name 'remote');
SELECT profiles._parts_are_recorded(false) AS nothing_but_more, profiles._parts_are_recorded(true) AS nothing_to_do;
-- not before what has left can be kept
BEGIN;
LOCK TABLE pt.mixed_2;
PREPARE TRANSACTION 'mixed';
CALL profiles.refresh('user');
SELECT capture, on_change FROM profiles.sources WHERE source = 'pt.mixed';
ROLLBACK PREPARED 'mixed';
CALL profiles.refresh('user');
SELECT capture, on_change FROM profiles.sources WHERE source = 'pt.mixed';
SELECT * FROM pt.triggers WHERE "table" LIKE 'pt.mixed%';
SELECT user_id FROM profiles.users WHERE user_id ~ 'near|far|middle' ORDER BY 1;
SELECT key FROM profiles.verify();
CALL profiles.refresh();
SELECT profiles._parts_are_recorded(true) AS nothing_to_do;
INSERT INTO pt.mixed VALUES ('2021-01-04Z', 'far2', 'far'), ('2021-01-04Z', 'near4', 'near');
UPDATE pt.mixed SET ts = ts + interval '1 hour';
DELETE FROM pt.mixed WHERE uid = 'near2';
CALL profiles.refresh(since => '2021-01-01Z');
SELECT user_id FROM profiles.users WHERE user_id ~ 'near|far|middle' ORDER BY 1;
CALL profiles.rebuild();
SELECT key FROM profiles.verify();
-- and captured again without it
ALTER TABLE pt.mixed DETACH PARTITION pt.mixed_3;
SELECT profiles.alter_source('pt.mixed', capture => 'deferred', on_change => 'keep');
INSERT INTO pt.mixed VALUES ('2021-01-05Z', 'near5', 'near');
CALL profiles.refresh();
SELECT user_id FROM profiles.users WHERE user_id ~ 'near|far|middle' ORDER BY 1;
SELECT key FROM profiles.verify();
SELECT * FROM pt.triggers WHERE "table" LIKE 'pt.mixed%';
-- rebuild notices as well, also of children
CREATE TABLE pt.heir (ts timestamptz, uid text);
SELECT profiles.add_source('pt.heir', mapping => '{"user_id": "uid", "seen_at": "ts"}', capture => 'immediate');
CREATE FOREIGN TABLE pt.heir_1 () INHERITS (pt.heir) SERVER loopback OPTIONS (schema_name 'pt', table_name 'remote');
CALL profiles.rebuild();
SELECT capture, on_change FROM profiles.sources WHERE source = 'pt.heir';
UPDATE pt.heir SET ts = ts + interval '1 hour';
CALL profiles.rebuild();
SELECT key FROM profiles.verify();
SELECT profiles.drop_source('pt.heir'), profiles.drop_source('pt.mixed');
DROP EXTENSION postgres_fdw CASCADE;

DROP VIEW pt.wrong, pt.shown;
SELECT profiles.uninstall();
DROP VIEW pt.triggers;
DROP EXTENSION profiles;
CREATE EXTENSION profiles;
DROP SCHEMA pt, pt2 CASCADE;
DROP ROLE pt_other;
