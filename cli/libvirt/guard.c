#include "cli/libvirt/guard.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/libvirt/scope.h"
#include "cli/value.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* All there is: nobody takes it away, and nobody else opens it. libvirt's own writes to sysfs, by
 * which it binds a managed function to vfio-pci and back, are no operation that an inhibitor
 * stops. */
#define WHAT "set-num-vfs:set-autoprobe:bind:unbind:reset:remove:power-off:disable-pasid:open"
#define WHY  "the function is given to it"

/* What the guard says when it has all inhibitors, or has not: the exit code, then what went
 * wrong. */
#define MESSAGE_MAX 512

/* Of a function that the guard holds. */
typedef struct Held {
        char *address;
        char *path;
        int fd;    /* -1 once the domain has released it */
        bool used; /* it was in use meanwhile */
} Held;

typedef struct Holding {
        Context context; /* with a bus connection of its own */
        GPtrArray *held; /* of Held* */
        unsigned n;      /* not released yet */
} Holding;

void guard_limit_calls(Context *context, gint64 deadline) {
        /* 0 would be sd-bus' own time. */
        (void) sd_bus_set_method_call_timeout(context->bus,
                                              (uint64_t) MAX(deadline - g_get_monotonic_time(), 1));
}

static int guard_take(Held *held, sd_bus_message *reply) {
        int fd, r;

        r = sd_bus_message_read(reply, "h", &fd); /* stays the message's */
        if (r < 0)
                return r;
        held->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        return held->fd < 0 ? -errno : 0;
}

static void see_use(Holding *holding, Held *held, bool in_use) {
        if (in_use)
                held->used = true;
        else if (held->used && held->fd >= 0) {
                (void) close(held->fd);
                held->fd = -1;
                holding->n--;
        }
}

static Held *guard_find(const Holding *holding, const char *path) {
        for (guint i = 0; i < holding->held->len; i++) {
                Held *held = holding->held->pdata[i];

                if (g_str_equal(held->path, path))
                        return held;
        }
        return NULL;
}

static int on_properties_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Holding *holding = userdata;
        Held *held = guard_find(holding, sd_bus_message_get_path(message));
        g_autoptr(JsonObject) properties = json_object_new();

        if (held && sd_bus_message_skip(message, "s") >= 0 &&
            value_read_properties(message, properties) >= 0 &&
            json_object_has_member(properties, "InUse"))
                see_use(holding, held, function_flag(properties, "InUse"));
        return 0;
}

/* Asks what signals will tell from now on. What cannot be asked is as before. */
static void look(Holding *holding) {
        for (guint i = 0; i < holding->held->len; i++) {
                Held *held = holding->held->pdata[i];
                int in_use;

                if (sd_bus_get_property_trivial(holding->context.bus, CLIENT_BUS_NAME, held->path,
                                                CLIENT_FUNCTION, "InUse", NULL, 'b', &in_use) >= 0)
                        see_use(holding, held, in_use);
        }
}

/* A daemon that has started: what happened while there was none, it has not told. */
static int on_guard_name_owner_changed(sd_bus_message *message, void *userdata,
                                       sd_bus_error *error) {
        const char *name, *before, *after;

        if (sd_bus_message_read(message, "sss", &name, &before, &after) >= 0 && *after)
                look(userdata);
        return 0;
}

static int watch(Holding *holding) {
        sd_bus *bus = holding->context.bus;
        int r;

        r = sd_bus_match_signal_async(bus, NULL, CLIENT_BUS_NAME, NULL,
                                      "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                      on_properties_changed, NULL, holding);
        if (r >= 0)
                r = sd_bus_add_match_async(
                        bus, NULL,
                        "type='signal',sender='org.freedesktop.DBus',"
                        "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                        "arg0='" CLIENT_BUS_NAME "'",
                        on_guard_name_owner_changed, NULL, holding);
        return r;
}

/* All that can be done before it is known whether the domain is to be guarded. */
static int prepare(Holding *holding, const Domain *domain, gint64 deadline,
                   sd_bus_error *ret_error) {
        int r;

        r = client_connect(&holding->context);
        if (r < 0)
                return r;
        guard_limit_calls(&holding->context, deadline);
        r = watch(holding);
        for (guint i = 0; r >= 0 && i < domain->functions->len; i++) {
                const DomainFunction *function = domain->functions->pdata[i];
                Held *held = g_new0(Held, 1);

                held->address = g_strdup(function->address);
                held->fd = -1;
                g_ptr_array_add(holding->held, held);
                r = client_get_function(&holding->context, held->address, ret_error, &held->path);
        }
        holding->n = holding->held->len;
        return r;
}

static int make_call(Holding *holding, const Held *held, const char *who, ClientCall *ret) {
        int r;

        r = client_new_call(&holding->context, CLIENT_ROOT, CLIENT_MANAGER, "Inhibit", 0,
                            &ret->call);
        return r < 0 ? r : sd_bus_message_append(ret->call, "ssss", held->address, WHAT, who, WHY);
}

/* Inhibits everything on all functions. */
static int inhibit(Holding *holding, const char *who, gint64 deadline, sd_bus_error *ret_error) {
        guint n = holding->held->len;
        ClientCall *calls = g_new0(ClientCall, n);
        int r = 0;

        guard_limit_calls(&holding->context, deadline);
        for (guint i = 0; r >= 0 && i < n; i++)
                r = make_call(holding, holding->held->pdata[i], who, &calls[i]);
        if (r >= 0)
                r = client_call_all(&holding->context, calls, n);
        for (guint i = 0; r >= 0 && i < n; i++) {
                r = client_call_result(&calls[i], ret_error);
                if (r >= 0)
                        r = guard_take(holding->held->pdata[i], calls[i].reply);
        }
        client_calls_free(calls, n);
        return r;
}

/* Until the domain has released all, or this process is asked to end. */
static _Noreturn void hold(Holding *holding) {
        sd_bus *bus = holding->context.bus;
        int r;

        (void) sd_bus_set_method_call_timeout(bus, 0); /* sd-bus' own again */
        look(holding);
        while (holding->n > 0) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (r < 0 && r != -EINTR)
                        break;
        }
        while (holding->n > 0) /* the bus has gone; the inhibitors have not */
                (void) pause();
        _exit(0);
}

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

static _Noreturn void be_guard(const Domain *domain, const char *who, gint64 deadline, int fd) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Holding holding = { .held = g_ptr_array_new() };
        char message[MESSAGE_MAX] = { EXIT_CODE_DONE };
        int r;

        leave_behind();
        r = prepare(&holding, domain, deadline, &error);
        /* The hook's order to inhibit, with the deadline; or its end, by whatever way. */
        if (recv(fd, &deadline, sizeof(deadline), 0) != sizeof(deadline))
                _exit(EXIT_CODE_FAILED);
        if (r >= 0)
                r = inhibit(&holding, who, deadline, &error);
        if (r < 0) {
                message[0] = (char) exit_code_from_failure(&error, r);
                (void) g_strlcpy(message + 1, error.message ? error.message : g_strerror(-r),
                                 sizeof(message) - 1);
        }
        if (send(fd, message, 1 + strlen(message + 1), MSG_NOSIGNAL) < 0 || r < 0)
                _exit(EXIT_CODE_FAILED);

        /* The hook's word to stay; or its end. */
        if (recv(fd, message, 1, 0) != 1)
                _exit(EXIT_CODE_FAILED);
        (void) close(fd);
        hold(&holding);
}

/* Waits for the guard's word. */
static ExitCode hear(const Guard *guard, gint64 deadline) {
        struct pollfd poll_fd = { .fd = guard->fd, .events = POLLIN };
        char message[MESSAGE_MAX + 1] = { 0 };
        gint64 left;
        int n;

        do {
                /* What the guard waits for ends at the deadline; it is to have the time to say
                 * so. */
                left = deadline - g_get_monotonic_time() + G_USEC_PER_SEC / 10;
                n = poll(&poll_fd, 1, (int) MAX(left / 1000, 0));
        } while (n < 0 && errno == EINTR);
        if (n == 0) {
                print_error("Cannot inhibit anything: vfwardend did not answer in time");
                return EXIT_CODE_TIMED_OUT;
        }
        if (n < 0 || recv(guard->fd, message, MESSAGE_MAX, 0) < 1) {
                print_error("Cannot inhibit anything: the process that was to hold it has ended");
                return EXIT_CODE_FAILED;
        }
        if (message[0] != EXIT_CODE_DONE)
                print_error("Cannot inhibit anything: %s", message + 1);
        return (ExitCode) message[0];
}

ExitCode guard_start(const Domain *domain, const char *who, gint64 deadline, Guard *ret) {
        int fds[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
                print_error("Cannot inhibit anything: %s", g_strerror(errno));
                return EXIT_CODE_FAILED;
        }
        pid = fork();
        if (pid == 0) {
                (void) close(fds[0]);
                be_guard(domain, who, deadline, fds[1]);
        }
        (void) close(fds[1]);
        if (pid < 0) {
                print_error("Cannot inhibit anything: %s", g_strerror(errno));
                (void) close(fds[0]);
                return EXIT_CODE_FAILED;
        }
        *ret = (Guard){ pid, fds[0] };
        return EXIT_CODE_DONE;
}

ExitCode guard_inhibit(const Guard *guard, gint64 deadline) {
        /* If the guard has ended, hear() says so. */
        (void) send(guard->fd, &deadline, sizeof(deadline), MSG_NOSIGNAL);
        return hear(guard, deadline);
}

void guard_drop(Guard *guard) {
        if (guard->pid > 0) {
                (void) kill(guard->pid, SIGKILL);
                (void) waitpid(guard->pid, NULL, 0);
        }
        if (guard->fd >= 0)
                (void) close(guard->fd);
        *guard = (Guard){ .fd = -1 };
}

static char *unit_name(const Domain *domain) {
        return g_strdup_printf("vfwarden-domain-%s.scope", domain->uuid);
}

static ExitCode guard_fail(const char *attempt, const char *unit, int r,
                           const sd_bus_error *error) {
        print_error("Cannot %s %s: %s", attempt, unit,
                    error->message ? error->message : g_strerror(-r));
        return exit_code_from_failure(error, r);
}

ExitCode guard_install(Context *context, const Domain *domain, const char *name, gint64 deadline,
                       Guard *guard) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *unit = unit_name(domain);
        g_autofree char *description =
                g_strdup_printf("Guard of the PCI functions of the domain %s", name);
        int r;

        /* What the one before holds, the new one holds already. */
        r = scope_stop(context, unit, deadline, &error);
        if (r >= 0)
                r = scope_start(context, unit, description, guard->pid, deadline, &error);
        if (r >= 0 && send(guard->fd, "", 1, MSG_NOSIGNAL) < 0)
                r = -errno;
        if (r < 0) {
                guard_drop(guard);
                return guard_fail("start", unit, r, &error);
        }
        guard->pid = 0; /* systemd's from now on */
        guard_drop(guard);
        return EXIT_CODE_DONE;
}

ExitCode guard_release(Context *context, const Domain *domain, gint64 deadline) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *unit = unit_name(domain);
        int r;

        r = scope_stop(context, unit, deadline, &error);
        return r < 0 ? guard_fail("stop", unit, r, &error) : EXIT_CODE_DONE;
}
