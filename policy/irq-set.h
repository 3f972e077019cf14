/* irq-set.h: which orders about interrupts a client may give (DEVICE_SET_IRQS).
 *
 * Owns nothing. An order that linux/vfio.h does not define for a PCI function is refused here, so
 * that the kernel only sees those that it was made for; the descriptors are looked at elsewhere. */
#pragma once

#include "policy/vfio-user.h"

#include <stdbool.h>

/* MSI-X has not more (PCI Express 6.0, 7.7.2.2). */
#define IRQ_COUNT_MAX 2048U

/* One index, as GET_IRQ_INFO describes it. */
typedef struct IrqLine {
        uint32_t flags; /* VFIO_USER_IRQ_* */
        uint32_t count; /* at most IRQ_COUNT_MAX; 0: there are none */
} IrqLine;

/* What an order does. */
typedef enum IrqAction {
        IRQ_DISABLE, /* all of the index */
        IRQ_ASSIGN,  /* `count` eventfds that came with it */
        IRQ_RELEASE, /* takes eventfds away: none came with it */
        IRQ_MASK,    /* masks or unmasks now */
        IRQ_TRIGGER, /* signals what is assigned, as the device would */
} IrqAction;

/* Judges an order for the index that `line` describes, with `data_size` bytes after the fixed part
 * and `n_fds` descriptors. Returns 0 or -EINVAL. */
int irq_set_check(const IrqLine *line, const VfioUserIrqSet *set, size_t data_size, unsigned n_fds,
                  IrqAction *ret);
