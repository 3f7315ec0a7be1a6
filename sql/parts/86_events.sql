-- The view events over all sources, made at run time: what a person sees after
-- choosing a user is made of it.

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
    IF (to_regclass('profiles.events') IS NULL OR to_regclass('profiles.sessions') IS NULL) AND EXISTS (SELECT FROM profiles.source_config) THEN
        BEGIN
            PERFORM profiles._replace_events(NULL);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'could not make profiles.events and profiles.sessions anew: %', sqlerrm USING ERRCODE = sqlstate;
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
    keys := ARRAY(SELECT coalesce(f.key, a.key)
                  FROM unnest(column_names) WITH ORDINALITY AS n (name, position)
                  LEFT JOIN profiles._event_columns() f ON f.column_name = n.name
                  LEFT JOIN (SELECT profiles._event_column(attribute) AS name, min(attribute) AS key FROM unnest(attributes) AS attribute GROUP BY 1) a
                         ON a.name = n.name
                  ORDER BY n.position);

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
        IF obj_description('profiles.events'::regclass, 'pg_class') IS NULL THEN
            COMMENT ON VIEW profiles.events IS 'Events of all sources, those that a source''s filters leave out and those without a time excepted. For one user, user_sessions() and its like answer by index. A row whose expressions fail makes queries fail that read it.';
        END IF;
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
