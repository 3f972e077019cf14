/* publisher.h: what was published of each function, and what differs from that.
 *
 * Owns, for each published function, what clients know of it beside the bits of Function.changes;
 * and the violations that are still to be published.
 * Always holds: the observer hears of a function first by `added`, of a difference to what it heard
 * before, and of nothing else, by `changed`, and last by `removed`. */
#pragma once

#include "daemon/manager/manager-types.h"

#include <systemd/sd-event.h>

typedef struct Publisher Publisher;

/* Returns 0 or a negative errno. */
int publisher_new(sd_event *event, Publisher **ret);
Publisher *publisher_free(Publisher *publisher);

/* NULL for none; what is published meanwhile counts as heard. */
void publisher_set_observer(Publisher *publisher, const ManagerObserver *observer, void *context);

bool publisher_knows(const Publisher *publisher, const Function *function);

/* The lock reasons that were published last, 0 for a function that was not. */
unsigned publisher_lock_reasons(const Publisher *publisher, const Function *function);

/* Announces the function, or what of it has changed; clears its `changes`. */
void publisher_publish(Publisher *publisher, Function *function);
void publisher_function_gone(Publisher *publisher, Function *function);

/* Announces the number of functions, if it has changed since the last time. */
void publisher_publish_count(Publisher *publisher);

/* Logs and announces it, as often as policy/violation.h says. */
void publisher_violation(Publisher *publisher, const Violation *violation);

void publisher_ask_release(Publisher *publisher, Function *function, uint64_t deadline_usec);
/* `event` is the kernel's word, see uevents.h. */
void publisher_device_failed(Publisher *publisher, Function *function, const char *event);
void publisher_enforcement_changed(Publisher *publisher);
void publisher_settings_changed(Publisher *publisher);
void publisher_problems_changed(Publisher *publisher);
void publisher_guards_changed(Publisher *publisher);
