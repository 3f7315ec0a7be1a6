-- Sources that can't be folded: a function that is gone, a right that was revoked, a
-- server that does not answer, an expression that its adder made to fail. They are
-- left out, and the others go on. What this means for profiles is in doc/design.md.

-- Deadlocks, a lack of resources, an operator who intervenes: these are nobody's, and end the call.
CREATE FUNCTION profiles._ends_call(state text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN left(state, 2) IN ('40', '53', '57');
COMMENT ON FUNCTION profiles._ends_call(text) IS 'Internal: is an error with this SQLSTATE one that is no source''s?';

CREATE FUNCTION profiles._was_folded(source_id integer, kind text) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT NOT EXISTS (SELECT FROM profiles.due d
                       WHERE d.source_id = _was_folded.source_id AND d.kind = _was_folded.kind AND d.reason = 'added');
END;
COMMENT ON FUNCTION profiles._was_folded(integer, text) IS 'Internal: has a source been folded as a whole since it was added?';

-- Is there a source left out that has a part in stored profiles? Which part is not
-- known, so nothing may be taken from them.
CREATE FUNCTION profiles._takes_nothing(kind text) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM profiles.source_failure f WHERE f.kind = _takes_nothing.kind AND f.was_folded);
END;
COMMENT ON FUNCTION profiles._takes_nothing(text) IS 'Internal: must all that stored profiles have stay, since a source that has a part in them is left out?';

CREATE FUNCTION profiles._warn_of_failure(failure profiles.source_failure) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE WARNING 'source % is left out: %', (SELECT c.source FROM profiles.source_config c WHERE c.id = failure.source_id), failure.message
        USING ERRCODE = failure.sqlstate,
              DETAIL = CASE WHEN failure.was_folded THEN 'What profiles have of it stays. Until it is mended, nothing is taken from profiles.'
                            ELSE 'It was never folded.' END,
              HINT = coalesce(failure.hint || ' ', '') || 'When that is mended, CALL profiles.rebuild().';
END
$$;
COMMENT ON FUNCTION profiles._warn_of_failure(profiles.source_failure) IS 'Internal: says that a source is left out.';

CREATE FUNCTION profiles._note_failure(source_id integer, kind text, state text, message text, hint text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    noted profiles.source_failure;
BEGIN
    INSERT INTO profiles.source_failure AS f (source_id, kind, sqlstate, message, hint, was_folded)
    VALUES (source_id, kind, state, message, nullif(hint, ''), profiles._was_folded(source_id, kind))
    ON CONFLICT ON CONSTRAINT source_failure_pkey DO UPDATE
    SET failed_at = EXCLUDED.failed_at, sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message, hint = EXCLUDED.hint
    RETURNING f.* INTO noted;
    PERFORM profiles._warn_of_failure(noted);
END
$$;
COMMENT ON FUNCTION profiles._note_failure(integer, text, text, text, text) IS 'Internal: leaves a source out from now on, and says so.';

-- In the snapshot of the calling query, hence STABLE.
CREATE FUNCTION profiles._fold_softly(source_id integer, kind text, keys text[],
                                      OUT key text, OUT left_out text, OUT profile profiles.profile,
                                      OUT events bigint, OUT example text, OUT failure jsonb)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view regclass := to_regclass(profiles._source_view(source_id));
    state text;
    message text;
    hint text;
BEGIN
    IF cardinality(keys) = 0
       OR EXISTS (SELECT FROM profiles.source_failure f WHERE f.source_id = _fold_softly.source_id AND f.kind = _fold_softly.kind) THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM profiles._check_source_is_there(source_id);
        RETURN QUERY SELECT f.*, NULL::jsonb FROM profiles._fold(view, kind, keys => keys) f;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
        IF profiles._ends_call(state) THEN
            RAISE;
        END IF;
        failure := jsonb_build_object('source_id', source_id, 'state', state, 'message', message, 'hint', hint);
        RETURN NEXT;
    END;
END
$$;
COMMENT ON FUNCTION profiles._fold_softly(integer, text, text[]) IS 'Internal: folds the events of some keys of a source that is not left out; if it fails, the one row says how.';

CREATE FUNCTION profiles._check_source_is_there(source_id integer) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source_name text := (SELECT c.source FROM profiles.source_config c WHERE c.id = source_id);
BEGIN
    IF to_regclass(profiles._source_view(source_id)) IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = 'its relation is gone',
            HINT = format('Remove the source with profiles.drop_source(%L).', source_name);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_source_is_there(integer) IS 'Internal: an error if the relation of a source is gone.';
