#!/usr/bin/python3
"""The inventory of the functions that exist when the daemon starts, odd ones included."""

import os

import fixtures
from configspace import config_space
import vfwarden_bus as vb

PF = "0000:01:00.0"
PLAIN = "0000:02:00.0"
NONE = 0xffff


class Inventory(fixtures.DaemonTest):
    def test_every_property_of_a_plain_function(self):
        self.sysfs.add(PLAIN, vendor=0x8086, device=0x1533, subsystem=(0x15d9, 0x1533),
                       class_code=0x020000, revision=3, numa_node=1, group=7, driver="igb")
        self.start()
        path = vb.function_path(PLAIN)
        self.assertEqual(set(self.picture.objects[path]), {vb.FUNCTION, "org.vfwarden1.ZpciIo"})
        properties = self.client.get_all(path, vb.FUNCTION)
        names = (properties.pop("VendorName"), properties.pop("DeviceName"))
        self.assertEqual(properties, {
            "Address": PLAIN, "Kind": "plain", "VendorId": 0x8086, "DeviceId": 0x1533,
            "SubsystemVendorId": 0x15d9, "SubsystemDeviceId": 0x1533, "Class": 0x020000,
            "Revision": 3, "Driver": "igb", "DriverOverride": "", "IommuGroup": 7, "NumaNode": 1,
            "CommandMemory": "implemented", "InUse": False, "Locked": False, "LockReasons": [],
            "Parent": "/", "Children": [], "Slot": "", "Interfaces": [], "BlockDevices": [],
            "LinkSpeed": 0, "LinkWidth": 0, "Serial": "",
            "LockWhy": "", "ClosedFiles": [], "UserspaceDriver": False, "Tainted": False, "State": "present"})
        self.assertEqual(names, ("Intel Corporation", "I210 Gigabit Network Connection"))

    def test_unknown_vendor_has_no_name(self):
        self.sysfs.add(PLAIN, vendor=0xdede, device=0x4242)
        self.start()
        self.assertEqual(self.client.function(PLAIN, "VendorName"), "")
        self.assertEqual(self.client.function(PLAIN, "DeviceName"), "")

    def test_pf_with_vfs(self):
        pf = self.sysfs.add_pf(PF, total=8, vfs=3, vf_driver="igbvf")
        self.start()
        told = self.picture.function(PF)
        self.assertEqual(told["Kind"], "pf")
        self.assertEqual(told["TotalVFs"], 8)
        self.assertEqual(told["NumVFs"], 3)
        self.assertIs(told["DriversAutoprobe"], True)
        self.assertEqual(told["VirtualFunctions"],
                         [vb.function_path(vf.address) for vf in pf.vfs])
        for index, vf in enumerate(pf.vfs):
            told = self.picture.function(vf.address)
            self.assertEqual(told["Kind"], "vf")
            self.assertEqual(told["Index"], index)
            self.assertEqual(told["PhysicalFunction"], vb.function_path(PF))
            self.assertEqual(told["CommandMemory"], "hardwired-zero")
            # Configuration space of a VF has all ones there; sysfs knows better.
            self.assertEqual((told["VendorId"], told["DeviceId"]), (0x8086, 0x10ca))
            self.assertIn(vb.VIRTUAL, self.picture.objects[vb.function_path(vf.address)])

    def test_vfs_of_two_pfs_have_the_ids_of_their_own_kind(self):
        intel = self.sysfs.add_pf(PF, vfs=2)
        other = self.sysfs.add_pf("0000:01:00.1", vfs=2)
        for vf in other.vfs:
            for name, value in {"vendor": "0x15b3", "device": "0x1018", "subsystem_vendor": "0x15b3",
                                "subsystem_device": "0x0008", "class": "0x028000", "revision": "0x01"}.items():
                vf.write(name, value)
        self.start()
        names = ("VendorId", "DeviceId", "SubsystemVendorId", "SubsystemDeviceId", "Class", "Revision")
        for pf, expected in ((intel, (0x8086, 0x10ca, 0x8086, 0x0001, 0x020000, 3)),
                             (other, (0x15b3, 0x1018, 0x15b3, 0x0008, 0x028000, 1))):
            for vf in pf.vfs:
                told = self.picture.function(vf.address)
                self.assertEqual(tuple(told[name] for name in names), expected, vf.address)
                self.assertEqual(told["VendorName"][:5], "Intel" if pf is intel else "Mella")

    def test_more_than_ten_vfs_are_in_order_of_their_index(self):
        pf = self.sysfs.add_pf(PF, total=64, vfs=13)
        self.start()
        self.assertEqual(self.picture.function(PF)["VirtualFunctions"],
                         [vb.function_path(vf.address) for vf in pf.vfs])

    def test_count_is_of_links_not_of_sriov_numvfs(self):
        pf = self.sysfs.add_pf(PF, vfs=2)
        pf.write("sriov_numvfs", 5)
        self.start()
        self.assertEqual(self.picture.function(PF)["NumVFs"], 2)

    def test_sriov_numvfs_is_never_read(self):
        # A FIFO without a writer: an open for reading hangs there, as one stays in the
        # kernel while an unbind is stuck (facts: reading takes the device lock).
        pf = self.sysfs.add_pf(PF, vfs=2)
        pf.unset("sriov_numvfs")
        os.mkfifo(pf.path("sriov_numvfs"))
        os.chmod(pf.path("sriov_numvfs"), 0o644)
        self.start()
        self.assertEqual(self.picture.function(PF)["NumVFs"], 2)
        self.sysfs.change(pf)
        self.fence()

    def test_autoprobe_off(self):
        pf = self.sysfs.add_pf(PF)
        pf.write("sriov_drivers_autoprobe", 0)
        self.start()
        self.assertIs(self.picture.function(PF)["DriversAutoprobe"], False)

    def test_detached_vf(self):
        # s390 with a PF that another partition owns.
        self.sysfs.add("0013:00:00.0", vendor=0x15b3, device=0x1014, removable=False,
                       config=config_space(0x15b3, 0x1014, command=0x0004),
                       attributes={"vfn": "0x0001", "function_id": "0x00000103"})
        self.start()
        told = self.picture.function("0013:00:00.0")
        self.assertEqual(told["Kind"], "detached-vf")
        self.assertEqual(told["PhysicalFunction"], "/")
        self.assertEqual(told["CommandMemory"], "hardwired-zero")

    def test_s390_function_of_number_zero_is_plain(self):
        self.sysfs.add("0014:00:00.0", attributes={"vfn": "0x0000", "function_id": "0x00000104"})
        self.start()
        self.assertEqual(self.picture.function("0014:00:00.0")["Kind"], "plain")

    def test_linked_s390_vf_is_a_vf(self):
        pf = self.sysfs.add_pf(PF, vfs=1)
        pf.vfs[0].write("vfn", "0x0001")
        self.start()
        self.assertEqual(self.picture.function(pf.vfs[0].address)["Kind"], "vf")

    def test_wide_domain(self):
        self.sysfs.add("10000:e1:00.0")
        self.sysfs.add("abcdef12:01:1f.7")
        self.start()
        for address in ("10000:e1:00.0", "abcdef12:01:1f.7"):
            self.assertEqual(self.picture.function(address)["Address"], address)
            self.assertEqual(self.client.manager("GetFunction", "(s)", address),
                             vb.function_path(address))

    def test_no_iommu_group(self):
        self.sysfs.add(PLAIN, group=None)
        self.start()
        self.assertEqual(self.picture.function(PLAIN)["IommuGroup"], -1)

    def test_group_zero_is_a_group(self):
        self.sysfs.add(PLAIN, group=0)
        self.start()
        self.assertEqual(self.picture.function(PLAIN)["IommuGroup"], 0)

    def test_numa_node_odd(self):
        for index, value in enumerate((-1, None, "garbage", "", "99999999999")):
            self.sysfs.add(f"0000:03:{index:02x}.0", numa_node=value)
        self.start()
        for index in range(5):
            self.assertEqual(self.picture.function(f"0000:03:{index:02x}.0")["NumaNode"], -1, index)

    def test_missing_vendor_is_all_ones(self):
        self.sysfs.add(PLAIN, attributes={"vendor": None})
        self.start()
        told = self.picture.function(PLAIN)
        self.assertEqual(told["VendorId"], NONE)
        self.assertEqual(told["DeviceId"], 0x1533)
        self.assertEqual(told["VendorName"], "")

    def test_garbage_identity_is_all_ones(self):
        self.sysfs.add(PLAIN, attributes={"device": "0x12345", "subsystem_vendor": "zz",
                                          "subsystem_device": None, "class": None})
        self.start()
        told = self.picture.function(PLAIN)
        self.assertEqual(told["DeviceId"], NONE)
        self.assertEqual(told["SubsystemVendorId"], NONE)
        self.assertEqual(told["SubsystemDeviceId"], NONE)
        self.assertEqual(told["VendorId"], 0x8086)

    def test_empty_config(self):
        self.sysfs.add(PLAIN, config=b"")
        pf = self.sysfs.add_pf(PF, vfs=1)
        pf.vfs[0].write("config", b"")
        self.start()
        # A VF's bit is hard-wired by specification; of anything else nothing can be said but the rule.
        self.assertEqual(self.picture.function(PLAIN)["CommandMemory"], "implemented")
        self.assertEqual(self.picture.function(pf.vfs[0].address)["CommandMemory"], "hardwired-zero")

    def test_missing_config(self):
        self.sysfs.add(PLAIN, attributes={"config": None})
        self.start()
        self.assertIsNotNone(self.picture.function(PLAIN))

    def test_bare_directory(self):
        # A function that is being taken down: the directory is there and everything else went.
        function = self.sysfs.add(PLAIN)
        for name in os.listdir(function.directory):
            if name not in ("subsystem", "uevent"):
                os.unlink(function.path(name))
        self.sysfs.add("0000:05:00.0")
        self.start()
        self.assertIsNotNone(self.picture.function("0000:05:00.0"))
        told = self.picture.function(PLAIN)
        if told is not None:
            self.assertEqual((told["VendorId"], told["IommuGroup"], told["Driver"]), (NONE, -1, ""))

    def test_dangling_link_on_the_bus(self):
        os.symlink("../../../devices/pci0000:06/0000:06:00.0",
                   self.sysfs.path("bus/pci/devices/0000:06:00.0"))
        self.sysfs.add(PLAIN)
        self.start()
        self.assertIsNone(self.picture.function("0000:06:00.0"))
        self.assertIsNotNone(self.picture.function(PLAIN))

    def test_dangling_virtfn(self):
        pf = self.sysfs.add_pf(PF, vfs=2)
        os.symlink("../0000:0f:00.0", pf.path("virtfn2"))
        self.start()
        self.assertEqual(self.picture.function(PF)["NumVFs"], 2)
        # And nobody may be sent to an object that is not.
        self.assertEqual([p for p in self.picture.function(PF)["VirtualFunctions"]
                          if p not in self.picture.objects], [])

    def test_odd_names_on_the_bus_are_no_functions(self):
        self.sysfs.add(PLAIN)
        for name in ("foo", "0000:00:20.0", "0000:00:00.8"):
            directory = self.sysfs.path("devices/pci0000:00", name)
            os.makedirs(directory)
            with open(os.path.join(directory, "uevent"), "w", encoding="ascii"):
                pass
            os.symlink("../../../bus/pci", os.path.join(directory, "subsystem"))
            os.symlink(directory, self.sysfs.path("bus/pci/devices", name))
        self.start()
        self.assertEqual(set(self.client.list_functions()), {PLAIN, self.SENTINEL})

    def test_driver_override(self):
        self.sysfs.add(PLAIN, attributes={"driver_override": "vfio-pci"})
        self.sysfs.add("0000:03:00.0", attributes={"driver_override": "(null)"})
        self.start()
        self.assertEqual(self.picture.function(PLAIN)["DriverOverride"], "vfio-pci")
        self.assertEqual(self.picture.function("0000:03:00.0")["DriverOverride"], "")

    def test_list_functions(self):
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.sysfs.add(PLAIN)
        self.start()
        rows = self.client.manager("ListFunctions")
        self.assertEqual([row for row in rows if row[0] != self.SENTINEL], [
            (PF, "pf", "igb", False, vb.function_path(PF)),
            (PLAIN, "plain", "", False, vb.function_path(PLAIN)),
            (pf.vfs[0].address, "vf", "igbvf", False, vb.function_path(pf.vfs[0].address)),
        ] if PLAIN < pf.vfs[0].address else [
            (PF, "pf", "igb", False, vb.function_path(PF)),
            (pf.vfs[0].address, "vf", "igbvf", False, vb.function_path(pf.vfs[0].address)),
            (PLAIN, "plain", "", False, vb.function_path(PLAIN)),
        ])
        self.assertEqual(rows, sorted(rows))
        self.assertEqual(self.client.manager_property("FunctionCount"), len(rows))

    def test_get_function(self):
        self.sysfs.add(PLAIN)
        self.start()
        self.assertEqual(self.client.manager("GetFunction", "(s)", PLAIN), vb.function_path(PLAIN))
        error = self.assert_bus_error(vb.NO_SUCH_FUNCTION, self.client.manager, "GetFunction",
                                      "(s)", "0000:44:00.0")
        self.assertIn("0000:44:00.0", error.message)
        for text in ("", "nonsense", "0000:44:20.0", "0000:44:00.8", "../../etc", "0000:02:00.0 "):
            self.assert_bus_error(vb.INVALID_ARGS, self.client.manager, "GetFunction", "(s)", text)

    def test_properties_cannot_be_written(self):
        self.sysfs.add(PLAIN)
        self.start()
        from gi.repository import GLib
        with self.assertRaises(vb.BusError):
            self.client.set(vb.function_path(PLAIN), vb.FUNCTION, "Driver",
                            GLib.Variant("s", "mine"))

    def test_no_functions_at_all(self):
        self.start()
        self.assertEqual(set(self.client.list_functions()), {self.SENTINEL})


if __name__ == "__main__":
    fixtures.main()
