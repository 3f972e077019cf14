#include "dbus/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

const char *function_path_format(PciKey key, char path[static FUNCTION_PATH_MAX]) {
        static const char digits[] = "0123456789abcdef";
        char address[PCI_ADDRESS_STRING_MAX];
        char *end = stpcpy(path, BUS_FUNCTION_PREFIX "/");

        /* sd_bus_path_encode(3), without its allocation: a leading digit and all that is neither
         * letter nor digit become '_' and two hexadecimal digits. An address starts with a digit
         * or a letter a..f. */
        pci_address_format(pci_address_from_key(key), address);
        for (const char *p = address; *p; p++) {
                bool plain = (*p >= 'a' && *p <= 'f') || (*p >= '0' && *p <= '9' && p > address);

                if (plain)
                        *end++ = *p;
                else {
                        *end++ = '_';
                        *end++ = digits[(unsigned char) *p >> 4];
                        *end++ = digits[*p & 0xf];
                }
        }
        *end = '\0';
        return path;
}

int function_path_parse(const char *path, PciKey *ret) {
        char *address = NULL, again[FUNCTION_PATH_MAX];
        PciAddress parsed;
        PciKey key;
        int r;

        r = sd_bus_path_decode(path, BUS_FUNCTION_PREFIX, &address);
        if (r <= 0)
                return r < 0 ? r : -EINVAL;
        r = pci_address_parse(address, &parsed);
        free(address);
        if (r < 0)
                return r;

        /* One object, one path: other spellings of the same bytes are not ours. */
        key = pci_address_key(parsed);
        if (strcmp(function_path_format(key, again), path) != 0)
                return -EINVAL;
        *ret = key;
        return 0;
}
