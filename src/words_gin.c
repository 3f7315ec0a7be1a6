/*
 * words_gin.c
 *		How GIN indexes of ours are asked for words.
 *
 * As PostgreSQL's of tsvectors are, but for the beginnings of words.  Those have all
 * that begin with "gmail" gathered before anything else, which for a word that many
 * have takes longer than everything else does.  But most who have a word that
 * begins so have the very word, and rows of one lexeme are read in order, as many
 * pages of them skipped as another condition allows.  So here what is asked for is two
 * lexemes: the very word, and, to be gathered, the longer ones.
 */
#include "postgres.h"

#include "access/gin.h"
#include "compat.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

PG_FUNCTION_INFO_V1(profiles_query_words);
PG_FUNCTION_INFO_V1(profiles_compare_longer_words);
PG_FUNCTION_INFO_V1(profiles_words_may_meet);

/* What goes with each entry of a query. */
typedef struct Entries
{
	Pointer		core;			/* what goes with them in PostgreSQL's operator class */
	int			n;				/* of that one; longer words are behind these */
	int			longer[FLEXIBLE_ARRAY_MEMBER];	/* than which of them those are */
} Entries;

Datum
profiles_query_words(PG_FUNCTION_ARGS)
{
	int32	   *nentries = (int32 *) PG_GETARG_POINTER(1);
	bool	  **partial = (bool **) PG_GETARG_POINTER(3);
	Pointer   **extra = (Pointer **) PG_GETARG_POINTER(4);
	Datum	   *core;
	Datum	   *result;
	bool	   *gathered;
	Entries    *entries;
	int			n;

	core = (Datum *) DatumGetPointer(DirectFunctionCall7(gin_extract_tsquery, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
														 PG_GETARG_DATUM(2), PG_GETARG_DATUM(3), PG_GETARG_DATUM(4),
														 PG_GETARG_DATUM(5), PG_GETARG_DATUM(6)));
	n = *nentries;
	if (n == 0)
		PG_RETURN_POINTER(core);
	result = palloc(2 * n * sizeof(Datum));
	gathered = palloc0(2 * n * sizeof(bool));
	entries = palloc(offsetof(Entries, longer) + n * sizeof(int));
	entries->core = (*extra)[0];
	entries->n = n;
	memcpy(result, core, n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		if (!(*partial)[i])
			continue;
		entries->longer[*nentries - n] = i;
		gathered[*nentries] = true;
		result[(*nentries)++] = core[i];
	}
	*partial = gathered;
	*extra = palloc(*nentries * sizeof(Pointer));
	for (int i = 0; i < *nentries; i++)
		(*extra)[i] = (Pointer) entries;
	PG_RETURN_POINTER(result);
}

/* Is a lexeme longer than the beginning of words, and begins so?  0: yes; below: there may be one behind it. */
Datum
profiles_compare_longer_words(PG_FUNCTION_ARGS)
{
	text	   *beginning = PG_GETARG_TEXT_PP(0);
	text	   *lexeme = PG_GETARG_TEXT_PP(1);
	int			len = VARSIZE_ANY_EXHDR(beginning);

	if (VARSIZE_ANY_EXHDR(lexeme) < len || memcmp(VARDATA_ANY(lexeme), VARDATA_ANY(beginning), len) != 0)
		PG_RETURN_INT32(1);
	PG_RETURN_INT32(VARSIZE_ANY_EXHDR(lexeme) == len ? -1 : 0);
}

Datum
profiles_words_may_meet(PG_FUNCTION_ARGS)
{
	const GinTernaryValue *check = (GinTernaryValue *) PG_GETARG_POINTER(0);
	int			nentries = PG_GETARG_INT32(3);
	const Pointer *extra = (Pointer *) PG_GETARG_POINTER(4);
	const Entries *entries = (Entries *) extra[0];
	GinTernaryValue *met = palloc(entries->n * sizeof(GinTernaryValue));

	memcpy(met, check, entries->n * sizeof(GinTernaryValue));
	for (int i = entries->n; i < nentries; i++)
	{
		GinTernaryValue *word = &met[entries->longer[i - entries->n]];

		if (*word != GIN_TRUE && check[i] != GIN_FALSE)
			*word = check[i];
	}
	return DirectFunctionCall7(gin_tsquery_triconsistent, PointerGetDatum(met), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2),
							   Int32GetDatum(entries->n), PointerGetDatum(&entries->core), PG_GETARG_DATUM(5), PG_GETARG_DATUM(6));
}
