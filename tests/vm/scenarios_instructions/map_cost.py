"""What a session adds to mapping memory for a device: DMA_MAP and DMA_UNMAP by a client, against the same two requests made of
VFIO directly. One instruction of this machine takes one nanosecond, so its clock counts them."""

import ctypes
import fcntl
import mmap
import os
import struct
import time

from guest.check import true
from guest.io_client import IoClient
from guest.pci import NVME
from guest.registry import scenario
from guest.vfio import Opening, wait_free
from scenarios.io_dma import allow, check_quiet, pinned

SIZES = (64 << 20, 512 << 20)
ROUNDS = 3
MOST = 1.1
# Of a request itself: a message each way, by a client in Python, and other programs on the machine's only processor.
REQUEST_SECONDS = 0.004
ADDRESS = 2 << 32
# VFIO_IOMMU_MAP_DMA and VFIO_IOMMU_UNMAP_DMA of <linux/vfio.h>, for reading and writing.
MAP_DMA, UNMAP_DMA = 0x3b71, 0x3b72
MAP, UNMAP = struct.Struct("=IIQQQ"), struct.Struct("=IIQQ")
READ_WRITE = 3


def directly(container, size):
    """Seconds of a map and of an unmap."""
    memory = os.memfd_create("memory")
    os.posix_fallocate(memory, 0, size)
    with mmap.mmap(memory, size) as mapping:
        start = ctypes.c_char.from_buffer(mapping)
        order = MAP.pack(MAP.size, READ_WRITE, ctypes.addressof(start), ADDRESS, size)
        begun = time.monotonic()
        fcntl.ioctl(container, MAP_DMA, order)
        mapped = time.monotonic()
        fcntl.ioctl(container, UNMAP_DMA, bytearray(UNMAP.pack(UNMAP.size, 0, ADDRESS, size)))
        ended = time.monotonic()
        del start
    os.close(memory)
    return mapped - begun, ended - mapped


def least(times):
    return [min(column) for column in zip(*times)]


@scenario(f"DMA_MAP and DMA_UNMAP of 64 and 512 MiB by a session take at most {MOST} times as long as VFIO's own, but for a "
          "request's own few milliseconds", deadline=900)
def session(machine):
    allow(machine)
    before = pinned()
    opening = Opening(NVME)
    direct = {size: least(directly(opening.container, size) for _ in range(ROUNDS)) for size in SIZES}
    opening.close()
    wait_free(machine, NVME)
    client = IoClient(machine)
    client.open(NVME, dma=True)
    by_session = {size: least(client.time_map(ADDRESS, size) for _ in range(ROUNDS)) for size in SIZES}
    client.end_session()
    check_quiet(machine, before)
    for size in SIZES:
        for what, ours, theirs in zip(("map", "unmap"), by_session[size], direct[size]):
            print(f"{what} of {size >> 20} MiB: {ours * 1000:.2f} ms by a session, {theirs * 1000:.2f} ms directly, "
                  f"{ours / theirs:.3f}", flush=True)
    true(all(ours - REQUEST_SECONDS <= MOST * theirs for size in SIZES for ours, theirs in zip(by_session[size], direct[size])),
         f"the ratios are at most {MOST}")
