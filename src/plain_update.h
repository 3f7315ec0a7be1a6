/*
 * plain_update.h
 *		Replaces rows of our own tables without a query.
 */
#ifndef PROFILES_PLAIN_UPDATE_H
#define PROFILES_PLAIN_UPDATE_H

#include "index_entries.h"
#include "nodes/execnodes.h"
#include "search.h"

typedef struct PlainUpdate
{
	Relation	table;			/* profiles.kind_suffix */
	const char *kind;
	const char *suffix;
	AttrNumber	changed;		/* the column that is written, beside those generated */
	EState	   *estate;
	ResultRelInfo *relinfo;
	Relation	index;			/* the unique one of the key */
	IndexRows  *stored;			/* rows as they are */
	IndexEntries *entries;		/* NULL: entries of indexes are left to the executor */
	TupleTableSlot *new;		/* a row as it is to be; virtual */
} PlainUpdate;

extern bool plain_update_open(PlainUpdate *update, Relation table, const char *kind, const char *suffix,
							  AttrNumber key, AttrNumber changed);
extern void plain_update_begin(PlainUpdate *update);
extern bool plain_update_row(PlainUpdate *update, List **recheck);
extern void plain_update_end(PlainUpdate *update);
extern void plain_update_close(PlainUpdate *update);

#endif							/* PROFILES_PLAIN_UPDATE_H */
