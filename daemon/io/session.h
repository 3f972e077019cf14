/* session.h: what one client may do with one function, and what it has done.
 *
 * Owns the device, its container, the client's memory and its eventfd. Takes whole messages and
 * gives replies in the same order; it reads and writes no socket. Two threads meet here: one has
 * the client's messages, the other the daemon's orders.
 *
 * Always holds: the lock is not held during an action on a client's descriptor that may wait (any
 * close, fstat() of what is not known to be memory, a read or write of memory). A client can hold
 * the lock of the file's inode for ever, by a write from memory that is a page of its own FUSE. Nor
 * is the lock held while the device does an access, or memory is pinned; see device.h and dma.h.
 * Allocates nothing. */
#pragma once

#include "daemon/io/client-fds.h"
#include "daemon/io/control.h"
#include "daemon/io/device.h"
#include "daemon/io/dma.h"
#include "daemon/io/memory.h"
#include "daemon/io/notifier.h"
#include "daemon/io/regions.h"
#include "daemon/io/ring.h"

#include <pthread.h>
#include <stdbool.h>

/* No reply is longer. */
#define SESSION_REPLY_MAX VFIO_USER_MESSAGE_MAX

typedef struct Session {
        pthread_mutex_t lock; /* of what both threads use; `memory` changes under it, too */
        Device device;
        IoMemory memory;
        Dma dma;
        uint64_t refused;    /* requests that were answered with an error, of whatever kind */
        uint64_t unreported; /* of these, the ones whose sender wanted no reply */
        bool versioned;      /* the client has said which protocol it speaks */
        bool ended;          /* the device is closed, or is as soon as it is idle */
        bool in_message;     /* the client's thread reads `memory` */
        Notifier notifier;   /* to release it */
        Regions regions;
        Ring ring;
} Session;

/* What a session is about. */
typedef struct SessionOptions {
        unsigned max_maps;
        uint64_t max_bytes; /* of the client's memory */
        DmaKind dma;
        int container; /* with DMA_TYPE1; else -1 */
        bool ring;     /* offered to a client that asks for it */
        bool may_spin; /* there is more than one processor */
} SessionOptions;

/* `backend` and the container are taken over. */
void session_init(Session *session, const IoBackend *backend, const SessionOptions *options);

/* Executes the whole message of `size` bytes. `fds` came with it; they are taken or closed. Writes
 * the reply to `reply`, which has room for SESSION_REPLY_MAX, and its size, 0 when none is wanted,
 * to `ret_size`. Returns 0, or a negative errno when the session cannot go on after this reply. */
int session_handle(Session *session, const uint8_t *message, size_t size, ClientFds *fds,
                   uint8_t *reply, size_t *ret_size);

/* As ring_serve() does, when the client has set a ring up; `ret_has_ring` says whether. */
int session_serve_ring(Session *session, int socket, bool *ret_has_ring);

/* The client is asked to release the function; what it does until then is served. */
void session_drain(Session *session);

/* Every later request is answered with ENODEV. When it returns, the device was closed, then the
 * memory was unpinned and closed. Waits for the access that the device does, and for the piece of
 * memory that is being pinned. */
void session_end(Session *session);

void session_report(Session *session, IoReport *ret);
