"""The admin queue of an NVMe controller, driven by hand through an I/O session: the registers by the session, everything
else by the controller's own DMA in memory of ours, its completions by an MSI-X vector.

Written from the NVM Express Base Specification 1.4; the numbers in comments are its sections. All that is in registers and
memory is little-endian.
"""

import errno
import os
import select
import struct
import time

import pace
import vfio_user as vu

# Registers (3.1).
CC, CSTS, AQA, ASQ, ACQ, DOORBELLS = 0x14, 0x1c, 0x24, 0x28, 0x30, 0x1000
ENABLE, ENTRY_SIZES = 1, 6 << 16 | 4 << 20
READY = 1
COMMAND, MEMORY_AND_MASTER = 0x04, 0x406    # of configuration space; no INTx

IDENTIFY, CONTROLLER = 0x06, 1
ENTRIES = 16
SUBMISSION, COMPLETION = struct.Struct("<II16xQQII16x"), struct.Struct("<IIHHHH")
# Where they are in our memory, and the data, a page each.
PAGE = 4096
SUBMISSIONS, COMPLETIONS, DATA = 0, PAGE, 2 * PAGE
SIZE = 3 * PAGE


class AdminQueue:
    def __init__(self, session, base):
        """`base` is what the controller calls our memory."""
        self.session, self.base = session, base
        self.event = os.eventfd(0)
        self.tail = self.head = 0
        self.phase = 1
        self.memory = os.memfd_create("queue", os.MFD_CLOEXEC)
        os.ftruncate(self.memory, SIZE)
        session.map(base, SIZE, self.memory)
        session.write(vu.CONFIG, COMMAND, struct.pack("<H", MEMORY_AND_MASTER))
        session.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 1, [self.event])
        self._enable(False)
        self._set(AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1))
        for register, place in ((ASQ, SUBMISSIONS), (ACQ, COMPLETIONS)):
            self._set(register, (base + place) & 0xffffffff)
            self._set(register + 4, (base + place) >> 32)
        self._enable(True)

    def _set(self, register, value):
        self.session.write(0, register, struct.pack("<I", value))

    def _enable(self, on):
        """And waits until the controller says so (7.6.1)."""
        self._set(CC, ENTRY_SIZES | ENABLE if on else 0)
        end = time.monotonic() + 20 * pace.SCALE
        while struct.unpack("<I", self.session.read(0, CSTS, 4))[0] & READY != (READY if on else 0):
            if time.monotonic() > end:
                raise vu.ErrorReply(errno.ETIMEDOUT)

    def identify(self, address=None):
        """Has the controller write who it is (5.15) to our page, or to `address`. Returns the status of the completion (4.6)
        and the page."""
        os.pwrite(self.memory, b"\xaa" * PAGE, DATA)
        entry = SUBMISSION.pack(IDENTIFY, 0, self.base + DATA if address is None else address, 0, CONTROLLER, 0)
        os.pwrite(self.memory, entry, SUBMISSIONS + self.tail * SUBMISSION.size)
        self.tail = (self.tail + 1) % ENTRIES
        self._set(DOORBELLS, self.tail)
        status = self._complete()
        return status, os.pread(self.memory, PAGE, DATA)

    def _wait_interrupt(self):
        """After the end of the session no interrupt comes; a request fails then."""
        end = time.monotonic() + 20 * pace.SCALE
        while not select.select([self.event], [], [], 0.2)[0]:
            self.session.device_info()
            if time.monotonic() > end:
                raise vu.ErrorReply(errno.ETIMEDOUT)
        os.eventfd_read(self.event)

    def _complete(self):
        self._wait_interrupt()
        status = COMPLETION.unpack(os.pread(self.memory, COMPLETION.size, COMPLETIONS + self.head * COMPLETION.size))[5]
        if status & 1 != self.phase:
            raise vu.ErrorReply(errno.EBADMSG)
        self.head = (self.head + 1) % ENTRIES
        self.phase ^= self.head == 0
        self._set(DOORBELLS + 4, self.head)
        return status >> 1
