/* check-time.c: how long the rule behind `Check` takes by itself, whatever else there is.
 *
 * check-time PFS VFS OTHERS ROUNDS CALLS
 *
 * One inventory has PFS physical functions with VFS virtual functions each and OTHERS plain ones;
 * another has the first of the PFs with its VFs alone. For each round and each of the operations
 * below it prints a line of three numbers, nanoseconds for one question: about the PF in the small
 * inventory, about the same PF in the large one, and about each PF of the large one in turn, which
 * is seldom in the processor's caches. Each VF of each PF is in use, but for the last operation,
 * which is asked while none is. */
#include "policy/check.h"
#include "policy/number.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define COUNT_MAX 1000000

static const Operation operations[] = { OPERATION_SET_NUM_VFS, OPERATION_UNBIND, OPERATION_OPEN,
                                        OPERATION_SET_NUM_VFS };

/* So that no compiler leaves a question out. */
static unsigned long n_blockers;

static int64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static FunctionFacts make_facts(PciAddress address, const char *driver) {
        static int32_t group;

        return (FunctionFacts){
                .key = pci_address_key(address),
                .inode = 1,
                .iommu_group = group++,
                .numa_node = -1,
                .drivers_autoprobe = true,
                .driver = g_ref_string_new_intern(driver),
                .driver_override = g_ref_string_new_intern(""),
                .vendor_name = g_ref_string_new_intern(""),
                .device_name = g_ref_string_new_intern(""),
        };
}

/* Each in a domain of its own. */
static Function *add_pf(Inventory *inventory, uint32_t domain, unsigned n_vfs) {
        PciAddress address = { .domain = domain, .bus = 1 };
        FunctionFacts pf = make_facts(address, "igb");

        pf.has_sriov = true;
        pf.total_vfs = (uint16_t) n_vfs;
        pf.virtfns = g_array_new(FALSE, FALSE, sizeof(VirtfnLink));
        for (unsigned i = 0; i < n_vfs; i++) {
                FunctionFacts vf;

                address.bus = (uint8_t) (2 + i / 256);
                address.device = i / 8 % 32;
                address.function = i % 8;
                vf = make_facts(address, "vfio-pci");
                vf.has_physfn = true;
                vf.physfn = pf.key;
                g_array_append_val(pf.virtfns, ((VirtfnLink){ vf.key, i }));
                inventory_apply(inventory, &vf);
        }
        pf.n_virtfn_links = (uint16_t) n_vfs;
        return inventory_apply(inventory, &pf);
}

static void set_users(Inventory *inventory, const Function *pf, bool in_use) {
        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++) {
                GPtrArray *users = in_use ? user_list_new() : NULL;
                User user = { .pid = 4711 + i,
                              .uid = 64055,
                              .command = (char *) "qemu-system-x86_64 -name guest",
                              .unit = (char *) "machine-qemu.scope",
                              .machine = (char *) "guest" };

                if (users)
                        g_ptr_array_add(users, user_copy(&user));
                inventory_set_users(inventory, pf->vfs->pdata[i], users);
        }
}

/* Asks about `pfs` in turn, `calls` times. Returns nanoseconds for each question. */
static int64_t ask(const Inventory *inventory, const GPtrArray *pfs, Operation operation,
                   unsigned calls) {
        int64_t start = now();

        g_assert(pfs->len > 0);
        for (unsigned i = 0; i < calls; i++) {
                g_autoptr(Verdict) verdict =
                        check(inventory, pfs->pdata[i % pfs->len], operation, 0);

                n_blockers += verdict->blockers->len;
        }
        return (now() - start) / MAX(calls, 1U);
}

static void run_round(Inventory *small, Inventory *large, const GPtrArray *one,
                      const GPtrArray *same, const GPtrArray *all, unsigned calls) {
        for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++) {
                bool in_use = i + 1 < G_N_ELEMENTS(operations);
                int64_t a, b, c;

                set_users(small, one->pdata[0], in_use);
                for (guint j = 0; j < all->len; j++)
                        set_users(large, all->pdata[j], in_use);
                a = ask(small, one, operations[i], calls);
                b = ask(large, same, operations[i], calls);
                c = ask(large, all, operations[i], calls);
                printf("%" PRIi64 " %" PRIi64 " %" PRIi64 "\n", a, b, c);
        }
}

int main(int argc, char **argv) {
        uint64_t n[5];

        for (int i = 0; i < 5; i++)
                if (argc != 6 || number_parse(argv[i + 1], 10, COUNT_MAX, &n[i]) < 0 ||
                    (n[i] == 0 && i != 2)) {
                        fprintf(stderr, "check-time: wrong arguments\n");
                        return EXIT_FAILURE;
                }

        g_autoptr(Inventory) small = inventory_new();
        g_autoptr(Inventory) large = inventory_new();
        g_autoptr(GPtrArray) one = g_ptr_array_new();
        g_autoptr(GPtrArray) same = g_ptr_array_new();
        g_autoptr(GPtrArray) all = g_ptr_array_new();

        g_ptr_array_add(one, add_pf(small, 0, (unsigned) n[1]));
        for (uint64_t i = 0; i < n[0]; i++)
                g_ptr_array_add(all, add_pf(large, (uint32_t) i, (unsigned) n[1]));
        g_ptr_array_add(same, all->pdata[0]);
        for (uint64_t i = 0; i < n[2]; i++) {
                FunctionFacts facts =
                        make_facts((PciAddress){ .domain = (uint32_t) (n[0] + i) }, "");

                inventory_apply(large, &facts);
        }
        for (uint64_t i = 0; i < n[3]; i++)
                run_round(small, large, one, same, all, (unsigned) n[4]);
        return n_blockers > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
