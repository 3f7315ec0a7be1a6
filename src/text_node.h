/*
 * text_node.h
 *		Texts that are read out of a row without the executor.
 */
#ifndef PROFILES_TEXT_NODE_H
#define PROFILES_TEXT_NODE_H

#include "executor/tuptable.h"
#include "nodes/primnodes.h"
#include "profile.h"
#include "utils/jsonb.h"

typedef struct TextNode TextNode;

/* The row at hand, and its document once it is open. */
typedef struct TextRow
{
	TupleTableSlot *slot;
	uint64		number;			/* another one for every row, from 1 */
	uint64		opened;			/* the row whose document is open */
	AttrNumber	column;			/* the document's */
	Jsonb	   *document;		/* NULL: it is NULL */
} TextRow;

extern TextNode *profiles_text_node(Expr *expr);
extern TextNode *profiles_condition_node(Expr *expr, ProfileString *constant, bool *equal);
extern bool profiles_read_text(TextNode *node, TextRow *row, ProfileString *result);

#endif							/* PROFILES_TEXT_NODE_H */
