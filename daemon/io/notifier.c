#include "daemon/io/notifier.h"

#include "daemon/io/thread.h"
#include "daemon/io/util.h"

#include <stdint.h>

void notifier_init(Notifier *notifier) {
        pthread_mutex_init(&notifier->lock, NULL);
        sem_init(&notifier->wanted, 0, 0);
        notifier->asked = false;
        notifier->fd = notifier->writing = -1;
}

static int begin_write(Notifier *notifier) {
        int fd;

        pthread_mutex_lock(&notifier->lock);
        fd = notifier->writing = notifier->fd;
        pthread_mutex_unlock(&notifier->lock);
        return fd;
}

/* Closes what was replaced meanwhile. That nothing was written is no matter: a counter that is full
 * has been signalled. */
static void end_write(Notifier *notifier, int fd, ssize_t written) {
        pthread_mutex_lock(&notifier->lock);
        notifier->writing = -1;
        if (fd == notifier->fd)
                fd = -1;
        pthread_mutex_unlock(&notifier->lock);
        closep(&fd);
}

static void run_notifier(void *context) {
        Notifier *notifier = context;
        static const uint64_t one = 1;

        for (;;) {
                int fd;

                if (sem_wait(&notifier->wanted) < 0)
                        continue;
                fd = begin_write(notifier);
                if (fd >= 0)
                        end_write(notifier, fd, write(fd, &one, sizeof(one)));
        }
}

int notifier_start(Notifier *notifier) {
        return thread_start(run_notifier, notifier);
}

void notifier_set(Notifier *notifier, int fd) {
        bool asked;
        int old;

        pthread_mutex_lock(&notifier->lock);
        asked = notifier->asked;
        old = notifier->fd;
        notifier->fd = fd;
        if (old == notifier->writing)
                old = -1;
        pthread_mutex_unlock(&notifier->lock);
        closep(&old);
        if (asked)
                sem_post(&notifier->wanted);
}

void notifier_ask(Notifier *notifier) {
        pthread_mutex_lock(&notifier->lock);
        notifier->asked = true;
        pthread_mutex_unlock(&notifier->lock);
        sem_post(&notifier->wanted);
}
