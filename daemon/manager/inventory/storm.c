#include "daemon/manager/inventory/storm.h"

#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <glib.h>

#define ACCURACY_USEC (1000ULL)
/* No function has this key: a domain has 32 bits. */
#define NO_KEY UINT64_MAX

struct Storm {
        StormHandler *handler;
        void *context;
        sd_event_source *timer; /* on while events are held */
        PciKey last;            /* whose event was handled last; NO_KEY: those of many were */
        uint64_t end_usec;      /* CLOCK_MONOTONIC: STORM_USEC after that */
        bool holds;
};

static int on_storm_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        const Storm *storm = userdata;

        storm->handler(storm->context);
        return 0;
}

int storm_new(sd_event *event, StormHandler *handler, void *context, Storm **ret) {
        Storm *storm = g_new0(Storm, 1);
        int r;

        storm->handler = handler;
        storm->context = context;
        storm->last = NO_KEY;
        r = wakeup_new_timer(event, ACCURACY_USEC, on_storm_timer, storm, &storm->timer);
        if (r >= 0)
                r = sd_event_source_set_description(storm->timer, "storm");
        if (r < 0) {
                storm_free(storm);
                return r;
        }
        *ret = storm;
        return 0;
}

Storm *storm_free(Storm *storm) {
        if (!storm)
                return NULL;
        sd_event_source_disable_unref(storm->timer);
        g_free(storm);
        return NULL;
}

static void begin_storm_interval(Storm *storm, PciKey last, uint64_t now) {
        storm->last = last;
        storm->end_usec = now + STORM_USEC;
}

bool storm_take(Storm *storm, PciKey key) {
        uint64_t now = now_usec();

        if (storm->holds)
                return false;
        if (now >= storm->end_usec || key == storm->last) {
                begin_storm_interval(storm, key, now);
                return true;
        }
        storm->holds = true;
        (void) sd_event_source_set_time(storm->timer, storm->end_usec);
        (void) sd_event_source_set_enabled(storm->timer, SD_EVENT_ONESHOT);
        return false;
}

bool storm_holds(const Storm *storm) {
        return storm->holds;
}

void storm_release(Storm *storm) {
        if (!storm->holds)
                return;
        storm->holds = false;
        (void) sd_event_source_set_enabled(storm->timer, SD_EVENT_OFF);
        begin_storm_interval(storm, NO_KEY, now_usec());
}
