#include "daemon/io/single-requests.h"

#include "daemon/io/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void report(int control, const IoBackend *backend, IoReport *report) {
        snprintf(report->backend, sizeof(report->backend), "%s", backend->name);
        memcpy(report->bar_size, backend->target.bar_size, sizeof(report->bar_size));
        report->max_store_block = backend->target.max_store_block;
        report->relaxed = backend->target.relaxed;
        report->pieces = backend->pieces;
        if (send(control, report, sizeof(*report), MSG_NOSIGNAL) < 0)
                return; /* nobody waits for it any more */
}

static void load(IoBackend *backend, const IoOrder *order, IoReport *ret) {
        ret->violation =
                zpci_check_load(&backend->target, order->pcias, order->offset, order->length);
        ret->error = ret->violation != ZPCI_ALLOWED
                             ? -EINVAL
                             : backend->load(backend, order->pcias, order->offset, ret->data,
                                             order->length);
        if (ret->error >= 0)
                ret->length = order->length;
}

static void store(IoBackend *backend, const IoOrder *order, size_t size, IoReport *ret) {
        if (size < offsetof(IoOrder, data) + (size_t) order->length ||
            order->length > sizeof(order->data)) {
                ret->error = -EINVAL;
                ret->violation = ZPCI_BAD_LENGTH;
                return;
        }
        ret->violation =
                zpci_check_store(&backend->target, order->pcias, order->offset, order->length);
        ret->error = ret->violation != ZPCI_ALLOWED
                             ? -EINVAL
                             : backend->store(backend, order->pcias, order->offset, order->data,
                                              order->length);
}

/* Returns whether there may be another one. */
static bool serve_request(int control, IoBackend *backend) {
        IoReport done = { .error = -EINVAL };
        IoOrder order;
        ssize_t n;

        n = recv(control, &order, sizeof(order), 0);
        if (n < 0 && errno == EINTR)
                return true;
        if (n < (ssize_t) IO_ORDER_MIN)
                return false;
        done.kind = order.kind;
        if (n >= (ssize_t) offsetof(IoOrder, data)) {
                if (order.kind == IO_LOAD)
                        load(backend, &order, &done);
                else if (order.kind == IO_STORE)
                        store(backend, &order, (size_t) n, &done);
        }
        report(control, backend, &done);
        return true;
}

void single_requests_serve(int control, IoBackend *backend) {
        IoReport ready = { .kind = IO_READY };

        report(control, backend, &ready);
        while (serve_request(control, backend))
                ;
}
