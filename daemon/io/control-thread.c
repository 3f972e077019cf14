#include "daemon/io/control-thread.h"

#include "daemon/io/thread.h"

#include <errno.h>
#include <sys/socket.h>

void control_report(int socket, Session *session, IoKind kind, int error) {
        IoReport report = { .kind = kind, .error = error };

        if (session)
                session_report(session, &report);
        if (send(socket, &report, sizeof(report), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return; /* nobody wants to know */
}

static void obey(const ControlThread *control, const IoOrder *order) {
        switch (order->kind) {
        case IO_STATUS:
                break;
        case IO_DRAIN:
                session_drain(control->session);
                break;
        case IO_END:
        case IO_GONE:
                session_end(control->session);
                break;
        default:
                control_report(control->socket, control->session, order->kind, -EINVAL);
                return;
        }
        control_report(control->socket, control->session, order->kind, 0);
}

static void run_control(void *context) {
        const ControlThread *control = context;
        IoOrder order;

        for (;;) {
                ssize_t n = recv(control->socket, &order, sizeof(order), 0);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return;
                if ((size_t) n >= IO_ORDER_MIN)
                        obey(control, &order);
        }
}

int control_thread_start(ControlThread *control) {
        return thread_start(run_control, control);
}
