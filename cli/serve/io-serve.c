#include "cli/serve/io-serve.h"

#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/output/report.h"
#include "cli/serve/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define IO_INTERFACE "org.vfwarden1.ZpciIo"

typedef struct ServeOptions {
        int listener;    /* where the client connects */
        bool dma;        /* the device may access its memory */
        uint64_t memory; /* bytes that it maps at most; 0: what the daemon gives */
        ReleaseOptions release;
} ServeOptions;

/* A socket that listens at `path`, for this user alone. Returns it or a negative errno. */
static int listen_at(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        mode_t before;
        int fd, r;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        before = umask(0077);
        r = bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
        (void) umask(before);
        if (r >= 0 && listen(fd, 1) < 0) {
                r = -errno;
                (void) unlink(path);
        }
        if (r >= 0)
                return fd;
        (void) close(fd);
        return r;
}

/* Nothing is said that was not asked for: an older daemon knows no such option. */
static int append_session_options(sd_bus_message *message, const ServeOptions *options) {
        int r = sd_bus_message_open_container(message, 'a', "{sv}");

        if (r >= 0)
                r = sd_bus_message_append(message, "{sv}", "listener", "h", options->listener);
        if (r >= 0 && options->dma)
                r = sd_bus_message_append(message, "{sv}", "dma", "b", 1);
        if (r >= 0 && options->memory > 0)
                r = sd_bus_message_append(message, "{sv}", "max-mapped-memory", "t",
                                          options->memory);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int call_open_session(Context *context, const char *path, const ServeOptions *options,
                             sd_bus_error *error, sd_bus_message **ret) {
        const unsigned flags = CALL_INTERACTIVE | CALL_OPERATION;
        g_autoptr(sd_bus_message) message = NULL;
        int r;

        r = client_new_call(context, path, IO_INTERFACE, "OpenSession", flags, &message);
        if (r >= 0)
                r = append_session_options(message, options);
        if (r >= 0)
                r = sd_bus_call(context->bus, message, client_timeout(flags), error, ret);
        return r;
}

/* Opens a session whose client connects to `listener`. The descriptor that is returned is open as
 * long as the session is; to close it ends one to which nobody has connected. */
static int serve_open(Context *context, const char *path, const ServeOptions *options,
                      sd_bus_error *error) {
        g_autoptr(sd_bus_message) reply = NULL;
        int fd, r;

        r = call_open_session(context, path, options, error, &reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "h", &fd);
        if (r < 0)
                return r;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        return fd < 0 ? -errno : fd;
}

static ExitCode serve_fail(Context *context, int r, const sd_bus_error *error,
                           const char *address) {
        return client_fail(context, r, error, "Cannot open an I/O session with %s", address);
}

static ExitCode serve(Context *context, const char *address, ServeOptions *options,
                      char **command) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *path = NULL;
        _cleanup_(serving_done) Serving serving = { 0 };
        ExitCode code;
        int session, r;

        r = client_get_function(context, address, &error, &path);
        if (r >= 0)
                r = serving_begin(&serving, context, path, address, &options->release);
        if (r >= 0)
                r = session = serve_open(context, path, options, &error);
        (void) close(options->listener);
        if (r < 0)
                return serve_fail(context, r, &error, address);
        if (!command[0]) {
                output_text(&context->output, STYLE_BOLD, address);
                output_format(&context->output, ": a client can connect to %s\n", context->socket);
                (void) output_flush(&context->output);
        }
        code = serving_wait(&serving, session, command);
        (void) close(session);
        return code;
}

/* So that no number of bytes overflows; the daemon allows less. */
#define MEMORY_MAX_MIB (UINT64_C(1) << 40)

static bool read_memory(const char *text, uint64_t *ret) {
        uint64_t mib = 0;

        if (text && !argument_read_number("The memory", text, &mib))
                return false;
        if (text && (mib == 0 || mib > MEMORY_MAX_MIB)) {
                print_error("The memory is given in MiB, and not 0");
                return false;
        }
        *ret = mib << 20;
        return true;
}

/* One way to have the function released, or none. */
static bool read_release(const Context *context, ReleaseOptions *ret) {
        *ret = (ReleaseOptions){
                .command = context->on_unplug,
                .qmp = context->qmp,
                .device = context->device_id,
        };
        if (!ret->qmp != !ret->device) {
                print_error("--qmp and --device-id belong together");
                return false;
        }
        if (ret->qmp && ret->command) {
                print_error("--on-unplug and --qmp exclude each other");
                return false;
        }
        return true;
}

ExitCode io_serve(Context *context, char **arguments) {
        ServeOptions options = { .dma = context->dma };
        g_autofree char *address = NULL;
        ExitCode code;

        if (!arguments[0] || !context->socket || (arguments[1] && !context->separated)) {
                print_error("io serve needs an address and a path: vfwarden io serve ADDRESS "
                            "--socket=PATH [-- COMMAND...]");
                return EXIT_CODE_USAGE;
        }
        if (!read_memory(context->memory, &options.memory) ||
            !read_release(context, &options.release))
                return EXIT_CODE_USAGE;
        code = subject_find(context, arguments[0], &address);
        if (code != EXIT_CODE_DONE)
                return code;
        options.listener = listen_at(context->socket);
        if (options.listener < 0) {
                print_error("Cannot listen at %s: %s", context->socket,
                            g_strerror(-options.listener));
                if (options.listener == -EADDRINUSE)
                        print_hint("If no other program listens there any more, remove it: rm %s",
                                   context->socket);
                return EXIT_CODE_FAILED;
        }
        code = serve(context, address, &options, arguments + 1);
        (void) unlink(context->socket);
        return code;
}
