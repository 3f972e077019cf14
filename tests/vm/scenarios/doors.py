"""Ways that take nothing from who uses a function (docs/doors.md): each is tried, and nothing has changed. And files that refuse,
and one way that logind refuses."""

import errno
import os

from guest import pci, service
from guest.check import contains, equal, raises, true
from guest.holder import Holder
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users


def attempt(path, text):
    """The kernel may refuse it."""
    try:
        pci.write(path, text)
    except OSError:
        pass


@scenario("bind, new_id, remove_id, drivers_probe, driver_override, rescan, numa_node, broken_parity_status, attention, the type of "
          "the group and modprobe -r take nothing from the user of a VF or from its PF")
def harmless(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, "--io", vf)
    wait_users(machine, vf, [one.pid])
    pci.load_driver("pci-stub")
    ids = " ".join(vf.read(name).removeprefix("0x") for name in ("vendor", "device"))
    mark = machine.mark()
    for path, text in (("drivers/igbvf/bind", vf.address), ("drivers/pci-stub/bind", vf.address),
                       ("drivers/pci-stub/new_id", ids), ("drivers_probe", vf.address), ("drivers/pci-stub/bind", IGB.address),
                       (f"devices/{vf}/driver_override", "pci-stub"), ("drivers_probe", vf.address), ("rescan", "1"),
                       ("drivers/vfio-pci/remove_id", ids), (f"devices/{vf}/numa_node", "0"),
                       (f"devices/{vf}/broken_parity_status", "1"), (f"slots/{IGB.slot()}/attention", "1"),
                       (f"slots/{IGB.slot()}/attention", "0")):
        attempt(f"/sys/bus/pci/{path}", text)
        equal((vf.driver(), IGB.driver(), len(IGB.vfs())), ("vfio-pci", "igb", 1), f"the drivers after {text!r} in {path}")
    attempt("/sys/bus/pci/drivers/pci-stub/remove_id", ids)
    for kind in ("identity", "DMA", "auto"):
        error = raises(OSError, lambda kind=kind: pci.write(vf.path("iommu_group/type"), kind), f"{kind} as the group's type")
        equal(error.errno, errno.EPERM, f"the error of {kind}")
    for module in ("vfio-pci", *([] if os.path.exists("/dev/iommu") else ["vfio_iommu_type1"])):
        result = service.run("modprobe", "-r", module, check=False)
        true(result.returncode != 0, f"modprobe -r {module} fails")
        contains(result.stdout, "in use", f"what modprobe -r {module} says")
    reads = one.reads()
    machine.wait(lambda: one.reads() > reads, "the holder to read on")
    equal([line for line in one.lines if line.startswith(("request", "unplug"))], [], "what the holder was told")
    equal(machine.violations(mark), [], "violations")
    wait_users(machine, vf, [one.pid])


@scenario("rom, the nvme driver's reset_controller, a bridge's enable and the root bridge's eject refuse root while a function is "
          "used, and have the kernel's modes again afterwards", deadline=180)
def locked(machine):
    NVME.set_num_vfs(1)
    vf, port = Function(NVME.vfs()[0]), PLAIN.parent()
    holders = []
    for function in (vf, PLAIN):
        function.bind("vfio-pci")
        machine.wait_property(function, "Driver", "vfio-pci")
        holders.append(Holder(machine, function))
        wait_users(machine, function, [holders[-1].pid])
    doors = ((PLAIN, "rom", "reset"), (NVME, "reset_controller", "reset"), (port, "enable", "reset"), (port, "eject", "remove"))
    for function, name, operation in doors:
        machine.wait(lambda: name in machine.property(function, "ClosedFiles"),     # pylint: disable=cell-var-from-loop
                     f"{name} of {function} to be locked")
        path = function.path(name)
        equal(pci.mode(path), pci.ALL_MODES[name] & ~0o222, f"the mode of {path}")
        raises(PermissionError, lambda path=path: pci.write(path, "0"), f"a write to {path}")
        mark = machine.mark()
        os.chmod(path, pci.ALL_MODES[name])
        told = machine.client.recorder.wait_for("Violation", mark=mark).args
        equal((told[1], told[2]["file"], told[2]["mode"]), (operation, name, pci.ALL_MODES[name]), "the signal")
        equal(pci.mode(path), pci.ALL_MODES[name] & ~0o222, f"the mode of {path} after that")
    for holder in holders:
        holder.end()
    for function in (PLAIN, NVME, port):
        machine.wait_property(function, "ClosedFiles", [])
        function.check_closed()


@scenario("with InhibitSleep=yes logind refuses suspend and shutdown while a function is in use")
def sleep(machine):
    machine.daemon.configure("[Lock]\nInhibitSleep=yes\n")
    machine.run("systemctl", "reload", service.UNIT)
    vf, = igb_vfs(machine)
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    machine.wait(lambda: "vfwardend" in inhibitors(), "the daemon's inhibitor")
    for verb in ("suspend", "poweroff"):
        result = service.systemctl("--check-inhibitors=yes", verb, check=False)
        true(result.returncode != 0, f"{verb} is refused")
        contains(result.stdout, "PCI functions are in use", f"what {verb} says")
    one.end()
    machine.wait(lambda: "vfwardend" not in inhibitors(), "the inhibitor to be gone")


def inhibitors():
    return service.run("systemd-inhibit", "--list", "--no-pager").stdout
