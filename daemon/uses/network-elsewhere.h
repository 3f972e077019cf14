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

/* One that is elsewhere. */
typedef struct NetworkElsewhere {
        PciKey key;
        char name[NETWORK_NAME_MAX]; /* of the interface, "" where it is not known */
        char where[64];              /* the name of the namespace, or the process in it; "" */
        uint32_t pid;                /* of a process in it, 0: none is known */
} NetworkElsewhere;

/* Adds those (of NetworkElsewhere) that the host's sysfs shows to be missing, without a name.
 * Returns 0 or a negative errno. */
int network_elsewhere_missing(GArray *missing);

/* Finds out where those in `found` are, and adds others. `host` is the host's network namespace, in
 * which the process is. All namespaces are looked at with `everywhere`; else it ends when all in
 * `found` are found. Returns 0 or a negative errno. */
int network_elsewhere_locate(const char *proc, int host, NetworkFind *find, bool everywhere,
                             GArray *found);
