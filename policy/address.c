#include "policy/address.h"

#include <errno.h>
#include <glib.h>

/* Takes `min` to `max` hexadecimal digits from `*cursor`. Returns 0 or -EINVAL. */
static int take_hex(const char **cursor, unsigned min, unsigned max, uint32_t *ret) {
        uint32_t value = 0;
        unsigned digits = 0;

        while (digits < max && g_ascii_isxdigit((*cursor)[digits])) {
                value = value << 4 | (uint32_t) g_ascii_xdigit_value((*cursor)[digits]);
                digits++;
        }
        if (digits < min)
                return -EINVAL;
        /* The kernel pads to `min` and no further: "00000:..." is nobody's address. */
        if (digits > min && (*cursor)[0] == '0')
                return -EINVAL;

        *cursor += digits;
        *ret = value;
        return 0;
}

static int take_char(const char **cursor, char expected) {
        if (**cursor != expected)
                return -EINVAL;
        (*cursor)++;
        return 0;
}

/* Takes DDDD:BB:NN. */
static int address_take_device(const char **cursor, uint32_t *ret_domain, uint32_t *ret_bus,
                               uint32_t *ret_number) {
        if (take_hex(cursor, 4, 8, ret_domain) < 0 || take_char(cursor, ':') < 0 ||
            take_hex(cursor, 2, 2, ret_bus) < 0 || take_char(cursor, ':') < 0)
                return -EINVAL;
        return take_hex(cursor, 2, 2, ret_number);
}

int pci_address_parse(const char *text, PciAddress *ret) {
        uint32_t domain, bus, device, function;

        if (address_take_device(&text, &domain, &bus, &device) < 0 || device > 0x1f ||
            take_char(&text, '.') < 0 || take_hex(&text, 1, 1, &function) < 0 || function > 7 ||
            *text != '\0')
                return -EINVAL;

        *ret = (PciAddress){ domain, (uint8_t) bus, (uint8_t) device, (uint8_t) function };
        return 0;
}

int pci_address_parse_slot(const char *text, bool devfn_slots, PciAddress *ret) {
        uint32_t domain, bus, number;

        if (address_take_device(&text, &domain, &bus, &number) < 0 || *text != '\0')
                return -EINVAL;
        if (!devfn_slots) {
                if (number > 0x1f)
                        return -EINVAL;
                number <<= 3;
        }

        *ret = (PciAddress){ domain, (uint8_t) bus, (uint8_t) (number >> 3), number & 0x7 };
        return 0;
}

const char *pci_address_format(PciAddress address, char buffer[static PCI_ADDRESS_STRING_MAX]) {
        static const char digits[] = "0123456789abcdef";
        unsigned n = 0;

        /* By hand: each event and each signal of each VF comes by here. */
        for (unsigned i = 8; i > 0; i--)
                if (i <= 4 || address.domain >> (4 * (i - 1)) != 0)
                        buffer[n++] = digits[address.domain >> (4 * (i - 1)) & 0xf];
        buffer[n++] = ':';
        buffer[n++] = digits[address.bus >> 4 & 0xf];
        buffer[n++] = digits[address.bus & 0xf];
        buffer[n++] = ':';
        buffer[n++] = digits[address.device >> 4 & 0x1];
        buffer[n++] = digits[address.device & 0xf];
        buffer[n++] = '.';
        buffer[n++] = digits[address.function & 0x7];
        buffer[n] = '\0';
        return buffer;
}

PciKey pci_address_key(PciAddress address) {
        return (PciKey) address.domain << 16 | (PciKey) address.bus << 8 |
               (PciKey) (address.device & 0x1f) << 3 | (address.function & 0x7);
}

PciAddress pci_address_from_key(PciKey key) {
        return (PciAddress){
                .domain = (uint32_t) (key >> 16),
                .bus = (uint8_t) (key >> 8),
                .device = (uint8_t) (key >> 3) & 0x1f,
                .function = (uint8_t) key & 0x7,
        };
}
