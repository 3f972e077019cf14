/* vfwarden-spawn: starts processes for vfwardend that take more than the daemon may do. Started by
 * systemd, with a listening socket; see vfwardend(8). */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/spawn-server.h"
#include "daemon/program.h"
#include "lib/standard-streams.h"

#include <stddef.h>
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

static const ProgramOption options_table[] = {
        { "unit", true, NULL, offsetof(SpawnServerOptions, unit) },
        { "io-program", true, NULL, offsetof(SpawnServerOptions, program.path) },
        { "io-user", true, NULL, offsetof(SpawnServerOptions, program.user) },
        { NULL, false, NULL, 0 },
};

static const Program program = { "vfwarden-spawn", help, options_table };

static int serve_orders(const SpawnServerOptions *options) {
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
                r = program_end_on_signals(event);
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
        int r;

        if (standard_streams_open() < 0)
                return EXIT_FAILURE;
        log_setup();
        r = program_parse(&program, argc, argv, &options);
        if (r <= 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        program_block_signals(0);
        return serve_orders(&options) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
