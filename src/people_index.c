/*
 * people_index.c
 *		What of the vectors of people is in which index.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "people.h"
#include "tsearch/ts_utils.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(people_indexed_address);
PG_FUNCTION_INFO_V1(people_indexed_words);
PG_FUNCTION_INFO_V1(people_words_beginning);

/*
 * A bit of 64 for each of some beginnings of a word: whoever has a word that begins with
 * another has the bits of that one, too.
 */
uint64
people_word_bits(const char *lexeme, int len)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);	/* FNV-1a, whose upper bits the last letter does not reach */
	uint64		bits = 0;
	int			at = 0;

	for (int chars = 1; chars <= SIGNED_CHARS && at < len; chars++)
	{
		int			next = Min(at + pg_mblen(lexeme + at), len);
		bool		letter = next == 1; /* which says little */

		for (; at < next; at++)
			hash = (hash ^ (unsigned char) lexeme[at]) * UINT64CONST(0x100000001b3);
		if (!letter && chars != SIGNED_CHARS - 1)
			bits |= UINT64CONST(1) << (((hash ^ hash >> 32) * UINT64CONST(0x9e3779b97f4a7c15)) >> 58);
	}
	return bits;
}

/* The first address of a vector; its size if there is none. */
static int
first_address(TSVector vector)
{
	int			i = 0;

	while (i < vector->size && STRPTR(vector)[ARRPTR(vector)[i].pos] != '<')
		i++;
	return i;
}

/* How many bytes of an address are in the index. */
int
people_indexed_bytes(const char *address, int len)
{
	return pg_mbcliplen(address, len, INDEXED_ADDRESS_BYTES);
}

/*
 * _indexed_address(vector tsvector) -> text: how the first begins, with its mark, and
 * a byte more: the length plus 1 of the longest word of the vector that the address begins
 * with behind the mark, at most 127.  NULL if there is none.
 */
Datum
people_indexed_address(PG_FUNCTION_ARGS)
{
	TSVector	vector = PG_GETARG_TSVECTOR(0);
	int			i = first_address(vector);
	WordEntry  *entry = ARRPTR(vector) + i;
	const char *lexeme;
	int			longest = 0;
	text	   *result;
	int			len;

	if (i == vector->size)
		PG_RETURN_NULL();
	lexeme = STRPTR(vector) + entry->pos;
	for (int j = 0; j < vector->size; j++)
	{
		const WordEntry *word = ARRPTR(vector) + j;

		if (word->len < entry->len && memcmp(lexeme + 1, STRPTR(vector) + word->pos, word->len) == 0)
			longest = Max(longest, word->len);
	}
	len = people_indexed_bytes(lexeme, entry->len);
	result = palloc(VARHDRSZ + len + 1);
	SET_VARSIZE(result, VARHDRSZ + len + 1);
	memcpy(VARDATA(result), lexeme, len);
	VARDATA(result)[len] = Min(longest, 126) + 1;
	PG_RETURN_TEXT_P(result);
}

/* Is a lexeme there behind a = as well? */
static bool
is_marked_too(TSVector vector, const char *lexeme, int len)
{
	int			low = 0;
	int			high = vector->size;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		const WordEntry *other = ARRPTR(vector) + middle;
		const char *marked = STRPTR(vector) + other->pos;
		int			c = (unsigned char) marked[0] - '=';

		if (c == 0)
			c = memcmp(marked + 1, lexeme, Min(other->len - 1, len));
		if (c == 0)
			c = other->len - 1 - len;
		if (c == 0)
			return true;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* A lexeme of the index. */
typedef struct Indexed
{
	const char *bytes;
	int			len;
} Indexed;

static int
compare_indexed(const void *x, const void *y)
{
	const Indexed *a = x;
	const Indexed *b = y;
	int			c = memcmp(a->bytes, b->bytes, Min(a->len, b->len));

	return c != 0 ? c : a->len - b->len;
}

/* Adds the beginnings of a word that no word of the name has. */
static int
add_beginnings(TSVector vector, const char *word, int len, Indexed *indexed, int n)
{
	int			at = 0;

	for (int chars = 0; chars < BEGINNING_CHARS && at < len; chars++)
	{
		char	   *beginning;

		at = Min(at + pg_mblen(word + at), len);
		beginning = palloc(at + 1);
		memcpy(beginning, word, at);
		beginning[at] = '*';
		if (!is_marked_too(vector, beginning, at + 1))
			indexed[n++] = (Indexed) {beginning, at + 1};
	}
	return n;
}

/*
 * _indexed_words(vector tsvector) -> tsvector: the lexemes of a vector that are in the
 * index of words, without positions, and beginnings of words, as names have them with
 * their mark.
 */
Datum
people_indexed_words(PG_FUNCTION_ARGS)
{
	TSVector	vector = PG_GETARG_TSVECTOR(0);
	Indexed    *indexed = palloc((vector->size * (BEGINNING_CHARS + 1) + 1) * sizeof(Indexed));
	int			address = first_address(vector);
	TSVector	result;
	int			n = 0;
	int			kept = 0;
	int			size = 0;

	for (int i = 0; i < vector->size; i++)
	{
		const WordEntry *entry = ARRPTR(vector) + i;
		const char *lexeme = STRPTR(vector) + entry->pos;

		if (i == address || is_marked_too(vector, lexeme, entry->len))
			continue;
		indexed[n++] = (Indexed) {lexeme, entry->len};
		if (strchr("<=@", *lexeme) == NULL)
			n = add_beginnings(vector, lexeme, entry->len, indexed, n);
	}
	qsort(indexed, n, sizeof(Indexed), compare_indexed);
	for (int i = 0; i < n; i++)
	{
		if (kept > 0 && compare_indexed(&indexed[kept - 1], &indexed[i]) == 0)
			continue;
		indexed[kept++] = indexed[i];
		size += indexed[i].len;
	}
	result = palloc0(CALCDATASIZE(kept, size));
	SET_VARSIZE(result, CALCDATASIZE(kept, size));
	result->size = kept;
	size = 0;
	for (int i = 0; i < kept; i++)
	{
		WordEntry  *entry = ARRPTR(result) + i;

		entry->len = indexed[i].len;
		entry->pos = size;
		memcpy(STRPTR(result) + size, indexed[i].bytes, indexed[i].len);
		size += indexed[i].len;
	}
	PG_RETURN_TSVECTOR(result);
}

/* _words_beginning(vector tsvector, beginning text) -> text[]: the lexemes that begin so. */
Datum
people_words_beginning(PG_FUNCTION_ARGS)
{
	TSVector	vector = PG_GETARG_TSVECTOR(0);
	text	   *beginning = PG_GETARG_TEXT_PP(1);
	WordEntry  *entries = ARRPTR(vector);
	Datum	   *words = palloc(Max(vector->size, 1) * sizeof(Datum));
	int			len = VARSIZE_ANY_EXHDR(beginning);
	int			n = 0;

	for (int i = 0; i < vector->size; i++)
	{
		char	   *lexeme = STRPTR(vector) + entries[i].pos;

		if (entries[i].len >= len && memcmp(lexeme, VARDATA_ANY(beginning), len) == 0)
			words[n++] = PointerGetDatum(cstring_to_text_with_len(lexeme, entries[i].len));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(words, n, TEXTOID, -1, false, TYPALIGN_INT));
}
