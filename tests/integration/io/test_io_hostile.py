#!/usr/bin/python3
"""Clients of vfwarden-io that lie, flood, dawdle or do not read: they harm their own session, and nothing else."""

import array
import errno
import os
import socket
import struct
import subprocess
import tempfile
import threading

import ioprocess
from ioprocess import IoTest
import vfio_user as vu

PAGE = 4096
SO_PASSPIDFD = 76   # Linux 6.5


class Messages(IoTest):
    def test_half_a_header_and_silence(self):
        io = self.start()
        io.client.send(io.client.message(vu.GET_INFO)[:8])
        # Orders are obeyed meanwhile, and the end of it is the end of the session.
        self.assertEqual(io.order(ioprocess.STATUS).counts["refused"], 0)
        io.client.close()
        self.assertEqual(io.report().kind, ioprocess.CLOSED)
        self.assertEqual(io.wait(), 0)

    def test_half_a_header_then_the_rest(self):
        io = self.start()
        message = io.client.message(vu.REGION_READ, vu.ACCESS.pack(0, 0, 8), number=5)
        for i in range(len(message)):
            io.client.send(message[i:i + 1])
        self.assertEqual(io.client.receive()[:3], (5, vu.REGION_READ, 0))

    def test_sizes_that_cannot_be(self):
        """Where the next message begins cannot be known: an answer, and the end."""
        for size, error, told in ((0, errno.EINVAL, errno.EBADMSG), (15, errno.EINVAL, errno.EBADMSG),
                                  (2**32 - 1, errno.EMSGSIZE, errno.EMSGSIZE),
                                  (2**31, errno.EMSGSIZE, errno.EMSGSIZE),
                                  (16 + 8 + 200 * 24 + 1, errno.EMSGSIZE, errno.EMSGSIZE)):
            with self.subTest(size):
                io = self.start()
                io.client.send(io.client.message(vu.REGION_WRITE, bytes(64), size=size, number=3))
                self.assertEqual(io.client.receive()[:3], (3, vu.REGION_WRITE, error))
                self.assert_ends(io)
                report = io.report()
                self.assertEqual((report.kind, report.error), (ioprocess.CLOSED, -told))

    def test_payloads_of_wrong_sizes(self):
        io = self.start()
        fixed = {vu.VERSION: 4, vu.DMA_MAP: 32, vu.DMA_UNMAP: 24, vu.GET_INFO: 16,
                 vu.GET_REGION_INFO: 32, vu.GET_IRQ_INFO: 16, vu.SET_IRQS: 20, vu.REGION_READ: 16,
                 vu.REGION_WRITE: 16, vu.REGION_WRITE_MULTI: 8}
        for command, size in fixed.items():
            for wrong in (0, 1, size - 1, size + 1, 4096):
                self.assert_error(errno.EINVAL, io.client.ask, command, bytes(wrong))
            # An argsz, or a count, of 0.
            self.assert_error(errno.EINVAL, io.client.ask, command, bytes(size))
        self.assert_serves(io)

    def test_counts_that_lie(self):
        io = self.start()
        for count, size in ((8, 7), (7, 8), (0, 8), (2**32 - 1, 8), (8, 0)):
            self.assert_error(errno.EINVAL, io.client.ask, vu.REGION_WRITE,
                              vu.ACCESS.pack(0, 0, count) + bytes(size))
        for region in (0, vu.CONFIG, vu.ZPCI):
            for count in (0, 4097, 2**31, 2**32 - 1):
                self.assert_error(errno.EINVAL, io.client.read, region, 0, count)
        self.assertEqual(io.counts()["stores"], 0)
        self.assert_serves(io)

    def test_several_writes_that_lie(self):
        """About their number, or their lengths: none is done, or the others alone."""
        io = self.start()
        one = vu.ACCESS.pack(0, 0, 8) + b"whatever"
        for count, writes in ((0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (201, 200), (2**64 - 1, 1), (2**61 + 1, 1), (2**32 + 1, 1)):
            self.assert_error(errno.EINVAL, io.client.ask, vu.REGION_WRITE_MULTI, struct.pack("=Q", count) + one * writes)
        for count in (0, 9, 16, 2**31, 2**32 - 1):
            self.assert_error(errno.EINVAL, io.client.ask, vu.REGION_WRITE_MULTI,
                              struct.pack("=Q", 1) + vu.ACCESS.pack(0, 0, count) + bytes(8))
        self.assertEqual(io.counts()["stores"], 0)
        self.assert_serves(io)

    def test_writes_to_configuration_space_at_its_ends(self):
        io = self.start()
        before = io.client.read(vu.CONFIG, 0, 4096)
        for offset, size in ((4096, 1), (4095, 2), (1, 4096), (2**63, 1), (2**64 - 1, 1), (2**64 - 1, 8), (2**32, 4)):
            self.assert_error(errno.EINVAL, io.client.write, vu.CONFIG, offset, b"\xff" * size)
        self.assertEqual(io.client.read(vu.CONFIG, 0, 4096), before)

    def test_unknown_commands(self):
        io = self.start()
        for command in (0, 14, 17, 18, 19, 255, 0x7777, 0xffff):
            self.assert_error(errno.EOPNOTSUPP, io.client.ask, command, bytes(40))
        self.assert_serves(io)

    def test_replies_sent_to_the_server(self):
        io = self.start()
        for kind in (1, 2, 15, 0x21):
            io.client.send(io.client.message(vu.GET_INFO, bytes(16), flags=kind))
            self.assertEqual(io.client.receive()[2], errno.EINVAL)
        io.client.send(io.client.message(vu.GET_INFO, bytes(16), flags=vu.REPLY | vu.NO_REPLY))
        self.assert_serves(io)

    def test_version_that_is_no_text(self):
        for data in (b"x", b"{\"capabilities\"", b"\xff" * 4000, b"{" * 4096):
            io = self.start(version=False)
            self.assert_error(errno.EINVAL, io.client.ask, vu.VERSION,
                              struct.pack("=HH", 0, 0) + data)
            # What its text says is not looked at; that it is a text is.
            io.client.ask(vu.VERSION, struct.pack("=HH", 0, 0) + data[:4000] + b"\0")
            self.assert_serves(io)

    def test_a_client_that_never_reads(self):
        """It is stopped by its own full socket; what the process holds does not grow."""
        io = self.start()
        size = io.status("VmSize")
        message = io.client.message(vu.REGION_READ, vu.ACCESS.pack(0, vu.CONFIG, 4096))
        io.client.socket.settimeout(0.3 * ioprocess.SCALE)
        with self.assertRaises(TimeoutError):
            while True:
                io.client.socket.sendall(message * 100)
        self.assertEqual(io.status("VmSize"), size)
        self.assertEqual(io.order(ioprocess.STATUS).kind, ioprocess.STATUS)
        io.client.close()
        self.assertEqual(io.wait(), 0)

    def test_random_bytes(self):
        io = self.start()
        io.client.socket.setblocking(False)
        try:
            for _ in range(64):
                io.client.socket.send(os.urandom(4096))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        io.client.close()
        self.assertEqual(io.wait(), 0)


def directory_on_a_disk():
    """One that can be written, and whose files are no memory: /var/tmp is on a tmpfs on some systems."""
    for path in ("/var/tmp", os.getcwd()):
        kind = subprocess.run(["stat", "-f", "-c", "%T", path], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
        if kind not in ("", "tmpfs", "ramfs") and os.access(path, os.W_OK):
            return path
    raise AssertionError("no directory is on a disk")


class Maps(IoTest):
    def refused(self, io, address, size, fd, error=errno.EINVAL, **more):
        """And the descriptor is not kept."""
        before = io.descriptors()
        self.assert_error(error, io.client.map, address, size, fd, **more)
        self.assertEqual(io.descriptors(), before)

    def test_what_is_no_memory(self):
        io = self.start()
        ours, theirs = os.pipe()
        directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        null = os.open("/dev/zero", os.O_RDWR)
        path = os.open("/dev/shm", os.O_PATH)
        event = os.eventfd(0)
        with tempfile.TemporaryFile(dir=directory_on_a_disk()) as file, socket.socket() as net:
            file.truncate(PAGE)
            for fd in (ours, theirs, directory, null, path, event, file.fileno(), net.fileno(),
                       io.client.socket.fileno()):
                self.refused(io, 0, PAGE, fd)
        for fd in (ours, theirs, directory, null, path, event):
            os.close(fd)
        self.assert_serves(io)

    def test_no_descriptor(self):
        """Memory that could only be asked for: it is known, and cannot be used."""
        io = self.start()
        io.client.map(0, PAGE)
        self.assert_error(errno.EFAULT, io.client.zpci, vu.STORE_BLOCK, 0, 0, 16)
        self.assert_error(errno.EFAULT, io.client.zpci, vu.LOAD, 0, 0, 8)
        self.assert_error(errno.EEXIST, io.client.map, 0, PAGE)
        io.client.unmap(0, PAGE)

    def test_sizes(self):
        io = self.start()
        fd = self.memory(2 * PAGE)
        for address, size, offset in ((0, 0, 0), (0, 1, 0), (1, PAGE, 0), (0, PAGE, 8),
                                      (0, 3 * PAGE, 0), (0, 2 * PAGE, PAGE), (0, PAGE, 2 * PAGE),
                                      (0, PAGE, 2**64 - PAGE), (2**64 - PAGE, PAGE, 0),
                                      (2**64 - PAGE, 2 * PAGE, 0), (0, 2**64 - PAGE, 0),
                                      (PAGE, 2**64 - PAGE, PAGE)):
            self.refused(io, address, size, fd, offset=offset)
        for flags in (0, 4, 7, 2**32 - 1):
            self.refused(io, 0, PAGE, fd, flags=flags)
        self.assertEqual(io.counts()["maps"], 0)

    def test_modes(self):
        io = self.start()
        fd = self.memory(PAGE)
        reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
        self.refused(io, 0, PAGE, reader, flags=vu.READ | vu.WRITE)
        self.refused(io, 0, PAGE, writer, flags=vu.READ)
        io.client.map(0, PAGE, reader, flags=vu.READ)
        io.client.map(PAGE, PAGE, writer, flags=vu.WRITE)
        os.close(reader)
        os.close(writer)

    def test_cut_under_requests(self):
        """The file is cut and made long again while stores run: EFAULT, never a signal."""
        io = self.start()
        fd = self.memory(16 * PAGE)
        io.client.map(0, 16 * PAGE, fd)
        stop = threading.Event()

        def cut():
            while not stop.is_set():
                os.ftruncate(fd, 0)
                os.ftruncate(fd, 16 * PAGE)

        thread = threading.Thread(target=cut)
        thread.start()
        try:
            for _ in range(3000):
                for operation, gaddr, length in ((vu.STORE_BLOCK, 8 * PAGE, PAGE),
                                                 (vu.LOAD, 15 * PAGE, 8)):
                    try:
                        io.client.zpci(operation, gaddr, 0, length)
                    except vu.ErrorReply as error:
                        self.assertEqual(error.errno, errno.EFAULT)
        finally:
            stop.set()
            thread.join()
        os.ftruncate(fd, 8 * PAGE + 8)
        self.assert_error(errno.EFAULT, io.client.zpci, vu.STORE_BLOCK, 8 * PAGE, 0, 16)
        self.assert_error(errno.EFAULT, io.client.zpci, vu.LOAD, 8 * PAGE + 4, 0, 8)
        # And no write of ours made it longer.
        self.assertEqual(os.fstat(fd).st_size, 8 * PAGE + 8)
        self.assert_serves(io)

    def test_overlaps(self):
        io = self.start()
        fd = self.memory(4 * PAGE)
        io.client.map(4 * PAGE, 4 * PAGE, fd)
        for address, pages in ((4, 4), (4, 1), (7, 1), (5, 2), (3, 2), (7, 2), (3, 4)):
            self.refused(io, address * PAGE, pages * PAGE, fd, errno.EEXIST)
        io.client.map(3 * PAGE, PAGE, fd)
        io.client.map(8 * PAGE, PAGE, fd)
        self.assertEqual(io.counts()["maps"], 3)

    def test_65536_maps(self):
        io = self.start()
        fd = self.memory(PAGE)
        for i in range(512):
            io.client.map(i * PAGE, PAGE, fd)
        held, size = len(io.descriptors()), io.status("VmSize")
        for i in range(512, 65536):
            try:
                io.client.map(i * PAGE, PAGE, fd)
            except vu.ErrorReply as error:
                self.assertEqual(error.errno, errno.ENOSPC)
        self.assertEqual((io.counts()["maps"], len(io.descriptors())), (512, held))
        self.assertEqual(io.status("VmSize"), size)
        io.client.zpci(vu.STORE_BLOCK, 511 * PAGE, 0, 4096)
        for i in range(512):
            io.client.unmap(i * PAGE, PAGE)
        self.assertEqual(len(io.descriptors()), held - 512)


class Descriptors(IoTest):
    def send_with(self, io, message, fds):
        io.client.socket.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                              array.array("i", fds))])

    def test_1000_in_a_row(self):
        """With messages that have no use for them, and more than a message may have."""
        io = self.start()
        fd = self.memory(PAGE)
        before = io.descriptors()
        for _ in range(1000):
            self.send_with(io, io.client.message(vu.REGION_READ, vu.ACCESS.pack(0, 0, 8)), [fd])
            self.assertEqual(io.client.receive()[2], 0)
        for _ in range(4):
            for command, payload in (
                    (vu.REGION_READ, vu.ACCESS.pack(0, 0, 8)),
                    (vu.DMA_MAP, vu.MAP.pack(32, vu.READ, 0, 0, PAGE))):
                self.send_with(io, io.client.message(command, payload), [fd] * 253)
                self.assertEqual(io.client.receive()[2], errno.EINVAL)
                self.send_with(io, io.client.message(command, payload), [fd] * 2)
                self.assertEqual(io.client.receive()[2], errno.EINVAL)
        self.assertEqual(io.descriptors(), before)
        self.assert_serves(io)

    def test_after_credentials(self):
        """A connection inherits options of the client's listening socket. What they add comes before the descriptors."""
        for options in ((socket.SO_PASSCRED,), (socket.SO_PASSCRED, SO_PASSPIDFD)):
            with self.subTest(options), socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as end:
                listener.bind("")
                listener.listen(1)
                for option in options:
                    listener.setsockopt(socket.SOL_SOCKET, option, 1)
                io = self.start(listener=listener, version=False)
                end.settimeout(ioprocess.DEADLINE)
                end.connect(listener.getsockname())
                io.client = vu.Client(end)
                io.client.version()
                before = io.descriptors()
                fd = self.memory(PAGE, content=b"mine" * 1024)
                for count, error in ((1, 0), (8, 0), (32, errno.EINVAL)):
                    event = os.eventfd(0)
                    message = io.client.message(vu.SET_IRQS, vu.IRQ_SET.pack(20, vu.EVENTFD | vu.TRIGGER, vu.MSIX, 0, count))
                    self.send_with(io, message, [event] * count)
                    self.assertEqual(io.client.receive()[2], error, count)
                    os.close(event)
                    io.client.set_irqs(vu.MSIX, vu.NONE | vu.TRIGGER, 0, 0)
                    self.assertEqual(io.descriptors(), before, count)
                for _ in range(100):
                    self.send_with(io, io.client.message(vu.REGION_READ, vu.ACCESS.pack(0, 0, 8)), [fd])
                    self.assertEqual(io.client.receive()[2], 0)
                self.assertEqual(io.descriptors(), before)
                io.client.map(0, PAGE, fd)
                io.client.zpci(vu.STORE_BLOCK, 0, 0, 16)

    def test_belong_to_their_message(self):
        """However the bytes are cut, a descriptor goes with the message it came with, and only there."""
        io = self.start()
        fd = self.memory(PAGE, content=b"mine" * 1024)
        read = io.client.message(vu.REGION_READ, vu.ACCESS.pack(0, 0, 8))
        mapping = io.client.message(vu.DMA_MAP, vu.MAP.pack(32, vu.READ, 0, 0, PAGE))
        bare = io.client.message(vu.DMA_MAP, vu.MAP.pack(32, vu.READ, 0, PAGE, PAGE))
        # The messages, and which bytes of them all are sent together with the descriptor.
        for messages, begin, end in (([read, mapping, read], 32, 80), ([read, mapping], 0, 80),
                                     ([mapping, read], 0, 20), ([mapping, bare, read], 20, 48),
                                     ([read, mapping, read], 35, 80), ([mapping, bare], 16, 17),
                                     ([mapping, bare], 0, 1), ([bare, mapping], 47, 60)):
            stream = b"".join(messages)
            io.client.send(stream[:begin])
            self.send_with(io, stream[begin:end], [fd])
            io.client.send(stream[end:])
            for _ in messages:
                self.assertEqual(io.client.receive()[2], 0)
            io.client.zpci(vu.STORE_BLOCK, 0, 0, 16)
            io.client.unmap(0, PAGE)
            if bare in messages:
                self.assert_error(errno.EFAULT, io.client.zpci, vu.STORE_BLOCK, PAGE, 0, 16)
                io.client.unmap(PAGE, PAGE)
        # One with a message that has no use for it is not kept for the next.
        self.send_with(io, read, [fd])
        io.client.send(bare)
        for _ in range(2):
            self.assertEqual(io.client.receive()[2], 0)
        self.assert_error(errno.EFAULT, io.client.zpci, vu.STORE_BLOCK, PAGE, 0, 16)

    def test_left_behind_with_half_a_message(self):
        io = self.start()
        self.send_with(io, io.client.message(vu.DMA_MAP, bytes(32))[:20], [self.memory(PAGE)])
        io.client.close()
        self.assertEqual(io.wait(), 0)

    def test_eventfds_that_are_none(self):
        io = self.start()
        ours, theirs = os.pipe()
        before = io.descriptors()
        for fd in (ours, theirs, self.memory(PAGE), io.client.socket.fileno()):
            self.assert_error(errno.EINVAL, io.client.set_irq, vu.REQUEST_IRQ, fd)
        event = os.eventfd(0)
        for index, flags, start, count in ((0, 0x24, 1, 1), (5, 0x24, 0, 1), (4, 0x24, 1, 1),
                                           (4, 0x24, 0, 2), (4, 0x2c, 0, 1), (4, 0, 0, 0),
                                           (4, 0x22, 0, 1), (2**32 - 1, 0x21, 0, 0)):
            self.assert_error(errno.EINVAL, io.client.set_irq, index, event, flags, start, count)
        self.assertEqual(io.descriptors(), before)
        # One after the other: only the last is held.
        for _ in range(100):
            io.client.set_irq(vu.REQUEST_IRQ, event)
        self.assertEqual(len(io.descriptors()), len(before) + 1)
        for index in range(5):
            io.client.set_irq(index, flags=0x21, count=0)
        self.assertEqual(io.descriptors(), before)
        for fd in (ours, theirs, event):
            os.close(fd)

    def test_orders_about_interrupts_that_are_none(self):
        """Every count, start, flag and number of descriptors that no client should send: refused, and nothing is kept."""
        io = self.start()
        event = os.eventfd(0)
        before = io.descriptors()
        assign = vu.EVENTFD | vu.TRIGGER
        for index, flags, start, count, fds, data in (
                (vu.MSIX, assign, 0, 9, 9, b""), (vu.MSIX, assign, 8, 1, 1, b""), (vu.MSIX, assign, 7, 2, 2, b""),
                (vu.MSIX, assign, 0, 2**32 - 1, 1, b""), (vu.MSIX, assign, 2**32 - 1, 2, 2, b""),
                (vu.MSIX, assign, 2**32 - 1, 2**32 - 1, 0, b""), (vu.MSIX, assign, 0, 4, 3, b""),
                (vu.MSIX, assign, 0, 3, 4, b""), (vu.MSIX, assign, 0, 2, 2, bytes(8)), (vu.MSIX, assign, 0, 0, 0, b""),
                (vu.MSIX, assign, 0, 0, 1, b""), (vu.MSIX, assign, 0, 33, 33, b""), (vu.MSIX, assign, 0, 200, 200, b""),
                (vu.MSIX, vu.NONE | vu.TRIGGER, 0, 1, 1, b""), (vu.MSIX, vu.NONE | vu.TRIGGER, 0, 0, 1, b""),
                (vu.MSIX, vu.NONE | vu.TRIGGER, 1, 0, 0, b""), (vu.MSIX, vu.BOOL | vu.TRIGGER, 0, 8, 0, bytes(7)),
                (vu.MSIX, vu.BOOL | vu.TRIGGER, 0, 8, 0, bytes(4096)), (vu.MSIX, vu.BOOL | vu.TRIGGER, 0, 4096, 0, bytes(4096)),
                (vu.MSIX, vu.NONE | vu.MASK, 0, 1, 0, b""), (vu.MSIX, vu.EVENTFD | vu.UNMASK, 0, 1, 1, b""),
                (vu.INTX, vu.EVENTFD | vu.MASK, 0, 1, 1, b""), (vu.INTX, assign | vu.UNMASK, 0, 1, 1, b""),
                (vu.INTX, vu.EVENTFD | vu.NONE | vu.TRIGGER, 0, 1, 1, b""), (vu.INTX, vu.TRIGGER, 0, 1, 0, b""),
                (vu.INTX, vu.EVENTFD, 0, 1, 1, b""), (vu.INTX, assign | 64, 0, 1, 1, b""), (vu.INTX, 2**31, 0, 1, 0, b""),
                (5, assign, 0, 1, 1, b""), (2**32 - 1, assign, 0, 1, 1, b"")):
            with self.subTest(index=index, flags=flags, start=start, count=count, fds=fds):
                self.assert_error(errno.EINVAL, io.client.set_irqs, index, flags, start, count, [event] * fds, data)
                self.assertEqual(io.descriptors(), before)
        os.close(event)
        self.assert_serves(io)

    def test_interrupts_of_all_kinds_of_files(self):
        """Of several, one that is no eventfd is enough."""
        io = self.start()
        event, (ours, theirs) = os.eventfd(0), os.pipe()
        before = io.descriptors()
        path = os.open("/", os.O_PATH)
        for fd in (ours, theirs, self.memory(PAGE), io.client.socket.fileno(), path):
            for place in range(3):
                fds = [event] * 3
                fds[place] = fd
                self.assert_error(errno.EINVAL, io.client.set_irqs, vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 3, fds)
        self.assertEqual(io.descriptors(), before)
        for fd in (event, ours, theirs, path):
            os.close(fd)

    def test_descriptors_in_several_pieces_of_a_message(self):
        """All are the message's, up to as many as one may have."""
        io = self.start()
        event = os.eventfd(0)
        before = io.descriptors()
        message = io.client.message(vu.SET_IRQS, vu.IRQ_SET.pack(20, vu.EVENTFD | vu.TRIGGER, vu.MSIX, 0, 8))
        for pieces, expected in (((3, 5), 0), ((5, 4), errno.EINVAL), ((32, 32), errno.EINVAL), ((1,) * 8, 0),
                                 ((30, 8), errno.EINVAL)):
            for i, n in enumerate(pieces):
                end = len(message) if i == len(pieces) - 1 else i + 1
                self.send_with(io, message[i:end], [event] * n)
            self.assertEqual(io.client.receive()[2], expected, pieces)
            io.client.set_irqs(vu.MSIX, vu.NONE | vu.TRIGGER, 0, 0)
            self.assertEqual(io.descriptors(), before)
        os.close(event)

    def test_eventfd_that_is_full(self):
        """A signal that cannot be given does not make anybody wait."""
        io = self.start()
        event = os.eventfd(0)
        os.eventfd_write(event, 2**64 - 2)
        io.client.set_irq(vu.REQUEST_IRQ, event)
        io.order(ioprocess.DRAIN)
        io.order(ioprocess.END)
        os.close(event)


if __name__ == "__main__":
    ioprocess.main()
