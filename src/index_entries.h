/*
 * index_entries.h
 *		Index entries of many rows at a time.
 */
#ifndef PROFILES_INDEX_ENTRIES_H
#define PROFILES_INDEX_ENTRIES_H

#include "nodes/execnodes.h"

typedef struct IndexEntries IndexEntries;

extern IndexEntries *index_entries_begin(ResultRelInfo *relinfo, Relation kept, AttrNumber changed);
extern void index_entries_add(IndexEntries *entries, TupleTableSlot *row, EState *estate);
extern void index_entries_end(IndexEntries *entries);

#endif							/* PROFILES_INDEX_ENTRIES_H */
