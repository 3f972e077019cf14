/* function-watches.h: the watches on the directories of functions.
 *
 * Owns one watch for each function that is known, see watch.h. A function that cannot be watched is
 * a problem until it can be. */
#pragma once

#include "daemon/base/problems.h"
#include "daemon/sysfs/watch.h"
#include "policy/function.h"

#include <stdbool.h>

typedef struct FunctionWatches FunctionWatches;

/* `touched` is called when a process has written to a file of a function, or changed its mode, with
 * the Function as its `userdata`. `watch` and `problems` are borrowed. */
FunctionWatches *function_watches_new(Watch *watch, Problems *problems, WatchHandler *touched,
                                      void *context);
FunctionWatches *function_watches_free(FunctionWatches *watches);

/* Watches it, unless it is watched. Returns whether it is, or is going anyway. */
bool function_watches_add(FunctionWatches *watches, Function *function);
void function_watches_remove(FunctionWatches *watches, PciKey key);
