#include "daemon/sysfs/lost-overrides.h"

#include "daemon/base/log.h"

/* More functions than a machine has; so many different ones may go and never come back. */
#define MAX_GONE 4096

struct LostOverrides {
        GHashTable *gone; /* function id -> GRefString of what it had */
};

LostOverrides *lost_overrides_new(void) {
        LostOverrides *lost = g_new0(LostOverrides, 1);

        lost->gone = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify) g_ref_string_release);
        return lost;
}

LostOverrides *lost_overrides_free(LostOverrides *lost) {
        if (!lost)
                return NULL;
        g_hash_table_unref(lost->gone);
        g_free(lost);
        return NULL;
}

void lost_overrides_function_gone(LostOverrides *lost, const Function *function) {
        gpointer id = GUINT_TO_POINTER(function->facts.zpci.function_id);

        if (!function->facts.s390 || *function->facts.driver_override == '\0' ||
            g_hash_table_size(lost->gone) >= MAX_GONE)
                return;
        g_hash_table_replace(lost->gone, id, g_ref_string_acquire(function->facts.driver_override));
}

void lost_overrides_function_came(LostOverrides *lost, const Function *function) {
        gpointer id = GUINT_TO_POINTER(function->facts.zpci.function_id);
        PciAddress address = function_address(function);
        const char *had;

        if (!function->facts.s390)
                return;
        had = g_hash_table_lookup(lost->gone, id);
        if (!had)
                return;
        if (*function->facts.driver_override == '\0')
                log_full(LOG_WARNING, &address, LOG_ID_OVERRIDE_LOST,
                         "came back as a new device without its driver_override, which was '%s'",
                         had);
        g_hash_table_remove(lost->gone, id);
}
