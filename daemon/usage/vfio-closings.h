/* vfio-closings.h: the device nodes that were closed, until all looks have seen it.
 *
 * Owns their names. A group is open once at a time (vfio_group_fops_open()), so no process has its
 * descriptor any more when the kernel reports the close. That must be known when the former user is
 * found without it. A look that was asked for before the close may still be answered later, and say
 * that a process has the node: another round of looks at the holders follows it. Looks are counted
 * by their tickets, rounds as in users-state.h. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VfioClosings VfioClosings;

VfioClosings *vfio_closings_new(void);
VfioClosings *vfio_closings_free(VfioClosings *closings);

/* The node was closed: `round` is the next round of looks, `ticket` the next look's. */
void vfio_closings_closed(VfioClosings *closings, const char *name, uint64_t round,
                          uint64_t ticket);

/* It was opened again, so somebody has it. */
void vfio_closings_opened(VfioClosings *closings, const char *name);

/* A process was found to have something, perhaps by a look before a close: only `round` tells.
 * Returns whether a node is there for which that matters. */
bool vfio_closings_found(VfioClosings *closings, uint64_t round);

/* A function of the group is in use still, by a device that the kernel may be closing: the close is
 * known until a round has ended that began later. */
void vfio_closings_keep(VfioClosings *closings, const char *name, uint64_t round);

/* Openings may have gone unseen: nothing is known to be closed. */
void vfio_closings_missed(VfioClosings *closings);

/* Forgets the nodes whose round has ended, with `ended` and all before it, and for which no look
 * of before is pending: `oldest` is the ticket of the oldest one that is, or the next one's. */
void vfio_closings_looked(VfioClosings *closings, uint64_t ended, uint64_t oldest);

/* Whether a node is remembered. */
bool vfio_closings_any(const VfioClosings *closings);

/* Whether the node is closed, and its former users may not have been looked at since. */
bool vfio_closings_has(const VfioClosings *closings, const char *name);
