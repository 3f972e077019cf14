#include "tests/unit/facts.h"

#include <criterion/criterion.h>

Test(function, kind) {
        static const struct {
                bool physfn, sriov;
                uint16_t vfn;
                FunctionKind before, kind;
        } cases[] = {
                { false, false, 0, _FUNCTION_KIND_INVALID, FUNCTION_KIND_PLAIN },
                { false, true, 0, _FUNCTION_KIND_INVALID, FUNCTION_KIND_PF },
                { true, false, 0, _FUNCTION_KIND_INVALID, FUNCTION_KIND_VF },
                { true, true, 0, _FUNCTION_KIND_INVALID, FUNCTION_KIND_VF },
                /* before its link is there, and after it has gone */
                { true, false, 0, FUNCTION_KIND_PLAIN, FUNCTION_KIND_VF },
                { false, false, 0, FUNCTION_KIND_VF, FUNCTION_KIND_VF },
                /* s390: the PF elsewhere, seen later, its link gone again */
                { false, false, 1, _FUNCTION_KIND_INVALID, FUNCTION_KIND_DETACHED_VF },
                { true, false, 1, FUNCTION_KIND_DETACHED_VF, FUNCTION_KIND_VF },
                /* still a VF of that PF: the inventory says when it is not any more */
                { false, false, 1, FUNCTION_KIND_VF, FUNCTION_KIND_VF },
                { false, true, 0, FUNCTION_KIND_PLAIN, FUNCTION_KIND_PF },
                { false, false, 0, FUNCTION_KIND_PF, FUNCTION_KIND_PLAIN },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                FunctionFacts facts = { .has_physfn = cases[i].physfn,
                                        .has_sriov = cases[i].sriov,
                                        .s390_vfn = cases[i].vfn };

                cr_assert_eq(function_kind(&facts, cases[i].before), cases[i].kind, "case %zu", i);
        }
}

Test(function, words) {
        cr_assert_str_eq(function_kind_to_string(FUNCTION_KIND_PF), "pf");
        cr_assert_str_eq(function_kind_to_string(FUNCTION_KIND_VF), "vf");
        cr_assert_str_eq(function_kind_to_string(FUNCTION_KIND_DETACHED_VF), "detached-vf");
        cr_assert_str_eq(function_kind_to_string(FUNCTION_KIND_PLAIN), "plain");
        cr_assert_str_eq(function_state_to_string(FUNCTION_STATE_PRESENT), "present");
        cr_assert_str_eq(function_state_to_string(FUNCTION_STATE_UNPLUG_REQUESTED),
                         "unplug-requested");
        cr_assert_str_eq(function_state_to_string(FUNCTION_STATE_DRAINING), "draining");
        cr_assert_str_eq(function_state_to_string(FUNCTION_STATE_REMOVING), "removing");
}

Test(function, command_memory_of_every_vf_is_hardwired) {
        cr_assert(function_kind_memory_hardwired_zero(FUNCTION_KIND_VF));
        cr_assert(function_kind_memory_hardwired_zero(FUNCTION_KIND_DETACHED_VF));
        cr_assert_not(function_kind_memory_hardwired_zero(FUNCTION_KIND_PF));
        cr_assert_not(function_kind_memory_hardwired_zero(FUNCTION_KIND_PLAIN));
}

/* In use is what somebody has open; held, what must not be taken from them. */
Test(function, in_use_and_held) {
        Inventory *inventory = inventory_new();
        Function *function = apply(inventory, facts_plain("0000:01:00.0"));
        const IoSession session = { .ready = true }, single = { .single = true },
                        idle = { .single = true, .idle = true };
        User other = {
                .pid = 2, .command = (char *) "", .unit = (char *) "", .machine = (char *) ""
        };

        cr_assert(!function_in_use(function) && !function_is_held(function));
        use_by_session(inventory, function, &session);
        cr_assert(function_in_use(function) && function_is_held(function));
        use_by_session(inventory, function, &single);
        cr_assert(function_in_use(function) && !function_is_held(function));
        use_by_session(inventory, function, &idle);
        cr_assert(function_in_use(function) && !function_is_held(function));
        g_ptr_array_add(function->users, user_copy(&other));
        cr_assert(function_is_held(function), "somebody else has it, too");
        inventory_free(inventory);
}

Test(function, vfio_driver) {
        static const struct {
                const char *driver;
                bool device, expected;
        } cases[] = {
                { "vfio-pci", true, true },
                { "vfio-pci", false, true },
                { "ism_vfio_pci", false, true },
                { "acme", true, true },
                { "acme", false, false },
                { "pci-stub", false, false },
                { "", false, false },
                { "", true, false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                Function function = { .facts = { .driver = (GRefString *) cases[i].driver,
                                                 .vfio_device = cases[i].device } };

                cr_assert_eq(function_has_vfio_driver(&function), cases[i].expected, "%zu", i);
        }
}

Test(function, back_end_by_driver) {
        static const struct {
                const char *driver, *expected;
        } cases[] = {
                { "vfio-pci", "vfio-pci" },
                { "mlx5_vfio_pci", "vfio-pci" },
                { "ism-vfio-pci", "ism-vfio-pci" },
                { "ism_vfio_pci", "ism-vfio-pci" },
                { "igb", "" },
                { "", "" },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                Function function = { .facts = { .driver = (GRefString *) cases[i].driver } };

                cr_assert_str_eq(function_io_backend(&function), cases[i].expected, "%zu", i);
                cr_assert_eq(function_io_relaxed(&function),
                             strcmp(cases[i].expected, "ism-vfio-pci") == 0, "%zu", i);
        }
}

Test(function, a_handle_without_the_enable_bit) {
        cr_expect(zpci_handle_is_disabled(0x00020000));
        cr_expect_not(zpci_handle_is_disabled(0x80020000));
        cr_expect_not(zpci_handle_is_disabled(0), "no handle at all");
}
