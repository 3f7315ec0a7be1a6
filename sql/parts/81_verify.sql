-- Verify: stored profiles against a fold from scratch.

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
