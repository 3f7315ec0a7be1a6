/*
 * direct_fold.c
 *		Folds the events of a table, or the rows of a statement, without a query.
 *
 * Most events change nothing: of those of one subject only the first and the last
 * are evidence, as long as these two know all attribute groups.  So rows are read
 * lazily.  The first scan looks at keys and times alone, and remembers where each
 * subject's first and last row are, with those that share their times; these rows
 * are then read in the order in which they are stored.  Only if some subjects are
 * not settled by that, since a group is unknown at an end, a second scan offers all
 * their events; or only those that know groups which hardly any does.
 *
 * A table with more subjects than fit into maintenance_work_mem is folded in
 * several passes, each over a range of the keys' hashes.  The rows of a statement
 * are folded in memory, if they are too many in several chunks: a subject that is in
 * more than one of them is given by each.
 *
 * What it gives is what the query of fold.c gives, which is its oracle.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "event_rows.h"
#include "executor/executor.h"
#include "left_out.h"
#include "miscadmin.h"
#include "pending.h"
#include "profile.h"
#include "profile_fold.h"
#include "rare_groups.h"
#include "subjects.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define SCAN_BATCH			64		/* rows whose subjects are looked up together */
#define PREFETCH_AHEAD		4		/* rows or states */
#define PREFETCH_BYTES		384		/* of each */
#define MOST_SCANS			4		/* a query takes as long as about five */
#define STATE_SIZE			1024	/* a guess at what a subject's state takes */

/* A row on its way to its subject; its key's bytes are in the batch's buffer. */
typedef struct ScannedRow
{
	ProfileString key;
	uint32		hash;
	TimestampTz at;
	RowPlace	place;
	bool		knows_rare;		/* does it know a rare group? */
} ScannedRow;

/* What subjects need beside the events of their first and last time. */
typedef enum Needs
{
	NEEDS_NOTHING,
	NEEDS_RARE,					/* those that know rare groups */
	NEEDS_ALL
} Needs;

typedef struct Winner
{
	RowPlace	place;
	TimestampTz at;
	uint32		subject;		/* which of the subjects */
} Winner;

typedef struct DirectRun
{
	ProfilesFold *fold;
	DirectFold *direct;
	MemoryContext context;		/* of the run */
	EventRows	rows;
	ProfileString *values[2];	/* of rows that are read as a whole, by attribute */
	Subjects	subjects;		/* of this pass */
	RareGroups	rare;
	Size		memory;			/* that their states may take; 0: any */
	uint32		scans;			/* beside the first of each pass */
	LeftOut    *left_out;		/* NULL: nothing is, so far */
	bool		count_left_out; /* in the first scan only */
} DirectRun;

/* ---------- what is given ---------- */

static LeftOut *
left_out(DirectRun *run)
{
	if (run->left_out == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(run->context);

		run->left_out = left_out_begin(run->fold);
		MemoryContextSwitchTo(old);
	}
	return run->left_out;
}

/* Gives a profile; held: why it does not count yet, or NULL.  In a memory context that is reset after it. */
static void
put_row(DirectRun *run, ProfileString key, const char *held, struct varlena *profile, uint64 events)
{
	Datum		values[FOLDED_COLUMNS] = {PointerGetDatum(cstring_to_text_with_len(key.data, key.len)),
		held == NULL ? (Datum) 0 : CStringGetTextDatum(held),
	PointerGetDatum(profile), Int64GetDatum((int64) events)};
	bool		nulls[FOLDED_COLUMNS] = {false, held == NULL, false, false, true};
	List	   *cut = profile_fold_cut(profile, run->rows.row.longest);

	if (run->fold->put != NULL)
		run->fold->put(run->fold->put_to, values, nulls);
	else
		tuplestore_putvalues(run->fold->store, run->fold->tupdesc, values, nulls);
	if (cut != NIL)
		left_out_add_cut(left_out(run), cut, key);
}

static struct varlena *
profile_of(FoldState *state)
{
	ProfileContent content;

	profile_fold_content(state, &content);
	return profile_build(&content);
}

/* Gives a subject; in such a context. */
static void
put_profile(DirectRun *run, Subject *subject, struct varlena *profile)
{
	put_row(run, profile_string(subject->key, subject->key_len), NULL, profile, subject->events);
}

/* Gives a subject whose state is complete. */
static void
put_subject(DirectRun *run, Subject *subject)
{
	MemoryContext old;

	ResetExprContext(run->rows.econtext);
	old = MemoryContextSwitchTo(run->rows.econtext->ecxt_per_tuple_memory);
	put_profile(run, subject, profile_of(subject->u.state));
	MemoryContextSwitchTo(old);
	pfree(subject->u.state);
	subject->is_open = false;
}

/* Gives a subject whose only event is the row at hand. */
static void
put_single(DirectRun *run, Subject *subject)
{
	MemoryContext old = MemoryContextSwitchTo(run->rows.econtext->ecxt_per_tuple_memory);

	event_rows_read(&run->rows, run->values[0]);
	put_profile(run, subject, profile_fold_single(run->direct->shape, run->values[0], subject->first_at));
	MemoryContextSwitchTo(old);
}

/* Gives a subject of rows in memory, if its first and last one are all that matters. */
static bool
put_ends(DirectRun *run, Subject *subject)
{
	ProfileContent content;
	MemoryContext old;
	bool		done;

	if (subject->first_at == subject->last_at || subject->u.shared[0] != 0 || subject->u.shared[1] != 0)
		return false;
	event_rows_fetch(&run->rows, subject->first);
	event_rows_read(&run->rows, run->values[0]);
	event_rows_fetch_too(&run->rows, subject->last);
	event_rows_read(&run->rows, run->values[1]);
	old = MemoryContextSwitchTo(run->rows.econtext->ecxt_per_tuple_memory);
	done = profile_fold_ends(run->direct->shape, run->values[0], subject->first_at,
							 run->values[1], subject->last_at, subject->events == 2,
							 subject->knows_rare ? NULL : run->rare.rare, &content);
	if (done)
		put_profile(run, subject, profile_build(&content));
	MemoryContextSwitchTo(old);
	return done;
}

/* Gives the row at hand, which is held until it is due. */
static void
put_held(DirectRun *run, Event *event)
{
	MemoryContext old = MemoryContextSwitchTo(run->rows.econtext->ecxt_per_tuple_memory);
	FoldState  *state = profile_fold_new(CurrentMemoryContext, run->direct->shape, event->at);
	int			settings = profiles_pin_settings();
	char	   *time = DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(event->at)));

	profiles_unpin_settings(settings);
	state = profile_fold_event(state, &run->rows.row, event->at);
	put_row(run, event->key, psprintf("future %s", time), profile_of(state), 1);
	MemoryContextSwitchTo(old);
}

/* ---------- the first scan ---------- */

static inline uint32
hash_key(ProfileString key)
{
	return hash_bytes((const unsigned char *) key.data, key.len);
}

/*
 * Makes the next event that counts, and that this pass is about, the row at hand.
 * The first scan sees to the rows that do not count.
 */
static bool
next_event(DirectRun *run, Event *event, uint32 *hash)
{
	while (event_rows_next(&run->rows))
	{
		CHECK_FOR_INTERRUPTS();
		if (event_rows_counts(&run->rows, event))
		{
			*hash = hash_key(event->key);
			if (*hash >= run->subjects.hash_from && *hash < run->subjects.hash_to)
				return true;
		}
		else if (run->count_left_out)
		{
			if (event->held)
				put_held(run, event);
			else
				left_out_add(left_out(run), event->left_out, 1, event->key);
		}
	}
	return false;
}

/*
 * Looks up the subjects of a batch.  Every look-up misses the processor's caches
 * once there are many subjects, so all are asked for before the first is used.
 */
static void
note_batch(DirectRun *run, ScannedRow *rows, int n)
{
	Subjects   *subjects = &run->subjects;

	subjects_make_room(subjects, n);
	for (int i = 0; i < n; i++)
		subjects_ask_place(subjects, rows[i].hash);
	for (int i = 0; i < n; i++)
		subjects_ask_subject(subjects, rows[i].hash);
	for (int i = 0; i < n; i++)
		subjects_ask_key(subjects, rows[i].hash);
	for (int i = 0; i < n; i++)
	{
		ScannedRow *row = &rows[i];
		SubjectPlace *place;
		Subject    *subject;

		/* the pass may have become one about fewer */
		if (row->hash >= subjects->hash_to)
			continue;
		place = subjects_find(subjects, row->hash, row->key);
		subject = place->number > 0 ? &subjects->subjects[place->number - 1]
			: subjects_add(subjects, place, row->hash, row->key, row->at);
		subject->knows_rare |= row->knows_rare;
		subjects_note(subjects, subject, row->at, row->place);
	}
}

/* Which rows are each subject's first and last? */
static void
find_winners(DirectRun *run)
{
	ScannedRow *rows = MemoryContextAlloc(run->context, SCAN_BATCH * sizeof(ScannedRow));
	char	   *keys = MemoryContextAlloc(run->context, SCAN_BATCH * PROFILES_MAX_KEY);
	Event		event;
	uint32		hash;
	int			n = 0;
	Size		used = 0;

	event_rows_rewind(&run->rows);
	rare_groups_begin(&run->rare);
	while (next_event(run, &event, &hash))
	{
		ScannedRow *row = &rows[n];

		/* all that fail are to be found */
		if (run->direct->attributes_can_fail)
			event_rows_read(&run->rows, run->values[0]);
		row->key = profile_string(memcpy(keys + used, event.key.data, event.key.len), event.key.len);
		row->hash = hash;
		row->at = event.at;
		row->place = event_rows_place(&run->rows);
		row->knows_rare = rare_groups_look(&run->rare, &run->rows);
		used += event.key.len;
		if (++n == SCAN_BATCH)
		{
			note_batch(run, rows, n);
			n = 0;
			used = 0;
		}
	}
	note_batch(run, rows, n);
	pfree(rows);
	pfree(keys);
}

/* ---------- reading the winners ---------- */

#define ST_SORT sort_winners
#define ST_ELEMENT_TYPE Winner
#define ST_COMPARE(a, b) ((a)->place < (b)->place ? -1 : (a)->place > (b)->place)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Offers the row at hand to a subject's state. */
static void
offer_row(DirectRun *run, Subject *subject, TimestampTz at)
{
	MemoryContext old = MemoryContextSwitchTo(run->rows.econtext->ecxt_per_tuple_memory);

	subject->u.state = profile_fold_event(subject->u.state, &run->rows.row, at);
	MemoryContextSwitchTo(old);
}

static void
open_subject(DirectRun *run, Subject *subject, MemoryContext states)
{
	subject->misses_rows = subject->u.shared[0] == NOT_KEPT || subject->u.shared[1] == NOT_KEPT;
	subject->u.state = profile_fold_new(states, run->direct->shape, subject->first_at);
	subject->is_open = true;
}

/* What does a subject need to whom the events of its first and last time were offered? */
static Needs
needs_of(DirectRun *run, Subject *subject)
{
	if (subject->misses_rows)
		return NEEDS_ALL;
	if (subject->events <= 2)
		return NEEDS_NOTHING;
	if (!profile_fold_has_ends(subject->u.state, subject->first_at, subject->last_at, run->rare.rare))
		return NEEDS_ALL;
	return subject->knows_rare ? NEEDS_RARE : NEEDS_NOTHING;
}

/* Offers the row at hand, an event that counts, to its subject if that has a state. */
static void
offer_event(DirectRun *run, Event *event, uint32 hash)
{
	uint32		number = subjects_find(&run->subjects, hash, event->key)->number;

	if (number > 0 && run->subjects.subjects[number - 1].is_open)
		offer_row(run, &run->subjects.subjects[number - 1], event->at);
}

/* The second scan: offers all events of the subjects that have a state. */
static void
offer_all(DirectRun *run)
{
	Event		event;
	uint32		hash;

	event_rows_rewind(&run->rows);
	while (next_event(run, &event, &hash))
		offer_event(run, &event, hash);
}

/* The same of those events that know rare groups. */
static void
offer_rare(DirectRun *run)
{
	Event		event;

	for (uint64 i = 0; i < run->rare.nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		event_rows_fetch(&run->rows, run->rare.rows[i]);
		if (event_rows_counts(&run->rows, &event))
			offer_event(run, &event, hash_key(event.key));
	}
}

/* Asks for the beginning of a row in memory, or of a state. */
static inline void
prefetch(const void *start)
{
	for (int i = 0; i < PREFETCH_BYTES; i += 64)
		__builtin_prefetch((const char *) start + i);
}

/* The rows of a subject's first and last time, from a winner on; returns its end. */
static Winner *
add_winners(DirectRun *run, uint32 number, Winner *winner)
{
	Subject    *subject = &run->subjects.subjects[number];

	for (int end = 0; end < 2; end++)
	{
		RowPlace	place = end == 0 ? subject->first : subject->last;
		TimestampTz at = end == 0 ? subject->first_at : subject->last_at;

		/* with one time only, both ends are the same rows */
		if (end == 1 && subject->last_at == subject->first_at)
			break;
		for (uint32 next = subject->u.shared[end];; next = run->subjects.shared[next - 1].next)
		{
			winner->place = place;
			winner->at = at;
			winner->subject = number;
			winner++;
			if (next == 0 || next == NOT_KEPT)
				break;
			place = run->subjects.shared[next - 1].place;
		}
	}
	return winner;
}

/*
 * Gives the subjects [from, to) that the rows of their first and last times decide;
 * the others stay open.  Rows are read in the order in which they are stored.
 * Returns what these need.
 */
static Needs
give_complete(DirectRun *run, MemoryContext states, uint32 from, uint32 to)
{
	Winner	   *winners = MemoryContextAllocHuge(states, (2 * (Size) (to - from) + run->subjects.nshared) * sizeof(Winner) + 1);
	Winner	   *end = winners;
	Needs		others = NEEDS_NOTHING;

	for (uint32 i = from; i < to; i++)
	{
		end = add_winners(run, i, end);
		open_subject(run, &run->subjects.subjects[i], states);
	}
	sort_winners(winners, end - winners);
	for (Winner *winner = winners; winner < end; winner++)
	{
		CHECK_FOR_INTERRUPTS();
		/* rows come in their order, subjects in any */
		if (end - winner > 2 * PREFETCH_AHEAD)
		{
			__builtin_prefetch(&run->subjects.subjects[winner[2 * PREFETCH_AHEAD].subject]);
			prefetch(run->subjects.subjects[winner[PREFETCH_AHEAD].subject].u.state);
		}
		event_rows_fetch(&run->rows, winner->place);
		offer_row(run, &run->subjects.subjects[winner->subject], winner->at);
	}
	for (uint32 i = from; i < to; i++)
	{
		Subject    *subject = &run->subjects.subjects[i];
		Needs		needs = needs_of(run, subject);

		if (needs == NEEDS_NOTHING)
			put_subject(run, subject);
		others = Max(others, needs);
	}
	pfree(winners);
	return others;
}

/*
 * The same for all subjects of rows in memory, one after the other in the order in
 * which they came: what lies beside each other is read together.
 */
static Needs
give_complete_rows(DirectRun *run, MemoryContext states)
{
	Winner	   *winners = MemoryContextAllocHuge(states, (2 + (Size) run->subjects.nshared) * sizeof(Winner));
	uint32		n = run->subjects.n;
	Needs		others = NEEDS_NOTHING;

	for (uint32 i = 0; i < n; i++)
	{
		Subject    *subject = &run->subjects.subjects[i];
		Winner	   *end;
		Needs		needs;

		CHECK_FOR_INTERRUPTS();
		if (i + PREFETCH_AHEAD < n)
			prefetch((void *) (uintptr_t) run->subjects.subjects[i + PREFETCH_AHEAD].first);
		if (subject->events == 1)
		{
			event_rows_fetch(&run->rows, subject->first);
			put_single(run, subject);
			continue;
		}
		if (put_ends(run, subject))
			continue;
		end = add_winners(run, i, winners);
		open_subject(run, subject, states);
		for (Winner *winner = winners; winner < end; winner++)
		{
			event_rows_fetch(&run->rows, winner->place);
			offer_row(run, subject, winner->at);
		}
		needs = needs_of(run, subject);
		if (needs == NEEDS_NOTHING)
			put_subject(run, subject);
		others = Max(others, needs);
	}
	pfree(winners);
	return others;
}

/* Gives the subjects [from, to) that have a state. */
static void
give_open(DirectRun *run, uint32 from, uint32 to)
{
	for (uint32 i = from; i < to; i++)
	{
		if (run->subjects.subjects[i].is_open)
			put_subject(run, &run->subjects.subjects[i]);
	}
}

/* Gives the subjects [from, to).  Returns whether that took a scan. */
static bool
give_subjects(DirectRun *run, uint32 from, uint32 to)
{
	MemoryContext states = AllocSetContextCreate(run->context, "folded states",
												 ALLOCSET_DEFAULT_SIZES);
	Needs		others;

	if (run->fold->rows != NULL)
		others = give_complete_rows(run, states);
	else
		others = give_complete(run, states, from, to);
	if (others == NEEDS_ALL)
		offer_all(run);
	else if (others == NEEDS_RARE)
		offer_rare(run);
	if (others != NEEDS_NOTHING)
		give_open(run, from, to);
	MemoryContextDelete(states);
	return others == NEEDS_ALL;
}

/*
 * Gives all subjects of a pass, as many at a time as there is memory for states.
 * Returns false, with more to give, if that would take too many scans.
 */
static bool
give_pass(DirectRun *run)
{
	uint32		most = run->memory > 0 ? run->memory / STATE_SIZE + 1 : PG_UINT32_MAX;
	uint32		n = run->subjects.n;
	uint32		from = 0;

	for (; n - from > most; from += most)
	{
		if (give_subjects(run, from, from + most) && ++run->scans + (n - from - most) / most > MOST_SCANS)
			return false;
	}
	(void) give_subjects(run, from, n);
	return true;
}

/* Folds a chunk of rows, in as many passes as memory asks for; false as above. */
static bool
fold_chunk(DirectRun *run)
{
	/* as many subjects as rows, where it is known how many these are */
	uint64		n = run->fold->rows == NULL ? 0 : event_rows_in_chunk(&run->rows);

	run->count_left_out = true;
	for (uint64 from = 0; from < ALL_HASHES; from = run->subjects.hash_to)
	{
		bool		done;

		subjects_begin(&run->subjects, from, n);
		find_winners(run);
		run->count_left_out = false;
		done = give_pass(run);
		subjects_end(&run->subjects);
		if (!done)
			return false;
	}
	return true;
}

/* ---------- entry points ---------- */

/*
 * What profiles_fold_directly() is to do; NULL if a query has to.  The settings
 * must be pinned, and the adder be in force.
 */
DirectFold *
profiles_prepare_direct_fold(ProfilesFold *fold)
{
	DirectFold *direct;

	if (fold->rows != NULL)
		return event_rows_prepare(fold->source, fold->kind);
	if (fold->by_query || fold->sample < 1 || fold->keys != (Datum) 0 || fold->since != DT_NOBEGIN ||
		!event_rows_are_readable(fold))
		return NULL;
	direct = event_rows_prepare(fold->source, fold->kind);
	/* all rows whose expressions fail are to be found, so all have to be read */
	return direct->attributes_can_fail ? NULL : direct;
}

bool
profiles_direct_fold_can_fail(DirectFold *direct)
{
	return direct->can_fail;
}

/* Does it matter neither as whom nor under which settings it runs? */
bool
profiles_direct_fold_is_plain(DirectFold *direct)
{
	return direct->is_plain;
}

/*
 * Folds into the fold's tuplestore, as profiles_fold_rows() says.  Returns false,
 * with part of it done, if many subjects are not settled by their first and last
 * events and memory is short: then a query, which goes to disk, is faster.
 */
bool
profiles_fold_directly(ProfilesFold *fold, DirectFold *direct, TimestampTz limit)
{
	DirectRun	run = {0};
	MemoryContext caller = CurrentMemoryContext;
	bool		done = true;

	run.fold = fold;
	run.direct = direct;
	run.context = AllocSetContextCreate(caller, "direct fold", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(run.context);
	event_rows_open(&run.rows, fold, direct, limit);
	/* half for the subjects, half for the states of some of them */
	if (fold->rows == NULL)
		run.memory = (Size) maintenance_work_mem * 1024 / 2;
	subjects_init(&run.subjects, run.context, run.memory);
	rare_groups_init(&run.rare, direct->shape,
					 fold->rows == NULL || tuplestore_tuple_count(fold->rows) >= RARE_GROUPS_MIN_ROWS, run.memory / 16);
	for (int i = 0; i < 2; i++)
		run.values[i] = palloc(direct->shape->nattributes * sizeof(ProfileString) + 1);

	while (done && event_rows_next_chunk(&run.rows))
		done = fold_chunk(&run);
	if (run.left_out != NULL)
		left_out_end(run.left_out);

	event_rows_close(&run.rows);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(run.context);
	return done;
}
