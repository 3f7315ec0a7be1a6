/*
 * search_rows.c
 *		Rows of our own tables by one of their indexes, many at a time.
 *
 * A search reads thousands of rows that lie anywhere in a table.  What that takes is
 * waiting: for memory, or for the disk.  So up to some hundred rows are looked up in
 * the index, then the pages of all of them are asked for, and then they are read; nor
 * is a plan set up for a few rows.
 *
 * A row may go while it has been looked up only: who takes it away, or puts another
 * in its place, is later than our snapshot, as with a bitmap scan.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "btree_leaf.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "search.h"
#include "storage/bufmgr.h"
#include "tsearch/ts_utils.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define ROW_LINES	6			/* cache lines of a row that are read, about */
#define CACHE_LINE	64
#define COUNTED_BYTES	((Size) 64 << 20)	/* of memory, then counts are estimates */

/* Has it all rows our snapshot sees? */
static bool
is_complete(Relation index)
{
	return index->rd_index->indisvalid && heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
		(!index->rd_index->indcheckxmin ||
		 TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin));
}

/*
 * Is it a btree of a column's order, or (0) of an expression's, as bytes?  Not if others may be
 * equal by it: it would give the rows of other keys, too.
 */
static bool
serves(Relation index, AttrNumber column)
{
	Oid			collation = index->rd_indcollation[0];

	return index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indkey.values[0] == column &&
		index->rd_indoption[0] == 0 && (column != 0 || collation == C_COLLATION_OID) &&
		(!OidIsValid(collation) || get_collation_isdeterministic(collation)) && is_complete(index);
}

/* Does an index have signatures of names behind its first column? */
static bool
has_signatures(Relation index)
{
	Node	   *expression;
	char	   *function;

	if (index->rd_index->indnkeyatts < 2 || index->rd_index->indkey.values[1] != 0)
		return false;
	expression = linitial(RelationGetIndexExpressions(index));
	if (!IsA(expression, FuncExpr))
		return false;
	function = get_func_name(((FuncExpr *) expression)->funcid);
	return function != NULL && strcmp(function, "_name_signature") == 0;
}

/*
 * Opens profiles.kind_suffix to be read by an index on a column, or (NULL) on an
 * expression, under the active snapshot, in the current memory context; NULL if there
 * is no such index.
 */
IndexRows *
rows_open(Oid namespace, const char *kind, const char *suffix, const char *column, RowsBy by)
{
	IndexRows  *rows = palloc0(sizeof(IndexRows));
	char		name[NAMEDATALEN];
	AttrNumber	number;
	List	   *indexes;
	ListCell   *lc;

	snprintf(name, sizeof(name), "%s_%s", kind, suffix);
	rows->table = table_open(get_relname_relid(name, namespace), AccessShareLock);
	number = column == NULL ? 0 : get_attnum(RelationGetRelid(rows->table), column);
	indexes = RelationGetIndexList(rows->table);
	foreach(lc, indexes)
	{
		rows->index = index_open(lfirst_oid(lc), AccessShareLock);
		if (serves(rows->index, number))
			break;
		index_close(rows->index, AccessShareLock);
		rows->index = NULL;
	}
	list_free(indexes);
	if (rows->index == NULL)
	{
		table_close(rows->table, AccessShareLock);
		pfree(rows);
		return NULL;
	}
	rows->snapshot = GetActiveSnapshot();
	rows->scan = PROFILES_INDEX_BEGINSCAN(rows->table, rows->index, rows->snapshot, by == ROWS_BY_ADDRESS ? 2 : by == ROWS_BY_KEY ? 1 : 0);
	rows->is_signed = by == ROWS_IN_ORDER && has_signatures(rows->index);
	rows->scan->xs_want_itup = by == ROWS_BY_ADDRESS || rows->is_signed;
	rows->fetch = table_index_fetch_begin(rows->table);
	rows->slot = table_slot_create(rows->table, NULL);
	return rows;
}

/* From here on rows_next() gives the rows that have keys, in the order of these. */
void
rows_of_keys(IndexRows *rows, Datum *keys, int nkeys)
{
	rows->keys = keys;
	rows->nkeys = nkeys;
	rows->asked = rows->n = rows->next = 0;
	rows->inside = rows->ordered = false;
	rows->ahead = ROWS_AHEAD / 2;
}

/* The same, if many of the keys stand near the one before them in the index. */
void
rows_of_ordered_keys(IndexRows *rows, Datum *keys, int nkeys)
{
	rows_of_keys(rows, keys, nkeys);
	rows->ordered = true;
	if (rows->leaf_key == NULL && nkeys > 0)
		rows->leaf_key = btree_leaf_key(rows->index, keys[0]);
}

static void
rows_in_order(IndexRows *rows, ScanKey keys, int nkeys, ScanDirection direction)
{
	rows->keys = NULL;
	rows->direction = direction;
	rows->ended = false;
	rows->longer = 0;
	rows->screen = NULL;
	rows->n = rows->next = 0;
	rows->ahead = 32;
	index_rescan(rows->scan, keys, nkeys, NULL, 0);
}

/*
 * From here on rows_next() gives those of addresses from one on and before another;
 * unless longer is 0, only those of which no word begins with so many bytes.
 */
void
rows_of_addresses(IndexRows *rows, Datum from, Datum to, int longer)
{
	ScanKeyData keys[2];
	Oid			collation = rows->index->rd_indcollation[0];

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTGreaterEqualStrategyNumber, InvalidOid, collation, F_TEXT_GE, from);
	ScanKeyEntryInitialize(&keys[1], 0, 1, BTLessStrategyNumber, InvalidOid, collation, F_TEXT_LT, to);
	rows_in_order(rows, keys, 2, ForwardScanDirection);
	rows->longer = longer;
}

/* From here on rows_next() gives all rows, the greatest first. */
void
rows_newest(IndexRows *rows)
{
	rows_in_order(rows, NULL, 0, BackwardScanDirection);
}

/*
 * From here on rows_next() gives those whose names may pass, the greatest first, of so
 * many at most; the index has to have signatures.
 */
void
rows_newest_named(IndexRows *rows, const NameScreen *screen, int64 most)
{
	rows_newest(rows);
	rows->screen = screen;
	rows->entries = 0;
	rows->most = most;
	rows->ahead = 8;
}

/* May the name of the row that has been looked up pass? */
static bool
passes_screen(IndexRows *rows)
{
	bool		isnull;
	uint64		signature = (uint64) DatumGetInt64(index_getattr(rows->scan->xs_itup, 2, rows->scan->xs_itupdesc, &isnull));
	const NameScreen *screen = rows->screen;

	for (int i = 0; i < screen->nwords && !isnull; i++)
	{
		bool		passes = false;

		for (int j = 0; j < screen->nterms[i] && !passes; j++)
			passes = (screen->bits[i][j] & ~signature) == 0;
		if (!passes)
			return false;
	}
	return !isnull;
}

/* How many bytes of the address that has been looked up a word begins with, see people_index.c. */
static int
word_in_index(IndexRows *rows)
{
	bool		isnull;
	text	   *address = DatumGetTextPP(index_getattr(rows->scan->xs_itup, 1, rows->scan->xs_itupdesc, &isnull));

	return (unsigned char) VARDATA_ANY(address)[VARSIZE_ANY_EXHDR(address) - 1] - 1;
}

static void
leave_leaf(IndexRows *rows)
{
	if (BufferIsValid(rows->leaf))
		ReleaseBuffer(rows->leaf);
	rows->leaf = InvalidBuffer;
}

/* Looks a key up where the one before it was; false if that does not say. */
static bool
look_on_leaf(IndexRows *rows)
{
	int			n;

	if (!BufferIsValid(rows->leaf))
		return false;
	n = btree_leaf_find(rows->scan, rows->leaf, rows->leaf_key, rows->keys[rows->asked], rows->tids + rows->n, ROWS_AHEAD - rows->n);
	if (n < 0)
	{
		leave_leaf(rows);
		return false;
	}
	while (n-- > 0)
		rows->of[rows->n++] = rows->asked;
	rows->asked++;
	return true;
}

/* Looks some more rows up. */
static void
look_ahead(IndexRows *rows)
{
	ItemPointer tid;

	rows->n = rows->next = 0;
	if (rows->keys == NULL)
	{
		while (rows->n < rows->ahead && !rows->ended)
		{
			tid = index_getnext_tid(rows->scan, rows->direction);
			rows->ended = tid == NULL || (rows->screen != NULL && rows->entries++ == rows->most);
			if (!rows->ended && (rows->longer == 0 || word_in_index(rows) < rows->longer) &&
				(rows->screen == NULL || passes_screen(rows)))
				rows->tids[rows->n++] = *tid;
			CHECK_FOR_INTERRUPTS();
		}
		rows->ahead = Min(2 * rows->ahead, ROWS_AHEAD);
		return;
	}
	while (rows->n < ROWS_AHEAD)
	{
		if (!rows->inside)
		{
			ScanKeyData key;

			if (rows->asked == rows->nkeys || rows->n >= rows->ahead)
				break;
			if (look_on_leaf(rows))
				continue;
			ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
								   rows->index->rd_indcollation[0], F_TEXTEQ, rows->keys[rows->asked]);
			index_rescan(rows->scan, &key, 1, NULL, 0);
			rows->inside = true;
		}
		/* several, if versions of the row that nobody sees any more are still there */
		tid = index_getnext_tid(rows->scan, ForwardScanDirection);
		if (tid == NULL)
		{
			rows->inside = false;
			rows->asked++;
			continue;
		}
		if (rows->ordered && !BufferIsValid(rows->leaf))
			rows->leaf = ReadBuffer(rows->index, btree_leaf_of(rows->scan));
		rows->of[rows->n] = rows->asked;
		rows->tids[rows->n++] = *tid;
	}
	/* vacuum may wait for it */
	leave_leaf(rows);
}

/*
 * Asks for the pages of the rows looked up: for those on disk that they be read, for
 * those in memory that the processor fetch them.  What is read here without a
 * lock is a hint, whatever becomes of it.
 */
static void
prefetch(IndexRows *rows)
{
	Page		pages[ROWS_AHEAD];

	if (rows->table->rd_tableam != GetHeapamTableAmRoutine())
		return;
	for (int i = 0; i < rows->n; i++)
	{
		Buffer		buffer = PrefetchBuffer(rows->table, MAIN_FORKNUM,
											ItemPointerGetBlockNumber(&rows->tids[i])).recent_buffer;

		pages[i] = BufferIsValid(buffer) ? (Page) BufferGetBlock(buffer) : NULL;
		if (pages[i] != NULL)
		{
			__builtin_prefetch(pages[i]);
			__builtin_prefetch(PageGetItemId(pages[i], ItemPointerGetOffsetNumber(&rows->tids[i])));
		}
	}
	for (int i = 0; i < rows->n; i++)
	{
		if (pages[i] != NULL)
		{
			unsigned	offset = ItemIdGetOffset(PageGetItemId(pages[i], ItemPointerGetOffsetNumber(&rows->tids[i])));

			for (int line = 0; line < ROW_LINES; line++)
				__builtin_prefetch((char *) pages[i] + Min(offset + line * CACHE_LINE, BLCKSZ - 1));
		}
	}
}

/* The next row, in rows->slot; false if there is none. */
bool
rows_next(IndexRows *rows)
{
	for (;;)
	{
		while (rows->next < rows->n)
		{
			int			i = rows->next++;
			bool		again = false;

			rows->key = rows->of[i];
			if (table_index_fetch_tuple(rows->fetch, &rows->tids[i], rows->snapshot, rows->slot, &again, NULL))
				return true;
		}
		CHECK_FOR_INTERRUPTS();
		if (rows->keys != NULL && rows->asked == rows->nkeys)
			return false;
		look_ahead(rows);
		if (rows->n == 0 && rows->keys == NULL)
			return false;
		if (rows->n > 1)
			prefetch(rows);
	}
}

/* The row of one key, in rows->slot; false if there is none. */
bool
rows_find(IndexRows *rows, Datum key)
{
	rows_of_keys(rows, &key, 1);
	return rows_next(rows);
}

/* How many rows of the table meet a tsquery, by a GIN index of its; below 0 if there is none. */
int64
rows_count(IndexRows *rows, const char *name, Datum query)
{
	Oid			oid = get_relname_relid(name, RelationGetNamespace(rows->table));
	Relation	index;
	int64		n = -1;

	if (!OidIsValid(oid))
		return n;
	index = index_open(oid, AccessShareLock);
	if (is_complete(index))
	{
		IndexScanDesc scan = PROFILES_INDEX_BEGINSCAN_BITMAP(index, rows->snapshot, 1);
		TIDBitmap  *bitmap = tbm_create(COUNTED_BYTES, NULL);
		ScanKeyData key;

		ScanKeyInit(&key, 1, TSearchStrategyNumber, F_TS_MATCH_VQ, query);
		index_rescan(scan, &key, 1, NULL, 0);
		n = index_getbitmap(scan, bitmap);
		tbm_free(bitmap);
		index_endscan(scan);
	}
	index_close(index, AccessShareLock);
	return n;
}

void
rows_close(IndexRows *rows)
{
	ExecDropSingleTupleTableSlot(rows->slot);
	table_index_fetch_end(rows->fetch);
	index_endscan(rows->scan);
	index_close(rows->index, AccessShareLock);
	table_close(rows->table, AccessShareLock);
	pfree(rows);
}
