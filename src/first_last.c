/*
 * first_last.c
 *		The aggregates first(value, at) and last(value, at).
 *
 * They give the value of the row with the smallest or greatest "at".  Rows with
 * equal "at" are put in a total order too, so that the result never depends on
 * the order of rows or the timing of parallel workers.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "profile.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(profile_first_transfn);
PG_FUNCTION_INFO_V1(profile_last_transfn);
PG_FUNCTION_INFO_V1(profile_first_combine);
PG_FUNCTION_INFO_V1(profile_last_combine);
PG_FUNCTION_INFO_V1(profile_bookend_finalfn);
PG_FUNCTION_INFO_V1(profile_bookend_serialize);
PG_FUNCTION_INFO_V1(profile_bookend_deserialize);

typedef struct BookendType
{
	Oid			type;
	int16		len;
	bool		byval;
	bool		sorts;			/* has a default btree order */
	FmgrInfo	compare;
	bool		is_row;			/* its bytes have a header that says where it was */
	FmgrInfo	compare_images;
} BookendType;

/* What a call site knows for the whole query; in fn_extra. */
typedef struct BookendCall
{
	BookendType value;
	BookendType at;
} BookendCall;

typedef struct BookendState
{
	Oid			value_type;		/* its types, for whoever only sees the state */
	Oid			at_type;
	bool		isnull;
	Datum		value;
	Datum		at;
} BookendState;

/* ---------- types ---------- */

static void
init_type(BookendType *type, Oid oid, MemoryContext context)
{
	TypeCacheEntry *entry = lookup_type_cache(oid, TYPECACHE_CMP_PROC);

	type->type = oid;
	get_typlenbyval(oid, &type->len, &type->byval);
	type->sorts = OidIsValid(entry->cmp_proc);
	if (type->sorts)
		fmgr_info_cxt(entry->cmp_proc, &type->compare, context);
	type->is_row = type_is_rowtype(oid);
	if (type->is_row)
		fmgr_info_cxt(F_BTRECORDIMAGECMP, &type->compare_images, context);
}

/* What this call site needs to know of the types of value and at. */
static BookendCall *
get_call(FunctionCallInfo fcinfo, Oid value_type, Oid at_type)
{
	BookendCall *call = fcinfo->flinfo->fn_extra;

	if (call != NULL && call->value.type == value_type && call->at.type == at_type)
		return call;
	call = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(BookendCall));
	init_type(&call->value, value_type, fcinfo->flinfo->fn_mcxt);
	init_type(&call->at, at_type, fcinfo->flinfo->fn_mcxt);
	if (!call->at.sorts)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify a comparison function for type %s",
						format_type_be(at_type)),
				 errhint("The second argument says which row is first and which is last, so its type must sort.")));
	fcinfo->flinfo->fn_extra = call;
	return call;
}

static BookendCall *
get_call_of_state(FunctionCallInfo fcinfo, const BookendState *state)
{
	return get_call(fcinfo, state->value_type, state->at_type);
}

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("support function of first or last called outside an aggregate")));
	return context;
}

/* ---------- order ---------- */

static ProfileString
datum_bytes(const BookendType *type, Datum *value)
{
	struct varlena *plain;

	if (type->byval)
		return profile_string((const char *) value, sizeof(Datum));
	if (type->len > 0)
		return profile_string(DatumGetPointer(*value), type->len);
	if (type->len == -2)
		return profile_string(DatumGetCString(*value), strlen(DatumGetCString(*value)));
	plain = PG_DETOAST_DATUM_PACKED(*value);
	return profile_string(VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
}

/*
 * Is a to be kept rather than b, if the end is the first (sign 1) or the last
 * (sign -1)?  Both have the same "at".
 */
static bool
tie_keeps(const BookendType *type, Oid collation, int sign,
		  BookendState *a, BookendState *b)
{
	int			c;

	if (a->isnull || b->isnull)
		return b->isnull;
	if (type->sorts)
	{
		/* without a collation of its own, any fixed one serves */
		c = DatumGetInt32(FunctionCall2Coll((FmgrInfo *) &type->compare,
											OidIsValid(collation) ? collation : C_COLLATION_OID,
											a->value, b->value));
		if (c != 0)
			return sign * c < 0;
	}
	if (type->is_row)
		return DatumGetInt32(FunctionCall2((FmgrInfo *) &type->compare_images,
										   a->value, b->value)) <= 0;
	return profile_string_cmp(datum_bytes(type, &a->value),
							  datum_bytes(type, &b->value)) <= 0;
}

static bool
keeps(BookendCall *call, Oid collation, int sign, BookendState *a, BookendState *b)
{
	int			c = DatumGetInt32(FunctionCall2Coll(&call->at.compare, collation,
													a->at, b->at));

	if (c != 0)
		return sign * c < 0;
	return tie_keeps(&call->value, collation, sign, a, b);
}

/* ---------- states ---------- */

static Datum
copy_datum(const BookendType *type, Datum value)
{
	if (type->len == -1)
		return PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	return datumCopy(value, type->byval, type->len);
}

static void
set_state(BookendCall *call, BookendState *state, const BookendState *row)
{
	state->value_type = call->value.type;
	state->at_type = call->at.type;
	state->isnull = row->isnull;
	state->value = row->isnull ? (Datum) 0 : copy_datum(&call->value, row->value);
	state->at = copy_datum(&call->at, row->at);
}

static void
free_state(BookendCall *call, BookendState *state)
{
	if (!call->value.byval && !state->isnull)
		pfree(DatumGetPointer(state->value));
	if (!call->at.byval)
		pfree(DatumGetPointer(state->at));
}

/* Folds a row into a state, which may be NULL, in the aggregate's context. */
static BookendState *
fold(BookendCall *call, Oid collation, int sign, MemoryContext context,
	 BookendState *state, BookendState *row)
{
	MemoryContext old;

	if (state != NULL && keeps(call, collation, sign, state, row))
		return state;
	old = MemoryContextSwitchTo(context);
	if (state == NULL)
		state = palloc(sizeof(BookendState));
	else
		free_state(call, state);
	set_state(call, state, row);
	MemoryContextSwitchTo(old);
	return state;
}

static Datum
transition(FunctionCallInfo fcinfo, int sign)
{
	MemoryContext context = aggregate_context(fcinfo);
	BookendState *state = PG_ARGISNULL(0) ? NULL : (BookendState *) PG_GETARG_POINTER(0);
	BookendCall *call;
	BookendState row;

	/* these need no look-up: the parser has put the types into the call */
	call = fcinfo->flinfo->fn_extra;
	if (call == NULL)
		call = get_call(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 1),
						get_fn_expr_argtype(fcinfo->flinfo, 2));

	if (!PG_ARGISNULL(2))
	{
		row.isnull = PG_ARGISNULL(1);
		row.value = row.isnull ? (Datum) 0 : PG_GETARG_DATUM(1);
		row.at = PG_GETARG_DATUM(2);
		state = fold(call, PG_GET_COLLATION(), sign, context, state, &row);
	}
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

static Datum
combine(FunctionCallInfo fcinfo, int sign)
{
	MemoryContext context = aggregate_context(fcinfo);
	BookendState *state = PG_ARGISNULL(0) ? NULL : (BookendState *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		BookendState *other = (BookendState *) PG_GETARG_POINTER(1);

		state = fold(get_call_of_state(fcinfo, other), PG_GET_COLLATION(), sign,
					 context, state, other);
	}
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

/* ---------- support functions ---------- */

Datum
profile_first_transfn(PG_FUNCTION_ARGS)
{
	return transition(fcinfo, 1);
}

Datum
profile_last_transfn(PG_FUNCTION_ARGS)
{
	return transition(fcinfo, -1);
}

Datum
profile_first_combine(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, 1);
}

Datum
profile_last_combine(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, -1);
}

Datum
profile_bookend_finalfn(PG_FUNCTION_ARGS)
{
	BookendState *state;
	int16		len;
	bool		byval;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (BookendState *) PG_GETARG_POINTER(0);
	if (state->isnull)
		PG_RETURN_NULL();
	get_typlenbyval(get_fn_expr_argtype(fcinfo->flinfo, 1), &len, &byval);
	PG_RETURN_DATUM(datumCopy(state->value, byval, len));
}

static void
serialize_datum(StringInfo buf, const BookendType *type, Datum value)
{
	Size		size;

	if (type->byval)
	{
		pq_sendint64(buf, (int64) value);
		return;
	}
	size = datumGetSize(value, false, type->len);
	pq_sendint32(buf, size);
	pq_sendbytes(buf, DatumGetPointer(value), size);
}

static Datum
deserialize_datum(StringInfo buf, const BookendType *type)
{
	int			size;
	char	   *bytes;

	if (type->byval)
		return (Datum) pq_getmsgint64(buf);
	size = pq_getmsgint(buf, 4);
	/* pq_getmsgbytes() checks that there are as many */
	bytes = memcpy(palloc(Max(size, 1)), pq_getmsgbytes(buf, size), size);
	if ((type->len > 0 && size != type->len) ||
		(type->len == -1 && (size < VARHDRSZ || VARSIZE_ANY(bytes) != (Size) size)) ||
		(type->len == -2 && (size < 1 || bytes[size - 1] != '\0')))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid state of first or last")));
	return PointerGetDatum(bytes);
}

Datum
profile_bookend_serialize(PG_FUNCTION_ARGS)
{
	BookendState *state = (BookendState *) PG_GETARG_POINTER(0);
	BookendCall *call;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	call = get_call_of_state(fcinfo, state);
	pq_begintypsend(&buf);
	pq_sendint32(&buf, state->value_type);
	pq_sendint32(&buf, state->at_type);
	pq_sendint8(&buf, state->isnull);
	serialize_datum(&buf, &call->at, state->at);
	if (!state->isnull)
		serialize_datum(&buf, &call->value, state->value);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
profile_bookend_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	BookendCall *call;
	BookendState *state = palloc0(sizeof(BookendState));
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	state->value_type = pq_getmsgint(&buf, 4);
	state->at_type = pq_getmsgint(&buf, 4);
	call = get_call_of_state(fcinfo, state);
	state->isnull = pq_getmsgbyte(&buf) != 0;
	state->at = deserialize_datum(&buf, &call->at);
	if (!state->isnull)
		state->value = deserialize_datum(&buf, &call->value);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}
