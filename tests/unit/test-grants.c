#include "dbus/grants.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(grants, a_question_is_answered_for_a_second) {
        Grants *grants = grants_new();

        cr_assert(!grants_find(grants, ":1.5 load", 5));
        grants_add(grants, ":1.5 load", 5);
        cr_assert(grants_find(grants, ":1.5 load", 4 + GRANTS_USEC));
        cr_assert(!grants_find(grants, ":1.5 load", 5 + GRANTS_USEC));
        cr_assert(!grants_find(grants, ":1.6 load", 6));
        grants_free(grants);
}

Test(grants, asking_prolongs_nothing) {
        Grants *grants = grants_new();

        grants_add(grants, "q", 0);
        for (uint64_t now = 0; now < GRANTS_USEC; now += GRANTS_USEC / 10)
                cr_assert(grants_find(grants, "q", now));
        cr_assert(!grants_find(grants, "q", GRANTS_USEC));
        grants_add(grants, "q", GRANTS_USEC);
        cr_assert(grants_find(grants, "q", GRANTS_USEC + 1));
        grants_free(grants);
}

Test(grants, their_number_is_bounded) {
        Grants *grants = grants_new();
        char question[32];

        for (unsigned i = 0; i <= GRANTS_MAX; i++) {
                snprintf(question, sizeof(question), "%u", i);
                grants_add(grants, question, 0);
        }
        cr_assert(grants_find(grants, "0", 1));
        cr_assert(!grants_find(grants, question, 1));
        /* Those that are over make room. */
        grants_add(grants, question, GRANTS_USEC);
        cr_assert(grants_find(grants, question, GRANTS_USEC));
        cr_assert(!grants_find(grants, "0", GRANTS_USEC));
        grants_free(grants);
}
