/*
 * fold_query.c
 *		What the columns of a source's view are for, and the query that folds its events.
 */
#include "postgres.h"

#include "left_out.h"
#include "nodes/nodeFuncs.h"
#include "profile.h"
#include "upkeep.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define MOST_PAIRS	48			/* of arguments of _fold_agg */

/* Columns of a source's view that are no attributes of profiles. */
static const char *const not_attributes[] = {
	"user_id", "account_id", "seen_at", "name", "email", "account_name",
	"event_id", "type", "view_id", "version", "page", "action", "frustration"
};

/* View columns "keep <reason>" say which rows count. */
#define KEEP_PREFIX	"keep "

/* ---------- a source's columns ---------- */

SourceColumn *
profiles_find_column(SourceDefinition *source, const char *name)
{
	ListCell   *lc;

	foreach(lc, source->columns)
	{
		SourceColumn *column = lfirst(lc);

		if (strcmp(column->name, name) == 0)
			return column;
	}
	return NULL;
}

/*
 * The columns that are attributes of a kind's profiles, and by which names.  Both
 * lists have the same length.
 */
List *
profiles_attribute_columns(SourceDefinition *source, const char *kind, List **names)
{
	bool		user = strcmp(kind, "user") == 0;
	List	   *columns = NIL;
	SourceColumn *column;
	ListCell   *lc;

	*names = NIL;
	if ((column = profiles_find_column(source, user ? "name" : "account_name")) != NULL)
	{
		columns = lappend(columns, column);
		*names = lappend(*names, "name");
	}
	if (user && (column = profiles_find_column(source, "email")) != NULL)
	{
		columns = lappend(columns, column);
		*names = lappend(*names, "email");
	}
	foreach(lc, source->columns)
	{
		bool		attribute = true;

		column = lfirst(lc);
		for (int i = 0; i < (int) lengthof(not_attributes); i++)
			attribute &= strcmp(column->name, not_attributes[i]) != 0;
		if (attribute && strncmp(column->name, KEEP_PREFIX, strlen(KEEP_PREFIX)) != 0)
		{
			columns = lappend(columns, column);
			*names = lappend(*names, column->name);
		}
	}
	return columns;
}

/* The columns that say which rows count. */
List *
profiles_filter_columns(SourceDefinition *source)
{
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, source->columns)
	{
		SourceColumn *column = lfirst(lc);

		if (strncmp(column->name, KEEP_PREFIX, strlen(KEEP_PREFIX)) == 0)
			columns = lappend(columns, column);
	}
	return columns;
}

/* Why rows are left out that such a column does not keep. */
char *
profiles_filter_reason(SourceColumn *column)
{
	return column->name + strlen(KEEP_PREFIX);
}

/* Does the source feed a kind? */
bool
profiles_source_feeds(SourceDefinition *source, const char *kind)
{
	return profiles_find_column(source, psprintf("%s_id", kind)) != NULL;
}

/* ---------- the query ---------- */

/* How many bytes of a value count. */
uint32
fold_longest_value(ProfilesFold *fold)
{
	List	   *names;

	return profile_longest_value(list_length(profiles_attribute_columns(fold->source, fold->kind, &names)));
}

/* The names and values that _fold_agg gets, each with a comma in front. */
static char *
attribute_pairs(ProfilesFold *fold)
{
	List	   *names;
	List	   *columns = profiles_attribute_columns(fold->source, fold->kind, &names);
	/* where arguments are too many, an array does; all its values must fit into memory */
	bool		array = list_length(columns) > MOST_PAIRS;
	char	   *format = array ? psprintf(", %%s, left((%%s)::text%%s, %u)", fold_longest_value(fold)) : ", %s, (%s)%s";
	StringInfoData sql;
	ListCell   *name;
	ListCell   *column;

	if (columns == NIL)
		return pstrdup(", VARIADIC ARRAY[]::text[]");
	initStringInfo(&sql);
	forboth(name, names, column, columns)
	{
		SourceColumn *value = lfirst(column);
		/* arguments that say different collations are an error, even where none is asked for */
		bool		collate = !value->is_column && (array || OidIsValid(exprCollation((Node *) value->expr)));

		appendStringInfo(&sql, format, quote_literal_cstr(lfirst(name)), value->expression,
						 collate ? " COLLATE pg_catalog.\"default\"" : "");
	}
	return array ? psprintf(", VARIADIC ARRAY[%s]", sql.data + 2) : sql.data;
}

/* CASE branches for the rows that the source's filters leave out. */
static char *
filter_branches(SourceDefinition *source)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, profiles_filter_columns(source))
	{
		SourceColumn *column = lfirst(lc);

		appendStringInfo(&sql, " WHEN (%s) IS NOT TRUE THEN %s", column->expression,
						 quote_literal_cstr(profiles_filter_reason(column)));
	}
	return sql.data;
}

/* Are keys equal only if their bytes are, as the query would compare them? */
static bool
compares_bytes(SourceColumn *key)
{
	Oid			collation = exprCollation((Node *) key->expr);

	return OidIsValid(collation) && get_collation_isdeterministic(collation);
}

/*
 * The events that are asked for, where that is not all: parameters 2 and 3.  Those
 * without a time may be of any, and are counted.  "indexed" gives all events of the
 * keys, and maybe more; an index may serve it.
 */
static void
add_conditions(ProfilesFold *fold, StringInfo sql, const char *key, const char *indexed, const char *time)
{
	const char *word = " WHERE ";

	if (fold->sample < 1)
	{
		appendStringInfo(sql, "%s(hashtextextended(%s, 0) & 1048575) < %d",
						 word, key, (int) (fold->sample * 1048576));
		word = " AND ";
	}
	if (fold->keys != (Datum) 0)
	{
		appendStringInfo(sql, "%s(%s) = ANY ($2)", word, key);
		if (strcmp(indexed, key) != 0)
			appendStringInfo(sql, " AND (%s) = ANY ($2)", indexed);
		word = " AND ";
	}
	if (fold->since != DT_NOBEGIN)
		appendStringInfo(sql, "%s((%s) >= $3 OR (%s) IS NULL)", word, time, time);
}

/*
 * The query that gives rows (key, left_out, profile, events, example) of the
 * rows in "from".  Its parameters: the time up to which events count now, and
 * those of add_conditions().
 *
 * Events that are held come with their profile too, one row for each time.
 *
 * Where key, time or filters are more than columns, they are computed once per
 * row in subqueries that the planner must not flatten, key and time only for rows
 * that the filters let pass; a time that is a column can't fail.  Attributes are arguments
 * of the aggregate alone, so they are not evaluated for rows left out.
 */
char *
fold_query(ProfilesFold *fold, const char *from)
{
	SourceDefinition *source = fold->source;
	const char *alias = quote_identifier(get_rel_name(source->relation));
	char	   *key_name = psprintf("%s_id", fold->kind);
	SourceColumn *key = profiles_find_column(source, key_name);
	SourceColumn *seen_at = profiles_find_column(source, "seen_at");
	char	   *filters = filter_branches(source);
	bool		flat = key->is_column && seen_at->is_column && filters[0] == '\0';
	/* what is equal by another collation are different keys */
	const char *k = compares_bytes(key) ? key->expression
		: psprintf("(%s) COLLATE pg_catalog.\"C\"", key->expression);
	const char *indexed = key->is_column ? key->expression : k;
	const char *t = seen_at->expression;
	const char *f = filters[0] ? psprintf("CASE%s END", filters) : "NULL::text";
	char	   *left_out;
	StringInfoData sql;
	ListCell   *lc;

	foreach(lc, source->columns)
		flat |= ((SourceColumn *) lfirst(lc))->is_whole_row;
	from = psprintf("%s AS %s", from, alias);
	if (!flat)
	{
		from = psprintf("(SELECT %s.*, %s AS \"profiles filter\" FROM %s OFFSET 0) AS %s",
						alias, f, from, alias);
		f = "\"profiles filter\"";
		from = psprintf("(SELECT %s.*, CASE WHEN %s IS NULL THEN %s END AS \"profiles key\", "
						"%s AS \"profiles time\" FROM %s OFFSET 0) AS %s",
						alias, f, k,
						seen_at->is_column ? t : psprintf("CASE WHEN %s IS NULL THEN %s END", f, t),
						from, alias);
		k = indexed = "\"profiles key\"";
		t = "\"profiles time\"";
	}

	left_out = psprintf("CASE WHEN (%s) IS NOT NULL THEN (%s) "
						"WHEN (%s) IS NULL THEN 'no %s' "
						"WHEN octet_length(%s) > " CppAsString2(PROFILES_MAX_KEY) " THEN 'long %s' "
						"WHEN (%s) IS NULL THEN 'no seen_at' "
						"WHEN NOT isfinite(%s) THEN 'infinite seen_at' "
						"WHEN (%s) > $1 THEN 'future ' || (%s) END",
						f, f, k, key_name, k, key_name, t, t, t, t);

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT CASE WHEN octet_length(%s) > " CppAsString2(PROFILES_MAX_KEY) " THEN left(%s, " CppAsString2(LEFT_OUT_EXAMPLE) ") "
					 "ELSE %s END, %s, profiles._fold_agg(%u, %s%s) "
					 "FILTER (WHERE coalesce((%s) LIKE 'future %%', true)), "
					 "count(*), NULL::text FROM %s",
					 k, k, k, left_out, fold_longest_value(fold), t, attribute_pairs(fold), left_out, from);
	add_conditions(fold, &sql, k, indexed, t);
	appendStringInfoString(&sql, " GROUP BY 1, 2");
	return sql.data;
}
