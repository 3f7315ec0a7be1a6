-- Sources: add, alter, drop; and the way out.

CREATE FUNCTION profiles._expression(role oid, relation regclass, expression text, type oid) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_expression' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._expression(oid, regclass, text, oid) IS 'Internal: checks an expression over a relation''s row with the rights of a role, and gives it back with its names qualified.';

CREATE FUNCTION profiles._give_view(view regclass, role oid) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_give_view' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._give_view(regclass, oid) IS 'Internal: makes a role the owner of a view made for it.';

CREATE FUNCTION profiles._check_source(source_view regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_check_source' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._check_source(regclass) IS 'Internal: plans the fold of a source with the rights of its adder.';

-- Checks one entry of a mapping, or a filter; errors name it.
CREATE FUNCTION profiles._checked(role oid, events regclass, key text, expression text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    message text;
    hint text;
    state text;
BEGIN
    RETURN profiles._expression(role, events, expression, CASE
        WHEN key IN ('user_id', 'account_id') THEN 'text'::regtype
        WHEN key = 'seen_at' THEN 'timestamptz'::regtype
        WHEN key LIKE 'keep %' THEN 'boolean'::regtype
        ELSE 0 END);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT, state = RETURNED_SQLSTATE;
    IF hint = '' THEN
        hint := format('Columns of %s are: %s.', events,
                       (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                        WHERE attrelid = events AND attnum > 0 AND NOT attisdropped));
    END IF;
    RAISE EXCEPTION USING
        ERRCODE = state,
        MESSAGE = CASE WHEN key LIKE 'keep %' THEN format('filter of %s: %s', events, message)
                       ELSE format('mapping of "%s" on %s: %s', key, events, message) END,
        HINT = hint;
END
$$;
COMMENT ON FUNCTION profiles._checked(oid, regclass, text, text) IS 'Internal: checks an entry of a mapping, or a filter.';

CREATE FUNCTION profiles._check_name(name text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_check_name' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._check_name(text) IS 'Internal: refuses what is no name of an attribute, with a hint that proposes one.';

-- Refuses keys that are no attributes.
CREATE FUNCTION profiles._check_keys(mapping jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
BEGIN
    IF jsonb_typeof(mapping) <> 'object' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'mapping must be a JSON object',
            HINT = 'Write mapping => ''{"user_id": "usr_id", "seen_at": "ts"}''.';
    END IF;
    FOR r IN SELECT e.key, e.value FROM jsonb_each(mapping) e LOOP
        PERFORM profiles._check_name(r.key);
        IF jsonb_typeof(r.value) NOT IN ('string', 'null') THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('mapping of "%s" must be a string', r.key),
                HINT = 'It is an SQL expression over the row of the source, such as a column''s name, or null to leave it out.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._check_keys(jsonb) IS 'Internal: refuses a mapping whose keys are no attributes.';

-- Makes the view of a source from checked expressions, for its adder.
CREATE FUNCTION profiles._make_source_view(source_id integer, events regclass, columns jsonb, role oid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view_name text := 'source_' || source_id;
    list text;
BEGIN
    SELECT string_agg(format('%s AS %I', value, key), ', ' ORDER BY
               coalesce(array_position(ARRAY['user_id', 'account_id', 'seen_at', 'session', 'name', 'email'], key),
                        CASE WHEN key LIKE 'keep %' THEN 9 ELSE 8 END), key COLLATE "C")
      INTO list FROM jsonb_each_text(columns);
    IF to_regclass(format('profiles.%I', view_name)) IS NOT NULL THEN
        EXECUTE format('DROP VIEW profiles.%I', view_name);
    END IF;
    EXECUTE format('CREATE VIEW profiles.%I AS SELECT %s FROM %s', view_name, list, events);
    EXECUTE format('COMMENT ON VIEW profiles.%I IS %L', view_name,
                   format('Internal: mapping of source %s. Owned by the role that added it, with whose rights its expressions run.', events));
    PERFORM profiles._give_view(format('profiles.%I', view_name)::regclass, role);
    PERFORM profiles._check_source(format('profiles.%I', view_name)::regclass);
END
$$;
COMMENT ON FUNCTION profiles._make_source_view(integer, regclass, jsonb, oid) IS 'Internal: makes the view of a source for its adder.';

-- The kinds that a source feeds, their relations made or extended.
CREATE FUNCTION profiles._ensure_columns(columns jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attributes text[] := ARRAY(
        SELECT key FROM jsonb_object_keys(columns) AS key
        WHERE key NOT IN ('user_id', 'account_id', 'seen_at', 'session', 'name', 'email', 'account_name',
                          'event_id', 'type', 'view_id', 'version', 'page', 'action', 'frustration')
          AND key NOT LIKE 'keep %'
        ORDER BY key COLLATE "C");
BEGIN
    PERFORM profiles._ensure_relations('user', CASE WHEN columns ? 'user_id' THEN attributes ELSE '{}' END);
    PERFORM profiles._ensure_relations('account', CASE WHEN columns ? 'account_id' THEN attributes ELSE '{}' END);
END
$$;
COMMENT ON FUNCTION profiles._ensure_columns(jsonb) IS 'Internal: makes or extends the relations that a source feeds.';

CREATE FUNCTION profiles._check_capture(capture text, on_change text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF capture IN ('deferred', 'immediate') THEN
        RAISE feature_not_supported USING
            MESSAGE = format('capture "%s" comes with a later version', capture),
            HINT = 'Use capture => ''none'' and CALL profiles.rebuild().';
    ELSIF capture IS DISTINCT FROM 'none' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown capture "%s"', capture),
            HINT = 'It is deferred, immediate or none.';
    ELSIF on_change = 'keep' THEN
        RAISE feature_not_supported USING
            MESSAGE = 'on_change "keep" comes with a later version',
            HINT = 'Use on_change => ''recompute''.';
    ELSIF on_change IS DISTINCT FROM 'recompute' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown on_change "%s"', on_change),
            HINT = 'It is recompute or keep.';
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_capture(text, text) IS 'Internal: refuses values of capture and on_change.';

CREATE FUNCTION profiles._add_source(caller oid, events regclass, preset text, mapping jsonb, filter text,
                                     capture text, on_change text, rls text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source_name text := events::text;
    class record;
    given jsonb := coalesce(mapping, '{}');
    entries jsonb;
    columns jsonb := '{}';
    new_id integer;
    r record;
BEGIN
    IF events IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'events must not be NULL';
    END IF;
    SELECT relkind, relrowsecurity, relnamespace::regnamespace::text AS schema INTO class FROM pg_class WHERE oid = events;
    IF class.relkind IS NULL OR class.relkind NOT IN ('r', 'p', 'v', 'm', 'f') THEN
        RAISE wrong_object_type USING
            MESSAGE = format('%s is not a table, view or foreign table', events);
    ELSIF class.schema = 'profiles' THEN
        RAISE wrong_object_type USING
            MESSAGE = format('%s belongs to profiles itself', events),
            HINT = 'A source is a relation of events.';
    ELSIF NOT has_table_privilege(caller, events, 'SELECT') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied for %s', events),
            HINT = 'A source is read with the rights of the role that adds it, which needs SELECT.';
    ELSIF rls IS NULL OR rls NOT IN ('refuse', 'invoker', 'ignore') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown rls "%s"', rls),
            HINT = 'It is refuse, invoker or ignore.';
    ELSIF class.relrowsecurity AND rls = 'refuse' THEN
        RAISE feature_not_supported USING
            MESSAGE = format('%s has row-level security', events),
            HINT = 'Stored profiles are not filtered by row. Say rls => ''invoker'' to show events with the reader''s rights, or rls => ''ignore''.';
    ELSIF EXISTS (SELECT FROM profiles.source_config c WHERE c.source = source_name) THEN
        RAISE duplicate_object USING
            MESSAGE = format('source %s exists already', source_name),
            HINT = format('Change it with profiles.alter_source(%L, ...), or remove it with profiles.drop_source(%1$L).', source_name);
    END IF;
    PERFORM profiles._check_capture(capture, on_change);

    PERFORM profiles._check_keys(given);
    entries := profiles._first_mapping(events, preset) || given;
    entries := jsonb_strip_nulls(entries);
    IF NOT entries ?| ARRAY['user_id', 'account_id'] OR NOT entries ? 'seen_at' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('mapping of %s has no %s', events,
                             CASE WHEN entries ? 'seen_at' THEN 'user_id or account_id' ELSE 'seen_at' END),
            HINT = 'Say which column is which: mapping => ''{"user_id": "...", "seen_at": "..."}''.';
    END IF;
    IF filter IS NOT NULL THEN
        entries := entries || jsonb_build_object('keep filter', filter);
    END IF;

    FOR r IN SELECT e.key, e.value FROM jsonb_each_text(entries) e ORDER BY e.key COLLATE "C" LOOP
        columns := columns || jsonb_build_object(r.key, profiles._checked(caller, events, r.key, r.value));
    END LOOP;
    INSERT INTO profiles.source_config (source, preset, capture, on_change, rls)
    VALUES (source_name, preset, capture, on_change, rls)
    RETURNING id INTO new_id;
    PERFORM profiles._make_source_view(new_id, events, columns, caller);
    PERFORM profiles._ensure_columns(columns);

    RAISE NOTICE 'events of % are not captured as they change', source_name
        USING HINT = 'CALL profiles.rebuild() folds them; INSERT, UPDATE and DELETE after that are found by profiles.verify() and the next rebuild only.';
    RETURN source_name;
END
$$;
COMMENT ON FUNCTION profiles._add_source(oid, regclass, text, jsonb, text, text, text, text) IS 'Internal: add_source.';

CREATE FUNCTION profiles.add_source(events regclass, preset text DEFAULT NULL, mapping jsonb DEFAULT '{}', filter text DEFAULT NULL,
                                    capture text DEFAULT 'none', on_change text DEFAULT 'recompute', rls text DEFAULT 'refuse')
    RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.add_source(regclass, text, jsonb, text, text, text, text) IS 'Makes a table, partitioned table, view or foreign table of events a source of profiles, and returns its name. mapping: attribute to SQL expression over the row; what it leaves open comes from the preset (rum, snowplow, segment, posthog) or, without one, from columns with well-known names. filter: condition for events that count. The caller needs SELECT on the relation; expressions run with the caller''s rights. CALL profiles.rebuild() then folds what is there. Undo: drop_source.';

-- A source's row; errors if there is none, or its relation is gone.
CREATE FUNCTION profiles._find_source(source text) RETURNS profiles.source_config
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result profiles.source_config;
BEGIN
    SELECT c.* INTO result FROM profiles.source_config c
    WHERE c.source = _find_source.source OR c.source = to_regclass(_find_source.source)::text
    ORDER BY c.source = _find_source.source DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE undefined_object USING
            MESSAGE = format('there is no source "%s"', source),
            HINT = coalesce('The sources are ' || (SELECT string_agg(c.source, ', ' ORDER BY c.source) FROM profiles.source_config c) || '.',
                            'There are no sources yet; profiles.add_source() adds one.');
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION profiles._find_source(text) IS 'Internal: a source by its name.';

-- Only the adder of a source, or the extension's owner, may change or drop it.
CREATE FUNCTION profiles._check_adder(caller oid, found profiles.source_config) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    adder oid := (SELECT relowner FROM pg_class WHERE oid = to_regclass(profiles._source_view(found.id)));
    owner oid := (SELECT relowner FROM pg_class WHERE oid = 'profiles.source_config'::regclass);
BEGIN
    IF NOT pg_has_role(caller, owner, 'USAGE') AND NOT coalesce(pg_has_role(caller, adder, 'USAGE'), false) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied for source %s', found.source),
            HINT = format('It belongs to role %I, which added it.', pg_get_userbyid(coalesce(adder, owner)));
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_adder(oid, profiles.source_config) IS 'Internal: may the caller change this source?';

CREATE FUNCTION profiles._alter_source(caller oid, source text, mapping jsonb, filter text, capture text, on_change text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found profiles.source_config := profiles._find_source(source);
    view regclass := to_regclass(profiles._source_view(found.id));
    events regclass;
    adder oid;
    before jsonb;
    after jsonb;
    due boolean;
    r record;
BEGIN
    PERFORM profiles._check_adder(caller, found);
    IF view IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = format('the relation of source %s is gone', found.source),
            HINT = format('Remove the source with profiles.drop_source(%L).', found.source);
    END IF;
    PERFORM profiles._check_capture(coalesce(capture, found.capture), coalesce(on_change, found.on_change));

    SELECT c.relowner INTO adder FROM pg_class c WHERE c.oid = view;
    SELECT d.refobjid INTO events FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND w.ev_class = view AND d.refobjid <> view LIMIT 1;
    SELECT jsonb_object_agg(c.name, c.expression) INTO before FROM profiles._source_columns(view) c;

    after := before;
    IF mapping IS NOT NULL THEN
        PERFORM profiles._check_keys(mapping);
    END IF;
    FOR r IN SELECT e.key, e.value FROM jsonb_each_text(coalesce(mapping, '{}')
                 || CASE WHEN filter IS NULL THEN '{}' ELSE jsonb_build_object('keep filter', filter) END) e
             ORDER BY e.key COLLATE "C"
    LOOP
        after := CASE WHEN r.value IS NULL THEN after - r.key
                      ELSE after || jsonb_build_object(r.key, profiles._checked(adder, events, r.key, r.value)) END;
    END LOOP;
    IF after ->> 'keep filter' = 'true' THEN
        after := after - 'keep filter';
    END IF;
    IF NOT after ?| ARRAY['user_id', 'account_id'] OR NOT after ? 'seen_at' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'a source needs seen_at, and user_id or account_id',
            HINT = 'Leave them in the mapping.';
    END IF;

    due := before <> after;
    IF due THEN
        PERFORM profiles._make_source_view(found.id, events, after, adder);
        PERFORM profiles._ensure_columns(after);
    END IF;
    UPDATE profiles.source_config c
    SET changed_at = CASE WHEN due THEN clock_timestamp() ELSE c.changed_at END,
        capture = coalesce(_alter_source.capture, c.capture),
        on_change = coalesce(_alter_source.on_change, c.on_change)
    WHERE c.id = found.id;
    SELECT coalesce(bool_or(k.rebuild_due), true) INTO due FROM profiles._source_kind k WHERE k.source_id = found.id;
    RETURN found.source || CASE WHEN due THEN ': rebuild due' ELSE ': no rebuild due' END;
END
$$;
COMMENT ON FUNCTION profiles._alter_source(oid, text, jsonb, text, text, text) IS 'Internal: alter_source.';

CREATE FUNCTION profiles.alter_source(source text, mapping jsonb DEFAULT NULL, filter text DEFAULT NULL,
                                      capture text DEFAULT NULL, on_change text DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.alter_source(text, jsonb, text, text, text) IS 'Changes a source; NULL leaves a thing as it is. mapping: entries to add or replace; an entry that is null is removed. filter => ''true'' lets all events count again. Returns the source''s name and whether a rebuild is due. New expressions run with the rights of the role that added the source, of which the caller must be a member.';

CREATE FUNCTION profiles._drop_source(caller oid, source text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found profiles.source_config := profiles._find_source(source);
BEGIN
    PERFORM profiles._check_adder(caller, found);
    IF to_regclass(profiles._source_view(found.id)) IS NOT NULL THEN
        EXECUTE format('DROP VIEW %s', profiles._source_view(found.id));
    END IF;
    DELETE FROM profiles.source_config c WHERE c.id = found.id;
    RAISE NOTICE 'profiles still contain the events of %', found.source
        USING HINT = 'CALL profiles.rebuild() takes them out.';
END
$$;
COMMENT ON FUNCTION profiles._drop_source(oid, text) IS 'Internal: drop_source.';

CREATE FUNCTION profiles.drop_source(source text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.drop_source(text) IS 'Removes a source. What it contributed goes at the next rebuild; columns of users and accounts stay. Its events are not touched. Undo: add_source.';

-- Removes what was made at run time.
CREATE FUNCTION profiles._uninstall(caller oid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
BEGIN
    FOR r IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS class
        FROM pg_class c
        WHERE c.oid IN (SELECT to_regclass(profiles._source_view(id)) FROM profiles.source_config)
           OR c.oid IN (SELECT to_regclass('profiles.' || name)
                        FROM unnest(ARRAY['users', 'accounts', 'user_profile', 'account_profile',
                                          'user_staging', 'account_staging']) AS name)
        ORDER BY c.relkind = 'r'
    LOOP
        EXECUTE format('DROP %s %s', r.class, r.name);
    END LOOP;
    DELETE FROM profiles.source_config;
    DELETE FROM profiles.upkeep;
END
$$;
COMMENT ON FUNCTION profiles._uninstall(oid) IS 'Internal: uninstall.';

CREATE FUNCTION profiles.uninstall() RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.uninstall() IS 'Removes all sources, stored profiles and relations made at run time, so that DROP EXTENSION works without CASCADE. The events are not touched. Undo: add_source and rebuild.';
