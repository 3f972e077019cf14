/* turn-meter.h: how long the event loop works at a time.
 *
 * Owns the loop, and what its turns were like so far. A turn is the time between two waits for
 * events. No client is answered during a turn. So work that others can multiply must not make one
 * long: a turn of more than TURN_LONG_USEC is logged.
 *
 * One call that any client can make long is close(): a descriptor of theirs may be a TCP socket
 * with unsent data and SO_LINGER, and its last close waits as long as they wished, in
 * inet_release() and sk_stream_wait_close(). A signal ends that wait. So a turn that takes longer
 * than TURN_STUCK_USEC is interrupted until it ends, by a thread that does nothing else. Calls that
 * the kernel can restart go on. */
#pragma once

#include "policy/counters.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define TURN_LONG_USEC  (20 * 1000ULL)
#define TURN_STUCK_USEC (1000 * 1000ULL)

typedef struct TurnMeter {
        LoopCounters counters;
        atomic_uint_fast64_t boundaries; /* of turns so far; odd: in one */
        pid_t thread;                    /* that runs the loop */
} TurnMeter;

/* As sd_event_loop(). Takes the signal SIGURG for the rest of the process's life. */
int turn_meter_loop(TurnMeter *meter, sd_event *event);
