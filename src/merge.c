/*
 * merge.c
 *		Merges pending partial profiles into stored profiles.
 *
 * Whenever a subject has been seen, its profile is updated here, and nothing else
 * is done as often.  So what a query would do is done by hand: pending rows are
 * taken and sorted by key, and each stored profile is looked up, merged and
 * replaced, with its generated columns, indexes and triggers.  Profiles that are
 * new, and all if the table is not as we made it, are left to a statement.
 *
 * The caller has the upkeep lock of the kind, so nobody else merges.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "blocked.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "packed.h"
#include "plain_update.h"
#include "profile.h"
#include "rewrite/rewriteHandler.h"
#include "search.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(profiles_merge_rows);
PG_FUNCTION_INFO_V1(profiles_has_marks);

#define TAKEN_ROWS	"profiles_taken"
#define NEW_ROWS	"profiles_new_rows"

/* %1$s is the kind. */
#define COUNT_TAKEN \
	"INSERT INTO profiles.source_count AS n (source_id, kind, reason, events, example) " \
	"SELECT t.source_id, '%1$s', t.reason, sum(t.events), min(t.example) " \
	"FROM " TAKEN_ROWS " t JOIN profiles.source_config c ON c.id = t.source_id " \
	"GROUP BY 1, 3 ORDER BY 1, 3 " \
	"ON CONFLICT (source_id, kind, reason) DO UPDATE " \
	"SET events = n.events + EXCLUDED.events, example = coalesce(n.example, EXCLUDED.example)"
#define COUNT_FOLDED \
	"UPDATE profiles.source_count n SET events = n.events + $1 WHERE n.source_id = $2 AND n.kind = $3 AND n.reason = 'folded'"
#define MERGE_NEW \
	"INSERT INTO profiles.%1$s_profile AS p (key, profile) " \
	"SELECT m.key, m.profile FROM " NEW_ROWS " m " \
	"ON CONFLICT (key) DO UPDATE SET profile = p.profile OPERATOR(profiles.||) EXCLUDED.profile " \
	"WHERE profiles._adds(p.profile, EXCLUDED.profile)"

/* Columns of the pending table. */
enum
{
	PENDING_SOURCE = 1,
	PENDING_KEY,
	PENDING_LEFT_OUT,
	PENDING_PROFILE,
	PENDING_EVENTS,
	PENDING_EXAMPLE
};

/* Columns of the table of packed ones. */
enum
{
	PACKED_SOURCE = 1,
	PACKED_SUBJECTS,
	PACKED_PROFILES
};

/* A pending row that is to be merged. */
typedef struct PendingRow
{
	Datum		key_text;
	ProfileString key;			/* its bytes */
	struct varlena *profile;
} PendingRow;

typedef struct FoldedEvents
{
	int32		source;
	int64		events;
} FoldedEvents;

typedef struct Merge
{
	const char *kind;
	int			kind_number;
	Oid			schema;
	Relation	pending;
	Relation	packed;
	Relation	storage;
	AttrNumber	key;			/* columns of storage */
	AttrNumber	profile;
	AttrNumber	name;			/* by which people are called; below 0 if there is none */
	AttrNumber	email;
	TimestampTz limit;			/* events up to then count */
	BlockedKeys blocked;

	/* rows taken, but not merged yet */
	MemoryContext context;
	PendingRow *rows;
	int			nrows;
	int			size;
	FoldedEvents *folded;		/* per source */
	int			nfolded;
	int			source;			/* of these, the last one that was met */
	MemoryContext outer;		/* of what stays until the end */

	TupleDesc	taken_desc;		/* what became of rows */
	Tuplestorestate *taken;
	TupleDesc	new_desc;		/* profiles that were not found */
	Tuplestorestate *new_rows;
} Merge;

/* What updates of storage need. */
typedef struct Update
{
	PlainUpdate plain;
	TransitionCaptureState *transition;
	bool		by_accessors;	/* all generated columns are computed here */
	ProfileAccessor *columns;	/* per column; for generated ones */
	bool		only_searched;	/* the only row trigger is search's, which is not called */
	bool		same_texts;		/* of the row at hand: only times are others */
	bool		any_changed;	/* of its generated texts */
	bool		person_changed;	/* name or e-mail */
	MemoryContext context;		/* of one profile */
} Update;

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE PendingRow
#define ST_COMPARE(a, b) profile_string_cmp((a)->key, (b)->key)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* ---------- statements over rows ---------- */

static void
run_over_rows(const char *sql, const char *name, Tuplestorestate *rows, TupleDesc tupdesc)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.tupdesc = tupdesc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(rows);
	enr->reldata = rows;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register \"%s\"", name);
	if (SPI_execute(sql, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not merge pending rows");
	(void) SPI_unregister_relation(name);
}

/* ---------- updating stored profiles ---------- */

/*
 * Finds out how generated columns follow from the profile.  If all are as we
 * made them, they are computed from the merged content, without an expression and
 * without decoding the profile again.
 */
static void
find_accessors(Update *update, Merge *merge)
{
	TupleDesc	tupdesc = RelationGetDescr(merge->storage);

	update->columns = palloc0(tupdesc->natts * sizeof(ProfileAccessor));
	update->by_accessors = true;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, i);
		FuncExpr   *call;
		Var		   *profile;
		FmgrInfo	function;

		if (column->attgenerated != ATTRIBUTE_GENERATED_STORED || column->attisdropped)
			continue;
		update->by_accessors = false;
		call = (FuncExpr *) build_column_default(merge->storage, i + 1);
		if (call == NULL || !IsA(call, FuncExpr) || call->args == NIL)
			return;
		profile = linitial(call->args);
		fmgr_info(call->funcid, &function);
		if (!IsA(profile, Var) || profile->varattno != merge->profile ||
			!profile_find_accessor(function.fn_addr, &update->columns[i]))
			return;
		if (list_length(call->args) > 1)
		{
			Const	   *name = lsecond(call->args);
			text	   *value;

			if (!IsA(name, Const) || name->consttype != TEXTOID || name->constisnull)
				return;
			value = DatumGetTextPP(name->constvalue);
			if (!profile_name_is_valid(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)))
				return;
			update->columns[i].name = profile_shared_name(profile_string(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
		}
		update->by_accessors = true;
	}
}

/*
 * Is search's the only trigger on updated rows?  Then it is not called: what its
 * condition asks, whether one of the generated texts has changed, is asked here more
 * quickly, and so is what it does.
 */
static bool
only_search_triggers(Merge *merge, TriggerDesc *triggers)
{
	if (triggers == NULL || !triggers->trig_update_after_row)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];
		FmgrInfo	function;

		if (!TRIGGER_FOR_ROW(trigger->tgtype) || !TRIGGER_FOR_UPDATE(trigger->tgtype))
			continue;
		fmgr_info(trigger->tgfoid, &function);
		if (function.fn_addr != profiles_note_searched || trigger->tgqual == NULL || trigger->tgenabled != TRIGGER_FIRES_ON_ORIGIN ||
			trigger->tgnargs == 0 || strcmp(trigger->tgargs[0], merge->kind) != 0)
			return false;
	}
	return SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA;
}

/* Prepares updates, as for a statement; false if they have to be left to one. */
static bool
begin_update(Update *update, Merge *merge)
{
	PlainUpdate *plain = &update->plain;

	if (!plain_update_open(plain, merge->storage, merge->kind, "profile", merge->key, merge->profile))
		return false;
	find_accessors(update, merge);

	AfterTriggerBeginQuery();
	update->transition = MakeTransitionCaptureState(merge->storage->trigdesc, RelationGetRelid(merge->storage), CMD_UPDATE);
	/* these may wait for somebody, and write something */
	ExecBSUpdateTriggers(plain->estate, plain->relinfo);
	plain_update_begin(plain);
	update->only_searched = update->by_accessors && update->transition == NULL && only_search_triggers(merge, plain->relinfo->ri_TrigDesc);
	update->context = AllocSetContextCreate(CurrentMemoryContext, "merged profile", ALLOCSET_DEFAULT_SIZES);
	return true;
}

static void
end_update(Update *update)
{
	PlainUpdate *plain = &update->plain;

	plain_update_end(plain);
	MemoryContextDelete(update->context);
	ExecASUpdateTriggers(plain->estate, plain->relinfo, update->transition);
	AfterTriggerEndQuery(plain->estate);
	plain_update_close(plain);
}

/* The union of some profiles of one key. */
static void
merge_rows(const PendingRow *rows, int n, ProfileContent *result)
{
	profile_decode_trusted(rows[0].profile, result);
	for (int i = 1; i < n; i++)
	{
		ProfileContent next;
		ProfileContent both;

		profile_decode_trusted(rows[i].profile, &next);
		profile_merge(result, &next, &both);
		*result = both;
	}
}

static bool
is_text(Datum value, ProfileString string)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

	return VARSIZE_ANY_EXHDR(text) == string.len && memcmp(VARDATA_ANY(text), string.data, string.len) == 0;
}

/*
 * Computes a generated column of update->plain.new.  A text that has not changed is that of the
 * stored row, and whether one has is what the trigger of search asks.
 */
static void
make_column(Update *update, Merge *merge, const ProfileContent *content, int i)
{
	TupleTableSlot *old = update->plain.stored->slot;
	TupleTableSlot *new = update->plain.new;
	ProfileAccessor *accessor = &update->columns[i];
	ProfileString string;
	Datum		before = old->tts_values[i];
	bool		changed;

	if (accessor->access == PROFILE_SEEN)
	{
		new->tts_values[i] = TimestampTzGetDatum(profile_accessor_time(accessor, content));
		new->tts_isnull[i] = false;
		return;
	}
	string = profile_accessor_string(accessor, content);
	new->tts_isnull[i] = string.data == NULL;
	if (string.data == NULL || old->tts_isnull[i])
		changed = new->tts_isnull[i] != old->tts_isnull[i];
	else
		changed = !is_text(before, string);
	if (string.data == NULL)
		new->tts_values[i] = (Datum) 0;
	else if (!changed && (!VARATT_IS_EXTENDED(DatumGetPointer(before)) || VARATT_IS_SHORT(DatumGetPointer(before))))
		new->tts_values[i] = before;
	else
		new->tts_values[i] = PointerGetDatum(cstring_to_text_with_len(string.data, string.len));
	update->any_changed |= changed;
	update->person_changed |= changed && (i + 1 == merge->name || i + 1 == merge->email);
}

/* Makes update->plain.new of the stored row with another profile. */
static void
make_row(Update *update, Merge *merge, const ProfileContent *content, struct varlena *profile)
{
	TupleTableSlot *old = update->plain.stored->slot;
	TupleTableSlot *new = update->plain.new;
	TupleDesc	tupdesc = RelationGetDescr(merge->storage);

	slot_getallattrs(old);
	ExecClearTuple(new);
	update->any_changed = update->person_changed = false;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, i);

		if (column->attisdropped)
			new->tts_isnull[i] = true;
		else if (update->by_accessors && column->attgenerated == ATTRIBUTE_GENERATED_STORED &&
				 !(update->same_texts && update->columns[i].access != PROFILE_SEEN))
			make_column(update, merge, content, i);
		else
		{
			new->tts_values[i] = old->tts_values[i];
			new->tts_isnull[i] = old->tts_isnull[i];
		}
	}
	new->tts_values[merge->profile - 1] = PointerGetDatum(profile);
	ExecStoreVirtualTuple(new);
	new->tts_tableOid = RelationGetRelid(merge->storage);
	if (!update->by_accessors)
		ExecComputeStoredGenerated(update->plain.relinfo, update->plain.estate, new, CMD_UPDATE);
	if (tupdesc->constr != NULL)
		ExecConstraints(update->plain.relinfo, new, update->plain.estate);
}

/* Replaces the stored row; false if somebody else was faster. */
static bool
replace_row(Update *update, Merge *merge)
{
	PlainUpdate *plain = &update->plain;
	List	   *recheck;

	if (!plain_update_row(plain, &recheck))
		return false;
	if (!update->only_searched)
		ExecARUpdateTriggers(plain->estate, plain->relinfo, NULL, NULL, &plain->stored->slot->tts_tid, NULL, plain->new, recheck,
							 update->transition, false);
	else if (update->any_changed)
		profiles_note_key(merge->kind_number, plain->new->tts_values[merge->key - 1], !update->person_changed);
	return true;
}

/* Merges rows of one key into the stored profile that was found; false if it is there no more. */
static bool
update_profile(Update *update, Merge *merge, const PendingRow *rows, int n)
{
	MemoryContext old_context = MemoryContextSwitchTo(update->context);
	bool		found = true;
	bool		isnull;
	Datum		datum = slot_getattr(update->plain.stored->slot, merge->profile, &isnull);
	struct varlena *stored = PG_DETOAST_DATUM_PACKED(datum);
	struct varlena *merged;
	ProfileContent a;
	ProfileContent b;
	ProfileContent both;

	profile_decode_trusted(stored, &a);
	merge_rows(rows, n, &b);
	profile_merge(&a, &b, &both);
	merged = profile_build_later(stored, &a, &both);
	update->same_texts = merged != NULL;
	if (merged == NULL)
		merged = profile_build(&both);
	if (VARSIZE_ANY_EXHDR(merged) != VARSIZE_ANY_EXHDR(stored) ||
		memcmp(VARDATA_ANY(merged), VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored)) != 0)
	{
		make_row(update, merge, &both, merged);
		found = replace_row(update, merge);
	}
	ResetPerTupleExprContext(update->plain.estate);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(update->context);
	return found;
}

/* Leaves the profile of one key to a statement. */
static void
put_new_row(Merge *merge, const PendingRow *rows, int n)
{
	ProfileContent content;
	Datum		values[2];
	bool		nulls[2] = {false};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "new profile", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	merge_rows(rows, n, &content);
	values[0] = rows->key_text;
	values[1] = PointerGetDatum(profile_build(&content));
	if (merge->new_rows == NULL)
	{
		MemoryContextSwitchTo(merge->context);
		merge->new_rows = tuplestore_begin_heap(false, false, work_mem);
	}
	tuplestore_putvalues(merge->new_rows, merge->new_desc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

#define PREFETCHED_ROWS		4	/* ahead */
#define PREFETCHED_LINES	5	/* of the cache, of each */

/* Asks for the pending profile that is merged some rows later, as far as one event's mostly is. */
static void
prefetch_row(Merge *merge, int i)
{
	if (i < merge->nrows)
	{
		for (int line = 0; line < PREFETCHED_LINES; line++)
			PROFILES_PREFETCH((char *) merge->rows[i].profile + line * 64);
	}
}

/* Merges rows into the profiles that are there, and leaves the others. */
static void
update_profiles(Merge *merge)
{
	Update		update = {0};
	Datum	   *keys = palloc(merge->nrows * sizeof(Datum));
	int		   *from = palloc((merge->nrows + 1) * sizeof(int));	/* of the rows of each key */
	int			nkeys = 0;
	int			next = 0;

	for (int i = 0; i < merge->nrows; i++)
	{
		if (i > 0 && profile_string_eq(merge->rows[i - 1].key, merge->rows[i].key))
			continue;
		keys[nkeys] = merge->rows[i].key_text;
		from[nkeys++] = i;
	}
	from[nkeys] = merge->nrows;

	if (begin_update(&update, merge))
	{
		rows_of_ordered_keys(update.plain.stored, keys, nkeys);
		while (rows_next(update.plain.stored))
		{
			int			key = update.plain.stored->key;

			CHECK_FOR_INTERRUPTS();
			for (; next < key; next++)
				put_new_row(merge, merge->rows + from[next], from[next + 1] - from[next]);
			next++;
			prefetch_row(merge, from[key] + PREFETCHED_ROWS);
			if (!update_profile(&update, merge, merge->rows + from[key], from[key + 1] - from[key]))
				put_new_row(merge, merge->rows + from[key], from[key + 1] - from[key]);
		}
		end_update(&update);
	}
	for (; next < nkeys; next++)
		put_new_row(merge, merge->rows + from[next], from[next + 1] - from[next]);
	pfree(keys);
	pfree(from);
}

/* Merges the rows taken so far. */
static void
merge_taken(Merge *merge)
{
	if (merge->nrows == 0)
		return;
	sort_rows(merge->rows, merge->nrows);
	/* what was written before is to be seen */
	CommandCounterIncrement();
	update_profiles(merge);
	CommandCounterIncrement();
	if (merge->new_rows != NULL)
	{
		run_over_rows(psprintf(MERGE_NEW, merge->kind), NEW_ROWS, merge->new_rows, merge->new_desc);
		tuplestore_end(merge->new_rows);
		merge->new_rows = NULL;
	}
	merge->nrows = merge->size = 0;
	merge->rows = NULL;
	MemoryContextReset(merge->context);
}

/* ---------- taking pending rows ---------- */

/* Is an example of somebody who was blocked while its writer had not committed? */
static bool
hides(Merge *merge, Datum example)
{
	text	   *value = DatumGetTextPP(example);

	return blocked_may_have(&merge->blocked, profile_string(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/* Takes a note of what became of events. */
static void
count_events(Merge *merge, int32 source, const char *reason, Datum events, Datum example, bool no_example)
{
	Datum		values[] = {Int32GetDatum(source), CStringGetTextDatum(reason), events, example};
	bool		nulls[] = {false, false, false, no_example};

	tuplestore_putvalues(merge->taken, merge->taken_desc, values, nulls);
}

/* Nearly all are folded, so these are added up. */
static void
count_folded(Merge *merge, int32 source, int64 events)
{
	FoldedEvents *folded = merge->folded;

	if (merge->nfolded == 0 || folded[merge->source].source != source)
	{
		for (merge->source = 0; merge->source < merge->nfolded && folded[merge->source].source != source;)
			merge->source++;
		if (merge->source == merge->nfolded)
		{
			Size		size = (merge->nfolded + 1) * sizeof(FoldedEvents);

			merge->folded = folded == NULL ? MemoryContextAlloc(merge->outer, size) : repalloc(folded, size);
			merge->folded[merge->nfolded++] = (FoldedEvents) {source, 0};
		}
	}
	merge->folded[merge->source].events += events;
}

/* Adds the events that were folded to those that are counted. */
static void
add_folded(Merge *merge)
{
	for (int i = 0; i < merge->nfolded; i++)
	{
		FoldedEvents *folded = &merge->folded[i];
		Oid			types[] = {INT8OID, INT4OID, TEXTOID};
		Datum		values[] = {Int64GetDatum(folded->events), Int32GetDatum(folded->source), CStringGetTextDatum(merge->kind)};

		if (SPI_execute_with_args(COUNT_FOLDED, lengthof(types), types, values, NULL, false, 0) != SPI_OK_UPDATE)
			elog(ERROR, "could not count events");
		if (SPI_processed == 0)
			count_events(merge, folded->source, "folded", Int64GetDatum(folded->events), (Datum) 0, true);
	}
}

/* The profile is in the merge's context. */
static void
put_row(Merge *merge, ProfileString key, struct varlena *profile)
{
	MemoryContext old = MemoryContextSwitchTo(merge->context);
	PendingRow *row;
	text	   *copy;

	if (merge->nrows == merge->size)
	{
		merge->size = merge->size * 2 + 1024;
		merge->rows = merge->rows == NULL ? palloc(merge->size * sizeof(PendingRow))
			: repalloc_huge(merge->rows, merge->size * sizeof(PendingRow));
	}
	row = &merge->rows[merge->nrows++];
	copy = cstring_to_text_with_len(key.data, key.len);
	row->key_text = PointerGetDatum(copy);
	row->key = profile_string(VARDATA(copy), key.len);
	row->profile = profile;
	MemoryContextSwitchTo(old);
}

/* Takes a partial profile, unless its subject is blocked. */
static void
take_profile(Merge *merge, int32 source, ProfileString key, struct varlena *profile, int64 events)
{
	if (blocked_has(&merge->blocked, key))
		count_events(merge, source, "blocked", Int64GetDatum(events), (Datum) 0, true);
	else
	{
		count_folded(merge, source, events);
		put_row(merge, key, profile);
	}
}

/* Deletes the row in a slot; false if somebody else was faster. */
static bool
delete_row(Relation relation, TupleTableSlot *slot, Snapshot snapshot)
{
	TM_FailureData failure;

	return table_tuple_delete(relation, &slot->tts_tid, GetCurrentCommandId(true), snapshot,
							  InvalidSnapshot, true, &failure, false) == TM_Ok;
}

/* Looks at a pending row; takes it unless it is to stay, and returns how many it took. */
static int64
take_row(Merge *merge, TupleTableSlot *slot, Snapshot snapshot)
{
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	ProfileString key = {NULL, 0};
	bool		blocked = false;

	slot_getallattrs(slot);
	if (!nulls[PENDING_KEY])
	{
		text	   *text_key = DatumGetTextPP(values[PENDING_KEY]);

		key = profile_string(VARDATA_ANY(text_key), VARSIZE_ANY_EXHDR(text_key));
		blocked = blocked_has(&merge->blocked, key);
	}
	else if (!nulls[PENDING_PROFILE])
		return 0;
	if (nulls[PENDING_PROFILE])
	{
		/* a mark */
		if (nulls[PENDING_LEFT_OUT])
			return 0;
	}
	else if (!nulls[PENDING_LEFT_OUT] && !blocked)
	{
		ProfileContent times;

		profile_decode_times_trusted(PG_DETOAST_DATUM_PACKED(values[PENDING_PROFILE]), &times);
		if (times.first_seen > merge->limit)
			return 0;
	}

	if (!delete_row(merge->pending, slot, snapshot))
		return 0;
	if (nulls[PENDING_PROFILE])
		count_events(merge, DatumGetInt32(values[PENDING_SOURCE]), TextDatumGetCString(values[PENDING_LEFT_OUT]), values[PENDING_EVENTS],
					 values[PENDING_EXAMPLE], nulls[PENDING_EXAMPLE] || hides(merge, values[PENDING_EXAMPLE]));
	else
	{
		MemoryContext old = MemoryContextSwitchTo(merge->context);
		struct varlena *profile = PG_DETOAST_DATUM_COPY(values[PENDING_PROFILE]);

		MemoryContextSwitchTo(old);
		take_profile(merge, DatumGetInt32(values[PENDING_SOURCE]), key, profile, DatumGetInt64(values[PENDING_EVENTS]));
	}
	return 1;
}

/* Takes a row of packed profiles; returns how many these are. */
static int64
take_packed(Merge *merge, TupleTableSlot *slot, Snapshot snapshot)
{
	Datum	   *values = slot->tts_values - 1;
	ProfileUnpack unpack;
	MemoryContext old;

	slot_getallattrs(slot);
	if (!delete_row(merge->packed, slot, snapshot))
		return 0;
	profile_unpack_begin(&unpack, PG_DETOAST_DATUM_PACKED(values[PACKED_PROFILES]));
	old = MemoryContextSwitchTo(merge->context);
	while (profile_unpack_next(&unpack))
		take_profile(merge, DatumGetInt32(values[PACKED_SOURCE]), unpack.key, unpack.profile, unpack.events);
	MemoryContextSwitchTo(old);
	return DatumGetInt32(values[PACKED_SUBJECTS]);
}

/* Takes rows of a pending table until there are so many; returns how many. */
static int64
take_rows(Merge *merge, Relation relation, int64 (*take) (Merge *merge, TupleTableSlot *slot, Snapshot snapshot),
		  int64 most)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "pending row", ALLOCSET_DEFAULT_SIZES);
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	int64		taken = 0;

	while (taken < most && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);

		taken += take(merge, slot, snapshot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
		if (MemoryContextMemAllocated(merge->context, false) >= maintenance_work_mem * 1024L / 2)
			merge_taken(merge);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(row_context);
	return taken;
}

static Relation
open_table(Merge *merge, const char *format)
{
	return table_open(get_relname_relid(psprintf(format, merge->kind), merge->schema), RowExclusiveLock);
}

static TupleDesc
make_desc(int n, const char *const *names, const Oid *types)
{
	TupleDesc	tupdesc = CreateTemplateTupleDesc(n);

	for (int i = 0; i < n; i++)
		TupleDescInitEntry(tupdesc, i + 1, names[i], types[i], -1, 0);
	return tupdesc;
}

/*
 * _merge_rows(kind text, most integer, until timestamptz): takes pending rows, at
 * most so many, merges them and counts what was left out.  until is the time up
 * to which events count.  Returns how many it took.
 */
Datum
profiles_merge_rows(PG_FUNCTION_ARGS)
{
	static const char *const taken_names[] = {"source_id", "reason", "events", "example"};
	static const Oid taken_types[] = {INT4OID, TEXTOID, INT8OID, TEXTOID};
	static const char *const new_names[] = {"key", "profile"};
	Merge		merge = {0};
	int32		most = PG_GETARG_INT32(1);
	int64		taken;

	merge.schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	merge.kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	merge.limit = PG_GETARG_TIMESTAMPTZ(2);
	merge.pending = open_table(&merge, "%s_pending");
	merge.packed = open_table(&merge, "%s_packed");
	merge.storage = open_table(&merge, "%s_profile");
	merge.key = SPI_fnumber(RelationGetDescr(merge.storage), "key");
	merge.profile = SPI_fnumber(RelationGetDescr(merge.storage), "profile");
	merge.name = SPI_fnumber(RelationGetDescr(merge.storage), psprintf("%s_name", merge.kind));
	merge.email = SPI_fnumber(RelationGetDescr(merge.storage), psprintf("%s_email", merge.kind));
	while (merge.kind_number < PROFILES_KINDS && strcmp(profiles_kinds[merge.kind_number], merge.kind) != 0)
		merge.kind_number++;
	if (merge.key <= 0 || merge.profile <= 0 || merge.kind_number == PROFILES_KINDS ||
		SPI_fnumber(RelationGetDescr(merge.pending), "example") != PENDING_EXAMPLE ||
		SPI_fnumber(RelationGetDescr(merge.packed), "profiles") != PACKED_PROFILES)
		elog(ERROR, "tables of profiles are not as they should be");

	SPI_connect();
	blocked_read(&merge.blocked, merge.kind, 0);
	merge.outer = CurrentMemoryContext;
	/* without room beside each: what is not touched need not be got */
	merge.context = GenerationContextCreate(CurrentMemoryContext, "pending rows", ALLOCSET_DEFAULT_SIZES);
	merge.taken_desc = make_desc(lengthof(taken_names), taken_names, taken_types);
	merge.new_desc = make_desc(lengthof(new_names), new_names,
							   (Oid[]) {TEXTOID, SPI_gettypeid(RelationGetDescr(merge.storage), merge.profile)});
	merge.taken = tuplestore_begin_heap(false, false, work_mem);
	taken = take_rows(&merge, merge.packed, take_packed, most);
	taken += take_rows(&merge, merge.pending, take_row, most - taken);
	merge_taken(&merge);

	add_folded(&merge);
	if (tuplestore_tuple_count(merge.taken) > 0)
		run_over_rows(psprintf(COUNT_TAKEN, merge.kind), TAKEN_ROWS, merge.taken, merge.taken_desc);
	tuplestore_end(merge.taken);
	SPI_finish();
	table_close(merge.storage, NoLock);
	table_close(merge.packed, NoLock);
	table_close(merge.pending, NoLock);
	PG_RETURN_INT64(taken);
}

static bool
take_pending(TupleTableSlot *row, void *found)
{
	*(bool *) found = slot_attisnull(row, PENDING_PROFILE) && slot_attisnull(row, PENDING_LEFT_OUT);
	return !*(bool *) found;
}

/* Are there subjects that are to be computed anew? */
bool
profiles_any_marks(Oid schema, const char *kind)
{
	bool		found = false;

	profiles_read_table(schema, psprintf("%s_pending", kind), take_pending, &found);
	return found;
}

/* _has_marks(kind text) */
Datum
profiles_has_marks(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(profiles_any_marks(get_func_namespace(fcinfo->flinfo->fn_oid), text_to_cstring(PG_GETARG_TEXT_PP(0))));
}
