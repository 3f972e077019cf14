/* session.h: what one client may do with one function, and what it has done.
 *
 * Owns the back end, the client's memory and its eventfd. Takes messages that are whole and gives replies, in the
 * order in which they came; it reads and writes no socket. Two threads meet here: one has the client's messages, the
 * other the daemon's orders, and each call takes the lock, so an order finds no request half done. Allocates
 * nothing. Called by stream.h and control-thread.h. */
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/control.h"
#include "daemon/io/memory.h"
#include "policy/vfio-user.h"

#include <pthread.h>
#include <stdbool.h>

/* No reply is longer. */
#define SESSION_REPLY_MAX VFIO_USER_MESSAGE_MAX

typedef struct Session {
        pthread_mutex_t lock;
        IoBackend backend;
        IoMemory memory;
        IoCounts counts;
        bool versioned; /* the client has said which protocol it speaks */
        bool asked;     /* the client is to let go of the function */
        bool ended;     /* the device is closed */
        int request_fd; /* the client's eventfd, signalled when it is to let go; -1 */
        _Alignas(8) uint8_t bounce[VFIO_USER_DATA_MAX];
} Session;

/* `backend` is taken over. */
void session_init(Session *session, const IoBackend *backend, unsigned max_maps,
                  uint64_t max_bytes);

/* Executes the whole message of `size` bytes. `*fd` is a descriptor that came with it, or -1, and is -1 afterwards;
 * `too_many` says that more came than that and were dropped. Writes the reply to `reply`, which has room for
 * SESSION_REPLY_MAX, and its size, 0 when none is wanted, to `ret_size`. Returns 0, or a negative errno when the
 * session cannot go on after this reply. */
int session_handle(Session *session, const uint8_t *message, size_t size, int *fd, bool too_many,
                   uint8_t *reply, size_t *ret_size);

/* The client is asked to let go; what it does until then is served. */
void session_drain(Session *session);

/* Every later request is answered with ENODEV; device and memory are closed. */
void session_end(Session *session);

void session_report(Session *session, IoReport *ret);
