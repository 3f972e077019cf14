#include "daemon/usage/vfio-closings.h"

struct VfioClosings {
        GHashTable *nodes; /* name -> VfioClosing*, owned */
};

typedef struct VfioClosing {
        uint64_t round, ticket;
} VfioClosing;

typedef struct VfioClosingsLooked {
        uint64_t ended, oldest;
} VfioClosingsLooked;

VfioClosings *vfio_closings_new(void) {
        VfioClosings *closings = g_new0(VfioClosings, 1);

        closings->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return closings;
}

VfioClosings *vfio_closings_free(VfioClosings *closings) {
        if (!closings)
                return NULL;
        g_hash_table_unref(closings->nodes);
        g_free(closings);
        return NULL;
}

void vfio_closings_closed(VfioClosings *closings, const char *name, uint64_t round,
                          uint64_t ticket) {
        VfioClosing *closing = g_new(VfioClosing, 1);

        *closing = (VfioClosing){ .round = round, .ticket = ticket };
        g_hash_table_replace(closings->nodes, g_strdup(name), closing);
}

void vfio_closings_opened(VfioClosings *closings, const char *name) {
        (void) g_hash_table_remove(closings->nodes, name);
}

bool vfio_closings_found(VfioClosings *closings, uint64_t round) {
        GHashTableIter iter;
        VfioClosing *closing;

        g_hash_table_iter_init(&iter, closings->nodes);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &closing))
                closing->round = round;
        return vfio_closings_any(closings);
}

void vfio_closings_keep(VfioClosings *closings, const char *name, uint64_t round) {
        VfioClosing *closing = g_hash_table_lookup(closings->nodes, name);

        if (closing)
                closing->round = round;
}

void vfio_closings_missed(VfioClosings *closings) {
        g_hash_table_remove_all(closings->nodes);
}

static gboolean is_seen(gpointer name, gpointer value, gpointer data) {
        const VfioClosing *closing = value;
        const VfioClosingsLooked *looked = data;

        return closing->round <= looked->ended && closing->ticket <= looked->oldest;
}

void vfio_closings_looked(VfioClosings *closings, uint64_t ended, uint64_t oldest) {
        VfioClosingsLooked looked = { ended, oldest };

        (void) g_hash_table_foreach_remove(closings->nodes, is_seen, &looked);
}

bool vfio_closings_any(const VfioClosings *closings) {
        return g_hash_table_size(closings->nodes) > 0;
}

bool vfio_closings_has(const VfioClosings *closings, const char *name) {
        return g_hash_table_contains(closings->nodes, name);
}
