-- Texts by length, for indexes that must take any value.
--
-- A btree takes no more than 2,700 bytes, and no value may be too long to be
-- stored. So indexes on profiles leave out what is longer; this class of operators
-- lets the planner conclude from a value in a condition that the index has it.
CREATE FUNCTION profiles._length_lt(a text, b text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_length_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION profiles._length_lt(text, text) IS 'Internal: before in the order of text_length_ops.';
CREATE FUNCTION profiles._length_le(a text, b text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_length_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION profiles._length_le(text, text) IS 'Internal: before in the order of text_length_ops, or equal.';
CREATE FUNCTION profiles._length_ge(a text, b text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_length_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION profiles._length_ge(text, text) IS 'Internal: after in the order of text_length_ops, or equal.';
CREATE FUNCTION profiles._length_gt(a text, b text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_length_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION profiles._length_gt(text, text) IS 'Internal: after in the order of text_length_ops.';
CREATE FUNCTION profiles._length_cmp(a text, b text) RETURNS integer
    AS 'MODULE_PATHNAME', 'profiles_length_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION profiles._length_cmp(text, text) IS 'Internal: comparison for text_length_ops: negative, 0 or positive.';
CREATE FUNCTION profiles._shorter(value text, bytes integer) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_shorter' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION profiles._shorter(text, integer) IS 'Internal: has a text fewer bytes?';
CREATE FUNCTION profiles._longer(bytes integer, value text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profiles_longer' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION profiles._longer(integer, text) IS 'Internal: are these more bytes than a text has?';

CREATE OPERATOR profiles.<# (
    LEFTARG = text, RIGHTARG = text, FUNCTION = profiles._length_lt,
    COMMUTATOR = OPERATOR(profiles.>#), NEGATOR = OPERATOR(profiles.>=#)
);
COMMENT ON OPERATOR profiles.<# (text, text) IS 'Internal: before in the order of text_length_ops.';
CREATE OPERATOR profiles.<=# (
    LEFTARG = text, RIGHTARG = text, FUNCTION = profiles._length_le,
    COMMUTATOR = OPERATOR(profiles.>=#), NEGATOR = OPERATOR(profiles.>#)
);
COMMENT ON OPERATOR profiles.<=# (text, text) IS 'Internal: before in the order of text_length_ops, or equal.';
CREATE OPERATOR profiles.>=# (
    LEFTARG = text, RIGHTARG = text, FUNCTION = profiles._length_ge,
    COMMUTATOR = OPERATOR(profiles.<=#), NEGATOR = OPERATOR(profiles.<#)
);
COMMENT ON OPERATOR profiles.>=# (text, text) IS 'Internal: after in the order of text_length_ops, or equal.';
CREATE OPERATOR profiles.># (
    LEFTARG = text, RIGHTARG = text, FUNCTION = profiles._length_gt,
    COMMUTATOR = OPERATOR(profiles.<#), NEGATOR = OPERATOR(profiles.<=#)
);
COMMENT ON OPERATOR profiles.># (text, text) IS 'Internal: after in the order of text_length_ops.';
CREATE OPERATOR profiles.<# (
    LEFTARG = text, RIGHTARG = integer, FUNCTION = profiles._shorter, COMMUTATOR = OPERATOR(profiles.>#),
    -- nearly all are
    RESTRICT = neqsel
);
COMMENT ON OPERATOR profiles.<# (text, integer) IS 'Internal: has a text fewer bytes?';
CREATE OPERATOR profiles.># (
    LEFTARG = integer, RIGHTARG = text, FUNCTION = profiles._longer, COMMUTATOR = OPERATOR(profiles.<#)
);
COMMENT ON OPERATOR profiles.># (integer, text) IS 'Internal: are these more bytes than a text has?';

CREATE OPERATOR CLASS profiles.text_length_ops FOR TYPE text USING btree AS
    OPERATOR 1 profiles.<#,
    OPERATOR 2 profiles.<=#,
    OPERATOR 3 pg_catalog.=,
    OPERATOR 4 profiles.>=#,
    OPERATOR 5 profiles.>#,
    OPERATOR 1 profiles.<# (text, integer),
    OPERATOR 5 profiles.># (integer, text),
    FUNCTION 1 profiles._length_cmp(text, text);
COMMENT ON OPERATOR CLASS profiles.text_length_ops USING btree IS 'Internal: texts by their length in bytes, then by their bytes; an integer is before all texts of so many bytes.';

CREATE FUNCTION profiles._is_indexable(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN value || ' OPERATOR(profiles.<#) 2000';
COMMENT ON FUNCTION profiles._is_indexable(text) IS 'Internal: SQL of the condition that indexes have a text.';
