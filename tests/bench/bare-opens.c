/* bare-opens.c: the least cost of following opens of VFIO device nodes, for the benchmark to
 * measure vfwardend against.
 *
 * bare-opens opener|everybody
 *
 * Listens by fanotify as the daemon does, and answers each open with a look at the links in
 * /proc/PID/fd, of who opened or of every process there is, and then a signal, and each close with
 * a signal alone. It knows no function and remembers nobody.
 *
 * bare-opens walk
 *
 * Looks at the links of every process once, and prints what that took of the processor, in ns. */
#include "daemon/base/util.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>

#define DIRECTORY "/dev/vfio"

typedef struct Bare {
        bool everybody;
        int fanotify;
        sd_bus *bus;
} Bare;

/* Whether process `pid` has anything of VFIO open. */
static bool holds(const char *pid) {
        char path[64], target[PATH_MAX];
        _cleanup_(closedirp) DIR *dir = NULL;
        bool found = false;

        snprintf(path, sizeof(path), "/proc/%s/fd", pid);
        dir = opendir(path);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
                ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

                target[n > 0 ? n : 0] = '\0';
                found |= g_str_has_prefix(target, DIRECTORY "/");
        }
        return found;
}

static bool anybody_holds(void) {
        _cleanup_(closedirp) DIR *proc = opendir("/proc");
        bool found = false;

        for (struct dirent *entry; proc && (entry = readdir(proc));)
                if (g_ascii_isdigit(entry->d_name[0]))
                        found |= holds(entry->d_name);
        return found;
}

/* So that no compiler leaves a look out. */
static unsigned n_missed;

static int say(const Bare *bare, bool in_use) {
        return sd_bus_emit_signal(bare->bus, "/bare", "org.freedesktop.DBus.Properties",
                                  "PropertiesChanged", "sa{sv}as", "org.vfwarden1.Function", 1,
                                  "InUse", "b", (int) in_use, 0);
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const Bare *bare = userdata;
        union {
                struct fanotify_event_metadata event;
                char bytes[16 * 1024];
        } buffer;
        ssize_t n = read(fd, &buffer, sizeof(buffer));
        int r = 0;

        for (const struct fanotify_event_metadata *event = &buffer.event;
             FAN_EVENT_OK(event, n) && r >= 0; event = FAN_EVENT_NEXT(event, n)) {
                char pid[16];

                snprintf(pid, sizeof(pid), "%d", event->pid);
                if (event->mask & FAN_OPEN) {
                        if (bare->everybody ? !anybody_holds() : !holds(pid))
                                n_missed++; /* reported before the opener has its descriptor */
                        r = say(bare, true);
                }
                if (r >= 0 && (event->mask & FAN_CLOSE)) /* may be reported along */
                        r = say(bare, false);
        }
        return r;
}

static int print_cost_of_walk(void) {
        struct timespec t;

        n_missed += !anybody_holds();
        if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) < 0)
                return EXIT_FAILURE;
        printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        Bare bare = { 0 };
        int r;

        if (argc == 2 && strcmp(argv[1], "walk") == 0)
                return print_cost_of_walk();
        bare.everybody = argc == 2 && strcmp(argv[1], "everybody") == 0;
        bare.fanotify = fanotify_init(
                FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_CLOEXEC | FAN_NONBLOCK, 0);
        if (bare.fanotify < 0 ||
            fanotify_mark(bare.fanotify, FAN_MARK_ADD, FAN_OPEN | FAN_CLOSE | FAN_EVENT_ON_CHILD,
                          AT_FDCWD, DIRECTORY) < 0 ||
            sd_event_default(&event) < 0 || sd_bus_open_system(&bus) < 0) {
                fprintf(stderr, "bare-opens: no fanotify, no loop or no bus\n");
                return EXIT_FAILURE;
        }
        bare.bus = bus;
        r = sd_event_add_io(event, NULL, bare.fanotify, EPOLLIN, on_readable, &bare);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0) {
                sd_notify(false, "READY=1");
                r = sd_event_loop(event);
        }
        close(bare.fanotify);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
