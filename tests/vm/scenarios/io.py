"""Loads and stores by somebody without privilege, on real devices behind vfio-pci."""

import errno
import os
import pathlib

import vfwarden_bus as vb

from guest import pci, service
from guest.check import contains, equal, raises, true
from guest.io_client import IoClient
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario
from guest.vfio import check_refused, device_node, group_node, igb_vfs, root_reads, wait_free, wait_users

RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.vfwarden1.zpci-io" && subject.user == "visitor" && action.lookup("driver") == "vfio-pci")
        return polkit.Result.YES;
});
"""
SAMPLE_RULES = "/usr/share/doc/vfwarden/examples/60-vfwarden-io.rules"
CONFIG = 7
# The first register of igb's and igbvf's BAR 0 (CTRL), and where the reset of the device leaves it.
LENGTH = 4


def allow(machine):
    """The visitor may, and MSI-X (which igb's functions have) is no obstacle; the daemon has read it."""
    machine.add_polkit_rule(RULE)
    machine.daemon.configure("[Io]\nAllowMsix=yes\nDrainSeconds=2\n")
    service.systemctl("reload", service.UNIT)


@scenario("a visitor loads a VF's registers over D-Bus and through a session, as a rule allows; /dev/vfio stays root's")
def visitor_loads(machine):
    vf, = igb_vfs(machine)
    expected = root_reads(machine, vf)
    node = group_node(vf) if os.path.exists(group_node(vf)) else device_node(vf)
    client = IoClient(machine)
    error = raises(vb.BusError, lambda: client.load(vf, 0, 0, LENGTH), "Load without a rule")
    equal(error.name, vb.ACCESS_DENIED, "its error")
    equal(raises(vb.BusError, lambda: client.open(vf), "OpenSession without a rule").name, vb.ACCESS_DENIED, "its error")
    allow(machine)

    equal(client.load(vf, 0, 0, LENGTH), expected, "a load over D-Bus")
    equal(client.load(vf, 15, 0, 2), bytes.fromhex("8680"), "the vendor in configuration space, over D-Bus")
    error = raises(vb.BusError, lambda: client.load(vf, 0, 0, 9), "a load of 9 bytes")
    equal(error.name, vb.INVALID_ARGS, "its error")

    wait_free(machine, vf)
    mark = machine.mark()
    facts = client.open(vf)
    equal((facts["backend"], facts["max-store-block"], facts["relaxed"]), ("vfio-pci", 8, False), "what it told")
    equal(client.read(0, 0, LENGTH), expected, "a load through the session")
    equal(client.read(CONFIG, 0, 2), bytes.fromhex("8680"), "the vendor through the session")
    equal(machine.client.manager("ListUsers")[0][1:3], (client.pid, 1000), "who uses it: the client, not our process")
    equal((os.stat(node).st_uid, os.stat(node).st_mode & 0o7777), (0, 0o600), "the owner and mode of the node")
    check_refused(machine.client.start_function_call(vf.address, "Unbind"), client, ["session"])
    client.end_session()
    machine.wait_property(vf, "InUse", False)
    equal(machine.changes_of(vf, "InUse", mark), [True, False], "what was told of InUse")


@scenario("the sample rules let the group vfwarden-io have sessions with VFs, and nobody else; `vfwarden io` has one")
def rules_for_io(machine):
    vf, = igb_vfs(machine)
    expected = root_reads(machine, vf).hex()
    allow(machine)      # for the configuration
    machine.add_polkit_rule(pathlib.Path(SAMPLE_RULES).read_text(encoding="utf-8"))
    machine.run("groupadd", "--force", "--system", "vfwarden-io")

    def load(name, function):
        done = machine.run_as(name, "vfwarden", "io", "load", function.address, "0", "0", str(LENGTH), check=False)
        return done.stdout if done.returncode == 0 else done.returncode

    try:
        equal(load("visitor", vf), 4, "a load by no member")
        machine.run("usermod", "--append", "--groups", "vfwarden-io", "visitor")
        service.systemctl("restart", "polkit.service")
        equal(load("visitor", vf), expected + "\n", "a load by a member")
        equal(load("stranger", vf), 4, "a load by somebody else")
        equal(load("visitor", IGB), 4, "a load by a member from a physical function")
    finally:
        machine.run("gpasswd", "--delete", "visitor", "vfwarden-io")


@scenario("the session's process has no privilege: user, capabilities, seccomp, descriptors")
def unprivileged(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client = IoClient(machine)
    client.open(vf)
    pid, = [int(path.parent.name) for path in pathlib.Path("/proc").glob("[0-9]*/comm")
            if pci.read(path) == "vfwarden-io"]
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                  if ":\t" in line)
    vfwarden = machine.run("id", "-u", "vfwarden").stdout.strip()
    equal(status["Uid"].split(), [vfwarden] * 4, "its user ids")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        equal(int(status[name], 16), 0, name)
    equal((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"), "NoNewPrivs and Seccomp")
    links = sorted(os.readlink(path).partition(":[" if "socket" in os.readlink(path) else "\0")[0]
                   for path in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    # By its own node where there is an iommufd, else over its group.
    device = device_node(vf) if os.path.exists("/dev/iommu") else "anon_inode:[vfio-device]"
    equal([link for link in links if link != "/dev/null"], sorted([device, "socket", "socket"]),
          "what it has open")
    client.end_session()
    wait_free(machine, vf)


@scenario("a session goes on while the daemon is started again, and is known afterwards")
def over_a_restart(machine):
    vf, = igb_vfs(machine)
    allow(machine)
    client = IoClient(machine)
    client.open(vf)
    before = client.read(0, 0, LENGTH)
    client.read_for_ever(0, 0, LENGTH)
    machine.restart_daemon()
    count, error = client.stop()
    true(count > 0 and error == 0, f"{count} reads went on, error {error}")
    equal(client.read(0, 0, LENGTH), before, "the register")
    equal(machine.property(vf, "InUse"), True, "InUse after the restart")
    equal(machine.client.manager("ListUsers")[0][1:3], (client.pid, 1000), "who uses it")
    client.kill()
    machine.wait_property(vf, "InUse", False)


@scenario("unplug during a session: a cooperative client is served to the end; insisting ends a stubborn one's requests "
          "with ENODEV", deadline=120)
def unplugged(machine):
    allow(machine)
    vf, = igb_vfs(machine)
    client = IoClient(machine)
    client.open(vf)
    mark = machine.mark()
    call = machine.client.start_unplug(vf.address, 60)
    machine.client.recorder.wait_for("UnplugRequested", mark=mark)
    client.read(0, 0, LENGTH)
    client.end_session()
    call.result()
    equal(vf.driver(), None, "the driver of the VF")

    PLAIN.bind("vfio-pci")
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    client.open(PLAIN)
    client.read_for_ever(0, 0, LENGTH)
    error = raises(vb.BusError, machine.client.start_unplug(PLAIN.address, 0.5).result, "without insisting")
    equal(error.name, vb.TIMEOUT, "its error")
    equal(machine.property(PLAIN, "State"), "present", "its state")
    machine.client.start_unplug(PLAIN.address, 60, insist=True).result(60)
    count, error = client.done()
    equal(error, errno.ENODEV, "what ended its reads")
    true(count > 10, f"it was served until then: {count} reads")
    machine.wait_function(PLAIN, there=False)


@scenario("the slot is switched off by hand while a client, asked to release it, does I/O: served, then ENODEV, and gone",
          deadline=120)
def slot_power(machine):
    allow(machine)
    PLAIN.bind("vfio-pci")
    machine.wait_property(PLAIN, "Driver", "vfio-pci")
    client = IoClient(machine)
    client.open(PLAIN)
    client.read_for_ever(0, 0, LENGTH)
    mark = machine.mark()
    machine.outside("unplug", id=pci.ENDPOINTS[PLAIN])
    machine.client.recorder.wait_for("UnplugRequested", mark=mark)
    count, error = client.done()
    equal(error, errno.ENODEV, "what ended its reads")
    true(count > 10, f"it was served until then: {count} reads")
    machine.outside("wait_unplugged", id=pci.ENDPOINTS[PLAIN], seconds=40)
    machine.wait_function(PLAIN, there=False)
    machine.plug(PLAIN)


@scenario("functions with MSI-X have no sessions unless it is configured; nor those that no VFIO driver has", deadline=60)
def refused(machine):
    vf, = igb_vfs(machine)
    machine.add_polkit_rule(RULE.replace(' && action.lookup("driver") == "vfio-pci"', ""))
    client = IoClient(machine)
    error = raises(vb.BusError, lambda: client.open(vf), "a session with MSI-X")
    equal(error.name, vb.REFUSED, "its error")
    contains(error.message, "MSI-X", "its text")
    error = raises(vb.BusError, lambda: client.open(IGB), "a session with a function of igb")
    equal(error.name, vb.REFUSED, "its error")
    contains(error.message, f"vfwarden bind {IGB.address} vfio-pci", "what to do")


def ten_functions(machine):
    """VFs, bound to vfio-pci by nobody but us."""
    functions = []
    for physical, count in ((IGB, 7), (NVME, 3)):
        physical.write("sriov_drivers_autoprobe", "0")
        physical.set_num_vfs(count)
        functions += [Function(address) for address in physical.vfs()]
    for function in functions:
        function.bind("vfio-pci")
    for function in functions:
        machine.wait_property(function, "Driver", "vfio-pci")
    return functions


@scenario("ten sessions on ten functions, each read all the time; one is unplugged: nine do not miss a reply", deadline=180)
def ten(machine):
    allow(machine)
    functions = ten_functions(machine)
    clients = [IoClient(machine, ready=False) for _ in functions]
    for client in clients:
        client.wait_ready()
    for client, function in zip(clients, functions):
        client.open(function)
    for client in clients:
        client.read_for_ever(0, 0, LENGTH)
    counts = [client.progress() for client in clients]

    gone, *others = clients
    machine.client.start_unplug(functions[0].address, 60, insist=True).result(60)
    count, error = gone.done()
    equal((error, count > counts[0]), (errno.ENODEV, True), "what ended the reads of the one, after some more")
    equal(functions[0].driver(), None, "its driver")
    # Each goes on before, during and after: the second number is of when it was over.
    for at_first, client in zip(counts[1:], others):
        after = client.progress()
        count, error = client.stop()
        equal((at_first < after < count, error), (True, 0), f"reads at first {at_first}, then {after}, {count} at last")
    equal(sum(machine.property(function, "InUse") for function in functions[1:]), 9, "functions in use")
