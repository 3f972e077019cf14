/* uevent-time.c: how long it takes from a uevent to the signal that reports it.
 *
 * uevent-time MONITOR BED DEVPATH COUNT
 *
 * One process listens for uevents; nobody else may send signals on the system bus. MONITOR is
 * umockdev's directory, or "kernel" for the kernel's own broadcast in this network namespace. BED
 * has the tree in `sys`. COUNT times the driver of the function at DEVPATH becomes another one, as
 * the kernel does it, first the link, then `bind`; the time from sending that to the
 * PropertiesChanged that names the new driver is printed, in nanoseconds. One is done before the
 * next begins. */
#include "daemon/base/util.h"
#include "policy/number.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <time.h>

/* More than anything takes: a signal that comes later is taken for lost. */
#define LOST_USEC 5000000ULL

typedef struct Run {
        const char *devpath;
        char link[PATH_MAX],
                fresh[PATH_MAX]; /* the function's `driver`, and the one to replace it */
        int monitor;             /* socket */
        bool kernel;             /* a netlink socket to the kernel, not one to umockdev */
        char driver[32];         /* what is waited for */
        bool seen;
} Run;

static int64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Run *run = userdata;
        const char *property, *driver;

        if (sd_bus_message_skip(message, "s") >= 0 &&
            sd_bus_message_enter_container(message, 'a', "{sv}") >= 0 &&
            sd_bus_message_enter_container(message, 'e', "sv") > 0 &&
            sd_bus_message_read(message, "s", &property) >= 0 && strcmp(property, "Driver") == 0 &&
            sd_bus_message_read(message, "v", "s", &driver) >= 0)
                run->seen = run->seen || strcmp(driver, run->driver) == 0;
        return 0;
}

/* Connects to the kernel, which broadcasts what it is sent there. */
static int open_kernel(void) {
        struct sockaddr_nl address = { .nl_family = AF_NETLINK };
        int fd;

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return fd;
}

/* Connects to the one monitor that umockdev's preload keeps for the process under test. */
static int open_umockdev(const char *bed) {
        g_autofree char *pattern = g_strconcat(bed, "/event[0-9]*", NULL);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        glob_t found;
        int fd;

        if (glob(pattern, 0, NULL, &found) != 0)
                return -ENOENT;
        g_strlcpy(address.sun_path, found.gl_pathv[0], sizeof(address.sun_path));
        globfree(&found);
        fd = socket(AF_UNIX, SOCK_RAW | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return fd;
}

static int send_bind(const Run *run, int number) {
        struct {
                struct nlmsghdr header;
                char text[1024];
        } message = { .header = { .nlmsg_type = NLMSG_MIN_TYPE, .nlmsg_flags = NLM_F_REQUEST } };
        int n;

        n = snprintf(message.text, sizeof(message.text),
                     "bind@%s%cACTION=bind%cDEVPATH=%s%cSUBSYSTEM=pci%cDRIVER=%s%cPCI_SLOT_NAME=%s"
                     "%c",
                     run->devpath, 0, 0, run->devpath, 0, 0, run->driver, 0,
                     strrchr(run->devpath, '/') + 1, 0);
        /* The kernel numbers what it is sent. */
        if (!run->kernel)
                n += snprintf(message.text + n, sizeof(message.text) - (size_t) n, "SEQNUM=%d%c",
                              100000 + number, 0);
        message.header.nlmsg_len = (uint32_t) NLMSG_LENGTH(n);
        if (run->kernel)
                n = (int) send(run->monitor, &message, message.header.nlmsg_len, 0);
        else
                n = (int) send(run->monitor, message.text, (size_t) n, 0);
        return n < 0 ? -errno : 0;
}

/* One change. Returns its time, or a negative errno. */
static int64_t change(Run *run, sd_bus *bus, int number) {
        char target[64];
        int64_t start;
        int r;

        snprintf(run->driver, sizeof(run->driver), "driver-%d", number % 2);
        snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", run->driver);
        if (symlink(target, run->fresh) < 0 || rename(run->fresh, run->link) < 0)
                return -errno;

        run->seen = false;
        start = now();
        r = send_bind(run, number);
        while (r >= 0 && !run->seen) {
                if (now() - start > (int64_t) LOST_USEC * 1000)
                        return -ETIMEDOUT;
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, LOST_USEC);
        }
        return r < 0 ? r : now() - start;
}

int main(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        Run run = { 0 };
        uint64_t count;
        int64_t r;

        if (argc != 5 || number_parse(argv[4], 10, INT_MAX, &count) < 0) {
                fprintf(stderr, "uevent-time: wrong arguments\n");
                return EXIT_FAILURE;
        }
        run.kernel = strcmp(argv[1], "kernel") == 0;
        run.devpath = argv[3];
        snprintf(run.link, sizeof(run.link), "%s/sys%s/driver", argv[2], run.devpath);
        snprintf(run.fresh, sizeof(run.fresh), "%s/sys%s/.driver", argv[2], run.devpath);
        run.monitor = run.kernel ? open_kernel() : open_umockdev(argv[1]);
        r = run.monitor < 0 ? run.monitor : sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, NULL, NULL, "org.freedesktop.DBus.Properties",
                                        "PropertiesChanged", on_changed, &run);
        for (int i = 0; r >= 0 && i < (int) count; i++) {
                r = change(&run, bus, i);
                if (r >= 0)
                        printf("%" PRIi64 "\n", r);
        }
        if (r < 0)
                fprintf(stderr, "uevent-time: %s\n", strerror((int) -r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
