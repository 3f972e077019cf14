#include "daemon/receipt.h"

#include "daemon/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>

struct Receipt {
        FdStore *store;
        int fd;
        char *name; /* in systemd's store */
        sd_event_source *source;
        ReceiptClosed *closed;
        void *context;
};

static int on_hang_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const Receipt *receipt = userdata;

        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        receipt->closed(receipt->context);
        return 0;
}

/* Takes `*fd` over on success. */
static int make(sd_event *event, FdStore *store, uint64_t number, int *fd, ReceiptClosed *closed,
                void *context, Receipt **ret) {
        Receipt *receipt = g_new0(Receipt, 1);
        int r;

        receipt->store = store;
        receipt->fd = -1;
        receipt->name = g_strdup_printf("lease-%" PRIu64, number);
        receipt->closed = closed;
        receipt->context = context;
        /* No events asked for: what is written is never read, and EPOLLHUP is always told. */
        r = sd_event_add_io(event, &receipt->source, *fd, 0, on_hang_up, receipt);
        if (r < 0) {
                receipt_free(receipt);
                return r;
        }
        receipt->fd = take_fd(fd);
        *ret = receipt;
        return 0;
}

int receipt_new(sd_event *event, FdStore *store, uint64_t number, ReceiptClosed *closed,
                void *context, int *ret_writing, Receipt **ret) {
        _cleanup_(closep) int reading = -1, writing = -1;
        Receipt *receipt;
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        reading = fds[0];
        writing = fds[1];
        r = make(event, store, number, &reading, closed, context, &receipt);
        if (r < 0)
                return r;
        r = fd_store_keep(store, receipt->name, receipt->fd);
        if (r < 0) {
                receipt_free(receipt);
                return r;
        }
        *ret = receipt;
        *ret_writing = take_fd(&writing);
        return 0;
}

Receipt *receipt_adopt(sd_event *event, FdStore *store, uint64_t number, ReceiptClosed *closed,
                       void *context) {
        g_autofree char *name = g_strdup_printf("lease-%" PRIu64, number);
        _cleanup_(closep) int fd = fd_store_take(store, name);
        struct pollfd poll_fd = { .fd = fd };
        Receipt *receipt = NULL;

        if (fd < 0 || poll(&poll_fd, 1, 0) > 0 ||
            make(event, store, number, &fd, closed, context, &receipt) < 0)
                fd_store_drop(store, name);
        return receipt;
}

Receipt *receipt_free(Receipt *receipt) {
        if (!receipt)
                return NULL;
        sd_event_source_disable_unref(receipt->source);
        closep(&receipt->fd);
        g_free(receipt->name);
        g_free(receipt);
        return NULL;
}

Receipt *receipt_drop(Receipt *receipt) {
        if (receipt)
                fd_store_drop(receipt->store, receipt->name);
        return receipt_free(receipt);
}
