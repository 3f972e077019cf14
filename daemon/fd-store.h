/* fd-store.h: descriptors that outlive the daemon, kept by systemd meanwhile.
 *
 * Owns those that were given back at start until somebody takes them. What each is, is in the run-time state, under
 * its name. Without systemd nothing is kept, which is no error: it then ends with the daemon. See FDSTORE=1 in
 * sd_notify(3). Called by inhibitors.h and sessions.h. */
#pragma once

typedef struct FdStore FdStore;

/* Takes what systemd passed on. Called once. */
FdStore *fd_store_new(void);

/* Forgets what nobody took: what it belonged to is not known any more. */
FdStore *fd_store_free(FdStore *store);

/* The descriptor that was kept under `name`, which the caller owns now and which stays in systemd's hands too; -1
 * when there is none. */
int fd_store_take(FdStore *store, const char *name);

/* Has `fd` kept under `name`, which is used once in the life of the machine: systemd keeps several under one. */
void fd_store_keep(const char *name, int fd);
void fd_store_drop(const char *name);
