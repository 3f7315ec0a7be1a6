/*
 * blocked.h
 *		Keys that are blocked, in memory.
 */
#ifndef PROFILES_BLOCKED_H
#define PROFILES_BLOCKED_H

#include "profile.h"

typedef struct BlockedKeys
{
	uint32		n;
	ProfileString *keys;		/* in the order of their bytes */
} BlockedKeys;

extern void blocked_read(BlockedKeys *blocked, const char *kind, uint32 shortest);
extern bool blocked_has(const BlockedKeys *blocked, ProfileString key);
extern bool blocked_may_have(const BlockedKeys *blocked, ProfileString example);

#endif							/* PROFILES_BLOCKED_H */
