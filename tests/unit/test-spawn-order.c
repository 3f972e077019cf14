#include "policy/spawn-order.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define TOKEN "00112233-4455-4677-8899-aabbccddeeff"

Test(spawn_order, order) {
        const SpawnOrder good = { SPAWN_VERSION, SPAWN_IO };
        SpawnOrder order = { SPAWN_VERSION, 0 }, taken;

        cr_assert_eq(spawn_order_take(&good, sizeof(good), 1, &taken), 0);
        cr_assert_eq(taken.kind, SPAWN_IO);
        cr_assert_eq(spawn_order_take(&good, sizeof(good) - 1, 1, &taken), -EBADMSG);
        cr_assert_eq(spawn_order_take(&good, sizeof(good) + 1, 1, &taken), -EBADMSG);
        cr_assert_eq(spawn_order_take(&good, sizeof(good), 0, &taken), -EBADMSG);
        cr_assert_eq(spawn_order_take(&good, sizeof(good), 2, &taken), -EBADMSG);
        cr_assert_eq(spawn_order_take(&order, sizeof(order), 1, &taken), -EBADMSG);
        order.kind = _SPAWN_KIND_MAX;
        cr_assert_eq(spawn_order_take(&order, sizeof(order), 1, &taken), -EBADMSG);
        order = (SpawnOrder){ SPAWN_VERSION + 1, SPAWN_IO };
        cr_assert_eq(spawn_order_take(&order, sizeof(order), 1, &taken), -EBADMSG);
}

Test(spawn_order, started) {
        static const struct {
                SpawnStarted started;
                unsigned n_fds;
                int result;
        } cases[] = {
                { { 0, 4711 }, 1, 0 },          { { ENOENT, 0 }, 0, 0 },
                { { 0, 4711 }, 0, -EBADMSG },   { { 0, 4711 }, 2, -EBADMSG },
                { { 0, 0 }, 1, -EBADMSG },      { { 0, 1 }, 1, -EBADMSG },
                { { 0, -4711 }, 1, -EBADMSG },  { { -ENOENT, 0 }, 0, -EBADMSG },
                { { ENOENT, 0 }, 1, -EBADMSG },
        };
        SpawnStarted taken;

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                cr_expect_eq(spawn_started_take(&cases[i].started, sizeof(SpawnStarted),
                                                cases[i].n_fds, &taken),
                             cases[i].result, "case %zu", i);
        cr_expect_eq(spawn_started_take(&cases[0].started, sizeof(SpawnStarted) - 1, 1, &taken),
                     -EBADMSG);
}

Test(spawn_order, ended) {
        SpawnEnded ended = { 31 }, taken;

        cr_assert_eq(spawn_ended_take(&ended, sizeof(ended), 0, &taken), 0);
        cr_assert_eq(taken.killer, 31);
        cr_assert_eq(spawn_ended_take(&ended, sizeof(ended), 1, &taken), -EBADMSG);
        cr_assert_eq(spawn_ended_take(&ended, sizeof(ended) - 1, 0, &taken), -EBADMSG);
        ended.killer = -1;
        cr_assert_eq(spawn_ended_take(&ended, sizeof(ended), 0, &taken), -EBADMSG);
        ended.killer = 128;
        cr_assert_eq(spawn_ended_take(&ended, sizeof(ended), 0, &taken), -EBADMSG);
}

static PciKey some_key(void) {
        return pci_address_key((PciAddress){ .domain = 0x10000, .bus = 1, .device = 2 });
}

Test(spawn_order, vfio_task) {
        const struct {
                VfioTask task;
                int result;
        } cases[] = {
                { { .kind = VFIO_TASK_GROUP, .number = 12 }, 0 },
                { { .kind = VFIO_TASK_CDEV, .number = 3 }, 0 },
                { { .kind = VFIO_TASK_CDEV, .number = 3, .iommufd = 1 }, 0 },
                { { .kind = VFIO_TASK_DEVICE, .number = 3, .key = some_key() }, 0 },
                { { .kind = VFIO_TASK_TOKEN, .key = some_key(), .token = { TOKEN } }, 0 },
                { { .kind = VFIO_TASK_DEVICE, .number = 3, .iommufd = 1, .key = some_key() }, 0 },
                { { .kind = VFIO_TASK_DEVICE, .container = 1, .key = some_key() }, 0 },
                { { .kind = VFIO_TASK_DEVICE, .container = 2, .key = some_key() }, -EBADMSG },
                { { .kind = VFIO_TASK_DEVICE, .container = 1, .iommufd = 1, .key = some_key() },
                  -EBADMSG },
                { { .kind = VFIO_TASK_GROUP, .container = 1 }, -EBADMSG },
                { { .kind = VFIO_TASK_TOKEN,
                    .container = 1,
                    .key = some_key(),
                    .token = { TOKEN } },
                  -EBADMSG },
                { { .kind = 0 }, -EBADMSG },
                { { .kind = _VFIO_TASK_MAX }, -EBADMSG },
                { { .kind = VFIO_TASK_GROUP, .number = UINT32_MAX }, -EBADMSG },
                { { .kind = VFIO_TASK_GROUP, .iommufd = 1 }, -EBADMSG },
                { { .kind = VFIO_TASK_CDEV, .iommufd = 2 }, -EBADMSG },
                { { .kind = VFIO_TASK_DEVICE, .key = UINT64_MAX }, -EBADMSG },
                { { .kind = VFIO_TASK_GROUP, .key = some_key() }, -EBADMSG },
                { { .kind = VFIO_TASK_DEVICE, .token = { TOKEN } }, -EBADMSG },
                { { .kind = VFIO_TASK_TOKEN }, -EBADMSG },
                { { .kind = VFIO_TASK_TOKEN, .token = { "00112233" } }, -EBADMSG },
                { { .kind = VFIO_TASK_TOKEN, .token = { "0 vf_token=5-4677-8899-aabbccddeeff-" } },
                  -EBADMSG },
                { { .kind = VFIO_TASK_GROUP, .zero = { 0, 1 } }, -EBADMSG },
        };
        VfioTask taken;

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                cr_expect_eq(vfio_task_take(&cases[i].task, sizeof(VfioTask), 0, &taken),
                             cases[i].result, "case %zu", i);
        cr_expect_eq(vfio_task_take(&cases[0].task, sizeof(VfioTask), 1, &taken), -EBADMSG);
        cr_expect_eq(vfio_task_take(&cases[0].task, sizeof(VfioTask) - 1, 0, &taken), -EBADMSG);
}

Test(spawn_order, vfio_answer) {
        VfioAnswer answer = { .step = "the device" }, taken;

        cr_assert_eq(vfio_answer_take(&answer, sizeof(answer), &taken), 0);
        cr_assert_eq(vfio_answer_take(&answer, sizeof(answer) - 1, &taken), -EBADMSG);
        answer.error = -EBUSY;
        cr_assert_eq(vfio_answer_take(&answer, sizeof(answer), &taken), -EBADMSG);
        answer.error = EBUSY;
        memset(answer.step, 'x', sizeof(answer.step));
        cr_assert_eq(vfio_answer_take(&answer, sizeof(answer), &taken), -EBADMSG);
}

Test(spawn_order, io_task) {
        IoTask task = { .single = 1, .emulated = 1, .driver = "vfio-pci" }, taken;

        cr_assert_eq(io_task_take(&task, sizeof(task), 1, &taken), 0);
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), -EBADMSG);
        cr_assert_eq(io_task_take(&task, sizeof(task) - 1, 1, &taken), -EBADMSG);
        task.single = 0;
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), 0);
        cr_assert_eq(io_task_take(&task, sizeof(task), 1, &taken), -EBADMSG);
        cr_assert_eq(io_task_take(&task, sizeof(task), 3, &taken), -EBADMSG);
        task.listens = 1;
        cr_assert_eq(io_task_take(&task, sizeof(task), 3, &taken), 0, "the client will connect");
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), -EBADMSG);
        cr_assert_eq(io_task_take(&task, sizeof(task), 4, &taken), -EBADMSG);
        task.single = 1;
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), -EBADMSG);
        cr_assert_eq(io_task_take(&task, sizeof(task), 3, &taken), -EBADMSG);
        task.single = task.listens = 0;
        task.emulated = 2;
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), -EBADMSG);
        task = (IoTask){ .driver = "vfio pci" };
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), -EBADMSG);
        task = (IoTask){ .driver = "a\0b" };
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), -EBADMSG);
        memset(task.driver, 'x', sizeof(task.driver));
        cr_assert_eq(io_task_take(&task, sizeof(task), 2, &taken), -EBADMSG);
}

/* A container comes with a real device alone, and DMA with a client alone. */
Test(spawn_order, io_task_dma) {
        static const struct {
                uint8_t single, emulated, listens, dma;
                unsigned n_fds;
                int result;
        } cases[] = {
                { 0, 0, 0, 1, 3, 0 },        { 0, 0, 1, 1, 4, 0 },
                { 0, 1, 0, 1, 2, 0 },        { 0, 1, 1, 1, 3, 0 },
                { 0, 0, 0, 1, 2, -EBADMSG }, { 0, 0, 1, 1, 3, -EBADMSG },
                { 0, 0, 0, 0, 3, -EBADMSG }, { 0, 1, 0, 1, 3, -EBADMSG },
                { 1, 0, 0, 1, 2, -EBADMSG }, { 1, 1, 0, 1, 1, -EBADMSG },
                { 0, 0, 0, 2, 3, -EBADMSG }, { 0, 0, 2, 0, 4, -EBADMSG },
        };
        IoTask taken;

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                const IoTask task = { .single = cases[i].single,
                                      .emulated = cases[i].emulated,
                                      .listens = cases[i].listens,
                                      .dma = cases[i].dma,
                                      .driver = "vfio-pci" };

                cr_expect_eq(io_task_take(&task, sizeof(task), cases[i].n_fds, &taken),
                             cases[i].result, "case %zu", i);
        }
}

Test(spawn_order, nodes) {
        static const struct {
                const char *name;
                bool iommufd;
                const char *node; /* NULL: refused */
        } cases[] = {
                { "12", false, "vfio/12" },
                { "devices/vfio3", true, "vfio/devices/vfio3" },
                { "devices/vfio0", false, "vfio/devices/vfio0" },
                { "2147483647", false, "vfio/2147483647" },
                { "12", true, NULL },
                { "2147483648", false, NULL },
                { "", false, NULL },
                { "vfio", false, NULL },
                { "devices/vfio", false, NULL },
                { "devices/vfio-1", false, NULL },
                { "devices/../../vda", false, NULL },
                { "../vda", false, NULL },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char node[VFIO_TASK_NODE_MAX];
                VfioTask task, taken;
                int r = vfio_task_from_node(cases[i].name, cases[i].iommufd, &task);

                cr_expect_eq(r, cases[i].node ? 0 : -EINVAL, "%s", cases[i].name);
                if (r < 0)
                        continue;
                cr_expect_eq(vfio_task_take(&task, sizeof(task), 0, &taken), 0);
                vfio_task_format_node(&taken, node);
                cr_expect_str_eq(node, cases[i].node);
        }
}
