-- What a person sees after choosing a user: events and sessions over all
-- sources, as views made at run time, and functions that answer for one subject.

-- ---------- parts of queries ----------

-- Both the view sessions and the functions are made of these texts, so that one
-- user's sessions are the same in all of them.

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

CREATE FUNCTION profiles._value_text("any") RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_value_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._value_text("any") IS 'Internal: the text of a value as profiles keep it, whatever the session''s settings are.';

-- Many expressions read one jsonb value; it is decompressed once for all of them.
CREATE FUNCTION profiles._detoasted(jsonb) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'profiles_detoasted' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._detoasted(jsonb) IS 'Internal: the value itself, in memory as it is read.';

-- A function rather than a setting that is read and cast, so that the planner can
-- tell how many events lie before it.
CREATE FUNCTION profiles._latest_time() RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profiles_latest_time' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION profiles._latest_time() IS 'Internal: now plus profiles.future_tolerance; later events do not count yet.';

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

-- ---------- the views ----------

-- Columns of events that always exist, in their order. A key is an entry of
-- mappings; an attribute is shown as text.
CREATE FUNCTION profiles._event_columns()
    RETURNS TABLE (column_name text, key text, type text, is_attribute boolean, description text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT * FROM (VALUES
        ('source', NULL, 'text', false, 'Name of the source.'),
        ('event_id', 'event_id', 'text', false, 'Id of the event; one that is sent again has the same.'),
        ('user_id', 'user_id', 'text', false, 'Key of the user; NULL: nobody known.'),
        ('account_id', 'account_id', 'text', false, 'Key of the account, if any.'),
        ('seen_at', 'seen_at', 'timestamptz', false, 'Time of the event.'),
        ('session_id', 'session', 'text', false, 'Id of the session; NULL where the source knows none.'),
        ('type', 'type', 'text', false, 'What happened: view, action, error, ... Rows of type view_update are partial and count nowhere. A source that maps no type has views and actions.'),
        ('view_id', 'view_id', 'text', false, 'Id of the page visit; one visit may be sent several times.'),
        ('page', 'page', 'text', false, 'Page, such as the path of its address.'),
        ('action', 'action', 'text', false, 'Name of the action.'),
        ('frustrations', 'frustration', 'text[]', false, 'What frustrated: rage_click, dead_click, error_click, rage_tap, error_tap.'),
        ('version', 'version', 'bigint', false, 'Version of what was sent several times; the highest counts.'),
        ('has_sessions', NULL, 'boolean', false, 'Does the source know sessions? If not, the view sessions cuts them by time.'),
        ('row_user_id', NULL, 'text', false, 'The same as user_id. Where events are jsonb it is read together with the other columns and costs nothing more, but no index finds it.'),
        ('row_account_id', NULL, 'text', false, 'The same as account_id, read together with the other columns.'),
        ('row_session_id', NULL, 'text', false, 'The same as session_id, read together with the other columns.'),
        ('row_seen_at', NULL, 'timestamptz', false, 'The same as seen_at, read together with the other columns.'),
        ('user_name', 'name', 'text', true, 'Name of the user.'),
        ('user_email', 'email', 'text', true, 'E-mail address of the user.'),
        ('account_name', 'account_name', 'text', true, 'Name of the account.'),
        ('application', 'application', 'text', true, 'Application.'),
        ('country', 'geo.country', 'text', true, 'Code of the country.'),
        ('region', 'geo.region', 'text', true, 'Region.'),
        ('city', 'geo.city', 'text', true, 'City.'),
        ('device_type', 'device.type', 'text', true, 'Type of device.'),
        ('os_name', 'os.name', 'text', true, 'Operating system.'),
        ('os_version', 'os.version', 'text', true, 'Version of the operating system.'),
        ('browser_name', 'browser.name', 'text', true, 'Browser.'),
        ('browser_version', 'browser.version', 'text', true, 'Version of the browser.')
    ) AS fixed (column_name, key, type, is_attribute, description);
END;
COMMENT ON FUNCTION profiles._event_columns() IS 'Internal: columns that events always has.';

-- The column of events for an attribute; one whose name is taken says what it is.
CREATE FUNCTION profiles._event_column(attribute text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT coalesce((SELECT c.column_name FROM profiles._event_columns() c WHERE c.key = attribute),
                    (SELECT 'attribute_' || c.column_name FROM profiles._event_columns() c
                     WHERE c.column_name = replace(attribute, '.', '_')),
                    replace(attribute, '.', '_'));
END;
COMMENT ON FUNCTION profiles._event_column(text) IS 'Internal: column of events that shows an attribute.';

-- An expression of a source as the type that a column of events has. Types whose
-- text depends on no setting need no help with it.
CREATE FUNCTION profiles._event_expression(expression text, type regtype, column_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
        WHEN column_name = 'version' THEN CASE
            WHEN type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float4'::regtype, 'float8'::regtype)
                THEN format('(%s)::bigint', expression)
            WHEN type IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
                THEN format('(extract(epoch FROM %s) * 1000000)::bigint', expression)
            ELSE format('CASE WHEN (%s)::text ~ ''^[0-9]{1,18}$'' THEN (%1$s)::text::bigint END', expression) END
        WHEN column_name = 'frustrations' THEN CASE
            WHEN type IN ('text[]'::regtype, 'varchar[]'::regtype) THEN format('(%s)::text[]', expression)
            WHEN type IN ('jsonb'::regtype, 'json'::regtype)
                THEN format('CASE jsonb_typeof((%s)::jsonb) '
                            'WHEN ''array'' THEN ARRAY(SELECT jsonb_array_elements_text((%1$s)::jsonb)) '
                            'WHEN ''string'' THEN ARRAY[(%1$s)::jsonb #>> ''{}''] END', expression)
            ELSE format('CASE WHEN (%s)::text <> '''' THEN ARRAY[(%1$s)::text] END', expression) END
        WHEN type IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype, 'bool'::regtype, 'int2'::regtype,
                      'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'uuid'::regtype, 'oid'::regtype, 'jsonb'::regtype,
                      'json'::regtype, 'inet'::regtype, 'cidr'::regtype, 'time'::regtype)
            THEN format('(%s)::text', expression)
        ELSE format('profiles._value_text(%s)', expression) END;
END;
COMMENT ON FUNCTION profiles._event_expression(text, regtype, text) IS 'Internal: an expression of a source, with the cast that a column of events wants.';

-- Why a source is not shown in events, NULL if it is. Whoever reads a view runs
-- the functions in it with his own rights, and trusts its owner for that. So of
-- a role that has not got the rights of the extension's owner only what calls
-- no functions but PostgreSQL's is shown; and the owner reads the relation.
CREATE FUNCTION profiles._event_objection(source_view regclass, events regclass, rls text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
        WHEN NOT has_schema_privilege(o.owner, r.relnamespace, 'USAGE')
            THEN format('role %I has no USAGE on schema %s', pg_get_userbyid(o.owner), r.relnamespace::regnamespace)
        WHEN rls <> 'invoker' AND NOT has_table_privilege(o.owner, events, 'SELECT')
            THEN format('role %I has no SELECT on %s', pg_get_userbyid(o.owner), events)
        WHEN NOT pg_has_role(v.relowner, o.owner, 'USAGE')
             AND (r.relkind = 'v' OR r.relrowsecurity) AND NOT pg_has_role(r.relowner, o.owner, 'USAGE')
             AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = r.relowner)
            THEN format('readers would run code of role %I, which they need not trust', pg_get_userbyid(r.relowner)) END
    FROM (SELECT relowner AS owner FROM pg_class WHERE oid = 'profiles.source_config'::regclass) o,
         pg_class r, pg_class v
    WHERE r.oid = events AND v.oid = source_view;
END;
COMMENT ON FUNCTION profiles._event_objection(regclass, regclass, text) IS 'Internal: why a source can''t be shown in events.';

-- Code of users that a view of events would run.
CREATE FUNCTION profiles._view_functions(view regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT string_agg(DISTINCT pg_describe_object(d.refclassid, d.refobjid, 0), ', ')
    FROM pg_rewrite w
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
    WHERE w.ev_class = view AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
      AND NOT EXISTS (SELECT FROM pg_depend m JOIN pg_extension x ON x.oid = m.refobjid AND x.extname = 'profiles'
                      WHERE m.classid = d.refclassid AND m.objid = d.refobjid AND m.deptype = 'e'
                        AND m.refclassid = 'pg_extension'::regclass)
      -- types of columns without code of their own
      AND NOT (d.refclassid = 'pg_type'::regclass
               AND (SELECT t.typtype = 'e' OR t.typcategory = 'A' FROM pg_type t WHERE t.oid = d.refobjid));
END;
COMMENT ON FUNCTION profiles._view_functions(regclass) IS 'Internal: functions, operators and types in a view that are neither PostgreSQL''s nor ours.';

CREATE FUNCTION profiles._foreign_code(view regclass) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_foreign_code' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION profiles._foreign_code(regclass) IS 'Internal: a function or type in a view that its owner need not trust, NULL if there is none.';

CREATE FUNCTION profiles._events_view(source_id integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'profiles._events_' || source_id;
COMMENT ON FUNCTION profiles._events_view(integer) IS 'Internal: name of the view of a source''s events.';

-- The view of one source's rows and whether they count, or why there is none. What
-- is no column of events has a name that no attribute and hardly a table has. It
-- has no condition, since PostgreSQL merges parts of a UNION ALL in the order of
-- their indexes only if they have none.
CREATE FUNCTION profiles._make_events_view(source profiles.source_config, column_names text[], keys text[]) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source_view regclass := profiles._source_view(source.id)::regclass;
    view_name text := profiles._events_view(source.id);
    events regclass := profiles._source_relation(source_view);
    relation_name name := (SELECT relname FROM pg_class WHERE oid = events);
    objection text := profiles._event_objection(source_view, events, source.rls);
    definition jsonb;
    seen_at text;
    apart boolean;
    targets text;
    apart_targets text;
    condition text;
    row_columns text;
BEGIN
    IF events IS NULL THEN
        RETURN 'its view is not as it was made';
    END IF;
    IF objection IS NULL THEN
        -- a column of events has one collation, whatever those of the sources are
        SELECT jsonb_object_agg(c.name, jsonb_build_object(
                   'expression', CASE WHEN a.attcollation IN (0, 'pg_catalog."default"'::regcollation) THEN c.expression
                                      ELSE format('(%s) COLLATE pg_catalog."default"', c.expression) END,
                   'type', a.atttypid::oid)) INTO definition
        FROM profiles._source_columns(source_view) c
        JOIN pg_attribute a ON a.attrelid = source_view AND a.attname = c.name;

        -- Keys and time are expressions over the table, for the sake of indexes. The
        -- rest is computed from the row with its jsonb columns decompressed, if it
        -- has such and no expression looks at the row as a whole.
        apart := EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = events AND a.atttypid = 'jsonb'::regtype AND NOT a.attisdropped)
                 AND NOT EXISTS (SELECT FROM jsonb_each(definition) c WHERE c.value ->> 'expression' ~ '\.\*');
        seen_at := definition -> 'seen_at' ->> 'expression';
        SELECT string_agg(format('%s AS %I', CASE WHEN apart AND NOT n.is_key THEN format('"profiles row".%I', n.shown_as) ELSE n.target END,
                                 n.shown_as), ', ' ORDER BY n.position),
               string_agg(format('%s AS %I', n.target, n.shown_as), ', ' ORDER BY n.position) FILTER (WHERE NOT n.is_key)
          INTO targets, apart_targets
          FROM (SELECT u.shown_as, u.position,
                       u.shown_as IN ('source', 'has_sessions', 'user_id', 'account_id', 'seen_at', 'session_id') AS is_key,
                       CASE
                           WHEN u.column_name = 'source' THEN quote_literal(source.source) || '::text'
                           WHEN u.column_name = 'has_sessions' THEN (definition ? 'session')::text
                           WHEN u.column_name IN ('user_id', 'account_id', 'seen_at') AND definition ? u.key
                               THEN '(' || (definition -> u.key ->> 'expression') || ')'
                           WHEN definition ? u.key
                               THEN profiles._event_expression(definition -> u.key ->> 'expression',
                                                               (definition -> u.key ->> 'type')::oid::regtype, u.column_name)
                           WHEN u.column_name = 'type' AND definition ?| ARRAY['action', 'page', 'view_id']
                               THEN 'CASE'
                                    || coalesce(' WHEN (' || (definition -> 'action' ->> 'expression') || ') IS NOT NULL THEN ''action''::text', '')
                                    || coalesce(' WHEN (' || (definition -> 'view_id' ->> 'expression') || ') IS NOT NULL THEN ''view''::text', '')
                                    || coalesce(' WHEN (' || (definition -> 'page' ->> 'expression') || ') IS NOT NULL THEN ''view''::text', '')
                                    || ' END'
                           ELSE 'NULL::' || coalesce(c.type, 'text') END AS target
                FROM (SELECT u.shown_as, u.position, coalesce(c.column_name, u.shown_as) AS column_name, coalesce(c.key, u.key) AS key
                      FROM unnest(column_names, keys) WITH ORDINALITY AS u (shown_as, key, position)
                      LEFT JOIN profiles._event_columns() c ON u.shown_as = 'row_' || c.column_name) u
                LEFT JOIN profiles._event_columns() c ON c.column_name = u.column_name) n;
        -- infinite times are no times
        SELECT format('(%1$s) > ''-infinity''::timestamptz AND (%1$s) <= profiles._latest_time()', seen_at)
               || coalesce(string_agg(format(' AND (%s)', c.value ->> 'expression'), '' ORDER BY c.key COLLATE "C"), '')
          INTO condition
          FROM jsonb_each(definition) c WHERE c.key LIKE 'keep %';
        SELECT string_agg(CASE WHEN a.atttypid = 'jsonb'::regtype THEN format('profiles._detoasted(%1$I.%2$I) AS %2$I', r.relname, a.attname)
                               ELSE format('%I.%I', r.relname, a.attname) END, ', ' ORDER BY a.attnum)
          INTO row_columns
          FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
          WHERE r.oid = events;

        PERFORM profiles._ddl(format(
            'CREATE OR REPLACE VIEW %s WITH (security_invoker = %s) AS SELECT %s AS "profiles counts", %s FROM %s AS %I%s',
            view_name, source.rls = 'invoker', CASE WHEN apart THEN '"profiles row"."profiles counts"' ELSE condition END, targets, events, relation_name,
            CASE WHEN apart THEN format(', LATERAL (SELECT %s, %s AS "profiles counts" FROM (SELECT %s OFFSET 0) AS %I) AS "profiles row"',
                                        apart_targets, condition, row_columns, relation_name) END));
        IF NOT pg_has_role((SELECT relowner FROM pg_class WHERE oid = source_view),
                           (SELECT relowner FROM pg_class WHERE oid = 'profiles.source_config'::regclass), 'USAGE') THEN
            objection := 'readers would run ' || coalesce(profiles._view_functions(view_name::regclass), profiles._foreign_code(view_name::regclass))
                         || ', which they need not trust';
        END IF;
    END IF;
    IF objection IS NULL THEN
        EXECUTE format('COMMENT ON VIEW %s IS %L', view_name, format('Internal: events of source %s.', source.source));
    END IF;
    RETURN objection;
END
$$;
COMMENT ON FUNCTION profiles._make_events_view(profiles.source_config, text[], text[]) IS 'Internal: makes the view of a source''s events, and says why it can''t be shown, if so.';

-- Keeps the grants on events and sessions for the time after CASCADE.
CREATE FUNCTION profiles._keep_grants() RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH there AS (
        SELECT c.relname::text AS view, acl.column_name, r.rolname::text AS grantee, g.privilege_type AS privilege, bool_or(g.is_grantable) AS grantable
        FROM pg_class c
        CROSS JOIN LATERAL (SELECT NULL::text AS column_name, c.relacl AS acl
                            UNION ALL
                            SELECT a.attname, a.attacl FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) acl
        CROSS JOIN LATERAL aclexplode(acl.acl) g
        LEFT JOIN pg_roles r ON r.oid = g.grantee
        WHERE c.oid IN (to_regclass('profiles.events'), to_regclass('profiles.sessions'))
          AND g.grantee <> c.relowner AND (g.grantee = 0 OR r.oid IS NOT NULL)
        GROUP BY 1, 2, 3, 4
    ), gone AS (
        DELETE FROM profiles.view_grant v
        WHERE to_regclass('profiles.' || v.view) IS NOT NULL
          AND NOT EXISTS (SELECT FROM there t
                          WHERE (t.view, t.column_name, t.grantee, t.privilege, t.grantable)
                                IS NOT DISTINCT FROM (v.view, v.column_name, v.grantee, v.privilege, v.grantable))
    )
    INSERT INTO profiles.view_grant (view, column_name, grantee, privilege, grantable)
    SELECT t.* FROM there t
    EXCEPT
    SELECT v.* FROM profiles.view_grant v;
END;
COMMENT ON FUNCTION profiles._keep_grants() IS 'Internal: notes the grants on events and sessions.';

CREATE FUNCTION profiles._restore_grants(view text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
BEGIN
    FOR r IN
        SELECT v.* FROM profiles.view_grant v
        WHERE v.view = _restore_grants.view
          AND (v.grantee IS NULL OR EXISTS (SELECT FROM pg_roles o WHERE o.rolname = v.grantee))
          AND (v.column_name IS NULL OR EXISTS (SELECT FROM pg_attribute a
                                                WHERE a.attrelid = to_regclass('profiles.' || v.view) AND a.attname = v.column_name))
    LOOP
        EXECUTE format('GRANT %s%s ON profiles.%I TO %s%s', r.privilege, CASE WHEN r.column_name IS NOT NULL THEN format(' (%I)', r.column_name) END,
                       r.view, coalesce(quote_ident(r.grantee), 'PUBLIC'), CASE WHEN r.grantable THEN ' WITH GRANT OPTION' END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._restore_grants(text) IS 'Internal: grants what was granted on a view that is made anew.';

-- What is not needed to fold events must not keep anybody from it.
CREATE FUNCTION profiles._keep_events() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass('profiles.events') IS NULL AND EXISTS (SELECT FROM profiles.source_config) THEN
        BEGIN
            PERFORM profiles._replace_events(NULL);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'could not make profiles.events anew: %', sqlerrm USING ERRCODE = sqlstate;
        END;
    ELSE
        PERFORM profiles._keep_grants();
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._keep_events() IS 'Internal: notes the grants on events and sessions, or makes these views anew if CASCADE has taken them.';

-- events and sessions over the sources that there are. Says why the source that
-- is added or altered is not among them, if it is not.
CREATE FUNCTION profiles._replace_events(changed integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation regclass := to_regclass('profiles.events');
    column_names text[] := ARRAY(SELECT c.column_name FROM profiles._event_columns() c);
    keys text[];
    attributes text[];
    added boolean;
    objection text;
    branches text[] := '{}';
    source profiles.source_config;
    r record;
BEGIN
    attributes := ARRAY(
        SELECT DISTINCT a.attname::text COLLATE "C"
        FROM profiles.source_config c
        JOIN pg_attribute a ON a.attrelid = to_regclass(profiles._source_view(c.id)) AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.attname NOT LIKE 'keep %'
          AND NOT EXISTS (SELECT FROM profiles._event_columns() f WHERE f.key = a.attname)
        ORDER BY 1);
    IF relation IS NOT NULL THEN
        column_names := ARRAY(SELECT attname::text FROM pg_attribute
                              WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped ORDER BY attnum);
    END IF;
    column_names := column_names || ARRAY(SELECT c FROM (SELECT DISTINCT profiles._event_column(a) AS c FROM unnest(attributes) a) s
                                          WHERE NOT c = ANY (column_names) ORDER BY c COLLATE "C");
    keys := ARRAY(SELECT coalesce((SELECT f.key FROM profiles._event_columns() f WHERE f.column_name = n.name),
                                  (SELECT min(a) FROM unnest(attributes) a WHERE profiles._event_column(a) = n.name))
                  FROM unnest(column_names) WITH ORDINALITY AS n (name, position) ORDER BY n.position);

    -- readers lock events before what it is made of
    PERFORM profiles._lock_relations('profiles.events'::text || ARRAY(SELECT profiles._events_view(c.id) FROM profiles.source_config c ORDER BY c.id), briefly => true);
    PERFORM profiles._keep_grants();
    -- CASCADE has taken events, but not all that it was made of
    IF relation IS NULL THEN
        PERFORM profiles._ddl(format('DROP VIEW %s', c.oid::regclass)) FROM pg_class c
        WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^_events_[0-9]+$';
    END IF;
    FOR source IN SELECT c.* FROM profiles.source_config c ORDER BY c.id LOOP
        CONTINUE WHEN to_regclass(profiles._source_view(source.id)) IS NULL;
        objection := profiles._make_events_view(source, column_names, keys);
        IF objection IS NULL THEN
            branches := branches || format('SELECT * FROM %s', profiles._events_view(source.id));
        ELSIF source.id = changed THEN
            RAISE NOTICE 'events of % are not shown in profiles.events: %', source.source, objection
                USING HINT = format('When that has changed, SELECT profiles.alter_source(%L).', source.source);
        END IF;
    END LOOP;
    IF branches = '{}' THEN
        branches := ARRAY['SELECT false AS "profiles counts", ' || (SELECT string_agg(format('NULL::%s AS %I', coalesce(c.type, 'text'), u.name), ', ' ORDER BY u.position)
                                        FROM unnest(column_names) WITH ORDINALITY AS u (name, position)
                                        LEFT JOIN profiles._event_columns() c ON c.column_name = u.name)];
    END IF;
    added := relation IS NULL OR cardinality(column_names) > (SELECT count(*) FROM pg_attribute
                                                              WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped);
    PERFORM profiles._ddl(format('CREATE OR REPLACE VIEW profiles.events AS SELECT %s FROM (%s) e WHERE e."profiles counts"',
                                 (SELECT string_agg(format('e.%I', u.name), ', ' ORDER BY u.position)
                                  FROM unnest(column_names) WITH ORDINALITY AS u (name, position)),
                                 array_to_string(branches, ' UNION ALL ')));
    IF added THEN
        COMMENT ON VIEW profiles.events IS 'Events of all sources, those that a source''s filters leave out and those without a time excepted. For one user, user_sessions() and its like answer by index. A row whose expressions fail makes queries fail that read it.';
        FOR r IN
            SELECT u.name, coalesce(c.description, 'Value of ' || u.key || '.') AS description
            FROM unnest(column_names, keys) AS u (name, key)
            LEFT JOIN profiles._event_columns() c ON c.column_name = u.name
            WHERE col_description('profiles.events'::regclass,
                                  (SELECT attnum FROM pg_attribute WHERE attrelid = 'profiles.events'::regclass AND attname = u.name)) IS NULL
        LOOP
            EXECUTE format('COMMENT ON COLUMN profiles.events.%I IS %L', r.name, r.description);
        END LOOP;
    END IF;
    IF relation IS NULL THEN
        PERFORM profiles._restore_grants('events');
    END IF;
    IF to_regclass('profiles.sessions') IS NULL THEN
        PERFORM profiles._make_sessions_view();
        PERFORM profiles._restore_grants('sessions');
    END IF;
    -- views of sources that went, or may not be shown
    FOR r IN
        SELECT c.oid::regclass AS name FROM pg_class c
        WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^_events_[0-9]+$'
          AND NOT EXISTS (SELECT FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                          WHERE w.ev_class = 'profiles.events'::regclass
                            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
    LOOP
        PERFORM profiles._ddl(format('DROP VIEW %s', r.name));
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._replace_events(integer) IS 'Internal: makes or extends the views events and sessions.';

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

-- ---------- one subject ----------

CREATE FUNCTION profiles._event_indexes(events_view regclass, OUT purpose text, OUT relation regclass, OUT keys text, OUT index regclass)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_event_indexes' LANGUAGE C STABLE STRICT ROWS 3;
COMMENT ON FUNCTION profiles._event_indexes(regclass) IS 'Internal: the indexes that find the events of a user, an account, a session, and whether there are such.';

-- Raises a NOTICE for each source whose events are looked for without an index.
CREATE FUNCTION profiles._advise_indexes(purposes text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
BEGIN
    IF to_regclass('profiles.events') IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = 'there are no events',
            HINT = 'Add a source with profiles.add_source(). If CASCADE has dropped the view with a table of events, CALL profiles.refresh() makes it anew.';
    END IF;
    FOR r IN
        SELECT i.relation, string_agg(i.purpose, ', ' ORDER BY i.purpose) AS purposes
        FROM pg_class c, profiles._event_indexes(c.oid) i
        -- by the index on names
        WHERE c.relname >= '_events_' AND c.relname < '_events`' AND c.relnamespace = 'profiles'::regnamespace
          AND i.index IS NULL AND i.purpose = ANY (purposes)
        GROUP BY i.relation ORDER BY i.relation::text
    LOOP
        RAISE NOTICE 'all of % is read, for want of an index by %', r.relation, r.purposes
            USING HINT = format('SELECT * FROM profiles.index_events(%L) makes it.', r.relation);
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._advise_indexes(text[]) IS 'Internal: says which indexes would help.';

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

-- ---------- indexes on events ----------

-- The relation of events that is meant, with its keys; and those of its kin that
-- an index on it does not cover.
CREATE FUNCTION profiles._find_event_indexes(source text)
    RETURNS TABLE (purpose text, relation regclass, keys text, index regclass)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT DISTINCT ON (i.relation, i.keys) i.purpose, i.relation, i.keys, i.index
        FROM pg_class c, profiles._event_indexes(c.oid) i
        WHERE c.relname >= '_events_' AND c.relname < '_events`' AND c.relnamespace = 'profiles'::regnamespace
          AND (i.relation::text = source OR i.relation = to_regclass(source))
        ORDER BY i.relation, i.keys, i.purpose;
    IF NOT FOUND THEN
        RAISE undefined_object USING
            MESSAGE = format('there is no source "%s" whose events can be indexed', source),
            HINT = 'Events in tables, partitioned tables and materialized views can; for a view, index the tables under it. profiles.sources lists the sources.';
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._find_event_indexes(text) IS 'Internal: the indexes that a source''s events want.';

CREATE FUNCTION profiles._indexed_relations(relation regclass) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE kin AS (
        SELECT relation::oid AS oid
        UNION
        -- partitions get theirs from the parent
        SELECT i.inhrelid FROM kin k JOIN pg_class c ON c.oid = k.oid AND c.relkind = 'r' JOIN pg_inherits i ON i.inhparent = k.oid
    )
    SELECT k.oid::regclass FROM kin k ORDER BY k.oid;
END;
COMMENT ON FUNCTION profiles._indexed_relations(regclass) IS 'Internal: tables on which an index has to be made.';

CREATE FUNCTION profiles.index_events(source text, make boolean DEFAULT true)
    RETURNS TABLE (purpose text, index text, definition text, made boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
    kin regclass;
    name text;
    number int;
BEGIN
    FOR r IN SELECT f.* FROM profiles._find_event_indexes(source) f ORDER BY f.purpose DESC LOOP
        purpose := r.purpose;
        index := r.index::text;
        definition := format('CREATE INDEX ON %s (%s)', r.relation, r.keys);
        made := r.index IS NULL AND make;
        IF made THEN
            FOR kin IN SELECT profiles._indexed_relations(r.relation) LOOP
                number := 0;
                LOOP
                    name := left((SELECT c.relname FROM pg_class c WHERE c.oid = kin), 40) || '_' || r.purpose || '_events'
                            || coalesce(nullif(number, 0)::text, '');
                    EXIT WHEN NOT EXISTS (SELECT FROM pg_class c JOIN pg_class k ON k.relnamespace = c.relnamespace
                                          WHERE k.oid = kin AND c.relname = name);
                    number := number + 1;
                END LOOP;
                EXECUTE format('CREATE INDEX %I ON %s (%s)', name, kin, r.keys);
                index := (SELECT c.oid::regclass FROM pg_class c JOIN pg_class k ON k.relnamespace = c.relnamespace
                          WHERE k.oid = kin AND c.relname = name);
                EXECUTE format('COMMENT ON INDEX %s IS %L', index,
                               'Made by profiles.index_events(): finds the events of one ' || r.purpose || '.');
            END LOOP;
            index := (SELECT f.index::text FROM profiles._find_event_indexes(source) f
                      WHERE f.relation = r.relation AND f.keys = r.keys);
            RAISE NOTICE '% takes %, and one more index entry per event', index,
                         pg_size_pretty(pg_relation_size(index::regclass)
                                        + coalesce((SELECT sum(pg_relation_size(t.relid)) FROM pg_partition_tree(index::regclass) t
                                                    WHERE t.relid <> index::regclass), 0))
                USING HINT = format('Writers waited while it was made. Undo: SELECT profiles.unindex_events(%L).', source);
        END IF;
        RETURN NEXT;
    END LOOP;
    -- what the keys are like the planner learns from this
    IF make THEN
        EXECUTE format('ANALYZE %s', r.relation);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles.index_events(text, boolean) IS 'Makes the indexes on a source''s events that drill-down needs and that are not there: by user and time, by account and time, by session. Returns each with its definition and whether it was made. Writers wait meanwhile; make => false makes none, so that you can make them with CREATE INDEX CONCURRENTLY. Runs with the caller''s rights, who must own the table. Undo: unindex_events.';

CREATE FUNCTION profiles.unindex_events(source text) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
BEGIN
    FOR r IN
        SELECT DISTINCT i.indexrelid::regclass AS index
        FROM profiles._find_event_indexes(source) f, profiles._indexed_relations(f.relation) k
        JOIN pg_index i ON i.indrelid = k
        WHERE obj_description(i.indexrelid, 'pg_class') LIKE 'Made by profiles.index\_events():%'
        ORDER BY 1
    LOOP
        RETURN NEXT r.index::text;
        EXECUTE format('DROP INDEX %s', r.index);
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles.unindex_events(text) IS 'Drops the indexes that index_events made on a source''s events, and returns their names. Runs with the caller''s rights, who must own the table.';
