/* lost-overrides.h: functions that come back without the driver_override they had.
 *
 * On s390 a slot that is switched off and on again has the same function in it. But the kernel
 * makes a new device of it, whose driver_override is not set (seen on 6.12): the native driver
 * takes a function that was meant for a guest. Owns the overrides of removed functions; logs once
 * when a function comes back without. */
#pragma once

#include "policy/function.h"

typedef struct LostOverrides LostOverrides;

LostOverrides *lost_overrides_new(void);
LostOverrides *lost_overrides_free(LostOverrides *lost);

/* The function goes. */
void lost_overrides_function_gone(LostOverrides *lost, const Function *function);

/* The function is new, and what its driver_override is has been read. */
void lost_overrides_function_came(LostOverrides *lost, const Function *function);
