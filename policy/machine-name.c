#include "policy/machine-name.h"

#include "policy/client-text.h"

#include <glib.h>
#include <string.h>

#define PREFIX "machine-"
#define SUFFIX ".scope"

const char *machine_name_short(const char *name) {
        static const char *const drivers[] = { "qemu-", "lxc-", "xen-", "ch-" };

        for (guint i = 0; i < G_N_ELEMENTS(drivers); i++) {
                const char *p = name + strlen(drivers[i]);

                if (!g_str_has_prefix(name, drivers[i]) || !g_ascii_isdigit(*p))
                        continue;
                while (g_ascii_isdigit(*p))
                        p++;
                if (p[0] == '-' && p[1] != '\0')
                        return p + 1;
        }
        return name;
}

char *machine_name_from_unit(const char *unit) {
        g_autofree char *name = NULL;
        char *to;

        if (!g_str_has_prefix(unit, PREFIX) || !g_str_has_suffix(unit, SUFFIX) ||
            strlen(unit) <= strlen(PREFIX) + strlen(SUFFIX))
                return NULL;
        name = g_strndup(unit + strlen(PREFIX), strlen(unit) - strlen(PREFIX) - strlen(SUFFIX));

        /* systemd.unit(5): "-" stands for "/", which no machine's name has, and the rest is
         * \xNN. */
        to = name;
        for (const char *p = name; *p != '\0'; p++) {
                if (p[0] == '\\' && p[1] == 'x' && g_ascii_isxdigit(p[2]) &&
                    g_ascii_isxdigit(p[3])) {
                        *to++ = (char) (g_ascii_xdigit_value(p[2]) << 4 |
                                        g_ascii_xdigit_value(p[3]));
                        p += 3;
                } else
                        *to++ = *p;
        }
        *to = '\0';
        if (name[0] == '\0' || (gsize) (to - name) != strlen(name) ||
            !client_text_valid(name, (size_t) (to - name), false))
                return NULL;
        return g_strdup(machine_name_short(name));
}
