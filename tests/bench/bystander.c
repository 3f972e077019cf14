/* bystander.c: how long a client waits that does nothing wrong.
 *
 * bystander NAME UID ADDRESS
 *
 * It becomes UID and asks the service NAME for Check of "open" on ADDRESS, ten times a second and
 * each time on a new connection, as the command does, until its standard input is closed. Then it
 * prints the number of calls, of those that failed, and the longest wait for an answer in
 * nanoseconds. */
#include "daemon/base/util.h"
#include "policy/number.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MSEC 100
#define TIMEOUT_USEC  (60 * 1000 * 1000ULL)

static int64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Returns the time that the call took, or a negative errno. */
static int64_t call(const char *name, const char *address) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        sd_bus_message *message = NULL;
        int64_t begin = 0;
        int r;

        r = sd_bus_open_system(&bus);
        /* The bus knows the connection from here on. */
        if (r >= 0)
                r = sd_bus_get_unique_name(bus, &(const char *){ NULL });
        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &message, name, "/org/vfwarden1",
                                                   "org.vfwarden1.Manager", "Check");
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", address, "open");
        begin = now();
        if (r >= 0)
                r = sd_bus_call(bus, message, TIMEOUT_USEC, NULL, NULL);
        sd_bus_message_unref(message);
        return r < 0 ? r : now() - begin;
}

int main(int argc, char **argv) {
        struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
        uint64_t uid, calls = 0, failed = 0;
        int64_t worst = 0;

        if (argc != 4 || number_parse(argv[2], 10, INT_MAX, &uid) < 0) {
                fprintf(stderr, "bystander: wrong arguments\n");
                return EXIT_FAILURE;
        }
        if (setresgid((gid_t) uid, (gid_t) uid, (gid_t) uid) < 0 ||
            setresuid((uid_t) uid, (uid_t) uid, (uid_t) uid) < 0) {
                perror("bystander");
                return EXIT_FAILURE;
        }
        do {
                int64_t took = call(argv[1], argv[3]);

                calls++;
                failed += took < 0;
                worst = took > worst ? took : worst;
        } while (poll(&input, 1, INTERVAL_MSEC) == 0);
        printf("%" PRIu64 " %" PRIu64 " %" PRIi64 "\n", calls, failed, worst);
        return EXIT_SUCCESS;
}
