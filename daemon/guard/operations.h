/* operations.h: the operations in progress, from the decision to the return of the last write.
 *
 * Owns them. Always holds: a function in the middle of one has `operation` set, and no second one
 * begins on it or on a related function. An operation whose deadline has passed is still in
 * progress, and shown so, until the kernel returns from it, also after a restart of the daemon. */
#pragma once

#include "daemon/guard/protected-files.h"
#include "daemon/guard/worker.h"
#include "policy/check.h"

typedef struct Operations Operations;

/* As a timeout: the caller waits for as long as it takes. */
#define OPERATION_NO_DEADLINE UINT64_MAX

typedef struct OperationsHandler {
        /* One is about to begin on the function at `key`. May be called from anywhere, so the
         * inventory stays as it is. With a negative errno, and the reason for people in `*ret_why`,
         * it does not begin. */
        int (*began)(void *context, PciKey key, char **ret_why);
        /* Its process writes, or is about to. May be called again. */
        void (*starting)(void *context, pid_t pid);
        /* It is about to end: its function is to be read. */
        void (*ending)(void *context, PciKey key);
        /* It has ended, and its caller was answered. */
        void (*ended)(void *context, PciKey key);
        /* `began` has refused some, a while ago: who wants them still may try again. */
        void (*refused)(void *context);
} OperationsHandler;

/* The result: 0; -ETIMEDOUT when the deadline passed, and it goes on; the negative errno of the
 * write that failed, with its path (may be NULL). Called once. */
typedef void OperationDone(void *context, int result, const char *path);

Operations *operations_new(sd_event *event, Inventory *inventory, ProtectedFiles *closed,
                           const OperationsHandler *handler, void *context);
Operations *operations_free(Operations *operations);

/* Carries out `plan`, which is taken over, on `function`. `timeout_usec` counts from now. Returns 0
 * when it is in progress (or done already: `done` has been called, for an empty plan); -EBUSY when
 * something related to it is being done; or another negative errno. Then nothing has been done, and
 * `*ret_why` is the reason for people if the handler refused it, else NULL. */
int operations_start(Operations *operations, Function *function, Operation operation, Plan *plan,
                     uint64_t timeout_usec, OperationDone *done, void *context, char **ret_why);

/* The function has gone: its operation has nothing to point to any more. */
void operations_forget(Operations *operations, Function *function);

/* A function is known, perhaps again: an operation at its address belongs to it if it is the same
 * device. */
void operations_attach(Operations *operations, Function *function);

/* Whether `began` has refused one; calls `refused` if so. */
bool operations_any_refused(const Operations *operations);
void operations_retry_refused(Operations *operations);

/* Whether process `pid` carries out an operation. */
bool operations_own(const Operations *operations, uint32_t pid);

/* Calls `starting` again for each process. */
void operations_tell_processes(const Operations *operations);

/* `records` are of StateOperation, see records.h. */
void operations_record(const Operations *operations, GArray *records);

/* Takes over workers of an earlier run that are still there. Called once. Returns 0, or a negative
 * errno when that is unknown for one. */
int operations_adopt(Operations *operations, const GArray *records);
