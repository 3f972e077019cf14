#!/usr/bin/python3
"""Who uses a function, as far as a fake sysfs can show it: `enable` says that a device is open, and no process
that has it is found. What follows from it for the function, its PF and their files."""

import os
import time

import fixtures
import vfwarden_bus as vb
from test_lock import LockTest, SRIOV

PF = "0000:01:00.0"
VFS = ["0000:01:10.0", "0000:01:10.2"]
PLAIN = "0000:02:00.0"
AWAY = ["remove", "reset", "reset_method"]
STAYS = ["reset", "reset_method"]      # VFs have no `remove`


class UsersTest(LockTest):
    def open(self, function):
        function.write("enable", "1")

    def close(self, function):
        function.write("enable", "0")

    def listed(self):
        return self.client.manager("ListUsers")

    def told(self, address, mark, interface=vb.FUNCTION):
        """The properties that signals reported since, in order, as pairs."""
        return [pair for s in self.signals_since(mark)
                if s.member == "PropertiesChanged" and s.path == vb.function_path(address)
                and s.args[0] == interface for pair in s.args[1].items()]


class InUse(UsersTest):
    def test_a_function_of_its_own(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci", slot="7")
        self.start()
        self.assertIs(self.picture.function(PLAIN)["InUse"], False)
        self.assertEqual(self.listed(), [])
        for _ in range(3):
            mark = self.mark()
            self.open(function)
            self.wait_property(PLAIN, "InUse", True)
            self.assertEqual(self.listed(), [(PLAIN, 0, 0, "", "")])
            self.assertIs(self.client.list_functions()[PLAIN][2], True)
            self.assert_closed(function, *AWAY)
            self.assertEqual(self.sysfs.slot_mode("7"), 0o444)
            self.assertEqual(dict(self.told(PLAIN, mark)), {
                "InUse": True, "Locked": True, "LockReasons": ["in-use"], "ClosedFiles": [*AWAY, "power"]})
            mark = self.mark()
            self.close(function)
            self.wait_property(PLAIN, "InUse", False)
            self.assertEqual(self.listed(), [])
            self.assert_closed(function)
            self.assertEqual(self.sysfs.slot_mode("7"), 0o644)
            self.assertEqual(dict(self.told(PLAIN, mark)), {
                "InUse": False, "Locked": False, "LockReasons": [], "ClosedFiles": []})

    def test_described(self):
        functions = [self.sysfs.add(address, driver="vfio-pci") for address in (PLAIN, "0000:03:00.0")]
        self.start()
        started = time.time_ns() // 1000
        told = {}
        for function in functions:
            self.open(function)
            self.wait_property(function.address, "InUse", True)
            (told[function.address],) = self.client.manager("DescribeUsers", "(s)", function.address)
        for address, user in told.items():
            self.assertEqual(user, {"address": address, "pid": 0, "uid": 0, "command": "", "unit": "",
                                    "machine": "", "since": user["since"], "session": False,
                                    "brokered": False})
        self.assertTrue(started <= told[PLAIN]["since"] < told["0000:03:00.0"]["since"]
                        <= time.time_ns() // 1000)
        # Each keeps its time for as long as it holds the function.
        self.fence()
        self.assertEqual(self.client.manager("DescribeUsers", "(s)", ""), list(told.values()))
        self.close(functions[0])
        self.wait_property(PLAIN, "InUse", False)
        self.assertEqual(self.client.manager("DescribeUsers", "(s)", PLAIN), [])
        self.assertEqual(self.client.manager("DescribeUsers", "(s)", ""), [told["0000:03:00.0"]])
        self.open(functions[0])
        self.wait_property(PLAIN, "InUse", True)
        self.assertGreater(self.client.manager("DescribeUsers", "(s)", PLAIN)[0]["since"],
                           told["0000:03:00.0"]["since"])

    def test_described_of_what_is_not_there(self):
        self.start()
        self.assert_bus_error(vb.INVALID_ARGS, self.client.manager, "DescribeUsers", "(s)", "web1")
        self.assert_bus_error(vb.NO_SUCH_FUNCTION, self.client.manager, "DescribeUsers", "(s)", PLAIN)
        self.assertEqual(self.client.manager("DescribeUsers", "(s)", ""), [])
        self.as_other_user(vb.ROOT, vb.MANAGER, "DescribeUsers", "(s)", ("",))

    def test_found_at_the_start(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.open(function)
        self.start()
        # Before anybody is served: not even for a moment is it free.
        self.assertIs(self.picture.function(PLAIN)["InUse"], True)
        self.assertEqual(self.picture.function(PLAIN)["ClosedFiles"], AWAY)

    def test_kept_over_a_restart(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        self.open(function)
        self.wait_property(PLAIN, "InUse", True)
        self.kill()
        self.assert_closed(function, *AWAY)
        self.start()
        self.assertIs(self.picture.function(PLAIN)["InUse"], True)
        self.assert_closed(function, *AWAY)
        self.kill()
        self.close(function)
        self.start()
        self.assertIs(self.picture.function(PLAIN)["InUse"], False)
        self.assert_closed(function)

    def test_a_driver_of_the_host_is_no_user(self):
        function = self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.fence()    # the driver has enabled it
        self.assertIs(self.picture.function(PLAIN)["InUse"], False)
        self.sysfs.rebind(function, "vfio-pci")
        self.open(function)
        self.wait_property(PLAIN, "InUse", True)
        self.close(function)
        self.wait_property(PLAIN, "InUse", False)
        self.sysfs.rebind(function, "igb")
        self.wait_property(PLAIN, "Driver", "igb")
        self.fence()
        self.assertIs(self.picture.function(PLAIN)["InUse"], False)

    def test_another_vfio_driver(self):
        function = self.sysfs.add(PLAIN, driver="mlx5_vfio_pci")
        os.mkdir(function.path("vfio-dev"))
        self.start()
        self.open(function)
        self.wait_property(PLAIN, "InUse", True)

    def test_what_was_left_enabled_is_not_in_use(self):
        # A count from before the driver was bound: VFIO has put the device to sleep.
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.open(function)
        os.mkdir(function.path("power"))
        function.write("power/runtime_status", "suspended")
        self.start()
        self.assertIs(self.picture.function(PLAIN)["InUse"], False)
        function.write("power/runtime_status", "active")
        function.write("enable", "2")
        self.wait_property(PLAIN, "InUse", True)
        function.write("enable", "1")
        self.wait_property(PLAIN, "InUse", False)

    def test_gone_while_in_use(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci", slot="7")
        self.start()
        self.open(function)
        self.wait_property(PLAIN, "InUse", True)
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.assertEqual(self.listed(), [])
        self.wait_slot_mode("7", 0o644)
        self.fence()
        function = self.sysfs.add(PLAIN, announce=True)
        self.wait_function(PLAIN)
        self.fence()
        self.assertIs(self.picture.function(PLAIN)["InUse"], False)
        self.assert_closed(function)

    def test_opening_is_a_violation_of_nothing(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        mark = self.mark()
        for _ in range(5):
            self.open(function)
            self.wait_property(PLAIN, "InUse", True)
            self.close(function)
            self.wait_property(PLAIN, "InUse", False)
        self.fence()
        self.assertEqual(self.client.recorder.since(mark, "Violation"), [])


class VfInUse(UsersTest):
    def test_closes_the_pfs_files(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci", slot="3")
        self.start()
        self.assert_closed(pf)
        mark = self.mark()
        self.open(pf.vfs[0])
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        self.assert_closed(pf, *SRIOV, *AWAY)
        self.assert_closed(pf.vfs[0], *STAYS)
        self.assert_closed(pf.vfs[1])
        self.assertEqual(self.sysfs.slot_mode("3"), 0o444)
        self.assertEqual(dict(self.told(PF, mark)), {
            "Locked": True, "LockReasons": ["vf-in-use"], "ClosedFiles": [*SRIOV, *AWAY, "power"]})
        self.assertEqual(self.picture.function(VFS[0])["LockReasons"], ["in-use"])
        self.assertEqual(self.picture.function(VFS[0])["ClosedFiles"], [*STAYS, "power"])
        self.assertIs(self.picture.function(PF)["InUse"], False)
        self.assertIs(self.picture.function(PF)["Tainted"], False)
        # A second one changes nothing for the PF, and neither does the end of the first.
        mark = self.mark()
        self.open(pf.vfs[1])
        self.wait_property(VFS[1], "InUse", True)
        self.close(pf.vfs[0])
        self.wait_property(VFS[0], "InUse", False)
        self.assert_closed(pf.vfs[0])
        self.assertEqual(self.told(PF, mark), [])
        self.close(pf.vfs[1])
        self.wait_property(PF, "LockReasons", [])
        self.assert_closed(pf)
        self.assertEqual(self.sysfs.slot_mode("3"), 0o644)

    def test_with_a_userspace_driver(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci", driver="vfio-pci")
        self.start()
        self.assert_closed(pf, *SRIOV)
        self.open(pf.vfs[0])
        self.open(pf)
        self.wait_property(PF, "LockReasons", ["userspace-driver", "vf-in-use", "in-use"])
        self.assert_closed(pf, *SRIOV, *AWAY)
        self.close(pf.vfs[0])
        self.wait_property(PF, "LockReasons", ["userspace-driver", "in-use"])
        self.assert_closed(pf, *SRIOV, *AWAY)
        self.close(pf)
        self.wait_property(PF, "LockReasons", ["userspace-driver"])
        self.assert_closed(pf, *SRIOV)

    def test_the_lock_answers_a_write_bit(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.start()
        self.open(pf.vfs[0])
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        mark = self.mark()
        pf.chmod("sriov_numvfs", 0o644)
        told = self.client.recorder.wait_for("Violation", mark=mark)
        self.assertEqual((told.args[:2], told.args[2]["reasons"]), ((PF, "set-num-vfs"), ["vf-in-use"]))
        self.assert_closed(pf, *SRIOV, *AWAY)

    def test_vfs_that_go_although_in_use_are_a_violation(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.open(pf.vfs[0])
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        mark = self.mark()
        self.sysfs.detach_driver(pf.vfs[0], keep_enable=True)   # or its release is seen just before
        self.sysfs.disable_vfs(pf)
        told = self.client.recorder.wait_for("Violation", mark=mark)
        self.assertEqual(told.args[:2], (PF, "set-num-vfs"))
        self.wait_property(PF, "Tainted", True)
        self.wait_property(PF, "LockReasons", [])
        self.assert_closed(pf)

    def test_found_at_the_start(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.open(pf.vfs[0])
        self.start()
        self.assertEqual(self.picture.function(PF)["LockReasons"], ["vf-in-use"])
        self.assert_closed(pf, *SRIOV, *AWAY)

    def test_advise_only(self):
        self.configure("[Lock]\nEnforcement=advise\n")
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci")
        self.start()
        self.open(pf.vfs[0])
        self.wait_property(PF, "LockReasons", ["vf-in-use"])
        self.fence()
        self.assert_closed(pf)
        self.assertEqual(self.picture.function(PF)["ClosedFiles"], [])


class Groups(UsersTest):
    def test_slot_of_two_functions(self):
        one = self.sysfs.add(PLAIN, driver="vfio-pci", slot="7", group=1)
        two = self.sysfs.add("0000:02:00.1", driver="vfio-pci", slot="7", group=1)
        self.start()
        self.open(one)
        self.wait_property(PLAIN, "InUse", True)
        self.open(two)
        self.wait_property("0000:02:00.1", "InUse", True)
        self.close(one)
        self.wait_property(PLAIN, "InUse", False)
        self.assertEqual(self.sysfs.slot_mode("7"), 0o444)
        self.close(two)
        self.wait_slot_mode("7", 0o644)

    def test_many_at_once(self):
        functions = [self.sysfs.add(f"0000:{bus:02x}:00.0", driver="vfio-pci") for bus in range(0x10, 0x50)]
        self.start()
        for function in functions:
            self.open(function)
        for function in functions:
            self.wait_property(function.address, "InUse", True, 3 * fixtures.DEADLINE)
        self.assertEqual([row[0] for row in self.listed()], [f.address for f in functions])
        for function in functions:
            self.close(function)
        for function in functions:
            self.wait_property(function.address, "InUse", False, 3 * fixtures.DEADLINE)
        self.assertEqual(self.listed(), [])


if __name__ == "__main__":
    fixtures.main()
