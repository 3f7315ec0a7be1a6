/*
 * filter.c
 *		Filters: boolean expressions over users or accounts.
 *
 * One language serves segments and every filter argument.  A filter is parsed by
 * PostgreSQL's parser in expression mode and analysed against the columns of the
 * relation.  Whoever's rights it is evaluated with, it gains and harms nothing,
 * because all that it may call is built in, or in C and immutable, and its types
 * bring no code of users.  So what is checked is the analysed form, and a literal
 * of a user's type, whose input runs during analysis, runs as its writer.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_func.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "profile.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(profiles_filter);
PG_FUNCTION_INFO_V1(profiles_in_segment);

#define IN_SEGMENT	"in_segment"
#define MAX_REFERENCES	1000	/* to segments, in a filter and the segments in it */

/* Built-in functions of the current time: stable, and the same for everybody. */
static const char *const time_functions[] = {
	"age", "now", "statement_timestamp", "transaction_timestamp"
};

/* ---------- what may be in a filter ---------- */

static bool
function_is_allowed(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		builtin;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	builtin = proc->oid < FirstNormalObjectId && proc->pronamespace == PG_CATALOG_NAMESPACE;
	if (proc->provolatile == PROVOLATILE_IMMUTABLE)
		result = builtin || proc->prolang == INTERNALlanguageId || proc->prolang == ClanguageId;
	else
		result = proc->provolatile == PROVOLATILE_STABLE && builtin &&
			profiles_reads_pinned_settings_only(proc);
	for (int i = 0; i < (int) lengthof(time_functions); i++)
		result |= proc->provolatile == PROVOLATILE_STABLE && builtin &&
			strcmp(NameStr(proc->proname), time_functions[i]) == 0;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Only types whose functions nobody but a superuser can have made: no domains,
 * whose conditions are code, nor enums, which may have casts, nor what has those
 * as members.
 */
static bool
type_is_allowed(Oid type)
{
	HeapTuple	tuple;
	Form_pg_type form;
	Oid			element;
	bool		result;

	check_stack_depth();
	if (type == RECORDOID || type == RECORDARRAYOID || type == UNKNOWNOID)
		return true;
	element = get_element_type(type);
	if (OidIsValid(element))
		return type_is_allowed(element);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	result = form->typtype == TYPTYPE_BASE ||
		((form->typtype == TYPTYPE_RANGE || form->typtype == TYPTYPE_MULTIRANGE) &&
		 type < FirstNormalObjectId);
	ReleaseSysCache(tuple);
	return result;
}

typedef struct FilterCheck
{
	ParseState *pstate;			/* NULL: it was not typed now */
	Oid			role;			/* whose filter it is */
	Oid			owner;			/* of the extension */
	Node	   *node;			/* being looked at */
} FilterCheck;

/*
 * A filter argument is parsed again where it is used.  So nobody may be able to
 * put something else under the name of what was checked, who could not do worse
 * to the extension's owner anyway.
 */
static bool
object_is_trusted(FilterCheck *check, Oid owner, Oid namespace)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(namespace));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for schema %u", namespace);
	result = profiles_is_trusted(owner, check->owner) &&
		profiles_is_trusted(((Form_pg_namespace) GETSTRUCT(tuple))->nspowner, check->owner);
	ReleaseSysCache(tuple);
	return result;
}

static bool
function_is_trusted(FilterCheck *check, Oid function)
{
	HeapTuple	tuple;
	Form_pg_proc proc;
	bool		result;

	if (function < FirstNormalObjectId)
		return true;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	result = object_is_trusted(check, proc->proowner, proc->pronamespace);
	ReleaseSysCache(tuple);
	return result;
}

static void
check_operator(FilterCheck *check, Oid operator)
{
	HeapTuple	tuple;
	Form_pg_operator form;

	if (operator < FirstNormalObjectId)
		return;
	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	if (!object_is_trusted(check, form->oprowner, form->oprnamespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a filter can't use operator %s", format_operator(operator)),
				 errhint("Operators must come with PostgreSQL, or belong to a superuser or the extension's owner, as must their schema."),
				 parser_errposition(check->pstate, exprLocation(check->node))));
	ReleaseSysCache(tuple);
}

/* For check_functions_in_node(). */
static bool
check_function(Oid function, void *context)
{
	FilterCheck *check = context;

	if (!function_is_allowed(function) || !function_is_trusted(check, function))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a filter can't call function %s", format_procedure(function)),
				 errhint("Functions must come with PostgreSQL, or be immutable ones in C of an extension, and depend on nothing but their arguments and the current time. What others give can be imported with profiles.add_attributes()."),
				 parser_errposition(check->pstate, exprLocation(check->node))));
	if (!PROFILES_MAY_EXECUTE(function, check->role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", format_procedure(function)),
				 parser_errposition(check->pstate, exprLocation(check->node))));
	return false;
}

static bool
check_node(Node *node, void *context)
{
	FilterCheck *check = context;

	if (node == NULL)
		return false;
	/* what is no expression by itself has no type */
	if (!IsA(node, List) && !IsA(node, CaseWhen) && !type_is_allowed(exprType(node)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a filter can't use values of type %s", format_type_be(exprType(node))),
				 errhint("Use built-in types."),
				 parser_errposition(check->pstate, exprLocation(node))));
	if (IsA(node, Var) && ((Var *) node)->varattno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a filter can't use the row as a whole"),
				 parser_errposition(check->pstate, exprLocation(node))));
	if (IsA(node, SQLValueFunction) && ((SQLValueFunction *) node)->op > SVFOP_LOCALTIMESTAMP_N)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a filter can't depend on who reads it"),
				 parser_errposition(check->pstate, exprLocation(node))));
	check->node = node;
	if (IsA(node, OpExpr) || IsA(node, DistinctExpr) || IsA(node, NullIfExpr))
		check_operator(check, ((OpExpr *) node)->opno);
	else if (IsA(node, ScalarArrayOpExpr))
		check_operator(check, ((ScalarArrayOpExpr *) node)->opno);
	else if (IsA(node, RowCompareExpr))
	{
		ListCell   *lc;

		foreach(lc, ((RowCompareExpr *) node)->opnos)
			check_operator(check, lfirst_oid(lc));
	}
	(void) check_functions_in_node(node, check_function, check);
	return expression_tree_walker(node, check_node, context);
}

/* ---------- analysis ---------- */

typedef struct RawCheck
{
	ParseState *pstate;
	bool		of_profiles;	/* is it over users or accounts? */
	char	   *schema;			/* then the extension's */
} RawCheck;

/* Refuses subqueries, and lets in_segment be written without its schema. */
static bool
prepare_raw(Node *node, void *context)
{
	RawCheck   *check = context;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a filter can't have subqueries"),
				 check->of_profiles
				 ? errhint("Import the value with profiles.add_attributes(), or use in_segment('name').")
				 : errhint("Do that in a view, and name the view as the source."),
				 parser_errposition(check->pstate, ((SubLink *) node)->location)));
	if (IsA(node, FuncCall))
	{
		FuncCall   *call = (FuncCall *) node;

		if (check->of_profiles && list_length(call->funcname) == 1 && strcmp(strVal(linitial(call->funcname)), IN_SEGMENT) == 0)
			call->funcname = list_make2(makeString(check->schema), linitial(call->funcname));
	}
	return raw_expression_tree_walker(node, prepare_raw, context);
}

/* The analysed form of an expression over a relation; the Vars are of relation 1. */
static Node *
transform(ParseState *pstate, Relation relation, const char *alias, const char *text,
		  bool condition, bool of_profiles)
{
	ParseNamespaceItem *item;
	RawCheck	check;
	Node	   *node;

	pstate->p_sourcetext = text;
	item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
										 makeAlias(alias, NIL), false, true);
	addNSItemToQuery(pstate, item, false, true, true);
	node = profiles_parse_expression(pstate, text);
	check.pstate = pstate;
	check.of_profiles = of_profiles;
	check.schema = get_namespace_name(RelationGetNamespace(relation));
	(void) prepare_raw(node, &check);
	node = transformExpr(pstate, node, EXPR_KIND_WHERE);
	if (condition)
		node = coerce_to_boolean(pstate, node, "filter");
	assign_expr_collations(pstate, node);
	return node;
}

/* The same, checked to be a filter of a role. */
static Node *
analyse(Relation relation, const char *text, Oid role)
{
	ParseState *pstate = make_parsestate(NULL);
	Node	   *node = transform(pstate, relation, "p", text, true, true);
	FilterCheck check;

	check.pstate = pstate;
	check.role = role;
	check.owner = relation->rd_rel->relowner;
	(void) check_node(node, &check);
	return node;
}

/*
 * Error context: makes the position of an error one in the text.  In time, that
 * is before the callback of a query that all this is part of does.
 */
static void
point_into(void *text)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(text);
	}
}

static void
push_text(ErrorContextCallback *callback, const char *text)
{
	callback->callback = point_into;
	callback->arg = unconstify(char *, text);
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

/*
 * Analyses a filter over a relation of profiles, as the given role; references to
 * segments stay what they are.  The result is in the current context.  Errors
 * point at the place in the filter.
 */
Node *
profiles_analyse_filter(Oid relid, const char *text, Oid role)
{
	Relation	relation = table_open(relid, AccessShareLock);
	ProfilesRole caller = profiles_become_adder(role);
	ErrorContextCallback callback;
	Node	   *filter;

	push_text(&callback, text);
	filter = analyse(relation, text, role);
	error_context_stack = callback.previous;
	profiles_become_caller(caller);
	table_close(relation, NoLock);
	return filter;
}

/*
 * An expression over the row of a relation, as checked SQL in which the relation
 * is called alias; a condition, or of any type.  Unlike filters it may call what
 * its writer may, since it is evaluated as that role: the current user.
 */
char *
profiles_row_expression(Relation relation, const char *alias, const char *text, bool condition)
{
	ParseState *pstate = make_parsestate(NULL);
	ErrorContextCallback callback;
	Node	   *node;

	push_text(&callback, text);
	node = transform(pstate, relation, alias, text, condition, false);
	if (contain_volatile_functions(node))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a filter or order must not call volatile functions"),
				 parser_errposition(pstate, exprLocation(node))));
	error_context_stack = callback.previous;
	return deparse_expression(node, deparse_context_for(alias, RelationGetRelid(relation)), true, false);
}

/* ---------- segments in filters ---------- */

/* in_segment(text) of the extension that a relation of profiles belongs to */
static Oid
in_segment_function(Oid relid)
{
	return LookupFuncName(list_make2(makeString(get_namespace_name(get_rel_namespace(relid))),
									 makeString(IN_SEGMENT)), 1, (Oid[]) {TEXTOID}, false);
}

/*
 * A segment within a filter is stored as CASE WHEN true THEN its filter ELSE
 * in_segment(its name) END, which the planner takes for its filter, and from which
 * the name can be read back.  Users' own CASE can't look like that, since every
 * in_segment of theirs is itself within such a one.
 */
static Node *
marked_segment(Node *node, Oid function)
{
	CaseExpr   *expr = (CaseExpr *) node;
	Node	   *condition;

	if (!IsA(node, CaseExpr) || expr->arg != NULL || list_length(expr->args) != 1 ||
		expr->defresult == NULL || !IsA(expr->defresult, FuncExpr) ||
		((FuncExpr *) expr->defresult)->funcid != function)
		return NULL;
	condition = (Node *) linitial_node(CaseWhen, expr->args)->expr;
	if (!IsA(condition, Const) || ((Const *) condition)->constisnull ||
		!DatumGetBool(((Const *) condition)->constvalue))
		return NULL;
	return (Node *) expr->defresult;
}

typedef struct Expansion
{
	Oid			relation;		/* users or accounts */
	Oid			function;		/* in_segment */
	List	   *inside;			/* names of segments that are being expanded */
	int			count;			/* of references so far */
	bool		marked;			/* leave marks? */
	bool		strict;			/* is NULL not the same as false here? */
	const char *text;			/* what was typed, while the node is part of it */
} Expansion;

/* Where an error in a reference to a segment stands. */
static int
segment_position(Expansion *expansion, FuncExpr *call)
{
	if (expansion->text == NULL || call->location < 0)
		return 0;
	internalerrquery(expansion->text);
	return internalerrposition(pg_mbstrlen_with_len(expansion->text, call->location) + 1);
}

/* The name that a reference to a segment gives. */
static char *
segment_name(Expansion *expansion, FuncExpr *call)
{
	Const	   *argument = linitial(call->args);

	if (!IsA(argument, Const) || argument->constisnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("in_segment needs the name of a segment in quotes"),
				 errhint("Write in_segment('name')."),
				 segment_position(expansion, call)));
	return TextDatumGetCString(argument->constvalue);
}

static Node *
unmark(Node *node, void *context)
{
	Expansion  *expansion = context;
	Node	   *segment;

	if (node == NULL)
		return NULL;
	segment = marked_segment(node, expansion->function);
	if (segment != NULL)
		return copyObject(segment);
	return expression_tree_mutator(node, unmark, context);
}

/*
 * The filter of a segment's view, with references to segments as they were
 * written, and the relation that it is over; the Vars are of relation 1.
 */
Node *
profiles_segment_filter(Oid view, Oid *over)
{
	Relation	relation = try_relation_open(view, AccessShareLock);
	Expansion	expansion = {0};
	FilterCheck check = {0};
	Query	   *query = NULL;
	RangeTblRef *from = NULL;
	RangeTblEntry *rte = NULL;
	Node	   *filter;

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the view of a segment was dropped"),
				 errhint("profiles.segments lists the segments that there are.")));
	if (relation->rd_rel->relkind == RELKIND_VIEW)
	{
		query = copyObject(get_view_query(relation));
		if (list_length(query->jointree->fromlist) == 1 && IsA(linitial(query->jointree->fromlist), RangeTblRef))
		{
			from = linitial_node(RangeTblRef, query->jointree->fromlist);
			rte = rt_fetch(from->rtindex, query->rtable);
		}
	}
	/* its owner may have changed it */
	if (rte == NULL || rte->rtekind != RTE_RELATION || query->jointree->quals == NULL ||
		(rte->relid != get_relname_relid("users", RelationGetNamespace(relation)) &&
		 rte->relid != get_relname_relid("accounts", RelationGetNamespace(relation))) ||
		query->hasSubLinks)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("view \"%s\" is not the view of a segment", RelationGetRelationName(relation)),
				 errhint("Drop it, and create the segment again.")));
	*over = rte->relid;
	filter = query->jointree->quals;
	ChangeVarNodes(filter, from->rtindex, 1, 0);
	expansion.function = in_segment_function(rte->relid);
	filter = unmark(filter, &expansion);
	check.role = relation->rd_rel->relowner;
	check.owner = profiles_relation_owner(rte->relid);
	(void) check_node(filter, &check);
	relation_close(relation, NoLock);
	return filter;
}

/* The filter of a segment that a filter refers to. */
static Node *
referenced_filter(Expansion *expansion, FuncExpr *call, const char *name)
{
	Oid			view = profiles_segment_view(name, get_rel_namespace(expansion->relation));
	Oid			over;
	Node	   *filter;

	if (!OidIsValid(view))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segment \"%s\" does not exist", name),
				 errhint("profiles.segments lists them."),
				 segment_position(expansion, call)));
	filter = profiles_segment_filter(view, &over);
	if (over != expansion->relation)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("segment \"%s\" is one of %s, not of %s", name,
						get_rel_name(over), get_rel_name(expansion->relation)),
				 segment_position(expansion, call)));
	return filter;
}

static Node *
expand(Node *node, void *context)
{
	Expansion  *expansion = context;
	FuncExpr   *call = (FuncExpr *) node;
	char	   *name;
	const char *given;
	ListCell   *lc;
	Node	   *filter;
	bool		strict;

	if (node == NULL)
		return NULL;
	if (!IsA(node, FuncExpr) || call->funcid != expansion->function)
	{
		Node	   *result;

		strict = expansion->strict;
		if (!IsA(node, List) && !(IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR))
			expansion->strict = true;
		result = expression_tree_mutator(node, expand, context);
		expansion->strict = strict;
		return result;
	}
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	/* segments that refer twice to the next one would double it each time */
	if (++expansion->count > MAX_REFERENCES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a filter refers to segments more than %d times", MAX_REFERENCES),
				 errdetail("References within segments count each time.")));
	name = segment_name(expansion, call);
	foreach(lc, expansion->inside)
		if (strcmp(lfirst(lc), name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_RECURSION),
					 errmsg("segment \"%s\" would refer to itself", name),
					 segment_position(expansion, call)));
	filter = referenced_filter(expansion, call, name);
	given = expansion->text;
	strict = expansion->strict;
	expansion->text = NULL;
	expansion->strict = false;
	expansion->inside = lcons(name, expansion->inside);
	filter = expand(filter, expansion);
	expansion->inside = list_delete_first(expansion->inside);
	expansion->text = given;
	expansion->strict = strict;
	/* who is not in a segment is so, too, if its filter is NULL; elsewhere indexes are to be used */
	if (strict)
	{
		BooleanTest *test = makeNode(BooleanTest);

		test->arg = (Expr *) filter;
		test->booltesttype = IS_TRUE;
		test->location = -1;
		filter = (Node *) test;
	}
	if (expansion->marked)
	{
		CaseWhen   *when = makeNode(CaseWhen);
		CaseExpr   *mark = makeNode(CaseExpr);

		when->expr = (Expr *) makeBoolConst(true, false);
		when->result = (Expr *) filter;
		when->location = -1;
		mark->casetype = BOOLOID;
		mark->args = list_make1(when);
		mark->defresult = copyObject((Expr *) call);
		mark->location = -1;
		filter = (Node *) mark;
	}
	return filter;
}

/*
 * A filter with the filters of the segments that it refers to in their place.
 * text: what was typed, or NULL; inside: the segment that it is of, or NULL;
 * marked: so that the references can be read back.
 */
Node *
profiles_expand_segments(Node *filter, Oid relation, const char *text, const char *inside, bool marked)
{
	Expansion	expansion;

	expansion.relation = relation;
	expansion.function = in_segment_function(relation);
	expansion.inside = inside == NULL ? NIL : list_make1(pstrdup(inside));
	expansion.count = 0;
	expansion.marked = marked;
	expansion.strict = false;
	expansion.text = text;
	return expand(filter, &expansion);
}

typedef struct References
{
	Expansion	expansion;
	List	   *names;
} References;

static bool
collect_segments(Node *node, void *context)
{
	References *references = context;

	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == references->expansion.function)
		references->names = lappend(references->names,
									segment_name(&references->expansion, (FuncExpr *) node));
	return expression_tree_walker(node, collect_segments, context);
}

/* The names of the segments that a filter as it was written refers to. */
List *
profiles_segments_in(Node *filter, Oid relation)
{
	References	references = {{0}};

	references.expansion.function = in_segment_function(relation);
	(void) collect_segments(filter, &references);
	return references.names;
}

/* in_segment(segment text): is expanded wherever it may stand. */
Datum
profiles_in_segment(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("in_segment is for filters only"),
			 errhint("In SQL, use the view of the segment.")));
	PG_RETURN_NULL();
}

/* ---------- filter arguments ---------- */

/* The view users or accounts in a schema. */
Oid
profiles_relation_of_kind(const char *kind, Oid namespace)
{
	Oid			relation;

	if (strcmp(kind, "user") != 0 && strcmp(kind, "account") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown kind \"%s\"", kind),
				 errhint("The kinds are \"user\" and \"account\".")));
	relation = get_relname_relid(psprintf("%ss", kind), namespace);
	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there are no profiles yet"),
				 errhint("Add a source of events with profiles.add_source().")));
	return relation;
}

/* _filter(kind text, filter text): a filter as checked SQL over "p". */
Datum
profiles_filter(PG_FUNCTION_ARGS)
{
	Oid			relation;
	char	   *given;
	Node	   *filter;
	char	   *result;
	int			settings;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("kind must not be NULL")));
	relation = profiles_relation_of_kind(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										 get_func_namespace(fcinfo->flinfo->fn_oid));
	given = PG_ARGISNULL(1) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (given[strspn(given, " \t\n\r\f\v")] == '\0')
		PG_RETURN_TEXT_P(cstring_to_text("true"));

	settings = profiles_pin_settings();
	filter = profiles_analyse_filter(relation, given, profiles_filter_role(given));
	filter = profiles_expand_segments(filter, relation, given, NULL, false);
	result = deparse_expression(filter, deparse_context_for("p", relation), true, false);
	profiles_unpin_settings(settings);
	PG_RETURN_TEXT_P(cstring_to_text(result));
}
