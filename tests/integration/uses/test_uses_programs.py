#!/usr/bin/python3
"""Programs that use a function without VFIO: by its configuration space, its BARs, or uio."""

import errno
import mmap
import os
import stat
import subprocess
import sys

import fixtures
from usestest import GUEST, NIC, OTHER, PATH_ONLY, READ_ONLY, READ_WRITE, TAKING, UsesTest
import vfwarden_bus as vb

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

    def test_a_file_that_only_looks_like_one(self):
        """Anybody can mount another file of sysfs on such a path."""
        self.add_file(self.nic, "resource0")
        directory = os.path.join(self.sysfs.root, "elsewhere", NIC)
        os.makedirs(directory)
        paths = [os.path.join(directory, name) for name in ("resource0", "config", "resource7")]
        for path in paths:
            with open(path, "w", encoding="utf-8"):
                pass
        self.host.add_program(4711, "tenant", d3=(paths[0], READ_WRITE), d4=(paths[1], READ_WRITE), d5=(paths[2], READ_WRITE))
        self.host.add_program(4712, "flash tool", d3=(self.nic.path("resource0"), READ_WRITE))
        self.start()
        self.wait_uses(NIC, "its BAR resource0 is open in flash tool (pid 4712)")

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
        hidden = "a process of root does not let its mappings or its threads be read"
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


if __name__ == "__main__":
    fixtures.main()
