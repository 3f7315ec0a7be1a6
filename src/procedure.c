/*
 * procedure.c
 *		Drives the procedures: batches that commit, one run at a time per kind.
 *
 * A procedure name(kind, ...) calls the internal function _name_step(kind, first, since)
 * as the extension's owner, again and again, until it says that nothing is
 * left, and commits after each step.  Inside a transaction block the steps run
 * in that one transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
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
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(profiles_run_rebuild);
PG_FUNCTION_INFO_V1(profiles_run_refresh);
PG_FUNCTION_INFO_V1(profiles_run_sync);
PG_FUNCTION_INFO_V1(profiles_lock_kind);
PG_FUNCTION_INFO_V1(profiles_lock_relation);
PG_FUNCTION_INFO_V1(profiles_lock_tables);
PG_FUNCTION_INFO_V1(profiles_lock_sources);
PG_FUNCTION_INFO_V1(profiles_upkeep_in_block);

#define STEP_ATTEMPTS	5		/* to do a step that loses deadlocks */

const char *const profiles_kinds[PROFILES_KINDS] = {"user", "account"};

/* Does this session run upkeep of a kind, so that nobody else writes its profiles? */
bool		profiles_upkeep_runs[PROFILES_KINDS];

/* In a transaction block? */
static bool upkeep_in_block = false;

static void
set_tag(LOCKTAG *tag, Oid extension, int kind, ProfilesLock lock)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, ExtensionRelationId, extension,
					   1 + PROFILES_KINDS * lock + kind);
}

/*
 * Locks the upkeep of a kind.  The tag is one of the extension itself with a
 * sub-id, which no SQL command can take, so no other role can be in the way.
 */
bool
profiles_lock(Oid extension, int kind, ProfilesLock lock, LOCKMODE mode,
			  bool session, bool wait)
{
	LOCKTAG		tag;

	set_tag(&tag, extension, kind, lock);
	return LockAcquire(&tag, mode, session, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
profiles_unlock(Oid extension, int kind, ProfilesLock lock, LOCKMODE mode, bool session)
{
	LOCKTAG		tag;

	set_tag(&tag, extension, kind, lock);
	LockRelease(&tag, mode, session);
}

/* One step as the extension's owner; is there more to do? */
static bool
run_step(Oid owner, const char *step, const char *kind, bool first, Datum since, bool no_since)
{
	ProfilesRole caller = profiles_become_owner(owner);
	Oid			types[] = {TEXTOID, BOOLOID, TIMESTAMPTZOID};
	Datum		values[] = {CStringGetTextDatum(kind), BoolGetDatum(first), since};
	char		nulls[] = {' ', ' ', no_since ? 'n' : ' ', '\0'};
	bool		isnull;
	bool		more;

	if (SPI_execute_with_args(psprintf("SELECT profiles.%s($1, $2, $3)", step), 3, types,
							  values, nulls, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "%s failed", step);
	more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
									  1, &isnull));
	profiles_become_caller(caller);
	return more && !isnull;
}

/* A procedure's run over its kinds. */
typedef struct Run
{
	Oid			extension;
	Oid			owner;
	const char *step;			/* internal function that does one step */
	bool		wait;			/* for other upkeep of the kind, or leave it */
	bool		atomic;			/* in a transaction block */
	Datum		since;
	bool		no_since;
} Run;

/*
 * One step of a run, again if it lost a deadlock: it has done nothing then, and
 * whoever won is through soon.  In a transaction block the locks of the steps before
 * would stay, so there it is an error.
 */
static bool
run_step_again(Run *run, int kind, bool first)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool more = false;
	volatile bool done = false;
	volatile int attempt = 0;

	while (!done)
	{
		attempt++;
		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(context);
		PG_TRY();
		{
			more = run_step(run->owner, run->step, profiles_kinds[kind], first, run->since, run->no_since);
			ReleaseCurrentSubTransaction();
			done = true;
		}
		PG_CATCH();
		{
			ErrorData  *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			FlushErrorState();
			RollbackAndReleaseCurrentSubTransaction();
			if (error->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED && error->hint == NULL)
				error->hint = "Indexes that profiles makes take values of any length. If one of your own does not, drop it, or make it over left(column, 500).";
			if (error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED || attempt == STEP_ATTEMPTS)
				ReThrowError(error);
			FreeErrorData(error);
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		/* whoever waited for us is to have what it waited for before we want it again */
		if (!done)
			pg_usleep(attempt * 20000L);
		CHECK_FOR_INTERRUPTS();
	}
	return more;
}

/*
 * Commits a step.  Only the last one is waited for until it is on disk: those before
 * are there then, too, and what a crash takes from the end is done again.
 */
static void
commit_step(bool last)
{
	if (!last && synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	SPI_commit();
}

/* Runs a kind's steps; commits after each unless in a transaction block. */
static void
run_steps(Run *run, int kind)
{
	bool		first = true;
	bool		more;

	do
	{
		more = run->atomic
			? run_step(run->owner, run->step, profiles_kinds[kind], first, run->since, run->no_since)
			: run_step_again(run, kind, first);
		first = false;
		if (!run->atomic)
			commit_step(!more);
		CHECK_FOR_INTERRUPTS();
	} while (more);
}

/*
 * Runs a kind's steps under its locks.  In a transaction block these are the
 * transaction's.  Else they are the session's, since they have to outlive the
 * commits, and must go on errors too.
 */
static void
run_kind(Run *run, int kind)
{
	bool		session = !run->atomic;
	volatile bool direct = false;

	if (!profiles_lock(run->extension, kind, PROFILES_UPKEEP_LOCK, ExclusiveLock,
					   session, run->wait))
	{
		ereport(NOTICE,
				(errmsg("profiles of kind \"%s\" are being refreshed or rebuilt by another session",
						profiles_kinds[kind]),
				 errhint("Nothing to do here; profiles.progress shows how far it is.")));
		return;
	}
	PG_TRY();
	{
		/* writers who merge at once are done soon, and take turns with us */
		direct = profiles_lock(run->extension, kind, PROFILES_DIRECT_LOCK, ExclusiveLock,
							   session, true);
		profiles_upkeep_runs[kind] = true;
		upkeep_in_block = run->atomic;
		run_steps(run, kind);
	}
	PG_FINALLY();
	{
		profiles_upkeep_runs[kind] = upkeep_in_block = false;
		if (session)
		{
			if (direct)
				profiles_unlock(run->extension, kind, PROFILES_DIRECT_LOCK, ExclusiveLock, true);
			profiles_unlock(run->extension, kind, PROFILES_UPKEEP_LOCK, ExclusiveLock, true);
		}
	}
	PG_END_TRY();
}

/* Sets what every procedure needs to know, and refuses where it can't run. */
static void
start_procedure(FunctionCallInfo fcinfo, const char *name, Run *run)
{
	/* what is locked, blocked or captured later than the snapshot would be missed */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("%s needs isolation level READ COMMITTED", name),
				 errhint("SET default_transaction_isolation = 'read committed' for the session that calls it.")));
	run->atomic = castNode(CallContext, fcinfo->context)->atomic;
	if (run->atomic)
		ereport(NOTICE,
				(errmsg("%s runs as one transaction", name),
				 errhint("Outside a transaction block it commits in batches.")));
	run->extension = profiles_extension_of(fcinfo->flinfo->fn_oid);
	run->owner = profiles_owner(fcinfo->flinfo->fn_oid);
}

/* The body of rebuild and refresh. */
static void
run_procedure(FunctionCallInfo fcinfo, const char *name, Run *run)
{
	char	   *only = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		known = only == NULL;

	for (int kind = 0; kind < PROFILES_KINDS; kind++)
		known |= only != NULL && strcmp(only, profiles_kinds[kind]) == 0;
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown kind \"%s\"", only),
				 errhint("The kinds are \"user\" and \"account\".")));

	start_procedure(fcinfo, name, run);
	SPI_connect_ext(run->atomic ? 0 : SPI_OPT_NONATOMIC);
	/* who has changed things that another kind's upkeep waits for must not wait for that */
	for (int kind = 0; kind < PROFILES_KINDS && run->atomic && only == NULL; kind++)
		(void) profiles_lock(run->extension, kind, PROFILES_UPKEEP_LOCK, ExclusiveLock, false, run->wait);
	for (int kind = 0; kind < PROFILES_KINDS; kind++)
	{
		if (only == NULL || strcmp(only, profiles_kinds[kind]) == 0)
			run_kind(run, kind);
	}
	SPI_finish();
}

/* rebuild(kind text): waits for other upkeep of the kind, then folds all. */
Datum
profiles_run_rebuild(PG_FUNCTION_ARGS)
{
	Run			run = {0};

	run.step = "_rebuild_step";
	run.wait = true;
	run.no_since = true;
	run_procedure(fcinfo, "rebuild", &run);
	PG_RETURN_VOID();
}

/* refresh(kind text, since timestamptz): folds what is new, unless another does. */
Datum
profiles_run_refresh(PG_FUNCTION_ARGS)
{
	Run			run = {0};

	run.step = "_refresh_step";
	run.no_since = PG_ARGISNULL(1);
	run.since = run.no_since ? (Datum) 0 : PG_GETARG_DATUM(1);
	run_procedure(fcinfo, "refresh", &run);
	PG_RETURN_VOID();
}

/* Calls an internal function of one argument as the extension's owner. */
static Datum
call_as_owner(Oid owner, const char *sql, Oid type, Datum argument, bool no_argument, bool *isnull)
{
	ProfilesRole caller = profiles_become_owner(owner);
	char		nulls[] = {no_argument ? 'n' : ' ', '\0'};
	Datum		result;

	if (SPI_execute_with_args(sql, 1, &type, &argument, nulls, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "\"%s\" failed", sql);
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
	profiles_become_caller(caller);
	return result;
}

/* sync(source text): reads the reference tables that are due, or the one; commits after each. */
Datum
profiles_run_sync(PG_FUNCTION_ARGS)
{
	Run			run = {0};
	MemoryContext context = CurrentMemoryContext;
	ArrayType  *due;
	int32	   *ids;
	int			n;
	bool		isnull;

	start_procedure(fcinfo, "sync", &run);
	SPI_connect_ext(run.atomic ? 0 : SPI_OPT_NONATOMIC);
	due = DatumGetArrayTypePCopy(call_as_owner(run.owner, "SELECT profiles._due_imports($1)", TEXTOID,
											   PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0),
											   PG_ARGISNULL(0), &isnull));
	n = ArrayGetNItems(ARR_NDIM(due), ARR_DIMS(due));
	ids = MemoryContextAlloc(context, sizeof(int32) * (n + 1));
	memcpy(ids, ARR_DATA_PTR(due), sizeof(int32) * n);
	for (int i = 0; i < n; i++)
	{
		if (!DatumGetBool(call_as_owner(run.owner, "SELECT profiles._sync_import($1)", INT4OID,
										Int32GetDatum(ids[i]), false, &isnull)))
			ereport(NOTICE,
					(errmsg("a reference table is being synced or dropped by another session"),
					 errhint("It is left out; profiles.sync_runs shows when it is done.")));
		if (!run.atomic)
		{
			SPI_commit();
			(void) call_as_owner(run.owner, "SELECT profiles._settle_import($1)", INT4OID, Int32GetDatum(ids[i]), false, &isnull);
			SPI_commit();
		}
		CHECK_FOR_INTERRUPTS();
	}
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * _lock_kind(kind text): the locks of upkeep for the rest of the transaction,
 * for what must not meet a refresh.
 */
Datum
profiles_lock_kind(PG_FUNCTION_ARGS)
{
	Oid			extension = profiles_extension_of(fcinfo->flinfo->fn_oid);
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	for (int kind = 0; kind < PROFILES_KINDS; kind++)
	{
		if (strcmp(name, profiles_kinds[kind]) != 0)
			continue;
		(void) profiles_lock(extension, kind, PROFILES_UPKEEP_LOCK, ExclusiveLock, false, true);
		(void) profiles_lock(extension, kind, PROFILES_DIRECT_LOCK, ExclusiveLock, false, true);
	}
	PG_RETURN_VOID();
}

/*
 * _lock_relation(relation regclass, readers_go_on boolean): for the rest of the
 * transaction, exclusively, or so that it can be read but not written.  Unlike
 * LOCK TABLE it locks of a view only the view.  For relations in our schema, which
 * its owner, who alone may call this, could drop.
 */
Datum
profiles_lock_relation(PG_FUNCTION_ARGS)
{
	Oid			relation = PG_GETARG_OID(0);

	if (get_rel_namespace(relation) == get_func_namespace(fcinfo->flinfo->fn_oid))
		LockRelationOid(relation, PG_GETARG_BOOL(1) ? ShareRowExclusiveLock : AccessExclusiveLock);
	PG_RETURN_VOID();
}

/* _upkeep_in_block(): does this session run upkeep in a transaction block, so that it keeps its locks? */
Datum
profiles_upkeep_in_block(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(upkeep_in_block);
}

/* ---------- the tables of sources ---------- */

/* What is locked for reading in one attempt, and what could not be. */
typedef struct Attempt
{
	List	   *locked;
	Oid			busy;
} Attempt;

/* Locks a relation, unless that would have to wait.  Does it exist then? */
static bool
try_lock(Attempt *attempt, Oid relation)
{
	if (!ConditionalLockRelationOid(relation, AccessShareLock))
	{
		attempt->busy = relation;
		return false;
	}
	attempt->locked = lappend_oid(attempt->locked, relation);
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation));
}

/* A table, or that of a source's view, and what inherits from it. */
static void
try_lock_tables(Attempt *attempt, Oid relation)
{
	List	   *tables;
	ListCell   *lc;

	if (get_rel_relkind(relation) == RELKIND_VIEW)
	{
		if (!try_lock(attempt, relation) || !OidIsValid(relation = profiles_source_events(relation)))
			return;
	}
	tables = list_make1_oid(relation);
	/* the list grows meanwhile */
	foreach(lc, tables)
	{
		if (try_lock(attempt, lfirst_oid(lc)))
			tables = list_concat_unique_oid(tables, find_inheritance_children(lfirst_oid(lc), NoLock));
		if (OidIsValid(attempt->busy))
			return;
	}
}

/*
 * Locks tables, or those of the views of sources, with what inherits from them, for
 * reading, until the end of the transaction.
 *
 * A table that ALTER TABLE has rewritten looks empty to older snapshots.  So
 * whatever folds locks first, and takes its snapshot then.
 *
 * Others lock these tables in orders of their own: a partition before its parent,
 * the table of a source before its view.  So we wait for one only while we hold
 * none, and have nobody wait for us.
 */
static void
lock_tables(List *relations)
{
	Oid			waited_for = InvalidOid;

	for (;;)
	{
		Attempt		attempt = {NIL, InvalidOid};
		ListCell   *lc;

		foreach(lc, relations)
		{
			try_lock_tables(&attempt, lfirst_oid(lc));
			if (OidIsValid(attempt.busy))
				break;
		}
		if (!OidIsValid(attempt.busy))
			break;
		foreach(lc, attempt.locked)
			UnlockRelationOid(lfirst_oid(lc), AccessShareLock);
		if (OidIsValid(waited_for))
			UnlockRelationOid(waited_for, AccessShareLock);
		waited_for = attempt.busy;
		LockRelationOid(waited_for, AccessShareLock);
	}
}

/* _lock_tables(relations regclass[]) */
Datum
profiles_lock_tables(PG_FUNCTION_ARGS)
{
	List	   *relations = NIL;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			relations = lappend_oid(relations, DatumGetObjectId(values[i]));
	}
	lock_tables(relations);
	PG_RETURN_VOID();
}

typedef struct Views
{
	Oid			schema;
	List	   *views;
} Views;

static bool
take_source(TupleTableSlot *row, void *to)
{
	Views	   *views = to;
	Oid			view = get_relname_relid(profiles_source_view(DatumGetInt32(profiles_row_value(row, "id"))), views->schema);

	if (OidIsValid(view))
		views->views = lappend_oid(views->views, view);
	return true;
}

/* _lock_sources(): the tables of all sources; returns since when they are locked. */
Datum
profiles_lock_sources(PG_FUNCTION_ARGS)
{
	Views		views = {get_func_namespace(fcinfo->flinfo->fn_oid), NIL};

	profiles_read_table(views.schema, "source_config", take_source, &views);
	lock_tables(views.views);
	PG_RETURN_TIMESTAMPTZ(GetCurrentTimestamp());
}
