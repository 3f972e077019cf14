#!/usr/bin/python3
"""The guarded operations: the writes, their order, their results, and the signals."""

import ctypes
import errno
import os
import struct

import fixtures
import vfwarden_bus as vb
from test_lock import SRIOV

PF = "0000:01:00.0"
VFS = ["0000:01:10.0", "0000:01:10.2", "0000:01:10.4", "0000:01:10.6"]
PLAIN = "0000:02:00.0"
PEER = "0000:03:00.0"

IN_OPEN, IN_ATTRIB = 0x20, 0x4


class OperationTest(fixtures.DaemonTest):
    def setUp(self):
        super().setUp()
        self.start_polkit(configure=True, inhibit=True, override=True)
        self.start_kernel()

    # --- starting them

    def bind(self, address, driver):
        self.client.start_bind(address, driver).result()

    def unbind(self, address):
        self.client.start_function_call(address, "Unbind").result()

    def reset(self, address):
        self.client.start_function_call(address, "Reset").result()

    def set_num_vfs(self, address, count, **options):
        self.client.start_set_num_vfs(address, count, **options).result()

    def set_autoprobe(self, address, enable):
        self.client.start_set_drivers_autoprobe(address, enable).result()

    # --- looking at them

    @property
    def writes(self):
        return self.kernel.writes

    def use(self, *functions):
        for function in functions:
            function.write("enable", "1")
            self.wait_property(function.address, "InUse", True)

    def operation(self, address, operation="reset"):
        """The blocker of the kind "operation" that Check() shows, or None."""
        return next((b for b in self.client.check(address, operation)[1] if b[0] == "operation"), None)

    def wait_idle(self, address):
        """Until Check() shows no operation; no signal reports that, so Check() is called when anything happens."""
        vb.wait_until(lambda: not self.operation(address), None, f"the end of the operation on {address}")

    def no_violation(self, mark=0):
        self.fence()
        self.assertEqual(self.client.recorder.since(mark, "Violation"), [])


class Bind(OperationTest):
    def test_from_a_driver_of_the_host_to_vfio(self):
        function = self.sysfs.add(PLAIN, driver="igb")
        self.kernel.add_driver("vfio-pci")
        self.start()
        self.bind(PLAIN, "vfio-pci")
        self.assertEqual(self.writes, [("igb/unbind", PLAIN), (f"{PLAIN}/driver_override", "vfio-pci"),
                                       ("vfio-pci/bind", PLAIN)])
        self.assertEqual(function.driver, "vfio-pci")
        # The signal came before the reply.
        self.assertEqual(self.picture.function(PLAIN)["Driver"], "vfio-pci")
        self.wait_property(PLAIN, "DriverOverride", "vfio-pci")

    def test_back_to_a_driver_of_the_host(self):
        self.sysfs.add(PLAIN, driver="vfio-pci", attributes={"driver_override": "vfio-pci"})
        self.kernel.add_driver("igb")
        self.start()
        self.bind(PLAIN, "igb")
        self.assertEqual(self.writes, [
            ("vfio-pci/unbind", PLAIN), (f"{PLAIN}/driver_override", "igb"), ("igb/bind", PLAIN),
            (f"{PLAIN}/driver_override", "\n")])
        self.wait_property(PLAIN, "DriverOverride", "")

    def test_to_whichever_the_kernel_chooses(self):
        self.sysfs.add(PLAIN, driver="vfio-pci", attributes={"driver_override": "vfio-pci"})
        self.kernel.add_driver("igb")
        self.start()
        self.bind(PLAIN, "")
        self.assertEqual(self.writes, [
            ("vfio-pci/unbind", PLAIN), (f"{PLAIN}/driver_override", "\n"), ("pci/drivers_probe", PLAIN)])
        self.assertEqual(self.picture.function(PLAIN)["Driver"], "igb")

    def test_of_an_unbound_function(self):
        self.sysfs.add(PLAIN)
        self.kernel.add_driver("vfio-pci")
        self.start()
        self.bind(PLAIN, "vfio-pci")
        self.assertEqual(self.writes, [(f"{PLAIN}/driver_override", "vfio-pci"), ("vfio-pci/bind", PLAIN)])

    def test_to_the_driver_that_it_has(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.bind(PLAIN, "igb")
        self.assertEqual(self.writes, [])

    def test_a_driver_that_refuses_is_undone(self):
        function = self.sysfs.add(PLAIN, driver="igb")
        self.kernel.add_driver("vfio-pci")
        self.kernel.fail["vfio-pci/bind"] = errno.EINVAL
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.bind, PLAIN, "vfio-pci")
        self.assertIn("vfio-pci/bind", error.message)
        self.assertIn(os.strerror(errno.EINVAL), error.message)
        self.assertEqual(self.writes[3:], [(f"{PLAIN}/driver_override", "igb"), ("igb/bind", PLAIN),
                                           (f"{PLAIN}/driver_override", "\n")])
        self.assertEqual(function.driver, "igb")
        self.assertEqual(self.picture.function(PLAIN)["Driver"], "igb")

    def test_the_override_of_before_is_put_back(self):
        self.sysfs.add(PLAIN, attributes={"driver_override": "pci-stub"})
        self.kernel.add_driver("vfio-pci")
        self.kernel.fail["vfio-pci/bind"] = errno.ENODEV
        self.start()
        self.assert_bus_error(vb.FAILED, self.bind, PLAIN, "vfio-pci")
        self.assertEqual(self.writes[-1], (f"{PLAIN}/driver_override", "pci-stub"))
        self.wait_property(PLAIN, "DriverOverride", "pci-stub")

    def test_a_driver_that_is_not_loaded(self):
        function = self.sysfs.add(PLAIN, driver="igb")
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.bind, PLAIN, "vfio-pci")
        self.assertIn("there is no driver 'vfio-pci'", error.message)
        self.assertEqual(function.driver, "igb")

    def test_taken_and_nothing_came_of_it(self):
        self.sysfs.add(PLAIN)
        self.kernel.add_driver("vfio-pci")
        self.kernel.ignore.add("vfio-pci/bind")
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.bind, PLAIN, "vfio-pci")
        self.assertIn("bind", error.message)

    def test_names_that_are_none(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        for name in ("../igb", "a/b", "a b", ".", "a\n", "ä", "x" * 64):
            self.assert_bus_error(vb.INVALID_ARGS, self.bind, PLAIN, name)
        self.assertEqual(self.writes, [])


class Unbind(OperationTest):
    def test_plain(self):
        function = self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.unbind(PLAIN)
        self.assertEqual(self.writes, [("igb/unbind", PLAIN)])
        self.assertIsNone(function.driver)
        self.assertEqual(self.picture.function(PLAIN)["Driver"], "")
        self.unbind(PLAIN)
        self.assertEqual(len(self.writes), 1, "there was nothing to do")

    def test_failure_names_the_file(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.kernel.fail["igb/unbind"] = errno.EIO
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.unbind, PLAIN)
        self.assertIn(f"{PLAIN}/driver/unbind", error.message)

    def test_taken_and_nothing_came_of_it(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.kernel.ignore.add("igb/unbind")
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.unbind, PLAIN)
        self.assertIn("'igb'", error.message)


class Reset(OperationTest):
    def test_plain(self):
        self.sysfs.add(PLAIN, driver="igb")
        self.start()
        self.reset(PLAIN)
        self.assertEqual(self.writes, [(f"{PLAIN}/reset", "1")])
        self.assertEqual(self.kernel.resets, [PLAIN])

    def test_a_function_that_has_none(self):
        self.sysfs.add(PLAIN).unset("reset")
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.reset, PLAIN)
        self.assertIn("reset", error.message)

    def test_failure(self):
        self.sysfs.add(PLAIN)
        self.kernel.fail[f"{PLAIN}/reset"] = errno.ENOTTY
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.reset, PLAIN)
        self.assertIn(os.strerror(errno.ENOTTY), error.message)


class SetNumVFs(OperationTest):
    def test_none_to_some(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.set_num_vfs(PF, 4)
        self.assertEqual(self.writes, [(f"{PF}/sriov_numvfs", "4")])
        # The objects have been announced when the reply comes, and the PF names them.
        for vf in pf.vfs:
            self.assertIsNotNone(self.picture.function(vf.address), vf.address)
        self.assertEqual(self.picture.function(PF)["VirtualFunctions"],
                         [vb.function_path(address) for address in VFS])
        self.assertEqual(self.picture.function(PF)["NumVFs"], 4)
        self.no_violation()

    def test_the_other_number_goes_through_none(self):
        self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.start()
        self.set_num_vfs(PF, 3)
        self.assertEqual(self.writes, [("igbvf/unbind", VFS[0]), ("igbvf/unbind", VFS[1]),
                                       (f"{PF}/sriov_numvfs", "0"), (f"{PF}/sriov_numvfs", "3")])
        self.assertEqual(len(self.picture.function(PF)["VirtualFunctions"]), 3)
        self.assertFalse(self.picture.function(PF)["Tainted"])

    def test_vfs_without_a_driver_are_not_unbound(self):
        pf = self.sysfs.add_pf(PF, vfs=3)
        self.sysfs.attach_driver(pf.vfs[1], "vfio-pci")
        self.start()
        self.set_num_vfs(PF, 0)
        self.assertEqual(self.writes, [("vfio-pci/unbind", VFS[1]), (f"{PF}/sriov_numvfs", "0")])
        self.assertEqual(self.picture.function(PF)["VirtualFunctions"], [])
        self.assertIsNone(self.picture.function(VFS[0]))

    def test_the_number_that_there_is(self):
        self.sysfs.add_pf(PF, vfs=2)
        self.start()
        self.set_num_vfs(PF, 2)
        self.assertEqual(self.writes, [])

    def test_more_than_there_can_be(self):
        self.sysfs.add_pf(PF, total=7)
        self.start()
        error = self.assert_bus_error(vb.INVALID_ARGS, self.set_num_vfs, PF, 8)
        self.assertIn("7", error.message)
        self.assert_bus_error(vb.INVALID_ARGS, self.set_num_vfs, PF, 65535)
        self.assertEqual(self.writes, [])

    def test_options(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.assert_bus_error(vb.INVALID_ARGS, self.set_num_vfs, PF, 1, force=True)
        self.assert_bus_error(vb.INVALID_ARGS, self.set_num_vfs, PF, 1,
                              override=vb.GLib.Variant("s", "yes"))
        self.assertEqual(self.writes, [])
        self.set_num_vfs(PF, 1, override=False)

    def test_failure_half_way_gives_the_vfs_their_drivers_back(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.kernel.fail[(f"{PF}/sriov_numvfs", "0")] = errno.EBUSY
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.set_num_vfs, PF, 4)
        self.assertIn("sriov_numvfs", error.message)
        self.assertEqual(self.writes[3:], [("pci/drivers_probe", VFS[0]), ("pci/drivers_probe", VFS[1])])
        self.assertEqual([vf.driver for vf in pf.vfs], ["igbvf", "igbvf"])
        self.fence()
        self.assertEqual(self.picture.function(VFS[0])["Driver"], "igbvf")

    def test_a_vf_that_cannot_be_unbound_ends_it(self):
        pf = self.sysfs.add_pf(PF, vfs=3, vf_driver="igbvf")
        self.kernel.fail[("igbvf/unbind", VFS[1])] = errno.EIO
        self.start()
        self.assert_bus_error(vb.FAILED, self.set_num_vfs, PF, 0)
        self.assertNotIn((f"{PF}/sriov_numvfs", "0"), self.writes)
        self.assertEqual([vf.driver for vf in pf.vfs], ["igbvf"] * 3)

    def test_taken_and_nothing_came_of_it(self):
        self.sysfs.add_pf(PF)
        self.kernel.ignore.add(f"{PF}/sriov_numvfs")
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.set_num_vfs, PF, 2)
        self.assertIn("0 virtual functions", error.message)

    def test_a_pf_without_a_driver(self):
        self.sysfs.add_pf(PF, driver=None)
        self.start()
        error = self.assert_bus_error(vb.FAILED, self.set_num_vfs, PF, 2)
        self.assertIn("it has no driver that makes virtual functions", error.message)

    def test_all_that_there_can_be(self):
        self.sysfs.add_pf(PF, total=63)
        self.start()
        self.set_num_vfs(PF, 63)
        self.assertEqual(len(self.picture.function(PF)["VirtualFunctions"]), 63)
        self.set_num_vfs(PF, 0)
        self.assertEqual(self.picture.function(PF)["VirtualFunctions"], [])


class SetDriversAutoprobe(OperationTest):
    def test_both_ways(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        self.set_autoprobe(PF, True)
        self.assertEqual(self.writes, [])
        self.set_autoprobe(PF, False)
        self.assertEqual(self.writes, [(f"{PF}/sriov_drivers_autoprobe", "0")])
        self.assertIs(self.picture.function(PF)["DriversAutoprobe"], False)
        self.set_num_vfs(PF, 1)
        self.assertIsNone(pf.vfs[0].driver)
        self.set_autoprobe(PF, True)
        self.assertIs(self.picture.function(PF)["DriversAutoprobe"], True)

    def test_taken_and_nothing_came_of_it(self):
        self.sysfs.add_pf(PF)
        self.kernel.ignore.add(f"{PF}/sriov_drivers_autoprobe")
        self.start()
        self.assert_bus_error(vb.FAILED, self.set_autoprobe, PF, False)


class Refused(OperationTest):
    def test_users(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="vfio-pci")
        self.start()
        self.use(pf.vfs[1])
        for call in ((self.set_num_vfs, PF, 0), (self.set_num_vfs, PF, 3), (self.set_autoprobe, PF, False),
                     (self.unbind, PF), (self.bind, PF, "vfio-pci"), (self.reset, PF),
                     (self.unbind, VFS[1]), (self.reset, VFS[1]), (self.bind, VFS[1], "")):
            error = self.assert_bus_error(vb.REFUSED, *call)
            self.assertIn(VFS[1], error.message)
            self.assertIn("in use", error.message)
        self.assertEqual(self.writes, [])
        self.reset(VFS[0])
        pf.vfs[1].write("enable", "0")
        self.wait_property(VFS[1], "InUse", False)
        self.set_num_vfs(PF, 0)

    def test_who_opened_it_since_the_last_look(self):
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        # No event reports it, and the operation looks again by itself.
        for _ in range(20):
            function.write("enable", "1")
            self.assert_bus_error(vb.REFUSED, self.unbind, PLAIN)
            function.write("enable", "0")
            self.wait_property(PLAIN, "InUse", False)
        self.assertEqual(self.writes, [])

    def test_inhibitors(self):
        self.sysfs.add_pf(PF)
        self.start()
        fd = self.client.inhibit(PF, "set-num-vfs:reset", "backup", "until six")
        for call in ((self.set_num_vfs, PF, 1), (self.reset, PF)):
            error = self.assert_bus_error(vb.REFUSED, *call)
            self.assertIn("backup", error.message)
            self.assertIn("until six", error.message)
        self.set_autoprobe(PF, False)
        error = self.assert_bus_error(vb.REFUSED, self.set_num_vfs, PF, 1, override=True)
        self.assertIn("backup", error.message)
        os.close(fd)
        self.wait_property(PF, "Locked", False)
        self.set_num_vfs(PF, 1)

    def test_an_inhibitor_of_a_vf(self):
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.start()
        fd = self.client.inhibit(pf.vfs[1].address, "unbind", "vm", "it saves its memory")
        for call in ((self.set_num_vfs, PF, 0), (self.unbind, PF), (self.bind, PF, "vfio-pci"),
                     (self.unbind, pf.vfs[1].address), (self.bind, pf.vfs[1].address, "vfio-pci")):
            error = self.assert_bus_error(vb.REFUSED, *call)
            self.assertIn("vm: inhibits unbind", error.message)
        self.assertEqual(self.writes, [])
        self.unbind(pf.vfs[0].address)
        os.close(fd)
        self.wait_property(PF, "Locked", False)
        self.set_num_vfs(PF, 0)

    def test_locks_and_the_override(self):
        self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.client.lock(PF, "until tomorrow")
        error = self.assert_bus_error(vb.REFUSED, self.set_num_vfs, PF, 2)
        self.assertIn("vfio-pci", error.message)
        self.assertIn("until tomorrow", error.message)
        self.assertEqual(self.writes, [])
        mark = self.mark()
        self.set_num_vfs(PF, 2, override=True)
        self.assertEqual(self.writes, [(f"{PF}/sriov_numvfs", "2")])
        self.no_violation(mark)
        self.assertEqual(self.picture.function(PF)["LockReasons"], ["userspace-driver", "administrator"])

    def test_override_never_passes_users(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="vfio-pci", driver="vfio-pci")
        self.start()
        self.use(pf.vfs[0])
        error = self.assert_bus_error(vb.REFUSED, self.set_num_vfs, PF, 0, override=True)
        self.assertIn(VFS[0], error.message)
        self.assertNotIn("userspace driver", error.message)

    def test_override_has_an_action_of_its_own(self):
        self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.polkit.verdicts["org.vfwarden1.override"] = False
        with self.acting_as():
            error = self.assert_bus_error(vb.ACCESS_DENIED, self.set_num_vfs, PF, 2, override=True)
        self.assertIn("org.vfwarden1.override", error.message)
        self.assertEqual([q.action for q in self.polkit.questions],
                         ["org.vfwarden1.configure", "org.vfwarden1.override"])
        self.assertEqual(self.polkit.questions[1].details["address"], PF)
        self.assertEqual(self.writes, [])
        self.polkit.verdicts.update({"org.vfwarden1.override": True, "org.vfwarden1.configure": False})
        with self.acting_as():
            self.assert_bus_error(vb.ACCESS_DENIED, self.set_num_vfs, PF, 2, override=True)
        self.assertEqual(len(self.polkit.questions), 3, "who may not configure is not asked more")

    def test_all_need_configure(self):
        self.sysfs.add_pf(PF)
        self.start()
        self.polkit.verdicts["org.vfwarden1.configure"] = False
        for call in ((self.set_num_vfs, PF, 1), (self.set_autoprobe, PF, False), (self.unbind, PF),
                     (self.bind, PF, "vfio-pci"), (self.reset, PF)):
            with self.acting_as():
                self.assert_bus_error(vb.ACCESS_DENIED, *call)
        self.assertEqual({q.action for q in self.polkit.questions}, {"org.vfwarden1.configure"})
        self.assertEqual(self.writes, [])


class Closed(OperationTest):
    """Files that the lock closes are opened for a moment, for the daemon alone."""

    def test_written_through_and_closed_at_once(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.wait_property(PF, "ClosedFiles", SRIOV)
        libc = ctypes.CDLL(None, use_errno=True)
        watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.addCleanup(os.close, watch)
        libc.inotify_add_watch(watch, os.fsencode(pf.path("sriov_numvfs")), IN_OPEN | IN_ATTRIB)
        mark = self.mark()
        self.set_num_vfs(PF, 2, override=True)
        # sysfs refuses to open what has no write bit; the fake one cannot, but shows that there was one.
        data = os.read(watch, 65536)
        masks = [struct.unpack_from("iI", data, at)[1] for at in range(0, len(data), 16)]
        self.assertEqual(masks[:3], [IN_ATTRIB, IN_OPEN, IN_ATTRIB])
        # It was closed again before anything was written.
        self.assertEqual(self.kernel.modes[f"{PF}/sriov_numvfs"], 0o444)
        self.assertEqual(pf.mode("sriov_numvfs"), 0o444)
        self.no_violation(mark)
        self.assertEqual([s for s in self.client.recorder.since(mark, "PropertiesChanged")
                          if "ClosedFiles" in s.args[1]], [])

    def test_also_while_it_hangs(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.kernel.hang.add(f"{PF}/sriov_numvfs")
        self.start()
        call = self.client.start_set_num_vfs(PF, 2, override=True)
        write = self.kernel.wait_for(f"{PF}/sriov_numvfs")
        self.assertEqual(pf.mode("sriov_numvfs"), 0o444)
        self.kernel.release(write)
        call.result()
        self.no_violation()

    def test_an_own_mode_that_is_not_the_kernels(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        pf.chmod("sriov_numvfs", 0o664)
        self.start()
        self.set_num_vfs(PF, 1, override=True)
        self.assertEqual(pf.mode("sriov_numvfs"), 0o444)
        self.sysfs.disable_vfs(pf)
        self.sysfs.rebind(pf, "igb")
        self.wait_mode(pf, "sriov_numvfs", 0o664)


if __name__ == "__main__":
    fixtures.main()
