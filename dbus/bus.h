/* bus.h: the daemon on the system bus.
 *
 * Owns the connection, the objects on it and the signals it sends. Objects are found in the
 * manager's inventory when they are asked for; none is kept here, so there is nothing to go stale.
 * Reading a property touches no file. Made by main().
 *
 * There is a second connection for questions to the bus and to polkit. On the first their answers
 * would stand behind all calls that wait to be read, so a flood of calls would make each new client
 * wait twice. */
#pragma once

#include "dbus/bus-parts.h"

/* Connects to the system bus and takes the name: before anything is touched, for two daemons with
 * two opinions on the same files would be worse than none. Calls that come now wait for
 * bus_serve(). Returns 0 or a negative errno, -EEXIST if there is another daemon; it has been
 * logged. */
int bus_new(Bus **ret);

/* Exports everything and becomes the observer of `manager`, which must outlive the Bus. Returns 0
 * or a negative errno; what was wrong has been logged. */
int bus_serve(Bus *bus, sd_event *event, Manager *manager);

Bus *bus_free(Bus *bus);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bus, bus_free)
