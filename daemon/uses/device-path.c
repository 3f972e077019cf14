#include "daemon/uses/device-path.h"

#include "policy/absence.h"

#include <errno.h>
#include <glib.h>
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

int device_path_find(const char *link, PciKey *ret) {
        char *path = realpath(link, NULL); /* libc's, and so free()'s */
        bool found;

        if (!path)
                return errno_means_absent(-errno) ? 0 : -errno;
        found = device_path_function(path, ret);
        free(path);
        return found;
}
