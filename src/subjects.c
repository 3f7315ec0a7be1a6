/*
 * subjects.c
 *		The table of a direct fold's subjects.
 *
 * It remembers where each subject's first and last row are, with those that share
 * their times.  Where it may not grow any more, the pass becomes one about fewer
 * hashes: the subjects of the others are forgotten, and are for a later pass.
 */
#include "postgres.h"

#include "subjects.h"
#include "utils/memutils.h"

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
	subjects->places = MemoryContextAllocExtended(subjects->context, nplaces * sizeof(Subject),
												  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	subjects->nplaces = nplaces;
	subjects->n = 0;
}

/* Begins a pass over the hashes from this one on; nplaces is a power of two. */
void
subjects_begin(Subjects *subjects, uint64 hash_from, uint32 nplaces)
{
	subjects->hash_from = hash_from;
	subjects->hash_to = ALL_HASHES;
	subjects->nshared = 0;
	new_table(subjects, nplaces);
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
	Subject    *old = subjects->places;
	uint32		n = subjects->nplaces;

	new_table(subjects, nplaces);
	for (uint32 i = 0; i < n; i++)
	{
		Subject    *place;
		char	   *key;

		if (old[i].key == NULL || old[i].hash >= subjects->hash_to)
			continue;
		place = subjects_find(subjects, old[i].hash, profile_string(old[i].key, old[i].key_len));
		key = MemoryContextAlloc(subjects->context, old[i].key_len + 1);
		memcpy(key, old[i].key, old[i].key_len);
		*place = old[i];
		place->key = key;
		subjects->n++;
	}
	MemoryContextDelete(old_context);
}

/* Makes room for so many more subjects; this pass may become one about fewer. */
void
subjects_make_room(Subjects *subjects, uint32 more)
{
	while (subjects->n + more > subjects->nplaces / 4 * 3)
	{
		uint64		doubled = (uint64) subjects->nplaces * 2;
		uint64		hashes = subjects->hash_to - subjects->hash_from;

		if (doubled > PG_INT32_MAX ||
			(subjects->memory > 0 && doubled * sizeof(Subject) > subjects->memory && hashes > 1))
		{
			subjects->hash_to = subjects->hash_from + hashes / 2;
			doubled = subjects->nplaces;
		}
		move_subjects(subjects, (uint32) doubled);
	}
}

/* Puts a new subject into its free place; its time is that of its first event. */
void
subjects_add(Subjects *subjects, Subject *place, uint32 hash, ProfileString key, TimestampTz at)
{
	char	   *copy = MemoryContextAlloc(subjects->context, key.len + 1);

	memcpy(copy, key.data, key.len);
	place->key = copy;
	place->key_len = key.len;
	place->hash = hash;
	place->first_at = place->last_at = at;
	subjects->n++;
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
