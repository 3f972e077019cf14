#include "daemon/uses/node-owners.h"

#include "daemon/base/util.h"
#include "daemon/uses/block-devices.h"
#include "daemon/uses/device-path.h"
#include "policy/device-node.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define IOMMU_GROUPS "/sys/kernel/iommu_groups"

struct NodeOwners {
        GHashTable *nodes; /* number, with NUMBER_OF_BLOCK -> NodeOwner*, owned; of none: no keys */
};

#define NUMBER_OF_BLOCK (UINT64_C(1) << 63)

static void node_owner_free(gpointer data) {
        NodeOwner *owner = data;

        g_free(owner->name);
        g_array_unref(owner->keys);
        g_free(owner);
}

NodeOwners *node_owners_new(void) {
        NodeOwners *owners = g_new(NodeOwners, 1);

        owners->nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, node_owner_free);
        return owners;
}

NodeOwners *node_owners_free(NodeOwners *owners) {
        if (!owners)
                return NULL;
        g_hash_table_unref(owners->nodes);
        g_free(owners);
        return NULL;
}

static void add_owner(NodeOwner *owner, PciKey key) {
        g_array_append_val(owner->keys, key);
}

static void add_disk_owner(void *context, const char *name, PciKey key) {
        add_owner(context, key);
}

/* The kernel's word; without the link, the folder that the device is in: "uio/uio0". */
static char *read_subsystem(const char *path) {
        g_autofree char *link = g_strconcat(path, "/subsystem", NULL);
        g_autofree char *target = g_file_read_link(link, NULL);
        g_autofree char *folder = g_path_get_dirname(path);

        return g_path_get_basename(target ? target : folder);
}

/* Whether the device at `path` is a mediated one: below a function, and none itself. */
static bool is_mediated(const char *path, PciKey *ret) {
        const char *name = strrchr(path, '/');
        PciAddress address;

        return name && pci_address_parse(name + 1, &address) < 0 && device_path_function(path, ret);
}

static void add_mediated(NodeOwner *owner, const char *link) {
        char path[PATH_MAX];
        PciKey key;

        if (realpath(link, path) && is_mediated(path, &key))
                add_owner(owner, key);
}

static void add_group(NodeOwner *owner) {
        g_autofree char *folder = g_strdup_printf(IOMMU_GROUPS "/%s/devices", owner->name);
        _cleanup_(closedirp) DIR *dir = opendir(folder);
        const struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                g_autofree char *link = g_strdup_printf("%s/%s", folder, entry->d_name);

                if (entry->d_name[0] != '.')
                        add_mediated(owner, link);
        }
}

/* A group of mediated devices, or the node of one: "UUID/vfio-dev/vfio0". */
static void find_mediated(NodeOwner *owner, const char *path, const char *subsystem) {
        g_autofree char *folder = g_path_get_dirname(path), *device = g_path_get_dirname(folder);

        owner->kind = USE_PROGRAM_MDEV;
        if (strcmp(subsystem, "vfio") == 0)
                add_group(owner);
        else
                add_mediated(owner, device);
}

static void find_character(NodeOwner *owner, const char *path) {
        g_autofree char *subsystem = read_subsystem(path);
        PciKey key;

        owner->kind = device_node_use(subsystem);
        if (owner->kind == _USE_KIND_INVALID)
                find_mediated(owner, path, subsystem);
        else if (device_path_function(path, &key))
                add_owner(owner, key);
}

static NodeOwner *find_owner(const struct statx *st, bool is_block) {
        g_autofree char *link = g_strdup_printf("/sys/dev/%s/%u:%u", is_block ? "block" : "char",
                                                st->stx_rdev_major, st->stx_rdev_minor);
        NodeOwner *owner = g_new0(NodeOwner, 1);
        char path[PATH_MAX];

        owner->kind = USE_PROGRAM_BLOCK;
        owner->keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        if (!realpath(link, path))
                return owner;
        owner->name = g_path_get_basename(path);
        if (is_block)
                (void) block_device_functions(owner->name, add_disk_owner, owner);
        else
                find_character(owner, path);
        return owner;
}

const NodeOwner *node_owners_find(NodeOwners *owners, const struct statx *st) {
        bool is_block = S_ISBLK(st->stx_mode);
        uint64_t number = makedev(st->stx_rdev_major, st->stx_rdev_minor);
        NodeOwner *owner;

        if (!is_block && !S_ISCHR(st->stx_mode))
                return NULL;
        if (is_block)
                number |= NUMBER_OF_BLOCK;
        owner = g_hash_table_lookup(owners->nodes, &number);
        if (!owner) {
                owner = find_owner(st, is_block);
                g_hash_table_insert(owners->nodes, g_memdup2(&number, sizeof(number)), owner);
        }
        return owner->keys->len > 0 ? owner : NULL;
}
