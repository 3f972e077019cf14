#include "dbus/admission.h"

#include "dbus/answers.h"
#include "dbus/clients.h"
#include "dbus/error.h"
#include "dbus/interfaces/method-table.h"
#include "dbus/managed-objects.h"
#include "dbus/path.h"
#include "dbus/senders.h"
#include "policy/allowance.h"

#include <errno.h>
#include <string.h>

/* Calls of clients that the bus has not named yet are kept until it has: of each so many, and so
 * many more of all together. */
#define NEWCOMER_CALLS_MAX 1U
#define NEWCOMERS_MORE_MAX 256U

/* While calls come faster than the loop turns, a turn takes as many as it can in this time: a turn
 * costs more than the refusal of a call. */
#define BURST_USEC 500ULL

/* With so many messages waiting to be written, the bus does not keep up: no more errors then. */
#define QUEUED_ERRORS_MAX 1024U

/* What an answer takes without its values, or an error of the daemon's own words. */
#define HEAD_BYTES 256U

/* The D-Bus specification, "Valid Names". */
#define NAME_MAX_BYTES 255U

struct Admission {
        Bus *bus;
        Allowance *allowance;
        GHashTable *newcomers; /* name -> number of calls, until the bus has named them */
        unsigned n_more;       /* of these, beyond NEWCOMER_CALLS_MAX each */
        sd_bus_slot *filter;
        sd_event_source *quiet; /* no call waits to be read */
        sd_event_source *burst; /* more of them wait */
};

/* What calls cost: points (see allowance.h), and the bytes of an answer that are noted before it is
 * made. All answers with values are measured when they have been sent (clients_replied()), but for
 * those that sd-bus makes alone: they count here. */
typedef struct Cost {
        const char *interface, *member;
        unsigned points;
        size_t bytes;
} Cost;

static const Cost costs[] = {
        /* Its answer is smaller than a refusal. */
        { "org.freedesktop.DBus.Peer", "Ping", 0, 64 },
        { "org.freedesktop.DBus.Introspectable", "Introspect", 4, 16384 },
        { "org.freedesktop.DBus.Properties", "GetAll", 4, HEAD_BYTES },
        { BUS_INTERFACE("Manager"), "Check", 4, HEAD_BYTES },
        { BUS_INTERFACE("Manager"), "ListInhibitors", 4, HEAD_BYTES },
        { BUS_INTERFACE("Manager"), "DescribeInhibitors", 4, HEAD_BYTES },
        { BUS_INTERFACE("Manager"), "InhibitMany", 4, HEAD_BYTES },
};

static const Cost usual_cost = { .points = 1, .bytes = HEAD_BYTES };

static const Cost *find_cost(sd_bus_message *call) {
        for (unsigned i = 0; i < G_N_ELEMENTS(costs); i++)
                if (sd_bus_message_is_method_call(call, costs[i].interface, costs[i].member) > 0)
                        return &costs[i];
        return &usual_cost;
}

/* Whether nobody would ever notice that the call was not served. */
static bool is_idle(sd_bus_message *call) {
        const char *interface = sd_bus_message_get_interface(call);
        const char *member = sd_bus_message_get_member(call);
        const Method *method;

        if (!interface || sd_bus_message_get_expect_reply(call) != 0)
                return false;
        if (g_str_has_prefix(interface, "org.freedesktop.DBus."))
                return strcmp(member, "Set") != 0;
        method = method_find(interface, member);
        return method && !method->action;
}

static bool take_newcomer(Admission *admission, const char *name) {
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(admission->newcomers, name));

        if (n >= NEWCOMER_CALLS_MAX && admission->n_more >= NEWCOMERS_MORE_MAX)
                return false;
        admission->n_more += n >= NEWCOMER_CALLS_MAX;
        g_hash_table_insert(admission->newcomers, g_strdup(name), GUINT_TO_POINTER(n + 1));
        return true;
}

/* The bus has named the client, or it has left. */
static void end_newcomer(Admission *admission, const char *name) {
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(admission->newcomers, name));

        if (n > NEWCOMER_CALLS_MAX)
                admission->n_more -= n - NEWCOMER_CALLS_MAX;
        g_hash_table_remove(admission->newcomers, name);
}

static uint32_t uid_of(Admission *admission, const char *name) {
        const Sender *sender = senders_peek(admission->bus->senders, name);

        if (!sender)
                return CLIENTS_UID_UNKNOWN;
        end_newcomer(admission, name);
        return sender->uid;
}

static bool take_allowance(Admission *admission, const char *name, uint32_t uid, const Cost *cost) {
        if (uid == CLIENTS_UID_UNKNOWN)
                return take_newcomer(admission, name);
        return uid == 0 || allowance_take(admission->allowance, uid, cost->points,
                                          (uint64_t) g_get_monotonic_time());
}

static void admission_refuse(const Admission *admission, sd_bus_message *call, const char *name,
                             uint32_t uid) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t queued = 0;

        if (sd_bus_message_get_expect_reply(call) == 0)
                return;
        (void) sd_bus_get_n_queued_write(admission->bus->connection, &queued);
        if (queued > QUEUED_ERRORS_MAX)
                return;
        (void) bus_error_set(&error, -EDQUOT, "too many requests of this user are pending");
        (void) sd_bus_reply_method_error(call, &error);
        sd_bus_error_free(&error);
        clients_sent(admission->bus->clients, name, uid, usual_cost.bytes);
}

/* A call that comes before the loop was quiet after the one before is one of many. */
static void note_call(Admission *admission) {
        if (sd_event_source_get_enabled(admission->quiet, NULL) > 0)
                (void) sd_event_source_set_enabled(admission->burst, SD_EVENT_ONESHOT);
        (void) sd_event_source_set_enabled(admission->quiet, SD_EVENT_ONESHOT);
}

/* Whether the call is to be served; if it is not, it has been dealt with. */
static bool admit(Admission *admission, sd_bus_message *call, const char *name) {
        Clients *clients = admission->bus->clients;
        const Cost *cost = find_cost(call);
        uint32_t uid = uid_of(admission, name);
        ClientState state;

        note_call(admission);
        if (is_idle(call))
                return false;
        state = uid == 0 ? CLIENT_READS
                         : clients_state(clients, name, uid, (uint64_t) g_get_monotonic_time());
        if (state == CLIENT_IS_FAR_BEHIND)
                return false;
        if (state == CLIENT_IS_BEHIND || !take_allowance(admission, name, uid, cost)) {
                admission_refuse(admission, call, name, uid);
                return false;
        }
        if (sd_bus_message_get_expect_reply(call) > 0)
                clients_sent(clients, name, uid, cost->bytes);
        return true;
}

typedef struct Request {
        Bus *bus;
        const AnswerKind *kind;
        sd_bus_message *message; /* a reference */
} Request;

static void on_sender(void *userdata, int result, const Sender *sender) {
        g_autofree Request *request = userdata;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        MethodCall call = { .bus = request->bus, .message = request->message };

        if (result >= 0) {
                call.uid = sender->uid;
                call.pid = sender->pid;
                result = answers_add(request->bus->answers, &call, request->kind, &error);
        }
        if (result < 0 && !sd_bus_error_is_set(&error))
                (void) bus_error_set(&error, result == -EDQUOT ? -EDQUOT : -EIO,
                                     "the bus does not name the caller's user");
        if (result < 0 && result != -ENXIO)
                (void) sd_bus_reply_method_error(request->message, &error);
        sd_bus_error_free(&error);
        sd_bus_message_unref(request->message);
}

static void request_answer(Bus *bus, sd_bus_message *message, const AnswerKind *kind) {
        Request *request = g_new(Request, 1);

        *request = (Request){ bus, kind, sd_bus_message_ref(message) };
        senders_find(bus->senders, sd_bus_message_get_sender(message), on_sender, request);
}

static void on_named(void *userdata, int result, const Sender *sender) {
}

/* sd-bus looks for objects at each prefix of a path, which takes time that grows with the square of
 * its length (OBJECT_PATH_FOREACH_PREFIX() in bus_process_object()). */
static bool has_long_path(sd_bus_message *call) {
        return strlen(sd_bus_message_get_path(call)) >= FUNCTION_PATH_MAX;
}

/* sd-bus repeats the names in its errors (property_get_all_callbacks_run() in bus-objects.c), and
 * takes any text for one. */
static bool has_long_name(sd_bus_message *call) {
        const char *name = "";
        bool is_long = false;
        int r = 1;

        if (sd_bus_message_is_method_call(call, "org.freedesktop.DBus.Properties", NULL) <= 0)
                return false;
        for (unsigned i = 0; r > 0 && i < 2; i++) /* of the interface and of a property */
                if ((r = sd_bus_message_read_basic(call, 's', &name)) > 0)
                        is_long = is_long || strlen(name) > NAME_MAX_BYTES;
        (void) sd_bus_message_rewind(call, true);
        return is_long;
}

static void refuse_name(sd_bus_message *call, const char *name, const char *text) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) sd_bus_error_set(&error, name, text);
        (void) sd_bus_reply_method_error(call, &error);
        sd_bus_error_free(&error);
}

static int on_admission_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Admission *admission = userdata;
        Bus *bus = admission->bus;
        const char *name = sd_bus_message_get_sender(message);
        const AnswerKind *kind;

        clients_note_reply(bus->clients); /* also before a departure, which is a signal */
        if (!name || sd_bus_message_is_method_call(message, NULL, NULL) <= 0)
                return 0;
        if (!admit(admission, message, name))
                return 1;
        if (has_long_path(message)) {
                refuse_name(message, SD_BUS_ERROR_UNKNOWN_OBJECT,
                            "there is no object with so long a path");
                return 1;
        }
        if (has_long_name(message)) {
                refuse_name(message, SD_BUS_ERROR_INVALID_ARGS,
                            "no interface and no property has so long a name");
                return 1;
        }
        manager_catch_up(bus->manager);
        kind = managed_objects_find_kind(message);
        if (kind)
                request_answer(bus, message, kind);
        else if (!senders_peek(bus->senders, name)) /* for the next one */
                senders_find(bus->senders, name, on_named, NULL);
        return kind != NULL;
}

static int on_quiet(sd_event_source *source, void *userdata) {
        allowance_reset(((Admission *) userdata)->allowance);
        return 0;
}

/* Takes more calls in this turn. Each enables this source again. */
static int on_burst(sd_event_source *source, void *userdata) {
        const Admission *admission = userdata;
        uint64_t end_usec = (uint64_t) g_get_monotonic_time() + BURST_USEC;
        int r = 1;

        while (r > 0 && (uint64_t) g_get_monotonic_time() < end_usec)
                r = sd_bus_process(admission->bus->connection, NULL);
        return 0; /* of a lost connection the bus's own source tells */
}

static void on_admission_left(void *userdata, const char *name) {
        end_newcomer(userdata, name);
}

static int watch_quiet(Admission *admission, sd_event *event) {
        int r = sd_event_add_defer(event, &admission->quiet, on_quiet, admission);

        /* Behind the bus and all that serves its calls. */
        if (r >= 0)
                r = sd_event_source_set_description(admission->quiet, "admission-quiet");
        if (r >= 0)
                r = sd_event_source_set_priority(admission->quiet, SD_EVENT_PRIORITY_IDLE);
        return r < 0 ? r : sd_event_source_set_enabled(admission->quiet, SD_EVENT_OFF);
}

static int watch_burst(Admission *admission, sd_event *event) {
        int r = sd_event_add_defer(event, &admission->burst, on_burst, admission);

        if (r >= 0)
                r = sd_event_source_set_description(admission->burst, "admission-burst");
        return r < 0 ? r : sd_event_source_set_enabled(admission->burst, SD_EVENT_OFF);
}

int admission_new(Bus *bus, sd_event *event, Admission **ret) {
        Admission *admission = g_new0(Admission, 1);
        int r;

        admission->bus = bus;
        admission->allowance = allowance_new();
        admission->newcomers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        r = watch_quiet(admission, event);
        if (r >= 0)
                r = watch_burst(admission, event);
        if (r >= 0)
                r = sd_bus_add_filter(bus->connection, &admission->filter, on_admission_message,
                                      admission);
        if (r < 0) {
                admission_free(admission);
                return r;
        }
        senders_watch(bus->senders, on_admission_left, admission);
        *ret = admission;
        return 0;
}

Admission *admission_free(Admission *admission) {
        if (!admission)
                return NULL;
        sd_bus_slot_unref(admission->filter);
        sd_event_source_disable_unref(admission->quiet);
        sd_event_source_disable_unref(admission->burst);
        g_hash_table_unref(admission->newcomers);
        allowance_free(admission->allowance);
        g_free(admission);
        return NULL;
}
