"""Inhibitors: operations are refused exactly as long as the holder lives, whatever happens to the daemon."""

import errno
import os
import signal
import subprocess

import vfwarden_bus as vb

from guest.check import contains, equal, raises
from guest.machine import Machine
from guest.pci import IGB, PLAIN
from guest.registry import scenario


class Command:
    """`vfwarden inhibit` around a command that does nothing until it is ended."""

    def __init__(self, machine, function, *options):
        self.process = subprocess.Popen(["vfwarden", "inhibit", *options, function.address, "--", "sleep", "infinity"],
                                        stdin=subprocess.DEVNULL)
        machine.closers.append(self.end)
        self.pid = self.process.pid

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait()


def inhibitors(machine):
    return [tuple(row) for row in machine.client.manager("ListInhibitors")]


def wait_inhibitors(machine, expected):
    machine.wait(lambda: inhibitors(machine) == expected,
                 lambda: f"the inhibitors {expected}; are {inhibitors(machine)}")


def check_inhibited(machine, function, what, who, files):
    """By the bus and by the files."""
    machine.check_locked(function, ["inhibitor"], files)
    for operation in what.split(":"):
        allowed, blockers, _ = machine.client.check(function.address, operation)
        equal((allowed, [row[:2] for row in blockers]), (False, [("inhibitor", who)]), f"Check of {operation}")
    for name in files:
        error = raises(OSError, lambda name=name: function.write(name, "0"), f"root's write to {name}")
        equal(error.errno, errno.EACCES, f"the error of a write to {name}")


def call_is_refused(machine, who):
    call = machine.client.start_set_num_vfs(IGB.address, 1)
    error = raises(vb.BusError, call.result, "SetNumVFs")
    equal(error.name, vb.REFUSED, "its error")
    contains(error.message, who, "its text")


def killed(machine):
    """The daemon is, and systemd starts it again."""
    machine.fence()
    machine.name_owners.clear()
    machine.daemon.kill(signal.SIGKILL)
    machine.wait_daemon(True)
    machine.connect()


@scenario("an inhibitor is in force over a restart and over kill -9 of the daemon, until its holder ends", deadline=120)
def over_restarts(machine):
    descriptor = machine.client.inhibit(IGB.address, "set-num-vfs", "backup", "saves the configuration")
    command = Command(machine, PLAIN, "--what=reset:power-off", "--who=person", "--why=busy")
    expected = [(IGB.address, "set-num-vfs", "backup", "saves the configuration", 0, os.getpid()),
                (PLAIN.address, "reset:power-off", "person", "busy", 0, command.pid)]
    wait_inhibitors(machine, expected)
    files = tuple(name for name in ("reset", "reset_method", "power", "rom") if name in PLAIN.lockable())
    for happening in (lambda machine: None, Machine.restart_daemon, killed):
        happening(machine)
        equal(inhibitors(machine), expected, "the inhibitors")
        check_inhibited(machine, IGB, "set-num-vfs", "backup", ("sriov_numvfs",))
        check_inhibited(machine, PLAIN, "reset:power-off", "person", files)
        call_is_refused(machine, "backup")
    os.close(descriptor)
    machine.check_locked(IGB, [], [])
    command.end(signal.SIGKILL)
    machine.check_locked(PLAIN, [], [])
    equal(inhibitors(machine), [], "the inhibitors")
    machine.client.start_set_num_vfs(IGB.address, 1).result()


@scenario("a holder that ends while the daemon is down: its inhibitor is gone at the next start, another's is not")
def ended_meanwhile(machine):
    machine.daemon.drop_in("RestartSec=3\n")
    machine.restart_daemon()
    command = Command(machine, IGB, "--what=set-num-vfs", "--who=gone")
    first = (IGB.address, "set-num-vfs", "gone", "sleep infinity", 0, command.pid)
    wait_inhibitors(machine, [first])
    staying = Command(machine, PLAIN, "--what=reset", "--who=staying", "--why=stays")
    rows = [(PLAIN.address, "reset", "staying", "stays", 0, staying.pid)]
    wait_inhibitors(machine, [first, *rows])
    machine.check_locked(IGB, ["inhibitor"], ["sriov_numvfs"])
    machine.fence()
    machine.name_owners.clear()
    machine.daemon.kill(signal.SIGKILL)
    command.end(signal.SIGKILL)
    IGB.check_closed("sriov_numvfs")
    equal(machine.client.bus.name_owner(), None, "the owner of the bus name: the daemon is down")
    machine.wait_daemon(True)
    machine.connect()
    equal(inhibitors(machine), rows, "the inhibitors")
    machine.check_locked(IGB, [], [])
    machine.check_locked(PLAIN, ["inhibitor"], [name for name in ("reset", "reset_method", "rom") if name in PLAIN.lockable()])
