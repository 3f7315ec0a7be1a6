/*
 * people_query.c
 *		What somebody typed to find people, as words to be met, and as a tsquery.
 *
 * Every word is a prefix, in any order, and all must be met.  Whatever is typed is
 * text: operators and quotes part words.  Only an upper-case OR between words parts
 * alternatives, and an AND there is passed over.
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "people.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(people_tsquery);

static void
set_term(Term *term, const char *data, int len, bool prefix)
{
	term->lexeme = people_from_utf8(data, &len);
	/* what the database can't hold, nobody in it is called */
	if (term->lexeme == NULL)
	{
		term->lexeme = "\001";
		len = 1;
	}
	term->lexeme = pnstrdup(term->lexeme, len);
	term->len = len;
	term->prefix = prefix;
	term->joined = false;
	term->distance = 0;
}

static void
add_term(QueryWord *word, const Lexeme *lexeme, bool joined)
{
	if (word->nterms < WORD_MAX_TERMS && lexeme->len > 0)
	{
		set_term(&word->terms[word->nterms], lexeme->data, lexeme->len, true);
		word->terms[word->nterms++].joined = joined;
	}
}

static void
add_leaf(QueryWord *word, const Tokens *t, const Atom *atom, bool prefix)
{
	int			len;
	const char *text = atom_text(t, atom, &len);

	set_term(&word->leaves[word->nall++], text, len, prefix);
}

static bool
may_be_host(const Tokens *t, const Chunk *chunk)
{
	for (int i = 1; i < chunk->natoms; i++)
	{
		if (t->atoms[chunk->first + i].joiner != '.' && t->atoms[chunk->first + i].joiner != '-')
			return false;
	}
	return true;
}

static void
parse_chunk(const Tokens *t, const Chunk *chunk, QueryWord *word)
{
	Lexeme		lexeme;
	int			nleaves = chunk->nlocal > 0 ? chunk->nlocal : chunk->natoms;

	word->address = chunk->nlocal >= 0;
	word->compound = chunk->natoms > 1;
	word->whole_address = chunk->nlocal > 0 && chunk->natoms > chunk->nlocal;
	if (word->address)
	{
		lexeme_begin(&lexeme, chunk->nlocal > 0 ? "<" : "");
		chunk_local(t, chunk, true, &lexeme);
		if (chunk->nlocal == 0)
			lexeme.len = 0;
		lexeme_add(&lexeme, "@", 1);
		chunk_host(t, chunk, chunk->nlocal, &lexeme);
		add_term(word, &lexeme, true);
		lexeme_begin(&lexeme, "@");
		chunk_host(t, chunk, chunk->nlocal, &lexeme);
		set_term(&word->host, lexeme.data, lexeme.len, true);
	}
	else
	{
		lexeme_begin(&lexeme, "");
		chunk_joined(t, chunk, &lexeme);
		add_term(word, &lexeme, word->compound);
		word->squeezed = palloc0(lexeme.len + 1);
		for (int i = 0, n = 0; i < lexeme.len; i++)
		{
			if (lexeme.data[i] != '.')
				word->squeezed[n++] = lexeme.data[i];
		}
		/* a shorter one is in the address's first atom */
		if (!t->atoms[chunk->first].cjk &&
			(word->compound || atom_char_count(&t->atoms[chunk->first]) >= 3))
		{
			lexeme_begin(&lexeme, "<");
			chunk_local(t, chunk, true, &lexeme);
			add_term(word, &lexeme, word->compound);
		}
		if (word->compound && may_be_host(t, chunk))
		{
			lexeme_begin(&lexeme, "@");
			chunk_host(t, chunk, 0, &lexeme);
			add_term(word, &lexeme, true);
		}
	}
	for (int i = 0; i < nleaves && word->nleaves < WORD_MAX_LEAVES; i++)
	{
		add_leaf(word, t, &t->atoms[chunk->first + i], i == nleaves - 1 && chunk->nlocal <= 0);
		word->nleaves++;
	}
	for (int i = nleaves; i < chunk->natoms && word->nall < WORD_MAX_LEAVES; i++)
		add_leaf(word, t, &t->atoms[chunk->first + i], i == chunk->natoms - 1);
}

/* "mac donald" also is "macdonald"; the first word is a prefix of that already. */
static void
add_joined_pair(const Tokens *t, const Chunk *left, const Chunk *right, QueryWord *word)
{
	const Atom *a = &t->atoms[left->first];
	const Atom *b = &t->atoms[right->first];
	Lexeme		lexeme;
	int			len;
	const char *text;

	if (left->natoms > 1 || right->natoms > 1 || left->nlocal >= 0 || right->nlocal >= 0 ||
		a->cjk || b->cjk || atom_char_count(a) > 3 || atom_char_count(b) < 3)
		return;
	lexeme_begin(&lexeme, "");
	text = atom_text(t, a, &len);
	lexeme_add(&lexeme, text, len);
	text = atom_text(t, b, &len);
	lexeme_add(&lexeme, text, len);
	add_term(word, &lexeme, true);
}

static void
parse_alternative(const char *text, int len, SearchQuery *query)
{
	Tokens	   *t = tokenize(text, len);

	memset(query, 0, sizeof(SearchQuery));
	for (int i = 0; i < t->nchunks && query->nwords < QUERY_MAX_WORDS; i++)
	{
		QueryWord  *word = &query->words[query->nwords++];

		parse_chunk(t, &t->chunks[i], word);
		query->natoms += t->chunks[i].natoms;
		if (i > 0)
			add_joined_pair(t, &t->chunks[i - 1], &t->chunks[i], word);
	}
	tokens_free(t);
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_word(const char *text, int at, int len, const char *word)
{
	int			n = strlen(word);

	return at + n <= len && memcmp(text + at, word, n) == 0 &&
		(at == 0 || is_space(text[at - 1])) && (at + n == len || is_space(text[at + n]));
}

/* Blanks out "mailto:" and what follows the address in such a link. */
static void
blank_mailto(char *text, int len)
{
	for (int i = 0; i + 7 <= len; i++)
	{
		if (pg_strncasecmp(text + i, "mailto:", 7) != 0)
			continue;
		memset(text + i, ' ', 7);
		i += 7;
		while (i < len && !is_space(text[i]) && text[i] != '?')
			i++;
		while (i < len && !is_space(text[i]) && text[i] != '>' && text[i] != '"')
			text[i++] = ' ';
	}
}

/*
 * Takes apart what was typed, in the database's encoding.  Returns how many
 * alternatives it has; those without words are left out.
 */
int
people_parse_query(const char *typed, int len, SearchQuery **queries)
{
	char	   *text;
	int			n = 0;
	int			from = 0;
	bool		any_word = false;

	len = pg_mbcliplen(typed, len, QUERY_MAX_BYTES);
	typed = people_to_utf8(typed, &len);
	text = pnstrdup(typed, len);
	/* a NUL can't come from SQL; past one pnstrdup() copies nothing */
	len = strlen(text);
	blank_mailto(text, len);
	*queries = palloc(QUERY_MAX_ALTERNATIVES * sizeof(SearchQuery));
	for (int i = 0; i <= len; i++)
	{
		bool		or_word = any_word && is_word(text, i, len, "OR") && n + 1 < QUERY_MAX_ALTERNATIVES;

		if (i == len || or_word)
		{
			parse_alternative(text + from, i - from, &(*queries)[n]);
			if ((*queries)[n].nwords > 0)
				n++;
			from = i + 2;
			any_word = false;
			i++;
		}
		else if (any_word && is_word(text, i, len, "AND"))
			memset(text + i, ' ', 3);
		else if (!is_space(text[i]))
			any_word = true;
	}
	pfree(text);
	return n;
}

/*
 * The query with the atoms of compounds as words of their own; whether it has any.
 * Of an address that would be hardly anything.
 */
bool
people_take_apart(const SearchQuery *query, SearchQuery *apart)
{
	bool		any = false;

	memset(apart, 0, sizeof(SearchQuery));
	apart->natoms = query->natoms;
	for (int i = 0; i < query->nwords; i++)
	{
		const QueryWord *word = &query->words[i];
		bool		compound = word->compound && !word->address;

		any |= compound;
		for (int j = 0; j < (compound ? word->nleaves : 1) && apart->nwords < QUERY_MAX_WORDS; j++)
		{
			QueryWord  *part = &apart->words[apart->nwords++];

			if (!compound)
			{
				*part = *word;
				continue;
			}
			part->leaves[0] = word->leaves[j];
			part->leaves[0].prefix = true;
			part->terms[0] = part->leaves[0];
			part->squeezed = pnstrdup(part->terms[0].lexeme, part->terms[0].len);
			part->nterms = part->nleaves = part->nall = 1;
		}
	}
	return any;
}

/* ---------- as a tsquery ---------- */

void
people_append_term(StringInfo s, const Term *term)
{
	appendStringInfoChar(s, '\'');
	for (int i = 0; i < term->len; i++)
	{
		if (term->lexeme[i] == '\'' || term->lexeme[i] == '\\')
			appendStringInfoChar(s, term->lexeme[i]);
		appendStringInfoChar(s, term->lexeme[i]);
	}
	appendStringInfoString(s, term->prefix ? "':*" : "'");
}

static void
append_leaves(StringInfo s, const QueryWord *word)
{
	for (int i = 0; i < word->nleaves; i++)
	{
		if (i > 0)
			appendStringInfoString(s, " <-> ");
		people_append_term(s, &word->leaves[i]);
	}
}

static void
append_word(StringInfo s, const QueryWord *word)
{
	appendStringInfoChar(s, '(');
	for (int i = 0; i < word->nterms; i++)
	{
		if (i > 0)
			appendStringInfoString(s, " | ");
		people_append_term(s, &word->terms[i]);
	}
	if (word->address && word->nleaves > 0 && word->terms[0].lexeme[0] == '<')
	{
		appendStringInfoString(s, " | (");
		append_leaves(s, word);
		if (word->host.len > 1)
		{
			appendStringInfoString(s, " & ");
			people_append_term(s, &word->host);
		}
		appendStringInfoChar(s, ')');
	}
	else if (!word->address && word->nleaves > 1)
	{
		appendStringInfoString(s, " | ");
		append_leaves(s, word);
	}
	appendStringInfoChar(s, ')');
}

/* people_tsquery(query text) -> tsquery for vectors of people_tsvector() */
Datum
people_tsquery(PG_FUNCTION_ARGS)
{
	text	   *typed = PG_GETARG_TEXT_PP(0);
	SearchQuery *queries;
	int			n = people_parse_query(VARDATA_ANY(typed), VARSIZE_ANY_EXHDR(typed), &queries);
	StringInfoData s;

	if (n == 0)
	{
		/* matches nothing; parsing an empty text would say so in a NOTICE */
		TSQuery		empty = palloc0(HDRSIZETQ);

		SET_VARSIZE(empty, HDRSIZETQ);
		PG_RETURN_TSQUERY(empty);
	}
	initStringInfo(&s);
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(&s, i > 0 ? " | (" : "(");
		for (int j = 0; j < queries[i].nwords; j++)
		{
			if (j > 0)
				appendStringInfoString(&s, " & ");
			append_word(&s, &queries[i].words[j]);
		}
		appendStringInfoChar(&s, ')');
	}
	return DirectFunctionCall1(tsqueryin, CStringGetDatum(s.data));
}
