/* vfwarden-libvirt: has guests of libvirt release the functions that vfwardend takes away. See
 * vfwarden-libvirt(8). */
#include "agent/log.h"
#include "agent/releases.h"
#include "lib/standard-streams.h"

#include <getopt.h>
#include <glib.h>
#include <signal.h>
#include <string.h>

#define URI_DEFAULT "qemu:///system"

static const char help[] =
        "vfwarden-libvirt [OPTION...]\n"
        "\n"
        "Asks libvirt's guests to release PCI functions when vfwardend requests it.\n"
        "\n"
        "  --connect=URI   libvirt's daemon (" URI_DEFAULT ")\n"
        "  --help\n"
        "  --version\n";

static void on_unplug_requested(void *context, PciAddress function, uint64_t deadline_usec,
                                bool missed) {
        releases_request(context, function, deadline_usec, missed);
}

static void on_unplug_ended(void *context) {
        releases_look(context);
}

static void on_not_requested(void *context, PciAddress function) {
        releases_end(context, function);
}

static void on_restarted(void *context) {
        releases_end_all(context);
}

static const WardenHandler warden_handler = {
        .requested = on_unplug_requested,
        .ended = on_unplug_ended,
        .not_requested = on_not_requested,
        .restarted = on_restarted,
};

/* Returns the exit code to end with, or -1 with `ret_uri`. */
static int parse_options(int argc, char *argv[], const char **ret_uri) {
        static const struct option options[] = {
                { "connect", required_argument, NULL, 'c' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'V' },
                { NULL, 0, NULL, 0 },
        };
        int letter;

        while ((letter = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (letter) {
                case 'c':
                        *ret_uri = optarg;
                        break;
                case 'h':
                        (void) fputs(help, stdout);
                        return 0;
                case 'V':
                        (void) puts("vfwarden-libvirt " VFWARDEN_VERSION);
                        return 0;
                default:
                        return 2;
                }
        if (optind < argc) {
                log_error("It takes no arguments; see vfwarden-libvirt --help");
                return 2;
        }
        return -1;
}

static int add_signals(sd_event *event) {
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        return r < 0 ? r : sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
}

static int run(const char *uri) {
        sd_event *event = NULL;
        Releases *releases = NULL;
        Hypervisor *hypervisor = NULL;
        Warden *warden = NULL;
        int r;

        r = sd_event_default(&event);
        if (r >= 0)
                r = add_signals(event);
        if (r >= 0) {
                (void) sd_event_set_watchdog(event, true);
                releases = releases_new();
                r = warden_new(event, &warden_handler, releases, &warden);
        }
        if (r >= 0)
                r = hypervisor_new(event, uri, &releases_hypervisor_handler, releases, &hypervisor);
        if (r >= 0) {
                releases_set(releases, warden, hypervisor);
                (void) sd_notify(0, "READY=1");
                r = sd_event_loop(event);
        }
        if (r < 0)
                log_error("Failed to run: %s", g_strerror(-r));
        /* Guests that are asked go on; the inhibitors end with the process. */
        releases_free(releases);
        hypervisor_free(hypervisor);
        warden_free(warden);
        sd_event_unref(event);
        return r == 0 ? 0 : 1;
}

int main(int argc, char *argv[]) {
        const char *uri = URI_DEFAULT;
        int code;

        if (standard_streams_open() < 0)
                return 1;
        code = parse_options(argc, argv, &uri);
        return code >= 0 ? code : run(uri);
}
