#include "policy/msix.h"

#include <errno.h>
#include <linux/pci_regs.h>

#define LIST_BEGIN            0x40U
#define LIST_LAST             0xfcU /* of the last 4 bytes */
#define LIST_WORDS            (LIST_LAST / 4 + 1)

#define STATUS_HAS_LIST(word) ((word) & ((uint32_t) PCI_STATUS_CAP_LIST << 16))
/* Without the bit of multi-function devices. */
#define HEADER_TYPE(word) (((word) >> 16) & 0x7fU)

/* The lowest two bits of each pointer are reserved and "software must mask them". */
#define POINTER(word) ((word) &0xfcU)

/* The first 4 bytes: id, pointer, and message control of MSI-X. */
#define HEADER_ID(word)   ((word) &0xffU)
#define HEADER_NEXT(word) POINTER((word) >> 8)
#define VECTORS(word)     ((((word) >> 16) & PCI_MSIX_FLAGS_QSIZE) + 1)

#define BAR_MAX           5

/* The result of a read from a device that does not answer (2.3.2, and the kernel's
 * PCI_ERROR_RESPONSE). Nothing that is read here can look like this: there is no capability 0xff,
 * status has bits that are 0, there is no BAR 7. */
#define NO_ANSWER UINT32_MAX

typedef struct Walk {
        MsixReader *read;
        void *context;
        uint64_t seen; /* one bit for each 4 bytes */
} Walk;
_Static_assert(LIST_WORDS == 64, "one bit for each 4 bytes");

static int msix_walk_read(Walk *walk, unsigned offset, uint32_t *ret) {
        int r = walk->read(walk->context, offset, ret);

        if (r < 0)
                return r;
        return *ret == NO_ANSWER ? -ENODEV : 0;
}

/* Reads 4 bytes of the list that were not read before. */
static int walk_read_list(Walk *walk, unsigned offset, uint32_t *ret) {
        uint64_t bit = UINT64_C(1) << (offset / 4 % LIST_WORDS);

        if (offset < LIST_BEGIN || offset > LIST_LAST || (walk->seen & bit))
                return -EBADMSG;
        walk->seen |= bit;
        return msix_walk_read(walk, offset, ret);
}

/* Where the list begins; 0: there is none. */
static int find_list(Walk *walk, unsigned *ret) {
        uint32_t word;
        int r;

        r = msix_walk_read(walk, PCI_COMMAND, &word);
        if (r < 0)
                return r;
        *ret = 0;
        if (!STATUS_HAS_LIST(word))
                return 0;
        r = msix_walk_read(walk, PCI_CACHE_LINE_SIZE, &word);
        if (r < 0)
                return r;
        r = msix_walk_read(walk,
                           HEADER_TYPE(word) == PCI_HEADER_TYPE_CARDBUS ? PCI_CB_CAPABILITY_LIST
                                                                        : PCI_CAPABILITY_LIST,
                           &word);
        if (r < 0)
                return r;
        *ret = POINTER(word);
        return 0;
}

static int read_capability(Walk *walk, unsigned offset, uint32_t header, Msix *ret) {
        uint32_t table, pba;
        int r;

        r = walk_read_list(walk, offset + PCI_MSIX_TABLE, &table);
        if (r >= 0)
                r = walk_read_list(walk, offset + PCI_MSIX_PBA, &pba);
        if (r < 0)
                return r;
        if ((table & PCI_MSIX_TABLE_BIR) > BAR_MAX || (pba & PCI_MSIX_PBA_BIR) > BAR_MAX)
                return -EBADMSG;
        *ret = (Msix){
                .present = true,
                .vectors = (uint16_t) VECTORS(header),
                .table_bar = (uint8_t) (table & PCI_MSIX_TABLE_BIR),
                .table_offset = table & PCI_MSIX_TABLE_OFFSET,
                .pba_bar = (uint8_t) (pba & PCI_MSIX_PBA_BIR),
                .pba_offset = pba & PCI_MSIX_PBA_OFFSET,
        };
        return 0;
}

int msix_find(MsixReader *read, void *context, Msix *ret) {
        Walk walk = { .read = read, .context = context };
        unsigned offset;
        int r;

        *ret = (Msix){ 0 };
        r = find_list(&walk, &offset);
        if (r < 0)
                return r;
        while (offset != 0) {
                uint32_t header;

                r = walk_read_list(&walk, offset, &header);
                if (r < 0)
                        return r;
                if (HEADER_ID(header) == PCI_CAP_ID_MSIX)
                        return read_capability(&walk, offset, header, ret);
                offset = HEADER_NEXT(header);
        }
        return 0;
}

bool msix_equal(const Msix *a, const Msix *b) {
        if (!a->present || !b->present)
                return a->present == b->present;
        return a->vectors == b->vectors && a->table_bar == b->table_bar &&
               a->table_offset == b->table_offset && a->pba_bar == b->pba_bar &&
               a->pba_offset == b->pba_offset;
}
