#include "lib/standard-streams.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static bool leads_nowhere(int fd) {
        char link[32], target[PATH_MAX];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, target, sizeof(target) - 1);
        return n == (ssize_t) strlen("/dev/null") && memcmp(target, "/dev/null", (size_t) n) == 0;
}

/* In a process of its own: each combination of closed descriptors, as bits. */
static int check(unsigned closed) {
        int pipe_fds[2];

        if (pipe(pipe_fds) < 0)
                return 1;
        for (int fd = 0; fd < 3; fd++)
                if (dup2(pipe_fds[1], fd) < 0)
                        return 2;
        for (int fd = 0; fd < 3; fd++)
                if (closed & (1U << fd))
                        close(fd);
        if (standard_streams_open() < 0)
                return 3;
        for (int fd = 0; fd < 3; fd++)
                if (leads_nowhere(fd) != ((closed & (1U << fd)) != 0))
                        return 4;
        /* What is lost is no success. */
        if ((closed & 2) && (write(STDOUT_FILENO, "", 1) >= 0 || errno != EBADF))
                return 5;
        return dup(pipe_fds[0]) > STDERR_FILENO ? 0 : 6;
}

Test(standard_streams, each_combination_of_closed_ones) {
        for (unsigned closed = 0; closed < 8; closed++) {
                int status;
                pid_t pid = fork();

                cr_assert_geq(pid, 0);
                if (pid == 0)
                        _exit(check(closed));
                cr_assert_eq(waitpid(pid, &status, 0), pid);
                cr_assert_eq(status, 0, "closed %u: step %d", closed, WEXITSTATUS(status));
        }
}
