/* irqs.h: the interrupts of a session: the device's, and the request to release the function.
 *
 * Owns nothing; the client's thread alone calls it. Indexes 0 to 3 are the device's: the client's
 * eventfds go to VFIO, and the kernel signals them. Index 4 is this process's own (notifier.h):
 * VFIO asks its user to release the device, which is the daemon's affair. Each function answers one
 * message, and returns 0 or the negative errno to answer with. */
#pragma once

#include "daemon/io/client-fds.h"
#include "daemon/io/device.h"
#include "daemon/io/notifier.h"
#include "daemon/io/reply.h"
#include "policy/vfio-user.h"

int irqs_info(const Device *device, const VfioUserRequest *request, Reply *reply);

/* Takes of `fds` what is kept. */
int irqs_set(Device *device, Notifier *notifier, const VfioUserRequest *request, ClientFds *fds);
