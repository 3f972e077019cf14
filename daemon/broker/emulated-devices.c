#include "daemon/broker/emulated-devices.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

/* vfwarden-io's page of configuration space, and BAR 0. */
#define SIZE (4096 + 65536)

struct EmulatedDevices {
        GHashTable *fds; /* PciKey* -> memfd */
};

static void close_fd(gpointer fd) {
        close(GPOINTER_TO_INT(fd));
}

EmulatedDevices *emulated_devices_new(void) {
        EmulatedDevices *devices = g_new(EmulatedDevices, 1);

        devices->fds = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, close_fd);
        return devices;
}

EmulatedDevices *emulated_devices_free(EmulatedDevices *devices) {
        if (!devices)
                return NULL;
        g_hash_table_unref(devices->fds);
        g_free(devices);
        return NULL;
}

int emulated_devices_get(EmulatedDevices *devices, PciKey key) {
        _cleanup_(closep) int fd = -1;
        gpointer known;

        if (g_hash_table_lookup_extended(devices->fds, &key, NULL, &known))
                return GPOINTER_TO_INT(known);
        fd = memfd_create("vfwarden-emulated", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || ftruncate(fd, SIZE) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
                return -errno;
        g_hash_table_insert(devices->fds, g_memdup2(&key, sizeof(key)), GINT_TO_POINTER(fd));
        return take_fd(&fd);
}
