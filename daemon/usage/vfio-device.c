#include "daemon/usage/vfio-device.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* 0 for what is not there, or for what cannot be looked at a negative errno. */
static int absent_or_error(int r) {
        return errno_means_absent(r) ? 0 : r;
}

/* While an unbind waits for a holder, the driver and VFIO's own device have gone; what stays is the
 * group, and the device enabled. Some drivers of the host leave their device enabled, too. Returns
 * 1, 0, or a negative errno when that is unknown. */
static int is_being_released(const Function *function, int dirfd) {
        char value[SYSFS_VALUE_MAX], path[64];
        ssize_t n;

        if (function->facts.driver[0] != '\0' || function->was_native ||
            function->facts.iommu_group < 0)
                return 0;
        snprintf(path, sizeof(path), "/sys/class/vfio/%d", function->facts.iommu_group);
        if (access(path, F_OK) < 0)
                return absent_or_error(-errno);
        n = sysfs_read(dirfd, "enable", value, sizeof(value));
        if (n < 0)
                return absent_or_error((int) n);
        return n > 0 && strcmp(value, "0") != 0;
}

static bool may_be_bound(const Function *function) {
        return function->facts.driver[0] == '\0' || function_has_vfio_driver(function);
}

/* Reads the number of the node of `name` in `vfio-dev`, if it has one. Returns 0 or a negative
 * errno. */
static int vfio_device_read_node(int dirfd, const char *name, dev_t *ret, char **ret_name) {
        char value[SYSFS_VALUE_MAX], path[300];
        uint32_t major_number, minor_number;
        ssize_t n;

        snprintf(path, sizeof(path), "vfio-dev/%s/dev", name);
        n = sysfs_read(dirfd, path, value, sizeof(value));
        if (n < 0)
                return absent_or_error((int) n);
        if (number_parse_device(value, 10, &major_number, &minor_number) >= 0) {
                *ret = makedev(major_number, minor_number);
                g_free(*ret_name);
                *ret_name = g_strdup(name);
        }
        return 0;
}

int vfio_device_read_bound(const Function *function, dev_t *ret_node, char **ret_name) {
        int r;
        _cleanup_(closep) int dirfd = -1;
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *entry;

        /* Each event of each function comes by here, and most have drivers of their own. */
        if (!may_be_bound(function))
                return 0;
        dirfd = sysfs_open_function(function_address(function));
        if (dirfd < 0)
                return absent_or_error(dirfd);
        dir = opendir_at(dirfd, "vfio-dev");
        if (!dir && !errno_means_absent(-errno))
                return -errno;
        /* Before Linux 6.1 VFIO made no directory. */
        if (!dir)
                return function_has_vfio_driver(function) ? 1 : is_being_released(function, dirfd);

        while ((errno = 0, entry = readdir(dir))) {
                r = entry->d_name[0] == '.'
                            ? 0
                            : vfio_device_read_node(dirfd, entry->d_name, ret_node, ret_name);
                if (r < 0)
                        return r;
        }
        return errno != 0 ? -errno : 1;
}

VfioDevice *vfio_device_new(PciKey key) {
        VfioDevice *device = g_new(VfioDevice, 1);

        *device =
                (VfioDevice){ .vfio = { .key = key, .group = -1, .open = true }, .enable_fd = -1 };
        return device;
}

VfioDevice *vfio_device_free(VfioDevice *device) {
        if (!device)
                return NULL;
        closep(&device->enable_fd);
        g_clear_pointer(&device->users, g_ptr_array_unref);
        g_free(device->node_name);
        g_free(device);
        return NULL;
}

void vfio_device_mark_released(VfioDevice *device) {
        closep(&device->enable_fd);
        device->enable_fd = -1;
        device->released = true;
        device->node = 0;
        g_clear_pointer(&device->node_name, g_free);
        device->vfio.group = -1;
}

static int open_enable(VfioDevice *device) {
        g_autofree char *path =
                sysfs_function_path(pci_address_from_key(device->vfio.key), "enable");

        if (device->enable_fd < 0)
                device->enable_fd = open(path, O_RDONLY | O_CLOEXEC);
        return device->enable_fd < 0 ? -errno : 0;
}

/* 0 of a device that is gone. Returns 0, or a negative errno when the count cannot be read at
 * present. */
static int read_count(VfioDevice *device, uint64_t *ret) {
        char value[32];
        ssize_t n;
        int r;

        *ret = 0;
        if (device->released)
                return 0;
        r = open_enable(device);
        if (r < 0)
                return absent_or_error(r);
        n = pread(device->enable_fd, value, sizeof(value), 0);
        if (n < 0)
                return absent_or_error(-errno);
        if (n == 0 || (size_t) n == sizeof(value))
                return 0;
        value[n - 1] = '\0';
        if (number_parse(value, 10, INT_MAX, ret) < 0)
                *ret = 0;
        return 0;
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
        uint64_t count;

        /* Without a count it stays what it was, and before the first it counts as open. */
        device->unreadable = read_count(device, &count) < 0;
        if (device->unreadable)
                return;
        device->count = count;
        if (device->count < device->left_behind)
                device->left_behind = device->count;
        /* With a process it may be suspended and in use: VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY. */
        if (device->count > device->left_behind && !has_process(device) && is_suspended(device))
                device->left_behind = device->count;
        device->vfio.open = device->count > device->left_behind;
}

int vfio_device_check(VfioDevice *device) {
        uint64_t count;

        return read_count(device, &count);
}

bool vfio_device_is_open(VfioDevice *device) {
        uint64_t count;

        return read_count(device, &count) < 0 ? device->vfio.open : count > device->left_behind;
}

bool vfio_device_has_changed(VfioDevice *device) {
        uint64_t count;

        return read_count(device, &count) >= 0 && (device->unreadable || count != device->count);
}

int vfio_device_compare(gconstpointer a, gconstpointer b) {
        PciKey x = (*(const VfioDevice *const *) a)->vfio.key;
        PciKey y = (*(const VfioDevice *const *) b)->vfio.key;

        return (x > y) - (x < y);
}
