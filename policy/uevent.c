#include "policy/uevent.h"

#include <glib.h>
#include <string.h>

static const struct {
        const char *key;
        size_t length;
        size_t offset; /* of the member in Uevent */
} uevent_keys[] = {
#define KEY(text, member) \
        { text "=", sizeof(text "=") - 1, offsetof(Uevent, member) }
        KEY("ACTION", action),           KEY("DEVPATH", devpath),   KEY("SUBSYSTEM", subsystem),
        KEY("DEVPATH_OLD", devpath_old), KEY("ERROR_EVENT", error),
#undef KEY
};

bool uevent_parse(const char *text, size_t size, Uevent *ret) {
        Uevent event = { 0 };

        for (const char *end = text + size; text < end; text += strlen(text) + 1)
                for (size_t i = 0; i < G_N_ELEMENTS(uevent_keys); i++) {
                        const char **value =
                                (const char **) (void *) ((char *) &event + uevent_keys[i].offset);

                        if (!*value &&
                            strncmp(text, uevent_keys[i].key, uevent_keys[i].length) == 0)
                                *value = text + uevent_keys[i].length;
                }
        if (!event.action || !event.subsystem || !event.devpath)
                return false;
        *ret = event;
        return true;
}

const char *uevent_name(const char *devpath) {
        const char *slash = strrchr(devpath, '/');

        return slash ? slash + 1 : devpath;
}
