/*
 * search_tiers.c
 *		Answers a tier of a search: by index or by a walk.
 *
 * Few are all fetched by index and ranked, beginning with the rarest words,
 * since an index gathers all that has a prefix before it can combine.  Many: first
 * who has the words in the name, by index; then profiles are walked newest first until
 * enough match.  A walk that goes on for too long gives way to the index.
 * How many there are our own statistics say (search_plan.c).
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "people.h"
#include "search_plan.h"
#include "tsearch/ts_utils.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define WALK_MOST			50000	/* profiles that a walk looks at */
#define EXCLUDING			0.01	/* of those expected that words are met by which exclude each other */
#define SCREEN_MOST			1000000	/* of which it looks at no more than the signatures of names */

Datum
search_parse_query(const char *text)
{
	return DirectFunctionCall1(tsqueryin, CStringGetDatum(text));
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
		if (plan->rarest_only ? i == plan->words[0] : !plan_implies(query, i))
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

/* Any of the words that others may be typos of. */
static void
append_corrections(StringInfo s, const SearchQuery *query)
{
	bool		first = true;

	appendStringInfoChar(s, '(');
	for (int i = 0; i < query->nwords; i++)
	{
		for (int j = 0; j < query->words[i].nall; j++)
		{
			for (int k = 0; k < query->words[i].ncorrections[j]; k++)
			{
				if (!first)
					appendStringInfoString(s, " | ");
				search_append_indexed(s, &query->words[i].corrections[j][k]);
				first = false;
			}
		}
	}
	appendStringInfoChar(s, ')');
}

/*
 * What words ask for in attributes or in name and e-mail: all of those that are looked for
 * there, or (elsewhere) any of the others.  Where a query is given, one of its words has
 * to be corrected.  NULL if there are none.
 */
static Datum
condition(const IndexKey *keys, const int *words, const bool *in_attributes, int nwords, bool attributes, bool elsewhere, const SearchQuery *corrected)
{
	StringInfoData s;

	initStringInfo(&s);
	if (corrected != NULL)
		append_corrections(&s, corrected);
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
 * Has the index count who has all of some words: they exclude each other often, and
 * what is known of each alone does not tell.  Returns whether it did.
 */
static bool
count_words(Search *search, const SearchQuery *query, const IndexKey *keys, bool corrected, Counted *counted)
{
	IndexRows  *rows = search_open_rows(search, &search->tables->addresses, "search", NULL, ROWS_BY_ADDRESS);
	LastCount  *last = &search->tables->last_count;

	/* what is gathered has to fit into memory, or the count is too high */
	search_settle(search);
	counted->people = search->people;
	for (int attributes = 0; rows != NULL && attributes < 2; attributes++)
	{
		Datum		words = condition(keys, counted->words, counted->in_attributes, counted->nwords, attributes, false,
									  corrected && !attributes ? query : NULL);
		int64		people;

		if (words == (Datum) 0)
			continue;
		/* a tier may ask for the same as the one before */
		if (last->query[attributes] == (Datum) 0 || !datumIsEqual(words, last->query[attributes], false, -1))
		{
			MemoryContext old = MemoryContextSwitchTo(search->context);

			last->people[attributes] = rows_count(rows, psprintf("%s_search_%s_idx", profiles_kinds[search->kind], attributes ? "attributes" : "search"), words);
			last->query[attributes] = datumCopy(words, false, -1);
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

	if (where & IN_ATTRIBUTES && search->tables->imported && plan->corrected < 0)
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
	for (int i = 0; i < plan->nwords; i++)
	{
		if (keys[plan->words[i]].address != NULL)
			take_addresses(search, query, &keys[plan->words[i]], where, tier);
	}
	/* of a whole address that is all there is, as a rule, and can be known without a plan */
	if (plan->nwords == 1 && plan->corrected < 0 && keys[plan->words[0]].only_address && !(where & IN_ATTRIBUTES) && is_no_word(search, &keys[plan->words[0]]))
		return;
	if (plan->corrected >= 0)
	{
		values[0] = condition(keys, plan->words, plan->in_attributes, plan->nwords, false, false, query);
		if (!plan->nobody)
			search_take_all(search, where & IN_ATTRIBUTES ? GET_BY_WORDS : GET_BY_INDEX, values, query, where, tier);
	}
	else if (plan->sides)
	{
		/* who has a word where few have it, then who has all where most have them */
		for (int attributes = 0; attributes < 2; attributes++)
		{
			values[0] = condition(keys, plan->words, plan->in_attributes, plan->nwords, attributes, true, NULL);
			if (values[0] != (Datum) 0)
				search_take_all(search, attributes ? GET_BY_ATTRIBUTES_ONLY : GET_BY_WORDS, values, query, where, tier);
		}
		if (plan->nobody)
			return;
		values[0] = condition(keys, plan->words, plan->in_attributes, plan->nwords, false, false, NULL);
		values[1] = condition(keys, plan->words, plan->in_attributes, plan->nwords, true, false, NULL);
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
		values[0] = condition(keys, plan->words, plan->in_attributes, plan->nwords, false, false, NULL);
		search_take_all(search, GET_BY_INDEX, values, query, where, tier);
	}
}

/* Are all words such as names have? */
static bool
are_names(const SearchQuery *query)
{
	for (int i = 0; i < query->nwords; i++)
	{
		/* who has its parts is not looked up, or who has it as an address */
		if (query->words[i].compound || query->words[i].address)
			return false;
	}
	return true;
}

/* The newest profiles, if a walk over them can pass over other names than those looked for; else NULL. */
static IndexRows *
signed_rows(Search *search)
{
	IndexRows  *rows;

	if (search->filter != NULL || search->people <= search->few)
		return NULL;
	rows = search_open_rows(search, &search->tables->newest, "profile", "last_seen", ROWS_IN_ORDER);
	return rows != NULL && rows->is_signed ? rows : NULL;
}

/* Have enough been found who meet words at some levels only, all of these having been looked up? */
static bool
named_suffice(Search *search, const SearchQuery *query, uint16 levels)
{
	int			n = 0;
	candidates_iterator iterator;
	Candidate  *candidate;

	if (!are_names(query))
		return false;
	candidates_start_iterate(search->found, &iterator);
	while (n < search->max && (candidate = candidates_iterate(search->found, &iterator)) != NULL)
	{
		if (!candidate->rejected && (candidate->levels & ~levels) == 0)
			n++;
	}
	return n >= search->max;
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
				plan_add_name(search, &keys[i], &word->terms[j], !begins);
		}
		/* an address is no name */
		if (keys[i].query.len == 0)
			return false;
	}
	plan_index(search, query, keys, IN_TERMS, NULL, &plan, &countable);
	if (plan.cost > Max(most, plan_walking_maybe(search, query, plan.people, IN_TERMS) * (signed_rows(search) != NULL ? COST_SCREENED : COST_WALKED)))
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

/*
 * Walks over those whose names have all words, newest first, if the walk is not longer than
 * something else takes; exact and beginning are as for walk().  Returns whether it found enough.
 */
static bool
walk_names(Search *search, const SearchQuery *query, Tier tier, double instead, double exact, double beginning)
{
	IndexRows  *rows = signed_rows(search);
	double		expected = plan_walking_maybe(search, query, beginning, IN_TERMS);
	double		least = exact > 0 ? Min(2 * plan_walking(search, exact), WALK_MOST) : 0;
	double		most = Min(Max(instead / COST_SCREENED, WALK_LEAST), SCREEN_MOST);
	NameScreen	screen;
	bool		screens = false;
	Taking		taking;

	if (rows == NULL || !are_names(query) || expected * COST_SCREENED > instead)
		return false;
	screen.nwords = query->nwords;
	for (int i = 0; i < query->nwords; i++)
	{
		const QueryWord *word = &query->words[i];
		uint64		common = ~UINT64CONST(0);	/* bits of all its terms */

		screen.nterms[i] = 0;
		for (int j = 0; j < word->nterms; j++)
		{
			int			mark = word->terms[j].lexeme[0] == '=' ? 1 : 0;
			uint64		bits = people_word_bits(word->terms[j].lexeme + mark, word->terms[j].len - mark);

			if (word->terms[j].lexeme[0] == '<' || word->terms[j].lexeme[0] == '@')
				continue;
			screen.bits[i][screen.nterms[i]++] = bits;
			common &= bits;
		}
		screens |= common != 0;
	}
	/* of first letters there are no bits */
	if (!screens)
		return false;
	search_begin_taking(&taking, search, query, IN_TERMS | IN_LEAVES, tier);
	taking.good = exact > 0 ? 1 << LEVEL_EXACT : NAME_LEVELS;
	rows_newest_named(rows, &screen, most);
	while (taking.nbest < search->max && rows_next(rows))
	{
		StoredProfile profile = search_stored_profile(search, rows);
		MemoryContext old = MemoryContextSwitchTo(taking.context);

		search_take_profile(&taking, &profile);
		MemoryContextSwitchTo(old);
		MemoryContextReset(taking.context);
		if (exact > 0 && rows->entries > least && named_suffice(search, query, NAME_LEVELS))
			break;
		/* words may exclude each other */
		if (rows->entries > Max(expected, least) && (double) rows->entries / (taking.nbest + 1) * (search->max - taking.nbest) > most)
			break;
	}
	MemoryContextDelete(taking.context);
	elog(DEBUG1, "search: names of " INT64_FORMAT " profiles, %.0f expected, %d good ones", rows->entries, expected, taking.nbest);
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
		plan_key(search, &query->words[i], where, &keys[i]);
		/* such a word nobody can meet */
		if (keys[i].query.len == 0)
			return;
	}
	plan_index(search, query, keys, where, NULL, &plan, &countable);
	walk_rows = plan_walking_maybe(search, query, plan.people * share * (where & IN_TYPOS ? search->met_share : 1), where);
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
		if (beginning > 0 && walk_names(search, query, tier, Max(Min(plan.cost, walk_rows * walked), AFFORDABLE), exact, Min(beginning, plan.people)))
			return;
		if (search->filter == NULL && !plan.attributes_only)
			counting = plan_counting(keys, &countable, &counted);
		if (counting * 2 > plan.cost)
			counting = -1;
		walks = plan.cost > walk_rows * walked;
		enough = walks && (counting < 0 || walk_rows * walked <= PATIENCE * counting) &&
			walk(&taking, search, query, where, tier, (counting < 0 ? plan.cost : PATIENCE * counting) / walked, false, exact, beginning);
		if (!enough && counting >= 0 && (walks || plan.sides < countable.sides || counted.nwords < plan.nwords) && count_words(search, query, keys, countable.corrected >= 0, &counted))
		{
			if (!(where & IN_TYPOS) && counted.people < plan.people * EXCLUDING)
				search->met_share = counted.people / plan.people;
			plan_index(search, query, keys, where, &counted, &plan, &countable);
			walk_rows = plan_walking(search, plan.people) - taking.walked;
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
