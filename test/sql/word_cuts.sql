-- An index of attributes that has words by their beginning alone: it gives the rows
-- that words by themselves give, whatever is cut where.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA wcut;

CREATE TABLE wcut.rows AS
SELECT i AS id, v.*
FROM generate_series(1, 300) AS i
CROSS JOIN LATERAL (VALUES (
    CASE WHEN i % 11 > 0 THEN 'CRM-' || i * 7919 % 100000 END,
    CASE i % 9 WHEN 0 THEN NULL WHEN 1 THEN md5(i::text) WHEN 2 THEN 'usr_' || lpad(i::text, 6, '0') WHEN 3 THEN 'Company ' || i % 50 || ' Ltd'
        WHEN 4 THEN (ARRAY['enterpri', 'enterprise', 'enterprises', 'Enterprise Plus', 'enter'])[1 + i % 5] WHEN 5 THEN 'John.Smith' || i || '+x@Mail-' || i % 4 || '.example'
        WHEN 6 THEN (ARRAY['Ærøskøbing', '王小明', '王小', '김민준', 'été ' || i, 'über-' || i])[1 + i % 6] WHEN 7 THEN repeat('lorem ipsum ' || i || ' ', 1 + i % 2 * i % 5 * 30) ELSE '+49 (30) ' || 1000000 + i END,
    CASE WHEN i % 3 = 0 THEN '' WHEN i % 3 = 1 THEN 'gold' ELSE 'v1.' || i END)) AS v (crm, mixed, tier);

-- what each row has, and all beginnings of that, as a word and as what words begin with
CREATE TABLE wcut.words AS
SELECT DISTINCT r.id, u.lexeme COLLATE "C" AS word FROM wcut.rows r, unnest(profiles._attribute_vector(r.crm, r.mixed, r.tier)) u;
CREATE TABLE wcut.asked AS
SELECT row_number() OVER (ORDER BY a.word, a.kind)::integer AS n, a.*,
       (quote_literal(a.word) || CASE a.kind WHEN 'prefix' THEN ':*' ELSE '' END)::tsquery AS query
FROM (SELECT DISTINCT left(w.word, l) AS word, k.kind FROM wcut.words w, generate_series(1, 14) AS l, (VALUES ('word'), ('prefix')) AS k (kind)
      WHERE w.id % 45 IN (1, 4, 5, 6) OR w.id % 40 = 3) AS a;
CREATE TABLE wcut.expected AS
SELECT a.n, w.id FROM wcut.asked a JOIN wcut.words w ON CASE a.kind WHEN 'word' THEN w.word = a.word ELSE starts_with(w.word, a.word) END GROUP BY 1, 2;
SELECT count(*) > 1000 AS many FROM wcut.asked;

-- two words: both, either, one without the other
CREATE TABLE wcut.asked_two AS
SELECT a.n AS a, b.n AS b, o.op, CASE o.op WHEN 'and' THEN a.query && b.query WHEN 'or' THEN a.query || b.query ELSE a.query && !!b.query END AS query
FROM wcut.asked a JOIN wcut.asked b ON b.n = 1 + a.n * 37 % (SELECT max(n) FROM wcut.asked), (VALUES ('and'), ('or'), ('not')) AS o (op)
WHERE a.n % 17 = 0
UNION
-- of one row, one that is cut and one that is not
SELECT a.n, b.n, 'and', b.query && a.query
FROM wcut.words x JOIN wcut.words y ON y.id = x.id AND y.word <> x.word
JOIN wcut.asked a ON a.word = left(x.word, 9) AND a.kind = 'prefix' JOIN wcut.asked b ON b.word = left(y.word, 1) AND b.kind = 'prefix'
WHERE x.id % 45 IN (1, 5);
CREATE TABLE wcut.expected_two AS
SELECT t.a, t.b, t.op, x.id FROM wcut.asked_two t
CROSS JOIN LATERAL (
    (SELECT e.id FROM wcut.expected e WHERE e.n = t.a AND t.op = 'and' INTERSECT SELECT e.id FROM wcut.expected e WHERE e.n = t.b)
    UNION (SELECT e.id FROM wcut.expected e WHERE e.n IN (t.a, t.b) AND t.op = 'or')
    UNION (SELECT e.id FROM wcut.expected e WHERE e.n = t.a AND t.op = 'not' EXCEPT SELECT e.id FROM wcut.expected e WHERE e.n = t.b)) AS x;

-- How many rows the index gives or leaves out that it should not.
CREATE FUNCTION wcut.wrong(options text, OUT wrong bigint, OUT wrong_of_two bigint, OUT by_index boolean) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_indexscan = off
AS $$
DECLARE
    plan json;
BEGIN
    DROP INDEX IF EXISTS wcut.words_idx;
    EXECUTE 'CREATE INDEX words_idx ON wcut.rows USING gin ((ARRAY[crm, mixed, tier]) profiles.' || options || ')';
    EXECUTE $q$EXPLAIN (FORMAT json) SELECT r.id FROM wcut.rows r WHERE ARRAY[r.crm, r.mixed, r.tier] OPERATOR(profiles.@@) 'a'$q$ INTO plan;
    by_index := plan::text LIKE '%words_idx%';
    CREATE TEMP TABLE found AS SELECT a.n, r.id FROM wcut.asked a, LATERAL (SELECT r.id FROM wcut.rows r WHERE ARRAY[r.crm, r.mixed, r.tier] OPERATOR(profiles.@@) a.query OFFSET 0) r;
    CREATE TEMP TABLE found_two AS SELECT a.a, a.b, a.op, r.id FROM wcut.asked_two a, LATERAL (SELECT r.id FROM wcut.rows r WHERE ARRAY[r.crm, r.mixed, r.tier] OPERATOR(profiles.@@) a.query OFFSET 0) r;
    SELECT count(*) INTO wrong FROM ((TABLE found EXCEPT ALL TABLE wcut.expected) UNION ALL (TABLE wcut.expected EXCEPT ALL TABLE found)) d;
    SELECT count(*) INTO wrong_of_two FROM ((TABLE found_two EXCEPT ALL TABLE wcut.expected_two) UNION ALL (TABLE wcut.expected_two EXCEPT ALL TABLE found_two)) d;
    DROP TABLE found, found_two;
END
$$;
SELECT o.options, w.* FROM (VALUES
    ('attribute_ops'),
    ('beginning_ops'),
    -- by bytes, and between them
    ('beginning_ops (cuts = ''0:16 1:24 2:16 crm:32 e:24 usr00:48'')'),
    ('beginning_ops (cuts = ''1:11 2:15 3:20 4:12 <:13 @m:21 c1:23 crm:29 ente:37 j:12 usr:30 v1:22'')'),
    -- all words
    ('beginning_ops (cuts = '':12'')'),
    ('beginning_ops (cuts = '':63'')'),
    ('beginning_ops (cuts = ''enterpr:62'')')) AS o (options), wcut.wrong(o.options) AS w;

-- rows that come later: waiting in the index, and in order
SELECT wcut.wrong('beginning_ops (cuts = ''1:24 crm:29 ente:37'')');
INSERT INTO wcut.rows SELECT 1000 + i, 'CRM-' || i * 7919 % 100000, 'enterprising', md5(i::text) FROM generate_series(1, 50) AS i;
SET enable_seqscan = off;
SELECT count(*) FROM wcut.rows WHERE ARRAY[crm, mixed, tier] OPERATOR(profiles.@@) '''crm7919'':*';
SELECT count(*) FROM wcut.rows WHERE ARRAY[crm, mixed, tier] OPERATOR(profiles.@@) 'enterprising';
SELECT count(*) FROM wcut.rows WHERE ARRAY[crm, mixed, tier] OPERATOR(profiles.@@) 'enterpris';
SELECT gin_clean_pending_list('wcut.words_idx') > 0 AS waited;
SELECT count(*) FROM wcut.rows WHERE ARRAY[crm, mixed, tier] OPERATOR(profiles.@@) '''crm7919'':*';
SELECT count(*) FROM wcut.rows WHERE ARRAY[crm, mixed, tier] OPERATOR(profiles.@@) 'enterprising';
SELECT count(*) FROM wcut.rows WHERE ARRAY[crm, mixed, tier] OPERATOR(profiles.@@) 'enterpris';
RESET enable_seqscan;

SELECT amvalidate(c.oid) FROM pg_opclass c WHERE c.opcname = 'beginning_ops';

-- what is no such option
\set VERBOSITY terse
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm:24'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm:26'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'c:17'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'c:18'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm:65'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm:32 '));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm:32 a:16'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'c:16 crm:32'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm:32 crm:32'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = ':16 crm:32'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'enterprise:64'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (cuts = 'crm:-1'));
CREATE INDEX ON wcut.rows USING gin ((ARRAY[crm]) profiles.beginning_ops (bytes = 4));
\set VERBOSITY default

-- the choice: ids, also behind a beginning that all share; what repeats is left alone, as are
-- few words, and words that eight bytes don't tell apart
SELECT s.what, profiles._choose_cuts(s.sample, 1000000) AS cuts
FROM (VALUES
    ('numbers', 'SELECT ARRAY[i::text] FROM generate_series(100000, 999999, 97) AS i'),
    ('behind letters', 'SELECT ARRAY[''CRM-'' || i] FROM generate_series(100000, 999999, 97) AS i'),
    ('behind zeros', 'SELECT ARRAY[''usr_'' || lpad(i::text, 7, ''0'')] FROM generate_series(1, 999999, 101) AS i'),
    ('random', 'SELECT ARRAY[md5(i::text)] FROM generate_series(1, 10000) AS i'),
    ('beside what repeats', 'SELECT ARRAY[''Company '' || i || '' Ltd'', (ARRAY[''free'', ''enterprise''])[1 + i % 2]] FROM generate_series(100000, 999999, 97) AS i'),
    ('what repeats', 'SELECT ARRAY[''Company '' || i % 5000 || '' Ltd'', (ARRAY[''free'', ''enterprise''])[1 + i % 2]] FROM generate_series(1, 999999, 101) AS i'),
    ('too long', 'SELECT ARRAY[''customer'' || i] FROM generate_series(100000, 999999, 97) AS i'),
    ('long ones that repeat', 'SELECT ARRAY[md5(i::text), (ARRAY[''enterprise'', ''enterprises''])[1 + i % 2]] FROM generate_series(1, 10000) AS i'),
    ('nothing', 'SELECT ARRAY[NULL::text] FROM generate_series(1, 10000)'),
    ('nobody', 'SELECT ARRAY[''a''] WHERE false')) AS s (what, sample);
SELECT profiles._choose_cuts('SELECT ARRAY[md5(i::text)] FROM generate_series(1, 10000) AS i', 90000) AS few;

-- as a sync makes it: who has an id is found by any beginning of it
CREATE TABLE wcut.events (ts timestamptz, user_id text);
INSERT INTO wcut.events SELECT timestamptz '2026-01-01Z' + i * interval '1 s', 'cut' || i FROM generate_series(1, 3000) AS i;
SELECT profiles.add_source('wcut.events');
CALL profiles.rebuild('user');
CREATE TABLE wcut.crm AS
SELECT 'cut' || i AS uid, 'CRM-' || 100000 + i * 7919 % 900000 AS crm, md5(i::text) AS token, (ARRAY['free', 'enterprise'])[1 + i % 2] AS tier FROM generate_series(1, 40000) AS i;
SELECT profiles.add_attributes('user', 'wcut.crm', 'uid', 'user_id');
SHOW maintenance_work_mem;
CALL profiles.sync('wcut.crm');
SHOW maintenance_work_mem;
SELECT indexdef ~ 'beginning_ops \(cuts=''[^'']+''\)' AS cut FROM pg_indexes WHERE schemaname = 'profiles' AND indexname ~ '^attributes_.*_search$';
-- how frequent words are, as a sync counts it of a sample
CREATE TABLE wcut.frequent AS
SELECT l.word, count(*) AS people
FROM (SELECT profiles._attribute_vector(c.crm, c.token, c.tier) AS vector FROM wcut.crm c WHERE substr(c.uid, 4)::integer <= 3000) c
CROSS JOIN LATERAL (SELECT u.lexeme COLLATE "C" AS word FROM unnest(c.vector) u
                    UNION ALL SELECT DISTINCT left(u.lexeme, n) COLLATE "C" || '*' FROM unnest(c.vector) u, generate_series(1, 4) AS n) l
GROUP BY l.word;
CREATE TABLE wcut.counted AS SELECT w.word COLLATE "C" AS word, w.people + w.attributes::bigint AS people FROM profiles._count_imported_words('user', 100) w;
TABLE wcut.counted EXCEPT ALL TABLE wcut.frequent;
TABLE wcut.frequent EXCEPT ALL TABLE wcut.counted;
SELECT word, imported FROM profiles.user_search_stat WHERE imported > 0 EXCEPT TABLE wcut.frequent;
CREATE VIEW wcut.wrong_ids AS
SELECT c.uid, s.typed FROM wcut.crm c
CROSS JOIN LATERAL (VALUES (c.crm), (replace(c.crm, '-', '')), (split_part(c.crm, '-', 2)), (c.token), (left(c.token, 9)), (upper(left(c.token, 12))), (left(c.crm, 10) || ' ' || left(c.token, 5))) AS s (typed)
WHERE substr(c.uid, 4)::integer % 150 = 7 AND substr(c.uid, 4)::integer <= 3000
  AND NOT EXISTS (SELECT FROM profiles.search_users(s.typed) u WHERE u.user_id = c.uid);
SELECT * FROM wcut.wrong_ids;
-- and who has another with this beginning is not
SELECT count(*) FROM profiles.search_users(md5('7') || 'x');
SELECT u.user_id, u.matched FROM profiles.search_users(left(md5('77'), 8)) u;
SELECT array_agg(u.user_id ORDER BY u.user_id COLLATE "C") = (SELECT array_agg(c.uid ORDER BY c.uid COLLATE "C") FROM wcut.crm c WHERE c.token LIKE 'ab%' AND substr(c.uid, 4)::integer <= 3000) AS all_of_two_letters
FROM profiles.search_users('ab', 1000) u;
-- what changes, and what a new index has
UPDATE wcut.crm SET crm = 'CRM-' || 100000 + (substr(uid, 4)::integer + 1) * 7919 % 900000, token = md5('new' || uid) WHERE substr(uid, 4)::integer % 300 = 7;
CALL profiles.sync('wcut.crm');
SELECT * FROM wcut.wrong_ids;
SELECT count(*) FROM profiles.search_users(md5('7'));
DO $$ BEGIN EXECUTE format('REINDEX TABLE %s', (SELECT profiles._import_table(id) FROM profiles.import_config WHERE source = 'wcut.crm')); END $$;
SELECT * FROM wcut.wrong_ids;

SELECT profiles.uninstall();
DROP SCHEMA wcut CASCADE;
