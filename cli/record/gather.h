/* gather.h: makes a recording of the host.
 *
 * Owns the archive while it is made, and what was added to it. Reads of sysfs only what the kernel
 * answers without waking a device and without taking its lock, which a pending removal may hold. */
#pragma once

#include "cli/context.h"

typedef struct Gathered {
        GByteArray *archive;
        guint functions;
        guint configs, sleeping; /* of functions that were read; that would have to be woken up */
        guint facts;             /* files of sysfs */
        guint unchecked;         /* functions that Check() was not called for */
} Gathered;

/* Returns 0, or a negative errno and the error. */
int gather(Context *context, sd_bus_error *ret_error, Gathered *ret);
void gathered_clear(Gathered *gathered);
