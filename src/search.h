/*
 * search.h
 *		What the files that answer searches share.
 */
#ifndef PROFILES_SEARCH_H
#define PROFILES_SEARCH_H

#include "access/genam.h"
#include "access/relscan.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

/* search_rows.c: rows of our own tables by index, many at a time */
#define ROWS_AHEAD	256

typedef struct IndexRows
{
	Relation	table;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	struct IndexFetchTableData *fetch;
	TupleTableSlot *slot;		/* the row, until the next is asked for */
	Datum	   *keys;			/* whose rows; NULL: in the order of the index */
	ScanDirection direction;
	bool		ended;			/* the index has no more; asked again, it would begin anew */
	int			nkeys;
	int			asked;			/* of the keys, in full */
	bool		inside;			/* of a key not in full */
	int			key;			/* whose row this is */
	int			ahead;			/* how many rows to look up at once */
	int			n;				/* looked up */
	int			next;			/* of these */
	ItemPointerData tids[ROWS_AHEAD];
	int			of[ROWS_AHEAD];	/* keys */
} IndexRows;

typedef enum RowsBy
{
	ROWS_IN_ORDER,
	ROWS_BY_KEY,
	ROWS_BY_RANGE
} RowsBy;

extern IndexRows *rows_open(Oid namespace, const char *kind, const char *suffix, const char *column, RowsBy by);
extern void rows_of_keys(IndexRows *rows, Datum *keys, int nkeys);
extern void rows_of_range(IndexRows *rows, Datum from, Datum to);
extern void rows_newest(IndexRows *rows);
extern bool rows_next(IndexRows *rows);
extern bool rows_find(IndexRows *rows, Datum key);
extern void rows_close(IndexRows *rows);
extern bool rows_may_meet(IndexRows *rows, const char *index, Datum query);

/* search_statistics.c: how many have a word, about */
typedef struct Frequency
{
	double		people;			/* in name or e-mail */
	double		attributes;		/* but custom ones */
	double		imported;		/* in custom attributes */
} Frequency;

extern Frequency search_frequency(int kind, const char *word, int len, bool prefix);

#endif							/* PROFILES_SEARCH_H */
