-- Relevance in a crowd: cases of somebody who did not know how search works, among
-- twenty thousand others. test/data/relevance_crowd_cases.tsv has a line for each
-- case: who must be found within which rank, who must not, who must come before
-- whom, how many there must be. test/data/relevance_crowd_people.tsv has the people.

\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
SET client_min_messages = warning;
CREATE TEMP TABLE person (id text, name text, email text, days float8, city text, country text, plan text, account_id text, account_name text);
\set file :abs_srcdir '/data/relevance_crowd_people.tsv'
COPY person FROM :'file';
CREATE TEMP TABLE relevance (number int GENERATED ALWAYS AS IDENTITY, kind text, query text, max int, filter text, found text, not_found text, before text, count int, why text);
\set file :abs_srcdir '/data/relevance_crowd_cases.tsv'
COPY relevance (kind, query, max, filter, found, not_found, before, count, why) FROM :'file';
INSERT INTO relevance (kind, query, max, found, count, why) VALUES
    ('user', 'w' || repeat('x', 5000), 20, 'mo10<=1', NULL, 'a word of 5000 letters'),
    ('user', 'w' || repeat('x', 2100), 20, 'mo10<=1', NULL, 'the beginning of one'),
    ('user', repeat('a', 100000), 20, NULL, 0, 'a word of 100 kB'),
    ('user', (SELECT string_agg('word' || i, ' ') FROM generate_series(1, 3000) i), 20, NULL, 0, '3000 words');

-- the others, by arithmetic
WITH parts AS (
    SELECT string_to_array('Oliver Emma Liam Sophie Noah Mila Elias Clara Felix Laura Hugo Alice Oscar Ella Leon Eva Viktor Nina Filip Olga Igor Vera Pavel Irena Tomas Hana Petr Lenka Marek Alena Roman Dana Milos Radka Ivan Zuzana Karel Ludmila Aldo Chiara Enzo Giulia Matteo Greta Paolo Rosa Dieter Ute Heinz Gerda Kurt Ilse Otto Frieda', ' ') AS first,
           string_to_array('ba be bo cu da de di do fa fe fi ga go hu ka ke ko la le lo lu ma me mo mu na ne no pa pe po ra re ro sa se so ta te to va ve vi vo', ' ') AS syllable,
           string_to_array(',n,r,l,s,k', ',') AS ending,
           string_to_array('gmail.com yahoo.com outlook.com bulkmail.test gmail.com yahoo.com gmail.com bulkmail.test gmail.com', ' ') AS domain,
           string_to_array('Prague Vienna Graz Turin Lyon Gdansk Malmo Bergen', ' ') AS city
), surname AS (
    SELECT k, initcap(syllable[1 + k % 44] || syllable[1 + k / 44 % 44] || CASE WHEN k % 3 > 0 THEN syllable[1 + k * 7 / 5 % 44] ELSE '' END || ending[1 + k % 6]) AS name
    FROM parts, generate_series(0, 5002) k
)
INSERT INTO person
SELECT 'fill' || n, CASE WHEN n % 50 > 0 THEN f.name || ' ' || s.name END,
       format('%s.%s%s@%s', lower(f.name), lower(s.name), n, CASE WHEN n % 3 = 0 THEN format('corp%s.example', n % 500) ELSE domain[1 + n % 9] END),
       n * 104729::bigint % 365000 / 1000.0, city[1 + n % 8], ('{CZ,AT,IT,FR}'::text[])[1 + n % 4], ('{free,pro,team}'::text[])[1 + n % 3],
       'fa' || n % 300, 'Fillaccount' || n % 300
FROM parts, generate_series(0, 19999) n
CROSS JOIN LATERAL (SELECT first[1 + (n * 31 + n / 54) % 54] AS name) f
JOIN surname s ON s.k = n * 7919::bigint % 5003;
-- two thousand of one name, none of whom has been seen as recently as thousands of @bulkmail.test
INSERT INTO person SELECT 'bulk' || n, 'Xena Bulkmann', format('x%s@corp.example', n), 400 + n / 100.0, 'Graz', 'AT', 'free' FROM generate_series(1, 2000) n;

CREATE TABLE crowd_events (ts timestamptz, user_id text, user_name text, user_email text, city text, country text, plan text, account_id text, account_name text);
INSERT INTO crowd_events SELECT timestamptz '2024-11-22 10:00Z' - days * interval '1 day', id, name, email, city, country, plan, account_id, account_name FROM person;
SELECT profiles.add_source('crowd_events', mapping => '{"name": "user_name", "email": "user_email", "account_id": "account_id", "account_name": "account_name", "geo.city": "city", "geo.country": "country", "plan": "plan"}');
CALL profiles.rebuild();
CREATE TABLE crowd_contacts (user_id text PRIMARY KEY, tier text, owner text, score int);
INSERT INTO crowd_contacts VALUES ('cu1', 'platinum-elite', 'Pavla Neznama', 5), ('cu2', 'bronze', 'Zebulon Quarkmann', 7);
SELECT profiles.add_attributes('user', 'crowd_contacts', 'user_id', 'user_id');
CALL profiles.sync();
SELECT profiles.create_segment('northern', 'last_city = ''Reykjavik''');

SELECT (SELECT count(*) FROM profiles.users) AS users, (SELECT count(*) FROM profiles.accounts) AS accounts, count(*) AS cases FROM relevance;
CREATE TEMP TABLE answer AS
SELECT r.number, s.user_id AS id, s.rank, s.matched, s.position
FROM relevance r CROSS JOIN LATERAL profiles.search_users(r.query, r.max, r.filter) WITH ORDINALITY AS s (user_id, user_name, user_email, last_seen, rank, matched, position)
WHERE r.kind = 'user'
UNION ALL
SELECT r.number, s.account_id, s.rank, s.matched, s.position
FROM relevance r CROSS JOIN LATERAL profiles.search_accounts(r.query, r.max, r.filter) WITH ORDINALITY AS s (account_id, account_name, last_seen, rank, matched, position)
WHERE r.kind = 'account';
CREATE INDEX ON answer (number, id);
ANALYZE answer;

-- each line of these is a case that is not met
SELECT r.kind, left(r.query, 40) AS query, e.must, e.within, a.position AS was
FROM relevance r
CROSS JOIN LATERAL (SELECT split_part(u, '<=', 1) AS must, split_part(u, '<=', 2)::int AS within FROM unnest(string_to_array(nullif(r.found, ''), ' ')) AS u) e
LEFT JOIN answer a ON a.number = r.number AND a.id = e.must
WHERE a.position IS NULL OR a.position > e.within
ORDER BY r.number, e.must;
SELECT r.kind, left(r.query, 40) AS query, a.id AS must_not, a.position AS was
FROM relevance r JOIN answer a ON a.number = r.number AND a.id = ANY (string_to_array(r.not_found, ' '))
ORDER BY r.number, a.id;
SELECT r.kind, left(r.query, 40) AS query, e.earlier, x.position AS earlier_was, e.later, y.position AS later_was
FROM relevance r
CROSS JOIN LATERAL (SELECT split_part(u, '>', 1) AS earlier, split_part(u, '>', 2) AS later FROM unnest(string_to_array(nullif(r.before, ''), ' ')) AS u) e
JOIN answer y ON y.number = r.number AND y.id = e.later
LEFT JOIN answer x ON x.number = r.number AND x.id = e.earlier
WHERE x.position IS NULL OR x.position > y.position
ORDER BY r.number, e.earlier, e.later;
SELECT r.kind, left(r.query, 40) AS query, r.count AS wanted, count(a.id) AS was
FROM relevance r LEFT JOIN answer a ON a.number = r.number
WHERE r.count IS NOT NULL
GROUP BY r.number, r.kind, r.query, r.count HAVING count(a.id) <> r.count
ORDER BY r.number;

-- each answer is distinct, in the order of its rank, and says why
SELECT a.number, a.id, a.matched, a.rank
FROM (SELECT a.*, lag(a.rank) OVER w AS rank_before, count(*) OVER (PARTITION BY a.number, a.id) AS times FROM answer a WINDOW w AS (PARTITION BY a.number ORDER BY a.position)) a
WHERE a.rank > a.rank_before OR a.times > 1 OR coalesce(a.matched, '') = ''
ORDER BY a.number, a.position;

-- whose name begins with it comes before whose address does, however long ago
SELECT count(*) FROM profiles.search_users('bulkm') WHERE user_name LIKE '% Bulkm%';

-- whatever is typed is no error
CREATE FUNCTION pg_temp.error_of(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM profiles.search_users(query, 5);
    PERFORM FROM profiles.search_accounts(query, 5);
    PERFORM profiles.people_tsquery(query);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
WITH pieces AS (
    SELECT ARRAY['https://', 'www.', '/', '?', '#', '%', '%40', '%C3%BC', '%E2', '%00', '@', '.', '-', '_', '+', '&', '''', '"', '<', '>', '(', '\', '|', '!', ':*', ' ', ' OR ', 'AND', 'mailto:',
                 'ada', 'smith', 'com', 'example', '明', '山田', '김', 'ü', '🚀', '1', 'a', 'Dr', U&'\0009', 'hw1', 'bulkmail', 'acmesoft', 'publikc', ',', '=', U&'\200D', U&'\0301'] AS piece
), queries AS (
    SELECT i, string_agg(piece[1 + ('x' || substr(md5(i || ' ' || j), 1, 7))::bit(28)::int % cardinality(piece)], '' ORDER BY j) AS query
    FROM pieces, generate_series(1, 4000) i, generate_series(1, 7) j WHERE j <= 2 + i % 6 GROUP BY i
)
SELECT count(DISTINCT q.query) > 3000 AS many, count(e) AS errors, min(q.query) FILTER (WHERE e IS NOT NULL) AS one, min(e) AS error
FROM queries q, pg_temp.error_of(q.query) AS e;

SELECT profiles.drop_segment('northern');
SELECT profiles.uninstall();
DROP TABLE crowd_events, crowd_contacts;
