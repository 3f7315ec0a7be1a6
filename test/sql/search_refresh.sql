-- What is searched of many whose attributes have changed, which is written without a query:
-- every scenario ends with what the views show, and with all words that the indexes give
-- against those of the rows.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA sr;
CREATE EXTENSION amcheck SCHEMA sr;
CREATE TABLE sr.events (ts timestamptz, user_id text, user_name text, user_email text, city text, plan text);
SELECT profiles.add_source('sr.events', mapping => '{"name": "user_name", "email": "user_email", "geo.city": "city", "plan": "plan"}');
ALTER TABLE profiles.user_search SET (autovacuum_enabled = off);
ALTER TABLE profiles.user_profile SET (autovacuum_enabled = off);

CREATE FUNCTION sr.wrong() RETURNS TABLE (what text, found text) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_indexscan = off
AS $$
DECLARE
    columns text := (SELECT string_agg(format('p.%I::text', a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                     WHERE a.attrelid = 'profiles.users'::regclass AND a.attnum > 0 AND a.atttypid = 'text'::regtype
                       AND a.attname NOT IN ('user_id', 'user_name', 'user_email'));
    indexed text;
BEGIN
    RETURN QUERY EXECUTE format($q$
        WITH fresh AS (SELECT p.user_id, profiles._search_vector(p.user_name, p.user_email), profiles._attribute_vector(%s) FROM profiles.users p),
             stored AS (SELECT t.key, t.search, t.attributes FROM profiles.user_search t)
        SELECT 'row', d.user_id FROM ((TABLE fresh EXCEPT ALL TABLE stored) UNION ALL (TABLE stored EXCEPT ALL TABLE fresh)) d $q$, columns);
    FOREACH indexed IN ARRAY ARRAY['attributes', 'profiles._indexed_words(search)'] LOOP
        RETURN QUERY EXECUTE format($q$
            SELECT %1$L, s.word || ' ' || s.ndoc || ' ' || c.n
            FROM ts_stat('SELECT %1$s FROM profiles.user_search') s
            CROSS JOIN LATERAL (SELECT count(*) AS n FROM profiles.user_search t WHERE %1$s @@ (quote_literal(s.word))::tsquery) c
            WHERE c.n <> s.ndoc $q$, indexed);
    END LOOP;
    PERFORM sr.bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid IN ('profiles.user_search'::regclass, 'profiles.user_profile'::regclass) AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree');
END
$$;
\set check 'CALL profiles.refresh(); SELECT * FROM sr.wrong() ORDER BY 1, 2;'

CREATE PROCEDURE sr.add(first int, last int, day int) LANGUAGE sql AS $$
    INSERT INTO sr.events
    SELECT timestamptz '2024-01-01Z' + day * interval '1 day' + i * interval '1 s', 'sr' || i, 'Name ' || i % 50 || ' Surname' || i, 'mail' || i || '@host' || i % 7 || '.example',
           'City ' || day || ' ' || i % 3, CASE WHEN i % 4 > day % 4 THEN 'Plan' || day || '-' || i END
    FROM generate_series(first, last) AS i $$;

CALL sr.add(1, 1000, 1);
CALL profiles.rebuild();
SELECT * FROM sr.wrong() ORDER BY 1, 2;
VACUUM ANALYZE profiles.user_search;

-- all, and rows whose versions lie between those of others
CALL sr.add(1, 1000, 2);
:check
DELETE FROM sr.events WHERE user_id LIKE 'sr%7';
CALL profiles.refresh();
VACUUM profiles.user_search, profiles.user_profile;
CALL sr.add(1, 1000, 3);
:check
-- few, some of whom are new, and some called otherwise
CALL sr.add(500, 510, 4); CALL sr.add(995, 1005, 4);
INSERT INTO sr.events VALUES ('2024-01-05 12:00Z', 'sr505', 'Other', NULL, 'Town', 'Plan'), ('2024-01-05 12:00Z', 'sr506', NULL, 'other@host.example', NULL, NULL);
:check
SELECT user_id, matched FROM profiles.search_users('town plan');
-- more than there is memory for
SET maintenance_work_mem = '1MB';
CALL sr.add(1, 1000, 5);
:check
RESET maintenance_work_mem;

-- whose attributes are the same keeps the row
CREATE TABLE sr.before AS SELECT key, ctid AS place FROM profiles.user_search;
INSERT INTO sr.events SELECT e.ts + interval '10 days', e.user_id, e.user_name, e.user_email, e.city, e.plan FROM sr.events e WHERE e.ts >= '2024-01-06Z' AND e.user_id <> 'sr100';
CALL sr.add(100, 100, 6);
:check
SELECT s.key FROM profiles.user_search s JOIN sr.before b USING (key) WHERE s.ctid <> b.place;

-- what is rolled back leaves nothing that is found, and can be done again
CALL sr.add(1, 500, 18);
BEGIN;
CALL profiles.refresh();
SELECT count(*) > 100 AS found FROM profiles.user_search WHERE attributes @@ 'plan18';
ROLLBACK;
SELECT count(*) FROM profiles.user_search WHERE attributes @@ 'plan18';
SELECT * FROM sr.wrong() ORDER BY 1, 2;
:check
-- twice in one transaction
BEGIN;
CALL sr.add(1, 300, 20);
CALL profiles.refresh();
CALL sr.add(1, 300, 21);
CALL profiles.refresh();
COMMIT;
SELECT * FROM sr.wrong() ORDER BY 1, 2;

-- words of many bytes, out of line
INSERT INTO sr.events SELECT '2024-03-01Z', 'sr' || i, NULL, NULL, (SELECT string_agg(md5(i || ' ' || j), ' ') FROM generate_series(1, 300) AS j), NULL FROM generate_series(1, 30) AS i;
:check
INSERT INTO sr.events SELECT '2024-03-02Z', 'sr' || i, NULL, NULL, (SELECT string_agg(md5(i || ' ' || j), ' ') FROM generate_series(1, 250) AS j), 'Plan' FROM generate_series(1, 30) AS i;
:check
INSERT INTO sr.events SELECT '2024-03-03Z', 'sr' || i, NULL, NULL, NULL, 'Plan 2' FROM generate_series(1, 30) AS i;
:check

-- indexes of others: of words in another way, of other kinds, of some rows
CREATE INDEX other_words ON profiles.user_search USING gin (attributes);
CREATE INDEX two_words ON profiles.user_search USING gin (attributes profiles.words_ops, search profiles.words_ops);
CREATE INDEX some_words ON profiles.user_search USING gin (attributes profiles.words_ops) WHERE key > 'sr15';
CREATE INDEX lengths ON profiles.user_search (length(attributes), key) WHERE length(search) > 2;
CREATE INDEX hashed ON profiles.user_search USING hash (length(attributes));
CALL sr.add(1, 500, 80);
:check
SET enable_seqscan = off;
SET enable_indexscan = off;
SELECT count(*) FROM profiles.user_search WHERE attributes @@ '80' AND key > 'sr15';
SELECT count(*) FROM profiles.user_search WHERE attributes @@ '80' AND search @@ 'host1';
DROP INDEX profiles.user_search_attributes_idx, profiles.some_words;
SELECT count(*) FROM profiles.user_search WHERE attributes @@ '80';
DROP INDEX profiles.two_words;
SELECT count(*) FROM profiles.user_search WHERE attributes @@ '80';
DROP INDEX profiles.other_words;
SET enable_seqscan = on;
SELECT count(*) FROM profiles.user_search WHERE attributes @@ '80';
SELECT count(*) FROM profiles.user_search WHERE attributes @@ '80' AND key > 'sr15';
SELECT count(*) FROM profiles.user_search WHERE attributes @@ '80' AND search @@ 'host1';
RESET enable_seqscan;
RESET enable_indexscan;
DROP INDEX profiles.lengths, profiles.hashed;
SELECT profiles._index_search('user');
CALL sr.add(1, 500, 81);
:check
-- what is not as we made it is left to a statement
CREATE FUNCTION sr.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO sr.noted VALUES (NEW.key); RETURN NULL; END $$;
CREATE TABLE sr.noted (key text);
CREATE TRIGGER note AFTER UPDATE ON profiles.user_search FOR EACH ROW EXECUTE FUNCTION sr.note();
CALL sr.add(1, 100, 82);
:check
SELECT count(*) FROM sr.noted;
DROP TRIGGER note ON profiles.user_search;
ALTER TABLE profiles.user_search ADD CONSTRAINT few CHECK (length(attributes) < 50) NOT VALID;
CALL sr.add(1, 100, 83);
:check
INSERT INTO sr.events SELECT '2024-06-01Z', 'sr1', NULL, NULL, (SELECT string_agg(md5(j::text), ' ') FROM generate_series(1, 500) AS j), NULL;
\set VERBOSITY terse
CALL profiles.refresh();
\set VERBOSITY default
ALTER TABLE profiles.user_search DROP CONSTRAINT few;
:check
VACUUM profiles.user_search;
SELECT * FROM sr.wrong() ORDER BY 1, 2;

SELECT profiles.uninstall();
DROP EXTENSION profiles;
CREATE EXTENSION profiles;
DROP SCHEMA sr CASCADE;
