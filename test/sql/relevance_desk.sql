-- Relevance at a support desk: what is typed, pasted and copied there, from somebody
-- who did not know how search works. test/data/relevance_desk_cases.tsv has a line for
-- each case: who must be found within which rank, who must not, how many there must be.

\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
SET client_min_messages = warning;
CREATE TABLE desk_events (kind text, id text, minutes int, name text, email text, city text, country text, plan text, team text);
\set file :abs_srcdir '/data/relevance_desk_people.tsv'
COPY desk_events FROM :'file';
CREATE TABLE desk_attributes (kind text, key text, company text, job text, phone text, crm_id uuid);
\set file :abs_srcdir '/data/relevance_desk_attributes.tsv'
COPY desk_attributes FROM :'file';
CREATE TEMP TABLE relevance (number int GENERATED ALWAYS AS IDENTITY, kind text, query text, found text, not_found text, count int, why text);
\set file :abs_srcdir '/data/relevance_desk_cases.tsv'
COPY relevance (kind, query, found, not_found, count, why) FROM :'file';
INSERT INTO relevance (kind, query, found, count, why) VALUES
    ('user', 'ada lovelace ' || repeat('ada ', 30), 'K-ada<=1', NULL, 'words behind the sixteenth do not count'),
    ('user', 'jane smithers ' || repeat('x', 3000), NULL, 0, 'all words must be met'),
    ('user', repeat('lovelace ', 5000), 'K-ada<=1', NULL, 'a very long query'),
    ('user', repeat('a', 100000), NULL, 0, 'a very long word'),
    ('user', repeat('@', 50000), NULL, 0, 'no error'),
    ('user', repeat('(', 10000), NULL, 0, 'no error'),
    ('user', repeat('a@', 5000), NULL, NULL, 'no error'),
    ('user', repeat('a.', 5000) || 'com', NULL, NULL, 'no error');

CREATE VIEW desk_users AS
SELECT timestamptz '2026-11-21 12:00Z' - minutes * interval '1 min' AS ts, id AS user_id, name, email, city, country, plan, team FROM desk_events WHERE kind = 'user';
CREATE VIEW desk_accounts AS
SELECT timestamptz '2026-11-21 12:00Z' - minutes * interval '1 min' AS ts, id AS account_id, name AS account_name FROM desk_events WHERE kind = 'account';
SELECT profiles.add_source('desk_users', capture => 'none', mapping => '{"name": "name", "email": "email", "geo.city": "city", "geo.country": "country", "plan": "plan", "team": "team"}');
SELECT profiles.add_source('desk_accounts', capture => 'none');
CALL profiles.rebuild();
CREATE VIEW desk_customers AS SELECT key AS email, company, job, phone, crm_id FROM desk_attributes WHERE kind = 'user';
CREATE VIEW desk_companies AS SELECT key AS id, company AS domain, job AS industry FROM desk_attributes WHERE kind = 'account';
SELECT profiles.add_attributes('user', 'desk_customers', 'email', 'user_email', '{"company": null, "job": "job_title", "phone": null, "crm_id": null}');
SELECT profiles.add_attributes('account', 'desk_companies', 'id', 'account_id');
CALL profiles.sync();

SELECT (SELECT count(*) FROM profiles.users) AS users, (SELECT count(*) FROM profiles.accounts) AS accounts, count(*) AS cases FROM relevance;
CREATE TEMP TABLE answer AS
SELECT r.number, s.user_id AS id, s.position
FROM relevance r CROSS JOIN LATERAL profiles.search_users(r.query) WITH ORDINALITY AS s (user_id, user_name, user_email, last_seen, rank, matched, position)
WHERE r.kind = 'user'
UNION ALL
SELECT r.number, s.account_id, s.position
FROM relevance r CROSS JOIN LATERAL profiles.search_accounts(r.query) WITH ORDINALITY AS s (account_id, account_name, last_seen, rank, matched, position)
WHERE r.kind = 'account';
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
SELECT r.kind, left(r.query, 40) AS query, r.count AS wanted, count(a.id) AS was
FROM relevance r LEFT JOIN answer a ON a.number = r.number
WHERE r.count IS NOT NULL
GROUP BY r.number, r.kind, r.query, r.count HAVING count(a.id) <> r.count
ORDER BY r.number;

-- who is first does not depend on how many are wanted
SELECT r.kind, left(r.query, 40) AS query, m.max, s.first, a.first AS was_of_twenty
FROM relevance r CROSS JOIN unnest('{1,3}'::int[]) AS m (max)
CROSS JOIN LATERAL (SELECT array_agg(s.id ORDER BY s.position) AS first
                    FROM (SELECT user_id, position FROM profiles.search_users(r.query, m.max) WITH ORDINALITY AS s (user_id, user_name, user_email, last_seen, rank, matched, position) WHERE r.kind = 'user'
                          UNION ALL
                          SELECT account_id, position FROM profiles.search_accounts(r.query, m.max) WITH ORDINALITY AS s (account_id, account_name, last_seen, rank, matched, position) WHERE r.kind = 'account') s (id, position)) s
CROSS JOIN LATERAL (SELECT array_agg(a.id ORDER BY a.position) AS first FROM answer a WHERE a.number = r.number AND a.position <= m.max) a
WHERE s.first IS DISTINCT FROM a.first
ORDER BY r.number, m.max;

-- why somebody was found: columns that are searched, not whatever has the letters
SELECT query, user_id, matched
FROM unnest(ARRAY['chief 1', 'lovelace 7', 'lovlace london', 'Dr. Lovelace london', 'bob+x@johnson-family.example']) WITH ORDINALITY q (query, n), profiles.search_users(query, 3)
ORDER BY n, rank DESC, user_id;

SELECT profiles.uninstall();
DROP TABLE desk_events, desk_attributes CASCADE;
