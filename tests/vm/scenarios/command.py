"""The `vfwarden` command on a real system bus."""

import json
import os
import subprocess

from gi.repository import GLib

from guest import pci
from guest.check import contains, equal, true
from guest.pci import IGB, KERNEL_MODES, NVME, SRIOV
from guest.registry import scenario

ACCESS_DENIED = 4
NO_SUCH_FUNCTION = 3


class Monitor:
    """`vfwarden monitor --json` of some user."""

    def __init__(self, machine, user):
        self.events = []
        self.rest = b""
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "vfwarden", "--json", "monitor"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.source = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self.process.stdout.fileno(),
                                            GLib.IOCondition.IN | GLib.IOCondition.HUP, self._on_output)
        machine.closers.append(self.close)

    def _on_output(self, descriptor, _condition):
        data = os.read(descriptor, 65536)
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.events += [json.loads(line) for line in lines]
        return GLib.SOURCE_CONTINUE if data else GLib.SOURCE_REMOVE

    def of(self, kind, **members):
        return [event for event in self.events if event["Event"] == kind and
                all(event.get(name) == value for name, value in members.items())]

    def close(self):
        self.process.terminate()
        self.process.wait()


@scenario("list, show, status, lock and unlock do what they say")
def verbs(machine):
    IGB.set_num_vfs(2)
    machine.wait_property(IGB, "NumVFs", 2)
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)
    listed = machine.run_as("visitor", "vfwarden", "list").stdout
    for address in pci.addresses():
        contains(listed, address, "vfwarden list")
    for word in ("igb", "vfio-pci"):
        contains(listed, word, "vfwarden list")
    functions = json.loads(machine.run("vfwarden", "--json", "list").stdout)
    contains(json.dumps(functions), IGB.vfs()[0], "vfwarden --json list")
    contains(machine.run_as("visitor", "vfwarden", "show", "02:00.0").stdout, "vfio-pci", "vfwarden show")
    contains(machine.run_as("visitor", "vfwarden", "status").stdout, "running", "vfwarden status")
    true("\x1b" not in listed, "no colours in what goes into a pipe")

    equal(machine.run_as("visitor", "vfwarden", "lock", IGB.address, check=False).returncode, ACCESS_DENIED,
          "the exit code of a visitor's lock")
    machine.check_locked(IGB, [], [])
    contains(machine.run("vfwarden", "lock", IGB.address, "until tonight").stdout, "sriov_numvfs", "vfwarden lock")
    machine.check_locked(IGB, ["administrator"], tuple(KERNEL_MODES))
    contains(machine.run("vfwarden", "show", IGB.address).stdout, "until tonight", "vfwarden show")
    machine.run("vfwarden", "unlock", IGB.address)
    machine.check_locked(IGB, [], [])
    equal(machine.run("vfwarden", "lock", "0000:77:00.0", check=False).returncode, NO_SUCH_FUNCTION,
          "the exit code for a function that is not there")


@scenario("monitor shows an unprivileged user what happens, a Violation among it")
def monitor(machine):
    watcher = Monitor(machine, "visitor")
    machine.wait(lambda: watcher.of("watching"), "the monitor to watch")
    IGB.set_num_vfs(1)
    vf = IGB.vfs()[0]
    machine.wait(lambda: watcher.of("function-added", Address=vf), "the VF to be shown")
    machine.wait(lambda: watcher.of("property-changed", Address=IGB.address, Property="NumVFs", New=1),
                 "NumVFs to be shown")
    NVME.bind("vfio-pci")
    machine.check_locked(NVME, ["userspace-driver"], SRIOV)
    machine.wait(lambda: watcher.of("property-changed", Address=NVME.address, Property="Locked", New=True),
                 "the lock to be shown")
    NVME.chmod("sriov_numvfs", 0o644)
    machine.wait(lambda: watcher.of("violation", Address=NVME.address, Operation="set-num-vfs"),
                 "the violation to be shown")
    IGB.set_num_vfs(0)
    machine.wait(lambda: watcher.of("function-removed", Address=vf), "the VF to be shown as gone")
