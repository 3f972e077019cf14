/* vfio-use.h: when a function that VFIO has is in use, by all that can be seen of it.
 *
 * Pure. No event and no file shows every user: a process shows its descriptors, `enable` shows
 * that a device is open wherever its descriptor is, and the openings and closings of a device node
 * show a descriptor that is in no process. The table here separates "open", "closed" and "nobody",
 * for groups and for device nodes alike. Always holds: a function is reported to be free only when
 * its device is disabled, its nodes are closed, and a search that began after the last doubt found
 * no process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* --- openings of one node, as fanotify tells them */

/* The kernel merges events of one process on one node that were not read yet, so a count may be too
 * low or too high. It is corrected by what is certain. */
typedef struct VfioNodeCount {
        uint32_t openings;
        bool doubtful; /* a close may have gone unseen */
} VfioNodeCount;

/* A group is open once at a time: its close leaves nothing. A device's own node is open any number
 * of times. */
void vfio_node_count_opened(VfioNodeCount *count, bool is_group);
void vfio_node_count_closed(VfioNodeCount *count, bool is_group);

/* Events were lost, or no daemon ran, while a process had the node. A node that was open and in no
 * process is not doubtful: it stays open until its close is reported. */
void vfio_node_count_doubt(VfioNodeCount *count);

/* All processes were looked at: `in_process`, one of them has it. */
void vfio_node_count_looked(VfioNodeCount *count, bool in_process);

/* Whether a descriptor of it is somewhere. */
bool vfio_node_count_is_open(const VfioNodeCount *count);

/* --- what is reported */

typedef enum VfioFinding {
        VFIO_FOUND_NOBODY,    /* device disabled, nodes closed, no process */
        VFIO_FOUND_SOMEWHERE, /* no process, but the device is enabled, or a node was opened and not
                                 closed: a descriptor is in a socket, or a close has not ended */
        VFIO_FOUND_PROCESS,   /* a process has a descriptor */
        _VFIO_FOUND_MAX,
} VfioFinding;

typedef struct VfioUseSigns {
        VfioFinding finding;
        bool reported;     /* the function is reported to be in use */
        bool was_lost;     /* the finding was VFIO_FOUND_SOMEWHERE before */
        bool may_close;    /* ... but not for long: the kernel may be closing the device still */
        bool searched;     /* all processes were looked at since the last doubt */
        bool group_closed; /* the close of its group was reported, which is that of the last copy */
} VfioUseSigns;

typedef enum VfioUseStep {
        VFIO_USE_REPORT, /* the finding */
        VFIO_USE_KEEP,   /* what was reported; something else will tell */
        VFIO_USE_SEARCH, /* keep what was reported, and look at all processes */
        _VFIO_USE_MAX,
} VfioUseStep;

VfioUseStep vfio_use_step(const VfioUseSigns *signs);
