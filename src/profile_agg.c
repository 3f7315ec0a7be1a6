/*
 * profile_agg.c
 *		The aggregate profile_agg(seen_at, name, value, ...).
 *
 * A group's state is one block.  It holds images of the events that are some
 * group's evidence, usually two: the newest and the oldest.  A row is looked at
 * only as far as needed: one whose time lies between the evidence of all known
 * attribute groups changes nothing, and its values are not even made text.  The
 * names are resolved once per query.
 *
 * Where the names change from row to row, and in the combining half of a
 * parallel plan, the state is the bytes of a profile and every step is
 * profile_merge().  Both forms decide by profile_evidence_cmp() and end in
 * profile_build().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "profile.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(profile_transfn);
PG_FUNCTION_INFO_V1(profile_finalfn);
PG_FUNCTION_INFO_V1(profile_combine);
PG_FUNCTION_INFO_V1(profile_serialize);
PG_FUNCTION_INFO_V1(profile_deserialize);

#define FIRST_PAIR		2		/* arguments: state, seen_at, name, value, ... */

/* The attributes that one call of the aggregate names, in byte order. */
typedef struct FoldShape
{
	int			nattributes;
	int			ngroups;
	int			session;		/* which attribute is the session; -1: none */
	ProfileString *names;
	int		   *pairs;			/* which pair each comes from */
	int		   *starts;			/* first attribute of each group, and the end */
	ProfileString *by_pair;		/* the names in the order of the pairs */
} FoldShape;

/* What a call site knows for the whole query; in fn_extra. */
typedef struct FoldCall
{
	bool		is_array;		/* called with VARIADIC text[] */
	bool		names_constant;
	FoldShape  *shape;
	ProfileTextForm *forms;		/* of the arguments: name, value, name, ... */
	ProfileString *values;		/* this row's values, by attribute */
	ProfileString *scratch;		/* an image's values, by attribute */
	bool	   *known;			/* is this row's value not NULL, by attribute */
	uint8	   *wins;			/* which ends this row wins, by group */
} FoldCall;

#define WINS_FIRST		0x01
#define WINS_LAST		0x02

/* An event that is evidence for some group; its values' bytes follow lens. */
typedef struct FoldImage
{
	TimestampTz at;
	uint32		size;			/* of all, MAXALIGNed; capacity once dead */
	uint32		nrefs;			/* ends of groups that it is evidence for */
	uint32		lens[FLEXIBLE_ARRAY_MEMBER];	/* length + 1; 0: NULL */
} FoldImage;

typedef struct FoldState
{
	struct varlena *profile;	/* set: the state is this, and nothing below */
	const FoldShape *shape;
	TimestampTz first_seen;
	TimestampTz last_seen;
	TimestampTz settled_from;	/* strictly between these, no known group */
	TimestampTz settled_to;		/* changes */
	int			nunknown;		/* groups without evidence */
	uint32		size;
	uint32		used;
	uint32		spare;			/* a dead image to be used again; 0: none */
	uint32		evidence[FLEXIBLE_ARRAY_MEMBER];	/* images as offsets: first
													 * and last of each group;
													 * 0: unknown */
} FoldState;

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

static int
compare_names(const void *a, const void *b, void *names)
{
	return profile_string_cmp(((ProfileString *) names)[*(const int *) a],
							  ((ProfileString *) names)[*(const int *) b]);
}

/* Checks and sorts names; everything is copied to the current context. */
static FoldShape *
make_shape(const ProfileString *names, int n)
{
	FoldShape  *shape = palloc(sizeof(FoldShape));

	if (n > PROFILE_MAX_ATTRIBUTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a profile can have at most %d attributes",
						PROFILE_MAX_ATTRIBUTES)));

	shape->nattributes = n;
	shape->session = -1;
	shape->names = palloc(n * sizeof(ProfileString) + 1);
	shape->by_pair = palloc(n * sizeof(ProfileString) + 1);
	shape->pairs = palloc(n * sizeof(int) + 1);
	shape->starts = palloc((n + 1) * sizeof(int));
	for (int i = 0; i < n; i++)
	{
		char	   *copy = pnstrdup(names[i].data, names[i].len);

		if (!profile_name_is_valid(copy, names[i].len))
			profile_name_error(copy);
		shape->by_pair[i] = profile_string(copy, names[i].len);
		shape->pairs[i] = i;
	}
	qsort_arg(shape->pairs, n, sizeof(int), compare_names, shape->by_pair);

	shape->ngroups = 0;
	for (int i = 0; i < n; i++)
	{
		shape->names[i] = shape->by_pair[shape->pairs[i]];
		if (i > 0 && profile_string_eq(shape->names[i - 1], shape->names[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("attribute \"%s\" is given twice", shape->names[i].data),
					 errhint("Give each name once; combine its values with coalesce().")));
		if (profile_is_session(shape->names[i]))
			shape->session = i;
		if (i == 0 || profile_group_cmp(shape->names[i - 1], shape->names[i]) != 0)
			shape->starts[shape->ngroups++] = i;
	}
	shape->starts[shape->ngroups] = n;
	return shape;
}

/* Is this row's i-th name the one that the shape was made for? */
static bool
same_names(const FoldShape *shape, const ProfileString *names, int n)
{
	if (n != shape->nattributes)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (!profile_string_eq(shape->by_pair[i], names[i]))
			return false;
	}
	return true;
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
		int			arg = FIRST_PAIR + 2 * i;

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
names_are_constant(FunctionCallInfo fcinfo, int npairs)
{
	Aggref	   *aggref = AggGetAggref(fcinfo);

	if (aggref == NULL)
		return false;
	for (int i = 0; i < npairs; i++)
	{
		/* the aggregate's arguments lack the state */
		TargetEntry *entry = list_nth_node(TargetEntry, aggref->args,
										   FIRST_PAIR + 2 * i - 1);
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
read_array(FunctionCallInfo fcinfo)
{
	RowArray	row;
	Datum	   *elements;
	bool	   *nulls;
	int			n = 0;

	if (PG_ARGISNULL(FIRST_PAIR))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array of names and values must not be NULL")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(FIRST_PAIR), TEXTOID, -1, false,
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
is_array_call(FunctionCallInfo fcinfo)
{
	return get_fn_expr_variadic(fcinfo->flinfo) ||
		(PG_NARGS() == FIRST_PAIR + 1 &&
		 get_fn_expr_argtype(fcinfo->flinfo, FIRST_PAIR) == TEXTARRAYOID);
}

/* Sets up what a call site needs for the whole query. */
static FoldCall *
init_call(FunctionCallInfo fcinfo)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);
	FoldCall   *call = palloc0(sizeof(FoldCall));
	ProfileString *names;
	int			npairs;

	call->is_array = is_array_call(fcinfo);
	if (call->is_array)
	{
		RowArray	row;

		if (get_fn_expr_argtype(flinfo, FIRST_PAIR) != TEXTARRAYOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("VARIADIC argument of profile_agg must be of type text[]")));
		row = read_array(fcinfo);
		npairs = row.npairs;
		names = row.names;
	}
	else
	{
		int			nargs = PG_NARGS() - FIRST_PAIR;

		npairs = nargs / 2;
		call->forms = palloc(nargs * sizeof(ProfileTextForm) + 1);
		for (int i = 0; i < nargs; i++)
			profile_text_form_init(&call->forms[i],
								   get_fn_expr_argtype(flinfo, FIRST_PAIR + i),
								   flinfo->fn_mcxt);
		names = argument_names(fcinfo, call, npairs);
		call->names_constant = names_are_constant(fcinfo, npairs);
	}
	call->shape = make_shape(names, npairs);
	call->values = palloc(2 * npairs * sizeof(ProfileString) + 1);
	call->scratch = call->values + npairs;
	call->known = palloc(npairs * sizeof(bool) + 1);
	call->wins = palloc(npairs * sizeof(uint8) + 1);
	MemoryContextSwitchTo(old);
	flinfo->fn_extra = call;
	return call;
}

/* Makes text of this row's values; those that are NULL get data = NULL. */
static void
read_values(FunctionCallInfo fcinfo, FoldCall *call, const FoldShape *shape,
			ProfileString *values)
{
	for (int i = 0; i < shape->nattributes; i++)
	{
		int			pair = shape->pairs[i];
		int			arg = FIRST_PAIR + 2 * pair + 1;

		values[i] = PG_ARGISNULL(arg) ? profile_string(NULL, 0)
			: profile_text_of(&call->forms[2 * pair + 1], PG_GETARG_DATUM(arg));
	}
}

/* ---------- images ---------- */

static inline FoldImage *
image_at(const FoldState *state, uint32 offset)
{
	return (FoldImage *) ((char *) state + offset);
}

static inline uint32
state_header_size(const FoldShape *shape)
{
	return MAXALIGN(offsetof(FoldState, evidence) + 2 * shape->ngroups * sizeof(uint32));
}

/* Points values, one per attribute of the shape, into an image. */
static void
image_values(const FoldShape *shape, const FoldImage *image, ProfileString *values)
{
	const char *data = (const char *) &image->lens[shape->nattributes];

	for (int i = 0; i < shape->nattributes; i++)
	{
		if (image->lens[i] == 0)
			values[i] = profile_string(NULL, 0);
		else
		{
			values[i] = profile_string(data, image->lens[i] - 1);
			data += image->lens[i] - 1;
		}
	}
}

static ProfileEvidence
evidence_of(const FoldShape *shape, TimestampTz at, ProfileString *values, int group)
{
	ProfileEvidence e;

	e.at = at;
	e.session = shape->session >= 0 ? values[shape->session] : profile_string(NULL, 0);
	e.values = values + shape->starts[group];
	return e;
}

static void
too_large_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("profile is too large"),
			 errdetail("The values of its events have more than %d bytes.",
					   PROFILE_MAX_SIZE),
			 errhint("Shorten the longest attributes, for example with left(value, 1000).")));
}

/*
 * A larger state with the images that are still evidence, and room for one
 * more; the old state is freed.
 */
static FoldState *
grow_state(FoldState *old, uint32 room)
{
	uint32		header = state_header_size(old->shape);
	uint64		size = header + room;
	FoldState  *state;

	for (uint32 offset = header; offset < old->used; offset += image_at(old, offset)->size)
	{
		if (image_at(old, offset)->nrefs > 0)
			size += image_at(old, offset)->size;
	}
	/* images are reused in place, so a little slack goes a long way */
	size += room / 4 + 64;
	if (size > 4 * (uint64) PROFILE_MAX_SIZE)
		too_large_error();

	state = MemoryContextAlloc(GetMemoryChunkContext(old), size);
	memcpy(state, old, header);
	state->size = size;
	state->used = header;
	state->spare = 0;
	for (uint32 offset = header; offset < old->used; offset += image_at(old, offset)->size)
	{
		FoldImage  *image = image_at(old, offset);

		if (image->nrefs == 0)
			continue;
		memcpy((char *) state + state->used, image, image->size);
		for (int i = 0; i < 2 * old->shape->ngroups; i++)
		{
			if (old->evidence[i] == offset)
				state->evidence[i] = state->used;
		}
		state->used += image->size;
	}
	pfree(old);
	return state;
}

/* Puts this row into the state as an image, and returns its offset. */
static uint32
store_image(FoldState **statep, TimestampTz at, const ProfileString *values)
{
	FoldState  *state = *statep;
	const FoldShape *shape = state->shape;
	uint64		size = offsetof(FoldImage, lens) + shape->nattributes * sizeof(uint32);
	uint32		offset;
	FoldImage  *image;
	char	   *data;

	for (int i = 0; i < shape->nattributes; i++)
		size += values[i].len;
	size = MAXALIGN(size);
	if (size > PROFILE_MAX_SIZE)
		too_large_error();

	if (state->spare != 0 && image_at(state, state->spare)->size >= size)
	{
		offset = state->spare;
		state->spare = 0;
	}
	else
	{
		if (state->used + size > state->size)
			*statep = state = grow_state(state, size);
		offset = state->used;
		state->used += size;
		image_at(state, offset)->size = size;
	}

	image = image_at(state, offset);
	image->at = at;
	image->nrefs = 0;
	data = (char *) &image->lens[shape->nattributes];
	for (int i = 0; i < shape->nattributes; i++)
	{
		if (values[i].data == NULL)
			image->lens[i] = 0;
		else
		{
			image->lens[i] = values[i].len + 1;
			memcpy(data, values[i].data, values[i].len);
			data += values[i].len;
		}
	}
	return offset;
}

/* Takes an end of a group from its image, which may die of it. */
static void
release_evidence(FoldState *state, int end)
{
	uint32		offset = state->evidence[end];

	if (offset != 0 && --image_at(state, offset)->nrefs == 0 &&
		(state->spare == 0 ||
		 image_at(state, state->spare)->size < image_at(state, offset)->size))
		state->spare = offset;
}

/* ---------- folding ---------- */

static FoldState *
new_state(MemoryContext context, const FoldShape *shape, TimestampTz at)
{
	uint32		size = state_header_size(shape) +
		2 * MAXALIGN(offsetof(FoldImage, lens) + shape->nattributes * (sizeof(uint32) + 12));
	FoldState  *state = MemoryContextAlloc(context, size);

	memset(state, 0, state_header_size(shape));
	state->shape = shape;
	state->first_seen = state->last_seen = at;
	state->settled_from = PG_INT64_MIN;
	state->settled_to = PG_INT64_MAX;
	state->nunknown = shape->ngroups;
	state->size = size;
	state->used = state_header_size(shape);
	return state;
}

/*
 * Which ends of a group does this row win?  The first and the last event of
 * a time need no look at the values, equal times do.
 */
static uint8
group_wins(FoldState *state, FoldCall *call, int group, TimestampTz at)
{
	const FoldShape *shape = state->shape;
	uint8		wins = 0;

	if (state->evidence[2 * group] == 0)
		return WINS_FIRST | WINS_LAST;
	for (int end = PROFILE_FIRST; end <= PROFILE_LAST; end++)
	{
		FoldImage  *image = image_at(state, state->evidence[2 * group + end]);
		ProfileEvidence mine;
		ProfileEvidence theirs;

		if (at != image->at)
		{
			if ((at < image->at) == (end == PROFILE_FIRST))
				wins |= end == PROFILE_FIRST ? WINS_FIRST : WINS_LAST;
			continue;
		}
		image_values(shape, image, call->scratch);
		mine = evidence_of(shape, at, call->values, group);
		theirs = evidence_of(shape, image->at, call->scratch, group);
		if (profile_evidence_cmp(end, shape->starts[group + 1] - shape->starts[group],
								 &mine, &theirs) < 0)
			wins |= end == PROFILE_FIRST ? WINS_FIRST : WINS_LAST;
	}
	return wins;
}

/* Recomputes between which times no known group changes. */
static void
settle(FoldState *state)
{
	const FoldShape *shape = state->shape;

	state->settled_from = PG_INT64_MIN;
	state->settled_to = PG_INT64_MAX;
	state->nunknown = 0;
	for (int g = 0; g < shape->ngroups; g++)
	{
		if (state->evidence[2 * g] == 0)
		{
			state->nunknown++;
			continue;
		}
		state->settled_from = Max(state->settled_from,
								  image_at(state, state->evidence[2 * g])->at);
		state->settled_to = Min(state->settled_to,
								image_at(state, state->evidence[2 * g + 1])->at);
	}
}

/* Does this row know a member of a group that the state does not know? */
static bool
knows_new_group(const FoldState *state, const FoldCall *call)
{
	const FoldShape *shape = state->shape;

	for (int g = 0; g < shape->ngroups; g++)
	{
		if (state->evidence[2 * g] != 0)
			continue;
		for (int i = shape->starts[g]; i < shape->starts[g + 1]; i++)
		{
			if (call->known[i])
				return true;
		}
	}
	return false;
}

/* Folds this row, whose values call->values holds, into the state. */
static FoldState *
fold_row(FoldState *state, FoldCall *call, TimestampTz at)
{
	const FoldShape *shape = state->shape;
	bool		any = false;
	uint32		offset;

	for (int g = 0; g < shape->ngroups; g++)
	{
		bool		known = false;

		for (int i = shape->starts[g]; i < shape->starts[g + 1]; i++)
			known |= call->known[i];
		call->wins[g] = known ? group_wins(state, call, g, at) : 0;
		any |= call->wins[g] != 0;
	}
	if (!any)
		return state;

	/* what it replaces dies first, so that its place can be used again */
	for (int g = 0; g < shape->ngroups; g++)
	{
		if (call->wins[g] & WINS_FIRST)
			release_evidence(state, 2 * g);
		if (call->wins[g] & WINS_LAST)
			release_evidence(state, 2 * g + 1);
	}
	for (int g = 0; g < shape->ngroups; g++)
	{
		if (call->wins[g] & WINS_FIRST)
			state->evidence[2 * g] = 0;
		if (call->wins[g] & WINS_LAST)
			state->evidence[2 * g + 1] = 0;
	}
	offset = store_image(&state, at, call->values);
	for (int g = 0; g < shape->ngroups; g++)
	{
		if (call->wins[g] & WINS_FIRST)
		{
			state->evidence[2 * g] = offset;
			image_at(state, offset)->nrefs++;
		}
		if (call->wins[g] & WINS_LAST)
		{
			state->evidence[2 * g + 1] = offset;
			image_at(state, offset)->nrefs++;
		}
	}
	settle(state);
	return state;
}

/* ---------- content ---------- */

/* One row as the content of a profile. */
static void
row_content(const FoldShape *shape, TimestampTz at, ProfileString *values,
			ProfileContent *content)
{
	content->first_seen = content->last_seen = at;
	content->ngroups = 0;
	content->groups = palloc(shape->ngroups * sizeof(ProfileGroup) + 1);
	for (int g = 0; g < shape->ngroups; g++)
	{
		ProfileGroup *group = &content->groups[content->ngroups];
		int			start = shape->starts[g];
		int			n = shape->starts[g + 1] - start;

		group->names = palloc(2 * n * sizeof(ProfileString));
		group->nmembers = 0;
		group->first = evidence_of(shape, at, values, g);
		group->first.values = group->names + n;
		for (int i = start; i < start + n; i++)
		{
			if (values[i].data == NULL)
				continue;
			group->names[group->nmembers] = shape->names[i];
			group->first.values[group->nmembers++] = values[i];
		}
		group->last = group->first;
		if (group->nmembers > 0)
			content->ngroups++;
	}
}

/* The content of a state; its strings are the state's. */
static void
state_content(const FoldState *state, ProfileContent *content)
{
	const FoldShape *shape = state->shape;
	ProfileString *ends[2];
	uint32		held[2] = {0, 0};

	if (state->profile != NULL)
	{
		profile_decode_trusted(state->profile, content);
		return;
	}

	content->first_seen = state->first_seen;
	content->last_seen = state->last_seen;
	content->ngroups = 0;
	content->groups = palloc(shape->ngroups * sizeof(ProfileGroup) + 1);
	ends[0] = palloc(shape->nattributes * sizeof(ProfileString) + 1);
	ends[1] = palloc(shape->nattributes * sizeof(ProfileString) + 1);
	for (int g = 0; g < shape->ngroups; g++)
	{
		ProfileGroup *group = &content->groups[content->ngroups];
		int			start = shape->starts[g];
		int			n = shape->starts[g + 1] - start;

		if (state->evidence[2 * g] == 0)
			continue;
		for (int end = PROFILE_FIRST; end <= PROFILE_LAST; end++)
		{
			uint32		offset = state->evidence[2 * g + end];
			FoldImage  *image = image_at(state, offset);
			ProfileEvidence *e = end == PROFILE_FIRST ? &group->first : &group->last;

			if (held[end] != offset)
			{
				image_values(shape, image, ends[end]);
				held[end] = offset;
			}
			*e = evidence_of(shape, image->at, ends[end], g);
		}
		group->names = palloc(3 * n * sizeof(ProfileString));
		group->nmembers = 0;
		for (int i = 0; i < n; i++)
		{
			int			m = group->nmembers;
			ProfileString first = group->first.values[i];
			ProfileString last = group->last.values[i];

			if (first.data == NULL && last.data == NULL)
				continue;
			group->names[m] = shape->names[start + i];
			group->names[n + m] = first;
			group->names[2 * n + m] = last;
			group->nmembers++;
		}
		group->first.values = group->names + n;
		group->last.values = group->names + 2 * n;
		content->ngroups++;
	}
}

/* A state that is the bytes of a content, in place of old, which may be NULL. */
static FoldState *
profile_state(MemoryContext context, FoldState *old, const ProfileContent *content)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	FoldState  *state = palloc0(offsetof(FoldState, evidence));

	state->profile = profile_build(content);
	MemoryContextSwitchTo(caller);
	if (old != NULL)
	{
		if (old->profile != NULL)
			pfree(old->profile);
		pfree(old);
	}
	return state;
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

/* Folds a row by the merge: its names, or the state, are not the call's. */
static FoldState *
merge_row(MemoryContext context, FoldState *state, const FoldShape *shape,
		  TimestampTz at, ProfileString *values)
{
	ProfileContent row;
	ProfileContent before;
	ProfileContent merged;

	row_content(shape, at, values, &row);
	if (state == NULL)
		return profile_state(context, NULL, &row);
	state_content(state, &before);
	profile_merge(&before, &row, &merged);
	return profile_state(context, state, &merged);
}

Datum
profile_transfn(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	FoldState  *state = PG_ARGISNULL(0) ? NULL : (FoldState *) PG_GETARG_POINTER(0);
	FoldCall   *call = fcinfo->flinfo->fn_extra;
	FoldShape  *shape;
	RowArray	row = {0};
	TimestampTz at;

	if (call == NULL && !is_array_call(fcinfo) &&
		(PG_NARGS() - FIRST_PAIR) % 2 != 0)
		pairs_error(PG_NARGS() - FIRST_PAIR);
	/* what a row that is left out says does not matter, its names included */
	if (PG_ARGISNULL(1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (call == NULL)
		call = init_call(fcinfo);
	at = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("time of an event must be finite"),
				 errhint("Leave such rows out, for example with FILTER (WHERE isfinite(seen_at)).")));

	shape = call->shape;
	if (call->is_array)
	{
		row = read_array(fcinfo);
		if (!same_names(shape, row.names, row.npairs))
			shape = make_shape(row.names, row.npairs);
	}
	else if (!call->names_constant)
	{
		ProfileString *names = argument_names(fcinfo, call, shape->nattributes);

		if (!same_names(shape, names, shape->nattributes))
			shape = make_shape(names, shape->nattributes);
	}

	if (shape != call->shape || (state != NULL && state->profile != NULL))
	{
		ProfileString *values = palloc(shape->nattributes * sizeof(ProfileString) + 1);

		if (call->is_array)
		{
			for (int i = 0; i < shape->nattributes; i++)
				values[i] = row.values[shape->pairs[i]];
		}
		else
			read_values(fcinfo, call, shape, values);
		PG_RETURN_POINTER(merge_row(context, state, shape, at, values));
	}

	if (state == NULL)
		state = new_state(context, shape, at);
	else
	{
		state->first_seen = Min(state->first_seen, at);
		state->last_seen = Max(state->last_seen, at);
		if (state->nunknown == 0 && at > state->settled_from && at < state->settled_to)
			PG_RETURN_POINTER(state);
	}

	for (int i = 0; i < shape->nattributes; i++)
		call->known[i] = call->is_array ? row.values[shape->pairs[i]].data != NULL
			: !PG_ARGISNULL(FIRST_PAIR + 2 * shape->pairs[i] + 1);
	if (at > state->settled_from && at < state->settled_to &&
		!knows_new_group(state, call))
		PG_RETURN_POINTER(state);

	if (call->is_array)
	{
		for (int i = 0; i < shape->nattributes; i++)
			call->values[i] = row.values[shape->pairs[i]];
	}
	else
		read_values(fcinfo, call, shape, call->values);
	PG_RETURN_POINTER(fold_row(state, call, at));
}

Datum
profile_finalfn(PG_FUNCTION_ARGS)
{
	ProfileContent content;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state_content((FoldState *) PG_GETARG_POINTER(0), &content);
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
	state_content((FoldState *) PG_GETARG_POINTER(1), &theirs);
	if (mine == NULL)
		PG_RETURN_POINTER(profile_state(context, NULL, &theirs));
	state_content(mine, &before);
	profile_merge(&before, &theirs, &merged);
	PG_RETURN_POINTER(profile_state(context, mine, &merged));
}

/* The serialized state is the bytes of the profile. */
Datum
profile_serialize(PG_FUNCTION_ARGS)
{
	ProfileContent content;

	(void) aggregate_context(fcinfo);
	state_content((FoldState *) PG_GETARG_POINTER(0), &content);
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
	state = profile_state(CurrentMemoryContext, NULL, &content);
	PG_RETURN_POINTER(state);
}
