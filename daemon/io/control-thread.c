#include "daemon/io/control-thread.h"

#include "daemon/io/util.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* What it is called with is on the stack of who starts it, until it has begun. */
typedef struct Start {
        const ControlThread *control;
        sem_t begun;
} Start;

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

static void *control_thread(void *argument) {
        Start *start = argument;
        ControlThread control = *start->control;
        IoOrder order;
        sem_t never;

        sem_init(&never, 0, 0);
        sem_post(&start->begun);
        for (;;) {
                ssize_t n = recv(control.socket, &order, sizeof(order), 0);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                if ((size_t) n >= IO_ORDER_MIN)
                        obey(&control, &order);
        }
        /* The end of a thread takes system calls that nothing else needs. */
        for (;;)
                sem_wait(&never);
        return NULL;
}

int control_thread_start(ControlThread *control) {
        Start start = { .control = control };
        pthread_t thread;
        int r;

        sem_init(&start.begun, 0, 0);
        r = pthread_create(&thread, NULL, control_thread, &start);
        if (r != 0)
                return -r;
        pthread_detach(thread);
        while (sem_wait(&start.begun) < 0 && errno == EINTR)
                ;
        return 0;
}
