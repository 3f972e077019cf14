#!/usr/bin/python3
"""The back ends of vfwarden-io that speak to VFIO, over a stand-in for a device (vfio-standin.c).

What is asserted is which system calls reach the device: that is where an access is one instruction or several."""

import errno
import os
import select
import struct
import tempfile
import time

import ioprocess
from ioprocess import DEADLINE, IoTest
import pace
import vfio_user as vu

STANDIN = os.environ["VFWARDEN_VFIO_STANDIN"]
PAGE = 4096
BARS = "bar0=0x2000 bar2=0x1000"
SHIFT = 14
SLOW_PLACE = 8


def place(index):
    return (index + 1) << SHIFT


class BackendTest(IoTest):
    def device(self, settings, *options, config=b"", shift=SHIFT):
        """A session with such a device; `client` and `calls()` are what the tests use."""
        log = tempfile.NamedTemporaryFile()
        os.chmod(log.name, 0o666)
        self.addCleanup(log.close)
        memory = ioprocess.memfd(1 << 20 if shift == SHIFT else (20 << shift))
        os.pwrite(memory, config.ljust(256, b"\0"), (7 + 1) << shift)
        os.environ["VFIO_STANDIN"] = f"{BARS} shift={shift} {settings}"
        os.environ["VFIO_STANDIN_LOG"] = log.name
        try:
            self.io = self.start(*options, device=memory, bars=None, preload=STANDIN)
        finally:
            del os.environ["VFIO_STANDIN"], os.environ["VFIO_STANDIN_LOG"]
        self.client = self.io.client
        self.log = log
        log.read()
        return self.io.first

    def calls(self):
        """What reached the device since last asked: lists of call, offset and size."""
        self.log.seek(0, os.SEEK_CUR)
        return [[word, int(offset, 16), int(size)]
                for word, offset, size in map(str.split, self.log.read().decode().splitlines())]

    def write(self, region, offset, size):
        data = os.urandom(size)
        self.client.write(region, offset, data)
        return data


class Plain(BackendTest):
    def test_ready(self):
        first = self.device("")
        self.assertEqual((first.kind, first.backend, first.max_store_block, first.relaxed,
                          first.pieces), (ioprocess.READY, "vfio-pci", 8, 0, 0))
        self.assertEqual(first.bars, (0x2000, 0, 0x1000, 0, 0, 0))

    def test_one_call_each(self):
        self.device("")
        for size in (1, 2, 4, 8):
            data = self.write(2, 0x10 * size, size)
            self.assertEqual(self.calls(), [["pwrite", place(2) + 0x10 * size, size]])
            self.assertEqual(self.client.read(2, 0x10 * size, size), data)
            self.assertEqual(self.calls(), [["pread", place(2) + 0x10 * size, size]])

    def test_refused_rather_than_split(self):
        self.device("")
        for offset, size in ((0, 3), (0, 5), (0, 16), (1, 2), (2, 4), (4, 8), (0, 4096)):
            self.assert_error(errno.EINVAL, self.client.write, 0, offset, bytes(size))
            self.assert_error(errno.EINVAL, self.client.read, 0, offset, size)
        self.assert_error(errno.EIO, self.client.zpci, vu.STORE_BLOCK, 0, 0, 16)
        self.assertEqual(self.calls(), [])

    def test_places_are_the_kernels(self):
        self.device("", shift=16)
        self.write(2, 8, 8)
        self.assertEqual(self.calls(), [["pwrite", (3 << 16) + 8, 8]])

    def test_configuration_space(self):
        config = struct.pack("<HH", 0x1014, 0x04ed)
        self.device("", config=config)
        self.assertEqual(self.client.read(vu.CONFIG, 0, 256)[:4], config)
        self.assert_error(errno.EINVAL, self.client.read, vu.CONFIG, 256, 1)

    def test_msix_table(self):
        config = bytearray(256)
        config[6] = 0x10                                        # has capabilities
        config[0x34] = 0x40
        config[0x40:0x44] = bytes((0x01, 0x50, 0, 0))           # power management
        config[0x50:0x5c] = struct.pack("<BBHII", 0x11, 0, 3, 0x802, 0xc02)    # 4 entries in BAR 2
        self.device("", config=bytes(config))
        self.write(2, 0x7f8, 8)
        self.write(2, 0x840, 8)
        self.write(0, 0x800, 8)
        self.calls()
        for offset in (0x800, 0x838):
            self.assert_error(errno.EINVAL, self.client.write, 2, offset, bytes(8))
            self.assert_error(errno.EINVAL, self.client.read, 2, offset, 4)
        self.assertEqual(self.calls(), [])

    def test_capabilities_in_circles(self):
        config = bytearray(256)
        config[6], config[0x34] = 0x10, 0x40
        config[0x40:0x42] = bytes((0x01, 0x40))
        self.assertEqual(self.device("", config=bytes(config)).kind, ioprocess.READY)

    def test_no_pci(self):
        first = self.device("no-pci")
        self.assertEqual((first.kind, first.error), (ioprocess.FAILED, -errno.EOPNOTSUPP))

    def test_errors(self):
        for error, told in ((errno.EIO, errno.EIO), (errno.ENXIO, errno.EIO),
                            (errno.EINVAL, errno.EIO), (errno.ENODEV, errno.ENODEV)):
            self.device(f"error={error}")
            self.assert_error(told, self.client.read, 0, 0, 8)
            self.assert_error(told, self.client.write, 0, 0, bytes(8))
            self.assertEqual(self.io.counts()["stores"], 0)


class Whole(BackendTest):
    """Writes to configuration space, and resets."""

    def set_slow(self, slow):
        os.pwrite(self.io.device, bytes((slow,)), SLOW_PLACE)

    def wait_call(self, call):
        """Until it has reached the device."""
        calls, end = [], time.monotonic() + DEADLINE
        while call not in [words[0] for words in calls]:
            self.assertLess(time.monotonic(), end, calls)
            calls += self.calls()

    def wait_idle(self):
        end = time.monotonic() + DEADLINE
        while True:
            try:
                return self.client.read(0, 0, 8)
            except vu.ErrorReply as error:
                self.assertEqual(error.errno, errno.EBUSY)
                self.assertLess(time.monotonic(), end)

    def test_a_write_to_configuration_space_is_one_call(self):
        self.device("")
        for offset, data in ((0x10, b"\xff" * 4), (4, b"\x07\x04"), (0x41, b"x"), (2, b"\xff" * 8)):
            self.client.write(vu.CONFIG, offset, data)
            self.assertEqual(self.calls(), [["pwrite", place(7) + offset, len(data)]])
            kept = bytearray(data)
            if 0 <= 4 - offset < len(data):
                kept[4 - offset] &= ~4
            self.assertEqual(os.pread(self.io.device, len(data), place(7) + offset), kept, "all but bus master")
        self.assert_error(errno.EINVAL, self.client.write, vu.CONFIG, 255, bytes(2))
        self.assertEqual(self.calls(), [])

    def test_reset(self):
        self.device("")
        self.assertEqual(self.client.device_info()[0], 3)
        self.client.reset()
        self.assertEqual(self.calls(), [["reset", 0, 0]])
        for error, told in ((errno.EAGAIN, errno.EAGAIN), (errno.ENODEV, errno.ENODEV), (errno.ENOTTY, errno.EIO)):
            self.device(f"reset-error={error}")
            self.assert_error(told, self.client.reset)

    def test_no_reset(self):
        self.device("no-reset")
        self.assertEqual(self.client.device_info()[0], 2)
        self.assert_error(errno.EOPNOTSUPP, self.client.reset)
        self.assertEqual(self.calls(), [])

    def test_slow_ones_delay_no_order(self):
        """And are answered when they are done."""
        self.device("slow")
        for command, payload, call in ((vu.DEVICE_RESET, b"", "reset"),
                                       (vu.REGION_WRITE, vu.ACCESS.pack(0x48, vu.CONFIG, 2) + b"\x5a\x80", "pwrite")):
            self.set_slow(True)
            self.client.send(self.client.message(command, payload))
            self.wait_call(call)
            for kind in (ioprocess.STATUS, ioprocess.DRAIN, ioprocess.STATUS):
                self.assertEqual(self.io.order(kind).error, 0)
            self.set_slow(False)
            self.assertEqual(self.client.receive()[1:3], (command, 0))
            self.client.read(0, 0, 8)

    def test_one_that_takes_too_long(self):
        """Its client has an answer before it would give up, and nothing waits behind it."""
        self.device("slow")
        for command, payload in ((vu.DEVICE_RESET, b""),
                                 (vu.REGION_WRITE, vu.ACCESS.pack(0x48, vu.CONFIG, 2) + b"\x5a\x80")):
            self.set_slow(True)
            start = time.monotonic()
            self.client.send(self.client.message(command, payload))
            self.assertEqual(self.client.receive()[1:3], (command, errno.ETIMEDOUT))
            self.assertLess(time.monotonic() - start, pace.at_most(5), "QEMU's patience")
            self.assertEqual(self.client.device_info()[1], 10)
            for call in ((self.client.read, 0, 0, 8), (self.client.write, 0, 0, bytes(8)), (self.client.reset,),
                         (self.client.read, vu.CONFIG, 0, 4), (self.client.write, vu.CONFIG, 4, bytes(2))):
                self.assert_error(errno.EBUSY, *call)
            self.set_slow(False)
            self.wait_idle()

    def test_ended_during_a_slow_one(self):
        """The device is closed when it is done, and then that is reported."""
        self.device("slow")
        self.set_slow(True)
        self.client.send(self.client.message(vu.DEVICE_RESET))
        self.wait_call("reset")
        self.io.control.send(struct.pack("=I", ioprocess.END))
        self.set_slow(False)
        self.assertEqual(self.io.report().kind, ioprocess.END)
        self.assertFalse([name for name in self.io.descriptors().values() if "memfd" in name])
        self.assertIn(self.client.receive()[2], (0, errno.ENODEV))
        self.assert_error(errno.ENODEV, self.client.reset)

    def test_client_that_goes_during_a_slow_one(self):
        self.device("slow")
        self.set_slow(True)
        self.client.send(self.client.message(vu.DEVICE_RESET))
        self.wait_call("reset")
        self.client.close()
        self.assertEqual(self.io.order(ioprocess.STATUS).error, 0)
        self.set_slow(False)
        self.assertEqual(self.io.report().kind, ioprocess.CLOSED)
        self.assertEqual(self.io.wait(), 0)


class Interrupts(BackendTest):
    def test_information(self):
        self.device("msix=2048")
        self.assertEqual([self.client.irq_info(i) for i in range(5)], [(7, 1), (9, 2), (1, 2048), (9, 1), (9, 1)])
        self.device("no-error-irq")
        self.assertEqual([self.client.irq_info(i) for i in range(5)], [(7, 1), (9, 2), (1, 0), (0, 0), (9, 1)])

    def test_the_kernel_gets_the_eventfds(self):
        """In their order, and keeps its own references: none is left with the process."""
        self.device("msix=64")
        before = self.io.descriptors()
        events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(32)]
        self.client.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 5, 32, events)
        self.assertEqual(self.calls(), [["irqs:2:0x24:5:32", 0, 20 + 32 * 4]])
        self.assertEqual([os.eventfd_read(event) for event in events], list(range(1, 33)))
        self.assertEqual(self.io.descriptors(), before)
        self.client.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 64)
        self.client.set_irqs(vu.MSIX, vu.BOOL | vu.TRIGGER, 3, 2, data=b"\0\1")
        self.client.set_irqs(vu.MSIX, vu.NONE | vu.TRIGGER, 0, 0)
        self.client.set_irqs(vu.MSIX, vu.NONE | vu.TRIGGER, 0, 0)
        self.assertEqual(self.calls(), [["irqs:2:0x24:0:64", 0, 20 + 64 * 4], ["irqs:2:0x22:3:2", 0, 22],
                                        ["irqs:2:0x21:0:0", 0, 20]], "the second time nothing is enabled")
        for event in events:
            os.close(event)

    def test_pin(self):
        self.device("")
        event = os.eventfd(0)
        for flags, fds in ((vu.EVENTFD | vu.TRIGGER, [event]), (vu.EVENTFD | vu.UNMASK, [event]), (vu.NONE | vu.MASK, []),
                           (vu.NONE | vu.UNMASK, []), (vu.EVENTFD | vu.UNMASK, []), (vu.EVENTFD | vu.TRIGGER, [])):
            self.client.set_irqs(vu.INTX, flags, fds=fds)
            self.assertEqual(self.calls(), [[f"irqs:0:{flags:#x}:0:1", 0, 24 if flags & vu.EVENTFD else 20]])
        os.close(event)

    def test_the_request_stays_here(self):
        self.device("msix=8")
        event = os.eventfd(0)
        self.client.set_irq(vu.REQUEST_IRQ, event)
        self.assertEqual(self.calls(), [])
        self.io.order(ioprocess.DRAIN)
        self.wait_readable(event, "the request")
        os.close(event)

    def test_too_few_vectors(self):
        self.device("msix=64 vectors=4")
        event = os.eventfd(0)
        self.assert_error(errno.ENOSPC, self.client.set_irqs, vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 8, [event] * 8)
        self.client.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 4, [event] * 4)
        os.close(event)

    def test_what_the_kernel_refuses(self):
        """A file that has no type and is no eventfd: the stand-in, as the kernel, finds out."""
        self.device("msix=8")
        poll = select.epoll()
        self.assert_error(errno.EINVAL, self.client.set_irqs, vu.MSIX, vu.EVENTFD | vu.TRIGGER, 0, 1, [poll.fileno()])
        poll.close()


class Ism(BackendTest):
    def test_ready(self):
        for driver in ("ism-vfio-pci", "ism_vfio_pci"):
            first = self.device("pft=5 imaxstbl=2048", f"--driver={driver}")
            self.assertEqual((first.backend, first.max_store_block, first.relaxed), ("ism-vfio-pci", 2048, 1))
        first = self.device("pft=5 imaxstbl=2048", "--driver=vfio-pci")
        self.assertEqual((first.backend, first.max_store_block, first.relaxed), ("vfio-pci", 8, 0))
        first = self.device("pft=5 imaxstbl=2048 version=1", "--driver=ism-vfio-pci")
        self.assertEqual((first.backend, first.max_store_block), ("ism-vfio-pci", 64))
        first = self.device("pft=5 imaxstbl=2048", "--driver=ism-vfio-pci", "--max-store-block=256")
        self.assertEqual(first.max_store_block, 256)

    def test_a_write_is_a_block(self):
        self.device("pft=5 imaxstbl=2048", "--driver=ism-vfio-pci")
        for offset, size in ((0, 2048), (3, 17), (1, 8), (4095, 1), (0x1ff0, 16)):
            self.write(0, offset, size)
            self.assertEqual(self.calls(), [["pwrite", place(0) + offset, size]])
        fd = self.memory(PAGE, content=b"x" * PAGE)
        self.client.map(0, PAGE, fd)
        self.client.zpci(vu.STORE_BLOCK, 5, 9, 1000)
        self.assertEqual(self.calls(), [["pwrite", place(0) + 9, 1000]])
        for offset, size in ((0, 2049), (4095, 2), (0x1ff1, 16)):
            self.assert_error(errno.EINVAL, self.client.write, 0, offset, bytes(size))
        self.assert_error(errno.EINVAL, self.client.read, 0, 0, 3)
        self.assertEqual(self.calls(), [])


class Region(BackendTest):
    def test_is_best(self):
        first = self.device("region=512 pft=5 imaxstbl=2048", "--driver=ism-vfio-pci")
        self.assertEqual((first.backend, first.max_store_block, first.relaxed), ("zpci-region", 512, 1))
        first = self.device("region=512")
        self.assertEqual((first.backend, first.max_store_block, first.relaxed), ("zpci-region", 512, 0))

    def test_a_request_is_one_write(self):
        self.device("region=512")
        data = self.write(2, 0x100, 512)
        request = ["pwrite", place(10) + 16, 32]
        self.assertEqual(self.calls(), [request, ["pcistb", place(2) + 0x100, 512]])
        self.assertEqual(self.client.read(2, 0x103, 3), data[3:6])
        self.assertEqual(self.calls()[:2], [request, ["pcilg", place(2) + 0x103, 3]])
        self.write(2, 8, 4)
        self.assertEqual(self.calls(), [["pwrite", place(2) + 8, 4]])
        self.assert_error(errno.EINVAL, self.client.write, 2, 5, bytes(3))
        self.assert_error(errno.EINVAL, self.client.write, 2, 0, bytes(520))
        self.assertEqual(self.calls(), [])


if __name__ == "__main__":
    ioprocess.main()
