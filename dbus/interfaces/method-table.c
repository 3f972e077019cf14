#include "dbus/interfaces/method-table.h"

#include "dbus/interfaces/interface.h"
#include "dbus/path.h"

#include <string.h>

static const Method methods[] = {
        { BUS_INTERFACE("Manager"), "GetFunction", NULL, manager_get_function, .open = true },
        { BUS_INTERFACE("Manager"), "ListFunctions", NULL, manager_list_functions },
        { BUS_INTERFACE("Manager"), "Check", NULL, manager_check, .open = true, .names = true },
        { BUS_INTERFACE("Manager"), "ListUsers", NULL, manager_list_users },
        { BUS_INTERFACE("Manager"), "DescribeUsers", NULL, manager_describe_users },
        { BUS_INTERFACE("Manager"), "DescribeUses", NULL, manager_describe_uses },
        { BUS_INTERFACE("Manager"), "Inhibit", ACTION_INHIBIT, manager_method_inhibit,
          .names = true, .wants = true },
        { BUS_INTERFACE("Manager"), "InhibitMany", ACTION_INHIBIT, manager_method_inhibit_many,
          .several = INHIBITORS_PER_UID_MAX, .waits = true, .wants = true },
        { BUS_INTERFACE("Manager"), "InhibitWithOptions", ACTION_INHIBIT,
          manager_method_inhibit_with_options, .names = true, .wants = true },
        { BUS_INTERFACE("Manager"), "ListInhibitors", NULL, manager_list_inhibitors },
        { BUS_INTERFACE("Manager"), "DescribeInhibitors", NULL, manager_describe_inhibitors },
        { BUS_INTERFACE("Manager"), "Describe", NULL, manager_describe },
        { BUS_INTERFACE("Manager"), "Reload", ACTION_CONFIGURE, manager_method_reload,
          .waits = true },
        { BUS_INTERFACE("Manager"), "ReleaseAll", ACTION_CONFIGURE, manager_method_release_all,
          .waits = true },
        { BUS_INTERFACE("Statistics"), "DescribeFunctions", NULL,
          statistics_method_describe_functions },
        { BUS_INTERFACE("Function"), "Lock", ACTION_CONFIGURE, function_method_lock,
          .wants = true },
        { BUS_INTERFACE("Function"), "Unlock", ACTION_CONFIGURE, function_method_unlock },
        { BUS_INTERFACE("Function"), "Bind", ACTION_CONFIGURE, function_method_bind, .waits = true,
          .wants = true },
        { BUS_INTERFACE("Function"), "Unbind", ACTION_CONFIGURE, function_method_unbind,
          .waits = true, .wants = true },
        { BUS_INTERFACE("Function"), "Reset", ACTION_CONFIGURE, function_method_reset,
          .waits = true, .wants = true },
        { BUS_INTERFACE("Function"), "BindWithOptions", ACTION_CONFIGURE,
          function_method_bind_with_options, .waits = true, .wants = true },
        { BUS_INTERFACE("Function"), "UnbindWithOptions", ACTION_CONFIGURE,
          function_method_unbind_with_options, .waits = true, .wants = true },
        { BUS_INTERFACE("Function"), "ResetWithOptions", ACTION_CONFIGURE,
          function_method_reset_with_options, .waits = true, .wants = true },
        { BUS_INTERFACE("Function"), "Unplug", ACTION_UNPLUG, function_method_unplug, .waits = true,
          .wants = true },
        { BUS_INTERFACE("Function"), "CancelUnplug", ACTION_UNPLUG, function_method_cancel_unplug },
        { BUS_INTERFACE("Function"), "RefuseUnplug", ACTION_INHIBIT,
          function_method_refuse_unplug },
        { BUS_INTERFACE("Function"), "GetUnplugRequest", NULL, function_method_get_unplug_request },
        { BUS_INTERFACE("Function"), "Open", ACTION_OPEN_DEVICE, function_method_open,
          .waits = true, .wants = true },
        { BUS_INTERFACE("ZpciIo"), "Load", ACTION_ZPCI_IO, zpci_io_method_load, .waits = true,
          .wants = true, .repeats = true },
        { BUS_INTERFACE("ZpciIo"), "StoreBlock", ACTION_ZPCI_IO, zpci_io_method_store_block,
          .waits = true, .wants = true, .repeats = true },
        { BUS_INTERFACE("ZpciIo"), "OpenSession", ACTION_ZPCI_IO, zpci_io_method_open_session,
          .waits = true, .wants = true },
        { BUS_INTERFACE("PhysicalFunction"), "SetNumVFs", ACTION_CONFIGURE,
          physical_function_method_set_num_vfs, .waits = true, .wants = true },
        { BUS_INTERFACE("PhysicalFunction"), "SetDriversAutoprobe", ACTION_CONFIGURE,
          physical_function_method_set_drivers_autoprobe, .waits = true, .wants = true },
        { BUS_INTERFACE("PhysicalFunction"), "GetVfToken", ACTION_OPEN_DEVICE,
          physical_function_method_get_vf_token, .waits = true, .wants = true },
};

const Method *method_find(const char *interface, const char *member) {
        for (unsigned i = 0; i < G_N_ELEMENTS(methods); i++)
                if (strcmp(methods[i].interface, interface) == 0 &&
                    strcmp(methods[i].member, member) == 0)
                        return &methods[i];
        return NULL;
}
