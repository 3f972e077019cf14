/* uevents.h: the kernel's events about PCI functions.
 *
 * Owns the socket. It listens to the kernel's own broadcast, not to what udevd sends on after its
 * rules: the lock must not wait for a rule, and only sysfs is read, which is ready when the kernel
 * speaks. The kernel broadcasts to every network namespace of the initial user namespace
 * (uevent_net_broadcast_untagged()), so also to the unit's own.
 * Calls the manager, which made it. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Uevents Uevents;

/* Of the event source. */
#define UEVENTS_PRIORITY (SD_EVENT_PRIORITY_IMPORTANT + 10)

typedef struct UeventsHandler {
        /* Something happened to the function: it came, changed, or went. */
        void (*event)(void *context, PciKey key);
        /* The kernel says that the device has failed, or how its recovery ended:
         * "BEGIN_RECOVERY", "SUCCESSFUL_RECOVERY" or "FAILED_RECOVERY". `event` comes, too. */
        void (*failed)(void *context, PciKey key, const char *what);
        /* Events were lost: nothing that was known may be relied on. */
        void (*overrun)(void *context);
        /* All of the above that was there has been passed on. */
        void (*received)(void *context);
} UeventsHandler;

/* Listens from now on. `receive_buffer` is the socket's size in bytes, 0 for the system's own.
 * Returns 0 or a negative errno. */
int uevents_new(sd_event *event, const UeventsHandler *handler, void *context, int receive_buffer,
                Uevents **ret);
Uevents *uevents_free(Uevents *uevents);
