/* read-queue.h: the functions that are to be read, at once and once more a little later.
 *
 * Owns, for each function, what is a reason to read it again (its device, driver and use), and
 * where its reading stands: wanted, being read, or to be read later. How a function is read, and
 * what was read, is the owner's: its entry for a function begins with a ReadEntry.
 *
 * Always holds: all that is wanted in one turn of the event loop is handed out together, after the
 * events of that turn. A function is handed out to one reader at a time; what is wanted meanwhile
 * is wanted again when that reader is done. */
#pragma once

#include "policy/function.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct ReadQueue ReadQueue;

typedef struct ReadEntry {
        PciKey key;
        uint64_t inode; /* of the device: another one at the address has another entry */
        GRefString *driver;
        bool in_use, is_vf;
        bool reading; /* taken and not done */
        /* The queue's own: */
        bool again;   /* wanted while it was being read */
        bool later;   /* wanted when the timer runs out */
        GList *place; /* among those that are wanted; NULL: it is not */
} ReadEntry;

typedef struct ReadQueueHandler {
        const char *name; /* of the event sources */
        size_t entry_size;
        /* Functions are to be read, or read_queue_wake() was called. Returns whether to be called
         * again after the events that come meanwhile. */
        bool (*start)(void *context);
        /* The device of `entry` has gone; its entry is about to go. NULL: needs nothing. */
        void (*gone)(void *context, void *entry);
        /* Frees what the owner's part of `entry` holds. NULL: nothing. */
        void (*clear)(void *entry);
} ReadQueueHandler;

/* Returns 0 or a negative errno. */
int read_queue_new(sd_event *event, const ReadQueueHandler *handler, void *context,
                   ReadQueue **ret);
ReadQueue *read_queue_free(ReadQueue *queue);

typedef enum ReadNews {
        READ_NEWS_DEVICE = 1 << 0, /* the entry is new; the bits below are not set then */
        READ_NEWS_DRIVER = 1 << 1,
        READ_NEWS_USE = 1 << 2,
} ReadNews;

/* Notes the function as it is now. Returns its entry, a new one of zeros for a new device, and in
 * `ret_news` what is new (ReadNews bits). */
void *read_queue_note(ReadQueue *queue, const Function *function, unsigned *ret_news);

/* NULL when there is none. */
void *read_queue_find(const ReadQueue *queue, PciKey key);
void read_queue_function_gone(ReadQueue *queue, PciKey key);

/* Calls `visit` for each entry. */
void read_queue_foreach(const ReadQueue *queue, void (*visit)(void *context, void *entry),
                        void *context);

/* To be read now; in a moment, so that nothing more urgent waits for it and many events cause one
 * reading; in `usec` at the latest. */
void read_queue_want(ReadQueue *queue, ReadEntry *entry);
void read_queue_want_soon(ReadQueue *queue, ReadEntry *entry);
void read_queue_want_later(ReadQueue *queue, ReadEntry *entry, uint64_t usec);

/* ReadQueueHandler.start() is called, whether anything is wanted or not. */
void read_queue_wake(ReadQueue *queue);

bool read_queue_is_empty(const ReadQueue *queue);

/* The one that has been wanted for longest, which is being read from now on; NULL when none is. */
void *read_queue_take(ReadQueue *queue);

/* Its reading has ended. If it was wanted meanwhile, it is so again. */
void read_queue_done(ReadQueue *queue, ReadEntry *entry);
