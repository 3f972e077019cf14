"""The kernel guard beside libvirt, which unbinds and binds the functions of its domains by itself. How often is a word on the
kernel's command line: `tests/vm/machine run --append=vfwarden.rounds=100 kernel_guard_libvirt`."""

import re

from guest import pci, service
from guest.check import equal
from guest.libvirt import Libvirt, hostdev
from guest.registry import scenario

from scenarios.kernel_guard import UNBIND, by_write, check_refused, load_guard, write_by
from scenarios.libvirt import vfs

ROUND_SECONDS = 30


def rounds():
    found = re.search(r"\bvfwarden\.rounds=(\d+)", pci.read("/proc/cmdline"))
    return int(found[1]) if found else 2


@scenario("libvirtd starts and ends a domain with a managed VF again and again while the kernel refuses to unbind a VF in use: "
          "it is never in its way", deadline=300 + ROUND_SECONDS * rounds())
def managed(machine):
    load_guard(machine)
    vf, other = vfs(machine, 2)
    libvirt = Libvirt(machine)
    libvirt.define("web1", hostdev(vf))
    libvirt.define("web2", hostdev(other))
    libvirt.start("web2")       # so the driver has a guarded function all the time
    for number in range(rounds()):
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
