#include "daemon/process.h"

#include <criterion/criterion.h>
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

Test(process, one_that_runs_and_one_that_ended) {
        Process *process = NULL;
        int procfd = process_open_directory(getpid());

        cr_assert_geq(procfd, 0);
        cr_assert_eq(process_new(getpid(), procfd, &process), 0);
        cr_assert_eq(process->uid, geteuid());
        cr_assert_neq(process->command[0], '\0');
        cr_assert_not(process_refresh(process));
        process_free(process);

        pid_t child = fork();
        if (child == 0)
                pause();
        procfd = process_open_directory(child);
        cr_assert_geq(procfd, 0);
        (void) kill(child, SIGKILL);
        (void) waitpid(child, NULL, 0);
        process = NULL;
        cr_assert_lt(process_new(child, procfd, &process), 0);
        cr_assert_null(process);
}
