#include "daemon/base/process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT(literal) literal, sizeof(literal) - 1

Test(process, command) {
        static const char longest[] = "0123456789012345678901234567890123456789"
                                      "0123456789012345678901234567890123456789";
        static const struct {
                const char *cmdline;
                size_t size;
                const char *expected;
        } cases[] = {
                { TEXT("qemu\0-name\0web\0"), "qemu -name web" },
                { TEXT("qemu\0\0\0"), "qemu" },
                { TEXT("qemu"), "qemu" },
                { TEXT(""), "" },
                { TEXT("\0\0"), "" },
                { TEXT("a\0\0b\0"), "a  b" },
                { TEXT("a\nb\x1b[31m\0"), "a b [31m" },
                { TEXT("a\xc2\x85\x62\0"), "a  b" },
                { TEXT("w\xc3\xb6rk\0"), "w\xc3\xb6rk" },
                { TEXT("w\xff\0"), "w\xef\xbf\xbd" },
                { TEXT("w\xef\xbf\xberk\0"), "w   rk" },
                { TEXT("w\xe2\x80\xaerk\0"), "w   rk" },
                { longest, sizeof(longest) - 1, longest },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *command = process_format_command(cases[i].cmdline, cases[i].size);

                cr_assert_str_eq(command, cases[i].expected, "%zu: '%s'", i, command);
        }
}

Test(process, command_is_bounded) {
        for (size_t length = 0; length < 3 * PROCESS_COMMAND_MAX; length++) {
                g_autoptr(GString) text = g_string_new(NULL);
                g_autofree char *command = NULL;

                while (text->len < length)
                        g_string_append(text, length % 2 ? "\xc3\xb6" : "\xff");
                command = process_format_command(text->str, text->len);
                cr_assert_leq(strlen(command), PROCESS_COMMAND_MAX);
                cr_assert(g_utf8_validate(command, -1, NULL));
        }
}

static void *stay(void *unused) {
        (void) pause();
        return unused;
}

static int find_thread(pid_t pid, pid_t *ret) {
        ProcessStatus status;
        int r = process_read_status(pid, &status);

        return r < 0 ? r : process_find_thread("/proc", pid, &status, ret);
}

/* /proc/PID has no descriptors of a process whose first thread has ended. */
Test(process, first_thread_has_ended) {
        pid_t thread = 0, child = fork();
        pthread_t other;
        int r = 0;

        if (child == 0) {
                (void) pthread_create(&other, NULL, stay, NULL);
                pthread_exit(NULL);
        }
        while (r == 0 && (thread == 0 || thread == child))
                r = find_thread(child, &thread);
        cr_expect_eq(r, 0);
        (void) kill(child, SIGKILL);
        (void) waitid(P_PID, (id_t) child, NULL, WEXITED | WNOWAIT);
        cr_expect_eq(find_thread(child, &thread), -ESRCH, "it has ended");
        (void) waitpid(child, NULL, 0);
        cr_expect_eq(find_thread(child, &thread), -ESRCH, "it has gone");
        cr_expect_eq(find_thread(getpid(), &thread), 0);
        cr_expect_eq(thread, getpid());
}

Test(process, one_that_runs_and_one_that_ended) {
        g_auto(ProcessFacts) facts = { 0 };
        uint64_t start_time;

        cr_assert_eq(process_read_facts(getpid(), true, &facts), 0);
        cr_assert_eq(facts.uid, geteuid());
        cr_assert_eq(facts.parent, getppid());
        cr_assert_neq(facts.comm[0], '\0');
        cr_assert_eq(process_read_start_time(getpid(), &start_time), 0);
        cr_assert_eq(facts.start_time, start_time);

        pid_t child = fork();
        if (child == 0)
                pause();
        process_facts_clear(&facts);
        cr_assert_eq(process_read_facts(child, true, &facts), 0);
        process_facts_clear(&facts);
        (void) kill(child, SIGKILL);
        (void) waitpid(child, NULL, 0);
        cr_assert_eq(process_read_facts(child, true, &facts), -ESRCH);
        cr_assert_eq(process_read_start_time(child, &start_time), -ESRCH);
}
