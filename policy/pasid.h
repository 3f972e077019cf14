/* pasid.h: the PASID capability of a function, read from its configuration space.
 *
 * Owns nothing. The rules: PCI Express 6.0, 7.8.9 (the capability) and 7.6.3 (the list of extended
 * capabilities). The record is a fact of a Function. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Pasid {
        bool present;
        bool enabled;    /* control register, bit 0 */
        bool execute;    /* execute permission supported: capability register, bit 1 */
        bool privileged; /* privileged mode supported: capability register, bit 2 */
        uint8_t width;   /* bits of a PASID: capability register, bits 12:8. 0..20 by the
                          * specification;   21..31 are given as the device gives them */
} Pasid;

/* Reads 4 bytes at `offset` (a multiple of 4, 0x100..0xffc) of the configuration space into `*ret`,
 * in the machine's byte order. Returns 0 or a negative errno. */
typedef int PasidReader(void *context, unsigned offset, uint32_t *ret);

/* Looks for the capability through `read`, which is called at most once for each 4 bytes, and for
 * the headers of the list only, until the capability is found. Versions of capabilities are not
 * looked at: what a later version adds comes after what is read here (7.6.3). Returns 0 with
 * `ret->present` telling; or, with
 * `*ret` saying not present:
 *   -EBADMSG  the list is broken before the capability was found: it loops, points below 0x100, or
 * to a capability that does not fit or lies over another; -ENODEV   the device does not answer (all
 * bits are set): it is gone, being reset, or in D3cold; what `read` returned. */
int pasid_find(PasidReader *read, void *context, Pasid *ret);

/* Whether both say the same; what else a record holds does not count when it is not present. */
bool pasid_equal(const Pasid *a, const Pasid *b);
