/* override-reader.h: reads `driver_override` of functions, in a process of its own.
 *
 * Reading that file takes the device's lock (driver_override_show() in drivers/pci/pci-sysfs.c),
 * and an unbind of a function that a guest uses keeps the lock until the guest releases it. A
 * reader then sleeps, and not even SIGKILL wakes it. The other files that the daemon reads take no
 * lock.
 *
 * Owns the process, which answers one question after the other, and the questions. When an answer
 * is late, the process is killed and abandoned, another one answers the rest, and the caller learns
 * that the value is not available now. Always holds: one process at most hangs at a function, and
 * eight in all; a function that was asked for meanwhile is read again when its process has
 * ended. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct OverrideReader OverrideReader;

typedef struct OverrideAnswer {
        int error;      /* 0; -ENOENT: there is no such function; -ETIMEDOUT: its lock is held; or
                         * another negative errno: it cannot be read at present */
        uint64_t inode; /* of the function's directory, with 0 */
        const char *value; /* with 0: valid UTF-8, "" for none; borrowed */
} OverrideAnswer;

typedef void OverrideHandler(void *context, PciKey key, const OverrideAnswer *answer);

/* Returns 0 or a negative errno. */
int override_reader_new(sd_event *event, OverrideHandler *handler, void *context,
                        OverrideReader **ret);
OverrideReader *override_reader_free(OverrideReader *reader);

/* Asks for the value; `handler` is called later, once for each function that was asked for, however
 * often. */
void override_reader_ask(OverrideReader *reader, PciKey key);

/* Whether all that was asked for is answered. */
bool override_reader_is_idle(const OverrideReader *reader);

/* Waits until all that was asked for is answered or given up. For the start, when nobody is served
 * yet. */
void override_reader_finish(OverrideReader *reader);
