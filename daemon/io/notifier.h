/* notifier.h: signals an eventfd of the client's: the request to release the function, or replies
 * in its ring.
 *
 * Owns the eventfd. A write to it may wait for ever, whatever was done before to prevent it. The
 * client can fill the counter, and make the descriptor blocking again, for all copies of it share
 * their flags (F_SETFL). So a thread does nothing but these writes, and nothing waits for it. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

typedef struct Notifier {
        pthread_mutex_t lock; /* held for assignments only */
        sem_t wanted;
        bool asked;  /* the client is to release the function */
        int fd;      /* -1: none */
        int writing; /* the one that is being written to: its number stays taken until then; -1 */
} Notifier;

void notifier_init(Notifier *notifier);

/* Starts its thread; without one nothing is ever written. Returns 0 or a negative errno. */
int notifier_start(Notifier *notifier);

/* Takes `fd` over, -1 for none, in place of what it had; signals it if the client was asked. */
void notifier_set(Notifier *notifier, int fd);

/* Asks the client, now and by each eventfd that comes later. */
void notifier_ask(Notifier *notifier);
