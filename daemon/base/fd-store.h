/* fd-store.h: descriptors that survive the daemon, kept by systemd meanwhile.
 *
 * Owns the descriptors that systemd returned at the start until a module takes them, and the names
 * of all that systemd keeps. The run-time state says, under its name, what each is. Without systemd
 * nothing is kept, which is no error: it then ends with the daemon. See FDSTORE=1 in sd_notify(3).
 *
 * systemd takes a descriptor without an answer, and closes what exceeds FileDescriptorStoreMax=
 * with a warning in its own log only (service_add_fd_store() in src/core/service.c), so they are
 * counted here. systemd may drop one earlier than the daemon does, when it hangs up, and never
 * later: the count is never too low. A message also counts after the daemon was killed, because
 * systemd reads messages before it reaps children. */
#pragma once

#include "daemon/base/notify.h"

#include <stdint.h>

typedef struct FdStore FdStore;

/* How many systemd keeps, where that is not known. */
#define FD_STORE_UNLIMITED UINT32_MAX

/* Takes what systemd passed on. Called once. `max` is FileDescriptorStoreMax=; what systemd itself
 * says in $FDSTORE (since version 254) takes precedence. `notify` outlives it. */
FdStore *fd_store_new(Notify *notify, uint32_t max);
FdStore *fd_store_free(FdStore *store);

/* The descriptor that was kept under `name`, which the caller owns now and which stays in systemd's
 * hands too; -1 when there is none. */
int fd_store_take(FdStore *store, const char *name);

/* Drops what nobody took: what it belonged to is not known any more. */
void fd_store_drop_untaken(FdStore *store);

/* Has `fd` kept under `name`, which is used once in the life of the machine: systemd keeps several
 * under one. Returns 0; -EXFULL when systemd keeps no more; or another negative errno of telling
 * systemd. */
int fd_store_keep(FdStore *store, const char *name, int fd);
void fd_store_drop(FdStore *store, const char *name);

/* What the error of fd_store_keep() means, for people. */
const char *fd_store_error(int error);
