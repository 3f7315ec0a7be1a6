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

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(profiles_attribute_type);
PG_FUNCTION_INFO_V1(profiles_read_import);
PG_FUNCTION_INFO_V1(profiles_read_counts);

#define ATTRIBUTE_PREFIX	"attribute "

/* ---------- types ---------- */

/* The type that a column of some type has as an attribute, or InvalidOid. */
static Oid
attribute_type(Oid type)
{
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

/* What the last read of this session saw. */
static struct
{
	int64		rows;
	int64		null_keys;
	int64		duplicate_keys;
}			last_read;

typedef struct ImportReceiver
{
	DestReceiver pub;
	Tuplestorestate *store;
	bool		one_per_key;	/* rows come ordered by key; the first counts */
	text	   *key;			/* of the row before */
	MemoryContext context;
} ImportReceiver;

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

	last_read.rows++;
	key = slot_getattr(slot, 1, &isnull);
	if (isnull)
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
	tuplestore_puttupleslot(receiver->store, slot);
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

/* _read_import(import_view regclass, on_duplicate text, lower_keys boolean, dry boolean) */
Datum
profiles_read_import(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			view = PG_GETARG_OID(0);
	char	   *on_duplicate = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		dry = PG_GETARG_BOOL(3);
	ImportReceiver receiver = {0};
	ProfilesRole caller;
	Relation	relation;
	List	   *targets;
	Oid			role;
	char	   *sql;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
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
	sql = reading_query(targets, rsinfo->setDesc, on_duplicate, PG_GETARG_BOOL(2));
	if (dry)
		sql = psprintf("%s LIMIT 0", sql);
	receiver.pub.receiveSlot = import_receive;
	receiver.pub.rStartup = import_startup;
	receiver.pub.rShutdown = import_done;
	receiver.pub.rDestroy = import_done;
	receiver.pub.mydest = DestTuplestore;
	receiver.store = rsinfo->setResult;
	receiver.one_per_key = strcmp(on_duplicate, "error") != 0;
	receiver.context = CurrentMemoryContext;
	memset(&last_read, 0, sizeof(last_read));
	run_reading_query(sql, view_entry(targets, "source"), &receiver.pub);
	profiles_become_caller(caller);
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
