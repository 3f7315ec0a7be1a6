-- How text is taken apart: folding, addresses, words of a query, the text search
-- parser, distance of words.

\set SHOW_CONTEXT never

-- vectors of people
CREATE TEMP TABLE person (id int, name text, email text);
INSERT INTO person VALUES
    (1, 'Ada Lovelace', 'Ada.Lovelace+news@math.example.co.uk'),
    (2, 'Seán O’Brien', 'ada@example.com'),
    (3, 'Mary SMITH-Jones', NULL),
    (4, NULL, 'my-company@co-op.example'),
    (5, 'J.R.R. Tolkien', 'localpart'),
    (6, '山田 花子', 'x@localhost'),
    (7, 'v1.2.3 1.23 12.3', NULL),
    (8, '', ''),
    (9, NULL, NULL),
    (10, '!!! --- ''', '@'),
    (11, 'Bob <bob@x.example>', '"Q T"@y.example');
SELECT id, profiles.people_tsvector(name, email) FROM person ORDER BY id;

-- folding: each line is one word, however it is written
-- how wide some of these are shown differs between versions of psql
\pset format unaligned
SELECT written, profiles.people_tsvector(written, NULL) AS vector FROM (VALUES
    ('É'), (U&'E\0301'), ('ÉCOLE'), ('Søren'), ('Łódź'), ('Đoković'), ('Þórður'), ('Æsir'), ('Œuvre'), ('Straße'), ('STRASSE'), ('ẞ'),
    ('İ'), ('I'), ('ı'), (U&'i\0307'), ('Ёлкин'), ('йод'), ('ΠΑΠΑΔΟΠΟΥΛΟΣ'), ('Παπαδόπουλος'),
    ('Nguyễn'), ('ﬁne'), ('Ａｄａ'), ('𝓐𝓭𝓪'), ('ﾀﾅｶ'), ('タナカ'), ('たなか'), (U&'\304C'), (U&'\304B\3099'), (U&'\FF76\FF9E'),
    ('مُحَمَّد'), ('محمد'), ('الأحمد'), ('שָׁלוֹם'), ('שלומ'), ('देविका'), ('٤٢'), ('김'), ('기'), (U&'a\00ADda'), (U&'\200Bada\FE0F'), ('Acme™')
) AS w (written);
\pset format aligned

-- words of queries
SELECT typed, profiles.people_tsquery(typed) FROM (VALUES
    ('ada'), ('ad'), ('Ada LOVEL'), ('ada.lo'), ('ada+t'), ('ada.lovelace@ex'), ('ada@'), ('@example.com'), ('o''brien'), ('smith-jo'),
    ('Lovelace, Ada'), ('mac donald'), ('mailto:ada@example.com?subject=Hi%20you'), ('"Ada L" <ada@example.com>'), ('ada OR bob@'),
    ('ada AND bob'), ('OR'), ('ada OR'), ('and or not'), (''), ('  '), ('!&|()<->:*\'), ('''; --'), ('a\b''c'), ('花子')
) AS q (typed);
-- every word of a long query counts up to the sixteenth
SELECT numnode(profiles.people_tsquery(repeat('a b c d ', 1000)));

-- vectors and queries fit
SELECT q.typed, array_agg(p.id ORDER BY p.id) AS found
FROM (VALUES ('ada'), ('lovelace a'), ('adalove'), ('ada.love'), ('ada.lovelace@math'), ('adalovelace+news@math.example.co.uk'), ('@example'), ('example.co'),
             ('obrien'), ('o''brien'), ('o’b'), ('smith-jones'), ('smithj'), ('jones mary'), ('jrr t'), ('j.r.r.'), ('花'), ('山田花子'), ('田花'), ('1.23'), ('12.3'),
             ('co-op'), ('my-comp'), ('com'), ('x@localhost')) AS q (typed)
LEFT JOIN person p ON profiles.people_tsvector(p.name, p.email) @@ profiles.people_tsquery(q.typed)
GROUP BY q.typed ORDER BY q.typed COLLATE "C";

-- the functions are immutable: indexes and generated columns accept them
CREATE TEMP TABLE indexed (name text, email text, search tsvector GENERATED ALWAYS AS (profiles.people_tsvector(name, email)) STORED);
CREATE INDEX ON indexed USING gin (search);

-- long values are cut, whole characters only
SELECT length(profiles.people_tsvector(repeat('é', 5000), NULL)), length(strip(profiles.people_tsvector(repeat('ab ', 100000), NULL))::text);
SELECT max(length(lexeme)) FROM unnest(profiles.people_tsvector(NULL, repeat('x', 300) || '@' || repeat('y.', 400) || 'example'));

-- words that are too long are cut by the parser as well
SELECT length(lexeme) FROM unnest(to_tsvector('profiles.people', repeat('x', 5000) || ' ' || repeat('é', 3000) || repeat(' ', 5000) || 'end')) ORDER BY 1;
SELECT length(ts_headline('profiles.people', repeat('x', 5000), to_tsquery('profiles.people_query', 'end'), 'MaxWords=9, MinWords=1')) >= 2000 AS shown;

-- plain words with hyphens and underscores are taken apart without the tokenizer, as it does: a space before them needs it
CREATE TEMP TABLE plain_words AS
WITH RECURSIVE texts AS (
    SELECT '' AS v UNION ALL SELECT t.v || c.c FROM texts t, unnest(ARRAY['a', 'B', '7', '-', '_', '.', 'é']) AS c (c) WHERE length(t.v) < 5)
SELECT v FROM texts
UNION ALL SELECT v FROM unnest(ARRAY['CRM-123456', 'usr_000_17', '030-1234567', '03-01_23-4567', '1_234_567', 'a30-1234567', 'O''Brien-Smith', 'a@b-c_d', 'a-b c-d', 'San-J Ose']) AS v
UNION ALL SELECT repeat('x', n) || j.j || repeat('Y8', m) FROM unnest(ARRAY['', '-', '_', '__', 'z-']) AS j (j), unnest(ARRAY[1, 98, 99, 100, 198, 199, 200, 201]) AS n, unnest(ARRAY[1, 49, 50, 99, 100, 101]) AS m;
SELECT count(*) > 15000 AS many FROM plain_words;
SELECT v FROM plain_words
WHERE (profiles.people_tsvector(v, NULL), profiles.people_tsvector(NULL, v), profiles._search_vector(v, v), profiles._attribute_vector(v))
   IS DISTINCT FROM (profiles.people_tsvector(' ' || v, NULL), profiles.people_tsvector(NULL, ' ' || v), profiles._search_vector(' ' || v, ' ' || v), profiles._attribute_vector(' ' || v));

-- attributes: no positions
SELECT profiles._attribute_vector('New York', 'New York', NULL, 'Chrome', '17.4.1', 'ada@example.com', 'Łódź');

-- an index over values of attributes finds what their vector has: values that many rows have, that have the place of
-- another among those kept, long ones, none
SELECT amvalidate(c.oid) FROM pg_opclass c WHERE c.opcname = 'attribute_ops';
CREATE TEMP TABLE valued AS
SELECT i AS id, ARRAY[(ARRAY['free', 'Trial', 'Team plan', NULL, ''])[1 + i % 5], CASE WHEN i % 3 > 0 THEN 'Company ' || i % 3500 END,
                      CASE WHEN i % 50 = 0 THEN repeat(chr(97 + i % 26), i) || ' Łódź ' || repeat('long ', i / 100) END, md5((i % 97)::text)] AS attributes
FROM generate_series(1, 4000) AS i
UNION ALL SELECT 20001, ARRAY[]::text[] UNION ALL SELECT 20002, NULL UNION ALL SELECT 20003, ARRAY[NULL, NULL];
CREATE INDEX ON valued USING gin (attributes profiles.attribute_ops);
INSERT INTO valued SELECT id + 30000, attributes FROM valued WHERE id % 10 = 0;
CREATE TEMP TABLE vectored AS SELECT id, profiles._attribute_vector(VARIADIC attributes) AS vector FROM valued;
CREATE TEMP TABLE asked AS
WITH words AS (SELECT DISTINCT u.lexeme FROM vectored v, unnest(v.vector) u WHERE v.id % 97 = 0 OR v.id % 500 = 0),
     pairs AS (SELECT a.lexeme, lead(a.lexeme) OVER (ORDER BY md5(a.lexeme)) AS other FROM words a)
SELECT q::tsquery FROM (
    SELECT format('%L', lexeme) FROM words UNION ALL SELECT format('%L:*', left(lexeme, 2)) FROM words
    UNION ALL SELECT format('%L:* & %L', left(lexeme, 3), other) FROM pairs WHERE other IS NOT NULL
    UNION ALL SELECT format('team & !%L & (compan:* | %L)', lexeme, other) FROM pairs WHERE other IS NOT NULL) a (q);
SET enable_seqscan = off;
CREATE TEMP TABLE by_index AS SELECT a.q::text AS q, v.id FROM asked a JOIN valued v ON v.attributes OPERATOR(profiles.@@) a.q;
RESET enable_seqscan;
CREATE TEMP TABLE by_vector AS SELECT a.q::text AS q, v.id FROM asked a JOIN vectored v ON v.vector @@ a.q;
SELECT count(*) AS wrong FROM ((TABLE by_index EXCEPT ALL TABLE by_vector) UNION ALL (TABLE by_vector EXCEPT ALL TABLE by_index)) d;
SELECT (SELECT count(*) FROM asked) AS asked, count(DISTINCT q) AS met, count(*) > 10000 AS many FROM by_vector;
SELECT count(*) AS wrong FROM valued v JOIN vectored x USING (id) JOIN asked a ON v.id % 100 = 0 WHERE (v.attributes OPERATOR(profiles.@@) a.q) <> (x.vector @@ a.q);
-- its order is that of bytes
SELECT count(*) AS wrong
FROM (SELECT lexeme FROM vectored v, unnest(v.vector) WHERE v.id % 500 = 0 UNION VALUES (''), ('é'), ('e'), (repeat('a', 2000) || 'b'), (repeat('a', 2000) || 'c')) a (w),
     (SELECT lexeme FROM vectored v, unnest(v.vector) WHERE v.id % 500 = 0 UNION VALUES (''), ('é'), ('e'), (repeat('a', 2000) || 'b'), (repeat('a', 2000) || 'c')) b (w)
WHERE sign(profiles._compare_words(a.w, b.w)) <> CASE WHEN convert_to(a.w, 'UTF8') < convert_to(b.w, 'UTF8') THEN -1 WHEN convert_to(a.w, 'UTF8') = convert_to(b.w, 'UTF8') THEN 0 ELSE 1 END;

-- words that typos are corrected to
SELECT id, profiles._dictionary_words(profiles.people_tsvector(name, email)) FROM person ORDER BY id;

-- distance, against a plain definition: optimal string alignment by recursion
CREATE FUNCTION plain_distance(a text, b text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    d int[][] := array_fill(0, ARRAY[length(a) + 1, length(b) + 1]);
BEGIN
    FOR i IN 0..length(a) LOOP
        FOR j IN 0..length(b) LOOP
            d[i + 1][j + 1] := CASE WHEN i = 0 THEN j WHEN j = 0 THEN i
                ELSE least(d[i][j + 1] + 1, d[i + 1][j] + 1, d[i][j] + (substr(a, i, 1) <> substr(b, j, 1))::int) END;
            IF i > 1 AND j > 1 AND substr(a, i, 1) = substr(b, j - 1, 1) AND substr(a, i - 1, 1) = substr(b, j, 1) THEN
                d[i + 1][j + 1] := least(d[i + 1][j + 1], d[i - 1][j - 1] + 1);
            END IF;
        END LOOP;
    END LOOP;
    RETURN d[length(a) + 1][length(b) + 1];
END $$;
CREATE TEMP TABLE word AS
SELECT DISTINCT translate(substr(md5(i::text), 1, 4 + i % 7), '0123456789', 'abcdeabcde') AS w FROM generate_series(1, 120) AS i;
SELECT count(*) AS wrong FROM word a, word b
WHERE profiles._word_distance(a.w, b.w, 2) <> least(plain_distance(a.w, b.w), 3);
-- words within the distance have a key in common, for what is corrected: 1 from 4 letters, 2 from 8
SELECT count(*) AS missed
FROM word a, word b, LATERAL (SELECT CASE WHEN length(a.w) >= 8 THEN 2 ELSE 1 END AS most) m
WHERE plain_distance(a.w, b.w) <= m.most AND NOT profiles._typed_keys(a.w, m.most) && profiles._word_keys(b.w);
SELECT count(*) AS near FROM word a, word b WHERE a.w < b.w AND plain_distance(a.w, b.w) <= 2;
-- and so it is wherever the edits are: all that are possible in words of which no two letters are the same, so that no
-- edit undoes another by chance
CREATE FUNCTION edits(w text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT overlay(w PLACING e.letters FROM i FOR e.n)
    FROM generate_series(1, length(w) + 1) AS i, LATERAL (VALUES ('z', 0), ('z', 1), ('', 1), (substr(w, i + 1, 1) || substr(w, i, 1), 2)) AS e (letters, n)
    WHERE i + e.n <= length(w) + 1
$$;
CREATE TEMP TABLE edited AS
SELECT DISTINCT w.w, t.typed, t.most
FROM (SELECT left('abcdefghijklm', n) AS w FROM generate_series(3, 13) AS n) w,
     LATERAL (SELECT e, 1 FROM edits(w.w) e UNION ALL SELECT e2, 2 FROM edits(w.w) e, edits(e) e2) AS t (typed, most)
WHERE length(t.typed) >= 3 AND (t.most = 1 OR length(w.w) >= 6) AND profiles._word_distance(w.w, t.typed, 2) <= t.most;
SELECT count(*) AS edited, count(*) FILTER (WHERE NOT profiles._typed_keys(typed, most) && profiles._word_keys(w)) AS missed FROM edited;
SELECT profiles._word_keys('ab') AS short, profiles._word_keys('ab1c') AS digit, profiles._word_keys('山田太郎') AS unspaced, profiles._typed_keys('ab1c', 2) AS typed,
       cardinality(profiles._word_keys('lovelace')) AS long, cardinality(profiles._word_keys('adam')) AS four;

-- signatures: a name has all bits of whatever one of its words begins with, joined words and parts without spaces too
WITH begins AS (
    SELECT n.name, left(w.word, i) AS beginning
    FROM unnest(ARRAY['Ada Lovelace', 'Jo Li Smith', 'Seán O''Brien-Łukasz', 'van der Zee, Jan', '山田太郎', '佐藤', 'ｱﾀﾞ Иванов', 'A. B. C. Müller 3rd', 'ada@example.com']) AS n (name),
         LATERAL (SELECT substr(v.lexeme, 2) FROM unnest(profiles._search_vector(n.name, NULL)) v WHERE v.lexeme ~ '^=.*[^*]$') AS w (word),
         generate_series(1, length(w.word)) AS i)
SELECT count(*) AS beginnings, count(*) FILTER (WHERE profiles._name_signature(beginning) & ~profiles._name_signature(name) <> 0) AS missed FROM begins;
-- and of few others: of pairs of words that don't begin alike with three letters
SELECT count(*) AS pairs, count(*) FILTER (WHERE profiles._name_signature(left(a.w, 3)) & ~profiles._name_signature(b.w) = 0) AS alike
FROM word a, word b WHERE left(a.w, 3) <> left(b.w, 3);
SELECT profiles._name_signature('...') AS no_word, profiles._name_signature(NULL) AS no_name;

-- emoji are words of their own, as whatever has no spaces; other symbols are none
\pset format unaligned
SELECT profiles.people_tsvector('Zoë🚀Ray ✨🦄 A&B© →', NULL) AS names, profiles.people_tsquery('👍🏽') AS skin, profiles.people_tsquery('👩‍👩‍👧') AS family;
\pset format aligned
-- URLs, and what is written with % in them
SELECT q, profiles.people_tsquery(q) FROM unnest(ARRAY['https://www.example.com:8080/in/ada?q=bob#top', 'WWW.example.com', '<http://example.com>', 'example.com/ada', 'ada://', 'www.',
    'ada%40example.com', 'https://x.example/J%C3%BCrgen%20W', '明+1', '100%', '%zz', '%C3', '%00ada', '%E2%82', 'mailto:ada%40example.com?subject=bob']) AS q;

-- the text search parser
SELECT alias, token FROM ts_debug('profiles.people', 'Ada <Ada.Lovelace+news@math.example.co.uk> O''Brien 山田');
SELECT to_tsvector('profiles.people', 'Ada <Ada.Lovelace+news@math.example.co.uk> O''Brien 山田');
SELECT to_tsquery('profiles.people_query', 'ada.love:* & !bob'), websearch_to_tsquery('profiles.people_query', '"ADA lovelace" or o''brien -山田'),
       phraseto_tsquery('profiles.people_query', 'Ada Lovelace'), plainto_tsquery('profiles.people_query', 'ada@example.com');
SELECT to_tsvector('profiles.people', t) @@ websearch_to_tsquery('profiles.people_query', q) AS found, t, q
FROM (VALUES ('Ada.Lovelace@math.example.co.uk', 'lovelace@math'), ('Ada.Lovelace@math.example.co.uk', 'ada.lovelace'), ('Sean O''Brien', 'OBRIEN'),
             ('Sean O''Brien', '"sean o''brien"'), ('山田太郎', '太郎'), ('山田太郎', '太田'), ('Łukasz Żółć', 'zolc lukasz')) AS c (t, q);
SELECT ts_headline('profiles.people', 'Ada Lovelace <Ada.Lovelace+news@math.example.co.uk> of Seán O''Brien, 山田花子 (ＡＤＡ)',
                   to_tsquery('profiles.people_query', 'ada | lovelace | news | sean | 花'), 'MaxWords=60, MinWords=50');
-- what is shown is the whole text, whatever is in it
SELECT count(*) AS changed
FROM (VALUES ('a '), (U&'e\0301 x'), ('½ cup'), ('ﬁ ﬂ'), (U&'\3316 a'), ('@a@@b @'), ('김민준'), (U&'\1112\1161\11AB'), ('...'), (U&'\0301'), ('™'), ('a''b c-d_e+f'), (U&'\33C2x@y.z')) AS t (t)
WHERE ts_headline('profiles.people', t, to_tsquery('profiles.people_query', 'zzz'), 'HighlightAll=true, StartSel="", StopSel=""') <> t;
CREATE TEXT SEARCH DICTIONARY pg_temp.wrong (TEMPLATE = profiles.people_fold, accents = keep);

DROP FUNCTION plain_distance, edits;
