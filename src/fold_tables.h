/*
 * fold_tables.h
 *		How characters are folded; see tokenizer.c, which reads these tables.
 */
#ifndef PROFILES_FOLD_TABLES_H
#define PROFILES_FOLD_TABLES_H

#include <stdint.h>

#define FOLD_BLOCK	128
#define FOLD_FIRST	16			/* an entry from here on is the number of a fold */

/* What a character is in a word; entries of unfolded characters, too. */
typedef enum CharClass
{
	CHAR_SEPARATOR,
	CHAR_IGNORED,				/* as if it were not there: accents, invisible ones */
	CHAR_LETTER,
	CHAR_DIGIT,
	CHAR_CJK,					/* of a script that puts no spaces between words, or an emoji */
	CHAR_JOINER,				/* one of ' - . _ + & between letters */
	CHAR_AT
} CharClass;

extern const char profiles_unicode_version[];
extern const int profiles_fold_index_length;
extern const uint16_t profiles_fold_index[];
extern const uint16_t profiles_fold_blocks[][FOLD_BLOCK];
extern const uint16_t profiles_folds[];
extern const unsigned char profiles_fold_pool[];

#endif							/* PROFILES_FOLD_TABLES_H */
