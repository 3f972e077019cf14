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

static const InterfaceProperty function_properties[] = {
        { FUNCTION_PROPERTY_KIND, "Kind" },
        { FUNCTION_PROPERTY_DRIVER, "Driver" },
        { FUNCTION_PROPERTY_DRIVER_OVERRIDE, "DriverOverride" },
        { FUNCTION_PROPERTY_IOMMU_GROUP, "IommuGroup" },
        { FUNCTION_PROPERTY_NUMA_NODE, "NumaNode" },
        { FUNCTION_PROPERTY_LOCKED, "Locked" },
        { FUNCTION_PROPERTY_LOCK_REASONS, "LockReasons" },
        { FUNCTION_PROPERTY_LOCK_WHY, "LockWhy" },
        { FUNCTION_PROPERTY_PROTECTED_FILES, "ClosedFiles" },
        { FUNCTION_PROPERTY_TAINTED, "Tainted" },
        { FUNCTION_PROPERTY_USERSPACE_DRIVER, "UserspaceDriver" },
        { FUNCTION_PROPERTY_STATE, "State" },
        { FUNCTION_PROPERTY_COMMAND_MEMORY, "CommandMemory" },
        { FUNCTION_PROPERTY_IN_USE, "InUse" },
        { _FUNCTION_PROPERTY_MAX, NULL },
};

static const InterfaceProperty pf_properties[] = {
        { FUNCTION_PROPERTY_TOTAL_VFS, "TotalVFs" },
        { FUNCTION_PROPERTY_NUM_VFS, "NumVFs" },
        { FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS, "VirtualFunctions" },
        { FUNCTION_PROPERTY_DRIVERS_AUTOPROBE, "DriversAutoprobe" },
        { _FUNCTION_PROPERTY_MAX, NULL },
};

static const InterfaceProperty vf_properties[] = {
        { FUNCTION_PROPERTY_PHYSICAL_FUNCTION, "PhysicalFunction" },
        { FUNCTION_PROPERTY_INDEX, "Index" },
        { _FUNCTION_PROPERTY_MAX, NULL },
};

static const InterfaceProperty pasid_properties[] = {
        { FUNCTION_PROPERTY_PASID_ENABLED, "Enabled" },
        { FUNCTION_PROPERTY_PASID_DEPENDENTS, "Dependents" },
        { _FUNCTION_PROPERTY_MAX, NULL },
};

static const InterfaceProperty msix_properties[] = {
        { FUNCTION_PROPERTY_MSIX_VECTORS, "Vectors" },
        { FUNCTION_PROPERTY_MSIX_ISOLATION, "Isolation" },
        { FUNCTION_PROPERTY_MSIX_EVIDENCE, "Evidence" },
        { FUNCTION_PROPERTY_MSIX_TABLE_MAPPABLE, "TableMappable" },
        { FUNCTION_PROPERTY_MSIX_REASON, "Reason" },
        { _FUNCTION_PROPERTY_MAX, NULL },
};

static const InterfaceProperty zpci_io_properties[] = {
        { FUNCTION_PROPERTY_IO_BACKEND, "Backend" },
        { FUNCTION_PROPERTY_IO_MAX_STORE_BLOCK, "MaxStoreBlock" },
        { FUNCTION_PROPERTY_IO_RELAXED, "Relaxed" },
        { _FUNCTION_PROPERTY_MAX, NULL },
};

/* Function is the last: when Kind is said to change, the interface of the new kind is there. */
const Interface bus_interfaces[] = {
        { BUS_INTERFACE("Manager"), .path = BUS_ROOT, .vtable = manager_vtable },
        { LOG_CONTROL, .path = LOG_CONTROL_PATH, .vtable = log_control_vtable },
        { BUS_INTERFACE("PhysicalFunction"), .vtable = physical_function_vtable,
          .on_function = is_pf, .properties = pf_properties },
        { BUS_INTERFACE("VirtualFunction"), .vtable = virtual_function_vtable, .on_function = is_vf,
          .properties = vf_properties },
        { BUS_INTERFACE("Pasid"), .vtable = pasid_vtable, .on_function = has_pasid,
          .properties = pasid_properties },
        { BUS_INTERFACE("Msix"), .vtable = msix_vtable, .on_function = has_msix,
          .properties = msix_properties },
        { BUS_INTERFACE("Zpci"), .vtable = zpci_vtable, .on_function = is_zpci },
        { BUS_INTERFACE("ZpciIo"), .vtable = zpci_io_vtable, .on_function = has_zpci_io,
          .properties = zpci_io_properties },
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

char **interface_properties(const Interface *interface, const PropertySet *properties) {
        g_autoptr(GPtrArray) names = g_ptr_array_new();

        for (const InterfaceProperty *p = interface->properties; p && p->name; p++)
                if (property_set_has(properties, p->property))
                        g_ptr_array_add(names, (char *) p->name);
        if (names->len == 0)
                return NULL;
        g_ptr_array_add(names, NULL);
        return (char **) g_ptr_array_free(g_steal_pointer(&names), FALSE);
}
