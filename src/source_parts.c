/*
 * source_parts.c
 *		Are the tables of sources those that are recorded?
 *
 * Each step of upkeep asks, and nearly always they are.  So it is asked of catalogs
 * and configuration directly; what differs, and what to do about it, queries find out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(profiles_parts_are_recorded);

typedef struct Recorded
{
	int32		source;
	char	   *relation;
} Recorded;

typedef struct Parts
{
	Oid			schema;
	Oid			capture;		/* the trigger function */
	int			nrecorded;		/* ordered, each once */
	Recorded   *recorded;
	List	   *sources;		/* ids of those met so far, as text */
	Relation	triggers;		/* pg_trigger */
} Parts;

/* ---------- what is recorded ---------- */

static int
compare_recorded(const void *a, const void *b)
{
	const Recorded *x = a;
	const Recorded *y = b;

	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return strcmp(x->relation, y->relation);
}

static bool
take_recorded(TupleTableSlot *row, void *to)
{
	Parts	   *parts = to;

	/* as many as a power of two */
	if ((parts->nrecorded & (parts->nrecorded - 1)) == 0)
		parts->recorded = parts->nrecorded == 0 ? palloc(sizeof(Recorded))
			: repalloc_huge(parts->recorded, 2 * (Size) parts->nrecorded * sizeof(Recorded));
	parts->recorded[parts->nrecorded].source = DatumGetInt32(profiles_row_value(row, "source_id"));
	parts->recorded[parts->nrecorded++].relation = TextDatumGetCString(profiles_row_value(row, "relation"));
	return true;
}

static bool
is_recorded(Parts *parts, int32 source, char *relation)
{
	Recorded	sought = {source, relation};

	return parts->nrecorded > 0 &&
		bsearch(&sought, parts->recorded, parts->nrecorded, sizeof(Recorded), compare_recorded) != NULL;
}

/* ---------- what is there ---------- */

static char *
name_of(Oid relation)
{
	return DatumGetCString(DirectFunctionCall1(regclassout, ObjectIdGetDatum(relation)));
}

/* The arguments of a trigger, if it is one that captures what is inserted; else NULL. */
static bytea *
capture_arguments(Parts *parts, HeapTuple trigger)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(trigger);
	bool		isnull;

	if (form->tgfoid != parts->capture || strcmp(NameStr(form->tgname), PROFILES_INSERT_TRIGGER) != 0)
		return NULL;
	return DatumGetByteaPP(heap_getattr(trigger, Anum_pg_trigger_tgargs, RelationGetDescr(parts->triggers), &isnull));
}

/* Has a table the trigger with these arguments? */
static bool
is_captured(Parts *parts, Oid relation, const StringInfo arguments)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	ScanKeyInit(&keys[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(PROFILES_INSERT_TRIGGER));
	scan = systable_beginscan(parts->triggers, TriggerRelidNameIndexId, true, NULL, 2, keys);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bytea	   *made = capture_arguments(parts, tuple);

		found = made != NULL && VARSIZE_ANY_EXHDR(made) == arguments->len &&
			memcmp(VARDATA_ANY(made), arguments->data, arguments->len) == 0;
	}
	systable_endscan(scan);
	return found;
}

typedef struct Sources
{
	Parts	   *parts;
	bool		install;
	bool		same;
} Sources;

/* Compares the tables of a source. */
static bool
take_source(TupleTableSlot *row, void *to)
{
	Sources    *sources = to;
	Parts	   *parts = sources->parts;
	int32		id = DatumGetInt32(profiles_row_value(row, "id"));
	char	   *capture = TextDatumGetCString(profiles_row_value(row, "capture"));
	char	   *on_change = TextDatumGetCString(profiles_row_value(row, "on_change"));
	Oid			view = get_relname_relid(profiles_source_view(id), parts->schema);
	Oid			events = OidIsValid(view) ? profiles_source_events(view) : InvalidOid;
	int			recorded = 0;
	int			found = 0;
	StringInfoData arguments;
	ListCell   *lc;

	parts->sources = lappend(parts->sources, psprintf("%d", id));
	/* of a view that is gone or changed nothing is known */
	if (strcmp(capture, "none") == 0 || !OidIsValid(events))
		return true;
	initStringInfo(&arguments);
	appendStringInfo(&arguments, "%d", id);
	appendBinaryStringInfo(&arguments, "", 1);
	appendBinaryStringInfo(&arguments, capture, strlen(capture) + 1);
	appendBinaryStringInfo(&arguments, on_change, strlen(on_change) + 1);
	foreach(lc, find_all_inheritors(events, NoLock, NULL))
	{
		Oid			table = lfirst_oid(lc);

		if (!profiles_may_be_captured(table))
		{
			/* for which nothing of the source can be */
			if (sources->install && get_rel_relkind(table) == RELKIND_FOREIGN_TABLE)
				sources->same = false;
			continue;
		}
		if (is_recorded(parts, id, name_of(table)))
			found += is_captured(parts, table, &arguments);
		else if (sources->install)
			sources->same = false;
	}
	for (int i = 0; i < parts->nrecorded; i++)
		recorded += parts->recorded[i].source == id;
	sources->same &= found == recorded;
	return sources->same;
}

/*
 * Is a trigger of a source one that its table should not have?  What names no source that is
 * there does nothing: such a trigger may have come with a table out of a dump.
 */
static bool
is_left(Parts *parts, HeapTuple trigger)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(trigger);
	bytea	   *made = capture_arguments(parts, trigger);
	ListCell   *lc;

	/* that of a partition, which somebody else made, goes with its parent's */
	if (made == NULL || VARSIZE_ANY_EXHDR(made) == 0 || OidIsValid(form->tgparentid))
		return false;
	foreach(lc, parts->sources)
	{
		/* the arguments are strings, one behind the other */
		if (strcmp(lfirst(lc), VARDATA_ANY(made)) == 0)
			return !is_recorded(parts, atoi(lfirst(lc)), name_of(form->tgrelid));
	}
	return false;
}

/* Is there any such trigger?  All sources have to have been met. */
static bool
any_left_triggers(Parts *parts)
{
	SysScanDesc scan;
	HeapTuple	tuple;
	ScanKeyData key;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_trigger_tgfoid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(parts->capture));
	scan = systable_beginscan(parts->triggers, InvalidOid, false, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = is_left(parts, tuple);
	systable_endscan(scan);
	return found;
}

/*
 * _parts_are_recorded(install boolean): are the tables of captured sources those that
 * are recorded, with triggers?  If not install, it does not matter that there are
 * others, foreign tables included.
 */
Datum
profiles_parts_are_recorded(PG_FUNCTION_ARGS)
{
	Parts		parts = {0};
	Sources		sources = {&parts, PG_GETARG_BOOL(0), true};

	parts.schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	parts.capture = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("capture"),
									PointerGetDatum(buildoidvector(NULL, 0)), ObjectIdGetDatum(parts.schema));
	profiles_read_table(parts.schema, "source_part", take_recorded, &parts);
	if (parts.nrecorded > 0)
	{
		int			n = 1;

		qsort(parts.recorded, parts.nrecorded, sizeof(Recorded), compare_recorded);
		for (int i = 1; i < parts.nrecorded; i++)
		{
			if (compare_recorded(&parts.recorded[n - 1], &parts.recorded[i]) != 0)
				parts.recorded[n++] = parts.recorded[i];
		}
		parts.nrecorded = n;
	}
	parts.triggers = table_open(TriggerRelationId, AccessShareLock);
	profiles_read_table(parts.schema, "source_config", take_source, &sources);
	sources.same = sources.same && !(sources.install && any_left_triggers(&parts));
	table_close(parts.triggers, AccessShareLock);
	PG_RETURN_BOOL(sources.same);
}
