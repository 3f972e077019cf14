/* manager-types.h: what the manager's face and the objects behind it have in common.
 *
 * Owns nothing: the callbacks of requests, what is requested, and what an observer hears. */
#pragma once

#include "policy/inventory.h"
#include "policy/lock.h"
#include "policy/violation.h"

#include <stdbool.h>

/* The longest text that an administrator may give for a lock, in bytes. */
#define MANAGER_LOCK_WHY_MAX 512

/* What the manager tells, in this order within one round of applying: removals (while the function
 * can still be looked at), additions, changes, then what concerns the whole. */
typedef struct ManagerObserver {
        void (*removed)(void *context, Function *function);
        void (*added)(void *context, Function *function);
        void (*changed)(void *context, Function *function, const PropertySet *properties);
        void (*violation)(void *context, const Violation *violation);
        void (*unplug_requested)(void *context, Function *function, uint64_t deadline_usec);
        void (*device_failed)(void *context, Function *function, const char *event);
        void (*count_changed)(void *context);
        void (*enforcement_changed)(void *context);
        void (*settings_changed)(void *context); /* the configuration was read again */
        void (*problems_changed)(void *context);
        void (*guards_changed)(void *context);
} ManagerObserver;

/* How long an operation may take until its call ends and it goes on without a caller. Below the
 * 25 seconds after which D-Bus clients stop waiting by themselves. */
#define MANAGER_OPERATION_TIMEOUT_USEC (20 * 1000 * 1000ULL)

/* How an operation ended: 0 when it was done, and seen to be; -ECONNREFUSED when something stands
 * against it; -EBUSY when something related is in progress; -ETIMEDOUT when it goes on; -ENODEV
 * when the function vanished; -EIO when the kernel refused it, or it had no effect.
 * `message` says more, for people; NULL with 0. */
typedef void ManagerDone(void *context, int result, const char *message);

/* `fd` is the descriptor that keeps an inhibitor, with 0, and stays the manager's; see ManagerDone
 * for `message`. -EDQUOT: the user has too many; -EIO: it would not outlive the daemon. */
typedef void ManagerInhibited(void *context, int result, const char *message, int fd);

/* `paths` are the files that were unlocked, with 0, and stay the manager's; see ManagerDone for
 * `message`. -EIO: the release would not outlive the daemon; -ECANCELED: a reload ended it. */
typedef void ManagerReleased(void *context, int result, const char *message,
                             const GPtrArray *paths);

/* An I/O session for a client of user `uid`, process `pid`, that wants to map `max_mapped` bytes.
 * Refused unless the function is bound to a VFIO driver (or emulated, as configured), free, and
 * without MSI-X (or that is allowed). */
typedef struct ManagerIo {
        uint32_t uid, pid;
        uint64_t max_mapped;
        bool dma;     /* the device may access the client's memory */
        int listener; /* the call's; -1: none */
} ManagerIo;

/* `client` is the client's end of the socket with 0, and stays the manager's; see ManagerDone for
 * the results, and: -EDQUOT for too many sessions or too much memory; -EOPNOTSUPP when no back end
 * serves the function. */
typedef void ManagerSessionOpened(void *context, int result, const char *message, int client,
                                  const IoSession *session);

/* A load of `length` bytes, or a store of `data` where it is not NULL, in one piece. The bytes
 * loaded are in `loaded`. -EINVAL when the rules refuse it. */
typedef struct ManagerAccess {
        uint8_t pcias;
        uint64_t offset;
        uint16_t length;
        const uint8_t *data;
} ManagerAccess;

typedef void ManagerAccessed(void *context, int result, const char *message, const uint8_t *loaded,
                             size_t length);

/* A VFIO descriptor of the function for a client. Refused while check() has something against
 * `open`, or the VF token that it takes is somebody else's. */
typedef struct ManagerOpener {
        uint32_t uid, pid;
        LeaseKind kind; /* wanted; _LEASE_KIND_INVALID: the best there is */
} ManagerOpener;

typedef struct ManagerOpen {
        int fd, iommufd, delivery_pipe; /* stay the manager's; `iommufd` -1 without */
        const Lease *lease;
        const char *token; /* NULL when none is needed; gone when the callee returns */
} ManagerOpen;

/* `open` is what the client gets, with 0; see ManagerDone for the results, and: -EDQUOT for too
 * many leases; -EOPNOTSUPP when VFIO has no node of the kind. */
typedef void ManagerOpened(void *context, int result, const char *message, const ManagerOpen *open);

/* The VF token of a physical function, for who opens it or its VFs without us. `token` as above. */
typedef void ManagerVfToken(void *context, int result, const char *message, const char *token);

/* For manager_let_go(): 0, or -ECANCELED when the daemon ends. */
#define MANAGER_NOBODY UINT32_MAX
typedef void ManagerLetGo(void *context, int result);
