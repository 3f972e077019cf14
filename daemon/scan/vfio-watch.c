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

#define DIRECTORY_EVENTS (FAN_OPEN | FAN_CLOSE | FAN_EVENT_ON_CHILD | FAN_CREATE | FAN_ONDIR)

#define DRAIN_MAX        64
/* An event with its handle and name is smaller, so nothing was left when so much had room. */
#define EVENT_SIZE_MAX 1024
/* Between two attempts to mark what could not be marked, at first and later on; meanwhile every
 * attempt is followed by a look at all processes. */
#define AGAIN_USEC     (2 * 1000 * 1000ULL)
#define AGAIN_MAX_USEC (60 * 1000 * 1000ULL)

/* One of the two descriptors. */
typedef struct VfioQueue {
        int fd;
        sd_event_source *source;
        GHashTable *opened; /* names in the events since it was read to the end before; set */
        bool at_end;        /* it was, the last time */
} VfioQueue;

struct VfioWatch {
        VfioQueue system, marked;
        VfioMarks *marks;
        sd_event_source *again;
        bool has_failed;     /* a directory could not be marked */
        uint64_t again_usec; /* until the next attempt then */
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

                if (fanotify_mark(watch->system.fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR,
                                  DIRECTORY_EVENTS, AT_FDCWD, path) < 0 &&
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

/* The name of the node in the event, whose bytes are from `start` to `end`, or NULL. It may be in
 * `buffer`. */
static const char *event_name(const VfioWatch *watch, const char *start, const char *end,
                              char buffer[static VFIO_NODE_NAME_MAX]) {
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
                if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_FID)
                        return vfio_marks_name(watch->marks, info, buffer) ? buffer : NULL;
                p += info->hdr.len;
        }
        return NULL;
}

/* The events of one descriptor come in their order, but for merged ones; of two descriptors, in any
 * order. */
static bool was_opened(const VfioWatch *watch, const char *name) {
        return g_hash_table_contains(watch->system.opened, name) ||
               g_hash_table_contains(watch->marked.opened, name);
}

static void vfio_watch_hand_over(VfioWatch *watch, VfioQueue *queue,
                                 const struct fanotify_event_metadata *event, const char *name) {
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
                g_hash_table_add(queue->opened, g_strdup(name));
                watch->handler->opened(watch->context, event->pid, name);
        }
        if (event->mask & FAN_CLOSE)
                watch->handler->closed(watch->context, name, was_opened(watch, name));
}

/* Reads once. Returns whether there may be more. */
static bool read_events(VfioWatch *watch, VfioQueue *queue) {
        _Alignas(struct fanotify_event_metadata) char buffer[16 * 1024];
        char name[VFIO_NODE_NAME_MAX];
        ssize_t n;

        if (queue->at_end)
                g_hash_table_remove_all(queue->opened);
        n = read(queue->fd, buffer, sizeof(buffer));
        queue->at_end = n + EVENT_SIZE_MAX <= (ssize_t) sizeof(buffer);
        if (n < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        log_error("fanotify cannot be read: %m");
                return false;
        }
        for (const char *p = buffer; p < buffer + n;) {
                struct fanotify_event_metadata event;

                /* After one with a name of some length the next is aligned to 4 bytes and no more,
                 * which is too little for the structure (FANOTIFY_EVENT_ALIGN in the kernel). */
                memcpy(&event, p, sizeof(event));
                vfio_watch_hand_over(
                        watch, queue, &event,
                        event_name(watch, p + event.metadata_len, p + event.event_len, name));
                p += event.event_len;
        }
        return !queue->at_end;
}

/* Both, in this order: an open that was read from one stays known until the other was read, too,
 * and so until each close that may have come before it. */
static bool read_queues(VfioWatch *watch) {
        bool more = read_events(watch, &watch->system);

        return read_events(watch, &watch->marked) || more;
}

static int on_vfio_watch_readable(sd_event_source *source, int fd, uint32_t revents,
                                  void *userdata) {
        (void) read_queues(userdata);
        return 0;
}

void vfio_watch_drain(VfioWatch *watch) {
        /* Somebody may open faster than this reads. */
        for (unsigned i = 0; i < DRAIN_MAX && read_queues(watch); i++)
                ;
}

static int vfio_queue_listen(VfioQueue *queue, sd_event *event, VfioWatch *watch,
                             const char *description) {
        int r = sd_event_add_io(event, &queue->source, queue->fd, EPOLLIN, on_vfio_watch_readable,
                                watch);

        return r < 0 ? r : sd_event_source_set_description(queue->source, description);
}

int vfio_watch_new(sd_event *event, const VfioWatchHandler *handler, void *context,
                   VfioWatch **ret) {
        VfioWatch *watch = g_new0(VfioWatch, 1);
        int r = 0;

        watch->handler = handler;
        watch->context = context;
        watch->again_usec = AGAIN_USEC;
        watch->system.opened = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        watch->marked.opened = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        watch->marked.fd = -1;
        watch->system.fd = fanotify_init(
                FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_CLOEXEC | FAN_NONBLOCK, 0);
        if (watch->system.fd < 0 ||
            fanotify_mark(watch->system.fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_CREATE | FAN_ONDIR,
                          AT_FDCWD, process_system_dev()) < 0)
                r = -errno;
        if (r >= 0)
                r = vfio_marks_new(&watch->marks);
        if (r >= 0) {
                watch->marked.fd = vfio_marks_fd(watch->marks);
                r = vfio_queue_listen(&watch->system, event, watch, "vfio-watch: fanotify");
        }
        if (r >= 0)
                r = vfio_queue_listen(&watch->marked, event, watch, "vfio-watch: marked nodes");
        if (r >= 0)
                r = wakeup_new_timer(event, 0, on_vfio_watch_again, watch, &watch->again);
        if (r >= 0)
                r = sd_event_source_set_description(watch->again, "vfio-watch: mark again");
        if (r < 0) {
                vfio_watch_free(watch);
                return r;
        }
        watch_directories(watch);
        *ret = watch;
        return 0;
}

VfioWatch *vfio_watch_free(VfioWatch *watch) {
        if (!watch)
                return NULL;
        sd_event_source_disable_unref(watch->system.source);
        sd_event_source_disable_unref(watch->marked.source);
        sd_event_source_disable_unref(watch->again);
        closep(&watch->system.fd);
        vfio_marks_free(watch->marks);
        g_hash_table_unref(watch->system.opened);
        g_hash_table_unref(watch->marked.opened);
        g_free(watch);
        return NULL;
}

VfioMarks *vfio_watch_marks(const VfioWatch *watch) {
        return watch->marks;
}
