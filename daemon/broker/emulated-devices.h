/* emulated-devices.h: the memory that stands for devices, where the configuration says so.
 *
 * Owns one memfd for each function that was ever emulated: what was stored stays when a session
 * ends, and is seen by the next. */
#pragma once

#include "policy/address.h"

/* vfwarden-io's option that goes with it: one BAR of this size, behind its page of configuration
 * space. */
#define EMULATED_DEVICES_OPTION "--emulated=65536"

typedef struct EmulatedDevices EmulatedDevices;

EmulatedDevices *emulated_devices_new(void);
EmulatedDevices *emulated_devices_free(EmulatedDevices *devices);

/* The one of the function `key`, made at the first time; stays the callee's. Or a negative
 * errno. */
int emulated_devices_get(EmulatedDevices *devices, PciKey key);
