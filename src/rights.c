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
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
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
PG_FUNCTION_INFO_V1(profiles_give_view);

/*
 * Who called the function that is running as the extension's owner, if one is.
 * Internal functions that hand out rights ask this, never their arguments:
 * the extension's owner could call them with any.
 */
static Oid	gate_caller = InvalidOid;

/* ---------- switching ---------- */

/* The extension that a function belongs to. */
Oid
profiles_extension_of(Oid function)
{
	Oid			extension = getExtensionOfObject(ProcedureRelationId, function);

	if (!OidIsValid(extension))
		elog(ERROR, "function %u belongs to no extension", function);
	return extension;
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

static ProfilesRole
become(Oid role, int flags)
{
	ProfilesRole caller;

	GetUserIdAndSecContext(&caller.user, &caller.security);
	SetUserIdAndSecContext(role, caller.security | flags);
	caller.settings = NewGUCNestLevel();
	(void) profiles_pin_settings();
	return caller;
}

/*
 * From here until profiles_become_caller() or an error, code runs as the
 * extension's owner under pinned settings.
 */
ProfilesRole
profiles_become_owner(Oid owner)
{
	ProfilesRole caller = become(owner, SECURITY_LOCAL_USERID_CHANGE);

	/* compiling our many small statements takes longer than running them */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
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
	return become(role, SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

void
profiles_become_caller(ProfilesRole caller)
{
	/* also undoes what was set meanwhile, by us or by an expression */
	AtEOXact_GUC(false, caller.settings);
	SetUserIdAndSecContext(caller.user, caller.security);
}

/* Refuses to act as a role whose rights the caller at the gate has not. */
void
profiles_check_caller_has(Oid role)
{
	if (!OidIsValid(gate_caller) || !has_privs_of_role(gate_caller, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to act as role \"%s\"",
						GetUserNameFromId(role, true)),
				 errhint("Only members of that role can do this.")));
}

/* ---------- functions for users ---------- */

/* Calls "SELECT [*] FROM schema._name(caller, arguments)" as the owner. */
static void
call_internal(FunctionCallInfo fcinfo, Form_pg_proc proc, Oid caller,
			  SPIExecuteOptions *options)
{
	StringInfoData sql;
	int			nargs = proc->pronargs;
	ParamListInfo params = makeParamList(nargs + 1);
	int			rc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s%s.%s($1",
					 proc->proretset ? "* FROM " : "",
					 quote_identifier(get_namespace_name(proc->pronamespace)),
					 quote_identifier(psprintf("_%s", NameStr(proc->proname))));
	params->params[0].ptype = OIDOID;
	params->params[0].value = ObjectIdGetDatum(caller);
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	for (int i = 0; i < nargs; i++)
	{
		ParamExternData *param = &params->params[i + 1];

		appendStringInfo(&sql, ", $%d", i + 2);
		param->ptype = proc->proargtypes.values[i];
		param->value = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		param->isnull = PG_ARGISNULL(i);
		param->pflags = PARAM_FLAG_CONST;
	}
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
Datum
profiles_as_owner(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	SPIExecuteOptions options = {0};
	ProfilesRole caller;
	Oid			outer_caller = gate_caller;
	MemoryContext context = CurrentMemoryContext;
	Datum		result = (Datum) 0;
	bool		isnull = true;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);

	if (proc->proretset)
	{
		ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

		InitMaterializedSRF(fcinfo, 0);
		options.dest = CreateDestReceiver(DestTuplestore);
		SetTuplestoreDestReceiverParams(options.dest, rsinfo->setResult,
										rsinfo->econtext->ecxt_per_query_memory,
										false, NULL, NULL);
	}

	SPI_connect();
	caller = profiles_become_owner(profiles_owner(function));
	PG_TRY();
	{
		gate_caller = caller.user;
		call_internal(fcinfo, proc, caller.user, &options);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		gate_caller = outer_caller;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		/* where in our functions a check stands helps nobody who reads it */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTERNAL_ERROR)
			error->context = NULL;
		ReThrowError(error);
	}
	PG_END_TRY();
	gate_caller = outer_caller;
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

/*
 * _give_view(view regclass, role oid): makes a role the owner of a view that
 * the extension's owner has just made for it.
 *
 * The owner of the extension need not be a member of that role, so ALTER VIEW
 * would refuse.  What allows it is that the caller of the function at the gate
 * has the role's rights already.
 */
Datum
profiles_give_view(PG_FUNCTION_ARGS)
{
	Oid			view = PG_GETARG_OID(0);
	Oid			role = PG_GETARG_OID(1);

	profiles_check_caller_has(role);
	if (get_rel_relkind(view) != RELKIND_VIEW)
		elog(ERROR, "relation %u is not a view", view);
	/* "recursing" leaves out the check that the current user may */
	ATExecChangeOwner(view, role, true, AccessExclusiveLock);
	PG_RETURN_VOID();
}
