/*
 * search_tiers.c
 *		Answers a tier of a search: by index or by a walk.
 *
 * Few are all fetched by index and ranked, beginning with the rarest words,
 * since an index gathers all that has a prefix before it can combine.  Many: first
 * who has the words in the name, by index; then profiles are walked newest first until
 * enough match.  A walk that goes on for too long gives way to the index.
 * How many there are our own statistics say.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "people.h"
#include "search.h"
#include "tsearch/ts_utils.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define WALK_MOST			50000	/* profiles that a walk looks at */
#define ADDRESS_CHARS		5		/* of an address that statistics have, with the < before it */

/* ---------- estimates ---------- */

/* How many have a term, about. */
static Frequency
term_frequencies(Search *search, const Term *term, bool exact)
{
	int			len = term->len;
	bool		address = term->lexeme[0] == '<';
	double		share = 1;
	Frequency	result = {1};

	if (address && exact)
		return result;
	if (address)
	{
		/* of addresses the statistics have the first letters; each more halves them */
		int			chars = pg_mbstrlen_with_len(term->lexeme, term->len);

		exact = chars >= ADDRESS_CHARS;
		if (exact)
		{
			share = pow(0.5, chars - ADDRESS_CHARS);
			len = pg_mbcharcliplen(term->lexeme, term->len, ADDRESS_CHARS);
		}
	}
	else
		exact |= !term->prefix;
	result = search_frequency(search->kind, term->lexeme, len, !exact);
	result.people *= share;
	return result;
}

/* How many have it in name or e-mail. */
double
search_term_frequency(Search *search, const Term *term, bool exact)
{
	return term_frequencies(search, term, exact).people;
}

/* The leaf of a word that the fewest have. */
static const Term *
rarest_leaf(Search *search, const QueryWord *word, double *frequency)
{
	const Term *best = NULL;

	for (int i = 0; i < word->nleaves; i++)
	{
		double		f = search_term_frequency(search, &word->leaves[i], false);

		if (best == NULL || f < *frequency)
		{
			best = &word->leaves[i];
			*frequency = f;
		}
	}
	return best;
}

/* What things take, in about microseconds. */
#define CHEAP			4000	/* no more is tried to do better */
#define AFFORDABLE		20000	/* to have names before addresses */
#define DEAR			100000	/* for what may not be meant */
#define COST_POSTING	0.5		/* one who has a word, found in the index */
#define COST_POSTING_EXACT	0.05	/* the very word, which the index need not gather */
#define JOINED_NAMES	0.2		/* of those who are called so */
#define COST_COMBINED	0.15		/* one who has a word, where words are combined outside of the index */
#define COST_FETCHED	7		/* who meets what went into the index, and when that one was seen */
#define COST_DATED		5		/* of that, to look up when */
#define COST_WALKED		1.5
#define COST_WALKED_TYPOS	3
#define COST_WALKED_VECTORS	9
#define COST_WALKED_IMPORTED	20
#define COST_IMPORTED	12		/* who has a word in custom attributes: to find, and to look at */
#define PATIENCE		3		/* so much longer a walk is expected to take that gives way to counting */
#define DOUBT			2		/* so much longer a walk may be, since words depend on each other */

/* What of a word goes into the index, and how many people that brings, about. */
typedef struct IndexKey
{
	StringInfoData query;		/* empty: nobody can meet it */
	StringInfoData attributes_query;	/* the same for attributes */
	const Term *address;		/* one of these; NULL if none is an address */
	bool		only_address;
	bool		address_as_word;	/* another is the same without the mark */
	double		people;
	double		attributes;		/* of these, in attributes but custom ones */
	double		imported;		/* of these, in custom attributes */
	double		gathering;		/* what it costs to have the index gather them */
	double		gathering_attributes;	/* of that, those in attributes */
	double		gathering_longer;	/* of that, longer words of people */
} IndexKey;

/* Of those who have a word or one that begins so, who have the very word need not be gathered. */
static double
cost_of_gathering(double all, double exact)
{
	exact = Min(exact, all);
	return exact * COST_POSTING_EXACT + (all - exact) * COST_POSTING;
}

static bool
begins_indexed(const Term *term)
{
	return term->prefix && strchr("<=@", term->lexeme[0]) == NULL &&
		pg_mbstrlen_with_len(term->lexeme, term->len) <= BEGINNING_CHARS;
}

/* A term as the index has it, where words of a name are behind a = alone. */
void
search_append_indexed(StringInfo s, const Term *term)
{
	bool		beginning = begins_indexed(term);

	if (strchr("<=@", term->lexeme[0]) != NULL)
	{
		people_append_term(s, term);
		return;
	}
	for (int name = 0; name < 2; name++)
	{
		Term		word = *term;

		/* of first letters there is a lexeme, which spares gathering all that begin so */
		word.prefix &= !beginning;
		word.lexeme = psprintf("%s%.*s%s", name ? "=" : "", term->len, term->lexeme, beginning ? "*" : "");
		word.len = strlen(word.lexeme);
		if (name)
			appendStringInfoString(s, " | ");
		people_append_term(s, &word);
	}
}

static void
add_alternative(IndexKey *key, const Term *term, bool exact)
{
	Term		copy = *term;

	if (key->query.len > 0)
	{
		appendStringInfoString(&key->query, " | ");
		appendStringInfoString(&key->attributes_query, " | ");
	}
	copy.prefix &= !exact;
	search_append_indexed(&key->query, &copy);
	people_append_term(&key->attributes_query, &copy);
}

/* How many have longer words that begin as a term does and that nobody else has: in addresses names become one word. */
static double
longer_words(Search *search, const Term *term)
{
	Term		name = *term;

	if (!term->prefix || strchr("<=@", term->lexeme[0]) != NULL || begins_indexed(term))
		return 0;
	name.lexeme = psprintf("=%.*s", term->len, term->lexeme);
	name.len = term->len + 1;
	return search_term_frequency(search, &name, true) * JOINED_NAMES;
}

static void
make_index_key(Search *search, const QueryWord *word, int where, IndexKey *key)
{
	double		frequency = 0;
	double		exact = 0;
	double		exact_attributes = 0;
	double		longer = 0;
	const Term *leaf;

	memset(key, 0, sizeof(IndexKey));
	initStringInfo(&key->query);
	initStringInfo(&key->attributes_query);
	key->only_address = word->nterms == 1;
	for (int i = 0; i < word->nterms; i++)
	{
		Frequency	frequencies = term_frequencies(search, &word->terms[i], false);
		Frequency	very = term_frequencies(search, &word->terms[i], true);

		if (word->terms[i].lexeme[0] == '<')
			key->address = &word->terms[i];
		else
			key->only_address = false;
		for (int j = 0; key->address == &word->terms[i] && j < word->nterms; j++)
			key->address_as_word |= word->terms[j].prefix && word->terms[j].len == key->address->len - 1 &&
				memcmp(word->terms[j].lexeme, key->address->lexeme + 1, word->terms[j].len) == 0;
		add_alternative(key, &word->terms[i], false);
		/* whose address begins with a word mostly has it as a word as well */
		key->people = word->compound ? key->people + frequencies.people : Max(key->people, frequencies.people);
		longer += longer_words(search, &word->terms[i]);
		exact += begins_indexed(&word->terms[i]) ? frequencies.people : very.people;
		exact_attributes += very.attributes;
		if (where & IN_ATTRIBUTES)
		{
			key->attributes += frequencies.attributes;
			key->imported += frequencies.imported;
		}
	}
	if (where & (IN_LEAVES | IN_ATTRIBUTES) && (word->nleaves > 1 || word->address) &&
		(leaf = rarest_leaf(search, word, &frequency)) != NULL)
	{
		add_alternative(key, leaf, false);
		key->only_address = false;
		key->people += frequency;
	}
	key->gathering = cost_of_gathering(key->people, exact) + longer * COST_POSTING;
	if (where & IN_TYPOS)
	{
		/* the leaf that the fewest have, in whatever spelling */
		int			best = -1;
		double		least = 0;

		key->only_address = false;
		for (int i = 0; i < word->nall; i++)
		{
			double		people = word->people[i] + search_term_frequency(search, &word->leaves[i], false);

			if (best < 0 || people < least)
			{
				best = i;
				least = people;
			}
		}
		for (int i = 0; best >= 0 && i < word->ncorrections[best]; i++)
			add_alternative(key, &word->corrections[best][i], false);
		if (best >= 0)
		{
			add_alternative(key, &word->leaves[best], false);
			key->people += least;
			key->gathering += word->people[best] * COST_POSTING_EXACT +
				cost_of_gathering(least - word->people[best], search_term_frequency(search, &word->leaves[best], true));
		}
	}
	key->people += key->attributes + key->imported;
	key->gathering_longer = Max(key->gathering - key->people * COST_POSTING_EXACT, 0);
	key->gathering_attributes = cost_of_gathering(key->attributes, exact_attributes);
	key->gathering += key->gathering_attributes;
}

Datum
search_parse_query(const char *text)
{
	return DirectFunctionCall1(tsqueryin, CStringGetDatum(text));
}

/* ---------- tiers ---------- */

/* How to answer a tier by index, and what that costs. */
typedef struct IndexPlan
{
	int			words[KEY_WORDS];	/* that go into the index, what spares most first */
	int			nwords;
	bool		sides;			/* each of these is looked for where most have it, and whoever has it elsewhere apart */
	bool		in_attributes[KEY_WORDS];	/* that is where */
	bool		attributes_only;	/* rather: one word or another in attributes */
	bool		corrections_only;	/* rather: one word or another corrected */
	bool		rarest_only;	/* of custom attributes: the first of these, not one word or another */
	bool		nobody;			/* has all of these */
	double		cost;
	double		people;			/* who meet all words, if these don't depend on each other */
} IndexPlan;

/* How many have some words, as the index says: those come first. */
typedef struct Counted
{
	int			words[KEY_WORDS];
	bool		in_attributes[KEY_WORDS];
	int			nwords;
	double		people;
	double		cost;			/* to have the index find them again */
} Counted;

/* Whoever has "james" has "ja", and need not be looked for twice. */
static bool
is_implied(const SearchQuery *query, int word)
{
	const Term *term = &query->words[word].terms[0];

	for (int i = 0; i < query->nwords; i++)
	{
		const Term *other = &query->words[i].terms[0];

		if (i != word && query->words[word].nterms > 0 && query->words[i].nterms > 0 &&
			!query->words[i].compound && !query->words[i].address &&
			!query->words[word].compound && !query->words[word].address && term->prefix &&
			(other->len > term->len || (other->len == term->len && i > word)) &&
			memcmp(other->lexeme, term->lexeme, term->len) == 0)
			return true;
	}
	return false;
}

/* Can the index read who has a word in order, without gathering much? */
static bool
is_read_in_order(double gathering, double people)
{
	return gathering <= people * 4 * COST_POSTING_EXACT;
}

/*
 * What one more word costs that goes into the index, and how many it brings, alone; so
 * many meet the words that are there on its side already, or (below 0) there are none.
 */
static double
cost_of_key(const IndexKey *key, int where, bool sides, bool in_attributes, double rows, double *people)
{
	double		other = key->people - key->attributes - key->imported;
	double		gathering = in_attributes ? key->gathering_attributes : key->gathering - key->gathering_attributes;
	double		cost;

	/* two indexes know it */
	if (where & IN_ATTRIBUTES && !sides)
	{
		*people = key->people;
		return key->gathering + key->people * COST_COMBINED;
	}
	*people = in_attributes ? key->attributes : other;
	/* whoever does not meet the words before is skipped */
	cost = rows < 0 ? gathering : Min(gathering, rows * 2 * COST_POSTING_EXACT + (in_attributes ? 0 : key->gathering_longer));
	/* whoever has it elsewhere comes on top */
	if (sides)
		cost += (in_attributes ? other : key->attributes) * (COST_FETCHED + COST_POSTING);
	return cost;
}

/* Chooses words for the index, one after the other, as long as one spares more rows than it costs. */
static void
choose_words(const SearchQuery *query, const IndexKey *keys, int where, bool sides, const Counted *counted, const bool *implied, double total, IndexPlan *plan)
{
	double		rows = total;
	bool		used[QUERY_MAX_WORDS];
	bool		side_used[2] = {0};

	memcpy(used, implied, sizeof(used));
	plan->sides = sides;
	plan->nwords = 0;
	plan->cost = counted == NULL ? 0 : counted->cost;
	for (int i = 0; counted != NULL && i < counted->nwords; i++)
	{
		const IndexKey *key = &keys[counted->words[i]];

		if (sides)
			plan->cost += (counted->in_attributes[i] ? key->people - key->attributes - key->imported : key->attributes) * (COST_FETCHED + COST_POSTING);
		plan->in_attributes[plan->nwords] = counted->in_attributes[i];
		plan->words[plan->nwords++] = counted->words[i];
		used[counted->words[i]] = true;
		side_used[counted->in_attributes[i]] = true;
		rows = counted->people;
	}
	while (plan->nwords < KEY_WORDS)
	{
		int			best = -1;
		double		most = 0;
		double		left = 0;
		double		costs = 0;
		bool		in_attributes = false;

		for (int i = 0; i < query->nwords; i++)
		{
			bool		attribute = sides && keys[i].attributes > keys[i].people - keys[i].attributes - keys[i].imported;
			double		people;
			double		cost = cost_of_key(&keys[i], where, sides, attribute, side_used[attribute] ? rows : -1, &people) +
				(plan->nwords > 0 && !side_used[attribute] ? people * COST_COMBINED : 0);
			double		fewer = rows * Min(people / total, 1);
			double		spared = (rows - fewer) * COST_FETCHED - cost;

			if (!used[i] && (best < 0 || spared > most))
			{
				best = i;
				most = spared;
				left = fewer;
				costs = cost;
				in_attributes = attribute;
			}
		}
		if (best < 0 || (plan->nwords > 0 && most <= 0))
			break;
		used[best] = true;
		side_used[in_attributes] = true;
		plan->in_attributes[plan->nwords] = in_attributes;
		plan->words[plan->nwords++] = best;
		plan->cost += costs;
		rows = left;
	}
	plan->nobody = counted != NULL && counted->people == 0;
	plan->cost += rows * COST_FETCHED;
}

/* The plan that costs least, and the one by which words can be counted. */
static void
plan_index(Search *search, const SearchQuery *query, IndexKey *keys, int where, const Counted *counted, IndexPlan *plan, IndexPlan *countable)
{
	double		total = Max(search->people, 1);
	double		attributes = 0;
	double		imported = 0;
	bool		implied[QUERY_MAX_WORDS];

	memset(plan, 0, sizeof(IndexPlan));
	plan->people = total;
	for (int i = 0; i < query->nwords; i++)
	{
		implied[i] = is_implied(query, i);
		if (!implied[i])
		{
			plan->people *= Min(keys[i].people / total, 1);
			imported += keys[i].imported;
		}
		attributes += keys[i].attributes;
	}
	if (counted != NULL)
		plan->people = Min(plan->people, counted->people);
	choose_words(query, keys, where, false, counted != NULL && !(where & IN_ATTRIBUTES) ? counted : NULL, implied, total, plan);
	*countable = *plan;
	if (where & IN_ATTRIBUTES)
	{
		choose_words(query, keys, where, true, counted, implied, total, countable);
		if (query->nwords > 1 && countable->cost < plan->cost)
			*plan = *countable;
	}
	/* without a word that is corrected, the tiers before have found it */
	if (where & IN_TYPOS)
	{
		double		corrected = 0;

		for (int i = 0; i < query->nwords; i++)
		{
			for (int j = 0; j < query->words[i].nall; j++)
				corrected += query->words[i].people[j];
		}
		if (corrected * (COST_FETCHED + COST_POSTING) < plan->cost)
		{
			plan->corrections_only = true;
			plan->cost = corrected * (COST_FETCHED + COST_POSTING);
		}
	}
	/* nor without a word in attributes */
	if (where & IN_ATTRIBUTES && attributes * (COST_FETCHED + COST_POSTING) < plan->cost)
	{
		plan->attributes_only = true;
		plan->corrections_only = false;
		plan->cost = attributes * (COST_FETCHED + COST_POSTING);
	}
	/* who has a word in custom attributes comes from elsewhere, and is not intersected */
	if (imported > 0 && plan->nwords > 0 && !plan->corrections_only)
	{
		int			first = -1;
		const IndexKey *rarest;
		double		instead;

		for (int i = 0; i < query->nwords; i++)
		{
			if (!implied[i] && (first < 0 || keys[i].people < keys[first].people))
				first = i;
		}
		rarest = &keys[first];
		instead = rarest->gathering + (rarest->people - rarest->imported) * COST_FETCHED + rarest->imported * COST_IMPORTED;
		plan->cost += imported * COST_IMPORTED;
		if (instead < plan->cost)
		{
			plan->rarest_only = true;
			plan->attributes_only = plan->sides = plan->nobody = false;
			plan->words[0] = first;
			plan->nwords = 1;
			plan->cost = instead;
		}
	}
}

/* How far a walk has to go, about. */
static double
walking(Search *search, double people)
{
	return search->max * search->people / Max(people, 0.001);
}

/* The same where how many there are has been guessed from words that are in one name or address. */
static double
walking_maybe(Search *search, const SearchQuery *query, double people, int where)
{
	return walking(search, people) * (query->nwords > 1 && !(where & IN_ATTRIBUTES) ? DOUBT : 1);
}

/* Those who have words in custom attributes. */
static void
take_imported(Search *search, const SearchQuery *query, IndexKey *keys, const IndexPlan *plan, int where, Tier tier)
{
	StringInfoData s;
	Datum		value;

	initStringInfo(&s);
	for (int i = 0; i < query->nwords; i++)
	{
		if (plan->rarest_only ? i == plan->words[0] : !is_implied(query, i))
			appendStringInfo(&s, "%s%s", s.len > 0 ? " | " : "", keys[i].attributes_query.data);
	}
	value = search_parse_query(s.data);
	search_take_all(search, GET_BY_IMPORTED, &value, query, where, tier);
}

/* The addresses that begin as a term does, as their index has them: from one on, and before another. */
static void
address_range(const Term *term, Datum *from, Datum *to)
{
	int			len = people_indexed_bytes(term->lexeme, term->len);
	text	   *behind = cstring_to_text_with_len(term->lexeme, len);

	*from = PointerGetDatum(cstring_to_text_with_len(term->lexeme, len));
	/* they are compared as bytes, and at least the mark can be greater */
	while ((unsigned char) term->lexeme[len - 1] == 0xFF)
		len--;
	VARDATA(behind)[len - 1]++;
	SET_VARSIZE(behind, VARHDRSZ + len);
	*to = PointerGetDatum(behind);
}

/*
 * Who has an address that begins as a key's does; who has a word that does, too,
 * is left out, as the index of words tells.
 */
static void
take_addresses(Search *search, const SearchQuery *query, const IndexKey *key, int where, Tier tier)
{
	IndexRows  *rows = search_open_rows(search, &search->tables->addresses, "search", NULL, ROWS_BY_ADDRESS);
	Taking		taking;
	Datum		range[2];

	address_range(key->address, &range[0], &range[1]);
	if (rows == NULL)
	{
		search_take_all(search, GET_BY_ADDRESS, range, query, where, tier);
		return;
	}
	search_begin_taking(&taking, search, query, where, tier);
	rows_of_addresses(rows, range[0], range[1], key->address_as_word ? key->address->len - 1 : 0);
	if (where & IN_ATTRIBUTES && search->tables->imported)
	{
		AttrNumber	column = get_attnum(RelationGetRelid(rows->table), "key");
		Datum	   *keys = NULL;
		int			n = 0;
		int			size = 0;

		while (rows_next(rows))
		{
			bool		isnull;

			if (n == size)
			{
				size = size * 2 + 16;
				keys = keys == NULL ? palloc(size * sizeof(Datum)) : repalloc_huge(keys, size * sizeof(Datum));
			}
			keys[n++] = datumCopy(slot_getattr(rows->slot, column, &isnull), false, -1);
		}
		if (n > 0)
			search_take_keys(&taking, keys, n, NULL);
	}
	else
		search_take_rows(&taking, rows, NULL);
	MemoryContextDelete(taking.context);
}

/* Has nobody what a key asks for in the index of words? */
static bool
is_no_word(Search *search, const IndexKey *key)
{
	IndexRows  *rows = search_open_rows(search, &search->tables->addresses, "search", NULL, ROWS_BY_ADDRESS);

	return rows != NULL && rows_count(rows, psprintf("%s_search_search_idx", profiles_kinds[search->kind]), search_parse_query(key->query.data)) == 0;
}

/*
 * What words ask for in attributes or in name and e-mail: all of those that are looked for
 * there, or (elsewhere) any of the others.  NULL if there are none.
 */
static Datum
condition(const IndexKey *keys, const int *words, const bool *in_attributes, int nwords, bool attributes, bool elsewhere)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < nwords; i++)
	{
		const IndexKey *key = &keys[words[i]];

		if ((in_attributes[i] == attributes) == elsewhere)
			continue;
		if (s.len > 0)
			appendStringInfoString(&s, elsewhere ? " | " : " & ");
		appendStringInfo(&s, "(%s)", attributes ? key->attributes_query.data : key->query.data);
	}
	return s.len == 0 ? (Datum) 0 : search_parse_query(s.data);
}

/*
 * The words of a plan that the index can count who has all of, without gathering much,
 * and what that costs; below 0 if there is nothing to count.
 */
static double
cost_of_counting(const IndexKey *keys, const IndexPlan *plan, Counted *counted)
{
	int			sides[2] = {0};
	double		cost = 0;
	double		least = -1;

	memset(counted, 0, sizeof(Counted));
	for (int i = 0; i < plan->nwords; i++)
	{
		const IndexKey *key = &keys[plan->words[i]];
		bool		attribute = plan->in_attributes[i];
		double		gathering = attribute ? key->gathering_attributes : key->gathering - key->gathering_attributes;
		double		people = attribute ? key->attributes : key->people - key->attributes - key->imported;

		if (!is_read_in_order(gathering, people))
			continue;
		cost += gathering;
		least = least < 0 ? gathering : Min(least, gathering);
		counted->words[counted->nwords] = plan->words[i];
		counted->in_attributes[counted->nwords++] = attribute;
		sides[attribute]++;
	}
	/* of the others as much is skipped as the one that the fewest have lets skip */
	counted->cost = Min(cost, 2 * least);
	return Max(sides[0], sides[1]) < 2 ? -1 : counted->cost;
}

/*
 * Has the index count who has all of some words: they exclude each other often, and
 * what is known of each alone does not tell.  Returns whether it did.
 */
static bool
count_words(Search *search, const IndexKey *keys, Counted *counted)
{
	IndexRows  *rows = search_open_rows(search, &search->tables->addresses, "search", NULL, ROWS_BY_ADDRESS);

	LastCount  *last = &search->tables->last_count;

	/* what is gathered has to fit into memory, or the count is too high */
	search_settle(search);
	counted->people = search->people;
	for (int attributes = 0; rows != NULL && attributes < 2; attributes++)
	{
		Datum		query = condition(keys, counted->words, counted->in_attributes, counted->nwords, attributes, false);
		int64		people;

		if (query == (Datum) 0)
			continue;
		/* a tier may ask for the same as the one before */
		if (last->query[attributes] == (Datum) 0 || !datumIsEqual(query, last->query[attributes], false, -1))
		{
			MemoryContext old = MemoryContextSwitchTo(search->context);

			last->people[attributes] = rows_count(rows, psprintf("%s_search_%s_idx", profiles_kinds[search->kind], attributes ? "attributes" : "search"), query);
			last->query[attributes] = datumCopy(query, false, -1);
			MemoryContextSwitchTo(old);
		}
		people = last->people[attributes];
		if (people < 0)
			return false;
		counted->people = Min(counted->people, people);
	}
	return rows != NULL;
}

static void
take_by_index(Search *search, const SearchQuery *query, IndexKey *keys, const IndexPlan *plan, int where, Tier tier)
{
	Datum		values[2 * KEY_WORDS];
	StringInfoData s;
	bool		address = false;

	/* who has "O'Brien" joined may have it in parts as well, which is better */
	for (int i = 0; i < query->nwords; i++)
		address |= query->words[i].address;
	if (!address)
		where |= IN_LEAVES;

	if (where & IN_ATTRIBUTES && search->tables->imported && !plan->corrections_only)
		take_imported(search, query, keys, plan, where, tier);
	initStringInfo(&s);
	if (plan->attributes_only)
	{
		for (int i = 0; i < query->nwords; i++)
			appendStringInfo(&s, "%s%s", i > 0 ? " | " : "", keys[i].attributes_query.data);
		values[0] = search_parse_query(s.data);
		search_take_all(search, GET_BY_ATTRIBUTES_ONLY, values, query, where, tier);
		return;
	}
	if (plan->corrections_only)
	{
		for (int i = 0; i < query->nwords; i++)
		{
			for (int j = 0; j < query->words[i].nall; j++)
			{
				for (int k = 0; k < query->words[i].ncorrections[j]; k++)
				{
					if (s.len > 0)
						appendStringInfoString(&s, " | ");
					search_append_indexed(&s, &query->words[i].corrections[j][k]);
				}
			}
		}
		values[0] = search_parse_query(s.data);
		search_take_all(search, where & IN_ATTRIBUTES ? GET_BY_WORDS : GET_BY_INDEX, values, query, where, tier);
		return;
	}
	for (int i = 0; i < plan->nwords; i++)
	{
		if (keys[plan->words[i]].address != NULL)
			take_addresses(search, query, &keys[plan->words[i]], where, tier);
	}
	/* of a whole address that is all there is, as a rule, and can be known without a plan */
	if (plan->nwords == 1 && keys[plan->words[0]].only_address && !(where & IN_ATTRIBUTES) && is_no_word(search, &keys[plan->words[0]]))
		return;
	if (plan->sides)
	{
		/* who has a word where few have it, then who has all where most have them */
		for (int attributes = 0; attributes < 2; attributes++)
		{
			values[0] = condition(keys, plan->words, plan->in_attributes, plan->nwords, attributes, true);
			if (values[0] != (Datum) 0)
				search_take_all(search, attributes ? GET_BY_ATTRIBUTES_ONLY : GET_BY_WORDS, values, query, where, tier);
		}
		if (plan->nobody)
			return;
		values[0] = condition(keys, plan->words, plan->in_attributes, plan->nwords, false, false);
		values[1] = condition(keys, plan->words, plan->in_attributes, plan->nwords, true, false);
		if (values[0] == (Datum) 0)
			search_take_all(search, GET_BY_ATTRIBUTES_ONLY, &values[1], query, where, tier);
		else
			search_take_all(search, values[1] == (Datum) 0 ? GET_BY_WORDS : GET_BY_WORDS_AND_ATTRIBUTES, values, query, where, tier);
	}
	else if (where & IN_ATTRIBUTES)
	{
		for (int i = 0; i < plan->nwords; i++)
		{
			values[2 * i] = search_parse_query(keys[plan->words[i]].query.data);
			values[2 * i + 1] = search_parse_query(keys[plan->words[i]].attributes_query.data);
		}
		search_take_all(search, GET_BY_ATTRIBUTE + plan->nwords - 1, values, query, where, tier);
	}
	else if (!plan->nobody)
	{
		values[0] = condition(keys, plan->words, plan->in_attributes, plan->nwords, false, false);
		search_take_all(search, GET_BY_INDEX, values, query, where, tier);
	}
}

/* Have enough been found who meet words at some levels only, all of these having been looked up? */
static bool
named_suffice(Search *search, const SearchQuery *query, uint16 levels)
{
	int			n = 0;
	candidates_iterator iterator;
	Candidate  *candidate;

	for (int i = 0; i < query->nwords; i++)
	{
		/* who has its parts is not looked up, or who has it as an address */
		if (query->words[i].compound || query->words[i].address)
			return false;
	}
	candidates_start_iterate(search->found, &iterator);
	while (n < search->max && (candidate = candidates_iterate(search->found, &iterator)) != NULL)
	{
		if (!candidate->rejected && (candidate->levels & ~levels) == 0)
			n++;
	}
	return n >= search->max;
}

/*
 * The lexemes that names with a term have in the index: the very word, or what begins
 * with it.  Where these are many, those of its first letters, of which there is one.
 */
static void
add_name(Search *search, IndexKey *key, const Term *term, bool exact)
{
	Term		lexeme = *term;
	int			mark = term->lexeme[0] == '=' ? 1 : 0;
	int			begins = pg_mbcharcliplen(term->lexeme + mark, term->len - mark, BEGINNING_CHARS);
	double		people;

	lexeme.lexeme = psprintf("=%.*s", term->len - mark, term->lexeme + mark);
	lexeme.len = strlen(lexeme.lexeme);
	lexeme.prefix = !exact;
	people = search_term_frequency(search, &lexeme, exact);
	if (!exact && (begins == lexeme.len - 1 || people > CHEAP))
	{
		lexeme.lexeme = psprintf("=%.*s*", begins, term->lexeme + mark);
		lexeme.len = strlen(lexeme.lexeme);
		lexeme.prefix = false;
		people = search_term_frequency(search, &lexeme, true);
	}
	key->people += people;
	key->gathering += cost_of_gathering(people, lexeme.prefix ? search_term_frequency(search, &lexeme, true) : people);
	add_alternative(key, &lexeme, false);
}

/*
 * Who has all words in the name, the very words or what begins with them, by the
 * index if that costs no more than a walk to them, or than most.  Returns whether it
 * was asked; people becomes how many that are, about, or 0 if none are left to find.
 */
static bool
take_names(Search *search, const SearchQuery *query, Tier tier, bool begins, double most, double *people)
{
	IndexPlan	plan;
	IndexPlan	countable;
	IndexKey	keys[QUERY_MAX_WORDS];

	*people = 0;
	for (int i = 0; i < query->nwords; i++)
	{
		const QueryWord *word = &query->words[i];

		memset(&keys[i], 0, sizeof(IndexKey));
		initStringInfo(&keys[i].query);
		initStringInfo(&keys[i].attributes_query);
		for (int j = 0; j < word->nterms; j++)
		{
			if (word->terms[j].lexeme[0] != '<' && word->terms[j].lexeme[0] != '@')
				add_name(search, &keys[i], &word->terms[j], !begins);
		}
		/* an address is no name */
		if (keys[i].query.len == 0)
			return false;
	}
	plan_index(search, query, keys, IN_TERMS, NULL, &plan, &countable);
	if (plan.cost > Max(most, walking_maybe(search, query, plan.people, IN_TERMS) * COST_WALKED))
	{
		*people = plan.people;
		return false;
	}
	take_by_index(search, query, keys, &plan, IN_TERMS | IN_LEAVES, tier);
	search_apply_filter(search);
	return true;
}

#define NAME_LEVELS (1 << LEVEL_EXACT | 1 << LEVEL_PHRASE | 1 << LEVEL_JOINED | 1 << LEVEL_PREFIX)

/*
 * Who has all words in the name: the very words, then what begins with them, as far
 * as that is affordable.  Returns whether that is enough; exact and beginning become how
 * many are still to be found that are called so, about.
 */
static bool
take_named(Search *search, const SearchQuery *query, Tier tier, double *exact, double *beginning)
{
	*beginning = 0;
	if (take_names(search, query, tier, false, CHEAP, exact) && named_suffice(search, query, 1 << LEVEL_EXACT))
		return true;
	if (!take_names(search, query, tier, true, CHEAP, beginning))
		return false;
	*exact = 0;
	return named_suffice(search, query, NAME_LEVELS);
}

/* Walks over all profiles; returns whether it has seen all. */
static bool
walk_all(Taking *taking)
{
	Search	   *search = taking->search;
	IndexRows  *rows = search_open_rows(search, &search->tables->newest, "profile", "last_seen", ROWS_IN_ORDER);

	/* without its index there is no walk */
	if (rows == NULL)
		return false;
	if (taking->walked == 0)
		rows_newest(rows);
	while (search_goes_on(taking))
	{
		MemoryContext old = MemoryContextSwitchTo(taking->context);
		int			n = 0;

		if (!(taking->where & IN_ATTRIBUTES))
		{
			n = rows_next(rows) ? 1 : 0;
			if (n > 0)
			{
				StoredProfile profile = search_stored_profile(search, rows);

				search_take_profile(taking, &profile);
			}
		}
		else
		{
			Datum		keys[ROWS_AHEAD];
			TimestampTz seen[ROWS_AHEAD];
			int			most = Min(ROWS_AHEAD, 32 + taking->walked);

			MemoryContextSwitchTo(search->context);
			while (n < most && rows_next(rows))
			{
				StoredProfile profile = search_stored_profile(search, rows);

				keys[n] = datumCopy(profile.key, false, -1);
				seen[n++] = profile.seen;
			}
			search_take_keys(taking, keys, n, seen);
			for (int i = 0; i < n; i++)
				pfree(DatumGetPointer(keys[i]));
		}
		taking->walked += n;
		MemoryContextSwitchTo(old);
		MemoryContextReset(taking->context);
		if (n == 0)
			return true;
	}
	return false;
}

/* Walks over those who pass the filter. */
static void
walk_filtered(Taking *taking)
{
	Search	   *search = taking->search;
	bool		attributes = (taking->where & IN_ATTRIBUTES) != 0;
	SPIPlanPtr *plan = &search->tables->filtered_walks[attributes];
	Datum		most = Int64GetDatum(taking->most);

	if (*plan == NULL)
	{
		Oid			types[] = {INT8OID};
		const char *kind = profiles_kinds[search->kind];

		*plan = search_prepare(search, psprintf("SELECT p.%1$s_id, %2$s, p.last_seen FROM (SELECT u.* FROM profiles.%1$ss u ORDER BY u.last_seen DESC LIMIT $1) p "
								 "%3$s WHERE %4$s ORDER BY p.last_seen DESC", kind,
								 attributes ? "s.search, s.attributes" : search_shown_columns(search->kind),
								 attributes ? psprintf("JOIN profiles.%1$s_searched s ON s.key = p.%1$s_id", kind) : "",
								 search->filter), 1, types);
	}
	search_take_plan(taking, *plan, &most);
}

/*
 * Newest first.  Returns whether it found enough, or has seen all; instead is how
 * many profiles take as long as the index, and exact and beginning how many are called
 * by the very words or what begins with them, about, or 0 if these have been found already.
 * Once more for the same, it goes on.  It ends when enough are found that nobody can rank before, or enough of any rank after
 * as many as should have so many names among them.
 */
static bool
walk(Taking *taking, Search *search, const SearchQuery *query, int where, Tier tier, double instead, bool known, double exact, double beginning)
{
	bool		all = false;

	if (taking->context == NULL)
	{
		search_begin_taking(taking, search, query, where, tier);
		taking->walk = true;
		taking->before = search->nfound;
	}
	taking->most = (int) Min(taking->walked + Max(instead, WALK_LEAST), WALK_MOST);
	taking->instead = search->filter == NULL && !known ? instead : 0;
	taking->least = WALK_LEAST;
	taking->good = 1 << LEVEL_EXACT;
	if (exact > 0)
		taking->least = Max(taking->least, (int) Min(2 * search->max * search->people / exact, WALK_MOST));
	else
		taking->good |= 1 << LEVEL_PREFIX | 1 << LEVEL_JOINED | 1 << LEVEL_PHRASE;
	if (beginning > 0)
		taking->least = Max(taking->least, (int) Min(search->max * search->people / beginning, WALK_MOST));
	if (tier != TIER_WORDS)
		taking->good = ~0;
	for (int i = 0; i < query->nwords; i++)
	{
		if (query->words[i].compound || query->words[i].address)
			taking->good |= 1 << LEVEL_HOST | 1 << LEVEL_LOCAL | 1 << LEVEL_TYPED | 1 << LEVEL_ADDRESS;
	}
	if (search->filter == NULL)
		all = walk_all(taking);
	else
		walk_filtered(taking);
	return search->nfound >= search->max || all;
}

/* Adds who meets all words of a query; does nothing if that is not worth the effort. */
void
search_run_tier(Search *search, const SearchQuery *query, int where, Tier tier, Effort effort)
{
	IndexKey	keys[QUERY_MAX_WORDS];
	IndexPlan	plan;
	IndexPlan	countable;
	double		exact = 0;
	double		beginning = 0;
	double		walk_rows;
	double		walked;
	Counted		counted;
	Taking		taking = {0};
	double		counting = -1;	/* what that costs; below 0: it is not done */
	bool		walks;
	bool		enough;
	double		share = search->filter == NULL ? 1 : search->filter_share;

	if (search->only != (Datum) 0)
	{
		search_take_only(search, query, where, tier);
		return;
	}
	for (int i = 0; i < query->nwords; i++)
	{
		make_index_key(search, &query->words[i], where, &keys[i]);
		/* such a word nobody can meet */
		if (keys[i].query.len == 0)
			return;
	}
	plan_index(search, query, keys, where, NULL, &plan, &countable);
	walk_rows = walking_maybe(search, query, plan.people * share, where);
	walked = where & IN_TYPOS ? COST_WALKED_TYPOS : COST_WALKED;
	if (where & IN_ATTRIBUTES)
		walked = search->tables->imported ? COST_WALKED_IMPORTED : COST_WALKED_VECTORS;
	elog(DEBUG1, "search: tier %d in %d: index%s of %d words %.0f us, walk %.0f us, about %.0f people", tier, where, plan.attributes_only ? " of attributes" : plan.sides ? ", two sides," : "", plan.nwords, plan.cost, walk_rows * walked, plan.people);
	if (search->people <= search->few || plan.cost <= CHEAP)
		take_by_index(search, query, keys, &plan, where, tier);
	else if (effort != ALWAYS && Min(plan.cost, walk_rows * walked) > DEAR)
		return;
	else if (effort == IF_FEW && plan.cost > walk_rows * walked)
		return;
	else
	{
		if (where == (IN_TERMS | IN_LEAVES) && take_named(search, query, tier, &exact, &beginning))
			return;
		if (search->filter == NULL && !plan.attributes_only)
			counting = cost_of_counting(keys, &countable, &counted);
		if (counting * 2 > plan.cost)
			counting = -1;
		walks = plan.cost > walk_rows * walked;
		enough = walks && (counting < 0 || walk_rows * walked <= PATIENCE * counting) &&
			walk(&taking, search, query, where, tier, (counting < 0 ? plan.cost : PATIENCE * counting) / walked, false, exact, beginning);
		if (!enough && counting >= 0 && (walks || plan.sides < countable.sides || counted.nwords < plan.nwords) && count_words(search, keys, &counted))
		{
			plan_index(search, query, keys, where, &counted, &plan, &countable);
			walk_rows = walking(search, plan.people) - taking.walked;
			elog(DEBUG1, "search: counted %.0f: index %.0f us, walk %.0f us", counted.people, plan.cost, walk_rows * walked);
			walks = plan.cost > walk_rows * walked;
			enough = walks && walk(&taking, search, query, where, tier, plan.cost / walked, true, exact, beginning);
		}
		if (taking.context != NULL)
			MemoryContextDelete(taking.context);
		if (!enough)
			take_by_index(search, query, keys, &plan, where, tier);
		/* names that were seen long ago, if others only have the words in their address */
		else if (beginning > 0 && !named_suffice(search, query, NAME_LEVELS))
			take_names(search, query, tier, true, AFFORDABLE, &beginning);
	}
	search_apply_filter(search);
}

/*
 * Finds the newest of those who share a score by walking, if they are so many that
 * this takes less time than to look each up.  Returns whether it did.
 */
bool
search_date_by_walk(Search *search, uint64 score, int nundated)
{
	double		most = nundated * COST_DATED / COST_WALKED;
	IndexRows  *rows;
	int			dated = 0;

	if (search->filter != NULL || search->people <= search->few ||
		most < 2 * search->max * search->people / nundated ||
		(rows = search_open_rows(search, &search->tables->newest, "profile", "last_seen", ROWS_IN_ORDER)) == NULL)
		return false;
	rows_newest(rows);
	for (int walked = 0; dated < search->max && walked < most; walked++)
	{
		StoredProfile profile;
		Candidate  *candidate;
		char		key[PROFILES_MAX_KEY + 1];

		if (!rows_next(rows))
			return true;
		profile = search_stored_profile(search, rows);
		text_to_cstring_buffer((text *) DatumGetPointer(profile.key), key, sizeof(key));
		candidate = candidates_lookup(search->found, key);
		if (candidate != NULL && !candidate->rejected && candidate->score == score)
		{
			search_keep_shown(search, candidate, &profile);
			dated++;
		}
	}
	return dated >= search->max;
}
