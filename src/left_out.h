/*
 * left_out.h
 *		Counts what a fold leaves out.
 */
#ifndef PROFILES_LEFT_OUT_H
#define PROFILES_LEFT_OUT_H

#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "profile.h"
#include "upkeep.h"

#define LEFT_OUT_EXAMPLE	200		/* bytes of a key that are shown */
#define LEFT_OUT_CUT		(LEFT_OUT_EXAMPLE - MAX_MULTIBYTE_CHAR_LEN + 1)	/* what is shorter was not cut */

typedef struct LeftOut LeftOut;

extern LeftOut *left_out_begin(ProfilesFold *fold);
extern void left_out_add(LeftOut *left_out, const char *reason, int64 events, ProfileString key);
extern void left_out_add_cut(LeftOut *left_out, List *names, ProfileString key);
extern void left_out_end(LeftOut *left_out);
extern bool left_out_is_example(ProfileString example, ProfileString key);

#endif							/* PROFILES_LEFT_OUT_H */
