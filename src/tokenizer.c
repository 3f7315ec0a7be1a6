/*
 * tokenizer.c
 *		Folds text and takes it apart; forms of e-mail addresses; distance of words.
 *
 * Names, addresses, queries and what the text search parser reads all come through
 * here, so that what is typed and what is stored are taken apart the same way.
 * No file of the executor or SPI is included: the fuzzer links this file alone.
 */
#include "tokenizer.h"

/* ---------- folding ---------- */

/*
 * The next character of UTF-8 text: its code, and how many bytes it has.  A
 * byte that begins no valid character counts as one, with a code behind all
 * of Unicode.
 */
static uint32
next_char(const unsigned char *s, int left, int *len)
{
	unsigned char c = s[0];
	uint32		cp;
	int			n;

	*len = 1;
	if (c < 0x80)
		return c;
	if (c >= 0xC2 && c <= 0xDF)
		n = 2, cp = c & 0x1F;
	else if (c >= 0xE0 && c <= 0xEF)
		n = 3, cp = c & 0x0F;
	else if (c >= 0xF0 && c <= 0xF4)
		n = 4, cp = c & 0x07;
	else
		return 0x110000 + c;
	if (n > left)
		return 0x110000 + c;
	for (int i = 1; i < n; i++)
	{
		if ((s[i] & 0xC0) != 0x80)
			return 0x110000 + c;
		cp = cp << 6 | (s[i] & 0x3F);
	}
	if ((n == 3 && (cp < 0x800 || (cp >= 0xD800 && cp <= 0xDFFF))) ||
		(n == 4 && (cp < 0x10000 || cp > 0x10FFFF)))
		return 0x110000 + c;
	*len = n;
	return cp;
}

static uint16
fold_entry(uint32 cp)
{
	uint32		block = cp / FOLD_BLOCK;

	if (cp >= 0x110000)
		return CHAR_LETTER;
	if (block >= (uint32) profiles_fold_index_length)
		block = profiles_fold_index_length - 1;
	return profiles_fold_blocks[profiles_fold_index[block]][cp % FOLD_BLOCK];
}

static int
put_utf8(char *to, uint32 cp)
{
	if (cp < 0x80)
	{
		to[0] = cp;
		return 1;
	}
	if (cp < 0x800)
	{
		to[0] = 0xC0 | cp >> 6;
		to[1] = 0x80 | (cp & 0x3F);
		return 2;
	}
	Assert(cp < 0x10000);
	to[0] = 0xE0 | cp >> 12;
	to[1] = 0x80 | (cp >> 6 & 0x3F);
	to[2] = 0x80 | (cp & 0x3F);
	return 3;
}

static void
add_char(Tokens *t, const char *bytes, int len, uint32 cp, CharClass class, int source, int source_end)
{
	FoldedChar *c;

	if (t->length + len > t->text_size)
	{
		t->text_size = t->text_size * 2 + len;
		t->text = repalloc(t->text, t->text_size);
	}
	if (t->nchars + 1 >= t->chars_size)
	{
		t->chars_size *= 2;
		t->chars = repalloc(t->chars, t->chars_size * sizeof(FoldedChar));
	}
	c = &t->chars[t->nchars++];
	c->start = t->length;
	c->source = source;
	c->source_end = source_end;
	c->cp = cp;
	c->class = class;
	memcpy(t->text + t->length, bytes, len);
	t->length += len;
}

/* Hangul syllables as their letters, so that one that is half typed is a prefix. */
static void
add_hangul(Tokens *t, uint32 cp, int source, int source_end)
{
	uint32		s = cp - 0xAC00;
	uint32		parts[3] = {0x1100 + s / 588, 0x1161 + s % 588 / 28, 0x11A7 + s % 28};

	for (int i = 0; i < (s % 28 ? 3 : 2); i++)
	{
		char		bytes[4];

		add_char(t, bytes, put_utf8(bytes, parts[i]), parts[i], CHAR_CJK, source, source_end);
	}
}

/*
 * Characters that are one byte, before and behind, which nearly all are: from a place
 * on, up to the first that is another, whose place is returned.
 */
static int
fold_plain(Tokens *t, const char *source, int at, int length)
{
	const uint16 *entries = profiles_fold_blocks[profiles_fold_index[0]];
	FoldedChar *c;
	char	   *text;

	StaticAssertStmt(FOLD_BLOCK >= 0x80, "ASCII is in one block");
	/* room for the end, too */
	if (t->length + length - at > t->text_size)
	{
		t->text_size = t->length * 2 + length - at;
		t->text = repalloc(t->text, t->text_size);
	}
	if (t->nchars + length - at + 1 > t->chars_size)
	{
		t->chars_size = t->nchars * 2 + length - at + 1;
		t->chars = repalloc(t->chars, t->chars_size * sizeof(FoldedChar));
	}
	c = t->chars + t->nchars;
	text = t->text + t->length;
	for (; at < length; at++)
	{
		unsigned char byte = source[at];
		uint16		entry;

		if (byte >= 0x80)
			break;
		entry = entries[byte];
		if (byte >= 'A' && byte <= 'Z')
		{
			byte += 'a' - 'A';
			entry = entries[byte];
		}
		if (entry >= FOLD_FIRST || entry == CHAR_IGNORED)
			break;
		*c++ = (FoldedChar) {t->length, at, at + 1, byte, entry};
		*text++ = byte;
		t->length++;
	}
	t->nchars = c - t->chars;
	return at;
}

static void
fold(Tokens *t, const char *source, int length)
{
	int			at = 0;

	while (at < length)
	{
		int			len;
		uint32		cp;
		uint16		entry;

		at = fold_plain(t, source, at, length);
		if (at == length)
			break;
		cp = next_char((const unsigned char *) source + at, length - at, &len);
		entry = fold_entry(cp);

		if (entry == CHAR_IGNORED)
		{
			/* it goes where the letter before it goes */
			if (t->nchars > 0 && t->chars[t->nchars - 1].source_end == at)
				t->chars[t->nchars - 1].source_end = at + len;
		}
		else if (cp >= 0xAC00 && cp <= 0xD7A3)
			add_hangul(t, cp, at, at + len);
		else if (entry < FOLD_FIRST)
			add_char(t, source + at, len, cp, entry, at, at + len);
		else
		{
			int			from = profiles_folds[entry - FOLD_FIRST];
			int			to = profiles_folds[entry - FOLD_FIRST + 1];

			while (from < to)
			{
				int			n;
				uint32		part = next_char(profiles_fold_pool + from, to - from, &n);

				add_char(t, (const char *) profiles_fold_pool + from, n, part,
						 fold_entry(part), at, at + len);
				from += n;
			}
		}
		at += len;
	}
	/* the end, whose place add_char() has kept */
	memset(&t->chars[t->nchars], 0, sizeof(FoldedChar));
	t->chars[t->nchars].start = t->length;
	t->chars[t->nchars].source = t->chars[t->nchars].source_end = length;
	t->chars[t->nchars].class = CHAR_SEPARATOR;
}

/* Does a character begin something that can be read, or go on with it? */
bool
starts_syllable(uint32 cp)
{
	return !(cp >= 0x1160 && cp <= 0x11FF) && !(cp >= 0xD7B0 && cp <= 0xD7FF) &&
		cp != 0x3099 && cp != 0x309A && cp != 0x30FC;
}

/* ---------- atoms and chunks ---------- */

static bool
in_atom(CharClass class)
{
	return class == CHAR_LETTER || class == CHAR_DIGIT || class == CHAR_CJK;
}

static void
add_atom(Tokens *t, int from, int to, char joiner)
{
	Atom	   *atom;

	if (t->natoms == t->atoms_size)
	{
		t->atoms_size *= 2;
		t->atoms = repalloc(t->atoms, t->atoms_size * sizeof(Atom));
	}
	atom = &t->atoms[t->natoms++];
	atom->from = from;
	atom->to = to;
	atom->cjk = t->chars[from].class == CHAR_CJK;
	atom->joiner = joiner;
}

/* The end of the atom that begins at a character. */
static int
atom_end(const Tokens *t, int from)
{
	bool		cjk = t->chars[from].class == CHAR_CJK;
	int			to = from + 1;

	while (in_atom(t->chars[to].class) && (t->chars[to].class == CHAR_CJK) == cjk)
		to++;
	return to;
}

static void
find_chunks(Tokens *t)
{
	int			at = 0;

	while (at < t->nchars)
	{
		Chunk	   *chunk;
		bool		address = t->chars[at].class == CHAR_AT;
		int			end;

		/* "@example.com" is an address without a local part */
		if (address ? !in_atom(t->chars[at + 1].class) : !in_atom(t->chars[at].class))
		{
			at++;
			continue;
		}
		if (t->nchunks == t->chunks_size)
		{
			t->chunks_size *= 2;
			t->chunks = repalloc(t->chunks, t->chunks_size * sizeof(Chunk));
		}
		chunk = &t->chunks[t->nchunks++];
		chunk->first = t->natoms;
		chunk->natoms = 0;
		chunk->nlocal = -1;
		if (address)
		{
			chunk->nlocal = 0;
			at++;
		}
		end = atom_end(t, at);
		add_atom(t, at, end, 0);
		chunk->natoms++;
		at = end;
		for (;;)
		{
			uint32		joiner = t->chars[at].cp;
			bool		atom_follows = at < t->nchars && in_atom(t->chars[at + 1].class);

			if (t->chars[at].class == CHAR_AT && chunk->nlocal < 0)
			{
				/* "ada@" is an address, too: it is being typed */
				chunk->nlocal = chunk->natoms;
				at++;
				if (!atom_follows)
					break;
			}
			else if (t->chars[at].class == CHAR_JOINER && atom_follows &&
					 (chunk->nlocal < 0 || joiner == '.' || joiner == '-'))
				at++;
			else
				break;
			end = atom_end(t, at);
			add_atom(t, at, end, (char) joiner);
			chunk->natoms++;
			at = end;
		}
	}
}

/*
 * Takes text apart.  The result is palloc'd in the current context, and does not
 * refer to the source.
 */
Tokens *
tokenize(const char *source, int length)
{
	Tokens	   *t = palloc0(sizeof(Tokens));

	t->text_size = length + 16;
	t->chars_size = length / 2 + 16;
	t->atoms_size = t->chunks_size = 16;
	t->text = palloc(t->text_size);
	t->chars = palloc(t->chars_size * sizeof(FoldedChar));
	t->atoms = palloc(t->atoms_size * sizeof(Atom));
	t->chunks = palloc(t->chunks_size * sizeof(Chunk));
	tokenize_again(t, source, length);
	return t;
}

/* The same, where another text was taken apart before, whose tokens go. */
void
tokenize_again(Tokens *t, const char *source, int length)
{
	t->length = t->nchars = t->natoms = t->nchunks = 0;
	fold(t, source, length);
	find_chunks(t);
}

void
tokens_free(Tokens *t)
{
	pfree(t->text);
	pfree(t->chars);
	pfree(t->atoms);
	pfree(t->chunks);
	pfree(t);
}

/* Bytes of an atom, cut to what counts, at the end of a character. */
const char *
atom_text(const Tokens *t, const Atom *atom, int *len)
{
	int			to = atom->to;

	while (t->chars[to].start - t->chars[atom->from].start > TOKEN_MAX_ATOM)
		to--;
	*len = t->chars[to].start - t->chars[atom->from].start;
	return t->text + t->chars[atom->from].start;
}

int
atom_char_count(const Atom *atom)
{
	return atom->to - atom->from;
}

/* ---------- forms of a chunk ---------- */

void
lexeme_begin(Lexeme *lexeme, const char *prefix)
{
	lexeme->len = 0;
	lexeme_add(lexeme, prefix, strlen(prefix));
}

/* What does not fit whole is left out, so that no character is cut. */
void
lexeme_add(Lexeme *lexeme, const char *data, int len)
{
	if (len > TOKEN_MAX_LEXEME - lexeme->len)
		return;
	memcpy(lexeme->data + lexeme->len, data, len);
	lexeme->len += len;
}

static void
add_atom_text(const Tokens *t, const Atom *atom, Lexeme *lexeme)
{
	int			len;
	const char *text = atom_text(t, atom, &len);

	lexeme_add(lexeme, text, len);
}

/* The atoms without what joins them; a point between digits stays: 1.23 is not 12.3. */
void
chunk_joined(const Tokens *t, const Chunk *chunk, Lexeme *lexeme)
{
	for (int i = 0; i < chunk->natoms; i++)
	{
		const Atom *atom = &t->atoms[chunk->first + i];

		if (i > 0 && atom->joiner == '.' && t->chars[atom->from].class == CHAR_DIGIT &&
			t->chars[atom[-1].to - 1].class == CHAR_DIGIT)
			lexeme_add(lexeme, ".", 1);
		add_atom_text(t, atom, lexeme);
	}
}

bool
chunk_has_tag(const Tokens *t, const Chunk *chunk)
{
	int			n = chunk->nlocal < 0 ? chunk->natoms : chunk->nlocal;

	for (int i = 1; i < n; i++)
	{
		if (t->atoms[chunk->first + i].joiner == '+')
			return true;
	}
	return false;
}

/*
 * The local part of an address without what joins its atoms: mail providers and
 * people differ in what a dot means.  With or without its tag, before which the
 * plus stays.
 */
void
chunk_local(const Tokens *t, const Chunk *chunk, bool tag, Lexeme *lexeme)
{
	int			n = chunk->nlocal < 0 ? chunk->natoms : chunk->nlocal;
	bool		in_tag = false;

	for (int i = 0; i < n; i++)
	{
		const Atom *atom = &t->atoms[chunk->first + i];

		if (i > 0 && atom->joiner == '+' && !in_tag)
		{
			if (!tag)
				return;
			lexeme_add(lexeme, "+", 1);
			in_tag = true;
		}
		add_atom_text(t, atom, lexeme);
	}
}

/* The host of an address, or of a chunk that may be one, from an atom on. */
void
chunk_host(const Tokens *t, const Chunk *chunk, int from, Lexeme *lexeme)
{
	for (int i = from; i < chunk->natoms; i++)
	{
		const Atom *atom = &t->atoms[chunk->first + i];

		if (i > from)
			lexeme_add(lexeme, &atom->joiner, 1);
		add_atom_text(t, atom, lexeme);
	}
}

/* ---------- typos ---------- */

/* The characters of a folded word; -1 if there are more than max. */
int
word_chars(const char *word, int len, uint32 *chars, int max)
{
	int			n = 0;
	int			at = 0;

	while (at < len)
	{
		int			step;

		if (n == max)
			return -1;
		chars[n++] = next_char((const unsigned char *) word + at, len - at, &step);
		at += step;
	}
	return n;
}

/*
 * Optimal string alignment distance: letters added, left out, changed or
 * swapped with the next.  More than most is most + 1.
 */
int
word_distance(const uint32 *a, int na, const uint32 *b, int nb, int most)
{
	int			rows[3][WORD_MAX_CHARS + 1];

	if (na > WORD_MAX_CHARS || nb > WORD_MAX_CHARS || abs(na - nb) > most)
		return most + 1;
	for (int j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (int i = 1; i <= na; i++)
	{
		int		   *row = rows[i % 3];
		int		   *above = rows[(i + 2) % 3];
		int		   *above2 = rows[(i + 1) % 3];
		int			best = row[0] = i;

		for (int j = 1; j <= nb; j++)
		{
			int			d = above[j - 1] + (a[i - 1] != b[j - 1]);

			d = Min(d, Min(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d = Min(d, above2[j - 2] + 1);
			row[j] = d;
			best = Min(best, d);
		}
		/* a swap can come from the row before, one cheaper */
		if (best > most + 1)
			return most + 1;
	}
	return Min(rows[na % 3][nb], most + 1);
}

/*
 * Keys of words.  A word is cut into four segments, and two of them, with their place
 * and the word's length, are a key: whatever is wrong in the other two, it stays.  An edit
 * counts for the segment it is in, one between two for the left one.
 *
 * One edit: the first half is right, or the last, or letters are swapped across the middle.
 *
 * Two edits, neither a swap across a cut: a pair is right.  The first segment
 * stands where it did, the last as far from the end; another is behind one edit, as
 * there is a half without any otherwise, so it stands one letter off at most.
 *
 * A swap across a cut spoils two segments at once.  If a second edit spoils a third, a
 * half is right once the swap is undone in what was typed: the first half, if the edit is
 * behind it, where it stood, else the last.  The swap is at its end or within it.  If the edit
 * spoils one of the two as well, a pair is right that the first segment or the last is of.
 */
#define SEGMENTS		4
#define LONG_WORD		6		/* letters from which on two edits may be meant */

typedef struct KeyList
{
	const uint32 *chars;
	int			m;
	uint32	   *keys;
	int			n;
} KeyList;

static int
cut(int n, int segment)
{
	return n * segment / SEGMENTS;
}

static uint32
hash_more(uint32 hash, uint32 c)
{
	for (int shift = 0; shift < 24; shift += 8)
		hash = (hash ^ (c >> shift & 0xFF)) * 16777619u;
	return hash;
}

/*
 * The key of two segments of a word of n letters, if they stand as many letters further
 * on in what was typed as their shifts say; the letter at swap is changed with the one before
 * it, unless it is 0.
 */
static void
add_key(KeyList *list, int n, int first, int first_shift, int second, int second_shift, int swap)
{
	int			segments[] = {first, second};
	int			shifts[] = {first_shift, second_shift};
	uint32		hash = hash_more(2166136261u, (n * SEGMENTS + first) * SEGMENTS + second);

	if (swap < 0 || swap >= list->m)
		return;
	for (int i = 0; i < 2; i++)
	{
		int			from = cut(n, segments[i]) + shifts[i];
		int			to = cut(n, segments[i] + 1) + shifts[i];

		if (from < 0 || to > list->m)
			return;
		for (int j = from; j < to; j++)
			hash = hash_more(hash, list->chars[swap == 0 ? j : j == swap ? j - 1 : j == swap - 1 ? j + 1 : j]);
	}
	list->keys[list->n++] = hash;
}

/* Keys of a word of the dictionary.  Returns how many, at most WORD_MAX_KEYS. */
int
word_keys(const uint32 *chars, int n, uint32 *keys)
{
	KeyList		list = {chars, n, keys, 0};

	add_key(&list, n, 0, 0, 1, 0, 0);
	add_key(&list, n, 2, 0, 3, 0, 0);
	if (n >= LONG_WORD)
	{
		add_key(&list, n, 0, 0, 2, 0, 0);
		add_key(&list, n, 0, 0, 3, 0, 0);
		add_key(&list, n, 1, 0, 2, 0, 0);
		add_key(&list, n, 1, 0, 3, 0, 0);
	}
	return list.n;
}

/*
 * Keys that a word was typed with, one of which each word of the dictionary has that is
 * within a distance of 1, or of 2 if it is long.  Returns how many, at most TYPED_MAX_KEYS.
 */
int
typed_keys(const uint32 *chars, int m, int most, uint32 *keys)
{
	KeyList		list = {chars, m, keys, 0};

	for (int n = Max(m - most, most > 1 ? LONG_WORD : 1); n <= m + most; n++)
	{
		int			added = m - n;

		add_key(&list, n, 0, 0, 1, 0, 0);
		add_key(&list, n, 2, added, 3, added, 0);
		if (most == 1)
		{
			if (added == 0)
				add_key(&list, n, 0, 0, 1, 0, cut(n, 2));
			continue;
		}
		add_key(&list, n, 0, 0, 3, added, 0);
		for (int shift = -1; shift <= 1; shift++)
		{
			if (abs(added - shift) > 1)
				continue;
			add_key(&list, n, 0, 0, 2, shift, 0);
			add_key(&list, n, 1, shift, 2, shift, 0);
			add_key(&list, n, 1, shift, 3, added, 0);
		}
		if (abs(added) > 1)
			continue;
		add_key(&list, n, 0, 0, 1, 0, cut(n, 1));
		add_key(&list, n, 0, 0, 1, 0, cut(n, 2));
		add_key(&list, n, 2, added, 3, added, cut(n, 2) + added);
		add_key(&list, n, 2, added, 3, added, cut(n, 3) + added);
	}
	return list.n;
}
