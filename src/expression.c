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
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
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
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(profiles_check_name);
PG_FUNCTION_INFO_V1(profiles_expression);
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

static bool
reads_pinned_settings_only(Form_pg_proc proc)
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
		!(proc->provolatile == PROVOLATILE_STABLE && reads_pinned_settings_only(proc));
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
	return expression_tree_walker(node, find_mutable, context);
}

/* The one expression in a text, raw; anything else is refused. */
static Node *
parse_expression(ParseState *pstate, const char *text)
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
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("not a single expression: %s", text)));
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
 * Analyses an expression over a relation's row, checks it and gives it back as
 * SQL in which every name is qualified that needs to be.
 */
static char *
analyse_expression(Relation relation, const char *text, Oid target_type)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	Node	   *raw;
	Node	   *expr;
	Oid			type;
	char	   *culprit = NULL;

	pstate->p_sourcetext = text;
	item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
										 NULL, true, true);
	addNSItemToQuery(pstate, item, false, true, true);

	raw = parse_expression(pstate, text);
	expr = transformExpr(pstate, raw, EXPR_KIND_OTHER);
	if (pstate->p_hasSubLinks || pstate->p_hasAggs || pstate->p_hasWindowFuncs ||
		pstate->p_hasTargetSRFs)
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
	assign_expr_collations(pstate, expr);

	if (find_mutable(expr, &culprit))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("it is not immutable, because of %s", culprit),
				 errhint("The same event must always give the same value: use only columns of the row, constants and IMMUTABLE functions.")));

	return deparse_expression(expr,
							  deparse_context_for(RelationGetRelationName(relation),
												  RelationGetRelid(relation)),
							  false, false);
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
 * _expression(role oid, relation regclass, expression text, type oid): the
 * checked expression, with the rights of a role.
 */
Datum
profiles_expression(PG_FUNCTION_ARGS)
{
	Oid			role = PG_GETARG_OID(0);
	Oid			relid = PG_GETARG_OID(1);
	char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Oid			type = PG_GETARG_OID(3);
	ProfilesRole caller;
	Relation	relation;
	char	   *result;

	profiles_check_caller_has(role);
	caller = profiles_become_adder(role);
	relation = table_open(relid, AccessShareLock);
	result = analyse_expression(relation, given, type);
	table_close(relation, NoLock);
	profiles_become_caller(caller);
	PG_RETURN_TEXT_P(cstring_to_text(result));
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
	Query	   *query;
	RangeTblRef *from;
	List	   *context;
	ListCell   *lc;

	if (relation->rd_rel->relkind != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a view", RelationGetRelationName(relation))));
	query = copyObject(get_view_query(relation));
	if (list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef) ||
		query->jointree->quals != NULL)
		elog(ERROR, "view \"%s\" is no source's", RelationGetRelationName(relation));
	from = linitial_node(RangeTblRef, query->jointree->fromlist);

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
		column->is_column = IsA(expr, Var) && ((Var *) expr)->varattno > 0;
		column->is_whole_row = uses_whole_row(expr, NULL);
		column->expression = deparse_expression(expr, context, false, false);
		source->columns = lappend(source->columns, column);
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

/* _source_relation(view regclass): the relation of events. */
Datum
profiles_source_relation(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(profiles_source_definition(PG_GETARG_OID(0))->relation);
}
