/* interface.h: what the files of the interfaces give to the connection (vtables) and to the table
 * of methods (handlers). One file per interface implements its part. */
#pragma once

#include "dbus/interfaces/property.h"
#include "dbus/method.h"

/* On BUS_ROOT; userdata is the Bus. */
extern const sd_bus_vtable manager_vtable[];
MethodHandler manager_get_function, manager_list_functions, manager_describe, manager_check,
        manager_list_users, manager_describe_users, manager_describe_uses, manager_method_inhibit,
        manager_method_inhibit_many, manager_method_inhibit_with_options, manager_list_inhibitors,
        manager_describe_inhibitors, manager_method_reload, manager_method_release_all;

/* On each function; userdata is the Function. The last property has no name. */
extern const sd_bus_vtable function_vtable[], physical_function_vtable[], virtual_function_vtable[],
        pasid_vtable[], msix_vtable[], zpci_vtable[], zpci_io_vtable[];
extern const InterfaceProperty function_properties[], physical_function_properties[],
        virtual_function_properties[], pasid_properties[], msix_properties[], zpci_properties[],
        zpci_io_properties[];
MethodHandler function_method_lock, function_method_unlock, function_method_bind,
        function_method_unbind, function_method_reset, function_method_bind_with_options,
        function_method_unbind_with_options, function_method_reset_with_options,
        function_method_unplug, function_method_cancel_unplug, function_method_refuse_unplug,
        function_method_get_unplug_request, physical_function_method_set_num_vfs,
        physical_function_method_set_drivers_autoprobe, function_method_open,
        physical_function_method_get_vf_token, zpci_io_method_load, zpci_io_method_store_block,
        zpci_io_method_open_session;

/* On BUS_ROOT; userdata is the Bus. Only sd-bus reads its properties. */
extern const sd_bus_vtable statistics_vtable[];
MethodHandler statistics_method_describe_functions;

/* On LOG_CONTROL_PATH; userdata is the Bus. */
#define LOG_CONTROL      "org.freedesktop.LogControl1"
#define LOG_CONTROL_PATH "/org/freedesktop/LogControl1"
extern const sd_bus_vtable log_control_vtable[];

/* Who may set its properties is found out without sd-bus, which waits for the bus. */
int log_control_take_calls(Bus *bus);

/* Writes the words of LockReason bits, an array of strings. Returns 0 or a negative errno. */
int write_lock_reasons(ValueWriter *writer, unsigned reasons);
