/* The interrupts of an emulated device. No device is there to signal them: the client does, by the
 * action "trigger", as it may do to VFIO's for a test. The rest follows vfio_pci_intrs.c. */
#include "daemon/io/backend/backend.h"
#include "daemon/io/util.h"

#include <errno.h>

#define NONE_ENABLED VFIO_USER_N_IRQS

static const IrqLine lines[VFIO_USER_N_DEVICE_IRQS] = {
        [VFIO_USER_IRQ_INTX] = { VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_MASKABLE |
                                         VFIO_USER_IRQ_AUTOMASKED,
                                 1 },
        [VFIO_USER_IRQ_MSI] = { VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_NORESIZE, 4 },
        [VFIO_USER_IRQ_MSIX] = { VFIO_USER_IRQ_EVENTFD, 8 },
        [VFIO_USER_IRQ_ERR] = { VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_NORESIZE, 1 },
};

/* Where the eventfds of an index are. */
static int *fds_of(IoBackend *backend, uint32_t index) {
        unsigned first = 0;

        for (uint32_t i = 0; i < index; i++)
                first += lines[i].count;
        return backend->emulated.fds + first;
}

/* The write waits if the client has made its eventfd blocking and full: its own device hangs. */
static void signal_eventfd(int fd) {
        static const uint64_t one = 1;

        if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
                return; /* a counter that is full has been signalled */
}

static void trigger(IoBackend *backend, const VfioUserIrqSet *set, const uint8_t *bools) {
        EmulatedIrqs *irqs = &backend->emulated;

        for (uint32_t i = 0; i < set->count; i++) {
                if (set->flags & VFIO_USER_IRQ_SET_BOOL && !bools[i])
                        continue;
                if (set->index == VFIO_USER_IRQ_INTX && irqs->masked)
                        irqs->pending = true;
                else
                        signal_eventfd(fds_of(backend, set->index)[set->start + i]);
        }
}

static void mask(IoBackend *backend, const VfioUserIrqSet *set, const uint8_t *bools) {
        EmulatedIrqs *irqs = &backend->emulated;

        if (set->flags & VFIO_USER_IRQ_SET_BOOL && !bools[0])
                return;
        irqs->masked = set->flags & VFIO_USER_IRQ_SET_MASK;
        if (irqs->masked || !irqs->pending)
                return;
        irqs->pending = false;
        signal_eventfd(fds_of(backend, set->index)[0]);
}

static void assign(IoBackend *backend, const VfioUserIrqSet *set, IrqAction action, int *fds) {
        int *kept = fds_of(backend, set->index) + set->start;

        for (uint32_t i = 0; i < set->count; i++) {
                closep(&kept[i]);
                kept[i] = action == IRQ_ASSIGN ? take_fd(&fds[i]) : -1;
        }
}

static void disable(IoBackend *backend, uint32_t index) {
        EmulatedIrqs *irqs = &backend->emulated;

        for (uint32_t i = 0; i < lines[index].count; i++)
                closep(&fds_of(backend, index)[i]);
        if (irqs->enabled == index)
                irqs->enabled = NONE_ENABLED;
        if (index == VFIO_USER_IRQ_INTX)
                irqs->masked = irqs->pending = false;
}

static int emulated_set_irqs(IoBackend *backend, const VfioUserIrqSet *set, IrqAction action,
                             const uint8_t *bools, int *fds) {
        EmulatedIrqs *irqs = &backend->emulated;
        bool exclusive = set->index != VFIO_USER_IRQ_ERR;
        bool assigns = action == IRQ_ASSIGN || action == IRQ_RELEASE;

        if (action == IRQ_DISABLE) {
                disable(backend, set->index);
                return 0;
        }
        if (exclusive && irqs->enabled != set->index &&
            (irqs->enabled != NONE_ENABLED || !assigns || set->flags & VFIO_USER_IRQ_SET_UNMASK))
                return -EINVAL;
        if (assigns && exclusive)
                irqs->enabled = set->index;
        if (action == IRQ_TRIGGER)
                trigger(backend, set, bools);
        else if (action == IRQ_MASK)
                mask(backend, set, bools);
        /* Nothing here waits for an eventfd that unmasks the pin. */
        else if (set->flags & VFIO_USER_IRQ_SET_TRIGGER)
                assign(backend, set, action, fds);
        return 0;
}

void io_backend_emulated_irqs_init(IoBackend *backend) {
        for (unsigned i = 0; i < EMULATED_IRQS_MAX; i++)
                backend->emulated.fds[i] = -1;
        backend->emulated.enabled = NONE_ENABLED;
        for (unsigned i = 0; i < VFIO_USER_N_DEVICE_IRQS; i++)
                backend->irqs[i] = lines[i];
        backend->set_irqs = emulated_set_irqs;
}

void io_backend_emulated_irqs_close(IoBackend *backend) {
        for (unsigned i = 0; i < EMULATED_IRQS_MAX; i++)
                closep(&backend->emulated.fds[i]);
}
