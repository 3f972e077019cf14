#include "daemon/io/irqs.h"

#include <errno.h>
#include <fcntl.h>

static const IrqLine request_line = {
        .flags = VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_NORESIZE,
        .count = 1,
};

static const IrqLine *get_line(const Device *device, uint32_t index) {
        return index == VFIO_USER_IRQ_REQUEST ? &request_line : device_irq_line(device, index);
}

int irqs_info(const Device *device, const VfioUserRequest *request, Reply *reply) {
        VfioUserIrqInfo info = { .argsz = sizeof(info), .index = request->irq.index };
        const IrqLine *line;

        if (info.index >= VFIO_USER_N_IRQS)
                return -EINVAL;
        line = get_line(device, info.index);
        info.flags = line->flags;
        info.count = line->count;
        reply_add(reply, &info, sizeof(info));
        return 0;
}

/* The kernel refuses other anonymous files (eventfd_ctx_fdget()), and so does a write. */
static int check_eventfds(const ClientFds *fds) {
        for (unsigned i = 0; i < fds->n; i++)
                if (!client_fd_is_anonymous(fds->fds[i]))
                        return -EINVAL;
        return 0;
}

static int set_request(Notifier *notifier, IrqAction action, ClientFds *fds) {
        if (action != IRQ_ASSIGN && action != IRQ_RELEASE && action != IRQ_DISABLE)
                return -EINVAL;
        /* So that one that is full needs no waiting; the client may undo it, see notifier.h. */
        if (action == IRQ_ASSIGN && fcntl(fds->fds[0], F_SETFL, O_NONBLOCK) < 0)
                return -EINVAL;
        notifier_set(notifier, client_fds_take_first(fds));
        return 0;
}

int irqs_set(Device *device, Notifier *notifier, const VfioUserRequest *request, ClientFds *fds) {
        const VfioUserIrqSet *set = &request->irq_set;
        IrqAction action;
        int r;

        if (set->index >= VFIO_USER_N_IRQS)
                return -EINVAL;
        r = irq_set_check(get_line(device, set->index), set, request->data_size, fds->n, &action);
        if (r >= 0)
                r = check_eventfds(fds);
        if (r < 0)
                return r;
        if (set->index == VFIO_USER_IRQ_REQUEST)
                return set_request(notifier, action, fds);
        return device_set_irqs(device, set, action, request->data, fds->fds);
}
