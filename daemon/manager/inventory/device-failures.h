/* device-failures.h: that the kernel reports errors of devices, for the journal and for clients.
 *
 * Owns what is counted. A guest can make its function report errors as often as it likes. Always
 * holds: of one function and one word of the kernel the first are reported at once, and all others
 * are counted and reported together, as violations are (policy/violation.h). */
#pragma once

#include "daemon/base/part.h"
#include "daemon/manager/publisher.h"

typedef struct DeviceFailures DeviceFailures;

/* Both are borrowed. Returns 0 or a negative errno. */
int device_failures_new(const PartContext *context, Publisher *publisher, DeviceFailures **ret);
DeviceFailures *device_failures_free(DeviceFailures *failures);

/* The kernel has reported an error: "BEGIN_RECOVERY". */
void device_failures_take(DeviceFailures *failures, PciKey key, const char *what);
