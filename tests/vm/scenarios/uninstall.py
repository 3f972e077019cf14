"""README's uninstallation, of a daemon that locks files and serves a session."""

import os
import pathlib
import pwd
import subprocess

import vfwarden_bus as vb

from guest import project, service
from guest.check import equal, raises
from guest.io_client import IoClient
from guest.manual import example
from guest.pci import IGB, NVME, SRIOV
from guest.registry import scenario
from guest.vfio import igb_vfs

SELF = "vm/scenarios/uninstall.py"
RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.vfwarden1.zpci-io" && subject.user == "visitor")
        return polkit.Result.YES;
});
"""


def uninstall(machine):
    os.chdir(project.BUILD.parent)
    with example(machine, "readme-uninstall", SELF) as session:
        session.run_all(without="sudo ", silent_example=True)
    machine.expected_pid = 0


def check_gone(machine):
    equal([path for path in project.installed() if os.path.lexists(path)], [], "the files that are left")
    equal(machine.daemon.property("LoadState"), "not-found", "what systemd says of the unit")
    equal(machine.daemon.property("LoadState", service.SPAWN_UNIT), "not-found", "what systemd says of the other unit")
    for path in ("/run/vfwarden", "/run/vfwarden-spawn.socket", "/run/systemd/system/vfwardend.service"):
        equal(os.path.lexists(path), False, f"whether {path} is there")
    equal(list(pathlib.Path("/etc/systemd/system").rglob("*vfwarden1*")), [], "the links to the unit")
    raises(KeyError, lambda: pwd.getpwnam("vfwarden"), "looking for its user")
    equal(machine.client.bus.name_owner(), None, "the owner of the bus name")
    raises(vb.BusError, lambda: vb.Bus().call("/org/freedesktop/DBus", "org.freedesktop.DBus", "StartServiceByName", "(su)",
                                              (vb.NAME, 0), destination="org.freedesktop.DBus"), "starting it by D-Bus")


@scenario("README: the uninstallation opens all files, ends sessions, and leaves nothing but an edited configuration; that "
          "goes with --purge", deadline=240)
def readme_uninstall(machine):
    user = pwd.getpwnam("vfwarden").pw_uid
    vf, = igb_vfs(machine)
    machine.add_polkit_rule(RULE)
    machine.daemon.configure("[Io]\nAllowMsix=yes\n", "vfwarden.conf")
    service.systemctl("reload", service.UNIT)
    client = IoClient(machine)
    client.open(vf)
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)
    machine.wait_property(IGB, "Locked", True)

    with project.kept():
        uninstall(machine)
        for function in (IGB, NVME, vf):
            function.check_closed()
        check_gone(machine)
        equal(machine.run("pgrep", "--uid", str(user), check=False).stdout, "", "the processes of its user")
        equal(sorted(path.name for path in service.CONFIG.iterdir()), ["vfwarden.conf"], "what is left of the configuration")
        machine.run(str(project.BUILD / "units/uninstall"), "--purge")
        equal(service.CONFIG.exists(), False, "whether the configuration is left")
    machine.start_daemon()


@scenario("the uninstallation stops when the daemon cannot open its files, and has removed nothing", deadline=120)
def refused(machine):
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)
    machine.stop_daemon()
    machine.daemon.drop_in("ExecStart=\nExecStart=/bin/false\nRestart=no\n")
    result = machine.run(str(project.BUILD / "units/uninstall"), check=False)
    equal(result.returncode, 1, f"the exit code of the uninstallation, which printed {result.stdout!r}")
    equal([path for path in project.installed() if not os.path.lexists(path)], [], "the files that are missing")
    NVME.check_closed(*SRIOV)
    service.systemctl("reset-failed", service.UNIT)
