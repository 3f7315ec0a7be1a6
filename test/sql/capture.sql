-- Capture: what every way of changing events does to profiles. Each scenario
-- ends with a refresh and the oracle: verify(), and the same profiles from plain
-- SQL over the events.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA cap;

CREATE TABLE cap.events (
    id int PRIMARY KEY, ts timestamptz, uid text, acc text, sess text,
    name text, app text, country text, city text, plan text, amount numeric
);
SELECT profiles.add_source('cap.events', mapping => '{"user_id": "uid", "account_id": "acc", "seen_at": "ts", "session": "sess",
    "name": "name", "application": "app", "geo.country": "country", "geo.city": "city", "plan": "plan", "amount": "amount"}');

-- The oracle. Ties in time are broken as the documentation says.
CREATE VIEW cap.counted AS
SELECT k.kind, k.key, e.* FROM cap.events e, LATERAL (VALUES ('user', e.uid), ('account', e.acc)) AS k (kind, key)
WHERE k.key IS NOT NULL AND isfinite(e.ts) AND e.ts <= now() + interval '1 day';
CREATE VIEW cap.oracle AS
SELECT s.kind, s.key, s.first_seen, s.last_seen, n.name,
       fa.app AS first_app, la.app AS last_app, fp.plan AS first_plan, lp.plan AS last_plan,
       CASE WHEN coalesce(fg.sess = fs.sess, true) THEN fg.country END AS first_country,
       CASE WHEN coalesce(fg.sess = fs.sess, true) THEN fg.city END AS first_city,
       CASE WHEN coalesce(lg.sess = ls.sess, true) THEN lg.country END AS last_country,
       CASE WHEN coalesce(lg.sess = ls.sess, true) THEN lg.city END AS last_city
FROM (SELECT kind, key, min(ts) AS first_seen, max(ts) AS last_seen FROM cap.counted GROUP BY kind, key) s
LEFT JOIN LATERAL (SELECT name FROM cap.counted e WHERE (e.kind, e.key) = (s.kind, s.key) AND s.kind = 'user' AND name IS NOT NULL
                   ORDER BY ts DESC, name COLLATE "C" DESC LIMIT 1) n ON true
LEFT JOIN LATERAL (SELECT app FROM cap.counted e WHERE (e.kind, e.key) = (s.kind, s.key) AND app IS NOT NULL
                   ORDER BY ts, app COLLATE "C" LIMIT 1) fa ON true
LEFT JOIN LATERAL (SELECT app FROM cap.counted e WHERE (e.kind, e.key) = (s.kind, s.key) AND app IS NOT NULL
                   ORDER BY ts DESC, app COLLATE "C" DESC LIMIT 1) la ON true
LEFT JOIN LATERAL (SELECT plan FROM cap.counted e WHERE (e.kind, e.key) = (s.kind, s.key) AND plan IS NOT NULL
                   ORDER BY ts, plan COLLATE "C" LIMIT 1) fp ON true
LEFT JOIN LATERAL (SELECT plan FROM cap.counted e WHERE (e.kind, e.key) = (s.kind, s.key) AND plan IS NOT NULL
                   ORDER BY ts DESC, plan COLLATE "C" DESC LIMIT 1) lp ON true
LEFT JOIN LATERAL (SELECT sess FROM cap.counted e WHERE (e.kind, e.key) = (s.kind, s.key) AND sess IS NOT NULL
                   ORDER BY ts, sess COLLATE "C" LIMIT 1) fs ON true
LEFT JOIN LATERAL (SELECT sess FROM cap.counted e WHERE (e.kind, e.key) = (s.kind, s.key) AND sess IS NOT NULL
                   ORDER BY ts DESC, sess COLLATE "C" DESC LIMIT 1) ls ON true
LEFT JOIN LATERAL (SELECT country, city, sess FROM cap.counted e
                   WHERE (e.kind, e.key) = (s.kind, s.key) AND num_nonnulls(country, city) > 0
                   ORDER BY ts, num_nonnulls(country, city) DESC, city COLLATE "C" NULLS FIRST, country COLLATE "C" NULLS FIRST,
                            sess COLLATE "C" NULLS LAST LIMIT 1) fg ON true
LEFT JOIN LATERAL (SELECT country, city, sess FROM cap.counted e
                   WHERE (e.kind, e.key) = (s.kind, s.key) AND num_nonnulls(country, city) > 0
                   ORDER BY ts DESC, num_nonnulls(country, city) DESC, city COLLATE "C" DESC NULLS LAST, country COLLATE "C" DESC NULLS LAST,
                            sess COLLATE "C" DESC NULLS LAST LIMIT 1) lg ON true;
CREATE VIEW cap.shown AS
SELECT 'user' AS kind, user_id AS key, first_seen, last_seen, user_name AS name, first_seen_application AS first_app,
       last_seen_application AS last_app, first_plan, last_plan, first_seen_country AS first_country, first_city,
       last_seen_country AS last_country, last_city FROM profiles.users
UNION ALL
SELECT 'account', account_id, first_seen, last_seen, account_name, first_seen_application, last_seen_application,
       first_plan, last_plan, first_seen_country, first_city, last_seen_country, last_city FROM profiles.accounts;
CREATE VIEW cap.wrong AS
SELECT 'verify user' AS oracle, key FROM profiles.verify('user')
UNION ALL SELECT 'verify account', key FROM profiles.verify('account')
UNION ALL SELECT 'missing ' || kind, key FROM (TABLE cap.oracle EXCEPT ALL TABLE cap.shown) m
UNION ALL SELECT 'superfluous ' || kind, key FROM (TABLE cap.shown EXCEPT ALL TABLE cap.oracle) m;
CREATE VIEW cap.pending AS
SELECT 'user' AS kind, count(*) FILTER (WHERE profile IS NOT NULL) AS profiles,
       count(*) FILTER (WHERE profile IS NULL AND left_out IS NULL) AS marks, coalesce(sum(events), 0) AS events FROM profiles.user_pending
UNION ALL
SELECT 'account', count(*) FILTER (WHERE profile IS NOT NULL),
       count(*) FILTER (WHERE profile IS NULL AND left_out IS NULL), coalesce(sum(events), 0) FROM profiles.account_pending;
\set check 'CALL profiles.refresh(); SELECT * FROM cap.wrong ORDER BY 1, 2;'

-- the first refresh rebuilds; nothing is there yet
:check
TABLE cap.pending;

-- INSERT: one row, many, none, of a query; captured in the statement, shown after refresh
INSERT INTO cap.events VALUES (1, '2023-01-01 10:00Z', 'u1', 'a1', 's1', 'Ada', 'shop', 'GB', 'London', 'free', 1);
TABLE cap.pending;
SELECT count(*) AS users FROM profiles.users;
:check
SELECT user_id, user_name, first_city, last_plan, last_amount FROM profiles.users;
INSERT INTO cap.events VALUES
    (2, '2023-01-02 10:00Z', 'u1', 'a1', 's2', 'Ada L.', 'shop', 'FR', 'Paris', 'pro', 2),
    (3, '2023-01-02 11:00Z', 'u2', 'a1', 's3', 'Bob', NULL, 'DE', NULL, 'free', 3),
    (4, '2023-01-02 12:00Z', 'u2', NULL, NULL, NULL, 'app', NULL, 'Bonn', NULL, NULL),
    (5, NULL, 'u3', 'a2', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (6, '2023-01-03 12:00Z', NULL, 'a2', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (7, 'infinity', 'u3', 'a2', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
TABLE cap.pending;
:check
INSERT INTO cap.events SELECT * FROM cap.events WHERE false;
TABLE cap.pending;
INSERT INTO cap.events
SELECT 100 + i, timestamptz '2023-02-01Z' + i * interval '1 hour', 'u' || i % 7, 'a' || i % 3, 's' || i / 4,
       CASE WHEN i % 2 = 0 THEN 'N' || i % 5 END, CASE WHEN i % 3 = 0 THEN 'app' || i % 4 END,
       CASE WHEN i % 5 < 3 THEN (ARRAY['US', 'DE', 'FR'])[1 + i % 3] END, CASE WHEN i % 4 = 0 THEN 'C' || i % 6 END, 'p' || i % 2, i
FROM generate_series(1, 200) AS i;
:check
-- ties in time
INSERT INTO cap.events
SELECT 400 + i, '2023-03-01Z', 'u1', 'a1', CASE WHEN i % 3 > 0 THEN 's' || i END, 'T' || i * 7 % 5, 'app' || i * 3 % 7,
       CASE WHEN i % 2 = 0 THEN 'X' || i % 4 END, CASE WHEN i % 5 > 1 THEN 'Y' || i % 3 END, 'p' || i, i
FROM generate_series(1, 30) AS i;
:check

-- COPY
COPY cap.events FROM STDIN WITH (FORMAT csv);
501,2023-04-01 00:00Z,u1,a1,s501,,,,,gold,
502,2023-04-01 01:00Z,c1,a9,s501,Cid,,SE,,gold,9
\.
:check
COPY cap.events FROM STDIN WITH (FORMAT csv);
\.
TABLE cap.pending;

-- UPDATE: of values, to and from NULL, of the time, of the keys, of all rows
UPDATE cap.events SET city = 'Leeds', plan = NULL WHERE id = 1;
TABLE cap.pending;
:check
SELECT first_city, first_plan FROM profiles.users WHERE user_id = 'u1';
UPDATE cap.events SET ts = '2022-01-01 10:00Z' WHERE id = 2;
UPDATE cap.events SET ts = NULL WHERE id = 502;
UPDATE cap.events SET ts = '2022-01-02Z' WHERE id IN (5, 7);
:check
UPDATE cap.events SET uid = 'u9' WHERE id = 1;
UPDATE cap.events SET acc = 'a7' WHERE id = 2;
UPDATE cap.events SET uid = CASE uid WHEN 'u2' THEN 'u4' WHEN 'u4' THEN 'u2' END, acc = NULL WHERE uid IN ('u2', 'u4');
:check
UPDATE cap.events SET uid = NULL WHERE uid = 'u5';
UPDATE cap.events SET uid = 'u5' WHERE uid IS NULL AND id % 2 = 0;
:check
-- of what changes nothing, of no row, and of a column that is not mapped: no marks
ALTER TABLE cap.events ADD COLUMN note text;
UPDATE cap.events SET plan = plan, ts = ts;
TABLE cap.pending;
UPDATE cap.events SET plan = 'x' WHERE false;
UPDATE cap.events SET note = 'seen';
UPDATE cap.events SET uid = uid WHERE uid IS NULL;
TABLE cap.pending;
-- the subject that changed is marked, others are not
UPDATE cap.events SET plan = CASE WHEN id = 101 THEN 'changed' ELSE plan END;
TABLE cap.pending;
:check

-- DELETE: of the first event, of a subject's last event, of none
DELETE FROM cap.events WHERE id = 2;
DELETE FROM cap.events WHERE uid = 'u9';
DELETE FROM cap.events WHERE false;
TABLE cap.pending;
:check
SELECT count(*) AS u9 FROM profiles.users WHERE user_id = 'u9';

-- TRUNCATE, then inserts in the same transaction
BEGIN;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (600, '2023-05-01Z', 'before', 'lost');
TRUNCATE cap.events;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (1, '2023-05-02Z', 'u1', 'a1', 'new'), (2, '2023-05-03Z', 'u2', 'a2', 'new');
COMMIT;
SELECT kind, reason FROM profiles.due ORDER BY 1;
:check
SELECT user_id, last_plan FROM profiles.users ORDER BY 1;
SELECT count(*) AS due FROM profiles.due;
-- rolled back
BEGIN;
TRUNCATE cap.events;
INSERT INTO cap.events (id, ts, uid) VALUES (1, '2023-05-02Z', 'u3');
ROLLBACK;
SELECT count(*) AS due FROM profiles.due;
:check

-- ON CONFLICT
INSERT INTO cap.events (id, ts, uid, plan) VALUES (1, '2023-06-01Z', 'oc1', 'x'), (3, '2023-06-01Z', 'oc1', 'y') ON CONFLICT DO NOTHING;
TABLE cap.pending;
:check
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (1, '2023-06-02Z', 'oc2', 'a1', 'x'), (4, '2023-06-02Z', 'u1', 'a1', 'y')
ON CONFLICT (id) DO UPDATE SET uid = EXCLUDED.uid, ts = EXCLUDED.ts;
TABLE cap.pending;
:check
INSERT INTO cap.events (id, ts, uid) VALUES (1, '2023-06-03Z', 'oc3') ON CONFLICT (id) DO UPDATE SET uid = 'oc3' WHERE cap.events.plan = 'none';
TABLE cap.pending;

-- MERGE
MERGE INTO cap.events e USING (VALUES (1, 'm1'), (2, 'm2'), (3, 'm3'), (7, 'm7'), (8, 'm8')) AS n (id, uid) ON n.id = e.id
WHEN MATCHED AND e.id = 1 THEN DELETE
WHEN MATCHED AND e.id = 2 THEN UPDATE SET uid = n.uid, plan = 'merged'
WHEN MATCHED THEN DO NOTHING
WHEN NOT MATCHED THEN INSERT (id, ts, uid, acc, plan) VALUES (n.id, '2023-06-04Z', n.uid, 'a1', 'merged');
TABLE cap.pending;
:check

-- several modifications in one statement
WITH gone AS (DELETE FROM cap.events WHERE id = 2 RETURNING *),
     moved AS (INSERT INTO cap.events SELECT id + 1000, ts, uid, acc, sess, name, app, country, 'moved', plan FROM gone RETURNING id),
     changed AS (UPDATE cap.events SET uid = 'u1', city = 'changed' WHERE id IN (7, 8) RETURNING id)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM moved), (SELECT count(*) FROM changed);
:check

-- savepoints: only what is committed counts
BEGIN;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (20, '2023-07-01Z', 'sp1', 'a');
SAVEPOINT a;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (21, '2023-07-02Z', 'sp1', 'b');
DELETE FROM cap.events WHERE id = 20;
ROLLBACK TO a;
SAVEPOINT b;
UPDATE cap.events SET plan = 'c' WHERE id = 20;
RELEASE b;
SAVEPOINT c;
TRUNCATE cap.events;
ROLLBACK TO c;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (22, '2023-07-03Z', 'sp1', 'd');
COMMIT;
:check
SELECT first_plan, last_plan FROM profiles.users WHERE user_id = 'sp1';
BEGIN;
INSERT INTO cap.events (id, ts, uid) VALUES (23, '2023-07-03Z', 'sp2');
DELETE FROM cap.events WHERE id <= 22;
ROLLBACK;
TABLE cap.pending;
-- a statement that fails after its trigger has run
INSERT INTO cap.events (id, ts, uid) VALUES (24, '2023-07-03Z', 'sp2'), (24, '2023-07-03Z', 'sp2');
TABLE cap.pending;
DO $$
BEGIN
    FOR i IN 30..39 LOOP
        BEGIN
            INSERT INTO cap.events (id, ts, uid, plan) VALUES (i, timestamptz '2023-08-01Z' + i * interval '1 day', 'ex' || i % 2, 'p' || i);
            UPDATE cap.events SET plan = plan || '!' WHERE id = i;
            IF i % 3 = 0 THEN
                RAISE division_by_zero;
            END IF;
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END
$$;
:check
SELECT user_id, first_plan, last_plan FROM profiles.users WHERE user_id LIKE 'ex%' ORDER BY 1;

-- two-phase commit
BEGIN;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (40, '2023-08-01Z', 'pt1', 'prepared');
DELETE FROM cap.events WHERE id = 30;
PREPARE TRANSACTION 'cap_one';
BEGIN;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (41, '2023-08-01Z', 'pt2', 'prepared');
PREPARE TRANSACTION 'cap_two';
:check
COMMIT PREPARED 'cap_one';
ROLLBACK PREPARED 'cap_two';
:check
SELECT user_id, last_plan FROM profiles.users WHERE user_id LIKE 'pt%';

-- higher isolation
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (50, '2023-08-01Z', 'rr', 'a');
UPDATE cap.events SET plan = 'b' WHERE id = 50;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (51, '2023-08-02Z', 'rr', 'c');
DELETE FROM cap.events WHERE id = 40;
COMMIT;
:check
BEGIN ISOLATION LEVEL SERIALIZABLE;
TRUNCATE cap.events;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (1, '2023-08-02Z', 'u1', 'a1', 'd'), (2, '2023-08-03Z', 'u2', 'a2', 'e');
COMMIT;
:check

-- triggers of the user: rows are changed, left out, copied; statements write more events
CREATE FUNCTION cap.before_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.plan = 'skip' THEN
        RETURN NULL;
    END IF;
    NEW.uid := upper(NEW.uid);
    NEW.city := coalesce(NEW.city, 'Nowhere');
    RETURN NEW;
END $$;
CREATE FUNCTION cap.after_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id < 1010 THEN
        INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (NEW.id + 1, NEW.ts + interval '1 hour', NEW.uid, 'rec', 'r' || NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION cap.statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        UPDATE cap.events SET app = TG_WHEN || '-' || TG_OP WHERE id = 2;
        DELETE FROM cap.events WHERE id = 1;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_row BEFORE INSERT OR UPDATE ON cap.events FOR EACH ROW EXECUTE FUNCTION cap.before_row();
INSERT INTO cap.events (id, ts, uid, plan) VALUES (60, '2023-09-01Z', 'trg', 'a'), (61, '2023-09-02Z', 'trg', 'skip');
:check
SELECT user_id, last_plan, last_city FROM profiles.users WHERE user_id ILIKE 'trg';
CREATE TRIGGER zz_row AFTER INSERT ON cap.events FOR EACH ROW EXECUTE FUNCTION cap.after_row();
INSERT INTO cap.events (id, ts, uid, plan) VALUES (1000, '2023-09-01Z', 'rec', 'a');
SELECT count(*) AS recursive_events FROM cap.events WHERE id >= 1000;
:check
SELECT user_id, first_plan, last_plan FROM profiles.users WHERE user_id = 'REC';
CREATE TRIGGER aa_statement BEFORE INSERT OR UPDATE OR DELETE ON cap.events FOR EACH STATEMENT EXECUTE FUNCTION cap.statement();
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (2000, '2023-09-01Z', 'u2', 'a2', 'a');
:check
DROP TRIGGER aa_statement ON cap.events;
DROP TRIGGER zz_row ON cap.events;
CREATE TRIGGER zz_statement AFTER INSERT OR UPDATE OR DELETE ON cap.events FOR EACH STATEMENT EXECUTE FUNCTION cap.statement();
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (1, '2023-09-01Z', 'u1', 'a2', 'a'), (2001, '2023-09-01Z', 'u1', 'a2', 'a');
:check
UPDATE cap.events SET plan = 'stmt' WHERE id = 2001;
:check
SELECT last_seen_application FROM profiles.users WHERE user_id = 'U2';
-- one that takes the row back: it never was
CREATE FUNCTION cap.undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM cap.events WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER zzz_undo AFTER INSERT ON cap.events FOR EACH ROW WHEN (NEW.plan = 'undo') EXECUTE FUNCTION cap.undo();
INSERT INTO cap.events (id, ts, uid, plan) VALUES (3000, '2023-09-01Z', 'undone', 'undo');
:check
DROP TRIGGER a_row ON cap.events;
DROP TRIGGER zz_statement ON cap.events;
DROP TRIGGER zzz_undo ON cap.events;

-- immediate: shown at once; changes and what is held go to pending
SELECT profiles.alter_source('cap.events', capture => 'immediate');
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (70, '2023-10-01Z', 'im1', 'ai', 'now'), (71, '2023-10-02Z', 'im1', NULL, 'later');
SELECT * FROM cap.wrong;
TABLE cap.pending;
SELECT first_plan, last_plan FROM profiles.users WHERE user_id = 'im1';
UPDATE cap.events SET plan = 'changed' WHERE id = 70;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (72, NULL, 'im1', 'x'), (73, now() + interval '9 days', 'im1', 'future');
SELECT key, left_out ~ '^future ' AS future, left_out = 'no seen_at' AS no_time FROM profiles.user_pending ORDER BY left_out COLLATE "C" NULLS FIRST;
:check
DELETE FROM cap.events WHERE id = 73;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (1, '2023-10-03Z', 'im1', 'one') ON CONFLICT (id) DO UPDATE SET uid = 'im2';
:check
-- at higher isolation to pending: no serialization failure because of us
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (74, '2023-10-03Z', 'im1', 'rr');
TABLE cap.pending;
COMMIT;
:check
BEGIN;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (75, '2023-10-04Z', 'im3', 'rolled back');
ROLLBACK;
SELECT * FROM cap.wrong;
-- a statement that writes to two tables merges what the first one's trigger brings: in the order of keys, as any other
CREATE TABLE cap.beside (LIKE cap.events);
SELECT profiles.add_source('cap.beside', mapping => '{"user_id": "uid", "account_id": null, "seen_at": "ts", "plan": "plan"}', capture => 'immediate');
WITH first AS (INSERT INTO cap.events (id, ts, uid, plan) VALUES (76, '2023-10-05Z', 'im4', 'first'))
INSERT INTO cap.beside (id, ts, uid, plan) VALUES (77, '2023-10-05Z', 'im5', 'second');
SELECT (SELECT count(*) FROM profiles.user_profile WHERE key IN ('im4', 'im5')) AS merged, (SELECT count(*) FROM profiles.user_pending WHERE key IN ('im4', 'im5')) AS pending;
BEGIN;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (78, '2023-10-06Z', 'im6', 'first');
INSERT INTO cap.beside (id, ts, uid, plan) VALUES (79, '2023-10-06Z', 'im7', 'second');
SELECT (SELECT count(*) FROM profiles.user_profile WHERE key IN ('im6', 'im7')) AS merged, (SELECT count(*) FROM profiles.user_pending WHERE key IN ('im6', 'im7')) AS pending;
COMMIT;
CALL profiles.refresh();
SELECT count(*) FROM profiles.verify();
SELECT profiles.drop_source('cap.beside');
DROP TABLE cap.beside;
DELETE FROM cap.events WHERE id IN (76, 78);
CALL profiles.refresh();

-- none: only a refresh from a time on, or a rebuild, sees events
SELECT profiles.alter_source('cap.events', capture => 'none');
CALL profiles.refresh();
SELECT tgname FROM pg_trigger WHERE tgrelid = 'cap.events'::regclass;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (80, '2023-11-01Z', 'no1', 'x');
:check
CALL profiles.refresh(since => '2023-11-01Z');
SELECT * FROM cap.wrong;
DELETE FROM cap.events WHERE id = 80;
CALL profiles.refresh(since => '2023-11-01Z');
SELECT * FROM cap.wrong;
-- and back: what came meanwhile is folded by the next refresh
SELECT profiles.alter_source('cap.events', capture => 'deferred');
INSERT INTO cap.events (id, ts, uid, plan) VALUES (81, '2023-11-02Z', 'no2', 'y');
:check
SELECT profiles.alter_source('cap.events', capture => 'deferred');

-- a writer without any rights on the extension
CREATE ROLE regress_cap_writer;
GRANT USAGE ON SCHEMA cap TO regress_cap_writer;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON cap.events TO regress_cap_writer;
-- how much is pending is judged by the table's size, with which vacuum would interfere
ALTER TABLE profiles.user_pending SET (autovacuum_enabled = off);
ALTER TABLE profiles.account_pending SET (autovacuum_enabled = off);
REVOKE USAGE ON SCHEMA profiles FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION profiles.capture() FROM PUBLIC;
SET ROLE regress_cap_writer;
SELECT count(*) FROM profiles.user_pending;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (90, '2023-12-01Z', 'w1', 'wa', 'a'), (91, '2023-12-02Z', 'w2', 'wa', 'b');
UPDATE cap.events SET plan = 'c' WHERE id = 90;
DELETE FROM cap.events WHERE id = 91;
SET profiles.pending_limit = 0;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (92, '2023-12-03Z', 'w3', 'wa', 'd');
RESET profiles.pending_limit;
SELECT current_user = 'regress_cap_writer' AS still_the_writer;
RESET ROLE;
:check
SET client_min_messages = error;
SELECT profiles.alter_source('cap.events', capture => 'immediate');
SET client_min_messages = warning;
SET ROLE regress_cap_writer;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (93, '2023-12-04Z', 'w3', 'wa', 'e');
RESET ROLE;
SELECT * FROM cap.wrong;
SELECT profiles.alter_source('cap.events', capture => 'deferred');
SET ROLE regress_cap_writer;
TRUNCATE cap.events;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (93, '2023-12-04Z', 'w3', 'wa', 'e');
RESET ROLE;
:check
GRANT USAGE ON SCHEMA profiles TO PUBLIC;
GRANT EXECUTE ON FUNCTION profiles.capture() TO PUBLIC;

-- the writer's settings don't matter
CREATE TABLE cap.typed (id int PRIMARY KEY, uid text, at text, d timestamp, price money, took interval, raw bytea, ratio float8);
SELECT profiles.add_source('cap.typed', mapping => '{"user_id": "lower(uid)", "seen_at": "at", "when": "d", "price": "price",
    "took": "took", "raw": "raw", "ratio": "ratio"}');
CALL profiles.refresh();
INSERT INTO cap.typed VALUES (1, 'SET1', '2023-01-02 03:04:05', '2023-03-04 05:06:07', 1234.5::numeric::money, '1 day 02:03:04', '\x00ff', 1/3.0::float8);
CREATE SCHEMA evil;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'evil' $$;
CREATE FUNCTION evil.concat_op(profiles.profile, profiles.profile) RETURNS profiles.profile LANGUAGE sql IMMUTABLE AS $$ SELECT NULL::profiles.profile $$;
CREATE OPERATOR evil.|| (LEFTARG = profiles.profile, RIGHTARG = profiles.profile, FUNCTION = evil.concat_op);
CREATE FUNCTION evil.count_none(text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT 0::bigint $$;
CREATE TABLE evil.user_pending (x int);
CREATE TEMP TABLE profiles_new_rows (x int);
SET search_path = evil, cap, profiles, pg_catalog;
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -5;
SET bytea_output = 'escape';
SET quote_all_identifiers = on;
SET default_transaction_read_only = off;
SET enable_hashagg = off;
SET row_security = off;
INSERT INTO typed VALUES (2, 'SET2', '2023-01-02 03:04:05', '2023-03-04 05:06:07', 1234.5::pg_catalog.numeric::money, '1 02:03:04', '\x00ff', 1/3.0::float8);
UPDATE typed SET uid = 'Set2' WHERE id = 2;
SELECT pg_catalog.current_setting('TimeZone') AS unchanged, pg_catalog.current_setting('search_path');
RESET ALL;
SET client_min_messages = warning;
SELECT count(*) AS pending, count(DISTINCT profile) AS different FROM profiles.user_pending WHERE profile IS NOT NULL;
CALL profiles.refresh();
SELECT key FROM profiles.verify();
SELECT count(*) AS users, count(DISTINCT profile) AS different, min(last_seen AT TIME ZONE 'UTC') AS last_seen, min(last_when) AS "when", min(last_price) AS price, min(last_took) AS took, min(last_raw) AS raw
FROM profiles.user_profile WHERE key LIKE 'set%';
DROP TABLE profiles_new_rows;
DROP SCHEMA evil CASCADE;
SELECT profiles.drop_source('cap.typed');
:check

-- triggers that don't fire as a replica: verify says so, rebuild mends it
SET session_replication_role = replica;
INSERT INTO cap.events (id, ts, uid, plan) VALUES (100, '2023-12-05Z', 'rep', 'x');
RESET session_replication_role;
TABLE cap.pending;
:check
CALL profiles.rebuild();
SELECT * FROM cap.wrong;

-- columns come, go and change between statements of a session
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (110, '2023-12-06Z', 'col', 'a1', 'p110');
ALTER TABLE cap.events DROP COLUMN note;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (111, '2023-12-07Z', 'col', 'a1', 'p111');
UPDATE cap.events SET plan = 'p110!' WHERE id = 110;
:check
ALTER TABLE cap.events ADD COLUMN note2 int DEFAULT 7;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (112, '2023-12-08Z', 'col', 'a1', 'p112');
:check
ALTER TABLE cap.events RENAME COLUMN country TO land;
ALTER TABLE cap.events RENAME TO happenings;
INSERT INTO cap.happenings (id, ts, uid, acc, plan, land) VALUES (113, '2023-12-09Z', 'col', 'a1', 'p113', 'NO');
DELETE FROM cap.happenings WHERE id = 112;
:check
SELECT last_seen_country FROM profiles.users WHERE user_id = 'col';
ALTER TABLE cap.happenings RENAME TO events;
ALTER TABLE cap.events RENAME COLUMN land TO country;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (114, '2023-12-10Z', 'col', 'a1', 'p114');
:check
BEGIN;
ALTER TABLE cap.events ADD COLUMN note3 text, DROP COLUMN note2;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (115, '2023-12-11Z', 'col', 'a1', 'p115');
ROLLBACK;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (116, '2023-12-12Z', 'col', 'a1', 'p116');
:check
-- a column that the mapping uses can't be dropped, nor its type changed
\set VERBOSITY terse
ALTER TABLE cap.events DROP COLUMN plan;
ALTER TABLE cap.events ALTER COLUMN plan TYPE varchar(10);
\set VERBOSITY default

-- names that need quotes, and rows as a whole
CREATE TABLE cap."Odd ""Events" ("user" text, "select" timestamptz, "Key; --" text, "profiles_new_events" int);
CREATE FUNCTION cap.describe(e cap."Odd ""Events") RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT e."user" || '/' || e."profiles_new_events" $$;
SELECT profiles.add_source('cap."Odd ""Events"', mapping => '{"user_id": "\"user\"", "seen_at": "\"select\"", "odd": "\"Key; --\"",
    "width": "\"profiles_new_events\"", "row": "to_jsonb(\"Odd \"\"Events\") ->> ''user''", "described": "cap.describe(\"Odd \"\"Events\")"}');
CALL profiles.refresh();
INSERT INTO cap."Odd ""Events" VALUES ('odd', '2023-01-01Z', 'k', 3), ('odd', '2023-01-02Z', 'l', 4);
UPDATE cap."Odd ""Events" SET "Key; --" = 'm' WHERE "profiles_new_events" = 4;
CALL profiles.refresh();
SELECT key FROM profiles.verify();
SELECT first_odd, last_odd, last_row, first_described, last_described FROM profiles.users WHERE user_id = 'odd';
SELECT profiles.drop_source('cap."Odd ""Events"');
DROP TABLE cap."Odd ""Events" CASCADE;
:check

-- expressions that fail: rows are left out one by one, the statement succeeds
CREATE TABLE cap.dirty (id int PRIMARY KEY, uid text, at text, n int, tag text);
CREATE VIEW cap.dirty_good AS
SELECT uid, CASE WHEN at ~ '^\d' THEN at::timestamp AT TIME ZONE 'UTC' END AS at, n FROM cap.dirty WHERE at ~ '^\d' AND n <> 0 AND tag IS DISTINCT FROM 'bad';
CREATE FUNCTION cap.tag(tag text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN IF tag = 'bad' THEN RAISE 'no such tag' USING ERRCODE = '22ABC'; END IF; RETURN tag; END $$;
SELECT profiles.add_source('cap.dirty', mapping => '{"user_id": "uid", "seen_at": "at", "rate": "100 / n", "tag": "cap.tag(tag)"}');
CALL profiles.refresh();
CREATE VIEW cap.dirty_wrong AS
SELECT 'verify' AS oracle, key FROM profiles.verify('user')
UNION ALL
SELECT 'differs', coalesce(g.uid, u.user_id)
FROM (SELECT uid, min(at) AS first_seen, max(at) AS last_seen FROM cap.dirty_good GROUP BY uid) g
FULL JOIN (SELECT * FROM profiles.users WHERE user_id LIKE 'd%') u ON u.user_id = g.uid
WHERE u.user_id IS NULL OR g.uid IS NULL OR (g.first_seen, g.last_seen) <> (u.first_seen, u.last_seen);
\set check_dirty 'CALL profiles.refresh(); SELECT * FROM cap.dirty_wrong ORDER BY 1, 2; SELECT folded, left_out, examples FROM profiles.status WHERE source = \'cap.dirty\' AND kind = \'user\';'
INSERT INTO cap.dirty VALUES (1, 'd1', '2023-01-01', 1, NULL), (2, 'd2', 'nonsense', 1, NULL), (3, 'd3', '2023-01-03', 0, NULL),
    (4, 'd4', '2023-01-04', 2, 'bad'), (5, 'd5', '2023-01-05', 2, 'good');
:check_dirty
INSERT INTO cap.dirty VALUES (6, 'd6', 'nonsense', 1, NULL);
INSERT INTO cap.dirty
SELECT i, 'd' || i % 11, CASE WHEN i % 500 = 3 THEN 'bad ' || i ELSE to_char(timestamp '2023-03-01' + i * interval '1 minute', 'YYYY-MM-DD HH24:MI') END, i % 700, 't' || i % 5
FROM generate_series(1001, 3500) AS i;
:check_dirty
-- rows become bad, good, or stay bad; bad ones are deleted
UPDATE cap.dirty SET at = 'worse' WHERE id = 1;
:check_dirty
UPDATE cap.dirty SET at = '2023-01-02' WHERE id IN (1, 2);
UPDATE cap.dirty SET n = 0 WHERE id = 4;
:check_dirty
DELETE FROM cap.dirty WHERE id IN (3, 4, 6);
DELETE FROM cap.dirty WHERE id = 5;
:check_dirty
-- the counts are those of the last rebuild and of what came since
CALL profiles.rebuild('user');
SELECT folded, left_out, examples FROM profiles.status WHERE source = 'cap.dirty' AND kind = 'user';
SELECT * FROM cap.dirty_wrong;
-- a key that fails has no example
SELECT profiles.alter_source('cap.dirty', mapping => '{"user_id": "uid || 1 / n", "rate": "n"}');
CALL profiles.refresh();
INSERT INTO cap.dirty VALUES (7, 'd7', '2023-01-01', 0, NULL);
CALL profiles.refresh();
SELECT key FROM profiles.verify();
SELECT left_out -> 'error 22012' AS failed, examples FROM profiles.status WHERE source = 'cap.dirty' AND kind = 'user';
SELECT profiles.alter_source('cap.dirty', mapping => '{"user_id": "uid", "rate": "100 / n"}');
:check_dirty
-- immediate too
SELECT profiles.alter_source('cap.dirty', capture => 'immediate');
INSERT INTO cap.dirty VALUES (8, 'd8', 'bad', 1, NULL), (9, 'd9', '2023-01-01', 3, NULL);
SELECT * FROM cap.dirty_wrong;
:check_dirty
SELECT profiles.alter_source('cap.dirty', capture => 'deferred');
CALL profiles.refresh();

-- a function of the mapping changes: later events have its new values, and a
-- rebuild brings earlier ones in line
CREATE OR REPLACE FUNCTION cap.tag(tag text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN upper(tag); END $$;
INSERT INTO cap.dirty VALUES (10, 'd10', '2023-01-01', 3, 'new');
CALL profiles.refresh('user');
SELECT last_tag FROM profiles.users WHERE user_id = 'd10';
CALL profiles.rebuild('user');
SELECT key FROM profiles.verify();
-- errors that are not about data are the writer's to see
CREATE OR REPLACE FUNCTION cap.tag(tag text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (SELECT x FROM cap.nothing); END $$;
INSERT INTO cap.dirty VALUES (11, 'd11', '2023-01-01', 3, 'lost');
SELECT count(*) AS not_written FROM cap.dirty WHERE id = 11;
CREATE OR REPLACE FUNCTION cap.tag(tag text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN tag; END $$;
INSERT INTO cap.dirty VALUES (11, 'd11', '2023-01-01', 3, 'found');
CALL profiles.rebuild('user');
SELECT key FROM profiles.verify();
-- the mapping's functions can't be dropped but with the source's definition
\set VERBOSITY terse
DROP FUNCTION cap.tag(text);
\set VERBOSITY default
DROP FUNCTION cap.tag(text) CASCADE;
INSERT INTO cap.dirty VALUES (12, 'd12', '2023-01-01', 3, 'not captured');
SELECT source, kind, rebuild_due FROM profiles.status WHERE source = 'cap.dirty';
CALL profiles.refresh('user');
SELECT profiles.drop_source('cap.dirty');
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid = 'cap.dirty'::regclass;
:check
DROP TABLE cap.dirty CASCADE;

-- whatever SQLSTATE the input of a type or a function of the user has for a row
CREATE TABLE cap.thrown (uid text, at timestamptz, kind text, value text);
CREATE FUNCTION cap.throw(state text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RAISE 'thrown' USING ERRCODE = state; END $$;
SELECT profiles.add_source('cap.thrown', mapping => $$ {"user_id": "uid", "seen_at": "at", "value": "CASE kind WHEN 'tsquery' THEN value::tsquery::text WHEN 'jsonpath' THEN jsonb_path_query_first('{\"a\": 1}', value::jsonpath)::text WHEN 'throw' THEN cap.throw(value) ELSE value END"} $$);
CALL profiles.refresh();
\set check_thrown 'SELECT user_id, last_seen, last_value FROM profiles.users WHERE user_id ~ \'^t[0-9]\' ORDER BY 1; SELECT folded, left_out, examples, error FROM profiles.status WHERE source = \'cap.thrown\' AND kind = \'user\'; SELECT key FROM profiles.verify();'
INSERT INTO cap.thrown VALUES ('t1', '2023-01-01', 'tsquery', 'a & b'), ('t1', '2023-01-02', 'tsquery', 'a b'), ('t2', '2023-01-01', 'jsonpath', '$.a'),
    ('t2', '2023-01-02', 'jsonpath', '$.'), ('t3', '2023-01-01', 'text', 'a'), ('t3', '2023-01-02', 'throw', 'ZZ001'), ('t3', '2023-01-03', 'throw', '45000'),
    ('t3', '2023-01-04', 'throw', 'U0001'), ('t3', '2023-01-05', 'throw', 'XX000'), ('t3', '2023-01-06', 'throw', '55000'), ('t4', '2023-01-01', 'throw', 'P0001');
CALL profiles.refresh('user');
:check_thrown
UPDATE cap.thrown SET at = at + interval '1 day';
CALL profiles.refresh('user');
SELECT key FROM profiles.verify();
CALL profiles.rebuild('user');
:check_thrown
-- but those of the source, the server or the transaction
DO $$
DECLARE
    state text;
BEGIN
    FOREACH state IN ARRAY ARRAY['08006', '22012', '25006', '28000', '3D000', '3F000', '40001', '40P01', '42501', '42601', '42622', '42703', '42704', '42883', '42P01',
                                 '53200', '54001', '55000', '55P03', '57014', '58030', 'HV000', 'XX000', 'XX001', 'XX002', 'ZZ001'] LOOP
        BEGIN
            INSERT INTO cap.thrown VALUES ('t5', '2023-01-01', 'throw', state);
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            IF sqlstate <> state THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END
$$;
CALL profiles.refresh('user');
SELECT left_out FROM profiles.status WHERE source = 'cap.thrown' AND kind = 'user';
SELECT profiles.drop_source('cap.thrown');
DROP TABLE cap.thrown;
CALL profiles.refresh();
:check

-- views and foreign tables can't be captured: a notice says so
SET client_min_messages = notice;
CREATE VIEW cap.seen AS SELECT 'v' || id AS user_id, ts FROM cap.events;
SELECT profiles.add_source('cap.seen', capture => 'immediate', on_change => 'keep');
SELECT capture, on_change FROM profiles.sources WHERE source = 'cap.seen';
SELECT profiles.drop_source('cap.seen');
CREATE EXTENSION file_fdw;
CREATE SERVER cap_files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE cap.far (user_id text, ts timestamptz) SERVER cap_files OPTIONS (program 'echo far,2023-03-06T00:00:00Z', format 'csv');
SELECT profiles.add_source('cap.far');
SELECT capture FROM profiles.sources WHERE source = 'cap.far';
SELECT profiles.drop_source('cap.far');
SET client_min_messages = warning;
DROP EXTENSION file_fdw CASCADE;
DROP VIEW cap.seen;
:check

-- the trigger function on a table that is no source does nothing
CREATE ROLE regress_cap_other;
GRANT CREATE ON SCHEMA cap TO regress_cap_writer;
SELECT id AS source_id FROM profiles.source_config WHERE source = 'cap.events' \gset
SET ROLE regress_cap_writer;
CREATE TABLE cap.theirs (LIKE cap.events);
CREATE TRIGGER t1 AFTER INSERT ON cap.theirs REFERENCING NEW TABLE AS profiles_new_events FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(:source_id, 'deferred', 'recompute');
CREATE TRIGGER t2 BEFORE TRUNCATE ON cap.theirs FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(:source_id, 'immediate', 'keep');
CREATE TRIGGER t3 AFTER INSERT ON cap.theirs REFERENCING NEW TABLE AS profiles_new_events FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(999999, 'deferred', 'recompute');
INSERT INTO cap.theirs (id, ts, uid) VALUES (1, '2023-01-01Z', 'intruder');
TRUNCATE cap.theirs;
-- used as what it is not
CREATE TRIGGER t4 AFTER INSERT ON cap.theirs FOR EACH ROW EXECUTE FUNCTION profiles.capture(999999, 'deferred', 'recompute');
INSERT INTO cap.theirs (id) VALUES (1);
DROP TRIGGER t4 ON cap.theirs;
CREATE TRIGGER t5 AFTER INSERT ON cap.theirs FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture();
INSERT INTO cap.theirs (id) VALUES (1);
SELECT profiles.capture();
DROP TABLE cap.theirs;
RESET ROLE;
TABLE cap.pending;
SELECT count(*) AS kept FROM profiles.kept;
:check
-- on the source's own table, by hand: refused unless it is like ours, and then harmless
CREATE FUNCTION cap.try_trigger(definition text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'CREATE TRIGGER by_hand ' || definition;
    EXECUTE statement;
    RAISE 'captured';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;
SELECT t.n, cap.try_trigger(format('%s ON cap.events %s FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(%s, %L, %L)',
                                   t.event, t.tables, :source_id, 'deferred', t.change), t.statement)
FROM (VALUES
    (1, 'AFTER INSERT', '', 'recompute', 'INSERT INTO cap.events (id, ts) VALUES (120, now())'),
    (2, 'AFTER INSERT', 'REFERENCING NEW TABLE AS n', 'recompute', 'INSERT INTO cap.events (id, ts) VALUES (120, now())'),
    (3, 'AFTER INSERT', 'REFERENCING NEW TABLE AS profiles_new_events', 'recompute', 'INSERT INTO cap.events (id, ts) VALUES (120, now())'),
    (4, 'BEFORE INSERT', '', 'recompute', 'INSERT INTO cap.events (id, ts) VALUES (120, now())'),
    (5, 'AFTER UPDATE', '', 'keep', 'UPDATE cap.events SET id = id'),
    (6, 'AFTER UPDATE', 'REFERENCING NEW TABLE AS profiles_new_events', 'recompute', 'UPDATE cap.events SET id = id'),
    (7, 'AFTER UPDATE', 'REFERENCING OLD TABLE AS profiles_old_events', 'keep', 'UPDATE cap.events SET id = id'),
    (8, 'AFTER UPDATE', 'REFERENCING OLD TABLE AS profiles_old_events NEW TABLE AS profiles_new_events', 'keep', 'UPDATE cap.events SET id = id'),
    (9, 'AFTER DELETE', '', 'keep', 'DELETE FROM cap.events'),
    (10, 'AFTER DELETE', '', 'recompute', 'DELETE FROM cap.events'),
    (11, 'AFTER DELETE', 'REFERENCING OLD TABLE AS profiles_old_events', 'recompute', 'DELETE FROM cap.events'),
    (12, 'BEFORE TRUNCATE', '', 'recompute', 'TRUNCATE cap.events'),
    (13, 'AFTER TRUNCATE', '', 'keep', 'TRUNCATE cap.events'),
    (14, 'AFTER INSERT OR UPDATE OR DELETE', '', 'recompute', 'DELETE FROM cap.events')) AS t (n, event, tables, change, statement)
ORDER BY t.n;
:check

-- past the limit a writer merges; it judges by the table's size, so that has to grow
TRUNCATE profiles.user_pending, profiles.account_pending;
SET profiles.pending_limit = 0;
INSERT INTO cap.events (id, ts, uid, acc, plan)
SELECT i, timestamptz '2024-01-01Z' - i * interval '1 hour', 'l' || i % 200, 'a' || i % 200, 'p' || i % 3 FROM generate_series(10001, 10200) AS i;
TABLE cap.pending;
SELECT * FROM cap.wrong;
SET profiles.pending_limit = -1;
INSERT INTO cap.events (id, ts, uid, acc, plan) VALUES (10401, '2022-01-01Z', 'l1', 'a1', 'first');
TABLE cap.pending;
:check
RESET profiles.pending_limit;
ALTER TABLE profiles.user_pending RESET (autovacuum_enabled);
ALTER TABLE profiles.account_pending RESET (autovacuum_enabled);

-- a transaction that has inserted and deleted, and a table of many events of one user
BEGIN;
INSERT INTO cap.events (id, ts, uid, acc, plan) SELECT i, timestamptz '2024-01-01Z' + i * interval '1 second', 'many', 'many', 'p' || i FROM generate_series(20001, 20200) AS i;
DELETE FROM cap.events WHERE uid = 'many' AND id % 200 <> 7;
COMMIT;
:check
SELECT first_plan, last_plan FROM profiles.users WHERE user_id = 'many';

DROP VIEW cap.shown CASCADE;
SELECT profiles.uninstall();
SELECT tgname FROM pg_trigger WHERE tgrelid = 'cap.events'::regclass AND NOT tgisinternal;
SELECT count(*) AS events FROM cap.events;
DROP SCHEMA cap CASCADE;
DROP OWNED BY regress_cap_writer;
DROP ROLE regress_cap_writer, regress_cap_other;
