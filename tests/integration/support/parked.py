"""Descriptors that wait in sockets, and the processes of users that put them there."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys

from fixtures import wait_until
import vfwarden_bus as vb
from test_open import ONE, OpenTest

NOBODY = 65534
STRANGER = 65533
GROUP = 65532

# Puts its descriptor into a socket when a line comes, and keeps the socket.
PARKER = """
import os, socket, sys
fd = int(sys.argv[1])
pair = socket.socketpair()
print("has", flush=True)
sys.stdin.readline()
socket.send_fds(pair[0], [b"x"], [fd])
os.close(fd)
print("parked", flush=True)
sys.stdin.read()
"""


class Parked:
    """A descriptor in a socket of this process."""

    def __init__(self, fd):
        self.pair = socket.socketpair()
        socket.send_fds(self.pair[0], [b"x"], [fd])
        os.close(fd)

    def close(self):
        for end in self.pair:
            end.close()


class SocketsTest(OpenTest):
    """ONE has a device node, of root alone, and nobody has it open."""

    def setUp(self):
        super().setUp()
        self.vfio.add_device(self.functions[ONE], "vfio7")
        self.vfio.add_iommufd()
        self.vfio.set_references(1)     # of another machine: something of VFIO is open all the time
        self.start()

    def open_node(self):
        return os.open(self.vfio.path("vfio/devices/vfio7"), os.O_RDWR | os.O_CLOEXEC)

    def park(self, fd):
        parked = Parked(fd)
        self.addCleanup(parked.close)
        return parked

    def user(self, fd, uid=NOBODY, groups=(), program=PARKER):
        """A process of a user without privilege that has the descriptor, see have_parked()."""
        process = subprocess.Popen([sys.executable, "-c", program, str(fd)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   pass_fds=[fd], user=uid, group=uid, extra_groups=groups)
        self.addCleanup(self.end, process)
        self.assertEqual(process.stdout.readline(), b"has\n")
        os.close(fd)
        return process

    def have_parked(self, process):
        process.stdin.write(b"park\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"parked\n")

    def check_held(self, pid):
        """By a descriptor in a socket of that process, for all one knows."""
        self.wait_property(ONE, "InUse", True)
        self.wait_users([(0, False)])

        def look():
            seen[:] = [user.get("socket-pid") for user in self.client.manager("DescribeUsers", "(s)", ONE)]
            return seen == [pid]
        # Descriptors may wait for a moment in sockets of this test's other processes, too.
        seen = []
        wait_until(look, None, lambda: f"the process {pid} that has the socket, is {seen}")
        with self.assertRaises(vb.BusError) as caught:
            self.client.start_function_call(ONE, "Unbind").result()
        self.assertEqual(caught.exception.name, vb.REFUSED)
        self.assertIn(f"perhaps by a descriptor in a socket of pid {pid}", caught.exception.message)

    @contextlib.contextmanager
    def unread(self):
        """What is opened and closed meanwhile is read together: the kernel merges a process's events on one node."""
        self.daemon.kill(signal.SIGSTOP)
        try:
            yield
        finally:
            self.daemon.kill(signal.SIGCONT)

    def stranger(self, groups=()):
        """A process that had none of VFIO's descriptors, and has one of /dev/null in a socket."""
        process = self.user(os.open("/dev/null", os.O_RDWR), STRANGER, groups)
        self.have_parked(process)
        return process

    def in_use_signals(self, mark, address=ONE):
        return [s.args[1]["InUse"] for s in self.signals_since(mark)
                if s.member == "PropertiesChanged" and s.path == vb.function_path(address) and "InUse" in s.args[1]]

    def start_with_unlookable(self, process):
        """A daemon that finds this process's descriptors unreadable from its first look on."""
        faults = self.start_faults()
        faults.set(("open", errno.EMFILE, f"*/{process.pid}/fd"))
        self.start()
        return faults
