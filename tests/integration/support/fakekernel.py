"""Fakes the kernel behind the sysfs of fakepci.py: a write of the daemon's worker takes effect, fails or hangs.

kernel.c hands each write over and the worker waits for the answer, as in the real kernel; so the order of
`writes` is exact, and what a write does has been done when it returns.
"""

import errno
import os
import socket
import struct

from gi.repository import GLib

import vfwarden_bus as vb


class Write:
    """One write by a worker. `name` is the attribute's path below /sys, by address where it is a function's."""

    def __init__(self, kernel, connection, path, value):
        self.connection = connection
        self.value = value
        gone = path.endswith(" (deleted)")
        path = path.removesuffix(" (deleted)")
        self.mode = None if gone else os.stat(path).st_mode & 0o777
        parts = os.path.relpath(path, kernel.sysfs.sys).split("/")
        self.attribute = parts[-1]
        self.owner = parts[-2]      # an address, the name of a driver or of a slot, "pci"
        self.name = f"{self.owner}/{self.attribute}"
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid = struct.unpack("3i", credentials)[0]

    def answer(self, number=0):
        """Lets the worker go on: the write has succeeded, or failed with this errno."""
        connection, self.connection = self.connection, None
        try:
            connection.send(struct.pack("i", number))
        except OSError:
            pass    # it was killed
        connection.close()


class Kernel:
    """`writes` are (name, value) in order. Switches, by (name, value) or by name alone:

    fail[...] = errno: the write fails and does nothing;
    hang: a set; the write does nothing and is not answered before release() lets it take effect;
    ignore: a set; the write succeeds and does nothing.
    Functions in `held` are open in a VMM: their unbind takes the driver link away and waits until let_go()."""

    def __init__(self, sysfs, directory):
        self.sysfs = sysfs
        self.writes = []
        self.modes = {}         # name -> mode of the file while it was written
        self.fail = {}
        self.hang = set()
        self.ignore = set()
        self.held = set()
        self.waiting = []       # of Write
        self.resets = []
        self.before = {}        # (name, value) -> called before it takes effect
        self.path = os.path.join(directory, "kernel")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self._socket.listen(16)
        self._sources = [GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self._socket.fileno(),
                                               GLib.IOCondition.IN, self._on_connection)]
        probe = sysfs.path("bus/pci/drivers_probe")
        with open(probe, "w", encoding="ascii"):
            pass
        os.chmod(probe, 0o200)

    def close(self):
        for source in self._sources:
            GLib.source_remove(source)
        for write in self.waiting:
            write.connection.close()
        self._socket.close()

    def add_driver(self, name):
        """Loads a driver that nothing is bound to."""
        self.sysfs.make_driver(name)

    # --- taking writes

    def _on_connection(self, *_):
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return GLib.SOURCE_CONTINUE
        connection.setblocking(True)
        data = connection.recv(16384)   # it sends at once
        if not data:
            connection.close()
            return GLib.SOURCE_CONTINUE
        path, _, value = data.decode().partition("\n")
        write = Write(self, connection, path, value)
        self.writes.append((write.name, value))
        self.modes.setdefault(write.name, write.mode)
        self._take(write)
        return GLib.SOURCE_CONTINUE

    def _take(self, write):
        keys = ((write.name, write.value), write.name)
        for key in keys:
            if key in self.fail:
                write.answer(self.fail[key])
                return
            if key in self.ignore:
                write.answer()
                return
            if key in self.hang:
                self.waiting.append(write)
                return
        self._perform(write)

    def _perform(self, write):
        before = self.before.get((write.name, write.value))
        if before:
            before()
        function = self.sysfs.functions.get(
            write.value if write.attribute in ("unbind", "bind", "drivers_probe") else write.owner)
        if write.attribute == "unbind" and function and function.address in self.held \
                and function.driver == write.owner:
            self.sysfs.detach_driver(function, keep_enable=True)
            self.waiting.append(write)
            return
        if write.mode is None:
            write.answer(errno.ENODEV)
            return
        write.answer(getattr(self, f"_{write.attribute}")(write, function) or 0)

    def waits(self, name):
        return [write for write in self.waiting if write.name == name]

    def wait_for(self, name, deadline=None):
        """Returns the Write that hangs in attribute `name`, once it does."""
        return vb.wait_until(lambda: self.waits(name), deadline,
                             lambda: f"a write of {name}; came: {self.writes}")[0]

    def release(self, write):
        """A write that hangs takes effect."""
        self.waiting.remove(write)
        self._perform(write)

    def let_go(self, function):
        """The VMM closes the function; an unbind that waits for that ends."""
        self.held.discard(function.address)
        function.write("enable", "0")
        for write in list(self.waiting):
            if write.attribute == "unbind" and write.value == function.address:
                self.waiting.remove(write)
                self.sysfs.tell("unbind", function)
                write.answer()

    # --- what the attributes do (drivers/base/bus.c, drivers/pci/pci-sysfs.c, drivers/pci/iov.c)

    def _unbind(self, write, function):
        if function is None or function.driver != write.owner:
            return errno.ENODEV
        self.sysfs.unbind(function)
        return 0

    @staticmethod
    def _override(function):
        with open(function.path("driver_override"), encoding="ascii") as file:
            value = file.read().strip()
        return "" if value == "(null)" else value

    def _bind(self, write, function):
        override = function and self._override(function)
        if function is None or (override != write.owner
                                and (override or "vfio" in write.owner)):
            return errno.ENODEV
        if function.driver:
            return errno.EBUSY
        self.sysfs.bind(function, write.owner)
        return 0

    def _drivers_probe(self, _write, function):
        if function is None:
            return errno.ENODEV
        driver = self._override(function) or ("igbvf" if function.physfn else "igb")
        if not function.driver:
            self.sysfs.bind(function, driver)
        return 0

    def _driver_override(self, write, function):
        self.sysfs.set_override(function, write.value.strip())
        return 0

    def _sriov_numvfs(self, write, function):
        count, before = int(write.value), len(function.vfs)
        if count == before:
            return 0
        if not function.driver:
            return errno.ENOENT
        if count and before:
            return errno.EBUSY
        if count:
            with open(function.path("sriov_drivers_autoprobe"), encoding="ascii") as file:
                probe = file.read().strip() == "1"
            self.sysfs.enable_vfs(function, count, driver="igbvf" if probe else None)
        else:
            self.sysfs.disable_vfs(function)
        return 0

    def _sriov_drivers_autoprobe(self, write, function):
        function.write("sriov_drivers_autoprobe", write.value)
        return 0

    def _reset(self, write, function):
        if write.value != "1":
            return errno.EINVAL
        self.resets.append(function.address)
        return 0

    def _remove(self, _write, function):
        self.sysfs.remove(function)
        return 0

    def _power(self, write, _function):
        if write.value != "0":
            return errno.EINVAL
        for function in [f for f in self.sysfs.functions.values() if f.slot == write.owner]:
            self.sysfs.remove(function)
        return 0
