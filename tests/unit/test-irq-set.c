#include "policy/irq-set.h"

#include <criterion/criterion.h>
#include <errno.h>

enum {
        NONE = 1,
        BOOL = 2,
        EVENTFD = 4,
        MASK = 8,
        UNMASK = 16,
        TRIGGER = 32,
};

static const IrqLine pin = {
        VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_MASKABLE | VFIO_USER_IRQ_AUTOMASKED, 1
};
static const IrqLine vectors = { VFIO_USER_IRQ_EVENTFD, 5 };
static const IrqLine none = { 0, 0 };

typedef struct Case {
        const IrqLine *line;
        uint32_t flags, start, count;
        size_t data;
        unsigned fds;
        int expected; /* an IrqAction, or -EINVAL */
} Case;

static int judge(const Case *c) {
        VfioUserIrqSet set = { sizeof(set), c->flags, 0, c->start, c->count };
        IrqAction action = IRQ_TRIGGER;
        int r = irq_set_check(c->line, &set, c->data, c->fds, &action);

        return r < 0 ? r : (int) action;
}

Test(irq_set, orders) {
        static const Case cases[] = {
                { &pin, EVENTFD | TRIGGER, 0, 1, 0, 1, IRQ_ASSIGN },
                { &pin, EVENTFD | TRIGGER, 0, 1, 0, 0, IRQ_RELEASE },
                { &pin, EVENTFD | UNMASK, 0, 1, 0, 1, IRQ_ASSIGN },
                { &pin, EVENTFD | UNMASK, 0, 1, 0, 0, IRQ_RELEASE },
                { &pin, EVENTFD | MASK, 0, 1, 0, 1, -EINVAL },
                { &pin, EVENTFD | MASK, 0, 1, 0, 0, -EINVAL },
                { &pin, NONE | MASK, 0, 1, 0, 0, IRQ_MASK },
                { &pin, NONE | UNMASK, 0, 1, 0, 0, IRQ_MASK },
                { &pin, BOOL | MASK, 0, 1, 1, 0, IRQ_MASK },
                { &pin, BOOL | UNMASK, 0, 1, 1, 0, IRQ_MASK },
                { &pin, NONE | TRIGGER, 0, 1, 0, 0, IRQ_TRIGGER },
                { &pin, NONE | TRIGGER, 0, 0, 0, 0, IRQ_DISABLE },
                { &vectors, EVENTFD | TRIGGER, 0, 5, 0, 5, IRQ_ASSIGN },
                { &vectors, EVENTFD | TRIGGER, 4, 1, 0, 1, IRQ_ASSIGN },
                { &vectors, EVENTFD | TRIGGER, 1, 3, 0, 0, IRQ_RELEASE },
                { &vectors, BOOL | TRIGGER, 1, 3, 3, 0, IRQ_TRIGGER },
                { &vectors, NONE | TRIGGER, 0, 0, 0, 0, IRQ_DISABLE },
                /* There is nothing to mask a vector by. */
                { &vectors, NONE | MASK, 0, 1, 0, 0, -EINVAL },
                { &vectors, EVENTFD | UNMASK, 0, 1, 0, 1, -EINVAL },
                /* More or less came than was said. */
                { &vectors, EVENTFD | TRIGGER, 0, 5, 0, 4, -EINVAL },
                { &vectors, EVENTFD | TRIGGER, 0, 4, 0, 5, -EINVAL },
                { &vectors, EVENTFD | TRIGGER, 0, 2, 8, 2, -EINVAL },
                { &vectors, BOOL | TRIGGER, 0, 2, 1, 0, -EINVAL },
                { &vectors, BOOL | TRIGGER, 0, 2, 3, 0, -EINVAL },
                { &vectors, BOOL | TRIGGER, 0, 2, 2, 1, -EINVAL },
                { &vectors, NONE | TRIGGER, 0, 1, 0, 1, -EINVAL },
                { &vectors, NONE | TRIGGER, 0, 1, 1, 0, -EINVAL },
                { &vectors, NONE | TRIGGER, 0, 0, 0, 1, -EINVAL },
                /* Past the end. */
                { &vectors, NONE | TRIGGER, 0, 6, 0, 0, -EINVAL },
                { &vectors, NONE | TRIGGER, 5, 1, 0, 0, -EINVAL },
                { &vectors, NONE | TRIGGER, 4, 2, 0, 0, -EINVAL },
                { &vectors, NONE | TRIGGER, UINT32_MAX, 1, 0, 0, -EINVAL },
                { &vectors, NONE | TRIGGER, 1, UINT32_MAX, 0, 0, -EINVAL },
                { &vectors, EVENTFD | TRIGGER, UINT32_MAX, 2, 0, 0, -EINVAL },
                { &vectors, EVENTFD | TRIGGER, 0, UINT32_MAX, 0, 0, -EINVAL },
                { &pin, EVENTFD | UNMASK, 0, 2, 0, 0, -EINVAL },
                /* All is disabled by one order alone. */
                { &vectors, NONE | TRIGGER, 1, 0, 0, 0, -EINVAL },
                { &vectors, EVENTFD | TRIGGER, 0, 0, 0, 0, -EINVAL },
                { &vectors, BOOL | TRIGGER, 0, 0, 0, 0, -EINVAL },
                { &pin, NONE | MASK, 0, 0, 0, 0, -EINVAL },
                /* No interrupts: they can be disabled. */
                { &none, NONE | TRIGGER, 0, 0, 0, 0, IRQ_DISABLE },
                { &none, NONE | TRIGGER, 0, 1, 0, 0, -EINVAL },
                { &none, EVENTFD | TRIGGER, 0, 1, 0, 1, -EINVAL },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                cr_assert_eq(judge(&cases[i]), cases[i].expected, "%zu", i);
}

/* Of all flags there could be, those pass that are one kind of data and one action. */
Test(irq_set, flags) {
        for (uint32_t flags = 0; flags < 512; flags++) {
                Case c = { &pin, flags, 0, 1, flags & BOOL ? 1 : 0, flags & EVENTFD ? 1 : 0, 0 };
                uint32_t data = flags & 7, action = flags & 56;
                bool sound = flags < 64 && (data == NONE || data == BOOL || data == EVENTFD) &&
                             (action == MASK || action == UNMASK || action == TRIGGER) &&
                             flags != (EVENTFD | MASK);

                cr_assert_eq(judge(&c) >= 0, sound, "%#x", flags);
        }
}
