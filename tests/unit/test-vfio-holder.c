#include "policy/vfio-holder.h"

#include <criterion/criterion.h>
#include <errno.h>

static PciKey key(const char *text) {
        PciAddress address;

        cr_assert_eq(pci_address_parse(text, &address), 0);
        return pci_address_key(address);
}

Test(vfio_holder, links) {
        static const struct {
                const char *link;
                VfioLink expected;
        } cases[] = {
                { "/dev/vfio/12", VFIO_LINK_NODE },
                { "/dev/vfio/noiommu-0", VFIO_LINK_NODE },
                { "/dev/vfio/devices/vfio3", VFIO_LINK_NODE },
                { "/dev/vfio/12 (deleted)", VFIO_LINK_NODE },
                { "/srv/box/dev/vfio/12", VFIO_LINK_NODE },
                { "anon_inode:[vfio-device]", VFIO_LINK_DEVICE },
                { "anon_inode:[eventfd]", VFIO_LINK_OTHER },
                { "anon_inode:kvm-vfio/", VFIO_LINK_OTHER },
                /* What a process can choose begins with a slash. */
                { "/tmp/anon_inode:[vfio-device]", VFIO_LINK_OTHER },
                { "/memfd:anon_inode:[vfio-device] (deleted)", VFIO_LINK_OTHER },
                { "/dev/null", VFIO_LINK_OTHER },
                { "socket:[123]", VFIO_LINK_SOCKET },
                { "/tmp/socket:[123]", VFIO_LINK_OTHER },
                { "", VFIO_LINK_OTHER },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                cr_assert_eq(vfio_link_parse(cases[i].link), cases[i].expected, "%s",
                             cases[i].link);
}

Test(vfio_holder, nodes) {
        static const struct {
                const char *link;
                int r;
                int32_t group;
                const char *function;
        } cases[] = {
                { "../../devices/virtual/vfio/12", 0, 12, NULL },
                { "../../devices/virtual/vfio/noiommu-3", 0, 3, NULL },
                { "../../devices/pci0000:00/0000:00:02.0/0000:01:10.0/vfio-dev/vfio0", 0, -1,
                  "0000:01:10.0" },
                { "../../devices/pci0000:00/vfio-dev/vfio0", -EINVAL, 0, NULL },
                { "../../devices/platform/serial8250/vfio-dev/vfio0", -EINVAL, 0, NULL },
                { "../../devices/virtual/misc/vfio", -EINVAL, 0, NULL },
                { "../../devices/virtual/vfio/", -EINVAL, 0, NULL },
                { "../../devices/virtual/vfio/-1", -EINVAL, 0, NULL },
                { "../../devices/virtual/vfio/12x", -EINVAL, 0, NULL },
                { "../../devices/virtual/vfio/99999999999", -EINVAL, 0, NULL },
                { "../../devices/virtual/mem/null", -EINVAL, 0, NULL },
                { "/vfio-dev/vfio0", -EINVAL, 0, NULL },
                { "vfio/12", -EINVAL, 0, NULL },
                { "12", -EINVAL, 0, NULL },
                { "", -EINVAL, 0, NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                VfioNode node = { .group = -77 };

                cr_assert_eq(vfio_node_parse(cases[i].link, &node), cases[i].r, "%s",
                             cases[i].link);
                cr_assert_eq(node.group, cases[i].r < 0 ? -77 : cases[i].group, "%s",
                             cases[i].link);
                if (cases[i].function)
                        cr_assert_eq(node.function, key(cases[i].function), "%s", cases[i].link);
        }
}

Test(vfio_holder, fdinfo) {
        static const struct {
                const char *text;
                bool path_only;
                const char *function;
        } cases[] = {
                { "pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t19\n", false, NULL },
                { "pos:\t0\nflags:\t012000000\nmnt_id:\t17\nino:\t19\n", true, NULL },
                { "flags:\t02\nvfio-device-syspath: /sys/devices/pci0000:00/0000:00:02.0/0000:01:10.0\n",
                  false, "0000:01:10.0" },
                /* Cut off: 0000:01:10.00 is no address, but 0000:01:10.0 of 0000:01:10.01 would be
                   one. */
                { "flags:\t02\nvfio-device-syspath: /sys/devices/pci0000:00/0000:01:10.0", false,
                  NULL },
                { "flags:\t02\nvfio-device-syspath: /sys/devices/platform/thing\n", false, NULL },
                { "flags:\t02\nvfio-device-syspath:\n", false, NULL },
                { "", false, NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                VfioFdinfo info = vfio_fdinfo_parse(cases[i].text);

                cr_assert_eq(info.path_only, cases[i].path_only, "%zu", i);
                cr_assert_eq(info.has_function, cases[i].function != NULL, "%zu", i);
                if (cases[i].function)
                        cr_assert_eq(info.function, key(cases[i].function), "%zu", i);
                cr_assert_not(info.has_pending);
        }
        cr_assert(vfio_fdinfo_parse("flags:\t02\nscm_fds: 12\n").has_pending);
        cr_assert_not(vfio_fdinfo_parse("flags:\t02\nscm_fds: 0\n").has_pending);
}

/* A row says who holds what of three functions, in words:
 *   functions  for each of `a` (group 1), `b` and `c` (group 2): upper case if it is open,
 *              '.' if it is closed and its driver has gone
 *   holders    separated by blanks, of each letter one descriptor: 1, 2 a group; a, b, c a device
 * that is named; ? one that is not; < and what follows: a group that it may come from uses the
 * answer: function and the holder's number from 0, or - for nobody */
typedef struct Row {
        const char *functions, *holders, *uses;
} Row;

static void fill(VfioHolder *holder, const char *word) {
        bool from = false;

        vfio_holder_init(holder);
        for (const char *p = word; *p != '\0'; p++) {
                PciKey named = (PciKey) *p - 'a' + 1;

                if (*p == '<')
                        from = true;
                else if (*p == '?')
                        holder->n_unnamed++;
                else if (g_ascii_isdigit(*p))
                        vfio_groups_add(from ? holder->from : holder->groups, *p - '0');
                else
                        g_array_append_val(holder->functions, named);
        }
}

static char *attribute(const Row *row) {
        g_auto(GStrv) words = g_strsplit(row->holders, " ", -1);
        guint n = row->holders[0] == '\0' ? 0 : g_strv_length(words),
              m = (guint) strlen(row->functions);
        g_autofree VfioHolder *holders = g_new0(VfioHolder, n + 1);
        g_autofree const VfioHolder **list = g_new(const VfioHolder *, n + 1);
        g_autofree VfioFunction *functions = g_new(VfioFunction, m + 1);
        g_autoptr(GString) uses = g_string_new(NULL);

        for (guint i = 0; i < n; i++) {
                fill(&holders[i], words[i]);
                list[i] = &holders[i];
        }
        for (guint i = 0; i < m; i++)
                functions[i] = (VfioFunction){ .key = i + 1,
                                               .group = i == 0 ? 1 : 2,
                                               .open = g_ascii_isupper(row->functions[i]),
                                               .unbound = row->functions[i] == '.' };

        g_autoptr(GArray) result = vfio_attribute(functions, m, list, n);
        for (guint i = 0; i < result->len; i++) {
                VfioUse use = g_array_index(result, VfioUse, i);

                g_string_append_printf(uses, "%s%c", i > 0 ? " " : "", 'a' + (int) use.function);
                if (use.holder == VFIO_NO_HOLDER)
                        g_string_append_c(uses, '-');
                else
                        g_string_append_printf(uses, "%u", use.holder);
        }
        for (guint i = 0; i < n; i++)
                vfio_holder_clear(&holders[i]);
        return g_string_free(g_steal_pointer(&uses), FALSE);
}

Test(vfio_holder, attribution) {
        static const Row rows[] = {
                { "abc", "", "" },
                /* The group alone: about to use what is in it. */
                { "abc", "1", "a0" },
                { "abc", "2", "b0 c0" },
                /* Its driver has gone while somebody kept the group: nothing waits for that. */
                { ".bc", "1", "" },
                { "a.c", "2", "c0" },
                { ".bc", "a", "a0" },
                /* Open through the group, which is kept. */
                { "Abc", "1?", "a0" },
                { "aBc", "2?", "b0" },
                { "aBC", "2??", "b0 c0" },
                /* Device nodes, or fdinfo, name the function. */
                { "aBc", "b", "b0" },
                { "abc", "b", "b0" },
                { "aBC", "b c", "b0 c1" },
                /* The group closed; it is known where the device comes from. */
                { "Abc", "?<1", "a0" },
                { "ABC", "?<2 1?", "a1 b0 c0" },
                /* Passed on by somebody who was never seen, or has ended. */
                { "Abc", "?", "a0" },
                { "ABc", "? 1?", "a1 b0" },
                { "ABc", "1? ?", "a0 b1" },
                /* Passed on, and all functions have other users as well: any may be meant. */
                { "Abc", "1? ?", "a0 a1" },
                { "ABc", "1? 2? ?", "a0 a2 b1 b2" },
                /* What it came from is closed: no proof of anything. */
                { "aBc", "?<1 2?", "b0 b1" },
                { "abc", "?", "" },
                /* The parent has the group, its child the device, or both have both. */
                { "Abc", "1 ?<1", "a0 a1" },
                { "Abc", "1? 1?", "a0 a1" },
                /* Open without any process. */
                { "Abc", "", "a-" },
                { "AbC", "1?", "a0 c-" },
                { "ABC", "", "a- b- c-" },
                /* A group of no function that VFIO has. */
                { "Abc", "9", "a-" },
                { "abc", "9", "" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *uses = attribute(&rows[i]);

                cr_assert_str_eq(uses, rows[i].uses, "functions %s, holders '%s': %s instead of %s",
                                 rows[i].functions, rows[i].holders, uses, rows[i].uses);
        }
}
