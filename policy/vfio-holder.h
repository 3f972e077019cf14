/* vfio-holder.h: the VFIO descriptors of a process, and which functions it uses by them.
 *
 * Pure. There are three kinds of descriptors: the device node of a group (/dev/vfio/N), the node of
 * a device (/dev/vfio/devices/vfioN), and the device from a group. The last has no device node, and
 * before Linux 7 it does not show its function. A process can partly choose the text of a link in
 * /proc/PID/fd, and opening with O_PATH is no opening. So a device node counts by its device number
 * and its flags. */
#pragma once

#include "policy/address.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum VfioLink {
        VFIO_LINK_OTHER,
        VFIO_LINK_NODE,   /* may be a VFIO device node: look at its device number */
        VFIO_LINK_DEVICE, /* a device that was opened through its group */
        VFIO_LINK_SOCKET, /* descriptors may wait in it */
} VfioLink;

/* The target of a link in /proc/PID/fd. */
VfioLink vfio_link_parse(const char *link);

typedef struct VfioFdinfo {
        bool path_only;    /* opened with O_PATH: holds nothing */
        bool has_function; /* the kernel says which function it is ... */
        PciKey function;   /* ... this */
        bool has_pending;  /* a socket in which descriptors wait to be received */
} VfioFdinfo;

/* Reads the text of /proc/PID/fdinfo/N, of which the end may be missing. */
VfioFdinfo vfio_fdinfo_parse(const char *text);

typedef struct VfioNode {
        int32_t group;   /* -1: the node of a device ... */
        PciKey function; /* ... this one */
} VfioNode;

/* Reads where /sys/dev/char/MAJOR:MINOR points to. Returns 0, or -EINVAL for what is no node of a
 * group or of a PCI device of VFIO (the container, for one), with `*ret` untouched. */
int vfio_node_parse(const char *link, VfioNode *ret);

typedef struct VfioHolder {
        GArray *groups;     /* of int32_t: whose nodes it has open */
        GArray *functions;  /* of PciKey: that its descriptors name */
        unsigned n_unnamed; /* device descriptors that name none */
        GArray *from;       /* of int32_t: groups that such a descriptor may come from, as it, or a
                             * process that       shares it, was seen to hold them */
} VfioHolder;

void vfio_holder_init(VfioHolder *holder);
void vfio_holder_clear(VfioHolder *holder);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VfioHolder, vfio_holder_clear)

/* Whether it holds anything at all. */
bool vfio_holder_holds(const VfioHolder *holder);

void vfio_groups_add(GArray *groups, int32_t group);
void vfio_functions_add(GArray *functions, PciKey function);
bool vfio_functions_contain(const GArray *functions, PciKey function);
bool vfio_groups_contain(const GArray *groups, int32_t group);

typedef struct VfioFunction {
        PciKey key;
        int32_t group;
        bool open;    /* the kernel has the device enabled for a user */
        bool unbound; /* its driver has gone: a group without the device holds nothing of it, and
                         nothing waits for that group (vfio_unregister_group_dev()) */
} VfioFunction;

#define VFIO_NO_HOLDER UINT_MAX

/* Of so many processes that hold a device which nothing tells the function of, each open function
 * may be used: that it is used one of them tells. */
#define VFIO_GUESSES_MAX 64

typedef struct VfioUse {
        guint function; /* index */
        guint holder;   /* index, or VFIO_NO_HOLDER */
} VfioUse;

/* The users of `functions` (all that are bound to a VFIO driver):
 *  - a function that a descriptor names is used by its holder;
 *  - who has a group open uses those of its functions that are open, and all of them while none is:
 * it is about to open them;
 *  - a device descriptor that names no function, in a process without a group, stands for the open
 * functions of the groups it may come from; if there are none, for the open functions that nobody
 * else uses; if there are none either, for all open functions: an answer that is too long does no
 * harm;
 *  - an open function without user is used by VFIO_NO_HOLDER.
 * Returns VfioUse by function, then holder; free with g_array_unref(). */
GArray *vfio_attribute(const VfioFunction *functions, guint n_functions,
                       const VfioHolder *const *holders, guint n_holders);
