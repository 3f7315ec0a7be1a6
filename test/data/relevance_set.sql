-- relevance_set.sql: a set of people and cases; "set" says which.

CREATE TEMP TABLE person (id text, name text, email text, city text, country text, plan text, seen int);
\set file :abs_srcdir '/data/' :set '_people.tsv'
COPY person FROM :'file';
CREATE TEMP TABLE relevance (number int GENERATED ALWAYS AS IDENTITY, query text, found text, not_found text, why text);
\set file :abs_srcdir '/data/' :set '_cases.tsv'
COPY relevance (query, found, not_found, why) FROM :'file';

CREATE TABLE relevance_events (ts timestamptz, user_id text, user_name text, user_email text, session_id text, city text, country text, plan text);
INSERT INTO relevance_events SELECT timestamptz '2020-01-01Z' + seen * interval '1 day', id, name, email, 's', city, country, plan FROM person;
SELECT profiles.add_source('relevance_events', mapping => '{"name": "user_name", "email": "user_email", "session": "session_id", "geo.city": "city", "geo.country": "country", "plan": "plan"}');
CALL profiles.rebuild();

SELECT count(*) >= 150 AS enough, count(DISTINCT query) = count(*) AS distinct_queries FROM relevance;
-- each line of this is a case that is not met
CREATE TEMP TABLE answer AS
SELECT r.number, s.user_id, s.position
FROM relevance r CROSS JOIN LATERAL profiles.search_users(r.query) WITH ORDINALITY AS s (user_id, user_name, user_email, last_seen, rank, matched, position);
SELECT r.query, e.must, e.within, a.position AS was
FROM relevance r
CROSS JOIN LATERAL (SELECT split_part(u, '<=', 1) AS must, split_part(u, '<=', 2)::int AS within FROM unnest(string_to_array(nullif(r.found, ''), ' ')) AS u) e
LEFT JOIN answer a ON a.number = r.number AND a.user_id = e.must
WHERE a.position IS NULL OR a.position > e.within
ORDER BY r.number, e.must;
SELECT r.query, a.user_id AS must_not, a.position AS was
FROM relevance r JOIN answer a ON a.number = r.number AND a.user_id = ANY (string_to_array(r.not_found, ' '))
ORDER BY r.number, a.user_id;

-- everybody is found for a reason
SELECT r.query, s.user_id FROM relevance r CROSS JOIN LATERAL profiles.search_users(r.query) s WHERE coalesce(s.matched, '') = '';

SELECT profiles.uninstall();
DROP TABLE relevance_events;
DROP TABLE person, relevance, answer;
