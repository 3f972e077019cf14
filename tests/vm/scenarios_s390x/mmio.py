"""Stores of more than 8 bytes, by the MMIO system calls: where the kernel lets BARs of vfio-pci be mapped.

Whether it does is asked of VFIO itself; Linux 6.12 does not, 7.2 does. Neither is passed over: each has its answer.
"""

import ctypes
import errno
import mmap
import os
import re

import vfwarden_bus as vb

from guest import pci
from guest.check import contains, equal, raises, true
from guest.io_client import IoClient
from guest.pci import ZNVME
from guest.registry import scenario
from guest.vfio import REGION_CAN_BE_MAPPED, Opening, region_info
from scenarios.io import allow

# The controller's memory buffer: no register, each byte keeps what was stored in it.
BAR = 2
BLOCKS = (16, 32, 64, 128)
PAGE = 4096
# The system call, see <asm/unistd.h>.
S390_PCI_MMIO_WRITE = 352


def data_of(length):
    """Every byte is another."""
    return bytes((0x35 + 0x47 * i) & 0xff for i in range(length))


def place_of(length):
    """A multiple of 8 and of no more than that, which is all that a block asks for, and of its own for each length."""
    return 0x1008 + 0x100 * BLOCKS.index(length)


def each_reversed(data):
    """Each doubleword with its bytes the other way round."""
    return b"".join(data[i:i + 8][::-1] for i in range(0, len(data), 8))


class Root:
    """Root's own VFIO program, in the scenario's process."""

    def __init__(self, machine):
        machine.fence()
        machine.wait_property(ZNVME, "InUse", False)
        self.machine = machine
        self.opening = Opening(ZNVME)
        flags, self.place = region_info(self.opening.device, BAR)
        self.can_map = bool(flags & REGION_CAN_BE_MAPPED)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.opening.close()
        self.machine.wait_property(ZNVME, "InUse", False)

    def read(self, offset, length):
        return os.pread(self.opening.device, length, self.place + offset)

    def write_zeros(self, offset, length):
        os.pwrite(self.opening.device, bytes(length), self.place + offset)

    def store_block(self, offset, data):
        """By the system call on a mapping of its own."""
        with mmap.mmap(self.opening.device, PAGE, offset=self.place + offset // PAGE * PAGE) as page:
            start = ctypes.c_char.from_buffer(page)
            address = ctypes.addressof(start) + offset % PAGE
            equal(ctypes.CDLL(None).syscall(S390_PCI_MMIO_WRITE, ctypes.c_ulong(address), data,
                                            ctypes.c_ulong(len(data))), 0, "root's own system call")
            del start


def as_root_stores(machine):
    """What the device has after root's own store of each length, zeros again afterwards; None without blocks."""
    with Root(machine) as root:
        if not root.can_map:
            return None
        stored = {}
        for length in BLOCKS:
            root.store_block(place_of(length), data_of(length))
            stored[length] = root.read(place_of(length), length)
            # QEMU on a little-endian host reverses each doubleword of a PCI STORE BLOCK (pcistb_service_call() in
            # hw/s390x/s390-pci-inst.c); machines and QEMU on an s390 do not.
            true(stored[length] in (data_of(length), each_reversed(data_of(length))),
                 f"root's own block of {length} bytes is as it was, or each doubleword is reversed")
            root.write_zeros(place_of(length), length)
        return stored


def load(client, offset, length):
    return b"".join(client.read(BAR, offset + i, 8) for i in range(0, length, 8))


def check_short_stores(client):
    """1 to 8 bytes, on either kernel: byte-exact, and what is beside them stays."""
    expected = bytearray(64)
    for length, offset in ((8, 0), (4, 16), (4, 28), (2, 32), (2, 46), (1, 48), (1, 63)):
        client.write(BAR, offset, data_of(length))
        expected[offset:offset + length] = data_of(length)
        equal(client.read(BAR, offset, length), data_of(length), f"{length} bytes at {offset}")
        equal(load(client, 0, 64), bytes(expected), f"what is there after {length} bytes at {offset}")


def check_refused(client, offset, length, why):
    for store, number in ((client.write, errno.EINVAL), (client.store_block, errno.EIO)):
        error = raises(OSError, lambda store=store: store(BAR, offset, bytes(length)), why)
        equal(error.errno, number, f"the error for {why}")


def check_blocks(client, stored):
    """Both ways of a session: the data is sent, or taken from the client's memory."""
    for way in (client.write, client.store_block):
        for length in BLOCKS:
            place = place_of(length)
            way(BAR, place, data_of(length))
            equal(load(client, place - 8, length + 16), bytes(8) + stored[length] + bytes(8),
                  f"what a block of {length} bytes made, and the doublewords beside it")
            way(BAR, place, bytes(length))
    for offset, length, why in ((0, 136, "a block longer than the maximum"), (0, 20, "a length of 20"),
                                (4, 16, "an offset of 4"), (PAGE - 8, 16, "a block over the end of a page")):
        check_refused(client, offset, length, why)


@scenario("blocks of 16 to 128 bytes through a session, where BARs can be mapped: the device has what it has after "
          "root's own; where not, they are refused; 1 to 8 bytes are byte-exact on both. In the same session the controller "
          "writes to the client's memory, and its MSIs reach the client", deadline=200)
def session(machine):
    allow(machine)
    stored = as_root_stores(machine)
    client = IoClient(machine)
    facts = client.open(ZNVME, dma=True)
    client.start_queue()
    equal(client.identify()[0], 0, "the status of the controller's first command")
    told = {name: facts[name] for name in ("backend", "max-store-block", "relaxed", "pieces")}
    print(f"Linux {os.uname().release}: {told}", flush=True)
    check_short_stores(client)
    if stored:
        equal(told, {"backend": "mmio", "max-store-block": 128, "relaxed": False, "pieces": True}, "what it told")
        check_blocks(client, stored)
    else:
        equal(told, {"backend": "vfio-pci", "max-store-block": 8, "relaxed": False, "pieces": False}, "what it told")
        for length in BLOCKS:
            check_refused(client, place_of(length), length, f"a block of {length} bytes")
            equal(load(client, place_of(length), length), bytes(length), "what is there after that")
    equal(client.identify()[0], 0, "the status of a command after all stores")
    machine.wait_property(ZNVME, "MaxStoreBlock", facts["max-store-block"])
    equal(machine.property(ZNVME, "Backend"), facts["backend"], "Backend, while there is a session")
    client.end_session()
    machine.wait_property(ZNVME, "MaxStoreBlock", 0)


@scenario("StoreBlock over D-Bus and `vfwarden io store` of 128 bytes, likewise", deadline=90)
def by_hand(machine):
    allow(machine)
    stored = as_root_stores(machine)
    client = IoClient(machine)
    place, data = place_of(128), data_of(128)
    words = ("vfwarden", "io", "store", ZNVME.address, str(BAR))
    if stored:
        client.store(ZNVME, BAR, place, data)
        with Root(machine) as root:
            equal(root.read(place, 128), stored[128], "what root reads afterwards")
        done = machine.run_as("visitor", *words, hex(place + 0x800), data.hex())
        contains(done.stdout, f"stored 128 bytes at {place + 0x800:#x} of BAR 2", "what it says")
        with Root(machine) as root:
            equal(root.read(place + 0x800, 128), stored[128], "what root reads afterwards")
    else:
        error = raises(vb.BusError, lambda: client.store(ZNVME, BAR, place, data), "StoreBlock of 128 bytes")
        equal(error.name, vb.INVALID_ARGS, "its error")
        done = machine.run_as("visitor", *words, hex(place), data.hex(), check=False)
        true(done.returncode != 0, "vfwarden io store fails")
        contains(done.stdout, "Cannot store 128 bytes", "what it says")
        with Root(machine) as root:
            equal(root.read(place, 128), bytes(128), "what root reads afterwards")


# --- what the machine counts

DEBUGFS = "/sys/kernel/debug"
STATISTICS = f"{DEBUGFS}/pci/{ZNVME.address}/statistics"


def statistics(machine):
    """(stores, store blocks) as the firmware has counted them. It tells every 4 s: returns the first that it tells
    from now on, so that whatever was done before is in it."""
    def told():
        return re.search(r"^Last update TOD: (\S+)$", pci.read(STATISTICS), re.MULTILINE)[1]

    before = told()
    machine.wait(lambda: told() != before, "new numbers of the function's measurement", 30)
    text = pci.read(STATISTICS)
    return tuple(int(re.search(rf"{name} operations:\s+(\d+)$", text, re.MULTILINE)[1])
                 for name in ("Store", "Store block"))


@scenario("each store of a session is one instruction, as the machine counts them: PCI STORE up to 8 bytes, PCI STORE "
          "BLOCK beyond", deadline=120)
def one_instruction(machine):
    allow(machine)
    with Root(machine) as root:
        can_map = root.can_map
    if not os.path.ismount(DEBUGFS):
        machine.run("mount", "-t", "debugfs", "debugfs", DEBUGFS)
        machine.closers.append(lambda: machine.run("umount", DEBUGFS))
    client = IoClient(machine)
    client.open(ZNVME)
    stores, blocks = statistics(machine)
    for length in (1, 2, 4, 8):
        client.write(BAR, 8 * length, data_of(length))
    for length in BLOCKS if can_map else ():
        client.write(BAR, place_of(length), data_of(length))
        client.store_block(BAR, place_of(length), data_of(length))
    after = statistics(machine)
    equal((after[0] - stores, after[1] - blocks), (4, 2 * len(BLOCKS) if can_map else 0),
          "how many PCI STORE and PCI STORE BLOCK there were")
