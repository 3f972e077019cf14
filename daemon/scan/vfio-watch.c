#include "daemon/scan/vfio-watch.h"

#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/stat.h>

#define NODE_EVENTS      (FAN_OPEN | FAN_CLOSE)
#define DIRECTORY_EVENTS (NODE_EVENTS | FAN_EVENT_ON_CHILD | FAN_CREATE | FAN_ONDIR)

#define DRAIN_MAX        64
/* An event with its handle and name is smaller, so nothing was left when so much had room. */
#define EVENT_SIZE_MAX 1024
/* Between two attempts to mark what could not be marked, at first and later on; meanwhile every
 * attempt is followed by a look at all processes. */
#define AGAIN_USEC     (2 * 1000 * 1000ULL)
#define AGAIN_MAX_USEC (60 * 1000 * 1000ULL)

struct VfioWatch {
        int fd;
        sd_event_source *source, *again;
        bool has_failed;     /* a directory could not be marked */
        uint64_t again_usec; /* until the next attempt then */
        GHashTable *opened;  /* names, since all events were read the last time; set */
        const VfioWatchHandler *handler;
        void *context;
};

/* Each appears when VFIO has the first thing to show there. Marking again does nothing. Returns 0
 * or a negative errno. */
static int mark_directories(const VfioWatch *watch) {
        static const char *const directories[] = { "vfio", "vfio/devices" };
        int error = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(directories); i++) {
                g_autofree char *path =
                        g_strconcat(process_system_dev(), "/", directories[i], NULL);

                if (fanotify_mark(watch->fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, DIRECTORY_EVENTS,
                                  AT_FDCWD, path) < 0 &&
                    errno != ENOENT)
                        error = -errno;
        }
        return error;
}

/* Until all are marked, whatever there is to be marked. */
static void watch_directories(VfioWatch *watch) {
        int r = mark_directories(watch);
        bool had_failed = watch->has_failed;

        watch->has_failed = r < 0;
        if (r < 0) {
                wakeup_within(watch->again, watch->again_usec);
                watch->again_usec = MIN(2 * watch->again_usec, AGAIN_MAX_USEC);
        } else {
                watch->again_usec = AGAIN_USEC;
        }
        if (r < 0 && !had_failed)
                log_warning("Failed to watch VFIO's device nodes for now: %s", g_strerror(-r));
        if (r >= 0 && had_failed)
                log_notice("VFIO's device nodes are watched again");
        /* What was opened or closed meanwhile was not reported. */
        if (had_failed)
                watch->handler->overrun(watch->context);
}

static int on_vfio_watch_again(sd_event_source *source, uint64_t usec, void *userdata) {
        watch_directories(userdata);
        return 0;
}

/* The entry's name in the event, whose bytes are from `start` to `end`, or NULL. */
static const char *event_name(const char *start, const char *end) {
        for (const char *p = start; p < end;) {
                const struct fanotify_event_info_fid *info = (const void *) p;

                if (info->hdr.len < sizeof(*info) || (size_t) (end - p) < info->hdr.len)
                        return NULL;
                if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
                        struct file_handle handle;
                        const char *name = (const char *) info->handle + sizeof(handle);

                        memcpy(&handle, info->handle, sizeof(handle));
                        name += handle.handle_bytes;
                        return memchr(name, '\0', (size_t) (p + info->hdr.len - name)) ? name
                                                                                       : NULL;
                }
                p += info->hdr.len;
        }
        return NULL;
}

static void vfio_watch_hand_over(VfioWatch *watch, const struct fanotify_event_metadata *event,
                                 const char *name) {
        if (event->mask & FAN_Q_OVERFLOW) {
                watch->handler->overrun(watch->context);
                return;
        }
        if (!name)
                return;
        if (event->mask & FAN_ONDIR) {
                /* An open between the creation and the mark was not reported. */
                if ((event->mask & FAN_CREATE) &&
                    (strcmp(name, "vfio") == 0 || strcmp(name, "devices") == 0)) {
                        watch_directories(watch);
                        watch->handler->overrun(watch->context);
                }
                return;
        }
        /* The container is no device. */
        if (strcmp(name, "vfio") == 0)
                return;
        if (event->mask & FAN_CREATE)
                watch->handler->created(watch->context, name);
        if (event->mask & FAN_OPEN) {
                g_hash_table_add(watch->opened, g_strdup(name));
                watch->handler->opened(watch->context, event->pid, name);
        }
        if (event->mask & FAN_CLOSE)
                watch->handler->closed(watch->context, name,
                                       g_hash_table_contains(watch->opened, name));
}

/* Returns whether there may be more. */
static bool read_events(VfioWatch *watch) {
        _Alignas(struct fanotify_event_metadata) char buffer[16 * 1024];
        ssize_t n;

        n = read(watch->fd, buffer, sizeof(buffer));
        if (n < 0) {
                g_hash_table_remove_all(watch->opened);
                if (errno != EAGAIN && errno != EINTR)
                        log_error("fanotify cannot be read: %m");
                return false;
        }
        for (const char *p = buffer; p < buffer + n;) {
                struct fanotify_event_metadata event;

                /* After one with a name of some length the next is aligned to 4 bytes and no more,
                 * which is too little for the structure (FANOTIFY_EVENT_ALIGN in the kernel). */
                memcpy(&event, p, sizeof(event));
                vfio_watch_hand_over(watch, &event,
                                     event_name(p + event.metadata_len, p + event.event_len));
                p += event.event_len;
        }
        if ((size_t) n + EVENT_SIZE_MAX <= sizeof(buffer))
                g_hash_table_remove_all(watch->opened);
        return true;
}

static int on_vfio_watch_readable(sd_event_source *source, int fd, uint32_t revents,
                                  void *userdata) {
        (void) read_events(userdata);
        return 0;
}

void vfio_watch_drain(VfioWatch *watch) {
        /* Somebody may open faster than this reads. */
        for (unsigned i = 0; i < DRAIN_MAX && read_events(watch); i++)
                ;
}

int vfio_watch_new(sd_event *event, const VfioWatchHandler *handler, void *context,
                   VfioWatch **ret) {
        VfioWatch *watch = g_new0(VfioWatch, 1);
        int r = 0;

        watch->handler = handler;
        watch->context = context;
        watch->again_usec = AGAIN_USEC;
        watch->opened = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        watch->fd = fanotify_init(
                FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_CLOEXEC | FAN_NONBLOCK, 0);
        if (watch->fd < 0 ||
            fanotify_mark(watch->fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_CREATE | FAN_ONDIR,
                          AT_FDCWD, process_system_dev()) < 0)
                r = -errno;
        if (r >= 0)
                r = sd_event_add_io(event, &watch->source, watch->fd, EPOLLIN,
                                    on_vfio_watch_readable, watch);
        if (r >= 0)
                r = wakeup_new_timer(event, 0, on_vfio_watch_again, watch, &watch->again);
        if (r >= 0)
                r = sd_event_source_set_description(watch->again, "vfio-watch: mark again");
        if (r < 0) {
                vfio_watch_free(watch);
                return r;
        }
        (void) sd_event_source_set_description(watch->source, "vfio-watch: fanotify");
        watch_directories(watch);
        *ret = watch;
        return 0;
}

VfioWatch *vfio_watch_free(VfioWatch *watch) {
        if (!watch)
                return NULL;
        sd_event_source_disable_unref(watch->source);
        sd_event_source_disable_unref(watch->again);
        closep(&watch->fd);
        g_hash_table_unref(watch->opened);
        g_free(watch);
        return NULL;
}

int vfio_watch_fd(const VfioWatch *watch) {
        return watch->fd;
}

void vfio_watch_mark_node(int fd, int dirfd, const char *name) {
        (void) fanotify_mark(fd, FAN_MARK_ADD, NODE_EVENTS, dirfd, name);
}
