/* pci-ids.h: finds names in the text of pci.ids (its form: pci.ids(5)).
 *
 * Owns the text and where each vendor is in it; a device is looked for among its vendor's lines at
 * each query. Pure: the caller has read the file. */
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct PciIds PciIds;

/* Takes `text` over, which ends with a NUL and may be anything: what is no line of pci.ids is
 * passed over. */
PciIds *pci_ids_new(char *text);
PciIds *pci_ids_free(PciIds *ids);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PciIds, pci_ids_free)

/* The name as it stands there, or NULL. Free with g_free(). */
char *pci_ids_vendor(const PciIds *ids, uint16_t vendor);
char *pci_ids_device(const PciIds *ids, uint16_t vendor, uint16_t device);
