#include "daemon/base/rate-limit.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <glib.h>

#define ACCURACY_USEC (1000ULL)

typedef struct Interval {
        PciKey key;
        uint64_t end_usec; /* CLOCK_MONOTONIC */
        bool asked;        /* again, within it */
} Interval;

struct RateLimit {
        GHashTable *intervals; /* key in the Interval -> Interval*, owned */
        sd_event_source *timer;
        RateLimitHandler *handler;
        void *context;
};

/* Those that have ended leave the table. Returns the keys that were asked for again. */
static GArray *end_intervals(RateLimit *limit, uint64_t now) {
        GArray *asked = g_array_new(FALSE, FALSE, sizeof(PciKey));
        GHashTableIter iter;
        const Interval *interval;

        g_hash_table_iter_init(&iter, limit->intervals);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &interval)) {
                if (interval->end_usec > now)
                        continue;
                if (interval->asked)
                        g_array_append_val(asked, interval->key);
                g_hash_table_iter_remove(&iter);
        }
        return asked;
}

static void begin_interval(RateLimit *limit, PciKey key, uint64_t now) {
        Interval *interval = g_new(Interval, 1);

        *interval = (Interval){ .key = key, .end_usec = now + RATE_LIMIT_USEC };
        g_hash_table_replace(limit->intervals, &interval->key, interval);
}

static int on_rate_limit_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        RateLimit *limit = userdata;
        uint64_t now = now_usec();
        g_autoptr(GArray) asked = end_intervals(limit, now);

        for (guint i = 0; i < asked->len; i++)
                begin_interval(limit, g_array_index(asked, PciKey, i), now);
        for (guint i = 0; i < asked->len; i++)
                limit->handler(limit->context, g_array_index(asked, PciKey, i));
        if (g_hash_table_size(limit->intervals) == 0)
                return 0;
        (void) sd_event_source_set_time_relative(source, RATE_LIMIT_USEC / 2);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int rate_limit_new(sd_event *event, RateLimitHandler *handler, void *context, RateLimit **ret) {
        RateLimit *limit = g_new0(RateLimit, 1);
        int r;

        limit->intervals = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        limit->handler = handler;
        limit->context = context;
        r = wakeup_new_timer(event, ACCURACY_USEC, on_rate_limit_timer, limit, &limit->timer);
        if (r < 0) {
                rate_limit_free(limit);
                return r;
        }
        (void) sd_event_source_set_description(limit->timer, "rate-limit");
        *ret = limit;
        return 0;
}

RateLimit *rate_limit_free(RateLimit *limit) {
        if (!limit)
                return NULL;
        sd_event_source_disable_unref(limit->timer);
        g_hash_table_unref(limit->intervals);
        g_free(limit);
        return NULL;
}

bool rate_limit_take(RateLimit *limit, PciKey key) {
        Interval *interval = g_hash_table_lookup(limit->intervals, &key);
        uint64_t now = now_usec();

        if (interval && interval->end_usec > now) {
                interval->asked = true;
                return false;
        }
        begin_interval(limit, key, now);
        if (sd_event_source_get_enabled(limit->timer, NULL) == 0) {
                (void) sd_event_source_set_time_relative(limit->timer, RATE_LIMIT_USEC);
                (void) sd_event_source_set_enabled(limit->timer, SD_EVENT_ONESHOT);
        }
        return true;
}
