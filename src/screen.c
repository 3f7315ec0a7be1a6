/*
 * screen.c
 *		Keeps back what must not be written of those who are erased.
 *
 * What comes of the blocked is not written: it is counted, and the subject computed
 * anew.  Under on_change keep, what goes of the erased is not kept: so the subject
 * is computed anew, too.  And what comes of the forgotten is kept at once, since when it
 * goes nobody can tell it from what was there before.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "miscadmin.h"
#include "pending.h"
#include "screen.h"
#include "utils/builtins.h"

typedef struct FoldedStore
{
	Tuplestorestate *rows;
	TupleDesc	tupdesc;
} FoldedStore;

static void
put_in_store(void *put_to, Datum *values, bool *nulls)
{
	FoldedStore *store = put_to;

	tuplestore_putvalues(store->rows, store->tupdesc, values, nulls);
}

/* Puts a row that has no more than a reason, or a key: then it is a mark. */
static void
put_bare(Screen *screen, Datum key, const char *left_out, Datum events)
{
	Datum		values[FOLDED_COLUMNS] = {key, (Datum) 0, (Datum) 0, events};
	bool		nulls[FOLDED_COLUMNS] = {key == (Datum) 0, left_out == NULL, true, false, true};

	if (left_out != NULL)
		values[FOLDED_LEFT_OUT] = CStringGetTextDatum(left_out);
	screen->put(screen->put_to, values, nulls);
}

/* Begins to screen a source's rows; false if nobody is erased. */
bool
screen_begin(Screen *screen, const char *kind, int32 source_id, bool keep, bool old, TupleDesc tupdesc)
{
	screen->erased = erased_begin(kind, source_id, keep);
	if (screen->erased == NULL)
		return false;
	screen->old = old;
	screen->tupdesc = tupdesc;
	screen->kept_rows = !old && keep ? tuplestore_begin_heap(false, false, work_mem) : NULL;
	return true;
}

/* Puts a row, as ProfilesFold's put. */
void
screen_put(void *put_to, Datum *values, bool *nulls)
{
	Screen	   *screen = put_to;
	bool		held = !nulls[FOLDED_LEFT_OUT] && !nulls[FOLDED_PROFILE];

	/* events that are counted as left out name nobody who is blocked */
	if (nulls[FOLDED_PROFILE])
	{
		screen->put(screen->put_to, values, nulls);
		return;
	}
	switch (erased_find(screen->erased, values[FOLDED_KEY]))
	{
		case BLOCKED:
			put_bare(screen, values[FOLDED_KEY], NULL, Int64GetDatum(0));
			if (!screen->old)
				put_bare(screen, (Datum) 0, "blocked", values[FOLDED_EVENTS]);
			return;
		case FORGOTTEN:
			if (screen->old && !held)
			{
				put_bare(screen, values[FOLDED_KEY], NULL, Int64GetDatum(0));
				return;
			}
			if (!held)
				tuplestore_putvalues(screen->kept_rows, screen->tupdesc, values, nulls);
			break;
		case NOT_ERASED:
			break;
	}
	screen->put(screen->put_to, values, nulls);
}

void
screen_end(Screen *screen)
{
	erased_end(screen->erased);
}

/* Screens rows that are there; gives others in place of them, and ends. */
Tuplestorestate *
screen_store(Screen *screen, Tuplestorestate *rows)
{
	FoldedStore result = {tuplestore_begin_heap(false, false, work_mem), screen->tupdesc};
	TupleTableSlot *row = MakeSingleTupleTableSlot(screen->tupdesc, &TTSOpsMinimalTuple);

	screen->put = put_in_store;
	screen->put_to = &result;
	while (tuplestore_gettupleslot(rows, true, false, row))
	{
		slot_getallattrs(row);
		screen_put(screen, row->tts_values, row->tts_isnull);
	}
	ExecDropSingleTupleTableSlot(row);
	tuplestore_end(rows);
	screen_end(screen);
	return result.rows;
}
