/* delivery-pipe.h: tells whether a reply over the bus was read, or thrown away.
 *
 * Owns the reading end of a pipe; the writing end goes with the reply. In whatever socket the reply
 * is, the writing end is with it. Libraries close it when they free the message, and the kernel
 * closes it when the message is dropped. systemd keeps the reading end as well (fd-store.h). */
#pragma once

#include "daemon/base/fd-store.h"

#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct DeliveryPipe DeliveryPipe;

/* The writing end has no copy any more. */
typedef void DeliveryPipeClosed(void *context);

/* `number` is used once in the life of the machine. Returns 0 with the end to hand out in
 * `*ret_writing`, which the caller closes; or a negative errno, -EXFULL when systemd keeps no more.
 * `store` must outlive it. */
int delivery_pipe_new(sd_event *event, FdStore *store, uint64_t number, DeliveryPipeClosed *closed,
                      void *context, int *ret_writing, DeliveryPipe **ret);

/* The one of an earlier run. Returns NULL when it is not there, or was closed meanwhile. */
DeliveryPipe *delivery_pipe_adopt(sd_event *event, FdStore *store, uint64_t number,
                                  DeliveryPipeClosed *closed, void *context);

/* The daemon ends, and systemd keeps it; or it is of no use any more. */
DeliveryPipe *delivery_pipe_free(DeliveryPipe *delivery_pipe);
DeliveryPipe *delivery_pipe_drop(DeliveryPipe *delivery_pipe);
