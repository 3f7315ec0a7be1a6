-- Drill-down: functions that answer for one user, account or session.

-- Where the activity began in which a user is at a time: no gap of more than 15
-- minutes lies between. A session begins there, so it is where cutting can begin.
CREATE FUNCTION profiles._chain_start(user_id text, at timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    result timestamptz := at;
    earlier timestamptz;
BEGIN
    WHILE isfinite(result) LOOP
        SELECT min(e.row_seen_at) INTO earlier FROM profiles.events e
        WHERE NOT e.has_sessions AND e.user_id = _chain_start.user_id AND e.type IS DISTINCT FROM 'view_update'
          AND e.seen_at >= result - interval '15 minutes' AND e.seen_at < result;
        EXIT WHEN earlier IS NULL;
        result := earlier;
    END LOOP;
    RETURN result;
END
$$;
COMMENT ON FUNCTION profiles._chain_start(text, timestamptz) IS 'Internal: a time at which a session of the user began, not after the given one.';

-- A fold leaves out rows whose expressions fail; a query can't.
CREATE FUNCTION profiles._failures() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'EXCEPTION WHEN invalid_text_representation OR invalid_datetime_format OR datetime_field_overflow OR numeric_value_out_of_range OR division_by_zero THEN
    RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = sqlerrm,
        DETAIL = ''An expression of a source fails on one of the events.'',
        HINT = ''Profiles leave such events out, and profiles.status counts them; queries can''''t. Let the expression give NULL for them: profiles.alter_source().'';';
COMMENT ON FUNCTION profiles._failures() IS 'Internal: end of a function that reads events: a hint for those whose expressions fail.';

-- A page is looked for in stretches of time, newest first, until it is full: whoever
-- has few events is done after the first.
CREATE FUNCTION profiles._older_stretch() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '        GET DIAGNOSTICS found = ROW_COUNT;
        EXIT WHEN low = ''-infinity'';
        wanted := wanted - found;
        high := low + interval ''1 microsecond'';
        size := size * 4;';
COMMENT ON FUNCTION profiles._older_stretch() IS 'Internal: end of the loop that pages by time.';

-- The functions for users and accounts, from one text. They read little, which
-- starting workers or compiling would take longer than. In it KIND is the kind;
-- SESSIONS the events of the sessions in "sessions" and of the users in "users"
-- from "since_cut" to "until_cut"; LOOSE the subject's events from "low" to
-- "high" that belong to no session, if "loose" says that there are such; STRETCH
-- and OLDER are the ends of the loop that fills a page; FAILURES ends the function.
DO $make$
DECLARE
    sessions text := profiles._mapped_sessions('e.row_session_id', 'e.session_id = ANY (sessions)') || ' UNION ALL '
                     || profiles._cut_sessions('e.user_id = ANY (users) AND e.seen_at >= since_cut AND e.seen_at < until_cut');
    loose text := ' UNION ALL ' || profiles._mapped_sessions(
        'e.row_session_id', 'loose AND e.row_session_id IS NULL AND (e.has_sessions OR e.row_user_id IS NULL) AND e.KIND_id = KIND_FUNCTION.KIND_id '
        'AND e.seen_at >= low AND e.seen_at < high');
    -- sessions and users that the subject's events in the range are of
    find text := $sql$
    SELECT coalesce(array_agg(DISTINCT e.row_session_id) FILTER (WHERE e.row_session_id IS NOT NULL), '{}'),
           coalesce(array_agg(DISTINCT e.row_user_id) FILTER (WHERE NOT e.has_sessions AND e.row_user_id IS NOT NULL), '{}'),
           coalesce(bool_or(e.row_session_id IS NULL AND (e.has_sessions OR e.row_user_id IS NULL)), false)
      INTO sessions, users, loose
      FROM profiles.events e
     WHERE e.KIND_id = KIND_FUNCTION.KIND_id AND e.seen_at >= low AND e.seen_at < high AND e.type IS DISTINCT FROM 'view_update';
    since_cut := (SELECT min(profiles._chain_start(u, low)) FROM unnest(users) u);
    until_cut := high + interval '4 hours';$sql$;
    -- the same for a page: of the newest "size" events before "high", which are those from "low"
    stretch text := $sql$        SELECT coalesce(array_agg(DISTINCT e.row_session_id) FILTER (WHERE e.row_session_id IS NOT NULL), '{}'),
               coalesce(array_agg(DISTINCT e.row_user_id) FILTER (WHERE NOT e.has_sessions AND e.row_user_id IS NOT NULL), '{}'),
               coalesce(bool_or(e.row_session_id IS NULL AND (e.has_sessions OR e.row_user_id IS NULL)), false),
               CASE WHEN count(*) < size THEN '-infinity' ELSE min(e.row_seen_at) END
          INTO sessions, users, loose, low
          FROM (SELECT e.row_session_id, e.row_user_id, e.has_sessions, e.row_seen_at
                FROM profiles.events e
                WHERE e.KIND_id = KIND_FUNCTION.KIND_id AND e.seen_at < high AND e.type IS DISTINCT FROM 'view_update'CONDITION
                ORDER BY e.seen_at DESC LIMIT size) e;
        since_cut := (SELECT min(profiles._chain_start(u, low)) FROM unnest(users) u);
        until_cut := high + interval '4 hours';$sql$;
    variables text := $sql$
    sessions text[];
    users text[];
    loose boolean;
    since_cut timestamptz;
    until_cut timestamptz;$sql$;
    bodies jsonb := '{}';
    kind text;
    other text;
    f record;
BEGIN
    FOREACH kind IN ARRAY ARRAY['user', 'account'] LOOP
        other := CASE kind WHEN 'user' THEN 'account' ELSE 'user' END;
        FOR f IN
            SELECT * FROM (VALUES
            ('sessions', 'max int DEFAULT 50, before timestamptz DEFAULT NULL',
             'session_id text, ' || other || '_id text, started_at timestamptz, ended_at timestamptz, duration interval, '
             'views bigint, actions bigint, errors bigint, frustrations bigint, entry_page text, exit_page text, country text, device_type text, '
             'events bigint, application text, region text, city text, os_name text, os_version text, browser_name text, browser_version text',
             'Sessions of one KIND, newest first: those that began before "before", at most "max" of them and those that began at the same time '
             'as the last of these, so that the last started_at is the next page''s "before". What a column means, the view sessions says; '
             || CASE kind WHEN 'user' THEN 'views, actions and so on are those of this user in the session.'
                ELSE 'a row is one user''s part of a session, and views, actions and so on are those with this account.' END,
             $body$
DECLARE
    high timestamptz := coalesce(before, 'infinity');
    low timestamptz;
    wanted bigint := coalesce(max, 1000000000000);
    -- of events; most sessions have more than a few
    size bigint := 100 + 4 * wanted;
    found bigint;VARIABLES
BEGIN
    PERFORM profiles._advise_indexes(ARRAY['user', 'KIND', 'session']);
    WHILE wanted > 0 LOOP
STRETCH
        -- ties are those of time; their order is a matter of the next step
        RETURN QUERY
            SELECT s.session_id, s.OTHER_id, s.started_at, s.ended_at, s.duration, s.views, s.actions, s.errors, s.frustrations,
                   s.entry_page, s.exit_page, s.country, s.device_type, s.events, s.application, s.region, s.city,
                   s.os_name, s.os_version, s.browser_name, s.browser_version
            FROM (SELECT * FROM (SUMMED) s
                  WHERE s.started_at > low AND s.started_at < high
                  ORDER BY s.started_at DESC FETCH FIRST (wanted) ROWS WITH TIES) s
            ORDER BY s.started_at DESC, s.session_id DESC, s.OTHER_id DESC;
OLDER
    END LOOP;
FAILURES
END
$body$),
            ('pages', 'max int DEFAULT 50, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL',
             'page text, visits bigint, first_visited_at timestamptz, last_visited_at timestamptz',
             'Pages that one KIND visited from "since" to before "until", most frequent first, at most "max". A visit is a view, however often it was sent.',
             $body$
DECLARE
    low timestamptz := coalesce(since, '-infinity');
    high timestamptz := coalesce(until, 'infinity');VARIABLES
BEGIN
    PERFORM profiles._advise_indexes(ARRAY['user', 'KIND', 'session']);FIND
    RETURN QUERY
        SELECT e.page, count(*), min(e.seen_at), max(e.seen_at)
        FROM (COUNTED) e
        WHERE e.type = 'view' AND e.page IS NOT NULL AND e.KIND_id = KIND_FUNCTION.KIND_id AND e.seen_at >= low AND e.seen_at < high
        GROUP BY e.page ORDER BY count(*) DESC, e.page LIMIT KIND_FUNCTION.max;
FAILURES
END
$body$),
            ('actions', 'max int DEFAULT 50, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL',
             'action text, count bigint, first_at timestamptz, last_at timestamptz',
             'Actions of one KIND from "since" to before "until", most frequent first, at most "max". One without a name counts as "action".',
             $body$
DECLARE
    low timestamptz := coalesce(since, '-infinity');
    high timestamptz := coalesce(until, 'infinity');VARIABLES
BEGIN
    PERFORM profiles._advise_indexes(ARRAY['user', 'KIND', 'session']);FIND
    RETURN QUERY
        SELECT coalesce(e.action, e.type), count(*), min(e.seen_at), max(e.seen_at)
        FROM (COUNTED) e
        WHERE e.type = 'action' AND e.KIND_id = KIND_FUNCTION.KIND_id AND e.seen_at >= low AND e.seen_at < high
        GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT KIND_FUNCTION.max;
FAILURES
END
$body$),
            ('frustrations', 'max int DEFAULT 50, before timestamptz DEFAULT NULL',
             'type text, page text, action text, seen_at timestamptz, session_id text, event_id text, ' || other || '_id text',
             'What frustrated one KIND, newest first: rage_click, dead_click, error_click, rage_tap, error_tap, one row each, several on one action too. '
             'Those before "before", at most "max" and those of the same time as the last of these, so that the last seen_at is the next page''s "before".',
             $body$
DECLARE
    high timestamptz := coalesce(before, 'infinity');
    low timestamptz;
    wanted bigint := coalesce(max, 1000000000000);
    size bigint := 100 + 2 * wanted;
    found bigint;VARIABLES
BEGIN
    PERFORM profiles._advise_indexes(ARRAY['user', 'KIND', 'session']);
    WHILE wanted > 0 LOOP
STRETCH
        RETURN QUERY
            SELECT e.frustration, e.page, e.action, e.seen_at, e.session_id, e.event_id, e.OTHER_id
            FROM (SELECT e.*, f AS frustration FROM (COUNTED) e, unnest(e.frustrations) f
                  WHERE e.KIND_id = KIND_FUNCTION.KIND_id AND e.seen_at > low AND e.seen_at < high
                  ORDER BY e.seen_at DESC FETCH FIRST (wanted) ROWS WITH TIES) e
            ORDER BY e.seen_at DESC, e.event_id DESC, e.frustration;
OLDER
    END LOOP;
FAILURES
END
$body$)) AS v (name, arguments, columns, description, body)
        LOOP
            f.body := replace(f.body, 'VARIABLES', variables);
            f.body := replace(f.body, 'FIND', find);
            f.body := replace(f.body, 'STRETCH', replace(stretch, 'CONDITION',
                                                         CASE f.name WHEN 'frustrations' THEN ' AND cardinality(e.frustrations) > 0' ELSE '' END));
            f.body := replace(f.body, 'OLDER', profiles._older_stretch());
            f.body := replace(f.body, 'FAILURES', profiles._failures());
            f.body := replace(f.body, 'SUMMED', profiles._sum_sessions(
                'SELECT * FROM (' || profiles._counted_events(sessions) || ') e WHERE e.KIND_id = KIND_FUNCTION.KIND_id'));
            f.body := replace(f.body, 'COUNTED', profiles._counted_events(sessions || loose));
            f.body := replace(replace(replace(f.body, 'KIND_FUNCTION', kind || '_' || f.name), 'KIND', kind), 'OTHER', other);
            EXECUTE format(
                'CREATE FUNCTION profiles.%1$s_%2$s(%1$s_id text, %3$s) RETURNS TABLE (%4$s) LANGUAGE plpgsql STABLE ROWS 50 '
                'SET search_path = pg_catalog, pg_temp SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan AS %5$L',
                kind, f.name, f.arguments, f.columns, E'\n#variable_conflict use_column' || f.body);
            EXECUTE format('COMMENT ON FUNCTION profiles.%s_%s IS %L', kind, f.name,
                           replace(f.description, 'KIND', kind) || ' Runs with the caller''s rights, who needs SELECT on profiles.events.');
        END LOOP;
    END LOOP;
END
$make$;

DO $make$
BEGIN
    EXECUTE format($sql$
CREATE FUNCTION profiles.account_users(account_id text, max int DEFAULT 50, before timestamptz DEFAULT NULL)
    RETURNS TABLE (user_id text, user_name text, user_email text, first_seen timestamptz, last_seen timestamptz)
    LANGUAGE plpgsql STABLE ROWS 50
    SET search_path = pg_catalog, pg_temp SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan
AS $body$
#variable_conflict use_column
DECLARE
    high timestamptz := coalesce(before, 'infinity');
    low timestamptz;
    wanted bigint := coalesce(max, 1000000000000);
    -- most users have more than a few
    size bigint := 100 + 40 * wanted;
    found bigint;
    sessions text[];
    users text[];
    loose boolean;
BEGIN
    PERFORM profiles._advise_indexes(ARRAY['user', 'account', 'session']);
    WHILE wanted > 0 LOOP
        SELECT coalesce(array_agg(DISTINCT e.row_user_id), '{}'), coalesce(array_agg(DISTINCT e.row_session_id), '{}'),
               coalesce(bool_or(e.row_session_id IS NULL AND e.has_sessions), false),
               CASE WHEN count(*) < size THEN '-infinity' ELSE min(e.row_seen_at) END
          INTO users, sessions, loose, low
          FROM (SELECT e.row_user_id, e.row_session_id, e.has_sessions, e.row_seen_at
                FROM profiles.events e
                WHERE e.account_id = account_users.account_id AND e.seen_at < high AND e.type IS DISTINCT FROM 'view_update'
                ORDER BY e.seen_at DESC LIMIT size) e;
        -- all of these users' events in the account, if those were not all
        IF low > '-infinity' OR high < 'infinity' THEN
            SELECT coalesce(array_agg(DISTINCT e.row_session_id), '{}'), coalesce(bool_or(e.row_session_id IS NULL AND e.has_sessions), false)
              INTO sessions, loose
              FROM profiles.events e
             WHERE e.user_id = ANY (users) AND e.account_id = account_users.account_id;
        END IF;
        RETURN QUERY
            SELECT u.user_id, u.user_name, u.user_email, u.first_seen, u.last_seen
            FROM (SELECT e.user_id,
                         profiles.last(e.user_name, e.seen_at) FILTER (WHERE e.user_name IS NOT NULL) AS user_name,
                         profiles.last(e.user_email, e.seen_at) FILTER (WHERE e.user_email IS NOT NULL) AS user_email,
                         min(e.seen_at) AS first_seen, max(e.seen_at) AS last_seen
                  FROM (%s) e
                  WHERE e.user_id = ANY (users) AND e.account_id = account_users.account_id
                  GROUP BY e.user_id
                  HAVING max(e.seen_at) > low AND max(e.seen_at) < high
                  ORDER BY max(e.seen_at) DESC FETCH FIRST (wanted) ROWS WITH TIES) u
            ORDER BY u.last_seen DESC, u.user_id DESC;
%s
    END LOOP;
%s
END
$body$$sql$,
        profiles._counted_events(profiles._mapped_sessions('e.row_session_id', 'e.session_id = ANY (sessions)')
            || ' UNION ALL ' || profiles._mapped_sessions('e.row_session_id',
                'loose AND e.row_session_id IS NULL AND e.has_sessions AND e.user_id = ANY (users) AND e.account_id = account_users.account_id')
            || ' UNION ALL ' || profiles._cut_sessions('e.user_id = ANY (users)')),
        profiles._older_stretch(), profiles._failures());
END
$make$;
COMMENT ON FUNCTION profiles.account_users(text, int, timestamptz) IS 'Users with events of one account, by their last such event, newest first: those last seen before "before", at most "max" and those of the same time as the last of these, so that the last last_seen is the next page''s "before". first_seen and last_seen are those in the account, user_name and user_email the latest known there. Runs with the caller''s rights, who needs SELECT on profiles.events.';

DO $make$
BEGIN
    EXECUTE format($sql$
CREATE FUNCTION profiles.session_events(session_id text)
    RETURNS TABLE (seen_at timestamptz, type text, page text, action text, frustrations text[], user_id text, account_id text,
                   event_id text, view_id text, source text, application text, country text, region text, city text,
                   device_type text, os_name text, os_version text, browser_name text, browser_version text)
    LANGUAGE plpgsql STABLE ROWS 100
    SET search_path = pg_catalog, pg_temp SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan
AS $body$
#variable_conflict use_column
DECLARE
    -- whose session it is and when it began, if it was cut by time
    parts text[] := regexp_match(session_id, '^(.*)@(-?[0-9]{1,18})$');
    begun timestamptz := timestamptz '1970-01-01Z' + (parts[2]::bigint / 1000000) * interval '1 second'
                         + (parts[2]::bigint %% 1000000) * interval '1 microsecond';
    sessions text[] := ARRAY[session_id];
    users text[] := ARRAY[parts[1]];
    since_cut timestamptz;
    until_cut timestamptz := begun + interval '4 hours';
BEGIN
    PERFORM profiles._advise_indexes(ARRAY['user', 'session']);
    since_cut := CASE WHEN begun IS NOT NULL THEN profiles._chain_start(parts[1], begun) END;
    RETURN QUERY
        SELECT e.seen_at, e.type, e.page, e.action, e.frustrations, e.user_id, e.account_id, e.event_id, e.view_id, e.source,
               e.application, e.country, e.region, e.city, e.device_type, e.os_name, e.os_version, e.browser_name, e.browser_version
        FROM (%s) e
        WHERE e.session_id = session_events.session_id
        ORDER BY e.seen_at, e.type = 'view' DESC, e.event_id, e.source;
%s
END
$body$$sql$,
        profiles._counted_events(profiles._mapped_sessions('e.row_session_id', 'e.session_id = ANY (sessions)') || ' UNION ALL '
            || profiles._cut_sessions('e.user_id = ANY (users) AND e.seen_at >= since_cut AND e.seen_at < until_cut')),
        profiles._failures());
END
$make$;
COMMENT ON FUNCTION profiles.session_events(text) IS 'Events of one session in the order of time, each with its user: a page visit once, however often it was sent, partial updates not at all. Runs with the caller''s rights, who needs SELECT on profiles.events.';
