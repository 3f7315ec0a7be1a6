/*
 * people_dictionary.c
 *		The words that typos are corrected to, and how they are found.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "people.h"
#include "tsearch/ts_utils.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(people_dictionary_words);
PG_FUNCTION_INFO_V1(people_word_keys);
PG_FUNCTION_INFO_V1(people_typed_keys);
PG_FUNCTION_INFO_V1(people_word_distance);

#define LETTERS_BESIDE_DIGITS 4

static bool
is_digit(uint32 c)
{
	return c >= '0' && c <= '9';
}

/*
 * The characters of a word that typos are corrected to: letters of scripts with
 * spaces, 3 or more, or more beside digits.  0 if it is none; letters is how many are no digits.
 */
int
people_correctable(const char *lexeme, int len, uint32 *chars, int *letters)
{
	char	   *utf8 = people_to_utf8(lexeme, &len);
	int			n = word_chars(utf8, len, chars, WORD_MAX_CHARS);
	Tokens	   *t;
	bool		good;

	*letters = 0;
	if (n < 3)
		return 0;
	t = tokenize(utf8, len);
	good = t->natoms == 1 && t->nchars == n && !t->atoms[0].cjk;
	for (int i = 0; i < t->nchars; i++)
	{
		good &= t->chars[i].class == CHAR_LETTER || is_digit(t->chars[i].cp);
		*letters += t->chars[i].class == CHAR_LETTER;
	}
	tokens_free(t);
	return good && (*letters == n || *letters >= LETTERS_BESIDE_DIGITS) ? n : 0;
}

/* Are all digits of both the same?  user1234 is no typo of user1235. */
static bool
same_digits(const uint32 *a, int na, const uint32 *b, int nb)
{
	int			i = 0;
	int			j = 0;

	for (;;)
	{
		while (i < na && !is_digit(a[i]))
			i++;
		while (j < nb && !is_digit(b[j]))
			j++;
		if (i == na || j == nb)
			return i == na && j == nb;
		if (a[i++] != b[j++])
			return false;
	}
}

/*
 * _dictionary_words(vector tsvector) -> text[]: words of names and hosts, and, of
 * who has no name, of the address, unless they have digits.  Local parts are mostly a
 * person's own, so they would make the dictionary as large as the people are many.
 */
Datum
people_dictionary_words(PG_FUNCTION_ARGS)
{
	TSVector	vector = PG_GETARG_TSVECTOR(0);
	WordEntry  *entries = ARRPTR(vector);
	Datum	   *words = palloc(Max(vector->size, 1) * sizeof(Datum));
	int			n = 0;
	bool		named = false;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < vector->size; i++)
		{
			char	   *lexeme = STRPTR(vector) + entries[i].pos;
			uint32		chars[WORD_MAX_CHARS];
			int			letters;
			int			nchars;
			int			weights = 0;

			for (int j = 0; j < POSDATALEN(vector, &entries[i]); j++)
				weights |= 1 << WEP_GETWEIGHT(POSDATAPTR(vector, &entries[i])[j]);
			if (pass == 0)
				named |= (weights & 1 << WEIGHT_NAME) != 0;
			else if (lexeme[0] != '<' && lexeme[0] != '@' &&
					 (!named || weights & (1 << WEIGHT_NAME | 1 << WEIGHT_HOST)) &&
					 (nchars = people_correctable(lexeme, entries[i].len, chars, &letters)) > 0 &&
					 (letters == nchars || weights & (1 << WEIGHT_NAME | 1 << WEIGHT_HOST)))
				words[n++] = PointerGetDatum(cstring_to_text_with_len(lexeme, entries[i].len));
		}
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(words, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Keys as an SQL array. */
static Datum
keys_array(const uint32 *keys, int n)
{
	Datum		elements[TYPED_MAX_KEYS];

	for (int i = 0; i < n; i++)
		elements[i] = Int32GetDatum((int32) keys[i]);
	return PointerGetDatum(construct_array(elements, n, INT4OID, 4, true, TYPALIGN_INT));
}

/* _word_keys(word text) -> integer[]; NULL if typos are not corrected to it */
Datum
people_word_keys(PG_FUNCTION_ARGS)
{
	text	   *word = PG_GETARG_TEXT_PP(0);
	uint32		chars[WORD_MAX_CHARS];
	uint32		keys[WORD_MAX_KEYS];
	int			letters;
	int			n = people_correctable(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), chars, &letters);

	if (n == 0)
		PG_RETURN_NULL();
	return keys_array(keys, word_keys(chars, n, keys));
}

/* _typed_keys(word text, most integer) -> integer[]; NULL if it can't be a typo */
Datum
people_typed_keys(PG_FUNCTION_ARGS)
{
	text	   *word = PG_GETARG_TEXT_PP(0);
	uint32		chars[WORD_MAX_CHARS];
	uint32		keys[TYPED_MAX_KEYS];
	int			letters;
	int			n = people_correctable(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), chars, &letters);

	if (n == 0)
		PG_RETURN_NULL();
	return keys_array(keys, typed_keys(chars, n, PG_GETARG_INT32(1) > 1 ? 2 : 1, keys));
}

/* _word_distance(a text, b text, most integer) -> integer */
Datum
people_word_distance(PG_FUNCTION_ARGS)
{
	uint32		chars[2][WORD_MAX_CHARS];
	int			n[2];

	for (int i = 0; i < 2; i++)
	{
		text	   *word = PG_GETARG_TEXT_PP(i);
		int			len = VARSIZE_ANY_EXHDR(word);
		char	   *utf8 = people_to_utf8(VARDATA_ANY(word), &len);

		n[i] = word_chars(utf8, len, chars[i], WORD_MAX_CHARS);
		if (n[i] < 0)
			PG_RETURN_INT32(PG_GETARG_INT32(2) + 1);
	}
	if (!same_digits(chars[0], n[0], chars[1], n[1]))
		PG_RETURN_INT32(PG_GETARG_INT32(2) + 1);
	PG_RETURN_INT32(word_distance(chars[0], n[0], chars[1], n[1], PG_GETARG_INT32(2)));
}
