-- Values that no btree could hold: they fail no writer, no refresh and no sync, and
-- whoever reads sees them whole, with indexes and without.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA long;
-- as good as random, so that they don't become short when compressed
CREATE FUNCTION long.text(seed int, bytes int) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN (SELECT left(string_agg(md5(seed || ' ' || i), '' ORDER BY i), bytes) FROM generate_series(1, bytes / 32 + 1) AS i);
CREATE TABLE long.events (ts timestamptz, user_id text, email text, session_id text, country text, plan text);
INSERT INTO long.events VALUES
    ('2026-01-01Z', 'lv1', 'lv1@one.example', 's1', 'DE', long.text(1, 8000)),
    ('2026-01-01Z', 'lv2', 'lv2@one.example', 's1', 'DE', 'gold'),
    ('2026-01-02Z', 'lv3', 'lv3@one.example', 's1', 'DE', 'gold'),
    ('2026-01-03Z', 'lv4', 'lv4@one.example', 's1', 'DE', NULL),
    ('2026-01-04Z', 'lv5', 'lv5@one.example', 's1', 'DE', 'tin');
SELECT profiles.add_source('long.events', mapping => '{"plan": "plan"}', capture => 'immediate');
CALL profiles.rebuild();

-- an index over a column that has one already
SELECT profiles.index_profiles('user', 'plan');
SELECT profiles.index_profiles('user', 'first_plan');
SELECT profiles.index_profiles('user', 'last_seen_country');
SELECT profiles.index_profiles('user', 'user_email');
SELECT profiles.index_profiles('user', 'plan') AS again;
SELECT pg_get_indexdef('profiles.user_profile_last_plan_last_seen_idx'::regclass);

-- a writer who merges at once: new, changed, in two columns, longer than what a page or a row takes, of letters of three bytes
INSERT INTO long.events VALUES ('2026-01-05Z', 'lv6', long.text(6, 8000), 's6', long.text(60, 3000), long.text(600, 20000));
INSERT INTO long.events VALUES ('2026-01-05Z', 'lv2', 'lv2@one.example', 's2', 'DE', long.text(2, 1000000));
INSERT INTO long.events SELECT '2026-01-06Z', 'lv7', 'lv7@one.example', 's1', 'DE', string_agg(chr(8192 + ascii(c)), '') FROM unnest(string_to_array(long.text(7, 5000), NULL)) AS c;
SELECT count(*) AS pending FROM profiles.user_pending;
-- and back
INSERT INTO long.events VALUES ('2026-01-07Z', 'lv1', 'lv1@one.example', 's2', 'DE', 'gold');

-- refresh, of profiles that are there and new ones, on both sides of the limit
SELECT profiles.alter_source('long.events', capture => 'deferred');
INSERT INTO long.events VALUES ('2026-01-08Z', 'lv3', long.text(3, 8000), 's3', 'DE', long.text(30, 8000)),
    ('2026-01-08Z', 'lv8', 'lv8@one.example', 's3', 'DE', long.text(80, 8000)),
    ('2026-01-08Z', 'lv9', 'lv9@one.example', 's3', 'DE', long.text(9, 1999)), ('2026-01-08Z', 'lv10', 'lv10@one.example', 's3', 'DE', long.text(10, 2000));
CALL profiles.refresh();
-- a writer who merges what is pending
SET profiles.pending_limit = 1;
INSERT INTO long.events VALUES ('2026-01-09Z', 'lv11', 'lv11@one.example', 's3', 'DE', long.text(11, 8000)), ('2026-01-09Z', 'lv12', 'lv12@one.example', 's3', 'DE', 'tin');
INSERT INTO long.events VALUES ('2026-01-09Z', 'lv13', 'lv13@one.example', 's3', 'DE', long.text(13, 8000));
RESET profiles.pending_limit;
CALL profiles.refresh();
SELECT count(*) AS differ FROM profiles.verify();
DELETE FROM long.events WHERE user_id = 'lv13';
UPDATE long.events SET plan = long.text(12, 8000) WHERE user_id = 'lv12';
CALL profiles.refresh();
SELECT count(*) AS differ FROM profiles.verify();
CALL profiles.rebuild();
SELECT user_id, octet_length(last_plan) AS bytes, octet_length(user_email) AS of_email FROM profiles.users ORDER BY 1;
-- each as its last event has it
SELECT u.user_id FROM profiles.users u
JOIN (SELECT DISTINCT ON (e.user_id) e.* FROM long.events e ORDER BY e.user_id, e.ts DESC) e ON e.user_id = u.user_id
WHERE (u.user_email, u.last_plan, u.last_seen_country) IS DISTINCT FROM (e.email, e.plan, e.country);

-- the index serves a value, some, and none; a longer value is found without it
CREATE FUNCTION long.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN CASE WHEN plan::text NOT LIKE '%user_profile_last_plan_last_seen_idx%' THEN 'without' WHEN plan::text LIKE '%Sort Key%' THEN 'sorted' ELSE 'with' END;
END $$;
CREATE TABLE long.condition (n int, condition text);
INSERT INTO long.condition VALUES (1, $$last_plan = 'gold'$$), (2, $$last_plan IN ('gold', 'tin')$$), (3, 'last_plan IS NULL'),
    (4, format('last_plan = %L', long.text(9, 1999))), (5, format('last_plan = %L', long.text(10, 2000))), (6, format('last_plan = %L', long.text(30, 8000))),
    (7, $$last_plan > 'a'$$);
CREATE FUNCTION long.answer(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    EXECUTE format('SELECT string_agg(user_id, '' '') FROM (SELECT user_id FROM profiles.users WHERE %s ORDER BY last_seen DESC, user_id LIMIT 50) s', condition) INTO answer;
    RETURN answer;
END $$;
SET enable_seqscan = off;
SELECT n, left(condition, 40) AS condition, long.plan('SELECT user_id FROM profiles.users WHERE ' || condition) AS index, long.answer(condition) FROM long.condition ORDER BY n;
SELECT long.plan($$SELECT user_id FROM profiles.users WHERE last_plan = 'gold' ORDER BY last_seen DESC LIMIT 50$$) AS newest;
CREATE TABLE long.indexed AS SELECT n, long.answer(condition) FROM long.condition;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET enable_indexonlyscan = off;
RESET enable_seqscan;
TABLE long.indexed EXCEPT ALL SELECT n, long.answer(condition) FROM long.condition;
RESET enable_indexscan;
RESET enable_bitmapscan;
RESET enable_indexonlyscan;
-- a parameter, once it is known
PREPARE newest(text) AS SELECT user_id FROM profiles.users WHERE last_plan = $1 ORDER BY last_seen DESC LIMIT 50;
SET enable_seqscan = off;
SELECT long.plan($$EXECUTE newest('gold')$$) AS index;
EXECUTE newest('gold');
RESET enable_seqscan;

-- the order that this rests on, against its definition
CREATE TABLE long.word AS SELECT * FROM unnest(ARRAY['', 'a', 'b', 'ab', 'ba', 'é', 'zz', 'abc', repeat('x', 3000), long.text(1, 3000)]) AS w;
SELECT count(*) AS pairs, count(*) FILTER (WHERE (a.w OPERATOR(profiles.<#) b.w) <> less OR (a.w OPERATOR(profiles.<=#) b.w) <> (less OR a.w = b.w)
       OR (a.w OPERATOR(profiles.>#) b.w) <> NOT (less OR a.w = b.w) OR (a.w OPERATOR(profiles.>=#) b.w) <> NOT less
       OR sign(profiles._length_cmp(a.w, b.w)) <> CASE WHEN less THEN -1 WHEN a.w = b.w THEN 0 ELSE 1 END) AS wrong
FROM long.word a, long.word b, LATERAL (SELECT (octet_length(a.w), convert_to(a.w, 'UTF8')) < (octet_length(b.w), convert_to(b.w, 'UTF8')) AS less) c;
SELECT count(*) FILTER (WHERE (w OPERATOR(profiles.<#) n) <> (octet_length(w) < n) OR (n OPERATOR(profiles.>#) w) <> (octet_length(w) < n)) AS wrong
FROM long.word, generate_series(-1, 3001) AS n;
-- joins and sorts of texts are what they were
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM long.word a JOIN long.word b ON a.w = b.w;
SELECT array_agg(left(w, 3) ORDER BY w COLLATE "C") FROM long.word;
RESET enable_hashjoin;
RESET enable_nestloop;

-- custom attributes, by a column that has long values, indexed too; a key that is too long is counted like one that is missing
CREATE TABLE long.crm (email text, tier text);
INSERT INTO long.crm VALUES ('lv1@one.example', 'platinum'), ('lv5@one.example', long.text(5, 8000)), (long.text(3, 8000), 'lost'), (repeat('x', 5000), 'lost'), (NULL, 'lost');
SELECT profiles.add_attributes('user', 'long.crm', 'email', 'user_email', '{"tier": "tier"}');
CALL profiles.sync();
SELECT rows, null_keys, matched, status FROM profiles.custom_attributes;
SELECT profiles.index_profiles('user', 'tier');
INSERT INTO long.crm VALUES ('lv6@one.example', 'platinum'), ('lv7@one.example', 'silver'), ('lv8@one.example', long.text(8, 8000));
CALL profiles.sync('long.crm');
INSERT INTO long.events VALUES ('2026-02-01Z', 'lv6', 'LV6@one.example', 's4', 'DE', 'gold'), ('2026-02-01Z', 'lv7', long.text(70, 8000), 's4', 'DE', 'gold');
CALL profiles.refresh();
SELECT count(*) AS differ FROM profiles.verify();
SELECT user_id, octet_length(tier) AS bytes, left(tier, 8) AS tier FROM profiles.users WHERE tier IS NOT NULL ORDER BY 1;
SELECT u.user_id, u.tier = c.tier AS right FROM profiles.users u LEFT JOIN long.crm c ON c.email = lower(u.user_email) AND octet_length(c.email) < 2000
WHERE u.tier IS DISTINCT FROM c.tier;
SELECT user_id FROM profiles.search_users('platinum') ORDER BY 1;
SELECT user_id FROM profiles.search_users('lv8') ORDER BY 1;
SELECT user_id FROM profiles.users WHERE tier = 'platinum' ORDER BY last_seen DESC LIMIT 50;

-- an index of somebody else's is no business of ours: refresh says what it is about, and nothing is lost
CREATE INDEX mine ON profiles.user_profile (last_plan) WHERE octet_length(last_plan) < 100 OR last_plan LIKE 'z%';
INSERT INTO long.events VALUES ('2026-02-02Z', 'lv5', 'lv5@one.example', 's5', 'DE', 'z' || long.text(50, 8000));
\set VERBOSITY sqlstate
CALL profiles.refresh();
\set VERBOSITY default
DROP INDEX profiles.mine;
CALL profiles.refresh();
SELECT count(*) AS differ FROM profiles.verify();

SELECT profiles.unindex_profiles('user', 'plan');
SELECT to_regclass('profiles.user_profile_last_plan_last_seen_idx') AS gone;
SELECT profiles.uninstall();
DROP SCHEMA long CASCADE;
