/*
 * words_gather.h
 *		Gathers the words of many rows, and puts them in a GIN index.
 */
#ifndef PROFILES_WORDS_GATHER_H
#define PROFILES_WORDS_GATHER_H

#include "postgres.h"

#include "access/gin_private.h"
#include "utils/relcache.h"

typedef struct GatheredWords GatheredWords;

extern bool words_gather_can(Relation index);
extern GatheredWords *words_gather_begin(Relation index, GinStatsData *stats, Size most);
extern void words_gather_row(GatheredWords *words, ItemPointer place, Datum value, bool isnull);
extern void words_gather_put(GatheredWords *words);
extern void words_gather_end(GatheredWords *words);

#endif							/* PROFILES_WORDS_GATHER_H */
