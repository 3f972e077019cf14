/* filter.h: which functions a list shows.
 *
 * Owns nothing. A function is shown if each condition that is given holds. A condition is a list of
 * words joined by commas, one of which must match; a word may have * and ?. */
#pragma once

#include "cli/inventory.h"

typedef struct FunctionFilter {
        bool sriov;         /* PFs and VFs alone */
        const char *kind;   /* each NULL: no condition */
        const char *driver; /* "-": none is bound */
        const char *state;  /* a word of the column, or "locked" or "free" */
        const char *holder; /* a user's virtual machine, unit, command or pid */
        const char *numa;
} FunctionFilter;

bool function_filter_shows(const FunctionFilter *filter, JsonObject *function);
