"""Fakes VFIO's device files (/dev/vfio/*) and programs that have them open. vfio-nodes.c makes the
daemon see them as VFIO's."""

import fcntl
import os
import shutil
import stat


class VfioNodes:
    """Each is a character device that a test may open: a descriptor of it looks to the daemon, in /proc, as one of VFIO's
    does. There are as many as memory has harmless devices."""

    MINORS = (3, 5, 7, 8, 11)   # null, zero, full, random, kmsg
    OTHER = 9                   # urandom, for what belongs to no function

    def __init__(self, sysfs):
        self.sysfs = sysfs
        self._free = list(self.MINORS)
        os.makedirs(self.path("vfio/devices"))
        os.makedirs(sysfs.path("dev/char"), exist_ok=True)
        self._make("vfio/vfio", self.OTHER)

    def path(self, name):
        return os.path.join(self.sysfs.root, "dev", name)

    def _make(self, name, minor):
        os.mknod(self.path(name), 0o600 | stat.S_IFCHR, os.makedev(1, minor))

    def _add(self, name, target):
        minor = self._free.pop(0)
        self._make(name, minor)
        os.symlink(target, self.sysfs.path("dev/char", f"1:{minor}"))
        return minor

    def add_group(self, function):
        self._add(f"vfio/{function.group}", f"../../devices/virtual/vfio/{function.group}")

    def remove_group(self, function):
        path = self.path(f"vfio/{function.group}")
        minor = os.minor(os.stat(path).st_rdev)
        os.unlink(path)
        os.unlink(self.sysfs.path("dev/char", f"1:{minor}"))
        self._free.append(minor)

    def add_device(self, function, name):
        """The function's own node, and its entry in sysfs."""
        minor = self._add(f"vfio/devices/{name}", f"../..{function.devpath}/vfio-dev/{name}")
        os.makedirs(function.path(f"vfio-dev/{name}"))
        function.write(f"vfio-dev/{name}/dev", f"1:{minor}")

    def forget_device(self, function, name):
        """Its entries in sysfs go, and its node stays."""
        minor = os.minor(os.stat(self.path(f"vfio/devices/{name}")).st_rdev)
        os.unlink(self.sysfs.path("dev/char", f"1:{minor}"))
        shutil.rmtree(function.path("vfio-dev"))

    def add_node(self, name):
        """A node that is no PCI function's."""
        self._make(name, self.OTHER)

    def add_iommufd(self):
        self._make("iommu", self.OTHER)

    def open_device(self, function):
        """A descriptor of the device, as its group gives it: nothing in it names the function."""
        return os.open(self._make_file("vfio-device", function.address), os.O_RDWR | os.O_CLOEXEC)

    def tell_in_fdinfo(self, function, *names):
        """From now on fdinfo of the function's device, and of these nodes, names it, as newer kernels do."""
        for name in (function.address, *names):
            with open(self._make_file("vfio-fdinfo", name), "w", encoding="ascii") as file:
                file.write(f"vfio-device-syspath: /sys{function.devpath}\n")

    def _make_file(self, directory, name):
        os.makedirs(os.path.join(self.sysfs.root, directory), exist_ok=True)
        path = os.path.join(self.sysfs.root, directory, name)
        with open(path, "a", encoding="ascii"):
            return path

    def set_references(self, n):
        """What the kernel says of its module: so many files of groups and devices are open."""
        os.makedirs(self.sysfs.path("module/vfio/holders"), exist_ok=True)
        new = self.sysfs.path("module/vfio/new")
        with open(new, "w", encoding="ascii") as file:
            file.write(f"{n}\n")
        os.rename(new, self.sysfs.path("module/vfio/refcnt"))

    # --- what the process that opens for the daemon does

    @property
    def opened(self):
        """The names by which devices were opened."""
        try:
            with open(os.path.join(self.sysfs.root, "vfio-opened"), encoding="ascii") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def fail(self, number):
        """Opening a device fails with this errno from now on; 0: no longer."""
        path = os.path.join(self.sysfs.root, "vfio-fails")
        if number:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(number))
        else:
            os.unlink(path)

    def take_no_token(self):
        """A bind is as before Linux 6.17."""
        with open(os.path.join(self.sysfs.root, "vfio-bind-takes-no-token"), "w", encoding="ascii"):
            pass

    def hang(self):
        with open(os.path.join(self.sysfs.root, "vfio-hangs"), "w", encoding="ascii"):
            pass

    def go_on(self):
        os.unlink(os.path.join(self.sysfs.root, "vfio-hangs"))

    # --- somebody who opens without the daemon

    def open_group(self, function):
        """Returns a descriptor that keeps others out, as the kernel does; raises BlockingIOError where somebody has it."""
        fd = os.open(self.path(f"vfio/{function.group}"), os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd
