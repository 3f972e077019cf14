"""PCI functions, drivers and slots as sysfs shows them.

Whatever is written here is written by the caller's own process, as a person would with `echo`:
what the kernel refuses arrives as OSError.
"""

import errno
import glob
import os
import re
import stat
import subprocess

from guest.check import Failed, equal

DEVICES = "/sys/bus/pci/devices"
SLOTS = "/sys/bus/pci/slots"
ENABLE_SRIOV = "/sys/module/vfio_pci/parameters/enable_sriov"

# The files that a lock can close, with the mode that the kernel makes each with.
SRIOV = ("sriov_numvfs", "sriov_drivers_autoprobe")
KERNEL_MODES = {"sriov_numvfs": 0o644, "sriov_drivers_autoprobe": 0o644, "remove": 0o220,
                "reset": 0o200, "reset_method": 0o644, "power": 0o644}
# And those that only some functions have, or that are locked on some only.
ALL_MODES = {**KERNEL_MODES, "reset_subordinate": 0o200, "recover": 0o200, "enable": 0o644, "rom": 0o600,
             "reset_controller": 0o200, "eject": 0o200}


def read(path):
    """Without the line's end; None where there is no such file, or the process of a file in /proc has ended (ESRCH)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().removesuffix("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None


def write(path, text):
    """One write of all of `text`, as `echo` does it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def can_open_for_writing(path):
    """Whether root can; any refusal but for the lack of a write bit is a failure."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        if error.errno == errno.EACCES:
            return False
        raise Failed(f"{path} cannot be opened: {error}") from error
    return True


def link(path):
    """The last part of where a link points; None where there is none."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def addresses():
    return sorted(os.listdir(DEVICES))


def load_driver(name):
    subprocess.run(["modprobe", name], check=True)


def set_enable_sriov(enabled):
    load_driver("vfio-pci")
    write(ENABLE_SRIOV, "Y" if enabled else "N")


class Function:
    """One function, there or not."""

    def __init__(self, address):
        self.address = address
        self.directory = f"{DEVICES}/{address}"

    def __repr__(self):
        return self.address

    def path(self, name):
        """Where a file of the function is; `power` is its slot's, `reset_controller` of the nvme driver, `eject` of the root
        bridge above a port."""
        if name == "power":
            slot = self.slot()
            return slot and f"{SLOTS}/{slot}/power"
        if name == "reset_controller":
            return next(glob.iglob(f"{self.directory}/nvme/*/{name}"), None)
        if name == "eject":
            above = os.path.dirname(os.path.realpath(self.directory))
            return f"{above}/firmware_node/{name}" if above.startswith("/sys/devices/pci") and above.count("/") == 3 else None
        return f"{self.directory}/{name}"

    def exists(self):
        return os.path.exists(self.directory)

    def read(self, name):
        return read(self.path(name))

    def write(self, name, text):
        write(self.path(name), text)

    def mode(self, name):
        return mode(self.path(name))

    def chmod(self, name, bits):
        os.chmod(self.path(name), bits)

    # --- what is above and below

    def parent(self):
        """The function above, None on a root bus."""
        above = os.path.basename(os.path.dirname(os.path.realpath(self.directory)))
        return Function(above) if above in os.listdir(DEVICES) else None

    def children(self):
        """Addresses of the functions directly below."""
        here = os.path.realpath(self.directory)
        return [address for address in addresses() if os.path.dirname(os.path.realpath(f"{DEVICES}/{address}")) == here]

    # --- driver

    def driver(self):
        return link(self.path("driver"))

    def unbind(self):
        if self.driver() is not None:
            write(f"{self.directory}/driver/unbind", self.address)

    def set_override(self, driver):
        self.write("driver_override", driver or "")

    def bind(self, driver):
        """Gives the function to `driver` as a VMM's manager does: override, unbind, probe. Left to
        `driver` only, if it is not None, else to whichever driver takes it."""
        if driver:
            load_driver(driver)
        self.set_override(driver)
        self.unbind()
        write("/sys/bus/pci/drivers_probe", self.address)
        if driver:
            equal(self.driver(), driver, f"the driver of {self}")

    # --- virtual functions

    def vfs(self):
        """Addresses by index, of those that exist."""
        names = [name for name in os.listdir(self.directory) if re.fullmatch(r"virtfn\d+", name)]
        names.sort(key=lambda name: int(name[6:]))
        return [link(self.path(name)) for name in names if os.path.exists(self.path(name))]

    def set_num_vfs(self, count):
        self.write("sriov_numvfs", str(count))

    # --- slot

    def slot(self):
        device = self.address.rpartition(".")[0]
        if self.read("physfn/vendor") is not None:
            device = link(self.path("physfn")).rpartition(".")[0]
        for name in os.listdir(SLOTS):
            if read(f"{SLOTS}/{name}/address") == device:
                return name
        return None

    # --- locks

    def lockable(self):
        """Name -> path of the files that the lock is about, of those that the function has."""
        paths = {name: self.path(name) for name in ALL_MODES}
        return {name: path for name, path in paths.items() if path and os.path.exists(path)}

    def check_closed(self, *closed, own=None):
        """Exactly `closed` refuse root's write opens; the others take them; all have the kernel's
        modes, or those of `own`, but for what closing takes away."""
        expected = {}
        for name in self.lockable():
            expected[name] = (own or {}).get(name, ALL_MODES[name]) & (~0o222 if name in closed else ~0)
        for name in closed:
            if name not in expected:
                raise Failed(f"{self} has no {name} to be closed")
        actual = {name: mode(path) for name, path in self.lockable().items()}
        if actual != expected:
            raise Failed(f"the modes of {self}: expected {octals(expected)}, got {octals(actual)}")
        for name, path in self.lockable().items():
            # Opening sriov_numvfs, remove, reset or power does nothing; writing does.
            equal(can_open_for_writing(path), name not in closed, f"whether root can write {path}")

    def all_modes(self):
        """Path -> mode of every file of the function itself, its sub-directories apart, and its slot's."""
        modes = {}
        for entry in os.scandir(self.directory):
            if entry.is_file(follow_symlinks=False):
                modes[entry.path] = stat.S_IMODE(entry.stat().st_mode)
        if self.path("power"):
            modes[self.path("power")] = self.mode("power")
        return modes


def check_same_modes(before, after):
    """Of two results of all_modes(), the files in both; others come and go with drivers."""
    common = set(before) & set(after)
    changed = [f"{path} {before[path]:04o} -> {after[path]:04o}" for path in sorted(common)
               if before[path] != after[path]]
    equal(changed, [], "files with another mode than before")


def octals(modes):
    return "{" + ", ".join(f"{name}: {bits:04o}" for name, bits in sorted(modes.items())) + "}"


# What the machines have, as the host's half built them (host/hardware*.py). Of x86_64:
IGB = Function("0000:01:00.0")
NVME = Function("0000:02:00.0")
PLAIN = Function("0000:03:00.0")
FOURTH = Function("0000:04:00.0")
SWITCH = Function("0000:05:00.0")
CARD0 = Function("0000:07:00.0")
CARD1 = Function("0000:08:00.0")
# ... and of s390x, where each function has a slot of its own:
ZNVME = Function("0013:00:00.0")
ZRNG = Function("abcd:00:00.0")

ON_S390 = os.uname().machine == "s390x"
if ON_S390:
    NATIVE_DRIVERS = {ZNVME: "nvme", ZRNG: "virtio-pci"}
    ENDPOINTS = {ZNVME: "nvme0", ZRNG: "rng0"}
    EMPTY_AT_BOOT = ()
else:
    NATIVE_DRIVERS = {IGB: "igb", NVME: "nvme", PLAIN: "e1000e", CARD0: "e1000e", CARD1: "e1000e"}
    ENDPOINTS = {IGB: "igb0", NVME: "nvme0", PLAIN: "plain0", FOURTH: "igb1", CARD0: "card0", CARD1: "card1"}
    EMPTY_AT_BOOT = (FOURTH,)
