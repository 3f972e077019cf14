/* The functions for a whole device: configuration space, reset and interrupts. */
#include "lib/connection.h"
#include "lib/vfwarden-io.h"

#include <errno.h>

_public_ int vfwarden_io_store_config(VfwardenIo *io, uint64_t offset, const void *data,
                                      size_t length) {
        return connection_access(io, true, VFIO_USER_REGION_CONFIG, offset, (void *) data, length);
}

_public_ int vfwarden_io_reset(VfwardenIo *io) {
        const Request request = { .command = VFIO_USER_DEVICE_RESET };

        return connection_order(io, &request);
}

_public_ int vfwarden_io_irqs(VfwardenIo *io, unsigned kind) {
        VfioUserIrqInfo info = { .argsz = sizeof(info), .index = kind };
        const Request request = {
                .command = VFIO_USER_GET_IRQ_INFO,
                .fixed = &info,
                .fixed_size = sizeof(info),
        };
        int r;

        if (kind >= VFIO_USER_N_DEVICE_IRQS)
                return -EINVAL;
        r = connection_ask(io, &request, &info, sizeof(info), sizeof(info));
        return r < 0 ? r : info.count > UINT16_MAX ? connection_give_up(io) : (int) info.count;
}

static int set_irqs(VfwardenIo *io, uint32_t flags, unsigned kind, unsigned start, unsigned n,
                    const int *eventfds) {
        const VfioUserIrqSet set = {
                .argsz = sizeof(set),
                .flags = flags,
                .index = kind,
                .start = start,
                .count = n,
        };
        const Request request = {
                .command = VFIO_USER_SET_IRQS,
                .fixed = &set,
                .fixed_size = sizeof(set),
                .fds = eventfds,
                .n_fds = eventfds ? n : 0,
        };

        return connection_order(io, &request);
}

_public_ int vfwarden_io_set_irqs(VfwardenIo *io, unsigned kind, unsigned start, unsigned n,
                                  const int *eventfds) {
        unsigned part;
        int r = 0;

        if (kind >= VFIO_USER_N_DEVICE_IRQS || n > UINT16_MAX || start > UINT16_MAX)
                return -EINVAL;
        if (n == 0)
                return set_irqs(io, VFIO_USER_IRQ_SET_NONE | VFIO_USER_IRQ_SET_TRIGGER, kind, start,
                                0, NULL);
        for (unsigned i = 0; r >= 0 && i < n; i += part) {
                part = n - i < REQUEST_FDS_MAX ? n - i : REQUEST_FDS_MAX;
                r = set_irqs(io, VFIO_USER_IRQ_SET_EVENTFD | VFIO_USER_IRQ_SET_TRIGGER, kind,
                             start + i, part, eventfds ? eventfds + i : NULL);
        }
        return r;
}

_public_ int vfwarden_io_unmask_intx(VfwardenIo *io) {
        return set_irqs(io, VFIO_USER_IRQ_SET_NONE | VFIO_USER_IRQ_SET_UNMASK, VFIO_USER_IRQ_INTX,
                        0, 1, NULL);
}
