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
                  LOCK_REASON_BELOW_IN_USE - 1 },
        };
        g_autoptr(PatternList) list = drivers();
        g_autoptr(GPtrArray) someone = g_ptr_array_new(), inhibitors = g_ptr_array_new(),
                             others = g_ptr_array_new(), vfs = g_ptr_array_new();
        Inhibitor inhibitor = { .operations = BIT(RESET) };
        Inhibitor other = { .operations = BIT(BIND) | BIT(OPEN) };
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

/* A VF that cannot be read may be in use. */
Test(lock, unreadable_vfs_count_as_in_use) {
        PatternList *list = NULL;
        Function pf = { .kind = FUNCTION_KIND_PF,
                        .facts.driver = (char *) "igb",
                        .unreadable_vfs = true };

        cr_assert_eq(pattern_list_parse("vfio-pci", &list, NULL), 0);
        cr_assert_eq(lock_reasons(&pf, list), LOCK_REASON_VF_IN_USE);
        pf.unreadable_vfs = false;
        cr_assert_eq(lock_reasons(&pf, list), 0);
        pattern_list_free(list);
}

/* What takes a locked VF away with its PF; the probing of drivers does not. */
Test(lock, of_a_vf_locks_its_pf) {
        g_autoptr(PatternList) list = drivers();
        g_autoptr(GPtrArray) vfs = g_ptr_array_new();
        Function pf = { .kind = FUNCTION_KIND_PF, .facts.driver = (char *) "igb", .vfs = vfs };
        Function vf = { .kind = FUNCTION_KIND_VF,
                        .facts.driver = (char *) "",
                        .pf = &pf,
                        .lock_why = (char *) "" };
        unsigned open = 1U << LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE | 1U << LOCK_FILE_ENABLE |
                        1U << LOCK_FILE_RESET_CONTROLLER;

        g_ptr_array_add(vfs, &vf);
        cr_assert_eq(lock_reasons(&pf, list), LOCK_REASON_VF_LOCKED);
        cr_assert_eq(lock_reasons_files(&pf, LOCK_REASON_VF_LOCKED),
                     ((1U << _LOCK_FILE_MAX) - 1) & ~open);
        vf.lock_why = NULL;
        cr_assert_eq(lock_reasons(&pf, list), 0);
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
                { LOCK_FILE_RESET_SUBORDINATE, "reset_subordinate", OPERATION_RESET, 0200, false,
                  true, true, true },
                { LOCK_FILE_RECOVER, "recover", OPERATION_REMOVE, 0200, false, true, true, true },
                { LOCK_FILE_SLOT_POWER, "power", OPERATION_POWER_OFF, 0644, false, true, true,
                  true },
                { LOCK_FILE_ENABLE, "enable", OPERATION_RESET, 0644, false, true, true, true },
                { LOCK_FILE_ROM, "rom", OPERATION_RESET, 0600, false, true, true, true },
                { LOCK_FILE_RESET_CONTROLLER, "reset_controller", OPERATION_RESET, 0200, false,
                  true, true, true },
                { LOCK_FILE_EJECT, "eject", OPERATION_REMOVE, 0200, false, true, true, true },
        };
        Function bridge = { .kind = FUNCTION_KIND_PF, .facts.class_code = 0x060400 };
        Function nvme = { .kind = FUNCTION_KIND_PF, .facts.class_code = 0x010802 };

        cr_assert_eq(sizeof(rows) / sizeof(*rows), (size_t) _LOCK_FILE_MAX);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                const Function *function =
                        rows[i].file == LOCK_FILE_RESET_CONTROLLER ? &nvme : &bridge;
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
                        cr_assert_eq((lock_reasons_files(function, reasons[j].reason) & bit) != 0,
                                     reasons[j].closes, "%s, reason %u", rows[i].name, j);
                        cr_assert_eq(lock_reason_locks(reasons[j].reason, rows[i].operation),
                                     reasons[j].closes, "%s, reason %u", rows[i].name, j);
                }
        }
        cr_assert_eq(lock_reasons_files(&bridge, 0), 0);
        cr_assert_eq(lock_reasons_files(&bridge, LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_IN_USE),
                     (1U << _LOCK_FILE_MAX) - 1 - (1U << LOCK_FILE_RESET_CONTROLLER));
        cr_assert_lt(lock_file_from_string("config"), 0);
}

/* Files that only some functions are locked by. */
Test(lock, files_of_some) {
        static const struct {
                uint32_t class_code;
                bool has_parent;
                bool enable, reset_controller, eject;
        } rows[] = {
                { 0x020000, false, false, false, true }, { 0x020000, true, false, false, false },
                { 0x060400, false, true, false, true },  { 0x060401, true, true, false, false },
                { 0x060000, false, false, false, true }, /* a host bridge is none of PCI's */
                { 0x010802, true, false, true, false },  { 0x010601, true, false, false, false },
                { 0xffffff, false, true, true, true }, /* it cannot be read: any */
        };
        static const LockFile some[] = { LOCK_FILE_ENABLE, LOCK_FILE_RESET_CONTROLLER,
                                         LOCK_FILE_EJECT };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                Function function = { .facts.class_code = rows[i].class_code,
                                      .facts.has_parent = rows[i].has_parent };
                const bool locked[] = { rows[i].enable, rows[i].reset_controller, rows[i].eject };
                unsigned files = lock_reasons_files(&function, LOCK_REASON_BELOW_IN_USE);

                for (size_t j = 0; j < sizeof(some) / sizeof(*some); j++)
                        cr_assert_eq((files & (1U << some[j])) != 0, locked[j], "row %zu, %s", i,
                                     lock_file_to_string(some[j]));
                cr_assert(files & (1U << LOCK_FILE_ROM));
        }
        cr_assert(lock_file_is_apart(LOCK_FILE_EJECT));
        cr_assert(lock_file_is_apart(LOCK_FILE_RESET_CONTROLLER));
        cr_assert(lock_file_is_apart(LOCK_FILE_SLOT_POWER));
        cr_assert_not(lock_file_is_apart(LOCK_FILE_ENABLE));
}

/* The files that an inhibitor of `inhibited` on `holder` closes on `function`, as their names. */
static char *closed_by(Function *function, Function *holder, Operation inhibited) {
        g_autoptr(GPtrArray) inhibitors = g_ptr_array_new();
        g_autoptr(PatternList) list = drivers();
        g_autoptr(GString) names = g_string_new(NULL);
        Inhibitor inhibitor = { .operations = 1U << inhibited };
        unsigned files, reasons;

        g_ptr_array_add(inhibitors, &inhibitor);
        holder->inhibitors = inhibitors;
        files = lock_reasons_files(function, LOCK_REASON_INHIBITOR);
        reasons = lock_reasons(function, list);
        holder->inhibitors = NULL;
        for (LockFile file = 0; file < _LOCK_FILE_MAX; file++)
                if (files & (1U << file))
                        g_string_append_printf(names, "%s%s", names->len > 0 ? " " : "",
                                               lock_file_to_string(file));
        cr_assert_eq(reasons, files != 0 ? LOCK_REASON_INHIBITOR : 0U);
        return g_string_free(g_steal_pointer(&names), FALSE);
}

/* Every operation, inhibited on the function and on a VF of it, with and without PASID enabled: a
 * file is closed when writing it does what is inhibited on the way. */
Test(lock, an_inhibitor_closes_what_does_its_operations) {
        static const struct {
                const char *plain, *pf, *pf_pasid, *vf, *vf_pasid; /* where it is, what is closed */
        } rows[_OPERATION_MAX] = {
                [OPERATION_SET_NUM_VFS] = { "sriov_numvfs",
                                            "sriov_numvfs remove recover power eject",
                                            "sriov_numvfs remove recover power eject", "", "" },
                [OPERATION_SET_AUTOPROBE] = { "sriov_drivers_autoprobe", "sriov_drivers_autoprobe",
                                              "sriov_drivers_autoprobe", "", "" },
                [OPERATION_BIND] = { "", "", "", "", "" },
                [OPERATION_UNBIND] = { "remove recover power eject", "remove recover power eject",
                                       "remove recover power eject",
                                       "sriov_numvfs remove recover power eject",
                                       "sriov_numvfs remove recover power eject" },
                [OPERATION_RESET] = { "reset reset_method reset_subordinate rom",
                                      "reset reset_method reset_subordinate rom",
                                      "reset reset_method reset_subordinate rom",
                                      "reset reset_method reset_subordinate rom",
                                      "reset reset_method reset_subordinate rom" },
                [OPERATION_REMOVE] = { "remove recover power eject", "remove recover power eject",
                                       "remove recover power eject",
                                       "sriov_numvfs remove recover power eject",
                                       "sriov_numvfs remove recover power eject" },
                [OPERATION_POWER_OFF] = { "power", "power", "power", "power", "power" },
                [OPERATION_DISABLE_PASID] = { "", "",
                                              "remove reset reset_method reset_subordinate recover power rom eject",
                                              "",
                                              "remove reset reset_method reset_subordinate recover power rom eject" },
                [OPERATION_OPEN] = { "", "", "", "", "" },
        };

        for (Operation inhibited = 0; inhibited < _OPERATION_MAX; inhibited++) {
                g_autoptr(Inventory) inventory = inventory_new();
                Function *plain = apply(inventory, facts_plain("0000:02:00.0"));
                Function *pf = apply(inventory, facts_pf("0000:01:00.0", VFS("0000:01:10.0")));
                Function *vf = apply(inventory, facts_vf("0000:01:10.0", "0000:01:00.0"));
                g_autofree char *of_plain = closed_by(plain, plain, inhibited);
                g_autofree char *of_pf = closed_by(pf, pf, inhibited);
                g_autofree char *of_vf = closed_by(pf, vf, inhibited);
                g_autofree char *vf_itself = closed_by(vf, vf, inhibited);
                const char *word = operation_to_string(inhibited);

                cr_assert_str_eq(of_plain, rows[inhibited].plain, "%s: %s", word, of_plain);
                cr_assert_str_eq(of_pf, rows[inhibited].pf, "%s: %s", word, of_pf);
                cr_assert_str_eq(of_vf, rows[inhibited].vf, "%s: %s", word, of_vf);
                cr_assert_str_eq(vf_itself, rows[inhibited].plain, "%s: %s", word, vf_itself);

                pf->facts.pasid = (Pasid){ .present = true, .enabled = true };
                g_autofree char *of_pasid_pf = closed_by(pf, pf, inhibited);
                g_autofree char *of_pasid_vf = closed_by(pf, vf, inhibited);
                cr_assert_str_eq(of_pasid_pf, rows[inhibited].pf_pasid, "%s: %s", word,
                                 of_pasid_pf);
                cr_assert_str_eq(of_pasid_vf, rows[inhibited].vf_pasid, "%s: %s", word,
                                 of_pasid_vf);
        }
}

Test(lock, words) {
        static const char *const words[] = { "userspace-driver", "vf-in-use",     "in-use",
                                             "inhibitor",        "administrator", "below-in-use",
                                             "below-locked",     "vf-locked" };

        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++)
                cr_assert_str_eq(lock_reason_to_string(1U << i), words[i]);
}

Test(lock, a_change_of_the_count_violates) {
        static const struct {
                const char *driver;
                unsigned files; /* that were closed before */
                bool violates;
        } cells[] = {
                { "igb", 0, false },
                { "igb", 1U << LOCK_FILE_SRIOV_NUMVFS, true },
                { "vfio-pci", 1U << LOCK_FILE_SRIOV_NUMVFS | 1U << LOCK_FILE_REMOVE, true },
                { "igb", (1U << _LOCK_FILE_MAX) - 1 - (1U << LOCK_FILE_SRIOV_NUMVFS), false },
                /* an unbind takes the VFs along */
                { "", 1U << LOCK_FILE_SRIOV_NUMVFS, false },
                { "", 0, false },
        };

        for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++) {
                Function pf = { .kind = FUNCTION_KIND_PF,
                                .facts.driver = (char *) cells[i].driver,
                                .lock_files = cells[i].files };

                cr_assert_eq(lock_num_vfs_change_violates(&pf), cells[i].violates, "cell %zu", i);
        }
}

Test(lock, own_mode) {
        static const struct {
                unsigned own, found, now;
        } table[] = {
                { 0644, 0444, 0644 }, /* as it was locked */
                { 0644, 0644, 0644 }, /* write bits alone are undone ... */
                { 0644, 0666, 0644 },
                { 0664, 0644, 0664 },
                { 0220, 0222, 0220 },
                { 0644, 0200, 0644 }, /* so is one that its owner could not read */
                { 0644, 0600, 0600 }, /* ... and a mode of its own holds */
                { 0644, 0660, 0660 },
                { 0644, 0400, 0600 }, /* who may not read may not write either */
                { 0664, 0400, 0600 },
                { 0664, 0440, 0660 },
                { 0644, 0000, 0200 }, /* the owner always may */
                { 0200, 0400, 0600 },
                { 0200, 0000, 0200 },
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
                cr_assert_eq(lock_file_own_mode(table[i].own, table[i].found), table[i].now,
                             "%04o found as %04o: %04o", table[i].own, table[i].found,
                             lock_file_own_mode(table[i].own, table[i].found));
}
