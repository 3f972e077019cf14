"""org.vfwarden1.Msix: what the capability says, and whether MSIs are isolated on the machine that this is."""

import os
import re

from guest import pci
from guest.check import contains, equal, true
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario
from guest.vfio import Opening, igb_vfs

ISOLATION = {"intel": "isolated", "intel-no-intremap": "not-isolated", "virtio": "unknown"}
UNSAFE = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
CHIP = re.compile(r"^Interrupt \d+ .*? has the controller (\S+?)[:,]? .*\((/sys/kernel/irq/\d+/chip_name)\)\.$")


def iommu():
    words = pci.read("/proc/cmdline").split()
    return next(word.partition("=")[2] for word in words if word.startswith("vfwarden.iommu="))


def check_verdict(machine, function):
    """The verdict that this machine calls for, once it is there."""
    expected = ISOLATION[iommu()]
    machine.wait_property(function, "Isolation", expected)
    equal(machine.property(function, "TableMappable"), expected == "isolated", f"TableMappable of {function}")
    true(machine.property(function, "Reason"), f"a reason for {function}")


def chips(machine, function):
    """(address or None for its own, file, name) of the evidence that names of controllers are."""
    found = []
    for sentence in machine.property(function, "Evidence") or []:
        match = CHIP.match(sentence)
        if match:
            chip, path = match.groups()
            other = re.search(r" of (\S+), which is behind the same IOMMU", sentence)
            found.append((other and other.group(1), path, chip))
    return found


def check_chips(machine, function):
    """What the evidence says is what is in the files that it names."""
    for _, path, chip in chips(machine, function):
        equal(chip, pci.read(path), path)
        equal(chip.startswith("IR-"), iommu() == "intel", f"whether {chip} is remapped")


def own(machine, function):
    """Whether the evidence is of the function's own MSIs."""
    found = chips(machine, function)
    return bool(found) and all(address is None for address, _, _ in found)


def of_sibling(machine, function):
    found = chips(machine, function)
    return bool(found) and all(address not in (None, function.address) for address, _, _ in found)


def msis(function):
    """The numbers of its interrupts. The directory comes with the first, and stays until the driver is unbound."""
    return os.listdir(function.path("msi_irqs")) if os.path.exists(function.path("msi_irqs")) else []


def wait_own(machine, function, seconds=None):
    machine.wait(lambda: own(machine, function), f"{function} to be judged by its own MSIs", seconds)
    true(msis(function), f"{function} has MSIs")
    check_chips(machine, function)
    check_verdict(machine, function)


def wait_sibling(machine, function):
    machine.wait(lambda: of_sibling(machine, function), f"{function} to be judged by another's MSIs")
    equal(msis(function), [], f"the MSIs of {function}")
    check_chips(machine, function)
    check_verdict(machine, function)


@scenario("the MSI-X capability is what lspci says")
def capability(machine):
    IGB.set_num_vfs(1)
    vf = Function(IGB.vfs()[0])
    for function in (IGB, NVME, PLAIN, vf):
        check_verdict(machine, function)
        text = machine.run("lspci", "-vvv", "-s", function.address).stdout
        contains(text, f"MSI-X: Enable{'+' if function.driver() else '-'} "
                 f"Count={machine.property(function, 'Vectors')} ", f"lspci of {function}")
        for label, name in (("Vector table", "Table"), ("PBA", "Pba")):
            contains(text, f"{label}: BAR={machine.property(function, name + 'Bar')} "
                     f"offset={machine.property(function, name + 'Offset'):08x}", f"lspci of {function}")


@scenario("a PF is judged by its own MSIs while its driver has it, else by another's")
def physical_function(machine):
    wait_own(machine, IGB)
    IGB.unbind()
    wait_sibling(machine, IGB)
    IGB.bind("vfio-pci")
    machine.wait_property(IGB, "Driver", "vfio-pci")
    machine.fence()
    wait_sibling(machine, IGB)
    IGB.bind(None)
    wait_own(machine, IGB)


@scenario("a VF is judged before its driver has allocated MSIs, after, and on vfio-pci", deadline=120)
def virtual_function(machine):
    IGB.write("sriov_drivers_autoprobe", "0")
    IGB.set_num_vfs(1)
    vf = Function(IGB.vfs()[0])
    wait_sibling(machine, vf)
    vf.bind("igbvf")
    wait_own(machine, vf)
    vf.bind("vfio-pci")
    wait_sibling(machine, vf)
    machine.restart_daemon()
    wait_sibling(machine, vf)


def allow_unsafe(machine):
    """Until the scenario ends: where MSIs are not isolated VFIO gives nobody a device."""
    pci.load_driver("vfio_iommu_type1")
    pci.write(UNSAFE, "Y")
    machine.closers.append(lambda: pci.write(UNSAFE, "N"))


@scenario("a VF that a VMM has is judged by its own MSIs once the guest's driver has them, and until it is closed")
def of_a_guest(machine):
    vf, = igb_vfs(machine)
    wait_sibling(machine, vf)
    if iommu() != "intel":
        allow_unsafe(machine)
    opening = Opening(vf)
    machine.closers.append(opening.close)
    machine.wait_property(vf, "InUse", True)
    equal(msis(vf), [], f"the MSIs of {vf}, which is open")
    opening.allocate_msi()
    wait_own(machine, vf, seconds=30)
    machine.closers.remove(opening.close)
    opening.close()
    machine.wait_property(vf, "InUse", False)
    wait_sibling(machine, vf)


@scenario("who stands for the others loses its MSIs: another does, and the evidence says so")
def standing(machine):
    IGB.unbind()
    wait_sibling(machine, IGB)
    (address, _, _), = chips(machine, IGB)
    other = Function(address)
    driver = other.driver()
    true(driver, f"{other} has a driver")
    true(driver in ("nvme", "e1000e", "pcieport"), f"the driver of {other}, {driver}, can do without it")
    other.unbind()
    try:
        machine.wait(lambda: of_sibling(machine, IGB) and chips(machine, IGB)[0][0] != address,
                     f"{IGB} to be judged by somebody else's MSIs than {other}'s")
        check_chips(machine, IGB)
        check_verdict(machine, IGB)
    finally:
        pci.write("/sys/bus/pci/drivers_probe", other.address)


@scenario("allow_unsafe_interrupts is reported, and makes nothing isolated")
def unsafe(machine):
    pci.load_driver("vfio_iommu_type1")
    PLAIN.bind("vfio-pci")
    machine.wait(lambda: any("not set" in s and UNSAFE in s for s in machine.property(PLAIN, "Evidence") or []),
                 "the parameter in the evidence")
    check_verdict(machine, PLAIN)
    mark = machine.mark()
    pci.write(UNSAFE, "Y")
    try:
        machine.wait(lambda: any("isolates nothing" in s and UNSAFE in s
                                 for s in machine.property(PLAIN, "Evidence")), "the parameter as it was written")
        check_verdict(machine, PLAIN)
        equal(machine.changes_of(PLAIN, "Isolation", mark), [], "changes of Isolation")
        equal(machine.changes_of(PLAIN, "TableMappable", mark), [], "changes of TableMappable")
    finally:
        pci.write(UNSAFE, "N")
    machine.wait(lambda: any("not set" in s and UNSAFE in s for s in machine.property(PLAIN, "Evidence")),
                 "the parameter as it was before")
