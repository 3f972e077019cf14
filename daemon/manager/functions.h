/* functions.h: what state.json has of each function itself: administrators' locks and marks.
 *
 * Owns the form of the list "functions". */
#pragma once

#include "daemon/base/state.h"

typedef struct StateFunction {
        PciKey key;
        uint64_t inode;
        char *lock_why; /* NULL: no administrator's lock */
        bool userspace_driver;
        bool tainted; /* of an older daemon: for a userspace driver, too, and it did not say so */
        bool unplugging;
} StateFunction;

extern const StateSection functions_section;
