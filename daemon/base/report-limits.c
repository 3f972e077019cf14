#include "daemon/base/report-limits.h"

#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "policy/violation.h"

typedef struct Limited {
        ViolationTally tally;
        void *item; /* NULL: none is counted */
        GDestroyNotify free_item;
} Limited;

struct ReportLimits {
        const ReportLimitsHandler *handler;
        void *context;
        GHashTable *subjects; /* -> Limited*, both owned */
        sd_event_source *timer;
};

static void drop_item(Limited *limited) {
        if (limited->item)
                limited->free_item(limited->item);
        limited->item = NULL;
}

static void limited_free(gpointer data) {
        drop_item(data);
        g_free(data);
}

static void wake_at_end(const ReportLimits *limits, const Limited *limited) {
        uint64_t now = now_usec(), end = violation_tally_end_usec(&limited->tally);

        wakeup_within(limits->timer, end > now ? end - now : 0);
}

/* Returns whether the subject is not needed any more. */
static bool end_time(const ReportLimits *limits, Limited *limited, uint64_t now) {
        unsigned count = violation_tally_end(&limited->tally, now);

        if (count == 0)
                return true;
        limits->handler->report(limits->context, limited->item, count);
        drop_item(limited);
        return false;
}

static int on_report_limits_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        const ReportLimits *limits = userdata;
        uint64_t now = now_usec();
        GHashTableIter iter;
        Limited *limited;

        g_hash_table_iter_init(&iter, limits->subjects);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &limited)) {
                if (violation_tally_end_usec(&limited->tally) <= now &&
                    end_time(limits, limited, now)) {
                        g_hash_table_iter_remove(&iter);
                        continue;
                }
                wake_at_end(limits, limited);
        }
        return 0;
}

int report_limits_new(sd_event *event, const char *name, const ReportLimitsHandler *handler,
                      void *context, ReportLimits **ret) {
        ReportLimits *limits = g_new0(ReportLimits, 1);
        int r;

        limits->handler = handler;
        limits->context = context;
        limits->subjects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, limited_free);
        r = wakeup_new_timer(event, 0, on_report_limits_timer, limits, &limits->timer);
        if (r >= 0)
                r = sd_event_source_set_description(limits->timer, name);
        if (r < 0) {
                report_limits_free(limits);
                return r;
        }
        *ret = limits;
        return 0;
}

ReportLimits *report_limits_free(ReportLimits *limits) {
        if (!limits)
                return NULL;
        sd_event_source_disable_unref(limits->timer);
        g_hash_table_unref(limits->subjects);
        g_free(limits);
        return NULL;
}

static Limited *get_limited(const ReportLimits *limits, const char *subject) {
        Limited *limited = g_hash_table_lookup(limits->subjects, subject);

        if (limited)
                return limited;
        limited = g_new0(Limited, 1);
        limited->free_item = limits->handler->free_item;
        g_hash_table_insert(limits->subjects, g_strdup(subject), limited);
        return limited;
}

void **report_limits_take(ReportLimits *limits, const char *subject) {
        Limited *limited = get_limited(limits, subject);
        bool at_once = violation_tally_take(&limited->tally, now_usec());

        wake_at_end(limits, limited);
        return at_once ? NULL : &limited->item;
}
