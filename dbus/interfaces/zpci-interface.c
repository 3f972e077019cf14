#include "dbus/interfaces/interface.h"

PROPERTY_MEMBER(zpci_function_id, value_write_uint32, facts.zpci.function_id)

/* Asked of the kernel each time: it changes without an event. */
PROPERTY_VALUE(zpci_function_handle) {
        return value_write_uint32(writer, manager_function_handle(function));
}

PROPERTY_MEMBER(zpci_uid, value_write_uint32, facts.zpci.uid)
PROPERTY_MEMBER(zpci_pchid, value_write_uint16, facts.zpci.pchid)
PROPERTY_MEMBER(zpci_function_group, value_write_byte, facts.zpci.function_group)
PROPERTY_MEMBER(zpci_virtual_function_number, value_write_uint16, facts.s390_vfn)
PROPERTY_MEMBER(zpci_function_type, value_write_byte, facts.zpci.function_type)
PROPERTY_MEMBER(zpci_mio_enabled, value_write_boolean, facts.zpci.mio_enabled)

/* clang-format off */
#define ZPCI_PROPERTIES(ROW)                                                              \
        ROW("FunctionId", "u", PROPERTY_CONSTANT, zpci_function_id)                       \
        ROW("FunctionHandle", "u", PROPERTY_UNTOLD, zpci_function_handle)                 \
        ROW("Uid", "u", PROPERTY_CONSTANT, zpci_uid)                                      \
        ROW("Pchid", "q", PROPERTY_CONSTANT, zpci_pchid)                                  \
        ROW("FunctionGroup", "y", PROPERTY_CONSTANT, zpci_function_group)                 \
        ROW("VirtualFunctionNumber", "q", PROPERTY_CONSTANT, zpci_virtual_function_number) \
        ROW("FunctionType", "y", PROPERTY_CONSTANT, zpci_function_type)                   \
        ROW("MioEnabled", "b", PROPERTY_CONSTANT, zpci_mio_enabled)
/* clang-format on */

const sd_bus_vtable zpci_vtable[] = {
        SD_BUS_VTABLE_START(0),
        ZPCI_PROPERTIES(PROPERTY_VTABLE_ROW) SD_BUS_VTABLE_END,
};

const InterfaceProperty zpci_properties[] = PROPERTY_TABLE(ZPCI_PROPERTIES);
