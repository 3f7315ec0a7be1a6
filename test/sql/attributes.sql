-- Custom attributes: imports, their syncs, and the columns that show them.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA attr;
CREATE TABLE attr.events (ts timestamptz, user_id text, account_id text, email text, plan text);
INSERT INTO attr.events
SELECT timestamptz '2026-01-01Z' + i * interval '1 min', 'u' || i % 100, 'a' || i % 7,
       CASE i % 2 WHEN 0 THEN 'User' || i % 100 || '@Example.org' END, 'p' || i % 4
FROM generate_series(1, 1000) AS i;
SELECT profiles.add_attributes('user', 'attr.events', 'user_id', 'user_id');
SELECT profiles.add_source('attr.events', mapping => '{"plan": "plan", "email": "email"}');
CALL profiles.rebuild();

CREATE TYPE attr.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN attr.score AS integer CHECK (value < 1000);
CREATE TABLE attr.crm (
    id bigint, uid text, "Lifetime Value" numeric(10, 2), n2 smallint, n4 integer, n8 bigint, f4 real, f8 double precision, vip boolean,
    born date, seen timestamp(3), seen_tz timestamptz, ref uuid, mood attr.mood, score attr.score, code char(4), short varchar(3),
    _fivetran_synced timestamptz, _airbyte_raw_id text, _ab_x text, _dlt_id text, _sdc_y text);
INSERT INTO attr.crm
SELECT i, 'u' || i, i * 1.25, i % 7, i, i::bigint << 33, i / 4.0, i / 3.0, i % 3 = 0, date '2020-01-01' + i, timestamp '2020-01-01' + i * interval '1 s',
       timestamptz '2020-01-01Z' + i * interval '1 s', ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid,
       (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::attr.mood, i, 'c' || i % 9, 's' || i % 9, now(), '', '', '', ''
FROM generate_series(1, 150) AS i;

-- a plain LEFT JOIN is the oracle
CREATE FUNCTION attr.differ(theirs text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM ((TABLE attr.ours EXCEPT ALL %1$s) UNION ALL (%1$s EXCEPT ALL TABLE attr.ours)) d', theirs) INTO n;
    RETURN n;
END $$;

-- names: valid ones are proposed, columns can be chosen
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "LTV (usd)"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "4ever"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "_"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', jsonb_build_object('n4', repeat('x', 57)));
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "last_seen"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "last_seen_country_name"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "user_id"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "x", "n8": "x"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"nothing": "x"}');
SELECT profiles.add_attributes('user', 'attr.crm', 'nothing', 'user_id');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'nothing', '{"n4": null}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'last_seen', '{"n4": null}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'key', '{"n4": null}');
SELECT profiles.add_attributes('person', 'attr.crm', 'uid', 'user_id', '{"n4": null}');
SELECT profiles.add_attributes('user', NULL, 'uid', 'user_id', '{"n4": null}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '[]');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": 4}');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', every => '0');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', on_duplicate => 'newest');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', on_duplicate => 'last');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', order_by => 'n4');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', filter => 'n4 > nothing');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', filter => 'true); DROP TABLE attr.crm; --');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', filter => 'n4 IN (SELECT 1)');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', filter => 'random() < 1');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null}', on_duplicate => 'last', order_by => 'n4, n8');
SELECT profiles.add_attributes('user', 'profiles.users', 'user_id', 'user_id', '{"user_name": "x"}');
CREATE TEMP TABLE crm (uid text, x int);
SELECT profiles.add_attributes('user', 'crm', 'uid', 'user_id');
CREATE TABLE attr.odd (uid text, tags text[], doc jsonb, pair attr.crm);
SELECT profiles.add_attributes('user', 'attr.odd', 'uid', 'user_id', '{"tags": null}');
SELECT profiles.add_attributes('user', 'attr.odd', 'uid', 'user_id', '{"doc": null}');
SELECT profiles.add_attributes('user', 'attr.odd', 'uid', 'user_id', '{"pair": null}');
DROP TABLE attr.odd;
CREATE TABLE attr.only_key (uid text, _fivetran_synced int);
SELECT profiles.add_attributes('user', 'attr.only_key', 'uid', 'user_id');
-- a refused call leaves nothing behind
SELECT count(*) AS attributes FROM profiles.custom_attributes;
SELECT c.oid::regclass AS left_behind FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relname ~ '^(import|attributes)_[0-9]+' ORDER BY 1;

-- all columns, but the key and those of loaders; their types
ALTER TABLE attr.crm RENAME "Lifetime Value" TO lifetime_value;
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id');
SELECT attribute, type, source_column, source_key, profile_key, every, status FROM profiles.custom_attributes;
SELECT a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
FROM pg_attribute a WHERE a.attrelid = 'profiles.users'::regclass AND a.attnum > 27 ORDER BY a.attnum;
SELECT c.relname, a.attname AS without_comment FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^attributes_' AND col_description(c.oid, a.attnum) IS NULL;
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": "other"}');
SELECT count(lifetime_value) AS before_sync FROM profiles.users;
CALL profiles.sync();
CREATE VIEW attr.ours AS
SELECT user_id, lifetime_value, n2, n4, n8, f4, f8, vip, born, seen, seen_tz, ref, mood, score, code, short, id FROM profiles.users;
\set oracle '$$SELECT p.key, c.lifetime_value::numeric, c.n2::integer, c.n4, c.n8, c.f4, c.f8, c.vip, c.born, c.seen::timestamp, c.seen_tz, c.ref, c.mood::text, c.score::integer, c.code::text, c.short::text, c.id FROM profiles.user_profile p LEFT JOIN attr.crm c ON c.uid = p.key$$'
SELECT attr.differ(:oracle), (SELECT count(lifetime_value) FROM profiles.users) AS with_values;
SELECT attribute, rows, matched, unmatched, null_keys, duplicate_keys, last_error, status FROM profiles.custom_attributes WHERE attribute = 'n4';
-- not due again yet, but it can be told to
CALL profiles.sync();
SELECT count(*) FROM profiles.sync_runs;
CALL profiles.sync('attr.crm');
SELECT source, source_rows, inserted, updated, deleted, sqlstate FROM profiles.sync_runs;
CALL profiles.sync('crm');
CALL profiles.sync('nothing');

-- only changed rows are written: the others stay where they are
SELECT 'profiles.attributes_' || id AS side FROM profiles.import_config WHERE source = 'attr.crm' \gset
CREATE TEMP TABLE before AS SELECT ctid AS place, key FROM :side;
UPDATE attr.crm SET lifetime_value = lifetime_value + 1 WHERE id % 50 = 0;
DELETE FROM attr.crm WHERE id = 7;
INSERT INTO attr.crm (uid, n4) VALUES (NULL, 1), (NULL, 2), ('unmatched', 3);
CALL profiles.sync('attr.crm');
SELECT count(*) FILTER (WHERE b.key IS NULL) AS new, count(*) FILTER (WHERE b.place <> t.ctid) AS moved,
       count(*) FILTER (WHERE t.key IS NULL) AS gone, count(*) FILTER (WHERE b.place = t.ctid) AS untouched
FROM before b FULL JOIN :side t ON t.key = b.key;
SELECT source_rows, null_keys, inserted, updated, deleted FROM profiles.sync_runs LIMIT 1;
SELECT attr.differ(:oracle);
-- a numeric whose scale alone changed
ALTER TABLE attr.crm ALTER lifetime_value TYPE numeric;
UPDATE attr.crm SET lifetime_value = 25.000 WHERE uid = 'u20';
CALL profiles.sync('attr.crm');
SELECT updated, (SELECT lifetime_value FROM profiles.users WHERE user_id = 'u20') FROM profiles.sync_runs LIMIT 1;

-- users who come after the sync have the values at once
INSERT INTO attr.events (ts, user_id) VALUES ('2026-02-01Z', 'unmatched');
SELECT unmatched FROM profiles.custom_attributes WHERE attribute = 'n4';
CALL profiles.refresh();
SELECT user_id, n4 FROM profiles.users WHERE user_id = 'unmatched';
SELECT unmatched FROM profiles.custom_attributes WHERE attribute = 'n4';

-- duplicates: an error that names one, and the last good values
INSERT INTO attr.crm (uid, n4) VALUES ('u5', 55);
CALL profiles.sync('attr.crm');
SELECT source_rows, inserted, sqlstate, message, hint FROM profiles.sync_runs LIMIT 1;
SELECT status, last_error FROM profiles.custom_attributes WHERE attribute = 'n4';
SELECT n4 FROM profiles.users WHERE user_id = 'u5';
INSERT INTO attr.crm (uid, n4) VALUES ('new', 1), ('new', 1);
DELETE FROM attr.crm WHERE uid = 'u5' AND n4 = 55;
CALL profiles.sync('attr.crm');
DELETE FROM attr.crm WHERE uid = 'new';
CALL profiles.sync('attr.crm');
SELECT status, last_error FROM profiles.custom_attributes WHERE attribute = 'n4';
SELECT attr.differ(:oracle);

-- what its owner may do to the table meanwhile: nothing of ours is in the way
BEGIN;
ALTER TABLE attr.crm DROP COLUMN mood;
CALL profiles.sync('attr.crm');
ROLLBACK;
BEGIN;
ALTER TABLE attr.crm RENAME COLUMN uid TO user_key;
CALL profiles.sync('attr.crm');
ROLLBACK;
BEGIN;
ALTER TABLE attr.crm ALTER n4 TYPE text;
CALL profiles.sync('attr.crm');
ROLLBACK;
BEGIN;
ALTER TABLE attr.crm ALTER n2 TYPE integer, ALTER short TYPE text, ALTER code TYPE varchar(10);
CALL profiles.sync('attr.crm');
SELECT sqlstate, updated FROM profiles.sync_runs LIMIT 1;
ROLLBACK;
BEGIN;
CREATE TABLE attr.next (LIKE attr.crm);
INSERT INTO attr.next SELECT * FROM attr.crm WHERE id < 50;
ALTER TABLE attr.crm RENAME TO crm_backup;
ALTER TABLE attr.next RENAME TO crm;
DROP TABLE attr.crm_backup CASCADE;
CALL profiles.sync('attr.crm');
SELECT sqlstate, deleted FROM profiles.sync_runs LIMIT 1;
SELECT attr.differ(:oracle);
ROLLBACK;
BEGIN;
DROP TABLE attr.crm CASCADE;
CALL profiles.sync('attr.crm');
SELECT status, last_error FROM profiles.custom_attributes LIMIT 1;
SELECT count(n4) AS last_good FROM profiles.users;
CREATE SEQUENCE attr.crm;
CALL profiles.sync('attr.crm');
ROLLBACK;
-- an error in the middle of the table
CREATE VIEW attr.broken AS SELECT uid, n4 / (n4 - 149) AS ratio FROM attr.crm;
SELECT profiles.add_attributes('user', 'attr.broken', 'uid', 'user_id');
CALL profiles.sync('attr.broken');
SELECT status, last_error, rows FROM profiles.custom_attributes WHERE attribute = 'ratio';
CREATE OR REPLACE VIEW attr.broken AS SELECT uid, n4 / nullif(n4 - 149, 0) AS ratio FROM attr.crm;
CALL profiles.sync('broken');
SELECT status, last_error, rows FROM profiles.custom_attributes WHERE attribute = 'ratio';

-- A cancel that the source raises is its error, and those behind it are synced; that of
-- the session ends the call.
CREATE TABLE attr.healthy AS SELECT 'u1' AS uid, 1 AS health;
CREATE TABLE attr.mood_of (fails text);
CREATE FUNCTION attr.moody() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    CASE (SELECT fails FROM attr.mood_of)
        WHEN 'cancel' THEN RAISE query_canceled USING MESSAGE = 'canceling statement due to statement timeout';
        WHEN 'assert' THEN ASSERT false, 'not today';
        WHEN 'sleep' THEN PERFORM pg_sleep(30);
        ELSE NULL;
    END CASE;
    RETURN 1;
END $$;
CREATE VIEW attr.moody_rows AS SELECT 'u1' AS uid, attr.moody() AS moody;
INSERT INTO attr.mood_of VALUES ('cancel');
SELECT profiles.add_attributes('user', 'attr.moody_rows', 'uid', 'user_id');
SELECT profiles.add_attributes('user', 'attr.healthy', 'uid', 'user_id');
CALL profiles.sync();
SELECT attribute, status, last_error FROM profiles.custom_attributes WHERE attribute IN ('moody', 'health') ORDER BY 1;
SELECT source, sqlstate, inserted FROM profiles.sync_runs LIMIT 2;
UPDATE attr.mood_of SET fails = 'assert';
CALL profiles.sync('moody_rows');
SELECT attribute, status, last_error FROM profiles.custom_attributes WHERE attribute = 'moody';
UPDATE attr.mood_of SET fails = 'sleep';
SET statement_timeout = '1s';
CALL profiles.sync('moody_rows');
RESET statement_timeout;
SELECT source, sqlstate FROM profiles.sync_runs LIMIT 1;
UPDATE attr.mood_of SET fails = 'no';
CALL profiles.sync('moody_rows');
SELECT attribute, status, last_error FROM profiles.custom_attributes WHERE attribute = 'moody';
SELECT profiles._cancelled_by_source(c) FROM (VALUES
    (1, E'remote SQL command: SELECT uid FROM public.crm\nSQL statement "..."'), (2, 'while fetching from cursor on unnamed dblink connection'),
    (3, 'PL/pgSQL function f() line 3 at RAISE'), (4, E'PL/pgSQL function f() line 3 at PERFORM\nPL/pgSQL function g() line 3 at RAISE'), (5, '')) AS v (n, c) ORDER BY n;
SELECT profiles.drop_attributes('user', s) FROM unnest(ARRAY['attr.moody_rows', 'attr.healthy']) AS s;

-- what failed is due again soon, what succeeded when its time has come, in one call
UPDATE profiles.import_config SET tried_at = tried_at - interval '61 min' WHERE source = 'attr.crm';
CALL profiles.sync();
SELECT source FROM profiles.sync_runs LIMIT 1;
UPDATE profiles.import_config SET tried_at = tried_at - interval '4 min', sqlstate = 'XX000', message = '' WHERE source = 'attr.broken';
CALL profiles.sync();
SELECT source FROM profiles.sync_runs LIMIT 1;
UPDATE profiles.import_config SET tried_at = tried_at - interval '2 min' WHERE source = 'attr.broken';
CALL profiles.sync();
SELECT source FROM profiles.sync_runs LIMIT 1;

-- e-mails are compared in lower case; all else as it is
CREATE TABLE attr.mails (mail varchar, nps int, deleted boolean DEFAULT false, at int);
INSERT INTO attr.mails SELECT 'uSER' || i || '@example.ORG', i FROM generate_series(0, 200, 2) AS i;
SELECT profiles.add_attributes('user', 'attr.mails', 'mail', 'email', '{"nps": null}', filter => 'NOT deleted', on_duplicate => 'last', order_by => 'at');
CALL profiles.sync('attr.mails');
SELECT source, rows, matched, unmatched, profile_key FROM profiles.custom_attributes WHERE attribute = 'nps';
DROP VIEW attr.ours;
CREATE VIEW attr.ours AS SELECT user_id, nps FROM profiles.users;
\set oracle '$$SELECT p.key, (SELECT m.nps FROM attr.mails m WHERE NOT m.deleted AND lower(m.mail) = lower(p.user_email) ORDER BY m.at DESC NULLS LAST, m.nps LIMIT 1) FROM profiles.user_profile p$$'
SELECT attr.differ(:oracle), (SELECT count(nps) FROM profiles.users) AS with_values;
-- the last by its order; ties are told apart by value
INSERT INTO attr.mails VALUES ('user2@example.org', -1, false, 5), ('USER2@EXAMPLE.ORG', -2, false, 7), ('user4@example.org', -3, true, 9),
    ('user6@example.org', -4, false, 3), ('User6@example.org', -5, false, 3), ('user8@example.org', -6, false, NULL);
CALL profiles.sync('attr.mails');
SELECT attr.differ(:oracle), (SELECT duplicate_keys FROM profiles.sync_runs LIMIT 1);
SELECT user_id, nps FROM profiles.users WHERE user_id IN ('u2', 'u4', 'u6', 'u8') ORDER BY 1;
SELECT profiles.drop_attributes('user', 'attr.mails');
SELECT profiles.add_attributes('user', 'attr.mails', 'mail', 'user_email', '{"nps": null}', on_duplicate => 'first', order_by => '-coalesce(at, 0)');
CALL profiles.sync('attr.mails');
SELECT user_id, nps FROM profiles.users WHERE user_id IN ('u2', 'u4', 'u6', 'u8') ORDER BY 1;

-- other keys: a tracked attribute, an account's key, a number as text
CREATE TABLE attr.plans (plan text, price numeric);
INSERT INTO attr.plans VALUES ('p1', 10), ('p2', 20), ('P3', 30);
SELECT profiles.add_attributes('user', 'attr.plans', 'plan', 'plan');
CREATE TABLE attr.companies (nr int, name text, employees int);
INSERT INTO attr.companies SELECT i, 'Company ' || i, i * 100 FROM generate_series(0, 5) AS i;
CREATE VIEW attr.accounts AS SELECT 'a' || nr AS account, name AS company, employees FROM attr.companies;
SELECT profiles.add_attributes('account', 'attr.accounts', 'account', 'account_id');
CREATE TABLE attr.regions (nr int, region_owner text);
INSERT INTO attr.regions VALUES (1, 'x');
SELECT profiles.add_attributes('account', 'attr.regions', 'nr', 'account_name');
CALL profiles.sync();
SELECT last_plan, price, count(*) FROM profiles.users GROUP BY 1, 2 ORDER BY 1;
SELECT account_id, company, employees FROM profiles.accounts ORDER BY 1;
SELECT source, matched, unmatched FROM profiles.custom_attributes WHERE kind = 'account' ORDER BY attribute;

-- The first sync loads a table that has no key yet; one that fails when it has written
-- leaves the key, so that readers need not pass what was written.
CREATE TABLE attr.large (uid text, big_text text, big_number numeric, big_float float8);
INSERT INTO attr.large SELECT 'u' || i, 't' || i % 7, i, i FROM generate_series(1, 500) AS i;
CREATE VIEW attr.half AS SELECT uid, 1 / (500 - big_number) AS half FROM attr.large ORDER BY big_number;
SELECT profiles.add_attributes('user', 'attr.large', 'uid', 'user_id');
SELECT profiles.add_attributes('user', 'attr.half', 'uid', 'user_id');
CREATE VIEW attr.keys AS
SELECT m.source, (SELECT array_agg(x.indisprimary ORDER BY x.indisprimary) FROM pg_index x WHERE x.indrelid = ('profiles.attributes_' || m.id)::regclass AND x.indexprs IS NULL) AS keys
FROM profiles.import_config m WHERE m.source IN ('attr.large', 'attr.half');
SELECT * FROM attr.keys ORDER BY 1;
CALL profiles.sync('attr.half');
SELECT * FROM attr.keys ORDER BY 1;
BEGIN;
CALL profiles.sync('attr.large');
SELECT * FROM attr.keys ORDER BY 1;
ROLLBACK;
INSERT INTO attr.large VALUES ('u3', 'twice');
CALL profiles.sync('attr.large');
SELECT * FROM attr.keys ORDER BY 1;
DELETE FROM attr.large WHERE big_text = 'twice' OR big_number = 500;
CALL profiles.sync('attr.large');
CALL profiles.sync('attr.half');
SELECT * FROM attr.keys ORDER BY 1;
SELECT inserted, updated, deleted FROM profiles.sync_runs LIMIT 2;
-- an index of somebody's is not the key
SELECT profiles.drop_attributes('user', 'attr.half');
SELECT profiles.add_attributes('user', 'attr.half', 'uid', 'user_id');
DO $$ BEGIN EXECUTE format('CREATE INDEX ON profiles.attributes_%s (half)', (SELECT id FROM profiles.import_config WHERE source = 'attr.half')); END $$;
INSERT INTO attr.large VALUES ('twice', '', 1), ('twice', '', 2);
CALL profiles.sync('attr.half');
DELETE FROM attr.large WHERE uid = 'twice';
CALL profiles.sync('attr.half');
SELECT * FROM attr.keys ORDER BY 1;
SELECT inserted, updated, deleted FROM profiles.sync_runs LIMIT 1;
SELECT profiles.drop_attributes('user', 'attr.half');
DROP VIEW attr.half, attr.keys;

-- What is there and what is read are compared byte by byte, and in parts if there
-- is little memory: values of all lengths, compressed and out of line, NULL.
CREATE FUNCTION attr.large_differs() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    side text := (SELECT 'profiles.attributes_' || m.id FROM profiles.import_config m WHERE m.source = 'attr.large');
    n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM ((SELECT key, big_text, big_number::text, big_float::text FROM %1$s EXCEPT ALL SELECT uid, big_text, big_number::text, big_float::text FROM attr.large)
        UNION ALL (SELECT uid, big_text, big_number::text, big_float::text FROM attr.large EXCEPT ALL SELECT key, big_text, big_number::text, big_float::text FROM %1$s)) d', side) INTO n;
    RETURN n;
END $$;
SELECT attr.large_differs();
INSERT INTO attr.large
SELECT 'v' || i, CASE i % 11 WHEN 0 THEN repeat('x', i) WHEN 1 THEN NULL WHEN 2 THEN repeat(md5(i::text), i % 140) WHEN 3 THEN ''
       WHEN 4 THEN (SELECT string_agg(md5(i || ' ' || j), '') FROM generate_series(1, CASE i % 20 WHEN 0 THEN 300 ELSE 1 END) AS j) ELSE left(repeat('y', 130), i % 131) END,
       CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' ELSE i / 8.0 END, CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN 'Infinity' ELSE i / 3.0 END
FROM generate_series(1, 6000) AS i;
CALL profiles.sync('attr.large');
SELECT attr.large_differs();
VACUUM ANALYZE attr.large;
SET maintenance_work_mem = '1MB';
CALL profiles.sync('attr.large');
SELECT inserted, updated, deleted FROM profiles.sync_runs LIMIT 1;
UPDATE attr.large SET big_text = big_text || 'z' WHERE big_number BETWEEN 100 AND 110;
UPDATE attr.large SET big_text = NULL, big_number = 1.0 WHERE uid LIKE 'v%99';
UPDATE attr.large SET big_text = substr(big_text, 2) || 'w' WHERE uid LIKE 'v%13';
UPDATE attr.large SET uid = 'w' || uid WHERE uid LIKE 'v%77';
DELETE FROM attr.large WHERE uid LIKE 'v%55';
CREATE TEMP TABLE expected AS
SELECT count(*) FILTER (WHERE uid LIKE 'wv%') AS inserted,
       count(*) FILTER (WHERE big_number BETWEEN 100 AND 110 AND big_text IS NOT NULL AND uid !~ '^v.*(99|13)$' AND uid NOT LIKE 'wv%' OR uid LIKE 'v%99'
                        OR uid LIKE 'v%13' AND big_text IS NOT NULL) AS updated,
       (SELECT count(*) FROM generate_series(1, 6000) AS i WHERE i % 100 IN (55, 77)) AS deleted
FROM attr.large;
CALL profiles.sync('attr.large');
SELECT attr.large_differs();
SELECT inserted, updated, deleted FROM profiles.sync_runs LIMIT 1;
TABLE expected;
SET maintenance_work_mem = '64MB';
UPDATE attr.large SET big_text = substr(big_text, 2) || 'v' WHERE uid LIKE 'v%14';
UPDATE attr.large SET big_float = -0.0 WHERE uid = 'u1';
CALL profiles.sync('attr.large');
UPDATE attr.large SET big_float = 0 WHERE uid = 'u1';
CALL profiles.sync('attr.large');
SELECT attr.large_differs();
-- duplicates of what is there, of what is new, in one part and in several
INSERT INTO attr.large VALUES ('v4242');
CALL profiles.sync('attr.large');
SET maintenance_work_mem = '1MB';
CALL profiles.sync('attr.large');
UPDATE attr.large SET uid = 'vv' WHERE uid = 'v4242';
CALL profiles.sync('attr.large');
RESET maintenance_work_mem;
DELETE FROM attr.large WHERE uid = 'vv';
DELETE FROM attr.large WHERE uid LIKE 'u%';
CALL profiles.sync('attr.large');
SELECT attr.large_differs();
TRUNCATE attr.large;
CALL profiles.sync('attr.large');
SELECT inserted, updated, deleted FROM profiles.sync_runs LIMIT 1;
SELECT profiles.drop_attributes('user', 'attr.large');
DROP TABLE attr.large;

-- What is forgotten: values that came by id or e-mail, and the keys in errors.
CREATE TABLE attr.persons (id text, shoe_size int);
INSERT INTO attr.persons VALUES ('u3', 40), ('u4', 41), ('u4', 42);
CREATE TABLE attr.addresses (address text, newsletter boolean);
INSERT INTO attr.addresses VALUES ('USER4@example.org', true), ('user6@example.org', true);
SELECT profiles.add_attributes('user', 'attr.persons', 'id', 'user_id');
SELECT profiles.add_attributes('user', 'attr.addresses', 'address', 'user_email');
CALL profiles.sync('attr.persons');
SELECT profiles.forget('user', 'u4', block => true);
SELECT message FROM profiles.sync_runs WHERE source = 'attr.persons';
SELECT last_error FROM profiles.custom_attributes WHERE source = 'attr.persons';
SELECT profiles.unblock('user', 'u4');
CALL profiles.refresh();
DELETE FROM attr.persons WHERE shoe_size = 42;
CALL profiles.sync('attr.persons');
CALL profiles.sync('attr.addresses');
SET client_min_messages = notice;
SELECT profiles.forget('user', 'u4', block => true);
SET client_min_messages = warning;
CREATE FUNCTION attr.stored(source text, key text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM profiles.attributes_%s WHERE key = $1', (SELECT id FROM profiles.import_config c WHERE c.source = $1)) INTO n USING key;
    RETURN n;
END $$;
SELECT attr.stored('attr.persons', 'u4') AS person, attr.stored('attr.addresses', 'user4@example.org') AS address,
       attr.stored('attr.persons', 'u3') AS other_person, attr.stored('attr.addresses', 'user6@example.org') AS other_address,
       attr.stored('attr.plans', 'p1') AS plan;
SELECT attribute, rows FROM profiles.custom_attributes WHERE source IN ('attr.persons', 'attr.addresses') ORDER BY 1;
-- blocked: not read by its id; by the address nobody knows whose it is
CALL profiles.sync('attr.persons');
CALL profiles.sync('attr.addresses');
SELECT source, source_rows, inserted, updated, deleted, sqlstate FROM profiles.sync_runs LIMIT 2;
SELECT profiles.drop_attributes('user', 'attr.persons');
SELECT profiles.add_attributes('user', 'attr.persons', 'id', 'user_id');
CALL profiles.sync('attr.persons');
SELECT attr.stored('attr.persons', 'u4') AS person, attr.stored('attr.persons', 'u3') AS other_person;
SELECT profiles.unblock('user', 'u4');
CALL profiles.refresh();
CALL profiles.sync('attr.persons');
SELECT attr.stored('attr.persons', 'u4') AS person;
SELECT profiles.drop_attributes('user', 'attr.persons');
SELECT profiles.drop_attributes('user', 'attr.addresses');
CALL profiles.sync('attr.crm');
CALL profiles.sync('attr.mails');

-- joins that a query does not use are removed
CREATE FUNCTION attr.joins(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN (SELECT count(*) FROM jsonb_path_query(plan, 'strict $.**."Relation Name" ? (@ starts with "attributes_")'));
END $$;
SELECT attr.joins('SELECT user_id, last_seen FROM profiles.users') AS none, attr.joins('SELECT user_id, n4 FROM profiles.users') AS one,
       attr.joins('SELECT user_id, n4, nps FROM profiles.users') AS two;

-- an index over an attribute and last_seen: the attribute is stored beside the profiles
CREATE FUNCTION attr.by_index(query text, index_name text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN plan::text LIKE '%' || index_name || '%' AND plan::text NOT LIKE '%"Sort"%';
END $$;
SELECT profiles.index_profiles('user', 'nothing');
SELECT profiles.index_profiles('user', 'n4');
SELECT profiles.index_profiles('user', 'n4');
SELECT profiles.index_profiles('user', 'nps');
SELECT profiles.index_profiles('user', 'price');
SELECT profiles.index_profiles('account', 'employees');
SET enable_seqscan = off;
SELECT attr.by_index('SELECT * FROM profiles.users WHERE n4 = 7 ORDER BY last_seen DESC LIMIT 50', 'user_profile_n4_last_seen_idx') AS by_index;
RESET enable_seqscan;
SELECT attr.joins('SELECT user_id, n4, nps, price FROM profiles.users') AS joins_left;
DROP VIEW attr.ours;
CREATE VIEW attr.ours AS SELECT user_id, n4, nps, price FROM profiles.users;
\set oracle '$$SELECT p.key, c.n4, (SELECT m.nps FROM attr.mails m WHERE lower(m.mail) = lower(p.user_email) ORDER BY -coalesce(m.at, 0), m.nps LIMIT 1), l.price FROM profiles.user_profile p LEFT JOIN attr.crm c ON c.uid = p.key LEFT JOIN attr.plans l ON l.plan = p.last_plan$$'
SELECT attr.differ(:oracle) AS filled;
UPDATE attr.crm SET n4 = n4 + 1 WHERE id % 3 = 0;
DELETE FROM attr.crm WHERE id % 20 = 0;
INSERT INTO attr.crm (uid, n4) VALUES ('late', 77);
UPDATE attr.plans SET price = price + 1;
DELETE FROM attr.mails WHERE nps % 20 = 0;
SELECT count(*) FROM (SELECT user_id, n4 FROM profiles.users EXCEPT SELECT p.key, c.n4 FROM profiles.user_profile p LEFT JOIN attr.crm c ON c.uid = p.key) d;
CALL profiles.sync('attr.crm');
CALL profiles.sync('attr.plans');
CALL profiles.sync('attr.mails');
SELECT attr.differ(:oracle) AS synced;
-- new users, users with another e-mail and plan, users that go, captured or computed anew
INSERT INTO attr.events VALUES ('2026-04-01Z', 'late', NULL, 'USER6@example.org', 'p2'), ('2026-04-01Z', 'u6', NULL, 'user8@example.org', 'p1'),
    ('2026-04-01Z', 'u7', NULL, 'user10@example.org', NULL);
DELETE FROM attr.events WHERE user_id IN ('u8', 'u9');
CALL profiles.refresh();
SELECT attr.differ(:oracle) AS refreshed, (SELECT count(*) FROM profiles.verify()) AS unlike_events;
SELECT user_id, n4, nps, price FROM profiles.users WHERE user_id IN ('late', 'u6', 'u7') ORDER BY 1;
CALL profiles.rebuild();
SELECT attr.differ(:oracle) AS rebuilt;
SELECT profiles.alter_source('attr.events', mapping => '{"referrer": "plan"}');
CALL profiles.rebuild();
SELECT attr.differ(:oracle) AS rebuilt_again;
-- and back
SELECT profiles.unindex_profiles('user', 'nps');
SELECT profiles.unindex_profiles('user', 'nps');
SELECT attr.differ(:oracle) AS without_nps;
SELECT attr.joins('SELECT user_id, n4, nps FROM profiles.users') AS joins_back;
SELECT tgrelid::regclass, regexp_replace(tgname, '[0-9]+', 'n') AS trigger, count(*) FROM pg_trigger
WHERE tgfoid IN ('profiles._lock_import'::regproc, 'profiles._fill_stored'::regproc, 'profiles._copy_stored'::regproc) AND tgrelid::regclass::text ~ '_profile$'
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT a.attname AS no_copy FROM pg_attribute a
WHERE a.attrelid = 'profiles.user_profile'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND col_description(a.attrelid, a.attnum) !~ '^Copy of the custom attribute' ORDER BY a.attnum;
SELECT count(n4) > 0 AS n4, count(price) > 0 AS price, count(nps) AS nps, count(vip) AS vip FROM profiles.user_profile;

-- a dropped attribute reads NULL where it was; views, grants and comments survive
COMMENT ON VIEW profiles.users IS 'our users';
COMMENT ON COLUMN profiles.users.user_id IS 'our number';
COMMENT ON COLUMN profiles.users.last_seen IS 'our last time';
COMMENT ON COLUMN profiles.users.vip IS 'our best';
SELECT profiles.create_segment('anybody', 'true');
COMMENT ON VIEW profiles.segment_anybody IS 'our anybody';
COMMENT ON COLUMN profiles.segment_anybody.first_seen IS 'our first time';
COMMENT ON COLUMN profiles.segment_anybody.mood IS 'our mood';
CREATE ROLE profiles_reporting;
GRANT USAGE ON SCHEMA profiles TO profiles_reporting;
GRANT SELECT ON profiles.users TO profiles_reporting;
CREATE VIEW attr.report AS SELECT user_id, n4, vip FROM profiles.users;
SELECT profiles.drop_attributes('user', 'nothing');
SELECT profiles.drop_attributes('account', 'attr.crm');
DROP TABLE attr.crm CASCADE;
SELECT profiles.drop_attributes('user', 'attr.crm');
SELECT count(*), count(n4), count(vip), count(nps) FROM profiles.users;
SELECT count(n4) AS copies_left FROM profiles.user_profile;
SELECT count(*), count(n4) FROM attr.report;
SELECT attname, format_type(atttypid, NULL), col_description(attrelid, attnum)
FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attname IN ('n4', 'vip', 'nps') ORDER BY attnum;
CREATE VIEW attr.comments AS
SELECT a.attrelid::regclass AS view, coalesce(a.attname, '') AS column_name, a.description
FROM (SELECT attrelid, attname, attnum, col_description(attrelid, attnum) AS description FROM pg_attribute
      UNION ALL SELECT oid, NULL, 0, obj_description(oid) FROM pg_class) a
WHERE a.attrelid::regclass::text IN ('profiles.users', 'profiles.segment_anybody')
  AND (a.attnum = 0 OR a.attname IN ('user_id', 'first_seen', 'last_seen', 'n4', 'vip', 'mood')) ORDER BY a.attrelid::regclass::text, a.attnum;
SELECT * FROM attr.comments;
SET ROLE profiles_reporting;
SELECT count(*), count(nps) FROM profiles.users;
RESET ROLE;
-- and comes back with its type
CREATE TABLE attr.crm (uid text, n4 integer, vip text);
INSERT INTO attr.crm VALUES ('u1', 1, 'x');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null, "vip": "vip_text"}');
CALL profiles.sync('attr.crm');
SELECT user_id, n4, vip, vip_text FROM profiles.users WHERE n4 IS NOT NULL;
SELECT user_id, n4 FROM attr.report WHERE n4 IS NOT NULL;
SELECT * FROM attr.comments WHERE column_name = 'n4';
-- from another one, too; a comment that is gone comes back
COMMENT ON COLUMN profiles.users.last_seen IS NULL;
SELECT profiles.drop_attributes('user', 'attr.crm');
CREATE TABLE attr.erp AS SELECT uid, n4 FROM attr.crm;
SELECT profiles.add_attributes('user', 'attr.erp', 'uid', 'user_id');
SELECT * FROM attr.comments;
SELECT profiles.drop_attributes('user', 'attr.erp');
SELECT profiles.add_attributes('user', 'attr.crm', 'uid', 'user_id', '{"n4": null, "vip": "vip_text"}');
-- a description replaces the comment that was made of another one, not theirs
SELECT profiles.alter_segment('anybody', description => 'All of them');
SELECT * FROM attr.comments WHERE column_name = '' AND description ~ 'anybody';
COMMENT ON VIEW profiles.segment_anybody IS NULL;
SELECT profiles.alter_segment('anybody', description => 'All');
SELECT profiles.alter_segment('anybody', description => 'Each');
SELECT * FROM attr.comments WHERE column_name = '' AND view::text = 'profiles.segment_anybody';
SELECT profiles.drop_segment('anybody');
CALL profiles.sync('attr.crm');
SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attnum > 27;

-- events' attributes and custom ones can't have one column
SELECT profiles.alter_source('attr.events', mapping => '{"n4": "plan"}');
CREATE TABLE attr.clash (uid text, last_region int, first_n4 int);
SELECT profiles.add_attributes('user', 'attr.clash', 'uid', 'user_id');
SELECT profiles.add_attributes('user', 'attr.clash', 'uid', 'user_id', '{"first_n4": null}');
SELECT profiles.add_attributes('user', 'attr.clash', 'uid', 'user_id', '{"first_n4": "first_n5"}');
SELECT profiles.alter_source('attr.events', mapping => '{"n5": "plan"}');
SELECT profiles.drop_attributes('user', 'attr.clash');
SELECT profiles.alter_source('attr.events', mapping => '{"n5": "plan"}');

-- history is kept, but not for ever
SELECT count(*) > 5 AS kept FROM profiles.sync_runs WHERE source = 'attr.crm';
INSERT INTO profiles.sync_run (import_id, kind, source, started_at, finished_at)
SELECT i.id, i.kind, i.source, now(), now() FROM profiles.import_config i, generate_series(1, 300) WHERE i.source = 'attr.crm';
CALL profiles.sync('attr.crm');
SELECT count(*) FROM profiles.sync_run r JOIN profiles.import_config i ON i.id = r.import_id WHERE i.source = 'attr.crm';

-- in one transaction, or under another isolation level
BEGIN;
SET LOCAL client_min_messages = notice;
CALL profiles.sync('attr.crm');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL profiles.sync('attr.crm');
ROLLBACK;

-- names that statements of our own might stumble over, and the longest; each synced twice, and found
CREATE TABLE attr.named AS SELECT * FROM (SELECT user_id FROM profiles.users ORDER BY user_id LIMIT 3) u,
    (VALUES ('Oddplace', 'Oddp', 'Oddt', 'Oddd', 'Oddkind', 'Oddlong')) AS v (place, p, t, d, kind, long);
SELECT profiles.add_attributes('user', 'attr.named', 'user_id', 'user_id', jsonb_build_object('place', NULL, 'p', NULL, 't', NULL, 'd', NULL, 'kind', NULL, 'long', repeat('m', 56)));
CALL profiles.sync('attr.named');
UPDATE attr.named SET place = place || 's', long = long || 's';
CALL profiles.sync('attr.named');
SELECT inserted, updated, message FROM profiles.sync_runs WHERE source = 'attr.named' ORDER BY started_at;
SELECT q, count(*), min(s.matched) FROM unnest(ARRAY['oddplaces', 'oddp', 'oddt', 'oddd', 'oddkind', 'oddlongs']) q, profiles.search_users(q) s GROUP BY q ORDER BY q;
SELECT profiles.drop_attributes('user', 'attr.named');

-- one table by several keys: together, and one by one, by its name with the key's
CREATE SCHEMA "At two";
CREATE TABLE "At two"."By.two" AS SELECT u.user_id AS uid, 'M-' || u.user_id AS "Mail.id", 'x' || right(u.user_id, 1) AS twice FROM (SELECT user_id FROM profiles.users ORDER BY user_id LIMIT 3) u;
SELECT profiles.add_attributes('user', '"At two"."By.two"', 'uid', 'user_id', '{"twice": "by_id"}');
SELECT profiles.add_attributes('user', '"At two"."By.two"', 'Mail.id', 'user_id', '{"twice": "by_mail"}');
SELECT profiles.add_attributes('account', '"At two"."By.two"', 'uid', 'account_id', '{"twice": "by_id"}');
SELECT profiles.add_attributes('user', '"At two"."By.two"', 'Mail.id', 'user_id', '{"twice": "again"}');
CREATE TABLE attr.other AS SELECT uid, twice AS by_mail FROM "At two"."By.two";
SELECT profiles.add_attributes('user', 'attr.other', 'uid', 'user_id');
CALL profiles.sync('"At two"."By.two"."Mail.id"');
SELECT kind, attribute, last_synced_at IS NOT NULL AS synced FROM profiles.custom_attributes WHERE source ~ 'By.two' ORDER BY 1, 2;
CALL profiles.sync('"At two"."By.two".uid');
SELECT kind, attribute, last_synced_at IS NOT NULL AS synced FROM profiles.custom_attributes WHERE source ~ 'By.two' ORDER BY 1, 2;
CALL profiles.sync('"At two"."By.two"."Mail.id"');
CALL profiles.sync('By.two');
SELECT r.kind, i.source_key, count(*) FROM profiles.sync_run r JOIN profiles.import_config i ON i.id = r.import_id WHERE r.source ~ 'By.two' GROUP BY 1, 2 ORDER BY 1, 2;
CALL profiles.sync('By.two.twice');
CALL profiles.sync('By.two.uid');
SELECT profiles.drop_attributes('account', '"At two"."By.two"."Mail.id"');
SELECT profiles.drop_attributes('user', '"At two"."By.two".uid');
SELECT kind, attribute FROM profiles.custom_attributes WHERE source ~ 'By.two' ORDER BY 1, 2;
SELECT profiles.add_attributes('user', '"At two"."By.two"', 'Mail.id', 'user_id', '{"twice": "again"}');
SELECT profiles.add_attributes('user', '"At two"."By.two"', 'uid', 'user_id', '{"twice": "by_id"}');
SELECT profiles.drop_attributes('user', 'By.two');
SELECT kind, attribute FROM profiles.custom_attributes WHERE source ~ 'By.two' ORDER BY 1, 2;
SELECT profiles.drop_attributes('account', 'By.two');
DROP SCHEMA "At two" CASCADE;

DROP OWNED BY profiles_reporting;
DROP ROLE profiles_reporting;
DROP VIEW attr.report, attr.ours, attr.comments;
SELECT profiles.uninstall();
SELECT c.oid::regclass AS left_behind FROM pg_class c
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relname ~ '^(import|attributes|segment)_[0-9]+' ORDER BY 1;
-- a type that does not exist
SELECT profiles._attribute_type(11) IS NULL AS none;
DROP SCHEMA attr CASCADE;
