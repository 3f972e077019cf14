#include "policy/topology.h"

#include "policy/effect.h"

#define CLASS_PCI_BRIDGE 0x0604U

/* Only functions that have children need one. */
struct TopologyBelow {
        Function *first, *last; /* child */
        unsigned n_children;
        unsigned n_marked;                   /* functions below with any mark */
        unsigned counts[TOPOLOGY_MARKS_MAX]; /* of them those with this one */
};

struct Topology {
        GHashTable *orphans; /* PciKey* of a parent that is not known -> GPtrArray of Function* */
};

Topology *topology_new(void) {
        Topology *topology = g_new(Topology, 1);

        topology->orphans = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                                  (GDestroyNotify) g_ptr_array_unref);
        return topology;
}

Topology *topology_free(Topology *topology) {
        if (!topology)
                return NULL;
        g_hash_table_unref(topology->orphans);
        g_free(topology);
        return NULL;
}

static void orphans_add(Topology *topology, Function *function) {
        GPtrArray *orphans = g_hash_table_lookup(topology->orphans, &function->facts.parent);

        if (!orphans) {
                orphans = g_ptr_array_new();
                g_hash_table_insert(
                        topology->orphans,
                        g_memdup2(&function->facts.parent, sizeof(function->facts.parent)),
                        orphans);
        }
        g_ptr_array_add(orphans, function);
}

static void orphans_remove(Topology *topology, Function *function) {
        GPtrArray *orphans = g_hash_table_lookup(topology->orphans, &function->facts.parent);

        if (orphans && g_ptr_array_remove_fast(orphans, function) && orphans->len == 0)
                g_hash_table_remove(topology->orphans, &function->facts.parent);
}

/* --- the list of children */

static bool is_notable(const Function *function) {
        return function->marks != 0 || (function->below && function->below->n_marked > 0);
}

static void list_insert(Function *parent, Function *child) {
        TopologyBelow *below = parent->below;
        bool first = is_notable(child);

        child->previous_sibling = first ? NULL : below->last;
        child->next_sibling = first ? below->first : NULL;
        *(child->previous_sibling ? &child->previous_sibling->next_sibling : &below->first) = child;
        *(child->next_sibling ? &child->next_sibling->previous_sibling : &below->last) = child;
}

static void list_remove(Function *parent, Function *child) {
        TopologyBelow *below = parent->below;
        Function *previous = child->previous_sibling, *next = child->next_sibling;

        *(previous ? &previous->next_sibling : &below->first) = next;
        *(next ? &next->previous_sibling : &below->last) = previous;
        child->next_sibling = child->previous_sibling = NULL;
}

/* --- counting */

/* How many functions bear each mark: one function, or one with all that is below it. */
typedef struct Count {
        unsigned n_marked;
        unsigned counts[TOPOLOGY_MARKS_MAX];
} Count;

static Count count_marks(unsigned marks) {
        Count count = { .n_marked = marks != 0 };

        for (unsigned i = 0; i < TOPOLOGY_MARKS_MAX; i++)
                count.counts[i] = (marks >> i) & 1U;
        return count;
}

static Count count_branch(const Function *function) {
        Count count = count_marks(function->marks);

        if (!function->below)
                return count;
        count.n_marked += function->below->n_marked;
        for (unsigned i = 0; i < TOPOLOGY_MARKS_MAX; i++)
                count.counts[i] += function->below->counts[i];
        return count;
}

/* Moves a child to its place in front of, or behind, those that nobody looks for. */
static void place(Function *child, bool was_notable) {
        if (!child->parent || is_notable(child) == was_notable)
                return;
        list_remove(child->parent, child);
        list_insert(child->parent, child);
}

/* `before` counts no longer and `after` does, below `function` and all that is above it. */
static void recount(Function *function, const Count *before, const Count *after) {
        for (; function; function = function->parent) {
                bool was_notable = is_notable(function);

                function->below->n_marked += after->n_marked - before->n_marked;
                for (unsigned i = 0; i < TOPOLOGY_MARKS_MAX; i++)
                        function->below->counts[i] += after->counts[i] - before->counts[i];
                place(function, was_notable);
        }
}

static unsigned marks_of(const Function *function) {
        unsigned inhibited = effect_inhibited(function), marks = 0;

        if (function_in_use(function))
                marks |= TOPOLOGY_MARK_USED;
        if (function_is_held(function) || function->unreadable_vfs)
                marks |= TOPOLOGY_MARK_HELD;
        if (function->uses)
                marks |= TOPOLOGY_MARK_HOST;
        if (function->lock_why)
                marks |= TOPOLOGY_MARK_LOCKED;
        if (function->operation || function->outside || function->state != FUNCTION_STATE_PRESENT)
                marks |= TOPOLOGY_MARK_BUSY;
        if (inhibited == 0)
                return marks;
        if (inhibited & effect_on_function(function, OPERATION_REMOVE))
                marks |= TOPOLOGY_MARK_INHIBITS_REMOVE;
        if (inhibited & effect_on_function(function, OPERATION_POWER_OFF))
                marks |= TOPOLOGY_MARK_INHIBITS_POWER_OFF;
        if (inhibited & effect_on_function(function, OPERATION_RESET))
                marks |= TOPOLOGY_MARK_INHIBITS_RESET;
        return marks;
}

void topology_update(Function *function) {
        unsigned marks = marks_of(function);
        bool was_notable = is_notable(function);
        Count before, after;

        if (marks == function->marks)
                return;
        before = count_marks(function->marks);
        after = count_marks(marks);
        function->marks = marks;
        place(function, was_notable);
        recount(function->parent, &before, &after);
}

/* --- linking */

static void link_child(Function *parent, Function *child) {
        const Count none = { 0 }, branch = count_branch(child);

        if (!parent->below)
                parent->below = g_new0(TopologyBelow, 1);
        child->parent = parent;
        list_insert(parent, child);
        parent->below->n_children++;
        property_set_add(&parent->changes, FUNCTION_PROPERTY_CHILDREN);
        recount(parent, &none, &branch);
}

static void unlink_child(Function *child) {
        const Count none = { 0 }, branch = count_branch(child);
        Function *parent = child->parent;

        list_remove(parent, child);
        child->parent = NULL;
        property_set_add(&parent->changes, FUNCTION_PROPERTY_CHILDREN);
        recount(parent, &branch, &none);
        if (--parent->below->n_children == 0)
                g_clear_pointer(&parent->below, g_free);
}

void topology_add(Topology *topology, Function *function, Function *parent) {
        GPtrArray *children = NULL;
        gpointer key;

        topology_update(function);
        if (function->facts.has_parent && parent && !topology_is_below(parent, function))
                link_child(parent, function);
        else if (function->facts.has_parent)
                orphans_add(topology, function);

        if (!g_hash_table_steal_extended(topology->orphans, &function->facts.key, &key,
                                         (gpointer *) &children))
                return;
        for (guint i = 0; i < children->len; i++)
                if (!topology_is_below(function, children->pdata[i]))
                        link_child(function, children->pdata[i]);
        g_ptr_array_unref(children);
        g_free(key);
}

void topology_remove(Topology *topology, Function *function) {
        while (function->below) {
                Function *child = function->below->first;

                unlink_child(child);
                orphans_add(topology, child);
        }
        if (function->parent)
                unlink_child(function);
        else if (function->facts.has_parent)
                orphans_remove(topology, function);
}

/* --- asking */

unsigned topology_marks_below(const Function *function) {
        unsigned marks = 0;

        for (unsigned i = 0; function->below && i < TOPOLOGY_MARKS_MAX; i++)
                if (function->below->counts[i] > 0)
                        marks |= 1U << i;
        return marks;
}

bool topology_inhibits_below(const Function *function, Operation operation) {
        static const struct {
                Operation operation;
                TopologyMark mark;
        } inhibited[] = {
                { OPERATION_REMOVE, TOPOLOGY_MARK_INHIBITS_REMOVE },
                { OPERATION_POWER_OFF, TOPOLOGY_MARK_INHIBITS_POWER_OFF },
                { OPERATION_RESET, TOPOLOGY_MARK_INHIBITS_RESET },
        };
        const Effect *effect = effect_of(operation);

        for (unsigned i = 0; effect->below && i < G_N_ELEMENTS(inhibited); i++)
                if (inhibited[i].operation == effect->to_below)
                        return topology_marks_below(function) & inhibited[i].mark;
        return false;
}

static void collect_marked(const Function *function, unsigned marks, GPtrArray *found) {
        Function *child = function->below ? function->below->first : NULL;

        for (; child && is_notable(child); child = child->next_sibling) {
                if (child->marks & marks)
                        g_ptr_array_add(found, child);
                if (topology_marks_below(child) & marks)
                        collect_marked(child, marks, found);
        }
}

GPtrArray *topology_marked(const Function *function, unsigned marks) {
        GPtrArray *found;

        if (!(topology_marks_below(function) & marks))
                return NULL;
        found = g_ptr_array_new();
        collect_marked(function, marks, found);
        g_ptr_array_sort(found, function_compare);
        return found;
}

unsigned topology_n_children(const Function *function) {
        return function->below ? function->below->n_children : 0;
}

GPtrArray *topology_children(const Function *function) {
        GPtrArray *children = g_ptr_array_new();
        Function *child = function->below ? function->below->first : NULL;

        for (; child; child = child->next_sibling)
                g_ptr_array_add(children, child);
        g_ptr_array_sort(children, function_compare);
        return children;
}

static void collect_below(const Function *function, GPtrArray *found) {
        g_autoptr(GPtrArray) children = topology_children(function);

        for (guint i = 0; i < children->len; i++) {
                collect_below(children->pdata[i], found);
                g_ptr_array_add(found, children->pdata[i]);
        }
}

GPtrArray *topology_below(const Function *function) {
        GPtrArray *found = g_ptr_array_new();

        collect_below(function, found);
        return found;
}

bool topology_is_below(const Function *function, const Function *above) {
        for (; function; function = function->parent)
                if (function == above)
                        return true;
        return false;
}

char *topology_path(const Function *above, const Function *function) {
        g_autoptr(GString) path = g_string_new(NULL);

        for (;; function = function->parent) {
                char address[PCI_ADDRESS_STRING_MAX];

                g_string_prepend(path, pci_address_format(function_address(function), address));
                if (function == above || !function->parent)
                        return g_string_free(g_steal_pointer(&path), FALSE);
                g_string_prepend(path, " > ");
        }
}

bool topology_is_bridge(const Function *function) {
        return function->facts.class_code >> 8 == CLASS_PCI_BRIDGE;
}

const Function *topology_still_bound(const Function *function) {
        g_autoptr(GPtrArray) below = topology_below(function);

        g_ptr_array_add(below, (gpointer) function);
        for (guint i = 0; i < below->len; i++) {
                const Function *one = below->pdata[i];

                if (one->facts.driver[0] != '\0' && !topology_is_bridge(one))
                        return one;
        }
        return NULL;
}

const Function *topology_slot_owner(const Function *function) {
        if (function->pf && !function->facts.s390)
                function = function->pf;
        while (function && !function->slot)
                function = function->parent;
        return function;
}
