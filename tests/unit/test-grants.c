#include "dbus/grants.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const Grant one = { .uid = 1000, .pid = 77 };

Test(grants, a_question_is_answered_for_a_second) {
        Grants *grants = grants_new();
        Grant found = { 0 };

        cr_assert(!grants_find(grants, ":1.5 load", 5, &found));
        grants_add(grants, ":1.5 load", &one, 5);
        cr_assert(grants_find(grants, ":1.5 load", 4 + GRANTS_USEC, &found));
        cr_assert_eq(found.uid, 1000);
        cr_assert_eq(found.pid, 77);
        cr_assert(!grants_find(grants, ":1.5 load", 5 + GRANTS_USEC, &found));
        cr_assert(!grants_find(grants, ":1.6 load", 6, &found));
        grants_free(grants);
}

Test(grants, asking_prolongs_nothing) {
        Grants *grants = grants_new();
        Grant found;

        grants_add(grants, "q", &one, 0);
        for (uint64_t now = 0; now < GRANTS_USEC; now += GRANTS_USEC / 10)
                cr_assert(grants_find(grants, "q", now, &found));
        cr_assert(!grants_find(grants, "q", GRANTS_USEC, &found));
        grants_add(grants, "q", &one, GRANTS_USEC);
        cr_assert(grants_find(grants, "q", GRANTS_USEC + 1, &found));
        grants_free(grants);
}

Test(grants, their_number_is_bounded) {
        Grants *grants = grants_new();
        char question[32];
        Grant found;

        for (unsigned i = 0; i <= GRANTS_MAX; i++) {
                snprintf(question, sizeof(question), "%u", i);
                grants_add(grants, question, &one, 0);
        }
        cr_assert(grants_find(grants, "0", 1, &found));
        cr_assert(!grants_find(grants, question, 1, &found));
        /* Those that are over make room. */
        grants_add(grants, question, &one, GRANTS_USEC);
        cr_assert(grants_find(grants, question, GRANTS_USEC, &found));
        cr_assert(!grants_find(grants, "0", GRANTS_USEC, &found));
        grants_free(grants);
}
