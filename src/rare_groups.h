/*
 * rare_groups.h
 *		Attribute groups that hardly any event knows, and the events that do.
 */
#ifndef PROFILES_RARE_GROUPS_H
#define PROFILES_RARE_GROUPS_H

#include "event_rows.h"

#define RARE_GROUPS_MIN_ROWS	2000	/* of fewer rows it does not pay to look for them */

typedef struct RareGroups
{
	MemoryContext context;
	bool		look;			/* is it to be looked for any? */
	int			ngroups;
	bool	   *rare;			/* by group; none until enough rows were looked at */
	int			nrare;
	uint64	   *known;			/* by group: how many of the rows looked at know it, */
	uint64		looked_at;		/* of these */
	RowPlace   *rows;			/* of this pass, that know a rare group */
	uint64		nrows;
	uint64		size;
	uint64		most;			/* rows that may be remembered */
} RareGroups;

extern void rare_groups_init(RareGroups *groups, const FoldShape *shape, bool look, Size memory);
extern void rare_groups_begin(RareGroups *groups);
extern bool rare_groups_look(RareGroups *groups, EventRows *rows);

#endif							/* PROFILES_RARE_GROUPS_H */
