-- Search: that what is searched is what the views show, on every path that
-- changes them; completeness and order against plain SQL; filters, rights, errors.

\set SHOW_CONTEXT never
SET client_min_messages = warning;

SELECT profiles.search_users('ada');
CREATE SCHEMA srch;
CREATE TABLE srch.events (ts timestamptz, user_id text, user_name text, user_email text, session_id text, account_id text, account_name text, country text, plan text);
SET client_min_messages = notice;
SELECT profiles.add_source('srch.events', mapping => '{"name": "user_name", "email": "user_email", "plan": "plan"}');
SET client_min_messages = warning;
INSERT INTO srch.events VALUES
    ('2026-01-01Z', 'u1', 'Ada Lovelace', 'ada@example.com', 's1', 'a1', 'Analytical Engines', 'GB', 'free'),
    ('2026-01-02Z', 'u2', 'Grace Hopper', 'grace@navy.example', 's2', 'a2', 'Navy Yard', 'US', 'pro'),
    ('2026-01-03Z', 'u3', 'Ada Byron', NULL, 's3', 'a2', 'Navy Yard', 'US', 'free');
CALL profiles.rebuild();

-- an oracle of upkeep: what is stored is what a computation from the views gives, both ways
CREATE FUNCTION srch.wrong() RETURNS TABLE (kind text, key text) LANGUAGE plpgsql AS $$
DECLARE
    k text;
    columns text;
BEGIN
    FOREACH k IN ARRAY ARRAY['user', 'account'] LOOP
        SELECT string_agg(format('p.%I::text', a.attname), ', ' ORDER BY a.attnum) INTO columns
        FROM pg_attribute a WHERE a.attrelid = format('profiles.%ss', k)::regclass AND a.attnum > 0 AND a.atttypid = 'text'::regtype
          AND a.attname NOT IN (k || '_id', k || '_name', k || '_email')
          AND a.attname NOT IN (SELECT c.attribute FROM profiles.custom_attributes c WHERE c.kind = k);
        RETURN QUERY EXECUTE format($q$
            WITH fresh AS (SELECT p.%1$s_id AS key, profiles._search_vector(p.%1$s_name, %2$s) AS s, profiles._attribute_vector(%3$s) AS a FROM profiles.%1$ss p),
                 stored AS (SELECT t.key, t.search AS s, t.attributes AS a FROM profiles.%1$s_search t)
            SELECT '%1$s', d.key FROM ((TABLE fresh EXCEPT ALL TABLE stored) UNION ALL (TABLE stored EXCEPT ALL TABLE fresh)) d
            UNION ALL
            -- each word that typos may be of is in the dictionary
            SELECT '%1$s word', w FROM profiles.%1$s_search t, unnest(profiles._dictionary_words(t.search)) w
            WHERE NOT EXISTS (SELECT FROM profiles.%1$s_word d WHERE d.word = w) $q$,
            k, CASE k WHEN 'user' THEN 'p.user_email' ELSE 'NULL' END, columns);
    END LOOP;
END $$;
SELECT * FROM srch.wrong();
SELECT user_id, user_name, user_email, last_seen AT TIME ZONE 'UTC' AS last_seen, matched FROM profiles.search_users('ada');
SELECT account_id, account_name, last_seen AT TIME ZONE 'UTC' AS last_seen, matched FROM profiles.search_accounts('navy');

-- a user seen again costs no index work; a changed value does
SELECT ctid AS before FROM profiles.user_search WHERE key = 'u1' \gset
INSERT INTO srch.events VALUES ('2026-02-01Z', 'u1', 'Ada Lovelace', 'ada@example.com', 's1', 'a1', 'Analytical Engines', 'GB', 'free');
CALL profiles.refresh();
SELECT ctid = :'before' AS untouched, (SELECT last_seen = '2026-02-01Z' FROM profiles.users WHERE user_id = 'u1') AS seen FROM profiles.user_search WHERE key = 'u1';
INSERT INTO srch.events VALUES ('2026-02-02Z', 'u1', 'Ada King', 'ada@example.com', 's1', 'a1', 'Analytical Engines', 'GB', 'free');
CALL profiles.refresh();
SELECT ctid = :'before' AS untouched FROM profiles.user_search WHERE key = 'u1';
SELECT * FROM srch.wrong();
SELECT user_id, matched FROM profiles.search_users('ada king');
-- the old name finds nobody
SELECT user_id FROM profiles.search_users('lovelace');

-- new, changed and deleted events, in every way that they come
UPDATE srch.events SET user_name = 'Grace Murray Hopper' WHERE user_id = 'u2';
DELETE FROM srch.events WHERE user_id = 'u3';
CALL profiles.refresh();
SELECT * FROM srch.wrong();
SELECT user_id FROM profiles.search_users('murray');
SELECT user_id FROM profiles.search_users('byron');
SELECT profiles.alter_source('srch.events', capture => 'immediate');
INSERT INTO srch.events VALUES ('2026-02-03Z', 'u4', 'Jean Bartik', 'jean@eniac.example', 's4', 'a3', 'ENIAC', 'US', 'pro'),
                               ('2026-02-04Z', 'u1', 'Ada Lovelace', NULL, 's1', 'a1', 'Engines', 'FR', 'pro');
SELECT user_id FROM profiles.search_users('bartik');
SELECT user_id FROM profiles.search_users('lovelace');
SELECT account_id FROM profiles.search_accounts('eniac');
BEGIN;
INSERT INTO srch.events VALUES ('2026-02-05Z', 'u5', 'Rolled Back', NULL, 's5', NULL, NULL, NULL, NULL);
SELECT user_id FROM profiles.search_users('rolled');
SAVEPOINT one;
INSERT INTO srch.events VALUES ('2026-02-05Z', 'u6', 'Rolled Twice', NULL, 's5', NULL, NULL, NULL, NULL);
ROLLBACK TO one;
INSERT INTO srch.events VALUES ('2026-02-05Z', 'u7', 'Rolled Never', NULL, 's5', NULL, NULL, NULL, NULL);
SELECT user_id FROM profiles.search_users('rolled') ORDER BY 1;
SELECT * FROM srch.wrong();
ROLLBACK;
SELECT user_id FROM profiles.search_users('rolled');
COPY srch.events FROM STDIN;
2026-02-06Z	u8	Copied In	copied@example.com	s8	a8	Copies	DE	free
\.
SELECT user_id FROM profiles.search_users('copied');
CALL profiles.refresh();
CALL profiles.rebuild();
SELECT * FROM srch.wrong();

-- a writer who merges what is pending leaves search to the next refresh
SELECT profiles.alter_source('srch.events', capture => 'deferred');
SET profiles.pending_limit = 0;
INSERT INTO srch.events VALUES ('2026-02-06Z', 'u4', 'Jean Jennings', 'jean@eniac.example', 's4', 'a3', 'ENIAC', 'US', 'pro'),
                               ('2026-02-06Z', 'u1', 'Ada Lovelace', 'ada@example.com', 's1', 'a1', 'Engines', 'JP', 'pro'),
                               ('2026-02-06Z', 'u10', 'Putoff Forgotten', NULL, 's10', NULL, NULL, NULL, NULL);
RESET profiles.pending_limit;
SELECT user_id, user_name FROM profiles.users WHERE user_id IN ('u4', 'u10') ORDER BY 1;
SELECT kind, key FROM srch.wrong() ORDER BY 1, 2;
TABLE profiles.user_search_due ORDER BY 1;
SELECT user_id, user_name FROM profiles.search_users('bartik');
SET client_min_messages = error;
SELECT profiles.forget('user', 'u10', block => true);
SET client_min_messages = warning;
SELECT count(*) FROM profiles.user_search_due WHERE key = 'u10';
CALL profiles.refresh();
SELECT * FROM srch.wrong();
TABLE profiles.user_search_due;
SELECT user_id FROM profiles.search_users('jennings');
SELECT user_id FROM profiles.search_users('bartik');
SELECT user_id FROM profiles.search_users('lovelace japan');
SELECT user_id FROM profiles.search_users('putoff');
SELECT profiles.alter_source('srch.events', capture => 'immediate');

-- a new attribute, and one that goes
SELECT profiles.alter_source('srch.events', mapping => '{"coupon": "''Summer-'' || plan"}');
CALL profiles.rebuild();
SELECT * FROM srch.wrong();
SELECT user_id, matched FROM profiles.search_users('summer-pro') ORDER BY 1;
SELECT profiles.alter_source('srch.events', mapping => '{"coupon": null}');
CALL profiles.rebuild();
SELECT user_id FROM profiles.search_users('summer-pro');
SELECT * FROM srch.wrong();

-- custom attributes: right after their sync
CREATE TABLE srch.crm (email text, owner text, seats int, ref uuid);
INSERT INTO srch.crm VALUES ('ADA@example.com', 'Margaret Hamilton', 5, '00000000-0000-4000-8000-00000000cafe'), ('jean@eniac.example', 'Klára Dán', 7, NULL);
SELECT profiles.add_attributes('user', 'srch.crm', 'email', 'user_email');
SELECT user_id FROM profiles.search_users('hamilton');
CALL profiles.sync();
SELECT user_id, matched FROM profiles.search_users('hamilton');
SELECT user_id, matched FROM profiles.search_users('lovelace margaret');
SELECT user_id, matched FROM profiles.search_users('00000000-0000-4000-8000-00000000cafe');
SELECT user_id, matched FROM profiles.search_users('dan klara', filter => 'seats > 6');
SELECT user_id, matched FROM profiles.search_users('dan klara', filter => 'seats > 7');
-- atoms of a word in several attributes
SELECT user_id, matched FROM profiles.search_users('free&klara');
SELECT user_id, matched FROM profiles.search_users('pro&klara');
UPDATE srch.crm SET owner = 'Joan Clarke' WHERE owner LIKE 'Marg%';
DELETE FROM srch.crm WHERE owner LIKE 'Kl%';
CALL profiles.sync('srch.crm');
SELECT user_id, matched FROM profiles.search_users('hamilton');
SELECT user_id, matched FROM profiles.search_users('clarke');
SELECT user_id, matched FROM profiles.search_users('klara');
-- a value that reaches the views by a change of the key it is compared with
INSERT INTO srch.events VALUES ('2026-02-07Z', 'u2', NULL, 'ada@example.com', 's2', NULL, NULL, NULL, NULL);
SELECT user_id, matched FROM profiles.search_users('clarke') ORDER BY 1;
SELECT profiles.drop_attributes('user', 'srch.crm');
SELECT user_id, matched FROM profiles.search_users('clarke');

-- forget: nothing of the person is left, not even a word; what others share is
INSERT INTO srch.events VALUES ('2026-02-08Z', 'u9', 'Ada Zyxwv', 'zyxwv@zyxwv.example', 's9', NULL, NULL, 'DE', 'quux');
SELECT array_agg(word ORDER BY word) FROM profiles.user_word WHERE word IN ('zyxwv', 'ada', 'example');
SELECT profiles.forget('user', 'u9', block => true);
SELECT array_agg(word ORDER BY word) FROM profiles.user_word WHERE word IN ('zyxwv', 'ada', 'example');
SELECT user_id FROM profiles.search_users('zyxwv');
SELECT count(*) FROM profiles.user_search WHERE key = 'u9';

-- nor of one who had another name before, nor, after a rebuild, of one whose events are gone
CREATE FUNCTION srch.nobodys() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT 'word ' || w.word FROM profiles.user_word w
    WHERE NOT EXISTS (SELECT FROM profiles.user_search s WHERE w.word = ANY (profiles._dictionary_words(s.search)))
    UNION ALL
    SELECT 'statistics ' || t.word FROM profiles.user_search_stat t
    WHERE t.word <> '' AND t.word !~ '^<|\*$' AND NOT EXISTS (SELECT FROM profiles.user_search s WHERE t.word = ANY (tsvector_to_array(s.search) || tsvector_to_array(s.attributes)))
    ORDER BY 1
$$;
INSERT INTO srch.events VALUES ('2026-02-09Z', 'u10', 'Ada Quimberton', 'q@example.com', 's10', NULL, NULL, 'DE', 'quux');
INSERT INTO srch.events VALUES ('2026-02-10Z', 'u11', 'Ada Quillfeather', 'q@example.com', 's11', NULL, NULL, 'DE', 'quux');
INSERT INTO srch.events VALUES ('2026-02-10Z', 'u10', 'Ada Renamedson', 'r@example.com', 's10', NULL, NULL, 'DE', 'quux');
SELECT count(*) AS known FROM profiles.user_word WHERE word IN ('quimberton', 'renamedson', 'quillfeather');
SELECT profiles.forget('user', 'u10', block => true);
SELECT word FROM profiles.user_word WHERE word IN ('quimberton', 'renamedson', 'quillfeather');
SELECT * FROM srch.nobodys();
DELETE FROM srch.events WHERE user_id = 'u11';
CALL profiles.rebuild('user');
SELECT * FROM srch.nobodys();

-- who is found is ranked: tiers, then how words are met, then the newest
DELETE FROM srch.events;
CALL profiles.refresh();
SELECT count(*) AS left_over FROM profiles.user_search;
INSERT INTO srch.events SELECT timestamptz '2026-03-01Z' + i * interval '1 day', 'r' || i, n, e, NULL, NULL, NULL, c, NULL
FROM (VALUES (1, 'Ann', NULL, NULL), (2, 'Ann Smith', NULL, NULL), (3, 'Smith Ann', NULL, NULL), (4, 'Annabel Smith', NULL, NULL), (5, 'Ann-Marie Smithson', NULL, NULL),
             (6, 'Bob', 'ann@x.example', NULL), (7, 'Bob', 'bob@ann.example', NULL), (8, 'Bob', NULL, 'Ann'), (9, 'Anm', NULL, NULL), (10, 'Ann', NULL, NULL),
             (11, 'Jo Annmarie', NULL, NULL)) AS p (i, n, e, c);
SELECT string_agg(user_id, ' ' ORDER BY position) FROM profiles.search_users('ann') WITH ORDINALITY AS s (user_id, n, e, l, r, m, position);
SELECT string_agg(user_id, ' ' ORDER BY position) FROM profiles.search_users('ann smith') WITH ORDINALITY AS s (user_id, n, e, l, r, m, position);
SELECT string_agg(user_id, ' ' ORDER BY position) FROM profiles.search_users('annabell') WITH ORDINALITY AS s (user_id, n, e, l, r, m, position);

-- arguments
SELECT count(*) FROM profiles.search_users(NULL);
SELECT count(*) FROM profiles.search_users('');
SELECT count(*) FROM profiles.search_users('ann', 2);
SELECT count(*) FROM profiles.search_users('ann', NULL);
SELECT count(*) FROM profiles.search_users('ann', 0);
SELECT count(*) FROM profiles.search_users('ann', 1001);
SELECT count(*) FROM profiles.search_users('ann', filter => 'nonsense');
SELECT count(*) FROM profiles.search_users('ann', filter => '');
SELECT user_id FROM profiles.search_users('ann', filter => 'last_seen < ''2026-03-04Z''') ORDER BY 1;
SELECT user_id FROM profiles.search_users('r10', filter => 'user_name = ''Ann''');
SELECT user_id FROM profiles.search_users('r10', filter => 'user_name = ''Bob''');
SELECT profiles.create_segment('early', 'last_seen < ''2026-03-04Z''');
SELECT user_id FROM profiles.search_users('ann', filter => 'in_segment(''early'') AND user_name <> ''Ann''') ORDER BY 1;
-- the name of a segment alone, if no column is called so; of the kind that is searched
SELECT user_id FROM profiles.search_users('ann', filter => 'early') ORDER BY 1;
SELECT user_id FROM profiles.search_users('ann', filter => ' early ') EXCEPT SELECT user_id FROM profiles.search_users('ann', filter => 'in_segment(''early'')');
SELECT account_id FROM profiles.search_accounts('ann', filter => 'early');
SELECT profiles.create_segment('user_name', 'true');
SELECT user_id FROM profiles.search_users('ann', filter => 'user_name');
SELECT profiles.drop_segment('user_name');
SELECT profiles.drop_segment('early');

-- rights: EXECUTE and SELECT on the view, and nothing else
CREATE ROLE profiles_searcher;
SET ROLE profiles_searcher;
SELECT user_id FROM profiles.search_users('ann smith');
RESET ROLE;
GRANT EXECUTE ON FUNCTION profiles.search_users TO profiles_searcher;
SET ROLE profiles_searcher;
SELECT user_id FROM profiles.search_users('ann smith');
RESET ROLE;
GRANT SELECT ON profiles.users TO profiles_searcher;
SET ROLE profiles_searcher;
SELECT user_id FROM profiles.search_users('ann smith', 1);
SELECT user_id FROM profiles.search_users('ann smith', filter => 'user_name LIKE ''Smith%''');
SELECT count(*) FROM profiles.user_search;
SELECT count(*) FROM profiles.user_word;
SELECT profiles.people_tsvector('Ann', NULL) @@ profiles.people_tsquery('an') AS everybody_may;
RESET ROLE;
DROP OWNED BY profiles_searcher;
DROP ROLE profiles_searcher;

-- many: the same answer as plain SQL gives, by index and by walk
TRUNCATE srch.events;
INSERT INTO srch.events
SELECT timestamptz '2026-01-01Z' + (i * 7919 % 6011) * interval '1 min', 'm' || i,
       (ARRAY['James', 'Jane', 'Jan', 'Maria', 'Mario', 'Ada', 'Anna', 'Ann'])[1 + i % 8] || ' ' || (ARRAY['Smith', 'Smythe', 'Novak', 'Lovelace', 'Jones', 'Jansen', 'Kim'])[1 + i % 7] || CASE WHEN i % 100 = 0 THEN i::text ELSE '' END,
       CASE WHEN i % 4 > 0 THEN 'user' || i || '@' || (ARRAY['gmail', 'yahoo', 'rare' || i % 500])[1 + i % 3] || '.example' END,
       's' || i, NULL, NULL, (ARRAY['DE', 'FR', 'GB'])[1 + i % 3], (ARRAY['free', 'pro'])[1 + i % 2]
FROM generate_series(1, 6010) AS i;
-- found only by the index that a walk gives way to: nobody else has both words, and these were not seen for long
INSERT INTO srch.events SELECT '2020-01-01Z'::timestamptz + i * interval '1 day', 'old' || i, 'Max Adams', NULL, 's', NULL, NULL, 'DE', 'pro' FROM generate_series(1, 3) AS i;
-- called as many addresses are
INSERT INTO srch.events VALUES ('2020-01-05Z', 'old4', 'Max Gmail', NULL, 's', NULL, NULL, 'DE', 'pro'), ('2020-01-06Z', 'old5', 'Petra Gmailova', NULL, 's', NULL, NULL, 'DE', 'pro');
-- called as many others' attributes are, and the other way round
INSERT INTO srch.events VALUES ('2020-01-07Z', 'old6', 'Pro Novak', NULL, 's', NULL, NULL, 'DE', 'free'), ('2020-01-08Z', 'old7', 'Zed Free', NULL, 's', NULL, NULL, 'FR', 'james');
CALL profiles.rebuild('user');
SELECT * FROM srch.wrong();
SELECT people FROM profiles.user_search_stat WHERE word IN ('', 'james', '@gmail.example') ORDER BY word;
SELECT attributes FROM profiles.user_search_stat WHERE word = 'pro';
-- words of a person, in plain SQL
CREATE TABLE srch.person AS
SELECT user_id, last_seen, regexp_split_to_array(lower(user_name), ' ') AS name, regexp_split_to_array(lower(user_email), '[@.]') AS email,
       regexp_split_to_array(lower(concat_ws(' ', last_plan, last_seen_country, last_seen_country_name)), ' ') AS attributes
FROM profiles.users;
-- who meets all words in name and e-mail, and how many words are whole words of the name
CREATE FUNCTION srch.plain(query text, with_attributes boolean) RETURNS TABLE (user_id text, exact bigint, named bigint, last_seen timestamptz) LANGUAGE sql AS $$
    SELECT p.user_id, sum((m.exact)::int), sum((NOT m.exact AND m.named)::int), p.last_seen
    FROM srch.person p
    CROSS JOIN unnest(string_to_array(query, ' ')) AS q
    CROSS JOIN LATERAL (SELECT q = ANY (p.name) AS exact, EXISTS (SELECT FROM unnest(p.name) w WHERE w LIKE q || '%') AS named,
                               EXISTS (SELECT FROM unnest(p.email) w WHERE w LIKE q || '%') AS mailed,
                               with_attributes AND EXISTS (SELECT FROM unnest(p.attributes) w WHERE w LIKE q || '%') AS attributed) m
    GROUP BY p.user_id, p.last_seen HAVING bool_and(m.named OR m.mailed OR m.attributed)
$$;
CREATE TABLE srch.query (query text, with_attributes boolean);
INSERT INTO srch.query VALUES ('j', false), ('ja', false), ('jan', false), ('james', false), ('james smith', false), ('ja sm', false),
    ('nov jane', false), ('ma lo', false), ('gmail', false), ('gmail ada', false), ('rare7', false), ('user1234', false), ('jones200', false),
    ('gmail yahoo', false), ('james jane', false), ('kim pro', true), ('smith united', true), ('germany free', true), ('de fr', true),
    ('ann de', true), ('x', false), ('pro', true), ('m a', false), ('pro free', true), ('free james', true), ('pro free de novak', true), ('ja gmail pro', true);
-- whom they mean, by name and address, and by attributes as well
CREATE MATERIALIZED VIEW srch.wanted AS
SELECT q.query, a.attributes, p.* FROM srch.query q, (VALUES (false), (true)) AS a (attributes), srch.plain(q.query, a.attributes) p;
CREATE INDEX ON srch.wanted (query, user_id);
ANALYZE srch.wanted;
-- how many are found: as many as there are, or as were asked for
CREATE VIEW srch.lost AS
SELECT q.query, f.found, w.wanted, f.strangers
FROM srch.query q
CROSS JOIN LATERAL (SELECT least(50, count(*)) AS wanted FROM srch.wanted w WHERE w.query = q.query AND w.attributes = q.with_attributes) w
CROSS JOIN LATERAL (SELECT count(*) AS found, count(*) FILTER (WHERE NOT EXISTS (SELECT FROM srch.wanted w WHERE w.query = q.query AND w.attributes AND w.user_id = s.user_id)) AS strangers
                    FROM profiles.search_users(q.query, 50) s WHERE s.matched NOT LIKE '%like %') f
WHERE f.found <> w.wanted OR f.strangers > 0;
SELECT * FROM srch.lost;
-- where all are ranked, and among the very words, the order is the one of plain SQL
CREATE VIEW srch.disorder AS
SELECT q.query
FROM srch.query q
WHERE (SELECT array_agg(s.user_id ORDER BY s.position) FROM profiles.search_users(q.query, 20) WITH ORDINALITY AS s (user_id, n, e, l, r, m, position))
      <> (SELECT array_agg(p.user_id ORDER BY p.exact DESC, p.named DESC, p.last_seen DESC, p.user_id COLLATE "C")
          FROM (SELECT * FROM srch.wanted w WHERE w.query = q.query AND NOT w.attributes ORDER BY exact DESC, named DESC, last_seen DESC, user_id COLLATE "C" LIMIT 20) p)
  AND q.query IN ('james', 'jan', 'james smith', 'ann', 'jane', 'nov jane', 'rare7', 'user1234', 'j', 'ja', 'gmail');
SELECT * FROM srch.disorder;
-- a name is found before the many addresses that have the word, however long ago it was seen
SELECT t.typed, t.max, (SELECT string_agg(s.user_id, ' ' ORDER BY s.position) FROM profiles.search_users(t.typed, t.max) WITH ORDINALITY AS s (user_id, n, e, l, r, m, position) WHERE s.position < 3) AS first
FROM (VALUES ('gmail', 2), ('gmail', 3), ('gmail', 50), ('m gmail', 2), ('gmail p', 2)) AS t (typed, max);
-- ranks and times never rise down the list
SELECT q.query FROM srch.query q, LATERAL (
    SELECT count(*) AS n FROM (SELECT rank, last_seen, lag(rank) OVER w AS rank_before, lag(last_seen) OVER w AS seen_before
        FROM profiles.search_users(q.query, 100) WITH ORDINALITY AS s (user_id, n, e, last_seen, rank, m, position) WINDOW w AS (ORDER BY position)) s
    WHERE rank > rank_before OR rank = rank_before AND last_seen > seen_before) bad WHERE bad.n > 0;
-- with filters: the same as filtering what is found without
SELECT q.query, f.filter
FROM srch.query q CROSS JOIN (VALUES ('last_plan = ''pro'''), ('user_id LIKE ''m1%0'''), ('last_seen_country = ''DE'' AND user_email IS NULL'), ('false')) AS f (filter)
CROSS JOIN LATERAL (SELECT count(*) AS n FROM profiles.search_users(q.query, 30, f.filter) s WHERE s.matched NOT LIKE '%like %') found
CROSS JOIN LATERAL (SELECT count(*) AS n FROM srch.plain(q.query, q.with_attributes) p JOIN profiles.users u USING (user_id)
                    WHERE CASE f.filter WHEN 'last_plan = ''pro''' THEN u.last_plan = 'pro' WHEN 'user_id LIKE ''m1%0''' THEN u.user_id LIKE 'm1%0'
                                        WHEN 'false' THEN false ELSE u.last_seen_country = 'DE' AND u.user_email IS NULL END) wanted
WHERE found.n <> least(30, wanted.n);
-- who must have an attribute is looked up by its words, and is who passes in plain SQL, also while search is put off
CREATE FUNCTION srch.filtered(query text, filter text, OUT got bigint, OUT wanted bigint) LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) INTO got FROM profiles.search_users(query, 1000, filter) s WHERE s.matched NOT LIKE '%like %';
    EXECUTE format('SELECT count(*) FROM srch.plain(%L, true) p JOIN profiles.users u USING (user_id) WHERE %s', query, filter) INTO wanted;
END
$$;
CREATE VIEW srch.misfiltered AS
SELECT q.query, f.filter, n.got, n.wanted
FROM unnest(ARRAY['zed', 'max', 'pro novak', 'jane novak']) AS q (query)
CROSS JOIN unnest(ARRAY['last_plan = ''james''', '''free'' = last_plan AND user_name LIKE ''Zed%''', 'last_plan = ''nothing''', 'last_plan = ''JAMES''',
    'last_plan = ''james'' OR user_id = ''old6''', 'NOT last_plan = ''nothing'' AND user_id LIKE ''m10%''', 'last_plan = ''''', 'last_plan = ''...''',
    'last_seen_country_name = ''Germany'' AND last_plan = ''free'' AND user_id LIKE ''old%''', 'user_name = ''Max Adams''', 'first_plan = ''rare one''',
    'user_name LIKE ''Ze%''', 'user_name ILIKE ''mAX a%'' AND user_id <> ''old1''', 'user_name LIKE ''%ed''', 'NOT user_name LIKE ''Zed%''', 'user_email LIKE ''user9%''',
    'user_email = ''user9@gmail.example''', 'last_plan LIKE ''ja_es%''', 'user_name LIKE last_plan || ''%''']) AS f (filter)
CROSS JOIN LATERAL srch.filtered(q.query, f.filter) n
WHERE n.got <> n.wanted;
SELECT * FROM srch.misfiltered;
SELECT f.filter, n.* FROM (VALUES ('zed', 'last_plan = ''james'''), ('pro', 'last_seen_country_name = ''Germany'' AND user_id LIKE ''old%'''), ('jane novak', 'last_plan = ''nothing'''),
    ('zed', 'user_name LIKE ''Ze%'''), ('max', 'user_name ILIKE ''mAX a%'''), ('jane novak', 'user_email = ''user9@gmail.example'''), ('jane', 'user_email LIKE ''user9%''')) AS f (query, filter), srch.filtered(f.query, f.filter) n;
-- any text has a word that begins with its first letters, by which a filter on how it begins is looked up
CREATE TABLE srch.texts AS SELECT unnest(ARRAY['mailto:ada@x.example', 'https://x.example/ada', 'O''Brien', 'O’Brien', 'Ann-Marie', 'ann_marie', 'ada+tag@x.example', 'ada@', 'a.b.c', 'McDonald2nd', 'a1b2',
    E'Zz\u0301z', E'Ho\u200dang', 'ADA', 'Dr. X', 'AB山田', 'straße', 'IİIı', 'Ann Œuvre', 'x', 'x=y', 'a"b', 'ann/bob', 'tom&co', 'www.x.example', 'C++', 'AT&T', repeat('a', 3000), repeat('ab ', 100)]) AS text;
SELECT left(t.text, 40) FROM (SELECT DISTINCT u.user_name AS text, s.search AS vector FROM profiles.users u JOIN profiles.user_search s ON s.key = u.user_id
                    UNION SELECT u.user_email, s.search FROM profiles.users u JOIN profiles.user_search s ON s.key = u.user_id
                    UNION SELECT n.text, profiles._search_vector(n.text, NULL) FROM srch.texts n UNION SELECT n.text, profiles._attribute_vector(n.text) FROM srch.texts n) t
WHERE substring(t.text FROM '^[A-Za-z]+') IS NOT NULL
  AND NOT EXISTS (SELECT FROM unnest(t.vector) l WHERE starts_with(l.lexeme, left(lower(substring(t.text FROM '^[A-Za-z]+')), 20)));
UPDATE profiles.user_search SET attributes = profiles._attribute_vector('pro') WHERE key IN ('old6', 'old7');
INSERT INTO profiles.user_search_due SELECT k, false FROM unnest(ARRAY['old6', 'old7']) AS k;
SELECT n.* FROM srch.filtered('zed', 'last_plan = ''james''') n;
CALL profiles.refresh('user');
SELECT * FROM srch.wrong();
-- whatever the statistics say, and so however they are looked for, the same are found
CREATE TABLE srch.stat AS TABLE profiles.user_search_stat;
UPDATE profiles.user_search_stat SET people = people * 1000, attributes = attributes * 1000;
SELECT profiles._search_statistics_changed('user');
SELECT * FROM srch.lost;
SELECT * FROM srch.disorder;
UPDATE profiles.user_search_stat SET people = 1000000 WHERE word = '';
UPDATE profiles.user_search_stat SET people = 3000 WHERE word <> '';
SELECT profiles._search_statistics_changed('user');
SELECT * FROM srch.lost;
SELECT * FROM srch.disorder;
-- each word wrong in another way
CREATE PROCEDURE srch.lie(salt int) LANGUAGE sql AS $$
    UPDATE profiles.user_search_stat t SET people = least(10 ^ abs(hashtext(t.word || salt) % 7), 1000000), attributes = 10 ^ abs(hashtext(salt || t.word) % 6)
    WHERE t.word <> '';
    SELECT profiles._search_statistics_changed('user');
$$;
CALL srch.lie(1);
SELECT * FROM srch.lost;
SELECT * FROM srch.disorder;
CALL srch.lie(2);
SELECT * FROM srch.lost;
CALL srch.lie(3);
SELECT * FROM srch.lost;
-- also where no index gives the newest
BEGIN;
DROP INDEX profiles.user_profile_last_seen_idx;
SELECT * FROM srch.lost;
ROLLBACK;
TRUNCATE profiles.user_search_stat;
INSERT INTO profiles.user_search_stat TABLE srch.stat;
SELECT profiles._search_statistics_changed('user');
-- custom attributes, compared with the key, with an address and with an attribute: the same as plain SQL, too
CREATE TABLE srch.tiers AS SELECT 'm' || i AS uid, CASE WHEN i % 500 = 0 THEN 'gold' WHEN i % 2 = 0 THEN 'silver' ELSE 'iron ore' END AS tier, i AS n FROM generate_series(1, 7000) AS i;
CREATE TABLE srch.owners AS SELECT upper(user_email) AS mail, 'Owner ' || (ARRAY['Quentin', 'Rosalind', 'Silvia'])[1 + abs(hashtext(user_email) % 3)] AS owner FROM srch.events WHERE user_email LIKE '%@rare%';
CREATE TABLE srch.labels (plan text, label text);
INSERT INTO srch.labels VALUES ('free', 'Gratis'), ('pro', 'Bezahlt'), ('other', 'Nobody');
SELECT profiles.add_attributes('user', 'srch.tiers', 'uid', 'user_id');
SELECT profiles.add_attributes('user', 'srch.owners', 'mail', 'user_email');
SELECT profiles.add_attributes('user', 'srch.labels', 'plan', 'last_plan');
CALL profiles.sync();
SELECT * FROM srch.wrong();
SELECT count(*) > 300 AS rosalinds FROM profiles.users WHERE owner = 'Owner Rosalind';
UPDATE srch.person p SET attributes = p.attributes || regexp_split_to_array(lower(concat_ws(' ', u.tier, u.owner, u.label)), ' ') FROM profiles.users u WHERE u.user_id = p.user_id;
TRUNCATE srch.query;
INSERT INTO srch.query VALUES ('gold', true), ('silver', true), ('james gold', true), ('smith silver', true), ('ja gold', true), ('gratis', true), ('jan gratis silver', true),
    ('kim iron ore', true), ('iron pro', true), ('iron fr', true), ('rosalind', true), ('owner ja', true), ('quentin silver james', true), ('gold bezahlt', true), ('gold fr novak', true),
    ('rosa iron jane', true), ('nobody', true), ('gold iron', true), ('be gr', true), ('pro', true), ('sil be ge ma', true);
REFRESH MATERIALIZED VIEW srch.wanted;
SELECT word, imported BETWEEN 2700 AND 3300 AS half FROM profiles.user_search_stat WHERE word IN ('gold', 'silver', 'bezahlt') ORDER BY word;
SELECT * FROM srch.lost;
UPDATE profiles.user_search_stat SET imported = 0;
SELECT profiles._search_statistics_changed('user');
SELECT * FROM srch.lost;
UPDATE profiles.user_search_stat SET people = 1000000 WHERE word = '';
UPDATE profiles.user_search_stat SET people = 3000, imported = 100000 WHERE word <> '';
SELECT profiles._search_statistics_changed('user');
SELECT * FROM srch.lost;
UPDATE profiles.user_search_stat SET people = 300000, attributes = 300000, imported = 300000 WHERE word <> '';
SELECT profiles._search_statistics_changed('user');
SELECT * FROM srch.lost;
CALL srch.lie(4);
SELECT * FROM srch.lost;
CALL srch.lie(5);
SELECT * FROM srch.lost;
-- a typo beside a custom attribute, whatever is taken to be rare
CREATE VIEW srch.mistyped AS
SELECT q.query, (SELECT count(*) FROM profiles.search_users(q.query, 30) f JOIN profiles.users u USING (user_id) WHERE u.user_name ILIKE q.name AND u.tier ILIKE q.tier) AS found,
       (SELECT count(*) FROM profiles.search_users(q.query, 30)) AS all_found,
       (SELECT least(30, count(*)) FROM profiles.users u WHERE u.user_name ILIKE q.name AND u.tier ILIKE q.tier) AS wanted
FROM (VALUES ('jmaes gold', 'james%', 'gold'), ('silver smiht', '%smith%', 'silver'), ('silver novka', '%novak%', 'silver')) AS q (query, name, tier);
SELECT * FROM srch.mistyped;
UPDATE profiles.user_search_stat SET people = 1, attributes = 1, imported = 100000 WHERE word <> '';
SELECT profiles._search_statistics_changed('user');
SELECT * FROM srch.mistyped;
UPDATE profiles.user_search_stat SET people = 300000, attributes = 0, imported = 1 WHERE word <> '';
SELECT profiles._search_statistics_changed('user');
SELECT * FROM srch.mistyped;
DROP VIEW srch.mistyped;
-- in those who pass a filter
SELECT q.query FROM srch.query q, LATERAL (SELECT count(*) AS n FROM profiles.search_users(q.query, 30, 'n % 5 = 0') s WHERE s.matched NOT LIKE '%like %') found,
    LATERAL (SELECT count(*) AS n FROM srch.plain(q.query, true) p JOIN srch.tiers t ON t.uid = p.user_id WHERE t.n % 5 = 0) wanted
WHERE found.n <> least(30, wanted.n);
TRUNCATE profiles.user_search_stat;
INSERT INTO profiles.user_search_stat TABLE srch.stat;
SELECT profiles._search_statistics_changed('user');
-- its words are counted as long as it is there
SELECT profiles._imported_statistics('user');
SELECT word, imported > 2700 AS half FROM profiles.user_search_stat WHERE word IN ('silver', 'bezahlt') ORDER BY word;
-- what finds the profiles of a value goes with the last that is compared with the column
SELECT count(*) FROM pg_class WHERE relname ~ '^user_profile_import_';
SELECT profiles.drop_attributes('user', 'srch.owners'), profiles.drop_attributes('user', 'srch.labels');
SELECT count(*) FROM pg_class WHERE relname ~ '^user_profile_import_';
SELECT count(*) FROM profiles.search_users('rosalind');
SELECT count(*) FROM profiles.search_users('gold', 7);
SELECT profiles.drop_attributes('user', 'srch.tiers');
SELECT word, imported FROM profiles.user_search_stat WHERE word IN ('silver', 'bezahlt') OR imported > 0;
SELECT count(*) FROM profiles.search_users('gold');
SELECT to_regclass('profiles.user_imported') AS left_over;
-- typos of one and two letters in names of enough letters, none in shorter ones
SELECT typed, (SELECT s.user_name || ' ' || s.matched FROM profiles.search_users(typed, 1) s) FROM (VALUES
    ('jmaes'), ('lovelcae'), ('lvelcae'), ('smtih jmaes'), ('novka'), ('kmi'), ('gnn'), ('jansne ada'), ('user1233@gmial.example'), ('zzzzzzzz')) AS t (typed);

-- of many versions of a profile the one that is there
DO $$
BEGIN
    FOR i IN 1..300 LOOP
        UPDATE profiles.user_profile SET profile = profile OPERATOR(profiles.||) (SELECT profiles.profile_agg(timestamptz '2026-02-01Z' + i * interval '1 s', 'session', 's')) WHERE key = 'm1234';
    END LOOP;
END
$$;
SELECT user_id FROM profiles.search_users('user1234');

-- whatever is typed: no error, and nothing of another kind
SELECT count(*) AS typed, bool_and(n >= 0) AS no_error FROM (
    SELECT (SELECT count(*) FROM profiles.search_users(string_agg(chr(1 + (i * 37 + j * j * 101) % 700), '') || repeat('@', i % 3) || repeat('ja', i % 4))) AS n
    FROM generate_series(1, 300) AS i, generate_series(1, 1 + i % 12) AS j GROUP BY i) t;
SELECT count(*) FROM profiles.search_users(repeat('a', 100000));
SELECT count(*) FROM profiles.search_users(repeat('ja ', 100000));
SELECT count(*) FROM profiles.search_users(repeat('ja OR ', 100000) || 'OR');
SELECT count(*) FROM profiles.search_users(repeat('o''', 5000) || '@' || repeat('x.', 5000));
SELECT count(*) FROM profiles.search_users(repeat('山', 5000));

-- addresses, by whatever they begin with, as they are and without separators but the + of a tag, alone and beside a name: one with a tag, two of one
-- person, one in a name, some that begin alike for longer than their index tells, of letters of several bytes
CREATE TABLE srch.address (user_id text, name text, email text, address text);
INSERT INTO srch.address VALUES
    ('e1', 'Eve Tagged', 'eve.tagged+news@Math.example.co.uk', 'eve.tagged+news@math.example.co.uk'), ('e1', 'Eve Tagged', 'eve.tagged+news@math.example.co.uk', 'eve.tagged@math.example.co.uk'),
    ('e2', 'Eve Double', 'o.ne@first.example, t.wo.double@second.example', 'o.ne@first.example'), ('e2', 'Eve Double', 'o.ne@first.example, t.wo.double@second.example', 't.wo.double@second.example'),
    ('e3', 'Eve Named <in.the.name@named.example>', NULL, 'in.the.name@named.example'),
    ('e4', 'Eve Loaded', 'load-testing.automation.user.000001@example.com', 'load-testing.automation.user.000001@example.com'),
    ('e5', 'Eve Loaded', 'load-testing.automation.user.000002@example.com', 'load-testing.automation.user.000002@example.com'),
    ('e6', 'Eve Loaded', 'load_testing.automation_u@example.com', 'load_testing.automation_u@example.com'),
    ('e7', 'Eve Cut', 'yюлия.константинова@пример.example', 'yюлия.константинова@пример.example'), ('e8', 'Eve Cut', 'юлия.константинович@пример.example', 'юлия.константинович@пример.example'),
    ('e9', 'Eve', 'zzz@zzz.example', 'zzz@zzz.example'), ('e10', NULL, 'o''brien@x.example', 'o''brien@x.example'),
    -- as the first of one and a further one of another
    ('e11', 'Eve Twin', 't.wo.double@second.example', 't.wo.double@second.example'), ('e12', 'Eve Twin', 'eve.tagged+news@math.example.co.uk', 'eve.tagged+news@math.example.co.uk');
INSERT INTO srch.events SELECT DISTINCT ON (user_id) timestamptz '2026-03-01Z', user_id, name, email FROM srch.address;
SELECT * FROM srch.wrong();
CREATE FUNCTION srch.squeezed(address text) RETURNS text LANGUAGE sql AS $$
    SELECT translate(split_part(address, '@', 1), '._''-', '') || substr(address, length(split_part(address, '@', 1)) + 1)
$$;
CREATE VIEW srch.unfound AS
SELECT count(*) AS typed, string_agg(format('%s: %s', t.typed, t.user_id), ', ' ORDER BY t.typed) FILTER (WHERE t.user_id NOT IN (SELECT s.user_id FROM profiles.search_users(t.typed, 1000) s)) AS unfound
FROM (SELECT DISTINCT w.typed, b.user_id
      FROM srch.address a, generate_series(3, length(a.address) + 2, 3) AS n, LATERAL (VALUES (left(a.address, n)), (srch.squeezed(left(a.address, n)))) AS l (typed), srch.address b,
           LATERAL (VALUES (l.typed), ('eve ' || l.typed)) AS w (typed)
      WHERE starts_with(srch.squeezed(b.address), srch.squeezed(l.typed)) AND length(srch.squeezed(l.typed)) > 2 AND (b.name IS NOT NULL OR w.typed NOT LIKE 'eve %')) t;
SELECT * FROM srch.unfound;
BEGIN;
DROP INDEX profiles.user_search_address_idx;
SELECT user_id FROM profiles.search_users('load.testing.automation.user.000002@example');
ROLLBACK;
-- the indexes leave out of a vector what is found in another way, and nothing else; they have beginnings of words beside
SELECT count(*) AS people, count(*) FILTER (WHERE x.indexed IS DISTINCT FROM x.words) AS wrong_words,
       count(*) FILTER (WHERE (x.begins IS NULL) <> (x.address IS NULL) OR NOT starts_with(x.address, left(x.begins, -1))
                              OR octet_length(x.begins) - 1 NOT BETWEEN least(octet_length(x.address), 21) AND 22 OR octet_length(x.begins) < 22 AND left(x.begins, -1) <> x.address
                              OR ascii(right(x.begins, 1)) <> 1 + (SELECT coalesce(max(octet_length(w)), 0) FROM unnest(tsvector_to_array(x.search)) AS w WHERE starts_with(substr(x.address, 2), w))) AS wrong_addresses
FROM (SELECT s.search, a.address, profiles._indexed_address(s.search) AS begins, tsvector_to_array(profiles._indexed_words(s.search)) AS indexed,
             ARRAY(SELECT u.w FROM (SELECT w FROM unnest(l.lexemes) AS w WHERE w IS DISTINCT FROM a.address AND '=' || w <> ALL (l.lexemes)
                   UNION SELECT b FROM unnest(l.lexemes) AS w, generate_series(1, 3) AS n, concat(left(w, n), '*') AS b
                   WHERE w !~ '^[<=@]' AND '=' || w <> ALL (l.lexemes) AND '=' || b <> ALL (l.lexemes)) AS u (w) ORDER BY u.w COLLATE "C") AS words
      FROM profiles.user_search s, LATERAL (SELECT tsvector_to_array(s.search)) AS l (lexemes),
           LATERAL (SELECT min(w COLLATE "C") FROM unnest(l.lexemes) AS w WHERE starts_with(w, '<')) AS a (address)) x;
DELETE FROM srch.events WHERE user_id LIKE 'e%';
CALL profiles.refresh('user');

-- what is searched can be computed anew as a whole
DELETE FROM profiles.user_search WHERE key LIKE 'm1%';
UPDATE profiles.user_search SET attributes = '' WHERE key LIKE 'm2%';
INSERT INTO profiles.user_search VALUES ('ghost', '', '');
SELECT count(*) > 1000 AS wrong FROM srch.wrong();
SELECT profiles._search_update('user', NULL);
SELECT * FROM srch.wrong();

SELECT profiles.uninstall();
SELECT count(*) FROM pg_class WHERE relnamespace = 'profiles'::regnamespace AND relname ~ '_(search|word|search_stat|search_due)$';
DROP SCHEMA srch CASCADE;
