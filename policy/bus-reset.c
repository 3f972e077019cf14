#include "policy/bus-reset.h"

#include "policy/topology.h"

#include <string.h>

/* Names of drivers/pci/pci.c (pci_reset_fn_methods); what it calls "bus" is a slot's reset where
 * the hot-plug driver has one. */
static const char *const bus_methods[] = { "bus", "slot", "cxl_bus" };

ResetScope reset_scope_parse(const char *methods) {
        size_t length = strcspn(methods, " \n");

        if (length == 0)
                return RESET_SCOPE_NONE;
        for (unsigned i = 0; i < G_N_ELEMENTS(bus_methods); i++)
                if (strlen(bus_methods[i]) == length && g_str_has_prefix(methods, bus_methods[i]))
                        return RESET_SCOPE_BUS;
        return RESET_SCOPE_FUNCTION;
}

GPtrArray *bus_reset_members(const Inventory *inventory, const Function *function) {
        PciAddress address = function_address(function);
        GPtrArray *members = NULL;

        /* A root bus cannot be reset, be it the host's or VMD's (pci_parent_bus_reset()). */
        if (function->kind == FUNCTION_KIND_VF || !function->parent ||
            !topology_is_bridge(function->parent))
                return NULL;
        for (unsigned i = 0; i < 256; i++) {
                Function *mate;

                address.device = (uint8_t) (i / 8);
                address.function = (uint8_t) (i % 8);
                mate = inventory_get(inventory, pci_address_key(address));
                if (!mate || mate == function || mate->kind == FUNCTION_KIND_VF ||
                    mate->parent != function->parent)
                        continue;
                if (!members)
                        members = g_ptr_array_new();
                g_ptr_array_add(members, mate);
        }
        return members;
}
