/*
 * search_write.c
 *		Writes the attributes that people are searched by, without a query.
 *
 * A refresh of many who have other attributes than before replaces a row of each, which has
 * dozens of words in two GIN indexes, most of them as before.  So rows are replaced as
 * those of profiles are (plain_update.c), and words gathered meanwhile.  The attributes
 * themselves a query says.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "plain_update.h"
#include "tsearch/ts_utils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(profiles_write_attributes);

/* Has a table nothing that computes or checks values, or wants to know of them? */
static bool
is_simple(Relation table)
{
	TupleConstr *constraints = RelationGetDescr(table)->constr;

	return table->trigdesc == NULL &&
		(constraints == NULL || (constraints->num_check == 0 && !constraints->has_generated_stored));
}

/* Makes update->new of the stored row with other attributes. */
static void
make_row(PlainUpdate *update, Datum attributes)
{
	TupleTableSlot *old = update->stored->slot;
	TupleTableSlot *new = update->new;
	int			natts = new->tts_tupleDescriptor->natts;

	slot_getallattrs(old);
	ExecClearTuple(new);
	memcpy(new->tts_values, old->tts_values, natts * sizeof(Datum));
	memcpy(new->tts_isnull, old->tts_isnull, natts * sizeof(bool));
	new->tts_values[update->changed - 1] = attributes;
	new->tts_isnull[update->changed - 1] = false;
	ExecStoreVirtualTuple(new);
}

/*
 * Writes attributes for keys, where they differ; returns how many keys are left because somebody
 * else is writing their rows.  These then come first.
 */
static int
write_rows(PlainUpdate *update, Datum *keys, Datum *attributes, int n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "searched row", ALLOCSET_DEFAULT_SIZES);
	int			nleft = 0;

	plain_update_begin(update);
	rows_of_ordered_keys(update->stored, keys, n);
	while (rows_next(update->stored))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		int			i = update->stored->key;
		bool		isnull;
		Datum		before = slot_getattr(update->stored->slot, update->changed, &isnull);
		List	   *recheck;

		CHECK_FOR_INTERRUPTS();
		if (isnull || DatumGetBool(DirectFunctionCall2(tsvector_ne, before, attributes[i])))
		{
			make_row(update, attributes[i]);
			/* keys up to this one have been looked up */
			if (!plain_update_row(update, &recheck))
				keys[nleft++] = keys[i];
		}
		ResetPerTupleExprContext(update->estate);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	plain_update_end(update);
	plain_update_close(update);
	MemoryContextDelete(context);
	return nleft;
}

/*
 * _write_attributes(kind text, keys text[], query text): writes the attributes of keys, as a query
 * says them, where they differ.  Returns the keys that have to be left to a statement, or NULL.
 */
Datum
profiles_write_attributes(PG_FUNCTION_ARGS)
{
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		asked = PG_GETARG_DATUM(1);
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	Relation	table = table_open(get_relname_relid(psprintf("%s_search", kind), schema), RowExclusiveLock);
	AttrNumber	key = get_attnum(RelationGetRelid(table), "key");
	AttrNumber	attributes = get_attnum(RelationGetRelid(table), "attributes");
	PlainUpdate update = {0};
	MemoryContext outer = CurrentMemoryContext;
	Datum		left = asked;
	int			nleft = 1;

	SPI_connect();
	if (is_simple(table) && plain_update_open(&update, table, kind, "search", key, attributes))
	{
		Oid			type = TEXTARRAYOID;
		Datum	   *keys;
		Datum	   *values;
		bool		isnull;

		if (SPI_execute_with_args(query, 1, &type, &asked, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not compute attributes");
		keys = palloc(SPI_processed * sizeof(Datum));
		values = palloc(SPI_processed * sizeof(Datum));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			keys[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
			values[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);
			if (isnull)
				elog(ERROR, "attributes are NULL");
		}
		nleft = write_rows(&update, keys, values, SPI_processed);
		MemoryContextSwitchTo(outer);
		if (nleft > 0)
			left = PointerGetDatum(construct_array(keys, nleft, TEXTOID, -1, false, TYPALIGN_INT));
	}
	SPI_finish();
	table_close(table, NoLock);
	if (nleft == 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(left);
}
