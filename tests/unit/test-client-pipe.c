#include "daemon/base/client-pipe.h"

#include "daemon/base/util.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

typedef struct Order {
        int n, closed, called; /* when each came, from 1 */
} Order;

static void note_closed(void *context) {
        Order *order = context;

        order->closed = ++order->n;
}

static int note_call(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Order *order = userdata;

        order->called = ++order->n;
        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

/* A client closes what it has and calls again; the call reaches a loop that is busy. */
Test(client_pipe, an_end_comes_before_a_later_call) {
        g_autoptr(Notify) notify = NULL;
        sd_event_source *call;
        ClientPipe *client_pipe;
        Order order = { 0 };
        FdStore *store;
        sd_event *event;
        int writing, bus[2];

        cr_assert_eq(unsetenv("NOTIFY_SOCKET"), 0);
        cr_assert_eq(notify_new(&notify), 0);
        store = fd_store_new(notify, FD_STORE_UNLIMITED);
        cr_assert_geq(sd_event_new(&event), 0);
        cr_assert_eq(client_pipe_new(event, store, "test", 1, note_closed, &order, &writing,
                                     &client_pipe),
                     0);
        cr_assert_eq(pipe2(bus, O_CLOEXEC), 0);
        cr_assert_geq(sd_event_add_io(event, &call, bus[0], EPOLLIN, note_call, &order), 0);

        /* epoll reports what is ready in the order in which it became so. */
        cr_assert_eq(write(bus[1], "c", 1), 1);
        cr_assert_eq(close(writing), 0);
        while (order.n < 2)
                cr_assert_gt(sd_event_run(event, 0), 0);
        cr_assert_lt(order.closed, order.called);

        (void) client_pipe_free(client_pipe);
        sd_event_source_disable_unref(call);
        closep(&bus[0]);
        closep(&bus[1]);
        sd_event_unref(event);
        (void) fd_store_free(store);
}
