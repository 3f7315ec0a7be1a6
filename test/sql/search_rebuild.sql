-- The first rebuild makes the indexes of search when everybody is there. Until then, and
-- when it is interrupted, search finds the same without them.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA sr;
CREATE TABLE sr.events (ts timestamptz, user_id text, user_name text, email text, session_id text, city text);
INSERT INTO sr.events
SELECT timestamptz '2026-01-01Z' + i * interval '1 min', 'sr' || i,
       (ARRAY['Ana', 'Anna', 'Ann-Marie', 'José', 'Ødegård', '王小明', 'Łukasz', 'O''Brien'])[1 + i % 8]
           || ' ' || (ARRAY['Anderson', 'Andersen', 'de la Cruz', 'Ng', '山田', 'Garper', 'Ágústsdóttir'])[1 + i % 7],
       CASE i % 3 WHEN 0 THEN 'ana.' || i || '+tag@mail' || i % 30 || '.example' WHEN 1 THEN 'j' || i || '@x.example' END,
       's' || i, (ARRAY['Berlin', 'Bern', 'São Paulo', '東京'])[1 + i % 4]
FROM generate_series(1, 12000) AS i;
CREATE TABLE sr.queries (n integer PRIMARY KEY, query text);
INSERT INTO sr.queries
SELECT row_number() OVER (), q FROM unnest(ARRAY['ana', 'an', 'a', 'anderson', 'ana anderson', 'garper jose', 'odegard', '小明', 'obrien', 'o''brien ng',
    'ana.300', 'ana.300@', 'ana.300+tag@mail0.example', 'j4', '@mail7.example', 'x.example', 'odegrad', 'lukasz berlin', 'garper tokyo', '東京', 'agustsdottir bern', 'nobody']) AS q;
CREATE VIEW sr.answers AS
SELECT q.n, s.* FROM sr.queries q, profiles.search_users(q.query, 100) WITH ORDINALITY s;
CREATE VIEW sr.indexes AS
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'i' AND c.relname ~ '^user_(search|word)_.*_idx$';

-- step by step, as rebuild() does
SELECT profiles.add_source('sr.events');
TABLE sr.indexes ORDER BY 1;
SELECT profiles._rebuild_step('user', true, NULL);
SELECT profiles._rebuild_step('user', false, NULL), phase FROM profiles.upkeep WHERE kind = 'user';
SELECT profiles._rebuild_step('user', false, NULL);
SELECT phase FROM profiles.progress WHERE kind = 'user';
TABLE sr.indexes ORDER BY 1;
SELECT profiles._rebuild_step('user', false, NULL);
SELECT phase, done, total, percent FROM profiles.progress WHERE kind = 'user';
SELECT count(*) FROM profiles.users;
CREATE TABLE sr.without AS TABLE sr.answers;

-- interrupted here, the next refresh goes on with it
SET client_min_messages = notice;
CALL profiles.refresh('user');
SET client_min_messages = warning;
SELECT phase FROM profiles.progress WHERE kind = 'user';
TABLE sr.indexes ORDER BY 1;
CREATE TABLE sr.with AS TABLE sr.answers;
SELECT count(*) > 1000 AS many, count(DISTINCT n) AS answered FROM sr.with;
TABLE sr.with EXCEPT ALL TABLE sr.without;
TABLE sr.without EXCEPT ALL TABLE sr.with;
-- what each index has is what the table has
SET enable_seqscan = off;
SELECT count(*) FROM profiles.user_search s WHERE s.attributes @@ 'berlin';
SELECT count(*) FROM profiles.user_search s WHERE profiles._indexed_words(s.search) @@ '=garper';
RESET enable_seqscan;
SELECT count(*) FILTER (WHERE city = 'Berlin') AS berlin, count(*) FILTER (WHERE user_name LIKE '%Garper') AS garper FROM sr.events;

-- once there is somebody, indexes stay
SELECT profiles._unindex_search('user');
TABLE sr.indexes ORDER BY 1;
CALL profiles.rebuild('user');
TABLE sr.indexes ORDER BY 1;
SELECT key FROM profiles.verify();

-- what no vector has is looked up in another way: an account's e-mail, and countries, which may be added
CREATE TABLE sr.accounts (ts timestamptz, user_id text, account_id text, account_name text, country text);
INSERT INTO sr.accounts SELECT '2026-01-01Z', NULL, 'a' || i, 'Acme ' || i, CASE WHEN i = 2500 THEN 'XK' ELSE 'DE' END FROM generate_series(1, 2500) AS i;
CREATE TABLE sr.crm AS SELECT 'a' || i AS account, 'billing@acme' || i || '.example' AS account_email FROM generate_series(1, 2500) AS i;
SELECT profiles.add_source('sr.accounts');
CALL profiles.rebuild('account');
SELECT profiles.add_attributes('account', 'sr.crm', 'account', 'account_id');
CALL profiles.sync();
SELECT account_id FROM profiles.search_accounts('acme', filter => 'account_email = ''billing@acme7.example''');
SELECT account_id FROM profiles.search_accounts('acme', filter => 'account_email LIKE ''billing@acme77.%''');
INSERT INTO profiles.country VALUES ('XK', 'Kosovo');
SELECT account_id FROM profiles.search_accounts('acme', filter => 'last_seen_country_name = ''Kosovo''');
SELECT account_id FROM profiles.search_accounts('acme', filter => 'last_seen_country_name LIKE ''Kos%''');
DELETE FROM profiles.country WHERE code = 'XK';
SELECT profiles.drop_attributes('account', 'sr.crm');
SELECT profiles.drop_source('sr.accounts');
CALL profiles.rebuild('account');

-- in a transaction block they stay, since others would wait for its end
SELECT profiles.drop_source('sr.events');
CALL profiles.rebuild('user');
SELECT count(*) FROM profiles.users;
SELECT profiles.add_source('sr.events');
CREATE TABLE sr.before AS SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'i' AND c.relname ~ '^user_(search|word)_.*_idx$';
BEGIN;
CALL profiles.rebuild('user');
COMMIT;
SELECT count(*) FROM profiles.users;
SELECT count(*) AS kept FROM pg_class c JOIN sr.before b ON b.oid = c.oid;

-- few are written with their indexes
SELECT profiles.drop_source('sr.events');
TRUNCATE sr.events;
INSERT INTO sr.events VALUES ('2026-01-01Z', 'sr1', 'Ana Ng', 'ana@x.example');
SELECT profiles.add_source('sr.events');
SELECT profiles._rebuild_step('user', true, NULL);
SELECT profiles._rebuild_step('user', false, NULL);
SELECT profiles._rebuild_step('user', false, NULL);
SELECT phase FROM profiles.progress WHERE kind = 'user';
TABLE sr.indexes ORDER BY 1;
CALL profiles.rebuild();
SELECT user_id FROM profiles.search_users('ng');

SELECT profiles.uninstall();
DROP SCHEMA sr CASCADE;
