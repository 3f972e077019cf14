/* external-removals.h: removals that another program began, from their first sign to their end.
 *
 * Owns what is known of those in progress, and the `outside` of every function that goes with one.
 * A function with a user that has lost its driver is looked at, once it and its PF were read again:
 * policy/external-removal.h judges who removes it and how far that goes. A removal of a slot's
 * device by the kernel itself is assumed only when no writer is found twice in a row, because more
 * users are notified of it than of an unbind. */
#pragma once

#include "policy/inventory.h"
#include "policy/violation.h"

#include <systemd/sd-event.h>

typedef struct ExternalRemovals ExternalRemovals;

typedef struct ExternalRemovalsHandler {
        /* The users of these functions are to be looked at now; external_removals_refreshed() is to
         * be called then, perhaps before this returns. */
        void (*refresh)(void *context, const PciKey *keys, unsigned n_keys);
        /* The function is being taken away by somebody else: its users are to be notified.
         * `with_vfs`: those of its VFs as well, unless they were. It may be called again. */
        void (*begun)(void *context, Function *function);
        /* Whether it is known exactly who takes the function away; then `*ret` is who. */
        bool (*find_remover)(void *context, PciKey key, ViolationAuthor *ret);
        /* Whether the process is a worker of the daemon. */
        bool (*is_own)(void *context, uint32_t pid);
        /* Function.outside is another. */
        void (*changed)(void *context, Function *function);
        /* One has ended: no function is shown as a part of it any more. Some may have gone. */
        void (*ended)(void *context);
} ExternalRemovalsHandler;

int external_removals_new(sd_event *event, const Inventory *inventory,
                          const ExternalRemovalsHandler *handler, void *context,
                          ExternalRemovals **ret);
ExternalRemovals *external_removals_free(ExternalRemovals *external_removals);

/* The function was read again, or its users changed. Cheap; no callback is made before the loop's
 * next turn. */
void external_removals_function_changed(ExternalRemovals *external_removals,
                                        const Function *function);

/* A function has gone. */
void external_removals_function_gone(ExternalRemovals *external_removals);

/* The answer to `refresh` is known, or could not be found out. */
void external_removals_refreshed(ExternalRemovals *external_removals);
