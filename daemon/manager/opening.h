/* opening.h: devices that are opened for others, and the tokens that go with them: who may have
 * one, and the way to leases.h and vf-tokens.h.
 *
 * Owns nothing but the calls that wait for users to be known, a lease or a token. */
#pragma once

#include "daemon/manager/apply.h"

/* See manager_open() and manager_get_vf_token(). */
void opening_open(Apply *apply, Function *function, const ManagerOpener *opener,
                  ManagerOpened *done, void *context);
void opening_get_vf_token(Apply *apply, Function *pf, ManagerVfToken *done, void *context);
