-- Partitions of captured sources: those that came, and those that went.

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

CREATE FUNCTION profiles._foreign_parts(OUT source_id integer, OUT relation regclass) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT s.id, f.relation
    FROM profiles.source_config s, profiles._foreign_part(profiles._source_relation(to_regclass(profiles._source_view(s.id)))) AS f (relation)
    WHERE s.capture <> 'none' AND f.relation IS NOT NULL;
END;
COMMENT ON FUNCTION profiles._foreign_parts() IS 'Internal: captured sources that can''t be captured any more, with a foreign table that has become a part of each.';

CREATE FUNCTION profiles._left_triggers(OUT relation regclass, OUT source text, OUT captured boolean) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT t.tgrelid::regclass, s.source, s.capture <> 'none'
    FROM pg_trigger t JOIN profiles.source_config s ON s.id::text = split_part(encode(t.tgargs, 'escape'), '\000', 1)
    WHERE t.tgfoid = 'profiles.capture'::regproc AND t.tgname = 'profiles_insert' AND t.tgparentid = 0
      AND NOT EXISTS (SELECT FROM profiles.source_part p WHERE p.source_id = s.id AND p.relation = t.tgrelid::regclass::text);
END;
COMMENT ON FUNCTION profiles._left_triggers() IS 'Internal: tables that are no part of a source any more, or of one that is not captured any more, but have its triggers.';

CREATE FUNCTION profiles._parts_are_recorded(install boolean) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_parts_are_recorded' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._parts_are_recorded(boolean) IS 'Internal: are there no rows of _lost_parts, and, if install, none of _new_parts, _foreign_parts and _left_triggers? Mostly so, and this says it in less time.';

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
    hint text;
BEGIN
    IF profiles._parts_are_recorded(install) THEN
        RETURN false;
    ELSIF NOT EXISTS (SELECT FROM profiles._lost_parts())
       AND NOT (install AND (EXISTS (SELECT FROM profiles._new_parts()) OR EXISTS (SELECT FROM profiles._foreign_parts())
                             OR EXISTS (SELECT FROM profiles._left_triggers()))) THEN
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
    -- writers fail now: the triggers go, below
    FOR r IN
        SELECT f.source_id AS id, f.relation FROM profiles._foreign_parts() f
        -- not before what has left is kept
        WHERE NOT EXISTS (SELECT FROM profiles._lost_parts() l WHERE l.source_id = f.source_id)
        ORDER BY 1
    LOOP
        PERFORM profiles._leave_uncaptured(r.id, r.relation);
    END LOOP;
    FOR r IN
        SELECT s.*, to_regclass(profiles._source_view(s.id)) AS view, n.relation AS part
        FROM profiles._new_parts() n JOIN profiles.source_config s ON s.id = n.source_id
        ORDER BY s.id, n.relation
    LOOP
        BEGIN
            IF profiles._lock_until(format('SELECT profiles._install_triggers(%L, %s, %L, %L, %s)', r.view, r.id, r.capture, r.on_change, profiles._table(r.part)::oid), until) THEN
                PERFORM profiles._check_unshared(r.id, ARRAY[profiles._table(r.part)]);
                INSERT INTO profiles.source_part (source_id, relation, kind, folded)
                SELECT r.id, r.part, k.kind, false FROM profiles._source_kind k WHERE k.source_id = r.id;
            ELSE
                RAISE NOTICE 'table % of source % is locked by another transaction', r.part, r.source
                    USING HINT = 'It is not captured yet. The next refresh sees to that, and folds its events.';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            IF profiles._ends_call(sqlstate) THEN
                RAISE;
            END IF;
            RAISE WARNING 'table % of source % can''t be captured: %', r.part, r.source, sqlerrm USING
                ERRCODE = sqlstate,
                HINT = coalesce(nullif(hint, ''), format('Role %I, which added the source, needs the TRIGGER privilege on it. The next refresh tries again.',
                              (SELECT pg_get_userbyid(v.relowner) FROM pg_class v WHERE v.oid = r.view)));
        END;
    END LOOP;
    FOR r IN SELECT t.* FROM profiles._left_triggers() t ORDER BY 1 LOOP
        IF NOT profiles._lock_until(format('SELECT profiles._remove_triggers(%s)', r.relation::oid), until) THEN
            IF r.captured THEN
                RAISE NOTICE 'table % has left source %, but is locked by another transaction', r.relation, r.source
                    USING HINT = 'It keeps the triggers of profiles, which do nothing there, until the next refresh.';
            ELSE
                RAISE NOTICE 'table % of source % is locked by another transaction', r.relation, r.source
                    USING HINT = 'It keeps the triggers of profiles until the next refresh.';
            END IF;
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._note_parts(boolean, timestamptz) IS 'Internal: notices partitions that came or went.';

-- A foreign table has become a part of a captured source. What it has, and what came meanwhile
-- without a trigger, a rebuild folds.
CREATE FUNCTION profiles._leave_uncaptured(source_id integer, foreign_part regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c profiles.source_config := (SELECT s FROM profiles.source_config s WHERE s.id = _leave_uncaptured.source_id);
BEGIN
    UPDATE profiles.source_config s SET capture = 'none', on_change = 'recompute' WHERE s.id = c.id;
    DELETE FROM profiles.source_part p WHERE p.source_id = c.id;
    PERFORM profiles._mark_due(c, 'foreign table');
    RAISE WARNING 'source % has the foreign table %, so its events are not captured any more', c.source, foreign_part USING
        DETAIL = 'With triggers that collect rows, statements on the parent of a foreign table fail.'
                 || CASE c.on_change WHEN 'keep' THEN ' What is deleted from now on is not kept.' ELSE '' END,
        HINT = format('CALL profiles.refresh(since => ...) folds new ones. Without that table, profiles.alter_source(%L, capture => %L, on_change => %L) captures them again.',
                      c.source, c.capture, c.on_change);
END
$$;
COMMENT ON FUNCTION profiles._leave_uncaptured(integer, regclass) IS 'Internal: a source is not captured any more, for a foreign table that has become a part of it.';

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
        SELECT $1, CASE WHEN b.key IS NULL THEN f.key END, CASE WHEN b.key IS NULL THEN f.left_out ELSE 'blocked' END,
               CASE WHEN b.key IS NULL THEN f.profile END, f.events, f.example
        FROM profiles._fold(to_regclass(profiles._source_view($1)), $2, relation => profiles._table($3)) f
        LEFT JOIN profiles.blocked b ON b.kind = $2 AND b.key = f.key
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
