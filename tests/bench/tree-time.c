/* tree-time.c: how long the rule behind `Check` takes for what is above a function in use, in a
 * tree of bridges six levels deep, whatever other trees there are.
 *
 * tree-time TREES BRANCHES ROUNDS CALLS
 *
 * A tree has a root port in a domain of its own, and each bridge BRANCHES functions below it, down
 * to the sixth level, of which the last function is in use. One inventory has TREES of these;
 * another has the first alone. For each round and each question below it prints a line of two
 * numbers, nanoseconds for one question: in the small inventory, and in the large one. Before the
 * first line it prints how many functions the two have. */
#include "policy/check.h"
#include "policy/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LEVELS       6
#define CLASS_BRIDGE 0x060400
#define COUNT_MAX    1000000

/* Bridges that have nobody below, too, have a question: the last but one of each level. */
typedef struct Tree {
        Function *levels[LEVELS]; /* from the root port to the function in use */
        Function *free;           /* a sibling of the last one */
        unsigned n;
} Tree;

static const struct {
        int level; /* negative: the free sibling */
        Operation operation;
} questions[] = {
        { 0, OPERATION_REMOVE }, { 2, OPERATION_RESET },   { 4, OPERATION_POWER_OFF },
        { 5, OPERATION_UNBIND }, { -1, OPERATION_REMOVE },
};

static unsigned long n_blockers;

static int64_t processor_nsec(void) {
        struct timespec t;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Each is a device of its own. */
static PciKey key_in(uint32_t domain, unsigned number) {
        return pci_address_key((PciAddress){ .domain = domain,
                                             .bus = (uint8_t) (number % 256),
                                             .device = (uint8_t) (number / 256) });
}

static Function *add(Inventory *inventory, uint32_t domain, Tree *tree, const Function *parent,
                     bool is_bridge) {
        FunctionFacts facts = {
                .key = key_in(domain, tree->n),
                .inode = 1,
                .iommu_group = (int32_t) (domain * 8192 + tree->n),
                .numa_node = -1,
                .drivers_autoprobe = true,
                .class_code = is_bridge ? CLASS_BRIDGE : 0x020000,
                .has_parent = parent,
                .parent = parent ? parent->facts.key : 0,
                .driver = g_ref_string_new_intern(is_bridge ? "pcieport" : "vfio-pci"),
                .driver_override = g_ref_string_new_intern(""),
                .vendor_name = g_ref_string_new_intern(""),
                .device_name = g_ref_string_new_intern(""),
        };

        tree->n++;
        return inventory_apply(inventory, &facts);
}

static void grow(Inventory *inventory, uint32_t domain, Tree *tree, const Function *parent,
                 unsigned level, unsigned branches) {
        for (unsigned i = 0; i < (level == 0 ? 1 : branches); i++) {
                Function *function = add(inventory, domain, tree, parent, level < LEVELS - 1);

                if (level < LEVELS - 1)
                        grow(inventory, domain, tree, function, level + 1, branches);
                else if (i + 1 < branches)
                        tree->free = function;
                tree->levels[level] = function;
        }
}

static Tree add_tree(Inventory *inventory, uint32_t domain, unsigned branches) {
        GPtrArray *users = user_list_new();
        User user = {
                .pid = 4711, .command = (char *) "qemu", .unit = (char *) "", .machine = (char *) ""
        };
        Tree tree = { 0 };

        grow(inventory, domain, &tree, NULL, 0, branches);
        g_ptr_array_add(users, user_copy(&user));
        inventory_set_users(inventory, tree.levels[LEVELS - 1], users);
        return tree;
}

static int64_t ask_about(const Inventory *inventory, const Tree *tree, unsigned question,
                         unsigned calls) {
        Function *function = questions[question].level < 0
                                     ? tree->free
                                     : tree->levels[questions[question].level];
        int64_t start = processor_nsec();

        for (unsigned i = 0; i < calls; i++) {
                g_autoptr(Verdict) verdict =
                        check(inventory, function, questions[question].operation, 0);

                n_blockers += verdict->blockers->len;
        }
        return (processor_nsec() - start) / MAX(calls, 1U);
}

int main(int argc, char **argv) {
        g_autoptr(Inventory) small = inventory_new(), large = inventory_new();
        uint64_t n[4];
        unsigned total = 0;
        Tree one, first = { 0 };

        for (int i = 0; i < 4; i++)
                if (argc != 5 || number_parse(argv[i + 1], 10, COUNT_MAX, &n[i]) < 0 || n[i] == 0 ||
                    (i == 1 && (n[i] < 2 || n[i] > 5))) {
                        fprintf(stderr, "tree-time: wrong arguments\n");
                        return EXIT_FAILURE;
                }
        one = add_tree(small, 0, (unsigned) n[1]);
        for (uint64_t i = 0; i < n[0]; i++) {
                Tree tree = add_tree(large, (uint32_t) i, (unsigned) n[1]);

                first = i == 0 ? tree : first;
                total += tree.n;
        }
        printf("%u %u\n", one.n, total);
        for (uint64_t round = 0; round < n[2]; round++)
                for (unsigned i = 0; i < G_N_ELEMENTS(questions); i++) {
                        int64_t alone = ask_about(small, &one, i, (unsigned) n[3]);
                        int64_t among = ask_about(large, &first, i, (unsigned) n[3]);

                        printf("%" PRIi64 " %" PRIi64 "\n", alone, among);
                }
        return n_blockers > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
