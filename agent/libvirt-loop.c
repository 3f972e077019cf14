#include "agent/libvirt-loop.h"

#include <errno.h>
#include <glib.h>
#include <libvirt/libvirt.h>
#include <sys/epoll.h>

typedef struct Watch {
        sd_event_source *source;
        int id;
        int frequency_ms; /* of a timer; negative: none */
        virEventHandleCallback on_handle;
        virEventTimeoutCallback on_timer;
        void *opaque;
        virFreeCallback free;
} Watch;

typedef struct Loop {
        sd_event *event;
        GHashTable *watches; /* id -> Watch*, owned; a removed one until the next turn */
        int last_id;
} Loop;

static Loop loop; /* see libvirt-loop.h */

static const struct {
        int libvirt;
        uint32_t epoll;
} event_bits[] = {
        { VIR_EVENT_HANDLE_READABLE, EPOLLIN },
        { VIR_EVENT_HANDLE_WRITABLE, EPOLLOUT },
        { VIR_EVENT_HANDLE_ERROR, EPOLLERR },
        { VIR_EVENT_HANDLE_HANGUP, EPOLLHUP },
};

static uint32_t to_epoll(int events) {
        uint32_t bits = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(event_bits); i++)
                if (events & event_bits[i].libvirt)
                        bits |= event_bits[i].epoll;
        return bits;
}

static int from_epoll(uint32_t bits) {
        int events = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(event_bits); i++)
                if (bits & event_bits[i].epoll)
                        events |= event_bits[i].libvirt;
        return events;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const Watch *watch = userdata;

        watch->on_handle(watch->id, fd, from_epoll(revents), watch->opaque);
        return 0;
}

/* sd-event's timers fire once. */
static int arm(Watch *watch) {
        int r = 0;

        if (watch->frequency_ms >= 0)
                r = sd_event_source_set_time_relative(watch->source,
                                                      (uint64_t) watch->frequency_ms * 1000);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(
                watch->source, watch->frequency_ms >= 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        Watch *watch = userdata;

        (void) arm(watch);
        watch->on_timer(watch->id, watch->opaque);
        return 0;
}

static Watch *watch_new(void *opaque, virFreeCallback free) {
        Watch *watch = g_new0(Watch, 1);

        watch->id = ++loop.last_id;
        watch->frequency_ms = -1;
        watch->opaque = opaque;
        watch->free = free;
        return watch;
}

static int watch_keep(Watch *watch, int r) {
        if (r < 0) {
                sd_event_source_disable_unref(watch->source);
                g_free(watch);
                return -1;
        }
        g_hash_table_insert(loop.watches, GINT_TO_POINTER(watch->id), watch);
        return watch->id;
}

static Watch *watch_find(int id) {
        return g_hash_table_lookup(loop.watches, GINT_TO_POINTER(id));
}

static int add_handle(int fd, int events, virEventHandleCallback callback, void *opaque,
                      virFreeCallback free) {
        Watch *watch = watch_new(opaque, free);

        watch->on_handle = callback;
        return watch_keep(watch, sd_event_add_io(loop.event, &watch->source, fd, to_epoll(events),
                                                 on_io, watch));
}

static void update_handle(int id, int events) {
        Watch *watch = watch_find(id);

        if (watch)
                (void) sd_event_source_set_io_events(watch->source, to_epoll(events));
}

static int add_timer(int frequency_ms, virEventTimeoutCallback callback, void *opaque,
                     virFreeCallback free) {
        Watch *watch = watch_new(opaque, free);
        int r;

        watch->on_timer = callback;
        watch->frequency_ms = frequency_ms;
        r = sd_event_add_time_relative(loop.event, &watch->source, CLOCK_MONOTONIC, 0, 1, on_time,
                                       watch);
        if (r >= 0)
                r = arm(watch);
        return watch_keep(watch, r);
}

static void update_timer(int id, int frequency_ms) {
        Watch *watch = watch_find(id);

        if (!watch)
                return;
        watch->frequency_ms = frequency_ms;
        (void) arm(watch);
}

static int on_free(sd_event_source *source, void *userdata) {
        Watch *watch = userdata;

        if (watch->free)
                watch->free(watch->opaque);
        sd_event_source_disable_unref(watch->source);
        g_free(watch);
        return 0;
}

/* libvirt would deadlock if its data were freed before this returns (libvirt-event.h). */
static int remove_watch(int id) {
        Watch *watch = watch_find(id);
        int r;

        if (!watch)
                return -1;
        g_hash_table_remove(loop.watches, GINT_TO_POINTER(id));
        sd_event_source_disable_unref(watch->source);
        watch->source = NULL;
        r = sd_event_add_defer(loop.event, &watch->source, on_free, watch);
        return r < 0 ? -1 : 0;
}

int libvirt_loop_register(sd_event *event) {
        loop.event = sd_event_ref(event);
        loop.watches = g_hash_table_new(NULL, NULL);
        virEventRegisterImpl(add_handle, update_handle, remove_watch, add_timer, update_timer,
                             remove_watch);
        return 0;
}
