#include "policy/kernel-guard.h"

#include "policy/lock.h"
#include "policy/names.h"

#include <string.h>

#define REASONS_THAT_PASS                                                                   \
        (LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_INHIBITOR | LOCK_REASON_ADMINISTRATOR | \
         LOCK_REASON_BELOW_LOCKED | LOCK_REASON_VF_LOCKED)

static const char *const guard_names[_KERNEL_GUARD_MAX] = {
        [KERNEL_GUARD_UNBIND] = "unbind",   [KERNEL_GUARD_DESCRIPTOR] = "descriptor",
        [KERNEL_GUARD_CHMOD] = "chmod",     [KERNEL_GUARD_MODULE] = "module",
        [KERNEL_GUARD_NETWORK] = "network",
};

static const char *const mode_names[_KERNEL_GUARD_MODE_MAX] = {
        [KERNEL_GUARD_MODE_REFUSE] = "refuse",
        [KERNEL_GUARD_MODE_TELL] = "tell",
        [KERNEL_GUARD_MODE_OFF] = "off",
};

const char *kernel_guard_to_string(KernelGuard guard) {
        return guard_names[guard];
}

KernelGuard kernel_guard_from_string(const char *name) {
        return name_table_find(guard_names, _KERNEL_GUARD_MAX, name);
}

KernelGuardMode kernel_guard_mode_from_string(const char *name) {
        return name_table_find(mode_names, _KERNEL_GUARD_MODE_MAX, name);
}

int kernel_guard_parse_line(const char *line, KernelGuard *ret_guard, KernelGuardReport *ret) {
        g_auto(GStrv) words = g_strsplit(line, " ", 3);
        KernelGuard guard;
        bool loaded;

        if (g_strv_length(words) != 3 || words[2][0] == '\0' || !g_utf8_validate(line, -1, NULL))
                return -EINVAL;
        guard = kernel_guard_from_string(words[0]);
        loaded = g_str_equal(words[1], "loaded");
        if (guard < 0 || (!loaded && !g_str_equal(words[1], "missing")))
                return -EINVAL;
        *ret_guard = guard;
        *ret = (KernelGuardReport){ loaded, g_strdup(words[2]) };
        return 0;
}

static KernelGuardMode mode_of(const KernelGuardConfig *config, KernelGuard guard) {
        return guard == KERNEL_GUARD_NETWORK ? config->network : config->mode;
}

bool kernel_guard_is_off(const KernelGuardConfig *config, KernelGuard guard) {
        return config->mode == KERNEL_GUARD_MODE_OFF ||
               mode_of(config, guard) == KERNEL_GUARD_MODE_OFF;
}

bool kernel_guard_refuses(const KernelGuardConfig *config, KernelGuard guard) {
        return config->enforce && !kernel_guard_is_off(config, guard) &&
               mode_of(config, guard) == KERNEL_GUARD_MODE_REFUSE;
}

bool kernel_guard_sees_writes(KernelGuard guard) {
        return guard == KERNEL_GUARD_UNBIND || guard == KERNEL_GUARD_DESCRIPTOR;
}

KernelGuard kernel_guard_of_event(GuardEventKind kind) {
        switch (kind) {
        case GUARD_EVENT_UNBIND:
                return KERNEL_GUARD_UNBIND;
        case GUARD_EVENT_CHMOD:
                return KERNEL_GUARD_CHMOD;
        case GUARD_EVENT_MODULE:
                return KERNEL_GUARD_MODULE;
        case GUARD_EVENT_VF_SETTINGS:
        case GUARD_EVENT_DEVLINK_RELOAD:
        case GUARD_EVENT_DEVLINK_ESWITCH:
        case GUARD_EVENT_DEVLINK_FLASH:
        case GUARD_EVENT_DEVLINK_RECOVERY:
        case GUARD_EVENT_ETHTOOL_RESET:
        case GUARD_EVENT_ETHTOOL_TEST:
                return KERNEL_GUARD_NETWORK;
        default:
                return KERNEL_GUARD_DESCRIPTOR;
        }
}

char *kernel_guard_describe(KernelGuard guard, const KernelGuardReport *report, const char *why,
                            const KernelGuardConfig *config) {
        const char *name = guard_names[guard];
        const char *key = config->mode != KERNEL_GUARD_MODE_OFF && guard == KERNEL_GUARD_NETWORK
                                  ? "KernelGuardNetwork"
                                  : "KernelGuard";

        if (kernel_guard_is_off(config, guard))
                return g_strdup_printf("%s: not guarded: %s=off", name, key);
        if (!report || !report->loaded)
                return g_strdup_printf("%s: not guarded: %s", name, report ? report->text : why);
        if (mode_of(config, guard) == KERNEL_GUARD_MODE_TELL)
                return g_strdup_printf("%s: reported only (%s): %s=tell", name, report->text, key);
        if (!config->enforce)
                return g_strdup_printf("%s: reported only (%s): locks are not enforced", name,
                                       report->text);
        return g_strdup_printf("%s: refused (%s)", name, report->text);
}

static char *describe_deed(const GuardEvent *event, const char *path) {
        const char *file = path                              ? path
                           : event->kind == GUARD_EVENT_TOLD ? "a file of a function in use"
                                                             : "a locked file";

        switch ((GuardEventKind) event->kind) {
        case GUARD_EVENT_UNBIND:
                return g_strdup(event->name[0] != '\0' ? "unbind"
                                                       : "a write to `unbind` that cannot be read");
        case GUARD_EVENT_WRITE:
                return g_strdup_printf("a write to %s by a descriptor opened before", file);
        case GUARD_EVENT_CHMOD:
                return g_strdup_printf("a write bit for %s", file);
        case GUARD_EVENT_TOLD:
                return g_strdup_printf("a write to %s", file);
        case GUARD_EVENT_MODULE:
                if (event->name[0] == '\0')
                        return g_strdup("unloading a module whose name cannot be read");
                return g_strdup_printf("unloading the module %.*s", GUARD_MODULE_MAX, event->name);
        case GUARD_EVENT_VF_SETTINGS:
                return g_strdup("settings of its VFs by netlink (`ip link set ... vf`)");
        case GUARD_EVENT_DEVLINK_RELOAD:
                return g_strdup("a reload by devlink");
        case GUARD_EVENT_DEVLINK_ESWITCH:
                return g_strdup("a setting of its switch by devlink");
        case GUARD_EVENT_DEVLINK_FLASH:
                return g_strdup("an update of its firmware by devlink");
        case GUARD_EVENT_DEVLINK_RECOVERY:
                return g_strdup("a recovery by devlink");
        case GUARD_EVENT_ETHTOOL_RESET:
                return g_strdup("a reset by ethtool");
        case GUARD_EVENT_ETHTOOL_TEST:
                return g_strdup("an offline test by ethtool");
        case GUARD_EVENT_PORTS:
                return g_strdup("use of I/O ports, which reach configuration space");
        default:
                return g_strdup_printf("deed number %u", event->kind);
        }
}

/* A process chooses its name, so that is any bytes. */
static char *printable(const char *text, size_t size) {
        char *valid = g_utf8_make_valid(text, (gssize) strnlen(text, size));

        for (char *c = valid; *c; c++)
                if (g_ascii_iscntrl(*c))
                        *c = '?';
        return valid;
}

ViolationAuthor kernel_guard_author(const GuardEvent *event, const char *unit) {
        ViolationAuthor author = { .pid = event->pid, .uid = event->uid };
        g_autofree char *command = printable(event->comm, sizeof(event->comm));

        g_strlcpy(author.command, command, sizeof(author.command));
        g_strlcpy(author.unit, unit ? unit : "", sizeof(author.unit));
        return author;
}

char *kernel_guard_describe_event(const GuardEvent *event, const char *path,
                                  const ViolationAuthor *author) {
        g_autofree char *deed = describe_deed(event, path);
        g_autofree char *who = violation_author_format(author);

        return g_strdup_printf("%s: %s, %s by %s", event->refused ? "refused" : "not refused", deed,
                               event->refused ? "tried" : "done", who);
}

bool kernel_guard_wants(const Function *function, GuardFunction *ret) {
        unsigned reasons = function->lock_reasons & ~(unsigned) REASONS_THAT_PASS;

        if (reasons == 0)
                return false;
        *ret = (GuardFunction){ .only_used = reasons == LOCK_REASON_IN_USE,
                                .vfs_used = (reasons & LOCK_REASON_VF_IN_USE) != 0 };
        return true;
}
