/*
 * expression.c
 *		SQL expressions that users give: checked when they come in, read back
 *		from the views that hold them.
 *
 * An expression is parsed by PostgreSQL's own parser in expression mode, and
 * only its analysed form, deparsed, is ever put into a statement; so what was
 * typed can't break out of its place.  From then on it lives in a view that its
 * adder owns, and nowhere else.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "profile.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "rewrite/rewriteSupport.h"
#include "upkeep.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(profiles_accessor_attribute);
PG_FUNCTION_INFO_V1(profiles_check_name);
PG_FUNCTION_INFO_V1(profiles_source_columns);
PG_FUNCTION_INFO_V1(profiles_source_relation);

/*
 * Built-in functions that are STABLE only because they read settings which are
 * pinned whenever an expression is evaluated.  A trailing * stands for any rest.
 */
static const char *const pinned_functions[] = {
	"anytextcat", "array_in", "array_out", "array_to_*", "cash_in", "cash_out",
	"concat", "concat_ws", "convert", "convert_from", "convert_to",
	"date", "date_*", "domain_in", "enum_in", "enum_out", "extract", "format",
	"interval_in", "interval_out", "interval_pl_timestamptz",
	"json_build_*", "jsonb_build_*", "json_populate_record",
	"jsonb_populate_record", "jsonb_path_*", "length", "make_timestamptz",
	"money", "multirange_in", "multirange_out", "numeric", "overlaps",
	"quote_literal", "quote_nullable", "range_in", "range_out", "record_in",
	"record_out", "row_to_json", "textanycat", "time", "time_in", "timestamp",
	"timestamp_*", "timestamptz", "timestamptz_*", "timetz", "timetz_in",
	"timezone", "to_char", "to_date", "to_json", "to_jsonb", "to_number",
	"to_timestamp", "xml", "xml_in", "xml_out"
};

bool
profiles_reads_pinned_settings_only(Form_pg_proc proc)
{
	if (proc->pronamespace != PG_CATALOG_NAMESPACE)
		return false;
	for (int i = 0; i < (int) lengthof(pinned_functions); i++)
	{
		const char *pattern = pinned_functions[i];
		int			len = strlen(pattern);

		if (pattern[len - 1] == '*'
			? strncmp(NameStr(proc->proname), pattern, len - 1) == 0
			: strcmp(NameStr(proc->proname), pattern) == 0)
			return true;
	}
	return false;
}

/* For check_functions_in_node(): may this function give another result later? */
static bool
function_is_mutable(Oid function, void *context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	result = proc->provolatile != PROVOLATILE_IMMUTABLE &&
		!(proc->provolatile == PROVOLATILE_STABLE && profiles_reads_pinned_settings_only(proc));
	if (result)
		*(char **) context = format_procedure(function);
	ReleaseSysCache(tuple);
	return result;
}

/* Finds what makes an expression mutable; its name goes to *context. */
static bool
find_mutable(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, function_is_mutable, context))
		return true;
	if (IsA(node, SQLValueFunction))
	{
		*(char **) context = "a function of the current time, user or schema";
		return true;
	}
	if (IsA(node, NextValueExpr))
	{
		*(char **) context = "nextval";
		return true;
	}
	/* a row has them only as long as it stays where it is */
	if (IsA(node, Var) && ((Var *) node)->varattno < 0)
	{
		*(char **) context = "a system column";
		return true;
	}
	return expression_tree_walker(node, find_mutable, context);
}

/* The one expression in a text, raw; anything else is refused. */
Node *
profiles_parse_expression(ParseState *pstate, const char *text)
{
	List	   *list = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *stmt = castNode(SelectStmt, linitial_node(RawStmt, list)->stmt);
	ResTarget  *target;

	if (stmt->op != SETOP_NONE || stmt->distinctClause != NIL ||
		list_length(stmt->targetList) != 1 || stmt->fromClause != NIL ||
		stmt->whereClause != NULL || stmt->groupClause != NIL ||
		stmt->havingClause != NULL || stmt->windowClause != NIL ||
		stmt->valuesLists != NIL || stmt->sortClause != NIL ||
		stmt->limitOffset != NULL || stmt->limitCount != NULL ||
		stmt->lockingClause != NIL || stmt->withClause != NULL ||
		stmt->intoClause != NULL)
	{
		Node	   *extra = list_length(stmt->targetList) > 1 ? lsecond(stmt->targetList) :
			stmt->fromClause != NIL ? (Node *) stmt->fromClause :
			stmt->whereClause != NULL ? stmt->whereClause :
			stmt->groupClause != NIL ? (Node *) stmt->groupClause :
			stmt->havingClause != NULL ? stmt->havingClause :
			stmt->sortClause != NIL ? (Node *) stmt->sortClause :
			stmt->limitCount != NULL ? stmt->limitCount : stmt->limitOffset;

		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("not a single expression: %s", text),
				 parser_errposition(pstate, exprLocation(extra))));
	}
	target = linitial_node(ResTarget, stmt->targetList);
	if (target->name != NULL || target->indirection != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("an expression has no name: %s", text),
				 parser_errposition(pstate, target->location)));
	if (IsA(target->val, ColumnRef) &&
		IsA(llast(((ColumnRef *) target->val)->fields), A_Star))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"*\" is not an expression"),
				 parser_errposition(pstate, target->location)));
	return target->val;
}

/*
 * Casts between timestamps with and without time zone read the setting TimeZone,
 * which is UTC wherever events are folded.  Said in the expression itself, it is
 * so for whoever reads events too, and an index can hold the value.
 */
static Node *
cast_in_utc(Node *node, void *context)
{
	FuncExpr   *cast;
	Node	   *arg;

	if (node == NULL)
		return NULL;
	node = expression_tree_mutator(node, cast_in_utc, context);
	if (!IsA(node, FuncExpr))
		return node;
	cast = (FuncExpr *) node;
	if (cast->funcid != F_TIMESTAMPTZ_TIMESTAMP && cast->funcid != F_TIMESTAMPTZ_DATE &&
		cast->funcid != F_TIMESTAMP_TIMESTAMPTZ && cast->funcid != F_DATE_TIMESTAMPTZ)
		return node;
	arg = linitial(cast->args);
	if (cast->funcid == F_TIMESTAMPTZ_DATE)
		arg = (Node *) makeFuncExpr(F_TIMESTAMP_DATE, TIMESTAMPOID, list_make1(arg),
									InvalidOid, InvalidOid, COERCE_EXPLICIT_CAST);
	arg = (Node *) makeFuncExpr(exprType(arg) == TIMESTAMPOID
								? F_TIMEZONE_TEXT_TIMESTAMP : F_TIMEZONE_TEXT_TIMESTAMPTZ,
								exprType(arg) == TIMESTAMPOID ? TIMESTAMPTZOID : TIMESTAMPOID,
								list_make2(makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
													 CStringGetTextDatum("UTC"), false, false),
										   arg),
								InvalidOid, DEFAULT_COLLATION_OID, COERCE_SQL_SYNTAX);
	if (cast->funcid == F_DATE_TIMESTAMPTZ)
		arg = (Node *) makeFuncExpr(F_DATE_TIMESTAMP, DATEOID, list_make1(arg),
									InvalidOid, InvalidOid, COERCE_EXPLICIT_CAST);
	return arg;
}

/* Analyses and checks an expression over the row that pstate knows. */
static Expr *
analyse_expression(ParseState *pstate, const char *text, Oid target_type)
{
	Node	   *raw;
	Node	   *expr;
	Oid			type;
	char	   *culprit = NULL;

	pstate->p_sourcetext = text;
	raw = profiles_parse_expression(pstate, text);
	expr = transformExpr(pstate, raw, EXPR_KIND_OTHER);
	if (pstate->p_hasSubLinks || pstate->p_hasAggs || pstate->p_hasWindowFuncs ||
		expression_returns_set(expr))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("an expression must not use subqueries, aggregates, window functions or functions that return sets"),
				 errhint("Do that in a view, and name the view as the source.")));

	type = exprType(expr);
	if (!OidIsValid(target_type) && type == UNKNOWNOID)
		target_type = TEXTOID;
	if (OidIsValid(target_type) && type != target_type)
	{
		/* a condition is a condition; keys and times may be cast */
		Node	   *coerced = coerce_to_target_type(pstate, expr, type, target_type, -1,
													target_type == BOOLOID
													? COERCION_IMPLICIT : COERCION_EXPLICIT,
													COERCE_EXPLICIT_CAST, -1);

		if (coerced == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CANNOT_COERCE),
					 errmsg("it is of type %s, not %s", format_type_be(type),
							format_type_be(target_type)),
					 target_type == TIMESTAMPTZOID
					 ? errhint("Turn a number of milliseconds into a time with to_timestamp(value / 1000.0), one of seconds with to_timestamp(value).")
					 : errhint("Cast it.")));
		expr = coerced;
	}
	type = exprType(expr);
	if (get_typtype(type) == TYPTYPE_PSEUDO)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("it is of pseudo-type %s", format_type_be(type)),
				 errhint("Cast it, for example to text: (%s)::text.", text)));
	expr = cast_in_utc(expr, NULL);
	assign_expr_collations(pstate, expr);

	if (find_mutable(expr, &culprit))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("it is not immutable, because of %s", culprit),
				 errhint("The same event must always give the same value: use only columns of the row, constants and IMMUTABLE functions.")));

	type = exprType(expr);
	if (type_is_collatable(type) && !OidIsValid(exprCollation(expr)))
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_COLLATION),
				 errmsg("could not determine which collation to use"),
				 errhint("Use the COLLATE clause to set the collation explicitly.")));
	return (Expr *) expr;
}

char *
profiles_relation_text(Oid relid)
{
	return DatumGetCString(DirectFunctionCall1(regclassout, ObjectIdGetDatum(relid)));
}

/* The type that a column of a source's view must have, if one. */
Oid
profiles_column_type(const char *name)
{
	if (strcmp(name, "user_id") == 0 || strcmp(name, "account_id") == 0)
		return TEXTOID;
	if (strcmp(name, "seen_at") == 0)
		return TIMESTAMPTZOID;
	if (strncmp(name, "keep ", 5) == 0)
		return BOOLOID;
	return InvalidOid;
}

/* analyse_expression() of a given entry; errors say which one it is. */
static Expr *
analyse_entry(ParseState *pstate, Relation relation, SourceEntry *entry)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *relation_text = profiles_relation_text(RelationGetRelid(relation));
	TupleDesc	tupdesc = RelationGetDescr(relation);
	StringInfoData columns;
	Expr	   *volatile expr = NULL;

	initStringInfo(&columns);
	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped)
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "",
							 quote_identifier(NameStr(TupleDescAttr(tupdesc, i)->attname)));
	PG_TRY();
	{
		expr = analyse_expression(pstate, entry->expression, profiles_column_type(entry->name));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
		{
			error->message = strncmp(entry->name, "keep ", 5) == 0
				? psprintf("filter of %s: %s", relation_text, error->message)
				: psprintf("mapping of \"%s\" on %s: %s", entry->name, relation_text, error->message);
			if (error->hint == NULL)
				error->hint = psprintf("Columns of %s are: %s.", relation_text, columns.data);
			/* where it stands in our statements helps nobody */
			error->cursorpos = 0;
			error->internalpos = 0;
			error->internalquery = NULL;
			error->context = NULL;
		}
		ReThrowError(error);
	}
	PG_END_TRY();
	return expr;
}

/* First what every source has, then attributes, then conditions; by name. */
static int
compare_targets(const ListCell *a, const ListCell *b)
{
	static const char *const order[] = {"user_id", "account_id", "seen_at", "session", "name", "email"};
	const char *names[2] = {lfirst_node(TargetEntry, a)->resname, lfirst_node(TargetEntry, b)->resname};
	int			ranks[2];

	for (int i = 0; i < 2; i++)
	{
		ranks[i] = strncmp(names[i], "keep ", 5) == 0 ? 9 : 8;
		for (int j = 0; j < (int) lengthof(order); j++)
			if (strcmp(names[i], order[j]) == 0)
				ranks[i] = j;
	}
	return ranks[0] != ranks[1] ? ranks[0] - ranks[1] : strcmp(names[0], names[1]);
}

/*
 * The query of a source's view: what the view said before, if there was one,
 * with the given entries in place.  It is built from analysed expressions, never
 * from text, so that what was checked is what is kept.  Runs as the adder.
 */
Query *
profiles_source_query(Relation relation, SourceDefinition *before, List *entries)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	List	   *targets = before == NULL ? NIL : list_copy(before->targets);
	Query	   *query = makeNode(Query);
	Bitmapset  *columns = NULL;
	ListCell   *lc;
	int			n = 0;

	if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is temporary", profiles_relation_text(RelationGetRelid(relation))),
				 errhint("A source must be there for every session.")));
	item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
										 NULL, true, true);
	addNSItemToQuery(pstate, item, true, true, true);
	foreach(lc, entries)
	{
		SourceEntry *entry = lfirst(lc);
		ListCell   *old;

		foreach(old, targets)
			if (strcmp(lfirst_node(TargetEntry, old)->resname, entry->name) == 0)
				targets = foreach_delete_current(targets, old);
		if (entry->expression != NULL)
			targets = lappend(targets,
							  makeTargetEntry(analyse_entry(pstate, relation, entry), 0,
											  pstrdup(entry->name), false));
	}
	list_sort(targets, compare_targets);
	foreach(lc, targets)
		lfirst_node(TargetEntry, lc)->resno = ++n;
	pull_varattnos((Node *) targets, 1, &columns);

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = pstate->p_rtable;
	query->jointree = makeFromExpr(pstate->p_joinlist, NULL);
	query->targetList = targets;
	PROFILES_SELECTED_COLUMNS(query, pstate, columns);
	return query;
}

/* _check_name(name text): refuses what is no attribute's name. */
Datum
profiles_check_name(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!profile_name_is_valid(name, strlen(name)))
		profile_name_error(name);
	PG_RETURN_VOID();
}

/*
 * _accessor_attribute(expression pg_node_tree): the name that a call has as its
 * second argument, NULL if there is none.
 */
Datum
profiles_accessor_attribute(PG_FUNCTION_ARGS)
{
	FuncExpr   *call = stringToNode(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Const	   *name;

	if (call == NULL || !IsA(call, FuncExpr) || list_length(call->args) < 2)
		PG_RETURN_NULL();
	name = lsecond(call->args);
	if (!IsA(name, Const) || name->consttype != TEXTOID || name->constisnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(name->constvalue);
}

/* For check_functions_in_node(). */
static bool
collect_function(Oid function, void *context)
{
	List	  **functions = context;

	*functions = list_append_unique_oid(*functions, function);
	return false;
}

/*
 * Collects the functions that an expression or query calls by name or operator.
 * Casts are left out: which function one calls follows from the types alone.
 */
bool
profiles_collect_functions(Node *node, List **functions)
{
	if (node == NULL)
		return false;
	if (!IsA(node, CoerceViaIO) &&
		!(IsA(node, FuncExpr) && (((FuncExpr *) node)->funcformat == COERCE_EXPLICIT_CAST ||
								  ((FuncExpr *) node)->funcformat == COERCE_IMPLICIT_CAST)))
		(void) check_functions_in_node(node, collect_function, functions);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, profiles_collect_functions, functions, 0);
	return expression_tree_walker(node, profiles_collect_functions, functions);
}

static bool
uses_whole_row(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varattno == 0;
	return expression_tree_walker(node, uses_whole_row, context);
}

/*
 * The query of a source's view, and where it reads the events from; NULL if the
 * view is not one of a source: any may be asked about, and its owner may change it.
 */
static Query *
source_view_query(Relation view, RangeTblRef **from)
{
	Query	   *query;
	RangeTblEntry *rte;

	if (view->rd_rel->relkind != RELKIND_VIEW)
		return NULL;
	query = get_view_query(view);
	if (list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return NULL;
	*from = linitial_node(RangeTblRef, query->jointree->fromlist);
	rte = rt_fetch((*from)->rtindex, query->rtable);
	if (rte->rtekind != RTE_RELATION || rte->tablesample != NULL || !rte->inh ||
		query->jointree->quals != NULL || query->setOperations != NULL ||
		query->hasAggs || query->hasWindowFuncs || query->hasTargetSRFs || query->hasSubLinks ||
		query->cteList != NIL || query->groupClause != NIL || query->groupingSets != NIL ||
		query->havingQual != NULL || query->distinctClause != NIL || query->sortClause != NIL ||
		query->limitOffset != NULL || query->limitCount != NULL || query->rowMarks != NIL)
		return NULL;
	return query;
}

/*
 * The relation of events of a source's view, on which it takes no lock; InvalidOid
 * if the view is gone, or not one of a source.
 */
Oid
profiles_source_events(Oid view)
{
	Relation	relation = try_table_open(view, AccessShareLock);
	RangeTblRef *from;
	Query	   *query;
	Oid			events = InvalidOid;

	if (relation == NULL)
		return InvalidOid;
	query = source_view_query(relation, &from);
	if (query != NULL)
		events = rt_fetch(from->rtindex, query->rtable)->relid;
	table_close(relation, NoLock);
	return events;
}

/*
 * What a source's view says: its owner, its relation, its columns as
 * expressions over that relation's row.
 *
 * The caller must have pinned the settings, so that names come out qualified.
 */
SourceDefinition *
profiles_source_definition(Oid view)
{
	Relation	relation = table_open(view, AccessShareLock);
	SourceDefinition *source = palloc0(sizeof(SourceDefinition));
	RangeTblRef *from;
	Query	   *query = source_view_query(relation, &from);
	List	   *context;
	ListCell   *lc;

	if (query == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the source's view is not as it was made"),
				 errhint("Drop the source and add it again.")));
	query = copyObject(query);
	source->owner = relation->rd_rel->relowner;
	source->relation = rt_fetch(from->rtindex, query->rtable)->relid;
	context = deparse_context_for(get_rel_name(source->relation), source->relation);
	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		SourceColumn *column = palloc(sizeof(SourceColumn));
		Node	   *expr = (Node *) entry->expr;

		ChangeVarNodes(expr, from->rtindex, 1, 0);
		column->name = entry->resname;
		column->expr = entry->expr;
		column->is_column = IsA(expr, Var) && ((Var *) expr)->varattno > 0;
		column->is_whole_row = uses_whole_row(expr, NULL);
		column->expression = deparse_expression(expr, context, false, false);
		source->columns = lappend(source->columns, column);
		source->targets = lappend(source->targets, entry);
		(void) profiles_collect_functions(expr, &source->functions);
	}
	table_close(relation, NoLock);
	return source;
}

/* _source_columns(view regclass) -> rows (name, expression) */
Datum
profiles_source_columns(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SourceDefinition *source;
	ListCell   *lc;
	int			settings;

	InitMaterializedSRF(fcinfo, 0);
	/* it may have been replaced while we waited for its lock */
	LockRelationOid(PG_GETARG_OID(0), AccessShareLock);
	if (!SearchSysCacheExists1(RELOID, PG_GETARG_DATUM(0)))
		return (Datum) 0;
	settings = profiles_pin_settings();
	source = profiles_source_definition(PG_GETARG_OID(0));
	profiles_unpin_settings(settings);
	foreach(lc, source->columns)
	{
		SourceColumn *column = lfirst(lc);
		Datum		values[2];
		bool		nulls[2] = {false, false};

		values[0] = CStringGetTextDatum(column->name);
		values[1] = CStringGetTextDatum(column->expression);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _source_relation(view regclass): the relation of events, NULL if it is not the view of a source. */
Datum
profiles_source_relation(PG_FUNCTION_ARGS)
{
	Oid			events = profiles_source_events(PG_GETARG_OID(0));

	if (!OidIsValid(events))
		PG_RETURN_NULL();
	PG_RETURN_OID(events);
}
