#include "daemon/base/reserve.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Takes every descriptor that is left. */
static void use_up(void) {
        struct rlimit limit = { 64, 64 };

        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        while (dup(STDIN_FILENO) >= 0)
                ;
        cr_assert_eq(errno, EMFILE);
}

static unsigned count_opens(int fds[static 2 * RESERVE_SIZE]) {
        unsigned n = 0;

        while (n < 2 * RESERVE_SIZE && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
                n++;
        return n;
}

Test(reserve, serves_when_all_others_are_used_up) {
        int fds[2 * RESERVE_SIZE];
        Reserve *reserve = reserve_new();

        cr_assert_eq(reserve_probe(reserve), 0);
        use_up();
        cr_assert_eq(reserve_probe(reserve), -EMFILE);
        cr_assert(reserve_helps(-EMFILE) && reserve_helps(-ENFILE));
        cr_assert_not(reserve_helps(-EACCES) || reserve_helps(0) || reserve_helps(EMFILE));

        for (unsigned round = 0; round < 3; round++) {
                cr_assert_eq(count_opens(fds), 0);
                reserve_open(reserve);
                cr_assert_eq(count_opens(fds), RESERVE_SIZE);
                for (unsigned i = 0; i < RESERVE_SIZE; i++)
                        close(fds[i]);
                reserve_close(reserve);
        }
        cr_assert_null(reserve_free(reserve));
        cr_assert_null(reserve_free(NULL));
}

Test(reserve, is_filled_again) {
        int fds[2 * RESERVE_SIZE];
        Reserve *reserve = reserve_new();

        use_up();
        reserve_open(reserve);
        cr_assert_eq(count_opens(fds), RESERVE_SIZE); /* and keeps them */
        reserve_close(reserve);
        cr_assert_not(reserve_fill(reserve));
        for (unsigned i = 0; i < RESERVE_SIZE; i++)
                close(fds[i]);
        cr_assert(reserve_fill(reserve));
        cr_assert_eq(reserve_probe(reserve), -EMFILE);
        cr_assert_null(reserve_free(reserve));
}
