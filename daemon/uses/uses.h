/* uses.h: what the host does with functions, from all sources.
 *
 * Owns the sources' processes (use-helper.h) and what they tell together. Always holds: a source
 * that could not look makes the uses of all functions unknown, until it has looked. */
#pragma once

#include "daemon/base/problems.h"
#include "policy/inventory.h"

#include <systemd/sd-event.h>

typedef struct Uses Uses;

typedef struct UsesHandler {
        /* The uses of the function at `key`, or the names of its devices, are others. */
        void (*changed)(void *context, PciKey key);
        /* What is known of the uses of all functions is another; `text` as of
         * inventory_set_uses_known(). */
        void (*known)(void *context, UsesKnown known, const char *text);
} UsesHandler;

/* Begins to look. Returns 0 or a negative errno. `proc` is where procfs is, and outlives it. */
int uses_new(sd_event *event, Problems *problems, const char *proc, const UsesHandler *handler,
             void *context, Uses **ret);
Uses *uses_free(Uses *uses);

/* All uses of the function: of Use*, the caller's; NULL: none. */
GPtrArray *uses_of(const Uses *uses, PciKey key);

/* What the host calls the function's devices; the caller's. NULL: nothing. */
DeviceNames *uses_names_of(const Uses *uses, PciKey key);

/* 0: the sources have looked since they were asked, or said that they cannot. -ECANCELED: the
 * daemon ends. Called once, perhaps before uses_refresh() returns. */
typedef void UsesRefreshed(void *context, int result);

/* Looks at everything again; without `of_drivers` only at uses that need no driver of the host. It
 * takes a few seconds at most, and about a minute where the machine is too busy for that
 * (HELPER_LOOK_USEC). */
void uses_refresh(Uses *uses, bool of_drivers, UsesRefreshed *done, void *context);
void uses_end_refreshes(Uses *uses);
