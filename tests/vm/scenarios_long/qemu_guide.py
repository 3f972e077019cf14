"""The guide to plain QEMU does what it says, on a kernel with iommufd."""

import pathlib

from guest import service
from guest.manual import example
from guest.qemu import program
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users

from scenarios.open import check_brokered

SELF = "vm/scenarios_long/qemu_guide.py"
REFUSED = 6


@scenario("guide: plain QEMU, as root and by a user without privilege", deadline=240)
def plain_qemu(machine):
    vf, = igb_vfs(machine)
    link, rule = pathlib.Path("/usr/local/bin/qemu-system-x86_64"), pathlib.Path("/etc/polkit-1/rules.d/60-visitor.rules")
    link.symlink_to(program())
    for path in (link, rule):
        machine.closers.append(lambda path=path: path.unlink(missing_ok=True))
    machine.closers.append(lambda: service.systemctl("stop", "web1", check=False))
    vf.unbind()
    machine.wait_property(vf, "Driver", "")
    with example(machine, "qemu-bind", SELF) as session:
        session.run_all()
    with example(machine, "qemu-start", SELF) as session:
        session.run_all()
    machine.wait_property(vf, "InUse", True)
    with example(machine, "qemu-look", SELF) as session:
        session.run()
        session.run(status=REFUSED)
        session.run()
    wait_users(machine, vf, [])
    with example(machine, "qemu-open", SELF) as session:
        session.run()
        service.systemctl("restart", "polkit.service")      # which notices the rule only a moment later by itself
        session.run()
    pid = machine.wait(lambda: int(machine.daemon.property("MainPID", "web1.service")), "the unit's process")
    check_brokered(machine, vf, pid)
    with example(machine, "qemu-users", SELF) as session:
        session.run()
    with example(machine, "qemu-end", SELF) as session:
        session.run()
        wait_users(machine, vf, [])
        session.run()
