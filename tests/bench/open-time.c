/* open-time.c: how long it takes from the open of a VFIO device node to the signal that reports it.
 *
 * open-time NODE ENABLE OBJECT PID ROUNDS PROCESSES OPENS
 *
 * Nobody else may send signals on the system bus. In each round PROCESSES processes at once open
 * NODE, OPENS times each, and the function's count ENABLE becomes 1, as VFIO makes it; the wait
 * from there to the PropertiesChanged that says InUse is a line's first number, in nanoseconds. The
 * second one is process PID's own CPU time for these opens and the closes after them, with all that
 * follows from them for a while. OBJECT is the function's path. A daemon that has just started
 * takes a function for used until it has looked at all processes; the first round waits for
 * that. */
#include "daemon/base/util.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define COUNT_MAX 10000
/* More than anything takes: a signal that comes later is taken for lost. */
#define LOST_NSEC 5000000000LL
/* After each round, and as much more for each process: the daemon looks at openers for a while. */
#define PAUSE_NSEC         60000000ULL
#define PAUSE_PROCESS_NSEC 1000000ULL

typedef struct Run {
        sd_bus *bus;
        const char *node;
        int enable; /* descriptor */
        uint64_t processes, opens;
        int in_use; /* the last value reported */
} Run;

static int64_t now(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Run *run = userdata;
        const char *property;
        int value;

        if (sd_bus_message_skip(message, "s") < 0 ||
            sd_bus_message_enter_container(message, 'a', "{sv}") < 0)
                return 0;
        while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
                if (sd_bus_message_read(message, "s", &property) < 0)
                        return 0;
                if (strcmp(property, "InUse") != 0)
                        (void) sd_bus_message_skip(message, "v");
                else if (sd_bus_message_read(message, "v", "b", &value) >= 0)
                        run->in_use = value;
                (void) sd_bus_message_exit_container(message);
        }
        return 0;
}

static int wait_for(Run *run, int in_use) {
        int64_t start = now(CLOCK_MONOTONIC);
        int r = 0;

        while (r >= 0 && run->in_use != in_use) {
                if (now(CLOCK_MONOTONIC) - start > LOST_NSEC)
                        return -ETIMEDOUT;
                r = sd_bus_process(run->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(run->bus, LOST_NSEC / 1000);
        }
        return r;
}

/* A reference has no such object: there the function is free. */
static int wait_until_free(Run *run, const char *object) {
        (void) sd_bus_get_property_trivial(run->bus, "org.vfwarden1", object,
                                           "org.vfwarden1.Function", "InUse", NULL, 'b',
                                           &run->in_use);
        return wait_for(run, 0);
}

static int set_enable(const Run *run, char value) {
        return pwrite(run->enable, &value, 1, 0) == 1 ? 0 : -errno;
}

/* One of the processes: opens when it can read `start`, ends when `stop` has no writer any more. */
static void __attribute__((noreturn)) be_opener(const Run *run, int start, int stop) {
        char byte;
        bool good = read(start, &byte, sizeof(byte)) == sizeof(byte);

        for (uint64_t i = 0; good && i < run->opens; i++)
                good = open(run->node, O_RDWR | O_CLOEXEC) >= 0;
        _exit(good && read(stop, &byte, sizeof(byte)) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static int fork_openers(const Run *run, const int start[2], const int stop[2]) {
        for (uint64_t i = 0; i < run->processes; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        return -errno;
                if (pid == 0) {
                        close(start[1]);
                        close(stop[1]);
                        be_opener(run, start[0], stop[0]);
                }
        }
        return 0;
}

/* Whether all of them had it open to the end. */
static int reap_openers(const Run *run) {
        int status, r = 0;

        for (uint64_t i = 0; i < run->processes; i++)
                if (wait(&status) < 0 || status != 0)
                        r = -ECHILD;
        return r;
}

static int run_round(Run *run, clockid_t clock) {
        uint64_t pause = PAUSE_NSEC + PAUSE_PROCESS_NSEC * run->processes;
        g_autofree char *bytes = g_malloc0(run->processes);
        int start[2], stop[2], r;
        int64_t cpu, began, told;

        if (pipe2(start, O_CLOEXEC) < 0 || pipe2(stop, O_CLOEXEC) < 0)
                return -errno;
        r = fork_openers(run, start, stop);
        if (r < 0)
                return r;

        cpu = now(clock);
        began = now(CLOCK_MONOTONIC);
        if (write(start[1], bytes, run->processes) != (ssize_t) run->processes)
                r = -EIO;
        if (r >= 0)
                r = set_enable(run, '1');
        if (r >= 0)
                r = wait_for(run, 1);
        told = now(CLOCK_MONOTONIC) - began;
        if (run->processes > 1) /* all of them, before they are released */
                nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);

        if (r >= 0)
                r = set_enable(run, '0');
        for (int i = 0; i < 2; i++) {
                close(start[i]);
                close(stop[i]);
        }
        if (r >= 0)
                r = reap_openers(run);
        if (r >= 0)
                r = wait_for(run, 0);
        if (r < 0)
                return r;
        nanosleep(&(struct timespec){ .tv_sec = (time_t) (pause / 1000000000),
                                      .tv_nsec = (long) (pause % 1000000000) },
                  NULL);
        printf("%" PRIi64 " %" PRIi64 "\n", told, now(clock) - cpu);
        return 0;
}

int main(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        Run run = { .enable = -1 };
        uint64_t pid, rounds;
        clockid_t clock;
        int r;

        if (argc != 8 || number_parse(argv[4], 10, INT_MAX, &pid) < 0 ||
            number_parse(argv[5], 10, COUNT_MAX, &rounds) < 0 ||
            number_parse(argv[6], 10, COUNT_MAX, &run.processes) < 0 ||
            number_parse(argv[7], 10, COUNT_MAX, &run.opens) < 0 ||
            clock_getcpuclockid((pid_t) pid, &clock) != 0) {
                fprintf(stderr, "open-time: wrong arguments\n");
                return EXIT_FAILURE;
        }
        run.node = argv[1];
        run.enable = open(argv[2], O_WRONLY | O_CLOEXEC);
        r = run.enable < 0 ? -errno : sd_bus_open_system(&bus);
        run.bus = bus;
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, NULL, NULL, "org.freedesktop.DBus.Properties",
                                        "PropertiesChanged", on_changed, &run);
        if (r >= 0)
                r = wait_until_free(&run, argv[3]);
        for (uint64_t i = 0; r >= 0 && i < rounds; i++)
                r = run_round(&run, clock);
        if (r < 0)
                fprintf(stderr, "open-time: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
