#include "policy/check.h"

#include "policy/blockers.h"
#include "policy/bus-reset.h"
#include "policy/effect.h"
#include "policy/lock.h"
#include "policy/slot.h"
#include "policy/topology.h"
#include "policy/vfio-driver.h"

/* How `function`, below the one that was asked about, stands to it. */
static char *words_for_place(const Question *question, const Function *function) {
        g_autofree char *path = topology_path(question->top, function);

        if (function == question->named)
                return g_strdup("");
        return g_strdup_printf(question->top == question->named ? "is below it (%s) and "
                                                                : "sits in its slot (%s) and ",
                               path);
}

/* All that stands against the operation at one function below. */
static void block_below(const Question *question, const Function *function) {
        g_autofree char *place = words_for_place(question, function);
        g_autofree char *in_use = g_strconcat(place, "in use", NULL);

        block_own_lock(question, function, place);
        block_users(question, BLOCKER_USER, function, in_use);
        block_unreadable(question, function);
        block_uses(question, function, place);
        block_inhibitors(question, function,
                         effect_on_below(function, question->operation) |
                                 effect_on_below(function, question->or_else));
        block_pasid(question, function);
        block_operation(question, function);
        block_leaving(question, function);
}

/* Looks at those functions below `top` alone of which something is known: see topology.h. */
static void check_below(Question *question, const Function *top) {
        g_autoptr(GPtrArray) marked = NULL;

        if (!effect_of(question->operation)->below)
                return;
        marked = topology_marked(top, TOPOLOGY_MARKS_ALL);
        question->top = top;
        for (guint i = 0; marked && i < marked->len; i++)
                block_below(question, marked->pdata[i]);
}

/* What `used` (`function` or one of its VFs) is to the function that was asked about. */
static const char *words_for_relation(const Question *question, const Function *function,
                                      const Function *used) {
        if (used == question->named)
                return "";
        if (function != question->named)
                return "sits in its slot and is ";
        return "is a VF of it and ";
}

/* Those who use `used`, and what the host does with it. */
static void check_uses(const Question *question, const Function *function, const Function *used) {
        const char *where = words_for_relation(question, function, used);
        g_autofree char *in_use = g_strconcat(where, "in use", NULL);

        block_users(question, BLOCKER_USER, used, in_use);
        block_uses(question, used, where);
}

/* The same of the VF `vf`, and its lock where the operation takes it away or resets it. */
static void check_vf(const Question *question, const Function *pf, const Function *vf) {
        unsigned done = effect_on_vfs(pf, question->operation);

        if (done & (1U << OPERATION_REMOVE | 1U << OPERATION_RESET))
                block_own_lock(question, vf, words_for_relation(question, pf, vf));
        check_uses(question, pf, vf);
}

/* All that stands against the operation where it touches `function`. */
static void check_effects(const Question *question, const Function *function) {
        const Effect *effect = effect_of(question->operation);

        block_lock(question, function);
        if (effect->self)
                check_uses(question, function, function);
        for (guint i = 0; effect->vfs && function->vfs && i < function->vfs->len; i++)
                check_vf(question, function, function->vfs->pdata[i]);
        if (effect->vfs)
                block_unreadable(question, function);
        block_all_inhibitors(question, function);
        if (effect->pasid)
                block_pasid(question, function);
        if (effect->group)
                block_group(question, function);
}

/* That the function, or one that it goes with, is being taken away: nobody is to begin with it. */
static void block_departure(const Question *question) {
        const Function *function = question->asked;

        block_leaving(question, function);
        if (function->pf)
                block_leaving(question, function->pf);
        for (const Function *above = function->parent; above; above = above->parent)
                block_leaving(question, above);
}

/* Whether a VMM may open the function now. An IOMMU group is the smallest thing that can be given
 * away: no member may belong to somebody else, or to a driver of the host. */
static void check_open(const Question *question) {
        const Function *function = question->asked;
        const GPtrArray *group = inventory_group(question->inventory, function->facts.iommu_group);
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(function_address(function), address);
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
                /* A user of the group can open the peer, and nobody else can. */
                block_inhibitors(question, peer, 1U << OPERATION_OPEN);
                if (peer->facts.driver[0] != '\0' && !function_has_vfio_driver(peer) &&
                    !vfio_driver_shares_group(peer->facts.driver))
                        verdict_block(question->verdict, BLOCKER_DRIVER, address, 0,
                                      "shares the IOMMU group and is bound to %s",
                                      peer->facts.driver);
        }
}

/* Elsewhere vfio-pci sets the override of its PF's VFs (vfio_pci_bus_notifier()). On s390
 * it does not see then that they are VFs of it (seen on s390x). */
static void warn_of_override(const Question *question) {
        const Function *function = question->asked;

        if (question->operation == OPERATION_SET_NUM_VFS && function->facts.s390 &&
            (function->lock_reasons & LOCK_REASON_USERSPACE_DRIVER))
                verdict_warn(question->verdict,
                             "on s390 the kernel sets no driver_override for VFs of a PF on %s: a "
                             "driver of the host takes them until they are bound to vfio-pci",
                             function->facts.driver);
}

static void warn(const Question *question) {
        const Function *function = question->asked;
        uint16_t n = function_num_vfs(function);

        warn_of_override(question);
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
        case OPERATION_RESET:
                verdict_warn(
                        question->verdict,
                        "%u virtual functions are reset with it: the kernel enables them again "
                        "with what they were configured to lost",
                        n);
                break;
        case OPERATION_OPEN:
                verdict_warn(question->verdict,
                             "%u virtual functions are enabled and depend on who opens it", n);
                break;
        default:
                break;
        }
}

static void check_slot_mates(Question *question) {
        g_autoptr(GPtrArray) mates = slot_mates(question->inventory, question->asked);

        for (guint i = 0; i < mates->len; i++) {
                check_effects(question, mates->pdata[i]);
                check_below(question, mates->pdata[i]);
                block_unknown_uses(question, mates->pdata[i]);
        }
}

/* The names of some functions, for people. */
static char *list_addresses(const GPtrArray *functions) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < functions->len; i++) {
                char address[PCI_ADDRESS_STRING_MAX];

                g_string_append_printf(
                        text, "%s%s", i > 0 ? ", " : "",
                        pci_address_format(function_address(functions->pdata[i]), address));
        }
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* A function that the reset of its bus resets along. */
static void check_bus_mate(const Question *question, const Function *mate) {
        static const char where[] = "is reset with it, for they share the bus, and ",
                          words[] = "is reset with it, for they share the bus, and in use";
        g_autoptr(GPtrArray) used =
                topology_marked(mate, TOPOLOGY_MARK_USED | TOPOLOGY_MARK_HELD | TOPOLOGY_MARK_HOST);

        block_users(question, BLOCKER_USER, mate, words);
        block_unreadable(question, mate);
        block_uses(question, mate, where);
        block_unknown_uses(question, mate);
        for (guint i = 0; mate->vfs && i < mate->vfs->len; i++) {
                block_users(question, BLOCKER_USER, mate->vfs->pdata[i], words);
                block_uses(question, mate->vfs->pdata[i], where);
        }
        for (guint i = 0; used && i < used->len; i++) {
                block_users(question, BLOCKER_USER, used->pdata[i], words);
                block_unreadable(question, used->pdata[i]);
                block_uses(question, used->pdata[i], where);
        }
}

static void check_reset(const Question *question) {
        const Function *function = question->asked;
        g_autoptr(GPtrArray) members = bus_reset_members(question->inventory, function);
        g_autofree char *names = NULL;
        char address[PCI_ADDRESS_STRING_MAX];

        if (function->facts.reset_scope == RESET_SCOPE_NONE)
                verdict_block(question->verdict, BLOCKER_UNSUPPORTED,
                              pci_address_format(function_address(function), address), 0,
                              "cannot be reset: the kernel has no method for it");
        if (!members)
                return;
        names = list_addresses(members);
        verdict_warn(question->verdict, "VFIO's hot reset resets %s, too: they share the bus",
                     names);
        if (function->facts.reset_scope != RESET_SCOPE_BUS)
                return;
        verdict_warn(question->verdict,
                     "the kernel resets it by its bus alone, and by `reset` only while it has the "
                     "bus to itself");
        for (guint i = 0; i < members->len; i++)
                check_bus_mate(question, members->pdata[i]);
}

/* disable_slot() in drivers/pci/hotplug/s390_pci_hpc.c: EBUSY while VFs are enabled. */
static void check_slot(const Question *question) {
        const Function *function = question->asked;
        char address[PCI_ADDRESS_STRING_MAX];
        uint16_t n = function_num_vfs(function);

        if (function->facts.s390 && n > 0)
                verdict_block(question->verdict, BLOCKER_UNSUPPORTED,
                              pci_address_format(function_address(function), address), 0,
                              "has %u virtual functions enabled: the kernel refuses to switch its "
                              "slot off",
                              n);
}

/* Whose slot is switched off: with all that is in it. A function of s390 has a slot of its own. */
static const Function *slot_owner(const Function *function) {
        const Function *owner = topology_slot_owner(function);

        if (owner)
                return owner;
        return function->pf && !function->facts.s390 ? function->pf : function;
}

static void check_add_once(GPtrArray *array, Function *function) {
        if (!g_ptr_array_find(array, function, NULL))
                g_ptr_array_add(array, function);
}

/* See check_related(); there may be thousands below. */
static GPtrArray *related_but_below(const Inventory *inventory, const Function *function) {
        GPtrArray *related = g_ptr_array_new();
        const GPtrArray *group = inventory_group(inventory, function->facts.iommu_group);
        g_autoptr(GPtrArray) mates = slot_mates(inventory, function);

        g_ptr_array_add(related, (gpointer) function);
        if (function->pf)
                check_add_once(related, function->pf);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                check_add_once(related, function->vfs->pdata[i]);
        for (guint i = 0; group && i < group->len; i++)
                check_add_once(related, group->pdata[i]);
        for (guint i = 0; i < mates->len; i++)
                check_add_once(related, mates->pdata[i]);
        for (Function *above = function->parent; above; above = above->parent)
                check_add_once(related, above);
        return related;
}

/* What is done to a VF of another PF in the slot stands against nothing that leaves the slot on. */
static void add_vfs_of_mates(const Inventory *inventory, const Function *function,
                             GPtrArray *related) {
        g_autoptr(GPtrArray) mates = slot_mates(inventory, function);

        for (guint i = 0; i < mates->len; i++) {
                const GPtrArray *vfs = ((const Function *) mates->pdata[i])->vfs;

                for (guint j = 0; vfs && j < vfs->len; j++)
                        check_add_once(related, vfs->pdata[j]);
        }
}

static Verdict *check_answer(Question *question) {
        const Effect *effect = effect_of(question->operation);
        g_autoptr(GPtrArray) related = NULL;

        if (effect->slot)
                question->asked = slot_owner(question->asked);
        question->verdict = verdict_new();
        related = related_but_below(question->inventory, question->asked);
        if (effect->slot)
                add_vfs_of_mates(question->inventory, question->asked, related);
        for (guint i = 0; i < related->len; i++)
                block_operation(question, related->pdata[i]);
        /* A driver would make the last step of an unplug wait for its users. */
        if (question->operation == OPERATION_OPEN || question->operation == OPERATION_BIND)
                block_departure(question);
        if (question->operation == OPERATION_OPEN)
                check_open(question);
        else
                check_effects(question, question->asked);
        check_below(question, question->asked);
        block_unknown_uses(question, question->asked);
        if (question->operation == OPERATION_RESET)
                check_reset(question);
        if (question->operation == OPERATION_POWER_OFF)
                check_slot(question);
        if (effect->slot)
                check_slot_mates(question);
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

        return check_answer(&question);
}

Verdict *check_unplug(const Inventory *inventory, const Function *function, bool users_too,
                      unsigned flags) {
        Question question = {
                .inventory = inventory,
                .named = function,
                .asked = function,
                .operation = OPERATION_REMOVE,
                .or_else =
                        function->kind == FUNCTION_KIND_VF ? OPERATION_REMOVE : OPERATION_POWER_OFF,
                .flags = flags,
        };
        Verdict *verdict = check_answer(&question);

        for (guint i = verdict->blockers->len; i > 0 && !users_too; i--) {
                const Blocker *blocker = verdict->blockers->pdata[i - 1];

                if (blocker_kind_is_asked(blocker->kind))
                        g_ptr_array_remove_index(verdict->blockers, i - 1);
        }
        return verdict;
}

static void list_users(const Function *function, GPtrArray *found) {
        for (guint i = 0; function->users && i < function->users->len; i++)
                g_ptr_array_add(found, function->users->pdata[i]);
}

GPtrArray *check_unplug_list_users(const Function *function) {
        g_autoptr(GPtrArray) below = topology_marked(function, TOPOLOGY_MARK_USED);
        GPtrArray *found = g_ptr_array_new();

        list_users(function, found);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                list_users(function->vfs->pdata[i], found);
        for (guint i = 0; below && i < below->len; i++)
                list_users(below->pdata[i], found);
        return found;
}

unsigned check_unplug_users(const Function *function) {
        g_autoptr(GPtrArray) users = check_unplug_list_users(function);

        return users->len;
}

unsigned check_unplug_others(const Inventory *inventory, const Function *function, unsigned flags) {
        static const bool counts[_BLOCKER_KIND_MAX] = {
                [BLOCKER_INHIBITOR] = true, [BLOCKER_DELAY] = true,      [BLOCKER_LOCK] = true,
                [BLOCKER_HOST] = true,      [BLOCKER_UNREADABLE] = true,
        };
        g_autoptr(Verdict) verdict = check_unplug(inventory, function, true, flags);
        unsigned n = 0;

        for (guint i = 0; i < verdict->blockers->len; i++)
                n += counts[((const Blocker *) verdict->blockers->pdata[i])->kind];
        return n;
}

bool check_unplug_unreadable(const Function *function) {
        g_autoptr(GPtrArray) below = topology_marked(function, TOPOLOGY_MARK_HELD);
        bool unreadable = function->unreadable_vfs;

        for (guint i = 0; below && i < below->len; i++)
                unreadable |= ((const Function *) below->pdata[i])->unreadable_vfs;
        return unreadable;
}

GPtrArray *check_related(const Inventory *inventory, const Function *function) {
        GPtrArray *related = related_but_below(inventory, function);
        g_autoptr(GHashTable) known = g_hash_table_new(NULL, NULL);
        g_autoptr(GPtrArray) below = topology_below(function);

        for (guint i = 0; i < related->len; i++)
                g_hash_table_add(known, related->pdata[i]);
        for (guint i = 0; i < below->len; i++)
                if (!g_hash_table_contains(known, below->pdata[i]))
                        g_ptr_array_add(related, below->pdata[i]);
        return related;
}
