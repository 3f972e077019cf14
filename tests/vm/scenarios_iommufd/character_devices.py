"""Functions used by device nodes of their own and an iommufd: in use exactly when a process, or a socket, has them open."""

import os
import signal

import vfwarden_bus as vb

from guest.check import equal, raises, true
from guest.device_client import DeviceClient
from guest.pci import NVME, PLAIN
from guest.registry import scenario
from guest.vfio import Opening, check_refused, device_node, group_node, igb_vfs, pids, wait_users
from scenarios.open import allow, brokered, check_brokered, check_not_opened
from scenarios.vf_tokens import nvme_vfs


def node_user(machine, function, bound=False):
    """Root's own program that has opened the function's node."""
    one = DeviceClient(machine, "root")
    one.open_node(function)
    if bound:
        one.bind()
    wait_users(machine, function, [one.pid])
    return one


def check_unbind_refused(machine, function):
    error = raises(vb.BusError, machine.client.start_function_call(function.address, "Unbind").result, "Unbind")
    equal(error.name, vb.REFUSED, f"its error ({error.message})")


@scenario("root's program opens the node, binds it, and forks: in use from the opening on, until the last process ends")
def opened_by_node(machine):
    vf, = igb_vfs(machine)
    one = node_user(machine, vf)
    check_refused(machine.client.start_function_call(vf.address, "Unbind"), one)
    one.close_device()
    wait_users(machine, vf, [])
    one.close_all()
    one.open_node(vf)
    one.bind()
    wait_users(machine, vf, [one.pid])
    child = one.fork()
    one.kill()
    wait_users(machine, vf, [child])
    os.kill(child, signal.SIGKILL)
    wait_users(machine, vf, [])


@scenario("a device in a socket is in use, bound or not; Unbind is refused and does not hang", deadline=150)
def in_a_socket(machine):
    vf, = igb_vfs(machine)
    for bound in (False, True):
        one = node_user(machine, vf, bound)
        mark = machine.mark()
        one.park()
        wait_users(machine, vf, [0])
        # Another process opens and closes the same node meanwhile.
        os.close(os.open(device_node(vf), os.O_RDWR))
        machine.fence()
        wait_users(machine, vf, [0])
        check_unbind_refused(machine, vf)
        one.unpark()
        wait_users(machine, vf, [one.pid])
        equal(machine.changes_of(vf, "InUse", mark), [], "the changes of InUse")
        one.park()
        wait_users(machine, vf, [0])
        one.kill()
        wait_users(machine, vf, [])


@scenario("a descriptor goes into a socket while no daemon runs: in use from the next start on, until it is closed",
          deadline=240)
def in_a_socket_meanwhile(machine):
    vf, other, idle = igb_vfs(machine, 3)
    allow(machine)
    node_user(machine, other, bound=True)       # something of VFIO is open all the time
    for kind in ["device", "group"] if os.path.exists(group_node(vf)) else ["device"]:
        client = DeviceClient(machine)
        client.open(vf, kind)
        check_brokered(machine, vf, client.pid)
        machine.stop_daemon()
        client.park()
        machine.start_daemon()
        wait_users(machine, vf, [0])
        check_unbind_refused(machine, vf)
        # The visitor had another one, and cannot open this one.
        equal(machine.property(idle, "InUse"), False, f"InUse of {idle}")
        client.kill()
        wait_users(machine, vf, [])
    # What only root may open is not assumed to be in a socket.
    os.chmod(device_node(vf), 0o666)
    machine.stop_daemon()
    one = DeviceClient(machine, "root")
    one.open_node(vf)
    one.park()
    machine.start_daemon()
    wait_users(machine, vf, [0])
    check_unbind_refused(machine, vf)
    one.kill()
    for function in (vf, idle):
        wait_users(machine, function, [])


@scenario("a group in a socket is in use, too, without any device", deadline=90)
def group_in_a_socket(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client = DeviceClient(machine)
    equal(client.open(vf, "group")["kind"], "group", "the kind")
    check_brokered(machine, vf, client.pid)
    client.park()
    wait_users(machine, vf, [0])
    check_unbind_refused(machine, vf)
    client.kill()
    wait_users(machine, vf, [])


@scenario("Open chooses the device's own node; closed, killed, passed to a child: free afterwards, over a restart too",
          deadline=300)
def open_by_node(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    for bound in (False, True):
        for restarts in (False, True):
            client = DeviceClient(machine)
            equal(client.open(vf)["kind"], "device", "the kind")
            check_brokered(machine, vf, client.pid)
            if bound:
                client.bind()
                true(len(client.read()) == 4, "its registers are read")
            if restarts:
                machine.restart_daemon()
                equal(brokered(machine, vf), [(client.pid, True)], "the user after a restart")
            check_not_opened(DeviceClient(machine), vf, vb.REFUSED, f"pid {client.pid}", "opened by vfwarden")
            client.close_all()
            wait_users(machine, vf, [])
            client.open(vf)
            if bound:
                client.bind()
            child = client.fork()
            client.kill()
            check_brokered(machine, vf, child)
            os.kill(child, signal.SIGKILL)
            wait_users(machine, vf, [])


@scenario("a device that is removed from outside keeps its user by node, who is asked by VFIO", deadline=240)
def removed_from_outside(machine):
    PLAIN.bind("vfio-pci")
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    one = node_user(machine, PLAIN, bound=True)
    one.arm()
    mark = machine.mark()
    machine.outside("unplug", id="plain0")
    machine.client.recorder.wait_for("UnplugRequested", mark=mark, deadline=40)
    true(one.wait_request(40), "the kernel's request")
    machine.fence()
    equal(pids(machine, PLAIN), [one.pid], "its users while it is being removed")
    machine.restart_daemon()
    equal(pids(machine, PLAIN), [one.pid], "its users after a restart")
    one.close_device()
    machine.wait_function(PLAIN, False, 60)


@scenario("a VF token is given to the PF by its own node, and the kernel asks for it where it does", deadline=150)
def token_by_node(machine):
    vf, other = nvme_vfs(machine)
    allow(machine)
    client = DeviceClient(machine)
    facts = client.open(vf)
    equal(facts["kind"], "device", "the kind")
    check_brokered(machine, vf, client.pid)
    equal(machine.property(NVME, "InUse"), False, "whether the PF is in use")
    # A node of another function is no reason to doubt the token; the group asks for it.
    os.close(os.open(device_node(other), os.O_RDWR))
    machine.fence()
    equal(machine.client.bus.call(vb.function_path(NVME.address), vb.PHYSICAL, "GetVfToken")[0], facts["vf-token"],
          "the token")
    if os.path.exists(group_node(other)):
        raises(OSError, lambda: Opening(other), "opening another VF without the token")
        Opening(other, token=facts["vf-token"]).close()
    client.kill()
    wait_users(machine, vf, [])
    wait_users(machine, other, [])
