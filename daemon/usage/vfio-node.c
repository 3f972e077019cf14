#include "daemon/usage/vfio-node.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static bool is_number(const char *text) {
        uint64_t number;

        return number_parse(text, 10, INT32_MAX, &number) >= 0;
}

bool vfio_node_is_name(const char *name) {
        const char *device = "devices/vfio";

        return g_str_has_prefix(name, device) ? is_number(name + strlen(device)) : is_number(name);
}

static int node_exists(const char *name) {
        g_autofree char *path = g_build_filename(process_system_dev(), name, NULL);
        struct stat st;

        if (stat(path, &st) < 0)
                return errno_means_absent(-errno) ? 0 : -errno;
        return S_ISCHR(st.st_mode);
}

/* Takes `name`, which is below /dev/vfio, over. Returns 1 with it in `*ret`, 0 or a negative
 * errno. */
static int take_existing(char *name, char **ret) {
        g_autofree char *owned = name, *path = g_build_filename("vfio", name, NULL);
        int r = node_exists(path);

        if (r > 0)
                *ret = g_steal_pointer(&owned);
        return r;
}

int vfio_node_of_device(const Function *function, char **ret) {
        _cleanup_(closep) int dirfd = sysfs_open_function(function_address(function));
        _cleanup_(closedirp) DIR *dir = NULL;
        g_autofree char *node = NULL;
        const struct dirent *entry;
        int r = 0;

        if (dirfd < 0)
                return dirfd;
        dir = opendir_at(dirfd, "vfio-dev");
        if (!dir && !errno_means_absent(-errno))
                return -errno;
        while (dir && r == 0 && (errno = 0, entry = readdir(dir)))
                if (g_str_has_prefix(entry->d_name, "vfio"))
                        r = take_existing(g_build_filename("devices", entry->d_name, NULL), &node);
        if (r == 0 && dir)
                r = -errno;
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&node);
        return 0;
}

int vfio_node_of_group(const Function *function, char **ret) {
        g_autofree char *node = NULL;
        int r = 0;

        if (function->facts.iommu_group >= 0)
                r = take_existing(g_strdup_printf("%d", function->facts.iommu_group), &node);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&node);
        return 0;
}

int vfio_node_has_iommufd(void) {
        return node_exists("iommu");
}

int vfio_node_choose(const Function *function, LeaseKind wanted, LeaseKind *ret_kind, char **ret) {
        g_autofree char *device = NULL, *group = NULL;
        int iommufd = vfio_node_has_iommufd();
        int r = iommufd < 0 ? iommufd : vfio_node_of_device(function, &device);
        LeaseKind kind;

        if (r >= 0)
                r = vfio_node_of_group(function, &group);
        if (r < 0)
                return r;
        kind = lease_choose_kind(
                &(LeaseNodes){ .group = group, .device = device, .iommufd = iommufd > 0 }, wanted);
        if ((int) kind < 0)
                return (int) kind;
        *ret_kind = kind;
        *ret = kind == LEASE_KIND_DEVICE ? g_steal_pointer(&device) : g_steal_pointer(&group);
        return 0;
}
