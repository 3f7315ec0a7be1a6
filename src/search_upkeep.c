/*
 * search_upkeep.c
 *		Triggers on stored profiles and imported attributes that keep what is
 *		searched up to date.
 *
 * A row trigger takes a note of the key of each profile that is new, gone, or
 * has a searched value changed; that last thing is asked by the trigger's WHEN
 * clause, so that a profile of which only the time has changed costs no more than
 * that.  At the end of the statement all keys noted are handled at once.
 *
 * COPY into these tables is a restore of data, to which what is searched
 * belongs; it is not computed then.
 *
 * Handling a key twice or in vain is harmless, since it is computed from what is
 * stored.  So notes of a subtransaction that is rolled back need not go.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "upkeep.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(profiles_note_searched);
PG_FUNCTION_INFO_V1(profiles_update_searched);

/* Keys noted in this transaction, per kind; in a context of their own. */
static struct
{
	LocalTransactionId transaction; /* whose they are; invalid if there are none */
	MemoryContext context;
	Datum	   *keys;
	int			n;
	int			size;
}			noted[PROFILES_KINDS];

/* The kind that a trigger is for; errors if it is no trigger of ours. */
static int
kind_of_trigger(FunctionCallInfo fcinfo, bool row)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_AFTER(trigger->tg_event) &&
		(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) != 0) == row && trigger->tg_trigger->tgnargs > 0)
	{
		for (int kind = 0; kind < PROFILES_KINDS; kind++)
		{
			if (strcmp(trigger->tg_trigger->tgargs[0], profiles_kinds[kind]) == 0)
				return kind;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("this function is for triggers of profiles' own tables"),
			 errhint("profiles.add_source() makes these triggers.")));
	return 0;
}

/* _note_searched(): row trigger */
Datum
profiles_note_searched(PG_FUNCTION_ARGS)
{
	int			kind = kind_of_trigger(fcinfo, true);
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	int			column = SPI_fnumber(trigger->tg_relation->rd_att, "key");
	bool		isnull;
	Datum		key;
	MemoryContext old;

	if (column <= 0 || SPI_gettypeid(trigger->tg_relation->rd_att, column) != TEXTOID)
		elog(ERROR, "the table has no column \"key\" of type text");
	key = SPI_getbinval(tuple, trigger->tg_relation->rd_att, column, &isnull);
	if (isnull)
		return PointerGetDatum(NULL);
	if (noted[kind].transaction != PROFILES_MY_LXID)
	{
		/* the context went with the transaction that it was made in */
		noted[kind].transaction = PROFILES_MY_LXID;
		noted[kind].context = AllocSetContextCreate(TopTransactionContext, "searched keys", ALLOCSET_DEFAULT_SIZES);
		noted[kind].keys = NULL;
		noted[kind].n = noted[kind].size = 0;
	}
	old = MemoryContextSwitchTo(noted[kind].context);
	if (noted[kind].n == noted[kind].size)
	{
		int			size = noted[kind].size * 2 + 16;

		noted[kind].keys = noted[kind].keys == NULL ? palloc(size * sizeof(Datum))
			: repalloc_huge(noted[kind].keys, size * sizeof(Datum));
		noted[kind].size = size;
	}
	noted[kind].keys[noted[kind].n++] = PointerGetDatum(PG_DETOAST_DATUM_COPY(key));
	MemoryContextSwitchTo(old);
	return PointerGetDatum(NULL);
}

/* Has a COPY fired the trigger itself, not one that captures events? */
static bool
is_restore(void)
{
	return ActivePortal != NULL && ActivePortal->commandTag == CMDTAG_COPY &&
		DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH)) == 1;
}

/* _update_searched(): statement trigger */
Datum
profiles_update_searched(PG_FUNCTION_ARGS)
{
	const int	batch = 50000;
	int			kind = kind_of_trigger(fcinfo, false);
	Trigger    *trigger = ((TriggerData *) fcinfo->context)->tg_trigger;
	int32		import = trigger->tgnargs > 1 ? pg_strtoint32(trigger->tgargs[1]) : 0;
	ProfilesRole caller;
	MemoryContext context;
	Datum	   *keys;
	int			n;

	if (noted[kind].transaction != PROFILES_MY_LXID || noted[kind].n == 0)
		return PointerGetDatum(NULL);
	context = noted[kind].context;
	keys = noted[kind].keys;
	n = noted[kind].n;
	/* what is noted from here on, by triggers on what is written here, is for the next time */
	noted[kind].transaction = InvalidLocalTransactionId;
	if (is_restore())
	{
		MemoryContextDelete(context);
		return PointerGetDatum(NULL);
	}

	caller = profiles_become_owner(profiles_owner(fcinfo->flinfo->fn_oid));
	SPI_connect();
	for (int from = 0; from < n; from += batch)
	{
		ArrayType  *array = construct_array(keys + from, Min(batch, n - from), TEXTOID, -1, false, TYPALIGN_INT);
		Oid			types[] = {TEXTOID, TEXTARRAYOID, INT4OID};
		Datum		values[] = {CStringGetTextDatum(profiles_kinds[kind]), PointerGetDatum(array),
		Int32GetDatum(import)};

		if (SPI_execute_with_args(import == 0 ? "SELECT profiles._search_update($1, $2)" : 
								  "SELECT profiles._search_update($1, profiles._import_profiles($3, $2))",
								  3, types, values, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not update what is searched");
	}
	SPI_finish();
	profiles_become_caller(caller);
	MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}
