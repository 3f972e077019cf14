#include "dbus/answers.h"

#include "daemon/base/log.h"
#include "dbus/clients.h"
#include "dbus/error.h"
#include "dbus/senders.h"
#include "policy/call-queue.h"

#include <errno.h>
#include <string.h>

/* While calls are waiting to be read, a slice comes every INTERVAL: an eighth of the time. */
#define SLICE_USEC    (2 * 1000ULL)
#define INTERVAL_USEC (16 * 1000ULL)

/* While calls are waiting to be read, an answer of more than LARGE bytes is sent to others than
 * root this seldom: dbus-daemon reads some KiB of it in each round over all its connections, and
 * whatever the daemon sends next waits for that. */
#define LARGE               (64U * 1024)
#define LARGE_INTERVAL_USEC (1000 * 1000ULL)

/* An answer of no more bytes than other methods' answers have is sent as those are. While calls are
 * waiting to be read there is always something that waits to be written. */
#define SMALL (4U * 1024)

/* A text that was made lately. A client that asked before it was begun, and for nothing else, may
 * have it. */
typedef struct Shared {
        const AnswerKind *kind;
        uint32_t uid;
        uint64_t number;  /* of the last call that had come when it was begun */
        uint64_t changes; /* of the inventory, likewise */
        char *text;
} Shared;

struct Answers {
        Bus *bus;
        CallQueue *queue; /* of Answer*, owned */
        Shared shared;
        uint64_t number, changes; /* of calls and of changes so far */
        uint64_t large_usec;      /* when a large one was sent last */
        sd_event_source *idle;    /* nothing is to be read */
        sd_event_source *tick;
};

static uint64_t now_usec(void) {
        return (uint64_t) g_get_monotonic_time();
}

static Answer *answer_free(Answer *answer) {
        sd_bus_message_unref(answer->reply);
        sd_bus_message_unref(answer->call.message);
        if (answer->text)
                g_string_free(answer->text, TRUE);
        g_clear_pointer(&answer->keys, g_array_unref);
        g_clear_pointer(&answer->changes, g_array_unref);
        g_free(answer);
        return NULL;
}

static const char *client_of(const Answer *answer) {
        return sd_bus_message_get_sender(answer->call.message);
}

static bool can_take(const Answers *answers, const Answer *answer) {
        return clients_can_take_large(answers->bus->clients, client_of(answer), answer->call.uid,
                                      now_usec());
}

static bool is_late(const Answers *answers, const Answer *answer) {
        return clients_is_late(answers->bus->clients, client_of(answer), answer->call.uid,
                               answer->since_usec, now_usec());
}

static bool is_ready(void *userdata, void *call) {
        return can_take(userdata, call) || is_late(userdata, call);
}

static void answers_list_functions(const Answers *answers, Answer *answer) {
        g_autoptr(GPtrArray) functions = inventory_sorted(manager_inventory(answers->bus->manager));

        answer->keys = g_array_sized_new(FALSE, FALSE, sizeof(PciKey), functions->len);
        for (guint i = 0; i < functions->len; i++)
                g_array_append_val(answer->keys, ((Function *) functions->pdata[i])->facts.key);
}

static int answer_begin(Answers *answers, Answer *answer) {
        if (answer->kind->add)
                answers_list_functions(answers, answer);
        else
                answer->keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        answer->number = answers->number;
        if (answer->kind->is_text)
                answer->text = g_string_new(NULL);
        return sd_bus_message_new_method_return(answer->call.message, &answer->reply);
}

/* Adds functions until `end_usec`. Returns whether that was all. */
static int answer_add(Answers *answers, Answer *answer, uint64_t end_usec) {
        Inventory *inventory = (Inventory *) manager_inventory(answers->bus->manager);
        int r = 0;

        while (r >= 0 && answer->next < answer->keys->len) {
                Function *function =
                        inventory_get(inventory, g_array_index(answer->keys, PciKey, answer->next));

                answer->next++;
                if (function && answer->bytes > ANSWER_MAX)
                        answer->left_out++;
                else if (function)
                        r = answer->kind->add(answer, function);
                if (answer->text)
                        answer->bytes = answer->text->len;
                if (now_usec() >= end_usec)
                        break;
        }
        if (r >= 0 && answer->left_out > 0 && answer->kind->is_whole)
                return -EMSGSIZE;
        return r < 0 ? r : answer->next == answer->keys->len;
}

static int answer_end(Answers *answers, Answer *answer) {
        int r = answer->kind->end(answer);

        if (r >= 0 && answer->text) {
                r = sd_bus_message_append_basic(answer->reply, 's', answer->text->str);
                answer->bytes = answer->text->len;
        }
        answer->complete = r >= 0;
        return r;
}

static void share(Answers *answers, Answer *answer) {
        g_free(answers->shared.text);
        answers->shared =
                (Shared){ answer->kind, answer->call.uid, answer->number, answer->begun_changes,
                          g_string_free(g_steal_pointer(&answer->text), FALSE) };
}

static int take_shared(const Answers *answers, Answer *answer) {
        const Shared *shared = &answers->shared;
        int r;

        if (shared->kind != answer->kind || shared->uid != answer->call.uid ||
            answer->number > shared->number || shared->changes != answers->changes)
                return 0;
        r = sd_bus_message_new_method_return(answer->call.message, &answer->reply);
        if (r >= 0)
                r = sd_bus_message_append_basic(answer->reply, 's', shared->text);
        answer->bytes = strlen(shared->text);
        answer->complete = r >= 0;
        return r < 0 ? r : 1;
}

/* Works on the answer until `end_usec`. Returns 1 when it is complete, 0, or a negative errno. */
static int answer_work(Answers *answers, Answer *answer, uint64_t end_usec) {
        int r = 0;

        if (!answer->reply) {
                r = take_shared(answers, answer);
                if (r != 0)
                        return r;
                r = answer_begin(answers, answer);
                answer->begun_changes = answers->changes;
                if (r >= 0)
                        r = answer->kind->begin(answer);
        }
        if (r >= 0)
                r = answer_add(answers, answer, end_usec);
        if (r <= 0)
                return r;
        r = answer_end(answers, answer);
        if (r < 0)
                return r;
        if (answer->text)
                share(answers, answer);
        return 1;
}

static void answers_refuse(const Answer *answer, int r) {
        const char *member = sd_bus_message_get_member(answer->call.message);
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (r == -EMSGSIZE)
                (void) bus_error_set(&error, -EDQUOT,
                                     "%s: the answer is larger than the bus carries; "
                                     "use ListFunctions and GetAll",
                                     member);
        else if (r == -EDQUOT)
                (void) bus_error_set(&error, -EDQUOT,
                                     "%s: this client does not read what it was sent before",
                                     member);
        else
                (void) bus_error_set(&error, r, "%s: Failed to make the answer: %s", member,
                                     g_strerror(-r));
        (void) sd_bus_reply_method_error(answer->call.message, &error);
        sd_bus_error_free(&error);
}

static void send_answer(Answers *answers, Answer *answer) {
        int r = sd_bus_message_send(answer->reply);

        if (r < 0)
                log_warning("Failed to send an answer: %s", g_strerror(-r));
        if (answer->bytes > LARGE)
                answers->large_usec = now_usec();
        clients_sent_large(answers->bus->clients, client_of(answer), answer->call.uid,
                           answer->bytes);
        if (answer->kind->sent)
                answer->kind->sent(answer);
}

static void answer_finish(Answers *answers, Answer *answer) {
        call_queue_remove(answers->queue, answer);
        answer_free(answer);
        if (call_queue_count(answers->queue) == 0)
                g_clear_pointer(&answers->shared.text, g_free);
        if (!answers->shared.text)
                answers->shared.kind = NULL;
}

static bool can_send(const Answers *answers, const Answer *answer, bool quiet) {
        uint64_t queued;

        if (answer->bytes <= SMALL)
                return true;
        if (!quiet && answer->call.uid != 0 && answer->bytes > LARGE &&
            now_usec() < answers->large_usec + LARGE_INTERVAL_USEC)
                return false;
        return sd_bus_get_n_queued_write(answers->bus->connection, &queued) < 0 || queued == 0;
}

/* Serves the next answer for a while. Returns whether there may be more to do now. */
static bool answers_serve_next(Answers *answers, uint64_t end_usec, bool quiet) {
        Answer *answer = call_queue_next(answers->queue, is_ready, answers);
        int r;

        if (!answer)
                return false;
        if (!can_take(answers, answer)) /* it is late */
                r = -EDQUOT;
        else
                r = answer->complete ? 1 : answer_work(answers, answer, end_usec);
        if (r == 0)
                return true;
        if (r > 0 && !can_send(answers, answer, quiet))
                return false;
        if (r > 0)
                send_answer(answers, answer);
        else
                answers_refuse(answer, r);
        answer_finish(answers, answer);
        return true;
}

static void answers_plan(Answers *answers, bool more) {
        bool pending = call_queue_count(answers->queue) > 0;

        if (!answers->tick)
                return;
        sd_event_source_set_enabled(answers->idle,
                                    pending && more ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        sd_event_source_set_enabled(answers->tick, pending ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        if (pending)
                sd_event_source_set_time_relative(answers->tick, INTERVAL_USEC);
}

/* `quiet`: no call is waiting to be read. */
static void answers_serve(Answers *answers, bool quiet) {
        uint64_t end_usec = now_usec() + SLICE_USEC;
        bool more = true;

        while (more && now_usec() < end_usec)
                more = answers_serve_next(answers, end_usec, quiet);
        answers_plan(answers, more || !quiet);
}

static int on_idle(sd_event_source *source, void *userdata) {
        answers_serve(userdata, true);
        return 0;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        answers_serve(userdata, false);
        return 0;
}

static void on_answers_left(void *userdata, const char *name) {
        Answers *answers = userdata;
        Answer *answer;

        while ((answer = call_queue_find(answers->queue, name)))
                answer_finish(answers, answer);
        clients_forget(answers->bus->clients, name);
}

Answers *answers_new(Bus *bus) {
        Answers *answers = g_new0(Answers, 1);

        answers->bus = bus;
        answers->queue = call_queue_new();
        senders_watch(bus->senders, on_answers_left, answers);
        return answers;
}

int answers_attach(Answers *answers, sd_event *event) {
        int r = sd_event_add_defer(event, &answers->idle, on_idle, answers);

        /* Behind the bus, whose calls are read first. */
        if (r >= 0)
                r = sd_event_source_set_description(answers->idle, "answers-idle");
        if (r >= 0)
                r = sd_event_source_set_priority(answers->idle, SD_EVENT_PRIORITY_NORMAL + 1);
        if (r >= 0)
                r = sd_event_source_set_enabled(answers->idle, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &answers->tick, CLOCK_MONOTONIC, 0, 1000,
                                               on_tick, answers);
        if (r >= 0)
                r = sd_event_source_set_description(answers->tick, "answers-tick");
        return r < 0 ? r : sd_event_source_set_enabled(answers->tick, SD_EVENT_OFF);
}

static bool any(void *userdata, void *call) {
        return true;
}

Answers *answers_free(Answers *answers) {
        Answer *answer;

        if (!answers)
                return NULL;
        sd_event_source_disable_unref(answers->idle);
        sd_event_source_disable_unref(answers->tick);
        while ((answer = call_queue_next(answers->queue, any, NULL)))
                answer_finish(answers, answer);
        call_queue_free(answers->queue);
        g_free(answers->shared.text);
        g_free(answers);
        return NULL;
}

int answers_add(Answers *answers, const MethodCall *call, const AnswerKind *kind,
                sd_bus_error *error) {
        Answer *answer = g_new0(Answer, 1);
        int r;

        answer->call = *call;
        answer->kind = kind;
        answer->since_usec = now_usec();
        answer->number = ++answers->number;
        r = call_queue_add(answers->queue, call->uid, sd_bus_message_get_sender(call->message),
                           answer);
        if (r < 0) {
                g_free(answer);
                return bus_error_set(error, r, "%s: too many requests of this user are pending",
                                     sd_bus_message_get_member(call->message));
        }
        sd_bus_message_ref(call->message);
        /* Where nobody else waits, a short answer goes out before anything that comes after it. */
        if (call_queue_count(answers->queue) == 1)
                answers_serve(answers, false);
        else if (sd_event_source_get_enabled(answers->tick, NULL) == 0)
                answers_plan(answers, true);
        return 1;
}

/* Whether the client would not learn of the change from the answer alone. */
static bool is_missed(const Answer *answer, PciKey key) {
        for (guint i = 0; i < answer->keys->len; i++)
                if (g_array_index(answer->keys, PciKey, i) == key)
                        return i < answer->next;
        return true;
}

static void note_missed(gpointer data, gpointer userdata) {
        Answer *answer = data;
        const AnswerChange *change = userdata;

        if (!answer->reply || !answer->kind->sent || !is_missed(answer, change->key))
                return;
        if (!answer->changes)
                answer->changes = g_array_new(FALSE, FALSE, sizeof(AnswerChange));
        for (guint i = 0; i < answer->changes->len; i++)
                if (g_array_index(answer->changes, AnswerChange, i).key == change->key)
                        return;
        g_array_append_val(answer->changes, *change);
}

void answers_note_change(Answers *answers, const Function *function, unsigned interfaces) {
        AnswerChange change;

        answers->changes++;
        if (!function)
                return;
        change = (AnswerChange){ function->facts.key, interfaces };
        call_queue_foreach(answers->queue, note_missed, &change);
}
