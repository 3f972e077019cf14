/* sandbox.h: what vfwarden-io gives away before it looks at a client's first byte.
 *
 * Owns nothing. It is started as the user it stays, with the descriptors that it needs; here goes
 * the rest. What it may do then is in one list of system calls, in which there is no open, no
 * socket, no memory, no process: so no bug in reading a client's messages leads anywhere, and
 * memory cannot grow. */
#pragma once

#include <stddef.h>

/* At the very beginning: no new privileges, no capabilities, no core dump, not to be traced by
 * others of the same user, /dev/null for standard input, output and error, and no other descriptor
 * than those given. Returns 0 or a negative errno. */
int sandbox_enter(const int *fds, size_t n_fds);

/* When all is opened: at most `max_fds` descriptors, no further process, and the list of system
 * calls, for all threads; a call that is not in it kills the process. Returns 0 or a negative
 * errno. */
int sandbox_close(unsigned max_fds);
