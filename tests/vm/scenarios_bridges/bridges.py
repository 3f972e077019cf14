"""Bridges of other kinds: a PCIe-to-PCI bridge, whose devices share a group, below a port without a slot; and a switch below a
switch with a card of two functions. Both ports are functions of one device."""

import vfwarden_bus as vb

from guest import pci
from guest.check import contains, equal, true
from guest.pci import Function
from guest.registry import scenario

from scenarios.topology import REFUSED, TIMED_OUT, above, check_closed, hold, rescan_later

OLD0, OLD1, OLD2 = (Function(f"0000:0a:{name}") for name in ("01.0", "01.1", "02.0"))
CARD2, CARD3 = Function("0000:0f:00.0"), Function("0000:0f:00.1")


def give_back(machine, *functions):
    """The machine's cleaning knows these functions not."""
    def back():
        for function in functions:
            if function.exists() and function.driver() == "vfio-pci":
                function.unbind()
                function.set_override(None)
    machine.closers.append(back)


def check_open(machine, bridges):
    for bridge in bridges:
        machine.wait_property(bridge, "LockReasons", [])
        machine.wait_property(bridge, "ClosedFiles", [])
        bridge.check_closed()


def blockers(machine, function, operation):
    return [row[1] for row in machine.client.check(function.address, operation)[1]]


@scenario("a PCIe-to-PCI bridge: its files and its slot's refuse while one of its devices is used, and `why` names that; a "
          "reset of another one is seen to reach it", deadline=180)
def pci_bridge(machine):
    give_back(machine, OLD0, OLD1, OLD2)
    bridges = above(OLD0)
    equal({one.parent().address for one in (OLD0, OLD1, OLD2)}, {bridges[0].address}, "the bridge above all three")
    group = {pci.link(one.path("iommu_group")) for one in (OLD0, OLD1, OLD2)}
    equal(len(group), 1, "the number of their groups")
    equal(bridges[-1].slot(), None, "the slot of the port")
    if bridges[0].driver():     # shpchp does not let the group be opened
        allowed, rows, _ = machine.client.check(OLD0.address, "open")
        true(not allowed and bridges[0].address in [row[1] for row in rows], f"why it cannot be opened: {rows}")
        bridges[0].unbind()
    for one in (OLD1, OLD2):
        one.bind("vfio-pci")
    holder = hold(machine, OLD0, "--request=refuse")
    for bridge in bridges:
        machine.wait_property(bridge, "LockReasons", ["below-in-use"])
        check_closed(bridge)
        for operation in ("remove", "reset", *(["power-off"] if bridge.slot() else [])):
            contains(blockers(machine, bridge, operation), OLD0.address, f"the blockers of {operation} of {bridge}")
    equal(machine.run("vfwarden", "unplug", "--timeout=3s", bridges[-1].address, check=False).returncode, TIMED_OUT,
          "the exit code of an unplug of the port")
    for one in (OLD0, OLD1, OLD2):
        equal(one.driver(), "vfio-pci", f"the driver of {one}")
    contains(blockers(machine, OLD0, "remove"), OLD0.address, "the blockers of its own removal")
    equal(machine.run("vfwarden", "reset", OLD0.address, check=False).returncode, REFUSED, "the exit code of its reset")
    holder.end()
    check_open(machine, bridges)


@scenario("a switch below a switch, and one used function of two: all five bridges and their slots refuse, and so does an "
          "unbind of the other function, which shares the group; unplug of the top asks, and all goes from the leaves up", deadline=240)
def nested_switch(machine):
    give_back(machine, CARD2, CARD3)
    rescan_later(machine)
    bridges = above(CARD2)
    equal(len(bridges), 5, "the number of bridges above")
    CARD3.bind("vfio-pci")      # both are in one group
    machine.wait_property(CARD3, "Driver", "vfio-pci")
    holder = hold(machine, CARD2, "--io", "--request=refuse")
    for bridge in bridges:
        machine.wait_property(bridge, "LockReasons", ["below-in-use"])
        check_closed(bridge)
    for operation in ("power-off", "remove"):
        contains(blockers(machine, bridges[-1], operation), CARD2.address, f"the blockers of {operation} of the top")
    contains(blockers(machine, CARD3, "power-off"), CARD2.address, "who stands against the slot, which they share")
    equal(blockers(machine, CARD3, "unbind"), [CARD2.address], "who stands against an unbind of the other function")
    told = machine.run("vfwarden", "why", bridges[-1].address, "remove", check=False).stdout
    contains(told, " > ".join(one.address for one in (*reversed(bridges), CARD2)), "the path to the holder")
    equal(machine.run("vfwarden", "unbind", CARD3.address, check=False).returncode, REFUSED, "the exit code of that unbind")
    equal((CARD2.driver(), CARD3.driver()), ("vfio-pci", "vfio-pci"), "the drivers of both")
    mark = machine.client.recorder.mark()
    call = machine.client.start_unplug(bridges[-1].address, 120)
    path = vb.function_path(CARD2.address)
    machine.client.recorder.wait_for("UnplugRequested", lambda signal: signal.path == path, mark)
    holder.end()
    call.result()
    equal([one.exists() for one in (CARD2, CARD3, *bridges)], [False] * 7, "whether they are there")
