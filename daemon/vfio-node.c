#include "daemon/vfio-node.h"

#include "daemon/sysfs.h"
#include "daemon/util.h"
#include "daemon/vfio-watch.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool node_exists(const char *name) {
        g_autofree char *path = g_build_filename(vfio_watch_dev_directory(), name, NULL);
        struct stat st;

        return stat(path, &st) >= 0 && S_ISCHR(st.st_mode);
}

static bool vfio_node_exists(const char *name) {
        g_autofree char *path = g_build_filename("vfio", name, NULL);

        return node_exists(path);
}

char *vfio_node_of_device(const Function *function) {
        _cleanup_(closep) int dirfd = sysfs_open_function(function_address(function));
        _cleanup_(closedirp) DIR *dir = opendir_at(dirfd, "vfio-dev");
        const struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                g_autofree char *name = g_build_filename("devices", entry->d_name, NULL);

                if (g_str_has_prefix(entry->d_name, "vfio") && vfio_node_exists(name))
                        return g_steal_pointer(&name);
        }
        return NULL;
}

char *vfio_node_of_group(const Function *function) {
        g_autofree char *name = g_strdup_printf("%d", function->facts.iommu_group);

        return function->facts.iommu_group >= 0 && vfio_node_exists(name) ? g_steal_pointer(&name)
                                                                          : NULL;
}

bool vfio_node_has_iommufd(void) {
        return node_exists("iommu");
}
