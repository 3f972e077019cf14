/* users-types.h: what is reported of the users of functions; see users.h.
 *
 * Owns nothing. */
#pragma once

#include "policy/address.h"

#include <sys/types.h>

typedef struct Users Users;

/* The callee may call any function of this header but users_free(). */
typedef struct UsersHandler {
        /* The users of the function `key` have changed. */
        void (*changed)(void *context, PciKey key);
        /* What users_record() writes is different. Comes before `changed` tells the users. */
        void (*record_changed)(void *context);
        /* A VFIO device node was opened. The result for its functions is reported later. */
        void (*opened)(void *context);
        /* The last copy of a descriptor of a VFIO device node, "12" of a group or "vfio3" of a
         * device, was closed. The result for its functions is reported later. */
        void (*closed)(void *context, const char *name);
        /* Such may have gone unseen. */
        void (*missed)(void *context);
        /* All that was seen up to now has been reported. `walk` is not 0 when all processes were
         * looked at since the last time: the number of that walk, as of users_look(). */
        void (*looked)(void *context, uint64_t walk);
        /* The process cannot be looked at: what it has is not known. 0: all can be again. */
        void (*unlookable)(void *context, pid_t pid);
} UsersHandler;

/* 0 when the users of the functions have been reported, as they are after this call; -ETIMEDOUT
 * when that could not be found out: they count as in use; -ECANCELED when the daemon ends. */
typedef void UsersRefreshed(void *context, int result);
