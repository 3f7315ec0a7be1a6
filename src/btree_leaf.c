/*
 * btree_leaf.c
 *		Entries of a btree on the page where those of another key were.
 *
 * Who looks many keys up in their order finds most of them on the page of the one before:
 * there is no need to come down from the root for each, which takes twice as many
 * comparisons, and pages besides.  Whether a key belongs to a page its bounds say, so keys may come
 * in any order, and pages be split or deleted meanwhile.  What may go on beyond the page is left to
 * a scan of the index.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relscan.h"
#include "btree_leaf.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/rel.h"

/* The page where a scan is at an entry. */
BlockNumber
btree_leaf_of(IndexScanDesc scan)
{
	return ((BTScanOpaque) scan->opaque)->currPos.currPage;
}

/* What keys of an index's first column are compared by, for btree_leaf_find(); palloc'd. */
BTScanInsert
btree_leaf_key(Relation index, Datum key)
{
	Datum		values[INDEX_MAX_KEYS] = {key};
	bool		isnull[INDEX_MAX_KEYS];
	BTScanInsert by;

	for (int i = 0; i < INDEX_MAX_KEYS; i++)
		isnull[i] = i > 0;
	by = _bt_mkscankey(index, index_form_tuple(RelationGetDescr(index), values, isnull));
	/* whatever else is there, and whatever row it is of */
	by->keysz = 1;
	by->scantid = NULL;
	return by;
}

/* Is a key, if it is in the index, on this page alone? */
static bool
is_within(Relation index, Page page, BTScanInsert key)
{
	BTPageOpaque opaque = BTPageGetOpaque(page);
	OffsetNumber first = P_FIRSTDATAKEY(opaque);

	return P_ISLEAF(opaque) && !P_IGNORE(opaque) && PageGetMaxOffsetNumber(page) >= first &&
		(P_RIGHTMOST(opaque) || _bt_compare(index, key, page, P_HIKEY) < 0) &&
		(P_LEFTMOST(opaque) || _bt_compare(index, key, page, first) > 0);
}

/* The first entry of a page that is not before a key. */
static OffsetNumber
search_page(Relation index, Page page, BTScanInsert key)
{
	OffsetNumber low = P_FIRSTDATAKEY(BTPageGetOpaque(page));
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (_bt_compare(index, key, page, middle) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The rows of a key, at most so many, as a scan would give them; their number, or -1 if the
 * page of the buffer, which is pinned, does not say.
 */
int
btree_leaf_find(IndexScanDesc scan, Buffer buffer, BTScanInsert by, Datum key, ItemPointerData *rows, int most)
{
	Relation	index = scan->indexRelation;
	Page		page = BufferGetPage(buffer);
	int			n = 0;

	by->scankeys[0].sk_argument = key;
	LockBuffer(buffer, BT_READ);
	if (!is_within(index, page, by))
		n = -1;
	else
	{
		OffsetNumber last = PageGetMaxOffsetNumber(page);

		PredicateLockPage(index, BufferGetBlockNumber(buffer), scan->xs_snapshot);
		for (OffsetNumber at = search_page(index, page, by); at <= last && _bt_compare(index, by, page, at) == 0; at++)
		{
			ItemId		item = PageGetItemId(page, at);
			IndexTuple	tuple = (IndexTuple) PageGetItem(page, item);
			int			nplaces = BTreeTupleIsPosting(tuple) ? BTreeTupleGetNPosting(tuple) : 1;

			if (scan->ignore_killed_tuples && ItemIdIsDead(item))
				continue;
			if (nplaces > most - n)
			{
				n = -1;
				break;
			}
			if (BTreeTupleIsPosting(tuple))
				memcpy(rows + n, BTreeTupleGetPosting(tuple), nplaces * sizeof(ItemPointerData));
			else
				rows[n] = tuple->t_tid;
			n += nplaces;
		}
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return n;
}
