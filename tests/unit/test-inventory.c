#include "tests/unit/facts.h"

#include <criterion/criterion.h>

#define PF  "0000:01:00.0"
#define VF0 "0000:01:10.0"
#define VF1 "0000:01:10.2"

/* The set of these properties; of none without arguments. */
#define SET(...) \
        set_of((const FunctionProperty[]){ __VA_ARGS__ __VA_OPT__(, ) _FUNCTION_PROPERTY_MAX })

static PropertySet set_of(const FunctionProperty *properties) {
        PropertySet set = { 0 };

        for (; *properties != _FUNCTION_PROPERTY_MAX; properties++)
                property_set_add(&set, *properties);
        return set;
}

static bool changed(const Function *function, PropertySet set) {
        for (FunctionProperty i = 0; i < _FUNCTION_PROPERTY_MAX; i++)
                if (property_set_has(&function->changes, i) != property_set_has(&set, i))
                        return false;
        return true;
}

static void assert_linked(const Function *pf, const Function *vf, uint32_t index) {
        cr_assert_eq(vf->pf, pf);
        cr_assert_eq(vf->index, index);
        cr_assert_eq(pf->vfs->pdata[index], vf);
}

/* A device that was plugged anew is another one, at the same address. */
Test(inventory, knows_the_same_device) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, NULL));
        PciKey key = pf->facts.key;

        cr_assert_eq(inventory_get_device(inventory, key, pf->facts.inode), pf);
        cr_assert_null(inventory_get_device(inventory, key, pf->facts.inode + 1));
        cr_assert_null(inventory_get_device(inventory, key + 1, pf->facts.inode));
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
        property_set_clear(&vf->changes);
        property_set_clear(&pf->changes);

        apply(inventory, facts_vf(VF0, PF));
        cr_assert_eq(vf->kind, FUNCTION_KIND_VF);
        cr_assert(changed(vf, SET(FUNCTION_PROPERTY_KIND, FUNCTION_PROPERTY_COMMAND_MEMORY,
                                  FUNCTION_PROPERTY_PHYSICAL_FUNCTION)));
        cr_assert_eq(vf->index, VF_INDEX_UNKNOWN);
        cr_assert(changed(pf, SET()));

        property_set_clear(&vf->changes);
        apply(inventory, facts_pf(PF, VFS(VF0)));
        assert_linked(pf, vf, 0);
        cr_assert(changed(vf, SET(FUNCTION_PROPERTY_INDEX)));
        cr_assert(changed(pf, SET(FUNCTION_PROPERTY_NUM_VFS, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS)));
}

/* What a VF has from its PF is news for the VF when the two are linked, and only then. */
Test(inventory, slot_of_a_pf) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, NULL));
        Function *vf = apply(inventory, facts_plain(VF0));

        pf->slot = g_intern_static_string("1");
        property_set_clear(&vf->changes);
        apply(inventory, facts_vf(VF0, PF));
        cr_assert(changed(vf, SET(FUNCTION_PROPERTY_KIND, FUNCTION_PROPERTY_COMMAND_MEMORY,
                                  FUNCTION_PROPERTY_PHYSICAL_FUNCTION, FUNCTION_PROPERTY_SLOT)));
        property_set_clear(&vf->changes);
        apply(inventory, facts_pf(PF, VFS(VF0)));
        cr_assert(changed(vf, SET(FUNCTION_PROPERTY_INDEX)));
        property_set_clear(&vf->changes);
        inventory_remove(inventory, pf);
        cr_assert(changed(vf, SET(FUNCTION_PROPERTY_PHYSICAL_FUNCTION, FUNCTION_PROPERTY_INDEX,
                                  FUNCTION_PROPERTY_SLOT)));
}

/* One of s390 goes on without its PF, and is nobody's VF then; but not before the PF is gone, for
 * the links go first when the VF itself is taken away. */
Test(inventory, detaching) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0)));
        Function *vf = apply(inventory, facts_vf(VF0, PF));
        FunctionFacts alone = facts_plain(VF0);

        assert_linked(pf, vf, 0);
        property_set_clear(&vf->changes);
        alone.s390_vfn = 1;
        apply(inventory, alone);
        assert_linked(pf, vf, 0);
        cr_assert_eq(vf->kind, FUNCTION_KIND_VF);
        cr_assert(changed(vf, SET()));

        inventory_remove(inventory, pf);
        alone = facts_plain(VF0);
        alone.s390_vfn = 1;
        apply(inventory, alone);
        cr_assert_eq(vf->kind, FUNCTION_KIND_DETACHED_VF);
        cr_assert_null(vf->pf);
        cr_assert_eq(vf->index, VF_INDEX_UNKNOWN);
        cr_assert(changed(vf, SET(FUNCTION_PROPERTY_KIND, FUNCTION_PROPERTY_PHYSICAL_FUNCTION,
                                  FUNCTION_PROPERTY_INDEX)));
}

/* The links go first, then the VF; it stays a VF of that PF with its number until it goes. */
Test(inventory, disabling) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0, VF1)));
        Function *vf = apply(inventory, facts_vf(VF0, PF));
        Function *other = apply(inventory, facts_vf(VF1, PF));

        property_set_clear(&pf->changes);
        property_set_clear(&vf->changes);
        property_set_clear(&other->changes);
        apply(inventory, facts_plain(VF0));
        cr_assert_eq(vf->kind, FUNCTION_KIND_VF);
        cr_assert_eq(vf->pf, pf);
        cr_assert(changed(vf, SET()));

        FunctionFacts left = facts_pf(PF, VFS(VF1));
        g_array_index(left.virtfns, VirtfnLink, 0).index = 1;
        apply(inventory, left);
        cr_assert(changed(pf, SET(FUNCTION_PROPERTY_NUM_VFS)));
        assert_linked(pf, vf, 0);
        cr_assert_eq(vf->index, 0);
        cr_assert_eq(other->index, 1);
        cr_assert(changed(other, SET()));

        property_set_clear(&pf->changes);
        inventory_remove(inventory, vf);
        cr_assert(changed(pf, SET(FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS)));
        cr_assert_eq(pf->vfs->len, 1);
        cr_assert_null(inventory_get(inventory, key_of(VF0)));
        cr_assert_eq(inventory_count(inventory), 2);
}

Test(inventory, a_vf_goes_before_its_link) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, VFS(VF0)));

        apply(inventory, facts_vf(VF0, PF));
        property_set_clear(&pf->changes);
        inventory_remove(inventory, inventory_get(inventory, key_of(VF0)));
        cr_assert(changed(pf, SET(FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS)));
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
        property_set_clear(&listed->changes);
        property_set_clear(&unlisted->changes);
        inventory_remove(inventory, pf);
        cr_assert_null(listed->pf);
        cr_assert_null(unlisted->pf);
        cr_assert(
                changed(listed, SET(FUNCTION_PROPERTY_PHYSICAL_FUNCTION, FUNCTION_PROPERTY_INDEX)));
        cr_assert(changed(unlisted, SET(FUNCTION_PROPERTY_PHYSICAL_FUNCTION)));
        cr_assert_eq(listed->kind, FUNCTION_KIND_VF);
}

Test(inventory, each_fact_has_its_property) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_pf(PF, NULL));

#define CHECK(property, ...)                                                \
        do {                                                                \
                FunctionFacts facts = facts_pf(PF, NULL);                   \
                __VA_ARGS__;                                                \
                property_set_clear(&pf->changes);                           \
                inventory_apply(inventory, &facts);                         \
                cr_assert(changed(pf, property), #__VA_ARGS__);             \
                property_set_clear(&pf->changes);                           \
                apply(inventory, facts_pf(PF, NULL));                       \
                cr_assert(changed(pf, property), #__VA_ARGS__ " and back"); \
        } while (0)

        CHECK(SET(), (void) 0);
        CHECK(SET(FUNCTION_PROPERTY_DRIVER), facts = facts_driver(facts, "igb"));
        CHECK(SET(FUNCTION_PROPERTY_IOMMU_GROUP), facts.iommu_group = 7);
        CHECK(SET(FUNCTION_PROPERTY_NUMA_NODE), facts.numa_node = 1);
        CHECK(SET(FUNCTION_PROPERTY_TOTAL_VFS), facts.total_vfs = 7);
        CHECK(SET(FUNCTION_PROPERTY_DRIVERS_AUTOPROBE), facts.drivers_autoprobe = false);
        CHECK(SET(FUNCTION_PROPERTY_DRIVER_OVERRIDE), g_ref_string_release(facts.driver_override),
              facts.driver_override = g_ref_string_new_intern("vfio-pci"));
        CHECK(SET(FUNCTION_PROPERTY_KIND), facts.has_sriov = false);
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
        const FunctionProperty dependents = FUNCTION_PROPERTY_PASID_DEPENDENTS;
        const FunctionProperty enabled = FUNCTION_PROPERTY_PASID_ENABLED;
        const Function *provider = NULL;

#define PASID_STEP(action, pf_set, vf_set)            \
        do {                                          \
                property_set_clear(&pf->changes);     \
                property_set_clear(&vfs[0]->changes); \
                property_set_clear(&vfs[1]->changes); \
                action;                               \
                cr_assert(changed(pf, pf_set));       \
                cr_assert(changed(vfs[0], vf_set));   \
        } while (0)
#define SOMEBODY()                                          \
        ({                                                  \
                GPtrArray *users = g_ptr_array_new();       \
                g_ptr_array_add(users, GINT_TO_POINTER(1)); \
                users;                                      \
        })

        cr_assert_null(function_pasid(vfs[0], &provider));
        PASID_STEP(inventory_set_pasid(inventory, pf, &none), SET(), SET());
        PASID_STEP(inventory_set_pasid(inventory, pf, &off), SET(enabled), SET(enabled));
        cr_assert_eq(function_pasid(vfs[0], &provider), &pf->facts.pasid);
        cr_assert_eq(provider, pf);
        PASID_STEP(inventory_set_pasid(inventory, pf, &off), SET(), SET());
        PASID_STEP(inventory_set_users(inventory, vfs[0], SOMEBODY()), SET(),
                   SET(FUNCTION_PROPERTY_IN_USE));
        cr_assert_not(function_depends_on_pasid(vfs[0]));
        PASID_STEP(inventory_set_pasid(inventory, pf, &on), SET(enabled, dependents), SET(enabled));
        cr_assert(function_depends_on_pasid(vfs[0]));
        cr_assert_not(function_depends_on_pasid(vfs[1]));
        cr_assert_not(function_depends_on_pasid(pf));
        /* Reading the function's other facts again says nothing of it. */
        PASID_STEP(apply(inventory, facts_pf(PF, VFS(VF0, VF1))), SET(), SET());
        cr_assert(pf->facts.pasid.enabled);
        PASID_STEP(inventory_set_users(inventory, vfs[0], NULL), SET(dependents),
                   SET(FUNCTION_PROPERTY_IN_USE));
        PASID_STEP(inventory_set_pasid(inventory, pf, &off), SET(enabled), SET(enabled));
        PASID_STEP(inventory_set_pasid(inventory, pf, &on), SET(enabled), SET(enabled));
        PASID_STEP(inventory_set_users(inventory, vfs[1], SOMEBODY()), SET(dependents), SET());
        PASID_STEP(inventory_set_pasid(inventory, pf, &none), SET(enabled, dependents),
                   SET(enabled));
        cr_assert_null(function_pasid(vfs[1], &provider));
        PASID_STEP(inventory_set_pasid(inventory, pf, &on), SET(enabled, dependents), SET(enabled));
        /* A dependent that goes is none any more. */
        PASID_STEP(inventory_remove(inventory, vfs[1]),
                   SET(dependents, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS), SET());
}

static GArray *links_to(const char *const *vfs, uint32_t first) {
        GArray *links = g_array_new(FALSE, FALSE, sizeof(VirtfnLink));

        for (unsigned i = 0; vfs[i]; i++) {
                VirtfnLink link = { key_of(vfs[i]), first + i };

                g_array_append_val(links, link);
        }
        return links;
}

/* The links of a PF become others, and nothing else of it is read. */
Test(inventory, links_alone) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory, facts_driver(facts_pf(PF, VFS(VF0)), "igb"));
        Function *vfs[] = { apply(inventory, facts_vf(VF0, PF)),
                            apply(inventory, facts_vf(VF1, PF)) };

        cr_assert_eq(vfs[1]->index, VF_INDEX_UNKNOWN);
        property_set_clear(&pf->changes);
        inventory_set_virtfns(inventory, pf, links_to(VFS(VF0, VF1), 0));
        cr_assert(changed(pf, SET(FUNCTION_PROPERTY_NUM_VFS, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS)));
        cr_assert_eq(vfs[1]->index, 1);
        cr_assert_eq(function_num_vfs(pf), 2);
        cr_assert_eq(pf->facts.n_virtfn_links, 2);
        cr_assert_str_eq(pf->facts.driver, "igb");

        property_set_clear(&pf->changes);
        inventory_set_virtfns(inventory, pf, links_to(VFS(VF0, VF1), 0));
        cr_assert(changed(pf, SET()));

        inventory_remove(inventory, vfs[0]);
        property_set_clear(&pf->changes);
        inventory_set_virtfns(inventory, pf, links_to(VFS(VF1), 1));
        cr_assert(changed(pf, SET(FUNCTION_PROPERTY_NUM_VFS)));
        cr_assert_eq(vfs[1]->index, 1);
        inventory_set_virtfns(inventory, pf, NULL);
        cr_assert_eq(function_num_vfs(pf), 0);
        cr_assert_eq(pf->facts.n_virtfn_links, 0);
}
