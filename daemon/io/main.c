/* vfwarden-io: PCI loads and stores for one client on one function. Started by vfwardend; see
 * vfwarden-io(7). */
#include "daemon/io/control-thread.h"
#include "daemon/io/listener.h"
#include "daemon/io/sandbox.h"
#include "daemon/io/single-requests.h"
#include "daemon/io/stream.h"
#include "daemon/io/util.h"
#include "lib/standard-streams.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Besides those of the client's memory: 0 to 2, socket, device, control, the client's eventfd and
 * those of its ring, one of these that hangs, those of an emulated device, and those that have just
 * come. */
#define FDS_BESIDES (10U + EMULATED_IRQS_MAX + CLIENT_FDS_MAX)

typedef struct Options {
        int client, listener, device, control, container;
        bool dma;
        uint64_t max_maps, max_memory;
        IoBackendOptions backend;
} Options;

static const char help[] =
        "vfwarden-io --device=FD --control=FD [OPTION...]\n"
        "\n"
        "Serves one PCI function to one client; started by vfwardend, see vfwarden-io(7).\n"
        "\n"
        "  --client=FD           the client's socket; without it requests are taken from --control\n"
        "  --listener=FD         where the client connects; closing --client before ends the session\n"
        "  --device=FD           the VFIO device, or the memfd of an emulated one\n"
        "  --dma                 the device may access the client's memory\n"
        "  --container=FD        for that, the type 1 container of the device\n"
        "  --control=FD          the daemon's socket\n"
        "  --driver=NAME         that the function is bound to\n"
        "  --emulated=SIZE,...   an emulated device with BARs of these sizes, six at most\n"
        "  --relaxed             it takes blocks of any length and alignment\n"
        "  --max-store-block=N   bytes, at most\n"
        "  --max-maps=N          of the client's memory, at one time (default and most: 512)\n"
        "  --max-memory=BYTES    of all maps together\n";

static int parse_fd(const char *text, int *ret) {
        uint64_t value;
        int r = number_parse(text, 10, INT_MAX, &value);

        if (r >= 0)
                *ret = (int) value;
        return r;
}

static int parse_bars(const char *text, uint64_t *bars) {
        char word[24];
        unsigned n = 0;

        for (;; text++) {
                size_t length = strcspn(text, ",");

                if (n == ZPCI_N_BARS || length >= sizeof(word))
                        return -EINVAL;
                memcpy(word, text, length);
                word[length] = '\0';
                if (number_parse(word, 10, UINT32_MAX, &bars[n++]) < 0)
                        return -EINVAL;
                text += length;
                if (*text == '\0')
                        return 0;
        }
}

static int parse_option(int option, const char *value, Options *ret) {
        uint64_t number;
        int r;

        switch (option) {
        case 'c':
                return parse_fd(value, &ret->client);
        case 'l':
                return parse_fd(value, &ret->listener);
        case 'd':
                return parse_fd(value, &ret->device);
        case 'o':
                return parse_fd(value, &ret->control);
        case 'D':
                ret->dma = true;
                return 0;
        case 't':
                return parse_fd(value, &ret->container);
        case 'n':
                ret->backend.driver = value;
                return 0;
        case 'e':
                ret->backend.emulated = true;
                return parse_bars(value, ret->backend.bars);
        case 'r':
                ret->backend.relaxed = true;
                return 0;
        case 'b':
                r = number_parse(value, 10, ZPCI_PAGE_SIZE, &number);
                if (r >= 0)
                        ret->backend.max_store_block = (uint16_t) number;
                return r;
        case 'm':
                return number_parse(value, 10, IO_MAPS_MAX, &ret->max_maps);
        case 'M':
                return number_parse(value, 10, UINT64_MAX, &ret->max_memory);
        default:
                return -EINVAL;
        }
}

/* Only a client has memory; only a real device needs a container for it. */
static bool clients_fit(const Options *options) {
        bool needs_container = options->dma && !options->backend.emulated;

        return (options->client >= 0 || (options->listener < 0 && !options->dma)) &&
               (options->container >= 0) == needs_container;
}

static int parse_options(int argc, char **argv, Options *ret) {
        static const struct option options[] = {
                { "client", required_argument, NULL, 'c' },
                { "listener", required_argument, NULL, 'l' },
                { "device", required_argument, NULL, 'd' },
                { "control", required_argument, NULL, 'o' },
                { "dma", no_argument, NULL, 'D' },
                { "container", required_argument, NULL, 't' },
                { "driver", required_argument, NULL, 'n' },
                { "emulated", required_argument, NULL, 'e' },
                { "relaxed", no_argument, NULL, 'r' },
                { "max-store-block", required_argument, NULL, 'b' },
                { "max-maps", required_argument, NULL, 'm' },
                { "max-memory", required_argument, NULL, 'M' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
                { 0 },
        };
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (option == 'h' || option == 'v') {
                        fputs(option == 'h' ? help : VFWARDEN_VERSION "\n", stdout);
                        exit(EXIT_SUCCESS);
                }
                if (parse_option(option, optarg, ret) < 0)
                        return -EINVAL;
        }
        return optind == argc && ret->device >= 0 && ret->control >= 0 && clients_fit(ret)
                       ? 0
                       : -EINVAL;
}

static void __attribute__((noreturn)) finish(const ControlThread *control, int error) {
        session_end(control->session);
        control_report(control->socket, control->session, IO_CLOSED, error);
        _exit(EXIT_SUCCESS);
}

/* That nobody connected is no fault. */
static void on_abandoned(void *context) {
        finish(context, 0);
}

/* The socket of who asked for the session stays open: it is closed by its end. */
static int accept_client(Listener *listener, Stream *stream) {
        int r = listener_accept(listener);

        close(listener->socket);
        if (r >= 0)
                stream->socket = r;
        return r;
}

/* A filter that cannot see what is mapped allows no map, unless DMA needs it anyway. Where a word
 * has 32 bits, the C library makes other system calls than the filter allows for a ring. */
static bool offers_ring(const Options *options) {
        return sizeof(long) == 8 && (sandbox_sees_maps() || options->dma);
}

/* On the only processor the client could not run meanwhile. */
static bool may_spin(void) {
        cpu_set_t set;

        return sched_getaffinity(0, sizeof(set), &set) >= 0 && CPU_COUNT(&set) > 1;
}

static SessionOptions session_options(const Options *options) {
        return (SessionOptions){
                .max_maps = (unsigned) options->max_maps,
                .max_bytes = options->max_memory,
                .dma = !options->dma               ? DMA_NONE
                       : options->backend.emulated ? DMA_EMULATED
                                                   : DMA_TYPE1,
                .container = options->container,
                .ring = offers_ring(options),
                .may_spin = may_spin(),
        };
}

static SandboxNeeds sandbox_needs(const Options *options) {
        return (SandboxNeeds){
                .max_fds = (unsigned) options->max_maps + FDS_BESIDES +
                           (options->listener >= 0 ? 2U : 0U) + (options->container >= 0 ? 1U : 0U),
                .device = options->backend.emulated ? -1 : options->device,
                .container = options->container,
                .maps = options->dma,
                .accepts = options->listener >= 0,
                .ring = offers_ring(options),
        };
}

static int serve(const Options *options, const IoBackend *backend) {
        /* Both are larger than a stack should be asked for. */
        static Session session;
        static Stream stream;
        static ControlThread control;
        static Listener listener;
        const SessionOptions about = session_options(options);
        const SandboxNeeds needs = sandbox_needs(options);
        int r;

        /* Its creator may have wanted it otherwise; here is nothing else to be done but to wait. */
        if (fcntl(options->client, F_SETFL, 0) < 0)
                return -errno;
        session_init(&session, backend, &about);
        stream_init(&stream, options->client);
        control = (ControlThread){ .socket = options->control, .session = &session };
        listener = (Listener){ .socket = options->listener,
                               .asker = options->client,
                               .abandoned = on_abandoned,
                               .context = &control };
        r = control_thread_start(&control);
        if (r >= 0)
                r = notifier_start(&session.notifier);
        if (r >= 0 && about.ring)
                r = notifier_start(&session.ring.replies);
        if (r >= 0)
                r = device_start(&session.device);
        if (r >= 0 && options->listener >= 0)
                r = listener_start(&listener);
        if (r >= 0)
                r = sandbox_close(&needs);
        if (r < 0)
                return r;

        control_report(options->control, &session, IO_READY, 0);
        if (options->listener >= 0)
                r = accept_client(&listener, &stream);
        if (r >= 0)
                r = stream_serve(&stream, &session);
        finish(&control, r);
}

static int run(const Options *options) {
        const int given[] = { options->device, options->control, options->client, options->listener,
                              options->container };
        int fds[ELEMENTS(given)], r;
        IoBackend backend;
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(given); i++)
                if (given[i] >= 0)
                        fds[n++] = given[i];
        r = sandbox_enter(fds, n, options->container >= 0);
        if (r >= 0)
                r = io_backend_open(options->device, &options->backend, &backend);
        if (r < 0)
                return r;
        if (options->client >= 0)
                return serve(options, &backend);
        r = sandbox_close(&(SandboxNeeds){ .max_fds = FDS_BESIDES, .device = -1, .container = -1 });
        if (r < 0)
                return r;
        single_requests_serve(options->control, &backend);
        _exit(EXIT_SUCCESS);
}

int main(int argc, char **argv) {
        Options options = {
                .client = -1,
                .listener = -1,
                .device = -1,
                .control = -1,
                .container = -1,
                .max_maps = IO_MAPS_MAX,
                .max_memory = UINT64_MAX,
                .backend = { .driver = "" },
        };
        int r;

        if (standard_streams_open() < 0)
                return EXIT_FAILURE;
        if (parse_options(argc, argv, &options) < 0) {
                fputs("vfwarden-io: wrong arguments, see --help\n", stderr);
                return EXIT_FAILURE;
        }
        r = run(&options);
        control_report(options.control, NULL, IO_FAILED, r);
        return EXIT_FAILURE;
}
