/*
 * event_triggers.c
 *		The triggers that a source's tables have: makes and drops them.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "parser/parse_func.h"
#include "profile.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(profiles_install_triggers);
PG_FUNCTION_INFO_V1(profiles_remove_triggers);

/*
 * Can a source's table, or a partition or child of it, be captured?  Only its session
 * can read a temporary one.
 */
bool
profiles_may_be_captured(Oid relation)
{
	char		relkind = get_rel_relkind(relation);

	return (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE) &&
		get_rel_persistence(relation) != RELPERSISTENCE_TEMP;
}

static void
run_command(char *command)
{
	int			rc = SPI_execute(command, false, 0);

	if (rc != SPI_OK_UTILITY)
		elog(ERROR, "%s failed: %s", command, SPI_result_code_string(rc));
}

static void
create_triggers(Oid relation, int32 source_id, const char *capture, const char *on_change)
{
	char	   *table = profiles_qualified_name(relation);
	char	   *call = psprintf("FOR EACH STATEMENT EXECUTE FUNCTION profiles.capture(%d, %s, %s)",
								source_id, quote_literal_cstr(capture),
								quote_literal_cstr(on_change));

	run_command(psprintf("CREATE OR REPLACE TRIGGER " PROFILES_INSERT_TRIGGER " AFTER INSERT ON %s "
						 "REFERENCING NEW TABLE AS " PROFILES_NEW_EVENTS " %s", table, call));
	run_command(psprintf("CREATE OR REPLACE TRIGGER profiles_update AFTER UPDATE ON %s "
						 "REFERENCING OLD TABLE AS " PROFILES_OLD_EVENTS " NEW TABLE AS " PROFILES_NEW_EVENTS " %s",
						 table, call));
	run_command(psprintf("CREATE OR REPLACE TRIGGER profiles_delete AFTER DELETE ON %s "
						 "REFERENCING OLD TABLE AS " PROFILES_OLD_EVENTS " %s", table, call));
	run_command(psprintf("CREATE OR REPLACE TRIGGER profiles_truncate %s TRUNCATE ON %s %s",
						 strcmp(on_change, "keep") == 0 ? "BEFORE" : "AFTER", table, call));
}

/* Has a table the triggers of a source? */
static bool
has_triggers_of(Oid relid, int32 source_id)
{
	Relation	relation = table_open(relid, NoLock);
	TriggerDesc *triggers = relation->trigdesc;
	bool		found = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		found |= strcmp(trigger->tgname, PROFILES_INSERT_TRIGGER) == 0 && trigger->tgnargs == 3 &&
			atoi(trigger->tgargs[0]) == source_id;
	}
	table_close(relation, NoLock);
	return found;
}

/*
 * _install_triggers(view regclass, source_id integer, capture text,
 *					 on_change text, part regclass)
 *
 * Gives the source's relation, its partitions and children their triggers, with
 * the rights of the source's adder; or that part alone, if it has none yet, and no
 * other is locked.
 */
Datum
profiles_install_triggers(PG_FUNCTION_ARGS)
{
	static const char *const arguments[] = {"source_view", "source_id", "capture", "on_change"};
	int32		source_id;
	char	   *capture;
	char	   *on_change;
	Oid			part = PG_ARGISNULL(4) ? InvalidOid : PG_GETARG_OID(4);
	int			settings;
	SourceDefinition *source;
	ProfilesRole caller;
	ListCell   *lc;

	for (int i = 0; i < (int) lengthof(arguments); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be NULL", arguments[i])));
	source_id = PG_GETARG_INT32(1);
	capture = text_to_cstring(PG_GETARG_TEXT_PP(2));
	on_change = text_to_cstring(PG_GETARG_TEXT_PP(3));
	settings = profiles_pin_settings();
	source = profiles_our_source(fcinfo->flinfo->fn_oid, PG_GETARG_OID(0));
	caller = profiles_become_adder(source->owner);

	SPI_connect();
	foreach(lc, find_all_inheritors(source->relation, AccessShareLock, NULL))
	{
		Oid			relation = lfirst_oid(lc);

		if (!profiles_may_be_captured(relation))
			continue;
		if (!OidIsValid(part) || (relation == part && !has_triggers_of(relation, source_id)))
			create_triggers(relation, source_id, capture, on_change);
	}
	SPI_finish();
	profiles_become_caller(caller);
	profiles_unpin_settings(settings);
	PG_RETURN_VOID();
}

/*
 * _remove_triggers(relation regclass): drops the triggers on a table that call
 * capture().
 *
 * Whoever may create a trigger need not own the table, but only the owner may
 * drop it; so this asks for no right.  What it drops is ours, whoever made it.
 */
Datum
profiles_remove_triggers(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			capture = LookupFuncName(list_make2(makeString("profiles"), makeString("capture")),
										 0, NULL, false);
	Relation	relation = try_table_open(relid, AccessExclusiveLock);
	TriggerDesc *triggers;
	List	   *ours = NIL;
	ListCell   *lc;

	/* dropped while we waited */
	if (relation == NULL)
		PG_RETURN_VOID();
	triggers = relation->trigdesc;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (triggers->triggers[i].tgfoid == capture && !triggers->triggers[i].tgisclone)
			ours = lappend_oid(ours, triggers->triggers[i].tgoid);
	}
	table_close(relation, NoLock);
	foreach(lc, ours)
	{
		ObjectAddress trigger;

		ObjectAddressSet(trigger, TriggerRelationId, lfirst_oid(lc));
		performDeletion(&trigger, DROP_RESTRICT, 0);
		CommandCounterIncrement();
	}
	PG_RETURN_VOID();
}
