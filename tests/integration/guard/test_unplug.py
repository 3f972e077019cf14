#!/usr/bin/python3
"""Unplug: which users are asked, what is done, and which signals are sent."""

import errno
import os
import signal

import fixtures
import vfwarden_bus as vb

PF = "0000:01:00.0"
VFS = ["0000:01:10.0", "0000:01:10.2", "0000:01:10.4"]
PLAIN = "0000:02:00.0"
LONG = 600      # seconds: does not pass in a test
SHORT = 0.3


class UnplugTest(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True, unplug=True)
        self.start_kernel()

    @property
    def writes(self):
        return self.kernel.writes

    def use(self, *functions):
        """A VMM opens them."""
        for function in functions:
            function.write("enable", "1")
            self.kernel.held.add(function.address)
        for function in functions:
            self.wait_property(function.address, "InUse", True)

    def unplug(self, address, timeout=LONG, **options):
        self.client.start_unplug(address, timeout, **options).result()

    def pull(self, function):
        """It is gone, with its users, before the daemon sees anything."""
        self.daemon.kill(signal.SIGSTOP)
        self.kernel.held.discard(function.address)
        self.sysfs.remove(function)
        self.daemon.kill(signal.SIGCONT)

    def assert_fails(self, name, call):
        with self.assertRaises(vb.BusError) as caught:
            call.result()
        self.assertEqual(caught.exception.name, name, caught.exception)
        return caught.exception

    def requests(self, mark=0):
        """address -> deadlines (CLOCK_REALTIME, microseconds) of UnplugRequested since."""
        self.fence()
        found = {}
        for told in self.client.recorder.since(mark, "UnplugRequested"):
            address = self.picture.objects[told.path][vb.FUNCTION]["Address"]
            found.setdefault(address, []).append(told.args[0])
        return found


class Free(UnplugTest):
    """It has no user."""

    def test_by_its_own_remove(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        mark = self.mark()
        self.unplug(PLAIN)
        self.assertEqual(self.writes, [("igb/unbind", PLAIN), (f"{PLAIN}/remove", "1")])
        self.assertIsNone(self.picture.function(PLAIN), "it has been told to go when the reply comes")
        self.assertEqual(self.states(PLAIN, mark)[-1], "removing")

    def test_without_a_driver(self):
        self.sysfs.add(PLAIN)
        self.start()
        self.unplug(PLAIN)
        self.assertEqual(self.writes, [(f"{PLAIN}/remove", "1")])
        self.assertIsNone(self.picture.function(PLAIN))

    def test_zero_timeout(self):
        for number in range(10):
            address = f"0000:{number + 0x20:02x}:00.0"
            function = self.sysfs.add(address, driver="igb")
            if self.daemon is None:
                self.start()
            self.sysfs.change(function)
            self.wait_function(address)
            self.unplug(address, 0)
            self.assertIsNone(self.picture.function(address))

    def test_insisting(self):
        self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.unplug(PLAIN, insist=True)
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])

    def test_by_the_power_of_its_slot(self):
        self.sysfs.add(PLAIN, driver="igb", slot="7")
        self.start()
        self.unplug(PLAIN)
        self.assertEqual(self.writes, [("igb/unbind", PLAIN), ("7/power", "0")])
        self.assertIsNone(self.picture.function(PLAIN))

    def test_a_slot_that_cannot_be_looked_for(self):
        faults = self.start_faults()
        self.sysfs.add(PLAIN, driver="igb", slot="7")
        self.start()
        for call, pattern in (("open", "*/slots"), ("read", "*/slots/7/address")):
            with self.subTest(call):
                mark = len(self.writes)
                faults.set((call, errno.EMFILE, pattern))
                unplug = self.client.start_unplug(PLAIN, LONG)
                problem = f"{PLAIN}: Failed to look for the slot to switch off: {os.strerror(errno.EMFILE)}"
                vb.wait_until(lambda: problem in self.client.manager_property("Problems"), None, "the problem")
                self.assertFalse(unplug.done)
                self.assertEqual(self.writes[mark:], [("igb/unbind", PLAIN)], "not removed with its slot on")
                faults.clear()
                unplug.result()
                self.assertEqual(self.writes[mark + 1:], [("7/power", "0")])
                self.assertEqual(self.client.manager_property("Problems"), [])
                self.sysfs.add(PLAIN, driver="igb", slot="7", announce=True)
                self.wait_function(PLAIN)

    def test_a_slot_below_a_port_that_is_not_known_yet(self):
        """What else is in it cannot be said; without its power the device would return with a rescan."""
        port = self.sysfs.add("0000:00:1c.0", class_code=0x060400, driver="pcieport", listed=False)
        self.sysfs.add(PLAIN, parent=port, driver="igb", slot="7")
        self.start()
        unplug = self.client.start_unplug(PLAIN, LONG)
        problem = f"{PLAIN}: Failed to look for the slot to switch off: the port above it is not known"
        vb.wait_until(lambda: problem in self.client.manager_property("Problems"), None, "the problem")
        self.assertFalse(unplug.done)
        self.assertEqual(self.writes, [("igb/unbind", PLAIN)])
        self.sysfs.list_function(port)
        self.sysfs.tell("add", port)
        unplug.result()
        self.assertEqual(self.writes[1:], [("7/power", "0")])
        self.assertEqual(self.client.manager_property("Problems"), [])

    def test_bound_and_opened_while_its_removal_waits(self):
        """Only an unbound function is removed: a removal waits for users with all hot-plug locked."""
        port = self.sysfs.add("0000:00:1c.0", class_code=0x060400, driver="pcieport", listed=False)
        function = self.sysfs.add(PLAIN, parent=port, driver="igb", slot="7")
        self.start()
        unplug = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "Driver", "")
        vb.wait_until(lambda: self.client.manager_property("Problems"), None, "the problem")
        bind = self.client.start_function_call(PLAIN, "Bind", "(s)", "vfio-pci")
        self.assertIn("being taken away", self.assert_fails(vb.REFUSED, bind).message)
        self.sysfs.bind(function, "vfio-pci")       # root does it all the same
        self.use(function)
        self.sysfs.list_function(port)
        self.sysfs.tell("add", port)
        self.assertIn("another driver took it", self.assert_fails(vb.FAILED, unplug).message)
        self.wait_property(PLAIN, "State", "present")
        self.assertEqual(self.writes, [("igb/unbind", PLAIN)])
        self.assertEqual(self.client.manager_property("Problems"), [])

    def begin_and_kill(self):
        """Its removal waits, so that the daemon can be killed after the unbind and before the removal."""
        port = self.sysfs.add("0000:00:1c.0", class_code=0x060400, driver="pcieport", listed=False)
        function = self.sysfs.add(PLAIN, parent=port, driver="igb", slot="7")
        self.start()
        self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "Driver", "")
        vb.wait_until(lambda: self.client.manager_property("Problems"), None, "the problem")
        self.kill()
        return port, function

    def test_a_restart_goes_on(self):
        port, _ = self.begin_and_kill()
        self.start()
        self.wait_property(PLAIN, "State", "removing")
        self.sysfs.list_function(port)
        self.sysfs.tell("add", port)
        self.wait_function(PLAIN, False)
        self.assertEqual(self.writes, [("igb/unbind", PLAIN), ("7/power", "0")])

    def test_bound_and_opened_before_a_restart(self):
        """Who has come while no daemon ran was not asked, and is not asked by the kernel either."""
        port, function = self.begin_and_kill()
        self.sysfs.bind(function, "vfio-pci")
        function.write("enable", "1")
        self.kernel.held.add(PLAIN)
        self.start()
        self.wait_property(PLAIN, "InUse", True)
        self.wait_property(PLAIN, "State", "present")
        self.assertIn(f"{PLAIN}: Its unplug of an earlier run ends here", self.daemon.log)
        self.sysfs.list_function(port)
        self.sysfs.tell("add", port)
        self.wait_function("0000:00:1c.0")
        self.kernel.let_go(function)
        self.wait_property(PLAIN, "InUse", False)
        self.fence()
        self.assertEqual(self.writes, [("igb/unbind", PLAIN)])
        self.restart()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present", "it is not remembered any more")

    def test_bound_before_a_restart(self):
        _, function = self.begin_and_kill()
        self.sysfs.bind(function, "igb")
        self.start()
        self.wait_property(PLAIN, "Driver", "igb")
        self.wait_property(PLAIN, "State", "present")
        self.assertEqual(self.writes, [("igb/unbind", PLAIN)])

    def test_a_slot_with_others_in_it_is_left_on(self):
        self.sysfs.add(PLAIN, driver="igb", slot="7")
        self.sysfs.add("0000:02:00.1", driver="igb", slot="7")
        self.start()
        self.unplug(PLAIN)
        self.assertEqual(self.writes, [("igb/unbind", PLAIN), (f"{PLAIN}/remove", "1")])
        self.assertIsNotNone(self.picture.function("0000:02:00.1"))
        # The last one can have it.
        self.unplug("0000:02:00.1")
        self.assertEqual(self.writes[2:], [("igb/unbind", "0000:02:00.1"), ("7/power", "0")])

    def test_vfs_one_by_one(self):
        self.sysfs.add_pf(PF, vfs=3, vf_driver="igbvf", slot="3")
        self.start()
        mark = self.mark()
        self.unplug(PF)
        self.assertEqual(self.writes, [("igbvf/unbind", address) for address in VFS]
                         + [(f"{PF}/sriov_numvfs", "0"), ("igb/unbind", PF), ("3/power", "0")])
        for address in (PF, *VFS):
            self.assertIsNone(self.picture.function(address))
        self.assertEqual(self.client.recorder.since(mark, "Violation"), [])

    def test_a_vf_ends_unbound(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf", slot="3")
        self.start()
        mark = self.mark()
        self.unplug(VFS[0])
        self.assertEqual(self.writes, [("igbvf/unbind", VFS[0])])
        self.assertEqual(self.picture.function(VFS[0])["Driver"], "")
        self.assertEqual(self.picture.function(VFS[0])["State"], "present")
        self.assertEqual(self.states(VFS[0], mark)[-1], "present")
        self.assertEqual(pf.vfs[1].driver, "igbvf")
        self.unplug(VFS[0], 0)

    def test_s390(self):
        vfn = {"vfn": "0x0000"}
        self.sysfs.add("0000:00:00.5", driver="nvme", attributes=vfn)
        self.sysfs.add("0000:00:00.4", driver="nvme", attributes=vfn)
        self.sysfs.add_slot("00000105", "0000:00:05")
        self.sysfs["0000:00:00.5"].slot = "00000105"
        self.start()
        # Each function has a slot of its own there, whatever the numbers say.
        self.unplug("0000:00:00.5")
        self.assertEqual(self.writes, [("nvme/unbind", "0000:00:00.5"), ("00000105/power", "0")])


class Failing(UnplugTest):
    def test_it_cannot_be_unbound(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.kernel.fail["igb/unbind"] = errno.EIO
        self.start()
        mark = self.mark()
        error = self.assert_fails(vb.FAILED, self.client.start_unplug(PLAIN, LONG))
        self.assertIn("driver/unbind", error.message)
        self.assertEqual(self.states(PLAIN, mark)[-1], "present")
        self.kernel.fail.clear()
        self.unplug(PLAIN)

    def test_it_cannot_be_removed(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.kernel.fail[f"{PLAIN}/remove"] = errno.EPERM
        self.start()
        error = self.assert_fails(vb.FAILED, self.client.start_unplug(PLAIN, LONG))
        self.assertIn("remove", error.message)
        self.fence()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        self.kernel.fail.clear()
        self.unplug(PLAIN)

    def test_taken_and_nothing_came_of_it(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.kernel.ignore.add(f"{PLAIN}/remove")
        self.start()
        self.assert_fails(vb.FAILED, self.client.start_unplug(PLAIN, LONG))
        self.fence()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")

    def test_another_driver_takes_it(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.kernel.hang.add("vfio-pci/unbind")
        call = self.client.start_unplug(PLAIN, LONG)
        write = self.kernel.wait_for("vfio-pci/unbind")
        self.sysfs.rebind(function, "igb")
        self.kernel.waiting.clear()
        write.answer()
        error = self.assert_fails(vb.FAILED, call)
        self.assertIn("driver", error.message)
        self.assertEqual(function.driver, "igb")


class Refused(UnplugTest):
    def test_zero_timeout_with_a_holder(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0])
        mark = self.mark()
        for address in (PF, VFS[0]):
            for insist in (False, True):
                error = self.assert_fails(vb.REFUSED, self.client.start_unplug(address, 0, insist=insist))
                self.assertIn(VFS[0], error.message)
        self.assertEqual(self.requests(mark), {})
        self.assertEqual(self.writes, [])

    def test_a_vf_that_cannot_be_read(self):
        """It may be a guest's. Nobody knows whom to ask, and sriov_numvfs would wait with all hot-plug locked."""
        faults = self.start_faults()
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        pf.vfs[0].write("enable", "1")
        self.kernel.held.add(VFS[0])
        faults.set(("open", errno.EMFILE, f"/sys/bus/pci/devices/{VFS[0]}"))
        self.start()
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        self.assertIsNone(self.picture.function(VFS[0]))
        for insist in (False, True):
            error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PF, LONG, insist=insist))
            self.assertIn("cannot be read", error.message)
        self.assertEqual([row[:2] for row in self.client.check(PF, "remove")[1]], [("unreadable", PF)])
        self.assertEqual(self.writes, [])
        # Now its holder can be asked.
        faults.clear()
        self.wait_property(VFS[0], "InUse", True)
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        self.kernel.let_go(pf.vfs[0])
        call.result()
        self.assertEqual(self.writes[0], ("vfio-pci/unbind", VFS[0]))

    def test_a_vf_that_cannot_be_read_comes_after_the_request(self):
        faults = self.start_faults()
        pf = self.sysfs.add_pf(PF, vfs=0, driver="igb")
        self.start()
        fd = self.client.delay(PF, "remove", "agent", "asks")
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        faults.set(("open", errno.EMFILE, f"/sys/bus/pci/devices/{VFS[0]}"))
        self.sysfs.enable_vfs(pf, 1, driver="vfio-pci")
        self.wait_property(PF, "LockReasons", ["vf-in-use", "inhibitor"])
        os.close(fd)
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        self.fence()
        self.assertFalse(call.done)
        self.assertEqual(self.writes, [])
        faults.clear()
        call.result()
        self.assertEqual(self.writes[:2], [("vfio-pci/unbind", VFS[0]), (f"{PF}/sriov_numvfs", "0")])

    def test_inhibitors(self):
        self.sysfs.add(PLAIN, driver="igb", slot="7")
        self.start()
        for what in ("remove", "unbind", "power-off"):
            with self.subTest(what):
                fd = self.client.inhibit(PLAIN, what, "backup", "until six")
                error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, LONG))
                self.assertIn("backup", error.message)
                os.close(fd)
                vb.wait_until(lambda: not self.client.manager("ListInhibitors"), None, "the end")
        self.assertEqual(self.writes, [])
        self.unplug(PLAIN)

    def test_inhibitor_on_a_vf(self):
        self.sysfs.add_pf(PF, vfs=1)
        self.start()
        for what in ("remove", "unbind", "power-off"):
            with self.subTest(what):
                fd = self.client.inhibit(VFS[0], what, "backup")
                error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PF, LONG))
                self.assertIn("backup", error.message)
                os.close(fd)
                vb.wait_until(lambda: not self.client.manager("ListInhibitors"), None, "the end")

    def test_an_administrators_lock(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.client.lock(PLAIN, "mine")
        error = self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, LONG))
        self.assertIn("mine", error.message)
        self.client.unlock(PLAIN)
        self.unplug(PLAIN)

    def test_needs_its_action(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.polkit.verdicts["org.vfwarden1.unplug"] = False
        with self.acting_as():
            self.assert_fails(vb.ACCESS_DENIED, self.client.start_unplug(PLAIN, LONG))
            self.assert_bus_error(vb.ACCESS_DENIED, self.client.cancel_unplug, PLAIN)
        self.assertEqual({q.action for q in self.polkit.questions}, {"org.vfwarden1.unplug"})

    def test_arguments(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.assert_fails(vb.INVALID_ARGS, self.client.start_unplug(PLAIN, 24 * 60 * 60 + 1))
        self.assert_fails(vb.INVALID_ARGS, self.client.start_unplug(PLAIN, 1, force=True))
        self.assert_fails(vb.INVALID_ARGS, self.client.start_unplug(
            PLAIN, 1, insist=vb.GLib.Variant("u", 1)))
        self.assertEqual(self.writes, [])


if __name__ == "__main__":
    fixtures.main()
