#include "daemon/guard/guarded-links.h"

#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/number.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

struct GuardedLinks {
        GHashTable *functions; /* PciKey*, owned -> GArray of GuardLinkKey, owned */
};

static void links_array_free(gpointer array) {
        g_array_unref(array);
}

GuardedLinks *guarded_links_new(void) {
        GuardedLinks *links = g_new(GuardedLinks, 1);

        links->functions =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, links_array_free);
        return links;
}

GuardedLinks *guarded_links_free(GuardedLinks *links) {
        if (!links)
                return NULL;
        g_hash_table_unref(links->functions);
        g_free(links);
        return NULL;
}

/* Returns 0, with the index 0 when it has gone, or is called otherwise meanwhile: another change
 * will tell. Or a negative errno. */
static int read_index(PciAddress address, const char *name, unsigned *ret) {
        g_autofree char *attribute = g_strdup_printf("net/%s/ifindex", name);
        g_autofree char *path = sysfs_function_path(address, attribute);
        char value[SYSFS_VALUE_MAX];
        uint64_t index = 0;
        ssize_t n = sysfs_read(AT_FDCWD, path, value, sizeof(value));

        if (n < 0 && !errno_means_absent((int) n))
                return (int) n;
        if (n > 0)
                (void) number_parse(value, 10, INT_MAX, &index);
        *ret = (unsigned) index;
        return 0;
}

static int read_links(const Function *function, GArray *keys) {
        const GPtrArray *names = device_names_list(function->names, DEVICE_NAME_INTERFACE);

        for (guint i = 0; names && i < names->len; i++) {
                const char *name = names->pdata[i];
                GuardLinkKey by_name = { 0 }, by_index = { 0 };
                int r = read_index(function_address(function), name, &by_index.index);

                if (r < 0)
                        return r;
                if (by_index.index == 0 ||
                    g_strlcpy(by_name.name, name, sizeof(by_name.name)) >= sizeof(by_name.name))
                        continue;
                g_array_append_val(keys, by_name);
                g_array_append_val(keys, by_index);
        }
        return 0;
}

static int write_links(KernelMaps *maps, PciKey key, const GArray *keys) {
        char address[PCI_ADDRESS_STRING_MAX];
        GuardLink link = { 0 };
        int error = 0;

        pci_address_format(pci_address_from_key(key), address);
        g_strlcpy(link.function, address, sizeof(link.function));
        for (guint i = 0; maps && i < keys->len; i++) {
                int r = kernel_maps_set_link(maps, &g_array_index(keys, GuardLinkKey, i), &link);

                error = r < 0 ? r : error;
        }
        return error;
}

static bool arrays_equal(const GArray *a, const GArray *b) {
        return a && a->len == b->len &&
               (a->len == 0 || memcmp(a->data, b->data, a->len * sizeof(GuardLinkKey)) == 0);
}

static bool array_contains(const GArray *keys, const GuardLinkKey *wanted) {
        for (guint i = 0; i < keys->len; i++)
                if (memcmp(&g_array_index(keys, GuardLinkKey, i), wanted, sizeof(*wanted)) == 0)
                        return true;
        return false;
}

bool guarded_links_contain(const GuardedLinks *links, const GuardLinkKey *key) {
        GHashTableIter iter;
        gpointer keys;

        g_hash_table_iter_init(&iter, links->functions);
        while (g_hash_table_iter_next(&iter, NULL, &keys))
                if (array_contains(keys, key))
                        return true;
        return false;
}

/* What `keys` had, except for a name that another function's interface has by now. */
static int remove_links(const GuardedLinks *links, KernelMaps *maps, const GArray *keys) {
        int error = 0;

        for (guint i = 0; maps && keys && i < keys->len; i++) {
                const GuardLinkKey *key = &g_array_index(keys, GuardLinkKey, i);
                int r = guarded_links_contain(links, key) ? 0
                                                          : kernel_maps_set_link(maps, key, NULL);

                error = r < 0 ? r : error;
        }
        return error;
}

/* The function's links are `now` (taken over), or none. */
static int replace_links(GuardedLinks *links, KernelMaps *maps, PciKey key, GArray *now) {
        g_autoptr(GArray) before = g_hash_table_lookup(links->functions, &key);
        int removed, added;

        if (before)
                g_array_ref(before);
        if (now)
                g_hash_table_replace(links->functions, g_memdup2(&key, sizeof(key)), now);
        else
                (void) g_hash_table_remove(links->functions, &key);
        removed = remove_links(links, maps, before);
        added = now ? write_links(maps, key, now) : 0;
        return added < 0 ? added : removed;
}

int guarded_links_plan(GuardedLinks *links, KernelMaps *maps, const Function *function,
                       bool wanted) {
        PciKey key = function->facts.key;
        g_autoptr(GArray) now = NULL;
        int r;

        if (!wanted)
                return guarded_links_forget(links, maps, key);
        now = g_array_new(FALSE, TRUE, sizeof(GuardLinkKey));
        r = read_links(function, now);
        if (r < 0 || arrays_equal(g_hash_table_lookup(links->functions, &key), now))
                return r;
        return replace_links(links, maps, key, g_steal_pointer(&now));
}

int guarded_links_forget(GuardedLinks *links, KernelMaps *maps, PciKey key) {
        return replace_links(links, maps, key, NULL);
}

int guarded_links_write(const GuardedLinks *links, KernelMaps *maps) {
        GHashTableIter iter;
        gpointer key, keys;
        int error = 0;

        g_hash_table_iter_init(&iter, links->functions);
        while (g_hash_table_iter_next(&iter, &key, &keys)) {
                int r = write_links(maps, *(const PciKey *) key, keys);

                error = r < 0 ? r : error;
        }
        return error;
}
