#include "dbus/interfaces/interface.h"
#include "dbus/path.h"

/* All getters: the interface is on functions that a capability serves, so there is one, but for the
 * moment between its loss and the signal of that. */
static const Pasid *capability(void *userdata, const Function **ret_provider) {
        static const Pasid none;
        const Pasid *pasid;

        *ret_provider = userdata;
        pasid = function_pasid(userdata, ret_provider);
        return pasid ? pasid : &none;
}

#define GETTER(name)                                                                 \
        static int name(sd_bus *connection, const char *path, const char *interface, \
                        const char *property, sd_bus_message *reply, void *userdata, \
                        sd_bus_error *error)

GETTER(get_enabled) {
        const Function *provider;

        return sd_bus_message_append(reply, "b", (int) capability(userdata, &provider)->enabled);
}

GETTER(get_width) {
        const Function *provider;

        return sd_bus_message_append(reply, "y", capability(userdata, &provider)->width);
}

GETTER(get_execute) {
        const Function *provider;

        return sd_bus_message_append(reply, "b", (int) capability(userdata, &provider)->execute);
}

GETTER(get_privileged) {
        const Function *provider;

        return sd_bus_message_append(reply, "b", (int) capability(userdata, &provider)->privileged);
}

GETTER(get_provider) {
        const Function *provider;
        char provider_path[FUNCTION_PATH_MAX];

        (void) capability(userdata, &provider);
        return sd_bus_message_append(reply, "o",
                                     function_path_format(provider->facts.key, provider_path));
}

GETTER(get_dependents) {
        const Function *pf = userdata;
        int r = sd_bus_message_open_container(reply, 'a', "o");

        for (guint i = 0; r >= 0 && pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];
                char vf_path[FUNCTION_PATH_MAX];

                if (function_depends_on_pasid(vf))
                        r = sd_bus_message_append(reply, "o",
                                                  function_path_format(vf->facts.key, vf_path));
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

const sd_bus_vtable pasid_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Enabled", "b", get_enabled, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Width", "y", get_width, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Execute", "b", get_execute, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Privileged", "b", get_privileged, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Provider", "o", get_provider, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Dependents", "ao", get_dependents, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};
