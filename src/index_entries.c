/*
 * index_entries.c
 *		Index entries of many rows at a time.
 *
 * Three or more entries per profile are most of what it takes to write one.  So
 * entries of rows that a merge has replaced are gathered, and put into each btree in
 * its own order: one finds its page where the one before it was, and new times all
 * go to the end.  The index of the key needs no order, since rows come in it, and each
 * has been looked up there just now.  Words that search finds are gathered once more, from rows in
 * their order in the table, as each word's have to be in the index (words_gather.c).  Nobody sees the rows before their entries: those
 * who look get what is committed, and triggers run after the last is there.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attribute.h"
#include "compat.h"
#include "executor/executor.h"
#include "index_entries.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sortsupport.h"
#include "words_gather.h"

/* An entry; its values, and whether they are NULL, lie behind it. */
typedef struct Entry
{
	ItemPointerData row;
	Datum		values[FLEXIBLE_ARRAY_MEMBER];
} Entry;

typedef struct EntriesOfIndex
{
	Relation	index;
	IndexInfo  *info;
	ExprState  *predicate;		/* NULL: all rows */
	IndexUniqueCheck check;
	bool		unchanged;		/* are its columns the same as before? */
	int			nkeys;			/* by which entries are sorted, before their rows */
	GatheredWords *words;		/* of a GIN index; NULL: it is none of that kind */
	bool		gathered;		/* or put in at once? */
	SortSupport sort;			/* per column of the key */
	Entry	  **entries;
	int			n;
	int			size;
} EntriesOfIndex;

struct IndexEntries
{
	Relation	table;
	int			nindexes;
	EntriesOfIndex *indexes;
	MemoryContext context;		/* of entries */
};

static bool *
nulls_of(Entry *entry, EntriesOfIndex *of)
{
	return (bool *) &entry->values[of->info->ii_NumIndexAttrs];
}

/* Is an index over none of the columns that change, which are one and those generated of it? */
static bool
is_unchanged(Relation table, IndexInfo *info, AttrNumber changed)
{
	if (info->ii_Expressions != NIL || info->ii_Predicate != NIL)
		return false;
	for (int i = 0; i < info->ii_NumIndexAttrs; i++)
	{
		AttrNumber	column = info->ii_IndexAttrNumbers[i];

		if (column == changed || TupleDescAttr(RelationGetDescr(table), column - 1)->attgenerated != '\0')
			return false;
	}
	return true;
}

static SortSupport
sort_as(Relation index, int nkeys)
{
	SortSupport sort = palloc0(nkeys * sizeof(SortSupportData));

	for (int i = 0; i < nkeys; i++)
	{
		sort[i].ssup_cxt = CurrentMemoryContext;
		sort[i].ssup_collation = index->rd_indcollation[i];
		sort[i].ssup_nulls_first = (index->rd_indoption[i] & INDOPTION_NULLS_FIRST) != 0;
		sort[i].ssup_attno = i + 1;
		PROFILES_SORT_AS_INDEX(index, (index->rd_indoption[i] & INDOPTION_DESC) != 0, &sort[i]);
	}
	return sort;
}

/* That are gathered of each of an index's words, and of all others together. */
static Size
most_bytes(void)
{
	return maintenance_work_mem * (Size) 1024 / 4;
}

/*
 * Entries for updates of rows of a table whose indexes are open, in the current memory
 * context.  kept is the unique index of a key that stays: of two rows with one key the
 * older is replaced, so nothing is there to check.  changed is the column that is
 * written, beside those generated.  NULL if an index checks what is not known at once;
 * then it is left to the executor.
 */
IndexEntries *
index_entries_begin(ResultRelInfo *relinfo, Relation kept, AttrNumber changed)
{
	IndexEntries *entries;

	for (int i = 0; i < relinfo->ri_NumIndices; i++)
	{
		if (relinfo->ri_IndexRelationInfo[i]->ii_ExclusionOps != NULL || !relinfo->ri_IndexRelationDescs[i]->rd_index->indimmediate)
			return NULL;
	}
	entries = palloc0(sizeof(IndexEntries));
	entries->table = relinfo->ri_RelationDesc;
	entries->indexes = palloc0(relinfo->ri_NumIndices * sizeof(EntriesOfIndex));
	for (int i = 0; i < relinfo->ri_NumIndices; i++)
	{
		Relation	index = relinfo->ri_IndexRelationDescs[i];
		IndexInfo  *info = relinfo->ri_IndexRelationInfo[i];
		EntriesOfIndex *of = &entries->indexes[entries->nindexes];

		if (!info->ii_ReadyForInserts)
			continue;
		of->index = index;
		of->info = info;
		of->check = index->rd_index->indisunique && index != kept ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
		of->unchanged = is_unchanged(entries->table, info, changed);
		if (words_gather_can(index))
			of->words = words_gather_begin(index, NULL, most_bytes());
		else if (index != kept && index->rd_rel->relam == BTREE_AM_OID)
		{
			of->nkeys = info->ii_NumIndexKeyAttrs;
			of->sort = sort_as(index, of->nkeys);
		}
		of->gathered = of->words != NULL || of->sort != NULL;
		entries->nindexes++;
	}
	entries->context = AllocSetContextCreate(CurrentMemoryContext, "index entries", ALLOCSET_DEFAULT_SIZES);
	return entries;
}

static void
insert_entry(IndexEntries *entries, EntriesOfIndex *of, ItemPointer row, Datum *values, bool *nulls)
{
	if (of->words != NULL)
		words_gather_row(of->words, row, values[0], nulls[0]);
	else
		(void) index_insert(of->index, values, nulls, row, entries->table, of->check, of->unchanged, of->info);
}

typedef Entry *EntryPointer;

static inline int
compare_entries(Entry *a, Entry *b, EntriesOfIndex *of)
{
	bool	   *a_nulls = nulls_of(a, of);
	bool	   *b_nulls = nulls_of(b, of);

	for (int i = 0; i < of->nkeys; i++)
	{
		int			c = ApplySortComparator(a->values[i], a_nulls[i], b->values[i], b_nulls[i], &of->sort[i]);

		if (c != 0)
			return c;
	}
	/* the order of equal ones in a btree, too */
	return ItemPointerCompare(&a->row, &b->row);
}

#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE EntryPointer
#define ST_COMPARE(a, b, of) compare_entries(*(a), *(b), of)
#define ST_COMPARE_ARG_TYPE EntriesOfIndex
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Inserts what was gathered. */
static void
insert_entries(IndexEntries *entries)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "index entry", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int i = 0; i < entries->nindexes; i++)
	{
		EntriesOfIndex *of = &entries->indexes[i];

		sort_entries(of->entries, of->n, of);
		for (int j = 0; j < of->n; j++)
		{
			CHECK_FOR_INTERRUPTS();
			insert_entry(entries, of, &of->entries[j]->row, of->entries[j]->values, nulls_of(of->entries[j], of));
			MemoryContextReset(context);
		}
		of->n = of->size = 0;
		of->entries = NULL;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	MemoryContextReset(entries->context);
}

static void
gather_entry(IndexEntries *entries, EntriesOfIndex *of, ItemPointer row, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(entries->context);
	TupleDesc	tupdesc = RelationGetDescr(of->index);
	int			n = of->info->ii_NumIndexAttrs;
	Entry	   *entry = palloc(offsetof(Entry, values) + n * (sizeof(Datum) + sizeof(bool)));

	entry->row = *row;
	for (int i = 0; i < n; i++)
		entry->values[i] = nulls[i] ? (Datum) 0
			: datumCopy(values[i], TupleDescAttr(tupdesc, i)->attbyval, TupleDescAttr(tupdesc, i)->attlen);
	memcpy(nulls_of(entry, of), nulls, n * sizeof(bool));
	if (of->n == of->size)
	{
		of->size = of->size * 2 + 1024;
		of->entries = of->entries == NULL ? palloc(of->size * sizeof(Entry *))
			: repalloc_huge(of->entries, of->size * sizeof(Entry *));
	}
	of->entries[of->n++] = entry;
	MemoryContextSwitchTo(old);
}

/* Takes the entries of a new version of a row, which is in the table. */
void
index_entries_add(IndexEntries *entries, TupleTableSlot *row, EState *estate)
{
	ExprContext *econtext = GetPerTupleExprContext(estate);
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	econtext->ecxt_scantuple = row;
	for (int i = 0; i < entries->nindexes; i++)
	{
		EntriesOfIndex *of = &entries->indexes[i];

		if (of->info->ii_Predicate != NIL)
		{
			if (of->predicate == NULL)
			{
				MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);

				of->predicate = ExecPrepareQual(of->info->ii_Predicate, estate);
				MemoryContextSwitchTo(old);
			}
			if (!ExecQual(of->predicate, econtext))
				continue;
		}
		FormIndexDatum(of->info, row, estate, values, nulls);
		if (of->gathered)
			gather_entry(entries, of, &row->tts_tid, values, nulls);
		else
			insert_entry(entries, of, &row->tts_tid, values, nulls);
	}
	if (MemoryContextMemAllocated(entries->context, false) >= most_bytes())
		insert_entries(entries);
}

/* Inserts what is left. */
void
index_entries_end(IndexEntries *entries)
{
	insert_entries(entries);
	MemoryContextDelete(entries->context);
	for (int i = 0; i < entries->nindexes; i++)
	{
		if (entries->indexes[i].words != NULL)
			words_gather_end(entries->indexes[i].words);
	}
}
