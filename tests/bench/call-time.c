/* call-time.c: how long calls of a service take over the bus, each kind in turn, so that what else
 * the machine does falls on all of them alike.
 *
 * call-time NAME PID ROUNDS CALLS PATH [INTERFACE.PROPERTY | "ADDRESS OPERATION" | "Load"]...
 *
 * NAME is on the system bus and belongs to process PID. For each round it prints a line with two
 * numbers, nanoseconds of waiting per call and of PID's own CPU time per call, for
 * org.freedesktop.DBus.Peer.Ping and a line for a read of each property, all on the object PATH,
 * for the manager's Check of OPERATION on ADDRESS, or for a load of 8 bytes. */
#include "daemon/base/util.h"
#include "policy/number.h"

#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define COUNT_MAX 1000000

static int64_t now(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* `what` NULL means Ping. */
static int call(sd_bus *bus, const char *name, const char *path, const char *what) {
        g_autofree char *interface = g_strdup(what);
        char *space = what ? strchr(interface, ' ') : NULL;
        char *dot = what ? strrchr(interface, '.') : NULL;

        if (space) {
                *space = '\0';
                return sd_bus_call_method(bus, name, "/org/vfwarden1", "org.vfwarden1.Manager",
                                          "Check", NULL, NULL, "ss", interface, space + 1);
        }
        if (what && !dot)
                return sd_bus_call_method(bus, name, path, "org.vfwarden1.ZpciIo", what, NULL, NULL,
                                          "ytq", 0, (uint64_t) 0, 8);
        if (!what)
                return sd_bus_call_method(bus, name, path, "org.freedesktop.DBus.Peer", "Ping",
                                          NULL, NULL, NULL);
        *dot = '\0';
        return sd_bus_call_method(bus, name, path, "org.freedesktop.DBus.Properties", "Get", NULL,
                                  NULL, "ss", interface, dot + 1);
}

int main(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        uint64_t pid, rounds, calls;
        clockid_t clock;
        int r;

        if (argc < 6 || number_parse(argv[2], 10, INT_MAX, &pid) < 0 ||
            number_parse(argv[3], 10, COUNT_MAX, &rounds) < 0 ||
            number_parse(argv[4], 10, COUNT_MAX, &calls) < 0 || calls == 0 ||
            clock_getcpuclockid((pid_t) pid, &clock) != 0) {
                fprintf(stderr, "call-time: wrong arguments\n");
                return EXIT_FAILURE;
        }
        r = sd_bus_open_system(&bus);
        /* argv[argc] is NULL, and stands first, for Ping. */
        for (int i = 0; r >= 0 && i < (int) rounds * (argc - 5); i++) {
                const char *what = i % (argc - 5) == 0 ? NULL : argv[5 + i % (argc - 5)];
                int64_t wall = now(CLOCK_MONOTONIC), cpu = now(clock);

                for (int n = 0; r >= 0 && n < (int) calls; n++)
                        r = call(bus, argv[1], argv[5], what);
                printf("%" PRIi64 " %" PRIi64 "\n", (now(CLOCK_MONOTONIC) - wall) / (int64_t) calls,
                       (now(clock) - cpu) / (int64_t) calls);
        }
        if (r < 0)
                fprintf(stderr, "call-time: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
