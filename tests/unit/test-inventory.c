#include "tests/unit/facts.h"

#include <criterion/criterion.h>

#define PF  "0000:01:00.0"
#define VF0 "0000:01:10.0"
#define VF1 "0000:01:10.2"

static void assert_linked(const Function *pf, const Function *vf, uint32_t index) {
        cr_assert_eq(vf->pf, pf);
        cr_assert_eq(vf->index, index);
        cr_assert_eq(pf->vfs->pdata[index], vf);
}

/* Whatever is read first, the links end the same. */
Test(inventory, links_in_any_order) {
        static const unsigned orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                              { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

        for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
                g_autoptr(Inventory) inventory = inventory_new();
                Function *functions[3];

                for (unsigned j = 0; j < 3; j++) {
                        unsigned which = orders[i][j];

                        functions[which] =
                                which == 0 ? apply(inventory, facts_pf(PF, VFS(VF0, VF1)))
                                           : apply(inventory, facts_vf(which == 1 ? VF0 : VF1, PF));
                }
                assert_linked(functions[0], functions[1], 0);
                assert_linked(functions[0], functions[2], 1);
                cr_assert_eq(function_num_vfs(functions[0]), 2);
                cr_assert_eq(functions[0]->vfs->len, 2);
        }
}

/* The kernel's way: the VF comes without a link, then the PF has one, then the VF. */
Test(inventory, enabling) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, NULL));
        Function *vf = apply(inventory, facts_plain(VF0));

        cr_assert_eq(vf->kind, FUNCTION_KIND_PLAIN);
        cr_assert_eq(function_num_vfs(pf), 0);
        vf->changes = pf->changes = 0;

        apply(inventory, facts_vf(VF0, PF));
        cr_assert_eq(vf->kind, FUNCTION_KIND_VF);
        cr_assert_eq(vf->changes, FUNCTION_PROPERTY_KIND | FUNCTION_PROPERTY_COMMAND_MEMORY |
                                          FUNCTION_PROPERTY_PHYSICAL_FUNCTION);
        cr_assert_eq(vf->index, VF_INDEX_UNKNOWN);
        cr_assert_eq(pf->changes, 0);

        vf->changes = 0;
        apply(inventory, facts_pf(PF, VFS(VF0)));
        assert_linked(pf, vf, 0);
        cr_assert_eq(vf->changes, FUNCTION_PROPERTY_INDEX);
        cr_assert_eq(pf->changes, FUNCTION_PROPERTY_NUM_VFS | FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS);
}

/* One of s390 goes on without its PF, and is nobody's VF then. */
Test(inventory, detaching) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0)));
        Function *vf = apply(inventory, facts_vf(VF0, PF));
        FunctionFacts alone = facts_plain(VF0);

        assert_linked(pf, vf, 0);
        vf->changes = 0;
        alone.s390_vfn = 1;
        apply(inventory, alone);
        cr_assert_eq(vf->kind, FUNCTION_KIND_DETACHED_VF);
        cr_assert_null(vf->pf);
        cr_assert_eq(vf->index, VF_INDEX_UNKNOWN);
        cr_assert_eq(vf->changes, FUNCTION_PROPERTY_KIND | FUNCTION_PROPERTY_PHYSICAL_FUNCTION |
                                          FUNCTION_PROPERTY_INDEX);
}

/* The links go first, then the VF; it stays a VF of that PF with its number until it goes. */
Test(inventory, disabling) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0, VF1)));
        Function *vf = apply(inventory, facts_vf(VF0, PF));
        Function *other = apply(inventory, facts_vf(VF1, PF));

        pf->changes = vf->changes = other->changes = 0;
        apply(inventory, facts_plain(VF0));
        cr_assert_eq(vf->kind, FUNCTION_KIND_VF);
        cr_assert_eq(vf->pf, pf);
        cr_assert_eq(vf->changes, 0);

        FunctionFacts left = facts_pf(PF, VFS(VF1));
        g_array_index(left.virtfns, VirtfnLink, 0).index = 1;
        apply(inventory, left);
        cr_assert_eq(pf->changes, FUNCTION_PROPERTY_NUM_VFS | FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS);
        cr_assert_eq(vf->index, 0);
        cr_assert_eq(other->index, 1);
        cr_assert_eq(other->changes, 0);

        pf->changes = 0;
        inventory_remove(inventory, vf);
        cr_assert_eq(pf->changes, 0);
        cr_assert_null(inventory_get(inventory, key_of(VF0)));
        cr_assert_eq(inventory_count(inventory), 2);
}

Test(inventory, a_vf_goes_before_its_link) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0)));

        apply(inventory, facts_vf(VF0, PF));
        pf->changes = 0;
        inventory_remove(inventory, inventory_get(inventory, key_of(VF0)));
        cr_assert_eq(pf->changes, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS);
        cr_assert(!pf->vfs || pf->vfs->len == 0);
}

/* Listed or not yet, no VF points to a PF that has gone. */
Test(inventory, a_pf_goes) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *listed = apply(inventory, facts_vf(VF0, PF));
        Function *unlisted = apply(inventory, facts_vf(VF1, PF));
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0)));

        apply(inventory, facts_vf(VF1, PF));
        cr_assert_eq(unlisted->pf, pf);
        listed->changes = unlisted->changes = 0;
        inventory_remove(inventory, pf);
        cr_assert_null(listed->pf);
        cr_assert_null(unlisted->pf);
        cr_assert_eq(listed->changes, FUNCTION_PROPERTY_PHYSICAL_FUNCTION);
        cr_assert_eq(unlisted->changes, FUNCTION_PROPERTY_PHYSICAL_FUNCTION);
        cr_assert_eq(listed->kind, FUNCTION_KIND_VF);
}

Test(inventory, each_fact_has_its_property) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, NULL));

#define CHECK(property, ...)                                                     \
        do {                                                                     \
                FunctionFacts facts = facts_pf(PF, NULL);                        \
                __VA_ARGS__;                                                     \
                pf->changes = 0;                                                 \
                inventory_apply(inventory, &facts);                              \
                cr_assert_eq(pf->changes, (property), #__VA_ARGS__);             \
                pf->changes = 0;                                                 \
                apply(inventory, facts_pf(PF, NULL));                            \
                cr_assert_eq(pf->changes, (property), #__VA_ARGS__ " and back"); \
        } while (0)

        CHECK(0, (void) 0);
        CHECK(FUNCTION_PROPERTY_DRIVER, facts = facts_driver(facts, "igb"));
        CHECK(FUNCTION_PROPERTY_IOMMU_GROUP, facts.iommu_group = 7);
        CHECK(FUNCTION_PROPERTY_NUMA_NODE, facts.numa_node = 1);
        CHECK(FUNCTION_PROPERTY_TOTAL_VFS, facts.total_vfs = 7);
        CHECK(FUNCTION_PROPERTY_DRIVERS_AUTOPROBE, facts.drivers_autoprobe = false);
        CHECK(FUNCTION_PROPERTY_DRIVER_OVERRIDE, g_ref_string_release(facts.driver_override),
              facts.driver_override = g_ref_string_new_intern("vfio-pci"));
        CHECK(FUNCTION_PROPERTY_KIND, facts.has_sriov = false);
}

Test(inventory, a_link_to_itself_and_to_strangers) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(PF, VF0)));
        Function *self = apply(inventory, facts_vf("0000:05:00.0", "0000:05:00.0"));

        cr_assert(!pf->vfs || pf->vfs->len == 0);
        cr_assert_eq(function_num_vfs(pf), 2);
        cr_assert_null(self->pf);
}

Test(inventory, sorted) {
        g_autoptr(Inventory) inventory = inventory_new();
        static const char *const addresses[] = { "10000:00:00.0", "0000:01:00.0", "0000:00:1f.7" };

        for (unsigned i = 0; i < 3; i++)
                apply(inventory, facts_plain(addresses[i]));
        g_autoptr(GPtrArray) sorted = inventory_sorted(inventory);
        cr_assert_eq(sorted->len, 3);
        for (unsigned i = 0; i < 3; i++) {
                char text[PCI_ADDRESS_STRING_MAX];

                cr_assert_str_eq(pci_address_format(function_address(sorted->pdata[i]), text),
                                 addresses[2 - i]);
        }
}

/* The bits that a reader of the capability and the VFs' users set, and nothing else does. */
Test(inventory, pasid_of_a_pf) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0, VF1)));
        Function *vfs[] = { apply(inventory, facts_vf(VF0, PF)),
                            apply(inventory, facts_vf(VF1, PF)) };
        const Pasid none = { 0 }, off = { .present = true, .width = 20 };
        const Pasid on = { .present = true, .enabled = true, .width = 20 };
        const unsigned dependents = FUNCTION_PROPERTY_PASID_DEPENDENTS;
        const unsigned enabled = FUNCTION_PROPERTY_PASID_ENABLED;
        const Function *provider = NULL;

#define PASID_STEP(action, pf_bits, vf_bits)                               \
        do {                                                               \
                pf->changes = vfs[0]->changes = (vfs[1]->changes) = 0;     \
                action;                                                    \
                cr_assert_eq(pf->changes, (pf_bits), "0x%x", pf->changes); \
                cr_assert_eq(vfs[0]->changes, (vf_bits));                  \
        } while (0)
#define SOMEBODY()                                          \
        ({                                                  \
                GPtrArray *users = g_ptr_array_new();       \
                g_ptr_array_add(users, GINT_TO_POINTER(1)); \
                users;                                      \
        })

        cr_assert_null(function_pasid(vfs[0], &provider));
        PASID_STEP(inventory_set_pasid(inventory, pf, &none), 0, 0);
        PASID_STEP(inventory_set_pasid(inventory, pf, &off), enabled, enabled);
        cr_assert_eq(function_pasid(vfs[0], &provider), &pf->facts.pasid);
        cr_assert_eq(provider, pf);
        PASID_STEP(inventory_set_pasid(inventory, pf, &off), 0, 0);
        PASID_STEP(inventory_set_users(inventory, vfs[0], SOMEBODY()), 0, FUNCTION_PROPERTY_IN_USE);
        cr_assert_not(function_depends_on_pasid(vfs[0]));
        PASID_STEP(inventory_set_pasid(inventory, pf, &on), enabled | dependents, enabled);
        cr_assert(function_depends_on_pasid(vfs[0]));
        cr_assert_not(function_depends_on_pasid(vfs[1]));
        cr_assert_not(function_depends_on_pasid(pf));
        /* Reading the function's other facts again says nothing of it. */
        PASID_STEP(apply(inventory, facts_pf(PF, VFS(VF0, VF1))), 0, 0);
        cr_assert(pf->facts.pasid.enabled);
        PASID_STEP(inventory_set_users(inventory, vfs[0], NULL), dependents,
                   FUNCTION_PROPERTY_IN_USE);
        PASID_STEP(inventory_set_pasid(inventory, pf, &off), enabled, enabled);
        PASID_STEP(inventory_set_pasid(inventory, pf, &on), enabled, enabled);
        PASID_STEP(inventory_set_users(inventory, vfs[1], SOMEBODY()), dependents, 0);
        PASID_STEP(inventory_set_pasid(inventory, pf, &none), enabled | dependents, enabled);
        cr_assert_null(function_pasid(vfs[1], &provider));
        PASID_STEP(inventory_set_pasid(inventory, pf, &on), enabled | dependents, enabled);
        /* A dependent that goes is none any more. */
        PASID_STEP(inventory_remove(inventory, vfs[1]),
                   dependents | FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS, 0);
}
