/* interface.h: what the files of the interfaces give to the connection (vtables) and to the table
 * of methods (handlers). One file per interface implements its part. */
#pragma once

#include "dbus/method.h"

#include <stddef.h>

/* The head of a property's getter, as sd-bus has it; `userdata` is that of the interface. */
#define INTERFACE_GETTER(getter)                                                       \
        static int getter(sd_bus *connection, const char *path, const char *interface, \
                          const char *property, sd_bus_message *reply, void *userdata, \
                          sd_bus_error *error)

/* Rows of properties in a vtable: `member` of the Function as it is, or what a getter appends. One
 * that is CHANGING has a row in the table of interface-table.c, too. */
#define PROPERTY_CONST(name, type, member) \
        SD_BUS_PROPERTY(name, type, NULL, offsetof(Function, member), SD_BUS_VTABLE_PROPERTY_CONST)
#define PROPERTY_CONST_BY(name, type, getter) \
        SD_BUS_PROPERTY(name, type, getter, 0, SD_BUS_VTABLE_PROPERTY_CONST)
#define PROPERTY_CHANGING(name, type, member)                         \
        SD_BUS_PROPERTY(name, type, NULL, offsetof(Function, member), \
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)
#define PROPERTY_CHANGING_BY(name, type, getter) \
        SD_BUS_PROPERTY(name, type, getter, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

/* On BUS_ROOT; userdata is the Bus. */
extern const sd_bus_vtable manager_vtable[];
MethodHandler manager_get_function, manager_list_functions, manager_describe, manager_check,
        manager_list_users, manager_describe_users, manager_method_inhibit, manager_list_inhibitors,
        manager_method_reload, manager_method_release_all;

/* On each function; userdata is the Function. */
extern const sd_bus_vtable function_vtable[];
extern const sd_bus_vtable physical_function_vtable[];
extern const sd_bus_vtable virtual_function_vtable[];
extern const sd_bus_vtable pasid_vtable[];
extern const sd_bus_vtable zpci_io_vtable[];
MethodHandler zpci_io_method_load, zpci_io_method_store_block, zpci_io_method_open_session;
extern const sd_bus_vtable zpci_vtable[];
extern const sd_bus_vtable msix_vtable[];
MethodHandler function_method_lock, function_method_unlock, function_method_bind,
        function_method_unbind, function_method_reset, function_method_unplug,
        function_method_cancel_unplug, physical_function_method_set_num_vfs,
        physical_function_method_set_drivers_autoprobe, function_method_open,
        physical_function_method_get_vf_token;

/* On LOG_CONTROL_PATH; userdata is the Bus. */
#define LOG_CONTROL      "org.freedesktop.LogControl1"
#define LOG_CONTROL_PATH "/org/freedesktop/LogControl1"
extern const sd_bus_vtable log_control_vtable[];

/* Who may set its properties is found out without sd-bus, which waits for the bus. */
int log_control_take_calls(Bus *bus);

/* Appends an array of strings: the words of `bits`, by `to_string(bit or index)`. */
int append_lock_reasons(sd_bus_message *reply, unsigned reasons);
int append_lock_files(sd_bus_message *reply, unsigned files);
