#include "daemon/base/turn-meter.h"

#include "daemon/base/log.h"

#include <glib.h>
#include <inttypes.h>
#include <time.h>

static uint64_t clock_usec(clockid_t clock) {
        struct timespec t = { 0 };

        (void) clock_gettime(clock, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void turn_meter_note(TurnMeter *meter, uint64_t usec, uint64_t cpu_usec) {
        LoopCounters *counters = &meter->counters;

        if (cpu_usec > TURN_LONG_USEC && cpu_usec > counters->longest_cpu_usec)
                log_notice("the event loop was busy for %" PRIu64 " ms, %" PRIu64
                           " ms of them by itself",
                           usec / 1000, cpu_usec / 1000);
        counters->turns++;
        counters->busy_usec += usec;
        counters->long_turns += cpu_usec > TURN_LONG_USEC ? 1 : 0;
        counters->longest_usec = MAX(counters->longest_usec, usec);
        counters->longest_cpu_usec = MAX(counters->longest_cpu_usec, cpu_usec);
}

/* sd_event_run() in its parts. What it waits for is no work. */
int turn_meter_loop(TurnMeter *meter, sd_event *event) {
        uint64_t cpu, cpu_before = clock_usec(CLOCK_THREAD_CPUTIME_ID);
        int r, code;

        while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
                uint64_t start;

                r = sd_event_prepare(event);
                if (r == 0)
                        r = sd_event_wait(event, UINT64_MAX);
                if (r < 0)
                        return r;
                start = clock_usec(CLOCK_MONOTONIC);
                if (r > 0)
                        r = sd_event_dispatch(event);
                if (r < 0)
                        return r;
                /* One system call a turn: what the loop itself takes to wait is counted along. */
                cpu = clock_usec(CLOCK_THREAD_CPUTIME_ID);
                turn_meter_note(meter, clock_usec(CLOCK_MONOTONIC) - start, cpu - cpu_before);
                cpu_before = cpu;
        }
        r = sd_event_get_exit_code(event, &code);
        return r < 0 ? r : code;
}
