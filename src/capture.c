/*
 * capture.c
 *		The trigger function: folds the rows of one statement on events into
 *		partial profiles, and says what has to be computed anew.
 *
 * Deferred capture only ever appends to the pending table, so that concurrent
 * writers never wait for each other.  The folding runs as the source's adder, the
 * writing as the extension's owner; the writer of events needs no rights here.
 *
 * Of whom forget() has blocked nothing is written but how many events were refused,
 * and a mark, so that all is right whenever it is unblocked.
 *
 * The trigger's arguments are the source's id, how to capture and what to do on
 * change.  The view of the source is locked until the end of the transaction, so
 * that whoever changes the mapping waits until what was captured under the old
 * one is committed.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pending.h"
#include "profile.h"
#include "screen.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(profiles_capture);

/* Names of the folded rows in statements. */
#define OLD_ROWS	"profiles_old_rows"
#define NEW_ROWS	"profiles_new_rows"


/* What is written for a statement; the statements are below. */
typedef enum Writing
{
	WRITE_PENDING,				/* new rows, to be merged later */
	WRITE_DIRECT,				/* new rows, at once */
	WRITE_LEFT_OUT,				/* the rest of them: rows left out or held */
	WRITE_CHANGES,				/* marks for what changed, new rows */
	WRITE_MARKS,				/* marks for old rows */
	WRITE_KEPT,					/* old rows are kept */
	WRITE_HELD_MARKS,			/* marks for old rows that are not */
	WRITE_DUE,					/* all has to be computed anew */
	WRITE_DETACHED,				/* the same, if the table was a part */
	WRITINGS
} Writing;

/* Rows that count for a profile: now, or once they are due. */
#define COUNTS	"key IS NOT NULL AND (left_out IS NULL OR left_out LIKE 'future %%')"

/* %1$s is the kind; $1 the source, $2 the table. */
static const char *const writings[WRITINGS] = {
	/* in the order of keys, like every writer: no two wait for each other */
	[WRITE_DIRECT] =
	"INSERT INTO profiles.%1$s_profile AS p (key, profile) "
	"SELECT r.key, profiles.profile_union_agg(r.profile) FROM " NEW_ROWS " r "
	"WHERE r.left_out IS NULL AND r.profile IS NOT NULL "
	"  AND NOT EXISTS (SELECT FROM profiles.blocked b WHERE b.kind = '%1$s' AND b.key = r.key) "
	"GROUP BY r.key ORDER BY r.key "
	"ON CONFLICT (key) DO UPDATE SET profile = p.profile OPERATOR(profiles.||) EXCLUDED.profile "
	"WHERE profiles._adds(p.profile, EXCLUDED.profile)",

	[WRITE_PENDING] =
	"INSERT INTO profiles.%1$s_pending (source_id, key, left_out, profile, events, example) "
	"SELECT $1, r.* FROM " NEW_ROWS " r",

	[WRITE_LEFT_OUT] =
	"INSERT INTO profiles.%1$s_pending (source_id, key, left_out, profile, events, example) "
	"SELECT $1, r.* FROM " NEW_ROWS " r WHERE r.left_out IS NOT NULL OR r.profile IS NULL",

	/*
	 * A subject whose old and new rows fold into the same needs nothing: what
	 * is left of its events, merged with either, is the same.
	 */
	[WRITE_CHANGES] =
	"WITH o AS (SELECT key, profiles.profile_union_agg(profile) AS profile, count(left_out) > 0 AS held "
	"           FROM " OLD_ROWS " WHERE " COUNTS " GROUP BY key), "
	"     n AS (SELECT key, profiles.profile_union_agg(profile) AS profile, count(left_out) > 0 AS held "
	"           FROM " NEW_ROWS " WHERE " COUNTS " GROUP BY key) "
	"INSERT INTO profiles.%1$s_pending (source_id, key, left_out, profile, events, example) "
	"SELECT $1, o.key, NULL, NULL, 0, NULL FROM o LEFT JOIN n ON n.key = o.key "
	"WHERE n.profile IS NULL OR o.held OR n.held OR o.profile OPERATOR(profiles.<>) n.profile "
	"UNION ALL "
	"SELECT $1, r.* FROM " NEW_ROWS " r "
	"WHERE (r.left_out IS NOT NULL AND r.left_out NOT LIKE 'future %%') "
	"   OR NOT EXISTS (SELECT FROM o WHERE o.key = r.key)",

	[WRITE_MARKS] =
	"INSERT INTO profiles.%1$s_pending (source_id, key, events) "
	"SELECT DISTINCT $1, key, 0 FROM " OLD_ROWS " WHERE " COUNTS,

	[WRITE_KEPT] =
	"INSERT INTO profiles.kept (kind, key, source, profile) "
	"SELECT '%1$s', r.key, c.source, r.profile FROM " OLD_ROWS " r, profiles.source_config c "
	"WHERE c.id = $1 AND r.key IS NOT NULL AND r.left_out IS NULL AND r.profile IS NOT NULL",

	/* what was never seen, or has been erased, is not kept */
	[WRITE_HELD_MARKS] =
	"INSERT INTO profiles.%1$s_pending (source_id, key, events) "
	"SELECT DISTINCT $1, key, 0 FROM " OLD_ROWS " "
	"WHERE key IS NOT NULL AND (left_out LIKE 'future %%' OR left_out IS NULL AND profile IS NULL)",

	[WRITE_DUE] =
	"INSERT INTO profiles.due (kind, source_id, reason) VALUES ('%1$s', $1, 'truncated')",

	/* anybody may make a trigger of this function on a table of their own */
	[WRITE_DETACHED] =
	"INSERT INTO profiles.due (kind, source_id, reason) "
	"SELECT '%1$s', p.source_id, 'detached' FROM profiles.source_part p "
	"WHERE p.source_id = $1 AND p.kind = '%1$s' AND p.relation = $2::regclass::text"
};

/* ---------- what is kept between statements ---------- */

/*
 * A source as the last statement found it: its definition and plans.  A change
 * of its relation, or of any function, type or schema, makes it stale, since
 * the expressions' text names them.
 */
typedef struct CachedSource
{
	Oid			view;			/* hash key */
	SourceDefinition *definition;
	Oid			extension;
	Oid			owner;			/* of the extension */
	TupleDesc	tupdesc;		/* of folded rows */
	DirectFold *folds[PROFILES_KINDS];
	SPIPlanPtr	writes[PROFILES_KINDS][WRITINGS];
} CachedSource;

static HTAB *cached_sources = NULL;
static MemoryContext cache_context = NULL;
static bool cache_stale = false;
static int	cache_users = 0;	/* statements that are using it */

static void
on_relation_change(Datum arg, Oid relation)
{
	HASH_SEQ_STATUS scan;
	CachedSource *cached;

	if (cached_sources == NULL || cache_stale)
		return;
	hash_seq_init(&scan, cached_sources);
	while ((cached = hash_seq_search(&scan)) != NULL)
		cache_stale |= !OidIsValid(relation) || relation == cached->view ||
			cached->definition == NULL || relation == cached->definition->relation;
}

static void
on_catalog_change(Datum arg, int cache, uint32 hash)
{
	cache_stale = true;
}

static void
forget_sources(void)
{
	HASH_SEQ_STATUS scan;
	CachedSource *cached;

	hash_seq_init(&scan, cached_sources);
	while ((cached = hash_seq_search(&scan)) != NULL)
	{
		for (int kind = 0; kind < PROFILES_KINDS; kind++)
		{
			for (int i = 0; i < WRITINGS; i++)
				if (cached->writes[kind][i] != NULL)
					SPI_freeplan(cached->writes[kind][i]);
		}
	}
	cached_sources = NULL;
	MemoryContextReset(cache_context);
}

static TupleDesc
folded_rows_desc(void)
{
	static const char *const names[] = {"key", "left_out", "profile", "events", "example"};
	Oid			schema = get_namespace_oid("profiles", false);
	Oid			profile = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
										  CStringGetDatum("profile"), ObjectIdGetDatum(schema));
	Oid			types[] = {TEXTOID, TEXTOID, profile, INT8OID, TEXTOID};
	TupleDesc	tupdesc = CreateTemplateTupleDesc(lengthof(names));

	for (int i = 0; i < (int) lengthof(names); i++)
		TupleDescInitEntry(tupdesc, i + 1, names[i], types[i], -1, 0);
	return tupdesc;
}

static CachedSource *
find_source(Oid view, Oid function)
{
	CachedSource *cached;
	bool		found;

	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(CacheMemoryContext, "captured sources",
											  ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, on_catalog_change, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, on_catalog_change, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, on_catalog_change, (Datum) 0);
	}
	if (cache_stale && cache_users == 0 && cached_sources != NULL)
		forget_sources();
	if (cached_sources == NULL)
	{
		HASHCTL		info = {0};

		info.keysize = sizeof(Oid);
		info.entrysize = sizeof(CachedSource);
		info.hcxt = cache_context;
		cached_sources = hash_create("captured sources", 8, &info,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		cache_stale = false;
	}

	cached = hash_search(cached_sources, &view, HASH_ENTER, &found);
	if (!found)
	{
		MemoryContext old;
		int			settings;

		memset((char *) cached + sizeof(Oid), 0, sizeof(CachedSource) - sizeof(Oid));
		old = MemoryContextSwitchTo(cache_context);
		settings = profiles_pin_settings();
		PG_TRY();
		{
			cached->definition = profiles_our_source(function, view);
			cached->extension = profiles_extension_of(function);
			cached->owner = profiles_owner(function);
			cached->tupdesc = folded_rows_desc();
		}
		PG_CATCH();
		{
			(void) hash_search(cached_sources, &view, HASH_REMOVE, NULL);
			PG_RE_THROW();
		}
		PG_END_TRY();
		profiles_unpin_settings(settings);
		MemoryContextSwitchTo(old);
	}
	return cached;
}

/* ---------- writing ---------- */

/* One statement's work for one kind. */
typedef struct Capture
{
	int32		source_id;
	CachedSource *cached;
	int			kind;
	TriggerData *trigger;
	bool		keep;			/* what goes stays in profiles */
	Tuplestorestate *old_rows;
	Tuplestorestate *new_rows;
	Tuplestorestate *kept_rows; /* new rows that are kept from the beginning */
} Capture;

static void
register_rows(const char *name, Tuplestorestate *rows, TupleDesc tupdesc)
{
	EphemeralNamedRelation enr;

	if (rows == NULL)
		return;
	enr = palloc0(sizeof(EphemeralNamedRelationData));
	enr->md.name = pstrdup(name);
	enr->md.tupdesc = tupdesc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(rows);
	enr->reldata = rows;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register \"%s\"", name);
}

/* Writes folded rows, as the extension's owner. */
static void
write_rows(Capture *capture, Writing writing)
{
	SPIPlanPtr *plan = &capture->cached->writes[capture->kind][writing];
	ProfilesRole caller = profiles_become_owner(capture->cached->owner);
	Datum		values[] = {Int32GetDatum(capture->source_id),
	ObjectIdGetDatum(RelationGetRelid(capture->trigger->tg_relation))};
	int			rc;

	SPI_connect();
	register_rows(OLD_ROWS, capture->old_rows, capture->cached->tupdesc);
	register_rows(NEW_ROWS, capture->new_rows, capture->cached->tupdesc);
	if (*plan == NULL)
	{
		Oid			types[] = {INT4OID, OIDOID};

		*plan = SPI_prepare(psprintf(writings[writing], profiles_kinds[capture->kind]), 2, types);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "could not prepare capture: %s", SPI_result_code_string(SPI_result));
	}
	rc = SPI_execute_plan(*plan, values, NULL, false, 0);
	if (rc != SPI_OK_INSERT)
		elog(ERROR, "capture failed: %s", SPI_result_code_string(rc));
	SPI_finish();
	profiles_become_caller(caller);
}

/* Appends the folded new rows. */
static void
write_pending(Capture *capture)
{
	PendingWriter *writer;
	TupleTableSlot *row = MakeSingleTupleTableSlot(capture->cached->tupdesc, &TTSOpsMinimalTuple);

	writer = pending_begin(capture->kind, capture->source_id);
	if (writer != NULL)
	{
		while (tuplestore_gettupleslot(capture->new_rows, true, false, row))
		{
			slot_getallattrs(row);
			pending_put(writer, row->tts_values, row->tts_isnull);
		}
		pending_end(writer);
	}
	else
		write_rows(capture, WRITE_PENDING);
	ExecDropSingleTupleTableSlot(row);
}

/* What a fold of this statement's rows begins with. */
static void
init_fold(ProfilesFold *fold, Capture *capture, Tuplestorestate *events, bool old)
{
	CachedSource *cached = capture->cached;
	Relation	relation = capture->trigger->tg_relation;

	memset(fold, 0, sizeof(ProfilesFold));
	fold->source = cached->definition;
	fold->kind = profiles_kinds[capture->kind];
	fold->relation = RelationGetRelid(relation);
	fold->sample = 1;
	fold->since = DT_NOBEGIN;
	if (events != NULL)
	{
		fold->rows = events;
		fold->rows_desc = RelationGetDescr(relation);
		fold->rows_name = old ? PROFILES_OLD_EVENTS : PROFILES_NEW_EVENTS;
		fold->direct = &cached->folds[capture->kind];
		fold->direct_context = cache_context;
	}
}

/*
 * Folds, as the source's adder, the rows of a transition table, or of the
 * trigger's relation where there is none.
 */
static Tuplestorestate *
fold_rows(Capture *capture, Tuplestorestate *events, bool old)
{
	ProfilesFold fold;

	init_fold(&fold, capture, events, old);
	fold.store = tuplestore_begin_heap(false, false, work_mem);
	fold.store_context = CurrentMemoryContext;
	fold.tupdesc = capture->cached->tupdesc;
	profiles_fold_rows(&fold);
	return fold.store;
}

/* ---------- who is erased ---------- */

/* A screen for this statement's rows; false if nobody is erased. */
static bool
begin_screen(Screen *screen, Capture *capture, bool old)
{
	return screen_begin(screen, profiles_kinds[capture->kind], capture->source_id, capture->keep, old,
						capture->cached->tupdesc);
}

/* Folded rows without what must not be written. */
static Tuplestorestate *
screen_rows(Capture *capture, Tuplestorestate *rows, bool old)
{
	Screen		screen;

	if (tuplestore_tuple_count(rows) == 0 || !begin_screen(&screen, capture, old))
		return rows;
	rows = screen_store(&screen, rows);
	if (!old)
		capture->kept_rows = screen.kept_rows;
	return rows;
}

/* Keeps new rows of the forgotten. */
static void
write_kept_rows(Capture *capture)
{
	Tuplestorestate *old_rows = capture->old_rows;

	if (capture->kept_rows == NULL)
		return;
	if (tuplestore_tuple_count(capture->kept_rows) > 0)
	{
		capture->old_rows = capture->kept_rows;
		write_rows(capture, WRITE_KEPT);
		capture->old_rows = old_rows;
	}
	tuplestore_end(capture->kept_rows);
	capture->kept_rows = NULL;
}

/* ---------- merging by writers ---------- */

/*
 * About how many blocks of a table have something; of so many of them the free space that
 * vacuum has recorded is looked at, if that is asked for.
 */
static double
blocks_of(const char *format, int kind, int looked_at)
{
	Relation	relation = table_open(get_relname_relid(psprintf(format, profiles_kinds[kind]),
														get_namespace_oid("profiles", false)), AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);
	int			empty = 0;

	for (int i = 0; i < looked_at && blocks > 0; i++)
		empty += GetRecordedFreeSpace(relation, (BlockNumber) ((uint64) blocks * i / looked_at)) > BLCKSZ / 2;
	table_close(relation, AccessShareLock);
	return looked_at == 0 ? blocks : (double) blocks * (looked_at - empty) / looked_at;
}

/*
 * Merges pending rows if there are many and nobody else is at it: not all, so that
 * no writer waits for long, but more than come in before it tries again.  What
 * search needs is left to the next refresh.
 *
 * How many is judged by the tables' sizes.  Of packed ones vacuum leaves the pages, so
 * these are asked whether they are empty.  Merged rows take their place until they are
 * vacuumed, so after a try the tables have to grow by a good part, or to shrink, before
 * this backend tries again.
 */
static void
merge_if_many(Capture *capture)
{
	static double tried_at[PROFILES_KINDS];
	const int	rows_per_block = 20;	/* of a usual size */
	const int	packed_per_block = 45;
	const int	looked_at = 50;
	const int	most = Max(profiles_pending_limit, 10000);
	double		limit = profiles_pending_limit + 1;
	double		many;
	ProfilesRole caller;

	if (profiles_pending_limit < 0 || IsolationUsesXactSnapshot())
		return;
	many = blocks_of("%s_pending", capture->kind, 0) * rows_per_block;
	if (many + blocks_of("%s_packed", capture->kind, 0) * packed_per_block < limit)
	{
		tried_at[capture->kind] = 0;
		return;
	}
	many += blocks_of("%s_packed", capture->kind, looked_at) * packed_per_block;
	if (many < tried_at[capture->kind])
		tried_at[capture->kind] = 0;
	if (many < limit || many < tried_at[capture->kind] + limit / 4)
		return;
	tried_at[capture->kind] = many;

	if (!profiles_lock(capture->cached->extension, capture->kind, PROFILES_DIRECT_LOCK,
					   ExclusiveLock, false, false))
		return;
	if (!profiles_lock(capture->cached->extension, capture->kind, PROFILES_UPKEEP_LOCK,
					   ExclusiveLock, false, false))
	{
		profiles_unlock(capture->cached->extension, capture->kind, PROFILES_DIRECT_LOCK,
						ExclusiveLock, false);
		return;
	}
	caller = profiles_become_owner(capture->cached->owner);
	SPI_connect();
	profiles_search_is_put_off = true;
	PG_TRY();
	{
		if (SPI_execute(psprintf("SELECT profiles._merge_pending('%s', %d)",
								 profiles_kinds[capture->kind], most), false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not merge pending rows");
	}
	PG_FINALLY();
	{
		profiles_search_is_put_off = false;
	}
	PG_END_TRY();
	SPI_finish();
	profiles_become_caller(caller);
}

/* ---------- the trigger ---------- */

/*
 * May new events be merged at once?  A statement does that in the order of keys, so that no
 * two wait for each other.  If it writes to several tables, only the first of them does.
 */
static bool
may_merge_at_once(Capture *capture)
{
	static LocalTransactionId transaction = InvalidLocalTransactionId;
	static CommandId command;
	static Oid	table;
	CommandId	now = GetActiveSnapshot()->curcid;
	Oid			relation = RelationGetRelid(capture->trigger->tg_relation);

	if (IsolationUsesXactSnapshot() || (transaction == PROFILES_MY_LXID && command == now && table != relation))
		return false;
	transaction = PROFILES_MY_LXID;
	command = now;
	table = relation;
	return true;
}

/* New events: merged at once, or pending. */
static void
capture_insert(Capture *capture, bool immediate)
{
	if (tuplestore_tuple_count(capture->new_rows) == 0)
		return;
	if (immediate && may_merge_at_once(capture) &&
		profiles_lock(capture->cached->extension, capture->kind, PROFILES_DIRECT_LOCK,
					  ShareLock, false, false))
	{
		write_rows(capture, WRITE_DIRECT);
		write_rows(capture, WRITE_LEFT_OUT);
	}
	else
	{
		write_pending(capture);
		merge_if_many(capture);
	}
}

/*
 * Appends an INSERT's events, folded, without a detour, if that depends on neither
 * role nor settings and nothing can go wrong with it: so it is with plain columns.
 */
static bool
append_plain(Capture *capture)
{
	ProfilesFold fold;
	PendingWriter *writer;
	Screen		screen;
	bool		screened;

	init_fold(&fold, capture, capture->trigger->tg_newtable, false);
	if (!profiles_prepare_fold(&fold))
		return false;
	if (tuplestore_tuple_count(fold.rows) == 0)
		return true;
	writer = pending_begin(capture->kind, capture->source_id);
	if (writer == NULL)
		return false;
	fold.put = pending_put;
	fold.put_to = writer;
	screened = begin_screen(&screen, capture, false);
	if (screened)
	{
		screen.put = pending_put;
		screen.put_to = writer;
		fold.put = screen_put;
		fold.put_to = &screen;
	}
	profiles_fold_rows(&fold);
	pending_end(writer);
	if (screened)
	{
		int			settings = profiles_pin_settings();

		screen_end(&screen);
		capture->kept_rows = screen.kept_rows;
		write_kept_rows(capture);
		profiles_unpin_settings(settings);
	}
	merge_if_many(capture);
	return true;
}

/* Captures a statement for one kind. */
static void
capture_kind(Capture *capture, bool immediate)
{
	TriggerData *trigger = capture->trigger;
	bool		keep = capture->keep;
	int			settings;

	capture->old_rows = NULL;
	capture->new_rows = NULL;
	capture->kept_rows = NULL;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && !immediate && append_plain(capture))
		return;
	settings = profiles_pin_settings();
	if (trigger->tg_oldtable != NULL)
		capture->old_rows = fold_rows(capture, trigger->tg_oldtable, true);
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) && keep)
	{
		/*
		 * BEFORE TRUNCATE: what is about to go is still there.  All of it is
		 * what is committed now that the table is locked, whatever the
		 * transaction's snapshot sees.
		 */
		PushActiveSnapshot(GetLatestSnapshot());
		capture->old_rows = fold_rows(capture, NULL, true);
		PopActiveSnapshot();
	}
	if (trigger->tg_newtable != NULL)
		capture->new_rows = screen_rows(capture, fold_rows(capture, trigger->tg_newtable, false), false);
	if (capture->old_rows != NULL && keep)
		capture->old_rows = screen_rows(capture, capture->old_rows, true);
	write_kept_rows(capture);

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		capture_insert(capture, immediate);
	else if (keep)
	{
		write_rows(capture, WRITE_KEPT);
		write_rows(capture, WRITE_HELD_MARKS);
		if (capture->new_rows != NULL)
			write_pending(capture);
	}
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		write_rows(capture, WRITE_CHANGES);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		write_rows(capture, WRITE_MARKS);
	else
		write_rows(capture, WRITE_DUE);

	if (capture->old_rows != NULL)
		tuplestore_end(capture->old_rows);
	if (capture->new_rows != NULL)
		tuplestore_end(capture->new_rows);
	profiles_unpin_settings(settings);
}

/*
 * Is a relation the source's, or one of its partitions or children?  One that is being
 * detached is none: who reads the source does not see it any more.
 */
static bool
is_part_of(Oid relation, SourceDefinition *source)
{
	Relation	inherits;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		found = false;

	if (relation == source->relation)
		return true;
	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_inherits form = (Form_pg_inherits) GETSTRUCT(tuple);

		found = !form->inhdetachpending && is_part_of(form->inhparent, source);
	}
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return found;
}

/*
 * A statement on a table that is no part of its source any more.  It may become
 * one again before refresh has noticed either, so that is due for a look.
 */
static void
note_detached(Capture *capture)
{
	for (capture->kind = 0; capture->kind < PROFILES_KINDS; capture->kind++)
	{
		if (profiles_source_feeds(capture->cached->definition, profiles_kinds[capture->kind]))
			write_rows(capture, WRITE_DETACHED);
	}
}

/* Has the trigger the timing and transition tables that its event needs? */
static bool
is_made_by_us(TriggerData *trigger, bool keep)
{
	Trigger    *made = trigger->tg_trigger;
	bool		old = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event);
	bool		new = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) || TRIGGER_FIRED_BY_INSERT(trigger->tg_event);

	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		return TRIGGER_FIRED_BEFORE(trigger->tg_event) == keep;
	return TRIGGER_FIRED_AFTER(trigger->tg_event) &&
		(!old || (trigger->tg_oldtable != NULL && strcmp(made->tgoldtable, PROFILES_OLD_EVENTS) == 0)) &&
		(!new || (trigger->tg_newtable != NULL && strcmp(made->tgnewtable, PROFILES_NEW_EVENTS) == 0));
}

/*
 * The view of a source, locked until the end of the transaction; InvalidOid if
 * there is none.  Whoever writes events need not have any right on the schema,
 * so the usual look-up by name won't do.
 */
static Oid
lock_source_view(int32 source_id)
{
	char	   *name = psprintf("source_%d", source_id);
	Oid			schema = get_namespace_oid("profiles", false);
	Oid			view = get_relname_relid(name, schema);

	while (OidIsValid(view))
	{
		Oid			now;

		LockRelationOid(view, AccessShareLock);
		now = get_relname_relid(name, schema);
		if (now == view)
			break;
		UnlockRelationOid(view, AccessShareLock);
		view = now;
	}
	return view;
}

/*
 * capture(source_id, capture, on_change): trigger function on events.
 *
 * A trigger whose source is gone does nothing.
 */
Datum
profiles_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Capture		capture = {0};
	char	  **args;
	Oid			view;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 3 ||
		!is_made_by_us(trigger, strcmp(trigger->tg_trigger->tgargs[2], "keep") == 0))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"capture\" was not called by a trigger of a source"),
				 errhint("profiles.add_source() makes these triggers.")));
	args = trigger->tg_trigger->tgargs;

	/* locked until the end of the transaction */
	capture.source_id = pg_strtoint32(args[0]);
	view = lock_source_view(capture.source_id);
	if (!OidIsValid(view))
		return PointerGetDatum(NULL);

	capture.cached = find_source(view, fcinfo->flinfo->fn_oid);
	capture.trigger = trigger;
	capture.keep = strcmp(args[2], "keep") == 0;
	if (is_part_of(RelationGetRelid(trigger->tg_relation), capture.cached->definition))
	{
		cache_users++;
		PG_TRY();
		{
			for (capture.kind = 0; capture.kind < PROFILES_KINDS; capture.kind++)
			{
				if (profiles_source_feeds(capture.cached->definition, profiles_kinds[capture.kind]))
					capture_kind(&capture, strcmp(args[1], "immediate") == 0);
			}
		}
		PG_FINALLY();
		{
			cache_users--;
		}
		PG_END_TRY();
	}
	else
		note_detached(&capture);
	return PointerGetDatum(NULL);
}
