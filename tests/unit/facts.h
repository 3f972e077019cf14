/* facts.h: makes FunctionFacts for tests of the rules. */
#pragma once

#include "policy/inventory.h"

#include <criterion/criterion.h>

static inline PciKey key_of(const char *text) {
        PciAddress address;

        cr_assert_eq(pci_address_parse(text, &address), 0, "%s", text);
        return pci_address_key(address);
}

static inline FunctionFacts facts_plain(const char *address) {
        return (FunctionFacts){
                .key = key_of(address),
                .inode = 1,
                .iommu_group = -1,
                .numa_node = -1,
                .drivers_autoprobe = true,
                .driver = g_ref_string_new_intern(""),
                .driver_override = g_ref_string_new_intern(""),
                .vendor_name = g_ref_string_new_intern(""),
                .device_name = g_ref_string_new_intern(""),
        };
}

static inline FunctionFacts facts_driver(FunctionFacts facts, const char *driver) {
        g_ref_string_release(facts.driver);
        facts.driver = g_ref_string_new_intern(driver);
        return facts;
}

static inline FunctionFacts facts_vf(const char *address, const char *pf) {
        FunctionFacts facts = facts_plain(address);

        facts.has_physfn = true;
        facts.physfn = key_of(pf);
        return facts;
}

/* A PF with links to `vfs` (ends in NULL), numbered from 0. */
static inline FunctionFacts facts_pf(const char *address, const char *const *vfs) {
        FunctionFacts facts = facts_plain(address);

        facts.has_sriov = true;
        facts.total_vfs = 8;
        for (unsigned i = 0; vfs && vfs[i]; i++) {
                VirtfnLink link = { key_of(vfs[i]), i };

                if (!facts.virtfns)
                        facts.virtfns = g_array_new(FALSE, FALSE, sizeof(VirtfnLink));
                g_array_append_val(facts.virtfns, link);
                facts.n_virtfn_links++;
        }
        return facts;
}

static inline Function *apply(Inventory *inventory, FunctionFacts facts) {
        return inventory_apply(inventory, &facts);
}

#define VFS(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static inline void use_by(Inventory *inventory, Function *function, User user) {
        GPtrArray *users = user_list_new();

        user.pid = 1;
        user.command = user.unit = user.machine = (char *) "";
        g_ptr_array_add(users, user_copy(&user));
        inventory_set_users(inventory, function, users);
}

/* `session`, which stays the caller's, has the function, and its client is the function's only
 * user. */
static inline void use_by_session(Inventory *inventory, Function *function,
                                  const IoSession *session) {
        use_by(inventory, function, (User){ .session = true });
        function->session = session;
}

/* "0000:01:00.0 0000:01:00.1"; NULL has none. */
static inline char *addresses(const GPtrArray *functions) {
        GString *text = g_string_new(NULL);
        char address[PCI_ADDRESS_STRING_MAX];

        for (guint i = 0; functions && i < functions->len; i++)
                g_string_append_printf(
                        text, "%s%s", i > 0 ? " " : "",
                        pci_address_format(function_address(functions->pdata[i]), address));
        return g_string_free(text, FALSE);
}
