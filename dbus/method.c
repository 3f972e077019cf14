#include "dbus/method.h"

#include "dbus/authority.h"
#include "dbus/error.h"
#include "dbus/interface.h"
#include "dbus/path.h"

#include <errno.h>
#include <string.h>

static const Method methods[] = {
        { BUS_INTERFACE("Manager"), "GetFunction", NULL, manager_get_function },
        { BUS_INTERFACE("Manager"), "ListFunctions", NULL, manager_list_functions },
        { BUS_INTERFACE("Manager"), "Check", NULL, manager_check },
        { BUS_INTERFACE("Manager"), "ListUsers", NULL, manager_list_users },
        { BUS_INTERFACE("Manager"), "DescribeUsers", NULL, manager_describe_users },
        { BUS_INTERFACE("Manager"), "Inhibit", ACTION_INHIBIT, manager_method_inhibit },
        { BUS_INTERFACE("Manager"), "ListInhibitors", NULL, manager_list_inhibitors },
        { BUS_INTERFACE("Manager"), "Describe", NULL, manager_describe },
        { BUS_INTERFACE("Manager"), "Reload", ACTION_CONFIGURE, manager_method_reload },
        { BUS_INTERFACE("Manager"), "ReleaseAll", ACTION_CONFIGURE, manager_method_release_all },
        { BUS_INTERFACE("Function"), "Lock", ACTION_CONFIGURE, function_method_lock },
        { BUS_INTERFACE("Function"), "Unlock", ACTION_CONFIGURE, function_method_unlock },
        { BUS_INTERFACE("Function"), "Bind", ACTION_CONFIGURE, function_method_bind },
        { BUS_INTERFACE("Function"), "Unbind", ACTION_CONFIGURE, function_method_unbind },
        { BUS_INTERFACE("Function"), "Reset", ACTION_CONFIGURE, function_method_reset },
        { BUS_INTERFACE("Function"), "Unplug", ACTION_UNPLUG, function_method_unplug },
        { BUS_INTERFACE("Function"), "CancelUnplug", ACTION_UNPLUG, function_method_cancel_unplug },
        { BUS_INTERFACE("PhysicalFunction"), "SetNumVFs", ACTION_CONFIGURE,
          physical_function_method_set_num_vfs },
        { BUS_INTERFACE("PhysicalFunction"), "SetDriversAutoprobe", ACTION_CONFIGURE,
          physical_function_method_set_drivers_autoprobe },
};

const Method *method_find(const char *interface, const char *member) {
        for (unsigned i = 0; i < G_N_ELEMENTS(methods); i++)
                if (strcmp(methods[i].interface, interface) == 0 &&
                    strcmp(methods[i].member, member) == 0)
                        return &methods[i];
        return NULL;
}

static Function *called_function(const MethodCall *call) {
        PciKey key;

        if (function_path_parse(sd_bus_message_get_path(call->message), &key) < 0)
                return NULL;
        return inventory_get(manager_inventory(call->bus->manager), key);
}

/* Runs a method whose caller has been authorised, some time after the call came. */
static void run_authorized(void *userdata, const MethodCall *call) {
        const Method *method = userdata;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = method->run(call, &error);
        if (sd_bus_error_is_set(&error))
                (void) sd_bus_reply_method_error(call->message, &error);
        else if (r < 0)
                (void) sd_bus_reply_method_errno(call->message, r, NULL);
        sd_bus_error_free(&error);
}

int method_dispatch(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        /* The userdata of a fallback vtable's method is the found object; the slot's is the Bus. */
        sd_bus_slot *slot = sd_bus_get_current_slot(sd_bus_message_get_bus(message));
        MethodCall call = {
                .bus = sd_bus_slot_get_userdata(slot),
                .message = message,
                .uid = METHOD_UID_UNKNOWN,
        };
        const char *interface = sd_bus_message_get_interface(message);
        const char *member = sd_bus_message_get_member(message);
        const Method *method = method_find(interface, member);
        const Function *function = called_function(&call);

        if (function)
                call.inode = function->facts.inode;
        if (!method)
                return bus_error_set(error, -EACCES, "%s.%s has no rule that allows it", interface,
                                     member);
        if (!method->action)
                return method->run(&call, error);
        return authority_ask(call.bus->authority, &call, method->action, run_authorized,
                             (void *) method, error);
}

Function *method_function(const MethodCall *call, sd_bus_error *error) {
        Function *function = called_function(call);
        char address[PCI_ADDRESS_STRING_MAX] = "";
        PciKey key;

        if (function && function->facts.inode == call->inode)
                return function;
        if (function_path_parse(sd_bus_message_get_path(call->message), &key) == 0)
                pci_address_format(pci_address_from_key(key), address);
        (void) bus_error_set(error, -ENODEV, "the PCI function %s has gone since it was called",
                             address);
        return NULL;
}

int method_find_function(const MethodCall *call, const char *text, Function **ret,
                         sd_bus_error *error) {
        PciAddress address;
        Function *function;

        if (pci_address_parse(text, &address) < 0)
                return bus_error_set(error, -EINVAL,
                                     "'%s' is no address of a PCI function (DDDD:BB:DD.F)", text);
        function = inventory_get(manager_inventory(call->bus->manager), pci_address_key(address));
        if (!function)
                return bus_error_set(error, -ENXIO, "there is no PCI function %s", text);
        *ret = function;
        return 0;
}
