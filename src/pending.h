/*
 * pending.h
 *		Appends what was captured to the pending tables of a kind.
 */
#ifndef PROFILES_PENDING_H
#define PROFILES_PENDING_H

#include "postgres.h"

/* Columns of a folded row. */
enum
{
	FOLDED_KEY,
	FOLDED_LEFT_OUT,
	FOLDED_PROFILE,
	FOLDED_EVENTS,
	FOLDED_EXAMPLE,
	FOLDED_COLUMNS
};

typedef struct PendingWriter PendingWriter;

extern PendingWriter *pending_begin(int kind, int32 source_id);
extern void pending_put(void *put_to, Datum *folded, bool *folded_nulls);
extern void pending_end(PendingWriter *writer);

#endif							/* PROFILES_PENDING_H */
