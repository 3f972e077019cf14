/* mounts.h: the block devices that the kernel has mounted or swaps on, as procfs tells.
 *
 * Owns nothing. Lines of a file are read one by one: a container may have a hundred thousand
 * mounts. */
#pragma once

#include <stdint.h>

typedef struct Mount {
        unsigned major, minor; /* 0:N of a file system that is on no or on several devices */
        const char *type, *source, *point;
} Mount;

typedef void MountVisit(void *context, const Mount *mount);

/* Calls `visit` for each mount of the file `path`, a /proc/PID/mountinfo. Returns 0 or a negative
 * errno. */
int mounts_read(const char *path, MountVisit *visit, void *context);

/* The same for all other mount namespaces than that of process 1, each once. What ends meanwhile is
 * passed over. */
int mounts_read_others(const char *proc, MountVisit *visit, void *context);

typedef void SwapVisit(void *context, const char *device);

/* Calls `visit` for each device in `path`, a /proc/swaps. */
int swaps_read(const char *path, SwapVisit *visit, void *context);
