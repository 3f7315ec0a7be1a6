-- Sources: add, alter, drop; and the way out.

CREATE FUNCTION profiles._make_view(source_id integer) RETURNS regclass
    AS 'MODULE_PATHNAME', 'profiles_make_view' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._make_view(integer) IS 'Internal: makes the view of a source, or makes it anew, for its adder, from the arguments of the add_source or alter_source that is running.';

CREATE FUNCTION profiles._check_source(source_view regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_check_source' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._check_source(regclass) IS 'Internal: plans the fold of a source with the rights of its adder.';

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

-- The expressions that a call gives. These two read nothing that the extension's
-- owner could change: _make_view trusts them.
CREATE FUNCTION profiles._add_source_entries(events regclass, preset text, mapping jsonb, filter text,
                                             capture text, on_change text, rls text)
    RETURNS TABLE (key text, value text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM profiles._check_keys(coalesce(mapping, '{}'));
    RETURN QUERY
        SELECT e.key, e.value
        FROM jsonb_each_text(profiles._first_mapping(events, preset) || coalesce(mapping, '{}')
                             || CASE WHEN filter IS NULL THEN '{}' ELSE jsonb_build_object('keep filter', filter) END) e
        WHERE e.value IS NOT NULL
        ORDER BY e.key COLLATE "C";
END
$$;
COMMENT ON FUNCTION profiles._add_source_entries(regclass, text, jsonb, text, text, text, text) IS 'Internal: the expressions that a call of add_source gives.';

CREATE FUNCTION profiles._alter_source_entries(source text, mapping jsonb, filter text, capture text, on_change text)
    RETURNS TABLE (key text, value text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM profiles._check_keys(coalesce(mapping, '{}'));
    RETURN QUERY
        SELECT e.key, e.value
        FROM jsonb_each_text(coalesce(mapping, '{}')
                             || CASE WHEN filter IS NULL THEN '{}'
                                     ELSE jsonb_build_object('keep filter', nullif(filter, 'true')) END) e
        ORDER BY e.key COLLATE "C";
END
$$;
COMMENT ON FUNCTION profiles._alter_source_entries(text, jsonb, text, text, text) IS 'Internal: the expressions that a call of alter_source gives; NULL takes one out.';

-- The kinds that a source feeds, their relations made or extended.
CREATE FUNCTION profiles._lacks_columns(kind text, columns text[], attributes text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT kind || '_id' = ANY (columns) AND EXISTS (
        SELECT FROM profiles._columns(kind, ARRAY(SELECT a FROM unnest(attributes) AS a
                                                  WHERE a NOT IN (SELECT c.attribute FROM profiles._columns(kind, '{}') c WHERE c.attribute IS NOT NULL))) n
        WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(format('profiles.%I', profiles._storage(kind)))
                                                       AND a.attname = n.column_name AND NOT a.attisdropped));
END;
COMMENT ON FUNCTION profiles._lacks_columns(text, text[], text[]) IS 'Internal: has a source attributes for which a kind has no columns yet?';

CREATE FUNCTION profiles._ensure_columns(columns text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attributes text[] := ARRAY(
        SELECT key FROM unnest(columns) AS key
        WHERE key NOT IN ('user_id', 'account_id', 'seen_at', 'session', 'name', 'email', 'account_name',
                          'event_id', 'type', 'view_id', 'version', 'page', 'action', 'frustration')
          AND key NOT LIKE 'keep %'
        ORDER BY key COLLATE "C");
    relations text[] := '{}';
BEGIN
    -- both kinds at once: a reader of both locks them in any order
    SELECT array_agg(n ORDER BY o) INTO relations
    FROM (SELECT 1 AS o, v AS n FROM unnest(ARRAY['user', 'account']) AS kind, unnest(profiles._kind_views(kind)) AS v
          WHERE profiles._lacks_columns(kind, columns, attributes)
          UNION ALL
          SELECT 2, format('profiles.%I', profiles._storage(kind)) FROM unnest(ARRAY['user', 'account']) AS kind
          WHERE profiles._lacks_columns(kind, columns, attributes)) r;
    PERFORM profiles._lock_relations(relations);
    PERFORM profiles._ensure_relations('user', CASE WHEN 'user_id' = ANY (columns) THEN attributes ELSE '{}' END);
    PERFORM profiles._ensure_relations('account', CASE WHEN 'account_id' = ANY (columns) THEN attributes ELSE '{}' END);
END
$$;
COMMENT ON FUNCTION profiles._ensure_columns(text[]) IS 'Internal: makes or extends the relations that a source feeds.';

CREATE FUNCTION profiles._check_capture(capture text, on_change text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF capture IS NULL OR capture NOT IN ('deferred', 'immediate', 'none') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown capture "%s"', capture),
            HINT = 'It is deferred, immediate or none.';
    ELSIF on_change IS NULL OR on_change NOT IN ('recompute', 'keep') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown on_change "%s"', on_change),
            HINT = 'It is recompute or keep.';
    ELSIF capture = 'none' AND on_change = 'keep' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'events that are not captured can''t be kept',
            HINT = 'on_change => ''keep'' needs capture => ''deferred'' or ''immediate''.';
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_capture(text, text) IS 'Internal: refuses values of capture and on_change.';

CREATE FUNCTION profiles._with_partitions(events regclass) RETURNS SETOF regclass
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE part AS (
        SELECT events::oid AS oid
        UNION
        SELECT i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid WHERE NOT i.inhdetachpending
    )
    SELECT p.oid::regclass FROM part p;
END;
COMMENT ON FUNCTION profiles._with_partitions(regclass) IS 'Internal: a relation, and its partitions or children.';

CREATE FUNCTION profiles._with_parents(relations regclass[]) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE part AS (
        SELECT unnest(relations)::oid AS oid
        UNION
        SELECT i.inhparent FROM part p JOIN pg_inherits i ON i.inhrelid = p.oid WHERE NOT i.inhdetachpending
    )
    SELECT p.oid::regclass FROM part p;
END;
COMMENT ON FUNCTION profiles._with_parents(regclass[]) IS 'Internal: relations, and what they are partitions or children of.';

-- The tables that a source is made of, which triggers can be on.
CREATE FUNCTION profiles._source_part_oids(source_view regclass) RETURNS oid[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT array_agg(c.oid)
    FROM profiles._with_partitions(profiles._source_relation(source_view)) AS p (oid) JOIN pg_class c ON c.oid = p.oid
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't';
END;
COMMENT ON FUNCTION profiles._source_part_oids(regclass) IS 'Internal: the tables that a source is made of; temporary children, which only their session can read, are none.';

CREATE FUNCTION profiles._source_parts(source_view regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT array_agg(t.oid::regclass::text ORDER BY t.oid::regclass::text COLLATE "C")
    FROM unnest(profiles._source_part_oids(source_view)) AS t (oid);
END;
COMMENT ON FUNCTION profiles._source_parts(regclass) IS 'Internal: names of the tables that a source is made of.';

CREATE FUNCTION profiles._install_triggers(source_view regclass, source_id integer, capture text, on_change text, part regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_install_triggers' LANGUAGE C;
COMMENT ON FUNCTION profiles._install_triggers(regclass, integer, text, text, regclass) IS 'Internal: gives the tables of a source their triggers (part NULL), or one of them that has none.';

CREATE FUNCTION profiles._remove_triggers(relation regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_remove_triggers' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._remove_triggers(regclass) IS 'Internal: takes the triggers of profiles from a table.';

-- to_regclass() asks for rights on the schema, which the adder of a source has
-- and the extension's owner need not have.
CREATE FUNCTION profiles._table(name text) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.oid::regclass FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.oid::regclass::text = name;
END;
COMMENT ON FUNCTION profiles._table(text) IS 'Internal: the table of this name, NULL if there is none.';

-- Takes the triggers of a source, or of all (NULL), from all tables, those that are no part of it
-- any more included.
CREATE FUNCTION profiles._drop_triggers(source_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM profiles._ddl(format('SELECT profiles._remove_triggers(%s)', t.tgrelid))
    FROM (SELECT DISTINCT tgrelid FROM pg_trigger
          WHERE tgfoid = 'profiles.capture'::regproc
            AND (source_id IS NULL OR split_part(encode(tgargs, 'escape'), '\000', 1) = source_id::text)) t;
END
$$;
COMMENT ON FUNCTION profiles._drop_triggers(integer) IS 'Internal: takes the triggers of a source, or of all, from all tables.';

-- Keeps upkeep away for the rest of the transaction, so that it can't be
-- half way through a source that changes.
CREATE FUNCTION profiles._stop_upkeep() RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT profiles._ddl('SELECT profiles._lock_kind(''user''), profiles._lock_kind(''account'')');
END;
COMMENT ON FUNCTION profiles._stop_upkeep() IS 'Internal: waits for running upkeep, not for long, and keeps it away until the end of the transaction.';

CREATE FUNCTION profiles._notice_uncaptured(source text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE NOTICE 'events of % are not captured as they change', source
        USING HINT = 'CALL profiles.refresh(since => ...) folds new ones; UPDATE and DELETE are found by profiles.verify() and profiles.rebuild() only.';
END
$$;
COMMENT ON FUNCTION profiles._notice_uncaptured(text) IS 'Internal: says what is not seen of a table that is not captured.';

-- PostgreSQL collects no rows of foreign tables for a trigger: a statement on the parent of
-- one fails, if that has triggers as ours.
CREATE FUNCTION profiles._foreign_part(events regclass) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.oid::regclass FROM profiles._with_partitions(events) AS p (oid) JOIN pg_class c ON c.oid = p.oid
    WHERE c.relkind = 'f' ORDER BY c.oid::regclass::text COLLATE "C" LIMIT 1;
END;
COMMENT ON FUNCTION profiles._foreign_part(regclass) IS 'Internal: a foreign table among the partitions or children of a relation, for which it can''t be captured.';

-- How a relation is captured that shall be captured so: not at all, if that can't be.
CREATE FUNCTION profiles._possible_capture(events regclass, source text, INOUT capture text, INOUT on_change text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hint constant text := 'CALL profiles.refresh(since => ...) folds new ones, profiles.rebuild() all.';
    foreign_part regclass := profiles._foreign_part(events);
BEGIN
    IF capture IS NULL OR capture NOT IN ('deferred', 'immediate') THEN
        RETURN;
    ELSIF (SELECT c.relkind NOT IN ('r', 'p') FROM pg_class c WHERE c.oid = events) THEN
        RAISE NOTICE '% is no table, so its events can''t be captured as they change', source USING HINT = hint;
    ELSIF foreign_part IS NOT NULL THEN
        RAISE NOTICE '% has the foreign table %, so its events can''t be captured as they change', source, foreign_part USING HINT = hint;
    ELSE
        RETURN;
    END IF;
    capture := 'none';
    on_change := 'recompute';
END
$$;
COMMENT ON FUNCTION profiles._possible_capture(regclass, text, text, text) IS 'Internal: the values of capture and on_change that a relation can have; a NOTICE says if these are others.';

-- A table has the triggers of one source, so no other that it is a part of can be captured. To
-- be asked when the triggers are made: their locks keep those away who make others.
CREATE FUNCTION profiles._check_unshared(source_id integer, parts regclass[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this text := (SELECT c.source FROM profiles.source_config c WHERE c.id = source_id);
    other text;
BEGIN
    SELECT c.source INTO other
    FROM profiles._with_parents(parts) AS p (relation)
    JOIN profiles.source_config c ON p.relation = profiles._source_relation(to_regclass(profiles._source_view(c.id)))
    WHERE c.capture <> 'none' AND c.id <> source_id
    ORDER BY c.id LIMIT 1;
    IF FOUND THEN
        RAISE object_in_use USING
            MESSAGE = format('%s and %s have tables in common, so only one of them can be captured', this, other),
            HINT = format('Say capture => ''none'' for %s, or remove source %s with profiles.drop_source(%L).', this, other, other);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_unshared(integer, regclass[]) IS 'Internal: refuses to capture tables that another captured source is made of.';

-- Says what changes a captured table without a trigger of it.
CREATE FUNCTION profiles._notice_unseen(source text, events regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parents text := (SELECT string_agg(p.relation::text, ', ' ORDER BY p.relation::text COLLATE "C")
                     FROM profiles._with_parents(ARRAY[events]) AS p (relation) WHERE p.relation <> events);
    unlogged text := (SELECT min(c.oid::regclass::text COLLATE "C")
                      FROM profiles._with_partitions(events) AS p (oid) JOIN pg_class c ON c.oid = p.oid
                      WHERE c.relkind = 'r' AND c.relpersistence = 'u');
BEGIN
    IF parents IS NOT NULL THEN
        RAISE NOTICE 'what statements on % do to % is not captured', parents, source
            USING HINT = 'A statement fires the triggers of the table that it names. If there are such statements, add that table instead.';
    END IF;
    IF unlogged IS NOT NULL THEN
        RAISE NOTICE '% is unlogged: after a crash it is empty, which is not captured', unlogged
            USING HINT = 'Then CALL profiles.rebuild().';
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._notice_unseen(text, regclass) IS 'Internal: says what triggers do not see of a table that is captured.';

-- Triggers and records of a source's tables, as its row says.
CREATE FUNCTION profiles._capture_source(found profiles.source_config) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view regclass := profiles._source_view(found.id)::regclass;
BEGIN
    DELETE FROM profiles.source_part p WHERE p.source_id = found.id;
    IF found.capture = 'none' THEN
        PERFORM profiles._drop_triggers(found.id);
    ELSE
        PERFORM profiles._ddl(format('SELECT profiles._install_triggers(%L, %s, %L, %L, NULL)',
                                     view, found.id, found.capture, found.on_change));
        PERFORM profiles._check_unshared(found.id, profiles._source_part_oids(view)::regclass[]);
        INSERT INTO profiles.source_part (source_id, relation, kind, folded)
        SELECT found.id, n, k.kind, true
        FROM unnest(profiles._source_parts(view)) AS n, profiles._source_kind k WHERE k.source_id = found.id;
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._capture_source(profiles.source_config) IS 'Internal: installs the triggers of a source, or removes them.';

-- A rebuild of the kinds that a source feeds is due.
CREATE FUNCTION profiles._mark_due(found profiles.source_config, reason text) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO profiles.due (kind, source_id, reason)
    SELECT k.kind, found.id, reason FROM profiles._source_kind k WHERE k.source_id = found.id;
END;
COMMENT ON FUNCTION profiles._mark_due(profiles.source_config, text) IS 'Internal: makes a rebuild due.';

-- What was captured under a definition that goes is folded anew. Its view has
-- just been locked, so all writers who used it are done; a fresh snapshot sees it.
CREATE FUNCTION profiles._drop_pending(source_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE invalid_transaction_state USING
            MESSAGE = 'sources can be changed under READ COMMITTED only',
            HINT = 'Use a transaction of that isolation level.';
    END IF;
    DELETE FROM profiles.user_pending p WHERE p.source_id = _drop_pending.source_id;
    DELETE FROM profiles.account_pending p WHERE p.source_id = _drop_pending.source_id;
    DELETE FROM profiles.user_packed p WHERE p.source_id = _drop_pending.source_id;
    DELETE FROM profiles.account_packed p WHERE p.source_id = _drop_pending.source_id;
END
$$;
COMMENT ON FUNCTION profiles._drop_pending(integer) IS 'Internal: forgets what was captured under a definition that goes.';

-- A source keeps its name when its relation is renamed.
CREATE FUNCTION profiles._refuse_duplicate(source_name text, events regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view regclass := (SELECT to_regclass(profiles._source_view(c.id)) FROM profiles.source_config c WHERE c.source = source_name);
    reads regclass := profiles._source_relation(view);
BEGIN
    IF reads = events THEN
        RAISE duplicate_object USING
            MESSAGE = format('source %s exists already', source_name),
            HINT = format('Change it with profiles.alter_source(%L, ...), or remove it with profiles.drop_source(%1$L).', source_name);
    END IF;
    RAISE duplicate_object USING
        MESSAGE = format('source %s exists already, for another relation', source_name),
        HINT = CASE WHEN reads IS NULL THEN 'Its relation is gone.'
                    ELSE format('It reads %s, which had that name when it was added.', reads) END ||
               format(' Remove it with profiles.drop_source(%L) first.', source_name);
END
$$;
COMMENT ON FUNCTION profiles._refuse_duplicate(text, regclass) IS 'Internal: refuses to add a source whose name is taken.';

CREATE FUNCTION profiles._add_source(caller oid, events regclass, preset text, mapping jsonb, filter text,
                                     capture text, on_change text, rls text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source_name text := events::text;
    asked constant text := capture;
    class record;
    columns text[];
    added profiles.source_config;
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
        PERFORM profiles._refuse_duplicate(source_name, events);
    END IF;
    SELECT p.capture, p.on_change INTO capture, on_change FROM profiles._possible_capture(events, source_name, capture, on_change) p;
    PERFORM profiles._check_capture(capture, on_change);
    IF capture <> 'none' AND NOT has_table_privilege(caller, events, 'TRIGGER') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied to create triggers on %s', events),
            HINT = 'Ask its owner for the TRIGGER privilege, or say capture => ''none''.';
    END IF;

    columns := ARRAY(SELECT e.key FROM profiles._add_source_entries(events, preset, mapping, filter, capture, on_change, rls) e);
    IF NOT columns && ARRAY['user_id', 'account_id'] OR NOT 'seen_at' = ANY (columns) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('mapping of %s has no %s', events,
                             CASE WHEN 'seen_at' = ANY (columns) THEN 'user_id or account_id' ELSE 'seen_at' END),
            HINT = 'Say which column is which: mapping => ''{"user_id": "...", "seen_at": "..."}''.';
    END IF;
    INSERT INTO profiles.source_config (source, preset, capture, on_change, rls)
    VALUES (source_name, preset, capture, on_change, rls)
    RETURNING * INTO added;
    -- a number whose view DROP EXTENSION ... CASCADE has left is not used again
    WHILE to_regclass(profiles._source_view(added.id)) IS NOT NULL LOOP
        UPDATE profiles.source_config c SET id = DEFAULT WHERE c.id = added.id RETURNING c.* INTO added;
    END LOOP;
    PERFORM profiles._check_source(profiles._make_view(added.id));
    PERFORM profiles._ensure_columns(columns);
    PERFORM profiles._capture_source(added);
    PERFORM profiles._mark_due(added, 'added');
    PERFORM profiles._replace_events(added.id);

    IF asked = 'none' AND class.relkind IN ('r', 'p') THEN
        PERFORM profiles._notice_uncaptured(source_name);
    ELSIF capture <> 'none' THEN
        PERFORM profiles._notice_unseen(source_name, events);
    END IF;
    RETURN source_name;
END
$$;
COMMENT ON FUNCTION profiles._add_source(oid, regclass, text, jsonb, text, text, text, text) IS 'Internal: add_source.';

CREATE FUNCTION profiles.add_source(events regclass, preset text DEFAULT NULL, mapping jsonb DEFAULT '{}', filter text DEFAULT NULL,
                                    capture text DEFAULT 'deferred', on_change text DEFAULT 'recompute', rls text DEFAULT 'refuse')
    RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_define_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.add_source(regclass, text, jsonb, text, text, text, text) IS 'Makes a table, partitioned table, view or foreign table of events a source of profiles, and returns its name. mapping: attribute to SQL expression over the row; what it leaves open comes from the preset (rum, snowplow, segment, posthog) or, without one, from columns with well-known names. filter: condition for events that count. capture: deferred (triggers append partial profiles, refresh merges them), immediate (triggers merge inserted events at once), none. on_change: recompute (UPDATE, DELETE, TRUNCATE of events change profiles) or keep (what was seen stays). rls: what to do about row-level security, refuse, invoker or ignore. The caller needs SELECT on the relation, and TRIGGER where it is captured; expressions run with the caller''s rights. CALL profiles.rebuild() then folds what is there; the next refresh does too. Undo: drop_source.';

-- A source's row; errors if there is none, or its relation is gone.
CREATE FUNCTION profiles._find_source(source text) RETURNS profiles.source_config
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result profiles.source_config;
BEGIN
    SELECT c.* INTO result FROM profiles.source_config c WHERE c.source = _find_source.source;
    IF FOUND THEN
        RETURN result;
    END IF;
    SELECT c.* INTO result FROM profiles.source_config c
    WHERE c.source = to_regclass(_find_source.source)::text
       -- without its schema, where that is clear
       OR _find_source.source = (parse_ident(c.source))[2]
          AND 1 = (SELECT count(*) FROM profiles.source_config o WHERE (parse_ident(o.source))[2] = _find_source.source)
    LIMIT 1;
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
    wanted record;
    before jsonb;
    after jsonb;
BEGIN
    PERFORM profiles._check_adder(caller, found);
    PERFORM profiles._stop_upkeep();
    IF view IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = format('the relation of source %s is gone', found.source),
            HINT = format('Remove the source with profiles.drop_source(%L).', found.source);
    END IF;
    SELECT c.relowner INTO adder FROM pg_class c WHERE c.oid = view;
    events := profiles._source_relation(view);
    wanted := profiles._possible_capture(events, found.source, coalesce(capture, found.capture), coalesce(on_change, found.on_change));
    PERFORM profiles._check_capture(wanted.capture, wanted.on_change);

    IF mapping IS NOT NULL OR filter IS NOT NULL THEN
        SELECT jsonb_object_agg(c.name, c.expression) INTO before FROM profiles._source_columns(view) c;
        PERFORM profiles._ddl(format('SELECT profiles._make_view(%s)', found.id));
        view := profiles._source_view(found.id)::regclass;
        SELECT jsonb_object_agg(c.name, c.expression) INTO after FROM profiles._source_columns(view) c;
        IF NOT after ?| ARRAY['user_id', 'account_id'] OR NOT after ? 'seen_at' THEN
            RAISE invalid_parameter_value USING
                MESSAGE = 'a source needs seen_at, and user_id or account_id',
                HINT = 'Leave them in the mapping.';
        END IF;
        PERFORM profiles._check_source(view);
        PERFORM profiles._ensure_columns(ARRAY(SELECT jsonb_object_keys(after)));
    END IF;

    IF before <> after THEN
        PERFORM profiles._drop_pending(found.id);
        -- a kind that it feeds no more is due as well
        INSERT INTO profiles.due (kind, source_id, reason)
        SELECT k, found.id, 'altered' FROM unnest(ARRAY['user', 'account']) AS k
        WHERE before ? (k || '_id') OR after ? (k || '_id');
    END IF;
    IF wanted.capture <> found.capture OR wanted.on_change <> found.on_change THEN
        IF wanted.capture <> 'none' AND NOT has_table_privilege(adder, events, 'TRIGGER') THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('role %I has no TRIGGER privilege on %s', pg_get_userbyid(adder), events),
                HINT = 'Ask the owner of the table for it.';
        END IF;
        -- Events came while nothing captured them, or straight into profiles, where a
        -- rebuild that was interrupted would not have them if it went on. A foreign table
        -- had some when it came.
        IF wanted.capture <> found.capture AND (found.capture IN ('none', 'immediate') OR wanted.capture IS DISTINCT FROM capture) THEN
            PERFORM profiles._mark_due(found, 'altered');
        END IF;
        IF capture = 'none' AND found.capture <> 'none' THEN
            PERFORM profiles._notice_uncaptured(found.source);
        ELSIF found.capture = 'none' THEN
            PERFORM profiles._notice_unseen(found.source, events);
        END IF;
        UPDATE profiles.source_config c
        SET capture = wanted.capture,
            on_change = wanted.on_change
        WHERE c.id = found.id
        RETURNING c.* INTO found;
        PERFORM profiles._capture_source(found);
    END IF;
    PERFORM profiles._replace_events(found.id);
    RETURN found.source || CASE WHEN EXISTS (SELECT FROM profiles._source_kind k WHERE k.source_id = found.id AND k.rebuild_due)
                                THEN ': rebuild due' ELSE ': no rebuild due' END;
END
$$;
COMMENT ON FUNCTION profiles._alter_source(oid, text, jsonb, text, text, text) IS 'Internal: alter_source.';

CREATE FUNCTION profiles.alter_source(source text, mapping jsonb DEFAULT NULL, filter text DEFAULT NULL,
                                      capture text DEFAULT NULL, on_change text DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_define_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.alter_source(text, jsonb, text, text, text) IS 'Changes a source; NULL leaves a thing as it is. mapping: entries to add or replace; an entry that is null is removed. filter => ''true'' lets all events count again. Returns the source''s name and whether a rebuild is due. New expressions run with the rights of the role that added the source, of which the caller must be a member.';

CREATE FUNCTION profiles._drop_source(caller oid, source text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found profiles.source_config := profiles._find_source(source);
BEGIN
    PERFORM profiles._check_adder(caller, found);
    PERFORM profiles._stop_upkeep();
    IF to_regclass(profiles._source_view(found.id)) IS NULL THEN
        -- its relation is gone, and what it fed can't be read off it any more
        INSERT INTO profiles.due (kind, source_id, reason) VALUES ('user', found.id, 'dropped'), ('account', found.id, 'dropped');
        PERFORM profiles._drop_triggers(found.id);
    ELSE
        PERFORM profiles._mark_due(found, 'dropped');
        found.capture := 'none';
        PERFORM profiles._capture_source(found);
        PERFORM profiles._ddl(format('DROP VIEW %s', profiles._source_view(found.id)));
    END IF;
    PERFORM profiles._drop_pending(found.id);
    DELETE FROM profiles.kept k WHERE k.source = found.source;
    DELETE FROM profiles.source_config c WHERE c.id = found.id;
    PERFORM profiles._replace_events(NULL);
    RAISE NOTICE 'profiles still contain the events of %', found.source
        USING HINT = 'CALL profiles.refresh() or profiles.rebuild() takes them out.';
END
$$;
COMMENT ON FUNCTION profiles._drop_source(oid, text) IS 'Internal: drop_source.';

CREATE FUNCTION profiles.drop_source(source text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.drop_source(text) IS 'Removes a source. What it contributed goes at the next refresh; columns of users and accounts stay. Its events are not touched. Undo: add_source.';

-- Removes what was made at run time.
CREATE FUNCTION profiles._uninstall(caller oid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
BEGIN
    PERFORM profiles._stop_upkeep();
    PERFORM profiles._drop_triggers(NULL);
    FOR r IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS class
        FROM pg_class c
        -- by name: restored without data they are there, but the configuration is not
        WHERE (c.relnamespace = 'profiles'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^segment_')
           OR (c.relnamespace = 'profiles'::regnamespace AND c.relkind IN ('v', 'r') AND c.relname ~ '^(source|import|attributes|_events)_[0-9]+$')
           OR c.oid IN (SELECT to_regclass('profiles.' || name)
                        FROM unnest(ARRAY['events', 'sessions', 'users', 'accounts', 'user_profile', 'account_profile',
                                          'user_staging', 'account_staging', 'user_search', 'account_search', 'user_search_due', 'account_search_due', 'user_word', 'account_word',
                                          'user_search_stat', 'account_search_stat', 'user_searched', 'account_searched', 'user_imported', 'account_imported']) AS name)
        -- what depends on others first
        ORDER BY c.relname !~ '^segment_', c.relkind = 'r', c.relname <> 'sessions', c.relname <> 'events'
    LOOP
        EXECUTE format('DROP %s %s', r.class, r.name);
    END LOOP;
    DELETE FROM profiles.segment_config;
    DELETE FROM profiles.import_config;
    DELETE FROM profiles.sync_run;
    DELETE FROM profiles.source_config;
    DELETE FROM profiles.view_grant;
    DELETE FROM profiles.upkeep;
    DELETE FROM profiles.user_pending;
    DELETE FROM profiles.account_pending;
    DELETE FROM profiles.user_packed;
    DELETE FROM profiles.account_packed;
    DELETE FROM profiles.kept;
    DELETE FROM profiles.due;
END
$$;
COMMENT ON FUNCTION profiles._uninstall(oid) IS 'Internal: uninstall.';

CREATE FUNCTION profiles.uninstall() RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.uninstall() IS 'Removes all sources, stored profiles and relations made at run time, so that DROP EXTENSION works without CASCADE. The events are not touched. Undo: add_source and rebuild.';
