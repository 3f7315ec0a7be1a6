/*
 * segment.c
 *		Segments: saved filters, each a view that its adder owns.
 *
 * The view shows the columns that users or accounts has, and its condition is
 * the filter, with those of other segments expanded (see filter.c).  The filter
 * is kept nowhere else.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/comment.h"
#include "commands/tablecmds.h"
#include "commands/view.h"
#include "compat.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "profile.h"
#include "rewrite/rewriteHandler.h"
#include "upkeep.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

PG_FUNCTION_INFO_V1(profiles_comment_segment);
PG_FUNCTION_INFO_V1(profiles_extend_segment);
PG_FUNCTION_INFO_V1(profiles_segment_definition);

/* The query of a segment's view: all columns of the relation, one condition. */
Query *
profiles_segment_query(Oid relid, Node *filter)
{
	Relation	relation = table_open(relid, AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(relation);
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
															 makeAlias("p", NIL), true, true);
	Query	   *query = makeNode(Query);
	Bitmapset  *columns = NULL;

	addNSItemToQuery(pstate, item, true, true, true);
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, i);
		Var		   *var = makeVar(1, column->attnum, column->atttypid, column->atttypmod,
								  column->attcollation, 0);

		query->targetList = lappend(query->targetList,
									makeTargetEntry((Expr *) var, i + 1,
													pstrdup(NameStr(column->attname)), false));
	}
	pull_varattnos((Node *) query->targetList, 1, &columns);
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = pstate->p_rtable;
	query->jointree = makeFromExpr(pstate->p_joinlist, filter);
	PROFILES_SELECTED_COLUMNS(query, pstate, columns);
	table_close(relation, NoLock);
	return query;
}

/*
 * Makes a segment's view say what it should: columns that the relation has got
 * are appended, and the condition is replaced.
 */
void
profiles_replace_segment(Oid view, Oid relid, Node *filter)
{
	Relation	relation = table_open(view, AccessExclusiveLock);
	int			before = RelationGetDescr(relation)->natts;
	Oid			role = relation->rd_rel->relowner;
	Query	   *query = profiles_segment_query(relid, filter);
	List	   *commands = NIL;
	ProfilesRole caller;

	table_close(relation, NoLock);
	for (int i = before; i < list_length(query->targetList); i++)
	{
		TargetEntry *entry = list_nth_node(TargetEntry, query->targetList, i);
		AlterTableCmd *command = makeNode(AlterTableCmd);

		command->subtype = AT_AddColumnToView;
		command->def = (Node *) makeColumnDef(entry->resname, exprType((Node *) entry->expr),
											  exprTypmod((Node *) entry->expr),
											  exprCollation((Node *) entry->expr));
		commands = lappend(commands, command);
	}
	/* as CREATE OR REPLACE VIEW does, except that it needs no right on the schema */
	caller = profiles_become_adder(role);
	if (commands != NIL)
	{
		AlterTableInternal(view, commands, true);
		CommandCounterIncrement();
	}
	StoreViewQuery(view, query, true);
	profiles_become_caller(caller);
	CommandCounterIncrement();
}

/* The view of a segment, by the segment's name. */
Oid
profiles_segment_view(const char *name, Oid namespace)
{
	return get_relname_relid(psprintf("segment_%s", name), namespace);
}

/* _extend_segment(segment text): after its relation or another segment changed. */
Datum
profiles_extend_segment(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			view = profiles_segment_view(name, get_func_namespace(fcinfo->flinfo->fn_oid));
	Oid			relation;
	Node	   *filter;

	/* somebody may have dropped it */
	if (!OidIsValid(view))
		PG_RETURN_VOID();
	filter = profiles_segment_filter(view, &relation);
	filter = profiles_expand_segments(filter, relation, NULL, name, true);
	profiles_replace_segment(view, relation, filter);
	PG_RETURN_VOID();
}

/*
 * _comment_segment(segment text, column_name text, comment text): of its view, which is its
 * creator's, or of a column of it.
 */
Datum
profiles_comment_segment(PG_FUNCTION_ARGS)
{
	Oid			view;
	Oid			relation;
	AttrNumber	column = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_VOID();
	view = profiles_segment_view(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								 get_func_namespace(fcinfo->flinfo->fn_oid));
	if (!OidIsValid(view))
		PG_RETURN_VOID();
	(void) profiles_segment_filter(view, &relation);
	if (!PG_ARGISNULL(1))
	{
		column = get_attnum(view, text_to_cstring(PG_GETARG_TEXT_PP(1)));
		if (column == InvalidAttrNumber)
			PG_RETURN_VOID();
	}
	CreateComments(view, RelationRelationId, column,
				   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	PG_RETURN_VOID();
}

/*
 * _segment_definition(segment_view regclass)
 *		-> (filter text, columns text[], segments text[])
 *
 * The filter as it was given, the columns that it reads, by itself or through
 * other segments, and the segments that it refers to.
 */
Datum
profiles_segment_definition(PG_FUNCTION_ARGS)
{
	Oid			relation;
	Node	   *filter = profiles_segment_filter(PG_GETARG_OID(0), &relation);
	List	   *segments = profiles_segments_in(filter, relation);
	Bitmapset  *columns = NULL;
	ArrayBuildState *column_names = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	ArrayBuildState *segment_names = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	int			settings = profiles_pin_settings();
	int			column = -1;
	ListCell   *lc;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(deparse_expression(filter, deparse_context_for("p", relation), false, false));
	pull_varattnos(profiles_expand_segments(filter, relation, NULL, NULL, false), 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
		column_names = accumArrayResult(column_names,
										CStringGetTextDatum(get_attname(relation, column + FirstLowInvalidHeapAttributeNumber, false)),
										false, TEXTOID, CurrentMemoryContext);
	values[1] = makeArrayResult(column_names, CurrentMemoryContext);
	foreach(lc, segments)
		segment_names = accumArrayResult(segment_names, CStringGetTextDatum(lfirst(lc)), false,
										 TEXTOID, CurrentMemoryContext);
	values[2] = makeArrayResult(segment_names, CurrentMemoryContext);
	profiles_unpin_settings(settings);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
