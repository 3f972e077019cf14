/* session-entry.h: one I/O session, from the opening of its device to the end of its process.
 *
 * Owns the daemon's end of the process, and those who wait for its end. Always holds: an entry is
 * in the list of its Sessions from its start to its end, which frees it; it has told its caller by
 * then. */
#pragma once

#include "daemon/base/fd-store.h"
#include "daemon/broker/broker-types.h"
#include "daemon/broker/emulated-devices.h"
#include "daemon/broker/io-process.h"
#include "daemon/broker/vfio-open.h"
#include "policy/inventory.h"

/* Somebody who waits for an idle process to end. */
typedef struct SessionWaiter SessionWaiter;

/* A single one's process has reported on the request. */
typedef void SessionReported(SessionEntry *entry, const IoReport *report);

struct SessionEntry {
        Sessions *sessions;
        IoSession session; /* strings owned; what the function points to */
        PciKey key;
        uint64_t inode;
        uint64_t number; /* counts up, never used again */
        uint64_t max_mapped;
        uint64_t asked_usec; /* when counts were ordered last, CLOCK_MONOTONIC */
        GRefString *driver;
        bool emulated;
        bool dma;     /* the device may access the client's memory */
        int client;   /* the client's end, until it is handed out; -1 */
        int listener; /* to which the client will connect, until vfwarden-io has it; -1 */
        int served;   /* vfwarden-io's end of the same: a process that hangs does not close its own;
                         -1 after a restart */
        VfioOpen *open;
        IoProcess *process;
        sd_event_source *timer; /* of what is waited for: to be ready, to answer, to end */
        SessionOpened *opened;  /* NULL once told */
        SessionAnswered *answered;
        SessionReported *reported; /* of a single one */
        void *context;
        IoOrder order;      /* of a single request */
        GPtrArray *waiters; /* of SessionWaiter*, borrowed: who waits for the end; NULL: nobody */
        int error;          /* with which it ends */
        bool gone;          /* the function, or the device was closed for good; the client has not
                               noticed yet, or not ended */
        bool closed;        /* the process has reported that it closed the device for good */
        bool has_device;    /* the process, when users were updated last */
        bool ending;        /* a single one that is being ended for somebody else */
};

struct Sessions {
        sd_event *event;
        Children *children;
        Inventory *inventory;
        FdStore *store;
        Spawner *spawner;
        const SessionsHandler *handler;
        void *context;
        GPtrArray *entries; /* of SessionEntry*, owned */
        GPtrArray *waiters; /* of SessionWaiter* */
        EmulatedDevices *emulated;
        uint64_t next_number;
};

/* Reports of any process, and its end; the context is a SessionEntry. */
extern const IoProcessHandler session_entry_process_handler;

SessionEntry *session_entry_new(Sessions *sessions, const Function *function,
                                const SessionRequest *request);
void session_entry_free(gpointer entry);

/* Opens the device and goes on from there; takes the entry over, also when it fails. Returns 0 or a
 * negative errno. */
int session_entry_start(SessionEntry *entry, Function *function);

/* Tells who waits, once. */
void session_entry_tell(SessionEntry *entry, int result, const char *message);

/* The same; frees the entry. */
void session_entry_end(SessionEntry *entry, int result, const char *message);

/* The client now. */
void session_entry_identify(SessionEntry *entry, uint32_t pid);

/* Whom its process is for. */
IoProcessFor session_entry_whom(const SessionEntry *entry);

/* In so much time from now, `callback`; in place of what was to be before. Returns 0 or a negative
 * errno. */
int session_entry_set_timer(SessionEntry *entry, uint64_t usec, sd_event_time_handler_t callback);

void session_entry_tell_change(const SessionEntry *entry);

/* The client is no user of the function any more: the device was closed for good, and seen to be.
 * The function can have another session. */
void session_entry_detach(SessionEntry *entry);

/* The name of its control socket in systemd's store. Free with g_free(). */
char *session_entry_fd_name(const SessionEntry *entry);

/* Ends the process of one that idles, because the function is wanted. */
void session_entry_end_idle(SessionEntry *entry);

/* `waiter` waits for the end of the entry, which was asked for. */
void session_entry_add_waiter(SessionEntry *entry, SessionWaiter *waiter);

/* Somebody who waits for the end of at least one entry. `done` is called once, by the event loop
 * when the last of them has ended or takes too long, or by session_waiters_cancel(). */
SessionWaiter *session_waiter_new(Sessions *sessions, SessionsIdleEnded *done, void *context);

/* Tells all that they wait in vain. */
void session_waiters_cancel(Sessions *sessions);
