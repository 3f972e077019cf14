/* vfio-driver.h: which drivers are VFIO's, by their names.
 *
 * Owns nothing. The name answers where the kernel does not (before Linux 6.1, and for a driver that
 * is not bound yet); for a function there is function_has_vfio_driver(). A driver of a module bears
 * the module's name, with underscores (KBUILD_MODNAME), or one of its own, so both spellings occur:
 * vfio-pci, mlx5_vfio_pci, ism-vfio-pci or ism_vfio_pci. */
#pragma once

#include <stdbool.h>

/* VFIO's drivers for PCI are all named so: vfio-pci, and the variants that end in it. */
bool vfio_driver_is_named(const char *driver);

/* Whether the kernel lets VFIO have the IOMMU group of a function with that driver: it leaves DMA
 * alone (`driver_managed_dma` of the driver; iommu_device_use_default_domain() takes the group for
 * the host with every other). VFIO's drivers, pci-stub and pcieport, but not shpchp of a bridge. */
bool vfio_driver_shares_group(const char *driver);

/* ism-vfio-pci makes one PCISTB of each write, which sets it apart. */
bool vfio_driver_is_ism(const char *driver);
