#!/usr/bin/python3
"""What cannot be read is not gone: it stays what it was, closes what it closed, is tried again and seen to be a problem."""

import errno
import os

import fixtures
from configspace import recorded_config
import vfwarden_bus as vb
from test_lock import ALL, LockTest, SRIOV

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"
NEW = "0000:05:00.0"
AWAY = ["remove", "reset", "reset_method"]
ERRNOS = ("EMFILE", "ENFILE", "ENOMEM", "EIO", "EINTR", "EACCES")


class FaultTest(LockTest):
    def setUp(self):
        super().setUp()
        self.start_faults()

    def problems(self):
        return self.client.manager_property("Problems")

    def wait_problem(self, text):
        vb.wait_until(lambda: any(text in problem for problem in self.problems()), None,
                      lambda: f"the problem {text!r}, there are {self.problems()}")

    def wait_no_problem(self):
        vb.wait_until(lambda: not self.problems(), None,
                      lambda: f"the end of the problems {self.problems()}")

    def all_modes(self):
        return {address: self.modes(function) for address, function in self.sysfs.functions.items()}


class Facts(FaultTest):
    """Each fact of a function that is known and locked."""

    def start_world(self):
        self.pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci", driver="vfio-pci", slot="3", numa_node=1)
        self.plain = self.sysfs.add(PLAIN, driver="vfio-pci", slot="7", numa_node=1)
        os.mkdir(self.plain.path("vfio-dev"))
        self.vf = self.pf.vfs[0]
        self.start()
        for function in (self.vf, self.plain):
            function.write("enable", "1")
            self.wait_property(function.address, "InUse", True)
        self.wait_property(PF, "ClosedFiles", [*ALL, "power"])
        self.wait_property(PLAIN, "ClosedFiles", [*AWAY, "power"])
        self.assertEqual(self.problems(), [])

    # The call that fails, what it fails on, and of which function that is a fact.
    ROWS = (
        ("open", "/sys/bus/pci/devices/{}", PF),
        ("open", "/sys/bus/pci/devices/{}", "VF"),
        ("open", "/sys/bus/pci/devices/{}", PLAIN),
        ("stat", "/sys/devices/*/{}", PF),
        ("stat", "/sys/devices/*/{}", "VF"),
        ("readlink", "*/{}/driver", PF),
        ("readlink", "*/{}/driver", "VF"),
        ("readlink", "*/{}/driver", PLAIN),
        ("readlink", "*/{}/iommu_group", "VF"),
        ("readlink", "*/{}/physfn", "VF"),
        ("open", "*/{}/sriov_totalvfs", PF),
        ("read", "*/{}/sriov_totalvfs", PF),
        ("read", "*/{}/sriov_drivers_autoprobe", PF),
        ("read", "*/{}/numa_node", PF),
        ("open", "/sys/devices/*/{}", PF),          # to list it
        ("readdir", "/sys/devices/*/{}", PF),
        ("readlink", "*/{}/virtfn0", PF),
        ("access", "*/{}/virtfn0", PF),
        ("access", "*/{}/vfio-dev", PLAIN),
        ("open", "*/{}/vfio-dev", PLAIN),
        ("read", "*/{}/enable", "VF"),
        ("read", "*/{}/enable", PLAIN),
    )

    def look(self):
        """All that a client can know, and what root meets."""
        self.fence()
        objects = self.client.managed_objects()
        objects.pop(vb.function_path(self.SENTINEL))
        return objects, self.all_modes()

    def test_nothing_is_forgotten(self):
        self.start_world()
        truth = self.look()
        for call, pattern, address in self.ROWS:
            if address == "VF":
                address = self.vf.address
            for name in ERRNOS:
                with self.subTest(f"{call} {pattern} {address} {name}"):
                    self.faults.set((call, getattr(errno, name), pattern.format(address)))
                    self.sysfs.change(self.sysfs[address])
                    self.wait_problem(f"{address}: ")
                    self.assertEqual(self.look(), truth)
                    self.faults.clear()
                    self.wait_no_problem()
                    self.assertEqual(self.look(), truth)

    def test_it_is_logged_once(self):
        self.start_world()
        mark = self.daemon.log_mark()
        self.faults.set(("readlink", errno.EIO, f"*/{PF}/driver"))
        for _ in range(10):
            self.sysfs.change(self.pf)
            self.fence()
        self.wait_problem(f"{PF}: Failed to read driver: Input/output error")
        self.faults.clear()
        self.daemon.wait_log("No longer so: Failed to read driver", mark)
        self.assertEqual(len(self.daemon.lines("warning: .*Failed to read driver", mark)), 1)

    def test_what_changed_meanwhile_is_found_by_itself(self):
        self.start_world()
        for call, pattern, change, prop, before, after in (
                ("readlink", "*/driver", lambda: self.sysfs.rebind(self.pf, "igb"), "Driver", "vfio-pci", "igb"),
                ("readdir", f"/sys/devices/*/{PF}", lambda: self.sysfs.rebind(self.pf, "vfio-pci"), "Driver", "igb",
                 "vfio-pci"),
                ("open", "/sys/*", lambda: self.pf.write("numa_node", 0), "NumaNode", 1, 0)):
            with self.subTest(call):
                self.assertEqual(self.picture.function(PF)[prop], before)
                self.faults.set((call, errno.EMFILE, pattern))
                change()
                self.sysfs.change(self.pf)
                self.wait_problem(f"{PF}: ")
                self.faults.clear()
                self.wait_property(PF, prop, after)
                self.wait_no_problem()

    def test_everything_at_once(self):
        # As when the daemon has no descriptor left: nothing can be opened, listed or read any more.
        self.start_world()
        truth = self.look()
        self.faults.set(("open", errno.EMFILE, "*"))
        for function in (self.pf, self.vf, self.plain):
            self.sysfs.change(function)
        for address in (PF, self.vf.address, PLAIN):
            self.wait_problem(f"{address}: Failed to read its directory: Too many open files")
        self.assertEqual(self.all_modes(), truth[1])
        self.faults.clear()
        self.wait_no_problem()
        self.assertEqual(self.look(), truth)

    def test_a_function_that_goes_meanwhile(self):
        self.start_world()
        self.faults.set(("readlink", errno.EIO, f"*/{PLAIN}/driver"))
        self.sysfs.change(self.plain)
        self.wait_problem(f"{PLAIN}: ")
        self.sysfs.remove(self.plain)
        self.wait_function(PLAIN, there=False)
        self.wait_no_problem()


class NewFunctions(FaultTest):
    def test_the_numa_node_of_vfs(self):
        """They have that of their PF's bus. One that cannot be read is none, but not the next VF's."""
        pf = self.sysfs.add_pf(NEW, numa_node=1)
        self.start()
        self.faults.set(("read", errno.EIO, f"*/{self.sysfs.vf_address(pf, 0)}/numa_node"))
        self.sysfs.enable_vfs(pf, 1)
        first = pf.vfs[0].address
        self.wait_function(first)
        self.assertEqual(self.picture.function(first)["NumaNode"], -1)
        self.sysfs.disable_vfs(pf)
        self.wait_function(first, there=False)
        # Whichever is read first.
        self.sysfs.enable_vfs(pf, 3)
        for vf in pf.vfs[1:]:
            self.wait_property(vf.address, "NumaNode", 1)
        self.faults.clear()
        self.wait_property(first, "NumaNode", 1)
        self.wait_no_problem()

    def test_appears_when_it_can_be_read(self):
        self.start()
        for call, pattern in (("open", "/sys/bus/pci/devices/{}"), ("readlink", "*/{}/driver"),
                              ("read", "*/{}/sriov_totalvfs"), ("read", "*/{}/vendor"),
                              ("readlink", "*/{}/physfn"), ("readlink", "*/{}/iommu_group")):
            for name in ERRNOS:
                with self.subTest(f"{call} {pattern} {name}"):
                    self.faults.set((call, getattr(errno, name), pattern.format(NEW)))
                    pf = self.sysfs.add_pf(NEW, driver="vfio-pci", announce=True)
                    self.wait_problem(f"{NEW}: ")
                    self.fence()
                    self.assertIsNone(self.picture.function(NEW))
                    self.faults.clear()
                    self.wait_function(NEW)
                    self.wait_property(NEW, "ClosedFiles", SRIOV)
                    self.assertEqual(self.picture.function(NEW)["VendorId"], 0x8086)
                    self.wait_no_problem()
                    self.sysfs.remove(pf)
                    self.wait_function(NEW, there=False)

    def test_nobody_can_be_asked_for_the_override(self):
        self.start()
        self.faults.set(("fork", errno.EAGAIN, "*"))
        # The one that was started for others ends with its question.
        for pid in fixtures.children(self.daemon.pid, "vfwarden-reader"):
            fixtures.kill_and_wait(pid)
        pf = self.sysfs.add_pf(NEW, driver="vfio-pci", attributes={"driver_override": "vfio-pci"}, announce=True)
        self.wait_problem(f"{NEW}: Failed to read driver_override: Resource temporarily unavailable")
        self.assert_closed(pf, *SRIOV)
        self.faults.clear()
        self.wait_property(NEW, "DriverOverride", "vfio-pci")
        self.wait_no_problem()

    def test_override_that_cannot_be_read(self):
        function = self.sysfs.add(NEW, attributes={"driver_override": "vfio-pci"})
        self.start()
        self.faults.set(("read", errno.EIO, "*/driver_override"))
        self.sysfs.rebind(function, "igb")      # asks for it
        self.wait_problem(f"{NEW}: Failed to read driver_override: Input/output error")
        self.assertEqual(self.client.function(NEW, "DriverOverride"), "vfio-pci")
        function.write("driver_override", "pci-stub")
        self.faults.clear()
        self.wait_property(NEW, "DriverOverride", "pci-stub")
        self.wait_no_problem()

    def test_the_list_cannot_be_read_to_its_end(self):
        functions = [self.sysfs.add(f"0000:06:{n:02x}.0") for n in range(8)]
        self.start()
        self.faults.set(("readdir", errno.EIO, "/sys/bus/pci/devices"))
        new = self.sysfs.add(NEW)
        with open(os.path.join(self.sysfs.root, "overrun"), "w", encoding="ascii"):
            pass
        self.sysfs.change(functions[0])         # is lost, and all are read again
        self.wait_problem("Failed to list the PCI functions")
        self.assertIsNone(self.picture.function(new.address))
        for function in functions:
            self.assertIsNotNone(self.picture.function(function.address))
        self.faults.clear()
        self.wait_function(NEW)
        self.wait_no_problem()

    def test_files_that_cannot_be_watched(self):
        self.start()
        self.faults.set(("watch", errno.ENOSPC, f"*/{NEW}"))
        pf = self.sysfs.add_pf(NEW, driver="vfio-pci", announce=True)
        self.wait_function(NEW)
        self.wait_problem(f"{NEW}: Failed to watch its files")
        self.faults.clear()
        self.wait_no_problem()
        pf.chmod("sriov_numvfs", 0o644)         # is heard of now, and not only seen after seconds
        self.assert_closed(pf, *SRIOV)


class Restart(FaultTest):
    """A daemon that starts while something cannot be read: whatever an earlier one closed for its sake stays closed."""

    def start_locked(self):
        self.pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci", slot="3")
        self.vf = self.pf.vfs[0]
        self.start_polkit(configure=True, inhibit=True)
        self.start()
        self.vf.write("enable", "1")
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        self.client.lock(PF, "mine")
        self.assert_closed(self.pf, *ALL)

    ROWS = (("open", "/sys/bus/pci/devices/{vf}"), ("readlink", "*/{vf}/physfn"), ("readlink", "*/{vf}/driver"),
            ("open", "/sys/bus/pci/devices/{pf}"), ("readdir", "/sys/devices/*/{pf}"),
            ("read", "*/{pf}/sriov_totalvfs"), ("open", "/sys/bus/pci/devices"), ("readdir", "/sys/bus/pci/devices"),
            ("read", "*/{vf}/enable"), ("open", "*/{vf}/enable"))

    def test_keeps_what_was_closed(self):
        self.start_locked()
        self.client.unlock(PF)                  # the VF is the only reason from here on
        self.assert_closed(self.pf, *ALL)
        for call, pattern in self.ROWS:
            with self.subTest(f"{call} {pattern}"):
                self.kill()
                self.faults.set((call, errno.EMFILE, pattern.format(pf=PF, vf=self.vf.address)))
                self.start()
                self.wait_problem("Too many open files")
                self.assert_closed(self.pf, *ALL)
                self.assertEqual(self.sysfs.slot_mode("3"), 0o444)
                if "{vf}" in pattern:       # the PF is known, and nothing may be done to it that concerns VFs
                    self.wait_property(PF, "LockReasons", ["vf-in-use"])
                    self.assertIs(self.client.manager("Check", "(ss)", PF, "set-num-vfs")[0], False)
                    self.assertIs(self.client.manager("Check", "(ss)", PF, "reset")[0], False)
                self.faults.clear()
                self.wait_no_problem()
                self.wait_property(PF, "LockReasons", ["vf-in-use"])
                self.assert_closed(self.pf, *ALL)

    def test_opens_it_when_all_is_known(self):
        self.start_locked()
        self.client.unlock(PF)
        self.kill()
        self.vf.write("enable", "0")
        self.faults.set(("open", errno.EIO, f"/sys/bus/pci/devices/{self.vf.address}"))
        self.start()
        self.wait_problem(f"{self.vf.address}: ")
        self.fence()
        self.assert_closed(self.pf, *ALL)
        self.faults.clear()
        self.assert_closed(self.pf)

    def test_a_state_that_cannot_be_read_is_kept(self):
        """A daemon that began without it would give up locks, own modes, and the descriptors that systemd keeps."""
        self.start_locked()
        inhibitor = self.client.inhibit(PF, "reset", "kept")
        self.addCleanup(os.close, inhibitor)
        self.crash_expected = True
        for number in (errno.ENFILE, errno.ENOMEM):
            with self.subTest(errno.errorcode[number]):
                self.kill()
                self.faults.set(("open", number, f"{self.state_dir}/state.json"))
                daemon = self.spawn()
                self.assertGreater(daemon.wait_exit(), 0)
                self.assertIn(f"Failed to read the state in {self.state_dir}: {os.strerror(number)}", daemon.log)
                self.assert_closed(self.pf, *ALL)
                self.faults.clear()
                self.start()
                self.assertEqual(self.client.function(PF, "LockWhy"), "mine")
                self.assertEqual([row[2] for row in self.client.manager("ListInhibitors")], ["kept"])

    def test_administrators_lock_outlives_two_of_them(self):
        self.start_locked()
        self.vf.write("enable", "0")
        self.wait_property(PF, "LockReasons", ["administrator"])
        self.faults.set(("open", errno.ENOMEM, f"/sys/bus/pci/devices/{PF}"))
        for _ in range(2):
            self.kill()
            self.start()
            self.wait_problem(f"{PF}: ")
            self.assert_closed(self.pf, *ALL)
        self.faults.clear()
        self.wait_function(PF)
        self.wait_property(PF, "LockWhy", "mine")
        self.assert_closed(self.pf, *ALL)


class Capabilities(FaultTest):
    """What is read of configuration space and of interrupts."""

    machine = "x86_64"

    def start_world(self):
        self.functions = {PF: self.sysfs.add_pf(PF, driver="vfio-pci", config=recorded_config("intel-dsa")),
                          PLAIN: self.sysfs.add(PLAIN, driver="vfio-pci", config=recorded_config("qemu-igb"))}
        self.sysfs.allocate_msis(self.functions[PLAIN], f"IR-PCI-MSIX-{PLAIN}")
        self.start()
        self.wait_property(PF, "Width", 20)
        self.wait_property(PLAIN, "Isolation", "isolated")
        self.wait_no_problem()

    def look(self):
        objects = self.client.managed_objects()
        return [objects[vb.function_path(address)] for address in self.functions]

    def test_nothing_is_forgotten(self):
        self.start_world()
        for call, pattern, address in (
                ("open", "*/{}/config", PF), ("read", "*/{}/config", PF), ("open", "*/{}/msi_irqs", PLAIN),
                ("readdir", "*/{}/msi_irqs", PLAIN), ("read", "/sys/kernel/irq/*", PLAIN)):
            for name in ERRNOS:
                with self.subTest(f"{call} {pattern} {name}"):
                    truth = self.look()
                    self.faults.set((call, getattr(errno, name), pattern.format(address)))
                    # They are read again after what may have changed them.
                    self.functions[address].write("enable", "1")
                    self.wait_property(address, "InUse", True)
                    self.wait_problem(f"{address}: Failed to read its ")
                    self.functions[address].write("enable", "0")
                    self.wait_property(address, "InUse", False)
                    self.fence()
                    self.assertEqual(self.look(), truth)
                    self.faults.clear()
                    self.wait_no_problem()
                    self.assertEqual(self.look(), truth)

    def test_nobody_can_read_for_the_daemon(self):
        self.start()
        self.faults.set(("fork", errno.EAGAIN, "*"))
        for name in ("vfwarden-reader", "vfwarden-config"):
            for pid in fixtures.children(self.daemon.pid, name):
                fixtures.kill_and_wait(pid)
        self.sysfs.add_pf(PF, config=recorded_config("intel-dsa"), announce=True)
        self.wait_problem("Failed to read configuration space: Resource temporarily unavailable")
        self.wait_function(PF)
        self.faults.clear()
        self.wait_property(PF, "Width", 20)
        self.wait_no_problem()


class Files(FaultTest):
    """The files that are closed, and their modes."""

    def start_pf(self, **kwargs):
        pf = self.sysfs.add_pf(PF, slot="3", **kwargs)
        self.start_polkit(configure=True)
        self.start()
        return pf

    CLOSING = (("open", "*/{}/sriov_numvfs"), ("stat", "*/{}/sriov_numvfs"), ("chmod", "*/{}/sriov_numvfs"))

    def test_a_file_that_cannot_be_closed(self):
        pf = self.start_pf()
        for call, pattern in self.CLOSING:
            for name in ERRNOS:
                with self.subTest(f"{call} {name}"):
                    self.faults.set((call, getattr(errno, name), pattern.format(PF)))
                    self.client.lock(PF, "mine")
                    self.wait_problem(PF)
                    self.assert_closed(pf, *[file for file in ALL if file != "sriov_numvfs"])
                    self.faults.clear()
                    self.assert_closed(pf, *ALL)
                    self.wait_property(PF, "ClosedFiles", [*ALL, "power"])
                    self.wait_no_problem()
                    self.client.unlock(PF)
                    self.assert_closed(pf)

    def test_a_file_that_cannot_be_opened_again(self):
        pf = self.start_pf()
        pf.chmod("sriov_numvfs", 0o664)
        for call in ("open", "chmod"):
            for restart in (False, True):
                with self.subTest(f"{call} {restart}"):
                    self.client.lock(PF, "mine")
                    self.assert_closed(pf, *ALL, own={"sriov_numvfs": 0o664})
                    self.faults.set((call, errno.EIO, f"*/{PF}/sriov_numvfs"))
                    self.client.unlock(PF)
                    self.wait_problem("Failed to open again")
                    self.assert_closed(pf, "sriov_numvfs", own={"sriov_numvfs": 0o664})
                    if restart:
                        self.kill()
                        self.start()
                        self.wait_problem("Failed to open again")
                    self.faults.clear()
                    self.assert_closed(pf, own={"sriov_numvfs": 0o664})
                    self.wait_no_problem()

    def test_a_file_that_cannot_be_looked_at_stays_closed(self):
        pf = self.start_pf(driver="vfio-pci")
        self.assert_closed(pf, *SRIOV)
        self.faults.set(("stat", errno.EIO, f"*/{PF}/sriov_numvfs"))
        pf.chmod("sriov_numvfs", 0o644)         # by somebody else
        self.wait_problem("Failed to look at")
        self.fence()
        self.assertEqual(self.client.function(PF, "ClosedFiles"), SRIOV)
        self.faults.clear()
        self.assert_closed(pf, *SRIOV)
        self.wait_no_problem()

    def test_slots(self):
        pf = self.start_pf()
        for call, pattern in (("open", "*/slots"), ("readdir", "*/slots"), ("open", "*/slots/3"),
                              ("read", "*/slots/3/address"), ("access", "*/slots/3/power")):
            for name in ("EIO", "ENOMEM", "EACCES"):
                with self.subTest(f"{call} {pattern} {name}"):
                    self.faults.set((call, getattr(errno, name), pattern))
                    self.client.lock(PF, "mine")
                    self.wait_problem(f"{PF}: Failed to look at the files to lock")
                    self.assert_closed(pf, *ALL)
                    self.faults.clear()
                    self.wait_slot_mode("3", 0o444)
                    self.wait_no_problem()
                    self.client.unlock(PF)
                    self.wait_slot_mode("3", 0o644)


if __name__ == "__main__":
    fixtures.main()
