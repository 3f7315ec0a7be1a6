/*
 * text_length.c
 *		The order of texts by their length in bytes, then by their bytes.
 *
 * It is there for what the planner may conclude: in this order, where an integer n
 * stands before all texts of n bytes, "a text that equals 'gold'" is before 2000.
 * So a partial index over texts that are shorter serves conditions that name a
 * value, and no value is too long to be stored.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "compat.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(profiles_length_lt);
PG_FUNCTION_INFO_V1(profiles_length_le);
PG_FUNCTION_INFO_V1(profiles_length_gt);
PG_FUNCTION_INFO_V1(profiles_length_ge);
PG_FUNCTION_INFO_V1(profiles_length_cmp);
PG_FUNCTION_INFO_V1(profiles_shorter);
PG_FUNCTION_INFO_V1(profiles_longer);

/* Bytes of a text, which is not read for that. */
static int64
text_bytes(Datum value)
{
	return (int64) toast_raw_datum_size(value) - VARHDRSZ;
}

static int
compare(FunctionCallInfo fcinfo)
{
	int64		a_bytes = text_bytes(PG_GETARG_DATUM(0));
	int64		b_bytes = text_bytes(PG_GETARG_DATUM(1));
	text	   *a;
	text	   *b;
	int			result;

	if (a_bytes != b_bytes)
		return a_bytes < b_bytes ? -1 : 1;
	a = PG_GETARG_TEXT_PP(0);
	b = PG_GETARG_TEXT_PP(1);
	result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), a_bytes);
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
profiles_length_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

Datum
profiles_length_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

Datum
profiles_length_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

Datum
profiles_length_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

Datum
profiles_length_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

/* _shorter(value text, bytes integer) */
Datum
profiles_shorter(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(text_bytes(PG_GETARG_DATUM(0)) < PG_GETARG_INT32(1));
}

/* _longer(bytes integer, value text): is this length behind the text? */
Datum
profiles_longer(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_INT32(0) > text_bytes(PG_GETARG_DATUM(1)));
}
