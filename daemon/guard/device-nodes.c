#include "daemon/guard/device-nodes.h"

#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/retries.h"
#include "daemon/base/util.h"
#include "daemon/guard/records.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/topology.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PERMISSIONS 0777U

typedef struct Node {
        GArray *holders; /* of PciKey: for whose sake it is closed; empty: it is to be opened */
        char *name;      /* below /dev */
        uint64_t device;
        unsigned mode; /* before */
        bool closed;
} Node;

struct DeviceNodes {
        const PartContext *context;
        GPtrArray *all;  /* of Node*, owned */
        GArray *removed; /* of PciKey: the functions whose nodes are to be closed, also new ones */
        Retries *unclosed; /* functions whose nodes could not all be looked at */
};

static void node_free(gpointer data) {
        Node *node = data;

        g_array_unref(node->holders);
        g_free(node->name);
        g_free(node);
}

static char *node_path(const char *name) {
        return g_build_filename(process_system_dev(), name, NULL);
}

static Node *node_new(DeviceNodes *nodes, const char *name) {
        Node *node = g_new0(Node, 1);

        node->holders = g_array_new(FALSE, FALSE, sizeof(PciKey));
        node->name = g_strdup(name);
        g_ptr_array_add(nodes->all, node);
        return node;
}

static Node *node_find(const DeviceNodes *nodes, const char *name) {
        for (guint i = 0; i < nodes->all->len; i++)
                if (g_str_equal(((const Node *) nodes->all->pdata[i])->name, name))
                        return nodes->all->pdata[i];
        return NULL;
}

/* Returns whether `key` was among them. */
static bool drop_key(GArray *keys, PciKey key) {
        for (guint i = 0; i < keys->len; i++)
                if (g_array_index(keys, PciKey, i) == key) {
                        g_array_remove_index_fast(keys, i);
                        return true;
                }
        return false;
}

static void add_key(GArray *keys, PciKey key) {
        (void) drop_key(keys, key);
        g_array_append_val(keys, key);
}

/* Takes `name` over. Returns 0 or a negative errno. */
static int plan_node(DeviceNodes *nodes, PciKey key, char *name) {
        g_autofree char *owned = name, *path = node_path(name);
        Node *node = node_find(nodes, name);
        struct stat st;
        int r = lstat(path, &st) < 0 ? -errno : 0;

        /* One that is closed already, or could not be opened again, stays closed. */
        if (node && (r < 0 || (st.st_rdev == node->device && !(st.st_mode & PERMISSIONS))))
                add_key(node->holders, key);
        if (r < 0)
                return errno_means_absent(r) ? 0 : r;
        if (!S_ISCHR(st.st_mode) || !(st.st_mode & PERMISSIONS))
                return 0;
        if (!node)
                node = node_new(nodes, name);
        node->device = st.st_rdev;
        node->mode = st.st_mode & 07777U;
        node->closed = false;
        add_key(node->holders, key);
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

/* Notes the nodes of the function, of its VFs and of all below it as to be closed. Returns 0, or a
 * negative errno when one cannot be looked at: the others are noted. */
static int plan(DeviceNodes *nodes, const Function *function) {
        const Inventory *inventory = nodes->context->inventory;
        g_autoptr(GPtrArray) below = topology_below(function);
        int result = plan_function(nodes, function->facts.key, inventory, function);

        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                int r = plan_function(nodes, function->facts.key, inventory,
                                      function->vfs->pdata[i]);

                if (r < 0)
                        result = r;
        }
        for (guint i = 0; i < below->len; i++) {
                int r = plan_function(nodes, function->facts.key, inventory, below->pdata[i]);

                if (r < 0)
                        result = r;
        }
        return result;
}

static bool is_to_be_closed(const Node *node) {
        return !node->closed && node->holders->len > 0;
}

static void commit(DeviceNodes *nodes) {
        for (guint i = 0; i < nodes->all->len; i++) {
                Node *node = nodes->all->pdata[i];
                g_autofree char *path = node_path(node->name);
                PciAddress address;

                if (!is_to_be_closed(node))
                        continue;
                address = pci_address_from_key(g_array_index(node->holders, PciKey, 0));
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
static void unlock_node(DeviceNodes *nodes, guint i) {
        Node *node = nodes->all->pdata[i];
        g_autofree char *problem = g_strconcat("node ", node->name, NULL);
        int r = try_open(node);

        if (r < 0) {
                problems_report(nodes->context->problems, problem,
                                "Failed to restore the mode of /dev/%s: %s", node->name,
                                g_strerror(-r));
                return;
        }
        problems_resolve(nodes->context->problems, problem);
        g_ptr_array_remove_index(nodes->all, i);
}

/* Opens the nodes that were closed for the function at `key` alone. Returns whether any was closed
 * for it. */
static bool open_nodes(DeviceNodes *nodes, PciKey key) {
        bool any = false;

        for (guint i = nodes->all->len; i > 0; i--) {
                Node *node = nodes->all->pdata[i - 1];

                if (!drop_key(node->holders, key))
                        continue;
                if (node->holders->len == 0)
                        unlock_node(nodes, i - 1);
                any = true;
        }
        return any;
}

/* Whether the nodes to write-protect could be found. */
static void note_looked(DeviceNodes *nodes, PciKey key, int r) {
        PciAddress address = pci_address_from_key(key);

        if (r >= 0) {
                problems_resolve_function(nodes->context->problems, address, "nodes");
                retries_drop(nodes->unclosed, key);
                return;
        }
        problems_report_function(nodes->context->problems, address, "nodes",
                                 "Failed to look at the device nodes to write-protect: %s",
                                 g_strerror(-r));
        retries_add(nodes->unclosed, key);
}

void device_nodes_open(DeviceNodes *nodes, PciKey key) {
        const PartContext *context = nodes->context;

        (void) drop_key(nodes->removed, key);
        note_looked(nodes, key, 0);
        if (open_nodes(nodes, key))
                context->host->record_changed(context->host_context);
}

/* Closes what was noted for the function at `key`. */
static void close_planned(DeviceNodes *nodes, PciKey key) {
        const PartContext *context = nodes->context;
        bool any = false;

        for (guint i = 0; i < nodes->all->len; i++)
                any |= is_to_be_closed(nodes->all->pdata[i]);
        if (!any)
                return;
        context->host->record_changed(context->host_context);
        /* The next daemon needs their modes to open them again. */
        if (context->host->save(context->host_context) < 0)
                (void) open_nodes(nodes, key);
        else
                commit(nodes);
}

static void close_all(DeviceNodes *nodes, const Function *function) {
        note_looked(nodes, function->facts.key, plan(nodes, function));
        close_planned(nodes, function->facts.key);
}

void device_nodes_close(DeviceNodes *nodes, const Function *function) {
        add_key(nodes->removed, function->facts.key);
        close_all(nodes, function);
}

static void on_device_nodes_due(void *userdata, PciKey key) {
        DeviceNodes *nodes = userdata;
        const Function *function = inventory_get(nodes->context->inventory, key);

        if (function)
                close_all(nodes, function);
        else
                retries_drop(nodes->unclosed, key);
}

/* --- the part */

static void free_device_nodes(void *self) {
        DeviceNodes *nodes = self;

        retries_free(nodes->unclosed);
        g_ptr_array_unref(nodes->all);
        g_array_unref(nodes->removed);
        g_free(nodes);
}

static int new_device_nodes(const PartContext *context, void **ret) {
        DeviceNodes *nodes = g_new0(DeviceNodes, 1);
        int r;

        nodes->context = context;
        nodes->all = g_ptr_array_new_with_free_func(node_free);
        nodes->removed = g_array_new(FALSE, FALSE, sizeof(PciKey));
        r = retries_new(context->event, on_device_nodes_due, nodes, &nodes->unclosed);
        if (r < 0) {
                free_device_nodes(nodes);
                return r;
        }
        *ret = nodes;
        return 0;
}

static void record_device_nodes(void *self, GArray *records) {
        const DeviceNodes *nodes = self;

        for (guint i = 0; i < nodes->all->len; i++) {
                const Node *node = nodes->all->pdata[i];
                StateNode record = { g_strdup(node->name), node->device, node->mode };

                g_array_append_val(records, record);
        }
}

static int adopt_device_nodes(void *self, const GArray *records) {
        DeviceNodes *nodes = self;

        for (guint i = 0; i < records->len; i++) {
                const StateNode *record = &g_array_index(records, StateNode, i);
                Node *node = node_new(nodes, record->name);

                node->device = record->device;
                node->mode = record->mode;
                node->closed = true;
                unlock_node(nodes, nodes->all->len - 1);
        }
        return 0;
}

/* A function that is being removed may get a node when it is bound to VFIO meanwhile. */
static int device_nodes_function_changed(void *self, Function *function, unsigned news) {
        DeviceNodes *nodes = self;
        const Inventory *inventory = nodes->context->inventory;

        for (guint i = 0; i < nodes->removed->len; i++) {
                PciKey key = g_array_index(nodes->removed, PciKey, i);
                const Function *removed = inventory_get(inventory, key);
                int r;

                if (!removed || (function->pf != removed && !topology_is_below(function, removed)))
                        continue;
                r = plan_function(nodes, key, inventory, function);
                if (r < 0)
                        note_looked(nodes, key, r);
                close_planned(nodes, key);
        }
        return 0;
}

static void device_nodes_function_gone(void *self, Function *function) {
        DeviceNodes *nodes = self;

        retries_drop(nodes->unclosed, function->facts.key);
        (void) drop_key(nodes->removed, function->facts.key);
}

static bool is_failing(const DeviceNodes *nodes) {
        for (guint i = 0; i < nodes->all->len; i++)
                if (((const Node *) nodes->all->pdata[i])->holders->len == 0)
                        return true;
        return false;
}

static PartCheck device_nodes_want_check(const void *self) {
        const DeviceNodes *nodes = self;

        if (is_failing(nodes))
                return PART_CHECK_SOON;
        return nodes->removed->len > 0 ? PART_CHECK_SOMETIMES : PART_CHECK_NEVER;
}

/* Tries again to open what could not be opened, and closes what udev's rules have opened: udev may
 * apply them to a new node after the uevent of its function. */
static void check_device_nodes(void *self) {
        DeviceNodes *nodes = self;
        const PartContext *context = nodes->context;
        guint before;

        for (guint i = 0; i < nodes->removed->len; i++)
                on_device_nodes_due(nodes, g_array_index(nodes->removed, PciKey, i));
        before = nodes->all->len;
        for (guint i = before; i > 0; i--)
                if (((const Node *) nodes->all->pdata[i - 1])->holders->len == 0)
                        unlock_node(nodes, i - 1);
        if (nodes->all->len < before)
                context->host->record_changed(context->host_context);
}

const Part device_nodes_part = {
        .name = "device-nodes",
        .section = &device_nodes_section,
        .new = new_device_nodes,
        .adopt = adopt_device_nodes,
        .record = record_device_nodes,
        .hears = PART_NEWS_READ,
        .function_changed = device_nodes_function_changed,
        .function_gone = device_nodes_function_gone,
        .wants_check = device_nodes_want_check,
        .check = check_device_nodes,
        .free = free_device_nodes,
};
