"""What a session does with a device besides loads and stores, on a real one: configuration writes, reset, interrupts."""

import os
import struct

from guest.check import equal, raises
from guest.io_client import IoClient
from guest.pci import IGB, PLAIN
from guest.registry import scenario
from guest.vfio import wait_free
from scenarios.io import CONFIG, allow

COMMAND, BAR0 = 0x04, 0x10
MEMORY, BUS_MASTER, NO_INTX = 0x2, 0x4, 0x400
# A register of igb that keeps what is written to it until a reset: the address of the receive ring (RDBAL).
# e1000e is no good here: its reset is that of power management, which leaves the registers of the emulated one alone.
SCRATCH = 0xc000
# Registers of e1000e: what interrupts are for (a read clears it), one that software causes, those that are let through.
CAUSE, CAUSE_SET, MASK_SET = 0xc0, 0xc8, 0xd0
INTX = 0
NONE, EVENTFD, MASK, UNMASK, TRIGGER = 0x01, 0x04, 0x08, 0x10, 0x20


def device_word(function, offset, length):
    """What the device has in its configuration space, not what VFIO shows."""
    with open(function.path("config"), "rb") as file:
        return int.from_bytes(os.pread(file.fileno(), length, offset), "little")


def word(client, offset, length):
    return int.from_bytes(client.read(CONFIG, offset, length), "little")


@scenario("a session writes configuration space, where the kernel keeps what is the host's and bus master stays off; it "
          "resets the device", deadline=90)
def configuration_and_reset(machine):
    allow(machine)
    IGB.bind("vfio-pci")
    machine.wait_property(IGB, "Driver", "vfio-pci")
    bar = device_word(IGB, BAR0, 4)
    client = IoClient(machine)
    client.open(IGB)

    client.write(CONFIG, COMMAND, struct.pack("<H", MEMORY | BUS_MASTER | NO_INTX))
    equal(word(client, COMMAND, 2) & (MEMORY | BUS_MASTER | NO_INTX), MEMORY | NO_INTX, "the command register")
    equal(device_word(IGB, COMMAND, 2) & BUS_MASTER, 0, "bus master of the device")
    client.write(CONFIG, BAR0, b"\xff" * 4)
    equal(word(client, BAR0, 4), 0xfffe0000, "what tells the size of BAR 0")
    equal(device_word(IGB, BAR0, 4), bar, "BAR 0 of the device")
    raises(OSError, lambda: client.write(CONFIG, 4096, b"x"), "a write past the end")

    client.write(0, SCRATCH, struct.pack("<I", 0x12345680))
    equal(client.read(0, SCRATCH, 4), struct.pack("<I", 0x12345680), "the register")
    client.reset()
    equal(client.read(0, SCRATCH, 4), bytes(4), "the register after a reset")
    equal(word(client, COMMAND, 2) & MEMORY, MEMORY, "memory is enabled as before")
    machine.wait_property(IGB, "InUse", True)
    client.end_session()
    wait_free(machine, IGB)


@scenario("the device's interrupt reaches the client's eventfd, is masked by the kernel then, and comes again when the client "
          "has unmasked it", deadline=90)
def interrupts(machine):
    allow(machine)
    PLAIN.bind("vfio-pci")
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    client = IoClient(machine)
    client.open(PLAIN)
    client.set_irq(INTX, EVENTFD | TRIGGER, with_event=True)
    client.write(0, MASK_SET, struct.pack("<I", 1))
    for turn in range(3):
        client.write(0, CAUSE_SET, struct.pack("<I", 1))
        equal(client.wait_event(), 1, f"interrupts in turn {turn}")
        equal(client.read(0, CAUSE, 4)[0] & 1, 1, "its cause")
        client.set_irq(INTX, NONE | UNMASK)
    client.set_irq(INTX, NONE | MASK)
    client.write(0, CAUSE_SET, struct.pack("<I", 1))
    client.set_irq(INTX, NONE | UNMASK)     # it is still asserted
    equal(client.wait_event(), 1, "interrupts that came while it was masked")
    client.set_irq(INTX, NONE | TRIGGER)
    equal(client.wait_event(), 1, "interrupts that the client triggers itself")
    client.end_session()
    wait_free(machine, PLAIN)
