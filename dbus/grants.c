#include "dbus/grants.h"

#include <glib.h>

struct Grants {
        GHashTable *entries; /* question -> the end as uint64_t*, both owned */
};

Grants *grants_new(void) {
        Grants *grants = g_new(Grants, 1);

        grants->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return grants;
}

Grants *grants_free(Grants *grants) {
        if (!grants)
                return NULL;
        g_hash_table_unref(grants->entries);
        g_free(grants);
        return NULL;
}

static gboolean is_over(gpointer question, gpointer end_usec, gpointer now_usec) {
        return *(const uint64_t *) end_usec <= *(const uint64_t *) now_usec;
}

void grants_add(Grants *grants, const char *question, uint64_t now_usec) {
        uint64_t end_usec = now_usec + GRANTS_USEC;

        g_hash_table_foreach_remove(grants->entries, is_over, &now_usec);
        if (g_hash_table_size(grants->entries) < GRANTS_MAX)
                g_hash_table_replace(grants->entries, g_strdup(question),
                                     g_memdup2(&end_usec, sizeof(end_usec)));
}

bool grants_find(const Grants *grants, const char *question, uint64_t now_usec) {
        const uint64_t *end_usec = g_hash_table_lookup(grants->entries, question);

        return end_usec && *end_usec > now_usec;
}
