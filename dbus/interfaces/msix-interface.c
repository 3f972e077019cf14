#include "dbus/interfaces/interface.h"

/* All getters: the interface is on functions whose capability and evidence are known, but for the
 * moment between their loss and the signal of that. */
static MsiGround ground_of(const Function *function) {
        return function->msi ? msi_ground(function->msi) : MSI_GROUND_NOTHING;
}

INTERFACE_GETTER(msix_get_isolation) {
        return sd_bus_message_append(
                reply, "s", msi_isolation_to_string(msi_ground_isolation(ground_of(userdata))));
}

INTERFACE_GETTER(msix_get_evidence) {
        const Function *function = userdata;
        g_auto(GStrv) sentences =
                function->msi ? msi_evidence_sentences(function->facts.key, function->msi) : NULL;

        return sd_bus_message_append_strv(reply, sentences);
}

INTERFACE_GETTER(msix_get_table_mappable) {
        return sd_bus_message_append(reply, "b", (int) function_msix_table_mappable(userdata));
}

INTERFACE_GETTER(msix_get_reason) {
        return sd_bus_message_append(reply, "s", msi_ground_to_reason(ground_of(userdata)));
}

const sd_bus_vtable msix_vtable[] = {
        SD_BUS_VTABLE_START(0),
        PROPERTY_CHANGING("Vectors", "q", facts.msix.vectors),
        PROPERTY_CONST("TableBar", "y", facts.msix.table_bar),
        PROPERTY_CONST("TableOffset", "u", facts.msix.table_offset),
        PROPERTY_CONST("PbaBar", "y", facts.msix.pba_bar),
        PROPERTY_CONST("PbaOffset", "u", facts.msix.pba_offset),
        PROPERTY_CHANGING_BY("Isolation", "s", msix_get_isolation),
        PROPERTY_CHANGING_BY("Evidence", "as", msix_get_evidence),
        PROPERTY_CHANGING_BY("TableMappable", "b", msix_get_table_mappable),
        PROPERTY_CHANGING_BY("Reason", "s", msix_get_reason),
        SD_BUS_VTABLE_END,
};
