#include "cli/verbs/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* As shells have it. */
#define EXIT_CANNOT_RUN   126
#define EXIT_NOT_FOUND    127
#define EXIT_BY_SIGNAL(n) (128 + (n))

/* In the child. Does not return; `failed` gets the errno if the command cannot be executed. */
static _Noreturn void child_execute(const Context *context, char **command, pid_t parent,
                                    const sigset_t *mask, int failed) {
        int error;

        /* Without this process the command must not go on; and it may be gone already. */
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(EXIT_BY_SIGNAL(SIGTERM));
        (void) signal(SIGPIPE, context->sigpipe_ignored ? SIG_IGN : SIG_DFL);
        (void) sigprocmask(SIG_SETMASK, mask, NULL);
        (void) execvp(command[0], command);
        error = errno;
        (void) !write(failed, &error, sizeof(error));
        _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* Waits for the child. What the terminal sends reaches the child as well, what somebody sends to
 * this process alone is passed on. Returns the child's status as waitpid() has it. */
static int wait_for(pid_t child, const sigset_t *signals) {
        for (;;) {
                siginfo_t info;
                int number = sigwaitinfo(signals, &info), status;

                if (number == SIGCHLD) {
                        if (waitpid(child, &status, WNOHANG) == child)
                                return status;
                } else if (number > 0 && info.si_code <= 0)
                        (void) kill(child, number);
        }
}

const int child_signals[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, 0 };

int child_block_signals(sigset_t *signals, sigset_t *ret_before) {
        (void) sigemptyset(signals);
        (void) sigaddset(signals, SIGCHLD);
        for (const int *number = child_signals; *number != 0; number++)
                (void) sigaddset(signals, *number);
        return sigprocmask(SIG_BLOCK, signals, ret_before) < 0 ? -errno : 0;
}

pid_t child_start(const Context *context, char **command, const sigset_t *mask) {
        pid_t parent = getpid(), child;
        int failed[2], error;

        if (pipe2(failed, O_CLOEXEC) < 0)
                return -errno;
        child = fork();
        error = errno;
        if (child == 0)
                child_execute(context, command, parent, mask, failed[1]);

        (void) close(failed[1]);
        if (child > 0 && read(failed[0], &error, sizeof(error)) == (ssize_t) sizeof(error))
                print_error("Cannot run '%s': %s", command[0], g_strerror(error));
        (void) close(failed[0]);
        return child < 0 ? -error : child;
}

ExitCode child_exit_code(const siginfo_t *info) {
        return (ExitCode) (info->si_code == CLD_EXITED ? info->si_status
                                                       : EXIT_BY_SIGNAL(info->si_status));
}

ExitCode child_run(const Context *context, char **command) {
        sigset_t signals, before;
        int r = child_block_signals(&signals, &before), status;
        pid_t child = r < 0 ? r : child_start(context, command, &before);

        if (child < 0) {
                print_error("Cannot run '%s': %s", command[0], g_strerror(-child));
                return EXIT_CODE_FAILED;
        }
        status = wait_for(child, &signals);
        return (ExitCode) (WIFSIGNALED(status) ? EXIT_BY_SIGNAL(WTERMSIG(status))
                                               : WEXITSTATUS(status));
}
