-- Rebuild: each source folded into staging, then written by ranges of keys.

-- Folds one source into staging. The same statement, so the same snapshot,
-- takes what is pending of the source: it is in the fold. If that fails, the source
-- is left out, and what is pending stays.
CREATE FUNCTION profiles._fold_source(source_id integer, kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view regclass := to_regclass(profiles._source_view(source_id));
    staging text := kind || '_staging';
    hint text;
BEGIN
    PERFORM profiles._check_source_is_there(source_id);
    UPDATE profiles.source_part p SET folded = true
    WHERE p.source_id = _fold_source.source_id AND p.kind = _fold_source.kind AND NOT p.folded;
    EXECUTE format('WITH taken AS (DELETE FROM profiles.%I p WHERE p.source_id = $1), '
                   '     taken_packed AS (DELETE FROM profiles.%I p WHERE p.source_id = $1) '
                   'INSERT INTO profiles.%I (source_id, key, left_out, profile, events, example) '
                   'SELECT $1, f.key, f.left_out, f.profile, f.events, f.example '
                   'FROM profiles._fold($2, $3) f', kind || '_pending', kind || '_packed', staging)
    USING source_id, view, kind;

    EXECUTE format('INSERT INTO profiles.%I (source_id, key, left_out, profile, events) '
                   'SELECT s.source_id, s.key, s.left_out, s.profile, s.events FROM profiles.%I s '
                   'WHERE s.source_id = $1 AND s.left_out LIKE ''future %%'' '
                   '  AND NOT EXISTS (SELECT FROM profiles.blocked b WHERE b.kind = $2 AND b.key = s.key)', kind || '_pending', staging)
    USING source_id, kind;
    DELETE FROM profiles.source_count n WHERE n.source_id = _fold_source.source_id AND n.kind = _fold_source.kind;
    EXECUTE format('INSERT INTO profiles.source_count (source_id, kind, reason, events, example) '
                   'SELECT $1, $2, CASE WHEN b.key IS NOT NULL THEN ''blocked'' ELSE coalesce(s.left_out, ''folded'') END, '
                   '       sum(s.events), min(s.example) '
                   'FROM profiles.%I s '
                   'LEFT JOIN profiles.blocked b ON b.kind = $2 AND b.key = s.key '
                   'WHERE s.source_id = $1 AND (b.key IS NOT NULL OR coalesce(s.left_out NOT LIKE ''future %%'', true)) '
                   'GROUP BY 3', staging)
    USING source_id, kind;
    EXECUTE format('DELETE FROM profiles.%I s WHERE s.source_id = $1 AND s.left_out IS NOT NULL', staging)
    USING source_id;
    DELETE FROM profiles.source_failure f WHERE f.source_id = _fold_source.source_id AND f.kind = _fold_source.kind;
    DELETE FROM profiles.latest_failure f WHERE f.source_id = _fold_source.source_id AND f.kind = _fold_source.kind;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    IF profiles._ends_call(sqlstate) THEN
        RAISE;
    END IF;
    PERFORM profiles._note_failure(source_id, kind, sqlstate, sqlerrm, hint);
END
$$;
COMMENT ON FUNCTION profiles._fold_source(integer, text) IS 'Internal: folds one source into staging, or leaves it out.';

-- Writes the next range of keys: changed profiles only, and none for keys that
-- no source has any more, unless nothing may be taken from profiles. Returns whether
-- keys are left.
CREATE FUNCTION profiles._write_range(kind text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch constant integer := 50000;
    lower_key text := (SELECT u.position FROM profiles.upkeep u WHERE u.kind = _write_range.kind);
    upper_key text;
    staging text := kind || '_staging';
    storage text := profiles._storage(kind);
    range text;
    written bigint;
    merges constant boolean := profiles._takes_nothing(kind);
BEGIN
    EXECUTE format('SELECT key FROM profiles.%I WHERE key > $1 ORDER BY key OFFSET %s LIMIT 1', staging, batch)
       INTO upper_key USING lower_key;
    range := '%1$s.key >= $1' || CASE WHEN upper_key IS NULL THEN '' ELSE ' AND %1$s.key < $2' END;

    IF NOT merges THEN
        EXECUTE format('DELETE FROM profiles.%I AS p WHERE ' || format(range, 'p') ||
                       ' AND NOT EXISTS (SELECT FROM profiles.%I s WHERE s.key = p.key)', storage, staging)
        USING lower_key, upper_key;
    END IF;
    EXECUTE format('INSERT INTO profiles.%I AS p (key, profile) '
                   'SELECT s.key, profiles.profile_union_agg(s.profile) FROM profiles.%I s WHERE ' || format(range, 's') ||
                   ' GROUP BY s.key ORDER BY s.key '
                   'ON CONFLICT (key) DO UPDATE SET profile = ' ||
                   CASE WHEN merges THEN 'p.profile OPERATOR(profiles.||) EXCLUDED.profile WHERE profiles._adds(p.profile, EXCLUDED.profile)'
                        ELSE 'EXCLUDED.profile WHERE p.profile OPERATOR(profiles.<>) EXCLUDED.profile' END, storage, staging)
    USING lower_key, upper_key;

    EXECUTE format('SELECT count(*) FROM profiles.%I s WHERE ' || format(range, 's'), staging)
       INTO written USING lower_key, upper_key;
    UPDATE profiles.upkeep u SET done = u.done + written, position = coalesce(upper_key, '')
    WHERE u.kind = _write_range.kind;
    RETURN upper_key IS NOT NULL;
END
$$;
COMMENT ON FUNCTION profiles._write_range(text) IS 'Internal: writes the next range of keys from staging into stored profiles.';

-- Can a rebuild that was interrupted while it wrote, or after, go on? Only if staging is
-- whole, nothing new is due, and all that has happened since is pending.
CREATE FUNCTION profiles._can_resume(kind text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state profiles.upkeep := (SELECT u FROM profiles.upkeep u WHERE u.kind = _can_resume.kind);
    staged bigint;
BEGIN
    IF state.phase IS NULL OR state.phase NOT IN ('write', 'index')
       OR EXISTS (SELECT FROM profiles.source_config c WHERE c.capture <> 'deferred')
       OR EXISTS (SELECT FROM profiles.due d WHERE d.kind = _can_resume.kind AND NOT d.id = ANY (state.due_ids)) THEN
        RETURN false;
    ELSIF state.phase = 'index' THEN
        RETURN true;
    ELSIF to_regclass(format('profiles.%I', kind || '_staging')) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT count(*) FROM profiles.%I', kind || '_staging') INTO staged;
    RETURN staged = state.total;
END
$$;
COMMENT ON FUNCTION profiles._can_resume(text) IS 'Internal: can an interrupted rebuild go on where it was?';

-- Begins a rebuild. It is due from here on, so that if it is interrupted the
-- next refresh completes it: what was pending is taken as sources are folded.
CREATE FUNCTION profiles._rebuild_begin(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    staging text := kind || '_staging';
BEGIN
    IF profiles._can_resume(kind) THEN
        RAISE NOTICE '%: the interrupted rebuild goes on', profiles._relation(kind);
        RETURN;
    END IF;
    IF to_regclass(format('profiles.%I', staging)) IS NOT NULL THEN
        EXECUTE format('DROP TABLE profiles.%I', staging);
    END IF;
    EXECUTE format('CREATE UNLOGGED TABLE profiles.%I (source_id integer, key text, left_out text, '
                   'profile profiles.profile, events bigint, example text)', staging);
    EXECUTE format('COMMENT ON TABLE profiles.%I IS %L', staging, 'Internal: what a running rebuild has folded.');
    INSERT INTO profiles.due (kind, reason) VALUES (kind, 'rebuild');
    INSERT INTO profiles.upkeep AS u (kind, phase, total, started_at, noticed_at, due_ids)
    VALUES (kind, 'fold', (SELECT count(*) FROM profiles.source_config), clock_timestamp(), clock_timestamp(),
            ARRAY(SELECT d.id FROM profiles.due d WHERE d.kind = _rebuild_begin.kind))
    ON CONFLICT ON CONSTRAINT upkeep_pkey DO UPDATE
    SET phase = EXCLUDED.phase, done = 0, total = EXCLUDED.total, position = '', started_at = EXCLUDED.started_at,
        noticed_at = EXCLUDED.noticed_at, due_ids = EXCLUDED.due_ids;
END
$$;
COMMENT ON FUNCTION profiles._rebuild_begin(text) IS 'Internal: begins a rebuild, or goes on with an interrupted one.';

-- The next part of a rebuild: a source folded, a range of keys written, or the
-- indexes of search made that are missing.
CREATE FUNCTION profiles._rebuild_advance(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state profiles.upkeep := (SELECT u FROM profiles.upkeep u WHERE u.kind = _rebuild_advance.kind);
    next_source integer;
    staging text := kind || '_staging';
    few constant integer := 10000;
    staged bigint;
BEGIN
    IF state.phase = 'fold' THEN
        SELECT min(c.id) INTO next_source FROM profiles.source_config c
        WHERE c.id > coalesce(nullif(state.position, '')::integer, 0);
        IF next_source IS NOT NULL THEN
            PERFORM profiles._fold_source(next_source, kind);
            UPDATE profiles.upkeep u SET done = u.done + 1, position = next_source::text
            WHERE u.kind = _rebuild_advance.kind;
            RETURN;
        END IF;
        EXECUTE format('INSERT INTO profiles.%I (key, profile) SELECT k.key, k.profile FROM profiles.kept k WHERE k.kind = $1', staging)
        USING kind;
        EXECUTE format('DELETE FROM profiles.%I s USING profiles.blocked b WHERE b.kind = $1 AND b.key = s.key', staging)
        USING kind;
        EXECUTE format('CREATE INDEX ON profiles.%I (key)', staging);
        EXECUTE format('ANALYZE profiles.%I', staging);
        EXECUTE format('SELECT count(*) FROM profiles.%I', staging) INTO staged;
        IF staged > few THEN
            PERFORM profiles._unindex_search(kind);
        END IF;
        UPDATE profiles.upkeep u SET phase = 'write', done = 0, total = staged, position = ''
        WHERE u.kind = _rebuild_advance.kind;
    ELSIF state.phase = 'write' THEN
        IF NOT profiles._write_range(kind) THEN
            EXECUTE format('DROP TABLE profiles.%I', staging);
            UPDATE profiles.upkeep u SET phase = 'index' WHERE u.kind = _rebuild_advance.kind;
        END IF;
    ELSE
        PERFORM profiles._index_search(kind);
        DELETE FROM profiles.due d WHERE d.id = ANY (state.due_ids);
        UPDATE profiles.upkeep u SET phase = 'merge', due_ids = '{}', rebuilt_at = state.started_at
        WHERE u.kind = _rebuild_advance.kind;
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._rebuild_advance(text) IS 'Internal: the next part of a rebuild.';
