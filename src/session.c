/*
 * session.c
 *		What the views of events and sessions compute in C.
 *
 * Where a source knows no sessions, one user's events are cut into such.  A new session begins after a gap of more than 15 minutes, or 4 hours after
 * the session's start.  The second rule depends on where the session began, so
 * it is a fold over the events in the order of time: an aggregate, used as a
 * window function by the view sessions and by drill-down.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "upkeep.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(profiles_detoasted);
PG_FUNCTION_INFO_V1(profiles_latest_time);
PG_FUNCTION_INFO_V1(profiles_session_start_transfn);
PG_FUNCTION_INFO_V1(profiles_session_start_finalfn);

#define SESSION_GAP		(15 * USECS_PER_MINUTE)
#define SESSION_LENGTH	(4 * USECS_PER_HOUR)

typedef struct SessionState
{
	TimestampTz start;			/* of the session that is open */
	TimestampTz last;			/* event */
} SessionState;

/* (internal, timestamptz) -> internal; times must not fall */
Datum
profiles_session_start_transfn(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	SessionState *state;
	TimestampTz at;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "profiles_session_start_transfn called outside an aggregate");
	state = PG_ARGISNULL(0) ? NULL : (SessionState *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	at = PG_GETARG_TIMESTAMPTZ(1);
	if (state == NULL)
	{
		state = MemoryContextAlloc(context, sizeof(SessionState));
		state->start = at;
	}
	else if (at - state->last > SESSION_GAP || at - state->start >= SESSION_LENGTH)
		state->start = at;
	state->last = at;
	PG_RETURN_POINTER(state);
}

/* (internal) -> timestamptz: the start of the session that the last event is in */
Datum
profiles_session_start_finalfn(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(((SessionState *) PG_GETARG_POINTER(0))->start);
}

/* _latest_time(): the time up to which events count now, as in a fold */
Datum
profiles_latest_time(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(GetCurrentTransactionStartTimestamp() +
						  (int64) profiles_future_tolerance * USECS_PER_SEC);
}

/* _detoasted(jsonb): the value itself; functions over it need not detoast it again */
Datum
profiles_detoasted(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(PG_DETOAST_DATUM(PG_GETARG_DATUM(0)));
}
