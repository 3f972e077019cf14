#include "daemon/uses/host-storage.h"

#include "daemon/base/folder.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/uses/block-claims.h"
#include "daemon/uses/block-devices.h"
#include "daemon/uses/kernel-events.h"
#include "daemon/uses/mounts.h"
#include "policy/absence.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

/* The disk of "/" is mounted once for each directory of a container. */
#define MOUNTS_OF_DEVICE_MAX 4

#define BTRFS                "/sys/fs/btrfs"

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

static char *find_mounted_device(StorageLook *look, const Mount *mount) {
        return mount->major != 0 ? find_numbered_device(look, mount->major, mount->minor)
                                 : find_named_device(look, mount->source);
}

static void on_mount(void *context, const Mount *mount) {
        StorageLook *look = context;
        g_autofree char *key = NULL;
        const char *known;
        char *device;

        if (mount->major == 0 && !has_source(mount->type))
                return;
        key = mount->major != 0 ? g_strdup_printf("%u:%u", mount->major, mount->minor)
                                : g_strdup(mount->source);
        known = g_hash_table_lookup(look->devices, key);
        if (!known) {
                device = find_mounted_device(look, mount);
                known = device ? device : g_strdup("");
                g_hash_table_insert(look->devices, g_steal_pointer(&key), (gpointer) known);
        }
        if (known[0] != '\0')
                add_mount(look, known, mount->point);
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
                r = add_superblocks(&look);
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
