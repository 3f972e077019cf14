/* quota.h: how much of something each user may have at a time.
 *
 * Owns the counts, by uid. What is bounded: calls that wait for polkit, and calls that wait for the kernel or for a
 * holder. Root's bound is there against programs gone wild and is far above what an honest one needs, a libvirt that starts
 * all machines of a host at once, say. Called by the authority and by the table of methods. */
#pragma once

#include <stdint.h>

#define QUOTA_PER_UID_MAX 32
#define QUOTA_ROOT_MAX    1024

typedef struct Quota Quota;

Quota *quota_new(void);
Quota *quota_ref(Quota *quota);
Quota *quota_unref(Quota *quota);

/* Takes one for the user. Returns 0; -EDQUOT when they have too many. */
int quota_take(Quota *quota, uint32_t uid);

/* Gives back one that was taken. */
void quota_give(Quota *quota, uint32_t uid);
