#!/usr/bin/python3
"""Loads and stores through a ring in the client's memory: what it does, and how it is set up."""

import errno
import fcntl
import os
import struct
import tempfile
import threading

import ioprocess
from ioprocess import DEADLINE, IoTest
from io_ring import (F_ADD_SEALS, FUTURE_WRITE, GROW, HEAD, LOAD, MESSAGES, SEAL_WRITE, SHRINK, SIZE, STORE, WANTED, Ring,
                     ring_memory, set_up)
import vfio_user as vu

PAGE = 4096
MFD_HUGETLB = 4


class RingTest(IoTest):
    def start(self, *options, wanted=WANTED, **more):
        io = super().start(*options, version=False, **more)
        self.capabilities = io.client.version(capabilities=wanted)[2]
        return io

    def ring(self, io, **more):
        ring = Ring(io.client, **more)
        self.addCleanup(ring.close)
        return ring

    def event(self, value=0, flags=os.EFD_NONBLOCK):
        fd = os.eventfd(0, flags | os.EFD_CLOEXEC)
        if value:
            os.eventfd_write(fd, value)
        self.addCleanup(os.close, fd)
        return fd

    def assert_ring_serves(self, ring):
        self.assertEqual(ring.access(DEADLINE, STORE, 0, 0x80, 8, b"ringing!")[0], 0)
        self.assertEqual(ring.access(DEADLINE, LOAD, 0, 0x80, 8), (0, b"ringing!"))

    def assert_broken(self, io, error=errno.EBADMSG):
        """The session ends with a reason, and alone."""
        self.assert_ends(io)
        report = io.report()
        self.assertEqual((report.kind, report.error), (ioprocess.CLOSED, -error))


class Offer(RingTest):
    def test_to_who_asks(self):
        self.start()
        self.assertEqual(self.capabilities["vfwarden_ring"]["entries"], 64)
        self.assertIn(self.capabilities["vfwarden_ring"]["max_spin_usec"], (0, 50))

    def test_to_nobody_else(self):
        """QEMU warns of capabilities that it does not know."""
        for wanted in (None, {}, {"vfwarden_rings": {}}, {"max_msg_fds": 16}):
            self.start(wanted=wanted)
            self.assertNotIn("vfwarden_ring", self.capabilities)

    def test_no_spinning_on_the_only_processor(self):
        """The client could not run meanwhile."""
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        try:
            io = self.start()
        finally:
            os.sched_setaffinity(0, allowed)
        self.assertEqual(self.capabilities["vfwarden_ring"]["max_spin_usec"], 0)
        ring = self.ring(io)
        self.assertEqual(ring.spin, 0)
        self.assert_ring_serves(ring)


class Accesses(RingTest):
    def test_are_those_of_the_socket(self):
        io = self.start()
        ring = self.ring(io)
        for count in range(1, 9):
            data = os.urandom(8)
            self.assertEqual(ring.access(DEADLINE, STORE, 0, 64 * count, count, data)[0], 0)
            self.assertEqual(io.client.read(0, 64 * count, count), data[:count])
            io.client.write(0, 64 * count, data[:count][::-1])
            self.assertEqual(ring.access(DEADLINE, LOAD, 0, 64 * count, count), (0, data[:count][::-1].ljust(8, b"\0")))
        counts = io.counts()
        self.assertEqual((counts["loads"], counts["stores"], counts["refused"]), (16, 16, 0))

    def test_refused(self):
        io = self.start()
        ring = self.ring(io)
        before = io.client.read(0, 0, 8)
        wrong = [(LOAD, 0, 65536, 1), (LOAD, 0, 65532, 8), (LOAD, 0, 4, 8), (LOAD, 1, 0, 1), (LOAD, 4, 24, 1), (LOAD, 0, 0, 0),
                 (LOAD, 0, 0, 9), (STORE, 0, 0, 16), (STORE, 0, 0, 2**32 - 1), (LOAD, 0, 2**64 - 1, 8), (LOAD, 0, 2**63, 8),
                 (LOAD, vu.CONFIG, 0, 4), (STORE, vu.CONFIG, 4, 2), (LOAD, vu.ZPCI, 0, 8), (LOAD, 15, 0, 4),
                 (LOAD, 2**32 - 1, 0, 4), (0, 0, 0, 8), (3, 0, 0, 8), (2**32 - 1, 0, 0, 8)]
        for entry in wrong:
            self.assertEqual(ring.access(DEADLINE, *entry, data=b"\xff" * 8)[0], errno.EINVAL, entry)
        for place in range(4):
            reserved = bytearray(32)
            reserved[8 * place + 7] = 1
            self.assertEqual(ring.access(DEADLINE, LOAD, 0, 0, 8, reserved=bytes(reserved))[0], errno.EINVAL)
        self.assertEqual(io.client.read(0, 0, 8), before)
        counts = io.counts()
        self.assertEqual((counts["refused"], counts["stores"]), (len(wrong) + 4, 0))
        self.assert_ring_serves(ring)

    def test_relaxed(self):
        io = self.start("--relaxed")
        ring = self.ring(io)
        self.assertEqual(ring.access(DEADLINE, STORE, 0, 5, 7, b"1234567.")[0], 0)
        self.assertEqual(io.client.read(0, 8, 4), b"4567")

    def test_a_whole_ring_at_once(self):
        """And around its end, and around the end of the counter's range of entries, in order."""
        for entries in (2, 4, 64):
            io = self.start()
            ring = self.ring(io, entries=entries)
            self.assertEqual(ring.entries, entries)
            for part in (entries, 1, entries, entries - 1, entries):
                first = ring.tail
                for i in range(part):
                    ring.fill(STORE, 0, 0, 8, struct.pack("=Q", i), number=first + i)
                ring.post(part)
                self.assertTrue(ring.wait(DEADLINE))
                self.assertEqual({ring.result(first + i)[0] for i in range(part)}, {0})
                self.assertEqual(io.client.read(0, 0, 8), struct.pack("=Q", part - 1))
            note = io.client.read(vu.CONFIG, ioprocess.NOTE, 8)
            self.assertEqual(struct.unpack("=Q", note)[0], 4 * entries)

    def test_both_ways_take_turns(self):
        io = self.start()
        ring = self.ring(io)
        for i in range(200):
            ring.set_word(MESSAGES, i)
            io.client.write(0, 0, struct.pack("=Q", i))
            self.assertEqual(ring.access(DEADLINE, LOAD, 0, 0, 8), (0, struct.pack("=Q", i)))

    def test_the_socket_is_read_while_the_ring_is_busy(self):
        """Also by a client that does not say that it sends, from another thread."""
        io = self.start()
        ring = self.ring(io)
        stop = threading.Event()
        failed = []

        def load():
            while not stop.is_set():
                first = ring.tail
                for i in range(ring.entries):
                    ring.fill(LOAD, 0, 0, 8, number=first + i)
                ring.post(ring.entries)
                while ring.word(HEAD) != ring.tail:
                    pass
                if ring.result(first)[0] != 0:
                    failed.append(ring.result(first))

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for _ in range(50):
                io.client.read(vu.CONFIG, 0, 4)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failed, [])

    def test_end_and_drain(self):
        """Orders of the daemon are obeyed while the ring is in use, and the ring hears of the end as the socket does."""
        io = self.start()
        ring = self.ring(io)
        event = self.event()
        io.client.set_irq(vu.REQUEST_IRQ, event)
        self.assert_ring_serves(ring)
        io.order(ioprocess.DRAIN)
        self.wait_readable(event, "the client is asked")
        self.assert_ring_serves(ring)
        io.order(ioprocess.END)
        self.assertEqual(ring.access(DEADLINE, LOAD, 0, 0, 8)[0], errno.ENODEV)
        self.assertEqual(ring.access(DEADLINE, STORE, 0, 0, 8)[0], errno.ENODEV)
        self.assert_error(errno.ENODEV, io.client.read, 0, 0, 8)
        io.client.close()
        self.assertEqual(io.report().kind, ioprocess.CLOSED)
        self.assertEqual(io.wait(), 0)


class Setup(RingTest):
    def fds(self, memory=None):
        fd = ring_memory() if memory is None else memory
        self.addCleanup(os.close, fd)
        return [fd, self.event(), self.event()]

    def refused(self, io, fds, error=errno.EINVAL, **more):
        before = io.descriptors()
        self.assert_error(error, set_up, io.client, fds, **more)
        self.assertEqual(io.descriptors(), before)

    def test_before_version(self):
        io = IoTest.start(self, version=False)
        self.refused(io, self.fds())
        io.client.version()
        self.assert_serves(io)
        # Whether it was offered makes no difference to who knows it.
        set_up(io.client, self.fds())

    def test_numbers(self):
        io = self.start()
        fds = self.fds()
        for entries in (0, 1, 3, 5, 63, 65, 128, 4096, 65536, 2**31, 2**32 - 1):
            self.refused(io, fds, entries=entries)
        for flags in (1, 2, 2**31):
            self.refused(io, fds, flags=flags)
        for argsz in (0, 15):
            self.refused(io, fds, argsz=argsz)
        for size in (0, 12, 15, 17, 4096):
            self.assert_error(errno.EINVAL, io.client.ask, vu.VFWARDEN_RING, bytes(size), fds)
        most = self.capabilities["vfwarden_ring"]["max_spin_usec"]
        self.assertEqual(set_up(io.client, fds, spin=2**32 - 1), (16, most))

    def test_second(self):
        io = self.start()
        ring = self.ring(io)
        self.refused(io, self.fds(), errno.EEXIST)
        self.assert_ring_serves(ring)

    def test_after_the_end(self):
        io = self.start()
        io.order(ioprocess.END)
        self.refused(io, self.fds(), errno.ENODEV)

    def test_wrong_memory(self):
        """Wrong seals, sizes, access modes and kinds of files."""
        io = self.start()
        for memory in (ring_memory(seals=0), ring_memory(seals=SHRINK), ring_memory(seals=GROW),
                       ring_memory(seals=SHRINK | GROW | SEAL_WRITE), ring_memory(seals=SHRINK | GROW | FUTURE_WRITE),
                       ring_memory(0), ring_memory(PAGE), ring_memory(SIZE - 1), ring_memory(SIZE + 1), ring_memory(3 * PAGE),
                       ring_memory(2**40)):
            self.refused(io, self.fds(memory))
        good = ring_memory()
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
            self.refused(io, self.fds(os.open(f"/proc/self/fd/{good}", flags)))
        os.close(good)
        with tempfile.TemporaryFile(dir="/dev/shm") as file:    # tmpfs without seals
            file.truncate(SIZE)
            self.refused(io, self.fds(os.dup(file.fileno())))
        with tempfile.TemporaryFile() as file:
            file.truncate(SIZE)
            self.refused(io, self.fds(os.dup(file.fileno())))
        ours, theirs = os.pipe()
        for fd in (ours, theirs, os.dup(io.client.socket.fileno()), os.eventfd(0), os.open("/dev/zero", os.O_RDWR)):
            self.refused(io, self.fds(fd))
        self.assert_serves(io)
        self.assert_ring_serves(self.ring(io))

    def test_huge_pages(self):
        """A file of these has another size, so it needs no look at its kind."""
        io = self.start()
        try:
            memory = ring_memory(2 * 2**20, flags=MFD_HUGETLB)
        except OSError:
            memory = ring_memory(2 * 2**20)     # no such pages here
        self.refused(io, self.fds(memory))

    def test_truncated_file(self):
        """One that was cut before its seals came; afterwards the kernel refuses it."""
        io = self.start()
        memory = ring_memory(seals=0)
        os.ftruncate(memory, 0)
        fcntl.fcntl(memory, F_ADD_SEALS, SHRINK | GROW)
        self.refused(io, self.fds(memory))
        ring = self.ring(io)
        for size in (0, PAGE, SIZE + PAGE):
            with self.assertRaises(PermissionError):
                os.ftruncate(ring.fd, size)
        self.assert_ring_serves(ring)

    def test_wrong_eventfds(self):
        io = self.start()
        memory = self.fds()[0]
        ours, theirs = os.pipe()
        path = os.open("/", os.O_PATH)
        for fd in (ours, theirs, io.client.socket.fileno(), memory, path):
            self.refused(io, [memory, fd, self.event()])
            self.refused(io, [memory, self.event(), fd])
        for fd in (ours, theirs, path):
            os.close(fd)
        self.assert_ring_serves(self.ring(io))

    def test_wrong_numbers_of_descriptors(self):
        io = self.start()
        fds = self.fds()
        for wrong in ([], fds[:1], fds[:2], fds + fds[2:], fds * 2, fds * 10, [fds[1], fds[0], fds[2]]):
            self.refused(io, wrong)
        self.assert_ring_serves(self.ring(io))

    def test_without_a_reply(self):
        io = self.start()
        io.client.send(io.client.message(vu.VFWARDEN_RING, vu.RING.pack(16, 0, 16, 50), flags=vu.NO_REPLY), self.fds())
        self.assert_serves(io)
        self.refused(io, self.fds(), errno.EEXIST)

    def test_memory_full_of_rubbish(self):
        """What stands there at the beginning is judged as what is written later."""
        io = self.start()
        memory = ring_memory()
        os.pwrite(memory, b"\xa5" * SIZE, 0)
        io.client.send(io.client.message(vu.VFWARDEN_RING, vu.RING.pack(16, 0, 64, 50)), self.fds(memory))
        io.client.receive()
        self.assert_broken(io)


if __name__ == "__main__":
    ioprocess.main()
