#include "daemon/usage/holders.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* More than any pid_max: no such process can be watched. */
#define NO_PROCESS       0x40000000
#define UID              100000U
#define GROUP            7

#define RECORDS_OF_USERS 4096U
#define WATCHED_PER_UID  64U
#define WATCHED_OF_USERS 512U
#define CHILDREN         560U

static void on_ended(void *context, pid_t pid) {
}

static void on_unnamed(void *context, const Holder *holder) {
}

static bool no_node(void *context, dev_t node, PciKey *ret) {
        return false;
}

static const HoldersHandler handler = { on_ended, on_unnamed, no_node };

static void take(Holders *holders, pid_t pid, uint32_t uid) {
        g_autofree ScanProcess *process = g_new0(ScanProcess, 1);

        process->state = SCAN_STATE_HOLDS;
        process->pid = pid;
        process->uid = uid;
        process->start_time = 1;
        process->groups[process->n_groups++] = GROUP;
        cr_assert(holders_take(holders, process));
}

/* Of all that are listed, how many processes they stand for. */
static unsigned count_processes(const Holders *holders, guint *ret_listed) {
        g_autoptr(GPtrArray) all = holders_sorted(holders);
        unsigned n = 0;

        for (guint i = 0; i < all->len; i++)
                n += 1 + ((const Holder *) all->pdata[i])->n_others;
        *ret_listed = all->len;
        return n;
}

static unsigned count_descriptors(void) {
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        cr_assert_not_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* A user with subordinate uids (subuid(5)) has a process under each. */
Test(holders, records_of_many_uids_are_bounded) {
        sd_event *event = NULL;
        Holders *holders;
        guint listed;

        cr_assert_eq(sd_event_new(&event), 0);
        holders = holders_new(event, &handler, NULL);
        holders_start_walk(holders);
        for (uint32_t i = 0; i < 3 * RECORDS_OF_USERS; i++)
                take(holders, NO_PROCESS + (pid_t) i, UID + i);
        take(holders, NO_PROCESS - 1, 0);
        holders_end_walk(holders);
        cr_expect_eq(count_processes(holders, &listed), 3 * RECORDS_OF_USERS + 1, "none is lost");
        cr_expect_eq(listed, RECORDS_OF_USERS + 2, "the others are one, and root has its own");
        cr_expect(holders_have_crowd(holders));
        /* When they have ended there is room again. */
        holders_start_walk(holders);
        take(holders, NO_PROCESS, UID + 1);
        holders_end_walk(holders);
        cr_expect_eq(count_processes(holders, &listed), 1);
        cr_expect(!holders_have_crowd(holders));
        cr_assert_null(holders_free(holders));
        sd_event_unref(event);
}

static pid_t start_child(void) {
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        pause();
        }
        return pid;
}

/* Another process may have it, which the walk has passed by. */
Test(holders, what_a_process_had_that_the_walk_did_not_reach) {
        g_autofree ScanProcess *nothing = g_new0(ScanProcess, 1);
        sd_event *event = NULL;
        Holders *holders;

        cr_assert_eq(sd_event_new(&event), 0);
        holders = holders_new(event, &handler, NULL);
        nothing->pid = NO_PROCESS;
        nothing->state = SCAN_STATE_NOTHING;
        for (unsigned closed = 0; closed < 2; closed++) {
                take(holders, NO_PROCESS, UID);
                holders_start_walk(holders);
                cr_expect_not(holders_left_in_walk(holders, 0, GROUP));
                if (closed)
                        cr_expect(holders_take(holders, nothing));
                holders_end_walk(holders);
                cr_expect_null(holders_find(holders, NO_PROCESS));
                cr_expect(holders_left_in_walk(holders, 0, GROUP), "closed %u", closed);
        }
        holders_start_walk(holders);
        holders_end_walk(holders);
        cr_expect_not(holders_left_in_walk(holders, 0, GROUP));
        cr_assert_null(holders_free(holders));
        sd_event_unref(event);
}

Test(holders, descriptors_of_many_uids_are_bounded) {
        pid_t children[CHILDREN];
        sd_event *event = NULL;
        Holders *holders;
        unsigned before;

        for (unsigned i = 0; i < CHILDREN; i++)
                children[i] = start_child();
        cr_assert_eq(sd_event_new(&event), 0);
        holders = holders_new(event, &handler, NULL);
        before = count_descriptors();
        for (unsigned i = 0; i < CHILDREN - 1; i++)
                take(holders, children[i], UID + i / (WATCHED_PER_UID / 2));
        cr_expect_eq(count_descriptors(), before + WATCHED_OF_USERS);
        take(holders, children[CHILDREN - 1], 0);
        cr_expect_eq(count_descriptors(), before + WATCHED_OF_USERS + 1, "root has its share");
        for (unsigned i = 0; i < CHILDREN; i++) {
                kill(children[i], SIGKILL);
                waitpid(children[i], NULL, 0);
        }
        holders_drop_ended(holders);
        cr_expect_eq(count_descriptors(), before);
        cr_assert_null(holders_free(holders));
        sd_event_unref(event);
}
