/*
 * event_rows.h
 *		The rows of events that are folded without a query, one at hand at a time.
 */
#ifndef PROFILES_EVENT_ROWS_H
#define PROFILES_EVENT_ROWS_H

#include "access/relscan.h"
#include "access/tupconvert.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "profile.h"
#include "profile_fold.h"
#include "text_node.h"
#include "upkeep.h"
#include "utils/snapshot.h"

typedef struct Prepared Prepared;
typedef struct Evaluator Evaluator;
typedef struct Part Part;

/* What is prepared once for a source and kind. */
struct DirectFold
{
	Prepared   *key;
	Prepared   *seen_at;
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

/*
 * Where a row is: in the part's number and its TID, or the address of a tuple in
 * memory.  Their order is that in which rows are stored.
 */
typedef uint64 RowPlace;

typedef struct EventRows
{
	ProfilesFold *fold;
	DirectFold *direct;
	MemoryContext context;		/* that they were opened in */
	TimestampTz limit;			/* later events are held */

	TupleDesc	tupdesc;		/* of the source's relation */
	int			nparts;			/* the tables that are read, */
	Part	   *parts;
	int			part;			/* the one being scanned, */
	TableScanDesc scan;
	Snapshot	snapshot;
	TupleTableSlot *row_slot;	/* or the statement's rows */
	TupleConversionMap *row_map;
	int			pointer;		/* to them */
	bool		has_chunk;
	uint64		nchunk;			/* a chunk of them, as many as are read together: */
	MinimalTuple *chunk;		/* copies; NULL: all are in memory as they are */
	uint64		chunk_size;
	uint64		chunk_next;
	MemoryContext chunk_context;
	RowPlace	before;			/* of the row before */

	TupleTableSlot *stored;		/* the row at hand, as it is stored */
	TupleTableSlot *converted;	/* in the source's form, if that is another */
	TextRow		text_row;		/* in the source's form */

	ExprContext *econtext;		/* its memory lasts as long as the row at hand */
	Evaluator  *key;
	Evaluator  *seen_at;
	Evaluator  *filters;
	Evaluator  *attributes;
	FoldRow		row;			/* the row at hand, to be folded */
	AttrNumber	columns;		/* as many of them are asked for */
} EventRows;

/* The row at hand as an event of a subject. */
typedef struct Event
{
	ProfileString key;			/* lasts as long as the row */
	TimestampTz at;
	const char *left_out;		/* why it does not count; NULL: it does, or will */
	bool		held;			/* its time has not come yet */
} Event;

/* Where the row at hand is. */
static inline RowPlace
event_rows_place(EventRows *rows)
{
	ItemPointer tid = &rows->stored->tts_tid;
	bool		copied;

	if (rows->fold->rows != NULL)
		return (RowPlace) (uintptr_t) ExecFetchSlotMinimalTuple(rows->stored, &copied);
	return ((RowPlace) rows->part << 48) | ((RowPlace) ItemPointerGetBlockNumberNoCheck(tid) << 16) |
		ItemPointerGetOffsetNumberNoCheck(tid);
}

/* How many rows of a statement are read together. */
static inline uint64
event_rows_in_chunk(EventRows *rows)
{
	return rows->nchunk;
}

extern DirectFold *event_rows_prepare(SourceDefinition *source, const char *kind);
extern bool event_rows_are_readable(ProfilesFold *fold);
extern void event_rows_open(EventRows *rows, ProfilesFold *fold, DirectFold *direct, TimestampTz limit);
extern void event_rows_close(EventRows *rows);
extern bool event_rows_next_chunk(EventRows *rows);
extern void event_rows_rewind(EventRows *rows);
extern bool event_rows_next(EventRows *rows);
extern void event_rows_fetch(EventRows *rows, RowPlace place);
extern void event_rows_fetch_too(EventRows *rows, RowPlace place);
extern bool event_rows_counts(EventRows *rows, Event *event);
extern bool event_rows_knows(EventRows *rows, int group);
extern void event_rows_read(EventRows *rows, ProfileString *values);

#endif							/* PROFILES_EVENT_ROWS_H */
