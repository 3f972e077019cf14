/* sandbox.h: what vfwarden-io drops before it looks at a client's first byte.
 *
 * Owns nothing. The process is started as its final user, with the descriptors that it needs;
 * everything else is dropped here. Afterwards one list of system calls is allowed, without open,
 * socket, memory or process. So no bug in reading a client's messages leads anywhere, and memory
 * cannot grow. */
#pragma once

#include <stddef.h>

/* At the very beginning: no new privileges, no capabilities, no core dump, not to be traced by
 * others of the same user, /dev/null for standard input, output and error, and no other descriptor
 * than those given. Returns 0 or a negative errno. */
int sandbox_enter(const int *fds, size_t n_fds);

/* When all is opened: at most `max_fds` descriptors, no further process, and the list of system
 * calls, for all threads; a call that is not in it kills the process. `device` is the VFIO device
 * that may get its ioctls, -1 for none. Returns 0 or a negative errno. */
int sandbox_close(unsigned max_fds, int device);
