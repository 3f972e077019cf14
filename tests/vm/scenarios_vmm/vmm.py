"""An unmodified QEMU, started by a user without access to /dev/vfio, drives a whole function by a session with DMA."""

import os
import pathlib
import re
import signal

import pace

from guest.check import contains, equal, true
from guest.pci import NVME, PLAIN, Function
from guest.registry import scenario
from guest.vmm import DEVICE_ID, DIRECTORY, FIRMWARE, IGNORE, KERNEL, OBEY, Vmm, adapted, as_printed
from scenarios.io_dma import allow, check_quiet, pinned, wait_unpinned
from scenarios.io_end import io_pids, wait_end

# See host/hardware.py.
DISK = Function("0000:09:00.0")
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
    machine.poll(lambda: os.path.exists(path), f"{path} to appear")
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


@scenario("QEMU's firmware boots from an NVMe controller, which writes the boot sector to the memory of the inner machine; when "
          "QEMU quits, no page stays pinned", deadline=400)
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


def start_guest(machine, order):
    """A guest that obeys requests, or ignores them."""
    vmm = Vmm(machine, adapted(machine, PLAIN, FIRMWARE))
    machine.wait_property(PLAIN, "InUse", True)
    with vmm.qmp() as ask:
        contains(devices(ask), DEVICE_ID, "the devices of the inner machine")
    vmm.send(order)
    return vmm


@scenario("an unplug asks the guest by QEMU's QMP: the function goes long before the deadline, and QEMU goes on without it",
          deadline=300)
def unplug_obeyed(machine):
    allow(machine, function=PLAIN)
    before = pinned()
    vmm = start_guest(machine, OBEY)
    machine.client.start_unplug(PLAIN.address, LONG).result(UNPLUG_SECONDS)
    machine.wait_function(PLAIN, there=False)
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
    vmm = start_guest(machine, IGNORE)
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
    interrupts = vmm.run("grep nvme /proc/interrupts")
    print(interrupts, flush=True)
    true(all(int(line.split()[1]) > 0 and "PCI-MSIX" in line for line in interrupts.splitlines()), "interrupts by MSI-X")
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
