"""The hardware of the x86 machine.

One table says what can be plugged: the command line and a later `device_add` use the same words, so
what a scenario pulls out and puts back is the same thing.
"""

import json

# Each endpoint sits alone behind a hot-pluggable root port with its own slot number.
ENDPOINTS = {
    # PF whose native driver takes its VFs away when it is unbound.
    "igb0": {"driver": "igb", "id": "igb0", "bus": "port1", "mac": "52:54:00:00:00:01"},
    # PF whose native driver leaves its VFs behind.
    "nvme0": {"driver": "nvme", "id": "nvme0", "bus": "port2", "serial": "vfwarden", "subsys": "subsys0",
              "max_ioqpairs": 10, "msix_qsize": 7, "sriov_max_vfs": 4, "sriov_vq_flexible": 8,
              "sriov_vi_flexible": 4},
    # A function with no SR-IOV.
    "plain0": {"driver": "e1000e", "id": "plain0", "bus": "port3", "mac": "52:54:00:00:00:03"},
    # Empty at boot: a second igb to be plugged by who needs it.
    "igb1": {"driver": "igb", "id": "igb1", "bus": "port4", "mac": "52:54:00:00:00:04"},
    # Two cards below one switch.
    "card0": {"driver": "e1000e", "id": "card0", "bus": "down0", "mac": "52:54:00:00:00:05"},
    "card1": {"driver": "e1000e", "id": "card1", "bus": "down1", "mac": "52:54:00:00:00:06"},
}
AT_BOOT = ("igb0", "nvme0", "plain0", "card0", "card1")
PORTS = 5
# QEMU plugs no switch while the machine runs.
SWITCH = (
    {"driver": "x3130-upstream", "id": "up0", "bus": "port5"},
    {"driver": "xio3130-downstream", "id": "down0", "bus": "up0", "addr": "0x0", "slot": 6, "chassis": 6},
    {"driver": "xio3130-downstream", "id": "down1", "bus": "up0", "addr": "0x1", "slot": 7, "chassis": 7},
)
# What a VMM in the guest drives: a controller with blocks, and a device without MSI-X.
VMM_BLOCKS = 16 << 20
VMM_DEVICES = (
    {"driver": "pcie-root-port", "id": "port9", "bus": "pcie.0", "addr": "0x9", "slot": 9, "chassis": 9},
    {"driver": "nvme", "id": "disk0", "bus": "port9", "serial": "blocks", "drive": "blocks", "max_ioqpairs": 2},
    {"driver": "pcie-root-port", "id": "port10", "bus": "pcie.0", "addr": "0xa", "slot": 12, "chassis": 12},
    {"driver": "edu", "id": "edu0", "bus": "port10"},
)

# With --bridges: a PCIe-to-PCI bridge with a device of two functions and another device, and a switch below a switch with a
# card of two functions. Both are below ports of one device, of which the first has no slot. QEMU's e1000 has no driver in the
# machine.
BRIDGES = (
    {"driver": "pcie-root-port", "id": "port6", "bus": "pcie.0", "addr": "0x7.0x0", "multifunction": True, "slot": 8, "chassis": 8,
     "hotplug": False},
    {"driver": "pcie-pci-bridge", "id": "pci0", "bus": "port6"},
    {"driver": "e1000", "id": "old0", "bus": "pci0", "addr": "0x1.0x0", "multifunction": True},
    {"driver": "e1000", "id": "old1", "bus": "pci0", "addr": "0x1.0x1"},
    {"driver": "e1000", "id": "old2", "bus": "pci0", "addr": "0x2"},
    {"driver": "pcie-root-port", "id": "port7", "bus": "pcie.0", "addr": "0x7.0x1", "slot": 9, "chassis": 9},
    {"driver": "x3130-upstream", "id": "up1", "bus": "port7"},
    {"driver": "xio3130-downstream", "id": "down2", "bus": "up1", "addr": "0x0", "slot": 10, "chassis": 10},
    {"driver": "x3130-upstream", "id": "up2", "bus": "down2"},
    {"driver": "xio3130-downstream", "id": "down3", "bus": "up2", "addr": "0x0", "slot": 11, "chassis": 11},
    {"driver": "e1000e", "id": "card2", "bus": "down3", "addr": "0x0.0x0", "multifunction": True},
    {"driver": "e1000e", "id": "card3", "bus": "down3", "addr": "0x0.0x1"},
)

IOMMUS = {
    # VT-d with interrupt remapping: MSIs are isolated.
    "intel": ["intel-iommu,intremap=on,device-iotlb=on"],
    # VT-d without: MSIs are not isolated.
    "intel-no-intremap": ["intel-iommu,intremap=off,device-iotlb=on"],
    # An IOMMU that has nothing to say about interrupts.
    "virtio": ["virtio-iommu-pci,bus=pcie.0,addr=0x1e"],
    "none": [],
}
# With --instructions: one nanosecond of the guest's clock is one instruction, whatever the load of the host.
INSTRUCTIONS = ["-accel", "tcg,thread=single", "-icount", "shift=0"]
CONSOLE = "ttyS0"
DISK = "virtio-blk-pci,bus=pcie.0,addr=0x10"
CHANNELS = "virtio-serial-pci,bus=pcie.0,addr=0x11"
# With a QEMU for the guest, where it has iommufd.
INNER_DISK = "virtio-blk-pci,bus=pcie.0,addr=0x12"


def devices(name):
    """What must be added, in this order, for the endpoint `name` to be there."""
    return [ENDPOINTS[name]]


def arguments(iommu, bridges=False, instructions=False):
    """QEMU arguments for everything but the disk, the kernel and the channels."""
    words = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-machine", "q35,kernel-irqchip=split,usb=off,vmport=off,smbus=off,sata=off",
             *(INSTRUCTIONS if instructions else ["-accel", "tcg,thread=multi"]), "-cpu", "max,la57=off", "-smp", "1", "-m", "2G",
             # Slots as real servers have them: PCIe's own hot-plug, not ACPI's.
             "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    for device in IOMMUS[iommu]:
        words += ["-device", device]
    for port in range(1, PORTS + 1):
        words += ["-device", json.dumps({"driver": "pcie-root-port", "id": f"port{port}", "bus": "pcie.0",
                                         "addr": f"0x{port + 1:x}", "slot": port, "chassis": port})]
    for device in SWITCH:
        words += ["-device", json.dumps(device)]
    words += ["-device", json.dumps({"driver": "nvme-subsys", "id": "subsys0", "nqn": "vfwarden"})]
    for name in AT_BOOT:
        words += ["-device", json.dumps(ENDPOINTS[name])]
    for device in BRIDGES if bridges else ():
        words += ["-device", json.dumps(device)]
    return words


# AML: Scope (\_SB.PCI0) { Method (_EJ0, 1) {} }. The root bridge then can be ejected, as those of some servers.
EJECTABLE = b"\x10\x12\\._SB_PCI0\x14\x06_EJ0\x01"


def firmware_arguments(directory):
    """QEMU arguments for an ACPI table, which is in a file in `directory`."""
    (directory / "ssdt").write_bytes(EJECTABLE)
    return ["-acpitable", f"sig=SSDT,rev=2,oem_id=VFWARD,oem_table_id=VFWEJECT,data={directory / 'ssdt'}"]


def vmm_arguments(directory):
    """QEMU arguments for what a VMM in the guest drives; its blocks are in a file in `directory`."""
    blocks = directory / "blocks"
    with open(blocks, "wb") as file:
        file.truncate(VMM_BLOCKS)
    words = ["-blockdev", json.dumps({"driver": "file", "filename": str(blocks), "node-name": "blocks"})]
    for device in VMM_DEVICES:
        words += ["-device", json.dumps(device)]
    return words


def kernel_command_line(iommu):
    words = ["root=/dev/vda", "console=ttyS0", "quiet", "loglevel=4", "panic=-1", "mitigations=off",
             "nowatchdog", "random.trust_cpu=on", "systemd.show_status=false",
             # Time must be right on a host that is busy: the TSC is measured wrongly there, and a timer
             # interrupt that the emulated APIC loses (seen with QEMU 10.0) must have a successor.
             "clocksource=hpet", "tsc=unstable", "nohz=off", "highres=off", "no_timer_check",
             "systemd.default_timeout_start_sec=120s", f"vfwarden.iommu={iommu}"]
    if iommu.startswith("intel"):
        words += ["intel_iommu=on"]
    return words
