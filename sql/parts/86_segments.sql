-- Segments: saved filters. Each is a view of its own, segment_<name>, which its
-- adder owns and which holds the filter.

CREATE TABLE profiles.segment_config (
    segment text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    description text,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE profiles.segment_config IS 'The segments, without their filters, which the views segment_<name> hold. Change it with create_segment, alter_segment and drop_segment.';
COMMENT ON COLUMN profiles.segment_config.segment IS 'Its name.';
COMMENT ON COLUMN profiles.segment_config.kind IS 'user or account.';
COMMENT ON COLUMN profiles.segment_config.description IS 'What it is for.';
COMMENT ON COLUMN profiles.segment_config.created_at IS 'When it was created.';
ALTER TABLE profiles.segment_config OWNER TO @extowner@;
SELECT pg_extension_config_dump('profiles.segment_config', '');

CREATE FUNCTION profiles._segment_view(segment text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'profiles.segment_' || segment;
COMMENT ON FUNCTION profiles._segment_view(text) IS 'Internal: name of a segment''s view.';

CREATE FUNCTION profiles._make_segment() RETURNS regclass
    AS 'MODULE_PATHNAME', 'profiles_make_segment' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._make_segment() IS 'Internal: makes the view of a segment, or makes it anew, from the arguments of the create_segment or alter_segment that is running.';

CREATE FUNCTION profiles._extend_segment(segment text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_extend_segment' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._extend_segment(text) IS 'Internal: makes the view of a segment anew, after its relation or another segment changed.';

CREATE FUNCTION profiles._read_segment(segment_view regclass, OUT filter text, OUT columns text[], OUT segments text[])
    AS 'MODULE_PATHNAME', 'profiles_segment_definition' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION profiles._read_segment(regclass) IS 'Internal: the filter of a segment, the columns that it reads, by itself or through other segments, and the segments that it refers to. An error if its owner has made the view something else.';

-- A view belongs to the creator of its segment, who may change it; that must not
-- be in the way of anything else.
CREATE FUNCTION profiles._segment_definition(segment_view regclass, OUT filter text, OUT columns text[], OUT segments text[])
    LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT r.* INTO filter, columns, segments FROM profiles._read_segment(segment_view) r;
EXCEPTION WHEN undefined_table OR invalid_object_definition OR wrong_object_type OR feature_not_supported OR insufficient_privilege
            OR undefined_object OR invalid_parameter_value OR invalid_recursion OR program_limit_exceeded OR statement_too_complex THEN
    RETURN;
END
$$;
COMMENT ON FUNCTION profiles._segment_definition(regclass) IS 'Internal: as _read_segment, but NULL if its owner has made the view something else.';

CREATE FUNCTION profiles._comment_segment(segment text, column_name text, comment text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_comment_segment' LANGUAGE C;
COMMENT ON FUNCTION profiles._comment_segment(text, text, text) IS 'Internal: sets the comment of a segment''s view, or of a column of it.';

-- Columns have the comments of their relation, unless somebody has written others.
CREATE FUNCTION profiles._describe_columns(segment text) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT profiles._comment_segment(c.segment, v.attname, col_description(r.attrelid, r.attnum))
    FROM profiles.segment_config c
    JOIN pg_attribute v ON v.attrelid = to_regclass(profiles._segment_view(c.segment)) AND v.attnum > 0
    JOIN pg_attribute r ON r.attrelid = to_regclass(format('profiles.%I', profiles._relation(c.kind))) AND r.attname = v.attname
    WHERE c.segment = _describe_columns.segment
      AND col_description(v.attrelid, v.attnum) IS DISTINCT FROM col_description(r.attrelid, r.attnum)
      AND profiles._is_our_comment(c.kind, v.attname, col_description(v.attrelid, v.attnum))
    ORDER BY v.attnum;
END;
COMMENT ON FUNCTION profiles._describe_columns(text) IS 'Internal: gives columns of a segment''s view the comments of its relation.';

CREATE FUNCTION profiles._extend_segments(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c record;
    extended boolean;
BEGIN
    FOR c IN SELECT s.segment, to_regclass(profiles._segment_view(s.segment)) AS view
             FROM profiles.segment_config s WHERE s.kind = _extend_segments.kind ORDER BY s.segment
    LOOP
        extended := (profiles._segment_definition(c.view)).filter IS NOT NULL;
        IF extended THEN
            BEGIN
                PERFORM profiles._ddl(format('SELECT profiles._extend_segment(%L)', c.segment));
                PERFORM profiles._describe_columns(c.segment);
            EXCEPTION
                -- columns that were renamed, a filter as deep as the stack allows
                WHEN invalid_object_definition OR invalid_table_definition OR duplicate_column OR too_many_columns OR statement_too_complex THEN
                    extended := false;
            END;
        END IF;
        IF NOT extended AND c.view IS NOT NULL THEN
            RAISE WARNING 'the view of segment "%" is not what profiles made it', c.segment
                USING HINT = format('It is left as it is. Drop the segment with profiles.drop_segment(%L), and create it again.', c.segment);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._extend_segments(text) IS 'Internal: makes the views of a kind''s segments anew.';

-- Which columns segments read.
CREATE FUNCTION profiles._segment_columns(kind text) RETURNS TABLE (segment text, column_name text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.segment, n
    FROM profiles.segment_config c, profiles._segment_definition(to_regclass(profiles._segment_view(c.segment))) d, unnest(d.columns) AS n
    WHERE c.kind = _segment_columns.kind;
END;
COMMENT ON FUNCTION profiles._segment_columns(text) IS 'Internal: which columns of users or accounts segments read.';

CREATE FUNCTION profiles._find_segment(caller oid, name text) RETURNS profiles.segment_config
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result profiles.segment_config;
    adder oid;
    owner oid := (SELECT relowner FROM pg_class WHERE oid = 'profiles.segment_config'::regclass);
BEGIN
    SELECT c.* INTO result FROM profiles.segment_config c WHERE c.segment = name;
    IF NOT FOUND THEN
        RAISE undefined_object USING
            MESSAGE = format('segment "%s" does not exist', name),
            HINT = coalesce('The segments are: ' || (SELECT string_agg(c.segment, ', ' ORDER BY c.segment) FROM profiles.segment_config c) || '.',
                            'There are none yet; profiles.create_segment() creates one.');
    END IF;
    adder := (SELECT c.relowner FROM pg_class c WHERE c.oid = to_regclass(profiles._segment_view(name)));
    IF NOT pg_has_role(caller, owner, 'USAGE') AND NOT coalesce(pg_has_role(caller, adder, 'USAGE'), false) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied for segment "%s"', name),
            HINT = format('It belongs to role %I, which created it.', pg_get_userbyid(coalesce(adder, owner)));
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION profiles._find_segment(oid, text) IS 'Internal: a segment by its name, which the caller must be allowed to change.';

CREATE FUNCTION profiles._check_filter(filter text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(btrim(filter, E' \n\r\t\f\v'), '') = '' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'a segment needs a filter',
            HINT = 'It is a condition over the columns of users or accounts, such as ''last_seen_country = ''''DE''''''.';
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._check_filter(text) IS 'Internal: refuses a blank filter.';

CREATE FUNCTION profiles._segment_comment(segment text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT coalesce(c.description, format('Segment of profiles.%s.', profiles._relation(c.kind)))
    FROM profiles.segment_config c WHERE c.segment = _segment_comment.segment;
END;
COMMENT ON FUNCTION profiles._segment_comment(text) IS 'Internal: what we say of a segment''s view.';

CREATE FUNCTION profiles._create_segment(caller oid, name text, filter text, kind text, description text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM profiles._check_kind(kind);
    IF name IS NULL OR name !~ '^[a-z][a-z0-9_]{0,54}$' THEN
        RAISE invalid_name USING
            MESSAGE = format('"%s" is not a valid name of a segment', name),
            DETAIL = 'A name begins with a small letter, has small letters, digits and underscores, and at most 55 of them.',
            HINT = format('Call it "%s".', left(profiles._propose_name(coalesce(nullif(name, ''), 'segment')), 55));
    ELSIF EXISTS (SELECT FROM profiles.segment_config c WHERE c.segment = name) THEN
        RAISE duplicate_object USING
            MESSAGE = format('segment "%s" exists already', name),
            HINT = format('Change it with profiles.alter_segment(%L, ...), or drop it with profiles.drop_segment(%1$L).', name);
    ELSIF to_regclass(profiles._segment_view(name)) IS NOT NULL THEN
        RAISE duplicate_table USING
            MESSAGE = format('%s exists already', profiles._segment_view(name)),
            HINT = 'Give the segment another name, or drop that relation.';
    ELSIF NOT has_table_privilege(caller, format('profiles.%I', profiles._relation(kind)), 'SELECT') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied for profiles.%s', profiles._relation(kind)),
            HINT = 'A segment is read with the rights of the role that creates it, which needs SELECT.';
    END IF;
    PERFORM profiles._check_filter(filter);
    PERFORM profiles._ddl('LOCK TABLE profiles.segment_config IN SHARE ROW EXCLUSIVE MODE');
    INSERT INTO profiles.segment_config (segment, kind, description) VALUES (name, kind, description);
    PERFORM profiles._make_segment();
    PERFORM profiles._comment_segment(name, NULL, profiles._segment_comment(name));
    PERFORM profiles._describe_columns(name);
    RETURN profiles._segment_view(name);
END
$$;
COMMENT ON FUNCTION profiles._create_segment(oid, text, text, text, text) IS 'Internal: create_segment.';

CREATE FUNCTION profiles.create_segment(name text, filter text, kind text DEFAULT 'user', description text DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_define_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.create_segment(text, text, text, text) IS 'Saves a filter as a segment, and returns the name of its view, profiles.segment_<name>, which shows its members with all columns of users or accounts, live. filter: a condition over those columns, in which in_segment(''name'') refers to other segments. The view belongs to the caller, who needs SELECT on users or accounts. Undo: drop_segment.';

CREATE FUNCTION profiles._alter_segment(caller oid, name text, filter text, description text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found profiles.segment_config := profiles._find_segment(caller, name);
    ours boolean;
BEGIN
    IF to_regclass(profiles._segment_view(name)) IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = format('the view of segment "%s" is gone', name),
            HINT = format('Remove the segment with profiles.drop_segment(%L), and create it again.', name);
    END IF;
    PERFORM profiles._ddl('LOCK TABLE profiles.segment_config IN SHARE ROW EXCLUSIVE MODE');
    IF filter IS NOT NULL THEN
        PERFORM profiles._check_filter(filter);
        PERFORM profiles._ddl('SELECT profiles._make_segment()');
        -- those that refer to it
        PERFORM profiles._extend_segments(found.kind);
    END IF;
    IF description IS NOT NULL THEN
        ours := coalesce(obj_description(profiles._segment_view(name)::regclass, 'pg_class') = profiles._segment_comment(name), true);
        UPDATE profiles.segment_config c SET description = nullif(_alter_segment.description, '') WHERE c.segment = name;
        IF ours THEN
            PERFORM profiles._comment_segment(name, NULL, profiles._segment_comment(name));
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._alter_segment(oid, text, text, text) IS 'Internal: alter_segment.';

CREATE FUNCTION profiles.alter_segment(name text, filter text DEFAULT NULL, description text DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_define_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.alter_segment(text, text, text) IS 'Changes the filter or the description of a segment; NULL leaves it as it is, an empty description removes it. Segments that refer to it follow at once. Only members of the role that created it can give it another filter.';

CREATE FUNCTION profiles._drop_segment(caller oid, name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found profiles.segment_config := profiles._find_segment(caller, name);
    users text;
BEGIN
    PERFORM profiles._ddl('LOCK TABLE profiles.segment_config IN SHARE ROW EXCLUSIVE MODE');
    SELECT string_agg(c.segment, ', ' ORDER BY c.segment) INTO users
    FROM profiles.segment_config c, profiles._segment_definition(to_regclass(profiles._segment_view(c.segment))) d
    WHERE name = ANY (d.segments);
    IF users IS NOT NULL THEN
        RAISE dependent_objects_still_exist USING
            MESSAGE = format('segment "%s" is used by other segments: %s', name, users),
            HINT = 'Change their filters with profiles.alter_segment(), or drop them first.';
    END IF;
    PERFORM profiles._ddl(format('DROP VIEW IF EXISTS %s', profiles._segment_view(name)));
    DELETE FROM profiles.segment_config c WHERE c.segment = name;
END
$$;
COMMENT ON FUNCTION profiles._drop_segment(oid, text) IS 'Internal: drop_segment.';

CREATE FUNCTION profiles.drop_segment(name text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C;
COMMENT ON FUNCTION profiles.drop_segment(text) IS 'Removes a segment and its view. Refused while other segments refer to it, or other objects depend on its view. Undo: create_segment.';

CREATE FUNCTION profiles._segment_members(caller oid, name text) RETURNS TABLE (key text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found profiles.segment_config := (SELECT c FROM profiles.segment_config c WHERE c.segment = name);
BEGIN
    IF found.segment IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = format('segment "%s" does not exist', name),
            HINT = 'profiles.segments lists them.';
    END IF;
    -- not by its view, which its owner may have changed
    RETURN QUERY EXECUTE format('SELECT p.%I FROM profiles.%I p WHERE %s', found.kind || '_id', profiles._relation(found.kind),
                                profiles._filter(found.kind, format('in_segment(%L)', name)));
END
$$;
COMMENT ON FUNCTION profiles._segment_members(oid, text) IS 'Internal: segment_members.';

CREATE FUNCTION profiles.segment_members(name text) RETURNS TABLE (key text)
    AS 'MODULE_PATHNAME', 'profiles_as_owner' LANGUAGE C STABLE ROWS 1000;
COMMENT ON FUNCTION profiles.segment_members(text) IS 'The keys of the members of a segment as of now: user_id or account_id. The segment''s view shows all their columns. Who may execute this sees the keys, without any right on users or accounts.';

CREATE FUNCTION profiles._segment_count(segment text, kind text) RETURNS bigint
    LANGUAGE plpgsql STABLE STRICT COST 100000
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result bigint;
    reason text;
BEGIN
    IF has_table_privilege(format('profiles.%I', profiles._relation(kind)), 'SELECT')
       AND to_regclass(profiles._segment_view(segment)) IS NOT NULL THEN
        EXECUTE format('SELECT count(*) FROM profiles.%I p WHERE %s', profiles._relation(kind),
                       profiles._filter(kind, format('in_segment(%L)', segment))) INTO result;
    END IF;
    RETURN result;
EXCEPTION WHEN data_exception THEN
    -- one filter that fails on what is there now must not hide the other segments
    GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
    RAISE WARNING 'could not count the members of segment "%": %', segment, reason USING
        ERRCODE = SQLSTATE,
        HINT = format('Make its filter fit all profiles: profiles.alter_segment(%L, ...).', segment);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION profiles._segment_count(text, text) IS 'Internal: how many members a segment has now, counted with the rights of the caller; NULL without the right to read users or accounts, and with a WARNING if its filter fails on a value.';

CREATE VIEW profiles.segments AS
SELECT c.segment,
       c.kind,
       d.filter,
       c.description,
       CASE WHEN d.filter IS NOT NULL THEN profiles._segment_count(c.segment, c.kind) END AS members,
       'profiles.segment_' || c.segment AS view,
       pg_get_userbyid(v.relowner)::text AS created_by,
       c.created_at
FROM profiles.segment_config c
LEFT JOIN pg_class v ON v.oid = to_regclass('profiles.segment_' || c.segment)
LEFT JOIN LATERAL profiles._segment_definition(v.oid) d ON v.oid IS NOT NULL;
ALTER VIEW profiles.segments OWNER TO @extowner@;
COMMENT ON VIEW profiles.segments IS 'The segments.';
COMMENT ON COLUMN profiles.segments.segment IS 'Its name, for alter_segment, drop_segment, segment_members and in_segment.';
COMMENT ON COLUMN profiles.segments.kind IS 'user or account.';
COMMENT ON COLUMN profiles.segments.filter IS 'Its filter; NULL if its view is gone, or not what profiles made it.';
COMMENT ON COLUMN profiles.segments.description IS 'What it is for.';
COMMENT ON COLUMN profiles.segments.members IS 'How many members it has now, counted when this column is read; NULL if the reader may not read users or accounts, or with a WARNING if its filter fails on a value.';
COMMENT ON COLUMN profiles.segments.view IS 'Its view, which shows its members.';
COMMENT ON COLUMN profiles.segments.created_by IS 'Role that created it; its view is read with the rights of this role.';
COMMENT ON COLUMN profiles.segments.created_at IS 'When it was created.';
