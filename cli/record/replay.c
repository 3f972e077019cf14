/* replay: runs a command with a recording in the daemon's place. */
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/record/recording.h"
#include "cli/record/stage.h"
#include "cli/record/tar.h"
#include "cli/verbs.h"
#include "cli/verbs/child.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A bus that nobody else knows: its socket is in a directory of mode 0700. */
#define BUS_CONFIGURATION                                                                     \
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" " \
        "\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"                  \
        "<busconfig>\n"                                                                       \
        "  <listen>unix:path=%s/bus</listen>\n"                                               \
        "  <auth>EXTERNAL</auth>\n"                                                           \
        "  <policy context=\"default\">\n"                                                    \
        "    <allow user=\"*\"/>\n"                                                           \
        "    <allow own=\"*\"/>\n"                                                            \
        "    <allow send_destination=\"*\"/>\n"                                               \
        "    <allow send_type=\"signal\"/>\n"                                                 \
        "    <allow receive_sender=\"*\"/>\n"                                                 \
        "  </policy>\n"                                                                       \
        "</busconfig>\n"

typedef struct Replay {
        Stage stage;
        char *directory;
        pid_t bus, server; /* 0: not started */
} Replay;

/* --- the recording */

static int read_file(const char *path, GBytes **ret) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        g_autofree guint8 *data = NULL;
        gsize length = 0;
        ssize_t n = 0;
        struct stat st;
        int r = 0;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (guint64) st.st_size > TAR_BYTES_MAX)
                r = -EFBIG;
        if (r == 0) {
                data = g_malloc((gsize) st.st_size);
                while (length < (gsize) st.st_size &&
                       (n = read(fd, data + length, (gsize) st.st_size - length)) > 0)
                        length += (gsize) n;
                if (n < 0)
                        r = -errno;
        }
        (void) close(fd);
        if (r == 0)
                *ret = g_bytes_new_take(g_steal_pointer(&data), length);
        return r;
}

static ExitCode load_recording(Replay *replay, const char *path) {
        g_autoptr(GBytes) bytes = NULL;
        g_autoptr(GHashTable) members = NULL;
        g_autofree char *wrong = NULL;
        int r = read_file(path, &bytes);

        if (r == -EFBIG) {
                print_error("'%s' is no recording: it is no file of at most 64 MiB", path);
                return EXIT_CODE_FAILED;
        }
        if (r < 0) {
                print_error("Cannot read '%s': %s", path, g_strerror(-r));
                return EXIT_CODE_FAILED;
        }
        if (tar_read(bytes, recording_accepts, &members, &wrong) < 0) {
                print_error("'%s' is no recording: %s", path, wrong);
                return EXIT_CODE_FAILED;
        }
        if (stage_init(&replay->stage, members, &wrong) < 0) {
                print_error(wrong ? "'%s' is no recording: %s is missing or damaged"
                                  : "'%s' is a recording of another version of vfwarden",
                            path, wrong);
                return EXIT_CODE_FAILED;
        }
        return EXIT_CODE_DONE;
}

/* --- the processes */

/* In a child: it ends with its parent. */
static void follow(pid_t parent) {
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(1);
}

/* In a child: what the bus logs is about nothing that the recording's reader does. */
static void be_silent(void) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        if (null >= 0)
                (void) dup2(null, STDERR_FILENO);
}

/* Waits until the child `pid` writes into the pipe. Returns 0, or -EIO: it has ended before, or was
 * not started. */
static int wait_ready(pid_t pid, const int ready[2]) {
        char byte;
        ssize_t n;

        (void) close(ready[1]);
        do
                n = read(ready[0], &byte, 1);
        while (n < 0 && errno == EINTR);
        (void) close(ready[0]);
        return pid > 0 && n == 1 ? 0 : -EIO;
}

/* Starts the bus, and waits until it listens: it says its address then. */
static int start_bus(Replay *replay) {
        g_autofree char *configuration = g_strdup_printf(BUS_CONFIGURATION, replay->directory);
        g_autofree char *path = g_build_filename(replay->directory, "bus.conf", NULL);
        g_autofree char *option = g_strconcat("--config-file=", path, NULL);
        pid_t parent = getpid();
        int ready[2];

        if (!g_file_set_contents(path, configuration, -1, NULL) || pipe2(ready, O_CLOEXEC) < 0)
                return -EIO;
        replay->bus = fork();
        if (replay->bus == 0) {
                follow(parent);
                (void) dup2(ready[1], STDOUT_FILENO);
                be_silent();
                /* The service manager of who replays has nothing to hear of this bus, and it waits
                 * while nobody reads what it says there. */
                (void) unsetenv("NOTIFY_SOCKET");
                (void) execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile",
                              "--nosyslog", "--print-address=1", NULL);
                _exit(127);
        }
        return wait_ready(replay->bus, ready);
}

/* In a child, which never returns. */
static _Noreturn void serve(const Replay *replay, const char *address, int ready) {
        g_autoptr(sd_bus) bus = NULL;
        int r = sd_bus_new(&bus);

        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = stage_open(&replay->stage, bus);
        if (r >= 0 && write(ready, "", 1) == 1)
                r = stage_serve(bus);
        _exit(r < 0);
}

static int start_server(Replay *replay, const char *address) {
        pid_t parent = getpid();
        int ready[2];

        if (pipe2(ready, O_CLOEXEC) < 0)
                return -errno;
        replay->server = fork();
        if (replay->server == 0) {
                follow(parent);
                (void) close(ready[0]);
                serve(replay, address, ready[1]);
        }
        return wait_ready(replay->server, ready);
}

static void end_process(pid_t pid) {
        if (pid <= 0)
                return;
        (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}

static void replay_clear(Replay *replay) {
        static const char *const files[] = { "bus", "bus.conf" };

        end_process(replay->server);
        end_process(replay->bus);
        for (size_t i = 0; replay->directory && i < G_N_ELEMENTS(files); i++) {
                g_autofree char *path = g_build_filename(replay->directory, files[i], NULL);

                (void) unlink(path);
        }
        if (replay->directory)
                (void) rmdir(replay->directory);
        g_free(replay->directory);
        stage_done(&replay->stage);
}

static ExitCode start_stage(Replay *replay) {
        g_autofree char *address = NULL;
        int r;

        replay->directory = g_dir_make_tmp("vfwarden-replay-XXXXXX", NULL);
        if (!replay->directory) {
                print_error("Cannot make a directory for the bus");
                return EXIT_CODE_FAILED;
        }
        r = start_bus(replay);
        if (r < 0) {
                print_error("Cannot start dbus-daemon, which the recording needs");
                return EXIT_CODE_FAILED;
        }
        address = g_strdup_printf("unix:path=%s/bus", replay->directory);
        r = start_server(replay, address);
        if (r < 0) {
                print_error("Cannot serve the recording");
                return EXIT_CODE_FAILED;
        }
        (void) setenv("DBUS_SYSTEM_BUS_ADDRESS", address, true);
        return EXIT_CODE_DONE;
}

static ExitCode run_replay(Context *context, char **arguments) {
        _cleanup_(replay_clear) Replay replay = { 0 };
        ExitCode code;

        if (!arguments[0] || !arguments[1] || !context->separated) {
                print_error("replay needs a file, -- and a command: vfwarden replay FILE -- "
                            "COMMAND...");
                return EXIT_CODE_USAGE;
        }
        code = load_recording(&replay, arguments[0]);
        if (code == EXIT_CODE_DONE)
                code = start_stage(&replay);
        return code == EXIT_CODE_DONE ? child_run(context, arguments + 1) : code;
}

const Verb verb_replay = {
        .name = "replay",
        .arguments = "FILE -- COMMAND...",
        .max = INT_MAX,
        .run = run_replay,
        .help = "Run a command with a recording in the daemon's place",
};
