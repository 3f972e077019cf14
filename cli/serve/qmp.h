/* qmp.h: asks a VMM to have its guest release a device.
 *
 * Owns the connection to the VMM's QMP socket, for one dialog. Always holds: `done` is called once,
 * unless the object is freed before. */
#pragma once

#include "cli/cleanup.h"

typedef struct Qmp Qmp;

/* `why` is NULL if the VMM has given the device up. The object can be freed from here. */
typedef void (*QmpDone)(void *userdata, const char *why);

/* Connects to `path` and begins. `device` is the device's id in the VMM; it stays where it is until
 * qmp_free(). Returns 0 or a negative errno. */
int qmp_start(sd_event *event, const char *path, const char *device, QmpDone done, void *userdata,
              Qmp **ret);
Qmp *qmp_free(Qmp *qmp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qmp, qmp_free)
