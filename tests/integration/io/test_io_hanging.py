#!/usr/bin/python3
"""Clients of vfwarden-io that make it wait, and their neighbours."""

import errno
import os
import struct
import threading
import time

import ioprocess
from ioprocess import DEADLINE, IoTest
from test_io_hostile import PAGE
from userfault import WriterThatWaits
import vfio_user as vu


class Hanging(IoTest):
    """What a client makes hang is its own session; the daemon is obeyed meanwhile."""

    def has_device(self, io):
        return any("device" in name for name in io.descriptors().values())

    def assert_obeys(self, io):
        for kind in (ioprocess.STATUS, ioprocess.DRAIN, ioprocess.STATUS):
            self.assertEqual(io.order(kind).error, 0)
        self.assertTrue(self.has_device(io))
        io.order(ioprocess.END)
        self.assertFalse(self.has_device(io), "the device is closed when that is reported")
        self.assertEqual(io.order(ioprocess.STATUS).kind, ioprocess.STATUS)

    def test_eventfd_made_blocking_again(self):
        """Its flags are shared by all copies."""
        io = self.start()
        event = os.eventfd(0)
        self.addCleanup(os.close, event)
        io.client.set_irq(vu.REQUEST_IRQ, event)
        os.eventfd_write(event, 2**64 - 2)
        os.set_blocking(event, True)
        self.assert_obeys(io)
        # What comes in its place is taken, and what hangs is not written to under another's number.
        memory = self.memory(PAGE)
        other = self.start()
        other.client.set_irq(vu.REQUEST_IRQ, event)
        other.order(ioprocess.DRAIN)
        other.client.set_irq(vu.REQUEST_IRQ, flags=0x21, count=0)
        for i in range(8):
            other.client.map(i * PAGE, PAGE, memory)
        os.eventfd_read(event)
        self.assert_serves(other)
        self.assertEqual(os.pread(memory, PAGE, 0), bytes(PAGE))

    def start_with_memory_to_hold(self):
        """To close that memory takes until release()."""
        io = self.start(preload=os.environ["VFWARDEN_IO_STUBBORN"])
        memory = self.memory(PAGE, content=b"hold it")
        io.client.map(0, PAGE, memory)
        return io, lambda: os.pwrite(memory, b"go on..", 0)

    def test_unmapped_memory_whose_close_takes_long(self):
        """As the last close of a huge file does."""
        io, release = self.start_with_memory_to_hold()
        io.client.send(io.client.message(vu.DMA_UNMAP, vu.UNMAP.pack(24, 0, 0, PAGE)))
        end = time.monotonic() + DEADLINE
        while io.counts()["maps"] > 0 and time.monotonic() < end:
            pass
        self.assert_obeys(io)
        release()
        self.assertEqual(io.client.receive()[2], 0)

    def test_the_end_of_memory_whose_close_takes_long(self):
        """The client is answered meanwhile."""
        io, release = self.start_with_memory_to_hold()
        io.control.send(struct.pack("=I", ioprocess.END))
        end = time.monotonic() + DEADLINE
        while self.has_device(io) and time.monotonic() < end:
            pass
        self.assert_error(errno.ENODEV, io.client.read, 0, 0, 8)
        release()
        self.assertEqual(io.report().kind, ioprocess.END)

    def test_memory_whose_lock_is_held(self):
        """A load's data cannot be written; not even SIGKILL would end that."""
        io = self.start()
        memory = self.memory(2 * PAGE)
        io.client.map(0, 2 * PAGE, memory)
        writer = WriterThatWaits(memory)
        try:
            io.client.send(io.client.message(vu.REGION_WRITE, vu.ACCESS.pack(
                vu.REQUEST_OFFSET, vu.ZPCI, vu.ZPCI_REQUEST.size) + vu.ZPCI_REQUEST.pack(vu.LOAD, PAGE, 0, 0, 8, 0, 0)))
            end = time.monotonic() + DEADLINE
            while io.counts()["loads"] == 0:    # then the device is done
                self.assertLess(time.monotonic(), end)
            self.assert_obeys(io)
        finally:
            writer.close()
        self.assertEqual(io.client.receive()[2], 0)
        self.assert_error(errno.ENODEV, io.client.read, 0, 0, 8)


class Neighbours(IoTest):
    def test_ten_sessions_one_ended(self):
        """Nine do not miss a reply while one is ended in the midst of traffic."""
        ios = [self.start() for _ in range(10)]
        counts, stop = [0] * 10, threading.Event()
        errors = [None] * 10

        def traffic(i):
            try:
                while not stop.is_set():
                    ios[i].client.write(0, 0, bytes(64))
                    counts[i] += 1
            except Exception as error:  # pylint: disable=broad-except
                errors[i] = error

        threads = [threading.Thread(target=traffic, args=(i,)) for i in range(10)]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + DEADLINE
        while min(counts) < 50 and time.monotonic() < ends:
            stop.wait(0.01)
        ios[4].order(ioprocess.END)
        threads[4].join(DEADLINE)
        after = list(counts)
        while min(c - a for i, (c, a) in enumerate(zip(counts, after)) if i != 4) < 50 and \
                time.monotonic() < ends:
            stop.wait(0.01)
        stop.set()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(errors[4].errno, errno.ENODEV)
        self.assertEqual([e for i, e in enumerate(errors) if i != 4], [None] * 9)
        self.assertGreaterEqual(min(c - a for i, (c, a) in enumerate(zip(counts, after)) if i != 4),
                                50)


if __name__ == "__main__":
    ioprocess.main()
