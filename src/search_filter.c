/*
 * search_filter.c
 *		Who passes a search's filter, if these are few.
 *
 * Then they are looked up before anything else.  How many they are the planner
 * says, and of a filter that wants a text to be something, or to begin so, our own
 * statistics of words: whoever has such a text has its words in an index of search, so
 * a column needs no index of its own.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "people.h"
#include "search.h"
#include "tsearch/ts_utils.h"
#include "upkeep.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#define FILTERED_KEYS		20000	/* so many a filter may leave that is applied first */
#define COST_LOOKED_UP		10		/* of one who has a word, in the planner's units */
#define BEGINNING_LETTERS	20		/* of a word, that a filter's pattern is looked up by */

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

		filter = datumCopy(search_column(0, 1, &isnull), false, -1);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	profiles_become_caller(caller);
	return filter;
}

/* A filter, or the name of a segment, as checked SQL, analysed as the caller; NULL if all pass. */
char *
search_check_filter(int kind, Datum filter, Oid owner)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Oid			function = LookupFuncName(list_make2(makeString("profiles"), makeString("_filter")), 2, types, false);
	char	   *checked = TextDatumGetCString(OidFunctionCall2(function, CStringGetTextDatum(profiles_kinds[kind]),
																 expand_segment(kind, filter, owner)));

	return strcmp(checked, "true") == 0 ? NULL : checked;
}

/* What whoever passes has, by the column of the filter's query that has to be so. */
typedef struct Wanted
{
	Query	   *query;
	List	   *columns;		/* names */
	List	   *values;			/* texts */
	List	   *begins;			/* of these: need the column only begin so? */
} Wanted;

/* Words of one side that whoever passes has, as a tsquery, empty if there are none. */
typedef struct WantedWords
{
	StringInfoData query;
	double		people;			/* who have these, about */
} WantedWords;

static Node *
without_relabeling(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

static void
collect_wanted(Node *quals, Wanted *wanted)
{
	OpExpr	   *op = (OpExpr *) quals;
	Node	   *column;
	Node	   *value;
	RangeTblEntry *rte;

	if (quals == NULL)
		return;
	if (is_andclause(quals))
	{
		ListCell   *lc;

		foreach(lc, ((BoolExpr *) quals)->args)
			collect_wanted(lfirst(lc), wanted);
		return;
	}
	if (!IsA(quals, OpExpr) || (op->inputcollid != DEFAULT_COLLATION_OID && op->inputcollid != C_COLLATION_OID))
		return;
	if (op->opno != TextEqualOperator && op->opno != OID_TEXT_LIKE_OP && op->opno != OID_TEXT_ICLIKE_OP)
		return;
	column = without_relabeling(linitial(op->args));
	value = lsecond(op->args);
	if (IsA(column, Const) && op->opno == TextEqualOperator)
	{
		value = column;
		column = without_relabeling(lsecond(op->args));
	}
	if (!IsA(column, Var) || ((Var *) column)->vartype != TEXTOID || ((Var *) column)->varattno <= 0 ||
		!IsA(value, Const) || ((Const *) value)->constisnull)
		return;
	rte = rt_fetch(((Var *) column)->varno, wanted->query->rtable);
	wanted->columns = lappend(wanted->columns, strVal(list_nth(rte->eref->colnames, ((Var *) column)->varattno - 1)));
	wanted->values = lappend(wanted->values, DatumGetTextPP(((Const *) value)->constvalue));
	wanted->begins = lappend_int(wanted->begins, op->opno != TextEqualOperator);
}

/* Are values of a column in the index of attributes?  Those of countries may have changed since. */
static bool
is_indexed(Search *search, const char *column)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(profiles_kinds[search->kind]), CStringGetTextDatum(column)};
	bool		found;

	if (SPI_execute_with_args("SELECT FROM profiles._search_columns($1) c WHERE c.column_name = $2 AND c.column_name NOT IN ('first_seen_country_name', 'last_seen_country_name')", lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a column");
	found = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
	return found;
}

static void
want_term(Search *search, WantedWords *words, const Term *term, bool attribute)
{
	Frequency	frequency = search_frequency(search->kind, term->lexeme, term->len, term->prefix);

	words->people = Min(words->people, attribute ? frequency.attributes : frequency.people);
	appendStringInfoString(&words->query, words->query.len > 0 ? " & (" : "(");
	if (attribute)
		people_append_term(&words->query, term);
	else
		search_append_indexed(&words->query, term);
	appendStringInfoChar(&words->query, ')');
}

/* Words of texts that match a pattern: of its first one the letters that are sure to be one word's. */
static void
want_beginning(Search *search, WantedWords *words, text *pattern, bool attribute)
{
	char		letters[BEGINNING_LETTERS];
	Term		term = {letters, 0, true};

	for (; term.len < Min(BEGINNING_LETTERS, VARSIZE_ANY_EXHDR(pattern)); term.len++)
	{
		letters[term.len] = pg_ascii_tolower((unsigned char) VARDATA_ANY(pattern)[term.len]);
		if (letters[term.len] < 'a' || letters[term.len] > 'z')
			break;
	}
	if (term.len > 0)
		want_term(search, words, &term, attribute);
}

/* Words of a text, as the vector has them that it goes into. */
static void
want_value(Search *search, WantedWords *words, text *value, bool attribute, bool name)
{
	Datum		values[] = {PointerGetDatum(value)};
	bool		nulls[] = {false};
	TSVector	vector = attribute ? people_values_vector(values, nulls, 1) : people_vector(name ? value : NULL, name ? NULL : value, true);

	for (int i = 0; i < vector->size; i++)
	{
		WordEntry  *entry = ARRPTR(vector) + i;
		Term		term = {STRPTR(vector) + entry->pos, entry->len};

		/* of a name its words, of an address the words that it has */
		if (attribute || (name ? term.lexeme[0] == '=' && term.lexeme[term.len - 1] != '*' : strchr("<=@", term.lexeme[0]) == NULL))
			want_term(search, words, &term, attribute);
	}
}

/* The words that whoever passes the filter of a prepared statement has in name and e-mail, and in attributes. */
static void
wanted_words(Search *search, SPIPlanPtr plan, WantedWords *words)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	RangeTblEntry *filtered = linitial_node(RangeTblEntry, linitial_node(Query, source->query_list)->rtable);
	Wanted		wanted = {filtered->subquery};

	collect_wanted(wanted.query->jointree->quals, &wanted);
	for (int attribute = 0; attribute < 2; attribute++)
	{
		initStringInfo(&words[attribute].query);
		words[attribute].people = search->people;
	}
	for (int i = 0; i < list_length(wanted.columns); i++)
	{
		const char *column = list_nth(wanted.columns, i);
		bool		name = strcmp(column, psprintf("%s_name", profiles_kinds[search->kind])) == 0;
		bool		attribute = !name && (search->kind != 0 || strcmp(column, "user_email") != 0);

		if (attribute && !is_indexed(search, column))
			continue;
		if (list_nth_int(wanted.begins, i))
			want_beginning(search, &words[attribute], list_nth(wanted.values, i), attribute);
		else
			want_value(search, &words[attribute], list_nth(wanted.values, i), attribute, name);
	}
}

/* Keeps whom a prepared statement gives, unless these are too many. */
static void
keep_filtered(Search *search, SPIPlanPtr plan, Datum *values)
{
	ArrayType  *keys;
	MemoryContext old;
	bool		isnull;

	if (SPI_execute_plan(plan, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "search failed");
	keys = DatumGetArrayTypeP(search_column(0, 1, &isnull));
	old = MemoryContextSwitchTo(search->context);
	if (ArrayGetNItems(ARR_NDIM(keys), ARR_DIMS(keys)) <= FILTERED_KEYS)
		search->only = datumCopy(PointerGetDatum(keys), false, -1);
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
}

/* If the filter leaves few, it is applied first. */
void
search_filter_first(Search *search)
{
	const char *kind = profiles_kinds[search->kind];
	const char *filtered = "SELECT coalesce(array_agg(f.key), '{}') FROM (SELECT p.%1$s_id AS key FROM profiles.%1$ss p WHERE %2$s %3$s LIMIT %4$d) f";
	Oid			types[] = {TSQUERYOID};
	WantedWords words[2];
	SPIPlanPtr	plan;
	CachedPlan *cached;
	PlannedStmt *planned;
	double		rows;
	double		cost;
	double		people;

	search_settle(search);
	/* here to read the whole table may be the best there is */
	search_set("enable_seqscan", "on");
	plan = search_prepare(search, psprintf(filtered, kind, "", search->filter, FILTERED_KEYS + 1), 0, NULL);
	cached = SPI_plan_get_cached_plan(plan);
	planned = linitial_node(PlannedStmt, cached->stmt_list);
	rows = planned->planTree->lefttree == NULL ? 0 : planned->planTree->lefttree->plan_rows;
	cost = planned->planTree->total_cost;
	/* a plan that is not kept belongs to no resource owner */
	ReleaseCachedPlan(cached, NULL);
	search->filter_share = search->people > 0 ? Min(rows / search->people, 1) : 1;
	wanted_words(search, plan, words);
	people = Min(words[0].people, words[1].people);
	if (search->people > search->few && people <= search->few && people * COST_LOOKED_UP < cost)
	{
		bool		attribute = words[1].people == people;
		Datum		query = DirectFunctionCall1(tsqueryin, CStringGetDatum(words[attribute].query.data));

		search_set("enable_seqscan", "off");
		/* whom writers have merged the index may not know */
		plan = search_prepare(search, psprintf(filtered, kind,
											   psprintf("p.%1$s_id = ANY (ARRAY(SELECT s.key FROM profiles.%1$s_search s WHERE %2$s @@ $1 "
														"UNION ALL SELECT d.key FROM profiles.%1$s_search_due d)) AND", kind,
														attribute ? "s.attributes" : "profiles._indexed_words(s.search)"),
											   psprintf("(%s)", search->filter), FILTERED_KEYS + 1), 1, types);
		keep_filtered(search, plan, &query);
		return;
	}
	if (search->people <= search->few || rows <= search->few)
		keep_filtered(search, plan, NULL);
	search_set("enable_seqscan", "off");
}
