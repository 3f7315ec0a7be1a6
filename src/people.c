/*
 * people.c
 *		Vectors of people, on the tokenizer.
 *
 * The vectors are built here rather than by to_tsvector(), because a parser can't
 * give two lexemes one position, and what to_tsvector() does depends on rows of a
 * configuration that can be changed.  So these functions are immutable.
 *
 * In a database of another encoding than UTF-8 text is converted, folded, and
 * converted back; a lexeme that can't be is left out.  In SQL_ASCII bytes that are no
 * UTF-8 are letters.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "people.h"
#include "tsearch/ts_utils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(people_tsvector);
PG_FUNCTION_INFO_V1(people_search_vector);
PG_FUNCTION_INFO_V1(people_attribute_vector);
PG_FUNCTION_INFO_V1(people_searched_row);
PG_FUNCTION_INFO_V1(people_name_signature);

/* ---------- encodings ---------- */

/* Converts without complaining; NULL if something has no equivalent. */
static char *
convert(const char *text, int *len, int from, int to)
{
	Oid			proc = FindDefaultConversionProc(from, to);
	Size		size = (Size) *len * MAX_CONVERSION_GROWTH + 1;
	char	   *result;

	if (!OidIsValid(proc) || size >= MaxAllocSize)
		return NULL;
	result = palloc(size);
	if (pg_do_encoding_conversion_buf(proc, from, to, (unsigned char *) text, *len,
									  (unsigned char *) result, (int) size, true) != *len)
	{
		pfree(result);
		return NULL;
	}
	*len = strlen(result);
	return result;
}

static bool
needs_conversion(void)
{
	return GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
}

/* Text of the database as UTF-8; as it is, if it has no equivalent. */
char *
people_to_utf8(const char *text, int *len)
{
	char	   *converted = NULL;

	if (needs_conversion())
		converted = convert(text, len, GetDatabaseEncoding(), PG_UTF8);
	return converted == NULL ? (char *) text : converted;
}

/* The way back; NULL if there is no equivalent. */
char *
people_from_utf8(const char *text, int *len)
{
	if (!needs_conversion())
		return (char *) text;
	return convert(text, len, PG_UTF8, GetDatabaseEncoding());
}

/* ---------- vectors ---------- */

#define NAME_MAX_BYTES		10000	/* of a name or an address that are searched */
#define FIELD_MAX_BYTES		2000	/* of another value */
#define VECTOR_MAX_BYTES	400000	/* of lexemes; a tsvector can have a megabyte */
#define CJK_MAX_SUFFIXES	24

typedef struct VectorEntry
{
	int			start;			/* of its lexeme in the bytes */
	int			len;
	int			position;		/* 0: none, for all entries of the lexeme */
	int			weight;
} VectorEntry;

struct VectorBuilder
{
	Tokens	   *tokens;			/* of the last field */
	char	   *bytes;
	int			used;
	int			bytes_size;
	VectorEntry *entries;
	int			nentries;
	int			entries_size;
	ProfileString *words;
	int			words_size;
	int			position;		/* of the last leaf */
	bool		marked;			/* words of the name are added with a mark, too */
};

static void
add_bytes(VectorBuilder *b, const char *lexeme, int len, int position, int weight)
{
	if (b->used + len > VECTOR_MAX_BYTES)
		return;
	if (b->used + len > b->bytes_size)
	{
		b->bytes_size = b->bytes_size * 2 + len;
		b->bytes = b->bytes == NULL ? palloc(b->bytes_size) : repalloc(b->bytes, b->bytes_size);
	}
	if (b->nentries == b->entries_size)
	{
		b->entries_size = b->entries_size * 2 + 16;
		b->entries = b->entries == NULL ? palloc(b->entries_size * sizeof(VectorEntry))
			: repalloc(b->entries, b->entries_size * sizeof(VectorEntry));
	}
	memcpy(b->bytes + b->used, lexeme, len);
	b->entries[b->nentries++] = (VectorEntry) {b->used, len, LIMITPOS(position), weight};
	b->used += len;
}

/* A word of the name behind a mark, and its beginnings, without positions. */
static void
add_marked(VectorBuilder *b, const char *lexeme, int len, int position, int weight)
{
	char	   *marked = palloc(len + 2);
	int			at = 0;

	marked[0] = '=';
	memcpy(marked + 1, lexeme, len);
	add_bytes(b, marked, len + 1, position, weight);
	for (int chars = 0; chars < BEGINNING_CHARS && at < len; chars++)
	{
		char		next;

		at = Min(at + pg_mblen(lexeme + at), len);
		next = marked[at + 1];
		marked[at + 1] = '*';
		add_bytes(b, marked, at + 2, 0, weight);
		marked[at + 1] = next;
	}
	pfree(marked);
}

static void
add_lexeme(VectorBuilder *b, const char *data, int len, int position, int weight)
{
	const char *lexeme = people_from_utf8(data, &len);

	if (lexeme == NULL || len == 0)
		return;
	add_bytes(b, lexeme, len, position, weight);
	if (b->marked && weight == WEIGHT_NAME)
		add_marked(b, lexeme, len, position, weight);
}

/* An atom; one of a script without spaces also from each of its syllables on. */
static void
add_leaf(VectorBuilder *b, const Tokens *t, const Atom *atom, int weight)
{
	int			len;
	const char *text = atom_text(t, atom, &len);
	int			suffixes = 0;

	add_lexeme(b, text, len, ++b->position, weight);
	if (!atom->cjk)
		return;
	for (int i = atom->from + 1; i < atom->to && suffixes < CJK_MAX_SUFFIXES; i++)
	{
		int			skip = t->chars[i].start - t->chars[atom->from].start;

		if (skip < len && starts_syllable(t->chars[i].cp))
		{
			add_lexeme(b, text + skip, len - skip, b->position, weight);
			suffixes++;
		}
	}
}

static void
add_address(VectorBuilder *b, const Tokens *t, const Chunk *chunk, int position, bool weighted)
{
	Lexeme		lexeme;
	bool		whole = true;
	int			len;

	for (int tag = chunk_has_tag(t, chunk); tag >= 0 && chunk->nlocal > 0; tag--)
	{
		lexeme_begin(&lexeme, "<");
		chunk_local(t, chunk, tag, &lexeme);
		lexeme_add(&lexeme, "@", 1);
		chunk_host(t, chunk, chunk->nlocal, &lexeme);
		add_lexeme(b, lexeme.data, lexeme.len, position, weighted ? WEIGHT_LOCAL : 0);
	}
	/* the host and each parent domain, not the last label alone */
	for (int i = chunk->nlocal; i < chunk->natoms; i++)
	{
		bool		last_label = true;

		if (!whole && t->atoms[chunk->first + i].joiner != '.')
			continue;
		for (int j = i + 1; j < chunk->natoms; j++)
			last_label &= t->atoms[chunk->first + j].joiner != '.';
		if (last_label && !whole)
			break;
		lexeme_begin(&lexeme, "@");
		chunk_host(t, chunk, i, &lexeme);
		add_lexeme(b, lexeme.data, lexeme.len, position, weighted ? WEIGHT_HOST : 0);
		whole = false;
		/* who types it may leave out the hyphens */
		len = 0;
		for (int j = 0; j < lexeme.len; j++)
		{
			if (lexeme.data[j] != '-')
				lexeme.data[len++] = lexeme.data[j];
		}
		if (len < lexeme.len)
			add_lexeme(b, lexeme.data, len, position, weighted ? WEIGHT_HOST : 0);
	}
	/* a label with hyphens also without them */
	for (int i = chunk->nlocal, j; i < chunk->natoms; i = j)
	{
		Chunk		label = {chunk->first + i, 1, -1};

		for (j = i + 1; j < chunk->natoms && t->atoms[chunk->first + j].joiner == '-'; j++)
			label.natoms++;
		if (label.natoms > 1)
		{
			lexeme_begin(&lexeme, "");
			chunk_joined(t, &label, &lexeme);
			add_lexeme(b, lexeme.data, lexeme.len, position + i, weighted ? WEIGHT_HOST : 0);
		}
	}
}

/* Is it worth a lexeme to join an atom with the next, which a space parts? */
static bool
joins_next(const Atom *atom, const Atom *next)
{
	return atom->cjk == next->cjk && (atom->cjk || atom_char_count(atom) <= 3);
}

#define PHONE_LEAST		7		/* digits */

/* The digits of what may be a phone number alone, if something parts them: many type it without. */
static void
add_phone(VectorBuilder *b, const char *value, int len)
{
	Lexeme		digits;
	int			parts = 0;

	lexeme_begin(&digits, "");
	for (int i = 0; i < len; i++)
	{
		if (value[i] >= '0' && value[i] <= '9')
		{
			parts += i == 0 || value[i - 1] < '0' || value[i - 1] > '9';
			lexeme_add(&digits, value + i, 1);
		}
		else if (strchr(" +-()/", value[i]) == NULL)
			return;
	}
	if (parts > 1 && digits.len >= PHONE_LEAST)
		add_lexeme(b, digits.data, digits.len, 0, WEIGHT_ATTRIBUTE);
}

/*
 * Adds a value that is one word of plain letters and digits, or several with a hyphen or an underscore
 * between them, as most ids are; false if it is not.  What these are joined to is a phone number's digits, too.
 */
static bool
add_plain_words(VectorBuilder *b, const char *value, int len, int weight)
{
	/* what a byte is in a word; 0: it is no plain letter or digit */
	static const char plain[UCHAR_MAX + 1] = {
		['0'] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
		['A'] = 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
		'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
		['a'] = 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
		'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z'
	};
	char		joined[TOKEN_MAX_ATOM];
	int			ends[TOKEN_MAX_ATOM];	/* of its words */
	int			nwords = 0;
	int			n = 0;
	int			position = b->position + 1;

	if (len == 0 || len > TOKEN_MAX_ATOM)
		return false;
	for (int i = 0; i < len; i++)
	{
		char		c = plain[(unsigned char) value[i]];

		if (c != '\0')
		{
			joined[n++] = c;
			continue;
		}
		/* between two words */
		if ((value[i] != '-' && value[i] != '_') || n == (nwords == 0 ? 0 : ends[nwords - 1]) || i == len - 1)
			return false;
		ends[nwords++] = n;
	}
	ends[nwords++] = n;
	for (int i = 0, from = 0; i < nwords; from = ends[i++])
		add_lexeme(b, joined + from, ends[i] - from, ++b->position, weight);
	if (nwords > 1)
		add_lexeme(b, joined, n, position, weight);
	return true;
}

/* A value of a profile; its leaves get consecutive positions. */
static void
add_field(VectorBuilder *b, const char *value, int len, bool name, bool attribute)
{
	Tokens	   *t;
	char	   *utf8;

	if (len > (attribute ? FIELD_MAX_BYTES : NAME_MAX_BYTES))
		len = pg_mbcliplen(value, len, attribute ? FIELD_MAX_BYTES : NAME_MAX_BYTES);
	if (add_plain_words(b, value, len, attribute ? WEIGHT_ATTRIBUTE : name ? WEIGHT_NAME : WEIGHT_LOCAL))
		return;
	if (attribute)
		add_phone(b, value, len);
	utf8 = people_to_utf8(value, &len);
	if (b->tokens == NULL)
		b->tokens = tokenize(utf8, len);
	else
		tokenize_again(b->tokens, utf8, len);
	t = b->tokens;
	for (int i = 0; i < t->nchunks; i++)
	{
		Chunk	   *chunk = &t->chunks[i];
		bool		address = chunk->nlocal >= 0;
		int			position = b->position + 1;
		Lexeme		joined;

		for (int j = 0; j < chunk->natoms; j++)
			add_leaf(b, t, &t->atoms[chunk->first + j],
					 attribute ? WEIGHT_ATTRIBUTE :
					 address ? (j < chunk->nlocal ? WEIGHT_LOCAL : WEIGHT_HOST) :
					 name ? WEIGHT_NAME : WEIGHT_LOCAL);
		if (address)
			add_address(b, t, chunk, position, !attribute);
		else if (chunk->natoms > 1)
		{
			lexeme_begin(&joined, "");
			chunk_joined(t, chunk, &joined);
			add_lexeme(b, joined.data, joined.len, position,
					   attribute ? WEIGHT_ATTRIBUTE : name ? WEIGHT_NAME : WEIGHT_LOCAL);
			/* "Smith-O'Brien" also has "obrien" */
			for (int j = 0, k; j < chunk->natoms; j = k)
			{
				Chunk		part = {chunk->first + j, 1, -1};

				for (k = j + 1; k < chunk->natoms && t->atoms[chunk->first + k].joiner == '\''; k++)
					part.natoms++;
				if (part.natoms == 1 || part.natoms == chunk->natoms)
					continue;
				lexeme_begin(&joined, "");
				chunk_joined(t, &part, &joined);
				add_lexeme(b, joined.data, joined.len, position + j,
						   attribute ? WEIGHT_ATTRIBUTE : name ? WEIGHT_NAME : WEIGHT_LOCAL);
			}
		}
		if (!address && i + 1 < t->nchunks && t->chunks[i + 1].nlocal < 0 &&
			joins_next(&t->atoms[chunk->first + chunk->natoms - 1], &t->atoms[t->chunks[i + 1].first]))
		{
			Atom	   *atom = &t->atoms[chunk->first + chunk->natoms - 1];
			int			n;
			const char *text = atom_text(t, atom, &n);

			lexeme_begin(&joined, "");
			lexeme_add(&joined, text, n);
			text = atom_text(t, &t->atoms[t->chunks[i + 1].first], &n);
			lexeme_add(&joined, text, n);
			add_lexeme(b, joined.data, joined.len, b->position,
					   attribute ? WEIGHT_ATTRIBUTE : name ? WEIGHT_NAME : WEIGHT_LOCAL);
		}
	}
	if (utf8 != value)
		pfree(utf8);
}

static inline int
compare_entries(const VectorEntry *a, const VectorEntry *b, const char *bytes)
{
	const unsigned char *x = (const unsigned char *) bytes + a->start;
	const unsigned char *y = (const unsigned char *) bytes + b->start;
	int			least = Min(a->len, b->len);
	int			c;

	/* many differ in their first letters, for which a call is too much */
	if (least > 0 && *x != *y)
		return *x - *y;
	c = memcmp(x, y, least);
	if (c != 0)
		return c;
	if (a->len != b->len)
		return a->len - b->len;
	if (a->position != b->position)
		return a->position - b->position;
	return b->weight - a->weight;
}

#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE VectorEntry
#define ST_COMPARE(a, b, bytes) compare_entries(a, b, bytes)
#define ST_COMPARE_ARG_TYPE const char
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* The tsvector of what was added, with or without positions. */
static TSVector
finish_vector(VectorBuilder *b, bool positions)
{
	int			n = 0;
	int			size = 0;
	TSVector	result;
	char	   *data;
	int			at = 0;

	if (b->tokens != NULL)
		tokens_free(b->tokens);
	sort_entries(b->entries, b->nentries, b->bytes);
	/* how many lexemes, and how many bytes they take */
	for (int i = 0; i < b->nentries;)
	{
		VectorEntry *first = &b->entries[i];
		bool		haspos = positions && first->position > 0;
		int			npos = 0;
		int			last = 0;

		for (; i < b->nentries && b->entries[i].len == first->len &&
			 memcmp(b->bytes + b->entries[i].start, b->bytes + first->start, first->len) == 0; i++)
		{
			if (b->entries[i].position != last && npos < MAXNUMPOS)
				npos++;
			last = b->entries[i].position;
		}
		size += first->len;
		if (haspos)
			size = SHORTALIGN(size) + sizeof(uint16) + npos * sizeof(WordEntryPos);
		n++;
	}
	result = palloc0(CALCDATASIZE(n, size));
	SET_VARSIZE(result, CALCDATASIZE(n, size));
	result->size = n;
	data = STRPTR(result);
	n = 0;
	for (int i = 0; i < b->nentries; n++)
	{
		VectorEntry *first = &b->entries[i];
		WordEntry  *entry = ARRPTR(result) + n;
		bool		haspos = positions && first->position > 0;
		int			npos = 0;
		int			last = 0;

		entry->haspos = haspos;
		entry->len = first->len;
		entry->pos = at;
		memcpy(data + at, b->bytes + first->start, first->len);
		at += first->len;
		if (haspos)
			at = SHORTALIGN(at);
		for (; i < b->nentries && b->entries[i].len == first->len &&
			 memcmp(b->bytes + b->entries[i].start, b->bytes + first->start, first->len) == 0; i++)
		{
			if (haspos && b->entries[i].position != last && npos < MAXNUMPOS)
			{
				WordEntryPos *pos = (WordEntryPos *) (data + at + sizeof(uint16)) + npos++;

				WEP_SETPOS(*pos, b->entries[i].position);
				WEP_SETWEIGHT(*pos, b->entries[i].weight);
			}
			last = b->entries[i].position;
		}
		if (haspos)
		{
			*(uint16 *) (data + at) = npos;
			at += sizeof(uint16) + npos * sizeof(WordEntryPos);
		}
	}
	Assert(at == size);
	return result;
}

/* The vector of a person; either may be NULL. */
TSVector
people_vector(text *name, text *email, bool marked)
{
	VectorBuilder b = {0};

	b.marked = marked;
	if (name != NULL)
	{
		add_field(&b, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), true, false);
		/* no phrase goes from one into the other */
		b.position++;
	}
	if (email != NULL)
		add_field(&b, VARDATA_ANY(email), VARSIZE_ANY_EXHDR(email), false, false);
	return finish_vector(&b, true);
}

/* people_tsvector(name text, email text) -> tsvector */
Datum
people_tsvector(PG_FUNCTION_ARGS)
{
	PG_RETURN_TSVECTOR(people_vector(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0),
									 PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), false));
}

/* _search_vector(name text, email text) -> tsvector: the same with marked words of the name */
Datum
people_search_vector(PG_FUNCTION_ARGS)
{
	PG_RETURN_TSVECTOR(people_vector(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0),
									 PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), true));
}

/* The vector of values of attributes, without positions. */
TSVector
people_values_vector(const Datum *values, const bool *nulls, int n)
{
	VectorBuilder b = {0};

	for (int i = 0; i < n; i++)
	{
		text	   *value;

		if (nulls[i])
			continue;
		value = DatumGetTextPP(values[i]);
		/* what was said of the first session is often said of the last */
		if (i > 0 && !nulls[i - 1] &&
			VARSIZE_ANY_EXHDR(value) == VARSIZE_ANY_EXHDR(DatumGetTextPP(values[i - 1])) &&
			memcmp(VARDATA_ANY(value), VARDATA_ANY(DatumGetTextPP(values[i - 1])), VARSIZE_ANY_EXHDR(value)) == 0)
			continue;
		add_field(&b, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), true, true);
	}
	return finish_vector(&b, false);
}

static int
compare_words(const void *a, const void *b)
{
	return profile_string_cmp(*(const ProfileString *) a, *(const ProfileString *) b);
}

/* As bytes.  Most values have a few words, for which a call of qsort() is too much. */
static void
sort_words(ProfileString *words, int n)
{
	if (n > 8)
	{
		qsort(words, n, sizeof(ProfileString), compare_words);
		return;
	}
	for (int i = 1; i < n; i++)
	{
		ProfileString word = words[i];
		int			at = i;

		for (; at > 0 && profile_string_cmp(words[at - 1], word) > 0; at--)
			words[at] = words[at - 1];
		words[at] = word;
	}
}

/* A builder for the words of one value after the other, in the current memory context. */
VectorBuilder *
people_words_builder(void)
{
	VectorBuilder *b = palloc0(sizeof(VectorBuilder));

	b->tokens = tokenize("", 0);
	b->bytes_size = 256;
	b->bytes = palloc(b->bytes_size);
	b->entries_size = b->words_size = 16;
	b->entries = palloc(b->entries_size * sizeof(VectorEntry));
	b->words = palloc(b->words_size * sizeof(ProfileString));
	return b;
}

/*
 * The words of such a vector of one value, each once, in the order of their bytes; how
 * many.  They stay until the next call with their builder.
 */
int
people_value_words(VectorBuilder *b, Datum value, ProfileString **words)
{
	text	   *plain = DatumGetTextPP(value);
	int			n = 0;

	b->used = b->nentries = b->position = 0;
	add_field(b, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain), true, true);
	if (b->nentries > b->words_size)
	{
		b->words_size = b->entries_size;
		b->words = repalloc(b->words, b->words_size * sizeof(ProfileString));
	}
	for (int i = 0; i < b->nentries; i++)
		b->words[i] = profile_string(b->bytes + b->entries[i].start, b->entries[i].len);
	sort_words(b->words, b->nentries);
	for (int i = 0; i < b->nentries; i++)
	{
		if (n == 0 || !profile_string_eq(b->words[n - 1], b->words[i]))
			b->words[n++] = b->words[i];
	}
	*words = b->words;
	return n;
}

/* _attribute_vector(VARIADIC text[]) -> tsvector */
Datum
people_attribute_vector(PG_FUNCTION_ARGS)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	PG_RETURN_TSVECTOR(people_values_vector(values, nulls, n));
}

/* _searched_row(record) -> record: the row with as much of its texts as is searched */
Datum
people_searched_row(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	TupleDesc	tupdesc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	Datum	   *values = palloc(tupdesc->natts * sizeof(Datum));
	bool	   *nulls = palloc(tupdesc->natts * sizeof(bool));
	Datum		result;

	heap_deform_tuple(&tuple, tupdesc, values, nulls);
	for (int i = 0; i < tupdesc->natts; i++)
	{
		text	   *value;

		if (nulls[i] || TupleDescAttr(tupdesc, i)->atttypid != TEXTOID)
			continue;
		value = DatumGetTextPP(values[i]);
		if (VARSIZE_ANY_EXHDR(value) > FIELD_MAX_BYTES)
			values[i] = PointerGetDatum(cstring_to_text_with_len(VARDATA_ANY(value),
																 pg_mbcliplen(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), FIELD_MAX_BYTES)));
	}
	result = heap_copy_tuple_as_datum(heap_form_tuple(tupdesc, values, nulls), tupdesc);
	ReleaseTupleDesc(tupdesc);
	return result;
}

/* _name_signature(name text) -> bigint: the bits of all words that its vector has */
Datum
people_name_signature(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	VectorBuilder *b = fcinfo->flinfo->fn_extra;
	uint64		bits = 0;

	/* every profile that is written asks, so its memory is kept */
	if (b == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		fcinfo->flinfo->fn_extra = b = people_words_builder();
		MemoryContextSwitchTo(old);
	}
	b->used = b->nentries = b->position = 0;
	add_field(b, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), true, false);
	for (int i = 0; i < b->nentries; i++)
	{
		if (b->entries[i].weight == WEIGHT_NAME)
			bits |= people_word_bits(b->bytes + b->entries[i].start, b->entries[i].len);
	}
	PG_RETURN_INT64((int64) bits);
}
