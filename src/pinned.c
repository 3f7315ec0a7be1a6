/*
 * pinned.c
 *		The settings under which values become text, in one place.
 *
 * The same event must give the same bytes in every session and on every path,
 * so mappings are evaluated, and values turned into text, under these settings
 * whatever the session's are.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "profile.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/xml.h"

/* from utils/pg_locale.h, which wants the headers of ICU */
extern PGDLLIMPORT char *locale_monetary;
extern PGDLLIMPORT char *locale_numeric;
extern PGDLLIMPORT char *locale_time;

static const struct
{
	const char *name;
	const char *value;
}			pinned[] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"TimeZone", "UTC"},
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},
	{"quote_all_identifiers", "off"},
	{"array_nulls", "on"}
};

/* Kept apart, since setting it reads a file. */
#define ABBREVIATIONS "timezone_abbreviations"
#define ABBREVIATIONS_VALUE "Default"

static bool
abbreviations_are_pinned(void)
{
	static struct config_generic *setting = NULL;
	const char *value;

	if (setting == NULL)
	{
		PROFILES_FIND_SETTING(setting, ABBREVIATIONS);
		if (setting == NULL || setting->vartype != PGC_STRING)
			elog(ERROR, "there is no setting \"%s\"", ABBREVIATIONS);
	}
	value = *((struct config_string *) setting)->variable;
	return value != NULL && strcmp(value, ABBREVIATIONS_VALUE) == 0;
}

static void
pin(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Are they in force already?  Asked per value, so it reads the variables. */
static bool
settings_are_pinned(void)
{
	return DateStyle == USE_ISO_DATES && DateOrder == DATEORDER_MDY &&
		IntervalStyle == INTSTYLE_POSTGRES &&
		extra_float_digits == 1 &&
		bytea_output == BYTEA_OUTPUT_HEX &&
		!quote_all_identifiers && Array_nulls &&
		strcmp(pg_get_timezone_name(session_timezone), "UTC") == 0 &&
		strcmp(locale_monetary, "C") == 0 &&
		strcmp(locale_numeric, "C") == 0 &&
		strcmp(locale_time, "C") == 0 &&
		xmlbinary == XMLBINARY_BASE64 && xmloption == XMLOPTION_CONTENT &&
		strcmp(namespace_search_path, "pg_catalog, pg_temp") == 0 &&
		abbreviations_are_pinned();
}

/*
 * Pins the settings until profiles_unpin_settings() or the end of the
 * (sub)transaction.  Returns what that function wants.
 */
int
profiles_pin_settings(void)
{
	int			level;

	if (settings_are_pinned())
		return 0;
	level = NewGUCNestLevel();
	for (int i = 0; i < (int) lengthof(pinned); i++)
		pin(pinned[i].name, pinned[i].value);
	if (!abbreviations_are_pinned())
		pin(ABBREVIATIONS, ABBREVIATIONS_VALUE);
	return level;
}

void
profiles_unpin_settings(int level)
{
	if (level != 0)
		AtEOXact_GUC(true, level);
}
