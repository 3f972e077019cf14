/* network-elsewhere.h: interfaces of PCI functions in other network namespaces than the host's.
 *
 * Owns nothing but its findings. Always holds: that an interface is elsewhere is seen in the host's
 * sysfs, which no tenant can change: the directory `net` of a function stays, and shows only what
 * is in the namespace of the one who looks (kobj_ns_ops of class_dir_child_ns_type()). To find out
 * where, namespaces are entered one after the other, for LOOK_USEC at most; one that is not found
 * is a namespace without a name. The process has to be able to enter a namespace and to come back.
 */
#pragma once

#include "daemon/uses/network-links.h"

/* One that is elsewhere, or another interface there that is on top of one of the host's: a VLAN, or
 * a container's macvlan. */
typedef struct NetworkElsewhere {
        PciKey key;                  /* without `lower` */
        int32_t lower;               /* the number of the host's interface below it, 0: none */
        char name[NETWORK_NAME_MAX]; /* of the interface, "" where it is not known */
        char where[64];              /* the name of the namespace, or the process in it; "" */
        uint32_t pid;                /* of a process in it, 0: none is known */
} NetworkElsewhere;

/* Adds those (of NetworkElsewhere) that the host's sysfs shows to be missing, without a name.
 * Returns 0 or a negative errno. */
int network_elsewhere_missing(GArray *missing);

/* Adds the functions (PciKey) whose RDMA device the host's sysfs shows to be in another network
 * namespace, as for interfaces (ib_class in drivers/infiniband/core/device.c has ns_type). Returns
 * 0 or a negative errno. */
int network_elsewhere_rdma(GArray *keys);

/* Finds out where those in `found` are, and adds others. `host` is the host's network namespace, in
 * which the process is. Returns 0; 1 if there are more namespaces than could be looked at; or a
 * negative errno. */
int network_elsewhere_locate(const char *proc, int host, NetworkFind *find, GArray *found);
