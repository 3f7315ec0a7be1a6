/*
 * packed.h
 *		Partial profiles of many subjects in one value.
 */
#ifndef PROFILES_PACKED_H
#define PROFILES_PACKED_H

#include "access/htup_details.h"
#include "profile.h"

/* What fits into a page, with the columns that a row has beside. */
#define PACK_SIZE			(MaxHeapTupleSize - 64)

#define PACK_MOST_PROFILE	1000	/* bytes; of larger ones few would fit into a page */

/* Profiles on their way into one value. */
typedef struct ProfilePack
{
	char	   *value;			/* a varlena */
	Size		size;			/* bytes that there is room for */
	Size		used;			/* of these */
	int32		subjects;
	int64		events;
	uint32		most_profile;	/* bytes */
	uint32		last_len;		/* bytes of the last profile of a single event, */
	char	   *last;			/* which are the last of most_profile */
} ProfilePack;

/* Profiles on their way out of it. */
typedef struct ProfileUnpack
{
	const char *at;
	const char *end;
	struct varlena *profile;	/* the one at hand */
	struct varlena *last;		/* the last one of a single event */
	ProfileString key;			/* of its subject */
	int64		events;
} ProfileUnpack;

extern ProfilePack *profile_pack_make(Size size, uint32 most_profile);
extern void profile_pack_begin(ProfilePack *pack);
extern bool profile_pack_takes(ProfileString key, const struct varlena *profile, int64 events);
extern bool profile_pack_add(ProfilePack *pack, ProfileString key, const struct varlena *profile, int64 events);
extern struct varlena *profile_pack_value(ProfilePack *pack);
extern void profile_pack_free(ProfilePack *pack);
extern void profile_unpack_begin(ProfileUnpack *unpack, const struct varlena *value);
extern bool profile_unpack_next(ProfileUnpack *unpack);

#endif							/* PROFILES_PACKED_H */
