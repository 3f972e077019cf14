#include "dbus/quota.h"

#include <errno.h>
#include <glib.h>

struct Quota {
        GHashTable *taken; /* uid -> number, never 0 */
        unsigned per_uid;
        unsigned used, total; /* by all users but root, and at the most */
};

Quota *quota_new(unsigned per_uid, unsigned total) {
        Quota *quota = g_rc_box_new0(Quota);

        quota->taken = g_hash_table_new(NULL, NULL);
        quota->per_uid = per_uid;
        quota->total = total;
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

unsigned quota_count(const Quota *quota, uint32_t uid) {
        return GPOINTER_TO_UINT(g_hash_table_lookup(quota->taken, GUINT_TO_POINTER(uid)));
}

int quota_take(Quota *quota, uint32_t uid) {
        guint n = quota_count(quota, uid);

        if (n >= (uid == 0 ? QUOTA_ROOT_MAX : quota->per_uid))
                return -EDQUOT;
        if (uid != 0 && n >= quota->total - quota->used)
                return -ENOSPC;
        if (uid != 0)
                quota->used++;
        g_hash_table_insert(quota->taken, GUINT_TO_POINTER(uid), GUINT_TO_POINTER(n + 1));
        return 0;
}

void quota_give(Quota *quota, uint32_t uid) {
        guint n = quota_count(quota, uid);

        if (n > 1)
                g_hash_table_insert(quota->taken, GUINT_TO_POINTER(uid), GUINT_TO_POINTER(n - 1));
        else
                g_hash_table_remove(quota->taken, GUINT_TO_POINTER(uid));
        if (uid != 0 && n > 0)
                quota->used--;
}

bool quota_find_greedy(const Quota *quota, uint32_t uid, uint32_t *ret) {
        guint most = quota_count(quota, uid) + 1;
        bool found = false;
        gpointer key, value;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, quota->taken);
        while (g_hash_table_iter_next(&iter, &key, &value)) {
                if (GPOINTER_TO_UINT(key) == 0 || GPOINTER_TO_UINT(value) <= most)
                        continue;
                most = GPOINTER_TO_UINT(value);
                *ret = GPOINTER_TO_UINT(key);
                found = true;
        }
        return found;
}
