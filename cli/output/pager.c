#include "cli/output/pager.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-login.h>
#include <unistd.h>

/* What systemd's tools give less: F quit if it is one screen, R colours, S no wrapping, X leave the
 * text on the screen, M and K more of a prompt, and end at an interrupt. */
#define LESS_OPTIONS "FRSXMK"

static const char *pager_from_environment(void) {
        const char *pager = g_getenv("SYSTEMD_PAGER");

        return pager ? pager : g_getenv("PAGER");
}

bool pager_wanted(const Output *output) {
        const char *pager = pager_from_environment(), *term = g_getenv("TERM");

        if (pager && (!*pager || g_str_equal(pager, "cat")))
                return false;
        return isatty(output->fd) && term && *term && !g_str_equal(term, "dumb");
}

/* Whether somebody else sits at the terminal than who the command runs as. */
static bool is_elevated(void) {
        uid_t owner;

        if (getuid() != geteuid() || g_getenv("SUDO_UID") || g_getenv("PKEXEC_UID"))
                return true;
        return sd_pid_get_owner_uid(0, &owner) >= 0 && owner != geteuid();
}

static bool is_true(const char *text) {
        static const char *const words[] = { "1", "yes", "y", "true", "t", "on", NULL };

        return g_strv_contains(words, text);
}

/* Executes what the person wants. Returns if that cannot be. */
static void execute_wanted(const char *pager) {
        g_auto(GStrv) all = g_strsplit_set(pager, " \t\n", -1);
        g_autoptr(GPtrArray) words = g_ptr_array_new();

        for (char **word = all; *word; word++)
                if (**word)
                        g_ptr_array_add(words, *word);
        if (words->len == 0)
                return;
        g_ptr_array_add(words, NULL);
        (void) execvp(words->pdata[0], (char **) words->pdata);
}

static void copy_through(void) {
        char buffer[4096];
        ssize_t n;

        while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
                for (ssize_t done = 0, m; done < n; done += m) {
                        m = write(STDOUT_FILENO, buffer + done, (size_t) (n - done));
                        if (m <= 0)
                                return;
                }
}

/* In the child, whose standard input is what is to be shown. */
static _Noreturn void pager_execute(void) {
        static const char *const usual[] = { "pager", "less", "more" };
        const char *wanted = pager_from_environment(), *said = g_getenv("SYSTEMD_PAGERSECURE"),
                   *less = g_getenv("SYSTEMD_LESS");
        bool secure = said ? is_true(said) : is_elevated();

        (void) g_setenv("LESS", less ? less : LESS_OPTIONS, true);
        if (secure)
                (void) g_setenv("LESSSECURE", "1", true);
        if (wanted && (said || !secure))
                execute_wanted(wanted);
        for (size_t i = 0; i < G_N_ELEMENTS(usual); i++)
                if (!secure || g_str_equal(usual[i], "less"))
                        (void) execlp(usual[i], usual[i], (char *) NULL);
        copy_through();
        _exit(0);
}

static _Noreturn void pager_child(pid_t parent, const int ends[2]) {
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(1);
        (void) signal(SIGPIPE, SIG_DFL);
        (void) signal(SIGINT, SIG_DFL);
        if (dup2(ends[0], STDIN_FILENO) < 0)
                _exit(1);
        (void) close(ends[0]);
        (void) close(ends[1]);
        pager_execute();
}

int pager_flush(Output *output) {
        pid_t parent = getpid(), child;
        int fd = output->fd, ends[2], r;
        void (*interrupt)(int);

        if (output->buffer->len == 0 || pipe2(ends, O_CLOEXEC) < 0)
                return output_flush(output);
        /* An interrupt is the pager's, which ends. */
        interrupt = signal(SIGINT, SIG_IGN);
        child = fork();
        if (child == 0)
                pager_child(parent, ends);
        (void) close(ends[0]);
        if (child > 0)
                output->fd = ends[1];
        r = output_flush(output);
        output->fd = fd;
        (void) close(ends[1]);
        while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
        (void) signal(SIGINT, interrupt);
        return r;
}
