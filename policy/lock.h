/* lock.h: when the configuration of a function must not change, and which files that locks.
 *
 * Owns the tables of reasons, of files and of which reason locks which file. The reasons are
 * derived from the inventory each time, so they cannot go stale. */
#pragma once

#include "policy/function.h"
#include "policy/operation.h"
#include "policy/pattern-list.h"

/* Why. The bits of Function.lock_reasons, in the order in which clients see them. */
typedef enum LockReason {
        LOCK_REASON_USERSPACE_DRIVER = 1 << 0, /* the PF itself is in a VMM's hands */
        LOCK_REASON_VF_IN_USE = 1 << 1,        /* one of the PF's VFs is in use */
        LOCK_REASON_IN_USE = 1 << 2,           /* the function itself is in use */
        LOCK_REASON_INHIBITOR = 1 << 3,        /* somebody inhibits an operation, see effect.h */
        LOCK_REASON_ADMINISTRATOR = 1 << 4,    /* somebody asked for it */
        LOCK_REASON_BELOW_IN_USE = 1 << 5,     /* a function below it is in use */
        LOCK_REASON_BELOW_LOCKED = 1 << 6,     /* somebody asked for the lock of one below it */
        LOCK_REASON_VF_LOCKED = 1 << 7,        /* somebody asked for the lock of one of its VFs */
} LockReason;
#define LOCK_REASONS_MAX 8

/* What. Each is an attribute of the function in sysfs, but for those of lock_file_is_apart(). The
 * numbers are the bits' positions in Function.protected_files. */
typedef enum LockFile {
        LOCK_FILE_SRIOV_NUMVFS,
        LOCK_FILE_SRIOV_DRIVERS_AUTOPROBE,
        LOCK_FILE_REMOVE,
        LOCK_FILE_RESET,
        LOCK_FILE_RESET_METHOD,
        LOCK_FILE_RESET_SUBORDINATE, /* of a bridge, since Linux 6.13: resets what is below it */
        LOCK_FILE_RECOVER,           /* of s390: removes the function and looks for it again */
        LOCK_FILE_SLOT_POWER,        /* `power` of the hot-plug slot that the function sits in */
        LOCK_FILE_ENABLE,            /* of a bridge, which passes no DMA once it is disabled */
        LOCK_FILE_ROM,               /* enabled, a read of it may take the registers away */
        LOCK_FILE_RESET_CONTROLLER,  /* of NVMe's driver: resets what the VFs are a part of */
        LOCK_FILE_EJECT,             /* of the root bridge's ACPI device: removes all below */
        _LOCK_FILE_MAX,
        _LOCK_FILE_INVALID = -EINVAL,
} LockFile;

/* The word for one LockReason bit, e.g. "userspace-driver". */
const char *lock_reason_to_string(LockReason reason);

/* The file's name in its directory, e.g. "sriov_numvfs" or "power". */
const char *lock_file_to_string(LockFile file);
LockFile lock_file_from_string(const char *name);

/* Whether the file is not in the function's own directory: it may be made anew while the function
 * stays, and may be locked for several functions. */
bool lock_file_is_apart(LockFile file);

/* The operation that a write to the file performs. */
Operation lock_file_operation(LockFile file);

/* The mode that the kernel makes the file with (drivers/pci/pci-sysfs.c, iov.c, slot.c,
 * drivers/nvme/host/sysfs.c, drivers/acpi/device_sysfs.c, arch/s390/pci/pci_sysfs.c). The own mode
 * of a file that was found locked and of which no record is left. */
unsigned lock_file_kernel_mode(LockFile file);

/* The own mode of a locked file, `own` so far, that was found with mode `found`. Write bits alone
 * are a violation, which is undone. Any other change is an administrator's wish for the file, and
 * holds once it is unlocked: all of `found` if it has write bits, unless its owner may read it no
 * longer. Without them the classes keep theirs that may still read the file; its owner always does.
 */
unsigned lock_file_own_mode(unsigned own, unsigned found);

/* The LockReason bits that hold for `function`, 0 when its configuration may change.
 * `userspace_drivers` are the drivers that hand a device to userspace. */
unsigned lock_reasons(const Function *function, const PatternList *userspace_drivers);

/* "userspace-driver, administrator"; "" for none. Free with g_free(). */
char *lock_reasons_format(unsigned reasons);

/* The LockFile bits (1 << file) that `reasons` lock on `function`, whether the files exist or
 * not. */
unsigned lock_reasons_files(const Function *function, unsigned reasons);

/* Whether `reason`, which is not LOCK_REASON_INHIBITOR, locks a file that performs `operation`. */
bool lock_reason_locks(LockReason reason, Operation operation);

/* Whether a change in the number of VFs is a violation: from a descriptor opened before the lock,
 * say. `pf->lock_files` from before the change counts: with a VF its inhibitors and users go out of
 * the inventory. A PF without a driver has just lost it, and its VFs with it: the kernel takes the
 * `driver` link away before it lets the driver clean up (__device_release_driver()), so that is an
 * unbind and no write. */
bool lock_num_vfs_change_violates(const Function *pf);
