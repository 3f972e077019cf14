"""The two machines: what differs between them, apart from their hardware.

One is of the host's own architecture, whose packages are installed as usual; code of the other cannot
run here, so its system is unpacked and set up by hand (foreignroot.py), and the project is
cross-compiled (project.py).
"""

import dataclasses
import types

from host import debian, hardware, hardware_s390x


@dataclasses.dataclass(frozen=True)
class Target:
    name: str                     # as `--arch` has it, and the kernel's machine name
    debian: str                   # Debian's name of the architecture
    triplet: str                  # of libraries and of the compiler
    foreign: bool                 # its code does not run on the host
    hardware: types.ModuleType
    kernel: str                   # the default one
    early: tuple                  # modules for the initial RAM disk, in this order after their dependencies
    modules: tuple                # modules present in the guest, with their dependencies
    qemu: str
    qemu_package: str
    devices: tuple                # that QEMU must have
    scenarios: str                # the directory


X86_64 = Target(
    name="x86_64", debian="amd64", triplet="x86_64-linux-gnu", foreign=False, hardware=hardware,
    kernel=f"linux-image-amd64/{debian.SUITES[-1]}",
    # With a virtio-iommu, the disk waits for its driver.
    early=("virtio_pci", "virtio_iommu", "virtio_blk", "ext4", "crc32c_generic"),
    modules=("virtio_console", "igb", "e1000e", "nvme", "vfio_pci", "vfio", "vfio_iommu_type1", "iommufd",
             "uio_pci_generic", "pci_stub", "igbvf", "autofs4", "dummy", "loop", "tun", "macvlan", "nvmet"),
    qemu="qemu-system-x86_64", qemu_package="qemu-system-x86",
    devices=("igb", "nvme", "nvme-subsys", "e1000e", "intel-iommu", "virtio-serial-pci"),
    scenarios="scenarios")

S390X = Target(
    name="s390x", debian="s390x", triplet="s390x-linux-gnu", foreign=True, hardware=hardware_s390x,
    kernel=f"linux-image-s390x/{debian.SUITES[-1]}",
    early=("virtio_blk", "ext4", "crc32c_generic"),
    modules=("virtio_console", "virtio_pci", "virtio_rng", "nvme", "vfio_pci", "vfio", "vfio_iommu_type1",
             "iommufd", "pci_stub", "autofs4", "dummy", "loop"),
    qemu="qemu-system-s390x", qemu_package="qemu-system-s390x",
    devices=("zpci", "nvme", "virtio-rng-pci", "virtio-serial-ccw"),
    scenarios="scenarios_s390x")

TARGETS = {target.name: target for target in (X86_64, S390X)}
