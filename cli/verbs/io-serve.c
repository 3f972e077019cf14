#include "cli/verbs/io-serve.h"

#include "cli/agent.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/verbs/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define IO_INTERFACE "org.vfwarden1.ZpciIo"

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

/* A daemon without DMA knows no such option, and is not to be asked for what it would do anyway. */
static int call_open_session(Context *context, const char *path, int listener, sd_bus_error *error,
                             sd_bus_message **ret) {
        const unsigned flags = CALL_INTERACTIVE | CALL_OPERATION;

        if (context->dma)
                return client_call(context, path, IO_INTERFACE, "OpenSession", flags, error, ret,
                                   "a{sv}", 2, "listener", "h", listener, "dma", "b", 1);
        return client_call(context, path, IO_INTERFACE, "OpenSession", flags, error, ret, "a{sv}",
                           1, "listener", "h", listener);
}

/* Opens a session whose client connects to `listener`. The descriptor that is returned is open as
 * long as the session is; to close it ends one to which nobody has connected. */
static int serve_open(Context *context, const char *address, int listener, sd_bus_error *error) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autofree char *path = NULL;
        int fd, r;

        r = client_get_function(context, address, error, &path);
        if (r >= 0)
                r = call_open_session(context, path, listener, error, &reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "h", &fd);
        if (r < 0)
                return r;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        return fd < 0 ? -errno : fd;
}

/* Until the session has ended, or a signal ends this process in good order. */
static ExitCode wait_for_end(int session) {
        struct pollfd fds[2] = { { session, POLLIN, 0 }, { -1, POLLIN, 0 } };
        sigset_t signals;

        (void) sigemptyset(&signals);
        for (size_t i = 0; i < 3; i++)
                (void) sigaddset(&signals, (const int[]){ SIGINT, SIGTERM, SIGHUP }[i]);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) >= 0)
                fds[1].fd = signalfd(-1, &signals, SFD_CLOEXEC);
        if (fds[1].fd < 0) {
                print_error("Cannot wait for signals: %s", g_strerror(errno));
                return EXIT_CODE_FAILED;
        }
        while (poll(fds, 2, -1) < 0 && errno == EINTR)
                ;
        (void) close(fds[1].fd);
        return EXIT_CODE_DONE;
}

static ExitCode serve(Context *context, const char *address, int session, char **command) {
        /* The session may last for weeks; it is the descriptor that counts. */
        agent_end(&context->agent);
        context->bus = sd_bus_flush_close_unref(context->bus);
        if (command[0])
                return child_run(context, command);
        output_text(&context->output, STYLE_BOLD, address);
        output_format(&context->output, ": a client can connect to %s\n", context->socket);
        (void) output_flush(&context->output);
        return wait_for_end(session);
}

ExitCode io_serve(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *address = NULL;
        int listener, session;
        ExitCode code;

        if (!arguments[0] || !context->socket || (arguments[1] && !context->separated)) {
                print_error("io serve needs an address and a path: vfwarden io serve ADDRESS "
                            "--socket=PATH [-- COMMAND...]");
                return EXIT_CODE_USAGE;
        }
        code = subject_find(context, arguments[0], &address);
        if (code != EXIT_CODE_DONE)
                return code;
        listener = listen_at(context->socket);
        if (listener < 0) {
                print_error("Cannot listen at %s: %s", context->socket, g_strerror(-listener));
                return EXIT_CODE_FAILED;
        }
        session = serve_open(context, address, listener, &error);
        (void) close(listener);
        if (session < 0)
                code = client_fail(context, session, &error, "Cannot open an I/O session with %s",
                                   address);
        else {
                code = serve(context, address, session, arguments + 1);
                (void) close(session);
        }
        (void) unlink(context->socket);
        return code;
}
