/* status.h: the line that systemd shows of the daemon (STATUS= of sd_notify(3)).
 *
 * Owns when it is sent. */
#pragma once

#include "daemon/base/notify.h"
#include "daemon/manager/apply.h"

typedef struct Status Status;

/* All is borrowed. Returns 0 or a negative errno. */
int status_new(Notify *notify, const Apply *apply, const Settings *settings, Status **ret);
Status *status_free(Status *status);

/* Something of it may be another: it is sent a moment later, once for all that happened until then.
 * sd_notify(3) waits for systemd to take the message, and a storm must not wait for it a thousand
 * times. */
void status_update(Status *status);
