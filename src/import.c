/*
 * import.c
 *		Reads reference tables for custom attributes.
 *
 * What an import reads stands, as constants, in a view that its adder owns and
 * that depends on nothing: the reference table's owner may drop, retype or swap
 * it at any time.  Each read looks the table up by name and checks its columns
 * anew, with the rights of the adder.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "port/pg_bitutils.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "upkeep.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"

#include <math.h>

PG_FUNCTION_INFO_V1(profiles_attribute_type);
PG_FUNCTION_INFO_V1(profiles_read_import);
PG_FUNCTION_INFO_V1(profiles_load_import);
PG_FUNCTION_INFO_V1(profiles_import_diff);
PG_FUNCTION_INFO_V1(profiles_read_counts);

#define ATTRIBUTE_PREFIX	"attr "

/* ---------- types ---------- */

/* The type that a column of some type has as an attribute, or InvalidOid. */
static Oid
attribute_type(Oid type)
{
	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
		return InvalidOid;
	type = getBaseType(type);
	if (get_typtype(type) == TYPTYPE_ENUM)
		return TEXTOID;
	switch (type)
	{
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
			return TEXTOID;
		case INT2OID:
			return INT4OID;
		case TEXTOID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case BOOLOID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
			return type;
		default:
			return InvalidOid;
	}
}

/* _attribute_type(type oid) */
Datum
profiles_attribute_type(PG_FUNCTION_ARGS)
{
	Oid			type = attribute_type(PG_GETARG_OID(0));

	if (!OidIsValid(type))
		PG_RETURN_NULL();
	PG_RETURN_OID(type);
}

/* ---------- the view ---------- */

/* The query of an import's view: its entries as constants. */
Query *
profiles_import_query(List *entries)
{
	Query	   *query = makeNode(Query);
	ListCell   *lc;

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	foreach(lc, entries)
	{
		SourceEntry *entry = lfirst(lc);
		Const	   *value = makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
									  CStringGetTextDatum(entry->expression), false, false);

		query->targetList = lappend(query->targetList,
									makeTargetEntry((Expr *) value, list_length(query->targetList) + 1,
													pstrdup(entry->name), false));
	}
	return query;
}

/* What an import's view says of something, or NULL. */
static char *
view_entry(List *targets, const char *name)
{
	ListCell   *lc;

	foreach(lc, targets)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk && strcmp(entry->resname, name) == 0 && IsA(entry->expr, Const) &&
			((Const *) entry->expr)->consttype == TEXTOID && !((Const *) entry->expr)->constisnull)
			return TextDatumGetCString(((Const *) entry->expr)->constvalue);
	}
	return NULL;
}

/* ---------- the query that reads ---------- */

/*
 * A column as text.  A type that its owner may have given a cast is printed, since
 * the cast would run with the rights of the adder.
 */
static char *
column_text(Relation relation, AttrNumber number)
{
	Oid			type = getBaseType(TupleDescAttr(RelationGetDescr(relation), number - 1)->atttypid);
	const char *column = quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(relation), number - 1)->attname));
	const char *print = NULL;

	if (OidIsValid(get_element_type(type)))
		print = "array_out";
	else
	{
		switch (get_typtype(type))
		{
			case TYPTYPE_ENUM:
				print = "enum_out";
				break;
			case TYPTYPE_COMPOSITE:
				print = "record_out";
				break;
			case TYPTYPE_RANGE:
				print = "range_out";
				break;
			case TYPTYPE_MULTIRANGE:
				print = "multirange_out";
				break;
		}
	}
	return print == NULL ? psprintf("(s.%s)::pg_catalog.text", column)
		: psprintf("pg_catalog.textin(pg_catalog.%s(s.%s))", print, column);
}

/* Opens the reference table that a name stands for now. */
static Relation
open_source(const char *name)
{
	RangeVar   *range = makeRangeVarFromNameList(PROFILES_QUALIFIED_NAME_LIST(name));
	Oid			relid = RangeVarGetRelid(range, AccessShareLock, true);
	Relation	relation;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("%s is missing", name),
				 errhint("It is looked up by its name at each sync: create it again, or remove its attributes with profiles.drop_attributes().")));
	relation = table_open(relid, NoLock);
	switch (relation->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("%s is not a table, view or foreign table", name)));
	}
	return relation;
}

/* The number of a column of the reference table. */
static AttrNumber
find_column(Relation relation, const char *source, const char *column)
{
	AttrNumber	number = get_attnum(RelationGetRelid(relation), column);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("%s has no column \"%s\" any more", source, column),
				 errhint("Give it back, in a view of that name for instance, or remove the attributes with profiles.drop_attributes() and add them anew.")));
	return number;
}

/*
 * The query that reads an import: its key as text, then the attributes that
 * tupdesc names.  Runs as the adder.  The table stays locked, as by any reader.
 */
static char *
reading_query(List *targets, TupleDesc tupdesc, const char *on_duplicate, bool lower_keys)
{
	char	   *source = view_entry(targets, "source");
	char	   *source_key = view_entry(targets, "source_key");
	char	   *filter = view_entry(targets, "filter");
	char	   *order_by = view_entry(targets, "order_by");
	bool		ordered = strcmp(on_duplicate, "error") != 0;
	Relation	relation;
	StringInfoData sql;

	/* its owner may have changed it */
	if (source == NULL || source_key == NULL || (ordered && order_by == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the view of an import is not what profiles made it"),
				 errhint("Remove its attributes with profiles.drop_attributes(), and add them anew.")));
	if (TupleDescAttr(tupdesc, 0)->atttypid != TEXTOID)
		elog(ERROR, "the key of an import is text");
	relation = open_source(source);
	initStringInfo(&sql);
	appendStringInfo(&sql, lower_keys
					 ? "SELECT pg_catalog.lower(%s COLLATE pg_catalog.\"default\") AS key"
					 : "SELECT %s COLLATE pg_catalog.\"default\" AS key",
					 column_text(relation, find_column(relation, source, source_key)));
	for (int i = 1; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		char	   *column = view_entry(targets, psprintf(ATTRIBUTE_PREFIX "%s", NameStr(attribute->attname)));
		AttrNumber	number;
		Oid			type;

		if (column == NULL)
			elog(ERROR, "the view of an import does not know attribute \"%s\"", NameStr(attribute->attname));
		number = find_column(relation, source, column);
		type = TupleDescAttr(RelationGetDescr(relation), number - 1)->atttypid;
		if (attribute_type(type) != attribute->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of %s is of type %s now, but attribute \"%s\" is of type %s",
							column, source, format_type_be(type), NameStr(attribute->attname),
							format_type_be(attribute->atttypid)),
					 errhint("Cast it back in a view of that name, or remove the attributes with profiles.drop_attributes() and add the column under another name.")));
		appendStringInfo(&sql, ", %s AS %s",
						 attribute->atttypid == TEXTOID ? column_text(relation, number)
						 : psprintf("(s.%s)::%s", quote_identifier(column),
									format_type_be_qualified(attribute->atttypid)),
						 quote_identifier(NameStr(attribute->attname)));
	}
	appendStringInfo(&sql, " FROM %s s", profiles_qualified_name(RelationGetRelid(relation)));
	if (filter != NULL)
		appendStringInfo(&sql, " WHERE %s", profiles_row_expression(relation, "s", filter, true));
	if (ordered)
	{
		/* rows that tie are told apart by their values */
		appendStringInfo(&sql, " ORDER BY 1, %s %s NULLS LAST",
						 profiles_row_expression(relation, "s", order_by, false),
						 strcmp(on_duplicate, "last") == 0 ? "DESC" : "ASC");
		for (int i = 2; i <= tupdesc->natts; i++)
			appendStringInfo(&sql, ", %d", i);
	}
	table_close(relation, NoLock);
	return sql.data;
}

/* ---------- reading ---------- */

/* Rows with keys of as many bytes have none: see _is_indexable. */
#define MAX_IMPORT_KEY	2000

/* What the last read of this session saw. */
static struct
{
	int64		rows;
	int64		null_keys;
	int64		duplicate_keys;
}			last_read;

typedef struct ImportReceiver ImportReceiver;

struct ImportReceiver
{
	DestReceiver pub;
	void		(*put) (TupleTableSlot *slot, void *put_to);	/* rows with a key go there */
	void	   *put_to;
	bool		one_per_key;	/* rows come ordered by key; the first counts */
	text	   *key;			/* of the row before */
	Datum	   *blocked;		/* keys that are not read, in order */
	int			nblocked;
	MemoryContext context;
};

static int
compare_keys(const void *a, const void *b)
{
	text	   *one = DatumGetTextPP(*(const Datum *) a);
	text	   *other = DatumGetTextPP(*(const Datum *) b);
	int			result = memcmp(VARDATA_ANY(one), VARDATA_ANY(other),
								Min(VARSIZE_ANY_EXHDR(one), VARSIZE_ANY_EXHDR(other)));

	return result != 0 ? result : (int) VARSIZE_ANY_EXHDR(one) - (int) VARSIZE_ANY_EXHDR(other);
}

static void
import_startup(DestReceiver *self, int operation, TupleDesc tupdesc)
{
}

static bool
import_receive(TupleTableSlot *slot, DestReceiver *self)
{
	ImportReceiver *receiver = (ImportReceiver *) self;
	Datum		key;
	bool		isnull;

	key = slot_getattr(slot, 1, &isnull);
	if (!isnull && receiver->nblocked > 0 &&
		bsearch(&key, receiver->blocked, receiver->nblocked, sizeof(Datum), compare_keys) != NULL)
		return true;
	last_read.rows++;
	/* which an index could not hold, either */
	if (isnull || toast_raw_datum_size(key) - VARHDRSZ >= MAX_IMPORT_KEY)
	{
		last_read.null_keys++;
		return true;
	}
	if (receiver->one_per_key)
	{
		text	   *value = DatumGetTextPP(key);

		if (receiver->key != NULL &&
			VARSIZE_ANY_EXHDR(receiver->key) == VARSIZE_ANY_EXHDR(value) &&
			memcmp(VARDATA_ANY(receiver->key), VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)) == 0)
		{
			last_read.duplicate_keys++;
			return true;
		}
		if (receiver->key != NULL)
			pfree(receiver->key);
		receiver->key = (text *) MemoryContextAlloc(receiver->context, VARSIZE_ANY(value));
		memcpy(receiver->key, value, VARSIZE_ANY(value));
	}
	receiver->put(slot, receiver->put_to);
	return true;
}

static void
import_done(DestReceiver *self)
{
}

/*
 * Runs the query that reads, as the adder.  It is analysed once, so that what is
 * run is what was checked: the table's owner can put a view in its place, or a
 * policy on it, whose functions would run with the rights of the adder.
 */
static void
run_reading_query(const char *sql, const char *source, DestReceiver *receiver)
{
	Query	   *query = profiles_trusted_query(sql, source);
	QueryDesc  *desc;

	/*
	 * The snapshot is taken now, when the tables are locked: to an older one a
	 * table that was swapped in meanwhile looks empty.
	 */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	desc = CreateQueryDesc(pg_plan_query(query, sql, CURSOR_OPT_PARALLEL_OK, NULL), sql,
						   GetActiveSnapshot(), InvalidSnapshot, receiver, NULL, NULL, 0);
	ExecutorStart(desc, 0);
	PROFILES_EXECUTOR_RUN(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	PopActiveSnapshot();
}

/*
 * Reads an import, as its adder, and puts its rows: key, then the attributes that
 * tupdesc names.  The first arguments of the function that is called are
 * (import_view regclass, on_duplicate text, lower_keys boolean, blocked text[]).
 */
static void
read_import(FunctionCallInfo fcinfo, TupleDesc tupdesc, bool dry,
			void (*put) (TupleTableSlot *slot, void *put_to), void *put_to)
{
	Oid			view = PG_GETARG_OID(0);
	char	   *on_duplicate = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ImportReceiver receiver = {0};
	ProfilesRole caller;
	Relation	relation;
	List	   *targets;
	Oid			role;
	char	   *sql;

	if (get_rel_namespace(view) != get_func_namespace(fcinfo->flinfo->fn_oid) ||
		get_rel_relkind(view) != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not the view of an import", profiles_relation_text(view))));
	relation = table_open(view, AccessShareLock);
	role = relation->rd_rel->relowner;
	targets = copyObject(get_view_query(relation)->targetList);
	table_close(relation, NoLock);

	caller = profiles_become_adder(role);
	sql = reading_query(targets, tupdesc, on_duplicate, PG_GETARG_BOOL(2));
	if (dry)
		sql = psprintf("%s LIMIT 0", sql);
	receiver.pub.receiveSlot = import_receive;
	receiver.pub.rStartup = import_startup;
	receiver.pub.rShutdown = import_done;
	receiver.pub.rDestroy = import_done;
	receiver.pub.mydest = DestTuplestore;
	receiver.put = put;
	receiver.put_to = put_to;
	receiver.one_per_key = strcmp(on_duplicate, "error") != 0;
	receiver.context = CurrentMemoryContext;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT,
					  &receiver.blocked, NULL, &receiver.nblocked);
	qsort(receiver.blocked, receiver.nblocked, sizeof(Datum), compare_keys);
	memset(&last_read, 0, sizeof(last_read));
	run_reading_query(sql, view_entry(targets, "source"), &receiver.pub);
	profiles_become_caller(caller);
}

static void
put_in_store(TupleTableSlot *slot, void *put_to)
{
	tuplestore_puttupleslot(put_to, slot);
}

/* _read_import(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], dry boolean) */
Datum
profiles_read_import(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	read_import(fcinfo, rsinfo->setDesc, PG_GETARG_BOOL(4), put_in_store, rsinfo->setResult);
	return (Datum) 0;
}

/* Opens an import's table. */
static Relation
open_import_table(FunctionCallInfo fcinfo, Oid relid, LOCKMODE mode)
{
	bool		ours = get_rel_namespace(relid) == get_func_namespace(fcinfo->flinfo->fn_oid) &&
		get_rel_relkind(relid) == RELKIND_RELATION;
	Relation	relation = ours ? table_open(relid, mode) : NULL;
	TupleDesc	tupdesc = ours ? RelationGetDescr(relation) : NULL;

	ours = ours && tupdesc->natts > 0 && TupleDescAttr(tupdesc, 0)->atttypid == TEXTOID;
	for (int i = 0; ours && i < tupdesc->natts; i++)
		ours = !TupleDescAttr(tupdesc, i)->attisdropped;
	if (!ours)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not the table of an import", profiles_relation_text(relid))));
	return relation;
}

/* ---------- loading ---------- */

/* Rows on their way into the table of an import. */
typedef struct Load
{
	Relation	relation;
	BulkInsertState bulk;
	TupleTableSlot *slots[1000];	/* made when they are needed first */
	int			n;
	Size		bytes;
	int64		rows;
	MemoryContext context;
} Load;

static void
write_load(Load *load)
{
	MemoryContext old = MemoryContextSwitchTo(load->context);

	table_multi_insert(load->relation, load->slots, load->n, GetCurrentCommandId(true), 0, load->bulk);
	MemoryContextSwitchTo(old);
	MemoryContextReset(load->context);
	for (int i = 0; i < load->n; i++)
		ExecClearTuple(load->slots[i]);
	load->rows += load->n;
	load->n = 0;
	load->bytes = 0;
}

static void
put_in_load(TupleTableSlot *slot, void *put_to)
{
	Load	   *load = put_to;
	HeapTuple	tuple;

	if (load->slots[load->n] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(load));

		load->slots[load->n] = table_slot_create(load->relation, NULL);
		MemoryContextSwitchTo(old);
	}
	ExecCopySlot(load->slots[load->n], slot);
	tuple = ExecFetchSlotHeapTuple(load->slots[load->n], false, NULL);
	load->bytes += tuple->t_len;
	if (++load->n == lengthof(load->slots) || load->bytes > 65536)
		write_load(load);
}

/*
 * _load_import(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], import_table regclass)
 *
 * Into a table that has neither index nor trigger to be served.
 */
Datum
profiles_load_import(PG_FUNCTION_ARGS)
{
	Load	   *load = palloc0(sizeof(Load));

	load->relation = open_import_table(fcinfo, PG_GETARG_OID(4), RowExclusiveLock);
	if (RelationGetIndexList(load->relation) != NIL)
		elog(ERROR, "the table of an import has its key already");
	load->bulk = GetBulkInsertState();
	load->context = AllocSetContextCreate(CurrentMemoryContext, "rows of an import", ALLOCSET_DEFAULT_SIZES);
	read_import(fcinfo, RelationGetDescr(load->relation), false, put_in_load, load);
	if (load->n > 0)
		write_load(load);
	for (int i = 0; i < lengthof(load->slots) && load->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(load->slots[i]);
	FreeBulkInsertState(load->bulk);
	table_finish_bulk_insert(load->relation, 0);
	table_close(load->relation, NoLock);
	PG_RETURN_INT64(load->rows);
}

/* ---------- comparing ---------- */

/*
 * Which rows of an import's table are to be written: a hash join of what is there
 * with what is read.  Rows are compared as they are stored, byte by byte, and a
 * batch of them at a time, so that the processor fetches what one needs while it
 * is busy with others.  What does not fit into work_mem is compared in parts, by
 * the hashes of the keys.
 */
#define DIFF_BATCH	128
#define DIFF_MAX_PARTS	1024

typedef struct DiffRow
{
	MinimalTuple tuple;
	ItemPointerData place;
	bool		seen;
} DiffRow;

typedef struct DiffSlot
{
	uint32		hash;
	uint32		row;			/* its number, from 1; 0: free */
} DiffSlot;

typedef struct Diff
{
	TupleDesc	desc;			/* key and attributes */
	TupleDesc	result_desc;	/* its row, key and attributes */
	Tuplestorestate *result;

	/* what is there, of one part */
	DiffRow    *rows;
	uint32		nrows;
	uint32		size;
	DiffSlot   *table;
	uint32		mask;			/* of the table, whose size is a power of two */
	MemoryContext part;

	/* what is read and waits to be compared */
	MinimalTuple batch[DIFF_BATCH];
	uint32		hashes[DIFF_BATCH];
	int			nbatch;
	MemoryContext batch_context;
	TupleTableSlot *slot;		/* of desc */

	/* several parts: both sides wait in files, in the form of the result */
	int			parts;
	Tuplestorestate **there;
	Tuplestorestate **read;

	Datum	   *values;			/* of the result */
	bool	   *nulls;
} Diff;

/* A row as it would be stored, its values being plain: equal rows have equal bytes. */
static MinimalTuple
row_image(Diff *diff, Datum *values, bool *nulls, uint32 *hash)
{
	struct varlena *key = NULL;
	MinimalTuple tuple;

	for (int i = 0; i < diff->desc->natts; i++)
	{
		diff->nulls[i + 1] = nulls[i];
		diff->values[i + 1] = values[i];
		if (!nulls[i] && TupleDescAttr(diff->desc, i)->attlen == -1 &&
			(VARATT_IS_COMPRESSED(DatumGetPointer(values[i])) || VARATT_IS_EXTERNAL(DatumGetPointer(values[i]))))
			diff->values[i + 1] = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
	}
	key = (struct varlena *) DatumGetPointer(diff->values[1]);
	*hash = hash_bytes((unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	tuple = PROFILES_FORM_MINIMAL_TUPLE(diff->desc, diff->values + 1, diff->nulls + 1);
	for (int i = 0; i < diff->desc->natts; i++)
	{
		if (!nulls[i] && diff->values[i + 1] != values[i])
			pfree(DatumGetPointer(diff->values[i + 1]));
	}
	return tuple;
}

/* The part that a hash belongs to.  Within a part all places in the table are as likely. */
static inline int
part_of(Diff *diff, uint32 hash)
{
	return murmurhash32(hash) % diff->parts;
}

static void
place_row(Diff *diff, uint32 hash, uint32 row)
{
	uint32		i = hash & diff->mask;

	while (diff->table[i].row != 0)
		i = (i + 1) & diff->mask;
	diff->table[i].hash = hash;
	diff->table[i].row = row;
}

/* Forgets a part, and makes room for about so many rows of the next. */
static void
start_part(Diff *diff, double rows)
{
	MemoryContext old;

	MemoryContextReset(diff->part);
	old = MemoryContextSwitchTo(diff->part);
	diff->nrows = 0;
	diff->size = Max(1024, pg_nextpower2_32(Min(rows, 1 << 28)));
	diff->rows = MemoryContextAllocHuge(diff->part, sizeof(DiffRow) * diff->size);
	diff->mask = 2 * diff->size - 1;
	diff->table = MemoryContextAllocExtended(diff->part, sizeof(DiffSlot) * ((Size) diff->mask + 1),
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	MemoryContextSwitchTo(old);
}

/* Adds a row that is there. */
static void
add_row(Diff *diff, Datum *values, bool *nulls, ItemPointer place)
{
	MemoryContext old = MemoryContextSwitchTo(diff->part);
	DiffRow    *row;
	uint32		hash;

	if (diff->nrows == diff->size)
	{
		DiffSlot   *before = diff->table;
		uint32		last = diff->mask;

		if (diff->size >= (uint32) 1 << 30)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the reference table has too many rows"),
					 errhint("A greater maintenance_work_mem helps.")));
		diff->size *= 2;
		diff->rows = repalloc_huge(diff->rows, sizeof(DiffRow) * diff->size);
		diff->mask = 2 * diff->size - 1;
		diff->table = MemoryContextAllocExtended(diff->part, sizeof(DiffSlot) * ((Size) diff->mask + 1),
												 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		for (uint32 i = 0; i <= last; i++)
		{
			if (before[i].row != 0)
				place_row(diff, before[i].hash, before[i].row);
		}
		pfree(before);
	}
	row = &diff->rows[diff->nrows++];
	row->tuple = row_image(diff, values, nulls, &hash);
	row->place = *place;
	row->seen = false;
	place_row(diff, hash, diff->nrows);
	MemoryContextSwitchTo(old);
}

/* A result: the place of what is there, or NULL; key and values that are to be, or NULL. */
static void
put_result(Diff *diff, ItemPointer place, MinimalTuple tuple)
{
	diff->nulls[0] = place == NULL;
	diff->values[0] = PointerGetDatum(place);
	if (tuple == NULL)
		memset(diff->nulls + 1, true, diff->desc->natts);
	else
	{
		ExecStoreMinimalTuple(tuple, diff->slot, false);
		slot_getallattrs(diff->slot);
		memcpy(diff->nulls + 1, diff->slot->tts_isnull, diff->desc->natts);
		memcpy(diff->values + 1, diff->slot->tts_values, sizeof(Datum) * diff->desc->natts);
	}
	tuplestore_putvalues(diff->result, diff->result_desc, diff->values, diff->nulls);
}

static bool
same_row(MinimalTuple a, MinimalTuple b)
{
	return a->t_len == b->t_len && memcmp(a, b, a->t_len) == 0;
}

/* Have two rows the same key? */
static bool
same_key(Diff *diff, MinimalTuple a, MinimalTuple b)
{
	HeapTupleData tuple;
	struct varlena *keys[2];
	bool		isnull;

	for (int i = 0; i < 2; i++)
	{
		MinimalTuple minimal = i == 0 ? a : b;

		tuple.t_len = minimal->t_len + MINIMAL_TUPLE_OFFSET;
		tuple.t_data = (HeapTupleHeader) ((char *) minimal - MINIMAL_TUPLE_OFFSET);
		keys[i] = (struct varlena *) DatumGetPointer(heap_getattr(&tuple, 1, diff->desc, &isnull));
	}
	return VARSIZE_ANY_EXHDR(keys[0]) == VARSIZE_ANY_EXHDR(keys[1]) &&
		memcmp(VARDATA_ANY(keys[0]), VARDATA_ANY(keys[1]), VARSIZE_ANY_EXHDR(keys[0])) == 0;
}

/* Compares the rows of the batch with those that are there. */
static void
compare_batch(Diff *diff)
{
	DiffRow    *guesses[DIFF_BATCH];

	/* the first row with the hash is nearly always the one */
	for (int i = 0; i < diff->nbatch; i++)
	{
		uint32		at = diff->hashes[i] & diff->mask;

		while (diff->table[at].row != 0 && diff->table[at].hash != diff->hashes[i])
			at = (at + 1) & diff->mask;
		guesses[i] = diff->table[at].row == 0 ? NULL : &diff->rows[diff->table[at].row - 1];
		if (guesses[i] != NULL)
			PROFILES_PREFETCH(guesses[i]);
	}
	for (int i = 0; i < diff->nbatch; i++)
	{
		if (guesses[i] != NULL)
			PROFILES_PREFETCH(guesses[i]->tuple);
	}
	for (int i = 0; i < diff->nbatch; i++)
	{
		MinimalTuple tuple = diff->batch[i];
		DiffRow    *found = NULL;

		if (guesses[i] != NULL)
		{
			if (same_row(guesses[i]->tuple, tuple))
				found = guesses[i];
			for (uint32 at = diff->hashes[i] & diff->mask; found == NULL && diff->table[at].row != 0; at = (at + 1) & diff->mask)
			{
				if (diff->table[at].hash == diff->hashes[i] &&
					same_key(diff, diff->rows[diff->table[at].row - 1].tuple, tuple))
					found = &diff->rows[diff->table[at].row - 1];
			}
		}
		if (found == NULL)
			put_result(diff, NULL, tuple);
		else if (found->seen)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("several rows have the same key")));
		else
		{
			found->seen = true;
			if (!same_row(found->tuple, tuple))
				put_result(diff, &found->place, tuple);
		}
	}
	diff->nbatch = 0;
	MemoryContextReset(diff->batch_context);
}

/* Adds a row that was read, to be compared. */
static void
compare_row(Diff *diff, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(diff->batch_context);
	uint32		hash;

	diff->batch[diff->nbatch] = row_image(diff, values, nulls, &hash);
	diff->hashes[diff->nbatch++] = hash;
	PROFILES_PREFETCH(&diff->table[hash & diff->mask]);
	MemoryContextSwitchTo(old);
	if (diff->nbatch == DIFF_BATCH)
		compare_batch(diff);
}

/* What is there and was not read has to go. */
static void
finish_part(Diff *diff)
{
	compare_batch(diff);
	for (uint32 i = 0; i < diff->nrows; i++)
	{
		if (!diff->rows[i].seen)
			put_result(diff, &diff->rows[i].place, NULL);
	}
}

/* Puts a row aside until its part's turn. */
static void
put_aside(Diff *diff, Tuplestorestate **stores, TupleTableSlot *slot, ItemPointer place)
{
	struct varlena *key = PG_DETOAST_DATUM_PACKED(slot->tts_values[0]);
	uint32		hash = hash_bytes((unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));

	diff->nulls[0] = place == NULL;
	diff->values[0] = PointerGetDatum(place);
	memcpy(diff->nulls + 1, slot->tts_isnull, diff->desc->natts);
	memcpy(diff->values + 1, slot->tts_values, sizeof(Datum) * diff->desc->natts);
	tuplestore_putvalues(stores[part_of(diff, hash)], diff->result_desc, diff->values, diff->nulls);
	if (PointerGetDatum(key) != slot->tts_values[0])
		pfree(key);
}

static void
put_in_diff(TupleTableSlot *slot, void *put_to)
{
	Diff	   *diff = put_to;

	slot_getallattrs(slot);
	if (diff->parts == 1)
		compare_row(diff, slot->tts_values, slot->tts_isnull);
	else
		put_aside(diff, diff->read, slot, NULL);
}

/* Reads what is there. */
static void
scan_import_table(Diff *diff, Relation relation)
{
	TableScanDesc scan = table_beginscan(relation, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(relation, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		if (slot->tts_isnull[0])
			elog(ERROR, "a key in the table of an import is NULL");
		if (diff->parts == 1)
			add_row(diff, slot->tts_values, slot->tts_isnull, &slot->tts_tid);
		else
			put_aside(diff, diff->there, slot, &slot->tts_tid);
		CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

/* Compares what was put aside, part by part. */
static void
compare_parts(Diff *diff)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(diff->result_desc, &TTSOpsMinimalTuple);

	for (int part = 0; part < diff->parts; part++)
	{
		start_part(diff, tuplestore_tuple_count(diff->there[part]));
		while (tuplestore_gettupleslot(diff->there[part], true, false, slot))
		{
			slot_getallattrs(slot);
			add_row(diff, slot->tts_values + 1, slot->tts_isnull + 1, (ItemPointer) DatumGetPointer(slot->tts_values[0]));
			CHECK_FOR_INTERRUPTS();
		}
		tuplestore_end(diff->there[part]);
		while (tuplestore_gettupleslot(diff->read[part], true, false, slot))
		{
			slot_getallattrs(slot);
			compare_row(diff, slot->tts_values + 1, slot->tts_isnull + 1);
			CHECK_FOR_INTERRUPTS();
		}
		tuplestore_end(diff->read[part]);
		finish_part(diff);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * _import_diff(import_view regclass, on_duplicate text, lower_keys boolean, blocked text[], import_table regclass)
 *		-> rows (its row tid, key text, attributes)
 */
Datum
profiles_import_diff(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Diff	   *diff = palloc0(sizeof(Diff));
	Relation	relation = open_import_table(fcinfo, PG_GETARG_OID(4), AccessShareLock);
	int			natts = RelationGetDescr(relation)->natts;
	double		rows = Max(relation->rd_rel->reltuples, 0);
	double		bytes;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	diff->desc = CreateTupleDescCopy(RelationGetDescr(relation));
	diff->result = rsinfo->setResult;
	diff->result_desc = rsinfo->setDesc;
	for (int i = 0; i <= natts; i++)
	{
		if (diff->result_desc->natts != natts + 1 ||
			TupleDescAttr(diff->result_desc, i)->atttypid !=
			(i == 0 ? TIDOID : TupleDescAttr(diff->desc, i - 1)->atttypid))
			elog(ERROR, "the rows of an import have other columns");
	}
	diff->values = palloc0(sizeof(Datum) * (natts + 1));
	diff->nulls = palloc0(sizeof(bool) * (natts + 1));
	diff->slot = MakeSingleTupleTableSlot(diff->desc, &TTSOpsMinimalTuple);
	diff->part = GenerationContextCreate(CurrentMemoryContext, "rows of an import", ALLOCSET_DEFAULT_SIZES);
	diff->batch_context = AllocSetContextCreate(CurrentMemoryContext, "rows to be compared", ALLOCSET_DEFAULT_SIZES);

	bytes = (double) RelationGetNumberOfBlocks(relation) * BLCKSZ * 1.5 + rows * 48;
	diff->parts = Max(1, Min(DIFF_MAX_PARTS, ceil(bytes / (work_mem * 1024.0))));
	if (diff->parts == 1)
		start_part(diff, rows);
	else
	{
		diff->there = palloc(sizeof(Tuplestorestate *) * diff->parts);
		diff->read = palloc(sizeof(Tuplestorestate *) * diff->parts);
		for (int i = 0; i < diff->parts; i++)
		{
			diff->there[i] = tuplestore_begin_heap(false, false, Max(64, work_mem / 4 / diff->parts));
			diff->read[i] = tuplestore_begin_heap(false, false, Max(64, work_mem / 4 / diff->parts));
		}
	}
	scan_import_table(diff, relation);
	read_import(fcinfo, diff->desc, false, put_in_diff, diff);
	if (diff->parts == 1)
		finish_part(diff);
	else
		compare_parts(diff);
	ExecDropSingleTupleTableSlot(diff->slot);
	MemoryContextDelete(diff->part);
	MemoryContextDelete(diff->batch_context);
	table_close(relation, NoLock);
	return (Datum) 0;
}

/* _read_counts() -> (source_rows, null_keys, duplicate_keys) */
Datum
profiles_read_counts(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(last_read.rows);
	values[1] = Int64GetDatum(last_read.null_keys);
	values[2] = Int64GetDatum(last_read.duplicate_keys);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
