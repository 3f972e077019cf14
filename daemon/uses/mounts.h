/* mounts.h: the block devices that the kernel has mounted or swaps on, as procfs tells.
 *
 * Owns nothing. Lines of a file are read one by one: a container may have a hundred thousand
 * mounts. A user makes as many namespaces as they like (user_namespaces(7)), hence a share for each
 * (look-share.h). A user cannot mount a disk there (FS_USERNS_MOUNT), but only keep a mount that
 * the host had. */
#pragma once

#include <stdint.h>

typedef struct Mount {
        unsigned major, minor; /* 0:N of a file system that is on no or on several devices */
        const char *type, *source, *point;
        const char *options; /* of the file system, with commas between them */
} Mount;

typedef void MountVisit(void *context, const Mount *mount);

/* Calls `visit` for each mount of the file `path`, a /proc/PID/mountinfo. Returns 0 or a negative
 * errno. */
int mounts_read(const char *path, MountVisit *visit, void *context);

typedef struct MountsHandler {
        MountVisit *visit;
        /* A namespace of this user has more mounts than are read. */
        void (*more)(void *context, uint32_t uid);
        void (*goes_on)(void *context); /* called often */
} MountsHandler;

/* The same for all other mount namespaces than that of process 1, each once. What ends meanwhile is
 * passed over. Of users other than root so many mounts are read that nobody makes a look long. */
int mounts_read_others(const char *proc, const MountsHandler *handler, void *context);

typedef void SwapVisit(void *context, const char *device);

/* Calls `visit` for each device in `path`, a /proc/swaps. */
int swaps_read(const char *path, SwapVisit *visit, void *context);
