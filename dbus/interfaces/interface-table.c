#include "dbus/interfaces/interface-table.h"

#include "dbus/interfaces/interface.h"
#include "dbus/path.h"

#include <string.h>

static bool is_pf(const Function *function) {
        return function->kind == FUNCTION_KIND_PF;
}

static bool is_vf(const Function *function) {
        return function->kind == FUNCTION_KIND_VF || function->kind == FUNCTION_KIND_DETACHED_VF;
}

static bool has_pasid(const Function *function) {
        return function_pasid(function, NULL) != NULL;
}

static bool has_msix(const Function *function) {
        return function->msi != NULL;
}

static bool is_zpci(const Function *function) {
        return function->facts.s390;
}

/* A bridge is nobody's to load from. All others have the interface, also where a session would be
 * refused: it says why. */
static bool has_zpci_io(const Function *function) {
        return function->facts.class_code >> 16 != 0x06;
}

/* Function is the last: when Kind is said to change, the interface of the new kind is there. */
const Interface bus_interfaces[] = {
        { BUS_INTERFACE("Manager"), .path = BUS_ROOT, .vtable = manager_vtable },
        { BUS_INTERFACE("Statistics"), .path = BUS_ROOT, .vtable = statistics_vtable },
        { LOG_CONTROL, .path = LOG_CONTROL_PATH, .vtable = log_control_vtable },
        { BUS_INTERFACE("PhysicalFunction"), .vtable = physical_function_vtable,
          .properties = physical_function_properties, .on_function = is_pf },
        { BUS_INTERFACE("VirtualFunction"), .vtable = virtual_function_vtable,
          .properties = virtual_function_properties, .on_function = is_vf },
        { BUS_INTERFACE("Pasid"), .vtable = pasid_vtable, .properties = pasid_properties,
          .on_function = has_pasid, .object = "Pasid" },
        { BUS_INTERFACE("Msix"), .vtable = msix_vtable, .properties = msix_properties,
          .on_function = has_msix, .object = "Msix" },
        { BUS_INTERFACE("Zpci"), .vtable = zpci_vtable, .properties = zpci_properties,
          .on_function = is_zpci },
        { BUS_INTERFACE("ZpciIo"), .vtable = zpci_io_vtable, .properties = zpci_io_properties,
          .on_function = has_zpci_io, .object = "ZpciIo" },
        { BUS_INTERFACE("Function"), .vtable = function_vtable, .properties = function_properties },
        { NULL },
};

_Static_assert(G_N_ELEMENTS(bus_interfaces) <= sizeof(unsigned) * 8,
               "interface_bit() has a bit for each interface");

const Interface *interface_find(const char *name) {
        interface_foreach (interface)
                if (strcmp(interface->name, name) == 0)
                        return interface;
        return NULL;
}

bool interface_on_function(const Interface *interface, const Function *function) {
        return !interface->path && (!interface->on_function || interface->on_function(function));
}

unsigned interface_bit(const Interface *interface) {
        return 1U << (interface - bus_interfaces);
}

unsigned interfaces_on_function(const Function *function) {
        unsigned bits = 0;

        interface_foreach (interface)
                if (interface_on_function(interface, function))
                        bits |= interface_bit(interface);
        return bits;
}

bool interface_property_changes(const InterfaceProperty *property, const PropertySet *changes) {
        return property->changes < _FUNCTION_PROPERTY_MAX &&
               property_set_has(changes, (FunctionProperty) property->changes);
}

bool interface_has_change(const Interface *interface, const PropertySet *changes) {
        for (const InterfaceProperty *p = interface->properties; p && p->name; p++)
                if (interface_property_changes(p, changes))
                        return true;
        return false;
}
