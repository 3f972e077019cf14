"""The `vfwarden` command on a real system bus."""

import json
import os
import re
import shlex
import subprocess

from gi.repository import GLib

from guest import holder, pci
from guest.check import contains, equal, true
from guest.holder import Holder
from guest.pci import IGB, KERNEL_MODES, NVME, SRIOV
from guest.registry import scenario
from guest.vfio import igb_vfs, wait_users

NO_SUCH_FUNCTION = 3
ACCESS_DENIED = 4
REFUSED = 6
TIMED_OUT = 8


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


def run_shown(machine, *words, status=0):
    """What `vfwarden WORDS` prints, as root; in the journal as well, for manuals to quote."""
    result = machine.run("vfwarden", *words, check=False)
    for line in [f"$ {shlex.join(['vfwarden', *words])}", *result.stdout.splitlines()]:
        print(f"| {line}", flush=True)  # the journal drops empty lines
    equal(result.returncode, status, f"the exit code of vfwarden {' '.join(words)}, which printed {result.stdout!r}")
    return result.stdout


@scenario("why, users, inhibit and unplug print the users of a function, since when, what to do, and the result")
def who_and_what_to_do(machine):
    vf, free = igb_vfs(machine, 2)
    one = Holder(machine, "--unplug=100", vf, wrapper=["systemd-run", "--quiet", "--pipe", "--collect", "--unit=guest-web.service",
                                                       "--property=KillSignal=SIGKILL"])
    pid = machine.wait(lambda: int(machine.daemon.property("MainPID", "guest-web.service")), "the unit's process")
    wait_users(machine, vf, [pid])

    text = run_shown(machine, "why", IGB.address, "unbind", status=REFUSED)
    contains(text, f"{IGB}: unbind is refused, because of this:\n", "why")
    contains(text, f"{vf}: is a VF of it and in use by {holder.PROGRAM}", "why")
    for pattern in (r"Kind:  user\n", rf"Process:  pid {pid}, uid 0, unit guest-web\.service\n",
                    r"Holds it since:  \d{4}-\d\d-\d\d \d\d:\d\d\n",
                    r'What to do:  "systemctl stop guest-web\.service", if it can be missed\n',
                    rf'or:  "vfwarden unplug {vf}" asks to release it\n', r"Warning: 2 virtual functions are enabled"):
        true(re.search(pattern, text), f"{pattern!r} is not in what why prints: {text!r}")
    contains(run_shown(machine, "why", IGB.address), "user", "why of all operations")
    equal(run_shown(machine, "why", free.address, "unbind").splitlines()[0],
          f"{free}: unbind is possible, nothing stands against it", "why of a free function")
    heading, row = [line.split() for line in run_shown(machine, "users").splitlines()]
    equal(heading, ["ADDRESS", "PID", "UID", "SINCE", "MACHINE", "UNIT", "BROKERED", "COMMAND"],
          "the head of users")
    equal(row[:3], [vf.address, str(pid), "0"], "users: who")
    true(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", " ".join(row[3:5])), f"users: since when: {row}")
    equal(row[5:], ["-", "guest-web.service", "-", holder.PROGRAM, "--unplug=100", vf.address], "users: what")
    equal(run_shown(machine, "users", free.address).strip().splitlines()[1:], [], "users of a free function")

    text = run_shown(machine, "unbind", IGB.address, status=REFUSED)
    contains(text, f"pid {pid}", "what unbind says when it is refused")
    text = run_shown(machine, "inhibit", "--what=reset", "--who=backup", "--why=saves the configuration", free.address,
                     "--", "sh", "-c", f"vfwarden inhibitors; vfwarden why {free} reset; exit 7", status=7)
    for word in ("reset", "backup", "saves the configuration", "wait for backup"):
        contains(text, word, "what is said of an inhibitor")
    equal(machine.client.manager("ListInhibitors"), [], "inhibitors after the command")

    text = run_shown(machine, "unplug", "--timeout=20s", vf.address)
    equal(text.splitlines()[0], f"Asking to release {vf}, for 20 s at most. It is in use by", "unplug")
    contains(text.splitlines()[1], f"pid {pid}", "unplug says who has it")
    equal(text.splitlines()[-1], f"{vf} is free and bound to no driver", "unplug says how it ended")
    one.process.wait()
    two = Holder(machine, free)
    wait_users(machine, free, [two.pid])
    text = run_shown(machine, "unplug", "--timeout=500ms", free.address, status=TIMED_OUT)
    contains(text, "timed out waiting for its users to release it\nNothing has changed. It is in use by\n", "unplug in vain")
    contains(text.splitlines()[-1], f"pid {two.pid}", "unplug says who has it still")
