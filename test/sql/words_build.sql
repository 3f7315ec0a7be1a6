-- An index of words that is made by gathering them: it gives the rows that the operator gives
-- without it, also where memory is short, where versions of rows are out of order, and for rows
-- that have nothing, or NULL.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA wb;

CREATE TABLE wb.rows (id integer, seen integer, attributes text[], vector tsvector, keys integer[]) WITH (fillfactor = 40, autovacuum_enabled = off);
INSERT INTO wb.rows
SELECT i, 0,
       CASE i % 9 WHEN 0 THEN NULL WHEN 1 THEN ARRAY[''] WHEN 2 THEN ARRAY[]::text[]
           ELSE ARRAY['CRM-' || i * 7919 % 100000, md5(i::text), (ARRAY['gold', 'Gold', NULL, 'Golden Goose'])[1 + i % 4], (ARRAY['gold', 'free'])[1 + i % 2]] END,
       CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE to_tsvector('simple', 'w' || i % 3000 || ' w' || i % 11 || ' all') END,
       CASE i % 8 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY[i, NULL, i % 5, i % 5] ELSE ARRAY[i % 1000, i % 1000, -i] END
FROM generate_series(1, 6000) AS i;
CREATE TABLE wb.queries AS
SELECT row_number() OVER (ORDER BY a.q) AS n, a.q::tsquery AS query FROM (
    SELECT quote_literal(w.w) || p.p FROM (
        SELECT md5(i::text) FROM generate_series(3, 6000, 700) AS i UNION SELECT left(md5(i::text), 3) FROM generate_series(3, 6000, 700) AS i
        UNION SELECT 'crm' || i * 7919 % 100000 FROM generate_series(3, 6000, 700) AS i UNION SELECT 'crm' || i FROM generate_series(1, 9) AS i
        UNION SELECT unnest(ARRAY['crm', 'gold', 'golden', 'gol', 'goose', 'free', 'all', 'w', 'w7', 'w10', 'w2999', 'nobody'])) AS w (w), unnest(ARRAY['', ':*']) AS p (p)
    UNION SELECT unnest(ARRAY['!gold', '!nobody', 'gold & !free', '!all', 'free & crm1:* & a:*', 'w1 & w10', 'w1:* | golden', '!(a:* | all)'])) AS a (q);
SELECT count(*) > 100 AS many FROM wb.queries;

CREATE VIEW wb.answers AS
SELECT 'attributes' AS what, q.n, r.id FROM wb.queries q CROSS JOIN LATERAL (SELECT r.id FROM wb.rows r WHERE r.attributes OPERATOR(profiles.@@) q.query OFFSET 0) r
UNION ALL SELECT 'vector', q.n, r.id FROM wb.queries q CROSS JOIN LATERAL (SELECT r.id FROM wb.rows r WHERE r.vector @@ q.query OFFSET 0) r
UNION ALL SELECT 'keys', i, r.id FROM unnest(ARRAY[0, 3, 7, 500, -500, 2002, 5999]) AS i CROSS JOIN LATERAL (SELECT r.id FROM wb.rows r WHERE r.keys && ARRAY[i] OFFSET 0) r
UNION ALL SELECT 'within', i, r.id FROM unnest(ARRAY[3, 500]) AS i CROSS JOIN LATERAL (SELECT r.id FROM wb.rows r WHERE r.keys <@ ARRAY[i, i + 1, 1, -1000 - i] OFFSET 0) r;
CREATE TABLE wb.expected AS TABLE wb.answers;
SELECT what, count(DISTINCT n) > 1 AS asked, count(*) > 1000 AS many FROM wb.expected GROUP BY 1 ORDER BY 1;

-- How many rows the indexes give or leave out that they should not, and how many were asked.
CREATE FUNCTION wb.wrong(OUT wrong bigint, OUT by_index integer) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_indexscan = off
AS $$
DECLARE
    plan json;
BEGIN
    EXPLAIN (FORMAT json) TABLE wb.answers INTO plan;
    by_index := (SELECT count(*) FROM regexp_matches(plan::text, '"Bitmap Index Scan"', 'g'));
    CREATE TEMP TABLE found ON COMMIT DROP AS TABLE wb.answers;
    SELECT count(*) INTO wrong FROM ((TABLE found EXCEPT ALL TABLE wb.expected) UNION ALL (TABLE wb.expected EXCEPT ALL TABLE found)) d;
END
$$;
CREATE FUNCTION wb.make(attribute_class text) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
    DROP INDEX IF EXISTS wb.attributes_idx, wb.vector_idx, wb.keys_idx;
    PERFORM profiles._build_index('CREATE INDEX attributes_idx ON wb.rows USING gin (attributes profiles.' || attribute_class || ')');
    PERFORM profiles._build_index('CREATE INDEX vector_idx ON wb.rows USING gin (vector profiles.words_ops) WITH (fastupdate = on)');
    PERFORM profiles._build_index('CREATE INDEX keys_idx ON wb.rows USING gin (keys)');
END
$$;

SELECT wb.make('attribute_ops');
SELECT * FROM wb.wrong();
-- of each page the first rows have their versions behind those of others
UPDATE wb.rows SET seen = 1 WHERE id % 3 = 0;
UPDATE wb.rows SET seen = 2 WHERE id % 5 = 0;
SELECT wb.make('beginning_ops (cuts = '':12'')');
SELECT * FROM wb.wrong();
-- in several parts
SET maintenance_work_mem = '1MB';
SELECT wb.make('attribute_ops');
SELECT * FROM wb.wrong();
SELECT wb.make('beginning_ops (cuts = ''1:24 crm:29 g:21'')');
SELECT * FROM wb.wrong();
RESET maintenance_work_mem;

-- as PostgreSQL makes them
REINDEX TABLE wb.rows;
SELECT * FROM wb.wrong();

-- what changes
SELECT wb.make('beginning_ops');
UPDATE wb.rows SET attributes = attributes || 'gold'::text, keys = keys || 3 WHERE id % 100 = 1;
DELETE FROM wb.rows WHERE id % 100 = 2;
VACUUM wb.rows;
TRUNCATE wb.expected;
SET enable_bitmapscan = off;
INSERT INTO wb.expected TABLE wb.answers;
RESET enable_bitmapscan;
SELECT * FROM wb.wrong();

-- versions that this transaction has made
BEGIN;
UPDATE wb.rows SET seen = 3 WHERE id % 4 = 0;
SELECT wb.make('beginning_ops');
COMMIT;
SELECT wrong FROM wb.wrong();

-- an error, which leaves nothing; no rows; what it counts
SELECT profiles._build_index('CREATE INDEX broken_idx ON wb.rows USING gin ((ARRAY[(1 / (id - 50))::text]) profiles.attribute_ops)');
SELECT profiles._build_index('CREATE INDEX two_idx ON wb.rows USING gin (attributes profiles.attribute_ops, vector profiles.words_ops)');
SELECT profiles._build_index('CREATE INDEX tree_idx ON wb.rows (id)');
SELECT profiles._build_index('SELECT 1');
SELECT profiles._build_index('');
SELECT profiles._build_index('CREATE INDEX view_idx ON wb.answers USING gin (what)');
CREATE ROLE wb_other;
GRANT USAGE ON SCHEMA profiles, wb TO wb_other;
GRANT EXECUTE ON FUNCTION profiles._build_index(text) TO wb_other;
SET ROLE wb_other;
SELECT profiles._build_index('CREATE INDEX others_idx ON wb.rows USING gin (keys)');
RESET ROLE;
DROP OWNED BY wb_other;
DROP ROLE wb_other;
SELECT to_regclass('wb.broken_idx') IS NULL AND to_regclass('wb.two_idx') IS NULL AS gone;
SELECT * FROM wb.wrong();
-- rows of many words
CREATE TABLE wb.long AS SELECT i, ARRAY[(SELECT string_agg('w' || i + j * 3 || ' ' || repeat('x', 40) || (i + j) % 500, ' ') FROM generate_series(1, 150) AS j)] AS attributes FROM generate_series(1, 200) AS i;
SELECT profiles._build_index('CREATE INDEX long_idx ON wb.long USING gin (attributes profiles.attribute_ops)');
SET enable_seqscan = off;
SELECT count(*) AS wrong FROM generate_series(1, 660) AS n,
    LATERAL (SELECT count(*) AS n FROM wb.long l WHERE l.attributes OPERATOR(profiles.@@) ('w' || n.n)::tsquery) AS found,
    LATERAL (SELECT count(*) AS n FROM wb.long l WHERE string_to_array(left(l.attributes[1], 2000), ' ') @> ARRAY['w' || n.n]) AS expected
WHERE found.n <> expected.n AND n.n < 600;
RESET enable_seqscan;
CREATE TABLE wb.nobody (LIKE wb.rows);
SELECT profiles._build_index('CREATE INDEX nobody_idx ON wb.nobody USING gin (attributes profiles.attribute_ops)');
SET enable_seqscan = off;
SELECT count(*) FROM wb.nobody WHERE attributes OPERATOR(profiles.@@) '!a';
INSERT INTO wb.nobody SELECT * FROM wb.rows WHERE id = 3;
SELECT count(*) FROM wb.nobody WHERE attributes OPERATOR(profiles.@@) 'crm';
SELECT c.reltuples = (SELECT count(*) FROM wb.rows) AS counted FROM pg_class c WHERE c.oid = 'wb.attributes_idx'::regclass;
-- each row once, however often it has a word
CREATE TABLE wb.ordered AS SELECT i FROM generate_series(1, 6000) AS i;
SELECT profiles._build_index('CREATE INDEX once_idx ON wb.ordered USING gin ((ARRAY[''gold'']) profiles.attribute_ops)'),
       profiles._build_index('CREATE INDEX often_idx ON wb.ordered USING gin ((ARRAY[''gold'', ''Gold'', ''gold'', '' gold'']) profiles.attribute_ops)');
SELECT pg_relation_size('wb.often_idx') = pg_relation_size('wb.once_idx') AS once;

DROP SCHEMA wb CASCADE;
