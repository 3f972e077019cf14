/* warden.h: vfwardend, as far as the agent needs it.
 *
 * Owns the agent's connection to the bus and its name there, by which the guards of domains know
 * that guests are asked. Calls are asynchronous; the connection is made again when it is lost. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

#define WARDEN_AGENT_NAME "org.vfwarden1.Libvirt"

typedef struct Warden Warden;

typedef struct WardenHandler {
        /* UnplugRequested; `deadline_usec` is CLOCK_REALTIME, 0: an external removal. `missed`:
         * the signal came before, perhaps to an earlier agent; see warden_find_request(). */
        void (*requested)(void *context, PciAddress function, uint64_t deadline_usec, bool missed);
        /* The unplug of a function has ended, of whichever. */
        void (*ended)(void *context);
        /* The answer to warden_find_request(): nobody is asked to release the function. */
        void (*not_requested)(void *context, PciAddress function);
        /* vfwardend has started anew, and no unplug of any function is pending. */
        void (*restarted)(void *context);
} WardenHandler;

/* Connects. Returns 0 or a negative errno. */
int warden_new(sd_event *event, const WardenHandler *handler, void *context, Warden **ret);
Warden *warden_free(Warden *warden);

/* Takes the agent's name on the bus while guests can be asked, or gives it up. */
void warden_announce(Warden *warden, bool can_ask);

/* Called once, with the descriptor of the inhibitor, or -1: it was refused, as the log says. The
 * descriptor is the callee's. */
typedef void WardenDelayed(void *context, int fd);

/* Delays an unplug of the function. Returns 0 when `done` will be called, or a negative errno. */
int warden_delay(Warden *warden, PciAddress function, const char *why, WardenDelayed *done,
                 void *context);

/* Finds out whether the users of the function are asked to release it: `requested` or
 * `not_requested` is called. */
void warden_find_request(Warden *warden, PciAddress function);

/* Called once, with the processes that use the function; they stay the caller's. */
typedef void WardenUsers(void *context, PciAddress function, const uint32_t *pids, size_t n_pids);

/* Finds the users of the function. If that fails, the log says so, and `done` is not called. */
void warden_find_users(Warden *warden, PciAddress function, WardenUsers *done, void *context);

/* Ends the pending unplug, since the function will not be released. `delay` is the descriptor of
 * the inhibitor that delays it, or -1; it is taken over, and closed when that has ended. */
void warden_refuse(Warden *warden, PciAddress function, const char *why, int delay);
