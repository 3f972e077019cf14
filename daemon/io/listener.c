#include "daemon/io/listener.h"

#include "daemon/io/thread.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

/* Until it is readable or closed. Returns 0 or a negative errno. */
static int listener_wait(int socket) {
        struct pollfd fd = { socket, POLLIN, 0 };

        while (poll(&fd, 1, -1) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static void run_listener(void *context) {
        Listener *listener = context;

        if (listener_wait(listener->asker) < 0)
                return;
        pthread_mutex_lock(&listener->lock);
        if (!listener->over)
                listener->abandoned(listener->context);
        pthread_mutex_unlock(&listener->lock);
}

int listener_start(Listener *listener) {
        pthread_mutex_init(&listener->lock, NULL);
        return thread_start(run_listener, listener);
}

static int accept_one(int socket) {
        for (;;) {
                int r = listener_wait(socket);

                if (r < 0)
                        return r;
                r = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
                if (r >= 0)
                        return r;
                if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                        return -errno;
        }
}

int listener_accept(Listener *listener) {
        int r = accept_one(listener->socket);

        pthread_mutex_lock(&listener->lock);
        listener->over = true;
        pthread_mutex_unlock(&listener->lock);
        return r;
}
