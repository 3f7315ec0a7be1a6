-- Values that are too large for profiles: of each so much counts that no profile can
-- grow too large, the same on every way in. So they fail no writer, no refresh and
-- nobody else. The oracle cuts in SQL.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA lv;
-- the most bytes, up to so many, that are whole characters
CREATE FUNCTION lv.kept(value text, longest int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF octet_length(value) <= longest THEN
        RETURN value;
    END IF;
    FOR short IN 0 .. 3 LOOP
        BEGIN
            RETURN convert_from(substr(convert_to(value, 'UTF8'), 1, longest - short), 'UTF8');
        EXCEPTION WHEN character_not_in_repertoire THEN
        END;
    END LOOP;
END $$;
-- in its place where it is compared: in the same order, as far as that matters here
CREATE FUNCTION lv.short(value text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN octet_length(value) < 1000 THEN value ELSE left(value, 10) || ' ' || octet_length(value) || ' ' || md5(value) END;
CREATE DOMAIN lv.plan_name AS text CHECK (value <> '');
-- one table for each way of folding
CREATE TABLE lv.plain (uid text, acc text, ts timestamptz, sid text, plan text);
CREATE TABLE lv.immediate (LIKE lv.plain);
CREATE TABLE lv.keeps (LIKE lv.plain);
CREATE TABLE lv.under_view (LIKE lv.plain);
CREATE VIEW lv.shown_events AS SELECT * FROM lv.under_view;
CREATE TABLE lv.fails (LIKE lv.plain);
CREATE TABLE lv.jsons (event jsonb);
CREATE TABLE lv.domain (uid text, acc text, ts timestamptz, sid text, plan lv.plan_name);
CREATE TABLE lv.bytes (uid text, acc text, ts timestamptz, sid text, plan bytea);
CREATE TABLE lv.parts (LIKE lv.plain) PARTITION BY RANGE (ts);
CREATE TABLE lv.parts_1 PARTITION OF lv.parts FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TABLE lv.gone (LIKE lv.plain);
CREATE VIEW lv.all_events AS
SELECT * FROM lv.plain UNION ALL SELECT * FROM lv.immediate UNION ALL SELECT * FROM lv.keeps UNION ALL SELECT * FROM lv.under_view
UNION ALL SELECT * FROM lv.fails WHERE plan IS DISTINCT FROM 'bad'
UNION ALL SELECT event ->> 'uid', event ->> 'acc', (event ->> 'ts')::timestamptz, event ->> 'sid', event ->> 'plan' FROM lv.jsons
UNION ALL SELECT uid, acc, ts, sid, plan::text FROM lv.domain UNION ALL SELECT uid, acc, ts, sid, plan::text FROM lv.bytes
UNION ALL SELECT * FROM lv.parts UNION ALL SELECT * FROM lv.gone;
CREATE VIEW lv.oracle AS
WITH a AS MATERIALIZED (
    SELECT uid, acc, ts, lv.short(lv.kept(sid, 1048576)) AS sid, lv.short(lv.kept(plan, 1048576)) AS plan FROM lv.all_events
), e AS (
    SELECT kind, key, ts, sid, plan
    FROM (SELECT 'user' AS kind, uid AS key, ts, sid, plan FROM a UNION ALL SELECT 'account', acc, ts, sid, plan FROM a) s
    WHERE octet_length(key) <= 1024 AND ts < '2040-01-01Z'
)
SELECT kind, key, min(ts) AS first_seen, max(ts) AS last_seen,
       (array_agg(plan ORDER BY ts, plan COLLATE "C", sid COLLATE "C") FILTER (WHERE plan IS NOT NULL))[1] AS first_plan,
       (array_agg(plan ORDER BY ts DESC, plan COLLATE "C" DESC, sid COLLATE "C" DESC) FILTER (WHERE plan IS NOT NULL))[1] AS last_plan,
       (array_agg(sid ORDER BY ts, sid COLLATE "C") FILTER (WHERE sid IS NOT NULL))[1] AS first_session,
       (array_agg(sid ORDER BY ts DESC, sid COLLATE "C" DESC) FILTER (WHERE sid IS NOT NULL))[1] AS last_session
FROM e GROUP BY kind, key;
-- what differs; nothing, as a rule
\set check 'WITH o AS MATERIALIZED (TABLE lv.oracle), s AS MATERIALIZED (TABLE lv.fold) SELECT ''missing'' AS what, kind, key, first_plan, last_plan FROM (TABLE o EXCEPT ALL TABLE s) m UNION ALL SELECT ''superfluous'', kind, key, first_plan, last_plan FROM (TABLE s EXCEPT ALL TABLE o) m UNION ALL SELECT ''verify user'', NULL, key, NULL, NULL FROM profiles.verify(''user'') UNION ALL SELECT ''verify account'', NULL, key, NULL, NULL FROM profiles.verify(''account'')'

SELECT profiles.add_source('lv.plain', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "plan"}');
SELECT profiles.add_source('lv.immediate', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "plan"}', capture => 'immediate');
SELECT profiles.add_source('lv.keeps', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "plan"}', on_change => 'keep');
SELECT profiles.add_source('lv.shown_events', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "plan"}', capture => 'none');
SELECT profiles.add_source('lv.fails', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "CASE WHEN plan = ''bad'' THEN (1 / (length(plan) - 3))::text ELSE plan END"}');
SELECT profiles.add_source('lv.jsons', mapping => '{"user_id": "event ->> ''uid''", "account_id": "event ->> ''acc''", "session": "event ->> ''sid''", "seen_at": "(event ->> ''ts'')::timestamptz", "plan": "event ->> ''plan''"}');
SELECT profiles.add_source('lv.domain', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "plan"}');
SELECT profiles.add_source('lv.bytes', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "plan"}');
SELECT profiles.add_source('lv.parts', mapping => '{"user_id": "uid", "account_id": "acc", "session": "sid", "plan": "plan"}');
CREATE VIEW lv.fold AS
SELECT kind, key, first_seen, last_seen, lv.short(first_plan) AS first_plan, lv.short(last_plan) AS last_plan,
       lv.short(profiles.first_known(profile, 'session')) AS first_session, lv.short(profiles.last_known(profile, 'session')) AS last_session
FROM (SELECT 'user' AS kind, p.key, u.first_seen, u.last_seen, u.first_plan, u.last_plan, p.profile FROM profiles.users u JOIN profiles.user_profile p ON p.key = u.user_id
      UNION ALL SELECT 'account', p.key, a.first_seen, a.last_seen, a.first_plan, a.last_plan, p.profile FROM profiles.accounts a JOIN profiles.account_profile p ON p.key = a.account_id) s;

-- rows to be put into every table: at, just under and over the limit; letters of one to four bytes that stand across it;
-- two of one time that differ behind it only; all of it in one row, and in a session's id
CREATE TABLE lv.row (n int, who text, ts timestamptz, sid text, plan text);
INSERT INTO lv.row VALUES
    (1, 'at', '2026-01-01Z', 's1', repeat('a', 1048576)), (2, 'at', '2026-01-02Z', 's2', repeat('b', 1048577)), (3, 'at', '2026-01-03Z', 's3', NULL),
    (4, 'under', '2026-01-01Z', 's1', repeat('c', 1048571)),
    (5, 'letters', '2026-01-01Z', 's1', 'x' || repeat('é', 600000)), (6, 'letters', '2026-01-02Z', 's1', repeat('€', 400000)),
    (7, 'four', '2026-01-01Z', 's1', 'xyz' || repeat('🦄', 270000)), (8, 'four', '2026-01-02Z', 's1', repeat('🦄', 270000)),
    (9, 'tie', '2026-01-01Z', 's1', repeat('d', 1048576) || 'z'), (10, 'tie', '2026-01-01Z', 's2', repeat('d', 1048576) || 'a'), (11, 'tie', '2026-01-01Z', 's3', repeat('d', 1048576)),
    (12, 'session', '2026-01-01Z', repeat('s', 1100000), 'gold'), (13, 'session', '2026-01-01Z', repeat('s', 1100000) || 't', 'gold'),
    (14, 'small', '2026-01-01Z', 's1', 'gold'), (15, 'small', '2026-01-03Z', NULL, 'tin');
CREATE FUNCTION lv.put(days int, way text DEFAULT 'statement', tables text[] DEFAULT '{plain,immediate,keeps,under_view,fails,json,domain,bytes,parts}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE t text; r int;
BEGIN
    FOREACH t IN ARRAY tables LOOP
        FOR r IN SELECT n FROM lv.row WHERE way = 'rows' UNION ALL SELECT 0 WHERE way = 'statement' LOOP
            EXECUTE format(CASE t WHEN 'json' THEN 'INSERT INTO lv.jsons SELECT jsonb_build_object(''uid'', uid, ''acc'', acc, ''ts'', ts, ''sid'', sid, ''plan'', plan) FROM (%s) e'
                                  WHEN 'bytes' THEN 'INSERT INTO lv.bytes SELECT uid, acc, ts, sid, convert_to(plan, ''UTF8'') FROM (%s) e'
                                  ELSE 'INSERT INTO lv.' || t || ' SELECT * FROM (%s) e' END,
                           format('SELECT %L || who AS uid, %L || n %% 2 AS acc, ts + %s * interval ''1 day'' AS ts, sid, plan FROM lv.row WHERE %s IN (0, n) AND (%L = ''plain'' OR n IN (2, 6, 9, 10))', t || ' ', t || ' ', days, r, t));
        END LOOP;
    END LOOP;
END $$;

-- what is there: the fold of tables, and by query
SELECT lv.put(0);
CALL profiles.rebuild();
:check;
SELECT source, kind, folded, left_out, examples, cut FROM profiles.status ORDER BY 1, 2;

-- captured, a statement with all, and one for each row, later and earlier ones
SELECT lv.put(10, tables => '{plain,immediate,under_view,fails,json,parts}');
SELECT lv.put(-10, 'rows', '{immediate,keeps,fails,domain,bytes}');
CALL profiles.refresh(since => '-infinity');
:check;
SELECT source, kind, cut FROM profiles.status WHERE source NOT LIKE '%parts' ORDER BY 1, 2;
-- a row that fails beside large ones: it is left out alone
INSERT INTO lv.fails SELECT 'fails ' || n, 'fails', '2026-01-05Z', 's', CASE WHEN n = 7 THEN 'bad' ELSE repeat('g', 2000000) END FROM generate_series(1, 12) AS n;
CALL profiles.refresh();
SELECT left_out, cut FROM profiles.status WHERE source = 'lv.fails' AND kind = 'user';
CALL profiles.rebuild();
:check;
SELECT left_out, cut FROM profiles.status WHERE source = 'lv.fails' AND kind = 'user';

-- changed, to what is the same and what is not, moved to others, gone; what is kept
UPDATE lv.plain SET plan = plan || 'more' WHERE octet_length(plan) > 1048576;
SELECT count(*) AS pending FROM profiles.user_pending WHERE left_out IS NULL;
UPDATE lv.plain SET plan = 'm' || plan, uid = uid || ' moved' WHERE uid IN ('plain tie', 'plain at');
UPDATE lv.immediate SET plan = 'm' || plan WHERE uid IN ('immediate tie', 'immediate at');
DELETE FROM lv.jsons WHERE event ->> 'uid' IN ('json tie', 'json four');
DELETE FROM lv.domain WHERE length(plan) > 1000000;
WITH gone AS (DELETE FROM lv.keeps WHERE uid IN ('keeps at', 'keeps four') RETURNING *) INSERT INTO lv.gone TABLE gone;
CALL profiles.refresh();
:check;
INSERT INTO lv.gone TABLE lv.keeps;
TRUNCATE lv.keeps, lv.bytes;
CALL profiles.refresh();
:check;
-- a partition that has them already
CREATE TABLE lv.parts_2 (LIKE lv.plain);
INSERT INTO lv.parts_2 SELECT 'parts ' || who, 'parts', ts + interval '60 days', sid, plan FROM lv.row WHERE n IN (2, 6, 9, 10);
ALTER TABLE lv.parts ATTACH PARTITION lv.parts_2 FOR VALUES FROM ('2026-02-01Z') TO ('2026-06-01Z');
CALL profiles.refresh();
:check;

-- held until they are due
SET profiles.future_tolerance = '20000d';
INSERT INTO lv.plain SELECT 'later', 'later', '2050-01-01Z'::timestamptz + n * interval '1 day', 's', repeat('l', 1048576 + n) FROM generate_series(0, 2) AS n;
RESET profiles.future_tolerance;
INSERT INTO lv.plain SELECT 'held', 'held', '2060-01-01Z'::timestamptz + n * interval '1 day', 's', repeat('h', 1048576 + n) FROM generate_series(0, 2) AS n;
SELECT key, left_out, profile IS NOT NULL AS profile, events, example FROM profiles.user_pending ORDER BY 1, 2;
SET profiles.future_tolerance = '20000d';
CALL profiles.refresh();
SELECT user_id, octet_length(first_plan) AS first, octet_length(last_plan) AS last FROM profiles.users WHERE user_id IN ('later', 'held') ORDER BY 1;
SELECT key FROM profiles.verify();
RESET profiles.future_tolerance;
DELETE FROM lv.plain WHERE uid IN ('later', 'held');
CALL profiles.refresh();
:check;

-- a key that is too long is left out, and never written whole
INSERT INTO lv.plain VALUES (repeat('k', 3000000), 'x', '2026-01-01Z', 's', 'gold');
INSERT INTO lv.fails VALUES (repeat('k', 3000000), 'x', '2026-01-01Z', 's', 'gold'), ('x', 'x', '2026-01-01Z', 's', 'bad');
INSERT INTO lv.jsons VALUES (jsonb_build_object('uid', repeat('k', 3000000), 'acc', 'x', 'ts', '2026-01-01Z', 'sid', 's'));
SELECT max(octet_length(key)) AS key, max(octet_length(example)) AS example FROM profiles.user_pending;
CALL profiles.refresh();
SELECT source, left_out -> 'long user_id' AS long, octet_length(examples ->> 'long user_id') AS example FROM profiles.status WHERE kind = 'user' AND left_out ? 'long user_id' ORDER BY 1;
CALL profiles.rebuild();
SELECT source, left_out -> 'long user_id' AS long, octet_length(examples ->> 'long user_id') AS example FROM profiles.status WHERE kind = 'user' AND left_out ? 'long user_id' ORDER BY 1;
:check;
-- who is blocked is not named
INSERT INTO lv.plain VALUES ('secret', 'x', '2026-01-02Z', 's', repeat('x', 2000000));
SELECT profiles.forget('user', 'secret', block => true);
INSERT INTO lv.plain VALUES ('secret', 'x', '2026-01-02Z', 's', repeat('x', 2000000));
CALL profiles.refresh();
CALL profiles.rebuild();
SELECT count(*) AS named FROM profiles.status WHERE examples::text LIKE '%secret%';
DROP VIEW lv.fold;
SELECT profiles.uninstall();

-- many attributes: the more a source has the less counts of each, so that all together never are too large
CREATE TABLE lv.wide (uid text, ts timestamptz, sid text);
SELECT format('ALTER TABLE lv.wide %s', string_agg(format('ADD a%s text', n), ', ')) FROM generate_series(1, 63) AS n \gexec
SELECT profiles.add_source('lv.wide', mapping => (SELECT jsonb_object_agg('a' || n, 'a' || n) || '{"user_id": "uid", "session": "sid"}' FROM generate_series(1, 63) AS n));
-- events that know one attribute, each with another session, and some that know several
INSERT INTO lv.wide (uid, ts, sid, a1, a2, a3, a4, a5)
SELECT 'u' || n % 2, '2026-01-01Z'::timestamptz + n * interval '1 hour', repeat(md5(n::text), 16000), CASE WHEN n % 5 = 0 THEN v END, CASE WHEN n % 7 = 1 THEN v END,
       CASE WHEN n % 5 = 2 THEN v END, CASE WHEN n % 5 = 3 THEN v END, CASE WHEN n % 3 = 1 THEN v END
FROM generate_series(1, 12) AS n, repeat(md5((n * 7)::text), 16000) AS v;
SELECT cut -> 'a1' AS cut, pending FROM profiles.status WHERE kind = 'user';
CALL profiles.refresh();
CREATE VIEW lv.wide_oracle AS
SELECT e.uid, a.name, (array_agg(lv.kept(a.value, 30 * 1048576 / 64) ORDER BY e.ts))[1] AS first, (array_agg(lv.kept(a.value, 30 * 1048576 / 64) ORDER BY e.ts DESC))[1] AS last
FROM lv.wide e, LATERAL (VALUES ('a1', a1), ('a2', a2), ('a3', a3), ('a4', a4), ('a5', a5), ('session', sid)) AS a (name, value) WHERE a.value IS NOT NULL GROUP BY 1, 2;
CREATE VIEW lv.wide_shown AS
SELECT p.key, a.attribute, a.first_value, a.last_value FROM profiles.user_profile p, profiles.profile_attributes(p.profile) a;
SELECT count(*) AS attributes, min(length(first)) AS shortest, max(length(first)) AS longest FROM lv.wide_oracle;
SELECT key, name, length(first), length(last) FROM ((TABLE lv.wide_oracle EXCEPT ALL TABLE lv.wide_shown) UNION ALL (TABLE lv.wide_shown EXCEPT ALL TABLE lv.wide_oracle)) d (key, name, first, last);
SELECT key FROM profiles.verify();
CALL profiles.rebuild();
SELECT key, name, length(first), length(last) FROM ((TABLE lv.wide_oracle EXCEPT ALL TABLE lv.wide_shown) UNION ALL (TABLE lv.wide_shown EXCEPT ALL TABLE lv.wide_oracle)) d (key, name, first, last);
SELECT key FROM profiles.verify();
SELECT cut -> 'a1' AS cut, examples -> 'cut a1' AS example FROM profiles.status WHERE kind = 'user';
DROP VIEW lv.wide_shown;
SELECT profiles.uninstall();

-- the aggregate itself takes any value, as long as the profile is not too large, and says what to do then
SELECT octet_length(profiles.last_known(profiles.profile_agg('2026-01-01Z', 'plan', repeat('x', 5000000)), 'plan')) AS bytes;
SELECT profiles.profile_agg('2026-01-01Z', 'a', repeat('x', 80000000), 'b', repeat('y', 80000000));
-- events whose values it need not keep don't add up
CREATE TABLE lv.pruned AS
SELECT '2026-01-01Z'::timestamptz + n * interval '1 hour' AS at,
       (SELECT array_agg(v ORDER BY i, o) FROM generate_series(1, 24) AS i, unnest(ARRAY['a' || i, CASE WHEN i >= n THEN repeat(md5((i * n)::text), 6000) END]) WITH ORDINALITY AS u (v, o)) || ARRAY['session', 's' || n] AS pairs
FROM generate_series(1, 24) AS n;
SELECT (SELECT sum(octet_length(v)) FROM lv.pruned, unnest(pairs) AS v) AS of_events, octet_length(profiles.profile_send(a.p)) AS of_profile, a.p OPERATOR(profiles.=) b.p AS same
FROM (SELECT profiles.profile_agg(at, VARIADIC pairs ORDER BY at) AS p FROM lv.pruned) a,
     (SELECT profiles.profile_union_agg(s.p) AS p FROM (SELECT profiles.profile_agg(at, VARIADIC pairs) AS p FROM lv.pruned GROUP BY at) s) b;
SELECT profiles._fold_agg(0, '2026-01-01Z', 'plan', 'x');
-- a row of texts of 24 bytes, which stay in it, fits into a page, or a warning was given
CREATE TABLE lv.page (uid text, at timestamptz, v text);
SELECT profiles.add_source('lv.page', mapping => (SELECT jsonb_object_agg(a, 'v || ' || length(a) % 10) FROM (SELECT 'a' || n FROM generate_series(1, 155) AS n UNION ALL SELECT unnest('{name,email,application,geo.country,geo.region,geo.city,device.type,os.name,os.version,browser.name,browser.version}'::text[])) AS u (a))
                           || '{"user_id": "uid", "seen_at": "at"}');
INSERT INTO lv.page SELECT repeat('k', 23), '2026-01-01Z'::timestamptz + n * interval '1 day', left(md5(n::text), 22) FROM generate_series(1, 2) AS n;
CALL profiles.refresh();
SELECT count(*) AS columns, count(*) FILTER (WHERE octet_length(x.value) < 23) AS shorter FROM profiles.users u, jsonb_each_text(to_jsonb(u)) x WHERE x.value IS NOT NULL;
SELECT key FROM profiles.verify();
SELECT profiles.alter_source('lv.page', mapping => '{"more": "v"}');
SELECT profiles.uninstall();
-- of what is searched the beginning is enough, where a row has more than a jsonb could
SELECT length(to_jsonb(profiles._searched_row(r))::text) AS bytes, to_jsonb(profiles._searched_row(r)) - '{a,b}'::text[] AS rest
FROM (SELECT repeat('x', 140000000) AS a, repeat('€', 50000000) AS b, 1 AS n, NULL::text AS c, 'short' AS d, '2026-01-01Z'::timestamptz AT TIME ZONE 'UTC' AS at) r;
DROP SCHEMA lv CASCADE;
