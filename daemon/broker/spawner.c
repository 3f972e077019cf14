#include "daemon/broker/spawner.h"

#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/broker/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* How soon the service tells by which signal a process ended. */
#define END_WAIT_USEC  (500 * 1000ULL)
#define TIMER_ACCURACY (10 * 1000ULL)

#define PROBLEM        "spawn"

struct Spawner {
        sd_event *event;
        Problems *problems;
        char *socket; /* NULL: the daemon forks */
        SpawnProgram program;
};

/* One order, as long as its helper is. */
typedef struct Order {
        Spawner *spawner;
        Helper *helper;
        int connection; /* to the service; -1 without, or when that has ended */
        sd_event_source *answers;
        sd_event_source *timer; /* for the service's answer, or its report of the end */
        sd_event_source *begin; /* reports the start of one that was forked */
} Order;

Spawner *spawner_new(sd_event *event, Problems *problems, const char *socket,
                     const SpawnProgram *program) {
        Spawner *spawner = g_new0(Spawner, 1);

        spawner->event = sd_event_ref(event);
        spawner->problems = problems;
        spawner->socket = g_strdup(socket);
        spawner->program = *program;
        return spawner;
}

Spawner *spawner_free(Spawner *spawner) {
        if (!spawner)
                return NULL;
        sd_event_unref(spawner->event);
        g_free(spawner->socket);
        g_free(spawner);
        return NULL;
}

static void order_disconnect(Order *order) {
        order->answers = sd_event_source_disable_unref(order->answers);
        order->timer = sd_event_source_disable_unref(order->timer);
        closep(&order->connection);
        order->connection = -1;
}

static void order_free(void *data) {
        Order *order = data;

        order_disconnect(order);
        sd_event_source_disable_unref(order->begin);
        g_free(order);
}

static int order_set_timer(Order *order, uint64_t usec, sd_event_time_handler_t callback) {
        int r = sd_event_add_time_relative(order->spawner->event, &order->timer, CLOCK_MONOTONIC,
                                           usec, TIMER_ACCURACY, callback, order);

        if (r >= 0)
                (void) sd_event_source_set_description(order->timer, "spawner-deadline");
        return r;
}

/* --- by the service */

static void report_problem(const Spawner *spawner, const char *what, int r) {
        problems_report(spawner->problems, PROBLEM, "Failed to %s vfwarden-spawn at %s: %s", what,
                        spawner->socket, g_strerror(-r));
}

/* There is no process. Each of these ends with the helper perhaps freed, and the order with it. */
static void fail_order(Order *order, int r) {
        order_disconnect(order);
        helper_report_start(order->helper, r);
}

static int on_answer_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Order *order = userdata;

        report_problem(order->spawner, "hear from", -ETIMEDOUT);
        fail_order(order, -ETIMEDOUT);
        return 0;
}

static int on_process_end_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Order *order = userdata;

        order_disconnect(order);
        helper_report_end(order->helper, 0);
        return 0;
}

/* The kernel has reported the end; the service is about to report by which signal it was. */
static void on_process_over(void *data) {
        Order *order = data;

        if (order->connection < 0 ||
            order_set_timer(order, END_WAIT_USEC, on_process_end_timeout) < 0)
                on_process_end_timeout(NULL, 0, order);
}

static void on_order_started(Order *order, const SpawnStarted *started, Packet *packet) {
        int r;

        order->timer = sd_event_source_disable_unref(order->timer);
        problems_resolve(order->spawner->problems, PROBLEM);
        r = started->error > 0 ? -started->error
                               : helper_identify(order->helper, started->pid, &packet->fds[0]);
        /* What is left to come is the end: what the process said before is heard first. */
        if (r >= 0)
                r = sd_event_source_set_priority(order->answers, SD_EVENT_PRIORITY_NORMAL + 1);
        if (r < 0)
                fail_order(order, r);
        else
                helper_report_start(order->helper, 0);
}

/* The service has ended, or makes no sense: the process, if there is one, goes on. */
static void on_lost(Order *order, int r) {
        bool ending = order->timer != NULL;

        if (helper_pid(order->helper) == 0) {
                report_problem(order->spawner, "hear from", r);
                fail_order(order, -EIO);
                return;
        }
        order_disconnect(order);
        if (ending)
                helper_report_end(order->helper, 0);
}

static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        char buffer[MAX(sizeof(SpawnStarted), sizeof(SpawnEnded)) + 1];
        Order *order = userdata;
        SpawnStarted started;
        SpawnEnded ended;
        Packet packet = { 0 };
        int r = packet_receive(fd, buffer, sizeof(buffer), MSG_DONTWAIT, &packet);

        if (r == -EAGAIN || r == -EINTR)
                return 0;
        if (r < 0 || packet.size == 0)
                on_lost(order, r < 0 ? r : -ECONNRESET);
        else if (helper_pid(order->helper) == 0 &&
                 spawn_started_take(buffer, packet.size, packet.n_fds, &started) >= 0)
                on_order_started(order, &started, &packet);
        else if (helper_pid(order->helper) != 0 &&
                 spawn_ended_take(buffer, packet.size, packet.n_fds, &ended) >= 0) {
                order_disconnect(order);
                helper_report_end(order->helper, ended.killer);
        } else
                on_lost(order, -EBADMSG);
        packet_clear(&packet);
        return 0;
}

/* Returns a connection or a negative errno: -EAGAIN when the service has too many already. */
static int connect_to(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(closep) int fd = -1;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return take_fd(&fd);
}

static int send_order(Order *order, SpawnKind kind, int theirs) {
        const SpawnOrder packet = { .version = SPAWN_VERSION, .kind = kind };
        int r = connect_to(order->spawner->socket);

        if (r < 0)
                return r;
        order->connection = r;
        r = packet_send(order->connection, &packet, sizeof(packet), &theirs, 1);
        if (r >= 0)
                r = sd_event_add_io(order->spawner->event, &order->answers, order->connection,
                                    EPOLLIN, on_answer, order);
        if (r >= 0)
                r = order_set_timer(order, SPAWNER_ANSWER_USEC, on_answer_timeout);
        (void) sd_event_source_set_description(order->answers, "spawner-answers");
        return r;
}

static int order_from_service(Order *order, SpawnKind kind, const HelperHandler *handler,
                              void *context) {
        const HelperOrigin origin = { order, order_free, on_process_over };
        _cleanup_(closep) int ours = -1, theirs = -1;
        int pair[2], r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        r = helper_new(order->spawner->event, handler, context, &ours, &order->helper);
        if (r < 0)
                return r;
        r = send_order(order, kind, theirs);
        if (r < 0) {
                report_problem(order->spawner, "reach", r);
                order->helper = helper_free(order->helper);
                return -EIO;
        }
        helper_set_origin(order->helper, &origin);
        return 0;
}

/* --- by the daemon itself */

static int on_begin(sd_event_source *source, void *userdata) {
        const Order *order = userdata;

        helper_report_start(order->helper, 0);
        return 0;
}

static int fork_one(Order *order, SpawnKind kind, const HelperHandler *handler, void *context) {
        const HelperOrigin origin = { order, order_free, NULL };
        SpawnTask task = { kind, &order->spawner->program };
        int r;

        r = wakeup_new_idle(order->spawner->event, on_begin, order, &order->begin);
        if (r >= 0)
                r = sd_event_source_set_priority(order->begin, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = helper_fork(order->spawner->event, handler, context, spawn_child_run, &task,
                                NULL, 0, &order->helper);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(order->begin, "spawner-begin");
        helper_set_origin(order->helper, &origin);
        (void) sd_event_source_set_enabled(order->begin, SD_EVENT_ONESHOT);
        return 0;
}

int spawner_start(Spawner *spawner, SpawnKind kind, const HelperHandler *handler, void *context,
                  Helper **ret) {
        Order *order = g_new0(Order, 1);
        int r;

        order->spawner = spawner;
        order->connection = -1;
        r = spawner->socket ? order_from_service(order, kind, handler, context)
                            : fork_one(order, kind, handler, context);
        if (r < 0) {
                order_free(order);
                return r;
        }
        *ret = order->helper;
        return 0;
}
