#include "daemon/uses/program-watch.h"

#include "daemon/base/util.h"
#include "daemon/uses/kernel-events.h"
#include "policy/device-file.h"
#include "policy/device-node.h"

#include <glib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>

#define FUNCTIONS "/sys/bus/pci/devices"
#define UIO_CLASS "/sys/class/uio"
/* Between two looks while there is a uio device, or a use whose end no event tells ... */
#define STANDS_SECONDS 2
/* ... or one that is a warning only. */
#define WARNS_SECONDS 60

/* Of graphics, sound, RDMA, accelerators and inputs, in the host's /dev: the daemon has one of its
 * own (PrivateDevices=). */
static const char *const node_folders[] = { "accel", "dri", "infiniband", "input", "snd" };

struct ProgramWatch {
        const char *proc; /* where procfs is */
        int inotify, uevents, timer;
        bool stands, warns; /* see program_watch_set_endless() */
        const char *lack;   /* what the kernel refused, see program_watch_lack() */
};

static const char no_instance[] = "instances (fs.inotify.max_user_instances)",
                  no_watch[] = "watches (fs.inotify.max_user_watches)";

/* What has gone, or is not there, needs no watch. */
static void add_watch(ProgramWatch *watch, const char *path, uint32_t mask) {
        if (inotify_add_watch(watch->inotify, path, mask) < 0 &&
            (errno == ENOSPC || errno == ENOMEM))
                watch->lack = no_watch;
}

/* `directory` without links in it: the parser looks at its last part. */
static void watch_bars(ProgramWatch *watch, const char *directory) {
        _cleanup_(closedirp) DIR *dir = opendir(directory);
        const struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                g_autofree char *path = g_strdup_printf("%s/%s", directory, entry->d_name);

                if (device_file_parse(path) == DEVICE_FILE_RESOURCE)
                        add_watch(watch, path, IN_OPEN | IN_CLOSE);
        }
}

static void watch_function_bars(ProgramWatch *watch, const char *name) {
        g_autofree char *link = g_strdup_printf(FUNCTIONS "/%s", name);
        char directory[PATH_MAX];

        if (realpath(link, directory))
                watch_bars(watch, directory);
}

static bool has_uio(void) {
        _cleanup_(closedirp) DIR *dir = opendir(UIO_CLASS);
        const struct dirent *entry;

        while (dir && (entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        return true;
        return false;
}

static void set_program_timer(const ProgramWatch *watch) {
        bool often = watch->stands || watch->lack || has_uio();
        struct itimerspec spec = { .it_value.tv_sec = often          ? STANDS_SECONDS
                                                      : watch->warns ? WARNS_SECONDS
                                                                     : 0 };

        (void) timerfd_settime(watch->timer, 0, &spec, NULL);
}

void program_watch_set_endless(ProgramWatch *watch, bool stands, bool warns) {
        watch->stands = stands;
        watch->warns = warns;
        set_program_timer(watch);
}

/* The events are those of the nodes in it; who may read the folder may watch it. */
static void watch_node_folders(ProgramWatch *watch) {
        for (size_t i = 0; i < G_N_ELEMENTS(node_folders); i++) {
                g_autofree char *path =
                        g_strdup_printf("%s/1/root/dev/%s", watch->proc, node_folders[i]);

                add_watch(watch, path, IN_OPEN | IN_CLOSE | IN_ONLYDIR);
        }
}

static void watch_everything(ProgramWatch *watch) {
        _cleanup_(closedirp) DIR *dir = opendir(FUNCTIONS);
        const struct dirent *entry;

        while (dir && (entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        watch_function_bars(watch, entry->d_name);
        watch_node_folders(watch);
}

/* The number of instances is limited for all processes of a user together, of root's, too. */
void program_watch_all(ProgramWatch *watch) {
        if (watch->inotify < 0)
                watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        watch->lack = watch->inotify < 0 ? no_instance : NULL;
        if (watch->inotify >= 0)
                watch_everything(watch);
        set_program_timer(watch);
}

/* A function may have no BARs yet when it is announced (pci_bus_add_device()); it has when it is
 * bound. */
static void on_program_uevent(void *context, const char *subsystem, const char *devpath) {
        ProgramWatch *watch = context;
        g_autofree char *name = g_path_get_basename(devpath);

        if (strcmp(subsystem, "pci") == 0)
                watch_function_bars(watch, name);
        else if (strcmp(subsystem, "uio") == 0)
                set_program_timer(watch);
        else if (device_node_use(subsystem) != USE_PROGRAM_NODE)
                watch_node_folders(watch);
        if (watch->lack)
                set_program_timer(watch);
}

static bool take_opens(const ProgramWatch *watch) {
        char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        bool any = false;

        while (read(watch->inotify, events, sizeof(events)) > 0)
                any = true;
        return any;
}

/* The last look with the last uio device finds that the device has gone. There may be watches
 * again. */
static bool take_tick(ProgramWatch *watch) {
        uint64_t n;

        if (read(watch->timer, &n, sizeof(n)) < 0)
                return false;
        if (watch->lack)
                program_watch_all(watch);
        else
                set_program_timer(watch);
        return true;
}

bool program_watch_take(ProgramWatch *watch, int fd) {
        if (fd == watch->inotify)
                return take_opens(watch);
        if (fd == watch->timer)
                return take_tick(watch);
        if (!kernel_events_take(fd, on_program_uevent, watch))
                return false;
        program_watch_all(watch);
        return true;
}

const char *program_watch_lack(const ProgramWatch *watch) {
        return watch->lack;
}

int program_watch_timer(const ProgramWatch *watch) {
        return watch->timer;
}

int program_watch_inotify(const ProgramWatch *watch) {
        return watch->inotify;
}

int program_watch_uevents(const ProgramWatch *watch) {
        return watch->uevents;
}

int program_watch_new(const char *proc, ProgramWatch **ret) {
        g_autofree ProgramWatch *watch = g_new0(ProgramWatch, 1);

        watch->proc = proc;
        watch->inotify = -1; /* program_watch_all() */
        watch->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (watch->timer < 0)
                return -errno;
        watch->uevents = kernel_events_open();
        if (watch->uevents < 0)
                return watch->uevents;
        *ret = g_steal_pointer(&watch);
        return 0;
}
