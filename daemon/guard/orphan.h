/* orphan.h: a VF whose PF goes before it: pulled out, or on s390 switched off.
 *
 * Owns nothing. Nothing that the VF's users have will ever answer again, and no event tells them.
 */
#pragma once

#include "daemon/base/part.h"

/* The PF of `vf` goes. If the VF is there still and in use, this is logged, and its users are asked
 * to release it. */
void orphan_report(const PartContext *context, Function *vf);
