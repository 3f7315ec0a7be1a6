/*
 * import_load.c
 *		The first sync of an import: reads it into an empty table.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "import.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(profiles_load_import);

/* Rows on their way into the table of an import. */
typedef struct Load
{
	Relation	relation;
	BulkInsertState bulk;
	TupleTableSlot *slots[1000];	/* made when they are needed first */
	int			n;
	Size		bytes;
	int64		rows;
	MemoryContext context;
} Load;

static void
write_load(Load *load)
{
	MemoryContext old = MemoryContextSwitchTo(load->context);

	table_multi_insert(load->relation, load->slots, load->n, GetCurrentCommandId(true), 0, load->bulk);
	MemoryContextSwitchTo(old);
	MemoryContextReset(load->context);
	for (int i = 0; i < load->n; i++)
		ExecClearTuple(load->slots[i]);
	load->rows += load->n;
	load->n = 0;
	load->bytes = 0;
}

static void
put_in_load(TupleTableSlot *slot, void *put_to)
{
	Load	   *load = put_to;
	HeapTuple	tuple;

	if (load->slots[load->n] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(load));

		load->slots[load->n] = table_slot_create(load->relation, NULL);
		MemoryContextSwitchTo(old);
	}
	ExecCopySlot(load->slots[load->n], slot);
	tuple = ExecFetchSlotHeapTuple(load->slots[load->n], false, NULL);
	load->bytes += tuple->t_len;
	if (++load->n == lengthof(load->slots) || load->bytes > 65536)
		write_load(load);
}

/*
 * _load_import(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], import_table regclass)
 *
 * Into a table that has neither index nor trigger to be served.
 */
Datum
profiles_load_import(PG_FUNCTION_ARGS)
{
	Load	   *load = palloc0(sizeof(Load));

	load->relation = import_open_table(fcinfo, PG_GETARG_OID(4), RowExclusiveLock);
	if (RelationGetIndexList(load->relation) != NIL)
		elog(ERROR, "the table of an import has its key already");
	load->bulk = GetBulkInsertState();
	load->context = AllocSetContextCreate(CurrentMemoryContext, "rows of an import", ALLOCSET_DEFAULT_SIZES);
	import_read(fcinfo, RelationGetDescr(load->relation), false, put_in_load, load);
	if (load->n > 0)
		write_load(load);
	for (int i = 0; i < lengthof(load->slots) && load->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(load->slots[i]);
	FreeBulkInsertState(load->bulk);
	table_finish_bulk_insert(load->relation, 0);
	table_close(load->relation, NoLock);
	PG_RETURN_INT64(load->rows);
}
