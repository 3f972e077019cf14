/* The methods that do something to a function: each reads its arguments, checks their form, and
 * hands over to the manager; the reply is sent when that tells how it ended. */
#include "dbus/authority.h"
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "policy/check.h"
#include "policy/client-text.h"
#include "policy/plan.h"

#include <errno.h>

/* Nobody means longer; and sums of times stay far from overflow. */
#define UNPLUG_TIMEOUT_MAX_USEC (24 * 60 * 60 * 1000000ULL)

/* In bytes. */
#define REFUSE_WHY_MAX 512

/* --- options that pass over blockers */

#define OPTION_OVERRIDE_HOST "override-host"

/* Reads the arguments anew, and begins. */
typedef struct Beginning {
        int (*begin)(const MethodCall *call, sd_bus_error *error);
} Beginning;

/* Runs when the caller may override, too. */
static void on_may_override(void *userdata, const MethodCall *call) {
        const Beginning *beginning = userdata;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = beginning->begin(call, &error);

        if (r < 0)
                method_reply_error(call, r, &error);
}

/* Begins, if the caller is allowed what `flags` (CheckFlags) say. */
static int begin_if_allowed(const MethodCall *call, unsigned flags, const Beginning *beginning,
                            sd_bus_error *error) {
        if (flags == 0)
                return beginning->begin(call, error);
        return authority_ask(call->bus->authority, call, ACTION_OVERRIDE, false, on_may_override,
                             (void *) beginning, error);
}

/* Reads a dictionary whose only option is the one that takes the function from the host. */
static int read_override_host(const MethodCall *call, unsigned *ret_flags, sd_bus_error *error) {
        int host = false, r;
        const MethodOption options[] = { { OPTION_OVERRIDE_HOST, "b", &host }, { NULL } };

        r = method_read_options(call->message, options, error);
        *ret_flags = host ? CHECK_OVERRIDE_HOST : 0;
        return r;
}

/* --- Bind() */

static int read_bind(const MethodCall *call, bool options, const char **ret_driver,
                     unsigned *ret_flags, sd_bus_error *error) {
        int r = sd_bus_message_rewind(call->message, true);

        *ret_flags = 0;
        if (r >= 0)
                r = sd_bus_message_read(call->message, "s", ret_driver);
        if (r >= 0 && options)
                r = read_override_host(call, ret_flags, error);
        if (r >= 0 && (*ret_driver)[0] != '\0' && !plan_driver_name_valid(*ret_driver))
                return bus_error_set(error, -EINVAL, "'%s' cannot be the name of a driver",
                                     *ret_driver);
        return r;
}

static int begin_bind(const MethodCall *call, bool options, sd_bus_error *error) {
        Function *function = method_function(call, error);
        MethodReply *reply;
        const char *driver;
        unsigned flags;
        int r;

        if (!function)
                return -ENODEV;
        r = read_bind(call, options, &driver, &flags, error);
        if (r < 0)
                return r;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_bind(call->bus->manager, function, driver, flags, method_reply, reply);
        return 1;
}

static int begin_bind_with_options(const MethodCall *call, sd_bus_error *error) {
        return begin_bind(call, true, error);
}

int function_method_bind(const MethodCall *call, sd_bus_error *error) {
        return begin_bind(call, false, error);
}

int function_method_bind_with_options(const MethodCall *call, sd_bus_error *error) {
        static const Beginning beginning = { begin_bind_with_options };
        const char *driver;
        unsigned flags;
        int r = read_bind(call, true, &driver, &flags, error);

        return r < 0 ? r : begin_if_allowed(call, flags, &beginning, error);
}

/* --- Unbind() and Reset() */

/* An operation that takes no arguments but options. */
typedef void PlainOperation(Manager *manager, Function *function, unsigned flags, ManagerDone *done,
                            void *context);

static int begin_plain(const MethodCall *call, PlainOperation *operation, unsigned flags,
                       sd_bus_error *error) {
        Function *function = method_function(call, error);
        MethodReply *reply;

        if (!function)
                return -ENODEV;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        operation(call->bus->manager, function, flags, method_reply, reply);
        return 1;
}

int function_method_unbind(const MethodCall *call, sd_bus_error *error) {
        return begin_plain(call, manager_unbind, 0, error);
}

int function_method_reset(const MethodCall *call, sd_bus_error *error) {
        return begin_plain(call, manager_reset, 0, error);
}

static int begin_with_options(const MethodCall *call, PlainOperation *operation,
                              sd_bus_error *error) {
        unsigned flags = 0;
        int r = sd_bus_message_rewind(call->message, true);

        if (r >= 0)
                r = read_override_host(call, &flags, error);
        return r < 0 ? r : begin_plain(call, operation, flags, error);
}

static int begin_unbind_with_options(const MethodCall *call, sd_bus_error *error) {
        return begin_with_options(call, manager_unbind, error);
}

static int begin_reset_with_options(const MethodCall *call, sd_bus_error *error) {
        return begin_with_options(call, manager_reset, error);
}

int function_method_unbind_with_options(const MethodCall *call, sd_bus_error *error) {
        static const Beginning beginning = { begin_unbind_with_options };
        unsigned flags;
        int r = read_override_host(call, &flags, error);

        return r < 0 ? r : begin_if_allowed(call, flags, &beginning, error);
}

int function_method_reset_with_options(const MethodCall *call, sd_bus_error *error) {
        static const Beginning beginning = { begin_reset_with_options };
        unsigned flags;
        int r = read_override_host(call, &flags, error);

        return r < 0 ? r : begin_if_allowed(call, flags, &beginning, error);
}

/* --- Unplug() */

typedef struct UnplugArguments {
        uint64_t timeout_usec;
        int insist, host;
} UnplugArguments;

static int read_unplug(const MethodCall *call, UnplugArguments *ret, sd_bus_error *error) {
        const MethodOption options[] = { { "insist", "b", &ret->insist },
                                         { OPTION_OVERRIDE_HOST, "b", &ret->host },
                                         { NULL } };
        int r = sd_bus_message_rewind(call->message, true);

        *ret = (UnplugArguments){ 0 };
        if (r >= 0)
                r = sd_bus_message_read(call->message, "t", &ret->timeout_usec);
        if (r >= 0)
                r = method_read_options(call->message, options, error);
        if (r >= 0 && ret->timeout_usec > UNPLUG_TIMEOUT_MAX_USEC)
                return bus_error_set(error, -EINVAL, "the timeout is above a day");
        return r;
}

static int begin_unplug(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        UnplugArguments arguments;
        MethodReply *reply;
        int r;

        if (!function)
                return -ENODEV;
        r = read_unplug(call, &arguments, error);
        if (r < 0)
                return r;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_unplug(call->bus->manager, function, arguments.timeout_usec, arguments.insist,
                       arguments.host ? CHECK_OVERRIDE_HOST : 0, method_reply, reply);
        return 1;
}

int function_method_unplug(const MethodCall *call, sd_bus_error *error) {
        static const Beginning beginning = { begin_unplug };
        UnplugArguments arguments;
        int r = read_unplug(call, &arguments, error);

        return r < 0 ? r
                     : begin_if_allowed(call, arguments.host ? CHECK_OVERRIDE_HOST : 0, &beginning,
                                        error);
}

static int reply_cancelled(const MethodCall *call, int r, sd_bus_error *error) {
        if (r == -ENOENT)
                return bus_error_set(error, -EIO, "no unplug is in progress");
        if (r < 0)
                return bus_error_set(
                        error, -ECONNREFUSED,
                        "the kernel has been asked, this cannot be cancelled any more");
        return sd_bus_reply_method_return(call->message, NULL);
}

int function_method_cancel_unplug(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);

        if (!function)
                return -ENODEV;
        return reply_cancelled(call, manager_cancel_unplug(call->bus->manager, function), error);
}

int function_method_refuse_unplug(const MethodCall *call, sd_bus_error *error) {
        const Function *function = method_function(call, error);
        const char *why;
        int r;

        if (!function)
                return -ENODEV;
        r = sd_bus_message_read(call->message, "s", &why);
        if (r < 0)
                return r;
        if (why[0] == '\0' || !client_text_valid(why, REFUSE_WHY_MAX, false))
                return bus_error_set(error, -EINVAL,
                                     "'why' must be given, and has at most %d bytes, none of a "
                                     "control character",
                                     REFUSE_WHY_MAX);
        return reply_cancelled(call, manager_refuse_unplug(call->bus->manager, function, why),
                               error);
}

int function_method_get_unplug_request(const MethodCall *call, sd_bus_error *error) {
        const Function *function = method_function(call, error);

        if (!function)
                return -ENODEV;
        return sd_bus_reply_method_return(call->message, "t",
                                          manager_unplug_deadline(call->bus->manager, function));
}

/* --- SetNumVFs() */

static int read_num_vfs(const MethodCall *call, uint16_t *ret_count, unsigned *ret_flags,
                        sd_bus_error *error) {
        int override = false, host = false, r;
        const MethodOption options[] = { { "override", "b", &override },
                                         { OPTION_OVERRIDE_HOST, "b", &host },
                                         { NULL } };

        r = sd_bus_message_rewind(call->message, true);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "q", ret_count);
        if (r >= 0)
                r = method_read_options(call->message, options, error);
        *ret_flags = (override ? CHECK_OVERRIDE : 0) | (host ? CHECK_OVERRIDE_HOST : 0);
        return r;
}

static int begin_set_num_vfs(const MethodCall *call, sd_bus_error *error) {
        Function *pf = method_function(call, error);
        MethodReply *reply;
        unsigned flags;
        uint16_t count;
        int r;

        if (!pf)
                return -ENODEV;
        r = read_num_vfs(call, &count, &flags, error);
        if (r < 0)
                return r;
        if (count > pf->facts.total_vfs)
                return bus_error_set(error, -EINVAL,
                                     "%u is more than the %u virtual functions that "
                                     "there can be",
                                     count, pf->facts.total_vfs);
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_set_num_vfs(call->bus->manager, pf, count, flags, method_reply, reply);
        return 1;
}

int physical_function_method_set_num_vfs(const MethodCall *call, sd_bus_error *error) {
        static const Beginning beginning = { begin_set_num_vfs };
        unsigned flags;
        uint16_t count;
        int r = read_num_vfs(call, &count, &flags, error);

        return r < 0 ? r : begin_if_allowed(call, flags, &beginning, error);
}

int physical_function_method_set_drivers_autoprobe(const MethodCall *call, sd_bus_error *error) {
        Function *pf = method_function(call, error);
        MethodReply *reply;
        int enable, r;

        if (!pf)
                return -ENODEV;
        r = sd_bus_message_read(call->message, "b", &enable);
        if (r < 0)
                return r;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_set_autoprobe(call->bus->manager, pf, enable, method_reply, reply);
        return 1;
}
