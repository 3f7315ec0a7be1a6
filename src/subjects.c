/*
 * subjects.c
 *		The table of a direct fold's subjects.
 *
 * It remembers where each subject's first and last row are, with those that share
 * their times.  Where it may not grow any more, the pass becomes one about fewer
 * hashes: the subjects of the others are forgotten, and are for a later pass.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "subjects.h"
#include "utils/memutils.h"

#define MIN_PLACES		16
#define FIRST_KEYS		1024	/* bytes that are asked for together, */
#define MOST_KEYS		65536	/* and at most */

/* Tables to come are made in parent; memory: what one may take, 0: any. */
void
subjects_init(Subjects *subjects, MemoryContext parent, Size memory)
{
	memset(subjects, 0, sizeof(Subjects));
	subjects->parent = parent;
	subjects->memory = memory;
	subjects->most_shared = PG_INT32_MAX;
	if (memory > 0)
		subjects->most_shared = Min(memory / sizeof(SharedRow) / 4, subjects->most_shared);
}

static void
new_table(Subjects *subjects, uint32 nplaces)
{
	subjects->context = AllocSetContextCreate(subjects->parent, "folded subjects",
											  ALLOCSET_DEFAULT_SIZES);
	subjects->places = MemoryContextAllocExtended(subjects->context, nplaces * sizeof(SubjectPlace),
												  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	subjects->nplaces = nplaces;
	subjects->most = nplaces / 4 * 3;
	subjects->subjects = MemoryContextAllocHuge(subjects->context, subjects->most * sizeof(Subject));
	subjects->n = 0;
	subjects->keys = NULL;
	subjects->keys_left = subjects->keys_size = 0;
}

/* What a table of so many places takes, but for keys. */
static Size
table_size(uint64 nplaces)
{
	return nplaces * sizeof(SubjectPlace) + nplaces / 4 * 3 * sizeof(Subject);
}

/* Begins a pass over the hashes from this one on, of about n subjects. */
void
subjects_begin(Subjects *subjects, uint64 hash_from, uint64 n)
{
	subjects->hash_from = hash_from;
	subjects->hash_to = ALL_HASHES;
	subjects->nshared = 0;
	new_table(subjects, pg_nextpower2_32(Max(Min(n, PG_INT16_MAX * 4), MIN_PLACES)));
}

void
subjects_end(Subjects *subjects)
{
	MemoryContextDelete(subjects->context);
}

/*
 * Makes a new table of this size, with those subjects whose hashes this pass is
 * still about.
 */
static void
move_subjects(Subjects *subjects, uint32 nplaces)
{
	MemoryContext old_context = subjects->context;
	Subject    *old = subjects->subjects;
	uint32		n = subjects->n;

	new_table(subjects, nplaces);
	for (uint32 i = 0; i < n; i++)
	{
		ProfileString key = profile_string(old[i].key, old[i].key_len);
		Subject    *moved;

		if (old[i].hash >= subjects->hash_to)
			continue;
		moved = subjects_add(subjects, subjects_find(subjects, old[i].hash, key), old[i].hash, key, 0);
		old[i].key = moved->key;
		*moved = old[i];
	}
	MemoryContextDelete(old_context);
}

/* Makes room for so many more subjects; this pass may become one about fewer. */
void
subjects_make_room(Subjects *subjects, uint32 more)
{
	while (subjects->n + more > subjects->most)
	{
		uint64		doubled = (uint64) subjects->nplaces * 2;
		uint64		hashes = subjects->hash_to - subjects->hash_from;

		if (doubled > PG_INT32_MAX ||
			(subjects->memory > 0 && table_size(doubled) > subjects->memory && hashes > 1))
		{
			subjects->hash_to = subjects->hash_from + hashes / 2;
			doubled = subjects->nplaces;
		}
		move_subjects(subjects, (uint32) doubled);
	}
}

/*
 * Adds a subject, for which there is room, at its free place; its time is that of
 * its first event.
 */
Subject *
subjects_add(Subjects *subjects, SubjectPlace *place, uint32 hash, ProfileString key, TimestampTz at)
{
	Subject    *subject = &subjects->subjects[subjects->n++];

	place->hash = hash;
	place->number = subjects->n;
	if (subjects->keys == NULL || key.len > subjects->keys_left)
	{
		subjects->keys_size = Max(Min(Max(subjects->keys_size * 2, FIRST_KEYS), MOST_KEYS), key.len);
		subjects->keys = MemoryContextAlloc(subjects->context, subjects->keys_size);
		subjects->keys_left = subjects->keys_size;
	}
	memcpy(subjects->keys, key.data, key.len);
	memset(subject, 0, sizeof(Subject));
	subject->key = subjects->keys;
	subject->key_len = key.len;
	subject->hash = hash;
	subject->first_at = subject->last_at = at;
	subjects->keys += key.len;
	subjects->keys_left -= key.len;
	return subject;
}

/*
 * Keeps a further row of a subject's first or last time.  Where many events share
 * them there is an end to that.
 */
void
subjects_keep_shared(Subjects *subjects, uint32 *list, RowPlace place)
{
	SharedRow  *row;

	if (*list == NOT_KEPT)
		return;
	if (subjects->nshared == subjects->shared_capacity)
	{
		if (subjects->shared_capacity == subjects->most_shared)
		{
			*list = NOT_KEPT;
			return;
		}
		subjects->shared_capacity = Min(Max((uint64) subjects->shared_capacity * 2, 64), subjects->most_shared);
		subjects->shared = subjects->shared == NULL
			? MemoryContextAllocHuge(subjects->parent, subjects->shared_capacity * sizeof(SharedRow))
			: repalloc_huge(subjects->shared, subjects->shared_capacity * sizeof(SharedRow));
	}
	row = &subjects->shared[subjects->nshared++];
	row->place = place;
	row->next = *list;
	*list = subjects->nshared;
}
