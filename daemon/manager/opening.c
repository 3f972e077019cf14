#include "daemon/manager/opening.h"

#include "daemon/base/config.h"
#include "daemon/broker/lease-opening.h"
#include "daemon/broker/vf-tokens.h"
#include "daemon/manager/function-users.h"
#include "policy/check.h"
#include "policy/counters.h"
#include "policy/effect.h"

#include <errno.h>
#include <string.h>

/* A call that waits for a descriptor. */
typedef struct OpenCall {
        Apply *apply;
        PciKey key, pf; /* of the function, and of the PF whose token goes with it */
        bool has_token;
        ManagerOpened *done;
        void *context;
} OpenCall;

/* A call that waits for a token: of a lease that has begun, by its generation, or for the token
 * itself. */
typedef struct TokenCall {
        Apply *apply;
        PciKey pf;
        uint64_t generation;
        ManagerVfToken *done; /* NULL: the lease */
        void *context;
} TokenCall;

static char *blockers(const PartContext *parts, const Function *function) {
        g_autoptr(Verdict) verdict = check(parts->inventory, function, OPERATION_OPEN, 0);

        return verdict_allowed(verdict) ? children_refusal(parts->children, function->facts.key)
                                        : verdict_message(verdict);
}

static char *describe_users(const Function *function) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; function->users && i < function->users->len; i++) {
                g_autofree char *who = user_describe(function->users->pdata[i]);

                g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", who);
        }
        if (text->len == 0)
                g_string_append(text, "somebody");
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The first VF of `pf` that is in use, or that a driver of the host has. */
static const Function *find_vf(const Function *pf, bool in_use) {
        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];

                if (in_use ? function_in_use(vf)
                           : vf->facts.driver[0] != '\0' && !function_has_vfio_driver(vf))
                        return vf;
        }
        return pf;
}

/* The PF is opened and reset for that. */
static char *imposing_refusal(const PartContext *parts, const Function *pf) {
        char *text = blockers(parts, pf);
        char address[PCI_ADDRESS_STRING_MAX];

        if (!text && (effect_inhibited(pf) & (1U << OPERATION_RESET)))
                text = g_strdup_printf("%s: a reset is inhibited; giving it a VF token resets it",
                                       pci_address_format(function_address(pf), address));
        return text;
}

/* Why there can be no token now, for people; NULL when there can. */
static char *token_refusal(const PartContext *parts, const Function *pf, VfTokenStep step) {
        char address[PCI_ADDRESS_STRING_MAX], other[PCI_ADDRESS_STRING_MAX];
        const Function *vf = find_vf(pf, step == VF_TOKEN_VFS_HELD);
        g_autofree char *who = describe_users(step == VF_TOKEN_PF_HELD ? pf : vf);

        pci_address_format(function_address(pf), address);
        pci_address_format(function_address(vf), other);
        switch (step) {
        case VF_TOKEN_PF_HELD:
                return g_strdup_printf(
                        "%s: in use by %s, who may have given it a VF token of their own, which is not known to vfwarden",
                        address, who);
        case VF_TOKEN_VFS_HELD:
                return g_strdup_printf(
                        "%s: in use by %s, with a VF token of %s that is not known to vfwarden, and "
                        "cannot be changed meanwhile",
                        other, who, address);
        case VF_TOKEN_VFS_DRIVEN:
                return g_strdup_printf("%s: bound to %s; giving its PF %s a VF token resets both",
                                       other, vf->facts.driver, address);
        case VF_TOKEN_IMPOSE:
                return imposing_refusal(parts, pf);
        default:
                return NULL;
        }
}

/* The kernel gives a group out once at a time: somebody was faster. Who it was, the refusal
 * says. */
typedef struct Late {
        OpenCall *call;
        char *message;
} Late;

static void on_late_users_known(void *context, Function *function, int result,
                                const char *message) {
        g_autofree Late *late = context;
        g_autofree OpenCall *call = late->call;
        g_autofree char *first = late->message;
        g_autofree char *text =
                function && result >= 0 ? blockers(apply_context(call->apply), function) : NULL;

        call->done(call->context, -ECONNREFUSED, text ? text : first, NULL);
}

static void refuse_late(OpenCall *call, const Function *function, const char *message) {
        Late *late = g_new(Late, 1);

        *late = (Late){ call, g_strdup(message) };
        function_users_refresh(apply_context(call->apply), function, on_late_users_known, late);
}

static void on_opening_opened(void *context, int result, const char *message, const LeaseFds *fds,
                              const Lease *lease) {
        OpenCall *unfinished = context;
        Apply *apply = unfinished->apply;
        const PartContext *parts = apply_context(apply);
        const Function *function = inventory_get(parts->inventory, unfinished->key);
        g_autofree OpenCall *call = NULL;
        g_autofree char *text = NULL;
        VfToken token = { 0 };
        ManagerOpen open = { 0 };
        int r;

        if (result == -EBUSY && function) {
                refuse_late(unfinished, function, message);
                return;
        }
        call = unfinished;
        if (result < 0) {
                call->done(call->context, result == -EBUSY ? -ECONNREFUSED : result, message, NULL);
                return;
        }
        /* The lease is published, and known to a later daemon, before the client gets it. */
        r = call->has_token ? vf_tokens_get(part_find(parts, vf_tokens_part), call->pf, &token) : 0;
        if (r < 0)
                text = g_strdup_printf("its VF token cannot be read: %s", g_strerror(-r));
        else
                r = apply_related(apply, function);
        if (r < 0) {
                if (!text)
                        text = state_keeper_describe_failure(apply_state(apply), r);
                explicit_bzero(&token, sizeof(token));
                lease_opening_fail(part_find(parts, leases_part), lease->generation, r, text);
                call->done(call->context, -EIO, text, NULL);
                return;
        }
        open = (ManagerOpen){ .fd = fds->node,
                              .iommufd = fds->iommufd,
                              .delivery_pipe = fds->delivery_pipe,
                              .lease = lease };
        if (call->has_token)
                open.token = token.text;
        parts->counters->leases_opened++;
        call->done(call->context, 0, NULL, &open);
        explicit_bzero(&token, sizeof(token));
}

static void token_call_end(TokenCall *call, int result, const char *message) {
        Apply *apply = call->apply;
        const PartContext *parts = apply_context(apply);
        g_autofree char *text = NULL;
        VfToken token = { 0 };
        int r;

        if (!call->done && result < 0)
                lease_opening_fail(part_find(parts, leases_part), call->generation, result,
                                   message);
        else if (!call->done)
                lease_opening_go(part_find(parts, leases_part), call->generation);
        else {
                if (result >= 0)
                        result = vf_tokens_get(part_find(parts, vf_tokens_part), call->pf, &token);
                r = result >= 0 ? apply_related(apply, inventory_get(parts->inventory, call->pf))
                                : 0;
                if (r < 0) {
                        text = state_keeper_describe_failure(apply_state(apply), r);
                        result = -EIO;
                        message = text;
                }
                call->done(call->context, result, message ? message : "it cannot be read",
                           token.text);
        }
        explicit_bzero(&token, sizeof(token));
        g_free(call);
}

static void on_imposing_users_known(void *context, Function *pf, int result, const char *message) {
        TokenCall *call = context;
        g_autofree char *text =
                pf && result >= 0 ? token_refusal(apply_context(call->apply), pf, VF_TOKEN_PF_HELD)
                                  : NULL;

        token_call_end(call, -ECONNREFUSED, text ? text : message);
}

static void on_opening_imposed(void *context, int result, const char *message) {
        TokenCall *call = context;
        Apply *apply = call->apply;
        const PartContext *parts = apply_context(apply);
        const Function *pf = inventory_get(parts->inventory, call->pf);

        if (result == -EBUSY && pf)
                function_users_refresh(parts, pf, on_imposing_users_known, call);
        else
                token_call_end(call, result, message);
}

/* Ends the call when the PF has the token, be it now. Takes `call` over. */
static void get_token(TokenCall *call, const Function *pf, VfTokenStep step) {
        g_autofree char *text = NULL;
        int r;

        if (step == VF_TOKEN_HOLDS) {
                token_call_end(call, 0, NULL);
                return;
        }
        r = vf_tokens_impose(part_find(apply_context(call->apply), vf_tokens_part), pf,
                             on_opening_imposed, call);
        if (r >= 0)
                return;
        text = g_strdup_printf("the physical function cannot be given a VF token: %s",
                               g_strerror(-r));
        token_call_end(call, -EIO, text);
}

static const char *opening_result_text(int result) {
        switch (result) {
        case -EDQUOT:
                return "this user, or all users, have too many functions opened for them (MaxLeasesPerUser= in vfwarden.conf)";
        case -EOPNOTSUPP:
                return "VFIO has no node of that kind for it";
        default:
                return g_strerror(-result);
        }
}

/* Somebody who wants a descriptor, or a token, while the users are looked at. */
typedef struct OpenRequest {
        Apply *apply;
        ManagerOpener opener;
        ManagerOpened *opened;
        ManagerVfToken *got_token;
        void *context;
} OpenRequest;

/* Why the function cannot be opened now; else `*ret_step` is what its token takes. */
static char *open_refusal(const PartContext *parts, Function *function, VfTokenStep *ret_step) {
        const Function *pf = vf_token_pf(function);
        char *text = blockers(parts, function);

        *ret_step = VF_TOKEN_HOLDS;
        if (text || !pf)
                return text;
        *ret_step = vf_tokens_step(part_find(parts, vf_tokens_part), pf, pf == function);
        return token_refusal(parts, pf, *ret_step);
}

static void open_now(const OpenRequest *request, Function *function, VfTokenStep step) {
        const LeaseRequest lease = { .uid = request->opener.uid,
                                     .pid = request->opener.pid,
                                     .kind = request->opener.kind };
        Apply *apply = request->apply;
        const PartContext *parts = apply_context(apply);
        const Function *pf = vf_token_pf(function);
        TokenCall *token_call = g_new0(TokenCall, 1);
        OpenCall *call = g_new(OpenCall, 1);
        int r;

        *call = (OpenCall){ .apply = apply,
                            .key = function->facts.key,
                            .pf = pf ? pf->facts.key : 0,
                            .has_token = pf != NULL,
                            .done = request->opened,
                            .context = request->context };
        token_call->apply = apply;
        token_call->pf = call->pf;
        r = lease_opening_begin(part_find(parts, leases_part), function,
                                parts->host->config(parts->host_context), &lease, on_opening_opened,
                                call, &token_call->generation);
        if (r < 0) {
                g_free(token_call);
                on_opening_opened(call, r, opening_result_text(r), NULL, NULL);
                return;
        }
        get_token(token_call, pf, step);
}

static void on_open_users_known(void *context, Function *function, int result,
                                const char *message) {
        g_autofree OpenRequest *request = context;
        VfTokenStep step = VF_TOKEN_HOLDS;
        g_autofree char *text = NULL;

        if (result < 0) {
                request->opened(request->context, result, message, NULL);
                return;
        }
        text = open_refusal(apply_context(request->apply), function, &step);
        if (text)
                request->opened(request->context, -ECONNREFUSED, text, NULL);
        else
                open_now(request, function, step);
}

void opening_open(Apply *apply, Function *function, const ManagerOpener *opener,
                  ManagerOpened *done, void *context) {
        OpenRequest *request = g_new0(OpenRequest, 1);

        *request = (OpenRequest){
                .apply = apply, .opener = *opener, .opened = done, .context = context
        };
        function_users_refresh(apply_context(apply), function, on_open_users_known, request);
}

static void on_token_users_known(void *context, Function *pf, int result, const char *message) {
        g_autofree OpenRequest *request = context;
        Apply *apply = request->apply;
        const PartContext *parts = apply_context(apply);
        g_autofree char *text = NULL;
        char address[PCI_ADDRESS_STRING_MAX];
        VfTokenStep step = VF_TOKEN_HOLDS;
        TokenCall *call;

        if (result < 0) {
                request->got_token(request->context, result, message, NULL);
                return;
        }
        pci_address_format(function_address(pf), address);
        if (vf_token_pf(pf) != pf)
                text = g_strdup_printf(
                        "%s is bound to %s, not to a VFIO driver: its virtual functions need no token",
                        address, pf->facts.driver[0] != '\0' ? pf->facts.driver : "no driver");
        else {
                step = vf_tokens_step(part_find(parts, vf_tokens_part), pf, false);
                text = token_refusal(parts, pf, step);
        }
        if (text) {
                request->got_token(request->context, -ECONNREFUSED, text, NULL);
                return;
        }
        call = g_new0(TokenCall, 1);
        call->apply = apply;
        call->pf = pf->facts.key;
        call->done = request->got_token;
        call->context = request->context;
        get_token(call, pf, step);
}

void opening_get_vf_token(Apply *apply, Function *pf, ManagerVfToken *done, void *context) {
        OpenRequest *request = g_new0(OpenRequest, 1);

        *request = (OpenRequest){ .apply = apply, .got_token = done, .context = context };
        function_users_refresh(apply_context(apply), pf, on_token_users_known, request);
}
