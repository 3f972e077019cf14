"""The guides in docs/guides do what they say, and print what is printed there."""

import pathlib

from guest import pci, service
from guest.manual import example
from guest.pci import IGB, NVME, Function
from guest.registry import scenario
from guest.vfio import igb_vfs

from scenarios.external_removal import Writer
from scenarios.manuals import guest

REFUSED = 6
SELF = "vm/scenarios_long/guides.py"
VF = "0000:01:10.0"


# In the place of programs that the machine does not have: opens the device whose address follows -a or -A.
STAND_IN = """#!/bin/sh
exec /usr/local/bin/vfio-holder "$2"
"""


def stand_in(machine, name):
    path = pathlib.Path("/usr/local/bin", name)
    path.write_text(STAND_IN)
    path.chmod(0o755)
    machine.closers.append(path.unlink)


@scenario("guide: DPDK and SPDK", deadline=240)
def dpdk_and_spdk(machine):
    stand_in(machine, "dpdk-testpmd")
    stand_in(machine, "spdk_tgt")
    pci.load_driver("igbvf")    # else udev does so, and it probes the VFs while they are taken from it
    for unit in ("packets", "storage"):
        machine.closers.append(lambda unit=unit: service.systemctl("stop", unit, check=False))
    vf = Function(VF)
    with example(machine, "dpdk-start", SELF) as session:
        session.run()
        machine.wait_property(vf, "Driver", "igbvf")
        session.run_all()
    machine.wait_property(vf, "InUse", True)
    with example(machine, "dpdk-look", SELF) as session:
        session.run(status=REFUSED)
        session.run(status=2)
    with example(machine, "dpdk-end", SELF) as session:
        session.run()
        machine.wait_property(vf, "InUse", False)
        session.run()
    with example(machine, "spdk", SELF) as session:
        session.run()
        session.run()
        machine.wait_property(NVME, "InUse", True)
        session.run()
        session.run()
        machine.wait_property(NVME, "InUse", False)
        session.run()


@scenario("guide: after an incident", deadline=180)
def after_an_incident(machine):
    vf, _ = igb_vfs(machine, 2)
    writer = Writer(machine, "/sys/bus/pci/drivers/vfio-pci/unbind", vf.address)
    guest(machine, vf, "guest-web", "--request=refuse")
    writer.write()
    machine.wait_property(vf, "State", "removing")
    with example(machine, "incident-log", SELF) as session:
        session.run()
    with example(machine, "incident-state", SELF) as session:
        session.run()
        session.run(status=REFUSED)
    with example(machine, "incident-users", SELF) as session:
        session.run()
