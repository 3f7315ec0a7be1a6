-- Indexes on events: which drill-down needs, and making them.

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
