#include "dbus/quota.h"

#include <errno.h>
#include <glib.h>

struct Quota {
        GHashTable *taken; /* uid -> number, never 0 */
};

Quota *quota_new(void) {
        Quota *quota = g_rc_box_new0(Quota);

        quota->taken = g_hash_table_new(NULL, NULL);
        return quota;
}

Quota *quota_ref(Quota *quota) {
        return g_rc_box_acquire(quota);
}

static void clear(gpointer data) {
        g_hash_table_unref(((Quota *) data)->taken);
}

Quota *quota_unref(Quota *quota) {
        if (quota)
                g_rc_box_release_full(quota, clear);
        return NULL;
}

int quota_take(Quota *quota, uint32_t uid) {
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(quota->taken, GUINT_TO_POINTER(uid)));

        if (n >= (uid == 0 ? QUOTA_ROOT_MAX : QUOTA_PER_UID_MAX))
                return -EDQUOT;
        g_hash_table_insert(quota->taken, GUINT_TO_POINTER(uid), GUINT_TO_POINTER(n + 1));
        return 0;
}

void quota_give(Quota *quota, uint32_t uid) {
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(quota->taken, GUINT_TO_POINTER(uid)));

        if (n > 1)
                g_hash_table_insert(quota->taken, GUINT_TO_POINTER(uid), GUINT_TO_POINTER(n - 1));
        else
                g_hash_table_remove(quota->taken, GUINT_TO_POINTER(uid));
}
