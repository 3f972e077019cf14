/* pci-names.h: names of vendors and devices from pci.ids, wherever libpci has it.
 *
 * Owns libpci's handle, a table of the names asked for so far, and the file from the first name
 * that is not in the table to pci_names_drop_file(). */
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct PciNames PciNames;

PciNames *pci_names_new(void);
PciNames *pci_names_free(PciNames *names);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PciNames, pci_names_free)

/* Gives the names as new references, "" where pci.ids has none. Returns 0, or a negative errno when
 * the file cannot be read at present: the names are "" then and are looked for anew the next
 * time. */
int pci_names_lookup(PciNames *names, uint16_t vendor, uint16_t device, GRefString **ret_vendor,
                     GRefString **ret_device);

/* No name is asked for in the near future: the text of the file, more than a megabyte, is freed. */
void pci_names_drop_file(PciNames *names);
