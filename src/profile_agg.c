/*
 * profile_agg.c
 *		The aggregate profile_agg(seen_at, name, value, ...).
 *
 * The names are resolved once per query where they are constants, and the rows
 * of a group go to a state of profile_fold.c.  Where the names change from row
 * to row, and in the combining half of a parallel plan, every step is a merge.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "profile.h"
#include "profile_fold.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(profile_transfn);
PG_FUNCTION_INFO_V1(profile_fold_transfn);
PG_FUNCTION_INFO_V1(profile_finalfn);
PG_FUNCTION_INFO_V1(profile_combine);
PG_FUNCTION_INFO_V1(profile_serialize);
PG_FUNCTION_INFO_V1(profile_deserialize);

/*
 * Arguments: state, seen_at, name, value, ...; or state, longest, seen_at, name,
 * value, ...  Functions are told where the pairs begin.
 */
#define FIRST_PAIR			2
#define FOLD_FIRST_PAIR		3

/* What a call site knows for the whole query; in fn_extra. */
typedef struct FoldCall
{
	int			first_pair;
	bool		is_array;		/* called with VARIADIC text[] */
	bool		names_constant;
	FoldShape  *shape;
	ProfileTextForm *forms;		/* of the arguments: name, value, name, ... */
	FoldRow		row;
	FunctionCallInfo fcinfo;	/* this row's */
	ProfileString *array_values;	/* by pair, where called with an array */
} FoldCall;

/* ---------- names ---------- */

static void
pairs_error(int nargs)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("profile_agg needs names and values in pairs"),
			 errdetail_plural("There is %d argument after seen_at.",
							  "There are %d arguments after seen_at.", nargs, nargs),
			 errhint("Write profile_agg(seen_at, 'name', value, 'name', value, ...).")));
}

static void
null_name_error(int pair)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("name of an attribute must not be NULL"),
			 errdetail("The name of pair %d is NULL.", pair + 1)));
}

/* The names of this row, from the arguments. */
static ProfileString *
argument_names(FunctionCallInfo fcinfo, FoldCall *call, int npairs)
{
	ProfileString *names = palloc(npairs * sizeof(ProfileString) + 1);

	for (int i = 0; i < npairs; i++)
	{
		int			arg = call->first_pair + 2 * i;

		if (PG_ARGISNULL(arg))
			null_name_error(i);
		names[i] = profile_text_of(&call->forms[2 * i], PG_GETARG_DATUM(arg));
	}
	return names;
}

/*
 * Are all names constants?  The call's own expression has stand-ins for the
 * arguments, so the aggregate is asked; a window function has none to ask.
 */
static bool
names_are_constant(FunctionCallInfo fcinfo, int first_pair, int npairs)
{
	Aggref	   *aggref = AggGetAggref(fcinfo);

	if (aggref == NULL)
		return false;
	for (int i = 0; i < npairs; i++)
	{
		/* the aggregate's arguments lack the state */
		TargetEntry *entry = list_nth_node(TargetEntry, aggref->args,
										   first_pair + 2 * i - 1);
		Expr	   *expr = entry->expr;

		if (!IsA(expr, Const) &&
			!(IsA(expr, Param) && ((Param *) expr)->paramkind == PARAM_EXTERN))
			return false;
	}
	return true;
}

/* ---------- this row ---------- */

/* One row's pairs where the call is VARIADIC text[]. */
typedef struct RowArray
{
	int			npairs;
	ProfileString *names;
	ProfileString *values;		/* by pair */
} RowArray;

static RowArray
read_array(FunctionCallInfo fcinfo, int first_pair)
{
	RowArray	row;
	Datum	   *elements;
	bool	   *nulls;
	int			n = 0;

	if (PG_ARGISNULL(first_pair))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array of names and values must not be NULL")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(first_pair), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &n);
	if (n % 2 != 0)
		pairs_error(n);
	row.npairs = n / 2;
	row.names = palloc(n * sizeof(ProfileString) + 1);
	row.values = row.names + row.npairs;
	for (int i = 0; i < n; i++)
	{
		ProfileString s = {NULL, 0};

		if (!nulls[i])
			s = profile_string(VARDATA_ANY(DatumGetPointer(elements[i])),
							   VARSIZE_ANY_EXHDR(DatumGetPointer(elements[i])));
		else if (i % 2 == 0)
			null_name_error(i / 2);
		if (i % 2 == 0)
			row.names[i / 2] = s;
		else
			row.values[i / 2] = s;
	}
	return row;
}

/*
 * Are the pairs in an array?  A window function's call does not tell that it is
 * variadic, but an array alone can be nothing else: values come in pairs.
 */
static bool
is_array_call(FunctionCallInfo fcinfo, int first_pair)
{
	return get_fn_expr_variadic(fcinfo->flinfo) ||
		(PG_NARGS() == first_pair + 1 &&
		 get_fn_expr_argtype(fcinfo->flinfo, first_pair) == TEXTARRAYOID);
}

/* Readers of a row's values. */
static ProfileString
read_argument(FoldRow *row, int attribute)
{
	FoldCall   *call = row->source;
	FunctionCallInfo fcinfo = call->fcinfo;
	int			pair = row->shape->pairs[attribute];
	int			arg = call->first_pair + 2 * pair + 1;

	return PG_ARGISNULL(arg) ? profile_string(NULL, 0)
		: profile_text_of(&call->forms[2 * pair + 1], PG_GETARG_DATUM(arg));
}

static ProfileString
read_element(FoldRow *row, int attribute)
{
	return ((FoldCall *) row->source)->array_values[row->shape->pairs[attribute]];
}

/* Sets up what a call site needs for the whole query. */
static FoldCall *
init_call(FunctionCallInfo fcinfo, int first_pair)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);
	FoldCall   *call = palloc0(sizeof(FoldCall));
	ProfileString *names;
	int			npairs;

	call->first_pair = first_pair;
	call->is_array = is_array_call(fcinfo, first_pair);
	if (call->is_array)
	{
		RowArray	row;

		if (get_fn_expr_argtype(flinfo, first_pair) != TEXTARRAYOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("VARIADIC argument of profile_agg must be of type text[]")));
		row = read_array(fcinfo, first_pair);
		npairs = row.npairs;
		names = row.names;
	}
	else
	{
		int			nargs = PG_NARGS() - first_pair;

		npairs = nargs / 2;
		call->forms = palloc(nargs * sizeof(ProfileTextForm) + 1);
		for (int i = 0; i < nargs; i++)
			profile_text_form_init(&call->forms[i],
								   get_fn_expr_argtype(flinfo, first_pair + i),
								   flinfo->fn_mcxt);
		names = argument_names(fcinfo, call, npairs);
		call->names_constant = names_are_constant(fcinfo, first_pair, npairs);
	}
	call->shape = profile_fold_shape(names, npairs);
	profile_fold_init_row(&call->row, call->shape,
						  call->is_array ? read_element : read_argument, call);
	MemoryContextSwitchTo(old);
	flinfo->fn_extra = call;
	return call;
}

/* ---------- support functions ---------- */

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("support function of profile_agg called outside an aggregate")));
	return context;
}

static Datum
fold_row(FunctionCallInfo fcinfo, int first_pair, uint32 longest)
{
	MemoryContext context = aggregate_context(fcinfo);
	FoldState  *state = PG_ARGISNULL(0) ? NULL : (FoldState *) PG_GETARG_POINTER(0);
	FoldCall   *call = fcinfo->flinfo->fn_extra;
	FoldShape  *shape;
	TimestampTz at;

	if (call == NULL && !is_array_call(fcinfo, first_pair) &&
		(PG_NARGS() - first_pair) % 2 != 0)
		pairs_error(PG_NARGS() - first_pair);
	/* what a row that is left out says does not matter, its names included */
	if (PG_ARGISNULL(first_pair - 1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (call == NULL)
		call = init_call(fcinfo, first_pair);
	call->row.longest = longest;
	at = PG_GETARG_TIMESTAMPTZ(first_pair - 1);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("time of an event must be finite"),
				 errhint("Leave such rows out, for example with FILTER (WHERE isfinite(seen_at)).")));

	call->fcinfo = fcinfo;
	shape = call->shape;
	if (call->is_array)
	{
		RowArray	array = read_array(fcinfo, first_pair);

		call->array_values = array.values;
		if (!profile_fold_same_names(shape, array.names, array.npairs))
			shape = profile_fold_shape(array.names, array.npairs);
	}
	else if (!call->names_constant)
	{
		ProfileString *names = argument_names(fcinfo, call, shape->nattributes);

		if (!profile_fold_same_names(shape, names, shape->nattributes))
			shape = profile_fold_shape(names, shape->nattributes);
	}

	if (shape != call->shape)
	{
		FoldRow		row;

		profile_fold_init_row(&row, shape, call->row.reader, call);
		row.longest = longest;
		PG_RETURN_POINTER(profile_fold_merge_event(context, state, &row, at));
	}
	if (state != NULL && state->profile != NULL)
		PG_RETURN_POINTER(profile_fold_merge_event(context, state, &call->row, at));
	if (state == NULL)
		state = profile_fold_new(context, shape, at);
	PG_RETURN_POINTER(profile_fold_event(state, &call->row, at));
}

Datum
profile_transfn(PG_FUNCTION_ARGS)
{
	return fold_row(fcinfo, FIRST_PAIR, PG_UINT32_MAX);
}

/* The same for events of a source: so many bytes of a value count. */
Datum
profile_fold_transfn(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) <= 0)
		elog(ERROR, "values of no bytes can't be folded");
	return fold_row(fcinfo, FOLD_FIRST_PAIR, (uint32) PG_GETARG_INT32(1));
}

Datum
profile_finalfn(PG_FUNCTION_ARGS)
{
	ProfileContent content;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	profile_fold_content((FoldState *) PG_GETARG_POINTER(0), &content);
	PG_RETURN_POINTER(profile_build(&content));
}

Datum
profile_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	FoldState  *mine = PG_ARGISNULL(0) ? NULL : (FoldState *) PG_GETARG_POINTER(0);
	ProfileContent theirs;
	ProfileContent before;
	ProfileContent merged;

	if (PG_ARGISNULL(1))
	{
		if (mine == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(mine);
	}
	profile_fold_content((FoldState *) PG_GETARG_POINTER(1), &theirs);
	if (mine == NULL)
		PG_RETURN_POINTER(profile_fold_of(context, NULL, &theirs));
	profile_fold_content(mine, &before);
	profile_merge(&before, &theirs, &merged);
	PG_RETURN_POINTER(profile_fold_of(context, mine, &merged));
}

/* The serialized state is the bytes of the profile. */
Datum
profile_serialize(PG_FUNCTION_ARGS)
{
	ProfileContent content;

	(void) aggregate_context(fcinfo);
	profile_fold_content((FoldState *) PG_GETARG_POINTER(0), &content);
	PG_RETURN_BYTEA_P(profile_build(&content));
}

Datum
profile_deserialize(PG_FUNCTION_ARGS)
{
	struct varlena *bytes = PG_GETARG_VARLENA_PP(0);
	ProfileContent content;
	const char *problem;
	FoldState  *state;

	(void) aggregate_context(fcinfo);
	problem = profile_decode(bytes, &content);
	if (problem == NULL)
		problem = profile_check(&content);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid state of profile_agg"),
				 errdetail_internal("%s", problem)));
	/* building anew makes the bytes canonical, whatever they were */
	state = profile_fold_of(CurrentMemoryContext, NULL, &content);
	PG_RETURN_POINTER(state);
}
