#include "daemon/uses/host-storage.h"

#include "daemon/base/folder.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/uses/block-claims.h"
#include "daemon/uses/block-devices.h"
#include "daemon/uses/device-path.h"
#include "daemon/uses/kernel-events.h"
#include "daemon/uses/mounts.h"
#include "policy/absence.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

/* The disk of "/" is mounted once for each directory of a container. */
#define MOUNTS_OF_DEVICE_MAX 4

#define BTRFS                "/sys/fs/btrfs"
#define BCACHEFS             "/sys/fs/bcachefs"

typedef struct HostStorage {
        const char *proc;
        int mounts, swaps, uevents; /* -1: there is no such file */
} HostStorage;

/* A look. */
typedef struct StorageLook {
        UseChild *child;
        GHashTable *mounted; /* device -> number of mounts that were added */
        GHashTable *devices; /* "8:17", or the source -> device, "" for none: each is found once */
        int error;
        UseKind kind; /* of the use that is being added, and by what */
        const char *by;
} StorageLook;

/* Of the members of a file system of bcachefs, which has the folder `folder`. */
typedef struct BcachefsSearch {
        StorageLook *look;
        const char *folder;
} BcachefsSearch;

/* --- listening */

/* Both files tell by POLLPRI that they have changed (mounts_poll(), swaps_poll()). */
static int open_file(const HostStorage *storage, const char *name) {
        g_autofree char *path = g_strdup_printf("%s/1/%s", storage->proc, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static int open_storage(UseChild *child, void **ret_state) {
        HostStorage *storage = g_new0(HostStorage, 1); /* as long as the process */

        storage->proc = use_child_proc(child);
        storage->mounts = open_file(storage, "mountinfo");
        if (storage->mounts < 0)
                return storage->mounts;
        /* The daemon's own procfs has the processes alone (ProcSubset=pid). */
        storage->swaps = open_file(storage, "root/proc/swaps");
        if (storage->swaps < 0 && !errno_means_absent(storage->swaps))
                return storage->swaps;
        storage->uevents = kernel_events_open();
        if (storage->uevents < 0)
                return storage->uevents;
        use_child_watch(child, storage->mounts, POLLPRI);
        use_child_watch(child, storage->swaps, POLLPRI);
        use_child_watch(child, storage->uevents, POLLIN);
        *ret_state = storage;
        return 0;
}

/* NVMe's own subsystem has the controllers. */
static void on_block_uevent(void *matters, const char *subsystem, const char *devpath) {
        if (strcmp(subsystem, "block") == 0 || strcmp(subsystem, "nvme") == 0)
                *(bool *) matters = true;
}

static bool take_storage_event(void *state, int fd) {
        const HostStorage *storage = state;
        bool matters = false;

        if (fd != storage->uevents)
                return true;
        return kernel_events_take(fd, on_block_uevent, &matters) || matters;
}

/* --- looking */

static void host_storage_add_use(void *context, const char *name, PciKey key) {
        const StorageLook *look = context;

        use_child_add(look->child, key, look->kind, name, look->by, 0);
}

static int add_device(StorageLook *look, const char *device, UseKind kind, const char *by) {
        int r;

        look->kind = kind;
        look->by = by;
        r = block_device_functions(device, host_storage_add_use, look);
        if (r < 0)
                look->error = r;
        return r;
}

/* In the order of the list: "/" is the first of its device. */
static void add_mount(StorageLook *look, const char *device, const char *point) {
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(look->mounted, device));

        if (n >= MOUNTS_OF_DEVICE_MAX)
                return;
        g_hash_table_insert(look->mounted, g_strdup(device), GUINT_TO_POINTER(n + 1));
        (void) add_device(look, device, USE_BLOCK_MOUNT, point);
}

/* File systems on disks that have a device number of their own (get_anon_bdev()). Of others with
 * one, such as tmpfs and FUSE, the source is any text that a user has chosen. */
static bool has_source(const char *type) {
        return strcmp(type, "btrfs") == 0 || strcmp(type, "bcachefs") == 0;
}

/* NULL without. */
static char *find_numbered_device(StorageLook *look, unsigned major, unsigned minor) {
        char *device = NULL;
        int r = block_device_by_number(major, minor, &device);

        if (r < 0)
                look->error = r;
        return device;
}

/* Of a path that root has chosen. NULL without. */
static char *find_named_device(StorageLook *look, const char *path) {
        char *device = NULL;
        int r = block_device_by_path(use_child_proc(look->child), path, BLOCK_PATH_OF_ROOT,
                                     &device);

        if (r < 0)
                look->error = r;
        return device;
}

/* `device` is what the key was found to be, or NULL; it is the table's. */
static const char *remember_device(const StorageLook *look, const char *key, char *device) {
        char *known = device ? device : g_strdup("");

        g_hash_table_insert(look->devices, g_strdup(key), known);
        return known;
}

static void add_mounted_path(StorageLook *look, const char *path, const char *point) {
        const char *known = g_hash_table_lookup(look->devices, path);

        if (!known)
                known = remember_device(look, path, find_named_device(look, path));
        if (known[0] != '\0')
                add_mount(look, known, point);
}

static void add_mounted_number(StorageLook *look, const Mount *mount) {
        g_autofree char *key = g_strdup_printf("%u:%u", mount->major, mount->minor);
        const char *known = g_hash_table_lookup(look->devices, key);

        if (!known)
                known = remember_device(look, key,
                                        find_numbered_device(look, mount->major, mount->minor));
        if (known[0] != '\0')
                add_mount(look, known, mount->point);
}

/* XFS has its log or its real-time data on other devices, and names them (xfs_fs_show_options()).
 * Root alone can mount it. */
static void add_other_devices(StorageLook *look, const Mount *mount) {
        g_auto(GStrv) options = NULL;

        if (strcmp(mount->type, "xfs") != 0)
                return;
        options = g_strsplit(mount->options, ",", -1);
        for (guint i = 0; options[i]; i++)
                if (g_str_has_prefix(options[i], "logdev=/") ||
                    g_str_has_prefix(options[i], "rtdev=/"))
                        add_mounted_path(look, strchr(options[i], '/'), mount->point);
}

/* bcachefs names all of its devices in one text (bch2_show_devname()): "/dev/sda:/dev/sdb". */
static void add_devices_of_source(StorageLook *look, const Mount *mount) {
        g_autofree char *source = g_strdup(mount->source);

        for (char *path = source, *next; path; path = next) {
                next = strstr(path, ":/");
                if (next)
                        *next++ = '\0';
                add_mounted_path(look, path, mount->point);
        }
}

static void on_mount(void *context, const Mount *mount) {
        StorageLook *look = context;

        if (mount->major == 0 && !has_source(mount->type))
                return;
        add_other_devices(look, mount);
        if (mount->major == 0)
                add_devices_of_source(look, mount);
        else
                add_mounted_number(look, mount);
}
static void on_more_mounts(void *context, uint32_t uid) {
        const StorageLook *look = context;
        g_autofree char *text = g_strdup_printf("user %" PRIu32 " has more mounts than are read in "
                                                "mount namespaces other than the host's",
                                                uid);

        use_child_note(look->child, text);
}

static void on_mounts_go_on(void *context) {
        use_child_go_on(((const StorageLook *) context)->child);
}

static const MountsHandler mounts_handler = { on_mount, on_more_mounts, on_mounts_go_on };

static void on_swap(void *context, const char *path) {
        g_autofree char *device = NULL;

        /* A file is on a file system that is mounted; and that may be one that makes wait. */
        if (g_str_has_prefix(path, "/dev/"))
                device = find_named_device(context, path);
        if (device)
                (void) add_device(context, device, USE_BLOCK_SWAP, "");
}

/* "vg-root (dm-0)" */
static char *holder_name(const char *holder) {
        g_autofree char *file = g_strdup_printf("/sys/class/block/%s/dm/name", holder);
        char value[SYSFS_VALUE_MAX];

        if (sysfs_read(AT_FDCWD, file, value, sizeof(value)) <= 0)
                return g_strdup(holder);
        return g_strdup_printf("%s (%s)", value, holder);
}

static int on_held(void *context, const char *device, const char *holder) {
        g_autofree char *by = holder_name(holder);

        return add_device(context, device, USE_BLOCK_HOLDER, by);
}

static int on_claim(void *context, const char *device, const char *by) {
        return add_device(context, device, USE_BLOCK_HOLDER, by);
}

static int add_btrfs_device(void *context, const char *device) {
        add_mount(context, device, "a file system of btrfs");
        return 0;
}

/* A file system of btrfs has a device number of its own, and a folder with the devices that it is
 * on while it is mounted. */
static int add_btrfs(void *context, const char *name) {
        g_autofree char *path = g_strdup_printf(BTRFS "/%s/devices", name);

        return folder_foreach(path, add_btrfs_device, context);
}

static int add_superblock(void *context, const char *device) {
        StorageLook *look = context;

        if (!g_hash_table_contains(look->mounted, device))
                add_mount(look, device, "a place that cannot be seen");
        return 0;
}

/* A file system that is used has a folder with its device's name, also where no process sees it: it
 * was unmounted while files of it are open (MNT_DETACH), or is in a mount namespace that only a
 * file keeps. */
static int add_superblocks(StorageLook *look) {
        static const char *const folders[] = { "/sys/fs/ext4", "/sys/fs/xfs", "/sys/fs/f2fs" };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(folders); i++)
                r = folder_foreach(folders[i], add_superblock, look);
        return r;
}

/* A journal on a device of its own has a folder with that device's name, and one within a file
 * system has the name and the inode, "sda1-8" (jbd2_journal_init_dev()). */
static int add_journal(void *context, const char *name) {
        return add_device(context, name, USE_BLOCK_HOLDER, "a file system, as its journal");
}

/* Also of a file system that no process sees. */
static int add_bcachefs_member(void *context, const char *name) {
        const BcachefsSearch *search = context;
        g_autofree char *link = g_strdup_printf(BCACHEFS "/%s/%s/block", search->folder, name);
        g_autofree char *path = NULL, *device = NULL;
        int r = g_str_has_prefix(name, "dev-") ? device_path_resolve(link, &path) : 0;

        if (r <= 0)
                return r;
        device = g_path_get_basename(path);
        return add_superblock(search->look, device);
}

static int add_bcachefs(void *context, const char *name) {
        g_autofree char *path = g_strdup_printf(BCACHEFS "/%s", name);
        BcachefsSearch search = { context, name };

        return folder_foreach(path, add_bcachefs_member, &search);
}

static void host_storage_add_name(void *context, const char *name, PciKey key) {
        const StorageLook *look = context;

        use_child_add_name(look->child, key, DEVICE_NAME_BLOCK, name);
}

static int look_at_storage(UseChild *child, void *state) {
        g_autoptr(GHashTable) mounted =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GHashTable) devices =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        const HostStorage *storage = state;
        StorageLook look = { .child = child, .mounted = mounted, .devices = devices };
        g_autofree char *mounts = g_strconcat(storage->proc, "/1/mountinfo", NULL);
        g_autofree char *swaps = g_strconcat(storage->proc, "/1/root/proc/swaps", NULL);
        g_autofree char *journals = g_strconcat(storage->proc, "/1/root/proc/fs/jbd2", NULL);
        int r = mounts_read(mounts, on_mount, &look);

        if (r >= 0)
                r = mounts_read_others(storage->proc, &mounts_handler, &look);
        if (r >= 0)
                r = swaps_read(swaps, on_swap, &look);
        if (r >= 0)
                r = block_devices_held(on_held, &look);
        if (r >= 0)
                r = folder_foreach(BTRFS, add_btrfs, &look);
        if (r >= 0)
                r = folder_foreach(BCACHEFS, add_bcachefs, &look);
        if (r >= 0)
                r = add_superblocks(&look);
        if (r >= 0)
                r = folder_foreach(journals, add_journal, &look);
        if (r >= 0)
                r = block_claims(storage->proc, on_claim, &look);
        if (r >= 0)
                r = block_devices_named(host_storage_add_name, &look);
        return r < 0 ? r : look.error;
}

const UseSource host_storage = {
        .name = "vfwarden-disks",
        .what = "block devices",
        .open = open_storage,
        .event = take_storage_event,
        .look = look_at_storage,
};
