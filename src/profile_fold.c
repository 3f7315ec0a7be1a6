/*
 * profile_fold.c
 *		Folds the events of one subject, one after the other.
 *
 * A subject's state is one block.  It holds images of the events that are some
 * group's evidence, usually two: the newest and the oldest.  An event is looked
 * at only as far as needed: one whose time lies between the evidence of all
 * known attribute groups changes nothing, and its values are not even read.
 *
 * Where the names change from event to event, and where states are merged, the
 * state is the bytes of a profile and every step is profile_merge().  Both forms
 * decide by profile_evidence_cmp() and end in profile_build().
 */
#include "postgres.h"

#include "access/detoast.h"
#include "mb/pg_wchar.h"
#include "profile.h"
#include "profile_fold.h"
#include "utils/memutils.h"

#define LAYOUTS			8		/* that a shape keeps; a power of two */
#define MOST_LAID_OUT	64		/* attributes that a layout can know */

#define WINS_FIRST		0x01
#define WINS_LAST		0x02

#define LARGE_STATE		(1024 * 1024)	/* bytes of a state from which on no more is kept than needed */

/* An event that is evidence for some group; its values' bytes follow lens. */
typedef struct FoldImage
{
	TimestampTz at;
	uint32		size;			/* of all, MAXALIGNed; capacity once dead */
	uint32		nrefs;			/* ends of groups that it is evidence for */
	uint32		lens[FLEXIBLE_ARRAY_MEMBER];	/* length + 1; 0: NULL */
} FoldImage;

/* ---------- names ---------- */

static int
compare_names(const void *a, const void *b, void *names)
{
	return profile_string_cmp(((ProfileString *) names)[*(const int *) a],
							  ((ProfileString *) names)[*(const int *) b]);
}

/* Checks and sorts names; everything is copied to the current context. */
FoldShape *
profile_fold_shape(const ProfileString *names, int n)
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
	shape->layouts = palloc0(LAYOUTS * sizeof(ProfileLayout));
	shape->pairs = palloc(n * sizeof(int) + 1);
	shape->starts = palloc((n + 1) * sizeof(int));
	for (int i = 0; i < n; i++)
	{
		char	   *copy = pnstrdup(names[i].data, names[i].len);

		if (!profile_name_is_valid(copy, names[i].len))
			profile_name_error(copy);
		shape->by_pair[i] = profile_shared_name(profile_string(copy, names[i].len));
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

/* Is each name the one that the shape was made for? */
bool
profile_fold_same_names(const FoldShape *shape, const ProfileString *names, int n)
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

/* ---------- events ---------- */

void
profile_fold_init_row(FoldRow *row, const FoldShape *shape, FoldReader reader, void *source)
{
	int			n = shape->nattributes;

	row->shape = shape;
	row->reader = reader;
	row->source = source;
	row->longest = PG_UINT32_MAX;
	row->values = palloc(2 * n * sizeof(ProfileString) + 1);
	row->scratch = row->values + n;
	row->was_read = palloc(n * sizeof(bool) + 1);
	row->wins = palloc(shape->ngroups * sizeof(uint8) + 1);
}

static inline ProfileString
row_value(FoldRow *row, int attribute)
{
	if (!row->was_read[attribute])
	{
		row->values[attribute] = profile_fold_value(row, row->reader(row, attribute));
		row->was_read[attribute] = true;
	}
	return row->values[attribute];
}

static void
read_all(FoldRow *row)
{
	for (int i = 0; i < row->shape->nattributes; i++)
		(void) row_value(row, i);
}

static inline void
begin_row(FoldRow *row)
{
	memset(row->was_read, 0, row->shape->nattributes * sizeof(bool));
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
 * Leaves of an image what it is evidence for, and the session.  Others' values take
 * no more than what they took, but many large ones would add up to more than a
 * profile can have.
 */
static void
prune_image(const FoldState *state, uint32 offset)
{
	const FoldShape *shape = state->shape;
	FoldImage  *image = image_at(state, offset);
	const char *from = (const char *) &image->lens[shape->nattributes];
	char	   *to = (char *) from;

	for (int g = 0; g < shape->ngroups; g++)
	{
		bool		is_evidence = state->evidence[2 * g] == offset || state->evidence[2 * g + 1] == offset;

		for (int i = shape->starts[g]; i < shape->starts[g + 1]; i++)
		{
			uint32		len = image->lens[i] == 0 ? 0 : image->lens[i] - 1;

			if (is_evidence || i == shape->session)
			{
				memmove(to, from, len);
				to += len;
			}
			else
				image->lens[i] = 0;
			from += len;
		}
	}
}

/* The bytes that an image needs, which may be fewer than it has. */
static uint32
needed_size(const FoldShape *shape, const FoldImage *image)
{
	uint64		size = offsetof(FoldImage, lens) + shape->nattributes * sizeof(uint32);

	for (int i = 0; i < shape->nattributes; i++)
		size += image->lens[i] == 0 ? 0 : image->lens[i] - 1;
	return MAXALIGN(size);
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
	bool		is_large = old->used > LARGE_STATE;
	FoldState  *state;

	for (uint32 offset = header; offset < old->used; offset += image_at(old, offset)->size)
	{
		if (image_at(old, offset)->nrefs == 0)
			continue;
		if (is_large)
		{
			prune_image(old, offset);
			size += needed_size(old->shape, image_at(old, offset));
		}
		else
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
		uint32		image_size;

		if (image->nrefs == 0)
			continue;
		image_size = is_large ? needed_size(old->shape, image) : image->size;
		memcpy((char *) state + state->used, image, image_size);
		image_at(state, state->used)->size = image_size;
		for (int i = 0; i < 2 * old->shape->ngroups; i++)
		{
			if (old->evidence[i] == offset)
				state->evidence[i] = state->used;
		}
		state->used += image_size;
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

FoldState *
profile_fold_new(MemoryContext context, const FoldShape *shape, TimestampTz at)
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
 * Which ends of a group does this event win?  Its time decides, and its values
 * are read only if they can matter.
 */
static uint8
group_wins(FoldState *state, FoldRow *row, int group, TimestampTz at)
{
	const FoldShape *shape = state->shape;
	bool		known = false;
	uint8		wins = 0;

	if (state->evidence[2 * group] != 0 &&
		at > image_at(state, state->evidence[2 * group])->at &&
		at < image_at(state, state->evidence[2 * group + 1])->at)
		return 0;
	for (int i = shape->starts[group]; i < shape->starts[group + 1]; i++)
		known |= row_value(row, i).data != NULL;
	if (!known)
		return 0;
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
		if (shape->session >= 0)
			(void) row_value(row, shape->session);
		image_values(shape, image, row->scratch);
		mine = evidence_of(shape, at, row->values, group);
		theirs = evidence_of(shape, image->at, row->scratch, group);
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

/*
 * Folds an event of this time, whose values the row's reader knows, into a state
 * of the row's shape.  Returns the state, which may have moved.
 */
FoldState *
profile_fold_event(FoldState *state, FoldRow *row, TimestampTz at)
{
	const FoldShape *shape = state->shape;
	bool		any = false;
	uint32		offset;

	state->first_seen = Min(state->first_seen, at);
	state->last_seen = Max(state->last_seen, at);
	begin_row(row);
	if (profile_fold_is_settled(state, at))
		return state;

	for (int g = 0; g < shape->ngroups; g++)
	{
		row->wins[g] = group_wins(state, row, g, at);
		any |= row->wins[g] != 0;
	}
	if (!any)
		return state;
	read_all(row);

	/* what it replaces dies first, so that its place can be used again */
	for (int g = 0; g < shape->ngroups; g++)
	{
		if (row->wins[g] & WINS_FIRST)
			release_evidence(state, 2 * g);
		if (row->wins[g] & WINS_LAST)
			release_evidence(state, 2 * g + 1);
	}
	for (int g = 0; g < shape->ngroups; g++)
	{
		if (row->wins[g] & WINS_FIRST)
			state->evidence[2 * g] = 0;
		if (row->wins[g] & WINS_LAST)
			state->evidence[2 * g + 1] = 0;
	}
	offset = store_image(&state, at, row->values);
	for (int g = 0; g < shape->ngroups; g++)
	{
		if (row->wins[g] & WINS_FIRST)
		{
			state->evidence[2 * g] = offset;
			image_at(state, offset)->nrefs++;
		}
		if (row->wins[g] & WINS_LAST)
		{
			state->evidence[2 * g + 1] = offset;
			image_at(state, offset)->nrefs++;
		}
	}
	settle(state);
	return state;
}

/* Are events of these times the first and the last evidence of all groups, except some? */
bool
profile_fold_has_ends(const FoldState *state, TimestampTz first, TimestampTz last, const bool *except)
{
	for (int g = 0; g < state->shape->ngroups; g++)
	{
		if (except[g])
			continue;
		if (state->evidence[2 * g] == 0 ||
			image_at(state, state->evidence[2 * g])->at != first || image_at(state, state->evidence[2 * g + 1])->at != last)
			return false;
	}
	return true;
}

/* ---------- content ---------- */

/* One event as the content of a profile; its strings are the values. */
static void
single_content(const FoldShape *shape, ProfileString *values, TimestampTz at, ProfileContent *content)
{
	ProfileString *names = palloc(2 * shape->nattributes * sizeof(ProfileString) + 1);
	ProfileString *known = names + shape->nattributes;

	content->first_seen = content->last_seen = at;
	content->ngroups = 0;
	content->groups = palloc(shape->ngroups * sizeof(ProfileGroup) + 1);
	for (int g = 0; g < shape->ngroups; g++)
	{
		ProfileGroup *group = &content->groups[content->ngroups];

		group->names = names;
		group->first = evidence_of(shape, at, values, g);
		group->first.values = known;
		for (int i = shape->starts[g]; i < shape->starts[g + 1]; i++)
		{
			if (values[i].data == NULL)
				continue;
			*names++ = shape->names[i];
			*known++ = values[i];
		}
		group->nmembers = names - group->names;
		group->last = group->first;
		if (group->nmembers > 0)
			content->ngroups++;
	}
}

/*
 * The profile of one event.  Most events know the same attributes as others, whose
 * layout the shape keeps.
 */
struct varlena *
profile_fold_single(const FoldShape *shape, ProfileString *values, TimestampTz at)
{
	ProfileString strings[MOST_LAID_OUT];
	uint64		known = 0;
	uint32		n = 0;
	ProfileLayout *layout = NULL;
	ProfileContent content;
	struct varlena *result;

	if (shape->nattributes <= MOST_LAID_OUT)
	{
		/* in the order in which profile_build() comes by them */
		if (shape->session >= 0 && values[shape->session].data != NULL)
			strings[n++] = values[shape->session];
		for (int i = 0; i < shape->nattributes; i++)
		{
			if (values[i].data == NULL)
				continue;
			known |= UINT64CONST(1) << i;
			if (i != shape->session)
				strings[n++] = values[i];
		}
		layout = &shape->layouts[known * UINT64CONST(0x9E3779B97F4A7C15) >> 32 & (LAYOUTS - 1)];
		if (layout->size > 0 && layout->known == known)
		{
			result = profile_build_alike(layout, at, strings);
			if (result != NULL)
				return result;
			/* which this one has not */
			layout = NULL;
		}
	}
	single_content(shape, values, at, &content);
	result = profile_build(&content);
	if (layout != NULL)
		profile_take_layout(layout, GetMemoryChunkContext(shape->layouts), known, n, result);
	return result;
}

/*
 * The content that a subject's first and last event make, if that does not depend on
 * others, unless these are all it has; nowhere: which groups none of them knows, NULL if
 * that is not known.  Its strings are the values.
 */
bool
profile_fold_ends(const FoldShape *shape, ProfileString *first, TimestampTz first_at,
				  ProfileString *last, TimestampTz last_at, bool all,
				  const bool *nowhere, ProfileContent *content)
{
	ProfileString *names = palloc(3 * shape->nattributes * sizeof(ProfileString) + 1);
	ProfileString *values[2] = {first, last};
	TimestampTz at[2] = {first_at, last_at};

	content->first_seen = first_at;
	content->last_seen = last_at;
	content->ngroups = 0;
	content->groups = palloc(shape->ngroups * sizeof(ProfileGroup) + 1);
	for (int g = 0; g < shape->ngroups; g++)
	{
		ProfileGroup *group = &content->groups[content->ngroups];
		int			start = shape->starts[g];
		int			n = shape->starts[g + 1] - start;
		bool		known[2] = {false, false};
		int			ends[2] = {0, 1};

		for (int i = start; i < start + n; i++)
		{
			known[0] |= first[i].data != NULL;
			known[1] |= last[i].data != NULL;
		}
		if (!known[0] || !known[1])
		{
			bool		any = known[0] || known[1];

			if (!all && (any || nowhere == NULL || !nowhere[g]))
				return false;
			if (!any)
				continue;
			ends[0] = ends[1] = known[0] ? 0 : 1;
		}
		group->names = names;
		group->first = evidence_of(shape, at[ends[0]], values[ends[0]], g);
		group->last = evidence_of(shape, at[ends[1]], values[ends[1]], g);
		group->nmembers = 0;
		for (int i = 0; i < n; i++)
		{
			int			m = group->nmembers;
			ProfileString first_value = group->first.values[i];
			ProfileString last_value = group->last.values[i];

			if (first_value.data == NULL && last_value.data == NULL)
				continue;
			names[m] = shape->names[start + i];
			names[n + m] = first_value;
			names[2 * n + m] = last_value;
			group->nmembers++;
		}
		group->first.values = names + n;
		group->last.values = names + 2 * n;
		names += 3 * n;
		content->ngroups++;
	}
	return true;
}

/* The content of a state; its strings are the state's. */
void
profile_fold_content(const FoldState *state, ProfileContent *content)
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
FoldState *
profile_fold_of(MemoryContext context, FoldState *old, const ProfileContent *content)
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

/*
 * Folds an event by the merge: its names need not be the state's, and the state
 * may be NULL or the bytes of a profile.
 */
FoldState *
profile_fold_merge_event(MemoryContext context, FoldState *state, FoldRow *row, TimestampTz at)
{
	ProfileContent event;
	ProfileContent before;
	ProfileContent merged;

	begin_row(row);
	read_all(row);
	single_content(row->shape, row->values, at, &event);
	if (state == NULL)
		return profile_fold_of(context, NULL, &event);
	profile_fold_content(state, &before);
	profile_merge(&before, &event, &merged);
	return profile_fold_of(context, state, &merged);
}

/* ---------- values that were cut ---------- */

/* Is that all that counts of a longer value?  One of just that length looks the same. */
static inline bool
is_cut(ProfileString value, uint32 longest)
{
	return value.data != NULL && value.len > longest - MAX_MULTIBYTE_CHAR_LEN;
}

/*
 * The names of attributes of which a profile has a value that was cut to so many
 * bytes, or fewer, so that its characters are whole.  Nearly always there are none.
 */
List *
profile_fold_cut(const struct varlena *profile, uint32 longest)
{
	ProfileContent content;
	List	   *names = NIL;

	if (toast_raw_datum_size(PointerGetDatum(profile)) <= longest)
		return NIL;
	profile_decode_trusted((struct varlena *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(profile)), &content);
	for (int g = 0; g < content.ngroups; g++)
	{
		ProfileGroup *group = &content.groups[g];

		for (int m = 0; m < group->nmembers; m++)
		{
			if (is_cut(group->first.values[m], longest) || is_cut(group->last.values[m], longest))
				names = lappend(names, pnstrdup(group->names[m].data, group->names[m].len));
		}
	}
	return names;
}
