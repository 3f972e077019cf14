/* lease-entry.h: one lease, from the request to its end.
 *
 * Owns the daemon's end of the delivery pipe, and what is pending for it. Always holds: an entry is
 * in the list of its Leases, which its end takes it from and frees it; it has told its caller by
 * then. */
#pragma once

#include "daemon/base/client-pipe.h"
#include "daemon/broker/broker-types.h"
#include "daemon/broker/vfio-open.h"
#include "daemon/usage/users.h"
#include "policy/inventory.h"

/* The name of its delivery pipe in systemd's store, before its generation. */
#define LEASE_PIPE_KIND "lease"

struct LeaseEntry {
        Leases *leases;
        Lease lease; /* strings owned; what the function points to */
        PciKey key;
        uint64_t inode, binding; /* of the function, and of its driver's link */
        int32_t group;
        char *node; /* below /dev/vfio */
        LeaseSigns signs;
        uint64_t needs_walk; /* that finds its users, as of users_look(); 0: any */
        bool adopted;        /* and not reported yet */
        VfioOpen *open;
        sd_event_source *timer;  /* until it is opened */
        LeaseOpened *opened;     /* NULL once told */
        sd_event_source *search; /* while no user of it is found ... */
        unsigned n_searches;     /* ... for so many times */
        void *context;
        ClientPipe *delivery_pipe; /* NULL: the answer was read */
};

struct Leases {
        sd_event *event;
        Spawner *spawner;
        Children *children;
        Inventory *inventory;
        Users *users;
        FdStore *store;
        const LeasesHandler *handler;
        void *context;
        GPtrArray *entries; /* of LeaseEntry*, owned */
        uint64_t next_generation;
};

void lease_entry_free(gpointer entry);

/* The function, if it is the same device still; else NULL. */
Function *lease_entry_function(const LeaseEntry *entry);

/* Tells that its function, and those of the group, may have other users. */
void lease_entry_tell_change(const LeaseEntry *entry);

/* Forgets it, and answers its caller, if one waits; frees it. */
void lease_entry_end(LeaseEntry *entry, int result, const char *message);

/* The client has read the answer, or it was thrown away: who has the descriptor now, if anybody, is
 * to be found. A ClientPipeClosed; the context is the entry. */
void lease_entry_delivery_pipe_closed(void *context);
