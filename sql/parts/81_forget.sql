-- Forget: erases what is stored of a subject, and refuses its events if that is asked for.

-- Capture computes the same.
CREATE FUNCTION profiles._key_hash(key text) RETURNS bytea
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
    RETURN sha256(convert_to(key, getdatabaseencoding()));
COMMENT ON FUNCTION profiles._key_hash(text) IS 'Internal: how the table forgotten knows a key.';

CREATE FUNCTION profiles._is_example(example text, key text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_is_example' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._is_example(text, text) IS 'Internal: may an event left out that is shown so be one of this key?';

CREATE FUNCTION profiles._blocked_key(key text) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_blocked_key' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._blocked_key(text) IS 'Internal: what stands for a key in the table blocked: of one that is too long for a profile the beginning.';

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
        INSERT INTO profiles.blocked (kind, key) VALUES (kind, profiles._blocked_key(key)) ON CONFLICT DO NOTHING;
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
    DELETE FROM profiles.blocked b WHERE b.kind = _unblock.kind AND b.key = profiles._blocked_key(_unblock.key);
    IF NOT FOUND THEN
        RAISE undefined_object USING
            MESSAGE = format('%s "%s" is not blocked', kind, key),
            HINT = 'profiles.blocked has those that are.';
    END IF;
    -- the next refresh computes it anew from its events
    EXECUTE format('INSERT INTO profiles.%I (source_id, key, events) VALUES (0, $1, 0)', kind || '_pending') USING profiles._blocked_key(key);
END
$$;
COMMENT ON FUNCTION profiles._unblock(oid, text, text) IS 'Internal: unblock.';

CREATE FUNCTION profiles.unblock(kind text, key text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.unblock(text, text) IS 'Lets events of a blocked subject make a profile again; the next refresh computes it from the events that are there.';
