#include "daemon/io/thread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

/* On the stack of who starts it, until it has begun. */
typedef struct Start {
        void (*run)(void *context);
        void *context;
        sem_t begun;
} Start;

static void *thread_main(void *argument) {
        Start *start = argument;
        void (*run)(void *) = start->run;
        void *context = start->context;
        sem_t never;

        sem_init(&never, 0, 0);
        sem_post(&start->begun);
        run(context);
        for (;;)
                sem_wait(&never);
        return NULL;
}

int thread_start(void (*run)(void *context), void *context) {
        Start start = { .run = run, .context = context };
        pthread_t thread;
        int r;

        sem_init(&start.begun, 0, 0);
        r = pthread_create(&thread, NULL, thread_main, &start);
        if (r != 0)
                return -r;
        pthread_detach(thread);
        while (sem_wait(&start.begun) < 0 && errno == EINTR)
                ;
        return 0;
}
