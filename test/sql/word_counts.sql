-- How often words are met, and what words begin with: the count that statistics of
-- search are made of, against the same in SQL.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA wc;
CREATE TABLE wc.events (ts timestamptz, user_id text, user_name text, email text, session_id text, city text, plan text);
INSERT INTO wc.events
SELECT timestamptz '2026-01-01Z' + i * interval '1 min', 'wc' || i,
       (ARRAY['Ana', 'Anna', 'Ann-Marie', 'José', 'Ødegård', '王小明', '김민준', 'Łukasz', 'O''Brien', 'Ja', 'J', '', 'Ünal *', '=x', '<y>', '@z'])[1 + i % 16]
           || ' ' || (ARRAY['Anderson', 'Andersen', 'de la Cruz', 'Ng', '山田', 'Garper', 'Ágústsdóttir', 'X'])[1 + i * 7 % 8] || CASE WHEN i % 5 = 0 THEN ' ' || i ELSE '' END,
       CASE i % 4 WHEN 0 THEN 'ana.' || i || '+tag@mail' || i % 30 || '.example' WHEN 1 THEN 'j@x.example' WHEN 2 THEN 'пётр' || i % 50 || '@почта.example' END,
       's' || i, (ARRAY['Berlin', 'Bern', 'São Paulo', '東京', 'B'])[1 + i % 5], repeat(md5((i % 900)::text), 1 + i % 3)
FROM generate_series(1, 4000) AS i;
SELECT profiles.add_source('wc.events', mapping => '{"plan": "plan"}');
CALL profiles.rebuild();

CREATE TABLE wc.expected AS
SELECT l.word, sum(l.people) AS people, sum(l.attributes) AS attributes
FROM profiles.user_search s
CROSS JOIN LATERAL (
    SELECT CASE WHEN u.lexeme LIKE '<%' THEN left(u.lexeme, 5) ELSE u.lexeme END COLLATE "C" AS word, 1 AS people, 0 AS attributes FROM unnest(s.search) u
    UNION ALL SELECT u.lexeme COLLATE "C", 0, 1 FROM unnest(s.attributes) u
    -- who has several words that begin alike counts once
    UNION ALL SELECT DISTINCT left(u.lexeme, n.n) COLLATE "C" || '*', 1, 0 FROM unnest(s.search) u, generate_series(1, 4) AS n (n) WHERE u.lexeme !~ '^[<@=]'
    UNION ALL SELECT DISTINCT left(u.lexeme, 5) COLLATE "C" || '*', 1, 0 FROM unnest(s.search) u WHERE u.lexeme ~ '^=.{4}' AND right(u.lexeme, 1) <> '*'
    UNION ALL SELECT DISTINCT left(u.lexeme, n.n) COLLATE "C" || '*', 0, 1 FROM unnest(s.attributes) u, generate_series(1, 4) AS n (n)) l
GROUP BY l.word;
CREATE TABLE wc.counted AS SELECT w.word COLLATE "C", people::bigint, attributes::bigint FROM profiles._count_words('user', 100) w;
SELECT count(*) > 5000 AS many, count(*) = count(DISTINCT word) AS once FROM wc.counted;
TABLE wc.counted EXCEPT ALL TABLE wc.expected;
TABLE wc.expected EXCEPT ALL TABLE wc.counted;

-- in parts, where memory is short
SET maintenance_work_mem = '1MB';
CREATE TABLE wc.parts AS SELECT w.word COLLATE "C", people, attributes FROM profiles._count_words('user', 100) w;
RESET maintenance_work_mem;
SELECT count(*) > count(DISTINCT word) AS in_parts FROM wc.parts;
SELECT p.word, sum(p.people), sum(p.attributes) FROM wc.parts p GROUP BY 1 EXCEPT ALL TABLE wc.expected;
TABLE wc.expected EXCEPT ALL SELECT p.word, sum(p.people), sum(p.attributes) FROM wc.parts p GROUP BY 1;

-- what statistics have of it: what more than one has, and all in the end
SELECT t.word, t.people, t.attributes FROM profiles.user_search_stat t WHERE t.word <> '' EXCEPT ALL TABLE wc.expected;
SELECT count(*) AS missing FROM wc.expected e
WHERE e.people + e.attributes > 1 AND NOT EXISTS (SELECT FROM profiles.user_search_stat t WHERE t.word = e.word);
SELECT people FROM profiles.user_search_stat WHERE word = '';
SELECT count(*) FROM profiles._count_words('account', 100);

SELECT profiles.uninstall();
DROP SCHEMA wc CASCADE;
