/* vf-token.h: the secret that a physical function on vfio-pci shares with the users of its virtual
 * functions.
 *
 * The kernel (vfio_pci_validate_vf_token()) refuses every open of a VF of such a PF without the
 * PF's token, a UUID. The PF starts with a random one, which cannot be read. An open of the PF with
 * another token sets that one, if no VF is open. It stays when the PF is closed, until its driver
 * is bound anew. Pure rules. */
#pragma once

#include "policy/function.h"

#define VF_TOKEN_STRING_MAX 37

typedef struct VfToken {
        char text[VF_TOKEN_STRING_MAX]; /* "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx" */
} VfToken;

/* Makes a UUID (RFC 4122, version 4) of 16 random bytes. */
void vf_token_format(const uint8_t random[16], VfToken *ret);

/* The physical function whose token opens `function`: the PF of a VF, and the function itself where
 * it is a PF that can have VFs, if a VFIO driver has it; NULL when none is needed. */
Function *vf_token_pf(const Function *function);

typedef enum VfTokenStep {
        VF_TOKEN_HOLDS,    /* our token is the PF's */
        VF_TOKEN_IMPOSE,   /* the PF can be opened now and be given ours */
        VF_TOKEN_PF_HELD,  /* somebody has the PF open, and perhaps gave it a token of their own */
        VF_TOKEN_VFS_HELD, /* a VF is open with another token: as long as that is so, the PF keeps
                              it */
        VF_TOKEN_VFS_DRIVEN, /* a VF is bound to a driver of the host: opening the PF would
                                reset it, too */
} VfTokenStep;

typedef struct VfTokenFacts {
        bool imposed;  /* this very PF, bound as it is, was given our token */
        bool doubtful; /* somebody may have given it another since */
        bool proven;   /* a VF was opened by a client that got our token, and is still open */
        bool for_pf;   /* the PF is to be opened: that resets its VFs anyway */
} VfTokenFacts;

/* The step before a function of `pf` is opened. A lease of the PF comes with our token, too. */
VfTokenStep vf_token_step(const Function *pf, const VfTokenFacts *facts);
