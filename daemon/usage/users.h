/* users.h: the processes that have PCI functions open through VFIO.
 *
 * Owns what was seen of the processes that hold anything of VFIO. The users of a function follow
 * from three things, none of which opens a device node or takes a lock:
 *  - descriptors in /proc/PID/fd: which process has which group or device open (vfio-fds.h);
 *  - the function's `enable` in sysfs: the count of pci_enable_device(), which VFIO's drivers call
 * when the device is opened and undo at its last close (vfio_pci_core_enable()). 1 while a device
 * is open, in whatever process or socket its descriptor is, 0 while only its group is (igb, nvme,
 * e1000e on 6.12). A count that somebody left behind before the driver was bound stays; then the
 * device is runtime-suspended while nobody has it open, and does not count as open;
 *  - opens and closes as fanotify tells them (vfio-watch.h), as the reason to look, and as the only
 * trace of a device node that is open in a socket and not bound to an iommufd (vfio-openings.h).
 * While no daemon ran, or events were lost, such a node may have been opened, or have got into a
 * socket, unseen. Then the sockets themselves are looked at: the kernel tells in which of them
 * descriptors wait, and not which (unix_show_fdinfo()). As long as there is such a socket the
 * function counts as in use, with the process that has it (User.socket_pid).
 * What follows from these is a table, policy/vfio-use.h.
 * An open is looked at in the process that opened. When that one neither has it nor closed it, or a
 * holder closes it or ends and the kernel reports no close, another process has it, by fork() or
 * SCM_RIGHTS. Then all processes are looked at; a storm of events is answered by one look. What was
 * held is not told to be free before that.
 *
 * Nothing of this waits. A process of the daemon, the scanner, reads /proc (scanner.h), because
 * other processes can delay that; what it has not reported yet counts as in use. Before the first
 * look at all processes has ended, every function that was bound to VFIO at the daemon's start has
 * an unknown user (User.unknown).
 *
 * A timer runs in these states only, and reads `enable` and whether known descriptors are still
 * there. That costs a microsecond for each function bound to VFIO; with so many that it would be
 * more than a fiftieth of the time, the 40 ms become longer, up to a second:
 *  - every 40 ms while an open device has no process, or a group of several functions is held:
 *    their devices are opened and closed by ioctl, which no event reports;
 *  - every 40 ms for half a minute after a function was bound to VFIO or a machine was registered:
 *    the opener may have a /dev of its own, which fanotify does not cover;
 *  - every second while any function is bound to VFIO, for the same, and for descriptors passed on.
 */
#pragma once

#include "daemon/usage/users-types.h"
#include "policy/inventory.h"
#include "policy/vfio-use.h"

#include <systemd/sd-event.h>

/* Returns 0, or a negative errno. `inventory` must outlive it. */
int users_new(sd_event *event, const Inventory *inventory, const UsersHandler *handler,
              void *context, Users **ret);
Users *users_free(Users *users);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Users, users_free)

/* The function is new, was bound or unbound, or is in another group. No callback is made from
 * within. Returns 0, or a negative errno when what VFIO does with it cannot be read at present: it
 * is as it was, or counts as in use, and the caller calls again later. */
int users_function_changed(Users *users, const Function *function);

/* The function is gone; no callback is made for it any more. */
void users_function_gone(Users *users, PciKey key);

/* What the daemon could not find again by looking. Adopted once all functions are known, before
 * users_start(). Records are of openings_section (vfio-openings.h). */
void users_record(const Users *users, GArray *records);
void users_adopt(Users *users, const GArray *records);

/* Looks at all processes for the first time, once all functions are known. Tells at once that
 * nobody is known yet. */
void users_start(Users *users);

/* Whether users_of() has the answer of a look that began after the last reason for one. */
bool users_are_known(Users *users, PciKey key);

/* The users of the function, as last reported (of User*, by pid), owned by the caller; NULL when
 * nobody has. */
GPtrArray *users_of(const Users *users, PciKey key);

/* Whether the function's device is open at this moment: not only its group. */
bool users_device_is_open(const Users *users, PciKey key);

/* What the last look found; the reported users may be older. */
VfioFinding users_finding(const Users *users, PciKey key);

/* Whether the device node `name`, as UsersHandler.closed passes it, is the function's own or its
 * group's. */
bool users_is_node_of(const Users *users, PciKey key, const char *name);

/* Looks at all processes soon: for a question where a process that got a descriptor by fork() or
 * SCM_RIGHTS from one that still has it should not be missing. Whether a function is in use is
 * right without. Returns the number of the walk that answers it: UsersHandler.looked() tells when
 * that, or a later one, is there. */
uint64_t users_look(Users *users);

/* Reports the device nodes that were closed up to now. */
void users_drain(Users *users);

/* Forgets the processes that have ended up to now, and tells what is new by that. Bounded, and
 * never waits. */
void users_drop_ended(Users *users);

/* Brings what is known of these functions' users up to date: before something is done to them.
 * Looks at their holders, at who opened their nodes, and at `enable`; at all processes only if that
 * leaves a question. `done` is called once, perhaps before this returns. */
void users_refresh(Users *users, const PciKey *keys, unsigned n_keys, UsersRefreshed *done,
                   void *context);

/* The daemon ends. */
void users_end_refreshes(Users *users);
