"""Ways that take nothing from who uses a function (docs/doors.md): each is tried, and nothing has changed. And one that logind
refuses."""

from guest import pci, service
from guest.check import contains, equal, true
from guest.holder import Holder
from guest.pci import IGB
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users


def attempt(path, text):
    """The kernel may refuse it."""
    try:
        pci.write(path, text)
    except OSError:
        pass


@scenario("bind, new_id, drivers_probe, driver_override and rescan take nothing from the user of a VF or from its PF")
def harmless(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, "--io", vf)
    wait_users(machine, vf, [one.pid])
    pci.load_driver("pci-stub")
    ids = " ".join(vf.read(name).removeprefix("0x") for name in ("vendor", "device"))
    mark = machine.mark()
    for path, text in (("drivers/igbvf/bind", vf.address), ("drivers/pci-stub/bind", vf.address),
                       ("drivers/pci-stub/new_id", ids), ("drivers_probe", vf.address), ("drivers/pci-stub/bind", IGB.address),
                       (f"devices/{vf}/driver_override", "pci-stub"), ("drivers_probe", vf.address), ("rescan", "1")):
        attempt(f"/sys/bus/pci/{path}", text)
        equal((vf.driver(), IGB.driver(), len(IGB.vfs())), ("vfio-pci", "igb", 1), f"the drivers after {text!r} in {path}")
    attempt("/sys/bus/pci/drivers/pci-stub/remove_id", ids)
    reads = one.reads()
    machine.poll(lambda: one.reads() > reads, "the holder to read on")
    equal([line for line in one.lines if line.startswith(("request", "unplug"))], [], "what the holder was told")
    equal(machine.violations(mark), [], "violations")
    wait_users(machine, vf, [one.pid])


@scenario("with InhibitSleep=yes logind refuses suspend and shutdown while a function is in use")
def sleep(machine):
    machine.daemon.configure("[Lock]\nInhibitSleep=yes\n")
    machine.run("systemctl", "reload", service.UNIT)
    vf, = igb_vfs(machine)
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    machine.poll(lambda: "vfwardend" in inhibitors(), "the daemon's inhibitor")
    for verb in ("suspend", "poweroff"):
        result = service.systemctl("--check-inhibitors=yes", verb, check=False)
        true(result.returncode != 0, f"{verb} is refused")
        contains(result.stdout, "PCI functions are in use", f"what {verb} says")
    one.end()
    machine.poll(lambda: "vfwardend" not in inhibitors(), "the inhibitor to be gone")


def inhibitors():
    return service.run("systemd-inhibit", "--list", "--no-pager").stdout
