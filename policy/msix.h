/* msix.h: the MSI-X capability of a function, read from its configuration space.
 *
 * Owns nothing. The rules: PCI Express 6.0, 7.7.2 (the capability) and 7.5.1.1.11 (the list of
 * capabilities). The record is a fact of a Function. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct Msix {
        bool present;
        uint8_t table_bar, pba_bar;        /* 0..5 */
        uint16_t vectors;                  /* 1..2048 */
        uint32_t table_offset, pba_offset; /* in those BARs, multiples of 8 */
} Msix;

/* Reads 4 bytes at `offset` (a multiple of 4, 0..0xfc) of the configuration space into `*ret`, in
 * the machine's byte order. Returns 0 or a negative errno. */
typedef int MsixReader(void *context, unsigned offset, uint32_t *ret);

/* Looks for the capability through `read`, which is called at most once for each 4 bytes. Returns 0
 * with `ret->present` telling; or, with `*ret` saying not present: -EBADMSG  the list is broken
 * before the capability was found: it loops, points below 0x40, or to a capability that does not
 * fit or lies over another; or the capability names a BAR that cannot be; -ENODEV   the device does
 * not answer (all bits are set): it is gone, being reset, or in D3cold; what `read` returned. */
int msix_find(MsixReader *read, void *context, Msix *ret);

/* Whether both say the same; what else a record holds does not count when it is not present. */
bool msix_equal(const Msix *a, const Msix *b);
