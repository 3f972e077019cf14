#!/usr/bin/python3
"""Start, notify, stop; the bus name; the watchdog; a buffer that overran."""

import os
import re
import signal
import unittest

import fixtures
from fixtures import DEADLINE
from test_lock import LockTest, SRIOV
import vfwarden_bus as vb

PF = "0000:01:00.0"


class Lifecycle(LockTest):
    def test_ready_means_published(self):
        self.sysfs.add_pf(PF, driver="vfio-pci", vfs=0)
        self.start()
        # start() returned on READY=1, with nothing waited for since.
        self.assertIsNotNone(self.picture.function(PF))
        self.assertEqual(self.sysfs[PF].mode("sriov_numvfs"), 0o444)
        self.assertIsNotNone(self.client.bus.name_owner())

    def test_status_says_something(self):
        self.sysfs.add_pf(PF)
        self.start()
        vb.wait_until(lambda: self.notify.having("STATUS"), None, "STATUS=")
        self.assertRegex(self.notify.having("STATUS")[-1]["STATUS"], "2")

    def test_status_counts_the_locked(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()

        def status(pattern):
            vb.wait_until(lambda: re.search(pattern, self.notify.having("STATUS")[-1]["STATUS"]),
                          None, lambda: f"{pattern}: {self.notify.having('STATUS')[-1:]}")
        vb.wait_until(lambda: self.notify.having("STATUS"), None, "STATUS=")
        status(r"2 PCI functions, 1 locked")
        self.sysfs.rebind(pf, "igb")
        status(r"2 PCI functions, 0 locked")
        self.sysfs.rebind(pf, "vfio-pci")
        status(r"2 PCI functions, 1 locked")
        # The kernel unbinds it first, which ends that reason and not this one.
        self.client.lock(PF)
        self.sysfs.remove(pf)
        status(r"1 PCI functions, 0 locked")

    def test_sigterm_and_sigint(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.start(picture=False)
            mark = len(self.notify.messages)
            self.daemon.kill(number)
            self.assertEqual(self.daemon.wait_exit(), 0)
            vb.wait_until(lambda: self.notify.having("STOPPING", mark), None, "STOPPING=1")
            vb.wait_until(lambda: self.client.bus.name_owner() is None, None, "the name to be free")

    def test_second_daemon_gives_way(self):
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        first = self.start()
        second = self.spawn()
        self.assertGreater(second.wait_exit(), 0)
        self.daemon = first
        self.assertTrue(first.running)
        self.fence()
        self.assert_closed(pf, *SRIOV)

    def test_watchdog(self):
        self.environment = {"WATCHDOG_USEC": str(int(400000 * fixtures.DEADLINE_SCALE))}
        self.start()
        mark = len(self.notify.messages)
        vb.wait_until(lambda: len(self.notify.having("WATCHDOG", mark)) >= 2, None, "WATCHDOG=1")

    def test_bus_goes_away(self):
        self.start(picture=False)
        self.crash_expected = True
        self.bus._process.terminate()       # pylint: disable=protected-access
        # With no bus there is nobody to serve; systemd starts again what failed, and that alone.
        self.assertGreater(self.daemon.wait_exit(2 * DEADLINE), 0)


class Overrun(LockTest):
    def overrun(self):
        """The next event and all behind it are lost, and the daemon gets ENOBUFS."""
        with open(os.path.join(self.sysfs.root, "overrun"), "w", encoding="ascii"):
            pass
        self.sysfs.uevent("change", "/devices/nothing", "pci")
        vb.wait_until(lambda: not os.path.exists(os.path.join(self.sysfs.root, "overrun")), None,
                      "the overrun")

    def test_everything_is_read_again(self):
        stays = self.sysfs.add("0000:02:00.0", driver="e1000e")
        goes = self.sysfs.add("0000:03:00.0")
        pf = self.sysfs.add_pf(PF, vfs=1, vf_driver="igbvf")
        self.start()
        mark, log = self.mark(), self.daemon.log_mark()
        # All of this happens without a word.
        send, self.sysfs.uevent = self.sysfs.uevent, lambda *_, **__: None
        self.sysfs.rebind(stays, "nvme")
        self.sysfs.remove(goes)
        self.sysfs.add("0000:04:00.0")
        self.sysfs.disable_vfs(pf)
        self.sysfs.rebind(pf, "vfio-pci")
        self.sysfs.uevent = send
        # The bed's root is watched for the file to go.
        self.sysfs.watch.add(self.sysfs.root)
        self.overrun()
        self.wait_function("0000:04:00.0")
        self.wait_function("0000:03:00.0", there=False)
        self.wait_property("0000:02:00.0", "Driver", "nvme")
        self.wait_property(PF, "NumVFs", 0)
        self.wait_property(PF, "Locked", True)
        self.assert_closed(pf, *SRIOV)
        signals = self.signals_since(mark)
        self.assertEqual(sorted(s.args[0] for s in signals if s.member == "InterfacesAdded"),
                         [vb.function_path("0000:04:00.0")])
        self.daemon.wait_log("(?i)overr|lost|ENOBUFS|buffer", log)

    def test_a_device_that_was_replaced_is_another_one(self):
        self.start_polkit(configure=True)
        pf = self.sysfs.add_pf(PF, driver="vfio-pci")
        self.start()
        self.client.lock(PF, "the old one")
        mark = self.mark()
        send, self.sysfs.uevent = self.sysfs.uevent, lambda *_, **__: None
        self.sysfs.remove(pf)
        pf = self.sysfs.add_pf(PF)
        self.sysfs.uevent = send
        self.sysfs.watch.add(self.sysfs.root)
        self.overrun()
        self.wait_property(PF, "Driver", "igb")
        self.assertEqual([s.member for s in self.signals_since(mark)
                          if s.args[0] == vb.function_path(PF)],
                         ["InterfacesRemoved", "InterfacesAdded"])
        told = self.picture.function(PF)
        self.assertEqual((told["Locked"], told["LockWhy"], told["Tainted"]), (False, "", False))
        self.assert_closed(pf)

    def test_overrun_with_nothing_new_is_silent(self):
        self.sysfs.add_pf(PF, vfs=2, vf_driver="igbvf")
        self.start()
        mark = self.mark()
        self.sysfs.watch.add(self.sysfs.root)
        self.overrun()
        self.assertEqual(self.signals_since(mark), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
