/* leases.h: the VFIO descriptors that were opened for clients, and their users.
 *
 * Owns the leases. A lease begins when a client has been allowed a function, so of two clients at a
 * time one gets it. A process of its own opens the descriptor. The daemon passes it on and keeps no
 * copy, or the function would never be free.
 *
 * With the descriptor goes the writing end of a pipe, the delivery pipe (client-pipe.h). While it
 * is open, the reply was not read, and the descriptor is in a socket and not in a process. When it
 * is closed, the client has the descriptor, or the descriptor went with the reply. From then on its
 * users are found like any others (users.h), and marked. While none is found, all processes are
 * looked at now and then: the descriptor was not closed, so some process has it. policy/lease.h
 * says when a lease is over.
 *
 * Leases survive the daemon: systemd keeps the reading ends of delivery pipes, and the run-time
 * state says whose they are. What was closed meanwhile is found by looking. The caller decides
 * whether a client may have a lease. */
#pragma once

#include "daemon/base/children.h"
#include "daemon/base/config.h"
#include "daemon/base/fd-store.h"
#include "daemon/broker/broker-types.h"
#include "daemon/broker/spawner.h"
#include "daemon/usage/users.h"
#include "policy/inventory.h"

/* `spawner`, `users` and `store` must outlive it. */
Leases *leases_new(sd_event *event, Spawner *spawner, Children *children, Inventory *inventory,
                   Users *users, FdStore *store, const LeasesHandler *handler, void *context);
Leases *leases_free(Leases *leases);

/* The results of `users` (UsersHandler). */
void leases_node_closed(Leases *leases, const char *name);
void leases_closes_missed(Leases *leases);
void leases_looked(Leases *leases, uint64_t walk);

/* The function is new: gets its lease, if it is still the same device; has been read again; has
 * gone. */
void leases_attach(Leases *leases, Function *function);
void leases_function_changed(Leases *leases, const Function *function);
void leases_function_gone(Leases *leases, PciKey key);

/* Makes `users` (of User*, owned, may be NULL) say who has what was opened for somebody, and who is
 * about to get it. Takes it over; returns what is to be used instead. */
GPtrArray *leases_users(const Leases *leases, const Function *function, GPtrArray *users);

/* `records` are of StateLease, see records.h. */
void leases_record(const Leases *leases, GArray *records);

/* Takes over those that an earlier run recorded. Before any function is known. */
void leases_adopt(Leases *leases, const GArray *records);

/* --- for those who open them */

/* NULL when there is none. */
LeaseEntry *leases_find(const Leases *leases, PciKey key);
LeaseEntry *leases_find_generation(const Leases *leases, uint64_t generation);
