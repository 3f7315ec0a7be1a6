-- Filters: one language for segments and every filter argument.

CREATE FUNCTION profiles._filter(kind text, filter text) RETURNS text
    AS 'MODULE_PATHNAME', 'profiles_filter' LANGUAGE C STABLE;
COMMENT ON FUNCTION profiles._filter(text, text) IS 'Internal: a filter over users or accounts as checked SQL, a boolean expression over the columns of alias p, true for NULL or blank. It may be evaluated with anybody''s rights. Errors point at the place in the filter.';

CREATE FUNCTION profiles.in_segment(segment text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_in_segment' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION profiles.in_segment(text) IS 'Within a filter: is the profile in the segment of this name? The name must be a literal; the segment must be of the same kind. Outside of filters it is an error.';
