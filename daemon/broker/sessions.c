#include "daemon/broker/sessions.h"

#include "daemon/base/util.h"
#include "daemon/broker/records.h"
#include "daemon/broker/session-entry.h"
#include "policy/root-share.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

/* All users together. */
#define SESSIONS_MAX 1024

/* Counts are not older when somebody asks for them every second. */
#define COUNTS_USEC (500 * 1000ULL)

Sessions *sessions_new(sd_event *event, Spawner *spawner, Children *children, Inventory *inventory,
                       FdStore *store, const SessionsHandler *handler, void *context) {
        Sessions *sessions = g_new0(Sessions, 1);

        sessions->event = sd_event_ref(event);
        sessions->children = children;
        sessions->inventory = inventory;
        sessions->store = store;
        sessions->spawner = spawner;
        sessions->handler = handler;
        sessions->context = context;
        sessions->entries = g_ptr_array_new_with_free_func(session_entry_free);
        sessions->waiters = g_ptr_array_new();
        sessions->emulated = emulated_devices_new();
        sessions->next_number = 1;
        return sessions;
}

Sessions *sessions_free(Sessions *sessions) {
        if (!sessions)
                return NULL;
        g_ptr_array_unref(sessions->entries);
        g_ptr_array_unref(sessions->waiters);
        emulated_devices_free(sessions->emulated);
        sd_event_unref(sessions->event);
        g_free(sessions);
        return NULL;
}

void sessions_end_calls(Sessions *sessions, const char *why) {
        session_waiters_cancel(sessions);
        for (guint i = 0; i < sessions->entries->len; i++)
                session_entry_tell(sessions->entries->pdata[i], -ECANCELED, why);
}

SessionEntry *sessions_find(const Sessions *sessions, PciKey key) {
        for (guint i = 0; i < sessions->entries->len; i++) {
                SessionEntry *entry = sessions->entries->pdata[i];

                if (entry->key == key && !entry->gone)
                        return entry;
        }
        return NULL;
}

/* An idle process is no session of a client: there is one for a function at most, and it goes by
 * itself. A process that hangs keeps what it has pinned. */
static int check_limits(const Sessions *sessions, const Config *config,
                        const SessionRequest *request) {
        uint64_t mapped = children_memory(sessions->children, request->uid);
        unsigned n = children_count(sessions->children, request->uid), n_all = 0;

        if (__builtin_add_overflow(mapped, request->max_mapped, &mapped))
                return -EDQUOT;
        for (guint i = 0; i < sessions->entries->len; i++) {
                const SessionEntry *entry = sessions->entries->pdata[i];

                n_all += !entry->session.idle;
                if (entry->session.uid != request->uid || entry->session.idle)
                        continue;
                n++;
                if (__builtin_add_overflow(mapped, entry->max_mapped, &mapped))
                        return -EDQUOT;
        }
        return n >= config->max_sessions || !root_share_left(n_all, SESSIONS_MAX, request->uid) ||
                               mapped > config->max_mapped
                       ? -EDQUOT
                       : 0;
}

int sessions_check(const Sessions *sessions, const Function *function, const Config *config,
                   const SessionRequest *request) {
        return sessions_find(sessions, function->facts.key)
                       ? -EBUSY
                       : check_limits(sessions, config, request);
}

static int make_socket(SessionEntry *entry) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        entry->client = pair[0];
        entry->served = pair[1];
        return 0;
}

/* A copy of the client's socket, if it is one that listens. What is none is not touched: to look at
 * it, or to close it, could wait for ever. */
static int take_listener(SessionEntry *entry, int listener) {
        static const struct {
                int option, value;
        } expected[] = {
                { SO_DOMAIN, AF_UNIX },
                { SO_TYPE, SOCK_STREAM },
                { SO_ACCEPTCONN, 1 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
                socklen_t size = sizeof(int);
                int value = -1;

                if (getsockopt(listener, SOL_SOCKET, expected[i].option, &value, &size) < 0 ||
                    value != expected[i].value)
                        return -EINVAL;
        }
        entry->listener = fcntl(listener, F_DUPFD_CLOEXEC, 3);
        return entry->listener < 0 ? -errno : 0;
}

int sessions_open(Sessions *sessions, Function *function, const Config *config,
                  const SessionRequest *request, SessionOpened *done, void *context) {
        SessionEntry *entry;
        int r;

        r = sessions_check(sessions, function, config, request);
        if (r < 0)
                return r;
        entry = session_entry_new(sessions, function, request);
        r = make_socket(entry);
        if (r >= 0 && request->listener >= 0)
                r = take_listener(entry, request->listener);
        if (r < 0) {
                session_entry_free(entry);
                return r;
        }
        entry->opened = done;
        entry->context = context;
        return session_entry_start(entry, function);
}

static int on_end_time(sd_event_source *source, uint64_t usec, void *userdata) {
        SessionEntry *entry = userdata;

        entry->timer = sd_event_source_disable_unref(entry->timer);
        entry->error = -ENODEV;
        io_process_order(entry->process, IO_END);
        return 0;
}

void sessions_drain(Sessions *sessions, PciKey key, uint64_t end_usec) {
        SessionEntry *entry = sessions_find(sessions, key);

        if (entry && entry->session.single)
                session_entry_end_idle(entry);
        if (!entry || entry->session.single)
                return;
        if (!entry->session.ready) {
                session_entry_end(entry, -ECONNREFUSED, "it is being taken away");
                return;
        }
        io_process_order(entry->process, IO_DRAIN);
        if (end_usec == SESSIONS_NO_END || entry->timer)
                return;
        if (session_entry_set_timer(entry, end_usec, on_end_time) < 0)
                on_end_time(NULL, 0, entry);
}

void sessions_function_gone(Sessions *sessions, PciKey key) {
        SessionEntry *entry = sessions_find(sessions, key);

        if (!entry)
                return;
        if (!entry->session.ready || entry->session.single) {
                session_entry_end(entry, -ENODEV, "the function has gone meanwhile");
                return;
        }
        entry->error = -ENODEV;
        entry->gone = true;
        entry->has_device = false; /* the kernel waited for that */
        io_process_order(entry->process, IO_GONE);
}

void sessions_ask_counts(Sessions *sessions, PciKey key) {
        SessionEntry *entry = sessions_find(sessions, key);
        uint64_t now = (uint64_t) g_get_monotonic_time();

        if (!entry || !entry->session.ready || entry->session.single ||
            now < entry->asked_usec + COUNTS_USEC)
                return;
        entry->asked_usec = now;
        io_process_ask_counts(entry->process);
}

void sessions_attach(Sessions *sessions, Function *function) {
        SessionEntry *entry = sessions_find(sessions, function->facts.key);

        if (entry && entry->inode == function->facts.inode)
                function->session = &entry->session;
}

static void add_client(GPtrArray *users, const IoSession *session) {
        User user = {
                .pid = session->pid,
                .uid = session->uid,
                .command = session->command,
                .unit = session->unit,
                .machine = (char *) "",
                .since_usec = session->since_usec,
                .session = true,
        };

        g_ptr_array_add(users, user_copy(&user));
}

/* Also of a process that has reported the opposite: then it is killed. */
static void update_device(const Sessions *sessions, const Function *function,
                          const GPtrArray *users) {
        for (guint i = 0; i < sessions->entries->len; i++) {
                SessionEntry *entry = sessions->entries->pdata[i];

                if (entry->key != function->facts.key || entry->inode != function->facts.inode)
                        continue;
                entry->has_device = false;
                for (guint j = 0; users && j < users->len; j++)
                        entry->has_device |=
                                ((const User *) users->pdata[j])->pid == entry->session.io_pid;
        }
}

void sessions_function_changed(Sessions *sessions, const Function *function) {
        SessionEntry *entry = sessions_find(sessions, function->facts.key);

        if (entry && entry->closed && !entry->has_device)
                session_entry_detach(entry);
}

GPtrArray *sessions_users(const Sessions *sessions, const Function *function, GPtrArray *users) {
        const IoSession *session = function->session;
        const SessionEntry *entry = sessions_find(sessions, function->facts.key);

        update_device(sessions, function, users);
        if (!session || !entry)
                return users;
        /* A user that is not found, or is about to open it, is a process of the daemon. */
        for (guint i = users ? users->len : 0; i > 0; i--) {
                uint32_t pid = ((const User *) users->pdata[i - 1])->pid;

                if (pid == session->io_pid || pid == session->opener_pid || pid == 0)
                        g_ptr_array_remove_index(users, i - 1);
        }
        if (!users)
                users = user_list_new();
        add_client(users, session);
        return users;
}

void sessions_record(const Sessions *sessions, GArray *records) {
        for (guint i = 0; i < sessions->entries->len; i++) {
                const SessionEntry *entry = sessions->entries->pdata[i];
                const IoSession *session = &entry->session;

                /* One whose device is closed is none any more: to a later daemon the process is one
                 * like others. */
                if (!session->ready || session->single || entry->gone || entry->closed)
                        continue;
                StateSession record = {
                        .number = entry->number,
                        .key = entry->key,
                        .inode = entry->inode,
                        .io_pid = session->io_pid,
                        .io_start_time = io_process_start_time(entry->process),
                        .max_mapped = entry->max_mapped,
                        .uid = session->uid,
                        .pid = session->pid,
                        .command = g_strdup(session->command),
                        .unit = g_strdup(session->unit),
                        .since_usec = session->since_usec,
                };
                g_array_append_val(records, record);
        }
}

/* Returns 0, also when it has ended, or a negative errno when that is unknown. */
static int adopt_session(Sessions *sessions, const StateSession *record) {
        SessionEntry *entry = g_new0(SessionEntry, 1);
        g_autofree char *name = NULL;
        _cleanup_(closep) int control = -1;
        IoProcessFor whom;
        int r = 0;

        entry->sessions = sessions;
        entry->client = entry->listener = entry->served = -1;
        entry->key = record->key;
        entry->inode = record->inode;
        entry->number = record->number;
        entry->max_mapped = record->max_mapped;
        entry->driver = g_ref_string_new_intern("");
        entry->session = (IoSession){
                .pid = record->pid,
                .uid = record->uid,
                .command = g_strdup(record->command),
                .unit = g_strdup(record->unit),
                .since_usec = record->since_usec,
                .io_pid = record->io_pid,
                .ready = true,
        };
        whom = session_entry_whom(entry);
        name = session_entry_fd_name(entry);
        control = fd_store_take(sessions->store, name);
        if (control >= 0)
                r = io_process_adopt(sessions->event, &whom, (pid_t) record->io_pid,
                                     record->io_start_time, &control,
                                     &session_entry_process_handler, entry, &entry->process);
        if (!entry->process) {
                if (!state_is_out_of_reach(r))
                        fd_store_drop(sessions->store, name);
                session_entry_free(entry);
                return state_is_out_of_reach(r) ? r : 0;
        }
        g_ptr_array_add(sessions->entries, entry);
        io_process_order(entry->process, IO_STATUS);
        return 0;
}

int sessions_adopt(Sessions *sessions, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateSession *record = &g_array_index(records, StateSession, i);
                int r;

                sessions->next_number = MAX(sessions->next_number, record->number + 1);
                r = adopt_session(sessions, record);
                if (r < 0)
                        return r;
        }
        return 0;
}
