-- Indexes on stored profiles, for list pages.

-- The column of the storage table that is meant: a column of users or accounts,
-- or an attribute, which means its last value.
CREATE FUNCTION profiles._index_column(kind text, attribute text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage regclass;
    result text;
BEGIN
    PERFORM profiles._check_kind(kind);
    storage := format('profiles.%I', profiles._storage(kind))::regclass;
    -- a custom attribute is stored once it is indexed
    SELECT found.name INTO result
    FROM (SELECT CASE WHEN a.attname = attribute THEN 1 ELSE 3 END AS rank, a.attname::text AS name
          FROM pg_attribute a
          WHERE a.attrelid = storage AND a.attnum > 0 AND NOT a.attisdropped AND (a.attgenerated = 's' OR a.attname = 'key') AND a.attname <> 'last_seen'
            AND (a.attname = attribute
                 OR ((a.attname LIKE 'last%' OR a.attname IN (kind || '_name', kind || '_email'))
                     AND profiles._column_attribute(storage, a.attname) = attribute))
          UNION ALL
          SELECT 2, c.attribute FROM profiles.attribute_config c
          WHERE c.kind = _index_column.kind AND c.attribute = _index_column.attribute) AS found
    ORDER BY found.rank LIMIT 1;
    IF result IS NULL THEN
        RAISE undefined_column USING
            MESSAGE = format('"%s" is not a stored column of profiles.%s that can be indexed', attribute, profiles._relation(kind)),
            HINT = format('Columns are: %s.',
                          (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
                           WHERE a.attrelid = storage AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's' AND a.attname <> 'last_seen') ||
                          coalesce((SELECT ', ' || string_agg(c.attribute, ', ' ORDER BY c.import_id, c.position) FROM profiles.attribute_config c
                                    WHERE c.kind = _index_column.kind), ''));
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION profiles._index_column(text, text) IS 'Internal: the stored column that an attribute to be indexed means.';

-- The index over a column and last_seen, if there is one.
CREATE FUNCTION profiles._find_index(kind text, column_name text) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT i.indexrelid::regclass
    FROM pg_index i
    JOIN pg_attribute c ON c.attrelid = i.indrelid AND c.attnum = i.indkey[0]
    JOIN pg_attribute l ON l.attrelid = i.indrelid AND l.attnum = i.indkey[1]
    WHERE i.indrelid = to_regclass('profiles.' || profiles._storage(kind))
      AND i.indnatts = 2 AND c.attname = column_name AND l.attname = 'last_seen'
      AND i.indexprs IS NULL AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) LIKE '%OPERATOR(profiles.<#)%')
    ORDER BY i.indexrelid LIMIT 1;
END;
COMMENT ON FUNCTION profiles._find_index(text, text) IS 'Internal: the index over a column and last_seen.';

CREATE FUNCTION profiles._index_profiles(caller oid, kind text, attribute text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    column_name text := profiles._index_column(kind, attribute);
    found regclass := profiles._find_index(kind, column_name);
    to_be_stored boolean := EXISTS (SELECT FROM profiles.attribute_config c
                                    WHERE c.kind = _index_profiles.kind AND c.attribute = column_name AND NOT c.stored);
    is_text boolean := EXISTS (SELECT FROM pg_attribute a
                               WHERE a.attrelid = format('profiles.%I', profiles._storage(kind))::regclass
                                 AND a.attname = column_name AND a.atttypid = 'text'::regtype);
BEGIN
    IF to_be_stored THEN
        PERFORM profiles._store_attribute(kind, column_name);
    END IF;
    IF found IS NULL THEN
        PERFORM profiles._ddl(format('CREATE INDEX ON profiles.%I (%I, last_seen DESC)', profiles._storage(kind), column_name)
            || CASE WHEN is_text THEN format(' WHERE %s OR %I IS NULL', profiles._is_indexable(quote_ident(column_name)), column_name) ELSE '' END);
        found := profiles._find_index(kind, column_name);
    END IF;
    -- what readers wait for comes last
    IF to_be_stored THEN
        PERFORM profiles._lock_relations(profiles._kind_views(kind), briefly => true);
        PERFORM profiles._replace_view(kind);
    END IF;
    RAISE NOTICE '% takes %, and one more index entry whenever a profile is written',
                 found, pg_size_pretty(pg_relation_size(found))
        USING HINT = format('It serves WHERE %I = ... ORDER BY last_seen DESC LIMIT 50. Undo: SELECT profiles.unindex_profiles(%L, %L).',
                            column_name, kind, column_name);
    RETURN found::text;
END
$$;
COMMENT ON FUNCTION profiles._index_profiles(oid, text, text) IS 'Internal: index_profiles.';

CREATE FUNCTION profiles.index_profiles(kind text, attribute text) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.index_profiles(text, text) IS 'Makes the index that serves WHERE attribute = ... ORDER BY last_seen DESC LIMIT n on users or accounts, and returns its name; a NOTICE says what it costs. attribute: a column of the relation, or an attribute such as geo.country, which means its last value. Texts of 2,000 bytes and more are not in it, and found without. A custom attribute is copied beside the profiles for that, and kept there up to date. Readers go on meanwhile; what writes profiles (refresh, capture immediate) and a sync of the attribute wait. Undo: unindex_profiles.';

CREATE FUNCTION profiles._unindex_profiles(caller oid, kind text, attribute text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found regclass := profiles._find_index(kind, profiles._index_column(kind, attribute));
BEGIN
    IF found IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = format('there is no index on "%s" of profiles.%s', attribute, profiles._relation(kind)),
            HINT = 'profiles.index_profiles() makes one.';
    END IF;
    PERFORM profiles._ddl(format('DROP INDEX %s', found));
    PERFORM profiles._unstore_attribute(c.kind, c.attribute)
    FROM profiles.attribute_config c
    WHERE c.kind = _unindex_profiles.kind AND c.attribute = profiles._index_column(_unindex_profiles.kind, _unindex_profiles.attribute) AND c.stored;
END
$$;
COMMENT ON FUNCTION profiles._unindex_profiles(oid, text, text) IS 'Internal: unindex_profiles.';

CREATE FUNCTION profiles.unindex_profiles(kind text, attribute text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.unindex_profiles(text, text) IS 'Drops the index that index_profiles made for an attribute.';
