/* vfio-openings.h: which device nodes are open, as fanotify reports it.
 *
 * Owns a count for each node that was opened. A descriptor that nobody has bound to an iommufd
 * leaves no other trace while it is in a socket: no process has it, and the device is disabled. The
 * kernel does not unbind the driver before its close (vfio_unregister_group_dev()). Counts may be
 * wrong where events were merged or lost; policy/vfio-use.h says how. */
#pragma once

#include "daemon/base/files/state-section.h"
#include "policy/vfio-use.h"

#include <glib.h>

typedef struct VfioOpenings VfioOpenings;

VfioOpenings *vfio_openings_new(void);
VfioOpenings *vfio_openings_free(VfioOpenings *openings);

/* `name` is "12" of a group, or "vfio3" of a device's own node. `uid`: who opened it, UINT32_MAX:
 * is not known. */
void vfio_openings_opened(VfioOpenings *openings, const char *name, uint32_t uid);

/* `again`: it may have been opened again since. */
void vfio_openings_closed(VfioOpenings *openings, const char *name, bool again);

/* VFIO has made a new node of that name; earlier reports are of another one. */
void vfio_openings_forget(VfioOpenings *openings, const char *name);

/* VFIO has a function of that node no more: the node is forgotten if it is there no more. */
void vfio_openings_forget_gone(VfioOpenings *openings, const char *name);

/* A close may have gone unseen, or with _assume() an opening. */
void vfio_openings_doubt(VfioOpenings *openings, const char *name);
void vfio_openings_assume(VfioOpenings *openings, const char *name);

/* What is known of that node; NULL: it is closed. Borrowed. */
const VfioNodeCount *vfio_openings_get(const VfioOpenings *openings, const char *name);

/* All processes were looked at; see vfio_node_count_looked(). */
void vfio_openings_looked(VfioOpenings *openings, const char *name, bool in_process,
                          VfioWaiting waiting);

/* Who besides root may open the node, by its mode. With an access control list, which may name
 * anybody, everybody may. */
typedef struct VfioNodeAccess {
        bool everybody;
        bool group; /* those of `gid`, and root */
        uint32_t gid;
        uint32_t uid; /* 0 nobody */
} VfioNodeAccess;

VfioNodeAccess vfio_openings_access(const char *name);

/* No node is open any more when the kernel says that nothing of VFIO is open at all. That takes
 * some system calls: once for all nodes is enough. */
void vfio_openings_update(VfioOpenings *openings);

/* Whether it is, or may be, open. And whether that is in doubt: of the node, or of any (NULL). */
bool vfio_openings_is_open(const VfioOpenings *openings, const char *name);
bool vfio_openings_is_doubtful(const VfioOpenings *openings, const char *name);

/* How often it is open by the reports; 1 if it may be by a hidden opening alone. */
uint32_t vfio_openings_of(const VfioOpenings *openings, const char *name);

/* What an earlier daemon counted: in doubt, since none ran meanwhile. */
void vfio_openings_adopt(VfioOpenings *openings, const char *name, uint32_t n);

/* --- state.json: a function whose driver is being unbound has no entry in sysfs for its device
 * node any more, and a node in a socket left no trace but its opening */

/* A function that is in use, with the nodes by which it can be. */
typedef struct StateOpening {
        PciKey key;
        uint64_t inode;
        uint64_t node;   /* device number of its own node, 0 none ... */
        char *name;      /* ... and the node's name, "vfio3"; "" none */
        uint32_t own;    /* how often that is open ... */
        uint32_t group;  /* ... and its group, as far as was seen */
        bool in_process; /* a process had the function; else it was in a socket */
        VfioHad had;
} StateOpening;

extern const StateSection openings_section;
