"""Unplug: holders are asked, end in their own time, and then the function goes; nobody else waits for them."""

import os
import shutil
import time

import vfwarden_bus as vb

from guest import holder, pci
from guest.caller import Caller
from guest.check import Failed, contains, equal, raises, true
from guest.holder import Holder
from guest.pci import FOURTH, IGB, PLAIN
from guest.registry import scenario
from guest.vfio import group_node, igb_vfs, wait_users

HOLDER_MSEC = 5000
NEVER = 3600 * 1000
# The slowest call of somebody else, while an unplug is in progress, may be this many times as slow as in a quiet time of
# the same length. The one processor also unbinds, resets and removes then, which was seen to make it 1 to 5 times as
# slow: 180 ms instead of 40 on an idle host, 600 instead of 100 on a busy one, 1600 instead of 300 on one that did ten
# things at a time. If the daemon waited for the holder, it would be nearly the holder's whole time on top of that, so
# what is well below is no such wait either.
SLOWER = 3
WAITED = 0.7


def states(machine, function, mark):
    return machine.changes_of(function, "State", mark)


def asked(machine, function, mark):
    """The deadlines of UnplugRequested for the function."""
    path = vb.function_path(function.address)
    return [signal.args[0] for signal in machine.client.recorder.since(mark, "UnplugRequested", path)]


def workers():
    """The processes of the daemon that are at a write."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if pci.read(f"/proc/{pid}/comm") == "vfwarden-worker":
            found.append(int(pid))
    return found


def check_nobody_waited(caller, act):
    """Runs `act`, and compares what another client's calls took meanwhile with a time as long with nothing in it."""
    caller.lap()
    started = time.monotonic()
    act()
    seconds = time.monotonic() - started
    count, slowest = caller.lap()
    quiet_count, quiet = caller.lap(seconds)
    print(f"{count} calls, slowest {slowest:.4f} s; quiet: {quiet_count} calls, slowest {quiet:.4f} s", flush=True)
    true(seconds > HOLDER_MSEC / 1000, "it took as long as the holder wanted")
    true(count > 10, f"calls were made meanwhile: {count}")
    true(slowest < max(SLOWER * quiet, HOLDER_MSEC / 1000 * WAITED),
         f"another client's slowest call took {slowest:.3f} s, and {quiet:.3f} s in a quiet time")


def take_plain(machine):
    PLAIN.bind("vfio-pci")
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    return PLAIN


def check_unbound(machine, vf):
    """How the unplug of a VF ends."""
    equal((vf.exists(), vf.driver(), machine.client.function(vf.address, "Driver")), (True, None, ""),
          "the VF is there without a driver")
    machine.wait_property(vf, "State", "present")
    wait_users(machine, vf, [])


@scenario("a holder that listens is asked and ends in its own time, then a VF is unbound and a device goes; new ones "
          "are kept out, and no other client waits", deadline=180)
def listening(machine):
    vf, = igb_vfs(machine)
    caller = Caller(machine, IGB)
    for function in (vf, take_plain(machine)):
        one = Holder(machine, f"--unplug={HOLDER_MSEC}", "--request=refuse", function)
        wait_users(machine, function, [one.pid])
        mark = machine.mark()

        def unplug(function=function, one=one):
            sent = time.time()
            call = machine.client.start_unplug(function.address, 30)
            deadline = int(one.wait_line(rf"unplug {function} (\d+)")[1])
            true(sent + 29 < deadline / 1e6 < time.time() + 30, f"the deadline is in 30 seconds: {deadline}")
            allowed, blockers, _ = machine.client.check(function.address, "open")
            equal(allowed, False, "whether somebody else may open it now")
            contains([blocker[0] for blocker in blockers], "operation", "what is in the way of who wants to open it")
            call.result(60)
        check_nobody_waited(caller, unplug)

        equal(one.process.wait(), 0, "how the holder ended")
        equal([line for line in one.lines if line.startswith("request")], [], "what the kernel asked of it")
        equal(len(asked(machine, function, mark)), 1, "how often it was asked")
        if function == vf:
            check_unbound(machine, vf)
            equal(states(machine, vf, mark), ["unplug-requested", "removing", "present"], "its states")
        else:
            equal((function.exists(), machine.property(function, "State")), (False, None), "it is gone")
            equal(states(machine, function, mark), ["unplug-requested", "removing"], "its states")
            machine.outside("wait_unplugged", id=pci.ENDPOINTS[function], seconds=30)


@scenario("insist: a holder that knows VFIO's request alone is asked by the kernel and obeys in its own time, then a "
          "VF is unbound and a device goes; no other client waits", deadline=180)
def insisting(machine):
    vf, = igb_vfs(machine)
    caller = Caller(machine, IGB)
    for function in (vf, take_plain(machine)):
        one = Holder(machine, "--request=obey", f"--obey-after={HOLDER_MSEC}", function)
        wait_users(machine, function, [one.pid])
        mark = machine.mark()

        def unplug(function=function, one=one):
            call = machine.client.start_unplug(function.address, 30, insist=True)
            one.wait_line(f"request {function}")
            equal(machine.client.function(function.address, "State"), "removing", "its state when the kernel has asked")
            call.result(60)
        check_nobody_waited(caller, unplug)

        contains(one.lines, f"closed {function}", "what the holder said")
        equal(one.process.poll(), None, "the holder lives on")
        one.end()
        if function == vf:
            check_unbound(machine, vf)
            equal(states(machine, vf, mark), ["removing", "present"], "its states")
        else:
            equal((function.exists(), machine.property(function, "State")), (False, None), "it is gone")


@scenario("a PF with two held VFs: each holder is asked at once and ends when it likes; while one is waited for, "
          "another slot's hot-plug works; then the VFs leave one by one and the PF goes", deadline=240)
def two_vfs(machine):
    vfs = igb_vfs(machine, 2)
    holders = [Holder(machine, f"--unplug={NEVER}", vf) for vf in vfs]
    for one, vf in zip(holders, vfs):
        wait_users(machine, vf, [one.pid])
    mark, events = machine.mark(), machine.uevents.mark()
    call = machine.client.start_unplug(IGB.address, 120)
    for one, vf in zip(holders, vfs):
        one.wait_line(rf"unplug {vf} \d+")
    machine.wait_property(IGB, "State", "unplug-requested")
    holders[0].end()
    machine.wait_property(IGB, "State", "draining")

    machine.plug(FOURTH)
    machine.wait_property(FOURTH, "Driver", "igb")
    machine.unplug(FOURTH)
    machine.wait_function(FOURTH, there=False)
    equal((machine.property(IGB, "State"), call.done, len(IGB.vfs())), ("draining", False, 2), "it waits meanwhile")

    holders[1].end()
    call.result(60)
    equal(IGB.exists(), False, "whether the PF is there")
    for function in (IGB, *vfs):
        equal(machine.property(function, "State"), None, f"{function} is known no more")
    equal(states(machine, IGB, mark), ["unplug-requested", "draining", "removing"], "the states of the PF")
    of_pci = [(action, name) for action, name, subsystem in machine.uevents.events[events:]
              if subsystem == "pci" and name in (IGB.address, *(vf.address for vf in vfs))
              and action in ("unbind", "remove")]
    names = [vf.address for vf in vfs]
    equal(of_pci[:2], [("unbind", name) for name in names], "the VFs leave their driver one by one")
    equal(sorted(of_pci[2:4]), [("remove", name) for name in sorted(names)], "then they go")
    equal(of_pci[4:], [("unbind", IGB.address), ("remove", IGB.address)], "then the PF leaves its driver and goes")
    machine.outside("wait_unplugged", id="igb0", seconds=30)


def refusal(machine, node):
    """The error of a newcomer that opens a device node."""
    return machine.run_as("visitor", "sh", "-c", f"exec 3<>{node}", check=False).stdout


@scenario("a user that does not release it is undisturbed while newcomers are refused: Timeout, or a CancelUnplug, and "
          "all is as before", deadline=180)
def deaf(machine):
    vf, = igb_vfs(machine)
    node = group_node(vf)
    shutil.chown(node, "visitor", "visitor")
    one = Holder(machine, "--io", "--request=refuse", vf)
    wait_users(machine, vf, [one.pid])
    mode = pci.mode(node)
    contains(refusal(machine, node), "busy", "what a newcomer is told at first: the kernel gives a group out once")
    for end in ("deadline", "cancel"):
        mark, reads = machine.mark(), one.reads()
        call = machine.client.start_unplug(vf.address, 2 if end == "deadline" else 60)
        machine.wait_property(vf, "State", "unplug-requested")
        equal(workers(), [], "processes that are at a write while the holder is asked")
        if end == "cancel":
            contains(refusal(machine, node), "Permission denied", "what a newcomer is told while the holder is asked")
            machine.client.cancel_unplug(vf.address)
        error = raises(vb.BusError, lambda: call.result(30), "the unplug")
        equal(error.name, vb.TIMEOUT if end == "deadline" else vb.FAILED, f"its error ({error.message})")
        machine.wait_property(vf, "State", "present")
        equal(states(machine, vf, mark), ["unplug-requested", "present"], "its states")
        equal(pci.mode(node), mode, f"the mode of {node}")
        contains(refusal(machine, node), "busy", "what a newcomer is told then")
        equal(len(asked(machine, vf, mark)), 1, "how often the holder was asked over D-Bus")
        true(one.reads() > reads, "the holder reads on")
        reads = one.reads()
        machine.wait(lambda: one.reads() > reads, "the holder to read on")
        equal((vf.driver(), workers()), ("vfio-pci", []), "the VF's driver, and processes at a write")
        equal(machine.client.check(vf.address, "unbind")[1][0][0], "user", "what is in the way of an unbind")
    equal([line for line in one.lines if line.startswith("request")], [], "what the kernel asked of it")
    wait_users(machine, vf, [one.pid])
    error = raises(vb.BusError, lambda: machine.client.cancel_unplug(vf.address), "CancelUnplug of nothing")
    equal(error.name, vb.FAILED, "its error")
    one.end()
    wait_users(machine, vf, [])


def operation_pid(machine, function):
    """Of the process that Check says is at it."""
    rows = [row for row in machine.client.check(function.address, "unbind")[1] if row[0] == "operation"]
    if len(rows) != 1 or rows[0][1] != function.address:
        raise Failed(f"what Check says is being done to {function}: {rows}")
    return rows[0][3]


@scenario("insist with a user that does not release it: Timeout, not cancellable, shown with its process, over a restart of "
          "the daemon too; all else goes on; done when the holder is killed", deadline=240)
def deaf_insist(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, "--io", "--request=refuse", vf)
    wait_users(machine, vf, [one.pid])
    call = machine.client.start_unplug(vf.address, 1, insist=True)
    error = raises(vb.BusError, lambda: call.result(30), "the unplug")
    equal(error.name, vb.TIMEOUT, f"its error ({error.message})")
    one.wait_line(f"request {vf}")
    machine.wait_property(vf, "State", "removing")
    error = raises(vb.BusError, lambda: machine.client.cancel_unplug(vf.address), "CancelUnplug")
    equal(error.name, vb.REFUSED, f"its error ({error.message})")

    worker, = workers()
    for when in ("before", "after"):
        equal(operation_pid(machine, vf), worker, f"the pid that Check names {when} a restart of the daemon")
        equal((machine.property(vf, "State"), machine.property(vf, "InUse")), ("removing", True), "State and InUse")
        wait_users(machine, vf, [one.pid])
        for function, start in ((vf, machine.client.start_bind(vf.address, "igbvf")),
                                (IGB, machine.client.start_set_num_vfs(IGB.address, 0)),
                                (vf, machine.client.start_unplug(vf.address, 5))):
            error = raises(vb.BusError, start.result, start.what)
            equal(error.name, vb.BUSY, f"the error of {start.what} on {function} ({error.message})")
            for word in ("unbind", vf.address, str(worker)):
                contains(error.message, word, "what it says is in progress")
        if when == "before":
            machine.restart_daemon()
    equal(workers(), [worker], "processes at a write after the restart")

    machine.plug(FOURTH)
    machine.wait_property(FOURTH, "Driver", "igb")
    machine.unplug(FOURTH)
    machine.wait_function(FOURTH, there=False)
    equal((vf.read("vendor"), IGB.read("sriov_numvfs")), ("0x8086", "1"), "what sysfs says of the VF and its PF")
    true(one.reads() > 0 and machine.property(vf, "State") == "removing", "the holder has it still")

    holder.kill(one.pid)
    machine.wait_property(vf, "State", "present", 20)
    check_unbound(machine, vf)
    machine.wait(lambda: not workers(), "the process at the write to end")
    machine.client.start_bind(vf.address, "vfio-pci").result(30)


@scenario("a function that was unbound while the daemon was stopped, and that a new user then bound and opened, stays "
          "this user's when the daemon starts", deadline=180)
def another_holder_before_a_start(machine):
    function = take_plain(machine)
    one = Holder(machine, "--request=refuse", function)
    wait_users(machine, function, [one.pid])
    call = machine.client.start_unplug(function.address, 1, insist=True)
    one.wait_line(f"request {function}")
    raises(vb.BusError, lambda: call.result(30), "the unplug")
    true(workers(), "a process waits in the kernel")

    machine.stop_daemon()
    holder.kill(one.pid)
    machine.wait(lambda: not workers(), "the unbind to end")
    equal((function.exists(), function.driver()), (True, None), "it is unbound, and there")
    function.bind("vfio-pci")
    another = Holder(machine, "--request=refuse", function)

    machine.start_daemon()
    wait_users(machine, function, [another.pid])
    machine.wait_property(function, "State", "present")
    machine.fence()
    equal(workers(), [], "processes at a write")
    equal([line for line in another.lines if line.startswith("request")], [], "what the kernel asked of the new user")
    equal(function.driver(), "vfio-pci", "its driver")
    contains([entry["MESSAGE"] for entry in machine.journal.of_daemon()],
             f"{function}: Its unplug of an earlier run ends here: it is bound again, or used by others", "the journal")
