/* leases.h: the VFIO descriptors that were opened for clients, and their users.
 *
 * Owns the leases. One begins when a client has been allowed a function, so that of two clients at
 * a time one gets it; the descriptor is opened in a process of its own; the daemon passes it on and
 * keeps no copy, or the function would never be free. With it goes a delivery pipe: the writing end
 * of a pipe, of which nobody needs to know. As long as it is open the answer was not read, and the
 * descriptor is in a socket, where no process has it; when it is closed, the client has the
 * descriptor, or it went with the answer. From then on its holders are found as any others are
 * (users.h), and marked; while none is found, all processes are looked at now and then: it was not
 * closed, so somebody has it. When a lease is over, policy/lease.h says. Leases outlive the daemon:
 * systemd keeps the reading ends of delivery pipes, the run-time state says whose they are. What
 * was closed meanwhile is found out by looking. Whether somebody may have one is for the caller to
 * see to. */
#pragma once

#include "daemon/base/children.h"
#include "daemon/base/config.h"
#include "daemon/base/fd-store.h"
#include "daemon/usage/users.h"
#include "policy/inventory.h"

typedef struct Leases Leases;

typedef struct LeasesHandler {
        /* Function.lease, or what it says, is another; so are the function's users. */
        void (*changed)(void *context, PciKey key);
} LeasesHandler;

typedef struct LeaseRequest {
        uint32_t uid, pid; /* of the client */
        LeaseKind kind;    /* wanted; _LEASE_KIND_INVALID: the best there is */
} LeaseRequest;

/* What a client gets; the callee may duplicate the descriptors, and keeps none of them. */
typedef struct LeaseFds {
        int node;
        int iommufd; /* with LEASE_KIND_DEVICE; else -1 */
        int delivery_pipe;
} LeaseFds;

/* How it ended: 0 with descriptors and lease; or a negative errno with `message`: -EBUSY when the
 * kernel says that somebody else has it open; -ENODEV when the function has gone meanwhile;
 * -ECONNREFUSED when it is being taken away; -ETIMEDOUT; -EIO; or the error of leases_fail(). */
typedef void LeaseOpened(void *context, int result, const char *message, const LeaseFds *fds,
                         const Lease *lease);

/* `users` and `store` must outlive it. */
Leases *leases_new(sd_event *event, Children *children, Inventory *inventory, Users *users,
                   FdStore *store, const LeasesHandler *handler, void *context);
Leases *leases_free(Leases *leases);

/* Begins one: from now on the function is the client's. Returns 0 when `done` will be called, once,
 * after leases_go() or leases_fail(), or before if it takes too long; -EDQUOT when the user, or
 * all, have too many; -EOPNOTSUPP when VFIO has no node of that kind for the function; or another
 * negative errno. */
int leases_begin(Leases *leases, Function *function, const Config *config,
                 const LeaseRequest *request, LeaseOpened *done, void *context,
                 uint64_t *ret_generation);

/* Opens the descriptor of one that was begun, or ends it. Do nothing about one that has ended. */
void leases_go(Leases *leases, uint64_t generation);
void leases_fail(Leases *leases, uint64_t generation, int result, const char *message);

/* The daemon ends: tells all who wait. */
void leases_end_calls(Leases *leases, const char *why);

/* What `users` tells (UsersHandler). */
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
