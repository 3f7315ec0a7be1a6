/*
 * search.c
 *		search_users() and search_accounts().
 *
 * A query is met in tiers; a later one is asked only if those before gave fewer
 * people than wanted, and ranks behind them:
 *
 *		1	addresses and other compounds as a whole, by prefix
 *		2	all words as prefixes, in any order, in name and e-mail
 *		3	the same, words being attributes as well
 *		4	typos
 *
 * Candidates of a tier (search_candidates.c) come by index or by a walk
 * (search_tiers.c) and are ranked (search_score.c).
 */
#include "postgres.h"

#include <math.h>

#include "access/gin.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "people.h"
#include "search.h"
#include "upkeep.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(profiles_search_users);
PG_FUNCTION_INFO_V1(profiles_search_accounts);

#define SEARCH_MOST			1000	/* people that can be asked for */
#define FEW_LEAST			2000	/* fewer are always fetched by index */
#define SPLIT_WORDS			2		/* of a query that are read as two words of a name */
#define SPLIT_MOST			20		/* letters of the first of these */

/* ---------- a whole search ---------- */

/* A query that candidates may refer to. */
static SearchQuery *
new_query(Search *search)
{
	return MemoryContextAllocZero(search->context, sizeof(SearchQuery));
}

/* As run_tier, if nobody has been found. */
static void
run_if_none(Search *search, const SearchQuery *query, int where)
{
	if (search->nfound == 0)
		search_run_tier(search, query, where, TIER_ATTRIBUTES, where & IN_ATTRIBUTES ? IF_AFFORDABLE : ALWAYS);
}

/* What nobody is found by as it was typed, read in another way; where is where words are looked for. */
static void
search_otherwise(Search *search, const SearchQuery *query, int where)
{
	SearchQuery *untitled = new_query(search);
	SearchQuery *apart = new_query(search);
	SearchQuery *rest = new_query(search);
	SearchQuery *turned = new_query(search);
	SearchQuery *untagged = new_query(search);
	bool		titled;

	/* "j.smith" is nobody's address */
	if (people_take_apart(query, false, apart))
		run_if_none(search, apart, where | IN_LEAVES);
	/* "Smith, Ph.D.", "Johnson and Johnson", and once it is apart "dr.smith" */
	titled = people_without_titles(query, untitled);
	if (!titled)
		*untitled = *query;
	if (!people_take_apart(untitled, false, apart))
		*apart = *untitled;
	titled |= people_without_titles(apart, rest);
	if (titled)
	{
		query = rest->nwords > 0 ? rest : apart;
		run_if_none(search, query, where | IN_LEAVES);
	}
	/* "lovelace.ada@example.com"; nothing of it is an attribute */
	if (!(where & IN_ATTRIBUTES) && people_take_address_apart(query, turned))
		run_if_none(search, turned, where);
	/* "ada+news@example.com" of Ada, who has no such tag */
	if (people_without_tags(query, untagged))
		run_if_none(search, untagged, where);
	/* "acmesoft" of "Acme Soft"; alone it is no attribute */
	for (int i = 0; search->nfound == 0 && i < query->nwords && i < SPLIT_WORDS && (query->nwords > 1 || !(where & IN_ATTRIBUTES)); i++)
	{
		for (int n = 1; n < SPLIT_MOST; n++)
		{
			SearchQuery *split = new_query(search);

			if (people_split_word(query, i, n, split))
				search_run_tier(search, split, where, TIER_ATTRIBUTES, IF_FEW);
		}
	}
}

/* Of a page's URL whom it is about, or at least who is there. */
static void
search_url(Search *search, const SearchQuery *query)
{
	for (int host = 0; search->nfound == 0 && host < 2; host++)
	{
		SearchQuery *subject = new_query(search);

		if (!people_url_subject(query, host, subject))
			continue;
		run_if_none(search, subject, IN_TERMS | IN_LEAVES);
		if (search->nfound == 0)
			search_otherwise(search, subject, IN_TERMS);
	}
}

/* Who has one of the addresses that were pasted: nobody has two, and a name beside one may differ. */
static void
search_addresses(Search *search, const SearchQuery *query, bool whole)
{
	for (int i = 0; i < query->nwords; i++)
	{
		SearchQuery *address;

		if (whole ? !query->words[i].whole_address : !query->words[i].local)
			continue;
		address = new_query(search);
		address->words[address->nwords++] = query->words[i];
		search_run_tier(search, address, IN_TERMS, TIER_ATTRIBUTES, ALWAYS);
	}
}

/* Words of names that are meant; if these are too few, attributes as well. */
static void
search_typos(Search *search, SearchQuery *query)
{
	if (!search_find_corrections(search, query))
		return;
	/* of words that exclude each other none may be wrong */
	search_run_tier(search, query, IN_TERMS | IN_LEAVES | IN_TYPOS, TIER_TYPOS, search->met_share < 1 ? IF_AFFORDABLE : ALWAYS);
	if (search->nfound < search->max && query->nwords > 1)
		search_run_tier(search, query, IN_TERMS | IN_LEAVES | IN_TYPOS | IN_ATTRIBUTES, TIER_TYPOS, IF_AFFORDABLE);
}

static void
search_alternative(Search *search, SearchQuery *query)
{
	bool		compound = false;
	bool		address = false;
	int			addresses = 0;
	SearchQuery *apart = new_query(search);
	SearchQuery *rest = new_query(search);

	search->met_share = 1;
	for (int i = 0; i < query->nwords; i++)
	{
		compound |= query->words[i].compound || query->words[i].address;
		address |= query->words[i].address;
		addresses += query->words[i].local;
	}
	if (addresses > 1)
		search_addresses(search, query, false);
	else if (compound)
		search_run_tier(search, query, IN_TERMS, TIER_WORDS, ALWAYS);
	if (search->nfound >= search->max || (address && search->nfound > 0))
		return;
	if (search->nfound > 0)
		search_run_tier(search, query, IN_TERMS | IN_LEAVES, TIER_PARTS, IF_FEW);
	else
		search_run_tier(search, query, IN_TERMS | IN_LEAVES, TIER_WORDS, ALWAYS);
	if (search->nfound >= search->max || (address && search->nfound > 0))
		return;
	if (search->nfound == 0 && query->nwords > 1)
		search_addresses(search, query, true);
	if (address && search->nfound > 0)
		return;
	if (search->nfound == 0)
		search_otherwise(search, query, IN_TERMS);
	else if (people_take_apart(query, true, apart))
		search_run_tier(search, apart, IN_TERMS | IN_LEAVES, TIER_ANY_ORDER, IF_FEW);
	search_run_tier(search, query, IN_TERMS | IN_LEAVES | IN_ATTRIBUTES, TIER_ATTRIBUTES, ALWAYS);
	if (search->nfound == 0)
		search_otherwise(search, query, IN_TERMS | IN_ATTRIBUTES);
	if (search->nfound == 0)
		search_url(search, query);
	if (search->nfound >= search->max || (address && search->nfound > 0))
		return;
	search_typos(search, query);
	if (search->nfound == 0 && people_without_titles(query, rest))
		search_typos(search, rest);
}

/* Who has the text as key. */
static void
search_key(Search *search, const char *typed)
{
	Datum		key = CStringGetTextDatum(typed);
	IndexRows  *rows = search_profiles_by_key(search);

	if (rows_find(rows, key))
	{
		StoredProfile profile = search_stored_profile(search, rows);
		Candidate  *candidate = search_add_candidate(search, key, (UINT64CONST(1) << SCORE_BITS) - 1, 0, NULL, NULL);

		if (search->filter == NULL)
			search_keep_shown(search, candidate, &profile);
	}
	search_apply_filter(search);
}

/* Who has as key what was typed, without what it may have been copied with. */
static void
search_keys(Search *search, const char *typed)
{
	ListCell   *key;

	foreach(key, people_keys(typed))
		search_key(search, lfirst(key));
}

/*
 * Looks up when those have been seen who have a score or a greater one; of those
 * who have that very one it may leave out those who are not among the newest.
 */
static void
date_candidates(Search *search, Candidate **list, int n, uint64 last)
{
	Candidate **undated = palloc_extended(n * sizeof(Candidate *), MCXT_ALLOC_HUGE);
	int			better = 0;
	int			nundated;

	for (int i = 0; i < n && list[i]->score > last; i++)
	{
		if (!list[i]->dated)
			undated[better++] = list[i];
	}
	nundated = better;
	for (int i = 0; i < n && list[i]->score >= last; i++)
	{
		if (!list[i]->dated && list[i]->score == last)
			undated[nundated++] = list[i];
	}
	if (nundated > better && search_date_by_walk(search, last, nundated - better))
		nundated = better;
	search_fetch_rows(search, undated, nundated);
	pfree(undated);
}

/*
 * Those who come first, with what is shown of them.  Of the many who may share the
 * last score that counts, the newest count, so all of these are looked at.
 */
static Candidate **
first_candidates(Search *search, int *n)
{
	Candidate **list = search_list_candidates(search, n);

	for (;;)
	{
		int			before = search->nfound;
		int			most = Min(*n, search->max);

		if (most == 0)
			return list;
		date_candidates(search, list, *n, list[most - 1]->score);
		pfree(list);
		list = search_list_candidates(search, n);
		most = Min(*n, search->max);
		search_fetch_rows(search, list, most);
		/* unless some of them have gone */
		if (search->nfound == before)
		{
			*n = most;
			return list;
		}
		list = search_list_candidates(search, n);
	}
}

/*
 * Columns of attributes that meet a word of the query which name and e-mail don't;
 * those that have atoms of one if none has it whole.
 */
static char *
matched_attributes(Search *search, Candidate *candidate)
{
	const SearchQuery *query = candidate->query;
	char	   *result = NULL;

	for (int apart = 0; apart < 2 && result == NULL; apart++)
	{
		StringInfoData s;
		Datum		values[2];

		initStringInfo(&s);
		for (int i = 0; i < query->nwords; i++)
		{
			const QueryWord *word = &query->words[i];

			for (int j = 0; j < (apart ? word->nall : word->nterms); j++)
			{
				if (s.len > 0)
					appendStringInfoString(&s, " | ");
				people_append_term(&s, apart ? &word->leaves[j] : &word->terms[j]);
			}
		}
		values[0] = CStringGetTextDatum(candidate->key);
		values[1] = search_parse_query(s.data);
		search_execute(search, GET_MATCHED, values);
		if (SPI_processed > 0)
			result = search_text_column(search, 0, 1);
		SPI_freetuptable(SPI_tuptable);
	}
	return result;
}

/* Why somebody was found. */
static char *
matched_text(Search *search, Candidate *candidate)
{
	const char *kind = profiles_kinds[search->kind];
	StringInfoData s;
	char	   *attributes;

	initStringInfo(&s);
	if (candidate->query == NULL)
		return psprintf("%s_id", kind);
	if (candidate->levels & (1 << LEVEL_EXACT | 1 << LEVEL_PHRASE | 1 << LEVEL_JOINED | 1 << LEVEL_PREFIX))
		appendStringInfo(&s, "%s_name", kind);
	if (candidate->levels & (1 << LEVEL_ADDRESS | 1 << LEVEL_TYPED | 1 << LEVEL_LOCAL | 1 << LEVEL_HOST))
		appendStringInfo(&s, "%s%s_%s", s.len > 0 ? ", " : "", kind, search->kind == 0 ? "email" : "name");
	if (candidate->levels & 1 << LEVEL_ATTRIBUTE &&
		(attributes = matched_attributes(search, candidate)) != NULL)
		appendStringInfo(&s, "%s%s", s.len > 0 ? ", " : "", attributes);
	if (candidate->correction != NULL)
		appendStringInfo(&s, "%slike %s", s.len > 0 ? ", " : "", candidate->correction->lexeme);
	return s.data;
}

/* The view that is searched; errors if there is none, or the caller may not read it. */
static void
check_rights(int kind, Oid namespace)
{
	char	   *name = psprintf("%ss", profiles_kinds[kind]);
	Oid			view = get_relname_relid(name, namespace);

	if (!OidIsValid(view))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there are no profiles yet"),
				 errhint("Add a source of events with profiles.add_source().")));
	if (pg_class_aclcheck(view, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for view %s", name),
				 errhint("What is found is shown: GRANT SELECT ON profiles.%s TO %s.", name,
						 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

static void
put_text(const char *text, Datum *value, bool *isnull)
{
	*isnull = text == NULL;
	if (text != NULL)
		*value = CStringGetTextDatum(text);
}

/* A score as a number that differs wherever scores do, though it has fewer digits. */
static float4
rank_of(const Candidate *candidate, const Candidate *before, float4 rank_before)
{
	float4		rank = (float4) ((double) candidate->score / ((UINT64CONST(1) << SCORE_BITS) - 1));

	if (before == NULL)
		return rank;
	return candidate->score == before->score ? rank_before : Min(rank, nextafterf(rank_before, 0));
}

static void
put_result(Search *search, Candidate *candidate, float4 rank, ReturnSetInfo *rsinfo)
{
	Datum		values[6];
	bool		nulls[6] = {0};
	int			n = 0;

	values[n++] = CStringGetTextDatum(candidate->key);
	put_text(candidate->name, &values[n], &nulls[n]);
	n++;
	if (search->kind == 0)
	{
		put_text(candidate->email, &values[n], &nulls[n]);
		n++;
	}
	values[n++] = TimestampTzGetDatum(candidate->seen);
	values[n++] = Float4GetDatum(rank);
	values[n++] = CStringGetTextDatum(matched_text(search, candidate));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
close_rows(IndexRows *rows)
{
	if (rows != NULL)
		rows_close(rows);
}

static Datum
search_profiles(FunctionCallInfo fcinfo, int kind)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Search		search = {0};
	SearchTables tables = {0};
	SearchQuery *queries;
	int			nqueries;
	text	   *typed;
	char	   *wanted;
	ProfilesRole caller;
	Candidate **list;
	int			n;
	float4		rank = 0;
	MemoryContext context;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	search.kind = kind;
	search.max = PG_ARGISNULL(1) ? 20 : PG_GETARG_INT32(1);
	if (search.max < 1 || search.max > SEARCH_MOST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max %d is out of range", search.max),
				 errhint("It is how many to return, from 1 to %d.", SEARCH_MOST)));
	check_rights(kind, get_func_namespace(fcinfo->flinfo->fn_oid));
	if (!PG_ARGISNULL(2))
		search.filter = search_check_filter(kind, PG_GETARG_DATUM(2), profiles_owner(fcinfo->flinfo->fn_oid));
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	typed = PG_GETARG_TEXT_PP(0);
	context = AllocSetContextCreate(CurrentMemoryContext, "search", ALLOCSET_DEFAULT_SIZES);
	search.context = context;
	search.tables = &tables;
	tables.namespace = get_func_namespace(fcinfo->flinfo->fn_oid);
	tables.imported = OidIsValid(get_relname_relid(psprintf("%s_imported", profiles_kinds[kind]), tables.namespace));
	caller = profiles_become(profiles_owner(fcinfo->flinfo->fn_oid));
	SPI_connect();
	if (GinFuzzySearchLimit != 0)
		search_settle(&search);

	{
		Term		all = {"", 0};

		search.people = search_term_frequency(&search, &all, true);
		search.few = Max(FEW_LEAST, sqrt(search.people * search.max));
	}
	MemoryContextSwitchTo(context);
	nqueries = people_parse_query(VARDATA_ANY(typed), VARSIZE_ANY_EXHDR(typed), &queries);
	search.found = candidates_create(context, 32, NULL);
	wanted = text_to_cstring(typed);
	if (search.filter != NULL && (nqueries > 0 || *wanted != '\0'))
		search_filter_first(&search);
	search_keys(&search, wanted);
	for (int i = 0; i < nqueries; i++)
	{
		Search		alternative = search;

		alternative.found = candidates_create(context, 32, NULL);
		alternative.nfound = 0;
		search_alternative(&alternative, &queries[i]);
		list = search_list_candidates(&alternative, &n);
		for (int j = 0; j < n; j++)
		{
			bool		found;
			Candidate  *candidate = candidates_insert(search.found, list[j]->key, &found);

			if (!found || candidate->score < list[j]->score)
			{
				Candidate	merged = *list[j];

				merged.hash = candidate->hash;
				merged.status = candidate->status;
				*candidate = merged;
			}
			if (!found)
				search.nfound++;
		}
	}
	list = first_candidates(&search, &n);
	for (int i = 0; i < n; i++)
	{
		rank = rank_of(list[i], i > 0 ? list[i - 1] : NULL, rank);
		put_result(&search, list[i], rank, rsinfo);
	}
	close_rows(tables.profiles);
	close_rows(tables.vectors);
	close_rows(tables.newest);
	close_rows(tables.addresses);
	SPI_finish();
	profiles_become_caller(caller);
	MemoryContextDelete(context);
	return (Datum) 0;
}

Datum
profiles_search_users(PG_FUNCTION_ARGS)
{
	return search_profiles(fcinfo, 0);
}

Datum
profiles_search_accounts(PG_FUNCTION_ARGS)
{
	return search_profiles(fcinfo, 1);
}
