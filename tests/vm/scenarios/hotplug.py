"""Hardware that is pulled out and put in again, by QEMU, as by an operator's hand."""

import os

from guest import pci, service
from guest.check import contains, equal, true
from guest.pci import FOURTH, IGB, KERNEL_MODES, PLAIN, SRIOV, Function
from guest.registry import scenario

ALL = tuple(KERNEL_MODES)


@scenario("a locked PF with VFs is hot-unplugged: all goes, nothing leaks; back again it is a new device",
          deadline=180)
def locked_pf(machine):
    inode = os.stat(IGB.directory).st_ino
    pci.set_enable_sriov(True)
    machine.stop_daemon()
    IGB.bind("vfio-pci")
    IGB.set_num_vfs(2)
    vfs = [Function(address) for address in IGB.vfs()]
    machine.start_daemon()
    holdings = machine.holdings()
    machine.client.lock(IGB.address, "in the way of nobody's hand")
    machine.check_locked(IGB, ["userspace-driver", "administrator"], ALL)
    machine.client.lock(vfs[0].address)

    mark = machine.mark()
    machine.unplug(IGB)
    for function in (IGB, *vfs):
        machine.wait_function(function, there=False)
        equal(function.exists(), False, f"whether {function} is in sysfs")
    equal(machine.violations(mark), [], "violations: an orderly unplug is none")
    equal(machine.journal.messages(service.VIOLATION), [], "violations in the journal")
    state = machine.daemon.state()
    equal((state["files"], state["functions"]), ([], []), "what is kept of them")
    equal(pci.mode(f"{pci.SLOTS}/1/power"), 0o644, "the mode of the slot's power, which outlives them")
    true(pci.can_open_for_writing(f"{pci.SLOTS}/1/power"), "the slot's power can be written")

    machine.plug(IGB)
    machine.wait_property(IGB, "Driver", "igb")
    machine.fence()
    true(os.stat(IGB.directory).st_ino != inode, "it is a device made anew")
    machine.check_locked(IGB, [], [])
    equal(machine.property(IGB, "UserspaceDriver"), False, "whether a userspace driver had it")
    equal(machine.property(IGB, "Tainted"), False, "whether it is tainted")
    equal(machine.property(IGB, "LockWhy"), "", "LockWhy")
    IGB.set_num_vfs(1)
    machine.wait_property(IGB, "NumVFs", 1)
    machine.wait_property(Function(IGB.vfs()[0]), "Driver", "igbvf")
    IGB.set_num_vfs(0)
    machine.wait_property(IGB, "NumVFs", 0)
    machine.fence()
    # The VFs were there at its start; and of what VFIO has, `enable` is held open.
    holdings["watches"] -= len(vfs)
    holdings["descriptors"] = [name for name in holdings["descriptors"] if not name.endswith("/enable")]
    equal(machine.holdings(), holdings, "the daemon's descriptors and watches")


@scenario("a new igb is plugged into an empty slot, locked, and pulled out again", deadline=180)
def new_device(machine):
    machine.client.lock(PLAIN.address)  # it opens its way to the journal when it first says something
    machine.client.unlock(PLAIN.address)
    holdings = machine.holdings()
    count = machine.client.manager_property("FunctionCount")
    machine.plug(FOURTH)
    machine.wait_property(FOURTH, "Driver", "igb")
    equal(machine.property(FOURTH, "Kind"), "pf", "its kind")
    equal(machine.client.manager_property("FunctionCount"), count + 1, "FunctionCount")
    machine.client.lock(FOURTH.address)
    machine.check_locked(FOURTH, ["administrator"], ALL)
    # The lock keeps software from switching the slot off, not a hand from pulling.
    machine.unplug(FOURTH)
    machine.wait_function(FOURTH, there=False)
    equal(machine.client.manager_property("FunctionCount"), count, "FunctionCount")
    equal(pci.mode(f"{pci.SLOTS}/4/power"), 0o644, "the mode of the empty slot's power")
    equal(machine.violations(), [], "violations")
    equal(machine.holdings(), holdings, "the daemon's descriptors and watches")


@scenario("power-off by software: refused while locked, followed when it is not", deadline=180)
def switched_off(machine):
    power = PLAIN.path("power")
    machine.client.lock(PLAIN.address)
    machine.wait_property(PLAIN, "Locked", True)
    equal(pci.can_open_for_writing(power), False, "whether root can switch a locked slot off")
    machine.client.unlock(PLAIN.address)
    machine.check_locked(PLAIN, [], [])
    pci.write(power, "0")
    machine.wait_function(PLAIN, there=False)
    contains(("0", None), pci.read(power), "the slot's power")
    machine.outside("wait_unplugged", id="plain0", seconds=30)
    machine.plug(PLAIN)
    machine.wait_property(PLAIN, "Driver", "e1000e")
