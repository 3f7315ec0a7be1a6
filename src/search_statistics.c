/*
 * search_statistics.c
 *		How many people have a word, about: profiles.<kind>_search_stat in memory.
 *
 * Every search asks for each of its words, some for all that begin with one letter.
 * So a session keeps the words in byte order with sums over them, and reads
 * them anew when told that they have changed.  Old ones do no harm: they decide how
 * to search, not what is found.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "profile.h"
#include "search.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(profiles_search_statistics_changed);

#define BEGINNING_BYTES	(4 * 4 + 1)	/* four letters and a mark */

typedef struct Word
{
	const char *bytes;
	int			len;
	Frequency	before;			/* of all words before it */
} Word;

typedef struct Statistics
{
	Oid			relation;		/* invalid: nothing is known */
	MemoryContext context;
	Word	   *words;			/* and one more, with the sums of all */
	int			n;
} Statistics;

static Statistics known[PROFILES_KINDS];
static uint64 changes = 0;

static void
forget_statistics(Datum arg, Oid relation)
{
	changes++;
	for (int kind = 0; kind < PROFILES_KINDS; kind++)
	{
		if (relation == known[kind].relation || !OidIsValid(relation))
			known[kind].relation = InvalidOid;
	}
}

/* Reads them; SPI is connected, and those of before have been forgotten. */
static void
read_statistics(Statistics *statistics, int kind, Oid relation)
{
	char	   *sql = psprintf("SELECT t.word, t.people, t.attributes, t.imported FROM profiles.%s_search_stat t ORDER BY t.word", profiles_kinds[kind]);
	uint64		before = changes;
	MemoryContext context;
	Word	   *words;
	Frequency	sum = {0};
	int			settings = profiles_pin_settings();

	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the statistics of search");
	context = AllocSetContextCreate(CurrentMemoryContext, "statistics of search", ALLOCSET_DEFAULT_SIZES);
	words = MemoryContextAllocHuge(context, (SPI_processed + 1) * sizeof(Word));
	for (uint64 i = 0; i <= SPI_processed; i++)
	{
		words[i].before = sum;
		if (i < SPI_processed)
		{
			bool		isnull;
			HeapTuple	tuple = SPI_tuptable->vals[i];
			text	   *word = DatumGetTextPP(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));

			words[i].len = VARSIZE_ANY_EXHDR(word);
			words[i].bytes = MemoryContextAlloc(context, words[i].len + 1);
			memcpy((char *) words[i].bytes, VARDATA_ANY(word), words[i].len);
			sum.people += DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
			sum.attributes += DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));
			sum.imported += DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 4, &isnull));
		}
	}
	if (statistics->context != NULL)
		MemoryContextDelete(statistics->context);
	statistics->context = context;
	statistics->words = words;
	statistics->n = SPI_processed;
	/* what has changed meanwhile is read the next time */
	statistics->relation = before == changes ? relation : InvalidOid;
	MemoryContextSetParent(context, CacheMemoryContext);
	SPI_freetuptable(SPI_tuptable);
	profiles_unpin_settings(settings);
}

/* The first word that is not before one, or not before all that begin like it. */
static int
find_word(const Statistics *statistics, const char *bytes, int len, bool behind)
{
	int			low = 0;
	int			high = statistics->n;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		const Word *word = &statistics->words[middle];
		int			c = memcmp(word->bytes, bytes, Min(word->len, len));

		if (c == 0)
			c = word->len < len ? -1 : behind ? -1 : 0;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Where a word stands, or -1. */
static int
word_at(const Statistics *statistics, const char *bytes, int len)
{
	int			at = find_word(statistics, bytes, len, false);
	const Word *word = &statistics->words[at];

	return at < statistics->n && word->len == len && memcmp(word->bytes, bytes, len) == 0 ? at : -1;
}

/* How many have a word, or one that begins like it. */
Frequency
search_frequency(int kind, const char *bytes, int len, bool prefix)
{
	static bool watching = false;
	Frequency	result = {0};
	Statistics *statistics = &known[kind];
	const Word *words;
	int			from = -1;
	int			to;

	if (!OidIsValid(statistics->relation))
	{
		char	   *name = psprintf("%s_search_stat", profiles_kinds[kind]);

		if (!watching)
		{
			CacheRegisterRelcacheCallback(forget_statistics, (Datum) 0);
			watching = true;
		}
		read_statistics(statistics, kind, get_relname_relid(name, get_namespace_oid("profiles", false)));
	}
	if (!prefix)
		from = word_at(statistics, bytes, len);
	else if (len <= BEGINNING_BYTES)
	{
		/* of short beginnings it is known who has any word that begins so */
		char		beginning[BEGINNING_BYTES + 1];

		memcpy(beginning, bytes, len);
		beginning[len] = '*';
		from = word_at(statistics, beginning, len + 1);
	}
	to = from + 1;
	if (from < 0)
	{
		if (!prefix)
			return result;
		from = find_word(statistics, bytes, len, false);
		to = find_word(statistics, bytes, len, true);
	}
	words = statistics->words;
	result.people = words[to].before.people - words[from].before.people;
	result.attributes = words[to].before.attributes - words[from].before.attributes;
	result.imported = words[to].before.imported - words[from].before.imported;
	return result;
}

/* _search_statistics_changed(kind text): tells all sessions. */
Datum
profiles_search_statistics_changed(PG_FUNCTION_ARGS)
{
	char	   *name = psprintf("%s_search_stat", text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Oid			relation = get_relname_relid(name, get_func_namespace(fcinfo->flinfo->fn_oid));

	if (OidIsValid(relation))
		CacheInvalidateRelcacheByRelid(relation);
	PG_RETURN_VOID();
}
