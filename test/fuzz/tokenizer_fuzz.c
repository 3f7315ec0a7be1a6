/*
 * tokenizer_fuzz.c
 *		libFuzzer harness: the tokenizer on any bytes, without a backend.
 *
 * Beside what the sanitizers see it checks what the callers rely on.  Memory comes
 * from an arena that each run takes anew: a piece has exactly the size asked for and
 * poisoned bytes around it, so that one byte too many is seen, as is use after
 * pfree(); malloc() would see the same, at a multiple of the time.
 */
#include "postgres.h"

#include <sanitizer/asan_interface.h>

#include "tokenizer.h"

#define CHECK(condition) \
	do { if (!(condition)) { fputs("not true: " #condition "\n", stderr); abort(); } } while (0)

#define ARENA_SIZE	(64 * 1024 * 1024)
#define ARENA_GAP	16			/* poisoned, before each piece; its size is at the end */
#define ARENA_FILL	0x7F		/* nothing to rely on */

static char arena[ARENA_SIZE] __attribute__((aligned(16)));
static size_t arena_used;

#define FREED		((size_t) -1)

/* Where the size of a piece is, which only these functions may read. */
#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))

static size_t UNCHECKED
piece_size(const char *piece)
{
	return ((const size_t *) piece)[-1];
}

void * UNCHECKED
palloc(Size size)
{
	char	   *piece = arena + arena_used + ARENA_GAP;

	if (size > ARENA_SIZE - arena_used - 2 * ARENA_GAP)
	{
		fputs("the arena is full\n", stderr);
		abort();
	}
	((size_t *) piece)[-1] = size;
	ASAN_UNPOISON_MEMORY_REGION(piece, size);
	memset(piece, ARENA_FILL, size);
	arena_used += ARENA_GAP + (size + 7) / 8 * 8;
	return piece;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void UNCHECKED
pfree(void *pointer)
{
	size_t		size = piece_size(pointer);

	CHECK(size != FREED);
	ASAN_POISON_MEMORY_REGION(pointer, size);
	((size_t *) pointer)[-1] = FREED;
}

void *
repalloc(void *pointer, Size size)
{
	void	   *piece = palloc(size);

	memcpy(piece, pointer, Min(size, piece_size(pointer)));
	pfree(pointer);
	return piece;
}

static void
arena_reset(void)
{
	/* all of it at first, then what was used */
	ASAN_POISON_MEMORY_REGION(arena, arena_used == 0 ? ARENA_SIZE : arena_used + ARENA_GAP);
	arena_used = 0;
}

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever the text is, its parts are within it, in order. */
static void
check_tokens(const Tokens *t, int length)
{
	int			natoms = 0;

	for (int i = 0; i < t->nchars; i++)
	{
		const FoldedChar *c = &t->chars[i];

		CHECK(c->start < c[1].start && c[1].start <= t->length);
		CHECK(c->source < c->source_end && c->source_end <= length);
		CHECK(c->source <= c[1].source);
		CHECK(c->class != CHAR_IGNORED);
	}
	CHECK(t->chars[t->nchars].start == t->length);
	for (int i = 0; i < t->nchunks; i++)
	{
		const Chunk *chunk = &t->chunks[i];

		CHECK(chunk->first == natoms && chunk->natoms > 0);
		CHECK(chunk->nlocal >= -1 && chunk->nlocal <= chunk->natoms);
		natoms += chunk->natoms;
	}
	CHECK(natoms == t->natoms);
	for (int i = 0; i < t->natoms; i++)
	{
		const Atom *atom = &t->atoms[i];

		CHECK(atom->from < atom->to && atom->to <= t->nchars);
		CHECK(i == 0 || atom[-1].to <= atom->from);
		for (int j = atom->from; j < atom->to; j++)
			CHECK((t->chars[j].class == CHAR_CJK) == atom->cjk &&
				  (atom->cjk || t->chars[j].class == CHAR_LETTER || t->chars[j].class == CHAR_DIGIT));
	}
}

static void
check_forms(const Tokens *t)
{
	for (int i = 0; i < t->nchunks; i++)
	{
		const Chunk *chunk = &t->chunks[i];
		Lexeme		lexeme;

		lexeme_begin(&lexeme, "");
		chunk_joined(t, chunk, &lexeme);
		CHECK(lexeme.len > 0 && lexeme.len <= TOKEN_MAX_LEXEME);
		for (int tag = chunk_has_tag(t, chunk); tag >= 0; tag--)
		{
			lexeme_begin(&lexeme, "<");
			chunk_local(t, chunk, tag, &lexeme);
			lexeme_add(&lexeme, "@", 1);
			chunk_host(t, chunk, Max(chunk->nlocal, 0), &lexeme);
			CHECK(lexeme.len > 0 && lexeme.len <= TOKEN_MAX_LEXEME);
		}
		for (int j = 0; j < chunk->natoms; j++)
		{
			int			len;
			const char *text = atom_text(t, &t->atoms[chunk->first + j], &len);

			CHECK(len > 0 && len <= TOKEN_MAX_ATOM && text >= t->text && text + len <= t->text + t->length);
		}
	}
}

/* Folding folded text changes nothing, if it was UTF-8. */
static void
check_folded(const Tokens *t)
{
	Tokens	   *again;

	for (int i = 0; i < t->nchars; i++)
	{
		if (t->chars[i].cp >= 0x110000)
			return;
	}
	again = tokenize(t->text, t->length);
	CHECK(again->length == t->length && memcmp(again->text, t->text, t->length) == 0);
	CHECK(again->natoms == t->natoms && again->nchunks == t->nchunks);
	tokens_free(again);
}

/* Two words within a distance of each other have a key in common. */
static void
check_words(const Tokens *t)
{
	uint32		chars[2][WORD_MAX_CHARS];
	uint32		keys[WORD_MAX_KEYS];
	int			n[2];
	int			distance;
	int			nkeys;

	for (int i = 0; i < 2; i++)
	{
		int			len;
		const char *text;

		if (t->natoms < 2)
			return;
		text = atom_text(t, &t->atoms[i], &len);
		n[i] = word_chars(text, len, chars[i], WORD_MAX_CHARS);
		if (n[i] < 1)
			return;
	}
	distance = word_distance(chars[0], n[0], chars[1], n[1], 2);
	CHECK(distance == word_distance(chars[1], n[1], chars[0], n[0], 2));
	CHECK(distance >= 0 && distance <= 3);
	CHECK((distance == 0) == (n[0] == n[1] && memcmp(chars[0], chars[1], n[0] * sizeof(uint32)) == 0));
	nkeys = word_keys(chars[1], n[1], keys);
	CHECK(nkeys >= 1 && nkeys <= WORD_MAX_KEYS);
	for (int most = 1; most <= 2; most++)
	{
		uint32		typed[TYPED_MAX_KEYS];
		int			ntyped = typed_keys(chars[0], n[0], most, typed);
		bool		common = false;

		CHECK(ntyped >= 0 && ntyped <= TYPED_MAX_KEYS);
		for (int i = 0; i < nkeys; i++)
		{
			for (int j = 0; j < ntyped; j++)
				common |= keys[i] == typed[j];
		}
		CHECK(distance > most || (most == 2 && n[1] < 6) || common);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *source;
	Tokens	   *t;

	arena_reset();
	/* a copy of its very size, so that reading past its end is seen */
	source = palloc(size);
	memcpy(source, data, size);
	t = tokenize(source, (int) size);
	pfree(source);
	check_tokens(t, (int) size);
	check_forms(t);
	check_folded(t);
	check_words(t);
	tokens_free(t);
	return 0;
}
