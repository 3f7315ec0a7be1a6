/*
 * import_diff.c
 *		Which rows of an import's table are to be written.
 *
 * A hash join of what is there with what is read.  Rows are compared as they are stored,
 * byte by byte, and a batch of them at a time, so that the processor fetches what one
 * needs while it is busy with others.  What does not fit into work_mem is compared in
 * parts, by the hashes of the keys.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "common/hashfn.h"
#include "compat.h"
#include "funcapi.h"
#include "import.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include <math.h>

PG_FUNCTION_INFO_V1(profiles_import_diff);

#define DIFF_BATCH	128
#define DIFF_MAX_PARTS	1024

typedef struct DiffRow
{
	MinimalTuple tuple;
	ItemPointerData place;
	bool		seen;
} DiffRow;

typedef struct DiffSlot
{
	uint32		hash;
	uint32		row;			/* its number, from 1; 0: free */
} DiffSlot;

typedef struct Diff
{
	TupleDesc	desc;			/* key and attributes */
	TupleDesc	result_desc;	/* its row, key and attributes */
	Tuplestorestate *result;

	/* what is there, of one part */
	DiffRow    *rows;
	uint32		nrows;
	uint32		size;
	DiffSlot   *table;
	uint32		mask;			/* of the table, whose size is a power of two */
	MemoryContext part;

	/* what is read and waits to be compared */
	MinimalTuple batch[DIFF_BATCH];
	uint32		hashes[DIFF_BATCH];
	int			nbatch;
	MemoryContext batch_context;
	TupleTableSlot *slot;		/* of desc */

	/* several parts: both sides wait in files, in the form of the result */
	int			parts;
	Tuplestorestate **there;
	Tuplestorestate **read;

	Datum	   *values;			/* of the result */
	bool	   *nulls;
} Diff;

/* A row as it would be stored, its values being plain: equal rows have equal bytes. */
static MinimalTuple
row_image(Diff *diff, Datum *values, bool *nulls, uint32 *hash)
{
	struct varlena *key = NULL;
	MinimalTuple tuple;

	for (int i = 0; i < diff->desc->natts; i++)
	{
		diff->nulls[i + 1] = nulls[i];
		diff->values[i + 1] = values[i];
		if (!nulls[i] && TupleDescAttr(diff->desc, i)->attlen == -1 &&
			(VARATT_IS_COMPRESSED(DatumGetPointer(values[i])) || VARATT_IS_EXTERNAL(DatumGetPointer(values[i]))))
			diff->values[i + 1] = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
	}
	key = (struct varlena *) DatumGetPointer(diff->values[1]);
	*hash = hash_bytes((unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	tuple = PROFILES_FORM_MINIMAL_TUPLE(diff->desc, diff->values + 1, diff->nulls + 1);
	for (int i = 0; i < diff->desc->natts; i++)
	{
		if (!nulls[i] && diff->values[i + 1] != values[i])
			pfree(DatumGetPointer(diff->values[i + 1]));
	}
	return tuple;
}

/* The part that a hash belongs to.  Within a part all places in the table are as likely. */
static inline int
part_of(Diff *diff, uint32 hash)
{
	return murmurhash32(hash) % diff->parts;
}

static void
place_row(Diff *diff, uint32 hash, uint32 row)
{
	uint32		i = hash & diff->mask;

	while (diff->table[i].row != 0)
		i = (i + 1) & diff->mask;
	diff->table[i].hash = hash;
	diff->table[i].row = row;
}

/* Forgets a part, and makes room for about so many rows of the next. */
static void
start_part(Diff *diff, double rows)
{
	MemoryContext old;

	MemoryContextReset(diff->part);
	old = MemoryContextSwitchTo(diff->part);
	diff->nrows = 0;
	diff->size = pg_nextpower2_32(Max(1024, Min(rows, 1 << 28)));
	diff->rows = MemoryContextAllocHuge(diff->part, sizeof(DiffRow) * diff->size);
	diff->mask = 2 * diff->size - 1;
	diff->table = MemoryContextAllocExtended(diff->part, sizeof(DiffSlot) * ((Size) diff->mask + 1),
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	MemoryContextSwitchTo(old);
}

/* Adds a row that is there. */
static void
add_row(Diff *diff, Datum *values, bool *nulls, ItemPointer place)
{
	MemoryContext old = MemoryContextSwitchTo(diff->part);
	DiffRow    *row;
	uint32		hash;

	if (diff->nrows == diff->size)
	{
		DiffSlot   *before = diff->table;
		uint32		last = diff->mask;

		if (diff->size >= (uint32) 1 << 30)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the reference table has too many rows"),
					 errhint("A greater maintenance_work_mem helps.")));
		diff->size *= 2;
		diff->rows = repalloc_huge(diff->rows, sizeof(DiffRow) * diff->size);
		diff->mask = 2 * diff->size - 1;
		diff->table = MemoryContextAllocExtended(diff->part, sizeof(DiffSlot) * ((Size) diff->mask + 1),
												 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		for (uint32 i = 0; i <= last; i++)
		{
			if (before[i].row != 0)
				place_row(diff, before[i].hash, before[i].row);
		}
		pfree(before);
	}
	row = &diff->rows[diff->nrows++];
	row->tuple = row_image(diff, values, nulls, &hash);
	row->place = *place;
	row->seen = false;
	place_row(diff, hash, diff->nrows);
	MemoryContextSwitchTo(old);
}

/* A result: the place of what is there, or NULL; key and values that are to be, or NULL. */
static void
put_result(Diff *diff, ItemPointer place, MinimalTuple tuple)
{
	diff->nulls[0] = place == NULL;
	diff->values[0] = PointerGetDatum(place);
	if (tuple == NULL)
		memset(diff->nulls + 1, true, diff->desc->natts);
	else
	{
		ExecStoreMinimalTuple(tuple, diff->slot, false);
		slot_getallattrs(diff->slot);
		memcpy(diff->nulls + 1, diff->slot->tts_isnull, diff->desc->natts);
		memcpy(diff->values + 1, diff->slot->tts_values, sizeof(Datum) * diff->desc->natts);
	}
	tuplestore_putvalues(diff->result, diff->result_desc, diff->values, diff->nulls);
}

static bool
same_row(MinimalTuple a, MinimalTuple b)
{
	return a->t_len == b->t_len && memcmp(a, b, a->t_len) == 0;
}

/* Have two rows the same key? */
static bool
same_key(Diff *diff, MinimalTuple a, MinimalTuple b)
{
	HeapTupleData tuple;
	struct varlena *keys[2];
	bool		isnull;

	for (int i = 0; i < 2; i++)
	{
		MinimalTuple minimal = i == 0 ? a : b;

		tuple.t_len = minimal->t_len + MINIMAL_TUPLE_OFFSET;
		tuple.t_data = (HeapTupleHeader) ((char *) minimal - MINIMAL_TUPLE_OFFSET);
		keys[i] = (struct varlena *) DatumGetPointer(heap_getattr(&tuple, 1, diff->desc, &isnull));
	}
	return VARSIZE_ANY_EXHDR(keys[0]) == VARSIZE_ANY_EXHDR(keys[1]) &&
		memcmp(VARDATA_ANY(keys[0]), VARDATA_ANY(keys[1]), VARSIZE_ANY_EXHDR(keys[0])) == 0;
}

/* Compares the rows of the batch with those that are there. */
static void
compare_batch(Diff *diff)
{
	DiffRow    *guesses[DIFF_BATCH];

	/* the first row with the hash is nearly always the one */
	for (int i = 0; i < diff->nbatch; i++)
	{
		uint32		at = diff->hashes[i] & diff->mask;

		while (diff->table[at].row != 0 && diff->table[at].hash != diff->hashes[i])
			at = (at + 1) & diff->mask;
		guesses[i] = diff->table[at].row == 0 ? NULL : &diff->rows[diff->table[at].row - 1];
		if (guesses[i] != NULL)
			PROFILES_PREFETCH(guesses[i]);
	}
	for (int i = 0; i < diff->nbatch; i++)
	{
		if (guesses[i] != NULL)
			PROFILES_PREFETCH(guesses[i]->tuple);
	}
	for (int i = 0; i < diff->nbatch; i++)
	{
		MinimalTuple tuple = diff->batch[i];
		DiffRow    *found = NULL;

		if (guesses[i] != NULL)
		{
			if (same_row(guesses[i]->tuple, tuple))
				found = guesses[i];
			for (uint32 at = diff->hashes[i] & diff->mask; found == NULL && diff->table[at].row != 0; at = (at + 1) & diff->mask)
			{
				if (diff->table[at].hash == diff->hashes[i] &&
					same_key(diff, diff->rows[diff->table[at].row - 1].tuple, tuple))
					found = &diff->rows[diff->table[at].row - 1];
			}
		}
		if (found == NULL)
			put_result(diff, NULL, tuple);
		else if (found->seen)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("several rows have the same key")));
		else
		{
			found->seen = true;
			if (!same_row(found->tuple, tuple))
				put_result(diff, &found->place, tuple);
		}
	}
	diff->nbatch = 0;
	MemoryContextReset(diff->batch_context);
}

/* Adds a row that was read, to be compared. */
static void
compare_row(Diff *diff, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(diff->batch_context);
	uint32		hash;

	diff->batch[diff->nbatch] = row_image(diff, values, nulls, &hash);
	diff->hashes[diff->nbatch++] = hash;
	PROFILES_PREFETCH(&diff->table[hash & diff->mask]);
	MemoryContextSwitchTo(old);
	if (diff->nbatch == DIFF_BATCH)
		compare_batch(diff);
}

/* What is there and was not read has to go. */
static void
finish_part(Diff *diff)
{
	compare_batch(diff);
	for (uint32 i = 0; i < diff->nrows; i++)
	{
		if (!diff->rows[i].seen)
			put_result(diff, &diff->rows[i].place, NULL);
	}
}

/* Puts a row aside until its part's turn. */
static void
put_aside(Diff *diff, Tuplestorestate **stores, TupleTableSlot *slot, ItemPointer place)
{
	struct varlena *key = PG_DETOAST_DATUM_PACKED(slot->tts_values[0]);
	uint32		hash = hash_bytes((unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));

	diff->nulls[0] = place == NULL;
	diff->values[0] = PointerGetDatum(place);
	memcpy(diff->nulls + 1, slot->tts_isnull, diff->desc->natts);
	memcpy(diff->values + 1, slot->tts_values, sizeof(Datum) * diff->desc->natts);
	tuplestore_putvalues(stores[part_of(diff, hash)], diff->result_desc, diff->values, diff->nulls);
	if (PointerGetDatum(key) != slot->tts_values[0])
		pfree(key);
}

static void
put_in_diff(TupleTableSlot *slot, void *put_to)
{
	Diff	   *diff = put_to;

	slot_getallattrs(slot);
	if (diff->parts == 1)
		compare_row(diff, slot->tts_values, slot->tts_isnull);
	else
		put_aside(diff, diff->read, slot, NULL);
}

/* Reads what is there. */
static void
scan_import_table(Diff *diff, Relation relation)
{
	TableScanDesc scan = table_beginscan(relation, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(relation, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		if (slot->tts_isnull[0])
			elog(ERROR, "a key in the table of an import is NULL");
		if (diff->parts == 1)
			add_row(diff, slot->tts_values, slot->tts_isnull, &slot->tts_tid);
		else
			put_aside(diff, diff->there, slot, &slot->tts_tid);
		CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

/* Compares what was put aside, part by part. */
static void
compare_parts(Diff *diff)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(diff->result_desc, &TTSOpsMinimalTuple);

	for (int part = 0; part < diff->parts; part++)
	{
		start_part(diff, tuplestore_tuple_count(diff->there[part]));
		while (tuplestore_gettupleslot(diff->there[part], true, false, slot))
		{
			slot_getallattrs(slot);
			add_row(diff, slot->tts_values + 1, slot->tts_isnull + 1, (ItemPointer) DatumGetPointer(slot->tts_values[0]));
			CHECK_FOR_INTERRUPTS();
		}
		tuplestore_end(diff->there[part]);
		while (tuplestore_gettupleslot(diff->read[part], true, false, slot))
		{
			slot_getallattrs(slot);
			compare_row(diff, slot->tts_values + 1, slot->tts_isnull + 1);
			CHECK_FOR_INTERRUPTS();
		}
		tuplestore_end(diff->read[part]);
		finish_part(diff);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * _import_diff(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], import_table regclass)
 *		-> rows (its row tid, key text, attributes)
 */
Datum
profiles_import_diff(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Diff	   *diff = palloc0(sizeof(Diff));
	Relation	relation = import_open_table(fcinfo, PG_GETARG_OID(4), AccessShareLock);
	int			natts = RelationGetDescr(relation)->natts;
	double		rows = Max(relation->rd_rel->reltuples, 0);
	double		bytes;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	diff->desc = CreateTupleDescCopy(RelationGetDescr(relation));
	diff->result = rsinfo->setResult;
	diff->result_desc = rsinfo->setDesc;
	for (int i = 0; i <= natts; i++)
	{
		if (diff->result_desc->natts != natts + 1 ||
			TupleDescAttr(diff->result_desc, i)->atttypid !=
			(i == 0 ? TIDOID : TupleDescAttr(diff->desc, i - 1)->atttypid))
			elog(ERROR, "the rows of an import have other columns");
	}
	diff->values = palloc0(sizeof(Datum) * (natts + 1));
	diff->nulls = palloc0(sizeof(bool) * (natts + 1));
	diff->slot = MakeSingleTupleTableSlot(diff->desc, &TTSOpsMinimalTuple);
	diff->part = GenerationContextCreate(CurrentMemoryContext, "rows of an import", ALLOCSET_DEFAULT_SIZES);
	diff->batch_context = AllocSetContextCreate(CurrentMemoryContext, "rows to be compared", ALLOCSET_DEFAULT_SIZES);

	bytes = (double) RelationGetNumberOfBlocks(relation) * BLCKSZ * 1.5 + rows * 48;
	diff->parts = Max(1, Min(DIFF_MAX_PARTS, ceil(bytes / (work_mem * 1024.0))));
	if (diff->parts == 1)
		start_part(diff, rows);
	else
	{
		diff->there = palloc(sizeof(Tuplestorestate *) * diff->parts);
		diff->read = palloc(sizeof(Tuplestorestate *) * diff->parts);
		for (int i = 0; i < diff->parts; i++)
		{
			diff->there[i] = tuplestore_begin_heap(false, false, Max(64, work_mem / 4 / diff->parts));
			diff->read[i] = tuplestore_begin_heap(false, false, Max(64, work_mem / 4 / diff->parts));
		}
	}
	scan_import_table(diff, relation);
	import_read(fcinfo, diff->desc, false, put_in_diff, diff);
	if (diff->parts == 1)
		finish_part(diff);
	else
		compare_parts(diff);
	ExecDropSingleTupleTableSlot(diff->slot);
	MemoryContextDelete(diff->part);
	MemoryContextDelete(diff->batch_context);
	table_close(relation, NoLock);
	return (Datum) 0;
}
