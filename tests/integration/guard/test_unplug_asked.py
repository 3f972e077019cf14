#!/usr/bin/python3
"""An unplug asks the users of a function to release it, and waits for them."""

import errno
import os
import time

import fixtures
from fixtures import DEADLINE, DEADLINE_SCALE, wait_until
from test_unplug import LONG, PF, PLAIN, SHORT, UnplugTest, VFS
import vfwarden_bus as vb


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

    def test_a_node_that_cannot_be_looked_at(self):
        """It is closed to newcomers as soon as it can be."""
        def closed():
            return os.stat(node).st_mode & 0o777 == 0

        faults, vfio = self.start_faults(), self.start_vfio()
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        vfio.add_device(function, "vfio7")
        node = vfio.path("vfio/devices/vfio7")
        self.start()
        self.use(function)
        for call, pattern in (("stat", "*/vfio/devices/vfio7"), ("readdir", f"*/{PLAIN}/vfio-dev")):
            with self.subTest(call):
                faults.set((call, errno.EIO, pattern))
                unplug = self.client.start_unplug(PLAIN, LONG)
                problem = f"{PLAIN}: Failed to look at the device nodes to write-protect: {os.strerror(errno.EIO)}"
                vb.wait_until(lambda text=problem: text in self.client.manager_property("Problems"), None, "the problem")
                faults.clear()
                vb.wait_until(lambda: not self.client.manager_property("Problems"), None, "no problem")
                self.assertTrue(closed())
                self.client.cancel_unplug(PLAIN)
                self.assert_fails(vb.FAILED, unplug)
                self.assertFalse(closed())

    def test_a_node_of_two_unplugs(self):
        """Nobody gets in while one of them still asks its users."""
        def mode():
            return os.stat(vfio.path("vfio/devices/vfio7")).st_mode & 0o777

        vfio = self.start_vfio()
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        vfio.add_device(pf.vfs[0], "vfio7")
        own = mode()
        self.start()
        self.use(pf.vfs[0])
        for first, last in ((VFS[0], PF), (PF, VFS[0])):
            with self.subTest(f"{first} ends first"):
                calls = {}
                for address in (VFS[0], PF):
                    calls[address] = self.client.start_unplug(address, LONG)
                    self.wait_property(address, "State", "unplug-requested")
                self.assertEqual(mode(), 0)
                self.client.cancel_unplug(first)
                self.assert_fails(vb.FAILED, calls[first])
                self.assertEqual((mode(), self.picture.function(last)["State"]), (0, "unplug-requested"))
                self.client.cancel_unplug(last)
                self.assert_fails(vb.FAILED, calls[last])
                self.assertEqual(mode(), own)

    def test_a_node_that_comes_meanwhile(self):
        """A VF is bound to VFIO while its PF is being removed; a rule of udev's opens its node a little later."""
        def mode():
            return os.stat(vfio.path("vfio/devices/vfio8")).st_mode & 0o777

        vfio = self.start_vfio()
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.sysfs.rebind(pf.vfs[1], "igbvf")
        self.start()
        self.use(pf.vfs[0])
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        vfio.add_device(pf.vfs[1], "vfio8")
        self.sysfs.rebind(pf.vfs[1], "vfio-pci")
        vb.wait_until(lambda: mode() == 0, None, "the node to be closed")
        os.chmod(vfio.path("vfio/devices/vfio8"), 0o660)
        vb.wait_until(lambda: mode() == 0, None, "the node to be closed again")
        self.client.cancel_unplug(PF)
        self.assert_fails(vb.FAILED, call)
        self.assertEqual(mode(), 0o660)

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
        self.assertIn("the request ends with it, and nothing has changed", self.assert_fails(vb.FAILED, call).message)

    def test_other_operations_meanwhile(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        reset = self.client.start_function_call(PLAIN, "Reset")
        self.assert_fails(vb.REFUSED, reset)
        # The user releases it, and the next request makes the daemon see that first.
        self.kernel.hang.add("vfio-pci/unbind")
        function.write("enable", "0")
        self.kernel.held.clear()
        first = self.client.start_function_call(PLAIN, "Reset")
        unbind = self.kernel.wait_for("vfio-pci/unbind")
        reset = self.client.start_function_call(PLAIN, "Reset")
        self.assertRaises(vb.BusError, reset.result)
        self.assertIn(reset.error.name, (vb.REFUSED, vb.BUSY))
        self.kernel.release(unbind)
        call.result()
        # It was done before the unbind, or was refused.
        wait_until(lambda: first.done, None, "the first reset's answer")


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


if __name__ == "__main__":
    fixtures.main_among_own_processes()
