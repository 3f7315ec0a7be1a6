/*
 * upkeep.h
 *		What the files that keep profiles up to date share.
 */
#ifndef PROFILES_UPKEEP_H
#define PROFILES_UPKEEP_H

#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "parser/parse_node.h"
#include "storage/lock.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"

/* profiles.c */
extern int	profiles_future_tolerance;
extern int	profiles_pending_limit;

/* procedure.c: the kinds of subjects, and the locks of their upkeep */
#define PROFILES_KINDS	2
extern const char *const profiles_kinds[PROFILES_KINDS];

typedef enum ProfilesLock
{
	PROFILES_UPKEEP_LOCK,		/* exclusive: refresh, rebuild, forget, a writer
								 * who merges */
	PROFILES_DIRECT_LOCK		/* shared: writers who merge at once; exclusive:
								 * whoever has the upkeep lock */
} ProfilesLock;

extern bool profiles_lock(Oid extension, int kind, ProfilesLock lock,
						  LOCKMODE mode, bool session, bool wait);
extern void profiles_unlock(Oid extension, int kind, ProfilesLock lock,
							LOCKMODE mode, bool session);

/* event_triggers.c: names of the trigger that every captured table has, and of the transition tables */
#define PROFILES_INSERT_TRIGGER	"profiles_insert"
#define PROFILES_OLD_EVENTS		"profiles_old_events"
#define PROFILES_NEW_EVENTS		"profiles_new_events"

extern bool profiles_may_be_captured(Oid relation);

/* upkeep_state.c */
extern void profiles_read_table(Oid schema, const char *name, bool (*take) (TupleTableSlot *row, void *to), void *to);
extern Datum profiles_row_value(TupleTableSlot *row, const char *column);
extern char *profiles_source_view(int32 id);

/* merge.c */
extern bool profiles_any_marks(Oid schema, const char *kind);

/* search_upkeep.c */
extern Datum profiles_note_searched(PG_FUNCTION_ARGS);
extern void profiles_note_key(int kind, Datum key, bool attributes);
extern bool profiles_search_is_put_off;
extern bool profiles_upkeep_runs[PROFILES_KINDS];

/* rights.c: whose rights code runs with */
typedef struct ProfilesRole
{
	Oid			user;
	int			security;
	int			settings;
} ProfilesRole;

extern Oid	profiles_extension_of(Oid function);
extern Oid	profiles_owner(Oid function);
extern Oid	profiles_relation_owner(Oid relation);
extern ProfilesRole profiles_become(Oid role);
extern void profiles_settle(void);
extern ProfilesRole profiles_become_owner(Oid owner);
extern ProfilesRole profiles_become_adder(Oid role);
extern void profiles_become_caller(ProfilesRole caller);
extern Oid	profiles_filter_role(const char *filter);

/* expression.c */
typedef struct SourceColumn
{
	char	   *name;			/* of the source's view */
	char	   *expression;		/* SQL over the source's row */
	Expr	   *expr;			/* the same, its Vars being of relation 1 */
	bool		is_column;		/* nothing but a column of the source */
	bool		is_whole_row;	/* looks at the row as a whole */
} SourceColumn;

typedef struct SourceEntry
{
	char	   *name;
	char	   *expression;		/* as given; NULL to take the column out */
} SourceEntry;

typedef struct SourceDefinition
{
	Oid			owner;			/* who added it; expressions run as this role */
	Oid			relation;		/* the events */
	List	   *columns;		/* of SourceColumn */
	List	   *targets;		/* of TargetEntry, Vars being of relation 1 */
	List	   *functions;		/* OIDs of those that the columns call */
} SourceDefinition;

extern SourceDefinition *profiles_source_definition(Oid view);
extern Oid	profiles_source_events(Oid view);
extern Query *profiles_source_query(Relation relation, SourceDefinition *before, List *entries);
extern char *profiles_relation_text(Oid relid);
extern Oid	profiles_column_type(const char *name);
extern bool profiles_collect_functions(Node *node, List **functions);
extern Node *profiles_parse_expression(ParseState *pstate, const char *text);
extern bool profiles_reads_pinned_settings_only(Form_pg_proc proc);

/* filter.c: filters over users and accounts */
extern Node *profiles_analyse_filter(Oid relation, const char *text, Oid role);
extern Node *profiles_expand_segments(Node *filter, Oid relation, const char *text,
									  const char *inside, bool marked);
extern char *profiles_row_expression(Relation relation, const char *alias, const char *text, bool condition);
extern Oid	profiles_relation_of_kind(const char *kind, Oid namespace);
extern Node *profiles_segment_filter(Oid view, Oid *over);
extern List *profiles_segments_in(Node *filter, Oid relation);

/* segment.c */
extern Oid	profiles_segment_view(const char *name, Oid namespace);
extern Query *profiles_segment_query(Oid relid, Node *filter);
extern void profiles_replace_segment(Oid view, Oid relid, Node *filter);

/* trust.c */
extern bool profiles_is_trusted(Oid giver, Oid role);
extern Query *profiles_trusted_query(const char *sql, const char *source);

/* import.c */
extern Query *profiles_import_query(List *entries);

/* fold.c */
#define PROFILES_MAX_KEY	1024	/* bytes; an index takes no more than a third
									 * of a page */

typedef struct DirectFold DirectFold;

typedef struct ProfilesFold
{
	SourceDefinition *source;
	const char *kind;			/* user or account */
	Oid			relation;		/* what to read, or whose rows */
	Tuplestorestate *rows;		/* the rows of a transition table; NULL: all */
	TupleDesc	rows_desc;		/* and their form */
	const char *rows_name;		/* and the table's name */
	DirectFold **direct;		/* where its caller keeps it; NULL: nowhere */
	MemoryContext direct_context;	/* and in which context */
	bool		by_query;		/* don't fold directly */
	float8		sample;			/* share of the keys; 1: all */
	Datum		keys;			/* text[]: only these; 0: all */
	TimestampTz since;			/* only from this time on; DT_NOBEGIN: all */
	Tuplestorestate *store;		/* where the rows go */
	TupleDesc	tupdesc;		/* and of what form they are */
	MemoryContext store_context;
	void		(*put) (void *put_to, Datum *values, bool *nulls);	/* set: they go
																 * here, if the
																 * fold is direct */
	void	   *put_to;
	bool		evaluates;		/* has planning ended, so that an error may be a row's fault? */
} ProfilesFold;

extern SourceDefinition *profiles_our_source(Oid function, Oid view);
extern bool profiles_prepare_fold(ProfilesFold *fold);
extern void profiles_fold_rows(ProfilesFold *fold);
extern char *profiles_qualified_name(Oid relation);

/* fold_query.c */
extern char *fold_query(ProfilesFold *fold, const char *from);
extern uint32 fold_longest_value(ProfilesFold *fold);
extern bool profiles_source_feeds(SourceDefinition *source, const char *kind);
extern SourceColumn *profiles_find_column(SourceDefinition *source, const char *name);
extern List *profiles_filter_columns(SourceDefinition *source);
extern char *profiles_filter_reason(SourceColumn *column);
extern List *profiles_attribute_columns(SourceDefinition *source, const char *kind, List **names);

/* direct_fold.c */
extern DirectFold *profiles_prepare_direct_fold(ProfilesFold *fold);
extern bool profiles_direct_fold_can_fail(DirectFold *direct);
extern bool profiles_direct_fold_is_plain(DirectFold *direct);
extern bool profiles_fold_directly(ProfilesFold *fold, DirectFold *direct, TimestampTz limit);

#endif							/* PROFILES_UPKEEP_H */
