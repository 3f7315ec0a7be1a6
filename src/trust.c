/*
 * trust.c
 *		What code a query would run that a role need not trust.
 *
 * Functions in a view run with the rights of whoever reads it, as do those in
 * policies of row-level security; views and policies may also read other tables with
 * those rights.  So reading a relation that another role owns
 * may run that role's code.  Here the query that is to be run, with views and
 * policies in it expanded, is searched for functions that are neither
 * PostgreSQL's nor of somebody who has the role's rights anyway.
 *
 * Some functions of PostgreSQL's call others that follow from the types of their
 * arguments: casts to json, conditions of domains, canonical functions of ranges.
 * So types that such a role could have given code are not handed to functions,
 * except to those that print a value or compare enums.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"
#include "upkeep.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(profiles_foreign_code);

typedef struct Trust
{
	Oid			role;			/* who would run it */
	bool		foreign_types;	/* has the query columns of such types? */
	List	   *inside;			/* views that are being looked into */
	ObjectAddress culprit;		/* what need not be trusted */
} Trust;

/*
 * May another role give code to one?  Whoever is a member of it, as superusers are of
 * all, could do as it does anyway.  What belongs to pg_database_owner belongs to
 * the database's owner, who is all its members.
 */
bool
profiles_is_trusted(Oid giver, Oid role)
{
	if (giver == ROLE_PG_DATABASE_OWNER)
	{
		HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
		giver = ((Form_pg_database) GETSTRUCT(tuple))->datdba;
		ReleaseSysCache(tuple);
	}
	return is_member_of_role(giver, role);
}

/* ---------- types ---------- */

static bool is_foreign_type(Trust *trust, Oid type);

static bool
has_foreign_column(Trust *trust, Oid type)
{
	TupleDesc	tupdesc = lookup_rowtype_tupdesc(type, -1);
	bool		result = false;

	for (int i = 0; i < tupdesc->natts && !result; i++)
		result = !TupleDescAttr(tupdesc, i)->attisdropped &&
			is_foreign_type(trust, TupleDescAttr(tupdesc, i)->atttypid);
	ReleaseTupleDesc(tupdesc);
	return result;
}

/* Could somebody who need not be trusted have given the type, or a part of it, code? */
static bool
is_foreign_type(Trust *trust, Oid type)
{
	HeapTuple	tuple;
	Form_pg_type form;
	Oid			element = get_element_type(type);
	char		typtype;
	Oid			base;
	bool		result;

	check_stack_depth();
	if (OidIsValid(element))
		return is_foreign_type(trust, element);
	if (type < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	typtype = form->typtype;
	base = form->typbasetype;
	/* base types are made by superusers */
	result = typtype != TYPTYPE_BASE && !profiles_is_trusted(form->typowner, trust->role);
	ReleaseSysCache(tuple);
	if (result)
		return true;
	switch (typtype)
	{
		case TYPTYPE_DOMAIN:
			return is_foreign_type(trust, base);
		case TYPTYPE_COMPOSITE:
			return has_foreign_column(trust, type);
		case TYPTYPE_RANGE:
			return is_foreign_type(trust, get_range_subtype(type));
		case TYPTYPE_MULTIRANGE:
			return is_foreign_type(trust, get_multirange_range(type));
		default:
			return false;
	}
}

static bool
find_type(Trust *trust, Oid type)
{
	if (!OidIsValid(type) || !(type == RECORDOID || type == RECORDARRAYOID
							   ? trust->foreign_types : is_foreign_type(trust, type)))
		return false;
	ObjectAddressSet(trust->culprit, TypeRelationId, type);
	return true;
}

static bool
find_types(Trust *trust, List *types)
{
	ListCell   *lc;

	foreach(lc, types)
	{
		if (find_type(trust, lfirst_oid(lc)))
			return true;
	}
	return false;
}

/* Are there columns of such types at all? */
static bool
note_foreign_types(Node *node, void *context)
{
	Trust	   *trust = context;

	if (node == NULL || trust->foreign_types)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, note_foreign_types, context, 0);
	if (IsA(node, Var))
		trust->foreign_types = is_foreign_type(trust, ((Var *) node)->vartype);
	return expression_tree_walker(node, note_foreign_types, context);
}

/* ---------- functions ---------- */

typedef struct Call
{
	Trust	   *trust;
	bool		any;			/* is a function called? */
	bool		harmless;		/* by none of them any other, whatever the types are */
} Call;

/* For check_functions_in_node(). */
static bool
find_function(Oid function, void *context)
{
	Call	   *call = context;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	const char *name;
	bool		foreign;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	name = NameStr(form->proname);
	call->any = true;
	foreign = function >= FirstNormalObjectId && !profiles_is_trusted(form->proowner, call->trust->role);
	call->harmless &= function >= FirstNormalObjectId
		? form->prolang == ClanguageId && strcmp(name, "_value_text") == 0
		: (strncmp(name, "enum_", 5) == 0 || strcmp(name, "record_out") == 0 || strcmp(name, "array_out") == 0 ||
		 strcmp(name, "range_out") == 0 || strcmp(name, "multirange_out") == 0 ||
		 strcmp(name, "textin") == 0 || strcmp(name, "count") == 0);
	ReleaseSysCache(tuple);
	if (foreign)
		ObjectAddressSet(call->trust->culprit, ProcedureRelationId, function);
	return foreign;
}

/* Arguments of a function that is called. */
static bool
find_in_argument(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
			return expression_tree_walker(node, find_in_argument, context);
		case T_TargetEntry:
			return find_in_argument((Node *) ((TargetEntry *) node)->expr, context);
		case T_SortGroupClause:
			return false;
		default:
			return find_type(context, exprType(node));
	}
}

/* ---------- what is read with the role's rights ---------- */

/* Is what a user reads, or InvalidOid for whoever runs the query, read as the role? */
static bool
reads_as_role(Trust *trust, Oid user)
{
	return !OidIsValid(user) || profiles_is_trusted(user, trust->role);
}

static bool
has_sublink(Node *node, void *context)
{
	return node != NULL && (IsA(node, SubLink) || expression_tree_walker(node, has_sublink, context));
}

/* A policy of somebody else's that reads other tables: with the role's rights. */
static bool
find_policy(Trust *trust, Query *query)
{
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION && has_sublink((Node *) rte->securityQuals, NULL) &&
			reads_as_role(trust, PROFILES_READ_AS(query, rte)) &&
			!profiles_is_trusted(profiles_relation_owner(rte->relid), trust->role))
		{
			ObjectAddressSet(trust->culprit, RelationRelationId, rte->relid);
			return true;
		}
	}
	return false;
}

/*
 * A view of somebody else's that reads tables with the rights of who reads it, in
 * a query before it is rewritten.  Views of those who are trusted are looked into;
 * others read with rights of their own.
 */
static bool
find_invoker(Node *node, void *context)
{
	Trust	   *trust = context;
	ListCell   *lc;

	if (node == NULL)
		return false;
	check_stack_depth();
	if (!IsA(node, Query))
		return expression_tree_walker(node, find_invoker, context);
	foreach(lc, ((Query *) node)->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		Relation	view;
		bool		found;

		if (rte->rtekind != RTE_RELATION || get_rel_relkind(rte->relid) != RELKIND_VIEW)
			continue;
		view = table_open(rte->relid, AccessShareLock);
		/* the rows that stand for OLD and NEW name the view itself */
		if (list_member_oid(trust->inside, rte->relid))
			found = false;
		else if (profiles_is_trusted(view->rd_rel->relowner, trust->role))
		{
			trust->inside = lcons_oid(rte->relid, trust->inside);
			found = find_invoker((Node *) get_view_query(view), context);
			trust->inside = list_delete_first(trust->inside);
		}
		else if ((found = RelationHasSecurityInvoker(view)))
			ObjectAddressSet(trust->culprit, RelationRelationId, rte->relid);
		table_close(view, NoLock);
		if (found)
			return true;
	}
	return query_tree_walker((Query *) node, find_invoker, context, 0);
}

/* ---------- code ---------- */

static bool
find_code(Node *node, void *context)
{
	Trust	   *trust = context;
	Call		call = {trust, false, true};

	if (node == NULL)
		return false;
	check_stack_depth();
	if (IsA(node, Query))
		return find_policy(trust, (Query *) node) ||
			query_tree_walker((Query *) node, find_code, context, 0);
	if (check_functions_in_node(node, find_function, &call))
		return true;
	switch (nodeTag(node))
	{
		case T_CoerceToDomain:
#if PG_VERSION_NUM >= 160000
		case T_JsonConstructorExpr:
#endif
#if PG_VERSION_NUM >= 170000
		case T_JsonExpr:
#endif
			call.any = true;
			call.harmless = false;
			break;
		case T_RangeTblFunction:
			if (find_types(trust, ((RangeTblFunction *) node)->funccoltypes))
				return true;
			break;
		case T_TableFunc:
			if (find_types(trust, ((TableFunc *) node)->coltypes))
				return true;
			break;
		default:
			break;
	}
	if (call.any && !call.harmless &&
		(find_type(trust, exprType(node)) || expression_tree_walker(node, find_in_argument, trust)))
		return true;
	return expression_tree_walker(node, find_code, context);
}

static char *
describe(Trust *trust)
{
	char	   *object = getObjectDescription(&trust->culprit, false);

	switch (trust->culprit.classId)
	{
		case TypeRelationId:
			return psprintf("code of %s", object);
		case RelationRelationId:
			return psprintf("%s with its reader's rights", object);
		default:
			return object;
	}
}

/*
 * What is in a rewritten query that a role need not trust if it runs it: a
 * function, or code of a type, or what reads with the role's rights; NULL if there
 * is nothing.
 */
static char *
find_foreign_code(Query *query, Oid role)
{
	Trust		trust = {role};

	(void) note_foreign_types((Node *) query, &trust);
	return find_code((Node *) query, &trust) ? describe(&trust) : NULL;
}

/*
 * Analyses and rewrites a query that is to be run as the current user, who need
 * not trust the owners of what it reads.  Whoever runs it must run what is
 * returned, since its text may mean something else a moment later.
 */
Query *
profiles_trusted_query(const char *sql, const char *source)
{
	Query	   *query = parse_analyze_fixedparams(linitial_node(RawStmt, pg_parse_query(sql)), sql, NULL, 0, NULL);
	Trust		trust = {GetUserId()};
	char	   *culprit;

	if (find_invoker((Node *) query, &trust))
		culprit = describe(&trust);
	else
	{
		query = linitial_node(Query, pg_rewrite_query(query));
		culprit = find_foreign_code(query, GetUserId());
	}
	if (culprit != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("reading %s would run %s, which role \"%s\" need not trust",
						source, culprit, GetUserNameFromId(GetUserId(), false)),
				 errhint("Views, policies and filters may call only what comes with PostgreSQL, or belongs to a superuser or a member of that role, and read with their owners' rights only.")));
	return query;
}

/* _foreign_code(view regclass): what is in a view that its owner need not trust */
Datum
profiles_foreign_code(PG_FUNCTION_ARGS)
{
	Relation	view = table_open(PG_GETARG_OID(0), AccessShareLock);
	char	   *culprit = NULL;

	if (view->rd_rel->relkind == RELKIND_VIEW)
		culprit = find_foreign_code(get_view_query(view), view->rd_rel->relowner);
	table_close(view, NoLock);
	if (culprit == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(culprit));
}
