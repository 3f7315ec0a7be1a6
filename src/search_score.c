/*
 * search_score.c
 *		How somebody meets the words of a query, and how that ranks.
 */
#include "postgres.h"

#include "people.h"
#include "search.h"
#include "tsearch/ts_utils.h"

static int
compare_lexeme(TSVector vector, int i, const Term *term)
{
	WordEntry  *entry = ARRPTR(vector) + i;
	int			c = memcmp(STRPTR(vector) + entry->pos, term->lexeme, Min(entry->len, term->len));

	return c != 0 ? c : entry->len - term->len;
}

/* The first lexeme that is not before a term's. */
static int
first_lexeme(TSVector vector, const Term *term)
{
	int			low = 0;
	int			high = vector->size;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (compare_lexeme(vector, middle, term) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Is lexeme i what a term says? */
static bool
meets_term(TSVector vector, int i, const Term *term, bool *exact)
{
	WordEntry  *entry = ARRPTR(vector) + i;

	if (i >= vector->size || entry->len < term->len ||
		memcmp(STRPTR(vector) + entry->pos, term->lexeme, term->len) != 0)
		return false;
	*exact = entry->len == term->len;
	return *exact || term->prefix;
}

static Level
level_of_weight(int weight, bool exact, bool joined)
{
	switch (weight)
	{
		case WEIGHT_NAME:
			return !exact ? LEVEL_PREFIX : joined ? LEVEL_JOINED : LEVEL_EXACT;
		case WEIGHT_LOCAL:
			return LEVEL_LOCAL;
		case WEIGHT_HOST:
			return LEVEL_HOST;
		default:
			return LEVEL_ATTRIBUTE;
	}
}

/* Is lexeme i, at a position, all of its run? */
static bool
is_whole_run(TSVector vector, int i, int position)
{
	const WordEntry *entry = ARRPTR(vector) + i;
	/* without the mark that both have */
	const char *lexeme = STRPTR(vector) + entry->pos + 1;
	int			len = entry->len - 1;

	for (int j = 0; j < vector->size; j++)
	{
		const WordEntry *longer = ARRPTR(vector) + j;

		if (longer->len <= entry->len || STRPTR(vector)[longer->pos] != '=' ||
			memcmp(STRPTR(vector) + longer->pos + longer->len - len, lexeme, len) != 0)
			continue;
		for (int k = 0; longer->haspos && k < POSDATALEN(vector, longer); k++)
		{
			if (WEP_GETPOS(POSDATAPTR(vector, longer)[k]) == position)
				return false;
		}
	}
	return true;
}

static Level
term_level(TSVector vector, const Term *term)
{
	Level		best = LEVEL_NONE;
	bool		exact;

	for (int i = first_lexeme(vector, term); best < LEVEL_EXACT && meets_term(vector, i, term, &exact); i++)
	{
		WordEntry  *entry = ARRPTR(vector) + i;

		/* beginnings are for the index alone */
		if (!entry->haspos && STRPTR(vector)[entry->pos] == '=')
			continue;
		if (!entry->haspos)
			return LEVEL_ATTRIBUTE;
		if (term->lexeme[0] == '<')
			best = Max(best, exact ? LEVEL_ADDRESS : term->joined ? LEVEL_TYPED : LEVEL_LOCAL);
		else
		{
			for (int j = 0; j < POSDATALEN(vector, entry); j++)
			{
				WordEntryPos pos = POSDATAPTR(vector, entry)[j];

				if (!term->whole || exact || is_whole_run(vector, i, WEP_GETPOS(pos)))
					best = Max(best, level_of_weight(WEP_GETWEIGHT(pos), exact, term->joined));
			}
		}
	}
	return best;
}

/* Is a term met at a position? */
static Level
level_at(TSVector vector, const Term *term, int position)
{
	Level		best = LEVEL_NONE;
	bool		exact;

	for (int i = first_lexeme(vector, term); meets_term(vector, i, term, &exact); i++)
	{
		WordEntry  *entry = ARRPTR(vector) + i;

		for (int j = 0; entry->haspos && j < POSDATALEN(vector, entry); j++)
		{
			WordEntryPos pos = POSDATAPTR(vector, entry)[j];

			if (WEP_GETPOS(pos) == position)
				best = Max(best, level_of_weight(WEP_GETWEIGHT(pos), exact, false));
		}
	}
	return best;
}

/* The leaves of a word, one behind the other. */
static Level
phrase_level(TSVector vector, const QueryWord *word)
{
	const Term *first = &word->leaves[0];
	Level		best = LEVEL_NONE;
	bool		exact;

	if (word->nleaves == 1)
		return term_level(vector, first);
	for (int i = first_lexeme(vector, first); meets_term(vector, i, first, &exact); i++)
	{
		WordEntry  *entry = ARRPTR(vector) + i;

		for (int j = 0; entry->haspos && j < POSDATALEN(vector, entry); j++)
		{
			int			position = WEP_GETPOS(POSDATAPTR(vector, entry)[j]);
			Level		level = level_at(vector, first, position);

			for (int k = 1; k < word->nleaves && level > LEVEL_NONE; k++)
				level = Min(level, level_at(vector, &word->leaves[k], position + k));
			best = Max(best, level);
		}
	}
	return best == LEVEL_PREFIX ? LEVEL_PHRASE : best;
}

static bool
has_all_leaves(TSVector vector, const QueryWord *word)
{
	for (int i = 0; i < word->nall; i++)
	{
		if (term_level(vector, &word->leaves[i]) == LEVEL_NONE)
			return false;
	}
	return true;
}

/* Leaves as they are, at what levels, or corrected, in any order; the distance of all. */
static bool
meets_with_typos(TSVector vector, const QueryWord *word, uint16 *levels, int *distance, const Term **correction)
{
	for (int i = 0; i < word->nall; i++)
	{
		const Term *best = NULL;
		Level		level = term_level(vector, &word->leaves[i]);

		if (level != LEVEL_NONE)
		{
			*levels |= 1 << level;
			continue;
		}
		for (int j = 0; j < word->ncorrections[i]; j++)
		{
			const Term *term = &word->corrections[i][j];

			if ((best == NULL || term->distance < best->distance) && term_level(vector, term) != LEVEL_NONE)
				best = term;
		}
		if (best == NULL)
			return false;
		*distance += best->distance;
		*correction = best;
	}
	return word->nall > 0;
}

static Level
word_level(TSVector vector, TSVector attributes, const QueryWord *word, int where,
		   uint16 *levels, int *distance, const Term **correction)
{
	Level		best = LEVEL_NONE;

	for (int i = 0; i < word->nterms; i++)
		best = Max(best, term_level(vector, &word->terms[i]));
	/* who meets the whole ranks by the parts, however it was looked for */
	if (best < LEVEL_EXACT && (where & IN_LEAVES || (best != LEVEL_NONE && !word->address)))
	{
		if (!word->address)
		{
			if (word->nleaves > 1)
				best = Max(best, phrase_level(vector, word));
		}
		else if (best == LEVEL_NONE && word->nleaves > 0 && phrase_level(vector, word) != LEVEL_NONE &&
				 (word->host.len <= 1 || term_level(vector, &word->host) != LEVEL_NONE))
			best = LEVEL_LOCAL;
	}
	if (best == LEVEL_NONE && where & IN_ATTRIBUTES)
	{
		for (int i = 0; i < word->nterms && best == LEVEL_NONE; i++)
			best = term_level(attributes, &word->terms[i]);
		/* a number with a point is not its parts */
		if (best == LEVEL_NONE && word->compound && !word->address &&
			memchr(word->terms[0].lexeme, '.', word->terms[0].len) == NULL && has_all_leaves(attributes, word))
			best = LEVEL_ATTRIBUTE;
	}
	if (best == LEVEL_NONE && where & IN_TYPOS && meets_with_typos(vector, word, levels, distance, correction))
		best = LEVEL_TYPO;
	return best;
}

/* How many words the name has. */
static int
name_words(TSVector vector)
{
	int			last = 0;

	for (int i = 0; i < vector->size; i++)
	{
		WordEntry  *entry = ARRPTR(vector) + i;

		for (int j = 0; entry->haspos && j < POSDATALEN(vector, entry); j++)
		{
			WordEntryPos pos = POSDATAPTR(vector, entry)[j];

			if (WEP_GETWEIGHT(pos) == WEIGHT_NAME)
				last = Max(last, WEP_GETPOS(pos));
		}
	}
	return last;
}

/* Is a word that was typed several times as often in the name? "the the" is not The Who. */
static bool
repeats(TSVector vector, const SearchQuery *query)
{
	for (int i = 0; i < query->nwords; i++)
	{
		const Term *term = &query->words[i].terms[0];
		int			typed = 0;
		int			there = 0;
		bool		exact;
		int			at;

		for (int j = 0; j < query->nwords; j++)
		{
			const Term *other = &query->words[j].terms[0];

			typed += term->len > 0 && other->len == term->len && memcmp(other->lexeme, term->lexeme, term->len) == 0;
		}
		at = typed < 2 ? 0 : first_lexeme(vector, term);
		if (typed < 2 || !meets_term(vector, at, term, &exact) || !exact)
			continue;
		for (int j = 0; ARRPTR(vector)[at].haspos && j < POSDATALEN(vector, ARRPTR(vector) + at); j++)
			there += WEP_GETWEIGHT(POSDATAPTR(vector, ARRPTR(vector) + at)[j]) == WEIGHT_NAME;
		if (there < typed)
			return false;
	}
	return true;
}

#define DISTANCE_MOST	14		/* letters changed, all of which count */
#define TIER_STEP		12		/* six bits for all; only the last tier has distances */

/*
 * The rank key: tier, few letters changed, the whole field, then the number of
 * words met at each level from the best on.  0: a word is not met.
 */
uint64
search_score(TSVector vector, TSVector attributes, const SearchQuery *query, int where, Tier tier,
			 uint16 *levels, const Term **correction)
{
	int			counts[LEVEL_ADDRESS + 1] = {0};
	int			distance = 0;
	bool		whole;
	uint64		result;

	*levels = 0;
	*correction = NULL;
	for (int i = 0; i < query->nwords; i++)
	{
		Level		level = word_level(vector, attributes, &query->words[i], where, levels, &distance, correction);

		if (level == LEVEL_NONE)
			return 0;
		counts[level]++;
		*levels |= 1 << level;
	}
	whole = (counts[LEVEL_EXACT] + counts[LEVEL_TYPO] == query->nwords && name_words(vector) == query->natoms &&
			 repeats(vector, query)) ||
		(query->nwords == 1 && counts[LEVEL_ADDRESS] == 1);
	result = DISTANCE_MOST + 1 - Min(distance, DISTANCE_MOST) + tier * TIER_STEP;
	result = result << 1 | whole;
	for (Level level = LEVEL_ADDRESS; level > LEVEL_TYPO; level--)
		result = result << 5 | Min(counts[level], 31);
	return result;
}

/*
 * May somebody meet all words in name and address?  Each form of a word is part of
 * the text without all but letters and digits; that rules out most of a walk in no
 * time, where the text is ASCII.
 */
bool
search_may_meet(text *name, text *email, const SearchQuery *query)
{
	text	   *values[] = {name, email};
	char		squeezed[256];
	int			n = 0;

	for (int i = 0; i < 2; i++)
	{
		const unsigned char *s;
		int			len;

		if (values[i] == NULL)
			continue;
		s = (const unsigned char *) VARDATA_ANY(values[i]);
		len = VARSIZE_ANY_EXHDR(values[i]);
		if (n + len + 2 > (int) sizeof(squeezed))
			return true;
		for (int j = 0; j < len; j++)
		{
			unsigned char c = s[j];

			if (c >= 0x80)
				return true;
			if (c >= 'A' && c <= 'Z')
				squeezed[n++] = c + ('a' - 'A');
			else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
				squeezed[n++] = c;
		}
		squeezed[n++] = ' ';
	}
	squeezed[n] = '\0';
	for (int i = 0; i < query->nwords; i++)
	{
		if (query->words[i].squeezed != NULL && strstr(squeezed, query->words[i].squeezed) == NULL)
			return false;
	}
	return true;
}
