#!/usr/bin/python3
"""Uevents update the inventory, and signals report changes only."""

import os

import fixtures
from fixtures import wait_until
import vfwarden_bus as vb

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"
OTHER = "0000:09:00.0"


def changes(signals):
    """(path, property) -> last value, of PropertiesChanged."""
    result = {}
    for signal in signals:
        if signal.member == "PropertiesChanged":
            for name, value in signal.args[1].items():
                result[signal.path, name] = value
    return result


class Hotplug(fixtures.DaemonTest):
    def of(self, signals, *, besides=()):
        """Members by path, the manager's own count left out."""
        return [(s.member, s.args[0] if s.member.startswith("Interfaces") else s.path)
                for s in signals if s.path != vb.ROOT or s.member != "PropertiesChanged"
                if s.path not in besides]

    def test_add_announces_the_whole_function_once(self):
        self.start()
        mark = self.mark()
        self.sysfs.add(PLAIN, driver="e1000e", announce=True)
        self.wait_function(PLAIN)
        self.wait_property(PLAIN, "Driver", "e1000e")
        signals = self.signals_since(mark)
        path = vb.function_path(PLAIN)
        members = self.of(signals)
        self.assertEqual(members.count(("InterfacesAdded", path)), 1, signals)
        self.assertEqual(self.picture.function(PLAIN)["Kind"], "plain")
        self.assertLessEqual({name for (_path, name) in changes(signals)},
                             {"Driver", "FunctionCount"})

    def test_add_of_a_pf_has_its_interface(self):
        self.start()
        self.sysfs.add_pf(PF, total=7, announce=True)
        self.wait_function(PF)
        self.wait_property(PF, "Driver", "igb")
        self.assertIn(vb.PHYSICAL, self.picture.objects[vb.function_path(PF)])
        self.assertEqual(self.picture.function(PF)["TotalVFs"], 7)

    def test_remove_withdraws_every_interface(self):
        pf = self.sysfs.add_pf(PF)
        self.start()
        mark = self.mark()
        interfaces = set(self.picture.objects[vb.function_path(PF)])
        self.sysfs.remove(pf)
        self.wait_function(PF, there=False)
        removed = set()
        for signal in self.client.recorder.since(mark, "InterfacesRemoved"):
            self.assertEqual(signal.args[0], vb.function_path(PF))
            removed |= set(signal.args[1])
        self.assertLessEqual(interfaces, removed)
        self.assert_bus_error(vb.NO_SUCH_FUNCTION, self.client.manager, "GetFunction", "(s)", PF)
        with self.assertRaises(vb.BusError):
            self.client.function(PF, "Driver")

    def test_bind_and_unbind_change_the_driver_and_what_follows_from_it(self):
        function = self.sysfs.add(PLAIN, driver="e1000e")
        self.sysfs.add("0000:03:00.0", driver="nvme")
        self.start()
        mark = self.mark()
        self.sysfs.unbind(function)
        self.wait_property(PLAIN, "Driver", "")
        self.assertEqual(changes(self.signals_since(mark)), {(vb.function_path(PLAIN), "Driver"): ""})
        mark = self.mark()
        self.sysfs.bind(function, "vfio-pci")
        self.wait_property(PLAIN, "Driver", "vfio-pci")
        self.assertEqual(changes(self.signals_since(mark)),
                         {(vb.function_path(PLAIN), "Driver"): "vfio-pci",
                          (vb.function_path(PLAIN), "Backend"): "vfio-pci",
                          (vb.function_path(PLAIN), "MaxStoreBlock"): 8})

    def test_functions_that_come_and_go_leave_no_descriptor(self):
        self.start()

        def come_and_go():
            function = self.sysfs.add(PLAIN, driver="e1000e", announce=True)
            self.wait_property(PLAIN, "Driver", "e1000e")
            self.sysfs.remove(function)
            self.fence()

        def count():
            return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))
        come_and_go()
        before = count()
        for _ in range(8):
            come_and_go()
        # The process that reads for the last one may not have been reaped.
        wait_until(lambda: count() <= before, None, lambda: f"{before} descriptors, are {count()}")

    def test_change_that_changes_nothing_is_silent(self):
        function = self.sysfs.add(PLAIN, driver="e1000e")
        pf = self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.start()
        mark = self.mark()
        self.sysfs.change(function)
        self.sysfs.change(pf)
        self.sysfs.change(pf.vfs[0])
        self.assertEqual(self.signals_since(mark), [])

    def test_change_tells_new_attributes(self):
        function = self.sysfs.add(PLAIN, numa_node=0)
        self.start()
        mark = self.mark()
        function.write("numa_node", 1)
        self.sysfs.change(function)
        self.wait_property(PLAIN, "NumaNode", 1)
        self.assertEqual(changes(self.signals_since(mark)),
                         {(vb.function_path(PLAIN), "NumaNode"): 1})

    def test_change_of_group_and_of_totals(self):
        # A driver may lower the number of VFs that it wants to be asked for (pci_sriov_set_totalvfs()).
        pf = self.sysfs.add_pf(PF, total=8, group=1)
        self.start()
        mark = self.mark()
        os.unlink(pf.path("iommu_group"))
        os.makedirs(self.sysfs.path("kernel/iommu_groups/2/devices"))
        pf.link("iommu_group", self.sysfs.path("kernel/iommu_groups/2"))
        pf.write("sriov_totalvfs", 4)
        self.sysfs.change(pf)
        self.wait_property(PF, "IommuGroup", 2)
        self.wait_property(PF, "TotalVFs", 4)
        path = vb.function_path(PF)
        self.assertEqual(changes(self.signals_since(mark)),
                         {(path, "IommuGroup"): 2, (path, "TotalVFs"): 4})

    def test_move_is_one_function_under_a_new_name(self):
        function = self.sysfs.add(PLAIN, driver="e1000e")
        self.start()
        mark = self.mark()
        self.sysfs.move(function, "0000:04:00.0")
        self.wait_function("0000:04:00.0")
        self.wait_function(PLAIN, there=False)
        members = self.of(self.signals_since(mark))
        self.assertEqual(sorted(members), [
            ("InterfacesAdded", vb.function_path("0000:04:00.0")),
            ("InterfacesRemoved", vb.function_path(PLAIN))])
        self.assertEqual(self.client.manager_property("FunctionCount"), 2)

    def test_events_of_other_subsystems_are_no_functions(self):
        self.start()
        mark = self.mark()
        self.sysfs.uevent("add", "/devices/virtual/vfio/9", "vfio", DEVNAME="vfio/9")
        self.sysfs.uevent("add", "/bus/pci/drivers/e1000e", "drivers")
        self.sysfs.uevent("remove", "/devices/virtual/vfio/9", "vfio", DEVNAME="vfio/9")
        self.assertEqual(self.signals_since(mark), [])

    def test_add_of_a_function_that_is_gone_already(self):
        self.start()
        mark = self.mark()
        self.sysfs.uevent("add", "/devices/pci0000:07/0000:07:00.0", PCI_SLOT_NAME="0000:07:00.0")
        self.assertEqual(self.signals_since(mark), [])
        self.assertTrue(self.daemon.running)

    def test_remove_twice_and_of_a_stranger(self):
        function = self.sysfs.add(PLAIN)
        self.start()
        mark = self.mark()
        devpath = function.devpath
        self.sysfs.remove(function)
        self.sysfs.uevent("remove", devpath, PCI_SLOT_NAME=PLAIN)
        self.sysfs.uevent("remove", "/devices/pci0000:0a/0000:0a:00.0", PCI_SLOT_NAME="0000:0a:00.0")
        self.assertEqual(self.of(self.signals_since(mark)),
                         [("InterfacesRemoved", vb.function_path(PLAIN))])

    def test_replug_is_a_new_function(self):
        function = self.sysfs.add(PLAIN, vendor=0x8086, device=0x1533)
        self.start()
        self.sysfs.remove(function)
        self.sysfs.add(PLAIN, vendor=0x144d, device=0xa808, class_code=0x010802, announce=True)
        self.wait_property(PLAIN, "VendorId", 0x144d)
        self.assertEqual(self.client.function(PLAIN, "Class"), 0x010802)

    def test_function_count_follows(self):
        self.start()
        self.assertEqual(self.picture.manager["FunctionCount"], 1)
        function = self.sysfs.add(PLAIN, announce=True)
        self.wait_function(PLAIN)
        self.fence()
        self.assertEqual(self.client.manager_property("FunctionCount"), 2)
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        self.fence()
        self.assertEqual(self.client.manager_property("FunctionCount"), 1)

    def test_a_device_that_fails(self):
        """The kernel says so with a change (AER, EEH, or s390's firmware)."""
        function = self.sysfs.add(PLAIN, driver="vfio-pci")
        self.start()
        path = vb.function_path(PLAIN)
        for used, event, words in (("0", "BEGIN_RECOVERY", "BEGIN_RECOVERY$"),
                                   ("1", "FAILED_RECOVERY", "FAILED_RECOVERY, while the function is in use")):
            function.write("enable", used)
            self.wait_property(PLAIN, "InUse", used == "1")
            mark = self.mark()
            self.sysfs.change(function, ERROR_EVENT=event, DEVICE_ONLINE="0")
            signal = self.client.recorder.wait_for("DeviceFailed", mark=mark)
            self.assertEqual((signal.path, signal.args), (path, (event,)))
            self.daemon.wait_log(f"{PLAIN}: the kernel reports an error of the device: {words}")
        mark = self.mark()
        self.sysfs.change(function)
        self.fence()
        self.assertEqual([signal for signal in self.signals_since(mark) if signal.member == "DeviceFailed"], [])

    def test_a_guest_that_makes_its_device_fail_again_and_again(self):
        """The first of each word are reported at once, and further ones together; nobody else's are delayed."""
        functions = [self.sysfs.add(address, driver="vfio-pci") for address in (PLAIN, OTHER)]
        self.start()
        mark = self.mark()
        for _ in range(30):
            self.sysfs.change(functions[0], ERROR_EVENT="BEGIN_RECOVERY", DEVICE_ONLINE="0")
        self.sysfs.change(functions[0], ERROR_EVENT="FAILED_RECOVERY", DEVICE_ONLINE="0")
        self.sysfs.change(functions[1], ERROR_EVENT="BEGIN_RECOVERY", DEVICE_ONLINE="0")
        self.client.recorder.wait_for("DeviceFailed", lambda signal: signal.path == vb.function_path(OTHER), mark)
        failed = [signal.args for signal in self.signals_since(mark)
                  if signal.member == "DeviceFailed" and signal.path == vb.function_path(PLAIN)]
        self.assertEqual(failed, [("BEGIN_RECOVERY",)] * 10 + [("FAILED_RECOVERY",)])
        self.daemon.wait_log(f"{PLAIN}: the kernel reports an error of the device: BEGIN_RECOVERY [(]20 times")


if __name__ == "__main__":
    fixtures.main()
