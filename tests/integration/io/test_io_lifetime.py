#!/usr/bin/python3
"""How vfwarden-io starts, serves single requests and ends."""

import errno
import os
import statistics
import struct
import time

import ioprocess
from ioprocess import BARS, DEADLINE, IoTest
import pace
from test_io import BASE, PAGE
import vfio_user as vu


class Lifetime(IoTest):
    def test_client_goes(self):
        """Within 100 ms; the middle of some, for what else the machine does."""
        laps = []
        for _ in range(5):
            io = self.start()
            io.client.map(BASE, PAGE, self.memory(PAGE))
            self.assert_serves(io)
            start = time.monotonic()
            io.client.close()
            report = io.report()
            self.assertEqual(io.wait(), 0)
            laps.append(time.monotonic() - start)
            self.assertEqual((report.kind, report.error), (ioprocess.CLOSED, 0))
            self.assertEqual((report.counts["loads"], report.counts["stores"]), (1, 1))
        self.assertLess(statistics.median(laps), pace.at_most(0.1), laps)

    def test_client_goes_with_requests_in_flight(self):
        io = self.start()
        message = io.client.message(vu.REGION_WRITE, vu.ACCESS.pack(0, 0, 4096) + bytes(4096))
        io.client.send(message * 20 + message[:1000])
        io.client.close()
        self.assertEqual(io.report().kind, ioprocess.CLOSED)
        self.assertEqual(io.wait(), 0)

    def test_drain(self):
        """The client's eventfd is signalled, and requests are served on; an eventfd that comes late is signalled at once."""
        io = self.start()
        event = os.eventfd(0)
        self.addCleanup(os.close, event)
        io.client.set_irq(vu.REQUEST_IRQ, event)
        io.order(ioprocess.DRAIN)
        self.wait_readable(event, "the request")
        self.assertEqual(os.eventfd_read(event), 1)
        self.assert_serves(io)
        late = os.eventfd(0)
        self.addCleanup(os.close, late)
        io.client.set_irq(vu.REQUEST_IRQ, late)
        self.wait_readable(late, "the request, when it was made already")
        self.assertEqual(os.eventfd_read(late), 1)
        io.client.set_irq(vu.REQUEST_IRQ)
        io.order(ioprocess.DRAIN)
        self.assert_serves(io)

    def test_end_and_gone(self):
        for order in (ioprocess.END, ioprocess.GONE):
            with self.subTest(order):
                io = self.start()
                event = os.eventfd(0)
                self.addCleanup(os.close, event)
                io.client.set_irq(vu.REQUEST_IRQ, event)
                io.client.map(BASE, PAGE, self.memory(PAGE))
                self.assert_serves(io)
                report = io.order(order)
                # Told: the device is closed, and so is the client's memory.
                self.assertEqual((report.counts["stores"], report.counts["mapped"]), (1, 0))
                names = io.descriptors().values()
                self.assertFalse([n for n in names if "memfd" in n], names)
                self.wait_readable(event, "the request")
                for call in ((io.client.read, 0, 0, 8), (io.client.write, 0, 0, bytes(16)),
                             (io.client.zpci, vu.STORE_BLOCK, BASE, 0, 16), (io.client.device_info,),
                             (io.client.unmap, BASE, PAGE), (io.client.version,)):
                    self.assert_error(errno.ENODEV, *call)
                io.order(order)
                io.client.close()
                self.assertEqual(io.report().kind, ioprocess.CLOSED)

    def test_end_in_the_midst(self):
        """Every request gets its answer, first of one kind and then only of the other."""
        io = self.start()
        message = io.client.message(vu.REGION_READ, vu.ACCESS.pack(0, 0, 8), number=7)
        io.client.send(message * 1000)
        io.control.send(struct.pack("=I", ioprocess.END))
        io.client.send(message * 1000)
        errors = [io.client.receive()[2] for _ in range(2000)]
        self.assertEqual(errors, sorted(errors))
        self.assertLessEqual(set(errors), {0, errno.ENODEV})
        report = io.report()
        self.assertEqual((report.kind, report.counts["loads"]), (ioprocess.END, errors.count(0)))
        self.assert_error(errno.ENODEV, io.client.read, 0, 0, 8)

    def test_end_while_the_client_does_not_read(self):
        io = self.start()
        self.flood(io)
        self.assertEqual(io.order(ioprocess.END).kind, ioprocess.END)

    def flood(self, io):
        """Sends until nothing more is taken."""
        message = io.client.message(vu.REGION_READ, vu.ACCESS.pack(0, vu.CONFIG, 4096))
        io.client.socket.settimeout(0.3 * ioprocess.SCALE)
        with self.assertRaises(TimeoutError):
            while True:
                io.client.socket.sendall(message * 100)
        io.client.socket.settimeout(DEADLINE)

    def test_daemon_goes(self):
        io = self.start()
        io.control.close()
        for _ in range(100):
            self.assert_serves(io)
        io.client.close()
        self.assertEqual(io.wait(), 0)

    def test_daemon_restarted(self):
        """Its end of the socket is kept, and the next daemon goes on where the last one ended."""
        io = self.start()
        self.assert_serves(io)
        kept = io.control.dup()
        kept.settimeout(DEADLINE)
        io.control.close()
        self.assert_serves(io)
        io.control = kept
        self.assertEqual(io.counts()["stores"], 2)
        io.order(ioprocess.END)
        self.assert_error(errno.ENODEV, io.client.read, 0, 0, 8)

    def test_daemon_does_not_listen(self):
        """Orders whose reports nobody takes stop neither orders nor the client."""
        io = self.start()
        io.control.setblocking(False)
        try:
            while True:
                io.control.send(struct.pack("=I", ioprocess.STATUS))
        except BlockingIOError:
            pass
        self.assert_serves(io)

    def test_orders_that_are_none(self):
        io = self.start()
        for kind in (0, ioprocess.READY, ioprocess.LOAD, 99, 2**32 - 1):
            self.assertEqual(io.order(kind, bytes(5000)).error, -errno.EINVAL)
        io.control.send(b"abc")
        io.order(ioprocess.STATUS)
        self.assert_serves(io)


class SingleRequests(IoTest):
    def order(self, kind, pcias, offset, length, data=b"", device=None, options=()):
        io = self.start(*options, single=True, device=device)
        self.assertEqual(io.first.kind, ioprocess.READY)
        report = io.order(kind, struct.pack("=IQI", pcias, offset, length) + data)
        self.assertEqual(io.order(ioprocess.LOAD, struct.pack("=IQI", 0, 0, 8)).error, 0)    # it serves the next one
        io.control.close()
        self.assertEqual(io.wait(), 0)
        return report

    def test_store_and_load(self):
        device = ioprocess.memfd(ioprocess.CONFIG_SIZE + sum(BARS), seal=True)
        self.addCleanup(os.close, device)
        data = os.urandom(64)
        self.assertEqual(self.order(ioprocess.STORE, 0, 64, 64, data, os.dup(device)).error, 0)
        report = self.order(ioprocess.LOAD, 0, 72, 8, device=os.dup(device))
        self.assertEqual((report.error, report.data), (0, data[8:16]))

    def test_refused(self):
        for kind, pcias, offset, length in ((ioprocess.LOAD, 0, 4, 8), (ioprocess.LOAD, 7, 0, 1),
                                            (ioprocess.LOAD, 0, 0, 2**32 - 1),
                                            (ioprocess.LOAD, 2**32 - 1, 0, 1),
                                            (ioprocess.STORE, 15, 0, 4),
                                            (ioprocess.STORE, 0, 0, 2**32 - 1),
                                            (ioprocess.STORE, 0, 0, 0)):
            report = self.order(kind, pcias, offset, length, bytes(min(length, 64)))
            self.assertEqual((report.error, report.data), (-errno.EINVAL, b""))
            self.assertNotEqual(report.violation, 0)

    def test_less_data_than_said(self):
        self.assertEqual(self.order(ioprocess.STORE, 0, 0, 64, bytes(63)).error, -errno.EINVAL)

    def test_orders_that_are_none(self):
        io = self.start(single=True)
        for kind in (0, ioprocess.READY, ioprocess.DRAIN, ioprocess.END, 99):
            self.assertEqual(io.order(kind, bytes(16)).error, -errno.EINVAL)
        self.assertEqual(io.order(ioprocess.LOAD).error, -errno.EINVAL)
        self.assertEqual(io.order(ioprocess.LOAD, struct.pack("=IQI", 0, 0, 8)).error, 0)

    def test_daemon_goes(self):
        io = self.start(single=True)
        io.control.close()
        self.assertEqual(io.wait(), 0)


class Start(IoTest):
    def test_no_device(self):
        """What is none of VFIO's devices is refused with a word to the daemon."""
        io = self.start(bars=None, device=os.dup(self.memory(PAGE)))
        self.assertEqual((io.first.kind, io.first.error), (ioprocess.FAILED, -errno.EOPNOTSUPP))
        self.assertNotEqual(io.wait(), 0)

    def test_emulated_device_that_could_be_cut(self):
        io = self.start(device=os.dup(self.memory(1 << 20)))
        self.assertEqual((io.first.kind, io.first.error), (ioprocess.FAILED, -errno.EINVAL))

    def test_limits(self):
        io = self.start("--max-maps=2", f"--max-memory={3 * PAGE}")
        fd = self.memory(4 * PAGE)
        self.assert_error(errno.ENOSPC, io.client.map, 0, 4 * PAGE, fd)
        io.client.map(0, 2 * PAGE, fd)
        self.assert_error(errno.ENOSPC, io.client.map, BASE, 2 * PAGE, fd)
        io.client.map(BASE, PAGE, fd)
        io.client.unmap(0, 2 * PAGE)
        io.client.map(PAGE, PAGE, fd)
        self.assert_error(errno.ENOSPC, io.client.map, 4 * PAGE, PAGE, fd)


if __name__ == "__main__":
    ioprocess.main()
