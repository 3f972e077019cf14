"""What a session does with a device besides loads and stores: configuration writes and reset, on a real one."""

import os
import struct

from guest.check import equal, raises
from guest.io_client import IoClient
from guest.pci import IGB
from guest.registry import scenario
from guest.vfio import wait_free
from scenarios.io import CONFIG, allow

COMMAND, BAR0 = 0x04, 0x10
MEMORY, BUS_MASTER, NO_INTX = 0x2, 0x4, 0x400
# A register of igb that keeps what is written to it until a reset: the address of the receive ring (RDBAL).
# e1000e is no good here: its reset is that of power management, which leaves the registers of the emulated one alone.
SCRATCH = 0xc000


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
