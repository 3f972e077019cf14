/* top: functions in use and their I/O rates, drawn again every second. */
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/top/activity.h"
#include "cli/top/page.h"
#include "cli/top/screen.h"
#include "cli/value.h"
#include "cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define INTERVAL_USEC G_USEC_PER_SEC

/* One view needs two reports of a session, which are half a second apart at least. */
#define INTERVAL_ONCE_USEC (600 * 1000)
#define READINGS_ONCE      3

typedef struct Top Top;

typedef enum TopCallKind {
        TOP_DESCRIBE, /* only when a function has changed */
        TOP_STATISTICS,
        TOP_FUNCTIONS,
        _TOP_CALL_MAX,
} TopCallKind;

/* One call of a reading. */
typedef struct TopCall {
        Top *top;
        TopCallKind kind;
        sd_bus_slot *slot; /* its reply is awaited; NULL: none */
} TopCall;

struct Top {
        Context *context;
        sd_event *event;
        sd_event_source *timer;
        TopCall calls[_TOP_CALL_MAX];
        Screen screen;
        bool live;
        bool stale; /* the inventory, which is to be read again */
        bool away;  /* the daemon, when it was called last */
        Inventory *inventory;
        JsonObject *statistics;
        Activity activity;
        unsigned readings;
        ExitCode code;
};

static void top_done(Top *top) {
        for (size_t i = 0; i < _TOP_CALL_MAX; i++)
                sd_bus_slot_unref(top->calls[i].slot);
        sd_event_source_unref(top->timer);
        sd_event_unref(top->event);
        inventory_free(top->inventory);
        g_clear_pointer(&top->statistics, json_object_unref);
        activity_done(&top->activity);
}

static void top_end(Top *top, ExitCode code) {
        top->code = code;
        (void) sd_event_exit(top->event, 0);
}

/* --- one table */

static bool is_complete(const Top *top) {
        return top->live || top->readings >= READINGS_ONCE ||
               !activity_awaits_rates(&top->activity);
}

static void top_draw(Top *top) {
        const TopView view = { top->inventory, top->statistics, &top->activity };

        if (top->live)
                screen_clear(&top->screen);
        if (top->away)
                output_format(&top->context->output, "vfwardend is not running\n");
        else if (top->context->json)
                top_page_print_json(top->context, &view);
        else
                top_page_print(top->context, &view, top->live ? screen_lines(&top->screen) : 0);
        if (!top->live || output_flush(&top->context->output) < 0)
                top_end(top, EXIT_CODE_DONE);
}

/* --- a reading */

static int read_inventory(Top *top, sd_bus_message *reply, sd_bus_error *ret_error) {
        g_autoptr(Inventory) inventory = NULL;
        int r = client_read_inventory(reply, ret_error, &inventory);

        if (r < 0)
                return r;
        inventory_free(top->inventory);
        top->inventory = g_steal_pointer(&inventory);
        return 0;
}

static int read_all_statistics(Top *top, sd_bus_message *reply, sd_bus_error *ret_error) {
        g_clear_pointer(&top->statistics, json_object_unref);
        top->statistics = json_object_new();
        return value_read_properties(reply, top->statistics);
}

static int read_functions(Top *top, sd_bus_message *reply, sd_bus_error *ret_error) {
        g_autoptr(JsonNode) node = NULL;
        int r;

        if (!sd_bus_message_has_signature(reply, "aa{sv}"))
                return -EBADMSG;
        r = value_read(reply, &node);
        if (r < 0)
                return r;
        activity_take(&top->activity, json_node_get_array(node));
        return 0;
}

static const struct {
        const char *interface, *member;
        int (*read)(Top *top, sd_bus_message *reply, sd_bus_error *ret_error);
} top_methods[] = {
        [TOP_DESCRIBE] = { CLIENT_MANAGER, "Describe", read_inventory },
        [TOP_STATISTICS] = { "org.freedesktop.DBus.Properties", "GetAll", read_all_statistics },
        [TOP_FUNCTIONS] = { CLIENT_STATISTICS, "DescribeFunctions", read_functions },
};

static bool is_waiting(const Top *top) {
        for (size_t i = 0; i < _TOP_CALL_MAX; i++)
                if (top->calls[i].slot)
                        return true;
        return false;
}

static bool says_away(sd_bus_message *reply) {
        return sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
               sd_bus_message_is_method_error(reply, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
               sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY);
}

static void note_away(Top *top) {
        top->away = true;
        top->stale = true;
        activity_forget(&top->activity);
}

static void fail(Top *top, int r, const sd_bus_error *error) {
        screen_leave(&top->screen);
        (void) output_flush(&top->context->output);
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_METHOD) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_INTERFACE) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_INVALID_ARGS)) {
                print_error("Cannot read what functions do: this vfwardend is too old");
                top_end(top, EXIT_CODE_NOT_SUPPORTED);
                return;
        }
        top_end(top, client_fail(top->context, r, error, "Cannot read what functions do"));
}

static int on_top_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        TopCall *call = userdata;
        Top *top = call->top;
        int r = 0;

        call->slot = sd_bus_slot_unref(call->slot);
        /* An upgrade restarts the daemon. */
        if (top->live && says_away(reply))
                note_away(top);
        else if (sd_bus_message_is_method_error(reply, NULL)) {
                r = -sd_bus_message_get_errno(reply);
                sd_bus_error_copy(&error, sd_bus_message_get_error(reply));
        } else
                r = top_methods[call->kind].read(top, reply, &error);
        if (r < 0) {
                fail(top, r, &error);
                return 0;
        }
        if (is_waiting(top))
                return 0;
        top->readings++;
        if (is_complete(top))
                top_draw(top);
        return 0;
}

static int begin_call(Top *top, TopCallKind kind) {
        TopCall *call = &top->calls[kind];
        g_autoptr(sd_bus_message) message = NULL;
        int r = client_new_call(top->context, CLIENT_ROOT, top_methods[kind].interface,
                                top_methods[kind].member, CALL_NO_AUTO_START, &message);

        if (r >= 0 && kind == TOP_STATISTICS)
                r = sd_bus_message_append(message, "s", CLIENT_STATISTICS);
        if (r < 0)
                return r;
        call->top = top;
        call->kind = kind;
        return sd_bus_call_async(top->context->bus, &call->slot, message, on_top_reply, call,
                                 client_timeout(0));
}

/* A daemon that is slow gets no second call before it has answered the first. */
static int begin_reading(Top *top) {
        int r = 0;

        if (is_waiting(top))
                return 0;
        top->away = false;
        if (top->stale)
                r = begin_call(top, TOP_DESCRIBE);
        top->stale = false;
        if (r >= 0)
                r = begin_call(top, TOP_STATISTICS);
        return r < 0 ? r : begin_call(top, TOP_FUNCTIONS);
}

/* --- events */

static int on_interval(sd_event_source *source, uint64_t usec, void *userdata) {
        Top *top = userdata;
        uint64_t interval = top->live ? INTERVAL_USEC : INTERVAL_ONCE_USEC;
        int r = begin_reading(top);

        if (r >= 0)
                r = sd_event_source_set_time_relative(source, interval);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_key(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Top *top = userdata;
        char key;
        ssize_t n = read(fd, &key, 1);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
            (n == 1 && (key == 'q' || key == 'Q')))
                top_end(top, EXIT_CODE_DONE);
        return 0;
}

static int on_change(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        ((Top *) userdata)->stale = true;
        return 0;
}

static int add_signals(sd_event *event) {
        static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
        sigset_t set;
        int r = 0;

        sigemptyset(&set);
        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
                sigaddset(&set, ends[i]);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(ends); i++)
                r = sd_event_add_signal(event, NULL, ends[i], NULL, NULL);
        return r;
}

static int watch_terminal(Top *top) {
        int r = add_signals(top->event);

        if (r >= 0)
                r = sd_event_add_io(top->event, NULL, STDIN_FILENO, EPOLLIN, on_key, top);
        return r < 0 ? r : screen_enter(&top->screen, &top->context->output);
}

static int top_start(Top *top) {
        int r = sd_event_new(&top->event);

        if (r >= 0)
                r = client_connect(top->context);
        if (r >= 0)
                r = sd_bus_attach_event(top->context->bus, top->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_add_match(top->context->bus, NULL,
                                     "type='signal',sender='" CLIENT_BUS_NAME
                                     "',path_namespace='" CLIENT_ROOT "'",
                                     on_change, top);
        if (r >= 0)
                r = sd_event_add_time_relative(top->event, &top->timer, CLOCK_MONOTONIC, 0, 1000,
                                               on_interval, top);
        if (r >= 0 && top->live)
                r = watch_terminal(top);
        return r;
}

static ExitCode run_top(Context *context, char **arguments) {
        _cleanup_(top_done) Top top = { .context = context, .stale = true };
        int r;

        activity_init(&top.activity);
        top.live = !context->once && !context->json && screen_possible(&context->output);
        r = top_start(&top);
        if (r >= 0)
                r = sd_event_loop(top.event);
        screen_leave(&top.screen);
        if (top.event)
                (void) sd_bus_detach_event(context->bus);
        if (r < 0)
                return client_fail(context, r, NULL, "Cannot read what functions do");
        return top.code;
}

static const Option top_options[] = {
        OPTION_SWITCH("once", once, "print one table, also on a terminal"),
        { NULL },
};

const Verb verb_top = {
        .name = "top",
        .arguments = "",
        .run = run_top,
        .help = "Show functions in use, and their I/O rates",
        .options = top_options,
};
