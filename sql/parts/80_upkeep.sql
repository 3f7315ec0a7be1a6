-- Upkeep: capture, and the steps of refresh and rebuild. How these can run beside
-- writers without losing or doubling an event is argued in doc/design.md.

CREATE FUNCTION profiles.capture() RETURNS trigger
    AS 'MODULE_PATHNAME', 'profiles_capture' LANGUAGE C;
COMMENT ON FUNCTION profiles.capture() IS 'Trigger function on events, made by add_source: folds the rows of a statement into pending partial profiles. Does nothing on tables that are part of no source.';

CREATE FUNCTION profiles._fold(source_view regclass, kind text, sample float8 DEFAULT 1, keys text[] DEFAULT NULL,
                               since timestamptz DEFAULT NULL, relation regclass DEFAULT NULL, by_query boolean DEFAULT false,
                               OUT key text, OUT left_out text, OUT profile profiles.profile,
                               OUT events bigint, OUT example text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_fold' LANGUAGE C ROWS 100000;
COMMENT ON FUNCTION profiles._fold(regclass, text, float8, text[], timestamptz, regclass, boolean) IS 'Internal: folds the events of a source, or of one of its partitions, with the rights of its adder and in the snapshot of the calling query. Rows per key, and per reason for events left out; a key may come several times. by_query: as an aggregate query, whatever is faster.';

CREATE FUNCTION profiles._lock_kind(kind text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_lock_kind' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._lock_kind(text) IS 'Internal: waits for the upkeep of a kind and keeps other upkeep out until the end of the transaction.';

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

-- Up to when events count now.
CREATE FUNCTION profiles._limit() RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profiles_limit' LANGUAGE C STABLE;
COMMENT ON FUNCTION profiles._limit() IS 'Internal: the time up to which events count now; later ones are held.';

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
COMMENT ON FUNCTION profiles._notice_progress(text) IS 'Internal: says how far long work is.';

-- Whatever folds locks first, in a statement of its own.
CREATE FUNCTION profiles._lock_tables(relations regclass[]) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_lock_tables' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._lock_tables(regclass[]) IS 'Internal: locks tables, or those of the views of sources, for reading, with their partitions and children; waits for one only while it has none of the others.';

CREATE FUNCTION profiles._lock_sources() RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profiles_lock_sources' LANGUAGE C;
COMMENT ON FUNCTION profiles._lock_sources() IS 'Internal: locks the tables of all sources for reading, and says since when they are.';

-- Who holds locks and waits for further ones may be waited for by those who have
-- these, and one of both is lost to a deadlock, unless we let go in time.
CREATE FUNCTION profiles._lock_until(statement text, until timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM set_config('lock_timeout', greatest(extract(epoch FROM until - clock_timestamp()) * 1000, 1)::int || 'ms', true);
    EXECUTE statement;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION profiles._lock_until(text, timestamptz) IS 'Internal: runs what locks a table, if it gets the lock by then.';

-- merging and recomputing

CREATE FUNCTION profiles._merge_rows(kind text, most integer, until timestamptz) RETURNS bigint
    AS 'MODULE_PATHNAME', 'profiles_merge_rows' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._merge_rows(text, integer, timestamptz) IS 'Internal: takes pending rows, at most so many, merges them into stored profiles, and counts what was left out. until: the time up to which events count. Returns how many it took.';

CREATE FUNCTION profiles._has_marks(kind text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_has_marks' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._has_marks(text) IS 'Internal: are there subjects that are to be computed anew?';

-- Merges pending rows, at most so many. Returns how many it took. Not while a
-- rebuild was interrupted whose staging is older.
CREATE FUNCTION profiles._merge_pending(kind text, most integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM profiles.upkeep u WHERE u.kind = _merge_pending.kind AND u.phase IN ('fold', 'write')) THEN
        RETURN 0;
    END IF;
    RETURN profiles._merge_rows(kind, most, profiles._limit());
END
$$;
COMMENT ON FUNCTION profiles._merge_pending(text, integer) IS 'Internal: merges pending rows into stored profiles.';

-- Gives back the space of a table of packed profiles that has grown large and is empty
-- again, unless somebody is at it. The last thing that a refresh does, so that nobody whom
-- its lock keeps waiting is waited for; in a transaction block that can't be said.
CREATE FUNCTION profiles._shrink_packed(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    large constant bigint := 16 * 1024 * 1024;
    packed regclass := format('profiles.%I', kind || '_packed');
    is_empty boolean;
BEGIN
    IF pg_relation_size(packed) <= large OR profiles._upkeep_in_block() THEN
        RETURN;
    END IF;
    BEGIN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', packed);
    EXCEPTION WHEN lock_not_available THEN
        RETURN;
    END;
    EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', packed) INTO is_empty;
    IF is_empty THEN
        EXECUTE format('TRUNCATE %s', packed);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._shrink_packed(text) IS 'Internal: truncates a large table of packed profiles if it is empty.';

-- Computes marked subjects anew, at most so many, from the events that are
-- left and what is kept. One statement, so one snapshot: what was captured of a
-- subject by then is in its events, and taken with the mark. Returns how many.
-- What was captured of a source that is left out stays pending, since it is in no
-- fold; and if that has a part in profiles, nothing is taken from them.
CREATE FUNCTION profiles._recompute_marked(kind text, most integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    -- the sizes of pending and of what is taken from it are never known
    SET enable_nestloop = off
AS $$
DECLARE
    taken bigint;
    failures jsonb[];
    f jsonb;
BEGIN
    IF NOT profiles._has_marks(kind) THEN
        RETURN 0;
    END IF;
    EXECUTE format($query$
        WITH marked AS MATERIALIZED (
            SELECT DISTINCT q.key FROM profiles.%1$I q
            WHERE q.profile IS NULL AND q.left_out IS NULL
            LIMIT $2
        ), folded AS MATERIALIZED (
            SELECT c.id AS source_id, f.*
            FROM profiles.source_config c
            CROSS JOIN LATERAL profiles._fold_softly(c.id, $1, (SELECT coalesce(array_agg(m.key), '{}') FROM marked m
                WHERE NOT EXISTS (SELECT FROM profiles.blocked b WHERE b.kind = $1 AND b.key = m.key))) f
            WHERE (f.profile IS NOT NULL OR f.failure IS NOT NULL)
        ), left_out AS MATERIALIZED (
            SELECT l.source_id, l.was_folded FROM profiles.source_failure l WHERE l.kind = $1
            UNION ALL
            SELECT f.source_id, profiles._was_folded(f.source_id, $1) FROM folded f WHERE f.failure IS NOT NULL
        ), packed AS MATERIALIZED (
            SELECT p.ctid AS place, p.source_id, p.captured_at, u.key, u.profile, u.events,
                   m.key IS NOT NULL AND p.source_id NOT IN (SELECT l.source_id FROM left_out l) AS taken
            FROM profiles.%3$I p CROSS JOIN LATERAL profiles._unpack(p.profiles) u LEFT JOIN marked m ON m.key = u.key
        ), unpacked AS (
            DELETE FROM profiles.%3$I p WHERE p.ctid IN (SELECT k.place FROM packed k WHERE k.taken)
        ), put_back AS (
            INSERT INTO profiles.%1$I (source_id, key, profile, events, captured_at)
            SELECT k.source_id, k.key, k.profile, k.events, k.captured_at FROM packed k
            WHERE NOT k.taken AND k.place IN (SELECT o.place FROM packed o WHERE o.taken)
        ), taken AS (
            DELETE FROM profiles.%1$I p USING marked m
            WHERE p.key = m.key AND (p.profile IS NOT NULL OR p.left_out IS NULL)
              AND (p.profile IS NULL OR p.source_id NOT IN (SELECT l.source_id FROM left_out l))
        ), held AS (
            INSERT INTO profiles.%1$I (source_id, key, left_out, profile, events)
            SELECT f.source_id, f.key, f.left_out, f.profile, f.events FROM folded f WHERE f.left_out IS NOT NULL
        ), fresh AS MATERIALIZED (
            SELECT u.key, profiles.profile_union_agg(u.profile) AS profile
            FROM (SELECT f.key, f.profile FROM folded f WHERE f.left_out IS NULL AND f.failure IS NULL
                  UNION ALL
                  SELECT k.key, k.profile FROM profiles.kept k JOIN marked m ON m.key = k.key WHERE k.kind = $1
                  UNION ALL
                  SELECT p.key, p.profile FROM profiles.%2$I p JOIN marked m ON m.key = p.key
                  WHERE EXISTS (SELECT FROM left_out l WHERE l.was_folded)) u
            GROUP BY u.key
        ), gone AS (
            DELETE FROM profiles.%2$I p USING marked m
            WHERE p.key = m.key AND NOT EXISTS (SELECT FROM fresh f WHERE f.key = m.key)
        ), written AS (
            INSERT INTO profiles.%2$I AS p (key, profile)
            SELECT f.key, f.profile FROM fresh f ORDER BY f.key
            ON CONFLICT (key) DO UPDATE SET profile = EXCLUDED.profile
            WHERE p.profile OPERATOR(profiles.<>) EXCLUDED.profile
        )
        SELECT (SELECT count(*) FROM marked), (SELECT array_agg(f.failure) FROM folded f WHERE f.failure IS NOT NULL)
        $query$, kind || '_pending', profiles._storage(kind), kind || '_packed')
    INTO taken, failures USING kind, most;
    FOREACH f IN ARRAY coalesce(failures, '{}') LOOP
        PERFORM profiles._note_failure((f ->> 'source_id')::integer, kind, f ->> 'state', f ->> 'message', f ->> 'hint');
    END LOOP;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION profiles._recompute_marked(text, integer) IS 'Internal: computes marked subjects anew.';

CREATE FUNCTION profiles._kept_has_grown(kind text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_kept_has_grown' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._kept_has_grown(text) IS 'Internal: has kept grown by a good part since its rows were last merged?';

-- Merges the several rows that a subject may have in kept, once it has grown.
CREATE FUNCTION profiles._compact_kept(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT profiles._kept_has_grown(kind) THEN
        RETURN;
    END IF;
    WITH several AS (
        SELECT k.key, k.source FROM profiles.kept k WHERE k.kind = _compact_kept.kind
        GROUP BY k.key, k.source HAVING count(*) > 1
    ), taken AS (
        DELETE FROM profiles.kept k USING several s
        WHERE k.kind = _compact_kept.kind AND k.key = s.key AND k.source = s.source
        RETURNING k.key, k.source, k.profile
    )
    INSERT INTO profiles.kept (kind, key, source, profile)
    SELECT _compact_kept.kind, t.key, t.source, profiles.profile_union_agg(t.profile)
    FROM taken t GROUP BY t.key, t.source;
    UPDATE profiles.upkeep u SET kept_size = pg_relation_size('profiles.kept') WHERE u.kind = _compact_kept.kind;
END
$$;
COMMENT ON FUNCTION profiles._compact_kept(text) IS 'Internal: merges rows of kept.';

-- steps of the procedures, each committed; they return whether more is to do

-- What rebuild and refresh have in common: the parts of a rebuild that has
-- begun, then marks, then pending rows. A full batch means that there may be
-- more; what writers add meanwhile is for the next refresh. unmarked: there are no
-- marks, it was looked.
CREATE FUNCTION profiles._upkeep_step(kind text, unmarked boolean DEFAULT false) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    marks constant integer := 10000;
    rows constant integer := 100000;
    state profiles.upkeep := (SELECT u FROM profiles.upkeep u WHERE u.kind = _upkeep_step.kind);
    n bigint;
BEGIN
    PERFORM profiles._notice_progress(kind);
    IF state.phase IN ('fold', 'write', 'index') THEN
        PERFORM profiles._rebuild_advance(kind);
        RETURN true;
    END IF;
    n := CASE WHEN unmarked THEN 0 ELSE profiles._recompute_marked(kind, marks) END;
    IF n < marks THEN
        n := profiles._merge_pending(kind, rows);
        IF n < rows AND NOT profiles._catch_up_search(kind) THEN
            PERFORM profiles._compact_kept(kind);
            PERFORM profiles._settle_search(kind);
            UPDATE profiles.upkeep u SET phase = 'done', done = u.done + n, total = u.done + n, refreshed_at = u.started_at
            WHERE u.kind = _upkeep_step.kind;
            PERFORM profiles._shrink_packed(kind);
            RETURN false;
        END IF;
    END IF;
    UPDATE profiles.upkeep u SET done = u.done + n, total = u.done + n WHERE u.kind = _upkeep_step.kind;
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._upkeep_step(text, boolean) IS 'Internal: one step that rebuild and refresh have in common.';

CREATE FUNCTION profiles._rebuild_step(kind text, first boolean, since timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    locked_at timestamptz := profiles._lock_sources();
BEGIN
    PERFORM profiles._note_parts(first, locked_at);
    IF NOT first THEN
        RETURN profiles._upkeep_step(kind);
    END IF;
    PERFORM profiles._check_kind(kind);
    PERFORM profiles._keep_events();
    PERFORM profiles._rebuild_begin(kind);
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._rebuild_step(text, boolean, timestamptz) IS 'Internal: one step of rebuild.';

-- Folds the events of a source from a time on into pending. If it is captured, they
-- are counted already. Else they are counted here, instead of what was counted
-- before, since what two calls fold mostly overlaps; and nobody else writes what is
-- held of it.
CREATE FUNCTION profiles._fold_since(source_id integer, kind text, since timestamptz) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counts boolean := EXISTS (SELECT FROM profiles.source_config c WHERE c.id = _fold_since.source_id AND c.capture = 'none');
BEGIN
    IF counts THEN
        EXECUTE format('DELETE FROM profiles.%I p WHERE p.source_id = $1 AND p.left_out IS NOT NULL '
                       'AND (p.profile IS NULL OR profiles.first_seen(p.profile) >= $2)', kind || '_pending')
        USING source_id, since;
        -- captured before it was altered
        EXECUTE format('UPDATE profiles.%I p SET events = 0 WHERE p.source_id = $1 AND p.left_out IS NULL AND p.events > 0', kind || '_pending')
        USING source_id;
        EXECUTE format($query$
            WITH packed AS (DELETE FROM profiles.%2$I p WHERE p.source_id = $1 RETURNING p.profiles, p.captured_at)
            INSERT INTO profiles.%1$I (source_id, key, profile, events, captured_at)
            SELECT $1, u.key, u.profile, 0, p.captured_at FROM packed p CROSS JOIN LATERAL profiles._unpack(p.profiles) u
            $query$, kind || '_pending', kind || '_packed')
        USING source_id;
        DELETE FROM profiles.source_count n WHERE n.source_id = _fold_since.source_id AND n.kind = _fold_since.kind;
    END IF;
    EXECUTE format($query$
        WITH folded AS MATERIALIZED (
            SELECT f.*, b.key IS NOT NULL AS blocked
            FROM profiles._fold(to_regclass(profiles._source_view($1)), $2, since => $3) f
            LEFT JOIN profiles.blocked b ON b.kind = $2 AND b.key = f.key
        ), counted AS (
            INSERT INTO profiles.source_count (source_id, kind, reason, events, example, since)
            SELECT $1, $2, r.reason, sum(r.events), min(r.example), nullif($3, '-infinity')
            FROM (SELECT 'folded' AS reason, 0 AS events, NULL AS example
                  UNION ALL
                  SELECT CASE WHEN f.blocked THEN 'blocked' ELSE coalesce(f.left_out, 'folded') END, f.events, f.example
                  FROM folded f WHERE f.blocked OR coalesce(f.left_out NOT LIKE 'future %%', true)) r
            WHERE $4
            GROUP BY r.reason
        )
        INSERT INTO profiles.%1$I (source_id, key, left_out, profile, events)
        SELECT $1, f.key, f.left_out, f.profile, CASE WHEN f.left_out IS NULL THEN 0 ELSE f.events END
        FROM folded f
        WHERE NOT f.blocked
          AND (f.left_out IS NULL OR f.left_out LIKE 'future %%' AND ($4 OR NOT EXISTS
               (SELECT FROM profiles.%1$I q WHERE q.source_id = $1 AND q.key = f.key AND q.left_out = f.left_out)))
        $query$, kind || '_pending')
    USING source_id, kind, since, counts;
END
$$;
COMMENT ON FUNCTION profiles._fold_since(integer, text, timestamptz) IS 'Internal: folds the events of a source from a time on into pending, and counts them if it is not captured.';

CREATE FUNCTION profiles._only_pending(kind text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_only_pending' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._only_pending(text) IS 'Internal: is there nothing to do but to merge pending rows?';

CREATE FUNCTION profiles._is_settled(kind text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_is_settled' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._is_settled(text) IS 'Internal: is there nothing to do when pending rows are merged but to put the indexes of search in order?';

-- Mostly there is nothing but some pending rows, which need no step of their own.
CREATE FUNCTION profiles._refresh_pending(kind text, started_at timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rows constant integer := 100000;
    n bigint := profiles._merge_rows(kind, rows, profiles._limit());
    more boolean := n >= rows OR NOT profiles._is_settled(kind);
BEGIN
    IF NOT more THEN
        PERFORM profiles._order_search(kind);
    END IF;
    UPDATE profiles.upkeep u
    SET phase = CASE WHEN more THEN 'merge' ELSE 'done' END, done = n, total = n, position = '', started_at = _refresh_pending.started_at,
        noticed_at = _refresh_pending.started_at, refreshed_at = CASE WHEN more THEN u.refreshed_at ELSE _refresh_pending.started_at END
    WHERE u.kind = _refresh_pending.kind;
    IF NOT more THEN
        PERFORM profiles._shrink_packed(kind);
    END IF;
    RETURN more;
END
$$;
COMMENT ON FUNCTION profiles._refresh_pending(text, timestamptz) IS 'Internal: the step of a refresh for which there are only pending rows. Returns whether more is to do.';

CREATE FUNCTION profiles._refresh_step(kind text, first boolean, since timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    locked_at timestamptz := profiles._lock_sources();
    noted boolean;
    c record;
    hint text;
BEGIN
    IF first AND since IS NULL AND profiles._parts_are_recorded(true) AND profiles._only_pending(kind) THEN
        RETURN profiles._refresh_pending(kind, locked_at);
    END IF;
    noted := profiles._note_parts(first, locked_at);
    IF NOT first THEN
        IF profiles._fold_part(kind) THEN
            RETURN true;
        END IF;
        RETURN profiles._upkeep_step(kind);
    END IF;

    PERFORM profiles._check_kind(kind);
    PERFORM profiles._keep_events();
    IF since IS NOT NULL THEN
        FOR c IN
            SELECT s.id, s.source FROM profiles.source_config s WHERE to_regclass(profiles._source_view(s.id)) IS NOT NULL ORDER BY s.id
        LOOP
            BEGIN
                PERFORM profiles._fold_since(c.id, kind, since);
                DELETE FROM profiles.latest_failure f WHERE f.source_id = c.id AND f.kind = _refresh_step.kind;
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
                IF profiles._ends_call(sqlstate) THEN
                    RAISE;
                END IF;
                -- nothing is lost: who asks again for the same time gets it
                INSERT INTO profiles.latest_failure AS f (source_id, kind, sqlstate, message) VALUES (c.id, kind, sqlstate, sqlerrm)
                ON CONFLICT ON CONSTRAINT latest_failure_pkey DO UPDATE
                SET failed_at = EXCLUDED.failed_at, sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message;
                RAISE WARNING 'could not fold the latest events of source %: %', c.source, sqlerrm USING
                    ERRCODE = sqlstate,
                    HINT = coalesce(nullif(hint, '') || ' ', '') || format('When that is mended, CALL profiles.refresh(since => %L).', since);
            END;
        END LOOP;
    END IF;
    IF EXISTS (SELECT FROM profiles.due d WHERE d.kind = _refresh_step.kind) THEN
        PERFORM profiles._rebuild_begin(kind);
    ELSE
        -- DROP TABLE ... CASCADE takes the view along, and nobody tells us
        FOR c IN
            SELECT s.id FROM profiles.source_config s
            WHERE to_regclass(profiles._source_view(s.id)) IS NULL
              AND NOT EXISTS (SELECT FROM profiles.source_failure f WHERE f.source_id = s.id AND f.kind = _refresh_step.kind)
            ORDER BY s.id
        LOOP
            BEGIN
                PERFORM profiles._check_source_is_there(c.id);
            EXCEPTION WHEN undefined_table THEN
                GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
                PERFORM profiles._note_failure(c.id, kind, sqlstate, sqlerrm, hint);
            END;
        END LOOP;
        PERFORM profiles._warn_of_failure(f) FROM profiles.source_failure f
        WHERE f.kind = _refresh_step.kind AND f.failed_at < now() ORDER BY f.source_id;
        INSERT INTO profiles.upkeep AS u (kind, phase, started_at, noticed_at)
        VALUES (kind, 'merge', clock_timestamp(), clock_timestamp())
        ON CONFLICT ON CONSTRAINT upkeep_pkey DO UPDATE
        SET phase = 'merge', done = 0, total = 0, position = '', started_at = EXCLUDED.started_at, noticed_at = EXCLUDED.noticed_at;
        -- Mostly there is nothing but some pending rows, which need no step of their
        -- own. What was noted is to be committed first, what takes long is to be seen.
        IF NOT noted AND since IS NULL AND NOT profiles._has_marks(kind)
           AND NOT EXISTS (SELECT FROM profiles.source_part p WHERE NOT p.folded AND p.kind = _refresh_step.kind) THEN
            RETURN profiles._upkeep_step(kind, true);
        END IF;
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._refresh_step(text, boolean, timestamptz) IS 'Internal: one step of refresh.';

CREATE PROCEDURE profiles.rebuild(kind text DEFAULT NULL)
    AS 'MODULE_PATHNAME', 'profiles_run_rebuild' LANGUAGE C;
COMMENT ON PROCEDURE profiles.rebuild(text) IS 'Folds all events of all sources into the profiles of a kind, user or account, or of both (NULL). It commits in batches, readers see a profile''s old state until it is rewritten, and only changed profiles are written; profiles.progress shows how far it is. Another upkeep of the same kind is waited for. In a transaction block it is one transaction, with a NOTICE. If it fails or is interrupted, profiles are in their old or new state; the next refresh or rebuild completes it. A source that can''t be folded is left out, with a WARNING: what profiles have of it stays, and profiles.status says why.';

CREATE PROCEDURE profiles.refresh(kind text DEFAULT NULL, since timestamptz DEFAULT NULL)
    AS 'MODULE_PATHNAME', 'profiles_run_refresh' LANGUAGE C;
COMMENT ON PROCEDURE profiles.refresh(text, timestamptz) IS 'Brings the profiles of a kind, or of both (NULL), up to date: merges what was captured, computes anew what changed, notices partitions that came or went, rebuilds where that is due. since: also folds again all events from this time on, for sources that are not captured; overlap is harmless; one where that fails is shown by profiles.status, with a WARNING, until it is done or a rebuild is. It commits in batches. If another session is at it already, it says so and returns. In a transaction block it is one transaction, with a NOTICE.';
