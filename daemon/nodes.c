#include "daemon/nodes.h"

#include "daemon/log.h"
#include "daemon/sysfs.h"
#include "daemon/util.h"
#include "daemon/vfio-watch.h"

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
} Node;

struct Nodes {
        GPtrArray *all; /* of Node*, owned */
};

static void node_free(gpointer data) {
        Node *node = data;

        g_free(node->name);
        g_free(node);
}

Nodes *nodes_new(void) {
        Nodes *nodes = g_new(Nodes, 1);

        nodes->all = g_ptr_array_new_with_free_func(node_free);
        return nodes;
}

Nodes *nodes_free(Nodes *nodes) {
        if (!nodes)
                return NULL;
        g_ptr_array_unref(nodes->all);
        g_free(nodes);
        return NULL;
}

static char *node_path(const char *name) {
        return g_build_filename(vfio_watch_dev_directory(), name, NULL);
}

static void plan_node(Nodes *nodes, PciKey key, char *name) {
        g_autofree char *owned = name, *path = node_path(name);
        struct stat st;
        Node *node;

        if (lstat(path, &st) < 0 || !S_ISCHR(st.st_mode) || !(st.st_mode & PERMISSIONS))
                return;
        node = g_new(Node, 1);
        *node = (Node){ .key = key,
                        .name = g_steal_pointer(&owned),
                        .device = st.st_rdev,
                        .mode = st.st_mode & 07777U };
        g_ptr_array_add(nodes->all, node);
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

static void plan_function(Nodes *nodes, PciKey key, const Inventory *inventory,
                          const Function *function) {
        _cleanup_(closep) int dirfd = sysfs_open_function(function_address(function));
        _cleanup_(closedirp) DIR *dir = opendir_at(dirfd, "vfio-dev");
        const struct dirent *entry;

        if (has_group_alone(inventory, function))
                plan_node(nodes, key, g_strdup_printf("vfio/%d", function->facts.iommu_group));
        while (dir && (entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        plan_node(nodes, key, g_strconcat("vfio/devices/", entry->d_name, NULL));
}

void nodes_plan(Nodes *nodes, const Inventory *inventory, const Function *function) {
        plan_function(nodes, function->facts.key, inventory, function);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                plan_function(nodes, function->facts.key, inventory, function->vfs->pdata[i]);
}

void nodes_commit(Nodes *nodes) {
        for (guint i = 0; i < nodes->all->len; i++) {
                Node *node = nodes->all->pdata[i];
                g_autofree char *path = node_path(node->name);
                PciAddress address = pci_address_from_key(node->key);

                if (node->closed)
                        continue;
                node->closed = true;
                if (chmod(path, node->mode & ~PERMISSIONS) < 0 && errno != ENOENT)
                        log_full(LOG_WARNING, &address, NULL,
                                 "/dev/%s cannot be closed to newcomers: %m", node->name);
        }
}

/* Another device may have the name by now, and somebody may have chosen another mode. */
static void open_node(const char *name, uint64_t device, unsigned mode) {
        g_autofree char *path = node_path(name);
        struct stat st;

        if (lstat(path, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != device ||
            (st.st_mode & PERMISSIONS))
                return;
        if (chmod(path, mode) < 0)
                log_warning("/dev/%s cannot be opened to users again: %m", name);
}

bool nodes_open(Nodes *nodes, PciKey key) {
        bool any = false;

        for (guint i = nodes->all->len; i > 0; i--) {
                const Node *node = nodes->all->pdata[i - 1];

                if (node->key != key)
                        continue;
                open_node(node->name, node->device, node->mode);
                g_ptr_array_remove_index(nodes->all, i - 1);
                any = true;
        }
        return any;
}

void nodes_record(const Nodes *nodes, State *state) {
        for (guint i = 0; i < nodes->all->len; i++) {
                const Node *node = nodes->all->pdata[i];
                StateNode record = { g_strdup(node->name), node->device, node->mode };

                g_array_append_val(state->nodes, record);
        }
}

void nodes_undo(const State *state) {
        for (guint i = 0; i < state->nodes->len; i++) {
                const StateNode *record = &g_array_index(state->nodes, StateNode, i);

                open_node(record->name, record->device, record->mode);
        }
}
