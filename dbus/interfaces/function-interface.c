#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "dbus/path.h"

#include "daemon/base/log.h"
#include "policy/client-text.h"
#include "policy/topology.h"

#include <errno.h>

int write_lock_reasons(ValueWriter *writer, unsigned reasons) {
        int r = value_begin_array(writer, "s");

        for (unsigned i = 0; r >= 0 && i < LOCK_REASONS_MAX; i++)
                if (reasons & (1U << i))
                        r = value_write_string(writer, lock_reason_to_string(1U << i));
        return r < 0 ? r : value_end_array(writer);
}

int function_method_lock(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        const char *why;
        int r;

        if (!function)
                return -ENODEV;
        r = sd_bus_message_read(call->message, "s", &why);
        if (r < 0)
                return r;
        if (!client_text_valid(why, MANAGER_LOCK_WHY_MAX, true))
                return bus_error_set(error, -EINVAL,
                                     "'why' has at most %d bytes, none of a control character",
                                     MANAGER_LOCK_WHY_MAX);
        r = manager_lock(call->bus->manager, function, why);
        if (r < 0)
                return method_fail(call, r, error);
        return sd_bus_reply_method_return(call->message, NULL);
}

int function_method_unlock(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        int r;

        if (!function)
                return -ENODEV;
        r = manager_unlock(call->bus->manager, function);
        if (r < 0)
                return method_fail(call, r, error);
        return sd_bus_reply_method_return(call->message, NULL);
}

PROPERTY_VALUE(function_address_text) {
        char address[PCI_ADDRESS_STRING_MAX];

        return value_write_string(writer, pci_address_format(function_address(function), address));
}

PROPERTY_VALUE(function_kind_word) {
        return value_write_string(writer, function_kind_to_string(function->kind));
}

PROPERTY_MEMBER(function_vendor_id, value_write_uint16, facts.vendor)
PROPERTY_MEMBER(function_device_id, value_write_uint16, facts.device)
PROPERTY_MEMBER(function_subsystem_vendor_id, value_write_uint16, facts.subsystem_vendor)
PROPERTY_MEMBER(function_subsystem_device_id, value_write_uint16, facts.subsystem_device)
PROPERTY_MEMBER(function_class, value_write_uint32, facts.class_code)
PROPERTY_MEMBER(function_revision, value_write_byte, facts.revision)
PROPERTY_MEMBER(function_vendor_name, value_write_string, facts.vendor_name)
PROPERTY_MEMBER(function_device_name, value_write_string, facts.device_name)
PROPERTY_MEMBER(function_driver, value_write_string, facts.driver)
PROPERTY_MEMBER(function_driver_override, value_write_string, facts.driver_override)
PROPERTY_MEMBER(function_iommu_group, value_write_int32, facts.iommu_group)
PROPERTY_MEMBER(function_numa_node, value_write_int32, facts.numa_node)

/* As the path in sysfs says; the object of a new parent may come a moment later. */
PROPERTY_VALUE(function_parent) {
        const Function parent = { .facts.key = function->facts.parent };

        return value_write_function(writer, function->facts.has_parent ? &parent : NULL);
}

PROPERTY_VALUE(function_children) {
        g_autoptr(GPtrArray) children = topology_children(function);
        int r = value_begin_array(writer, "o");

        for (guint i = 0; r >= 0 && i < children->len; i++)
                r = value_write_function(writer, children->pdata[i]);
        return r < 0 ? r : value_end_array(writer);
}

PROPERTY_VALUE(function_slot) {
        const Function *owner = topology_slot_owner(function);

        return value_write_string(writer, owner ? owner->slot : NULL);
}

static int write_names(ValueWriter *writer, const Function *function, DeviceNameKind kind) {
        const GPtrArray *names = device_names_list(function->names, kind);
        int r = value_begin_array(writer, "s");

        for (guint i = 0; r >= 0 && names && i < names->len; i++)
                r = value_write_string(writer, names->pdata[i]);
        return r < 0 ? r : value_end_array(writer);
}

PROPERTY_VALUE(function_interfaces) {
        return write_names(writer, function, DEVICE_NAME_INTERFACE);
}

PROPERTY_VALUE(function_block_devices) {
        return write_names(writer, function, DEVICE_NAME_BLOCK);
}

PROPERTY_MEMBER(function_link_speed, value_write_uint32, pcie.link_speed)
PROPERTY_MEMBER(function_link_width, value_write_byte, pcie.link_width)

/* As lspci(8) prints it. */
PROPERTY_VALUE(function_serial) {
        uint64_t serial = function->pcie.serial;
        char text[sizeof("00-11-22-33-44-55-66-77")];

        if (!function->pcie.has_serial)
                return value_write_string(writer, NULL);
        for (unsigned i = 0; i < 8; i++)
                g_snprintf(text + 3 * (size_t) i, sizeof("77-"), "%02x%s",
                           (unsigned) (serial >> (8 * (7 - i))) & 0xffU, i < 7 ? "-" : "");
        return value_write_string(writer, text);
}

PROPERTY_VALUE(function_command_memory) {
        return value_write_string(writer, function_kind_memory_hardwired_zero(function->kind)
                                                  ? "hardwired-zero"
                                                  : "implemented");
}

PROPERTY_VALUE(function_is_in_use) {
        return value_write_boolean(writer, function_in_use(function));
}

PROPERTY_VALUE(function_locked) {
        return value_write_boolean(writer, function->lock_reasons != 0);
}

PROPERTY_VALUE(function_lock_reasons) {
        return write_lock_reasons(writer, function->lock_reasons);
}

PROPERTY_MEMBER(function_lock_why, value_write_string, lock_why)

PROPERTY_VALUE(function_closed_files) {
        int r = value_begin_array(writer, "s");

        for (LockFile file = 0; r >= 0 && file < _LOCK_FILE_MAX; file++)
                if (function->protected_files & (1U << file))
                        r = value_write_string(writer, lock_file_to_string(file));
        return r < 0 ? r : value_end_array(writer);
}

PROPERTY_MEMBER(function_userspace_driver, value_write_boolean, userspace_driver)
PROPERTY_MEMBER(function_tainted, value_write_boolean, tainted)

PROPERTY_VALUE(function_state) {
        return value_write_string(writer, function_state_to_string(function->state));
}

PROPERTY_MEMBER(pf_total_vfs, value_write_uint16, facts.total_vfs)

PROPERTY_VALUE(pf_num_vfs) {
        return value_write_uint16(writer, function_num_vfs(function));
}

PROPERTY_VALUE(pf_virtual_functions) {
        int r = value_begin_array(writer, "o");

        for (guint i = 0; r >= 0 && function->vfs && i < function->vfs->len; i++)
                r = value_write_function(writer, function->vfs->pdata[i]);
        return r < 0 ? r : value_end_array(writer);
}

PROPERTY_MEMBER(pf_drivers_autoprobe, value_write_boolean, facts.drivers_autoprobe)

PROPERTY_VALUE(vf_physical_function) {
        return value_write_function(writer, function->pf);
}

PROPERTY_MEMBER(vf_index, value_write_uint32, index)

/* clang-format off */
#define FUNCTION_PROPERTIES(ROW)                                                          \
        ROW("Address", "s", PROPERTY_CONSTANT, function_address_text)                     \
        ROW("Kind", "s", FUNCTION_PROPERTY_KIND, function_kind_word)                      \
        ROW("VendorId", "q", PROPERTY_CONSTANT, function_vendor_id)                       \
        ROW("DeviceId", "q", PROPERTY_CONSTANT, function_device_id)                       \
        ROW("SubsystemVendorId", "q", PROPERTY_CONSTANT, function_subsystem_vendor_id)    \
        ROW("SubsystemDeviceId", "q", PROPERTY_CONSTANT, function_subsystem_device_id)    \
        ROW("Class", "u", PROPERTY_CONSTANT, function_class)                              \
        ROW("Revision", "y", PROPERTY_CONSTANT, function_revision)                        \
        ROW("VendorName", "s", PROPERTY_CONSTANT, function_vendor_name)                   \
        ROW("DeviceName", "s", PROPERTY_CONSTANT, function_device_name)                   \
        ROW("Driver", "s", FUNCTION_PROPERTY_DRIVER, function_driver)                     \
        ROW("DriverOverride", "s", FUNCTION_PROPERTY_DRIVER_OVERRIDE, function_driver_override) \
        ROW("IommuGroup", "i", FUNCTION_PROPERTY_IOMMU_GROUP, function_iommu_group)       \
        ROW("NumaNode", "i", FUNCTION_PROPERTY_NUMA_NODE, function_numa_node)             \
        ROW("Parent", "o", PROPERTY_CONSTANT, function_parent)                            \
        ROW("Children", "ao", FUNCTION_PROPERTY_CHILDREN, function_children)              \
        ROW("Slot", "s", FUNCTION_PROPERTY_SLOT, function_slot)                           \
        ROW("Interfaces", "as", FUNCTION_PROPERTY_INTERFACES, function_interfaces)        \
        ROW("BlockDevices", "as", FUNCTION_PROPERTY_BLOCK_DEVICES, function_block_devices) \
        ROW("LinkSpeed", "u", FUNCTION_PROPERTY_LINK_SPEED, function_link_speed)          \
        ROW("LinkWidth", "y", FUNCTION_PROPERTY_LINK_WIDTH, function_link_width)          \
        ROW("Serial", "s", FUNCTION_PROPERTY_SERIAL, function_serial)                     \
        ROW("CommandMemory", "s", FUNCTION_PROPERTY_COMMAND_MEMORY, function_command_memory) \
        ROW("InUse", "b", FUNCTION_PROPERTY_IN_USE, function_is_in_use)                   \
        ROW("Locked", "b", FUNCTION_PROPERTY_LOCKED, function_locked)                     \
        ROW("LockReasons", "as", FUNCTION_PROPERTY_LOCK_REASONS, function_lock_reasons)   \
        ROW("LockWhy", "s", FUNCTION_PROPERTY_LOCK_WHY, function_lock_why)                \
        ROW("ClosedFiles", "as", FUNCTION_PROPERTY_PROTECTED_FILES, function_closed_files) \
        ROW("UserspaceDriver", "b", FUNCTION_PROPERTY_USERSPACE_DRIVER, function_userspace_driver) \
        ROW("Tainted", "b", FUNCTION_PROPERTY_TAINTED, function_tainted)                  \
        ROW("State", "s", FUNCTION_PROPERTY_STATE, function_state)

#define PHYSICAL_FUNCTION_PROPERTIES(ROW)                                                 \
        ROW("TotalVFs", "q", FUNCTION_PROPERTY_TOTAL_VFS, pf_total_vfs)                   \
        ROW("NumVFs", "q", FUNCTION_PROPERTY_NUM_VFS, pf_num_vfs)                         \
        ROW("VirtualFunctions", "ao", FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS, pf_virtual_functions) \
        ROW("DriversAutoprobe", "b", FUNCTION_PROPERTY_DRIVERS_AUTOPROBE, pf_drivers_autoprobe)

#define VIRTUAL_FUNCTION_PROPERTIES(ROW)                                                  \
        ROW("PhysicalFunction", "o", FUNCTION_PROPERTY_PHYSICAL_FUNCTION, vf_physical_function) \
        ROW("Index", "u", FUNCTION_PROPERTY_INDEX, vf_index)
/* clang-format on */

const sd_bus_vtable function_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Lock", SD_BUS_ARGS("s", why), SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unlock", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Bind", SD_BUS_ARGS("s", driver), SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unbind", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Reset", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("BindWithOptions", SD_BUS_ARGS("s", driver, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("UnbindWithOptions", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_NO_RESULT, method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ResetWithOptions", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT,
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unplug", SD_BUS_ARGS("t", timeout_usec, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("CancelUnplug", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("RefuseUnplug", SD_BUS_ARGS("s", why), SD_BUS_NO_RESULT,
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetUnplugRequest", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("t", deadline_usec), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Open", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("h", descriptor, "a{sv}", facts), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("UnplugRequested", SD_BUS_ARGS("t", deadline_usec), 0),
        SD_BUS_SIGNAL_WITH_ARGS("DeviceFailed", SD_BUS_ARGS("s", event), 0),
        FUNCTION_PROPERTIES(PROPERTY_VTABLE_ROW) SD_BUS_VTABLE_END,
};

const InterfaceProperty function_properties[] = PROPERTY_TABLE(FUNCTION_PROPERTIES);

const sd_bus_vtable physical_function_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("SetNumVFs", SD_BUS_ARGS("q", count, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetDriversAutoprobe", SD_BUS_ARGS("b", enable), SD_BUS_NO_RESULT,
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetVfToken", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", token),
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        PHYSICAL_FUNCTION_PROPERTIES(PROPERTY_VTABLE_ROW) SD_BUS_VTABLE_END,
};

const InterfaceProperty physical_function_properties[] = { PHYSICAL_FUNCTION_PROPERTIES(
        PROPERTY_TABLE_ROW){ NULL } };

const sd_bus_vtable virtual_function_vtable[] = {
        SD_BUS_VTABLE_START(0),
        VIRTUAL_FUNCTION_PROPERTIES(PROPERTY_VTABLE_ROW) SD_BUS_VTABLE_END,
};

const InterfaceProperty virtual_function_properties[] = { VIRTUAL_FUNCTION_PROPERTIES(
        PROPERTY_TABLE_ROW){ NULL } };
