/* sandbox.h: what vfwarden-io drops before it looks at a client's first byte.
 *
 * Owns nothing. The process is started as its final user, with the descriptors that it needs;
 * everything else is dropped here. Afterwards one list of system calls is allowed, without open,
 * socket, memory or process. So no bug in reading a client's messages leads anywhere, and memory
 * cannot grow. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* At the very beginning: no new privileges, no capabilities, no core dump, no locked memory unless
 * it `pins` for a device, not to be traced by others of the same user, /dev/null for standard
 * input, output and error, and no other descriptor than those given. Returns 0 or a negative
 * errno. */
int sandbox_enter(const int *fds, size_t n_fds, bool pins);

/* What is allowed besides what each of these processes needs. */
typedef struct SandboxNeeds {
        unsigned max_fds; /* descriptors */
        int device;       /* the VFIO device that may get its ioctls, -1: none */
        int container;    /* the type 1 container that may get its ioctls, -1: none */
        bool maps;        /* files of the client's are mapped for a moment */
        bool accepts;     /* the client connects */
        bool ring;        /* the client may set a ring up */
} SandboxNeeds;

/* Whether the list of system calls has the arguments of mmap(), too. */
bool sandbox_sees_maps(void);

/* When all is opened: no further process, and the list of system calls, for all threads; a call
 * that is not in it kills the process. Returns 0 or a negative errno. */
int sandbox_close(const SandboxNeeds *needs);
