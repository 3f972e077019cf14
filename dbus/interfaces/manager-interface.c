#include "dbus/answers.h"
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "dbus/path.h"
#include "policy/check.h"
#include "policy/private-text.h"

#include <errno.h>

int manager_get_function(const MethodCall *call, sd_bus_error *error) {
        char path[FUNCTION_PATH_MAX];
        Function *function;
        const char *text;
        int r;

        r = sd_bus_message_read(call->message, "s", &text);
        if (r >= 0)
                r = method_find_function(call, text, &function, error);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(call->message, "o",
                                          function_path_format(function->facts.key, path));
}

/* What a function takes in ListFunctions() at most: the longest name of a driver and of a PCI
 * domain, and padding. */
#define LISTED_BYTES 256U

static int append_function(sd_bus_message *reply, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX], path[FUNCTION_PATH_MAX];

        return sd_bus_message_append(
                reply, "(sssbo)", pci_address_format(function_address(function), address),
                function_kind_to_string(function->kind), function->facts.driver,
                (int) function_in_use(function), function_path_format(function->facts.key, path));
}

static int begin_functions(Answer *answer) {
        return sd_bus_message_open_container(answer->reply, 'a', "(sssbo)");
}

static int manager_add_function(Answer *answer, Function *function) {
        answer->bytes += LISTED_BYTES;
        return append_function(answer->reply, function);
}

static int end_functions(Answer *answer) {
        return sd_bus_message_close_container(answer->reply);
}

int manager_list_functions(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_functions,
                .add = manager_add_function,
                .end = end_functions,
                .is_whole = true,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}

int manager_method_reload(const MethodCall *call, sd_bus_error *error) {
        MethodReply *reply = method_reply_later(call, error);

        if (!reply)
                return -EDQUOT;
        manager_reload(call->bus->manager, method_reply, reply);
        return 1;
}

static void on_all_released(void *context, int result, const char *message,
                            const GPtrArray *paths) {
        MethodReply *reply = context;
        sd_bus_message *values;
        int r;

        if (!method_reply_begin(reply, result, message, &values))
                return;
        r = sd_bus_message_open_container(values, 'a', "s");
        for (guint i = 0; r >= 0 && i < paths->len; i++)
                r = sd_bus_message_append_basic(values, 's', paths->pdata[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(values);
        method_reply_with(reply, values, r);
}

int manager_method_release_all(const MethodCall *call, sd_bus_error *error) {
        MethodReply *reply = method_reply_later(call, error);

        if (!reply)
                return -EDQUOT;
        manager_release_all(call->bus->manager, on_all_released, reply);
        return 1;
}

/* No client needs more, and no reply can be larger than a message (32 MiB on the system bus). */
#define BLOCKERS_MAX 1024U

static int append_blocker(sd_bus_message *reply, const Blocker *blocker, bool may_see) {
        g_autofree char *reason = private_text_for(blocker->reason, may_see);

        return sd_bus_message_append(reply, "(sssu)", blocker_kind_to_string(blocker->kind),
                                     blocker->subject, reason, blocker->pid);
}

static int append_verdict(sd_bus_message *reply, const Verdict *verdict, bool may_see) {
        int r = sd_bus_message_append(reply, "b", (int) verdict_allowed(verdict));

        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sssu)");
        for (guint i = 0; r >= 0 && i < MIN(verdict->blockers->len, BLOCKERS_MAX); i++)
                r = append_blocker(reply, verdict->blockers->pdata[i], may_see);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "s");
        for (guint i = 0; r >= 0 && i < verdict->warnings->len; i++)
                r = sd_bus_message_append(reply, "s", verdict->warnings->pdata[i]);
        if (r >= 0 && verdict->blockers->len > BLOCKERS_MAX) {
                g_autofree char *more = g_strdup_printf("%u more things stand against it",
                                                        verdict->blockers->len - BLOCKERS_MAX);

                r = sd_bus_message_append(reply, "s", more);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static bool is_public(const Verdict *verdict) {
        for (guint i = 0; i < verdict->blockers->len; i++)
                if (!private_text_is_public(
                            ((const Blocker *) verdict->blockers->pdata[i])->reason))
                        return false;
        return true;
}

int manager_check(const MethodCall *call, sd_bus_error *error) {
        const Inventory *inventory = manager_inventory(call->bus->manager);
        g_autoptr(Verdict) verdict = NULL;
        const char *address, *word;
        sd_bus_message *reply = NULL;
        Operation operation;
        Function *function;
        int r;

        r = sd_bus_message_read(call->message, "ss", &address, &word);
        if (r < 0)
                return r;
        operation = operation_from_string(word);
        if (operation < 0) {
                g_autofree char *words = operations_format((1U << _OPERATION_MAX) - 1);

                return bus_error_set(error, -EINVAL, "'%s' is no operation, as these are: %s", word,
                                     words);
        }
        r = method_find_function(call, address, &function, error);
        if (r < 0)
                return r;
        if (!operation_on_kind(operation, function->kind))
                return bus_error_set(error, -EOPNOTSUPP, "%s is no physical function: no %s there",
                                     address, word);

        verdict = check(inventory, function, operation, 0);
        if (call->uid == METHOD_UID_UNKNOWN && !is_public(verdict))
                return -EAGAIN;
        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = append_verdict(reply, verdict, call->uid == 0);
        if (r >= 0)
                r = method_send(call, reply);
        sd_bus_message_unref(reply);
        return r;
}

INTERFACE_GETTER(manager_get_version) {
        return sd_bus_message_append(reply, "s", VFWARDEN_VERSION);
}

INTERFACE_GETTER(manager_get_enforcement) {
        const Bus *bus = userdata;

        return sd_bus_message_append(reply, "s",
                                     manager_enforces(bus->manager) ? "enforce" : "advise");
}

INTERFACE_GETTER(manager_get_function_count) {
        const Bus *bus = userdata;

        return sd_bus_message_append(reply, "u", inventory_count(manager_inventory(bus->manager)));
}

INTERFACE_GETTER(manager_get_problems) {
        const Bus *bus = userdata;
        g_auto(GStrv) problems = manager_problems(bus->manager);

        return sd_bus_message_append_strv(reply, problems);
}

INTERFACE_GETTER(manager_get_guards) {
        const Bus *bus = userdata;
        g_auto(GStrv) guards = manager_guards(bus->manager);

        return sd_bus_message_append_strv(reply, guards);
}

const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("GetFunction", SD_BUS_ARGS("s", address),
                                SD_BUS_RESULT("o", function), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListFunctions", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(sssbo)", functions), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Check", SD_BUS_ARGS("s", address, "s", operation),
                                SD_BUS_RESULT("b", allowed, "a(sssu)", blockers, "as", warnings),
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListUsers", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(suuss)", users),
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("DescribeUsers", SD_BUS_ARGS("s", address),
                                SD_BUS_RESULT("aa{sv}", users), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("DescribeUses", SD_BUS_ARGS("s", address),
                                SD_BUS_RESULT("aa{sv}", uses), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Inhibit", SD_BUS_ARGS("s", address, "s", what, "s", who, "s", why),
                                SD_BUS_RESULT("h", descriptor), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "InhibitMany",
                SD_BUS_ARGS("as", addresses, "s", what, "s", who, "s", why, "a{sv}", options),
                SD_BUS_RESULT("h", descriptor, "a(ssssu)", blockers, "u", more), method_dispatch,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "InhibitWithOptions",
                SD_BUS_ARGS("s", address, "s", what, "s", who, "s", why, "a{sv}", options),
                SD_BUS_RESULT("h", descriptor), method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListInhibitors", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(ssssuu)", inhibitors), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("DescribeInhibitors", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("aa{sv}", inhibitors), method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Describe", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json),
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_dispatch,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ReleaseAll", SD_BUS_NO_ARGS, SD_BUS_RESULT("as", files),
                                method_dispatch, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("Violation",
                                SD_BUS_ARGS("s", address, "s", operation, "a{sv}", details), 0),
        SD_BUS_PROPERTY("Version", "s", manager_get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Enforcement", "s", manager_get_enforcement, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("FunctionCount", "u", manager_get_function_count, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Problems", "as", manager_get_problems, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Guards", "as", manager_get_guards, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};
