#include "policy/guest-release.h"

#include <criterion/criterion.h>
#include <string.h>

Test(guest_release, table) {
        static const struct {
                GuestFacts facts;
                GuestRelease release;
                const char *why; /* a part of it */
        } rows[] = {
                { { GUEST_WISH_DETACH, true, false, true, false, true },
                  GUEST_RELEASE_DETACH,
                  NULL },
                { { GUEST_WISH_DETACH, false, false, true, false, true },
                  GUEST_RELEASE_REFUSE,
                  "alias" },
                { { GUEST_WISH_DETACH, true, true, true, false, true },
                  GUEST_RELEASE_REFUSE,
                  "root bus" },
                { { GUEST_WISH_DETACH, true, false, false, false, true },
                  GUEST_RELEASE_REFUSE,
                  "no PCI hot-plug" },
                { { GUEST_WISH_DETACH, true, false, true, true, true },
                  GUEST_RELEASE_REFUSE,
                  "slot without" },
                { { GUEST_WISH_DETACH, true, false, true, false, false },
                  GUEST_RELEASE_REFUSE,
                  "paused" },
                /* A guest that shuts down needs no hot-plug, but has to run. */
                { { GUEST_WISH_SHUT_DOWN, false, true, false, true, true },
                  GUEST_RELEASE_SHUT_DOWN,
                  NULL },
                { { GUEST_WISH_SHUT_DOWN, true, false, true, false, false },
                  GUEST_RELEASE_REFUSE,
                  "paused" },
                { { GUEST_WISH_REFUSE, true, false, true, false, true },
                  GUEST_RELEASE_REFUSE,
                  "says to refuse" },
                { { _GUEST_WISH_INVALID, true, false, true, false, true },
                  GUEST_RELEASE_REFUSE,
                  "unknown action" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                const char *why = "";

                cr_assert_eq(guest_release_choose(&rows[i].facts, &why), rows[i].release, "row %zu",
                             i);
                if (rows[i].why)
                        cr_assert(strstr(why, rows[i].why), "row %zu: %s", i, why);
                else
                        cr_assert_null(why, "row %zu", i);
        }
}

Test(guest_release, words) {
        for (GuestWish wish = 0; wish < _GUEST_WISH_MAX; wish++)
                cr_assert_eq(guest_wish_from_string(guest_wish_to_string(wish)), wish);
        cr_assert_lt(guest_wish_from_string("shutdown"), 0);
}
