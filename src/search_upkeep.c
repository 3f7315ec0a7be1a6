/*
 * search_upkeep.c
 *		Triggers on stored profiles that keep what is searched up to date.
 *
 * A row trigger takes a note of the key of each profile that is new, gone, or
 * has a searched value changed; that last thing is asked by the trigger's WHEN
 * clause, so that a profile of which only the time has changed costs no more than
 * that.  At the end of the statement all keys noted are handled at once, those with
 * the same name and e-mail address as before with less work.
 *
 * A writer of events who merges what is pending leaves this to the next refresh:
 * the keys go into a table.
 *
 * COPY into these tables is a restore of data, to which what is searched
 * belongs; it is not computed then.
 *
 * Handling a key twice or in vain is harmless, since it is computed from what is
 * stored.  So notes of a subtransaction that is rolled back need not go.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
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
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(profiles_note_searched);
PG_FUNCTION_INFO_V1(profiles_update_searched);
PG_FUNCTION_INFO_V1(profiles_order_search);

#define MANY_KEYS	1000		/* from so many on, indexes are written in bulk */

typedef struct NotedKeys
{
	Datum	   *keys;
	int			n;
	int			size;
} NotedKeys;

/* Keys noted in this transaction, per kind; in a context of their own. */
typedef struct Noted
{
	LocalTransactionId transaction; /* whose they are; invalid if there are none */
	MemoryContext context;
	NotedKeys	people;			/* new, gone, or called otherwise */
	NotedKeys	attributes;		/* with other attributes */
	bool		any_gone;
} Noted;

static Noted noted[PROFILES_KINDS];

/* Is a writer merging? */
bool		profiles_search_is_put_off = false;

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

static void
note_key(NotedKeys *noted_keys, Datum key)
{
	if (noted_keys->n == noted_keys->size)
	{
		int			size = noted_keys->size * 2 + 16;

		noted_keys->keys = noted_keys->keys == NULL ? palloc(size * sizeof(Datum))
			: repalloc_huge(noted_keys->keys, size * sizeof(Datum));
		noted_keys->size = size;
	}
	noted_keys->keys[noted_keys->n++] = PointerGetDatum(PG_DETOAST_DATUM_COPY(key));
}

/* Has an update left a column of type text as it was?  Where there is none, too. */
static bool
is_same_text(TriggerData *trigger, const char *name)
{
	TupleDesc	tupdesc = trigger->tg_relation->rd_att;
	int			column = SPI_fnumber(tupdesc, name);
	bool		isnull[2];
	Datum		values[2];

	if (column <= 0 || SPI_gettypeid(tupdesc, column) != TEXTOID)
		return true;
	values[0] = SPI_getbinval(trigger->tg_trigtuple, tupdesc, column, &isnull[0]);
	values[1] = SPI_getbinval(trigger->tg_newtuple, tupdesc, column, &isnull[1]);
	if (isnull[0] || isnull[1])
		return isnull[0] == isnull[1];
	return DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, values[0], values[1]));
}

/*
 * Takes a note of a key, whose profile is new, gone, or called otherwise, or has other
 * attributes only.  The statement trigger handles it.
 */
void
profiles_note_key(int kind, Datum key, bool attributes)
{
	MemoryContext old;

	if (noted[kind].transaction != PROFILES_MY_LXID)
	{
		/* the context went with the transaction that it was made in */
		memset(&noted[kind], 0, sizeof(Noted));
		noted[kind].transaction = PROFILES_MY_LXID;
		noted[kind].context = AllocSetContextCreate(TopTransactionContext, "searched keys", ALLOCSET_DEFAULT_SIZES);
	}
	old = MemoryContextSwitchTo(noted[kind].context);
	note_key(attributes ? &noted[kind].attributes : &noted[kind].people, key);
	MemoryContextSwitchTo(old);
}

/* _note_searched(kind): row trigger */
Datum
profiles_note_searched(PG_FUNCTION_ARGS)
{
	int			kind = kind_of_trigger(fcinfo, true);
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		attributes = false;
	HeapTuple	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	int			column = SPI_fnumber(trigger->tg_relation->rd_att, "key");
	bool		isnull;
	Datum		key;

	if (column <= 0 || SPI_gettypeid(trigger->tg_relation->rd_att, column) != TEXTOID)
		elog(ERROR, "the table has no column \"key\" of type text");
	key = SPI_getbinval(tuple, trigger->tg_relation->rd_att, column, &isnull);
	if (isnull)
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		attributes = is_same_text(trigger, psprintf("%s_name", profiles_kinds[kind])) &&
			is_same_text(trigger, psprintf("%s_email", profiles_kinds[kind]));
	profiles_note_key(kind, key, attributes);
	noted[kind].any_gone |= TRIGGER_FIRED_BY_DELETE(trigger->tg_event);
	return PointerGetDatum(NULL);
}

/* Has a COPY fired the trigger itself, not one that captures events? */
static bool
is_restore(void)
{
	return ActivePortal != NULL && ActivePortal->commandTag == CMDTAG_COPY &&
		DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH)) == 1;
}

/* Calls one of the functions that bring search up to date, for some keys at a time. */
static void
update_keys(const char *call, int kind, const NotedKeys *keys, bool flag)
{
	const int	batch = 50000;

	for (int from = 0; from < keys->n; from += batch)
	{
		ArrayType  *array = construct_array(keys->keys + from, Min(batch, keys->n - from), TEXTOID, -1, false, TYPALIGN_INT);
		Oid			types[] = {TEXTOID, TEXTARRAYOID, BOOLOID};
		Datum		values[] = {CStringGetTextDatum(profiles_kinds[kind]), PointerGetDatum(array), BoolGetDatum(flag)};

		if (SPI_execute_with_args(call, lengthof(types), types, values, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not update what is searched");
	}
}

/* Brings search up to date. */
static void
update_now(int kind, const Noted *todo)
{
	bool		many = todo->people.n + todo->attributes.n >= MANY_KEYS;
	int			settings = NewGUCNestLevel();

	/* what waits to be put in order is read by every search; many are put in order together */
	(void) set_config_option("gin_pending_list_limit", many ? "65536" : "1024", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	update_keys("SELECT profiles._search_update($1, $2, $3)", kind, &todo->people, todo->any_gone);
	update_keys("SELECT profiles._search_attributes($1, $2, $3)", kind, &todo->attributes, profiles_upkeep_runs[kind]);
	if (many && SPI_execute(psprintf("SELECT profiles._order_search('%s')", profiles_kinds[kind]), false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not put the indexes of search in order");
	AtEOXact_GUC(true, settings);
}

/* _update_searched(kind): statement trigger */
Datum
profiles_update_searched(PG_FUNCTION_ARGS)
{
	int			kind = kind_of_trigger(fcinfo, false);
	Noted		todo = noted[kind];
	ProfilesRole caller;

	if (todo.transaction != PROFILES_MY_LXID)
		return PointerGetDatum(NULL);
	/* what is noted from here on, by triggers on what is written here, is for the next time */
	noted[kind].transaction = InvalidLocalTransactionId;
	if (!is_restore())
	{
		caller = profiles_become_owner(profiles_owner(fcinfo->flinfo->fn_oid));
		SPI_connect();
		if (profiles_search_is_put_off)
		{
			update_keys("SELECT profiles._put_off_search($1, $2, true)", kind, &todo.people, false);
			update_keys("SELECT profiles._put_off_search($1, $2, false)", kind, &todo.attributes, false);
		}
		else
			update_now(kind, &todo);
		SPI_finish();
		profiles_become_caller(caller);
	}
	MemoryContextDelete(todo.context);
	return PointerGetDatum(NULL);
}

/* Puts the GIN indexes of a table in order. */
static void
order_table(Oid schema, const char *name)
{
	Oid			oid = get_relname_relid(name, schema);
	Relation	table = OidIsValid(oid) ? table_open(oid, AccessShareLock) : NULL;
	List	   *indexes = table == NULL ? NIL : RelationGetIndexList(table);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		if (index->rd_rel->relam == GIN_AM_OID)
			(void) DirectFunctionCall1(gin_clean_pending_list, ObjectIdGetDatum(lfirst_oid(lc)));
		index_close(index, RowExclusiveLock);
	}
	if (table != NULL)
		table_close(table, AccessShareLock);
}

/* _order_search(kind text) */
Datum
profiles_order_search(PG_FUNCTION_ARGS)
{
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));

	order_table(schema, psprintf("%s_search", kind));
	order_table(schema, psprintf("%s_word", kind));
	PG_RETURN_VOID();
}
