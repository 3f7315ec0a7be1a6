/*
 * people.h
 *		What the files of search share: lexemes of stored people, words of a query.
 *
 * Lexemes in the vector of a person, all folded:
 *
 *		word			an atom, or a chunk's atoms joined, or those that apostrophes
 *						part; weight A of the name, B of the local part of an address, C of
 *						its host, D of attributes
 *		<local@host		an address, its local part without separators; with and
 *						without a tag
 *		@host			the host of an address and each parent domain but the last; also
 *						without hyphens
 *		=word			a word of the name once more, in what is stored for search: the
 *						index knows no weights, and many addresses share a word with few names
 *		=wo*			what a word of the name begins with, up to three letters: to gather
 *						all that begin so the index takes ten times as long
 *
 * No atom begins with <, = or @, so a prefix of words never has to pass by
 * addresses, of which there are as many as people.
 */
#ifndef PROFILES_PEOPLE_H
#define PROFILES_PEOPLE_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "profile.h"
#include "tokenizer.h"
#include "tsearch/ts_type.h"

#define BEGINNING_CHARS	3		/* of a word of the name, that have a lexeme of their own */
#define SIGNED_CHARS	6		/* of a word: beginnings of 1 to 4 letters and of 6 are in signatures */
#define INDEXED_ADDRESS_BYTES 22	/* with the mark; with one more an entry would take 8 more */

#define WEIGHT_NAME		3
#define WEIGHT_LOCAL	2
#define WEIGHT_HOST		1
#define WEIGHT_ATTRIBUTE 0

/* How well a word of a query is met; greater is better. */
typedef enum Level
{
	LEVEL_NONE,
	LEVEL_TYPO,
	LEVEL_ATTRIBUTE,
	LEVEL_HOST,
	LEVEL_LOCAL,
	LEVEL_PREFIX,				/* a word of the name begins with it */
	LEVEL_TYPED,				/* the address begins with it, several atoms */
	LEVEL_JOINED,				/* is it when joined with the next, or taken apart */
	LEVEL_PHRASE,				/* words of the name begin with it as it was typed, in parts */
	LEVEL_EXACT,				/* is it */
	LEVEL_ADDRESS				/* the whole address */
} Level;

typedef struct Term
{
	const char *lexeme;			/* UTF-8, or what it is in the database's encoding */
	int			len;
	bool		prefix;
	bool		joined;			/* of several atoms */
	bool		whole;			/* no part from within a run without spaces, but its beginning or end */
	int			distance;		/* of a corrected word */
} Term;

#define WORD_MAX_TERMS	4
#define WORD_MAX_LEAVES	8
#define WORD_MAX_CORRECTIONS 24

/* What a word is in a URL that was pasted. */
typedef enum UrlPart
{
	URL_NONE,
	URL_HOST,
	URL_FOLDER,
	URL_LAST					/* of the path: mostly somebody's name or key */
} UrlPart;

/* A chunk of a query. */
typedef struct QueryWord
{
	Term		terms[WORD_MAX_TERMS];	/* any of them */
	int			nterms;
	Term		leaves[WORD_MAX_LEAVES];	/* its atoms, one behind the other; of an
										 * address those of the local part first */
	int			nleaves;		/* that form a phrase */
	int			nall;
	Term		host;			/* of an address: that its leaves have beside them */
	bool		address;		/* has an @ */
	bool		local;			/* and something before it */
	bool		whole_address;	/* and on both sides */
	Term		untagged;		/* of an address with a tag: without; no lexeme if it has none */
	bool		compound;
	bool		loose;			/* whose parts may be meant in another order */
	UrlPart		url_part;
	char	   *squeezed;		/* letters and digits alone; NULL for an address */
	Term	   *corrections[WORD_MAX_LEAVES];	/* words that a leaf may be a typo of */
	int			ncorrections[WORD_MAX_LEAVES];
	double		people[WORD_MAX_LEAVES];	/* about how many have one of these */
} QueryWord;

#define QUERY_MAX_WORDS	16
#define QUERY_MAX_BYTES	2000

typedef struct SearchQuery
{
	QueryWord	words[QUERY_MAX_WORDS];
	int			nwords;
	int			natoms;
} SearchQuery;

typedef struct VectorBuilder VectorBuilder;

/* people.c */
extern char *people_to_utf8(const char *text, int *len);
extern char *people_from_utf8(const char *text, int *len);
extern PGDLLEXPORT Datum people_compare_words(PG_FUNCTION_ARGS);
extern TSVector people_vector(text *name, text *email, bool marked);
extern TSVector people_values_vector(const Datum *values, const bool *nulls, int n);
extern VectorBuilder *people_words_builder(void);
extern int	people_value_words(VectorBuilder *builder, Datum value, ProfileString **words);

/* people_index.c */
extern int	people_indexed_bytes(const char *address, int len);
extern uint64 people_word_bits(const char *lexeme, int len);

/* people_dictionary.c */
extern int	people_correctable(const char *lexeme, int len, uint32 *chars, int *letters);

/* people_query.c: words of a query, several if it has alternatives */
#define QUERY_MAX_ALTERNATIVES 8
extern int	people_parse_query(const char *typed, int len, SearchQuery **queries);
extern bool people_take_apart(const SearchQuery *query, bool loose, SearchQuery *apart);
extern bool people_take_address_apart(const SearchQuery *query, SearchQuery *apart);
extern bool people_split_word(const SearchQuery *query, int word, int nchars, SearchQuery *parts);
extern bool people_without_titles(const SearchQuery *query, SearchQuery *rest);
extern bool people_without_tags(const SearchQuery *query, SearchQuery *rest);
extern List *people_keys(const char *typed);
extern bool people_url_subject(const SearchQuery *query, bool host, SearchQuery *subject);
extern void people_append_term(StringInfo s, const Term *term);

#endif							/* PROFILES_PEOPLE_H */
