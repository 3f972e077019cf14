/* Runs a command that gets a function opened through VFIO, without being allowed to open it. */
#include "cli/agent.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/exit-code.h"
#include "cli/function/subject.h"
#include "cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As of socket activation: sd_listen_fds(3). */
#define FIRST_FD 3

typedef struct Opened {
        char *kind, *token; /* `token` NULL: none is needed */
        int node, iommufd;  /* -1: none */
} Opened;

static void opened_clear(Opened *opened) {
        g_free(opened->kind);
        g_free(opened->token);
        if (opened->node >= 0)
                (void) close(opened->node);
        if (opened->iommufd >= 0)
                (void) close(opened->iommufd);
}

/* Out of the way of where they will be. Returns a descriptor or a negative errno. */
static int keep(int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD + 2);

        return copy < 0 ? -errno : copy;
}

static int read_fact(sd_bus_message *reply, Opened *opened) {
        const char *name, *text;
        int fd, r;

        r = sd_bus_message_read(reply, "s", &name);
        if (r < 0)
                return r;
        if (g_str_equal(name, "iommufd")) {
                r = sd_bus_message_read(reply, "v", "h", &fd);
                if (r >= 0)
                        r = opened->iommufd = keep(fd);
                return r;
        }
        if (!g_str_equal(name, "kind") && !g_str_equal(name, "vf-token"))
                return sd_bus_message_skip(reply, "v");
        r = sd_bus_message_read(reply, "v", "s", &text);
        if (r >= 0 && g_str_equal(name, "kind"))
                opened->kind = g_strdup(text);
        else if (r >= 0)
                opened->token = g_strdup(text);
        return r;
}

static int opened_read(sd_bus_message *reply, Opened *opened) {
        int fd, r;

        r = sd_bus_message_read(reply, "h", &fd);
        if (r >= 0)
                r = opened->node = keep(fd);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                r = read_fact(reply, opened);
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        return r >= 0 && !opened->kind ? -EBADMSG : r;
}

static int open_take(Context *context, const char *address, sd_bus_error *error, Opened *opened) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autofree char *path = NULL;
        int r;

        r = client_get_function(context, address, error, &path);
        if (r >= 0)
                r = client_call(context, path, "org.vfwarden1.Function", "Open",
                                CALL_INTERACTIVE | CALL_OPERATION, error, &reply, "a{sv}", 0);
        return r < 0 ? r : opened_read(reply, opened);
}

static void set_environment(const Opened *opened, const char *address) {
        g_autofree char *pid = g_strdup_printf("%d", getpid());
        bool two = opened->iommufd >= 0;

        (void) setenv("LISTEN_PID", pid, true);
        (void) setenv("LISTEN_FDS", two ? "2" : "1", true);
        (void) setenv("LISTEN_FDNAMES", two ? "vfio:iommufd" : "vfio", true);
        (void) setenv("VFWARDEN_ADDRESS", address, true);
        (void) setenv("VFWARDEN_KIND", opened->kind, true);
        if (opened->token)
                (void) setenv("VFWARDEN_VF_TOKEN", opened->token, true);
        else
                (void) unsetenv("VFWARDEN_VF_TOKEN");
}

/* Returns only if the command cannot be executed. */
static ExitCode open_execute(const Context *context, const Opened *opened, const char *address,
                             char **command) {
        int error;

        set_environment(opened, address);
        if (dup2(opened->node, FIRST_FD) < 0 ||
            (opened->iommufd >= 0 && dup2(opened->iommufd, FIRST_FD + 1) < 0)) {
                print_error("Cannot pass the descriptor on: %s", g_strerror(errno));
                return EXIT_CODE_FAILED;
        }
        (void) signal(SIGPIPE, context->sigpipe_ignored ? SIG_IGN : SIG_DFL);
        (void) execvp(command[0], command);
        error = errno;
        print_error("Cannot run '%s': %s", command[0], g_strerror(error));
        return (ExitCode) (error == ENOENT ? 127 : 126);
}

static ExitCode run_open(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(opened_clear) Opened opened = { .node = -1, .iommufd = -1 };
        g_autofree char *address = NULL;
        ExitCode code;
        int r;

        if (!arguments[0] || !arguments[1] || !context->separated) {
                print_error("open needs an address, -- and a command: vfwarden open ADDRESS -- "
                            "COMMAND...");
                return EXIT_CODE_USAGE;
        }
        if (context->host) {
                print_error("A descriptor cannot come from another host");
                return EXIT_CODE_USAGE;
        }
        code = subject_find(context, arguments[0], &address);
        if (code != EXIT_CODE_DONE)
                return code;
        r = open_take(context, address, &error, &opened);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot open %s", address);
        agent_end(&context->agent);
        context->bus = sd_bus_flush_close_unref(context->bus);
        return open_execute(context, &opened, address, arguments + 1);
}

const Verb verb_open = {
        .name = "open",
        .arguments = "ADDRESS -- COMMAND...",
        .max = INT_MAX,
        .run = run_open,
        .help = "Run COMMAND with it opened through VFIO",
};
