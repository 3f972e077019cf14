#include "daemon/guard/device-nodes.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/guard/records.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/usage/vfio-watch.h"
#include "policy/absence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PERMISSIONS 0777U

typedef struct Node {
        PciKey key; /* for whose sake it is closed */
        char *name; /* below /dev */
        uint64_t device;
        unsigned mode; /* before */
        bool closed;
        bool failing; /* it is to be opened, and could not be */
} Node;

struct DeviceNodes {
        Problems *problems;
        GPtrArray *all; /* of Node*, owned */
};

static void node_free(gpointer data) {
        Node *node = data;

        g_free(node->name);
        g_free(node);
}

DeviceNodes *device_nodes_new(Problems *problems) {
        DeviceNodes *nodes = g_new(DeviceNodes, 1);

        nodes->problems = problems;
        nodes->all = g_ptr_array_new_with_free_func(node_free);
        return nodes;
}

DeviceNodes *device_nodes_free(DeviceNodes *nodes) {
        if (!nodes)
                return NULL;
        g_ptr_array_unref(nodes->all);
        g_free(nodes);
        return NULL;
}

static char *node_path(const char *name) {
        return g_build_filename(vfio_watch_dev_directory(), name, NULL);
}

/* One that could not be opened after an earlier unplug is to stay closed now. */
static bool take_up(DeviceNodes *nodes, PciKey key, const char *name) {
        for (guint i = 0; i < nodes->all->len; i++) {
                Node *node = nodes->all->pdata[i];

                if (!node->failing || !g_str_equal(node->name, name))
                        continue;
                node->failing = false;
                node->key = key;
                return true;
        }
        return false;
}

/* Takes `name` over. Returns 0 or a negative errno. */
static int plan_node(DeviceNodes *nodes, PciKey key, char *name) {
        g_autofree char *owned = name, *path = node_path(name);
        struct stat st;
        Node *node;

        if (take_up(nodes, key, name))
                return 0;
        if (lstat(path, &st) < 0)
                return errno_means_absent(-errno) ? 0 : -errno;
        if (!S_ISCHR(st.st_mode) || !(st.st_mode & PERMISSIONS))
                return 0;
        node = g_new(Node, 1);
        *node = (Node){ .key = key,
                        .name = g_steal_pointer(&owned),
                        .device = st.st_rdev,
                        .mode = st.st_mode & 07777U };
        g_ptr_array_add(nodes->all, node);
        return 0;
}

/* Bridges are nobody's to open. */
static bool has_group_alone(const Inventory *inventory, const Function *function) {
        const GPtrArray *group = inventory_group(inventory, function->facts.iommu_group);

        for (guint i = 0; group && i < group->len; i++) {
                const Function *peer = group->pdata[i];

                if (peer != function && peer->facts.class_code >> 8 != 0x0604)
                        return false;
        }
        return group;
}

static int plan_device(DeviceNodes *nodes, PciKey key, const Function *function) {
        _cleanup_(closep) int dirfd = sysfs_open_function(function_address(function));
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        int r = 0;

        if (dirfd < 0)
                return errno_means_absent(dirfd) ? 0 : dirfd;
        dir = opendir_at(dirfd, "vfio-dev");
        if (!dir)
                return errno_means_absent(-errno) ? 0 : -errno;
        while (r >= 0 && (errno = 0, entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        r = plan_node(nodes, key,
                                      g_strconcat("vfio/devices/", entry->d_name, NULL));
        return r < 0 ? r : -errno;
}

static int plan_function(DeviceNodes *nodes, PciKey key, const Inventory *inventory,
                         const Function *function) {
        int group = 0, device;

        if (has_group_alone(inventory, function))
                group = plan_node(nodes, key,
                                  g_strdup_printf("vfio/%d", function->facts.iommu_group));
        device = plan_device(nodes, key, function);
        return group < 0 ? group : device;
}

int device_nodes_plan(DeviceNodes *nodes, const Inventory *inventory, const Function *function) {
        int result = plan_function(nodes, function->facts.key, inventory, function);

        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                int r = plan_function(nodes, function->facts.key, inventory,
                                      function->vfs->pdata[i]);

                if (r < 0)
                        result = r;
        }
        return result;
}

void device_nodes_commit(DeviceNodes *nodes) {
        for (guint i = 0; i < nodes->all->len; i++) {
                Node *node = nodes->all->pdata[i];
                g_autofree char *path = node_path(node->name);
                PciAddress address = pci_address_from_key(node->key);

                if (node->closed)
                        continue;
                node->closed = true;
                if (chmod(path, node->mode & ~PERMISSIONS) < 0 && errno != ENOENT)
                        log_full(LOG_WARNING, &address, NULL, "Failed to write-protect /dev/%s: %m",
                                 node->name);
        }
}

/* Another device may have the name by now, and somebody may have chosen another mode. Returns 0 or
 * a negative errno. */
static int try_open(const Node *node) {
        g_autofree char *path = node_path(node->name);
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno_means_absent(-errno) ? 0 : -errno;
        if (!S_ISCHR(st.st_mode) || st.st_rdev != node->device || (st.st_mode & PERMISSIONS))
                return 0;
        return chmod(path, node->mode) < 0 && !errno_means_absent(-errno) ? -errno : 0;
}

/* Opens number `i` to users and forgets it, or keeps its record as long as that fails. */
static void open_node(DeviceNodes *nodes, guint i) {
        Node *node = nodes->all->pdata[i];
        g_autofree char *problem = g_strconcat("node ", node->name, NULL);
        int r = try_open(node);

        node->failing = r < 0;
        if (r < 0) {
                problems_report(nodes->problems, problem,
                                "Failed to open /dev/%s to users again: %s", node->name,
                                g_strerror(-r));
                return;
        }
        problems_resolve(nodes->problems, problem);
        g_ptr_array_remove_index(nodes->all, i);
}

bool device_nodes_open(DeviceNodes *nodes, PciKey key) {
        bool any = false;

        for (guint i = nodes->all->len; i > 0; i--) {
                const Node *node = nodes->all->pdata[i - 1];

                if (node->key != key)
                        continue;
                open_node(nodes, i - 1);
                any = true;
        }
        return any;
}

void device_nodes_record(const DeviceNodes *nodes, GArray *records) {
        for (guint i = 0; i < nodes->all->len; i++) {
                const Node *node = nodes->all->pdata[i];
                StateNode record = { g_strdup(node->name), node->device, node->mode };

                g_array_append_val(records, record);
        }
}

void device_nodes_undo(DeviceNodes *nodes, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateNode *record = &g_array_index(records, StateNode, i);
                Node *node = g_new(Node, 1);

                *node = (Node){ .name = g_strdup(record->name),
                                .device = record->device,
                                .mode = record->mode,
                                .closed = true };
                g_ptr_array_add(nodes->all, node);
                open_node(nodes, nodes->all->len - 1);
        }
}

void device_nodes_retry(DeviceNodes *nodes) {
        for (guint i = nodes->all->len; i > 0; i--)
                if (((const Node *) nodes->all->pdata[i - 1])->failing)
                        open_node(nodes, i - 1);
}

bool device_nodes_failing(const DeviceNodes *nodes) {
        for (guint i = 0; i < nodes->all->len; i++)
                if (((const Node *) nodes->all->pdata[i])->failing)
                        return true;
        return false;
}
