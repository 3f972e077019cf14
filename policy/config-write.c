#include "policy/config-write.h"

#include <errno.h>
#include <linux/pci_regs.h>

int config_write_check(uint32_t size, uint64_t offset, uint64_t length) {
        uint64_t end;

        if (length == 0 || __builtin_add_overflow(offset, length, &end) || end > size)
                return -EINVAL;
        return 0;
}

void config_write_mask(uint64_t offset, uint8_t *data, size_t length, bool dma) {
        /* The register is little-endian; the bit is in its first byte. */
        if (!dma && offset <= PCI_COMMAND && PCI_COMMAND - offset < length)
                data[PCI_COMMAND - offset] &= (uint8_t) ~PCI_COMMAND_MASTER;
}
