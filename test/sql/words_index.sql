-- The operator class of search's indexes: whatever query it is asked, the index gives the rows
-- that the operator gives without it.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA wi;
CREATE TABLE wi.vectors AS
SELECT i, to_tsvector('simple', concat_ws(' ', CASE WHEN i % 2 = 0 THEN 'ann' END, CASE WHEN i % 3 = 0 THEN 'anna' END, CASE WHEN i % 5 = 0 THEN 'anne' || i % 50 END,
                                         CASE WHEN i % 7 = 0 THEN 'bob' END, CASE WHEN i % 11 = 0 THEN 'bo' END, CASE WHEN i % 13 = 0 THEN 'carl' END)) AS vector
FROM generate_series(1, 3000) AS i;
CREATE INDEX ON wi.vectors USING gin (vector profiles.words_ops);
ANALYZE wi.vectors;
CREATE TABLE wi.queries (n integer PRIMARY KEY, query tsquery);
INSERT INTO wi.queries SELECT row_number() OVER (), q::tsquery FROM unnest(ARRAY[
    -- all of some alternatives
    'ann', 'ann:*', 'anne1', 'nobody', 'ann & bob', 'ann:* & bo:*', 'ann | bob', 'ann:* | bo:*', '(ann | bob) & carl', 'carl & (ann | bob)', '(anna | anne:*) & (bo:* | carl)', '(anna | (anne:* | bob)) & (bo | nobody)',
    'ann & anna & bob & carl', '(ann | nobody) & (nobody | carl:*) & (bo:* | nobody)', 'nobody & ann', 'ann & ann', 'ann:* & ann', '(ann | ann:*) & bob',
    -- others
    'ann & !bob', '!ann', '!(ann | bob) & carl', '(ann & bob) | carl', '(ann & bob) | (anna & carl)', 'ann <-> anna', '(ann <-> anna) & bob', 'ann:A', 'ann:A & bob', 'ann:*D & bob', '(ann:D | bob) & carl', '!(ann & !bob:*)']) AS q
UNION ALL SELECT 100, string_agg('ann | bo' || i, ' & ')::tsquery FROM generate_series(1, 31) AS i
UNION ALL SELECT 101, string_agg('(ann:* | bo' || i || ')', ' & ')::tsquery FROM generate_series(1, 32) AS i
UNION ALL SELECT 102, string_agg('(ann:* | bo' || i || ')', ' & ')::tsquery FROM generate_series(1, 33) AS i;

SET enable_seqscan = off;
CREATE TABLE wi.by_index AS SELECT q.n, v.i FROM wi.queries q, LATERAL (SELECT v.i FROM wi.vectors v WHERE v.vector @@ q.query OFFSET 0) v;
SET enable_seqscan = on;
SET enable_bitmapscan = off;
CREATE TABLE wi.by_table AS SELECT q.n, v.i FROM wi.queries q, LATERAL (SELECT v.i FROM wi.vectors v WHERE v.vector @@ q.query OFFSET 0) v;
SELECT count(*) > 10000 AS many, count(DISTINCT n) FROM wi.by_table;
TABLE wi.by_index EXCEPT ALL TABLE wi.by_table;
TABLE wi.by_table EXCEPT ALL TABLE wi.by_index;

DROP SCHEMA wi CASCADE;
