"""libvirt's domains, by its hook: a real libvirtd and QEMU."""

import os
import signal
import subprocess
import time

import pace
import vfwarden_bus as vb

from guest import service
from guest.check import contains, equal, true
from guest.holder import Holder
from guest.libvirt import SOCKETS, Libvirt, address, hostdev
from guest.pci import IGB, Function
from guest.registry import scenario

REFUSED = 6
TIMED_OUT = 8


def vfs(machine, count):
    """VFs as they are on a host that has just made them: their native driver has them."""
    IGB.set_num_vfs(count)
    functions = [Function(name) for name in IGB.vfs()]
    for vf in functions:
        machine.wait_property(vf, "Driver", "igbvf")
    return functions


def inhibitors(machine):
    """(address, who) of each."""
    return sorted((row[0], row[2]) for row in machine.client.manager("ListInhibitors"))


def wait_inhibitors(machine, expected):
    machine.wait(lambda: inhibitors(machine) == sorted(expected),
                 lambda: f"the inhibitors to be {expected}, are {inhibitors(machine)}")


def unit_state(unit):
    return service.systemctl("show", "--value", "-p", "ActiveState", unit).stdout.strip()


@scenario("a domain with a managed VF: guarded in its name while it runs, refused to a second one by name, free when it "
          "is destroyed", deadline=360)
def managed(machine):
    vf, other = vfs(machine, 2)
    libvirt = Libvirt(machine)
    scope = libvirt.define("web1", hostdev(vf))
    libvirt.define("web2", hostdev(vf))
    result = libvirt.start("web1")
    print(f"started in {result.seconds:.1f} s", flush=True)
    machine.wait_property(vf, "InUse", True)
    equal(vf.driver(), "vfio-pci", "the VF's driver")
    equal(inhibitors(machine), [(vf.address, "domain web1")], "who inhibits what")
    equal(unit_state(scope), "active", "the guard's unit")
    contains(service.systemctl("show", "--value", "-p", "Description", scope).stdout, "web1", "its description")

    why = machine.run("vfwarden", "why", IGB.address, "unbind", check=False)
    equal(why.returncode, REFUSED, "the exit code of why")
    contains(why.stdout, "virtual machine web1", "who has the VF, by `why PF unbind`")
    contains(why.stdout, f"domain web1: inhibits unbind:remove of {vf.address}: ", "who inhibits, by `why PF unbind`")
    for words in (["unbind", vf.address], ["reset", vf.address], ["set-vfs", IGB.address, "0"]):
        result = machine.run("vfwarden", *words, check=False)
        equal(result.returncode, REFUSED, f"the exit code of {words}: {result.stdout}")

    result = libvirt.start("web2", check=False)
    true(result.returncode != 0, "the second domain does not start")
    contains(result.stdout, f"Domain web2 cannot have {vf.address}: in use by", "virsh's words")
    contains(result.stdout, "virtual machine web1", "virsh's words")
    equal(inhibitors(machine), [(vf.address, "domain web1")], "who inhibits what after that")
    equal(machine.property(vf, "InUse"), True, "the first one has it still")

    service.systemctl("restart", "libvirtd.service")
    contains(libvirt.virsh("domstate", "web1").stdout, "running", "web1 after a restart of libvirtd")
    machine.restart_daemon()
    equal(inhibitors(machine), [(vf.address, "domain web1")], "who inhibits what after restarts")

    libvirt.destroy("web1")
    machine.wait_property(vf, "InUse", False)
    wait_inhibitors(machine, [])
    equal(unit_state(scope), "inactive", "the guard's unit at the end")
    machine.wait_property(vf, "Driver", "igbvf")
    equal(machine.run("vfwarden", "why", vf.address, "unbind").returncode, 0, "whether it is free")
    libvirt.start("web2")
    wait_inhibitors(machine, [(vf.address, "domain web2")])
    equal(other.driver(), "igbvf", "the driver of the VF that nobody was given")


@scenario("a VF whose holder libvirt does not know is refused by vfwarden, by name; nothing is left behind", deadline=300)
def unknown_holder(machine):
    vf, = vfs(machine, 1)
    libvirt = Libvirt(machine)
    scope = libvirt.define("web1", hostdev(vf))
    vf.bind("vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    one = Holder(machine, vf, wrapper=["systemd-run", "--quiet", "--scope", "--unit=machine-qemu\\x2d7\\x2ddb9.scope"])
    machine.wait_property(vf, "InUse", True)
    result = libvirt.start("web1", check=False)
    true(result.returncode != 0, "the domain does not start")
    contains(result.stdout, f"Domain web1 cannot have {vf.address}: in use by", "virsh's words")
    contains(result.stdout, f"(pid {one.pid}, virtual machine db9)", "virsh's words")
    equal(inhibitors(machine), [], "who inhibits what after that")
    equal(unit_state(scope), "inactive", "the guard's unit")
    equal((vf.driver(), machine.property(vf, "InUse")), ("vfio-pci", True), "the VF is as it was")

    one.end()
    machine.wait_property(vf, "InUse", False)
    backup = subprocess.Popen(["vfwarden", "inhibit", "--what=open", "--who=backup", "--why=reads its registers",
                               vf.address, "--", "sleep", "infinity"])
    machine.closers.append(backup.kill)
    wait_inhibitors(machine, [(vf.address, "backup")])
    result = libvirt.start("web1", check=False)
    contains(result.stdout, f"Domain web1 cannot have {vf.address}: backup inhibits open: reads its registers",
             "virsh's words")
    equal(inhibitors(machine), [(vf.address, "backup")], "who inhibits what after that")
    backup.terminate()
    backup.wait()
    wait_inhibitors(machine, [])
    libvirt.start("web1")


@scenario("a function that libvirt takes from a network's pool is guarded from the domain's `start` on", deadline=300)
def network(machine):
    first, second = vfs(machine, 2)
    interface, = os.listdir(IGB.path("net"))
    service.run("ip", "link", "set", interface, "up")  # libvirt sets the VF's MAC address by it
    machine.closers.append(lambda: service.run("ip", "link", "set", interface, "down", check=False))
    libvirt = Libvirt(machine)
    xml = (f"<network><name>pool</name><forward mode='hostdev' managed='yes'>{address(first)}{address(second)}"
           "</forward></network>")
    path = "/run/pool.xml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(xml)
    libvirt.virsh("net-create", path)
    machine.closers.append(lambda: libvirt.virsh("net-destroy", "pool", check=False))
    libvirt.define("web1", "<interface type='network'><source network='pool'/></interface>")
    libvirt.start("web1")
    inhibited, = inhibitors(machine)
    contains([(vf.address, "domain web1") for vf in (first, second)], inhibited, "who inhibits what")
    libvirt.destroy("web1")
    wait_inhibitors(machine, [])


@scenario("virsh nodedev-detach of a PF whose VF a domain has: seen, with who does it and whom it waits for",
          deadline=360)
def nodedev_detach(machine):
    vf, = vfs(machine, 1)
    libvirt = Libvirt(machine)
    libvirt.define("web1", hostdev(vf))
    libvirt.start("web1")
    machine.wait_property(vf, "InUse", True)
    mark = machine.mark()
    detach = subprocess.Popen(["virsh", "nodedev-detach", "pci_0000_01_00_0"])
    machine.closers.append(detach.kill)
    machine.wait_property(vf, "State", "removing", 60)
    path = vb.function_path(vf.address)
    machine.wait(lambda: machine.client.recorder.since(mark, "UnplugRequested", path), "the holder to be asked")
    libvirtd = int(machine.daemon.property("MainPID", "libvirtd.service"))

    def operations():
        return [tuple(row) for row in machine.client.check(IGB.address, "unbind")[1] if row[0] == "operation"]
    machine.wait(lambda: [row[3] for row in operations()] == [libvirtd],
                 lambda: f"libvirtd ({libvirtd}) to be named, there is {operations()}")
    why = machine.run("vfwarden", "why", vf.address, "open", check=False).stdout
    contains(why, f"by process {libvirtd} is in progress, and waits for the users", "what `why` says")
    qemu, = [row[1] for row in machine.client.manager("ListUsers") if row[0] == vf.address]
    service.run("kill", "-KILL", str(qemu))
    detach.wait(60)
    machine.wait_function(vf, there=False, seconds=30)
    wait_inhibitors(machine, [])


@scenario("without the daemon a domain starts or not, as configured, within 2 s", deadline=360)
def away(machine):
    vf, = vfs(machine, 1)
    libvirt = Libvirt(machine)
    libvirt.define("web1", hostdev(vf))
    service.systemctl("mask", "--runtime", service.UNIT)
    machine.closers.append(lambda: service.systemctl("unmask", "--runtime", service.UNIT))
    machine.stop_daemon()
    result = libvirt.start("web1", check=False)
    true(result.returncode != 0, "it does not start without the daemon")
    contains(result.stdout, "Domain web1 is not started, for it would not be guarded", "virsh's words")
    allowing = Libvirt(machine, "--unguarded=allow")
    machine.closers.remove(allowing.close)
    allowing.start("web1")
    contains(" ".join(entry["MESSAGE"] for entry in machine.journal.entries(_COMM="vfwarden")),
             "Domain web1 starts, and its PCI functions are not guarded", "the journal")
    libvirt.destroy("web1")

    service.systemctl("unmask", "--runtime", service.UNIT)
    machine.start_daemon()
    # A daemon that hangs.
    machine.daemon.kill(signal.SIGSTOP)
    xml = f"<domain><uuid>00000000-0000-4000-8000-00000000000f</uuid><devices>{hostdev(vf)}</devices></domain>"
    for words, code in (("refuse", TIMED_OUT), ("allow", 0)):
        begin = time.monotonic()
        result = subprocess.run(["vfwarden", "libvirt-hook", f"--unguarded={words}", "web1", "prepare", "begin", "-"],
                                input=xml.encode(), check=False)
        seconds = time.monotonic() - begin
        equal(result.returncode, code, "the hook's exit code")
        true(2 <= seconds < 2 + pace.at_most(0.5), f"a daemon that hangs is waited for for 2 s, and no more: {seconds:.1f}")
    machine.daemon.kill(signal.SIGCONT)

def wait_released(machine, vf, scope):
    """The VF is as it was before a domain had it."""
    wait_inhibitors(machine, [])
    machine.wait_property(vf, "Driver", "igbvf", 60)
    equal(unit_state(scope), "inactive", "the guard's unit")
    for function in (vf, IGB):
        machine.wait_property(function, "ClosedFiles", [])
        machine.wait_property(function, "DriverOverride", "")
    equal(machine.property(vf, "InUse"), False, "whether the VF is in use")


def qemu_of(machine, vf):
    machine.wait_property(vf, "InUse", True)
    pid, = [row[1] for row in machine.client.manager("ListUsers") if row[0] == vf.address]
    return pid


@scenario("a domain whose QEMU is killed, or told to end as when the host shuts down; libvirtd killed under a domain, or away "
          "while QEMU is killed: no inhibitor, lock or driver_override is left", deadline=480)
def killed(machine):
    vf, = vfs(machine, 1)
    libvirt = Libvirt(machine)
    scope = libvirt.define("web1", hostdev(vf))
    guarded = [(vf.address, "domain web1")]
    for name in ("KILL", "TERM"):
        libvirt.start("web1")
        service.run("kill", f"-{name}", str(qemu_of(machine, vf)))
        wait_released(machine, vf, scope)

    libvirt.start("web1")
    qemu = qemu_of(machine, vf)
    machine.daemon.kill(signal.SIGKILL, int(machine.daemon.property("MainPID", "libvirtd.service")))
    equal(inhibitors(machine), guarded, "who inhibits what after libvirtd was killed")
    machine.wait(lambda: unit_state("libvirtd.service") == "active", "systemd to start libvirtd again")
    contains(libvirt.virsh("domstate", "web1").stdout, "running", "web1 under the next libvirtd")
    equal(inhibitors(machine), guarded, "who inhibits what under the next libvirtd")

    service.systemctl("stop", *SOCKETS, "libvirtd.service")
    service.run("kill", "-KILL", str(qemu))
    machine.wait_property(vf, "InUse", False)
    service.systemctl("start", "libvirtd.service")
    wait_released(machine, vf, scope)
