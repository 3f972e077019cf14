/* turn-meter.h: how long the event loop works at a time.
 *
 * Owns the loop, and what its turns were like so far. A turn is the time between two waits for
 * events. No client is answered during a turn. So work that others can multiply must not make one
 * long: a turn of more than TURN_LONG_USEC is logged. */
#pragma once

#include "policy/counters.h"

#include <systemd/sd-event.h>

#define TURN_LONG_USEC (20 * 1000ULL)

typedef struct TurnMeter {
        LoopCounters counters;
} TurnMeter;

/* As sd_event_loop(). */
int turn_meter_loop(TurnMeter *meter, sd_event *event);
