/* vf-tokens.h: vfwarden's VF tokens for physical functions on vfio-pci.
 *
 * Owns one token for each such PF, made when it is first needed, in a sealed memfd that systemd
 * keeps over a restart. A token is in no file, no property and no message of the log; only clients
 * that the caller has authorised get it. To set a token, a process of its own opens the PF, which
 * resets the PF. So that is done when the PF and all its VFs are free, and only just before one of
 * them is opened. Whether another program has changed the token since is not known, and not
 * guessed: policy/vf-token.h. */
#pragma once

#include "daemon/base/fd-store.h"
#include "daemon/broker/spawner.h"
#include "policy/inventory.h"
#include "policy/vf-token.h"

#include <systemd/sd-event.h>

typedef struct VfTokens VfTokens;

/* Called once, with 0 or a negative errno. */
typedef void VfTokenRefreshed(void *context, int result);

typedef struct VfTokensHandler {
        /* Something is to be remembered; who has the PF open is to be asked again. */
        void (*changed)(void *context, PciKey key);
        /* Looks anew at the users of the PF, and reports all device nodes that were closed up to
         * now (users_refresh()). */
        void (*refresh)(void *context, PciKey pf, VfTokenRefreshed *done, void *done_context);
        /* Whether the function's device is open now (users_device_is_open()): it is that, and not
         * its group, for whose sake the kernel keeps a token. */
        bool (*is_open)(void *context, PciKey key);
        /* Whether the node `name` is the function's own or its group's (users_is_node_of()). */
        bool (*is_node_of)(void *context, PciKey key, const char *name);
} VfTokensHandler;

/* 0, or a negative errno with `message`: -ENODEV when the PF has gone meanwhile; -EBUSY when
 * somebody has opened it meanwhile; -ETIMEDOUT; -EIO. */
typedef void VfTokenImposed(void *context, int result, const char *message);

/* `store` must outlive it. */
VfTokens *vf_tokens_new(sd_event *event, Spawner *spawner, Children *children, Inventory *inventory,
                        FdStore *store, const VfTokensHandler *handler, void *context);
VfTokens *vf_tokens_free(VfTokens *tokens);

/* The step before a function of `pf` is opened; see vf_token_step(). VF_TOKEN_IMPOSE also while
 * that is being done. */
VfTokenStep vf_tokens_step(VfTokens *tokens, const Function *pf, bool for_pf);

/* Does it. Returns 0 when `done` will be called, or a negative errno. */
int vf_tokens_impose(VfTokens *tokens, const Function *pf, VfTokenImposed *done, void *context);

/* The token that holds. Returns 0 or a negative errno. The caller wipes it (explicit_bzero()) after
 * use. */
int vf_tokens_get(const VfTokens *tokens, PciKey pf, VfToken *ret);

/* The daemon ends: tells all who wait. */
void vf_tokens_end_calls(VfTokens *tokens, const char *why);

/* The results of `users`: somebody closed a node, perhaps unseen; somebody has the PF open. */
void vf_tokens_node_closed(VfTokens *tokens, const char *name);
void vf_tokens_closes_missed(VfTokens *tokens);
void vf_tokens_pf_used(VfTokens *tokens, const Function *pf);

/* Whether it is our own process that has the PF open. */
bool vf_tokens_imposing(const VfTokens *tokens, PciKey pf);

void vf_tokens_function_gone(VfTokens *tokens, PciKey key);

/* `records` are of StateVfToken, see records.h. */
void vf_tokens_record(const VfTokens *tokens, GArray *records);

/* Takes over those that an earlier run made. */
void vf_tokens_adopt(VfTokens *tokens, const GArray *records);
