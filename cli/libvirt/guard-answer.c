#include "cli/libvirt/guard-answer.h"

#include "cli/client.h"

#define AGENT_NAME "org.vfwarden1.Libvirt"

typedef struct GuardAnswer {
        char *path;
        const char *who;
} GuardAnswer;

static void answer_free(void *data) {
        GuardAnswer *answer = data;

        g_free(answer->path);
        g_free(answer);
}

/* The reply to NameHasOwner(). If the bus does not say, the deadline decides. */
static int on_has_owner(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const GuardAnswer *answer = userdata;
        g_autofree char *why = NULL;
        int has_owner = true;

        if (sd_bus_message_is_method_error(reply, NULL) ||
            sd_bus_message_read(reply, "b", &has_owner) < 0 || has_owner)
                return 0;
        why = g_strdup_printf("%s has it, and vfwarden-libvirt.service, which would have it "
                              "released, does not run or has no connection to libvirt",
                              answer->who);
        (void) sd_bus_call_method_async(sd_bus_message_get_bus(reply), NULL, CLIENT_BUS_NAME,
                                        answer->path, CLIENT_FUNCTION, "RefuseUnplug", NULL, NULL,
                                        "s", why);
        return 0;
}

int guard_answer(sd_bus *bus, const char *path, const char *who) {
        GuardAnswer *answer = g_new(GuardAnswer, 1);
        sd_bus_slot *slot = NULL;
        int r;

        *answer = (GuardAnswer){ g_strdup(path), who };
        r = sd_bus_call_method_async(bus, &slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus", "NameHasOwner", on_has_owner, answer,
                                     "s", AGENT_NAME);
        if (r < 0) {
                answer_free(answer);
                return r;
        }
        (void) sd_bus_slot_set_destroy_callback(slot, answer_free);
        (void) sd_bus_slot_set_floating(slot, true);
        sd_bus_slot_unref(slot);
        return 0;
}
