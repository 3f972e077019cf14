#include "cli/libvirt/guard.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/libvirt/claim.h"
#include "cli/libvirt/guard-holding.h"
#include "cli/libvirt/guard-report.h"
#include "cli/libvirt/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* For systemd, which is never away for long. */
#define SYSTEMD_TIMEOUT_USEC (20 * G_USEC_PER_SEC)

static char *unit_name(const Domain *domain) {
        return g_strdup_printf("vfwarden-domain-%s.scope", domain->uuid);
}

/* --- the process that becomes the guard */

/* libvirt reads the hook's standard error until nobody has it open any more. */
static void leave_behind(void) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
                (void) dup2(null, fd);
        (void) prctl(PR_SET_NAME, "vfwarden-guard");
        (void) signal(SIGPIPE, SIG_IGN);
        (void) setsid();
        (void) !chdir("/");
}

static ExitCode report_unit_failure(int fd, const char *unit, int r, const sd_bus_error *error) {
        guard_report_line(fd, "Cannot start %s: %s", unit,
                          error->message ? error->message : g_strerror(-r));
        return exit_code_from_failure(error, r);
}

/* What stands against it is reported. */
static bool is_refused(const GuardRequest *request, const Claim *claim, const char *unit, int fd) {
        g_autoptr(GPtrArray) obstacles =
                claim_obstacles(claim, request->domain, request->name, unit);

        for (guint i = 0; i < obstacles->len; i++)
                guard_report_line(fd, "%s", (const char *) obstacles->pdata[i]);
        return obstacles->len > 0;
}

/* Inhibits, and is the guard from then on if it returns EXIT_CODE_DONE with `*ret_stays` set. All
 * calls are sent before the first reply is waited for, with the bus's own Hello(): on a flooded bus
 * each round takes up to a second. A scope that was started in vain ends with this process. */
static ExitCode become_guard(const GuardRequest *request, Holding *holding, int fd,
                             bool *ret_stays) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *unit = unit_name(request->domain);
        g_autofree char *description =
                g_strdup_printf("Guard of the PCI functions of the %s", request->who);
        g_autoptr(Scope) scope = NULL;
        int r;

        r = holding_begin(holding, request->domain, request->who);
        if (r >= 0)
                r = scope_begin(&holding->context, unit, description, getpid(), &scope);
        if (r >= 0)
                r = claim_finish(&holding->context, &holding->claim, &error);
        if (r < 0) {
                guard_report_failure(fd, r, &error);
                return EXIT_CODE_FAILED;
        }
        if (claim_was_held(&holding->claim, request->domain, unit))
                return EXIT_CODE_DONE;
        if (request->checking && is_refused(request, &holding->claim, unit, fd))
                return EXIT_CODE_REFUSED;
        /* What an older guard holds, this one holds already. */
        r = scope_finish(scope, g_get_monotonic_time() + SYSTEMD_TIMEOUT_USEC, &error);
        if (r < 0)
                return report_unit_failure(fd, unit, r, &error);
        *ret_stays = true;
        return EXIT_CODE_DONE;
}

static _Noreturn void run_guard(const GuardRequest *request, pid_t parent, int fd) {
        Holding holding = { .claim.fd = -1 };
        bool stays = false;
        ExitCode code;

        /* A hook that is killed leaves nothing behind. */
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_CODE_FAILED);
        leave_behind();
        code = become_guard(request, &holding, fd, &stays);
        if (stays)
                (void) prctl(PR_SET_PDEATHSIG, 0);
        if (guard_report_end(fd, code, stays) < 0 || !stays)
                _exit(code);
        (void) close(fd);
        holding_keep(&holding);
        _exit(EXIT_CODE_DONE);
}

/* --- the hook */

ExitCode guard_domain(const GuardRequest *request) {
        pid_t parent = getpid(), pid;
        bool stays;
        ExitCode code;
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
                print_error("Cannot inhibit anything: %s", g_strerror(errno));
                return EXIT_CODE_FAILED;
        }
        pid = fork();
        if (pid == 0) {
                (void) close(fds[0]);
                run_guard(request, parent, fds[1]);
        }
        (void) close(fds[1]);
        if (pid < 0) {
                print_error("Cannot inhibit anything: %s", g_strerror(errno));
                (void) close(fds[0]);
                return EXIT_CODE_FAILED;
        }
        code = guard_report_hear(request->context, fds[0], &stays);
        (void) close(fds[0]);
        if (!stays)
                (void) waitpid(pid, NULL, 0);
        return code;
}

ExitCode guard_release(Context *context, const Domain *domain, gint64 deadline) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *unit = unit_name(domain);
        int r;

        r = scope_stop(context, unit, deadline, &error);
        if (r >= 0)
                return EXIT_CODE_DONE;
        print_error("Cannot stop %s: %s", unit, error.message ? error.message : g_strerror(-r));
        return exit_code_from_failure(&error, r);
}
