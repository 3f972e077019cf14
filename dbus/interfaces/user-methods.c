/* ListUsers(), DescribeUsers() and DescribeUses(). */
#include "dbus/answers.h"
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "policy/use.h"

#include <errno.h>
#include <string.h>

/* What a user takes in an answer without their strings. */
#define USER_BYTES 384U
/* What a use takes with its strings. */
#define USE_BYTES 1024U

typedef int AppendUser(sd_bus_message *reply, const char *address, const User *user,
                       const char *command);

/* The command of a user as far as the caller may see it: root sees all, others their own. */
static const char *visible_command(const MethodCall *call, const User *user) {
        return call->uid == 0 || call->uid == user->uid ? user->command : "";
}

static int append_record(sd_bus_message *reply, const char *address, const User *user,
                         const char *command) {
        return sd_bus_message_append(reply, "(suuss)", address, user->pid, user->uid, command,
                                     user->unit);
}

static int append_entry(sd_bus_message *reply, const char *key, const char *type, unsigned value) {
        return sd_bus_message_append(reply, "{sv}", key, type, value);
}

static int append_dictionary(sd_bus_message *reply, const char *address, const User *user,
                             const char *command) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r < 0)
                return r;
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "address", "s",
                                  address, "pid", "u", user->pid, "uid", "u", user->uid, "command",
                                  "s", command, "unit", "s", user->unit, "machine", "s",
                                  user->machine, "since", "t", user->since_usec, "session", "b",
                                  (int) user->session, "brokered", "b", (int) user->brokered);
        if (r >= 0 && user->unknown)
                r = append_entry(reply, "unknown", "b", user->unknown);
        if (r >= 0 && user->socket_pid != 0)
                r = append_entry(reply, "socket-pid", "u", user->socket_pid);
        if (r >= 0 && user->n_others > 0)
                r = append_entry(reply, "others", "u", user->n_others);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* The same of `n` more users than are listed. */
typedef int AppendMore(sd_bus_message *reply, const char *address, guint n);

static int append_more_record(sd_bus_message *reply, const char *address, guint n) {
        g_autofree char *text = g_strdup_printf("%u more", n);

        return sd_bus_message_append(reply, "(suuss)", address, 0, 0, text, "");
}

static int append_more_dictionary(sd_bus_message *reply, const char *address, guint n) {
        return sd_bus_message_append(reply, "a{sv}", 2, "address", "s", address, "more", "u", n);
}

static int append_users(Answer *answer, const Function *function, AppendUser *append,
                        AppendMore *append_more) {
        guint n = function->users ? function->users->len : 0;
        guint listed = MIN(n, USERS_LISTED_MAX);
        char address[PCI_ADDRESS_STRING_MAX];
        int r = 0;

        pci_address_format(function_address(function), address);
        for (guint i = 0; r >= 0 && i < listed; i++) {
                const User *user = function->users->pdata[i];

                r = append(answer->reply, address, user, visible_command(&answer->call, user));
                answer->bytes += USER_BYTES + strlen(user->command) + strlen(user->unit) +
                                 strlen(user->machine);
        }
        return r < 0 || listed == n ? r : append_more(answer->reply, address, n - listed);
}

static int begin_records(Answer *answer) {
        return sd_bus_message_open_container(answer->reply, 'a', "(suuss)");
}

static int add_records(Answer *answer, Function *function) {
        return append_users(answer, function, append_record, append_more_record);
}

static int end_list(Answer *answer) {
        return sd_bus_message_close_container(answer->reply);
}

static int begin_dictionaries(Answer *answer) {
        return sd_bus_message_open_container(answer->reply, 'a', "a{sv}");
}

static int add_dictionaries(Answer *answer, Function *function) {
        return append_users(answer, function, append_dictionary, append_more_dictionary);
}

static int end_records(Answer *answer) {
        int r = 0;

        if (answer->left_out > 0)
                r = append_more_record(answer->reply, "", answer->left_out);
        return r < 0 ? r : end_list(answer);
}

static int end_dictionaries(Answer *answer) {
        int r = 0;

        if (answer->left_out > 0)
                r = append_more_dictionary(answer->reply, "", answer->left_out);
        return r < 0 ? r : end_list(answer);
}

/* Neither these nor Check() look at processes anew. Events keep the inventory true to some
 * milliseconds, guarded operations look again by themselves, and reading is free to everybody:
 * nobody should be able to make the daemon walk through /proc as often as they like. */

int manager_list_users(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_records,
                .add = add_records,
                .end = end_records,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}

static int describe_all(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_dictionaries,
                .add = add_dictionaries,
                .end = end_dictionaries,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}

/* Replies with what `add` says of one function. */
static int describe_one(const MethodCall *call, Function *function,
                        int (*add)(Answer *answer, Function *function)) {
        Answer answer = { .call = *call };
        int r = sd_bus_message_new_method_return(call->message, &answer.reply);

        if (r >= 0)
                r = begin_dictionaries(&answer);
        if (r >= 0)
                r = add(&answer, function);
        if (r >= 0)
                r = end_dictionaries(&answer);
        if (r >= 0)
                r = method_send(call, answer.reply);
        sd_bus_message_unref(answer.reply);
        return r;
}

/* Reads the address of a function, or "" for all: NULL. */
static int read_function_argument(const MethodCall *call, Function **ret, sd_bus_error *error) {
        const char *text;
        int r = sd_bus_message_read(call->message, "s", &text);

        *ret = NULL;
        if (r < 0 || text[0] == '\0')
                return r;
        return method_find_function(call, text, ret, error);
}

int manager_describe_users(const MethodCall *call, sd_bus_error *error) {
        Function *function;
        int r = read_function_argument(call, &function, error);

        if (r < 0)
                return r;
        return function ? describe_one(call, function, add_dictionaries)
                        : describe_all(call, error);
}

/* --- uses of the host */

static int append_use(sd_bus_message *reply, const char *address, const Use *use) {
        g_autofree char *text = use_describe(use);

        return sd_bus_message_append(reply, "a{sv}", 9, "address", "s", address, "kind", "s",
                                     use_kind_to_string(use->kind), "subsystem", "s",
                                     use_kind_subsystem(use->kind), "object", "s", use->object,
                                     "by", "s", use->by, "namespace", "s", use_namespace(use),
                                     "pid", "u", use->pid, "text", "s", text, "lost", "s",
                                     use_kind_lost(use->kind));
}

static int add_uses(Answer *answer, Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];
        int r = 0;

        pci_address_format(function_address(function), address);
        for (guint i = 0; r >= 0 && function->uses && i < function->uses->len; i++) {
                r = append_use(answer->reply, address, function->uses->pdata[i]);
                answer->bytes += USE_BYTES;
        }
        return r;
}

int manager_describe_uses(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_dictionaries,
                .add = add_uses,
                .end = end_dictionaries,
        };
        Function *function;
        int r = read_function_argument(call, &function, error);

        if (r < 0)
                return r;
        return function ? describe_one(call, function, add_uses)
                        : answers_add(call->bus->answers, call, &kind, error);
}
