-- The type: text and binary form, accessors, evidence, union, comparison.

CREATE TYPE profiles.profile;

CREATE FUNCTION profiles.profile_in(value cstring) RETURNS profiles.profile
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.profile_out(value profiles.profile) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.profile_recv(value internal) RETURNS profiles.profile
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.profile_send(value profiles.profile) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION profiles.profile_in(cstring) IS 'Text form of a profile to profile. Anything that no fold could have made is refused with a DETAIL that says where.';
COMMENT ON FUNCTION profiles.profile_out(profiles.profile) IS 'Profile to its text form: JSON, lossless, the same bytes for equal profiles.';
COMMENT ON FUNCTION profiles.profile_recv(internal) IS 'Binary form of a profile to profile, checked like the text form.';
COMMENT ON FUNCTION profiles.profile_send(profiles.profile) IS 'Profile to its binary form, for COPY BINARY and drivers.';

CREATE TYPE profiles.profile (
    INPUT = profiles.profile_in,
    OUTPUT = profiles.profile_out,
    RECEIVE = profiles.profile_recv,
    SEND = profiles.profile_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE profiles.profile IS 'The fold of all events of one user or account: when it was first and last seen, and of each attribute group the earliest and the latest evidence.';

-- times and attributes

CREATE FUNCTION profiles.first_seen(profile profiles.profile) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profile_first_seen' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.last_seen(profile profiles.profile) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profile_last_seen' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.first_attribute(profile profiles.profile, attribute text) RETURNS text
    AS 'MODULE_PATHNAME', 'profile_first_attribute' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.last_attribute(profile profiles.profile, attribute text) RETURNS text
    AS 'MODULE_PATHNAME', 'profile_last_attribute' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.first_known(profile profiles.profile, attribute text) RETURNS text
    AS 'MODULE_PATHNAME', 'profile_first_known' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.last_known(profile profiles.profile, attribute text) RETURNS text
    AS 'MODULE_PATHNAME', 'profile_last_known' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.first_known_at(profile profiles.profile, attribute text) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profile_first_known_at' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.last_known_at(profile profiles.profile, attribute text) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'profile_last_known_at' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.profile_attributes(
    profile profiles.profile,
    OUT attribute text,
    OUT first_value text, OUT first_at timestamptz, OUT first_session text,
    OUT last_value text, OUT last_at timestamptz, OUT last_session text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 15;

COMMENT ON FUNCTION profiles.first_seen(profiles.profile) IS 'Time of the subject''s earliest event.';
COMMENT ON FUNCTION profiles.last_seen(profiles.profile) IS 'Time of the subject''s latest event.';
COMMENT ON FUNCTION profiles.first_attribute(profiles.profile, text) IS 'Value of an attribute in the first session: the earliest known one, or NULL if its evidence carries another session. An invalid name is an error, an unknown one gives NULL.';
COMMENT ON FUNCTION profiles.last_attribute(profiles.profile, text) IS 'Value of an attribute in the last session: the latest known one, or NULL if its evidence carries another session. An invalid name is an error, an unknown one gives NULL.';
COMMENT ON FUNCTION profiles.first_known(profiles.profile, text) IS 'Value of an attribute in the earliest event that knows its group, whatever the session.';
COMMENT ON FUNCTION profiles.last_known(profiles.profile, text) IS 'Value of an attribute in the latest event that knows its group, whatever the session.';
COMMENT ON FUNCTION profiles.first_known_at(profiles.profile, text) IS 'Time of the event that first_known() speaks of; NULL where that is NULL.';
COMMENT ON FUNCTION profiles.last_known_at(profiles.profile, text) IS 'Time of the event that last_known() speaks of; NULL where that is NULL.';
COMMENT ON FUNCTION profiles.profile_attributes(profiles.profile) IS 'Why a profile says what it says: for each attribute its first and last value, and the time and session of the event that is the evidence. The row "session" has the first and last session.';

-- union

CREATE FUNCTION profiles.profile_union(a profiles.profile, b profiles.profile) RETURNS profiles.profile
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles.profile_union(profiles.profile, profiles.profile) IS 'The profile of all events of both: associative, commutative and idempotent, byte for byte.';

CREATE OPERATOR profiles.|| (
    LEFTARG = profiles.profile, RIGHTARG = profiles.profile,
    FUNCTION = profiles.profile_union, COMMUTATOR = OPERATOR(profiles.||)
);
COMMENT ON OPERATOR profiles.|| (profiles.profile, profiles.profile) IS 'The profile of all events of both.';

CREATE FUNCTION profiles._adds(stored profiles.profile, other profiles.profile) RETURNS boolean
    AS 'MODULE_PATHNAME', 'profile_adds' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._adds(profiles.profile, profiles.profile) IS 'Internal: is the union of both another profile than the first?';

-- casts

CREATE FUNCTION profiles.profile_to_jsonb(profile profiles.profile) RETURNS jsonb
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles.profile_to_jsonb(profiles.profile) IS 'Flat jsonb: first_seen, last_seen, name, email, and first_x and last_x of every other attribute that is known, dots as underscores.';
CREATE CAST (profiles.profile AS jsonb) WITH FUNCTION profiles.profile_to_jsonb(profiles.profile);
COMMENT ON CAST (profiles.profile AS jsonb) IS 'Flat and friendly; the text form is the lossless one.';

-- comparison

CREATE FUNCTION profiles.profile_eq(a profiles.profile, b profiles.profile) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_ne(a profiles.profile, b profiles.profile) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_lt(a profiles.profile, b profiles.profile) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_le(a profiles.profile, b profiles.profile) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_gt(a profiles.profile, b profiles.profile) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_ge(a profiles.profile, b profiles.profile) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_cmp(a profiles.profile, b profiles.profile) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_hash(value profiles.profile) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION profiles.profile_hash_extended(value profiles.profile, seed bigint) RETURNS bigint
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

COMMENT ON FUNCTION profiles.profile_eq(profiles.profile, profiles.profile) IS 'Same content.';
COMMENT ON FUNCTION profiles.profile_ne(profiles.profile, profiles.profile) IS 'Different content.';
COMMENT ON FUNCTION profiles.profile_lt(profiles.profile, profiles.profile) IS 'Before in the order of the btree class: by first_seen, then fixed but arbitrary.';
COMMENT ON FUNCTION profiles.profile_le(profiles.profile, profiles.profile) IS 'Before in the order of the btree class, or equal.';
COMMENT ON FUNCTION profiles.profile_gt(profiles.profile, profiles.profile) IS 'After in the order of the btree class.';
COMMENT ON FUNCTION profiles.profile_ge(profiles.profile, profiles.profile) IS 'After in the order of the btree class, or equal.';
COMMENT ON FUNCTION profiles.profile_cmp(profiles.profile, profiles.profile) IS 'Comparison for the btree class: negative, 0 or positive.';
COMMENT ON FUNCTION profiles.profile_hash(profiles.profile) IS 'Hash for the hash class.';
COMMENT ON FUNCTION profiles.profile_hash_extended(profiles.profile, bigint) IS 'Hash with a seed for the hash class.';

CREATE OPERATOR profiles.= (
    LEFTARG = profiles.profile, RIGHTARG = profiles.profile, FUNCTION = profiles.profile_eq,
    COMMUTATOR = OPERATOR(profiles.=), NEGATOR = OPERATOR(profiles.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR profiles.<> (
    LEFTARG = profiles.profile, RIGHTARG = profiles.profile, FUNCTION = profiles.profile_ne,
    COMMUTATOR = OPERATOR(profiles.<>), NEGATOR = OPERATOR(profiles.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR profiles.< (
    LEFTARG = profiles.profile, RIGHTARG = profiles.profile, FUNCTION = profiles.profile_lt,
    COMMUTATOR = OPERATOR(profiles.>), NEGATOR = OPERATOR(profiles.>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR profiles.<= (
    LEFTARG = profiles.profile, RIGHTARG = profiles.profile, FUNCTION = profiles.profile_le,
    COMMUTATOR = OPERATOR(profiles.>=), NEGATOR = OPERATOR(profiles.>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR profiles.> (
    LEFTARG = profiles.profile, RIGHTARG = profiles.profile, FUNCTION = profiles.profile_gt,
    COMMUTATOR = OPERATOR(profiles.<), NEGATOR = OPERATOR(profiles.<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR profiles.>= (
    LEFTARG = profiles.profile, RIGHTARG = profiles.profile, FUNCTION = profiles.profile_ge,
    COMMUTATOR = OPERATOR(profiles.<=), NEGATOR = OPERATOR(profiles.<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR profiles.= (profiles.profile, profiles.profile) IS 'Same content.';
COMMENT ON OPERATOR profiles.<> (profiles.profile, profiles.profile) IS 'Different content.';
COMMENT ON OPERATOR profiles.< (profiles.profile, profiles.profile) IS 'Before in the order of the btree class.';
COMMENT ON OPERATOR profiles.<= (profiles.profile, profiles.profile) IS 'Before in the order of the btree class, or equal.';
COMMENT ON OPERATOR profiles.> (profiles.profile, profiles.profile) IS 'After in the order of the btree class.';
COMMENT ON OPERATOR profiles.>= (profiles.profile, profiles.profile) IS 'After in the order of the btree class, or equal.';

CREATE OPERATOR CLASS profiles.profile_ops DEFAULT FOR TYPE profiles.profile USING btree AS
    OPERATOR 1 profiles.<,
    OPERATOR 2 profiles.<=,
    OPERATOR 3 profiles.=,
    OPERATOR 4 profiles.>=,
    OPERATOR 5 profiles.>,
    FUNCTION 1 profiles.profile_cmp(profiles.profile, profiles.profile);
CREATE OPERATOR CLASS profiles.profile_ops DEFAULT FOR TYPE profiles.profile USING hash AS
    OPERATOR 1 profiles.=,
    FUNCTION 1 profiles.profile_hash(profiles.profile),
    FUNCTION 2 profiles.profile_hash_extended(profiles.profile, bigint);
COMMENT ON OPERATOR CLASS profiles.profile_ops USING btree IS 'For ORDER BY, DISTINCT and merge joins; the order is by first_seen, then fixed but arbitrary.';
COMMENT ON OPERATOR CLASS profiles.profile_ops USING hash IS 'For DISTINCT, GROUP BY and hash joins.';

-- many of them in one value, as they are captured

CREATE TYPE profiles._packed;
CREATE FUNCTION profiles._packed_in(value cstring) RETURNS profiles._packed
    AS 'MODULE_PATHNAME', 'profiles_packed_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._packed_in(cstring) IS 'Internal: text form of packed profiles to packed profiles; checks them.';
CREATE FUNCTION profiles._packed_out(value profiles._packed) RETURNS cstring
    AS 'MODULE_PATHNAME', 'profiles_packed_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles._packed_out(profiles._packed) IS 'Internal: packed profiles to their text form, JSON.';
CREATE TYPE profiles._packed (
    INPUT = profiles._packed_in,
    OUTPUT = profiles._packed_out,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE profiles._packed IS 'Internal: keys of many subjects, how many events each has, and the fold of these.';

CREATE FUNCTION profiles._unpack(packed profiles._packed, OUT key text, OUT profile profiles.profile, OUT events bigint)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_unpack' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 50;
COMMENT ON FUNCTION profiles._unpack(profiles._packed) IS 'Internal: what is packed.';
