/* names.h: which functions a name stands for.
 *
 * Owns the table of the forms that a name may have; all is pure, over the inventory that the daemon
 * tells. An address in any form stands for itself, whether the function exists or not. Any other
 * name stands for each function that has it: several for an IOMMU group, a slot, vendor and device
 * or a disk with several paths. The prefix of a form ("net:", "group:") leaves the other forms
 * out. */
#pragma once

#include "cli/inventory.h"

/* The address that `text` is in one of its forms: as a person types it (address.h), as libvirt has
 * it (pci_0000_01_00_0), as udev has it (pci-0000:01:00.0-nvme-1), or as a path in sysfs has it.
 * The caller's, in canonical form, or NULL. */
char *name_to_address(const char *text);

/* What `path`, of a file in /dev or sysfs without an address in it, is called: "nvme0n1",
 * "group:11". The caller's. */
char *name_from_path(const char *path);

/* Whether `text` is a pattern: it has '*' or '?'. It stands for each function whose address or name
 * matches, and asks for several. */
bool name_is_pattern(const char *text);

/* Whether `text` can be nothing but an address, well-formed or not. */
bool name_is_like_address(const char *text);

/* The functions that have the name, in the order of the inventory, borrowed; empty if none has. The
 * array is the caller's. */
GPtrArray *names_find(const Inventory *inventory, const char *name);

/* The name, of those that exist, that a person may have meant by `name`. The caller's, or NULL. */
char *names_nearest(const Inventory *inventory, const char *name);

/* What a shell offers while `typed` is typed: addresses, interfaces and block devices, and after
 * the prefix of a form the names of that form. Each once; the array of char* is the caller's. */
GPtrArray *names_offer(const Inventory *inventory, const char *typed);
