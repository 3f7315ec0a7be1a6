/*
 * words_build.c
 *		Makes a GIN index of words faster than GIN does.
 *
 * To build an index GIN looks each word of each row up in a balanced tree, which takes half
 * of the time.  Here words are gathered in a hash table, and entries are put in the
 * index by GIN's own function, as its build does.  What comes of it is a plain GIN index.
 *
 * For operator classes that know words apart by their bytes, of indexes of one column.
 */
#include "postgres.h"

#include "access/gin_private.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "common/hashfn.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "parser/parse_utilcmd.h"
#include "port/pg_bitutils.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(profiles_build_words_index);

#define FIRST_SIZE		1024	/* of the table, a power of two */
#define FIRST_BYTES		64		/* of the places of an entry, once they are several */
#define QUEUED			64		/* words at a time */

/* A word, or what stands for a row without any, and where it is. */
typedef struct Entry
{
	Datum		key;
	union
	{
		ItemPointerData one;	/* if there is room for one */
		ItemPointerData *many;
	}			places;			/* ascending, unless the build is unsorted */
	uint32		n;
	uint32		size;			/* 0: free */
	uint32		hash;
	uint32		row;			/* the last one, by its number since gathering was begun */
} Entry;

/* A word of a row on its way to its entry. */
typedef struct QueuedWord
{
	Datum		key;
	uint32		hash;
	uint32		row;
	ItemPointerData place;
	Entry	   *entry;
} QueuedWord;

typedef struct Build
{
	GinState	gin;
	GinStatsData stats;
	double		rows;
	bool		by_value;		/* keys */
	MemoryContext once;			/* for words that are queued, or to put an entry in the index */
	QueuedWord	queue[QUEUED];
	int			nqueued;

	/* what is gathered */
	MemoryContext gathered;
	Size		bytes;
	Entry	   *entries;
	uint32		size;			/* a power of two */
	uint32		n;
	Entry		special[GIN_CAT_NULL_ITEM + 1]; /* by category */
	uint32		row;			/* that is read now */
	ItemPointerData place;		/* where it is */
	bool		unsorted;		/* places of rows */
} Build;

static void
start_gathering(Build *build)
{
	MemoryContextReset(build->gathered);
	build->size = FIRST_SIZE;
	build->n = 0;
	build->entries = MemoryContextAllocZero(build->gathered, build->size * sizeof(Entry));
	build->bytes = build->size * sizeof(Entry);
	build->row = 0;
	build->unsorted = false;
	ItemPointerSetMin(&build->place);
	memset(build->special, 0, sizeof(build->special));
	for (int category = 0; category <= GIN_CAT_NULL_ITEM; category++)
		build->special[category].size = 1;
}

static inline uint32
hash_key(const Build *build, Datum key)
{
	if (build->by_value)
	{
		uint64		mixed = (uint64) key * UINT64CONST(0x9E3779B97F4A7C15);

		/* the last bits of words that are cut are zeros, of which the first product's middle has some */
		return ((mixed ^ mixed >> 32) * UINT64CONST(0x9E3779B97F4A7C15)) >> 32;
	}
	return hash_bytes((unsigned char *) VARDATA_ANY(DatumGetPointer(key)), VARSIZE_ANY_EXHDR(DatumGetPointer(key)));
}

static inline bool
is_key(const Build *build, const Entry *entry, Datum key, uint32 hash)
{
	struct varlena *a;
	struct varlena *b;

	if (build->by_value)
		return entry->key == key;
	if (entry->hash != hash)
		return false;
	a = (struct varlena *) DatumGetPointer(entry->key);
	b = (struct varlena *) DatumGetPointer(key);
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static void
enlarge_table(Build *build)
{
	Entry	   *before = build->entries;
	uint32		size = build->size;

	build->size *= 2;
	build->entries = MemoryContextAllocExtended(build->gathered, build->size * sizeof(Entry), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < size; i++)
	{
		uint32		at = before[i].hash & (build->size - 1);

		if (before[i].size == 0)
			continue;
		while (build->entries[at].size > 0)
			at = (at + 1) & (build->size - 1);
		build->entries[at] = before[i];
	}
	pfree(before);
	build->bytes += size * sizeof(Entry);
}

/* The entry of a word.  There is room for another. */
static Entry *
find_entry(Build *build, Datum key, uint32 hash)
{
	uint32		at = hash & (build->size - 1);
	Entry	   *entry;

	for (; build->entries[at].size > 0; at = (at + 1) & (build->size - 1))
	{
		if (is_key(build, &build->entries[at], key, hash))
			return &build->entries[at];
	}
	build->n++;
	entry = &build->entries[at];
	entry->hash = hash;
	entry->size = 1;
	entry->key = key;
	if (!build->by_value)
	{
		Size		len = VARSIZE_ANY(DatumGetPointer(key));

		entry->key = PointerGetDatum(memcpy(MemoryContextAlloc(build->gathered, len), DatumGetPointer(key), len));
		build->bytes += GetMemoryChunkSpace(DatumGetPointer(entry->key));
	}
	return entry;
}

static inline ItemPointerData *
places_of(Entry *entry)
{
	return entry->size == 1 ? &entry->places.one : entry->places.many;
}

/* Adds a row to an entry. */
static inline void
add_place(Build *build, Entry *entry, uint32 row, const ItemPointerData *place)
{
	/* a row may have a word twice */
	if (entry->row == row)
		return;
	entry->row = row;
	if (entry->n == entry->size)
	{
		Size		bytes = entry->size == 1 ? FIRST_BYTES : 2 * pg_nextpower2_size_t(entry->size * sizeof(ItemPointerData));
		ItemPointerData *many;

		if (entry->size == 1)
		{
			many = MemoryContextAlloc(build->gathered, bytes);
			many[0] = entry->places.one;
		}
		else
		{
			build->bytes -= GetMemoryChunkSpace(entry->places.many);
			many = repalloc_huge(entry->places.many, bytes);
		}
		build->bytes += GetMemoryChunkSpace(many);
		entry->places.many = many;
		entry->size = bytes / sizeof(ItemPointerData);
	}
	places_of(entry)[entry->n++] = *place;
}

/*
 * Adds rows to the entries of the words that are queued.  The table and the ends of what it
 * refers to are larger than the processor's nearest cache, so these are asked for beforehand.
 */
static void
add_queued(Build *build)
{
	if (build->n + build->nqueued > build->size / 2)
		enlarge_table(build);
	for (int i = 0; i < build->nqueued; i++)
	{
		QueuedWord *word = &build->queue[i];

		word->entry = find_entry(build, word->key, word->hash);
		PROFILES_PREFETCH(&places_of(word->entry)[word->entry->n]);
	}
	for (int i = 0; i < build->nqueued; i++)
		add_place(build, build->queue[i].entry, build->queue[i].row, &build->queue[i].place);
	build->nqueued = 0;
}

static inline void
queue_word(Build *build, Datum key)
{
	QueuedWord *word = &build->queue[build->nqueued++];

	word->key = key;
	word->hash = hash_key(build, key);
	word->row = build->row;
	word->place = build->place;
	PROFILES_PREFETCH(&build->entries[word->hash & (build->size - 1)]);
	if (build->nqueued == QUEUED)
		add_queued(build);
}

static int
compare_places(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

static void
put_entry(Build *build, Entry *entry, GinNullCategory category)
{
	ItemPointerData *places = places_of(entry);
	MemoryContext old;

	if (entry->n == 0)
		return;
	if (build->unsorted)
	{
		uint32		n = 0;

		qsort(places, entry->n, sizeof(ItemPointerData), compare_places);
		for (uint32 i = 0; i < entry->n; i++)
		{
			if (n == 0 || !ItemPointerEquals(&places[n - 1], &places[i]))
				places[n++] = places[i];
		}
		entry->n = n;
	}
	CHECK_FOR_INTERRUPTS();
	old = MemoryContextSwitchTo(build->once);
	ginEntryInsert(&build->gin, 1, entry->key, category, places, entry->n, &build->stats);
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->once);
}

static int
compare_entries(const void *a, const void *b, void *arg)
{
	return ginCompareEntries(arg, 1, (*(Entry *const *) a)->key, GIN_CAT_NORM_KEY, (*(Entry *const *) b)->key, GIN_CAT_NORM_KEY);
}

/*
 * Puts what was gathered in the index.  In order a full page is split in halves of which only
 * one gets more, so each other entry is left for a second pass, which fills them.
 */
static void
put_gathered(Build *build)
{
	Entry	  **sorted;
	uint32		n = 0;

	add_queued(build);
	sorted = MemoryContextAllocHuge(build->gathered, build->n * sizeof(Entry *));
	for (uint32 i = 0; i < build->size; i++)
	{
		if (build->entries[i].size > 0)
			sorted[n++] = &build->entries[i];
	}
	Assert(n == build->n);
	qsort_arg(sorted, n, sizeof(Entry *), compare_entries, &build->gin);
	for (int pass = 0; pass < 2; pass++)
	{
		for (uint32 i = pass; i < n; i += 2)
			put_entry(build, sorted[i], GIN_CAT_NORM_KEY);
	}
	for (int category = GIN_CAT_NORM_KEY + 1; category <= GIN_CAT_NULL_ITEM; category++)
		put_entry(build, &build->special[category], category);
	start_gathering(build);
}

static void
gather_row(Relation index, ItemPointer place, Datum *values, bool *isnull, bool alive, void *state)
{
	Build	   *build = state;
	MemoryContext old = MemoryContextSwitchTo(build->once);
	int32		n = 0;
	Datum	   *keys = NULL;
	bool	   *nulls = NULL;

	build->rows++;
	build->row++;
	/* versions of a row may be at one place, and come after those of others */
	build->unsorted |= ItemPointerCompare(place, &build->place) <= 0;
	build->place = *place;
	if (isnull[0])
		add_place(build, &build->special[GIN_CAT_NULL_ITEM], build->row, place);
	else
	{
		keys = (Datum *) DatumGetPointer(FunctionCall3Coll(&build->gin.extractValueFn[0], build->gin.supportCollation[0], values[0],
														   PointerGetDatum(&n), PointerGetDatum(&nulls)));
		if (keys == NULL || n <= 0)
			add_place(build, &build->special[GIN_CAT_EMPTY_ITEM], build->row, place);
	}
	for (int i = 0; i < n; i++)
	{
		if (nulls != NULL && nulls[i])
			add_place(build, &build->special[GIN_CAT_NULL_KEY], build->row, place);
		else
			queue_word(build, keys[i]);
	}
	MemoryContextSwitchTo(old);
	if (build->nqueued >= QUEUED / 2 || build->row % QUEUED == 0)
	{
		add_queued(build);
		MemoryContextReset(build->once);
	}
	if (build->bytes >= maintenance_work_mem * (Size) 1024 || build->row == PG_UINT32_MAX)
		put_gathered(build);
}

/* As an access method's ambuild. */
static IndexBuildResult *
build_index(Relation heap, Relation index, IndexInfo *info)
{
	Build	   *build = palloc0(sizeof(Build));
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	Buffer		meta;
	Buffer		root;

	if (RelationGetNumberOfBlocks(index) != 0 || IndexRelationGetNumberOfAttributes(index) != 1)
		elog(ERROR, "the index is not an empty one of one column");
	initGinState(&build->gin, index);
	build->by_value = TupleDescAttr(build->gin.origTupdesc, 0)->attbyval;
	meta = GinNewBuffer(index);
	root = GinNewBuffer(index);
	START_CRIT_SECTION();
	GinInitMetabuffer(meta);
	MarkBufferDirty(meta);
	GinInitBuffer(root, GIN_LEAF);
	MarkBufferDirty(root);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(meta);
	UnlockReleaseBuffer(root);
	build->stats.nEntryPages = 1;

	build->once = AllocSetContextCreate(CurrentMemoryContext, "words of a row", ALLOCSET_DEFAULT_SIZES);
	build->gathered = AllocSetContextCreate(CurrentMemoryContext, "words of an index", ALLOCSET_DEFAULT_SIZES);
	start_gathering(build);
	result->heap_tuples = table_index_build_scan(heap, index, info, false, false, gather_row, build, NULL);
	put_gathered(build);
	MemoryContextDelete(build->gathered);
	MemoryContextDelete(build->once);
	result->index_tuples = build->rows;

	build->stats.nTotalPages = RelationGetNumberOfBlocks(index);
	ginUpdateStats(index, &build->stats, true);
	/* until now nothing was logged */
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(index), true);
	return result;
}

/* A plain CREATE INDEX ... USING gin. */
static IndexStmt *
parse_definition(const char *sql)
{
	List	   *statements = pg_parse_query(sql);
	IndexStmt  *statement = list_length(statements) == 1 ? (IndexStmt *) linitial_node(RawStmt, statements)->stmt : NULL;

	if (statement == NULL || !IsA(statement, IndexStmt) || strcmp(statement->accessMethod, "gin") != 0 || statement->concurrent)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" does not define a GIN index", sql)));
	return statement;
}

/* _build_index(definition text): CREATE INDEX */
Datum
profiles_build_words_index(PG_FUNCTION_ARGS)
{
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	IndexStmt  *statement = parse_definition(sql);
	Oid			table = RangeVarGetRelidExtended(statement->relation, ShareLock, 0, RangeVarCallbackOwnsRelation, NULL);
	Oid			made;
	Relation	heap;
	Relation	index;
	IndexAmRoutine *gin;
	IndexAmRoutine routine;

	if (get_rel_relkind(table) != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", statement->relation->relname)));
	made = PROFILES_DEFINE_INDEX(table, transformIndexStmt(table, statement, sql)).objectId;
	CommandCounterIncrement();
	heap = table_open(table, NoLock);
	index = index_open(made, AccessExclusiveLock);
	gin = index->rd_indam;
	routine = *gin;
	routine.ambuild = build_index;
	index->rd_indam = &routine;
	PG_TRY();
	{
		index_build(heap, index, BuildIndexInfo(index), false, false);
	}
	PG_FINALLY();
	{
		index->rd_indam = gin;
	}
	PG_END_TRY();
	index_close(index, NoLock);
	table_close(heap, NoLock);
	PG_RETURN_VOID();
}
