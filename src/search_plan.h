/*
 * search_plan.h
 *		What a tier of a search costs, and how it is best answered.
 */
#ifndef PROFILES_SEARCH_PLAN_H
#define PROFILES_SEARCH_PLAN_H

#include "lib/stringinfo.h"
#include "search.h"

/* What things take, in about microseconds. */
#define CHEAP			4000	/* no more is tried to do better */
#define AFFORDABLE		20000	/* to have names before addresses */
#define DEAR			100000	/* for what may not be meant */
#define COST_POSTING	0.5		/* one who has a word, found in the index */
#define COST_POSTING_EXACT	0.05	/* the very word, which the index need not gather */
#define JOINED_NAMES	0.2		/* of those who are called so */
#define COST_COMBINED	0.15		/* one who has a word, where words are combined outside of the index */
#define COST_FETCHED	7		/* who meets what went into the index, and when that one was seen */
#define COST_DATED		5		/* of that, to look up when */
#define COST_WALKED		1.5
#define COST_SCREENED	0.1		/* by the signature of the name alone */
#define COST_WALKED_TYPOS	3
#define COST_WALKED_VECTORS	9
#define COST_WALKED_IMPORTED	20
#define COST_IMPORTED	12		/* who has a word in custom attributes: to find, and to look at */
#define PATIENCE		3		/* so much longer a walk is expected to take that gives way to counting */
#define DOUBT			2		/* so much longer a walk may be, since words depend on each other */

/* What of a word goes into the index, and how many people that brings, about. */
typedef struct IndexKey
{
	StringInfoData query;		/* empty: nobody can meet it */
	StringInfoData attributes_query;	/* the same for attributes */
	const Term *address;		/* one of these; NULL if none is an address */
	bool		only_address;
	bool		address_as_word;	/* another is the same without the mark */
	double		people;
	double		attributes;		/* of these, in attributes but custom ones */
	double		imported;		/* of these, in custom attributes */
	double		gathering;		/* what it costs to have the index gather them */
	double		gathering_attributes;	/* of that, those in attributes */
	double		gathering_longer;	/* of that, longer words of people */
} IndexKey;

/* How to answer a tier by index, and what that costs. */
typedef struct IndexPlan
{
	int			words[KEY_WORDS];	/* that go into the index, what spares most first */
	int			nwords;
	bool		sides;			/* each of these is looked for where most have it, and whoever has it elsewhere apart */
	bool		in_attributes[KEY_WORDS];	/* that is where */
	bool		attributes_only;	/* rather: one word or another in attributes */
	double		corrected;		/* who has one word or another corrected, about, and only those are asked for; else below 0 */
	bool		rarest_only;	/* of custom attributes: the first of these, not one word or another */
	bool		nobody;			/* has all of these */
	double		cost;
	double		people;			/* who meet all words, if these don't depend on each other */
} IndexPlan;

/* How many have some words, as the index says: those come first. */
typedef struct Counted
{
	int			words[KEY_WORDS];
	bool		in_attributes[KEY_WORDS];
	int			nwords;
	double		people;
	double		cost;			/* to have the index find them again */
} Counted;

extern void plan_key(Search *search, const QueryWord *word, int where, IndexKey *key);
extern void plan_add_name(Search *search, IndexKey *key, const Term *term, bool exact);
extern bool plan_implies(const SearchQuery *query, int word);
extern void plan_index(Search *search, const SearchQuery *query, IndexKey *keys, int where,
					   const Counted *counted, IndexPlan *plan, IndexPlan *countable);
extern double plan_walking(Search *search, double people);
extern double plan_walking_maybe(Search *search, const SearchQuery *query, double people, int where);
extern double plan_counting(const IndexKey *keys, const IndexPlan *plan, Counted *counted);

#endif							/* PROFILES_SEARCH_PLAN_H */
