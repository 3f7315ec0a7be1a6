-- Search: people by name, e-mail and attributes.

-- how text is taken apart

CREATE FUNCTION profiles.people_tsvector(name text, email text) RETURNS tsvector
    AS 'MODULE_PATHNAME', 'people_tsvector' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION profiles.people_tsvector(text, text) IS 'Vector of a person, for queries by people_tsquery: words folded of case, accents and width, apostrophes and hyphens joined, the address by each of its parts. Weights: A the name, B the local part, C the host. The same on every version and locale.';

CREATE FUNCTION profiles.people_tsquery(query text) RETURNS tsquery
    AS 'MODULE_PATHNAME', 'people_tsquery' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION profiles.people_tsquery(text) IS 'Query for vectors of people_tsvector from what somebody typed: every word is a prefix, in any order. An upper-case OR parts alternatives, other operators are text. Never an error; an empty query, which finds nothing, if there are no words.';

CREATE FUNCTION profiles._attribute_vector(VARIADIC attributes text[]) RETURNS tsvector
    AS 'MODULE_PATHNAME', 'people_attribute_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50;
COMMENT ON FUNCTION profiles._attribute_vector(text[]) IS 'Internal: vector of the values of attributes, without positions.';

CREATE FUNCTION profiles._dictionary_words(vector tsvector) RETURNS text[]
    AS 'MODULE_PATHNAME', 'people_dictionary_words' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION profiles._dictionary_words(tsvector) IS 'Internal: words of a person''s vector that typos are corrected to.';

CREATE FUNCTION profiles._word_keys(word text, deletes integer) RETURNS integer[]
    AS 'MODULE_PATHNAME', 'people_word_keys' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION profiles._word_keys(text, integer) IS 'Internal: hashes of a word''s beginning with up to so many letters left out; words within that distance have one in common. NULL for what is no word.';

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
