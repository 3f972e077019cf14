#include "policy/check.h"

#include "policy/effect.h"
#include "policy/lock.h"

typedef struct Question {
        const Inventory *inventory;
        const Function *named; /* by the caller */
        const Function *asked; /* that one, or the PF in whose slot it is */
        Operation operation;
        Operation or_else; /* the same by another way, which must be free of inhibitors as well */
        unsigned flags;
        Verdict *verdict;
} Question;

static void block_users(const Question *question, BlockerKind kind, const Function *function,
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

static void block_inhibitors(const Question *question, const Function *function,
                             unsigned operations) {
        char address[PCI_ADDRESS_STRING_MAX];
        bool other = function != question->asked;

        pci_address_format(function_address(function), address);
        for (guint i = 0; function->inhibitors && i < function->inhibitors->len; i++) {
                const Inhibitor *inhibitor = function->inhibitors->pdata[i];
                g_autofree char *what = operations_format(inhibitor->operations & operations);

                if (what[0] != '\0')
                        verdict_block(question->verdict, BLOCKER_INHIBITOR, inhibitor->who,
                                      inhibitor->pid, "inhibits %s%s%s: %s", what,
                                      other ? " of " : "", other ? address : "", inhibitor->why);
        }
}

/* Those on the function for what is done to it on the way, and those on its VFs likewise. */
static void block_all_inhibitors(const Question *question, const Function *function) {
        unsigned vfs = effect_on_vfs(function, question->operation) |
                       effect_on_vfs(function, question->or_else);

        block_inhibitors(question, function,
                         effect_on_function(function, question->operation) |
                                 effect_on_function(function, question->or_else));
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                block_inhibitors(question, function->vfs->pdata[i], vfs);
}

/* The users themselves are listed for the reasons that no override ignores. */
static void block_lock(const Question *question, const Function *function) {
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
                        verdict_block(question->verdict, BLOCKER_LOCK, address, 0,
                                      "locked by an administrator%s%s",
                                      function->lock_why[0] != '\0' ? ": " : "",
                                      function->lock_why);
        }
}

static void block_pasid(const Question *question, const Function *function) {
        const Pasid *pasid = &function->facts.pasid;

        if (!pasid->present || !pasid->enabled)
                return;
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                block_users(
                        question, BLOCKER_PASID, function->vfs->pdata[i],
                        "relies on the PASID capability of its PF, which is enabled, while used");
}

static void block_group(const Question *question, const Function *function) {
        const GPtrArray *group = inventory_group(question->inventory, function->facts.iommu_group);

        for (guint i = 0; group && i < group->len; i++) {
                const Function *peer = group->pdata[i];

                if (peer != function && peer->pf != function)
                        block_users(question, BLOCKER_GROUP, peer,
                                    "shares the IOMMU group and is in use");
        }
}

static void block_outside(const Question *question, const RunningOperation *running,
                          const char *address) {
        if (running->pid != 0)
                verdict_block(question->verdict, BLOCKER_OPERATION, address, running->pid,
                              "%s by process %u is in progress, and waits for the users",
                              running->name, running->pid);
        else
                verdict_block(question->verdict, BLOCKER_OPERATION, address, 0,
                              "the kernel is taking it away (%s), and waits for the users",
                              running->name);
}

static void block_operation(const Question *question, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        if (function->operation)
                verdict_block(question->verdict, BLOCKER_OPERATION, address,
                              function->operation->pid, "%s is in progress",
                              function->operation->name);
        if (function->outside && function->outside->subject == function->facts.key)
                block_outside(question, &function->outside->running, address);
}

/* The blocker that a user of `user` (`function` or one of its VFs) is for the request. */
static const char *words_for_use(const Question *question, const Function *function,
                                 const Function *user) {
        if (user == question->named)
                return "in use";
        if (function != question->named)
                return "sits in its slot and is in use";
        return "is a VF of it and in use";
}

/* The users are unknown. */
static void block_unreadable(const Question *question, const Function *pf) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (pf->unreadable_vfs)
                verdict_block(question->verdict, BLOCKER_USER,
                              pci_address_format(function_address(pf), address), 0,
                              "has VFs that cannot be read at present and may be in use");
}

/* All that stands against the operation where it touches `function`. */
static void check_effects(const Question *question, const Function *function) {
        const Effect *effect = effect_of(question->operation);

        block_lock(question, function);
        if (effect->self)
                block_users(question, BLOCKER_USER, function,
                            words_for_use(question, function, function));
        for (guint i = 0; effect->vfs && function->vfs && i < function->vfs->len; i++)
                block_users(question, BLOCKER_USER, function->vfs->pdata[i],
                            words_for_use(question, function, function->vfs->pdata[i]));
        if (effect->vfs)
                block_unreadable(question, function);
        block_all_inhibitors(question, function);
        if (effect->pasid)
                block_pasid(question, function);
        if (effect->group)
                block_group(question, function);
}

static void block_leaving(const Question *question, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (function->state != FUNCTION_STATE_PRESENT)
                verdict_block(question->verdict, BLOCKER_OPERATION,
                              pci_address_format(function_address(function), address), 0,
                              "it is being taken away (%s)",
                              function_state_to_string(function->state));
}

/* Whether a VMM may open the function now. An IOMMU group is the smallest thing that can be given
 * away: no member may belong to somebody else, or to a driver of the host. */
static void check_open(const Question *question) {
        const Function *function = question->asked;
        const GPtrArray *group = inventory_group(question->inventory, function->facts.iommu_group);
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        block_leaving(question, function);
        if (function->pf)
                block_leaving(question, function->pf);
        if (!function_has_vfio_driver(function) && !(question->flags & CHECK_EMULATED))
                verdict_block(question->verdict, BLOCKER_DRIVER, address, 0,
                              function->facts.driver[0] != '\0'
                                      ? "bound to %s, not to a VFIO driver"
                                      : "bound to no driver%s",
                              function->facts.driver);
        block_users(question, BLOCKER_USER, function, "in use");
        block_all_inhibitors(question, function);
        for (guint i = 0; group && i < group->len && !(question->flags & CHECK_EMULATED); i++) {
                const Function *peer = group->pdata[i];

                if (peer == function)
                        continue;
                pci_address_format(function_address(peer), address);
                block_users(question, BLOCKER_GROUP, peer, "shares the IOMMU group and is in use");
                if (peer->facts.driver[0] != '\0' && !function_has_vfio_driver(peer) &&
                    peer->facts.class_code >> 8 != 0x0604) /* the kernel tolerates bridges */
                        verdict_block(question->verdict, BLOCKER_DRIVER, address, 0,
                                      "shares the IOMMU group and is bound to %s",
                                      peer->facts.driver);
        }
}

static void warn(const Question *question) {
        const Function *function = question->asked;
        uint16_t n = function_num_vfs(function);

        if (n == 0)
                return;
        switch (question->operation) {
        case OPERATION_SET_NUM_VFS:
                verdict_warn(
                        question->verdict,
                        "%u virtual functions are enabled; another number takes them away first",
                        n);
                break;
        case OPERATION_BIND:
        case OPERATION_UNBIND:
                verdict_warn(question->verdict,
                             "%u virtual functions are enabled; whether they stay depends on the "
                             "driver %s, and vfio-pci refuses a PF that has any",
                             n,
                             function->facts.driver[0] != '\0' ? function->facts.driver : "(none)");
                break;
        case OPERATION_REMOVE:
        case OPERATION_POWER_OFF:
                verdict_warn(question->verdict, "%u virtual functions go with it", n);
                break;
        case OPERATION_OPEN:
                verdict_warn(question->verdict,
                             "%u virtual functions are enabled and depend on who opens it", n);
                break;
        default:
                break;
        }
}

/* Calls `visit` for the other functions of the same slot. On s390 each has a slot of its own;
 * elsewhere a VF has none, for its device number says nothing about where it sits. */
static void foreach_slot_mate(const Inventory *inventory, const Function *function,
                              void (*visit)(void *context, Function *mate), void *context) {
        PciAddress address = function_address(function);

        if (function->facts.s390 || function->kind == FUNCTION_KIND_VF)
                return;
        for (uint8_t i = 0; i < 8; i++) {
                address.function = i;
                Function *mate = inventory_get(inventory, pci_address_key(address));

                if (mate && mate != function)
                        visit(context, mate);
        }
}

static void check_slot_mate(void *context, Function *mate) {
        const Question *question = context;

        /* A VF in the PF's device goes with the PF and is looked at there. */
        if (mate->pf != question->asked)
                check_effects(question, mate);
}

static Verdict *answer(Question *question) {
        const Effect *effect = effect_of(question->operation);
        g_autoptr(GPtrArray) related = NULL;

        /* The slot of a VF is its PF's, with all that is in it. */
        if (effect->slot && question->asked->pf && !question->asked->facts.s390)
                question->asked = question->asked->pf;
        question->verdict = verdict_new();
        related = check_related(question->inventory, question->asked);
        for (guint i = 0; i < related->len; i++)
                block_operation(question, related->pdata[i]);
        if (question->operation == OPERATION_OPEN)
                check_open(question);
        else
                check_effects(question, question->asked);
        if (effect->slot)
                foreach_slot_mate(question->inventory, question->asked, check_slot_mate, question);
        warn(question);
        return question->verdict;
}

Verdict *check(const Inventory *inventory, const Function *function, Operation operation,
               unsigned flags) {
        Question question = {
                .inventory = inventory,
                .named = function,
                .asked = function,
                .operation = operation,
                .or_else = operation,
                .flags = flags,
        };

        return answer(&question);
}

Verdict *check_unplug(const Inventory *inventory, const Function *function, bool users_too) {
        Question question = {
                .inventory = inventory,
                .named = function,
                .asked = function,
                .operation = OPERATION_REMOVE,
                .or_else =
                        function->kind == FUNCTION_KIND_VF ? OPERATION_REMOVE : OPERATION_POWER_OFF,
        };
        Verdict *verdict = answer(&question);

        for (guint i = verdict->blockers->len; i > 0 && !users_too; i--) {
                const Blocker *blocker = verdict->blockers->pdata[i - 1];

                if (blocker_kind_is_asked(blocker->kind))
                        g_ptr_array_remove_index(verdict->blockers, i - 1);
        }
        return verdict;
}

static void add_once(void *context, Function *function) {
        GPtrArray *array = context;

        if (!g_ptr_array_find(array, function, NULL))
                g_ptr_array_add(array, function);
}

GPtrArray *check_related(const Inventory *inventory, const Function *function) {
        GPtrArray *related = g_ptr_array_new();
        const GPtrArray *group = inventory_group(inventory, function->facts.iommu_group);

        g_ptr_array_add(related, (gpointer) function);
        if (function->pf)
                add_once(related, function->pf);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                add_once(related, function->vfs->pdata[i]);
        for (guint i = 0; group && i < group->len; i++)
                add_once(related, group->pdata[i]);
        foreach_slot_mate(inventory, function, add_once, related);
        return related;
}
