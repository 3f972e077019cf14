#include "daemon/uses/device-path.h"

#include "policy/absence.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdlib.h>

bool device_path_function(const char *path, PciKey *ret) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);
        PciAddress address;

        for (guint i = g_strv_length(parts); i > 0; i--) {
                if (pci_address_parse(parts[i - 1], &address) < 0)
                        continue;
                *ret = pci_address_key(address);
                return true;
        }
        return false;
}

int device_path_resolve(const char *link, char **ret) {
        char path[PATH_MAX];

        if (!realpath(link, path))
                return errno_means_absent(-errno) ? 0 : -errno;
        *ret = g_strdup(path);
        return 1;
}

int device_path_find(const char *link, PciKey *ret) {
        g_autofree char *path = NULL;
        int r = device_path_resolve(link, &path);

        return r <= 0 ? r : device_path_function(path, ret);
}
