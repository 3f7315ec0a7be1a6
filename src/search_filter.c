/*
 * search_filter.c
 *		Who passes a search's filter, if these are few.
 *
 * Then they are looked up before anything else.  How many they are the planner
 * says, and of a filter that wants an attribute to be something, our own statistics of
 * words: whoever has such an attribute has its words in the index of attributes, so a
 * column needs no index of its own.
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

/* Values that some columns must have to pass. */
typedef struct Wanted
{
	Query	   *query;
	List	   *columns;		/* names */
	List	   *values;			/* Consts */
} Wanted;

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
	if (quals == NULL)
		return;
	if (is_andclause(quals))
	{
		ListCell   *lc;

		foreach(lc, ((BoolExpr *) quals)->args)
			collect_wanted(lfirst(lc), wanted);
	}
	else if (IsA(quals, OpExpr) && ((OpExpr *) quals)->opno == TextEqualOperator &&
			 (((OpExpr *) quals)->inputcollid == DEFAULT_COLLATION_OID || ((OpExpr *) quals)->inputcollid == C_COLLATION_OID))
	{
		Node	   *column = without_relabeling(linitial(((OpExpr *) quals)->args));
		Node	   *value = lsecond(((OpExpr *) quals)->args);

		if (IsA(column, Const))
		{
			value = column;
			column = without_relabeling(lsecond(((OpExpr *) quals)->args));
		}
		if (IsA(column, Var) && ((Var *) column)->vartype == TEXTOID && ((Var *) column)->varattno > 0 &&
			IsA(value, Const) && !((Const *) value)->constisnull)
		{
			RangeTblEntry *rte = rt_fetch(((Var *) column)->varno, wanted->query->rtable);

			wanted->columns = lappend(wanted->columns, strVal(list_nth(rte->eref->colnames, ((Var *) column)->varattno - 1)));
			wanted->values = lappend(wanted->values, value);
		}
	}
}

/* Are attributes of a column in the index of attributes? */
static bool
is_indexed(Search *search, const char *column)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(profiles_kinds[search->kind]), CStringGetTextDatum(column)};
	bool		found;

	if (SPI_execute_with_args("SELECT FROM profiles._search_columns($1) c WHERE c.column_name = $2", lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a column");
	found = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/*
 * The words of attributes that whoever passes the filter of a prepared statement has, as
 * a tsquery, and how many have them, about; NULL if there are none.
 */
static char *
wanted_words(Search *search, SPIPlanPtr plan, double *people)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	RangeTblEntry *filtered = linitial_node(RangeTblEntry, linitial_node(Query, source->query_list)->rtable);
	Wanted		wanted = {filtered->subquery};
	StringInfoData s;
	ListCell   *lc1;
	ListCell   *lc2;

	*people = search->people;
	collect_wanted(wanted.query->jointree->quals, &wanted);
	initStringInfo(&s);
	forboth(lc1, wanted.columns, lc2, wanted.values)
	{
		bool		isnull = false;
		TSVector	vector;

		if (!is_indexed(search, lfirst(lc1)))
			continue;
		vector = people_values_vector(&((Const *) lfirst(lc2))->constvalue, &isnull, 1);
		for (int i = 0; i < vector->size; i++)
		{
			WordEntry  *entry = ARRPTR(vector) + i;
			Term		term = {STRPTR(vector) + entry->pos, entry->len};

			*people = Min(*people, search_frequency(search->kind, term.lexeme, term.len, false).attributes);
			if (s.len > 0)
				appendStringInfoString(&s, " & ");
			people_append_term(&s, &term);
		}
	}
	return s.len > 0 ? s.data : NULL;
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
	SPIPlanPtr	plan;
	CachedPlan *cached;
	PlannedStmt *planned;
	Datum		words;
	char	   *query;
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
	if (search->people > search->few && (query = wanted_words(search, plan, &people)) != NULL &&
		people <= search->few && people * COST_LOOKED_UP < cost)
	{
		search_set("enable_seqscan", "off");
		words = DirectFunctionCall1(tsqueryin, CStringGetDatum(query));
		/* whom writers have merged the index may not know */
		plan = search_prepare(search, psprintf(filtered, kind,
											   psprintf("p.%1$s_id = ANY (ARRAY(SELECT s.key FROM profiles.%1$s_search s WHERE s.attributes @@ $1 "
														"UNION ALL SELECT d.key FROM profiles.%1$s_search_due d)) AND", kind),
											   psprintf("(%s)", search->filter), FILTERED_KEYS + 1), lengthof(types), types);
		keep_filtered(search, plan, &words);
		return;
	}
	if (search->people <= search->few || rows <= search->few)
		keep_filtered(search, plan, NULL);
	search_set("enable_seqscan", "off");
}
