/*
 * people_parser.c
 *		The text search parser, and the template of its dictionary, on the tokenizer.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "compat.h"
#include "fmgr.h"
#include "people.h"
#include "tsearch/ts_public.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(people_parser_start);
PG_FUNCTION_INFO_V1(people_parser_token);
PG_FUNCTION_INFO_V1(people_parser_end);
PG_FUNCTION_INFO_V1(people_parser_types);
PG_FUNCTION_INFO_V1(people_fold_init);
PG_FUNCTION_INFO_V1(people_fold_lexize);

/*
 * Numbers of tokens are those of the default parser for tokens of the same role,
 * since core's headline function knows them by number: it marks the leaves, and
 * leaves composites out of what it shows.
 */
#define TOKEN_LEAF		1		/* an atom as it stands in the text */
#define TOKEN_CHAR		2		/* a character of a script without spaces */
#define TOKEN_ADDRESS	5		/* forms of an address */
#define TOKEN_JOINED	16		/* atoms joined, or a whole run without spaces */
#define TOKEN_SPACE		12
#define TOKEN_TYPES		5

static const struct
{
	int			number;
	const char *alias;
	const char *description;
} token_types[TOKEN_TYPES] = {
	{TOKEN_LEAF, "word", "Word"},
	{TOKEN_CHAR, "char", "Character of a script without spaces"},
	{TOKEN_ADDRESS, "address", "E-mail address, or a part of one"},
	{TOKEN_JOINED, "joined", "Word without its joiners, or run of characters"},
	{TOKEN_SPACE, "blank", "Separators"}
};

typedef struct ParserToken
{
	const char *text;
	int			len;
	int			type;
} ParserToken;

typedef struct ParserState
{
	Tokens	   *tokens;
	const char *source;			/* UTF-8 */
	ParserToken *list;
	int			n;
	int			size;
	int			next;
} ParserState;

static void
put_part(ParserState *state, int type, const char *text, int len)
{
	const char *converted = people_from_utf8(text, &len);

	if (converted == NULL || len == 0)
		return;
	/* folded text is freed with the tokens, the source stays */
	if (converted == text && type != TOKEN_LEAF && type != TOKEN_CHAR && type != TOKEN_SPACE)
		converted = pnstrdup(text, len);
	if (state->n == state->size)
	{
		state->size = state->size * 2 + 16;
		state->list = state->list == NULL ? palloc(state->size * sizeof(ParserToken))
			: repalloc(state->list, state->size * sizeof(ParserToken));
	}
	state->list[state->n++] = (ParserToken) {converted, len, type};
}

/* What is longer than a lexeme may be is cut; to_tsvector() would leave it out, and say so. */
static void
put_token(ParserState *state, int type, const char *text, int len)
{
	while (len > 0)
	{
		int			part = Min(len, MAXSTRLEN - 1);
		int			cut = part;

		/* at the end of a character */
		while (cut > 0 && cut < len && (text[cut] & 0xC0) == 0x80)
			cut--;
		if (cut > 0)
			part = cut;
		put_part(state, type, text, part);
		text += part;
		len -= part;
		type = TOKEN_SPACE;
	}
}

static void
put_lexeme(ParserState *state, int type, const Lexeme *lexeme, const Lexeme *unless)
{
	if (unless == NULL || lexeme->len != unless->len ||
		memcmp(lexeme->data, unless->data, lexeme->len) != 0)
		put_token(state, type, lexeme->data, lexeme->len);
}

/* The composites of a chunk, before its leaves. */
static void
put_composites(ParserState *state, const Chunk *chunk)
{
	Tokens	   *t = state->tokens;
	Lexeme		whole,
				local,
				bare,
				host;

	if (chunk->nlocal < 0)
	{
		if (chunk->natoms > 1)
		{
			lexeme_begin(&whole, "");
			chunk_joined(t, chunk, &whole);
			put_lexeme(state, TOKEN_JOINED, &whole, NULL);
		}
		return;
	}
	if (chunk->nlocal > 0)
	{
		Chunk		part = *chunk;

		part.natoms = chunk->nlocal;
		lexeme_begin(&local, "");
		chunk_host(t, &part, 0, &local);	/* with its separators */
		whole = local;
		if (chunk->natoms > chunk->nlocal)
		{
			lexeme_add(&whole, "@", 1);
			chunk_host(t, chunk, chunk->nlocal, &whole);
			put_lexeme(state, TOKEN_ADDRESS, &whole, NULL);
		}
		put_lexeme(state, TOKEN_ADDRESS, &local, NULL);
		for (int i = 1; i < part.natoms; i++)
		{
			if (t->atoms[chunk->first + i].joiner == '+')
			{
				part.natoms = i;
				lexeme_begin(&bare, "");
				chunk_host(t, &part, 0, &bare);
				put_lexeme(state, TOKEN_ADDRESS, &bare, &local);
				local = bare;
				break;
			}
		}
		lexeme_begin(&bare, "");
		chunk_local(t, chunk, false, &bare);
		put_lexeme(state, TOKEN_ADDRESS, &bare, &local);
	}
	for (int i = chunk->nlocal; i < chunk->natoms - 1; i++)
	{
		if (i == chunk->nlocal || t->atoms[chunk->first + i].joiner == '.')
		{
			lexeme_begin(&host, "");
			chunk_host(t, chunk, i, &host);
			put_lexeme(state, TOKEN_ADDRESS, &host, NULL);
		}
	}
}

Datum
people_parser_start(PG_FUNCTION_ARGS)
{
	ParserState *state = palloc0(sizeof(ParserState));
	int			length = PG_GETARG_INT32(1);
	Tokens	   *t;
	int			shown = 0;		/* up to here the source has been given out */

	state->source = people_to_utf8((char *) PG_GETARG_POINTER(0), &length);
	state->tokens = t = tokenize(state->source, length);
	for (int i = 0; i < t->nchunks; i++)
	{
		Chunk	   *chunk = &t->chunks[i];

		put_composites(state, chunk);
		for (int j = 0; j < chunk->natoms; j++)
		{
			Atom	   *atom = &t->atoms[chunk->first + j];
			int			from = t->chars[atom->from].source;
			int			to = t->chars[atom->to - 1].source_end;

			/* one character can fold into several atoms; it is given out once */
			from = Max(from, shown);
			put_token(state, TOKEN_SPACE, state->source + shown, from - shown);
			if (!atom->cjk)
				put_token(state, TOKEN_LEAF, state->source + from, Max(to - from, 0));
			else
			{
				if (chunk->natoms == 1 && atom->to - atom->from > 1)
				{
					int			len;
					const char *text = atom_text(t, atom, &len);

					put_token(state, TOKEN_JOINED, text, len);
				}
				for (int k = atom->from; k < atom->to;)
				{
					int			end = k + 1;

					while (end < atom->to && (!starts_syllable(t->chars[end].cp) ||
											  t->chars[end].source == t->chars[k].source))
						end++;
					put_token(state, TOKEN_CHAR, state->source + Max(from, t->chars[k].source),
							  Max(t->chars[end - 1].source_end - Max(from, t->chars[k].source), 0));
					k = end;
				}
			}
			shown = Max(shown, to);
		}
	}
	put_token(state, TOKEN_SPACE, state->source + shown, length - shown);
	PG_RETURN_POINTER(state);
}

Datum
people_parser_token(PG_FUNCTION_ARGS)
{
	ParserState *state = (ParserState *) PG_GETARG_POINTER(0);
	char	  **text = (char **) PG_GETARG_POINTER(1);
	int		   *len = (int *) PG_GETARG_POINTER(2);
	ParserToken *token;

	if (state->next == state->n)
		PG_RETURN_INT32(0);
	token = &state->list[state->next++];
	*text = (char *) token->text;
	*len = token->len;
	PG_RETURN_INT32(token->type);
}

Datum
people_parser_end(PG_FUNCTION_ARGS)
{
	ParserState *state = (ParserState *) PG_GETARG_POINTER(0);

	tokens_free(state->tokens);
	if (state->list != NULL)
		pfree(state->list);
	pfree(state);
	PG_RETURN_VOID();
}

Datum
people_parser_types(PG_FUNCTION_ARGS)
{
	LexDescr   *descriptions = palloc0((TOKEN_TYPES + 1) * sizeof(LexDescr));

	for (int i = 0; i < TOKEN_TYPES; i++)
	{
		descriptions[i].lexid = token_types[i].number;
		descriptions[i].alias = pstrdup(token_types[i].alias);
		descriptions[i].descr = pstrdup(token_types[i].description);
	}
	PG_RETURN_POINTER(descriptions);
}

/* ---------- dictionary template: the folding alone ---------- */

Datum
people_fold_init(PG_FUNCTION_ARGS)
{
	List	   *options = (List *) PG_GETARG_POINTER(0);

	if (options != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized parameter \"%s\" of a dictionary of template \"people_fold\"",
						((DefElem *) linitial(options))->defname),
				 errhint("It has no parameters.")));
	/* it has no state, but NULL would say that it has failed */
	PG_RETURN_POINTER(palloc(1));
}

/* One token, one lexeme: the whole of it folded. */
Datum
people_fold_lexize(PG_FUNCTION_ARGS)
{
	char	   *token = (char *) PG_GETARG_POINTER(1);
	int			len = PG_GETARG_INT32(2);
	char	   *utf8 = people_to_utf8(token, &len);
	Tokens	   *t = tokenize(utf8, len);
	TSLexeme   *result = palloc0(2 * sizeof(TSLexeme));
	const char *folded;

	/* a tsvector's lexemes have less than 2 kB */
	while (t->nchars > 0 && t->length > MAXSTRLEN)
		t->length = t->chars[--t->nchars].start;
	len = t->length;
	folded = people_from_utf8(t->text, &len);
	if (folded != NULL && len > 0)
		result[0].lexeme = pnstrdup(folded, len);
	tokens_free(t);
	PG_RETURN_POINTER(result);
}
