/*
 * import.h
 *		What reads of reference tables share.
 */
#ifndef PROFILES_IMPORT_H
#define PROFILES_IMPORT_H

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/relcache.h"

extern void import_read(FunctionCallInfo fcinfo, TupleDesc tupdesc, bool dry,
						void (*put) (TupleTableSlot *slot, void *put_to), void *put_to);
extern Relation import_open_table(FunctionCallInfo fcinfo, Oid relid, LOCKMODE mode);

#endif							/* PROFILES_IMPORT_H */
