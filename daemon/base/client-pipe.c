#include "daemon/base/client-pipe.h"

#include "daemon/base/util.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

/* Before the bus: a call that a client sends after the end of a pipe finds it ended. The next start
 * of a domain may follow the end of its guard at once. */
#define END_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

struct ClientPipe {
        FdStore *store;
        int fd;
        char *name; /* in systemd's store */
        sd_event_source *end;
        ClientPipeClosed *closed;
        void *context;
};

static int on_hang_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const ClientPipe *client_pipe = userdata;

        assert(client_pipe->fd == fd);
        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        client_pipe->closed(client_pipe->context);
        return 0;
}

static char *make_name(const char *kind, uint64_t number) {
        return g_strdup_printf("%s-%" PRIu64, kind, number);
}

/* Takes `*fd` over on success. */
static int client_pipe_watch_end(sd_event *event, FdStore *store, char *name, int *fd,
                                 ClientPipeClosed *closed, void *context, ClientPipe **ret) {
        ClientPipe *client_pipe = g_new0(ClientPipe, 1);
        int r;

        client_pipe->store = store;
        client_pipe->fd = -1;
        client_pipe->name = name;
        client_pipe->closed = closed;
        client_pipe->context = context;
        /* No events asked for: what is written is never read, and EPOLLHUP is always told. */
        r = sd_event_add_io(event, &client_pipe->end, *fd, 0, on_hang_up, client_pipe);
        if (r >= 0)
                r = sd_event_source_set_priority(client_pipe->end, END_PRIORITY);
        if (r < 0) {
                client_pipe_free(client_pipe);
                return r;
        }
        (void) sd_event_source_set_description(client_pipe->end, name);
        client_pipe->fd = take_fd(fd);
        *ret = client_pipe;
        return 0;
}

int client_pipe_new(sd_event *event, FdStore *store, const char *kind, uint64_t number,
                    ClientPipeClosed *closed, void *context, int *ret_writing, ClientPipe **ret) {
        _cleanup_(closep) int reading = -1, writing = -1;
        ClientPipe *client_pipe;
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        reading = fds[0];
        writing = fds[1];
        r = client_pipe_watch_end(event, store, make_name(kind, number), &reading, closed, context,
                                  &client_pipe);
        if (r < 0)
                return r;
        r = fd_store_keep(store, client_pipe->name, client_pipe->fd);
        if (r < 0) {
                client_pipe_free(client_pipe);
                return r;
        }
        *ret = client_pipe;
        *ret_writing = take_fd(&writing);
        return 0;
}

static bool has_hung_up(int fd) {
        struct pollfd poll_fd = { .fd = fd };

        return poll(&poll_fd, 1, 0) > 0;
}

int client_pipe_adopt(sd_event *event, FdStore *store, const char *kind, uint64_t number,
                      ClientPipeClosed *closed, void *context, ClientPipe **ret) {
        g_autofree char *name = make_name(kind, number);
        _cleanup_(closep) int fd = fd_store_take(store, name);
        int r = -ENOENT;

        if (fd >= 0 && !has_hung_up(fd))
                r = client_pipe_watch_end(event, store, g_strdup(name), &fd, closed, context, ret);
        if (r < 0)
                fd_store_drop(store, name);
        return r;
}

ClientPipe *client_pipe_free(ClientPipe *client_pipe) {
        if (!client_pipe)
                return NULL;
        sd_event_source_disable_unref(client_pipe->end);
        closep(&client_pipe->fd);
        g_free(client_pipe->name);
        g_free(client_pipe);
        return NULL;
}

ClientPipe *client_pipe_drop(ClientPipe *client_pipe) {
        if (client_pipe)
                fd_store_drop(client_pipe->store, client_pipe->name);
        return client_pipe_free(client_pipe);
}
