#include "cli/libvirt/claim.h"

#include "cli/cleanup.h"
#include "cli/libvirt/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* All there is: nobody else opens it, and nobody takes it away but an unplug, which asks first.
 * libvirt's own writes to sysfs, by which it binds a managed function to vfio-pci and back, are no
 * operation that an inhibitor stops. */
#define WHAT "set-num-vfs:set-autoprobe:bind:unbind:reset:remove:power-off:disable-pasid:open"
#define WHY  "the function is given to it"

/* For the daemon's first answer: a host is not to wait for one that is away or hangs. */
#define DAEMON_TIMEOUT_USEC (2 * G_USEC_PER_SEC)
/* For the reply to the call: the daemon may have to wait for the end of an idle process, or for
 * polkit, which has to be started. */
#define REPLY_TIMEOUT_USEC (10 * G_USEC_PER_SEC)

typedef struct ClaimBlocker {
        char *address, *kind, *subject, *reason;
        uint32_t pid;
} ClaimBlocker;

static void blocker_free(gpointer data) {
        ClaimBlocker *blocker = data;

        g_free(blocker->address);
        g_free(blocker->kind);
        g_free(blocker->subject);
        g_free(blocker->reason);
        g_free(blocker);
}

/* Answered by a daemon that is there, however long the call takes. */
static int send_ping(Context *context, Claim *claim) {
        g_autoptr(sd_bus_message) message = NULL;
        int r;

        r = client_new_call(context, CLIENT_ROOT, "org.freedesktop.DBus.Peer", "Ping", 0, &message);
        return r < 0 ? r : client_call_send(message, &claim->ping);
}

static int send_call(Context *context, const GPtrArray *addresses, const char *who, Claim *claim) {
        g_autoptr(sd_bus_message) message = NULL;
        int r;

        r = client_new_call(context, CLIENT_ROOT, CLIENT_MANAGER, "InhibitMany", 0, &message);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "s");
        for (guint i = 0; r >= 0 && i < addresses->len; i++)
                r = sd_bus_message_append(message, "s", addresses->pdata[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        if (r >= 0)
                r = sd_bus_message_append(message, "sssa{sv}", WHAT, who, WHY, 2, "check", "s",
                                          "open", "mode", "s", "delay");
        return r < 0 ? r : client_call_send(message, &claim->call);
}

int claim_begin(Context *context, const GPtrArray *addresses, const char *who, Claim *claim) {
        int r;

        *claim = (Claim){ .fd = -1 };
        r = send_ping(context, claim);
        return r < 0 ? r : send_call(context, addresses, who, claim);
}

static int read_reply(Claim *claim) {
        sd_bus_message *reply = claim->call.reply;
        const char *address, *kind, *subject, *reason;
        uint32_t pid;
        int fd, r;

        r = sd_bus_message_read(reply, "h", &fd); /* stays the message's */
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(ssssu)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(ssssu)", &address, &kind, &subject,
                                                  &reason, &pid)) > 0) {
                ClaimBlocker *blocker = g_new(ClaimBlocker, 1);

                *blocker = (ClaimBlocker){ g_strdup(address), g_strdup(kind), g_strdup(subject),
                                           g_strdup(reason), pid };
                g_ptr_array_add(claim->blockers, blocker);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "u", &claim->n_more);
        if (r < 0)
                return r;
        claim->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        return claim->fd < 0 ? -errno : 0;
}

int claim_finish(Context *context, Claim *claim, sd_bus_error *ret_error) {
        gint64 now = g_get_monotonic_time();
        int r;

        claim->blockers = g_ptr_array_new_with_free_func(blocker_free);
        r = client_call_wait(context, &claim->ping, now + DAEMON_TIMEOUT_USEC, ret_error);
        if (r >= 0)
                r = client_call_wait(context, &claim->call, now + REPLY_TIMEOUT_USEC, ret_error);
        if (r >= 0)
                r = read_reply(claim);
        /* The reply has a copy of the descriptor. */
        client_call_done(&claim->ping);
        client_call_done(&claim->call);
        return r;
}

void claim_done(Claim *claim) {
        client_call_done(&claim->ping);
        client_call_done(&claim->call);
        g_clear_pointer(&claim->blockers, g_ptr_array_unref);
        if (claim->fd >= 0)
                (void) close(claim->fd);
        claim->fd = -1;
}

static bool is_inhibitor(const ClaimBlocker *blocker) {
        return g_str_equal(blocker->kind, "inhibitor") || g_str_equal(blocker->kind, "delay");
}

/* A client chooses the name of its inhibitor, but not the unit that its process is in. Where the
 * unit is not known, the inhibitor is another's: the domain does not start then, rather than start
 * without a guard. */
static bool is_own(const ClaimBlocker *blocker, const char *unit) {
        return is_inhibitor(blocker) && scope_has(unit, (pid_t) blocker->pid);
}

bool claim_was_held(const Claim *claim, const Domain *domain, const char *unit) {
        g_autoptr(GHashTable) held = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint i = 0; i < claim->blockers->len; i++) {
                const ClaimBlocker *blocker = claim->blockers->pdata[i];

                if (is_own(blocker, unit))
                        g_hash_table_add(held, blocker->address);
        }
        return g_hash_table_size(held) == domain->functions->len;
}

/* Not everything that keeps a function from being opened now keeps libvirt from giving it to the
 * domain:
 * - a managed function's driver on the host, for libvirt unbinds it; a blocker "driver" ("group"
 *   with no process, of an older daemon) of the function itself and, as its peer, of each other one
 *   that it shares the IOMMU group with. A peer whose user is not found has "user" when the peer is
 *   asked about itself;
 * - an inhibitor of the domain's own guard. */
static bool counts(const ClaimBlocker *blocker, const Domain *domain, const char *unit) {
        const DomainFunction *function;

        if (is_own(blocker, unit))
                return false;
        if (!g_str_equal(blocker->kind, "driver") &&
            (!g_str_equal(blocker->kind, "group") || blocker->pid != 0))
                return true;
        function = domain_find(domain, blocker->subject);
        return !function || !function->managed;
}

/* libvirt shows what the hook says as the reason why the domain does not start. */
static char *format_obstacle(const ClaimBlocker *blocker, const char *name) {
        if (g_str_equal(blocker->subject, blocker->address))
                return g_strdup_printf("Domain %s cannot have %s: %s", name, blocker->address,
                                       blocker->reason);
        return g_strdup_printf("Domain %s cannot have %s: %s%s %s", name, blocker->address,
                               blocker->subject, is_inhibitor(blocker) ? "" : ":", blocker->reason);
}

GPtrArray *claim_obstacles(const Claim *claim, const Domain *domain, const char *name,
                           const char *unit) {
        GPtrArray *obstacles = g_ptr_array_new_with_free_func(g_free);

        for (guint i = 0; i < claim->blockers->len; i++) {
                const ClaimBlocker *blocker = claim->blockers->pdata[i];

                if (counts(blocker, domain, unit))
                        g_ptr_array_add(obstacles, format_obstacle(blocker, name));
        }
        if (claim->n_more > 0)
                g_ptr_array_add(obstacles,
                                g_strdup_printf("Domain %s cannot have its functions: there are "
                                                "%u more obstacles",
                                                name, claim->n_more));
        return obstacles;
}
