#include "policy/pasid.h"

#include <errno.h>

#define EXTENDED_BEGIN 0x100U
#define EXTENDED_LAST  0xffcU /* of the last 4 bytes */
#define EXTENDED_WORDS ((EXTENDED_LAST - EXTENDED_BEGIN) / 4 + 1)

/* The header of an extended capability (PCIe 6.0, 7.6.3). The lowest two bits of `next` are
 * reserved and "software must mask them". */
#define HEADER_ID(header)   ((header) &0xffffU)
#define HEADER_NEXT(header) (((header) >> 20) & 0xffcU)

#define CAPABILITY_PASID    0x001bU

/* The capability register and, above it, the control register, at 4 from the header
 * (7.8.9.2, 7.8.9.3). */
#define REGISTERS_OFFSET 4U
#define EXECUTE          (1U << 1)
#define PRIVILEGED       (1U << 2)
#define WIDTH(registers) (((registers) >> 8) & 0x1fU)
#define ENABLED          (1U << 16)

/* The result of a read from a device that does not answer (2.3.2, and the kernel's
 * PCI_ERROR_RESPONSE). Neither a header nor our registers can look like this: `next` would have
 * reserved bits, as the registers would. */
#define NO_ANSWER UINT32_MAX

typedef struct Walk {
        PasidReader *read;
        void *context;
        uint64_t seen[(EXTENDED_WORDS + 63) / 64];
} Walk;

/* Reads a word that was not read before. */
static int pasid_walk_read(Walk *walk, unsigned offset, uint32_t *ret) {
        unsigned word = (offset - EXTENDED_BEGIN) / 4;
        uint64_t bit = UINT64_C(1) << (word % 64);
        int r;

        if (offset < EXTENDED_BEGIN || offset > EXTENDED_LAST || (walk->seen[word / 64] & bit))
                return -EBADMSG;
        walk->seen[word / 64] |= bit;
        r = walk->read(walk->context, offset, ret);
        if (r < 0)
                return r;
        return *ret == NO_ANSWER ? -ENODEV : 0;
}

int pasid_find(PasidReader *read, void *context, Pasid *ret) {
        Walk walk = { .read = read, .context = context };
        unsigned offset = EXTENDED_BEGIN;

        *ret = (Pasid){ 0 };
        while (offset != 0) {
                uint32_t header, registers;
                int r;

                r = pasid_walk_read(&walk, offset, &header);
                if (r < 0)
                        return r;
                if (HEADER_ID(header) != CAPABILITY_PASID) {
                        offset = HEADER_NEXT(header);
                        continue;
                }
                r = pasid_walk_read(&walk, offset + REGISTERS_OFFSET, &registers);
                if (r < 0)
                        return r;
                *ret = (Pasid){
                        .present = true,
                        .enabled = registers & ENABLED,
                        .execute = registers & EXECUTE,
                        .privileged = registers & PRIVILEGED,
                        .width = (uint8_t) WIDTH(registers),
                };
                return 0;
        }
        return 0;
}

bool pasid_equal(const Pasid *a, const Pasid *b) {
        if (!a->present || !b->present)
                return a->present == b->present;
        return a->enabled == b->enabled && a->execute == b->execute &&
               a->privileged == b->privileged && a->width == b->width;
}
