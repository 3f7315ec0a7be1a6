/*
 * plain_update.c
 *		Replaces rows of our own tables without a query.
 *
 * What is done with every visit of somebody should not need more than it does: rows are
 * looked up by their keys, some hundred at a time (search_rows.c), replaced, and their index
 * entries gathered (index_entries.c).  That is for tables that are as we made them.
 * Whatever else there is, rules, partitions, triggers that may change a row, and rows
 * that somebody else replaces meanwhile, callers leave to a statement.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parse_relation.h"
#include "plain_update.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/*
 * Can rows be replaced without a query?  Not if there is more to it than generated
 * columns, constraints, indexes and triggers after the fact.
 */
static bool
is_plain(Relation table)
{
	TriggerDesc *triggers = table->trigdesc;

	return table->rd_rel->relkind == RELKIND_RELATION && !table->rd_rel->relhassubclass &&
		!table->rd_rel->relispartition && !table->rd_rel->relrowsecurity && table->rd_rules == NULL &&
		(triggers == NULL || !triggers->trig_update_before_row) &&
		pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_UPDATE) == ACLCHECK_OK;
}

/* The unique index by which rows are looked up. */
static Relation
find_index(ResultRelInfo *relinfo, AttrNumber key)
{
	for (int i = 0; i < relinfo->ri_NumIndices; i++)
	{
		Relation	index = relinfo->ri_IndexRelationDescs[i];

		if (index->rd_index->indisunique && index->rd_index->indisvalid && index->rd_index->indimmediate &&
			index->rd_index->indnkeyatts == 1 && index->rd_index->indkey.values[0] == key &&
			index->rd_rel->relam == BTREE_AM_OID && RelationGetIndexPredicate(index) == NIL)
			return index;
	}
	return NULL;
}

/* Can rows be looked up by their index? */
static bool
can_look_up(Relation table, const char *kind, const char *suffix)
{
	IndexRows  *rows = rows_open(RelationGetNamespace(table), kind, suffix, "key", ROWS_BY_KEY);

	if (rows != NULL)
		rows_close(rows);
	return rows != NULL;
}

/*
 * Prepares updates of profiles.kind_suffix, which the caller has opened, as for a statement
 * that writes one column; false if they have to be left to one.  In the current memory
 * context.
 */
bool
plain_update_open(PlainUpdate *update, Relation table, const char *kind, const char *suffix, AttrNumber key, AttrNumber changed)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	if (!is_plain(table) || !can_look_up(table, kind, suffix))
		return false;
	CheckCmdReplicaIdentity(table, CMD_UPDATE);

	update->table = table;
	update->kind = kind;
	update->suffix = suffix;
	update->changed = changed;
	update->estate = CreateExecutorState();
	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(table);
	rte->relkind = table->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	PROFILES_INIT_RANGE_TABLE(update->estate, rte, bms_make_singleton(changed - FirstLowInvalidHeapAttributeNumber));
	update->relinfo = makeNode(ResultRelInfo);
	InitResultRelInfo(update->relinfo, table, 1, NULL, 0);
	update->estate->es_opened_result_relations = lappend(update->estate->es_opened_result_relations, update->relinfo);
	ExecOpenIndices(update->relinfo, false);
	update->index = find_index(update->relinfo, key);
	if (update->index != NULL)
		return true;
	ExecCloseIndices(update->relinfo);
	FreeExecutorState(update->estate);
	return false;
}

/* From here on update->stored gives rows by key as they are now, and the active snapshot is ours. */
void
plain_update_begin(PlainUpdate *update)
{
	CommandCounterIncrement();
	update->estate->es_output_cid = GetCurrentCommandId(true);
	PushActiveSnapshot(GetTransactionSnapshot());
	update->stored = rows_open(RelationGetNamespace(update->table), update->kind, update->suffix, "key", ROWS_BY_KEY);
	if (update->stored == NULL)
		elog(ERROR, "table \"%s\" has no index by key", RelationGetRelationName(update->table));
	update->entries = index_entries_begin(update->relinfo, update->index, update->changed);
	update->new = MakeSingleTupleTableSlot(RelationGetDescr(update->table), &TTSOpsVirtual);
}

/*
 * Replaces the stored row by update->new, which has been filled in; false if somebody
 * else was faster.  recheck is for triggers.
 */
bool
plain_update_row(PlainUpdate *update, List **recheck)
{
	TM_FailureData failure;
	LockTupleMode lock_mode;
	PROFILES_UPDATE_INDEXES update_indexes;
	TM_Result	result;

	*recheck = NIL;
	update->new->tts_tableOid = RelationGetRelid(update->table);
	result = table_tuple_update(update->table, &update->stored->slot->tts_tid, update->new, update->estate->es_output_cid,
								GetActiveSnapshot(), InvalidSnapshot, true, &failure, &lock_mode, &update_indexes);
	if (result == TM_Updated || result == TM_Deleted)
		return false;
	if (result != TM_Ok)
		elog(ERROR, "could not update a row of \"%s\": %d", RelationGetRelationName(update->table), result);
	if (update->entries != NULL && PROFILES_ALL_INDEXES(update_indexes))
		index_entries_add(update->entries, update->new, update->estate);
	else if (PROFILES_ANY_INDEXES(update_indexes))
		*recheck = PROFILES_INSERT_INDEX_TUPLES(update->relinfo, update->new, update->estate, update_indexes);
	return true;
}

/* All entries of indexes are there then. */
void
plain_update_end(PlainUpdate *update)
{
	if (update->entries != NULL)
		index_entries_end(update->entries);
	rows_close(update->stored);
	ExecDropSingleTupleTableSlot(update->new);
}

/* After that, and triggers, if any. */
void
plain_update_close(PlainUpdate *update)
{
	PopActiveSnapshot();
	/* closes indexes, too */
	ExecCloseResultRelations(update->estate);
	ExecResetTupleTable(update->estate->es_tupleTable, false);
	FreeExecutorState(update->estate);
}
