/* program-maps.h: BARs and devices of uio that processes have mapped, also where the file is closed
 * again; and threads with descriptors of their own.
 *
 * Owns the search in /proc/PID/maps. Reading that waits for the process's memory lock, which the
 * process can hold for as long as it likes, by a file system of its own (FUSE). A comparison of two
 * threads can wait likewise. So a process of its own reads, and is ended where it waits too long. A
 * user other than root has an allowance, so that nobody makes a look long by many mappings. Always
 * holds: a process of such a user that cannot be read hides only itself, or others of its user. */
#pragma once

#include "daemon/base/stuck-children.h"
#include "policy/use.h"

#include <glib.h>
#include <stdint.h>

typedef struct ProgramMapsHandler {
        void (*found)(void *context, uint32_t pid, PciKey key, UseKind kind, const char *name);
        /* The thread has descriptors of its own, see thread-tables.h. */
        void (*table)(void *context, uint32_t pid, pid_t thread);
        void (*goes_on)(void *context); /* called often, but not while a process is waited for */
        /* The process, one of root's, does not let its mappings be read. */
        void (*waited)(void *context, uint32_t pid);
} ProgramMapsHandler;

/* Calls `found` for each of them that one of the processes `pids` (of uint32_t) has mapped, once.
 * `proc` is where procfs is; `stuck` has the readers of earlier searches. Returns 0; or
 * USE_PARTLY_SEEN when no more is missing than what processes of root's have mapped, or have in
 * tables of threads, that do not let it be read; or another negative errno, such as -EMFILE, and
 * some may be missing. */
int program_maps_read(const char *proc, const GArray *pids, StuckChildren *stuck,
                      const ProgramMapsHandler *handler, void *context);
