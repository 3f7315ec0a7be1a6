/*
 * search.h
 *		What the files that answer searches share.
 */
#ifndef PROFILES_SEARCH_H
#define PROFILES_SEARCH_H

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/relscan.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "people.h"
#include "utils/rel.h"

/* search_rows.c: rows of our own tables by index, many at a time */
#define ROWS_AHEAD	256

/* What signatures of names must have: of each word all bits of one of its terms. */
typedef struct NameScreen
{
	int			nwords;
	int			nterms[QUERY_MAX_WORDS];
	uint64		bits[QUERY_MAX_WORDS][WORD_MAX_TERMS];
} NameScreen;

typedef struct IndexRows
{
	Relation	table;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	struct IndexFetchTableData *fetch;
	TupleTableSlot *slot;		/* the row, until the next is asked for */
	Datum	   *keys;			/* whose rows; NULL: in the order of the index */
	ScanDirection direction;
	bool		ended;			/* the index has no more; asked again, it would begin anew */
	bool		is_signed;		/* the index has signatures of names */
	const NameScreen *screen;	/* only those whose names may pass; NULL: all */
	int64		entries;		/* of the index that have been read */
	int64		most;			/* and how many may be */
	int			longer;			/* of addresses: only those of which no word begins with so many bytes */
	int			nkeys;
	int			asked;			/* of the keys, in full */
	bool		inside;			/* of a key not in full */
	int			key;			/* whose row this is */
	bool		ordered;		/* the keys are in the order of the index, mostly */
	Buffer		leaf;			/* where the entries of the key before are; invalid: not known */
	BTScanInsert leaf_key;		/* NULL until needed */
	int			ahead;			/* how many rows to look up at once */
	int			n;				/* looked up */
	int			next;			/* of these */
	ItemPointerData tids[ROWS_AHEAD];
	int			of[ROWS_AHEAD];	/* keys */
} IndexRows;

typedef enum RowsBy
{
	ROWS_IN_ORDER,
	ROWS_BY_KEY,
	ROWS_BY_ADDRESS
} RowsBy;

extern IndexRows *rows_open(Oid namespace, const char *kind, const char *suffix,
							const char *column, RowsBy by);
extern void rows_of_keys(IndexRows *rows, Datum *keys, int nkeys);
extern void rows_of_ordered_keys(IndexRows *rows, Datum *keys, int nkeys);
extern void rows_of_addresses(IndexRows *rows, Datum from, Datum to, int longer);
extern void rows_newest(IndexRows *rows);
extern void rows_newest_named(IndexRows *rows, const NameScreen *screen, int64 most);
extern bool rows_next(IndexRows *rows);
extern bool rows_find(IndexRows *rows, Datum key);
extern void rows_close(IndexRows *rows);
extern int64 rows_count(IndexRows *rows, const char *index, Datum query);

/* search_statistics.c: how many have a word, about */
typedef struct Frequency
{
	double		people;			/* in name or e-mail */
	double		attributes;		/* but custom ones */
	double		imported;		/* in custom attributes */
} Frequency;

extern Frequency search_frequency(int kind, const char *word, int len, bool prefix);

/* Where a word of a query is looked for. */
#define IN_TERMS		1		/* as a whole */
#define IN_LEAVES		2		/* taken apart */
#define IN_ATTRIBUTES	4
#define IN_TYPOS		8

/*
 * The tier is the first thing that counts.  What is asked only if too few have been found
 * has one behind, so that who is first does not depend on how many are wanted.
 */
typedef enum Tier
{
	TIER_TYPOS,
	TIER_ATTRIBUTES,			/* or what nobody is found by otherwise */
	TIER_ANY_ORDER,				/* parts of compounds, if others meet them as a whole */
	TIER_PARTS,					/* one behind the other */
	TIER_WORDS
} Tier;

/* When a tier need not be answered: if that takes much, or more than a walk. */
typedef enum Effort
{
	ALWAYS,
	IF_AFFORDABLE,
	IF_FEW
} Effort;

/* search_score.c: how somebody meets words */
#define SCORE_BITS	52

extern uint64 search_score(TSVector vector, TSVector attributes, const SearchQuery *query,
						   int where, Tier tier, uint16 *levels, const Term **correction);
extern bool search_may_meet(text *name, text *email, const SearchQuery *query);

/* search_candidates.c: who may be found */
#define KEY_WORDS	4			/* of a query that go into the index */
#define WALK_LEAST	500			/* so many profiles a walk always looks at, to rank among them */

typedef enum Statement
{
	GET_BY_INDEX,
	GET_BY_ADDRESS,				/* where its index can't be read */
	GET_BY_ATTRIBUTE,			/* with KEY_WORDS variants */
	GET_BY_ATTRIBUTE_2,
	GET_BY_ATTRIBUTE_3,
	GET_BY_ATTRIBUTE_4,
	GET_BY_ATTRIBUTES_ONLY,
	GET_BY_WORDS,				/* where it is known which are attributes: these in name and e-mail */
	GET_BY_WORDS_AND_ATTRIBUTES,
	GET_BY_IMPORTED,			/* custom attributes */
	GET_BY_KEYS,
	GET_CORRECTIONS,
	GET_NEAR,					/* words of whoever has a word that begins as one does */
	GET_MATCHED,
	STATEMENTS
} Statement;

typedef struct Candidate
{
	const char *key;
	uint32		hash;
	char		status;
	bool		rejected;		/* by the filter */
	bool		dated;			/* seen is known */
	bool		fetched;		/* and what is shown beside */
	uint16		levels;			/* bit per Level that a word was met at */
	uint64		score;
	TimestampTz seen;
	char	   *name;
	char	   *email;
	const Term *correction;
	const SearchQuery *query;
} Candidate;

#define SH_PREFIX candidates
#define SH_ELEMENT_TYPE Candidate
#define SH_KEY_TYPE const char *
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE extern
#define SH_DECLARE
#include "lib/simplehash.h"

/* How many met a query, as an index has counted: of words, and of attributes. */
typedef struct LastCount
{
	Datum		query[2];
	int64		people[2];
} LastCount;

/* What all alternatives of a search share. */
typedef struct SearchTables
{
	Oid			namespace;
	IndexRows  *profiles;		/* by key; NULL until needed, as the others */
	IndexRows  *vectors;		/* by key */
	IndexRows  *newest;			/* profiles, newest first */
	IndexRows  *addresses;		/* vectors by address */
	LastCount	last_count;
	bool		settled;		/* settings are those of statements */
	bool		imported;		/* are there custom attributes? */
	AttrNumber	key_column;		/* of profiles; 0: not looked up */
	AttrNumber	name_column;
	AttrNumber	email_column;	/* 0: there is none */
	AttrNumber	seen_column;
	SPIPlanPtr	filtered_walks[2];	/* without and with attributes */
	SPIPlanPtr	filtered_rows;
} SearchTables;

typedef struct Search
{
	int			kind;
	SearchTables *tables;
	int			max;
	char	   *filter;			/* checked SQL over alias p; NULL if there is none */
	Datum		only;			/* text[]: keys that pass the filter, if they are few; else 0 */
	double		people;			/* how many there are, about; 0: not known, so not many */
	double		few;			/* so many are fetched by index */
	MemoryContext context;
	candidates_hash *found;		/* of the alternative that is being searched */
	int			nfound;			/* not rejected */
	double		filter_share;	/* of all that pass the filter, about */
	double		met_share;		/* of those expected to have the words, that were counted */
} Search;

/* What a search reads of a profile. */
typedef struct StoredProfile
{
	Datum		key;
	text	   *name;			/* these two may be NULL */
	text	   *email;
	TimestampTz seen;
} StoredProfile;

/* How rows are taken: for which query, and when a walk is over. */
typedef struct Taking
{
	Search	   *search;
	const SearchQuery *query;
	int			where;
	Tier		tier;
	MemoryContext context;		/* of a row */
	bool		walk;
	int			walked;
	int			most;			/* profiles that a walk looks at */
	int			least;
	double		instead;		/* so many take as long as the index; 0: not known */
	int			before;			/* found before it */
	int			nbest;			/* met at good levels only */
	uint16		good;
} Taking;

extern const char *search_shown_columns(int kind);
extern void search_set(const char *name, const char *value);
extern void search_settle(Search *search);
extern SPIPlanPtr search_prepare(Search *search, const char *sql, int nargs, const Oid *types);
extern IndexRows *search_open_rows(Search *search, IndexRows **rows, const char *suffix,
								   const char *column, RowsBy by);
extern IndexRows *search_profiles_by_key(Search *search);
extern StoredProfile search_stored_profile(Search *search, IndexRows *rows);
extern void search_execute(Search *search, Statement statement, Datum *values);
extern Datum search_column(uint64 row, int number, bool *isnull);
extern char *search_text_column(Search *search, uint64 row, int number);
extern Candidate *search_add_candidate(Search *search, Datum key, uint64 points, uint16 levels,
									   const Term *correction, const SearchQuery *query);
extern void search_keep_shown(Search *search, Candidate *candidate, const StoredProfile *profile);
extern void search_begin_taking(Taking *taking, Search *search, const SearchQuery *query,
								int where, Tier tier);
extern void search_take_profile(Taking *taking, const StoredProfile *profile);
extern bool search_goes_on(const Taking *taking);
extern void search_take_plan(Taking *taking, SPIPlanPtr plan, Datum *values);
extern void search_take_all(Search *search, Statement statement, Datum *values,
							const SearchQuery *query, int where, Tier tier);
extern void search_take_rows(Taking *taking, IndexRows *rows, TimestampTz *seen);
extern void search_take_keys(Taking *taking, Datum *keys, int nkeys, TimestampTz *seen);
extern void search_take_only(Search *search, const SearchQuery *query, int where, Tier tier);
extern void search_fetch_rows(Search *search, Candidate **candidates, int n);
extern Candidate **search_list_candidates(Search *search, int *n);
extern void search_apply_filter(Search *search);

/* search_plan.c: how many have a term, and it as the index has it */
extern double search_term_frequency(Search *search, const Term *term, bool exact);
extern void search_append_indexed(StringInfo s, const Term *term);

/* search_tiers.c: tiers, by index or by a walk */
extern Datum search_parse_query(const char *text);
extern void search_run_tier(Search *search, const SearchQuery *query, int where, Tier tier, Effort effort);
extern bool search_date_by_walk(Search *search, uint64 score, int nundated);

/* search_filter.c: who passes the filter, if these are few */
extern char *search_check_filter(int kind, Datum filter, Oid owner);
extern void search_filter_first(Search *search);

/* search_typos.c: words that are meant */
extern bool search_find_corrections(Search *search, SearchQuery *query);

#endif							/* PROFILES_SEARCH_H */
