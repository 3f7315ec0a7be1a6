-- The relations for SQL and BI, made at run time so that they are ordinary
-- objects: dumped, granted, seen by tools.

CREATE FUNCTION profiles._storage(kind text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN kind || '_profile';
COMMENT ON FUNCTION profiles._storage(text) IS 'Internal: name of the table that stores a kind''s profiles.';

CREATE FUNCTION profiles._relation(kind text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN kind || 's';
COMMENT ON FUNCTION profiles._relation(text) IS 'Internal: name of the view that shows a kind''s profiles.';

-- The one rule for which accessor shows an attribute.
CREATE FUNCTION profiles._accessor(place text, attribute text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN place || CASE WHEN split_part(attribute, '.', 1) IN ('geo', 'device', 'os', 'browser')
                         THEN '_attribute' ELSE '_known' END;
COMMENT ON FUNCTION profiles._accessor(text, text) IS 'Internal: accessor that shows an attribute at an end: that of the first or last session for geo, device, os and browser, the known one for all others.';

-- Columns of the storage table beside key and profile: those that always exist,
-- then a pair for each further attribute.
CREATE FUNCTION profiles._columns(kind text, attributes text[])
    RETURNS TABLE (column_name text, attribute text, definition text, description text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT kind || '_email', 'email', 'text GENERATED ALWAYS AS (profiles.last_known(profile, ''email'')) STORED',
           'Latest known e-mail address.'
    WHERE kind = 'user'
    UNION ALL
    SELECT kind || '_name', 'name', 'text GENERATED ALWAYS AS (profiles.last_known(profile, ''name'')) STORED',
           'Latest known name.'
    UNION ALL
    SELECT place || '_seen', NULL,
           format('timestamptz GENERATED ALWAYS AS (profiles.%s_seen(profile)) STORED', place),
           format('Time of the %s event.', place)
    FROM unnest(ARRAY['first', 'last']) AS place
    UNION ALL
    SELECT replace(f.pattern, '*', e.place), f.attribute,
           format('text GENERATED ALWAYS AS (profiles.%s(profile, %L)) STORED',
                  profiles._accessor(e.place, f.attribute), f.attribute),
           CASE WHEN profiles._accessor(e.place, f.attribute) LIKE '%_known'
                THEN format('%s known %s.', CASE e.place WHEN 'first' THEN 'Earliest' ELSE 'Latest' END, f.what)
                ELSE format('%s in the %s session.', upper(left(f.what, 1)) || substr(f.what, 2), e.place) END
    FROM (SELECT * FROM (VALUES
              (1, '*_seen_application', 'application', 'application'),
              (2, '*_city', 'geo.city', 'city'),
              (3, '*_seen_country', 'geo.country', 'code of the country'),
              (4, '*_region', 'geo.region', 'region'),
              (5, '*_device_type', 'device.type', 'type of device'),
              (6, '*_os_name', 'os.name', 'operating system'),
              (7, '*_os_version', 'os.version', 'version of the operating system'),
              (8, '*_browser_name', 'browser.name', 'browser'),
              (9, '*_browser_version', 'browser.version', 'version of the browser'))
              AS fixed (position, pattern, attribute, what)
          UNION ALL
          SELECT 9 + a.position::int, '*_' || replace(a.attribute, '.', '_'), a.attribute, 'value of ' || a.attribute
          FROM unnest(attributes) WITH ORDINALITY AS a (attribute, position)) AS f,
         (VALUES (1, 'first'), (2, 'last')) AS e (position, place);
END;
COMMENT ON FUNCTION profiles._columns(text, text[]) IS 'Internal: columns of a kind''s storage table, fixed ones and a pair for each further attribute.';

-- pg_get_expr looks at all columns of the table, each time.
CREATE FUNCTION profiles._accessor_attribute(expression pg_node_tree) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_accessor_attribute' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION profiles._accessor_attribute(pg_node_tree) IS 'Internal: attribute that the expression of a generated column reads, NULL if none.';

-- The attribute that an existing generated column shows, from its definition.
CREATE FUNCTION profiles._column_attribute(storage regclass, column_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT coalesce(profiles._accessor_attribute(d.adbin), 'seen_at')
    FROM pg_attribute a
    JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = storage AND a.attname = column_name AND NOT a.attisdropped;
END;
COMMENT ON FUNCTION profiles._column_attribute(regclass, text) IS 'Internal: attribute that a generated column shows.';

CREATE FUNCTION profiles._refuse_locks() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE lock_not_available USING
        MESSAGE = 'could not change the relations of profiles, because transactions hold locks on them',
        HINT = 'Nothing was changed. Try again when long transactions on profiles.users, profiles.accounts and profiles.events are over; pg_locks shows them.';
END
$$;
COMMENT ON FUNCTION profiles._refuse_locks() IS 'Internal: says that locks could not be had.';

-- Runs DDL that may have to wait for readers: not long, a few times, then with
-- a clear error. Whoever waits behind us waits no longer than we do.
CREATE FUNCTION profiles._ddl(statement text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s'
AS $$
BEGIN
    FOR attempt IN 1..3 LOOP
        BEGIN
            EXECUTE statement;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = 3 THEN
                PERFORM profiles._refuse_locks();
            END IF;
        END;
        PERFORM pg_sleep(0.1 * attempt);
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._ddl(text) IS 'Internal: runs DDL under a short lock_timeout, with retries.';

CREATE FUNCTION profiles._lock_relation(relation regclass, readers_go_on boolean) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_lock_relation' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._lock_relation(regclass, boolean) IS 'Internal: locks one of our relations exclusively, or against writers only; of a view not what is under it.';

-- Locks what DDL is about to change, before it changes anything. Readers lock views
-- before tables, writers, whose triggers read the views, the other way round. So all
-- is locked within the time after which deadlocks are looked for, or let go again,
-- and nobody is in a deadlock with us.
CREATE FUNCTION profiles._lock_relations(relations text[], readers_go_on boolean DEFAULT false, briefly boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s'
AS $$
DECLARE
    wait constant interval := least(current_setting('deadlock_timeout')::interval * 0.8, interval '2 s');
    found regclass[] := ARRAY(SELECT to_regclass(r.name) FROM unnest(relations) WITH ORDINALITY AS r (name, n)
                              WHERE to_regclass(r.name) IS NOT NULL ORDER BY r.n);
    give_up constant timestamptz := clock_timestamp() + interval '6 s';
    until timestamptz;
    r regclass;
BEGIN
    LOOP
        BEGIN
            until := CASE WHEN briefly THEN clock_timestamp() + wait END;
            FOREACH r IN ARRAY found LOOP
                PERFORM set_config('lock_timeout', CASE WHEN until IS NULL THEN '2s'
                    ELSE greatest(extract(epoch FROM until - clock_timestamp()) * 1000, 10)::int || 'ms' END, true);
                PERFORM profiles._lock_relation(r, readers_go_on);
                until := coalesce(until, clock_timestamp() + wait);
            END LOOP;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() > give_up THEN
                PERFORM profiles._refuse_locks();
            END IF;
        END;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._lock_relations(text[], boolean, boolean) IS 'Internal: locks relations, all or none, before they are changed; those that are missing are left out. briefly: the caller has locks that others may wait for already.';

CREATE FUNCTION profiles._kind_views(kind text) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT profiles._segment_view(s.segment) FROM profiles.segment_config s WHERE s.kind = _kind_views.kind ORDER BY s.segment)
           || format('profiles.%I', profiles._relation(kind)) || format('profiles.%I', kind || '_searched') || format('profiles.%I', kind || '_imported');
END
$$;
COMMENT ON FUNCTION profiles._kind_views(text) IS 'Internal: the views of segments, then users or accounts, then those that search reads: what readers lock before tables.';

CREATE FUNCTION profiles._column_comment(kind text, column_name text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result text;
BEGIN
    IF column_name = kind || '_id' THEN
        RETURN format('Key of the %s, as events carry it. Unique.', kind);
    ELSIF column_name IN ('first_seen_country_name', 'last_seen_country_name') THEN
        RETURN format('Country in the %s session, by name; an unknown code shows itself.', split_part(column_name, '_', 1));
    END IF;
    SELECT col_description(s.attrelid, s.attnum) INTO result FROM pg_attribute s
    WHERE s.attrelid = format('profiles.%I', profiles._storage(kind))::regclass AND s.attname = column_name AND s.attgenerated = 's' AND NOT s.attisdropped;
    IF FOUND THEN
        RETURN result;
    END IF;
    SELECT format('Custom attribute: column %s of %s, where its %s is the %s.', c.source_column, i.source, i.source_key, i.profile_key) INTO result
    FROM profiles.attribute_config c JOIN profiles.import_config i ON i.id = c.import_id
    WHERE c.kind = _column_comment.kind AND c.attribute = column_name;
    RETURN coalesce(result, 'Custom attribute that was dropped: always NULL.');
END
$$;
COMMENT ON FUNCTION profiles._column_comment(text, text) IS 'Internal: what we say of a column of users or accounts.';

-- Comments are anybody's to write: only our own are written anew. What we say of a custom
-- attribute changes as it goes and comes back, so those are known by their form.
CREATE FUNCTION profiles._is_our_comment(kind text, column_name text, comment text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT comment IS NULL OR comment = profiles._column_comment(kind, column_name)
           OR comment ~ '^Custom attribute(: column .* of .*, where its .* is the .*| that was dropped: always NULL)\.$'::text;
END;
COMMENT ON FUNCTION profiles._is_our_comment(text, text, text) IS 'Internal: may a comment of a column of users, accounts or a segment be written anew, since we wrote it or nobody has?';

-- users or accounts: what the view has, in its order, then what the table has
-- got, then custom attributes. Those that were dropped read NULL.
CREATE FUNCTION profiles._replace_view(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage regclass := format('profiles.%I', profiles._storage(kind))::regclass;
    relation regclass := to_regclass(format('profiles.%I', profiles._relation(kind)));
    id_column text := kind || '_id';
    countries text[] := ARRAY['first_seen_country_name', 'last_seen_country_name'];
    names text[];
    columns text;
    joins text;
    r record;
BEGIN
    PERFORM profiles._lock_relations(profiles._kind_views(kind));
    -- a new view: the fixed columns, then the names of countries
    IF relation IS NULL THEN
        names := id_column || ARRAY(SELECT column_name FROM profiles._columns(kind, '{}')) || countries;
    ELSE
        names := ARRAY(SELECT attname::text FROM pg_attribute
                       WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped ORDER BY attnum);
    END IF;
    names := names || ARRAY(SELECT attname::text FROM pg_attribute
                            WHERE attrelid = storage AND attnum > 0 AND NOT attisdropped
                              AND attgenerated = 's' AND NOT attname = ANY (names)
                            ORDER BY attnum);
    names := names || ARRAY(SELECT a.attribute FROM profiles.attribute_config a
                            WHERE a.kind = _replace_view.kind AND NOT a.attribute = ANY (names)
                            ORDER BY a.import_id, a.position);
    SELECT coalesce(string_agg(format(' LEFT JOIN %s a%s ON a%2$s.key = %s', profiles._import_table(i.id), i.id,
                                      profiles._profile_key(i.kind, i.profile_key)), '' ORDER BY i.id), '')
      INTO joins
      FROM profiles.import_config i WHERE i.kind = _replace_view.kind;

    SELECT string_agg(
               CASE n.name
                   WHEN id_column THEN format('p.key AS %I', id_column)
                   WHEN 'first_seen_country_name' THEN 'coalesce(fc.name, p.first_seen_country) AS first_seen_country_name'
                   WHEN 'last_seen_country_name' THEN 'coalesce(lc.name, p.last_seen_country) AS last_seen_country_name'
                   ELSE CASE WHEN s.attname IS NOT NULL OR c.stored THEN format('p.%I', n.name)
                             WHEN c.attribute IS NOT NULL THEN format('a%s.%I', c.import_id, n.name)
                             ELSE format('NULL::%s AS %I', format_type(v.atttypid, NULL), n.name) END END,
               ', ' ORDER BY n.position)
      INTO columns
      FROM unnest(names) WITH ORDINALITY AS n (name, position)
      LEFT JOIN profiles.attribute_config c ON c.kind = _replace_view.kind AND c.attribute = n.name
      LEFT JOIN pg_attribute s ON s.attrelid = storage AND s.attname = n.name AND s.attgenerated = 's' AND NOT s.attisdropped
      LEFT JOIN pg_attribute v ON v.attrelid = relation AND v.attname = n.name;
    PERFORM profiles._ddl(format(
        'CREATE OR REPLACE VIEW profiles.%I AS SELECT %s FROM profiles.%I p '
        'LEFT JOIN profiles.country fc ON fc.code = p.first_seen_country '
        'LEFT JOIN profiles.country lc ON lc.code = p.last_seen_country%s',
        profiles._relation(kind), columns, profiles._storage(kind), joins));

    relation := format('profiles.%I', profiles._relation(kind))::regclass;
    IF obj_description(relation, 'pg_class') IS NULL THEN
        EXECUTE format('COMMENT ON VIEW %s IS %L', relation,
                       format('One row per %s, folded from events; key: %s. Refreshed by profiles.refresh().', kind, id_column));
    END IF;
    FOR r IN SELECT a.attname, profiles._column_comment(kind, a.attname) AS description
             FROM pg_attribute a
             WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
               AND profiles._is_our_comment(kind, a.attname, col_description(relation, a.attnum))
             ORDER BY a.attnum
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', relation, r.attname, r.description);
    END LOOP;
    PERFORM profiles._extend_segments(kind);
    PERFORM profiles._ensure_search(kind);
END
$$;
COMMENT ON FUNCTION profiles._replace_view(text) IS 'Internal: makes or extends the view users or accounts.';

-- Makes the relations of a kind, or appends columns for further attributes.
CREATE FUNCTION profiles._ensure_relations(kind text, attributes text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage_name text := profiles._storage(kind);
    storage regclass := to_regclass(format('profiles.%I', storage_name));
    further text[];
    clash record;
    added text[];
    width bigint;
    r record;
BEGIN
    further := ARRAY(
        SELECT a FROM unnest(attributes) WITH ORDINALITY AS u (a, position)
        WHERE a NOT IN ('session', 'name', 'email')
          AND a NOT IN (SELECT c.attribute FROM profiles._columns(kind, '{}') c WHERE c.attribute IS NOT NULL)
        ORDER BY position);

    SELECT c.column_name, c.attribute AS one, coalesce(d.attribute, 'seen_at') AS other INTO clash
    FROM profiles._columns(kind, further) c
    JOIN profiles._columns(kind, further) d USING (column_name)
    WHERE c.attribute IS DISTINCT FROM d.attribute AND c.attribute = ANY (further)
    ORDER BY 1, 2 LIMIT 1;
    IF NOT FOUND AND storage IS NOT NULL THEN
        SELECT c.column_name, c.attribute AS one, profiles._column_attribute(storage, c.column_name) AS other INTO clash
        FROM profiles._columns(kind, further) c
        WHERE profiles._column_attribute(storage, c.column_name) <> c.attribute
        ORDER BY 1 LIMIT 1;
    END IF;
    IF NOT FOUND AND storage IS NOT NULL THEN
        -- a column of the view that the table does not have is or was a custom attribute
        SELECT c.column_name, c.attribute AS one, c.column_name AS other INTO clash
        FROM profiles._columns(kind, further) c
        JOIN pg_attribute v ON v.attrelid = to_regclass(format('profiles.%I', profiles._relation(kind))) AND v.attname = c.column_name
        WHERE NOT EXISTS (SELECT FROM pg_attribute s WHERE s.attrelid = storage AND s.attname = c.column_name AND s.attgenerated = 's' AND NOT s.attisdropped)
        ORDER BY 1 LIMIT 1;
    END IF;
    IF FOUND THEN
        RAISE duplicate_column USING
            MESSAGE = format('attributes "%s" and "%s" would both be column "%s" of profiles.%s',
                             clash.one, clash.other, clash.column_name, profiles._relation(kind)),
            HINT = 'Give one of them another name in the mapping.';
    END IF;

    -- the view has the names of countries and what was a custom attribute as well
    SELECT count(*) + greatest(coalesce((SELECT relnatts FROM pg_class WHERE oid = storage), 2),
                               coalesce((SELECT relnatts FROM pg_class WHERE oid = to_regclass(format('profiles.%I', profiles._relation(kind)))), 3)) INTO width
    FROM profiles._columns(kind, further) c
    WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = storage AND attname = c.column_name AND NOT attisdropped);
    IF width > 1600 THEN
        RAISE too_many_columns USING
            MESSAGE = format('profiles.%s would have %s columns, and tables can have at most 1600', profiles._relation(kind), width),
            HINT = 'Each attribute takes two columns. Map fewer, or several to one attribute as jsonb.';
    END IF;
    -- of a text up to 24 bytes stay in the row, which has to fit into a page with key, profile, times and a bit for each column
    IF cardinality(further) > 0 AND 24 * width + width / 8 > current_setting('block_size')::bigint - 64 THEN
        RAISE WARNING 'profiles.% would have % columns, and not all profiles that know that many values may fit into a page', profiles._relation(kind), width
            USING HINT = 'Where one does not, upkeep fails: "row is too big". Map fewer attributes, or several to one as jsonb, unless each profile knows but some of them.';
    END IF;

    IF storage IS NULL THEN
        EXECUTE format(
            'CREATE TABLE profiles.%I (key text PRIMARY KEY, profile profiles.profile NOT NULL, %s)',
            storage_name,
            (SELECT string_agg(format('%I %s', column_name, definition), ', ') FROM profiles._columns(kind, further)));
        storage := format('profiles.%I', storage_name)::regclass;
        EXECUTE format('CREATE INDEX %I ON profiles.%I (last_seen, (profiles._name_signature(%I)))',
                       storage_name || '_last_seen_idx', storage_name, kind || '_name');
        EXECUTE format('COMMENT ON TABLE profiles.%I IS %L', storage_name,
                       format('Stored profiles, one row per %s: upkeep writes the profile, the other columns follow from it. The view profiles.%s shows them.',
                              kind, profiles._relation(kind)));
        EXECUTE format('COMMENT ON COLUMN profiles.%I.key IS %L', storage_name, format('Key of the %s, as events carry it.', kind));
        EXECUTE format('COMMENT ON COLUMN profiles.%I.profile IS %L', storage_name, 'The fold of all its events.');
        added := ARRAY(SELECT column_name FROM profiles._columns(kind, further));
    ELSE
        IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = storage AND attname = 'profile' AND NOT attisdropped) THEN
            RAISE invalid_table_definition USING
                MESSAGE = format('table "profiles.%s" has no column "profile"', storage_name),
                HINT = format('It was left by DROP EXTENSION ... CASCADE. Drop it: DROP TABLE profiles.%I CASCADE.', storage_name);
        END IF;
        added := ARRAY(SELECT column_name FROM profiles._columns(kind, further) c
                       WHERE NOT EXISTS (SELECT FROM pg_attribute
                                         WHERE attrelid = storage AND attname = c.column_name AND NOT attisdropped));
        IF cardinality(added) > 0 THEN
            PERFORM profiles._lock_relations(profiles._kind_views(kind) || storage::text);
            PERFORM profiles._ddl(format('ALTER TABLE profiles.%I %s', storage_name,
                (SELECT string_agg(format('ADD COLUMN %I %s', column_name, definition), ', ')
                 FROM profiles._columns(kind, further) WHERE column_name = ANY (added))));
        END IF;
    END IF;

    FOR r IN SELECT column_name, description FROM profiles._columns(kind, further) WHERE column_name = ANY (added) LOOP
        EXECUTE format('COMMENT ON COLUMN profiles.%I.%I IS %L', storage_name, r.column_name, r.description);
    END LOOP;
    IF cardinality(added) > 0 OR to_regclass(format('profiles.%I', profiles._relation(kind))) IS NULL THEN
        PERFORM profiles._replace_view(kind);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._ensure_relations(text, text[]) IS 'Internal: makes a kind''s relations, or appends columns for attributes.';
