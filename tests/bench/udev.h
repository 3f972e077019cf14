/* udev.h: clean-up of libudev's objects, for the references that the daemon is measured against. */
#pragma once

#include "daemon/base/util.h"

#include <libudev.h>

DEFINE_CLEANUP(struct udev *, udev_unref)
DEFINE_CLEANUP(struct udev_device *, udev_device_unref)
DEFINE_CLEANUP(struct udev_enumerate *, udev_enumerate_unref)
