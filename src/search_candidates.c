/*
 * search_candidates.c
 *		Who may be among the people a search finds: the statements and rows that
 *		they come from, and what is known of each.
 *
 * All SQL here runs as the extension's owner, in kept plans that are never
 * planned for a parameter's value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "people.h"
#include "search.h"
#include "tsearch/ts_utils.h"
#include "upkeep.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FETCH_ROWS			5000

#define SH_PREFIX candidates
#define SH_ELEMENT_TYPE Candidate
#define SH_KEY_TYPE const char *
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE extern
#define SH_DEFINE
#include "lib/simplehash.h"

/* ---------- statements ---------- */

/* words and addresses of search, as their indexes have them */
#define WORDS "profiles._indexed_words(s.search) @@ "
#define ADDRESS "profiles._indexed_address(s.search) COLLATE \"C\""
#define ATTRIBUTE_CONDITION(words, attributes) "(" WORDS "$" #words " OR s.stored @@ $" #attributes ")"
#define SELECT_PEOPLE "SELECT s.key, s.search, s.attributes FROM profiles.%1$s_search s WHERE "
#define SELECT_VECTORS "SELECT s.key, s.search, s.attributes FROM profiles.%1$s_searched s WHERE "

/* %1$s is the kind, %2$s its columns of name and e-mail */
static const struct
{
	const char *sql;
	Oid			types[2 * KEY_WORDS];
} statements[STATEMENTS] = {
	/* where no attribute is looked at */
	[GET_BY_INDEX] = {SELECT_PEOPLE WORDS "$1", {TSQUERYOID}},
	[GET_BY_ADDRESS] = {SELECT_VECTORS ADDRESS " >= $1 AND " ADDRESS " < $2", {TEXTOID, TEXTOID}},
	[GET_BY_ATTRIBUTE] = {SELECT_VECTORS ATTRIBUTE_CONDITION(1, 2),
	{TSQUERYOID, TSQUERYOID}},
	[GET_BY_ATTRIBUTE_2] = {SELECT_VECTORS ATTRIBUTE_CONDITION(1, 2) " AND " ATTRIBUTE_CONDITION(3, 4),
	{TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID}},
	[GET_BY_ATTRIBUTE_3] = {SELECT_VECTORS ATTRIBUTE_CONDITION(1, 2) " AND " ATTRIBUTE_CONDITION(3, 4) " AND " ATTRIBUTE_CONDITION(5, 6),
	{TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID}},
	[GET_BY_ATTRIBUTE_4] = {SELECT_VECTORS ATTRIBUTE_CONDITION(1, 2) " AND " ATTRIBUTE_CONDITION(3, 4) " AND " ATTRIBUTE_CONDITION(5, 6) " AND " ATTRIBUTE_CONDITION(7, 8),
	{TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID, TSQUERYOID}},
	[GET_BY_ATTRIBUTES_ONLY] = {SELECT_VECTORS "s.stored @@ $1", {TSQUERYOID}},
	[GET_BY_WORDS] = {SELECT_VECTORS WORDS "$1", {TSQUERYOID}},
	[GET_BY_WORDS_AND_ATTRIBUTES] = {SELECT_VECTORS WORDS "$1 AND s.stored @@ $2", {TSQUERYOID, TSQUERYOID}},
	[GET_BY_IMPORTED] = {SELECT_VECTORS "s.key IN (SELECT i.key FROM profiles.%1$s_imported i WHERE i.attributes OPERATOR(profiles.@@) $1)", {TSQUERYOID}},
	[GET_BY_KEYS] = {"SELECT s.key, s.search, s.attributes, k.seen FROM unnest($1, $2) k (key, seen) JOIN profiles.%1$s_searched s ON s.key = k.key",
	{TEXTARRAYOID, TIMESTAMPTZARRAYOID}},
	[GET_CORRECTIONS] = {"SELECT d.word, d.distance, coalesce(t.people, 0)::float8 "
		"FROM (SELECT w.word, profiles._word_distance(w.word, $1, $2) AS distance "
	"      FROM profiles.%1$s_word w WHERE w.keys && profiles._typed_keys($1, $2) OFFSET 0) d "
	"LEFT JOIN profiles.%1$s_search_stat t ON t.word = d.word "
	"WHERE d.distance <= $2 AND d.distance > 0 ORDER BY d.distance, t.people DESC NULLS LAST, d.word LIMIT 24",
	{TEXTOID, INT4OID}},
	[GET_NEAR] = {"SELECT d.word, d.distance, count(*)::float8 "
		"FROM (SELECT l.word, profiles._word_distance(l.word, $2, $3) AS distance "
		"      FROM (SELECT s.search FROM profiles.%1$s_search s WHERE " WORDS "$1 LIMIT 300) s, "
		"           unnest(profiles._words_beginning(s.search, $4)) l (word) OFFSET 0) d "
	"WHERE d.distance <= $3 AND d.distance > 0 GROUP BY d.word, d.distance ORDER BY d.distance, d.word LIMIT 8",
	{TSQUERYOID, TEXTOID, INT4OID, TEXTOID}},
	[GET_MATCHED] = {"SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) "
		"FROM profiles.%1$ss p, jsonb_each_text(to_jsonb(profiles._searched_row(p.*))) x JOIN pg_attribute a ON a.attrelid = 'profiles.%1$ss'::regclass AND a.attname = x.key "
	"WHERE p.%1$s_id = $1 AND x.key NOT IN ('%1$s_id', '%1$s_name', '%1$s_email') "
	"AND profiles._is_searched(a.atttypid) AND profiles._attribute_vector(x.value) @@ $2", {TEXTOID, TSQUERYOID}}
};

static SPIPlanPtr plans[PROFILES_KINDS][STATEMENTS];

const char *
search_shown_columns(int kind)
{
	return kind == 0 ? "p.user_name, p.user_email" : "p.account_name, NULL::text";
}

void
search_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * The settings of statements.  To make them takes as long as to look up an address, which
 * needs none; so they are made for the first statement of a search.
 */
void
search_settle(Search *search)
{
	if (search->tables->settled)
		return;
	search->tables->settled = true;
	profiles_settle();
	/* tables are read in one way only: from the index, or from the newest on */
	search_set("enable_seqscan", "off");
	search_set("enable_hashjoin", "off");
	search_set("enable_mergejoin", "off");
	search_set("enable_material", "off");
	search_set("max_parallel_workers_per_gather", "0");
	search_set("work_mem", "64MB");
	search_set("gin_fuzzy_search_limit", "0");
}

SPIPlanPtr
search_prepare(Search *search, const char *sql, int nargs, const Oid *types)
{
	SPIPlanPtr	plan;

	search_settle(search);
	plan = SPI_prepare_cursor(sql, nargs, (Oid *) types, CURSOR_OPT_GENERIC_PLAN | CURSOR_OPT_FAST_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare a search: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static SPIPlanPtr
plan_of(Search *search, Statement statement)
{
	int			kind = search->kind;
	SPIPlanPtr *plan = &plans[kind][statement];

	if (*plan == NULL)
	{
		int			nargs = 0;
		SPIPlanPtr	prepared;

		while (nargs < lengthof(statements[statement].types) && OidIsValid(statements[statement].types[nargs]))
			nargs++;
		prepared = search_prepare(search, psprintf(statements[statement].sql, profiles_kinds[kind], search_shown_columns(kind)),
								  nargs, statements[statement].types);
		if (SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not keep the plan of a search");
		*plan = prepared;
	}
	search_settle(search);
	return *plan;
}

/* A table's rows by index; they are closed in the end. */
IndexRows *
search_open_rows(Search *search, IndexRows **rows, const char *suffix, const char *column, RowsBy by)
{
	if (*rows == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(search->context);

		*rows = rows_open(search->tables->namespace, profiles_kinds[search->kind], suffix, column, by);
		MemoryContextSwitchTo(old);
	}
	return *rows;
}

IndexRows *
search_profiles_by_key(Search *search)
{
	IndexRows  *rows = search_open_rows(search, &search->tables->profiles, "profile", "key", ROWS_BY_KEY);

	if (rows == NULL)
		elog(ERROR, "stored profiles have no index on their key");
	return rows;
}

static IndexRows *
vectors_by_key(Search *search)
{
	IndexRows  *rows = search_open_rows(search, &search->tables->vectors, "search", "key", ROWS_BY_KEY);

	if (rows == NULL)
		elog(ERROR, "what is searched has no index on its key");
	return rows;
}

static text *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetTextPP(value);
}

/* The profile of a row, in the current memory context as far as it is copied. */
StoredProfile
search_stored_profile(Search *search, IndexRows *rows)
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

void
search_execute(Search *search, Statement statement, Datum *values)
{
	check_result(SPI_execute_plan(plan_of(search, statement), values, NULL, true, 0));
}

Datum
search_column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

char *
search_text_column(Search *search, uint64 row, int number)
{
	bool		isnull;
	Datum		value = search_column(row, number, &isnull);
	MemoryContext old = MemoryContextSwitchTo(search->context);
	char	   *result = isnull ? NULL : TextDatumGetCString(value);

	MemoryContextSwitchTo(old);
	return result;
}

/* ---------- candidates ---------- */

Candidate *
search_add_candidate(Search *search, Datum key, uint64 points, uint16 levels, const Term *correction,
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
void
search_keep_shown(Search *search, Candidate *candidate, const StoredProfile *profile)
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

void
search_begin_taking(Taking *taking, Search *search, const SearchQuery *query, int where, Tier tier)
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
	uint64		points = search_score(vector, attributes, taking->query, taking->where, taking->tier, &levels, &correction);

	if (points == 0)
		return NULL;
	if ((levels & ~taking->good) == 0)
		taking->nbest++;
	return search_add_candidate(taking->search, key, points, levels, correction, taking->query);
}

/*
 * Scores somebody by name and address.  To take these apart takes less time than
 * to fetch what became of them.
 */
void
search_take_profile(Taking *taking, const StoredProfile *profile)
{
	Candidate  *candidate;

	if (!(taking->where & IN_TYPOS) && !search_may_meet(profile->name, profile->email, taking->query))
		return;
	candidate = take_vectors(taking, profile->key, people_vector(profile->name, profile->email, false), NULL);
	if (candidate != NULL)
		search_keep_shown(taking->search, candidate, profile);
}

/*
 * Is a walk not over?  It is if the index would be done before it, by what has been
 * found so far: words may exclude each other.
 */
bool
search_goes_on(const Taking *taking)
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

		search_take_profile(taking, &profile);
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
	return !taking->walk || search_goes_on(taking);
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
void
search_take_plan(Taking *taking, SPIPlanPtr plan, Datum *values)
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
void
search_take_all(Search *search, Statement statement, Datum *values, const SearchQuery *query, int where, Tier tier)
{
	Taking		taking;

	search_begin_taking(&taking, search, query, where, tier);
	search_take_plan(&taking, plan_of(search, statement), values);
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
	search_take_plan(taking, plan_of(taking->search, GET_BY_KEYS), values);
	for (int i = 0; i < 2; i++)
		pfree(arrays[i]);
	pfree(times);
	/* the walk counts */
	taking->walked = walked;
}

/* Takes rows of vectors; seen, unless it is NULL, is when those of the keys asked for were. */
void
search_take_rows(Taking *taking, IndexRows *rows, TimestampTz *seen)
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
void
search_take_keys(Taking *taking, Datum *keys, int nkeys, TimestampTz *seen)
{
	IndexRows  *rows;

	if (taking->where & IN_ATTRIBUTES && taking->search->tables->imported)
	{
		take_keys_imported(taking, keys, nkeys, seen);
		return;
	}
	rows = vectors_by_key(taking->search);
	rows_of_keys(rows, keys, nkeys);
	search_take_rows(taking, rows, seen);
}

/* Those who pass the filter, if they are few. */
void
search_take_only(Search *search, const SearchQuery *query, int where, Tier tier)
{
	Taking		taking;
	Datum	   *keys;
	int			nkeys;

	search_begin_taking(&taking, search, query, where, tier);
	deconstruct_array(DatumGetArrayTypeP(search->only), TEXTOID, -1, false, TYPALIGN_INT, &keys, NULL, &nkeys);
	search_take_keys(&taking, keys, nkeys, NULL);
	MemoryContextDelete(taking.context);
	pfree(keys);
}

/* Fetches what is shown of candidates, and rejects those that the filter does. */
void
search_fetch_rows(Search *search, Candidate **candidates, int n)
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
		IndexRows  *rows = search_profiles_by_key(search);

		rows_of_keys(rows, keys, nkeys);
		while (rows_next(rows))
		{
			StoredProfile profile = search_stored_profile(search, rows);

			search_keep_shown(search, missing[rows->key], &profile);
		}
	}
	for (int from = 0; search->filter != NULL && from < nkeys; from += FETCH_ROWS)
	{
		Datum		array = PointerGetDatum(construct_array(keys + from, Min(FETCH_ROWS, nkeys - from), TEXTOID, -1, false, TYPALIGN_INT));

		if (search->tables->filtered_rows == NULL)
		{
			Oid			types[] = {TEXTARRAYOID};

			search->tables->filtered_rows = search_prepare(search, psprintf("SELECT p.%1$s_id, p.last_seen, %2$s FROM unnest($1) k (key) JOIN profiles.%1$ss p ON p.%1$s_id = k.key "
													 "WHERE %3$s", profiles_kinds[search->kind], search_shown_columns(search->kind), search->filter), 1, types);
		}
		check_result(SPI_execute_plan(search->tables->filtered_rows, &array, NULL, true, 0));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			char	   *key = search_text_column(search, i, 1);
			Candidate  *candidate = candidates_lookup(search->found, key);

			pfree(key);
			if (candidate == NULL)
				continue;
			candidate->seen = DatumGetTimestampTz(search_column(i, 2, &isnull));
			candidate->name = search_text_column(search, i, 3);
			candidate->email = search_text_column(search, i, 4);
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

Candidate **
search_list_candidates(Search *search, int *n)
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
void
search_apply_filter(Search *search)
{
	Candidate **list;
	int			n;

	if (search->filter == NULL || search->only != (Datum) 0)
		return;
	list = search_list_candidates(search, &n);
	search_fetch_rows(search, list, n);
	pfree(list);
}
