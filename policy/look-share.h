/* look-share.h: how much of a process is looked at, so that no user makes a look long.
 *
 * Owns nothing. All is counted in one unit, descriptors or bytes. A user can have many uids
 * (subuid(5)), hence the sum of all users. Always holds: whatever the others have, of each process
 * of a user who is below their own limit the beginning is looked at. So one user can hide only what
 * another one has behind that. */
#pragma once

#include <stdint.h>

typedef struct LookShare {
        uint64_t of_user;    /* of the processes of one user that is not root */
        uint64_t of_users;   /* of all such users */
        uint64_t of_process; /* of one process, when the sum is used up */
        uint64_t usec;       /* when a look takes longer, the sum counts as used up */
} LookShare;

/* What is left for a process of the user `uid`; `used` of their processes was looked at already,
 * and `of_all` of all users', which took `spent_usec`. */
uint64_t look_share_left(const LookShare *share, uint32_t uid, uint64_t used, uint64_t of_all,
                         uint64_t spent_usec);
