/*
 * packed.c
 *		Partial profiles of many subjects in one value.
 *
 * A statement that brings events of many subjects writes one partial profile for
 * each, mostly of one event.  A row for each would cost more than its content: the
 * row's own head, and in each profile the same names of the same attributes.  So
 * they are packed: one after the other, each with its subject's key; and one of a single
 * event without the bytes at its end that the last such one ends with, too.  These are mostly
 * all but the time and the values.
 *
 *		entry		sizes (PackedEntry), key, bytes of the profile but those at its
 *					end that are shared
 *
 * What is packed on capture fits into a page.  The text form, for dump and restore, is a
 * JSON array: objects with key, events and profile.  In the encoding of another database
 * the strings may be longer, so what is read from it may be larger, and is put out of line then.
 */
#include "postgres.h"

#include "funcapi.h"
#include "packed.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(profiles_packed_in);
PG_FUNCTION_INFO_V1(profiles_packed_out);
PG_FUNCTION_INFO_V1(profiles_unpack);

typedef struct PackedEntry
{
	uint16		events;
	uint16		key;			/* bytes of the key */
	uint16		own;			/* of the profile, that stand here */
	uint16		shared;			/* with the last one of a single event */
} PackedEntry;

/* ---------- packing ---------- */

/* Makes a pack with so much room, for profiles of so many bytes at most; it has to be begun. */
ProfilePack *
profile_pack_make(Size size, uint32 most_profile)
{
	ProfilePack *pack = palloc(sizeof(ProfilePack));

	pack->value = palloc(size);
	pack->size = size;
	pack->most_profile = most_profile;
	pack->last = palloc(most_profile);
	return pack;
}

void
profile_pack_begin(ProfilePack *pack)
{
	pack->used = VARHDRSZ;
	pack->subjects = 0;
	pack->events = 0;
	pack->last_len = 0;
}

/* Is it small enough to be packed with others? */
bool
profile_pack_takes(ProfileString key, const struct varlena *profile, int64 events)
{
	return key.len <= PROFILES_MAX_KEY && VARSIZE_ANY_EXHDR(profile) <= PACK_MOST_PROFILE &&
		events >= 0 && events <= PG_UINT16_MAX;
}

/* How many bytes at their ends do these have in common? */
static uint32
shared_end(const char *a_end, const char *b_end, uint32 most)
{
	uint32		n = 0;

	while (n + sizeof(uint64) <= most && memcmp(a_end - n - sizeof(uint64), b_end - n - sizeof(uint64), sizeof(uint64)) == 0)
		n += sizeof(uint64);
	while (n < most && a_end[-1 - (int) n] == b_end[-1 - (int) n])
		n++;
	return n;
}

/* Adds one whose sizes an entry can hold; false if there is no room left for it. */
bool
profile_pack_add(ProfilePack *pack, ProfileString key, const struct varlena *profile, int64 events)
{
	const char *bytes = VARDATA_ANY(profile);
	uint32		len = VARSIZE_ANY_EXHDR(profile);
	char	   *last_end = pack->last + pack->most_profile;
	uint32		shared = events == 1 ? shared_end(last_end, bytes + len, Min(pack->last_len, len)) : 0;
	PackedEntry entry = {events, key.len, len - shared, shared};
	char	   *at = pack->value + pack->used;

	if (pack->used + sizeof(entry) + entry.key + entry.own > pack->size)
		return false;
	memcpy(at, &entry, sizeof(entry));
	memcpy(at + sizeof(entry), key.data, entry.key);
	memcpy(at + sizeof(entry) + entry.key, bytes, entry.own);
	pack->used += sizeof(entry) + entry.key + entry.own;
	pack->subjects++;
	pack->events += events;
	if (events == 1)
	{
		/* what is shared stands there already */
		memcpy(last_end - len, bytes, entry.own);
		pack->last_len = len;
	}
	return true;
}

/* What has been added; it is the pack's. */
struct varlena *
profile_pack_value(ProfilePack *pack)
{
	SET_VARSIZE(pack->value, pack->used);
	return (struct varlena *) pack->value;
}

void
profile_pack_free(ProfilePack *pack)
{
	pfree(pack->value);
	pfree(pack->last);
	pfree(pack);
}

/* ---------- unpacking ---------- */

void
profile_unpack_begin(ProfileUnpack *unpack, const struct varlena *value)
{
	unpack->at = VARDATA_ANY(value);
	unpack->end = unpack->at + VARSIZE_ANY_EXHDR(value);
	unpack->last = NULL;
}

/*
 * The next of them; false if there is none.  Its profile is palloc'd, and has to be there
 * until all have been read.
 */
bool
profile_unpack_next(ProfileUnpack *unpack)
{
	PackedEntry entry;
	struct varlena *profile;
	Size		left = unpack->end - unpack->at;
	Size		last = unpack->last == NULL ? 0 : VARSIZE(unpack->last) - VARHDRSZ;

	if (left == 0)
		return false;
	if (left >= sizeof(entry))
		memcpy(&entry, unpack->at, sizeof(entry));
	if (left < sizeof(entry) || left - sizeof(entry) < (Size) entry.key + entry.own || entry.shared > last)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("packed profiles are corrupted")));

	profile = palloc(VARHDRSZ + entry.own + entry.shared);
	SET_VARSIZE(profile, VARHDRSZ + entry.own + entry.shared);
	unpack->key = profile_string(unpack->at + sizeof(entry), entry.key);
	memcpy(VARDATA(profile), unpack->key.data + entry.key, entry.own);
	if (entry.shared > 0)
		memcpy(VARDATA(profile) + entry.own, VARDATA(unpack->last) + last - entry.shared, entry.shared);
	unpack->events = entry.events;
	unpack->profile = profile;
	if (entry.events == 1)
		unpack->last = profile;
	unpack->at += sizeof(entry) + entry.key + entry.own;
	return true;
}

/* ---------- text form ---------- */

static JsonbValue *
member(JsonbContainer *object, const char *name, enum jbvType type)
{
	JsonbValue *value = getKeyJsonValueFromContainer(object, name, strlen(name), NULL);

	return value != NULL && value->type == type ? value : NULL;
}

/* Adds what an object of the text form says; false if there is something wrong with it. */
static bool
pack_object(ProfilePack *pack, JsonbContainer *object)
{
	JsonbValue *key = member(object, "key", jbvString);
	JsonbValue *events = member(object, "events", jbvNumeric);
	JsonbValue *profile = getKeyJsonValueFromContainer(object, "profile", strlen("profile"), NULL);
	ProfileString key_string;
	struct varlena *value;
	char	   *text;
	int64		n;

	if (key == NULL || events == NULL || profile == NULL || profile->type != jbvBinary)
		return false;
	key_string = profile_string(key->val.string.val, key->val.string.len);
	n = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(events->val.numeric)));
	text = JsonbToCString(NULL, profile->val.binary.data, profile->val.binary.len);
	value = (struct varlena *) DatumGetPointer(DirectFunctionCall1(profile_in, CStringGetDatum(text)));
	if (key_string.len > PG_UINT16_MAX || VARSIZE_ANY_EXHDR(value) > PG_UINT16_MAX || n < 0 || n > PG_UINT16_MAX)
		return false;
	while (!profile_pack_add(pack, key_string, value, n))
	{
		pack->size *= 2;
		pack->value = repalloc(pack->value, pack->size);
	}
	return true;
}

/* _packed_in(cstring) */
Datum
profiles_packed_in(PG_FUNCTION_ARGS)
{
	Jsonb	   *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, PG_GETARG_DATUM(0)));
	ProfilePack *pack = profile_pack_make(PACK_SIZE, PG_UINT16_MAX);
	bool		right = JB_ROOT_IS_ARRAY(json) && !JB_ROOT_IS_SCALAR(json);

	profile_pack_begin(pack);
	for (uint32 i = 0; right && i < JB_ROOT_COUNT(json); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&json->root, i);

		right = element->type == jbvBinary && JsonContainerIsObject(element->val.binary.data) &&
			pack_object(pack, element->val.binary.data);
	}
	if (!right)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "_packed"),
				 errdetail("It is a JSON array of objects with key, events and profile, of no more than 65535 bytes or events each.")));
	PG_RETURN_POINTER(profile_pack_value(pack));
}

/* _packed_out(_packed) */
Datum
profiles_packed_out(PG_FUNCTION_ARGS)
{
	ProfileUnpack unpack;
	StringInfoData out;

	initStringInfo(&out);
	profile_unpack_begin(&unpack, PG_GETARG_VARLENA_PP(0));
	appendStringInfoChar(&out, '[');
	while (profile_unpack_next(&unpack))
	{
		if (out.len > 1)
			appendStringInfoString(&out, ", ");
		appendStringInfoString(&out, "{\"key\": ");
		escape_json(&out, pnstrdup(unpack.key.data, unpack.key.len));
		appendStringInfo(&out, ", \"events\": " INT64_FORMAT ", \"profile\": %s}", unpack.events,
						 DatumGetCString(DirectFunctionCall1(profile_out, PointerGetDatum(unpack.profile))));
	}
	appendStringInfoChar(&out, ']');
	PG_RETURN_CSTRING(out.data);
}

/* _unpack(_packed) */
Datum
profiles_unpack(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ProfileUnpack unpack;

	InitMaterializedSRF(fcinfo, 0);
	profile_unpack_begin(&unpack, PG_GETARG_VARLENA_PP(0));
	while (profile_unpack_next(&unpack))
	{
		Datum		values[] = {PointerGetDatum(cstring_to_text_with_len(unpack.key.data, unpack.key.len)),
		PointerGetDatum(unpack.profile), Int64GetDatum(unpack.events)};
		bool		nulls[lengthof(values)] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
