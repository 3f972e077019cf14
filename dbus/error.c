#include "dbus/error.h"

#include "dbus/path.h"
#include "policy/private-text.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>

#define ERROR(name) BUS_NAME ".Error." name

static const struct {
        int number;
        const char *name;
} bus_errors[] = {
        { ENXIO, ERROR("NoSuchFunction") },
        { ENODEV, ERROR("Gone") }, /* it was there when the request came */
        { ECONNREFUSED, ERROR("Refused") },
        { EBUSY, ERROR("Busy") },
        { ETIMEDOUT, ERROR("Timeout") },
        { EOPNOTSUPP, ERROR("NotSupported") },
        { EINVAL, SD_BUS_ERROR_INVALID_ARGS },
        { EACCES, SD_BUS_ERROR_ACCESS_DENIED },
        { EDQUOT, SD_BUS_ERROR_LIMITS_EXCEEDED },
};

int bus_error_set(sd_bus_error *error, int r, const char *format, ...) {
        const char *name = ERROR("Failed");
        va_list arguments;

        for (unsigned i = 0; i < G_N_ELEMENTS(bus_errors); i++)
                if (bus_errors[i].number == -r)
                        name = bus_errors[i].name;

        va_start(arguments, format);
        g_autofree char *message = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        /* Who may see private parts got them before. */
        g_autofree char *text = private_text_for(message, false);
        return sd_bus_error_set(error, name, text);
}
