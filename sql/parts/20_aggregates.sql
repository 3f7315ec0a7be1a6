-- The aggregates.

-- profile_agg: events to a profile

CREATE FUNCTION profiles.profile_transfn(state internal, seen_at timestamptz, VARIADIC pairs "any") RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 30;
CREATE FUNCTION profiles.profile_finalfn(state internal) RETURNS profiles.profile
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION profiles.profile_combine(a internal, b internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION profiles.profile_serialize(state internal) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.profile_deserialize(bytes bytea, state internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles.profile_transfn(internal, timestamptz, "any") IS 'Support function of profile_agg.';
COMMENT ON FUNCTION profiles.profile_finalfn(internal) IS 'Support function of profile_agg.';
COMMENT ON FUNCTION profiles.profile_combine(internal, internal) IS 'Support function of profile_agg.';
COMMENT ON FUNCTION profiles.profile_serialize(internal) IS 'Support function of profile_agg.';
COMMENT ON FUNCTION profiles.profile_deserialize(bytea, internal) IS 'Support function of profile_agg.';

CREATE AGGREGATE profiles.profile_agg(seen_at timestamptz, VARIADIC pairs "any") (
    SFUNC = profiles.profile_transfn,
    STYPE = internal,
    SSPACE = 1024,
    FINALFUNC = profiles.profile_finalfn,
    FINALFUNC_MODIFY = READ_ONLY,
    COMBINEFUNC = profiles.profile_combine,
    SERIALFUNC = profiles.profile_serialize,
    DESERIALFUNC = profiles.profile_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE profiles.profile_agg(timestamptz, "any") IS 'Folds events into a profile: profile_agg(seen_at, ''session'', sid, ''geo.country'', country, ...), names and values in pairs, 49 pairs at most, or VARIADIC text[] of pairs. Rows whose seen_at is NULL are left out; no rows give NULL. Errors: an odd number of arguments, a NULL, invalid or repeated name, an infinite time.';

-- what folds by query call: profile_agg, but for values that are too long
CREATE FUNCTION profiles._fold_transfn(state internal, longest integer, seen_at timestamptz, VARIADIC pairs "any") RETURNS internal
    AS 'MODULE_PATHNAME', 'profile_fold_transfn' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 30;
COMMENT ON FUNCTION profiles._fold_transfn(internal, integer, timestamptz, "any") IS 'Internal: support function of _fold_agg.';
CREATE AGGREGATE profiles._fold_agg(longest integer, seen_at timestamptz, VARIADIC pairs "any") (
    SFUNC = profiles._fold_transfn,
    STYPE = internal,
    SSPACE = 1024,
    FINALFUNC = profiles.profile_finalfn,
    FINALFUNC_MODIFY = READ_ONLY,
    COMBINEFUNC = profiles.profile_combine,
    SERIALFUNC = profiles.profile_serialize,
    DESERIALFUNC = profiles.profile_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE profiles._fold_agg(integer, timestamptz, "any") IS 'Internal: profile_agg of events of a source. longest: of a value so many bytes count, or fewer, so that its characters are whole.';

-- profile_union_agg: profiles to a profile

CREATE AGGREGATE profiles.profile_union_agg(profile profiles.profile) (
    SFUNC = profiles.profile_union,
    STYPE = profiles.profile,
    COMBINEFUNC = profiles.profile_union,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE profiles.profile_union_agg(profiles.profile) IS 'Rolls profiles up into the profile of all their events. NULLs are left out; no rows give NULL.';

-- first, last: the value of the earliest and the latest row

CREATE FUNCTION profiles.first_transfn(state internal, value anyelement, at "any") RETURNS internal
    AS 'MODULE_PATHNAME', 'profile_first_transfn' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION profiles.last_transfn(state internal, value anyelement, at "any") RETURNS internal
    AS 'MODULE_PATHNAME', 'profile_last_transfn' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION profiles.first_combine(a internal, b internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'profile_first_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION profiles.last_combine(a internal, b internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'profile_last_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION profiles.bookend_finalfn(state internal, value anyelement, at "any") RETURNS anyelement
    AS 'MODULE_PATHNAME', 'profile_bookend_finalfn' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION profiles.bookend_serialize(state internal) RETURNS bytea
    AS 'MODULE_PATHNAME', 'profile_bookend_serialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION profiles.bookend_deserialize(bytes bytea, state internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'profile_bookend_deserialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION profiles.first_transfn(internal, anyelement, "any") IS 'Support function of first.';
COMMENT ON FUNCTION profiles.last_transfn(internal, anyelement, "any") IS 'Support function of last.';
COMMENT ON FUNCTION profiles.first_combine(internal, internal) IS 'Support function of first.';
COMMENT ON FUNCTION profiles.last_combine(internal, internal) IS 'Support function of last.';
COMMENT ON FUNCTION profiles.bookend_finalfn(internal, anyelement, "any") IS 'Support function of first and last.';
COMMENT ON FUNCTION profiles.bookend_serialize(internal) IS 'Support function of first and last.';
COMMENT ON FUNCTION profiles.bookend_deserialize(bytea, internal) IS 'Support function of first and last.';

CREATE AGGREGATE profiles.first(value anyelement, at "any") (
    SFUNC = profiles.first_transfn,
    STYPE = internal,
    SSPACE = 64,
    FINALFUNC = profiles.bookend_finalfn,
    FINALFUNC_EXTRA,
    FINALFUNC_MODIFY = READ_ONLY,
    COMBINEFUNC = profiles.first_combine,
    SERIALFUNC = profiles.bookend_serialize,
    DESERIALFUNC = profiles.bookend_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE profiles.first(anyelement, "any") IS 'Value of the row with the smallest "at", of any type that sorts. A NULL "at" is left out, a NULL value counts. Equal "at": a value before NULL, then the smallest value, then the smaller bytes.';

CREATE AGGREGATE profiles.last(value anyelement, at "any") (
    SFUNC = profiles.last_transfn,
    STYPE = internal,
    SSPACE = 64,
    FINALFUNC = profiles.bookend_finalfn,
    FINALFUNC_EXTRA,
    FINALFUNC_MODIFY = READ_ONLY,
    COMBINEFUNC = profiles.last_combine,
    SERIALFUNC = profiles.bookend_serialize,
    DESERIALFUNC = profiles.bookend_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE profiles.last(anyelement, "any") IS 'Value of the row with the greatest "at", of any type that sorts. A NULL "at" is left out, a NULL value counts. Equal "at": a value before NULL, then the greatest value, then the smaller bytes.';
