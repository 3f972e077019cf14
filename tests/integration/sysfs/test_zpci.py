#!/usr/bin/python3
"""Functions of s390: the Zpci interface, and what a slot loses that is switched off and on."""

import fixtures
from test_hotplug import changes
import vfwarden_bus as vb

# As Linux 6.12 writes them for an nvme on QEMU ...
NVME = "0013:00:00.0"
NVME_SAYS = {"function_id": "0x00000103", "function_handle": "0x80020000", "pchid": "0x0000", "pfgid": "0xff",
             "vfn": "0x0000", "pft": "0x00", "port": "0", "uid": "0x13", "uid_is_unique": "1",
             "mio_enabled": "0", "util_string": b"\0" * 64}
NVME_ZPCI = {"FunctionId": 0x103, "FunctionHandle": 0x80020000, "Uid": 0x13, "Pchid": 0, "FunctionGroup": 0xff,
             "VirtualFunctionNumber": 0, "FunctionType": 0, "MioEnabled": False}
# ... and the same attributes of a VF of a network adapter, with the numbers of another machine.
VF = "0040:00:00.1"
PF = "0040:00:00.0"
VF_SAYS = {**NVME_SAYS, "function_id": "0xfffff0a1", "function_handle": "0xb5c30102", "pchid": "0x01c4",
           "pfgid": "0x0a", "vfn": "0x0002", "pft": "0x02", "uid": "0xffff0040", "mio_enabled": "1"}
VF_ZPCI = {"FunctionId": 0xfffff0a1, "FunctionHandle": 0xb5c30102, "Uid": 0xffff0040, "Pchid": 0x1c4,
           "FunctionGroup": 0x0a, "VirtualFunctionNumber": 2, "FunctionType": 2, "MioEnabled": True}
LOST = "without its driver_override"


class Zpci(fixtures.DaemonTest):
    def add(self, address, says, **kwargs):
        return self.sysfs.add(address, numa_node=None, attributes=says, removable=False, **kwargs)

    def zpci(self, address):
        return self.client.get_all(vb.function_path(address), vb.ZPCI)

    def test_all_attributes(self):
        self.add(NVME, NVME_SAYS)
        self.add(VF, VF_SAYS)
        self.start()
        for address, expected in ((NVME, NVME_ZPCI), (VF, VF_ZPCI)):
            self.assertEqual(self.zpci(address), expected)
            self.assertEqual(self.picture.objects[vb.function_path(address)][vb.ZPCI], expected)
            self.assertEqual(self.picture.function(address)["NumaNode"], -1)

    def test_of_a_function_that_came_later(self):
        self.start()
        self.add(NVME, NVME_SAYS, announce=True)
        self.wait_function(NVME)
        self.assertEqual(self.picture.objects[vb.function_path(NVME)][vb.ZPCI], NVME_ZPCI)

    def test_not_elsewhere(self):
        self.sysfs.add("0000:02:00.0")
        self.start()
        self.assertNotIn(vb.ZPCI, self.picture.objects[vb.function_path("0000:02:00.0")])
        with self.assertRaises(vb.BusError):
            self.zpci("0000:02:00.0")

    def test_the_handle_is_read_each_time(self):
        function = self.add(NVME, NVME_SAYS)
        self.start()
        mark = self.mark()
        for handle in (0x00020000, 0x80030000, 0xffffffff):
            function.write("function_handle", f"0x{handle:08x}")
            self.assertEqual(self.zpci(NVME)["FunctionHandle"], handle)
        self.assertEqual(changes(self.signals_since(mark)), {})

    def test_what_the_kernel_does_not_say(self):
        # Older kernels have fewer attributes, and a strange value is none.
        self.add(NVME, {"vfn": "0x0000", "function_id": "0x00000103"})
        self.add("0014:00:00.0", {**NVME_SAYS, "function_handle": "0x100000000", "pchid": "-1", "uid": "x",
                                  "pfgid": "0x100", "pft": "", "vfn": "0x10000", "mio_enabled": "2"})
        self.start()
        nothing = {**dict.fromkeys(NVME_ZPCI, 0), "MioEnabled": False, "FunctionId": 0x103}
        self.assertEqual(self.zpci(NVME), nothing)
        self.assertEqual(self.zpci("0014:00:00.0"), nothing)

    def test_the_handle_of_what_is_just_going(self):
        function = self.add(NVME, NVME_SAYS)
        self.start()
        self.sysfs.vanish(function)
        self.assertEqual(self.zpci(NVME)["FunctionHandle"], 0)
        self.sysfs.uevent("remove", function.devpath, PCI_SLOT_NAME=NVME)
        self.wait_function(NVME, there=False)


class LostOverride(fixtures.DaemonTest):
    """A slot that is switched off and on again has another device in it for the kernel."""

    def add(self, override="(null)", says=NVME_SAYS, **kwargs):
        return self.sysfs.add(NVME, numa_node=None, attributes={**says, "driver_override": override}, **kwargs)

    def again(self, function, **kwargs):
        """Off and on; returns the daemon's lines about an override since then."""
        mark = self.daemon.log_mark()
        self.sysfs.remove(function)
        self.wait_function(NVME, there=False)
        function = self.add(announce=True, **kwargs)
        self.wait_function(NVME)
        self.fence()
        return function, self.daemon.lines(LOST, mark)

    def test_told_once(self):
        function = self.add("vfio-pci")
        self.start()
        function, lines = self.again(function)
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(NVME, lines[0])
        self.assertIn("'vfio-pci'", lines[0])
        function, lines = self.again(function)
        self.assertEqual(lines, [])

    def test_not_lost(self):
        function = self.add("vfio-pci")
        self.start()
        function, lines = self.again(function, override="vfio-pci")
        self.assertEqual(lines, [])
        self.sysfs.set_override(function, None)
        self.wait_property(NVME, "DriverOverride", "")
        function, lines = self.again(function)
        self.assertEqual(lines, [])

    def test_another_function_at_the_address(self):
        function = self.add("vfio-pci")
        self.start()
        function, lines = self.again(function, says={**NVME_SAYS, "function_id": "0x00000104"})
        self.assertEqual(lines, [])

    def test_not_of_other_machines(self):
        # There a device that comes to a slot may be any.
        function = self.sysfs.add("0000:02:00.0", attributes={"driver_override": "vfio-pci"})
        self.start()
        mark = self.daemon.log_mark()
        self.sysfs.remove(function)
        self.wait_function("0000:02:00.0", there=False)
        self.sysfs.add("0000:02:00.0", announce=True)
        self.wait_function("0000:02:00.0")
        self.fence()
        self.assertEqual(self.daemon.lines(LOST, mark), [])


if __name__ == "__main__":
    fixtures.main()
