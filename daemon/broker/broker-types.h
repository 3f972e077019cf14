/* broker-types.h: what is asked of sessions and leases, and what they report.
 *
 * Owns nothing. */
#pragma once

#include "daemon/io/control.h"
#include "policy/address.h"
#include "policy/io-report.h"
#include "policy/io-session.h"
#include "policy/lease.h"

/* --- I/O sessions */

typedef struct Sessions Sessions;
typedef struct SessionEntry SessionEntry;

typedef struct SessionsHandler {
        /* Function.session, or what it says, is another; so are the function's users. */
        void (*changed)(void *context, PciKey key);
        /* A process that had a function open has ended: its users can be listed anew, before
         * `changed` is called for it. From the event loop. */
        void (*process_ended)(void *context);
} SessionsHandler;

typedef struct SessionRequest {
        uint32_t uid, pid;   /* of the client */
        uint64_t max_mapped; /* bytes that it wants to map */
        bool emulated;       /* memory instead of the device */
        bool dma;            /* the device may access the client's memory */
        int listener; /* to which the client will connect, the caller's; -1: a pair is made */
} SessionRequest;

/* How it ended: 0 with the client's end of the socket, which is the callee's to close, and the
 * session; or a negative errno with `message`: -ENODEV: the function has gone meanwhile;
 * -ECONNREFUSED: it is being taken away; -ETIMEDOUT; -EIO. */
typedef void SessionOpened(void *context, int result, const char *message, int client,
                           const IoSession *session);

/* How a single request ended: 0 with vfwarden-io's report, or a negative errno with `message`:
 * -EINVAL for what the rules refuse, -EIO for what the device refused, and those above. */
typedef void SessionAnswered(void *context, int result, const char *message,
                             const IoReport *report);

/* No idle process is left that was asked for: 0; or -ECANCELED by sessions_end_calls(). */
typedef void SessionsIdleEnded(void *context, int result);

/* --- leases */

typedef struct Leases Leases;
typedef struct LeaseEntry LeaseEntry;

typedef struct LeasesHandler {
        /* Function.lease, or what it says, is another; so are the function's users. */
        void (*changed)(void *context, PciKey key);
} LeasesHandler;

typedef struct LeaseRequest {
        uint32_t uid, pid; /* of the client */
        LeaseKind kind;    /* wanted; _LEASE_KIND_INVALID: the best there is */
} LeaseRequest;

/* The reply to a client; the callee may duplicate the descriptors, and keeps none of them. */
typedef struct LeaseFds {
        int node;
        int iommufd; /* with LEASE_KIND_DEVICE; else -1 */
        int delivery_pipe;
} LeaseFds;

/* How it ended: 0 with descriptors and lease; or a negative errno with `message`: -EBUSY when the
 * kernel says that somebody else has it open; -ENODEV when the function has gone meanwhile;
 * -ECONNREFUSED when it is being taken away; -ETIMEDOUT; -EIO; or the error of
 * lease_opening_fail(). */
typedef void LeaseOpened(void *context, int result, const char *message, const LeaseFds *fds,
                         const Lease *lease);
