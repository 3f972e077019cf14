/* listener.h: waits for the client of a session that connects by itself.
 *
 * Owns nothing. The client made the listening socket, where it likes, and so a VMM that only knows
 * a path needs no code of vfwarden. The other socket is that of the caller of OpenSession(), who
 * closes it when nobody will connect any more. Who has connected by then is served.
 *
 * Always holds: accept4() may wait for ever, also after poll(): somebody who has the listening
 * socket, too, may be faster, and decides whether it waits (all copies share their flags). So a
 * thread of its own waits for the caller's socket as well. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

typedef struct Listener {
        int socket;                       /* that listens */
        int asker;                        /* the caller's */
        pthread_mutex_t lock;             /* held for good by who ends the process */
        bool over;                        /* the caller does not matter any more */
        void (*abandoned)(void *context); /* nobody will connect: ends the process */
        void *context;
} Listener;

/* Starts the thread. `listener` must outlive the process. Returns 0 or a negative errno. */
int listener_start(Listener *listener);

/* Accepts one connection. Returns it, or a negative errno. Does not return when `abandoned` was
 * called. Both sockets are shared with the client, who can make the wait last for ever. */
int listener_accept(Listener *listener);
