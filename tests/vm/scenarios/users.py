"""Who has a function open through VFIO: InUse and ListUsers follow whatever holders do."""

import os
import pathlib
import subprocess
import sys

from guest import holder, pci, service
from guest.check import equal
from guest.holder import Holder
from guest.pci import IGB, NVME, PLAIN, Function
from guest.registry import scenario
from guest.vfio import group_node, igb_vfs, pids, users, wait_users

# Opens, and passes it from one to the next; the last tells its pid.
RELAY = """
import os, signal, sys
os.open(sys.argv[1], os.O_RDWR)
for _ in range(10):
    if os.fork():
        os._exit(0)
os.write(1, b"%d" % os.getpid())
os.close(1)
signal.pause()
"""


@scenario("a holder of the group, of the device, of both: in use until the last is closed")
def open_and_close(machine):
    igb_vf, = igb_vfs(machine)
    NVME.set_num_vfs(1)
    nvme_vf = Function(NVME.vfs()[0])
    nvme_vf.bind("vfio-pci")
    PLAIN.bind("vfio-pci")
    for function in (igb_vf, nvme_vf, PLAIN):
        machine.wait_property(function, "Driver", "vfio-pci")
        one = Holder(machine, "--group-only", function)
        wait_users(machine, function, [one.pid])
        one.end()
        wait_users(machine, function, [])

        one = Holder(machine, function)
        wait_users(machine, function, [one.pid])
        one.close_group()
        one.order("close-container", "container closed")
        wait_users(machine, function, [one.pid])
        one.close_device()
        wait_users(machine, function, [])
        one.end()
    equal(users(machine), [], "users at the end")


@scenario("who: pid, uid, command and unit of holders of two functions; only theirs are in use")
def who(machine):
    first, second, third = igb_vfs(machine, 3)
    one = Holder(machine, first, wrapper=["systemd-run", "--quiet", "--pipe", "--collect", "--unit=guest-one.service",
                                          "--property=KillSignal=SIGKILL"])
    pid = int(service.systemctl("show", "--value", "-p", "MainPID", "guest-one.service").stdout)
    wait_users(machine, first, [pid])
    group = pci.link(second.path("iommu_group"))
    os.chown(f"/dev/vfio/{group}", 1000, 1000)
    two = Holder(machine, second, wrapper=["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"])
    wait_users(machine, second, [two.pid])

    equal(users(machine, first), [(pid, 0, f"{holder.PROGRAM} {first}", "guest-one.service")], f"users of {first}")
    row, = users(machine, second)
    equal(row[:3], (two.pid, 1000, f"{holder.PROGRAM} {second}"), f"users of {second}")
    for function in (third, IGB):
        equal(machine.property(function, "InUse"), False, f"InUse of {function}")
    one.end()
    wait_users(machine, first, [])
    wait_users(machine, second, [two.pid])
    two.end()
    wait_users(machine, second, [])


@scenario("a holder killed with SIGKILL, in each state; its pid never appears for another process")
def killed(machine):
    vf, = igb_vfs(machine)
    for prepare in (lambda one: None, Holder.close_group):
        one = Holder(machine, vf)
        prepare(one)
        wait_users(machine, vf, [one.pid])
        one.kill()
        wait_users(machine, vf, [])


@scenario("a child keeps what its parent opened: in use until it ends, too")
def forked(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    mark = machine.mark()
    child = one.fork()
    one.kill()
    wait_users(machine, vf, [child])
    equal(machine.changes_of(vf, "InUse", mark), [], "what was told of InUse meanwhile")
    holder.kill(child)
    wait_users(machine, vf, [])


@scenario("who opens a group and ends at once, while a child of a child has it, as a daemon does")
def daemonized(machine):
    vf, = igb_vfs(machine)
    for _ in range(5):
        relay = subprocess.run([sys.executable, "-c", RELAY, group_node(vf)],
                               stdout=subprocess.PIPE, check=True)
        wait_users(machine, vf, [int(relay.stdout)])
        holder.kill(int(relay.stdout))
        wait_users(machine, vf, [])


@scenario("a device passed on over a socket: the receiver is the user once the giver ends; so with a group")
def passed_on(machine):
    vf, other = igb_vfs(machine, 2)
    bystander = Holder(machine, other)
    wait_users(machine, other, [bystander.pid])
    for order in ("pass", "pass-group"):
        receiver = Holder(machine, "--receive=/run/holder.socket")
        giver = Holder(machine, vf)
        wait_users(machine, vf, [giver.pid])
        giver.order(f"{order} /run/holder.socket", "passed")
        receiver.wait_line("received")
        mark = machine.mark()
        giver.kill()
        wait_users(machine, vf, [receiver.pid])
        equal(machine.changes_of(vf, "InUse", mark), [], "what was told of InUse meanwhile")
        wait_users(machine, other, [bystander.pid])
        receiver.kill()
        wait_users(machine, vf, [])


@scenario("a device whose only descriptor is in progress in a socket is in use all the same, by pid 0")
def under_way(machine):
    vf, = igb_vfs(machine)
    one = Holder(machine, vf)
    one.close_group()
    wait_users(machine, vf, [one.pid])
    mark = machine.mark()
    one.order("park", "parked")
    wait_users(machine, vf, [0])
    one.order("unpark", "unparked")
    wait_users(machine, vf, [one.pid])
    equal(machine.changes_of(vf, "InUse", mark), [], "what was told of InUse meanwhile")
    one.end()
    wait_users(machine, vf, [])


@scenario("a holder with a /dev of its own, as libvirt gives each machine")
def private_dev(machine):
    vf, = igb_vfs(machine)
    group = pci.link(vf.path("iommu_group"))
    number = os.stat(f"/dev/vfio/{group}").st_rdev
    script = (f"mount -t tmpfs tmpfs /mnt; mkdir /mnt/vfio; mknod /mnt/null c 1 3; mknod /mnt/vfio/vfio c 10 196\n"
              f"mknod /mnt/vfio/{group} c {os.major(number)} {os.minor(number)}\n"
              f"mount --move /mnt /dev; exec {holder.PROGRAM} {vf}\n")
    path = pathlib.Path("/run/private-dev")
    path.write_text(script)
    one = Holder(machine, wrapper=["unshare", "--mount", "sh", "-e", str(path)])
    wait_users(machine, vf, [one.pid])
    one.close_group()
    one.close_device()
    wait_users(machine, vf, [])
    one.end()


@scenario("names and O_PATH prove nothing: nobody without the device can make it appear in use")
def pretenders(machine):
    vf, = igb_vfs(machine)
    group = pci.link(vf.path("iommu_group"))
    mark = machine.mark()
    pretender = service_process(machine, f"""
import os, pathlib, time
os.open("/dev/vfio/{group}", os.O_PATH)
pathlib.Path("/tmp/vfio").mkdir(exist_ok=True)
for name in ("/tmp/vfio/{group}", "/tmp/anon_inode:[vfio-device]"):
    os.open(name, os.O_CREAT | os.O_RDWR)
os.memfd_create("anon_inode:[vfio-device]")
print("ready", flush=True)
time.sleep(1000)
""")
    # A look at all processes passes by it.
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    child = one.fork()
    one.kill()
    wait_users(machine, vf, [child])
    holder.kill(child)
    wait_users(machine, vf, [])
    machine.fence()
    equal(machine.changes_of(vf, "InUse", mark), [True, False], "what was told of InUse")
    pretender.kill()


def service_process(machine, program):
    """A Python program run by somebody without privilege; returns when it has said "ready"."""
    class Pretender(Holder):
        def __init__(self):
            super().__init__(machine, wrapper=["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups",
                                               "python3", "-c", program])
    return Pretender()


@scenario("held before the daemon starts: known from its first answer; released while it is down: free")
def over_a_restart(machine):
    vf, other = igb_vfs(machine, 2)
    one, two = Holder(machine, vf), Holder(machine, other)
    wait_users(machine, vf, [one.pid])
    machine.stop_daemon()
    two.end()
    machine.start_daemon()
    equal(machine.property(vf, "InUse"), True, f"InUse of {vf} in the first picture")
    equal(pids(machine, vf), [one.pid], f"users of {vf}")
    equal(machine.property(other, "InUse"), False, f"InUse of {other}")
    one.end()
    wait_users(machine, vf, [])


@scenario("an `enable` that root left behind is no user")
def left_behind(machine):
    vf, = igb_vfs(machine)
    vf.unbind()
    vf.write("enable", "1")
    mark = machine.mark()
    vf.bind("vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    one = Holder(machine, vf)
    wait_users(machine, vf, [one.pid])
    one.close_group()
    one.end()
    wait_users(machine, vf, [])
    changes = machine.changes_of(vf, "InUse", mark)
    equal(changes, [True, False], "what was told of InUse")
    vf.unbind()
    vf.write("enable", "0")


@scenario("opened and closed two thousand times: the last word is right, and the daemon is not busy for long")
def storm(machine):
    vf, = igb_vfs(machine)
    path = group_node(vf)
    for _ in range(2000):
        os.close(os.open(path, os.O_RDWR))
    last = os.open(path, os.O_RDWR)
    wait_users(machine, vf, [os.getpid()])
    os.close(last)
    wait_users(machine, vf, [])
    machine.fence()
