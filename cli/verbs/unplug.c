#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/verbs.h"
#include "cli/wait/waiters.h"
#include "cli/wait/waiting.h"
#include "lib/addressed-signals.h"

#include <errno.h>
#include <signal.h>

/* One Unplug() that is waited for, and what a person does to it meanwhile. */
typedef struct Wait {
        Context *context;
        const char *address;
        char *path;
        sd_event *event;
        sd_bus_slot *requested; /* the match of UnplugRequested */
        JsonArray *asked; /* the holders, when last looked at before it was said who is asked */
        bool accepted;    /* the daemon asks: authorised, and nothing stands against it */
        bool told;        /* ... which was printed */
        bool replied;     /* the unplug has ended, */
        int result;       /* so */
        sd_bus_error error;
        int interrupted; /* the signal that came first, 0 none */
        bool cancelling; /* CancelUnplug() is in progress */
        bool cancelled;
        Waiting waiting; /* shown since `told`, unless there is nothing to wait for */
        gint64 looked;   /* for who holds it, of g_get_monotonic_time() */
        bool left;       /* interrupted again */
        bool ended;      /* there is nothing more to wait for */
} Wait;

static void wait_done(Wait *wait) {
        waiting_done(&wait->waiting);
        sd_bus_slot_unref(wait->requested);
        (void) sd_bus_detach_event(wait->context->bus);
        sd_event_unref(wait->event);
        g_clear_pointer(&wait->asked, json_array_unref);
        sd_bus_error_free(&wait->error);
        g_free(wait->path);
}

static int on_requested(sd_bus_message *signal, void *userdata, sd_bus_error *ret_error) {
        ((Wait *) userdata)->accepted = true;
        return 0;
}

/* The daemon answers the unplug first and the cancellation then. */
static void end_if_all_is_told(Wait *wait) {
        if (wait->replied && !wait->cancelling)
                wait->ended = true;
}

static int on_unplugged(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Wait *wait = userdata;

        wait->replied = true;
        if (sd_bus_message_is_method_error(reply, NULL)) {
                wait->result = -sd_bus_message_get_errno(reply);
                sd_bus_error_copy(&wait->error, sd_bus_message_get_error(reply));
        }
        end_if_all_is_told(wait);
        return 0;
}

static int on_cancelled(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Wait *wait = userdata;

        wait->cancelling = false;
        wait->cancelled = !sd_bus_message_is_method_error(reply, NULL);
        if (!wait->cancelled && !wait->replied) {
                waiting_pause(&wait->waiting);
                print_warning(
                        "Cannot cancel the unplug: %s. Still waiting; interrupt again to leave it "
                        "pending",
                        sd_bus_message_get_error(reply)->message);
        }
        end_if_all_is_told(wait);
        return 0;
}

static int on_unplug_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                            void *userdata) {
        g_autoptr(sd_bus_message) message = NULL;
        Wait *wait = userdata;
        int r;

        if (wait->interrupted != 0) {
                wait->left = true;
                wait->ended = true;
                return 0;
        }

        wait->interrupted = (int) info->ssi_signo;
        r = client_new_call(wait->context, wait->path, CLIENT_FUNCTION, "CancelUnplug",
                            CALL_INTERACTIVE, &message);
        if (r >= 0)
                r = sd_bus_call_async(wait->context->bus, NULL, message, on_cancelled, wait,
                                      client_timeout(CALL_INTERACTIVE));
        if (r < 0)
                return r;
        wait->cancelling = true;
        return 0;
}

static int append_arguments(const Context *context, sd_bus_message *message) {
        int r = sd_bus_message_append(message, "t", context->timeout_usec);

        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r >= 0 && context->insist)
                r = sd_bus_message_append(message, "{sv}", "insist", "b", 1);
        if (r >= 0 && context->override_host)
                r = sd_bus_message_append(message, "{sv}", "override-host", "b", 1);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

/* The daemon's time starts when polkit has said yes, and what is begun at the deadline has to
 * end. */
static int call_unplug(Wait *wait) {
        const Context *context = wait->context;
        g_autoptr(sd_bus_message) message = NULL;
        int r;

        r = client_new_call(wait->context, wait->path, CLIENT_FUNCTION, "Unplug", CALL_INTERACTIVE,
                            &message);
        if (r < 0)
                return r;
        r = append_arguments(context, message);
        if (r < 0)
                return r;
        return sd_bus_call_async(context->bus, NULL, message, on_unplugged, wait,
                                 context->timeout_usec +
                                         client_timeout(CALL_INTERACTIVE | CALL_OPERATION));
}

static void tell_request(Wait *wait);
static void look_again(Wait *wait);

/* Calls Unplug() and waits for its end, or for a person who has waited enough. */
static int wait_for_unplug(Wait *wait) {
        static const int signals[] = { SIGINT, SIGTERM };
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
                (void) sigaddset(&mask, signals[i]);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;

        r = sd_event_new(&wait->event);
        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(signals); i++)
                r = sd_event_add_signal(wait->event, NULL, signals[i], on_unplug_signal, wait);
        if (r >= 0)
                r = sd_bus_attach_event(wait->context->bus, wait->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = call_unplug(wait);
        /* Not sd_event_loop(), at whose end the bus is closed: there is more to ask. */
        while (r >= 0 && !wait->ended) {
                r = sd_event_run(wait->event, WAITING_INTERVAL_USEC);
                if (wait->accepted && !wait->told)
                        tell_request(wait);
                else if (g_get_monotonic_time() >= wait->looked + WAITING_INTERVAL_USEC)
                        look_again(wait);
        }
        return r < 0 ? r : 0;
}

static void print_request(Context *context, const char *address, JsonArray *holders) {
        uint64_t timeout = context->timeout_usec;
        Output *output = &context->output;

        if (json_array_get_length(holders) == 0)
                output_format(output, "%s is not in use. Removing it.\n", address);
        else if (timeout == 0)
                output_format(output, "%s is in use, and its users are not asked:\n", address);
        else {
                output_format(output, "Asking to release %s, for ", address);
                output_format(output,
                              timeout % G_USEC_PER_SEC == 0 ? "%" G_GUINT64_FORMAT " s"
                                                            : "%" G_GUINT64_FORMAT " ms",
                              timeout % G_USEC_PER_SEC == 0 ? timeout / G_USEC_PER_SEC
                                                            : timeout / 1000);
                output_format(output, " at most. It is in use by\n");
        }
}

static void print_insist(Context *context, JsonArray *holders) {
        if (context->insist && waiters_any_delays(holders))
                output_format(&context->output,
                              "The kernel asks when no inhibitor delays the unplug any more.\n");
        else if (context->insist)
                output_format(&context->output,
                              "The kernel asks as well; this cannot be cancelled.\n");
}

/* Says who is asked, when it is known that the daemon does ask: before, a password may be needed,
 * or something may stand against it. Who has released the function since then was asked, too. */
static void tell_request(Wait *wait) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Context *context = wait->context;
        JsonArray *now = NULL;

        wait->told = true;
        wait->looked = g_get_monotonic_time();
        if (waiters_list(context, wait->address, &error, &now) >= 0 &&
            json_array_get_length(now) > 0) {
                json_array_unref(wait->asked);
                wait->asked = g_steal_pointer(&now);
        }
        g_clear_pointer(&now, json_array_unref);
        if (context->json)
                return;
        print_request(context, wait->address, wait->asked);
        if (wait->ended) {
                waiters_print(&context->output, wait->asked);
                print_insist(context, wait->asked);
                return;
        }
        waiting_init(&wait->waiting, &context->output, context->timeout_usec);
        if (wait->waiting.redraw.terminal)
                print_insist(context, wait->asked); /* above what is drawn again */
        waiting_show(&wait->waiting, wait->asked);
        if (!wait->waiting.redraw.terminal)
                print_insist(context, wait->asked);
        (void) output_flush(&context->output); /* main() reports a write that failed */
}

/* Looks again who holds it. A daemon that cannot be asked ends the unplug, which tells so. */
static void look_again(Wait *wait) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(JsonArray) now = NULL;

        wait->looked = g_get_monotonic_time();
        if (!wait->context->json && wait->told && !wait->ended &&
            waiters_list(wait->context, wait->address, &error, &now) >= 0)
                waiting_update(&wait->waiting, now);
}

static ExitCode print_end(Context *context, const char *address, JsonArray *asked) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(Inventory) inventory = NULL;
        int r;

        r = client_describe(context, 0, &error, &inventory);
        if (r < 0)
                return client_fail(context, r, &error, "%s was unplugged, but it cannot be shown",
                                   address);

        bool there = inventory_find(inventory, address);

        if (context->json) {
                JsonObject *object = json_object_new();
                g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);

                json_object_unref(object);
                json_object_set_string_member(object, "Address", address);
                json_object_set_boolean_member(object, "Present", there);
                json_object_set_array_member(object, "Asked", json_array_ref(asked));
                subject_print_json(context, node);
                return EXIT_CODE_DONE;
        }
        output_text(&context->output, STYLE_BOLD, address);
        output_format(&context->output,
                      there ? " is free and bound to no driver\n" : " was taken away\n");
        return EXIT_CODE_DONE;
}

static void print_timeout_json(const Wait *wait, const Inventory *inventory, JsonArray *holders) {
        JsonObject *object = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);

        json_object_unref(object);
        json_object_set_string_member(object, "Address", wait->address);
        json_object_set_boolean_member(object, "Present",
                                       inventory_find(inventory, wait->address) != NULL);
        json_object_set_string_member(object, "Error",
                                      wait->error.name ? wait->error.name
                                                       : exit_code_error_name(EXIT_CODE_TIMED_OUT));
        json_object_set_array_member(object, "Asked", json_array_ref(wait->asked));
        json_object_set_array_member(object, "Holders", json_array_ref(holders));
        subject_print_json(wait->context, node);
}

/* Whether the unplug has passed the point from which it cannot be cancelled. Then it goes on after
 * the deadline; the daemon shows that by the function's state. */
static bool is_being_removed(const Inventory *inventory, const char *address) {
        JsonObject *function = inventory_find(inventory, address);

        return !function || g_str_equal(function_string(function, "State"), "removing");
}

static const char *words_for_timeout(const Wait *wait, const Inventory *inventory,
                                     JsonArray *holders) {
        if (!inventory_find(inventory, wait->address))
                return "The function has been removed since. ";
        if (wait->context->insist && !waiters_any_delays(holders))
                return "The function will be removed once it is released; this cannot be "
                       "cancelled. ";
        if (is_being_removed(inventory, wait->address))
                return "The function is being removed; this cannot be cancelled. ";
        return "Nothing has changed. ";
}

/* What a request that was not granted in time leaves behind, and the exit code for that. */
static ExitCode print_timeout(const Wait *wait) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Output *output = &wait->context->output;
        g_autoptr(JsonArray) holders = NULL;
        g_autoptr(Inventory) inventory = NULL;
        ExitCode code;

        if (client_describe(wait->context, 0, &error, &inventory) < 0 ||
            waiters_list(wait->context, wait->address, &error, &holders) < 0)
                return EXIT_CODE_TIMED_OUT;
        code = !wait->context->insist && is_being_removed(inventory, wait->address)
                       ? EXIT_CODE_UNFINISHED
                       : EXIT_CODE_TIMED_OUT;
        if (wait->context->json) {
                print_timeout_json(wait, inventory, holders);
                return code;
        }
        output_format(output, "%s", words_for_timeout(wait, inventory, holders));
        output_format(output, json_array_get_length(holders) > 0 ? "It is in use by\n"
                                                                 : "It is not in use any more.\n");
        waiters_print(output, holders);
        return code;
}

static ExitCode tell(Context *context, Wait *wait) {
        const char *address = wait->address;
        ExitCode code;

        waiting_end(&wait->waiting);
        if (wait->left) {
                print_error("The unplug of %s stays pending: it ends at its deadline, or when "
                            "\"vfwarden cancel-unplug %s\" cancels it",
                            address, address);
                return (ExitCode) (128 + wait->interrupted);
        }
        if (wait->cancelled) {
                print_error("The unplug of %s was cancelled, nothing has changed", address);
                return (ExitCode) (128 + wait->interrupted);
        }
        if (wait->result >= 0) {
                if (!wait->told)
                        tell_request(wait);
                return print_end(context, address, wait->asked);
        }

        code = exit_code_from_failure(&wait->error, wait->result);
        if (code == EXIT_CODE_TIMED_OUT && !wait->told)
                tell_request(wait);
        code = client_fail(context, wait->result, &wait->error, "Cannot unplug %s", address);
        if (code == EXIT_CODE_TIMED_OUT)
                code = print_timeout(wait);
        if (code == EXIT_CODE_REFUSED)
                print_hint("\"vfwarden why %s remove\" tells what can be done about it", address);
        return code;
}

static ExitCode unplug(Context *context, const char *address) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(wait_done) Wait wait = { .context = context, .address = address };
        int r;

        r = client_get_function(context, address, &error, &wait.path);
        if (r >= 0)
                r = addressed_signals_drop(context->bus);
        if (r >= 0)
                r = sd_bus_match_signal(context->bus, &wait.requested, CLIENT_BUS_NAME, wait.path,
                                        CLIENT_FUNCTION, "UnplugRequested", on_requested, &wait);
        if (r >= 0)
                r = waiters_list(context, address, &error, &wait.asked);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot unplug %s", address);

        r = wait_for_unplug(&wait);
        if (r < 0)
                return client_fail(context, r, NULL, "Cannot unplug %s", address);
        return tell(context, &wait);
}

static ExitCode run_unplug(Context *context, char **arguments) {
        return subject_do_each(context, arguments, unplug);
}

static bool read_timeout(Context *context, const char *value) {
        return argument_read_timeout(value, &context->timeout_usec);
}

static const Option unplug_options[] = {
        { .name = "timeout",
          .value = "TIME",
          .read = read_timeout,
          .help = "how long to wait: 500ms, 30s, 5min, 1h (1min)" },
        OPTION_SWITCH("insist", insist, "the kernel asks, too; cannot be cancelled"),
        OPTION_OVERRIDE_HOST,
        { NULL },
};

const Verb verb_unplug = {
        .name = "unplug",
        .arguments = "ADDRESS...",
        .min = 1,
        .max = INT_MAX,
        .run = run_unplug,
        .help = "Ask its users to release it, and remove it",
        .options = unplug_options,
        .acts = true,
};

static ExitCode cancel_unplug(Context *context, const char *address) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *path = NULL;
        int r;

        r = client_get_function(context, address, &error, &path);
        if (r >= 0)
                r = client_call(context, path, CLIENT_FUNCTION, "CancelUnplug", CALL_INTERACTIVE,
                                &error, NULL, "");
        if (r < 0)
                return client_fail(context, r, &error, "Cannot cancel the unplug of %s", address);
        if (!context->json)
                output_format(&context->output, "The unplug of %s was cancelled\n", address);
        return EXIT_CODE_DONE;
}

static ExitCode run_cancel_unplug(Context *context, char **arguments) {
        return subject_do_each(context, arguments, cancel_unplug);
}

const Verb verb_cancel_unplug = {
        .name = "cancel-unplug",
        .arguments = "ADDRESS...",
        .min = 1,
        .max = INT_MAX,
        .run = run_cancel_unplug,
        .help = "Cancel such a request",
        .acts = true,
};
