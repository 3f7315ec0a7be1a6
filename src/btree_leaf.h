/*
 * btree_leaf.h
 *		Entries of a btree on the page where those of another key were.
 */
#ifndef PROFILES_BTREE_LEAF_H
#define PROFILES_BTREE_LEAF_H

#include "access/genam.h"
#include "access/nbtree.h"

extern BlockNumber btree_leaf_of(IndexScanDesc scan);
extern BTScanInsert btree_leaf_key(Relation index, Datum key);
extern int	btree_leaf_find(IndexScanDesc scan, Buffer buffer, BTScanInsert by, Datum key,
							ItemPointerData *rows, int most);

#endif							/* PROFILES_BTREE_LEAF_H */
