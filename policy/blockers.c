#include "policy/blockers.h"

#include "policy/effect.h"
#include "policy/lock.h"
#include "policy/topology.h"

void block_users(const Question *question, BlockerKind kind, const Function *function,
                 const char *what) {
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        for (guint i = 0; function->users && i < function->users->len; i++) {
                const User *user = function->users->pdata[i];
                g_autofree char *who = NULL;

                if (user->session && function->session && function->session->idle)
                        continue;
                who = user_describe(user);

                verdict_block(question->verdict, user->session ? BLOCKER_SESSION : kind, address,
                              user->pid, "%s by %s", what, who);
        }
}

static BlockerKind inhibitor_kind(const Inhibitor *inhibitor) {
        static const BlockerKind kinds[_INHIBITOR_MODE_MAX] = {
                [INHIBITOR_MODE_BLOCK] = BLOCKER_INHIBITOR,
                [INHIBITOR_MODE_DELAY] = BLOCKER_DELAY,
        };

        return kinds[inhibitor->mode];
}

/* Without a driver of the host, an event is yet to come that a use has ended. But sysfs has the
 * BARs of every function, whatever its driver is (pci_create_resource_files()): also of one without
 * a driver, or on VFIO. A VMM maps those of VFIO's own file, which is no such use. */
static bool use_counts(const Function *function, const Use *use) {
        return function_has_host_driver(function) || use_kind_needs_no_driver(use->kind);
}

void block_uses(const Question *question, const Function *function, const char *where) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (!use_stands_against(question->operation) || (question->flags & CHECK_OVERRIDE_HOST))
                return;
        pci_address_format(function_address(function), address);
        for (guint i = 0; function->uses && i < function->uses->len; i++) {
                const Use *use = function->uses->pdata[i];
                g_autofree char *what = use_describe(use), *text = NULL;

                if (!use_counts(function, use))
                        continue;
                text = g_strconcat(where, where[0] != '\0' ? "used by the host: " : "", what, NULL);
                if (use_kind_stands(use->kind))
                        verdict_block(question->verdict, BLOCKER_HOST, address, use->pid, "%s",
                                      text);
                else
                        verdict_warn(question->verdict, "%s: %s: %s", address, text,
                                     use_kind_lost(use->kind));
        }
}

/* Whether the host can use the function, its VFs or what is below it in a way that is not known. */
static bool blockers_may_have_uses(const Function *function, UsesKnown known) {
        if (known == USES_UNREADABLE_OF_ALL || function_has_host_driver(function) ||
            topology_n_children(function) > 0)
                return true;
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                if (function_has_host_driver(function->vfs->pdata[i]))
                        return true;
        return false;
}

void block_unknown_uses(const Question *question, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];
        const char *text;
        UsesKnown known = inventory_uses_known(question->inventory, &text);

        if (known == USES_KNOWN || !use_stands_against(question->operation) ||
            (question->flags & CHECK_OVERRIDE_HOST) || !blockers_may_have_uses(function, known))
                return;
        if (known != USES_NOT_YET)
                verdict_block(question->verdict, BLOCKER_HOST,
                              pci_address_format(function_address(function), address), 0,
                              "may be used by the host: %s", text);
        else if (function == question->asked) /* before the operation there is another look */
                verdict_warn(question->verdict,
                             "what the host uses is not known yet: the first look has not ended");
}

void block_inhibitors(const Question *question, const Function *function, unsigned operations) {
        char address[PCI_ADDRESS_STRING_MAX];
        bool other = function != question->asked;

        pci_address_format(function_address(function), address);
        for (guint i = 0; function->inhibitors && i < function->inhibitors->len; i++) {
                const Inhibitor *inhibitor = function->inhibitors->pdata[i];
                g_autofree char *what = operations_format(inhibitor->operations & operations);

                if (what[0] != '\0')
                        verdict_block(question->verdict, inhibitor_kind(inhibitor), inhibitor->who,
                                      inhibitor->pid, "inhibits %s%s%s: %s", what,
                                      other ? " of " : "", other ? address : "", inhibitor->why);
        }
}

void block_all_inhibitors(const Question *question, const Function *function) {
        unsigned vfs = effect_on_vfs(function, question->operation) |
                       effect_on_vfs(function, question->or_else);

        block_inhibitors(question, function,
                         effect_on_function(function, question->operation) |
                                 effect_on_function(function, question->or_else));
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                block_inhibitors(question, function->vfs->pdata[i], vfs);
}

void block_own_lock(const Question *question, const Function *function, const char *where) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (function->lock_why && !(question->flags & CHECK_OVERRIDE))
                verdict_block(question->verdict, BLOCKER_LOCK,
                              pci_address_format(function_address(function), address), 0,
                              "%slocked by an administrator%s%s", where,
                              function->lock_why[0] != '\0' ? ": " : "", function->lock_why);
}

void block_lock(const Question *question, const Function *function) {
        unsigned reasons =
                function->lock_reasons & (LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_ADMINISTRATOR);
        char address[PCI_ADDRESS_STRING_MAX];

        if (question->flags & CHECK_OVERRIDE)
                return;
        pci_address_format(function_address(function), address);
        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++) {
                LockReason reason = 1U << i;

                if (!(reasons & reason) || !lock_reason_locks(reason, question->operation))
                        continue;
                if (reason == LOCK_REASON_USERSPACE_DRIVER)
                        verdict_block(question->verdict, BLOCKER_LOCK, address, 0,
                                      "bound to the userspace driver %s", function->facts.driver);
                else
                        block_own_lock(question, function, "");
        }
}

void block_pasid(const Question *question, const Function *function) {
        const Pasid *pasid = &function->facts.pasid;

        if (!pasid->present || !pasid->enabled)
                return;
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                block_users(
                        question, BLOCKER_PASID, function->vfs->pdata[i],
                        "relies on the PASID capability of its PF, which is enabled, while used");
}

void block_group(const Question *question, const Function *function) {
        const GPtrArray *group = inventory_group(question->inventory, function->facts.iommu_group);

        for (guint i = 0; group && i < group->len; i++) {
                const Function *peer = group->pdata[i];

                if (peer != function && peer->pf != function)
                        block_users(question, BLOCKER_GROUP, peer,
                                    "shares the IOMMU group and is in use");
        }
}

static void block_outside(const Question *question, const RemovalOperation *outside,
                          const char *address) {
        const RunningOperation *running = &outside->running;
        g_autofree char *process =
                running->pid != 0 ? g_strdup_printf(" (process %u)", running->pid) : g_strdup("");

        if (outside->driver)
                verdict_block(question->verdict, BLOCKER_OPERATION, address, running->pid,
                              "the driver %s is leaving%s, and waits for the users",
                              outside->driver, process);
        else if (running->pid != 0)
                verdict_block(question->verdict, BLOCKER_OPERATION, address, running->pid,
                              "%s by process %u is in progress, and waits for the users",
                              running->name, running->pid);
        else
                verdict_block(question->verdict, BLOCKER_OPERATION, address, 0,
                              "the kernel is taking it away (%s), and waits for the users",
                              running->name);
}

void block_operation(const Question *question, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        if (function->operation)
                verdict_block(question->verdict, BLOCKER_OPERATION, address,
                              function->operation->pid, "%s is in progress",
                              function->operation->name);
        if (function->outside && function->outside->subject == function->facts.key)
                block_outside(question, function->outside, address);
}

void block_unreadable(const Question *question, const Function *pf) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (pf->unreadable_vfs)
                verdict_block(question->verdict, BLOCKER_UNREADABLE,
                              pci_address_format(function_address(pf), address), 0,
                              "has VFs that cannot be read at present and may be in use");
}

void block_leaving(const Question *question, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (function->state != FUNCTION_STATE_PRESENT)
                verdict_block(question->verdict, BLOCKER_OPERATION,
                              pci_address_format(function_address(function), address), 0,
                              "it is being taken away (%s)",
                              function_state_to_string(function->state));
}
