/*
 * compat.h
 *		Differences between the PostgreSQL versions that profiles supports.
 *
 * Every difference stands here once, with the version that made it and why we
 * care; no other file tests PG_VERSION_NUM.
 */
#ifndef PROFILES_COMPAT_H
#define PROFILES_COMPAT_H

#include "fmgr.h"
#include "nodes/nodes.h"

#if PG_VERSION_NUM < 150000
#error "profiles needs PostgreSQL 15 or later"
#endif

/* 16 moved the macros over variable-length values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * 16 brought soft errors for input functions.  Before, an input function can
 * only throw, so the soft forms become the hard ones.
 */
#if PG_VERSION_NUM < 160000
#define ereturn(context, dummy_value, ...) \
	do { (void) (context); ereport(ERROR, __VA_ARGS__); return dummy_value; } while (0)

static inline bool
DirectInputFunctionCallSafe(PGFunction func, char *str, Oid typioparam,
							int32 typmod, Node *escontext, Datum *result)
{
	(void) escontext;
	*result = DirectFunctionCall3(func, CStringGetDatum(str),
								  ObjectIdGetDatum(typioparam),
								  Int32GetDatum(typmod));
	return true;
}
#endif

/* 17 moved the local transaction id into a struct of its own. */
#if PG_VERSION_NUM >= 170000
#define PROFILES_MY_LXID (MyProc->vxid.lxid)
#else
#define PROFILES_MY_LXID (MyProc->lxid)
#endif

/* 16 moved the columns that a query reads from the range table to a list beside it. */
#if PG_VERSION_NUM >= 160000
#define PROFILES_SELECTED_COLUMNS(query, pstate, columns) \
	((query)->rteperminfos = (pstate)->p_rteperminfos, \
	 linitial_node(RTEPermissionInfo, (query)->rteperminfos)->selectedCols = (columns))
#else
#define PROFILES_SELECTED_COLUMNS(query, pstate, columns) \
	(linitial_node(RangeTblEntry, (query)->rtable)->selectedCols = (columns))
#endif

/* 16 replaced the checks of rights on each class of objects by one. */
#if PG_VERSION_NUM >= 160000
#define PROFILES_MAY_EXECUTE(function, role) \
	(object_aclcheck(ProcedureRelationId, (function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#else
#define PROFILES_MAY_EXECUTE(function, role) \
	(pg_proc_aclcheck((function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* And with them as whom a relation is read. */
#if PG_VERSION_NUM >= 160000
#define PROFILES_READ_AS(query, rte) (getRTEPermissionInfo((query)->rteperminfos, (rte))->checkAsUser)
#else
#define PROFILES_READ_AS(query, rte) ((rte)->checkAsUser)
#endif

/* 18 dropped the argument that says that a query is run once. */
#if PG_VERSION_NUM >= 180000
#define PROFILES_EXECUTOR_RUN(query) ExecutorRun((query), ForwardScanDirection, 0)
#else
#define PROFILES_EXECUTOR_RUN(query) ExecutorRun((query), ForwardScanDirection, 0, true)
#endif

/* 18 lets a scan count what it did. */
#if PG_VERSION_NUM >= 180000
#define PROFILES_INDEX_BEGINSCAN(table, index, snapshot, nkeys) index_beginscan((table), (index), (snapshot), NULL, (nkeys), 0)
#define PROFILES_INDEX_BEGINSCAN_BITMAP(index, snapshot, nkeys) index_beginscan_bitmap((index), (snapshot), NULL, (nkeys))
#else
#define PROFILES_INDEX_BEGINSCAN(table, index, snapshot, nkeys) index_beginscan((table), (index), (snapshot), (nkeys), 0)
#define PROFILES_INDEX_BEGINSCAN_BITMAP(index, snapshot, nkeys) index_beginscan_bitmap((index), (snapshot), (nkeys))
#endif

/* 16 lets the reader of qualified names report errors softly. */
#if PG_VERSION_NUM >= 160000
#define PROFILES_QUALIFIED_NAME_LIST(name) stringToQualifiedNameList((name), NULL)
#else
#define PROFILES_QUALIFIED_NAME_LIST(name) stringToQualifiedNameList(name)
#endif

/* 18 can leave room before a minimal tuple. */
#if PG_VERSION_NUM >= 180000
#define PROFILES_FORM_MINIMAL_TUPLE(desc, values, nulls) heap_form_minimal_tuple((desc), (values), (nulls), 0)
#else
#define PROFILES_FORM_MINIMAL_TUPLE(desc, values, nulls) heap_form_minimal_tuple((desc), (values), (nulls))
#endif

/* 16 moved what a statement changes out of the range table, 18 tells of pruning. */
#if PG_VERSION_NUM >= 180000
#define PROFILES_INIT_RANGE_TABLE(estate, rte, updated) \
	do { \
		List	   *infos_ = NIL; \
		addRTEPermissionInfo(&infos_, (rte))->updatedCols = (updated); \
		ExecInitRangeTable((estate), list_make1(rte), infos_, bms_make_singleton(1)); \
	} while (0)
#elif PG_VERSION_NUM >= 160000
#define PROFILES_INIT_RANGE_TABLE(estate, rte, updated) \
	do { \
		List	   *infos_ = NIL; \
		addRTEPermissionInfo(&infos_, (rte))->updatedCols = (updated); \
		ExecInitRangeTable((estate), list_make1(rte), infos_); \
	} while (0)
#else
#define PROFILES_INIT_RANGE_TABLE(estate, rte, updated) \
	((rte)->updatedCols = (updated), ExecInitRangeTable((estate), list_make1(rte)))
#endif

/* 16 can leave out all indexes but those that summarize. */
#if PG_VERSION_NUM >= 160000
#define PROFILES_UPDATE_INDEXES TU_UpdateIndexes
#define PROFILES_ANY_INDEXES(update) ((update) != TU_None)
#define PROFILES_ALL_INDEXES(update) ((update) == TU_All)
#define PROFILES_INSERT_INDEX_TUPLES(relinfo, slot, estate, update) \
	ExecInsertIndexTuples((relinfo), (slot), (estate), true, false, NULL, NIL, (update) == TU_Summarizing)
#else
#define PROFILES_UPDATE_INDEXES bool
#define PROFILES_ANY_INDEXES(update) (update)
#define PROFILES_ALL_INDEXES(update) (update)
#define PROFILES_INSERT_INDEX_TUPLES(relinfo, slot, estate, update) \
	ExecInsertIndexTuples((relinfo), (slot), (estate), true, false, NULL, NIL)
#endif

/* 18 says whether an index is read backwards, not by which operator. */
#if PG_VERSION_NUM >= 180000
#define PROFILES_SORT_AS_INDEX(index, descending, support) PrepareSortSupportFromIndexRel((index), (descending), (support))
#else
#define PROFILES_SORT_AS_INDEX(index, descending, support) \
	PrepareSortSupportFromIndexRel((index), (descending) ? BTGreaterStrategyNumber : BTLessStrategyNumber, (support))
#endif

/* 16 lets others look a setting up; before, all of them have to be looked through. */
#if PG_VERSION_NUM >= 160000
#define PROFILES_FIND_SETTING(setting, sought) ((setting) = find_option((sought), false, true, ERROR))
#else
#define PROFILES_FIND_SETTING(setting, sought) \
	do { \
		(setting) = NULL; \
		for (int i_ = GetNumConfigOptions() - 1; i_ >= 0 && (setting) == NULL; i_--) \
			if (strcmp(get_guc_variables()[i_]->name, (sought)) == 0) \
				(setting) = get_guc_variables()[i_]; \
	} while (0)
#endif

/* 16 counts the parts of an index that is made. */
#if PG_VERSION_NUM >= 160000
#define PROFILES_DEFINE_INDEX(table, statement) \
	DefineIndex((table), (statement), InvalidOid, InvalidOid, InvalidOid, -1, false, true, true, true, false)
#else
#define PROFILES_DEFINE_INDEX(table, statement) \
	DefineIndex((table), (statement), InvalidOid, InvalidOid, InvalidOid, false, true, true, true, false)
#endif

/* 18 says before a declaration, not behind it, that a function does not return. */
#if PG_VERSION_NUM >= 180000
#define PROFILES_NORETURN pg_noreturn
#else
#define PROFILES_NORETURN pg_attribute_noreturn()
#endif

/* Not a version but a compiler: asks for memory that is needed soon. */
#if defined(__GNUC__)
#define PROFILES_PREFETCH(address) __builtin_prefetch(address)
#else
#define PROFILES_PREFETCH(address) ((void) 0)
#endif

#endif							/* PROFILES_COMPAT_H */
