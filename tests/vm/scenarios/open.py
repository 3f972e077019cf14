"""Functions opened for somebody without privilege, who uses them by ordinary means; and until when they have them."""

import os
import signal

import vfwarden_bus as vb

from guest import pci, service
from guest.check import contains, equal, raises, true
from guest.open_client import OpenClient
from guest.pci import IGB
from guest.registry import scenario
from guest.vfio import check_refused, group_node, igb_vfs, root_reads, wait_users

RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.vfwarden1.open-device" && subject.user == "visitor" && action.lookup("driver") == "vfio-pci")
        return polkit.Result.YES;
});
"""
LENGTH = 4


def allow(machine):
    machine.add_polkit_rule(RULE)


def brokered(machine, function):
    """Pairs (pid, whether opened by the daemon)."""
    return [(user["pid"], user["brokered"])
            for user in machine.client.manager("DescribeUsers", "(s)", function.address)]


def check_brokered(machine, function, pid):
    wait_users(machine, function, [pid])
    equal(brokered(machine, function), [(pid, True)], f"who has {function}")


def check_can_be_opened(machine, function):
    other = OpenClient(machine)
    other.open(function)
    other.kill()
    wait_users(machine, function, [])


def check_not_opened(client, function, name, *words):
    error = raises(vb.BusError, lambda: client.open(function), f"Open of {function}")
    equal(error.name, name, f"its error ({error.message})")
    for word in words:
        contains(error.message, word, "its text")


@scenario("a visitor has a VF opened, as a rule allows, attaches it to a container of their own and reads its registers; "
          "a second one is refused by name")
def visitor_opens(machine):
    vf, = igb_vfs(machine)
    expected = root_reads(machine, vf)
    client = OpenClient(machine)
    check_not_opened(client, vf, vb.ACCESS_DENIED, "org.vfwarden1.open-device")
    allow(machine)
    check_not_opened(client, IGB, vb.ACCESS_DENIED)      # igb has it: the rule does not match

    mark = machine.mark()
    facts = client.open(vf)
    equal((facts["kind"], facts["group"], facts["group-peers"], "vf-token" in facts),
          ("group", int(pci.link(vf.path("iommu_group"))), [], False), "what it told")
    equal(facts["msix-table-mappable"], machine.client.get(vb.function_path(vf.address), "org.vfwarden1.Msix",
                                                           "TableMappable"), "whether the table may be mapped")
    check_brokered(machine, vf, client.pid)
    client.device(vf)
    equal(client.read(LENGTH), expected, "the register")
    check_brokered(machine, vf, client.pid)
    equal((os.stat(group_node(vf)).st_uid, os.stat(group_node(vf)).st_mode & 0o777), (0, 0o600), "the node's owner and mode")

    second = OpenClient(machine)
    check_not_opened(second, vf, vb.REFUSED, f"pid {client.pid}", "opened by vfwarden")
    check_refused(machine.client.start_function_call(vf.address, "Unbind"), client, ["opened by vfwarden"])
    check_refused(machine.client.start_set_num_vfs(IGB.address, 0), client)
    client.close_all()
    wait_users(machine, vf, [])
    equal(machine.changes_of(vf, "InUse", mark), [True, False], "what was told of InUse")
    generation = second.open(vf)["generation"]
    true(generation > facts["generation"], "a later generation")
    second.device(vf)
    equal(second.read(LENGTH), expected, "the register, for the second")
    second.kill()
    wait_users(machine, vf, [])


@scenario("what was opened is passed to a child, with and without the device: in use until the child dies")
def passed_on(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    for device in (False, True):
        client = OpenClient(machine)
        client.open(vf)
        if device:
            client.device(vf)
        child = client.fork()
        client.kill()
        check_brokered(machine, vf, child)
        check_not_opened(OpenClient(machine), vf, vb.REFUSED, f"pid {child}", "opened by vfwarden")
        os.kill(child, signal.SIGKILL)
        wait_users(machine, vf, [])


@scenario("a lease is known after the daemon was started again, stopped in order and killed; what ended meanwhile is over")
def over_a_restart(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client = OpenClient(machine)
    client.open(vf)
    check_brokered(machine, vf, client.pid)
    machine.restart_daemon()
    equal(brokered(machine, vf), [(client.pid, True)], "who has it after a restart")
    client.device(vf)
    machine.restart_daemon()
    equal(brokered(machine, vf), [(client.pid, True)], "who has it after another, with the device open")
    check_not_opened(OpenClient(machine), vf, vb.REFUSED, f"pid {client.pid}", "opened by vfwarden")
    machine.stop_daemon()
    client.kill()
    machine.start_daemon()
    equal((machine.property(vf, "InUse"), brokered(machine, vf)), (False, []), "after it ended meanwhile")
    check_can_be_opened(machine, vf)


@scenario("an answer that is not read keeps the function, over a restart too; when its client leaves it is free")
def not_read(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client = OpenClient(machine)
    client.open_and_do_not_read(vf)
    check_brokered(machine, vf, client.pid)
    check_not_opened(OpenClient(machine), vf, vb.REFUSED, f"pid {client.pid}")
    machine.restart_daemon()
    equal(brokered(machine, vf), [(client.pid, True)], "who has it after a restart")
    client.kill()
    wait_users(machine, vf, [])
    check_can_be_opened(machine, vf)


@scenario("a client with a lease is asked to release the function like any user, and releases it")
def unplugged(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client = OpenClient(machine)
    client.open(vf)
    client.device(vf)
    mark = machine.mark()
    call = machine.client.start_unplug(vf.address, 60)
    machine.client.recorder.wait_for("UnplugRequested", mark=mark)
    check_not_opened(OpenClient(machine), vf, vb.REFUSED, "taken away")
    client.close_all()
    call.result()
    equal(vf.driver(), None, "the driver of the VF")
    service.run("vfwarden", "bind", vf.address, "vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    client.open(vf)
    client.kill()
    wait_users(machine, vf, [])


QUEUE = "/proc/sys/fs/fanotify/max_queued_events"
EVENTS = 100


@scenario("events of VFIO device nodes are lost: a lease ends all the same when its holder does, "
          "and not before")
def lost_events(machine):
    vf, other = igb_vfs(machine, 2)
    allow(machine)
    before = pci.read(QUEUE)
    pci.write(QUEUE, EVENTS)
    try:
        machine.restart_daemon()    # a queue is as long as was said when it was made
    finally:
        pci.write(QUEUE, before)
    for ends in (False, True):
        client = OpenClient(machine)
        client.open(vf)
        check_brokered(machine, vf, client.pid)
        machine.daemon.kill(signal.SIGSTOP)
        # Of processes of their own, or they are merged; and soon, for systemd's watchdog watches a stopped daemon, too.
        machine.run("sh", "-c", f"i=0; while [ $i -lt {2 * EVENTS} ]; do (: <>{group_node(other)}); i=$((i + 1)); done")
        if ends:
            client.kill()
        machine.daemon.kill(signal.SIGCONT)
        if not ends:
            machine.fence()
            check_brokered(machine, vf, client.pid)
            client.kill()
        wait_users(machine, vf, [])
        equal(brokered(machine, vf), [], "who has it")
