#!/usr/bin/python3
"""Uses by the host itself that stand against taking a function away: disks, interfaces; and the names of these."""

import errno
import json
import os

from gi.repository import GLib

import fixtures
from usestest import BRIDGE, DISK, GUEST, MOUNTED, NIC, OTHER, PF, ROOT, TAKING, UsesTest
import vfwarden_bus as vb


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

    def check_mounted_while_an_unplug_waits(self, **options):
        """By a container, so no event reports it. A look follows when the last thing that was waited for has ended."""
        self.host.set_mounts()
        self.host.add_process(4711)
        self.host.set_mounts(pid=4711)
        self.start()
        inhibitor = self.client.delay(DISK, "unbind:remove:power-off", "agent")
        call = self.client.start_unplug(DISK, 600, **options)
        self.wait_property(DISK, "State", "unplug-requested")
        self.host.set_mounts(("240:1", "xfs", "/dev/nvme7n1p1", "/var/lib/pod"), pid=4711)
        os.close(inhibitor)
        vb.wait_until(lambda: not self.client.manager("ListInhibitors"), None, "no inhibitor")
        self.wait_uses(DISK, "its block device nvme7n1p1 is mounted on /var/lib/pod")
        self.assertFalse(call.done)
        self.assertEqual(self.kernel.writes, [])
        self.host.set_mounts(pid=4711)
        self.client.bus.call(vb.function_path(DISK), vb.FUNCTION, "Reset")     # looks again, and then it goes on
        call.result()
        self.assertIsNone(self.picture.function(DISK))

    def test_mounted_while_an_unplug_waits(self):
        self.check_mounted_while_an_unplug_waits()

    def test_mounted_while_an_unplug_that_insists_waits(self):
        self.check_mounted_while_an_unplug_waits(insist=True)

    def test_mounted_before_an_unplug_is_resumed(self):
        """An earlier run remembered it, and ended before it had begun."""
        self.start()
        inhibitor = self.client.delay(DISK, "unbind", "somebody")    # so that there is something to save
        self.kill()
        os.close(inhibitor)
        path = os.path.join(self.state_dir, "state.json")
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        inode = os.stat(os.path.realpath(self.disk.path(""))).st_ino
        state["functions"] = [{"address": DISK, "inode": format(inode, "x"), "unplugging": True, "unplug-asked": ""}]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(state, file)
        self.host.set_mounts(("240:1", "ext4", "/dev/nvme7n1p1", "/srv/data"))
        self.start()
        self.wait_uses(DISK, MOUNTED)
        vb.wait_until(lambda: f"{DISK}: Its unplug of an earlier run ends here" in self.daemon.log, None, "the end of the unplug")
        self.wait_property(DISK, "State", "present")
        self.assertEqual(self.kernel.writes, [])

    def test_an_unplug_waits_until_it_can_be_looked_at(self):
        """And no longer: its users have released it meanwhile."""
        self.start()
        inhibitor = self.client.delay(OTHER, "unbind:remove:power-off", "guest")
        call = self.client.start_unplug(OTHER, 600)
        self.wait_property(OTHER, "State", "unplug-requested")
        mounts = os.path.join(self.host.path, "1/mountinfo")
        os.unlink(mounts)
        os.symlink("mountinfo", mounts)
        self.look_again()
        self.assertTrue(self.client.manager_property("Problems"))
        os.close(inhibitor)
        vb.wait_until(lambda: not self.client.manager("ListInhibitors"), None, "no inhibitor")
        self.fence()
        self.assertFalse(call.done)
        os.unlink(mounts)
        self.host.set_mounts(("240:1", "ext4", "/dev/nvme7n1p1", "/srv/data"))
        self.look_again()
        call.result()
        self.assertIsNone(self.picture.function(OTHER))

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


if __name__ == "__main__":
    fixtures.main()
