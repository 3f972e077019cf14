/* pasid.h: the PASID capability of a function, read from an image of its configuration space.
 *
 * Owns nothing. The rules: PCI Express 6.0, 7.8.9 (the capability) and 7.6.3 (the list of extended
 * capabilities). Called by the reader of facts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Pasid {
        bool present;
        bool enabled;    /* control register, bit 0 */
        bool execute;    /* execute permission supported: capability register, bit 1 */
        bool privileged; /* privileged mode supported: capability register, bit 2 */
        uint8_t width;   /* bits of a PASID, 0..20: capability register, bits 12:8 */
} Pasid;

/* Reads 4 bytes at `offset` (a multiple of 4, 0x100..0xffc) of the configuration space into `*ret`, in the
 * machine's byte order. Returns 0 or a negative errno. */
typedef int PasidReader(void *context, unsigned offset, uint32_t *ret);

/* Looks for the capability through `read`, which is called at most once for each 4 bytes: a list that
 * loops, points outside or ends in the middle has no capability beyond that. Returns 0 with
 * `ret->present` telling; -EBADMSG when the list is broken before the capability was found (`*ret` says
 * not present); or what `read` returned. */
int pasid_find(PasidReader *read, void *context, Pasid *ret);
