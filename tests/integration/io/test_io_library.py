#!/usr/bin/python3
"""libvfwarden-io, against the real vfwarden-io, and against servers that are not what they should be."""

import mmap
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

import ioprocess
from ioprocess import BARS, DEADLINE, IoTest
from main_loop import quit_loop
from test_io_backends import BackendTest
import vfio_user as vu
from vfwarden_bus import function_path, NAME
from fakebus import OPEN_POLICY, PrivateBus
from gi.repository import Gio, GLib

PAGE = 4096
INFO = " 4096 0 65536 0 4096 0 24 0 4096 0"
ADDRESS = "0013:00:00.0"

XML = """<node><interface name="org.vfwarden1.ZpciIo"><method name="OpenSession">
<arg type="a{sv}" direction="in"/><arg type="h" direction="out"/><arg type="a{sv}" direction="out"/>
</method></interface></node>"""


class Program:
    """tests/integration/io-client.c."""

    def __init__(self, kind, what, fds=(), environment=None):
        self.process = subprocess.Popen(
            [os.environ["VFWARDEN_IO_CLIENT"], kind, str(what)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, pass_fds=fds, env={**os.environ, **(environment or {})})
        self.first = self.line()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def __call__(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return self.line()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(DEADLINE)


class LibraryTest(IoTest):
    def program(self, *arguments, **more):
        program = Program(*arguments, **more)
        self.addCleanup(lambda: program.process.stdin.closed or program.close())
        return program

    def session(self, *options):
        """A process, and the program that speaks to it."""
        io = self.start(*options, version=False)
        fd = io.client.socket.fileno()
        program = self.program("socket", fd, fds=[fd])
        io.client.close()
        self.assertEqual(program.first, "ok")
        return io, program


class Session(LibraryTest):
    def test_info(self):
        _, program = self.session()
        self.assertEqual(program("info"), INFO)

    def test_accesses(self):
        _, program = self.session()
        data = os.urandom(PAGE).hex()
        self.assertEqual(program("store", 0, "0x1000", data), "ok")
        self.assertEqual(program("load", 0, "0x1010", 8), data[32:48])
        self.assertEqual(program("load", 15, "0x100", 24)[:16],
                         (1).to_bytes(8, os.sys.byteorder).hex())
        for words in (("load", 0, 4, 8), ("load", 0, 0, 9), ("load", 6, 0, 1), ("load", 9, 0, 8),
                      ("load", 0, 0, 0), ("load", 0, 0, 5000), ("store", 0, 4, "00" * 8),
                      ("store", 15, 0, "00"), ("store", 9, 16, "00" * 32),
                      ("load", 1, 0, 1), ("load", 0, 65536, 1)):
            self.assertEqual(program(*words), "EINVAL", words)

    def test_memory(self):
        _, program = self.session()
        gaddr = 0x100000000
        self.assertEqual(program("map", gaddr, 2 * PAGE), "ok")
        self.assertEqual(program("map", gaddr + PAGE, PAGE), "EEXIST")
        self.assertEqual(program("block", 0, 0, gaddr + 256, 1024), "ok")
        self.assertEqual(program("load", 0, 8, 8),
                         bytes((264 + i) % 251 for i in range(8)).hex())
        self.assertEqual(program("block", 0, 0, gaddr + 2 * PAGE, 16), "EFAULT")
        self.assertEqual(program("block", 0, 0, gaddr, 8), "EIO")
        self.assertEqual(program("block", 0, 0, gaddr, 70000), "EINVAL")
        self.assertEqual(program("unmap", gaddr, PAGE), "EINVAL")
        self.assertEqual(program("unmap", gaddr, 2 * PAGE), "ok")
        self.assertEqual(program("block", 0, 0, gaddr, 16), "EFAULT")

    def test_unplug(self):
        io, program = self.session()
        self.assertEqual(program("notice"), "ours")
        io.order(ioprocess.DRAIN)
        self.assertEqual(program("notice", 60000), "wanted")
        self.assertEqual(program("store", 0, 0, "0011223344556677"), "ok")
        io.order(ioprocess.END)
        self.assertEqual(program("load", 0, 0, 8), "ENODEV")
        self.assertEqual(program.close(), 0)
        self.assertEqual(io.report().kind, ioprocess.CLOSED)

    def test_killed(self):
        io, program = self.session()
        io.process.kill()
        io.process.wait()
        self.assertEqual(program("load", 0, 0, 8), "ECONNRESET")
        self.assertEqual(program("load", 0, 0, 8), "ECONNRESET")


class RingUse(LibraryTest):
    """The ring is used where it is offered, and nobody notices."""

    def has_ring(self, io):
        with open(f"/proc/{io.pid}/maps", encoding="ascii") as file:
            return "/memfd:vfwarden-ring" in file.read()

    def test_from_the_first_access_on(self):
        io, program = self.session()
        self.assertFalse(self.has_ring(io))
        self.assertEqual(program("load", 15, 0, 4), "00000000")
        self.assertEqual(program("store", 0, 0, "00" * 16), "ok")
        self.assertFalse(self.has_ring(io), "these go over the socket")
        self.assertEqual(program("store", 0, 0, "0011223344556677"), "ok")
        self.assertTrue(self.has_ring(io))
        for length in range(1, 9):
            self.assertEqual(program("load", 0, 0, length), "0011223344556677"[:2 * length])
        self.assertEqual(program("load", 0, 4, 8), "EINVAL")
        self.assertEqual(io.counts()["stores"], 2)

    def test_switched_off(self):
        io, program = self.session()
        self.assertEqual(program("ring", 0), "ok")
        self.assertEqual(program("store", 0, 0, "0011223344556677"), "ok")
        self.assertFalse(self.has_ring(io))
        self.assertEqual(program("ring", 1), "ok")
        self.assertEqual(program("load", 0, 0, 8), "0011223344556677")
        self.assertTrue(self.has_ring(io))
        self.assertEqual(program("ring", 0), "ok")
        self.assertEqual(program("load", 0, 0, 8), "0011223344556677")

    def test_killed(self):
        io, program = self.session()
        self.assertEqual(program("load", 0, 0, 8), "00" * 8)
        io.process.kill()
        io.process.wait()
        self.assertEqual(program("load", 0, 0, 8), "ECONNRESET")
        self.assertEqual(program("store", 0, 0, "00" * 8), "ECONNRESET")

    def test_taking_turns(self):
        io, program = self.session()
        for i in range(100):
            self.assertEqual(program("store", 0, 0, f"{i:016x}"), "ok")
            self.assertEqual(program("load", 0, 0, 8), f"{i:016x}")
            self.assertEqual(program("load", 15, 0, 16), "00" * 16)
        self.assertEqual(io.counts()["refused"], 0)


class WholeDevice(BackendTest, LibraryTest):
    """Configuration space, reset, interrupts and memory for the device, over a stand-in for VFIO."""

    def start(self, *options, **more):
        return super().start(*options, version=False, **more)

    def open_device(self, settings):
        self.device(settings)
        fd = self.io.client.socket.fileno()
        program = self.program("socket", fd, fds=[fd])
        self.io.client.close()
        self.assertEqual(program.first, "ok")
        self.calls()
        return program

    def test_configuration_space(self):
        program = self.open_device("")
        self.assertEqual(program("config", 4, "0304"), "ok")
        self.assertEqual(program("load", 15, 4, 2), "0304")
        self.assertEqual(program("config", 255, "0000"), "EINVAL")

    def test_reset(self):
        self.assertEqual(self.open_device("")("reset"), "ok")
        self.assertEqual(self.calls(), [["reset", 0, 0]])
        self.assertEqual(self.open_device("no-reset")("reset"), "EOPNOTSUPP")

    def test_interrupts(self):
        """More than one message takes are given in several; the stand-in counts each by its place in its message."""
        program = self.open_device("msix=64")
        self.assertEqual([program("irqs", kind) for kind in (0, 1, 2, 3, 4, 9)], ["1", "2", "64", "1", "EINVAL", "EINVAL"])
        self.assertEqual(program("assign", 2, 3, 40), " ".join(map(str, [*range(1, 33), *range(1, 9)])) + " ok")
        self.assertEqual([call[0] for call in self.calls()], ["irqs:2:0x24:3:32", "irqs:2:0x24:35:8"])
        self.assertEqual(program("release", 2, 3, 1), "ok")
        self.assertEqual(program("release", 2, 0, 0), "ok")
        self.assertEqual([call[0] for call in self.calls()], ["irqs:2:0x24:3:1", "irqs:2:0x21:0:0"])
        self.assertEqual(program("unmask"), "ok")
        self.assertEqual([call[0] for call in self.calls()], ["irqs:0:0x11:0:1"])
        for words in ((2, 64, 1), (2, 63, 2), (1, 0, 3), (4, 0, 1), (2, 0, 64)):
            self.assertEqual(program("assign", *words).split()[-1], "ok" if words == (2, 0, 64) else "EINVAL", words)


class WrongServers(LibraryTest):
    """A server that answers otherwise than it should is left, and what it says is not believed."""

    def server(self, *replies):
        """A program whose requests are answered with `replies`, given as functions of the request's id and command,
        then by silence's end."""
        ours, theirs = socket.socketpair()
        ours.settimeout(DEADLINE)

        def serve():
            with ours:
                for reply in replies:
                    header = ours.recv(16, socket.MSG_WAITALL)
                    if len(header) < 16:
                        return
                    number, command, size, _, _ = vu.HEADER.unpack(header)
                    ours.recv(size - 16, socket.MSG_WAITALL)
                    ours.sendall(reply(number, command))

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        with theirs:
            return self.program("socket", theirs.fileno(), fds=[theirs.fileno()])

    def test_wrong_replies(self):
        def reply(payload=bytes(4), size=None, flags=1, error=0, number=0, command=0):
            return lambda n, c: vu.HEADER.pack(n ^ number, c ^ command,
                                               16 + len(payload) if size is None else size, flags,
                                               error) + payload

        for answer, expected in ((reply(number=1), "EPROTO"), (reply(command=1), "EPROTO"),
                                 (reply(flags=0), "EPROTO"), (reply(size=15), "EPROTO"),
                                 (reply(size=2**32 - 1), "EPROTO"), (reply(bytes(3)), "EPROTO"),
                                 (reply(bytes(8000)), "EPROTO"), (reply(b"\1\0\0\0"), "EPROTO"),
                                 (reply(b"", flags=0x21, error=2**31), "EPROTO"),
                                 (reply(b"", flags=0x21, error=0), "EPROTO"),
                                 (reply(bytes(4), flags=0x21, error=5), "EPROTO"),
                                 (reply(b"", flags=0x21, error=19), "ENODEV")):
            program = self.server(answer)
            self.assertEqual(program.first, expected + ": ")

    def ring_server(self, granted, error, head):
        """One that has a ring, and what it answers and writes there; loads over the socket are zeros."""
        ours, theirs = socket.socketpair()
        ours.settimeout(DEADLINE)

        def answer(command, payload, fds):
            if command == vu.VERSION:
                return bytes(2) + b"\1\0" + b'{"capabilities":{"vfwarden_ring":{}}}\0'
            if command == vu.REGION_READ:
                return payload + bytes(vu.ACCESS.unpack(payload)[2])
            if command != vu.VFWARDEN_RING:
                return payload
            with mmap.mmap(fds[0], 8192) as memory:     # before it is asked
                memory[4096 + 20:4096 + 24] = struct.pack("=I", error)
                memory[256:260] = struct.pack("=I", head)
            return vu.RING.pack(16, 0, *granted)

        def serve():
            with ours:
                while True:
                    header, fds, _, _ = socket.recv_fds(ours, 16, 3)
                    if len(header) < 16:
                        return
                    number, command, size, _, _ = vu.HEADER.unpack(header)
                    payload = ours.recv(size - 16, socket.MSG_WAITALL) if size > 16 else b""
                    reply = answer(command, payload, fds)
                    for fd in fds:
                        os.close(fd)
                    ours.sendall(vu.HEADER.pack(number, command, 16 + len(reply), 1, 0) + reply)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        with theirs:
            program = self.program("socket", theirs.fileno(), fds=[theirs.fileno()])
        self.assertEqual(program.first, "ok")
        return program

    def test_rings_that_are_none(self):
        """What is granted otherwise than it was asked for is not used; a result that is none ends the session."""
        for granted in ((4, 50), (0, 50), (2, 51), (2, 2**32 - 1), (2, 0)):
            program = self.ring_server(granted, 0, 0)
            self.assertEqual(program("load", 0, 0, 8), "00" * 8, granted)
            self.assertEqual(program.close(), 0)
        for error, expected in ((5, "EIO"), (4096, "EPROTO"), (2**31, "EPROTO"), (2**32 - 1, "EPROTO")):
            program = self.ring_server((2, 50), error, 1)
            self.assertEqual(program("load", 0, 0, 8), expected)
            self.assertEqual(program.close(), 0)

    def test_closed(self):
        self.assertEqual(self.server().first, "ECONNRESET: ")
        self.assertEqual(self.server(lambda n, c: b"\1\0\1").first, "ECONNRESET: ")


class Bus(LibraryTest):
    """OpenSession(), with a stand-in for the daemon on a bus of its own."""

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory)
        self.bus = PrivateBus(self.directory, OPEN_POLICY)
        self.addCleanup(self.bus.close)
        self.answer = None
        self.loop = None
        ready = threading.Event()
        thread = threading.Thread(target=self.serve, args=(ready,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(lambda: quit_loop(self.loop))
        self.assertTrue(ready.wait(DEADLINE))

    def serve(self, ready):
        context = GLib.MainContext.new()
        context.push_thread_default()
        self.loop = GLib.MainLoop(context)
        flags = Gio.DBusConnectionFlags
        connection = Gio.DBusConnection.new_for_address_sync(
            self.bus.address, flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, None, None)
        connection.register_object(function_path(ADDRESS),
                                   Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0],
                                   lambda *call: self.answer(call[6]), None, None)
        connection.call_sync("org.freedesktop.DBus", "/org/freedesktop/DBus",
                             "org.freedesktop.DBus", "RequestName", GLib.Variant("(su)", (NAME, 0)),
                             None, Gio.DBusCallFlags.NONE, -1, None)
        ready.set()
        self.loop.run()
        connection.close_sync(None)
        context.pop_thread_default()

    def open(self, address=ADDRESS, kind="bus"):
        return self.program(kind, address, environment={"DBUS_SYSTEM_BUS_ADDRESS": self.bus.address})

    def test_open(self):
        io = self.start(version=False)

        def answer(invocation):
            fds = Gio.UnixFDList.new()
            fds.append(io.client.socket.fileno())
            io.client.close()
            invocation.return_value_with_unix_fd_list(
                GLib.Variant("(ha{sv})", (0, {
                    "max-store-block": GLib.Variant("q", 4096), "what": GLib.Variant("as", ["x"]),
                    "relaxed": GLib.Variant("b", True), "backend": GLib.Variant("s", "emulated")})),
                fds)

        self.answer = answer
        program = self.open()
        self.assertEqual(program.first, "ok")
        self.assertEqual(program("info"), "emulated 4096 1" + INFO[len(" 4096 0"):])
        self.assertEqual(program("store", 0, 0, "11" * 16), "ok")
        self.assertEqual(program.close(), 0)
        self.assertEqual(io.report().kind, ioprocess.CLOSED)

    def test_what_is_asked_for(self):
        """With DMA two options; else none, as older daemons know none."""
        options = []

        def answer(invocation):
            options.append(invocation.get_parameters().unpack()[0])
            invocation.return_dbus_error("org.vfwarden1.Error.Refused", "for a reason")

        self.answer = answer
        for kind in ("bus", "dma"):
            self.assertEqual(self.open(kind=kind).first, "EBUSY: for a reason")
        self.assertEqual(options, [{}, {"dma": True, "max-mapped-memory": 8192}])

    def test_refused(self):
        for name, expected in (("org.freedesktop.DBus.Error.AccessDenied", "EACCES"),
                               ("org.freedesktop.DBus.Error.LimitsExceeded", "EDQUOT"),
                               ("org.vfwarden1.Error.Refused", "EBUSY"), ("org.vfwarden1.Error.Busy", "EAGAIN"),
                               ("org.vfwarden1.Error.Timeout", "ETIMEDOUT"),
                               ("org.vfwarden1.Error.NotSupported", "EOPNOTSUPP"),
                               ("org.vfwarden1.Error.Gone", "ENODEV"),
                               ("org.vfwarden1.Error.Failed", "ECOMM")):
            self.answer = lambda call, name=name: call.return_dbus_error(name, "for a reason")
            self.assertEqual(self.open().first, f"{expected}: for a reason")

    def test_no_such_function(self):
        self.assertRegex(self.open("0099:00:00.0").first, "^(ENODEV|EOPNOTSUPP): .+")

    def test_no_bus(self):
        self.bus.address = "unix:path=/nonexistent"
        self.assertRegex(self.open().first, "^ECOMM: .+")


if __name__ == "__main__":
    ioprocess.main()
