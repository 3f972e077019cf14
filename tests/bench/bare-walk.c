/* bare-walk.c: the least that a cold start costs, for the benchmark to measure vfwardend against.
 *
 * Enumerates the pci subsystem and reads by libudev, and where libudev has no call for it by the C
 * library, what daemon/sysfs/function-reader.c reads; keeps nothing, decides nothing, has no bus.
 * Like the daemon it says READY=1 when it is done and then waits, so that both are looked at in one
 * way. */
#include "tests/bench/udev.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

static const char *const attributes[] = {
        "vendor",           "device",          "subsystem_vendor",
        "subsystem_device", "class",           "revision",
        "numa_node",        "driver_override", "vfn",
};

static const char *const links[] = { "iommu_group", "physfn" };

/* So that no compiler leaves a read out. */
static size_t read_total;

static bool read_attribute(struct udev_device *device, const char *name) {
        const char *value = udev_device_get_sysattr_value(device, name);

        read_total += value ? strlen(value) : 0;
        return value;
}

static bool read_link(const char *directory, const char *name) {
        char path[PATH_MAX], target[PATH_MAX];
        ssize_t n;

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        n = readlink(path, target, sizeof(target));
        read_total += n > 0 ? (size_t) n : 0;
        return n > 0;
}

static void read_virtfns(const char *directory) {
        _cleanup_(closedirp) DIR *dir = opendir(directory);

        for (struct dirent *entry; dir && (entry = readdir(dir));)
                if (strncmp(entry->d_name, "virtfn", strlen("virtfn")) == 0)
                        read_link(directory, entry->d_name);
}

static void read_function(struct udev *udev, const char *path) {
        _cleanup_(udev_device_unrefp) struct udev_device *device = NULL;
        const char *driver;
        bool is_vf = false;

        device = udev_device_new_from_syspath(udev, path);
        if (!device)
                return;
        for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++)
                read_attribute(device, attributes[i]);
        driver = udev_device_get_driver(device);
        read_total += driver ? strlen(driver) : 0;
        for (size_t i = 0; i < G_N_ELEMENTS(links); i++)
                is_vf = read_link(path, links[i]);
        if (!is_vf && read_attribute(device, "sriov_totalvfs")) {
                read_attribute(device, "sriov_drivers_autoprobe");
                read_virtfns(path);
        }
}

int main(void) {
        _cleanup_(udev_unrefp) struct udev *udev = udev_new();
        _cleanup_(udev_enumerate_unrefp) struct udev_enumerate *enumerate = NULL;
        struct udev_list_entry *entry;

        if (udev)
                enumerate = udev_enumerate_new(udev);
        if (!enumerate || udev_enumerate_add_match_subsystem(enumerate, "pci") < 0 ||
            udev_enumerate_scan_devices(enumerate) < 0) {
                fprintf(stderr, "bare-walk: the PCI functions cannot be enumerated\n");
                return EXIT_FAILURE;
        }
        udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate)) {
                read_function(udev, udev_list_entry_get_name(entry));
        }

        sd_notifyf(false, "READY=1\nSTATUS=%zu bytes", read_total);
        pause();
        return EXIT_SUCCESS;
}
