/* pcie.h: what PCI Express says of a function: its link, and its serial number.
 *
 * Owns nothing. The rules: PCI Express 6.0, 7.5.3 (the capability), 7.9.3 (the serial number),
 * 7.5.1.1.11 and 7.6.3 (the lists of capabilities). A function that is integrated into the root
 * complex has no link (7.5.3.8). The fields of a VF's link are reserved, it has its PF's link
 * (9.3.5.11). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct Pcie {
        uint32_t
                link_speed; /* in millions of transfers a second; 0: no link, or one that is down */
        uint8_t link_width; /* in lanes; 0 as above */
        bool has_serial;
        uint64_t serial;
} Pcie;

/* Reads 4 bytes at `offset` (a multiple of 4, below 0x1000) of the configuration space into `*ret`,
 * in the machine's byte order. Returns 0 or a negative errno. */
typedef int PcieReader(void *context, unsigned offset, uint32_t *ret);

/* Looks through `read`, in extended configuration space only where `extended` says that there is
 * one. Returns 0; or, with nothing in `*ret`: -EBADMSG, a list is broken; -ENODEV, the device does
 * not answer; what `read` returned. */
int pcie_find(PcieReader *read, void *context, bool extended, Pcie *ret);

bool pcie_equal(const Pcie *a, const Pcie *b);
