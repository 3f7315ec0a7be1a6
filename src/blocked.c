/*
 * blocked.c
 *		Keys that are blocked, in memory: for whoever has many to look up, or the
 *		beginnings of some.
 *
 * A key that is too long for an index is blocked by its beginning, which is still too long
 * for a profile: so it is nobody else's.
 */
#include "postgres.h"

#include "blocked.h"
#include "catalog/namespace.h"
#include "left_out.h"
#include "upkeep.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(profiles_blocked_key);

typedef struct Reading
{
	BlockedKeys *blocked;
	const char *kind;
	uint32		shortest;
} Reading;

static int
compare_keys(const void *a, const void *b)
{
	return profile_string_cmp(*(const ProfileString *) a, *(const ProfileString *) b);
}

static bool
take_key(TupleTableSlot *row, void *to)
{
	Reading    *reading = to;
	BlockedKeys *blocked = reading->blocked;
	text	   *key = DatumGetTextPP(profiles_row_value(row, "key"));

	if (VARSIZE_ANY_EXHDR(key) < reading->shortest ||
		strcmp(TextDatumGetCString(profiles_row_value(row, "kind")), reading->kind) != 0)
		return true;
	/* as many as a power of two */
	if ((blocked->n & (blocked->n - 1)) == 0)
		blocked->keys = blocked->n == 0 ? palloc(sizeof(ProfileString))
			: repalloc_huge(blocked->keys, 2 * (Size) blocked->n * sizeof(ProfileString));
	key = DatumGetTextPCopy(PointerGetDatum(key));
	blocked->keys[blocked->n++] = profile_string(VARDATA(key), VARSIZE(key) - VARHDRSZ);
	return true;
}

/* Reads the keys of a kind that have so many bytes at least, as the active snapshot sees them. */
void
blocked_read(BlockedKeys *blocked, const char *kind, uint32 shortest)
{
	Reading		reading = {blocked, kind, shortest};

	blocked->n = 0;
	blocked->keys = NULL;
	profiles_read_table(get_namespace_oid("profiles", false), "blocked", take_key, &reading);
	if (blocked->n > 0)
		qsort(blocked->keys, blocked->n, sizeof(ProfileString), compare_keys);
}

bool
blocked_has(const BlockedKeys *blocked, ProfileString key)
{
	return blocked->n > 0 && bsearch(&key, blocked->keys, blocked->n, sizeof(ProfileString), compare_keys) != NULL;
}

/* May an example be of one of them? */
bool
blocked_may_have(const BlockedKeys *blocked, ProfileString example)
{
	uint32		low = 0;
	uint32		high = blocked->n;

	/* the first that is not smaller: if any begins so, it does */
	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (profile_string_cmp(blocked->keys[middle], example) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < blocked->n && left_out_is_example(example, blocked->keys[low]);
}

/* _blocked_key(key text): what stands for a key in the table. */
Datum
profiles_blocked_key(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(0);

	if (VARSIZE_ANY_EXHDR(key) <= PROFILES_MAX_KEY)
		PG_RETURN_TEXT_P(key);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(VARDATA_ANY(key),
											  pg_mbcliplen(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), PROFILES_MAX_KEY + MAX_MULTIBYTE_CHAR_LEN)));
}
