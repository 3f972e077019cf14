#include "policy/lock.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>
#include <errno.h>

#define BIT(operation) (1U << OPERATION_##operation)

static PatternList *drivers(void) {
        PatternList *list = NULL;

        cr_assert_eq(pattern_list_parse("vfio-pci *-vfio-pci", &list, NULL), 0);
        return list;
}

/* Every kind and driver, and each thing that can be a reason, alone and together. */
Test(lock, reasons) {
        enum {
                IN_USE = 1,
                VF_IN_USE = 2,
                INHIBITED = 4,
                OTHERWISE_INHIBITED = 8
        };
        static const struct {
                FunctionKind kind;
                const char *driver;
                const char *why;
                unsigned state;
                unsigned reasons;
        } cells[] = {
                { FUNCTION_KIND_PF, "", NULL, 0, 0 },
                { FUNCTION_KIND_PF, "igb", NULL, 0, 0 },
                { FUNCTION_KIND_PF, "vfio-pci", NULL, 0, LOCK_REASON_USERSPACE_DRIVER },
                { FUNCTION_KIND_PF, "mlx5-vfio-pci", NULL, 0, LOCK_REASON_USERSPACE_DRIVER },
                { FUNCTION_KIND_VF, "vfio-pci", NULL, 0, 0 },
                { FUNCTION_KIND_DETACHED_VF, "vfio-pci", NULL, 0, 0 },
                { FUNCTION_KIND_PLAIN, "vfio-pci", NULL, 0, 0 },
                { FUNCTION_KIND_PF, "", "x", 0, LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_PF, "igb", "", 0, LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_VF, "vfio-pci", "x", 0, LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_DETACHED_VF, "", "x", 0, LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_PLAIN, "e1000e", "x", 0, LOCK_REASON_ADMINISTRATOR },
                { FUNCTION_KIND_PF, "igb", NULL, VF_IN_USE, LOCK_REASON_VF_IN_USE },
                { FUNCTION_KIND_PF, "vfio-pci", NULL, IN_USE,
                  LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_IN_USE },
                { FUNCTION_KIND_VF, "vfio-pci", NULL, IN_USE, LOCK_REASON_IN_USE },
                { FUNCTION_KIND_DETACHED_VF, "vfio-pci", NULL, IN_USE, LOCK_REASON_IN_USE },
                { FUNCTION_KIND_PLAIN, "vfio-pci", NULL, IN_USE, LOCK_REASON_IN_USE },
                { FUNCTION_KIND_PF, "igb", NULL, INHIBITED, LOCK_REASON_INHIBITOR },
                { FUNCTION_KIND_VF, "igbvf", NULL, INHIBITED, LOCK_REASON_INHIBITOR },
                /* an operation that no file performs closes none */
                { FUNCTION_KIND_PF, "igb", NULL, OTHERWISE_INHIBITED, 0 },
                { FUNCTION_KIND_PF, "vfio-pci", "x", IN_USE | VF_IN_USE | INHIBITED,
                  (1U << LOCK_REASONS_MAX) - 1 },
        };
        g_autoptr(PatternList) list = drivers();
        g_autoptr(GPtrArray) someone = g_ptr_array_new(), inhibitors = g_ptr_array_new(),
                             others = g_ptr_array_new(), vfs = g_ptr_array_new();
        Inhibitor inhibitor = { .operations = BIT(RESET) };
        Inhibitor other = { .operations = BIT(BIND) | BIT(UNBIND) | BIT(OPEN) };
        User user = { .pid = 1 };
        Function vf = { .kind = FUNCTION_KIND_VF, .users = someone };

        g_ptr_array_add(someone, &user);
        g_ptr_array_add(inhibitors, &inhibitor);
        g_ptr_array_add(others, &other);
        g_ptr_array_add(vfs, &vf);
        for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++) {
                Function function = {
                        .kind = cells[i].kind,
                        .facts.driver = (char *) cells[i].driver,
                        .lock_why = (char *) cells[i].why,
                        .users = cells[i].state & IN_USE ? someone : NULL,
                        .vfs = cells[i].state & VF_IN_USE ? vfs : NULL,
                        .inhibitors = cells[i].state & INHIBITED             ? inhibitors
                                      : cells[i].state & OTHERWISE_INHIBITED ? others
                                                                             : NULL,
                };

                cr_assert_eq(lock_reasons(&function, list), cells[i].reasons, "cell %zu", i);
        }
}

/* What each reason closes, file by file. */
Test(lock, files) {
        static const struct {
                LockFile file;
                const char *name;
                Operation operation;
                unsigned mode;
                bool userspace_driver, vf_in_use, in_use, administrator;
        } rows[] = {
                { LOCK_FILE_SRIOV_NUMVFS, "sriov_numvfs", OPERATION_SET_NUM_VFS, 0644, true, true,
                  false, true },
                { LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE, "sriov_drivers_autoprobe",
                  OPERATION_SET_AUTOPROBE, 0644, true, true, false, true },
                { LOCK_FILE_REMOVE, "remove", OPERATION_REMOVE, 0220, false, true, true, true },
                { LOCK_FILE_RESET, "reset", OPERATION_RESET, 0200, false, true, true, true },
                { LOCK_FILE_RESET_METHOD, "reset_method", OPERATION_RESET, 0644, false, true, true,
                  true },
                { LOCK_FILE_SLOT_POWER, "power", OPERATION_POWER_OFF, 0644, false, true, true,
                  true },
        };
        Function function = { .kind = FUNCTION_KIND_PF };

        cr_assert_eq(sizeof(rows) / sizeof(*rows), (size_t) _LOCK_FILE_MAX);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                const struct {
                        LockReason reason;
                        bool closes;
                } reasons[] = {
                        { LOCK_REASON_USERSPACE_DRIVER, rows[i].userspace_driver },
                        { LOCK_REASON_VF_IN_USE, rows[i].vf_in_use },
                        { LOCK_REASON_IN_USE, rows[i].in_use },
                        { LOCK_REASON_ADMINISTRATOR, rows[i].administrator },
                };
                unsigned bit = 1U << rows[i].file;

                cr_assert_str_eq(lock_file_to_string(rows[i].file), rows[i].name);
                cr_assert_eq(lock_file_from_string(rows[i].name), rows[i].file);
                cr_assert_eq(lock_file_operation(rows[i].file), rows[i].operation);
                cr_assert_eq(lock_file_kernel_mode(rows[i].file), rows[i].mode);
                for (unsigned j = 0; j < 4; j++) {
                        cr_assert_eq((lock_reasons_files(&function, reasons[j].reason) & bit) != 0,
                                     reasons[j].closes, "%s, reason %u", rows[i].name, j);
                        cr_assert_eq(lock_reason_closes(reasons[j].reason, rows[i].operation),
                                     reasons[j].closes, "%s, reason %u", rows[i].name, j);
                }
        }
        cr_assert_eq(lock_reasons_files(&function, 0), 0);
        cr_assert_eq(
                lock_reasons_files(&function, LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_IN_USE),
                (1U << _LOCK_FILE_MAX) - 1);
        cr_assert_lt(lock_file_from_string("config"), 0);
}

Test(lock, an_inhibitor_closes_the_files_of_its_operations) {
        static const struct {
                unsigned operations, files;
        } rows[] = {
                { BIT(SET_NUM_VFS), 1U << LOCK_FILE_SRIOV_NUMVFS },
                { BIT(SET_AUTOPROBE), 1U << LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE },
                { BIT(REMOVE), 1U << LOCK_FILE_REMOVE },
                { BIT(RESET), 1U << LOCK_FILE_RESET | 1U << LOCK_FILE_RESET_METHOD },
                { BIT(POWER_OFF), 1U << LOCK_FILE_SLOT_POWER },
                { BIT(BIND) | BIT(UNBIND) | BIT(DISABLE_PASID) | BIT(OPEN), 0 },
                { BIT(REMOVE) | BIT(POWER_OFF),
                  1U << LOCK_FILE_REMOVE | 1U << LOCK_FILE_SLOT_POWER },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autoptr(GPtrArray) inhibitors = g_ptr_array_new();
                Inhibitor inhibitor = { .operations = rows[i].operations };
                Function function = { .kind = FUNCTION_KIND_PF, .inhibitors = inhibitors };

                g_ptr_array_add(inhibitors, &inhibitor);
                cr_assert_eq(lock_reasons_files(&function, LOCK_REASON_INHIBITOR), rows[i].files,
                             "row %zu", i);
        }
}

Test(lock, words) {
        static const char *const words[] = { "userspace-driver", "vf-in-use", "in-use", "inhibitor",
                                             "administrator" };

        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++)
                cr_assert_str_eq(lock_reason_to_string(1U << i), words[i]);
}

Test(lock, taint) {
        cr_assert(lock_taints(LOCK_REASON_USERSPACE_DRIVER));
        cr_assert(lock_taints(LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_ADMINISTRATOR));
        cr_assert_not(lock_taints(LOCK_REASON_ADMINISTRATOR | LOCK_REASON_IN_USE |
                                  LOCK_REASON_VF_IN_USE | LOCK_REASON_INHIBITOR));
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
                { "igb", LOCK_REASON_VF_IN_USE, true },
                { "igb", LOCK_REASON_IN_USE, false },
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
