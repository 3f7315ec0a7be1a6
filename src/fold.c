/*
 * fold.c
 *		Folds events of one source with the rights of its adder: all of them, those
 *		of some keys, those of a partition, or the rows of one statement.
 *
 * Where rows can be read lazily, direct_fold.c does; else it is one aggregate
 * query.  If a row's expressions fail there, the rows are read in batches instead, and a batch that fails in halves, so that the
 * bad rows are left out one by one and counted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "compat.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "left_out.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "pending.h"
#include "profile.h"
#include "profile_fold.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "upkeep.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(profiles_fold);
PG_FUNCTION_INFO_V1(profiles_limit);
PG_FUNCTION_INFO_V1(profiles_check_source);

#define FOLD_BATCH	1000		/* rows tried at once where some fail, */
#define FOLD_FETCH	50			/* rows read at once */
#define FOLD_BATCH_SIZE	(64 * 1024 * 1024)	/* as long as they take no more bytes */
#define PARAM_REASON	4		/* the last parameter of a query, $5 */

/* ---------- running it ---------- */

/*
 * Is an error that was thrown while rows were evaluated the row's fault?  Input of
 * many types and functions of users throw what they like, so it is, unless it is
 * clearly about the source as a whole (something is gone, a right was revoked, a
 * server does not answer) or about this server or the transaction.
 */
static bool
is_row_error(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION:
		case ERRCODE_INVALID_CATALOG_NAME:
		case ERRCODE_INVALID_SCHEMA_NAME:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_FDW_ERROR:
			return false;
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
			/* as malformed text of a tsquery, a jsonpath or an hstore is, too, or a long label of an ltree */
			return sqlstate == ERRCODE_SYNTAX_ERROR || sqlstate == ERRCODE_NAME_TOO_LONG;
		default:
			return sqlstate != ERRCODE_LOCK_NOT_AVAILABLE &&
				sqlstate != ERRCODE_DATA_CORRUPTED && sqlstate != ERRCODE_INDEX_CORRUPTED;
	}
}

/* The time up to which events count now. */
static TimestampTz
time_limit(void)
{
	return GetCurrentTransactionStartTimestamp() + (int64) profiles_future_tolerance * USECS_PER_SEC;
}

/* _limit() */
Datum
profiles_limit(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(time_limit());
}

/* A query of the fold; with a plan where it runs more than once. */
typedef struct FoldQuery
{
	char	   *sql;
	PlannedStmt *plan;
} FoldQuery;

/*
 * Parameters of the fold's query; "rows" only where it reads a batch, and a reason
 * where one fails.  A plan that is kept is not for these values alone.
 */
static ParamListInfo
fold_params(ProfilesFold *fold, Datum rows, Oid rows_type, bool kept)
{
	ParamListInfo params = makeParamList(PARAM_REASON + 1);
	Oid			types[] = {TIMESTAMPTZOID, TEXTARRAYOID, TIMESTAMPTZOID, rows_type, TEXTOID};
	Datum		values[] = {TimestampTzGetDatum(time_limit()), fold->keys,
	TimestampTzGetDatum(fold->since), rows, (Datum) 0};
	bool		nulls[] = {false, fold->keys == (Datum) 0, false, rows == (Datum) 0, true};

	for (int i = 0; i < params->numParams; i++)
	{
		params->params[i].ptype = types[i];
		params->params[i].value = values[i];
		params->params[i].isnull = nulls[i];
		params->params[i].pflags = kept ? 0 : PARAM_FLAG_CONST;
	}
	return params;
}

/* The transition table, by the name that is ours, or NULL. */
static EphemeralNamedRelation
transition_table(ProfilesFold *fold)
{
	EphemeralNamedRelation enr;

	if (fold->rows == NULL)
		return NULL;
	enr = palloc0(sizeof(EphemeralNamedRelationData));
	enr->md.name = pstrdup(fold->rows_name);
	enr->md.reliddesc = fold->relation;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(fold->rows);
	enr->reldata = fold->rows;
	return enr;
}

/*
 * The query must call only what comes with PostgreSQL or the extension, or what
 * the source's view calls, and read what it is to read.  Its text names
 * functions and relations, and whoever may create objects in a schema that it
 * names can make a name mean another one.
 */
static void
check_query(ProfilesFold *fold, Query *query)
{
	Oid			extension = get_extension_oid("profiles", false);
	List	   *functions = NIL;
	ListCell   *lc;

	(void) profiles_collect_functions((Node *) query, &functions);
	foreach(lc, functions)
	{
		Oid			function = lfirst_oid(lc);

		if (get_func_namespace(function) != PG_CATALOG_NAMESPACE &&
			!list_member_oid(fold->source->functions, function) &&
			getExtensionOfObject(ProcedureRelationId, function) != extension)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
					 errmsg("function %s is not one that source %s was added with",
							format_procedure(function),
							profiles_relation_text(fold->source->relation)),
					 errhint("It hides another of its name. Rename it, or drop it.")));
	}
}

/*
 * Parses, checks and plans the fold's query.  By hand, since a plan of SPI may
 * be made anew from the text, unchecked, when something has changed.
 */
static PlannedStmt *
plan_query(ProfilesFold *fold, const char *sql, ParamListInfo params)
{
	int			n = params->numParams;
	Oid		   *types = palloc(n * sizeof(Oid));
	Query	   *query;

	for (int i = 0; i < n; i++)
		types[i] = params->params[i].ptype;
	query = parse_analyze_fixedparams(linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT)),
									  sql, types, n, NULL);
	check_query(fold, query);
	/* what the mapping calls the adder chose, but not what is under the relation */
	if (fold->rows == NULL)
		(void) profiles_trusted_query(psprintf("SELECT * FROM %s", profiles_qualified_name(fold->source->relation)),
									  profiles_relation_text(fold->source->relation));
	query = linitial_node(Query, QueryRewrite(query));
	return pg_plan_query(query, sql, CURSOR_OPT_PARALLEL_OK, params);
}

/* Takes the rows of a fold's query to its tuplestore, but those left out, which are counted. */
typedef struct FoldReceiver
{
	DestReceiver pub;
	DestReceiver *store;
	LeftOut    *left_out;
	uint32		longest;		/* bytes of a value that count */
	MemoryContext row_context;
} FoldReceiver;

static void
start_receiver(DestReceiver *self, int operation, TupleDesc tupdesc)
{
	DestReceiver *store = ((FoldReceiver *) self)->store;

	store->rStartup(store, operation, tupdesc);
}

static bool
receive_folded(TupleTableSlot *slot, DestReceiver *self)
{
	FoldReceiver *receiver = (FoldReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->row_context);
	ProfileString key = {NULL, 0};

	slot_getallattrs(slot);
	if (!slot->tts_isnull[FOLDED_KEY])
	{
		text	   *value = DatumGetTextPP(slot->tts_values[FOLDED_KEY]);

		key = profile_string(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	}
	if (!slot->tts_isnull[FOLDED_PROFILE])
	{
		(void) receiver->store->receiveSlot(slot, receiver->store);
		left_out_add_cut(receiver->left_out,
						 profile_fold_cut((struct varlena *) DatumGetPointer(slot->tts_values[FOLDED_PROFILE]), receiver->longest), key);
	}
	else
		left_out_add(receiver->left_out, TextDatumGetCString(slot->tts_values[FOLDED_LEFT_OUT]),
					 DatumGetInt64(slot->tts_values[FOLDED_EVENTS]), key);
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->row_context);
	return true;
}

static void
end_receiver(DestReceiver *self)
{
	DestReceiver *store = ((FoldReceiver *) self)->store;

	store->rShutdown(store);
}

static void
destroy_receiver(DestReceiver *self)
{
}

static void
run_query(ProfilesFold *fold, FoldQuery *query, ParamListInfo params)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "fold query",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FoldReceiver receiver = {{receive_folded, start_receiver, end_receiver, destroy_receiver, DestTuplestore}};
	PlannedStmt *plan;
	QueryDesc  *desc;

	receiver.store = CreateDestReceiver(DestTuplestore);
	receiver.left_out = left_out_begin(fold);
	receiver.longest = fold_longest_value(fold);
	receiver.row_context = AllocSetContextCreate(context, "folded row", ALLOCSET_DEFAULT_SIZES);
	/* whatever the view's columns are, the rows are what we declare */
	SetTuplestoreDestReceiverParams(receiver.store, fold->store, fold->store_context, true,
									fold->tupdesc, "the fold of a source has other columns");
	fold->evaluates = false;
	plan = query->plan != NULL ? query->plan : plan_query(fold, query->sql, params);
	desc = CreateQueryDesc(plan, query->sql, GetActiveSnapshot(), InvalidSnapshot,
						   &receiver.pub, params, NULL, 0);
	ExecutorStart(desc, 0);
	fold->evaluates = true;
	PROFILES_EXECUTOR_RUN(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	left_out_end(receiver.left_out);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * Folds directly, or else runs the query; rows go to the fold's tuplestore.  A direct
 * fold that fails as it begins is no matter: the query, tried next, would too.
 */
static void
run_fold(ProfilesFold *fold, DirectFold *direct, FoldQuery *query, ParamListInfo params)
{
	if (direct != NULL)
	{
		fold->evaluates = true;
		if (profiles_fold_directly(fold, direct, time_limit()))
			return;
		tuplestore_clear(fold->store);
	}
	run_query(fold, query, params);
}

/*
 * Does so in a subtransaction.  Returns 0, or the SQLSTATE of an error that is a row's
 * fault, which none is before rows are evaluated; what had been given by then may be
 * in the store.
 */
static int
try_fold(ProfilesFold *fold, DirectFold *direct, FoldQuery *query, ParamListInfo params)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int sqlstate = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run_fold(fold, direct, query, params);
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
		if (!fold->evaluates || !is_row_error(sqlstate))
		{
			MemoryContextSwitchTo(context);
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

/* ---------- rows that fail ---------- */

/* What is run for each batch, planned once. */
typedef struct FoldBatches
{
	ProfilesFold *fold;
	Oid			row_type;
	FoldQuery	rows;
	FoldQuery	bad_row;
	FoldQuery	bad_row_of_no_key;	/* where that can't be evaluated either */
} FoldBatches;

static ParamListInfo
batch_params(FoldBatches *batches, Datum rows)
{
	return fold_params(batches->fold, rows, get_array_type(batches->row_type), true);
}

static FoldQuery
plan_for_batches(FoldBatches *batches, char *sql)
{
	FoldQuery	query = {sql, plan_query(batches->fold, sql, batch_params(batches, (Datum) 0))};

	return query;
}

static void
begin_batches(FoldBatches *batches, ProfilesFold *fold)
{
	SourceColumn *key = profiles_find_column(fold->source, psprintf("%s_id", fold->kind));
	const char *alias = quote_identifier(get_rel_name(fold->source->relation));
	char	   *bad_row = "SELECT %s, $5, NULL::profiles.profile, 1::bigint, NULL::text FROM unnest($4) AS %s";

	batches->fold = fold;
	batches->row_type = get_rel_type_id(fold->relation);
	batches->rows = plan_for_batches(batches, fold_query(fold, "unnest($4)"));
	batches->bad_row = plan_for_batches(batches, psprintf(bad_row, psprintf("left(%s, %d)", key->expression, LEFT_OUT_EXAMPLE), alias));
	batches->bad_row_of_no_key = plan_for_batches(batches, psprintf(bad_row, "NULL::text", alias));
}

/* Counts one bad row, with its key if that much of it can be evaluated. */
static void
store_bad_row(FoldBatches *batches, int sqlstate, ParamListInfo params)
{
	ParamExternData *reason = &params->params[PARAM_REASON];

	reason->value = CStringGetTextDatum(psprintf("error %s", unpack_sql_state(sqlstate)));
	reason->isnull = false;
	if (try_fold(batches->fold, NULL, &batches->bad_row, params) != 0)
		(void) try_fold(batches->fold, NULL, &batches->bad_row_of_no_key, params);
}

static void
fold_batch(FoldBatches *batches, Datum *rows, int n)
{
	ProfilesFold *fold = batches->fold;
	Tuplestorestate *store = fold->store;
	ParamListInfo params;
	int16		len;
	bool		byval;
	char		align;
	int			sqlstate;

	get_typlenbyvalalign(batches->row_type, &len, &byval, &align);
	params = batch_params(batches, PointerGetDatum(construct_array(rows, n, batches->row_type, len, byval, align)));

	/* a batch that fails must leave none of its rows behind */
	fold->store = tuplestore_begin_heap(false, false, work_mem);
	sqlstate = try_fold(fold, NULL, &batches->rows, params);
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
		store_bad_row(batches, sqlstate, params);
	else
	{
		/* halves: few bad rows in a batch cost few tries */
		fold_batch(batches, rows, n / 2);
		fold_batch(batches, rows + n / 2, n - n / 2);
	}
}

/* Reads the rows as such, and folds them in batches. */
static void
fold_in_batches(ProfilesFold *fold)
{
	const char *alias = quote_identifier(get_rel_name(fold->source->relation));
	const char *from = fold->rows != NULL ? fold->rows_name : profiles_qualified_name(fold->relation);
	char	   *rows_query = psprintf("SELECT ROW(%s.*)::%s FROM %s AS %s", alias,
									  format_type_be_qualified(get_rel_type_id(fold->relation)),
									  from, alias);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "fold batch",
												ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr	plan;
	Portal		portal;
	EphemeralNamedRelation enr;
	FoldBatches batches;
	Datum		rows[FOLD_BATCH];
	int			n = 0;
	Size		size = 0;		/* of them */
	long		fetch = 1;		/* few at a time, one if they are large */

	begin_batches(&batches, fold);
	SPI_connect();
	enr = transition_table(fold);
	if (enr != NULL && SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register \"%s\"", from);
	plan = SPI_prepare(rows_query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not read %s: %s", from, SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPITupleTable *fetched;
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, fetch);
		fetched = SPI_tuptable;
		fetch = FOLD_FETCH;
		old = MemoryContextSwitchTo(batch);
		for (uint64 i = 0; i < fetched->numvals; i++)
		{
			bool		isnull;
			Datum		row = SPI_getbinval(fetched->vals[i], fetched->tupdesc, 1, &isnull);
			Size		row_size = isnull ? 0 : VARSIZE_ANY(DatumGetPointer(row));

			if (isnull)
				continue;
			if (n == FOLD_BATCH || (n > 0 && size + row_size > FOLD_BATCH_SIZE))
			{
				fold_batch(&batches, rows, n);
				MemoryContextReset(batch);
				n = 0;
				size = 0;
			}
			if (row_size > FOLD_BATCH_SIZE / FOLD_FETCH)
				fetch = 1;
			rows[n++] = datumCopy(row, false, -1);
			size += row_size;
		}
		if (fetched->numvals == 0 && n > 0)
			fold_batch(&batches, rows, n);
		MemoryContextSwitchTo(old);
		if (fetched->numvals == 0)
			break;
		SPI_freetuptable(fetched);
	}
	MemoryContextDelete(batch);
	SPI_cursor_close(portal);
	SPI_finish();
}

/* ---------- entry points ---------- */

/*
 * The direct fold, if one will do: kept where the caller says, or made.  The adder
 * must be in force.
 */
static DirectFold *
direct_fold(ProfilesFold *fold)
{
	DirectFold *direct;
	MemoryContext old;

	if (fold->direct == NULL)
		return profiles_prepare_direct_fold(fold);
	if (*fold->direct == NULL)
	{
		old = MemoryContextSwitchTo(fold->direct_context);
		direct = profiles_prepare_direct_fold(fold);
		MemoryContextSwitchTo(old);
		*fold->direct = direct;
	}
	return *fold->direct;
}

/*
 * The adder must see all rows: capture does, and a fold of some would differ from
 * it unnoticed.  Where row-level security would hide rows, reading is an error.
 */
static ProfilesRole
become_adder(SourceDefinition *source)
{
	ProfilesRole caller = profiles_become_adder(source->owner);

	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	if (check_enable_rls(source->relation, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security hides rows of %s from role \"%s\"",
						profiles_relation_text(source->relation),
						GetUserNameFromId(source->owner, false)),
				 errhint("A source is folded with the rights of the role that added it, and capture sees all rows. Let a role add it that does, too: the table's owner, or one with BYPASSRLS.")));
	return caller;
}

/*
 * Makes the direct fold that the caller keeps.  Returns whether it matters neither
 * as whom nor under which settings it runs.
 */
bool
profiles_prepare_fold(ProfilesFold *fold)
{
	if (*fold->direct == NULL)
	{
		ProfilesRole caller = become_adder(fold->source);

		(void) direct_fold(fold);
		profiles_become_caller(caller);
	}
	return profiles_direct_fold_is_plain(*fold->direct);
}

/*
 * Folds as the adder; rows (key, left_out, profile, events, example) go to the
 * fold's tuplestore.  One row per key and reason at least; a key may come
 * several times.
 */
void
profiles_fold_rows(ProfilesFold *fold)
{
	ProfilesRole caller;
	ParamListInfo params;
	DirectFold *direct;
	FoldQuery	query = {NULL, NULL};
	bool		can_fail = false;
	ListCell   *lc;

	if (fold->direct != NULL && *fold->direct != NULL && profiles_direct_fold_is_plain(*fold->direct))
	{
		(void) profiles_fold_directly(fold, *fold->direct, time_limit());
		return;
	}
	caller = become_adder(fold->source);
	params = fold_params(fold, (Datum) 0, TEXTARRAYOID, false);
	direct = direct_fold(fold);
	/* one big aggregation may use what maintenance may use */
	if (fold->rows == NULL)
	{
		(void) set_config_option("work_mem", GetConfigOption("maintenance_work_mem", false, false),
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("hash_mem_multiplier", "1",
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		query.sql = fold_query(fold, profiles_qualified_name(fold->relation));
	}
	if (direct != NULL)
		can_fail = profiles_direct_fold_can_fail(direct);
	else
	{
		foreach(lc, fold->source->columns)
			can_fail |= !((SourceColumn *) lfirst(lc))->is_column;
	}

	if (!can_fail)
		run_fold(fold, direct, &query, params);
	else if (try_fold(fold, direct, &query, params) != 0)
	{
		tuplestore_clear(fold->store);
		fold_in_batches(fold);
	}
	profiles_become_caller(caller);
}

/* Keys, times and filters must be what we made them. */
static void
check_column_types(SourceDefinition *source, Oid view)
{
	bool		has_time = false;
	ListCell   *lc;

	foreach(lc, source->columns)
	{
		SourceColumn *column = lfirst(lc);
		Oid			type = profiles_column_type(column->name);

		has_time |= type == TIMESTAMPTZOID;
		if (OidIsValid(type) && exprType((Node *) column->expr) != type)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of %s is of type %s, not %s", column->name,
							profiles_relation_text(view),
							format_type_be(exprType((Node *) column->expr)), format_type_be(type)),
					 errhint("Drop the source and add it again.")));
	}
	if (!has_time)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("%s has no column \"seen_at\"", profiles_relation_text(view)),
				 errhint("Drop the source and add it again.")));
}

/*
 * The definition of a source, for an internal function that acts as its adder.
 *
 * The extension's owner may call such a function with any view.  Those in our
 * schema, where no other role may make any, were made for their owners by us.
 */
SourceDefinition *
profiles_our_source(Oid function, Oid view)
{
	int			settings = profiles_pin_settings();
	SourceDefinition *source;

	if (get_rel_namespace(view) != get_func_namespace(function))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not the view of a source", profiles_relation_text(view))));
	source = profiles_source_definition(view);
	check_column_types(source, view);
	profiles_unpin_settings(settings);
	return source;
}

char *
profiles_qualified_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
}

/*
 * _fold(view regclass, kind text, sample float8, keys text[], since timestamptz,
 *		 relation regclass, by_query boolean)
 *		-> rows (key, left_out, profile, events, example)
 *
 * relation: a partition to be read instead of the whole source.
 */
Datum
profiles_fold(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ProfilesFold fold = {0};
	Oid			relation;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(6))
		return (Datum) 0;
	fold.source = profiles_our_source(fcinfo->flinfo->fn_oid, PG_GETARG_OID(0));
	fold.kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (strcmp(fold.kind, "user") != 0 && strcmp(fold.kind, "account") != 0)
		elog(ERROR, "unknown kind \"%s\"", fold.kind);
	fold.sample = PG_GETARG_FLOAT8(2);
	fold.keys = PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3);
	fold.since = PG_ARGISNULL(4) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(4);
	relation = PG_ARGISNULL(5) ? fold.source->relation : PG_GETARG_OID(5);
	fold.relation = relation;
	fold.by_query = PG_GETARG_BOOL(6);
	fold.store = rsinfo->setResult;
	fold.tupdesc = rsinfo->setDesc;
	fold.store_context = rsinfo->econtext->ecxt_per_query_memory;
	if (profiles_source_feeds(fold.source, fold.kind))
		profiles_fold_rows(&fold);
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
	ProfilesFold fold = {0};
	ProfilesRole caller;

	fold.source = profiles_our_source(fcinfo->flinfo->fn_oid, PG_GETARG_OID(0));
	fold.sample = 1;
	fold.since = DT_NOBEGIN;
	caller = become_adder(fold.source);
	SPI_connect();
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		fold.kind = kinds[i];
		if (profiles_source_feeds(fold.source, kinds[i]))
			(void) plan_query(&fold,
							  fold_query(&fold, profiles_qualified_name(fold.source->relation)),
							  fold_params(&fold, (Datum) 0, TEXTARRAYOID, false));
	}
	SPI_finish();
	profiles_become_caller(caller);
	PG_RETURN_VOID();
}
