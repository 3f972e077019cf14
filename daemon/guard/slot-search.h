/* slot-search.h: which slot is to be switched off for a function that goes.
 *
 * Owns the functions whose slot could not be looked for, with the times at which that is repeated.
 * Always holds: while a function waits for that, the daemon's Problems say so. */
#pragma once

#include "daemon/base/problems.h"
#include "policy/inventory.h"

#include <systemd/sd-event.h>

typedef struct SlotSearch SlotSearch;

/* It is time to search again, by slot_search_find(), or to slot_search_drop(). */
typedef void SlotSearchDue(void *context, PciKey key);

/* `inventory` and `problems` outlive it. Returns 0 or a negative errno. */
int slot_search_new(sd_event *event, const Inventory *inventory, Problems *problems,
                    SlotSearchDue *due, void *context, SlotSearch **ret);
SlotSearch *slot_search_free(SlotSearch *search);

/* Whether it is known which slot to switch off: its power takes all that is in it. The path of its
 * `power` file is in `*ret`, to be freed with g_free(); NULL: there is no such slot, or others are
 * in it. Where it is not known, nothing may be removed: a device that is removed while its slot
 * stays on comes back with the next rescan. */
bool slot_search_find(SlotSearch *search, const Function *function, char **ret);

/* No slot of the function `key` is searched for any more. forget: and that is no problem of it. */
void slot_search_drop(SlotSearch *search, PciKey key);
void slot_search_forget(SlotSearch *search, PciKey key);
