#include "dbus/interfaces/interface.h"

/* Asked of the kernel each time: it changes without an event. */
INTERFACE_GETTER(zpci_get_function_handle) {
        return sd_bus_message_append(reply, "u", manager_function_handle(userdata));
}

INTERFACE_GETTER(zpci_get_mio_enabled) {
        const Function *function = userdata;

        return sd_bus_message_append(reply, "b", (int) function->facts.zpci.mio_enabled);
}

const sd_bus_vtable zpci_vtable[] = {
        SD_BUS_VTABLE_START(0),
        PROPERTY_CONST("FunctionId", "u", facts.zpci.function_id),
        SD_BUS_PROPERTY("FunctionHandle", "u", zpci_get_function_handle, 0, 0),
        PROPERTY_CONST("Uid", "u", facts.zpci.uid),
        PROPERTY_CONST("Pchid", "q", facts.zpci.pchid),
        PROPERTY_CONST("FunctionGroup", "y", facts.zpci.function_group),
        PROPERTY_CONST("VirtualFunctionNumber", "q", facts.s390_vfn),
        PROPERTY_CONST("FunctionType", "y", facts.zpci.function_type),
        PROPERTY_CONST_BY("MioEnabled", "b", zpci_get_mio_enabled),
        SD_BUS_VTABLE_END,
};
