/*
 * profile_fold.h
 *		The state in which the events of one subject are folded.
 */
#ifndef PROFILES_PROFILE_FOLD_H
#define PROFILES_PROFILE_FOLD_H

#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "profile.h"

/* The attributes that events have, in the byte order of their names. */
typedef struct FoldShape
{
	int			nattributes;
	int			ngroups;
	int			session;		/* which attribute is the session; -1: none */
	ProfileString *names;
	int		   *pairs;			/* which of the given names each one is */
	int		   *starts;			/* first attribute of each group, and the end */
	ProfileString *by_pair;		/* the names in the order given */
	ProfileLayout *layouts;		/* of profiles of one event */
} FoldShape;

/*
 * One event, whose values are read when they are needed, and what folding needs
 * beside.  Made once, and begun anew for every event.
 */
typedef struct FoldRow FoldRow;
typedef ProfileString (*FoldReader) (FoldRow *row, int attribute);

struct FoldRow
{
	const FoldShape *shape;
	FoldReader	reader;			/* data = NULL is NULL */
	void	   *source;			/* the reader's */
	uint32		longest;		/* bytes of a value that count; any, unless set */
	bool	   *was_read;		/* by attribute */
	ProfileString *values;		/* by attribute, where read */
	ProfileString *scratch;		/* an image's values */
	uint8	   *wins;			/* which ends the event wins, by group */
};

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

/* What counts of a value: whole characters. */
static inline ProfileString
profile_fold_value(FoldRow *row, ProfileString value)
{
	if (unlikely(value.len > row->longest))
		value.len = pg_mbcliplen(value.data, value.len, row->longest);
	return value;
}

/* Can an event of this time change nothing but the number of events? */
static inline bool
profile_fold_is_settled(const FoldState *state, TimestampTz at)
{
	return state->nunknown == 0 && at > state->settled_from && at < state->settled_to;
}

extern FoldShape *profile_fold_shape(const ProfileString *names, int n);
extern bool profile_fold_same_names(const FoldShape *shape, const ProfileString *names, int n);
extern void profile_fold_init_row(FoldRow *row, const FoldShape *shape, FoldReader reader, void *source);
extern FoldState *profile_fold_new(MemoryContext context, const FoldShape *shape, TimestampTz at);
extern FoldState *profile_fold_event(FoldState *state, FoldRow *row, TimestampTz at);
extern struct varlena *profile_fold_single(const FoldShape *shape, ProfileString *values, TimestampTz at);
extern bool profile_fold_ends(const FoldShape *shape, ProfileString *first, TimestampTz first_at,
							  ProfileString *last, TimestampTz last_at, bool all,
							  const bool *nowhere, ProfileContent *content);
extern bool profile_fold_has_ends(const FoldState *state, TimestampTz first, TimestampTz last, const bool *except);
extern FoldState *profile_fold_merge_event(MemoryContext context, FoldState *state, FoldRow *row, TimestampTz at);
extern FoldState *profile_fold_of(MemoryContext context, FoldState *old, const ProfileContent *content);
extern void profile_fold_content(const FoldState *state, ProfileContent *content);
extern List *profile_fold_cut(const struct varlena *profile, uint32 longest);

#endif							/* PROFILES_PROFILE_FOLD_H */
