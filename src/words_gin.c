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
 *
 * GIN asks of each row that may meet a query whether it does, millions of times where
 * frequent words exclude each other.  So queries as search makes them, all of some
 * alternatives, are taken apart once and answered here; others by PostgreSQL's function.
 *
 * An index that has words by their beginning alone (word_cuts.c) is asked in the same
 * way.  Whoever has an entry there may have another word.
 */
#include "postgres.h"

#include "access/gin.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tsearch/ts_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "word_cuts.h"

#define MOST_GROUPS		32

PG_FUNCTION_INFO_V1(profiles_query_words);
PG_FUNCTION_INFO_V1(profiles_query_beginnings);
PG_FUNCTION_INFO_V1(profiles_compare_longer_words);
PG_FUNCTION_INFO_V1(profiles_compare_longer_entries);
PG_FUNCTION_INFO_V1(profiles_words_may_meet);

/* What goes with each entry of a query. */
typedef struct Entries
{
	Pointer		core;			/* what goes with them in PostgreSQL's operator class */
	int			n;				/* of that one; longer words are behind these */
	bool	   *others;			/* by n: may its entry be that of other words, too?  NULL: none */
	int			ngroups;		/* of alternatives; 0: the query is no such one */
	int		   *longer;			/* words: than which of them those are */
	int		   *group;			/* of each entry */
} Entries;

/*
 * Numbers the groups of alternatives that all have to be met; false if the query is of
 * another kind.  inside: of a group, so all below are alternatives.
 */
static bool
number_groups(const QueryItem *item, bool inside, Entries *entries, int *entry)
{
	const QueryOperator *op = &item->qoperator;

	check_stack_depth();
	if (item->type == QI_VAL)
	{
		if (item->qoperand.weight != 0)
			return false;
		entries->group[(*entry)++] = inside ? entries->ngroups - 1 : entries->ngroups++;
		return true;
	}
	if (op->oper == OP_OR)
	{
		if (!inside)
			entries->ngroups++;
		inside = true;
	}
	else if (op->oper != OP_AND || inside)
		return false;
	/* entries are in the order of items, in which the right side comes first */
	return number_groups(item + 1, inside, entries, entry) && number_groups(item + op->left, inside, entries, entry);
}

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
	TSQuery		query = PG_GETARG_TSQUERY(0);
	int			n;
	int			numbered = 0;

	core = (Datum *) DatumGetPointer(DirectFunctionCall7(gin_extract_tsquery, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
														 PG_GETARG_DATUM(2), PG_GETARG_DATUM(3), PG_GETARG_DATUM(4),
														 PG_GETARG_DATUM(5), PG_GETARG_DATUM(6)));
	n = *nentries;
	if (n == 0)
		PG_RETURN_POINTER(core);
	result = palloc(2 * n * sizeof(Datum));
	gathered = palloc0(2 * n * sizeof(bool));
	entries = palloc0(sizeof(Entries));
	entries->core = (*extra)[0];
	entries->n = n;
	entries->longer = palloc(n * sizeof(int));
	entries->group = palloc(2 * n * sizeof(int));
	if (!number_groups(GETQUERY(query), false, entries, &numbered) || numbered != n || entries->ngroups > MOST_GROUPS)
		entries->ngroups = 0;
	memcpy(result, core, n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		if (!(*partial)[i])
			continue;
		entries->longer[*nentries - n] = i;
		entries->group[*nentries] = entries->group[i];
		gathered[*nentries] = true;
		result[(*nentries)++] = core[i];
	}
	*partial = gathered;
	*extra = palloc(*nentries * sizeof(Pointer));
	for (int i = 0; i < *nentries; i++)
		(*extra)[i] = (Pointer) entries;
	PG_RETURN_POINTER(result);
}

/* The same where entries are as word_entry() gives them. */
Datum
profiles_query_beginnings(PG_FUNCTION_ARGS)
{
	int32	   *nentries = (int32 *) PG_GETARG_POINTER(1);
	Datum	   *words = (Datum *) DatumGetPointer(profiles_query_words(fcinfo));
	WordCuts   *cuts;
	Entries    *entries;
	int			n;

	if (*nentries == 0)
		PG_RETURN_POINTER(words);
	cuts = word_cuts_of_index(fcinfo->flinfo);
	entries = (Entries *) (*(Pointer **) PG_GETARG_POINTER(4))[0];
	entries->others = palloc0(entries->n * sizeof(bool));
	n = entries->n;
	for (int i = 0, longer = 0; i < entries->n; i++)
	{
		text	   *word = DatumGetTextPP(words[i]);
		int			len = VARSIZE_ANY_EXHDR(word);
		bool		prefix = longer < *nentries - entries->n && entries->longer[longer] == i;
		int			bits;

		words[i] = UInt64GetDatum(word_entry(cuts, VARDATA_ANY(word), len, &bits));
		entries->others[i] = len * 8 > bits || (len * 8 == bits && !prefix);
		/* longer words than one that is cut are cut as well */
		if (prefix && len * 8 < bits)
		{
			entries->longer[n - entries->n] = i;
			entries->group[n] = entries->group[i];
			words[n++] = words[i];
		}
		longer += prefix;
	}
	*nentries = n;
	PG_RETURN_POINTER(words);
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

/* The same of entries as word_entry() gives them. */
Datum
profiles_compare_longer_entries(PG_FUNCTION_ARGS)
{
	uint64		beginning = DatumGetUInt64(PG_GETARG_DATUM(0));
	uint64		entry = DatumGetUInt64(PG_GETARG_DATUM(1));
	int			len = 0;

	while (entry_beginning(beginning, len * 8) != beginning)
		len++;
	if (entry_beginning(entry, len * 8) != beginning)
		PG_RETURN_INT32(1);
	PG_RETURN_INT32(entry == beginning ? -1 : 0);
}

/* Is an entry met, and with it the word? */
static inline GinTernaryValue
is_met(const Entries *entries, const GinTernaryValue *check, int i)
{
	if (entries->others != NULL && i < entries->n && entries->others[i] && check[i] == GIN_TRUE)
		return GIN_MAYBE;
	return check[i];
}

/* Is one alternative of each group met? */
static GinTernaryValue
meets_groups(const Entries *entries, const GinTernaryValue *check, int nentries)
{
	GinTernaryValue met[MOST_GROUPS] = {GIN_FALSE};
	bool		maybe = false;

	for (int i = 0; i < nentries; i++)
	{
		GinTernaryValue *group = &met[entries->group[i]];

		if (*group != GIN_TRUE && check[i] != GIN_FALSE)
			*group = is_met(entries, check, i);
	}
	for (int i = 0; i < entries->ngroups; i++)
	{
		if (met[i] == GIN_FALSE)
			return GIN_FALSE;
		maybe |= met[i] == GIN_MAYBE;
	}
	return maybe ? GIN_MAYBE : GIN_TRUE;
}

Datum
profiles_words_may_meet(PG_FUNCTION_ARGS)
{
	const GinTernaryValue *check = (GinTernaryValue *) PG_GETARG_POINTER(0);
	int			nentries = PG_GETARG_INT32(3);
	const Pointer *extra = (Pointer *) PG_GETARG_POINTER(4);
	const Entries *entries = (Entries *) extra[0];
	GinTernaryValue *met;

	if (entries->ngroups > 0)
		PG_RETURN_GIN_TERNARY_VALUE(meets_groups(entries, check, nentries));
	met = palloc(entries->n * sizeof(GinTernaryValue));
	for (int i = 0; i < entries->n; i++)
		met[i] = is_met(entries, check, i);
	for (int i = entries->n; i < nentries; i++)
	{
		GinTernaryValue *word = &met[entries->longer[i - entries->n]];

		if (*word != GIN_TRUE && check[i] != GIN_FALSE)
			*word = check[i];
	}
	return DirectFunctionCall7(gin_tsquery_triconsistent, PointerGetDatum(met), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2),
							   Int32GetDatum(entries->n), PointerGetDatum(&entries->core), PG_GETARG_DATUM(5), PG_GETARG_DATUM(6));
}
