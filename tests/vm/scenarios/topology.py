"""What is below a bridge: it is named, its files and its slot are locked, and an unplug takes it along in order."""

import os

import vfwarden_bus as vb

from guest import pci
from guest.check import contains, equal, raises, true
from guest.holder import Holder
from guest.pci import CARD0, CARD1, IGB, NVME, SWITCH, Function
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users

REFUSED, TIMED_OUT = 6, 8
BELOW_IN_USE = ["below-in-use"]


def hold(machine, function, *options):
    """A holder of `function`, which is bound to vfio-pci for that."""
    function.bind("vfio-pci")
    machine.wait_property(function, "Driver", "vfio-pci")
    one = Holder(machine, *options, function)
    wait_users(machine, function, [one.pid])
    return one


def above(function):
    """The bridges above, nearest first."""
    found = []
    while (function := function.parent()) is not None:
        found.append(function)
    return found


def check_closed(bridge):
    for name in ("remove", "reset", "reset_subordinate", "enable"):
        if os.path.exists(bridge.path(name)):
            equal(bridge.mode(name) & 0o222, 0, f"the write bits of {name} of {bridge}")
            path = bridge.path(name)
            raises(PermissionError, lambda path=path: pci.write(path, "1"), f"a write to {name} of {bridge}")
    if bridge.slot():
        equal(bridge.mode("power") & 0o222, 0, f"the write bits of the slot's power of {bridge}")
        raises(PermissionError, lambda: pci.write(bridge.path("power"), "0"), f"switching the slot of {bridge} off")


def rescan_later(machine):
    # After the holder has ended: what a bridge took along comes back.
    machine.closers.append(lambda: pci.write("/sys/bus/pci/rescan", "1"))


@scenario("a switch with two cards: the tree, the slots, and why nothing above a held card may go", deadline=180)
def switch(machine):
    equal([bridge.address for bridge in above(CARD0)], ["0000:06:00.0", SWITCH.address, "0000:00:06.0"], "the tree")
    equal(machine.property(CARD0, "Parent"), vb.function_path("0000:06:00.0"), "its parent")
    equal(machine.property(SWITCH, "Children"), [vb.function_path("0000:06:00.0"), vb.function_path("0000:06:01.0")],
          "the ports of the switch")
    equal([machine.property(function, "Slot") for function in (SWITCH, CARD0, CARD1)], ["5", "6", "7"], "slots")
    one = hold(machine, CARD0, "--request=refuse")
    root = above(CARD0)[-1]
    for bridge in above(CARD0):
        machine.wait_property(bridge, "LockReasons", BELOW_IN_USE)
        check_closed(bridge)
        for operation in ("remove", "power-off", "unbind", "reset"):
            allowed, blockers, _ = machine.client.check(bridge.address, operation)
            equal(allowed, False, f"whether {operation} of {bridge} is possible")
            contains([row[1] for row in blockers], CARD0.address, f"the blockers of {operation} of {bridge}")
    equal(SWITCH.mode("power") & 0o222, 0, "the slot that holds the switch")
    told = machine.run("vfwarden", "why", root.address, "remove", check=False)
    contains(told.stdout, f"{root} > {SWITCH} > 0000:06:00.0 > {CARD0}", "the path to the holder")
    equal(machine.run("vfwarden", "unbind", root.address, check=False).returncode, REFUSED, "unbind of the port")
    equal(machine.property(Function("0000:06:01.0"), "LockReasons"), [], "the other branch")
    one.end()
    for bridge in above(CARD0):
        machine.wait_property(bridge, "LockReasons", [])
        machine.wait_property(bridge, "ClosedFiles", [])
        bridge.check_closed()


@scenario("unplug of the port above a switch: the holder of a card below refuses, nothing has changed", deadline=180)
def refused(machine):
    rescan_later(machine)
    hold(machine, CARD0, "--io", "--request=refuse")
    root = above(CARD0)[-1]
    result = machine.run("vfwarden", "unplug", "--timeout=3s", root.address, check=False)
    equal(result.returncode, TIMED_OUT, "the exit code")
    equal([function.driver() for function in (CARD0, CARD1)], ["vfio-pci", "e1000e"], "the drivers below")
    equal(machine.property(root, "State"), "present", "its state")


@scenario("unplug of the port above a switch: the holder below obeys, and all goes from the leaves up", deadline=240)
def obeyed(machine):
    rescan_later(machine)
    one = hold(machine, CARD0, "--io", "--request=refuse")
    root = above(CARD0)[-1]     # by its own `remove`: a switch that its slot loses does not come back in QEMU
    mark = machine.client.recorder.mark()
    call = machine.client.start_unplug(root.address, 120)
    path = vb.function_path(CARD0.address)
    machine.client.recorder.wait_for("UnplugRequested", lambda signal: signal.path == path, mark)
    one.end()
    call.result()
    equal([function.exists() for function in (root, SWITCH, CARD0, CARD1)], [False] * 4, "whether they are there")


@scenario("a bridge above a VF: named, and an unplug times out", deadline=180)
def above_a_vf(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, "--io", "--request=refuse", vf)
    wait_users(machine, vf, [one.pid])
    bridge = IGB.parent()
    allowed, blockers, _ = machine.client.check(bridge.address, "remove")
    equal((allowed, blockers[0][1]), (False, vf.address), "who stands against a removal")
    check_closed(bridge)
    result = machine.run("vfwarden", "unplug", "--timeout=3s", bridge.address, check=False)
    true("Nobody holds" not in result.stdout, "what it says of holders")
    equal((vf.exists(), vf.driver(), IGB.driver()), (True, "vfio-pci", "igb"), "nothing has happened to the VF")
    one.kill()      # it dies
    machine.wait_property(bridge, "LockReasons", [])


@scenario("VFs that die one by one: the PF stays locked until the last user is gone", deadline=180)
def dying(machine):
    NVME.write("sriov_drivers_autoprobe", "0")
    NVME.set_num_vfs(2)
    free, held = [Function(address) for address in NVME.vfs()]
    held.bind("vfio-pci")
    machine.wait_property(held, "Driver", "vfio-pci")
    late = os.open(NVME.path("sriov_numvfs"), os.O_WRONLY)
    one = Holder(machine, "--request=refuse", held)
    machine.wait_property(held, "InUse", True)
    writer = os.fork()
    if writer == 0:
        os.write(late, b"0\n")
        os._exit(0)
    os.close(late)
    machine.wait_property(held, "Driver", "")
    machine.fence()
    equal(free.exists(), False, "whether the free one is there")
    equal(NVME.vfs(), [], "the links, which the kernel took first")
    equal((machine.property(held, "Kind"), machine.property(held, "InUse")), ("vf", True), "the held one")
    equal(machine.property(NVME, "LockReasons"), ["vf-in-use"], "the PF's reasons")
    equal(NVME.mode("remove") & 0o222, 0, "the write bits of remove")
    contains([row[1] for row in machine.client.check(NVME.address, "remove")[1]], held.address, "who stands against it")
    one.end()
    os.waitpid(writer, 0)
    machine.wait_property(NVME, "LockReasons", [])
