/*
 * upkeep_state.c
 *		What there is to do for upkeep, asked without queries.
 *
 * Mostly a refresh finds pending rows and nothing else, and is called every minute in a
 * new session.  Planning the queries that look for everything else would take longer
 * than anything it does, so tables of configuration, which are small, are read directly.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(profiles_only_pending);
PG_FUNCTION_INFO_V1(profiles_is_settled);
PG_FUNCTION_INFO_V1(profiles_kept_has_grown);
PG_FUNCTION_INFO_V1(profiles_search_has_changed);

/* bytes by which these may grow, however small they are */
#define KEPT_GROWTH		1048576
#define SEARCH_GROWTH	65536

/* Calls a function for each row of one of our tables, in the active snapshot, until it says that it is enough. */
void
profiles_read_table(Oid schema, const char *name, bool (*take) (TupleTableSlot *row, void *to), void *to)
{
	Relation	table = table_open(get_relname_relid(name, schema), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());
	TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	bool		more = true;

	while (more && table_scan_getnextslot(scan, ForwardScanDirection, slot))
		more = take(slot, to);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
}

/* A value of such a row that can't be NULL; it stays until the next row. */
Datum
profiles_row_value(TupleTableSlot *row, const char *column)
{
	bool		isnull;
	Datum		value = slot_getattr(row, SPI_fnumber(row->tts_tupleDescriptor, column), &isnull);

	if (isnull)
		elog(ERROR, "column \"%s\" is NULL", column);
	return value;
}

/* The name of a source's view. */
char *
profiles_source_view(int32 id)
{
	return psprintf("source_%d", id);
}

typedef struct State
{
	Oid			schema;
	char	   *kind;
	bool		found;			/* anything to do */
	bool		known;			/* has there been upkeep before? */
	bool		rebuilds;
	int64		kept_size;
	int64		search_size;
} State;

static bool
is_of_kind(TupleTableSlot *row, State *state)
{
	return strcmp(TextDatumGetCString(profiles_row_value(row, "kind")), state->kind) == 0;
}

static bool
take_any(TupleTableSlot *row, void *to)
{
	((State *) to)->found = true;
	return false;
}

static bool
take_any_of_kind(TupleTableSlot *row, void *to)
{
	State	   *state = to;

	state->found = state->found || is_of_kind(row, state);
	return !state->found;
}

static bool
take_source(TupleTableSlot *row, void *to)
{
	State	   *state = to;

	state->found = !OidIsValid(get_relname_relid(profiles_source_view(DatumGetInt32(profiles_row_value(row, "id"))), state->schema));
	return !state->found;
}

static bool
take_part(TupleTableSlot *row, void *to)
{
	State	   *state = to;

	state->found = !DatumGetBool(profiles_row_value(row, "folded")) && is_of_kind(row, state);
	return !state->found;
}

static bool
take_upkeep(TupleTableSlot *row, void *to)
{
	State	   *state = to;
	char	   *phase = TextDatumGetCString(profiles_row_value(row, "phase"));

	if (!is_of_kind(row, state))
		return true;
	state->known = true;
	state->rebuilds = strcmp(phase, "fold") == 0 || strcmp(phase, "write") == 0 || strcmp(phase, "index") == 0;
	state->kept_size = DatumGetInt64(profiles_row_value(row, "kept_size"));
	state->search_size = DatumGetInt64(profiles_row_value(row, "search_size"));
	return false;
}

/* Is a view there, on which nothing was ever granted? */
static bool
is_view_without_grants(State *state, const char *name)
{
	Oid			view = get_relname_relid(name, state->schema);
	HeapTuple	tuple = OidIsValid(view) ? SearchSysCache1(RELOID, ObjectIdGetDatum(view)) : NULL;
	Relation	attributes;
	SysScanDesc scan;
	ScanKeyData key;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = heap_attisnull(tuple, Anum_pg_class_relacl, NULL);
	ReleaseSysCache(tuple);
	attributes = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(view));
	scan = systable_beginscan(attributes, AttributeRelidNumIndexId, true, NULL, 1, &key);
	while (result && HeapTupleIsValid(tuple = systable_getnext(scan)))
		result = heap_attisnull(tuple, Anum_pg_attribute_attacl, NULL);
	systable_endscan(scan);
	table_close(attributes, AccessShareLock);
	return result;
}

static State
read_state(FunctionCallInfo fcinfo)
{
	State		state = {get_func_namespace(fcinfo->flinfo->fn_oid), text_to_cstring(PG_GETARG_TEXT_PP(0))};

	profiles_read_table(state.schema, "upkeep", take_upkeep, &state);
	return state;
}

/*
 * _only_pending(kind text): is there nothing to do for refresh but to merge pending rows?
 * If this says so, none of what refresh looks for otherwise is there; it may err in the
 * other direction.
 */
Datum
profiles_only_pending(PG_FUNCTION_ARGS)
{
	State		state = read_state(fcinfo);

	if (!state.known || state.rebuilds || !OidIsValid(get_relname_relid(psprintf("%s_profile", state.kind), state.schema)) ||
		!is_view_without_grants(&state, "events") || !is_view_without_grants(&state, "sessions"))
		PG_RETURN_BOOL(false);
	profiles_read_table(state.schema, "view_grant", take_any, &state);
	if (!state.found)
		profiles_read_table(state.schema, "due", take_any_of_kind, &state);
	if (!state.found)
		profiles_read_table(state.schema, "source_failure", take_any_of_kind, &state);
	if (!state.found)
		profiles_read_table(state.schema, "source_config", take_source, &state);
	if (!state.found)
		profiles_read_table(state.schema, "source_part", take_part, &state);
	PG_RETURN_BOOL(!state.found && !profiles_any_marks(state.schema, state.kind));
}

/* In bytes; -1 if there is no such table. */
static int64
size_of(State *state, const char *name)
{
	Oid			relid = get_relname_relid(name, state->schema);
	Relation	table;
	int64		size;

	if (!OidIsValid(relid))
		return -1;
	table = table_open(relid, AccessShareLock);
	size = (int64) RelationGetNumberOfBlocks(table) * BLCKSZ;
	table_close(table, AccessShareLock);
	return size;
}

/* Has kept grown by a good part since its rows were last merged? */
static bool
kept_has_grown(State *state)
{
	return size_of(state, "kept") > 1.5 * state->kept_size + KEPT_GROWTH;
}

/* Has what is searched grown or shrunk by a good part since it was last counted? */
static bool
search_has_changed(State *state)
{
	int64		size = size_of(state, psprintf("%s_search", state->kind));

	return size >= 0 && (size < 0.7 * state->search_size || size > 1.3 * state->search_size + SEARCH_GROWTH);
}

/* _kept_has_grown(kind text) */
Datum
profiles_kept_has_grown(PG_FUNCTION_ARGS)
{
	State		state = read_state(fcinfo);

	PG_RETURN_BOOL(kept_has_grown(&state));
}

/* _search_has_changed(kind text) */
Datum
profiles_search_has_changed(PG_FUNCTION_ARGS)
{
	State		state = read_state(fcinfo);

	PG_RETURN_BOOL(search_has_changed(&state));
}

/*
 * _is_settled(kind text): has nobody left search to this refresh, and have kept and what
 * is searched about the size that they had when they were last looked after?
 */
Datum
profiles_is_settled(PG_FUNCTION_ARGS)
{
	State		state = read_state(fcinfo);

	profiles_read_table(state.schema, psprintf("%s_search_due", state.kind), take_any, &state);
	PG_RETURN_BOOL(!state.found && !kept_has_grown(&state) && !search_has_changed(&state));
}
