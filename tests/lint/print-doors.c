/* Prints policy/doors.c as the rows of docs/doors.md. */
#include "policy/doors.h"

#include <stdio.h>

int main(void) {
        unsigned n;
        const Door *all = doors(&n);

        for (unsigned i = 0; i < n; i++)
                printf("%s\t%s\t%s\t%s\t%s\t%s\n", all[i].way, door_answer_to_string(all[i].answer),
                       all[i].how, all[i].test ? all[i].test : "",
                       all[i].guard_test ? door_answer_to_string(all[i].guarded) : "",
                       all[i].guard_test ? all[i].guard_test : "");
        return 0;
}
