#!/usr/bin/python3
"""driver_override, which anybody may write and of which the kernel sends no event."""

import os

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


class Hanging(fixtures.DaemonTest):
    """Reading the file takes the device's lock: here a FIFO, which makes its reader wait as well."""

    def hang(self, function):
        function.unset("driver_override")
        os.mkfifo(function.path("driver_override"))

    def test_at_start(self):
        self.hang(self.sysfs.add(PLAIN))
        self.sysfs.add("0000:03:00.0", attributes={"driver_override": "pci-stub"})
        self.start()
        self.assertEqual(self.client.function(PLAIN, "DriverOverride"), "")
        self.assertEqual(self.client.function("0000:03:00.0", "DriverOverride"), "pci-stub")

    def test_of_one_does_not_keep_others_waiting(self):
        stuck = self.sysfs.add(PLAIN, attributes={"driver_override": "vfio-pci"})
        other = self.sysfs.add("0000:03:00.0")
        self.start()
        self.hang(stuck)
        self.sysfs.bind(stuck, "vfio-pci")
        self.wait_property(PLAIN, "Driver", "vfio-pci")
        self.sysfs.set_override(other, "pci-stub")
        self.wait_property("0000:03:00.0", "DriverOverride", "pci-stub")
        self.assertEqual(self.client.function(PLAIN, "DriverOverride"), "vfio-pci")

    def test_of_a_new_function_does_not_hide_it(self):
        self.start()
        function = self.sysfs.add(PLAIN)
        self.hang(function)
        self.sysfs.change(function)
        self.wait_function(PLAIN)

    def test_one_process_hangs_however_often_it_is_asked(self):
        """SIGKILL does not end it either; when the lock is released, the value is read again."""
        with open(os.path.join(self.sysfs.root, "deathless"), "w", encoding="ascii"):
            pass
        self.preload.append(os.environ["VFWARDEN_DEATHLESS"])
        stuck = self.sysfs.add(PLAIN, driver="igb", attributes={"driver_override": "vfio-pci"})
        other = self.sysfs.add("0000:03:00.0")
        self.start()
        self.hang(stuck)
        for i in range(5):
            self.sysfs.rebind(stuck, f"driver-{i}")
            self.wait_property(PLAIN, "Driver", f"driver-{i}")
            self.sysfs.set_override(other, f"driver-{i}")
            self.wait_property("0000:03:00.0", "DriverOverride", f"driver-{i}")
        readers = fixtures.children(self.daemon.pid, "vfwarden-reader")
        self.assertEqual(len(readers), 2, "the one that hangs, and the one that reads")
        path = stuck.path("driver_override")
        pipe = os.open(path, os.O_WRONLY)   # it is open for reading already
        os.unlink(path)
        with open(path, "w", encoding="ascii") as file:
            file.write("pci-stub\n")
        os.close(pipe)
        self.wait_property(PLAIN, "DriverOverride", "pci-stub")
        os.unlink(os.path.join(self.sysfs.root, "deathless"))

    def test_restart_meanwhile(self):
        stuck = self.sysfs.add_pf("0000:04:00.0", driver="vfio-pci")
        self.start()
        self.hang(stuck)
        self.sysfs.rebind(stuck, "mlx5_vfio_pci")
        self.wait_property("0000:04:00.0", "Driver", "mlx5_vfio_pci")
        self.kill()
        self.start()
        self.assertEqual(self.client.function("0000:04:00.0", "ClosedFiles"),
                         ["sriov_numvfs", "sriov_drivers_autoprobe"])


if __name__ == "__main__":
    fixtures.main()
