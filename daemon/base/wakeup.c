#include "daemon/base/wakeup.h"

int wakeup_new_idle(sd_event *event, sd_event_handler_t handler, void *context,
                    sd_event_source **ret) {
        int r;

        r = sd_event_add_defer(event, ret, handler, context);
        if (r >= 0)
                r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_priority(*ret, SD_EVENT_PRIORITY_IDLE);
        return r;
}

int wakeup_new_timer(sd_event *event, uint64_t accuracy_usec, sd_event_time_handler_t handler,
                     void *context, sd_event_source **ret) {
        int r;

        r = sd_event_add_time(event, ret, CLOCK_MONOTONIC, 0, accuracy_usec, handler, context);
        if (r >= 0)
                r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
        return r;
}

int wakeup_new_deadline(sd_event *event, const char *name, uint64_t usec, uint64_t accuracy_usec,
                        sd_event_time_handler_t handler, void *context, sd_event_source **ret) {
        int r;

        r = sd_event_add_time_relative(event, ret, CLOCK_MONOTONIC, usec, accuracy_usec, handler,
                                       context);
        if (r >= 0)
                (void) sd_event_source_set_description(*ret, name);
        return r;
}

void wakeup_within(sd_event_source *timer, uint64_t usec) {
        uint64_t now = 0, due = 0;
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(timer, &enabled);
        (void) sd_event_source_get_time(timer, &due);
        (void) sd_event_now(sd_event_source_get_event(timer), CLOCK_MONOTONIC, &now);
        if (enabled != SD_EVENT_OFF && due <= now + usec)
                return;
        (void) sd_event_source_set_time(timer, now + usec);
        (void) sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}
