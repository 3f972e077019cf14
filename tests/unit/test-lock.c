#include "policy/lock.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>
#include <errno.h>

static PatternList *drivers(void) {
        PatternList *list = NULL;

        cr_assert_eq(pattern_list_parse("vfio-pci *-vfio-pci", &list, NULL), 0);
        return list;
}

/* Every kind, driver and administrator's wish. */
Test(lock, reasons) {
        static const struct {
                FunctionKind kind;
                const char *driver;
                const char *why;
                unsigned reasons;
        } cells[] = {
                { FUNCTION_KIND_PF, "", NULL, 0 },
                { FUNCTION_KIND_PF, "igb", NULL, 0 },
                { FUNCTION_KIND_PF, "vfio-pci", NULL, LOCK_REASON_USERSPACE_DRIVER },
                { FUNCTION_KIND_PF, "mlx5-vfio-pci", NULL, LOCK_REASON_USERSPACE_DRIVER },
                { FUNCTION_KIND_VF, "vfio-pci", NULL, 0 },
                { FUNCTION_KIND_DETACHED_VF, "vfio-pci", NULL, 0 },
                { FUNCTION_KIND_PLAIN, "vfio-pci", NULL, 0 },
                { FUNCTION_KIND_PF, "", "x", LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_PF, "igb", "", LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_PF, "vfio-pci", "x",
                  LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_VF, "vfio-pci", "x", LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_DETACHED_VF, "", "x", LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_PLAIN, "e1000e", "x", LOCK_REASON_ADMINISTRATOR },
        };
        g_autoptr(PatternList) list = drivers();

        for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++) {
                Function function = { .kind = cells[i].kind,
                                      .facts.driver = (char *) cells[i].driver,
                                      .lock_why = (char *) cells[i].why };

                cr_assert_eq(lock_reasons(&function, list), cells[i].reasons, "cell %zu", i);
        }
}

/* What each reason closes, file by file. */
Test(lock, files) {
        static const struct {
                LockFile file;
                const char *name, *operation;
                unsigned mode;
                bool userspace_driver, administrator;
        } rows[] = {
                { LOCK_FILE_SRIOV_NUMVFS, "sriov_numvfs", "set-num-vfs", 0644, true, true },
                { LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE, "sriov_drivers_autoprobe", "set-autoprobe",
                  0644, true, true },
                { LOCK_FILE_REMOVE, "remove", "remove", 0220, false, true },
                { LOCK_FILE_RESET, "reset", "reset", 0200, false, true },
                { LOCK_FILE_RESET_METHOD, "reset_method", "reset", 0644, false, true },
                { LOCK_FILE_SLOT_POWER, "power", "power-off", 0644, false, true },
        };

        cr_assert_eq(sizeof(rows) / sizeof(*rows), (size_t) _LOCK_FILE_MAX);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                unsigned bit = 1U << rows[i].file;

                cr_assert_str_eq(lock_file_to_string(rows[i].file), rows[i].name);
                cr_assert_eq(lock_file_from_string(rows[i].name), rows[i].file);
                cr_assert_str_eq(lock_file_operation(rows[i].file), rows[i].operation);
                cr_assert_eq(lock_file_kernel_mode(rows[i].file), rows[i].mode);
                cr_assert_eq((lock_reasons_files(LOCK_REASON_USERSPACE_DRIVER) & bit) != 0,
                             rows[i].userspace_driver, "%s", rows[i].name);
                cr_assert_eq((lock_reasons_files(LOCK_REASON_ADMINISTRATOR) & bit) != 0,
                             rows[i].administrator, "%s", rows[i].name);
        }
        cr_assert_eq(lock_reasons_files(0), 0);
        cr_assert_eq(lock_reasons_files(LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_ADMINISTRATOR),
                     (1U << _LOCK_FILE_MAX) - 1);
        cr_assert_lt(lock_file_from_string("config"), 0);
        cr_assert_str_eq(lock_reason_to_string(LOCK_REASON_USERSPACE_DRIVER), "userspace-driver");
        cr_assert_str_eq(lock_reason_to_string(LOCK_REASON_ADMINISTRATOR), "administrator");
}

Test(lock, taint) {
        cr_assert(lock_taints(LOCK_REASON_USERSPACE_DRIVER));
        cr_assert(lock_taints(LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_ADMINISTRATOR));
        cr_assert_not(lock_taints(LOCK_REASON_ADMINISTRATOR));
        cr_assert_not(lock_taints(0));
}

Test(lock, a_change_of_the_count_violates) {
        static const struct {
                const char *driver;
                unsigned reasons;
                bool violates;
        } cells[] = {
                { "igb", 0, false },
                { "igb", LOCK_REASON_ADMINISTRATOR, true },
                { "vfio-pci", LOCK_REASON_USERSPACE_DRIVER, true },
                /* an unbind takes the VFs along */
                { "", LOCK_REASON_USERSPACE_DRIVER, false },
                { "", LOCK_REASON_ADMINISTRATOR, false },
                { "", 0, false },
        };

        for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++) {
                Function pf = { .kind = FUNCTION_KIND_PF,
                                .facts.driver = (char *) cells[i].driver };

                cr_assert_eq(lock_num_vfs_change_violates(&pf, cells[i].reasons), cells[i].violates,
                             "cell %zu", i);
        }
}
