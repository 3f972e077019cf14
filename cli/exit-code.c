#include "cli/exit-code.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>

static const char *const descriptions[_EXIT_CODE_MAX] = {
        [EXIT_CODE_DONE] = "done",
        [EXIT_CODE_FAILED] = "failed",
        [EXIT_CODE_USAGE] = "wrong usage: unknown verb or option, malformed address or value",
        [EXIT_CODE_NO_SUCH_FUNCTION] = "no such PCI function",
        [EXIT_CODE_ACCESS_DENIED] = "access denied",
        [EXIT_CODE_UNREACHABLE] =
                "the daemon cannot be reached: not running, not installed, no bus",
        [EXIT_CODE_REFUSED] = "refused: an obstacle, such as a user of the function",
        [EXIT_CODE_BUSY] = "busy: another operation is running, or a limit is reached",
        [EXIT_CODE_TIMED_OUT] = "timed out",
        [EXIT_CODE_GONE] = "the function was removed meanwhile",
        [EXIT_CODE_NOT_SUPPORTED] = "not supported by the function or by this daemon",
        [EXIT_CODE_UNFINISHED] = "timed out, and the function is being removed",
};

/* A name that ends in '.' stands for all names that begin so. */
static const struct {
        const char *name;
        ExitCode code;
} by_name[] = {
        { "org.vfwarden1.Error.NoSuchFunction", EXIT_CODE_NO_SUCH_FUNCTION },
        { "org.vfwarden1.Error.Refused", EXIT_CODE_REFUSED },
        { "org.vfwarden1.Error.Busy", EXIT_CODE_BUSY },
        { "org.vfwarden1.Error.Timeout", EXIT_CODE_TIMED_OUT },
        { "org.vfwarden1.Error.Gone", EXIT_CODE_GONE },
        { "org.vfwarden1.Error.NotSupported", EXIT_CODE_NOT_SUPPORTED },
        { "org.vfwarden1.Error.Failed", EXIT_CODE_FAILED },
        { SD_BUS_ERROR_INVALID_ARGS, EXIT_CODE_USAGE },
        { SD_BUS_ERROR_ACCESS_DENIED, EXIT_CODE_ACCESS_DENIED },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, EXIT_CODE_ACCESS_DENIED },
        { SD_BUS_ERROR_AUTH_FAILED, EXIT_CODE_ACCESS_DENIED },
        { SD_BUS_ERROR_LIMITS_EXCEEDED, EXIT_CODE_BUSY },
        { SD_BUS_ERROR_TIMEOUT, EXIT_CODE_TIMED_OUT },
        /* The object of a function that went between GetFunction() and the call on it. */
        { SD_BUS_ERROR_UNKNOWN_OBJECT, EXIT_CODE_GONE },
        { SD_BUS_ERROR_UNKNOWN_METHOD, EXIT_CODE_NOT_SUPPORTED },
        { SD_BUS_ERROR_UNKNOWN_INTERFACE, EXIT_CODE_NOT_SUPPORTED },
        { SD_BUS_ERROR_UNKNOWN_PROPERTY, EXIT_CODE_NOT_SUPPORTED },
        { SD_BUS_ERROR_SERVICE_UNKNOWN, EXIT_CODE_UNREACHABLE },
        { SD_BUS_ERROR_NAME_HAS_NO_OWNER, EXIT_CODE_UNREACHABLE },
        { SD_BUS_ERROR_NO_SERVER, EXIT_CODE_UNREACHABLE },
        { SD_BUS_ERROR_NO_REPLY, EXIT_CODE_UNREACHABLE },
        { SD_BUS_ERROR_DISCONNECTED, EXIT_CODE_UNREACHABLE },
        /* Activation failed: in the bus' own helper, or in systemd that was asked to start the
           unit. */
        { "org.freedesktop.DBus.Error.Spawn.", EXIT_CODE_UNREACHABLE },
        { "org.freedesktop.systemd1.", EXIT_CODE_UNREACHABLE },
};

static const struct {
        int error;
        ExitCode code;
} by_errno[] = {
        { EACCES, EXIT_CODE_ACCESS_DENIED },     { EPERM, EXIT_CODE_ACCESS_DENIED },
        { ETIMEDOUT, EXIT_CODE_TIMED_OUT },      { ECONNRESET, EXIT_CODE_UNREACHABLE },
        { ECONNREFUSED, EXIT_CODE_UNREACHABLE }, { ENOTCONN, EXIT_CODE_UNREACHABLE },
        { EPIPE, EXIT_CODE_UNREACHABLE },        { ENOENT, EXIT_CODE_UNREACHABLE },
        { ESHUTDOWN, EXIT_CODE_UNREACHABLE },    { EHOSTDOWN, EXIT_CODE_UNREACHABLE },
};

const char *exit_code_description(ExitCode code) {
        assert(code >= 0 && code < _EXIT_CODE_MAX);
        return descriptions[code];
}

const char *exit_code_error_name(ExitCode code) {
        for (size_t i = 0; i < G_N_ELEMENTS(by_name); i++)
                if (by_name[i].code == code)
                        return by_name[i].name;
        return "org.vfwarden1.Error.Failed"; /* the code of a command that was run */
}

ExitCode exit_code_from_failure(const sd_bus_error *error, int r) {
        if (error && error->name)
                for (size_t i = 0; i < G_N_ELEMENTS(by_name); i++) {
                        const char *name = by_name[i].name;

                        if (g_str_has_suffix(name, ".") ? g_str_has_prefix(error->name, name)
                                                        : g_str_equal(error->name, name))
                                return by_name[i].code;
                }

        /* sd-bus names what the local side met System.Error.ENOENT and the like. */
        for (size_t i = 0; i < G_N_ELEMENTS(by_errno); i++)
                if (by_errno[i].error == -r)
                        return by_errno[i].code;

        return EXIT_CODE_FAILED;
}
