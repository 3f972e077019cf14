#!/usr/bin/python3
"""Device nodes of a function that are open, and what the kernel itself claims: targets, loop devices, file systems."""

import os
import stat

import fixtures
from usestest import DISK, MOUNTED, NIC, OTHER, PATH_ONLY, PF, READ_WRITE, TAKING, UsesTest
import vfwarden_bus as vb


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
