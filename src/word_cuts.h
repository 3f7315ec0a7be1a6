/*
 * word_cuts.h
 *		Entries of an index that has words by their beginning alone.
 */
#ifndef PROFILES_WORD_CUTS_H
#define PROFILES_WORD_CUTS_H

#include "fmgr.h"
#include "port/pg_bswap.h"

#define ENTRY_BYTES		8		/* of a word, at most */
#define ENTRY_BITS		(ENTRY_BYTES * 8)

typedef struct WordCut
{
	uint64		beginning;		/* of words, as their entry would be */
	int			len;			/* of the beginning, in bytes */
	int			bits;			/* that such a word is cut to, more than these have */
} WordCut;

/* None begins as another does, so at most one is for a word. */
typedef struct WordCuts
{
	int			n;
	WordCut		cuts[FLEXIBLE_ARRAY_MEMBER];	/* sorted */
} WordCuts;

/* The first bits of an entry. */
static inline uint64
entry_beginning(uint64 entry, int bits)
{
	return bits == 0 ? 0 : entry & PG_UINT64_MAX << (ENTRY_BITS - bits);
}

/*
 * The entry of a word: its bytes, the first being the most significant one, zeros behind
 * them.  Sets how many bits words that begin so are cut to.
 */
static inline uint64
word_entry(const WordCuts *cuts, const char *word, int len, int *bits)
{
	uint64		entry = 0;
	int			from = 0;
	int			to = cuts->n;

	memcpy(&entry, word, Min(len, ENTRY_BYTES));
	entry = pg_ntoh64(entry);
	*bits = ENTRY_BITS;
	/* the last that is not behind it: if any is for it, that one */
	while (from < to)
	{
		int			middle = (from + to) / 2;

		if (cuts->cuts[middle].beginning <= entry)
			from = middle + 1;
		else
			to = middle;
	}
	if (from > 0 && entry_beginning(entry, cuts->cuts[from - 1].len * 8) == cuts->cuts[from - 1].beginning)
		*bits = cuts->cuts[from - 1].bits;
	return entry_beginning(entry, *bits);
}

extern WordCuts *word_cuts_of_index(FmgrInfo *flinfo);

#endif							/* PROFILES_WORD_CUTS_H */
