"""The hardware of the s390x machine: functions as zPCI shows them, each in a domain and a slot of its own.

Domain and slot have their names from the `zpci` device that goes before the function: its uid is the
domain, its fid is the slot. QEMU takes it away with the function.
"""

import json

ENDPOINTS = {
    "nvme0": [{"driver": "zpci", "id": "znvme0", "target": "nvme0", "uid": 0x13, "fid": 0x103},
              # Its controller memory buffer is BAR 2: memory that keeps whatever is stored in it.
              {"driver": "nvme", "id": "nvme0", "serial": "vfwarden", "cmb_size_mb": 1}],
    "rng0": [{"driver": "zpci", "id": "zrng0", "target": "rng0", "uid": 0xabcd, "fid": 0x20000007},
             {"driver": "virtio-rng-pci", "id": "rng0", "disable-legacy": "on"}],
}
AT_BOOT = ("nvme0", "rng0")

# What an s390 has is part of it.
IOMMUS = {"zpci": []}
CONSOLE = "ttysclp0"
DISK = "virtio-blk-ccw"
CHANNELS = "virtio-serial-ccw"


def devices(name):
    """What must be added, in this order, for the endpoint `name` to be there."""
    return ENDPOINTS[name]


def arguments(iommu):
    """QEMU arguments for everything but the disk, the kernel and the channels."""
    words = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-machine", "s390-ccw-virtio", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "1G"]
    for name in AT_BOOT:
        for device in devices(name):
            words += ["-device", json.dumps(device)]
    return words


def kernel_command_line(iommu):
    return ["root=/dev/vda", "console=ttyS1", "quiet", "loglevel=4", "panic=-1",
            "random.trust_cpu=on", "systemd.show_status=false", "systemd.default_timeout_start_sec=120s",
            f"vfwarden.iommu={iommu}"]


def firmware_arguments(_):
    return []
