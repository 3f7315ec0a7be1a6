/*
 * profile_build.c
 *		The fold's algebra and the bytes of a profile.
 *
 * This file holds the only code that lays out or walks the bytes drawn in
 * profile.h, the one comparison that decides which event is a group's evidence,
 * and the one merge under every aggregate, operator and function.  It needs
 * nothing of the executor, so that it can be fuzzed on its own.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "profile.h"
#include "utils/memutils.h"

#define PROFILE_UUID_TEXT	36
#define PROFILE_UUID_BYTES	16
#define PROFILE_HEADER		10	/* version, flags, first_seen */

/*
 * Well-known names are stored as one byte: position here plus one.
 *
 * Caution: part of the stored form.  Append only, 127 at most.
 */
#define WELL_KNOWN(name)	{name, sizeof(name) - 1}
static const ProfileString well_known[] = {
	WELL_KNOWN("name"), WELL_KNOWN("email"), WELL_KNOWN("application"), WELL_KNOWN(PROFILE_SESSION),
	WELL_KNOWN("geo.country"), WELL_KNOWN("geo.region"), WELL_KNOWN("geo.city"),
	WELL_KNOWN("device.type"), WELL_KNOWN("device.brand"), WELL_KNOWN("device.model"),
	WELL_KNOWN("os.name"), WELL_KNOWN("os.version"),
	WELL_KNOWN("browser.name"), WELL_KNOWN("browser.version"),
	WELL_KNOWN("utm.source"), WELL_KNOWN("utm.medium"), WELL_KNOWN("utm.campaign"),
	WELL_KNOWN("utm.term"), WELL_KNOWN("utm.content"),
	WELL_KNOWN("referrer"), WELL_KNOWN("plan"), WELL_KNOWN("account.id"), WELL_KNOWN("account.name"),
	WELL_KNOWN("locale"), WELL_KNOWN("time_zone"), WELL_KNOWN("version"),
	WELL_KNOWN("service"), WELL_KNOWN("env")
};

/* ---------- names ---------- */

/*
 * Is this an attribute's name: [a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*, at most
 * PROFILE_MAX_NAME bytes?
 */
bool
profile_name_is_valid(const char *name, Size len)
{
	bool		start = true;

	if (len == 0 || len > PROFILE_MAX_NAME)
		return false;
	for (Size i = 0; i < len; i++)
	{
		char		c = name[i];

		if (c >= 'a' && c <= 'z')
			start = false;
		else if (!start && ((c >= '0' && c <= '9') || c == '_'))
			continue;
		else if (!start && c == '.')
			start = true;
		else
			return false;
	}
	return !start;
}

/* A valid name close to an invalid one, palloc'd. */
static char *
profile_name_proposal(const char *name)
{
	char	   *result = palloc(PROFILE_MAX_NAME + 1);
	int			n = 0;
	bool		start = true;

	for (const char *p = name; *p && n < PROFILE_MAX_NAME - 1; p++)
	{
		char		c = *p;

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (c == '.')
		{
			if (!start)
			{
				result[n++] = c;
				start = true;
			}
			continue;
		}
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
		{
			/* one underscore for a run of anything else, none in front */
			if (start || result[n - 1] == '_')
				continue;
			c = '_';
		}
		else if (start && c <= '9')
			result[n++] = 'x';
		result[n++] = c;
		start = false;
	}
	while (n > 0 && (result[n - 1] == '_' || result[n - 1] == '.'))
		n--;
	result[n] = '\0';
	return n > 0 ? result : pstrdup("attribute_1");
}

/* Refuses a name that is no attribute's, with a HINT that proposes one. */
void
profile_name_error(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("\"%s\" is not a valid name of an attribute", name),
			 errdetail("Names are parts of lower-case letters, digits and underscores, each beginning with a letter, joined by dots, at most %d bytes in all.",
					   PROFILE_MAX_NAME),
			 errhint("Try \"%s\".", profile_name_proposal(name))));
}

bool
profile_is_session(ProfileString name)
{
	return name.len == strlen(PROFILE_SESSION) &&
		memcmp(name.data, PROFILE_SESSION, name.len) == 0;
}

/* Length of the part before the first dot, which names the group. */
int
profile_group_prefix(ProfileString name)
{
	const char *dot = memchr(name.data, '.', name.len);

	return dot ? dot - name.data : (int) name.len;
}

/*
 * Orders attributes' names by their groups; 0 means the same group.
 *
 * The dot sorts before every other character of a name, so this agrees with
 * the byte order of full names.  "session" itself is a group of its own, in
 * front of any "session.x".
 */
int
profile_group_cmp(ProfileString a, ProfileString b)
{
	int			c;

	c = profile_string_cmp(profile_string(a.data, profile_group_prefix(a)),
						   profile_string(b.data, profile_group_prefix(b)));
	if (c != 0)
		return c;
	return (int) profile_is_session(b) - (int) profile_is_session(a);
}

/* ---------- the algebra ---------- */

static int
count_known(int nmembers, const ProfileString *values)
{
	int			n = 0;

	for (int i = 0; i < nmembers; i++)
		n += values[i].data != NULL;
	return n;
}

/*
 * Compares two evidences of one group for an end: negative if a is to be kept,
 * positive if b is, 0 only if they are the same in every byte.
 *
 * Both have the same members.  The order is total, which is what makes the
 * merge associative, commutative and idempotent: the earlier (first) or later
 * (last) time; more known members; member by member the smaller (first) or
 * greater (last) bytes, NULL being smaller than any value; a session before
 * none; the smaller (first) or greater (last) session.
 */
int
profile_evidence_cmp(ProfileEnd end, int nmembers,
					 const ProfileEvidence *a, const ProfileEvidence *b)
{
	int			sign = end == PROFILE_FIRST ? 1 : -1;
	int			c;

	if (a->at != b->at)
		return a->at < b->at ? -sign : sign;

	c = count_known(nmembers, b->values) - count_known(nmembers, a->values);
	if (c != 0)
		return c;

	for (int i = 0; i < nmembers; i++)
	{
		const ProfileString *x = &a->values[i];
		const ProfileString *y = &b->values[i];

		if (x->data == NULL || y->data == NULL)
			c = (x->data != NULL) - (y->data != NULL);
		else
			c = profile_string_cmp(*x, *y);
		if (c != 0)
			return c < 0 ? -sign : sign;
	}

	if (a->session.data == NULL || b->session.data == NULL)
		return (b->session.data != NULL) - (a->session.data != NULL);
	c = profile_string_cmp(a->session, b->session);
	return c < 0 ? -sign : c > 0 ? sign : 0;
}

/* Do two groups have the same members? */
static bool
have_same_members(const ProfileGroup *a, const ProfileGroup *b)
{
	if (a->nmembers != b->nmembers)
		return false;
	for (int i = 0; i < a->nmembers; i++)
	{
		/* well-known names are mostly the same bytes */
		if (a->names[i].data != b->names[i].data && !profile_string_eq(a->names[i], b->names[i]))
			return false;
	}
	return true;
}

/*
 * Merges one group that both sides know with the same members, of which none is lost;
 * false if it is not so.
 */
static bool
merge_alike(const ProfileGroup *a, const ProfileGroup *b, ProfileGroup *result)
{
	if (!have_same_members(a, b))
		return false;
	*result = *a;
	if (profile_evidence_cmp(PROFILE_FIRST, a->nmembers, &a->first, &b->first) > 0)
		result->first = b->first;
	if (profile_evidence_cmp(PROFILE_LAST, a->nmembers, &a->last, &b->last) > 0)
		result->last = b->last;
	for (int i = 0; i < a->nmembers; i++)
	{
		if (result->first.values[i].data == NULL && result->last.values[i].data == NULL)
			return false;
	}
	return true;
}

/*
 * Merges one group that both sides know.
 *
 * The members of the result are those that its two evidences know, which may
 * be fewer than the union of both sides.
 */
static void
merge_group(const ProfileGroup *a, const ProfileGroup *b, ProfileGroup *result)
{
	int			nmax = a->nmembers + b->nmembers;
	ProfileString *names;
	ProfileString *values;
	ProfileEvidence side[2][2];
	const ProfileGroup *groups[2] = {a, b};
	int			pos[2] = {0, 0};
	int			n = 0;

	if (merge_alike(a, b, result))
		return;
	names = palloc(nmax * sizeof(ProfileString));
	values = palloc0(4 * nmax * sizeof(ProfileString));
	for (int s = 0; s < 2; s++)
	{
		side[s][PROFILE_FIRST] = groups[s]->first;
		side[s][PROFILE_LAST] = groups[s]->last;
		side[s][PROFILE_FIRST].values = values + (2 * s) * nmax;
		side[s][PROFILE_LAST].values = values + (2 * s + 1) * nmax;
	}

	/* line both sides up over the union of their members */
	while (pos[0] < a->nmembers || pos[1] < b->nmembers)
	{
		int			c;

		if (pos[0] == a->nmembers)
			c = 1;
		else if (pos[1] == b->nmembers)
			c = -1;
		else
			c = profile_string_cmp(a->names[pos[0]], b->names[pos[1]]);

		names[n] = c <= 0 ? a->names[pos[0]] : b->names[pos[1]];
		for (int s = 0; s < 2; s++)
		{
			if (s == 0 ? c > 0 : c < 0)
				continue;
			side[s][PROFILE_FIRST].values[n] = groups[s]->first.values[pos[s]];
			side[s][PROFILE_LAST].values[n] = groups[s]->last.values[pos[s]];
			pos[s]++;
		}
		n++;
	}

	result->first = profile_evidence_cmp(PROFILE_FIRST, n,
										 &side[0][PROFILE_FIRST],
										 &side[1][PROFILE_FIRST]) <= 0
		? side[0][PROFILE_FIRST] : side[1][PROFILE_FIRST];
	result->last = profile_evidence_cmp(PROFILE_LAST, n,
										&side[0][PROFILE_LAST],
										&side[1][PROFILE_LAST]) <= 0
		? side[0][PROFILE_LAST] : side[1][PROFILE_LAST];

	result->names = names;
	result->nmembers = 0;
	for (int i = 0; i < n; i++)
	{
		int			m = result->nmembers;

		if (result->first.values[i].data == NULL &&
			result->last.values[i].data == NULL)
			continue;
		result->names[m] = names[i];
		result->first.values[m] = result->first.values[i];
		result->last.values[m] = result->last.values[i];
		result->nmembers++;
	}
}

/*
 * a || b: the one merge under every aggregate, operator and function.
 *
 * The result's arrays are palloc'd or shared with a and b; its strings are
 * those of a and b.
 */
void
profile_merge(const ProfileContent *a, const ProfileContent *b,
			  ProfileContent *result)
{
	int			i = 0;
	int			j = 0;

	result->first_seen = Min(a->first_seen, b->first_seen);
	result->last_seen = Max(a->last_seen, b->last_seen);
	result->ngroups = 0;
	result->groups = palloc((a->ngroups + b->ngroups + 1) * sizeof(ProfileGroup));

	while (i < a->ngroups || j < b->ngroups)
	{
		ProfileGroup *group = &result->groups[result->ngroups++];
		int			c;

		if (i == a->ngroups)
			c = 1;
		else if (j == b->ngroups)
			c = -1;
		else if (a->groups[i].names[0].data == b->groups[j].names[0].data)
			c = 0;
		else
			c = profile_group_cmp(a->groups[i].names[0], b->groups[j].names[0]);

		if (c < 0)
			*group = a->groups[i++];
		else if (c > 0)
			*group = b->groups[j++];
		else
			merge_group(&a->groups[i++], &b->groups[j++], group);
	}
}

/* ---------- bytes: writing ---------- */

static inline unsigned char *
put_varint(unsigned char *p, uint64 value)
{
	while (value >= 0x80)
	{
		*p++ = (unsigned char) (value | 0x80);
		value >>= 7;
	}
	*p++ = (unsigned char) value;
	return p;
}

/* Of the bytes 0-9 and a-f one more than their value; of others 0. */
static const uint8 hex_values[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8,
	['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16
};

static inline int
hex_value(char c)
{
	return hex_values[(unsigned char) c] - 1;
}

/* Packs a UUID in lower-case text form; false if the string is no such. */
static bool
pack_uuid(ProfileString s, unsigned char *packed)
{
	static const uint8 starts[PROFILE_UUID_BYTES] = {
		0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34
	};
	int			all = 0;

	if (s.len != PROFILE_UUID_TEXT ||
		s.data[8] != '-' || s.data[13] != '-' || s.data[18] != '-' || s.data[23] != '-')
		return false;
	for (int n = 0; n < PROFILE_UUID_BYTES; n++)
	{
		int			hi = hex_value(s.data[starts[n]]);
		int			lo = hex_value(s.data[starts[n] + 1]);

		all |= hi | lo;
		packed[n] = (unsigned char) (hi << 4 | lo);
	}
	/* one that is no digit is negative */
	return all >= 0;
}

static void
unpack_uuid(const unsigned char *packed, char *text)
{
	static const char hex[] = "0123456789abcdef";
	int			n = 0;

	for (int i = 0; i < PROFILE_UUID_BYTES; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[n++] = '-';
		text[n++] = hex[packed[i] >> 4];
		text[n++] = hex[packed[i] & 15];
	}
}

#define NAME_PLACES		256		/* of the table below; a power of two */

static inline uint32
name_place(ProfileString name)
{
	return ((unsigned char) name.data[0] * 5 + (unsigned char) name.data[name.len - 1] * 3 + name.len) % NAME_PLACES;
}

/* 1-based code of a well-known name, 0 for any other. */
static inline int
name_code(ProfileString name)
{
	static uint8 places[NAME_PLACES];	/* open addressing; 0 is free */
	uint32		place;

	if (places[name_place(well_known[0])] == 0)
	{
		for (int i = 0; i < (int) lengthof(well_known); i++)
		{
			place = name_place(well_known[i]);
			while (places[place] != 0)
				place = (place + 1) % NAME_PLACES;
			places[place] = i + 1;
		}
	}
	for (place = name_place(name); places[place] != 0; place = (place + 1) % NAME_PLACES)
	{
		const ProfileString *known = &well_known[places[place] - 1];

		/* mostly it is that very string */
		if (known->data == name.data || profile_string_eq(*known, name))
			return places[place];
	}
	return 0;
}

/* The well-known name of these bytes, which lasts and is told fastest, or this one. */
ProfileString
profile_shared_name(ProfileString name)
{
	int			code = name_code(name);

	return code > 0 ? well_known[code - 1] : name;
}

/* Numbers the distinct strings of a profile in the order of first reference, and writes them. */
typedef struct StringTable
{
	ProfileString *strings;
	uint32		nstrings;
	uint16	   *slots;			/* open addressing; 0 is free, k is string k */
	uint32		mask;
	unsigned char *end;			/* of what is written */
} StringTable;

static inline uint64
load_word(const char *p)
{
	uint64		word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint32
load_half(const char *p)
{
	uint32		half;

	memcpy(&half, p, sizeof(half));
	return half;
}

static inline uint64
mix(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * UINT64CONST(0x9E3779B97F4A7C15);
	return hash ^ hash >> 32;
}

/* A hash that is good enough for the few strings of one profile. */
static inline uint32
hash_of(ProfileString s)
{
	uint64		hash = s.len;

	if (s.len >= 8)
	{
		for (uint32 i = 0; i + 8 < s.len; i += 8)
			hash = mix(hash, load_word(s.data + i));
		hash = mix(hash, load_word(s.data + s.len - 8));
	}
	else if (s.len >= 4)
		hash = mix(hash, load_half(s.data) | (uint64) load_half(s.data + s.len - 4) << 32);
	else if (s.len > 0)
		hash = mix(hash, (unsigned char) s.data[0] | (unsigned char) s.data[s.len / 2] << 8 |
				   (unsigned char) s.data[s.len - 1] << 16);
	/* a product's lower bits know nothing of the upper ones of what is multiplied */
	return (uint32) (mix(hash, 0) >> 32);
}

/* memcpy without a call for what most strings are. */
static inline void
copy_bytes(unsigned char *to, const char *from, uint32 len)
{
	if (len > 16)
		memcpy(to, from, len);
	else if (len >= 8)
	{
		uint64		start = load_word(from);
		uint64		end = load_word(from + len - 8);

		memcpy(to, &start, 8);
		memcpy(to + len - 8, &end, 8);
	}
	else if (len >= 4)
	{
		uint32		start = load_half(from);
		uint32		end = load_half(from + len - 4);

		memcpy(to, &start, 4);
		memcpy(to + len - 4, &end, 4);
	}
	else
	{
		for (uint32 i = 0; i < len; i++)
			to[i] = (unsigned char) from[i];
	}
}

/* Writes a string as profile.h draws it; returns the end. */
static inline unsigned char *
put_string(unsigned char *p, ProfileString s)
{
	if (pack_uuid(s, p + 1))
	{
		*p = 1;
		return p + 1 + PROFILE_UUID_BYTES;
	}
	p = put_varint(p, (uint64) s.len * 2);
	copy_bytes(p, s.data, s.len);
	return p + s.len;
}

/* The number of a string, of which an earlier reference, and its number, may help. */
static inline uint32
string_number(StringTable *table, ProfileString s, ProfileString earlier, uint32 number)
{
	uint32		slot;

	if (s.data == NULL)
		return 0;
	/* values of one event are the same bytes, not only equal ones */
	if (s.data == earlier.data && s.len == earlier.len)
		return number;
	slot = hash_of(s) & table->mask;
	while (table->slots[slot] != 0)
	{
		if (profile_string_eq(table->strings[table->slots[slot] - 1], s))
			return table->slots[slot];
		slot = (slot + 1) & table->mask;
	}
	table->strings[table->nstrings++] = s;
	table->slots[slot] = table->nstrings;
	table->end = put_string(table->end, s);
	return table->nstrings;
}

#define MOST_VARINT		10		/* bytes */
#define MOST_STRING(s)	(MOST_VARINT + 1 + PROFILE_UUID_BYTES + (Size) (s).len) /* that put_string() writes */

/* Bytes that the strings of a content can take, and all else, with the number of references. */
static void
measure(const ProfileContent *content, Size *strings, Size *rest, uint32 *nrefs)
{
	ProfileString sessions[2] = {{NULL, 0}, {NULL, 0}};	/* of the group before */
	int			nattributes = 0;

	*strings = *rest = 0;
	for (int g = 0; g < content->ngroups; g++)
	{
		const ProfileGroup *group = &content->groups[g];

		nattributes += group->nmembers;
		if (group->first.session.data != sessions[PROFILE_FIRST].data)
			*strings += MOST_STRING(group->first.session);
		if (group->last.session.data != sessions[PROFILE_LAST].data)
			*strings += MOST_STRING(group->last.session);
		sessions[PROFILE_FIRST] = group->first.session;
		sessions[PROFILE_LAST] = group->last.session;
		for (int m = 0; m < group->nmembers; m++)
		{
			*strings += MOST_STRING(group->first.values[m]) + MOST_STRING(group->last.values[m]);
			*rest += 2 + group->names[m].len;
		}
	}
	if (nattributes > PROFILE_MAX_ATTRIBUTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a profile can have at most %d attributes",
						PROFILE_MAX_ATTRIBUTES)));
	*nrefs = 2 * (content->ngroups + nattributes);
	*rest += (1 + 3 * (Size) content->ngroups + *nrefs) * MOST_VARINT;
}

/* The fixed part, and the number of strings. */
static inline unsigned char *
put_header(unsigned char *p, TimestampTz first_seen, TimestampTz last_seen, uint32 nstrings)
{
	uint64		bits = (uint64) first_seen ^ (UINT64CONST(1) << 63);

	*p++ = PROFILE_VERSION;
	*p++ = 0;
	for (int shift = 56; shift >= 0; shift -= 8)
		*p++ = (unsigned char) (bits >> shift);
	p = put_varint(p, (uint64) last_seen - (uint64) first_seen);
	return put_varint(p, nstrings);
}

/*
 * The bytes of a content, as a palloc'd varlena.
 *
 * The content must have passed profile_check(), or come from profile_merge()
 * or the aggregate's state, which keep its rules.
 *
 * The strings stand in front of the groups that refer to them, so both are
 * written apart, and put together then.
 */
struct varlena *
profile_build(const ProfileContent *content)
{
	union
	{
		ProfileString aligned;
		unsigned char bytes[16384];
	}			small;
	unsigned char *work = small.bytes;
	StringTable table = {0};
	unsigned char *strings;
	unsigned char *groups;
	unsigned char header[PROFILE_HEADER + 2 * MOST_VARINT];
	unsigned char *p;
	Size		most_strings;
	Size		most_groups;
	Size		most;
	uint32		nrefs;
	ProfileString sessions[2] = {{NULL, 0}, {NULL, 0}};	/* of the group before */
	uint32		session_refs[2] = {0, 0};
	Size		sizes[3];
	struct varlena *result;

	measure(content, &most_strings, &most_groups, &nrefs);
	table.mask = pg_nextpower2_32(2 * nrefs + 8) - 1;
	most = nrefs * sizeof(ProfileString) + (table.mask + 1) * sizeof(uint16) + most_strings + most_groups;
	if (most > sizeof(small))
		work = palloc_extended(most, MCXT_ALLOC_HUGE);
	table.strings = (ProfileString *) work;
	table.slots = (uint16 *) (table.strings + nrefs);
	memset(table.slots, 0, (table.mask + 1) * sizeof(uint16));
	strings = table.end = (unsigned char *) (table.slots + table.mask + 1);
	groups = p = strings + most_strings;

	p = put_varint(p, content->ngroups);
	for (int g = 0; g < content->ngroups; g++)
	{
		const ProfileGroup *group = &content->groups[g];
		uint32		first_refs[PROFILE_MAX_ATTRIBUTES];

		p = put_varint(p, group->nmembers);
		for (int m = 0; m < group->nmembers; m++)
		{
			ProfileString name = group->names[m];
			int			code = name_code(name);

			*p++ = (unsigned char) code;
			if (code == 0)
			{
				*p++ = (unsigned char) name.len;
				memcpy(p, name.data, name.len);
				p += name.len;
			}
		}
		for (int end = PROFILE_FIRST; end <= PROFILE_LAST; end++)
		{
			const ProfileEvidence *e = end == PROFILE_FIRST ? &group->first : &group->last;

			p = put_varint(p, end == PROFILE_FIRST ? (uint64) e->at - (uint64) content->first_seen
						   : (uint64) content->last_seen - (uint64) e->at);
			session_refs[end] = string_number(&table, e->session, sessions[end], session_refs[end]);
			sessions[end] = e->session;
			p = put_varint(p, session_refs[end]);
			/* the event of both ends is often one */
			if (end == PROFILE_LAST && e->values == group->first.values)
			{
				for (int m = 0; m < group->nmembers; m++)
					p = put_varint(p, first_refs[m]);
				continue;
			}
			for (int m = 0; m < group->nmembers; m++)
			{
				uint32		ref = end == PROFILE_FIRST
					? string_number(&table, e->values[m], profile_string(NULL, 0), 0)
					: string_number(&table, e->values[m], group->first.values[m], first_refs[m]);

				first_refs[m] = ref;
				p = put_varint(p, ref);
			}
		}
	}
	sizes[1] = table.end - strings;
	sizes[2] = p - groups;
	Assert(sizes[1] <= most_strings && sizes[2] <= most_groups);

	sizes[0] = put_header(header, content->first_seen, content->last_seen, table.nstrings) - header;

	if (sizes[0] + sizes[1] + sizes[2] > PROFILE_MAX_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("profile of %zu bytes is too large", sizes[0] + sizes[1] + sizes[2]),
				 errdetail("A profile can have at most %d bytes.", PROFILE_MAX_SIZE),
				 errhint("Shorten the longest attributes in the mapping, for example with left(value, 1000).")));

	result = palloc(VARHDRSZ + sizes[0] + sizes[1] + sizes[2]);
	SET_VARSIZE(result, VARHDRSZ + sizes[0] + sizes[1] + sizes[2]);
	p = (unsigned char *) VARDATA(result);
	memcpy(p, header, sizes[0]);
	memcpy(p + sizes[0], strings, sizes[1]);
	memcpy(p + sizes[0] + sizes[1], groups, sizes[2]);
	if (work != small.bytes)
		pfree(work);
	return result;
}

/* ---------- bytes: reading ---------- */

typedef struct Reader
{
	const unsigned char *p;
	const unsigned char *end;
	bool		failed;
} Reader;

static inline Size
bytes_left(const Reader *r)
{
	return r->end - r->p;
}

static uint64
get_long_varint(Reader *r)
{
	uint64		value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		unsigned char c;

		if (r->p == r->end)
			break;
		c = *r->p++;
		/* the tenth byte has room for one bit */
		if (shift == 63 && c > 1)
			break;
		value |= (uint64) (c & 0x7F) << shift;
		if (c < 0x80)
			return value;
	}
	r->failed = true;
	return 0;
}

static inline uint64
get_varint(Reader *r)
{
	/* most have one byte */
	return r->p < r->end && *r->p < 0x80 ? *r->p++ : get_long_varint(r);
}

/* A count of things that take at least "least" bytes each. */
static inline uint32
get_count(Reader *r, Size least)
{
	uint64		n = get_varint(r);

	if (n > bytes_left(r) / least)
	{
		r->failed = true;
		return 0;
	}
	return (uint32) n;
}

static inline ProfileString
get_reference(Reader *r, const ProfileString *strings, uint32 nstrings)
{
	uint64		ref = get_varint(r);

	if (ref > nstrings)
	{
		r->failed = true;
		ref = 0;
	}
	return ref == 0 ? profile_string(NULL, 0) : strings[ref - 1];
}

static inline void
get_evidence(Reader *r, ProfileEvidence *e, int nmembers,
			 const ProfileString *strings, uint32 nstrings)
{
	e->session = get_reference(r, strings, nstrings);
	for (int m = 0; m < nmembers; m++)
		e->values[m] = get_reference(r, strings, nstrings);
}

/* Reads the fixed part; returns what is wrong with it, or NULL. */
static const char *
read_header(Reader *r, const struct varlena *value, ProfileContent *content)
{
	uint64		bits = 0;

	r->p = (const unsigned char *) VARDATA_ANY(value);
	r->end = r->p + VARSIZE_ANY_EXHDR(value);
	r->failed = false;
	if (bytes_left(r) < PROFILE_HEADER)
		return "too short";
	if (r->p[0] != PROFILE_VERSION)
		return "unknown version";
	if (r->p[1] & PROFILE_FLAGS_RESERVED)
		return "reserved bits are set";
	for (int i = 2; i < PROFILE_HEADER; i++)
		bits = bits << 8 | r->p[i];
	r->p += PROFILE_HEADER;
	content->first_seen = (TimestampTz) (bits ^ (UINT64CONST(1) << 63));
	content->last_seen = (TimestampTz) ((uint64) content->first_seen + get_varint(r));
	return NULL;
}

/* The times alone of a stored profile. */
const char *
profile_decode_times(const struct varlena *value, ProfileContent *content)
{
	Reader		r;

	return read_header(&r, value, content);
}

/* ---------- the same at another time ---------- */

static inline bool
is_same_string(ProfileString a, ProfileString b)
{
	if (a.data == NULL || b.data == NULL)
		return a.data == b.data;
	return a.len == b.len && (a.data == b.data || memcmp(a.data, b.data, a.len) == 0);
}

/* Do two evidences say the same, whenever? */
static bool
say_the_same(int nmembers, const ProfileEvidence *a, const ProfileEvidence *b)
{
	if (!is_same_string(a->session, b->session))
		return false;
	for (int i = 0; i < nmembers && a->values != b->values; i++)
	{
		if (!is_same_string(a->values[i], b->values[i]))
			return false;
	}
	return true;
}

/*
 * The bytes of a content that says the same as that of a value, but was seen last at another time, as
 * of somebody who goes on as before: what profile_build() makes of it.  NULL if it says anything
 * else.
 */
struct varlena *
profile_build_later(const struct varlena *value, const ProfileContent *before, const ProfileContent *content)
{
	Reader		r;
	ProfileContent times;
	struct varlena *result;
	unsigned char *p;

	if (content->first_seen != before->first_seen || content->ngroups != before->ngroups)
		return NULL;
	for (int g = 0; g < content->ngroups; g++)
	{
		const ProfileGroup *a = &before->groups[g];
		const ProfileGroup *b = &content->groups[g];

		if (b->first.at != a->first.at ||
			(uint64) content->last_seen - (uint64) b->last.at != (uint64) before->last_seen - (uint64) a->last.at ||
			!have_same_members(a, b) || !say_the_same(a->nmembers, &a->first, &b->first) ||
			!say_the_same(a->nmembers, &a->last, &b->last))
			return NULL;
	}
	if (read_header(&r, value, &times) != NULL || bytes_left(&r) > PROFILE_MAX_SIZE - PROFILE_HEADER - MOST_VARINT)
		return NULL;
	result = palloc(VARHDRSZ + PROFILE_HEADER + MOST_VARINT + bytes_left(&r));
	p = (unsigned char *) VARDATA(result);
	memcpy(p, VARDATA_ANY(value), PROFILE_HEADER);
	p = put_varint(p + PROFILE_HEADER, (uint64) content->last_seen - (uint64) content->first_seen);
	memcpy(p, r.p, bytes_left(&r));
	SET_VARSIZE(result, p + bytes_left(&r) - (unsigned char *) result);
	return result;
}

/* ---------- profiles of one event ---------- */

/*
 * Takes the layout of a profile of one event that knows so many attributes; there
 * is none if two of them have the same value.  Its bytes are the context's.
 */
void
profile_take_layout(ProfileLayout *layout, MemoryContext context, uint64 known,
					uint32 nstrings, const struct varlena *profile)
{
	Reader		r;
	ProfileContent content;

	layout->size = 0;
	if (read_header(&r, profile, &content) != NULL || get_varint(&r) != nstrings)
		return;
	for (uint32 i = 0; i < nstrings; i++)
	{
		uint64		len = get_varint(&r);

		r.p += len & 1 ? PROFILE_UUID_BYTES : len / 2;
	}
	if (layout->groups != NULL)
		pfree(layout->groups);
	layout->groups = NULL;
	layout->groups = MemoryContextAlloc(context, bytes_left(&r));
	memcpy(layout->groups, r.p, bytes_left(&r));
	layout->known = known;
	layout->nstrings = nstrings;
	layout->size = bytes_left(&r);
}

#define MOST_ALIKE		65536	/* bytes of strings; beyond there are limits to be checked */
#define SEEN_BITS		2048

/*
 * The profile of an event of this layout: what profile_build() makes of its content.
 * The strings are in the order of reference, the session first.  NULL if two may be
 * the same, or they are long.
 */
struct varlena *
profile_build_alike(const ProfileLayout *layout, TimestampTz at, const ProfileString *strings)
{
	uint64		seen[SEEN_BITS / 64] = {0};
	uint64		most = PROFILE_HEADER + (2 + layout->nstrings) * MOST_VARINT + layout->size;
	struct varlena *result;
	unsigned char *p;

	for (uint32 i = 0; i < layout->nstrings; i++)
	{
		uint32		hash = hash_of(strings[i]) % SEEN_BITS;

		if (seen[hash / 64] & UINT64CONST(1) << hash % 64)
			return NULL;
		seen[hash / 64] |= UINT64CONST(1) << hash % 64;
		most += strings[i].len;
	}
	if (most > MOST_ALIKE)
		return NULL;
	result = palloc(VARHDRSZ + most);
	p = put_header((unsigned char *) VARDATA(result), at, at, layout->nstrings);
	for (uint32 i = 0; i < layout->nstrings; i++)
		p = put_string(p, strings[i]);
	memcpy(p, layout->groups, layout->size);
	SET_VARSIZE(result, p + layout->size - (unsigned char *) result);
	return result;
}

/* ---------- bytes: all of them ---------- */

/*
 * Reads the bytes of a profile.  Returns NULL, or what is wrong with them.
 *
 * Never reads outside the value and never allocates more than a small multiple
 * of it, whatever the bytes are.  That the content keeps the rules is for
 * profile_check() to say.  Strings of the content point into the value, which
 * must stay, or are palloc'd like the arrays.
 */
const char *
profile_decode(const struct varlena *value, ProfileContent *content)
{
	Reader		r;
	const char *problem;
	uint32		nstrings;
	ProfileString *strings;
	ProfileString *strings_left;	/* of the groups, not taken yet */
	char	   *uuids;
	int			nattributes = 0;

	problem = read_header(&r, value, content);
	if (problem != NULL)
		return problem;

	nstrings = get_count(&r, 1);
	if (nstrings > 4 * PROFILE_MAX_ATTRIBUTES)
		return "too many strings";
	strings = palloc(nstrings * sizeof(ProfileString) + 1);
	uuids = palloc(Min(nstrings, bytes_left(&r) / (1 + PROFILE_UUID_BYTES)) *
				   PROFILE_UUID_TEXT + 1);
	for (uint32 i = 0; i < nstrings; i++)
	{
		uint64		len = get_varint(&r);
		bool		uuid = (len & 1) != 0;

		len = uuid ? PROFILE_UUID_BYTES : len / 2;
		if (r.failed || len > bytes_left(&r))
			return "a string goes beyond the end";
		strings[i] = profile_string((const char *) r.p, len);
		if (uuid)
		{
			unpack_uuid(r.p, uuids);
			strings[i] = profile_string(uuids, PROFILE_UUID_TEXT);
			uuids += PROFILE_UUID_TEXT;
		}
		r.p += len;
	}

	content->ngroups = get_count(&r, 8);
	content->groups = palloc(content->ngroups * sizeof(ProfileGroup) + 1);
	/* an attribute takes three bytes at least, and three strings here */
	strings_left = palloc(Min(bytes_left(&r) / 3, PROFILE_MAX_ATTRIBUTES) * 3 * sizeof(ProfileString) + 1);
	for (int g = 0; g < content->ngroups; g++)
	{
		ProfileGroup *group = &content->groups[g];

		group->nmembers = get_count(&r, 3);
		nattributes += group->nmembers;
		if (r.failed || group->nmembers == 0)
			return "a group has no members";
		if (nattributes > PROFILE_MAX_ATTRIBUTES)
			return "too many attributes";
		group->names = strings_left;
		group->first.values = group->names + group->nmembers;
		group->last.values = group->first.values + group->nmembers;
		strings_left = group->last.values + group->nmembers;
		for (int m = 0; m < group->nmembers; m++)
		{
			Size		len;

			if (bytes_left(&r) < 2)
				return "a name goes beyond the end";
			if (*r.p != 0)
			{
				if (*r.p > lengthof(well_known))
					return "unknown name code";
				group->names[m] = well_known[*r.p - 1];
				r.p++;
				continue;
			}
			len = r.p[1];
			r.p += 2;
			if (len > bytes_left(&r))
				return "a name goes beyond the end";
			group->names[m] = profile_string((const char *) r.p, len);
			r.p += len;
		}
		group->first.at = (TimestampTz) ((uint64) content->first_seen + get_varint(&r));
		get_evidence(&r, &group->first, group->nmembers, strings, nstrings);
		group->last.at = (TimestampTz) ((uint64) content->last_seen - get_varint(&r));
		get_evidence(&r, &group->last, group->nmembers, strings, nstrings);
	}
	if (r.failed)
		return "a number or reference is out of range";
	if (r.p != r.end)
		return "extra bytes at the end";
	return NULL;
}
