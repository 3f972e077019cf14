/* util.h: clean-up attributes for vfwarden-io, which uses nothing of the daemon's. */
#pragma once

#include <stddef.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

#define ELEMENTS(array)     (sizeof(array) / sizeof(*(array)))

static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static inline int take_fd(int *fd) {
        int taken = *fd;

        *fd = -1;
        return taken;
}
