/* device-names.h: what the host calls the devices of a function: "ens1", "nvme0n1".
 *
 * Owns lists of names, one for each kind. Always holds: a list is sorted, has no name twice, and
 * has at most DEVICE_NAMES_MAX of them. A name is valid UTF-8 without control characters. NULL
 * stands for no names at all. */
#pragma once

#include <errno.h>
#include <glib.h>
#include <stdbool.h>

/* So many names of one kind are kept for a function, those that were added first. */
#define DEVICE_NAMES_MAX 64

typedef enum DeviceNameKind {
        DEVICE_NAME_INTERFACE, /* of the network, in the host's network namespace */
        DEVICE_NAME_BLOCK,     /* a block device, or a controller of NVMe */
        _DEVICE_NAME_KIND_MAX,
        _DEVICE_NAME_KIND_INVALID = -EINVAL,
} DeviceNameKind;

typedef struct DeviceNames {
        GPtrArray *lists[_DEVICE_NAME_KIND_MAX]; /* of char*, owned */
} DeviceNames;

DeviceNames *device_names_new(void);
DeviceNames *device_names_free(DeviceNames *names);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DeviceNames, device_names_free)

void device_names_add(DeviceNames *names, DeviceNameKind kind, const char *name);

/* Adds all names of `other`, which may be NULL. */
void device_names_add_all(DeviceNames *names, const DeviceNames *other);

/* The list of one kind, or NULL when it is empty. Borrowed. */
const GPtrArray *device_names_list(const DeviceNames *names, DeviceNameKind kind);

/* Whether both have the same names of one kind; of all kinds. */
bool device_names_equal_kind(const DeviceNames *a, const DeviceNames *b, DeviceNameKind kind);
bool device_names_equal(const DeviceNames *a, const DeviceNames *b);
