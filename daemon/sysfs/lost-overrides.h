/* lost-overrides.h: functions that come back without the driver_override they had.
 *
 * On s390 a slot that is switched off and on again has the same function in it. But the kernel
 * makes a new device of it, whose driver_override is not set (seen on 6.12): the native driver
 * takes a function that was meant for a guest. Owns the overrides of removed functions; logs once
 * when a function comes back without. */
#pragma once

#include "daemon/base/part.h"

extern const Part lost_overrides_part;
