/*
 * profiles.c
 *		Module magic and settings.
 */
#include "postgres.h"

#include <limits.h>

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "upkeep.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

int			profiles_future_tolerance = SECS_PER_DAY;
int			profiles_pending_limit = 100000;

void
_PG_init(void)
{
	DefineCustomIntVariable("profiles.future_tolerance",
							"How far in the future an event's time may lie.",
							"Later events are held, and folded once they are due.",
							&profiles_future_tolerance,
							SECS_PER_DAY, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("profiles.pending_limit",
							"About how many pending rows a kind may have before a writer merges them.",
							"Only a writer that gets the lock at once does; -1 leaves it to refresh.",
							&profiles_pending_limit,
							100000, -1, INT_MAX,
							PGC_USERSET, 0,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("profiles");
}
