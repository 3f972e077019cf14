#include "dbus/error.h"

#include "dbus/path.h"
#include "policy/client-text.h"
#include "policy/private-text.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <stdio.h>

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
        char message[BUS_ERROR_MAX + 8]; /* what is too long for the buffer is so for the error */
        g_autofree char *shown = NULL, *text = NULL;
        const char *name = ERROR("Failed");
        va_list arguments;

        for (unsigned i = 0; i < G_N_ELEMENTS(bus_errors); i++)
                if (bus_errors[i].number == -r)
                        name = bus_errors[i].name;

        va_start(arguments, format);
        (void) vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        /* Readers that may see private parts got them before. */
        shown = private_text_for(message, false);
        text = client_text_fit(shown, BUS_ERROR_MAX); /* the buffer may end within a character */
        return sd_bus_error_set(error, name, text);
}
