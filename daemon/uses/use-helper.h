/* use-helper.h: the daemon's side of a process that looks at the host's uses (use-child.h).
 *
 * Owns the process, and the uses that it told last. Nothing here waits. Always holds: a question is
 * answered within HELPER_ANSWER_USEC, by the process or, when that hangs or ends, by "cannot be
 * looked at"; the uses told before are kept then. A process that works, or waits for a processor,
 * has more time, but only HELPER_LOOK_USEC for one answer. A process that hangs is killed, and
 * another one is begun with the next question, or after HELPER_RETRY_USEC. At most HELPER_STUCK_MAX
 * that cannot even be killed are left behind. */
#pragma once

#include "daemon/uses/use-child.h"

#include <systemd/sd-event.h>

typedef struct UseHelper UseHelper;

typedef struct UseHelperHandler {
        /* What it reports of these functions (an array of PciKey) has changed. */
        void (*changed)(void *context, const GArray *keys);
        /* A look has ended, or failed: use_helper_answered() and use_helper_result() may say
         * something else. */
        void (*looked)(void *context);
} UseHelperHandler;

/* Begins a process. Returns 0 or a negative errno. `source` and `proc` outlive it. */
int use_helper_new(sd_event *event, const UseSource *source, const char *proc,
                   const UseHelperHandler *handler, void *context, UseHelper **ret);
UseHelper *use_helper_free(UseHelper *helper);

/* Asks for a look from now on. Returns the ticket; tickets count up from 1. */
uint64_t use_helper_ask(UseHelper *helper);

/* The latest ticket that a look, or a failure to look, has answered. */
uint64_t use_helper_answered(const UseHelper *helper);

/* Of the last look: 0; -EINPROGRESS before there was one; or another negative errno. */
int use_helper_result(const UseHelper *helper);

/* What the last look that saw everything else has left out; borrowed, NULL: nothing. */
const char *use_helper_note(const UseHelper *helper);

const char *use_helper_what(const UseHelper *helper);

/* What the host calls the function's devices; borrowed, NULL: nothing. */
const DeviceNames *use_helper_names(const UseHelper *helper, PciKey key);

/* The reported uses of the function: of Use*, borrowed; NULL: none. */
const GPtrArray *use_helper_uses(const UseHelper *helper, PciKey key);
