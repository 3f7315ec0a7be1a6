/*
 * profile_ops.c
 *		What SQL asks of a profile: accessors, evidence, comparison, hash, union,
 *		the cast to jsonb.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "profile.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(profile_first_seen);
PG_FUNCTION_INFO_V1(profile_last_seen);
PG_FUNCTION_INFO_V1(profile_first_attribute);
PG_FUNCTION_INFO_V1(profile_last_attribute);
PG_FUNCTION_INFO_V1(profile_first_known);
PG_FUNCTION_INFO_V1(profile_last_known);
PG_FUNCTION_INFO_V1(profile_first_known_at);
PG_FUNCTION_INFO_V1(profile_last_known_at);
PG_FUNCTION_INFO_V1(profile_attributes);
PG_FUNCTION_INFO_V1(profile_union);
PG_FUNCTION_INFO_V1(profile_adds);
PG_FUNCTION_INFO_V1(profile_to_jsonb);
PG_FUNCTION_INFO_V1(profile_eq);
PG_FUNCTION_INFO_V1(profile_ne);
PG_FUNCTION_INFO_V1(profile_lt);
PG_FUNCTION_INFO_V1(profile_le);
PG_FUNCTION_INFO_V1(profile_gt);
PG_FUNCTION_INFO_V1(profile_ge);
PG_FUNCTION_INFO_V1(profile_cmp);
PG_FUNCTION_INFO_V1(profile_hash);
PG_FUNCTION_INFO_V1(profile_hash_extended);

/* ---------- one decoding for many accessors ---------- */

/*
 * The value that was decoded last.  A row's generated columns ask one profile
 * for twenty-odd attributes, each through its own accessor: the first decodes
 * it, the others compare its bytes, or only its TOAST pointer, with these.
 */
typedef struct ViewCache
{
	MemoryContext context;		/* holds value and content */
	struct varlena *value;		/* a copy; NULL if nothing is cached */
	ProfileContent content;
	bool		toasted;		/* is pointer known? */
	struct varatt_external pointer;
	LocalTransactionId lxid;	/* in which the pointer means this value */
} ViewCache;

static ViewCache cache;

static void
cache_value(const struct varlena *value)
{
	MemoryContext old;
	struct varlena *copy;

	if (cache.context == NULL)
		cache.context = AllocSetContextCreate(TopMemoryContext,
											  "decoded profile",
											  ALLOCSET_DEFAULT_SIZES);
	cache.value = NULL;
	cache.toasted = false;
	MemoryContextReset(cache.context);

	old = MemoryContextSwitchTo(cache.context);
	copy = palloc(VARSIZE_ANY(value));
	memcpy(copy, value, VARSIZE_ANY(value));
	profile_decode_trusted(copy, &cache.content);
	MemoryContextSwitchTo(old);
	cache.value = copy;
}

/*
 * The content of a profile's Datum.
 *
 * Caution: it is valid until the next call, and must not be modified.
 */
const ProfileContent *
profile_view(Datum datum)
{
	struct varlena *datum_value = (struct varlena *) DatumGetPointer(datum);
	struct varlena *value;
	struct varatt_external pointer;
	bool		toasted = VARATT_IS_EXTERNAL_ONDISK(datum_value);

	if (toasted)
	{
		VARATT_EXTERNAL_GET_POINTER(pointer, datum_value);
		if (cache.value != NULL && cache.toasted &&
			cache.lxid == PROFILES_MY_LXID &&
			memcmp(&pointer, &cache.pointer, sizeof(pointer)) == 0)
			return &cache.content;
	}

	value = PG_DETOAST_DATUM_PACKED(datum);
	if (cache.value == NULL ||
		VARSIZE_ANY(value) != VARSIZE_ANY(cache.value) ||
		memcmp(value, cache.value, VARSIZE_ANY(value)) != 0)
		cache_value(value);
	if (toasted)
	{
		cache.toasted = true;
		cache.pointer = pointer;
		cache.lxid = PROFILES_MY_LXID;
	}
	if (value != datum_value)
		pfree(value);
	return &cache.content;
}

/* ---------- accessors ---------- */

typedef struct Member
{
	const ProfileGroup *group;	/* NULL: the profile does not know the name */
	int			index;
} Member;

static Member
search_member(const ProfileContent *content, ProfileString name)
{
	Member		result = {NULL, 0};

	for (int g = 0; g < content->ngroups; g++)
	{
		const ProfileGroup *group = &content->groups[g];

		for (int m = 0; m < group->nmembers; m++)
		{
			if (profile_string_eq(group->names[m], name))
			{
				result.group = group;
				result.index = m;
				return result;
			}
		}
	}
	return result;
}

/* The name that an accessor's call site asked for last. */
typedef struct CheckedName
{
	uint32		len;
	char		name[PROFILE_MAX_NAME];
} CheckedName;

/*
 * Finds an attribute by the name in a text argument.
 *
 * Generated columns and queries pass constants, so a valid name is remembered
 * in fn_extra and not checked again.
 */
static Member
find_member(FmgrInfo *flinfo, const ProfileContent *content, text *arg)
{
	ProfileString name = profile_string(VARDATA_ANY(arg), VARSIZE_ANY_EXHDR(arg));
	CheckedName *checked = flinfo->fn_extra;

	if (checked == NULL || checked->len != name.len ||
		memcmp(checked->name, name.data, name.len) != 0)
	{
		if (!profile_name_is_valid(name.data, name.len))
			profile_name_error(text_to_cstring(arg));
		if (checked == NULL)
			checked = flinfo->fn_extra = MemoryContextAlloc(flinfo->fn_mcxt,
															sizeof(CheckedName));
		memcpy(checked->name, name.data, name.len);
		checked->len = name.len;
	}

	return search_member(content, name);
}

static const ProfileEvidence *
group_end(const ProfileGroup *group, ProfileEnd end)
{
	return end == PROFILE_FIRST ? &group->first : &group->last;
}

/*
 * Is this the evidence of the first (last) session?  It is unless it carries a
 * session other than the subject's first (last) one.
 */
static bool
of_end_session(const ProfileContent *content, ProfileEnd end,
			   const ProfileEvidence *e)
{
	if (e->session.data == NULL)
		return true;
	/* groups are in the order of their names, so this one is among the last */
	for (int g = content->ngroups - 1; g >= 0; g--)
	{
		const ProfileGroup *group = &content->groups[g];

		if (profile_is_session(group->names[0]))
			return profile_string_eq(group_end(group, end)->session, e->session);
	}
	return true;
}

/* The value at an end of a member; data is NULL where it is not known. */
static ProfileString
value_of(const ProfileContent *content, Member member, ProfileEnd end, bool of_session)
{
	const ProfileEvidence *e;

	if (member.group == NULL)
		return profile_string(NULL, 0);
	e = group_end(member.group, end);
	if (of_session && !of_end_session(content, end, e))
		return profile_string(NULL, 0);
	return e->values[member.index];
}

/* The value of an attribute at an end, and when that was. */
static ProfileString
find_value(FunctionCallInfo fcinfo, ProfileEnd end, bool of_session,
		   TimestampTz *at)
{
	const ProfileContent *content = profile_view(PG_GETARG_DATUM(0));
	Member		member = find_member(fcinfo->flinfo, content, PG_GETARG_TEXT_PP(1));
	ProfileString value = value_of(content, member, end, of_session);

	if (value.data != NULL)
		*at = group_end(member.group, end)->at;
	return value;
}

static Datum
value_datum(FunctionCallInfo fcinfo, ProfileEnd end, bool of_session)
{
	TimestampTz at;
	ProfileString value = find_value(fcinfo, end, of_session, &at);

	if (value.data == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(value.data, value.len));
}

static Datum
time_datum(FunctionCallInfo fcinfo, ProfileEnd end)
{
	TimestampTz at = 0;

	if (find_value(fcinfo, end, false, &at).data == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(at);
}

Datum
profile_first_seen(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(profile_view(PG_GETARG_DATUM(0))->first_seen);
}

Datum
profile_last_seen(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(profile_view(PG_GETARG_DATUM(0))->last_seen);
}

Datum
profile_first_attribute(PG_FUNCTION_ARGS)
{
	return value_datum(fcinfo, PROFILE_FIRST, true);
}

Datum
profile_last_attribute(PG_FUNCTION_ARGS)
{
	return value_datum(fcinfo, PROFILE_LAST, true);
}

Datum
profile_first_known(PG_FUNCTION_ARGS)
{
	return value_datum(fcinfo, PROFILE_FIRST, false);
}

Datum
profile_last_known(PG_FUNCTION_ARGS)
{
	return value_datum(fcinfo, PROFILE_LAST, false);
}

Datum
profile_first_known_at(PG_FUNCTION_ARGS)
{
	return time_datum(fcinfo, PROFILE_FIRST);
}

Datum
profile_last_known_at(PG_FUNCTION_ARGS)
{
	return time_datum(fcinfo, PROFILE_LAST);
}

/* ---------- accessors without a call ---------- */

static const struct
{
	PGFunction	function;
	ProfileEnd	end;
	ProfileAccess access;
}			accessors[] = {
	{profile_first_seen, PROFILE_FIRST, PROFILE_SEEN},
	{profile_last_seen, PROFILE_LAST, PROFILE_SEEN},
	{profile_first_attribute, PROFILE_FIRST, PROFILE_ATTRIBUTE},
	{profile_last_attribute, PROFILE_LAST, PROFILE_ATTRIBUTE},
	{profile_first_known, PROFILE_FIRST, PROFILE_KNOWN},
	{profile_last_known, PROFILE_LAST, PROFILE_KNOWN}
};

/* Is a function one of the accessors?  The name is for the caller to fill in. */
bool
profile_find_accessor(PGFunction function, ProfileAccessor *accessor)
{
	memset(accessor, 0, sizeof(ProfileAccessor));
	for (int i = 0; i < (int) lengthof(accessors); i++)
	{
		if (accessors[i].function == function)
		{
			accessor->end = accessors[i].end;
			accessor->access = accessors[i].access;
			return true;
		}
	}
	return false;
}

/* What an accessor of a time returns for a content. */
TimestampTz
profile_accessor_time(const ProfileAccessor *accessor, const ProfileContent *content)
{
	Assert(accessor->access == PROFILE_SEEN);
	return accessor->end == PROFILE_FIRST ? content->first_seen : content->last_seen;
}

/* What one of an attribute does; data is NULL where it is not known. */
ProfileString
profile_accessor_string(ProfileAccessor *accessor, const ProfileContent *content)
{
	Member		member;
	ProfileString name = {NULL, 0};

	/* mostly at the same place as in the content before, and mostly the name is those very bytes */
	if (accessor->group < content->ngroups && accessor->member < content->groups[accessor->group].nmembers)
		name = content->groups[accessor->group].names[accessor->member];
	if (name.data != NULL && (name.data == accessor->name.data || profile_string_eq(name, accessor->name)))
	{
		member.group = &content->groups[accessor->group];
		member.index = accessor->member;
	}
	else
	{
		member = search_member(content, accessor->name);
		if (member.group != NULL)
		{
			accessor->group = member.group - content->groups;
			accessor->member = member.index;
		}
	}
	return value_of(content, member, accessor->end, accessor->access == PROFILE_ATTRIBUTE);
}

/* ---------- evidence as rows ---------- */

static Datum
string_datum(ProfileString s, bool *isnull)
{
	*isnull = s.data == NULL;
	return *isnull ? (Datum) 0
		: PointerGetDatum(cstring_to_text_with_len(s.data, s.len));
}

Datum
profile_attributes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ProfileContent content;

	InitMaterializedSRF(fcinfo, 0);
	profile_decode_trusted(PG_GETARG_VARLENA_PP(0), &content);
	for (int g = 0; g < content.ngroups; g++)
	{
		const ProfileGroup *group = &content.groups[g];

		for (int m = 0; m < group->nmembers; m++)
		{
			Datum		values[7];
			bool		nulls[7] = {false};

			values[0] = string_datum(group->names[m], &nulls[0]);
			values[1] = string_datum(group->first.values[m], &nulls[1]);
			values[2] = TimestampTzGetDatum(group->first.at);
			values[3] = string_datum(group->first.session, &nulls[3]);
			values[4] = string_datum(group->last.values[m], &nulls[4]);
			values[5] = TimestampTzGetDatum(group->last.at);
			values[6] = string_datum(group->last.session, &nulls[6]);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/* ---------- union and cast ---------- */

static struct varlena *
union_of(struct varlena *a, struct varlena *b)
{
	ProfileContent ca;
	ProfileContent cb;
	ProfileContent merged;

	profile_decode_trusted(a, &ca);
	profile_decode_trusted(b, &cb);
	profile_merge(&ca, &cb, &merged);
	return profile_build(&merged);
}

Datum
profile_union(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(union_of(PG_GETARG_VARLENA_PP(0), PG_GETARG_VARLENA_PP(1)));
}

/*
 * _adds(stored, other): is the union another profile than the stored one?  Mostly
 * the times tell already.
 */
Datum
profile_adds(PG_FUNCTION_ARGS)
{
	struct varlena *stored = PG_GETARG_VARLENA_PP(0);
	struct varlena *other = PG_GETARG_VARLENA_PP(1);
	struct varlena *both;
	ProfileContent times;
	ProfileContent other_times;

	profile_decode_times_trusted(stored, &times);
	profile_decode_times_trusted(other, &other_times);
	if (other_times.first_seen < times.first_seen || other_times.last_seen > times.last_seen)
		PG_RETURN_BOOL(true);
	both = union_of(stored, other);
	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(both) != VARSIZE_ANY_EXHDR(stored) ||
				   memcmp(VARDATA_ANY(both), VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(both)) != 0);
}

/* Appends "end_attribute": "value", with the column's name for the key. */
static void
append_pair(StringInfo out, const char *end, ProfileString name, ProfileString value)
{
	char	   *copy;

	if (value.data == NULL)
		return;
	appendStringInfo(out, "\"%s", end);
	for (uint32 i = 0; i < name.len; i++)
		appendStringInfoChar(out, name.data[i] == '.' ? '_' : name.data[i]);
	appendStringInfoString(out, "\": ");
	copy = pnstrdup(value.data, value.len);
	escape_json(out, copy);
	appendStringInfoString(out, ", ");
	pfree(copy);
}

/*
 * Flat and friendly: {"first_seen": ..., "last_seen": ..., "name": ...,
 * "first_geo_country": ..., "last_geo_country": ...}, of what is known.
 */
Datum
profile_to_jsonb(PG_FUNCTION_ARGS)
{
	ProfileContent content;
	StringInfoData out;

	profile_decode_trusted(PG_GETARG_VARLENA_PP(0), &content);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int g = 0; g < content.ngroups; g++)
	{
		const ProfileGroup *group = &content.groups[g];

		for (int m = 0; m < group->nmembers; m++)
		{
			ProfileString name = group->names[m];

			/* nobody's "first name" is meant here */
			if ((name.len == 4 && memcmp(name.data, "name", 4) == 0) ||
				(name.len == 5 && memcmp(name.data, "email", 5) == 0))
			{
				append_pair(&out, "", name, group->last.values[m]);
				continue;
			}
			append_pair(&out, "first_", name, group->first.values[m]);
			append_pair(&out, "last_", name, group->last.values[m]);
		}
	}
	/* last, so that they win over an attribute called "seen" */
	appendStringInfoString(&out, "\"first_seen\": ");
	profile_append_time(&out, content.first_seen);
	appendStringInfoString(&out, ", \"last_seen\": ");
	profile_append_time(&out, content.last_seen);
	appendStringInfoChar(&out, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

/* ---------- comparison ---------- */

/*
 * Order of the bytes: by first_seen, then arbitrary but fixed.  Equal content
 * has equal bytes.
 */
static int
compare(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);
	int			c;

	c = profile_string_cmp(profile_string(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a)),
						   profile_string(VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b)));
	/* a btree's comparison must not leave its arguments' copies behind */
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return c;
}

Datum
profile_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

Datum
profile_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

Datum
profile_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

Datum
profile_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

Datum
profile_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

Datum
profile_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

Datum
profile_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

Datum
profile_hash(PG_FUNCTION_ARGS)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	Datum		result = hash_any((unsigned char *) VARDATA_ANY(a),
								  VARSIZE_ANY_EXHDR(a));

	PG_FREE_IF_COPY(a, 0);
	return result;
}

Datum
profile_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	Datum		result = hash_any_extended((unsigned char *) VARDATA_ANY(a),
										   VARSIZE_ANY_EXHDR(a),
										   PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(a, 0);
	return result;
}
