"""The kernel guard beside libvirt, which unbinds and binds the functions of its domains by itself. How often is a word on the
kernel's command line: `tests/vm/machine run --append=vfwarden.rounds=100 kernel_guard_libvirt`."""

from guest import service
from guest.check import contains, equal, true
from guest.libvirt import Libvirt, hostdev
from guest.pci import IGB
from guest.registry import rounds, scenario

from scenarios.kernel_guard import UNBIND, by_write, check_refused, load_guard, wait_report, write_by
from scenarios.libvirt import vfs

ROUNDS = rounds(2)
ROUND_SECONDS = 30


@scenario("libvirtd starts and ends a domain with a managed VF again and again while the kernel refuses to unbind a VF in use: "
          "it is never in its way", deadline=300 + ROUND_SECONDS * ROUNDS)
def managed(machine):
    load_guard(machine)
    vf, other = vfs(machine, 2)
    libvirt = Libvirt(machine)
    libvirt.define("web1", hostdev(vf))
    libvirt.define("web2", hostdev(other))
    libvirt.start("web2")       # so the driver has a guarded function all the time
    for number in range(ROUNDS):
        libvirt.start("web1")
        machine.wait_property(vf, "InUse", True)
        check_refused(lambda: write_by(by_write, UNBIND, vf.address), f"an unbind in round {number}")
        libvirt.destroy("web1")
        machine.wait_property(vf, "Driver", "igbvf")
    reports = machine.journal.messages(service.KERNEL_GUARD)
    equal([text for text in reports if "refused: " in text and "python3" not in text and "not refused" not in text], [],
          "what was refused to others")
    libvirt.destroy("web2")
    machine.wait_property(other, "Driver", "igbvf")


@scenario("virsh nodedev-detach of a PF is refused by the kernel and reported while a domain has its VF, and passes after that",
          deadline=360)
def nodedev_detach(machine):
    load_guard(machine)
    vf, = vfs(machine, 1)
    # libvirt sets it before it tries to unbind the PF, and leaves it there.
    machine.closers.append(lambda: IGB.set_override(None))
    libvirt = Libvirt(machine)
    libvirt.define("web1", hostdev(vf))
    libvirt.start("web1")
    machine.wait_property(vf, "InUse", True)
    result = libvirt.virsh("nodedev-detach", "pci_0000_01_00_0", check=False)
    true(result.returncode != 0, "virsh fails")
    contains(result.stdout, "Operation not permitted", "virsh's words")
    libvirtd = machine.daemon.property("MainPID", "libvirtd.service")
    wait_report(machine, f"{IGB}: refused: unbind, tried by ", f"(pid {libvirtd}, uid 0")
    equal((IGB.driver(), vf.driver(), machine.property(vf, "State")), ("igb", "vfio-pci", "present"), "PF and VF, which stay")
    contains(libvirt.virsh("list", "--name").stdout, "web1", "the domains that run")

    libvirt.destroy("web1")
    machine.wait_property(vf, "Driver", "igbvf")
    machine.wait_property(IGB, "LockReasons", [])
    libvirt.virsh("nodedev-detach", "pci_0000_01_00_0")
    equal(IGB.driver(), "vfio-pci", "the driver of a PF that nobody uses")
    libvirt.virsh("nodedev-reattach", "pci_0000_01_00_0")
