/* check.h: whether an operation is possible, answered from the inventory alone.
 *
 * Owns the rule of what blocks an operation; effect.h says what an operation does to which
 * function. Pure: no device is touched, and the cost does not grow with unrelated functions. */
#pragma once

#include "policy/question.h"

/* The blockers of `operation` on `function`. The result is never NULL; an operation that functions
 * of this kind do not have is the caller's to refuse (operation_on_kind()). */
Verdict *check(const Inventory *inventory, const Function *function, Operation operation,
               unsigned flags);

/* The blockers of an unplug of `function`, by `remove` or by its slot's power, and a VF by an
 * unbind. Its users and those of its VFs are asked to release it, and so are inhibitors that only
 * delay. They count only with `users_too`. Never NULL. */
Verdict *check_unplug(const Inventory *inventory, const Function *function, bool users_too,
                      unsigned flags);

/* The users of the function, its VFs and all that is below it (User*, borrowed; free the array with
 * g_ptr_array_unref()); and their number. */
GPtrArray *check_unplug_list_users(const Function *function);
unsigned check_unplug_users(const Function *function);

/* The number of others that an unplug of `function` waits for: inhibitors of either mode, locks of
 * administrators, what the host uses, and PFs with VFs that cannot be read. What refuses a request
 * is among them if it came after the request. `flags` are the request's. */
unsigned check_unplug_others(const Inventory *inventory, const Function *function, unsigned flags);

/* Whether the function, or one below it, has VFs that cannot be read. Such a VF may have users, and
 * no plan unbinds it: the kernel would wait for them under the lock of all PCI hot-plug. */
bool check_unplug_unreadable(const Function *function);

/* The functions that stand still together: no two operations may run at a time on functions of
 * which one is in the other's list. The function itself, its PF or VFs, the functions of its slot
 * (slot_mates()) and of its IOMMU group, what is above it and all that is below it. Borrowed; free
 * the array with g_ptr_array_unref(). */
GPtrArray *check_related(const Inventory *inventory, const Function *function);
