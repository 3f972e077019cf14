#include "daemon/io/listener.h"

#include "daemon/io/thread.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

/* How long accept4() of a connection that is there may take, on a machine that has no time. */
enum {
        ACCEPT_MSEC = 3000
};

/* Until one is readable or closed. Returns 0 or a negative errno. */
static int listener_wait(struct pollfd *fds, nfds_t n) {
        while (poll(fds, n, -1) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static void listener_abandon(Listener *listener) {
        pthread_mutex_lock(&listener->lock);
        if (!listener->over)
                listener->abandoned(listener->context);
        pthread_mutex_unlock(&listener->lock);
}

static void run_listener(void *context) {
        Listener *listener = context;
        struct pollfd asker = { listener->asker, POLLIN, 0 };

        if (listener_wait(&asker, 1) < 0)
                return;
        poll(NULL, 0, ACCEPT_MSEC);
        listener_abandon(listener);
}

int listener_start(Listener *listener) {
        pthread_mutex_init(&listener->lock, NULL);
        return thread_start(run_listener, listener);
}

/* Who has connected is a client, also when the caller's socket is closed already: poll() looks at
 * one after the other, so that one comes first. */
static int accept_one(Listener *listener) {
        for (;;) {
                struct pollfd fds[] = { { listener->asker, POLLIN, 0 },
                                        { listener->socket, POLLIN, 0 } };
                int r = listener_wait(fds, 2);

                if (r < 0)
                        return r;
                if (!fds[1].revents)
                        listener_abandon(listener);
                r = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC);
                if (r >= 0)
                        return r;
                if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                        return -errno;
        }
}

int listener_accept(Listener *listener) {
        int r = accept_one(listener);

        pthread_mutex_lock(&listener->lock);
        listener->over = true;
        pthread_mutex_unlock(&listener->lock);
        return r;
}
