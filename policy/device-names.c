#include "policy/device-names.h"

#include <string.h>

DeviceNames *device_names_new(void) {
        DeviceNames *names = g_new(DeviceNames, 1);

        for (DeviceNameKind kind = 0; kind < _DEVICE_NAME_KIND_MAX; kind++)
                names->lists[kind] = g_ptr_array_new_with_free_func(g_free);
        return names;
}

DeviceNames *device_names_free(DeviceNames *names) {
        if (!names)
                return NULL;
        for (DeviceNameKind kind = 0; kind < _DEVICE_NAME_KIND_MAX; kind++)
                g_ptr_array_unref(names->lists[kind]);
        g_free(names);
        return NULL;
}

void device_names_add(DeviceNames *names, DeviceNameKind kind, const char *name) {
        GPtrArray *list = names->lists[kind];
        guint place = 0;

        while (place < list->len && strcmp(list->pdata[place], name) < 0)
                place++;
        if (list->len >= DEVICE_NAMES_MAX ||
            (place < list->len && strcmp(list->pdata[place], name) == 0))
                return;
        g_ptr_array_insert(list, (gint) place, g_strdup(name));
}

void device_names_add_all(DeviceNames *names, const DeviceNames *other) {
        for (DeviceNameKind kind = 0; other && kind < _DEVICE_NAME_KIND_MAX; kind++)
                for (guint i = 0; i < other->lists[kind]->len; i++)
                        device_names_add(names, kind, other->lists[kind]->pdata[i]);
}

const GPtrArray *device_names_list(const DeviceNames *names, DeviceNameKind kind) {
        return names && names->lists[kind]->len > 0 ? names->lists[kind] : NULL;
}

bool device_names_equal_kind(const DeviceNames *a, const DeviceNames *b, DeviceNameKind kind) {
        const GPtrArray *one = device_names_list(a, kind), *other = device_names_list(b, kind);

        if (!one || !other)
                return one == other;
        if (one->len != other->len)
                return false;
        for (guint i = 0; i < one->len; i++)
                if (strcmp(one->pdata[i], other->pdata[i]) != 0)
                        return false;
        return true;
}

bool device_names_equal(const DeviceNames *a, const DeviceNames *b) {
        for (DeviceNameKind kind = 0; kind < _DEVICE_NAME_KIND_MAX; kind++)
                if (!device_names_equal_kind(a, b, kind))
                        return false;
        return true;
}
