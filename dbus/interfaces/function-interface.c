#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "dbus/path.h"

#include "daemon/base/log.h"
#include "policy/client-text.h"

#include <errno.h>

int append_lock_reasons(sd_bus_message *reply, unsigned reasons) {
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (unsigned i = 0; r >= 0 && i < LOCK_REASONS_MAX; i++)
                if (reasons & (1U << i))
                        r = sd_bus_message_append(reply, "s", lock_reason_to_string(1U << i));
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int append_lock_files(sd_bus_message *reply, unsigned files) {
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (LockFile file = 0; r >= 0 && file < _LOCK_FILE_MAX; file++)
                if (files & (1U << file))
                        r = sd_bus_message_append(reply, "s", lock_file_to_string(file));
        return r < 0 ? r : sd_bus_message_close_container(reply);
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

INTERFACE_GETTER(function_get_address) {
        const Function *function = userdata;
        char address[PCI_ADDRESS_STRING_MAX];

        return sd_bus_message_append(reply, "s",
                                     pci_address_format(function_address(function), address));
}

INTERFACE_GETTER(function_get_kind) {
        return sd_bus_message_append(reply, "s",
                                     function_kind_to_string(((Function *) userdata)->kind));
}

INTERFACE_GETTER(function_get_command_memory) {
        const Function *function = userdata;

        return sd_bus_message_append(reply, "s",
                                     function_kind_memory_hardwired_zero(function->kind)
                                             ? "hardwired-zero"
                                             : "implemented");
}

INTERFACE_GETTER(function_get_in_use) {
        return sd_bus_message_append(reply, "b", (int) function_in_use(userdata));
}

INTERFACE_GETTER(function_get_locked) {
        return sd_bus_message_append(reply, "b", ((Function *) userdata)->lock_reasons != 0);
}

INTERFACE_GETTER(function_get_lock_reasons) {
        return append_lock_reasons(reply, ((Function *) userdata)->lock_reasons);
}

INTERFACE_GETTER(function_get_protected_files) {
        return append_lock_files(reply, ((Function *) userdata)->protected_files);
}

INTERFACE_GETTER(function_get_userspace_driver) {
        return sd_bus_message_append(reply, "b", (int) ((Function *) userdata)->userspace_driver);
}

INTERFACE_GETTER(function_get_tainted) {
        return sd_bus_message_append(reply, "b", (int) ((Function *) userdata)->tainted);
}

INTERFACE_GETTER(function_get_state) {
        return sd_bus_message_append(reply, "s",
                                     function_state_to_string(((Function *) userdata)->state));
}

INTERFACE_GETTER(function_get_num_vfs) {
        return sd_bus_message_append(reply, "q", function_num_vfs(userdata));
}

INTERFACE_GETTER(function_get_virtual_functions) {
        const Function *pf = userdata;
        int r = sd_bus_message_open_container(reply, 'a', "o");

        for (guint i = 0; r >= 0 && pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];
                char vf_path[FUNCTION_PATH_MAX];

                r = sd_bus_message_append(reply, "o", function_path_format(vf->facts.key, vf_path));
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

INTERFACE_GETTER(function_get_drivers_autoprobe) {
        return sd_bus_message_append(reply, "b",
                                     (int) ((Function *) userdata)->facts.drivers_autoprobe);
}

INTERFACE_GETTER(function_get_physical_function) {
        const Function *pf = ((Function *) userdata)->pf;
        char pf_path[FUNCTION_PATH_MAX];

        return sd_bus_message_append(reply, "o",
                                     pf ? function_path_format(pf->facts.key, pf_path) : "/");
}

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
        SD_BUS_METHOD_WITH_ARGS("Unplug", SD_BUS_ARGS("t", timeout_usec, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("CancelUnplug", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Open", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("h", descriptor, "a{sv}", facts), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("UnplugRequested", SD_BUS_ARGS("t", deadline_usec), 0),
        PROPERTY_CONST_BY("Address", "s", function_get_address),
        PROPERTY_CHANGING_BY("Kind", "s", function_get_kind),
        PROPERTY_CONST("VendorId", "q", facts.vendor),
        PROPERTY_CONST("DeviceId", "q", facts.device),
        PROPERTY_CONST("SubsystemVendorId", "q", facts.subsystem_vendor),
        PROPERTY_CONST("SubsystemDeviceId", "q", facts.subsystem_device),
        PROPERTY_CONST("Class", "u", facts.class_code),
        PROPERTY_CONST("Revision", "y", facts.revision),
        PROPERTY_CONST("VendorName", "s", facts.vendor_name),
        PROPERTY_CONST("DeviceName", "s", facts.device_name),
        PROPERTY_CHANGING("Driver", "s", facts.driver),
        PROPERTY_CHANGING("DriverOverride", "s", facts.driver_override),
        PROPERTY_CHANGING("IommuGroup", "i", facts.iommu_group),
        PROPERTY_CHANGING("NumaNode", "i", facts.numa_node),
        PROPERTY_CHANGING_BY("CommandMemory", "s", function_get_command_memory),
        PROPERTY_CHANGING_BY("InUse", "b", function_get_in_use),
        PROPERTY_CHANGING_BY("Locked", "b", function_get_locked),
        PROPERTY_CHANGING_BY("LockReasons", "as", function_get_lock_reasons),
        PROPERTY_CHANGING("LockWhy", "s", lock_why),
        PROPERTY_CHANGING_BY("ClosedFiles", "as", function_get_protected_files),
        PROPERTY_CHANGING_BY("UserspaceDriver", "b", function_get_userspace_driver),
        PROPERTY_CHANGING_BY("Tainted", "b", function_get_tainted),
        PROPERTY_CHANGING_BY("State", "s", function_get_state),
        SD_BUS_VTABLE_END,
};

const sd_bus_vtable physical_function_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("SetNumVFs", SD_BUS_ARGS("q", count, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetDriversAutoprobe", SD_BUS_ARGS("b", enable), SD_BUS_NO_RESULT,
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetVfToken", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", token),
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        PROPERTY_CHANGING("TotalVFs", "q", facts.total_vfs),
        PROPERTY_CHANGING_BY("NumVFs", "q", function_get_num_vfs),
        PROPERTY_CHANGING_BY("VirtualFunctions", "ao", function_get_virtual_functions),
        PROPERTY_CHANGING_BY("DriversAutoprobe", "b", function_get_drivers_autoprobe),
        SD_BUS_VTABLE_END,
};

const sd_bus_vtable virtual_function_vtable[] = {
        SD_BUS_VTABLE_START(0),
        PROPERTY_CHANGING_BY("PhysicalFunction", "o", function_get_physical_function),
        PROPERTY_CHANGING("Index", "u", index),
        SD_BUS_VTABLE_END,
};
