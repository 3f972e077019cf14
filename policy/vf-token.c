#include "policy/vf-token.h"

#include <stdio.h>

void vf_token_format(const uint8_t random[16], VfToken *ret) {
        uint8_t bytes[16];
        char *at = ret->text;

        for (unsigned i = 0; i < 16; i++)
                bytes[i] = random[i];
        bytes[6] = (uint8_t) ((bytes[6] & 0x0f) | 0x40);
        bytes[8] = (uint8_t) ((bytes[8] & 0x3f) | 0x80);
        for (unsigned i = 0; i < 16; i++)
                at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                              bytes[i]);
}

Function *vf_token_pf(const Function *function) {
        Function *pf = function->kind == FUNCTION_KIND_PF ? (Function *) function : function->pf;

        return pf && pf->facts.total_vfs > 0 && function_has_vfio_driver(pf) ? pf : NULL;
}

/* A client with a lease of a VF's group that has not opened the VF will use the token that was set:
 * as far as the kernel is concerned the VF is free. */
static bool is_held(const Function *vf, const VfTokenFacts *facts) {
        return function_in_use(vf) &&
               (!facts->imposed || facts->proven || !function_is_brokered(vf));
}

VfTokenStep vf_token_step(const Function *pf, const VfTokenFacts *facts) {
        bool held = false, driven = false;

        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];

                held |= is_held(vf, facts);
                driven |= vf->facts.driver[0] != '\0' && !function_has_vfio_driver(vf);
        }
        if (facts->imposed && (!facts->doubtful || facts->proven || function_is_brokered(pf)))
                return VF_TOKEN_HOLDS;
        if (function_in_use(pf) && !facts->for_pf)
                return VF_TOKEN_PF_HELD;
        if (held)
                return VF_TOKEN_VFS_HELD;
        return driven && !facts->for_pf ? VF_TOKEN_VFS_DRIVEN : VF_TOKEN_IMPOSE;
}
