#include "daemon/sysfs/override-reader.h"

#include "daemon/base/helper.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* How long a read may take: it is a matter of microseconds, unless the lock is held. */
#define ANSWER_TIMEOUT_MSEC 500

/* How many questions the process is sent ahead. */
#define WINDOW 64

/* A host on which so many functions keep their lock at a time is beyond help; the others wait. */
#define HANGING_MAX 8

typedef struct Reply {
        PciKey key;
        uint64_t inode;
        int32_t error; /* 0 or a positive errno */
        char value[SYSFS_VALUE_MAX];
} Reply;

/* A process; one that hangs was killed, and ends when the device's lock is free. */
typedef struct Process {
        OverrideReader *reader;
        Helper *helper;
        PciKey key;   /* at which it hangs */
        bool hangs;   /* it is in `hanging`, and nobody asks it any more */
        bool refused; /* in `refused` */
        bool again;   /* asked for meanwhile: the earlier answer may be outdated */
} Process;

struct OverrideReader {
        sd_event *event;
        sd_event_source *timer;
        sd_event_source *refuse; /* when there can be no process: tells so those who wait */
        int error;               /* ... and why; 0: those in `refused` alone */
        Process *process;        /* that is asked; NULL: none */
        GQueue *waiting;         /* of PciKey*, owned: not sent yet */
        GQueue *sent;            /* likewise, in the order in which they will be answered */
        GHashTable *asked;       /* set of the keys in `waiting` */
        GQueue *refused;         /* of PciKey*, owned: a process hangs at them already */
        GPtrArray *hanging;      /* of Process*, owned; one for a function */
        OverrideHandler *handler;
        void *context;
};

/* --- the process --- */

static void override_reader_answer(PciKey key, Reply *reply) {
        _cleanup_(closep) int dirfd = -1;
        struct stat st;
        ssize_t n;

        *reply = (Reply){ .key = key };
        dirfd = sysfs_open_function(pci_address_from_key(key));
        if (dirfd < 0 || fstat(dirfd, &st) < 0) {
                reply->error = dirfd < 0 ? -dirfd : errno;
                return;
        }
        reply->inode = st.st_ino;
        /* The kernel writes "(null)" for none: it prints the pointer. */
        n = sysfs_read(dirfd, "driver_override", reply->value, sizeof(reply->value));
        if (n < 0 && !errno_means_absent((int) n) && !errno_means_malformed((int) n))
                reply->error = (int32_t) -n;
        if (n < 0 || strcmp(reply->value, "(null)") == 0)
                reply->value[0] = '\0';
}

static void override_reader_serve(void *task, int socket) {
        Reply reply;
        PciKey key;

        /* Ends when the daemon does, or does not want to hear of it any more. */
        while (recv(socket, &key, sizeof(key), 0) == (ssize_t) sizeof(key)) {
                override_reader_answer(key, &reply);
                if (send(socket, &reply, offsetof(Reply, value) + strlen(reply.value) + 1,
                         MSG_NOSIGNAL) < 0)
                        break;
        }
        _exit(0);
}

/* --- the daemon --- */

static void on_override_reader_readable(void *context, int channel);
static int on_override_reader_timeout(sd_event_source *source, uint64_t usec, void *userdata);
static int on_refuse(sd_event_source *source, void *userdata);

static void process_free(gpointer data) {
        Process *process = data;

        helper_free(process->helper);
        g_free(process);
}

int override_reader_new(sd_event *event, OverrideHandler *handler, void *context,
                        OverrideReader **ret) {
        OverrideReader *reader = g_new0(OverrideReader, 1);
        int r;

        reader->event = sd_event_ref(event);
        reader->waiting = g_queue_new();
        reader->sent = g_queue_new();
        reader->asked = g_hash_table_new(g_int64_hash, g_int64_equal);
        reader->refused = g_queue_new();
        reader->hanging = g_ptr_array_new_with_free_func(process_free);
        reader->handler = handler;
        reader->context = context;
        r = wakeup_new_idle(event, on_refuse, reader, &reader->refuse);
        if (r >= 0)
                r = sd_event_source_set_description(reader->refuse, "override-reader: refuse");
        if (r < 0) {
                override_reader_free(reader);
                return r;
        }
        *ret = reader;
        return 0;
}

/* The end of one that is asked shows as the end of its channel. */
static void on_override_reader_ended(void *context, int killer) {
        Process *process = context;
        OverrideReader *reader = process->reader;
        PciKey key = process->key;
        bool again = process->again;

        if (!process->hangs)
                return;
        g_ptr_array_remove_fast(reader->hanging, process);
        if (again)
                override_reader_ask(reader, key);
}

static const HelperHandler helper_handler = {
        .name = "vfwarden-reader",
        .readable = on_override_reader_readable,
        .ended = on_override_reader_ended,
};

static Process *override_reader_find_hanging(const OverrideReader *reader, PciKey key) {
        for (guint i = 0; i < reader->hanging->len; i++)
                if (((Process *) reader->hanging->pdata[i])->key == key)
                        return reader->hanging->pdata[i];
        return NULL;
}

/* Nobody waits for the process: it ends at once, or when its wait in the kernel is over. `key` is
 * what it hangs at, NULL nothing. */
static void dismiss(OverrideReader *reader, const PciKey *key) {
        Process *process = g_steal_pointer(&reader->process);

        if (!process)
                return;
        helper_kill(process->helper);
        if (!key || helper_has_ended(process->helper)) {
                process_free(process);
                return;
        }
        helper_hang_up(process->helper);
        process->key = *key;
        process->hangs = true;
        g_ptr_array_add(reader->hanging, process);
}

OverrideReader *override_reader_free(OverrideReader *reader) {
        if (!reader)
                return NULL;
        dismiss(reader, NULL);
        g_ptr_array_unref(reader->hanging);
        g_queue_free_full(reader->refused, g_free);
        sd_event_source_disable_unref(reader->timer);
        sd_event_source_disable_unref(reader->refuse);
        g_hash_table_unref(reader->asked);
        g_queue_free_full(reader->waiting, g_free);
        g_queue_free_full(reader->sent, g_free);
        sd_event_unref(reader->event);
        g_free(reader);
        return NULL;
}

static int employ(OverrideReader *reader) {
        Process *process;
        int r;

        if (reader->hanging->len >= HANGING_MAX)
                return -EBUSY;
        process = g_new0(Process, 1);
        process->reader = reader;
        r = helper_fork(reader->event, &helper_handler, process, override_reader_serve, NULL, NULL,
                        0, &process->helper);
        if (r < 0) {
                g_free(process);
                return r;
        }
        reader->process = process;
        return 0;
}

static void restart_timer(OverrideReader *reader) {
        if (!reader->timer)
                (void) wakeup_new_deadline(reader->event, "override-reader: deadline",
                                           ANSWER_TIMEOUT_MSEC * 1000ULL, 0,
                                           on_override_reader_timeout, reader, &reader->timer);
        if (!reader->timer)
                return;
        (void) sd_event_source_set_time_relative(reader->timer, ANSWER_TIMEOUT_MSEC * 1000ULL);
        (void) sd_event_source_set_enabled(
                reader->timer, g_queue_is_empty(reader->sent) ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void override_reader_tell(OverrideReader *reader, PciKey key, int error) {
        OverrideAnswer given_up = { .error = error };

        reader->handler(reader->context, key, &given_up);
}

static void override_reader_refuse(OverrideReader *reader, Process *hanging) {
        if (!hanging->refused)
                g_queue_push_tail(reader->refused, g_memdup2(&hanging->key, sizeof(hanging->key)));
        hanging->refused = hanging->again = true;
        (void) sd_event_source_set_enabled(reader->refuse, SD_EVENT_ONESHOT);
}

/* Sends what the window has room for. */
static void send_waiting(OverrideReader *reader) {
        bool was_idle = g_queue_is_empty(reader->sent);
        int r = 0;

        while (!g_queue_is_empty(reader->waiting) && reader->sent->length < WINDOW) {
                const PciKey *key = g_queue_peek_head(reader->waiting);
                Process *hanging = override_reader_find_hanging(reader, *key);

                if (hanging) {
                        override_reader_refuse(reader, hanging);
                        g_hash_table_remove(reader->asked, key);
                        g_free(g_queue_pop_head(reader->waiting));
                        continue;
                }
                if (!reader->process)
                        r = employ(reader);
                if (r < 0 || send(helper_channel(reader->process->helper), key, sizeof(*key),
                                  MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        break;
                g_hash_table_remove(reader->asked, key);
                g_queue_push_tail(reader->sent, g_queue_pop_head(reader->waiting));
        }
        /* Later, for who asks does not expect the answer yet. */
        if (r < 0) {
                reader->error = r;
                (void) sd_event_source_set_enabled(reader->refuse, SD_EVENT_ONESHOT);
        }
        if (was_idle)
                restart_timer(reader);
}

/* Nobody can read for them: no descriptor, no memory, no process is to be had. */
static void refuse_waiting(OverrideReader *reader) {
        for (guint n = reader->waiting->length; n > 0; n--) {
                g_autofree PciKey *key = g_queue_pop_head(reader->waiting);

                g_hash_table_remove(reader->asked, key);
                override_reader_tell(reader, *key, reader->error);
        }
}

/* No second process comes to hang where one does already. */
static void refuse_hanging(OverrideReader *reader) {
        for (guint n = reader->refused->length; n > 0; n--) {
                g_autofree PciKey *key = g_queue_pop_head(reader->refused);
                Process *hanging = override_reader_find_hanging(reader, *key);

                if (hanging)
                        hanging->refused = false;
                override_reader_tell(reader, *key, -ETIMEDOUT);
        }
}

static int on_refuse(sd_event_source *source, void *userdata) {
        OverrideReader *reader = userdata;

        refuse_hanging(reader);
        if (reader->error < 0)
                refuse_waiting(reader);
        reader->error = 0;
        return 0;
}

void override_reader_ask(OverrideReader *reader, PciKey key) {
        if (g_hash_table_contains(reader->asked, &key))
                return;
        g_queue_push_tail(reader->waiting, g_memdup2(&key, sizeof(key)));
        g_hash_table_add(reader->asked, g_queue_peek_tail(reader->waiting));
        send_waiting(reader);
}

/* The process hangs at its oldest question: give that up, and let another one see to the others. */
static void give_up(OverrideReader *reader) {
        g_autofree PciKey *key = g_queue_pop_head(reader->sent);
        PciAddress address;

        dismiss(reader, key);
        for (PciKey *again; (again = g_queue_pop_tail(reader->sent));) {
                g_queue_push_head(reader->waiting, again);
                g_hash_table_add(reader->asked, again);
        }
        if (key) {
                address = pci_address_from_key(*key);
                log_full(LOG_NOTICE, &address, NULL,
                         "driver_override cannot be read: something is being done to the device");
                override_reader_tell(reader, *key, -ETIMEDOUT);
        }
        send_waiting(reader);
}

static int on_override_reader_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        give_up(userdata);
        return 0;
}

/* Takes one answer. Returns 1, 0 when there is none now, or -EPIPE when the process is gone. */
static int override_reader_take_answer(OverrideReader *reader) {
        g_autofree PciKey *key = NULL;
        Reply reply;
        ssize_t n;

        n = recv(helper_channel(reader->process->helper), &reply, sizeof(reply), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= (ssize_t) offsetof(Reply, value) || g_queue_is_empty(reader->sent))
                return -EPIPE;
        key = g_queue_pop_head(reader->sent);
        restart_timer(reader);
        if (reply.error == 0) {
                g_autofree char *value = g_utf8_make_valid(reply.value, -1);
                OverrideAnswer answer = { 0, reply.inode, value };

                reader->handler(reader->context, *key, &answer);
        } else
                override_reader_tell(reader, *key, -reply.error);
        return 1;
}

static void on_override_reader_readable(void *context, int channel) {
        OverrideReader *reader = ((Process *) context)->reader;
        int r = 1;

        for (unsigned i = 0; i < WINDOW && r > 0; i++)
                r = override_reader_take_answer(reader);
        if (r < 0)
                give_up(reader); /* somebody killed it: its question may be at fault */
        else
                send_waiting(reader);
}

bool override_reader_is_idle(const OverrideReader *reader) {
        return g_queue_is_empty(reader->waiting) && g_queue_is_empty(reader->sent) &&
               g_queue_is_empty(reader->refused);
}

void override_reader_finish(OverrideReader *reader) {
        while (reader->process && !g_queue_is_empty(reader->sent)) {
                struct pollfd poll_fd = { .fd = helper_channel(reader->process->helper),
                                          .events = POLLIN };

                if (poll(&poll_fd, 1, ANSWER_TIMEOUT_MSEC) > 0 &&
                    override_reader_take_answer(reader) >= 0)
                        send_waiting(reader);
                else
                        give_up(reader);
        }
        refuse_hanging(reader);
        if (!g_queue_is_empty(reader->waiting))
                refuse_waiting(reader);
}
