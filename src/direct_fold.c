/*
 * direct_fold.c
 *		Folds the events of a table, or the rows of a statement, without a query.
 *
 * Most events change nothing: of those of one subject only the first and the last
 * are evidence, as long as these two know all attribute groups.  So rows are read
 * lazily.  The first scan looks at keys and times alone, and remembers where each
 * subject's first and last row are, with those that share their times; these rows
 * are then read in the order in which they are stored.  Only if some subjects are
 * not settled by that, since a group is unknown at an end, a second scan offers all
 * their events.
 *
 * A table with more subjects than fit into maintenance_work_mem is folded in
 * several passes, each over a range of the keys' hashes.
 *
 * What it gives is what the query of fold.c gives, which is its oracle.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "port/pg_bitutils.h"
#include "profile.h"
#include "profile_fold.h"
#include "text_node.h"
#include "upkeep.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#define SCAN_BATCH			64		/* rows whose subjects are looked up together */
#define PREFETCH_AHEAD		4		/* rows or states */
#define PREFETCH_BYTES		384		/* of each */
#define MIN_SUBJECTS		16		/* places of the smallest table of subjects */
#define STATE_SIZE			1024	/* a guess at what a subject's state takes */

/* ---------- what is prepared once for a source and kind ---------- */

typedef struct Prepared
{
	Expr	   *expr;
	TextNode   *text;			/* the same, where it is of such a form */
	bool		is_condition;	/* the condition that text equals a constant, */
	ProfileString constant;
	bool		equal;			/* or does not */
} Prepared;

struct DirectFold
{
	Prepared	key;
	Prepared	seen_at;
	int			nfilters;
	Prepared   *filters;
	char	  **reasons;		/* of the filters */
	char	   *no_key;			/* reasons of bad keys */
	char	   *long_key;
	FoldShape  *shape;
	Prepared   *attributes;		/* in the order of the shape */
	ProfileTextForm *forms;
	bool		can_fail;		/* may any expression throw? */
	bool		attributes_can_fail;
	bool		is_plain;		/* columns of built-in types: no code of users,
								 * no setting matters */
};

/* May an expression throw an error that comes from the row's data? */
static bool
can_fail_walker(Node *node, void *context)
{
	Oid			function = InvalidOid;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_List:
		case T_RelabelType:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_CoalesceExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
			return expression_tree_walker(node, can_fail_walker, context);
		case T_FuncExpr:
			function = ((FuncExpr *) node)->funcid;
			break;
		case T_OpExpr:
		case T_NullIfExpr:
			set_opfuncid((OpExpr *) node);
			function = ((OpExpr *) node)->opfuncid;
			break;
		default:
			return true;
	}
	switch (function)
	{
		case F_TEXTEQ:
		case F_TEXTNE:
		case F_JSONB_OBJECT_FIELD:
		case F_JSONB_OBJECT_FIELD_TEXT:
		case F_JSONB_ARRAY_ELEMENT:
		case F_JSONB_ARRAY_ELEMENT_TEXT:
		case F_JSONB_EXTRACT_PATH:
		case F_JSONB_EXTRACT_PATH_TEXT:
			return expression_tree_walker(node, can_fail_walker, context);
		default:
			return true;
	}
}

static Prepared
prepare_expression(DirectFold *direct, SourceColumn *column)
{
	Prepared	prepared = {0};

	direct->can_fail |= can_fail_walker((Node *) column->expr, NULL);
	direct->is_plain &= column->is_column;
	prepared.expr = expression_planner(copyObject(column->expr));
	prepared.text = profiles_text_node(prepared.expr);
	if (prepared.text == NULL)
	{
		prepared.text = profiles_condition_node(prepared.expr, &prepared.constant, &prepared.equal);
		prepared.is_condition = prepared.text != NULL;
	}
	return prepared;
}

/*
 * Prepares a direct fold in the current context.  The settings must be pinned,
 * and the adder be in force.
 */
static DirectFold *
prepare(SourceDefinition *source, const char *kind)
{
	DirectFold *direct = palloc0(sizeof(DirectFold));
	List	   *columns;
	List	   *names;
	List	   *filters = profiles_filter_columns(source);
	ProfileString *strings;
	ListCell   *lc;
	int			n = 0;

	direct->is_plain = true;
	direct->key = prepare_expression(direct, profiles_find_column(source, psprintf("%s_id", kind)));
	direct->no_key = psprintf("no %s_id", kind);
	direct->long_key = psprintf("long %s_id", kind);
	direct->seen_at = prepare_expression(direct, profiles_find_column(source, "seen_at"));
	direct->filters = palloc(list_length(filters) * sizeof(Prepared) + 1);
	direct->reasons = palloc(list_length(filters) * sizeof(char *) + 1);
	foreach(lc, filters)
	{
		SourceColumn *column = lfirst(lc);

		direct->filters[direct->nfilters] = prepare_expression(direct, column);
		direct->reasons[direct->nfilters++] = profiles_filter_reason(column);
	}

	columns = profiles_attribute_columns(source, kind, &names);
	strings = palloc(list_length(names) * sizeof(ProfileString) + 1);
	foreach(lc, names)
		strings[n++] = profile_string(lfirst(lc), strlen(lfirst(lc)));
	direct->shape = profile_fold_shape(strings, n);
	direct->attributes = palloc(n * sizeof(Prepared) + 1);
	direct->forms = palloc(n * sizeof(ProfileTextForm) + 1);
	for (int i = 0; i < n; i++)
	{
		SourceColumn *column = list_nth(columns, direct->shape->pairs[i]);

		direct->attributes_can_fail |= can_fail_walker((Node *) column->expr, NULL);
		direct->attributes[i] = prepare_expression(direct, column);
		profile_text_form_init(&direct->forms[i], exprType((Node *) direct->attributes[i].expr),
							   CurrentMemoryContext);
		direct->is_plain &= !direct->forms[i].pin;
	}
	return direct;
}

/* ---------- one run ---------- */

/* An expression: most are plain columns, or texts of a jsonb column. */
typedef struct Evaluator
{
	const Prepared *prepared;
	AttrNumber	column;			/* 0: it is no plain column */
	ExprState  *state;			/* NULL: it has not been needed yet */
} Evaluator;

/* A table that is read: the relation itself, a partition or a child. */
typedef struct Part
{
	Relation	relation;
	TupleTableSlot *slot;
	TupleConversionMap *map;	/* to the source's row; NULL: it is the same */
} Part;

/*
 * Where a row is: in the part's number and its TID, or the address of a tuple in
 * memory.  Their order is that in which rows are stored.
 */
typedef uint64 RowPlace;

typedef struct Subject
{
	const char *key;			/* NULL: the place is free */
	union
	{
		FoldState  *state;		/* while its events are offered */
		uint32		shared[2];	/* before: further rows of its first, and its last
								 * time; 0: none, NOT_KEPT: nobody knows which */
	}			u;
	uint32		hash;
	uint16		key_len;
	bool		is_open;		/* has it a state? */
	bool		misses_rows;	/* were some of shared not kept? */
	uint64		events;
	TimestampTz first_at;
	TimestampTz last_at;
	RowPlace	first;
	RowPlace	last;
} Subject;

/* A row on its way to its subject; its key's bytes are in the batch's buffer. */
typedef struct ScannedRow
{
	uint32		hash;
	uint16		key_len;
	const char *key;
	TimestampTz at;
	RowPlace	place;
} ScannedRow;

/* A further row of a subject's first or last time; a list by numbers from 1. */
typedef struct SharedRow
{
	RowPlace	place;
	uint32		next;			/* 0: none */
} SharedRow;

#define NOT_KEPT	PG_UINT32_MAX

typedef struct Winner
{
	RowPlace	place;
	TimestampTz at;
	uint32		subject;		/* its number in the table of subjects */
} Winner;

/* Rows left out for one reason. */
typedef struct LeftOut
{
	const char *reason;
	uint64		events;
	char	   *example;		/* the smallest key, where known */
} LeftOut;

typedef struct DirectRun
{
	ProfilesFold *fold;
	DirectFold *direct;
	MemoryContext context;		/* of the run */
	TimestampTz limit;			/* later events are held */

	/* the rows */
	TupleDesc	tupdesc;		/* of the source's relation */
	int			nparts;
	Part	   *parts;
	int			part;			/* which is being scanned */
	TableScanDesc scan;
	Snapshot	snapshot;
	TupleTableSlot *row_slot;	/* of the statement's rows */
	TupleConversionMap *row_map;
	TupleTableSlot *converted;	/* a row of a part, in the source's form */
	TextRow		text_row;		/* the row at hand, in the source's form */

	/* its expressions */
	ExprContext *econtext;
	Evaluator	key;
	Evaluator	seen_at;
	Evaluator  *filters;
	Evaluator  *attributes;
	FoldRow		row;

	/* the subjects of this pass: an open-addressed table */
	MemoryContext subjects_context;
	Subject    *subjects;
	uint32		nplaces;		/* a power of two */
	uint32		nsubjects;
	uint64		hash_from;		/* this pass is about hashes in [from, to) */
	uint64		hash_to;
	Size		memory;			/* that subjects, or states, may take; 0: any */
	SharedRow  *shared;
	uint32		nshared;
	uint32		shared_capacity;
	uint32		most_shared;

	List	   *left_out;		/* of LeftOut */
	bool		count_left_out; /* in the first scan only */
} DirectRun;

/* ---------- expressions ---------- */

static void
init_evaluator(Evaluator *evaluator, const Prepared *prepared)
{
	Var		   *var = (Var *) prepared->expr;

	evaluator->prepared = prepared;
	evaluator->column = IsA(var, Var) && var->varattno > 0 ? var->varattno : 0;
	evaluator->state = NULL;
}

/* A value of the row at hand.  What it points to lasts as long as the row. */
static inline Datum
evaluate(DirectRun *run, Evaluator *evaluator, bool *isnull)
{
	if (evaluator->column > 0)
		return slot_getattr(run->text_row.slot, evaluator->column, isnull);
	if (evaluator->state == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(run->context);

		evaluator->state = ExecInitExpr(evaluator->prepared->expr, NULL);
		MemoryContextSwitchTo(old);
	}
	return ExecEvalExpr(evaluator->state, run->econtext, isnull);
}

/* The same for an expression of type text; data = NULL is NULL. */
static inline ProfileString
evaluate_text(DirectRun *run, Evaluator *evaluator)
{
	ProfileString result;
	Datum		value;
	struct varlena *text;
	bool		isnull;

	if (evaluator->prepared->text != NULL &&
		profiles_read_text(evaluator->prepared->text, &run->text_row, &result))
		return result;
	value = evaluate(run, evaluator, &isnull);
	if (isnull)
		return profile_string(NULL, 0);
	text = PG_DETOAST_DATUM_PACKED(value);
	return profile_string(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
}

/* The same for a condition; NULL is false. */
static inline bool
evaluate_condition(DirectRun *run, Evaluator *evaluator)
{
	const Prepared *prepared = evaluator->prepared;
	ProfileString text;
	Datum		value;
	bool		isnull;

	if (prepared->is_condition && profiles_read_text(prepared->text, &run->text_row, &text))
		return text.data != NULL && profile_string_eq(text, prepared->constant) == prepared->equal;
	value = evaluate(run, evaluator, &isnull);
	return !isnull && DatumGetBool(value);
}

/* FoldReader of the row at hand. */
static ProfileString
read_attribute(FoldRow *row, int attribute)
{
	DirectRun  *run = row->source;
	Evaluator  *evaluator = &run->attributes[attribute];
	ProfileTextForm *form = &run->direct->forms[attribute];
	Datum		value;
	bool		isnull;

	if (form->way == PROFILE_TEXT_AS_IS)
		return evaluate_text(run, evaluator);
	value = evaluate(run, evaluator, &isnull);
	return isnull ? profile_string(NULL, 0) : profile_text_of(form, value);
}

/* ---------- rows ---------- */

/* Opens the tables that make up the fold's relation. */
static void
open_parts(DirectRun *run)
{
	List	   *tables = find_all_inheritors(run->fold->relation, AccessShareLock, NULL);
	ListCell   *lc;

	run->parts = palloc(list_length(tables) * sizeof(Part));
	foreach(lc, tables)
	{
		Relation	relation = relation_open(lfirst_oid(lc), NoLock);
		Part	   *part = &run->parts[run->nparts];

		if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		{
			relation_close(relation, NoLock);
			continue;
		}
		/* it has been attached just now */
		if (relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("partitions of %s have changed", profiles_relation_text(run->fold->relation)),
					 errhint("Try again.")));
		part->relation = relation;
		part->slot = table_slot_create(relation, NULL);
		part->map = convert_tuples_by_name(RelationGetDescr(relation), run->tupdesc);
		run->nparts++;
	}
}

static void
begin_scan(DirectRun *run)
{
	run->part = 0;
	if (run->fold->rows != NULL)
		tuplestore_rescan(run->fold->rows);
}

static inline void
take_row(DirectRun *run, TupleTableSlot *slot, TupleConversionMap *map)
{
	run->text_row.slot = map == NULL ? slot : execute_attr_map_slot(map->attrMap, slot, run->converted);
	run->text_row.number++;
	run->econtext->ecxt_scantuple = run->text_row.slot;
}

/* Makes the next row the one at hand. */
static bool
next_row(DirectRun *run)
{
	ResetExprContext(run->econtext);
	if (run->fold->rows != NULL)
	{
		if (!tuplestore_gettupleslot(run->fold->rows, true, false, run->row_slot))
			return false;
		take_row(run, run->row_slot, run->row_map);
		return true;
	}
	for (; run->part < run->nparts; run->part++)
	{
		Part	   *part = &run->parts[run->part];

		if (run->scan == NULL)
			run->scan = table_beginscan(part->relation, run->snapshot, 0, NULL);
		if (table_scan_getnextslot(run->scan, ForwardScanDirection, part->slot))
		{
			take_row(run, part->slot, part->map);
			return true;
		}
		table_endscan(run->scan);
		run->scan = NULL;
	}
	return false;
}

/* Where the row at hand is. */
static inline RowPlace
row_place(DirectRun *run)
{
	ItemPointer tid;
	bool		copied;

	if (run->fold->rows != NULL)
		return (RowPlace) (uintptr_t) ExecFetchSlotMinimalTuple(run->row_slot, &copied);
	tid = &run->parts[run->part].slot->tts_tid;
	return ((RowPlace) run->part << 48) | ((RowPlace) ItemPointerGetBlockNumberNoCheck(tid) << 16) |
		ItemPointerGetOffsetNumberNoCheck(tid);
}

/* Makes the row at a place the one at hand. */
static void
fetch_row(DirectRun *run, RowPlace place)
{
	ResetExprContext(run->econtext);
	if (run->fold->rows != NULL)
	{
		ExecStoreMinimalTuple((MinimalTuple) (uintptr_t) place, run->row_slot, false);
		take_row(run, run->row_slot, run->row_map);
	}
	else
	{
		Part	   *part = &run->parts[place >> 48];
		ItemPointerData tid;

		ItemPointerSet(&tid, (BlockNumber) (place >> 16), (OffsetNumber) place);
		if (!table_tuple_fetch_row_version(part->relation, &tid, run->snapshot, part->slot))
			elog(ERROR, "row (%u,%u) of %s is gone", (BlockNumber) (place >> 16),
				 (OffsetNumber) place, RelationGetRelationName(part->relation));
		take_row(run, part->slot, part->map);
	}
}

/* ---------- what is given ---------- */

static void
put_row(DirectRun *run, Datum key, const char *left_out, struct varlena *profile, uint64 events,
		const char *example)
{
	Datum		values[] = {key,
		left_out == NULL ? (Datum) 0 : CStringGetTextDatum(left_out),
		PointerGetDatum(profile), Int64GetDatum((int64) events),
	example == NULL ? (Datum) 0 : CStringGetTextDatum(example)};
	bool		nulls[] = {key == (Datum) 0, left_out == NULL, profile == NULL, false, example == NULL};

	if (run->fold->put != NULL)
		run->fold->put(run->fold->put_to, values, nulls);
	else
		tuplestore_putvalues(run->fold->store, run->fold->tupdesc, values, nulls);
}

static struct varlena *
profile_of(FoldState *state)
{
	ProfileContent content;

	profile_fold_content(state, &content);
	return profile_build(&content);
}

/* Gives a subject; in a memory context that is reset after it. */
static void
put_profile(DirectRun *run, Subject *subject, struct varlena *profile)
{
	put_row(run, PointerGetDatum(cstring_to_text_with_len(subject->key, subject->key_len)), NULL,
			profile, subject->events, NULL);
}

/* Gives a subject whose state is complete. */
static void
put_subject(DirectRun *run, Subject *subject)
{
	MemoryContext old;

	ResetExprContext(run->econtext);
	old = MemoryContextSwitchTo(run->econtext->ecxt_per_tuple_memory);
	put_profile(run, subject, profile_of(subject->u.state));
	MemoryContextSwitchTo(old);
	pfree(subject->u.state);
	subject->is_open = false;
}

/* Gives a subject whose only event is the row at hand. */
static void
put_single(DirectRun *run, Subject *subject)
{
	MemoryContext old = MemoryContextSwitchTo(run->econtext->ecxt_per_tuple_memory);
	ProfileContent content;

	profile_fold_single(&run->row, subject->first_at, &content);
	put_profile(run, subject, profile_build(&content));
	MemoryContextSwitchTo(old);
}

/* Gives the row at hand, which is held until it is due; in its memory context. */
static void
put_held(DirectRun *run, ProfileString key, TimestampTz at)
{
	FoldState  *state = profile_fold_new(CurrentMemoryContext, run->direct->shape, at);
	int			settings = profiles_pin_settings();
	char	   *time = DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at)));

	profiles_unpin_settings(settings);
	state = profile_fold_event(state, &run->row, at);
	put_row(run, PointerGetDatum(cstring_to_text_with_len(key.data, key.len)), psprintf("future %s", time), profile_of(state), 1, NULL);
}

static void
leave_out(DirectRun *run, const char *reason, ProfileString key)
{
	LeftOut    *left_out = NULL;
	MemoryContext old;
	ListCell   *lc;

	old = MemoryContextSwitchTo(run->context);
	foreach(lc, run->left_out)
	{
		LeftOut    *other = lfirst(lc);

		if (strcmp(other->reason, reason) == 0)
			left_out = other;
	}
	if (left_out == NULL)
	{
		left_out = palloc0(sizeof(LeftOut));
		left_out->reason = reason;
		run->left_out = lappend(run->left_out, left_out);
	}
	left_out->events++;
	if (key.data != NULL)
	{
		int			len = key.len;
		char	   *example;

		if (len > 200)
			len = pg_mbcliplen(key.data, len, 200);
		example = pnstrdup(key.data, len);
		if (left_out->example != NULL && strcmp(left_out->example, example) <= 0)
			pfree(example);
		else
			left_out->example = example;
	}
	MemoryContextSwitchTo(old);
}

static void
put_left_out(DirectRun *run)
{
	ListCell   *lc;

	foreach(lc, run->left_out)
	{
		LeftOut    *left_out = lfirst(lc);

		put_row(run, (Datum) 0, left_out->reason, NULL, left_out->events, left_out->example);
	}
}

/* ---------- what a row is ---------- */

/*
 * Does the row at hand count now?  Then its key and time are given.  Otherwise
 * it is left out or held, which the first scan sees to.  The order of the
 * reasons is that of fold_query().
 */
static bool
row_counts(DirectRun *run, ProfileString *key, TimestampTz *at)
{
	DirectFold *direct = run->direct;
	const char *reason = NULL;
	Datum		value;
	bool		isnull;
	bool		held = false;
	MemoryContext old = MemoryContextSwitchTo(run->econtext->ecxt_per_tuple_memory);

	*key = profile_string(NULL, 0);
	for (int i = 0; i < direct->nfilters && reason == NULL; i++)
	{
		if (!evaluate_condition(run, &run->filters[i]))
			reason = direct->reasons[i];
	}
	if (reason == NULL)
	{
		*key = evaluate_text(run, &run->key);
		if (key->data == NULL)
			reason = direct->no_key;
		else if (key->len > PROFILES_MAX_KEY)
			reason = direct->long_key;
		value = evaluate(run, &run->seen_at, &isnull);
		if (reason == NULL)
		{
			*at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
			if (isnull)
				reason = "no seen_at";
			else if (TIMESTAMP_NOT_FINITE(*at))
				reason = "infinite seen_at";
			else
				held = *at > run->limit;
		}
	}
	if (run->count_left_out && held)
		put_held(run, *key, *at);
	else if (run->count_left_out && reason != NULL)
		leave_out(run, reason, *key);
	MemoryContextSwitchTo(old);
	return reason == NULL && !held;
}

/* ---------- subjects ---------- */

static void
new_subjects(DirectRun *run, uint32 nplaces)
{
	run->subjects_context = AllocSetContextCreate(run->context, "folded subjects",
												  ALLOCSET_DEFAULT_SIZES);
	run->subjects = MemoryContextAllocExtended(run->subjects_context, nplaces * sizeof(Subject),
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	run->nplaces = nplaces;
	run->nsubjects = 0;
}

/* The subject of a key, or the free place where it belongs. */
static inline Subject *
find_subject(DirectRun *run, uint32 hash, const char *key, int key_len)
{
	uint32		mask = run->nplaces - 1;

	for (uint32 i = hash & mask;; i = (i + 1) & mask)
	{
		Subject    *subject = &run->subjects[i];

		if (subject->key == NULL ||
			(subject->hash == hash && subject->key_len == key_len &&
			 memcmp(subject->key, key, key_len) == 0))
			return subject;
	}
}

/*
 * Makes a new table of this size, with those subjects whose hashes this pass is
 * still about.
 */
static void
move_subjects(DirectRun *run, uint32 nplaces)
{
	MemoryContext old_context = run->subjects_context;
	Subject    *old = run->subjects;
	uint32		n = run->nplaces;

	new_subjects(run, nplaces);
	for (uint32 i = 0; i < n; i++)
	{
		Subject    *place;

		if (old[i].key == NULL || old[i].hash >= run->hash_to)
			continue;
		place = find_subject(run, old[i].hash, old[i].key, old[i].key_len);
		*place = old[i];
		place->key = MemoryContextAlloc(run->subjects_context, old[i].key_len + 1);
		memcpy(unconstify(char *, place->key), old[i].key, old[i].key_len);
		run->nsubjects++;
	}
	MemoryContextDelete(old_context);
}

/* Makes room for so many more subjects; this pass may become one about fewer. */
static void
make_room(DirectRun *run, uint32 more)
{
	while (run->nsubjects + more > run->nplaces / 4 * 3)
	{
		uint64		doubled = (uint64) run->nplaces * 2;

		if (doubled > PG_INT32_MAX ||
			(run->memory > 0 && doubled * sizeof(Subject) > run->memory && run->hash_to - run->hash_from > 1))
		{
			run->hash_to = run->hash_from + (run->hash_to - run->hash_from) / 2;
			doubled = run->nplaces;
		}
		move_subjects(run, (uint32) doubled);
	}
}

static void
add_subject(DirectRun *run, Subject *subject, uint32 hash, const char *key, int key_len, TimestampTz at)
{
	char	   *copy = MemoryContextAlloc(run->subjects_context, key_len + 1);

	memcpy(copy, key, key_len);
	subject->key = copy;
	subject->key_len = key_len;
	subject->hash = hash;
	subject->first_at = subject->last_at = at;
	run->nsubjects++;
}

/*
 * Keeps a further row of a subject's first or last time.  Where many events share
 * them there is an end to that.
 */
static void
keep_shared(DirectRun *run, uint32 *list, RowPlace place)
{
	if (*list == NOT_KEPT)
		return;
	if (run->nshared == run->shared_capacity)
	{
		if (run->shared_capacity == run->most_shared)
		{
			*list = NOT_KEPT;
			return;
		}
		run->shared_capacity = Min(Max((uint64) run->shared_capacity * 2, 64), run->most_shared);
		run->shared = run->shared == NULL
			? MemoryContextAllocHuge(run->context, run->shared_capacity * sizeof(SharedRow))
			: repalloc_huge(run->shared, run->shared_capacity * sizeof(SharedRow));
	}
	run->shared[run->nshared].place = place;
	run->shared[run->nshared].next = *list;
	*list = ++run->nshared;
}

/* Notes that a row of this time is at this place. */
static inline void
note_row(DirectRun *run, Subject *subject, TimestampTz at, RowPlace place)
{
	if (subject->events++ == 0)
	{
		subject->first = subject->last = place;
		return;
	}
	if (at == subject->first_at)
		keep_shared(run, &subject->u.shared[0], place);
	else if (at < subject->first_at)
	{
		subject->u.shared[0] = 0;
		subject->first = place;
		subject->first_at = at;
	}
	if (at == subject->last_at)
		keep_shared(run, &subject->u.shared[1], place);
	else if (at > subject->last_at)
	{
		subject->u.shared[1] = 0;
		subject->last = place;
		subject->last_at = at;
	}
}

/*
 * Looks up the subjects of a batch.  Every look-up misses the processor's caches
 * once there are many subjects, so all are asked for before the first is used.
 */
static void
note_batch(DirectRun *run, ScannedRow *rows, int n)
{
	uint32		mask;

	make_room(run, n);
	mask = run->nplaces - 1;
	for (int i = 0; i < n; i++)
		__builtin_prefetch(&run->subjects[rows[i].hash & mask]);
	for (int i = 0; i < n; i++)
		__builtin_prefetch(run->subjects[rows[i].hash & mask].key);
	for (int i = 0; i < n; i++)
	{
		ScannedRow *row = &rows[i];
		Subject    *subject;

		/* the pass may have become one about fewer */
		if (row->hash >= run->hash_to)
			continue;
		subject = find_subject(run, row->hash, row->key, row->key_len);
		if (subject->key == NULL)
			add_subject(run, subject, row->hash, row->key, row->key_len, row->at);
		note_row(run, subject, row->at, row->place);
	}
}

/* The first scan: which rows are each subject's first and last? */
static void
find_winners(DirectRun *run)
{
	ScannedRow *rows = MemoryContextAlloc(run->context, SCAN_BATCH * sizeof(ScannedRow));
	char	   *keys = MemoryContextAlloc(run->context, SCAN_BATCH * PROFILES_MAX_KEY);
	int			n = 0;
	Size		used = 0;

	begin_scan(run);
	while (next_row(run))
	{
		ProfileString key;
		TimestampTz at;
		ScannedRow *row = &rows[n];

		if (!row_counts(run, &key, &at))
			continue;
		row->key_len = key.len;
		row->hash = hash_bytes((const unsigned char *) key.data, key.len);
		if (row->hash < run->hash_from || row->hash >= run->hash_to)
			continue;
		row->key = memcpy(keys + used, key.data, key.len);
		used += row->key_len;
		row->at = at;
		row->place = row_place(run);
		if (++n == SCAN_BATCH)
		{
			CHECK_FOR_INTERRUPTS();
			note_batch(run, rows, n);
			n = 0;
			used = 0;
		}
	}
	note_batch(run, rows, n);
	pfree(rows);
	pfree(keys);
}

/* ---------- reading the winners ---------- */

#define ST_SORT sort_winners
#define ST_ELEMENT_TYPE Winner
#define ST_COMPARE(a, b) ((a)->place < (b)->place ? -1 : (a)->place > (b)->place)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Offers the row at hand to a subject's state. */
static void
offer_row(DirectRun *run, Subject *subject, TimestampTz at)
{
	MemoryContext old = MemoryContextSwitchTo(run->econtext->ecxt_per_tuple_memory);

	subject->u.state = profile_fold_event(subject->u.state, &run->row, at);
	MemoryContextSwitchTo(old);
}

static void
open_subject(DirectRun *run, Subject *subject, MemoryContext states)
{
	subject->misses_rows = subject->u.shared[0] == NOT_KEPT || subject->u.shared[1] == NOT_KEPT;
	subject->u.state = profile_fold_new(states, run->direct->shape, subject->first_at);
	subject->is_open = true;
}

/* Do the events of the first and the last time decide, whatever the others are? */
static bool
is_complete(Subject *subject)
{
	FoldState  *state = subject->u.state;

	if (subject->misses_rows)
		return false;
	return subject->events <= 2 ||
		(state->nunknown == 0 &&
		 state->settled_from == subject->first_at && state->settled_to == subject->last_at);
}

/* The second scan: offers all events of the subjects that have a state. */
static void
offer_all(DirectRun *run)
{
	begin_scan(run);
	while (next_row(run))
	{
		ProfileString key;
		TimestampTz at;
		uint32		hash;
		Subject    *subject;

		CHECK_FOR_INTERRUPTS();
		if (!row_counts(run, &key, &at))
			continue;
		hash = hash_bytes((const unsigned char *) key.data, key.len);
		if (hash < run->hash_from || hash >= run->hash_to)
			continue;
		subject = find_subject(run, hash, key.data, key.len);
		if (subject->is_open)
			offer_row(run, subject, at);
	}
}

/* Asks for the beginning of a row in memory, or of a state. */
static inline void
prefetch(const void *start)
{
	for (int i = 0; i < PREFETCH_BYTES; i += 64)
		__builtin_prefetch((const char *) start + i);
}

/* The rows of a subject's first and last time, from a winner on; returns its end. */
static Winner *
add_winners(DirectRun *run, uint32 number, Winner *winner)
{
	Subject    *subject = &run->subjects[number];

	for (int end = 0; end < 2; end++)
	{
		RowPlace	place = end == 0 ? subject->first : subject->last;
		TimestampTz at = end == 0 ? subject->first_at : subject->last_at;

		/* with one time only, both ends are the same rows */
		if (end == 1 && subject->last_at == subject->first_at)
			break;
		for (uint32 next = subject->u.shared[end];; next = run->shared[next - 1].next)
		{
			winner->place = place;
			winner->at = at;
			winner->subject = number;
			winner++;
			if (next == 0 || next == NOT_KEPT)
				break;
			place = run->shared[next - 1].place;
		}
	}
	return winner;
}

/*
 * Gives the subjects at places [from, to) that the rows of their first and last
 * times decide; the others stay open.  Rows are read in the order in which they
 * are stored.  Returns whether there are others.
 */
static bool
give_complete(DirectRun *run, MemoryContext states, uint32 from, uint32 to, uint32 nsubjects)
{
	Winner	   *winners = MemoryContextAllocHuge(states, (2 * (Size) nsubjects + run->nshared) * sizeof(Winner) + 1);
	Winner	   *end = winners;
	bool		others = false;

	for (uint32 i = from; i < to; i++)
	{
		if (run->subjects[i].key == NULL)
			continue;
		end = add_winners(run, i, end);
		open_subject(run, &run->subjects[i], states);
	}
	sort_winners(winners, end - winners);
	for (Winner *winner = winners; winner < end; winner++)
	{
		CHECK_FOR_INTERRUPTS();
		/* rows come in their order, subjects in any */
		if (end - winner > 2 * PREFETCH_AHEAD)
		{
			__builtin_prefetch(&run->subjects[winner[2 * PREFETCH_AHEAD].subject]);
			prefetch(run->subjects[winner[PREFETCH_AHEAD].subject].u.state);
		}
		fetch_row(run, winner->place);
		offer_row(run, &run->subjects[winner->subject], winner->at);
	}
	for (uint32 i = from; i < to; i++)
	{
		Subject    *subject = &run->subjects[i];

		if (subject->key == NULL)
			continue;
		if (is_complete(subject))
			put_subject(run, subject);
		else
			others = true;
	}
	pfree(winners);
	return others;
}

/*
 * The same for all subjects of rows in memory, one after the other in the order of
 * their first rows: what lies beside each other is read together.
 */
static bool
give_complete_rows(DirectRun *run, MemoryContext states)
{
	Winner	   *order = MemoryContextAllocHuge(states, (Size) run->nsubjects * sizeof(Winner) + 1);
	Winner	   *winners = MemoryContextAllocHuge(states, (2 + (Size) run->nshared) * sizeof(Winner));
	uint32		n = 0;
	bool		others = false;

	for (uint32 i = 0; i < run->nplaces; i++)
	{
		if (run->subjects[i].key == NULL)
			continue;
		order[n].place = run->subjects[i].first;
		order[n++].subject = i;
	}
	sort_winners(order, n);
	for (uint32 i = 0; i < n; i++)
	{
		Subject    *subject = &run->subjects[order[i].subject];
		Winner	   *end;

		CHECK_FOR_INTERRUPTS();
		if (i + PREFETCH_AHEAD < n)
			prefetch((void *) (uintptr_t) order[i + PREFETCH_AHEAD].place);
		if (subject->events == 1)
		{
			fetch_row(run, subject->first);
			put_single(run, subject);
			continue;
		}
		end = add_winners(run, order[i].subject, winners);
		open_subject(run, subject, states);
		for (Winner *winner = winners; winner < end; winner++)
		{
			fetch_row(run, winner->place);
			offer_row(run, subject, winner->at);
		}
		if (is_complete(subject))
			put_subject(run, subject);
		else
			others = true;
	}
	pfree(winners);
	pfree(order);
	return others;
}

/* Gives the subjects at places [from, to). */
static void
give_subjects(DirectRun *run, uint32 from, uint32 to, uint32 nsubjects)
{
	MemoryContext states = AllocSetContextCreate(run->context, "folded states",
												 ALLOCSET_DEFAULT_SIZES);
	bool		others;

	if (run->fold->rows != NULL)
		others = give_complete_rows(run, states);
	else
		others = give_complete(run, states, from, to, nsubjects);
	if (others)
	{
		offer_all(run);
		for (uint32 i = from; i < to; i++)
		{
			if (run->subjects[i].is_open)
				put_subject(run, &run->subjects[i]);
		}
	}
	MemoryContextDelete(states);
}

/* Gives all subjects of a pass, as many at a time as there is memory for states. */
static void
give_pass(DirectRun *run)
{
	uint32		most = run->memory > 0 ? run->memory / STATE_SIZE + 1 : PG_UINT32_MAX;
	uint32		from = 0;
	uint32		n = 0;

	for (uint32 i = 0; i < run->nplaces; i++)
	{
		if (run->subjects[i].key == NULL)
			continue;
		if (++n == most)
		{
			give_subjects(run, from, i + 1, n);
			from = i + 1;
			n = 0;
		}
	}
	give_subjects(run, from, run->nplaces, n);
}

/* Folds lazily, in as many passes as memory asks for. */
static void
fold_lazily(DirectRun *run)
{
	run->count_left_out = true;
	for (run->hash_from = 0; run->hash_from <= PG_UINT32_MAX; run->hash_from = run->hash_to)
	{
		run->hash_to = (uint64) PG_UINT32_MAX + 1;
		new_subjects(run, run->fold->rows == NULL ? MIN_SUBJECTS
					 : pg_nextpower2_32(Min(tuplestore_tuple_count(run->fold->rows), PG_INT16_MAX * 4) + MIN_SUBJECTS));
		run->nshared = 0;
		find_winners(run);
		run->count_left_out = false;
		give_pass(run);
		MemoryContextDelete(run->subjects_context);
	}
}

/* Folds every row as it comes. */
static void
fold_eagerly(DirectRun *run)
{
	MemoryContext states = AllocSetContextCreate(run->context, "folded states",
												 ALLOCSET_DEFAULT_SIZES);

	run->count_left_out = true;
	run->hash_to = (uint64) PG_UINT32_MAX + 1;
	new_subjects(run, MIN_SUBJECTS);
	begin_scan(run);
	while (next_row(run))
	{
		ProfileString key;
		TimestampTz at;
		uint32		hash;
		Subject    *subject;

		CHECK_FOR_INTERRUPTS();
		if (!row_counts(run, &key, &at))
			continue;
		make_room(run, 1);
		hash = hash_bytes((const unsigned char *) key.data, key.len);
		subject = find_subject(run, hash, key.data, key.len);
		if (subject->key == NULL)
		{
			add_subject(run, subject, hash, key.data, key.len, at);
			open_subject(run, subject, states);
		}
		subject->events++;
		offer_row(run, subject, at);
	}
	for (uint32 i = 0; i < run->nplaces; i++)
	{
		if (run->subjects[i].key != NULL)
			put_subject(run, &run->subjects[i]);
	}
}

/* ---------- entry points ---------- */

/* May the current user read all columns that the source's expressions use? */
static bool
may_read(ProfilesFold *fold)
{
	Bitmapset  *columns = NULL;
	int			column = -1;

	if (pg_class_aclcheck(fold->relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	/* another table's columns have other numbers */
	if (fold->relation != fold->source->relation)
		return false;
	pull_varattnos((Node *) fold->source->targets, 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		AttrNumber	attno = column + FirstLowInvalidHeapAttributeNumber;

		/* the row as a whole needs all columns */
		if (attno <= 0 ||
			pg_attribute_aclcheck(fold->relation, attno, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
			return false;
	}
	return columns != NULL;
}

/* Is a relation made of tables alone, and not of too many for a RowPlace? */
static bool
is_tables(Oid relation)
{
	List	   *parts = find_all_inheritors(relation, AccessShareLock, NULL);
	ListCell   *lc;

	foreach(lc, parts)
	{
		char		relkind = get_rel_relkind(lfirst_oid(lc));

		if (relkind != RELKIND_RELATION && relkind != RELKIND_MATVIEW && relkind != RELKIND_PARTITIONED_TABLE)
			return false;
	}
	return list_length(parts) <= PG_UINT16_MAX;
}

/*
 * What profiles_fold_directly() is to do; NULL if a query has to.  The adder must
 * be in force.
 */
DirectFold *
profiles_prepare_direct_fold(ProfilesFold *fold)
{
	DirectFold *direct;

	if (fold->rows != NULL)
		return prepare(fold->source, fold->kind);
	if (fold->by_query || fold->sample < 1 || fold->keys != (Datum) 0 || fold->since != DT_NOBEGIN ||
		!is_tables(fold->relation) || check_enable_rls(fold->relation, InvalidOid, true) == RLS_ENABLED ||
		!may_read(fold))
		return NULL;
	direct = prepare(fold->source, fold->kind);
	/* all rows whose expressions fail are to be found, so all have to be read */
	return direct->attributes_can_fail ? NULL : direct;
}

bool
profiles_direct_fold_can_fail(DirectFold *direct)
{
	return direct->can_fail;
}

/* Does it matter neither as whom nor under which settings it runs? */
bool
profiles_direct_fold_is_plain(DirectFold *direct)
{
	return direct->is_plain;
}

/* Folds into the fold's tuplestore, as profiles_fold_rows() says. */
void
profiles_fold_directly(ProfilesFold *fold, DirectFold *direct, TimestampTz limit)
{
	DirectRun	run = {0};
	MemoryContext caller = CurrentMemoryContext;
	int			pointer = 0;
	bool		lazily;

	run.fold = fold;
	run.direct = direct;
	run.limit = limit;
	run.context = AllocSetContextCreate(caller, "direct fold", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(run.context);
	run.snapshot = GetActiveSnapshot();
	run.tupdesc = lookup_rowtype_tupdesc(get_rel_type_id(fold->source->relation), -1);
	run.converted = MakeSingleTupleTableSlot(run.tupdesc, &TTSOpsVirtual);
	if (fold->rows != NULL)
	{
		/* other triggers read the same rows */
		pointer = tuplestore_alloc_read_pointer(fold->rows, EXEC_FLAG_REWIND);
		tuplestore_select_read_pointer(fold->rows, pointer);
		run.row_slot = MakeSingleTupleTableSlot(fold->rows_desc, &TTSOpsMinimalTuple);
		run.row_map = convert_tuples_by_name(fold->rows_desc, run.tupdesc);
	}
	else
		open_parts(&run);

	run.econtext = CreateStandaloneExprContext();
	init_evaluator(&run.key, &direct->key);
	init_evaluator(&run.seen_at, &direct->seen_at);
	run.filters = palloc(direct->nfilters * sizeof(Evaluator) + 1);
	for (int i = 0; i < direct->nfilters; i++)
		init_evaluator(&run.filters[i], &direct->filters[i]);
	run.attributes = palloc(direct->shape->nattributes * sizeof(Evaluator) + 1);
	for (int i = 0; i < direct->shape->nattributes; i++)
		init_evaluator(&run.attributes[i], &direct->attributes[i]);
	profile_fold_init_row(&run.row, direct->shape, read_attribute, &run);

	/* a row's address says where it is as long as all rows are in memory */
	lazily = fold->rows == NULL ||
		(!direct->attributes_can_fail && tuplestore_in_memory(fold->rows));
	run.row.reads_all = direct->attributes_can_fail;
	/* half for the subjects, half for the states of some of them */
	run.most_shared = PG_INT32_MAX;
	if (fold->rows == NULL)
	{
		run.memory = (Size) maintenance_work_mem * 1024 / 2;
		run.most_shared = Min(run.memory / sizeof(SharedRow) / 4, run.most_shared);
	}
	if (lazily)
		fold_lazily(&run);
	else
		fold_eagerly(&run);
	put_left_out(&run);

	FreeExprContext(run.econtext, true);
	for (int i = 0; i < run.nparts; i++)
	{
		ExecDropSingleTupleTableSlot(run.parts[i].slot);
		relation_close(run.parts[i].relation, NoLock);
	}
	if (fold->rows != NULL)
	{
		ExecDropSingleTupleTableSlot(run.row_slot);
		tuplestore_select_read_pointer(fold->rows, 0);
	}
	ExecDropSingleTupleTableSlot(run.converted);
	ReleaseTupleDesc(run.tupdesc);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(run.context);
}
