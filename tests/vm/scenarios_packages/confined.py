"""Hosts where AppArmor confines libvirt, as Debian's does: libvirtd, and QEMU of each domain."""

import pathlib

from guest import apparmor, service
from guest.check import equal
from guest.libvirt import HOOK, domain_uuid
from guest.registry import scenario
from scenarios.libvirt_agent import Host, OBEY
from scenarios.packages import install_apparmor

PROFILES = pathlib.Path("/etc/apparmor.d")
LIBVIRTD, HELPER = "libvirtd", "virt-aa-helper"


@scenario("AppArmor: libvirtd and QEMU run under libvirt's profiles; the hook guards the domain's VF, and the agent has its guest "
          "release it", deadline=900)
def libvirt(machine):
    install_apparmor(machine)
    for name in ("usr.lib.libvirt.virt-aa-helper", "usr.sbin.libvirtd"):
        service.run("apparmor_parser", "--replace", str(PROFILES / name))
    host = Host(machine, OBEY)
    equal(apparmor.of_process(machine.daemon.property("MainPID", "libvirtd.service")), f"{LIBVIRTD} (enforce)", "the profile of libvirtd")
    guest = f"libvirt-{domain_uuid(1)}"
    qemu = machine.run("pgrep", "--full", "guest=web1").stdout.split()[0]
    equal(apparmor.of_process(qemu), f"{guest} (enforce)", "the profile of the domain's QEMU")
    equal(HOOK.exists(), True, "the hook")
    code, _ = host.unplug()
    equal(code, 0, "the exit code of the unplug")
    host.check_released()
    equal(apparmor.denied(machine, LIBVIRTD, HELPER, guest), [], "what the profiles refused")
