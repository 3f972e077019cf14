"""What every figure is measured on: a fake sysfs, a private bus, and processes to be looked at.

The tree, its events and the bus are those of the integration tests. umockdev's preload is under the
daemon and its references alike."""

import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "integration"), os.path.join(TESTS, "lib")]

import gi  # noqa: E402
gi.require_version("Gio", "2.0")

from fakebus import PrivateBus  # noqa: E402
from fakepci import Sysfs  # noqa: E402

PRELOAD = "libumockdev-preload.so.0"
# Until READY=1; for nothing that is measured.
START_DEADLINE = 120


class NoWatch:
    """In the place of fakepci's FileWatch: nobody here waits for a file."""

    def add(self, directory):
        """Nothing."""

    def close(self):
        """Nothing."""


class Tree(Sysfs):
    """A fake sysfs."""

    def __init__(self, root):
        os.mkdir(root)
        super().__init__(root)
        self.watch.close()
        self.watch = NoWatch()

    def populate(self, count):
        """Makes `count` functions, the same mix of 16 over and over: on each bus two PFs with four
        VFs each, half of these in the hands of vfio-pci, and six plain functions."""
        for number in range((count + 15) // 16):
            left = min(count - 16 * number, 16)
            bus = f"{number >> 8:04x}:{number & 0xff:02x}"
            for function in range(2 if left == 16 else 0):
                self.add_pf(f"{bus}:00.{function}", vfs=4,
                            vf_driver="igbvf" if function else "vfio-pci")
                left -= 5
            for device in range(left):
                self.add(f"{bus}:{device + 1:02x}.0", device=0x1533, driver="igb")


class Process:
    """A program under test, running and READY."""

    def __init__(self, argv, environment, notify):
        self._process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid
        notify.settimeout(START_DEADLINE)
        while b"READY=1" not in notify.recv(65536).splitlines():
            pass
        self.start_cpu = self.cpu()

    def cpu(self):
        """Its CPU time so far, user's and system's, of all threads, in seconds."""
        # clock_getcpuclockid(3) in Linux's numbering (CPUCLOCK_SCHED).
        return time.clock_gettime(~self.pid << 3 | 2)

    def resident(self):
        """VmRSS in bytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def stop(self):
        self._process.kill()
        self._process.wait()


class Bed:
    """A directory with a bus and any number of trees. A context manager."""

    def __init__(self, build):
        self.build = build
        # tmpfs: no disk in the figures, and no inode number twice, as in sysfs.
        self.directory = tempfile.mkdtemp(
            prefix="vfwbench", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        os.chmod(self.directory, 0o755)
        os.mkdir(os.path.join(self.directory, "etc"))
        self._notify_path = os.path.join(self.directory, "notify")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(self._notify_path)
        self.bus = PrivateBus(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bus.close()
        self._notify.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def tree(self, name, count):
        tree = Tree(os.path.join(self.directory, name))
        tree.populate(count)
        return tree

    def environment(self, tree=None):
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.bus.address,
                           NOTIFY_SOCKET=self._notify_path)
        environment.pop("WATCHDOG_USEC", None)
        if tree:
            environment.update(LD_PRELOAD=PRELOAD, UMOCKDEV_DIR=tree.root)
        return environment

    def program(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def _start(self, argv, tree):
        # What was killed leaves its monitor's socket.
        for socket_path in glob.glob(os.path.join(tree.root, "event[0-9]*")):
            os.unlink(socket_path)
        return Process(argv, self.environment(tree), self._notify)

    def start_daemon(self, tree):
        """vfwardend as a fresh host has it: no configuration, no state, log level `info`."""
        state = tempfile.mkdtemp(prefix="run", dir=self.directory)
        return self._start([os.path.join(self.build, "dbus", "vfwardend"),
                            f"--config-dir={self.directory}/etc", f"--state-dir={state}",
                            "--log-target=null"], tree)

    def start_bare(self, name, tree):
        return self._start([self.program(name)], tree)

    def measure(self, name, *arguments):
        """Runs one of the measuring programs and returns its lines as lists of numbers."""
        output = subprocess.run([self.program(name), *map(str, arguments)], check=True, text=True,
                                stdout=subprocess.PIPE, env=self.environment()).stdout
        return [[int(word) for word in line.split()] for line in output.splitlines()]
