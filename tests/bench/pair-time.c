/* pair-time.c: how long the same read takes of two services, call by call in turn, so that what
 * else the machine does falls on both alike.
 *
 * pair-time NAME BUS-A BUS-B COUNT PATH INTERFACE.PROPERTY
 *
 * NAME is on both buses. Prints COUNT lines of two numbers, the nanoseconds of waiting for one read
 * from A and of one from B. */
#include "daemon/base/util.h"
#include "policy/number.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

static int64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_bus(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                *ret = g_steal_pointer(&bus);
        return r;
}

int main(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *a = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *b = NULL;
        uint64_t count;
        char *dot;
        int r;

        if (argc != 7 || number_parse(argv[4], 10, INT_MAX, &count) < 0 ||
            !(dot = strrchr(argv[6], '.'))) {
                fprintf(stderr, "pair-time: wrong arguments\n");
                return EXIT_FAILURE;
        }
        *dot = '\0';
        r = open_bus(argv[2], &a);
        if (r >= 0)
                r = open_bus(argv[3], &b);
        for (uint64_t i = 0; r >= 0 && i < 2 * count; i++) {
                int64_t start = now();

                r = sd_bus_call_method(i % 2 == 0 ? a : b, argv[1], argv[5],
                                       "org.freedesktop.DBus.Properties", "Get", NULL, NULL, "ss",
                                       argv[6], dot + 1);
                printf("%" PRIi64 "%c", now() - start, i % 2 == 0 ? ' ' : '\n');
        }
        if (r < 0)
                fprintf(stderr, "pair-time: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
