/*
 * left_out.c
 *		Counts what a fold leaves out: events by reason, with the key of one as an
 *		example.
 *
 * Whoever reads profiles.status sees the example.  So it is made here and nowhere else:
 * of a long key it has the beginning, by which forget() knows it again, and none is given
 * that may be one of a subject that is blocked.
 */
#include "postgres.h"

#include "erased.h"
#include "left_out.h"
#include "pending.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(profiles_is_example);

typedef struct Reason
{
	char	   *name;
	int64		events;
	ProfileString example;		/* the smallest that may be shown; data is NULL where none is known */
} Reason;

struct LeftOut
{
	ProfilesFold *fold;
	MemoryContext context;
	ErasedKeys *erased;			/* NULL: nobody is */
	List	   *reasons;
};

/* Begins to count what a fold leaves out, in the current memory context. */
LeftOut *
left_out_begin(ProfilesFold *fold)
{
	LeftOut    *left_out = palloc(sizeof(LeftOut));

	left_out->fold = fold;
	left_out->context = CurrentMemoryContext;
	left_out->erased = erased_begin(fold->kind, 0, false);
	left_out->reasons = NIL;
	return left_out;
}

static Reason *
find_reason(LeftOut *left_out, const char *name)
{
	Reason	   *reason;
	ListCell   *lc;

	foreach(lc, left_out->reasons)
	{
		reason = lfirst(lc);
		if (strcmp(reason->name, name) == 0)
			return reason;
	}
	reason = palloc0(sizeof(Reason));
	reason->name = pstrdup(name);
	left_out->reasons = lappend(left_out->reasons, reason);
	return reason;
}

/* Counts events for a reason; the key is that of one of them, if it is known. */
void
left_out_add(LeftOut *left_out, const char *name, int64 events, ProfileString key)
{
	MemoryContext old = MemoryContextSwitchTo(left_out->context);
	Reason	   *reason = find_reason(left_out, name);

	reason->events += events;
	if (key.data != NULL && key.len > LEFT_OUT_EXAMPLE)
		key.len = pg_mbcliplen(key.data, key.len, LEFT_OUT_EXAMPLE);
	if (key.data != NULL && (reason->example.data == NULL || profile_string_cmp(key, reason->example) < 0) &&
		(left_out->erased == NULL || !erased_hides(left_out->erased, key)))
	{
		if (reason->example.data != NULL)
			pfree(unconstify(char *, reason->example.data));
		reason->example = profile_string(pnstrdup(key.data, key.len), key.len);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Counts a folded profile in which values of these attributes were cut, as events left
 * out are: the reason is "cut" and the attribute's name.
 */
void
left_out_add_cut(LeftOut *left_out, List *names, ProfileString key)
{
	ListCell   *lc;

	foreach(lc, names)
		left_out_add(left_out, psprintf("cut %s", (char *) lfirst(lc)), 1, key);
}

/* Gives a row for each reason, without key and profile, and ends. */
void
left_out_end(LeftOut *left_out)
{
	ProfilesFold *fold = left_out->fold;
	ListCell   *lc;

	foreach(lc, left_out->reasons)
	{
		Reason	   *reason = lfirst(lc);
		Datum		values[FOLDED_COLUMNS] = {0};
		bool		nulls[FOLDED_COLUMNS] = {true, false, true, false, reason->example.data == NULL};

		values[FOLDED_LEFT_OUT] = CStringGetTextDatum(reason->name);
		values[FOLDED_EVENTS] = Int64GetDatum(reason->events);
		if (reason->example.data != NULL)
			values[FOLDED_EXAMPLE] = PointerGetDatum(cstring_to_text_with_len(reason->example.data, reason->example.len));
		if (fold->put != NULL)
			fold->put(fold->put_to, values, nulls);
		else
			tuplestore_putvalues(fold->store, fold->tupdesc, values, nulls);
	}
	if (left_out->erased != NULL)
		erased_end(left_out->erased);
}

/* May an example be of this key? */
bool
left_out_is_example(ProfileString example, ProfileString key)
{
	if (example.len < LEFT_OUT_CUT)
		return profile_string_eq(example, key);
	return example.len <= key.len && memcmp(example.data, key.data, example.len) == 0;
}

/* _is_example(example text, key text) */
Datum
profiles_is_example(PG_FUNCTION_ARGS)
{
	text	   *example = PG_GETARG_TEXT_PP(0);
	text	   *key = PG_GETARG_TEXT_PP(1);

	PG_RETURN_BOOL(left_out_is_example(profile_string(VARDATA_ANY(example), VARSIZE_ANY_EXHDR(example)),
									   profile_string(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key))));
}
