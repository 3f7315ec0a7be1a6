-- Custom attributes: columns of users and accounts that are copied from reference
-- tables, on a schedule.
--
-- What an import reads, and with whose rights, is in the view import_<id>, which
-- its adder owns; the tables here only say when and where to.

CREATE TABLE profiles.import_config (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    source text NOT NULL,
    source_key text NOT NULL,
    profile_key text NOT NULL,
    every interval NOT NULL,
    on_duplicate text NOT NULL CHECK (on_duplicate IN ('error', 'first', 'last')),
    added_at timestamptz NOT NULL DEFAULT now(),
    tried_at timestamptz,
    synced_at timestamptz,
    rows bigint NOT NULL DEFAULT 0,
    null_keys bigint NOT NULL DEFAULT 0,
    duplicate_keys bigint NOT NULL DEFAULT 0,
    sqlstate text,
    message text,
    hint text,
    UNIQUE (kind, source, source_key)
);
COMMENT ON TABLE profiles.import_config IS 'The imports of custom attributes and their last results; what they read is in the views import_<id>. Change it with add_attributes, drop_attributes and sync.';
COMMENT ON COLUMN profiles.import_config.id IS 'Number of the import, its view import_<id> and its table attributes_<id>.';
COMMENT ON COLUMN profiles.import_config.kind IS 'user or account.';
COMMENT ON COLUMN profiles.import_config.source IS 'Name of the reference table.';
COMMENT ON COLUMN profiles.import_config.source_key IS 'Its column that is compared.';
COMMENT ON COLUMN profiles.import_config.profile_key IS 'Column of users or accounts that it is compared with.';
COMMENT ON COLUMN profiles.import_config.every IS 'How often it is synced.';
COMMENT ON COLUMN profiles.import_config.on_duplicate IS 'Which row of a key counts: error, first or last.';
COMMENT ON COLUMN profiles.import_config.added_at IS 'When it was added.';
COMMENT ON COLUMN profiles.import_config.tried_at IS 'When the last sync began.';
COMMENT ON COLUMN profiles.import_config.synced_at IS 'When the last sync began that succeeded.';
COMMENT ON COLUMN profiles.import_config.rows IS 'Rows of attributes_<id>, one per key.';
COMMENT ON COLUMN profiles.import_config.null_keys IS 'Rows of the source without a key, or with one of 2,000 bytes and more, at the last sync.';
COMMENT ON COLUMN profiles.import_config.duplicate_keys IS 'Rows of the source left out for another one of their key at the last sync.';
COMMENT ON COLUMN profiles.import_config.sqlstate IS 'Error code of the last sync, if it failed.';
COMMENT ON COLUMN profiles.import_config.message IS 'Its message.';
COMMENT ON COLUMN profiles.import_config.hint IS 'Its hint.';

CREATE TABLE profiles.attribute_config (
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    attribute text NOT NULL,
    import_id integer NOT NULL REFERENCES profiles.import_config ON DELETE CASCADE,
    source_column text NOT NULL,
    position integer NOT NULL,
    stored boolean NOT NULL DEFAULT false,
    PRIMARY KEY (kind, attribute)
);
COMMENT ON TABLE profiles.attribute_config IS 'The custom attributes.';
COMMENT ON COLUMN profiles.attribute_config.kind IS 'user or account.';
COMMENT ON COLUMN profiles.attribute_config.attribute IS 'Name: the column of users or accounts, and of attributes_<import_id>.';
COMMENT ON COLUMN profiles.attribute_config.import_id IS 'The import that it comes from.';
COMMENT ON COLUMN profiles.attribute_config.source_column IS 'Column of the reference table.';
COMMENT ON COLUMN profiles.attribute_config.position IS 'Place among the attributes of the import.';
COMMENT ON COLUMN profiles.attribute_config.stored IS 'Is there a copy beside the profiles, since it is indexed?';

CREATE TABLE profiles.sync_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    import_id integer NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    source_rows bigint,
    null_keys bigint,
    duplicate_keys bigint,
    inserted bigint,
    updated bigint,
    deleted bigint,
    sqlstate text,
    message text,
    hint text
);
CREATE INDEX ON profiles.sync_run (import_id, id);
COMMENT ON TABLE profiles.sync_run IS 'The last 200 syncs of each import; the view sync_runs shows them.';
COMMENT ON COLUMN profiles.sync_run.id IS 'Number.';
COMMENT ON COLUMN profiles.sync_run.import_id IS 'The import.';
COMMENT ON COLUMN profiles.sync_run.kind IS 'user or account.';
COMMENT ON COLUMN profiles.sync_run.source IS 'Name of the reference table.';
COMMENT ON COLUMN profiles.sync_run.started_at IS 'When it began.';
COMMENT ON COLUMN profiles.sync_run.finished_at IS 'When it was done.';
COMMENT ON COLUMN profiles.sync_run.source_rows IS 'Rows read; NULL if it failed, as are the other counts.';
COMMENT ON COLUMN profiles.sync_run.null_keys IS 'Of these, without a key, or with one of 2,000 bytes and more.';
COMMENT ON COLUMN profiles.sync_run.duplicate_keys IS 'Of these, left out for another row of their key.';
COMMENT ON COLUMN profiles.sync_run.inserted IS 'Keys that are new.';
COMMENT ON COLUMN profiles.sync_run.updated IS 'Keys whose values changed.';
COMMENT ON COLUMN profiles.sync_run.deleted IS 'Keys that are gone.';
COMMENT ON COLUMN profiles.sync_run.sqlstate IS 'Error code, if it failed.';
COMMENT ON COLUMN profiles.sync_run.message IS 'Its message.';
COMMENT ON COLUMN profiles.sync_run.hint IS 'Its hint.';

ALTER TABLE profiles.import_config OWNER TO @extowner@;
ALTER TABLE profiles.attribute_config OWNER TO @extowner@;
ALTER TABLE profiles.sync_run OWNER TO @extowner@;
SELECT pg_extension_config_dump('profiles.import_config', '');
SELECT pg_extension_config_dump('profiles.import_config_id_seq', '');
SELECT pg_extension_config_dump('profiles.attribute_config', '');
SELECT pg_extension_config_dump('profiles.sync_run', '');
SELECT pg_extension_config_dump('profiles.sync_run_id_seq', '');

CREATE FUNCTION profiles._import_view(import_id integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'profiles.import_' || import_id;
COMMENT ON FUNCTION profiles._import_view(integer) IS 'Internal: name of the view that says what an import reads.';

CREATE FUNCTION profiles._import_table(import_id integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'profiles.attributes_' || import_id;
COMMENT ON FUNCTION profiles._import_table(integer) IS 'Internal: name of the table that an import is copied to.';

CREATE FUNCTION profiles._make_import(import_id integer) RETURNS regclass
    AS 'MODULE_PATHNAME', 'profiles_make_import' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._make_import(integer) IS 'Internal: makes the view of an import, for its adder, from the arguments of the add_attributes that is running.';

CREATE FUNCTION profiles._attribute_type(type oid) RETURNS regtype
    AS 'MODULE_PATHNAME', 'profiles_attribute_type' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION profiles._attribute_type(oid) IS 'Internal: type of a custom attribute whose source column has this type; NULL if it can''t be one.';

CREATE FUNCTION profiles._read_import(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], dry boolean DEFAULT false) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_read_import' LANGUAGE C STRICT ROWS 100000;
COMMENT ON FUNCTION profiles._read_import(regclass, text, boolean, text[], boolean) IS 'Internal: the rows of an import that have a key, read with the rights of its adder; columns are key and attributes, by name. on_duplicate first or last leaves one row per key; those whose key is blocked are not there. dry: plans the query only.';

CREATE FUNCTION profiles._load_import(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], import_table regclass) RETURNS bigint
    AS 'MODULE_PATHNAME', 'profiles_load_import' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._load_import(regclass, text, boolean, text[], regclass) IS 'Internal: reads an import as _read_import does, straight into its table, which has no key and fires no triggers; how many rows.';

-- A function of its own so that the statement that writes expects few rows.
CREATE FUNCTION profiles._import_diff(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], import_table regclass) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_import_diff' LANGUAGE C STRICT ROWS 100;
COMMENT ON FUNCTION profiles._import_diff(regclass, text, boolean, text[], regclass) IS 'Internal: how an import, read as _read_import does, differs from its table: the place of the row that is there, or NULL, and the key and values that are to be, or NULLs. In work_mem, else in parts.';

CREATE FUNCTION profiles._read_counts(OUT source_rows bigint, OUT null_keys bigint, OUT duplicate_keys bigint)
    AS 'MODULE_PATHNAME', 'profiles_read_counts' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._read_counts() IS 'Internal: how many rows the session''s last _read_import read, and left out for want of a key or for another row of their key.';

-- The one rule for how keys are compared: as text, e-mails in lower case.
CREATE FUNCTION profiles._lower_keys(profile_key text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN profile_key = 'user_email';
COMMENT ON FUNCTION profiles._lower_keys(text) IS 'Internal: are keys that are compared with this column compared in lower case?';

-- The stored text column that a profile_key means: a column, or an attribute,
-- which means its last value.
CREATE FUNCTION profiles._key_column(kind text, profile_key text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage regclass := format('profiles.%I', profiles._storage(kind))::regclass;
    result text;
BEGIN
    IF profile_key = kind || '_id' THEN
        RETURN profile_key;
    END IF;
    SELECT a.attname INTO result FROM pg_attribute a
    WHERE a.attrelid = storage AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'text'::regtype AND a.attgenerated = 's'
      AND (a.attname = profile_key
           OR (a.attname NOT LIKE 'first%' AND profiles._column_attribute(storage, a.attname) = profile_key));
    IF NOT FOUND THEN
        RAISE undefined_column USING
            MESSAGE = format('"%s" is no stored text column of profiles.%s', profile_key, profiles._relation(kind)),
            HINT = format('profile_key is one of: %s_id, %s.', kind,
                          (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
                           WHERE a.attrelid = storage AND a.attnum > 0 AND NOT a.attisdropped
                             AND a.atttypid = 'text'::regtype AND a.attgenerated = 's'));
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION profiles._key_column(text, text) IS 'Internal: the stored column that a profile_key means.';

-- Our side of the comparison.
CREATE FUNCTION profiles._profile_key(kind text, key_column text, place text DEFAULT 'p.') RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN format(CASE WHEN profiles._lower_keys(key_column) THEN 'lower(%s%I)' ELSE '%s%I' END,
                  place, CASE WHEN key_column = kind || '_id' THEN 'key' ELSE key_column END);
COMMENT ON FUNCTION profiles._profile_key(text, text, text) IS 'Internal: SQL of our side of the comparison of keys.';

-- The comparison from the other side, from keys to profiles, for which there is an
-- index that leaves out long values. No import has such keys.
CREATE FUNCTION profiles._has_key(kind text, key_column text, key text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN profiles._profile_key(kind, key_column) || ' = ' || key
           || CASE WHEN key_column = kind || '_id' THEN '' ELSE ' AND ' || profiles._is_indexable(profiles._profile_key(kind, key_column)) END;
COMMENT ON FUNCTION profiles._has_key(text, text, text) IS 'Internal: SQL of the condition that profile p has the key of an import''s row.';

-- Refuses what is no name of a custom attribute, or is taken.
CREATE FUNCTION profiles._check_attribute(kind text, source_column text, name text, type text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation regclass := format('profiles.%I', profiles._relation(kind))::regclass;
    storage regclass := format('profiles.%I', profiles._storage(kind))::regclass;
    taken record;
BEGIN
    IF name !~ '^[a-z][a-z0-9_]{0,55}$' THEN
        RAISE invalid_name USING
            MESSAGE = format('"%s" is not a valid name of an attribute', name),
            DETAIL = 'A name begins with a small letter, has small letters, digits and underscores, and at most 56 of them.',
            HINT = format('Call it "%s": attributes => %L.', profiles._propose_name(name), jsonb_build_object(source_column, profiles._propose_name(name)));
    END IF;
    SELECT a.source_column, i.source, profiles._import_name(i) AS import INTO taken
    FROM profiles.attribute_config a JOIN profiles.import_config i ON i.id = a.import_id
    WHERE a.kind = _check_attribute.kind AND a.attribute = name;
    IF FOUND THEN
        RAISE duplicate_column USING
            MESSAGE = format('attribute "%s" of profiles.%s comes from column "%s" of %s already', name, profiles._relation(kind), taken.source_column, taken.source),
            HINT = format('Give it another name, as in attributes => %L, or remove that one with profiles.drop_attributes(%L, %L).',
                          jsonb_build_object(_check_attribute.source_column, left('custom_' || name, 56)), kind, taken.import);
    END IF;
    SELECT format_type(v.atttypid, NULL) AS type,
           v.attname IN (kind || '_id', 'first_seen_country_name', 'last_seen_country_name')
           OR EXISTS (SELECT FROM pg_attribute s WHERE s.attrelid = storage AND s.attname = v.attname AND s.attgenerated = 's' AND NOT s.attisdropped) AS ours
    INTO taken
    FROM pg_attribute v WHERE v.attrelid = relation AND v.attname = name;
    -- columns of our tables that the views don't show, and those that every table has
    IF taken.ours OR name IN ('key', 'profile') OR name IN (SELECT c.attname FROM pg_attribute c WHERE c.attrelid = storage AND c.attnum < 0) THEN
        RAISE duplicate_column USING
            MESSAGE = CASE WHEN taken.ours THEN format('profiles.%s has a column "%s" already', profiles._relation(kind), name)
                           ELSE format('no attribute can be called "%s"', name) END,
            HINT = format('Give the attribute another name, as in attributes => %L.', jsonb_build_object(source_column, left('custom_' || name, 56)));
    ELSIF taken.type <> type THEN
        RAISE duplicate_column USING
            MESSAGE = format('column "%s" of profiles.%s is of type %s, left by an attribute that was dropped', name, profiles._relation(kind), taken.type),
            DETAIL = format('The new one is of type %s.', type),
            HINT = format('Give the attribute another name, as in attributes => %L, or cast the column in a view.',
                          jsonb_build_object(source_column, left('custom_' || name, 56)));
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_attribute(text, text, text, text) IS 'Internal: refuses what is no name of a custom attribute, or is taken.';

CREATE FUNCTION profiles._propose_name(name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN left(coalesce(nullif(regexp_replace(btrim(regexp_replace(lower(regexp_replace(name, '([a-z0-9])([A-Z])'::text, '\1_\2'::text, 'g'::text) COLLATE "C"), '[^a-z0-9]+'::text, '_'::text, 'g'::text), '_'),
                                                '^([0-9])'::text, 'x_\1'::text), ''), 'attribute'), 56);
COMMENT ON FUNCTION profiles._propose_name(text) IS 'Internal: a valid name like this one.';

-- The columns of a source that an import takes, and their names. Reads catalogs
-- only: _make_import trusts it.
CREATE FUNCTION profiles._chosen_columns(source regclass, source_key name, attributes jsonb)
    RETURNS TABLE (source_column text, attribute text, type oid, "position" integer)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unknown text;
BEGIN
    IF jsonb_typeof(attributes) <> 'object' OR attributes = '{}'
       OR EXISTS (SELECT FROM jsonb_each(attributes) e WHERE jsonb_typeof(e.value) NOT IN ('string', 'null')) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'attributes must be a JSON object of columns and names',
            HINT = 'Write attributes => ''{"ltv_usd": "lifetime_value"}''; null as a name keeps the column''s.';
    END IF;
    SELECT n INTO unknown
    FROM (SELECT jsonb_object_keys(attributes) UNION ALL SELECT source_key) AS u (n)
    WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = source AND a.attname = n AND a.attnum > 0 AND NOT a.attisdropped)
    ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        RAISE undefined_column USING
            MESSAGE = format('%s has no column "%s"', source, unknown),
            HINT = format('Its columns are: %s.', (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
                                                  WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped));
    END IF;
    RETURN QUERY
        SELECT a.attname::text, coalesce(attributes->>a.attname, a.attname), a.atttypid,
               (row_number() OVER (ORDER BY a.attnum))::int
        FROM pg_attribute a
        WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped
          AND CASE WHEN attributes IS NULL
                   THEN a.attname <> source_key AND a.attname !~ '^(_fivetran_|_airbyte_|_ab_|_dlt_|_sdc_)'
                   ELSE attributes ? a.attname END;
END
$$;
COMMENT ON FUNCTION profiles._chosen_columns(regclass, name, jsonb) IS 'Internal: columns of a source that are imported, and their names.';

CREATE FUNCTION profiles._add_attributes_entries(kind text, source regclass, source_key name, profile_key text, attributes jsonb,
                                                 filter text, every interval, on_duplicate text, order_by text)
    RETURNS TABLE (key text, value text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT 'source', source::text
    UNION ALL SELECT 'source_key', source_key::text
    UNION ALL SELECT 'filter', filter WHERE btrim(filter, E' \n\t\r') <> ''
    UNION ALL SELECT 'order_by', order_by WHERE order_by IS NOT NULL
    UNION ALL SELECT 'attr ' || c.attribute, c.source_column FROM profiles._chosen_columns(source, source_key, attributes) c;
END;
COMMENT ON FUNCTION profiles._add_attributes_entries(text, regclass, name, text, jsonb, text, interval, text, text) IS 'Internal: what a call of add_attributes says is to be read.';

CREATE FUNCTION profiles._add_attributes(caller oid, kind text, source regclass, source_key name, profile_key text, attributes jsonb,
                                         filter text, every interval, on_duplicate text, order_by text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source_name text := source::text;
    class record;
    key_column text;
    added profiles.import_config;
    c record;
BEGIN
    PERFORM profiles._check_kind(kind);
    IF source IS NULL OR source_key IS NULL OR profile_key IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'source, source_key and profile_key must not be NULL';
    END IF;
    SELECT relkind, relpersistence, relnamespace::regnamespace::text AS schema INTO class FROM pg_class WHERE oid = source;
    IF class.relkind IS NULL OR class.relkind NOT IN ('r', 'p', 'v', 'm', 'f') THEN
        RAISE wrong_object_type USING MESSAGE = format('%s is not a table, view or foreign table', source);
    ELSIF class.relpersistence = 't' THEN
        RAISE wrong_object_type USING
            MESSAGE = format('%s is temporary', source),
            HINT = 'A reference table must be there for every session.';
    ELSIF class.schema = 'profiles' THEN
        RAISE wrong_object_type USING
            MESSAGE = format('%s belongs to profiles itself', source),
            HINT = 'A reference table brings values that profiles does not have.';
    ELSIF every IS NULL OR every <= interval '0' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = '"every" must be a positive interval',
            HINT = 'It says how often CALL profiles.sync() reads the table, as in every => ''1 day''.';
    ELSIF on_duplicate IS NULL OR on_duplicate NOT IN ('error', 'first', 'last') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown on_duplicate "%s"', on_duplicate),
            HINT = 'It is error, first or last.';
    ELSIF (on_duplicate = 'error') <> (order_by IS NULL) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = CASE WHEN order_by IS NULL THEN format('on_duplicate "%s" needs order_by', on_duplicate)
                           ELSE 'order_by needs on_duplicate "first" or "last"' END,
            HINT = 'As in on_duplicate => ''last'', order_by => ''updated_at''.';
    END IF;

    key_column := profiles._key_column(kind, profile_key);
    SELECT i.* INTO added FROM profiles.import_config i
    WHERE i.kind = _add_attributes.kind AND i.source = source_name AND i.source_key = _add_attributes.source_key;
    IF FOUND THEN
        RAISE duplicate_object USING
            MESSAGE = format('attributes of %s by "%s" are imported already', source_name, source_key),
            HINT = format('To change them, first SELECT profiles.drop_attributes(%L, %L); added again with the same names and types, they come back.', kind, profiles._import_name(added));
    END IF;

    -- one at a time, since the view is made of what the others have added
    PERFORM profiles._ddl('LOCK TABLE profiles.attribute_config IN SHARE ROW EXCLUSIVE MODE');
    INSERT INTO profiles.import_config (kind, source, source_key, profile_key, every, on_duplicate)
    VALUES (kind, source_name, source_key, key_column, every, on_duplicate)
    RETURNING * INTO added;
    -- a number whose relations DROP EXTENSION ... CASCADE has left is not used again
    WHILE coalesce(to_regclass(profiles._import_view(added.id)), to_regclass(profiles._import_table(added.id))) IS NOT NULL LOOP
        UPDATE profiles.import_config i SET id = DEFAULT WHERE i.id = added.id RETURNING i.* INTO added;
    END LOOP;

    FOR c IN SELECT * FROM profiles._chosen_columns(source, source_key, attributes) ORDER BY 4 LOOP
        IF profiles._attribute_type(c.type) IS NULL THEN
            RAISE feature_not_supported USING
                MESSAGE = format('column "%s" of %s is of type %s, which can''t be an attribute', c.source_column, source, format_type(c.type, NULL)),
                DETAIL = 'Attributes are text, numbers, booleans, dates, timestamps or uuids.',
                HINT = format('Leave it out by naming the columns you want in attributes, or cast it in a view: CREATE VIEW ... AS SELECT ..., %I::text FROM %s.', c.source_column, source);
        END IF;
        PERFORM profiles._check_attribute(kind, c.source_column, c.attribute, profiles._attribute_type(c.type)::text);
        INSERT INTO profiles.attribute_config (kind, attribute, import_id, source_column, position)
        VALUES (kind, c.attribute, added.id, c.source_column, c.position);
    END LOOP;
    IF NOT EXISTS (SELECT FROM profiles.attribute_config a WHERE a.import_id = added.id) THEN
        RAISE undefined_column USING
            MESSAGE = format('%s has no columns to import beside "%s"', source, source_key);
    END IF;

    PERFORM profiles._make_import(added.id);
    EXECUTE format('CREATE TABLE %s (key text NOT NULL, %s)', profiles._import_table(added.id),
                   (SELECT string_agg(format('%I %s', n.attribute, profiles._attribute_type(n.type)), ', ' ORDER BY n.position)
                    FROM profiles._chosen_columns(source, source_key, attributes) n));
    -- until it has a primary key
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', profiles._import_table(added.id));
    EXECUTE format('COMMENT ON TABLE %s IS %L', profiles._import_table(added.id),
                   format('Custom attributes of profiles.%s, copied from %s; key: its column %s. Written by profiles.sync().',
                          profiles._relation(kind), source_name, source_key));
    EXECUTE format('COMMENT ON COLUMN %s.key IS %L', profiles._import_table(added.id),
                   format('Compared with %s of profiles.%s.', key_column, profiles._relation(kind)));
    FOR c IN SELECT a.attribute, a.source_column FROM profiles.attribute_config a WHERE a.import_id = added.id LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', profiles._import_table(added.id), c.attribute,
                       format('Column %s of %s.', c.source_column, source_name));
    END LOOP;
    EXECUTE format('SELECT FROM %s', profiles._import_rows(added, dry => true));
    -- before what readers wait for
    PERFORM profiles._add_reverse_index(added);
    PERFORM profiles._add_copies(added);
    PERFORM profiles._replace_view(kind);
    RETURN source_name;
END
$$;
COMMENT ON FUNCTION profiles._add_attributes(oid, text, regclass, name, text, jsonb, text, interval, text, text) IS 'Internal: add_attributes.';

CREATE FUNCTION profiles.add_attributes(kind text, source regclass, source_key name, profile_key text, attributes jsonb DEFAULT NULL,
                                        filter text DEFAULT NULL, every interval DEFAULT '1 hour', on_duplicate text DEFAULT 'error',
                                        order_by text DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_define_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.add_attributes(text, regclass, name, text, jsonb, text, interval, text, text) IS 'Adds columns of a reference table (table, view or foreign table) to users or accounts as custom attributes, and returns its name; CALL profiles.sync() then copies their values, and again whenever "every" has passed. kind: user or account. source_key: its column that is compared, as text, with profile_key, a column of users or accounts such as user_id or user_email (e-mails are compared in lower case). attributes: column to attribute''s name, null keeping the column''s; NULL takes all columns but the key and those of loaders. filter: condition over its row. on_duplicate: several rows of a key are an error, or the first or last by the expression order_by counts. The table is read with the rights of the caller, who needs SELECT on it. Undo: drop_attributes.';

CREATE FUNCTION profiles._blocked_keys(kind text, profile_key text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT ARRAY(SELECT b.key FROM profiles.blocked b WHERE b.kind = _blocked_keys.kind AND _blocked_keys.profile_key = _blocked_keys.kind || '_id');
END;
COMMENT ON FUNCTION profiles._blocked_keys(text, text) IS 'Internal: the keys that an import does not read, since forget has blocked them.';

-- What an import reads, as an item of a FROM clause called "s".
CREATE FUNCTION profiles._import_rows(import profiles.import_config, dry boolean DEFAULT false) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('profiles._read_import(%L, %L, %L, profiles._blocked_keys(%L, %L), %L) AS s (%s)', profiles._import_view(import.id), import.on_duplicate,
                  profiles._lower_keys(import.profile_key), import.kind, import.profile_key, dry,
                  string_agg(format('%I %s', a.attname, format_type(a.atttypid, NULL)), ', ' ORDER BY a.attnum))
    FROM pg_attribute a
    WHERE a.attrelid = to_regclass(profiles._import_table(import.id)) AND a.attnum > 0 AND NOT a.attisdropped;
END;
COMMENT ON FUNCTION profiles._import_rows(profiles.import_config, boolean) IS 'Internal: SQL of what an import reads.';

-- The attributes of an import, as a list in which every %s of the pattern is one.
CREATE FUNCTION profiles._import_list(import_id integer, pattern text, separator text DEFAULT ', ') RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT string_agg(replace(pattern, '%s', quote_ident(a.attribute)), separator ORDER BY a.position)
    FROM profiles.attribute_config a WHERE a.import_id = _import_list.import_id;
END;
COMMENT ON FUNCTION profiles._import_list(integer, text, text) IS 'Internal: a list of the attributes of an import.';

-- sync

-- The key of an import's table. It is made after the first load, since that is
-- much faster, or when something relies on it before; readers go on meanwhile.
CREATE FUNCTION profiles._make_key(import_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass(profiles._import_table(import_id) || '_pkey') IS NULL THEN
        EXECUTE format('CREATE UNIQUE INDEX attributes_%s_pkey ON %s (key)', import_id, profiles._import_table(import_id));
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._make_key(integer) IS 'Internal: makes the unique index of an import''s table, if it has none yet.';

-- To be a primary key, which replication asks for, its index takes a lock that
-- readers are in the way of: for a moment, or another time.
CREATE FUNCTION profiles._settle_import(import_id integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '300ms'
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = to_regclass(profiles._import_table(import_id) || '_pkey') AND NOT i.indisprimary) THEN
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT attributes_%s_pkey PRIMARY KEY USING INDEX attributes_%2$s_pkey, REPLICA IDENTITY DEFAULT',
                       profiles._import_table(import_id), import_id);
    END IF;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION profiles._settle_import(integer) IS 'Internal: makes the index of an import''s table its primary key, unless that would have to wait; false then.';

CREATE FUNCTION profiles._write_import(import profiles.import_config, INOUT run profiles.sync_run)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    side regclass := profiles._import_table(import.id);
    counts record;
    duplicate text;
    found bigint;
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = side) THEN
            run.inserted := profiles._load_import(profiles._import_view(import.id)::regclass, import.on_duplicate,
                                                  profiles._lower_keys(import.profile_key),
                                                  profiles._blocked_keys(import.kind, import.profile_key), side);
            run.updated := 0;
            run.deleted := 0;
            PERFORM profiles._make_key(import.id);
        ELSE
            PERFORM profiles._make_key(import.id);
            EXECUTE format(
                'WITH diff AS MATERIALIZED (SELECT * FROM profiles._import_diff(%5$L, $1, $2, $3, %1$L) AS d ("its row" tid, %2$s)), '
                'gone AS (DELETE FROM %1$s t USING diff d WHERE t.ctid = d."its row" AND d.key IS NULL RETURNING 1), '
                'changed AS (UPDATE %1$s t SET %3$s FROM diff d WHERE t.ctid = d."its row" AND d.key IS NOT NULL RETURNING 1), '
                'added AS (INSERT INTO %1$s SELECT d.key, %4$s FROM diff d WHERE d."its row" IS NULL ORDER BY d.key RETURNING 1) '
                'SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM changed), (SELECT count(*) FROM added)',
                profiles._import_table(import.id),
                (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, NULL)), ', ' ORDER BY a.attnum) FROM pg_attribute a
                 WHERE a.attrelid = profiles._import_table(import.id)::regclass AND a.attnum > 0 AND NOT a.attisdropped),
                profiles._import_list(import.id, '%s = d.%s'), profiles._import_list(import.id, 'd.%s'), profiles._import_view(import.id))
            INTO run.deleted, run.updated, run.inserted USING import.on_duplicate, profiles._lower_keys(import.profile_key), profiles._blocked_keys(import.kind, import.profile_key);
        END IF;
        PERFORM profiles._index_imported(import.id);
        SELECT c.* INTO counts FROM profiles._read_counts() c;
        -- one row per key: what is there now is what was read
        IF import.rows - run.deleted + run.inserted <> counts.source_rows - counts.null_keys - counts.duplicate_keys THEN
            EXECUTE format('SELECT count(*) FROM %s', profiles._import_table(import.id)) INTO found;
            IF found <> counts.source_rows - counts.null_keys - counts.duplicate_keys THEN
                RAISE unique_violation;
            END IF;
        END IF;
    EXCEPTION WHEN unique_violation THEN
        EXECUTE format('SELECT s.key FROM %s GROUP BY s.key HAVING count(*) > 1 ORDER BY s.key LIMIT 1', profiles._import_rows(import)) INTO duplicate;
        RAISE unique_violation USING
            MESSAGE = format('%s has several rows with key "%s"', import.source, coalesce(duplicate, '?')),
            HINT = format('Make "%s" unique, or say which row counts: drop_attributes, and add_attributes again with on_duplicate => ''last'' and order_by.', import.source_key);
    END;
    run.source_rows := counts.source_rows;
    run.null_keys := counts.null_keys;
    run.duplicate_keys := counts.duplicate_keys;
END
$$;
COMMENT ON FUNCTION profiles._write_import(profiles.import_config, profiles.sync_run) IS 'Internal: makes an import''s table what its source says.';

-- A cancel of a source's own: a server behind a foreign table or dblink gave up, or a
-- function raised it. All else is a cancel of this session, where it happened to be.
CREATE FUNCTION profiles._cancelled_by_source(context text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN context ~ '^[^\n]*\mRAISE\M[^\n]*(\n|$)'::text OR context ~ 'remote SQL command|dblink connection'::text;
COMMENT ON FUNCTION profiles._cancelled_by_source(text) IS 'Internal: was a query_canceled with this context raised by what was read, rather than by a cancel or a timeout of this session?';

-- One sync: all or nothing, and recorded either way. False if another session
-- is at it.
CREATE FUNCTION profiles._sync_import(import_id integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    import profiles.import_config;
    run profiles.sync_run;
    context text;
BEGIN
    SELECT i.* INTO import FROM profiles.import_config i WHERE i.id = import_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    run.import_id := import.id;
    run.kind := import.kind;
    run.source := import.source;
    run.started_at := clock_timestamp();
    -- one big join: as much memory as for an index; for this step only
    PERFORM set_config('work_mem', current_setting('maintenance_work_mem'), true);
    BEGIN
        run := profiles._write_import(import, run);
    -- OTHERS are all but these two
    EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
        GET STACKED DIAGNOSTICS run.sqlstate = RETURNED_SQLSTATE, run.message = MESSAGE_TEXT, run.hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
        IF run.sqlstate = '57014' AND NOT profiles._cancelled_by_source(context) THEN
            RAISE;
        END IF;
        run.hint := nullif(run.hint, '');
        -- the message of an error in data quotes the data
        IF run.sqlstate LIKE '22%' THEN
            run.message := regexp_replace(run.message, '".*"', '"..."');
        END IF;
        -- readers should not have to pass what a load has left
        IF pg_relation_size(to_regclass(profiles._import_table(import.id))) > 0 THEN
            PERFORM profiles._make_key(import.id);
        END IF;
        RAISE WARNING 'could not sync %: %', import.source, run.message USING
            ERRCODE = run.sqlstate, HINT = coalesce(run.hint, 'The last good values stay. profiles.sync_runs has all errors.');
    END;
    run.finished_at := clock_timestamp();
    UPDATE profiles.import_config i
    SET tried_at = run.started_at,
        synced_at = CASE WHEN run.sqlstate IS NULL THEN run.started_at ELSE i.synced_at END,
        rows = coalesce(run.source_rows - run.null_keys - run.duplicate_keys, i.rows),
        null_keys = coalesce(run.null_keys, i.null_keys),
        duplicate_keys = coalesce(run.duplicate_keys, i.duplicate_keys),
        sqlstate = run.sqlstate, message = run.message, hint = run.hint
    WHERE i.id = import.id;
    INSERT INTO profiles.sync_run (import_id, kind, source, started_at, finished_at, source_rows, null_keys, duplicate_keys,
                                   inserted, updated, deleted, sqlstate, message, hint)
    VALUES (run.import_id, run.kind, run.source, run.started_at, run.finished_at, run.source_rows, run.null_keys, run.duplicate_keys,
            run.inserted, run.updated, run.deleted, run.sqlstate, run.message, run.hint);
    DELETE FROM profiles.sync_run r
    WHERE r.import_id = import.id
      AND r.id < (SELECT o.id FROM profiles.sync_run o WHERE o.import_id = import.id ORDER BY o.id DESC OFFSET 199 LIMIT 1);
    RETURN true;
END
$$;
COMMENT ON FUNCTION profiles._sync_import(integer) IS 'Internal: syncs one import.';

-- When an import is to be synced next. What failed is tried again sooner.
CREATE FUNCTION profiles._next_sync(import profiles.import_config) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN coalesce((import).tried_at + CASE WHEN (import).sqlstate IS NULL THEN (import).every
                                             ELSE least((import).every, interval '5 minutes') END, (import).added_at);
COMMENT ON FUNCTION profiles._next_sync(profiles.import_config) IS 'Internal: when an import is due.';

-- The imports to sync, in the order in which they became due.
CREATE FUNCTION profiles._due_imports(source text) RETURNS integer[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result integer[];
BEGIN
    IF source IS NULL THEN
        RETURN ARRAY(SELECT i.id FROM profiles.import_config i
                     WHERE profiles._next_sync(i) <= now() ORDER BY profiles._next_sync(i), i.id);
    END IF;
    result := profiles._named_imports(source);
    IF result = '{}' THEN
        PERFORM profiles._no_import(source);
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION profiles._due_imports(text) IS 'Internal: the imports that a sync is about.';

-- The name under which a source was added; it may be gone.
CREATE FUNCTION profiles._import_source(source text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT min(i.source) FROM profiles.import_config i
    WHERE i.source = _import_source.source
       OR (_import_source.source = (parse_ident(i.source))[2]
           AND 1 = (SELECT count(DISTINCT o.source) FROM profiles.import_config o
                    WHERE o.source = _import_source.source OR (parse_ident(o.source))[2] = _import_source.source));
END;
COMMENT ON FUNCTION profiles._import_source(text) IS 'Internal: a reference table by its name, with its schema or, where that is clear, without.';

-- A table may be imported by several keys.
CREATE FUNCTION profiles._named_imports(name text) RETURNS integer[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT ARRAY(SELECT i.id FROM profiles.import_config i
                 WHERE i.source = profiles._import_source(name) OR name = i.source || '.' || quote_ident(i.source_key)
                 ORDER BY i.id);
END;
COMMENT ON FUNCTION profiles._named_imports(text) IS 'Internal: the imports of a reference table, or, by the name of a key behind its own and its schema''s, one of them.';

CREATE FUNCTION profiles._import_name(import profiles.import_config) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN (import).source || CASE WHEN EXISTS (SELECT FROM profiles.import_config i WHERE i.kind = (import).kind AND i.source = (import).source AND i.id <> (import).id)
                                   THEN '.' || quote_ident((import).source_key) ELSE '' END;
COMMENT ON FUNCTION profiles._import_name(profiles.import_config) IS 'Internal: the name by which drop_attributes drops an import, and no other.';

CREATE FUNCTION profiles._no_import(source text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE undefined_object USING
        MESSAGE = format('no attributes are imported from "%s"', source),
        HINT = coalesce('Reference tables are: ' || (SELECT string_agg(DISTINCT i.source, ', ') FROM profiles.import_config i) || '.',
                        'There are none yet; profiles.add_attributes() adds one.');
END
$$;
COMMENT ON FUNCTION profiles._no_import(text) IS 'Internal: says that there is no such import.';

CREATE PROCEDURE profiles.sync(source text DEFAULT NULL)
    AS 'MODULE_PATHNAME', 'profiles_run_sync' LANGUAGE C;
COMMENT ON PROCEDURE profiles.sync(text) IS 'Copies the values of custom attributes from the reference tables that are due, or from the named one now (or by one of its keys, as in ''crm.customers.email''). Each is read once, in a transaction of its own; only changed rows are written. One that fails keeps its last good values: a WARNING says why, and custom_attributes and sync_runs record it. One that another session is syncing is left out, with a NOTICE. In a transaction block it is one transaction.';

-- drop

CREATE FUNCTION profiles._stop_syncs(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM profiles.import_config i WHERE i.kind = _stop_syncs.kind ORDER BY i.id FOR UPDATE;
END
$$;
COMMENT ON FUNCTION profiles._stop_syncs(text) IS 'Internal: waits for running syncs of a kind, and keeps others away until the end of the transaction.';

CREATE FUNCTION profiles._drop_attributes(caller oid, kind text, source text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner oid := (SELECT relowner FROM pg_class WHERE oid = 'profiles.import_config'::regclass);
    dropped integer[] := ARRAY(SELECT i.id FROM profiles.import_config i
                               WHERE i.kind = _drop_attributes.kind AND i.id = ANY (profiles._named_imports(_drop_attributes.source)) ORDER BY i.id);
    added integer[];
    used record;
    unused text[];
    r record;
BEGIN
    PERFORM profiles._check_kind(kind);
    IF dropped = '{}' THEN
        PERFORM profiles._no_import(source);
    END IF;
    IF NOT pg_has_role(caller, owner, 'USAGE') THEN
        added := ARRAY(SELECT d.id FROM unnest(dropped) AS d (id) JOIN pg_class c ON c.oid = to_regclass(profiles._import_view(d.id))
                       WHERE pg_has_role(caller, c.relowner, 'USAGE') ORDER BY d.id);
        -- those of others stay
        FOR r IN SELECT i.source, i.source_key, coalesce(c.relowner, owner) AS adder
                 FROM profiles.import_config i LEFT JOIN pg_class c ON c.oid = to_regclass(profiles._import_view(i.id))
                 WHERE i.id = ANY (dropped) AND i.id <> ALL (added) ORDER BY i.id
        LOOP
            IF added = '{}' THEN
                RAISE insufficient_privilege USING
                    MESSAGE = format('permission denied for the attributes of %s', r.source),
                    HINT = format('They belong to role %I, which added them.', pg_get_userbyid(r.adder));
            END IF;
            RAISE NOTICE 'attributes of % by "%" stay', r.source, r.source_key
                USING DETAIL = format('They belong to role %I, which added them.', pg_get_userbyid(r.adder));
        END LOOP;
        dropped := added;
    END IF;
    -- Reading the views of segments locks them until the end, and later they are locked
    -- exclusively: first whoever else changes definitions has to be done.
    PERFORM profiles._ddl('LOCK TABLE profiles.segment_config IN SHARE ROW EXCLUSIVE MODE');
    -- upkeep locks what search has of profiles, and then reads the view; here it is the other way round
    PERFORM profiles._stop_upkeep();
    PERFORM profiles._ddl(format('SELECT profiles._stop_syncs(%L)', kind));
    PERFORM profiles._ddl('LOCK TABLE profiles.attribute_config IN SHARE ROW EXCLUSIVE MODE');
    SELECT u.segment, u.column_name INTO used FROM profiles._segment_columns(kind) u
    WHERE u.column_name IN (SELECT a.attribute FROM profiles.attribute_config a WHERE a.import_id = ANY (dropped))
    ORDER BY 1, 2 LIMIT 1;
    IF FOUND THEN
        RAISE dependent_objects_still_exist USING
            MESSAGE = format('segment "%s" uses attribute "%s"', used.segment, used.column_name),
            HINT = format('Change it with profiles.alter_segment(%L, ...), or drop it with profiles.drop_segment(%1$L).', used.segment);
    END IF;
    PERFORM profiles._unstore_attribute(a.kind, a.attribute)
    FROM (SELECT c.kind, c.attribute FROM profiles.attribute_config c WHERE c.import_id = ANY (dropped) AND c.stored) a;
    unused := ARRAY(SELECT profiles._reverse_index(i.kind, i.profile_key) FROM profiles.import_config i WHERE i.id = ANY (dropped));
    DELETE FROM profiles.import_config i WHERE i.id = ANY (dropped);
    unused := ARRAY(SELECT u.name FROM unnest(unused) AS u (name)
                    WHERE to_regclass(u.name) IS NOT NULL
                      AND u.name NOT IN (SELECT coalesce(profiles._reverse_index(i.kind, i.profile_key), '') FROM profiles.import_config i));
    IF unused <> '{}' THEN
        PERFORM profiles._lock_relations(profiles._kind_views(kind) || format('profiles.%I', profiles._storage(kind)));
        PERFORM profiles._ddl(format('DROP INDEX %s', array_to_string(unused, ', ')));
    END IF;
    PERFORM profiles._replace_view(kind);
    PERFORM profiles._imported_statistics(kind);
    PERFORM profiles._search_statistics_changed(kind);
    FOR r IN SELECT unnest(dropped) AS id LOOP
        PERFORM profiles._ddl(format('DROP TABLE IF EXISTS %s', profiles._import_table(r.id)));
        PERFORM profiles._ddl(format('DROP VIEW IF EXISTS %s', profiles._import_view(r.id)));
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._drop_attributes(oid, text, text) IS 'Internal: drop_attributes.';

CREATE FUNCTION profiles.drop_attributes(kind text, source text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.drop_attributes(text, text) IS 'Removes the custom attributes that come from a reference table, or from one of its keys, as in ''crm.customers.email''; of the imports of a table those that the caller added, or all, if the caller owns the extension. Their columns stay in users or accounts, so that views and reports keep working, and read NULL; adding an attribute of the same name and type brings one back. Refused while a segment uses one. The reference table, which may be gone, is not touched. Undo: add_attributes.';

-- forget

CREATE FUNCTION profiles._forget_attributes(kind text, key text, block boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    import profiles.import_config;
    import_key text;
    deleted bigint;
BEGIN
    PERFORM profiles._stop_syncs(kind);
    -- those that are about one person; a plan or a country is not
    FOR import IN SELECT i.* FROM profiles.import_config i
                  WHERE i.kind = _forget_attributes.kind AND i.profile_key IN (_forget_attributes.kind || '_id', _forget_attributes.kind || '_email', _forget_attributes.kind || '_name')
                  ORDER BY i.id
    LOOP
        CONTINUE WHEN to_regclass(profiles._import_table(import.id)) IS NULL;
        IF import.profile_key = kind || '_id' THEN
            import_key := key;
        ELSE
            EXECUTE format('SELECT %s FROM profiles.%I p WHERE p.key = $1', profiles._profile_key(kind, import.profile_key), profiles._storage(kind))
            INTO import_key USING key;
        END IF;
        EXECUTE format('DELETE FROM %s t WHERE t.key = $1', profiles._import_table(import.id)) USING import_key;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        -- the error of a sync names a key that is there twice
        UPDATE profiles.import_config i
        SET rows = i.rows - deleted, message = replace(i.message, format('"%s"', import_key), '"..."')
        WHERE i.id = import.id AND (deleted > 0 OR strpos(i.message, format('"%s"', import_key)) > 0);
        UPDATE profiles.sync_run r SET message = replace(r.message, format('"%s"', import_key), '"..."')
        WHERE r.import_id = import.id AND strpos(r.message, format('"%s"', import_key)) > 0;
        IF deleted > 0 AND NOT (block AND import.profile_key = kind || '_id') THEN
            RAISE NOTICE 'custom attributes of % "%" come back with the next sync of %', kind, key, import.source
                USING HINT = 'Delete them there, too.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._forget_attributes(text, text, boolean) IS 'Internal: erases the custom attributes of a subject, as long as its profile is there. block: syncs by id won''t bring them back.';

-- what is there

CREATE FUNCTION profiles._matched_keys(caller oid, import_id integer) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    import profiles.import_config := (SELECT i FROM profiles.import_config i WHERE i.id = import_id);
    result bigint;
BEGIN
    IF NOT has_table_privilege(caller, 'profiles.custom_attributes', 'SELECT') THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied for view custom_attributes';
    END IF;
    IF to_regclass(profiles._import_table(import.id)) IS NOT NULL THEN
        EXECUTE format('SELECT count(*) FROM %s t WHERE EXISTS (SELECT FROM profiles.%I p WHERE %s)',
                       profiles._import_table(import.id), profiles._storage(import.kind), profiles._has_key(import.kind, import.profile_key, 't.key'))
        INTO result;
    END IF;
    RETURN result;
EXCEPTION WHEN undefined_table THEN
    -- dropped since the reader's snapshot
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION profiles._matched_keys(oid, integer) IS 'Internal: matched_keys.';

CREATE FUNCTION profiles.matched_keys(import_id integer) RETURNS bigint
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C STABLE STRICT COST 100000;
COMMENT ON FUNCTION profiles.matched_keys(integer) IS 'How many keys of an import have a profile now; for the view custom_attributes, and for those who may read it.';

CREATE VIEW profiles.custom_attributes AS
SELECT a.kind,
       a.attribute,
       format_type(t.atttypid, NULL) AS type,
       i.source,
       a.source_column,
       i.source_key,
       i.profile_key,
       i.every,
       i.synced_at AS last_synced_at,
       i.rows,
       i.matched,
       i.rows - i.matched AS unmatched,
       i.null_keys,
       i.duplicate_keys,
       i.sqlstate || ': ' || i.message || coalesce(' (' || i.hint || ')', '') AS last_error,
       CASE WHEN i.sqlstate = '42P01' THEN 'source missing'
            WHEN i.sqlstate IS NOT NULL THEN 'failed'
            WHEN i.synced_at IS NULL THEN 'not synced yet'
            ELSE 'synced' END AS status,
       pg_get_userbyid(v.relowner)::text AS added_by
FROM profiles.attribute_config a
-- OFFSET 0: counted once per import, and only if it is asked for
JOIN (SELECT c.*, profiles.matched_keys(c.id) AS matched FROM profiles.import_config c OFFSET 0) i ON i.id = a.import_id
LEFT JOIN pg_attribute t ON t.attrelid = to_regclass('profiles.attributes_' || i.id) AND t.attname = a.attribute
LEFT JOIN pg_class v ON v.oid = to_regclass('profiles.import_' || i.id)
ORDER BY a.kind, i.id, a.position;
ALTER VIEW profiles.custom_attributes OWNER TO @extowner@;
COMMENT ON VIEW profiles.custom_attributes IS 'The custom attributes, where they come from, and how their last sync went; counts are those of the whole reference table.';
COMMENT ON COLUMN profiles.custom_attributes.kind IS 'user or account.';
COMMENT ON COLUMN profiles.custom_attributes.attribute IS 'Its name: the column of users or accounts.';
COMMENT ON COLUMN profiles.custom_attributes.type IS 'Its type.';
COMMENT ON COLUMN profiles.custom_attributes.source IS 'The reference table, for sync and drop_attributes.';
COMMENT ON COLUMN profiles.custom_attributes.source_column IS 'Column of the reference table.';
COMMENT ON COLUMN profiles.custom_attributes.source_key IS 'Column of the reference table that is compared.';
COMMENT ON COLUMN profiles.custom_attributes.profile_key IS 'Column of users or accounts that it is compared with, as text; user_email in lower case.';
COMMENT ON COLUMN profiles.custom_attributes.every IS 'How often it is synced. What failed is tried again after at most 5 minutes.';
COMMENT ON COLUMN profiles.custom_attributes.last_synced_at IS 'When the last sync that succeeded began: values are at least as new.';
COMMENT ON COLUMN profiles.custom_attributes.rows IS 'Keys with values.';
COMMENT ON COLUMN profiles.custom_attributes.matched IS 'Of these, how many have a profile now; counted when this column is read.';
COMMENT ON COLUMN profiles.custom_attributes.unmatched IS 'Of these, how many have none: their values are there as soon as they have one.';
COMMENT ON COLUMN profiles.custom_attributes.null_keys IS 'Rows left out for want of a key, or with one of 2,000 bytes and more.';
COMMENT ON COLUMN profiles.custom_attributes.duplicate_keys IS 'Rows left out for another one of their key.';
COMMENT ON COLUMN profiles.custom_attributes.last_error IS 'SQLSTATE, message and hint of the last sync, if it failed.';
COMMENT ON COLUMN profiles.custom_attributes.status IS 'synced, not synced yet, source missing, or failed.';
COMMENT ON COLUMN profiles.custom_attributes.added_by IS 'Role that added it, with whose rights the reference table is read.';

CREATE VIEW profiles.sync_runs AS
SELECT r.id, r.kind, r.source, r.started_at, r.finished_at, r.finished_at - r.started_at AS duration,
       r.source_rows, r.null_keys, r.duplicate_keys, r.inserted, r.updated, r.deleted,
       r.sqlstate, r.message, r.hint
FROM profiles.sync_run r
ORDER BY r.id DESC;
ALTER VIEW profiles.sync_runs OWNER TO @extowner@;
COMMENT ON VIEW profiles.sync_runs IS 'The last 200 syncs of each reference table, newest first.';
COMMENT ON COLUMN profiles.sync_runs.id IS 'Number.';
COMMENT ON COLUMN profiles.sync_runs.kind IS 'user or account.';
COMMENT ON COLUMN profiles.sync_runs.source IS 'The reference table.';
COMMENT ON COLUMN profiles.sync_runs.started_at IS 'When it began.';
COMMENT ON COLUMN profiles.sync_runs.finished_at IS 'When it was done.';
COMMENT ON COLUMN profiles.sync_runs.duration IS 'How long it took.';
COMMENT ON COLUMN profiles.sync_runs.source_rows IS 'Rows read; NULL if it failed, as are the other counts.';
COMMENT ON COLUMN profiles.sync_runs.null_keys IS 'Of these, left out for want of a key, or with one of 2,000 bytes and more.';
COMMENT ON COLUMN profiles.sync_runs.duplicate_keys IS 'Of these, left out for another one of their key.';
COMMENT ON COLUMN profiles.sync_runs.inserted IS 'Rows written for new keys.';
COMMENT ON COLUMN profiles.sync_runs.updated IS 'Rows written for changed values.';
COMMENT ON COLUMN profiles.sync_runs.deleted IS 'Rows removed, whose keys are gone.';
COMMENT ON COLUMN profiles.sync_runs.sqlstate IS 'Error code, if it failed.';
COMMENT ON COLUMN profiles.sync_runs.message IS 'Its message.';
COMMENT ON COLUMN profiles.sync_runs.hint IS 'Its hint.';
