/*
 * value_text.c
 *		How a value of any type becomes the text that a profile keeps.
 *
 * It is what the cast value::text gives under the pinned settings (pinned.c),
 * so that anybody can check a profile with plain SQL.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "profile.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(profiles_value_text);

/*
 * Built-in types whose text never depends on a setting.  Others, and casts that
 * users made, are run with the settings pinned, which costs more.
 */
static bool
is_settings_free(Oid type, Oid function)
{
	if (function >= FirstNormalObjectId)
		return false;
	switch (type)
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case BPCHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case OIDOID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case TIMEOID:
			return true;
		default:
			return get_typtype(type) == TYPTYPE_ENUM;
	}
}

/*
 * Does a cast's function count?  One that a role made whom the current user need
 * not trust would gain that user's rights.
 */
static bool
may_call_cast(Oid function)
{
	HeapTuple	tuple;
	Oid			owner;

	if (function < FirstNormalObjectId)
		return true;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return is_member_of_role(owner, GetUserId());
}

/* Finds out how values of a type become text; what it keeps goes to context. */
void
profile_text_form_init(ProfileTextForm *form, Oid type, MemoryContext context)
{
	Oid			base = getBaseType(type);
	Oid			function = InvalidOid;
	bool		varlena;

	form->pin = false;
	if (base == UNKNOWNOID)
	{
		form->way = PROFILE_TEXT_LITERAL;
		return;
	}
	switch (find_coercion_pathway(TEXTOID, base, COERCION_EXPLICIT, &function))
	{
		case COERCION_PATH_RELABELTYPE:
			form->way = PROFILE_TEXT_AS_IS;
			return;
		case COERCION_PATH_FUNC:
			form->way = PROFILE_TEXT_CAST;
			if (may_call_cast(function))
				break;
			/* FALLTHROUGH */
		default:
			/* whatever type it is, it can be printed */
			form->way = PROFILE_TEXT_OUTPUT;
			getTypeOutputInfo(base, &function, &varlena);
			break;
	}
	form->pin = !is_settings_free(base, function);
	fmgr_info_cxt(function, &form->function, context);
}

/*
 * The text of a value that is not NULL.  It points into the value where that
 * is text already, else it is palloc'd.
 */
ProfileString
profile_text_of(ProfileTextForm *form, Datum value)
{
	struct varlena *result;
	char	   *string;
	int			level = 0;

	if (form->pin)
		level = profiles_pin_settings();
	switch (form->way)
	{
		case PROFILE_TEXT_LITERAL:
			string = DatumGetCString(value);
			return profile_string(string, strlen(string));
		case PROFILE_TEXT_OUTPUT:
			string = OutputFunctionCall(&form->function, value);
			profiles_unpin_settings(level);
			return profile_string(string, strlen(string));
		case PROFILE_TEXT_CAST:
			/* the optional arguments are those of an explicit cast */
			value = form->function.fn_nargs == 1
				? FunctionCall1(&form->function, value)
				: form->function.fn_nargs == 2
				? FunctionCall2(&form->function, value, Int32GetDatum(-1))
				: FunctionCall3(&form->function, value, Int32GetDatum(-1),
								BoolGetDatum(true));
			profiles_unpin_settings(level);
			/* FALLTHROUGH */
		case PROFILE_TEXT_AS_IS:
			break;
	}
	result = PG_DETOAST_DATUM_PACKED(value);
	return profile_string(VARDATA_ANY(result), VARSIZE_ANY_EXHDR(result));
}

/* _value_text("any") -> text: what a profile would keep of the value */
Datum
profiles_value_text(PG_FUNCTION_ARGS)
{
	ProfileTextForm *form = fcinfo->flinfo->fn_extra;
	ProfileString string;

	if (form == NULL)
	{
		MemoryContext context = fcinfo->flinfo->fn_mcxt;

		form = MemoryContextAllocZero(context, sizeof(ProfileTextForm));
		profile_text_form_init(form, get_fn_expr_argtype(fcinfo->flinfo, 0), context);
		fcinfo->flinfo->fn_extra = form;
	}
	string = profile_text_of(form, PG_GETARG_DATUM(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(string.data, string.len));
}
