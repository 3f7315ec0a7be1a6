/*
 * erased.c
 *		Looks up, for capture, whom forget() has erased.
 *
 * Keys that are blocked are in profiles.blocked.  Who was forgotten without that
 * may come back, but what sources had of them then is never kept: profiles.forgotten
 * has, by source, the hash of the key.  Mostly both tables are empty, which costs
 * a look at their sizes.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "blocked.h"
#include "catalog/namespace.h"
#include "compat.h"
#include "erased.h"
#include "left_out.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* A table and its primary key, of which the last column is looked up. */
typedef struct Lookup
{
	Relation	table;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	int			nkeys;
	ScanKeyData keys[3];
} Lookup;

struct ErasedKeys
{
	MemoryContext context;		/* of what scans allocate as they go */
	Snapshot	snapshot;
	const char *kind;
	Lookup		blocked;
	Lookup		forgotten;
	BlockedKeys *long_keys;		/* of those that are blocked, if they were asked for */
};

/* Opens a table; false if it has no rows, and never had any that vacuum has not removed. */
static bool
open_table(Lookup *lookup, const char *name)
{
	Oid			table = get_relname_relid(name, get_namespace_oid("profiles", false));

	lookup->table = table_open(table, AccessShareLock);
	if (RelationGetNumberOfBlocks(lookup->table) > 0)
		return true;
	table_close(lookup->table, AccessShareLock);
	lookup->table = NULL;
	return false;
}

static void
add_key(Lookup *lookup, RegProcedure equal, Datum value)
{
	int			n = lookup->nkeys++;

	ScanKeyEntryInitialize(&lookup->keys[n], 0, n + 1, BTEqualStrategyNumber, InvalidOid,
						   lookup->index->rd_indcollation[n], equal, value);
}

static void
begin_scan(Lookup *lookup, Snapshot snapshot)
{
	list_free(RelationGetIndexList(lookup->table));
	lookup->index = index_open(lookup->table->rd_pkindex, AccessShareLock);
	lookup->scan = PROFILES_INDEX_BEGINSCAN(lookup->table, lookup->index, snapshot, lookup->index->rd_index->indnkeyatts);
	lookup->slot = table_slot_create(lookup->table, NULL);
}

static bool
find(ErasedKeys *erased, Lookup *lookup, Datum key)
{
	MemoryContext old;
	bool		found;

	if (lookup->table == NULL)
		return false;
	/* the caller's may be that of a row */
	old = MemoryContextSwitchTo(erased->context);
	lookup->keys[lookup->nkeys - 1].sk_argument = key;
	index_rescan(lookup->scan, lookup->keys, lookup->nkeys, NULL, 0);
	found = index_getnext_slot(lookup->scan, ForwardScanDirection, lookup->slot);
	ExecClearTuple(lookup->slot);
	MemoryContextSwitchTo(old);
	return found;
}

static void
close_table(Lookup *lookup)
{
	if (lookup->table == NULL)
		return;
	index_endscan(lookup->scan);
	ExecDropSingleTupleTableSlot(lookup->slot);
	index_close(lookup->index, AccessShareLock);
	table_close(lookup->table, AccessShareLock);
}

/*
 * Begins to look up keys of a kind; NULL if nobody was ever erased.  Who was
 * forgotten matters only to sources that keep.  What counts is what is committed
 * now, whatever the transaction's snapshot sees.
 */
ErasedKeys *
erased_begin(const char *kind, int32 source_id, bool keep)
{
	ErasedKeys *erased = palloc0(sizeof(ErasedKeys));
	bool		any = open_table(&erased->blocked, "blocked");

	if (keep)
		any |= open_table(&erased->forgotten, "forgotten");
	if (!any)
	{
		pfree(erased);
		return NULL;
	}
	erased->context = CurrentMemoryContext;
	erased->kind = kind;
	erased->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (erased->blocked.table != NULL)
	{
		begin_scan(&erased->blocked, erased->snapshot);
		add_key(&erased->blocked, F_TEXTEQ, CStringGetTextDatum(kind));
		add_key(&erased->blocked, F_TEXTEQ, (Datum) 0);
	}
	if (erased->forgotten.table != NULL)
	{
		begin_scan(&erased->forgotten, erased->snapshot);
		add_key(&erased->forgotten, F_INT4EQ, Int32GetDatum(source_id));
		add_key(&erased->forgotten, F_TEXTEQ, CStringGetTextDatum(kind));
		add_key(&erased->forgotten, F_BYTEAEQ, (Datum) 0);
	}
	return erased;
}

Erasure
erased_find(ErasedKeys *erased, Datum key)
{
	if (find(erased, &erased->blocked, key))
		return BLOCKED;
	/* a text's bytes are a bytea */
	if (erased->forgotten.table != NULL && find(erased, &erased->forgotten, DirectFunctionCall1(sha256_bytea, key)))
		return FORGOTTEN;
	return NOT_ERASED;
}

/*
 * May an example be of somebody who is blocked?  Of one that may have been cut an index can't
 * tell, so the keys that are as long are read once.
 */
bool
erased_hides(ErasedKeys *erased, ProfileString example)
{
	MemoryContext old;
	bool		hidden;

	if (erased->blocked.table == NULL)
		return false;
	old = MemoryContextSwitchTo(erased->context);
	if (example.len < LEFT_OUT_CUT)
	{
		text	   *key = cstring_to_text_with_len(example.data, example.len);

		hidden = find(erased, &erased->blocked, PointerGetDatum(key));
		pfree(key);
	}
	else
	{
		if (erased->long_keys == NULL)
		{
			erased->long_keys = palloc(sizeof(BlockedKeys));
			PushActiveSnapshot(erased->snapshot);
			blocked_read(erased->long_keys, erased->kind, LEFT_OUT_CUT);
			PopActiveSnapshot();
		}
		hidden = blocked_may_have(erased->long_keys, example);
	}
	MemoryContextSwitchTo(old);
	return hidden;
}

void
erased_end(ErasedKeys *erased)
{
	close_table(&erased->blocked);
	close_table(&erased->forgotten);
	UnregisterSnapshot(erased->snapshot);
	pfree(erased);
}
