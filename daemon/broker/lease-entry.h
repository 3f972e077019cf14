/* lease-entry.h: one lease, shared by leases.c and lease-opening.c.
 *
 * lease-opening.c has it from the request to the reply, leases.c from the reply until the last copy
 * is closed, and over a restart. */
#pragma once

#include "daemon/base/client-pipe.h"
#include "daemon/broker/leases.h"
#include "daemon/broker/vfio-open.h"

/* The name of its delivery pipe in systemd's store, before its generation. */
#define LEASE_PIPE_KIND "lease"

typedef struct LeaseEntry {
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
} LeaseEntry;

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

/* NULL when there is none. */
LeaseEntry *leases_find(const Leases *leases, PciKey key);
LeaseEntry *leases_find_generation(const Leases *leases, uint64_t generation);

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
