-- Upkeep: refresh, rebuild, what is held, kept, blocked and due, and the way out.
-- Each scenario ends with a refresh and the oracle.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA up;

-- nothing can be refreshed before there is a source
CALL profiles.refresh();
CALL profiles.rebuild('account');
SELECT count(*) FROM profiles.verify();

CREATE TABLE up.events (id int PRIMARY KEY, ts timestamptz, uid text, acc text, plan text);
CREATE TABLE up.other (id int PRIMARY KEY, at timestamptz, uid text, plan text, flag boolean);
SELECT profiles.add_source('up.events', mapping => '{"user_id": "uid", "account_id": "acc", "seen_at": "ts", "plan": "plan"}');

-- The oracle for what counts of both tables. What is kept is in up.past, which
-- the test fills itself.
CREATE TABLE up.past (kind text, key text, ts timestamptz, plan text);
CREATE TABLE up.refused (kind text, key text);
CREATE TABLE up.sources (name text);
INSERT INTO up.sources VALUES ('events');
-- all that follows under a publication of all tables, which asks how rows that go are told apart
ALTER TABLE up.past REPLICA IDENTITY FULL;
ALTER TABLE up.refused REPLICA IDENTITY FULL;
ALTER TABLE up.sources REPLICA IDENTITY FULL;
SET client_min_messages = error;
CREATE PUBLICATION up_tables FOR ALL TABLES;
SET client_min_messages = warning;
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'r' AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary);
CREATE VIEW up.counted AS
SELECT c.* FROM (
    SELECT 'user' AS kind, uid AS key, ts, plan FROM up.events WHERE 'events' IN (TABLE up.sources)
    UNION ALL SELECT 'account', acc, ts, plan FROM up.events WHERE 'events' IN (TABLE up.sources)
    UNION ALL SELECT 'user', uid, at, plan FROM up.other WHERE 'other' IN (TABLE up.sources)
    UNION ALL SELECT * FROM up.past) c
WHERE key IS NOT NULL AND isfinite(ts) AND ts <= now() + current_setting('profiles.future_tolerance')::interval
  AND (kind, key) NOT IN (TABLE up.refused);
CREATE VIEW up.oracle AS
SELECT kind, key, min(ts) AS first_seen, max(ts) AS last_seen,
       (array_agg(plan ORDER BY ts, plan COLLATE "C") FILTER (WHERE plan IS NOT NULL))[1] AS first_plan,
       (array_agg(plan ORDER BY ts DESC, plan COLLATE "C" DESC) FILTER (WHERE plan IS NOT NULL))[1] AS last_plan
FROM up.counted GROUP BY kind, key;
CREATE VIEW up.shown AS
SELECT 'user' AS kind, user_id AS key, first_seen, last_seen, first_plan, last_plan FROM profiles.users
UNION ALL SELECT 'account', account_id, first_seen, last_seen, first_plan, last_plan FROM profiles.accounts;
CREATE VIEW up.wrong AS
SELECT 'verify user' AS oracle, key FROM profiles.verify('user')
UNION ALL SELECT 'verify account', key FROM profiles.verify('account')
UNION ALL SELECT 'missing ' || kind, key FROM (TABLE up.oracle EXCEPT ALL TABLE up.shown) m
UNION ALL SELECT 'superfluous ' || kind, key FROM (TABLE up.shown EXCEPT ALL TABLE up.oracle) m;
CREATE VIEW up.status AS
SELECT source, kind, pending, lag IS NOT NULL AND lag >= interval '0' AS has_lag, rebuild_due, folded, left_out, examples
FROM profiles.status ORDER BY source, kind;
CREATE VIEW up.pending AS
SELECT 'user' AS kind, key, profile IS NOT NULL AS has_profile, split_part(left_out, ' ', 1) AS left_out, events FROM profiles.user_pending
UNION ALL
SELECT 'account', key, profile IS NOT NULL, split_part(left_out, ' ', 1), events FROM profiles.account_pending
UNION ALL
SELECT 'user', u.key, true, NULL, u.events FROM profiles.user_packed p, profiles._unpack(p.profiles) u
UNION ALL
SELECT 'account', u.key, true, NULL, u.events FROM profiles.account_packed p, profiles._unpack(p.profiles) u;
\set check 'CALL profiles.refresh(); SELECT * FROM up.wrong ORDER BY 1, 2;'

-- refresh of one kind, of an unknown one, with nothing to do, in a transaction block
INSERT INTO up.events VALUES (1, '2023-01-01Z', 'u1', 'a1', 'free'), (2, '2023-01-02Z', 'u2', 'a1', 'pro');
CALL profiles.refresh('account');
SELECT kind, key FROM up.shown;
CALL profiles.refresh('user');
SELECT * FROM up.wrong;
CALL profiles.refresh('users');
CALL profiles.rebuild('');
CALL profiles.refresh();
CALL profiles.refresh();
SELECT * FROM up.wrong;
SET client_min_messages = notice;
INSERT INTO up.events VALUES (3, '2023-01-03Z', 'u3', 'a2', 'pro');
BEGIN;
INSERT INTO up.events VALUES (4, '2023-01-04Z', 'u3', 'a2', 'max');
CALL profiles.refresh();
SELECT * FROM up.wrong;
ROLLBACK;
SELECT count(*) AS pending FROM up.pending;
BEGIN;
CALL profiles.rebuild('user');
COMMIT;
DO $$ BEGIN CALL profiles.refresh(); END $$;
CREATE FUNCTION up.call() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL profiles.refresh('user'); END $$;
SELECT up.call();
SET client_min_messages = warning;
SELECT * FROM up.wrong;

-- counts: pending and lag appear, what is left out is counted at once, folded when merged
INSERT INTO up.events VALUES
    (10, '2023-02-01Z', 'c1', 'a1', 'x'), (11, '2023-02-02Z', 'c1', NULL, 'y'), (12, NULL, 'c2', 'a1', 'x'),
    (13, 'infinity', 'c3', 'a1', 'x'), (14, now() + interval '30 days', 'c4', 'a1', 'x'), (15, '2023-02-03Z', NULL, 'a1', 'x');
TABLE up.status;
CALL profiles.refresh();
TABLE up.status;
CALL profiles.rebuild();
TABLE up.status;
SELECT * FROM up.wrong;
-- an update and a delete leave marks; counts are brought in line by a rebuild
UPDATE up.events SET plan = 'z' WHERE id = 10;
DELETE FROM up.events WHERE id = 12;
SELECT kind, pending, has_lag FROM up.status;
:check
CALL profiles.rebuild();
TABLE up.status;
SELECT kind, phase, percent, started_at IS NOT NULL AS started FROM profiles.progress ORDER BY kind;
SELECT kind, last_refresh <= now() AND last_rebuild <= last_refresh AS in_order FROM profiles.status ORDER BY kind;

-- refresh from a time on: with no capture; overlap is harmless, future events are held once
SELECT profiles.alter_source('up.events', capture => 'none');
INSERT INTO up.events VALUES (20, '2023-03-01Z', 'n1', 'a3', 'a'), (21, '2023-03-02Z', 'n1', 'a3', 'b'), (22, '2023-03-03Z', 'n2', NULL, 'c'),
    (23, now() + interval '20 days', 'n1', 'a3', 'd');
CALL profiles.refresh(since => '2023-03-02Z');
SELECT key, first_plan, last_plan FROM up.shown WHERE kind = 'user' AND key LIKE 'n%' ORDER BY key;
CALL profiles.refresh(since => '2023-03-01Z');
CALL profiles.refresh(since => '2023-03-01Z');
CALL profiles.refresh('user', '-infinity');
SELECT kind, key, left_out, count(*) FROM up.pending WHERE key = 'n1' OR key = 'a3' GROUP BY 1, 2, 3 ORDER BY 1;
SELECT * FROM up.wrong;
CALL profiles.refresh(since => NULL);
CALL profiles.refresh(since => 'infinity');
SELECT * FROM up.wrong;
SELECT profiles.alter_source('up.events', capture => 'deferred');
:check

-- held events are folded when they are due
DELETE FROM up.events WHERE id IN (14, 23);
:check
SELECT count(*) AS held FROM up.pending;
INSERT INTO up.events VALUES (30, now() + interval '10 days', 'h1', 'ah', 'ten'), (31, now() + interval '20 days', 'h1', 'ah', 'twenty'),
    (32, now() + interval '20 days', 'h2', NULL, 'twenty'), (33, '2023-04-01Z', 'h1', NULL, 'now');
:check
SELECT left_out FROM up.status;
SELECT kind, key, left_out, events FROM up.pending ORDER BY kind, key, events;
SET profiles.future_tolerance = '15d';
:check
SELECT last_plan FROM profiles.users WHERE user_id = 'h1';
CALL profiles.rebuild();
SELECT * FROM up.wrong;
SELECT kind, key, left_out, events FROM up.pending ORDER BY kind, key;
SET profiles.future_tolerance = '25d';
SELECT count(*) AS due FROM profiles.verify('user');
:check
SELECT user_id, last_plan FROM profiles.users WHERE user_id LIKE 'h%' ORDER BY 1;
SELECT count(*) AS held FROM up.pending;
RESET profiles.future_tolerance;
-- not due any more: only a rebuild holds them again
CALL profiles.rebuild();
SELECT * FROM up.wrong;
-- updated, moved, made due and deleted while held; no duplicates after rebuilds
UPDATE up.events SET plan = 'thirty' WHERE id = 31;
UPDATE up.events SET uid = 'h3' WHERE id = 32;
:check
CALL profiles.rebuild();
CALL profiles.rebuild();
SELECT kind, key, left_out, events FROM up.pending ORDER BY kind, key, events;
UPDATE up.events SET ts = '2023-04-02Z' WHERE id = 30;
:check
SELECT user_id, last_plan FROM profiles.users WHERE user_id = 'h1';
UPDATE up.events SET ts = now() + interval '20 days' WHERE id = 33;
:check
DELETE FROM up.events WHERE id = 32;
:check
SELECT kind, key, left_out, events FROM up.pending ORDER BY kind, key, events;
SET profiles.future_tolerance = '25d';
:check
SELECT user_id, last_plan FROM profiles.users WHERE user_id LIKE 'h%' ORDER BY 1;
RESET profiles.future_tolerance;
DELETE FROM up.events WHERE ts > now();
:check
SELECT count(*) AS held FROM up.pending;
-- a subject of held events only, deleted before they are due
INSERT INTO up.events VALUES (34, now() + interval '10 days', 'h4', NULL, 'ten');
CALL profiles.refresh();
DELETE FROM up.events WHERE id = 34;
SET profiles.future_tolerance = '15d';
:check
RESET profiles.future_tolerance;

-- several sources feed a kind; a user in both; one is dropped
SELECT profiles.add_source('up.other', mapping => '{"user_id": "uid", "seen_at": "at", "plan": "plan"}', filter => 'flag IS NOT FALSE');
INSERT INTO up.sources VALUES ('other');
INSERT INTO up.other VALUES (1, '2022-01-01Z', 'u1', 'older'), (2, '2024-01-01Z', 'u2', 'newer'), (3, '2022-01-01Z', 'o1', 'only');
:check
SELECT user_id, first_plan, last_plan FROM profiles.users WHERE user_id IN ('u1', 'u2', 'o1') ORDER BY 1;
-- a change in one leaves what the other says
DELETE FROM up.other WHERE id = 1;
UPDATE up.events SET uid = 'u9' WHERE id = 2;
:check
INSERT INTO up.other VALUES (4, '2022-01-01Z', 'u1', 'out', false);
DELETE FROM up.other WHERE id = 4;
:check
TRUNCATE up.other;
INSERT INTO up.other VALUES (1, '2022-01-01Z', 'u1', 'older'), (2, '2024-01-01Z', 'u2', 'newer'), (3, '2022-01-01Z', 'o1', 'only');
:check
INSERT INTO up.other VALUES (5, '2022-06-01Z', 'o2', 'pending');
DELETE FROM up.other WHERE id = 3;
SELECT profiles.drop_source('up.other');
DELETE FROM up.sources WHERE name = 'other';
SELECT kind, reason FROM profiles.due ORDER BY kind;
SELECT count(*) AS pending FROM up.pending;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'up.other'::regclass;
:check
SELECT count(*) AS events FROM up.other;

-- a mapping changes with rows pending that were captured under the old one
INSERT INTO up.events VALUES (40, '2023-05-01Z', 'm1', 'am', 'a'), (41, '2023-05-02Z', 'm2', 'am', 'b');
DELETE FROM up.events WHERE id = 1;
SELECT profiles.alter_source('up.events', mapping => '{"user_id": "''x'' || uid"}');
SELECT count(*) AS pending FROM up.pending;
INSERT INTO up.events VALUES (42, '2023-05-03Z', 'm1', 'am', 'c');
CALL profiles.refresh();
SELECT * FROM profiles.verify('user') UNION ALL SELECT * FROM profiles.verify('account');
SELECT user_id, first_plan, last_plan FROM profiles.users WHERE user_id LIKE '%m%' ORDER BY 1;
SELECT profiles.alter_source('up.events', mapping => '{"user_id": "uid"}', filter => 'plan <> ''b''');
CALL profiles.refresh();
SELECT count(*) FROM profiles.verify();
SELECT count(*) AS m2 FROM profiles.users WHERE user_id = 'm2';
SELECT folded, left_out, examples FROM up.status;
SELECT profiles.alter_source('up.events', filter => 'true');
:check
-- an error changes nothing
INSERT INTO up.events VALUES (43, '2023-05-04Z', 'm1', 'am', 'd');
SELECT profiles.alter_source('up.events', mapping => '{"user_id": "nothing"}');
SELECT count(*) AS pending FROM up.pending;
:check
-- not at a higher isolation
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT profiles.alter_source('up.events', mapping => '{"user_id": "''x'' || uid"}');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT profiles.drop_source('up.events');
ROLLBACK;
-- a kind that a source does not feed any more loses what it fed
SELECT profiles.alter_source('up.events', mapping => '{"account_id": null}');
SELECT kind, reason FROM profiles.due ORDER BY kind;
CALL profiles.refresh();
SELECT 'user' AS kind, key FROM profiles.verify('user') UNION ALL SELECT 'account', key FROM profiles.verify('account');
SELECT count(*) AS accounts FROM profiles.accounts;
INSERT INTO up.events VALUES (44, '2023-05-05Z', 'm1', 'am', 'e');
SELECT profiles.alter_source('up.events', mapping => '{"account_id": "acc"}');
SELECT kind, reason FROM profiles.due ORDER BY kind;
:check

-- forget: the profile, and what is pending and kept; events may bring it back
SET client_min_messages = notice;
INSERT INTO up.events VALUES (50, '2023-06-01Z', 'f1', 'af', 'a'), (51, '2023-06-02Z', 'f2', 'af', 'b');
CALL profiles.refresh();
INSERT INTO up.events VALUES (52, '2023-06-03Z', 'f1', 'af', 'c'), (53, now() + interval '10 days', 'f1', 'af', 'held');
SELECT profiles.forget('user', 'f1');
SET client_min_messages = warning;
SELECT count(*) AS pending FROM up.pending WHERE key = 'f1';
CALL profiles.refresh();
SELECT count(*) AS f1 FROM profiles.users WHERE user_id = 'f1';
SELECT key, stored IS NULL AS forgotten FROM profiles.verify('user');
CALL profiles.rebuild();
SELECT * FROM up.wrong;
SELECT count(*) AS f1 FROM profiles.users WHERE user_id = 'f1';
-- with block: later events are refused and counted, on every path
SELECT profiles.forget('user', 'f1', block => true);
INSERT INTO up.refused VALUES ('user', 'f1');
SELECT * FROM up.wrong;
INSERT INTO up.events VALUES (54, '2023-06-04Z', 'f1', 'af', 'd'), (55, '2023-06-04Z', 'f2', 'af', 'd');
:check
SELECT kind, left_out ->> 'blocked' AS blocked, left_out ->> 'future' AS future, examples FROM up.status;
UPDATE up.events SET plan = 'e' WHERE uid = 'f1';
:check
DELETE FROM up.events WHERE id = 54;
UPDATE up.events SET uid = 'f1' WHERE uid = 'f2';
:check
CALL profiles.rebuild();
SELECT * FROM up.wrong;
SELECT count(*) AS stored FROM up.pending WHERE key = 'f1';
SELECT examples FROM up.status WHERE kind = 'user';
INSERT INTO up.events VALUES (57, now() + interval '10 days', 'f1', 'af', 'held');
:check
SELECT count(*) AS stored FROM up.pending WHERE key = 'f1';
SELECT profiles.alter_source('up.events', capture => 'immediate');
INSERT INTO up.events VALUES (56, '2023-06-05Z', 'f1', 'af', 'f');
SELECT * FROM up.wrong;
SELECT profiles.alter_source('up.events', capture => 'deferred');
CALL profiles.refresh(since => '2023-01-01Z');
SELECT * FROM up.wrong;
SELECT count(*) AS f1 FROM profiles.users WHERE user_id = 'f1';
-- the held event of somebody blocked stays out when it is due
SET profiles.future_tolerance = '15d';
:check
RESET profiles.future_tolerance;
DELETE FROM up.events WHERE ts > now();
CALL profiles.rebuild();
SELECT * FROM up.wrong;
-- and back
SELECT profiles.unblock('user', 'f1');
DELETE FROM up.refused;
:check
SELECT first_plan, last_plan FROM profiles.users WHERE user_id = 'f1';
SELECT profiles.unblock('user', 'f1');
SELECT profiles.forget('user', NULL);
SELECT profiles.forget('team', 'x');
SET client_min_messages = error;
SELECT profiles.forget('user', 'nobody'), profiles.forget('user', 'nobody', true), profiles.forget('user', 'nobody', true);
SET client_min_messages = warning;
SELECT kind, key FROM profiles.blocked;
SELECT profiles.unblock('user', 'nobody');
:check
-- the key of a subject that is forgotten is in no example either
CREATE TABLE up.bad (uid text, at text);
SELECT profiles.add_source('up.bad', mapping => '{"user_id": "uid", "seen_at": "at"}');
CALL profiles.refresh();
INSERT INTO up.bad VALUES ('secret@x.example', 'nonsense');
SELECT examples FROM up.status WHERE source = 'up.bad' AND kind = 'user';
SET client_min_messages = error;
SELECT profiles.forget('user', 'secret@x.example');
SET client_min_messages = warning;
SELECT examples FROM up.status WHERE source = 'up.bad' AND kind = 'user';
CALL profiles.rebuild('user');
SELECT examples FROM up.status WHERE source = 'up.bad' AND kind = 'user';
SELECT profiles.forget('user', 'secret@x.example', true);
SELECT examples FROM up.status WHERE source = 'up.bad' AND kind = 'user';
SELECT profiles.unblock('user', 'secret@x.example');
SELECT profiles.drop_source('up.bad');
:check

-- on_change keep: what was seen stays
SELECT profiles.alter_source('up.events', on_change => 'keep');
CREATE FUNCTION up.remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO up.past SELECT 'user', OLD.uid, OLD.ts, OLD.plan UNION ALL SELECT 'account', OLD.acc, OLD.ts, OLD.plan;
    RETURN OLD;
END $$;
CREATE TRIGGER remember AFTER UPDATE OR DELETE ON up.events FOR EACH ROW EXECUTE FUNCTION up.remember();
TRUNCATE up.events, up.past;
CALL profiles.rebuild();
DELETE FROM profiles.kept;
CALL profiles.rebuild();
INSERT INTO up.events SELECT i, timestamptz '2023-07-01Z' + i * interval '1 hour', 'k' || i % 9, 'ak' || i % 4, 'p' || i % 6 FROM generate_series(1, 100) AS i;
:check
DELETE FROM up.events WHERE id <= 30;
SELECT kind, source, count(*) FROM profiles.kept GROUP BY 1, 2 ORDER BY 1;
:check
UPDATE up.events SET plan = 'changed' WHERE id BETWEEN 31 AND 40;
UPDATE up.events SET uid = 'k99' WHERE id BETWEEN 41 AND 50;
UPDATE up.events SET ts = ts - interval '1 year' WHERE id BETWEEN 51 AND 60;
:check
CALL profiles.rebuild();
SELECT * FROM up.wrong;
INSERT INTO up.past SELECT k.kind, k.key, e.ts, e.plan FROM up.events e, LATERAL (VALUES ('user', e.uid), ('account', e.acc)) AS k (kind, key);
TRUNCATE up.events;
:check
SELECT count(*) AS users, (SELECT count(*) FROM up.events) AS events FROM profiles.users;
SELECT count(*) AS due FROM profiles.due;
CALL profiles.rebuild();
SELECT * FROM up.wrong;
BEGIN;
INSERT INTO up.events VALUES (1, '2023-08-01Z', 'k1', 'ak1', 'same transaction');
INSERT INTO up.past VALUES ('user', 'k1', '2023-08-01Z', 'same transaction'), ('account', 'ak1', '2023-08-01Z', 'same transaction');
TRUNCATE up.events;
INSERT INTO up.events VALUES (2, '2023-08-02Z', 'k1', 'ak1', 'after');
COMMIT;
:check
CALL profiles.rebuild();
SELECT * FROM up.wrong;
-- what is held has not been seen: deleted or moved before it is due, it never was
INSERT INTO up.events VALUES (3, now() + interval '10 days', 'kh', NULL, 'held'), (4, now() + interval '10 days', 'kh', NULL, 'moved'), (5, now() + interval '10 days', 'kh', NULL, 'stays');
CALL profiles.refresh();
ALTER TABLE up.events DISABLE TRIGGER remember;
DELETE FROM up.events WHERE id = 3;
UPDATE up.events SET uid = 'ki' WHERE id = 4;
ALTER TABLE up.events ENABLE TRIGGER remember;
SET profiles.future_tolerance = '15d';
:check
CALL profiles.rebuild();
SELECT * FROM up.wrong;
RESET profiles.future_tolerance;
ALTER TABLE up.events DISABLE TRIGGER remember;
DELETE FROM up.events WHERE ts > now();
ALTER TABLE up.events ENABLE TRIGGER remember;
DELETE FROM profiles.kept WHERE key IN ('kh', 'ki');
CALL profiles.rebuild();
SELECT * FROM up.wrong;
-- kept rows of a subject are merged once there are many
INSERT INTO up.events SELECT 10000 + i, timestamptz '2023-09-01Z' + i * interval '1 minute', 'kc' || i % 20, NULL, 'p' || i FROM generate_series(1, 20000) AS i;
DO $$ BEGIN FOR i IN 10001..30000 BY 20 LOOP DELETE FROM up.events WHERE id BETWEEN i AND i + 19; END LOOP; END $$;
SELECT count(*) AS kept FROM profiles.kept WHERE key LIKE 'kc%';
:check
SELECT count(*) AS kept FROM profiles.kept WHERE key LIKE 'kc%';
CALL profiles.rebuild();
SELECT * FROM up.wrong;
-- to recompute: what is kept stays, later deletions count
SELECT profiles.alter_source('up.events', on_change => 'recompute');
DROP TRIGGER remember ON up.events;
DELETE FROM up.events WHERE id = 2;
:check
SELECT last_plan FROM profiles.users WHERE user_id = 'k1';
-- and back, with a deletion pending that was made under recompute
INSERT INTO up.events VALUES (6, '2023-10-01Z', 'k1', 'ak1', 'deleted'), (7, '2023-10-02Z', 'k1', 'ak1', 'kept');
CALL profiles.refresh();
DELETE FROM up.events WHERE id = 6;
SELECT profiles.alter_source('up.events', on_change => 'keep');
DELETE FROM up.events WHERE id = 7;
INSERT INTO up.past VALUES ('user', 'k1', '2023-10-02Z', 'kept'), ('account', 'ak1', '2023-10-02Z', 'kept');
:check
-- immediate and keep
SELECT profiles.alter_source('up.events', capture => 'immediate');
INSERT INTO up.events VALUES (8, '2023-10-03Z', 'k1', 'ak1', 'now'), (9, '2023-10-04Z', 'k2', NULL, 'then');
SELECT * FROM up.wrong;
UPDATE up.events SET plan = 'later', ts = ts + interval '1 day' WHERE id = 8;
DELETE FROM up.events WHERE id = 9;
INSERT INTO up.past VALUES ('user', 'k1', '2023-10-03Z', 'now'), ('account', 'ak1', '2023-10-03Z', 'now'), ('user', 'k2', '2023-10-04Z', 'then');
:check
-- none can't keep
SELECT profiles.alter_source('up.events', capture => 'none');
SELECT profiles.alter_source('up.events', capture => 'none', on_change => 'recompute');
SELECT profiles.alter_source('up.events', capture => 'deferred', on_change => 'keep');
:check
-- forget takes what is kept
SET client_min_messages = error;
SELECT profiles.forget('user', 'k2');
SET client_min_messages = warning;
DELETE FROM up.past WHERE key = 'k2';
SELECT count(*) AS kept FROM profiles.kept WHERE key = 'k2';
CALL profiles.rebuild();
SELECT * FROM up.wrong;
-- a rebuild under another mapping keeps what was kept under the old one
SELECT profiles.alter_source('up.events', mapping => '{"plan": "upper(plan)"}');
CALL profiles.refresh();
SELECT count(*) FROM profiles.verify();
SELECT first_plan, last_plan FROM profiles.users WHERE user_id = 'k1';
SELECT profiles.alter_source('up.events', mapping => '{"plan": "plan"}');
:check
-- drop_source takes it too
SELECT profiles.drop_source('up.events');
SELECT count(*) AS kept FROM profiles.kept;
CALL profiles.refresh();
SELECT count(*) AS users FROM profiles.users;

-- a rebuild that is interrupted: profiles are in their old or new state, and the next refresh completes it
CREATE TABLE up.switch (fails boolean);
ALTER TABLE up.switch REPLICA IDENTITY FULL;
INSERT INTO up.switch VALUES (false);
CREATE FUNCTION up.brittle(plan text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF (SELECT fails FROM up.switch) THEN
        RAISE query_canceled;
    END IF;
    RETURN plan;
END $$;
TRUNCATE up.events, up.past, up.other;
SELECT profiles.add_source('up.events', mapping => '{"user_id": "uid", "account_id": "acc", "seen_at": "ts", "plan": "plan"}');
SELECT profiles.add_source('up.other', mapping => '{"user_id": "uid", "seen_at": "at", "plan": "up.brittle(plan)"}');
INSERT INTO up.sources VALUES ('other');
INSERT INTO up.events SELECT i, timestamptz '2023-01-01Z' + i * interval '1 hour', 'r' || i % 50, 'ar' || i % 20, 'p' || i % 7 FROM generate_series(1, 500) AS i;
INSERT INTO up.other SELECT i, timestamptz '2023-01-05Z' + i * interval '1 hour', 'r' || i % 60, 'q' || i % 7 FROM generate_series(1, 500) AS i;
:check
-- the first source is folded and what was pending of it taken; then the second fails
DELETE FROM up.events WHERE id % 3 = 0;
INSERT INTO up.events VALUES (1001, '2024-01-01Z', 'r1', 'ar1', 'pending'), (1002, now() + interval '10 days', 'r1', 'ar1', 'held');
UPDATE up.switch SET fails = true;
CALL profiles.rebuild('user');
SELECT kind, phase, done, total FROM profiles.progress WHERE kind = 'user';
SELECT kind, reason FROM profiles.due ORDER BY 1;
SELECT to_regclass('profiles.user_staging') IS NOT NULL AS staged;
-- captured meanwhile; writers leave it alone
SET profiles.pending_limit = 0;
INSERT INTO up.events SELECT i, timestamptz '2024-02-01Z', 'w' || i, NULL, 'meanwhile' FROM generate_series(2001, 2100) AS i;
RESET profiles.pending_limit;
SELECT count(*) AS meanwhile FROM up.pending WHERE key LIKE 'w%';
CALL profiles.refresh('user');
UPDATE up.switch SET fails = false;
:check
SELECT kind, phase, percent FROM profiles.progress ORDER BY kind;
SELECT count(*) AS due FROM profiles.due;
SELECT to_regclass('profiles.user_staging') IS NOT NULL AS staged;
-- by a timeout
UPDATE up.events SET plan = 'before the timeout' WHERE id % 2 = 0;
CREATE OR REPLACE FUNCTION up.brittle(plan text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN plan; END $$;
SET statement_timeout = '300ms';
CALL profiles.rebuild('user');
RESET statement_timeout;
CREATE OR REPLACE FUNCTION up.brittle(plan text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN plan; END $$;
:check
-- while it writes: it goes on from there, and does not fold again
CREATE FUNCTION up.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no writing'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON profiles.user_profile FOR EACH STATEMENT EXECUTE FUNCTION up.refuse();
DELETE FROM up.events WHERE id % 5 = 0;
CALL profiles.rebuild('user');
SELECT phase FROM profiles.progress WHERE kind = 'user';
DROP TRIGGER refuse ON profiles.user_profile;
DELETE FROM up.events WHERE id % 7 = 0;
INSERT INTO up.events VALUES (3000, '2024-03-01Z', 'resumed', 'resumed', 'yes');
SET client_min_messages = notice;
CALL profiles.rebuild('user');
SET client_min_messages = warning;
SELECT phase FROM profiles.progress WHERE kind = 'user';
:check
-- forgotten meanwhile
CREATE TRIGGER refuse BEFORE INSERT ON profiles.user_profile FOR EACH STATEMENT EXECUTE FUNCTION up.refuse();
CALL profiles.rebuild('user');
DROP TRIGGER refuse ON profiles.user_profile;
SELECT profiles.forget('user', 'r2', block => true);
INSERT INTO up.refused VALUES ('user', 'r2');
:check
SELECT profiles.unblock('user', 'r2');
DELETE FROM up.refused;
:check
-- a source changes meanwhile: from the beginning
CREATE TRIGGER refuse BEFORE INSERT ON profiles.user_profile FOR EACH STATEMENT EXECUTE FUNCTION up.refuse();
CALL profiles.rebuild('user');
DROP TRIGGER refuse ON profiles.user_profile;
SELECT profiles.drop_source('up.other');
DELETE FROM up.sources WHERE name = 'other';
:check

-- leaving: events and the user's own triggers stay as they were
CREATE FUNCTION up.own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER own BEFORE INSERT ON up.events FOR EACH ROW EXECUTE FUNCTION up.own();
CREATE TRIGGER own_statement AFTER TRUNCATE ON up.events FOR EACH STATEMENT EXECUTE FUNCTION up.own();
CREATE TABLE up.before AS SELECT * FROM up.events;
CREATE VIEW up.triggers AS SELECT tgname FROM pg_trigger WHERE tgrelid = 'up.events'::regclass AND NOT tgisinternal ORDER BY 1;
TABLE up.triggers;
SELECT profiles.drop_source('up.events');
TABLE up.triggers;
SELECT profiles.add_source('up.events', mapping => '{"user_id": "uid", "account_id": "acc", "seen_at": "ts", "plan": "plan"}');
:check
-- DROP EXTENSION asks for CASCADE, or for uninstall()
DROP VIEW up.shown, up.status, up.pending CASCADE;
\set VERBOSITY terse
DROP EXTENSION profiles;
\set VERBOSITY default
SET client_min_messages = error;
DROP EXTENSION profiles CASCADE;
SET client_min_messages = warning;
TABLE up.triggers;
TABLE up.events EXCEPT ALL TABLE up.before;
TABLE up.before EXCEPT ALL TABLE up.events;
INSERT INTO up.events VALUES (5000, '2024-04-01Z', 'free', NULL, 'free');
-- it left its tables, without profiles; they are in the way of a new start
CREATE EXTENSION profiles;
SELECT profiles.add_source('up.events', mapping => '{"user_id": "uid", "seen_at": "ts", "plan": "plan"}');
DROP TABLE profiles.user_profile CASCADE;
DROP TABLE profiles.account_profile CASCADE;
SELECT profiles.add_source('up.events', mapping => '{"user_id": "uid", "seen_at": "ts", "plan": "plan"}');
CALL profiles.refresh();
SELECT count(*) FROM profiles.verify();
SELECT user_id, last_plan FROM profiles.users WHERE user_id IN ('free', 'resumed') ORDER BY 1;
SELECT profiles.uninstall();
TABLE up.triggers;
SELECT count(*) - 1 = (SELECT count(*) FROM up.before) AS intact FROM up.events;
DROP EXTENSION profiles;
CREATE EXTENSION profiles;
DROP PUBLICATION up_tables;
DROP SCHEMA up CASCADE;
