"""The kernel guard: drivers of what is above a function in use. QEMU has no VMD, whose driver is guarded as that of a bridge."""

from guest import pci
from guest.check import equal
from guest.pci import CARD0, PLAIN
from guest.registry import scenario

from scenarios.kernel_guard import by_write, check_refused, load_guard, wait_report, write_by
from scenarios.topology import BELOW_IN_USE, above, hold

BRIDGES = "/sys/bus/pci/drivers/pcieport"


@scenario("the kernel guard refuses to unbind the driver of each bridge above a function in use, and of no other bridge",
          deadline=180)
def bridges(machine):
    load_guard(machine)
    one = hold(machine, CARD0)
    for bridge in above(CARD0):
        machine.wait_property(bridge, "LockReasons", BELOW_IN_USE)
        equal(bridge.driver(), "pcieport", f"the driver of {bridge}")
        check_refused(lambda bridge=bridge: write_by(by_write, f"{BRIDGES}/unbind", bridge.address), f"an unbind of {bridge}")
        equal(bridge.driver(), "pcieport", f"the driver of {bridge} after that")
        wait_report(machine, f"{bridge}: refused: unbind, tried by ")
    other = PLAIN.parent()
    machine.closers.append(lambda: other.driver() or pci.write(f"{BRIDGES}/bind", other.address))
    write_by(by_write, f"{BRIDGES}/unbind", other.address)
    equal(other.driver(), None, "the driver of another bridge")
    pci.write(f"{BRIDGES}/bind", other.address)
    one.end()
    for bridge in above(CARD0):
        machine.wait_property(bridge, "LockReasons", [])
