/* vfwarden-spawn: starts processes for vfwardend that take more than the daemon may do. Started by
 * systemd, with a listening socket; see vfwardend(8). */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/spawn-server.h"
#include "lib/standard-streams.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

static const char help[] =
        "vfwarden-spawn [OPTION...]\n"
        "\n"
        "Opens devices, and starts vfwarden-io, for vfwardend; started by systemd.\n"
        "\n"
        "  -h, --help                 Show this help\n"
        "      --version              Show the version\n"
        "      --unit=UNIT            Take orders from this unit alone\n"
        "      --io-program=FILE      Carries I/O, instead of " VFWARDEN_IO_PROGRAM "\n"
        "      --io-user=USER         The user that it runs as, instead of vfwarden\n";

/* Returns 1 to go on, 0 when all is done, -EINVAL when an option is wrong and has been complained
 * of. */
static int parse_arguments(int argc, char **argv, SpawnServerOptions *options) {
        enum {
                VERSION = 256,
                UNIT,
                IO_PROGRAM,
                IO_USER
        };
        static const struct option longs[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, VERSION },
                { "unit", required_argument, NULL, UNIT },
                { "io-program", required_argument, NULL, IO_PROGRAM },
                { "io-user", required_argument, NULL, IO_USER },
                { 0 },
        };
        int option;

        while ((option = getopt_long(argc, argv, "h", longs, NULL)) >= 0)
                switch (option) {
                case 'h':
                case VERSION:
                        fputs(option == 'h' ? help : "vfwarden-spawn " VFWARDEN_VERSION "\n",
                              stdout);
                        return 0;
                case UNIT:
                        options->unit = optarg;
                        break;
                case IO_PROGRAM:
                        options->program.path = optarg;
                        break;
                case IO_USER:
                        options->program.user = optarg;
                        break;
                default:
                        return -EINVAL;
                }
        if (optind < argc) {
                log_error("'%s' is one argument too many", argv[optind]);
                return -EINVAL;
        }
        return 1;
}

static int serve(const SpawnServerOptions *options) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        SpawnServer *server = NULL;
        int r;

        if (sd_listen_fds(true) != 1 ||
            sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_SEQPACKET, 1, NULL, 0) <= 0) {
                log_error("There is no listening socket; systemd passes one");
                return -EINVAL;
        }
        r = sd_event_default(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = spawn_server_new(event, SD_LISTEN_FDS_START, options, &server);
        if (r < 0) {
                log_error("Failed to serve: %s", g_strerror(-r));
                return r;
        }
        r = sd_event_loop(event);
        spawn_server_free(server);
        return r;
}

int main(int argc, char **argv) {
        SpawnServerOptions options = { .program = { VFWARDEN_IO_PROGRAM, "vfwarden" } };
        sigset_t signals;
        int r;

        if (standard_streams_open() < 0)
                return EXIT_FAILURE;
        log_setup();
        r = parse_arguments(argc, argv, &options);
        if (r <= 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        /* Blocked for good: sd-event receives them by signalfd. Children unblock their own. */
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGCHLD);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        return serve(&options) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
