#include "daemon/uses/block-devices.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/uses/device-path.h"
#include "policy/absence.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER      "/sys/class/block"
#define CONTROLLERS "/sys/class/nvme"
/* Devices that are made of others that are made of others. */
#define DEPTH_MAX 12

static char *device_path(const char *name) {
        g_autofree char *link = g_strdup_printf(FOLDER "/%s", name);
        char buffer[PATH_MAX];

        return realpath(link, buffer) ? g_strdup(buffer) : NULL;
}

static bool is_partition(const char *path) {
        g_autofree char *file = g_strconcat(path, "/partition", NULL);

        return access(file, F_OK) == 0;
}

/* Calls `visit` for each entry of a folder, if there is one. */
typedef int EntryVisit(void *context, const char *name);

static int foreach_entry(const char *path, EntryVisit *visit, void *context) {
        _cleanup_(closedirp) DIR *dir = opendir(path);
        const struct dirent *entry;

        if (!dir)
                return errno_means_absent(-errno) ? 0 : -errno;
        while ((errno = 0, entry = readdir(dir))) {
                int r = entry->d_name[0] == '.' ? 0 : visit(context, entry->d_name);

                if (r < 0)
                        return r;
        }
        return -errno;
}

/* --- downwards */

typedef struct Descent {
        BlockVisit *visit;
        void *context;
        unsigned depth;
        const char *name;   /* the device */
        const char *folder; /* of a NVMe subsystem */
} Descent;

static int descend(const Descent *above, const char *name);

static int visit_slave(void *context, const char *name) {
        return descend(context, name);
}

/* The subsystem's folder has a link to each of its controllers: "nvme0". */
static int visit_controller(void *context, const char *name) {
        const Descent *descent = context;
        g_autofree char *link = g_strdup_printf("%s/%s", descent->folder, name);
        const char *digits = name + strlen("nvme");
        PciKey key;
        int r;

        if (!g_str_has_prefix(name, "nvme") || !g_ascii_isdigit(*digits) || strchr(digits, 'n'))
                return 0;
        r = device_path_find(link, &key);
        if (r > 0)
                descent->visit(descent->context, descent->name, key);
        return r < 0 ? r : 0;
}

/* "/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1" (nvme_mpath_alloc_disk() in
 * drivers/nvme/host/multipath.c) */
static int visit_subsystem(Descent *descent, const char *path) {
        const char *found = strstr(path, "/nvme-subsystem/");
        const char *end = found ? strchr(found + strlen("/nvme-subsystem/"), '/') : NULL;
        g_autofree char *folder = end ? g_strndup(path, (gsize) (end - path)) : NULL;

        if (!folder)
                return 0;
        descent->folder = folder;
        return foreach_entry(folder, visit_controller, descent);
}

/* A partition has no slaves: its disk has them. */
static char *slaves_folder(const char *path) {
        g_autofree char *disk = g_path_get_dirname(path);

        return g_strconcat(is_partition(path) ? disk : path, "/slaves", NULL);
}

static int descend(const Descent *above, const char *name) {
        Descent descent = *above;
        g_autofree char *path = device_path(name), *slaves = NULL;
        PciKey key;
        int r;

        if (!path)
                return 0;
        if (++descent.depth > DEPTH_MAX)
                return -ELOOP;
        descent.name = name;
        if (device_path_function(path, &key)) {
                descent.visit(descent.context, name, key);
                return 0;
        }
        r = visit_subsystem(&descent, path);
        if (r < 0)
                return r;
        slaves = slaves_folder(path);
        return foreach_entry(slaves, visit_slave, &descent);
}

int block_device_functions(const char *name, BlockVisit *visit, void *context) {
        const Descent descent = { .visit = visit, .context = context };

        return descend(&descent, name);
}

/* --- by what others call them */

char *block_device_by_number(unsigned major, unsigned minor) {
        g_autofree char *link = g_strdup_printf("/sys/dev/block/%u:%u", major, minor);
        char path[PATH_MAX];

        return realpath(link, path) ? g_path_get_basename(path) : NULL;
}

typedef struct NameSearch {
        const char *wanted;
        char *found;
} NameSearch;

static int compare_mapper_name(void *context, const char *name) {
        g_autofree char *file = g_strdup_printf(FOLDER "/%s/dm/name", name);
        char value[SYSFS_VALUE_MAX];
        NameSearch *search = context;

        if (!search->found && g_str_has_prefix(name, "dm-") &&
            sysfs_read(AT_FDCWD, file, value, sizeof(value)) >= 0 &&
            strcmp(value, search->wanted) == 0)
                search->found = g_strdup(name);
        return 0;
}

char *block_device_by_path(const char *path) {
        g_autofree char *name = g_path_get_basename(path), *link = NULL;
        NameSearch search = { .wanted = name };

        if (!g_str_has_prefix(path, "/dev/"))
                return NULL;
        link = g_strdup_printf(FOLDER "/%s", name);
        if (access(link, F_OK) == 0)
                return g_steal_pointer(&name);
        (void) foreach_entry(FOLDER, compare_mapper_name, &search);
        return search.found;
}

/* --- what is on a function itself */

/* One path of several to an NVMe disk; nobody can open it (GENHD_FL_HIDDEN). */
static bool is_hidden(const char *path) {
        g_autofree char *file = g_strconcat(path, "/hidden", NULL);
        char value[SYSFS_VALUE_MAX];

        return sysfs_read(AT_FDCWD, file, value, sizeof(value)) > 0 && strcmp(value, "1") == 0;
}

static int name_disk(void *context, const char *name) {
        Descent descent = *(const Descent *) context;
        g_autofree char *path = device_path(name);
        PciKey key;

        if (!path || is_partition(path) || is_hidden(path))
                return 0;
        descent.name = name;
        if (!device_path_function(path, &key))
                return visit_subsystem(&descent, path);
        descent.visit(descent.context, name, key);
        return 0;
}

static int name_controller(void *context, const char *name) {
        const Descent *descent = context;
        g_autofree char *link = g_strdup_printf(CONTROLLERS "/%s", name);
        PciKey key;
        int r = device_path_find(link, &key);

        if (r > 0)
                descent->visit(descent->context, name, key);
        return r < 0 ? r : 0;
}

int block_devices_named(BlockVisit *visit, void *context) {
        Descent descent = { .visit = visit, .context = context };
        int r = foreach_entry(FOLDER, name_disk, &descent);

        return r < 0 ? r : foreach_entry(CONTROLLERS, name_controller, &descent);
}

/* --- upwards */

typedef struct Ascent {
        BlockHeldVisit *visit;
        void *context;
        const char *name;
} Ascent;

static int visit_holder(void *context, const char *holder) {
        const Ascent *ascent = context;

        return ascent->visit(ascent->context, ascent->name, holder);
}

static int visit_device(void *context, const char *name) {
        Ascent ascent = *(const Ascent *) context;
        g_autofree char *folder = g_strdup_printf(FOLDER "/%s/holders", name);

        ascent.name = name;
        return foreach_entry(folder, visit_holder, &ascent);
}

int block_devices_held(BlockHeldVisit *visit, void *context) {
        Ascent ascent = { .visit = visit, .context = context };

        return foreach_entry(FOLDER, visit_device, &ascent);
}
