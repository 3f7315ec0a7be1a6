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
#include "utils/formatting.h"

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
	term->joined = term->whole = false;
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

/* "jones-smith", but not "o'brien", nor "example.com" and "ada+news", which may be of an address */
static bool
is_loose(const Tokens *t, const Chunk *chunk)
{
	for (int i = 1; i < chunk->natoms; i++)
	{
		if (strchr("-_&", t->atoms[chunk->first + i].joiner) == NULL)
			return false;
	}
	return chunk->natoms > 1 && chunk->nlocal < 0;
}

static void
parse_chunk(const Tokens *t, const Chunk *chunk, QueryWord *word)
{
	Lexeme		lexeme;
	int			nleaves = chunk->nlocal > 0 ? chunk->nlocal : chunk->natoms;

	word->address = chunk->nlocal >= 0;
	word->compound = chunk->natoms > 1;
	word->loose = is_loose(t, chunk);
	word->local = chunk->nlocal > 0;
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
		if (chunk->nlocal > 0 && chunk_has_tag(t, chunk))
		{
			lexeme_begin(&lexeme, "<");
			chunk_local(t, chunk, false, &lexeme);
			lexeme_add(&lexeme, "@", 1);
			chunk_host(t, chunk, chunk->nlocal, &lexeme);
			set_term(&word->untagged, lexeme.data, lexeme.len, true);
		}
		lexeme_begin(&lexeme, "@");
		chunk_host(t, chunk, chunk->nlocal, &lexeme);
		set_term(&word->host, lexeme.data, lexeme.len, true);
	}
	else
	{
		lexeme_begin(&lexeme, "");
		chunk_joined(t, chunk, &lexeme);
		/* "ada+te" is the beginning of an address, nobody's name */
		if (!chunk_has_tag(t, chunk) || t->atoms[chunk->first].cjk)
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

/*
 * "acme soft" also is "AcmeSoft", and "mc donald's" McDonald's; the first word is a prefix of that
 * already.  So is "o 2" O2, but nothing longer: digits begin too much.
 */
static void
add_joined_pair(const Tokens *t, const Chunk *left, const Chunk *right, QueryWord *word)
{
	const Atom *a = &t->atoms[left->first];
	const Atom *b = &t->atoms[right->first];
	bool		digits = right->natoms == 1;
	Lexeme		lexeme;

	for (int i = b->from; i < b->to; i++)
		digits &= t->chars[i].class == CHAR_DIGIT;

	if (left->natoms > 1 || right->natoms > 2 || (right->natoms == 2 && b[1].joiner != '\'') ||
		left->nlocal >= 0 || right->nlocal >= 0 || a->cjk || b->cjk || (atom_char_count(b) < 3 && !digits))
		return;
	lexeme_begin(&lexeme, "");
	chunk_joined(t, left, &lexeme);
	chunk_joined(t, right, &lexeme);
	add_term(word, &lexeme, true);
	if (atom_char_count(b) < 3)
		word->terms[word->nterms - 1].prefix = false;
}

/* parts says of each byte which part of a URL it is. */
static void
parse_alternative(const char *text, const char *parts, int len, SearchQuery *query)
{
	Tokens	   *t = tokenize(text, len);

	memset(query, 0, sizeof(SearchQuery));
	for (int i = 0; i < t->nchunks && query->nwords < QUERY_MAX_WORDS; i++)
	{
		QueryWord  *word = &query->words[query->nwords++];

		parse_chunk(t, &t->chunks[i], word);
		word->url_part = parts[t->chars[t->atoms[t->chunks[i].first].from].source];
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

static bool
is_ascii_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * %40 and the like as the characters that they stand for, if it is UTF-8; what is known
 * of the bytes moves with them.  Returns the new length.
 */
static int
decode_percent(char *text, char *parts, int len)
{
	int			to = 0;

	for (int i = 0; i < len;)
	{
		unsigned char bytes[4];
		int			n = 0;
		int			size = 1;

		while (n < size && i + 3 * n + 2 < len && text[i + 3 * n] == '%' &&
			   hex_value(text[i + 3 * n + 1]) >= 0 && hex_value(text[i + 3 * n + 2]) >= 0)
		{
			bytes[n] = hex_value(text[i + 3 * n + 1]) << 4 | hex_value(text[i + 3 * n + 2]);
			if (n == 0)
				size = Min(pg_utf_mblen(bytes), 4);
			n++;
		}
		if (n == size && bytes[0] >= ' ' && pg_utf8_islegal(bytes, n))
		{
			memcpy(text + to, bytes, n);
			memset(parts + to, parts[i], n);
			to += n;
			i += 3 * n;
		}
		else
		{
			parts[to] = parts[i];
			text[to++] = text[i++];
		}
	}
	text[to] = '\0';
	return to;
}

/*
 * The length of "https://", "www." or both at the beginning of a text.  -1 if it is no
 * URL; without them it is one if it has a path behind a host.
 */
static int
url_start(const char *text, int len)
{
	int			n = 0;
	int			host = 0;
	bool		dot = false;

	while (n < len && n < 12 && is_ascii_letter(text[n]))
		n++;
	n = n > 0 && n + 3 <= len && memcmp(text + n, "://", 3) == 0 ? n + 3 : 0;
	if (len - n > 4 && pg_strncasecmp(text + n, "www.", 4) == 0)
		n += 4;
	while (n == 0 && host < len && (IS_HIGHBIT_SET(text[host]) || is_ascii_letter(text[host]) ||
									(text[host] >= '0' && text[host] <= '9') || text[host] == '-' || text[host] == '.'))
		dot |= text[host++] == '.';
	return n > 0 || (dot && host < len && text[host] == '/') ? n : -1;
}

/* Blanks out the parameters of a URL but for addresses. */
static void
blank_parameters(char *text, int len)
{
	for (int i = 0, end; i < len; i = end + 1)
	{
		bool		address = false;

		for (end = i; end < len && strchr("?&;=#/,", text[end]) == NULL; end++)
			address |= text[end] == '@' || (end + 2 < len && memcmp(text + end, "%40", 3) == 0);
		if (!address)
			memset(text + i, ' ', end - i);
		if (end < len)
			text[end] = ' ';
	}
}

/* Finds URLs, says of each byte which part it is of one, and blanks out what says nothing of anybody. */
static void
find_urls(char *text, char *parts, int len)
{
	memset(parts, URL_NONE, len + 1);
	for (int i = 0; i < len; i++)
	{
		bool		begins = i == 0 || is_space(text[i - 1]) || strchr("<(['\",;", text[i - 1]) != NULL;
		int			start = begins ? url_start(text + i, len - i) : -1;
		int			last = -1;
		int			at;

		if (start < 0)
			continue;
		memset(text + i, ' ', start);
		at = i + start;
		for (; at < len && !is_space(text[at]) && strchr("/?#:", text[at]) == NULL; at++)
			parts[at] = URL_HOST;
		/* a port */
		for (; at < len && (text[at] == ':' || (text[at] >= '0' && text[at] <= '9')); at++)
			text[at] = ' ';
		for (; at < len && !is_space(text[at]) && strchr("?#>", text[at]) == NULL; at++)
		{
			parts[at] = URL_FOLDER;
			if (text[at] == '/' && at + 1 < len && !is_space(text[at + 1]) && strchr("/?#>", text[at + 1]) == NULL)
				last = at;
		}
		if (last >= 0)
			memset(parts + last, URL_LAST, at - last);
		/* what is asked there, and the place in the page */
		for (start = at; at < len && !is_space(text[at]) && text[at] != '>'; at++)
			parts[at] = URL_FOLDER;
		blank_parameters(text + start, at - start);
		i = at - 1;
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
	char	   *parts;
	int			n = 0;
	int			from = 0;
	bool		any_word = false;

	len = pg_mbcliplen(typed, len, QUERY_MAX_BYTES);
	typed = people_to_utf8(typed, &len);
	text = pnstrdup(typed, len);
	/* a NUL can't come from SQL; past one pnstrdup() copies nothing */
	len = strlen(text);
	blank_mailto(text, len);
	parts = palloc(len + 1);
	find_urls(text, parts, len);
	len = decode_percent(text, parts, len);
	*queries = palloc(QUERY_MAX_ALTERNATIVES * sizeof(SearchQuery));
	for (int i = 0; i <= len; i++)
	{
		bool		or_word = any_word && is_word(text, i, len, "OR") && n + 1 < QUERY_MAX_ALTERNATIVES;

		if (i == len || or_word)
		{
			parse_alternative(text + from, parts + from, i - from, &(*queries)[n]);
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
	pfree(parts);
	pfree(text);
	return n;
}

/* A leaf, or a part of one, as a word that begins with it. */
static void
add_part(SearchQuery *query, Term leaf)
{
	QueryWord  *part = &query->words[query->nwords++];

	memset(part, 0, sizeof(QueryWord));
	leaf.prefix = true;
	part->terms[0] = part->leaves[0] = leaf;
	part->squeezed = pnstrdup(leaf.lexeme, leaf.len);
	part->nterms = part->nleaves = part->nall = 1;
}

/*
 * The query with the atoms of compounds as words of their own, and of what has but an @
 * before it ("@ada"); whether it has any.  Of an address that would be hardly anything.
 * If others have been found, only of loose compounds.
 */
bool
people_take_apart(const SearchQuery *query, bool loose, SearchQuery *apart)
{
	bool		any = false;

	memset(apart, 0, sizeof(SearchQuery));
	apart->natoms = query->natoms;
	for (int i = 0; i < query->nwords; i++)
	{
		const QueryWord *word = &query->words[i];

		if (word->local && apart->nwords < QUERY_MAX_WORDS)
			apart->words[apart->nwords++] = *word;
		for (int j = 0; !word->local && j < word->nleaves && apart->nwords < QUERY_MAX_WORDS; j++)
		{
			if (loose ? word->loose : word->compound || word->address)
			{
				add_part(apart, word->leaves[j]);
				any = true;
			}
			else if (j == 0)
				apart->words[apart->nwords++] = *word;
		}
	}
	return any;
}

/*
 * The query with words of an address of their own, in any order, beside its host:
 * "lovelace.ada@example.com" of ada.lovelace@example.com.  False if there is no such address.
 */
bool
people_take_address_apart(const SearchQuery *query, SearchQuery *apart)
{
	bool		any = false;

	memset(apart, 0, sizeof(SearchQuery));
	apart->natoms = query->natoms;
	for (int i = 0; i < query->nwords && apart->nwords < QUERY_MAX_WORDS; i++)
	{
		const QueryWord *word = &query->words[i];
		QueryWord  *host;

		if (!word->whole_address || word->nleaves < 2 || apart->nwords + word->nleaves >= QUERY_MAX_WORDS)
		{
			apart->words[apart->nwords++] = *word;
			continue;
		}
		for (int j = 0; j < word->nleaves; j++)
			add_part(apart, word->leaves[j]);
		host = &apart->words[apart->nwords++];
		host->address = true;
		host->terms[host->nterms++] = word->host;
		any = true;
	}
	return any;
}

/* What is put before or behind a name, and often not stored with it; folded. */
static const char *const titles[] = {
	"mr", "mrs", "ms", "mx", "miss", "dr", "prof", "sir", "madam", "mme", "mlle", "herr", "frau", "ing", "dipl", "mag",
	"sr", "jr", "esq", "phd", "md", "rev", "senor", "senora", "hr"
};

/* What words of names are joined by, written out; folded. */
static const char *const ands[] = {"and", "und", "et", "y", "e"};

static bool
is_one_of(const QueryWord *word, const char *const *words, int n)
{
	bool		any = false;

	for (int i = 0; i < n; i++)
		any |= !word->address && word->squeezed != NULL && strcmp(word->squeezed, words[i]) == 0;
	return any;
}

/* The query without titles, and without "and" between words; false if it has none, or nothing else. */
bool
people_without_titles(const SearchQuery *query, SearchQuery *rest)
{
	memset(rest, 0, sizeof(SearchQuery));
	for (int i = 0; i < query->nwords; i++)
	{
		const QueryWord *word = &query->words[i];

		if (is_one_of(word, titles, lengthof(titles)) ||
			(i > 0 && i < query->nwords - 1 && is_one_of(word, ands, lengthof(ands))))
			continue;
		rest->natoms += word->nall;
		rest->words[rest->nwords++] = *word;
	}
	return rest->nwords > 0 && rest->nwords < query->nwords;
}

/* The query with addresses without their tags; false if none has one. */
bool
people_without_tags(const SearchQuery *query, SearchQuery *rest)
{
	bool		any = false;

	*rest = *query;
	for (int i = 0; i < query->nwords; i++)
	{
		if (query->words[i].untagged.lexeme == NULL)
			continue;
		rest->words[i].terms[0] = query->words[i].untagged;
		any = true;
	}
	return any;
}

/* Has the text letters up to there, and then nothing but digits? */
static bool
are_digits_behind(const Tokens *t, int nchars)
{
	bool		all = nchars < t->nchars && t->chars[nchars - 1].class == CHAR_LETTER;

	for (int i = nchars; i < t->nchars; i++)
		all &= t->chars[i].class == CHAR_DIGIT;
	return all;
}

#define SPLIT_LEAST 3			/* letters of each part; of digits, and scripts without spaces, one */

/*
 * The query with a word as two words of a name, the first of so many letters:
 * "acmesoft" as "acme soft", and a family name that was typed behind.  False if there is
 * no such part.
 */
bool
people_split_word(const SearchQuery *query, int split, int nchars, SearchQuery *parts)
{
	const QueryWord *word = &query->words[split];
	const char *text;
	int			len;
	Tokens	   *t;
	bool		cjk;
	bool		good;

	if (word->compound || word->address || word->nleaves != 1 || query->nwords == QUERY_MAX_WORDS)
		return false;
	len = word->leaves[0].len;
	text = people_to_utf8(word->leaves[0].lexeme, &len);
	t = tokenize(text, len);
	cjk = t->natoms > 0 && t->atoms[0].cjk;
	if (cjk)
		good = t->natoms == 1 && nchars < t->nchars && starts_syllable(t->chars[nchars].cp);
	else
		good = t->natoms == 1 && nchars >= SPLIT_LEAST &&
			(t->nchars - nchars >= SPLIT_LEAST || are_digits_behind(t, nchars));
	if (good)
	{
		*parts = *query;
		parts->natoms++;
		parts->nwords++;
		memmove(&parts->words[split + 1], &parts->words[split], (query->nwords - split) * sizeof(QueryWord));
		for (int i = 0; i < 2; i++)
		{
			QueryWord  *part = &parts->words[split + i];
			int			from = i == 0 ? 0 : t->chars[nchars].start;
			char	   *name = psprintf("=%.*s", (i == 0 ? t->chars[nchars].start : t->length) - from, t->text + from);

			memset(part, 0, sizeof(QueryWord));
			part->squeezed = name + 1;
			/* as what is stored of words of a name has them */
			set_term(&part->terms[0], name, strlen(name), i == 1 || cjk);
			part->terms[0].joined = true;
			part->terms[0].whole = cjk;
			part->nterms = 1;
		}
	}
	tokens_free(t);
	return good;
}

/* ---------- keys ---------- */

#define URL_MOST_KEYS 8

/* Is a character put around what is copied, or copied along with it? */
static bool
is_around(pg_wchar c)
{
	if (c < 0x80)
		return strchr(" \t\n\v\f\r\"'`<>(){}[]#,;", (int) c) != NULL;
	/* spaces, quotes and what can't be seen; brackets and quotes of East Asia, and wide ones */
	return c == 0xA0 || c == 0xAB || c == 0xBB || (c >= 0x2000 && c <= 0x206F) || (c >= 0x3000 && c <= 0x301F) ||
		c == 0xFEFF || c == 0xFF02 || c == 0xFF07 || c == 0xFF08 || c == 0xFF09 || (c >= 0xFF5F && c <= 0xFF63);
}

/* UTF-8 without what is around it. */
static const char *
without_around(const char *text, int *len)
{
	int			from = 0;
	int			to = 0;

	for (int at = 0, n; at < *len; at += n)
	{
		const unsigned char *c = (const unsigned char *) text + at;

		n = pg_utf_mblen(c);
		if (n > *len - at || !pg_utf8_islegal(c, n))
			n = 1;
		else if (is_around(utf8_to_unicode(c)))
		{
			if (from == at)
				from += n;
			continue;
		}
		to = at + n;
	}
	*len = Max(to - from, 0);
	return text + from;
}

static bool
is_hex(const char *text, int len, const char *others)
{
	for (int i = 0; i < len; i++)
	{
		if (hex_value(text[i]) < 0 && strchr(others, text[i]) == NULL)
			return false;
	}
	return true;
}

static List *
add_key(List *keys, const char *key)
{
	ListCell   *cell;

	foreach(cell, keys)
	{
		if (strcmp(lfirst(cell), key) == 0)
			return keys;
	}
	return *key == '\0' ? keys : lappend(keys, (void *) key);
}

/* UTF-8 as a key: as it is, decoded, and as PostgreSQL writes a uuid. */
static List *
add_keys(List *keys, const char *text, int len)
{
	char	   *key = pnstrdup(text, len);
	char	   *parts = palloc0(len + 1);
	const char *stored = people_from_utf8(key, &len);

	if (stored == NULL)
		return keys;
	keys = add_key(keys, pstrdup(stored));
	len = decode_percent(key, parts, strlen(key));
	stored = people_from_utf8(key, &len);
	if (stored == NULL)
		return keys;
	keys = add_key(keys, stored);
	if (len == 36 && is_hex(stored, len, "-"))
		keys = add_key(keys, asc_tolower(stored, len));
	else if (len == 32 && is_hex(stored, len, ""))
	{
		key = asc_tolower(stored, len);
		keys = add_key(keys, psprintf("%.8s-%.4s-%.4s-%.4s-%s", key, key + 8, key + 12, key + 16, key + 20));
	}
	return keys;
}

/* Is a parameter of a URL called as one that has a key? */
static bool
names_key(const char *name, int len)
{
	static const char *const ends[] = {"id", "key", "user", "account"};

	for (int i = 0; i < lengthof(ends); i++)
	{
		int			n = strlen(ends[i]);

		if (len >= n && pg_strncasecmp(name + len - n, ends[i], n) == 0)
			return true;
	}
	return false;
}

/* Of a URL the last part of its path, and parameters. */
static List *
add_url_keys(List *keys, const char *url, int len)
{
	int			at = url_start(url, len);
	int			from = -1;
	int			to = 0;
	int			n = 0;

	if (at < 0)
		return keys;
	for (; at < len && !is_space(url[at]) && url[at] != '?' && url[at] != '#'; at++)
	{
		if (url[at] == '/')
			continue;
		if (at > 0 && url[at - 1] == '/')
			from = at;
		to = at + 1;
	}
	if (from >= 0)
		keys = add_keys(keys, url + from, to - from);
	while (at < len && !is_space(url[at]) && n < URL_MOST_KEYS)
	{
		int			name = ++at;
		int			value;

		while (at < len && !is_space(url[at]) && strchr("=&;?#", url[at]) == NULL)
			at++;
		if (at == len || url[at] != '=')
			continue;
		value = at + 1;
		while (at < len && !is_space(url[at]) && strchr("&;#", url[at]) == NULL)
			at++;
		if (names_key(url + name, value - 1 - name))
		{
			keys = add_keys(keys, url + value, at - value);
			n++;
		}
	}
	return keys;
}

/* Texts, in the database's encoding, one of which is a profile's key if one was typed. */
List *
people_keys(const char *typed)
{
	int			len;
	List	   *keys = NIL;

	while (is_space(*typed))
		typed++;
	for (len = strlen(typed); len > 0 && is_space(typed[len - 1]);)
		len--;
	keys = add_key(keys, pnstrdup(typed, len));
	len = pg_mbcliplen(typed, len, QUERY_MAX_BYTES);
	typed = people_to_utf8(typed, &len);
	typed = without_around(typed, &len);
	keys = add_keys(keys, typed, len);
	return add_url_keys(keys, typed, len);
}

/* ---------- URLs ---------- */

/*
 * Whom a URL is about: the query with nothing of URLs but the last part of the path,
 * or but the host.  False if that is the query itself, or nothing.
 */
bool
people_url_subject(const SearchQuery *query, bool host, SearchQuery *subject)
{
	UrlPart		kept = host ? URL_HOST : URL_LAST;
	bool		any = false;

	memset(subject, 0, sizeof(SearchQuery));
	for (int i = 0; i < query->nwords; i++)
	{
		if (query->words[i].url_part != URL_NONE && query->words[i].url_part != kept)
			continue;
		any |= query->words[i].url_part == kept;
		subject->natoms += Max(query->words[i].nall, 1);
		subject->words[subject->nwords++] = query->words[i];
	}
	return any && subject->nwords < query->nwords;
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
