#include "daemon/usage/vfio-closings.h"

#include <criterion/criterion.h>

typedef struct ClosingsCase {
        const char *what;
        uint64_t round, ticket; /* at the close */
        uint64_t found;         /* the round after a process was found, 0: none was */
        uint64_t kept;          /* until that round has ended, 0: was not */
        uint64_t ended, oldest;
        bool known;
} ClosingsCase;

static const ClosingsCase closings_cases[] = {
        { "its round has not ended", 5, 10, 0, 0, 4, 20, true },
        { "its round has ended, and no look is pending", 5, 10, 0, 0, 5, 10, false },
        { "a later one has ended", 5, 10, 0, 0, 9, 30, false },
        { "a look of before the close is pending", 5, 10, 0, 0, 5, 9, true },
        { "a look of after it is pending", 5, 10, 0, 0, 5, 11, false },
        { "a look of before it found a process", 5, 10, 6, 0, 5, 10, true },
        { "a device of its group is open still", 5, 10, 0, 7, 5, 10, true },
        { "and was so until that round had ended", 5, 10, 0, 7, 7, 10, false },
        { "and the round after that has ended", 5, 10, 6, 0, 6, 10, false },
};

Test(vfio_closings, are_known_until_all_looks_have_seen_them) {
        for (size_t i = 0; i < G_N_ELEMENTS(closings_cases); i++) {
                const ClosingsCase *c = &closings_cases[i];
                VfioClosings *closings = vfio_closings_new();

                cr_expect_not(vfio_closings_has(closings, "7"));
                vfio_closings_closed(closings, "7", c->round, c->ticket);
                if (c->found != 0)
                        cr_expect(vfio_closings_found(closings, c->found), "%s", c->what);
                if (c->kept != 0)
                        vfio_closings_keep(closings, "7", c->kept);
                vfio_closings_looked(closings, c->ended, c->oldest);
                cr_expect_eq(vfio_closings_has(closings, "7"), c->known, "%s", c->what);
                vfio_closings_free(closings);
        }
}

Test(vfio_closings, nothing_is_known_after_lost_events) {
        VfioClosings *closings = vfio_closings_new();

        vfio_closings_closed(closings, "7", 5, 10);
        vfio_closings_missed(closings);
        cr_expect_not(vfio_closings_has(closings, "7"));
        vfio_closings_keep(closings, "7", 6);
        cr_expect_not(vfio_closings_has(closings, "7"));
        vfio_closings_free(closings);
}

Test(vfio_closings, an_opening_ends_it) {
        VfioClosings *closings = vfio_closings_new();

        vfio_closings_closed(closings, "7", 1, 1);
        vfio_closings_closed(closings, "8", 1, 1);
        vfio_closings_opened(closings, "7");
        cr_expect_not(vfio_closings_has(closings, "7"));
        cr_expect(vfio_closings_has(closings, "8"));
        vfio_closings_opened(closings, "8");
        cr_expect_not(vfio_closings_found(closings, 2));
        vfio_closings_free(closings);
}
