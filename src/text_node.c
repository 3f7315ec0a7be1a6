/*
 * text_node.c
 *		Reads texts out of a row without the executor.
 *
 * A source over a jsonb column has some twenty expressions like
 * nullif(event #>> '{usr,id}', '').  As functions each of them takes the path
 * apart and copies its result; here the document is opened once per row, and a
 * result points into it.  Only such expressions are known here, and only
 * documents of objects in objects; the executor does the rest.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "profile.h"
#include "text_node.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

typedef enum TextNodeKind
{
	TEXT_CONSTANT,
	TEXT_PATH,					/* column ->> 'key', column #>> '{key,key}' */
	TEXT_NULLIF,				/* NULL if equal to the constant */
	TEXT_COALESCE
} TextNodeKind;

struct TextNode
{
	TextNodeKind kind;
	ProfileString constant;
	AttrNumber	column;			/* of type jsonb */
	int			n;				/* keys or arguments */
	ProfileString *keys;
	TextNode  **arguments;
};

/* ---------- expressions ---------- */

static bool
constant_text(Node *node, ProfileString *result)
{
	Const	   *constant = (Const *) node;
	struct varlena *text;

	if (!IsA(node, Const) || constant->consttype != TEXTOID || constant->constisnull)
		return false;
	text = PG_DETOAST_DATUM_PACKED(constant->constvalue);
	*result = profile_string(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
	return true;
}

/* The path's keys; false if one is NULL or there are none. */
static bool
constant_path(Node *node, TextNode *result)
{
	Const	   *constant = (Const *) node;
	Datum	   *elements;
	bool	   *nulls;

	if (!IsA(node, Const) || constant->consttype != TEXTARRAYOID || constant->constisnull)
		return false;
	deconstruct_array(DatumGetArrayTypeP(constant->constvalue), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &result->n);
	result->keys = palloc(result->n * sizeof(ProfileString) + 1);
	for (int i = 0; i < result->n; i++)
	{
		if (nulls[i])
			return false;
		result->keys[i] = profile_string(VARDATA_ANY(DatumGetPointer(elements[i])),
										 VARSIZE_ANY_EXHDR(DatumGetPointer(elements[i])));
	}
	return result->n > 0;
}

static TextNode *
new_node(TextNodeKind kind)
{
	TextNode   *node = palloc0(sizeof(TextNode));

	node->kind = kind;
	return node;
}

/* A call of function(column, path). */
static TextNode *
path_node(Oid function, List *arguments)
{
	TextNode   *node = new_node(TEXT_PATH);
	Var		   *column = linitial(arguments);

	if (list_length(arguments) != 2 || !IsA(column, Var) || column->varattno <= 0 ||
		column->vartype != JSONBOID)
		return NULL;
	node->column = column->varattno;
	if (function == F_JSONB_OBJECT_FIELD_TEXT)
	{
		node->n = 1;
		node->keys = palloc(sizeof(ProfileString));
		return constant_text(lsecond(arguments), &node->keys[0]) ? node : NULL;
	}
	return function == F_JSONB_EXTRACT_PATH_TEXT && constant_path(lsecond(arguments), node) ? node : NULL;
}

/* Does equality under this collation mean equal bytes? */
static bool
compares_bytes(Oid collation)
{
	return collation == DEFAULT_COLLATION_OID || collation == C_COLLATION_OID;
}

/*
 * The node of an expression of type text, in the current context; NULL if it is
 * of no known form.
 */
TextNode *
profiles_text_node(Expr *expr)
{
	TextNode   *node;
	ListCell   *lc;

	if (exprType((Node *) expr) != TEXTOID)
		return NULL;
	switch (nodeTag(expr))
	{
		case T_Const:
			node = new_node(TEXT_CONSTANT);
			return constant_text((Node *) expr, &node->constant) ? node : NULL;
		case T_FuncExpr:
			return ((FuncExpr *) expr)->args == NIL ? NULL
				: path_node(((FuncExpr *) expr)->funcid, ((FuncExpr *) expr)->args);
		case T_OpExpr:
			set_opfuncid((OpExpr *) expr);
			return path_node(((OpExpr *) expr)->opfuncid, ((OpExpr *) expr)->args);
		case T_NullIfExpr:
			set_opfuncid((OpExpr *) expr);
			node = new_node(TEXT_NULLIF);
			node->arguments = palloc(sizeof(TextNode *));
			node->arguments[0] = profiles_text_node(linitial(((OpExpr *) expr)->args));
			return ((OpExpr *) expr)->opfuncid == F_TEXTEQ &&
				compares_bytes(((OpExpr *) expr)->inputcollid) && node->arguments[0] != NULL &&
				constant_text(lsecond(((OpExpr *) expr)->args), &node->constant) ? node : NULL;
		case T_CoalesceExpr:
			node = new_node(TEXT_COALESCE);
			node->arguments = palloc(list_length(((CoalesceExpr *) expr)->args) * sizeof(TextNode *));
			foreach(lc, ((CoalesceExpr *) expr)->args)
			{
				node->arguments[node->n] = profiles_text_node(lfirst(lc));
				if (node->arguments[node->n++] == NULL)
					return NULL;
			}
			return node;
		default:
			return NULL;
	}
}

/* The same for a condition text = 'constant', or <>. */
TextNode *
profiles_condition_node(Expr *expr, ProfileString *constant, bool *equal)
{
	OpExpr	   *op = (OpExpr *) expr;

	if (!IsA(expr, OpExpr) || list_length(op->args) != 2 || !compares_bytes(op->inputcollid) ||
		!constant_text(lsecond(op->args), constant))
		return NULL;
	set_opfuncid(op);
	*equal = op->opfuncid == F_TEXTEQ;
	return *equal || op->opfuncid == F_TEXTNE ? profiles_text_node(linitial(op->args)) : NULL;
}

/* ---------- rows ---------- */

static Jsonb *
open_document(TextRow *row, AttrNumber column)
{
	if (row->column != column || row->opened != row->number)
	{
		bool		isnull;
		Datum		value = slot_getattr(row->slot, column, &isnull);

		row->document = isnull ? NULL : DatumGetJsonbP(value);
		row->column = column;
		row->opened = row->number;
	}
	return row->document;
}

static ProfileString
value_text(JsonbValue *value)
{
	char	   *string;

	switch (value->type)
	{
		case jbvNull:
			return profile_string(NULL, 0);
		case jbvString:
			return profile_string(value->val.string.val, value->val.string.len);
		case jbvBool:
			return value->val.boolean ? profile_string("true", 4) : profile_string("false", 5);
		case jbvNumeric:
			string = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			break;
		default:
			string = JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	}
	return profile_string(string, strlen(string));
}

static bool
read_path(TextNode *node, TextRow *row, ProfileString *result)
{
	Jsonb	   *document = open_document(row, node->column);
	JsonbContainer *container;

	*result = profile_string(NULL, 0);
	if (document == NULL)
		return true;
	container = &document->root;
	for (int i = 0;; i++)
	{
		JsonbValue	buffer;
		JsonbValue *value;

		/* a key may be an array's index */
		if (!JsonContainerIsObject(container))
			return false;
		value = getKeyJsonValueFromContainer(container, node->keys[i].data, node->keys[i].len, &buffer);
		if (value == NULL)
			return true;
		if (i == node->n - 1)
		{
			*result = value_text(value);
			return true;
		}
		if (value->type != jbvBinary)
			return true;
		container = value->val.binary.data;
	}
}

/*
 * Reads a text of a row, data = NULL being NULL; it lasts as long as the row and the
 * current context.  Returns false if this row is one for the executor.
 */
bool
profiles_read_text(TextNode *node, TextRow *row, ProfileString *result)
{
	switch (node->kind)
	{
		case TEXT_CONSTANT:
			*result = node->constant;
			return true;
		case TEXT_PATH:
			return read_path(node, row, result);
		case TEXT_NULLIF:
			if (!profiles_read_text(node->arguments[0], row, result))
				return false;
			if (result->data != NULL && profile_string_eq(*result, node->constant))
				*result = profile_string(NULL, 0);
			return true;
		case TEXT_COALESCE:
			for (int i = 0; i < node->n; i++)
			{
				if (!profiles_read_text(node->arguments[i], row, result))
					return false;
				if (result->data != NULL)
					break;
			}
			return true;
	}
	pg_unreachable();
}
