/*
 * subjects.h
 *		The subjects of a direct fold: which of their rows are first and last.
 */
#ifndef PROFILES_SUBJECTS_H
#define PROFILES_SUBJECTS_H

#include "event_rows.h"
#include "profile.h"
#include "profile_fold.h"

#define NOT_KEPT	PG_UINT32_MAX
#define ALL_HASHES	((uint64) PG_UINT32_MAX + 1)

typedef struct Subject
{
	const char *key;
	union
	{
		FoldState  *state;		/* while its events are offered */
		uint32		shared[2];	/* before: further rows of its first, and its last
								 * time; 0: none, NOT_KEPT: nobody knows which */
	}			u;
	uint32		hash;
	uint16		key_len;
	bool		is_open:1;		/* has it a state? */
	bool		misses_rows:1;	/* were some of shared not kept? */
	bool		knows_rare:1;	/* has it an event that knows a rare group? */
	uint64		events;
	TimestampTz first_at;
	TimestampTz last_at;
	RowPlace	first;
	RowPlace	last;
} Subject;

/* A further row of a subject's first or last time; a list by numbers from 1. */
typedef struct SharedRow
{
	RowPlace	place;
	uint32		next;			/* 0: none */
} SharedRow;

typedef struct SubjectPlace
{
	uint32		hash;
	uint32		number;			/* from 1; 0: the place is free */
} SubjectPlace;

/*
 * Those whose hashes are in [hash_from, hash_to), in the order in which they came.
 * The open-addressed table of their numbers is small enough for the processor's
 * caches for longer than they are.
 */
typedef struct Subjects
{
	MemoryContext parent;		/* of the table's own, and of shared */
	MemoryContext context;
	SubjectPlace *places;
	uint32		nplaces;		/* a power of two */
	Subject    *subjects;
	uint32		n;
	uint32		most;			/* of them, for so many places */
	char	   *keys;			/* room for the bytes of further keys */
	Size		keys_left;
	Size		keys_size;		/* of what was asked for last */
	uint64		hash_from;
	uint64		hash_to;
	Size		memory;			/* that subjects may take; 0: any */
	SharedRow  *shared;
	uint32		nshared;
	uint32		shared_capacity;
	uint32		most_shared;
} Subjects;

/* The place of a key, or the free one where it belongs. */
static inline SubjectPlace *
subjects_find(Subjects *subjects, uint32 hash, ProfileString key)
{
	uint32		mask = subjects->nplaces - 1;

	for (uint32 i = hash & mask;; i = (i + 1) & mask)
	{
		SubjectPlace *place = &subjects->places[i];
		Subject    *subject;

		if (place->number == 0)
			return place;
		if (place->hash != hash)
			continue;
		subject = &subjects->subjects[place->number - 1];
		if (subject->key_len == key.len && memcmp(subject->key, key.data, key.len) == 0)
			return place;
	}
}

/* Asks for a subject ahead of its look-up: its place, itself, its key. */
static inline void
subjects_ask_place(Subjects *subjects, uint32 hash)
{
	__builtin_prefetch(&subjects->places[hash & (subjects->nplaces - 1)]);
}

static inline void
subjects_ask_subject(Subjects *subjects, uint32 hash)
{
	uint32		number = subjects->places[hash & (subjects->nplaces - 1)].number;

	if (number > 0)
		__builtin_prefetch(&subjects->subjects[number - 1]);
}

static inline void
subjects_ask_key(Subjects *subjects, uint32 hash)
{
	uint32		number = subjects->places[hash & (subjects->nplaces - 1)].number;

	if (number > 0)
		__builtin_prefetch(subjects->subjects[number - 1].key);
}

extern void subjects_init(Subjects *subjects, MemoryContext parent, Size memory);
extern void subjects_begin(Subjects *subjects, uint64 hash_from, uint64 n);
extern void subjects_end(Subjects *subjects);
extern void subjects_make_room(Subjects *subjects, uint32 more);
extern Subject *subjects_add(Subjects *subjects, SubjectPlace *place, uint32 hash, ProfileString key, TimestampTz at);
extern void subjects_keep_shared(Subjects *subjects, uint32 *list, RowPlace place);

/* Notes that a row of this time is at this place. */
static inline void
subjects_note(Subjects *subjects, Subject *subject, TimestampTz at, RowPlace place)
{
	if (subject->events++ == 0)
	{
		subject->first = subject->last = place;
		return;
	}
	if (at == subject->first_at)
		subjects_keep_shared(subjects, &subject->u.shared[0], place);
	else if (at < subject->first_at)
	{
		subject->u.shared[0] = 0;
		subject->first = place;
		subject->first_at = at;
	}
	if (at == subject->last_at)
		subjects_keep_shared(subjects, &subject->u.shared[1], place);
	else if (at > subject->last_at)
	{
		subject->u.shared[1] = 0;
		subject->last = place;
		subject->last_at = at;
	}
}

#endif							/* PROFILES_SUBJECTS_H */
