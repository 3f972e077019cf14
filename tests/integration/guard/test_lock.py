#!/usr/bin/python3
"""Which files are closed, for which reason, and that each gets its own mode back."""

import signal

import fixtures
from fixtures import DEADLINE
import fakepci
import vfwarden_bus as vb

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"

SRIOV = ["sriov_numvfs", "sriov_drivers_autoprobe"]
ALL = SRIOV + ["remove", "reset", "reset_method"]


class LockTest(fixtures.DaemonTest):
    def modes(self, function):
        return {name: function.mode(name) for name in fakepci.MODES if function.exists(name)}

    def assert_closed(self, function, *names, own=None):
        """Exactly `names` of the function are closed, all else has the mode `own` or the kernel's."""
        own = own or {}
        expected = {}
        for name in self.modes(function):
            mode = own.get(name, fakepci.MODES[name])
            expected[name] = mode & ~0o222 if name in names else mode
        vb.wait_until(lambda: self.modes(function) == expected, None,
                      lambda: f"modes {expected}, are {self.modes(function)}")


class UserspaceDriver(LockTest):
    def test_pf_found_on_vfio_pci(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci", slot="3")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)
        told = self.picture.function(PF)
        self.assertIs(told["Locked"], True)
        self.assertEqual(told["LockReasons"], ["userspace-driver"])
        self.assertEqual(told["ClosedFiles"], SRIOV)

    def test_pf_comes_and_goes(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.assert_closed(pf)
        self.sysfs.rebind(pf, "vfio-pci")
        self.wait_property(PF, "Locked", True)
        self.assert_closed(pf, *SRIOV)
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "Locked", False)
        self.wait_property(PF, "ClosedFiles", [])
        self.assert_closed(pf)
        self.assertEqual(self.picture.function(PF)["LockReasons"], [])

    def test_unbound_is_open(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.sysfs.unbind(pf)
        self.wait_property(PF, "Locked", False)
        self.assert_closed(pf)

    def test_default_list_of_drivers(self):
        drivers = {"vfio-pci": True, "mlx5_vfio_pci": True, "uio_pci_generic": True,
                   "igb_uio": True, "pci-stub": True, "igb": False, "vfio": False,
                   "vfio-pci-core": False, "nvme": False}
        pfs = {driver: self.sysfs.add_pf(f"0000:{index + 1:02x}:00.0", driver=driver)
               for index, driver in enumerate(drivers)}
        self.start()
        for driver, locked in drivers.items():
            with self.subTest(driver):
                self.assertIs(self.picture.function(pfs[driver].address)["Locked"], locked)
                self.assert_closed(pfs[driver], *(SRIOV if locked else ()))

    def test_only_a_pf_has_something_to_protect(self):
        plain = self.sysfs.add(PLAIN, driver="vfio-pci")
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.start()
        for function in (plain, pf, pf.vfs[0]):
            self.assert_closed(function)
            self.assertIs(self.picture.function(function.address)["Locked"], False)

    def test_hot_plugged_pf_that_binds_at_once(self):
        self.start()
        pf = self.sysfs.add_pf(PF, driver="vfio-pci", announce=True)
        self.wait_function(PF)
        self.wait_property(PF, "Locked", True)
        self.assert_closed(pf, *SRIOV)

    def test_unusual_own_mode_comes_back(self):
        pf = self.sysfs.add_pf(PF)
        pf.chmod("sriov_numvfs", 0o664)
        self.start()
        self.sysfs.rebind(pf, "vfio-pci")
        self.assert_closed(pf, *SRIOV, own={"sriov_numvfs": 0o664})
        self.sysfs.rebind(pf, "igb")
        self.assert_closed(pf, own={"sriov_numvfs": 0o664})

    def test_reads_still_work(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.assertEqual(pf.mode("sriov_numvfs"), 0o444)
        with open(pf.path("sriov_numvfs"), encoding="ascii") as file:
            self.assertEqual(file.read(), "0\n")

    def test_pf_without_some_files(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        pf.unset("sriov_drivers_autoprobe")
        self.start()
        self.assert_closed(pf, "sriov_numvfs")
        self.assertEqual(self.picture.function(PF)["ClosedFiles"], ["sriov_numvfs"])

    def test_vfs_under_a_userspace_driver_are_warned_of(self):
        pf = self.sysfs.add_pf(PF, vfs=3, driver="nvme")
        self.start()
        mark = self.daemon.log_mark()
        self.sysfs.rebind(pf, "vfio-pci")
        self.daemon.wait_log(rf"{PF}.*\b3\b.*(VF|virtual function)", mark)

    def test_no_warning_without_vfs(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        mark = self.daemon.log_mark()
        self.sysfs.rebind(pf, "vfio-pci")
        self.wait_property(PF, "Locked", True)
        self.fence()
        self.assertEqual(self.daemon.lines(rf"{PF}.*\b[0-9]+ (VF|virtual function)", mark), [])

    def test_replaced_before_the_daemon_looks(self):
        # Both events are waiting when it comes to read them.
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        pf.chmod("sriov_numvfs", 0o664)
        self.start()
        self.assert_closed(pf, *SRIOV, own={"sriov_numvfs": 0o664})
        self.daemon.kill(signal.SIGSTOP)
        self.sysfs.remove(pf)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci", announce=True)
        self.daemon.kill(signal.SIGCONT)
        self.assert_closed(pf, *SRIOV)
        self.fence()
        self.sysfs.rebind(pf, "igb")
        self.assert_closed(pf)

    def test_objects_of_a_locked_pf_go_with_it(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        pf = self.sysfs.add_pf(PF, announce=True)
        self.wait_property(PF, "Driver", "igb")
        self.fence()
        told = self.picture.function(PF)
        self.assertEqual((told["Locked"], told["Tainted"], told["ClosedFiles"]),
                         (False, False, []))
        self.assert_closed(pf)


class Administrator(LockTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True)

    def test_lock_and_unlock(self):
        pf = self.sysfs.add_pf(PF, slot="3")
        self.start()
        self.client.lock(PF, "maintenance tonight")
        # The reply comes when it is done, not when it is wanted.
        self.assertEqual(pf.mode("sriov_numvfs"), 0o444)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o444)
        self.assert_closed(pf, *ALL)
        self.wait_property(PF, "Locked", True)
        self.wait_property(PF, "LockWhy", "maintenance tonight")
        self.wait_property(PF, "ClosedFiles", ALL + ["power"])
        self.assertEqual(self.picture.function(PF)["LockReasons"], ["administrator"])
        self.client.unlock(PF)
        self.assertEqual(pf.mode("sriov_numvfs"), 0o644)
        self.assert_closed(pf)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)
        self.wait_property(PF, "Locked", False)
        self.wait_property(PF, "LockWhy", "")
        self.wait_property(PF, "ClosedFiles", [])

    def test_closed_modes_are_the_own_ones_without_write_bits(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.assertEqual({name: pf.mode(name) for name in ALL}, {
            "sriov_numvfs": 0o444, "sriov_drivers_autoprobe": 0o444, "remove": 0, "reset": 0,
            "reset_method": 0o444})
        self.client.unlock(PF)
        self.assertEqual({name: pf.mode(name) for name in ALL}, {
            "sriov_numvfs": 0o644, "sriov_drivers_autoprobe": 0o644, "remove": 0o220,
            "reset": 0o200, "reset_method": 0o644})

    def test_of_a_plain_function_and_of_a_vf(self):
        plain = self.sysfs.add(PLAIN)
        pf = self.sysfs.add_pf(PF, vfs=1)
        self.start()
        self.client.lock(PLAIN)
        self.client.lock(pf.vfs[0].address)
        self.assert_closed(plain, "remove", "reset", "reset_method")
        self.assert_closed(pf.vfs[0], "reset", "reset_method")
        self.assert_closed(pf, "sriov_numvfs", "remove", "reset", "reset_method")
        self.wait_property(pf.vfs[0].address, "ClosedFiles", ["reset", "reset_method"])
        self.wait_property(PF, "LockReasons", ["vf-locked"])
        self.client.unlock(pf.vfs[0].address)
        self.assert_closed(pf)

    def test_what_takes_a_locked_vf_away_is_refused(self):
        self.start_polkit(configure=True, unplug=True)
        pf = self.sysfs.add_pf(PF, vfs=2)
        self.start()
        vf = pf.vfs[1].address
        self.client.lock(vf, "customer 7")
        reason = f"{vf}: is a VF of it and locked by an administrator: customer 7"
        for call in (self.client.start_set_num_vfs(PF, 0), self.client.start_function_call(PF, "Reset"),
                     self.client.start_unplug(PF, 600)):
            with self.assertRaises(vb.BusError) as caught:
                call.result()
            self.assertEqual(caught.exception.name, vb.REFUSED)
            self.assertIn(reason, caught.exception.message)
        self.assertEqual(self.client.check(PF, "set-autoprobe")[:2], (True, []))
        self.assertEqual(self.client.check(pf.vfs[0].address, "reset")[:2], (True, []))

    def test_driver_override_and_bind_stay_open(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.client.lock(PF)
        self.assertEqual(pf.mode("driver_override"), 0o644)
        import os
        for name in ("bind", "unbind"):
            path = self.sysfs.path("bus/pci/drivers/vfio-pci", name)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o200)

    def test_two_reasons_open_when_the_last_goes(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.client.lock(PF)
        self.wait_property(PF, "LockReasons", ["userspace-driver", "administrator"])
        self.assert_closed(pf, *ALL)
        self.client.unlock(PF)
        self.wait_property(PF, "LockReasons", ["userspace-driver"])
        self.assert_closed(pf, *SRIOV)
        self.client.lock(PF)
        self.sysfs.rebind(pf, "igb")
        self.wait_property(PF, "LockReasons", ["administrator"])
        self.assert_closed(pf, *ALL)
        self.client.unlock(PF)
        self.assert_closed(pf)

    def test_the_rom_stays_readable(self):
        function = self.sysfs.add(PLAIN, attributes={"rom": ""})
        self.start()
        self.client.lock(PLAIN)
        self.assert_closed(function, "remove", "reset", "reset_method", "rom")
        self.wait_property(PLAIN, "ClosedFiles", ["remove", "reset", "reset_method", "rom"])
        self.assertEqual(function.mode("rom"), 0o400)
        self.client.unlock(PLAIN)
        self.assert_closed(function)

    def test_slot_of_two_functions_opens_when_both_let_go(self):
        one = self.sysfs.add("0000:05:00.0", slot="7")
        two = self.sysfs.add("0000:05:00.1", slot="7")
        self.start()
        self.client.lock(one.address)
        self.assertEqual(self.sysfs.slot_mode("7"), 0o444)
        self.client.lock(two.address)
        self.client.unlock(one.address)
        self.assertEqual(self.sysfs.slot_mode("7"), 0o444)
        self.wait_property(one.address, "ClosedFiles", [])
        self.wait_property(two.address, "ClosedFiles", ["remove", "reset", "reset_method", "power"])
        self.client.unlock(two.address)
        self.assertEqual(self.sysfs.slot_mode("7"), 0o644)

    def test_slot_opens_when_the_function_that_closed_it_goes(self):
        one = self.sysfs.add("0000:05:00.0", slot="7")
        self.sysfs.add("0000:05:00.1", slot="7")
        self.start()
        self.client.lock(one.address)
        self.assertEqual(self.sysfs.slot_mode("7"), 0o444)
        self.sysfs.remove(one)
        self.wait_slot_mode("7", 0o644)

    def test_other_slots_stay_open(self):
        self.sysfs.add("0000:05:00.0", slot="7")
        self.sysfs.add("0000:15:00.0", slot="8")
        self.sysfs.add("0001:05:00.0", slot="9")
        self.start()
        self.client.lock("0000:05:00.0")
        self.assertEqual([self.sysfs.slot_mode(slot) for slot in "789"], [0o444, 0o644, 0o644])

    def test_a_vf_sits_in_its_pfs_slot(self):
        pf = self.sysfs.add_pf(PF, vfs=1, slot="3")
        self.start()
        vf = pf.vfs[0].address
        self.client.lock(vf)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o444)
        self.wait_property(vf, "ClosedFiles", ["reset", "reset_method", "power"])
        self.client.unlock(vf)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)

    def test_slots_of_s390_name_the_function(self):
        # There the last number of a slot's address is device and function in one: 05 is 00.5.
        function = self.sysfs.add("0000:00:00.5", slot="5", attributes={"vfn": "0x0000"})
        self.sysfs.add("0000:00:05.0", attributes={"vfn": "0x0000"})
        self.sysfs.add("0000:00:00.4", attributes={"vfn": "0x0000"})
        self.sysfs.slots_of("5", "0000:00:05")
        self.start()
        self.client.lock("0000:00:05.0")
        self.client.lock("0000:00:00.4")
        self.assertEqual(self.sysfs.slot_mode("5"), 0o644)
        self.client.lock(function.address)
        self.assertEqual(self.sysfs.slot_mode("5"), 0o444)

    def test_own_mode_of_a_slot(self):
        self.sysfs.add_slot("7", "0000:05:00", power_mode=0o600)
        self.sysfs.add("0000:05:00.0", slot="7")
        self.start()
        self.client.lock("0000:05:00.0")
        self.assertEqual(self.sysfs.slot_mode("7"), 0o400)
        self.client.unlock("0000:05:00.0")
        self.assertEqual(self.sysfs.slot_mode("7"), 0o600)

    def test_unlock_leaves_what_was_never_open(self):
        # Someone else closed it before us; that is its own mode.
        function = self.sysfs.add(PLAIN)
        function.chmod("reset_method", 0o600)
        self.start()
        self.client.lock(PLAIN)
        self.assertEqual(function.mode("reset_method"), 0o400)
        self.client.unlock(PLAIN)
        self.assertEqual(function.mode("reset_method"), 0o600)

    def test_a_file_that_an_administrator_protected_stays_so(self):
        """No earlier run of the daemon can have done that: all that it left is known after the start."""
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.start()
        self.fence()
        pf.chmod("sriov_numvfs", 0o444)
        pf.vfs[0].write("enable", "1")
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        self.assert_closed(pf, *ALL)
        pf.vfs[0].write("enable", "0")
        self.wait_property(PF, "LockReasons", [])
        self.assert_closed(pf, "sriov_numvfs")

    def test_a_replugged_function_is_not_locked(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF)
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        pf = self.sysfs.add_pf(PF, announce=True)
        self.wait_property(PF, "Driver", "igb")
        self.fence()
        self.assertIs(self.picture.function(PF)["Locked"], False)
        self.assertEqual(self.picture.function(PF)["LockWhy"], "")
        self.assert_closed(pf)

    def test_second_lock_replaces_the_text(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.client.lock(PF, "one")
        self.client.lock(PF, "two")
        self.wait_property(PF, "LockWhy", "two")
        self.client.unlock(PF)
        self.wait_property(PF, "Locked", False)

    def test_unlocking_what_is_not_locked_does_nothing(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        mark = self.mark()
        self.client.unlock(PF)
        self.assertEqual(self.signals_since(mark), [])
        self.assert_closed(pf, *SRIOV)

    def test_text_has_a_limit(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.assert_bus_error(vb.INVALID_ARGS, self.client.lock, PF, "x" * 513)
        self.assert_closed(pf)
        self.client.lock(PF, "x" * 512)
        self.wait_property(PF, "LockWhy", "x" * 512)

    def test_of_a_function_that_is_not_there(self):
        self.start()
        with self.assertRaises(vb.BusError) as caught:
            self.client.lock("0000:44:00.0")
        self.assertIn(caught.exception.name, (
            vb.NO_SUCH_FUNCTION, "org.freedesktop.DBus.Error.UnknownObject"))


class Advise(LockTest):
    def test_watches_and_closes_nothing(self):
        self.configure("[Lock]\nEnforcement=advise\n")
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci", slot="3")
        self.start()
        self.assertEqual(self.client.manager_property("Enforcement"), "advise")
        self.assertEqual(self.picture.function(PF)["LockReasons"], ["userspace-driver"])
        self.client.lock(PF)
        self.wait_property(PF, "LockReasons", ["userspace-driver", "administrator"])
        self.fence()
        self.assertEqual(self.picture.function(PF)["ClosedFiles"], [])
        self.assert_closed(pf)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)

    def test_reload_switches_both_ways(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.configure("[Lock]\nEnforcement=advise\n")
        self.client.manager("Reload")
        self.assert_closed(pf)
        vb.wait_until(lambda: self.picture.manager["Enforcement"] == "advise", None, "advise")
        self.wait_property(PF, "ClosedFiles", [])
        self.configure("[Lock]\nEnforcement=enforce\n")
        self.client.manager("Reload")
        self.assert_closed(pf, *SRIOV)
        vb.wait_until(lambda: self.picture.manager["Enforcement"] == "enforce", None, "enforce")
        self.wait_property(PF, "ClosedFiles", SRIOV)


class ReleaseAll(LockTest):
    def test_opens_everything_until_reload(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        pf.chmod("sriov_numvfs", 0o664)
        plain = self.sysfs.add(PLAIN, slot="3")
        own = {"sriov_numvfs": 0o664}
        self.start()
        self.client.lock(PLAIN)
        self.assert_closed(plain, "remove", "reset", "reset_method")
        opened = self.client.manager("ReleaseAll")
        self.assertEqual(len(opened), 2 + 4, opened)
        self.assertTrue(any(PF in name and "sriov_numvfs" in name for name in opened), opened)
        self.assert_closed(pf, own=own)
        self.assert_closed(plain)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)
        vb.wait_until(lambda: self.picture.manager["Enforcement"] == "advise", None, "advise")
        self.wait_property(PF, "ClosedFiles", [])
        self.assertEqual(self.client.manager("ReleaseAll"), [])
        self.client.manager("Reload")
        self.assert_closed(pf, *SRIOV, own=own)
        # Administrators' locks are forgotten, the kernel's reasons are not.
        self.assert_closed(plain)
        self.assertEqual(self.picture.function(PLAIN)["LockReasons"], [])

    def test_nothing_to_open(self):
        self.start_polkit(configure=True)
        self.sysfs.add_pf(PF)
        self.start()
        self.assertEqual(self.client.manager("ReleaseAll"), [])


class Many(LockTest):
    def test_sixty_four_pfs_at_once(self):
        pfs = [self.sysfs.add_pf(f"0000:{bus:02x}:00.0") for bus in range(1, 65)]
        self.start()
        for pf in pfs:
            self.sysfs.rebind(pf, "vfio-pci")
        for pf in pfs:
            self.wait_mode(pf, "sriov_numvfs", 0o444, 3 * DEADLINE)
        for pf in pfs:
            self.sysfs.rebind(pf, "igb")
        for pf in pfs:
            self.wait_mode(pf, "sriov_numvfs", 0o644, 3 * DEADLINE)


if __name__ == "__main__":
    fixtures.main()
