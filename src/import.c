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
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "import.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
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

PG_FUNCTION_INFO_V1(profiles_attribute_type);
PG_FUNCTION_INFO_V1(profiles_read_import);
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
void
import_read(FunctionCallInfo fcinfo, TupleDesc tupdesc, bool dry,
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
	import_read(fcinfo, rsinfo->setDesc, PG_GETARG_BOOL(4), put_in_store, rsinfo->setResult);
	return (Datum) 0;
}

/* Opens an import's table. */
Relation
import_open_table(FunctionCallInfo fcinfo, Oid relid, LOCKMODE mode)
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
