/*
 * words_build.c
 *		Makes a GIN index of words faster than GIN does.
 *
 * To build an index GIN looks each word of each row up in a balanced tree, which takes half
 * of the time.  Here words are gathered otherwise (words_gather.c).
 *
 * For operator classes that know words apart by their bytes, of indexes of one column.
 */
#include "postgres.h"

#include "access/gin_private.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "parser/parse_utilcmd.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "words_gather.h"

PG_FUNCTION_INFO_V1(profiles_build_words_index);

typedef struct Build
{
	GatheredWords *words;
	double		rows;
} Build;

static void
gather_row(Relation index, ItemPointer place, Datum *values, bool *isnull, bool alive, void *state)
{
	Build	   *build = state;

	build->rows++;
	words_gather_row(build->words, place, values[0], isnull[0]);
}

/* As an access method's ambuild. */
static IndexBuildResult *
build_index(Relation heap, Relation index, IndexInfo *info)
{
	Build		build = {0};
	GinStatsData stats = {0};
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	Buffer		meta;
	Buffer		root;

	if (RelationGetNumberOfBlocks(index) != 0 || IndexRelationGetNumberOfAttributes(index) != 1)
		elog(ERROR, "the index is not an empty one of one column");
	meta = GinNewBuffer(index);
	root = GinNewBuffer(index);
	START_CRIT_SECTION();
	GinInitMetabuffer(meta);
	MarkBufferDirty(meta);
	GinInitBuffer(root, GIN_LEAF);
	MarkBufferDirty(root);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(meta);
	UnlockReleaseBuffer(root);
	stats.nEntryPages = 1;

	build.words = words_gather_begin(index, &stats, maintenance_work_mem * (Size) 1024);
	result->heap_tuples = table_index_build_scan(heap, index, info, false, false, gather_row, &build, NULL);
	words_gather_end(build.words);
	result->index_tuples = build.rows;

	stats.nTotalPages = RelationGetNumberOfBlocks(index);
	ginUpdateStats(index, &stats, true);
	/* until now nothing was logged */
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(index), true);
	return result;
}

/* A plain CREATE INDEX ... USING gin. */
static IndexStmt *
parse_definition(const char *sql)
{
	List	   *statements = pg_parse_query(sql);
	IndexStmt  *statement = list_length(statements) == 1 ? (IndexStmt *) linitial_node(RawStmt, statements)->stmt : NULL;

	if (statement == NULL || !IsA(statement, IndexStmt) || strcmp(statement->accessMethod, "gin") != 0 || statement->concurrent)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" does not define a GIN index", sql)));
	return statement;
}

/* _build_index(definition text): CREATE INDEX */
Datum
profiles_build_words_index(PG_FUNCTION_ARGS)
{
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	IndexStmt  *statement = parse_definition(sql);
	Oid			table = RangeVarGetRelidExtended(statement->relation, ShareLock, 0, RangeVarCallbackOwnsRelation, NULL);
	Oid			made;
	Relation	heap;
	Relation	index;
	IndexAmRoutine *gin;
	IndexAmRoutine routine;

	if (get_rel_relkind(table) != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", statement->relation->relname)));
	made = PROFILES_DEFINE_INDEX(table, transformIndexStmt(table, statement, sql)).objectId;
	CommandCounterIncrement();
	heap = table_open(table, NoLock);
	index = index_open(made, AccessExclusiveLock);
	gin = index->rd_indam;
	routine = *gin;
	routine.ambuild = build_index;
	index->rd_indam = &routine;
	PG_TRY();
	{
		index_build(heap, index, BuildIndexInfo(index), false, false);
	}
	PG_FINALLY();
	{
		index->rd_indam = gin;
	}
	PG_END_TRY();
	index_close(index, NoLock);
	table_close(heap, NoLock);
	PG_RETURN_VOID();
}
