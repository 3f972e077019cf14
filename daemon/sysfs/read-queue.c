#include "daemon/sysfs/read-queue.h"

#include "daemon/base/wakeup.h"

#include <assert.h>

#define LATER_ACCURACY_USEC (G_USEC_PER_SEC / 10)
#define SOON_USEC           (20 * 1000ULL)
#define SOON_ACCURACY_USEC  (1000ULL)

struct ReadQueue {
        const ReadQueueHandler *handler;
        void *context;
        GHashTable *entries; /* PciKey in the entry -> ReadEntry*, owned */
        GQueue wanted;       /* of borrowed ReadEntry* */
        sd_event_source *start, *soon, *later;
};

static int on_read_queue_start(sd_event_source *source, void *userdata) {
        const ReadQueue *queue = userdata;
        bool more = queue->handler->start(queue->context);

        return sd_event_source_set_enabled(source, more ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_later(sd_event_source *source, uint64_t usec, void *userdata) {
        ReadQueue *queue = userdata;
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, queue->entries);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                ReadEntry *entry = value;

                if (entry->later)
                        read_queue_want(queue, entry);
                entry->later = false;
        }
        return 0;
}

static int on_soon(sd_event_source *source, uint64_t usec, void *userdata) {
        read_queue_wake(userdata);
        return 0;
}

static int add_sources(ReadQueue *queue, sd_event *event) {
        const char *name = queue->handler->name;
        int r;

        r = wakeup_new_idle(event, on_read_queue_start, queue, &queue->start);
        if (r >= 0)
                r = sd_event_source_set_description(queue->start, name);
        if (r >= 0)
                r = wakeup_new_timer(event, SOON_ACCURACY_USEC, on_soon, queue, &queue->soon);
        if (r >= 0)
                r = sd_event_source_set_description(queue->soon, name);
        if (r >= 0)
                r = wakeup_new_timer(event, LATER_ACCURACY_USEC, on_later, queue, &queue->later);
        if (r >= 0)
                r = sd_event_source_set_description(queue->later, name);
        return r;
}

int read_queue_new(sd_event *event, const ReadQueueHandler *handler, void *context,
                   ReadQueue **ret) {
        ReadQueue *queue = g_new0(ReadQueue, 1);
        int r;

        assert(handler->entry_size >= sizeof(ReadEntry));
        queue->handler = handler;
        queue->context = context;
        queue->entries = g_hash_table_new(g_int64_hash, g_int64_equal);
        g_queue_init(&queue->wanted);
        r = add_sources(queue, event);
        if (r < 0) {
                read_queue_free(queue);
                return r;
        }
        *ret = queue;
        return 0;
}

static void free_entry(const ReadQueue *queue, ReadEntry *entry) {
        if (queue->handler->clear)
                queue->handler->clear(entry);
        g_ref_string_release(entry->driver);
        g_free(entry);
}

ReadQueue *read_queue_free(ReadQueue *queue) {
        GHashTableIter iter;
        gpointer entry;

        if (!queue)
                return NULL;
        sd_event_source_disable_unref(queue->start);
        sd_event_source_disable_unref(queue->soon);
        sd_event_source_disable_unref(queue->later);
        g_queue_clear(&queue->wanted);
        g_hash_table_iter_init(&iter, queue->entries);
        while (g_hash_table_iter_next(&iter, NULL, &entry))
                free_entry(queue, entry);
        g_hash_table_unref(queue->entries);
        g_free(queue);
        return NULL;
}

static ReadEntry *read_queue_add_entry(ReadQueue *queue, const Function *function) {
        ReadEntry *entry = g_malloc0(queue->handler->entry_size);

        entry->key = function->facts.key;
        entry->inode = function->facts.inode;
        entry->driver = g_ref_string_acquire(function->facts.driver);
        g_hash_table_insert(queue->entries, &entry->key, entry);
        return entry;
}

static void set_driver(ReadEntry *entry, GRefString *driver) {
        g_ref_string_release(entry->driver);
        entry->driver = g_ref_string_acquire(driver);
}

void *read_queue_note(ReadQueue *queue, const Function *function, unsigned *ret_news) {
        ReadEntry *entry = read_queue_find(queue, function->facts.key);
        bool in_use = function_in_use(function);
        unsigned news = 0;

        if (entry && entry->inode != function->facts.inode) {
                read_queue_function_gone(queue, function->facts.key);
                entry = NULL;
        }
        if (!entry) {
                entry = read_queue_add_entry(queue, function);
                news = READ_NEWS_DEVICE;
        } else
                news = (entry->driver != function->facts.driver ? READ_NEWS_DRIVER : 0) |
                       (entry->in_use != in_use ? READ_NEWS_USE : 0);
        if (news & READ_NEWS_DRIVER)
                set_driver(entry, function->facts.driver);
        entry->in_use = in_use;
        entry->is_vf =
                function->kind == FUNCTION_KIND_VF || function->kind == FUNCTION_KIND_DETACHED_VF;
        *ret_news = news;
        return entry;
}

void *read_queue_find(const ReadQueue *queue, PciKey key) {
        return g_hash_table_lookup(queue->entries, &key);
}

void read_queue_function_gone(ReadQueue *queue, PciKey key) {
        ReadEntry *entry = read_queue_find(queue, key);

        if (!entry)
                return;
        if (queue->handler->gone)
                queue->handler->gone(queue->context, entry);
        if (entry->place)
                g_queue_delete_link(&queue->wanted, entry->place);
        g_hash_table_remove(queue->entries, &key);
        free_entry(queue, entry);
}

void read_queue_foreach(const ReadQueue *queue, void (*visit)(void *context, void *entry),
                        void *context) {
        GHashTableIter iter;
        gpointer entry;

        g_hash_table_iter_init(&iter, queue->entries);
        while (g_hash_table_iter_next(&iter, NULL, &entry))
                visit(context, entry);
}

/* Returns false when it is being read, and is wanted again after that. */
static bool read_queue_add(ReadQueue *queue, ReadEntry *entry) {
        if (entry->reading) {
                entry->again = true;
                return false;
        }
        if (!entry->place) {
                g_queue_push_tail(&queue->wanted, entry);
                entry->place = queue->wanted.tail;
        }
        return true;
}

void read_queue_want(ReadQueue *queue, ReadEntry *entry) {
        if (read_queue_add(queue, entry))
                read_queue_wake(queue);
}

void read_queue_want_soon(ReadQueue *queue, ReadEntry *entry) {
        if (read_queue_add(queue, entry))
                wakeup_within(queue->soon, SOON_USEC);
}

void read_queue_want_later(ReadQueue *queue, ReadEntry *entry, uint64_t usec) {
        entry->later = true;
        wakeup_within(queue->later, usec);
}

void read_queue_wake(ReadQueue *queue) {
        (void) sd_event_source_set_enabled(queue->start, SD_EVENT_ONESHOT);
}

bool read_queue_is_empty(const ReadQueue *queue) {
        return queue->wanted.length == 0;
}

void *read_queue_take(ReadQueue *queue) {
        ReadEntry *entry = g_queue_pop_head(&queue->wanted);

        if (!entry)
                return NULL;
        assert(!entry->reading);
        entry->place = NULL;
        entry->reading = true;
        return entry;
}

void read_queue_done(ReadQueue *queue, ReadEntry *entry) {
        bool again = entry->again;

        assert(entry->reading && !entry->place);
        entry->reading = entry->again = false;
        if (again)
                read_queue_want(queue, entry);
}
