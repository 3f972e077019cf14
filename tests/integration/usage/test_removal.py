#!/usr/bin/python3
"""Removals that cannot be cancelled: by "insist", external ones, or a surprise."""

import errno
import os
import signal

import fixtures
from fixtures import DEADLINE, wait_until
from test_unplug import LONG, PF, PLAIN, SHORT, UnplugTest, VFS
import vfwarden_bus as vb


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
        self.assertIn("cannot be cancelled", error.message)
        self.assert_fails(vb.BUSY, self.client.start_unplug(PLAIN, LONG))
        self.assertIn(("operation", PLAIN, "unbind is in progress", write.pid),
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
        # Both users were notified before anything was done.
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
            self.assertIn(("operation", PLAIN, "unbind is in progress", write.pid),
                          self.client.check(PLAIN, "remove")[1])
            self.assert_bus_error(vb.REFUSED, self.client.cancel_unplug, PLAIN)
        self.kernel.let_go(function)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])

    def test_a_worker_that_cannot_be_looked_at(self):
        """A daemon that began without knowing it would let others at the function: it does not begin."""
        faults = self.start_faults()
        function, _, write = self.begin()
        self.wait_property(PLAIN, "State", "removing")
        self.kill()
        self.crash_expected = True
        faults.set(("open", errno.EMFILE, f"/proc/{write.pid}/stat"))
        daemon = self.spawn()
        self.assertGreater(daemon.wait_exit(), 0)
        self.assertIn("Failed to look at the processes of an earlier run", daemon.log)
        faults.clear()
        self.start()
        self.assertIn(("operation", PLAIN, "unbind is in progress", write.pid), self.client.check(PLAIN, "remove")[1])
        self.kernel.let_go(function)
        self.wait_function(PLAIN, there=False)

    def test_the_unbind_ends_while_the_daemon_is_away(self):
        # Several, for what is done at once when the next one starts.
        function, _, write = self.begin()
        self.wait_property(PLAIN, "State", "removing")
        pidfd = os.pidfd_open(write.pid)
        self.addCleanup(os.close, pidfd)
        self.kill()
        self.kernel.let_go(function)
        fixtures.wait_for_end(pidfd)
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

    def test_a_vf_cannot_be_read_when_the_daemon_returns(self):
        """Nothing is done before it is known whom the kernel would wait for."""
        faults = self.start_faults()
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs)
        self.client.start_unplug(PF, LONG, insist=True)
        write = self.kernel.wait_for("vfio-pci/unbind")
        self.kill()
        os.kill(write.pid, signal.SIGKILL)
        self.kernel.waiting.clear()
        write.connection.close()
        self.kernel.held.discard(VFS[0])
        pf.vfs[0].write("enable", "0")
        faults.set(("open", errno.EMFILE, f"/sys/bus/pci/devices/{VFS[1]}"))
        self.start()
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        self.fence()
        self.assertEqual(self.writes, [("vfio-pci/unbind", VFS[0])])
        faults.clear()
        self.kernel.wait_for("vfio-pci/unbind")
        self.assertEqual(self.writes[1:], [("vfio-pci/unbind", VFS[1])])
        self.kernel.let_go(pf.vfs[1])
        self.wait_function(PF, there=False)
        self.assertEqual(self.writes[2:], [(f"{PF}/sriov_numvfs", "0"), ("igb/unbind", PF), (f"{PF}/remove", "1")])

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
        self.assertIn(("operation", PLAIN, "power-off is in progress", write.pid),
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
        self.wait_property(PLAIN, "State", "present", 3 * DEADLINE)
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
        self.wait_property(PLAIN, "State", "present", 3 * DEADLINE)

    def test_overtakes_a_request(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.use(function)
        mark = self.mark()
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.begin(function)
        error = self.assert_fails(vb.FAILED, call)
        self.assertIn("an external removal", error.message)
        self.assertEqual(self.states(PLAIN, mark), ["unplug-requested", "removing"])
        self.kernel.let_go(function)
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.writes, [])

    def test_a_request_waits_for_one_of_a_related_function(self):
        """That function goes in the end, and the request goes on."""
        function = self.sysfs.add(PLAIN, driver="vfio-pci", group=1)
        mate = self.sysfs.add("0000:09:00.0", driver="vfio-pci", group=1)
        self.start()
        self.use(function, mate)
        call = self.client.start_unplug(PLAIN, LONG)
        self.wait_property(PLAIN, "State", "unplug-requested")
        self.begin(mate)
        wait_until(lambda: "operation" in [kind for kind, subject, *_ in self.blockers(mate.address)
                                           if subject == mate.address], None, "the removal of the other")
        self.kernel.let_go(function)
        self.wait_property(PLAIN, "State", "removing")
        self.fence()
        self.assertEqual(self.writes, [])
        self.kernel.held.discard(mate.address)
        self.sysfs.remove(mate)
        call.result()
        self.assertEqual(self.writes, [("vfio-pci/unbind", PLAIN), (f"{PLAIN}/remove", "1")])

    def blockers(self, address, operation="unbind"):
        return self.client.manager("Check", "(ss)", address, operation)[1]

    def test_the_kernel_takes_the_slot(self):
        """Nobody writes: the button was pressed. All users of functions in the slot are notified at once."""
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
        self.assertIn(("operation", PF, "the kernel is taking it away (power-off), and waits for the users", 0),
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

    def test_a_slot_that_cannot_be_looked_for(self):
        """Nobody is said to take it away as long as the one who does may have been overlooked."""
        faults = self.start_faults()
        function = self.sysfs.add(PLAIN, driver="vfio-pci", slot="7")
        self.start()
        self.use(function)
        faults.set(("open", errno.EMFILE, "*/slots"))
        mark, log = self.mark(), self.daemon.log_mark()
        self.begin(function)
        self.daemon.wait_log(rf"{PLAIN}: Failed to find out who takes it away", log)
        self.assertEqual(self.requests(mark), {PLAIN: [0]}, "its holder is told all the same")
        by_kernel = ("operation", PLAIN, "the kernel is taking it away (power-off), and waits for the users", 0)
        self.assertNotIn(by_kernel, self.blockers(PLAIN))
        faults.clear()
        wait_until(lambda: by_kernel in self.blockers(PLAIN), None, "the kernel's removal")
        self.assertEqual(self.requests(mark), {PLAIN: [0]}, "and once")
        self.kernel.let_go(function)
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)

    def test_processes_that_cannot_be_listed(self):
        """The same for a search that ended early; it cannot hide for ever what the kernel does."""
        faults = self.start_faults()
        function = self.sysfs.add(PLAIN, driver="vfio-pci", slot="7")
        self.start()
        self.use(function)
        faults.set(("readdir", errno.EIO, "/proc"))
        log = self.daemon.log_mark()
        self.begin(function)
        self.daemon.wait_log(rf"{PLAIN}: Failed to find out who takes it away.*{os.strerror(errno.EIO)}", log)
        self.assertNotIn(0, [pid for kind, _, _, pid in self.blockers(PLAIN) if kind == "operation"])
        wait_until(lambda: 0 in [pid for kind, _, _, pid in self.blockers(PLAIN) if kind == "operation"],
                   4 * DEADLINE, "the kernel's removal")
        self.kernel.let_go(function)
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)

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

    def test_the_driver_of_the_pf_goes_and_nothing_says_so(self):
        """The kernel sends `unbind` when all is done. The other port of the card keeps its driver and its guests."""
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        mate = self.sysfs.add("0000:01:00.1", driver="vfio-pci")
        self.start()
        self.use(*pf.vfs, mate)
        mark = self.mark()
        self.sysfs.detach_driver(pf)
        self.begin(pf.vfs[1])
        self.wait_property(VFS[0], "State", "removing")
        self.assertEqual(self.requests(mark), {VFS[0]: [0], VFS[1]: [0]})
        self.assertEqual(self.states("0000:01:00.1", mark), [])

    def test_the_module_of_the_driver_goes(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        os.makedirs(self.sysfs.path("bus/pci/drivers/igb/module"))
        with open(self.sysfs.path("bus/pci/drivers/igb/module/initstate"), "w", encoding="ascii") as file:
            file.write("going\n")
        self.start()
        self.use(pf.vfs[0])
        log = self.daemon.log_mark()
        self.sysfs.detach_driver(pf)
        self.begin(pf.vfs[0])
        self.wait_property(VFS[0], "State", "removing")
        self.assertIn(("operation", PF, "the driver igb is leaving, and waits for the users", 0), self.blockers(PF))
        self.daemon.wait_log(rf"{PF}: the driver igb is leaving .* and waits for the users of {VFS[0]}", log)

    def test_an_unbind_that_leaves_the_device_enabled_is_none(self):
        """Bridges, sound and graphics do; the group's node is there for another member."""
        sound = self.sysfs.add("0000:65:00.1", driver="snd_hda_intel", class_code=0x040300, group=12)
        self.sysfs.add("0000:65:00.0", driver="vfio-pci", class_code=0x030000, group=12)
        os.makedirs(self.sysfs.path("class/vfio/12"), exist_ok=True)
        self.start()
        mark = self.mark()
        self.begin(sound)
        self.sysfs.tell("unbind", sound)
        self.wait_property(sound.address, "Driver", "")
        self.fence()
        for operation in ("bind", "unbind", "remove"):
            self.assertEqual(self.client.check(sound.address, operation)[:2], (True, []), operation)
        self.assertEqual(self.client.check("0000:65:00.0", "open")[:2], (True, []))
        self.assertEqual((self.requests(mark), self.states(sound.address, mark)), ({}, []))

    def test_the_kernel_gave_it_up(self):
        """All release it, and it stays all the same: it can be used again."""
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(*pf.vfs)
        self.begin(pf.vfs[1])
        self.wait_property(PF, "State", "removing")
        for vf in pf.vfs:
            self.kernel.let_go(vf)
        self.wait_property(PF, "State", "present", 3 * DEADLINE)
        self.wait_property(VFS[0], "State", "present", 3 * DEADLINE)
        self.wait_property(VFS[1], "State", "present")
        self.assertEqual(self.blockers(PF), [])

    def test_let_go_a_moment_ago(self):
        """The daemon's last word on the users is old when the driver goes: no signal is sent."""
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


if __name__ == "__main__":
    fixtures.main()
