/*
 * word_cuts.c
 *		Which words an index of attributes has by how short a beginning.
 *
 * An id is in one row alone: an index that has each of a million as an entry of its
 * own takes longer to build than all else that a sync does.  So there is one that has no
 * more of any word than fits into an integer, and of words that begin in some way less:
 * as much as tells some hundred rows from all others.  These are looked at when a word is
 * searched that may be that of others.
 *
 * What is cut how is an option of the index, "crm:56 u:30": words that begin with crm after 56
 * bits, those with u after 30, of which 6 tell most letters and digits from some others.  No
 * beginning has another, so that all words that begin as an entry does are cut there, or none.
 *
 * The choice is made on the trie of the words of a sample, from its root on: at each node
 * either all words below are left as they are, or all are cut at the first place where not
 * too many are left together, or each child is asked; whatever makes the fewest entries.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "people.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "word_cuts.h"

PG_FUNCTION_INFO_V1(profiles_beginnings_options);
PG_FUNCTION_INFO_V1(profiles_choose_cuts);

#define LEAST_WORDS		100000	/* of fewer the index is made soon */
#define MOST_ROWS		500		/* that are looked at in vain for a word, on the average: half a ms */
#define MOST_ROWS_EVER	3000	/* and for any */
#define FEWEST_BITS		3		/* of a byte: no word has one before the space */
#define MOST_OPTION		3000	/* bytes: it has to fit into a row of the catalog */
#define SAMPLED_MOST	64		/* bytes of a word */
#define SAMPLED_BITS	(SAMPLED_MOST * 8 + 1)	/* all of it */
#define SAMPLED_BYTES	(32 << 20)	/* of all */
#define FEW_SAMPLED		50		/* words */
#define FETCHED			1000	/* rows at a time */

/* ---------- the option ---------- */

typedef struct Options
{
	int32		vl_len_;
	int			cuts;			/* where it is */
} Options;

/*
 * Can words be cut after so many bits?  What is left of the last byte must not be zero, as
 * what is behind shorter words.
 */
static bool
may_cut(int bits)
{
	return bits % 8 == 0 || bits % 8 >= FEWEST_BITS;
}

/* NULL if it is invalid. */
static WordCuts *
parse_cuts(const char *option)
{
	int			n = 1;
	WordCuts   *cuts;

	for (const char *at = option; *at != '\0'; at++)
		n += *at == ' ';
	cuts = palloc(offsetof(WordCuts, cuts) + n * sizeof(WordCut));
	cuts->n = 0;
	while (*option != '\0')
	{
		WordCut    *cut = &cuts->cuts[cuts->n];
		const char *beginning = option;
		char	   *end;
		long		bits;

		cut->len = strcspn(option, ": ");
		option += cut->len;
		if (*option++ != ':' || *option < '0' || *option > '9')
			return NULL;
		bits = strtol(option, &end, 10);
		if (bits > ENTRY_BITS || !may_cut(bits) || bits < cut->len * 8 + FEWEST_BITS || (*end != '\0' && (*end != ' ' || end[1] == '\0')))
			return NULL;
		cut->beginning = 0;
		memcpy(&cut->beginning, beginning, cut->len);
		cut->beginning = pg_ntoh64(cut->beginning);
		cut->bits = bits;
		option = *end == ' ' ? end + 1 : end;
		if (cuts->n > 0 &&
			(cut[-1].beginning >= cut->beginning || entry_beginning(cut->beginning, cut[-1].len * 8) == cut[-1].beginning))
			return NULL;
		cuts->n++;
	}
	return cuts;
}

static void
check_option(const char *option)
{
	if (option != NULL && parse_cuts(option) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"cuts\": \"%s\"", option),
				 errdetail("It has beginnings of words, in order and none within another, each with a colon and the number of bits that such words are cut to, more than the beginning has and at most %d, as in \"crm:56 u:30\".", ENTRY_BITS)));
}

/* _beginnings_options(internal) */
Datum
profiles_beginnings_options(PG_FUNCTION_ARGS)
{
	local_relopts *options = (local_relopts *) PG_GETARG_POINTER(0);

	init_local_reloptions(options, sizeof(Options));
	add_local_string_reloption(options, "cuts", "how many bits are kept of words that begin in some way", NULL, check_option, NULL, offsetof(Options, cuts));
	PG_RETURN_VOID();
}

/* Those of the index that calls a function of the operator class, in the current memory context. */
WordCuts *
word_cuts_of_index(FmgrInfo *flinfo)
{
	Options    *options = has_fn_opclass_options(flinfo) ? (Options *) get_fn_opclass_options(flinfo) : NULL;

	return parse_cuts(options == NULL || options->cuts == 0 ? "" : GET_STRING_RELOPTION(options, cuts));
}

/* ---------- choosing ---------- */

typedef struct SampledWord
{
	const char *data;
	int16		len;
	int16		common;			/* bits that the word before has, too */
} SampledWord;

typedef struct Choice
{
	SampledWord *words;			/* each as often as it is in a row; sorted */
	int			n;
	double		scale;			/* rows for each that was sampled */
	double		price;			/* of a cut, in entries that it has to spare */
	struct
	{
		const char *beginning;
		int			len;
		int			bits;
	}		   *cuts;
	int			ncuts;
	int			size;
} Choice;

/* Is a word the one before it again? */
static bool
is_same(const SampledWord *word)
{
	return word->common == word->len * 8 && word[-1].len == word->len;
}

/*
 * How many different there are, at least, of which so many were seen at all, once and twice
 * (Chao's estimate): hardly any more, if they are frequent.
 */
static double
estimate(Choice *choice, const double *seen)
{
	return seen[0] + Min(seen[1] * seen[1] / (2 * (seen[2] + 1)), seen[1] * (choice->scale - 1));
}

/* The end of the words from one on that are the same if no more of each is kept than some bits. */
static int
end_of_entry(Choice *choice, int from, int to, int bits)
{
	int			next = from + 1;

	while (next < to && (choice->words[next].common >= bits || is_same(&choice->words[next])))
		next++;
	return next;
}

/*
 * How many entries words [from, to) make, which have some bits in common, if no more of
 * each is kept than so many; below 0 if too many are looked at in vain.  Twice as many as
 * have the word are not too many: to show those takes longer.
 */
static double
count_entries(Choice *choice, int from, int to, int common, int bits)
{
	double		entries = 0;
	double		all[3] = {0};	/* seen at all, once, twice */
	double		seen[3] = {0};	/* the same of those that have one byte more in common */
	double		cut_words = 0;
	double		in_vain = 0;	/* sum over these */
	int			next;

	CHECK_FOR_INTERRUPTS();
	for (int i = from; i < to; i = next)
	{
		int			count;

		next = end_of_entry(choice, i, to, bits);
		count = next - i;
		/* frequent ones tell nothing of those that begin otherwise */
		if (choice->words[i].common < common + 8)
		{
			entries += estimate(choice, seen);
			memset(seen, 0, sizeof(seen));
		}
		all[0]++;
		seen[0]++;
		if (count <= 2)
		{
			all[count]++;
			seen[count]++;
		}
		/* the last is the longest of those that begin alike */
		if (choice->words[next - 1].len * 8 <= bits)
			continue;
		cut_words += count;
		for (int j = i, behind; j < next; j = behind)
		{
			double		others;

			behind = end_of_entry(choice, j, next, SAMPLED_BITS);
			others = count - (behind - j) - 2 * (behind - j - 1);
			if (others * choice->scale > MOST_ROWS_EVER)
				return -1;
			in_vain += Max(others, 0) * (behind - j);
		}
	}
	if (in_vain * choice->scale > cut_words * MOST_ROWS)
		return -1;
	return Max(entries + estimate(choice, seen), estimate(choice, all));
}

/* Can the option have a byte as it is? */
static bool
is_plain(char c)
{
	return c > ' ' && c < 0x7F && c != ':' && c != '\'' && c != '\\' && c != '"';
}

/*
 * Adds the best cuts for words [from, to), which begin alike, and otherwise than those
 * around them, as some bytes tell; returns how many entries they make, and what the cuts
 * are worth.
 */
static double
choose_cuts(Choice *choice, int from, int to, int told)
{
	const char *first = choice->words[from].data;
	int			common = Min(choice->words[from].len, choice->words[to - 1].len) * 8;
	int			ncuts = choice->ncuts;
	double		uncut;
	double		apart = 0;
	double		cut = -1;
	int			bits;
	int			len = 0;

	for (int i = from + 1; i < to; i++)
		common = Min(common, choice->words[i].common);
	common -= common % 8;
	uncut = count_entries(choice, from, to, common, ENTRY_BITS);
	if (common >= ENTRY_BITS || (uncut >= 0 && uncut <= choice->price))
		return Max(uncut, 0);
	/* that is so of a part, not of all */
	if (uncut < 0)
		uncut = to - from;
	for (bits = common + FEWEST_BITS; bits < ENTRY_BITS; bits++)
	{
		if (may_cut(bits) && (cut = count_entries(choice, from, to, common, bits)) >= 0)
			break;
	}
	while (len < common / 8 && is_plain(first[len]))
		len++;
	/* each child of the node by itself */
	for (int i = from, next; i < to; i = next)
	{
		int			before = choice->ncuts;
		double		child = 1;

		for (next = i + 1; next < to && (choice->words[next].common >= common + 8 || is_same(&choice->words[next])); next++)
			;
		if (choice->words[i].len * 8 > common)
			child = choose_cuts(choice, i, next, common / 8 + 1);
		/* of few words it can't be told how many different ones they stand for */
		if (choice->ncuts == before && next - i < FEW_SAMPLED)
			child = Max(child, uncut * (next - i) / (to - from));
		apart += child;
	}
	if (cut >= 0 && len >= told && cut + choice->price <= Min(uncut, apart))
	{
		choice->ncuts = ncuts;
		if (choice->ncuts == choice->size)
		{
			choice->size *= 2;
			choice->cuts = repalloc(choice->cuts, choice->size * sizeof(choice->cuts[0]));
		}
		choice->cuts[choice->ncuts].beginning = first;
		choice->cuts[choice->ncuts].len = len;
		choice->cuts[choice->ncuts++].bits = bits;
		return cut + choice->price;
	}
	if (apart >= uncut)
		choice->ncuts = ncuts;
	return Min(uncut, apart);
}

static int
compare_sampled(const void *a, const void *b)
{
	const SampledWord *x = a;
	const SampledWord *y = b;

	int			c = memcmp(x->data, y->data, Min(x->len, y->len));

	return c != 0 ? c : x->len - y->len;
}

/* Reads words of a sample; returns how many rows it has. */
static uint64
read_sample(Choice *choice, const char *query)
{
	MemoryContext caller = CurrentMemoryContext;
	VectorBuilder *builder = people_words_builder();
	Portal		portal;
	Size		bytes = 0;
	uint64		rows = 0;
	int			size = 1024;

	choice->words = palloc(size * sizeof(SampledWord));
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, true, 0);
	while (bytes < SAMPLED_BYTES)
	{
		SPI_cursor_fetch(portal, true, FETCHED);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		attributes = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
			Datum	   *values;
			bool	   *nulls;
			int			n;

			rows++;
			if (isnull)
				continue;
			deconstruct_array(DatumGetArrayTypeP(attributes), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
			for (int j = 0; j < n; j++)
			{
				ProfileString *words;
				int			nwords;

				if (nulls[j])
					continue;
				nwords = people_value_words(builder, values[j], &words);
				for (int k = 0; k < nwords; k++)
				{
					SampledWord *word;
					MemoryContext old = MemoryContextSwitchTo(caller);

					if (choice->n == size)
					{
						size *= 2;
						choice->words = repalloc_huge(choice->words, size * sizeof(SampledWord));
					}
					word = &choice->words[choice->n++];
					word->len = Min(words[k].len, SAMPLED_MOST);
					word->data = memcpy(palloc(word->len), words[k].data, word->len);
					bytes += word->len;
					MemoryContextSwitchTo(old);
				}
			}
		}
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
	SPI_finish();
	return rows;
}

/*
 * _choose_cuts(sample text, people float8) -> text: the option for an index over so many rows, of
 * which a query gives the values of a sample; NULL if it should have whole words.
 */
Datum
profiles_choose_cuts(PG_FUNCTION_ARGS)
{
	Choice		choice = {0};
	uint64		rows = read_sample(&choice, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	double		words;
	double		entries;
	StringInfoData option;

	if (choice.n == 0)
		PG_RETURN_NULL();
	choice.scale = Max(PG_GETARG_FLOAT8(1) / rows, 1);
	qsort(choice.words, choice.n, sizeof(SampledWord), compare_sampled);
	choice.words[0].common = 0;
	for (int i = 1; i < choice.n; i++)
	{
		SampledWord *word = &choice.words[i];
		int			most = Min(word->len, word[-1].len);
		int			bytes = 0;

		while (bytes < most && word->data[bytes] == word[-1].data[bytes])
			bytes++;
		word->common = bytes * 8;
		if (bytes < word->len)
			word->common += 7 - pg_leftmost_one_pos32((unsigned char) word->data[bytes] ^ (bytes < word[-1].len ? (unsigned char) word[-1].data[bytes] : 0));
	}
	words = count_entries(&choice, 0, choice.n, 0, SAMPLED_BITS);
	if (words < LEAST_WORDS || count_entries(&choice, 0, choice.n, 0, ENTRY_BITS) < 0)
		PG_RETURN_NULL();
	choice.size = 64;
	choice.cuts = palloc(choice.size * sizeof(choice.cuts[0]));
	initStringInfo(&option);
	choice.price = words / 10000;
	do
	{
		choice.ncuts = 0;
		entries = choose_cuts(&choice, 0, choice.n, 0);
		resetStringInfo(&option);
		for (int i = 0; i < choice.ncuts; i++)
			appendStringInfo(&option, "%s%.*s:%d", i > 0 ? " " : "", choice.cuts[i].len, choice.cuts[i].beginning, choice.cuts[i].bits);
		choice.price *= 2;
	} while (option.len > MOST_OPTION);
	if (entries > words / 2)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(option.data, option.len));
}
