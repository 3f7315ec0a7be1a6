-- Search: people by name, e-mail and attributes.

-- how text is taken apart

CREATE FUNCTION profiles.people_tsvector(name text, email text) RETURNS tsvector
    AS 'MODULE_PATHNAME', 'people_tsvector' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION profiles.people_tsvector(text, text) IS 'Vector of a person, for queries by people_tsquery: words folded of case, accents and width, apostrophes and hyphens joined, the address by each of its parts. Weights: A the name, B the local part, C the host. The same on every version and locale.';

CREATE FUNCTION profiles.people_tsquery(query text) RETURNS tsquery
    AS 'MODULE_PATHNAME', 'people_tsquery' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION profiles.people_tsquery(text) IS 'Query for vectors of people_tsvector from what somebody typed: every word is a prefix, in any order. An upper-case OR parts alternatives, other operators are text. Never an error; an empty query, which finds nothing, if there are no words.';

CREATE FUNCTION profiles._search_vector(name text, email text) RETURNS tsvector
    AS 'MODULE_PATHNAME', 'people_search_vector' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION profiles._search_vector(text, text) IS 'Internal: people_tsvector, with each word of the name once more behind a =, so that an index tells it from the same word in an address, and its first letters behind a = and before a *.';

CREATE FUNCTION profiles._attribute_vector(VARIADIC attributes text[]) RETURNS tsvector
    AS 'MODULE_PATHNAME', 'people_attribute_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50;
COMMENT ON FUNCTION profiles._attribute_vector(text[]) IS 'Internal: vector of the values of attributes, without positions.';

CREATE FUNCTION profiles._searched_row(record) RETURNS record
    AS 'MODULE_PATHNAME', 'people_searched_row' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._searched_row(record) IS 'Internal: a row with as much of its texts as is searched.';

-- indexes by words: of vectors, and of values of attributes by theirs

CREATE FUNCTION profiles._attributes_match(attributes text[], query tsquery) RETURNS boolean
    AS 'MODULE_PATHNAME', 'people_attributes_match' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50;
COMMENT ON FUNCTION profiles._attributes_match(text[], tsquery) IS 'Internal: whether the vector of values of attributes meets a query.';

CREATE OPERATOR profiles.@@ (LEFTARG = text[], RIGHTARG = tsquery, FUNCTION = profiles._attributes_match, RESTRICT = tsmatchsel, JOIN = tsmatchjoinsel);
COMMENT ON OPERATOR profiles.@@ (text[], tsquery) IS 'Internal: whether the vector of values of attributes meets a query.';

CREATE FUNCTION profiles._compare_words(a text, b text) RETURNS integer
    AS 'MODULE_PATHNAME', 'people_compare_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._compare_words(text, text) IS 'Internal: operator classes words_ops and attribute_ops.';
CREATE FUNCTION profiles._compare_longer_words(beginning text, word text, smallint, internal) RETURNS integer
    AS 'MODULE_PATHNAME', 'profiles_compare_longer_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._compare_longer_words(text, text, smallint, internal) IS 'Internal: operator classes words_ops and attribute_ops.';

CREATE FUNCTION profiles._query_words(tsvector, internal, smallint, internal, internal, internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'profiles_query_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._query_words(tsvector, internal, smallint, internal, internal, internal, internal) IS 'Internal: operator class words_ops.';
CREATE FUNCTION profiles._words_may_meet(internal, smallint, tsvector, integer, internal, internal, internal) RETURNS "char"
    AS 'MODULE_PATHNAME', 'profiles_words_may_meet' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._words_may_meet(internal, smallint, tsvector, integer, internal, internal, internal) IS 'Internal: operator class words_ops.';

CREATE OPERATOR CLASS profiles.words_ops FOR TYPE tsvector USING gin AS
    OPERATOR 1 pg_catalog.@@ (tsvector, tsquery),
    FUNCTION 1 profiles._compare_words(text, text),
    FUNCTION 2 pg_catalog.gin_extract_tsvector(tsvector, internal, internal),
    FUNCTION 3 profiles._query_words(tsvector, internal, smallint, internal, internal, internal, internal),
    FUNCTION 5 profiles._compare_longer_words(text, text, smallint, internal),
    FUNCTION 6 profiles._words_may_meet(internal, smallint, tsvector, integer, internal, internal, internal),
    STORAGE text;
COMMENT ON OPERATOR CLASS profiles.words_ops USING gin IS 'Internal: vectors by their words, where beginnings of words are mostly frequent words themselves.';

CREATE FUNCTION profiles._extract_words(text[], internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'people_extract_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._extract_words(text[], internal) IS 'Internal: operator class attribute_ops.';
CREATE FUNCTION profiles._query_attributes(text[], internal, smallint, internal, internal, internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'profiles_query_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._query_attributes(text[], internal, smallint, internal, internal, internal, internal) IS 'Internal: operator class attribute_ops.';
CREATE FUNCTION profiles._attributes_may_meet(internal, smallint, text[], integer, internal, internal, internal) RETURNS "char"
    AS 'MODULE_PATHNAME', 'profiles_words_may_meet' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._attributes_may_meet(internal, smallint, text[], integer, internal, internal, internal) IS 'Internal: operator class attribute_ops.';

CREATE OPERATOR CLASS profiles.attribute_ops FOR TYPE text[] USING gin AS
    OPERATOR 1 profiles.@@ (text[], tsquery),
    FUNCTION 1 profiles._compare_words(text, text),
    FUNCTION 2 profiles._extract_words(text[], internal),
    FUNCTION 3 profiles._query_attributes(text[], internal, smallint, internal, internal, internal, internal),
    FUNCTION 5 profiles._compare_longer_words(text, text, smallint, internal),
    FUNCTION 6 profiles._attributes_may_meet(internal, smallint, text[], integer, internal, internal, internal),
    STORAGE text;
COMMENT ON OPERATOR CLASS profiles.attribute_ops USING gin IS 'Internal: values of attributes by their words, as words_ops.';

CREATE FUNCTION profiles._extract_beginnings(text[], internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'people_extract_beginnings' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._extract_beginnings(text[], internal) IS 'Internal: operator class beginning_ops.';
CREATE FUNCTION profiles._query_beginnings(text[], internal, smallint, internal, internal, internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'profiles_query_beginnings' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._query_beginnings(text[], internal, smallint, internal, internal, internal, internal) IS 'Internal: operator class beginning_ops.';
CREATE FUNCTION profiles._compare_longer_beginnings(beginning bigint, entry bigint, smallint, internal) RETURNS integer
    AS 'MODULE_PATHNAME', 'profiles_compare_longer_entries' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._compare_longer_beginnings(bigint, bigint, smallint, internal) IS 'Internal: operator class beginning_ops.';
CREATE FUNCTION profiles._beginnings_options(internal) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_beginnings_options' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._beginnings_options(internal) IS 'Internal: operator class beginning_ops.';

CREATE OPERATOR CLASS profiles.beginning_ops FOR TYPE text[] USING gin AS
    OPERATOR 1 profiles.@@ (text[], tsquery),
    FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
    FUNCTION 2 profiles._extract_beginnings(text[], internal),
    FUNCTION 3 profiles._query_beginnings(text[], internal, smallint, internal, internal, internal, internal),
    FUNCTION 5 profiles._compare_longer_beginnings(bigint, bigint, smallint, internal),
    FUNCTION 6 profiles._attributes_may_meet(internal, smallint, text[], integer, internal, internal, internal),
    FUNCTION 7 (text[]) profiles._beginnings_options(internal),
    STORAGE bigint;
COMMENT ON OPERATOR CLASS profiles.beginning_ops USING gin IS 'Internal: as attribute_ops, but words by their first eight bytes, or by less, as the option cuts says.';

CREATE FUNCTION profiles._choose_cuts(sample text, people double precision) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_choose_cuts' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._choose_cuts(text, double precision) IS 'Internal: the option cuts of beginning_ops for an index over so many rows, of which a query gives the values of a sample; NULL if it should have whole words, by attribute_ops.';

CREATE FUNCTION profiles._build_index(definition text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_build_words_index' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._build_index(text) IS 'Internal: CREATE INDEX, faster than as a statement, for GIN of one column and operator classes that know words apart by their bytes.';

CREATE FUNCTION profiles._indexed_address(vector tsvector) RETURNS text
    AS 'MODULE_PATHNAME', 'people_indexed_address' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;
COMMENT ON FUNCTION profiles._indexed_address(tsvector) IS 'Internal: how the first address of a person''s vector begins, as the index of addresses has it, and in a byte how much of this a word begins with. NULL if there is none.';

CREATE FUNCTION profiles._indexed_words(vector tsvector) RETURNS tsvector
    AS 'MODULE_PATHNAME', 'people_indexed_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;
COMMENT ON FUNCTION profiles._indexed_words(tsvector) IS 'Internal: a person''s vector as the index of words has it: without the first address, words of the name behind a = alone, with beginnings of the other words before a *, without positions.';

CREATE FUNCTION profiles._name_signature(name text) RETURNS bigint
    AS 'MODULE_PATHNAME', 'people_name_signature' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION profiles._name_signature(text) IS 'Internal: bits of how words of a name begin. The index of the newest profiles has them, so that a search can pass over who has other names.';

CREATE FUNCTION profiles._dictionary_words(vector tsvector) RETURNS text[]
    AS 'MODULE_PATHNAME', 'people_dictionary_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION profiles._dictionary_words(tsvector) IS 'Internal: words of a person''s vector that typos are corrected to.';

CREATE FUNCTION profiles._words_beginning(vector tsvector, beginning text) RETURNS text[]
    AS 'MODULE_PATHNAME', 'people_words_beginning' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION profiles._words_beginning(tsvector, text) IS 'Internal: lexemes of a vector that begin so.';

CREATE FUNCTION profiles._word_keys(word text) RETURNS integer[]
    AS 'MODULE_PATHNAME', 'people_word_keys' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION profiles._word_keys(text) IS 'Internal: hashes of parts of a word that typos are corrected to. NULL for what is no such word.';

CREATE FUNCTION profiles._typed_keys(word text, most integer) RETURNS integer[]
    AS 'MODULE_PATHNAME', 'people_typed_keys' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION profiles._typed_keys(text, integer) IS 'Internal: hashes of which each word has one that is within a distance of 1, or of 2 if that is the most and the word has 6 letters or more. NULL for what is no word.';

CREATE FUNCTION profiles._word_distance(a text, b text, most integer) RETURNS integer
    AS 'MODULE_PATHNAME', 'people_word_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._word_distance(text, text, integer) IS 'Internal: letters added, left out, changed or swapped between two folded words; most + 1 if it is more than most.';

-- the same as a text search configuration

CREATE FUNCTION profiles._parser_start(internal, integer) RETURNS internal
    AS 'MODULE_PATHNAME', 'people_parser_start' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._parser_start(internal, integer) IS 'Internal: text search parser "people".';
CREATE FUNCTION profiles._parser_token(internal, internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'people_parser_token' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._parser_token(internal, internal, internal) IS 'Internal: text search parser "people".';
CREATE FUNCTION profiles._parser_end(internal) RETURNS void
    AS 'MODULE_PATHNAME', 'people_parser_end' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._parser_end(internal) IS 'Internal: text search parser "people".';
CREATE FUNCTION profiles._parser_types(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'people_parser_types' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._parser_types(internal) IS 'Internal: text search parser "people".';
CREATE FUNCTION profiles._fold_init(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'people_fold_init' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._fold_init(internal) IS 'Internal: text search template "people_fold".';
CREATE FUNCTION profiles._fold_lexize(internal, internal, internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'people_fold_lexize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._fold_lexize(internal, internal, internal, internal) IS 'Internal: text search template "people_fold".';

CREATE TEXT SEARCH PARSER profiles.people (
    START = profiles._parser_start, GETTOKEN = profiles._parser_token, END = profiles._parser_end,
    LEXTYPES = profiles._parser_types, HEADLINE = pg_catalog.prsd_headline);
COMMENT ON TEXT SEARCH PARSER profiles.people IS 'Takes names and e-mail addresses apart as search_users does.';

CREATE TEXT SEARCH TEMPLATE profiles.people_fold (INIT = profiles._fold_init, LEXIZE = profiles._fold_lexize);
COMMENT ON TEXT SEARCH TEMPLATE profiles.people_fold IS 'Folds case, accents and width by tables of its own, not by locale.';

CREATE TEXT SEARCH DICTIONARY profiles.people_fold (TEMPLATE = profiles.people_fold);
ALTER TEXT SEARCH DICTIONARY profiles.people_fold OWNER TO @extowner@;
COMMENT ON TEXT SEARCH DICTIONARY profiles.people_fold IS 'Folds case, accents and width; knows every word.';

CREATE TEXT SEARCH CONFIGURATION profiles.people (PARSER = profiles.people);
ALTER TEXT SEARCH CONFIGURATION profiles.people ADD MAPPING FOR word, char, address, joined WITH profiles.people_fold;
ALTER TEXT SEARCH CONFIGURATION profiles.people OWNER TO @extowner@;
COMMENT ON TEXT SEARCH CONFIGURATION profiles.people IS 'For documents: to_tsvector, ts_headline. Words and all their forms.';

CREATE TEXT SEARCH CONFIGURATION profiles.people_query (PARSER = profiles.people);
ALTER TEXT SEARCH CONFIGURATION profiles.people_query ADD MAPPING FOR word, char WITH profiles.people_fold;
ALTER TEXT SEARCH CONFIGURATION profiles.people_query OWNER TO @extowner@;
COMMENT ON TEXT SEARCH CONFIGURATION profiles.people_query IS 'For queries: to_tsquery, websearch_to_tsquery and the like. Words alone; several that are typed without a space become a phrase.';

CREATE FUNCTION profiles._lexeme_query(lexeme text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN format('''%1$s'' | ''=%1$s''', replace(replace(lexeme, '\', '\\'), '''', ''''''))::tsquery;
COMMENT ON FUNCTION profiles._lexeme_query(text) IS 'Internal: the tsquery for one lexeme, in a name or not.';

-- What is searched. The vectors live beside the profiles, in tables made at run
-- time with them, and are written only when a searched value has changed: a
-- profile is rewritten with every visit, and each time all indexes of its table are.

CREATE FUNCTION profiles._is_searched(type oid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT t.typcategory IN ('S', 'E') OR e.typcategory = 'S' OR t.oid = 'uuid'::regtype
    FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' WHERE t.oid = type;
END;
COMMENT ON FUNCTION profiles._is_searched(oid) IS 'Internal: are columns of a type searched? Text, arrays of text, enums and uuids are.';

-- Searched columns of users or accounts, beside key, name, e-mail and custom
-- attributes, as expressions over alias p that give text.
CREATE FUNCTION profiles._search_columns(kind text, OUT column_name text, OUT expression text)
    RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT a.attname::text,
           CASE WHEN t.typcategory = 'A' THEN format('array_to_string(p.%I, %L)', a.attname, ' ')
                ELSE format('p.%I::text', a.attname) END
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass(format('profiles.%I', profiles._relation(kind))) AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname NOT IN (kind || '_id', kind || '_name', kind || '_email')
      AND NOT EXISTS (SELECT FROM profiles.attribute_config c WHERE c.kind = _search_columns.kind AND c.attribute = a.attname)
      AND profiles._is_searched(a.atttypid)
    ORDER BY a.attnum;
END;
COMMENT ON FUNCTION profiles._search_columns(text) IS 'Internal: the searched columns of a kind beside name, e-mail and custom attributes.';

CREATE FUNCTION profiles._note_searched() RETURNS trigger
    AS 'MODULE_PATHNAME', 'profiles_note_searched' LANGUAGE C;
COMMENT ON FUNCTION profiles._note_searched() IS 'Internal: row trigger on stored profiles whose searched values have changed; takes a note of the key, and whether people are called otherwise or only attributes have changed.';

CREATE FUNCTION profiles._update_searched() RETURNS trigger
    AS 'MODULE_PATHNAME', 'profiles_update_searched' LANGUAGE C;
COMMENT ON FUNCTION profiles._update_searched() IS 'Internal: statement trigger on stored profiles; brings search up to date with the keys noted.';

-- Indexes of what search reads, but those of primary keys.
CREATE FUNCTION profiles._search_indexes(kind text, OUT name text, OUT definition text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT kind || i.suffix, format('CREATE INDEX %I ON profiles.%I %s', kind || i.suffix, kind || i.place, i.definition)
    FROM (VALUES
        ('_search_search_idx', '_search', 'USING gin ((profiles._indexed_words(search)) profiles.words_ops) WITH (fastupdate = on)'),
        ('_search_attributes_idx', '_search', 'USING gin (attributes profiles.words_ops) WITH (fastupdate = on)'),
        ('_search_address_idx', '_search', '((profiles._indexed_address(search) COLLATE "C"))'),
        ('_word_keys_idx', '_word', 'USING gin (keys) WITH (fastupdate = on)')) AS i (suffix, place, definition);
END;
COMMENT ON FUNCTION profiles._search_indexes(text) IS 'Internal: the indexes of what search reads, but those of primary keys.';

-- Makes those that are missing.
CREATE FUNCTION profiles._index_search(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    i record;
BEGIN
    FOR i IN SELECT * FROM profiles._search_indexes(kind) LOOP
        CONTINUE WHEN to_regclass(format('profiles.%I', i.name)) IS NOT NULL;
        IF i.definition LIKE '% USING gin %' THEN
            PERFORM profiles._build_index(i.definition);
        ELSE
            EXECUTE i.definition;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._index_search(text) IS 'Internal: makes the indexes of search that are missing.';

CREATE FUNCTION profiles._upkeep_in_block() RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_upkeep_in_block' LANGUAGE C;
COMMENT ON FUNCTION profiles._upkeep_in_block() IS 'Internal: does this session run upkeep in a transaction block?';

-- A rebuild that finds nobody to be searched makes the indexes when all are there:
-- that takes less time, and they are smaller.
CREATE FUNCTION profiles._unindex_search(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    SET lock_timeout = '100ms'
AS $$
DECLARE
    found boolean;
    i record;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM profiles.%I)', kind || '_search') INTO found;
    -- whoever searches would wait for the end of a transaction block
    IF NOT found AND NOT profiles._upkeep_in_block() THEN
        FOR i IN SELECT * FROM profiles._search_indexes(kind) LOOP
            EXECUTE format('DROP INDEX IF EXISTS profiles.%I', i.name);
        END LOOP;
    END IF;
EXCEPTION WHEN lock_not_available OR object_in_use OR deadlock_detected THEN
    -- somebody searches: then as in any other rebuild
    NULL;
END
$$;
COMMENT ON FUNCTION profiles._unindex_search(text) IS 'Internal: drops the indexes of search if nobody is to be searched.';

-- Makes what search needs of a kind, or brings its trigger up to date with the
-- columns. Whether a searched value has changed is asked before a trigger is called.
CREATE FUNCTION profiles._ensure_search(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $$
DECLARE
    storage regclass := format('profiles.%I', profiles._storage(kind))::regclass;
    searched text[] := ARRAY(
        SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = storage AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's' AND a.atttypid = 'text'::regtype
        ORDER BY a.attnum);
    r record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = storage AND t.tgfoid = 'profiles._update_searched'::regproc) THEN
        -- new, or left over by DROP EXTENSION ... CASCADE
        EXECUTE format('DROP VIEW IF EXISTS profiles.%I, profiles.%I', kind || '_searched', kind || '_imported');
        EXECUTE format('DROP TABLE IF EXISTS profiles.%I, profiles.%I, profiles.%I, profiles.%I',
                       kind || '_search', kind || '_search_due', kind || '_word', kind || '_search_stat');
        EXECUTE format('CREATE TABLE profiles.%I (key text PRIMARY KEY, search tsvector NOT NULL, attributes tsvector NOT NULL)', kind || '_search');
        EXECUTE format('CREATE TABLE profiles.%I (key text NOT NULL, people boolean NOT NULL)', kind || '_search_due');
        EXECUTE format('ALTER TABLE profiles.%I REPLICA IDENTITY FULL', kind || '_search_due');
        EXECUTE format('CREATE TABLE profiles.%I (word text COLLATE "C" PRIMARY KEY, keys integer[] NOT NULL)', kind || '_word');
        EXECUTE format('CREATE TABLE profiles.%I (word text COLLATE "C" PRIMARY KEY, people integer NOT NULL, attributes integer NOT NULL, imported integer NOT NULL)',
                       kind || '_search_stat');
        -- statistics of our own are better, see _search_statistics
        EXECUTE format('ALTER TABLE profiles.%I ALTER search SET STATISTICS 0, ALTER attributes SET STATISTICS 0', kind || '_search');
        EXECUTE format('ALTER TABLE profiles.%I ALTER keys SET STATISTICS 0', kind || '_word');
        PERFORM profiles._index_search(kind);
        FOR r IN
            SELECT * FROM (VALUES
                ('_search', NULL, 'Internal: what search finds each %s by; written only when it changes.'),
                ('_search', 'key', 'Key of the %s.'),
                ('_search', 'search', 'Words of name and e-mail.'),
                ('_search', 'attributes', 'Words of the other attributes but custom ones.'),
                ('_search_due', NULL, 'Internal: each %s whose profile a writer has merged; the next refresh brings search up to date with it.'),
                ('_search_due', 'key', 'Key of the %s.'),
                ('_search_due', 'people', 'Whether name or e-mail have changed, or only other attributes.'),
                ('_word', NULL, 'Internal: words of names of each %s, to which typos are corrected.'),
                ('_word', 'word', 'The word.'),
                ('_word', 'keys', 'Hashes of parts of it.'),
                ('_search_stat', NULL, 'Internal: how frequent words are that search finds a %s by, from a sample.'),
                ('_search_stat', 'word', 'The word, behind a = the word of a name, before a * what words begin with, or the beginning of an address; empty: all.'),
                ('_search_stat', 'people', 'How many have it in name or e-mail, about.'),
                ('_search_stat', 'attributes', 'How many have it in other attributes, about.'),
                ('_search_stat', 'imported', 'How many have it in custom attributes, about.')) AS c (suffix, column_name, description)
        LOOP
            EXECUTE format('COMMENT ON %s profiles.%I%s IS %L', CASE WHEN r.column_name IS NULL THEN 'TABLE' ELSE 'COLUMN' END,
                           kind || r.suffix, coalesce('.' || quote_ident(r.column_name), ''), format(r.description, kind));
        END LOOP;
        EXECUTE format('CREATE TRIGGER profiles_search AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION profiles._update_searched(%s)',
                       storage, quote_literal(kind));
        EXECUTE format('CREATE TRIGGER profiles_search_rows AFTER INSERT OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION profiles._note_searched(%s)',
                       storage, quote_literal(kind));
        PERFORM profiles._search_update(kind, NULL);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = storage AND t.tgname = 'profiles_search_changes'
                     AND encode(t.tgargs, 'escape') = format('%s\000%s\000', kind, array_to_string(searched, ','))) THEN
        PERFORM profiles._ddl(format(
            'CREATE OR REPLACE TRIGGER profiles_search_changes AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) '
            'EXECUTE FUNCTION profiles._note_searched(%L, %L)',
            storage, (SELECT string_agg(format('OLD.%1$I IS DISTINCT FROM NEW.%1$I', c), ' OR ') FROM unnest(searched) AS c),
            kind, array_to_string(searched, ',')));
    END IF;
    PERFORM profiles._replace_searched(kind);
END
$$;
COMMENT ON FUNCTION profiles._ensure_search(text) IS 'Internal: makes what search needs of a kind, or brings it up to date with the columns.';

-- Locks what is searched of some keys: who else changes it is waited for, and
-- seen by the next statement.
CREATE FUNCTION profiles._lock_searched(kind text, keys text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
BEGIN
    EXECUTE format('SELECT FROM profiles.%I s WHERE s.key = ANY ($1) ORDER BY s.key FOR UPDATE', kind || '_search') USING keys;
END
$$;
COMMENT ON FUNCTION profiles._lock_searched(text, text[]) IS 'Internal: locks what is searched of some keys.';

-- Vector of the attributes of a row p of users or accounts, as an expression.
CREATE FUNCTION profiles._attributes_expression(kind text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN (SELECT format('profiles._attribute_vector(VARIADIC ARRAY[%s]::text[])', string_agg(c.expression, ', '))
            FROM profiles._search_columns(kind) c);
COMMENT ON FUNCTION profiles._attributes_expression(text) IS 'Internal: the vector of attributes of a row p of users or accounts.';

-- Brings search up to date with the views, for some keys or (NULL) all.
CREATE FUNCTION profiles._search_update(kind text, keys text[], any_gone boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    -- not as for the statement whose trigger calls this
    SET enable_hashjoin = on
    SET enable_mergejoin = on
AS $$
DECLARE
    search text := kind || '_search';
    id_column text := kind || '_id';
    email text := CASE kind WHEN 'user' THEN 'p.user_email' ELSE 'NULL' END;
    only_keys text := CASE WHEN keys IS NULL THEN '' ELSE ' AND %s = ANY ($1)' END;
BEGIN
    IF keys IS NOT NULL THEN
        PERFORM profiles._lock_searched(kind, keys);
    END IF;
    IF any_gone THEN
        EXECUTE format('DELETE FROM profiles.%I s WHERE NOT EXISTS (SELECT FROM profiles.%I p WHERE p.key = s.key)' || format(only_keys, 's.key'),
                       search, profiles._storage(kind)) USING keys;
    END IF;
    EXECUTE format($query$
        WITH stored AS (
            INSERT INTO profiles.%1$I AS s (key, search, attributes)
            SELECT p.%2$I, profiles._search_vector(p.%3$I, %4$s), %5$s
            FROM profiles.%6$I p WHERE true %7$s
            ORDER BY 1
            ON CONFLICT (key) DO UPDATE SET search = EXCLUDED.search, attributes = EXCLUDED.attributes
            WHERE s.search <> EXCLUDED.search OR s.attributes <> EXCLUDED.attributes
            RETURNING s.search
        )
        INSERT INTO profiles.%8$I (word, keys)
        SELECT n.word, profiles._word_keys(n.word)
        FROM (SELECT DISTINCT w.word COLLATE "C" AS word FROM stored s, unnest(profiles._dictionary_words(s.search)) AS w (word)) n
        WHERE NOT EXISTS (SELECT FROM profiles.%8$I d WHERE d.word = n.word)
        ORDER BY n.word
        ON CONFLICT DO NOTHING $query$,
        search, id_column, kind || '_name', email, profiles._attributes_expression(kind), profiles._relation(kind),
        format(only_keys, 'p.' || quote_ident(id_column)), kind || '_word')
    USING keys;
END
$$;
COMMENT ON FUNCTION profiles._search_update(text, text[], boolean) IS 'Internal: brings search up to date with users or accounts, for some keys or (NULL) for all that differ. any_gone: keys may be among them that have no profile any more.';

CREATE FUNCTION profiles._write_attributes(kind text, keys text[], query text) RETURNS text[]
    AS 'MODULE_PATHNAME', 'profiles_write_attributes' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._write_attributes(text, text[], text) IS 'Internal: writes what is searched of some users or accounts beside name and e-mail, as a query of the keys says it, where it differs, and gathers entries of indexes meanwhile. Returns keys that have to be left to a statement, or NULL.';

-- The same for people who are called as before. Who keeps all others who write the
-- profiles away, and has written those of the keys, need not lock what is searched, and puts
-- indexes in order afterwards. A writer of events leaves words where they wait for that.
CREATE FUNCTION profiles._search_attributes(kind text, keys text[], alone boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    -- by key, whatever is set for the statement whose trigger calls this
    SET enable_nestloop = on
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_seqscan = off
AS $$
DECLARE
    attributes text := format('SELECT p.%1$I AS key, %2$s AS attributes FROM profiles.%3$I p WHERE p.%1$I = ANY ($1)',
                              kind || '_id', profiles._attributes_expression(kind), profiles._relation(kind));
    left_over text[] := keys;
BEGIN
    IF alone THEN
        left_over := profiles._write_attributes(kind, keys, attributes);
    ELSE
        PERFORM profiles._lock_searched(kind, keys);
    END IF;
    IF left_over IS NOT NULL THEN
        EXECUTE format('UPDATE profiles.%I s SET attributes = n.attributes FROM (%s OFFSET 0) n WHERE s.key = n.key AND s.attributes <> n.attributes',
                       kind || '_search', attributes)
        USING left_over;
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._search_attributes(text, text[], boolean) IS 'Internal: brings what is searched of some users or accounts up to date with their attributes. alone: nobody else does for these keys.';

-- A writer who merges leaves search to the next refresh.
CREATE FUNCTION profiles._put_off_search(kind text, keys text[], people boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('INSERT INTO profiles.%I (key, people) SELECT k.key, $2 FROM unnest($1) AS k (key)', kind || '_search_due')
    USING keys, people;
END
$$;
COMMENT ON FUNCTION profiles._put_off_search(text, text[], boolean) IS 'Internal: leaves search to the next refresh, for some keys.';

-- Does some of what writers have left. Returns whether there was any.
CREATE FUNCTION profiles._catch_up_search(kind text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET gin_pending_list_limit = '64MB'
AS $$
DECLARE
    batch constant integer := 50000;
    people text[];
    attributes text[];
BEGIN
    EXECUTE format($query$
        WITH taken AS (
            DELETE FROM profiles.%1$I d
            WHERE d.ctid = ANY (ARRAY(SELECT q.ctid FROM profiles.%1$I q LIMIT $1))
            RETURNING d.key, d.people
        )
        SELECT array_agg(DISTINCT t.key) FILTER (WHERE t.people), array_agg(DISTINCT t.key) FILTER (WHERE NOT t.people)
        FROM taken t $query$, kind || '_search_due')
    INTO people, attributes USING batch;
    IF people IS NOT NULL THEN
        PERFORM profiles._search_update(kind, people, false);
    END IF;
    IF attributes IS NOT NULL THEN
        PERFORM profiles._search_attributes(kind, attributes, false);
    END IF;
    RETURN people IS NOT NULL OR attributes IS NOT NULL;
END
$$;
COMMENT ON FUNCTION profiles._catch_up_search(text) IS 'Internal: brings search up to date with profiles that writers have merged, some at a time.';

-- Custom attributes are searched where they are, in the tables of imports, each by an
-- index of its own: who writes such a table need not know of profiles, nor the other
-- way round.

-- What is searched of a row of an import's table, called a<id>; NULL if it has nothing
-- that is.
CREATE FUNCTION profiles._imported_values(import_id integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('ARRAY[%s]',
                  string_agg(format('a%s.%I%s', import_id, a.attname, CASE WHEN a.atttypid <> 'text'::regtype THEN '::text' END), ', ' ORDER BY a.attnum))
    FROM pg_attribute a
    WHERE a.attrelid = to_regclass(profiles._import_table(import_id)) AND a.attnum > 1 AND NOT a.attisdropped
      AND a.atttypid IN ('text'::regtype, 'uuid'::regtype)
    HAVING count(*) > 0;
END;
COMMENT ON FUNCTION profiles._imported_values(integer) IS 'Internal: what is searched of a row of an import''s table, as an expression; NULL if it has nothing that is.';

-- Makes the index that an import is searched by, after its first load, or puts in
-- order what waits for it there.
CREATE FUNCTION profiles._index_imported(import_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind text := (SELECT i.kind FROM profiles.import_config i WHERE i.id = import_id);
    sample constant integer := 10000;
    name text := format('attributes_%s_search', import_id);
    side regclass := profiles._import_table(import_id);
    searched text := replace(profiles._imported_values(import_id), format('a%s.', import_id), '');
    -- as its key has found when it was made
    people double precision := (SELECT greatest(c.reltuples, 1) FROM pg_class c WHERE c.oid = side);
    rows text := format('SELECT %s AS searched FROM %s TABLESAMPLE BERNOULLI (%%s) REPEATABLE (0)', searched, side);
    cuts text;
    share double precision := 0;
    memory text := current_setting('maintenance_work_mem');
BEGIN
    IF to_regclass('profiles.' || name) IS NOT NULL THEN
        PERFORM gin_clean_pending_list(('profiles.' || name)::regclass);
    ELSIF searched IS NOT NULL THEN
        cuts := profiles._choose_cuts(format(rows, least(100, 100 * sample / people)), people);
        IF cuts IS NULL THEN
            EXECUTE format('SELECT coalesce(count(DISTINCT u.lexeme) / greatest(count(*), 1)::double precision, 0) FROM (%s) s, unnest(profiles._attribute_vector(VARIADIC s.searched)) u',
                           format(rows, least(100, 20 * sample / people)))
            INTO share;
        END IF;
        IF share > 0.4 THEN
            -- whole words of single rows are best gathered by GIN, in a tree that the processor's cache holds
            PERFORM set_config('maintenance_work_mem', '16MB', true);
            EXECUTE format('CREATE INDEX %I ON %s USING gin ((%s) profiles.attribute_ops)', name, side, searched);
            PERFORM set_config('maintenance_work_mem', memory, true);
        ELSE
            PERFORM profiles._build_index(format('CREATE INDEX %I ON %s USING gin ((%s) profiles.%s)', name, side, searched,
                                                 CASE WHEN cuts IS NULL THEN 'attribute_ops' ELSE format('beginning_ops (cuts = %L)', cuts) END));
        END IF;
        PERFORM profiles._imported_statistics(kind);
        PERFORM profiles._search_statistics_changed(kind);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._index_imported(integer) IS 'Internal: makes the index that an import is searched by, or puts it in order.';

-- The index by which search finds the profiles of an import's row, unless that is
-- their key; of all imports that are compared with a column.
CREATE FUNCTION profiles._reverse_index(kind text, profile_key text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('profiles.%I', profiles._storage(kind) || '_import_' || a.attnum)
    FROM pg_attribute a WHERE a.attrelid = to_regclass(format('profiles.%I', profiles._storage(kind))) AND a.attname = profile_key;
END;
COMMENT ON FUNCTION profiles._reverse_index(text, text) IS 'Internal: the index that finds the profiles of an import''s row by a column; NULL for their key.';

CREATE FUNCTION profiles._add_reverse_index(import profiles.import_config) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    storage text := format('profiles.%I', profiles._storage(import.kind));
    name text := profiles._reverse_index(import.kind, import.profile_key);
    key text := profiles._profile_key(import.kind, import.profile_key, '');
BEGIN
    IF name IS NULL OR to_regclass(name) IS NOT NULL OR profiles._imported_values(import.id) IS NULL THEN
        RETURN;
    END IF;
    PERFORM profiles._ddl(format('CREATE INDEX %I ON %s ((%s)) WHERE %s', split_part(name, '.', 2), storage, key, profiles._is_indexable(key)));
    PERFORM profiles._lock_relations(profiles._kind_views(import.kind) || storage, briefly => true);
END
$$;
COMMENT ON FUNCTION profiles._add_reverse_index(profiles.import_config) IS 'Internal: makes the index that finds the profiles of an import''s row, if it is needed.';

-- The views that search reads: what everybody is found by, and who has which custom
-- attributes. The latter is there as long as there are any that are searched.
CREATE FUNCTION profiles._replace_searched(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $$
DECLARE
    searched text := kind || '_searched';
    imported text := kind || '_imported';
    vectors text;
    joins text;
    everybody text;
    r record;
BEGIN
    SELECT string_agg(format(' || profiles._attribute_vector(VARIADIC %s)', i.searched), '' ORDER BY i.id),
           CASE WHEN NOT bool_and(i.by_id) THEN format(' LEFT JOIN profiles.%I p ON p.key = s.key', profiles._storage(kind)) ELSE '' END
               || string_agg(format(' LEFT JOIN %s a%s ON a%2$s.key = %s', i.side, i.id, i.our_key), '' ORDER BY i.id),
           string_agg(CASE WHEN i.by_id THEN format('SELECT a%s.key, %s AS attributes FROM %s a%1$s', i.id, i.searched, i.side)
                           ELSE format('SELECT p.key, %s AS attributes FROM %s a%s JOIN profiles.%I p ON %s',
                                       i.searched, i.side, i.id, profiles._storage(kind),
                                       profiles._has_key(kind, i.profile_key, format('a%s.key', i.id))) END,
                      ' UNION ALL ' ORDER BY i.id)
    INTO vectors, joins, everybody
    FROM (SELECT c.id, c.profile_key, c.profile_key = c.kind || '_id' AS by_id, profiles._import_table(c.id) AS side, profiles._imported_values(c.id) AS searched,
                 CASE WHEN c.profile_key = c.kind || '_id' THEN 's.key' ELSE profiles._profile_key(c.kind, c.profile_key) END AS our_key
          FROM profiles.import_config c WHERE c.kind = _replace_searched.kind) i
    WHERE i.searched IS NOT NULL;
    PERFORM profiles._ddl(format(
        'CREATE OR REPLACE VIEW profiles.%I AS SELECT s.key, s.search, s.attributes AS stored, s.attributes%s AS attributes FROM profiles.%I s%s',
        searched, vectors, kind || '_search', joins));
    IF everybody IS NULL THEN
        PERFORM profiles._ddl(format('DROP VIEW IF EXISTS profiles.%I', imported));
    ELSE
        PERFORM profiles._ddl(format('CREATE OR REPLACE VIEW profiles.%I AS %s', imported, everybody));
    END IF;
    FOR r IN
        SELECT * FROM (VALUES
            (searched, NULL, 'Internal: what search finds each %s by, custom attributes among it.'),
            (searched, 'key', 'Key of the %s.'),
            (searched, 'search', 'Words of name and e-mail.'),
            (searched, 'stored', 'Words of the other attributes but custom ones.'),
            (searched, 'attributes', 'Words of all other attributes.'),
            (imported, NULL, 'Internal: which %s has which custom attributes, for search.'),
            (imported, 'key', 'Key of the %s, who need not be known.'),
            (imported, 'attributes', 'What one reference table says of it.')) AS c (view, column_name, description)
        WHERE to_regclass(format('profiles.%I', c.view)) IS NOT NULL
    LOOP
        EXECUTE format('COMMENT ON %s profiles.%I%s IS %L', CASE WHEN r.column_name IS NULL THEN 'VIEW' ELSE 'COLUMN' END,
                       r.view, coalesce('.' || quote_ident(r.column_name), ''), format(r.description, kind));
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._replace_searched(text) IS 'Internal: makes the views that search reads.';

-- How frequent words of custom attributes are, from a sample.
CREATE FUNCTION profiles._imported_statistics(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    -- a few rows of large tables
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    sample constant integer := 5000;
    people double precision;
    share double precision;
BEGIN
    -- one who counts at a time
    EXECUTE format('LOCK TABLE profiles.%I IN SHARE ROW EXCLUSIVE MODE', kind || '_search_stat');
    EXECUTE format('DELETE FROM profiles.%I t WHERE t.people = 0 AND t.attributes = 0 AND t.word <> ''''', kind || '_search_stat');
    EXECUTE format('UPDATE profiles.%I t SET imported = 0 WHERE t.imported > 0', kind || '_search_stat');
    IF to_regclass(format('profiles.%I', kind || '_imported')) IS NOT NULL THEN
        -- about, as the planner knows it: to count a million takes a twentieth of a first sync
        people := (SELECT c.reltuples / c.relpages * (pg_relation_size(c.oid) / current_setting('block_size')::integer)
                   FROM pg_class c WHERE c.oid = to_regclass(format('profiles.%I', kind || '_search')) AND c.relpages > 0 AND c.reltuples > 0);
        IF people IS NULL THEN
            EXECUTE format('SELECT count(*) FROM profiles.%I', kind || '_search') INTO people;
        END IF;
        share := least(1, sample / greatest(people, 1));
        EXECUTE format($query$
            INSERT INTO profiles.%1$I AS t (word, people, attributes, imported)
            SELECT w.word COLLATE "C", 0, 0, (sum(w.attributes) / $1)::integer
            FROM profiles._count_imported_words($2, $1 * 100) w GROUP BY 1 HAVING sum(w.attributes) > 1
            ON CONFLICT (word) DO UPDATE SET imported = EXCLUDED.imported $query$, kind || '_search_stat')
        USING share, kind;
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._imported_statistics(text) IS 'Internal: counts words of custom attributes of a sample, so that a search can choose where to begin. The caller says that statistics have changed.';

-- Takes what only those had who are gone, or are called otherwise now, from
-- dictionary and statistics. Words that thousands had tell nothing of one, and
-- would take long to look up.
CREATE FUNCTION profiles._prune_words(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format($query$
        DELETE FROM profiles.%I w
        WHERE NOT EXISTS (SELECT FROM profiles.%I t WHERE t.word = w.word AND t.people >= 1000)
          AND NOT EXISTS (SELECT FROM profiles.%I s WHERE profiles._indexed_words(s.search) @@ profiles._lexeme_query(w.word)) $query$,
        kind || '_word', kind || '_search_stat', kind || '_search');
    EXECUTE format($query$
        DELETE FROM profiles.%1$I t
        WHERE t.people + t.attributes + t.imported < 1000 AND t.word NOT LIKE '<%%' AND t.word NOT LIKE '%%*' AND t.word <> ''
          AND NOT EXISTS (SELECT FROM profiles.%2$I s WHERE profiles._indexed_words(s.search) @@ profiles._lexeme_query(t.word))
          AND NOT EXISTS (SELECT FROM profiles.%2$I s WHERE s.attributes @@ profiles._lexeme_query(t.word))
          %3$s $query$,
        kind || '_search_stat', kind || '_search',
        CASE WHEN to_regclass(format('profiles.%I', kind || '_imported')) IS NOT NULL
             THEN format('AND NOT EXISTS (SELECT FROM profiles.%I i WHERE i.attributes OPERATOR(profiles.@@) profiles._lexeme_query(t.word))', kind || '_imported') END);
END
$$;
COMMENT ON FUNCTION profiles._prune_words(text) IS 'Internal: takes the words that nobody has any more from dictionary and statistics.';

CREATE FUNCTION profiles._search_statistics_changed(kind text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_search_statistics_changed' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._search_statistics_changed(text) IS 'Internal: tells sessions, which keep the statistics of search in memory, that they have changed.';

CREATE FUNCTION profiles._count_words(kind text, percent double precision, OUT word text, OUT people integer, OUT attributes integer) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_count_words' LANGUAGE C STRICT ROWS 100000;
COMMENT ON FUNCTION profiles._count_words(text, double precision) IS 'Internal: words of a sample of what is searched, of addresses how they begin, behind a * what words begin with, and of how many people: those who have several words that begin alike count once. A word may come several times.';

CREATE FUNCTION profiles._count_imported_words(kind text, percent double precision, OUT word text, OUT people integer, OUT attributes integer) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_count_imported_words' LANGUAGE C STRICT ROWS 100000;
COMMENT ON FUNCTION profiles._count_imported_words(text, double precision) IS 'Internal: as _count_words, of the custom attributes of a sample of people; each reference table counts by itself.';

-- How frequent words are, from a sample, so that a search can choose where to
-- begin. Of addresses only how they begin. Words that nobody has any more go.
CREATE FUNCTION profiles._search_statistics(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sample constant integer := 30000;
    people bigint;
    share double precision;
BEGIN
    -- pruning words of a table that was known as empty would read all of it for each
    EXECUTE format('ANALYZE profiles.%I', kind || '_search');
    EXECUTE format('SELECT count(*) FROM profiles.%I', kind || '_search') INTO people;
    share := least(1, sample / greatest(people, 1)::double precision);
    EXECUTE format('LOCK TABLE profiles.%I IN SHARE ROW EXCLUSIVE MODE', kind || '_search_stat');
    EXECUTE format('DELETE FROM profiles.%I', kind || '_search_stat');
    EXECUTE format($query$
        INSERT INTO profiles.%1$I (word, people, attributes, imported)
        SELECT w.word COLLATE "C", (sum(w.people) / $1)::integer, (sum(w.attributes) / $1)::integer, 0
        FROM profiles._count_words($3, $1 * 100) w GROUP BY 1 HAVING sum(w.people + w.attributes) > 1
        UNION ALL SELECT '', $2, 0, 0 $query$, kind || '_search_stat')
    USING share, people, kind;
    PERFORM profiles._imported_statistics(kind);
    PERFORM profiles._prune_words(kind);
    PERFORM profiles._search_statistics_changed(kind);
    UPDATE profiles.upkeep u SET search_size = pg_relation_size(format('profiles.%I', _search_statistics.kind || '_search')) WHERE u.kind = _search_statistics.kind;
END
$$;
COMMENT ON FUNCTION profiles._search_statistics(text) IS 'Internal: counts words of a sample, so that a search can choose where to begin.';

-- Puts in order what waits for it in the indexes, which every search would have
-- to read.
CREATE FUNCTION profiles._order_search(kind text) RETURNS void
    AS 'MODULE_PATHNAME', 'profiles_order_search' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._order_search(text) IS 'Internal: puts the indexes of search in order.';

CREATE FUNCTION profiles._search_has_changed(kind text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_search_has_changed' LANGUAGE C STRICT;
COMMENT ON FUNCTION profiles._search_has_changed(text) IS 'Internal: has what is searched grown or shrunk by a good part since its words were last counted?';

-- At the end of upkeep: indexes in order; statistics anew after a rebuild and once
-- much has changed.
CREATE FUNCTION profiles._settle_search(kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state profiles.upkeep := (SELECT u FROM profiles.upkeep u WHERE u.kind = _settle_search.kind);
BEGIN
    PERFORM profiles._order_search(kind);
    IF state.rebuilt_at = state.started_at OR profiles._search_has_changed(kind) THEN
        PERFORM profiles._search_statistics(kind);
    END IF;
END
$$;
COMMENT ON FUNCTION profiles._settle_search(text) IS 'Internal: what upkeep does for search in the end.';

-- searching

CREATE FUNCTION profiles.search_users(query text, max integer DEFAULT 20, filter text DEFAULT NULL,
                                      OUT user_id text, OUT user_name text, OUT user_email text, OUT last_seen timestamptz,
                                      OUT rank real, OUT matched text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_search_users' LANGUAGE C STABLE ROWS 20 COST 10000;
COMMENT ON FUNCTION profiles.search_users(text, integer, text) IS 'Finds users by what somebody typed: name, e-mail or any other text attribute, every word as a prefix, in any order, whatever case and accents; e-mails by any part; typos last. Returns the best first, at most max (1 to 1000), the more recently seen first among equals. rank: greater is better, comparable within one answer only. matched: the columns that met the query, and the word a typo was taken for. filter: a condition on columns of users, see Filters in the reference, or the name of a segment. Whatever query is, it is no error. The caller needs SELECT on profiles.users, and EXECUTE.';

CREATE FUNCTION profiles.search_accounts(query text, max integer DEFAULT 20, filter text DEFAULT NULL,
                                         OUT account_id text, OUT account_name text, OUT last_seen timestamptz,
                                         OUT rank real, OUT matched text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_search_accounts' LANGUAGE C STABLE ROWS 20 COST 10000;
COMMENT ON FUNCTION profiles.search_accounts(text, integer, text) IS 'Finds accounts by what somebody typed: as search_users does, by name and any other text attribute. The caller needs SELECT on profiles.accounts, and EXECUTE.';
