/*
 * erased.h
 *		Keys that forget() has erased; see erased.c.
 */
#ifndef PROFILES_ERASED_H
#define PROFILES_ERASED_H

#include "profile.h"

typedef enum Erasure
{
	NOT_ERASED,
	FORGOTTEN,					/* what goes is not kept */
	BLOCKED						/* events are refused */
} Erasure;

typedef struct ErasedKeys ErasedKeys;

extern ErasedKeys *erased_begin(const char *kind, int32 source_id, bool keep);
extern Erasure erased_find(ErasedKeys *erased, Datum key);
extern bool erased_hides(ErasedKeys *erased, ProfileString example);
extern void erased_end(ErasedKeys *erased);

#endif							/* PROFILES_ERASED_H */
