#!/usr/bin/python3
"""Inhibitors that delay: an unplug asks those who hold them, too, and waits until they are released."""

import os

import fixtures
from fixtures import wait_until
from test_unplug import LONG, PF, PLAIN, SHORT, UnplugTest, VFS
import vfwarden_bus as vb


class Delayed(UnplugTest):
    """A client holds an inhibitor that delays."""

    def setUp(self):
        super().setUp()
        self._fds = []
        self.addCleanup(lambda: [os.close(fd) for fd in self._fds])

    def delay(self, address, what="unbind:remove:power-off", who="guest"):
        self._fds.append(self.client.delay(address, what, who))

    def release(self):
        os.close(self._fds.pop())

    def modes(self):
        return {row["who"]: row["mode"] for row in self.client.manager("DescribeInhibitors")}

    def test_is_asked_and_waited_for(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.delay(PLAIN)
        mark = self.mark()
        call = self.client.start_unplug(PLAIN, LONG)
        self.client.recorder.wait_for("UnplugRequested", mark=mark)
        self.assertEqual(list(self.requests(mark)), [PLAIN])
        self.assertEqual(self.writes, [])
        self.release()
        call.result()
        self.assertEqual(self.writes, [("igb/unbind", PLAIN), (f"{PLAIN}/remove", "1")])

    def test_so_are_users(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        self.delay(PLAIN)
        for first, second in ((self.release, lambda: self.kernel.let_go(function)),
                              (lambda: self.kernel.let_go(function), self.release)):
            call = self.client.start_unplug(PLAIN, LONG)
            self.wait_property(PLAIN, "State", "unplug-requested")
            first()
            self.wait_property(PLAIN, "State", "draining")
            self.assertEqual(self.writes, [])
            if first == self.release:
                self.client.cancel_unplug(PLAIN)
                self.assert_fails(vb.FAILED, call)
                self.delay(PLAIN)
        second()
        call.result()
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])

    def test_is_not_released(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.delay(PLAIN)
        for insist in (False, True):
            with self.subTest(insist=insist):
                mark = self.mark()
                self.assert_fails(vb.TIMEOUT, self.client.start_unplug(PLAIN, SHORT, insist=insist))
                self.assertEqual(self.states(PLAIN, mark), ["unplug-requested", "present"])
        self.assertEqual(self.writes, [])

    def test_zero_timeout(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.delay(PLAIN)
        mark = self.mark()
        self.assertIn("guest", self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, 0)).message)
        self.assertEqual(self.requests(mark), {})

    def test_the_kernel_asks_after_it(self):
        """With `insist` the kernel asks the users, once no inhibitor is left."""
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        self.delay(PLAIN)
        call = self.client.start_unplug(PLAIN, LONG, insist=True)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.assertEqual(self.writes, [])
        self.release()
        self.wait_property(PLAIN, "State", "removing")
        wait_until(lambda: ("vfio-pci/unbind", PLAIN) in self.writes, None, "the unbind")
        self.kernel.let_go(function)
        call.result()

    def test_on_a_vf(self):
        self.sysfs.add_pf(PF, vfs=2)
        self.start()
        self.delay(VFS[1])
        mark = self.mark()
        call = self.client.start_unplug(PF, LONG)
        self.wait_property(PF, "State", "unplug-requested")
        self.assertEqual(sorted(self.requests(mark)), [PF, VFS[1]])
        self.release()
        call.result()

    def test_everything_else_is_blocked(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.delay(PLAIN)
        self.wait_property(PLAIN, "LockReasons", ["inhibitor"])
        self.assertEqual(self.client.check(PLAIN, "unbind")[1],
                         [("delay", "guest", "inhibits unbind: ", os.getpid())])
        for member in ("Unbind", "Bind"):
            arguments = ("(s)", "igb") if member == "Bind" else ()
            with self.assertRaises(vb.BusError) as caught:
                self.client.start_function_call(PLAIN, member, *arguments).result()
            self.assertEqual(caught.exception.name, vb.REFUSED)
            self.assertIn("guest", caught.exception.message)
        self.assertEqual(function.mode("remove") & 0o222, 0)
        self.assertEqual(self.writes, [])

    def test_over_a_restart(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.delay(PLAIN)
        self._fds.append(self.client.inhibit(PLAIN, "reset", "backup"))
        modes = {"guest": "delay", "backup": "block"}
        self.assertEqual(self.modes(), modes)
        self.restart()
        self.assertEqual(self.modes(), modes)
        mark = self.mark()
        call = self.client.start_unplug(PLAIN, LONG)
        self.client.recorder.wait_for("UnplugRequested", mark=mark)
        os.close(self._fds.pop(0))
        call.result()

    def test_one_that_blocks_comes_after_the_request(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.delay(PLAIN)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self._fds.append(self.client.inhibit(PLAIN, "remove", "backup"))
        os.close(self._fds.pop(0))
        wait_until(lambda: self.modes() == {"backup": "block"}, None, "the end of the first")
        self.assertEqual(self.writes, [])
        self.release()
        call.result()

    def test_an_administrators_lock_comes_after_the_request(self):
        """Of the function, or of a VF that would go with it."""
        def written(address):
            return [write for write in self.writes if write[1] == address or write[0].startswith(address)]

        self.sysfs.add(PLAIN, driver="igb")
        self.sysfs.add_pf(PF, vfs=2)
        self.start()
        for address, locked in ((PLAIN, PLAIN), (PF, VFS[1])):
            with self.subTest(address=address, locked=locked):
                self.delay(address)
                call = self.client.start_unplug(address, LONG)
                self.wait_property(address, "State", "unplug-requested")
                self.client.lock(locked, "until noon")
                os.close(self._fds.pop(0))
                wait_until(lambda: self.modes() == {}, None, "the end of the inhibitor")
                self.assertIn(("lock", locked), [blocker[:2] for blocker in self.client.check(address, "remove")[1]])
                self.assertEqual((written(address), call.done), ([], False))
                self.client.unlock(locked)
                call.result()

    def test_all_locks_end_after_the_request(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.delay(PLAIN)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.client.lock(PLAIN, "until noon")
        os.close(self._fds.pop(0))
        wait_until(lambda: self.modes() == {}, None, "the end of the inhibitor")
        self.assertFalse(call.done)
        self.client.manager("ReleaseAll")
        call.result()

    def test_on_several_functions(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.sysfs.add_pf(PF, vfs=2)
        self.start()
        self._fds.append(self.client.inhibit_many([PLAIN, VFS[0]], "unbind:remove", "guest", mode="delay")[0])
        mark = self.mark()
        calls = [self.client.start_unplug(address, LONG) for address in (PLAIN, PF)]
        for address in (PLAIN, PF):
            self.wait_property(address, "State", "unplug-requested")
        self.assertEqual(sorted(self.requests(mark)), [PF, VFS[0], PLAIN])
        self.release()
        for call in calls:
            call.result()

    def test_modes(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self._fds.append(self.client.delay(PLAIN, "remove", "blocks", mode="block"))
        self.assert_fails(vb.REFUSED, self.client.start_unplug(PLAIN, LONG))
        for mode in ("", "delay ", "Delay"):
            with self.assertRaises(vb.BusError) as caught:
                self.client.delay(PLAIN, "remove", mode=mode)
            self.assertEqual(caught.exception.name, vb.INVALID_ARGS)


if __name__ == "__main__":
    fixtures.main()
