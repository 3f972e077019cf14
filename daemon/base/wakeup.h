/* wakeup.h: event sources for work that is put off: on when there is work, off again after each
 * call.
 *
 * The creator owns the source: sd_event_source_disable_unref(). */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

/* Enabled by sd_event_source_set_enabled(), SD_EVENT_ONESHOT: called after the events that are
 * waiting, once for all that they bring. Returns 0, or a negative errno. */
int wakeup_new_idle(sd_event *event, sd_event_handler_t handler, void *context,
                    sd_event_source **ret);

/* The same at a time of CLOCK_MONOTONIC that is set before: `accuracy_usec` later at the most, 0
 * for sd-event's 250 ms. */
int wakeup_new_timer(sd_event *event, uint64_t accuracy_usec, sd_event_time_handler_t handler,
                     void *context, sd_event_source **ret);

/* One that runs out once, `usec` from now, and is named `name` in the log of sd-event. */
int wakeup_new_deadline(sd_event *event, const char *name, uint64_t usec, uint64_t accuracy_usec,
                        sd_event_time_handler_t handler, void *context, sd_event_source **ret);

/* Lets such a timer run out in `usec` at the latest. */
void wakeup_within(sd_event_source *timer, uint64_t usec);
