/*
 * attribute_words.c
 *		GIN operator class over values of attributes: the index has their words.
 *
 * What can be asked for is what _attribute_vector() of the values has, so the functions
 * for queries are the same (words_gin.c).  An index of a million rows is built by looking
 * three million words up among those that were met before.  So words are compared without
 * anything that words don't need, and those of a value that many rows have are kept.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "fmgr.h"
#include "people.h"
#include "tsearch/ts_utils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"

#define KEPT_VALUES		8192	/* a power of two */
#define KEPT_MOST_BYTES	64		/* of a value whose words are kept */

PG_FUNCTION_INFO_V1(people_compare_words);
PG_FUNCTION_INFO_V1(people_extract_words);
PG_FUNCTION_INFO_V1(people_attributes_match);

typedef struct KeptValue
{
	char	   *value;			/* NULL: none yet */
	int			len;
	int			nwords;
	Datum	   *words;
} KeptValue;

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

	/* most differ in their first letter, for which a call is too much */
	if (least > 0 && *x != *y)
		PG_RETURN_INT32(*x - *y);
	c = memcmp(x, y, least);
	PG_RETURN_INT32(c != 0 ? c : x_len - y_len);
}

/* The words of a value, each once. */
static Datum *
words_of(Datum value, int *nwords)
{
	bool		isnull = false;
	TSVector	vector = people_values_vector(&value, &isnull, 1);
	Datum	   *words = palloc(Max(vector->size, 1) * sizeof(Datum));

	for (int i = 0; i < vector->size; i++)
		words[i] = PointerGetDatum(cstring_to_text_with_len(STRPTR(vector) + ARRPTR(vector)[i].pos, ARRPTR(vector)[i].len));
	*nwords = vector->size;
	pfree(vector);
	return words;
}

/* The same, kept for the rows to come if there is room. */
static Datum *
kept_words_of(FmgrInfo *flinfo, Datum value, int *nwords)
{
	const char *data = VARDATA_ANY(DatumGetPointer(value));
	int			len = VARSIZE_ANY_EXHDR(DatumGetPointer(value));
	KeptValue  *kept;

	if (len > KEPT_MOST_BYTES)
		return words_of(value, nwords);
	if (flinfo->fn_extra == NULL)
		flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, KEPT_VALUES * sizeof(KeptValue));
	kept = (KeptValue *) flinfo->fn_extra + (hash_bytes((const unsigned char *) data, len) & (KEPT_VALUES - 1));
	if (kept->value == NULL)
	{
		Datum	   *words = words_of(value, &kept->nwords);
		MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);

		kept->words = palloc(Max(kept->nwords, 1) * sizeof(Datum));
		for (int i = 0; i < kept->nwords; i++)
			kept->words[i] = datumCopy(words[i], false, -1);
		kept->len = len;
		kept->value = pnstrdup(data, len);
		MemoryContextSwitchTo(old);
	}
	else if (kept->len != len || memcmp(kept->value, data, len) != 0)
		return words_of(value, nwords);
	*nwords = kept->nwords;
	return kept->words;
}

/* _extract_words(attributes text[], nwords internal) -> internal */
Datum
people_extract_words(PG_FUNCTION_ARGS)
{
	int32	   *nentries = (int32 *) PG_GETARG_POINTER(1);
	Datum	   *entries = NULL;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	*nentries = 0;
	for (int i = 0; i < n; i++)
	{
		Datum	   *words;
		int			nwords;

		if (nulls[i])
			continue;
		words = kept_words_of(fcinfo->flinfo, PointerGetDatum(DatumGetTextPP(values[i])), &nwords);
		if (nwords == 0)
			continue;
		entries = entries == NULL ? palloc(nwords * sizeof(Datum)) : repalloc(entries, (*nentries + nwords) * sizeof(Datum));
		memcpy(entries + *nentries, words, nwords * sizeof(Datum));
		*nentries += nwords;
	}
	PG_RETURN_POINTER(entries);
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
