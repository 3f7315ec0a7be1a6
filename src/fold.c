/*
 * fold.c
 *		Folds the events of one source with the rights of its adder.
 *
 * The bulk is one aggregate query over the source.  If a row's expressions fail
 * there, the rows are read in batches instead, and a batch that fails row by
 * row, so that the bad rows are left out one by one and counted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "profile.h"
#include "tcop/dest.h"
#include "upkeep.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(profiles_fold);
PG_FUNCTION_INFO_V1(profiles_check_source);

#define FOLD_BATCH	1000		/* rows tried at once where some fail */

/* Columns of a source's view that are no attributes of profiles. */
static const char *const not_attributes[] = {
	"user_id", "account_id", "seen_at", "name", "email", "account_name",
	"event_id", "type", "view_id", "version", "page", "action", "frustration"
};

/* View columns "keep <reason>" say which rows count. */
#define KEEP_PREFIX	"keep "

typedef struct Fold
{
	SourceDefinition *source;
	const char *kind;			/* user or account */
	float8		sample;
	Tuplestorestate *store;
	TupleDesc	tupdesc;
	MemoryContext store_context;
} Fold;

/* ---------- the query ---------- */

static SourceColumn *
find_column(SourceDefinition *source, const char *name)
{
	ListCell   *lc;

	foreach(lc, source->columns)
	{
		SourceColumn *column = lfirst(lc);

		if (strcmp(column->name, name) == 0)
			return column;
	}
	return NULL;
}

static void
append_pair(StringInfo sql, const char *name, SourceColumn *column, bool as_text)
{
	appendStringInfo(sql, ", %s, (%s)%s", quote_literal_cstr(name),
					 column->expression, as_text ? "::text" : "");
}

/* The names and values that profile_agg gets, each with a comma in front. */
static char *
attribute_pairs(Fold *fold)
{
	SourceDefinition *source = fold->source;
	bool		user = strcmp(fold->kind, "user") == 0;
	/* the argument limit leaves 49 pairs; an array has no such limit */
	bool		array = list_length(source->columns) > 49;
	SourceColumn *column;
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	if ((column = find_column(source, user ? "name" : "account_name")) != NULL)
		append_pair(&sql, "name", column, array);
	if (user && (column = find_column(source, "email")) != NULL)
		append_pair(&sql, "email", column, array);
	foreach(lc, source->columns)
	{
		bool		attribute = true;

		column = lfirst(lc);
		for (int i = 0; i < (int) lengthof(not_attributes); i++)
			attribute &= strcmp(column->name, not_attributes[i]) != 0;
		if (attribute && strncmp(column->name, KEEP_PREFIX, strlen(KEEP_PREFIX)) != 0)
			append_pair(&sql, column->name, column, array);
	}
	if (sql.len == 0)
		return pstrdup(", VARIADIC ARRAY[]::text[]");
	return array ? psprintf(", VARIADIC ARRAY[%s]", sql.data + 2) : sql.data;
}

/* CASE branches for the rows that the source's filters leave out. */
static char *
filter_branches(SourceDefinition *source)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, source->columns)
	{
		SourceColumn *column = lfirst(lc);

		if (strncmp(column->name, KEEP_PREFIX, strlen(KEEP_PREFIX)) == 0)
			appendStringInfo(&sql, " WHEN (%s) IS NOT TRUE THEN %s", column->expression,
							 quote_literal_cstr(column->name + strlen(KEEP_PREFIX)));
	}
	return sql.data;
}

/*
 * The query over "from" that gives rows (key, left_out, profile, events,
 * example).
 *
 * Where key, time or filters are more than columns, they are computed once per
 * row in subqueries that the planner must not flatten.  Attributes are arguments
 * of the aggregate alone, so they are not evaluated for rows left out.
 */
static char *
fold_query(Fold *fold, const char *from)
{
	SourceDefinition *source = fold->source;
	const char *alias = quote_identifier(get_rel_name(source->relation));
	char	   *key_name = psprintf("%s_id", fold->kind);
	SourceColumn *key = find_column(source, key_name);
	SourceColumn *seen_at = find_column(source, "seen_at");
	char	   *filters = filter_branches(source);
	bool		flat = key->is_column && seen_at->is_column && filters[0] == '\0';
	const char *k = key->expression;
	const char *t = seen_at->expression;
	const char *f = filters[0] ? psprintf("CASE%s END", filters) : "NULL::text";
	char	   *left_out;
	TimestampTz limit;
	StringInfoData sql;
	ListCell   *lc;

	foreach(lc, source->columns)
		flat |= ((SourceColumn *) lfirst(lc))->is_whole_row;
	if (!flat)
	{
		from = psprintf("(SELECT %s.*, %s AS \"profiles filter\" FROM %s OFFSET 0) AS %s",
						alias, f, from, alias);
		f = "\"profiles filter\"";
		from = psprintf("(SELECT %s.*, CASE WHEN %s IS NULL THEN %s END AS \"profiles key\", "
						"CASE WHEN %s IS NULL THEN %s END AS \"profiles time\" "
						"FROM %s OFFSET 0) AS %s",
						alias, f, k, f, t, from, alias);
		k = "\"profiles key\"";
		t = "\"profiles time\"";
	}

	limit = GetCurrentTransactionStartTimestamp() +
		(int64) profiles_future_tolerance * USECS_PER_SEC;
	left_out = psprintf("CASE WHEN (%s) IS NOT NULL THEN (%s) "
						"WHEN (%s) IS NULL THEN 'no %s' "
						"WHEN (%s) IS NULL THEN 'no seen_at' "
						"WHEN NOT isfinite(%s) THEN 'infinite seen_at' "
						"WHEN (%s) > %s::timestamptz THEN 'future' END",
						f, f, k, key_name, t, t, t,
						quote_literal_cstr(timestamptz_to_str(limit)));

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT %s, %s, profiles.profile_agg(%s%s) FILTER (WHERE (%s) IS NULL), "
					 "count(*), NULL::text FROM %s",
					 k, left_out, t, attribute_pairs(fold), left_out, from);
	if (fold->sample < 1)
		appendStringInfo(&sql, " WHERE (hashtextextended(%s, 0) & 1048575) < %d",
						 k, (int) (fold->sample * 1048576));
	appendStringInfoString(&sql, " GROUP BY 1, 2");
	return sql.data;
}

/* ---------- running it ---------- */

/*
 * Errors that come from a row's data.  Others are about the source as a whole
 * (a column gone, a right revoked) or about the server, and are thrown.
 */
static bool
is_data_error(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_PLPGSQL_ERROR:
		case ERRCODE_EXTERNAL_ROUTINE_EXCEPTION:
		case ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			return true;
		default:
			return false;
	}
}

static void
run_query(Fold *fold, const char *sql, ParamListInfo params)
{
	SPIExecuteOptions options = {0};
	int			rc;

	options.params = params;
	options.read_only = true;
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, fold->store, fold->store_context,
									false, NULL, NULL);
	rc = SPI_execute_extended(sql, &options);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "fold failed: %s", SPI_result_code_string(rc));
}

/*
 * Runs a query in a subtransaction, its rows going to the fold's tuplestore.
 * Returns 0, or the SQLSTATE of a data error; what the query had given by then
 * may be in the store.
 */
static int
try_query(Fold *fold, const char *sql, ParamListInfo params)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int sqlstate = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		SPI_connect();
		run_query(fold, sql, params);
		SPI_finish();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		sqlstate = error->sqlerrcode;
		if (!is_data_error(sqlstate))
		{
			CurrentResourceOwner = owner;
			ReThrowError(error);
		}
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return sqlstate;
}

static ParamListInfo
array_param(Oid row_type, Datum *rows, int n)
{
	ParamListInfo params = makeParamList(1);
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(row_type, &len, &byval, &align);
	params->params[0].ptype = get_array_type(row_type);
	params->params[0].value = PointerGetDatum(construct_array(rows, n, row_type,
															  len, byval, align));
	params->params[0].isnull = false;
	params->params[0].pflags = 0;
	return params;
}

/* Counts one bad row, with its key if that much of it can be evaluated. */
static void
store_bad_row(Fold *fold, int sqlstate, ParamListInfo params, const char *from)
{
	SourceColumn *key = find_column(fold->source, psprintf("%s_id", fold->kind));
	char	   *reason = psprintf("error %s", unpack_sql_state(sqlstate));
	char	   *sql = psprintf("SELECT NULL::text, %s::text, NULL::profiles.profile, "
							   "1::bigint, %%s FROM %s", quote_literal_cstr(reason), from);

	if (try_query(fold, psprintf(sql, psprintf("left(%s, 200)", key->expression)), params) != 0)
		(void) try_query(fold, psprintf(sql, "NULL::text"), params);
}

static void
fold_batch(Fold *fold, const char *sql, const char *from, Oid row_type,
		   Datum *rows, int n)
{
	Tuplestorestate *store = fold->store;
	int			sqlstate;

	/* a batch that fails must leave none of its rows behind */
	fold->store = tuplestore_begin_heap(false, false, work_mem);
	sqlstate = try_query(fold, sql, array_param(row_type, rows, n));
	if (sqlstate == 0)
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(fold->tupdesc, &TTSOpsMinimalTuple);

		while (tuplestore_gettupleslot(fold->store, true, false, slot))
			tuplestore_puttupleslot(store, slot);
		ExecDropSingleTupleTableSlot(slot);
	}
	tuplestore_end(fold->store);
	fold->store = store;
	if (sqlstate == 0)
		return;

	if (n == 1)
		store_bad_row(fold, sqlstate, array_param(row_type, rows, 1), from);
	else
	{
		/* halves: few bad rows in a batch cost few tries */
		fold_batch(fold, sql, from, row_type, rows, n / 2);
		fold_batch(fold, sql, from, row_type, rows + n / 2, n - n / 2);
	}
}

/* Reads the source row by row, as its adder, and folds it in batches. */
static void
fold_in_batches(Fold *fold)
{
	Oid			relation = fold->source->relation;
	Oid			row_type = get_rel_type_id(relation);
	const char *alias = quote_identifier(get_rel_name(relation));
	const char *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
												  get_rel_name(relation));
	char	   *from = psprintf("unnest($1) AS %s", alias);
	char	   *sql = fold_query(fold, from);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "fold batch",
												ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr	plan;
	Portal		portal;

	plan = SPI_prepare(psprintf("SELECT %s FROM %s AS %s", alias, name, alias), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not read %s: %s", name, SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		MemoryContext old;
		Datum		rows[FOLD_BATCH];
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FOLD_BATCH);
		if (SPI_processed == 0)
			break;
		old = MemoryContextSwitchTo(batch);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		row = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
											1, &isnull);

			if (!isnull)
				rows[n++] = row;
		}
		fold_batch(fold, sql, from, row_type, rows, n);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/*
 * _fold(view regclass, kind text, sample float8)
 *		-> rows (key, left_out, profile, events, example)
 *
 * One row per key and reason at least; a key may come several times, to be
 * merged by profile_union_agg.
 */
Datum
profiles_fold(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			view = PG_GETARG_OID(0);
	Fold		fold = {0};
	ProfilesRole caller;
	char	   *from;
	int			settings;

	InitMaterializedSRF(fcinfo, 0);
	fold.kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	fold.sample = PG_GETARG_FLOAT8(2);
	fold.store = rsinfo->setResult;
	fold.tupdesc = rsinfo->setDesc;
	fold.store_context = rsinfo->econtext->ecxt_per_query_memory;

	SPI_connect();
	settings = profiles_pin_settings();
	fold.source = profiles_source_definition(view);
	profiles_unpin_settings(settings);
	if (find_column(fold.source, psprintf("%s_id", fold.kind)) != NULL)
	{
		caller = profiles_become_adder(fold.source->owner);
		/* one big aggregation may use what maintenance may use */
		(void) set_config_option("work_mem", GetConfigOption("maintenance_work_mem", false, false),
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("hash_mem_multiplier", "1",
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		from = quote_qualified_identifier(get_namespace_name(get_rel_namespace(fold.source->relation)),
										  get_rel_name(fold.source->relation));
		if (try_query(&fold, fold_query(&fold, from), NULL) != 0)
		{
			tuplestore_clear(fold.store);
			fold_in_batches(&fold);
		}
		profiles_become_caller(caller);
	}
	SPI_finish();
	return (Datum) 0;
}

/*
 * _check_source(view regclass): plans what a fold will run, with the rights it
 * will run with, so that what is wrong is said when a source is added.
 */
Datum
profiles_check_source(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {"user", "account"};
	Fold		fold = {0};
	ProfilesRole caller;
	int			settings;

	SPI_connect();
	settings = profiles_pin_settings();
	fold.source = profiles_source_definition(PG_GETARG_OID(0));
	profiles_unpin_settings(settings);
	fold.sample = 1;
	caller = profiles_become_adder(fold.source->owner);
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		const char *from = quote_qualified_identifier(get_namespace_name(get_rel_namespace(fold.source->relation)),
													  get_rel_name(fold.source->relation));

		fold.kind = kinds[i];
		if (find_column(fold.source, psprintf("%s_id", kinds[i])) != NULL)
			SPI_execute(psprintf("EXPLAIN %s", fold_query(&fold, from)), false, 0);
	}
	profiles_become_caller(caller);
	SPI_finish();
	PG_RETURN_VOID();
}
