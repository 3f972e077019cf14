#include "daemon/sysfs/lost-overrides.h"

#include "daemon/base/log.h"

/* More functions than a machine has; so many different ones may go and never come back. */
#define MAX_GONE 4096

/* function id -> GRefString of what it had */
static int new_lost_overrides(const PartContext *context, void **ret) {
        *ret = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify) g_ref_string_release);
        return 0;
}

static void free_lost_overrides(void *self) {
        g_hash_table_unref(self);
}

static void lost_overrides_function_gone(void *self, Function *function) {
        GHashTable *gone = self;
        gpointer id = GUINT_TO_POINTER(function->facts.zpci.function_id);

        if (!function->facts.s390 || *function->facts.driver_override == '\0' ||
            g_hash_table_size(gone) >= MAX_GONE)
                return;
        g_hash_table_replace(gone, id, g_ref_string_acquire(function->facts.driver_override));
}

/* What its driver_override is has been read by now. */
static void attach_lost_override(void *self, Function *function) {
        GHashTable *gone = self;
        gpointer id = GUINT_TO_POINTER(function->facts.zpci.function_id);
        PciAddress address = function_address(function);
        const char *had;

        if (!function->facts.s390)
                return;
        had = g_hash_table_lookup(gone, id);
        if (!had)
                return;
        if (*function->facts.driver_override == '\0')
                log_full(LOG_WARNING, &address, LOG_ID_OVERRIDE_LOST,
                         "came back as a new device without its driver_override, which was '%s'",
                         had);
        g_hash_table_remove(gone, id);
}

const Part lost_overrides_part = {
        .name = "lost-overrides",
        .new = new_lost_overrides,
        .attach = attach_lost_override,
        .function_gone = lost_overrides_function_gone,
        .free = free_lost_overrides,
};
