/*
 * pending.c
 *		Appends what was captured to the pending tables of a kind.
 *
 * Every writer of events does this, so it is done without a query.  That will do as long
 * as the tables are as we made them: nobody has given them an index or a trigger.
 *
 * What a statement brings of few subjects are rows that everybody can read; what it
 * brings of more is packed.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/tuptable.h"
#include "packed.h"
#include "pending.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define PENDING_COLUMNS	7		/* source_id, those of a folded row, captured_at */
#define PENDING_BATCH	300		/* rows written together, */
#define PENDING_BATCH_SIZE	(8 * 1024 * 1024)	/* as long as they take no more bytes */
#define PACKED_COLUMNS	4		/* source_id, subjects, profiles, captured_at */
#define MOST_SINGLE		8		/* subjects of a statement that are not packed */

struct PendingWriter
{
	int			kind;
	int32		source_id;
	Relation	pending;
	MemoryContext context;		/* of the rows that wait to be written */
	int			nrows;
	int			nslots;
	TupleTableSlot *slots[PENDING_BATCH];
	bool		packs;			/* false: it can't */
	int			nsingle;		/* profiles written as rows so far, up to MOST_SINGLE */
	Relation	packed;			/* NULL: nothing is packed yet */
	TupleTableSlot *packed_slot;
	ProfilePack *pack;
};

/* NULL if it is not as we made it. */
static Relation
open_plain(const char *format, int kind, int natts)
{
	Relation	relation = table_open(get_relname_relid(psprintf(format, profiles_kinds[kind]),
														get_namespace_oid("profiles", false)), RowExclusiveLock);

	if (RelationGetIndexList(relation) == NIL && relation->trigdesc == NULL && RelationGetDescr(relation)->natts == natts)
		return relation;
	table_close(relation, RowExclusiveLock);
	return NULL;
}

/* Begins to append what a source's events fold to; NULL if it has to be left to a query. */
PendingWriter *
pending_begin(int kind, int32 source_id)
{
	Relation	pending = open_plain("%s_pending", kind, PENDING_COLUMNS);
	PendingWriter *writer;

	if (pending == NULL)
		return NULL;
	writer = palloc(sizeof(PendingWriter));
	writer->kind = kind;
	writer->source_id = source_id;
	writer->pending = pending;
	writer->packed = NULL;
	writer->packs = true;
	writer->context = AllocSetContextCreate(CurrentMemoryContext, "pending rows", ALLOCSET_DEFAULT_SIZES);
	writer->nrows = writer->nslots = writer->nsingle = 0;
	return writer;
}

static void
flush_rows(PendingWriter *writer)
{
	MemoryContext old = MemoryContextSwitchTo(writer->context);

	table_multi_insert(writer->pending, writer->slots, writer->nrows, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < writer->nrows; i++)
		ExecClearTuple(writer->slots[i]);
	writer->nrows = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->context);
}

static void
flush_packed(PendingWriter *writer)
{
	TupleTableSlot *slot = writer->packed_slot;

	ExecClearTuple(slot);
	slot->tts_values[0] = Int32GetDatum(writer->source_id);
	slot->tts_values[1] = Int32GetDatum(writer->pack->subjects);
	slot->tts_values[2] = PointerGetDatum(profile_pack_value(writer->pack));
	slot->tts_values[3] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	memset(slot->tts_isnull, false, PACKED_COLUMNS * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	table_tuple_insert(writer->packed, slot, GetCurrentCommandId(true), 0, NULL);
	profile_pack_begin(writer->pack);
}

/* Begins to pack, once there are so many subjects that it pays; false if that can't be. */
static bool
begin_packing(PendingWriter *writer)
{
	MemoryContext old;

	writer->packed = open_plain("%s_packed", writer->kind, PACKED_COLUMNS);
	if (writer->packed == NULL)
	{
		writer->packs = false;
		return false;
	}
	old = MemoryContextSwitchTo(MemoryContextGetParent(writer->context));
	writer->packed_slot = table_slot_create(writer->packed, NULL);
	writer->pack = profile_pack_make(PACK_SIZE, PACK_MOST_PROFILE);
	profile_pack_begin(writer->pack);
	MemoryContextSwitchTo(old);
	return true;
}

/* Packs a folded row; false if it needs one of its own. */
static bool
pack_row(PendingWriter *writer, Datum *folded, bool *folded_nulls)
{
	text	   *key_text;
	ProfileString key;
	struct varlena *profile;
	int64		events;

	if (!writer->packs || folded_nulls[FOLDED_KEY] || !folded_nulls[FOLDED_LEFT_OUT] || folded_nulls[FOLDED_PROFILE])
		return false;
	if (writer->nsingle < MOST_SINGLE)
	{
		writer->nsingle++;
		return false;
	}
	key_text = DatumGetTextPP(folded[FOLDED_KEY]);
	key = profile_string(VARDATA_ANY(key_text), VARSIZE_ANY_EXHDR(key_text));
	profile = PG_DETOAST_DATUM_PACKED(folded[FOLDED_PROFILE]);
	events = DatumGetInt64(folded[FOLDED_EVENTS]);
	if (!profile_pack_takes(key, profile, events) || (writer->packed == NULL && !begin_packing(writer)))
		return false;
	if (!profile_pack_add(writer->pack, key, profile, events))
	{
		flush_packed(writer);
		if (!profile_pack_add(writer->pack, key, profile, events))
			elog(ERROR, "a partial profile does not fit into a page");
	}
	return true;
}

/* A folded row, as ProfilesFold's put. */
void
pending_put(void *put_to, Datum *folded, bool *folded_nulls)
{
	PendingWriter *writer = put_to;
	TupleDesc	tupdesc = RelationGetDescr(writer->pending);
	Datum		values[PENDING_COLUMNS];
	bool		nulls[PENDING_COLUMNS] = {false};
	MemoryContext old;

	if (pack_row(writer, folded, folded_nulls))
		return;
	values[0] = Int32GetDatum(writer->source_id);
	memcpy(values + 1, folded, (PENDING_COLUMNS - 2) * sizeof(Datum));
	memcpy(nulls + 1, folded_nulls, (PENDING_COLUMNS - 2) * sizeof(bool));
	values[PENDING_COLUMNS - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	if (writer->nrows == writer->nslots)
	{
		old = MemoryContextSwitchTo(MemoryContextGetParent(writer->context));
		writer->slots[writer->nslots++] = MakeSingleTupleTableSlot(tupdesc, &TTSOpsHeapTuple);
		MemoryContextSwitchTo(old);
	}
	old = MemoryContextSwitchTo(writer->context);
	ExecStoreHeapTuple(heap_form_tuple(tupdesc, values, nulls), writer->slots[writer->nrows++], false);
	MemoryContextSwitchTo(old);
	if (writer->nrows == PENDING_BATCH || MemoryContextMemAllocated(writer->context, false) > PENDING_BATCH_SIZE)
		flush_rows(writer);
}

void
pending_end(PendingWriter *writer)
{
	if (writer->nrows > 0)
		flush_rows(writer);
	while (writer->nslots > 0)
		ExecDropSingleTupleTableSlot(writer->slots[--writer->nslots]);
	if (writer->packed != NULL)
	{
		flush_packed(writer);
		ExecDropSingleTupleTableSlot(writer->packed_slot);
		profile_pack_free(writer->pack);
		table_close(writer->packed, NoLock);
	}
	MemoryContextDelete(writer->context);
	/* nobody truncates what we have not committed */
	table_close(writer->pending, NoLock);
	pfree(writer);
	CommandCounterIncrement();
}
