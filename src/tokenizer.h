/*
 * tokenizer.h
 *		Text as search sees it: folded characters, atoms, chunks.
 *
 * An atom is a run of letters and digits, or of a script that puts no spaces
 * between words, as which emoji count.  A chunk is what is typed without a space: atoms with a
 * joiner between them (O'Brien, Smith-Jones, v1.2.3), or an e-mail address.
 *
 * Nothing here depends on locale, encoding of the database or PostgreSQL's
 * version.  Input is UTF-8; a byte that is no part of it is a letter of its own.
 */
#ifndef PROFILES_TOKENIZER_H
#define PROFILES_TOKENIZER_H

#include "postgres.h"

#include "fold_tables.h"

#define TOKEN_MAX_ATOM		200 /* bytes of an atom that count */
#define TOKEN_MAX_LEXEME	600 /* bytes of an address that count */

typedef struct FoldedChar
{
	int			start;			/* in the folded text */
	int			source;			/* where its character begins in the source */
	int			source_end;		/* and where what belongs to it ends */
	uint32		cp;
	CharClass	class;
} FoldedChar;

typedef struct Atom
{
	int			from;			/* characters [from, to) */
	int			to;
	bool		cjk;
	char		joiner;			/* between the previous atom of its chunk and it; 0 for the first */
} Atom;

typedef struct Chunk
{
	int			first;			/* atoms [first, first + natoms) */
	int			natoms;
	int			nlocal;			/* of an address: atoms before the @; else -1 */
} Chunk;

typedef struct Tokens
{
	char	   *text;			/* folded */
	int			length;
	int			text_size;
	FoldedChar *chars;			/* one more, at the end, of length 0 */
	int			nchars;
	int			chars_size;
	Atom	   *atoms;
	int			natoms;
	int			atoms_size;
	Chunk	   *chunks;
	int			nchunks;
	int			chunks_size;
} Tokens;

/* Bytes that grow; an address or a joined form is put together in one. */
typedef struct Lexeme
{
	int			len;
	char		data[TOKEN_MAX_LEXEME];
} Lexeme;

extern Tokens *tokenize(const char *source, int length);
extern void tokenize_again(Tokens *tokens, const char *source, int length);
extern void tokens_free(Tokens *tokens);
extern const char *atom_text(const Tokens *tokens, const Atom *atom, int *len);
extern int	atom_char_count(const Atom *atom);
extern bool starts_syllable(uint32 cp);

extern void lexeme_begin(Lexeme *lexeme, const char *prefix);
extern void lexeme_add(Lexeme *lexeme, const char *data, int len);
extern void chunk_joined(const Tokens *tokens, const Chunk *chunk, Lexeme *lexeme);
extern void chunk_local(const Tokens *tokens, const Chunk *chunk, bool tag, Lexeme *lexeme);
extern void chunk_host(const Tokens *tokens, const Chunk *chunk, int label, Lexeme *lexeme);
extern bool chunk_has_tag(const Tokens *tokens, const Chunk *chunk);

/* typos */
#define WORD_MAX_CHARS	40		/* longer words are not corrected */
#define WORD_MAX_KEYS	6
#define TYPED_MAX_KEYS	54

extern int	word_chars(const char *word, int len, uint32 *chars, int max);
extern int	word_distance(const uint32 *a, int na, const uint32 *b, int nb, int most);
extern int	word_keys(const uint32 *chars, int n, uint32 *keys);
extern int	typed_keys(const uint32 *chars, int m, int most, uint32 *keys);

#endif							/* PROFILES_TOKENIZER_H */
