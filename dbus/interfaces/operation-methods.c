/* The methods that do something to a function: each reads its arguments, checks their form, and
 * hands over to the manager; the reply is sent when that tells how it ended. */
#include "dbus/authority.h"
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "policy/client-text.h"
#include "policy/plan.h"

#include <errno.h>

/* Nobody means longer; and sums of times stay far from overflow. */
#define UNPLUG_TIMEOUT_MAX_USEC (24 * 60 * 60 * 1000000ULL)

/* In bytes. */
#define REFUSE_WHY_MAX 512

int function_method_bind(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        MethodReply *reply;
        const char *driver;
        int r;

        if (!function)
                return -ENODEV;
        r = sd_bus_message_read(call->message, "s", &driver);
        if (r < 0)
                return r;
        if (driver[0] != '\0' && !plan_driver_name_valid(driver))
                return bus_error_set(error, -EINVAL, "'%s' cannot be the name of a driver", driver);
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_bind(call->bus->manager, function, driver, method_reply, reply);
        return 1;
}

/* An operation that takes no arguments. */
typedef void PlainOperation(Manager *manager, Function *function, ManagerDone *done, void *context);

static int begin(const MethodCall *call, PlainOperation *operation, sd_bus_error *error) {
        Function *function = method_function(call, error);
        MethodReply *reply;

        if (!function)
                return -ENODEV;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        operation(call->bus->manager, function, method_reply, reply);
        return 1;
}

int function_method_unbind(const MethodCall *call, sd_bus_error *error) {
        return begin(call, manager_unbind, error);
}

int function_method_reset(const MethodCall *call, sd_bus_error *error) {
        return begin(call, manager_reset, error);
}

int function_method_unplug(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        MethodReply *reply;
        uint64_t timeout_usec;
        int insist = false, r;

        if (!function)
                return -ENODEV;
        r = sd_bus_message_read(call->message, "t", &timeout_usec);
        if (r >= 0)
                r = method_read_option(call->message, "insist", "b", &insist, error);
        if (r < 0)
                return r;
        if (timeout_usec > UNPLUG_TIMEOUT_MAX_USEC)
                return bus_error_set(error, -EINVAL, "the timeout is above a day");
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_unplug(call->bus->manager, function, timeout_usec, insist, method_reply, reply);
        return 1;
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

static int set_num_vfs(const MethodCall *call, bool override, sd_bus_error *error) {
        Function *pf = method_function(call, error);
        MethodReply *reply;
        uint16_t count;
        int r;

        if (!pf)
                return -ENODEV;
        r = sd_bus_message_rewind(call->message, true);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "q", &count);
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
        manager_set_num_vfs(call->bus->manager, pf, count, override, method_reply, reply);
        return 1;
}

/* Runs when the caller may override, too. */
static void set_num_vfs_override(void *userdata, const MethodCall *call) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = set_num_vfs(call, true, &error);

        if (r < 0)
                (void) sd_bus_reply_method_errno(call->message, r, &error);
        sd_bus_error_free(&error);
}

int physical_function_method_set_num_vfs(const MethodCall *call, sd_bus_error *error) {
        uint16_t count;
        int override = false, r;

        r = sd_bus_message_read(call->message, "q", &count);
        if (r >= 0)
                r = method_read_option(call->message, "override", "b", &override, error);
        if (r < 0)
                return r;
        if (override)
                return authority_ask(call->bus->authority, call, ACTION_OVERRIDE, false,
                                     set_num_vfs_override, NULL, error);
        return set_num_vfs(call, false, error);
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
