#include "daemon/uses/block-devices.h"

#include "daemon/base/folder.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/uses/device-path.h"
#include "policy/absence.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define FOLDER      "/sys/class/block"
#define CONTROLLERS "/sys/class/nvme"
/* Devices that are made of others that are made of others. */
#define DEPTH_MAX 12

/* Of a block device, or of an NVMe controller, which a target can use as a whole. */
static int device_path(const char *name, char **ret) {
        g_autofree char *link = g_strdup_printf(FOLDER "/%s", name);
        g_autofree char *controller = g_strdup_printf(CONTROLLERS "/%s", name);
        int r = device_path_resolve(link, ret);

        return r != 0 ? r : device_path_resolve(controller, ret);
}

static bool is_partition(const char *path) {
        g_autofree char *file = g_strconcat(path, "/partition", NULL);

        return access(file, F_OK) == 0;
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
        return folder_foreach(folder, visit_controller, descent);
}

/* A partition has no slaves: its disk has them. */
static char *slaves_folder(const char *path) {
        g_autofree char *disk = g_path_get_dirname(path);

        return g_strconcat(is_partition(path) ? disk : path, "/slaves", NULL);
}

static int descend(const Descent *above, const char *name) {
        Descent descent = *above;
        g_autofree char *path = NULL, *slaves = NULL;
        PciKey key;
        int r = device_path(name, &path);

        if (r <= 0)
                return r;
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
        return folder_foreach(slaves, visit_slave, &descent);
}

int block_device_functions(const char *name, BlockVisit *visit, void *context) {
        const Descent descent = { .visit = visit, .context = context };

        return descend(&descent, name);
}

/* --- by what others call them */

static int name_by_number(const char *kind, unsigned major, unsigned minor, char **ret) {
        g_autofree char *link = g_strdup_printf("/sys/dev/%s/%u:%u", kind, major, minor);
        g_autofree char *path = NULL;
        int r = device_path_resolve(link, &path);

        if (r > 0)
                *ret = g_path_get_basename(path);
        return r;
}

int block_device_by_number(unsigned major, unsigned minor, char **ret) {
        return name_by_number("block", major, minor, ret);
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

/* For a path that is not there, such as that of a node in a container's /dev. */
static char *find_by_name(const char *path) {
        g_autofree char *folder = g_path_get_dirname(path), *name = g_path_get_basename(path);
        g_autofree char *link = g_strdup_printf(FOLDER "/%s", name);
        NameSearch search = { .wanted = name };

        if (strcmp(folder, "/dev") != 0 && strcmp(folder, "/dev/mapper") != 0)
                return NULL;
        if (access(link, F_OK) == 0)
                return g_steal_pointer(&name);
        (void) folder_foreach(FOLDER, compare_mapper_name, &search);
        return search.found;
}

/* A path is followed link by link, below the root of process 1: the daemon has a /dev of its own.
 * RestrictSUIDSGID= refuses openat2(), which could do it. */
#define LINKS_MAX 40 /* MAXSYMLINKS */

typedef struct PathWalk {
        const char *proc;
        BlockPathTrust trust;
        GString *done; /* without links: "/dev/disk" */
        char *rest;    /* "by-id/nvme-one" */
        unsigned n_links;
        dev_t devtmpfs; /* for BLOCK_PATH_OF_USERS */
} PathWalk;

static void path_walk_clear(PathWalk *walk) {
        g_string_free(walk->done, TRUE);
        g_free(walk->rest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PathWalk, path_walk_clear)

/* Waits for nobody in devtmpfs, in which root alone makes nodes and links. */
static int stat_in_root(const PathWalk *walk, const char *path, struct stat *ret) {
        g_autofree char *full = g_strdup_printf("%s/1/root%s", walk->proc, path);

        return lstat(full, ret) < 0 ? -errno : 0;
}

static int follow_link(PathWalk *walk) {
        g_autofree char *full = g_strdup_printf("%s/1/root%s", walk->proc, walk->done->str);
        g_autofree char *target = g_file_read_link(full, NULL), *rest = walk->rest;

        walk->rest = NULL;
        if (!target || walk->n_links++ >= LINKS_MAX)
                return -ELOOP;
        if (target[0] == '/')
                g_string_truncate(walk->done, 0);
        else
                g_string_truncate(walk->done,
                                  (gsize) (strrchr(walk->done->str, '/') - walk->done->str));
        walk->rest = g_strdup_printf("%s/%s", target, rest);
        return 0;
}

/* The next part of the path, off `rest`. "" at the end. */
static char *take_part(PathWalk *walk) {
        const char *begin = walk->rest + strspn(walk->rest, "/");
        size_t length = strcspn(begin, "/");
        char *part = g_strndup(begin, length), *rest = g_strdup(begin + length);

        g_free(walk->rest);
        walk->rest = rest;
        return part;
}

/* Returns 1 when there is another part, 0 at the end, or a negative errno. */
static int walk_part(PathWalk *walk, struct stat *st) {
        g_autofree char *part = take_part(walk);
        const char *slash = strrchr(walk->done->str, '/');
        int r;

        if (part[0] == '\0')
                return 0;
        if (strcmp(part, ".") == 0)
                return 1;
        if (strcmp(part, "..") == 0) {
                g_string_truncate(walk->done, slash ? (gsize) (slash - walk->done->str) : 0);
                return 1;
        }
        g_string_append_printf(walk->done, "/%s", part);
        r = stat_in_root(walk, walk->done->str, st);
        if (r < 0)
                return r;
        if (walk->trust == BLOCK_PATH_OF_USERS && st->st_dev != walk->devtmpfs)
                return -EXDEV;
        if (!S_ISLNK(st->st_mode))
                return 1;
        r = walk->trust == BLOCK_PATH_OF_USERS ? -ELOOP : follow_link(walk);
        return r < 0 ? r : 1;
}

static int walk_path(const char *proc, const char *path, BlockPathTrust trust, struct stat *ret) {
        g_auto(PathWalk) walk = {
                .proc = proc, .trust = trust, .done = g_string_new(""), .rest = g_strdup(path)
        };
        struct stat st = { 0 };
        int r = 0;

        if (trust == BLOCK_PATH_OF_USERS) {
                if (!g_str_has_prefix(path, "/dev/"))
                        return -ENOENT;
                r = stat_in_root(&walk, "/dev", &st);
                walk.devtmpfs = st.st_dev;
        }
        while (r >= 0) {
                r = walk_part(&walk, &st);
                if (r == 0)
                        break;
        }
        if (r >= 0)
                *ret = st;
        return r;
}

/* Of a path that leads to nothing, or out of /dev. */
static bool leads_nowhere(int r) {
        return errno_means_absent(r) || r == -ENOTDIR || r == -ELOOP || r == -EXDEV ||
               r == -ENAMETOOLONG;
}

int block_device_by_path(const char *proc, const char *path, BlockPathTrust trust, char **ret) {
        g_autofree char *name = NULL;
        struct stat st;
        int r = walk_path(proc, path, trust, &st);

        if (r < 0 && !leads_nowhere(r))
                return r;
        if (r >= 0 && !S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))
                return 0;
        if (r >= 0)
                return name_by_number(S_ISBLK(st.st_mode) ? "block" : "char", major(st.st_rdev),
                                      minor(st.st_rdev), ret);
        name = find_by_name(path);
        if (!name)
                return 0;
        *ret = g_steal_pointer(&name);
        return 1;
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
        g_autofree char *path = NULL;
        PciKey key;
        int r = device_path(name, &path);

        if (r <= 0)
                return r;
        if (is_partition(path) || is_hidden(path))
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
        int r = folder_foreach(FOLDER, name_disk, &descent);

        return r < 0 ? r : folder_foreach(CONTROLLERS, name_controller, &descent);
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
        return folder_foreach(folder, visit_holder, &ascent);
}

int block_devices_held(BlockHeldVisit *visit, void *context) {
        Ascent ascent = { .visit = visit, .context = context };

        return folder_foreach(FOLDER, visit_device, &ascent);
}
