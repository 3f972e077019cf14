#include "daemon/broker/spawn-server.h"

#include "daemon/base/helper.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/broker/packet.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-login.h>

/* Twice as many as the daemon has sessions and leases at a time: a process that ends slowly keeps
 * its connection. */
#define CONNECTIONS_MAX 4096
/* From the connection to the order. */
#define ORDER_TIMEOUT_USEC (5 * 1000 * 1000ULL)
/* After accept4() failed. */
#define ACCEPT_RETRY_USEC (500 * 1000ULL)

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

typedef struct Connection {
        SpawnServer *server;
        int fd;
        pid_t pid; /* of the process that was started; 0: none yet */
        sd_event_source *source, *timer;
        sd_event_source *end; /* of the process */
} Connection;

struct SpawnServer {
        sd_event *event;
        SpawnServerOptions options;
        sd_event_source *listening;
        sd_event_source *retry;
        GPtrArray *connections; /* of Connection*, owned */
};

static void connection_free(gpointer data) {
        Connection *connection = data;

        sd_event_source_disable_unref(connection->source);
        sd_event_source_disable_unref(connection->timer);
        if (connection->end) {
                sd_event_source_disable_unref(connection->end);
                helper_forget_process(connection->server->event, connection->pid);
        }
        closep(&connection->fd);
        g_free(connection);
}

/* What was started goes on, and is reaped. */
static void drop(Connection *connection) {
        SpawnServer *server = connection->server;

        g_ptr_array_remove_fast(server->connections, connection);
        (void) sd_event_source_set_enabled(server->listening, SD_EVENT_ON);
}

/* --- who may order */

/* Returns a pidfd of the peer, or a negative errno. */
static int open_peer(int fd, pid_t pid) {
        socklen_t size = sizeof(int);
        int pidfd;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) >= 0)
                return pidfd;
        if (errno != ENOPROTOOPT)
                return -errno;
        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        return pidfd < 0 ? -errno : pidfd;
}

/* The unit is the one of the process that was there before and is there after: the pid did not
 * change hands. */
static int check_unit(int fd, pid_t pid, const char *expected) {
        _cleanup_(closep) int pidfd = open_peer(fd, pid);
        struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };
        char *unit = NULL;
        bool same;
        int r;

        if (pidfd < 0)
                return pidfd;
        r = sd_pid_get_unit(pid, &unit);
        if (r < 0)
                return r;
        same = g_str_equal(unit, expected);
        free(unit);
        return same && poll(&poll_fd, 1, 0) == 0 ? 0 : -EPERM;
}

static int check_peer(const SpawnServer *server, int fd) {
        struct ucred peer = { .uid = UINT32_MAX };
        socklen_t size = sizeof(peer);
        int r = 0;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        if (peer.uid != 0)
                r = -EPERM;
        else if (server->options.unit)
                r = check_unit(fd, peer.pid, server->options.unit);
        if (r < 0)
                log_warning("Process %d of user %u is refused: %s", (int) peer.pid,
                            (unsigned) peer.uid,
                            r == -EPERM ? "it is not the daemon" : g_strerror(-r));
        return r;
}

/* --- an order */

static bool is_channel(int fd) {
        int domain = -1, type = -1;
        socklen_t size = sizeof(int);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) >= 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) >= 0 && type == SOCK_SEQPACKET;
}

static int on_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Connection *connection = userdata;
        const SpawnEnded ended = { info->si_code == CLD_EXITED ? 0 : info->si_status };

        connection->end = sd_event_source_disable_unref(connection->end);
        (void) packet_send(connection->fd, &ended, sizeof(ended), NULL, 0);
        drop(connection);
        return 0;
}

/* Returns a pidfd, or a negative errno. */
static int start_process(Connection *connection, SpawnKind kind, int channel) {
        SpawnServer *server = connection->server;
        _cleanup_(closep) int pidfd = -1;
        SpawnTask task = { kind, &server->options.program };
        pid_t pid;
        int r;

        pid = helper_fork_process(spawn_kind_to_name(kind), &channel, 1);
        if (pid < 0)
                return (int) pid;
        if (pid == 0) {
                spawn_child_run(&task, channel);
                _exit(EXIT_FAILURE);
        }
        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        r = pidfd < 0 ? -errno
                      : sd_event_add_child(server->event, &connection->end, pid, WEXITED, on_end,
                                           connection);
        if (r < 0) {
                (void) kill(pid, SIGKILL);
                helper_forget_process(server->event, pid);
                return r;
        }
        (void) sd_event_source_set_description(connection->end, "spawn-end");
        connection->pid = pid;
        return take_fd(&pidfd);
}

/* Returns 0, or a negative errno when the connection is to be closed. */
static int obey(Connection *connection, const SpawnOrder *order, int channel) {
        _cleanup_(closep) int pidfd = -1;
        SpawnStarted started = { 0 };

        connection->timer = sd_event_source_disable_unref(connection->timer);
        if (connection->pid != 0 || !is_channel(channel))
                return -EBADMSG;
        pidfd = start_process(connection, (SpawnKind) order->kind, channel);
        started.error = pidfd < 0 ? -pidfd : 0;
        started.pid = (int32_t) connection->pid;
        return packet_send(connection->fd, &started, sizeof(started), &pidfd, pidfd >= 0);
}

static int on_order(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Connection *connection = userdata;
        char buffer[sizeof(SpawnOrder) + 1];
        Packet packet = { 0 };
        SpawnOrder order;
        int r = packet_receive(fd, buffer, sizeof(buffer), MSG_DONTWAIT, &packet);

        if (r == -EAGAIN || r == -EINTR)
                return 0;
        if (r >= 0 && packet.size == 0 && packet.n_fds == 0)
                drop(connection); /* whom the end of the process does not concern any more */
        else {
                if (r >= 0)
                        r = spawn_order_take(buffer, packet.size, packet.n_fds, &order);
                if (r >= 0)
                        r = obey(connection, &order, packet.fds[0]);
                if (r < 0) {
                        log_warning("An order is refused: %s", g_strerror(-r));
                        drop(connection);
                }
        }
        packet_clear(&packet);
        return 0;
}

static int on_order_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        log_warning("A connection is closed: no order came");
        drop(userdata);
        return 0;
}

/* --- connections */

static int add_connection(SpawnServer *server, int *fd) {
        Connection *connection = g_new0(Connection, 1);
        int r;

        connection->server = server;
        connection->fd = take_fd(fd);
        r = sd_event_add_io(server->event, &connection->source, connection->fd, EPOLLIN, on_order,
                            connection);
        if (r >= 0)
                r = sd_event_add_time_relative(server->event, &connection->timer, CLOCK_MONOTONIC,
                                               ORDER_TIMEOUT_USEC, 0, on_order_timeout, connection);
        if (r < 0) {
                connection_free(connection);
                return r;
        }
        (void) sd_event_source_set_description(connection->source, "spawn-order");
        (void) sd_event_source_set_description(connection->timer, "spawn-order-deadline");
        g_ptr_array_add(server->connections, connection);
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        SpawnServer *server = userdata;

        if (server->connections->len < CONNECTIONS_MAX)
                (void) sd_event_source_set_enabled(server->listening, SD_EVENT_ON);
        return 0;
}

/* The connection stays pending, and would wake the loop at once. The missing descriptor or memory
 * may be freed by any process of the host, and not by the end of a connection here. */
static void pause_listening(SpawnServer *server, int error) {
        log_warning("Failed to accept a connection: %s", g_strerror(error));
        if (sd_event_source_set_time_relative(server->retry, ACCEPT_RETRY_USEC) >= 0 &&
            sd_event_source_set_enabled(server->retry, SD_EVENT_ONESHOT) >= 0)
                (void) sd_event_source_set_enabled(server->listening, SD_EVENT_OFF);
}

static int on_connection(sd_event_source *source, int listening, uint32_t revents, void *userdata) {
        SpawnServer *server = userdata;
        _cleanup_(closep) int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
                if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                        pause_listening(server, errno);
                return 0;
        }
        if (check_peer(server, fd) < 0)
                return 0;
        if (add_connection(server, &fd) >= 0 && server->connections->len >= CONNECTIONS_MAX)
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
}

int spawn_server_new(sd_event *event, int listening, const SpawnServerOptions *options,
                     SpawnServer **ret) {
        SpawnServer *server = g_new0(SpawnServer, 1);
        int r;

        server->event = sd_event_ref(event);
        server->options = *options;
        server->connections = g_ptr_array_new_with_free_func(connection_free);
        r = wakeup_new_timer(event, 1, on_retry, server, &server->retry);
        if (r >= 0)
                r = sd_event_add_io(event, &server->listening, listening, EPOLLIN, on_connection,
                                    server);
        if (r < 0) {
                spawn_server_free(server);
                return r;
        }
        (void) sd_event_source_set_description(server->listening, "spawn-connections");
        (void) sd_event_source_set_description(server->retry, "spawn-retry");
        *ret = server;
        return 0;
}

SpawnServer *spawn_server_free(SpawnServer *server) {
        if (!server)
                return NULL;
        sd_event_source_disable_unref(server->listening);
        sd_event_source_disable_unref(server->retry);
        g_ptr_array_unref(server->connections);
        sd_event_unref(server->event);
        g_free(server);
        return NULL;
}
