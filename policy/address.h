/* address.h: the address of a PCI function, as Linux writes it: DDDD:BB:DD.F.
 *
 * Owns nothing. A PciAddress is a value; its order is the order of lspci. The domain has up to 32
 * bits: VMD and Hyper-V use domains above 0xffff, which the kernel prints with more than four
 * digits ("%04x:%02x:%02x.%d", drivers/pci/probe.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct PciAddress {
        uint32_t domain;
        uint8_t bus;
        uint8_t device;   /* 0..31 */
        uint8_t function; /* 0..7 */
} PciAddress;

/* "ffffffff:ff:1f.7" and its NUL. */
#define PCI_ADDRESS_STRING_MAX 17

/* One number that identifies the function and sorts as the address does. */
typedef uint64_t PciKey;

/* Reads exactly the form that the kernel writes: lower- or upper-case hexadecimal digits, 4 to 8
 * for the domain (no needless leading zeros beyond four), 2 for the bus, 2 for the device up to 1f,
 * 1 for the function up to 7, nothing before or after. Returns 0, or -EINVAL with `*ret`
 * untouched. */
int pci_address_parse(const char *text, PciAddress *ret);

/* Reads the address of a hot-plug slot, DDDD:BB:NN with no function number (address_read_file() in
 * drivers/pci/slot.c). NN is the device number; on s390 alone it is the device and function number
 * in one (arch/s390/pci hands the devfn to pci_hp_register()), which `devfn_slots` says.
 * A slot without NN stands for no device: -EINVAL, as for all else, with `*ret` untouched. */
int pci_address_parse_slot(const char *text, bool devfn_slots, PciAddress *ret);

/* Writes the kernel's form into `buffer` and returns it. */
const char *pci_address_format(PciAddress address, char buffer[static PCI_ADDRESS_STRING_MAX]);

PciKey pci_address_key(PciAddress address);
PciAddress pci_address_from_key(PciKey key);
