#include "daemon/sessions.h"

#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/util.h"
#include "daemon/vfio-open.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* From the request to the answer, and below the time after which D-Bus clients stop waiting by themselves. */
#define START_TIMEOUT_USEC (20 * 1000 * 1000ULL)

/* What stands for a device: vfwarden-io's page of configuration space, and BAR 0. */
#define EMULATED_OPTION "--emulated=65536"
#define EMULATED_SIZE   (4096 + 65536)

/* All users together. */
#define SESSIONS_MAX 1024

typedef struct Entry {
        Sessions *sessions;
        IoSession session; /* strings owned; what the function points to */
        PciKey key;
        uint64_t inode;
        uint64_t number; /* counts up, never used again */
        uint64_t max_mapped;
        GRefString *driver;
        bool emulated;
        int client; /* the client's end, until it is handed out; -1 */
        int served; /* vfwarden-io's end of the same, until it has it; -1 */
        VfioOpen *open;
        IoProcess *process;
        sd_event_source *timer; /* until it is ready; later: until it is ended */
        SessionOpened *opened;  /* NULL once told */
        SessionAnswered *answered;
        void *context;
        IoOrder order;    /* of a single request */
        IoReport *answer; /* to it, until the process has ended */
        int error;        /* with which it ends */
        bool gone;        /* the function; the client has not noticed yet, or not ended */
} Entry;

struct Sessions {
        sd_event *event;
        Inventory *inventory;
        IoProgram program;
        const SessionsHandler *handler;
        void *context;
        GPtrArray *entries; /* of Entry*, owned */
        GHashTable *
                emulated; /* PciKey* -> memfd: the memory of a device stays when its session ends */
        uint64_t next_number;
};

static const IoProcessHandler process_handler;

static void entry_free(gpointer data) {
        Entry *entry = data;

        sd_event_source_disable_unref(entry->timer);
        vfio_open_free(entry->open);
        io_process_free(entry->process);
        closep(&entry->client);
        closep(&entry->served);
        g_free(entry->session.command);
        g_free(entry->session.unit);
        g_ref_string_release(entry->driver);
        g_free(entry->answer);
        g_free(entry);
}

static void close_emulated(gpointer fd) {
        close(GPOINTER_TO_INT(fd));
}

Sessions *sessions_new(sd_event *event, Inventory *inventory, const IoProgram *program,
                       const SessionsHandler *handler, void *context) {
        Sessions *sessions = g_new0(Sessions, 1);

        sessions->event = sd_event_ref(event);
        sessions->inventory = inventory;
        sessions->program = *program;
        sessions->handler = handler;
        sessions->context = context;
        sessions->entries = g_ptr_array_new_with_free_func(entry_free);
        sessions->emulated =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, close_emulated);
        sessions->next_number = 1;
        return sessions;
}

Sessions *sessions_free(Sessions *sessions) {
        if (!sessions)
                return NULL;
        g_ptr_array_unref(sessions->entries);
        g_hash_table_unref(sessions->emulated);
        sd_event_unref(sessions->event);
        g_free(sessions);
        return NULL;
}

static Entry *find(const Sessions *sessions, PciKey key) {
        for (guint i = 0; i < sessions->entries->len; i++) {
                Entry *entry = sessions->entries->pdata[i];

                if (entry->key == key && !entry->gone)
                        return entry;
        }
        return NULL;
}

/* What its control socket is called in systemd's store. */
static char *fd_name(const Entry *entry) {
        return g_strdup_printf("session-%" PRIu64, entry->number);
}

/* The function, if it is the same device still. */
static Function *entry_function(const Entry *entry) {
        Function *function = inventory_get(entry->sessions->inventory, entry->key);

        return function && function->facts.inode == entry->inode ? function : NULL;
}

static void tell_change(const Entry *entry) {
        entry->sessions->handler->changed(entry->sessions->context, entry->key);
}

/* Tells whoever waits, once. */
static void tell(Entry *entry, int result, const char *message, const IoReport *report) {
        SessionOpened *opened = g_steal_pointer(&entry->opened);
        SessionAnswered *answered = g_steal_pointer(&entry->answered);

        if (opened)
                opened(entry->context, result, message, entry->client, &entry->session);
        if (answered)
                answered(entry->context, result, message, report);
        closep(&entry->client);
        entry->client = -1;
}

static void entry_end(Entry *entry, int result, const char *message) {
        Sessions *sessions = entry->sessions;
        Function *function = entry->gone ? NULL : entry_function(entry);
        g_autofree char *name = fd_name(entry);
        PciKey key = entry->key;

        tell(entry, result, message, NULL);
        if (function)
                function->session = NULL;
        if (!entry->session.single)
                fd_store_drop(name);
        g_ptr_array_remove(sessions->entries, entry);
        sessions->handler->changed(sessions->context, key);
}

/* A single request is over. Its process has ended, and so has closed the device: whoever hears of the answer can make
 * the next request. */
static void entry_answer(Entry *entry) {
        SessionAnswered *answered = g_steal_pointer(&entry->answered);
        g_autofree IoReport *report = g_steal_pointer(&entry->answer);
        void *context = entry->context;

        entry_end(entry, 0, NULL);
        if (answered)
                answered(context, report->error, g_strerror(-report->error), report);
}

static void on_ended(void *context) {
        Entry *entry = context;
        PciAddress address = pci_address_from_key(entry->key);

        if (entry->answer) {
                entry_answer(entry);
                return;
        }
        if (entry->session.ready && !entry->session.single)
                log_full(entry->error < 0 ? LOG_NOTICE : LOG_INFO, &address, NULL,
                         "the I/O session of %s (pid %u) has ended%s%s", entry->session.command,
                         entry->session.pid, entry->error < 0 ? ": " : "",
                         entry->error < 0 ? g_strerror(-entry->error) : "");
        entry_end(entry, -EIO, "vfwarden-io ended before it was ready");
}

static void take_facts(Entry *entry, const IoReport *report) {
        IoSession *session = &entry->session;

        session->ready = true;
        session->relaxed = report->relaxed;
        session->pieces = report->pieces;
        session->max_store_block = report->max_store_block;
        g_strlcpy(session->backend, report->backend, sizeof(session->backend));
}

static void on_ready(Entry *entry, const IoReport *report) {
        g_autofree char *name = fd_name(entry);
        PciAddress address = pci_address_from_key(entry->key);

        take_facts(entry, report);
        if (entry->session.single) {
                if (io_process_request(entry->process, &entry->order) < 0)
                        entry_end(entry, -EIO, "vfwarden-io does not take the request");
                return;
        }
        entry->timer = sd_event_source_disable_unref(entry->timer);
        fd_store_keep(name, io_process_control(entry->process));
        log_full(LOG_INFO, &address, NULL, "I/O session of %s (pid %u, uid %u) by %s",
                 entry->session.command, entry->session.pid, entry->session.uid,
                 entry->session.backend);
        tell_change(entry);
        tell(entry, 0, NULL, report);
}

static void on_report(void *context, const IoReport *report) {
        Entry *entry = context;
        g_autofree char *message = NULL;

        switch (report->kind) {
        case IO_READY:
                on_ready(entry, report);
                break;
        case IO_FAILED:
                message = g_strdup_printf("the device cannot be served: %s",
                                          g_strerror(-report->error));
                entry_end(entry, report->error == -EOPNOTSUPP ? -EOPNOTSUPP : -EIO, message);
                break;
        case IO_LOAD:
        case IO_STORE:
                if (entry->session.single && !entry->answer)
                        entry->answer = g_memdup2(report, sizeof(*report));
                break;
        case IO_STATUS:
                take_facts(entry, report);
                tell_change(entry);
                break;
        case IO_CLOSED:
                entry->error = report->error;
                break;
        default:
                break;
        }
}

static const IoProcessHandler process_handler = { .report = on_report, .ended = on_ended };

static int start_process(Entry *entry, int device) {
        Sessions *sessions = entry->sessions;
        IoProcessOptions options = {
                .client = entry->served,
                .device = device,
                .driver = entry->driver,
                .emulated = entry->emulated ? EMULATED_OPTION : NULL,
                .max_mapped = entry->max_mapped,
        };
        int r;

        r = io_process_start(sessions->event, &sessions->program, &options, &process_handler, entry,
                             &entry->process);
        if (r < 0)
                return r;
        closep(&entry->served);
        entry->served = -1;
        entry->session.io_pid = (uint32_t) io_process_pid(entry->process);
        return 0;
}

static void on_opened(void *context, int fd, const char *step) {
        Entry *entry = context;
        _cleanup_(closep) int device = fd;
        g_autofree char *message = NULL;
        int r;

        entry->open = vfio_open_free(entry->open);
        if (fd < 0) {
                message = g_strdup_printf("it cannot be opened: %s: %s", step, g_strerror(-fd));
                entry_end(entry, fd == -EBUSY ? -EBUSY : -EIO, message);
                return;
        }
        if (!entry_function(entry)) {
                entry_end(entry, -ENODEV, "the function has gone meanwhile");
                return;
        }
        r = start_process(entry, device);
        if (r < 0) {
                message = g_strdup_printf("vfwarden-io cannot be started: %s", g_strerror(-r));
                entry_end(entry, -EIO, message);
                return;
        }
        tell_change(entry); /* whose process it is that has it open now */
}

static int on_start_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        entry_end(userdata, -ETIMEDOUT, "it was not opened in time");
        return 0;
}

/* Memory that looks like a device, the same for all sessions with a function. */
static int emulated_device(Sessions *sessions, PciKey key) {
        gpointer known;
        int fd;

        if (g_hash_table_lookup_extended(sessions->emulated, &key, NULL, &known))
                return GPOINTER_TO_INT(known);
        fd = memfd_create("vfwarden-emulated", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, EMULATED_SIZE) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
                close(fd);
                return -errno;
        }
        g_hash_table_insert(sessions->emulated, g_memdup2(&key, sizeof(key)), GINT_TO_POINTER(fd));
        return fd;
}

static void identify_client(Entry *entry, const SessionRequest *request) {
        g_autoptr(Process) process = NULL;
        int procfd = process_open_directory((pid_t) request->pid);

        if (procfd >= 0)
                (void) process_new((pid_t) request->pid, procfd, &process);
        entry->session.pid = request->pid;
        entry->session.uid = request->uid;
        entry->session.command = g_strdup(process ? process->command : "");
        entry->session.unit = g_strdup(process ? process->unit : "");
}

static int check_limits(const Sessions *sessions, const Config *config,
                        const SessionRequest *request) {
        uint64_t mapped = request->max_mapped;
        unsigned n = 0;

        for (guint i = 0; i < sessions->entries->len; i++) {
                const Entry *entry = sessions->entries->pdata[i];

                if (entry->session.uid != request->uid)
                        continue;
                n++;
                if (__builtin_add_overflow(mapped, entry->max_mapped, &mapped))
                        return -EDQUOT;
        }
        return n >= config->max_sessions || sessions->entries->len >= SESSIONS_MAX ||
                               mapped > config->max_mapped
                       ? -EDQUOT
                       : 0;
}

static int make_socket(Entry *entry) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        entry->client = pair[0];
        entry->served = pair[1];
        return 0;
}

/* Opens the device, or what stands for it. */
static int open_device(Entry *entry, const Function *function) {
        Sessions *sessions = entry->sessions;
        int fd;

        if (!entry->emulated)
                return vfio_open_start(sessions->event, function, on_opened, entry, &entry->open);
        fd = emulated_device(sessions, entry->key);
        return fd < 0 ? fd : start_process(entry, fd);
}

static int begin(Sessions *sessions, Function *function, const Config *config,
                 const SessionRequest *request, Entry **ret) {
        Entry *entry;
        int r;

        if (find(sessions, function->facts.key))
                return -EBUSY;
        r = check_limits(sessions, config, request);
        if (r < 0)
                return r;

        entry = g_new0(Entry, 1);
        entry->sessions = sessions;
        entry->client = entry->served = -1;
        entry->key = function->facts.key;
        entry->inode = function->facts.inode;
        entry->number = sessions->next_number++;
        entry->max_mapped = request->max_mapped;
        entry->driver = g_ref_string_acquire(function->facts.driver);
        entry->emulated = request->emulated;
        entry->session.since_usec = (uint64_t) g_get_real_time();
        identify_client(entry, request);
        *ret = entry;
        return 0;
}

/* Takes the entry over. */
static int go(Entry *entry, Function *function) {
        Sessions *sessions = entry->sessions;
        int r;

        r = sd_event_add_time_relative(sessions->event, &entry->timer, CLOCK_MONOTONIC,
                                       START_TIMEOUT_USEC, 0, on_start_timeout, entry);
        if (r >= 0)
                r = open_device(entry, function);
        if (r < 0) {
                entry_free(entry);
                return r;
        }
        g_ptr_array_add(sessions->entries, entry);
        function->session = &entry->session;
        tell_change(entry);
        return 0;
}

int sessions_open(Sessions *sessions, Function *function, const Config *config,
                  const SessionRequest *request, SessionOpened *done, void *context) {
        Entry *entry;
        int r;

        r = begin(sessions, function, config, request, &entry);
        if (r < 0)
                return r;
        r = make_socket(entry);
        if (r < 0) {
                entry_free(entry);
                return r;
        }
        entry->opened = done;
        entry->context = context;
        return go(entry, function);
}

int sessions_request(Sessions *sessions, Function *function, const Config *config,
                     const SessionRequest *request, const IoOrder *order, SessionAnswered *done,
                     void *context) {
        Entry *entry;
        int r;

        r = begin(sessions, function, config, request, &entry);
        if (r < 0)
                return r;
        entry->session.single = true;
        entry->order = *order;
        entry->answered = done;
        entry->context = context;
        return go(entry, function);
}

static int on_end_time(sd_event_source *source, uint64_t usec, void *userdata) {
        Entry *entry = userdata;

        entry->timer = sd_event_source_disable_unref(entry->timer);
        entry->error = -ENODEV;
        io_process_order(entry->process, IO_END);
        return 0;
}

void sessions_drain(Sessions *sessions, PciKey key, uint64_t end_usec) {
        Entry *entry = find(sessions, key);

        if (!entry || !entry->session.ready || entry->session.single)
                return;
        io_process_order(entry->process, IO_DRAIN);
        if (end_usec == SESSIONS_NO_END || entry->timer)
                return;
        if (sd_event_add_time_relative(sessions->event, &entry->timer, CLOCK_MONOTONIC, end_usec, 0,
                                       on_end_time, entry) < 0)
                on_end_time(NULL, 0, entry);
}

void sessions_function_gone(Sessions *sessions, PciKey key) {
        Entry *entry = find(sessions, key);

        if (!entry)
                return;
        if (!entry->session.ready || entry->session.single) {
                entry_end(entry, -ENODEV, "the function has gone meanwhile");
                return;
        }
        entry->error = -ENODEV;
        entry->gone = true;
        io_process_order(entry->process, IO_GONE);
}

void sessions_attach(Sessions *sessions, Function *function) {
        Entry *entry = find(sessions, function->facts.key);

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

GPtrArray *sessions_users(const Sessions *sessions, const Function *function, GPtrArray *users) {
        const IoSession *session = function->session;

        if (!session)
                return users;
        /* Who has it open, or is about to, without being found, is a process of ours. */
        for (guint i = users ? users->len : 0; i > 0; i--) {
                uint32_t pid = ((const User *) users->pdata[i - 1])->pid;

                if (pid == session->io_pid || pid == 0)
                        g_ptr_array_remove_index(users, i - 1);
        }
        if (!users)
                users = user_list_new();
        add_client(users, session);
        return users;
}

void sessions_record(const Sessions *sessions, State *state) {
        for (guint i = 0; i < sessions->entries->len; i++) {
                const Entry *entry = sessions->entries->pdata[i];
                const IoSession *session = &entry->session;

                if (!session->ready || session->single || entry->gone)
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
                g_array_append_val(state->sessions, record);
        }
}

static void adopt(Sessions *sessions, const StateSession *record, FdStore *store) {
        Entry *entry = g_new0(Entry, 1);
        g_autofree char *name = NULL;
        _cleanup_(closep) int control = -1;

        entry->sessions = sessions;
        entry->client = entry->served = -1;
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
        name = fd_name(entry);
        control = fd_store_take(store, name);
        if (control < 0 ||
            io_process_adopt(sessions->event, (pid_t) record->io_pid, record->io_start_time,
                             &control, &process_handler, entry, &entry->process) < 0) {
                fd_store_drop(name);
                entry_free(entry);
                return;
        }
        g_ptr_array_add(sessions->entries, entry);
        io_process_order(entry->process, IO_STATUS);
}

void sessions_adopt(Sessions *sessions, const State *state, FdStore *store) {
        for (guint i = 0; i < state->sessions->len; i++) {
                const StateSession *record = &g_array_index(state->sessions, StateSession, i);

                sessions->next_number = MAX(sessions->next_number, record->number + 1);
                adopt(sessions, record, store);
        }
}
