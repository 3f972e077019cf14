#!/usr/bin/python3
"""What the host itself does with functions: seen, named, and taken only from who says so."""

import errno
import json
import mmap
import os
import stat
import subprocess
import sys

from gi.repository import GLib

import fixtures
import vfwarden_bus as vb

BRIDGE = 0x060400
ROOT, DISK, NIC, PF, OTHER = "0000:00:02.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0"
GUEST = "0000:05:00.0"
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

    def test_a_tenant_with_very_many_mounts(self):
        """They are not read to the end, and that is reported; others' are, and the host's."""
        many = [("240:1", "ext4", "/dev/nvme7n1p1", "/bind")] * 70_000
        last = ("240:5", "ext4", "/dev/nvme8n1", "/last")
        self.add_block(self.other, "nvme/nvme8/nvme8n1", "240:5")
        self.host.set_mounts()
        self.host.add_process(4711, uid=1000)
        self.host.set_mounts(*many, last, pid=4711)
        self.start()
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")
        self.assertIn("is mounted on /bind", self.refused(DISK, "Unbind"))
        problem, = self.client.manager_property("Problems")
        self.assertIn("user 1000 has more mounts than are read", problem)
        for pid, uid in ((4712, 1001), (4713, 0)):
            self.host.add_process(pid, uid=uid)
            self.host.set_mounts(last, pid=pid)
            self.assertIn("is mounted on /last", self.refused(OTHER, "Reset"))
            self.host.set_mounts(pid=pid)
        self.host.set_mounts(pid=4711)
        self.client.bus.call(vb.function_path(DISK), vb.FUNCTION, "Reset")
        self.assertEqual(self.client.manager_property("Problems"), [])

    def test_roots_mounts_are_read_to_the_end(self):
        self.host.set_mounts()
        self.host.add_process(4711)
        self.host.set_mounts(*[("0:5", "tmpfs", "tmpfs", "/bind")] * 70_000,
                             ("240:1", "ext4", "/dev/nvme7n1p1", "/last"), pid=4711)
        self.start()
        self.assertIn("is mounted on /last", self.refused(DISK, "Unbind"))

    def test_a_device_that_cannot_be_found(self):
        """For lack of memory: whether it is of the disk is not known."""
        self.host.set_mounts()
        self.host.add_process(4711)
        faults = self.start_faults()
        self.start()
        for call, path in (("open", "*/sys/fs/btrfs"), ("readdir", "*/sys/fs/ext4")):
            with self.subTest(path):
                os.makedirs(self.sysfs.path(path.removeprefix("*/sys/")), exist_ok=True)
                faults.set((call, errno.ENOMEM, path))
                self.assertIn("its block devices cannot be looked at", self.refused(OTHER, "Reset"))
                faults.clear()
                self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")

    def test_a_file_system_that_no_process_sees(self):
        self.host.set_mounts()
        os.makedirs(self.sysfs.path("fs/ext4/features"))
        self.start()
        self.assertEqual(self.blockers(DISK, "unbind"), [])
        os.makedirs(self.sysfs.path("fs/ext4/nvme7n1p1"))
        self.assertIn("its block device nvme7n1p1 is mounted on a place that cannot be seen", self.refused(DISK, "Unbind"))
        self.host.set_mounts(("240:1", "ext4", "/dev/nvme7n1p1", "/srv/data"))
        self.refused(DISK, "Unbind")
        self.wait_uses(DISK, MOUNTED)

    def test_what_a_tenant_can_call_a_mount(self):
        """In namespaces of its own, or by FUSE: the source is any text."""
        self.host.set_mounts(("0:80", "fuse.evil", "/dev/nvme7n1", "/home/evil/a"))
        self.host.add_process(4711)
        self.host.set_mounts(("0:81", "tmpfs", "/dev/nvme7n1p1", "/mnt"), pid=4711)
        self.start()
        self.client.bus.call(vb.function_path(DISK), vb.FUNCTION, "Reset")
        self.assertEqual(self.uses(DISK), [])

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

    def test_storage_of_usb(self):
        """The function is the controller's, whatever is between."""
        self.add_block(self.nic, "usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sdq", "240:50")
        self.host.set_mounts(("240:50", "vfat", "/dev/sdq", "/media/stick"))
        self.start()
        self.assertIn("its block device sdq is mounted on /media/stick", self.refused(NIC, "Unbind"))

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

    def test_an_rdma_device_in_another_network_namespace(self):
        os.makedirs(self.vf.path("infiniband"))
        os.makedirs(self.pf.vfs[0].path("infiniband/mlx5_7"))
        self.start()
        self.assertIn("its RDMA device is in another network namespace", self.refused(self.vf.address, "Unbind"))
        self.assertEqual(self.blockers(self.pf.vfs[0].address, "unbind"), [], "its RDMA device is here")
        self.assertEqual(self.blockers(PF, "set-num-vfs"), [("host", self.vf.address)])

    def test_packet_sockets(self):
        """By the number of the interface; of those whose process is not found, by the user's number."""
        self.add_interface(self.nic, "lo")
        os.makedirs(self.sysfs.path("class/net"))
        os.symlink(self.nic.path("net/lo"), self.sysfs.path("class/net/lo"))
        self.host.add_program(4711, "dhclient", d5=("socket:[7001]", "02"), d6=("socket:[7002]", "02"))
        self.host.set_packet_sockets((1, 0, 7001), (1, 0, 7002), (1, 1000, 7003), (0, 0, 7004), (99999, 0, 7005))
        self.start()
        self.assertIn("its network interface lo has a packet socket of ", self.refused(NIC, "Unbind"))
        texts = ["its network interface lo has a packet socket of a process of uid 1000",
                 "its network interface lo has a packet socket of dhclient (pid 4711)"]

        def told():     # the interface may be up, too
            return sorted(text for text in self.uses(NIC) if "packet" in text)
        vb.wait_until(lambda: told() == texts, None, lambda: f"{texts}, are {self.uses(NIC)}")
        self.assertEqual(self.blockers(OTHER, "unbind"), [])
        self.host.set_packet_sockets()
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")     # it has the daemon look
        self.assertEqual(told(), [])

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


    def test_a_helper_that_need_not_answer(self):
        """Nothing waits for the network and the storage of a function that has no driver of the host."""
        port = self.sysfs.add("0000:00:03.0", class_code=BRIDGE, driver="pcieport")
        self.sysfs.add(GUEST, parent=port, driver="vfio-pci")
        self.start()
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")     # all have looked
        helpers = [self.helpers(name) for name in ("vfwarden-net", "vfwarden-disks")]
        for pid, in helpers:
            os.kill(pid, 19)    # SIGSTOP
        self.client.bus.call(vb.function_path(GUEST), vb.FUNCTION, "Reset")
        self.assertEqual([self.helpers(name) for name in ("vfwarden-net", "vfwarden-disks")], helpers)
        self.assertIn("may be used by the host", self.refused(OTHER, "Reset"))


READ_ONLY, READ_WRITE, PATH_ONLY = "02100000", "02100002", "012000000"


# A thread leaves the table of descriptors that the first one has.
OWN_TABLE = """
import ctypes, os, signal, sys, threading
def stay():
    ctypes.CDLL(None).unshare(0x400)    # CLONE_FILES
    fd = os.open(sys.argv[2], os.O_RDWR)
    print("opened", flush=True)
    signal.pause()
copied = os.open(sys.argv[1], os.O_RDWR)
threading.Thread(target=stay).start()
"""


# Its first thread ends, and another one keeps what is open, or mapped.
THREAD = """
import ctypes, mmap, os, signal, sys, threading, time
def stay():
    while "State:\\tZ" not in open(f"/proc/{os.getpid()}/status").read():
        time.sleep(0.01)
    print("ended", flush=True)
    signal.pause()
fd = os.open(sys.argv[2], os.O_RDWR)
if sys.argv[1] == "mapped":
    mapped = mmap.mmap(fd, mmap.PAGESIZE)
    os.closerange(fd, fd + 8)   # the mapping's own copy, too
threading.Thread(target=stay).start()
ctypes.CDLL(None).pthread_exit(None)
"""


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

    def test_a_lack_of_watches(self):
        """It is a problem, and the use is seen all the same; and the watch is made when that is possible."""
        bar = self.add_file(self.nic, "resource0")
        faults = self.start_faults()
        faults.set(("watch", errno.ENOSPC, "*/resource0"))
        self.start()
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")     # it has the daemon look
        problem, = self.client.manager_property("Problems")
        self.assertIn("too few inotify watches", problem)
        self.host.add_program(4711, "testpmd", d9=(bar, READ_WRITE))
        self.wait_uses(NIC, "its BAR resource0 is open in testpmd (pid 4711)")
        faults.clear()
        vb.wait_until(lambda: self.client.manager_property("Problems") == [], None, "no problem")

    def test_a_lack_of_inotify(self):
        """Other processes of root's have used it up: the same."""
        bar = self.add_file(self.nic, "resource0")
        self.sysfs.add(GUEST, driver="vfio-pci")
        faults = self.start_faults()
        faults.set(("inotify", errno.EMFILE, "vfwarden-progs"))
        self.start()
        for address in (OTHER, GUEST):
            self.client.bus.call(vb.function_path(address), vb.FUNCTION, "Reset")
        problem, = self.client.manager_property("Problems")
        self.assertIn("too few inotify instances (fs.inotify.max_user_instances)", problem)
        self.host.add_program(4711, "testpmd", d9=(bar, READ_WRITE))
        self.wait_uses(NIC, "its BAR resource0 is open in testpmd (pid 4711)")
        self.host.end_program(4711)
        faults.clear()
        vb.wait_until(lambda: self.client.manager_property("Problems") == [], None, "no problem")
        self.wait_uses(NIC)
        self.host.add_program(4712, "testpmd", uid=1000, d9=(bar, READ_WRITE))
        with open(bar, encoding="utf-8"):
            self.wait_uses(NIC, "its BAR resource0 is open in testpmd (pid 4712)")

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

    def test_a_bar_that_is_mapped_alone(self):
        """The program has closed the file; and files of others that are called so are none."""
        bar = self.add_file(self.nic, "resource0")
        stranger = os.path.join(self.directory, NIC, "resource0")
        os.makedirs(os.path.dirname(stranger))
        with open(stranger, "w", encoding="utf-8"):
            pass
        self.host.add_program(4711, "flash")
        self.host.set_maps(4711, bar, bar)
        self.host.add_program(4712, "other", d3=(bar, READ_WRITE))
        self.host.set_maps(4712, bar)
        self.start()
        self.assertIn("flash (pid 4711)", self.refused(NIC, "Reset"))
        self.assertEqual(sorted(self.uses(NIC)), ["its BAR resource0 is mapped by flash (pid 4711)",
                                                  "its BAR resource0 is open in other (pid 4712)"])
        self.host.end_program(4712)
        self.sysfs.unbind(self.nic)
        self.wait_property(NIC, "Driver", "")
        self.assertIn("is mapped by flash", self.refused(NIC, "Reset"), "without a driver, too")
        self.host.end_program(4711)     # no event tells of it
        self.wait_uses(NIC)
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")

    def test_a_bar_whatever_the_driver_is(self):
        """Sysfs has the BARs of a function on VFIO, too; what a VMM has by VFIO's own file is no such use."""
        bar = self.add_file(self.nic, "resource0")
        self.start()
        self.sysfs.rebind(self.nic, "vfio-pci")
        self.wait_property(NIC, "Driver", "vfio-pci")
        self.host.add_program(4711, "flash", d3=(bar, READ_WRITE))
        self.host.add_program(4712, "flash2")
        self.host.set_maps(4712, bar)
        for method in ("Reset", "Unbind"):
            words = self.refused(NIC, method)
            self.assertIn("its BAR resource0 is open in flash (pid 4711)", words)
            self.assertIn("its BAR resource0 is mapped by flash2 (pid 4712)", words)
        self.assertIn(("host", NIC), self.blockers(NIC, "reset"))
        self.host.end_program(4711)
        self.host.end_program(4712)
        self.host.add_program(4713, "qemu", d3=("anon_inode:[vfio-device]", READ_WRITE))
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
        self.assertEqual(self.uses(NIC), [])

    def test_a_function_without_a_driver(self):
        """No event reports a mapping: the operation looks by itself."""
        address = "0000:05:00.0"
        bar = self.add_file(self.sysfs.add(address), "resource0")
        self.start()
        self.assertEqual(self.blockers(address, "reset"), [])
        self.host.add_program(4711, "flash")
        self.host.set_maps(4711, bar)
        self.assertIn("its BAR resource0 is mapped by flash (pid 4711)", self.refused(address, "Reset"))
        self.host.end_program(4711)
        self.client.bus.call(vb.function_path(address), vb.FUNCTION, "Reset")

    def start_thread(self, program, expected, *arguments):
        """A real process, which the daemon's procfs has, too."""
        process = subprocess.Popen([sys.executable, "-c", program, *arguments],     # pylint: disable=consider-using-with
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), f"{expected}\n")
        os.symlink(f"/proc/{process.pid}", os.path.join(self.host.path, str(process.pid)))
        return process

    def test_a_process_whose_first_thread_has_ended(self):
        """/proc/PID/fd and maps are empty then; other threads have all still."""
        bar = self.add_file(self.nic, "resource0")
        os.truncate(bar, mmap.PAGESIZE)
        self.start()
        for how in ("open", "mapped"):
            process = self.start_thread(THREAD, "ended", how, bar)
            words = "is open in" if how == "open" else "is mapped by"
            with self.subTest(how):
                self.assertIn(f"its BAR resource0 {words} ", self.refused(NIC, "Reset"))
                self.assertIn(f"(pid {process.pid})", self.refused(NIC, "Reset"))
            process.kill()
            process.wait()
            self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
            os.unlink(os.path.join(self.host.path, str(process.pid)))

    def test_a_thread_with_a_table_of_its_own(self):
        """/proc/PID/fd does not have what it opens; what it took along is reported once."""
        bar, other = self.add_file(self.nic, "resource0"), self.add_file(self.nic, "resource2")
        self.start()
        process = self.start_thread(OWN_TABLE, "opened", other, bar)
        self.assertIn("its BAR resource0 is open in ", self.refused(NIC, "Reset"))
        self.assertEqual(sum(use.count("resource2") for use in self.uses(NIC)), 1)
        process.kill()
        process.wait()
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")

    def add_proc_file(self, name):
        """Of the host's procfs, which is at process 1's root."""
        path = os.path.join(self.host.path, "1/root/proc/bus/pci", name)
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="utf-8"):
            pass
        return path

    def test_a_descriptor_that_cannot_be_read(self):
        """It may be a BAR."""
        bar = self.add_file(self.nic, "resource0")
        faults = self.start_faults()
        self.host.add_program(4711, "flash", d3=(bar, READ_WRITE))
        self.start()
        faults.set(("readlink", errno.ENOMEM, "*/4711/fd/3"))
        self.assertIn("cannot be looked at", self.refused(OTHER, "Reset"))
        faults.clear()
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")
        self.refused(NIC, "Reset")

    def test_configuration_space_and_bars_by_proc(self):
        path = self.add_proc_file("02/00.0")
        self.start()
        self.host.add_program(4711, "lspci", d3=(path, READ_ONLY))
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
        self.host.add_program(4712, "setpci", d3=(path, READ_WRITE))
        self.assertIn("its configuration space (/proc/bus/pci/02/00.0) is open for writing in setpci (pid 4712)",
                      self.refused(NIC, "Reset"))
        self.host.end_program(4712)
        self.host.add_program(4713, "flash")
        self.host.set_maps(4713, path)
        self.assertIn("its BAR in /proc/bus/pci is mapped by flash (pid 4713)", self.refused(NIC, "Reset"))
        self.host.end_program(4713)
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")

    def test_a_uio_device_that_is_mapped_alone(self):
        node = os.path.join(self.directory, "uio7")
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(240, 77))
        os.makedirs(self.nic.path("uio/uio7"))
        os.makedirs(self.sysfs.path("dev/char"), exist_ok=True)
        os.symlink(self.nic.path("uio/uio7"), self.sysfs.path("dev/char/240:77"))
        self.host.add_program(4711, "dpdk")
        self.host.set_maps(4711, node)
        os.makedirs(os.path.join(self.host.path, "4711/map_files"))
        os.symlink(node, os.path.join(self.host.path, "4711/map_files/7f0000000000-7f0000001000"))
        self.start()
        self.assertIn("its device uio7 is open in dpdk (pid 4711)", self.refused(NIC, "Reset"))
        self.host.end_program(4711)
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")

    def test_all_files_of_a_program_of_root(self):
        """One program drives more functions than are reported of a tenant's."""
        nics = [self.sysfs.add(f"0000:30:{n // 8:02x}.{n % 8}", driver="e1000e") for n in range(72)]
        bars = {f"d{3 + n}": (self.add_file(nic, "resource0"), READ_WRITE) for n, nic in enumerate(nics)}
        self.host.add_program(4711, "dpdk", **bars)
        self.start()
        for nic in nics:
            vb.wait_until(lambda: self.uses(nic.address) == ["its BAR resource0 is open in dpdk (pid 4711)"], None,
                          f"the use of {nic.address}")

    def test_a_tenant_with_very_many_mappings(self):
        """They are not read to the end; others' are."""
        bar = self.add_file(self.nic, "resource0")
        for pid, uid in ((4711, 1000), (4712, 1001), (4713, 0)):
            self.host.add_program(pid, f"user{uid}", uid=uid)
            self.host.set_maps(pid, bar)
        maps = os.path.join(self.host.path, "4711/maps")
        with open(maps, "rb") as file:
            end = file.read()
        with open(maps, "wb") as file:
            file.write((b"x" * 99 + b"\n") * 400_000 + end)
        self.start()
        self.refused(NIC, "Reset")
        self.assertEqual(sorted(self.uses(NIC)), ["its BAR resource0 is mapped by user0 (pid 4713)",
                                                  "its BAR resource0 is mapped by user1001 (pid 4712)"])

    def test_a_process_whose_memory_cannot_be_read(self):
        """A tenant's hides only itself; root's counts as a user of all that drivers of the host have."""
        bar = self.add_file(self.nic, "resource0")
        guest_bar = self.add_file(self.sysfs.add(GUEST, driver="vfio-pci"), "resource0")
        for pid, uid in ((4711, 1000), (4712, 0)):
            self.host.add_program(pid, "sh", uid=uid)
            os.mkfifo(os.path.join(self.host.path, str(pid), "maps"))   # an open waits for a writer
            if uid == 1000:
                self.start()
                self.host.add_program(5000, "late")
                self.host.set_maps(5000, bar)
                self.assertIn("is mapped by late", self.refused(NIC, "Reset"))
                self.host.end_program(5000)
                self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
        hidden = "a process of root does not let its mappings be read"
        self.assertIn(f"its programs cannot be looked at: {hidden}", self.refused(NIC, "Reset"))
        self.client.bus.call(vb.function_path(GUEST), vb.FUNCTION, "Reset")
        self.assertEqual(sorted(self.client.manager_property("Problems")), [
            "Failed to look at all of the host's programs: process 4712 of root does not let its mappings be read",
            f"Failed to look at the host's programs: {hidden}; all functions with a driver of the host count as used"])
        self.host.add_program(5001, "flash", d3=(guest_bar, READ_WRITE))
        self.assertIn("is open in flash (pid 5001)", self.refused(GUEST, "Reset"), "what is seen all the same")
        self.host.end_program(5001)
        self.client.bus.call(vb.function_path(GUEST), vb.FUNCTION, "Reset")
        self.host.end_program(4712)
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
        self.assertEqual(self.client.manager_property("Problems"), [])

    def test_processes_whose_readers_do_not_end(self):
        """SIGKILL does not end who waits for a tenant's file system. A few are risked, and hide nobody else."""
        with open(os.path.join(self.sysfs.root, "deathless"), "w", encoding="ascii"):
            pass
        self.preload.append(os.environ["VFWARDEN_DEATHLESS"])
        bar = self.add_file(self.nic, "resource0")
        for pid in range(4711, 4717):
            self.host.add_program(pid, "sh", uid=1000)
            os.mkfifo(os.path.join(self.host.path, str(pid), "maps"))
        self.host.add_program(5000, "tenant", uid=1001)
        self.host.set_maps(5000, bar)
        self.start()
        self.wait_uses(NIC, "its BAR resource0 is mapped by tenant (pid 5000)")
        helper, = self.helpers("vfwarden-progs")
        for _ in range(4):
            self.assertIn("is mapped by tenant", self.refused(NIC, "Reset"))
            self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")
            vb.wait_until(lambda: len(fixtures.children(helper, "vfwarden-progs")) == 2, None, "two that do not end")
        self.assertEqual(self.client.manager_property("Problems"), [])
        self.assertEqual(self.helpers("vfwarden-progs"), [helper])
        os.unlink(os.path.join(self.sysfs.root, "deathless"))

    def test_a_lack_of_descriptors_hides_nothing(self):
        """What cannot be read for that may be a use, also a tenant's."""
        faults = self.start_faults()
        bar = self.add_file(self.nic, "resource0")
        self.host.add_program(4711, "flash")
        self.host.set_maps(4711, bar)
        self.host.add_program(4712, "tenant", uid=1000, d3=(bar, READ_WRITE))
        self.host.set_maps(4712, bar)
        self.start()
        for path in ("4711/maps", "4712/maps", "4712/fdinfo/3"):
            with self.subTest(path):
                faults.set(("open", errno.EMFILE, f"*/{path}"))
                self.assertIn("its programs cannot be looked at", self.refused(OTHER, "Reset"))
                faults.clear()
        self.assertIn("is mapped by flash", self.refused(NIC, "Reset"))
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")


class Nodes(UsesTest):
    """Programs that have device nodes of a function open."""

    def add_node(self, function, path, minor, subsystem, block=False):
        """A node of a device in sysfs, below a function or (None) in the whole tree."""
        name = os.path.basename(path)
        node = os.path.join(self.directory, name)
        os.mknod(node, 0o600 | (stat.S_IFBLK if block else stat.S_IFCHR), os.makedev(240, minor))
        directory = function.path(path) if function else self.sysfs.path(path)
        os.makedirs(directory, exist_ok=True)
        for folder in (f"class/{subsystem}", "dev/char"):
            os.makedirs(self.sysfs.path(folder), exist_ok=True)
        os.symlink(self.sysfs.path("class", subsystem), os.path.join(directory, "subsystem"))
        if not block:
            os.symlink(directory, self.sysfs.path("dev/char", f"240:{minor}"))
        return node

    def warnings(self, address, operation):
        return [text for text in self.client.check(address, operation)[2] if "is open in" in text]

    def test_what_stands_against(self):
        """A disk that a program reads, a controller, a tape, RDMA, vDPA: not taken from it."""
        block = os.path.join(self.directory, "nvme7n1")
        os.mknod(block, 0o600 | stat.S_IFBLK, os.makedev(240, 0))
        cells = ((DISK, "its block device nvme7n1", block),
                 (DISK, "its storage device nvme7", self.add_node(self.disk, "nvme/nvme7", 100, "nvme")),
                 (DISK, "its storage device ng7n1", self.add_node(self.disk, "nvme/nvme7/ng7n1", 101, "nvme-generic")),
                 (OTHER, "its storage device sg3", self.add_node(self.other, "host3/target3:0:0/3:0:0:0/scsi_generic/sg3", 102,
                                                                 "scsi_generic")),
                 (OTHER, "its storage device nst0", self.add_node(self.other, "host3/target3:0:1/3:0:1:0/scsi_tape/nst0", 103,
                                                                  "scsi_tape")),
                 (NIC, "its RDMA device uverbs0", self.add_node(self.nic, "infiniband_verbs/uverbs0", 104,
                                                                "infiniband_verbs")),
                 (self.vf.address, "its vDPA device vhost-vdpa-0", self.add_node(self.vf, "vdpa0/vhost-vdpa-0", 105,
                                                                                 "vhost-vdpa")))
        self.start()
        for address, words, node in cells:
            with self.subTest(words):
                self.assertEqual(self.uses(address), [])
                self.host.add_program(4711, "program", d3=(node, READ_WRITE))
                self.assertIn(f"{words} is open in program (pid 4711)", self.refused(address, "Unbind"))
                for operation in TAKING:
                    self.assertIn(("host", address), self.blockers(address, operation))
                self.host.end_program(4711)
                self.wait_uses(address)     # no event tells of it
        self.assertEqual(self.blockers(PF, "set-num-vfs"), [])

    def test_what_is_a_warning(self):
        cells = (("its graphics device card0", "drm/card0", "drm"), ("its graphics device fb0", "graphics/fb0", "graphics"),
                 ("its sound device pcmC0D0p", "sound/card0/pcmC0D0p", "sound"), ("its terminal ttyS4", "tty/ttyS4", "tty"),
                 ("its input device event3", "usb1/1-1/input/input7/event3", "input"),
                 ("its device mei0", "mei/mei0", "mei"))
        self.start()
        nodes = {}
        for minor, (words, path, subsystem) in enumerate(cells, 120):
            nodes[f"d{minor}"] = (self.add_node(self.nic, path, minor, subsystem), READ_WRITE)
        self.host.add_program(4711, "desktop", **nodes)
        self.host.add_program(4712, "lister", d3=(nodes["d120"][0], PATH_ONLY))
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
        expected = sorted(f"{words} is open in desktop (pid 4711)" for words, _, _ in cells)
        vb.wait_until(lambda: sorted(self.uses(NIC)) == expected, None, lambda: f"{expected}, are {self.uses(NIC)}")
        self.assertEqual(self.blockers(NIC, "unbind"), [])
        self.assertEqual(len(self.warnings(NIC, "unbind")), len(cells))
        self.assertIn(f"{NIC}: its sound device pcmC0D0p is open in desktop (pid 4711): the program loses its sound",
                      self.warnings(NIC, "unbind"))
        self.assertEqual(self.warnings(NIC, "open"), [])

    def test_it_is_told_when_it_is_opened(self):
        """In folders of the host's /dev that have device nodes only."""
        folder = os.path.join(self.host.path, "1/root/dev/dri")
        os.makedirs(folder)
        with open(os.path.join(folder, "card0"), "w", encoding="utf-8"):
            pass
        node = self.add_node(self.nic, "drm/card0", 140, "drm")
        self.start()
        self.wait_uses(NIC)
        self.host.add_program(4711, "desktop", d3=(node, READ_WRITE))
        with open(os.path.join(folder, "card0"), encoding="utf-8"):
            self.wait_uses(NIC, "its graphics device card0 is open in desktop (pid 4711)")

    def test_warnings_hide_nothing_that_stands(self):
        """More processes of a tenant than uses are kept have a node open, since before and after the one that matters."""
        render = self.add_node(self.nic, "drm/renderD128", 150, "drm")
        rdma = self.add_node(self.nic, "infiniband_verbs/uverbs0", 151, "infiniband_verbs")
        self.start()
        self.host.add_program(3000, "verbs", d3=(rdma, READ_WRITE))
        for pid in range(4000, 4070):
            self.host.add_program(pid, "game", uid=1000, d3=(render, READ_WRITE))
        for pid in (3000, 5000):
            words = f"its RDMA device uverbs0 is open in verbs (pid {pid})"
            self.assertIn(words, self.refused(NIC, "Reset"))
            self.assertIn(words, self.uses(NIC))
            self.host.end_program(pid)
            if pid == 3000:
                self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")
                self.host.add_program(5000, "verbs", d3=(rdma, READ_WRITE))
        self.client.bus.call(vb.function_path(NIC), vb.FUNCTION, "Reset")

    def test_a_tenant_with_very_many_uses(self):
        """No function but that which it uses is refused, and another's use is seen."""
        self.add_node(self.nic, "infiniband_verbs/uverbs0", 152, "infiniband_verbs")
        names = [os.path.join(self.directory, f"name{number}") for number in range(64)]
        for name in names:      # of one device; each counts as another file
            os.mknod(name, 0o600 | stat.S_IFCHR, os.makedev(240, 152))
        rdma = self.add_node(self.vf, "infiniband_verbs/uverbs1", 153, "infiniband_verbs")
        many = {f"d{number}": (name, READ_WRITE) for number, name in enumerate(names, 3)}
        for pid in range(4000, 4260):
            self.host.add_program(pid, "tenant", uid=1000, **many)
        self.start()
        self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")
        self.assertIn("its RDMA device uverbs0 is open in tenant", self.refused(NIC, "Reset"))
        self.host.add_program(3000, "other", d3=(rdma, READ_WRITE))
        self.assertIn("is open in other (pid 3000)", self.refused(self.vf.address, "Reset"))
        self.assertEqual(self.client.manager_property("Problems"), [])

    def test_a_mediated_device(self):
        """By its group, and by its own node; VFIO's device nodes of the function itself have users instead."""
        mdev = self.nic.path("0b5fd3fb-3b37-4b0e-a7f2-5a8a3a8c9a1b")
        os.makedirs(mdev)
        os.makedirs(self.sysfs.path("kernel/iommu_groups/77/devices"))
        os.symlink(mdev, self.sysfs.path("kernel/iommu_groups/77/devices", os.path.basename(mdev)))
        group = self.add_node(None, "devices/virtual/vfio/77", 130, "vfio")
        own = self.add_node(self.nic, f"{os.path.basename(mdev)}/vfio-dev/vfio5", 131, "vfio-dev")
        functions = self.add_node(self.other, "vfio-dev/vfio6", 132, "vfio-dev")
        self.start()
        for node in (group, own):
            self.host.add_program(4711, "qemu", d3=(node, READ_WRITE))
            self.assertIn(f"its mediated device {os.path.basename(node)} is open in qemu (pid 4711)",
                          self.refused(NIC, "Unbind"))
            self.host.end_program(4711)
        self.host.add_program(4711, "qemu", d3=(functions, READ_WRITE))
        self.assertIn("in use by", self.refused(OTHER, "Reset"))
        self.assertEqual(self.uses(OTHER), [])


class Claims(UsesTest):
    """Disks that the kernel uses, and sysfs names no holder."""

    def write(self, path, text):
        path = self.sysfs.path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def test_targets_and_loop_devices(self):
        self.start()
        for path, by in (("block/loop5/loop/backing_file", "the loop device loop5"),
                         ("kernel/config/nvmet/subsystems/nqn.2026/namespaces/1/device_path", "the NVMe target nqn.2026"),
                         ("kernel/config/target/core/iblock_0/disk1/udev_path", "the SCSI target disk1"),
                         ("block/zram3/backing_dev", "the compressed memory zram3")):
            self.write(path, "/dev/nvme7n1\n")
            with self.subTest(by):
                self.assertIn(f"its block device nvme7n1 is part of {by}", self.refused(DISK, "Unbind"))
        self.write("block/loop6/loop/backing_file", "/srv/image\n")
        self.write("block/zram3/backing_dev", "none\n")
        self.assertEqual(self.blockers(OTHER, "unbind"), [])

    def test_a_target_that_passes_a_whole_controller_on(self):
        os.makedirs(os.path.join(self.host.path, "1/root/dev"))
        os.mknod(os.path.join(self.host.path, "1/root/dev/nvme7"), 0o600 | stat.S_IFCHR, os.makedev(240, 7))
        for folder, name in (("dev/char", "240:7"), ("class/nvme", "nvme7")):
            os.makedirs(self.sysfs.path(folder), exist_ok=True)
            os.symlink(self.disk.path("nvme/nvme7"), self.sysfs.path(folder, name))
        self.start()
        self.assertEqual(self.blockers(DISK, "unbind"), [])
        self.write("kernel/config/nvmet/subsystems/nqn.2026/passthru/device_path", "/dev/nvme7\n")
        self.assertIn("its block device nvme7 is part of the NVMe target nqn.2026", self.refused(DISK, "Unbind"))

    def test_file_systems_on_several_devices(self):
        """And with a log, or a journal, on another device than their own."""
        self.start()
        for mount in (("0:99", "bcachefs", "/dev/sdz:/dev/nvme7n1p1", "/srv/data"),
                      ("8:1", "xfs", "/dev/sdz", "/srv/data", "rw,attr2,logdev=/dev/nvme7n1p1,noquota"),
                      ("8:1", "xfs", "/dev/sdz", "/srv/data", "rw,rtdev=/dev/nvme7n1p1")):
            self.host.set_mounts(mount)
            with self.subTest(mount):
                self.assertIn(MOUNTED, self.refused(DISK, "Unbind"))
        self.host.set_mounts(("8:1", "ext4", "/dev/sdz", "/srv/data", "rw,logdev=/dev/nvme7n1p1"))
        for path, expected in (("1/root/proc/fs/jbd2/nvme7n1p1-8", []), ("1/root/proc/fs/jbd2/nvme7n1p1", [("host", DISK)])):
            os.makedirs(os.path.join(self.host.path, path))
            self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")     # it has the daemon look
            self.assertEqual(self.blockers(DISK, "unbind"), expected)
        self.assertIn("is part of a file system, as its journal", self.refused(DISK, "Unbind"))

    def test_a_file_system_of_bcachefs_that_no_process_sees(self):
        os.makedirs(self.sysfs.path("fs/bcachefs/4711/dev-1"))
        os.symlink(self.disk.path("nvme/nvme7/nvme7n1/nvme7n1p1"), self.sysfs.path("fs/bcachefs/4711/dev-1/block"))
        self.start()
        self.assertIn("its block device nvme7n1p1 is mounted on a place that cannot be seen", self.refused(DISK, "Unbind"))

    def test_links(self):
        """By udev's, LVM's or anybody's links, and by nodes elsewhere."""
        self.start()
        root = os.path.join(self.host.path, "1/root")
        for folder in ("dev/disk/by-id", "dev/vg", "dev/shm", "srv"):
            os.makedirs(os.path.join(root, folder))
        os.mknod(os.path.join(root, "dev/nvme7n1"), 0o600 | stat.S_IFBLK, os.makedev(240, 0))
        os.mknod(os.path.join(root, "srv/node"), 0o600 | stat.S_IFBLK, os.makedev(240, 1))
        for link, target in (("dev/disk/by-id/nvme-one", "../../nvme7n1"), ("dev/vg/disk", "../nvme7n1"),
                             ("dev/absolute", "/dev/disk/by-id/nvme-one"), ("srv/link", "/dev/nvme7n1"),
                             ("dev/shm/nvme9n9", "/dev/nvme7n1")):
            os.symlink(target, os.path.join(root, link))
        path = "kernel/config/nvmet/subsystems/nqn.2026/namespaces/1/device_path"
        for device, name in (("/dev/disk/by-id/nvme-one", "nvme7n1"), ("/dev/vg/disk", "nvme7n1"), ("/dev/absolute", "nvme7n1"),
                             ("/srv/link", "nvme7n1"), ("/srv/node", "nvme7n1p1")):
            self.write(path, f"{device}\n")
            with self.subTest(device):
                self.assertIn(f"its block device {name} is part of the NVMe target nqn.2026", self.refused(DISK, "Unbind"))
        self.write(path, "/srv/gone\n")
        # udisks makes loop devices for users, of what they like; a node of root's is one, a link is none.
        for device, expected in (("/dev/shm/nvme9n9", []), ("/srv/link", []), ("/dev/disk/by-id/nvme-one", []),
                                 ("/dev/nvme7n1", [("host", DISK)])):
            self.write("block/loop5/loop/backing_file", f"{device}\n")
            with self.subTest(device):
                self.client.bus.call(vb.function_path(OTHER), vb.FUNCTION, "Reset")     # it has the daemon look
                self.assertEqual(self.blockers(DISK, "unbind"), expected)

    def test_what_a_tenant_can_make_a_loop_device_of(self):
        """A file with the name of a disk, and one whose path is too long for sysfs."""
        self.start()
        for path in ("/dev/shm/nvme7n1\n", "/dev/" + "x/" * 2100 + "nvme7n1\n"):
            self.write("block/loop5/loop/backing_file", path)
            self.client.bus.call(vb.function_path(DISK), vb.FUNCTION, "Reset")
            self.assertEqual(self.uses(DISK), [])
        self.write("block/loop5/loop/backing_file", "/dev/mapper/nvme7n1\n")
        self.assertIn("is part of the loop device loop5", self.refused(DISK, "Reset"))


if __name__ == "__main__":
    fixtures.main()
