#include "daemon/base/config.h"
#include "daemon/base/log.h"
#include "daemon/base/notify.h"
#include "daemon/base/turn-meter.h"
#include "daemon/base/util.h"
#include "daemon/manager/manager.h"
#include "daemon/program.h"
#include "dbus/bus.h"
#include "dbus/service-manager.h"
#include "lib/standard-streams.h"
#include "policy/number.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Room for some thousand events: a kernel event takes about 1 KiB with its bookkeeping. */
#define RECEIVE_BUFFER_DEFAULT (8 * 1024 * 1024)
#define RECEIVE_BUFFER_MAX     (256 * 1024 * 1024)

static const char help[] =
        "vfwardend [OPTION...]\n"
        "\n"
        "Protects PCI devices while virtual machines use them.\n"
        "\n"
        "  -h, --help                 Show this help\n"
        "      --version              Show the version\n"
        "      --check-config         Read the configuration, say what is wrong, and end\n"
        "      --config-dir=DIR       Configuration, instead of " VFWARDEN_CONFIG_DIR "\n"
        "      --state-dir=DIR        Run-time state, instead of /run/vfwarden\n"
        "      --guard-dir=DIR        What vfwarden-guard loaded, instead of /run/vfwarden-guard\n"
        "      --io-program=FILE      Carries I/O, instead of " VFWARDEN_IO_PROGRAM "\n"
        "      --io-user=USER         The user that it runs as, instead of vfwarden\n"
        "      --log-level=LEVEL      err, warning, notice, info (default), debug, ...\n"
        "      --log-target=TARGET    journal, console, null\n"
        "      --receive-buffer=BYTES Buffer for events of the kernel, 0: the system's own\n";

/* What the command line sets. */
typedef struct Arguments {
        ManagerOptions manager;
        bool check_config;
} Arguments;

static int take_log_level(void *context, const char *value) {
        int r = log_level_from_string(value);

        if (r < 0)
                log_error("--log-level: '%s' is no level", value);
        else
                log_set_level(r);
        return r;
}

static int take_log_target(void *context, const char *value) {
        int r = log_target_from_string(value);

        if (r < 0)
                log_error("--log-target: '%s' is no target", value);
        else
                log_set_target(r);
        return r;
}

static int take_receive_buffer(void *context, const char *value) {
        Arguments *arguments = context;
        uint64_t number;
        int r = number_parse(value, 10, RECEIVE_BUFFER_MAX, &number);

        if (r < 0)
                log_error("--receive-buffer: '%s' is no number of at most %d", value,
                          RECEIVE_BUFFER_MAX);
        else
                arguments->manager.receive_buffer = (int) number;
        return r;
}

static const ProgramOption options_table[] = {
        { "check-config", false, NULL, offsetof(Arguments, check_config) },
        { "config-dir", true, NULL, offsetof(Arguments, manager.config_directory) },
        { "state-dir", true, NULL, offsetof(Arguments, manager.state_directory) },
        { "guard-dir", true, NULL, offsetof(Arguments, manager.guard_directory) },
        { "io-program", true, NULL, offsetof(Arguments, manager.io_program) },
        { "io-user", true, NULL, offsetof(Arguments, manager.io_user) },
        { "log-level", true, take_log_level, 0 },
        { "log-target", true, take_log_target, 0 },
        { "receive-buffer", true, take_receive_buffer, 0 },
        { NULL, false, NULL, 0 },
};

static const Program program = { "vfwardend", help, options_table };

typedef struct ReloadContext {
        Manager *manager;
        Notify *notify;
        unsigned n_pending; /* reloads */
} ReloadContext;

/* systemd counts a reload as done at READY=1, whichever signal asked for it. */
static void on_reloaded(void *userdata, int result, const char *message) {
        ReloadContext *context = userdata;

        if (--context->n_pending == 0 && result != -ECANCELED)
                (void) notify_send(context->notify, "READY=1");
}

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                            void *userdata) {
        ReloadContext *context = userdata;
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        (void) notify_send(context->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRIi64,
                           (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000);
        context->n_pending++;
        manager_reload(context->manager, on_reloaded, context);
        return 0;
}

/* Reads what the daemon would read, the same way. */
static int check_config(const char *directory) {
        g_autoptr(Config) config = NULL;
        g_autofree char *error = NULL;
        int r;

        r = config_load(directory, &config, &error);
        if (r < 0)
                fprintf(stderr, "%s\n", error);
        else
                printf("%s: the configuration is valid\n", directory);
        return r;
}

/* Before sd-bus closes the connection, which it does when the loop ends, too. */
static int on_exit_loop(sd_event_source *source, void *userdata) {
        int code = 0;

        manager_end_calls(userdata);
        /* With another code systemd starts the daemon again by itself. */
        if (sd_event_get_exit_code(sd_event_source_get_event(source), &code) >= 0 && code == 0)
                manager_end_release(userdata);
        return 0;
}

static int add_exit(sd_event *event, Manager *manager) {
        sd_event_source *source;
        int r;

        r = sd_event_add_exit(event, &source, on_exit_loop, manager);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(source, "exit");
        r = sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = sd_event_source_set_floating(source, true);
        sd_event_source_unref(source);
        return r;
}

static int add_signals(sd_event *event, ReloadContext *context) {
        int r;

        r = program_end_on_signals(event);
        if (r >= 0)
                r = program_on_signal(event, SIGHUP, "signal: SIGHUP", on_reload_signal, context);
        return r;
}

static int run(const ManagerOptions *given) {
        ManagerOptions options = *given;
        _cleanup_(turn_meter_done) TurnMeter turns = { 0 }; /* after all that closes descriptors */
        g_autoptr(Notify) notify = NULL;
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        g_autoptr(Manager) manager = NULL;
        g_autoptr(Bus) bus = NULL;
        ReloadContext reload;
        ServiceFacts facts;
        int r;

        options.turns = &turns;
        r = notify_new(&notify);
        if (r < 0) {
                log_error("Failed to connect to systemd: %s", g_strerror(-r));
                return r;
        }
        options.notify = notify;
        r = sd_event_default(&event);
        if (r < 0) {
                log_error("there is no event loop: %s", g_strerror(-r));
                return r;
        }
        r = bus_new(&bus);
        if (r < 0)
                return r;
        facts = service_manager_ask(bus);
        options.fd_store_max = facts.fd_store_max;
        options.started = facts.started;
        r = manager_new(event, &options, &manager);
        if (r < 0)
                return r;
        reload = (ReloadContext){ .manager = manager, .notify = notify };
        r = add_exit(event, manager);
        if (r >= 0)
                r = add_signals(event, &reload);
        if (r < 0) {
                log_error("signals cannot be handled: %s", g_strerror(-r));
                return r;
        }
        r = bus_serve(bus, event, manager);
        if (r < 0)
                return r;
        r = notify_start_watchdog(notify, event);
        if (r < 0) {
                log_error("Failed to set up the watchdog: %s", g_strerror(-r));
                return r;
        }
        (void) notify_send(notify, "READY=1");
        r = turn_meter_loop(&turns, event);
        (void) notify_send(notify, "STOPPING=1");
        return r;
}

int main(int argc, char **argv) {
        const char *proc = getenv("VFWARDEN_PROC");
        Arguments arguments = {
                .manager = {
                        .config_directory = VFWARDEN_CONFIG_DIR,
                        .state_directory = "/run/vfwarden",
                        .guard_directory = "/run/vfwarden-guard",
                        .receive_buffer = RECEIVE_BUFFER_DEFAULT,
                        .proc = proc ? proc : "/proc",
                        .io_program = VFWARDEN_IO_PROGRAM,
                        .io_user = "vfwarden",
                        .spawn_socket = getenv("VFWARDEN_SPAWN_SOCKET"),
                },
        };
        int r;

        if (standard_streams_open() < 0)
                return EXIT_FAILURE;
        log_setup();
        r = program_parse(&program, argc, argv, &arguments);
        if (r <= 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (arguments.check_config)
                return check_config(arguments.manager.config_directory) < 0 ? EXIT_FAILURE
                                                                            : EXIT_SUCCESS;

        program_block_signals(SIGHUP);
        /* Positive when the bus was lost: systemd is to start the daemon again then. */
        return run(&arguments.manager) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
