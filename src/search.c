/*
 * search.c
 *		search_users() and search_accounts().
 *
 * A query is met in tiers; a later one is asked only if those before gave fewer
 * people than wanted:
 *
 *		1	addresses and other compounds as a whole, by prefix
 *		2	all words as prefixes, in any order, in name and e-mail
 *		3	the same, words being attributes as well
 *		4	typos
 *
 * A tier is answered in one of two ways, by what our own statistics say.  Few:
 * all who match are fetched by index and ranked, beginning with the rarest words,
 * since an index gathers all that has a prefix before it can combine.  Many: first
 * who has the words in the name, by index; then profiles are walked newest first until
 * enough match.  A walk that goes on for too long gives way to the index.
 *
 * All SQL here runs as the extension's owner, in kept plans that are never
 * planned for a parameter's value.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "people.h"
#include "search.h"
#include "tsearch/ts_utils.h"
#include "upkeep.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(profiles_search_users);
PG_FUNCTION_INFO_V1(profiles_search_accounts);

#define SEARCH_MOST			1000	/* people that can be asked for */
#define WALK_MOST			50000	/* profiles that a walk looks at */
#define WALK_LEAST			500		/* so many it always does, to rank among them */
#define FEW_LEAST			2000	/* fewer are always fetched by index */
#define KEY_WORDS			4		/* of a query that go into the index */
#define FETCH_ROWS			5000
#define ADDRESS_CHARS		5		/* of an address that statistics have, with the < before it */
#define SPLIT_WORDS			2		/* of a query that are read as two words of a name */
#define SPLIT_MOST			20		/* letters of the first of these */
#define FILTERED_KEYS		20000	/* so many a filter may leave that is applied first */

/* Where a word of a query is looked for. */
#define IN_TERMS		1		/* as a whole */
#define IN_LEAVES		2		/* taken apart */
#define IN_ATTRIBUTES	4
#define IN_TYPOS		8

typedef struct Candidate
{
	const char *key;
	uint32		hash;
	char		status;
	bool		rejected;		/* by the filter */
	bool		dated;			/* seen is known */
	bool		fetched;		/* and what is shown beside */
	uint16		levels;			/* bit per Level that a word was met at */
	uint64		score;
	TimestampTz seen;
	char	   *name;
	char	   *email;
	const Term *correction;
	const SearchQuery *query;
} Candidate;

#define SH_PREFIX candidates
#define SH_ELEMENT_TYPE Candidate
#define SH_KEY_TYPE const char *
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* What all alternatives of a search share. */
typedef struct SearchTables
{
	Oid			namespace;
	IndexRows  *profiles;		/* by key; NULL until needed, as the others */
	IndexRows  *vectors;		/* by key */
	IndexRows  *newest;			/* profiles, newest first */
	IndexRows  *addresses;		/* vectors by address */
	bool		imported;		/* are there custom attributes? */
	AttrNumber	key_column;		/* of profiles; 0: not looked up */
	AttrNumber	name_column;
	AttrNumber	email_column;	/* 0: there is none */
	AttrNumber	seen_column;
	SPIPlanPtr	filtered_walks[2];	/* without and with attributes */
	SPIPlanPtr	filtered_rows;
} SearchTables;

typedef struct Search
{
	int			kind;
	SearchTables *tables;
	int			max;
	char	   *filter;			/* checked SQL over alias p; NULL if there is none */
	Datum		only;			/* text[]: keys that pass the filter, if they are few; else 0 */
	double		people;			/* how many there are, about; 0: not known, so not many */
	double		few;			/* so many are fetched by index */
	MemoryContext context;
	candidates_hash *found;		/* of the alternative that is being searched */
	int			nfound;			/* not rejected */
	double		filter_share;	/* of all that pass the filter, about */
} Search;

/* ---------- statements ---------- */

typedef enum Statement
{
	GET_BY_INDEX,
	GET_BY_WORD,				/* with KEY_WORDS variants, as the next */
	GET_BY_WORD_2,
	GET_BY_WORD_3,
	GET_BY_WORD_4,
	GET_BY_ATTRIBUTE,
	GET_BY_ATTRIBUTE_2,
	GET_BY_ATTRIBUTE_3,
	GET_BY_ATTRIBUTE_4,
	GET_BY_ATTRIBUTES_ONLY,
	GET_BY_IMPORTED,			/* custom attributes */
	GET_BY_KEYS,
	GET_CORRECTIONS,
	GET_NEAR,					/* words of whoever has a word that begins as one does */
	GET_MATCHED,
	STATEMENTS
} Statement;

/* conditions on search, as its indexes have it; of a word its query, and between which its address is */
#define WORDS "profiles._indexed_words(s.search) @@ "
#define ADDRESS "profiles._indexed_address(s.search) COLLATE \"C\""
#define IN_PERSON(query, from, to) WORDS "$" #query " OR (" ADDRESS " >= $" #from " AND " ADDRESS " < $" #to ")"
#define WORD_CONDITION(query, from, to) "(" IN_PERSON(query, from, to) ")"
#define ATTRIBUTE_CONDITION(query, from, to) "(s.stored @@ $" #query " OR " IN_PERSON(query, from, to) ")"
#define CONDITIONS_2(condition) condition(1, 2, 3) " AND " condition(4, 5, 6)
#define CONDITIONS_3(condition) CONDITIONS_2(condition) " AND " condition(7, 8, 9)
#define CONDITIONS_4(condition) CONDITIONS_3(condition) " AND " condition(10, 11, 12)
#define WORD_TYPES TSQUERYOID, TEXTOID, TEXTOID
#define SELECT_PEOPLE "SELECT s.key, s.search, s.attributes FROM profiles.%1$s_search s WHERE "
#define SELECT_VECTORS "SELECT s.key, s.search, s.attributes FROM profiles.%1$s_searched s WHERE "

/* %1$s is the kind, %2$s its columns of name and e-mail */
static const struct
{
	const char *sql;
	Oid			types[3 * KEY_WORDS];
} statements[STATEMENTS] = {
	/* where no attribute is looked at */
	[GET_BY_INDEX] = {SELECT_PEOPLE WORDS "$1", {TSQUERYOID}},
	[GET_BY_WORD] = {SELECT_PEOPLE WORD_CONDITION(1, 2, 3), {WORD_TYPES}},
	[GET_BY_WORD_2] = {SELECT_PEOPLE CONDITIONS_2(WORD_CONDITION), {WORD_TYPES, WORD_TYPES}},
	[GET_BY_WORD_3] = {SELECT_PEOPLE CONDITIONS_3(WORD_CONDITION), {WORD_TYPES, WORD_TYPES, WORD_TYPES}},
	[GET_BY_WORD_4] = {SELECT_PEOPLE CONDITIONS_4(WORD_CONDITION), {WORD_TYPES, WORD_TYPES, WORD_TYPES, WORD_TYPES}},
	[GET_BY_ATTRIBUTE] = {SELECT_VECTORS ATTRIBUTE_CONDITION(1, 2, 3), {WORD_TYPES}},
	[GET_BY_ATTRIBUTE_2] = {SELECT_VECTORS CONDITIONS_2(ATTRIBUTE_CONDITION), {WORD_TYPES, WORD_TYPES}},
	[GET_BY_ATTRIBUTE_3] = {SELECT_VECTORS CONDITIONS_3(ATTRIBUTE_CONDITION), {WORD_TYPES, WORD_TYPES, WORD_TYPES}},
	[GET_BY_ATTRIBUTE_4] = {SELECT_VECTORS CONDITIONS_4(ATTRIBUTE_CONDITION), {WORD_TYPES, WORD_TYPES, WORD_TYPES, WORD_TYPES}},
	[GET_BY_ATTRIBUTES_ONLY] = {SELECT_VECTORS "s.stored @@ $1", {TSQUERYOID}},
	[GET_BY_IMPORTED] = {SELECT_VECTORS "s.key IN (SELECT i.key FROM profiles.%1$s_imported i WHERE i.attributes @@ $1)", {TSQUERYOID}},
	[GET_BY_KEYS] = {"SELECT s.key, s.search, s.attributes, k.seen FROM unnest($1, $2) k (key, seen) JOIN profiles.%1$s_searched s ON s.key = k.key",
	{TEXTARRAYOID, TIMESTAMPTZARRAYOID}},
	[GET_CORRECTIONS] = {"SELECT d.word, d.distance, coalesce(t.people, 0)::float8 "
		"FROM (SELECT w.word, profiles._word_distance(w.word, $2, $3) AS distance "
	"      FROM profiles.%1$s_word w WHERE w.keys && $1 OFFSET 0) d "
	"LEFT JOIN profiles.%1$s_search_stat t ON t.word = d.word "
	"WHERE d.distance <= $3 AND d.distance > 0 ORDER BY d.distance, t.people DESC NULLS LAST, d.word LIMIT 24",
	{INT4ARRAYOID, TEXTOID, INT4OID}},
	[GET_NEAR] = {"SELECT d.word, d.distance, count(*)::float8 "
		"FROM (SELECT l.word, profiles._word_distance(l.word, $2, $3) AS distance "
		"      FROM (SELECT s.search FROM profiles.%1$s_search s WHERE " WORDS "$1 LIMIT 300) s, "
		"           unnest(tsvector_to_array(s.search)) l (word) "
	"      WHERE starts_with(l.word, $4) OFFSET 0) d "
	"WHERE d.distance <= $3 AND d.distance > 0 GROUP BY d.word, d.distance ORDER BY d.distance, d.word LIMIT 8",
	{TSQUERYOID, TEXTOID, INT4OID, TEXTOID}},
	[GET_MATCHED] = {"SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) "
		"FROM profiles.%1$ss p, jsonb_each_text(to_jsonb(p)) x JOIN pg_attribute a ON a.attrelid = 'profiles.%1$ss'::regclass AND a.attname = x.key "
	"WHERE p.%1$s_id = $1 AND x.key NOT IN ('%1$s_id', '%1$s_name', '%1$s_email') AND profiles._attribute_vector(x.value) @@ $2", {TEXTOID, TSQUERYOID}}
};

static SPIPlanPtr plans[PROFILES_KINDS][STATEMENTS];

static const char *
shown_columns(int kind)
{
	return kind == 0 ? "p.user_name, p.user_email" : "p.account_name, NULL::text";
}

static SPIPlanPtr
prepare(const char *sql, int nargs, const Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, nargs, (Oid *) types, CURSOR_OPT_GENERIC_PLAN | CURSOR_OPT_FAST_PLAN);

	if (plan == NULL)
		elog(ERROR, "could not prepare a search: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static SPIPlanPtr
plan_of(int kind, Statement statement)
{
	SPIPlanPtr *plan = &plans[kind][statement];

	if (*plan == NULL)
	{
		int			nargs = 0;
		SPIPlanPtr	prepared;

		while (nargs < lengthof(statements[statement].types) && OidIsValid(statements[statement].types[nargs]))
			nargs++;
		prepared = prepare(psprintf(statements[statement].sql, profiles_kinds[kind], shown_columns(kind)),
						   nargs, statements[statement].types);
		if (SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not keep the plan of a search");
		*plan = prepared;
	}
	return *plan;
}

/* A table's rows by index; they are closed in the end. */
static IndexRows *
open_rows(Search *search, IndexRows **rows, const char *suffix, const char *column, RowsBy by)
{
	if (*rows == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(search->context);

		*rows = rows_open(search->tables->namespace, profiles_kinds[search->kind], suffix, column, by);
		MemoryContextSwitchTo(old);
	}
	return *rows;
}

static void
close_rows(IndexRows *rows)
{
	if (rows != NULL)
		rows_close(rows);
}

static IndexRows *
profiles_by_key(Search *search)
{
	IndexRows  *rows = open_rows(search, &search->tables->profiles, "profile", "key", ROWS_BY_KEY);

	if (rows == NULL)
		elog(ERROR, "stored profiles have no index on their key");
	return rows;
}

static IndexRows *
vectors_by_key(Search *search)
{
	IndexRows  *rows = open_rows(search, &search->tables->vectors, "search", "key", ROWS_BY_KEY);

	if (rows == NULL)
		elog(ERROR, "what is searched has no index on its key");
	return rows;
}

/* What a search reads of a profile. */
typedef struct StoredProfile
{
	Datum		key;
	text	   *name;			/* these two may be NULL */
	text	   *email;
	TimestampTz seen;
} StoredProfile;

static text *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetTextPP(value);
}

/* The profile of a row, in the current memory context as far as it is copied. */
static StoredProfile
stored_profile(Search *search, IndexRows *rows)
{
	SearchTables *tables = search->tables;
	TupleTableSlot *slot = rows->slot;
	StoredProfile profile = {0};
	bool		isnull;
	Datum		value;

	if (tables->key_column == 0)
	{
		Oid			table = RelationGetRelid(rows->table);
		const char *kind = profiles_kinds[search->kind];

		tables->name_column = get_attnum(table, psprintf("%s_name", kind));
		tables->email_column = get_attnum(table, psprintf("%s_email", kind));
		tables->seen_column = get_attnum(table, "last_seen");
		tables->key_column = get_attnum(table, "key");
	}
	profile.key = slot_getattr(slot, tables->key_column, &isnull);
	value = slot_getattr(slot, tables->name_column, &isnull);
	profile.name = text_or_null(value, isnull);
	if (tables->email_column > 0)
	{
		value = slot_getattr(slot, tables->email_column, &isnull);
		profile.email = text_or_null(value, isnull);
	}
	profile.seen = DatumGetTimestampTz(slot_getattr(slot, tables->seen_column, &isnull));
	return profile;
}

static void
check_result(int rc)
{
	if (rc < 0)
		elog(ERROR, "search failed: %s", SPI_result_code_string(rc));
}

static void
execute(Search *search, Statement statement, Datum *values)
{
	check_result(SPI_execute_plan(plan_of(search->kind, statement), values, NULL, true, 0));
}

static Datum
column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

static char *
text_column(Search *search, uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);
	MemoryContext old = MemoryContextSwitchTo(search->context);
	char	   *result = isnull ? NULL : TextDatumGetCString(value);

	MemoryContextSwitchTo(old);
	return result;
}

/* ---------- how a person meets a word ---------- */

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
	if (where & IN_LEAVES && best < LEVEL_EXACT)
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

/* The tier is the first thing that counts. */
typedef enum Tier
{
	TIER_TYPOS = 1,
	TIER_ATTRIBUTES,			/* or compounds taken apart */
	TIER_WORDS
} Tier;

#define SCORE_BITS	52

/*
 * The rank key: tier, few letters changed, the whole field, then the number of
 * words met at each level from the best on.  0: a word is not met.
 */
static uint64
score(TSVector vector, TSVector attributes, const SearchQuery *query, int where, Tier tier,
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
	whole = (counts[LEVEL_EXACT] == query->nwords && name_words(vector) == query->natoms) ||
		(query->nwords == 1 && counts[LEVEL_ADDRESS] == 1);
	result = tier;
	result = result << 4 | (15 - Min(distance, 15));
	result = result << 1 | whole;
	for (Level level = LEVEL_ADDRESS; level > LEVEL_TYPO; level--)
		result = result << 5 | Min(counts[level], 31);
	return result;
}

/* ---------- candidates ---------- */

static Candidate *
add_candidate(Search *search, Datum key, uint64 points, uint16 levels, const Term *correction,
			  const SearchQuery *query)
{
	MemoryContext old = MemoryContextSwitchTo(search->context);
	char	   *name = TextDatumGetCString(key);
	bool		found;
	Candidate  *candidate = candidates_insert(search->found, name, &found);

	MemoryContextSwitchTo(old);
	if (found)
		pfree(name);
	else
	{
		candidate->rejected = candidate->dated = candidate->fetched = false;
		candidate->score = 0;
		candidate->seen = DT_NOBEGIN;
		candidate->name = candidate->email = NULL;
		search->nfound++;
	}
	if (points > candidate->score)
	{
		candidate->score = points;
		candidate->levels = levels;
		candidate->correction = correction;
		candidate->query = query;
	}
	return candidate;
}

/* Keeps what is shown of a candidate. */
static void
keep_shown(Search *search, Candidate *candidate, const StoredProfile *profile)
{
	MemoryContext old = MemoryContextSwitchTo(search->context);

	if (!candidate->fetched)
	{
		candidate->name = profile->name == NULL ? NULL : text_to_cstring(profile->name);
		candidate->email = profile->email == NULL ? NULL : text_to_cstring(profile->email);
		candidate->seen = profile->seen;
		candidate->dated = candidate->fetched = true;
	}
	MemoryContextSwitchTo(old);
}

/*
 * May somebody meet all words in name and address?  Each form of a word is part of
 * the text without all but letters and digits; that rules out most of a walk in no
 * time, where the text is ASCII.
 */
static bool
may_meet(text *name, text *email, const SearchQuery *query)
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

/* How rows are taken: for which query, and when a walk is over. */
typedef struct Taking
{
	Search	   *search;
	const SearchQuery *query;
	int			where;
	Tier		tier;
	MemoryContext context;		/* of a row */
	bool		walk;
	int			walked;
	int			most;			/* profiles that a walk looks at */
	int			least;
	double		instead;		/* so many take as long as the index; 0: not known */
	int			before;			/* found before it */
	int			nbest;			/* met at good levels only */
	uint16		good;
} Taking;

static void
begin_taking(Taking *taking, Search *search, const SearchQuery *query, int where, Tier tier)
{
	memset(taking, 0, sizeof(Taking));
	taking->search = search;
	taking->query = query;
	taking->where = where;
	taking->tier = tier;
	taking->context = AllocSetContextCreate(CurrentMemoryContext, "search row", ALLOCSET_SMALL_SIZES);
}

/* Scores somebody by vectors; in the memory context of the row. */
static Candidate *
take_vectors(Taking *taking, Datum key, TSVector vector, TSVector attributes)
{
	uint16		levels;
	const Term *correction;
	uint64		points = score(vector, attributes, taking->query, taking->where, taking->tier, &levels, &correction);

	if (points == 0)
		return NULL;
	if ((levels & ~taking->good) == 0)
		taking->nbest++;
	return add_candidate(taking->search, key, points, levels, correction, taking->query);
}

/*
 * Scores somebody by name and address.  To take these apart takes less time than
 * to fetch what became of them.
 */
static void
take_profile(Taking *taking, const StoredProfile *profile)
{
	Candidate  *candidate;

	if (!(taking->where & IN_TYPOS) && !may_meet(profile->name, profile->email, taking->query))
		return;
	candidate = take_vectors(taking, profile->key, people_vector(profile->name, profile->email, false), NULL);
	if (candidate != NULL)
		keep_shown(taking->search, candidate, profile);
}

/*
 * Is a walk not over?  It is if the index would be done before it, by what has been
 * found so far: words may exclude each other.
 */
static bool
goes_on(const Taking *taking)
{
	int			max = taking->search->max;
	int			found = taking->search->nfound - taking->before;

	if (taking->walked >= taking->most || taking->nbest >= max)
		return false;
	if (found >= max)
		return taking->walked < taking->least;
	return taking->instead == 0 || taking->walked < WALK_LEAST ||
		(double) taking->walked / (found + 1) * (max - found) < taking->instead;
}

typedef struct RowReceiver
{
	DestReceiver pub;
	Taking	   *taking;
} RowReceiver;

/* A row of a statement: key, vectors and, of a walk, last_seen; or key, name, e-mail, last_seen. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Taking	   *taking = ((RowReceiver *) self)->taking;
	MemoryContext old = MemoryContextSwitchTo(taking->context);

	slot_getallattrs(slot);
	taking->walked++;
	if (taking->walk && !(taking->where & IN_ATTRIBUTES))
	{
		StoredProfile profile = {slot->tts_values[0], text_or_null(slot->tts_values[1], slot->tts_isnull[1]),
		text_or_null(slot->tts_values[2], slot->tts_isnull[2]), DatumGetTimestampTz(slot->tts_values[3])};

		take_profile(taking, &profile);
	}
	else
	{
		Candidate  *candidate = take_vectors(taking, slot->tts_values[0], DatumGetTSVector(slot->tts_values[1]),
											 DatumGetTSVector(slot->tts_values[2]));

		if (candidate != NULL && taking->walk)
		{
			candidate->seen = DatumGetTimestampTz(slot->tts_values[3]);
			candidate->dated = true;
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(taking->context);
	return !taking->walk || goes_on(taking);
}

static void
receive_nothing(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
end_receiving(DestReceiver *self)
{
}

/* Takes the rows of a plan, as they come. */
static void
take_plan(Taking *taking, SPIPlanPtr plan, Datum *values)
{
	RowReceiver receiver = {{receive_row, receive_nothing, end_receiving, end_receiving, DestNone}, taking};
	SPIExecuteOptions options = {.read_only = true,.dest = &receiver.pub};
	int			nargs = SPI_getargcount(plan);

	options.params = makeParamList(nargs);
	for (int i = 0; i < nargs; i++)
		options.params->params[i] = (ParamExternData)
	{
		values[i], false, PARAM_FLAG_CONST, SPI_getargtypeid(plan, i)
	};
	check_result(SPI_execute_plan_extended(plan, &options));
}

/* All that a statement gives. */
static void
take_all(Search *search, Statement statement, Datum *values, const SearchQuery *query, int where, Tier tier)
{
	Taking		taking;

	begin_taking(&taking, search, query, where, tier);
	take_plan(&taking, plan_of(search->kind, statement), values);
	MemoryContextDelete(taking.context);
}

/* Takes those who have keys, with their custom attributes; seen is when. */
static void
take_keys_imported(Taking *taking, Datum *keys, int nkeys, TimestampTz *seen)
{
	int			walked = taking->walked;
	Datum	   *times = palloc0(nkeys * sizeof(Datum));
	ArrayType  *arrays[2];
	Datum		values[2];

	for (int i = 0; seen != NULL && i < nkeys; i++)
		times[i] = TimestampTzGetDatum(seen[i]);
	arrays[0] = construct_array(keys, nkeys, TEXTOID, -1, false, TYPALIGN_INT);
	arrays[1] = construct_array(times, nkeys, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	for (int i = 0; i < 2; i++)
		values[i] = PointerGetDatum(arrays[i]);
	take_plan(taking, plan_of(taking->search->kind, GET_BY_KEYS), values);
	for (int i = 0; i < 2; i++)
		pfree(arrays[i]);
	pfree(times);
	/* the walk counts */
	taking->walked = walked;
}

/* Takes rows of vectors; seen, unless it is NULL, is when those of the keys asked for were. */
static void
take_rows(Taking *taking, IndexRows *rows, TimestampTz *seen)
{
	Oid			table = RelationGetRelid(rows->table);
	AttrNumber	key = get_attnum(table, "key");
	AttrNumber	vector = get_attnum(table, "search");
	AttrNumber	attributes = get_attnum(table, "attributes");

	while (rows_next(rows))
	{
		MemoryContext old = MemoryContextSwitchTo(taking->context);
		bool		isnull;
		Candidate  *candidate = take_vectors(taking, slot_getattr(rows->slot, key, &isnull),
											 DatumGetTSVector(slot_getattr(rows->slot, vector, &isnull)),
											 DatumGetTSVector(slot_getattr(rows->slot, attributes, &isnull)));

		if (candidate != NULL && seen != NULL)
		{
			candidate->seen = seen[rows->key];
			candidate->dated = true;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(taking->context);
	}
}

/* Takes those who have keys; seen, unless it is NULL, is when. */
static void
take_keys(Taking *taking, Datum *keys, int nkeys, TimestampTz *seen)
{
	IndexRows  *rows;

	if (taking->where & IN_ATTRIBUTES && taking->search->tables->imported)
	{
		take_keys_imported(taking, keys, nkeys, seen);
		return;
	}
	rows = vectors_by_key(taking->search);
	rows_of_keys(rows, keys, nkeys);
	take_rows(taking, rows, seen);
}

/* Those who pass the filter, if they are few. */
static void
take_only(Search *search, const SearchQuery *query, int where, Tier tier)
{
	Taking		taking;
	Datum	   *keys;
	int			nkeys;

	begin_taking(&taking, search, query, where, tier);
	deconstruct_array(DatumGetArrayTypeP(search->only), TEXTOID, -1, false, TYPALIGN_INT, &keys, NULL, &nkeys);
	take_keys(&taking, keys, nkeys, NULL);
	MemoryContextDelete(taking.context);
	pfree(keys);
}

/* Fetches what is shown of candidates, and rejects those that the filter does. */
static void
fetch_rows(Search *search, Candidate **candidates, int n)
{
	Candidate **missing = palloc_extended(n * sizeof(Candidate *), MCXT_ALLOC_HUGE);
	Datum	   *keys = palloc_extended(n * sizeof(Datum), MCXT_ALLOC_HUGE);
	int			nkeys = 0;

	for (int i = 0; i < n; i++)
	{
		if (!candidates[i]->fetched && !candidates[i]->rejected)
		{
			missing[nkeys] = candidates[i];
			keys[nkeys++] = CStringGetTextDatum(candidates[i]->key);
		}
	}
	if (search->filter == NULL && nkeys > 0)
	{
		IndexRows  *rows = profiles_by_key(search);

		rows_of_keys(rows, keys, nkeys);
		while (rows_next(rows))
		{
			StoredProfile profile = stored_profile(search, rows);

			keep_shown(search, missing[rows->key], &profile);
		}
	}
	for (int from = 0; search->filter != NULL && from < nkeys; from += FETCH_ROWS)
	{
		Datum		array = PointerGetDatum(construct_array(keys + from, Min(FETCH_ROWS, nkeys - from), TEXTOID, -1, false, TYPALIGN_INT));

		if (search->tables->filtered_rows == NULL)
		{
			Oid			types[] = {TEXTARRAYOID};

			search->tables->filtered_rows = prepare(psprintf("SELECT p.%1$s_id, p.last_seen, %2$s FROM unnest($1) k (key) JOIN profiles.%1$ss p ON p.%1$s_id = k.key "
													 "WHERE %3$s", profiles_kinds[search->kind], shown_columns(search->kind), search->filter), 1, types);
		}
		check_result(SPI_execute_plan(search->tables->filtered_rows, &array, NULL, true, 0));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			char	   *key = text_column(search, i, 1);
			Candidate  *candidate = candidates_lookup(search->found, key);

			pfree(key);
			if (candidate == NULL)
				continue;
			candidate->seen = DatumGetTimestampTz(column(i, 2, &isnull));
			candidate->name = text_column(search, i, 3);
			candidate->email = text_column(search, i, 4);
			candidate->dated = candidate->fetched = true;
		}
		SPI_freetuptable(SPI_tuptable);
		pfree(DatumGetPointer(array));
	}
	for (int i = 0; i < nkeys; i++)
	{
		if (!missing[i]->fetched)
		{
			missing[i]->rejected = true;
			search->nfound--;
		}
		pfree(DatumGetPointer(keys[i]));
	}
	pfree(missing);
	pfree(keys);
}

static int
compare_candidates(const void *x, const void *y)
{
	const Candidate *a = *(Candidate *const *) x;
	const Candidate *b = *(Candidate *const *) y;

	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	if (a->seen != b->seen)
		return a->seen > b->seen ? -1 : 1;
	return strcmp(a->key, b->key);
}

static Candidate **
list_candidates(Search *search, int *n)
{
	Candidate **list = palloc_extended(Max(search->found->members, 1) * sizeof(Candidate *), MCXT_ALLOC_HUGE);
	candidates_iterator iterator;
	Candidate  *candidate;

	*n = 0;
	candidates_start_iterate(search->found, &iterator);
	while ((candidate = candidates_iterate(search->found, &iterator)) != NULL)
	{
		if (!candidate->rejected)
			list[(*n)++] = candidate;
	}
	qsort(list, *n, sizeof(Candidate *), compare_candidates);
	return list;
}

/* With a filter, only who passes it has been found. */
static void
apply_filter(Search *search)
{
	Candidate **list;
	int			n;

	if (search->filter == NULL || search->only != (Datum) 0)
		return;
	list = list_candidates(search, &n);
	fetch_rows(search, list, n);
	pfree(list);
}

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
static double
term_frequency(Search *search, const Term *term, bool exact)
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
		double		f = term_frequency(search, &word->leaves[i], false);

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
#define COST_POSTING	0.5		/* one who has a word, found in the index */
#define COST_POSTING_EXACT	0.05	/* the very word, which the index need not gather */
#define COST_FETCHED	7		/* who meets what went into the index, and when that one was seen */
#define COST_DATED		5		/* of that, to look up when */
#define COST_WALKED		1.5
#define COST_WALKED_TYPOS	3
#define COST_WALKED_VECTORS	9
#define COST_WALKED_IMPORTED	20
#define COST_IMPORTED	12		/* who has a word in custom attributes: to find, and to look at */
#define DOUBT			2		/* so much longer a walk may be, since words depend on each other */

/* What of a word goes into the index, and how many people that brings, about. */
typedef struct IndexKey
{
	StringInfoData query;		/* empty: nobody can meet it */
	const Term *address;		/* one of these; NULL if none is an address */
	bool		only_address;
	double		people;
	double		attributes;		/* of these, in attributes but custom ones */
	double		imported;		/* of these, in custom attributes */
	double		gathering;		/* what it costs to have the index gather them */
} IndexKey;

/* A term as the index has it, where words of a name are behind a = alone. */
static void
append_indexed(StringInfo s, const Term *term)
{
	Term		name = *term;

	people_append_term(s, term);
	if (strchr("<=@", term->lexeme[0]) != NULL)
		return;
	/* of first letters there is a lexeme, which spares gathering all that begin so */
	name.prefix = term->prefix && pg_mbstrlen_with_len(term->lexeme, term->len) > BEGINNING_CHARS;
	name.lexeme = psprintf(term->prefix && !name.prefix ? "=%.*s*" : "=%.*s", term->len, term->lexeme);
	name.len = strlen(name.lexeme);
	appendStringInfoString(s, " | ");
	people_append_term(s, &name);
}

static void
add_alternative(IndexKey *key, const Term *term, bool exact)
{
	Term		copy = *term;

	if (key->query.len > 0)
		appendStringInfoString(&key->query, " | ");
	copy.prefix &= !exact;
	append_indexed(&key->query, &copy);
}

static void
make_index_key(Search *search, const QueryWord *word, int where, IndexKey *key)
{
	double		frequency = 0;
	const Term *leaf;

	memset(key, 0, sizeof(IndexKey));
	initStringInfo(&key->query);
	key->only_address = word->nterms == 1;
	for (int i = 0; i < word->nterms; i++)
	{
		Frequency	frequencies = term_frequencies(search, &word->terms[i], false);

		if (word->terms[i].lexeme[0] == '<')
			key->address = &word->terms[i];
		else
			key->only_address = false;
		add_alternative(key, &word->terms[i], false);
		/* whose address begins with a word mostly has it as a word as well */
		key->people = word->compound ? key->people + frequencies.people : Max(key->people, frequencies.people);
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
	key->gathering = key->people * COST_POSTING;
	if (where & IN_TYPOS)
	{
		/* the leaf that the fewest have, in whatever spelling */
		int			best = -1;
		double		least = 0;

		key->only_address = false;
		for (int i = 0; i < word->nall; i++)
		{
			double		people = word->people[i] + term_frequency(search, &word->leaves[i], false);

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
			key->gathering += word->people[best] * COST_POSTING_EXACT + (least - word->people[best]) * COST_POSTING;
		}
	}
	key->people += key->attributes + key->imported;
	key->gathering += key->attributes * COST_POSTING;
}

static Datum
parse_query(const char *text)
{
	return DirectFunctionCall1(tsqueryin, CStringGetDatum(text));
}

/* ---------- tiers ---------- */

/* How to answer a tier by index, and what that costs. */
typedef struct IndexPlan
{
	int			words[KEY_WORDS];	/* that go into the index, the rarest first */
	int			nwords;
	bool		attributes_only;	/* rather: one word or another in attributes */
	bool		corrections_only;	/* rather: one word or another corrected */
	bool		rarest_only;	/* of custom attributes: the first of these, not one word or another */
	double		cost;
	double		people;			/* who meet all words, if these don't depend on each other */
} IndexPlan;

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

static void
plan_index(Search *search, const SearchQuery *query, IndexKey *keys, int where, IndexPlan *plan)
{
	double		total = Max(search->people, 1);
	double		rows = total;
	double		attributes = 0;
	double		imported = 0;
	bool		used[QUERY_MAX_WORDS];

	plan->nwords = 0;
	plan->attributes_only = plan->corrections_only = plan->rarest_only = false;
	plan->cost = 0;
	plan->people = total;
	for (int i = 0; i < query->nwords; i++)
	{
		used[i] = is_implied(query, i);
		if (!used[i])
		{
			plan->people *= Min(keys[i].people / total, 1);
			imported += keys[i].imported;
		}
		attributes += keys[i].attributes;
	}
	while (plan->nwords < KEY_WORDS)
	{
		int			rarest = -1;
		double		fewer;

		for (int i = 0; i < query->nwords; i++)
		{
			if (!used[i] && (rarest < 0 || keys[i].people < keys[rarest].people))
				rarest = i;
		}
		if (rarest < 0)
			break;
		/* a further word has to spare more rows than it costs */
		fewer = rows * Min(keys[rarest].people / total, 1);
		if (plan->nwords > 0 && (rows - fewer) * COST_FETCHED < keys[rarest].gathering)
			break;
		used[rarest] = true;
		plan->words[plan->nwords++] = rarest;
		plan->cost += keys[rarest].gathering;
		rows = fewer;
	}
	plan->cost += rows * COST_FETCHED;
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
		plan->cost = attributes * (COST_FETCHED + COST_POSTING);
	}
	/* who has a word in custom attributes comes from elsewhere, and is not intersected */
	if (imported > 0 && plan->nwords > 0)
	{
		const IndexKey *rarest = &keys[plan->words[0]];
		double		instead = rarest->gathering + (rarest->people - rarest->imported) * COST_FETCHED + rarest->imported * COST_IMPORTED;

		plan->cost += imported * COST_IMPORTED;
		if (instead < plan->cost)
		{
			plan->rarest_only = true;
			plan->attributes_only = false;
			plan->nwords = 1;
			plan->cost = instead;
		}
	}
}

/* How far a walk may have to go. */
static double
walking(Search *search, const SearchQuery *query, double people)
{
	return search->max * search->people / Max(people, 0.001) * (query->nwords > 1 ? DOUBT : 1);
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
			appendStringInfo(&s, "%s%s", s.len > 0 ? " | " : "", keys[i].query.data);
	}
	value = parse_query(s.data);
	take_all(search, GET_BY_IMPORTED, &value, query, where, tier);
}

/*
 * The addresses that begin as a term does, as their index has them: from one on, and
 * before another; none if it is NULL.
 */
static void
address_range(const Term *term, Datum *from, Datum *to)
{
	const char *lexeme = term == NULL ? "" : term->lexeme;
	int			len = term == NULL ? 0 : people_indexed_bytes(lexeme, term->len);
	text	   *behind = cstring_to_text_with_len(lexeme, len);

	*from = PointerGetDatum(cstring_to_text_with_len(lexeme, len));
	/* they are compared as bytes, and at least the mark can be greater */
	while (len > 0 && (unsigned char) lexeme[len - 1] == 0xFF)
		len--;
	if (len > 0)
		VARDATA(behind)[len - 1]++;
	SET_VARSIZE(behind, VARHDRSZ + len);
	*to = PointerGetDatum(behind);
}

/*
 * Who has an address that begins so, without a plan.  Further addresses of who has several
 * are in the index of words; false if there are any, or no index of addresses.
 */
static bool
take_addresses(Search *search, const SearchQuery *query, const IndexKey *key, int where, Tier tier)
{
	IndexRows  *rows = open_rows(search, &search->tables->addresses, "search", NULL, ROWS_BY_RANGE);
	Taking		taking;
	Datum		from;
	Datum		to;

	if (rows == NULL ||
		rows_may_meet(rows, psprintf("%s_search_search_idx", profiles_kinds[search->kind]), parse_query(key->query.data)))
		return false;
	address_range(key->address, &from, &to);
	begin_taking(&taking, search, query, where, tier);
	rows_of_range(rows, from, to);
	take_rows(&taking, rows, NULL);
	MemoryContextDelete(taking.context);
	return true;
}

static void
take_by_index(Search *search, const SearchQuery *query, IndexKey *keys, const IndexPlan *plan, int where, Tier tier)
{
	Datum		values[3 * KEY_WORDS];
	StringInfoData s;
	bool		address = false;
	bool		ranges = (where & IN_ATTRIBUTES) != 0;

	/* who has "O'Brien" joined may have it in parts as well, which is better */
	for (int i = 0; i < query->nwords; i++)
		address |= query->words[i].address;
	if (!address)
		where |= IN_LEAVES;

	if (where & IN_ATTRIBUTES && search->tables->imported)
		take_imported(search, query, keys, plan, where, tier);
	initStringInfo(&s);
	if (plan->attributes_only)
	{
		for (int i = 0; i < query->nwords; i++)
			appendStringInfo(&s, "%s%s", i > 0 ? " | " : "", keys[i].query.data);
		values[0] = parse_query(s.data);
		take_all(search, GET_BY_ATTRIBUTES_ONLY, values, query, where, tier);
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
					append_indexed(&s, &query->words[i].corrections[j][k]);
				}
			}
		}
		values[0] = parse_query(s.data);
		take_all(search, GET_BY_INDEX, values, query, where, tier);
		return;
	}
	if (plan->nwords == 1 && keys[plan->words[0]].only_address && !(where & IN_ATTRIBUTES) &&
		take_addresses(search, query, &keys[plan->words[0]], where, tier))
		return;
	for (int i = 0; i < plan->nwords; i++)
		ranges |= keys[plan->words[i]].address != NULL;
	for (int i = 0; i < plan->nwords; i++)
	{
		const IndexKey *key = &keys[plan->words[i]];

		if (!ranges)
		{
			appendStringInfo(&s, "%s(%s)", i > 0 ? " & " : "", key->query.data);
			continue;
		}
		values[3 * i] = parse_query(key->query.data);
		address_range(key->address, &values[3 * i + 1], &values[3 * i + 2]);
	}
	if (ranges)
		take_all(search, (where & IN_ATTRIBUTES ? GET_BY_ATTRIBUTE : GET_BY_WORD) + plan->nwords - 1, values, query, where, tier);
	else
	{
		values[0] = parse_query(s.data);
		take_all(search, GET_BY_INDEX, values, query, where, tier);
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
	people = term_frequency(search, &lexeme, exact);
	if (!exact && (begins == lexeme.len - 1 || people > CHEAP))
	{
		lexeme.lexeme = psprintf("=%.*s*", begins, term->lexeme + mark);
		lexeme.len = strlen(lexeme.lexeme);
		lexeme.prefix = false;
		people = term_frequency(search, &lexeme, true);
	}
	key->people += people;
	key->gathering += people * (lexeme.prefix ? COST_POSTING : COST_POSTING_EXACT);
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
	IndexPlan	plan = {0};
	IndexKey	keys[QUERY_MAX_WORDS];

	*people = 0;
	for (int i = 0; i < query->nwords; i++)
	{
		const QueryWord *word = &query->words[i];

		memset(&keys[i], 0, sizeof(IndexKey));
		initStringInfo(&keys[i].query);
		for (int j = 0; j < word->nterms; j++)
		{
			if (word->terms[j].lexeme[0] != '<' && word->terms[j].lexeme[0] != '@')
				add_name(search, &keys[i], &word->terms[j], !begins);
		}
		/* an address is no name */
		if (keys[i].query.len == 0)
			return false;
	}
	plan_index(search, query, keys, IN_TERMS, &plan);
	if (plan.cost > Max(most, walking(search, query, plan.people) * COST_WALKED))
	{
		*people = plan.people;
		return false;
	}
	take_by_index(search, query, keys, &plan, IN_TERMS | IN_LEAVES, tier);
	apply_filter(search);
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
	IndexRows  *rows = open_rows(search, &search->tables->newest, "profile", "last_seen", ROWS_IN_ORDER);

	/* without its index there is no walk */
	if (rows == NULL)
		return false;
	rows_newest(rows);
	while (goes_on(taking))
	{
		MemoryContext old = MemoryContextSwitchTo(taking->context);
		int			n = 0;

		if (!(taking->where & IN_ATTRIBUTES))
		{
			n = rows_next(rows) ? 1 : 0;
			if (n > 0)
			{
				StoredProfile profile = stored_profile(search, rows);

				take_profile(taking, &profile);
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
				StoredProfile profile = stored_profile(search, rows);

				keys[n] = datumCopy(profile.key, false, -1);
				seen[n++] = profile.seen;
			}
			take_keys(taking, keys, n, seen);
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

		*plan = prepare(psprintf("SELECT p.%1$s_id, %2$s, p.last_seen FROM (SELECT u.* FROM profiles.%1$ss u ORDER BY u.last_seen DESC LIMIT $1) p "
								 "%3$s WHERE %4$s ORDER BY p.last_seen DESC", kind,
								 attributes ? "s.search, s.attributes" : shown_columns(search->kind),
								 attributes ? psprintf("JOIN profiles.%1$s_searched s ON s.key = p.%1$s_id", kind) : "",
								 search->filter), 1, types);
	}
	take_plan(taking, *plan, &most);
}

/*
 * Newest first.  Returns whether it found enough, or has seen all; instead is how
 * many profiles take as long as the index, and exact and beginning how many are called
 * by the very words or what begins with them, about, or 0 if these have been found already.
 * It ends when enough are found that nobody can rank before, or enough of any rank after
 * as many as should have so many names among them.
 */
static bool
walk(Search *search, const SearchQuery *query, int where, Tier tier, double instead, double exact, double beginning)
{
	Taking		taking;
	bool		all = false;

	begin_taking(&taking, search, query, where, tier);
	taking.walk = true;
	taking.before = search->nfound;
	taking.most = (int) Min(Max(instead, WALK_LEAST), WALK_MOST);
	taking.instead = search->filter == NULL ? instead : 0;
	taking.least = WALK_LEAST;
	taking.good = 1 << LEVEL_EXACT;
	if (exact > 0)
		taking.least = Max(taking.least, (int) Min(2 * search->max * search->people / exact, WALK_MOST));
	else
		taking.good |= 1 << LEVEL_PREFIX | 1 << LEVEL_JOINED | 1 << LEVEL_PHRASE;
	if (beginning > 0)
		taking.least = Max(taking.least, (int) Min(search->max * search->people / beginning, WALK_MOST));
	if (tier != TIER_WORDS)
		taking.good = ~0;
	for (int i = 0; i < query->nwords; i++)
	{
		if (query->words[i].compound || query->words[i].address)
			taking.good |= 1 << LEVEL_HOST | 1 << LEVEL_LOCAL | 1 << LEVEL_TYPED | 1 << LEVEL_ADDRESS;
	}
	if (search->filter == NULL)
		all = walk_all(&taking);
	else
		walk_filtered(&taking);
	MemoryContextDelete(taking.context);
	return search->nfound >= search->max || all;
}

/* Adds who meets all words of a query; does nothing if that is not affordable and need not be. */
static void
run_tier(Search *search, const SearchQuery *query, int where, Tier tier, bool only_if_few)
{
	IndexKey	keys[QUERY_MAX_WORDS];
	IndexPlan	plan;
	double		exact = 0;
	double		beginning = 0;
	double		walk_rows;
	double		walked;
	double		share = search->filter == NULL ? 1 : search->filter_share;

	if (search->only != (Datum) 0)
	{
		take_only(search, query, where, tier);
		return;
	}
	for (int i = 0; i < query->nwords; i++)
	{
		make_index_key(search, &query->words[i], where, &keys[i]);
		/* such a word nobody can meet */
		if (keys[i].query.len == 0)
			return;
	}
	plan_index(search, query, keys, where, &plan);
	walk_rows = walking(search, query, plan.people * share);
	walked = where & IN_TYPOS ? COST_WALKED_TYPOS : COST_WALKED;
	if (where & IN_ATTRIBUTES)
		walked = search->tables->imported ? COST_WALKED_IMPORTED : COST_WALKED_VECTORS;
	elog(DEBUG1, "search: tier %d in %d: index %.0f us, walk %.0f us, about %.0f people", tier, where, plan.cost, walk_rows * walked, plan.people);
	if (search->people <= search->few || plan.cost <= CHEAP)
		take_by_index(search, query, keys, &plan, where, tier);
	else if (only_if_few && plan.cost > walk_rows * walked)
		return;
	else
	{
		if (where == (IN_TERMS | IN_LEAVES) && take_named(search, query, tier, &exact, &beginning))
			return;
		if (plan.cost <= walk_rows * walked ||
			!walk(search, query, where, tier, plan.cost / walked, exact, beginning))
			take_by_index(search, query, keys, &plan, where, tier);
		/* names that were seen long ago, if others only have the words in their address */
		else if (beginning > 0 && !named_suffice(search, query, NAME_LEVELS))
			take_names(search, query, tier, true, AFFORDABLE, &beginning);
	}
	apply_filter(search);
}

/* ---------- typos ---------- */

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
		double		people = DatumGetFloat8(column(i, 3, &isnull));

		/* what is a word to many is no typo of what is one to few */
		if (frequency > 10 * Max(people, 10))
			continue;
		term->lexeme = text_column(search, i, 1);
		term->len = strlen(term->lexeme);
		term->distance = DatumGetInt32(column(i, 2, &isnull));
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
		if (term_frequency(search, &beginning, false) > NEAR_MOST)
			continue;
		initStringInfo(&s);
		append_indexed(&s, &beginning);
		values[0] = parse_query(s.data);
		values[1] = PointerGetDatum(cstring_to_text_with_len(word->leaves[leaf].lexeme, word->leaves[leaf].len));
		values[2] = Int32GetDatum(most);
		values[3] = PointerGetDatum(cstring_to_text_with_len(beginning.lexeme, beginning.len));
		execute(search, GET_NEAR, values);
		take_corrections(search, word, leaf, frequency);
		return;
	}
}

/* Looks up what leaves may be typos of; returns whether any may be. */
static bool
find_corrections(Search *search, SearchQuery *query)
{
	bool		any = false;

	for (int i = 0; i < query->nwords; i++)
	{
		QueryWord  *word = &query->words[i];

		for (int j = 0; j < word->nall; j++)
		{
			Term	   *leaf = &word->leaves[j];
			uint32		chars[WORD_MAX_CHARS];
			uint32		keys[TYPED_MAX_KEYS];
			Datum		values[3];
			int			n = people_correctable(leaf->lexeme, leaf->len, chars);
			int			most = n >= 8 ? 2 : 1;
			double		frequency;

			if (n < 4)
				continue;
			frequency = term_frequency(search, leaf, true);
			values[0] = people_keys_array(keys, typed_keys(chars, n, most, keys));
			values[1] = PointerGetDatum(cstring_to_text_with_len(leaf->lexeme, leaf->len));
			values[2] = Int32GetDatum(most);
			execute(search, GET_CORRECTIONS, values);
			take_corrections(search, word, j, frequency);
			if (search->kind == 0)
				find_near(search, word, j, n, most, frequency);
			any |= word->ncorrections[j] > 0;
		}
	}
	return any;
}

/* ---------- a whole search ---------- */

/* A query that candidates may refer to. */
static SearchQuery *
new_query(Search *search)
{
	return MemoryContextAllocZero(search->context, sizeof(SearchQuery));
}

/* What nobody is found by as it was typed, read in another way. */
static void
search_otherwise(Search *search, const SearchQuery *query)
{
	SearchQuery *other = new_query(search);

	/* "j.smith" is nobody's address */
	if (people_take_apart(query, false, other))
		run_tier(search, other, IN_TERMS | IN_LEAVES, TIER_ATTRIBUTES, false);
	/* "Dr. Smith" */
	other = new_query(search);
	if (search->nfound == 0 && people_without_titles(query, other))
		run_tier(search, other, IN_TERMS | IN_LEAVES, TIER_ATTRIBUTES, false);
	/* "acmesoft" of "Acme Soft" */
	for (int i = 0; search->nfound == 0 && i < query->nwords && i < SPLIT_WORDS; i++)
	{
		for (int n = 1; search->nfound < search->max && n < SPLIT_MOST; n++)
		{
			other = new_query(search);
			if (people_split_word(query, i, n, other))
				run_tier(search, other, IN_TERMS, TIER_ATTRIBUTES, true);
		}
	}
}

/* Of a page's URL whom it is about, or at least who is there. */
static void
search_url(Search *search, const SearchQuery *query)
{
	for (int host = 0; search->nfound == 0 && host < 2; host++)
	{
		SearchQuery *subject = new_query(search);
		SearchQuery *apart = new_query(search);

		if (!people_url_subject(query, host, subject))
			continue;
		run_tier(search, subject, IN_TERMS | IN_LEAVES, TIER_ATTRIBUTES, false);
		if (search->nfound == 0 && people_take_apart(subject, false, apart))
			run_tier(search, apart, IN_TERMS | IN_LEAVES, TIER_ATTRIBUTES, false);
	}
}

/* Who has one of the addresses that were pasted: nobody has two, and a name beside one may differ. */
static void
search_addresses(Search *search, const SearchQuery *query)
{
	for (int i = 0; i < query->nwords && query->nwords > 1; i++)
	{
		SearchQuery *address;

		if (!query->words[i].whole_address)
			continue;
		address = new_query(search);
		address->words[address->nwords++] = query->words[i];
		run_tier(search, address, IN_TERMS, TIER_ATTRIBUTES, false);
	}
}

static void
search_alternative(Search *search, SearchQuery *query)
{
	bool		compound = false;
	bool		address = false;
	SearchQuery *apart = new_query(search);

	for (int i = 0; i < query->nwords; i++)
	{
		compound |= query->words[i].compound || query->words[i].address;
		address |= query->words[i].address;
	}
	if (compound)
	{
		run_tier(search, query, IN_TERMS, TIER_WORDS, false);
		if (search->nfound >= search->max || (address && search->nfound > 0))
			return;
	}
	run_tier(search, query, IN_TERMS | IN_LEAVES, TIER_WORDS, search->nfound > 0);
	if (search->nfound >= search->max || (address && search->nfound > 0))
		return;
	if (search->nfound == 0)
		search_addresses(search, query);
	if (address && search->nfound > 0)
		return;
	if (search->nfound == 0)
		search_otherwise(search, query);
	else if (people_take_apart(query, true, apart))
		run_tier(search, apart, IN_TERMS | IN_LEAVES, TIER_ATTRIBUTES, true);
	run_tier(search, query, IN_TERMS | IN_LEAVES | IN_ATTRIBUTES, TIER_ATTRIBUTES, false);
	if (search->nfound == 0)
		search_url(search, query);
	if (search->nfound >= search->max || (address && search->nfound > 0))
		return;
	if (find_corrections(search, query))
		run_tier(search, query, IN_TERMS | IN_LEAVES | IN_TYPOS, TIER_TYPOS, false);
}

/* Who has the text as key. */
static void
search_key(Search *search, const char *typed)
{
	Datum		key = CStringGetTextDatum(typed);
	IndexRows  *rows = profiles_by_key(search);

	if (rows_find(rows, key))
	{
		StoredProfile profile = stored_profile(search, rows);
		Candidate  *candidate = add_candidate(search, key, (UINT64CONST(1) << SCORE_BITS) - 1, 0, NULL, NULL);

		if (search->filter == NULL)
			keep_shown(search, candidate, &profile);
	}
	apply_filter(search);
}

/*
 * Finds the newest of those who share a score by walking, if they are so many that
 * this takes less time than to look each up.  Returns whether it did.
 */
static bool
date_by_walk(Search *search, uint64 score, int nundated)
{
	double		most = nundated * COST_DATED / COST_WALKED;
	IndexRows  *rows;
	int			dated = 0;

	if (search->filter != NULL || search->people <= search->few ||
		most < 2 * search->max * search->people / nundated ||
		(rows = open_rows(search, &search->tables->newest, "profile", "last_seen", ROWS_IN_ORDER)) == NULL)
		return false;
	rows_newest(rows);
	for (int walked = 0; dated < search->max && walked < most; walked++)
	{
		StoredProfile profile;
		Candidate  *candidate;
		char		key[PROFILES_MAX_KEY + 1];

		if (!rows_next(rows))
			return true;
		profile = stored_profile(search, rows);
		text_to_cstring_buffer((text *) DatumGetPointer(profile.key), key, sizeof(key));
		candidate = candidates_lookup(search->found, key);
		if (candidate != NULL && !candidate->rejected && candidate->score == score)
		{
			keep_shown(search, candidate, &profile);
			dated++;
		}
	}
	return dated >= search->max;
}

/*
 * Looks up when those have been seen who have a score or a greater one; of those
 * who have that very one it may leave out those who are not among the newest.
 */
static void
date_candidates(Search *search, Candidate **list, int n, uint64 last)
{
	Candidate **undated = palloc_extended(n * sizeof(Candidate *), MCXT_ALLOC_HUGE);
	int			better = 0;
	int			nundated;

	for (int i = 0; i < n && list[i]->score > last; i++)
	{
		if (!list[i]->dated)
			undated[better++] = list[i];
	}
	nundated = better;
	for (int i = 0; i < n && list[i]->score >= last; i++)
	{
		if (!list[i]->dated && list[i]->score == last)
			undated[nundated++] = list[i];
	}
	if (nundated > better && date_by_walk(search, last, nundated - better))
		nundated = better;
	fetch_rows(search, undated, nundated);
	pfree(undated);
}

/*
 * Those who come first, with what is shown of them.  Of the many who may share the
 * last score that counts, the newest count, so all of these are looked at.
 */
static Candidate **
first_candidates(Search *search, int *n)
{
	Candidate **list = list_candidates(search, n);

	for (;;)
	{
		int			before = search->nfound;
		int			most = Min(*n, search->max);

		if (most == 0)
			return list;
		date_candidates(search, list, *n, list[most - 1]->score);
		pfree(list);
		list = list_candidates(search, n);
		most = Min(*n, search->max);
		fetch_rows(search, list, most);
		/* unless some of them have gone */
		if (search->nfound == before)
		{
			*n = most;
			return list;
		}
		list = list_candidates(search, n);
	}
}

/*
 * Columns of attributes that meet a word of the query which name and e-mail don't;
 * those that have atoms of one if none has it whole.
 */
static char *
matched_attributes(Search *search, Candidate *candidate)
{
	const SearchQuery *query = candidate->query;
	char	   *result = NULL;

	for (int apart = 0; apart < 2 && result == NULL; apart++)
	{
		StringInfoData s;
		Datum		values[2];

		initStringInfo(&s);
		for (int i = 0; i < query->nwords; i++)
		{
			const QueryWord *word = &query->words[i];

			for (int j = 0; j < (apart ? word->nall : word->nterms); j++)
			{
				if (s.len > 0)
					appendStringInfoString(&s, " | ");
				people_append_term(&s, apart ? &word->leaves[j] : &word->terms[j]);
			}
		}
		values[0] = CStringGetTextDatum(candidate->key);
		values[1] = parse_query(s.data);
		execute(search, GET_MATCHED, values);
		if (SPI_processed > 0)
			result = text_column(search, 0, 1);
		SPI_freetuptable(SPI_tuptable);
	}
	return result;
}

/* Why somebody was found. */
static char *
matched_text(Search *search, Candidate *candidate)
{
	const char *kind = profiles_kinds[search->kind];
	StringInfoData s;
	char	   *attributes;

	initStringInfo(&s);
	if (candidate->query == NULL)
		return psprintf("%s_id", kind);
	if (candidate->levels & (1 << LEVEL_EXACT | 1 << LEVEL_PHRASE | 1 << LEVEL_JOINED | 1 << LEVEL_PREFIX))
		appendStringInfo(&s, "%s_name", kind);
	if (candidate->levels & (1 << LEVEL_ADDRESS | 1 << LEVEL_TYPED | 1 << LEVEL_LOCAL | 1 << LEVEL_HOST))
		appendStringInfo(&s, "%s%s_%s", s.len > 0 ? ", " : "", kind, search->kind == 0 ? "email" : "name");
	if (candidate->levels & 1 << LEVEL_ATTRIBUTE &&
		(attributes = matched_attributes(search, candidate)) != NULL)
		appendStringInfo(&s, "%s%s", s.len > 0 ? ", " : "", attributes);
	if (candidate->correction != NULL)
		appendStringInfo(&s, "%slike %s", s.len > 0 ? ", " : "", candidate->correction->lexeme);
	return s.data;
}

/* The view that is searched; errors if there is none, or the caller may not read it. */
static void
check_rights(int kind, Oid namespace)
{
	char	   *name = psprintf("%ss", profiles_kinds[kind]);
	Oid			view = get_relname_relid(name, namespace);

	if (!OidIsValid(view))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there are no profiles yet"),
				 errhint("Add a source of events with profiles.add_source().")));
	if (pg_class_aclcheck(view, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for view %s", name),
				 errhint("What is found is shown: GRANT SELECT ON profiles.%s TO %s.", name,
						 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/* A filter that is but the name of a segment, and of no column, says to be in it. */
static Datum
expand_segment(int kind, Datum filter, Oid owner)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {filter, CStringGetTextDatum(profiles_kinds[kind])};
	MemoryContext context = CurrentMemoryContext;
	ProfilesRole caller = profiles_become_owner(owner);

	SPI_connect();
	if (SPI_execute_with_args("SELECT format('in_segment(%L)', s.segment) FROM profiles.segment_config s "
							  "WHERE s.segment = btrim($1) AND s.kind = $2 AND NOT EXISTS "
							  "    (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(format('profiles.%I', profiles._relation($2))) "
							  "     AND a.attnum > 0 AND a.attname IN (s.segment, lower(s.segment)))",
							  2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a segment");
	if (SPI_processed > 0)
	{
		bool		isnull;
		MemoryContext old = MemoryContextSwitchTo(context);

		filter = datumCopy(column(0, 1, &isnull), false, -1);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	profiles_become_caller(caller);
	return filter;
}

/* A filter as checked SQL, analysed as the caller. */
static char *
check_filter(int kind, Datum filter)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Oid			function = LookupFuncName(list_make2(makeString("profiles"), makeString("_filter")), 2, types, false);
	char	   *checked = TextDatumGetCString(OidFunctionCall2(function, CStringGetTextDatum(profiles_kinds[kind]), filter));

	return strcmp(checked, "true") == 0 ? NULL : checked;
}

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* If the filter leaves few, it is applied first. */
static void
filter_first(Search *search)
{
	SPIPlanPtr	plan;
	CachedPlan *cached;
	PlannedStmt *planned;
	double		rows;
	bool		isnull;

	/* here to read the whole table may be the best there is */
	set_local("enable_seqscan", "on");
	plan = prepare(psprintf("SELECT coalesce(array_agg(f.key), '{}') FROM (SELECT p.%1$s_id AS key FROM profiles.%1$ss p WHERE %2$s LIMIT %3$d) f",
										profiles_kinds[search->kind], search->filter, FILTERED_KEYS + 1), 0, NULL);
	cached = SPI_plan_get_cached_plan(plan);
	planned = linitial_node(PlannedStmt, cached->stmt_list);
	rows = planned->planTree->lefttree == NULL ? 0 : planned->planTree->lefttree->plan_rows;
	/* a plan that is not kept belongs to no resource owner */
	ReleaseCachedPlan(cached, NULL);
	search->filter_share = search->people > 0 ? Min(rows / search->people, 1) : 1;
	if (search->people > search->few && rows > search->few)
	{
		set_local("enable_seqscan", "off");
		return;
	}
	if (SPI_execute_plan(plan, NULL, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "search failed");
	{
		ArrayType  *keys = DatumGetArrayTypeP(column(0, 1, &isnull));
		MemoryContext old = MemoryContextSwitchTo(search->context);

		if (ArrayGetNItems(ARR_NDIM(keys), ARR_DIMS(keys)) <= FILTERED_KEYS)
			search->only = datumCopy(PointerGetDatum(keys), false, -1);
		MemoryContextSwitchTo(old);
	}
	SPI_freetuptable(SPI_tuptable);
	set_local("enable_seqscan", "off");
}

static void
put_text(const char *text, Datum *value, bool *isnull)
{
	*isnull = text == NULL;
	if (text != NULL)
		*value = CStringGetTextDatum(text);
}

/* A score as a number that differs wherever scores do, though it has fewer digits. */
static float4
rank_of(const Candidate *candidate, const Candidate *before, float4 rank_before)
{
	float4		rank = (float4) ((double) candidate->score / ((UINT64CONST(1) << SCORE_BITS) - 1));

	if (before == NULL)
		return rank;
	return candidate->score == before->score ? rank_before : Min(rank, nextafterf(rank_before, 0));
}

static void
put_result(Search *search, Candidate *candidate, float4 rank, ReturnSetInfo *rsinfo)
{
	Datum		values[6];
	bool		nulls[6] = {0};
	int			n = 0;

	values[n++] = CStringGetTextDatum(candidate->key);
	put_text(candidate->name, &values[n], &nulls[n]);
	n++;
	if (search->kind == 0)
	{
		put_text(candidate->email, &values[n], &nulls[n]);
		n++;
	}
	values[n++] = TimestampTzGetDatum(candidate->seen);
	values[n++] = Float4GetDatum(rank);
	values[n++] = CStringGetTextDatum(matched_text(search, candidate));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static Datum
search_profiles(FunctionCallInfo fcinfo, int kind)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Search		search = {0};
	SearchTables tables = {0};
	SearchQuery *queries;
	int			nqueries;
	text	   *typed;
	char	   *trimmed;
	const char *url_key;
	int			url_key_len;
	ProfilesRole caller;
	Candidate **list;
	int			n;
	float4		rank = 0;
	MemoryContext context;

	InitMaterializedSRF(fcinfo, 0);
	search.kind = kind;
	search.max = PG_ARGISNULL(1) ? 20 : PG_GETARG_INT32(1);
	if (search.max < 1 || search.max > SEARCH_MOST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max %d is out of range", search.max),
				 errhint("It is how many to return, from 1 to %d.", SEARCH_MOST)));
	check_rights(kind, get_func_namespace(fcinfo->flinfo->fn_oid));
	if (!PG_ARGISNULL(2))
		search.filter = check_filter(kind, expand_segment(kind, PG_GETARG_DATUM(2), profiles_owner(fcinfo->flinfo->fn_oid)));
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	typed = PG_GETARG_TEXT_PP(0);
	context = AllocSetContextCreate(CurrentMemoryContext, "search", ALLOCSET_DEFAULT_SIZES);
	search.context = context;
	search.tables = &tables;
	tables.namespace = get_func_namespace(fcinfo->flinfo->fn_oid);
	tables.imported = OidIsValid(get_relname_relid(psprintf("%s_imported", profiles_kinds[kind]), tables.namespace));
	caller = profiles_become_owner(profiles_owner(fcinfo->flinfo->fn_oid));
	SPI_connect();
	/* tables are read in one way only: from the index, or from the newest on */
	set_local("enable_seqscan", "off");
	set_local("enable_hashjoin", "off");
	set_local("enable_mergejoin", "off");
	set_local("enable_material", "off");
	set_local("max_parallel_workers_per_gather", "0");
	set_local("work_mem", "64MB");
	set_local("gin_fuzzy_search_limit", "0");

	{
		Term		all = {"", 0};

		search.people = term_frequency(&search, &all, true);
		search.few = Max(FEW_LEAST, sqrt(search.people * search.max));
	}
	MemoryContextSwitchTo(context);
	nqueries = people_parse_query(VARDATA_ANY(typed), VARSIZE_ANY_EXHDR(typed), &queries);
	search.found = candidates_create(context, 32, NULL);
	trimmed = text_to_cstring(typed);
	while (*trimmed == ' ')
		trimmed++;
	for (int i = strlen(trimmed) - 1; i >= 0 && trimmed[i] == ' '; i--)
		trimmed[i] = '\0';
	if (search.filter != NULL && (nqueries > 0 || *trimmed != '\0'))
		filter_first(&search);
	if (*trimmed != '\0')
		search_key(&search, trimmed);
	if ((url_key = people_url_key(trimmed, strlen(trimmed), &url_key_len)) != NULL)
		search_key(&search, pnstrdup(url_key, url_key_len));
	for (int i = 0; i < nqueries; i++)
	{
		Search		alternative = search;

		alternative.found = candidates_create(context, 32, NULL);
		alternative.nfound = 0;
		search_alternative(&alternative, &queries[i]);
		list = list_candidates(&alternative, &n);
		for (int j = 0; j < n; j++)
		{
			bool		found;
			Candidate  *candidate = candidates_insert(search.found, list[j]->key, &found);

			if (!found || candidate->score < list[j]->score)
			{
				Candidate	merged = *list[j];

				merged.hash = candidate->hash;
				merged.status = candidate->status;
				*candidate = merged;
			}
			if (!found)
				search.nfound++;
		}
	}
	list = first_candidates(&search, &n);
	for (int i = 0; i < n; i++)
	{
		rank = rank_of(list[i], i > 0 ? list[i - 1] : NULL, rank);
		put_result(&search, list[i], rank, rsinfo);
	}
	close_rows(tables.profiles);
	close_rows(tables.vectors);
	close_rows(tables.newest);
	close_rows(tables.addresses);
	SPI_finish();
	profiles_become_caller(caller);
	MemoryContextDelete(context);
	return (Datum) 0;
}

Datum
profiles_search_users(PG_FUNCTION_ARGS)
{
	return search_profiles(fcinfo, 0);
}

Datum
profiles_search_accounts(PG_FUNCTION_ARGS)
{
	return search_profiles(fcinfo, 1);
}
