#include "policy/check.h"

#include "policy/lock.h"

/* What an operation on a function does, beside the function's own users. */
static const struct {
        bool self;    /* disturbs who has the function itself open */
        bool vfs;     /* disturbs who has one of its VFs open */
        bool removes; /* takes its VFs away, or may (some drivers do when they let go) */
        bool group;   /* changes what the IOMMU group's members rely on */
        bool pasid;   /* switches the PASID capability off on the way */
        bool slot;    /* does all this to every function of the slot */
} effects[_OPERATION_MAX] = {
        [OPERATION_SET_NUM_VFS] = { .vfs = true, .removes = true },
        [OPERATION_SET_AUTOPROBE] = { .vfs = true },
        [OPERATION_BIND] = { .self = true,
                             .vfs = true,
                             .removes = true,
                             .group = true,
                             .pasid = true },
        [OPERATION_UNBIND] = { .self = true,
                               .vfs = true,
                               .removes = true,
                               .group = true,
                               .pasid = true },
        [OPERATION_RESET] = { .self = true, .vfs = true, .pasid = true },
        [OPERATION_REMOVE] = { .self = true, .vfs = true, .removes = true, .pasid = true },
        [OPERATION_POWER_OFF] = { .self = true,
                                  .vfs = true,
                                  .removes = true,
                                  .pasid = true,
                                  .slot = true },
        [OPERATION_DISABLE_PASID] = { .pasid = true },
        [OPERATION_OPEN] = { 0 }, /* check_open() */
};

typedef struct Question {
        const Inventory *inventory;
        const Function *asked;
        Operation operation;
        unsigned flags;
        Verdict *verdict;
} Question;

static void block_users(const Question *question, BlockerKind kind, const Function *function,
                        const char *what) {
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        for (guint i = 0; function->users && i < function->users->len; i++) {
                const User *user = function->users->pdata[i];
                g_autofree char *who = user_describe(user);

                verdict_block(question->verdict, kind, address, user->pid, "%s by %s", what, who);
        }
}

static void block_inhibitors(const Question *question, const Function *function,
                             Operation operation) {
        for (guint i = 0; function->inhibitors && i < function->inhibitors->len; i++) {
                const Inhibitor *inhibitor = function->inhibitors->pdata[i];

                if (inhibitor->operations & (1U << operation))
                        verdict_block(question->verdict, BLOCKER_INHIBITOR, inhibitor->who,
                                      inhibitor->pid, "inhibits %s: %s",
                                      operation_to_string(operation), inhibitor->why);
        }
}

/* What is said by the reasons that no override passes is said by the users themselves. */
static void block_lock(const Question *question, const Function *function) {
        unsigned reasons =
                function->lock_reasons & (LOCK_REASON_USERSPACE_DRIVER | LOCK_REASON_ADMINISTRATOR);
        char address[PCI_ADDRESS_STRING_MAX];

        if (question->flags & CHECK_OVERRIDE)
                return;
        pci_address_format(function_address(function), address);
        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++) {
                LockReason reason = 1U << i;

                if (!(reasons & reason) || !lock_reason_closes(reason, question->operation))
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
                              "%s by process %u is under way, and waits for the holders",
                              running->name, running->pid);
        else
                verdict_block(question->verdict, BLOCKER_OPERATION, address, 0,
                              "the kernel is taking it away (%s), and waits for the holders",
                              running->name);
}

static void block_operation(const Question *question, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        if (function->operation)
                verdict_block(question->verdict, BLOCKER_OPERATION, address,
                              function->operation->pid, "%s is under way",
                              function->operation->name);
        if (function->outside && function->outside->subject == function->facts.key)
                block_outside(question, &function->outside->running, address);
}

/* All that stands against the operation where it touches `function`. */
static void check_effects(const Question *question, const Function *function) {
        Operation operation = question->operation;

        block_lock(question, function);
        if (effects[operation].self)
                block_users(question, BLOCKER_USER, function, "in use");
        block_inhibitors(question, function, operation);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                const Function *vf = function->vfs->pdata[i];

                if (effects[operation].vfs)
                        block_users(question, BLOCKER_USER, vf, "is a VF of it and in use");
                if (effects[operation].removes)
                        block_inhibitors(question, vf, OPERATION_REMOVE);
                else if (operation == OPERATION_RESET)
                        block_inhibitors(question, vf, OPERATION_RESET);
        }
        if (effects[operation].pasid)
                block_pasid(question, function);
        if (effects[operation].group)
                block_group(question, function);
}

static bool is_vfio(const Function *function) {
        /* Every VFIO driver of a PCI device is named so: vfio-pci, mlx5-vfio-pci, ... */
        return g_str_has_suffix(function->facts.driver, "vfio-pci");
}

static void block_leaving(const Question *question, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (function->state != FUNCTION_STATE_PRESENT)
                verdict_block(question->verdict, BLOCKER_OPERATION,
                              pci_address_format(function_address(function), address), 0,
                              "it is being taken away (%s)",
                              function_state_to_string(function->state));
}

/* Whether a VMM may open the function now. An IOMMU group is the smallest thing that can be given away: no
 * member may belong to somebody else, or to a driver of the host. */
static void check_open(const Question *question) {
        const Function *function = question->asked;
        const GPtrArray *group = inventory_group(question->inventory, function->facts.iommu_group);
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
        block_leaving(question, function);
        if (function->pf)
                block_leaving(question, function->pf);
        if (!is_vfio(function))
                verdict_block(question->verdict, BLOCKER_GROUP, address, 0,
                              function->facts.driver[0] != '\0'
                                      ? "bound to %s, not to a VFIO driver"
                                      : "bound to no driver%s",
                              function->facts.driver);
        block_users(question, BLOCKER_USER, function, "in use");
        block_inhibitors(question, function, OPERATION_OPEN);
        for (guint i = 0; group && i < group->len; i++) {
                const Function *peer = group->pdata[i];

                if (peer == function)
                        continue;
                pci_address_format(function_address(peer), address);
                block_users(question, BLOCKER_GROUP, peer, "shares the IOMMU group and is in use");
                if (peer->facts.driver[0] != '\0' && !is_vfio(peer) &&
                    peer->facts.class_code >> 8 != 0x0604) /* the kernel tolerates bridges */
                        verdict_block(question->verdict, BLOCKER_GROUP, address, 0,
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

/* Calls `visit` for the other functions of the same slot. On s390 each has a slot of its own; elsewhere a
 * VF has none, for its device number says nothing about where it sits. */
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

Verdict *check(const Inventory *inventory, const Function *function, Operation operation,
               unsigned flags) {
        /* The slot of a VF is its PF's, with all that is in it. */
        if (effects[operation].slot && function->pf && !function->facts.s390)
                function = function->pf;
        Question question = { inventory, function, operation, flags, verdict_new() };
        g_autoptr(GPtrArray) related = check_related(inventory, function);

        for (guint i = 0; i < related->len; i++)
                block_operation(&question, related->pdata[i]);
        if (operation == OPERATION_OPEN)
                check_open(&question);
        else
                check_effects(&question, function);
        if (effects[operation].slot)
                foreach_slot_mate(inventory, function, check_slot_mate, &question);
        warn(&question);
        return question.verdict;
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
