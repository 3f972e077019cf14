"""The examples of the manuals and of README.md do what they say, and print what is printed there."""

import installation

from guest import pci, service
from guest.check import equal
from guest.holder import Holder
from guest.libvirt import HOOK, Libvirt, hostdev
from guest.manual import example
from guest.pci import IGB, NVME, Function
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users

FAILED, REFUSED, TIMED_OUT = 1, 6, 8


def guest(machine, vf, name, *options):
    """A unit that has the VF, as a virtual machine would; its pid."""
    Holder(machine, *options, vf, wrapper=["systemd-run", "--quiet", "--pipe", "--collect",
                                           f"--unit={name}.service", "--property=KillSignal=SIGKILL"])
    pid = machine.wait(lambda: int(machine.daemon.property("MainPID", f"{name}.service")), "the unit's process")
    wait_users(machine, vf, [pid])


def give_nvme(machine, vfs):
    """The NVMe controller to vfio-pci, with VFs."""
    pci.set_enable_sriov(True)
    NVME.bind("vfio-pci")
    machine.wait_property(NVME, "Driver", "vfio-pci")
    if vfs:
        # The daemon has closed the file by now: as somebody who knows what he does.
        machine.run("vfwarden", "set-vfs", "--override", NVME.address, str(vfs))


def allow_io(machine):
    machine.daemon.configure("[Io]\nAllowMsix=yes\n")
    service.systemctl("reload", service.UNIT)


@scenario("vfwarden(1): the tree, one function, locks, who is in the way, inhibitors, unplug", deadline=240)
def command(machine):
    web, db = igb_vfs(machine, 2)
    give_nvme(machine, 1)
    guest(machine, web, "guest-web", "--unplug=100")
    with example(machine, "list") as session:
        session.run()
    with example(machine, "show") as session:
        session.run()
    with example(machine, "lock") as session:
        session.run_all()
    with example(machine, "why") as session:
        session.run(status=REFUSED)
        session.run()
    with example(machine, "json") as session:
        session.run()
    with example(machine, "inhibit") as session:
        session.run(status=REFUSED)
    guest(machine, db, "guest-db")
    with example(machine, "unplug") as session:
        session.run()
        session.run(status=TIMED_OUT)


@scenario("vfwarden(1): the changes of a host", deadline=120)
def monitor(machine):
    NVME.bind("vfio-pci")
    machine.wait_property(NVME, "Locked", True)
    IGB.set_num_vfs(1)
    vf = Function(IGB.vfs()[0])
    machine.wait_property(vf, "Driver", "igbvf")
    with example(machine, "monitor") as session, session.follow():
        vf.unbind()
        machine.wait_property(vf, "Driver", "")
        vf.bind("vfio-pci")
        machine.wait_property(vf, "Driver", "vfio-pci")
        NVME.chmod("sriov_numvfs", 0o644)
        machine.wait(lambda: machine.violations(), "the violation")
        IGB.set_num_vfs(0)


@scenario("vfwarden(1): loads and stores", deadline=120)
def io(machine):
    _, vf = igb_vfs(machine, 2)
    allow_io(machine)
    with example(machine, "io") as session:
        session.run_all()
    wait_users(machine, vf, [])


@scenario("vfwarden-libvirt-hook(8): installing it, and what virsh says to a start that is refused", deadline=300)
def libvirt_hook(machine):
    IGB.set_num_vfs(1)
    vf = Function(IGB.vfs()[0])
    machine.wait_property(vf, "Driver", "igbvf")
    libvirt = Libvirt(machine)
    HOOK.unlink()
    with example(machine, "hook") as session:
        session.run_all()
    for name in ("web1", "web2"):
        libvirt.define(name, hostdev(vf))
    libvirt.start("web1")
    with example(machine, "refused") as session:
        session.run(status=FAILED, one_line=True)


@scenario("org.vfwarden1(5): calls by busctl", deadline=90)
def interfaces(machine):
    with example(machine, "busctl") as session:
        session.run_all(silent_example=True)


@scenario("README: a PF on vfio-pci that has VFs, which root cannot take away", deadline=120)
def readme_lock(machine):
    pci.set_enable_sriov(True)
    machine.stop_daemon()
    IGB.bind("vfio-pci")
    IGB.set_num_vfs(2)
    machine.start_daemon()
    machine.wait_property(IGB, "Locked", True)
    with example(machine, "readme-lock") as session:
        session.run()
        session.run(status=2)
    equal(len(IGB.vfs()), 2, "the VFs afterwards")


@scenario("README: installation, the verbs, who is in the way", deadline=240)
def readme(machine):
    with example(machine, "readme-install") as session:
        while session.steps:
            if installation.runs_in_machine(session.steps[0][1]):
                session.run(without="sudo ")
            else:
                session.skip("install/from_source.py does so")
    web, db = igb_vfs(machine, 2)
    guest(machine, web, "guest-web", "--unplug=100")
    with example(machine, "readme-busctl") as session:
        session.run_all(silent_example=True)
    with example(machine, "readme-why") as session:
        session.run(status=REFUSED)
        session.run()
        session.run()
    allow_io(machine)
    web.bind("vfio-pci")
    machine.wait_property(web, "Driver", "vfio-pci")
    with example(machine, "readme-use") as session:
        session.run(silent_example=True)
        session.run(silent_example=True)
        with session.follow():
            pass
        session.run_all(silent_example=True)
    wait_users(machine, db, [])
