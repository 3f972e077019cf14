/* io-process.h: one process vfwarden-io, seen from the daemon.
 *
 * Owns the process, and with it the daemon's end of its control socket. The process runs as a user
 * of its own, without privilege, and serves one client and one function, or single requests of the
 * daemon. daemon/io/control.h has the protocol. It survives the daemon.
 *
 * Always holds: the process is not trusted. policy/io-report.h judges its reports before anything
 * else sees them, and the first report that does not fit ends the process. So does an order without
 * an answer within five seconds, and so does a process that reports its end, or closes its socket,
 * and goes on. The process is ended by SIGKILL. One that hangs in the kernel is reported as
 * hanging, and belongs to nobody after it is freed. Nothing here waits. */
#pragma once

#include "daemon/broker/spawner.h"
#include "daemon/io/control.h"

typedef struct IoProcess IoProcess;

/* For whom it is, for when it cannot be ended. */
typedef struct IoProcessFor {
        Children *children;
        PciKey key;
        uint32_t uid;
        uint64_t max_mapped; /* bytes that its client may map */
} IoProcessFor;

typedef struct IoProcessOptions {
        int client;          /* the socket that is served; -1: single requests */
        int listener;        /* the client will connect to it; -1: `client` is connected */
        int device;          /* VFIO's, or a memfd that stands for one */
        const char *driver;  /* of the function */
        bool emulated;       /* the device is a memfd */
        bool dma;            /* the device may access the client's memory ... */
        int container;       /* ... with this container; -1: no DMA, or a memfd */
        uint64_t max_mapped; /* bytes that the client may map */
} IoProcessOptions;

typedef struct IoProcessHandler {
        /* With 0 its pid is known, and it waits for io_process_serve(); with a negative errno it
         * could not be started, and is to be freed. */
        void (*started)(void *context, int result);
        void (*report)(void *context, const IoReport *report);
        /* The process has ended, by the signal `killer`, or 0: by itself, or that is unknown. It is
         * to be freed. */
        void (*ended)(void *context, int killer);
        /* It was killed and has not ended: it hangs in the kernel. It is to be freed. */
        void (*hangs)(void *context);
} IoProcessHandler;

/* Starts it. Returns 0 or a negative errno. */
int io_process_start(Spawner *spawner, const IoProcessFor *whom, const IoProcessHandler *handler,
                     void *context, IoProcess **ret);

/* Gives it what it serves; the descriptors in `options` stay the caller's. The first report is
 * IO_READY or IO_FAILED. Once, after `started`. Returns 0 or a negative errno. */
int io_process_serve(IoProcess *process, const IoProcessOptions *options);

/* One that an earlier run of the daemon started. Takes over `*control` on success. Returns 0, or a
 * negative errno: -ESRCH when it has ended. */
int io_process_adopt(sd_event *event, const IoProcessFor *whom, pid_t pid, uint64_t start_time,
                     int *control, const IoProcessHandler *handler, void *context, IoProcess **ret);

/* Ends a process that serves single requests, one that did not get ready, and one that was killed;
 * a session goes on, unknown. */
IoProcess *io_process_free(IoProcess *process);

/* Sends an order without data, unless one of its kind is pending. */
void io_process_order(IoProcess *process, IoKind kind);

/* Orders the counts. However long the process takes, nothing follows from that: a client
 * that reads counters must not end a session whose process is frozen. */
void io_process_ask_counts(IoProcess *process);

/* Sends an order of a single request. Returns 0 or a negative errno. */
int io_process_request(IoProcess *process, const IoOrder *order);

/* For good; `why` is static. */
void io_process_kill(IoProcess *process, const char *why);

/* Why it was killed, for people; NULL when it was not. */
const char *io_process_fault(const IoProcess *process);

pid_t io_process_pid(const IoProcess *process);
uint64_t io_process_start_time(const IoProcess *process);
int io_process_control(const IoProcess *process);
