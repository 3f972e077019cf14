/* vfio-device.h: one PCI function that VFIO has, as sysfs shows it.
 *
 * Owns a descriptor of the function's `enable`, so that looking at it is one read. `enable` is the
 * count of pci_enable_device(), which VFIO's drivers call when a device is opened and undo at its
 * last close (vfio_pci_core_enable()); reading it takes no lock. Writing it while a driver is bound
 * fails, but a count that was left behind before stays under VFIO, too. Such a device is known by
 * its being runtime-suspended although enabled: VFIO suspends what nobody has open (all seen on
 * 6.12). */
#pragma once

#include "policy/function.h"
#include "policy/vfio-holder.h"
#include "policy/vfio-use.h"

#include <sys/types.h>

/* What must outlive the daemon, because no search finds it again. */
typedef struct VfioRecorded {
        bool any;
        bool in_process;
        dev_t node;
        uint32_t own, group; /* how often the nodes are open */
        VfioHad had;
} VfioRecorded;

typedef struct VfioDevice {
        VfioFunction vfio;
        bool bound;      /* VFIO has it; else it is kept for who still has it open */
        bool adopted;    /* an earlier daemon knew it, while its driver was being unbound */
        bool is_old;     /* VFIO had it before the daemon could see who opened it */
        dev_t node;      /* its own, 0 none ... */
        char *node_name; /* ... and that one's name, "vfio3"; both stay while the driver is being
                            unbound, which removes the entry in sysfs at once */
        VfioFinding finding; /* of the last look */
        GPtrArray *users;    /* of User*, as reported; NULL */
        VfioHad had;         /* since it was free */
        uint64_t lost_usec;  /* CLOCK_MONOTONIC since when it has been open without a process, 0: is
                                not */
        bool released;       /* another driver has it: nobody has it open through VFIO */
        bool told_unknown;   /* nobody was looked for yet, and that was reported */
        VfioRecorded recorded; /* what users_record() is to write of it, as last told */
        uint64_t needs_walk;   /* the number of the walk that finds its users, 0: no question */
        bool unreadable;       /* `enable` could not be read the last time */
        int enable_fd;         /* -1 while it could not be opened */
        uint64_t count, left_behind; /* of `enable`, as last read; of that, what is nobody's */
} VfioDevice;

/* Whether VFIO has the function, or had it and waits for its users: 1, 0, or a negative errno when
 * that is unknown at present. Its node, if it has one, is written to `ret_node` with 1, and the
 * name, which is the caller's, to `ret_name`. */
int vfio_device_read_bound(const Function *function, dev_t *ret_node, char **ret_name);

VfioDevice *vfio_device_new(PciKey key);
VfioDevice *vfio_device_free(VfioDevice *device);

/* Another driver has the function: from now on nobody has it open through VFIO. */
void vfio_device_mark_released(VfioDevice *device);

/* Reads whether it is open. A value that cannot be read stays as it was; before the first reading
 * it counts as open. */
void vfio_device_look(VfioDevice *device);

/* Whether it is known that it is open: 0 or a negative errno. */
int vfio_device_check(VfioDevice *device);

/* Whether it is open at this moment, as far as `enable` tells. Cheap. */
bool vfio_device_is_open(VfioDevice *device);

/* Whether looking would find something new. Cheap. */
bool vfio_device_has_changed(VfioDevice *device);

/* Orders elements of a GPtrArray of VfioDevice* by address. */
int vfio_device_compare(gconstpointer a, gconstpointer b);
