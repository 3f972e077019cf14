#include "dbus/interfaces/interface.h"

/* All values: the interface is on functions whose capability and evidence are known, but for the
 * moment between their loss and the signal of that. */
static MsiGround msix_ground(const Function *function) {
        return function->msi ? msi_ground(function->msi) : MSI_GROUND_NOTHING;
}

PROPERTY_MEMBER(msix_vectors, value_write_uint16, facts.msix.vectors)
PROPERTY_MEMBER(msix_table_bar, value_write_byte, facts.msix.table_bar)
PROPERTY_MEMBER(msix_table_offset, value_write_uint32, facts.msix.table_offset)
PROPERTY_MEMBER(msix_pba_bar, value_write_byte, facts.msix.pba_bar)
PROPERTY_MEMBER(msix_pba_offset, value_write_uint32, facts.msix.pba_offset)

PROPERTY_VALUE(msix_isolation) {
        return value_write_string(
                writer, msi_isolation_to_string(msi_ground_isolation(msix_ground(function))));
}

PROPERTY_VALUE(msix_evidence) {
        g_auto(GStrv) sentences =
                function->msi ? msi_evidence_sentences(function->facts.key, function->msi) : NULL;
        int r = value_begin_array(writer, "s");

        for (char **sentence = sentences; r >= 0 && sentence && *sentence; sentence++)
                r = value_write_string(writer, *sentence);
        return r < 0 ? r : value_end_array(writer);
}

PROPERTY_VALUE(msix_table_mappable) {
        return value_write_boolean(writer, function_msix_table_mappable(function));
}

PROPERTY_VALUE(msix_reason) {
        return value_write_string(writer, msi_ground_to_reason(msix_ground(function)));
}

/* clang-format off */
#define MSIX_PROPERTIES(ROW)                                                              \
        ROW("Vectors", "q", FUNCTION_PROPERTY_MSIX_VECTORS, msix_vectors)                 \
        ROW("TableBar", "y", PROPERTY_CONSTANT, msix_table_bar)                           \
        ROW("TableOffset", "u", PROPERTY_CONSTANT, msix_table_offset)                     \
        ROW("PbaBar", "y", PROPERTY_CONSTANT, msix_pba_bar)                               \
        ROW("PbaOffset", "u", PROPERTY_CONSTANT, msix_pba_offset)                         \
        ROW("Isolation", "s", FUNCTION_PROPERTY_MSIX_ISOLATION, msix_isolation)           \
        ROW("Evidence", "as", FUNCTION_PROPERTY_MSIX_EVIDENCE, msix_evidence)             \
        ROW("TableMappable", "b", FUNCTION_PROPERTY_MSIX_TABLE_MAPPABLE, msix_table_mappable) \
        ROW("Reason", "s", FUNCTION_PROPERTY_MSIX_REASON, msix_reason)
/* clang-format on */

const sd_bus_vtable msix_vtable[] = {
        SD_BUS_VTABLE_START(0),
        MSIX_PROPERTIES(PROPERTY_VTABLE_ROW) SD_BUS_VTABLE_END,
};

const InterfaceProperty msix_properties[] = PROPERTY_TABLE(MSIX_PROPERTIES);
