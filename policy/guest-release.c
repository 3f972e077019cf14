#include "policy/guest-release.h"

#include "policy/names.h"

static const char *const wish_names[_GUEST_WISH_MAX] = {
        [GUEST_WISH_DETACH] = "detach",
        [GUEST_WISH_SHUT_DOWN] = "shut-down",
        [GUEST_WISH_REFUSE] = "refuse",
};

static bool wish_is_unknown(const GuestFacts *facts) {
        return facts->wish < 0;
}

static bool wish_is_refuse(const GuestFacts *facts) {
        return facts->wish == GUEST_WISH_REFUSE;
}

static bool is_paused(const GuestFacts *facts) {
        return !facts->is_running;
}

static bool is_shut_down(const GuestFacts *facts) {
        return facts->wish == GUEST_WISH_SHUT_DOWN;
}

static bool has_no_alias(const GuestFacts *facts) {
        return !facts->has_alias;
}

static bool has_no_hotplug(const GuestFacts *facts) {
        return !facts->has_hotplug;
}

/* QEMU: "Bus 'pcie.0' does not support hotplugging" (qdev_unplug()). */
static bool is_on_root_bus(const GuestFacts *facts) {
        return facts->is_root_bus;
}

static bool is_in_fixed_slot(const GuestFacts *facts) {
        return facts->slot_is_fixed;
}

GuestRelease guest_release_choose(const GuestFacts *facts, const char **ret_why) {
        /* The first row that holds decides. */
        static const struct {
                bool (*holds)(const GuestFacts *facts);
                GuestRelease release;
                const char *why;
        } rows[] = {
                { wish_is_unknown, GUEST_RELEASE_REFUSE,
                  "its metadata has an unknown action for an unplug" },
                { wish_is_refuse, GUEST_RELEASE_REFUSE, "its metadata says to refuse an unplug" },
                { is_paused, GUEST_RELEASE_REFUSE, "it is paused, and its guest cannot answer" },
                { is_shut_down, GUEST_RELEASE_SHUT_DOWN, NULL },
                { has_no_alias, GUEST_RELEASE_REFUSE, "its device has no alias" },
                { has_no_hotplug, GUEST_RELEASE_REFUSE, "its machine has no PCI hot-plug" },
                { is_on_root_bus, GUEST_RELEASE_REFUSE,
                  "its device is on the root bus, which has no hot-plug" },
                { is_in_fixed_slot, GUEST_RELEASE_REFUSE,
                  "its device is in a slot without hot-plug" },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
                if (rows[i].holds(facts)) {
                        *ret_why = rows[i].why;
                        return rows[i].release;
                }
        *ret_why = NULL;
        return GUEST_RELEASE_DETACH;
}

const char *guest_wish_to_string(GuestWish wish) {
        return wish_names[wish];
}

GuestWish guest_wish_from_string(const char *word) {
        return name_table_find(wish_names, _GUEST_WISH_MAX, word);
}
