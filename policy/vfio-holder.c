#include "policy/vfio-holder.h"

#include "policy/number.h"
#include "policy/proc-text.h"

#include <errno.h>
#include <string.h>

#define DEVICE_LINK    "anon_inode:[vfio-device]"
#define SOCKET_LINK    "socket:["
#define SYSPATH_PREFIX "vfio-device-syspath:"
#define PENDING_PREFIX "scm_fds: "

VfioLink vfio_link_parse(const char *link) {
        if (strcmp(link, DEVICE_LINK) == 0)
                return VFIO_LINK_DEVICE;
        if (g_str_has_prefix(link, SOCKET_LINK))
                return VFIO_LINK_SOCKET;
        /* Another mount namespace may have it elsewhere, with a " (deleted)" behind. */
        return link[0] == '/' && strstr(link, "vfio/") ? VFIO_LINK_NODE : VFIO_LINK_OTHER;
}

static int parse_function(const char *path, size_t length, PciKey *ret) {
        char name[PCI_ADDRESS_STRING_MAX];
        PciAddress address;
        size_t start = length;

        while (start > 0 && path[start - 1] != '/')
                start--;
        if (length - start >= sizeof(name))
                return -EINVAL;
        memcpy(name, path + start, length - start);
        name[length - start] = '\0';
        if (pci_address_parse(name, &address) < 0)
                return -EINVAL;
        *ret = pci_address_key(address);
        return 0;
}

VfioFdinfo vfio_fdinfo_parse(const char *text) {
        VfioFdinfo info = { 0 };
        OpenFlags flags;

        if (open_flags_parse(text, &flags))
                info.path_only = flags.path_only;
        for (const char *line = text; *line != '\0';) {
                size_t length = strcspn(line, "\n");

                if (g_str_has_prefix(line, SYSPATH_PREFIX) && line[length] == '\n')
                        info.has_function = parse_function(line, length, &info.function) >= 0;
                if (g_str_has_prefix(line, PENDING_PREFIX))
                        info.has_pending = line[strlen(PENDING_PREFIX)] != '0';
                line += length + (line[length] == '\n');
        }
        return info;
}

int vfio_node_parse(const char *link, VfioNode *ret) {
        const char *last = strrchr(link, '/'), *p;
        VfioNode node = { .group = -1 };
        uint64_t group;

        if (!last)
                return -EINVAL;
        p = g_strrstr_len(link, last - link, "/");
        if (!p)
                return -EINVAL;
        last++;

        if (g_str_has_prefix(p, "/vfio-dev/")) {
                if (parse_function(link, (size_t) (p - link), &node.function) < 0)
                        return -EINVAL;
                *ret = node;
                return 0;
        }
        if (!g_str_has_prefix(p, "/vfio/"))
                return -EINVAL;
        if (g_str_has_prefix(last, "noiommu-"))
                last += strlen("noiommu-");
        if (number_parse(last, 10, INT32_MAX, &group) < 0)
                return -EINVAL;
        node.group = (int32_t) group;
        *ret = node;
        return 0;
}

void vfio_holder_init(VfioHolder *holder) {
        *holder = (VfioHolder){
                .groups = g_array_new(FALSE, FALSE, sizeof(int32_t)),
                .functions = g_array_new(FALSE, FALSE, sizeof(PciKey)),
                .from = g_array_new(FALSE, FALSE, sizeof(int32_t)),
        };
}

void vfio_holder_clear(VfioHolder *holder) {
        g_clear_pointer(&holder->groups, g_array_unref);
        g_clear_pointer(&holder->functions, g_array_unref);
        g_clear_pointer(&holder->from, g_array_unref);
        holder->n_unnamed = 0;
}

bool vfio_holder_holds(const VfioHolder *holder) {
        return holder->groups->len > 0 || holder->functions->len > 0 || holder->n_unnamed > 0;
}

bool vfio_groups_contain(const GArray *groups, int32_t group) {
        for (guint i = 0; i < groups->len; i++)
                if (g_array_index(groups, int32_t, i) == group)
                        return true;
        return false;
}

void vfio_groups_add(GArray *groups, int32_t group) {
        if (!vfio_groups_contain(groups, group))
                g_array_append_val(groups, group);
}

bool vfio_functions_contain(const GArray *functions, PciKey function) {
        for (guint i = 0; i < functions->len; i++)
                if (g_array_index(functions, PciKey, i) == function)
                        return true;
        return false;
}

void vfio_functions_add(GArray *functions, PciKey function) {
        if (!vfio_functions_contain(functions, function))
                g_array_append_val(functions, function);
}

/* Tables that grow with the processes and descriptors of a user are looked up, never searched. */
typedef struct Attribution {
        const VfioFunction *functions;
        guint n_functions;
        GHashTable *by_key;   /* PciKey in `functions` -> index + 1 */
        GHashTable *by_group; /* group -> GArray of indices */
        bool *explained;      /* by function: somebody plainly has it */
        GArray *uses;         /* of VfioUse */
} Attribution;

static void free_indices(gpointer indices) {
        g_array_unref(indices);
}

static void index_functions(Attribution *all) {
        all->by_key = g_hash_table_new(g_int64_hash, g_int64_equal);
        all->by_group = g_hash_table_new_full(NULL, NULL, NULL, free_indices);
        for (guint i = 0; i < all->n_functions; i++) {
                const VfioFunction *function = &all->functions[i];
                gpointer group = GINT_TO_POINTER(function->group);
                GArray *members = g_hash_table_lookup(all->by_group, group);

                g_hash_table_insert(all->by_key, (gpointer) &function->key,
                                    GUINT_TO_POINTER(i + 1));
                if (!members) {
                        members = g_array_new(FALSE, FALSE, sizeof(guint));
                        g_hash_table_insert(all->by_group, group, members);
                }
                g_array_append_val(members, i);
        }
}

static void vfio_holder_add_use(Attribution *all, guint function, guint holder) {
        all->explained[function] = true;
        g_array_append_val(all->uses, ((VfioUse){ .function = function, .holder = holder }));
}

/* Those of the group that are open; all of them, with `or_all`, while none is. */
static bool vfio_holder_add_group(Attribution *all, int32_t group, guint holder, bool or_all) {
        const GArray *members = g_hash_table_lookup(all->by_group, GINT_TO_POINTER(group));
        bool any = false;

        for (guint i = 0; members && i < members->len; i++) {
                guint function = g_array_index(members, guint, i);

                if (!all->functions[function].open)
                        continue;
                vfio_holder_add_use(all, function, holder);
                any = true;
        }
        for (guint i = 0; members && or_all && !any && i < members->len; i++) {
                guint function = g_array_index(members, guint, i);

                if (!all->functions[function].unbound)
                        vfio_holder_add_use(all, function, holder);
        }
        return any;
}

/* By what `holder` itself shows. */
static void add_plain_uses(Attribution *all, const VfioHolder *holder, guint number) {
        for (guint i = 0; i < holder->functions->len; i++) {
                guint place = GPOINTER_TO_UINT(g_hash_table_lookup(
                        all->by_key, &g_array_index(holder->functions, PciKey, i)));

                if (place > 0)
                        vfio_holder_add_use(all, place - 1, number);
        }
        for (guint i = 0; i < holder->groups->len; i++)
                (void) vfio_holder_add_group(all, g_array_index(holder->groups, int32_t, i), number,
                                             true);
}

/* Has a device of which nothing more than the groups in `from` can tell the function. */
static bool is_vague(const VfioHolder *holder) {
        return holder->n_unnamed > 0 && holder->groups->len == 0;
}

/* Returns whether there are any. */
static bool add_uses_by_origin(Attribution *all, const VfioHolder *holder, guint number) {
        bool any = false;

        for (guint i = 0; i < holder->from->len; i++)
                any |= vfio_holder_add_group(all, g_array_index(holder->from, int32_t, i), number,
                                             false);
        return any;
}

/* The open functions that nobody else uses; if there are none, all open functions. */
static void add_guesses(Attribution *all, const GArray *vague) {
        g_autofree bool *wanted = g_new0(bool, all->n_functions + 1);
        bool any_left = false;

        for (guint i = 0; i < all->n_functions; i++)
                any_left |= all->functions[i].open && !all->explained[i];
        for (guint i = 0; i < all->n_functions; i++)
                wanted[i] = all->functions[i].open && (!all->explained[i] || !any_left);
        for (guint i = 0; i < all->n_functions; i++)
                for (guint j = 0; wanted[i] && j < MIN(vague->len, VFIO_GUESSES_MAX); j++)
                        vfio_holder_add_use(all, i, g_array_index(vague, guint, j));
}

static int compare_uses(gconstpointer a, gconstpointer b) {
        const VfioUse *x = a, *y = b;

        if (x->function != y->function)
                return (x->function > y->function) - (x->function < y->function);
        return (x->holder > y->holder) - (x->holder < y->holder);
}

static void sort_uses(GArray *uses) {
        guint n = 0;

        g_array_sort(uses, compare_uses);
        for (guint i = 0; i < uses->len; i++)
                if (n == 0 || compare_uses(&g_array_index(uses, VfioUse, n - 1),
                                           &g_array_index(uses, VfioUse, i)) != 0)
                        g_array_index(uses, VfioUse, n++) = g_array_index(uses, VfioUse, i);
        g_array_set_size(uses, n);
}

GArray *vfio_attribute(const VfioFunction *functions, guint n_functions,
                       const VfioHolder *const *holders, guint n_holders) {
        g_autofree bool *explained = g_new0(bool, n_functions + 1);
        g_autoptr(GArray) vague = g_array_new(FALSE, FALSE, sizeof(guint));
        Attribution all = {
                .functions = functions,
                .n_functions = n_functions,
                .explained = explained,
                .uses = g_array_new(FALSE, FALSE, sizeof(VfioUse)),
        };

        index_functions(&all);
        for (guint j = 0; j < n_holders; j++) {
                add_plain_uses(&all, holders[j], j);
                if (is_vague(holders[j]) && !add_uses_by_origin(&all, holders[j], j))
                        g_array_append_val(vague, j);
        }
        add_guesses(&all, vague);
        for (guint i = 0; i < n_functions; i++)
                if (functions[i].open && !explained[i])
                        vfio_holder_add_use(&all, i, VFIO_NO_HOLDER);
        sort_uses(all.uses);
        g_hash_table_unref(all.by_key);
        g_hash_table_unref(all.by_group);
        return all.uses;
}
