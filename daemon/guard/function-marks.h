/* function-marks.h: what is remembered of each function itself: an administrator's lock, that a
 * userspace driver has or had it, that it is tainted or being unplugged, and whose VF it is while
 * it is in use. The kernel takes the links of a VF away before it waits for the VF's user
 * (pci_iov_remove_virtfn()); without that record a daemon that starts meanwhile would unlock the
 * PF.
 *
 * Owns what an earlier run recorded of functions that are not known yet; the marks themselves are
 * the Function's. Always holds: until function_marks_end_adoption(), saving loses nothing of what
 * the earlier run recorded. */
#pragma once

#include "daemon/base/part.h"

typedef struct FunctionMarks FunctionMarks;

extern const Part function_marks_part;

/* As recorded. */
typedef struct StateFunction {
        PciKey key;
        uint64_t inode;
        char *lock_why; /* NULL: no administrator's lock */
        bool userspace_driver;
        bool tainted; /* of an older daemon: for a userspace driver, too, and it did not say so */
        bool unplugging;
        char *unplug_asked; /* NULL: it has been unbound */
        bool linked;        /* it was a VF in use: number `index` of `physfn` */
        PciKey physfn;
        uint32_t index;
} StateFunction;

extern const StateSection function_marks_section;

/* Every function that exists is known: what is left of an earlier run's records speaks of none. */
void function_marks_end_adoption(FunctionMarks *marks);
