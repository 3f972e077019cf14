/* The map and sysfs are the test's: the entries of `links` as the kernel guard would find them. */
#include "daemon/guard/guarded-links.h"
#include "daemon/sysfs/sysfs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define N_ENTRIES 8

static struct {
        GuardLinkKey key;
        GuardLink value;
        bool present;
} entries[N_ENTRIES];

/* What a read of an interface's number fails with; 0: it does not. */
static int failure;

static int find_entry(const GuardLinkKey *key, bool present) {
        for (int i = 0; i < N_ENTRIES; i++)
                if (entries[i].present == present &&
                    (!present || memcmp(&entries[i].key, key, sizeof(*key)) == 0))
                        return i;
        return -1;
}

int kernel_maps_set_link(KernelMaps *maps, const GuardLinkKey *key, const GuardLink *value) {
        int at = find_entry(key, true);

        if (at < 0 && value)
                at = find_entry(key, false);
        if (at < 0)
                return value ? -E2BIG : 0;
        entries[at].key = *key;
        entries[at].present = value;
        if (value)
                entries[at].value = *value;
        return 0;
}

char *sysfs_function_path(PciAddress address, const char *attribute) {
        return g_strdup(attribute);
}

/* "net/eth7/ifindex" is 7. */
ssize_t sysfs_read(int dirfd, const char *name, char *value, size_t size) {
        const char *number = name + strlen("net/eth");

        if (failure != 0)
                return failure;
        cr_assert(g_str_has_prefix(name, "net/eth") && g_str_has_suffix(name, "/ifindex"), "%s",
                  name);
        return snprintf(value, size, "%.*s", (int) strcspn(number, "/"), number);
}

/* Whose interface the guard takes that name for. */
static const char *owner_of(const char *name) {
        GuardLinkKey key = { 0 };
        int at;

        g_strlcpy(key.name, name, sizeof(key.name));
        at = find_entry(&key, true);
        return at < 0 ? "nobody" : entries[at].value.function;
}

static int plan(GuardedLinks *links, unsigned device, const char *name) {
        const PciAddress address = { .bus = 1, .device = (uint8_t) device };
        Function function = { .facts.key = pci_address_key(address) };
        int r;

        function.names = device_names_new();
        device_names_add(function.names, DEVICE_NAME_INTERFACE, name);
        r = guarded_links_plan(links, (KernelMaps *) entries, &function, true);
        device_names_free(function.names);
        return r;
}

/* Whichever of two functions is planned first. */
Test(guarded_links, a_name_that_another_has_by_now) {
        GuardedLinks *links = guarded_links_new();

        cr_assert_eq(plan(links, 1, "eth1"), 0);
        cr_assert_str_eq(owner_of("eth1"), "0000:01:01.0");
        cr_assert_eq(plan(links, 2, "eth1"), 0);
        cr_assert_eq(plan(links, 1, "eth5"), 0);
        cr_expect_str_eq(owner_of("eth5"), "0000:01:01.0");
        cr_expect_str_eq(owner_of("eth1"), "0000:01:02.0");
        cr_assert_eq(guarded_links_forget(links, (KernelMaps *) entries,
                                          pci_address_key((PciAddress){ .bus = 1, .device = 2 })),
                     0);
        cr_expect_str_eq(owner_of("eth1"), "nobody");
        guarded_links_free(links);
}

Test(guarded_links, what_cannot_be_read) {
        GuardedLinks *links = guarded_links_new();

        cr_assert_eq(plan(links, 1, "eth1"), 0);
        failure = -EMFILE;
        cr_expect_eq(plan(links, 1, "eth1"), -EMFILE);
        cr_expect_str_eq(owner_of("eth1"), "0000:01:01.0", "it stays guarded");
        failure = -ENOENT;
        cr_expect_eq(plan(links, 1, "eth1"), 0);
        cr_expect_str_eq(owner_of("eth1"), "nobody");
        guarded_links_free(links);
}
