#include "policy/irq-set.h"

#include <errno.h>

#define DATA   (VFIO_USER_IRQ_SET_NONE | VFIO_USER_IRQ_SET_BOOL | VFIO_USER_IRQ_SET_EVENTFD)
#define ACTION (VFIO_USER_IRQ_SET_MASK | VFIO_USER_IRQ_SET_UNMASK | VFIO_USER_IRQ_SET_TRIGGER)

static bool is_one_bit(uint32_t value) {
        return value != 0 && (value & (value - 1)) == 0;
}

/* What comes with the order fits what it says. */
static bool carries(const VfioUserIrqSet *set, size_t data_size, unsigned n_fds) {
        switch (set->flags & DATA) {
        case VFIO_USER_IRQ_SET_NONE:
                return data_size == 0 && n_fds == 0;
        case VFIO_USER_IRQ_SET_BOOL:
                return data_size == set->count && n_fds == 0;
        case VFIO_USER_IRQ_SET_EVENTFD:
                /* "If no file descriptors are provided, this de-assigns". */
                return data_size == 0 && (n_fds == 0 || n_fds == set->count);
        default:
                return false;
        }
}

/* Only a pin can be masked, and it is one. That an eventfd masks it the kernel cannot do
 * (vfio_pci_set_intx_mask()). */
static bool may_mask(const IrqLine *line, const VfioUserIrqSet *set) {
        return line->flags & VFIO_USER_IRQ_MASKABLE && set->count == 1 &&
               (set->flags & (VFIO_USER_IRQ_SET_EVENTFD | VFIO_USER_IRQ_SET_MASK)) !=
                       (VFIO_USER_IRQ_SET_EVENTFD | VFIO_USER_IRQ_SET_MASK);
}

int irq_set_check(const IrqLine *line, const VfioUserIrqSet *set, size_t data_size, unsigned n_fds,
                  IrqAction *ret) {
        bool eventfds = set->flags & VFIO_USER_IRQ_SET_EVENTFD;
        bool triggers = set->flags & VFIO_USER_IRQ_SET_TRIGGER;

        if (set->flags & ~(DATA | ACTION) || !is_one_bit(set->flags & DATA) ||
            !is_one_bit(set->flags & ACTION) || !carries(set, data_size, n_fds))
                return -EINVAL;
        /* Also where there are no interrupts: clients do so at their end. */
        if (set->count == 0) {
                if (set->flags != (VFIO_USER_IRQ_SET_NONE | VFIO_USER_IRQ_SET_TRIGGER) ||
                    set->start != 0)
                        return -EINVAL;
                *ret = IRQ_DISABLE;
                return 0;
        }
        if (set->start >= line->count || set->count > line->count - set->start ||
            (!triggers && !may_mask(line, set)))
                return -EINVAL;
        if (eventfds)
                *ret = n_fds > 0 ? IRQ_ASSIGN : IRQ_RELEASE;
        else
                *ret = triggers ? IRQ_TRIGGER : IRQ_MASK;
        return 0;
}
