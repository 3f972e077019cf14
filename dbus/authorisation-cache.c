#include "dbus/authorisation-cache.h"

#include <glib.h>

struct AuthorisationCache {
        GHashTable *entries; /* question -> the end as uint64_t*, both owned */
};

AuthorisationCache *authorisation_cache_new(void) {
        AuthorisationCache *authorisation_cache = g_new(AuthorisationCache, 1);

        authorisation_cache->entries =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return authorisation_cache;
}

AuthorisationCache *authorisation_cache_free(AuthorisationCache *authorisation_cache) {
        if (!authorisation_cache)
                return NULL;
        g_hash_table_unref(authorisation_cache->entries);
        g_free(authorisation_cache);
        return NULL;
}

static gboolean authorisation_cache_is_over(gpointer question, gpointer end_usec,
                                            gpointer now_usec) {
        return *(const uint64_t *) end_usec <= *(const uint64_t *) now_usec;
}

void authorisation_cache_add(AuthorisationCache *authorisation_cache, const char *question,
                             uint64_t now_usec) {
        uint64_t end_usec = now_usec + AUTHORISATION_CACHE_USEC;

        g_hash_table_foreach_remove(authorisation_cache->entries, authorisation_cache_is_over,
                                    &now_usec);
        if (g_hash_table_size(authorisation_cache->entries) < AUTHORISATION_CACHE_MAX)
                g_hash_table_replace(authorisation_cache->entries, g_strdup(question),
                                     g_memdup2(&end_usec, sizeof(end_usec)));
}

bool authorisation_cache_find(const AuthorisationCache *authorisation_cache, const char *question,
                              uint64_t now_usec) {
        const uint64_t *end_usec = g_hash_table_lookup(authorisation_cache->entries, question);

        return end_usec && *end_usec > now_usec;
}
