/* client-pipe.h: a pipe whose writing end a client has, and whose end reports what becomes of it.
 *
 * Owns the reading end; the writing end goes to the client with the reply. When its last copy is
 * closed, whatever the client had with it has ended. Until the client has read the reply, that copy
 * is in a socket: libraries close it when they free the message, and the kernel closes it when the
 * message is dropped.
 *
 * Always holds: systemd has the reading end as well, under the pipe's name (fd-store.h), so the
 * pipe survives the daemon. What a client writes is never read. */
#pragma once

#include "daemon/base/fd-store.h"

#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct ClientPipe ClientPipe;

/* The writing end has no copy any more. Called once; the callee may free the pipe. */
typedef void ClientPipeClosed(void *context);

/* `kind` and `number` are the name, which is used once in the life of the machine. Returns 0 with
 * the end to hand out in `*ret_writing`, which the caller closes; or a negative errno, -EXFULL when
 * systemd keeps no more. `store` must outlive it. */
int client_pipe_new(sd_event *event, FdStore *store, const char *kind, uint64_t number,
                    ClientPipeClosed *closed, void *context, int *ret_writing, ClientPipe **ret);

/* The one that an earlier run had. Returns 0; -ENOENT when systemd has none, or its writing end was
 * closed meanwhile; or another negative errno. Without success systemd has none any more. */
int client_pipe_adopt(sd_event *event, FdStore *store, const char *kind, uint64_t number,
                      ClientPipeClosed *closed, void *context, ClientPipe **ret);

/* The daemon ends, and systemd keeps it; or it is of no use any more. */
ClientPipe *client_pipe_free(ClientPipe *client_pipe);
ClientPipe *client_pipe_drop(ClientPipe *client_pipe);
