/*
 * search_plan.c
 *		What a tier of a search costs, and how it is best answered, by our own statistics.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "people.h"
#include "search_plan.h"

#define ADDRESS_CHARS		5		/* of an address that statistics have, with the < before it */

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

/* The leaf of a word that the fewest have where it is looked for, and how many these are. */
static const Term *
rarest_leaf(Search *search, const QueryWord *word, int where, Frequency *frequency)
{
	const Term *best = NULL;
	double		least = 0;

	for (int i = 0; i < word->nleaves; i++)
	{
		Frequency	f = term_frequencies(search, &word->leaves[i], false);
		double		all = f.people + (where & IN_ATTRIBUTES ? f.attributes + f.imported : 0);

		if (best == NULL || all < least)
		{
			best = &word->leaves[i];
			*frequency = f;
			least = all;
		}
	}
	return best;
}

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

void
plan_key(Search *search, const QueryWord *word, int where, IndexKey *key)
{
	Frequency	frequency = {0};
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
		(leaf = rarest_leaf(search, word, where, &frequency)) != NULL)
	{
		add_alternative(key, leaf, false);
		key->only_address = false;
		key->people += frequency.people;
		if (where & IN_ATTRIBUTES)
		{
			key->attributes += frequency.attributes;
			key->imported += frequency.imported;
		}
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

/*
 * The lexemes that names with a term have in the index: the very word, or what begins
 * with it.  Where these are many, those of its first letters, of which there is one.
 */
void
plan_add_name(Search *search, IndexKey *key, const Term *term, bool exact)
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

/* Whoever has "james" has "ja", and need not be looked for twice. */
bool
plan_implies(const SearchQuery *query, int word)
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

/* How many have a word that is corrected, and all of those that are asked for, about. */
static double
people_corrected(const SearchQuery *query, const IndexKey *keys, const bool *asked, double total)
{
	double		result = 0;

	for (int i = 0; i < query->nwords; i++)
	{
		double		people = 0;

		for (int j = 0; j < query->words[i].nall; j++)
			people += query->words[i].people[j];
		/* the word itself is met then, but for its other parts */
		for (int j = 0; j < query->nwords; j++)
		{
			if (asked[j])
				people = j == i ? Min(people, keys[j].people) : people * Min(keys[j].people / total, 1);
		}
		result += people;
	}
	return Min(result, total);
}

/*
 * Chooses words for the index, one after the other, as long as one spares more rows than
 * it costs, beside corrections if these are asked for.
 */
static void
choose_words(const SearchQuery *query, const IndexKey *keys, int where, bool sides, const Counted *counted, const bool *implied, double total, IndexPlan *plan)
{
	bool		corrected = plan->corrected >= 0;
	double		rows = corrected ? plan->corrected : total;
	bool		used[QUERY_MAX_WORDS];
	bool		asked[QUERY_MAX_WORDS] = {0};
	bool		side_used[2] = {corrected, false};

	memcpy(used, implied, sizeof(used));
	plan->sides = sides;
	plan->nwords = 0;
	plan->cost = counted != NULL ? counted->cost : corrected ? rows * COST_POSTING_EXACT : 0;
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
			double		spared;

			if (corrected && counted == NULL)
			{
				bool		before = asked[i];

				asked[i] = true;
				fewer = people_corrected(query, keys, asked, total);
				asked[i] = before;
			}
			spared = (rows - fewer) * COST_FETCHED - cost;
			if (!used[i] && (best < 0 || spared > most))
			{
				best = i;
				most = spared;
				left = fewer;
				costs = cost;
				in_attributes = attribute;
			}
		}
		if (best < 0 || ((plan->nwords > 0 || corrected) && most <= 0))
			break;
		used[best] = asked[best] = true;
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
void
plan_index(Search *search, const SearchQuery *query, IndexKey *keys, int where, const Counted *counted, IndexPlan *plan, IndexPlan *countable)
{
	double		total = Max(search->people, 1);
	double		attributes = 0;
	double		imported = 0;
	double		corrected;
	bool		implied[QUERY_MAX_WORDS];
	bool		asked[QUERY_MAX_WORDS] = {0};

	memset(plan, 0, sizeof(IndexPlan));
	plan->people = total;
	for (int i = 0; i < query->nwords; i++)
	{
		implied[i] = plan_implies(query, i);
		if (!implied[i])
		{
			plan->people *= Min(keys[i].people / total, 1);
			imported += keys[i].imported;
		}
		attributes += keys[i].attributes;
	}
	if (counted != NULL)
		plan->people = Min(plan->people, counted->people);
	/* without a word that is corrected, the tiers before have found it */
	corrected = people_corrected(query, keys, asked, total);
	plan->corrected = where & IN_TYPOS && !(where & IN_ATTRIBUTES) ? corrected : -1;
	choose_words(query, keys, where, false, counted != NULL && !(where & IN_ATTRIBUTES) ? counted : NULL, implied, total, plan);
	*countable = *plan;
	if (where & IN_ATTRIBUTES)
	{
		choose_words(query, keys, where, true, counted, implied, total, countable);
		if (query->nwords > 1 && countable->cost < plan->cost)
			*plan = *countable;
	}
	/* words in attributes are not combined with corrections */
	if (where & IN_TYPOS && where & IN_ATTRIBUTES && corrected * (COST_FETCHED + COST_POSTING_EXACT) < plan->cost)
	{
		plan->corrected = corrected;
		plan->nwords = 0;
		plan->sides = false;
		plan->cost = corrected * (COST_FETCHED + COST_POSTING_EXACT);
	}
	/* nor without a word in attributes */
	if (where & IN_ATTRIBUTES && attributes * (COST_FETCHED + COST_POSTING) < plan->cost)
	{
		plan->attributes_only = true;
		plan->corrected = -1;
		plan->cost = attributes * (COST_FETCHED + COST_POSTING);
	}
	/* who has a word in custom attributes comes from elsewhere, and is not intersected */
	if (imported > 0 && plan->corrected < 0)
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
double
plan_walking(Search *search, double people)
{
	return search->max * search->people / Max(people, 0.001);
}

/* The same where how many there are has been guessed from words that are in one name or address. */
double
plan_walking_maybe(Search *search, const SearchQuery *query, double people, int where)
{
	return plan_walking(search, people) * (query->nwords > 1 && !(where & IN_ATTRIBUTES) ? DOUBT : 1);
}

/*
 * The words of a plan that the index can count who has all of, without gathering much,
 * and what that costs; below 0 if there is nothing to count.
 */
double
plan_counting(const IndexKey *keys, const IndexPlan *plan, Counted *counted)
{
	int			sides[2] = {plan->corrected >= 0, 0};
	double		cost = Max(plan->corrected, 0) * COST_POSTING_EXACT;
	double		least = plan->corrected >= 0 ? cost : -1;

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
