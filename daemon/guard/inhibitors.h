/* inhibitors.h: the inhibitors, each of which exists as long as its holder keeps a descriptor open.
 *
 * Owns the inhibitors and the reading ends of their pipes. The writing end is the client's; when
 * its last copy is closed, the inhibitor ends, on all functions that it was made for. systemd keeps
 * the reading ends as well (fd-store.h), so inhibitors survive the daemon; the run-time state says
 * what each is. An inhibitor names addresses: it stays while a device is absent, and applies to the
 * next device there. */
#pragma once

#include "daemon/base/fd-store.h"
#include "policy/inventory.h"
#include "policy/operation.h"

#include <systemd/sd-event.h>

typedef struct Inhibitors Inhibitors;

/* Called when an inhibitor on the functions at `keys` has gone, after it was taken from them. */
typedef void InhibitorsEnded(void *context, const PciKey *keys, size_t n_keys);

/* `store` must outlive it. */
Inhibitors *inhibitors_new(sd_event *event, Inventory *inventory, FdStore *store,
                           InhibitorsEnded *ended, void *context);
Inhibitors *inhibitors_free(Inhibitors *inhibitors);

/* Whether the user may have one on `more` functions. */
bool inhibitors_have_room(const Inhibitors *inhibitors, uint32_t uid, size_t more);

/* Adds one on the functions at `keys`, at least one and each once: on all or on none. Returns 0
 * with its number, and with the descriptor to hand out in `*ret_fd`, which the caller closes;
 * -EDQUOT when the user, or all, have too many; -EXFULL when systemd keeps no more descriptors; or
 * another negative errno. */
int inhibitors_add(Inhibitors *inhibitors, const PciKey *keys, size_t n_keys,
                   const Inhibitor *inhibitor, uint64_t *ret_number, int *ret_fd);

/* Undoes inhibitors_add(); without a signal. */
void inhibitors_remove(Inhibitors *inhibitors, uint64_t number);

/* The function is new: it gets what was asked for its address. */
void inhibitors_attach(Inhibitors *inhibitors, Function *function);

/* Adds what is to be remembered to `records` (of StateInhibitor, see records.h). */
void inhibitors_record(const Inhibitors *inhibitors, GArray *records);

/* Takes over those of `records` of which systemd gave the descriptors back; the others have ended
 * meanwhile. Called once, before any function is known. */
void inhibitors_adopt(Inhibitors *inhibitors, const GArray *records);

/* Calls `visit` for each function of each, in the order in which they were made. */
void inhibitors_foreach(const Inhibitors *inhibitors,
                        void (*visit)(void *context, PciKey key, const Inhibitor *inhibitor),
                        void *context);
