/*
 * fold_query.h
 *		The query that folds a source's events.
 */
#ifndef PROFILES_FOLD_QUERY_H
#define PROFILES_FOLD_QUERY_H

#include "upkeep.h"

extern uint32 fold_longest_value(ProfilesFold *fold);
extern char *fold_query(ProfilesFold *fold, const char *from);

#endif							/* PROFILES_FOLD_QUERY_H */
