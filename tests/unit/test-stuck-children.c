#include "daemon/base/stuck-children.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER  1000
#define OTHER 1001

static pid_t begin_child(void) {
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        (void) pause();
        }
        return pid;
}

static void end_child(pid_t pid) {
        siginfo_t info;

        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT), 0);
}

Test(stuck_children, few_of_one_user_are_risked) {
        g_autoptr(StuckChildren) children = stuck_children_new();
        pid_t pids[] = { begin_child(), begin_child() };

        for (unsigned i = 0; i < G_N_ELEMENTS(pids); i++) {
                cr_expect_not(stuck_children_refuse(children, USER));
                stuck_children_add(children, pids[i], USER);
        }
        cr_expect(stuck_children_refuse(children, USER));
        cr_expect_not(stuck_children_refuse(children, OTHER));
        cr_expect_not(stuck_children_refuse(children, 0));
        stuck_children_reap(children);
        cr_expect(stuck_children_refuse(children, USER), "none has ended");
        end_child(pids[1]);
        stuck_children_reap(children);
        cr_expect_not(stuck_children_refuse(children, USER));
        cr_expect_lt(kill(pids[1], 0), 0, "it is no process any more");
}

Test(stuck_children, few_of_all_users_are_risked_and_roots_besides) {
        g_autoptr(StuckChildren) children = stuck_children_new();
        unsigned n = 0;

        for (uint32_t uid = USER; uid < USER + 20; uid++)
                if (!stuck_children_refuse(children, uid)) {
                        stuck_children_add(children, begin_child(), uid);
                        n++;
                }
        cr_expect_eq(n, 8);
        cr_expect_not(stuck_children_refuse(children, 0));
}
