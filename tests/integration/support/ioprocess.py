"""The real vfwarden-io over a socketpair, with the test in the daemon's place."""

import fcntl
import os
import pathlib
import select
import socket
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "lib"))
import programs  # noqa: E402
from pace import DEADLINE, SCALE  # noqa: E402,F401
from reachable import reachable  # noqa: E402
from vfio_user import Client, ErrorReply  # noqa: E402

SANITIZED = os.environ.get("VFWARDEN_SANITIZED") == "1"
NOBODY = 65534

# daemon/io/control.h
READY, FAILED, CLOSED, STATUS, DRAIN, END, GONE, LOAD, STORE = range(1, 10)
REPORT = struct.Struct("=IiII8s 7QII 16s 6Q HBBI")
COUNTS = ("loads", "stores", "bytes_loaded", "bytes_stored", "refused", "unreported", "mapped",
          "maps")

CONFIG_SIZE = 4096
BARS = (65536, 0, 4096, 0, 24, 0)
NOTE = 0x100    # in configuration space: what the emulated device was told last

F_ADD_SEALS, F_SEAL_SHRINK = 1033, 2


class Report:
    """What vfwarden-io told the daemon."""

    def __init__(self, packet):
        fields = REPORT.unpack(packet)
        self.kind, self.error, self.violation, length, data = fields[:5]
        self.data = data[:length]
        self.counts = dict(zip(COUNTS, fields[5:13]))
        self.backend = fields[14].rstrip(b"\0").decode()
        self.bars = fields[15:21]
        self.max_store_block, self.relaxed, self.pieces = fields[21:24]


def memfd(size, name="memory", seal=False, content=None):
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if content is not None:
        os.pwrite(fd, content, 0)
    if seal:
        fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
    return fd


class Io:
    """A process; `client` speaks to it as its client, `order()` as the daemon."""

    def __init__(self, *options, single=False, device=None, preload=None, bars=BARS, listener=None, container=None):
        ours, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        self.control.settimeout(DEADLINE)
        self.device = device if device is not None else \
            memfd(CONFIG_SIZE + sum(bars), "device", seal=True)
        client, theirs = socket.socketpair()
        theirs.setblocking(False)   # no matter
        client.settimeout(DEADLINE)
        fds = [self.device, control.fileno()] + ([] if single else [theirs.fileno()])
        environment = dict(os.environ)
        if preload:
            environment["LD_PRELOAD"] = reachable(preload)
            environment["ASAN_OPTIONS"] = "verify_asan_link_order=0"
        argv = [reachable(os.environ["VFWARDEN_IO"]), f"--device={self.device}",
                f"--control={control.fileno()}"]
        if not single:
            argv.append(f"--client={theirs.fileno()}")
        if listener is not None:
            argv.append(f"--listener={listener.fileno()}")
            fds.append(listener.fileno())
        if container is not None:
            argv.append(f"--container={container}")
            fds.append(container)
        if bars is not None:
            argv.append("--emulated=" + ",".join(map(str, bars)))
        self.process = subprocess.Popen([*argv, *options], pass_fds=fds, env=environment,
                                        stdin=subprocess.DEVNULL,
                                        user=NOBODY if os.getuid() == 0 else None,
                                        group=NOBODY if os.getuid() == 0 else None,
                                        extra_groups=[] if os.getuid() == 0 else None)
        self.pid = self.process.pid
        control.close()
        theirs.close()
        self.client = Client(client)
        self.first = self.report()

    def report(self):
        packet = self.control.recv(4096)
        return Report(packet) if packet else None

    def order(self, kind, payload=b""):
        self.control.send(struct.pack("=I", kind) + payload)
        report = self.report()
        assert report.kind == kind, report.kind
        return report

    def counts(self):
        return self.order(STATUS).counts

    def descriptors(self):
        """What /proc shows, number and name."""
        return programs.descriptors(self.pid)

    def status(self, field):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                name, value = line.split(":", 1)
                if name == field:
                    return value.strip()
        raise KeyError(field)

    def wait(self):
        return self.process.wait(DEADLINE)

    def close(self):
        self.client.close()
        self.control.close()
        try:
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.device)


class IoTest(unittest.TestCase):
    """`start()` gives a process that is ended with the test."""

    def start(self, *options, version=True, **more):
        io = Io(*options, **more)
        self.addCleanup(io.close)
        if version and not more.get("single") and io.first and io.first.kind == READY:
            io.client.version()
        return io

    def memory(self, size, **more):
        fd = memfd(size, **more)
        self.addCleanup(os.close, fd)
        return fd

    def assert_error(self, errno, call, *arguments, **more):
        with self.assertRaises(ErrorReply) as caught:
            call(*arguments, **more)
        self.assertEqual(caught.exception.errno, errno, os.strerror(caught.exception.errno))

    def assert_serves(self, io):
        """The session is as good as ever."""
        io.client.write(0, 0x40, b"alive!!!")
        self.assertEqual(io.client.read(0, 0x40, 8), b"alive!!!")

    def assert_ends(self, io):
        """The client sees the end, and the process goes, of itself."""
        io.client.expect_close()
        self.assertEqual(io.wait(), 0)

    def wait_readable(self, fd, what):
        self.assertTrue(select.select([fd], [], [], DEADLINE)[0], what)


def main():
    unittest.main(verbosity=2)
