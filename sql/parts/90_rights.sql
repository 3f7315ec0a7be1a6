-- Rights: pure functions and the names of countries are for everybody; so are
-- functions that only read, with the caller's rights. All else is for the
-- extension's owner, who grants it on. A role that adds a source makes
-- its triggers, so it must be able to name their function, which does nothing on
-- other tables.

GRANT USAGE ON SCHEMA profiles TO PUBLIC;
GRANT SELECT ON profiles.country TO PUBLIC;

DO $$
DECLARE
    f record;
BEGIN
    FOR f IN
        SELECT p.oid::regprocedure AS signature, p.proname
        FROM pg_proc p
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'profiles'
        WHERE p.provolatile <> 'i' AND p.proname NOT IN ('_source_columns', '_source_relation', '_filter', 'capture')
          AND p.proname NOT IN ('_latest_time', '_event_indexes', '_advise_indexes', '_chain_start', '_find_event_indexes', '_indexed_relations',
                                '_facet_column', 'session_events', 'account_users', 'facet')
          AND p.proname NOT IN ('_segment_definition', '_read_segment', '_segment_count', 'matched_keys')
          AND p.proname !~ '^(user|account)_(sessions|pages|actions|frustrations)$'
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', f.signature);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s%s', f.signature, $own$@extowner@$own$,
                       CASE WHEN f.proname LIKE '\_%' THEN '' ELSE ' WITH GRANT OPTION' END);
    END LOOP;
END
$$;
