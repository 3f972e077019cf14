#include "cli/agent.h"

#include "cli/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Time for it to find polkit on the bus. */
#define REGISTERED_TIMEOUT_MSEC (10 * 1000)

/* A person who can be asked, at a terminal of this host, where polkit is: root is never asked, and
 * a terminal of another host is not seen by its polkit. */
static bool agent_is_wanted(const Context *context) {
        return context->ask_password && context->agent == 0 && !context_is_elsewhere(context) &&
               geteuid() != 0 && isatty(STDIN_FILENO) &&
               (isatty(STDOUT_FILENO) || isatty(STDERR_FILENO));
}

/* In the child. `notify` is closed by the agent when it has registered. */
static _Noreturn void agent_execute(pid_t parent, int notify) {
        g_autofree char *number = NULL;
        char *arguments[] = { (char *) "pkttyagent", (char *) "--notify-fd", NULL,
                              (char *) "--fallback", NULL };
        sigset_t none;

        /* It must not outlive who started it: it would read what is typed for the shell. */
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(1);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) signal(SIGPIPE, SIG_DFL);
        /* Its questions must not go to where the results go. */
        if (!isatty(STDOUT_FILENO))
                (void) dup2(STDERR_FILENO, STDOUT_FILENO);
        number = g_strdup_printf("%d", notify);
        arguments[2] = number;
        if (fcntl(notify, F_SETFD, 0) >= 0)
                (void) execvp(arguments[0], arguments);
        _exit(1);
}

static void wait_registered(int notified) {
        struct pollfd event = { .fd = notified };
        int r;

        /* The other end is closed when it is ready, or has ended. */
        do
                r = poll(&event, 1, REGISTERED_TIMEOUT_MSEC);
        while (r < 0 && errno == EINTR);
}

void agent_begin(Context *context) {
        pid_t parent = getpid(), child;
        int notify[2];

        if (!agent_is_wanted(context) || pipe2(notify, O_CLOEXEC) < 0)
                return;
        child = fork();
        if (child == 0)
                agent_execute(parent, notify[1]);
        (void) close(notify[1]);
        if (child > 0) {
                wait_registered(notify[0]);
                context->agent = child;
        }
        (void) close(notify[0]);
}

void agent_end(pid_t *agent) {
        if (*agent <= 0)
                return;
        /* It may be stopped: by the terminal, when it was in the background. */
        (void) kill(*agent, SIGTERM);
        (void) kill(*agent, SIGCONT);
        while (waitpid(*agent, NULL, 0) < 0 && errno == EINTR)
                ;
        *agent = 0;
}
