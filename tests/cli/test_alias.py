"""A function is named by the domain that has it, and by what libvirt calls it there."""

import os
import pathlib

from standin import CommandTest, encode
import pictures
from pictures import IGB_VF0, IGB_VF1, NVME

# As libvirt prints a domain that runs; "stopped" has no aliases.
XML = """<domain type='kvm' id='1'>
  <name>web1</name>
  <uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>
  <devices>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/></source>
      <alias name='hostdev0'/>
    </hostdev>
    <interface type='hostdev' managed='yes'>
      <source><address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/></source>
      <alias name='ua-uplink'/>
    </interface>
    <disk type='nvme' device='disk'>
      <source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></source>
      <alias name='virtio-disk0'/>
    </disk>
    <disk type='nvme' device='disk'>
      <source type='pci' managed='yes' namespace='2'><address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></source>
      <alias name='virtio-disk1'/>
    </disk>
    <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source><alias name='hostdev9'/></hostdev>
  </devices>
</domain>
"""
VIRSH = """#!/bin/sh
echo "$@" >>"$0.calls"
for domain; do :; done
case $domain in
    hangs) exec sleep 60 ;;
    web1 | 1 | '$(reboot)') sed "s,<name>web1<,<name>${domain#1}<,; s,<name><,<name>web1<," "$0.xml" ;;
    stopped) grep -v '<alias' "$0.xml" | sed 's,<name>web1<,<name>stopped<,' ;;
    nonsense) echo '<network/>' ;;
    *) printf "error: failed to get domain '%s'\\nerror: Domain not found\\n\\n" "$domain" >&2; exit 1 ;;
esac
"""
# In the place of coreutils' own, whose ten seconds nobody wants to wait for.
TIMEOUT = """#!/bin/sh
shift
[ "$8" = hangs ] && exit 124
exec "$@"
"""
KNOWN = (f"it has hostdev0 ({IGB_VF0}), ua-uplink ({IGB_VF1}), virtio-disk0 ({NVME}), virtio-disk1 ({NVME})")


class Alias(CommandTest):
    def setUp(self):
        super().setUp()
        self.stand_in = self.start_daemon(pictures.host())
        self.environment["PATH"] = f"{self.directory}:{self.environment['PATH']}"
        self.virsh = pathlib.Path(self.directory, "virsh")
        self.write("virsh", VIRSH)
        self.write("timeout", TIMEOUT)
        pathlib.Path(self.directory, "virsh.xml").write_text(XML, encoding="utf-8")

    def write(self, name, text):
        path = pathlib.Path(self.directory, name)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def called(self, method):
        return [call[1] for call in self.stand_in.calls if call[0] == method]

    def test_each_kind_of_device(self):
        for alias, address in (("hostdev0", IGB_VF0), ("ua-uplink", IGB_VF1), ("virtio-disk0", NVME), ("virtio-disk1", NVME)):
            with self.subTest(alias):
                self.check(["reset", f"domain:web1/{alias}"], f"{address} was reset\n")
        calls = pathlib.Path(self.directory, "virsh.calls").read_text(encoding="utf-8").splitlines()
        self.assertEqual(calls[0], "--quiet --readonly --connect qemu:///system dumpxml --domain web1")

    def test_another_libvirt(self):
        self.environment["LIBVIRT_DEFAULT_URI"] = "qemu:///session"
        self.check(["reset", "domain:web1/hostdev0"], f"{IGB_VF0} was reset\n")
        self.assertIn("--connect qemu:///session ", pathlib.Path(self.directory, "virsh.calls").read_text(encoding="utf-8"))

    def test_the_libvirt_of_another_host(self):
        """Its addresses would mean other functions here."""
        for uri in ("qemu+ssh://other/system", "qemu://other/system", "qemu+ssh:///system", "other"):
            with self.subTest(uri):
                self.environment["LIBVIRT_DEFAULT_URI"] = uri
                self.check(["reset", "domain:web1/hostdev0"], code=1, error=(
                    f"vfwarden: Cannot look for 'hostdev0' in the domain 'web1': LIBVIRT_DEFAULT_URI is \"{uri}\", and not of this "
                    "host's libvirt\n"))
        self.assertFalse(os.path.exists(f"{self.virsh}.calls"))
        self.environment["LIBVIRT_DEFAULT_URI"] = "qemu+unix:///system"
        self.check(["reset", "domain:web1/hostdev0"], f"{IGB_VF0} was reset\n")

    def test_patterns(self):
        self.check(["reset", "domain:web1/*"], f"{IGB_VF0} was reset\n{IGB_VF1} was reset\n{NVME} was reset\n")
        self.check(["reset", "domain:web1/virtio-disk*"], f"{NVME} was reset\n")
        self.assertEqual(self.called("Reset"), [encode(a) for a in (IGB_VF0, IGB_VF1, NVME, NVME)])

    def test_a_verb_that_takes_one(self):
        self.check(["bind", "domain:web1/hostdev0", "igbvf"], f"{IGB_VF0} is bound to igbvf\n")
        self.check(["bind", "domain:web1/*", "vfio-pci"], error=(
            f"vfwarden: '*' can mean 3 functions of the domain 'web1': {IGB_VF0}, {IGB_VF1}, {NVME}\n"), code=2)
        self.assertEqual(self.called("Bind"), [encode(IGB_VF0)])

    def test_nothing_is_called_so(self):
        for alias in ("hostdev1", "hostdev9", "HOSTDEV0", ""):
            with self.subTest(alias):
                self.check(["reset", f"domain:web1/{alias}"], code=3,
                           error=f"vfwarden: No function of the domain 'web1' is called '{alias}': {KNOWN}\n")
        self.check(["reset", "domain:stopped/hostdev0"], code=3, error=(
            "vfwarden: No function of the domain 'stopped' is called 'hostdev0': it does not run, or has no PCI function of the "
            "host\n"))

    def test_libvirt_cannot_be_asked(self):
        for domain, why in (("other", "failed to get domain 'other'; Domain not found"), ("hangs", "libvirt does not answer"),
                            ("nonsense", "it is no XML of a domain"),
                            ("1", "libvirt takes that for the ID or UUID of another domain"), ("", "the name of the domain is missing")):
            with self.subTest(domain):
                self.check(["reset", f"domain:{domain}/hostdev0"], code=1, error=(
                    f"vfwarden: Cannot look for 'hostdev0' in the domain '{domain}': {why}\n"))
        os.unlink(self.virsh)
        os.unlink(os.path.join(self.directory, "timeout"))
        self.check(["reset", "domain:web1/hostdev0"], code=1, error=(
            "vfwarden: Cannot look for 'hostdev0' in the domain 'web1': virsh is not installed\n"))
        self.assertEqual(self.called("Reset"), [])

    def test_another_host(self):
        self.check(["-H", "far", "reset", "domain:web1/hostdev0"], code=2, error=(
            "vfwarden: Cannot look for 'hostdev0' in the domain 'web1': libvirt is asked on this host only\n"))
        self.assertFalse(os.path.exists(f"{self.virsh}.calls"))

    def test_completion(self):
        self.check(["completion-names", "domain:web1/"], "".join(
            f"domain:web1/{alias}\n" for alias in ("hostdev0", "ua-uplink", "virtio-disk0", "virtio-disk1")))
        for typed in ("domain:other/", "domain:$(reboot)/", "domain:stopped/h"):
            with self.subTest(typed):
                self.check(["completion-names", typed])
