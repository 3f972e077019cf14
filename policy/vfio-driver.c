#include "policy/vfio-driver.h"

#include <string.h>

/* Whether `text` is `name`, with "-" and "_" taken as the same. */
static bool is_spelled(const char *text, const char *name) {
        for (; *text != '\0' && *name != '\0'; text++, name++)
                if (*text != *name && !(*name == '-' && *text == '_'))
                        return false;
        return *text == *name;
}

bool vfio_driver_is_named(const char *driver) {
        size_t length = strlen(driver), end = strlen("vfio-pci");

        return length >= end && is_spelled(driver + length - end, "vfio-pci");
}

bool vfio_driver_shares_group(const char *driver) {
        static const char *const drivers[] = { "pci-stub", "pcieport" };

        for (unsigned i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
                if (strcmp(driver, drivers[i]) == 0)
                        return true;
        return vfio_driver_is_named(driver);
}

bool vfio_driver_is_ism(const char *driver) {
        return is_spelled(driver, "ism-vfio-pci");
}
