/* lease.h: a VFIO descriptor that was opened for a client: what kind it is, and until when the
 * client has it.
 *
 * Plain records and rules over them; the daemon owns the leases, a Function points to its own. No
 * event reports where the copies of a descriptor are, nor the close of the last one. The end of a
 * lease follows from four signs (LeaseSigns), none of which is available at all times. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum LeaseKind {
        LEASE_KIND_GROUP,  /* /dev/vfio/N: open once at a time */
        LEASE_KIND_DEVICE, /* /dev/vfio/devices/vfioN: any number of times, used through one at a
                              time */
        _LEASE_KIND_MAX,
        _LEASE_KIND_INVALID = -EINVAL,
} LeaseKind;

/* "group", "device". From a word: -EINVAL if there is none such. */
const char *lease_kind_to_string(LeaseKind kind);
LeaseKind lease_kind_from_string(const char *word);

typedef struct Lease {
        uint64_t generation; /* counts up as long as the machine runs, never used again */
        LeaseKind kind;
        uint32_t pid, uid;   /* of the client, when it asked */
        char *command;       /* UTF-8, "" unknown */
        char *unit;          /* "" none */
        uint64_t since_usec; /* CLOCK_REALTIME */
        bool arrived; /* the client has read the answer, or nobody will; and all processes were
                         looked at since */
} Lease;

/* The VFIO device nodes of a function, as far as they can be seen. */
typedef struct LeaseNodes {
        bool group;   /* /dev/vfio/N */
        bool device;  /* /dev/vfio/devices/vfioN ... */
        bool iommufd; /* ... and /dev/iommu, without which nobody can use it */
} LeaseNodes;

/* Which kind a client gets who wants `wanted`, or any (_LEASE_KIND_INVALID): the device's own node
 * where it can be used, else the group. Returns a LeaseKind, or -EOPNOTSUPP when there is no such
 * node. */
LeaseKind lease_choose_kind(const LeaseNodes *nodes, LeaseKind wanted);

/* What a look at all processes says of a function. */
typedef enum LeaseHeld {
        LEASE_HELD_BY_NOBODY,
        LEASE_HELD_SOMEWHERE, /* it is open, and no process has it: a descriptor is in a socket, or
                                 the kernel is still closing it, which resets the device */
        LEASE_HELD_BY_PROCESS,
} LeaseHeld;

typedef struct LeaseSigns {
        bool opened;    /* the descriptor was made */
        bool in_flight; /* the answer was not read: the descriptor may be in a socket, where no
                           process has it */
        bool closed;    /* the node was closed by its last holder since */
        bool missed;    /* such a closing may have gone unseen */
        bool enabled;   /* a device of the group is open at this moment */
        bool looked;    /* all processes have been looked at just now, and ... */
        LeaseHeld held; /* ... this is the holder */
} LeaseSigns;

typedef enum LeaseStep {
        LEASE_STEP_WAIT,    /* for another sign */
        LEASE_STEP_CONFIRM, /* a process has it: no earlier close was its own */
        LEASE_STEP_SEARCH,  /* somebody has it: look at all processes again, later */
        LEASE_STEP_END,     /* the last copy of the descriptor is gone */
        _LEASE_STEP_MAX,
} LeaseStep;

/* What the signs mean. A group is open once at a time, so its close is the end, unless a device is
 * open: under an iommufd a device keeps no reference to the group's file, as it does under a
 * container (vfio_group_use_container()). Another process may have closed a device's node, and a
 * close may have been missed: then the lease ends when the descriptor is neither in flight nor
 * found, and nothing is open any more. */
LeaseStep lease_step(LeaseKind kind, const LeaseSigns *signs);
