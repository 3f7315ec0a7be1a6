/*
 * screen.h
 *		Keeps back what must not be written of those who are erased.
 */
#ifndef PROFILES_SCREEN_H
#define PROFILES_SCREEN_H

#include "access/tupdesc.h"
#include "erased.h"
#include "utils/tuplestore.h"

/* Where folded rows go, but for what is kept back; who begins sets put and put_to. */
typedef struct Screen
{
	ErasedKeys *erased;
	bool		old;			/* are they old rows? */
	TupleDesc	tupdesc;		/* of folded rows */
	Tuplestorestate *kept_rows; /* new rows that are kept from the beginning; may be NULL */
	void		(*put) (void *put_to, Datum *values, bool *nulls);
	void	   *put_to;
} Screen;

extern bool screen_begin(Screen *screen, const char *kind, int32 source_id, bool keep, bool old, TupleDesc tupdesc);
extern void screen_put(void *put_to, Datum *values, bool *nulls);
extern Tuplestorestate *screen_store(Screen *screen, Tuplestorestate *rows);
extern void screen_end(Screen *screen);

#endif							/* PROFILES_SCREEN_H */
