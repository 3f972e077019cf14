#include "daemon/base/turn-meter.h"

#include "daemon/base/log.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TURN_SIGNAL SIGURG /* nobody else's here, and ignored by what the daemon executes */
/* Who makes one turn long makes others: after an interruption the thread looks so soon, so many
 * times. */
#define ALERT_USEC  (2 * 1000ULL)
#define ALERT_LOOKS 5000

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

static void on_turn_signal(int number) {
}

/* A loop that is idle does not wake the thread. Returns the boundary that the turn began with. */
static uint64_t wait_for_turn(TurnMeter *meter) {
        uint64_t now;

        while (atomic_store(&meter->asleep, true),
               (now = atomic_load(&meter->boundaries)) % 2 == 0 && !atomic_load(&meter->over))
                (void) sem_wait(&meter->wake);
        atomic_store(&meter->asleep, false);
        return now;
}

/* The thread. It allocates and locks nothing: the daemon forks at any time. */
static void *turn_meter_watch(void *data) {
        TurnMeter *meter = data;
        unsigned alert = 0;

        while (!atomic_load(&meter->over)) {
                uint64_t turn = wait_for_turn(meter);
                const struct timespec pause = {
                        .tv_nsec = (long) (alert > 0 ? ALERT_USEC : TURN_STUCK_USEC) * 1000
                };

                (void) clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
                if (atomic_load(&meter->boundaries) == turn) {
                        (void) syscall(SYS_tgkill, getpid(), meter->loop, TURN_SIGNAL);
                        alert = ALERT_LOOKS;
                } else if (alert > 0)
                        alert--;
        }
        return NULL;
}

/* Returns 0 or a negative errno. */
static int turn_meter_start_watch(TurnMeter *meter) {
        const struct sigaction action = { .sa_handler = on_turn_signal, .sa_flags = SA_RESTART };
        sigset_t all, before;
        int r;

        meter->loop = (pid_t) syscall(SYS_gettid);
        if (sigaction(TURN_SIGNAL, &action, NULL) < 0 || sem_init(&meter->wake, 0, 0) < 0)
                return -errno;
        /* The loop's signals are the loop's. */
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        r = -pthread_create(&meter->watch, NULL, turn_meter_watch, meter);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        meter->watches = r == 0;
        return r;
}

void turn_meter_done(TurnMeter *meter) {
        if (!meter->watches)
                return;
        atomic_store(&meter->over, true);
        (void) sem_post(&meter->wake);
        (void) pthread_join(meter->watch, NULL);
        (void) sem_destroy(&meter->wake);
        meter->watches = false;
}

static void begin_turn(TurnMeter *meter) {
        atomic_fetch_add(&meter->boundaries, 1);
        if (atomic_exchange(&meter->asleep, false))
                (void) sem_post(&meter->wake);
}

/* sd_event_run() in its parts. What it waits for is no work. */
static int run_turns(TurnMeter *meter, sd_event *event) {
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
                if (r > 0) {
                        begin_turn(meter);
                        r = sd_event_dispatch(event);
                        atomic_fetch_add(&meter->boundaries, 1);
                }
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

int turn_meter_loop(TurnMeter *meter, sd_event *event) {
        int r = turn_meter_start_watch(meter);

        if (r >= 0)
                r = run_turns(meter, event);
        begin_turn(meter);
        return r;
}
