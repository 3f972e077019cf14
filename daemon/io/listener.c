#include "daemon/io/listener.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

int listener_accept(int listener, int asker) {
        for (;;) {
                struct pollfd fds[] = { { listener, POLLIN, 0 }, { asker, POLLIN, 0 } };
                int connection;

                if (poll(fds, 2, -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (fds[1].revents != 0)
                        return -ECONNABORTED;
                connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (connection >= 0)
                        return connection;
                /* Somebody who has the socket, too, may have been faster. */
                if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                        return -errno;
        }
}
