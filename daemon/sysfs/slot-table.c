#include "daemon/sysfs/slot-table.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/slot.h"
#include "policy/topology.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

/* The same text in `address` is a device elsewhere, and a function on s390 (s390_pci_hpc.c). */
typedef struct Names {
        GHashTable *by_device;   /* PciKey* of its first function -> interned name */
        GHashTable *by_function; /* PciKey* -> interned name */
} Names;

typedef struct SlotTable {
        const PartContext *context;
        Names names;
        uint64_t turn; /* of the loop, in which they were read */
} SlotTable;

static Names names_new(void) {
        return (Names){
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
        };
}

static void names_clear(Names *names) {
        g_clear_pointer(&names->by_device, g_hash_table_unref);
        g_clear_pointer(&names->by_function, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Names, names_clear)

static void slot_table_add(GHashTable *names, const char *address, bool s390, const char *name) {
        PciAddress slot;
        PciKey key;

        if (pci_address_parse_slot(address, s390, &slot) < 0)
                return;
        key = pci_address_key(slot);
        g_hash_table_replace(names, g_memdup2(&key, sizeof(key)), (gpointer) g_intern_string(name));
}

/* Returns 0, also for a slot that has just gone, or whose address makes no sense. */
static int read_slot(int parent, const char *name, const Names *names) {
        _cleanup_(closep) int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        char value[SYSFS_VALUE_MAX];
        ssize_t n = fd < 0 ? -errno : sysfs_read(fd, "address", value, sizeof(value));

        if (n < 0)
                return errno_means_absent((int) n) || errno_means_malformed((int) n) ? 0 : (int) n;
        slot_table_add(names->by_device, value, false, name);
        slot_table_add(names->by_function, value, true, name);
        return 0;
}

static int slot_table_read_all(const Names *names) {
        _cleanup_(closedirp) DIR *dir = opendir(SYSFS_PCI_SLOTS);
        const struct dirent *entry;
        int r = 0;

        if (!dir)
                return errno_means_absent(-errno) ? 0 : -errno;
        while (r == 0 && (errno = 0, entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        r = read_slot(dirfd(dir), entry->d_name, names);
        return r < 0 ? r : -errno;
}

/* Whether `names` has a slot that `others` has not, or by another name. */
static bool differs(GHashTable *names, GHashTable *others) {
        GHashTableIter iter;
        gpointer key, name;

        g_hash_table_iter_init(&iter, names);
        while (g_hash_table_iter_next(&iter, &key, &name))
                if (g_hash_table_lookup(others, key) != name)
                        return true;
        return false;
}

static bool names_differ(const Names *a, const Names *b) {
        return differs(a->by_device, b->by_device) || differs(b->by_device, a->by_device) ||
               differs(a->by_function, b->by_function) || differs(b->by_function, a->by_function);
}

/* Reads all slots again. Returns whether any is another one now, or a negative errno, with the
 * table as it was. */
static int read_table(SlotTable *table) {
        g_auto(Names) names = names_new();
        Names before = table->names;
        int r = slot_table_read_all(&names);

        if (r < 0)
                return r;
        r = names_differ(&names, &before);
        table->names = names;
        names = before;
        return r;
}

/* The name of the slot that holds the function itself; NULL: none. Interned. */
static const char *slot_table_find_slot(const SlotTable *table, const Function *function) {
        PciKey key = pci_address_key(slot_address(function));

        if (function->facts.s390)
                return g_hash_table_lookup(table->names.by_function, &key);
        /* A VF has its PF's device number, or one that says nothing about where it is. */
        if (function->kind == FUNCTION_KIND_VF)
                return NULL;
        return g_hash_table_lookup(table->names.by_device, &key);
}

/* The slot of a function is that of its VFs (but on s390) and of all below it. */
static void set_slot(const SlotTable *table, Function *function) {
        const PartContext *context = table->context;
        const char *slot = slot_table_find_slot(table, function);
        g_autoptr(GPtrArray) concerned = NULL;

        if (slot == function->slot)
                return;
        function->slot = slot;
        concerned = topology_below(function);
        g_ptr_array_add(concerned, function);
        for (guint i = 0; !function->facts.s390 && function->vfs && i < function->vfs->len; i++)
                g_ptr_array_add(concerned, function->vfs->pdata[i]);
        for (guint i = 0; i < concerned->len; i++) {
                Function *one = concerned->pdata[i];

                property_set_add(&one->changes, FUNCTION_PROPERTY_SLOT);
                context->host->queue(context->host_context, one);
        }
}

static void read_again(SlotTable *table) {
        Function *function;
        uint64_t turn = 0;
        int r;

        (void) sd_event_get_iteration(table->context->event, &turn);
        if (table->turn == turn + 1)
                return;
        r = read_table(table);
        if (r < 0) { /* tried again with the next function that is new */
                log_debug("Failed to read the slots: %s", g_strerror(-r));
                return;
        }
        table->turn = turn + 1; /* 0 is never */
        if (r == 0)
                return;
        inventory_foreach (table->context->inventory, function)
                set_slot(table, function);
}

/* --- the part */

static int new_slot_table(const PartContext *context, void **ret) {
        SlotTable *table = g_new0(SlotTable, 1);

        table->context = context;
        table->names = names_new();
        *ret = table;
        return 0;
}

static void free_slot_table(void *self) {
        SlotTable *table = self;

        names_clear(&table->names);
        g_free(table);
}

static void attach_slot(void *self, Function *function) {
        if (function->facts.s390 || function->kind != FUNCTION_KIND_VF)
                read_again(self);
        set_slot(self, function);
}

/* The hot-plug driver of a bridge makes the slots below it, and its driver says what is in them. */
static int slot_table_hear(void *self, Function *function, unsigned news) {
        g_autoptr(GPtrArray) children = NULL;

        if (!topology_is_bridge(function))
                return 0;
        read_again(self);
        children = topology_children(function);
        for (guint i = 0; i < children->len; i++)
                set_slot(self, children->pdata[i]);
        return 0;
}

const Part slot_table_part = {
        .name = "slot-table",
        .new = new_slot_table,
        .attach = attach_slot,
        .hears = PART_NEWS_READ,
        .function_changed = slot_table_hear,
        .free = free_slot_table,
};
