"""What every figure is measured on: a private bus, fake trees, and processes to be looked at."""

import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from world import WORLDS
from fakebus import PrivateBus

# Until READY=1, in seconds; for nothing that is measured.
START_DEADLINE = 120

# The scheduler gives a process of this priority about 80 times the time of a usual one.
NICE = -20


class ServiceManager:
    """The stand-in for systemd: reads every notification at once and closes the descriptors that are to be stored.

    A daemon waits until the notification socket has room. In a network namespace of its own the socket takes no more
    than ten messages (net.unix.max_dgram_qlen), so a socket that nobody reads stops the daemon."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._messages = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            message, fds, _, _ = socket.recv_fds(self._socket, 65536, 16)
            for fd in fds:
                os.close(fd)
            if not message:
                return
            self._messages.put(message.splitlines())

    def forget(self):
        """Drops the messages so far: they are of processes that have ended."""
        while not self._messages.empty():
            self._messages.get()

    def wait_ready(self):
        """Returns the lines of the message with READY=1."""
        while True:
            lines = self._messages.get(timeout=START_DEADLINE)
            if b"READY=1" in lines:
                return lines

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", self.path)
        self._thread.join()
        self._socket.close()


class Process:
    """A program under test, running and READY, seeing `tree` as its /sys."""

    def __init__(self, argv, environment, manager, tree):
        self._tree = tree
        tree.show()
        manager.forget()
        self._process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid
        said = manager.wait_ready()
        self.start_cpu = self.cpu()
        if b"STATUS=0 bytes" in said and tree.functions:
            raise RuntimeError(f"{argv[0]} does not see the tree")

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
        self._tree.conceal()


class Bed:
    """A directory with a bus and any number of trees in one of the WORLDS. A context manager.

    It and all that is started from it run before others on the machine, where that is allowed. `realtime` puts them
    before all else on their CPU: what others do would be most of a wait of some microseconds."""

    def __init__(self, build, world, realtime=False):
        self.build = build
        self._world = WORLDS[world]
        # tmpfs: no disk in the figures, and no inode number twice, as in sysfs.
        self.directory = tempfile.mkdtemp(
            prefix="vfwbench", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        os.chmod(self.directory, 0o755)
        os.mkdir(os.path.join(self.directory, "etc"))
        # Its thread has the priority that this process had before.
        self._manager = ServiceManager(os.path.join(self.directory, "notify"))
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        try:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            if realtime:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            print("    (not allowed to run before others: what they do is in these figures)")
        self.bus = PrivateBus(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, self._nice)
        self.bus.close()
        self._manager.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def tree(self, name, count):
        tree = self._world(os.path.join(self.directory, name))
        tree.populate(count)
        return tree

    def environment(self):
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.bus.address,
                           NOTIFY_SOCKET=self._manager.path)
        environment.pop("WATCHDOG_USEC", None)
        return environment

    def program(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def _start(self, argv, tree):
        return Process(argv, {**self.environment(), **tree.environment()}, self._manager, tree)

    def start_daemon(self, tree, *options, configuration=None):
        """vfwardend as a fresh host has it: no configuration, no state, log level `info`."""
        state = tempfile.mkdtemp(prefix="run", dir=self.directory)
        if configuration:
            with open(os.path.join(self.directory, "etc/vfwarden.conf"), "w", encoding="utf-8") as file:
                file.write(configuration)
        return self._start([os.path.join(self.build, "dbus", "vfwardend"),
                            f"--config-dir={self.directory}/etc", f"--state-dir={state}",
                            "--log-target=null", *options], tree)

    def start_bare(self, name, tree, *arguments):
        return self._start([self.program(name), *arguments], tree)

    def measure(self, name, *arguments):
        """Runs one of the measuring programs and returns its lines as lists of numbers."""
        output = subprocess.run([self.program(name), *map(str, arguments)], check=True, text=True,
                                stdout=subprocess.PIPE, env=self.environment()).stdout
        return [[int(word) for word in line.split()] for line in output.splitlines()]
