/* Inhibit() and its kin, ListInhibitors() and DescribeInhibitors(). */
#include "dbus/answers.h"
#include "dbus/call-functions.h"
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "policy/check.h"
#include "policy/client-text.h"
#include "policy/operation.h"
#include "policy/private-text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* What an inhibitor takes in an answer without `who` and `why`. */
#define INHIBITOR_BYTES 320U

/* Of InhibitMany(). A blocker has some hundred bytes, and a user's command 4 KiB at most: far less
 * than a message of the system bus can have (32 MiB). */
#define BLOCKERS_MAX 4096U

static int read_words(const MethodCall *call, Inhibitor *ret, sd_bus_error *error) {
        const char *what, *who, *why;
        Inhibitor inhibitor = { .uid = call->uid, .pid = call->pid };
        int r;

        r = sd_bus_message_read(call->message, "sss", &what, &who, &why);
        if (r < 0)
                return r;
        if (operations_parse(what, &inhibitor.operations) < 0) {
                g_autofree char *words = operations_format((1U << _OPERATION_MAX) - 1);

                return bus_error_set(error, -EINVAL,
                                     "'%s' is no list of different operations joined as in %s",
                                     what, words);
        }
        if (who[0] == '\0' || !client_text_valid(who, INHIBITOR_TEXT_MAX, false) ||
            !client_text_valid(why, INHIBITOR_TEXT_MAX, true))
                return bus_error_set(error, -EINVAL,
                                     "'who' must be given, and 'who' and 'why' have at most %d "
                                     "bytes, none of a control character",
                                     INHIBITOR_TEXT_MAX);
        inhibitor.who = (char *) who;
        inhibitor.why = (char *) why;
        *ret = inhibitor;
        return 0;
}

typedef struct Options {
        Operation check; /* _OPERATION_INVALID: nothing is asked */
        InhibitorMode mode;
} Options;

typedef enum OptionSet {
        OPTION_SET_NONE,
        OPTION_SET_MODE, /* "mode" */
        OPTION_SET_ALL,  /* and "check" */
} OptionSet;

static int read_word(sd_bus_message *message, const char *name, const char **ret,
                     sd_bus_error *error) {
        return sd_bus_message_read(message, "v", "s", ret) < 0
                       ? bus_error_set(error, -EINVAL, "the option '%s' is of type 's'", name)
                       : 0;
}

static int read_option(sd_bus_message *message, OptionSet set, Options *options,
                       sd_bus_error *error) {
        const char *name, *word;
        int r;

        r = sd_bus_message_read(message, "s", &name);
        if (r < 0)
                return r;
        if (strcmp(name, "mode") != 0 && (set != OPTION_SET_ALL || strcmp(name, "check") != 0))
                return bus_error_set(error, -EINVAL, "there is no option '%s'", name);
        r = read_word(message, name, &word, error);
        if (r < 0)
                return r;
        if (strcmp(name, "mode") == 0) {
                options->mode = inhibitor_mode_from_string(word);
                return options->mode < 0
                               ? bus_error_set(error, -EINVAL,
                                               "'%s' is no mode of an inhibitor; there are block "
                                               "and delay",
                                               word)
                               : 0;
        }
        options->check = operation_from_string(word);
        return options->check < 0 ? bus_error_set(error, -EINVAL, "'%s' is no operation", word) : 0;
}

static int read_options(sd_bus_message *message, OptionSet set, Options *ret, sd_bus_error *error) {
        Options options = { .check = _OPERATION_INVALID, .mode = INHIBITOR_MODE_BLOCK };
        unsigned n = 0;
        int r = 0;

        if (set != OPTION_SET_NONE)
                r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (set != OPTION_SET_NONE && r >= 0 &&
               (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = n++ < METHOD_OPTIONS_MAX ? read_option(message, set, &options, error)
                                             : method_refuse_options(error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        if (r >= 0 && set != OPTION_SET_NONE)
                r = sd_bus_message_exit_container(message);
        if (r >= 0)
                *ret = options;
        return r;
}

static int refuse_more_inhibitors(sd_bus_error *error) {
        return bus_error_set(error, -EDQUOT, "this user, or all users, have too many inhibitors");
}

static int inhibit_one(const MethodCall *call, OptionSet set, sd_bus_error *error) {
        const char *address;
        Inhibitor inhibitor;
        Function *function;
        Options options;
        int fd = -1, r;

        r = sd_bus_message_read(call->message, "s", &address);
        if (r >= 0)
                r = method_find_function(call, address, &function, error);
        if (r >= 0)
                r = read_words(call, &inhibitor, error);
        if (r >= 0)
                r = read_options(call->message, set, &options, error);
        if (r < 0)
                return r;
        inhibitor.mode = options.mode;
        r = manager_inhibit(call->bus->manager, function->facts.key, &inhibitor, &fd);
        if (r == -EDQUOT)
                return refuse_more_inhibitors(error);
        if (r < 0)
                return method_fail(call, r, error);
        r = sd_bus_reply_method_return(call->message, "h", fd);
        close(fd); /* the message has a copy, and the caller will have the only one */
        return r;
}

int manager_method_inhibit(const MethodCall *call, sd_bus_error *error) {
        return inhibit_one(call, OPTION_SET_NONE, error);
}

int manager_method_inhibit_with_options(const MethodCall *call, sd_bus_error *error) {
        return inhibit_one(call, OPTION_SET_MODE, error);
}

typedef struct Request {
        GPtrArray *functions; /* of Function*, borrowed, each once */
        GArray *keys;         /* theirs */
        Inhibitor inhibitor;  /* its strings are the message's */
        Options options;
} Request;

static Request *request_free(Request *request) {
        g_ptr_array_unref(request->functions);
        g_array_unref(request->keys);
        g_free(request);
        return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Request, request_free)

static int add_named(const MethodCall *call, const char *text, GHashTable *seen, Request *request,
                     sd_bus_error *error) {
        Function *function;
        int r;

        if (request->functions->len >= CALL_FUNCTIONS_MAX)
                return bus_error_set(error, -EINVAL, "more than %u functions are named",
                                     CALL_FUNCTIONS_MAX);
        r = method_find_function(call, text, &function, error);
        if (r < 0)
                return r;
        if (!g_hash_table_add(seen, function))
                return bus_error_set(error, -EINVAL, "%s is named twice", text);
        g_ptr_array_add(request->functions, function);
        g_array_append_val(request->keys, function->facts.key);
        return 0;
}

static int read_functions(const MethodCall *call, Request *request, sd_bus_error *error) {
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        const char *text;
        int r;

        r = sd_bus_message_enter_container(call->message, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read(call->message, "s", &text)) > 0)
                r = add_named(call, text, seen, request, error);
        if (r < 0)
                return r;
        if (request->functions->len == 0)
                return bus_error_set(error, -EINVAL, "no function is named");
        return sd_bus_message_exit_container(call->message);
}

static int read_request(const MethodCall *call, Request *request, sd_bus_error *error) {
        int r;

        r = read_functions(call, request, error);
        if (r >= 0)
                r = read_words(call, &request->inhibitor, error);
        if (r >= 0)
                r = read_options(call->message, OPTION_SET_ALL, &request->options, error);
        request->inhibitor.mode = request->options.mode;
        for (guint i = 0; r >= 0 && request->options.check >= 0 && i < request->functions->len;
             i++) {
                const Function *function = request->functions->pdata[i];
                char address[PCI_ADDRESS_STRING_MAX];

                if (!operation_on_kind(request->options.check, function->kind))
                        r = bus_error_set(error, -EOPNOTSUPP,
                                          "%s is no physical function: no %s there",
                                          pci_address_format(function_address(function), address),
                                          operation_to_string(request->options.check));
        }
        return r;
}

static void verdict_destroy(gpointer verdict) {
        (void) verdict_free(verdict);
}

/* A reply that waits until the files of all functions are locked. */
typedef struct InhibitReply {
        MethodReply *reply;
        GArray *keys;
        GPtrArray *verdicts; /* one for each key until there are BLOCKERS_MAX blockers; or NULL */
        guint n_blockers;    /* of all functions */
        bool may_see;
} InhibitReply;

static InhibitReply *inhibit_reply_free(InhibitReply *waiting) {
        g_array_unref(waiting->keys);
        g_clear_pointer(&waiting->verdicts, g_ptr_array_unref);
        g_free(waiting);
        return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(InhibitReply, inhibit_reply_free)

/* Where there are BLOCKERS_MAX already, the rest are only counted. */
static void check_all(const MethodCall *call, const Request *request, InhibitReply *waiting) {
        const Inventory *inventory = manager_inventory(call->bus->manager);

        waiting->verdicts = g_ptr_array_new_with_free_func(verdict_destroy);
        for (guint i = 0; i < request->functions->len; i++) {
                Verdict *verdict =
                        check(inventory, request->functions->pdata[i], request->options.check, 0);
                bool told = waiting->n_blockers < BLOCKERS_MAX;

                waiting->n_blockers += verdict->blockers->len;
                if (told)
                        g_ptr_array_add(waiting->verdicts, verdict);
                else
                        verdict_free(verdict);
        }
}

static int append_function_blocker(sd_bus_message *reply, PciKey key, const Blocker *blocker,
                                   bool may_see) {
        g_autofree char *reason = private_text_for(blocker->reason, may_see);
        char address[PCI_ADDRESS_STRING_MAX];

        return sd_bus_message_append(
                reply, "(ssssu)", pci_address_format(pci_address_from_key(key), address),
                blocker_kind_to_string(blocker->kind), blocker->subject, reason, blocker->pid);
}

/* Adds the list of blockers and the number of those that it leaves out. */
static int append_blockers(sd_bus_message *reply, const InhibitReply *waiting) {
        guint n = 0;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(ssssu)");
        for (guint i = 0; waiting->verdicts && i < waiting->verdicts->len; i++) {
                const Verdict *verdict = waiting->verdicts->pdata[i];

                for (guint j = 0; r >= 0 && j < verdict->blockers->len; j++)
                        if (n++ < BLOCKERS_MAX)
                                r = append_function_blocker(
                                        reply, g_array_index(waiting->keys, PciKey, i),
                                        verdict->blockers->pdata[j], waiting->may_see);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        n = waiting->n_blockers;
        return r < 0 ? r : sd_bus_message_append(reply, "u", n - MIN(n, BLOCKERS_MAX));
}

static void on_inhibited(void *context, int result, const char *message, int fd) {
        g_autoptr(InhibitReply) waiting = context;
        sd_bus_message *values;
        int r;

        if (!method_reply_begin(waiting->reply, result, message, &values))
                return;
        r = sd_bus_message_append(values, "h", fd);
        if (r >= 0)
                r = append_blockers(values, waiting);
        method_reply_with(waiting->reply, values, r);
}

/* The functions are checked before the caller's own inhibitor counts. No other call is served in
 * between, so of two callers one always sees the other. */
static int inhibit_and_answer(const MethodCall *call, const Request *request, sd_bus_error *error) {
        InhibitReply *waiting;
        MethodReply *reply;

        /* Before all the verdicts are made. */
        if (!manager_may_inhibit(call->bus->manager, call->uid, request->keys->len))
                return refuse_more_inhibitors(error);
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        waiting = g_new(InhibitReply, 1);
        *waiting = (InhibitReply){ .reply = reply,
                                   .keys = g_array_ref(request->keys),
                                   .may_see = call->uid == 0 };
        if (request->options.check >= 0)
                check_all(call, request, waiting);
        manager_inhibit_many(call->bus->manager, (const PciKey *) request->keys->data,
                             request->keys->len, &request->inhibitor, on_inhibited, waiting);
        return 1;
}

int manager_method_inhibit_many(const MethodCall *call, sd_bus_error *error) {
        g_autoptr(Request) request = g_new0(Request, 1);
        int r;

        request->functions = g_ptr_array_new();
        request->keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        r = read_request(call, request, error);
        return r < 0 ? r : inhibit_and_answer(call, request, error);
}

typedef int AppendInhibitor(sd_bus_message *reply, const char *address, const char *what,
                            const Inhibitor *inhibitor);

typedef struct Listing {
        Answer *answer;
        AppendInhibitor *append;
        int result;
} Listing;

static int inhibitor_append_record(sd_bus_message *reply, const char *address, const char *what,
                                   const Inhibitor *inhibitor) {
        return sd_bus_message_append(reply, "(ssssuu)", address, what, inhibitor->who,
                                     inhibitor->why, inhibitor->uid, inhibitor->pid);
}

static int inhibitor_append_dictionary(sd_bus_message *reply, const char *address, const char *what,
                                       const Inhibitor *inhibitor) {
        return sd_bus_message_append(reply, "a{sv}", 7, "address", "s", address, "what", "s", what,
                                     "who", "s", inhibitor->who, "why", "s", inhibitor->why, "uid",
                                     "u", inhibitor->uid, "pid", "u", inhibitor->pid, "mode", "s",
                                     inhibitor_mode_to_string(inhibitor->mode));
}

static void append_inhibitor(void *context, PciKey key, const Inhibitor *inhibitor) {
        Listing *listing = context;
        Answer *answer = listing->answer;
        g_autofree char *what = operations_format(inhibitor->operations);
        char address[PCI_ADDRESS_STRING_MAX];

        if (listing->result < 0)
                return;
        answer->bytes += INHIBITOR_BYTES + strlen(inhibitor->who) + strlen(inhibitor->why);
        listing->result = listing->append(answer->reply,
                                          pci_address_format(pci_address_from_key(key), address),
                                          what, inhibitor);
}

/* At once: there are INHIBITORS_MAX at most, which take a millisecond. */
static int list_inhibitors(Answer *answer, const char *type, AppendInhibitor *append) {
        Listing listing = { .answer = answer, .append = append };

        listing.result = sd_bus_message_open_container(answer->reply, 'a', type);
        manager_foreach_inhibitor(answer->call.bus->manager, append_inhibitor, &listing);
        return listing.result;
}

static int begin_inhibitors(Answer *answer) {
        return list_inhibitors(answer, "(ssssuu)", inhibitor_append_record);
}

static int begin_described_inhibitors(Answer *answer) {
        return list_inhibitors(answer, "a{sv}", inhibitor_append_dictionary);
}

static int end_inhibitors(Answer *answer) {
        return sd_bus_message_close_container(answer->reply);
}

int manager_list_inhibitors(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_inhibitors,
                .end = end_inhibitors,
                .is_whole = true,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}

int manager_describe_inhibitors(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_described_inhibitors,
                .end = end_inhibitors,
                .is_whole = true,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}
