/* receipt.h: tells when an answer over the bus was read, or thrown away.
 *
 * Owns the reading end of a pipe; the writing end goes with the answer. Wherever the answer is, in whose socket ever, the
 * writing end is with it; libraries close it when they free the message, and it is closed when the message is dropped.
 * systemd keeps the reading end as well (fd-store.h). Called by leases.h. */
#pragma once

#include "daemon/fd-store.h"

#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Receipt Receipt;

/* The writing end has no copy any more. */
typedef void ReceiptClosed(void *context);

/* `number` is used once in the life of the machine. Returns 0 with the end to hand out in
 * `*ret_writing`, which the caller closes; or a negative errno, -EXFULL when systemd keeps no more.
 * `store` must outlive it. */
int receipt_new(sd_event *event, FdStore *store, uint64_t number, ReceiptClosed *closed,
                void *context, int *ret_writing, Receipt **ret);

/* The one of an earlier run. Returns NULL when it is not there, or was closed meanwhile. */
Receipt *receipt_adopt(sd_event *event, FdStore *store, uint64_t number, ReceiptClosed *closed,
                       void *context);

/* The daemon ends, and systemd keeps it; or it is of no use any more. */
Receipt *receipt_free(Receipt *receipt);
Receipt *receipt_drop(Receipt *receipt);
