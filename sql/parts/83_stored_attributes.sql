-- Indexed attributes. An index over an attribute and last_seen needs both in one
-- table, so what is indexed is copied beside the profiles. Two ways lead to the
-- copy: profiles that are new or get another key take it from the import's table,
-- and changes of that table are passed on. Neither may miss the other: who writes
-- profiles first takes a lock on the import's table that who passes on waits for.

CREATE FUNCTION profiles._lock_import() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('LOCK TABLE %s IN ROW EXCLUSIVE MODE', profiles._import_table(TG_ARGV[0]::integer));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION profiles._lock_import() IS 'Internal: trigger before statements that write profiles; keeps changes of an import''s values out until the end of the transaction.';

CREATE FUNCTION profiles._stored_list(import_id integer, pattern text, separator text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT string_agg(replace(pattern, '%s', quote_ident(a.attribute)), separator ORDER BY a.position)
    FROM profiles.attribute_config a WHERE a.import_id = _stored_list.import_id AND a.stored;
END;
COMMENT ON FUNCTION profiles._stored_list(integer, text, text) IS 'Internal: a list of the attributes of an import that are stored beside the profiles.';

-- A dump has the values and their copies; neither follows from the other while
-- tables are restored one after the other. Nobody else copies into our tables.
CREATE FUNCTION profiles._is_restore(import_id integer) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_trigger_depth() = 1 AND current_query() ~* '^\s*copy\s'::text
           OR NOT EXISTS (SELECT FROM profiles.attribute_config c WHERE c.import_id = _is_restore.import_id AND c.stored);
END;
COMMENT ON FUNCTION profiles._is_restore(integer) IS 'Internal: are tables being restored, so that triggers have nothing to do?';

CREATE FUNCTION profiles._fill_stored() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    import profiles.import_config := (SELECT i FROM profiles.import_config i WHERE i.id = TG_ARGV[0]::integer);
    key text := profiles._profile_key(import.kind, import.profile_key);
    changed boolean := true;
BEGIN
    IF profiles._is_restore(TG_ARGV[0]::integer) THEN
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM new_rows p JOIN old_rows o ON o.key = p.key WHERE %s IS DISTINCT FROM %s)',
                       key, profiles._profile_key(import.kind, import.profile_key, 'o.')) INTO changed;
    END IF;
    IF changed THEN
        EXECUTE format('UPDATE profiles.%I t SET %s FROM new_rows p LEFT JOIN %s a ON a.key = %s WHERE t.key = p.key AND (%s)',
                       profiles._storage(import.kind), profiles._stored_list(import.id, '%s = a.%s', ', '), profiles._import_table(import.id), key,
                       profiles._stored_list(import.id, 't.%s IS DISTINCT FROM a.%s', ' OR '));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION profiles._fill_stored() IS 'Internal: trigger on stored profiles; gives those that are new, or have another key, their stored attributes.';

CREATE FUNCTION profiles._copy_stored() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    -- for a transaction that writes profiles; then the sync has failed, and is tried again
    SET lock_timeout = '1min'
AS $$
DECLARE
    import profiles.import_config := (SELECT i FROM profiles.import_config i WHERE i.id = TG_ARGV[0]::integer);
BEGIN
    IF profiles._is_restore(TG_ARGV[0]::integer) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', profiles._import_table(import.id));
    EXECUTE format('UPDATE profiles.%I p SET %s FROM %s c LEFT JOIN %s a ON a.key = c.key WHERE %s AND (%s)',
                   profiles._storage(import.kind), profiles._stored_list(import.id, '%s = a.%s', ', '),
                   CASE TG_OP WHEN 'DELETE' THEN 'old_rows' ELSE 'new_rows' END, profiles._import_table(import.id),
                   profiles._has_key(import.kind, import.profile_key, 'c.key'),
                   profiles._stored_list(import.id, 'p.%s IS DISTINCT FROM a.%s', ' OR '));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION profiles._copy_stored() IS 'Internal: trigger on the table of an import; passes changes on to the attributes that are stored beside the profiles.';

-- The columns for copies are there from the beginning, empty, and stay: adding one
-- takes a lock that readers wait for, and is done while they have to anyway.
CREATE FUNCTION profiles._add_copies(import profiles.import_config) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage text := format('profiles.%I', profiles._storage(import.kind));
    columns text;
    c record;
BEGIN
    SELECT string_agg(format('ADD COLUMN %I %s', a.attname, format_type(a.atttypid, NULL)), ', ' ORDER BY a.attnum) INTO columns
    FROM pg_attribute a
    WHERE a.attrelid = profiles._import_table(import.id)::regclass AND a.attnum > 1 AND NOT a.attisdropped
      AND NOT EXISTS (SELECT FROM pg_attribute s WHERE s.attrelid = storage::regclass AND s.attname = a.attname AND NOT s.attisdropped);
    IF columns IS NOT NULL THEN
        PERFORM profiles._lock_relations(profiles._kind_views(import.kind) || storage);
        PERFORM profiles._ddl(format('ALTER TABLE %s %s', storage, columns));
    END IF;
    FOR c IN SELECT a.attribute FROM profiles.attribute_config a WHERE a.import_id = import.id LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', storage, c.attribute,
                       'Copy of the custom attribute while it is indexed, else empty.');
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._add_copies(profiles.import_config) IS 'Internal: gives the table of profiles the columns in which attributes of an import are copied once they are indexed.';

-- Stores an attribute beside the profiles; readers go on, and read it where it was.
CREATE FUNCTION profiles._store_attribute(kind text, attribute text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage text := format('profiles.%I', profiles._storage(kind));
    import profiles.import_config;
    side text;
BEGIN
    PERFORM profiles._ddl('LOCK TABLE profiles.attribute_config IN SHARE ROW EXCLUSIVE MODE');
    UPDATE profiles.attribute_config c SET stored = true
    WHERE c.kind = _store_attribute.kind AND c.attribute = _store_attribute.attribute;
    SELECT i.* INTO import FROM profiles.import_config i JOIN profiles.attribute_config c ON c.import_id = i.id
    WHERE c.kind = _store_attribute.kind AND c.attribute = _store_attribute.attribute;
    side := profiles._import_table(import.id);
    PERFORM profiles._make_key(import.id);
    -- no sync, and no writer of profiles, while they are copied
    PERFORM profiles._lock_relations(ARRAY[side, storage], readers_go_on => true);
    EXECUTE format('UPDATE %s p SET %2$I = a.%2$I FROM %3$s a WHERE %4$s = a.key AND a.%2$I IS NOT NULL', storage, attribute, side,
                   profiles._profile_key(kind, import.profile_key));
    IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = side::regclass AND t.tgfoid = 'profiles._copy_stored'::regproc) THEN
        EXECUTE format('CREATE TRIGGER profiles_lock_%s BEFORE INSERT OR UPDATE OF profile ON %s FOR EACH STATEMENT EXECUTE FUNCTION profiles._lock_import(%1$s)', import.id, storage);
        EXECUTE format('CREATE TRIGGER profiles_fill_%s AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION profiles._fill_stored(%1$s)', import.id, storage);
        IF import.profile_key <> kind || '_id' THEN
            EXECUTE format('CREATE TRIGGER profiles_refill_%s AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
                           'FOR EACH STATEMENT EXECUTE FUNCTION profiles._fill_stored(%1$s)', import.id, storage);
        END IF;
        EXECUTE format('CREATE TRIGGER profiles_copy_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION profiles._copy_stored(%s)', side, import.id);
        EXECUTE format('CREATE TRIGGER profiles_copy_update AFTER UPDATE ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION profiles._copy_stored(%s)', side, import.id);
        EXECUTE format('CREATE TRIGGER profiles_copy_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION profiles._copy_stored(%s)', side, import.id);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._store_attribute(text, text) IS 'Internal: stores a custom attribute beside the profiles, so that it can be indexed with their columns. The caller replaces the view then.';

CREATE FUNCTION profiles._unstore_attribute(kind text, attribute text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage text := format('profiles.%I', profiles._storage(kind));
    source_import integer;
    t record;
BEGIN
    PERFORM profiles._ddl('LOCK TABLE profiles.attribute_config IN SHARE ROW EXCLUSIVE MODE');
    UPDATE profiles.attribute_config c SET stored = false
    WHERE c.kind = _unstore_attribute.kind AND c.attribute = _unstore_attribute.attribute
    RETURNING c.import_id INTO source_import;
    PERFORM profiles._lock_relations(profiles._kind_views(kind) || profiles._import_table(source_import) || storage);
    PERFORM profiles._replace_view(kind);
    IF NOT EXISTS (SELECT FROM profiles.attribute_config c WHERE c.import_id = source_import AND c.stored) THEN
        FOR t IN SELECT g.tgname, g.tgrelid::regclass AS relation FROM pg_trigger g
                 WHERE g.tgfoid IN ('profiles._lock_import'::regproc, 'profiles._fill_stored'::regproc, 'profiles._copy_stored'::regproc)
                   AND encode(g.tgargs, 'escape') = format('%s\000', source_import)
                 ORDER BY g.tgrelid, g.tgname
        LOOP
            PERFORM profiles._ddl(format('DROP TRIGGER %I ON %s', t.tgname, t.relation));
        END LOOP;
    END IF;
    PERFORM profiles._ddl(format('ALTER TABLE %s DROP COLUMN %I, ADD COLUMN %2$I %s', storage, attribute,
                                 (SELECT format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attrelid = storage::regclass AND a.attname = attribute)));
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', storage, attribute, 'Copy of the custom attribute while it is indexed, else empty.');
END
$$;
COMMENT ON FUNCTION profiles._unstore_attribute(text, text) IS 'Internal: takes the copy of a custom attribute away, and with it the index.';
