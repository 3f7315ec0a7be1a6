/*
 * search_sample.c
 *		Counts words of a sample of people, and what words begin with, for the
 *		statistics of search.
 *
 * A person has some forty words, and with their beginnings two hundred: for a sample
 * of some ten thousand these are millions of rows, which a query would make, hash
 * and throw away.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "profile.h"
#include "tsearch/ts_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(profiles_count_words);
PG_FUNCTION_INFO_V1(profiles_count_imported_words);

#define FETCHED			1000	/* rows at a time */
#define MOST_LETTERS	4		/* of a beginning */

typedef struct CountedWord
{
	ProfileString word;
	int32		counts[2];		/* by where: see below */
	uint32		hash;
	char		status;
} CountedWord;

enum
{
	IN_PEOPLE,
	IN_ATTRIBUTES
};

#define SH_PREFIX words
#define SH_ELEMENT_TYPE CountedWord
#define SH_KEY_TYPE ProfileString
#define SH_KEY word
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) (key).data, (key).len)
#define SH_EQUAL(table, a, b) profile_string_eq(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Counting
{
	MemoryContext context;		/* of the words */
	words_hash *words;
	ReturnSetInfo *result;
} Counting;

static void
count_word(Counting *counting, const char *data, int len, int where)
{
	bool		found;
	CountedWord *counted = words_insert(counting->words, profile_string(data, len), &found);

	if (!found)
	{
		counted->word.data = memcpy(MemoryContextAlloc(counting->context, len), data, len);
		counted->counts[IN_PEOPLE] = counted->counts[IN_ATTRIBUTES] = 0;
	}
	counted->counts[where]++;
}

/* Counts what a word begins with, unless the word before it begins so, too. */
static void
count_beginnings(Counting *counting, ProfileString word, ProfileString before, int from, int to, int where)
{
	char		beginning[(MOST_LETTERS + 1) * MAX_MULTIBYTE_CHAR_LEN + 1];
	int			last = 0;

	for (int letters = from; letters <= to; letters++)
	{
		int			len = pg_mbcharcliplen(word.data, word.len, letters);

		/* a shorter word */
		if (len == last)
			break;
		last = len;
		if (before.len >= len && memcmp(before.data, word.data, len) == 0)
			continue;
		memcpy(beginning, word.data, len);
		beginning[len] = '*';
		count_word(counting, beginning, len + 1, where);
	}
}

/*
 * Words of one person's vector.  They stand in the order of their bytes, so those that
 * begin alike stand together.
 */
static void
count_vector(Counting *counting, TSVector vector, int where)
{
	ProfileString before = {NULL, 0};
	ProfileString name_before = {NULL, 0};	/* of those behind a = */

	for (int i = 0; i < vector->size; i++)
	{
		WordEntry  *entry = ARRPTR(vector) + i;
		ProfileString word = profile_string(STRPTR(vector) + entry->pos, entry->len);
		char		first = word.data[0];

		if (where == IN_PEOPLE && first == '<')
			count_word(counting, word.data, pg_mbcharcliplen(word.data, word.len, 1 + MOST_LETTERS), where);
		else
			count_word(counting, word.data, word.len, where);
		if (where == IN_ATTRIBUTES || (first != '<' && first != '@' && first != '='))
		{
			count_beginnings(counting, word, before, 1, MOST_LETTERS, where);
			before = word;
		}
		else if (first == '=' && word.data[word.len - 1] != '*' &&
				 pg_mbstrlen_with_len(word.data, word.len) > MOST_LETTERS)
		{
			count_beginnings(counting, word, name_before, 1 + MOST_LETTERS, 1 + MOST_LETTERS, where);
			name_before = word;
		}
	}
}

/* Gives what was counted so far. */
static void
give_words(Counting *counting)
{
	words_iterator iterator;
	CountedWord *counted;

	words_start_iterate(counting->words, &iterator);
	while ((counted = words_iterate(counting->words, &iterator)) != NULL)
	{
		text	   *word = cstring_to_text_with_len(counted->word.data, counted->word.len);
		Datum		values[] = {PointerGetDatum(word), Int32GetDatum(counted->counts[IN_PEOPLE]),
		Int32GetDatum(counted->counts[IN_ATTRIBUTES])};
		bool		nulls[] = {false, false, false};

		tuplestore_putvalues(counting->result->setResult, counting->result->setDesc, values, nulls);
		pfree(word);
	}
	words_reset(counting->words);
	MemoryContextReset(counting->context);
}

/*
 * Counts words of what a query with the percentage of a sample gives: vectors of people and
 * of attributes; either may be NULL.  What takes more than maintenance_work_mem is given
 * in parts, so a word may come several times.
 */
static void
count_sample(FunctionCallInfo fcinfo, const char *query)
{
	Counting	counting;
	Oid			types[] = {FLOAT8OID};
	Datum		values[] = {PG_GETARG_DATUM(1)};
	MemoryContext caller = CurrentMemoryContext;
	Portal		portal;

	InitMaterializedSRF(fcinfo, 0);
	counting.result = (ReturnSetInfo *) fcinfo->resultinfo;
	counting.context = AllocSetContextCreate(caller, "counted words", ALLOCSET_DEFAULT_SIZES);
	counting.words = words_create(caller, 1024, NULL);
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, query, 1, types, values, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCHED);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			for (int where = IN_PEOPLE; where <= IN_ATTRIBUTES; where++)
			{
				bool		isnull;
				Datum		datum = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, where + 1, &isnull);

				if (!isnull)
					count_vector(&counting, DatumGetTSVector(datum), where);
			}
		}
		SPI_freetuptable(SPI_tuptable);
		if (MemoryContextMemAllocated(counting.context, false) + counting.words->members * 2 * sizeof(CountedWord) >=
			maintenance_work_mem * 1024L / 2)
			give_words(&counting);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
	SPI_finish();
	give_words(&counting);
}

/* _count_words(kind text, percent float8) -> (word, people, attributes): of a sample of what is searched. */
Datum
profiles_count_words(PG_FUNCTION_ARGS)
{
	count_sample(fcinfo, psprintf("SELECT s.search, s.attributes FROM profiles.%s_search s TABLESAMPLE SYSTEM ($1) REPEATABLE (0)",
								  text_to_cstring(PG_GETARG_TEXT_PP(0))));
	return (Datum) 0;
}

/* _count_imported_words(kind text, percent float8): the same of the custom attributes of a sample of people. */
Datum
profiles_count_imported_words(PG_FUNCTION_ARGS)
{
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));

	count_sample(fcinfo, psprintf("SELECT NULL::tsvector, profiles._attribute_vector(VARIADIC i.attributes) "
								  "FROM profiles.%s_search s TABLESAMPLE SYSTEM ($1) REPEATABLE (0) JOIN profiles.%s_imported i ON i.key = s.key", kind, kind));
	return (Datum) 0;
}
