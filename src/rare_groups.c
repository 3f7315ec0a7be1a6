/*
 * rare_groups.c
 *		Attribute groups that hardly any event knows, and the events that do.
 *
 * A subject's first and last event settle it if they know all groups.  Many mappings
 * have an attribute that few events know, as a plan or an account; and then hardly a
 * subject would be settled, and all events be read again.  So the first scan looks at
 * these groups of every event, and remembers the rows that know one: of a subject that
 * has no such row nobody knows the group.
 *
 * Which groups these are the first rows tell, none of which knows them.  One that turns
 * out to be known by more is given up.
 */
#include "postgres.h"

#include "rare_groups.h"
#include "utils/memutils.h"

#define FIRST_ROWS		500		/* which tell */
#define RARE_SHARE		32		/* at most one row of so many knows a rare group, */
#define MOST_ANYWAY		1000	/* or no more rows than these */

/* In the current memory context; look: else there are none; memory: what rows may take, 0: any. */
void
rare_groups_init(RareGroups *groups, const FoldShape *shape, bool look, Size memory)
{
	memset(groups, 0, sizeof(RareGroups));
	groups->context = CurrentMemoryContext;
	groups->look = look;
	groups->ngroups = shape->ngroups;
	groups->rare = palloc0(shape->ngroups * sizeof(bool) + 1);
	groups->known = palloc0(shape->ngroups * sizeof(uint64) + 1);
	groups->most = memory == 0 ? PG_UINT32_MAX : memory / sizeof(RowPlace);
}

/* Begins a pass: its rows are those that are looked at from here on. */
void
rare_groups_begin(RareGroups *groups)
{
	groups->nrows = 0;
}

static void
give_up(RareGroups *groups, int group)
{
	groups->rare[group] = false;
	groups->nrare--;
}

static void
remember(RareGroups *groups, RowPlace place)
{
	if (groups->nrows == groups->most)
	{
		for (int g = 0; g < groups->ngroups; g++)
		{
			if (groups->rare[g])
				give_up(groups, g);
		}
		return;
	}
	if (groups->nrows == groups->size)
	{
		groups->size = Min(Max(groups->size * 2, 1024), groups->most);
		groups->rows = groups->rows == NULL ? MemoryContextAllocHuge(groups->context, groups->size * sizeof(RowPlace))
			: repalloc_huge(groups->rows, groups->size * sizeof(RowPlace));
	}
	groups->rows[groups->nrows++] = place;
}

/* Looks at the row at hand, which counts: does it know a rare group? */
bool
rare_groups_look(RareGroups *groups, EventRows *rows)
{
	bool		choosing = groups->looked_at < FIRST_ROWS;
	bool		found = false;

	if (!groups->look || (!choosing && groups->nrare == 0))
		return false;
	groups->looked_at++;
	for (int g = 0; g < groups->ngroups; g++)
	{
		if ((!choosing && !groups->rare[g]) || !event_rows_knows(rows, g))
			continue;
		groups->known[g]++;
		found = true;
		if (!choosing && groups->known[g] > MOST_ANYWAY && groups->known[g] > groups->looked_at / RARE_SHARE)
			give_up(groups, g);
	}
	if (groups->looked_at == FIRST_ROWS)
	{
		for (int g = 0; g < groups->ngroups; g++)
		{
			groups->rare[g] = groups->known[g] == 0;
			groups->nrare += groups->rare[g];
		}
	}
	if (found && !choosing)
		remember(groups, event_rows_place(rows));
	return found && !choosing;
}
