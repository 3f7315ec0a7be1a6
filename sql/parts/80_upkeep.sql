-- Upkeep: rebuild and verify.

CREATE FUNCTION profiles._fold(source_view regclass, kind text, sample float8,
                               OUT key text, OUT left_out text, OUT profile profiles.profile,
                               OUT events bigint, OUT example text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_fold' LANGUAGE C STRICT ROWS 100000;
COMMENT ON FUNCTION profiles._fold(regclass, text, float8) IS 'Internal: folds the events of a source with the rights of its adder. Rows per key, and per reason for events left out; a key may come several times.';

CREATE FUNCTION profiles._check_kind(kind text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF kind IS NULL OR kind NOT IN ('user', 'account') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown kind "%s"', kind),
            HINT = 'The kinds are "user" and "account".';
    ELSIF to_regclass(format('profiles.%I', profiles._storage(kind))) IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = 'there are no profiles yet',
            HINT = 'Add a source of events with profiles.add_source().';
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_kind(text) IS 'Internal: refuses kinds other than user and account, and calls before the first source.';

-- Folds one source into staging and counts what was left out.
CREATE FUNCTION profiles._fold_source(source_id integer, kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view regclass := to_regclass(profiles._source_view(source_id));
    source_name text := (SELECT c.source FROM profiles.source_config c WHERE c.id = source_id);
BEGIN
    IF view IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = format('the relation of source %s is gone', source_name),
            HINT = format('Remove the source with profiles.drop_source(%L). Profiles are as they were.', source_name);
    END IF;
    EXECUTE format('INSERT INTO profiles.%I (source_id, key, left_out, profile, events, example) '
                   'SELECT $1, f.* FROM profiles._fold($2, $3, 1) f', kind || '_staging')
    USING source_id, view, kind;
    EXECUTE format(
        'INSERT INTO profiles.source_count (source_id, kind, folded, left_out, examples, counted_at) '
        'SELECT $1, $2, coalesce(sum(events) FILTER (WHERE left_out IS NULL), 0), '
        '       coalesce(jsonb_object_agg(left_out, events) FILTER (WHERE left_out IS NOT NULL), ''{}''), '
        '       coalesce(jsonb_object_agg(left_out, example) FILTER (WHERE example IS NOT NULL), ''{}''), clock_timestamp() '
        'FROM (SELECT left_out, sum(events) AS events, CASE WHEN left_out IS NOT NULL THEN min(coalesce(example, key)) END AS example '
        '      FROM profiles.%I WHERE source_id = $1 GROUP BY left_out) s '
        'ON CONFLICT (source_id, kind) DO UPDATE SET folded = EXCLUDED.folded, left_out = EXCLUDED.left_out, '
        '   examples = EXCLUDED.examples, counted_at = EXCLUDED.counted_at', kind || '_staging')
    USING source_id, kind;
    EXECUTE format('DELETE FROM profiles.%I WHERE source_id = $1 AND left_out IS NOT NULL', kind || '_staging')
    USING source_id;
END
$$;
COMMENT ON FUNCTION profiles._fold_source(integer, text) IS 'Internal: folds one source into staging.';

-- Writes the next range of keys: changed profiles only, and none for keys that
-- no source has any more. Returns whether keys are left.
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
BEGIN
    EXECUTE format('SELECT key FROM profiles.%I WHERE key >= $1 ORDER BY key OFFSET %s LIMIT 1', staging, batch)
       INTO upper_key USING lower_key;
    range := '%1$s.key >= $1' || CASE WHEN upper_key IS NULL THEN '' ELSE ' AND %1$s.key < $2' END;

    EXECUTE format('DELETE FROM profiles.%I AS p WHERE ' || format(range, 'p') ||
                   ' AND NOT EXISTS (SELECT FROM profiles.%I s WHERE s.key = p.key)', storage, staging)
    USING lower_key, upper_key;
    EXECUTE format('INSERT INTO profiles.%I AS p (key, profile) '
                   'SELECT s.key, profiles.profile_union_agg(s.profile) FROM profiles.%I s WHERE ' || format(range, 's') ||
                   ' GROUP BY s.key ORDER BY s.key '
                   'ON CONFLICT (key) DO UPDATE SET profile = EXCLUDED.profile '
                   'WHERE p.profile OPERATOR(profiles.<>) EXCLUDED.profile', storage, staging)
    USING lower_key, upper_key;

    EXECUTE format('SELECT count(*) FROM profiles.%I s WHERE ' || format(range, 's'), staging)
       INTO written USING lower_key, upper_key;
    UPDATE profiles.upkeep u SET done = u.done + written, position = coalesce(upper_key, '')
    WHERE u.kind = _write_range.kind;
    RETURN upper_key IS NOT NULL;
END
$$;
COMMENT ON FUNCTION profiles._write_range(text) IS 'Internal: writes the next range of keys from staging into stored profiles.';

-- A notice on long work, every ten seconds.
CREATE FUNCTION profiles._notice_progress(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p profiles.upkeep;
BEGIN
    UPDATE profiles.upkeep u SET noticed_at = clock_timestamp()
    WHERE u.kind = _notice_progress.kind AND u.noticed_at < clock_timestamp() - interval '10 seconds'
    RETURNING u.* INTO p;
    IF FOUND THEN
        RAISE NOTICE '%: phase %, % of %', profiles._relation(kind), p.phase, p.done, p.total;
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._notice_progress(text) IS 'Internal: says how far a long rebuild is.';

-- One step of a rebuild; the procedure commits after each. Returns whether
-- more is to do. What an interrupted rebuild left is begun anew: events may have
-- changed since, and nothing captured that.
CREATE FUNCTION profiles._rebuild_step(kind text, first boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now_at timestamptz := clock_timestamp();
    state profiles.upkeep;
    next_source integer;
    staging text := kind || '_staging';
    count_all bigint;
BEGIN
    IF first THEN
        PERFORM profiles._check_kind(kind);
        IF to_regclass(format('profiles.%I', staging)) IS NOT NULL THEN
            EXECUTE format('DROP TABLE profiles.%I', staging);
        END IF;
        EXECUTE format('CREATE UNLOGGED TABLE profiles.%I (source_id integer NOT NULL, key text, left_out text, '
                       'profile profiles.profile, events bigint NOT NULL, example text)', staging);
        EXECUTE format('COMMENT ON TABLE profiles.%I IS %L', staging, 'Internal: what a running rebuild has folded.');
        INSERT INTO profiles.upkeep AS u (kind, phase, done, total, started_at, noticed_at)
        VALUES (kind, 'fold', 0, (SELECT count(*) FROM profiles.source_config), now_at, now_at)
        ON CONFLICT ON CONSTRAINT upkeep_pkey DO UPDATE
        SET phase = EXCLUDED.phase, done = 0, total = EXCLUDED.total, position = '',
            started_at = EXCLUDED.started_at, noticed_at = EXCLUDED.noticed_at;
        RETURN true;
    END IF;

    SELECT * INTO STRICT state FROM profiles.upkeep u WHERE u.kind = _rebuild_step.kind;
    PERFORM profiles._notice_progress(kind);
    IF state.phase = 'fold' THEN
        SELECT min(c.id) INTO next_source FROM profiles.source_config c
        WHERE c.id > coalesce(nullif(state.position, '')::integer, 0);
        IF next_source IS NOT NULL THEN
            PERFORM profiles._fold_source(next_source, kind);
            UPDATE profiles.upkeep u SET done = u.done + 1, position = next_source::text
            WHERE u.kind = _rebuild_step.kind;
            RETURN true;
        END IF;
        EXECUTE format('CREATE INDEX ON profiles.%I (key)', staging);
        EXECUTE format('ANALYZE profiles.%I', staging);
        EXECUTE format('SELECT count(*) FROM profiles.%I', staging) INTO count_all;
        UPDATE profiles.upkeep u SET phase = 'write', done = 0, total = count_all, position = ''
        WHERE u.kind = _rebuild_step.kind;
        RETURN true;
    ELSIF state.phase = 'write' AND profiles._write_range(kind) THEN
        RETURN true;
    END IF;

    EXECUTE format('DROP TABLE profiles.%I', staging);
    EXECUTE format('SELECT count(*) FROM profiles.%I', profiles._storage(kind)) INTO count_all;
    UPDATE profiles.upkeep u SET phase = 'done', done = count_all, total = count_all, rebuilt_at = state.started_at
    WHERE u.kind = _rebuild_step.kind;
    RETURN false;
END
$$;
COMMENT ON FUNCTION profiles._rebuild_step(text, boolean) IS 'Internal: one step of rebuild.';

CREATE PROCEDURE profiles.rebuild(kind text DEFAULT NULL)
    AS 'MODULE_PATHNAME', 'profiles_run_rebuild' LANGUAGE C;
COMMENT ON PROCEDURE profiles.rebuild(text) IS 'Folds all events of all sources into the profiles of a kind, user or account, or of both (NULL). It commits in batches, readers see a profile''s old state until it is rewritten, and only changed profiles are written; profiles.progress shows how far it is. Another upkeep of the same kind is waited for. In a transaction block it is one transaction, with a NOTICE. If it fails or is interrupted, run it again.';

-- verify: stored profiles against a fold from scratch

CREATE FUNCTION profiles._verify(caller oid, kind text, sample double precision)
    RETURNS TABLE (key text, stored profiles.profile, expected profiles.profile)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM profiles._check_kind(kind);
    IF sample IS NULL OR NOT sample > 0 OR sample > 1 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('sample %s is out of range', sample),
            HINT = 'It is the share of subjects to verify, greater than 0 and at most 1.';
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH expected AS (
            SELECT f.key, profiles.profile_union_agg(f.profile) AS profile
            FROM profiles.source_config c,
                 LATERAL profiles._fold(to_regclass(profiles._source_view(c.id)), $1, $2) f
            WHERE f.left_out IS NULL
            GROUP BY f.key
        ), stored AS (
            SELECT p.key, p.profile FROM profiles.%I p
            WHERE $2 >= 1 OR (hashtextextended(p.key, 0) & 1048575) < floor($2 * 1048576)
        )
        SELECT coalesce(s.key, e.key), s.profile, e.profile
        FROM stored s FULL JOIN expected e ON e.key = s.key
        WHERE s.profile IS NULL OR e.profile IS NULL OR s.profile OPERATOR(profiles.<>) e.profile
        ORDER BY 1 $query$, profiles._storage(kind))
    USING kind, sample;
END
$$;
COMMENT ON FUNCTION profiles._verify(oid, text, double precision) IS 'Internal: verify.';

CREATE FUNCTION profiles.verify(kind text DEFAULT 'user', sample double precision DEFAULT 1,
                                OUT key text, OUT stored profiles.profile, OUT expected profiles.profile)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C ROWS 10;
COMMENT ON FUNCTION profiles.verify(text, double precision) IS 'Folds the events of all sources from scratch and returns the subjects whose stored profile differs: none when all is right. stored is NULL for one that is missing, expected for one that should not be there. sample: share of the subjects, chosen by a hash of the key, to be verified.';
