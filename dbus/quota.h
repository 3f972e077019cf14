/* quota.h: how much of something each user may have at a time.
 *
 * Owns the counts, by uid. No user has more than their limit, and all users but root together no
 * more than a total. Of the total a user has at most as many as are left for others: the first may
 * have half of it, the second half of the rest. Root's limit guards against programs out of control
 * and is far above what an honest one needs: a libvirt that starts all machines of a host at once,
 * for example. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define QUOTA_PER_UID_MAX 32
#define QUOTA_ROOT_MAX    1024

typedef struct Quota Quota;

/* `per_uid`: for each user but root. `total`: for all of these together; UINT_MAX for none. */
Quota *quota_new(unsigned per_uid, unsigned total);
Quota *quota_ref(Quota *quota);
Quota *quota_unref(Quota *quota);

/* Takes one for the user. Returns 0; -EDQUOT when they have too many; -ENOSPC when all have, so
 * that they would have more than is left. */
int quota_take(Quota *quota, uint32_t uid);

/* Gives back one that was taken. */
void quota_give(Quota *quota, uint32_t uid);

/* How many the user has. */
unsigned quota_count(const Quota *quota, uint32_t uid);

/* Finds the user, not root, who has the most, if that is more than `uid` would have with one
 * more. */
bool quota_find_greedy(const Quota *quota, uint32_t uid, uint32_t *ret);
