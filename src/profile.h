/*
 * profile.h
 *		The type profiles.profile: its bytes, its decoded form, its limits.
 *
 * A profile is the fold of all events of one subject.  It is stored as one
 * varlena; the bytes after the length word are
 *
 *		+---------+-------+------------------+-----------------------+
 *		| version | flags | first_seen (8)   | last_seen - first_seen|
 *		+---------+-------+------------------+-----------------------+
 *		| S | string 1 | ... | string S                             |
 *		+---+----------+-----+---------------------------------------+
 *		| G | group 1  | ... | group G                              |
 *		+---+----------+-----+---------------------------------------+
 *
 *		version		PROFILE_VERSION
 *		flags		reserved; all bits zero in this version
 *		first_seen	microseconds since 2000-01-01 UTC, big-endian with the sign
 *					bit flipped, so that memcmp orders profiles by first_seen
 *		string		varint(length * 2), bytes; or the byte 1 and 16 bytes: a
 *					UUID in lower-case text form, packed
 *		group		M, M names, first evidence, last evidence
 *		name		its code in the table of well-known names; or 0, length
 *					byte, bytes
 *		evidence	distance in time, session, M values
 *
 * All other numbers are varints (LEB128, shortest form).  The distance in time
 * is at - first_seen for the first evidence and last_seen - at for the last.
 * Sessions and values are references: 0 is NULL, k is string k.  Strings stand
 * in the order of their first reference, each once.  Groups and their members
 * stand in the byte order of their names.  So one content has one form, and
 * equality of profiles is equality of bytes.
 *
 * The session of the subject is a group of its own, "session", whose single
 * value is the session of its evidence.
 */
#ifndef PROFILES_PROFILE_H
#define PROFILES_PROFILE_H

#include "postgres.h"

#include "compat.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

#define PROFILE_VERSION			1
#define PROFILE_FLAGS_RESERVED	0xFF

/* Limits; all are checked by profile_check() or profile_build(). */
#define PROFILE_MAX_NAME		56		/* bytes of an attribute's name */
#define PROFILE_MAX_ATTRIBUTES	1024	/* attributes of one profile */
#define PROFILE_MAX_SIZE		(128 * 1024 * 1024) /* bytes of one profile */

/*
 * What counts of a value that comes from a source: so many bytes, and all that a
 * source maps together this many.  A profile has four strings of an attribute at
 * most, of both ends the value and the session, so it can't grow too large.
 */
#define PROFILE_MAX_VALUE		(1024 * 1024)
#define PROFILE_MAX_VALUES		(30 * 1024 * 1024)

static inline uint32
profile_longest_value(int nattributes)
{
	return nattributes * (Size) PROFILE_MAX_VALUE <= PROFILE_MAX_VALUES ? PROFILE_MAX_VALUE
		: PROFILE_MAX_VALUES / nattributes;
}

#define PROFILE_SESSION			"session"

/* A string that somebody else owns; data == NULL is SQL's NULL. */
typedef struct ProfileString
{
	const char *data;
	uint32		len;
} ProfileString;

/* What one event says of one group. */
typedef struct ProfileEvidence
{
	TimestampTz at;
	ProfileString session;
	ProfileString *values;		/* one per member of the group */
} ProfileEvidence;

typedef struct ProfileGroup
{
	int			nmembers;
	ProfileString *names;		/* in byte order */
	ProfileEvidence first;
	ProfileEvidence last;
} ProfileGroup;

/* The decoded form: what reading, checking, merging and building share. */
typedef struct ProfileContent
{
	TimestampTz first_seen;
	TimestampTz last_seen;
	int			ngroups;
	ProfileGroup *groups;		/* in byte order of their names */
} ProfileContent;

/*
 * What profiles of one event have in common if these know the same attributes, and
 * no two of them have the same value: all but the times and the strings.
 */
typedef struct ProfileLayout
{
	uint64		known;			/* the attributes; whoever keeps layouts says how */
	uint32		nstrings;
	uint32		size;			/* of groups; 0: there is none yet */
	unsigned char *groups;
} ProfileLayout;

typedef enum ProfileEnd
{
	PROFILE_FIRST,
	PROFILE_LAST
} ProfileEnd;

static inline int
profile_string_cmp(ProfileString a, ProfileString b)
{
	int			c = memcmp(a.data, b.data, Min(a.len, b.len));

	if (c != 0)
		return c;
	return (a.len > b.len) - (a.len < b.len);
}

static inline bool
profile_string_eq(ProfileString a, ProfileString b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static inline ProfileString
profile_string(const char *data, Size len)
{
	ProfileString s = {data, (uint32) len};

	return s;
}

/* profile_build.c */
extern bool profile_name_is_valid(const char *name, Size len);
PROFILES_NORETURN extern void profile_name_error(const char *name);
extern int	profile_group_prefix(ProfileString name);
extern int	profile_group_cmp(ProfileString a, ProfileString b);
extern bool profile_is_session(ProfileString name);
extern ProfileString profile_shared_name(ProfileString name);
extern int	profile_evidence_cmp(ProfileEnd end, int nmembers,
								 const ProfileEvidence *a,
								 const ProfileEvidence *b);
extern void profile_merge(const ProfileContent *a, const ProfileContent *b,
						  ProfileContent *result);
extern struct varlena *profile_build(const ProfileContent *content);
extern struct varlena *profile_build_later(const struct varlena *value, const ProfileContent *before,
										   const ProfileContent *content);
extern void profile_take_layout(ProfileLayout *layout, MemoryContext context, uint64 known,
								uint32 nstrings, const struct varlena *profile);
extern struct varlena *profile_build_alike(const ProfileLayout *layout, TimestampTz at,
										   const ProfileString *strings);
extern const char *profile_decode(const struct varlena *value,
								  ProfileContent *content);
extern const char *profile_decode_times(const struct varlena *value,
										ProfileContent *content);

/* profile_io.c */
extern PGDLLEXPORT Datum profile_in(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum profile_out(PG_FUNCTION_ARGS);
extern char *profile_check(const ProfileContent *content);
extern void profile_append_time(StringInfo out, TimestampTz at);
extern void profile_decode_trusted(const struct varlena *value,
								   ProfileContent *content);
extern void profile_decode_times_trusted(const struct varlena *value,
										 ProfileContent *content);

/* profile_ops.c */
typedef enum ProfileAccess
{
	PROFILE_SEEN,				/* the time */
	PROFILE_KNOWN,				/* an attribute, whatever its session */
	PROFILE_ATTRIBUTE			/* an attribute in the session of that end */
} ProfileAccess;

typedef struct ProfileAccessor
{
	ProfileEnd	end;
	ProfileAccess access;
	ProfileString name;			/* of the attribute */
	int			group;			/* where it was found last */
	int			member;
} ProfileAccessor;

extern const ProfileContent *profile_view(Datum value);
extern bool profile_find_accessor(PGFunction function, ProfileAccessor *accessor);
extern TimestampTz profile_accessor_time(const ProfileAccessor *accessor, const ProfileContent *content);
extern ProfileString profile_accessor_string(ProfileAccessor *accessor, const ProfileContent *content);

/* pinned.c */
extern int	profiles_pin_settings(void);
extern void profiles_unpin_settings(int level);

/*
 * value_text.c: how values of one type become text; filled once per query.
 */
typedef enum ProfileTextWay
{
	PROFILE_TEXT_AS_IS,			/* is text, or has the same bytes */
	PROFILE_TEXT_LITERAL,		/* an untyped literal: a C string */
	PROFILE_TEXT_CAST,			/* a cast function to text */
	PROFILE_TEXT_OUTPUT			/* the type's output function */
} ProfileTextWay;

typedef struct ProfileTextForm
{
	ProfileTextWay way;
	bool		pin;			/* may depend on settings: pin them */
	FmgrInfo	function;
} ProfileTextForm;

extern void profile_text_form_init(ProfileTextForm *form, Oid type,
								   MemoryContext context);
extern ProfileString profile_text_of(ProfileTextForm *form, Datum value);

#endif							/* PROFILES_PROFILE_H */
