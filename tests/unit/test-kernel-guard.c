#include "policy/kernel-guard.h"
#include "policy/lock.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>
#include <string.h>

#define REFUSE KERNEL_GUARD_MODE_REFUSE
#define TELL   KERNEL_GUARD_MODE_TELL
#define OFF    KERNEL_GUARD_MODE_OFF

Test(kernel_guard, lines) {
        static const struct {
                const char *line;
                KernelGuard guard; /* negative: refused */
                bool loaded;
                const char *text;
        } cells[] = {
                { "unbind loaded lsm", KERNEL_GUARD_UNBIND, true, "lsm" },
                { "chmod loaded fmod_ret", KERNEL_GUARD_CHMOD, true, "fmod_ret" },
                { "module missing no such hook", KERNEL_GUARD_MODULE, false, "no such hook" },
                { "network loaded lsm", KERNEL_GUARD_NETWORK, true, "lsm" },
                { "descriptor missing a: b: c", KERNEL_GUARD_DESCRIPTOR, false, "a: b: c" },
                { "", -1, false, NULL },
                { "unbind", -1, false, NULL },
                { "unbind loaded", -1, false, NULL },
                { "unbind loaded ", -1, false, NULL },
                { "unbind  lsm", -1, false, NULL },
                { "unbind Loaded lsm", -1, false, NULL },
                { "unbound loaded lsm", -1, false, NULL },
                { "unbind loaded \xff", -1, false, NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
                KernelGuardReport report = { 0 };
                KernelGuard guard = 77;
                int r = kernel_guard_parse_line(cells[i].line, &guard, &report);

                if (cells[i].text) {
                        cr_assert_eq(r, 0, "%s", cells[i].line);
                        cr_assert_eq(guard, cells[i].guard);
                        cr_assert_eq(report.loaded, cells[i].loaded);
                        cr_assert_str_eq(report.text, cells[i].text);
                } else {
                        cr_assert_eq(r, -EINVAL, "%s", cells[i].line);
                        cr_assert_eq(guard, 77, "untouched on failure");
                        cr_assert_null(report.text);
                }
                g_free(report.text);
        }
}

Test(kernel_guard, descriptions) {
        char how[] = "lsm", reason[] = "no such hook";
        const KernelGuardReport loaded = { true, how }, missing = { false, reason };
        static const struct {
                int report; /* 0: none, 1: missing, 2: loaded */
                KernelGuardConfig config;
                const char *unbind, *network;
        } cells[] = {
                { 2,
                  { REFUSE, TELL, true },
                  "refused (lsm)",
                  "reported only (lsm): KernelGuardNetwork=tell" },
                { 2, { REFUSE, REFUSE, true }, "refused (lsm)", "refused (lsm)" },
                { 2,
                  { REFUSE, REFUSE, false },
                  "reported only (lsm): locks are not enforced",
                  "reported only (lsm): locks are not enforced" },
                { 2,
                  { TELL, REFUSE, true },
                  "reported only (lsm): KernelGuard=tell",
                  "refused (lsm)" },
                { 2,
                  { TELL, OFF, false },
                  "reported only (lsm): KernelGuard=tell",
                  "not guarded: KernelGuardNetwork=off" },
                { 2,
                  { OFF, REFUSE, true },
                  "not guarded: KernelGuard=off",
                  "not guarded: KernelGuard=off" },
                { 1,
                  { REFUSE, TELL, true },
                  "not guarded: no such hook",
                  "not guarded: no such hook" },
                { 1,
                  { TELL, TELL, true },
                  "not guarded: no such hook",
                  "not guarded: no such hook" },
                { 0,
                  { REFUSE, TELL, true },
                  "not guarded: nobody said",
                  "not guarded: nobody said" },
                { 0,
                  { OFF, TELL, true },
                  "not guarded: KernelGuard=off",
                  "not guarded: KernelGuard=off" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
                const KernelGuardReport *report = cells[i].report == 0   ? NULL
                                                  : cells[i].report == 1 ? &missing
                                                                         : &loaded;
                g_autofree char *unbind = kernel_guard_describe(KERNEL_GUARD_UNBIND, report,
                                                                "nobody said", &cells[i].config);
                g_autofree char *network = kernel_guard_describe(KERNEL_GUARD_NETWORK, report,
                                                                 "nobody said", &cells[i].config);

                cr_assert_str_eq(unbind + strlen("unbind: "), cells[i].unbind);
                cr_assert_str_eq(network + strlen("network: "), cells[i].network);
        }
}

/* Which events pass with which configuration. */
Test(kernel_guard, refusals) {
        static const struct {
                KernelGuardConfig config;
                GuardEventKind kind;
                bool refuses, is_off;
        } cells[] = {
                { { REFUSE, TELL, true }, GUARD_EVENT_UNBIND, true, false },
                { { REFUSE, TELL, true }, GUARD_EVENT_VF_SETTINGS, false, false },
                { { TELL, REFUSE, true }, GUARD_EVENT_DEVLINK_RELOAD, true, false },
                { { TELL, REFUSE, true }, GUARD_EVENT_DEVLINK_ESWITCH, true, false },
                { { TELL, REFUSE, true }, GUARD_EVENT_DEVLINK_FLASH, true, false },
                { { TELL, REFUSE, true }, GUARD_EVENT_DEVLINK_RECOVERY, true, false },
                { { TELL, REFUSE, true }, GUARD_EVENT_ETHTOOL_TEST, true, false },
                { { TELL, REFUSE, true }, GUARD_EVENT_CHMOD, false, false },
                { { REFUSE, REFUSE, false }, GUARD_EVENT_ETHTOOL_RESET, false, false },
                { { OFF, REFUSE, true }, GUARD_EVENT_ETHTOOL_RESET, false, true },
                { { REFUSE, OFF, true }, GUARD_EVENT_ETHTOOL_RESET, false, true },
                { { REFUSE, OFF, true }, GUARD_EVENT_MODULE, true, false },
                { { REFUSE, OFF, true }, GUARD_EVENT_RELEASE, true, false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
                KernelGuard guard = kernel_guard_of_event(cells[i].kind);

                cr_assert_eq(kernel_guard_refuses(&cells[i].config, guard), cells[i].refuses,
                             "cell %zu", i);
                cr_assert_eq(kernel_guard_is_off(&cells[i].config, guard), cells[i].is_off,
                             "cell %zu", i);
        }
}

/* Which reasons stand against an unbind by others, and which of them ends with the last close. */
Test(kernel_guard, wants) {
        static const struct {
                unsigned reasons;
                int only_used; /* negative: not guarded */
                bool vfs_used;
        } cells[] = {
                { 0, -1 },
                { LOCK_REASON_USERSPACE_DRIVER, -1 },
                { LOCK_REASON_INHIBITOR, -1 },
                { LOCK_REASON_ADMINISTRATOR, -1 },
                { LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_INHIBITOR, -1 },
                { LOCK_REASON_BELOW_LOCKED, -1 },
                { LOCK_REASON_VF_LOCKED, -1 },
                { LOCK_REASON_BELOW_IN_USE, 0 },
                { LOCK_REASON_IN_USE, 1 },
                { LOCK_REASON_IN_USE | LOCK_REASON_INHIBITOR, 1 },
                { LOCK_REASON_IN_USE | LOCK_REASON_USERSPACE_DRIVER, 1 },
                { LOCK_REASON_VF_IN_USE, 0, true },
                { LOCK_REASON_VF_IN_USE | LOCK_REASON_IN_USE, 0, true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
                Function function = { .lock_reasons = cells[i].reasons };
                GuardFunction value = { .only_used = 77 };
                bool wanted = kernel_guard_wants(&function, &value);

                cr_assert_eq(wanted, cells[i].only_used >= 0, "reasons %x", cells[i].reasons);
                cr_assert_eq((int) value.only_used, wanted ? cells[i].only_used : 77);
                cr_assert_eq(value.vfs_used, cells[i].vfs_used);
        }
}

Test(kernel_guard, events) {
        static const struct {
                GuardEvent event;
                const char *path, *unit, *text;
        } cells[] = {
                { { .kind = GUARD_EVENT_UNBIND,
                    .refused = 1,
                    .pid = 7,
                    .name = "0000:01:00.0",
                    .comm = "bash" },
                  NULL,
                  "ssh.service",
                  "refused: unbind, tried by bash (pid 7, uid 0, ssh.service)" },
                { { .kind = GUARD_EVENT_UNBIND, .pid = 7, .uid = 3, .comm = "a\nb" },
                  NULL,
                  "",
                  "not refused: a write to `unbind` that cannot be read, done by a?b (pid 7, uid "
                  "3)" },
                /* Without a NUL, of which a string would have one. */
                { { .kind = GUARD_EVENT_WRITE,
                    .refused = 1,
                    .pid = 1,
                    .comm = { '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd',
                              'e', 'f' } },
                  "/sys/x",
                  NULL,
                  "refused: a write to /sys/x by a descriptor opened before, tried by "
                  "0123456789abcdef (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_TOLD, .pid = 1, .comm = "setpci" },
                  "/sys/x/config",
                  NULL,
                  "not refused: a write to /sys/x/config, done by setpci (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_CHMOD, .refused = 1, .pid = 1, .comm = "chmod" },
                  NULL,
                  NULL,
                  "refused: a write bit for a locked file, tried by chmod (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_MODULE,
                    .refused = 1,
                    .pid = 1,
                    .comm = "rmmod",
                    .name = "igb" },
                  NULL,
                  NULL,
                  "refused: unloading the module igb, tried by rmmod (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_VF_SETTINGS, .refused = 1, .pid = 1, .comm = "ip" },
                  NULL,
                  NULL,
                  "refused: settings of its VFs by netlink (`ip link set ... vf`), tried by ip "
                  "(pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_DEVLINK_RELOAD, .pid = 1, .comm = "devlink" },
                  NULL,
                  NULL,
                  "not refused: a reload by devlink, done by devlink (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_ETHTOOL_RESET, .pid = 1, .comm = "ethtool" },
                  NULL,
                  NULL,
                  "not refused: a reset by ethtool, done by ethtool (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_DEVLINK_ESWITCH, .pid = 1, .comm = "devlink" },
                  NULL,
                  NULL,
                  "not refused: a setting of its switch by devlink, done by devlink (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_DEVLINK_FLASH, .pid = 1, .comm = "devlink" },
                  NULL,
                  NULL,
                  "not refused: an update of its firmware by devlink, done by devlink (pid 1, "
                  "uid 0)" },
                { { .kind = GUARD_EVENT_DEVLINK_RECOVERY, .pid = 1, .comm = "devlink" },
                  NULL,
                  NULL,
                  "not refused: a recovery by devlink, done by devlink (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_ETHTOOL_TEST, .pid = 1, .comm = "ethtool" },
                  NULL,
                  NULL,
                  "not refused: an offline test by ethtool, done by ethtool (pid 1, uid 0)" },
                { { .kind = GUARD_EVENT_PORTS, .pid = 1, .comm = "setpci" },
                  NULL,
                  NULL,
                  "not refused: use of I/O ports, which reach configuration space, done by setpci "
                  "(pid 1, uid 0)" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
                ViolationAuthor author = kernel_guard_author(&cells[i].event, cells[i].unit);
                g_autofree char *text =
                        kernel_guard_describe_event(&cells[i].event, cells[i].path, &author);

                cr_assert_str_eq(text, cells[i].text);
        }
}

Test(kernel_guard, names) {
        for (KernelGuard guard = 0; guard < _KERNEL_GUARD_MAX; guard++)
                cr_assert_eq(kernel_guard_from_string(kernel_guard_to_string(guard)), guard);
        cr_assert_eq(kernel_guard_from_string("x"), -EINVAL);
        cr_assert_eq(kernel_guard_mode_from_string("refuse"), KERNEL_GUARD_MODE_REFUSE);
        cr_assert_eq(kernel_guard_mode_from_string("tell"), KERNEL_GUARD_MODE_TELL);
        cr_assert_eq(kernel_guard_mode_from_string("off"), KERNEL_GUARD_MODE_OFF);
        cr_assert_eq(kernel_guard_mode_from_string("no"), -EINVAL);
}
