#include "policy/lock.h"

#include "policy/names.h"

static const char *const lock_reason_names[LOCK_REASONS_MAX] = {
        "userspace-driver",
        "administrator",
};

#define FILE_BIT(file) (1U << (file))
#define FILES_SRIOV    (FILE_BIT(LOCK_FILE_SRIOV_NUMVFS) | FILE_BIT(LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE))
#define FILES_ALL      (FILE_BIT(_LOCK_FILE_MAX) - 1U)

static const unsigned lock_reason_files[LOCK_REASONS_MAX] = {
        FILES_SRIOV, /* userspace-driver */
        FILES_ALL,   /* administrator */
};

static const char *const lock_file_names[_LOCK_FILE_MAX] = {
        [LOCK_FILE_SRIOV_NUMVFS] = "sriov_numvfs",
        [LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE] = "sriov_drivers_autoprobe",
        [LOCK_FILE_REMOVE] = "remove",
        [LOCK_FILE_RESET] = "reset",
        [LOCK_FILE_RESET_METHOD] = "reset_method",
        [LOCK_FILE_SLOT_POWER] = "power",
};

static const struct {
        const char *operation;
        unsigned kernel_mode;
} lock_files[_LOCK_FILE_MAX] = {
        [LOCK_FILE_SRIOV_NUMVFS] = { "set-num-vfs", 0644 },
        [LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE] = { "set-autoprobe", 0644 },
        [LOCK_FILE_REMOVE] = { "remove", 0220 },
        [LOCK_FILE_RESET] = { "reset", 0200 },
        [LOCK_FILE_RESET_METHOD] = { "reset", 0644 },
        [LOCK_FILE_SLOT_POWER] = { "power-off", 0644 },
};

const char *lock_reason_to_string(LockReason reason) {
        return lock_reason_names[__builtin_ctz(reason)];
}

const char *lock_file_to_string(LockFile file) {
        return lock_file_names[file];
}

LockFile lock_file_from_string(const char *name) {
        return name_table_find(lock_file_names, _LOCK_FILE_MAX, name);
}

const char *lock_file_operation(LockFile file) {
        return lock_files[file].operation;
}

unsigned lock_file_kernel_mode(LockFile file) {
        return lock_files[file].kernel_mode;
}

unsigned lock_reasons(const Function *function, const PatternList *userspace_drivers) {
        unsigned reasons = 0;

        if (function->kind == FUNCTION_KIND_PF && function->facts.driver[0] != '\0' &&
            pattern_list_matches(userspace_drivers, function->facts.driver))
                reasons |= LOCK_REASON_USERSPACE_DRIVER;
        if (function->lock_why)
                reasons |= LOCK_REASON_ADMINISTRATOR;
        return reasons;
}

unsigned lock_reasons_files(unsigned reasons) {
        unsigned files = 0;

        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++)
                if (reasons & (1U << i))
                        files |= lock_reason_files[i];
        return files;
}

bool lock_taints(unsigned reasons) {
        return reasons & LOCK_REASON_USERSPACE_DRIVER;
}

bool lock_num_vfs_change_violates(const Function *pf, unsigned reasons) {
        return (lock_reasons_files(reasons) & FILE_BIT(LOCK_FILE_SRIOV_NUMVFS)) &&
               pf->facts.driver[0] != '\0';
}
