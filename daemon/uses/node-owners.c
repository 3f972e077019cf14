#include "daemon/uses/node-owners.h"

#include "daemon/base/folder.h"
#include "daemon/uses/block-devices.h"
#include "daemon/uses/device-path.h"
#include "policy/device-node.h"

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

static int add_mediated(NodeOwner *owner, const char *link) {
        g_autofree char *path = NULL;
        PciKey key;
        int r = device_path_resolve(link, &path);

        if (r > 0 && is_mediated(path, &key))
                add_owner(owner, key);
        return r;
}

static int add_member(void *context, const char *name) {
        NodeOwner *owner = context;
        g_autofree char *link = g_strdup_printf(IOMMU_GROUPS "/%s/devices/%s", owner->name, name);

        return add_mediated(owner, link);
}

static int add_group(NodeOwner *owner) {
        g_autofree char *folder = g_strdup_printf(IOMMU_GROUPS "/%s/devices", owner->name);

        return folder_foreach(folder, add_member, owner);
}

/* A group of mediated devices, or the node of one: "UUID/vfio-dev/vfio0". */
static int find_mediated(NodeOwner *owner, const char *path, const char *subsystem) {
        g_autofree char *folder = g_path_get_dirname(path), *device = g_path_get_dirname(folder);

        owner->kind = USE_PROGRAM_MDEV;
        return strcmp(subsystem, "vfio") == 0 ? add_group(owner) : add_mediated(owner, device);
}

static int find_character(NodeOwner *owner, const char *path) {
        g_autofree char *subsystem = read_subsystem(path);
        PciKey key;

        owner->kind = device_node_use(subsystem);
        if (owner->kind == _USE_KIND_INVALID)
                return find_mediated(owner, path, subsystem);
        if (device_path_function(path, &key))
                add_owner(owner, key);
        return 0;
}

static int find_owner(NodeOwner *owner, const struct statx *st, bool is_block) {
        g_autofree char *link = g_strdup_printf("/sys/dev/%s/%u:%u", is_block ? "block" : "char",
                                                st->stx_rdev_major, st->stx_rdev_minor);
        g_autofree char *path = NULL;
        int r = device_path_resolve(link, &path);

        owner->kind = USE_PROGRAM_BLOCK;
        owner->keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        if (r <= 0)
                return r;
        owner->name = g_path_get_basename(path);
        return is_block ? block_device_functions(owner->name, add_disk_owner, owner)
                        : find_character(owner, path);
}

/* One that was found in part is forgotten, and looked for with the next descriptor. */
static int add_node_owner(NodeOwners *owners, const struct statx *st, uint64_t number,
                          NodeOwner **ret) {
        NodeOwner *owner = g_new0(NodeOwner, 1);
        int r = find_owner(owner, st, S_ISBLK(st->stx_mode));

        if (r < 0) {
                node_owner_free(owner);
                return r;
        }
        g_hash_table_insert(owners->nodes, g_memdup2(&number, sizeof(number)), owner);
        *ret = owner;
        return 0;
}

int node_owners_find(NodeOwners *owners, const struct statx *st, const NodeOwner **ret) {
        uint64_t number = makedev(st->stx_rdev_major, st->stx_rdev_minor);
        NodeOwner *owner;
        int r = 0;

        if (!S_ISBLK(st->stx_mode) && !S_ISCHR(st->stx_mode))
                return 0;
        if (S_ISBLK(st->stx_mode))
                number |= NUMBER_OF_BLOCK;
        owner = g_hash_table_lookup(owners->nodes, &number);
        if (!owner)
                r = add_node_owner(owners, st, number, &owner);
        if (r < 0 || owner->keys->len == 0)
                return r;
        *ret = owner;
        return 1;
}
