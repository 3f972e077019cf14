#include "policy/bus-reset.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

Test(bus_reset, scope) {
        static const struct {
                const char *methods;
                ResetScope scope;
        } cases[] = {
                { "", RESET_SCOPE_NONE },
                { "\n", RESET_SCOPE_NONE },
                { "bus", RESET_SCOPE_BUS },
                { "bus\n", RESET_SCOPE_BUS },
                { "slot", RESET_SCOPE_BUS },
                { "cxl_bus bus", RESET_SCOPE_BUS },
                { "flr bus", RESET_SCOPE_FUNCTION },
                { "pm bus\n", RESET_SCOPE_FUNCTION },
                { "device_specific", RESET_SCOPE_FUNCTION },
                /* a method of a later kernel */
                { "bussed", RESET_SCOPE_FUNCTION },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                cr_assert_eq(reset_scope_parse(cases[i].methods), cases[i].scope, "\"%s\"",
                             cases[i].methods);
}

static FunctionFacts under(FunctionFacts facts, const char *parent) {
        facts.has_parent = true;
        facts.parent = key_of(parent);
        return facts;
}

static FunctionFacts bridge(const char *address) {
        FunctionFacts facts = facts_plain(address);

        facts.class_code = 0x060400;
        return facts;
}

/* Functions of the same bus behind a bridge; neither VFs, nor other buses below the same bridge,
 * nor a root bus, be it a VMD controller's. */
Test(bus_reset, members) {
        static const struct {
                const char *address, *members;
        } rows[] = {
                { "0000:01:00.0", "0000:01:00.1" },
                { "0000:01:00.1", "0000:01:00.0" },
                { "0000:01:10.0", "" },
                { "0000:02:00.0", "" },
                { "0000:00:02.0", "" },
                { "10000:00:01.0", "" },
        };
        g_autoptr(Inventory) inventory = inventory_new();

        apply(inventory, bridge("0000:00:02.0"));
        apply(inventory, facts_plain("0000:00:03.0"));
        apply(inventory, under(facts_pf("0000:01:00.0", VFS("0000:01:10.0")), "0000:00:02.0"));
        apply(inventory, under(facts_plain("0000:01:00.1"), "0000:00:02.0"));
        apply(inventory, under(facts_vf("0000:01:10.0", "0000:01:00.0"), "0000:00:02.0"));
        apply(inventory, under(facts_plain("0000:02:00.0"), "0000:00:02.0"));
        apply(inventory, under(facts_plain("10000:00:01.0"), "0000:00:03.0"));
        apply(inventory, under(facts_plain("10000:00:02.0"), "0000:00:03.0"));
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(GPtrArray) members = bus_reset_members(
                        inventory, inventory_get(inventory, key_of(rows[i].address)));
                char text[PCI_ADDRESS_STRING_MAX] = "";

                cr_assert(!members || members->len == 1, "%s", rows[i].address);
                if (members)
                        pci_address_format(function_address(members->pdata[0]), text);
                cr_assert_str_eq(text, rows[i].members, "%s", rows[i].address);
        }
}
