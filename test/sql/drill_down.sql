-- Drill-down: the views events and sessions, and what the functions answer for
-- one subject, against what happened. Rows are made from a table of what happened,
-- each thing once; they say it several times, late, and partly wrong.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'Asia/Tokyo';
CREATE SCHEMA web;

-- before there is a source
SELECT * FROM profiles.user_sessions('u1');
SELECT * FROM profiles.index_events('web.sent');

-- What happened in 36 sessions of 20 things each. Some begin before login, some change
-- hands, some change the account; sessions of a user overlap, and two of u1 begin at once.
CREATE TABLE web.happened AS
SELECT s, e, 's' || s AS session_id,
       CASE WHEN s % 3 = 0 AND e < 4 OR s = 36 THEN NULL
            WHEN s % 5 = 0 AND e > 12 THEN 'u' || (s + 2) % 7
            ELSE 'u' || s % 7 END AS user_id,
       CASE WHEN s % 3 = 0 AND e < 4 OR s = 36 THEN NULL
            WHEN s % 4 = 0 AND e > 10 THEN 'a1' ELSE 'a' || s % 3 END AS account_id,
       timestamptz '2026-03-28 20:00Z' + (CASE s WHEN 15 THEN 8 ELSE s END) * interval '7 minutes' + (e / 2) * interval '47.25 seconds' AS at,
       (ARRAY['view', 'action', 'action', 'error', 'resource'])[1 + (e * 3 + s) % 5] AS type,
       CASE WHEN (s + e) % 11 = 0 THEN NULL ELSE '/p/' || (s * e) % 6 END AS page,
       CASE WHEN (s + e) % 7 > 0 THEN 'Button ' || (s + e * e) % 5 END AS action,
       CASE (s * 7 + e) % 6 WHEN 0 THEN ARRAY['rage_click', 'dead_click'] WHEN 1 THEN ARRAY['error_click'] WHEN 2 THEN ARRAY['rage_tap']
                            WHEN 3 THEN ARRAY['error_tap', 'dead_click'] ELSE '{}' END AS frustrations,
       (ARRAY['DE', 'FR', NULL])[1 + s % 3] AS country, CASE WHEN e % 4 > 0 THEN 'Mobile' END AS device
FROM generate_series(1, 36) AS s, generate_series(1, 20) AS e;
UPDATE web.happened SET action = NULL, frustrations = NULL WHERE type <> 'action';

-- What was sent. A view 1 to 3 times, the version that counts not always last and not
-- always latest in time, earlier ones without or with another user, page and account; a
-- third of the actions twice; partial updates; what a filter leaves out; what has no time.
CREATE TABLE web.sent (ts timestamp, usr text, acc text, sid text, kind text, vid text, id text, ver int, path text, act text,
                       frus text[], country text, device text, test boolean, plan varchar(10) COLLATE "C", amount float8, day timestamptz);
INSERT INTO web.sent
SELECT CASE WHEN v.n < v.versions THEN at + interval '3 seconds' * (v.n - 2) ELSE at END AT TIME ZONE 'UTC',
       CASE WHEN v.n < v.versions THEN (ARRAY[NULL, 'u3'])[v.n] ELSE user_id END,
       CASE WHEN v.n < v.versions THEN (ARRAY[NULL, 'a2'])[v.n] ELSE account_id END,
       session_id, type, CASE type WHEN 'view' THEN 'v' || s || '-' || e END, CASE WHEN type <> 'view' THEN 'i' || s || '-' || e END,
       CASE type WHEN 'view' THEN 10 + v.n END,
       CASE WHEN v.n < v.versions THEN '/old' ELSE page END, action, frustrations, country, device, false, 'p', 0.1, '2026-01-01Z'
FROM web.happened, LATERAL (SELECT n, CASE type WHEN 'view' THEN 1 + (s + e) % 3 ELSE 1 END AS versions
                            FROM generate_series(1, CASE type WHEN 'view' THEN 1 + (s + e) % 3 ELSE 1 END) AS n) v
ORDER BY (s * 13 + e * 7 + v.n * 5) % 31;
INSERT INTO web.sent SELECT * FROM web.sent WHERE kind = 'action' AND length(id) % 3 = 0;
INSERT INTO web.sent (ts, usr, sid, kind, vid, ver, path) SELECT ts, 'u0', sid, 'view_update', vid, 99, '/partial' FROM web.sent WHERE kind = 'view' AND ver = 11;
INSERT INTO web.sent (ts, usr, acc, sid, kind, id, path, test)
VALUES ('2026-03-28 20:30', 'u1', 'a1', 's1', 'action', 'x1', '/x', true),
       (NULL, 'u1', 'a1', 's1', 'action', 'x2', '/x', false),
       ('infinity', 'u1', 'a1', 's1', 'action', 'x3', '/x', false),
       ('-infinity', 'u1', 'a1', 's1', 'action', 'x4', '/x', false),
       (now() AT TIME ZONE 'UTC' + interval '10 days', 'u1', 'a1', 's1', 'action', 'x5', '/x', false);
SELECT count(*) AS sent, count(*) FILTER (WHERE kind = 'view') AS views, count(DISTINCT vid) AS visits FROM web.sent;

SELECT profiles.add_source('web.sent', filter => 'test IS NOT TRUE', capture => 'none', mapping => '{
    "user_id": "usr", "account_id": "acc", "session": "sid", "type": "kind", "view_id": "vid", "event_id": "id", "version": "ver",
    "page": "path", "action": "act", "frustration": "frus", "geo.country": "country", "device.type": "device",
    "plan": "plan", "source": "plan", "amount": "amount", "day": "day"}');

-- columns, types, comments; a name that is taken; the text of values depends on no setting
SELECT attname, format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS comment
FROM pg_attribute WHERE attrelid = 'profiles.events'::regclass AND attnum > 0 ORDER BY attnum;
SELECT attname, format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS comment
FROM pg_attribute WHERE attrelid = 'profiles.sessions'::regclass AND attnum > 0 ORDER BY attnum;
SELECT obj_description('profiles.events'::regclass) AS events, obj_description('profiles.sessions'::regclass) AS sessions;
SET extra_float_digits = -5;
SET datestyle = german;
SELECT DISTINCT source, has_sessions, plan, attribute_source, amount, day FROM profiles.events WHERE plan IS NOT NULL;
RESET extra_float_digits;
RESET datestyle;
SELECT count(*) AS shown, count(*) FILTER (WHERE page IN ('/x')) AS left_out FROM profiles.events;
SET profiles.future_tolerance = '20d';
SELECT event_id FROM profiles.events WHERE page = '/x';
RESET profiles.future_tolerance;
-- keys and time, as they are found and as they are shown
SELECT count(*) AS differing FROM profiles.events
WHERE (row_user_id, row_account_id, row_session_id, row_seen_at) IS DISTINCT FROM (user_id, account_id, session_id, seen_at);
-- a time without time zone is UTC for every reader
SELECT min(seen_at) AT TIME ZONE 'UTC' AS first FROM profiles.events WHERE session_id = 's1' AND type <> 'view';

-- sessions: what happened, by session and user
CREATE VIEW web.expected_sessions AS
SELECT session_id, user_id, (array_agg(account_id ORDER BY at DESC, account_id DESC) FILTER (WHERE account_id IS NOT NULL))[1] AS account_id,
       min(at) AS started_at, max(at) AS ended_at, max(at) - min(at) AS duration,
       count(*) FILTER (WHERE type = 'view') AS views, count(*) FILTER (WHERE type = 'action') AS actions,
       count(*) FILTER (WHERE type = 'error') AS errors, coalesce(sum(cardinality(frustrations)), 0) AS frustrations,
       (array_agg(page ORDER BY at, page) FILTER (WHERE type = 'view' AND page IS NOT NULL))[1] AS entry_page,
       (array_agg(page ORDER BY at DESC, page DESC) FILTER (WHERE type = 'view' AND page IS NOT NULL))[1] AS exit_page,
       max(country) AS country, max(device) AS device_type, count(*) AS events
FROM web.happened GROUP BY session_id, user_id;
CREATE VIEW web.shown_sessions AS
SELECT session_id, user_id, account_id, started_at, ended_at, duration, views, actions, errors, frustrations,
       entry_page, exit_page, country, device_type, events FROM profiles.sessions;
SELECT count(*) AS sessions, count(user_id) AS of_somebody, sum(views) AS views, sum(frustrations) AS frustrations FROM profiles.sessions;
(TABLE web.expected_sessions EXCEPT ALL TABLE web.shown_sessions) UNION ALL (TABLE web.shown_sessions EXCEPT ALL TABLE web.expected_sessions);

-- Compares a function's answers for all subjects with what is expected of them, both ways.
CREATE FUNCTION web.differences(kind text, call text, expected text) RETURNS TABLE (key text, difference text) LANGUAGE plpgsql AS $$
DECLARE
    k text;
BEGIN
    FOR k IN EXECUTE format('SELECT DISTINCT %I FROM web.happened WHERE %1$I IS NOT NULL UNION SELECT ''nobody'' ORDER BY 1', kind || '_id') LOOP
        RETURN QUERY EXECUTE format('WITH a AS (%s), b AS (%s) SELECT $1, d::text FROM '
            '((SELECT ''+'', a FROM (TABLE a EXCEPT ALL TABLE b) a) UNION ALL (SELECT ''-'', b FROM (TABLE b EXCEPT ALL TABLE a) b)) d', call, expected) USING k;
    END LOOP;
END
$$;
-- All pages of a paged function, by the last time of each; a row that comes twice is shown twice.
CREATE FUNCTION web.all_pages(function text, key text, size int, time_column text) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz;
    page jsonb[];
BEGIN
    LOOP
        EXECUTE format('SELECT coalesce(array_agg(to_jsonb(f)), ''{}''), min(%I) FROM profiles.%I($1, $2, $3) f', time_column, function)
           INTO page, before USING key, size, before;
        EXIT WHEN page = '{}';
        RETURN QUERY SELECT unnest(page);
    END LOOP;
END
$$;

-- one user's and one account's: the same as in the view, as what happened
SELECT * FROM web.differences('user',
    'SELECT session_id, account_id, started_at, ended_at, duration, views, actions, errors, frustrations, entry_page, exit_page, country, device_type, events
     FROM profiles.user_sessions($1, NULL)',
    'SELECT session_id, account_id, started_at, ended_at, duration, views, actions, errors, frustrations, entry_page, exit_page, country, device_type, events
     FROM web.expected_sessions WHERE user_id = $1');
SELECT * FROM web.differences('account',
    'SELECT session_id, user_id, started_at, ended_at, views, actions, errors, frustrations, events FROM profiles.account_sessions($1, NULL)',
    'SELECT session_id, user_id, min(at), max(at), count(*) FILTER (WHERE type = ''view''), count(*) FILTER (WHERE type = ''action''),
            count(*) FILTER (WHERE type = ''error''), coalesce(sum(cardinality(frustrations)), 0), count(*)
     FROM web.happened WHERE account_id = $1 GROUP BY session_id, user_id');
SELECT k.kind, d.* FROM (VALUES ('user'), ('account')) k (kind), web.differences(k.kind,
    format('SELECT page, visits, first_visited_at, last_visited_at FROM profiles.%s_pages($1, NULL)', k.kind),
    format('SELECT page, count(*), min(at), max(at) FROM web.happened WHERE type = ''view'' AND page IS NOT NULL AND %s_id = $1 GROUP BY page', k.kind)) d;
SELECT k.kind, d.* FROM (VALUES ('user'), ('account')) k (kind), web.differences(k.kind,
    format('SELECT page, visits FROM profiles.%s_pages($1, NULL, ''2026-03-28 21:00Z'', ''2026-03-28 22:10:51Z'')', k.kind),
    format('SELECT page, count(*) FROM web.happened WHERE type = ''view'' AND page IS NOT NULL AND %s_id = $1
            AND at >= ''2026-03-28 21:00Z'' AND at < ''2026-03-28 22:10:51Z'' GROUP BY page', k.kind)) d;
SELECT k.kind, d.* FROM (VALUES ('user'), ('account')) k (kind), web.differences(k.kind,
    format('SELECT action, count, first_at, last_at FROM profiles.%s_actions($1, NULL)', k.kind),
    format('SELECT coalesce(action, ''action''), count(*), min(at), max(at) FROM web.happened WHERE type = ''action'' AND %s_id = $1 GROUP BY 1', k.kind)) d;
SELECT k.kind, d.* FROM (VALUES ('user'), ('account')) k (kind), web.differences(k.kind,
    format('SELECT action, count FROM profiles.%s_actions($1, NULL, ''2026-03-28 21:00Z'', ''2026-03-28 22:10Z'')', k.kind),
    format('SELECT coalesce(action, ''action''), count(*) FROM web.happened WHERE type = ''action'' AND %s_id = $1
            AND at >= ''2026-03-28 21:00Z'' AND at < ''2026-03-28 22:10Z'' GROUP BY 1', k.kind)) d;
SELECT k.kind, d.* FROM (VALUES ('user', 'account_id'), ('account', 'user_id')) k (kind, other), web.differences(k.kind,
    format('SELECT type, page, action, seen_at, session_id, event_id, %I FROM profiles.%s_frustrations($1, NULL)', k.other, k.kind),
    format('SELECT f, page, action, at, session_id, ''i'' || s || ''-'' || e, %I FROM web.happened, unnest(frustrations) f WHERE %s_id = $1', k.other, k.kind)) d;
SELECT * FROM web.differences('account', 'SELECT user_id, first_seen, last_seen FROM profiles.account_users($1, NULL)',
    'SELECT user_id, min(at), max(at) FROM web.happened WHERE account_id = $1 GROUP BY user_id');
SELECT s.session_id, d.n FROM (SELECT DISTINCT session_id FROM web.happened) s, LATERAL (
    SELECT count(*) AS n FROM (
        (SELECT seen_at, type, page, action, frustrations, user_id, account_id FROM profiles.session_events(s.session_id)
         EXCEPT ALL SELECT at, type, page, action, frustrations, user_id, account_id FROM web.happened h WHERE h.session_id = s.session_id)
        UNION ALL
        (SELECT at, type, page, action, frustrations, user_id, account_id FROM web.happened h WHERE h.session_id = s.session_id
         EXCEPT ALL SELECT seen_at, type, page, action, frustrations, user_id, account_id FROM profiles.session_events(s.session_id))) x) d
WHERE d.n > 0;

-- order: most frequent first, newest first
SELECT page, visits FROM profiles.user_pages('u1', 3);
SELECT action, count FROM profiles.user_actions('u1', 3);
SELECT bool_and(seen_at >= coalesce(lag, '-infinity')) AS in_order FROM (SELECT seen_at, lag(seen_at) OVER () FROM profiles.session_events('s1')) s;

-- paging loses no row and shows none twice, whatever the size of the page and however many share a time
SELECT session_id, started_at AT TIME ZONE 'UTC' AS started_at FROM profiles.user_sessions('u1', 4);
SELECT size, f.name, k.key, count(*) = count(DISTINCT p) AND count(*) = (
        CASE WHEN f.name LIKE '%sessions' THEN (SELECT count(DISTINCT (session_id, user_id)) FROM web.happened h WHERE k.key IN (h.user_id, h.account_id))
             WHEN f.name = 'account_users' THEN (SELECT count(DISTINCT user_id) FROM web.happened h WHERE h.account_id = k.key)
             ELSE (SELECT coalesce(sum(cardinality(frustrations)), 0) FROM web.happened h WHERE k.key IN (h.user_id, h.account_id)) END) AS complete
FROM (VALUES ('user_sessions', 'started_at'), ('user_frustrations', 'seen_at'), ('account_sessions', 'started_at'),
             ('account_frustrations', 'seen_at'), ('account_users', 'last_seen')) AS f (name, time_column),
     (VALUES ('u1'), ('a1'), ('u5')) AS k (key), (VALUES (1), (3)) AS z (size),
     LATERAL web.all_pages(f.name, k.key, z.size, f.time_column) p
WHERE left(f.name, 1) = left(k.key, 1)
GROUP BY size, f.name, k.key HAVING NOT count(*) = count(DISTINCT p) OR size = 3 ORDER BY 2, 3, 1;

-- as an ordinary user of the database: a role that may read the views and nothing else
CREATE ROLE profiles_drill_reader;
GRANT SELECT ON profiles.events, profiles.sessions TO profiles_drill_reader;
CREATE TEMP TABLE mine AS SELECT (SELECT count(*) FROM profiles.events) AS events, (SELECT count(*) FROM profiles.sessions) AS sessions,
    (SELECT count(*) FROM profiles.user_sessions('u1')) AS user_sessions, (SELECT count(*) FROM profiles.account_users('a1')) AS account_users,
    (SELECT count(*) FROM profiles.session_events('s1')) AS session_events, (SELECT count(*) FROM profiles.user_frustrations('u1')) AS user_frustrations,
    (SELECT count(*) FROM profiles.user_pages('u1')) AS user_pages, (SELECT count(*) FROM profiles.account_actions('a1')) AS account_actions;
GRANT SELECT ON mine TO profiles_drill_reader;
SET ROLE profiles_drill_reader;
SELECT m.events = (SELECT count(*) FROM profiles.events) AND m.sessions = (SELECT count(*) FROM profiles.sessions)
       AND m.user_sessions = (SELECT count(*) FROM profiles.user_sessions('u1')) AND m.account_users = (SELECT count(*) FROM profiles.account_users('a1'))
       AND m.session_events = (SELECT count(*) FROM profiles.session_events('s1')) AND m.user_frustrations = (SELECT count(*) FROM profiles.user_frustrations('u1'))
       AND m.user_pages = (SELECT count(*) FROM profiles.user_pages('u1')) AND m.account_actions = (SELECT count(*) FROM profiles.account_actions('a1')) AS same
FROM mine m;
SELECT * FROM profiles.index_events('web.sent');
RESET ROLE;
CREATE ROLE profiles_drill_nobody;
SET ROLE profiles_drill_nobody;
SELECT * FROM profiles.user_sessions('u1');
RESET ROLE;

--
-- Sources without sessions
--
CREATE TABLE web.clicks (usr text, acc int, ts timestamptz, page text, click text);
-- a busy day, a user with gaps of 15 minutes and of a microsecond more, one with many, one of nobody
INSERT INTO web.clicks SELECT 'busy', 1, timestamptz '2026-05-01Z' + n * interval '10 minutes', '/p' || n % 3, NULL FROM generate_series(0, 403) AS n;
INSERT INTO web.clicks SELECT 'gaps', n % 2, timestamptz '2026-05-01 06:00Z' + n * interval '15 minutes' + (n / 4) * interval '1 microsecond', '/g' || n % 3, CASE WHEN n % 2 = 1 THEN 'Go' END FROM generate_series(0, 20) AS n;
INSERT INTO web.clicks SELECT 'many' || n % 5, 2, timestamptz '2026-05-01Z' + ((n::bigint * n * 7919) % 864000) * interval '1 second', '/m' || n % 4, CASE WHEN n % 3 = 0 THEN 'Click ' || n % 2 END FROM generate_series(1, 1000) AS n;
INSERT INTO web.clicks SELECT usr, acc, ts, '/same', 'Same' FROM web.clicks WHERE usr = 'many1' AND extract(minute FROM ts) = 7;
INSERT INTO web.clicks SELECT NULL, 3, timestamptz '2026-05-01Z' + n * interval '1 minute', '/n', 'N' FROM generate_series(1, 10) AS n;
SELECT profiles.add_source('web.clicks', capture => 'none', mapping => '{"user_id": "usr", "account_id": "acc", "page": "page", "action": "click"}');
SELECT DISTINCT type, action IS NULL AS no_action FROM profiles.events WHERE source = 'web.clicks' ORDER BY 1;

-- each user's events in the order of time, one after the other
CREATE TABLE web.cut AS
WITH RECURSIVE numbered AS (
    SELECT usr, ts, page, click, acc, row_number() OVER (PARTITION BY usr ORDER BY ts) AS n FROM web.clicks WHERE usr IS NOT NULL
), walk AS (
    SELECT usr, n, ts, page, click, acc, ts AS start FROM numbered WHERE n = 1
    UNION ALL
    SELECT m.usr, m.n, m.ts, m.page, m.click, m.acc,
           CASE WHEN m.ts > w.ts + interval '15 minutes' OR m.ts >= w.start + interval '4 hours' THEN m.ts ELSE w.start END
    FROM walk w JOIN numbered m ON m.usr = w.usr AND m.n = w.n + 1
)
SELECT usr || '@' || (extract(epoch FROM start) * 1000000)::bigint AS session_id, usr, ts, page, click, acc FROM walk;
SELECT usr, count(DISTINCT session_id) AS sessions FROM web.cut WHERE usr IN ('busy', 'gaps') GROUP BY usr ORDER BY usr;
CREATE VIEW web.expected_cuts AS
SELECT session_id, usr AS user_id, min(ts) AS started_at, max(ts) AS ended_at, count(*) FILTER (WHERE click IS NULL) AS views, count(click) AS actions
FROM web.cut GROUP BY session_id, usr;
CREATE VIEW web.shown_cuts AS
SELECT session_id, user_id, started_at, ended_at, views, actions FROM profiles.sessions WHERE user_id !~ '^u[0-9]$';
SELECT count(*) > 100 AS many FROM web.expected_cuts;
(TABLE web.expected_cuts EXCEPT ALL TABLE web.shown_cuts) UNION ALL (TABLE web.shown_cuts EXCEPT ALL TABLE web.expected_cuts);
SELECT u.usr, x.* FROM (SELECT DISTINCT usr FROM web.cut) u, LATERAL (
    (SELECT session_id, started_at, ended_at, views, actions FROM profiles.user_sessions(u.usr, NULL)
     EXCEPT ALL SELECT session_id, started_at, ended_at, views, actions FROM web.expected_cuts c WHERE c.user_id = u.usr)
    UNION ALL
    (SELECT session_id, started_at, ended_at, views, actions FROM web.expected_cuts c WHERE c.user_id = u.usr
     EXCEPT ALL SELECT session_id, started_at, ended_at, views, actions FROM profiles.user_sessions(u.usr, NULL))) x;
-- in pages, which begin in the midst of a session; and each session's events by its id
SELECT u.usr, count(*) = count(DISTINCT p) AND count(*) = (SELECT count(*) FROM web.expected_cuts c WHERE c.user_id = u.usr) AS complete,
       bool_and(EXISTS (SELECT FROM web.expected_cuts c WHERE c.session_id = p ->> 'session_id' AND c.views = (p -> 'views')::int AND c.ended_at = (p ->> 'ended_at')::timestamptz)) AS same
FROM (SELECT DISTINCT usr FROM web.cut) u, web.all_pages('user_sessions', u.usr, 7, 'started_at') p GROUP BY u.usr ORDER BY u.usr;
SELECT size, count(*) FROM generate_series(1, 8) AS size, web.all_pages('user_sessions', 'busy', size, 'started_at') GROUP BY size HAVING count(*) <> 17;
SELECT count(*) AS wrong FROM (
    SELECT c.session_id FROM web.expected_cuts c
    WHERE (SELECT count(*) FROM profiles.session_events(c.session_id)) <> c.views + c.actions) w;
SELECT count(*) AS of_a_session_that_is_none FROM profiles.session_events('busy@1777593600000001');
-- visits in a range that begins in the midst of an activity, of views sent again in the same session
CREATE TABLE web.resent (usr text, ts timestamptz, page text, view_id text, ver int);
INSERT INTO web.resent SELECT 'again', timestamptz '2026-05-01Z' + n * interval '14 minutes', '/r' || n % 2, 'v' || (n + 1) / 2, n FROM generate_series(0, 99) AS n;
SELECT profiles.add_source('web.resent', capture => 'none', mapping => '{"user_id": "usr", "page": "page", "view_id": "view_id", "version": "ver"}');
CREATE VIEW web.visits AS
SELECT timestamptz '2026-05-01Z' + max(n) * interval '14 minutes' AS at, '/r' || max(n) % 2 AS page FROM generate_series(0, 99) AS n GROUP BY n / 18, (n + 1) / 2;
SELECT s.since AT TIME ZONE 'UTC' AS since, d.*
FROM generate_series(timestamptz '2026-05-01Z', '2026-05-02Z', '31 minutes') AS s (since), LATERAL (
    (SELECT page, visits FROM profiles.user_pages('again', since => s.since)
     EXCEPT ALL SELECT page, count(*) FROM web.visits WHERE at >= s.since GROUP BY page)
    UNION ALL
    (SELECT page, count(*) FROM web.visits WHERE at >= s.since GROUP BY page
     EXCEPT ALL SELECT page, visits FROM profiles.user_pages('again', since => s.since))) d;
SELECT page, visits FROM profiles.user_pages('again');
SELECT profiles.drop_source('web.resent');
-- from the midst of a session on
SELECT u.usr, b.before FROM (VALUES ('busy'), ('gaps'), ('many1')) u (usr), generate_series(timestamptz '2026-05-01Z', '2026-05-02Z', '97 minutes') AS b (before)
WHERE (SELECT array_agg(session_id) FROM profiles.user_sessions(u.usr, 2, b.before))
      IS DISTINCT FROM (SELECT array_agg(session_id) FROM (SELECT session_id FROM web.expected_cuts c WHERE c.user_id = u.usr AND c.started_at < b.before ORDER BY started_at DESC LIMIT 2) s);
SELECT u.usr, (SELECT sum(visits) FROM profiles.user_pages(u.usr)) = (SELECT count(*) FROM web.cut c WHERE c.usr = u.usr AND click IS NULL) AS pages,
       (SELECT sum(count) FROM profiles.user_actions(u.usr)) IS NOT DISTINCT FROM (SELECT nullif(count(*), 0) FROM web.cut c WHERE c.usr = u.usr AND click IS NOT NULL) AS actions
FROM (SELECT DISTINCT usr FROM web.cut) u ORDER BY 1;
SELECT a.acc, (SELECT sum(count) FROM profiles.account_actions(a.acc::text)) IS NOT DISTINCT FROM (SELECT nullif(count(click), 0) FROM web.clicks c WHERE c.acc = a.acc) AS actions,
       (SELECT array_agg(session_id ORDER BY session_id) FROM profiles.account_sessions(a.acc::text, NULL))
       IS NOT DISTINCT FROM (SELECT array_agg(DISTINCT session_id ORDER BY session_id) FROM web.cut c WHERE c.acc = a.acc) AS sessions,
       (SELECT count(*) FROM web.all_pages('account_sessions', a.acc::text, 5, 'started_at')) = (SELECT count(DISTINCT session_id) FROM web.cut c WHERE c.acc = a.acc) AS paged
FROM (SELECT DISTINCT acc FROM web.clicks) a ORDER BY 1;

--
-- Sources that come and go
--
SELECT profiles.drop_source('web.clicks');
SELECT DISTINCT source FROM profiles.events;
-- what a source brings is appended; grants and comments stay; user-made views too
CREATE VIEW web.report AS SELECT source, plan, count(*) FROM profiles.events GROUP BY 1, 2;
CREATE TABLE web.more (usr_id uuid, ts date, utm text, secs interval, frustration jsonb, type text, document_version timestamptz);
INSERT INTO web.more VALUES ('00000000-0000-4000-8000-000000000001', '2026-06-01', 'ads', '90 seconds', '["rage_click", "dead_click"]', 'action', '2026-01-01Z'),
    ('00000000-0000-4000-8000-000000000001', '2026-06-02', NULL, NULL, '"error_tap"', 'action', NULL),
    ('00000000-0000-4000-8000-000000000001', '2026-06-03', NULL, NULL, NULL, 'action', NULL);
SELECT profiles.add_source('web.more', capture => 'none', mapping => '{"utm.source": "utm", "secs": "secs", "type": "type"}');
SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'profiles.events'::regclass AND attnum > 29;
SELECT user_id, seen_at AT TIME ZONE 'UTC' AS seen_at, type, frustrations, version, utm_source, secs FROM profiles.events WHERE source = 'web.more' ORDER BY 2;
SELECT type, seen_at AT TIME ZONE 'UTC' AS seen_at FROM profiles.user_frustrations('00000000-0000-4000-8000-000000000001');
SELECT has_table_privilege('profiles_drill_reader', 'profiles.events', 'SELECT') AS still_granted,
       (SELECT count(*) FROM web.report) AS report, col_description('profiles.events'::regclass, 1) AS comment;
SELECT count(*) AS without_comment FROM pg_attribute
WHERE attrelid IN ('profiles.events'::regclass, 'profiles.sessions'::regclass) AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL;
-- altered, then gone, and all gone
SELECT profiles.alter_source('web.more', mapping => '{"utm.source": "upper(utm)", "secs": null, "session": "utm"}');
SELECT utm_source, secs, has_sessions FROM profiles.events WHERE source = 'web.more' ORDER BY seen_at;
CREATE ROLE regress_profiles_chart;
CREATE ROLE "regress_profiles Odd";
CREATE ROLE regress_profiles_late;
GRANT SELECT ON profiles.events, profiles.sessions TO regress_profiles_chart;
GRANT SELECT ON profiles.sessions TO "regress_profiles Odd" WITH GRANT OPTION;
GRANT SELECT (page, seen_at) ON profiles.events TO "regress_profiles Odd";
GRANT SELECT ON profiles.events TO PUBLIC, regress_profiles_late;
CREATE VIEW web.granted AS
SELECT c.relname AS view, a.attname AS of, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END AS grantee, g.privilege_type, g.is_grantable
FROM pg_class c, LATERAL (SELECT NULL::name AS attname, c.relacl AS acl UNION ALL
                          SELECT attname, attacl FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0) a, aclexplode(a.acl) g
WHERE c.relname IN ('events', 'sessions') AND c.relnamespace = 'profiles'::regnamespace AND g.grantee <> c.relowner;
CALL profiles.refresh();
REVOKE SELECT ON profiles.events FROM PUBLIC;
CALL profiles.refresh();
CREATE TABLE web.granted_before AS TABLE web.granted;
DROP TABLE web.more CASCADE;
SELECT to_regclass('profiles.events') IS NULL AS gone, to_regclass('web.report') IS NULL AS report_gone, (SELECT count(*) FROM web.granted) AS granted;
-- a refresh makes the views anew, with the grants to those who are there still
DROP ROLE regress_profiles_late;
CALL profiles.refresh();
SELECT DISTINCT source FROM profiles.events;
SELECT * FROM web.granted ORDER BY view, of NULLS FIRST, grantee COLLATE "C";
SELECT count(*) AS before FROM web.granted_before WHERE grantee <> 'PUBLIC';
SELECT count(*) AS without_comment FROM pg_attribute
WHERE attrelid IN ('profiles.events'::regclass, 'profiles.sessions'::regclass) AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL;
-- so does a call that changes a source
DROP VIEW profiles.events CASCADE;
SELECT profiles.drop_source('web.more');
SELECT count(*) AS again FROM web.granted;
DROP VIEW profiles.sessions;
CALL profiles.refresh();
SELECT count(*) AS again FROM web.granted;
REVOKE ALL ON profiles.events, profiles.sessions FROM regress_profiles_chart, "regress_profiles Odd";
REVOKE SELECT (page, seen_at) ON profiles.events FROM "regress_profiles Odd";
CALL profiles.refresh();
SELECT count(*) AS noted FROM profiles.view_grant;
DROP ROLE regress_profiles_chart, "regress_profiles Odd";
SELECT DISTINCT source FROM profiles.events;
SELECT count(*) = 54 AS sessions FROM profiles.sessions;
SELECT profiles.drop_source('web.sent');
SELECT (SELECT count(*) FROM profiles.events) AS events, (SELECT count(*) FROM profiles.sessions) AS sessions,
       (SELECT count(*) FROM profiles.user_sessions('u1')) AS user_sessions, (SELECT count(*) FROM profiles.account_users('a1')) AS users;
SELECT relname AS left_behind FROM pg_class WHERE relnamespace = 'profiles'::regnamespace AND relname ~ '^_events_';

-- times that are NULL are no start of anything
SELECT at AT TIME ZONE 'UTC' AS at, profiles._session_start(at) OVER (ORDER BY n) AT TIME ZONE 'UTC' AS start
FROM (VALUES (1, NULL), (2, NULL), (3, timestamptz '2026-07-01 10:00Z'), (4, NULL), (5, '2026-07-01 10:10Z'), (6, '2026-07-01 11:00Z')) AS v (n, at)
ORDER BY n;
SELECT profiles._session_start(NULL::timestamptz) IS NULL AS none;

-- a row whose expressions fail
CREATE TABLE web.bad (uid text, ts timestamptz, sid text, amount text);
INSERT INTO web.bad VALUES ('b1', '2026-07-01Z', 'b', '7'), ('b1', '2026-07-02Z', 'b', 'x'), ('b2', '2026-07-03Z', 'b2', '8');
SELECT profiles.add_source('web.bad', capture => 'none', mapping => '{"session": "sid", "amount": "amount::int"}');
SELECT profiles.index_events('web.bad') IS NOT NULL AS indexed;
SELECT count(amount) FROM profiles.events WHERE source = 'web.bad';
SELECT count(*) FROM profiles.user_sessions('b1');
SELECT profiles.alter_source('web.bad', mapping => '{"application": "(100 / (amount::int - 8))::text"}');
SELECT count(*) FROM profiles.user_sessions('b1');
SELECT count(*) FROM profiles.session_events('b2');
SELECT count(*) FROM profiles.user_sessions('b1', max => -1);
SELECT profiles.alter_source('web.bad', mapping => $$ {"amount": "CASE WHEN amount ~ '^[0-9]{1,9}$' THEN amount::int END", "application": null} $$);
SELECT amount FROM profiles.events WHERE source = 'web.bad' ORDER BY seen_at;
SELECT session_id, events FROM profiles.user_sessions('b1');
SELECT profiles.drop_source('web.bad');
DROP TABLE web.bad;

-- names that are awkward, and rows that are looked at as a whole
CREATE TABLE web.s ("order" text, keep text, e jsonb, ts timestamptz, "a b" jsonb);
INSERT INTO web.s VALUES ('o1', 'k1', '{"x": 1}', '2026-07-01Z', '["rage_tap"]'), ('o1', 'k2', '[2]', '2026-07-02Z', '7'), ('o2', NULL, NULL, '2026-07-03Z', NULL);
SELECT profiles.add_source('web.s', capture => 'none', mapping => '{"user_id": "\"order\"", "keep": "keep", "e": "e", "s": "s.e -> ''x''", "id": "keep", "nth": "e ->> 0",
    "type": "''action''::text", "frustration": "\"a b\"", "user.id": "keep || ''%s''"}', filter => 's.ts > ''2000-01-01Z''');
SELECT user_id, keep, e, s, id, nth, attribute_user_id, frustrations FROM profiles.events WHERE source = 'web.s' ORDER BY seen_at;
CREATE FUNCTION web.whole(r web.s) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT r.keep || r.e::text';
SELECT profiles.alter_source('web.s', mapping => '{"s": "web.whole(s)"}');
SELECT user_id, keep, e, s, frustrations FROM profiles.events WHERE source = 'web.s' ORDER BY seen_at;
SELECT session_id, frustrations FROM profiles.user_sessions('o1');
SELECT profiles.drop_source('web.s');
-- one session in two tables
CREATE TABLE web.pages (user_id text, session_id text, ts timestamptz, page text, view_id text);
CREATE TABLE web.clicked (user_id text, session_id text, ts timestamptz, action text, event_id text);
INSERT INTO web.pages VALUES ('p1', 'both', '2026-07-01 10:00Z', '/in', '1'), ('p1', 'both', '2026-07-01 10:05Z', '/out', '2');
INSERT INTO web.clicked VALUES ('p1', 'both', '2026-07-01 10:01Z', 'Go', '1'), ('p1', 'both', '2026-07-01 10:09Z', 'Stop', '2');
SELECT profiles.add_source('web.pages', capture => 'none'), profiles.add_source('web.clicked', capture => 'none');
SELECT session_id, user_id, duration, views, actions, entry_page, exit_page, events FROM profiles.sessions;
SELECT session_id, duration, views, actions, entry_page, exit_page, events FROM profiles.user_sessions('p1');
SELECT source, type, page, action FROM profiles.session_events('both');
SELECT profiles.drop_source('web.pages'), profiles.drop_source('web.clicked');

--
-- Whose rights
--
-- a source whose rows the reader's own rights decide on
CREATE TABLE web.guarded (user_id text, ts timestamptz, tenant text);
INSERT INTO web.guarded VALUES ('g1', '2026-01-01Z', 'profiles_drill_reader'), ('g2', '2026-01-01Z', 'other');
ALTER TABLE web.guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON web.guarded USING (tenant = current_user);
SELECT profiles.add_source('web.guarded', capture => 'none', rls => 'invoker');
GRANT SELECT ON profiles.events, profiles.sessions TO profiles_drill_reader, profiles_drill_nobody;
GRANT USAGE ON SCHEMA web TO profiles_drill_reader;
SELECT count(*) FROM profiles.events;
SET ROLE profiles_drill_reader;
SELECT count(*) FROM profiles.events;
RESET ROLE;
GRANT SELECT ON web.guarded TO profiles_drill_reader;
SET ROLE profiles_drill_reader;
SELECT user_id FROM profiles.events;
SELECT count(*) FROM profiles.user_sessions('g2');
RESET ROLE;
SELECT profiles.drop_source('web.guarded');
-- a role that may add sources can't make readers run its code, nor show what the owner can't read
CREATE ROLE profiles_drill_adder;
GRANT EXECUTE ON FUNCTION profiles.add_source, profiles.alter_source, profiles.drop_source TO profiles_drill_adder;
CREATE SCHEMA lab AUTHORIZATION profiles_drill_adder;
SET ROLE profiles_drill_adder;
CREATE TABLE lab.events (user_id text, ts timestamptz, page text);
INSERT INTO lab.events VALUES ('l1', '2026-01-01Z', '/l');
CREATE FUNCTION lab.code(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN current_user; END';
SET client_min_messages = notice;
SELECT profiles.add_source('lab.events', capture => 'none', mapping => '{"plan": "lab.code(page)"}');
SELECT profiles.alter_source('lab.events', mapping => '{"plan": "page"}');
CREATE VIEW lab.view AS SELECT user_id, ts, lab.code(page) AS page FROM lab.events;
SELECT profiles.add_source('lab.view');
SET client_min_messages = warning;
RESET ROLE;
SELECT source, user_id, plan FROM profiles.events;
-- the adder may make the view of the source say what it wants: nobody reads it
SELECT c.oid::regclass AS view FROM pg_class c JOIN pg_depend d ON d.refobjid = 'lab.events'::regclass
JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_class = c.oid WHERE c.relname ~ '^source_' LIMIT 1 \gset
SET ROLE profiles_drill_adder;
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO :view DO INSTEAD
    SELECT 'l2'::text AS user_id, ts AS seen_at, lab.code(page) AS page, page AS plan FROM lab.events;
RESET ROLE;
SELECT source, user_id, plan, page FROM profiles.events;
SELECT c.relname AS readable FROM pg_class c JOIN pg_rewrite w ON w.ev_class = 'profiles.events'::regclass
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
WHERE c.oid <> 'profiles.events'::regclass AND c.relowner <> (SELECT relowner FROM pg_class WHERE oid = 'profiles.events'::regclass);
SELECT profiles.drop_source('lab.events'), profiles.drop_source('lab.view');
-- nor can the owner of a view under one that somebody with the owner's rights adds
CREATE VIEW web.over AS SELECT user_id, ts FROM lab.view;
SELECT profiles.add_source('web.over', capture => 'none');
DROP VIEW web.over;

--
-- Indexes
--
CREATE TABLE web.big (uid varchar(20) COLLATE "C", org int, ts timestamp, sid uuid, type text, page text, id int) PARTITION BY RANGE (ts);
CREATE TABLE web.big_1 PARTITION OF web.big FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE web.big_2 PARTITION OF web.big FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO web.big SELECT 'u' || n % 400, n % 40, timestamp '2026-01-01' + n * interval '3 minutes', md5((n / 10)::text)::uuid, 'view', '/' || n % 9, n
FROM generate_series(0, 19999) AS n;
CREATE TABLE web.rum (event jsonb);
INSERT INTO web.rum SELECT jsonb_build_object('date', 1767225600000 + n * 60000::bigint, 'type', 'action', 'usr', jsonb_build_object('id', 'r' || n % 300),
    'session', jsonb_build_object('id', 's' || n / 20), 'action', jsonb_build_object('id', n, 'name', 'A')) FROM generate_series(1, 6000) AS n;
CREATE VIEW web.joined AS SELECT uid, ts FROM web.big;
SELECT profiles.add_source('web.big', capture => 'none', mapping => '{"user_id": "uid", "account_id": "org", "session": "sid", "event_id": "id"}');
SELECT profiles.add_source('web.rum', capture => 'none', preset => 'rum');
SELECT count(*) AS rows, count(row_user_id) AS of_users, count(row_session_id) AS in_sessions,
       count(*) FILTER (WHERE (row_user_id, row_account_id, row_session_id, row_seen_at) IS DISTINCT FROM (user_id, account_id, session_id, seen_at)) AS differing
FROM profiles.events WHERE source = 'web.rum';
CREATE FUNCTION web.seq_scans(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN (SELECT count(*) FROM jsonb_path_query(plan, 'strict $.**."Node Type" ? (@ == "Seq Scan")'));
END $$;
-- a function reads all, and says so
SET client_min_messages = notice;
SELECT count(*) FROM profiles.user_sessions('u7');
SELECT count(*) FROM profiles.account_pages('7');
SELECT web.seq_scans($$SELECT * FROM profiles.events WHERE user_id = 'u7'$$) > 0 AS by_user;
SELECT * FROM profiles.index_events('web.big', make => false);
SET client_min_messages = warning;
-- an index that serves is left alone; one of another collation, over some rows only, or without order does not
CREATE INDEX big_own ON web.big ((org::text), (ts AT TIME ZONE 'UTC'), id);
CREATE INDEX big_c ON web.big (uid, (ts AT TIME ZONE 'UTC'));
CREATE INDEX big_hash ON web.big USING hash ((sid::text));
CREATE INDEX big_part ON web.big ((sid::text)) WHERE type = 'view';
SELECT purpose, index, made FROM profiles.index_events('web.big');
SELECT purpose, index, made FROM profiles.index_events('web.big');
SELECT purpose, index, made FROM profiles.index_events('web.rum');
SELECT c.oid::regclass AS index, obj_description(c.oid) FROM pg_class c WHERE obj_description(c.oid) LIKE 'Made by profiles%' ORDER BY 1;
SET enable_seqscan = off;
SELECT web.seq_scans($$SELECT * FROM profiles.events WHERE user_id = 'u7' AND seen_at < '2026-02-01'$$) AS by_user,
       web.seq_scans($$SELECT * FROM profiles.events WHERE account_id = '7' AND seen_at < '2026-02-01'$$) AS by_account,
       web.seq_scans($$SELECT * FROM profiles.events WHERE session_id = ANY (ARRAY['s1', 's2'])$$) AS by_session,
       web.seq_scans($$SELECT * FROM profiles.sessions WHERE session_id = 's1'$$) AS sessions_by_session;
-- and then no function needs to read a table from end to end, and none says so
SET client_min_messages = notice;
SELECT pg_stat_force_next_flush();
SELECT sum(seq_scan) AS before FROM pg_stat_user_tables WHERE schemaname = 'web' \gset
SELECT count(*) FROM profiles.user_sessions('u7');
SELECT count(*) FROM profiles.user_pages('u7');
SELECT count(*) FROM profiles.user_actions('r7');
SELECT count(*) FROM profiles.user_frustrations('r7');
SELECT count(*) FROM profiles.session_events('s7');
SELECT count(*) FROM profiles.account_sessions('7');
SELECT count(*) FROM profiles.account_users('7');
SELECT pg_stat_force_next_flush();
SELECT sum(seq_scan) - :before AS seq_scans FROM pg_stat_user_tables WHERE schemaname = 'web';
RESET enable_seqscan;
SET client_min_messages = warning;
SELECT * FROM profiles.unindex_events('web.big');
SELECT indexrelid::regclass AS others FROM pg_index WHERE indrelid = 'web.big'::regclass ORDER BY 1;
SELECT * FROM profiles.unindex_events('web.big');
SELECT count(*) AS left_to_rum FROM profiles.unindex_events('web.rum');
SELECT * FROM profiles.index_events('web.joined');
SELECT * FROM profiles.unindex_events('web.nothing');
CREATE ROLE profiles_drill_indexer;
GRANT EXECUTE ON FUNCTION profiles.index_events, profiles.unindex_events TO profiles_drill_indexer;
GRANT USAGE, CREATE ON SCHEMA web TO profiles_drill_indexer;
SET ROLE profiles_drill_indexer;
SELECT * FROM profiles.index_events('web.rum');
RESET ROLE;
ALTER TABLE web.rum OWNER TO profiles_drill_indexer;
SET ROLE profiles_drill_indexer;
SELECT purpose, index, made FROM profiles.index_events('web.rum');
SELECT * FROM profiles.unindex_events('web.rum');
RESET ROLE;

SELECT profiles.uninstall();
SELECT to_regclass('profiles.events') IS NULL AND to_regclass('profiles.sessions') IS NULL AS gone;
DROP SCHEMA web, lab CASCADE;
DROP OWNED BY profiles_drill_adder, profiles_drill_reader, profiles_drill_nobody, profiles_drill_indexer;
DROP ROLE profiles_drill_adder, profiles_drill_reader, profiles_drill_nobody, profiles_drill_indexer;
