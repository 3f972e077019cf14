#!/usr/bin/python3
"""DMA in a session: what vfwarden-io gives to the device, over a stand-in for VFIO and its container (vfio-standin.c).

What is asserted is what reaches the container, and when: that is what the device may access."""

import errno
import fcntl
import os
import signal
import struct
import tempfile
import time

import ioprocess
from ioprocess import DEADLINE, F_ADD_SEALS
from test_io_backends import PAGE, BackendTest, place
from test_io_hostile import directory_on_a_disk
import vfio_user as vu

PIECE = 64 << 20
SLOW_PLACE = 8
COMMAND, BUS_MASTER = 4, 4
F_SEAL_WRITE, F_SEAL_FUTURE_WRITE = 8, 16
READ, WRITE = vu.READ, vu.WRITE
# Written by the device when memory is pinned for writing.
MARK = b"\xda"


class DmaTest(BackendTest):
    def device(self, settings="", *options, **more):
        return super().device(settings, "--dma", *options, **more)

    def start(self, *options, **more):
        container = ioprocess.memfd(PAGE, "container")
        self.addCleanup(os.close, container)
        return super().start(*options, container=container, **more)

    def set_slow(self, slow):
        os.pwrite(self.io.device, bytes((slow,)), SLOW_PLACE)

    def wait_call(self, call):
        """Until it was made; all those since asked last."""
        calls, end = [], time.monotonic() + DEADLINE
        while call not in [words[0] for words in calls]:
            self.assertLess(time.monotonic(), end, calls)
            calls += self.calls()
        return calls

    def names(self):
        return [name.split(" ")[0] for name in self.io.descriptors().values()]

    def assert_closed(self):
        self.assertFalse([name for name in self.names() if "memfd" in name], "device, container and memory")


class Maps(DmaTest):
    def test_one_is_pinned_and_released(self):
        """For what it says, with the memory that it says; and released before that is answered."""
        self.device()
        fd = self.memory(4 * PAGE)
        for flags in (READ, WRITE, READ | WRITE):
            self.client.map(8 * PAGE, 2 * PAGE, fd, PAGE, flags)
            self.assertEqual(self.calls(), [[f"map:{flags}", 8 * PAGE, 2 * PAGE]])
            self.assertEqual(os.pread(fd, 4 * PAGE, 0).find(MARK), PAGE if flags & WRITE else -1)
            os.pwrite(fd, b"\0", PAGE)
            self.client.unmap(8 * PAGE, 2 * PAGE)
            self.assertEqual(self.calls(), [["unmap", 8 * PAGE, 2 * PAGE]])
        self.assertEqual(self.io.counts()["maps"], 0)

    def test_it_is_not_kept_mapped(self):
        self.device()
        before = self.io.status("VmSize")
        fd = self.memory(16 * PAGE)
        self.client.map(0, 16 * PAGE, fd)
        self.assertEqual(self.io.status("VmSize"), before)
        with open(f"/proc/{self.io.pid}/maps", encoding="utf-8") as file:
            self.assertNotIn("memfd:memory", file.read())

    def test_large_ones_in_pieces(self):
        """Each ends where a piece does in the device's addresses; they are released as one."""
        self.device()
        fd = self.memory(4 * PIECE)
        begin, size = PIECE - PAGE, 2 * PIECE + 2 * PAGE
        self.client.map(begin, size, fd, flags=READ)
        self.assertEqual(self.calls(), [["map:1", begin, PAGE], ["map:1", PIECE, PIECE], ["map:1", 2 * PIECE, PIECE],
                                        ["map:1", 3 * PIECE, PAGE]])
        self.client.unmap(begin, size)
        self.assertEqual(self.calls(), [["unmap", begin, size]])
        self.client.map(2**64 - 2 * PAGE, PAGE, fd, flags=READ)
        self.assertEqual([call[2] for call in self.calls()], [PAGE])

    def test_what_has_no_descriptor(self):
        """The device does not get it, and faults."""
        self.device()
        self.client.map(0, PAGE)
        self.client.unmap(0, PAGE)
        self.assertEqual(self.calls(), [])

    def test_what_the_kernel_refuses(self):
        """Nothing is left of it, be it in the midst; and the session goes on."""
        for error, told in ((errno.EINVAL, errno.EINVAL), (errno.ENOMEM, errno.ENOSPC), (errno.ENOSPC, errno.ENOSPC),
                            (errno.EFAULT, errno.EFAULT), (errno.EBUSY, errno.EIO)):
            self.device(f"map-error={error} map-error-at={2 * PIECE:#x}")
            fd = self.memory(3 * PIECE)
            held = self.io.descriptors()
            self.assert_error(told, self.client.map, 0, 3 * PIECE, fd, flags=READ)
            self.assertEqual(self.calls(), [["map:1", 0, PIECE], ["map:1", PIECE, PIECE], ["map:1", 2 * PIECE, PIECE],
                                            ["unmap", 0, 2 * PIECE]])
            self.assertEqual((self.io.counts()["maps"], self.io.counts()["mapped"], self.io.descriptors()), (0, 0, held))
            self.client.map(0, 2 * PIECE, fd, flags=READ)

    def test_what_the_rules_refuse(self):
        """It does not reach the container."""
        self.device("", "--max-memory=65536")
        fd = self.memory(32 * PAGE)
        self.client.map(4 * PAGE, 4 * PAGE, fd)
        self.calls()
        for address, pages, error in ((4, 4, errno.EEXIST), (5, 1, errno.EEXIST), (3, 2, errno.EEXIST), (3, 6, errno.EEXIST),
                                      (7, 2, errno.EEXIST), (8, 13, errno.ENOSPC), (8, 33, errno.EINVAL)):
            self.assert_error(error, self.client.map, address * PAGE, pages * PAGE, fd)
        for address, size in ((4, 3), (5, 3), (4, 5), (0, 1), (8, 1)):
            self.assert_error(errno.EINVAL, self.client.unmap, address * PAGE, size * PAGE)
        self.assert_error(errno.EINVAL, self.client.unmap, 4 * PAGE, 4 * PAGE, flags=1)
        self.assertEqual(self.calls(), [])

    def test_memory_that_is_not_the_clients_to_write(self):
        """A descriptor for reading, and memory with a seal: the device may read it and no more."""
        self.device()
        fd = self.memory(PAGE)
        reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
        sealed, future = self.memory(PAGE), self.memory(PAGE)
        fcntl.fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE)
        fcntl.fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
        for each in (reader, sealed, future):
            for flags in (WRITE, READ | WRITE):
                self.assert_error(errno.EINVAL, self.client.map, 0, PAGE, each, flags=flags)
            self.assertEqual(self.calls(), [])
            self.client.map(0, PAGE, each, flags=READ)
            self.assertEqual(self.calls(), [["map:1", 0, PAGE]])
            self.client.unmap(0, PAGE)
            self.calls()
        for flags in (READ, WRITE, READ | WRITE):
            self.assert_error(errno.EINVAL, self.client.map, 0, PAGE, writer, flags=flags)
        self.assertEqual(self.calls(), [])
        self.assertEqual(self.io.counts()["maps"], 0)
        os.close(reader)
        os.close(writer)

    def test_files_of_all_kinds(self):
        self.device()
        ours, theirs = os.pipe()
        fds = [ours, theirs, os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open("/dev/zero", os.O_RDWR),
               os.open("/dev/shm", os.O_PATH), os.eventfd(0), os.pidfd_open(os.getpid())]
        held = self.io.descriptors()
        with tempfile.TemporaryFile(dir=directory_on_a_disk()) as file:
            file.truncate(PAGE)
            for fd in [*fds, file.fileno(), self.client.socket.fileno()]:
                self.assert_error(errno.EINVAL, self.client.map, 0, PAGE, fd)
        self.assertEqual((self.calls(), self.io.descriptors()), ([], held))
        for fd in fds:
            os.close(fd)

    def test_truncated(self):
        """Before: refused. Afterwards: what is pinned stays, and can be released."""
        self.device()
        fd = self.memory(4 * PAGE)
        self.client.map(0, 4 * PAGE, fd)
        os.ftruncate(fd, 0)
        self.assert_error(errno.EINVAL, self.client.map, 4 * PAGE, PAGE, fd)
        self.client.read(0, 0, 8)
        self.client.unmap(0, 4 * PAGE)
        self.assertEqual([call[0] for call in self.calls() if "map" in call[0]], ["map:3", "unmap"])

    def test_65536_of_them(self):
        self.device()
        fd = self.memory(PAGE)
        refused = 0
        for i in range(65536):
            try:
                self.client.map(i * PAGE, PAGE, fd, flags=READ)
            except vu.ErrorReply as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                refused += 1
        self.assertEqual((refused, len(self.calls()), self.io.counts()["maps"]), (65536 - 512, 512, 512))
        for i in range(512):
            self.client.unmap(i * PAGE, PAGE)
        self.assertEqual(len(self.calls()), 512)
        self.client.map(2**40, PAGE, fd)


class Device(DmaTest):
    def test_bus_master_is_the_clients(self):
        self.device()
        self.client.write(vu.CONFIG, COMMAND, b"\x07\x04")
        self.assertEqual(os.pread(self.io.device, 2, place(7) + COMMAND), b"\x07\x04")

    def test_vectors(self):
        """As without DMA: the kernel gets the eventfds."""
        self.device("msix=4")
        event = os.eventfd(0, os.EFD_NONBLOCK)
        self.client.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, 1, 1, [event])
        self.assertEqual(self.calls(), [["irqs:2:0x24:1:1", 0, 24]])
        os.close(event)

    def test_descriptors_and_limits(self):
        """The container is one more than usual; what may be pinned was set by who started it."""
        self.device()
        names = sorted(name.partition(":[")[0] for number, name in self.io.descriptors().items()
                       if number > 2 and name != self.log.name)
        self.assertEqual([name.split(" ")[0] for name in names], ["/memfd:container", "/memfd:memory", "socket", "socket"])
        with open(f"/proc/{self.io.pid}/limits", encoding="ascii") as file:
            limits = {line[:26].strip(): line[26:].split()[:2] for line in file}
        self.assertEqual(limits["Max open files"], ["569", "569"])
        self.assertEqual(limits["Max processes"], ["0", "0"])


class End(DmaTest):
    def start_pinning(self):
        """A map that is being pinned for as long as the device is open, or the test wants."""
        self.device("slow-map")
        self.set_slow(True)
        fd = self.memory(3 * PIECE)
        self.client.send(self.client.message(vu.DMA_MAP, vu.MAP.pack(vu.MAP.size, READ, 0, 0, 3 * PIECE)), [fd])
        self.wait_call("map:1")

    def test_device_then_container(self):
        """Then that is reported, with the client alive; it gets ENODEV."""
        for kind in (ioprocess.END, ioprocess.GONE):
            self.device()
            self.client.map(0, PAGE, self.memory(PAGE))
            self.calls()
            self.io.order(kind)
            self.assertEqual([call[0] for call in self.calls()], ["close-device", "close-container"])
            self.assert_closed()
            self.assert_error(errno.ENODEV, self.client.map, PAGE, PAGE, self.memory(PAGE))
            self.assert_error(errno.ENODEV, self.client.unmap, 0, PAGE)
            self.assertEqual(self.io.counts()["maps"], 0)
            self.assertEqual(self.calls(), [])

    def test_the_client_goes(self):
        self.device()
        self.client.map(0, PAGE, self.memory(PAGE))
        self.calls()
        self.client.close()
        self.assertEqual(self.io.report().kind, ioprocess.CLOSED)
        self.assertEqual([call[0] for call in self.calls()], ["close-device", "close-container"])
        self.assertEqual(self.io.wait(), 0)

    def test_orders_while_memory_is_pinned(self):
        self.start_pinning()
        for kind in (ioprocess.STATUS, ioprocess.DRAIN, ioprocess.STATUS):
            self.assertEqual(self.io.order(kind).error, 0)
        self.set_slow(False)
        self.assertEqual(self.client.receive()[1:3], (vu.DMA_MAP, 0))
        self.assertEqual(self.io.counts()["mapped"], 3 * PIECE)

    def test_ended_while_memory_is_pinned(self):
        """The device is closed meanwhile, so it accesses nothing any more; no further piece is pinned."""
        self.start_pinning()
        self.assertEqual(self.io.order(ioprocess.END).error, 0)
        calls = [call[0] for call in self.calls()]
        self.assertEqual((calls[0], calls[-1]), ("close-device", "close-container"))
        self.assertNotIn("map:1", calls)
        self.assertEqual(self.client.receive()[1:3], (vu.DMA_MAP, errno.ENODEV))
        self.assert_closed()

    def test_killed(self):
        self.device()
        self.client.map(0, PAGE, self.memory(PAGE))
        self.io.process.kill()
        self.client.expect_close()
        self.assertEqual(self.io.wait(), -signal.SIGKILL)

    def test_maps_and_unmaps_in_flight_at_the_end(self):
        """All are answered, those after the end with ENODEV, whatever was executed when."""
        self.device()
        fd = self.memory(PAGE)
        n = 64      # the sockets have room for all requests and all answers, a few hundred each
        for i in range(n):
            message = self.client.message(vu.DMA_MAP, vu.MAP.pack(vu.MAP.size, READ, 0, i * PAGE, PAGE))
            self.client.send(message, [fd])
            self.client.send(self.client.message(vu.DMA_UNMAP, vu.UNMAP.pack(vu.UNMAP.size, 0, i * PAGE, PAGE)))
            if i == n // 2:
                self.io.control.send(struct.pack("=I", ioprocess.END))
        errors = [self.client.receive()[2] for _ in range(2 * n)]
        # On a busy machine the order is read when all have been executed, or before any was.
        self.assertEqual(errors, sorted(errors))
        self.assertLessEqual(set(errors), {0, errno.ENODEV})
        self.assertEqual(self.io.report().kind, ioprocess.END)
        self.assert_error(errno.ENODEV, self.client.map, n * PAGE, PAGE, fd)
        self.assert_closed()


class Emulated(ioprocess.IoTest):
    """No device is there that would access memory; the rest is as with one."""

    def test_maps(self):
        io = self.start("--dma")
        fd = self.memory(4 * PAGE)
        size = io.status("VmSize")
        io.client.map(0, 4 * PAGE, fd)
        self.assertEqual(io.status("VmSize"), size)
        io.client.zpci(vu.STORE_BLOCK, 0, 0, 16)
        io.client.unmap(0, 4 * PAGE)
        self.assert_error(errno.EFAULT, io.client.zpci, vu.STORE_BLOCK, 0, 0, 16)
        writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
        self.assert_error(errno.EINVAL, io.client.map, 0, PAGE, writer, flags=WRITE)
        os.close(writer)

    def test_huge_pages(self):
        """A part of one maps all of it; nothing of that is left, however often."""
        io = self.start("--dma")
        fd = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_HUGETLB)
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, 4 << 21)
        size = io.status("VmSize")
        for pages in (1, 511, 512, 513, 2048):
            io.client.map(0, pages * PAGE, fd)
            self.assertEqual(io.status("VmSize"), size, pages)
            io.client.unmap(0, pages * PAGE)
        self.assert_error(errno.EINVAL, io.client.map, 0, PAGE, fd, PAGE)
        self.assertEqual(io.status("VmSize"), size)

    def test_bus_master(self):
        for options, kept in ((("--dma",), BUS_MASTER), ((), 0)):
            io = self.start(*options)
            io.client.write(vu.CONFIG, COMMAND, b"\x06\0")
            self.assertEqual(io.client.read(vu.CONFIG, COMMAND, 1)[0] & BUS_MASTER, kept)

    def test_a_wrong_map_kills_it(self):
        """Executable, its own, private: no such memory is to be had; nor any without DMA."""
        probe = os.environ["VFWARDEN_IO_PROBE"]
        if ioprocess.SANITIZED or os.uname().machine == "s390x":
            return      # there the filter does not look at the arguments
        for options, command in ((("--dma",), 0x7770), (("--dma",), 0x7771), (("--dma",), 0x7772), ((), 0x7772)):
            io = self.start(*options, preload=probe)
            self.assert_serves(io)
            io.client.send(io.client.message(command))
            io.client.expect_close()
            self.assertEqual(io.wait(), -signal.SIGSYS, (options, hex(command)))

    def test_no_heap(self):
        io = self.start("--dma", preload=os.environ["VFWARDEN_IO_PROBE"])
        fd = self.memory(PAGE)
        for i in range(64):
            io.client.map(i * PAGE, PAGE, fd)
        for i in range(64):
            io.client.unmap(i * PAGE, PAGE)
        io.order(ioprocess.END)

    def test_arguments(self):
        """A container is a real device's."""
        io = self.start("--dma", container=self.memory(PAGE), version=False)
        self.assertIsNone(io.first)


if __name__ == "__main__":
    ioprocess.main()
