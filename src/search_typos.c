/*
 * search_typos.c
 *		Words that a word of a query may be a typo of.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "people.h"
#include "search.h"
#include "utils/builtins.h"

#define NEAR_LEAST		3		/* letters that are right, of what the dictionary has not */
#define NEAR_MOST		300		/* people who may have words that begin so */

/* Takes what a statement gave as words that a leaf may be a typo of. */
static void
take_corrections(Search *search, QueryWord *word, int leaf, double frequency)
{
	Term	   *corrections = MemoryContextAllocZero(search->context, (word->ncorrections[leaf] + SPI_processed + 1) * sizeof(Term));

	if (word->ncorrections[leaf] > 0)
		memcpy(corrections, word->corrections[leaf], word->ncorrections[leaf] * sizeof(Term));
	word->corrections[leaf] = corrections;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Term	   *term = &corrections[word->ncorrections[leaf]];
		bool		isnull;
		bool		known = false;
		double		people = DatumGetFloat8(search_column(i, 3, &isnull));

		/* what is a word to many is no typo of what is one to few */
		if (frequency > 10 * Max(people, 10))
			continue;
		term->lexeme = search_text_column(search, i, 1);
		term->len = strlen(term->lexeme);
		term->distance = DatumGetInt32(search_column(i, 2, &isnull));
		for (int j = 0; j < word->ncorrections[leaf]; j++)
			known |= corrections[j].len == term->len && memcmp(corrections[j].lexeme, term->lexeme, term->len) == 0;
		if (known)
			continue;
		word->ncorrections[leaf]++;
		word->people[leaf] += people;
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Words of addresses, which the dictionary has not: those that begin as a leaf does,
 * with so few letters of it that few people have such words.  So a typo in the
 * first letters is not found.
 */
static void
find_near(Search *search, QueryWord *word, int leaf, int nchars, int most, double frequency)
{
	Term		beginning = word->leaves[leaf];
	Datum		values[4];
	StringInfoData s;

	beginning.prefix = true;
	for (int n = NEAR_LEAST; n < nchars; n++)
	{
		beginning.len = pg_mbcharcliplen(word->leaves[leaf].lexeme, word->leaves[leaf].len, n);
		if (search_term_frequency(search, &beginning, false) > NEAR_MOST)
			continue;
		initStringInfo(&s);
		search_append_indexed(&s, &beginning);
		values[0] = search_parse_query(s.data);
		values[1] = PointerGetDatum(cstring_to_text_with_len(word->leaves[leaf].lexeme, word->leaves[leaf].len));
		values[2] = Int32GetDatum(most);
		values[3] = PointerGetDatum(cstring_to_text_with_len(beginning.lexeme, beginning.len));
		search_execute(search, GET_NEAR, values);
		take_corrections(search, word, leaf, frequency);
		return;
	}
}

/* Looks up what leaves may be typos of; returns whether any may be. */
bool
search_find_corrections(Search *search, SearchQuery *query)
{
	bool		any = false;

	for (int i = 0; i < query->nwords; i++)
	{
		QueryWord  *word = &query->words[i];

		for (int j = 0; j < word->nall; j++)
		{
			Term	   *leaf = &word->leaves[j];
			uint32		chars[WORD_MAX_CHARS];
			Datum		values[2];
			int			letters;
			int			n = people_correctable(leaf->lexeme, leaf->len, chars, &letters);
			int			most = letters >= 8 ? 2 : 1;
			double		frequency;

			/* what has digits is part of an address or a key, and mostly right if anybody has it */
			if (n < 4 || (letters < n && search->nfound > 0))
				continue;
			frequency = search_term_frequency(search, leaf, true);
			values[0] = PointerGetDatum(cstring_to_text_with_len(leaf->lexeme, leaf->len));
			values[1] = Int32GetDatum(most);
			search_execute(search, GET_CORRECTIONS, values);
			take_corrections(search, word, j, frequency);
			if (search->kind == 0)
				find_near(search, word, j, n, most, frequency);
			any |= word->ncorrections[j] > 0;
		}
	}
	return any;
}
