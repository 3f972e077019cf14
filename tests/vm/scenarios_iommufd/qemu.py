"""An unmodified QEMU, started by a user without privilege, with what Open() gives."""

from guest import pci
from guest.check import contains, raises, true
from guest.qemu import MEMORY, Qemu
from guest.registry import scenario
from guest.vfio import check_refused, igb_vfs, wait_users
from scenarios.open import allow, check_brokered

# As vfwarden(1) prints it.
OPTIONS = ["-object", "iommufd,id=iommufd0,fd=4", "-device", "vfio-pci,iommufd=iommufd0,fd=3"]


def identity(function):
    return tuple(int(pci.read(function.path(name)), 16) for name in ("vendor", "device"))


def check_has(machine, qemu, function):
    """QEMU drives the function, and vfwarden knows it."""
    qemu.begin()
    true(identity(function) in qemu.devices(), f"{function} is in QEMU's machine")
    check_brokered(machine, function, qemu.pid)
    check_refused(machine.client.start_function_call(function.address, "Unbind"), qemu, ["opened by vfwarden"])


@scenario("`vfwarden open ADDRESS -- qemu ...`, as the manual prints it: QEMU realises the VF, which is free when QEMU quits",
          deadline=180)
def command(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    qemu = Qemu(machine, ["vfwarden", "open", vf.address, "--"], OPTIONS)
    check_has(machine, qemu, vf)
    machine.restart_daemon()
    check_brokered(machine, vf, qemu.pid)
    qemu.quit()
    wait_users(machine, vf, [])


@scenario("a limit of locked memory below the guest's memory: QEMU says so and ends, and the VF is free", deadline=180)
def memory_limit(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    qemu = Qemu(machine, ["vfwarden", "open", vf.address, "--"], OPTIONS, locked=MEMORY // 2)
    error = raises(OSError, qemu.begin, "starting QEMU")
    contains(str(error), "Cannot allocate memory", "what QEMU says")
    wait_users(machine, vf, [])
