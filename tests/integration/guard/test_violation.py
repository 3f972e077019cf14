#!/usr/bin/python3
"""Violations of a lock are undone where possible, and reported in any case."""

import os
import time

import fixtures
from fakepci import MODES
import pace
import vfwarden_bus as vb
from test_lock import ALL, LockTest, SRIOV

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"

# The contract: closed again within 100 ms.
AGAIN = 0.1


class Violation(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)

    def violations(self, mark):
        return [s.args for s in self.signals_since(mark) if s.member == "Violation"]

    def test_restored_bit_is_taken_again_and_told_once(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        log = self.daemon.log_mark()
        mark = self.mark()
        started = time.monotonic()
        pf.chmod("sriov_numvfs", 0o644)
        vb.wait_until(lambda: pf.mode("sriov_numvfs") == 0o444, None, "it to be closed again")
        took = time.monotonic() - started
        self.assertLess(took, pace.at_most(AGAIN))
        signal = self.client.recorder.wait_for("Violation", mark=mark)
        self.assertEqual((signal.path, signal.interface), (vb.ROOT, vb.MANAGER))
        self.assertEqual(self.violations(mark), [(PF, "set-num-vfs", {
            "file": "sriov_numvfs", "mode": 0o644, "reasons": ["userspace-driver"]})])
        self.daemon.wait_log(rf"{PF}.*sriov_numvfs", log)

    def test_every_file_names_its_operation(self):
        pf = self.sysfs.add_pf(PF, slot="3")
        self.start()
        self.client.lock(PF)
        self.assert_closed(pf, *ALL)
        operations = {"sriov_numvfs": "set-num-vfs", "sriov_drivers_autoprobe": "set-autoprobe",
                      "remove": "remove", "reset": "reset", "reset_method": "reset"}
        for name, operation in operations.items():
            mark = self.mark()
            mode = MODES[name] | 0o200
            pf.chmod(name, mode)
            signal = self.client.recorder.wait_for("Violation", mark=mark)
            self.assertEqual(signal.args, (PF, operation, {
                "file": name, "mode": mode, "reasons": ["administrator"]}))
            self.assert_closed(pf, *ALL)
        mark = self.mark()
        self.sysfs.chmod_slot("3", 0o644)
        signal = self.client.recorder.wait_for("Violation", mark=mark)
        self.assertEqual(signal.args, (PF, "power-off", {
            "file": "power", "mode": 0o644, "reasons": ["administrator"]}))
        self.wait_slot_mode("3", 0o444)

    def test_own_mode_is_still_known_after_it(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        mark = self.mark()
        pf.chmod("sriov_numvfs", 0o666)
        self.client.recorder.wait_for("Violation", mark=mark)
        self.assert_closed(pf, *SRIOV)
        self.sysfs.rebind(pf, "igb")
        self.assert_closed(pf)

    def test_again_and_again(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        for _ in range(5):
            mark = self.mark()
            pf.chmod("sriov_numvfs", 0o644)
            self.client.recorder.wait_for("Violation", mark=mark)
            self.wait_mode(pf, "sriov_numvfs", 0o444)
            self.assertEqual(len(self.violations(mark)), 1)

    def test_a_loop_is_counted(self):
        """Each time the file is locked again; ten are reported one by one, and all others together."""
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        log, mark = self.daemon.log_mark(), self.mark()
        for _ in range(25):
            pf.chmod("sriov_numvfs", 0o644)
            self.wait_mode(pf, "sriov_numvfs", 0o444)
        self.fence()
        self.assertEqual([args[2].get("count") for args in self.violations(mark)], [None] * 10)
        fixtures.wait_until(lambda: len(self.violations(mark)) > 10, 3 * fixtures.DEADLINE, "those that were counted")
        self.assertEqual(self.violations(mark)[10:], [(PF, "set-num-vfs", {
            "file": "sriov_numvfs", "mode": 0o644, "count": 15, "reasons": ["userspace-driver"]})])
        self.daemon.wait_log(r"got write permission .* \(15 times\)", log)

    def test_another_file_is_counted_for_itself(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        for _ in range(12):
            pf.chmod("sriov_numvfs", 0o644)
            self.wait_mode(pf, "sriov_numvfs", 0o444)
        self.fence()
        mark = self.mark()
        pf.chmod("sriov_drivers_autoprobe", 0o644)
        self.assertEqual(self.client.recorder.wait_for("Violation", mark=mark).args[1], "set-autoprobe")

    def test_a_mode_of_an_administrator_is_kept(self):
        """What was changed while the file was locked holds once it is unlocked, over a restart, too."""
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        mark = self.mark()
        pf.chmod("sriov_drivers_autoprobe", 0o400)
        self.fence()
        self.assertEqual(self.violations(mark), [])
        pf.chmod("sriov_numvfs", 0o660)
        self.client.recorder.wait_for("Violation", mark=mark)
        self.wait_mode(pf, "sriov_numvfs", 0o440)
        self.fence()    # the mode to come is saved at the end of the turn
        self.kill()
        self.start()
        self.sysfs.rebind(pf, "igb")
        self.wait_mode(pf, "sriov_numvfs", 0o660)
        self.wait_mode(pf, "sriov_drivers_autoprobe", 0o600)

    def test_a_mode_that_nobody_could_want_is_undone(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        mark = self.mark()
        pf.chmod("sriov_numvfs", 0o200)
        self.client.recorder.wait_for("Violation", mark=mark)
        self.wait_mode(pf, "sriov_numvfs", 0o444)
        self.sysfs.rebind(pf, "igb")
        self.assert_closed(pf)

    def test_taking_bits_away_is_no_violation(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        mark = self.mark()
        pf.chmod("sriov_numvfs", 0o400)
        self.assertEqual(self.violations(mark), [])

    def test_own_doings_are_no_violation(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        mark = self.mark()
        self.client.lock(PF)
        self.client.unlock(PF)
        self.sysfs.rebind(pf, "vfio-pci")
        self.wait_property(PF, "Locked", True)
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "Locked", False)
        self.assertEqual(self.violations(mark), [])

    def test_opening_an_open_file_is_none(self):
        function = self.sysfs.add(PLAIN)
        self.start()
        mark = self.mark()
        function.chmod("reset", 0o222)
        self.assertEqual(self.violations(mark), [])
        self.assertEqual(function.mode("reset"), 0o222)

    def test_after_a_restart(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.kill()
        self.start()
        mark = self.mark()
        pf.chmod("sriov_numvfs", 0o644)
        self.client.recorder.wait_for("Violation", mark=mark)
        self.wait_mode(pf, "sriov_numvfs", 0o444)

    def test_vfs_changed_while_locked(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        mark = self.mark()
        self.sysfs.enable_vfs(pf, 2)
        self.wait_property(PF, "NumVFs", 2)
        self.wait_property(PF, "Tainted", True)
        told = self.violations(mark)
        self.assertTrue(told)
        before = 0
        for address, operation, details in told:
            self.assertEqual((address, operation), (PF, "set-num-vfs"))
            self.assertEqual(details["num-vfs-before"], before)
            before = details["num-vfs"]
        self.assertEqual(before, 2)

    def test_vfs_taken_while_locked(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.start()
        self.client.lock(PF)
        mark = self.mark()
        self.sysfs.disable_vfs(pf)
        self.wait_property(PF, "NumVFs", 0)
        self.wait_property(PF, "Tainted", True)
        told = self.violations(mark)
        self.assertEqual(told[0][2]["num-vfs-before"], 2)
        self.assertEqual(told[-1][2]["num-vfs"], 0)

    def test_vfs_changed_while_open_are_nobodys_fault(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        mark = self.mark()
        self.sysfs.enable_vfs(pf, 2)
        self.wait_property(PF, "NumVFs", 2)
        self.sysfs.disable_vfs(pf)
        self.wait_property(PF, "NumVFs", 0)
        self.assertEqual(self.violations(mark), [])
        self.assertIs(self.picture.function(PF)["Tainted"], False)

    def test_driver_leaving_with_its_vfs_is_no_violation(self):
        # igb and vfio-pci destroy the VFs when they are unbound; nobody wrote a count.
        pf = self.sysfs.add_pf(PF, vfs=2)
        self.start()
        self.client.lock(PF)
        mark = self.mark()
        self.sysfs.detach_driver(pf)
        self.sysfs.disable_vfs(pf)
        self.sysfs._event("unbind", pf)     # pylint: disable=protected-access
        self.wait_property(PF, "Driver", "")
        self.wait_property(PF, "NumVFs", 0)
        self.assertEqual(self.violations(mark), [])

    def test_in_advise_mode_a_restored_bit_is_nothing(self):
        self.configure("[Lock]\nEnforcement=advise\n")
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        mark = self.mark()
        pf.chmod("sriov_numvfs", 0o664)
        self.assertEqual(self.violations(mark), [])
        self.assertEqual(pf.mode("sriov_numvfs"), 0o664)

    def test_in_advise_mode_vfs_are_told_of(self):
        # Nothing is closed, and still a guest may hang on the VFs: advise means to say so.
        self.configure("[Lock]\nEnforcement=advise\n")
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        mark = self.mark()
        self.sysfs.enable_vfs(pf, 1, driver=None)
        self.wait_property(PF, "NumVFs", 1)
        self.assertEqual([(a, o, d["num-vfs"]) for a, o, d in self.violations(mark)],
                         [(PF, "set-num-vfs", 1)])

    def test_unplugging_a_locked_pf_with_vfs_is_none(self):
        # pciehp takes the VFs without their PF's links, which dangle until the PF goes.
        pf = self.sysfs.add_pf(PF, vfs=2, driver="vfio-pci")
        self.start()
        mark = self.mark()
        for vf in list(pf.vfs):
            os.unlink(vf.path("physfn"))
            self.sysfs._delete(vf)          # pylint: disable=protected-access
            self.wait_function(vf.address, there=False)
            self.fence()
        self.wait_property(PF, "NumVFs", 0)
        pf.vfs.clear()
        self.assertEqual(self.violations(mark), [])
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        self.assertEqual(self.violations(mark), [])

    def test_unprivileged_listener_hears_it(self):
        # Signals are broadcast and the bus policy lets everyone receive them: the recorder's own
        # connection has no rights but these.
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        listener = vb.Client(self.bus.address)
        self.addCleanup(listener.close)
        listener.ping()
        pf.chmod("sriov_numvfs", 0o644)
        self.assertEqual(listener.recorder.wait_for("Violation").args[0], PF)


if __name__ == "__main__":
    fixtures.main()
