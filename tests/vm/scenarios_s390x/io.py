"""Loads and stores by somebody without privilege on a real zPCI function, on a big-endian host."""

import errno
import os

import vfwarden_bus as vb

from guest import pci, service
from guest.check import contains, equal, raises, true
from guest.io_client import IoClient
from guest.pci import ZNVME
from guest.registry import scenario
from guest.vfio import Opening, region_place, wait_free
from scenarios.slot import CLOSABLE, bind_vfio, power_path, write_in_child

RULE = """polkit.addRule(function(action, subject) {
    if ((action.id == "org.vfwarden1.zpci-io" || action.id == "org.vfwarden1.zpci-io-dma") && subject.user == "visitor")
        return polkit.Result.YES;
});
"""
# Registers of NVMe in BAR 0. ASQ can be written while the controller is disabled, as it is when no driver has it, and
# QEMU's keeps it over a reset, which each opening of the device is. The version is 1.4.0: a number, not a string.
CAP, VS, ASQ = 0x00, 0x08, 0x28
VERSION = bytes.fromhex("00040100")
# Bits 11:0 of ASQ are reserved, but QEMU keeps them, too: every byte is another.
PATTERN = bytes.fromhex("0123456789abcdef")


def allow(machine):
    bind_vfio(machine, ZNVME)
    machine.add_polkit_rule(RULE)
    machine.daemon.configure("[Io]\nAllowMsix=yes\nDrainSeconds=2\n")
    service.systemctl("reload", service.UNIT)


def root_reads(offset, length):
    """By VFIO itself, in the scenario's own process."""
    device = Opening(ZNVME)
    try:
        return os.pread(device.device, length, region_place(device.device, 0) + offset)
    finally:
        device.close()


def check_loads(load, capabilities):
    """`load(offset, length)`: of each length, what the device has in that place, whichever end the host puts first."""
    equal(load(VS, 4), VERSION, "VS")
    for length in (1, 2, 4, 8):
        offset = (CAP + 8 - length) & 4
        equal(load(offset, length), capabilities[offset:offset + length], f"{length} bytes at {offset} of CAP")


def check_stores(load, store):
    """Of each length, the shorter ones over what the longer ones left."""
    expected = bytearray(8)
    for offset, data in ((0, PATTERN), (0, PATTERN[4:]), (4, PATTERN[:4]), (0, PATTERN[2:4]), (0, PATTERN[:1])):
        store(ASQ + offset, data)
        expected[offset:offset + len(data)] = data
        if len(data) == 1:
            expected[1] = 0  # QEMU's NVMe takes one byte as two
        equal(load(ASQ, 8), bytes(expected), f"ASQ after {len(data)} bytes at {offset} of it")


@scenario("loads and stores of 1, 2, 4 and 8 bytes over D-Bus are byte-exact; what is no such length is refused",
          deadline=120)
def over_dbus(machine):
    allow(machine)
    capabilities = root_reads(CAP, 8)
    true(capabilities.strip(b"\0\xff"), "there is something to read")
    machine.wait_property(ZNVME, "InUse", False)
    client = IoClient(machine)
    check_loads(lambda *words: client.load(ZNVME, 0, *words), capabilities)
    check_stores(lambda *words: client.load(ZNVME, 0, *words), lambda *words: client.store(ZNVME, 0, *words))
    stored = client.load(ZNVME, 0, ASQ, 8)
    wait_free(machine, ZNVME)   # the process of the loads has closed the group
    equal(root_reads(ASQ, 8), stored, "ASQ as root reads it")
    wait_free(machine, ZNVME)
    equal(client.load(ZNVME, 15, 0, 2), int(ZNVME.read("vendor"), 16).to_bytes(2, "little"), "the vendor")
    for length in (0, 3, 9):
        error = raises(vb.BusError, lambda length=length: client.load(ZNVME, 0, 0, length), f"a load of {length} bytes")
        equal(error.name, vb.INVALID_ARGS, "its error")
    wait_free(machine, ZNVME)


@scenario("the same through a session; what would be split is refused", deadline=180)
def session(machine):
    allow(machine)
    capabilities = root_reads(CAP, 8)
    machine.wait_property(ZNVME, "InUse", False)
    client = IoClient(machine)
    client.open(ZNVME)
    check_loads(lambda *words: client.read(0, *words), capabilities)
    check_stores(lambda *words: client.read(0, *words), lambda *words: client.write(0, *words))
    for offset, length in ((1, 2), (4, 8), (0, 3)):
        error = raises(OSError, lambda words=(offset, length): client.read(0, *words), f"{length} bytes at {offset}")
        equal(error.errno, errno.EINVAL, "its error")


@scenario("with DMA the controller writes to the client's memory, and its MSI is an adapter interrupt that reaches the client; "
          "what it writes outside of the client's maps is lost, and nothing else happens", deadline=90)
def dma(machine):
    bind_vfio(machine, ZNVME)
    machine.add_polkit_rule(RULE)
    client = IoClient(machine)
    client.open(ZNVME, dma=True)
    client.start_queue()
    for _ in range(3):
        status, page = client.identify()
        equal((status, page[24:38]), (0, b"QEMU NVMe Ctrl"), "the status, and the model in the client's memory")
    # QEMU's controller does not look at how its write went (dma_buf_rw()), so its status says nothing.
    page = client.identify(1 << 30)[1]
    equal(page, b"\xaa" * len(page), "the client's page")
    equal(client.identify()[0], 0, "the status of another command")
    client.end_session()
    wait_free(machine, ZNVME)


@scenario("unplug during a session: a cooperative client is served, releases it, and the slot is off", deadline=180)
def unplug(machine):
    allow(machine)
    power = power_path(ZNVME)
    client = IoClient(machine)
    client.open(ZNVME)
    machine.check_locked(ZNVME, ["in-use"], CLOSABLE)
    mark = machine.mark()
    call = machine.client.start_unplug(ZNVME.address, 60)
    machine.client.recorder.wait_for("UnplugRequested", mark=mark)
    equal(client.read(0, VS, 4), VERSION, "what is read while it is asked to release it")
    client.end_session()
    call.result(60)
    machine.wait_function(ZNVME, there=False)
    equal((ZNVME.exists(), pci.read(power)), (False, "0"), "the function and its slot's power")


@scenario("unplug with a stubborn client: nothing has changed without insisting; with it, ENODEV, and the slot is off",
          deadline=180)
def unplug_stubborn(machine):
    allow(machine)
    power = power_path(ZNVME)
    client = IoClient(machine)
    client.open(ZNVME)
    client.read_for_ever(0, VS, 4)
    error = raises(vb.BusError, machine.client.start_unplug(ZNVME.address, 0.5).result, "without insisting")
    equal(error.name, vb.TIMEOUT, "its error")
    equal((machine.property(ZNVME, "State"), ZNVME.driver(), pci.read(power)), ("present", "vfio-pci", "1"),
          "its state, its driver and the slot's power")
    before = client.progress()
    machine.client.start_unplug(ZNVME.address, 60, insist=True).result(60)
    count, error = client.done()
    equal(error, errno.ENODEV, "what ended its reads")
    true(count > before, f"it was served until then: {count} reads, {before} before")
    machine.wait_function(ZNVME, there=False)
    equal((ZNVME.exists(), pci.read(power)), (False, "0"), "the function and its slot's power")


@scenario("power 0 through a descriptor opened before the lock, while the client, asked to release it, does I/O: it is "
          "served, then gets ENODEV, and the power goes; power 1: the function is back, without its driver_override",
          deadline=90)
def behind_our_back(machine):
    allow(machine)
    power = power_path(ZNVME)
    descriptor = os.open(power, os.O_WRONLY)
    client = IoClient(machine)
    client.open(ZNVME)
    machine.check_locked(ZNVME, ["in-use"], CLOSABLE)
    client.read_for_ever(0, VS, 4)
    mark = machine.mark()
    writer = write_in_child(descriptor)
    machine.client.recorder.wait_for("UnplugRequested", mark=mark)
    before = client.progress()
    equal(pci.read(power), "1", "the slot's power, while it is served")
    count, error = client.done()
    equal(error, errno.ENODEV, "what ended its reads")
    true(count > before, f"it was served while it was asked: {count} reads, {before} before")
    equal(os.waitpid(writer, 0)[1], 0, "how the writer ended")
    machine.wait_function(ZNVME, there=False)
    equal((pci.read(power), pci.mode(power)), ("0", 0o644), "the slot's power, and the mode of the file")

    pci.write(power, "1")
    machine.wait_property(ZNVME, "Driver", "nvme")
    machine.check_locked(ZNVME, [], [])
    entry, = machine.journal.of_daemon(MESSAGE_ID=service.OVERRIDE_LOST)
    equal(entry["VFWARDEN_ADDRESS"], ZNVME.address, "the function whose lost driver_override is told")
    contains(entry["MESSAGE"], "vfio-pci", "what the journal says")
