#include "policy/vfio-holder.h"

#include "policy/number.h"

#include <errno.h>
#include <string.h>

#define DEVICE_LINK    "anon_inode:[vfio-device]"
#define SYSPATH_PREFIX "vfio-device-syspath:"
#define FLAGS_PREFIX   "flags:"
/* O_PATH in asm-generic/fcntl.h, which all architectures with VFIO use; fcntl.h is for those who do I/O. */
#define FLAG_PATH 010000000

VfioLink vfio_link_parse(const char *link) {
        if (strcmp(link, DEVICE_LINK) == 0)
                return VFIO_LINK_DEVICE;
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

        for (const char *line = text; *line != '\0';) {
                size_t length = strcspn(line, "\n");

                if (g_str_has_prefix(line, FLAGS_PREFIX)) {
                        /* Octal, after a tab: "flags:\t0%o" in fs/proc/fd.c. */
                        guint64 flags = g_ascii_strtoull(line + strlen(FLAGS_PREFIX), NULL, 8);

                        info.path_only = (flags & FLAG_PATH) != 0;
                } else if (g_str_has_prefix(line, SYSPATH_PREFIX) && line[length] == '\n')
                        info.has_function = parse_function(line, length, &info.function) >= 0;
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

static bool names(const VfioHolder *holder, PciKey key) {
        for (guint i = 0; i < holder->functions->len; i++)
                if (g_array_index(holder->functions, PciKey, i) == key)
                        return true;
        return false;
}

static bool group_has_open(const VfioFunction *functions, guint n, int32_t group) {
        for (guint i = 0; i < n; i++)
                if (functions[i].group == group && functions[i].open)
                        return true;
        return false;
}

/* By what `holder` itself shows. */
static bool uses_plainly(const VfioHolder *holder, const VfioFunction *functions, guint n,
                         guint i) {
        const VfioFunction *function = &functions[i];

        if (names(holder, function->key))
                return true;
        return vfio_groups_contain(holder->groups, function->group) &&
               (function->open || !group_has_open(functions, n, function->group));
}

/* Has a device of which nothing more than the groups in `from` can tell the function. */
static bool is_vague(const VfioHolder *holder) {
        return holder->n_unnamed > 0 && holder->groups->len == 0;
}

static bool uses_by_origin(const VfioHolder *holder, const VfioFunction *function) {
        return is_vague(holder) && function->open &&
               vfio_groups_contain(holder->from, function->group);
}

GArray *vfio_attribute(const VfioFunction *functions, guint n_functions,
                       const VfioHolder *const *holders, guint n_holders) {
        g_autofree bool *uses = g_new0(bool, (gsize) n_functions *n_holders + 1);
        g_autofree bool *explained = g_new0(bool, n_functions + 1);
        g_autofree bool *placed = g_new0(bool, n_holders + 1);
        GArray *result = g_array_new(FALSE, FALSE, sizeof(VfioUse));
        bool any_left = false;

        for (guint i = 0; i < n_functions; i++) {
                for (guint j = 0; j < n_holders; j++) {
                        bool use = uses_plainly(holders[j], functions, n_functions, i);
                        bool origin = uses_by_origin(holders[j], &functions[i]);

                        uses[i * n_holders + j] = use || origin;
                        explained[i] |= use || origin;
                        placed[j] |= origin;
                }
                any_left |= functions[i].open && !explained[i];
        }

        for (guint i = 0; i < n_functions; i++) {
                bool used = false;

                for (guint j = 0; j < n_holders; j++) {
                        bool guess = is_vague(holders[j]) && !placed[j] && functions[i].open &&
                                     (!explained[i] || !any_left);

                        if (!uses[i * n_holders + j] && !guess)
                                continue;
                        g_array_append_val(result, ((VfioUse){ .function = i, .holder = j }));
                        used = true;
                }
                if (!used && functions[i].open)
                        g_array_append_val(result, ((VfioUse){ i, VFIO_NO_HOLDER }));
        }
        return result;
}
