/*
 * attribute_words.c
 *		GIN operator classes over values of attributes: the index has their words, or
 *		how these begin (word_cuts.c).
 *
 * What can be asked for is what _attribute_vector() of the values has, so the functions
 * for queries are the same (words_gin.c).  Words are compared without anything that words
 * don't need, and those of a value that many rows have are kept while an index is built.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "fmgr.h"
#include "people.h"
#include "port/pg_bswap.h"
#include "tsearch/ts_utils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "word_cuts.h"

#define KEPT_VALUES		8192	/* a power of two */
#define KEPT_MOST_BYTES	64		/* of a value whose words are kept */
#define KEPT_TRIED		10000	/* values of a column, of which an eighth has to be kept already */
#define KEPT_COLUMNS	64

PG_FUNCTION_INFO_V1(people_compare_words);
PG_FUNCTION_INFO_V1(people_extract_words);
PG_FUNCTION_INFO_V1(people_extract_beginnings);
PG_FUNCTION_INFO_V1(people_attributes_match);

typedef struct KeptValue
{
	char	   *value;			/* NULL: none yet */
	int			len;
	int			nwords;
	Datum	   *words;
} KeptValue;

/* What lasts from one row to the next. */
typedef struct Extraction
{
	WordCuts   *cuts;			/* NULL: words are whole */
	VectorBuilder *builder;
	int			tried[KEPT_COLUMNS];	/* values of each column */
	int			met[KEPT_COLUMNS];	/* that were kept */
	KeptValue	kept[KEPT_VALUES];
} Extraction;

/* What is there of a word without a copy. */
static inline text *
plain_text(Datum word)
{
	text	   *plain = (text *) DatumGetPointer(word);

	return likely(!VARATT_IS_EXTENDED(plain) || VARATT_IS_SHORT(plain)) ? plain : DatumGetTextPP(word);
}

/* _compare_words(a text, b text) -> integer: by their bytes, as gin_cmp_tslexeme */
Datum
people_compare_words(PG_FUNCTION_ARGS)
{
	text	   *a = plain_text(PG_GETARG_DATUM(0));
	text	   *b = plain_text(PG_GETARG_DATUM(1));
	const unsigned char *x = (unsigned char *) VARDATA_ANY(a);
	const unsigned char *y = (unsigned char *) VARDATA_ANY(b);
	int			x_len = VARSIZE_ANY_EXHDR(a);
	int			y_len = VARSIZE_ANY_EXHDR(b);
	int			least = Min(x_len, y_len);
	int			c;

	/* most differ in their first letters, for which a call is too much */
	if (least >= sizeof(uint32))
	{
		uint32		x_first;
		uint32		y_first;

		memcpy(&x_first, x, sizeof(uint32));
		memcpy(&y_first, y, sizeof(uint32));
		if (x_first != y_first)
			PG_RETURN_INT32(pg_ntoh32(x_first) < pg_ntoh32(y_first) ? -1 : 1);
		c = least == sizeof(uint32) ? 0 : memcmp(x + sizeof(uint32), y + sizeof(uint32), least - sizeof(uint32));
		PG_RETURN_INT32(c != 0 ? c : x_len - y_len);
	}
	for (int i = 0; i < least; i++)
	{
		if (x[i] != y[i])
			PG_RETURN_INT32(x[i] - y[i]);
	}
	PG_RETURN_INT32(x_len - y_len);
}

/* Words as entries of an index. */
static Datum *
whole_words(const ProfileString *words, int n)
{
	Datum	   *result = palloc(Max(n, 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		result[i] = PointerGetDatum(cstring_to_text_with_len(words[i].data, words[i].len));
	return result;
}

static Datum *
beginnings(const WordCuts *cuts, const ProfileString *words, int n, int *nentries)
{
	Datum	   *result = palloc(Max(n, 1) * sizeof(Datum));

	*nentries = 0;
	for (int i = 0; i < n; i++)
	{
		int			bits;
		Datum		entry = UInt64GetDatum(word_entry(cuts, words[i].data, words[i].len, &bits));

		/* words are in order, so the same stand together */
		if (*nentries == 0 || result[*nentries - 1] != entry)
			result[(*nentries)++] = entry;
	}
	return result;
}

/* The entries of a value, each once. */
static Datum *
entries_of(Extraction *extraction, Datum value, int *nentries)
{
	ProfileString *words;

	*nentries = people_value_words(extraction->builder, value, &words);
	return extraction->cuts == NULL ? whole_words(words, *nentries) : beginnings(extraction->cuts, words, *nentries, nentries);
}

/* The same, kept for the rows to come if there is room, and values of the column come again. */
static Datum *
kept_entries_of(FmgrInfo *flinfo, Extraction *extraction, int column, Datum value, int *nentries)
{
	const char *data = VARDATA_ANY(DatumGetPointer(value));
	int			len = VARSIZE_ANY_EXHDR(DatumGetPointer(value));
	KeptValue  *kept;

	column = Min(column, KEPT_COLUMNS - 1);
	if (len > KEPT_MOST_BYTES || (extraction->tried[column] >= KEPT_TRIED && extraction->met[column] < KEPT_TRIED / 8))
		return entries_of(extraction, value, nentries);
	kept = &extraction->kept[hash_bytes((const unsigned char *) data, len) & (KEPT_VALUES - 1)];
	if (kept->value == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);

		kept->words = entries_of(extraction, value, &kept->nwords);
		kept->len = len;
		kept->value = pnstrdup(data, len);
		MemoryContextSwitchTo(old);
	}
	else if (kept->len == len && memcmp(kept->value, data, len) == 0)
		extraction->met[column] += extraction->tried[column] < KEPT_TRIED;
	else
	{
		extraction->tried[column] += extraction->tried[column] < KEPT_TRIED;
		return entries_of(extraction, value, nentries);
	}
	extraction->tried[column] += extraction->tried[column] < KEPT_TRIED;
	*nentries = kept->nwords;
	return kept->words;
}

static Datum
extract(FunctionCallInfo fcinfo, bool whole)
{
	int32	   *nentries = (int32 *) PG_GETARG_POINTER(1);
	Extraction *extraction = (Extraction *) fcinfo->flinfo->fn_extra;
	Datum	   *entries = NULL;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (extraction == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		extraction = palloc0(sizeof(Extraction));
		extraction->builder = people_words_builder();
		if (!whole)
			extraction->cuts = word_cuts_of_index(fcinfo->flinfo);
		fcinfo->flinfo->fn_extra = extraction;
		MemoryContextSwitchTo(old);
	}
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	*nentries = 0;
	for (int i = 0; i < n; i++)
	{
		Datum	   *words;
		int			nwords;

		if (nulls[i])
			continue;
		words = kept_entries_of(fcinfo->flinfo, extraction, i, PointerGetDatum(DatumGetTextPP(values[i])), &nwords);
		if (nwords == 0)
			continue;
		entries = entries == NULL ? palloc(nwords * sizeof(Datum)) : repalloc(entries, (*nentries + nwords) * sizeof(Datum));
		memcpy(entries + *nentries, words, nwords * sizeof(Datum));
		*nentries += nwords;
	}
	PG_RETURN_POINTER(entries);
}

/* _extract_words(attributes text[], nwords internal) -> internal */
Datum
people_extract_words(PG_FUNCTION_ARGS)
{
	return extract(fcinfo, true);
}

/* _extract_beginnings(attributes text[], nwords internal) -> internal */
Datum
people_extract_beginnings(PG_FUNCTION_ARGS)
{
	return extract(fcinfo, false);
}

/* attributes @@ query: whether their vector meets it */
Datum
people_attributes_match(PG_FUNCTION_ARGS)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	return DirectFunctionCall2(ts_match_vq, TSVectorGetDatum(people_values_vector(values, nulls, n)), PG_GETARG_DATUM(1));
}
