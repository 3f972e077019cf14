"""An unmodified QEMU, started by a user without access to /dev/vfio, drives a whole function by a session with DMA."""

import os
import pathlib
import re
import signal

import pace

from guest.check import contains, equal, true
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario
from guest.vmm import (DEVICE_ID, DIRECTORY, FIRMWARE, IGNORE, KERNEL, OBEY, Vmm, adapted, as_printed, by_plain_vfio,
                       with_second)
from scenarios.io_dma import allow, check_quiet, pinned, wait_unpinned
from scenarios.io_end import io_pids, wait_end

# See host/hardware.py.
DISK = Function("0000:09:00.0")
WITHOUT_MSIX = Function("0000:0a:00.0")
RESETS = 10
# The PF has this address, and its VF in the inner machine the other.
HOST, GUEST = "10.9.0.1", "10.9.0.2"
BLOCKS = 16 << 20
TEXT, TEXT_OFFSET = b"the device wrote this\r\n\0", 0x100     # of the boot sector, see inner/boot.S
# Seconds that do not pass, and those that an unplug may take.
LONG = 3600
UNPLUG_SECONDS = 120 * pace.SCALE


def open_blocks(machine):
    """Its blocks, by its native driver. The disk has the number of its controller."""
    DISK.bind("nvme")
    name, = os.listdir(DISK.path("nvme"))
    path = f"/dev/{name}n1"
    machine.wait(lambda: os.path.exists(path), f"{path} to appear")
    return open(path, "r+b", buffering=0)


def write_blocks(machine, offset, data):
    with open_blocks(machine) as file:
        file.seek(offset)
        file.write(data)
        os.fsync(file.fileno())


def check_without_privilege(vmm):
    """QEMU has no device, no container and no iommufd, and is not root."""
    process = pathlib.Path(f"/proc/{vmm.pid()}")
    equal(process.stat().st_uid, 1000, "the user that QEMU runs as")
    links = [os.readlink(link) for link in (process / "fd").iterdir()]
    equal([link for link in links if re.search("vfio|iommu", link)], [], "QEMU's descriptors of VFIO")


@scenario("QEMU's firmware boots from an NVMe controller, which writes the boot sector to the memory of the inner machine, and does "
          "so after each of ten resets; when QEMU quits, no page stays pinned", deadline=900)
def firmware(machine):
    sector = bytearray((DIRECTORY / "boot.bin").read_bytes())
    sector[TEXT_OFFSET:TEXT_OFFSET + len(TEXT)] = TEXT
    write_blocks(machine, 0, bytes(sector))
    allow(machine, function=DISK)
    before = pinned()
    vmm = Vmm(machine, adapted(machine, DISK, bootindex=0))
    vmm.wait_said(re.escape(TEXT[:-1].decode()))
    true(pinned() > before, "pages are pinned for the device")
    check_without_privilege(vmm)
    for _ in range(RESETS):
        with vmm.qmp() as ask:
            ask("system_reset")
        vmm.wait_said(re.escape(TEXT[:-1].decode()))
    with vmm.qmp() as ask:
        ask("quit")
    equal(vmm.end(), 0, "QEMU's exit code")
    check_quiet(machine, before, DISK)


@scenario("docs/device.md: the command that starts QEMU, exactly as printed", deadline=400)
def documented(machine):
    allow(machine)
    before = pinned()
    vmm = Vmm(machine, as_printed(machine))
    machine.wait_property(NVME, "InUse", True)
    with vmm.qmp() as ask:
        contains(devices(ask), DEVICE_ID, "the devices of the inner machine")
        equal(ask("query-status")["return"]["status"], "running", "QEMU")
        true(pinned() > before, "pages are pinned for the device")
        ask("quit")
    equal(vmm.end(), 0, "QEMU's exit code")
    equal("vfwarden:" in vmm.words(), False, f"whether the command warned: {vmm.words()}")
    check_quiet(machine, before)


def devices(ask):
    """The ids of QEMU's devices."""
    return [entry["name"] for entry in ask("qom-list", path="/machine/peripheral")["return"]]


def start_guest(machine, function, order):
    """A guest that obeys requests, or ignores them."""
    vmm = Vmm(machine, adapted(machine, function, FIRMWARE))
    machine.wait_property(function, "InUse", True)
    with vmm.qmp() as ask:
        contains(devices(ask), DEVICE_ID, "the devices of the inner machine")
    vmm.send(order)
    return vmm


@scenario("an unplug asks the guest by QEMU's QMP: the function goes long before the deadline, and QEMU goes on without it. QEMU "
          "11.1.3 fails when it removes one with MSI-X (docs/device.md), so this one has none", deadline=300)
def unplug_obeyed(machine):
    allow(machine, function=WITHOUT_MSIX)
    before = pinned()
    vmm = start_guest(machine, WITHOUT_MSIX, OBEY)
    machine.client.start_unplug(WITHOUT_MSIX.address, LONG).result(UNPLUG_SECONDS)
    machine.wait_function(WITHOUT_MSIX, there=False)
    wait_unpinned(machine, before)
    with vmm.qmp() as ask:
        equal(DEVICE_ID in devices(ask), False, "whether QEMU has the device")
        ask("quit")
    equal(vmm.end(), 0, "QEMU's exit code")
    equal("vfwarden:" in vmm.words(), False, f"whether the command warned: {vmm.words()}")


@scenario("a guest that ignores the request loses its device at the end of the drain, and nothing else: QEMU lives, no page stays "
          "pinned", deadline=300)
def unplug_ignored(machine):
    allow(machine, function=PLAIN)
    before = pinned()
    vmm = start_guest(machine, PLAIN, IGNORE)
    machine.client.start_unplug(PLAIN.address, LONG, insist=True).result(UNPLUG_SECONDS)
    machine.wait_function(PLAIN, there=False)
    wait_unpinned(machine, before)
    with vmm.qmp() as ask:
        equal(ask("query-status")["return"]["status"], "running", "QEMU")
        ask("quit")
    equal(vmm.end(), 0, "QEMU's exit code")


@scenario("a Linux in QEMU reads and writes blocks, its interrupts come by MSI-X; QEMU and vfwarden-io, killed in the midst of "
          "DMA, leave no page pinned", deadline=1800)
def system(machine):
    pattern = os.urandom(1 << 20)
    write_blocks(machine, 0, pattern)
    allow(machine, function=DISK)
    before = pinned()
    vmm = Vmm(machine, adapted(machine, DISK, KERNEL))
    vmm.boot()
    check_without_privilege(vmm)
    vmm.run("until [ -b /dev/nvme0n1 ]; do sleep 0.1; done")
    vmm.run("dd if=/dev/nvme0n1 of=/read bs=64k count=16 iflag=direct && dd if=/read of=/dev/nvme0n1 bs=64k seek=32 conv=fsync")
    interrupts = vmm.interrupts("nvme")
    true(interrupts and all(count > 0 and kind.startswith("PCI-MSIX") for count, kind in interrupts), "interrupts by MSI-X")
    vmm.start("while dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct; do :; done")
    vmm.wait_said("records out")
    pid, = io_pids()
    pidfd = os.pidfd_open(pid)
    os.kill(vmm.pid(), signal.SIGKILL)
    wait_end(pidfd, "vfwarden-io", 120)
    os.close(pidfd)
    check_quiet(machine, before, DISK)
    vmm.end()
    with open_blocks(machine) as file:
        equal(file.read(len(pattern)) == pattern, True, "the blocks that were read are as before")
        file.seek(32 << 16)
        equal(file.read(len(pattern)) == pattern, True, "the blocks that the guest has copied")


def small_reads(vmm):
    """(reads of 4 KiB in a second of the inner machine's clock, interrupts a read), one read after the other."""
    count = 500
    before = sum(number for number, _ in vmm.interrupts("nvme"))
    vmm.run("read before rest < /proc/uptime")
    vmm.run(f"dd if=/dev/nvme0n1 of=/dev/null bs=4k count={count} iflag=direct")
    seconds = float(vmm.run("read after rest < /proc/uptime; awk \"BEGIN { print $after - $before }\""))
    return count / seconds, (sum(number for number, _ in vmm.interrupts("nvme")) - before) / count


@scenario("the same inner machine by plain VFIO, as root, and by a session: each request is one interrupt in both", deadline=2400)
def compared(machine):
    allow(machine, function=DISK)
    before = pinned()
    figures = []
    for words, user in ((by_plain_vfio(machine, DISK, KERNEL), "root"), (adapted(machine, DISK, KERNEL), "visitor")):
        vmm = Vmm(machine, words, user)
        vmm.boot()
        vmm.run("until [ -b /dev/nvme0n1 ]; do sleep 0.1; done")
        figures.append(small_reads(vmm))
        with vmm.qmp() as ask:
            ask("quit")
        equal(vmm.end(), 0, "QEMU's exit code")
        check_quiet(machine, before, DISK)
    for name, (requests, interrupts) in zip(("plain VFIO", "session"), figures):
        print(f"{name}: {requests:.0f} reads of 4 KiB a second, {interrupts:.2f} interrupts a read", flush=True)
        true(0.9 <= interrupts <= 1.2, f"interrupts a read with {name}: {interrupts}")


def set_up_network(machine):
    """A VF of the igb card, whose PF the host uses with an address. Returns the VF."""
    name, = os.listdir(IGB.path("net"))
    machine.run("ip", "address", "add", HOST + "/24", "dev", name)
    machine.run("ip", "link", "set", name, "up")
    machine.closers.append(lambda: machine.run("ip", "address", "flush", "dev", name))
    IGB.set_num_vfs(1)
    vf = Function(IGB.vfs()[0])
    machine.wait_function(vf)
    return vf


@scenario("a Linux in QEMU drives two functions by two sessions: packets of a VF of igb reach the PF and come back, by MSI-X; an "
          "e1000e has its interrupts by MSI, and by INTx. An unplug in the midst of the packets takes the VF, and nothing else",
          deadline=2400)
def network(machine):
    vf = set_up_network(machine)
    allow(machine, function=vf)
    PLAIN.bind("vfio-pci")
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    before = pinned()
    vmm = Vmm(machine, with_second(adapted(machine, vf, KERNEL), PLAIN))
    vmm.boot()
    check_without_privilege(vmm)
    for mode, kind in ((1, "PCI-MSI"), (0, "IO-APIC")):
        # The driver takes INTx when its first MSI is not there after 100 ms (e1000_test_msi()).
        vmm.run(f"until rmmod e1000e; insmod /e1000e.ko IntMode={mode}; "
                "until name=$(ls /sys/bus/pci/drivers/e1000e/*/net); do sleep 0.1; done; ip link set $name up; "
                f"grep $name /proc/interrupts | grep {kind}; do :; done")
        interrupts = vmm.interrupts("e1000e")
        true(interrupts and all(count > 0 and found.startswith(kind) for count, found in interrupts),
             f"interrupts of kind {kind}: {interrupts}")
    vmm.run(f"name=$(ls /sys/bus/pci/drivers/igbvf/*/net); ip address add {GUEST}/24 dev $name; ip link set $name up")
    vmm.run(f"until ping -c 1 -W 1 {HOST}; do :; done; ping -c 20 -i 0.1 {HOST}")
    interrupts = vmm.interrupts("igbvf")
    true(any(count > 20 and kind.startswith("PCI-MSIX") for count, kind in interrupts), f"interrupts by MSI-X: {interrupts}")

    vmm.start(f"ping {HOST} &")
    vmm.wait_said("bytes from")
    machine.client.start_unplug(vf.address, LONG, insist=True).result(UNPLUG_SECONDS)
    equal(vf.driver(), None, "the driver of the VF")
    machine.wait_property(PLAIN, "InUse", True)
    with vmm.qmp() as ask:
        equal(ask("query-status")["return"]["status"], "running", "QEMU")
        ask("quit")
    equal(vmm.end(), 0, "QEMU's exit code")
    check_quiet(machine, before, PLAIN)
