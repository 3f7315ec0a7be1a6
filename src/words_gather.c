/*
 * words_gather.c
 *		Gathers the words of many rows, and puts them in a GIN index.
 *
 * GIN looks each word of each row up in a balanced tree, or, in an index that is in use, in
 * pages of rows that wait, and then in that tree.  Here words are gathered in a hash table, and
 * entries are put in the index by GIN's own function, in order.  What comes of it is a
 * plain GIN index.
 *
 * For operator classes that know words apart by their bytes, of indexes of one column.
 */
#include "postgres.h"

#include "access/gin_private.h"
#include "catalog/pg_am.h"
#include "common/hashfn.h"
#include "compat.h"
#include "miscadmin.h"
#include "people.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "words_gather.h"

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
	}			places;			/* ascending, unless rows were not */
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

struct GatheredWords
{
	GinState	gin;
	GinStatsData *stats;		/* of a build; NULL: of an index that is in use */
	Size		most;			/* bytes that are gathered before they are put in */
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
};

static void
start_gathering(GatheredWords *words)
{
	MemoryContextReset(words->gathered);
	words->size = FIRST_SIZE;
	words->n = 0;
	words->entries = MemoryContextAllocZero(words->gathered, words->size * sizeof(Entry));
	words->bytes = words->size * sizeof(Entry);
	words->row = 0;
	words->unsorted = false;
	ItemPointerSetMin(&words->place);
	memset(words->special, 0, sizeof(words->special));
	for (int category = 0; category <= GIN_CAT_NULL_ITEM; category++)
		words->special[category].size = 1;
}

static inline uint32
hash_key(const GatheredWords *words, Datum key)
{
	if (words->by_value)
	{
		uint64		mixed = (uint64) key * UINT64CONST(0x9E3779B97F4A7C15);

		/* the last bits of words that are cut are zeros, of which the first product's middle has some */
		return ((mixed ^ mixed >> 32) * UINT64CONST(0x9E3779B97F4A7C15)) >> 32;
	}
	return hash_bytes((unsigned char *) VARDATA_ANY(DatumGetPointer(key)), VARSIZE_ANY_EXHDR(DatumGetPointer(key)));
}

static inline bool
is_key(const GatheredWords *words, const Entry *entry, Datum key, uint32 hash)
{
	struct varlena *a;
	struct varlena *b;

	if (words->by_value)
		return entry->key == key;
	if (entry->hash != hash)
		return false;
	a = (struct varlena *) DatumGetPointer(entry->key);
	b = (struct varlena *) DatumGetPointer(key);
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static void
enlarge_table(GatheredWords *words)
{
	Entry	   *before = words->entries;
	uint32		size = words->size;

	words->size *= 2;
	words->entries = MemoryContextAllocExtended(words->gathered, words->size * sizeof(Entry), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < size; i++)
	{
		uint32		at = before[i].hash & (words->size - 1);

		if (before[i].size == 0)
			continue;
		while (words->entries[at].size > 0)
			at = (at + 1) & (words->size - 1);
		words->entries[at] = before[i];
	}
	pfree(before);
	words->bytes += size * sizeof(Entry);
}

/* The entry of a word.  There is room for another. */
static Entry *
find_entry(GatheredWords *words, Datum key, uint32 hash)
{
	uint32		at = hash & (words->size - 1);
	Entry	   *entry;

	for (; words->entries[at].size > 0; at = (at + 1) & (words->size - 1))
	{
		if (is_key(words, &words->entries[at], key, hash))
			return &words->entries[at];
	}
	words->n++;
	entry = &words->entries[at];
	entry->hash = hash;
	entry->size = 1;
	entry->key = key;
	if (!words->by_value)
	{
		Size		len = VARSIZE_ANY(DatumGetPointer(key));

		entry->key = PointerGetDatum(memcpy(MemoryContextAlloc(words->gathered, len), DatumGetPointer(key), len));
		words->bytes += GetMemoryChunkSpace(DatumGetPointer(entry->key));
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
add_place(GatheredWords *words, Entry *entry, uint32 row, const ItemPointerData *place)
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
			many = MemoryContextAlloc(words->gathered, bytes);
			many[0] = entry->places.one;
		}
		else
		{
			words->bytes -= GetMemoryChunkSpace(entry->places.many);
			many = repalloc_huge(entry->places.many, bytes);
		}
		words->bytes += GetMemoryChunkSpace(many);
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
add_queued(GatheredWords *words)
{
	if (words->n + words->nqueued > words->size / 2)
		enlarge_table(words);
	for (int i = 0; i < words->nqueued; i++)
	{
		QueuedWord *word = &words->queue[i];

		word->entry = find_entry(words, word->key, word->hash);
		PROFILES_PREFETCH(&places_of(word->entry)[word->entry->n]);
	}
	for (int i = 0; i < words->nqueued; i++)
		add_place(words, words->queue[i].entry, words->queue[i].row, &words->queue[i].place);
	words->nqueued = 0;
}

static inline void
queue_word(GatheredWords *words, Datum key)
{
	QueuedWord *word = &words->queue[words->nqueued++];

	word->key = key;
	word->hash = hash_key(words, key);
	word->row = words->row;
	word->place = words->place;
	PROFILES_PREFETCH(&words->entries[word->hash & (words->size - 1)]);
	if (words->nqueued == QUEUED)
		add_queued(words);
}

/* Places as they are sorted: without a call for each comparison, as there are many. */
#define ST_SORT sort_places
#define ST_ELEMENT_TYPE ItemPointerData
#define ST_COMPARE(a, b) ginCompareItemPointers((ItemPointer) (a), (ItemPointer) (b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static void
put_entry(GatheredWords *words, Entry *entry, GinNullCategory category)
{
	ItemPointerData *places = places_of(entry);
	MemoryContext old;

	if (entry->n == 0)
		return;
	if (words->unsorted)
	{
		uint32		n = 0;

		sort_places(places, entry->n);
		for (uint32 i = 0; i < entry->n; i++)
		{
			if (n == 0 || !ItemPointerEquals(&places[n - 1], &places[i]))
				places[n++] = places[i];
		}
		entry->n = n;
	}
	CHECK_FOR_INTERRUPTS();
	old = MemoryContextSwitchTo(words->once);
	ginEntryInsert(&words->gin, 1, entry->key, category, places, entry->n, words->stats);
	MemoryContextSwitchTo(old);
	MemoryContextReset(words->once);
}

static int
compare_entries(const void *a, const void *b, void *arg)
{
	return ginCompareEntries(arg, 1, (*(Entry *const *) a)->key, GIN_CAT_NORM_KEY, (*(Entry *const *) b)->key, GIN_CAT_NORM_KEY);
}

/*
 * Puts what was gathered in the index.  When that is built in order, a full page is split in halves of
 * which only one gets more, so each other entry is left for a second pass, which fills them.
 */
void
words_gather_put(GatheredWords *words)
{
	Entry	  **sorted;
	uint32		n = 0;
	int			passes = words->stats == NULL ? 1 : 2;

	add_queued(words);
	sorted = MemoryContextAllocHuge(words->gathered, words->n * sizeof(Entry *));
	for (uint32 i = 0; i < words->size; i++)
	{
		if (words->entries[i].size > 0)
			sorted[n++] = &words->entries[i];
	}
	Assert(n == words->n);
	qsort_arg(sorted, n, sizeof(Entry *), compare_entries, &words->gin);
	for (int pass = 0; pass < passes; pass++)
	{
		for (uint32 i = pass; i < n; i += passes)
			put_entry(words, sorted[i], GIN_CAT_NORM_KEY);
	}
	for (int category = GIN_CAT_NORM_KEY + 1; category <= GIN_CAT_NULL_ITEM; category++)
		put_entry(words, &words->special[category], category);
	start_gathering(words);
}

/* Adds a row, and puts what was gathered in the index if that is enough. */
void
words_gather_row(GatheredWords *words, ItemPointer place, Datum value, bool isnull)
{
	MemoryContext old = MemoryContextSwitchTo(words->once);
	int32		n = 0;
	Datum	   *keys = NULL;
	bool	   *nulls = NULL;

	words->row++;
	/* versions of a row may be at one place, and come after those of others */
	words->unsorted |= ItemPointerCompare(place, &words->place) <= 0;
	words->place = *place;
	if (isnull)
		add_place(words, &words->special[GIN_CAT_NULL_ITEM], words->row, place);
	else
	{
		keys = (Datum *) DatumGetPointer(FunctionCall3Coll(&words->gin.extractValueFn[0], words->gin.supportCollation[0], value,
														   PointerGetDatum(&n), PointerGetDatum(&nulls)));
		if (keys == NULL || n <= 0)
			add_place(words, &words->special[GIN_CAT_EMPTY_ITEM], words->row, place);
	}
	for (int i = 0; i < n; i++)
	{
		if (nulls != NULL && nulls[i])
			add_place(words, &words->special[GIN_CAT_NULL_KEY], words->row, place);
		else
			queue_word(words, keys[i]);
	}
	MemoryContextSwitchTo(old);
	if (words->nqueued >= QUEUED / 2 || words->row % QUEUED == 0)
	{
		add_queued(words);
		MemoryContextReset(words->once);
	}
	if (words->bytes >= words->most || words->row == PG_UINT32_MAX)
		words_gather_put(words);
}

/* Does an index of one column know words apart as search's do, by their bytes? */
bool
words_gather_can(Relation index)
{
	return index->rd_rel->relam == GIN_AM_OID && IndexRelationGetNumberOfAttributes(index) == 1 &&
		OidIsValid(index_getprocid(index, 1, GIN_COMPARE_PROC)) &&
		index_getprocinfo(index, 1, GIN_COMPARE_PROC)->fn_addr == people_compare_words;
}

/*
 * Begins to gather words for an index of one column, in the current memory context, at most
 * so many bytes at a time.  stats are those of a build, in which nothing is logged; NULL if
 * the index is in use.
 */
GatheredWords *
words_gather_begin(Relation index, GinStatsData *stats, Size most)
{
	GatheredWords *words = palloc0(sizeof(GatheredWords));

	initGinState(&words->gin, index);
	words->stats = stats;
	words->most = most;
	words->by_value = TupleDescAttr(words->gin.origTupdesc, 0)->attbyval;
	words->once = AllocSetContextCreate(CurrentMemoryContext, "words of a row", ALLOCSET_DEFAULT_SIZES);
	words->gathered = AllocSetContextCreate(CurrentMemoryContext, "words of an index", ALLOCSET_DEFAULT_SIZES);
	start_gathering(words);
	return words;
}

/* Puts the rest in the index. */
void
words_gather_end(GatheredWords *words)
{
	words_gather_put(words);
	MemoryContextDelete(words->gathered);
	MemoryContextDelete(words->once);
	pfree(words);
}
