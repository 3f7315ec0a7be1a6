/*
 * procedure.c
 *		Drives the procedures: batches that commit, one run at a time per kind.
 *
 * A procedure name(kind, ...) calls the internal function _name_step(kind, ...)
 * as the extension's owner, again and again, until it says that nothing is
 * left, and commits after each step.  Inside a transaction block the steps run
 * in that one transaction.
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "profile.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(profiles_run_rebuild);

static const char *const kinds[] = {"user", "account"};

/*
 * Locks a kind against other upkeep.  The tag is one of the extension itself
 * with a sub-id, which no SQL command can take, so no other role can be in the
 * way.  A session's lock, as it has to outlive the commits.
 */
static bool
lock_kind(Oid extension, int kind, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, kind + 1);
	return LockAcquire(&tag, ExclusiveLock, true, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

static void
unlock_kind(Oid extension, int kind)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, kind + 1);
	LockRelease(&tag, ExclusiveLock, true);
}

/* One step as the extension's owner; is there more to do? */
static bool
run_step(Oid owner, const char *schema, const char *step, const char *kind, bool first)
{
	ProfilesRole caller = profiles_become_owner(owner);
	ParamListInfo params = makeParamList(2);
	SPIExecuteOptions options = {0};
	bool		isnull;
	bool		more;

	params->params[0].ptype = TEXTOID;
	params->params[0].value = CStringGetTextDatum(kind);
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[1].ptype = BOOLOID;
	params->params[1].value = BoolGetDatum(first);
	params->params[1].isnull = false;
	params->params[1].pflags = PARAM_FLAG_CONST;
	options.params = params;

	if (SPI_execute_extended(psprintf("SELECT %s.%s($1, $2)", schema, step),
							 &options) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "%s failed", step);
	more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
									  1, &isnull));
	profiles_become_caller(caller);
	return more && !isnull;
}

/* Runs a kind's steps; commits after each unless in a transaction block. */
static void
run_kind(Oid function, const char *step, int kind, bool atomic)
{
	/* looked up once: the catalogs are the same for all steps */
	const char *schema = quote_identifier(get_namespace_name(get_func_namespace(function)));
	Oid			owner = profiles_owner(function);
	bool		first = true;
	bool		more;

	do
	{
		more = run_step(owner, schema, step, kinds[kind], first);
		first = false;
		if (!atomic)
			SPI_commit();
		CHECK_FOR_INTERRUPTS();
	} while (more);
}

/* Runs a kind's steps under its lock, which must go on errors too. */
static void
run_kind_locked(Oid function, const char *step, int kind, bool atomic)
{
	Oid			extension = profiles_extension_of(function);

	(void) lock_kind(extension, kind, true);
	PG_TRY();
	{
		run_kind(function, step, kind, atomic);
	}
	PG_FINALLY();
	{
		unlock_kind(extension, kind);
	}
	PG_END_TRY();
}

/* rebuild(kind text): waits for other upkeep of the kind, then folds all. */
Datum
profiles_run_rebuild(PG_FUNCTION_ARGS)
{
	bool		atomic = castNode(CallContext, fcinfo->context)->atomic;
	Oid			function = fcinfo->flinfo->fn_oid;
	char	   *only = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (only != NULL && strcmp(only, kinds[0]) != 0 && strcmp(only, kinds[1]) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown kind \"%s\"", only),
				 errhint("The kinds are \"user\" and \"account\".")));
	if (atomic)
		ereport(NOTICE,
				(errmsg("rebuild runs as one transaction"),
				 errhint("Outside a transaction block it commits in batches.")));

	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	for (int kind = 0; kind < (int) lengthof(kinds); kind++)
	{
		if (only != NULL && strcmp(only, kinds[kind]) != 0)
			continue;
		run_kind_locked(function, "_rebuild_step", kind, atomic);
	}
	SPI_finish();
	PG_RETURN_VOID();
}
