/* uevent.h: what a uevent says, as the kernel broadcasts it.
 *
 * Pure. The text is that of add_uevent_var() and kobject_uevent_env() in lib/kobject_uevent.c:
 * "ACTION@DEVPATH", then one "KEY=VALUE" behind the other, each with its 0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Borrowed from the text; NULL: it does not say. */
typedef struct Uevent {
        const char *action;      /* "bind" */
        const char *subsystem;   /* "pci" */
        const char *devpath;     /* "/devices/pci0000:00/0000:00:01.0" */
        const char *devpath_old; /* with the action "move" */
        const char *error;       /* "BEGIN_RECOVERY": the device has failed (pci_uevent_ers()) */
} Uevent;

/* `text` ends with a 0 beyond `size`. Returns false, with `*ret` untouched, unless action,
 * subsystem and path are there. */
bool uevent_parse(const char *text, size_t size, Uevent *ret);

/* The last part of a path in sysfs: "0000:00:01.0". */
const char *uevent_name(const char *devpath);
