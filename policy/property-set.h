/* property-set.h: the properties of a function that can change, and sets of them.
 *
 * Owns the enumeration. A set has a bit for each property and grows by whole words with the
 * enumeration, so a new property is one line here and its row in the table of
 * dbus/interfaces/interface-table.c; tests/unit/test-method.c fails without the row. An empty set
 * is all zero. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The properties that can change while a function stays the same device. */
typedef enum FunctionProperty {
        FUNCTION_PROPERTY_KIND,
        FUNCTION_PROPERTY_DRIVER,
        FUNCTION_PROPERTY_DRIVER_OVERRIDE,
        FUNCTION_PROPERTY_IOMMU_GROUP,
        FUNCTION_PROPERTY_NUMA_NODE,
        FUNCTION_PROPERTY_LOCKED,
        FUNCTION_PROPERTY_LOCK_REASONS,
        FUNCTION_PROPERTY_LOCK_WHY,
        FUNCTION_PROPERTY_PROTECTED_FILES,
        FUNCTION_PROPERTY_TAINTED,
        FUNCTION_PROPERTY_STATE,
        FUNCTION_PROPERTY_TOTAL_VFS,
        FUNCTION_PROPERTY_NUM_VFS,
        FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS,
        FUNCTION_PROPERTY_DRIVERS_AUTOPROBE,
        FUNCTION_PROPERTY_PHYSICAL_FUNCTION,
        FUNCTION_PROPERTY_INDEX,
        FUNCTION_PROPERTY_COMMAND_MEMORY,
        FUNCTION_PROPERTY_IN_USE,
        FUNCTION_PROPERTY_PASID_ENABLED,
        FUNCTION_PROPERTY_PASID_DEPENDENTS,
        FUNCTION_PROPERTY_IO_BACKEND,
        FUNCTION_PROPERTY_IO_MAX_STORE_BLOCK,
        FUNCTION_PROPERTY_IO_RELAXED,
        FUNCTION_PROPERTY_MSIX_VECTORS,
        FUNCTION_PROPERTY_MSIX_ISOLATION,
        FUNCTION_PROPERTY_MSIX_EVIDENCE,
        FUNCTION_PROPERTY_MSIX_TABLE_MAPPABLE,
        FUNCTION_PROPERTY_MSIX_REASON,
        FUNCTION_PROPERTY_USERSPACE_DRIVER,
        FUNCTION_PROPERTY_CHILDREN,
        FUNCTION_PROPERTY_SLOT,
        FUNCTION_PROPERTY_INTERFACES,
        FUNCTION_PROPERTY_BLOCK_DEVICES,
        FUNCTION_PROPERTY_LINK_SPEED,
        FUNCTION_PROPERTY_LINK_WIDTH,
        FUNCTION_PROPERTY_SERIAL,
        _FUNCTION_PROPERTY_MAX,
} FunctionProperty;

#define PROPERTY_SET_WORD_BITS 64U
#define PROPERTY_SET_WORDS \
        ((_FUNCTION_PROPERTY_MAX + PROPERTY_SET_WORD_BITS - 1) / PROPERTY_SET_WORD_BITS)

typedef struct PropertySet {
        uint64_t words[PROPERTY_SET_WORDS];
} PropertySet;

static inline uint64_t property_set_bit(FunctionProperty property) {
        return UINT64_C(1) << (property % PROPERTY_SET_WORD_BITS);
}

static inline void property_set_add(PropertySet *set, FunctionProperty property) {
        set->words[property / PROPERTY_SET_WORD_BITS] |= property_set_bit(property);
}

static inline void property_set_remove(PropertySet *set, FunctionProperty property) {
        set->words[property / PROPERTY_SET_WORD_BITS] &= ~property_set_bit(property);
}

static inline bool property_set_has(const PropertySet *set, FunctionProperty property) {
        return set->words[property / PROPERTY_SET_WORD_BITS] & property_set_bit(property);
}

static inline void property_set_clear(PropertySet *set) {
        *set = (PropertySet){ 0 };
}

static inline bool property_set_is_empty(const PropertySet *set) {
        for (unsigned i = 0; i < PROPERTY_SET_WORDS; i++)
                if (set->words[i] != 0)
                        return false;
        return true;
}
