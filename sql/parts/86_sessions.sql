-- Sessions: the view over all sources, and the parts of queries that it and the
-- functions for one subject are made of, so that one user's sessions are the same in
-- all of them.

CREATE FUNCTION profiles._session_start_transfn(internal, timestamptz) RETURNS internal
    AS 'MODULE_PATHNAME', 'profiles_session_start_transfn' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION profiles._session_start_transfn(internal, timestamptz) IS 'Internal: transition function of _session_start.';
CREATE FUNCTION profiles._session_start_finalfn(internal) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profiles_session_start_finalfn' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION profiles._session_start_finalfn(internal) IS 'Internal: final function of _session_start.';
CREATE AGGREGATE profiles._session_start(timestamptz) (
    SFUNC = profiles._session_start_transfn,
    STYPE = internal,
    SSPACE = 16,
    FINALFUNC = profiles._session_start_finalfn,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE profiles._session_start(timestamptz) IS 'Internal: start of the session that an event is in, as a window function over one user''s events in the order of time: a gap of more than 15 minutes, or 4 hours since the start, opens a new one.';

-- Columns of events that sessions are made of; the session's id is the given one.
-- Here and below, conditions on user_id, account_id, session_id and seen_at are for
-- indexes; what is shown or compared otherwise is the row_ column of the same value.
CREATE FUNCTION profiles._session_columns(session_id text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'e.source, e.event_id, e.row_user_id AS user_id, e.row_account_id AS account_id, e.row_seen_at AS seen_at, '
           || session_id || ' AS session_id, e.type, '
           'e.view_id, e.page, e.action, e.frustrations, e.version, e.application, e.country, e.region, e.city, '
           'e.device_type, e.os_name, e.os_version, e.browser_name, e.browser_version, e.user_name, e.user_email';
COMMENT ON FUNCTION profiles._session_columns(text) IS 'Internal: columns of events, with the given session.';

-- Partial updates of views say nothing that their next version does not.
CREATE FUNCTION profiles._mapped_sessions(session_id text, condition text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'SELECT ' || profiles._session_columns(session_id)
           || ' FROM profiles.events e WHERE e.type IS DISTINCT FROM ''view_update'' AND ' || condition;
COMMENT ON FUNCTION profiles._mapped_sessions(text, text) IS 'Internal: query of events whose session the source knows, or that have none.';

-- The id says whose session it is and when it began, in microseconds since 1970,
-- so that its events can be found.
CREATE FUNCTION profiles._cut_sessions(condition text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'SELECT ' || profiles._session_columns(
               'e.row_user_id || ''@'' || (extract(epoch FROM profiles._session_start(e.row_seen_at) OVER '
               '(PARTITION BY e.row_user_id ORDER BY e.row_seen_at)) * 1000000)::bigint')
           || ' FROM profiles.events e WHERE NOT e.has_sessions AND e.row_user_id IS NOT NULL '
           'AND e.type IS DISTINCT FROM ''view_update'' AND ' || condition;
COMMENT ON FUNCTION profiles._cut_sessions(text) IS 'Internal: query of events of sources without sessions, cut into sessions. The condition must not leave out any of a user''s events between the first and the last.';

-- Of what was sent several times in a session, the highest version counts.
CREATE FUNCTION profiles._counted_events(events text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'SELECT * FROM (SELECT e.*, row_number() OVER (PARTITION BY e.source, e.session_id, e.type, '
           'coalesce(CASE WHEN e.type = ''view'' THEN e.view_id END, e.event_id) '
           'ORDER BY e.version DESC NULLS LAST, e.seen_at DESC, e.user_id DESC NULLS LAST, e.account_id DESC NULLS LAST, '
           'e.page DESC NULLS LAST, e.action DESC NULLS LAST) AS nth FROM (' || events || ') e) e '
           'WHERE e.nth = 1 OR coalesce(CASE WHEN e.type = ''view'' THEN e.view_id END, e.event_id) IS NULL';
COMMENT ON FUNCTION profiles._counted_events(text) IS 'Internal: query of those events that count.';

CREATE FUNCTION profiles._sum_sessions(counted text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN $sql$SELECT e.session_id, e.user_id,
        profiles.last(e.account_id, e.seen_at) FILTER (WHERE e.account_id IS NOT NULL) AS account_id,
        min(e.seen_at) AS started_at, max(e.seen_at) AS ended_at, max(e.seen_at) - min(e.seen_at) AS duration,
        count(*) FILTER (WHERE e.type = 'view') AS views,
        count(*) FILTER (WHERE e.type = 'action') AS actions,
        count(*) FILTER (WHERE e.type = 'error') AS errors,
        coalesce(sum(cardinality(e.frustrations)), 0) AS frustrations,
        profiles.first(e.page, e.seen_at) FILTER (WHERE e.type = 'view' AND e.page IS NOT NULL) AS entry_page,
        profiles.last(e.page, e.seen_at) FILTER (WHERE e.type = 'view' AND e.page IS NOT NULL) AS exit_page,
        (profiles.last(ARRAY[e.country, e.region, e.city], e.seen_at) FILTER (WHERE num_nonnulls(e.country, e.region, e.city) > 0))[1] AS country,
        profiles.last(e.device_type, e.seen_at) FILTER (WHERE e.device_type IS NOT NULL) AS device_type,
        count(*) AS events,
        profiles.last(e.application, e.seen_at) FILTER (WHERE e.application IS NOT NULL) AS application,
        (profiles.last(ARRAY[e.country, e.region, e.city], e.seen_at) FILTER (WHERE num_nonnulls(e.country, e.region, e.city) > 0))[2] AS region,
        (profiles.last(ARRAY[e.country, e.region, e.city], e.seen_at) FILTER (WHERE num_nonnulls(e.country, e.region, e.city) > 0))[3] AS city,
        (profiles.last(ARRAY[e.os_name, e.os_version], e.seen_at) FILTER (WHERE num_nonnulls(e.os_name, e.os_version) > 0))[1] AS os_name,
        (profiles.last(ARRAY[e.os_name, e.os_version], e.seen_at) FILTER (WHERE num_nonnulls(e.os_name, e.os_version) > 0))[2] AS os_version,
        (profiles.last(ARRAY[e.browser_name, e.browser_version], e.seen_at) FILTER (WHERE num_nonnulls(e.browser_name, e.browser_version) > 0))[1] AS browser_name,
        (profiles.last(ARRAY[e.browser_name, e.browser_version], e.seen_at) FILTER (WHERE num_nonnulls(e.browser_name, e.browser_version) > 0))[2] AS browser_version
    FROM ($sql$ || counted || ') e GROUP BY e.session_id, e.user_id';
COMMENT ON FUNCTION profiles._sum_sessions(text) IS 'Internal: query of sessions, one row per session and user.';

CREATE FUNCTION profiles._make_sessions_view() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
BEGIN
    EXECUTE 'CREATE VIEW profiles.sessions AS ' || profiles._sum_sessions(profiles._counted_events(
        profiles._mapped_sessions('e.session_id', 'e.row_session_id IS NOT NULL') || ' UNION ALL ' || profiles._cut_sessions('true')));
    COMMENT ON VIEW profiles.sessions IS 'Sessions of all sources, one row per session and user; events of a session before login are a row of nobody (user_id NULL). For one user, user_sessions() answers by index.';
    FOR r IN
        SELECT * FROM (VALUES
            ('session_id', 'Id of the session, unique together with user_id. Where the source knows none: the user and the start, in microseconds since 1970.'),
            ('user_id', 'Key of the user; NULL: nobody known.'),
            ('account_id', 'Key of the latest account, if any.'),
            ('started_at', 'Time of the first event.'),
            ('ended_at', 'Time of the last event.'),
            ('duration', 'From the first to the last event.'),
            ('views', 'Page visits.'),
            ('actions', 'Actions.'),
            ('errors', 'Errors.'),
            ('frustrations', 'Frustrations; one action may have several.'),
            ('entry_page', 'First page.'),
            ('exit_page', 'Last page.'),
            ('country', 'Code of the latest known country.'),
            ('device_type', 'Latest known type of device.'),
            ('events', 'Events of all types; what was sent several times counts once.'),
            ('application', 'Latest known application.'),
            ('region', 'Region, of the same event as the country.'),
            ('city', 'City, of the same event as the country.'),
            ('os_name', 'Latest known operating system.'),
            ('os_version', 'Version of the operating system, of the same event.'),
            ('browser_name', 'Latest known browser.'),
            ('browser_version', 'Version of the browser, of the same event.')
        ) AS c (name, description)
    LOOP
        EXECUTE format('COMMENT ON COLUMN profiles.sessions.%I IS %L', r.name, r.description);
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._make_sessions_view() IS 'Internal: makes the view sessions.';
