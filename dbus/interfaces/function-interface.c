#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "dbus/path.h"

#include "daemon/base/log.h"
#include "policy/client-text.h"

#include <errno.h>
#include <stddef.h>

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

#define GETTER(name)                                                                 \
        static int name(sd_bus *connection, const char *path, const char *interface, \
                        const char *property, sd_bus_message *reply, void *userdata, \
                        sd_bus_error *error)

GETTER(get_address) {
        const Function *function = userdata;
        char address[PCI_ADDRESS_STRING_MAX];

        return sd_bus_message_append(reply, "s",
                                     pci_address_format(function_address(function), address));
}

GETTER(get_kind) {
        return sd_bus_message_append(reply, "s",
                                     function_kind_to_string(((Function *) userdata)->kind));
}

GETTER(get_command_memory) {
        const Function *function = userdata;

        return sd_bus_message_append(reply, "s",
                                     function_kind_memory_hardwired_zero(function->kind)
                                             ? "hardwired-zero"
                                             : "implemented");
}

GETTER(get_in_use) {
        return sd_bus_message_append(reply, "b", (int) function_in_use(userdata));
}

GETTER(get_locked) {
        return sd_bus_message_append(reply, "b", ((Function *) userdata)->lock_reasons != 0);
}

GETTER(get_lock_reasons) {
        return append_lock_reasons(reply, ((Function *) userdata)->lock_reasons);
}

GETTER(get_protected_files) {
        return append_lock_files(reply, ((Function *) userdata)->protected_files);
}

GETTER(get_userspace_driver) {
        return sd_bus_message_append(reply, "b", (int) ((Function *) userdata)->userspace_driver);
}

GETTER(get_tainted) {
        return sd_bus_message_append(reply, "b", (int) ((Function *) userdata)->tainted);
}

GETTER(get_state) {
        return sd_bus_message_append(reply, "s",
                                     function_state_to_string(((Function *) userdata)->state));
}

GETTER(get_num_vfs) {
        return sd_bus_message_append(reply, "q", function_num_vfs(userdata));
}

GETTER(get_virtual_functions) {
        const Function *pf = userdata;
        int r = sd_bus_message_open_container(reply, 'a', "o");

        for (guint i = 0; r >= 0 && pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];
                char vf_path[FUNCTION_PATH_MAX];

                r = sd_bus_message_append(reply, "o", function_path_format(vf->facts.key, vf_path));
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

GETTER(get_drivers_autoprobe) {
        return sd_bus_message_append(reply, "b",
                                     (int) ((Function *) userdata)->facts.drivers_autoprobe);
}

GETTER(get_physical_function) {
        const Function *pf = ((Function *) userdata)->pf;
        char pf_path[FUNCTION_PATH_MAX];

        return sd_bus_message_append(reply, "o",
                                     pf ? function_path_format(pf->facts.key, pf_path) : "/");
}

#define CONST(name, type, getter, member)                               \
        SD_BUS_PROPERTY(name, type, getter, offsetof(Function, member), \
                        SD_BUS_VTABLE_PROPERTY_CONST)
#define CHANGING(name, type, getter, member)                            \
        SD_BUS_PROPERTY(name, type, getter, offsetof(Function, member), \
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)
#define CHANGING_BY(name, type, getter) \
        SD_BUS_PROPERTY(name, type, getter, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

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
        SD_BUS_PROPERTY("Address", "s", get_address, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        CHANGING_BY("Kind", "s", get_kind),
        CONST("VendorId", "q", NULL, facts.vendor),
        CONST("DeviceId", "q", NULL, facts.device),
        CONST("SubsystemVendorId", "q", NULL, facts.subsystem_vendor),
        CONST("SubsystemDeviceId", "q", NULL, facts.subsystem_device),
        CONST("Class", "u", NULL, facts.class_code),
        CONST("Revision", "y", NULL, facts.revision),
        CONST("VendorName", "s", NULL, facts.vendor_name),
        CONST("DeviceName", "s", NULL, facts.device_name),
        CHANGING("Driver", "s", NULL, facts.driver),
        CHANGING("DriverOverride", "s", NULL, facts.driver_override),
        CHANGING("IommuGroup", "i", NULL, facts.iommu_group),
        CHANGING("NumaNode", "i", NULL, facts.numa_node),
        CHANGING_BY("CommandMemory", "s", get_command_memory),
        CHANGING_BY("InUse", "b", get_in_use),
        CHANGING_BY("Locked", "b", get_locked),
        CHANGING_BY("LockReasons", "as", get_lock_reasons),
        CHANGING("LockWhy", "s", NULL, lock_why),
        CHANGING_BY("ClosedFiles", "as", get_protected_files),
        CHANGING_BY("UserspaceDriver", "b", get_userspace_driver),
        CHANGING_BY("Tainted", "b", get_tainted),
        CHANGING_BY("State", "s", get_state),
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
        CHANGING("TotalVFs", "q", NULL, facts.total_vfs),
        CHANGING_BY("NumVFs", "q", get_num_vfs),
        CHANGING_BY("VirtualFunctions", "ao", get_virtual_functions),
        CHANGING_BY("DriversAutoprobe", "b", get_drivers_autoprobe),
        SD_BUS_VTABLE_END,
};

const sd_bus_vtable virtual_function_vtable[] = {
        SD_BUS_VTABLE_START(0),
        CHANGING_BY("PhysicalFunction", "o", get_physical_function),
        CHANGING("Index", "u", NULL, index),
        SD_BUS_VTABLE_END,
};
