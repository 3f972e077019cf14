#include "policy/doors.h"

#include <criterion/criterion.h>
#include <string.h>

/* A new file of a lock needs a row, and a new promise a test. */
Test(doors, each_file_of_a_lock_has_a_row) {
        unsigned n, files = 0;
        const Door *all = doors(&n);

        for (unsigned i = 0; i < n; i++) {
                if (all[i].file < 0)
                        continue;
                files |= 1U << all[i].file;
                cr_assert_eq(all[i].answer, DOOR_REFUSED, "%s", all[i].way);
                cr_assert(strstr(all[i].way, lock_file_to_string(all[i].file)), "%s", all[i].way);
        }
        cr_assert_eq(files, (1U << _LOCK_FILE_MAX) - 1);
}

/* tests/lint/doors looks whether there is such a scenario. */
static bool is_on_a_kernel(const char *test) {
        return strncmp(test, "vm/", 3) == 0;
}

Test(doors, each_promise_has_a_test) {
        unsigned n;
        const Door *all = doors(&n);

        for (unsigned i = 0; i < n; i++) {
                bool promises = all[i].answer == DOOR_REFUSED || all[i].answer == DOOR_ASKED ||
                                all[i].answer == DOOR_SEEN;

                cr_assert(!promises || all[i].test, "%s", all[i].way);
                /* What is refused or asked was seen to be so on a real kernel. */
                cr_assert((all[i].answer != DOOR_REFUSED && all[i].answer != DOOR_ASKED) ||
                                  is_on_a_kernel(all[i].test),
                          "%s", all[i].way);
                cr_assert(!all[i].guard_test || is_on_a_kernel(all[i].guard_test), "%s",
                          all[i].way);
                /* The kernel guard refuses each unbind of a function in use. */
                cr_assert(strncmp(all[i].how, "As for `unbind`", 15) != 0 ||
                                  (all[i].guard_test && all[i].guarded == DOOR_REFUSED),
                          "%s", all[i].way);
                cr_assert_null(strstr(all[i].how, "silent"), "%s", all[i].way);
                cr_assert(!all[i].guard_test || all[i].guarded != all[i].answer, "%s", all[i].way);
                cr_assert_not_null(door_answer_to_string(all[i].answer));
                for (unsigned j = 0; j < i; j++)
                        cr_assert_str_neq(all[i].way, all[j].way);
        }
}
