/* util.h: clean-up attributes for what GLib does not own. */
#pragma once

#include <dirent.h>
#include <glib.h>
#include <libudev.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))
#define DEFINE_CLEANUP(type, function)            \
        static inline void function##p(type *p) { \
                if (*p)                           \
                        function(*p);             \
        }

DEFINE_CLEANUP(DIR *, closedir)
DEFINE_CLEANUP(struct udev *, udev_unref)
DEFINE_CLEANUP(struct udev_device *, udev_device_unref)
DEFINE_CLEANUP(struct udev_enumerate *, udev_enumerate_unref)

static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

static inline int take_fd(int *fd) {
        int taken = *fd;

        *fd = -1;
        return taken;
}
