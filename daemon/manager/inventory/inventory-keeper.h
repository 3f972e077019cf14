/* inventory-keeper.h: from events to the inventory.
 *
 * Owns what is to be read, and the readers: uevents and inotify say that something has happened to
 * a function, never what; the function is then read anew, VFs before their PF. Always holds: the
 * parts hear of a new function after it is in the inventory with all that could be read, and of its
 * end before it leaves. A function that is new is read when its driver_override
 * has been asked for, which no other reading waits for. */
#pragma once

#include "daemon/manager/apply.h"

typedef struct InventoryKeeper InventoryKeeper;

/* Everything is borrowed; listens from now on, so that nothing falls between that and the first
 * look. `receive_buffer` is of uevents_new(). Returns 0 or a negative errno. */
int inventory_keeper_new(Apply *apply, Parts *parts, Publisher *publisher, const Settings *settings,
                         int receive_buffer, InventoryKeeper **ret);
InventoryKeeper *inventory_keeper_free(InventoryKeeper *keeper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(InventoryKeeper, inventory_keeper_free)

/* Reads every function for the first time; waits for their driver_override. */
void inventory_keeper_start(InventoryKeeper *keeper);

/* The function is to be read, in the loop's next turn; or all are, because events were lost. */
void inventory_keeper_mark_stale(InventoryKeeper *keeper, PciKey key);
void inventory_keeper_mark_all_stale(InventoryKeeper *keeper);

/* Reads what is to be read, now. */
void inventory_keeper_read(InventoryKeeper *keeper);

/* Events that are held, see storm.h, are handled in the loop's next turn. */
void inventory_keeper_hurry(InventoryKeeper *keeper);
/* Whether there are such events. */
bool inventory_keeper_holds_events(const InventoryKeeper *keeper);

/* Whether every function that exists has been read. */
bool inventory_keeper_knows_all(const InventoryKeeper *keeper);
