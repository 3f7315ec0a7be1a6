/*
 * upkeep.h
 *		What the files that keep profiles up to date share.
 */
#ifndef PROFILES_UPKEEP_H
#define PROFILES_UPKEEP_H

#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

/* profiles.c */
extern int	profiles_future_tolerance;

/* rights.c: whose rights code runs with */
typedef struct ProfilesRole
{
	Oid			user;
	int			security;
	int			settings;
} ProfilesRole;

extern Oid	profiles_extension_of(Oid function);
extern Oid	profiles_owner(Oid function);
extern ProfilesRole profiles_become_owner(Oid owner);
extern ProfilesRole profiles_become_adder(Oid role);
extern void profiles_become_caller(ProfilesRole caller);
extern void profiles_check_caller_has(Oid role);

/* expression.c */
typedef struct SourceColumn
{
	char	   *name;			/* of the source's view */
	char	   *expression;		/* SQL over the source's row */
	bool		is_column;		/* nothing but a column of the source */
	bool		is_whole_row;	/* looks at the row as a whole */
} SourceColumn;

typedef struct SourceDefinition
{
	Oid			owner;			/* who added it; expressions run as this role */
	Oid			relation;		/* the events */
	List	   *columns;		/* of SourceColumn */
} SourceDefinition;

extern SourceDefinition *profiles_source_definition(Oid view);

#endif							/* PROFILES_UPKEEP_H */
