/*
 * event_index.c
 *		Which indexes on events answer drill-down, and which of them exist.
 *
 * The expressions are those of the view of a source's events, compared as
 * the planner compares them: as analysed trees with constants folded.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "profile.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

PG_FUNCTION_INFO_V1(profiles_event_indexes);

/* A column's type and that of its binary-compatible cast make one index key. */
static Node *
strip_relabel(Node *expr)
{
	while (IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;
	return expr;
}

/* The expression of a view's column over its only relation, as relation 1. */
static Node *
view_column(Query *query, int rtindex, const char *name)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk && strcmp(entry->resname, name) == 0)
		{
			Node	   *expr = copyObject((Node *) entry->expr);

			ChangeVarNodes(expr, rtindex, 1, 0);
			return eval_const_expressions(NULL, expr);
		}
	}
	return NULL;
}

/* Does a usable btree index begin with these expressions? */
static bool
index_matches(Oid index_oid, List *keys)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	Form_pg_index form = index->rd_index;
	bool		matches = form->indisvalid && index->rd_rel->relam == BTREE_AM_OID &&
		RelationGetIndexPredicate(index) == NIL && form->indnkeyatts >= list_length(keys);
	List	   *exprs = RelationGetIndexExpressions(index);
	ListCell   *next = list_head(exprs);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, keys)
	{
		Node	   *key = strip_relabel(lfirst(lc));
		AttrNumber	attribute;

		if (!matches)
			break;
		attribute = form->indkey.values[n++];
		if (attribute != 0)
			matches = IsA(key, Var) && ((Var *) key)->varattno == attribute;
		else
		{
			matches = equal(key, strip_relabel(lfirst(next)));
			next = lnext(exprs, next);
		}
		matches &= index->rd_indcollation[n - 1] == exprCollation(lfirst(lc));
	}
	index_close(index, AccessShareLock);
	return matches;
}

/*
 * _event_indexes(view regclass) -> rows (purpose, relation, keys, index): for
 * each key that the source has, the index that finds its events; index is NULL
 * if there is none.  No rows where nothing can be indexed.
 */
Datum
profiles_event_indexes(PG_FUNCTION_ARGS)
{
	static const char *const purposes[][2] = {
		{"user", "user_id"}, {"account", "account_id"}, {"session", "session_id"}
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	view;
	Relation	events;
	Query	   *query;
	RangeTblRef *from;
	RangeTblEntry *rte;
	List	   *indexes;
	List	   *context;
	Node	   *seen_at;
	int			settings;

	InitMaterializedSRF(fcinfo, 0);
	view = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (view == NULL)
		return (Datum) 0;
	if (view->rd_rel->relkind != RELKIND_VIEW)
	{
		relation_close(view, AccessShareLock);
		return (Datum) 0;
	}
	query = get_view_query(view);
	/* anybody may ask about any view */
	if (query->jointree->fromlist == NIL ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef) || query->setOperations != NULL)
	{
		relation_close(view, AccessShareLock);
		return (Datum) 0;
	}
	from = linitial_node(RangeTblRef, query->jointree->fromlist);
	rte = rt_fetch(from->rtindex, query->rtable);
	seen_at = view_column(query, from->rtindex, "seen_at");
	if (rte->rtekind != RTE_RELATION || seen_at == NULL ||
		(rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_PARTITIONED_TABLE &&
		 rte->relkind != RELKIND_MATVIEW))
	{
		relation_close(view, AccessShareLock);
		return (Datum) 0;
	}

	settings = profiles_pin_settings();
	events = table_open(rte->relid, AccessShareLock);
	indexes = RelationGetIndexList(events);
	context = deparse_context_for(RelationGetRelationName(events), rte->relid);
	for (int i = 0; i < (int) lengthof(purposes); i++)
	{
		Node	   *key = view_column(query, from->rtindex, purposes[i][1]);
		List	   *keys;
		StringInfoData text;
		Datum		values[4];
		bool		nulls[4] = {false, false, false, true};
		ListCell   *lc;

		if (key == NULL || IsA(key, Const) || contain_mutable_functions(key) || contain_subplans(key))
			continue;
		keys = list_make1(key);
		/* a session has few events; those of a subject are asked for by time */
		if (i < 2 && !contain_mutable_functions(seen_at))
			keys = lappend(keys, seen_at);
		initStringInfo(&text);
		foreach(lc, keys)
		{
			/* what differs in collation or name of type only is no expression */
			Node	   *stripped = strip_relabel(lfirst(lc));

			appendStringInfo(&text, "%s(%s)%s", text.len > 0 ? ", " : "",
							 deparse_expression(stripped, context, false, false),
							 exprCollation(stripped) == exprCollation(lfirst(lc))
							 ? "" : " COLLATE pg_catalog.\"default\"");
		}
		foreach(lc, indexes)
		{
			if (nulls[3] && index_matches(lfirst_oid(lc), keys))
			{
				values[3] = ObjectIdGetDatum(lfirst_oid(lc));
				nulls[3] = false;
			}
		}
		values[0] = CStringGetTextDatum(purposes[i][0]);
		values[1] = ObjectIdGetDatum(rte->relid);
		values[2] = CStringGetTextDatum(text.data);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	table_close(events, NoLock);
	profiles_unpin_settings(settings);
	/* not kept: who reads it locks the view events first */
	relation_close(view, AccessShareLock);
	return (Datum) 0;
}
