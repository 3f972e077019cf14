#include "daemon/base/retries.h"

#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <glib.h>

#define ACCURACY_USEC (10 * 1000ULL)

typedef struct Retry {
        PciKey key;
        uint64_t delay_usec; /* that it waits, or waited last */
        uint64_t due_usec; /* CLOCK_MONOTONIC; 0: was handed over, and nothing is known of it yet */
} Retry;

struct Retries {
        GHashTable *all; /* key in the retry -> Retry*, owned */
        sd_event_source *timer;
        RetriesHandler *handler;
        void *context;
};

static int on_retries_timer(sd_event_source *source, uint64_t usec, void *userdata);

int retries_new(sd_event *event, RetriesHandler *handler, void *context, Retries **ret) {
        Retries *retries = g_new0(Retries, 1);
        int r;

        retries->all = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        retries->handler = handler;
        retries->context = context;
        r = wakeup_new_timer(event, ACCURACY_USEC, on_retries_timer, retries, &retries->timer);
        if (r >= 0)
                r = sd_event_source_set_description(retries->timer, "retries: next attempt");
        if (r < 0) {
                retries_free(retries);
                return r;
        }
        *ret = retries;
        return 0;
}

Retries *retries_free(Retries *retries) {
        if (!retries)
                return NULL;
        sd_event_source_disable_unref(retries->timer);
        g_hash_table_unref(retries->all);
        g_free(retries);
        return NULL;
}

static void set_timer(Retries *retries) {
        uint64_t next = UINT64_MAX;
        GHashTableIter iter;
        const Retry *retry;

        g_hash_table_iter_init(&iter, retries->all);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &retry))
                if (retry->due_usec != 0)
                        next = MIN(next, retry->due_usec);
        if (next != UINT64_MAX)
                (void) sd_event_source_set_time(retries->timer, next);
        (void) sd_event_source_set_enabled(retries->timer,
                                           next != UINT64_MAX ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_retries_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Retries *retries = userdata;
        g_autoptr(GArray) due = g_array_new(FALSE, FALSE, sizeof(PciKey));
        uint64_t now = now_usec();
        GHashTableIter iter;
        Retry *retry;

        g_hash_table_iter_init(&iter, retries->all);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &retry))
                if (retry->due_usec != 0 && retry->due_usec <= now) {
                        retry->due_usec = 0;
                        g_array_append_val(due, retry->key);
                }
        for (guint i = 0; i < due->len; i++)
                retries->handler(retries->context, g_array_index(due, PciKey, i));
        set_timer(retries);
        return 0;
}

void retries_add(Retries *retries, PciKey key) {
        Retry *retry = g_hash_table_lookup(retries->all, &key);
        uint64_t due = 0;
        int enabled = SD_EVENT_OFF;

        if (retry && retry->due_usec != 0)
                return;
        if (!retry) {
                retry = g_new0(Retry, 1);
                retry->key = key;
                g_hash_table_insert(retries->all, &retry->key, retry);
        }
        retry->delay_usec = retry->delay_usec == 0 ? RETRIES_FIRST_USEC
                                                   : MIN(2 * retry->delay_usec, RETRIES_LAST_USEC);
        retry->due_usec = now_usec() + retry->delay_usec;

        (void) sd_event_source_get_enabled(retries->timer, &enabled);
        (void) sd_event_source_get_time(retries->timer, &due);
        if (enabled != SD_EVENT_OFF && due <= retry->due_usec)
                return;
        (void) sd_event_source_set_time(retries->timer, retry->due_usec);
        (void) sd_event_source_set_enabled(retries->timer, SD_EVENT_ONESHOT);
}

void retries_drop(Retries *retries, PciKey key) {
        (void) g_hash_table_remove(retries->all, &key);
}

bool retries_has(const Retries *retries, PciKey key) {
        return g_hash_table_contains(retries->all, &key);
}

bool retries_any(const Retries *retries) {
        return g_hash_table_size(retries->all) > 0;
}
