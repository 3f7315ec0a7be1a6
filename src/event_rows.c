/*
 * event_rows.c
 *		The rows of events that are folded without a query: those of tables, or of
 *		a statement.
 *
 * What a source's expressions need is prepared once for a source and kind.  A run
 * then makes one row after the other the one at hand, and can come back to a row
 * by its place.  The row's attributes are read when they are asked for; whether
 * it counts is said by its filters, key and time.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "event_rows.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#define ROWS_AHEAD	4

/* An expression as it is evaluated. */
struct Prepared
{
	Expr	   *expr;
	TextNode   *text;			/* the same, where it is of such a form */
	bool		is_condition;	/* the condition that text equals a constant, */
	ProfileString constant;
	bool		equal;			/* or does not */
};

/* An expression in one run: most are plain columns, or texts of a jsonb column. */
struct Evaluator
{
	const Prepared *prepared;
	AttrNumber	column;			/* 0: it is no plain column */
	ExprState  *state;			/* NULL: it has not been needed yet */
};

/* A table that is read: the relation itself, a partition or a child. */
struct Part
{
	Relation	relation;
	TupleTableSlot *slot;
	TupleConversionMap *map;	/* to the source's row; NULL: it is the same */
};

/* ---------- what is prepared ---------- */

/* Is it UTC, in which no time is out of range? */
static bool
is_utc(Node *zone)
{
	Const	   *constant = (Const *) zone;

	return IsA(zone, Const) && constant->consttype == TEXTOID && !constant->constisnull &&
		strcmp(TextDatumGetCString(constant->constvalue), "UTC") == 0;
}

/* Does a built-in function take whatever it is given? */
static bool
takes_anything(Oid function, List *arguments)
{
	switch (function)
	{
		case F_TEXTEQ:
		case F_TEXTNE:
		case F_BPCHAREQ:
		case F_BPCHARNE:
		case F_NAMEEQ:
		case F_NAMENE:
		case F_NAMEEQTEXT:
		case F_NAMENETEXT:
		case F_BOOLEQ:
		case F_BOOLNE:
		case F_UUID_EQ:
		case F_UUID_NE:
		case F_INT2EQ:
		case F_INT2NE:
		case F_INT4EQ:
		case F_INT4NE:
		case F_INT4LT:
		case F_INT4LE:
		case F_INT4GT:
		case F_INT4GE:
		case F_INT8EQ:
		case F_INT8NE:
		case F_INT8LT:
		case F_INT8LE:
		case F_INT8GT:
		case F_INT8GE:
		case F_INT84EQ:
		case F_INT84NE:
		case F_INT84LT:
		case F_INT84LE:
		case F_INT84GT:
		case F_INT84GE:
		case F_TIMESTAMPTZ_EQ:
		case F_TIMESTAMPTZ_NE:
		case F_TIMESTAMPTZ_LT:
		case F_TIMESTAMPTZ_LE:
		case F_TIMESTAMPTZ_GT:
		case F_TIMESTAMPTZ_GE:
		case F_TEXT_BPCHAR:
		case F_TEXT_NAME:
		case F_JSONB_OBJECT_FIELD:
		case F_JSONB_OBJECT_FIELD_TEXT:
		case F_JSONB_ARRAY_ELEMENT:
		case F_JSONB_ARRAY_ELEMENT_TEXT:
		case F_JSONB_EXTRACT_PATH:
		case F_JSONB_EXTRACT_PATH_TEXT:
			return true;
		case F_TIMEZONE_TEXT_TIMESTAMP:
			return is_utc(linitial(arguments));
		default:
			return false;
	}
}

/* May an expression, as it is evaluated, throw an error that comes from the row's data? */
static bool
can_fail_walker(Node *node, void *context)
{
	Oid			function = InvalidOid;
	List	   *arguments = NIL;

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
			arguments = ((FuncExpr *) node)->args;
			break;
		case T_OpExpr:
		case T_NullIfExpr:
			set_opfuncid((OpExpr *) node);
			function = ((OpExpr *) node)->opfuncid;
			arguments = ((OpExpr *) node)->args;
			break;
		case T_ScalarArrayOpExpr:
			set_sa_opfuncid((ScalarArrayOpExpr *) node);
			function = ((ScalarArrayOpExpr *) node)->opfuncid;
			arguments = ((ScalarArrayOpExpr *) node)->args;
			break;
		default:
			return true;
	}
	return !takes_anything(function, arguments) || expression_tree_walker(node, can_fail_walker, context);
}

/* Prepares an expression; returns whether it can fail. */
static bool
prepare_expression(DirectFold *direct, SourceColumn *column, Prepared *prepared)
{
	bool		can_fail;

	prepared->expr = expression_planner(copyObject(column->expr));
	can_fail = can_fail_walker((Node *) prepared->expr, NULL);
	direct->can_fail |= can_fail;
	direct->is_plain &= column->is_column;
	prepared->text = profiles_text_node(prepared->expr);
	prepared->is_condition = false;
	if (prepared->text == NULL)
	{
		prepared->text = profiles_condition_node(prepared->expr, &prepared->constant, &prepared->equal);
		prepared->is_condition = prepared->text != NULL;
	}
	return can_fail;
}

/*
 * Prepares a direct fold in the current context.  The settings must be pinned,
 * and the adder be in force.
 */
DirectFold *
event_rows_prepare(SourceDefinition *source, const char *kind)
{
	DirectFold *direct = palloc0(sizeof(DirectFold));
	List	   *columns;
	List	   *names;
	List	   *filters = profiles_filter_columns(source);
	ProfileString *strings;
	ListCell   *lc;
	int			n = 0;

	direct->is_plain = true;
	direct->key = palloc(sizeof(Prepared));
	(void) prepare_expression(direct, profiles_find_column(source, psprintf("%s_id", kind)), direct->key);
	direct->no_key = psprintf("no %s_id", kind);
	direct->long_key = psprintf("long %s_id", kind);
	direct->seen_at = palloc(sizeof(Prepared));
	(void) prepare_expression(direct, profiles_find_column(source, "seen_at"), direct->seen_at);
	direct->filters = palloc(list_length(filters) * sizeof(Prepared) + 1);
	direct->reasons = palloc(list_length(filters) * sizeof(char *) + 1);
	foreach(lc, filters)
	{
		SourceColumn *column = lfirst(lc);

		(void) prepare_expression(direct, column, &direct->filters[direct->nfilters]);
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

		direct->attributes_can_fail |= prepare_expression(direct, column, &direct->attributes[i]);
		profile_text_form_init(&direct->forms[i], exprType((Node *) direct->attributes[i].expr),
							   CurrentMemoryContext);
		direct->is_plain &= !direct->forms[i].pin;
	}
	return direct;
}

/* ---------- expressions ---------- */

static Evaluator *
new_evaluators(const Prepared *prepared, int n)
{
	Evaluator  *evaluators = palloc0(n * sizeof(Evaluator) + 1);

	for (int i = 0; i < n; i++)
	{
		Var		   *var = (Var *) prepared[i].expr;

		evaluators[i].prepared = &prepared[i];
		evaluators[i].column = IsA(var, Var) && var->varattno > 0 ? var->varattno : 0;
	}
	return evaluators;
}

/* A value of the row at hand.  What it points to lasts as long as the row. */
static inline Datum
evaluate(EventRows *rows, Evaluator *evaluator, bool *isnull)
{
	if (evaluator->column > 0)
		return slot_getattr(rows->text_row.slot, evaluator->column, isnull);
	if (evaluator->state == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(rows->context);

		evaluator->state = ExecInitExpr(evaluator->prepared->expr, NULL);
		MemoryContextSwitchTo(old);
	}
	return ExecEvalExpr(evaluator->state, rows->econtext, isnull);
}

/* A text's bytes; it is copied only if it is compressed or out of line. */
static inline ProfileString
text_of(Datum value)
{
	struct varlena *text = (struct varlena *) DatumGetPointer(value);

	if (VARATT_IS_COMPRESSED(text) || VARATT_IS_EXTERNAL(text))
		text = pg_detoast_datum_packed(text);
	return profile_string(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
}

/* The same for an expression of type text; data = NULL is NULL. */
static inline ProfileString
evaluate_text(EventRows *rows, Evaluator *evaluator)
{
	ProfileString result;
	Datum		value;
	bool		isnull;

	if (evaluator->prepared->text != NULL &&
		profiles_read_text(evaluator->prepared->text, &rows->text_row, &result))
		return result;
	value = evaluate(rows, evaluator, &isnull);
	return isnull ? profile_string(NULL, 0) : text_of(value);
}

/* The same for a condition; NULL is false. */
static inline bool
evaluate_condition(EventRows *rows, Evaluator *evaluator)
{
	const Prepared *prepared = evaluator->prepared;
	ProfileString text;
	Datum		value;
	bool		isnull;

	if (prepared->is_condition && profiles_read_text(prepared->text, &rows->text_row, &text))
		return text.data != NULL && profile_string_eq(text, prepared->constant) == prepared->equal;
	value = evaluate(rows, evaluator, &isnull);
	return !isnull && DatumGetBool(value);
}

/* FoldReader of the row at hand. */
static ProfileString
read_attribute(FoldRow *row, int attribute)
{
	EventRows  *rows = row->source;
	Evaluator  *evaluator = &rows->attributes[attribute];
	ProfileTextForm *form = &rows->direct->forms[attribute];
	Datum		value;
	bool		isnull;

	if (form->way == PROFILE_TEXT_AS_IS)
		return evaluate_text(rows, evaluator);
	value = evaluate(rows, evaluator, &isnull);
	return isnull ? profile_string(NULL, 0) : profile_text_of(form, value);
}

/* ---------- opening ---------- */

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
 * Can the fold's rows be read here, by the current user?  Else a query has to.
 * Their tables are locked until the end of the transaction.
 */
bool
event_rows_are_readable(ProfilesFold *fold)
{
	LockRelationOid(fold->relation, AccessShareLock);
	return is_tables(fold->relation) &&
		check_enable_rls(fold->relation, InvalidOid, true) != RLS_ENABLED && may_read(fold);
}

/* Opens the tables that make up the fold's relation. */
static void
open_parts(EventRows *rows)
{
	List	   *tables = find_all_inheritors(rows->fold->relation, AccessShareLock, NULL);
	ListCell   *lc;

	rows->parts = palloc(list_length(tables) * sizeof(Part));
	foreach(lc, tables)
	{
		Relation	relation = relation_open(lfirst_oid(lc), NoLock);
		Part	   *part = &rows->parts[rows->nparts];

		/* nobody can read temporary tables of other sessions; queries skip them, too */
		if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE || RELATION_IS_OTHER_TEMP(relation))
		{
			relation_close(relation, NoLock);
			continue;
		}
		/* it has been attached just now */
		if (relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("partitions of %s have changed", profiles_relation_text(rows->fold->relation)),
					 errhint("Try again.")));
		if (!RelationIsScannable(relation))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("materialized view \"%s\" has not been populated", RelationGetRelationName(relation)),
					 errhint("Use the REFRESH MATERIALIZED VIEW command.")));
		part->relation = relation;
		part->slot = table_slot_create(relation, NULL);
		part->map = convert_tuples_by_name(RelationGetDescr(relation), rows->tupdesc);
		rows->nparts++;
	}
}

/*
 * Opens the rows of a fold in the current context, which has to last until they
 * are closed.
 */
void
event_rows_open(EventRows *rows, ProfilesFold *fold, DirectFold *direct, TimestampTz limit)
{
	memset(rows, 0, sizeof(EventRows));
	rows->fold = fold;
	rows->direct = direct;
	rows->context = CurrentMemoryContext;
	rows->limit = limit;
	rows->snapshot = GetActiveSnapshot();
	rows->tupdesc = lookup_rowtype_tupdesc(get_rel_type_id(fold->source->relation), -1);
	rows->converted = MakeSingleTupleTableSlot(rows->tupdesc, &TTSOpsVirtual);
	if (fold->rows != NULL)
	{
		/* other triggers read the same rows */
		rows->pointer = tuplestore_alloc_read_pointer(fold->rows, EXEC_FLAG_REWIND);
		tuplestore_select_read_pointer(fold->rows, rows->pointer);
		rows->row_slot = MakeSingleTupleTableSlot(fold->rows_desc, &TTSOpsMinimalTuple);
		rows->row_map = convert_tuples_by_name(fold->rows_desc, rows->tupdesc);
	}
	else
		open_parts(rows);

	rows->econtext = CreateStandaloneExprContext();
	rows->key = new_evaluators(direct->key, 1);
	rows->seen_at = new_evaluators(direct->seen_at, 1);
	rows->filters = new_evaluators(direct->filters, direct->nfilters);
	rows->attributes = new_evaluators(direct->attributes, direct->shape->nattributes);
	profile_fold_init_row(&rows->row, direct->shape, read_attribute, rows);
	rows->row.longest = profile_longest_value(direct->shape->nattributes);
	for (int i = 0; i < direct->shape->nattributes; i++)
		rows->columns = Max(rows->columns, rows->attributes[i].column);
}

void
event_rows_close(EventRows *rows)
{
	FreeExprContext(rows->econtext, true);
	for (int i = 0; i < rows->nparts; i++)
	{
		ExecDropSingleTupleTableSlot(rows->parts[i].slot);
		relation_close(rows->parts[i].relation, NoLock);
	}
	if (rows->fold->rows != NULL)
	{
		ExecDropSingleTupleTableSlot(rows->row_slot);
		tuplestore_select_read_pointer(rows->fold->rows, 0);
	}
	ExecDropSingleTupleTableSlot(rows->converted);
	ReleaseTupleDesc(rows->tupdesc);
}

/* ---------- the row at hand ---------- */

/* Copies the statement's next rows; not more than maintenance_work_mem takes. */
static void
fill_chunk(EventRows *rows)
{
	const Size	most = (Size) maintenance_work_mem * 1024 / 2;
	MemoryContext old;

	/* which takes no more than the rows do, as they are not freed one by one */
	if (rows->chunk_context == NULL)
		rows->chunk_context = GenerationContextCreate(rows->context, "rows of a statement",
													  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(rows->chunk_context);
	rows->chunk_size = 1024;
	rows->chunk = MemoryContextAlloc(rows->chunk_context, rows->chunk_size * sizeof(MinimalTuple));
	rows->nchunk = 0;
	while ((rows->nchunk == 0 || MemoryContextMemAllocated(rows->chunk_context, false) < most) &&
		   tuplestore_gettupleslot(rows->fold->rows, true, false, rows->row_slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (rows->nchunk == rows->chunk_size)
		{
			rows->chunk_size *= 2;
			rows->chunk = repalloc_huge(rows->chunk, rows->chunk_size * sizeof(MinimalTuple));
		}
		old = MemoryContextSwitchTo(rows->chunk_context);
		rows->chunk[rows->nchunk++] = ExecCopySlotMinimalTuple(rows->row_slot);
		MemoryContextSwitchTo(old);
	}
}

/*
 * Begins the next chunk of rows.  Within one a row's place is where it is: the
 * rows of tables are all in one, and so are those of a statement, unless they
 * are not in memory.
 */
bool
event_rows_next_chunk(EventRows *rows)
{
	bool		is_first = !rows->has_chunk;

	rows->has_chunk = true;
	if (rows->fold->rows == NULL)
		return is_first;
	if (tuplestore_in_memory(rows->fold->rows))
	{
		rows->nchunk = tuplestore_tuple_count(rows->fold->rows);
		return is_first;
	}
	fill_chunk(rows);
	return rows->nchunk > 0;
}

/* Before the first row of the chunk. */
void
event_rows_rewind(EventRows *rows)
{
	rows->part = 0;
	rows->chunk_next = 0;
	if (rows->fold->rows != NULL && rows->chunk == NULL)
		tuplestore_rescan(rows->fold->rows);
}

static inline void
take_row(EventRows *rows, TupleTableSlot *slot, TupleConversionMap *map)
{
	rows->stored = slot;
	rows->text_row.slot = map == NULL ? slot : execute_attr_map_slot(map->attrMap, slot, rows->converted);
	rows->text_row.number++;
	rows->econtext->ecxt_scantuple = rows->text_row.slot;
}

/*
 * Asks for the row that comes some rows after the one at hand, if they all lie as far
 * from each other as this one and that before: a statement's were put into memory
 * one after the other.
 */
static inline void
ask_ahead(EventRows *rows)
{
	RowPlace	place = event_rows_place(rows);
	RowPlace	ahead = place + ROWS_AHEAD * (place - rows->before);

	__builtin_prefetch((void *) (uintptr_t) ahead);
	__builtin_prefetch((void *) (uintptr_t) (ahead + 64));
	rows->before = place;
}

/* Makes the next row the one at hand. */
bool
event_rows_next(EventRows *rows)
{
	ResetExprContext(rows->econtext);
	if (rows->fold->rows != NULL)
	{
		if (rows->chunk != NULL)
		{
			if (rows->chunk_next == rows->nchunk)
				return false;
			ExecStoreMinimalTuple(rows->chunk[rows->chunk_next++], rows->row_slot, false);
		}
		else if (!tuplestore_gettupleslot(rows->fold->rows, true, false, rows->row_slot))
			return false;
		take_row(rows, rows->row_slot, rows->row_map);
		ask_ahead(rows);
		return true;
	}
	for (; rows->part < rows->nparts; rows->part++)
	{
		Part	   *part = &rows->parts[rows->part];

		if (rows->scan == NULL)
			rows->scan = table_beginscan(part->relation, rows->snapshot, 0, NULL);
		if (table_scan_getnextslot(rows->scan, ForwardScanDirection, part->slot))
		{
			take_row(rows, part->slot, part->map);
			return true;
		}
		table_endscan(rows->scan);
		rows->scan = NULL;
	}
	return false;
}

/* Makes the row at a place the one at hand. */
void
event_rows_fetch(EventRows *rows, RowPlace place)
{
	ResetExprContext(rows->econtext);
	event_rows_fetch_too(rows, place);
}

/* The same; what was read of the row before lasts, if it is a statement's. */
void
event_rows_fetch_too(EventRows *rows, RowPlace place)
{
	if (rows->fold->rows != NULL)
	{
		ExecStoreMinimalTuple((MinimalTuple) (uintptr_t) place, rows->row_slot, false);
		take_row(rows, rows->row_slot, rows->row_map);
	}
	else
	{
		Part	   *part = &rows->parts[place >> 48];
		ItemPointerData tid;

		ItemPointerSet(&tid, (BlockNumber) (place >> 16), (OffsetNumber) place);
		if (!table_tuple_fetch_row_version(part->relation, &tid, rows->snapshot, part->slot))
			elog(ERROR, "row (%u,%u) of %s is gone", (BlockNumber) (place >> 16),
				 (OffsetNumber) place, RelationGetRelationName(part->relation));
		take_row(rows, part->slot, part->map);
	}
}

/*
 * Does the row at hand count now?  It is left out, or held, otherwise.  The order
 * of the reasons is that of fold_query().
 */
bool
event_rows_counts(EventRows *rows, Event *event)
{
	DirectFold *direct = rows->direct;
	ProfileString key = profile_string(NULL, 0);
	const char *reason = NULL;
	MemoryContext old = MemoryContextSwitchTo(rows->econtext->ecxt_per_tuple_memory);

	event->held = false;
	for (int i = 0; i < direct->nfilters && reason == NULL; i++)
	{
		if (!evaluate_condition(rows, &rows->filters[i]))
			reason = direct->reasons[i];
	}
	if (reason == NULL)
	{
		Datum		value;
		bool		isnull;

		key = evaluate_text(rows, rows->key);
		if (key.data == NULL)
			reason = direct->no_key;
		else if (key.len > PROFILES_MAX_KEY)
			reason = direct->long_key;
		/* it may fail, which is found whatever the key is */
		value = evaluate(rows, rows->seen_at, &isnull);
		if (reason == NULL)
		{
			event->at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
			if (isnull)
				reason = "no seen_at";
			else if (TIMESTAMP_NOT_FINITE(event->at))
				reason = "infinite seen_at";
			else
				event->held = event->at > rows->limit;
		}
	}
	event->key = key;
	event->left_out = reason;
	MemoryContextSwitchTo(old);
	return reason == NULL && !event->held;
}

/* Has the row at hand a value of any attribute of a group? */
bool
event_rows_knows(EventRows *rows, int group)
{
	const int  *starts = rows->direct->shape->starts;
	MemoryContext old = MemoryContextSwitchTo(rows->econtext->ecxt_per_tuple_memory);
	bool		known = false;

	for (int i = starts[group]; i < starts[group + 1] && !known; i++)
		known = read_attribute(&rows->row, i).data != NULL;
	MemoryContextSwitchTo(old);
	return known;
}

/* Reads all attributes of the row at hand; they last as long as it. */
void
event_rows_read(EventRows *rows, ProfileString *values)
{
	MemoryContext old = MemoryContextSwitchTo(rows->econtext->ecxt_per_tuple_memory);
	TupleTableSlot *slot = rows->text_row.slot;

	slot_getsomeattrs(slot, rows->columns);
	for (int i = 0; i < rows->direct->shape->nattributes; i++)
	{
		AttrNumber	column = rows->attributes[i].column;

		if (column == 0 || rows->direct->forms[i].way != PROFILE_TEXT_AS_IS)
			values[i] = read_attribute(&rows->row, i);
		else if (slot->tts_isnull[column - 1])
			values[i] = profile_string(NULL, 0);
		else
			values[i] = text_of(slot->tts_values[column - 1]);
		values[i] = profile_fold_value(&rows->row, values[i]);
	}
	MemoryContextSwitchTo(old);
}
