#include "daemon/sysfs/watch.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <sys/inotify.h>

/* Of events that are handled in one turn of the loop, which must not be long: some 40 of them. */
#define EVENTS_BYTES 2048

typedef struct WatchEntry {
        WatchHandler *handler;
        void *context;
        void *userdata;
} WatchEntry;

struct Watch {
        int fd;
        sd_event_source *source;
        GHashTable *entries; /* watch descriptor -> WatchEntry* */
        void (*overflow)(void *context);
        void *context;
};

static int on_inotify(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Watch *watch = userdata;
        union {
                struct inotify_event event;
                char bytes[EVENTS_BYTES];
        } buffer;
        ssize_t n;

        n = read(fd, &buffer, sizeof(buffer));
        if (n < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        log_error("inotify cannot be read: %m");
                return 0;
        }

        for (char *p = buffer.bytes; p < buffer.bytes + n;) {
                const struct inotify_event *event = (const void *) p;
                WatchEntry *entry;

                p += sizeof(*event) + event->len;
                if (event->mask & IN_Q_OVERFLOW) {
                        watch->overflow(watch->context);
                        continue;
                }
                if (event->mask & IN_IGNORED)
                        continue;
                /* No entry: removed while its last events were in the queue. */
                entry = g_hash_table_lookup(watch->entries, GINT_TO_POINTER(event->wd));
                if (entry)
                        entry->handler(entry->context, entry->userdata,
                                       event->len > 0 ? event->name : "");
        }
        return 0;
}

int watch_new(sd_event *event, void (*overflow)(void *context), void *context, Watch **ret) {
        Watch *watch = g_new0(Watch, 1);
        int r;

        watch->overflow = overflow;
        watch->context = context;
        watch->entries = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        r = watch->fd < 0
                    ? -errno
                    : sd_event_add_io(event, &watch->source, watch->fd, EPOLLIN, on_inotify, watch);
        /* A bit that was restored must be closed again before anybody makes use of it: ahead of the
         * bus and of uevents. */
        if (r >= 0)
                r = sd_event_source_set_priority(watch->source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = sd_event_source_set_description(watch->source, "watch: inotify");
        if (r < 0) {
                watch_free(watch);
                return r;
        }
        *ret = watch;
        return 0;
}

Watch *watch_free(Watch *watch) {
        if (!watch)
                return NULL;
        sd_event_source_disable_unref(watch->source);
        g_hash_table_unref(watch->entries);
        closep(&watch->fd);
        g_free(watch);
        return NULL;
}

int watch_add(Watch *watch, const char *path, uint32_t mask, WatchHandler *handler, void *context,
              void *userdata) {
        int number;

        number = inotify_add_watch(watch->fd, path, mask);
        if (number < 0)
                return -errno;

        WatchEntry *entry = g_new(WatchEntry, 1);
        *entry = (WatchEntry){ handler, context, userdata };
        g_hash_table_replace(watch->entries, GINT_TO_POINTER(number), entry);
        return number;
}

void watch_remove(Watch *watch, int number) {
        if (number < 0)
                return;
        (void) inotify_rm_watch(watch->fd, number);
        g_hash_table_remove(watch->entries, GINT_TO_POINTER(number));
}
