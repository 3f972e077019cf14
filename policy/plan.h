/* plan.h: which files of sysfs an operation writes, in which order, and how to put things back.
 *
 * Owns the order. A plan is data; nothing is opened or written here. Made by the guarded operations
 * and by unplug, carried out by the worker. */
#pragma once

#include "policy/function.h"

typedef struct PlanStep {
        char *path;
        char *value;
        /* Links `driver` of the functions that go with this step, of char*; NULL: none. The step is
         * not done, and fails with EBUSY, if one is there: steps before may have taken hours, and
         * somebody may have bound and opened such a function since. */
        GPtrArray *unbound;
} PlanStep;

typedef struct Plan {
        GPtrArray *steps; /* of PlanStep*, owned: done in order; the first that fails ends it ... */
        GPtrArray *undo;  /* ... and then these are all tried, in order */
} Plan;

Plan *plan_free(Plan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Plan, plan_free)

/* Whether `name` can be the name of a kernel driver: 1 to 63 letters, digits, '-', '_'. */
bool plan_driver_name_valid(const char *name);

/* Each makes a new plan; an empty one when there is nothing to do. */

/* The function leaves its driver. */
Plan *plan_unbind(const Function *function);

/* The function gets `driver`, a valid name; "" for the one that the kernel chooses by itself. The
 * override is set for a driver that hands devices to userspace (`userspace`), so that nothing else
 * takes it, and cleared for all others. Undoing puts the driver and override of before back. */
Plan *plan_bind(const Function *function, const char *driver, bool userspace);

/* The PF gets `count` VFs, at most its TotalVFs. The kernel goes from one number to another through
 * 0 only (sriov_numvfs_store() in drivers/pci/iov.c). VFs are unbound one by one first: each such
 * wait holds the lock of its VF alone, while a write to sriov_numvfs holds the one of all
 * hot-plug. */
Plan *plan_set_num_vfs(const Function *pf, uint16_t count);

Plan *plan_set_autoprobe(const Function *pf, bool enable);

Plan *plan_reset(const Function *function);

/* The first half of taking a function away: the functions below it leave their drivers one by one,
 * VFs before their PF, and then it leaves its own. This is where the kernel waits for a user of one
 * of them. Bridges keep their driver. */
Plan *plan_release(const Function *function);

/* The second half: what is below it goes, leaves first, and then the function, by the `power` file
 * of its slot at `slot_power`, or when that is NULL by its own `remove`. So the lock of all
 * hot-plug is held for one function at a time. Not for a VF, which goes with its PF only. */
Plan *plan_remove(const Function *function, const char *slot_power);
