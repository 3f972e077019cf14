#include "daemon/vfio-device.h"

#include "daemon/sysfs.h"
#include "daemon/util.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* While an unbind waits for a holder, the driver and VFIO's own device have gone; what stays is the group, and
 * the device enabled. */
static bool is_being_let_go(const Function *function, int dirfd) {
        char value[SYSFS_VALUE_MAX], path[64];

        if (function->facts.driver[0] != '\0' || function->facts.iommu_group < 0)
                return false;
        snprintf(path, sizeof(path), "/sys/class/vfio/%d", function->facts.iommu_group);
        return access(path, F_OK) == 0 && sysfs_read(dirfd, "enable", value, sizeof(value)) > 0 &&
               strcmp(value, "0") != 0;
}

/* Before Linux 6.1 VFIO made no directory. */
static bool may_be_bound(const FunctionFacts *facts) {
        return facts->vfio_device || facts->driver[0] == '\0' ||
               strcmp(facts->driver, "vfio-pci") == 0;
}

bool vfio_device_read_bound(const Function *function, dev_t *ret_node) {
        char value[SYSFS_VALUE_MAX], path[300];
        _cleanup_(closep) int dirfd = -1;
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *entry;

        /* Each event of each function comes by here, and most have drivers of their own. */
        if (!may_be_bound(&function->facts))
                return false;
        dirfd = sysfs_open_function(function_address(function));
        dir = opendir_at(dirfd, "vfio-dev");
        if (!dir)
                return dirfd >= 0 && (strcmp(function->facts.driver, "vfio-pci") == 0 ||
                                      is_being_let_go(function, dirfd));

        while ((entry = readdir(dir))) {
                uint64_t major_number, minor_number;
                char *colon;

                snprintf(path, sizeof(path), "vfio-dev/%s/dev", entry->d_name);
                if (entry->d_name[0] == '.' || sysfs_read(dirfd, path, value, sizeof(value)) < 0)
                        continue;
                colon = strchr(value, ':');
                if (!colon)
                        continue;
                *colon = '\0';
                if (number_parse(value, 10, UINT32_MAX, &major_number) >= 0 &&
                    number_parse(colon + 1, 10, UINT32_MAX, &minor_number) >= 0)
                        *ret_node = makedev((unsigned) major_number, (unsigned) minor_number);
        }
        return true;
}

VfioDevice *vfio_device_new(PciKey key) {
        VfioDevice *device = g_new(VfioDevice, 1);
        g_autofree char *path = sysfs_function_path(pci_address_from_key(key), "enable");

        *device = (VfioDevice){ .vfio = { .key = key, .group = -1 } };
        device->enable_fd = open(path, O_RDONLY | O_CLOEXEC);
        return device;
}

VfioDevice *vfio_device_free(VfioDevice *device) {
        if (!device)
                return NULL;
        closep(&device->enable_fd);
        g_clear_pointer(&device->users, g_ptr_array_unref);
        g_free(device);
        return NULL;
}

void vfio_device_let_go(VfioDevice *device) {
        closep(&device->enable_fd);
        device->enable_fd = -1;
        device->node = 0;
        device->vfio.group = -1;
}

/* 0 of a device that is gone. */
static uint64_t read_count(const VfioDevice *device) {
        char value[32];
        uint64_t count;
        ssize_t n;

        n = device->enable_fd < 0 ? -1 : pread(device->enable_fd, value, sizeof(value), 0);
        if (n <= 0 || (size_t) n == sizeof(value))
                return 0;
        value[n - 1] = '\0';
        return number_parse(value, 10, INT_MAX, &count) < 0 ? 0 : count;
}

static bool is_suspended(const VfioDevice *device) {
        char value[SYSFS_VALUE_MAX];
        _cleanup_(closep) int dirfd = sysfs_open_function(pci_address_from_key(device->vfio.key));

        return dirfd >= 0 && sysfs_read(dirfd, "power/runtime_status", value, sizeof(value)) >= 0 &&
               strcmp(value, "suspended") == 0;
}

static bool has_process(const VfioDevice *device) {
        return device->users && ((const User *) device->users->pdata[0])->pid != 0;
}

void vfio_device_look(VfioDevice *device) {
        device->count = read_count(device);
        if (device->count < device->left_behind)
                device->left_behind = device->count;
        /* With a process it may be suspended and in use: VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY. */
        if (device->count > device->left_behind && !has_process(device) && is_suspended(device))
                device->left_behind = device->count;
        device->vfio.open = device->count > device->left_behind;
}

bool vfio_device_is_open(const VfioDevice *device) {
        return read_count(device) > device->left_behind;
}

bool vfio_device_has_changed(const VfioDevice *device) {
        return read_count(device) != device->count;
}

int vfio_device_compare(gconstpointer a, gconstpointer b) {
        PciKey x = (*(const VfioDevice *const *) a)->vfio.key;
        PciKey y = (*(const VfioDevice *const *) b)->vfio.key;

        return (x > y) - (x < y);
}
