#include "daemon/broker/delivery-pipe.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>

struct DeliveryPipe {
        FdStore *store;
        int fd;
        char *name; /* in systemd's store */
        sd_event_source *source;
        DeliveryPipeClosed *closed;
        void *context;
};

static int on_hang_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const DeliveryPipe *delivery_pipe = userdata;

        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        delivery_pipe->closed(delivery_pipe->context);
        return 0;
}

/* Takes `*fd` over on success. */
static int make(sd_event *event, FdStore *store, uint64_t number, int *fd,
                DeliveryPipeClosed *closed, void *context, DeliveryPipe **ret) {
        DeliveryPipe *delivery_pipe = g_new0(DeliveryPipe, 1);
        int r;

        delivery_pipe->store = store;
        delivery_pipe->fd = -1;
        delivery_pipe->name = g_strdup_printf("lease-%" PRIu64, number);
        delivery_pipe->closed = closed;
        delivery_pipe->context = context;
        /* No events asked for: what is written is never read, and EPOLLHUP is always told. */
        r = sd_event_add_io(event, &delivery_pipe->source, *fd, 0, on_hang_up, delivery_pipe);
        if (r < 0) {
                delivery_pipe_free(delivery_pipe);
                return r;
        }
        delivery_pipe->fd = take_fd(fd);
        *ret = delivery_pipe;
        return 0;
}

int delivery_pipe_new(sd_event *event, FdStore *store, uint64_t number, DeliveryPipeClosed *closed,
                      void *context, int *ret_writing, DeliveryPipe **ret) {
        _cleanup_(closep) int reading = -1, writing = -1;
        DeliveryPipe *delivery_pipe;
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        reading = fds[0];
        writing = fds[1];
        r = make(event, store, number, &reading, closed, context, &delivery_pipe);
        if (r < 0)
                return r;
        r = fd_store_keep(store, delivery_pipe->name, delivery_pipe->fd);
        if (r < 0) {
                delivery_pipe_free(delivery_pipe);
                return r;
        }
        *ret = delivery_pipe;
        *ret_writing = take_fd(&writing);
        return 0;
}

DeliveryPipe *delivery_pipe_adopt(sd_event *event, FdStore *store, uint64_t number,
                                  DeliveryPipeClosed *closed, void *context) {
        g_autofree char *name = g_strdup_printf("lease-%" PRIu64, number);
        _cleanup_(closep) int fd = fd_store_take(store, name);
        struct pollfd poll_fd = { .fd = fd };
        DeliveryPipe *delivery_pipe = NULL;

        if (fd < 0 || poll(&poll_fd, 1, 0) > 0 ||
            make(event, store, number, &fd, closed, context, &delivery_pipe) < 0)
                fd_store_drop(store, name);
        return delivery_pipe;
}

DeliveryPipe *delivery_pipe_free(DeliveryPipe *delivery_pipe) {
        if (!delivery_pipe)
                return NULL;
        sd_event_source_disable_unref(delivery_pipe->source);
        closep(&delivery_pipe->fd);
        g_free(delivery_pipe->name);
        g_free(delivery_pipe);
        return NULL;
}

DeliveryPipe *delivery_pipe_drop(DeliveryPipe *delivery_pipe) {
        if (delivery_pipe)
                fd_store_drop(delivery_pipe->store, delivery_pipe->name);
        return delivery_pipe_free(delivery_pipe);
}
