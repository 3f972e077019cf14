/* child.h: processes that do for the daemon what may hang in the kernel.
 *
 * Owns their start: a child inherits nothing of the daemon but what it needs. A child that hangs
 * cannot even be killed; if it kept the daemon's connection to the bus, the daemon's name would be
 * taken until it ends. No program is executed: the daemon has one thread, so its copy can go on in
 * C. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

/* Forks. In the parent returns the pid, or a negative errno. In the child returns 0, with all
 * descriptors closed but the `n_keep` in `keep` (negative ones are passed over), the standard ones
 * leading nowhere, no signal blocked, and `name` (15 characters at the most) shown as the
 * process's. The child leaves by _exit(). */
pid_t child_fork(const char *name, const int *keep, unsigned n_keep);

/* Nobody waits for the child any more: it is reaped whenever it ends, however late. It must have no
 * other source in `event`. */
void child_forget(sd_event *event, pid_t pid);
