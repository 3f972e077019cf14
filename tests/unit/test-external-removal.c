#include "policy/external-removal.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

/* A PF with two VFs; MATE sits in the same slot and has a VF of its own; OTHER is elsewhere. */
#define PF       "0000:01:00.0"
#define VF0      "0000:01:10.0"
#define VF1      "0000:01:10.2"
#define MATE     "0000:01:00.1"
#define MATEVF   "0000:01:10.1"
#define OTHER    "0000:02:00.0"

#define PORT     "/devices/pci0000:00/0000:00:02.0"
#define POWER(n) "/bus/pci/slots/" n "/power"

static Inventory *world;

static void add(FunctionFacts facts, const char *driver) {
        apply(world, facts_driver(facts, driver));
}

static void set_up(void) {
        world = inventory_new();
        add(facts_pf(PF, VFS(VF0, VF1)), "igb");
        add(facts_vf(VF0, PF), "vfio-pci");
        add(facts_vf(VF1, PF), "vfio-pci");
        add(facts_pf(MATE, VFS(MATEVF)), "igb");
        add(facts_vf(MATEVF, MATE), "vfio-pci");
        add(facts_plain(OTHER), "vfio-pci");
}

static void tear_down(void) {
        inventory_free(world);
}

TestSuite(outside, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        return inventory_get(world, key_of(address));
}

static void use(const char *address) {
        use_by(world, get(address), (User){ 0 });
}

static void take_driver(const char *address) {
        Function *function = get(address);

        g_ref_string_release(function->facts.driver);
        function->facts.driver = g_ref_string_new_intern("");
}

Test(outside, files) {
        static const struct {
                const char *link;
                Operation operation;
                const char *path;
        } table[] = {
                { "/sys/bus/pci/drivers/vfio-pci/unbind", OPERATION_UNBIND,
                  "/bus/pci/drivers/vfio-pci/unbind" },
                { "/host/sys/bus/pci/slots/00000103/power", OPERATION_POWER_OFF,
                  "/bus/pci/slots/00000103/power" },
                { "/sys" PORT "/" PF "/remove", OPERATION_REMOVE, PORT "/" PF "/remove" },
                { "/sys" PORT "/" PF "/recover", OPERATION_REMOVE, PORT "/" PF "/recover" },
                { PORT "/" PF "/sriov_numvfs", OPERATION_SET_NUM_VFS, PORT "/" PF "/sriov_numvfs" },
                { "/sys/bus/pci/drivers/vfio-pci/bind", _OPERATION_INVALID, NULL },
                { "/sys/bus/pci/slots/1/address", _OPERATION_INVALID, NULL },
                { "/sys" PORT "/" PF "/reset", _OPERATION_INVALID, NULL },
                { "/sys" PORT "/" PF "/power/control", _OPERATION_INVALID, NULL },
                { "/sys/bus/pci/rescan", _OPERATION_INVALID, NULL },
                { "/dev/vfio/1", _OPERATION_INVALID, NULL },
                { "socket:[1]", _OPERATION_INVALID, NULL },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
                const char *path = external_removal_path(table[i].link);
                Operation found = path ? external_removal_file_operation(path) : _OPERATION_INVALID;

                cr_assert_eq(found, table[i].operation, "%s: %d", table[i].link, found);
                if (table[i].path)
                        cr_assert_str_eq(path, table[i].path);
        }
}

static const RunningOperation ours = { .name = "unbind" };
static const RemovalOperation theirs = { .running = { .name = "unbind" } };

Test(outside, suspects) {
        Function *vf = get(VF0), *pf = get(PF);

        cr_assert_not(external_removal_suspects(vf), "neither held nor without a driver");
        take_driver(VF0);
        cr_assert_not(external_removal_suspects(vf), "free");
        use(VF0);
        cr_assert(external_removal_suspects(vf) && external_removal_is_stuck(vf));
        vf->operation = &ours;
        cr_assert_not(external_removal_suspects(vf), "we do it");
        cr_assert(external_removal_is_stuck(vf));
        vf->operation = NULL;
        pf->operation = &ours;
        cr_assert_not(external_removal_suspects(vf), "we do it to the PF");
        pf->operation = NULL;
        vf->outside = &theirs;
        cr_assert_not(external_removal_suspects(vf), "known");
        use(OTHER);
        cr_assert_not(external_removal_suspects(get(OTHER)), "held and bound");
}

typedef struct Row {
        const char *stuck;
        bool pf_unbound;
        Operation operation; /* of the one writer ... */
        const char *path;    /* ... to this; NULL: there is none */
        Operation found;
        uint32_t pid;
        const char *subject;
        const char *affected; /* in order */
} Row;

#define WHOLE_SLOT(first, second) first " " second " " PF " " MATEVF " " MATE
#define SLOT                      WHOLE_SLOT(VF1, VF0)

static const Row rows[] = {
        /* Nobody writes. */
        { VF1, false, 0, NULL, OPERATION_POWER_OFF, 0, PF, SLOT },
        { MATE, false, 0, NULL, OPERATION_POWER_OFF, 0, MATE,
          MATE " " MATEVF " " VF0 " " VF1 " " PF },
        { OTHER, false, 0, NULL, OPERATION_POWER_OFF, 0, OTHER, OTHER },
        { VF1, true, 0, NULL, OPERATION_UNBIND, 0, PF, VF1 " " VF0 },
        /* An unbind is of the VF, unless the PF has no driver either. */
        { VF1, false, OPERATION_UNBIND, "/bus/pci/drivers/vfio-pci/unbind", OPERATION_UNBIND, 7,
          VF1, VF1 },
        { VF1, true, OPERATION_UNBIND, "/bus/pci/drivers/igb/unbind", OPERATION_UNBIND, 7, PF,
          VF1 " " VF0 },
        { OTHER, false, OPERATION_UNBIND, "/bus/pci/drivers/vfio-pci/unbind", OPERATION_UNBIND, 7,
          OTHER, OTHER },
        /* The count of its PF, and of another. */
        { VF1, false, OPERATION_SET_NUM_VFS, PORT "/" PF "/sriov_numvfs", OPERATION_SET_NUM_VFS, 7,
          PF, VF1 " " VF0 },
        { VF1, false, OPERATION_SET_NUM_VFS, PORT "/" MATE "/sriov_numvfs", OPERATION_POWER_OFF, 0,
          PF, SLOT },
        { OTHER, false, OPERATION_SET_NUM_VFS, PORT "/" PF "/sriov_numvfs", OPERATION_POWER_OFF, 0,
          OTHER, OTHER },
        /* `remove` of itself, of its PF, of the port above, of another port with the same
           beginning. */
        { OTHER, false, OPERATION_REMOVE, PORT "/" OTHER "/remove", OPERATION_REMOVE, 7, OTHER,
          OTHER },
        { VF1, false, OPERATION_REMOVE, PORT "/" PF "/remove", OPERATION_REMOVE, 7, PF,
          VF1 " " VF0 " " PF },
        { OTHER, false, OPERATION_REMOVE, PORT "/" OTHER "/recover", OPERATION_REMOVE, 7, OTHER,
          OTHER },
        { VF1, false, OPERATION_REMOVE, PORT "/" PF "/recover", OPERATION_REMOVE, 7, PF,
          VF1 " " VF0 " " PF },
        { VF1, false, OPERATION_REMOVE, PORT "/remove", OPERATION_REMOVE, 7, PF, SLOT },
        { VF1, false, OPERATION_REMOVE, PORT "0/remove", OPERATION_POWER_OFF, 0, PF, SLOT },
        { VF1, false, OPERATION_REMOVE, "/devices/pci0000:00/0000:00:02/remove",
          OPERATION_POWER_OFF, 0, PF, SLOT },
        { VF1, false, OPERATION_REMOVE, PORT "/" OTHER "/remove", OPERATION_POWER_OFF, 0, PF,
          SLOT },
        /* The power of its slot, and of another. */
        { VF1, false, OPERATION_POWER_OFF, POWER("1"), OPERATION_POWER_OFF, 7, PF, SLOT },
        { VF1, false, OPERATION_POWER_OFF, POWER("11"), OPERATION_POWER_OFF, 0, PF, SLOT },
};

static void free_writer(gpointer writer) {
        removal_writer_free(writer);
}

static void add_writer(GPtrArray *writers, uint32_t pid, Operation operation, const char *path) {
        RemovalWriter *writer = g_new(RemovalWriter, 1);

        *writer = (RemovalWriter){ pid, operation, g_strdup(path) };
        g_ptr_array_add(writers, writer);
}

static RemovalFinding judge(Function *stuck, const GPtrArray *writers) {
        char address[PCI_ADDRESS_STRING_MAX];
        g_autofree char *itself =
                g_strconcat(PORT "/", pci_address_format(function_address(stuck), address), NULL);

        return external_removal_judge(stuck,
                                      &(RemovalPlace){ .function = itself,
                                                       .pf = stuck->pf ? PORT "/" PF : NULL,
                                                       .power = POWER("1") },
                                      writers);
}

Test(outside, who_and_how_far) {
        for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
                const Row *row = &rows[i];
                g_autoptr(GPtrArray) writers = g_ptr_array_new_with_free_func(free_writer);

                if (i > 0) {
                        tear_down();
                        set_up();
                }
                use(row->stuck);
                take_driver(row->stuck);
                if (row->pf_unbound)
                        take_driver(PF);
                if (row->path)
                        add_writer(writers, 7, row->operation, row->path);

                RemovalFinding found = judge(get(row->stuck), writers);
                g_autoptr(GPtrArray) affected =
                        external_removal_affected(world, get(row->stuck), &found);
                g_autofree char *text = addresses(affected);

                cr_expect_eq(found.operation, row->found, "row %u: %d", i, found.operation);
                cr_expect_eq(found.pid, row->pid, "row %u: %u", i, found.pid);
                cr_expect_eq(found.subject, get(row->subject), "row %u", i);
                cr_expect_str_eq(text, row->affected, "row %u: %s", i, text);
        }
}

Test(outside, the_file_that_names_it_beats_an_unbind) {
        g_autoptr(GPtrArray) writers = g_ptr_array_new_with_free_func(free_writer);

        use(VF1);
        take_driver(VF1);
        add_writer(writers, 3, OPERATION_UNBIND, "/bus/pci/drivers/vfio-pci/unbind");
        add_writer(writers, 4, OPERATION_REMOVE, PORT "/" PF "/remove");
        cr_assert_eq(judge(get(VF1), writers).pid, 4);
}

Test(outside, each_function_of_s390_has_a_slot_of_its_own) {
        g_autoptr(GPtrArray) writers = g_ptr_array_new();
        Function *vf = get(VF1);

        use(VF1);
        take_driver(VF1);
        vf->facts.s390 = true;
        RemovalFinding found = judge(vf, writers);
        g_autoptr(GPtrArray) affected = external_removal_affected(world, vf, &found);

        cr_assert_eq(found.subject, vf);
        cr_assert_eq(affected->len, 1);
}

/* The kernel guard's word counts more than who is found in the middle of a write. */
Test(outside, the_remover_is_known_exactly) {
        g_autoptr(GPtrArray) writers = g_ptr_array_new_with_free_func(free_writer);
        RemovalPlace place = { .function = PORT "/" VF1, .pf = PORT "/" PF, .remover = 9 };
        RemovalFinding finding;

        use(VF1);
        take_driver(VF1);
        finding = external_removal_judge(get(VF1), &place, writers);
        cr_assert_eq(finding.pid, 9);
        cr_assert_eq(finding.operation, OPERATION_UNBIND);
        cr_assert_eq(finding.subject, get(VF1));
        cr_assert(!finding.takes_slot);
        add_writer(writers, 7, OPERATION_SET_NUM_VFS, PORT "/" PF "/sriov_numvfs");
        finding = external_removal_judge(get(VF1), &place, writers);
        cr_assert_eq(finding.pid, 9);
        cr_assert_eq(finding.operation, OPERATION_SET_NUM_VFS);
        cr_assert_eq(finding.subject, get(PF));
}

/* Another process unbinds something at the same time. */
Test(outside, the_module_of_the_driver_leaves) {
        g_autoptr(GPtrArray) writers = g_ptr_array_new_with_free_func(free_writer);
        RemovalPlace place = { .function = PORT "/" VF1, .pf = PORT "/" PF };
        RemovalFinding finding;

        use(VF1);
        take_driver(VF1);
        take_driver(PF);
        add_writer(writers, 7, OPERATION_UNBIND, "/bus/pci/drivers/nvme/unbind");
        add_writer(writers, 8, OPERATION_UNBIND, EXTERNAL_REMOVAL_OF_MODULE);
        finding = external_removal_judge(get(VF1), &place, writers);
        cr_assert_eq(finding.pid, 7);
        cr_assert_null(finding.driver);
        place.driver_leaves = true;
        finding = external_removal_judge(get(VF1), &place, writers);
        cr_assert_eq(finding.pid, 8);
        cr_assert_str_eq(finding.driver, "igb");
        cr_assert_eq(finding.subject, get(PF));
        cr_assert(finding.takes_vfs && !finding.takes_subject && !finding.takes_slot);
}
