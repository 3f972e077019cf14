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

INTERFACE_GETTER(pasid_get_enabled) {
        const Function *provider;

        return sd_bus_message_append(reply, "b", (int) capability(userdata, &provider)->enabled);
}

INTERFACE_GETTER(pasid_get_width) {
        const Function *provider;

        return sd_bus_message_append(reply, "y", capability(userdata, &provider)->width);
}

INTERFACE_GETTER(pasid_get_execute) {
        const Function *provider;

        return sd_bus_message_append(reply, "b", (int) capability(userdata, &provider)->execute);
}

INTERFACE_GETTER(pasid_get_privileged) {
        const Function *provider;

        return sd_bus_message_append(reply, "b", (int) capability(userdata, &provider)->privileged);
}

INTERFACE_GETTER(pasid_get_provider) {
        const Function *provider;
        char provider_path[FUNCTION_PATH_MAX];

        (void) capability(userdata, &provider);
        return sd_bus_message_append(reply, "o",
                                     function_path_format(provider->facts.key, provider_path));
}

INTERFACE_GETTER(pasid_get_dependents) {
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
        PROPERTY_CHANGING_BY("Enabled", "b", pasid_get_enabled),
        PROPERTY_CONST_BY("Width", "y", pasid_get_width),
        PROPERTY_CONST_BY("Execute", "b", pasid_get_execute),
        PROPERTY_CONST_BY("Privileged", "b", pasid_get_privileged),
        PROPERTY_CONST_BY("Provider", "o", pasid_get_provider),
        PROPERTY_CHANGING_BY("Dependents", "ao", pasid_get_dependents),
        SD_BUS_VTABLE_END,
};
