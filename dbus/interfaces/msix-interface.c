#include "dbus/interfaces/interface.h"

#include <stddef.h>

/* All getters: the interface is on functions whose capability and evidence are known, but for the
 * moment between their loss and the signal of that. */
static MsiGround ground_of(const Function *function) {
        return function->msi ? msi_ground(function->msi) : MSI_GROUND_NOTHING;
}

#define GETTER(name)                                                                 \
        static int name(sd_bus *connection, const char *path, const char *interface, \
                        const char *property, sd_bus_message *reply, void *userdata, \
                        sd_bus_error *error)

GETTER(get_isolation) {
        return sd_bus_message_append(
                reply, "s", msi_isolation_to_string(msi_ground_isolation(ground_of(userdata))));
}

GETTER(get_evidence) {
        const Function *function = userdata;
        g_auto(GStrv) sentences =
                function->msi ? msi_evidence_sentences(function->facts.key, function->msi) : NULL;

        return sd_bus_message_append_strv(reply, sentences);
}

GETTER(get_table_mappable) {
        return sd_bus_message_append(reply, "b", (int) function_msix_table_mappable(userdata));
}

GETTER(get_reason) {
        return sd_bus_message_append(reply, "s", msi_ground_to_reason(ground_of(userdata)));
}

#define PLACE(name, type, member)                                                \
        SD_BUS_PROPERTY(name, type, NULL, offsetof(Function, facts.msix.member), \
                        SD_BUS_VTABLE_PROPERTY_CONST)
#define CHANGING_BY(name, type, getter) \
        SD_BUS_PROPERTY(name, type, getter, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

const sd_bus_vtable msix_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Vectors", "q", NULL, offsetof(Function, facts.msix.vectors),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        PLACE("TableBar", "y", table_bar),
        PLACE("TableOffset", "u", table_offset),
        PLACE("PbaBar", "y", pba_bar),
        PLACE("PbaOffset", "u", pba_offset),
        CHANGING_BY("Isolation", "s", get_isolation),
        CHANGING_BY("Evidence", "as", get_evidence),
        CHANGING_BY("TableMappable", "b", get_table_mappable),
        CHANGING_BY("Reason", "s", get_reason),
        SD_BUS_VTABLE_END,
};
