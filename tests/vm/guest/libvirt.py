"""A real libvirtd with vfwarden's hook and agent, and domains that QEMU runs without KVM. In a domain is no system, or a
guest that obeys or ignores hot-unplug (inner/guest.S)."""

import pathlib
import shutil
import socket
import time

from guest import service

SAMPLE = pathlib.Path("/usr/share/vfwarden/libvirt-hook")
HOOK = pathlib.Path("/etc/libvirt/hooks/qemu.d/vfwarden")
AGENT = "vfwarden-libvirt.service"
AGENT_NAME = "org.vfwarden1.Libvirt"
# See host/project.py; where the profiles of AppArmor have it read, too.
FIRMWARE = "/var/lib/libvirt/images/vfwarden-guest.bin"
# Orders for its guest.
OBEY, IGNORE = b"1", b"0"
SOCKETS = ("libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket")

DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type>{loader}</os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='unix'><source mode='bind' path='/run/{name}.serial'/></serial>
    {devices}
  </devices>
</domain>
"""


def address(function):
    domain, bus, slot = function.address.split(":")
    slot, number = slot.split(".")
    return f"<address type='pci' domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{number}'/>"


def source(function):
    return address(function).replace("address type='pci'", "address")


def hostdev(function):
    return f"<hostdev mode='subsystem' type='pci' managed='yes'><source>{source(function)}</source></hostdev>"


def domain_xml(name, number, devices, with_guest=False):
    """A domain with a guest, or without a system; its UUID ends with the number."""
    loader = f"<loader readonly='yes' type='rom'>{FIRMWARE}</loader>" if with_guest else ""
    return DOMAIN.format(name=name, uuid=domain_uuid(number), devices=devices, loader=loader)


def domain_uuid(number):
    return f"00000000-0000-4000-8000-{number:012}"


def tell_guest(name, word):
    with socket.socket(socket.AF_UNIX) as serial:
        serial.connect(f"/run/{name}.serial")
        serial.sendall(word)


class Libvirt:
    """libvirtd from here to the scenario's end, with the hook if `options` is not None: the hook's own ones."""

    def __init__(self, machine, options=""):
        self.machine = machine
        self.domains = []
        machine.closers.append(self.close)
        if options is not None:
            HOOK.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SAMPLE, HOOK)
        if options:
            HOOK.write_text(SAMPLE.read_text().replace("--unguarded=refuse", options))
        # It looks for hooks when it starts, and not later.
        service.systemctl("restart", "libvirtd.service")

    def virsh(self, *words, **kwargs):
        return service.run("virsh", "-q", *words, **kwargs)

    def define(self, name, devices, with_guest=False):
        """Defines a domain with a guest or without a system. Returns the unit of its guard."""
        number = len(self.domains) + 1
        path = pathlib.Path(f"/run/{name}.xml")
        path.write_text(domain_xml(name, number, devices, with_guest))
        self.domains.append(name)
        self.virsh("define", str(path))
        return f"vfwarden-domain-{domain_uuid(number)}.scope"

    def start(self, name, **kwargs):
        """The result, with the seconds that it took."""
        begin = time.monotonic()
        result = self.virsh("start", name, **kwargs)
        result.seconds = time.monotonic() - begin
        return result

    def has(self, name, function):
        """Whether the domain that runs has the function."""
        return source(function) in self.virsh("dumpxml", name).stdout

    def start_agent(self):
        """Starts vfwarden-libvirt, until the scenario ends."""
        self.machine.closers.append(lambda: service.systemctl("stop", AGENT, check=False))
        service.systemctl("start", AGENT)
        self.wait_agent()

    def wait_agent(self):
        """Until it can ask guests."""
        self.machine.wait(lambda: self.machine.client.bus.name_owner(AGENT_NAME), f"{AGENT} to have its name at the bus")

    def destroy(self, name):
        self.virsh("destroy", name)

    def close(self):
        for name in self.domains:
            self.virsh("destroy", name, check=False)
            self.virsh("undefine", name, check=False)
        service.systemctl("stop", *SOCKETS, "libvirtd.service", "virtlogd.socket", "virtlogd.service",
                          check=False)
        HOOK.unlink(missing_ok=True)
