#include "dbus/interfaces/interface.h"

/* All values: the interface is on functions that a capability serves, so there is one, but for the
 * moment between its loss and the signal of that. */
static const Pasid *pasid_capability(const Function *function, const Function **ret_provider) {
        static const Pasid none;
        const Pasid *pasid;

        *ret_provider = function;
        pasid = function_pasid(function, ret_provider);
        return pasid ? pasid : &none;
}

PROPERTY_VALUE(pasid_enabled) {
        const Function *provider;

        return value_write_boolean(writer, pasid_capability(function, &provider)->enabled);
}

PROPERTY_VALUE(pasid_width) {
        const Function *provider;

        return value_write_byte(writer, pasid_capability(function, &provider)->width);
}

PROPERTY_VALUE(pasid_execute) {
        const Function *provider;

        return value_write_boolean(writer, pasid_capability(function, &provider)->execute);
}

PROPERTY_VALUE(pasid_privileged) {
        const Function *provider;

        return value_write_boolean(writer, pasid_capability(function, &provider)->privileged);
}

PROPERTY_VALUE(pasid_provider) {
        const Function *provider;

        (void) pasid_capability(function, &provider);
        return value_write_function(writer, provider);
}

PROPERTY_VALUE(pasid_dependents) {
        int r = value_begin_array(writer, "o");

        for (guint i = 0; r >= 0 && function->vfs && i < function->vfs->len; i++)
                if (function_depends_on_pasid(function->vfs->pdata[i]))
                        r = value_write_function(writer, function->vfs->pdata[i]);
        return r < 0 ? r : value_end_array(writer);
}

/* clang-format off */
#define PASID_PROPERTIES(ROW)                                                             \
        ROW("Enabled", "b", FUNCTION_PROPERTY_PASID_ENABLED, pasid_enabled)               \
        ROW("Width", "y", PROPERTY_CONSTANT, pasid_width)                                 \
        ROW("Execute", "b", PROPERTY_CONSTANT, pasid_execute)                             \
        ROW("Privileged", "b", PROPERTY_CONSTANT, pasid_privileged)                       \
        ROW("Provider", "o", PROPERTY_CONSTANT, pasid_provider)                           \
        ROW("Dependents", "ao", FUNCTION_PROPERTY_PASID_DEPENDENTS, pasid_dependents)
/* clang-format on */

const sd_bus_vtable pasid_vtable[] = {
        SD_BUS_VTABLE_START(0),
        PASID_PROPERTIES(PROPERTY_VTABLE_ROW) SD_BUS_VTABLE_END,
};

const InterfaceProperty pasid_properties[] = PROPERTY_TABLE(PASID_PROPERTIES);
