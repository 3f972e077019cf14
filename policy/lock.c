#include "policy/lock.h"

#include "policy/effect.h"
#include "policy/names.h"
#include "policy/topology.h"

static const char *const lock_reason_names[LOCK_REASONS_MAX] = {
        "userspace-driver", "vf-in-use",    "in-use",       "inhibitor",
        "administrator",    "below-in-use", "below-locked", "vf-locked",
};

#define READ_BITS      0444U
#define WRITE_BITS     0222U
#define OWNER_READS    0400U
#define OWNER_WRITES   0200U

#define CLASS_NVME     0x0108U /* PCI Code and ID Assignment: non-volatile memory */

#define FILE_BIT(file) (1U << (file))
#define FILES_SRIOV    (FILE_BIT(LOCK_FILE_SRIOV_NUMVFS) | FILE_BIT(LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE))
#define FILES_ALL      (FILE_BIT(_LOCK_FILE_MAX) - 1U)
#define FILES_AWAY     (FILES_ALL & ~FILES_SRIOV)

static const unsigned lock_reason_files[LOCK_REASONS_MAX] = {
        FILES_SRIOV, /* userspace-driver */
        FILES_ALL,   /* vf-in-use */
        FILES_AWAY,  /* in-use */
        0,           /* inhibitor: those of the operation, inhibited_files() */
        FILES_ALL,   /* administrator */
        FILES_AWAY,  /* below-in-use */
        FILES_AWAY,  /* below-locked */
        FILES_AWAY | FILE_BIT(LOCK_FILE_SRIOV_NUMVFS), /* vf-locked */
};

static const char *const lock_file_names[_LOCK_FILE_MAX] = {
        [LOCK_FILE_SRIOV_NUMVFS] = "sriov_numvfs",
        [LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE] = "sriov_drivers_autoprobe",
        [LOCK_FILE_REMOVE] = "remove",
        [LOCK_FILE_RESET] = "reset",
        [LOCK_FILE_RESET_METHOD] = "reset_method",
        [LOCK_FILE_RESET_SUBORDINATE] = "reset_subordinate",
        [LOCK_FILE_RECOVER] = "recover",
        [LOCK_FILE_SLOT_POWER] = "power",
        [LOCK_FILE_ENABLE] = "enable",
        [LOCK_FILE_ROM] = "rom",
        [LOCK_FILE_RESET_CONTROLLER] = "reset_controller",
        [LOCK_FILE_EJECT] = "eject",
};

static const struct {
        Operation operation;
        unsigned kernel_mode;
} lock_files[_LOCK_FILE_MAX] = {
        [LOCK_FILE_SRIOV_NUMVFS] = { OPERATION_SET_NUM_VFS, 0644 },
        [LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE] = { OPERATION_SET_AUTOPROBE, 0644 },
        [LOCK_FILE_REMOVE] = { OPERATION_REMOVE, 0220 },
        [LOCK_FILE_RESET] = { OPERATION_RESET, 0200 },
        [LOCK_FILE_RESET_METHOD] = { OPERATION_RESET, 0644 },
        [LOCK_FILE_RESET_SUBORDINATE] = { OPERATION_RESET, 0200 },
        [LOCK_FILE_RECOVER] = { OPERATION_REMOVE, 0200 },
        [LOCK_FILE_SLOT_POWER] = { OPERATION_POWER_OFF, 0644 },
        [LOCK_FILE_ENABLE] = { OPERATION_RESET, 0644 },
        [LOCK_FILE_ROM] = { OPERATION_RESET, 0600 },
        [LOCK_FILE_RESET_CONTROLLER] = { OPERATION_RESET, 0200 },
        [LOCK_FILE_EJECT] = { OPERATION_REMOVE, 0200 },
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

bool lock_file_is_apart(LockFile file) {
        return file == LOCK_FILE_SLOT_POWER || file == LOCK_FILE_RESET_CONTROLLER ||
               file == LOCK_FILE_EJECT;
}

Operation lock_file_operation(LockFile file) {
        return lock_files[file].operation;
}

unsigned lock_file_kernel_mode(LockFile file) {
        return lock_files[file].kernel_mode;
}

unsigned lock_file_own_mode(unsigned own, unsigned found) {
        unsigned locked = own & ~WRITE_BITS, lost = locked & ~found & READ_BITS;

        if ((found & ~WRITE_BITS) == locked)
                return own;
        if (found & WRITE_BITS)
                return lost & OWNER_READS ? own : found;
        return found | (own & WRITE_BITS & ~(lost >> 1)) | OWNER_WRITES;
}

static unsigned inhibited_files(const Function *function) {
        unsigned files = 0;

        for (LockFile file = 0; file < _LOCK_FILE_MAX; file++)
                if (effect_is_inhibited(function, lock_files[file].operation) ||
                    topology_inhibits_below(function, lock_files[file].operation))
                        files |= FILE_BIT(file);
        return files;
}

static bool vf_in_use(const Function *pf) {
        if (pf->unreadable_vfs)
                return true;
        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++)
                if (function_is_held(pf->vfs->pdata[i]))
                        return true;
        return false;
}

static bool vf_is_locked(const Function *pf) {
        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++)
                if (((const Function *) pf->vfs->pdata[i])->lock_why)
                        return true;
        return false;
}

unsigned lock_reasons(const Function *function, const PatternList *userspace_drivers) {
        unsigned reasons = 0;

        if (function->kind == FUNCTION_KIND_PF && function->facts.driver[0] != '\0' &&
            pattern_list_matches(userspace_drivers, function->facts.driver))
                reasons |= LOCK_REASON_USERSPACE_DRIVER;
        if (vf_in_use(function))
                reasons |= LOCK_REASON_VF_IN_USE;
        if (function_is_held(function))
                reasons |= LOCK_REASON_IN_USE;
        if (inhibited_files(function) != 0)
                reasons |= LOCK_REASON_INHIBITOR;
        if (function->lock_why)
                reasons |= LOCK_REASON_ADMINISTRATOR;
        if (topology_marks_below(function) & TOPOLOGY_MARK_HELD)
                reasons |= LOCK_REASON_BELOW_IN_USE;
        if (topology_marks_below(function) & TOPOLOGY_MARK_LOCKED)
                reasons |= LOCK_REASON_BELOW_LOCKED;
        if (vf_is_locked(function))
                reasons |= LOCK_REASON_VF_LOCKED;
        return reasons;
}

char *lock_reasons_format(unsigned reasons) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++)
                if (reasons & (1U << i))
                        g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "",
                                               lock_reason_to_string(1U << i));
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The files that functions of this sort do not have, or which harm nobody there. What the class
 * decides is not among them while the class cannot be read. The kernel refuses `enable` where there
 * is a driver (enable_store()), and each function in use has one. The root bridge of a function
 * below another is locked for that one. */
static unsigned foreign_files(const Function *function) {
        bool known = function->facts.class_code != PCI_CLASS_UNREADABLE;
        unsigned files = 0;

        if (known && !topology_is_bridge(function))
                files |= FILE_BIT(LOCK_FILE_ENABLE);
        if (known && function->facts.class_code >> 8 != CLASS_NVME)
                files |= FILE_BIT(LOCK_FILE_RESET_CONTROLLER);
        if (function->facts.has_parent)
                files |= FILE_BIT(LOCK_FILE_EJECT);
        return files;
}

unsigned lock_reasons_files(const Function *function, unsigned reasons) {
        unsigned files = 0;

        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++)
                if (reasons & (1U << i))
                        files |= lock_reason_files[i];
        if (reasons & LOCK_REASON_INHIBITOR)
                files |= inhibited_files(function);
        return files & ~foreign_files(function);
}

bool lock_reason_locks(LockReason reason, Operation operation) {
        unsigned files = lock_reason_files[__builtin_ctz(reason)];

        for (LockFile file = 0; file < _LOCK_FILE_MAX; file++)
                if ((files & FILE_BIT(file)) && lock_files[file].operation == operation)
                        return true;
        return false;
}

bool lock_num_vfs_change_violates(const Function *pf) {
        return (pf->lock_files & FILE_BIT(LOCK_FILE_SRIOV_NUMVFS)) && pf->facts.driver[0] != '\0';
}
