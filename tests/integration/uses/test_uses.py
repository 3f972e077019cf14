#!/usr/bin/python3
"""What the host itself does with functions: seen, named, and taken only from who says so."""

import json
import os
import stat

from gi.repository import GLib

import fixtures
import vfwarden_bus as vb

BRIDGE = 0x060400
ROOT, DISK, NIC, PF, OTHER = "0000:00:02.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0"
TAKING = ("bind", "unbind", "reset", "remove", "power-off")
MOUNTED = "its block device nvme7n1p1 is mounted on /srv/data"


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


class Storage(UsesTest):
    def setUp(self):
        super().setUp()
        self.host.set_mounts(("0:21", "proc", "proc", "/proc"), ("240:1", "ext4", "/dev/nvme7n1p1", "/srv/data"))

    def test_a_mounted_disk(self):
        self.start()
        self.wait_uses(DISK, MOUNTED)
        for address in (DISK, ROOT):
            for operation in TAKING:
                with self.subTest(f"{operation} of {address}"):
                    self.assertIn(("host", DISK), self.blockers(address, operation))
        self.assertIn(f"is below it ({ROOT} > {DISK}) and used by the host: {MOUNTED}",
                      self.client.check(ROOT, "remove")[1][0][2])
        self.assertEqual(self.blockers(OTHER, "unbind"), [], "another disk")
        for method in ("Unbind", "Reset"):
            self.assertIn(MOUNTED, self.refused(DISK, method))
        self.assertIn(MOUNTED, self.refused(ROOT, "Unplug", "(ta{sv})", (0, {})))
        self.assertEqual(self.disk.driver, "nvme")

    def test_what_is_told_of_it(self):
        self.start()
        self.wait_uses(DISK, MOUNTED)
        use, = self.client.manager("DescribeUses", "(s)", "")
        lost = "the file system loses its device, and what was not written is lost"
        self.assertEqual(use, {"address": DISK, "kind": "mount", "subsystem": "block", "object": "nvme7n1p1",
                               "by": "/srv/data", "namespace": "", "pid": 0, "text": MOUNTED, "lost": lost})
        document = json.loads(self.client.manager("Describe"))
        told = {function["Address"]: function["Uses"] for function in document["Functions"]}
        self.assertEqual(told[DISK], [{"Kind": "mount", "Subsystem": "block", "Object": "nvme7n1p1",
                                       "By": "/srv/data", "Namespace": "", "Pid": 0, "Text": MOUNTED, "Lost": lost}])
        self.assertEqual(told[OTHER], [])

    def test_only_who_says_so_takes_it(self):
        self.start()
        self.wait_uses(DISK, MOUNTED)
        call = (vb.function_path(DISK), vb.FUNCTION, "UnbindWithOptions", "(a{sv})")
        self.refused(DISK, "UnbindWithOptions", "(a{sv})", ({},))
        asked = ({"override-host": GLib.Variant("b", True)},)
        self.polkit.verdicts["org.vfwarden1.override"] = False
        with self.acting_as():
            self.assert_bus_error(vb.ACCESS_DENIED, self.client.bus.call, *call, asked)
            self.assertEqual(self.disk.driver, "nvme")
            self.polkit.verdicts["org.vfwarden1.override"] = True
            self.client.bus.call(*call, asked)
        self.wait_property(DISK, "Driver", "")
        self.assertEqual(self.polkit.questions[-1].action, "org.vfwarden1.override")

    def test_a_new_look_before_it_is_done(self):
        """The test's world reports no mount; the operation looks by itself."""
        self.host.set_mounts()
        self.start()
        self.assertEqual(self.blockers(DISK, "unbind"), [])
        self.host.set_mounts(("240:1", "ext4", "/dev/nvme7n1p1", "/srv/data"))
        self.assertIn(MOUNTED, self.refused(DISK, "Unbind"))
        self.wait_uses(DISK, MOUNTED)
        self.host.set_mounts()
        self.client.bus.call(vb.function_path(DISK), vb.FUNCTION, "Unbind")
        self.wait_property(DISK, "Driver", "")

    def test_mounted_by_a_container_alone(self):
        self.host.set_mounts()
        self.host.add_process(4711)
        self.host.set_mounts(("240:1", "xfs", "/dev/nvme7n1p1", "/var/lib/volume\\040of\\040a\\040pod"), pid=4711)
        self.start()
        self.assertIn("is mounted on /var/lib/volume of a pod", self.refused(DISK, "Unbind"))

    def test_swap_and_btrfs_and_device_mapper(self):
        self.host.set_mounts(("0:99", "btrfs", "/dev/mapper/vg-root", "/"))
        self.host.set_swaps("/dev/nvme7n1p1", "/swapfile")
        top = self.add_block(None, "dm-7", "240:7")
        os.makedirs(os.path.join(top, "dm"))
        with open(os.path.join(top, "dm/name"), "w", encoding="utf-8") as file:
            file.write("vg-root\n")
        os.symlink(self.sysfs.path("class/block/nvme7n1"), os.path.join(top, "slaves/nvme7n1"))
        os.symlink(top, self.disk.path("nvme/nvme7/nvme7n1/holders/dm-7"))
        self.start()
        self.assertIn("is swap space", self.refused(DISK, "Unbind"))
        self.assertEqual(self.uses(DISK), [
            "its block device nvme7n1 is mounted on /", "its block device nvme7n1p1 is swap space",
            "its block device nvme7n1 is part of vg-root (dm-7)"])

    def test_a_path_of_a_multipath_disk(self):
        """The disk is below the NVMe subsystem, and the function below one of its controllers."""
        subsystem = self.sysfs.path("devices/virtual/nvme-subsystem/nvme-subsys3")
        os.makedirs(self.other.path("nvme/nvme5"))
        os.makedirs(os.path.join(subsystem, "nvme3n1"))
        os.symlink(self.other.path("nvme/nvme5"), os.path.join(subsystem, "nvme5"))
        os.symlink(os.path.join(subsystem, "nvme3n1"), self.sysfs.path("dev/block/240:9"))
        os.symlink(os.path.join(subsystem, "nvme3n1"), self.sysfs.path("class/block/nvme3n1"))
        self.host.set_mounts(("240:9", "ext4", "/dev/nvme3n1", "/"))
        self.start()
        self.assertIn("its block device nvme3n1 is mounted on /", self.refused(OTHER, "Unbind"))

    def test_what_cannot_be_looked_at_counts_as_used(self):
        os.unlink(os.path.join(self.host.path, "1/mountinfo"))
        os.symlink("mountinfo", os.path.join(self.host.path, "1/mountinfo"))
        self.start()
        self.assertIn("may be used by the host: its block devices cannot be looked at", self.refused(OTHER, "Unbind"))
        self.assertTrue(any("block devices" in problem for problem in self.client.manager_property("Problems")))
        os.unlink(os.path.join(self.host.path, "1/mountinfo"))
        self.host.set_mounts()
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Unbind")
        self.wait_property(OTHER, "Driver", "")


class Network(UsesTest):
    def test_an_interface_in_another_network_namespace(self):
        self.add_interface(self.vf)
        self.add_interface(self.pf.vfs[0], "eth8")
        self.start()
        self.assertIn("in the network namespace", self.refused(self.vf.address, "Unbind"))
        self.assertEqual(self.blockers(self.pf.vfs[0].address, "unbind"), [], "its interface is here")
        for operation in ("set-num-vfs", "unbind", "reset", "remove"):
            with self.subTest(operation):
                self.assertEqual(self.blockers(PF, operation), [("host", self.vf.address)])
        self.assertEqual(self.blockers(PF, "set-autoprobe"), [])
        words = self.refused(PF, "SetNumVFs", "(qa{sv})", (0, {}), vb.PHYSICAL)
        self.assertIn("is a VF of it and used by the host: its network interface", words)
        self.assertIn("in the network namespace", words)
        self.assertTrue(self.vf.exists("vendor"))

    def test_the_host_is_asked_again(self):
        self.add_interface(self.vf, "eth9")
        self.start()
        self.assertEqual(self.blockers(PF, "set-num-vfs"), [])
        os.rmdir(self.vf.path("net/eth9"))
        self.refused(PF, "SetNumVFs", "(qa{sv})", (0, {}), vb.PHYSICAL)

    def test_a_function_on_vfio_has_no_such_use(self):
        self.add_interface(self.vf)
        self.start()
        self.refused(self.vf.address, "Unbind")
        self.sysfs.rebind(self.vf, "vfio-pci")
        self.wait_property(self.vf.address, "Driver", "vfio-pci")
        self.assertEqual(self.blockers(PF, "set-num-vfs"), [])


class Names(UsesTest):
    def setUp(self):
        super().setUp()
        self.host.set_mounts(("240:1", "ext4", "/dev/nvme7n1p1", "/srv/data"))

    def add_controller(self, function, name):
        os.makedirs(self.sysfs.path("class/nvme"), exist_ok=True)
        os.symlink(function.path(f"nvme/{name}"), self.sysfs.path("class/nvme", name))

    def block_devices(self, address):
        return self.picture.function(address)["BlockDevices"]

    def test_of_disks_and_controllers(self):
        """Disks by their own names: neither partitions nor what is made of disks, nor a hidden path."""
        self.add_controller(self.disk, "nvme7")
        self.add_block(self.disk, "nvme/nvme7/nvme7c7n2", "240:2", hidden=1)
        self.add_block(self.disk, "virtio9/block/vdz", "240:3", hidden=0)
        top = self.add_block(None, "dm-7", "240:7")
        os.symlink(self.sysfs.path("class/block/nvme7n1"), os.path.join(top, "slaves/nvme7n1"))
        self.start()
        self.wait_property(DISK, "BlockDevices", ["nvme7", "nvme7n1", "vdz"])
        self.assertEqual(self.block_devices(OTHER), [])
        self.assertEqual(self.client.get(vb.function_path(DISK), vb.FUNCTION, "BlockDevices"),
                         ["nvme7", "nvme7n1", "vdz"])
        document = json.loads(self.client.manager("Describe"))
        told = {function["Address"]: function["BlockDevices"] for function in document["Functions"]}
        self.assertEqual((told[DISK], told[OTHER]), (["nvme7", "nvme7n1", "vdz"], []))
        self.assertEqual(self.picture.compare(), [])

    def test_of_a_disk_with_two_paths(self):
        subsystem = self.sysfs.path("devices/virtual/nvme-subsystem/nvme-subsys3")
        os.makedirs(os.path.join(subsystem, "nvme3n1"))
        for function, name in ((self.disk, "nvme7"), (self.other, "nvme5")):
            os.makedirs(function.path(f"nvme/{name}"), exist_ok=True)
            os.symlink(function.path(f"nvme/{name}"), os.path.join(subsystem, name))
        os.symlink(os.path.join(subsystem, "nvme3n1"), self.sysfs.path("class/block/nvme3n1"))
        self.start()
        self.wait_property(DISK, "BlockDevices", ["nvme3n1", "nvme7n1"])
        self.wait_property(OTHER, "BlockDevices", ["nvme3n1"])

    def test_changes_are_signalled(self):
        self.start()
        self.wait_property(DISK, "BlockDevices", ["nvme7n1"])
        self.add_block(self.other, "virtio8/block/vdy", "240:8")
        self.look_again()
        self.wait_property(OTHER, "BlockDevices", ["vdy"])
        os.unlink(self.sysfs.path("class/block/vdy"))
        self.look_again()
        self.wait_property(OTHER, "BlockDevices", [])
        self.assertEqual(self.picture.compare(), [])

    def look_again(self):
        """The test's world sends no events; an operation has the daemon look."""
        self.refused(DISK, "Reset")

    def test_a_look_that_fails_takes_no_names(self):
        self.start()
        self.wait_property(DISK, "BlockDevices", ["nvme7n1"])
        os.unlink(os.path.join(self.host.path, "1/mountinfo"))
        os.symlink("mountinfo", os.path.join(self.host.path, "1/mountinfo"))
        self.assertIn("cannot be looked at", self.refused(OTHER, "Unbind"))
        self.assertEqual(self.block_devices(DISK), ["nvme7n1"])

    def test_a_function_that_is_new(self):
        self.start()
        self.wait_property(DISK, "BlockDevices", ["nvme7n1"])
        late = self.sysfs.add("0000:05:00.0", driver="nvme")
        self.add_block(late, "nvme/nvme9/nvme9n1", "240:9")
        self.sysfs.tell("add", late)
        self.wait_property("0000:05:00.0", "Driver", "nvme")
        self.look_again()
        self.wait_property("0000:05:00.0", "BlockDevices", ["nvme9n1"])


class Helpers(UsesTest):
    def test_a_helper_that_is_killed(self):
        self.host.set_mounts(("240:1", "ext4", "/dev/nvme7n1p1", "/srv/data"))
        self.start()
        self.wait_uses(DISK, MOUNTED)
        pid, = self.helpers("vfwarden-disks")
        os.kill(pid, 9)
        vb.wait_until(lambda: self.helpers("vfwarden-disks") not in ([], [pid]), None, "another one")
        self.assertIn(MOUNTED, self.refused(DISK, "Unbind"))

    def test_a_helper_that_does_not_answer(self):
        self.start()
        self.wait_uses(DISK)
        pid, = self.helpers("vfwarden-disks")
        os.kill(pid, 19)    # SIGSTOP
        self.assertIn("may be used by the host", self.refused(DISK, "Unbind"))
        self.client.bus.call(vb.function_path(DISK), vb.FUNCTION, "Unbind")
        self.wait_property(DISK, "Driver", "")


READ_ONLY, READ_WRITE, PATH_ONLY = "02100000", "02100002", "012000000"


class Programs(UsesTest):
    """Programs that drive the network card without VFIO."""

    def add_file(self, function, name):
        with open(function.path(name), "w", encoding="utf-8"):
            pass
        return function.path(name)

    def test_a_bar_and_configuration_space(self):
        bar, config = self.add_file(self.nic, "resource0"), self.nic.path("config")
        self.host.add_program(4711, "flash tool", d3=(bar, READ_WRITE), d4=(bar, READ_WRITE), d5=(config, READ_WRITE))
        self.host.add_program(4712, "lspci", d3=(config, READ_ONLY))
        self.start()
        texts = ["its BAR resource0 is open in flash tool (pid 4711)",
                 "its configuration space (config) is open for writing in flash tool (pid 4711)"]
        vb.wait_until(lambda: sorted(self.uses(NIC)) == texts, None, "both uses")
        for operation in TAKING:
            with self.subTest(operation):
                self.assertIn(("host", NIC), self.blockers(NIC, operation))
        for method in ("Unbind", "Reset"):
            self.assertIn("flash tool (pid 4711)", self.refused(NIC, method))
        self.assertEqual(self.blockers(OTHER, "unbind"), [])
        self.host.end_program(4711)
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Unbind")
        self.wait_property(NIC, "Driver", "")

    def test_it_is_told_when_it_is_opened(self):
        """No operation asks: the open alone makes the daemon look."""
        bar = self.add_file(self.nic, "resource2_wc")
        self.start()
        self.wait_uses(NIC)
        self.host.add_program(4711, "testpmd", uid=1000, d9=(bar, READ_WRITE))
        with open(bar, encoding="utf-8"):
            self.wait_uses(NIC, "its BAR resource2_wc is open in testpmd (pid 4711)")
        self.host.end_program(4711)
        with open(bar, encoding="utf-8"):
            pass
        self.wait_uses(NIC)

    def test_a_uio_device_by_its_number(self):
        node = os.path.join(self.directory, "uio7")
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(240, 77))
        os.makedirs(self.nic.path("uio/uio7"))
        os.makedirs(self.sysfs.path("dev/char"), exist_ok=True)
        os.symlink(self.nic.path("uio/uio7"), self.sysfs.path("dev/char/240:77"))
        self.host.add_program(4711, "dpdk-testpmd", uid=1000, d5=(node, READ_WRITE))
        self.start()
        self.assertIn("its device uio7 is open in dpdk-testpmd (pid 4711)", self.refused(NIC, "Reset"))

    def test_what_a_tenant_can_make_look_so(self):
        """Files of other names and kinds, and descriptors that hold nothing, are in nobody's way."""
        folder = os.path.join(self.directory, NIC)
        os.makedirs(folder)
        own = [os.path.join(folder, name) for name in ("resource0", "config", "uio7")]
        for path in own:
            with open(path, "w", encoding="utf-8"):
                pass
        bar = self.add_file(self.nic, "resource0")
        self.host.add_program(4711, "sh", uid=1000, d3=(bar, PATH_ONLY), d4=(own[2], READ_WRITE),
                              d5=("/nowhere/uio0", READ_WRITE), d6=(self.add_file(self.nic, "resource"), READ_WRITE))
        self.start()
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
        self.assertEqual(self.uses(NIC), [])


if __name__ == "__main__":
    fixtures.main()
