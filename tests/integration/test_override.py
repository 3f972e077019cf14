#!/usr/bin/python3
"""driver_override, which anybody may write and of which the kernel sends no event."""

import fixtures
from test_hotplug import changes
import vfwarden_bus as vb

PLAIN = "0000:02:00.0"


class Override(fixtures.DaemonTest):
    def test_written_and_cleared(self):
        function = self.sysfs.add(PLAIN)
        self.start()
        mark = self.mark()
        self.sysfs.set_override(function, "vfio-pci")
        self.wait_property(PLAIN, "DriverOverride", "vfio-pci")
        self.assertEqual(changes(self.signals_since(mark)),
                         {(vb.function_path(PLAIN), "DriverOverride"): "vfio-pci"})
        self.sysfs.set_override(function, None)
        self.wait_property(PLAIN, "DriverOverride", "")

    def test_of_a_function_that_came_later(self):
        self.start()
        function = self.sysfs.add(PLAIN, announce=True)
        self.wait_function(PLAIN)
        self.sysfs.set_override(function, "vfio-pci")
        self.wait_property(PLAIN, "DriverOverride", "vfio-pci")

    def test_written_as_it_was_is_silent(self):
        function = self.sysfs.add(PLAIN, attributes={"driver_override": "vfio-pci"})
        self.start()
        mark = self.mark()
        self.sysfs.set_override(function, "vfio-pci")
        self.assertEqual(self.signals_since(mark), [])

    def test_after_a_replug(self):
        function = self.sysfs.add(PLAIN, attributes={"driver_override": "vfio-pci"})
        self.start()
        self.sysfs.remove(function)
        self.wait_function(PLAIN, there=False)
        function = self.sysfs.add(PLAIN, announce=True)
        self.wait_property(PLAIN, "DriverOverride", "")
        self.sysfs.set_override(function, "pci-stub")
        self.wait_property(PLAIN, "DriverOverride", "pci-stub")


if __name__ == "__main__":
    fixtures.main()
