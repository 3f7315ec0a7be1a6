/*
 * profile_io.c
 *		Ways in and out of the type: text, binary; and the one validator.
 *
 * Every way in (text, binary, the bytes of a parallel worker) decodes into a
 * ProfileContent, asks profile_check() and lets profile_build() lay out the
 * bytes.  So no input can make a profile that a fold could not have made.
 *
 * Text form: JSON,
 *		{"first_seen": time, "last_seen": time,
 *		 "session": {"first": {"at": time, "id": text}, "last": {...}},
 *		 "groups": {"geo": {"first": {"at": time, "session": text,
 *									  "values": {"geo.city": text, ...}},
 *							"last": {...}}, ...}}
 * where a time is YYYY-MM-DDTHH:MM:SS.ffffffZ, with " BC" behind it for years
 * before the common era.  "session" is left out where no event carried one.
 *
 * Binary form: int8 version, int64 first_seen, int64 last_seen, int32 number
 * of groups; each: int32 number of members, their names; for both ends int64
 * time, session, values.  Names, sessions and values are strings with an int32
 * length in front, -1 for NULL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "profile.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(profile_in);
PG_FUNCTION_INFO_V1(profile_out);
PG_FUNCTION_INFO_V1(profile_recv);
PG_FUNCTION_INFO_V1(profile_send);

/* ---------- the validator ---------- */

static const char *
end_name(ProfileEnd end)
{
	return end == PROFILE_FIRST ? "first" : "last";
}

/* The group's name as messages and the text form show it. */
static char *
group_label(const ProfileGroup *group)
{
	return pnstrdup(group->names[0].data, profile_group_prefix(group->names[0]));
}

static char *
check_names(const ProfileGroup *group)
{
	for (int m = 0; m < group->nmembers; m++)
	{
		ProfileString name = group->names[m];

		if (!profile_name_is_valid(name.data, name.len))
			return psprintf("\"%s\" is not the name of an attribute",
							pnstrdup(name.data, name.len));
		if (m == 0)
			continue;
		if (profile_string_cmp(group->names[m - 1], name) >= 0)
			return psprintf("attribute \"%s\" is out of order or given twice",
							pnstrdup(name.data, name.len));
		if (profile_group_cmp(group->names[0], name) != 0)
			return psprintf("attribute \"%s\" is in the wrong group",
							pnstrdup(name.data, name.len));
	}
	return NULL;
}

/* Does an evidence know anything, at a time within the profile's? */
static char *
check_evidence(const ProfileContent *content, const ProfileGroup *group,
			   ProfileEnd end)
{
	const ProfileEvidence *e = end == PROFILE_FIRST ? &group->first : &group->last;
	bool		known = false;

	if (e->at < content->first_seen || e->at > content->last_seen)
		return psprintf("the %s evidence of group \"%s\" is not within first_seen and last_seen",
						end_name(end), group_label(group));
	for (int m = 0; m < group->nmembers; m++)
		known |= e->values[m].data != NULL;
	if (!known)
		return psprintf("the %s evidence of group \"%s\" has no value",
						end_name(end), group_label(group));
	return NULL;
}

/*
 * A profile's sessions: their value is their evidence's session, and no other
 * evidence carries an earlier or a later one.
 */
static char *
check_sessions(const ProfileContent *content)
{
	const ProfileGroup *sessions = NULL;

	for (int g = 0; g < content->ngroups; g++)
	{
		const ProfileGroup *group = &content->groups[g];

		if (profile_is_session(group->names[0]))
			sessions = group;
	}

	if (sessions != NULL &&
		(sessions->first.session.data == NULL ||
		 sessions->last.session.data == NULL ||
		 !profile_string_eq(sessions->first.session, sessions->first.values[0]) ||
		 !profile_string_eq(sessions->last.session, sessions->last.values[0])))
		return pstrdup("the value of \"session\" is not its evidence's session");

	for (int g = 0; g < content->ngroups; g++)
	{
		const ProfileGroup *group = &content->groups[g];

		for (int end = PROFILE_FIRST; end <= PROFILE_LAST; end++)
		{
			ProfileEvidence e = end == PROFILE_FIRST ? group->first : group->last;

			if (e.session.data == NULL)
				continue;
			e.values = &e.session;
			if (sessions == NULL ||
				profile_evidence_cmp(PROFILE_FIRST, 1, &sessions->first, &e) > 0 ||
				profile_evidence_cmp(PROFILE_LAST, 1, &sessions->last, &e) > 0)
				return psprintf("the session of the %s evidence of group \"%s\" is not within the profile's sessions",
								end_name(end), group_label(group));
		}
	}
	return NULL;
}

/*
 * Could a fold have made this content?  Returns NULL, or what is wrong with it
 * as a palloc'd sentence without its full stop.
 *
 * Every way into the type ends here.
 */
char *
profile_check(const ProfileContent *content)
{
	int			nattributes = 0;
	char	   *problem;

	if (!IS_VALID_TIMESTAMP(content->first_seen) ||
		!IS_VALID_TIMESTAMP(content->last_seen))
		return pstrdup("first_seen or last_seen is out of range");
	if (content->first_seen > content->last_seen)
		return pstrdup("first_seen is after last_seen");

	for (int g = 0; g < content->ngroups; g++)
	{
		const ProfileGroup *group = &content->groups[g];

		nattributes += group->nmembers;
		if (nattributes > PROFILE_MAX_ATTRIBUTES)
			return psprintf("a profile can have at most %d attributes",
							PROFILE_MAX_ATTRIBUTES);
		if ((problem = check_names(group)) != NULL)
			return problem;
		if (g > 0 && profile_group_cmp(content->groups[g - 1].names[0],
									   group->names[0]) >= 0)
			return psprintf("group \"%s\" is out of order or given twice",
							group_label(group));
		if ((problem = check_evidence(content, group, PROFILE_FIRST)) != NULL ||
			(problem = check_evidence(content, group, PROFILE_LAST)) != NULL)
			return problem;
		for (int m = 0; m < group->nmembers; m++)
		{
			if (group->first.values[m].data == NULL &&
				group->last.values[m].data == NULL)
				return psprintf("attribute \"%s\" has no value",
								pnstrdup(group->names[m].data, group->names[m].len));
		}
		/* a first evidence after the last one, in the fold's own order */
		if (profile_evidence_cmp(PROFILE_FIRST, group->nmembers,
								 &group->first, &group->last) > 0 ||
			profile_evidence_cmp(PROFILE_LAST, group->nmembers,
								 &group->first, &group->last) < 0)
			return psprintf("the first evidence of group \"%s\" is after the last",
							group_label(group));
	}
	return check_sessions(content);
}

static void
check_decoded(const char *problem)
{
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored profile is damaged"),
				 errdetail_internal("%s", problem)));
}

/*
 * Decodes bytes that profile_build() wrote: a stored value or an aggregate's
 * state.
 */
void
profile_decode_trusted(const struct varlena *value, ProfileContent *content)
{
	check_decoded(profile_decode(value, content));
}

/* The same for the times alone. */
void
profile_decode_times_trusted(const struct varlena *value, ProfileContent *content)
{
	check_decoded(profile_decode_times(value, content));
}

/* ---------- text: out ---------- */

void
profile_append_time(StringInfo out, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	appendStringInfo(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ%s\"",
					 tm.tm_year > 0 ? tm.tm_year : 1 - tm.tm_year,
					 tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
					 (int) fsec, tm.tm_year > 0 ? "" : " BC");
}

static void
append_text(StringInfo out, ProfileString s)
{
	char	   *copy = pnstrdup(s.data, s.len);

	escape_json(out, copy);
	pfree(copy);
}

static void
append_evidence(StringInfo out, const ProfileGroup *group, ProfileEnd end)
{
	const ProfileEvidence *e = end == PROFILE_FIRST ? &group->first : &group->last;
	bool		comma = false;

	appendStringInfo(out, "\"%s\": {\"at\": ", end_name(end));
	profile_append_time(out, e->at);
	if (profile_is_session(group->names[0]))
	{
		appendStringInfoString(out, ", \"id\": ");
		append_text(out, e->session);
		appendStringInfoChar(out, '}');
		return;
	}
	if (e->session.data != NULL)
	{
		appendStringInfoString(out, ", \"session\": ");
		append_text(out, e->session);
	}
	appendStringInfoString(out, ", \"values\": {");
	for (int m = 0; m < group->nmembers; m++)
	{
		if (e->values[m].data == NULL)
			continue;
		if (comma)
			appendStringInfoString(out, ", ");
		comma = true;
		append_text(out, group->names[m]);
		appendStringInfoString(out, ": ");
		append_text(out, e->values[m]);
	}
	appendStringInfoString(out, "}}");
}

static void
append_group(StringInfo out, const ProfileGroup *group)
{
	append_text(out, profile_string(group->names[0].data,
									profile_group_prefix(group->names[0])));
	appendStringInfoString(out, ": {");
	append_evidence(out, group, PROFILE_FIRST);
	appendStringInfoString(out, ", ");
	append_evidence(out, group, PROFILE_LAST);
	appendStringInfoChar(out, '}');
}

Datum
profile_out(PG_FUNCTION_ARGS)
{
	ProfileContent content;
	StringInfoData out;
	bool		comma = false;

	profile_decode_trusted(PG_GETARG_VARLENA_PP(0), &content);

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"first_seen\": ");
	profile_append_time(&out, content.first_seen);
	appendStringInfoString(&out, ", \"last_seen\": ");
	profile_append_time(&out, content.last_seen);
	for (int g = 0; g < content.ngroups; g++)
	{
		if (!profile_is_session(content.groups[g].names[0]))
			continue;
		appendStringInfoString(&out, ", ");
		append_group(&out, &content.groups[g]);
	}
	appendStringInfoString(&out, ", \"groups\": {");
	for (int g = 0; g < content.ngroups; g++)
	{
		if (profile_is_session(content.groups[g].names[0]))
			continue;
		if (comma)
			appendStringInfoString(&out, ", ");
		comma = true;
		append_group(&out, &content.groups[g]);
	}
	appendStringInfoString(&out, "}}");
	PG_RETURN_CSTRING(out.data);
}

/* ---------- text: in ---------- */

/* Where in the JSON we are and what is wrong there, for the message. */
typedef struct TextReader
{
	char	   *problem;		/* palloc'd, NULL while all is well */
} TextReader;

static bool
text_problem(TextReader *r, const char *where, const char *what)
{
	if (r->problem == NULL)
		r->problem = psprintf("%s %s", where, what);
	return false;
}

/* Looks a key up in an object; NULL if it is absent. */
static JsonbValue *
find_key(JsonbContainer *object, const char *key)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), NULL);
}

static bool
get_object(TextReader *r, JsonbContainer *object, const char *key,
		   const char *where, JsonbContainer **result)
{
	JsonbValue *v = find_key(object, key);

	if (v == NULL)
		return text_problem(r, where, "is missing");
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		return text_problem(r, where, "is not an object");
	*result = v->val.binary.data;
	return true;
}

/* A key that may be missing leaves *result as it is. */
static bool
get_text(TextReader *r, JsonbContainer *object, const char *key,
		 const char *where, bool required, ProfileString *result)
{
	JsonbValue *v = find_key(object, key);

	if (v == NULL)
		return required ? text_problem(r, where, "is missing") : true;
	if (v->type != jbvString)
		return text_problem(r, where, "is not a string");
	*result = profile_string(v->val.string.val, v->val.string.len);
	return true;
}

/* Does the object have just these keys?  Others would be lost silently. */
static bool
only_keys(TextReader *r, JsonbContainer *object, const char *where,
		  const char *const *keys, int nkeys)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	v;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		bool		found = false;

		if (token != WJB_KEY)
			continue;
		for (int i = 0; i < nkeys; i++)
			found |= strlen(keys[i]) == (Size) v.val.string.len &&
				memcmp(keys[i], v.val.string.val, v.val.string.len) == 0;
		if (!found)
			return text_problem(r, where,
								psprintf("has an unknown key \"%s\"",
										 pnstrdup(v.val.string.val, v.val.string.len)));
	}
	return true;
}

static int
digits(const char **p, int min, int max)
{
	int			n = 0;
	int			value = 0;

	while (n < max && **p >= '0' && **p <= '9')
	{
		value = value * 10 + (**p - '0');
		(*p)++;
		n++;
	}
	return n < min ? -1 : value;
}

/*
 * Reads exactly what profile_append_time() writes.  The server's own input function
 * would also take 'tomorrow', and depends on DateStyle.
 */
static bool
parse_time(ProfileString s, TimestampTz *result)
{
	char	   *text = pnstrdup(s.data, s.len);
	const char *p = text;
	struct pg_tm tm = {0};
	fsec_t		fsec;

#define EXPECT(c) do { if (*p++ != (c)) return false; } while (0)
	tm.tm_year = digits(&p, 4, 6);
	if (p - text > 4 && text[0] == '0')
		return false;
	EXPECT('-');
	tm.tm_mon = digits(&p, 2, 2);
	EXPECT('-');
	tm.tm_mday = digits(&p, 2, 2);
	EXPECT('T');
	tm.tm_hour = digits(&p, 2, 2);
	EXPECT(':');
	tm.tm_min = digits(&p, 2, 2);
	EXPECT(':');
	tm.tm_sec = digits(&p, 2, 2);
	EXPECT('.');
	fsec = digits(&p, 6, 6);
	EXPECT('Z');
#undef EXPECT

	if (tm.tm_year < 1 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
		tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 ||
		tm.tm_sec < 0 || tm.tm_sec > 59 || fsec < 0)
		return false;
	if (strcmp(p, " BC") == 0)
		tm.tm_year = 1 - tm.tm_year;
	else if (*p != '\0')
		return false;
	if (tm.tm_mday > day_tab[isleap(tm.tm_year)][tm.tm_mon - 1])
		return false;
	return IS_VALID_JULIAN(tm.tm_year, tm.tm_mon, tm.tm_mday) &&
		tm2timestamp(&tm, fsec, NULL, result) == 0;
}

static bool
get_time(TextReader *r, JsonbContainer *object, const char *key,
		 const char *where, TimestampTz *result)
{
	ProfileString s;

	if (!get_text(r, object, key, where, true, &s))
		return false;
	if (!parse_time(s, result))
		return text_problem(r, where, "is not a time like 2026-01-31T23:59:59.000000Z");
	return true;
}

/* The evidence of the subject's sessions: {"at": time, "id": text}. */
static bool
get_session_evidence(TextReader *r, JsonbContainer *sessions, const char *end,
					 ProfileEvidence *e)
{
	static const char *const keys[] = {"at", "id"};
	char	   *where = psprintf("\"session\".\"%s\"", end);
	JsonbContainer *object;

	if (!get_object(r, sessions, end, where, &object) ||
		!only_keys(r, object, where, keys, lengthof(keys)) ||
		!get_time(r, object, "at", psprintf("%s.\"at\"", where), &e->at) ||
		!get_text(r, object, "id", psprintf("%s.\"id\"", where), true, &e->session))
		return false;
	e->values = palloc(sizeof(ProfileString));
	e->values[0] = e->session;
	return true;
}

/* Puts the keys of an object into names, in byte order, without repeats. */
static int
collect_names(JsonbContainer *object, ProfileString *names, int n)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	v;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		ProfileString name;
		int			i = n;

		if (token != WJB_KEY)
			continue;
		name = profile_string(v.val.string.val, v.val.string.len);
		while (i > 0 && profile_string_cmp(names[i - 1], name) > 0)
			i--;
		if (i > 0 && profile_string_eq(names[i - 1], name))
			continue;
		memmove(&names[i + 1], &names[i], (n - i) * sizeof(ProfileString));
		names[i] = name;
		n++;
	}
	return n;
}

static bool
get_group_evidence(TextReader *r, JsonbContainer *object, const char *where,
				   ProfileEvidence *e, JsonbContainer **values)
{
	static const char *const keys[] = {"at", "session", "values"};

	return only_keys(r, object, where, keys, lengthof(keys)) &&
		get_time(r, object, "at", psprintf("%s.\"at\"", where), &e->at) &&
		get_text(r, object, "session", psprintf("%s.\"session\"", where), false, &e->session) &&
		get_object(r, object, "values", psprintf("%s.\"values\"", where), values);
}

static bool
get_group(TextReader *r, ProfileString label, JsonbValue *value, ProfileGroup *group)
{
	static const char *const ends[] = {"first", "last"};
	char	   *where = psprintf("\"groups\".\"%s\"", pnstrdup(label.data, label.len));
	JsonbContainer *object;
	JsonbContainer *values[2];

	memset(group, 0, sizeof(ProfileGroup));
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return text_problem(r, where, "is not an object");
	object = value->val.binary.data;
	if (!only_keys(r, object, where, ends, lengthof(ends)))
		return false;
	for (int end = PROFILE_FIRST; end <= PROFILE_LAST; end++)
	{
		JsonbContainer *evidence;
		char	   *here = psprintf("%s.\"%s\"", where, ends[end]);

		if (!get_object(r, object, ends[end], here, &evidence) ||
			!get_group_evidence(r, evidence, here,
								end == PROFILE_FIRST ? &group->first : &group->last,
								&values[end]))
			return false;
	}
	if (JsonContainerSize(values[0]) > PROFILE_MAX_ATTRIBUTES ||
		JsonContainerSize(values[1]) > PROFILE_MAX_ATTRIBUTES)
		return text_problem(r, where, "has too many attributes");

	group->names = palloc((JsonContainerSize(values[0]) + JsonContainerSize(values[1])) *
						  sizeof(ProfileString) + 1);
	group->nmembers = collect_names(values[0], group->names, 0);
	group->nmembers = collect_names(values[1], group->names, group->nmembers);
	if (group->nmembers == 0)
		return text_problem(r, where, "has no values");
	if (profile_group_prefix(group->names[0]) != (int) label.len ||
		memcmp(group->names[0].data, label.data, label.len) != 0 ||
		profile_is_session(group->names[0]))
		return text_problem(r, where, "has an attribute of another group");

	group->first.values = palloc0(2 * group->nmembers * sizeof(ProfileString));
	group->last.values = group->first.values + group->nmembers;
	for (int m = 0; m < group->nmembers; m++)
	{
		char	   *name = pnstrdup(group->names[m].data, group->names[m].len);

		if (!get_text(r, values[0], name, psprintf("%s.\"first\".\"values\".\"%s\"", where, name),
					  false, &group->first.values[m]) ||
			!get_text(r, values[1], name, psprintf("%s.\"last\".\"values\".\"%s\"", where, name),
					  false, &group->last.values[m]))
			return false;
	}
	return true;
}

static int
compare_groups(const void *a, const void *b)
{
	return profile_group_cmp(((const ProfileGroup *) a)->names[0],
							 ((const ProfileGroup *) b)->names[0]);
}

static bool
get_content(TextReader *r, JsonbContainer *root, ProfileContent *content)
{
	static const char *const keys[] = {"first_seen", "last_seen", "session", "groups"};
	static const char *const ends[] = {"first", "last"};
	static ProfileString session_name = {PROFILE_SESSION, sizeof(PROFILE_SESSION) - 1};
	JsonbContainer *groups;
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	ProfileGroup *group;

	if (!JsonContainerIsObject(root))
		return text_problem(r, "the value", "is not an object");
	if (!only_keys(r, root, "the profile", keys, lengthof(keys)) ||
		!get_time(r, root, "first_seen", "\"first_seen\"", &content->first_seen) ||
		!get_time(r, root, "last_seen", "\"last_seen\"", &content->last_seen) ||
		!get_object(r, root, "groups", "\"groups\"", &groups))
		return false;
	if (JsonContainerSize(groups) > PROFILE_MAX_ATTRIBUTES)
		return text_problem(r, "\"groups\"", "has too many members");

	content->ngroups = 0;
	content->groups = palloc((JsonContainerSize(groups) + 1) * sizeof(ProfileGroup));
	it = JsonbIteratorInit(groups);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		ProfileString label;

		if (token != WJB_KEY)
			continue;
		label = profile_string(v.val.string.val, v.val.string.len);
		token = JsonbIteratorNext(&it, &v, true);
		Assert(token == WJB_VALUE);
		if (!get_group(r, label, &v, &content->groups[content->ngroups++]))
			return false;
	}

	if (find_key(root, "session") != NULL)
	{
		JsonbContainer *sessions;

		group = &content->groups[content->ngroups++];
		memset(group, 0, sizeof(ProfileGroup));
		group->nmembers = 1;
		group->names = &session_name;
		if (!get_object(r, root, "session", "\"session\"", &sessions) ||
			!only_keys(r, sessions, "\"session\"", ends, lengthof(ends)) ||
			!get_session_evidence(r, sessions, "first", &group->first) ||
			!get_session_evidence(r, sessions, "last", &group->last))
			return false;
	}
	qsort(content->groups, content->ngroups, sizeof(ProfileGroup), compare_groups);
	return true;
}

/*
 * Does a JSON text have the same key twice in one object?  The parser keeps the
 * last one only.  In valid JSON each colon outside a string is one member, so
 * their number must be that of the keys that are left.
 */
static bool
has_repeated_keys(const char *text, JsonbContainer *root)
{
	JsonbIterator *it = JsonbIteratorInit(root);
	JsonbValue	v;
	JsonbIteratorToken token;
	int64		members = 0;
	bool		quoted = false;

	for (const char *p = text; *p; p++)
	{
		if (quoted && *p == '\\')
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (*p == ':' && !quoted)
			members++;
	}
	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
		members -= token == WJB_KEY;
	return members != 0;
}

Datum
profile_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	Node	   *escontext = fcinfo->context;
	Datum		json;
	TextReader	r = {0};
	ProfileContent content;

	/* what is no JSON at all, PostgreSQL's own parser says best */
	if (!DirectInputFunctionCallSafe(jsonb_in, text, JSONBOID, -1, escontext, &json))
		PG_RETURN_NULL();
	if (has_repeated_keys(text, &DatumGetJsonbP(json)->root))
		text_problem(&r, "an object", "has the same key twice");
	else if (get_content(&r, &DatumGetJsonbP(json)->root, &content))
		r.problem = profile_check(&content);
	if (r.problem != NULL)
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "profile"),
				 errdetail("In the profile's JSON, %s.", r.problem)));
	PG_RETURN_POINTER(profile_build(&content));
}

/* ---------- binary ---------- */

static void
send_string(StringInfo buf, ProfileString s)
{
	if (s.data == NULL)
		pq_sendint32(buf, -1);
	else
	{
		/* converts to the client's encoding, as text does */
		char	   *converted = pg_server_to_client(s.data, s.len);
		uint32		len = converted == s.data ? s.len : strlen(converted);

		pq_sendint32(buf, len);
		pq_sendbytes(buf, converted, len);
	}
}

Datum
profile_send(PG_FUNCTION_ARGS)
{
	ProfileContent content;
	StringInfoData buf;

	profile_decode_trusted(PG_GETARG_VARLENA_PP(0), &content);

	pq_begintypsend(&buf);
	pq_sendint8(&buf, PROFILE_VERSION);
	pq_sendint64(&buf, content.first_seen);
	pq_sendint64(&buf, content.last_seen);
	pq_sendint32(&buf, content.ngroups);
	for (int g = 0; g < content.ngroups; g++)
	{
		const ProfileGroup *group = &content.groups[g];

		pq_sendint32(&buf, group->nmembers);
		for (int m = 0; m < group->nmembers; m++)
			send_string(&buf, group->names[m]);
		for (int end = PROFILE_FIRST; end <= PROFILE_LAST; end++)
		{
			const ProfileEvidence *e = end == PROFILE_FIRST ? &group->first : &group->last;

			pq_sendint64(&buf, e->at);
			send_string(&buf, e->session);
			for (int m = 0; m < group->nmembers; m++)
				send_string(&buf, e->values[m]);
		}
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static void
binary_problem(const char *what, int position)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid binary profile"),
			 errdetail("At or before byte %d, %s.", position, what)));
}

/* pq_getmsg* say "insufficient data" of a protocol message; we say where. */
static void
need_bytes(StringInfo buf, int n)
{
	if (buf->len - buf->cursor < n)
		binary_problem("the value ends too early", buf->cursor);
}

static int64
recv_int64(StringInfo buf)
{
	need_bytes(buf, 8);
	return pq_getmsgint64(buf);
}

/* A count of things that take at least "least" bytes each. */
static int
recv_count(StringInfo buf, int least, const char *what)
{
	uint32		n;

	need_bytes(buf, 4);
	n = pq_getmsgint(buf, 4);
	if (n > PROFILE_MAX_ATTRIBUTES || n * least > (uint32) (buf->len - buf->cursor))
		binary_problem(psprintf("the number of %s is out of range", what), buf->cursor);
	return n;
}

static ProfileString
recv_string(StringInfo buf, bool null_allowed)
{
	int			len;
	char	   *text;
	int			converted;

	need_bytes(buf, 4);
	len = (int32) pq_getmsgint(buf, 4);
	if (len == -1 && null_allowed)
		return profile_string(NULL, 0);
	if (len < 0)
		binary_problem("a string's length is out of range", buf->cursor);
	need_bytes(buf, len);
	/* verifies the encoding, and that there is no zero byte */
	text = pq_getmsgtext(buf, len, &converted);
	return profile_string(text, converted);
}

Datum
profile_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	ProfileContent content;
	char	   *problem;
	int			nattributes = 0;

	need_bytes(buf, 1);
	if (pq_getmsgbyte(buf) != PROFILE_VERSION)
		binary_problem("the version is not known", buf->cursor);
	content.first_seen = recv_int64(buf);
	content.last_seen = recv_int64(buf);
	content.ngroups = recv_count(buf, 4 + 4 + 2 * (8 + 4 + 4), "groups");
	content.groups = palloc(content.ngroups * sizeof(ProfileGroup) + 1);
	for (int g = 0; g < content.ngroups; g++)
	{
		ProfileGroup *group = &content.groups[g];

		group->nmembers = recv_count(buf, 3 * 4, "attributes");
		nattributes += group->nmembers;
		if (group->nmembers == 0 || nattributes > PROFILE_MAX_ATTRIBUTES)
			binary_problem("the number of attributes is out of range", buf->cursor);
		group->names = palloc(3 * group->nmembers * sizeof(ProfileString));
		group->first.values = group->names + group->nmembers;
		group->last.values = group->first.values + group->nmembers;
		for (int m = 0; m < group->nmembers; m++)
			group->names[m] = recv_string(buf, false);
		for (int end = PROFILE_FIRST; end <= PROFILE_LAST; end++)
		{
			ProfileEvidence *e = end == PROFILE_FIRST ? &group->first : &group->last;

			e->at = recv_int64(buf);
			e->session = recv_string(buf, true);
			for (int m = 0; m < group->nmembers; m++)
				e->values[m] = recv_string(buf, true);
		}
	}
	if (buf->cursor != buf->len)
		binary_problem("the value should have ended", buf->cursor);
	if ((problem = profile_check(&content)) != NULL)
		binary_problem(problem, buf->cursor);
	PG_RETURN_POINTER(profile_build(&content));
}
