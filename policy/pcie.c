#include "policy/pcie.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stddef.h>

#define LIST_BEGIN     0x40U
#define LIST_END       0x100U
#define EXTENDED_BEGIN 0x100U
#define EXTENDED_END   0x1000U

/* The result of a read from a device that does not answer (2.3.2, and the kernel's
 * PCI_ERROR_RESPONSE). No header, status or link register can look like this. */
#define NO_ANSWER UINT32_MAX

typedef struct Walk {
        PcieReader *read;
        void *context;
} Walk;

static int pcie_read_word(const Walk *walk, unsigned offset, uint32_t *ret) {
        int r = walk->read(walk->context, offset, ret);

        if (r < 0)
                return r;
        return *ret == NO_ANSWER ? -ENODEV : 0;
}

/* The lowest two bits of each pointer are reserved and "software must mask them". */
static unsigned next_of(uint32_t header, bool extended) {
        return extended ? (header >> 20) & 0xffcU : (header >> 8) & 0xfcU;
}

static unsigned id_of(uint32_t header, bool extended) {
        return extended ? header & 0xffffU : header & 0xffU;
}

/* Follows a list from `offset` on. Returns 0 with the capability's place and header, `*ret_offset`
 * 0 when there is none. A list has no more headers than words; a longer one loops. */
static int pcie_find_in_list(const Walk *walk, unsigned offset, bool extended, unsigned id,
                             unsigned *ret_offset, uint32_t *ret_header) {
        const unsigned begin = extended ? EXTENDED_BEGIN : LIST_BEGIN;
        const unsigned end = extended ? EXTENDED_END : LIST_END;

        for (unsigned i = 0; offset != 0; i++) {
                uint32_t header;
                int r;

                if (offset < begin || offset >= end || i >= (end - begin) / 4)
                        return -EBADMSG;
                r = pcie_read_word(walk, offset, &header);
                if (r < 0)
                        return r;
                if (id_of(header, extended) == id) {
                        *ret_offset = offset;
                        *ret_header = header;
                        return 0;
                }
                offset = next_of(header, extended);
        }
        *ret_offset = 0;
        return 0;
}

/* 0: there is no list. */
static int pcie_find_list(const Walk *walk, unsigned *ret) {
        uint32_t command, type, pointer;
        int r = pcie_read_word(walk, PCI_COMMAND, &command);

        *ret = 0;
        if (r < 0 || !(command & ((uint32_t) PCI_STATUS_CAP_LIST << 16)))
                return r;
        r = pcie_read_word(walk, PCI_CACHE_LINE_SIZE, &type);
        if (r >= 0)
                r = pcie_read_word(walk,
                                   ((type >> 16) & 0x7fU) == PCI_HEADER_TYPE_CARDBUS
                                           ? PCI_CB_CAPABILITY_LIST
                                           : PCI_CAPABILITY_LIST,
                                   &pointer);
        if (r >= 0)
                *ret = pointer & 0xfcU;
        return r;
}

/* Of the bits of the Link Status register (7.5.3.8), as the kernel has it (pcie_link_speed[] in
 * drivers/pci/probe.c). */
static uint32_t speed_of(unsigned code) {
        static const uint32_t speeds[] = { 0, 2500, 5000, 8000, 16000, 32000, 64000 };

        return code < sizeof(speeds) / sizeof(speeds[0]) ? speeds[code] : 0;
}

static bool pcie_has_link(uint32_t header) {
        unsigned type = (header >> 16 & PCI_EXP_FLAGS_TYPE) >> 4;

        return type != PCI_EXP_TYPE_RC_END && type != PCI_EXP_TYPE_RC_EC;
}

static int pcie_read_link(const Walk *walk, Pcie *ret) {
        unsigned offset = 0;
        uint32_t header = 0, registers;
        int r = pcie_find_list(walk, &offset);

        if (r >= 0)
                r = pcie_find_in_list(walk, offset, false, PCI_CAP_ID_EXP, &offset, &header);
        if (r < 0 || offset == 0 || !pcie_has_link(header))
                return r;
        if (offset + PCI_EXP_LNKCTL >= LIST_END)
                return -EBADMSG;
        /* Link Control, and Link Status above it. */
        r = pcie_read_word(walk, offset + PCI_EXP_LNKCTL, &registers);
        if (r < 0)
                return r;
        ret->link_speed = speed_of(registers >> 16 & PCI_EXP_LNKSTA_CLS);
        ret->link_width =
                (uint8_t) ((registers >> 16 & PCI_EXP_LNKSTA_NLW) >> PCI_EXP_LNKSTA_NLW_SHIFT);
        return 0;
}

static int pcie_read_serial(const Walk *walk, Pcie *ret) {
        uint32_t header, low, high;
        unsigned offset;
        int r = pcie_find_in_list(walk, EXTENDED_BEGIN, true, PCI_EXT_CAP_ID_DSN, &offset, &header);

        if (r < 0 || offset == 0)
                return r;
        if (offset + 8 >= EXTENDED_END)
                return -EBADMSG;
        /* Either half may be all ones. */
        r = walk->read(walk->context, offset + 4, &low);
        if (r >= 0)
                r = walk->read(walk->context, offset + 8, &high);
        if (r < 0)
                return r;
        if (low == NO_ANSWER && high == NO_ANSWER)
                return -ENODEV;
        ret->serial = (uint64_t) high << 32 | low;
        ret->has_serial = true;
        return 0;
}

int pcie_find(PcieReader *read, void *context, bool extended, Pcie *ret) {
        const Walk walk = { read, context };
        Pcie pcie = { 0 };
        int r = pcie_read_link(&walk, &pcie);

        if (r >= 0 && extended)
                r = pcie_read_serial(&walk, &pcie);
        *ret = (Pcie){ 0 };
        if (r >= 0)
                *ret = pcie;
        return r;
}

bool pcie_equal(const Pcie *a, const Pcie *b) {
        return a->link_speed == b->link_speed && a->link_width == b->link_width &&
               a->has_serial == b->has_serial && a->serial == b->serial;
}
