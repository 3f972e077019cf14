#include "dbus/interfaces/interface.h"

#include <stddef.h>

/* Asked of the kernel each time: it changes without an event. */
static int get_function_handle(sd_bus *connection, const char *path, const char *interface,
                               const char *property, sd_bus_message *reply, void *userdata,
                               sd_bus_error *error) {
        return sd_bus_message_append(reply, "u", manager_function_handle(userdata));
}

static int get_mio_enabled(sd_bus *connection, const char *path, const char *interface,
                           const char *property, sd_bus_message *reply, void *userdata,
                           sd_bus_error *error) {
        const Function *function = userdata;

        return sd_bus_message_append(reply, "b", (int) function->facts.zpci.mio_enabled);
}

#define CONST(name, type, member) \
        SD_BUS_PROPERTY(name, type, NULL, offsetof(Function, member), SD_BUS_VTABLE_PROPERTY_CONST)

const sd_bus_vtable zpci_vtable[] = {
        SD_BUS_VTABLE_START(0),
        CONST("FunctionId", "u", facts.zpci.function_id),
        SD_BUS_PROPERTY("FunctionHandle", "u", get_function_handle, 0, 0),
        CONST("Uid", "u", facts.zpci.uid),
        CONST("Pchid", "q", facts.zpci.pchid),
        CONST("FunctionGroup", "y", facts.zpci.function_group),
        CONST("VirtualFunctionNumber", "q", facts.s390_vfn),
        CONST("FunctionType", "y", facts.zpci.function_type),
        SD_BUS_PROPERTY("MioEnabled", "b", get_mio_enabled, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};
