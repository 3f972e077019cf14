"""Fakes the sysfs of PCI functions and its uevents, for a daemon under umockdev's preload.

The tree is made by hand and not by UMockdev.Testbed, and so are the uevents. Testbed lays a device out as the kernel
does not (`class/pci`), insists that a device exists when its `remove` is sent, has no DEVPATH_OLD, and drops or aborts
when about 11 events are not read. The preload needs nothing but $UMOCKDEV_DIR with a `sys` in it, and each udev monitor
under it is a datagram socket `event*` there.

Modes are the kernel's own, because the lock under test is a change of modes."""

import errno
import glob
import os
import shutil
import socket

from gi.repository import GLib

from configspace import config_space
from filewatch import FileWatch
from vfwarden_bus import DEADLINE, wait_until

# Modes that are not 0444 (drivers/pci/pci-sysfs.c, drivers/pci/iov.c).
MODES = {
    "broken_parity_status": 0o644, "config": 0o644, "d3cold_allowed": 0o644, "driver_override": 0o644,
    "enable": 0o644, "msi_bus": 0o644, "numa_node": 0o644, "remove": 0o220, "rescan": 0o220, "reset": 0o200,
    "reset_method": 0o644, "resource0": 0o600, "rom": 0o600, "sriov_drivers_autoprobe": 0o644, "sriov_numvfs": 0o644,
    "uevent": 0o644,
}
ALL_BUT_CONFIG = ("sriov_numvfs", "sriov_drivers_autoprobe", "remove", "reset", "reset_method")
MEMORY_ENABLE = 0x0002


class Function:
    """One PCI function in the tree."""

    def __init__(self, sysfs, address, directory):
        self.sysfs = sysfs
        self.address = address
        self.directory = directory      # on the real file system
        self.physfn = None              # Function of the PF
        self.vfs = []                   # Functions, index is the VF's
        self.group = None
        self.slot = None
        self.numa_node = None

    @property
    def devpath(self):
        return self.directory[len(self.sysfs.sys):]

    @property
    def driver(self):
        link = os.path.join(self.directory, "driver")
        return os.path.basename(os.readlink(link)) if os.path.islink(link) else None

    def path(self, name):
        return os.path.join(self.directory, name)

    def exists(self, name):
        return os.path.lexists(self.path(name))

    def mode(self, name):
        return os.stat(self.path(name)).st_mode & 0o7777

    def chmod(self, name, mode):
        os.chmod(self.path(name), mode)

    def write(self, name, value, mode=None):
        """Makes or overwrites an attribute, keeping the mode of one that exists."""
        data = value if isinstance(value, bytes) else f"{value}\n".encode()
        path = self.path(name)
        fresh = not os.path.exists(path)
        # A write is all at once in sysfs; here at least none is seen empty.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(fd, data, 0)
            if os.fstat(fd).st_size != len(data):
                os.ftruncate(fd, len(data))
        finally:
            os.close(fd)
        if mode is not None or fresh:
            os.chmod(path, MODES.get(name, 0o444) if mode is None else mode)

    def unset(self, name):
        os.unlink(self.path(name))

    def link(self, name, target):
        """A relative link, as sysfs has them."""
        os.symlink(os.path.relpath(target, self.directory), self.path(name))


class Sysfs:
    """The tree below `root`/sys. Methods that send uevents do so in the kernel's own order."""

    def __init__(self, root):
        self.root = root
        self.sys = os.path.join(root, "sys")
        self.functions = {}
        self.watch = FileWatch()
        self._seqnum = 1000
        self._groups = 0
        self._irqs = 24
        for directory in ("bus/pci/devices", "bus/pci/drivers", "bus/pci/slots", "class",
                          "devices", "kernel/iommu_groups"):
            os.makedirs(os.path.join(self.sys, directory))

    def close(self):
        self.watch.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.sys, *parts)

    def __getitem__(self, address):
        return self.functions[address]

    # --- uevents

    @staticmethod
    def _send(sender, message):
        """Sends, and waits while the queue is full: it is the daemon's to empty. The kernel would drop;
        a test wants to know. The main loop runs meanwhile, for the daemon may be waiting for us in turn
        (the notify socket is read there)."""
        def attempt():
            try:
                return sender.send(message)
            except BlockingIOError:
                return 0
        if attempt():
            return
        source = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, sender.fileno(), GLib.IOCondition.OUT,
                                       lambda *_: GLib.SOURCE_CONTINUE)
        try:
            wait_until(attempt, DEADLINE, "room in the daemon's queue of events")
        finally:
            GLib.source_remove(source)

    def uevent(self, action, devpath, subsystem="pci", **properties):
        """Sends a uevent as the kernel words it to every monitor, waiting where one is full."""
        self._seqnum += 1
        lines = [f"{action}@{devpath}", f"ACTION={action}", f"DEVPATH={devpath}",
                 f"SUBSYSTEM={subsystem}"]
        lines += [f"{key}={value}" for key, value in properties.items()]
        lines.append(f"SEQNUM={self._seqnum}")
        message = b"".join(line.encode() + b"\0" for line in lines)
        for monitor in glob.glob(os.path.join(self.root, "event[0-9]*")):
            with socket.socket(socket.AF_UNIX, socket.SOCK_RAW) as sender:
                sender.setblocking(False)
                try:
                    sender.connect(monitor)
                    self._send(sender, message)
                except OSError as error:
                    if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                        raise
                    # Left by a daemon that was killed.
                    if os.path.exists(monitor):
                        os.unlink(monitor)

    def _event(self, action, function, **properties):
        extra = {"PCI_SLOT_NAME": function.address}
        if function.driver:
            extra["DRIVER"] = function.driver
        extra.update(properties)
        self.uevent(action, function.devpath, **extra)

    def change(self, function, **properties):
        self._event("change", function, **properties)

    def tell(self, action, function):
        """An event for what was done without one."""
        self._event(action, function)

    # --- making functions

    def add(self, address, *, parent=None, vendor=0x8086, device=0x1533, subsystem=(0x8086, 0x0001),
            class_code=0x020000, revision=3, numa_node=-1, group=True, driver=None, config=None,
            slot=None, announce=False, removable=True, attributes=None, listed=True):
        """Makes a plain function. `group` True makes a group for it, None gives none, a number joins.

        With `announce` the kernel's `add` is sent once it is there, and `bind` if it has a driver.
        Without `listed` the caller calls list_function() when all is there, as for the kernel."""
        domain_bus = address.rsplit(":", 1)[0]
        above = parent.directory if parent else self.path("devices", f"pci{domain_bus}")
        function = Function(self, address, os.path.join(above, address))
        os.makedirs(function.directory)
        self.functions[address] = function
        self.watch.add(function.directory)
        function.link("subsystem", self.path("bus/pci"))
        function.write("uevent", f"PCI_CLASS={class_code:X}\nPCI_ID={vendor:04X}:{device:04X}\n"
                       f"PCI_SLOT_NAME={address}")
        function.write("vendor", f"0x{vendor:04x}")
        function.write("device", f"0x{device:04x}")
        function.write("subsystem_vendor", f"0x{subsystem[0]:04x}")
        function.write("subsystem_device", f"0x{subsystem[1]:04x}")
        function.write("class", f"0x{class_code:06x}")
        function.write("revision", f"0x{revision:02x}")
        function.write("driver_override", "(null)")
        function.write("enable", "0")
        function.write("rescan", b"")
        if removable:
            function.write("remove", b"")
        function.write("reset", b"")
        function.write("reset_method", "flr bus")
        function.numa_node = numa_node      # of its VFs, too
        if numa_node is not None:
            function.write("numa_node", numa_node)
        function.write("config", config_space(vendor, device, class_code=class_code,
                                              revision=revision, subsystem=subsystem)
                       if config is None else config)
        if slot is not None:
            self.add_slot(slot, address.rsplit(".", 1)[0])
            function.slot = slot
        for name, value in (attributes or {}).items():
            if value is None:
                function.unset(name)
            else:
                function.write(name, value)
        if group is not None:
            self.join_group(function, None if group is True else group)
        if listed:
            self.list_function(function)
        if announce:
            self._event("add", function)
        if driver:
            self.attach_driver(function, driver)
            if announce:
                self._event("bind", function)
        return function

    def list_function(self, function):
        """The link by which a function is found; the kernel makes it when all its files are there."""
        os.symlink(os.path.relpath(function.directory, self.path("bus/pci/devices")),
                   self.path("bus/pci/devices", function.address))

    def add_pf(self, address, total=8, vfs=0, vf_driver=None, driver="igb", device=0x10c9,
               announce=False, **kwargs):
        """A PF; `vfs` of them are enabled from the start, without events."""
        function = self.add(address, device=device, listed=False, **kwargs)
        function.write("sriov_totalvfs", total)
        function.write("sriov_numvfs", vfs)
        function.write("sriov_drivers_autoprobe", 1)
        function.write("sriov_offset", 128)
        function.write("sriov_stride", 2)
        function.write("sriov_vf_device", "10ca")
        self.list_function(function)
        if announce:
            self._event("add", function)
        if driver:
            self.attach_driver(function, driver)
            if announce:
                self._event("bind", function)
        for index in range(vfs):
            vf = self._make_vf(function, index)
            self._link_vf(vf)
            if vf_driver:
                self.attach_driver(vf, vf_driver)
        return function

    def join_group(self, function, number=None):
        if number is None:
            self._groups += 1
            number = self._groups
        devices = self.path("kernel/iommu_groups", str(number), "devices")
        os.makedirs(devices, exist_ok=True)
        os.symlink(os.path.relpath(function.directory, devices),
                   os.path.join(devices, function.address))
        function.link("iommu_group", self.path("kernel/iommu_groups", str(number)))
        function.group = number

    # --- IOMMUs and MSIs

    def add_iommu(self, name, *, ecap=None, kind=None):
        """An IOMMU; with `ecap` it is Intel's. `kind` is the name of its group of attributes."""
        directory = self.path("class/iommu", name)
        os.makedirs(os.path.join(directory, "intel-iommu" if ecap else kind or "."), exist_ok=True)
        if ecap:
            with open(os.path.join(directory, "intel-iommu/ecap"), "w", encoding="ascii") as file:
                file.write(ecap + "\n")

    def serve(self, function, iommu):
        """The link that iommu_device_link() makes."""
        os.makedirs(self.path("class/iommu", iommu), exist_ok=True)
        function.link("iommu", self.path("class/iommu", iommu))

    def allocate_msis(self, function, chip, count=2):
        """What a driver's pci_alloc_irq_vectors() leaves; `{}` in `chip` is the function's address. No event reports it
        of it. Returns the numbers."""
        irqs = range(self._irqs, self._irqs + count)
        self._irqs += count
        os.makedirs(function.path("msi_irqs"), exist_ok=True)
        for irq in irqs:
            os.makedirs(self.path("kernel/irq", str(irq)))
            with open(self.path("kernel/irq", str(irq), "chip_name"), "w", encoding="ascii") as file:
                file.write(chip.format(function.address) + "\n")
            function.write(f"msi_irqs/{irq}", "msix")
        return list(irqs)

    def free_msis(self, function):
        for irq in os.listdir(function.path("msi_irqs")):
            shutil.rmtree(self.path("kernel/irq", irq))
        shutil.rmtree(function.path("msi_irqs"))

    # --- slots

    def add_slot(self, name, address, power_mode=0o644):
        """A hot-plug slot; `address` has no function number. An existing one is left as it is."""
        directory = self.path("bus/pci/slots", name)
        if os.path.isdir(directory):
            return
        os.makedirs(directory)
        self.watch.add(directory)
        for file, value, mode in (("address", address, 0o444), ("power", "1", power_mode),
                                  ("adapter", "1", 0o444)):
            with open(os.path.join(directory, file), "w", encoding="ascii") as out:
                out.write(value + "\n")
            os.chmod(os.path.join(directory, file), mode)

    def slots_of(self, name, address):
        """Gives an existing slot another address."""
        with open(self.path("bus/pci/slots", name, "address"), "w", encoding="ascii") as file:
            file.write(address + "\n")

    def slot_mode(self, name):
        return os.stat(self.path("bus/pci/slots", name, "power")).st_mode & 0o7777

    def chmod_slot(self, name, mode):
        os.chmod(self.path("bus/pci/slots", name, "power"), mode)

    # --- drivers

    def make_driver(self, driver):
        """The directory of a driver, which is there while it is loaded."""
        directory = self.path("bus/pci/drivers", driver)
        if not os.path.isdir(directory):
            os.makedirs(directory)
            for name in ("bind", "unbind", "new_id", "remove_id"):
                with open(os.path.join(directory, name), "w", encoding="ascii"):
                    pass
                os.chmod(os.path.join(directory, name), 0o200)
        return directory

    def attach_driver(self, function, driver):
        """The links of a bind, without its event."""
        directory = self.make_driver(driver)
        # A driver of the host enables the device; VFIO does so when somebody opens it.
        if function.exists("enable"):
            function.write("enable", "0" if "vfio" in driver else "1")
        function.link("driver", directory)
        os.symlink(os.path.relpath(function.directory, directory),
                   os.path.join(directory, function.address))

    def detach_driver(self, function, keep_enable=False):
        """The links of an unbind, without its event. With `keep_enable` somebody has the device open still."""
        driver = function.driver
        os.unlink(function.path("driver"))
        os.unlink(self.path("bus/pci/drivers", driver, function.address))
        if function.exists("enable") and not keep_enable:
            function.write("enable", "0")

    def bind(self, function, driver):
        self.attach_driver(function, driver)
        self._event("bind", function)

    def unbind(self, function):
        self.detach_driver(function)
        self._event("unbind", function)

    def rebind(self, function, driver):
        """What driverctl and libvirt do: off one driver, on to another."""
        if function.driver:
            self.unbind(function)
        self.bind(function, driver)

    def set_override(self, function, driver):
        """A user's write of driver_override; the kernel tells nobody."""
        function.write("driver_override", driver or "(null)")

    # --- VFs

    def vf_address(self, pf, index):
        prefix, rest = pf.address.rsplit(":", 1)
        domain, bus = prefix.rsplit(":", 1)
        slot, function = rest.split(".")
        devfn = (int(slot, 16) << 3 | int(function)) + 128 + 2 * index
        number = int(bus, 16) + (devfn >> 8)
        return f"{domain}:{number:02x}:{(devfn & 0xff) >> 3:02x}.{devfn & 7}"

    def _make_vf(self, pf, index):
        address = self.vf_address(pf, index)
        # A VF's vendor and device read all ones in configuration space, and sysfs knows better;
        # its memory enable bit is hard-wired to 0 (SR-IOV 1.1, 3.4.1.3).
        vf = self.add(address, parent=Function(self, "", os.path.dirname(pf.directory)),
                      device=0x10ca, removable=False, numa_node=pf.numa_node,
                      config=config_space(0xffff, 0xffff, command=0x0004))
        vf.physfn = pf
        pf.vfs.append(vf)
        return vf

    @staticmethod
    def _link_vf(vf):
        index = vf.physfn.vfs.index(vf)
        vf.physfn.link(f"virtfn{index}", vf.directory)
        vf.link("physfn", vf.physfn.directory)

    def enable_vfs(self, pf, count, driver="igbvf"):
        """`echo COUNT > sriov_numvfs`. Each VF's `add` goes out before its links are there, and the
        PF's `change` before the count is set (sriov_enable(), pci_iov_add_virtfn())."""
        for index in range(count):
            vf = self._make_vf(pf, index)
            self._event("add", vf)
            self._link_vf(vf)
            self.change(vf)
            if driver:
                self.bind(vf, driver)
        self.change(pf)
        pf.write("sriov_numvfs", count)

    def disable_vfs(self, pf):
        """`echo 0 > sriov_numvfs`. The links go first and nothing is said of the PF."""
        for index, vf in reversed(list(enumerate(pf.vfs))):
            os.unlink(pf.path(f"virtfn{index}"))
            os.unlink(vf.path("physfn"))
            self._delete(vf, "igbvf" if vf.driver is None else vf.driver)
        pf.vfs.clear()
        pf.write("sriov_numvfs", 0)

    # --- taking away

    def _delete(self, function, _driver=None):
        if function.driver:
            self.unbind(function)
        devpath = function.devpath
        if function.group is not None:
            os.unlink(self.path("kernel/iommu_groups", str(function.group), "devices",
                                function.address))
        os.unlink(self.path("bus/pci/devices", function.address))
        shutil.rmtree(function.directory)
        del self.functions[function.address]
        self.uevent("remove", devpath, PCI_SLOT_NAME=function.address)

    def remove(self, function):
        """Hot-unplug, VFs first."""
        if function.vfs:
            self.disable_vfs(function)
        if function.physfn is not None:
            index = function.physfn.vfs.index(function)
            os.unlink(function.physfn.path(f"virtfn{index}"))
            os.unlink(function.path("physfn"))
            function.physfn.vfs[index] = None
        self._delete(function)

    def vanish(self, function):
        """The directory goes and no event comes: what a reader finds half-way through a removal."""
        os.unlink(self.path("bus/pci/devices", function.address))
        shutil.rmtree(function.directory)
        del self.functions[function.address]

    def move(self, function, address):
        """A device whose name changes keeps its directory's contents (kobject_move())."""
        old = function.devpath
        os.unlink(self.path("bus/pci/devices", function.address))
        target = os.path.join(os.path.dirname(function.directory), address)
        os.rename(function.directory, target)
        if function.driver:
            link = self.path("bus/pci/drivers", function.driver, function.address)
            os.unlink(link)
            os.symlink(os.path.relpath(target, os.path.dirname(link)),
                       os.path.join(os.path.dirname(link), address))
        del self.functions[function.address]
        function.address, function.directory = address, target
        self.functions[address] = function
        os.symlink(os.path.relpath(target, self.path("bus/pci/devices")),
                   self.path("bus/pci/devices", address))
        self.watch.add(target)
        self._event("move", function, DEVPATH_OLD=old)
