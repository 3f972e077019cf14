/* watch.h: what `vfwarden monitor` knows and how each signal changes it.
 *
 * Owns the inventory that new values are compared with. What always holds: a signal is reported,
 * with the old value where it is known, even if the inventory has the new one already (the daemon
 * may have changed its answer before it sent the signal); only after the daemon was away, when the
 * inventory is old, what did not change is not reported. It reads messages and prints events; the
 * bus connection is monitor.c's. */
#pragma once

#include "cli/context.h"
#include "cli/inventory.h"

#include <systemd/sd-bus.h>

typedef struct Watch {
        Context *context;
        Inventory *inventory; /* NULL until the first was loaded */
        bool stale;           /* the daemon was away since */
} Watch;

void watch_init(Watch *watch, Context *context);
void watch_done(Watch *watch);

/* Prints the event and takes the change over. The messages are the signals of these names; anything
 * that is not the contract's is passed over. Return 0, or a negative errno for a message that is
 * not understood. */
int watch_interfaces_added(Watch *watch, sd_bus_message *message);
int watch_interfaces_removed(Watch *watch, sd_bus_message *message);
int watch_properties_changed(Watch *watch, sd_bus_message *message);
int watch_violation(Watch *watch, sd_bus_message *message);
int watch_unplug_requested(Watch *watch, sd_bus_message *message);
int watch_device_failed(Watch *watch, sd_bus_message *message);

/* The daemon went: what it told is history until it is back. */
void watch_daemon_gone(Watch *watch);

/* Takes `inventory` over. If the daemon was away, prints how it differs from what was known. */
void watch_loaded(Watch *watch, Inventory *inventory);
