/* outsiders.h: removals that somebody else began, from their first sign to their end.
 *
 * Owns what is known of those under way, and the `outside` of every function that goes with one. A function that is held
 * and has lost its driver is looked at, once the picture is fresh: policy/outside.h judges by whom and how
 * far. That the kernel itself takes a slot's device is believed only when no writer is found twice in a row: more
 * holders are told for it than for an unbind. Called by the manager. */
#pragma once

#include "policy/inventory.h"

#include <systemd/sd-event.h>

typedef struct Outsiders Outsiders;

typedef struct OutsidersHandler {
        /* Who uses these functions is to be looked at now; outsiders_refreshed() is to be called
         * then, perhaps before this returns. */
        void (*refresh)(void *context, const PciKey *keys, unsigned n_keys);
        /* The function is being taken away by somebody else: its holders are to be told. `with_vfs`: those of its VFs
         * as well, unless they were. It may be told again. */
        void (*begun)(void *context, Function *function);
        /* Function.outside is another. */
        void (*changed)(void *context, Function *function);
} OutsidersHandler;

int outsiders_new(sd_event *event, const Inventory *inventory, const OutsidersHandler *handler,
                  void *context, Outsiders **ret);
Outsiders *outsiders_free(Outsiders *outsiders);

/* The function was read again, or its users changed. Cheap; nothing is told before the loop's next turn. */
void outsiders_function_changed(Outsiders *outsiders, const Function *function);

/* A function has gone. */
void outsiders_function_gone(Outsiders *outsiders);

/* What was asked for by `refresh` has been told, or could not be found out. */
void outsiders_refreshed(Outsiders *outsiders);
