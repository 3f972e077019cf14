"""What the tests of uses by the host share."""

import os

import fixtures
import vfwarden_bus as vb

BRIDGE = 0x060400
ROOT, DISK, NIC, PF, OTHER = "0000:00:02.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0"
GUEST = "0000:05:00.0"
TAKING = ("bind", "unbind", "reset", "remove", "power-off")
MOUNTED = "its block device nvme7n1p1 is mounted on /srv/data"
READ_ONLY, READ_WRITE, PATH_ONLY = "02100000", "02100002", "012000000"


class UsesTest(fixtures.DaemonTest):
    """A disk below a root port, a network card, and a PF with two VFs on their driver of the host."""

    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, unplug=True, override=True)
        self.start_kernel()
        self.root = self.sysfs.add(ROOT, class_code=BRIDGE, driver="pcieport")
        self.disk = self.sysfs.add(DISK, parent=self.root, class_code=0x010802, driver="nvme")
        self.nic = self.sysfs.add(NIC, driver="e1000e")
        self.pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.vf = self.pf.vfs[1]
        self.other = self.sysfs.add(OTHER, driver="nvme")
        self.add_block(self.disk, "nvme/nvme7/nvme7n1", "240:0")
        self.add_block(self.disk, "nvme/nvme7/nvme7n1/nvme7n1p1", "240:1", partition=1)

    def add_block(self, function, path, number, **attributes):
        """A block device below a function, or a virtual one."""
        directory = function.path(path) if function else self.sysfs.path("devices/virtual/block", path)
        name = os.path.basename(path)
        for folder in ("holders", "slaves"):
            os.makedirs(os.path.join(directory, folder))
        for attribute, value in attributes.items():
            with open(os.path.join(directory, attribute), "w", encoding="utf-8") as file:
                file.write(f"{value}\n")
        for folder, link in (("class/block", name), ("dev/block", number)):
            os.makedirs(self.sysfs.path(folder), exist_ok=True)
            os.symlink(directory, self.sysfs.path(folder, link))
        return directory

    def add_interface(self, function, *names):
        """The folder of interfaces below a function; those in other network namespaces are not in it."""
        for name in ("", *names):
            os.makedirs(function.path(os.path.join("net", name)), exist_ok=True)

    def blockers(self, address, operation):
        return [row[:2] for row in self.client.check(address, operation)[1]]

    def wait_uses(self, address, *texts):
        """By events; and asked for, where the test's world sends none."""
        vb.wait_until(lambda: self.uses(address) == list(texts), None, f"the uses of {address}")

    def uses(self, address):
        return [use["text"] for use in self.client.manager("DescribeUses", "(s)", address)]

    def refused(self, address, method, signature="()", arguments=(), interface=vb.FUNCTION):
        with self.assertRaises(vb.BusError) as caught:
            self.client.bus.call(vb.function_path(address), interface, method, signature, arguments)
        self.assertEqual(caught.exception.name, vb.REFUSED)
        return str(caught.exception)
