#include "daemon/manager/checks.h"

#include "daemon/base/wakeup.h"

/* How often to look at what events report as well: each network namespace has a sysfs of
 * its own, whose nodes share the mode bits and not the inodes. */
#define INTERVAL_USEC (5 * 1000 * 1000ULL)

/* The same of what could not be done, doubled each time. */
#define FAILING_USEC  (100 * 1000ULL)

#define ACCURACY_USEC (1000 * 1000ULL)

struct Checks {
        Parts *parts;
        StateKeeper *state;
        sd_event_source *timer;
        uint64_t failing_usec; /* how soon what fails is looked at again */
};

static int on_checks_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Checks *checks = userdata;

        parts_check(checks->parts);
        (void) state_keeper_save(checks->state);
        if (parts_wants_check(checks->parts) != PART_CHECK_SOON)
                checks->failing_usec = 0;
        else
                checks->failing_usec = CLAMP(2 * checks->failing_usec, FAILING_USEC, INTERVAL_USEC);
        checks_update(checks);
        return 0;
}

int checks_new(sd_event *event, Parts *parts, StateKeeper *state, Checks **ret) {
        Checks *checks = g_new0(Checks, 1);
        int r;

        checks->parts = parts;
        checks->state = state;
        /* Due at once: no event reports what happened while no daemon ran. */
        r = sd_event_add_time(event, &checks->timer, CLOCK_MONOTONIC, 0, ACCURACY_USEC,
                              on_checks_timer, checks);
        if (r < 0) {
                checks_free(checks);
                return r;
        }
        (void) sd_event_source_set_description(checks->timer, "check");
        *ret = checks;
        return 0;
}

Checks *checks_free(Checks *checks) {
        if (!checks)
                return NULL;
        sd_event_source_disable_unref(checks->timer);
        g_free(checks);
        return NULL;
}

void checks_update(Checks *checks) {
        PartCheck wish = parts_wants_check(checks->parts);

        if (wish == PART_CHECK_SOON)
                wakeup_within(checks->timer, MAX(checks->failing_usec, FAILING_USEC));
        else if (wish == PART_CHECK_SOMETIMES || state_keeper_is_failing(checks->state))
                wakeup_within(checks->timer, INTERVAL_USEC);
}
