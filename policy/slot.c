#include "policy/slot.h"

#include "policy/topology.h"

/* Whether the bus below is one slot. The ports of a switch alternate: a port below such a port is
 * an upstream port, and on the bus below that each downstream port has a device number.
 * pciehp is a service of this driver (drivers/pci/pcie/portdrv.c). */
static bool is_slot_port(const Function *port) {
        unsigned n = 0;

        for (; port && topology_is_bridge(port) && g_str_equal(port->facts.driver, "pcieport");
             port = port->parent)
                n++;
        return n % 2 == 1;
}

PciAddress slot_address(const Function *function) {
        PciAddress address = function_address(function);

        if (function->facts.s390)
                return address;
        address.function = 0;
        if (is_slot_port(function->parent))
                address.device = 0;
        return address;
}

static Function *first_sibling(Function *function) {
        while (function->previous_sibling)
                function = function->previous_sibling;
        return function;
}

/* A VF goes with its PF, which is in the slot itself: nothing is to be looked at twice, and what is
 * done to one stands only against what takes the slot. */
static bool goes_with_pf(const Function *function, const Function *mate) {
        return mate->pf &&
               pci_address_key(slot_address(mate->pf)) == pci_address_key(slot_address(function));
}

static void slot_add_mate(GPtrArray *mates, const Function *function, Function *mate) {
        if (mate && mate != function && !goes_with_pf(function, mate))
                g_ptr_array_add(mates, mate);
}

static void slot_add_device(const Inventory *inventory, const Function *function,
                            GPtrArray *mates) {
        PciAddress address = function_address(function);

        for (uint8_t i = 0; i < 8; i++) {
                address.function = i;
                slot_add_mate(mates, function, inventory_get(inventory, pci_address_key(address)));
        }
}

GPtrArray *slot_mates(const Inventory *inventory, const Function *function) {
        GPtrArray *mates = g_ptr_array_new();

        if (function->facts.s390 || function->kind == FUNCTION_KIND_VF)
                return mates;
        if (!is_slot_port(function->parent)) {
                slot_add_device(inventory, function, mates);
                return mates;
        }
        for (Function *mate = first_sibling((Function *) function); mate; mate = mate->next_sibling)
                slot_add_mate(mates, function, mate);
        g_ptr_array_sort(mates, function_compare);
        return mates;
}

bool slot_is_known(const Function *function) {
        return function->facts.s390 || function->kind == FUNCTION_KIND_VF ||
               !function->facts.has_parent || function->parent;
}

bool slot_is_own(const Inventory *inventory, const Function *function) {
        g_autoptr(GPtrArray) mates = slot_mates(inventory, function);

        if (function->facts.s390)
                return true;
        if (function->kind == FUNCTION_KIND_VF || !slot_is_known(function))
                return false;
        return mates->len == 0;
}
