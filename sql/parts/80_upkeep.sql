-- Upkeep: capture, refresh, rebuild, verify, forget. How these can run beside
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

-- partitions

-- Capture computes the same.
CREATE FUNCTION profiles._key_hash(key text) RETURNS bytea
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
    RETURN sha256(convert_to(key, getdatabaseencoding()));
COMMENT ON FUNCTION profiles._key_hash(text) IS 'Internal: how the table forgotten knows a key.';

CREATE FUNCTION profiles._lost_parts(OUT source_id integer, OUT source text, OUT relation text) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH captured AS MATERIALIZED (
        SELECT s.id, s.source, to_regclass(profiles._source_view(s.id)) AS view,
               format('%s\000%s\000%s\000', s.id, s.capture, s.on_change) AS arguments
        FROM profiles.source_config s WHERE s.capture <> 'none'
    ), part AS MATERIALIZED (
        SELECT c.id, c.arguments, t.oid FROM captured c, unnest(profiles._source_part_oids(c.view)) AS t (oid)
    ), made AS MATERIALIZED (
        SELECT g.tgrelid, encode(g.tgargs, 'escape') AS arguments FROM pg_trigger g
        WHERE g.tgname = 'profiles_insert' AND g.tgfoid = 'profiles.capture'::regproc
    )
    SELECT c.id, c.source, l.relation
    FROM captured c
    JOIN (SELECT p.source_id, p.relation FROM profiles.source_part p
          EXCEPT
          SELECT t.id, t.oid::regclass::text FROM part t JOIN made m ON m.tgrelid = t.oid AND m.arguments = t.arguments) l
      ON l.source_id = c.id
    -- of a view that is gone or changed nothing is known
    WHERE profiles._source_relation(c.view) IS NOT NULL;
END;
COMMENT ON FUNCTION profiles._lost_parts() IS 'Internal: recorded tables of captured sources that are no part any more, or others of the same name.';

CREATE FUNCTION profiles._new_parts(OUT source_id integer, OUT source text, OUT relation text) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT s.id, s.source, n.part
    FROM profiles.source_config s, to_regclass(profiles._source_view(s.id)) AS v (view), unnest(profiles._source_parts(v.view)) AS n (part)
    WHERE s.capture <> 'none' AND v.view IS NOT NULL
      AND NOT EXISTS (SELECT FROM profiles.source_part p WHERE p.source_id = s.id AND p.relation = n.part);
END;
COMMENT ON FUNCTION profiles._new_parts() IS 'Internal: tables of captured sources that are not recorded yet.';

CREATE FUNCTION profiles._left_triggers(OUT relation regclass, OUT source text) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT t.tgrelid::regclass, s.source
    FROM pg_trigger t JOIN profiles.source_config s ON s.id::text = split_part(encode(t.tgargs, 'escape'), '\000', 1)
    WHERE t.tgfoid = 'profiles.capture'::regproc AND t.tgname = 'profiles_insert'
      AND NOT EXISTS (SELECT FROM profiles.source_part p WHERE p.source_id = s.id AND p.relation = t.tgrelid::regclass::text);
END;
COMMENT ON FUNCTION profiles._left_triggers() IS 'Internal: tables that are no part of a source any more, but have its triggers.';

CREATE FUNCTION profiles._parts_are_recorded(install boolean) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_parts_are_recorded' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._parts_are_recorded(boolean) IS 'Internal: are there no rows of _lost_parts, and, if install, none of _new_parts and _left_triggers? Mostly so, and this says it in less time.';

-- Compares the tables of captured sources with those recorded, by name and by
-- their triggers: what vanished follows on_change, new ones get triggers. Every
-- step that folds looks for the former, while it holds the locks: what is detached
-- for the time of a fold would be missed. New ones can wait for the next run, and
-- do if others are at them; so can triggers on what is no part any more. Returns
-- whether there was anything to note.
CREATE FUNCTION profiles._note_parts(install boolean, locked_at timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    until timestamptz := locked_at + least(current_setting('deadlock_timeout')::interval * 0.8, interval '2 s');
    r record;
BEGIN
    IF profiles._parts_are_recorded(install) THEN
        RETURN false;
    ELSIF NOT EXISTS (SELECT FROM profiles._lost_parts())
       AND NOT (install AND (EXISTS (SELECT FROM profiles._new_parts()) OR EXISTS (SELECT FROM profiles._left_triggers()))) THEN
        RETURN false;
    END IF;
    -- Who changes records of both kinds does so after the other kind's upkeep has.
    -- References to sources go on.
    PERFORM FROM profiles.source_config s ORDER BY s.id FOR NO KEY UPDATE;
    -- first all that went: a partition may have moved from one source to another
    FOR r IN
        SELECT l.source_id AS id, l.source, l.relation FROM profiles._lost_parts() l ORDER BY 1, 3
    LOOP
        IF profiles._lose_part(r.id, r.relation, until) THEN
            DELETE FROM profiles.source_part p WHERE p.source_id = r.id AND p.relation = r.relation;
        ELSE
            -- it is folded whether it is kept or comes back
            UPDATE profiles.source_part p SET folded = false WHERE p.source_id = r.id AND p.relation = r.relation;
            IF install AND NOT EXISTS (SELECT FROM profiles.source_failure f WHERE f.source_id = r.id) THEN
                RAISE NOTICE 'table % has left source %, but is locked by another transaction', r.relation, r.source
                    USING HINT = 'The next refresh keeps its events, if it is still there then.';
            END IF;
        END IF;
    END LOOP;
    IF NOT install THEN
        RETURN true;
    END IF;
    FOR r IN
        SELECT s.*, to_regclass(profiles._source_view(s.id)) AS view, n.relation AS part
        FROM profiles._new_parts() n JOIN profiles.source_config s ON s.id = n.source_id
        ORDER BY s.id, n.relation
    LOOP
        BEGIN
            IF profiles._lock_until(format('SELECT profiles._install_triggers(%L, %s, %L, %L, %s)', r.view, r.id, r.capture, r.on_change, profiles._table(r.part)::oid), until) THEN
                INSERT INTO profiles.source_part (source_id, relation, kind, folded)
                SELECT r.id, r.part, k.kind, false FROM profiles._source_kind k WHERE k.source_id = r.id;
            ELSE
                RAISE NOTICE 'table % of source % is locked by another transaction', r.part, r.source
                    USING HINT = 'It is not captured yet. The next refresh sees to that, and folds its events.';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            IF profiles._ends_call(sqlstate) THEN
                RAISE;
            END IF;
            RAISE WARNING 'table % of source % can''t be captured: %', r.part, r.source, sqlerrm USING
                ERRCODE = sqlstate,
                HINT = format('Role %I, which added the source, needs the TRIGGER privilege on it. The next refresh tries again.',
                              (SELECT pg_get_userbyid(v.relowner) FROM pg_class v WHERE v.oid = r.view));
        END;
    END LOOP;
    FOR r IN SELECT t.* FROM profiles._left_triggers() t ORDER BY 1 LOOP
        IF NOT profiles._lock_until(format('SELECT profiles._remove_triggers(%s)', r.relation::oid), until) THEN
            RAISE NOTICE 'table % has left source %, but is locked by another transaction', r.relation, r.source
                USING HINT = 'It keeps the triggers of profiles, which do nothing there, until the next refresh.';
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._note_parts(boolean, timestamptz) IS 'Internal: notices partitions that came or went.';

-- A partition went, or is another one of the same name. Under recompute its
-- events are gone; under keep what it had stays, as far as it is there to be
-- read: in kept, and pending, since a rebuild may have taken it from profiles.
-- Returns false if it can't be read by then, or the source is left out.
CREATE FUNCTION profiles._lose_part(source_id integer, part text, until timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c profiles.source_config := (SELECT s FROM profiles.source_config s WHERE s.id = _lose_part.source_id);
    view regclass := to_regclass(profiles._source_view(c.id));
    k record;
    hint text;
BEGIN
    IF c.on_change = 'keep' AND profiles._table(part) IS NOT NULL
       AND (EXISTS (SELECT FROM profiles.source_failure f WHERE f.source_id = c.id)
            OR NOT profiles._lock_until(format('SELECT profiles._lock_tables(ARRAY[%s]::regclass[])', profiles._table(part)::oid), until)) THEN
        RETURN false;
    END IF;
    FOR k IN SELECT s.kind FROM profiles._source_kind s WHERE s.source_id = c.id LOOP
        IF c.on_change = 'recompute' THEN
            INSERT INTO profiles.due (kind, source_id, reason) VALUES (k.kind, c.id, 'partition gone');
        ELSIF profiles._table(part) IS NOT NULL THEN
            BEGIN
                EXECUTE format($query$
                    WITH folded AS MATERIALIZED (
                        SELECT f.key, CASE WHEN EXISTS (SELECT FROM profiles.blocked b WHERE b.kind = $2 AND b.key = f.key)
                                             OR EXISTS (SELECT FROM profiles.forgotten g WHERE g.source_id = $5 AND g.kind = $2
                                                        AND g.key_hash = profiles._key_hash(f.key))
                                           THEN NULL ELSE f.profile END AS profile
                        FROM profiles._fold($1, $2, relation => profiles._table($3)) f WHERE f.left_out IS NULL
                    ), kept AS (
                        INSERT INTO profiles.kept (kind, key, source, profile)
                        SELECT $2, f.key, $4, f.profile FROM folded f WHERE f.profile IS NOT NULL
                    )
                    -- a mark for who is erased
                    INSERT INTO profiles.%I (source_id, key, profile, events) SELECT $5, f.key, f.profile, 0 FROM folded f
                    $query$, k.kind || '_pending')
                USING view, k.kind, part, c.source, c.id;
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
                IF profiles._ends_call(sqlstate) THEN
                    RAISE;
                END IF;
                PERFORM profiles._note_failure(c.id, k.kind, sqlstate, sqlerrm, hint);
                RETURN false;
            END;
        ELSE
            RAISE WARNING 'partition % of % is gone', part, c.source
                USING DETAIL = 'Stored profiles keep its events until they are computed anew.',
                      HINT = 'Under on_change => ''keep'', detach a partition and CALL profiles.refresh() before you drop it.';
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._lose_part(integer, text, timestamptz) IS 'Internal: follows on_change for a partition that went.';

-- Folds what a new partition had when it was noticed; its triggers are
-- committed by then. Returns whether there was one.
CREATE FUNCTION profiles._fold_part(kind text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p record;
    hint text;
BEGIN
    SELECT s.source_id, s.relation INTO p FROM profiles.source_part s
    WHERE NOT s.folded AND s.kind = _fold_part.kind
      AND NOT EXISTS (SELECT FROM profiles.source_failure f WHERE f.source_id = s.source_id AND f.kind = s.kind)
      -- not one that has left, and could not be kept yet
      AND s.relation = ANY (profiles._source_parts(to_regclass(profiles._source_view(s.source_id))))
    ORDER BY s.source_id, s.relation LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format($query$
        INSERT INTO profiles.%I (source_id, key, left_out, profile, events, example)
        SELECT $1, CASE WHEN b.key IS NULL THEN f.key END, CASE WHEN b.key IS NULL OR f.profile IS NULL THEN f.left_out ELSE 'blocked' END,
               CASE WHEN b.key IS NULL THEN f.profile END, f.events, CASE WHEN b.key IS NULL THEN f.example END
        FROM profiles._fold(to_regclass(profiles._source_view($1)), $2, relation => profiles._table($3)) f
        LEFT JOIN profiles.blocked b ON b.kind = $2 AND b.key = CASE WHEN f.profile IS NULL THEN coalesce(f.example, f.key) ELSE f.key END
        WHERE profiles._table($3) IS NOT NULL
        $query$, kind || '_pending')
    USING p.source_id, kind, p.relation;
    UPDATE profiles.source_part s SET folded = true
    WHERE s.source_id = p.source_id AND s.relation = p.relation AND s.kind = _fold_part.kind;
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    IF profiles._ends_call(sqlstate) THEN
        RAISE;
    END IF;
    PERFORM profiles._note_failure(p.source_id, kind, sqlstate, sqlerrm, hint);
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._fold_part(text) IS 'Internal: folds the events of one new partition into pending.';

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

-- Merges the several rows that a subject may have in kept, once it has grown.
CREATE FUNCTION profiles._compact_kept(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_relation_size('profiles.kept') <= (SELECT 1.5 * u.kept_size + 1048576 FROM profiles.upkeep u WHERE u.kind = _compact_kept.kind) THEN
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

-- rebuild

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
                   '       sum(s.events), min(CASE WHEN s.left_out IS NOT NULL AND b.key IS NULL AND e.key IS NULL THEN left(coalesce(s.example, s.key), 200) END) '
                   'FROM profiles.%I s '
                   'LEFT JOIN profiles.blocked e ON e.kind = $2 AND s.profile IS NULL AND e.key = coalesce(s.example, s.key) '
                   'LEFT JOIN profiles.blocked b ON b.kind = $2 AND b.key = s.key AND s.profile IS NOT NULL '
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
            SELECT f.*, b.key IS NOT NULL AND f.profile IS NOT NULL AS blocked, b.key IS NULL AS may_be_named
            FROM profiles._fold(to_regclass(profiles._source_view($1)), $2, since => $3) f
            LEFT JOIN profiles.blocked b ON b.kind = $2 AND b.key = CASE WHEN f.profile IS NULL THEN coalesce(f.example, f.key) ELSE f.key END
        ), counted AS (
            INSERT INTO profiles.source_count (source_id, kind, reason, events, example, since)
            SELECT $1, $2, r.reason, sum(r.events), min(r.example), nullif($3, '-infinity')
            FROM (SELECT 'folded' AS reason, 0 AS events, NULL AS example
                  UNION ALL
                  SELECT CASE WHEN f.blocked THEN 'blocked' ELSE coalesce(f.left_out, 'folded') END, f.events,
                         CASE WHEN f.left_out IS NOT NULL AND f.may_be_named THEN left(coalesce(f.example, f.key), 200) END
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

-- verify: stored profiles against a fold from scratch

CREATE FUNCTION profiles._verify(caller oid, kind text, sample double precision)
    RETURNS TABLE (key text, stored profiles.profile, expected profiles.profile)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone text;
BEGIN
    PERFORM profiles._check_kind(kind);
    IF sample IS NULL OR NOT sample > 0 OR sample > 1 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('sample %s is out of range', sample),
            HINT = 'It is the share of subjects to verify, greater than 0 and at most 1.';
    END IF;
    PERFORM profiles._lock_sources();
    SELECT c.source INTO gone FROM profiles.source_config c
    WHERE to_regclass(profiles._source_view(c.id)) IS NULL ORDER BY c.id LIMIT 1;
    IF FOUND THEN
        RAISE undefined_table USING
            MESSAGE = format('the relation of source %s is gone', gone),
            DETAIL = 'Without its events nobody can say what is right.',
            HINT = format('Remove the source with profiles.drop_source(%L).', gone);
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH folded AS (
            SELECT f.key, f.profile
            FROM profiles.source_config c
            CROSS JOIN LATERAL profiles._fold(to_regclass(profiles._source_view(c.id)), $1, $2, by_query => true) f
            WHERE f.left_out IS NULL
            UNION ALL
            SELECT k.key, k.profile FROM profiles.kept k
            WHERE k.kind = $1 AND ($2 >= 1 OR (hashtextextended(k.key, 0) & 1048575) < floor($2 * 1048576))
        ), expected AS (
            SELECT f.key, profiles.profile_union_agg(f.profile) AS profile FROM folded f
            WHERE NOT EXISTS (SELECT FROM profiles.blocked b WHERE b.kind = $1 AND b.key = f.key)
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
COMMENT ON FUNCTION profiles.verify(text, double precision) IS 'Folds the events of all sources from scratch and returns the subjects whose stored profile differs: none when all is right and nothing is pending. stored is NULL for one that is missing, expected for one that should not be there. sample: share of the subjects, chosen by a hash of the key, to be verified.';

-- forget

-- Of a long key an example shows how it begins: 200 bytes or letters.
CREATE FUNCTION profiles._is_example(example text, key text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN example = key OR (octet_length(example) > 196 AND starts_with(key, example));
COMMENT ON FUNCTION profiles._is_example(text, text) IS 'Internal: may an event left out that is shown so be one of this key?';

CREATE FUNCTION profiles._forget(caller oid, kind text, key text, block boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place text;
BEGIN
    PERFORM profiles._check_kind(kind);
    IF key IS NULL OR block IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'key and block must not be NULL';
    END IF;
    PERFORM profiles._lock_kind(kind);
    -- Who has written to a source that keeps, and not committed yet, may have kept
    -- something; whoever comes later sees what is noted here.
    PERFORM profiles._lock_relations(ARRAY(SELECT profiles._source_view(c.id) FROM profiles.source_config c WHERE c.on_change = 'keep' ORDER BY c.id));
    PERFORM profiles._forget_attributes(kind, key, block);
    FOREACH place IN ARRAY ARRAY[profiles._storage(kind), kind || '_pending', kind || '_staging', kind || '_search_due'] LOOP
        IF to_regclass(format('profiles.%I', place)) IS NOT NULL THEN
            EXECUTE format('DELETE FROM profiles.%I p WHERE p.key = $1', place) USING key;
        END IF;
    END LOOP;
    EXECUTE format($query$
        WITH packed AS (
            DELETE FROM profiles.%2$I p WHERE EXISTS (SELECT FROM profiles._unpack(p.profiles) u WHERE u.key = $1)
            RETURNING p.source_id, p.profiles, p.captured_at
        )
        INSERT INTO profiles.%1$I (source_id, key, profile, events, captured_at)
        SELECT p.source_id, u.key, u.profile, u.events, p.captured_at
        FROM packed p CROSS JOIN LATERAL profiles._unpack(p.profiles) u WHERE u.key <> $1
        $query$, kind || '_pending', kind || '_packed')
    USING key;
    PERFORM profiles._prune_words(kind);
    EXECUTE format('UPDATE profiles.%I p SET example = NULL WHERE profiles._is_example(p.example, $1)', kind || '_pending') USING key;
    DELETE FROM profiles.kept k WHERE k.kind = _forget.kind AND k.key = _forget.key;
    UPDATE profiles.source_count n SET example = NULL WHERE n.kind = _forget.kind AND profiles._is_example(n.example, _forget.key);
    IF block THEN
        INSERT INTO profiles.blocked (kind, key) VALUES (kind, key) ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO profiles.forgotten (source_id, kind, key_hash)
        SELECT c.id, kind, profiles._key_hash(key)
        FROM profiles.source_config c ON CONFLICT DO NOTHING;
        RAISE NOTICE 'events of % "%" would make a profile again when they are folded again', kind, key
            USING HINT = 'Delete them too, or say block => true.';
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._forget(oid, text, text, boolean) IS 'Internal: forget.';

CREATE FUNCTION profiles.forget(kind text, key text, block boolean DEFAULT false) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.forget(text, text, boolean) IS 'Erases all that is stored of a subject: its profile, what is kept and pending, its custom attributes that come by id, e-mail or name. Its events and rows of reference tables are not touched; block => true refuses them from now on, and what syncs would bring by its id; otherwise a rebuild or sync brings them back. When its events go, nothing of them is kept, under on_change keep either. Waits for a running refresh or rebuild, and writers of sources that keep. Undo of block: unblock.';

CREATE FUNCTION profiles._unblock(caller oid, kind text, key text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM profiles._check_kind(kind);
    DELETE FROM profiles.blocked b WHERE b.kind = _unblock.kind AND b.key = _unblock.key;
    IF NOT FOUND THEN
        RAISE undefined_object USING
            MESSAGE = format('%s "%s" is not blocked', kind, key),
            HINT = 'profiles.blocked has those that are.';
    END IF;
    -- the next refresh computes it anew from its events
    EXECUTE format('INSERT INTO profiles.%I (source_id, key, events) VALUES (0, $1, 0)', kind || '_pending') USING key;
END
$$;
COMMENT ON FUNCTION profiles._unblock(oid, text, text) IS 'Internal: unblock.';

CREATE FUNCTION profiles.unblock(kind text, key text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.unblock(text, text) IS 'Lets events of a blocked subject make a profile again; the next refresh computes it from the events that are there.';
