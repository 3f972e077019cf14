/* turn-meter.h: how long the event loop works at a time.
 *
 * Owns the loop, and what its turns were like so far. A turn is the time between two waits for
 * events. No client is answered during a turn. So work that others can multiply must not make one
 * long: a turn of more than TURN_LONG_USEC is logged.
 *
 * One call that any client can make long is close(): a descriptor of theirs may be a TCP socket
 * with unsent data and SO_LINGER, and its last close waits as long as they wished, in
 * inet_release() and sk_stream_wait_close(). A signal ends that wait. So a turn of more than
 * TURN_STUCK_USEC is interrupted again and again until it ends, by a thread that does nothing else.
 * Calls that the kernel can restart go on. */
#pragma once

#include "policy/counters.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define TURN_LONG_USEC  (20 * 1000ULL)
#define TURN_STUCK_USEC (50 * 1000ULL)

typedef struct TurnMeter {
        LoopCounters counters;
        atomic_uint_fast64_t boundaries; /* of turns so far; odd: in one */
        atomic_bool asleep;              /* the thread waits for `wake` */
        atomic_bool over;                /* the thread is to end */
        sem_t wake;
        pid_t loop; /* thread */
        pthread_t watch;
        bool watches;
} TurnMeter;

/* As sd_event_loop(). Takes the signal SIGURG for the rest of the process's life. What follows
 * until turn_meter_done() is a turn, too. */
int turn_meter_loop(TurnMeter *meter, sd_event *event);
void turn_meter_done(TurnMeter *meter);
