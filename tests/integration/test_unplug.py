#!/usr/bin/python3
"""Taking functions away in order: who is asked, what is done, and what everybody is told."""

import errno
import os
import signal
import time

import fixtures
from fixtures import DEADLINE, DEADLINE_SCALE, wait_until
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

    def states(self, address, mark):
        """The values that State took since, in order."""
        self.fence()
        return [s.args[1]["State"] for s in self.client.recorder.since(
            mark, "PropertiesChanged", vb.function_path(address))
                if s.args[0] == vb.FUNCTION and "State" in s.args[1]]

    def requests(self, mark=0):
        """address -> deadlines (CLOCK_REALTIME, microseconds) of UnplugRequested since."""
        self.fence()
        found = {}
        for told in self.client.recorder.since(mark, "UnplugRequested"):
            address = self.picture.objects[told.path][vb.FUNCTION]["Address"]
            found.setdefault(address, []).append(told.args[0])
        return found


class Free(UnplugTest):
    """Nobody holds it."""

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


class Asked(UnplugTest):
    """A holder that is asked over D-Bus."""

    def test_lets_go(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        mark = self.mark()
        before = time.time()
        call = self.client.start_unplug(PLAIN, LONG)
        self.client.recorder.wait_for("UnplugRequested", mark=mark)
        self.wait_property(PLAIN, "State", "unplug-requested")
        (deadline,), = self.requests(mark).values()
        self.assertAlmostEqual(deadline / 1e6, before + LONG, delta=2 * DEADLINE)
        self.assertEqual(self.writes, [])
        self.assertFalse(call.done)
        # Nobody else may open it meanwhile.
        self.assertIn(("operation", PLAIN, "it is being taken away (unplug-requested)", 0),
                      self.client.check(PLAIN, "open")[1])
        self.kernel.let_go(function)
        call.result()
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])
        self.assertEqual(self.states(PLAIN, mark), ["unplug-requested", "removing"])
        self.assertIsNone(self.picture.function(PLAIN))

    def test_does_not(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        mark = self.mark()
        self.assert_fails(vb.TIMEOUT, self.client.start_unplug(PLAIN, SHORT))
        self.assertEqual(self.states(PLAIN, mark), ["unplug-requested", "present"])
        self.assertEqual(self.writes, [])
        self.assertEqual((function.driver, self.picture.function(PLAIN)["InUse"]), ("vfio-pci", True))
        # It is over: when the holder ends by itself nothing follows.
        self.kernel.let_go(function)
        self.wait_property(PLAIN, "InUse", False)
        self.fence()
        self.assertEqual(self.writes, [])
        self.unplug(PLAIN)

    def test_cancelled(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.assert_bus_error(vb.FAILED, self.client.cancel_unplug, PLAIN)
        self.use(function)
        mark = self.mark()
        call = self.client.start_unplug(PLAIN, LONG)
        self.client.recorder.wait_for("UnplugRequested", mark=mark)
        self.client.cancel_unplug(PLAIN)
        error = self.assert_fails(vb.FAILED, call)
        self.assertIn("cancel", error.message)
        self.assertEqual(self.states(PLAIN, mark), ["unplug-requested", "present"])
        self.assert_bus_error(vb.FAILED, self.client.cancel_unplug, PLAIN)
        self.kernel.let_go(function)
        self.wait_property(PLAIN, "InUse", False)
        self.fence()
        self.assertEqual(self.writes, [])

    def test_the_caller_dies(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        other = vb.Client(self.bus.address)
        other.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        other.close()
        self.kernel.let_go(function)
        self.wait_function(PLAIN, there=False)

    def test_a_second_request(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        for insist in (False, True):
            self.assert_fails(vb.BUSY, self.client.start_unplug(PLAIN, LONG, insist=insist))
        self.assert_fails(vb.BUSY, self.client.start_unplug(PLAIN, 0))
        self.kernel.let_go(function)
        call.result()

    def test_holders_of_vfs(self):
        pf = self.sysfs.add_pf(PF, vfs=3, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0], pf.vfs[2])
        mark = self.mark()
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        requests = self.requests(mark)
        self.assertEqual(set(requests), {PF, VFS[0], VFS[2]})
        self.assertEqual(len({tuple(d) for d in requests.values()}), 1, "one deadline for all")
        self.kernel.let_go(pf.vfs[0])
        self.wait_property(PF, "State", "draining")
        self.assertEqual(self.writes, [])
        self.kernel.let_go(pf.vfs[2])
        call.result()
        self.assertEqual(self.writes, [("vfio-pci/unbind", address) for address in VFS]
                         + [(f"{PF}/sriov_numvfs", "0"), ("igb/unbind", PF), (f"{PF}/remove", "1")])
        self.assertEqual(self.states(PF, mark), ["unplug-requested", "draining", "removing"])

    def test_draining_times_out_and_can_be_cancelled(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        for way in ("cancel", "timeout"):
            with self.subTest(way):
                self.use(*pf.vfs)
                mark = self.mark()
                call = self.client.start_unplug(PF, 3 * DEADLINE_SCALE if way == "timeout" else LONG)
                self.wait_property(PF, "State", "unplug-requested")
                self.kernel.let_go(pf.vfs[0])
                self.wait_property(PF, "State", "draining")
                if way == "cancel":
                    self.client.cancel_unplug(PF)
                self.assert_fails(vb.FAILED if way == "cancel" else vb.TIMEOUT, call)
                self.assertEqual(self.states(PF, mark)[-1], "present")
                self.kernel.let_go(pf.vfs[1])
                for vf in pf.vfs:
                    self.wait_property(vf.address, "InUse", False)
        self.assertEqual(self.writes, [])

    def test_a_vf(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[1])
        mark = self.mark()
        call = self.client.start_unplug(VFS[1], LONG)
        self.wait_property(VFS[1], "State", "unplug-requested")
        self.assertEqual(set(self.requests(mark)), {VFS[1]})
        self.kernel.let_go(pf.vfs[1])
        call.result()
        self.assertEqual(self.writes, [("vfio-pci/unbind", VFS[1])])
        self.assertEqual(self.states(VFS[1], mark), ["unplug-requested", "removing", "present"])

    def test_forgotten_by_a_restart(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.kill()
        self.start()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        self.kernel.let_go(function)
        self.wait_property(PLAIN, "InUse", False)
        self.fence()
        self.assertEqual(self.writes, [])

    def test_stopped_while_replies_are_due(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.stop()
        self.assertRaises(vb.BusError, call.result)

    def test_other_operations_meanwhile(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        reset = self.client.start_function_call(PLAIN, "Reset")
        self.assert_fails(vb.REFUSED, reset)
        # The holder lets go, and whoever asks next makes the daemon see that first.
        self.kernel.hang.add("vfio-pci/unbind")
        function.write("enable", "0")
        self.kernel.held.clear()
        reset = self.client.start_function_call(PLAIN, "Reset")
        self.assertRaises(vb.BusError, reset.result)
        self.assertIn(reset.error.name, (vb.REFUSED, vb.BUSY))
        self.kernel.release(self.kernel.wait_for("vfio-pci/unbind"))
        call.result()


    def test_something_related_is_under_way_when_the_holder_lets_go(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci", group=1)
        self.sysfs.add("0000:09:00.0", group=1)
        self.kernel.hang.add("0000:09:00.0/reset")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        reset = self.client.start_function_call("0000:09:00.0", "Reset")
        write = self.kernel.wait_for("0000:09:00.0/reset")
        self.kernel.let_go(function)
        self.wait_property(PLAIN, "State", "removing")
        self.fence()
        self.assertEqual(self.writes, [("0000:09:00.0/reset", "1")])
        self.kernel.release(write)
        reset.result()
        call.result()
        self.assertEqual(self.writes[1:], [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])


class Insisting(UnplugTest):
    """The kernel asks too: the function is unbound at once, and waits for its holder."""

    def begin(self, timeout=LONG, address=PLAIN):
        function = self.sysfs.add(address, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(address, timeout, insist=True)
        write = self.kernel.wait_for("vfio-pci/unbind")
        return function, call, write

    def test_done_when_the_holder_lets_go(self):
        mark = self.mark() if self.client else 0
        function, call, write = self.begin()
        self.wait_property(PLAIN, "State", "removing")
        self.assertEqual(len(self.requests(mark)[PLAIN]), 1)
        error = self.assert_bus_error(vb.REFUSED, self.client.cancel_unplug, PLAIN)
        self.assertIn("no way back", error.message)
        self.assert_fails(vb.BUSY, self.client.start_unplug(PLAIN, LONG))
        self.assertIn(("operation", PLAIN, "unbind is under way", write.pid),
                      self.client.check(PLAIN, "remove")[1])
        self.assertFalse(call.done)
        self.kernel.let_go(function)
        call.result()
        self.assertIsNone(self.picture.function(PLAIN))
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])
        self.assertEqual(self.states(PLAIN, mark), ["removing"])

    def test_timeout_and_done_later(self):
        function, call, write = self.begin(SHORT)
        self.assert_fails(vb.TIMEOUT, call)
        self.fence()
        self.assertEqual(self.picture.function(PLAIN)["State"], "removing")
        self.assertIn(write, self.kernel.waiting)
        self.assert_bus_error(vb.REFUSED, self.client.cancel_unplug, PLAIN)
        self.kernel.let_go(function)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.writes[-1], (f"{PLAIN}/remove", "1"))

    def test_vfs_are_unbound_one_by_one(self):
        pf = self.sysfs.add_pf(PF, vfs=3, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0], pf.vfs[1])
        mark = self.mark()
        call = self.client.start_unplug(PF, LONG, insist=True)
        self.kernel.wait_for("vfio-pci/unbind")
        # Both holders were told before anything was done.
        self.assertEqual(set(self.requests(mark)), {PF, VFS[0], VFS[1]})
        self.assertEqual(self.writes, [("vfio-pci/unbind", VFS[0])])
        self.assertEqual(self.picture.function(VFS[0])["State"], "present")
        self.kernel.let_go(pf.vfs[0])
        vb.wait_until(lambda: len(self.writes) == 2, None, "the second VF")
        self.assertEqual(self.writes[1:], [("vfio-pci/unbind", VFS[1])])
        self.kernel.let_go(pf.vfs[1])
        call.result()
        self.assertEqual(self.writes[2:], [("vfio-pci/unbind", VFS[2]), (f"{PF}/sriov_numvfs", "0"),
                                           ("igb/unbind", PF), (f"{PF}/remove", "1")])
        self.assertEqual(self.states(PF, mark), ["removing"])

    def test_killed_meanwhile(self):
        function, _, write = self.begin()
        self.wait_property(PLAIN, "State", "removing")
        for _ in range(2):
            self.kill()
            self.start()
            self.assertEqual(self.picture.function(PLAIN)["State"], "removing")
            self.assertIn(("operation", PLAIN, "unbind is under way", write.pid),
                          self.client.check(PLAIN, "remove")[1])
            self.assert_bus_error(vb.REFUSED, self.client.cancel_unplug, PLAIN)
        self.kernel.let_go(function)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])

    def test_the_unbind_ends_while_the_daemon_is_away(self):
        # Several, for what is done at once when the next one starts.
        function, _, write = self.begin()
        self.wait_property(PLAIN, "State", "removing")
        pidfd = os.pidfd_open(write.pid)
        self.addCleanup(os.close, pidfd)
        ended = []
        source = vb.GLib.unix_fd_add_full(vb.GLib.PRIORITY_DEFAULT, pidfd, vb.GLib.IOCondition.IN,
                                          lambda *_: ended.append(True))
        self.kill()
        self.kernel.let_go(function)
        vb.wait_until(lambda: ended, None, "the worker's end")
        vb.GLib.source_remove(source)
        self.start()
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.writes[-1], (f"{PLAIN}/remove", "1"))

    def test_the_daemon_and_the_worker_are_killed(self):
        function, _, write = self.begin()
        self.wait_property(PLAIN, "State", "removing")
        self.kill()
        # Nobody can: it hangs in the kernel. But should it, the unbind is begun again.
        os.kill(write.pid, signal.SIGKILL)
        self.sysfs.attach_driver(function, "vfio-pci")
        function.write("enable", "1")
        self.kernel.waiting.clear()
        write.connection.close()
        self.start()
        self.kernel.wait_for("vfio-pci/unbind")
        self.kernel.let_go(function)
        self.wait_function(PLAIN, there=False)

    def test_replaced_while_the_daemon_is_away(self):
        function, _, write = self.begin()
        self.wait_property(PLAIN, "State", "removing")
        self.kill()
        self.kernel.waiting.clear()
        self.sysfs.remove(function)
        write.answer()
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        self.fence()
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN)])

    def test_killed_while_it_is_removed(self):
        self.sysfs.add(PLAIN, driver="igb", slot="7")
        self.kernel.hang.add("7/power")
        self.start()
        self.client.start_unplug(PLAIN, LONG)
        write = self.kernel.wait_for("7/power")
        self.kill()
        self.start()
        self.assertEqual(self.picture.function(PLAIN)["State"], "removing")
        self.assertIn(("operation", PLAIN, "power-off is under way", write.pid),
                      self.client.check(PLAIN, "remove")[1])
        self.kernel.release(write)
        self.wait_function(PLAIN, there=False)

    def test_remembered_is_forgotten_at_the_end(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0])
        call = self.client.start_unplug(VFS[0], LONG, insist=True)
        self.kernel.wait_for("vfio-pci/unbind")
        self.kernel.let_go(pf.vfs[0])
        call.result()
        self.sysfs.bind(pf.vfs[0], "igbvf")
        self.wait_property(VFS[0], "Driver", "igbvf")
        self.kill()
        self.start()
        self.assertEqual(self.picture.function(VFS[0])["State"], "present")
        self.fence()
        self.assertEqual(self.writes, [("vfio-pci/unbind", VFS[0])])

    def test_stopped_while_replies_are_due(self):
        function, call, _ = self.begin()
        self.stop()
        self.assertRaises(vb.BusError, call.result)
        self.client.recorder.listeners.clear()
        self.start()
        self.kernel.let_go(function)
        self.wait_function(PLAIN, there=False)


class ByOthers(UnplugTest):
    """A removal that the daemon did not begin is recognised by its first sign."""

    def begin(self, function):
        """Root unbinds it, and waits for the holder."""
        self.sysfs.detach_driver(function, keep_enable=True)
        self.sysfs.change(function)

    def test_holders_are_told(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        mark = self.mark()
        self.begin(function)
        self.wait_property(PLAIN, "State", "removing")
        self.assertEqual(self.requests(mark), {PLAIN: [0]})
        self.assert_bus_error(vb.REFUSED, self.client.cancel_unplug, PLAIN)
        self.assert_fails(vb.BUSY, self.client.start_unplug(PLAIN, LONG))
        self.kernel.let_go(function)
        self.sysfs.tell("unbind", function)
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.states(PLAIN, mark)[0], "removing")
        self.assertEqual(self.writes, [])

    def test_only_an_unbind(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        mark = self.mark()
        self.begin(function)
        self.wait_property(PLAIN, "State", "removing")
        self.kernel.let_go(function)
        self.sysfs.tell("unbind", function)
        self.wait_property(PLAIN, "State", "present")
        self.assertEqual(self.states(PLAIN, mark), ["removing", "present"])
        # Whose turn it is now is not ours to say.
        self.sysfs.bind(function, "vfio-pci")
        self.use(function)
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")

    def test_bound_and_opened_again_before_the_daemon_looks(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        self.begin(function)
        self.wait_property(PLAIN, "State", "removing")
        self.sysfs.attach_driver(function, "vfio-pci")
        function.write("enable", "1")
        self.sysfs.tell("bind", function)
        self.wait_property(PLAIN, "State", "present")

    def test_overtakes_a_request(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        mark = self.mark()
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.begin(function)
        error = self.assert_fails(vb.FAILED, call)
        self.assertIn("somebody else", error.message)
        self.assertEqual(self.states(PLAIN, mark), ["unplug-requested", "removing"])
        self.kernel.let_go(function)
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.writes, [])

    def blockers(self, address, operation="unbind"):
        return self.client.manager("Check", "(ss)", address, operation)[1]

    def test_the_kernel_takes_the_slot(self):
        """Nobody writes: the button was pressed. All who have anything in the slot are told at once."""
        pf = self.sysfs.add_pf(PF, vfs=3, vf_driver="vfio-pci")
        mate = self.sysfs.add("0000:01:00.1", driver="vfio-pci")
        other = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0], pf.vfs[1], mate, other)
        mark = self.mark()
        self.begin(pf.vfs[1])
        self.wait_property(PF, "State", "removing")
        self.wait_property(VFS[0], "State", "removing")
        self.assertEqual(self.requests(mark),
                         {PF: [0], VFS[0]: [0], VFS[1]: [0], "0000:01:00.1": [0]})
        self.assertIn(("operation", PF, "the kernel is taking it away (power-off), and waits for the holders", 0),
                      self.blockers(PF))
        self.assertIn("operation", [kind for kind, *_ in self.blockers(VFS[2], "open")])
        self.assertNotIn("operation", [kind for kind, *_ in self.blockers(PLAIN)])
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        for vf in (pf.vfs[1], pf.vfs[0]):
            self.kernel.let_go(vf)
        self.kernel.let_go(mate)
        self.sysfs.remove(pf)
        self.sysfs.remove(mate)
        self.wait_function(PF, there=False)
        self.assertEqual(self.states(PF, mark), ["removing"])
        self.assertEqual(len(self.client.recorder.since(mark, "UnplugRequested")), 4, "each was told once")
        self.assertEqual(self.writes, [])

    def test_the_driver_of_the_pf_goes(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs)
        mark = self.mark()
        self.sysfs.detach_driver(pf)
        self.sysfs.tell("unbind", pf)
        self.begin(pf.vfs[1])
        self.wait_property(VFS[0], "State", "removing")
        self.assertEqual(self.requests(mark), {VFS[0]: [0], VFS[1]: [0]})
        self.assertIn("operation", [kind for kind, *_ in self.blockers(PF)])
        self.assertEqual(self.states(PF, mark), [])
        for vf in pf.vfs:
            self.kernel.let_go(vf)
        self.sysfs.disable_vfs(pf)
        self.wait_function(VFS[0], there=False)
        wait_until(lambda: not self.blockers(PF), None, "nothing to be in the way of the PF")

    def test_the_kernel_gave_it_up(self):
        """All let go, and it stays for all that: it is anybody's again."""
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs)
        self.begin(pf.vfs[1])
        self.wait_property(PF, "State", "removing")
        for vf in pf.vfs:
            self.kernel.let_go(vf)
        self.wait_property(PF, "State", "present")
        self.wait_property(VFS[0], "State", "present")
        self.wait_property(VFS[1], "State", "present")
        self.assertEqual(self.blockers(PF), [])

    def test_let_go_a_moment_ago(self):
        """The daemon's last word on the users is old when the driver goes: nobody is told anything."""
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs)
        mark = self.mark()
        self.daemon.kill(signal.SIGSTOP)
        pf.vfs[1].write("enable", "0")
        self.kernel.held.discard(VFS[1])
        self.begin(pf.vfs[1])
        self.daemon.kill(signal.SIGCONT)
        self.wait_property(VFS[1], "InUse", False)
        self.fence()
        self.assertEqual(self.requests(mark), {})
        self.assertEqual(self.states(PF, mark), [])

    def test_a_free_function_is_nobodys_business(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        mark = self.mark()
        self.sysfs.unbind(function)
        self.wait_property(PLAIN, "Driver", "")
        self.assertEqual(self.states(PLAIN, mark), [])
        self.assertEqual(self.requests(mark), {})


class Surprise(UnplugTest):
    """It is pulled out."""

    def test_while_its_holder_is_asked(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.pull(function)
        self.assert_fails(vb.GONE, call)
        self.fence()
        # The next one there has nothing to do with it.
        self.sysfs.add(PLAIN, driver="vfio-pci", announce=True)
        self.wait_function(PLAIN)
        self.fence()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        self.unplug(PLAIN)

    def test_while_draining(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs)
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        self.kernel.let_go(pf.vfs[0])
        self.wait_property(PF, "State", "draining")
        self.pull(pf)
        self.assert_fails(vb.GONE, call)
        self.wait_function(PF, there=False)
        self.fence()
        self.assertEqual(self.writes, [])

    def test_while_the_kernel_waits(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG, insist=True)
        write = self.kernel.wait_for("vfio-pci/unbind")
        self.wait_property(PLAIN, "State", "removing")
        self.pull(function)
        self.assert_fails(vb.GONE, call)
        self.wait_function(PLAIN, there=False)
        self.fence()
        self.sysfs.add(PLAIN, driver="vfio-pci", announce=True)
        self.wait_function(PLAIN)
        self.kernel.waiting.clear()
        write.answer(errno.ENODEV)      # the worker of the first one
        self.fence()
        self.assertEqual(self.picture.function(PLAIN)["State"], "present")
        self.unplug(PLAIN)

    def test_a_vf_goes_with_its_count(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[1])
        call = self.client.start_unplug(VFS[1], LONG)
        self.wait_property(VFS[1], "State", "unplug-requested")
        self.daemon.kill(signal.SIGSTOP)
        self.sysfs.disable_vfs(pf)
        self.daemon.kill(signal.SIGCONT)
        self.assert_fails(vb.GONE, call)

    def test_when_it_goes_as_its_last_holder_ends(self):
        # The daemon learns both at once, and begins with either.
        self.start()
        for number in range(20):
            address = f"0000:{number + 0x20:02x}:00.0"
            function = self.sysfs.add(address, announce=True)
            self.wait_function(address)
            self.sysfs.bind(function, "vfio-pci")
            self.use(function)
            call = self.client.start_unplug(address, LONG)
            self.wait_property(address, "State", "unplug-requested")
            function.write("enable", "0")
            self.sysfs.remove(function)
            vb.wait_until(lambda call=call: call.done, None, "the reply")
            self.wait_function(address, there=False)


if __name__ == "__main__":
    fixtures.main()
