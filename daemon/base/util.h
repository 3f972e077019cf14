/* util.h: clean-up attributes for what GLib does not own, a directory below another, the time. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))
#define DEFINE_CLEANUP(type, function)            \
        static inline void function##p(type *p) { \
                if (*p)                           \
                        function(*p);             \
        }

DEFINE_CLEANUP(DIR *, closedir)
DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(char *, free) /* a line of getline(3) */

static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

/* The directory `name` below `parent`, a descriptor, or a negative errno of getting one. NULL with
 * errno set. */
static inline DIR *opendir_at(int parent, const char *name) {
        _cleanup_(closep) int fd = -1;
        DIR *dir;

        if (parent < 0) {
                errno = -parent;
                return NULL;
        }
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (dir)
                fd = -1;
        return dir;
}

/* CLOCK_MONOTONIC. */
static inline uint64_t now_usec(void) {
        return (uint64_t) g_get_monotonic_time();
}

/* CLOCK_REALTIME, for what clients see. */
static inline uint64_t realtime_usec(void) {
        return (uint64_t) g_get_real_time();
}

static inline int take_fd(int *fd) {
        int taken = *fd;

        *fd = -1;
        return taken;
}
