/* vfio-use.h: when a function that VFIO has is in use, by all that can be seen of it.
 *
 * Pure. No event and no file shows every user: a process shows its descriptors, `enable` shows
 * that a device is open wherever its descriptor is, and the openings and closings of a device node
 * show a descriptor that is in no process. The table here separates "open", "closed" and "nobody",
 * for groups and for device nodes alike. Always holds: a function is reported to be free only when
 * its device is disabled, its nodes are closed, and a search that began after the last doubt found
 * no process. What may be open unseen counts as open as long as a descriptor waits in a socket
 * where it may be. A user without privilege can pass it to anybody. So the sockets of users hold
 * only what users may have: functions that were in use by one of them, and nodes that they may
 * open. A process that cannot be looked at counts like such a socket. While there is one no search
 * is complete, and what was not reported to be in use becomes so only by evidence: the kernel's
 * `enable`, an opening that was seen, or a record of one that may be there still. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* --- who had the function, as far as was seen; zeroed: nobody was */

typedef struct VfioHad {
        bool root, others;
} VfioHad;

/* `uid` UINT32_MAX: it is not known. */
void vfio_had_note(VfioHad *had, uint32_t uid);

/* Whether a descriptor of theirs may wait in a socket of a process of that user. What root alone
 * had is in no socket of others. */
bool vfio_had_waits_with(const VfioHad *had, uint32_t uid);

/* --- openings of one node, as fanotify tells them */

#define VFIO_OPENERS_MAX 4

/* The users who were seen to open a node. */
typedef struct VfioOpeners {
        uint32_t uids[VFIO_OPENERS_MAX];
        uint8_t n;
        bool more; /* and others, or somebody whose uid was not seen */
} VfioOpeners;

/* `uid` UINT32_MAX: it is not known. */
void vfio_openers_note(VfioOpeners *openers, uint32_t uid);

/* The kernel merges events of one process on one node that were not read yet, so a count may be too
 * low or too high. It is corrected by what is certain. */
typedef struct VfioNodeCount {
        uint32_t openings;
        bool merged;   /* a close was reported, which may have been that of several ... */
        bool doubtful; /* ... or may have gone unseen */
        bool hidden;  /* all seen openings were closed, one may have been merged with another ... */
        bool assumed; /* ... or an opening may have gone unseen, besides `openings` */
        VfioOpeners openers;
} VfioNodeCount;

/* In whose sockets descriptors wait: the kernel tells their number, and not of which files they are
 * (unix_show_fdinfo()). */
typedef struct VfioWaiting {
        bool of_anybody;
        bool of_users;   /* of the function: in one where a descriptor of theirs may be */
        bool of_seen;    /* in one of a user who was seen to open the node */
        bool of_openers; /* in one of somebody who may open the node */
} VfioWaiting;

/* `uid` opened it, UINT32_MAX: it is not known who. A group is open once at a time. */
void vfio_node_count_opened(VfioNodeCount *count, bool is_group, uint32_t uid);

/* `is_last`: no opening is left. That is certain of a group that was not opened again before the
 * close was read. A device's own node is open any number of times. */
void vfio_node_count_closed(VfioNodeCount *count, bool is_last);

/* Events were lost, or no daemon ran, while the node was open ... */
void vfio_node_count_doubt(VfioNodeCount *count);

/* ... or while it could be opened. */
void vfio_node_count_assume(VfioNodeCount *count);

/* All processes were looked at: `in_process`, one of them has it. A descriptor that none has waits
 * in a socket, or is closed. A doubt stays while a process has the function, perhaps by another
 * node. */
void vfio_node_count_looked(VfioNodeCount *count, bool in_process, VfioWaiting waiting);

/* Whether a descriptor of it is, or may be, somewhere. */
bool vfio_node_count_is_open(const VfioNodeCount *count);

/* Whether that is not certain. */
bool vfio_node_count_is_doubtful(const VfioNodeCount *count);

/* Whether what is known makes it open, and not only an opening that nobody saw. After a restart the
 * count is what the earlier daemon saw, and says that as long as it may be in one of the sockets.
 * That `waiting` may come from a search that did not see all processes, if it includes those. */
bool vfio_node_count_is_evident(const VfioNodeCount *count, VfioWaiting waiting);

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
        bool reported;   /* the function is reported to be in use ... */
        bool by_process; /* ... by a process, and not only because it is open */
        bool was_lost;   /* the finding was VFIO_FOUND_SOMEWHERE before */
        bool may_close;  /* ... but not for long: the kernel may be closing the device still */
        bool searched;   /* all processes were looked at since the last doubt */
        bool failed;  /* the last search did not see all processes, the next may not either ... */
        bool evident; /* ... and the device is enabled, or a node's count is evident */
        bool group_closed; /* the close of its group was reported, which is that of the last copy */
} VfioUseSigns;

typedef enum VfioUseStep {
        VFIO_USE_REPORT, /* the finding */
        VFIO_USE_KEEP,   /* what was reported; something else will tell */
        VFIO_USE_SEARCH, /* keep what was reported, and look at all processes */
        _VFIO_USE_MAX,
} VfioUseStep;

VfioUseStep vfio_use_step(const VfioUseSigns *signs);
