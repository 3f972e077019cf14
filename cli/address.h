/* address.h: PCI addresses as a person types them.
 *
 * Owns nothing. Takes what lspci(8) takes, [DOMAIN:]BUS:DEVICE.FUNCTION with leading zeros left out
 * or not, and gives the one form the daemon knows. */
#pragma once

/* Gives the canonical form of `text`, DDDD:BB:DD.F in lower case with as many digits for the domain
 * as it needs, at least four; without a domain it is 0. Domains go up to 32 bits: s390 and VMD use
 * more than 16 bits of them.
 *
 * Returns 0 and a string of the caller's in `ret_address`, or -EINVAL and in `ret_why` a string of
 * the caller's that says what is wrong, to follow a colon. */
int address_normalise(const char *text, char **ret_address, char **ret_why);

/* The address that `text` may stand for although it is none: with other characters between the
 * parts, as libvirt has it (pci_0000_01_00_0), or with words around it. The caller's, or NULL. */
char *address_guess(const char *text);
