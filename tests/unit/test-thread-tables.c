#include "daemon/base/thread-tables.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 5

static sem_t begun;
static pid_t own; /* the thread that left the table of the others */

static void *stay(void *leaves) {
        if (leaves && unshare(CLONE_FILES) == 0)
                own = (pid_t) syscall(SYS_gettid);
        sem_post(&begun);
        (void) pause();
        return NULL;
}

static void begin_threads(void) {
        pthread_t thread;

        sem_init(&begun, 0, 0);
        for (int i = 0; i < THREADS; i++) {
                (void) pthread_create(&thread, NULL, stay, i == 2 ? &begun : NULL);
                sem_wait(&begun);
        }
}

static unsigned n_compared;

static void on_test_compared(void *context, pid_t pid, pid_t thread) {
        n_compared++;
}

/* The threads that were found, and the last of them. */
static unsigned find(ThreadTablesCompared *compared, pid_t first, pid_t *ret_last) {
        g_autoptr(ThreadTables) tables = NULL;
        unsigned n = 0;
        pid_t thread;
        int r;

        cr_assert_eq(thread_tables_open("/proc", getpid(), first, compared, NULL, &tables), 0);
        cr_assert_not_null(tables);
        do {
                r = thread_tables_next(tables, 1, &thread);
                cr_assert_geq(r, 0);
                if (thread == 0)
                        continue;
                n++;
                *ret_last = thread;
        } while (r > 0);
        return n;
}

Test(thread_tables, one_thread_has_its_own) {
        pid_t last = 0;

        begin_threads();
        cr_assert_neq(own, 0);
        cr_expect_eq(find(on_test_compared, getpid(), &last), 1);
        cr_expect_eq(last, own);
        cr_expect_geq(n_compared, THREADS);
}

/* What is known is the table of that thread; that of all others is found once. */
Test(thread_tables, known_is_another) {
        pid_t last = 0;

        begin_threads();
        cr_expect_eq(find(on_test_compared, own, &last), 1);
        cr_expect_neq(last, own);
}

Test(thread_tables, without_comparing) {
        pid_t last = 0;

        begin_threads();
        cr_expect_geq(find(NULL, getpid(), &last), THREADS);
}

/* More begin for each that is listed: the search ends, and says that it is not whole. */
Test(thread_tables, begin_as_fast_as_listed) {
        g_autoptr(ThreadTables) tables = NULL;
        pid_t thread;
        int r = 1;

        begin_threads();
        cr_assert_eq(thread_tables_open("/proc", getpid(), getpid(), NULL, NULL, &tables), 0);
        for (unsigned n = 0; r > 0 && n < 1000; n++) {
                pthread_t another;

                cr_assert_eq(pthread_create(&another, NULL, stay, NULL), 0);
                sem_wait(&begun);
                r = thread_tables_next(tables, 1, &thread);
        }
        cr_expect_eq(r, -EOVERFLOW);
}

/* The known thread has ended: the table that it had is read once more. */
Test(thread_tables, known_has_ended) {
        pid_t last = 0, gone = fork();

        if (gone == 0)
                _exit(0);
        (void) waitpid(gone, NULL, 0);
        begin_threads();
        cr_expect_eq(find(on_test_compared, gone, &last), 2);
}

Test(thread_tables, none) {
        g_autoptr(ThreadTables) tables = NULL;
        pid_t child = fork();

        if (child == 0)
                (void) pause();
        cr_expect_eq(thread_tables_open("/proc", child, child, NULL, NULL, &tables), 0);
        cr_expect_null(tables, "there is one thread");
        (void) kill(child, SIGKILL);
        (void) waitpid(child, NULL, 0);
        cr_expect_eq(thread_tables_open("/proc", child, child, NULL, NULL, &tables), 0);
        cr_expect_null(tables, "there is no such process");
}
