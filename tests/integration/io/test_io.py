#!/usr/bin/python3
"""A session of vfwarden-io, from the client's side and the daemon's."""

import errno
import os
import signal
import socket
import struct
import tempfile

import ioprocess
from ioprocess import BARS, DEADLINE, IoTest, NOTE
import vfio_user as vu

PAGE = 4096
BASE = 0x100000000


def last_store(client):
    """(number of stores, offset, address space, length) as the emulated device noted."""
    count, offset, space, length = struct.unpack("=QQII", client.read(vu.CONFIG, NOTE, 24))
    return count, offset, space, length


class Protocol(IoTest):
    def test_ready(self):
        io = self.start("--max-store-block=128")
        self.assertEqual((io.first.kind, io.first.backend), (ioprocess.READY, "emulated"))
        self.assertEqual((io.first.bars, io.first.max_store_block), (BARS, 128))
        self.assertEqual((io.first.relaxed, io.first.pieces), (0, 0))

    def test_version(self):
        io = self.start(version=False)
        self.assert_error(errno.EINVAL, io.client.device_info)
        major, minor, capabilities = io.client.version(0, 7, {"max_msg_fds": 8, "unknown": [1, {}]})
        self.assertEqual((major, minor), (0, 1))
        self.assertEqual(capabilities, {"max_msg_fds": 16, "max_data_xfer_size": 4096,
                                        "max_dma_maps": 512, "pgsizes": 4096,
                                        "write_multiple": True})
        self.assert_error(errno.EINVAL, io.client.version)
        self.assert_serves(io)

    def test_older_version_without_data(self):
        io = self.start(version=False)
        self.assertEqual(io.client.version(0, 0)[:2], (0, 0))

    def test_another_major_version(self):
        io = self.start(version=False)
        self.assert_error(errno.EPROTONOSUPPORT, io.client.version, 1, 0)
        self.assert_ends(io)
        self.assertEqual(io.report().error, -errno.EPROTONOSUPPORT)

    def test_information(self):
        client = self.start().client
        self.assertEqual(client.device_info(), (3, 10, 5))
        for index, size in enumerate(BARS):
            self.assertEqual(client.region_info(index), (size, 3 if size else 0, 32, []))
        self.assertEqual(client.region_info(6), (0, 0, 32, []))
        self.assertEqual(client.region_info(vu.CONFIG), (4096, 3, 32, []))
        self.assertEqual(client.region_info(8), (0, 0, 32, []))
        self.assertEqual(client.region_info(vu.ZPCI), (48, 11, 48, [(0x80001014, 2)]))
        # With room for the fixed part only, it says how much it takes.
        self.assertEqual(client.region_info(vu.ZPCI, room=32), (48, 11, 48, []))
        self.assert_error(errno.EINVAL, client.region_info, vu.ZPCI, room=31)
        self.assert_error(errno.EINVAL, client.region_info, 10)
        self.assertEqual([client.irq_info(i) for i in range(5)], [(7, 1), (9, 4), (1, 8), (9, 1), (9, 1)])
        self.assert_error(errno.EINVAL, client.irq_info, 5)

    def test_bars(self):
        client = self.start().client
        block = os.urandom(PAGE)
        client.write(0, PAGE, block)
        self.assertEqual(last_store(client), (1, PAGE, 0, PAGE))
        self.assertEqual(client.read(0, PAGE + 16, 8), block[16:24])
        client.write(2, 0xffe, b"ab")
        self.assertEqual(last_store(client), (2, 0xffe, 2, 2))
        self.assertEqual(client.read(2, 0xffd, 3), b"\0ab")
        for region, offset, count in ((0, 4, 8), (0, 0, 9), (0, 65536, 1), (0, 65535, 2), (1, 0, 1),
                                      (4, 20, 8), (0, 2**64 - 4, 8), (6, 0, 1), (8, 0, 1),
                                      (10, 0, 1), (2**32 - 1, 0, 1), (0, 0, 4097)):
            self.assert_error(errno.EINVAL, client.read, region, offset, count)
        for region, offset, size in ((0, 4, 8), (0, 0, 9), (0, 0, 12), (0, 8, PAGE), (0, 4, 16),
                                     (0, PAGE - 8, 16), (4, 16, 16), (1, 0, 8), (8, 0, 8),
                                     (0, 65528, 16), (0, 2**64 - 8, 16)):
            self.assert_error(errno.EINVAL, client.write, region, offset, bytes(size))
        self.assertEqual(last_store(client)[0], 2)

    def test_relaxed(self):
        client = self.start("--relaxed", "--max-store-block=100").client
        client.write(0, 3, bytes(99))
        self.assertEqual(last_store(client), (1, 3, 0, 99))
        client.write(0, 5, b"12345")
        self.assertEqual(last_store(client), (2, 5, 0, 5))
        for offset, size in ((0, 101), (PAGE - 1, 2), (65535, 2)):
            self.assert_error(errno.EINVAL, client.write, 0, offset, bytes(size))

    def test_configuration_space(self):
        io = self.start()
        os.pwrite(io.device, bytes(range(64)), 0)
        self.assertEqual(io.client.read(vu.CONFIG, 0, 64), bytes(range(64)))
        self.assertEqual(len(io.client.read(vu.CONFIG, 0, 4096)), 4096)
        self.assert_error(errno.EINVAL, io.client.read, vu.CONFIG, 4095, 2)

    def test_writes_to_configuration_space(self):
        """All that is inside it is written, but for bus master."""
        io = self.start()
        client = io.client
        for offset, data in ((0x10, b"\xff\xff\xff\xff"), (0x3c, b"\x0b"), (0x41, b"ab"), (0x200, bytes(range(256))),
                             (4095, b"z")):
            client.write(vu.CONFIG, offset, data)
            self.assertEqual(client.read(vu.CONFIG, offset, len(data)), data)
        for offset, data in ((4095, b"ab"), (4096, b"a"), (2**64 - 1, b"ab"), (1, bytes(4096))):
            self.assert_error(errno.EINVAL, client.write, vu.CONFIG, offset, data)
        for offset, data in ((4, b"\xff\xff"), (4, b"\x04"), (4, b"\x07\0\0\0"), (0, b"\xff" * 16), (3, b"\xff\xff")):
            client.write(vu.CONFIG, offset, data)
            kept = bytearray(data)
            kept[4 - offset] &= ~4
            self.assertEqual(client.read(vu.CONFIG, offset, len(data)), kept, "bus master stays off, and that alone")
        self.assert_serves(io)

    def test_reset(self):
        io = self.start()
        client = io.client
        client.write(0, 0, b"its data")
        client.write(vu.CONFIG, 4, b"\3\0")
        client.reset()
        self.assertEqual((client.read(0, 0, 8), client.read(vu.CONFIG, 4, 2)), (bytes(8), bytes(2)))
        self.assertEqual(client.read(vu.CONFIG, NOTE + 24, 8), struct.pack("=Q", 1))
        client.send(client.message(vu.DEVICE_RESET, flags=vu.NO_REPLY))
        self.assertEqual(client.read(vu.CONFIG, NOTE + 24, 8), struct.pack("=Q", 2))
        self.assert_error(errno.EINVAL, client.ask, vu.DEVICE_RESET, bytes(1))
        self.assertEqual(io.counts()["refused"], 1)

    def test_several_writes_at_once(self):
        """Each is one access; one that fails keeps no other from being done, and is counted."""
        io = self.start()
        client = io.client
        self.assertEqual(client.write_multi((0, 8, b"12345678"), (2, 4, b"abcd"), (vu.CONFIG, 4, b"\7\0")), 3)
        self.assertEqual((client.read(0, 8, 8), client.read(2, 4, 4), client.read(vu.CONFIG, 4, 2)),
                         (b"12345678", b"abcd", b"\3\0"))
        self.assertEqual(last_store(client)[0], 2)
        self.assertEqual(client.write_multi((0, 4, bytes(8)), (0, 16, b"x"), (1, 0, b"x"), (vu.ZPCI, 16, bytes(8))), 1)
        self.assertEqual((client.read(0, 16, 1), io.counts()["refused"]), (b"x", 3))
        self.assert_error(errno.EINVAL, client.write_multi, (0, 4, bytes(8)), (vu.ZPCI, 16, bytes(8)))
        client.write_multi((0, 24, b"y"), (1, 0, b"x"), (0, 2**64 - 1, b"x"), flags=vu.NO_REPLY)
        self.assertEqual(client.read(0, 24, 1), b"y")
        counts = io.counts()
        self.assertEqual((counts["stores"], counts["refused"], counts["unreported"]), (4, 7, 2))
        self.assertEqual(client.write_multi(*[(0, 8 * i, struct.pack("=Q", i)) for i in range(200)]), 200)
        self.assertEqual(client.read(0, 8 * 199, 8), struct.pack("=Q", 199))

    def test_not_offered(self):
        client = self.start().client
        for command in (vu.GET_REGION_IO_FDS, vu.DMA_READ, vu.DMA_WRITE, vu.DEVICE_FEATURE):
            self.assert_error(errno.EOPNOTSUPP, client.ask, command, bytes(8))

    def test_no_reply(self):
        io = self.start()
        for offset, data in ((8, b"no reply"), (4, b"no reply")):
            io.client.send(io.client.message(
                vu.REGION_WRITE, vu.ACCESS.pack(offset, 0, 8) + data, vu.NO_REPLY))
        self.assertEqual(io.client.read(0, 8, 8), b"no reply")
        counts = io.counts()
        self.assertEqual((counts["stores"], counts["refused"], counts["unreported"]), (1, 1, 1))

    def test_many_in_flight(self):
        """Pipelined, in pieces of odd sizes: all answered, in order."""
        client = self.start().client
        messages = b"".join(
            client.message(vu.REGION_WRITE, vu.ACCESS.pack(8 * i, 0, 8) + struct.pack("=Q", i),
                           number=i) +
            client.message(vu.REGION_READ, vu.ACCESS.pack(8 * i, 0, 8), number=0x8000 | i)
            for i in range(1000))
        done = 0
        for start in range(0, len(messages), 1777):
            client.send(messages[start:start + 1777])
            while (done + 1) * 72 <= min(start + 1777, len(messages)):
                self.assertEqual(client.receive()[0], done)
                number, _, error, payload = client.receive()
                self.assertEqual((number, error), (0x8000 | done, 0))
                self.assertEqual(payload[16:], struct.pack("=Q", done))
                done += 1
        self.assertEqual(done, 1000)


class Interrupts(IoTest):
    """Of the emulated device, which the client triggers itself."""

    def setUp(self):
        self.io = self.start()
        self.client = self.io.client
        self.events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(8)]
        for event in self.events:
            self.addCleanup(os.close, event)

    def fired(self):
        """Which eventfds were signalled, and no more."""
        found = []
        for i, event in enumerate(self.events):
            try:
                found.append((i, os.eventfd_read(event)))
            except BlockingIOError:
                pass
        return found

    def order(self, index, flags, *arguments, **more):
        self.client.set_irqs(index, flags, *arguments, **more)
        return self.fired()

    def test_vectors(self):
        for index, count in ((vu.MSI, 4), (vu.MSIX, 8)):
            self.order(index, vu.EVENTFD | vu.TRIGGER, 0, count, self.events[:count])
            self.assertEqual(self.order(index, vu.NONE | vu.TRIGGER, 1, 2), [(1, 1), (2, 1)])
            self.assertEqual(self.order(index, vu.BOOL | vu.TRIGGER, 0, 4, data=b"\1\0\0\x80"), [(0, 1), (3, 1)])
            self.order(index, vu.EVENTFD | vu.TRIGGER, 1, 1)
            self.assertEqual(self.order(index, vu.NONE | vu.TRIGGER, 0, 3), [(0, 1), (2, 1)], "one was taken away")
            self.order(index, vu.EVENTFD | vu.TRIGGER, 1, 1, [self.events[3]])
            self.assertEqual(self.order(index, vu.NONE | vu.TRIGGER, 0, 2), [(0, 1), (3, 1)], "one was replaced")
            self.order(index, vu.NONE | vu.TRIGGER, 0, 0)
            self.assert_error(errno.EINVAL, self.order, index, vu.NONE | vu.TRIGGER, 0, 1)

    def test_one_kind_at_a_time(self):
        self.order(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 1, self.events[:1])
        self.assert_error(errno.EINVAL, self.order, vu.MSI, vu.EVENTFD | vu.TRIGGER, 0, 1, self.events[:1])
        for index in (vu.INTX, vu.MSI, vu.ERROR_IRQ):
            self.order(index, vu.NONE | vu.TRIGGER, 0, 0)      # to disable what is not enabled
        self.order(vu.ERROR_IRQ, vu.EVENTFD | vu.TRIGGER, 0, 1, self.events[1:2])
        self.assertEqual(self.order(vu.ERROR_IRQ, vu.NONE | vu.TRIGGER), [(1, 1)])
        self.order(vu.MSIX, vu.NONE | vu.TRIGGER, 0, 0)
        self.order(vu.MSI, vu.EVENTFD | vu.TRIGGER, 0, 1, self.events[:1])

    def test_pin(self):
        """Masked, it waits; unmasked, it is signalled."""
        self.order(vu.INTX, vu.EVENTFD | vu.TRIGGER, 0, 1, self.events[:1])
        self.order(vu.INTX, vu.EVENTFD | vu.UNMASK, 0, 1, self.events[1:2])
        self.assertEqual(self.order(vu.INTX, vu.NONE | vu.TRIGGER), [(0, 1)])
        self.order(vu.INTX, vu.NONE | vu.MASK)
        self.assertEqual(self.order(vu.INTX, vu.NONE | vu.TRIGGER), [])
        self.assertEqual(self.order(vu.INTX, vu.BOOL | vu.UNMASK, data=b"\0"), [])
        self.assertEqual(self.order(vu.INTX, vu.BOOL | vu.UNMASK, data=b"\1"), [(0, 1)])
        self.assertEqual(self.order(vu.INTX, vu.NONE | vu.UNMASK), [])

    def test_the_request_is_not_the_devices(self):
        event = self.events[0]
        self.client.set_irq(vu.REQUEST_IRQ, event)
        for flags, data in ((vu.NONE | vu.TRIGGER, b""), (vu.BOOL | vu.TRIGGER, b"\1"), (vu.NONE | vu.MASK, b"")):
            self.assert_error(errno.EINVAL, self.order, vu.REQUEST_IRQ, flags, data=data)
        self.client.set_irq(vu.REQUEST_IRQ)
        self.io.order(ioprocess.DRAIN)
        self.assertEqual(self.fired(), [])

    def test_closed_with_the_device(self):
        self.order(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 8, self.events)
        self.assertEqual(len([name for name in self.io.descriptors().values() if "eventfd" in name]), 8)
        self.io.order(ioprocess.END)
        self.assertEqual([name for name in self.io.descriptors().values() if "eventfd" in name], [])
        self.assert_error(errno.ENODEV, self.order, vu.MSIX, vu.NONE | vu.TRIGGER, 0, 0)


class Listening(IoTest):
    """The client connects by itself; the other socket is that of who asked for the session."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(1)
            self.io = self.start(listener=listener, version=False)
        self.asker = self.io.client.socket

    def connect(self):
        end = socket.socket(socket.AF_UNIX)
        self.addCleanup(end.close)
        end.settimeout(DEADLINE)
        end.connect(self.path)
        client = vu.Client(end)
        client.version()
        return client

    def test_one_client(self):
        self.assertEqual(self.io.order(ioprocess.STATUS).error, 0)
        client = self.connect()
        client.write(0, 8, b"by path.")
        self.assertEqual(client.read(0, 8, 8), b"by path.")
        with socket.socket(socket.AF_UNIX) as second, self.assertRaises(ConnectionRefusedError):
            second.connect(self.path)
        self.asker.sendall(b"nothing reads this")
        client.write(0, 8, b"goes on.")
        client.close()
        self.assertEqual((self.io.report().kind, self.io.wait()), (ioprocess.CLOSED, 0))
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            self.asker.sendall(b"it has ended")

    def test_nobody_connects(self):
        self.asker.close()
        report = self.io.report()
        self.assertEqual((report.kind, report.error, self.io.wait()), (ioprocess.CLOSED, 0, 0))

    def test_asker_gone_at_once(self):
        """Who has connected is served, whether it was accepted before the caller's socket was closed or not."""
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as end:
                listener.bind("")
                listener.listen(1)
                io = self.start(listener=listener, version=False)
                os.kill(io.pid, signal.SIGSTOP)
                end.settimeout(DEADLINE)
                end.connect(listener.getsockname())
                io.client.close()
                os.kill(io.pid, signal.SIGCONT)
                listener.close()    # so that an end is seen
                client = vu.Client(end)
                client.version()
                client.close()
                self.assertEqual((io.report().kind, io.wait()), (ioprocess.CLOSED, 0))

    def test_nobody_connects_after_all(self):
        """Somebody else accepts the one connection, so accept() waits; the end of the caller is the end all the same."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")
            listener.listen(1)
            io = self.start(listener=listener, version=False, preload=os.environ["VFWARDEN_IO_STUBBORN"])
            with socket.socket(socket.AF_UNIX) as end:
                end.settimeout(DEADLINE)
                end.connect(listener.getsockname())
                self.assertEqual(end.recv(1), b"", "it was accepted, and closed")
        io.client.close()
        report = io.report()
        self.assertEqual((report.kind, report.error, io.wait()), (ioprocess.CLOSED, 0, 0))

    def test_ended_before(self):
        self.io.order(ioprocess.DRAIN)
        self.io.order(ioprocess.END)
        end = socket.socket(socket.AF_UNIX)
        self.addCleanup(end.close)
        end.settimeout(DEADLINE)
        end.connect(self.path)
        client = vu.Client(end)
        self.assert_error(errno.ENODEV, client.version)
        end.close()
        self.assertEqual((self.io.report().kind, self.io.wait()), (ioprocess.CLOSED, 0))

    def test_shut_down(self):
        """By somebody who has the listening socket, too."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind("")
        listener.listen(1)
        io = self.start(listener=listener, version=False)
        listener.shutdown(socket.SHUT_RDWR)
        self.assertEqual((io.report().kind, io.wait()), (ioprocess.CLOSED, 0))


class Zpci(IoTest):
    def setUp(self):
        self.io = self.start("--max-store-block=256")
        self.client = self.io.client
        self.data = os.urandom(4 * PAGE)
        self.fd = self.memory(4 * PAGE, content=self.data)
        self.client.map(BASE, 3 * PAGE, self.fd, PAGE)

    def test_header(self):
        self.assertEqual(self.client.read(vu.ZPCI, 0, 16), struct.pack("=QHHI", 0, 256, 0, 0))
        self.assertEqual(self.client.read(vu.ZPCI, 8, 2), struct.pack("=H", 256))
        for offset, count, error in ((0, 17, errno.EFAULT), (16, 1, errno.EFAULT),
                                     (47, 1, errno.EFAULT), (48, 1, errno.EINVAL),
                                     (2**63, 1, errno.EINVAL)):
            self.assert_error(error, self.client.read, vu.ZPCI, offset, count)

    def test_request_is_written_whole(self):
        request = vu.ZPCI_REQUEST.pack(vu.STORE_BLOCK, BASE, 0, 0, 64, 0, 0)
        for offset, data, error in ((0, request, errno.EFAULT), (16, request[:16], errno.EFAULT),
                                    (32, request[16:], errno.EFAULT),
                                    (16, request + b"\0", errno.EFAULT),
                                    (15, request, errno.EFAULT), (48, request, errno.EINVAL)):
            self.assert_error(error, self.client.write, vu.ZPCI, offset, data)
        self.assertEqual(last_store(self.client)[0], 0)

    def test_store_block(self):
        self.client.zpci(vu.STORE_BLOCK, BASE + 8, 0x100, 256)
        self.assertEqual(last_store(self.client), (1, 0x100, 0, 256))
        for i in range(0, 256, 8):
            self.assertEqual(self.client.read(0, 0x100 + i, 8),
                             self.data[PAGE + 8 + i:PAGE + 16 + i])

    def test_load(self):
        self.client.write(0, 0x20, b"12345678")
        self.client.zpci(vu.LOAD, BASE + 5, 0x22, 3)
        self.assertEqual(os.pread(self.fd, 3, PAGE + 5), b"345")
        os.pwrite(self.io.device, b"\x14\x10\xed\x04", 0)
        self.client.zpci(vu.LOAD, BASE, 0, 4, pcias=15)
        self.assertEqual(os.pread(self.fd, 4, PAGE), b"\x14\x10\xed\x04")

    def test_refused(self):
        for request in ((0, BASE, 0, 64), (3, BASE, 0, 64), (4, BASE, 0, 64),
                        (vu.STORE_BLOCK, BASE, 0, 8), (vu.STORE_BLOCK, BASE, 0, 264),
                        (vu.STORE_BLOCK, BASE + 4, 0, 64), (vu.STORE_BLOCK, BASE, 4, 64),
                        (vu.STORE_BLOCK, BASE + PAGE - 8, 0, 16),
                        (vu.STORE_BLOCK, BASE, 0, 64, 15), (vu.STORE_BLOCK, BASE, 0, 64, 6),
                        (vu.STORE_BLOCK, BASE, 0, 64, 1), (vu.STORE_BLOCK, BASE, 0xff8, 16),
                        (vu.LOAD, BASE, 4, 8), (vu.LOAD, BASE, 0, 9), (vu.LOAD, BASE, 0, 0),
                        (vu.LOAD, BASE, 0, 8, 15), (vu.LOAD, BASE, 3, 2, 15),
                        (vu.LOAD, 2**64 - 4, 0, 8), (vu.STORE_BLOCK, BASE, 2**64 - 16, 32)):
            self.assert_error(errno.EIO, self.client.zpci, *request)
        self.assertEqual(last_store(self.client)[0], 0)

    def test_where_the_data_is(self):
        """At the last bytes of a map, over its end, across two, and where none is."""
        self.client.zpci(vu.STORE_BLOCK, BASE + 3 * PAGE - 16, 0, 16)
        self.client.map(BASE + 3 * PAGE, PAGE, self.fd, 0)
        self.client.map(2**64 - 2 * PAGE, PAGE, self.fd, 0)
        self.client.zpci(vu.STORE_BLOCK, BASE + 3 * PAGE, 0, 16)
        self.client.zpci(vu.STORE_BLOCK, 2**64 - PAGE - 16, 0, 16)
        self.client.zpci(vu.LOAD, BASE + 3 * PAGE - 8, 0, 8)
        for request in ((vu.LOAD, BASE + 3 * PAGE - 4, 0, 8), (vu.LOAD, BASE - 4, 0, 8),
                        (vu.STORE_BLOCK, BASE - 16, 0, 16),
                        (vu.STORE_BLOCK, BASE + 4 * PAGE, 0, 16),
                        (vu.STORE_BLOCK, 2**64 - 16, 0, 16), (vu.STORE_BLOCK, 0, 0, 16)):
            self.assert_error(errno.EFAULT, self.client.zpci, *request)
        self.client.unmap(BASE + 3 * PAGE, PAGE)
        self.assert_error(errno.EFAULT, self.client.zpci, vu.STORE_BLOCK, BASE + 3 * PAGE, 0, 16)

    def test_maps_are_for_what_they_say(self):
        self.client.map(0, PAGE, self.fd, flags=vu.READ)
        self.client.map(PAGE, PAGE, self.fd, flags=vu.WRITE)
        self.client.zpci(vu.STORE_BLOCK, 0, 0, 16)
        self.client.zpci(vu.LOAD, PAGE, 0, 8)
        self.assert_error(errno.EFAULT, self.client.zpci, vu.LOAD, 0, 0, 8)
        self.assert_error(errno.EFAULT, self.client.zpci, vu.STORE_BLOCK, PAGE, 0, 16)

    def test_unmap_is_exact(self):
        for address, size, flags in ((BASE, PAGE, 0), (BASE + PAGE, 2 * PAGE, 0), (0, 0, 0),
                                     (BASE, 4 * PAGE, 0), (BASE, 3 * PAGE, 1)):
            self.assert_error(errno.EINVAL, self.client.unmap, address, size, flags)
        self.assertEqual(self.io.counts()["mapped"], 3 * PAGE)
        self.client.unmap(BASE, 3 * PAGE)
        self.assertEqual((self.io.counts()["mapped"], self.io.counts()["maps"]), (0, 0))


if __name__ == "__main__":
    ioprocess.main()
