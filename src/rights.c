/*
 * rights.c
 *		Whose rights code runs with.
 *
 * Three roles matter.  The caller of a function is checked for what it asks.
 * The extension's owner owns configuration, stored profiles and relations, and
 * internal functions run as this role.  The adder of a source owns the source's
 * view, and the source's expressions run as that role, in a
 * security-restricted operation.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/tablecmds.h"
#include "commands/view.h"
#include "compat.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "profile.h"
#include "tcop/dest.h"
#include "executor/tstoreReceiver.h"
#include "upkeep.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(profiles_as_owner);
PG_FUNCTION_INFO_V1(profiles_define_as_owner);
PG_FUNCTION_INFO_V1(profiles_make_import);
PG_FUNCTION_INFO_V1(profiles_make_segment);
PG_FUNCTION_INFO_V1(profiles_make_view);

/*
 * The call that is running as the extension's owner, if one is.  What hands out
 * rights asks this, never its arguments: between the gate and it may run code
 * that the extension's owner planted, such as a trigger on configuration.
 */
typedef struct Gate
{
	FunctionCallInfo fcinfo;
	Form_pg_proc proc;
	Oid			caller;
	bool		defines;		/* may expressions be taken from its arguments? */
} Gate;

static Gate *gate = NULL;

/* ---------- switching ---------- */

/* The extension that a function belongs to, as long as both exist. */
Oid
profiles_extension_of(Oid function)
{
	static Oid	last_function = InvalidOid;
	static Oid	last_extension = InvalidOid;

	if (function != last_function)
	{
		Oid			extension = getExtensionOfObject(ProcedureRelationId, function);

		if (!OidIsValid(extension))
			elog(ERROR, "function %u belongs to no extension", function);
		last_extension = extension;
		last_function = function;
	}
	return last_extension;
}

/* The owner of the extension that a function belongs to. */
Oid
profiles_owner(Oid function)
{
	Oid			extension = profiles_extension_of(function);
	Relation	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(catalog, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "could not find extension %u", extension);
	owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return owner;
}

/* The owner of a relation. */
Oid
profiles_relation_owner(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* As profiles_become_owner(), but the settings are those of the caller until profiles_settle(). */
ProfilesRole
profiles_become(Oid role)
{
	ProfilesRole caller;

	GetUserIdAndSecContext(&caller.user, &caller.security);
	SetUserIdAndSecContext(role, caller.security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	caller.settings = NewGUCNestLevel();
	return caller;
}

/* Pins the settings of who runs as the extension's owner. */
void
profiles_settle(void)
{
	(void) profiles_pin_settings();
	/* compiling our many small statements takes longer than running them */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * From here until profiles_become_caller() or an error, code runs as the
 * extension's owner under pinned settings.  Restricted, since the owner's
 * triggers may run, and what they leave behind (a deferred trigger, a temporary
 * object) would run or be seen with the caller's rights.
 */
ProfilesRole
profiles_become_owner(Oid owner)
{
	ProfilesRole caller = profiles_become(owner);

	profiles_settle();
	return caller;
}

/*
 * The same for the adder of a source.  Restricted, since functions that the
 * adder chose may run: they can't leave anything behind that would run later
 * with other rights.
 */
ProfilesRole
profiles_become_adder(Oid role)
{
	ProfilesRole caller = profiles_become(role);

	(void) profiles_pin_settings();
	return caller;
}

void
profiles_become_caller(ProfilesRole caller)
{
	/* also undoes what was set meanwhile, by us or by an expression */
	AtEOXact_GUC(false, caller.settings);
	SetUserIdAndSecContext(caller.user, caller.security);
}

/* ---------- functions for users ---------- */

/* Runs "prefix schema._name suffix" with the arguments of the call at the gate. */
static void
call_internal(Gate *call, const char *prefix, const char *suffix, bool tell_caller,
			  SPIExecuteOptions *options)
{
	Form_pg_proc proc = call->proc;
	FunctionCallInfo fcinfo = call->fcinfo;
	StringInfoData sql;
	int			nargs = proc->pronargs + (tell_caller ? 1 : 0);
	int			n = 0;
	ParamListInfo params = makeParamList(nargs);
	int			rc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "%s%s.%s(", prefix,
					 quote_identifier(get_namespace_name(proc->pronamespace)),
					 quote_identifier(psprintf("_%s%s", NameStr(proc->proname), suffix)));
	if (tell_caller)
	{
		params->params[n].ptype = OIDOID;
		params->params[n].value = ObjectIdGetDatum(call->caller);
		params->params[n].isnull = false;
		params->params[n++].pflags = PARAM_FLAG_CONST;
	}
	for (int i = 0; i < proc->pronargs; i++)
	{
		params->params[n].ptype = proc->proargtypes.values[i];
		params->params[n].value = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		params->params[n].isnull = PG_ARGISNULL(i);
		params->params[n++].pflags = PARAM_FLAG_CONST;
	}
	for (int i = 1; i <= nargs; i++)
		appendStringInfo(&sql, "%s$%d", i > 1 ? ", " : "", i);
	appendStringInfoChar(&sql, ')');
	options->params = params;
	rc = SPI_execute_extended(sql.data, options);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "internal function of %s failed: %s", NameStr(proc->proname),
			 SPI_result_code_string(rc));
}

/*
 * The body of every function that reads or writes configuration or stored
 * profiles: name(arguments) calls _name(caller, arguments) as the extension's
 * owner.  Unlike SECURITY DEFINER it tells the internal function who calls, and
 * never runs as the superuser who may have installed a trusted extension.
 */
static Datum
pass_gate(FunctionCallInfo fcinfo, bool defines)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	SPIExecuteOptions options = {0};
	ProfilesRole caller;
	Gate		this_gate;
	Gate	   *outer_gate = gate;
	MemoryContext context = CurrentMemoryContext;
	Datum		result = (Datum) 0;
	bool		isnull = true;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);

	if (proc->proretset)
	{
		ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

		InitMaterializedSRF(fcinfo, type_is_rowtype(proc->prorettype) ? 0 : MAT_SRF_USE_EXPECTED_DESC);
		options.dest = CreateDestReceiver(DestTuplestore);
		SetTuplestoreDestReceiverParams(options.dest, rsinfo->setResult,
										rsinfo->econtext->ecxt_per_query_memory,
										false, rsinfo->setDesc,
										"internal function returns other columns");
	}

	SPI_connect();
	caller = profiles_become_owner(profiles_owner(function));
	PG_TRY();
	{
		this_gate.fcinfo = fcinfo;
		this_gate.proc = proc;
		this_gate.caller = caller.user;
		this_gate.defines = defines;
		gate = &this_gate;
		call_internal(gate, proc->proretset ? "SELECT * FROM " : "SELECT ", "", true, &options);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		gate = outer_gate;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		/* where in our functions a check stands helps nobody who reads it */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTERNAL_ERROR)
			error->context = NULL;
		ReThrowError(error);
	}
	PG_END_TRY();
	gate = outer_gate;
	if (!proc->proretset && SPI_processed == 1)
	{
		result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		if (!isnull)
			result = SPI_datumTransfer(result, get_typbyval(proc->prorettype),
									   get_typlen(proc->prorettype));
	}
	profiles_become_caller(caller);
	SPI_finish();
	ReleaseSysCache(tuple);

	fcinfo->isnull = isnull && !proc->proretset;
	return result;
}

Datum
profiles_as_owner(PG_FUNCTION_ARGS)
{
	return pass_gate(fcinfo, false);
}

/* The same for add_source and alter_source, whose arguments hold expressions. */
Datum
profiles_define_as_owner(PG_FUNCTION_ARGS)
{
	return pass_gate(fcinfo, true);
}

/* The text argument of the call at the gate that has this name, or NULL. */
static char *
gate_argument(const char *name)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(gate->proc->oid));
	Oid		   *types;
	char	  **names;
	char	   *modes;
	int			nargs;
	char	   *result = NULL;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", gate->proc->oid);
	nargs = Min(get_func_arg_info(tuple, &types, &names, &modes), gate->proc->pronargs);
	for (int i = 0; i < nargs && names != NULL; i++)
		if (strcmp(names[i], name) == 0 && types[i] == TEXTOID && !gate->fcinfo->args[i].isnull)
			result = TextDatumGetCString(gate->fcinfo->args[i].value);
	ReleaseSysCache(tuple);
	return result;
}

/*
 * The role that a filter's text comes from: who called the function at the gate,
 * if the text is its argument "filter"; else whoever runs now.
 */
Oid
profiles_filter_role(const char *filter)
{
	char	   *given = gate == NULL ? NULL : gate_argument("filter");

	return given != NULL && strcmp(given, filter) == 0 ? gate->caller : GetUserId();
}

/*
 * The expressions in the arguments of the call at the gate, as SourceEntry in
 * the current context.  _name_entries(), which says what they are, reads nothing
 * that the extension's owner could change.
 */
static List *
given_entries(void)
{
	SPIExecuteOptions options = {0};
	MemoryContext context = CurrentMemoryContext;
	List	   *entries = NIL;

	SPI_connect();
	call_internal(gate, "SELECT key, value FROM ", "_entries", false, &options);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		SourceEntry *entry = palloc(sizeof(SourceEntry));

		entry->name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		entry->expression = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		entries = lappend(entries, entry);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return entries;
}

/*
 * Creates a view in our schema for a role, as DefineView() does, except that the
 * role is not the current user and needs no right on the schema.
 */
static Oid
define_view(Oid namespace, const char *name, Oid role, Query *query, const char *comment)
{
	CreateStmt *create = makeNode(CreateStmt);
	ProfilesRole caller;
	ListCell   *lc;
	Oid			view;

	create->relation = makeRangeVar(get_namespace_name(namespace), pstrdup(name), -1);
	create->oncommit = ONCOMMIT_NOOP;
	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		create->tableElts = lappend(create->tableElts,
									makeColumnDef(entry->resname, exprType((Node *) entry->expr),
												  exprTypmod((Node *) entry->expr),
												  exprCollation((Node *) entry->expr)));
	}
	view = DefineRelation(create, RELKIND_VIEW, role, NULL, NULL).objectId;
	CommandCounterIncrement();
	CreateComments(view, RelationRelationId, 0, comment);
	caller = profiles_become_adder(role);
	StoreViewQuery(view, query, false);
	profiles_become_caller(caller);
	CommandCounterIncrement();
	return view;
}

/*
 * _make_view(source_id integer) -> the view of a source, made or made anew.
 *
 * All that it says and whose it is comes from the call at the gate: for
 * add_source the relation and expressions that the caller gave, for the caller;
 * for alter_source what the view says already, with the expressions that the
 * caller gave, for the owner it has.  Whoever else calls this, and with whatever
 * number, gets nothing more.
 */
Datum
profiles_make_view(PG_FUNCTION_ARGS)
{
	Oid			namespace = get_func_namespace(fcinfo->flinfo->fn_oid);
	char	   *name = psprintf("source_%d", PG_GETARG_INT32(0));
	Oid			view = get_relname_relid(name, namespace);
	SourceDefinition *before = NULL;
	List	   *entries;
	Oid			role;
	Oid			relid;
	ProfilesRole caller;
	Relation	relation;
	Query	   *query;

	if (gate == NULL || !gate->defines)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to make the view of a source"),
				 errhint("profiles.add_source() and profiles.alter_source() do.")));
	if (gate->proc->proargtypes.values[0] == REGCLASSOID)
	{
		if (OidIsValid(view))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("relation \"%s\" already exists", name)));
		role = gate->caller;
		relid = DatumGetObjectId(gate->fcinfo->args[0].value);
	}
	else
	{
		before = profiles_source_definition(view);
		role = before->owner;
		relid = before->relation;
		if (!has_privs_of_role(gate->caller, role))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to act as role \"%s\"",
							GetUserNameFromId(role, false)),
					 errhint("Only members of that role can change its expressions.")));
	}
	entries = given_entries();

	caller = profiles_become_adder(role);
	relation = table_open(relid, AccessShareLock);
	query = profiles_source_query(relation, before, entries);
	table_close(relation, NoLock);
	profiles_become_caller(caller);

	if (before != NULL)
	{
		ObjectAddress old;

		ObjectAddressSet(old, RelationRelationId, view);
		performDeletion(&old, DROP_RESTRICT, 0);
	}
	PG_RETURN_OID(define_view(namespace, name, role, query,
							  psprintf("Internal: mapping of source %s. Owned by the role that added it, with whose rights its expressions run.",
									   profiles_relation_text(relid))));
}

/*
 * _make_import(import_id integer) -> the view of an import: what the caller of
 * add_attributes wants read, for the caller.
 */
Datum
profiles_make_import(PG_FUNCTION_ARGS)
{
	if (gate == NULL || !gate->defines || strcmp(NameStr(gate->proc->proname), "add_attributes") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to make the view of an import"),
				 errhint("profiles.add_attributes() does.")));
	PG_RETURN_OID(define_view(get_func_namespace(fcinfo->flinfo->fn_oid),
							  psprintf("import_%d", PG_GETARG_INT32(0)), gate->caller,
							  profiles_import_query(given_entries()),
							  "Internal: what an import of custom attributes reads. Owned by the role that added it, with whose rights it is read."));
}

/*
 * _make_segment() -> the view of a segment, made or made anew.
 *
 * All that it says and whose it is comes from the call at the gate: for
 * create_segment it is the caller's; alter_segment gives it a new filter, which
 * only members of the role that owns it may do.
 */
Datum
profiles_make_segment(PG_FUNCTION_ARGS)
{
	Oid			namespace = get_func_namespace(fcinfo->flinfo->fn_oid);
	bool		create = gate != NULL && gate->defines && strcmp(NameStr(gate->proc->proname), "create_segment") == 0;
	bool		alter = gate != NULL && gate->defines && strcmp(NameStr(gate->proc->proname), "alter_segment") == 0;
	char	   *name;
	char	   *text;
	Oid			view;
	Oid			relation;
	Oid			role;
	Node	   *filter;

	if (!create && !alter)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to make the view of a segment"),
				 errhint("profiles.create_segment() and profiles.alter_segment() do.")));
	name = gate_argument("name");
	text = gate_argument("filter");
	view = profiles_segment_view(name, namespace);
	if (create)
	{
		relation = profiles_relation_of_kind(gate_argument("kind"), namespace);
		role = gate->caller;
	}
	else
	{
		(void) profiles_segment_filter(view, &relation);
		role = profiles_relation_owner(view);
		if (!has_privs_of_role(gate->caller, role))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to act as role \"%s\"",
							GetUserNameFromId(role, false)),
					 errhint("Only members of that role can change its filter.")));
	}
	filter = profiles_analyse_filter(relation, text, gate->caller);
	filter = profiles_expand_segments(filter, relation, text, name, true);
	if (alter)
		profiles_replace_segment(view, relation, filter);
	else
		view = define_view(namespace, psprintf("segment_%s", name), role,
						   profiles_segment_query(relation, filter),
						   psprintf("Segment of %s.", get_rel_name(relation)));
	PG_RETURN_OID(view);
}
