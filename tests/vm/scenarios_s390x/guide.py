"""The guide for s390 does what it says, and prints what is printed there."""

from guest.check import equal
from guest.holder import Holder
from guest.manual import example
from guest.pci import ZNVME
from guest.registry import scenario

REFUSED = 6
SELF = "vm/scenarios_s390x/guide.py"


@scenario("guide: s390", deadline=300)
def s390(machine):
    with example(machine, "s390-find", SELF) as session:
        session.run_all()
    with example(machine, "s390-bind", SELF) as session:
        session.run()
    with example(machine, "s390-lock", SELF) as session:
        session.run()
        session.run(status=2)
        session.run()
    Holder(machine, "--unplug=100", ZNVME,
           wrapper=["systemd-run", "--quiet", "--pipe", "--collect", "--unit=web1.service", "--property=KillSignal=SIGKILL"])
    machine.wait_property(ZNVME, "InUse", True)
    with example(machine, "s390-unplug", SELF) as session:
        session.run(status=REFUSED)
        session.run()
        machine.wait_function(ZNVME, there=False)
        session.run()
        machine.wait_property(ZNVME, "Driver", "nvme")
    with example(machine, "s390-power", SELF) as session:
        session.run()
        session.run()
        machine.wait_function(ZNVME, there=False)
        session.run()
        machine.wait_property(ZNVME, "Driver", "nvme")
        session.run()
    equal(ZNVME.read("driver_override"), "(null)", "its driver_override")
